#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: initramfs.sh OUT [DEST=FILE...]
#
# Make the initramfs of the test machine: busybox, the init script beside this one, and each FILE under
# the absolute name DEST. Programs have to be static.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { echo 'usage: initramfs.sh OUT [DEST=FILE...]' >&2; exit 1; }
out=$1
shift

busybox=
for b in /bin/busybox /usr/bin/busybox; do
	[ -x $b ] && busybox=$b && break
done
[ -n "$busybox" ] || { echo 'initramfs.sh: busybox is not installed (busybox-static)' >&2; exit 1; }

is_dynamic()	# PROGRAM
{
	LC_ALL=C grep -q -a -E '/lib(64)?/ld-(linux|musl)' "$1" && [ "$(head -c 4 "$1")" = "$(printf '\177ELF')" ]
}

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

mkdir -p "$tree/bin" "$tree/tests"
cp "$busybox" "$tree/bin/busybox"
cp "$here/init" "$tree/init"
chmod 755 "$tree/init"
if is_dynamic "$busybox"; then
	echo "initramfs.sh: $busybox is not static (busybox-static)" >&2
	exit 1
fi
for item; do
	dest=${item%%=*}
	file=${item#*=}
	mkdir -p "$tree/$(dirname "$dest")"
	cp "$file" "$tree/$dest"
	[ ! -x "$file" ] || chmod 755 "$tree/$dest"
done

(cd "$tree" && find . | LC_ALL=C sort | "$busybox" cpio -o -H newc -R 0:0 2>/dev/null) |
	gzip -1 >"$out.part"
mv "$out.part" "$out"
