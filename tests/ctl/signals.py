#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What ends a held run and an unfinished wait: signals and the end of input. Either way everything is released."""

import os
import signal
import subprocess
import sys

COMMAND = sys.argv[1]
TIMEOUT = 60
failed = 0


def start(*arguments, stdin=subprocess.PIPE):
    return subprocess.Popen([COMMAND, "--sim", *arguments], stdin=stdin, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env=dict(os.environ, LC_ALL="C", NO_COLOR="1"))


def read_until(stream, words):
    for line in stream:
        if words in line:
            return
    raise AssertionError(f"never said: {words}")


def end(process, code, *wanted):
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == code, f"exit code {process.returncode}, not {code}: {out}{err}"
    for words in wanted:
        assert words in out + err, f"not said: {words}\n{out}{err}"


def hold_until_signal(number):
    # /dev/null is at its end all the time, and does not end the run.
    process = start("--hold", "-c", "ioas io", stdin=subprocess.DEVNULL)
    read_until(process.stderr, "holding until SIGINT or SIGTERM")
    assert process.poll() is None
    process.send_signal(number)
    end(process, 0, "released: 1 address space", "nothing is left")


def hold_until_end_of_input():
    process = start("--hold", "-c", "ioas io; memfd ram 4K")
    read_until(process.stderr, "or the end of input")
    process.stdin.write("what comes on the way means nothing\n")
    process.stdin.flush()
    assert process.poll() is None
    end(process, 0, "released: 1 buffer, 1 address space", "nothing is left")


def interrupted_wait():
    process = start("-c", "device a 0000:01:00.0; ioas io; print begun; wait revoked timeout=1m")
    read_until(process.stdout, "begun")
    process.send_signal(signal.SIGINT)
    end(process, 1, "EINTR: stopped by a signal", "released: 1 device, 1 address space", "nothing is left")


def interrupted_transaction():
    process = start("-c", "ioas old; begin; ioas io; memfd ram 4K; print begun; sleep 1m; commit")
    read_until(process.stdout, "begun")
    process.send_signal(signal.SIGTERM)
    end(process, 1, "undone: 2 steps", "released: 1 address space", "nothing is left")


def closed_output():
    # A reader that goes away, as head(1) does, does not keep anything from being released.
    process = start("-c", "; ".join(["ioas io"] + ["print words"] * 2000))
    process.stdout.close()
    err = process.stderr.read()
    process.stdin.close()
    assert process.wait(timeout=TIMEOUT) == 1, process.returncode
    assert "left in the simulated kernel" not in err, err


for number, (name, test) in enumerate([
        ("hold until SIGTERM", lambda: hold_until_signal(signal.SIGTERM)),
        ("hold until SIGINT", lambda: hold_until_signal(signal.SIGINT)),
        ("hold until the end of input", hold_until_end_of_input),
        ("a signal ends a wait", interrupted_wait),
        ("a signal undoes a transaction", interrupted_transaction),
        ("a reader goes away", closed_output)], 1):
    try:
        test()
        print(f"ok {number} {name}")
    except (AssertionError, subprocess.TimeoutExpired) as error:
        failed += 1
        print(f"not ok {number} {name}")
        print("\n".join(f"# {line}" for line in str(error).splitlines()))
print(f"1..{number}")
sys.exit(1 if failed else 0)
