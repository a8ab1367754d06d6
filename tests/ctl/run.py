#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs pfnbufctl as the files of cases/ say, and compares. Prints TAP.

A case is a text file of sections. The lines in front of the first section are `key: value`:

    args: --sim -f script.pfn   the command line, split as a shell does
    exit: 2                     the exit code; 0 where it is not given
    setup: truncate -s 5M big   a shell line that runs first, in the case's own folder
    env: NAME=VALUE             added to the environment
    as: nobody                  the user to run as (skipped where that is not possible)
    needs: SHELL-TEST           skipped where this shell line fails
    begin: FILE                 of cases/, with which script.pfn begins

The sections: `--- script` (script.pfn), `--- file NAME`, `--- stdin`, `--- stdout`, `--- stderr`. In the last two each
line is a regular expression; they must be found in this order, each on a line of its own. A line that begins with `!!`
must not be found at all. `--- stdout =` is compared literally, byte for byte; an empty one means that nothing may come.
"""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CASES = HERE / "cases"
KEYS = {"args", "exit", "setup", "env", "as", "needs", "begin"}
SECTION = re.compile(r"script|file \S+|stdin|stdout( =)?|stderr( =)?")
TIMEOUT = 60


def read_case(path):
    heads, sections, into = [], {}, None
    for line in path.read_text().splitlines():
        if line.startswith("--- "):
            into = line[4:].strip()
            sections[into] = []
        elif into is not None:
            sections[into].append(line)
        elif line.strip() and not line.startswith("#"):
            key, _, value = line.partition(":")
            heads.append((key.strip(), value.strip()))
    return heads, sections


def compare_patterns(name, patterns, text):
    problems, lines, at = [], text.splitlines(), 0
    for pattern in patterns:
        if not pattern:
            continue
        if pattern.startswith("!!"):
            if any(re.search(pattern[2:], line) for line in lines):
                problems.append(f"{name}: found what must not be there: {pattern[2:]}")
            continue
        found = next((i for i in range(at, len(lines)) if re.search(pattern, lines[i])), None)
        if found is None:
            problems.append(f"{name}: not found (after line {at}): {pattern}")
        else:
            at = found + 1
    return problems


def compare_output(name, sections, text):
    if f"{name} =" in sections:
        wanted = "".join(line + "\n" for line in sections[f"{name} ="])
        return [] if wanted == text else [f"{name}: differs; wanted:\n{wanted}"]
    return compare_patterns(name, sections.get(name, []), text)


def check_json(text):
    problems = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if not isinstance(json.loads(line), dict):
                problems.append(f"stdout line {number}: JSON, but no object")
        except ValueError as error:
            problems.append(f"stdout line {number}: not JSON ({error}): {line}")
    return problems


def run_case(command, path):
    heads, sections = read_case(path)
    one = dict(heads)
    unknown = (set(one) - KEYS) | {key for key in sections if not SECTION.fullmatch(key)}
    if unknown:
        return [f"unknown keys or sections in the case: {unknown}"], None
    if "needs" in one and subprocess.run(["sh", "-c", one["needs"]], capture_output=True).returncode:
        return [], f"needs {one['needs']}"
    if "as" in one and os.geteuid() != 0:
        return [], f"cannot become {one['as']}"
    with tempfile.TemporaryDirectory() as folder:
        for key, lines in sections.items():
            name = "script.pfn" if key == "script" else key[5:] if key.startswith("file ") else None
            if name:
                begin = (CASES / one["begin"]).read_text() if key == "script" and "begin" in one else ""
                pathlib.Path(folder, name).write_text(begin + "".join(line + "\n" for line in lines))
        os.chmod(folder, 0o755)
        environment = dict(os.environ, LC_ALL="C.UTF-8", NO_COLOR="1", EXAMPLES=str(HERE.parent.parent / "examples"))
        environment.update(value.split("=", 1) for key, value in heads if key == "env")
        for setup in [value for key, value in heads if key == "setup"]:
            subprocess.run(["sh", "-ec", setup], cwd=folder, check=True, env=environment)
        arguments = shlex.split(one.get("args", ""))
        arguments = [word.replace("$EXAMPLES", environment["EXAMPLES"]) for word in arguments]
        stdin = "".join(line + "\n" for line in sections.get("stdin", []))
        try:
            done = subprocess.run([command, *arguments], cwd=folder, env=environment, input=stdin.encode(),
                                  capture_output=True, timeout=TIMEOUT, user=one.get("as"))
        except PermissionError:
            return [], f"{one['as']} cannot reach {command}"
        except subprocess.TimeoutExpired:
            return [f"still running after {TIMEOUT} s"], None
    out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    problems = []
    if done.returncode != int(one.get("exit", "0")):
        problems.append(f"exit code {done.returncode}, not {one.get('exit', '0')}")
    problems += compare_output("stdout", sections, out) + compare_output("stderr", sections, err)
    if "--json" in arguments or "-j" in arguments:
        problems += check_json(out)
    if problems:
        problems += ["---- stdout", *out.splitlines()[:60], "---- stderr", *err.splitlines()[:60]]
    return problems, None


def main():
    command, only = os.path.abspath(sys.argv[1]), sys.argv[2:]
    cases = sorted(CASES.glob("*.case"))
    if only:
        cases = [case for case in cases if case.stem in only]
    failed = 0
    print(f"1..{len(cases)}")
    for number, case in enumerate(cases, 1):
        problems, skipped = run_case(command, case)
        failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {number} {case.stem}{f' # SKIP {skipped}' if skipped else ''}")
        for line in "\n".join(problems).splitlines():
            print(f"# {line}")
    if not cases:
        print("Bail out! no cases")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
