#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The VMM of examples/minivmm.c boots its guest, which drives the nvme.

set -eu

for dev in /sys/bus/pci/devices/*; do
	if [ "$(cat "$dev/vendor") $(cat "$dev/device")" = "0x1b36 0x0010" ]; then
		exec minivmm /lib/minivmm-guest "${dev##*/}"
	fi
done
echo 'no nvme' >&2
exit 1
