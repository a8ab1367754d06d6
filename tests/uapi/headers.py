# SPDX-License-Identifier: MIT
"""Read the facts that a kernel interface header defines out of its preprocessed text."""

import re
import subprocess

TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|\w+|\S')
DEFINE = re.compile(r'#define (\w+)(\(?)')
MARKER = re.compile(r'# \d+ "([^"]*)"')


def own_text(compiler, root, header):
    """The declarations and the macro names (name, function-like) of the header file itself."""
    command = compiler + ['-std=gnu11', '-E', '-dD', '-x', 'c', '-I', str(root), str(header)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    own = False
    text, macros = [], []
    for line in output.splitlines():
        marker = MARKER.match(line)
        if marker:
            own = marker.group(1) == str(header)
        elif own and line.startswith('#'):
            define = DEFINE.match(line)
            if define:
                macros.append((define.group(1), define.group(2) == '('))
        elif own:
            text.append(line)
    return '\n'.join(text), macros


def closing(tokens, start):
    """The index behind the bracket that closes the one at start."""
    depth = 0
    for i in range(start, len(tokens)):
        if tokens[i] in '({[':
            depth += 1
        elif tokens[i] in ')}]':
            depth -= 1
            if depth == 0:
                return i + 1
    raise ValueError('unbalanced ' + ' '.join(tokens[start:start + 8]))


def declarators(tokens):
    """The names (name, flexible array) of one plain member declaration without its semicolon."""
    for part in ' '.join(tokens).split(','):
        name = re.search(r'(\w+)\s*(\[.*)?$', part.strip())
        yield name.group(1), bool(name.group(2)) and not name.group(2).strip('[] ')


def declarations(tokens):
    """The declarations that a semicolon ends, without it."""
    start = 0
    while start < len(tokens):
        end = start
        while tokens[end] != ';':
            end = closing(tokens, end) if tokens[end] in '{[(' else end + 1
        yield tokens[start:end]
        start = end + 1


def members(tokens, prefix):
    """The fields (path, flexible array) of a struct's or union's body, nested ones included."""
    for declaration in declarations(tokens):
        if '{' in declaration:
            brace = declaration.index('{')
            after = closing(declaration, brace)
            inner = prefix
            if after < len(declaration):
                yield prefix + declaration[after], False
                inner = prefix + declaration[after] + '.'
            yield from members(declaration[brace + 1:after - 1], inner)
        else:
            for name, flexible in declarators(declaration):
                yield prefix + name, flexible


def enumerators(tokens):
    names = [part.split('=')[0].strip() for part in ' '.join(tokens).split(',')]
    return [name for name in names if name]


def facts(compiler, root, header):
    """The facts of one header, as (kind, arguments): what must stand in facts.def."""
    text, macros = own_text(compiler, root, header)
    tokens = TOKEN.findall(text)
    found = []
    for declaration in declarations(tokens):
        if '{' in declaration:
            brace = declaration.index('{')
            body = declaration[brace + 1:closing(declaration, brace) - 1]
            if declaration[0] == 'struct':
                tag = declaration[1]
                found.append(('SIZE', (tag,)))
                for path, flexible in members(body, ''):
                    found.append(('FLEX' if flexible else 'OFFSET', (tag, path)))
            elif declaration[0] == 'enum':
                found += [('VALUE', (name,)) for name in enumerators(body)]
            else:
                raise ValueError(f'{header}: not understood: ' + ' '.join(declaration[:6]))
        elif declaration[0] not in ('static_assert', '_Static_assert'):
            raise ValueError(f'{header}: not understood: ' + ' '.join(declaration[:6]))
    for name, function_like in macros:
        if not name.startswith('PFNBUF_UAPI_'):
            found.append(('CALL' if function_like else 'VALUE', (name,)))
    return found
