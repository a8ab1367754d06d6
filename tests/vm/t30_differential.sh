#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash
#
# Random histories of kernel calls, each made on the simulated kernel and on this one; and first, that an
# error planted in the simulated one is found.

/bin/differential --linux --plant 2 --calls 20000 || exit 1
exec /bin/differential --linux --calls "${PFNBUF_DIFFERENTIAL_CALLS:-200000}" --seed "${PFNBUF_SEED:-1}"
