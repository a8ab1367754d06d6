#!/bin/sh
# SPDX-License-Identifier: MIT
# The cases that judge the simulated kernel, over the real one.
exec conformance --kernel --complete
