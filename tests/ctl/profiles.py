#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds `profile list`, the completion of --profile and what a name stands for to the profiles that there are."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

COMMAND, ROOT = sys.argv[1], pathlib.Path(sys.argv[2])


os.environ.pop("PFNBUF_PROFILE_DIR", None)


def ask(*arguments, **environment):
    env = dict(os.environ, **environment)
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=True, env=env).stdout


def complete(*words):
    script = (f"source {ROOT / 'completions' / 'pfnbufctl.bash'}; COMP_WORDS=({COMMAND} {' '.join(map(repr, words))}); "
              f"COMP_CWORD={len(words)}; _pfnbufctl; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
    return set(subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split())


def listed(**environment):
    return {line.split()[0] for line in ask("profile", "list", **environment).splitlines() if line.startswith("  ")}


def check_own_folder(names):
    """A folder of one's own comes before the others; a name is that of the file."""
    with tempfile.TemporaryDirectory() as folder:
        def write(name, about):
            text = f"name = {name}\nabout = {about}\nbind = none\nprivate = none\n"
            (pathlib.Path(folder) / f"{name}.profile").write_text(text)

        write("mine", "a kernel of my own")
        write("cca7", "another one of that name")
        own = {"PFNBUF_PROFILE_DIR": folder}
        assert listed(**own) == names | {"mine"}, listed(**own)
        text = ask("profile", "list", **own)
        assert text.count("  cca7 ") == 1 and "another one of that name" in text, text
        assert "another one of that name" in ask("profile", "show", "cca7", **own)
        assert "another one of that name" not in ask("profile", "show", "cca7")
        ask("--sim", "--profile", "mine", "-c", "ioas io", **own)


def check_manual(names):
    """pfnbuf-profile(5) has the keys that the profiles show, and its example is a profile."""
    page = (ROOT / "man" / "pfnbuf-profile.5").read_text()
    told = {key for line in re.findall(r"^\.It Ic (.*)$", page, re.M) for key in line.split() if key != ","}
    texts = [path.read_text() for path in (ROOT / "profiles").glob("*.profile")]
    there = {key for text in texts for key in re.findall(r"^([a-z.-]+) = ", text, re.M)}
    assert told == there, f"only in the manual: {told - there}; only in profiles: {there - told}"
    for name in names:
        assert f".It Pa {name}.profile" in page, name
    with tempfile.NamedTemporaryFile("w", suffix=".profile") as file:
        file.write(page.split(".Bd -literal -offset indent\n")[1].split(".Ed\n")[0])
        file.flush()
        assert "name = iommufd-tsm5-rebased\n" in ask("profile", "show", file.name)


def main():
    names = {path.stem for path in (ROOT / "profiles").glob("*.profile")}
    assert names, "no profiles"
    assert listed() == names, f"listed are {listed()}, there are {names}"
    objects = json.loads(ask("-j", "profile", "list").splitlines()[0])["profiles"]
    assert {each["name"] for each in objects} == names, objects
    assert all(each["about"] for each in objects), objects
    tdx = {name for name in names if name.startswith("tdx")}
    for words in (["--profile"], ["profile", "show"], ["--sim", "profile", "choose"]):
        assert complete(*words, "tdx") == tdx, complete(*words, "tdx")
    check_own_folder(names)
    check_manual(names)
    for name in names:
        text = ask("profile", "show", str(ROOT / "profiles" / f"{name}.profile"))
        assert f"name = {name}\n" in text, text
    print(f"{len(names)} profiles")


if __name__ == "__main__":
    main()
