#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: standalone.sh LANGUAGE STANDARD HEADER_DIR [COMPILER...]
#
# Compile each header of the folder alone, included twice, as the given standard. Without a compiler
# exit 77, which skips the test.

set -eu

language=$1
standard=$2
folder=$3
shift 3
if [ $# -eq 0 ]; then
	echo "no compiler for $standard on this machine"
	exit 77
fi

# C++ has no flexible array member; every compiler that can build for Linux takes it all the same.
pedantic=
[ "$language" = c ] && pedantic=-Wpedantic

count=0
failed=0
for header in "$folder"/*.h; do
	count=$((count + 1))
	printf '#include "%s"\n#include "%s"\nextern int standalone;\n' "$header" "$header" |
		"$@" -x "$language" -std="$standard" -Wall -Wextra -Wconversion -Wshadow $pedantic \
			-Werror -fsyntax-only - || failed=$((failed + 1))
done
echo "$count headers as $standard, $failed failed"
[ "$count" -gt 0 ] && [ "$failed" -eq 0 ]
