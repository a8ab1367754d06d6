#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Memory of a guest is converted from a script, with a device attached to what is shared of it; and what this kernel
# cannot do is told apart from what failed.

set -eu

edu=$(find-device 0x1234 0x11e8)
pfnbufctl -D device="$edu" run /examples/convert.pfn

# Linux 7.3 binds nothing: refused with a status of its own, whatever report there is.
code=0
zeros=00000000000000000000000000000000
pfnbufctl -c "vm v type=sw-protected; device t $edu vm=v; bar-window w t 0 vm=v gpa=0x0; set-layout w; tsm show t;
	bind b t v w digest=$zeros$zeros helper=/bin/false" || code=$?
if [ $code -ne 3 ]; then
	echo "bind: status $code, not 3" >&2
	exit 1
fi
