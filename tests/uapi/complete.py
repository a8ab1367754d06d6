# SPDX-License-Identifier: MIT
"""Check that no definition in the kernel interface headers goes unchecked.

usage: complete.py SOURCE_ROOT COMPILER...

Every struct, field, enumerator and macro must stand in facts.def, which compare.py holds against the
kernel's own headers; every struct, field and ioctl number must also be asserted in the header itself.
What no kernel has cannot be compared: there every definition must be asserted, and none may stand in
facts.def.
"""

import re
import sys
from pathlib import Path

import headers

UNMERGED = {'proposed.h'}  # definitions that are in no release of Linux

FACT = re.compile(r'^(SIZE|OFFSET|FLEX|VALUE)\((.*)\)$', re.M)
ASSERTION = re.compile(r'^UAPI_(SIZE|OFFSET|VALUE)\((.*), (?:\d+|0x[0-9a-f]+)\);$', re.M)
IOCTL = re.compile(r'^#define (\w+)\s+_IOW?R?\(', re.M)


def split(pattern, text):
    return {(m.group(1), tuple(m.group(2).split(', '))) for m in pattern.finditer(text)}


def spelled(kind, args):
    if kind == 'CALL':
        return f'VALUE({args[0]}(ARGUMENT))'
    return f'{kind}({", ".join(args)})'


def listed(fact, known, called):
    kind, args = fact
    return args[0] in called if kind == 'CALL' else fact in known


def asserted(fact, assertions, needed):
    kind, args = fact
    if kind in ('SIZE', 'OFFSET', 'FLEX'):
        return ('SIZE' if kind == 'SIZE' else 'OFFSET', args) in assertions
    return args[0] not in needed or ('VALUE', args) in assertions


def main():
    root, compiler = Path(sys.argv[1]), sys.argv[2:]
    folder = root / 'libpfnbuf' / 'uapi'
    known = split(FACT, (root / 'tests' / 'uapi' / 'facts.def').read_text())
    called = {args[0].split('(')[0] for kind, args in known if kind == 'VALUE' and '(' in args[0]}
    checked = missing = 0
    for header in sorted(folder.glob('*.h')):
        if header.name == 'check.h':
            continue
        text = header.read_text()
        assertions, ioctls = split(ASSERTION, text), set(IOCTL.findall(text))
        found = headers.facts(compiler, root, header)
        if not found:
            print(f'{header.name}: no definition found')
            missing += 1
        unmerged = header.name in UNMERGED
        needed = {fact[1][0] for fact in found} if unmerged else ioctls
        for fact in found:
            checked += 1
            if listed(fact, known, called) == unmerged:
                print(f'{header.name}: facts.def {"has" if unmerged else "lacks"} {spelled(*fact)}')
                missing += 1
            if not asserted(fact, assertions, needed):
                print(f'{header.name}: no assertion with a literal number for {spelled(*fact)}')
                missing += 1
    print(f'{checked} definitions, {missing} unchecked')
    return 1 if missing else 0


if __name__ == '__main__':
    sys.exit(main())
