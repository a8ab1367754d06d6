#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: find-device VENDOR DEVICE
#
# Print the address of the first PCI device of that kind, in order of address. The scripts of the test machine
# have it in their PATH.

for dev in /sys/bus/pci/devices/*; do
	if [ "$(cat "$dev/vendor") $(cat "$dev/device")" = "$1 $2" ]; then
		echo "${dev##*/}"
		exit 0
	fi
done
echo "no PCI device $1:$2" >&2
exit 1
