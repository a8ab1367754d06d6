#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: over-sim.sh PFNBUF-SIM-RUN OUT
#
# Run the kernel's program iommufd over the simulated kernel, once as mainline and once as Linux 7.3.4,
# whose IOMMU_TEST_OP_DMABUF_GET returns 0 instead of the fd. The results go to OUT/mainline-7.3.results and
# OUT/linux-7.3.4.results; tests/vm compares the second with those of Linux.
#
# Of the tests that are not in left-out, mainline has to pass all, and the other may fail just the eight that
# need that fd. A test is not to be left out that passes.
#
# Exit status: 0 so it is; 1 it is not; 77 the program cannot be had here.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
run=$1
out=$2
bad=0

"$here/build.sh" "$out"

# Each test has half a minute by the clock: on a machine that is busy with others that may be too little, once.
over()	# PROFILE
{
	over_once "$1"
	! grep -q 'terminated by timeout' "$out/$1.tap" "$out/$1.log" || over_once "$1"
}

over_once()	# PROFILE
{
	timeout 300 "$run" --profile "$1" --selftest --hugepages -- "$out/iommufd" >"$out/$1.tap" 2>"$out/$1.log" ||
		[ $? -eq 1 ]
	"$here/results.sh" <"$out/$1.tap" >"$out/$1.results"
	grep -q '^# Totals:' "$out/$1.tap" || {
		echo "not ok $1: the program did not run to its end; last lines of $out/$1.tap:"
		tail -n 5 "$out/$1.tap"
		exit 1
	}
}

# A pattern of left-out that matches, with its reason.
reason()	# NAME
{
	while read -r pattern why; do
		# shellcheck disable=SC2254 # it is a pattern
		case $pattern in
		'#') ;;
		*) case $1 in $pattern) echo "$why"; return ;; esac ;;
		esac
	done <"$here/left-out"
	return 1
}

# What @name should come to with that profile.
judge()	# PROFILE NAME RESULT
{
	case $1.$2 in
	linux-7.3.4.*.dmabuf_simple | linux-7.3.4.*.dmabuf_revoke) wanted=fail ;;
	*) wanted=pass ;;
	esac
	case $3 in
	"$wanted" | skip) ;;
	*)
		echo "not ok $1 $2: $3"
		bad=$((bad + 1))
		;;
	esac
}

for profile in mainline-7.3 linux-7.3.4; do
	over $profile
	judged=0
	left=0
	while read -r name result; do
		if reason "$name" >/dev/null; then
			left=$((left + 1))
			[ "$result" = fail ] || {
				echo "not ok $profile $name: $result, and no reason to leave it out"
				bad=$((bad + 1))
			}
		else
			judge $profile "$name" "$result"
			judged=$((judged + 1))
		fi
	done <"$out/$profile.results"
	[ $judged -ge 100 ] || { echo "not ok $profile: just $judged tests"; bad=$((bad + 1)); }
	echo "$profile: $(grep '^# Totals' "$out/$profile.tap" | sed 's/^# Totals: //'); $judged judged, $left left out"
done

# For the comparison in the machine: NAME RESULT, or NAME left-out REASON.
while read -r name result; do
	if why=$(reason "$name"); then
		echo "$name left-out $why"
	else
		echo "$name $result"
	fi
done <"$out/linux-7.3.4.results" >"$out/sim.results"
[ $bad -eq 0 ]
