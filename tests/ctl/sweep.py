#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Lets each kernel call of a transaction fail, one after the other: afterwards all is as it was before, and it works."""

import os
import pathlib
import subprocess
import sys

COMMAND = sys.argv[1]
PROFILE = str(pathlib.Path(__file__).resolve().parent.parent.parent / "profiles" / "tdx-rfc2.profile")
SETUP = """\
device a 0000:00:01.0
device b 0000:00:02.0
ioas old
attach a old
busmaster a on
export bar b 2 0x0+64K
map w old bar iova=0x100000
vm v type=sw-protected
memfd ram 4M
guest-memfd hidden v 4M
slot s v ram 0x0+1M gpa=0x0
attributes v 0x0+64K private
memfd two 1M
guest-memfd beneath v 1M
ram-window low two private=beneath vm=v gpa=0x10000000 ioas=old iova=0x10000000
set-layout low
convert low 0x40000+64K to=private
bar-window win b 2 0x100000+64K vm=v gpa=0x20000000 ioas=old iova=0x20000000
set-range win 0x0+8K shared
"""
STEPS = """\
begin
device c 0000:01:00.0
ioas io
allow io 0x0+1G
attach c io
memfd more 64K
map m io more iova=0x10000
copy n old old 0x100000+64K iova=0x200000
unmap w
slot t v ram 0x100000+1M gpa=0x100000 private=hidden
move s 0x4000000
log s on
attributes v 0x8000+64K private
convert low 0x0+64K 0x48000+4K to=private
convert v 0x10040000+16K to=shared
set-range low 0x80000+4K hole
set-layout win
move low 0x18000000 iova=0x18000000
suspend win
ram-window fresh more vm=v gpa=0x30000000 ioas=io iova=0x30000000
set-layout fresh
decode b off
busmaster a off
detach a
export slice c 0 0x0+4K
map p io slice
commit
"""
BIND_SETUP = f"""\
sim device 0000:02:00.0 bar0=64K bar2=64K,64,prefetchable traits=flr,tee
vm v type=sw-protected
device t 0000:02:00.0 vm=v
ioas io
attach t io
tsm connect t tsm0
bar-window b0 t 0 vm=v gpa=0x10000000 ioas=io iova=0x10000000
bar-window b2 t 2 vm=v gpa=0x20000000 ioas=io iova=0x20000000
set-layout b0
set-layout b2
bind b t v b0 b2 digest={'00' * 32}
"""
BIND_STEPS = """\
begin
memfd c 4K
set-range b2 0x0+4K hole
tdi lock b
expect b state=CONFIG_LOCKED bound=on
commit
"""
# More calls than the transaction makes.
ENOUGH = 220


def run(stdin, *arguments):
    done = subprocess.run([COMMAND, *arguments, "-i"], input=stdin, capture_output=True, text=True, timeout=120,
                          env=dict(os.environ, LC_ALL="C", NO_COLOR="1"))
    return done.returncode, done.stdout, done.stderr


def dumps(out):
    """What stands between the marks around each dump."""
    return [part.split("<<<\n")[0] for part in out.split(">>>\n")[1:]]


def sweep(setup, steps, errno, least, enough, *arguments):
    dump = 'print ">>>"\nsim dump\nprint "<<<"\n'
    # One line of the prompt: what comes behind the failure is not run.
    line = "; ".join(steps.splitlines()) + "\n"
    problems, failures = [], 0
    for nth in range(1, enough):
        code, out, err = run(f"{setup}{dump}sim fail nth={nth} errno={errno}\n{line}sim fail nth=0\n{dump}{line}",
                             *arguments)
        if "undone:" not in err:
            # The call was not one of the transaction's, or its failure made no difference. Then names are taken now.
            if "the name `c` is taken" not in err:
                problems.append(f"call {nth}: neither done nor undone: {err}")
            continue
        failures += 1
        before, after = dumps(out)[:2]
        if code == 4 or "undo failed" in err or "left in" in err:
            problems.append(f"call {nth}: the undo failed: {err}")
        elif before != after:
            problems.append(f"call {nth}: not as before\n{before}---- after\n{after}---- said\n{err}")
        elif err.count("failed:") != 1 or "error:" in err:
            problems.append(f"call {nth}: does not work afterwards: {err}")
    if failures < least:
        problems.append(f"only {failures} failures: the calls of the transaction are not reached")
    return problems, failures


def main():
    problems, failures = sweep(SETUP, STEPS, "ENOMEM", 30, ENOUGH, "--sim")
    # Of this errno it is certain that nothing was bound.
    more, binds = sweep(BIND_SETUP, BIND_STEPS, "EBUSY", 10, 60, "--sim=tdx-rfc2", "--profile", PROFILE)
    problems += more
    print("\n".join(problems) or f"{failures} + {binds} failing calls, each undone")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
