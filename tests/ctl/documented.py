#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds manual pages and completions against what the command says of itself: nothing missing, nothing invented."""

import pathlib
import re
import shutil
import subprocess
import sys

COMMAND, ROOT = sys.argv[1], pathlib.Path(sys.argv[2])
problems = []


def ask(*arguments):
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=True).stdout


def page(name):
    """A manual page as it reads, on endless lines."""
    text = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=1000", str(ROOT / "man" / name)],
                          capture_output=True, text=True, check=True).stdout
    return re.sub(r".\x08", "", text)


def options(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


def check_verbs(verbs, script_page):
    # Of a short one, the description begins on the same line.
    lines = {re.split(r"\s{2,}", line.strip())[0] for line in script_page.splitlines()}
    for verb in verbs:
        # Long ones go on in lines that begin with eight blanks.
        synopsis = next(line for line in re.sub(r"\n {8}", " ", ask("help", verb)).splitlines()
                        if line == verb or line.startswith(verb + " "))
        if synopsis not in lines:
            problems.append(f"pfnbuf-script(5) does not have: {synopsis}")


def check_options(command_page):
    known = options(ask("--help"))
    documented = options(command_page)
    elsewhere = options(ask("tdi", "--help") + ask("layout", "--help")) | {"--list-verbs"}
    for option in sorted(known - documented):
        problems.append(f"pfnbufctl(1) does not have {option}")
    for option in sorted(documented - known - elsewhere):
        problems.append(f"pfnbufctl(1) has {option}, and the command does not")
    return known


def check_completions(known):
    for name in ["pfnbufctl.bash", "_pfnbufctl"]:
        text = (ROOT / "completions" / name).read_text()
        for option in sorted(known - options(text)):
            problems.append(f"completions/{name} does not have {option}")
        for option in sorted(options(text) - known - {"--list-verbs"}):
            problems.append(f"completions/{name} has {option}, and the command does not")


def check_bash(verbs):
    """Complete as bash would: what comes must be what there is."""
    def complete(*words):
        script = (f"source {ROOT / 'completions' / 'pfnbufctl.bash'}; COMP_WORDS=({' '.join(map(repr, words))}); "
                  f"COMP_CWORD={len(words) - 1}; _pfnbufctl; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
        out = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
        return set(out.split())

    first = {verb.split()[0] for verb in verbs} | {"run", "help", "tdi", "layout"}
    if not first <= complete(COMMAND, ""):
        problems.append(f"bash completes no {sorted(first - complete(COMMAND, ''))}")
    if complete(COMMAND, "--sim", "bar", "") != {"read", "write", "expect"}:
        problems.append(f"bash completes `bar` with {complete(COMMAND, '--sim', 'bar', '')}")
    if "--dry-run" not in complete(COMMAND, "--dr"):
        problems.append("bash completes no --dry-run")
    if complete(COMMAND, "--sim=tdx") != {"tdx-rfc2"}:
        problems.append(f"bash completes --sim=tdx with {complete(COMMAND, '--sim=tdx')}")
    if not {"show", "lock", "run", "unlock"} <= complete(COMMAND, "tdi", ""):
        problems.append(f"bash completes `tdi` with {complete(COMMAND, 'tdi', '')}")


def main():
    if not shutil.which("mandoc"):
        print("mandoc is not installed")
        return 77
    verbs = ask("--list-verbs").splitlines()
    check_verbs(verbs, page("pfnbuf-script.5"))
    known = check_options(page("pfnbufctl.1"))
    check_completions(known)
    if shutil.which("bash"):
        check_bash(verbs)
    print("\n".join(problems) or f"{len(verbs)} verbs, {len(known)} options")
    return 1 if problems or not verbs or not known else 0


if __name__ == "__main__":
    sys.exit(main())
