# SPDX-License-Identifier: MIT
"""Hold the README and pfnbuf(7) against what is there.

The README opens with what the thing is for, and its first block of code is two commands. The C examples
of both compile without a warning and do on the simulated kernel what they say. Every folder is in the
README's table and every folder of the table is there. Functions that pfnbuf(7) names exist.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys

failures = []


def fail(text):
    failures.append(text)
    print(f"FAIL: {text}")


def code_blocks(text):
    """Indented and fenced blocks of a Markdown text in order, as (language, code)."""
    blocks, code, fence = [], [], None
    for line in text.splitlines() + [""]:
        if fence is not None:
            if line.startswith("```"):
                blocks.append((fence, "\n".join(code) + "\n"))
                code, fence = [], None
            else:
                code.append(line)
        elif line.startswith("```"):
            fence = line[3:].strip()
        elif line.startswith("    "):
            code.append(line[4:])
        elif code:
            blocks.append(("", "\n".join(code) + "\n"))
            code = []
    return blocks


def check_opening(text):
    lines = [line for line in text.splitlines() if line and not line.startswith("<!--")]
    if not lines[0].startswith("# ") or lines[1].startswith("#") or len(lines[1]) < 40:
        fail("README.md does not open with what it is for")
    first = code_blocks(text)[0][1].split("\n")
    if first != ["./dev demo", "./dev test", ""]:
        fail(f"the first code block of README.md is {first}")


def check_folders(text, source):
    named = set(re.findall(r"^\| `([\w-]+)` \|", text, flags=re.M))
    listed = subprocess.run(
        ["git", "-C", source, "ls-files"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        print("not a git checkout: folders are taken as they lie")
        there = {p.name for p in source.iterdir() if p.is_dir() and not p.name.startswith((".", "build"))}
    else:
        there = {line.split("/")[0] for line in listed.stdout.splitlines() if "/" in line}
        there = {name for name in there if not name.startswith(".")}
    for name in sorted(named - there):
        fail(f"README.md names the folder {name}, which is not there")
    for name in sorted(there - named):
        fail(f"README.md does not name the folder {name}")


def check_named_files(text, source):
    for name in re.findall(r"`((?:examples|include|man)/[\w./-]+)`", text):
        if not (source / name).exists():
            fail(f"README.md names {name}, which is not there")


def man_example(text):
    """The C of a manual page's example block."""
    for block in re.findall(r"^\.Bd -literal\n(.*?)^\.Ed$", text, flags=re.S | re.M):
        if "#include" in block:
            return block.replace("\\e", "\\")
    return None


def check_man_functions(text, source):
    header = (source / "include" / "pfnbuf.h").read_text()
    for name in sorted(set(re.findall(r"^\.Fn (pfnbuf_\w+)", text, flags=re.M))):
        if not re.search(rf"\b{name}\(", header):
            fail(f"pfnbuf(7) names {name}(), which pfnbuf.h does not declare")
    for name in sorted(set(re.findall(r"\b(PFNBUF_\w+)", text))):
        if not re.search(rf"\b{name}\b", header):
            fail(f"pfnbuf(7) names {name}, which pfnbuf.h does not define")


RUNNER = r"""
#include <pfnbuf-sim.h>
#include <stdio.h>
#include <string.h>

int share(struct pfnbuf_ctx *ctx, const char *exporter, const char *importer);

int main(void)
{
	const struct pfnbuf_sim_device devices[] = {
		{ .bdf = "0000:01:00.0", .flags = PFNBUF_SIM_FLR, .bars = { [2] = { .size = 1 << 20 } } },
		{ .bdf = "0000:02:00.0", .bars = { { .size = 1 << 12 } } },
	};
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts) };
	struct pfnbuf_sim_counts before, after;
	struct pfnbuf_sim *sim;
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_event event;
	int revoked = 0;

	if (pfnbuf_sim_new(&sim) < 0 || pfnbuf_sim_add_device(sim, &devices[0]) < 0 ||
	    pfnbuf_sim_add_device(sim, &devices[1]) < 0)
		return 1;
	pfnbuf_sim_get_counts(sim, &before);
	opts.kernel = pfnbuf_sim_kernel(sim);
	if (pfnbuf_ctx_new(&ctx, &opts) < 0)
		return 1;
	if (share(ctx, devices[0].bdf, devices[1].bdf) != 0)
		return 1;
	/* It fails where it should, too: the exporter has to be there. */
	if (share(ctx, "0000:03:00.0", devices[1].bdf) == 0)
		return 1;
	while (pfnbuf_ctx_pop_event(ctx, &event) > 0)
		revoked += event.type == PFNBUF_EVENT_REVOKED;
	pfnbuf_ctx_free(ctx);
	pfnbuf_sim_get_counts(sim, &after);
	pfnbuf_sim_free(sim);
	return revoked != 1 || memcmp(&before, &after, sizeof(before)) != 0;
}
"""


def run_example(what, code, args):
    scratch = args.scratch / what
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / "example.c").write_text(code)
    (scratch / "runner.c").write_text(RUNNER)
    argv = [
        *args.cc, "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-parentheses",
        "-I", args.source / "include", scratch / "example.c", scratch / "runner.c",
        "-o", scratch / "example", args.sim, args.library,
    ]  # fmt: skip
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False)
    if done.returncode:
        fail(f"the example of {what} does not compile:\n{done.stderr}")
        return
    paths = f"{args.library.resolve().parent}:{args.sim.resolve().parent}"
    env = dict(os.environ, LD_LIBRARY_PATH=paths)
    done = subprocess.run(
        [str(scratch / "example")], capture_output=True, text=True, check=False, env=env
    )
    if done.returncode:
        fail(f"the example of {what} ends with {done.returncode}:\n{done.stdout}{done.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, type=pathlib.Path)
    parser.add_argument("--scratch", required=True, type=pathlib.Path)
    parser.add_argument("--library", required=True, type=pathlib.Path)
    parser.add_argument("--sim", required=True, type=pathlib.Path)
    parser.add_argument("cc", nargs="+")
    args = parser.parse_args()

    readme = (args.source / "README.md").read_text()
    check_opening(readme)
    check_folders(readme, args.source)
    check_named_files(readme, args.source)
    examples = [code for language, code in code_blocks(readme) if language == "c"]
    if not examples:
        fail("README.md has no example in C")
    for example in examples:
        run_example("README", example, args)

    man = (args.source / "man" / "pfnbuf.7").read_text()
    check_man_functions(man, args.source)
    example = man_example(man)
    if example is None:
        fail("pfnbuf.7 has no example in C")
    else:
        run_example("pfnbuf.7", example, args)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
