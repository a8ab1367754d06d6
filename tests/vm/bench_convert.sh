#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash
#
# What conversions cost beside a bare loop of the same calls, with a device in the IOAS that makes it pin pages.

set -eu

edu=$(find-device 0x1234 0x11e8)
echo "# clock: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
exec bench_convert --least "${PFNBUF_BENCH_LEAST:-0.4}" "$edu"
