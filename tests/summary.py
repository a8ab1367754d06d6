# SPDX-License-Identifier: MIT
"""Count the tests of several meson runs.

usage: summary.py [--failures N] LABEL=TESTLOG.json...

Prints each test that failed or was skipped, a skipped one with its reason, the figures that some tests
come to, and at the end the line "N passed, N failed" (", N skipped"). --failures adds failures from
elsewhere. Exit status 1 if anything failed, or if nothing passed.
"""

import argparse
import json
import re
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP"}
# What cmocka says of a case that its program skipped.
SKIPPED_CASE = re.compile(r"^\[  SKIPPED \] (?!\d+ test)(.+)$", re.MULTILINE)
# What a test counted that is worth telling, of the first of the runs.
FIGURES = re.compile(
    r"^(?:conformance \w+|differential|window histories|mainline-7\.3|linux-7\.3\.4): .*\d.*$", re.MULTILINE
)


def read(path):
    try:
        with open(path, encoding="utf-8") as log:
            return [json.loads(line) for line in log if line.strip()]
    except FileNotFoundError:
        return None


def reason(test):
    """The last line that a skipped test printed."""
    text = test.get("stderr", "") + "\n" + test.get("stdout", "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"


def short(test):
    return test["name"].split(" / ")[-1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--failures", type=int, default=0)
    parser.add_argument("logs", nargs="*")
    args = parser.parse_args()
    passed, failed, skipped = 0, args.failures, 0
    figures = {}

    for item in args.logs:
        label, path = item.split("=", 1)
        tests = read(path)
        if tests is None:
            print(f"not ok {label}: its tests did not run")
            failed += 1
            continue
        for test in tests:
            figures.setdefault(short(test), FIGURES.findall(test.get("stdout", "")))
            if test["result"] in PASSED:
                passed += 1
                for case in SKIPPED_CASE.findall(test.get("stdout", "")):
                    print(f"skip {label}: {short(test)}: case {case}")
            elif test["result"] in SKIPPED:
                skipped += 1
                print(f"skip {label}: {short(test)}: {reason(test)}")
            else:
                failed += 1
                print(f"not ok {label}: {short(test)}: {test['result'].lower()}")

    for name, lines in figures.items():
        for line in lines:
            print(f"{name}: {line}")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
