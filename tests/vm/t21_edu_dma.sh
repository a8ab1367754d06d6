#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Real DMA from a script alone: edu's registers are written through its BAR.

set -eu

edu=$(find-device 0x1234 0x11e8)
memory=$(find-device 0x1af4 0x1110)
exec pfnbufctl -D edu="$edu" -D memory="$memory" run /examples/edu-dma.pfn
