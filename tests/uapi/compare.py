# SPDX-License-Identifier: MIT
"""Compare the library's kernel interface headers with the kernel's own.

usage: compare.py --ours PROGRAM --sources DIR --fetch SCRIPT --work DIR --machine CPU COMPILER...

PROGRAM is facts.c built against the library's headers. The kernel's are those of the newest
linux-libc-dev that Debian offers, which SCRIPT unpacks below DIR once. Exit status 77: not to be had.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

PACKAGE = 'linux-libc-dev'
INTERFACE = (7, 3)  # the Linux whose interface the library's headers describe
UNAVAILABLE = 77


def fetch(script, folder):
    """Unpack the package unless it is there; return its version."""
    stamp = folder / 'version'
    if not stamp.exists():
        run = subprocess.run([script, folder, PACKAGE], stdout=subprocess.PIPE, text=True)
        if run.returncode:
            if run.returncode == UNAVAILABLE:
                print(f'skipped: {PACKAGE} is not to be had here, see above')
            sys.exit(run.returncode)
        stamp.write_text(dict(line.split() for line in run.stdout.splitlines())[PACKAGE])
    return stamp.read_text()


def include_options(root, machine):
    include = root / 'usr' / 'include'
    arch = [p.parent for p in include.glob('*-linux-gnu*/asm') if p.parent.name.startswith(machine + '-')]
    arch.sort(key=lambda p: len(p.name))
    if not arch:
        sys.exit(f'{PACKAGE} has no headers for {machine}')
    return ['-I', str(include), '-I', str(arch[0])]


def build(compiler, options, sources, work):
    """Build facts.c against the kernel's headers; return the facts that they do not know."""
    lines = (sources / 'facts.def').read_text().splitlines()
    (work / 'facts.c').write_text((sources / 'facts.c').read_text())
    command = compiler + ['-std=gnu11', '-w', '-DUAPI_FROM_LINUX', *options,
                          '-o', str(work / 'facts-linux'), str(work / 'facts.c')]
    unknown = []
    while True:
        (work / 'facts.def').write_text('\n'.join(lines) + '\n')
        run = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if run.returncode == 0:
            return unknown
        # The compiler names the line of each fact that it could not evaluate: go on without these.
        refused = {int(n) - 1 for n in re.findall(r'facts\.def:(\d+):', run.stderr)}
        refused = {n for n in refused if lines[n]}
        if not refused:
            sys.exit(f'facts.c does not compile against {PACKAGE}:\n{run.stderr}')
        for n in sorted(refused):
            unknown.append(lines[n])
            lines[n] = ''


def read_facts(program):
    output = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout
    facts = {}
    for line in output.splitlines():
        kind, *name, value = line.split(' ')
        facts[kind, *name] = int(value)
    return facts


def describe(kind, *name):
    if kind == 'size':
        return f'struct {name[0]}'
    if kind == 'offset':
        return f'struct {name[0]} field {name[1]}'
    if kind == 'width':
        return f'struct {name[0]} field {name[1]} width'
    return name[0]


def spelled(fact):
    """A line of facts.def as the reader should see it."""
    kind, args = re.match(r'(\w+)\((.*)\)$', fact).groups()
    if kind == 'VALUE':
        return args
    return describe('size' if kind == 'SIZE' else 'offset', *args.split(', '))


def differences(ours, linux):
    """The names whose numbers differ, each with a line that says how."""
    for key, value in ours.items():
        if key in linux and linux[key] != value:
            form = '{:#x}' if key[0] == 'value' else '{}'
            yield key[1], f'{describe(*key)}: ours {form.format(value)}, linux {form.format(linux[key])}'


def main():
    parser = argparse.ArgumentParser()
    for option in ('ours', 'sources', 'fetch', 'work', 'machine'):
        parser.add_argument('--' + option, required=True)
    parser.add_argument('compiler', nargs='+')
    args = parser.parse_args()

    work = Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    version = fetch(args.fetch, work)
    options = include_options(work / 'root', args.machine)
    unknown = build(args.compiler, options, Path(args.sources), work)
    ours, linux = read_facts(args.ours), read_facts(work / 'facts-linux')

    code = linux.pop(('version', 'linux'))
    release = (code >> 16, code >> 8 & 0xff)
    if re.match(r'(\d+)\.(\d+)', version).groups() != tuple(map(str, release)):
        sys.exit('{} is {}, but the headers found are of Linux {}.{}'.format(PACKAGE, version, *release))

    # Before the interface was what we describe, a name may be missing, and a struct may be shorter.
    older = release < INTERFACE
    grown = {re.split(r'[(,)]', fact)[1] for fact in unknown} if older else set()
    failures = 0
    for name, line in differences(ours, linux):
        print(line + (f' (has fewer fields in {version})' if name in grown else ''))
        failures += name not in grown
    for fact in unknown:
        print(f'{spelled(fact)}: not in {PACKAGE} {version}')
        failures += not older
    agree = sum(linux.get(key) == value for key, value in ours.items())
    print(f'{agree} of {len(ours)} numbers agree with {PACKAGE} {version}')
    return 1 if failures or not agree else 0


if __name__ == '__main__':
    sys.exit(main())
