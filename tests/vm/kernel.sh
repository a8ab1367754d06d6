#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: kernel.sh
#        kernel.sh --source DIR PATH...
#
# Print the path of the bzImage that the virtual-machine tests boot; build it first if there is none.
# With --source: unpack the given paths (such as tools/testing/selftests) of that kernel's source into DIR.
#
# The source is Debian's newest linux-source-7.3 (else the newest 7.x), the configuration is
# `make tinyconfig` plus kernel.config. A built kernel stays in the cache folder under its version and the
# hash of kernel.config and is used from then on without a look at the network; to get a newer one, remove
# that folder. A build appears there by one rename at its end, so an interrupted one never counts as made.
#
# PFNBUF_CACHE    the cache folder, by default ${XDG_CACHE_HOME:-$HOME/.cache}/pfnbuf
# PFNBUF_KERNEL   a bzImage to use instead; nothing is built
#
# Exit status: 0 done; 77 the source cannot be had here, with the reason on stderr; 1 anything else.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
fragment=$here/kernel.config
cache=${PFNBUF_CACHE:-${XDG_CACHE_HOME:-${HOME:?neither PFNBUF_CACHE nor HOME is set}/.cache}/pfnbuf}
kernels=$cache/kernel
sources=$cache/source
hash=$(sha256sum "$fragment" | cut -c 1-12)
work=
make=

say()
{
	echo "kernel.sh: $*" >&2
}

die()
{
	say "$*"
	exit 1
}

cleanup()
{
	[ -z "$make" ] || { kill "$make" && wait "$make"; } 2>/dev/null || :
	[ -z "$work" ] || rm -rf "$work"
}

# The magic number of the x86 boot protocol.
is_bzimage()	# FILE
{
	[ -f "$1" ] && [ "$(dd if="$1" bs=1 skip=514 count=4 2>/dev/null)" = HdrS ]
}

# The newest kernel built with today's fragment.
cached()
{
	name=$(find "$kernels" -maxdepth 1 -name "*-$hash" -exec basename {} \; 2>/dev/null |
		sort -V | tail -n 1)
	[ -n "$name" ] && is_bzimage "$kernels/$name/bzImage" && echo "$kernels/$name/bzImage"
}

# The lock also keeps a second caller waiting until the first has built what both want.
lock()
{
	mkdir -p "$kernels" "$sources"
	exec 9>"$kernels/lock"
	flock -n 9 && return
	say 'another build is under way; waiting for it'
	flock 9
}

# Sets $source to the source archive in the cache and $version to its version.
# Needs the lock and $work.
get_source()
{
	source=$(find "$sources" -name 'linux-source-7.*.tar.xz' 2>/dev/null | sort -V | tail -n 1)
	if [ -n "$source" ]; then
		version=$(basename "$source" .tar.xz | sed 's/^linux-source-//')
		return
	fi
	fetch="$here/../debian-fetch.sh"
	package=linux-source-7.3
	say "fetching $package"
	status=0
	got=$("$fetch" "$work/fetch" $package) || status=$?
	if [ $status -eq 77 ]; then
		package=$("$fetch" --list "$work/fetch" '^linux-source-7\.[0-9]+$' | sort -V | tail -n 1)
		[ -n "$package" ] || exit 77
		status=0
		got=$("$fetch" "$work/fetch" "$package") || status=$?
	fi
	[ $status -eq 0 ] || exit $status
	version=${got##* }
	# Debian's revision says nothing about the kernel's own source that the name should carry.
	version=${version%%-*}
	source=$sources/linux-source-$version.tar.xz
	mv "$work/fetch/root/usr/src/$package.tar.xz" "$source.part"
	mv "$source.part" "$source"
	rm -rf "$work/fetch"
}

unpack()	# DIR [PATTERN...]
{
	into=$1
	shift
	mkdir -p "$into"
	tar -C "$into" --strip-components=1 --wildcards --no-wildcards-match-slash -xJf "$source" "$@"
}

# An option whose dependencies are not met silently falls out of a configuration: name each one.
check_config()	# CONFIG
{
	missing=$(awk '
		NR == FNR { have[$0] = 1; next }
		/^CONFIG_[A-Z0-9_]*=/ && !have[$0] { print }
		/^# CONFIG_[A-Z0-9_]* is not set$/ { off[$2] = 1 }
		END {
			for (line in have) {
				split(line, part, "=")
				if (off[part[1]]) print "# " part[1] " is not set"
			}
		}' "$1" "$fragment")
	[ -z "$missing" ] || die "these options of kernel.config did not take:
$missing"
}

need_tools()
{
	missing=
	for tool in make flex bison bc xz tar flock; do
		command -v $tool >/dev/null || missing="$missing $tool"
	done
	compiler=
	for c in gcc clang; do
		command -v $c >/dev/null && compiler=$c && break
	done
	[ -n "$compiler" ] || missing="$missing gcc"
	[ -z "$missing" ] || die "building the kernel needs:$missing"
	echo '#include <gelf.h>' | $compiler -E -x c - >/dev/null 2>&1 ||
		die 'building the kernel needs the headers of libelf (libelf-dev)'
}

# In the background, since the shell runs no trap while it waits for a command in the foreground.
kmake()	# ARGUMENT...
{
	# The caller may be make or ninja: their variables are not for the kernel's own make.
	env -u MAKEFLAGS -u CFLAGS -u LDFLAGS -u CC -u ARCH -u CROSS_COMPILE \
		KBUILD_BUILD_USER=pfnbuf KBUILD_BUILD_HOST=pfnbuf \
		make -s -C "$work/linux" CC=$compiler HOSTCC=$compiler "$@" >>"$work/log" 2>&1 &
	make=$!
	wait $make || {
		tail -n 20 "$work/log" >&2
		die "make $* failed"
	}
	make=
}

build()
{
	need_tools
	get_source
	say "building Linux $version with $compiler: about 7 minutes on two cores, and 2 GB of disk"
	start=$(date +%s)
	unpack "$work/linux"
	kmake tinyconfig
	cat "$fragment" >>"$work/linux/.config"
	kmake olddefconfig
	check_config "$work/linux/.config"
	kmake -j"$(nproc)" bzImage
	is_bzimage "$work/linux/arch/x86/boot/bzImage" || die 'make left no bzImage'

	mkdir "$work/out"
	cp "$work/linux/arch/x86/boot/bzImage" "$work/out/"
	cp "$work/linux/.config" "$work/out/config"
	sync "$work/out/bzImage" "$work/out/config"
	rm -rf "${kernels:?}/$version-$hash"
	mv "$work/out" "$kernels/$version-$hash"
	say "built in $(($(date +%s) - start)) s"
}

begin_work()
{
	# With the lock held, what another run left here is of a build that was killed.
	rm -rf "$kernels"/build.*
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	work=$(mktemp -d "$kernels/build.XXXXXX")
}

if [ "${1-}" = --source ]; then
	[ $# -ge 3 ] || die 'usage: kernel.sh --source DIR PATH...'
	shift
	dir=$1
	shift
	lock
	begin_work
	get_source
	for path; do
		set -- "$@" "linux-source-*/$path"
		shift
	done
	unpack "$dir" "$@"
	exit
fi

if [ -n "${PFNBUF_KERNEL-}" ]; then
	is_bzimage "$PFNBUF_KERNEL" || die "PFNBUF_KERNEL: $PFNBUF_KERNEL is not a bzImage"
	echo "$PFNBUF_KERNEL"
	exit
fi

cached && exit
[ "$(uname -m)" = x86_64 ] || { say 'the test kernel is for x86_64'; exit 77; }
lock
cached && exit
begin_work
build
cached
