#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The example script on real devices: edu reaches for the BAR of the first ivshmem.

set -eu

# The first device of that kind, in order of address.
find_device()	# VENDOR DEVICE
{
	for dev in /sys/bus/pci/devices/*; do
		if [ "$(cat "$dev/vendor") $(cat "$dev/device")" = "$1 $2" ]; then
			echo "${dev##*/}"
			return
		fi
	done
	echo "no PCI device $1:$2" >&2
	return 1
}

importer=$(find_device 0x1234 0x11e8)
exporter=$(find_device 0x1af4 0x1110)
exec pfnbufctl -D importer="$importer" -D exporter="$exporter" run /examples/p2p-revoke.pfn
