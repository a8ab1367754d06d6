# SPDX-License-Identifier: MIT
"""Hold the errnos that the unit tests tried against those that pfnbuf.h documents.

usage: documented.py [--own NOUN,...] HEADER PROGRAM...

Each program appends "FUNCTION ERRNO" for every failure that it checked to the file that PFNBUF_TRIED
names. Every errno in a function's comment must be among them, for at least one of the functions that
share the comment; a comment that says "Errnos of f()" or "those of f()" takes those of f as well.
With --own it is about these nouns, and what their functions take from others is left to those.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

SAME = {"ENOTSUP": "EOPNOTSUPP"}
NOUNS = ("ctx", "device", "buf", "ioas", "profile", "tsm", "vm")
COMMENT = re.compile(r"/\*\*(.*?)\*/", re.S)
FUNCTION = re.compile(r"PFNBUF_API\s+([^;]*?)\b(pfnbuf_\w+)\s*\(")
ERRNO = re.compile(r"-(E[A-Z0-9]+)\b")
INHERITED = re.compile(r"(?:[Ee]rrnos|those) of\s+(pfnbuf_\w+)\(\)")


def groups(text):
    """Yield (comment, [functions]) for each comment and the declarations up to the next one."""
    comments = list(COMMENT.finditer(text))
    for this, following in zip(comments, comments[1:] + [None]):
        rest = text[this.end() : following.start() if following else len(text)]
        functions = [m.group(2) for m in FUNCTION.finditer(rest)]
        if functions:
            yield " ".join(re.sub(r"\n\s*\*", " ", this.group(1)).split()), functions


def documented(text, inherit):
    """Map each function to (the functions that share its comment, errnos)."""
    own, sources, shared = {}, {}, {}
    for comment, functions in groups(text):
        for function in functions:
            own[function] = {SAME.get(e, e) for e in ERRNO.findall(comment)}
            sources[function] = set(INHERITED.findall(comment))
            shared[function] = functions
    for function, names in sources.items():
        for name in names - set(own):
            sys.exit(f"{function}: its comment speaks of {name}(), which is not there")

    def closure(function, seen):
        if function in seen:
            return set()
        found = set(own[function])
        for name in sources[function] if inherit else ():
            found |= closure(name, seen | {function})
        return found

    return {f: (shared[f], closure(f, frozenset())) for f in own}


def tried(programs):
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "tried"
        env = dict(os.environ, PFNBUF_TRIED=str(path))
        for program in programs:
            subprocess.run([program], env=env, check=True, capture_output=True)
        for line in path.read_text().splitlines():
            function, errno = line.split()
            result.setdefault(function, set()).add(errno)
    return result


def main():
    arguments = sys.argv[1:]
    own = arguments[0] == "--own"
    nouns = arguments[1].split(",") if own else NOUNS
    header, *programs = arguments[2:] if own else arguments
    text = pathlib.Path(header).read_text()
    functions = documented(text, not own)
    done = tried(programs)
    failed = checked = 0
    for function in sorted(set(done) - set(functions)):
        print(f"{function}: tried, but not in the header")
        failed += 1
    for function, (shared, errnos) in sorted(functions.items()):
        if function.split("_")[1] not in nouns:
            continue
        for errno in sorted(errnos):
            checked += 1
            if not any(errno in done.get(f, ()) for f in shared):
                print(f"{function}: {errno} is documented and was not tried")
                failed += 1
    print(f"{checked} documented errnos, {failed} failures")
    return 1 if failed or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
