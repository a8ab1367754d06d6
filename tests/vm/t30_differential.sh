#!/bin/busybox sh
# SPDX-License-Identifier: MIT
#
# Random histories of kernel calls, each made on the simulated kernel and on this one.

exec /bin/differential --linux --calls "${PFNBUF_DIFFERENTIAL_CALLS:-200000}" --seed "${PFNBUF_SEED:-1}"
