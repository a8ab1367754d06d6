#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The kernel's own test program iommufd, on the kernel that runs here; and test by test, whether it came to the
# same over the simulated kernel.

tests=/lib/selftests
if [ ! -x $tests/iommufd ]; then
	cat $tests/reason 2>/dev/null || echo 'the program was not built'
	exit 77
fi
echo 100 >/proc/sys/vm/nr_hugepages
$tests/iommufd >/tmp/tap 2>/tmp/tap.log
$tests/results.sh </tmp/tap >/tmp/linux.results
sync
awk '
	NR == FNR { linux[$1] = $2; order[++n] = $1; total[$2]++; next }
	{ sim[$1] = $2; why = $0; sub(/^[^ ]+ [^ ]+ ?/, "", why); reason[$1] = why }
	END {
		for (i = 1; i <= n; i++) {
			name = order[i]
			if (sim[name] == "left-out") {
				left++
				printf "skip iommufd selftest %-58s simulator -     linux %s  (%s)\n", name, linux[name], reason[name]
				continue
			}
			if (!(name in sim)) sim[name] = "none"
			here = sim[name] == linux[name]
			if (here) same++; else different++
			got[sim[name]]++
			printf "%s iommufd selftest %-58s simulator %s  linux %s\n", here ? "ok" : "not ok", name, sim[name], linux[name]
		}
		for (name in sim) if (!(name in linux)) {
			different++
			print "not ok iommufd selftest " name ": simulator " sim[name] ", linux none"
		}
		printf "iommufd selftest: linux %d pass, %d skip, %d fail; ", total["pass"], total["skip"], total["fail"]
		printf "simulator %d pass, %d skip, %d fail, %d left out; ", got["pass"], got["skip"], got["fail"], left
		printf "%d the same, %d different\n", same, different
		exit different > 0 || same < 100
	}' /tmp/linux.results $tests/sim.results || {
	status=$?
	grep -E '^#.*(iommufd\.c|iommufd_utils\.h):' /tmp/tap /tmp/tap.log | head -n 30
	exit $status
}
