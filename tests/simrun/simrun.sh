#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: simrun.sh PFNBUF-SIM-RUN PROGRAM PFNBUFCTL SCRIPT [PROGRAM-WITH-ADDRESS-SANITIZER]
#
# The launcher around programs that know nothing of it, and what it says of what it cannot do.

set -u

run=$1
program=$2
ctl=$3
script=$4
sanitized=${5-}
failures=0

check()	# NAME STATUS PATTERN COMMAND...
{
	name=$1
	status=$2
	pattern=$3
	shift 3
	output=$("$@" 2>&1)
	got=$?
	if [ $got -eq "$status" ] && echo "$output" | grep -q -e "$pattern"; then
		echo "ok $name"
	else
		echo "not ok $name: status $got, and no '$pattern' in:
$output"
		failures=$((failures + 1))
	fi
}

check program 0 'all is as on a machine' \
	"$run" --profile mainline-7.3 --device 0000:01:00.0,bar0=16K,flr -- "$program"
[ -z "$sanitized" ] || check 'program with a sanitizer' 0 'all is as on a machine' "$run" -- "$sanitized"
check pfnbufctl 0 'as expected' "$run" -d 0000:00:01.0,bar0=1M \
	-d 0000:00:02.0,bar2=4M:64:prefetchable,hot-reset-set=1 -- "$ctl" run "$script"
# shellcheck disable=SC2016 # for the inner shell
check shell 0 '^0x1b36 vfio0$' "$run" -- \
	sh -c 'read -r v </sys/bus/pci/devices/0000:01:00.0/vendor; cd /; echo $v $(ls /dev/vfio/devices)'
# shellcheck disable=SC2016 # for the inner shell
check TSM 0 '^tsm0 0000:02:00.0$' "$run" --profile tdx-rfc2 -d 0000:02:00.0,bar0=16K,tee -- \
	sh -c 't=/sys/bus/pci/devices/0000:02:00.0/tsm; echo tsm0 >$t/connect; read -r c <$t/connect
		read -r d <$t/dsm; echo $c $d'
check 'no TSM' 2 'nonexistent' "$run" -d 0000:02:00.0,bar0=16K,tee -- \
	sh -c 'echo tsm0 >/sys/bus/pci/devices/0000:02:00.0/tsm/connect'
check 'exit status' 7 '' "$run" -- sh -c 'exit 7'
check 'no program' 125 'which PROGRAM' "$run" --profile mainline-7.3
check 'unknown option' 125 'unrecognized option' "$run" --devise x -- true
check 'not found' 127 'no-such-program: No such file' "$run" -- no-such-program
check 'not a program' 126 'Permission denied' "$run" -- /dev/null
check profile 125 'there are mainline-7.3, linux-7.3.4, proposed, tdx-rfc2' "$run" --profile mainline-2.4 -- true
check address 125 'the address is not like' "$run" --device 1:2,bar0=16K -- true
check 'BAR size' 125 'no power of two' "$run" --device 0000:01:00.0,bar0=15K -- true
check 'BAR word' 125 "'wide' is none of" "$run" --device 0000:01:00.0,bar0=16K:wide -- true
check setting 125 "no setting 'bar6'" "$run" --device 0000:01:00.0,bar6=16K -- true
check trait 125 "'fast' is neither" "$run" --device 0000:01:00.0,fast -- true
check range 125 'up to 0xffff' "$run" --device 0000:01:00.0,vendor=0x10000 -- true
check twice 125 'is a device with this address' "$run" -d 0000:01:00.0 -d 0000:01:00.0 -- true
if [ -x /bin/busybox ] && ! LC_ALL=C grep -q -a /lib64/ld-linux /bin/busybox; then
	check static 126 'is statically linked' "$run" -- /bin/busybox true
fi
[ $failures -eq 0 ]
