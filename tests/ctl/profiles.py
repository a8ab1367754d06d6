#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds `profile list` and the completion of --profile to the profiles that there are.

The command under test takes the source's folder for the installed one.
"""

import json
import pathlib
import subprocess
import sys

COMMAND, ROOT = sys.argv[1], pathlib.Path(sys.argv[2])


def ask(*arguments):
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=True).stdout


def complete(word):
    script = (f"source {ROOT / 'completions' / 'pfnbufctl.bash'}; COMP_WORDS=({COMMAND} --profile '{word}'); "
              "COMP_CWORD=2; _pfnbufctl; printf '%s\\n' \"${COMPREPLY[@]}\"")
    return set(subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split())


def main():
    names = {path.stem for path in (ROOT / "profiles").glob("*.profile")}
    assert names, "no profiles"
    listed = {line.split()[0] for line in ask("profile", "list").splitlines()[1:]}
    assert listed == names, f"listed are {listed}, there are {names}"
    objects = json.loads(ask("-j", "profile", "list").splitlines()[0])["profiles"]
    assert {each["name"] for each in objects} == names, objects
    assert all(each["about"] for each in objects), objects
    assert complete("tdx") == {name for name in names if name.startswith("tdx")}, complete("tdx")
    for name in names:
        text = ask("profile", "show", str(ROOT / "profiles" / f"{name}.profile"))
        assert f"name = {name}\n" in text, text
    print(f"{len(names)} profiles")


if __name__ == "__main__":
    main()
