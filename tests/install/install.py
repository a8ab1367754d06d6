# SPDX-License-Identifier: MIT
"""Install into a temporary folder and use the result as a stranger would.

Checks that programs in C and C++ build through pkg-config and run, against the shared and the static
library; that the headers compile alone; that the shared objects export what the headers declare and
nothing else, under their version node; and that they need nothing but the C library and each other.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
# What a shared object of ours may need, by library.
NEEDED = {
    "libpfnbuf.so": {"libc.so.6", "liburing.so.2"},
    "libpfnbuf-sim.so": {"libc.so.6", "libpfnbuf.so.0"},
}
VERSION_NODE = {
    "libpfnbuf.so": "PFNBUF_0.1",
    "libpfnbuf-sim.so": "PFNBUF_SIM_0.1",
}
HEADER = {
    "libpfnbuf.so": "pfnbuf.h",
    "libpfnbuf-sim.so": "pfnbuf-sim.h",
}

failures = []


def fail(text):
    failures.append(text)
    print(f"FAIL: {text}")


def run(argv, **kwargs):
    argv = [str(a) for a in argv]
    return subprocess.run(argv, capture_output=True, text=True, check=False, **kwargs)


def must(what, argv, **kwargs):
    """Run a command; report a failure. Returns its output, or None."""
    done = run(argv, **kwargs)
    if done.returncode:
        fail(f"{what}: {' '.join(map(str, argv))}\n{done.stdout}{done.stderr}")
        return None
    print(f"ok: {what}")
    return done.stdout


def install(args, dest):
    argv = [args.meson, "install", "-C", args.build, "--no-rebuild", "--destdir", dest]
    return must("meson install", argv) is not None


class Installed:
    """The tree that was installed, below a folder that stands for /."""

    def __init__(self, args, dest):
        root = pathlib.Path(dest)
        prefix = pathlib.Path(args.prefix)
        self.lib = root / (prefix / args.libdir).relative_to("/")
        self.include = root / (prefix / args.includedir).relative_to("/")
        self.prefix = root / prefix.relative_to("/")
        self.root = root
        self.data = root / (prefix / args.datadir).relative_to("/")
        self.env = dict(
            os.environ,
            PKG_CONFIG_PATH=str(self.lib / "pkgconfig"),
            PKG_CONFIG_SYSROOT_DIR=str(root),
            PKG_CONFIG_ALLOW_SYSTEM_CFLAGS="1",
            PKG_CONFIG_ALLOW_SYSTEM_LIBS="1",
        )

    def flags(self, package, *options):
        argv = ["pkg-config", *options, "--cflags", "--libs", package]
        out = must(f"{' '.join(argv)}", argv, env=self.env)
        return out.split() if out else []


def compilers(cc):
    """Every C and C++ compiler here, the one that built the library first. As (language, argv)."""
    found = [("c", cc)]
    for name in ("gcc", "clang", "clang-14"):
        if shutil.which(name) and [name] != cc:
            found.append(("c", [name]))
    for name in ("g++", "clang++", "clang++-14"):
        if shutil.which(name):
            found.append(("c++", [name]))
    return found


def check_headers(installed, cc):
    strict = ["-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    headers = sorted(installed.include.glob("pfnbuf*.h"))
    if not headers:
        fail(f"no header in {installed.include}")
    for header in headers:
        for language, compiler in compilers(cc):
            std = "c11" if language == "c" else "c++17"
            argv = [*compiler, f"-std={std}", *strict, "-I", installed.include]
            must(f"{header.name} alone, {compiler[0]} -std={std}", [*argv, "-x", language, header])


def build_and_run(installed, compiler, source, package, static, out):
    kind = "static" if static else "shared"
    what = f"{source.name} with {compiler[0]}, {kind} {package}"
    flags = installed.flags(package, *(["--static"] if static else []))
    argv = [*compiler, "-Wall", "-Wextra", "-Werror", source, "-o", out, *flags]
    if static:
        argv.append("-static")
    if must(f"build {what}", argv) is None:
        return
    env = dict(os.environ)
    env.pop("LD_LIBRARY_PATH", None)
    if not static:
        env["LD_LIBRARY_PATH"] = str(installed.lib)
    must(f"run {what}", [out], env=env)


def check_programs(installed, cc, programs, scratch):
    cxx = shutil.which("g++") or shutil.which("clang++")
    users = [(cc, programs / "user.c", "pfnbuf")]
    sim = (installed.lib / "pkgconfig" / "pfnbuf-sim.pc").exists()
    if sim:
        users.append((cc, programs / "user-sim.c", "pfnbuf-sim"))
    if cxx:
        users.append(([cxx, "-std=c++17"], programs / "user.cpp", "pfnbuf"))
    else:
        print("skipped: C++ program (no C++ compiler here)")
    for compiler, source, package in users:
        for static in (False, True):
            build_and_run(installed, compiler, source, package, static, scratch / "program")


def exported(library):
    """{symbol: version} of what a shared object defines for others, the version nodes left out."""
    out = must(f"nm -D {library.name}", ["nm", "-D", "--defined-only", library]) or ""
    symbols = {}
    for line in out.splitlines():
        _, kind, name = line.split(maxsplit=2)
        if kind == "A":
            continue
        symbol, _, version = name.partition("@@")
        symbols[symbol] = version
    return symbols


def declared(header):
    """The functions that a header declares with PFNBUF_API."""
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
    return set(re.findall(r"^PFNBUF_API\b[^;()]*?\b(pfnbuf_\w+)\(", text, flags=re.M))


def check_symbols(installed, library):
    names = exported(installed.lib / library)
    node = VERSION_NODE[library]
    header = declared(installed.include / HEADER[library])
    for name, version in sorted(names.items()):
        if not name.startswith("pfnbuf_"):
            fail(f"{library} exports {name}")
        if version != node:
            fail(f"{library}: {name} has version {version or 'none'}, not {node}")
    for name in sorted(header - names.keys()):
        fail(f"{library}: {name} is declared in {HEADER[library]} and not exported")
    for name in sorted(names.keys() - header):
        fail(f"{library}: {name} is exported and not declared in {HEADER[library]}")
    if not header:
        fail(f"found no declaration in {HEADER[library]}")
    print(f"{library}: {len(names)} symbols under {node}")


def check_needed(installed, library):
    out = must(f"readelf -d {library}", ["readelf", "-d", "-W", installed.lib / library]) or ""
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", out))
    # The dynamic linker itself stands in the list on some architectures; it comes with the C library.
    foreign = {n for n in needed - NEEDED[library] if not n.startswith("ld-linux")}
    if foreign:
        fail(f"{library} needs {', '.join(sorted(foreign))}")
    if not re.search(rf"\(SONAME\).*\[{re.escape(library)}\.\d+\]", out):
        fail(f"{library} has no soname with a version")


def check_libraries(installed):
    for library in NEEDED:
        if not (installed.lib / library).exists():
            if library == "libpfnbuf.so":
                fail(f"{library} is not installed")
            continue
        check_symbols(installed, library)
        check_needed(installed, library)


def check_man(installed, source):
    for page in sorted((source / "man").glob("*.[1-9]")):
        folder = installed.prefix / "share" / "man" / f"man{page.suffix[1:]}"
        if not list(folder.glob(f"{page.name}*")):
            fail(f"{page.name} is not installed below {folder}")


def check_profiles(installed, source):
    """Every profile is where the library looks for it by name."""
    folder = installed.data / "pfnbuf" / "profiles"
    wanted = {p.name: p.read_bytes() for p in (source / "profiles").glob("*.profile")}
    there = {p.name: p.read_bytes() for p in folder.glob("*")}
    if not wanted or there != wanted:
        fail(f"installed profiles: {sorted(there)}; of the source: {sorted(wanted)}")
    sought = str(pathlib.Path("/") / folder.relative_to(installed.root))
    if sought.encode() not in (installed.lib / "libpfnbuf.so").resolve().read_bytes():
        fail(f"the library does not look for profiles in {sought}")
    env = dict(os.environ, LD_LIBRARY_PATH=str(installed.lib))
    env.pop("PFNBUF_PROFILE_DIR", None)
    said = run([installed.prefix / "bin" / "pfnbufctl", "profile", "show", "no-such"], env=env).stderr
    if f" there is no no-such.profile in {sought}\n" not in said:
        fail(f"pfnbufctl looks for profiles elsewhere than in {sought}: {said}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--meson", required=True)
    parser.add_argument("--build", required=True)
    parser.add_argument("--programs", required=True, type=pathlib.Path)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--libdir", required=True)
    parser.add_argument("--includedir", required=True)
    parser.add_argument("--datadir", required=True)
    parser.add_argument("--sanitize", required=True)
    parser.add_argument("cc", nargs="+")
    args = parser.parse_args()

    if args.sanitize != "none":
        print(f"skipped: built with -fsanitize={args.sanitize}, which no one installs")
        return SKIP
    for tool in ("pkg-config", "nm", "readelf"):
        if not shutil.which(tool):
            print(f"skipped: there is no {tool} here")
            return SKIP
    with tempfile.TemporaryDirectory(prefix="pfnbuf-install-") as folder:
        scratch = pathlib.Path(folder)
        if install(args, scratch / "root"):
            installed = Installed(args, scratch / "root")
            check_headers(installed, args.cc)
            check_programs(installed, args.cc, args.programs, scratch)
            check_libraries(installed)
            check_man(installed, args.programs.parents[1])
            check_profiles(installed, args.programs.parents[1])
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
