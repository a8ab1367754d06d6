#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The example script on real devices: edu reaches for the BAR of the first ivshmem.

set -eu

importer=$(find-device 0x1234 0x11e8)
exporter=$(find-device 0x1af4 0x1110)
exec pfnbufctl -D importer="$importer" -D exporter="$exporter" run /examples/p2p-revoke.pfn
