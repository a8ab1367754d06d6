#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: build.sh OUT
#
# Build the kernel's own test program tools/testing/selftests/iommu/iommufd from the source that
# tests/vm/kernel.sh fetches: OUT/iommufd, for pfnbuf-sim-run, and OUT/iommufd-static, for the machine
# of tests/vm. What it needs of that source stays in the cache folder.
#
# Exit status: 0 done; 77 it cannot be had here, with the reason on stderr; 1 anything else.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${PFNBUF_CACHE:-${XDG_CACHE_HOME:-${HOME:?neither PFNBUF_CACHE nor HOME is set}/.cache}/pfnbuf}
tree=$cache/selftests
program=tools/testing/selftests/iommu
out=$1
cc=${CC:-cc}

say()
{
	echo "build.sh: $*" >&2
}

# By one rename at its end, so that an interrupted one never counts.
get_source()
{
	[ ! -f "$tree/$program/iommufd.c" ] || return 0
	mkdir -p "$cache"
	part=$(mktemp -d "$cache/selftests.XXXXXX")
	trap 'rm -rf "$part"' EXIT
	# tar's wildcards do not cross a slash.
	"$here/../vm/kernel.sh" --source "$part" "$program/*" 'tools/testing/selftests/*.h' \
		'drivers/iommu/iommufd/iommufd_test.h' 'include/uapi/linux/iommufd.h' \
		'include/uapi/linux/vfio.h' || exit $?
	# The exported headers of that kernel; the rest of them is the C library's.
	mkdir -p "$part/exported/linux"
	mv "$part/include/uapi/linux"/*.h "$part/exported/linux/"
	chmod 755 "$part"
	rm -rf "$tree"
	mv "$part" "$tree"
	trap - EXIT
}

# Annotations that installing the headers would take away are defined away.
compile()	# PROGRAM OPTION...
{
	to=$1
	shift
	$cc -O2 -w "$@" -D_GNU_SOURCE= -D__user= '-D__counted_by(x)=' -isystem "$tree/exported" \
		-I "$tree/tools/testing/selftests" "$tree/$program/iommufd.c" -o "$to.part" -lcap
	mv "$to.part" "$to"
}

echo '#include <sys/capability.h>' | $cc -E -x c - >/dev/null 2>&1 || {
	say 'the headers of libcap are not installed (libcap-dev)'
	exit 77
}
get_source
mkdir -p "$out"
for kind in iommufd iommufd-static; do
	[ -z "$(find "$out/$kind" -newer "$tree/$program/iommufd.c" -newer "$0" 2>/dev/null)" ] || continue
	case $kind in
	*-static) compile "$out/$kind" -static ;;
	*) compile "$out/$kind" ;;
	esac
done
