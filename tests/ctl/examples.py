#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds examples/reports to the command that made them, and pictures to what they should show.

Every NAME.json encodes to NAME.bin, and NAME.bin decodes to NAME.json, byte for byte. A picture of each is well-formed
SVG whose runs cover their bars and whose labels keep apart. --write makes both files again, the .json canonical.
"""

import pathlib
import subprocess
import sys
import xml.etree.ElementTree

REPORTS = pathlib.Path(__file__).resolve().parent.parent.parent / "examples" / "reports"
SVG = "{http://www.w3.org/2000/svg}"

# How each compiles: the BARs of the device that it could be of.
BARS = {
    "byte-addresses": ["--bar", "0=64K@0xf0000000", "--bar", "4=4K@0xf0010000"],
    "gpu": ["--bar", "0=16M@0x3800000000,64", "--bar", "2=4G@0x4000000000,64", "--bar", "4=32M@0x3810000000,64"],
    "inside": ["--bar", "2=1M@0xe0000000"],
    "nvme": ["--bar", "0=16K@0xfebf0000,64"],
    "spdm-emu": [part for bar in range(1, 5) for part in ("--bar", f"{bar}=64K")]
    + ["--base", "min-range", "--unit", "pages"],
    "tdisp-bind": ["--bar", "0=64K", "--bar", "2=64K,64", "--base", "first-range"],
}


def run(command, *arguments):
    return subprocess.run([command, *map(str, arguments)], check=True, capture_output=True).stdout


def check_forms(command, json, write):
    binary = json.with_suffix(".bin")
    if write:
        binary.write_bytes(run(command, "tdi", "encode", json))
        json.write_bytes(run(command, "tdi", "decode", binary))
    assert run(command, "tdi", "encode", json) == binary.read_bytes(), f"{json.name} does not encode to {binary.name}"
    assert run(command, "tdi", "decode", binary) == json.read_bytes(), f"{binary.name} does not decode to {json.name}"


def check_picture(command, json):
    root = xml.etree.ElementTree.fromstring(run(command, "layout", "compile", json, *BARS[json.stem], "--svg", "-"))
    rects = list(root.iter(SVG + "rect"))
    bars = [rect for rect in rects if rect.get("class") == "frame"]
    assert len(bars) == BARS[json.stem].count("--bar"), f"{json.name}: {len(bars)} bars are drawn"
    for bar in bars:
        runs = [rect for rect in rects if rect.find(SVG + "title") is not None and rect.get("y") == bar.get("y")]
        left, width = float(bar.get("x")), float(bar.get("width"))
        end = left
        for run_ in sorted(runs, key=lambda rect: float(rect.get("x"))):
            assert float(run_.get("x")) <= end + 0.1, f"{json.name}: a gap at {end}"
            end = max(end, float(run_.get("x")) + float(run_.get("width")))
        assert abs(end - left - width) < 3, f"{json.name}: runs end at {end}, not at {left + width}"
    check_labels(json, root)


def check_labels(json, root):
    """No label stands on another or leaves the picture; a letter is about six wide."""
    ends = {}
    for text in root.iter(SVG + "text"):
        if not text.get("class").startswith("label"):
            continue
        x, width = float(text.get("x")), 6 * len(text.text)
        start = x - width if "left" in text.get("class") else x
        assert start >= ends.get(text.get("y"), 0), f"{json.name}: `{text.text}` stands on what is left of it"
        ends[text.get("y")] = start + width
        assert start + width <= float(root.get("width")), f"{json.name}: `{text.text}` leaves the picture"


def main():
    command, write = sys.argv[1], "--write" in sys.argv[2:]
    reports = sorted(REPORTS.glob("*.json"))
    assert {json.stem for json in reports} == set(BARS), "a report without a device, or the other way round"
    assert {binary.stem for binary in REPORTS.glob("*.bin")} == set(BARS) or write, "a .bin without its .json"
    for json in reports:
        check_forms(command, json, write)
        check_picture(command, json)


if __name__ == "__main__":
    main()
