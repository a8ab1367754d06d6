#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Drawings on a terminal are as wide as it is, and coloured; with NO_COLOR, or into a pipe, they are plain."""

import fcntl
import os
import pathlib
import pty
import re
import struct
import subprocess
import sys
import termios

REPORT = pathlib.Path(__file__).resolve().parent.parent.parent / "examples" / "reports" / "nvme.bin"
ESCAPE = re.compile(r"\033\[[0-9;]*m")


def draw(command, columns, **environment):
    main_end, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", **environment}
    process = subprocess.Popen([command, "layout", "compile", REPORT, "--bar", "0=16K@0xfebf0000,64"],
                               stdout=terminal, env=environment)
    os.close(terminal)
    seen = b""
    try:
        while chunk := os.read(main_end, 65536):
            seen += chunk
    except OSError:  # the other end is closed
        pass
    assert process.wait() == 0
    return seen.decode().replace("\r\n", "\n")


def bar_of(text):
    return next(line for line in text.splitlines() if ESCAPE.sub("", line).startswith("BAR 0"))


def main():
    command = sys.argv[1]
    try:
        for end in pty.openpty():
            os.close(end)
    except OSError as error:
        print(f"skipped: this machine has no pseudo-terminals ({error})")
        sys.exit(77)
    for columns in (40, 80, 133, 400):
        coloured, plain = draw(command, columns), draw(command, columns, NO_COLOR="1")
        assert ESCAPE.search(coloured), "no colours on a terminal"
        assert not ESCAPE.search(plain), "colours in spite of NO_COLOR"
        for text in (coloured, plain):
            width = len(ESCAPE.sub("", bar_of(text)))
            assert width == columns, f"{width} columns drawn on a terminal of {columns}"
        assert "\033[44m" in bar_of(coloured) and "\033[45m" in bar_of(coloured), "private and MSI-X have no colours"
        assert "##" in bar_of(plain) and "MM" in bar_of(plain), "private and MSI-X have no letters"


if __name__ == "__main__":
    main()
