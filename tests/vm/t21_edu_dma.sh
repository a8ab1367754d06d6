#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Real DMA from a script alone: edu's registers are written through its BAR.

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

edu=$(find_device 0x1234 0x11e8)
memory=$(find_device 0x1af4 0x1110)
exec pfnbufctl -D edu="$edu" -D memory="$memory" run /examples/edu-dma.pfn
