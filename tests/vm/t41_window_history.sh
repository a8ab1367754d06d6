#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# Random histories of windows on real devices, judged page by page. On demand: a difference between what the
# judge expects and what some histories with revocations and closed devices do here is still to be explained.

[ -n "$PFNBUF_HISTORY_SECONDS" ] || {
	echo "set PFNBUF_HISTORY_SECONDS=N to run it (and PFNBUF_HISTORY_SEED=N to repeat a history)"
	exit 77
}
exec /bin/window_history_linux
