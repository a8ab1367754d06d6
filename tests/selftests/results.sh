#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: results.sh <TAP
#
# A line "NAME RESULT" for each test in the output of a kernel selftest, where RESULT is pass, fail or skip.

set -eu

exec awk '
	/^(not )?ok [0-9]+ / {
		result = $1 == "ok" ? "pass" : "fail"
		if (/# SKIP/) result = "skip"
		print $1 == "ok" ? $3 : $4, result
	}'
