#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash
#
# Random histories of windows on real devices, judged page by page: the same each time, unless PFNBUF_HISTORY_SEED
# (a number, or random), PFNBUF_HISTORY_STEPS or PFNBUF_HISTORY_SECONDS asks for others.

exec /bin/window_history_linux
