# SPDX-License-Identifier: MIT
"""Run what docs/simulator.md shows: its C example is compiled and run, its shell example as it stands."""

import argparse
import os
import pathlib
import re
import subprocess
import sys


def block(text, language):
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.S | re.M)
    if len(found) != 1:
        sys.exit(f"docs/simulator.md has {len(found)} blocks of {language}, not one")
    return found[0]


def run(what, argv, wanted, **kwargs):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False, **kwargs)
    if done.returncode or wanted not in done.stdout:
        sys.exit(f"FAIL: {what}: status {done.returncode}\n{done.stdout}{done.stderr}")
    print(f"ok: {what}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, type=pathlib.Path)
    parser.add_argument("--scratch", required=True, type=pathlib.Path)
    parser.add_argument("--library", required=True, type=pathlib.Path)
    parser.add_argument("--sim", required=True, type=pathlib.Path)
    parser.add_argument("--run", type=pathlib.Path, help="pfnbuf-sim-run, where this build has one")
    parser.add_argument("--ctl", required=True, type=pathlib.Path)
    parser.add_argument("cc", nargs="+")
    args = parser.parse_args()
    text = (args.source / "docs" / "simulator.md").read_text()
    scratch = args.scratch / "simulator"
    scratch.mkdir(parents=True, exist_ok=True)

    (scratch / "example.c").write_text(block(text, "c"))
    compile_it = [
        *args.cc, "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", args.source / "include",
        scratch / "example.c", "-o", scratch / "example", args.sim, args.library,
    ]  # fmt: skip
    run("the example in C compiles", compile_it, "")
    libraries = f"{args.library.resolve().parent}:{args.sim.resolve().parent}"
    run(
        "the example in C",
        [scratch / "example"],
        "reached the buffer and nothing else",
        env=dict(os.environ, LD_LIBRARY_PATH=libraries),
    )

    script = block(text, "sh")
    if not args.run:
        print("skipped: the shell example, for this build has no pfnbuf-sim-run")
        return
    examples = scratch / "examples"
    if not examples.exists():
        examples.symlink_to(args.source / "examples")
    path = f"{args.run.resolve().parent}:{args.ctl.resolve().parent}:{os.environ['PATH']}"
    run("the shell example", ["sh", "-euc", script], "EACCES", cwd=scratch, env=dict(os.environ, PATH=path))


if __name__ == "__main__":
    main()
