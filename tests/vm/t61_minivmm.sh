#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The VMM of examples/minivmm.c boots its guest, which drives the nvme.

set -eu

nvme=$(find-device 0x1b36 0x0010)
exec minivmm /lib/minivmm-guest "$nvme"
