#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: run.sh [--bench] [--build DIR] [NAME...]
#
# Boot the test kernel in QEMU and run the programs of the virtual-machine tier (all, or those named) on
# its emulated devices and IOMMU. Needs no hardware virtualisation and no privilege. Prints a line for each
# test, and at the end "N passed, N failed" (", N skipped").
#
# With --bench it runs the benchmarks of the tier, and the machine's nanosecond is an instruction, whatever
# else this one does: figures are then the same wherever they are taken, to a hundredth. Their goal is 0.95.
#
# Besides a test that fails, these fail the run: a boot that takes over 120 s, a machine that stops before
# its tests have ended, a total above PFNBUF_VM_TIMEOUT seconds, and a complaint of the kernel in its log.
#
# PFNBUF_CACHE, PFNBUF_KERNEL   see kernel.sh
# PFNBUF_VM_TIMEOUT=SECONDS     limit for the whole run (default 900)
# PFNBUF_VM_CLOCK=1             have the benchmarks measure the emulator's time, which is not judged closely
# PFNBUF_VM_SHELL=1             boot into a shell on this terminal instead
# PFNBUF_TEST_TIMEOUT=SECONDS   limit for each program (default 300)
# Other variables that begin with PFNBUF_ are handed to the programs.
#
# Exit status: 0 all passed; 1 something failed; 77 it cannot be run here, with the reason.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$here/../../build
kind='test'
counts=
while :; do
	case ${1-} in
	--build)
		build=$2
		shift 2
		;;
	--bench)
		kind=bench
		if [ -z "${PFNBUF_VM_CLOCK-}" ]; then
			counts=1
			export PFNBUF_BENCH_LEAST=0.94
		fi
		shift
		;;
	*) break ;;
	esac
done
build=$(cd "$build" && pwd)
work=$build/vm
console=$work/console.log
results=$work/results.log
boot_limit=120
total_limit=${PFNBUF_VM_TIMEOUT:-900}
qemu_pid=

say()
{
	echo "run.sh: $*" >&2
}

die()
{
	say "$*"
	exit 1
}

stop_qemu()
{
	[ -z "$qemu_pid" ] || kill "$qemu_pid" 2>/dev/null || :
}

is_of_kind()	# NAME
{
	case $kind:$1 in
	test:t[0-9][0-9]_* | bench:bench_*) ;;
	*) return 1 ;;
	esac
}

# DEST=FILE for each program that runs in the machine.
programs()	# [NAME...]
{
	for file in "$build"/tests/vm/*; do
		name=$(basename "$file")
		if ! is_of_kind "$name" || [ ! -f "$file" ] || [ ! -x "$file" ]; then
			continue
		fi
		[ $# -eq 0 ] || case " $* " in
		*" $name "*) ;;
		*) continue ;;
		esac
		echo "/tests/$name=$file"
	done
	# Scripts run as they are.
	for file in "$here"/*.sh; do
		name=$(basename "$file" .sh)
		is_of_kind "$name" || continue
		[ $# -eq 0 ] || case " $* " in
		*" $name "*) ;;
		*) continue ;;
		esac
		echo "/tests/$name=$file"
	done
}

# What the programs above use.
companions()
{
	echo "/bin/find-device=$here/find-device.sh"
	while read -r dest file; do
		[ ! -x "$build/$file" ] || echo "$dest=$build/$file"
	done <<-END
		/bin/pfnbufctl tools/pfnbufctl/pfnbufctl-static
		/bin/window_history_linux tests/vm/window_history_linux
		/bin/differential tests/differential/differential
		/bin/conformance tests/conformance/conformance
		/bin/bench_convert tests/bench_convert
		/lib/nested-guest tests/vm/nested-guest
		/bin/minivmm examples/minivmm
		/lib/minivmm-guest examples/minivmm-guest
	END
	for file in "$here"/../../examples/*.pfn; do
		[ ! -f "$file" ] || echo "/examples/$(basename "$file")=$file"
	done
}

# The kernel's own tests, and what they came to over the simulated kernel: made now, for they are of no release.
selftests()
{
	dir=$build/tests/selftests
	mkdir -p "$dir"
	rm -f "$dir/reason" "$dir/sim.results"
	if [ ! -x "$build/tools/pfnbuf-sim-run/pfnbuf-sim-run" ]; then
		echo 'this build has no pfnbuf-sim-run' >"$dir/reason"
	else
		"$here/../selftests/over-sim.sh" "$build/tools/pfnbuf-sim-run/pfnbuf-sim-run" "$dir" \
			>"$dir/over-sim.log" 2>"$dir/reason" || :
		cat "$dir/over-sim.log" >&2
	fi
	echo "/lib/selftests/reason=$dir/reason"
	[ -f "$dir/sim.results" ] || return 0
	echo "/lib/selftests/iommufd=$dir/iommufd-static"
	echo "/lib/selftests/sim.results=$dir/sim.results"
	echo "/lib/selftests/results.sh=$here/../selftests/results.sh"
}

# The nvme is alone behind its root port. Behind the second one sit two functions, so that a hot reset there
# reaches more than its caller; behind the third is pci-testdev, which has no reset but that of its slot. The
# ports are slow ones, since for faster ones Linux waits after a hot reset for a link state that QEMU's do not
# report. edu reaches IOVAs below 256 MiB only: that is its default DMA mask.
boot()	# KERNEL INITRAMFS APPEND SERIAL...
{
	kernel=$1
	initramfs=$2
	append=$3
	shift 3
	[ -z "$counts" ] || set -- -icount shift=0,sleep=off "$@"
	exec qemu-system-x86_64 \
		-accel tcg,thread=single -machine q35,kernel-irqchip=off -cpu EPYC,+svm -smp 2 -m 1G \
		-nodefaults -no-user-config -display none -no-reboot \
		-kernel "$kernel" -initrd "$initramfs" \
		-append "console=ttyS0 panic=-1 oops=panic no_timer_check intel_iommu=on $append" \
		-device intel-iommu,caching-mode=on \
		-device edu,addr=04.0 \
		-object memory-backend-ram,id=ram0,size=4M,share=on \
		-device ivshmem-plain,memdev=ram0,addr=05.0 \
		-object memory-backend-ram,id=ram1,size=4M,share=on \
		-device ivshmem-plain,memdev=ram1,addr=06.0 \
		-device pcie-root-port,id=port0,x-speed=5,chassis=1,slot=1,addr=08.0 \
		-blockdev driver=null-co,node-name=null0,size=16777216,read-zeroes=on \
		-device nvme,bus=port0,drive=null0,serial=pfnbuf \
		-device pcie-root-port,id=port1,x-speed=5,chassis=2,slot=2,addr=09.0 \
		-object memory-backend-ram,id=ram2,size=1M,share=on \
		-object memory-backend-ram,id=ram3,size=1M,share=on \
		-device ivshmem-plain,memdev=ram2,bus=port1,addr=00.0,multifunction=on \
		-device ivshmem-plain,memdev=ram3,bus=port1,addr=00.1 \
		-device pcie-root-port,id=port2,x-speed=5,chassis=3,slot=3,addr=0a.0 \
		-device pci-testdev,bus=port2,membar=64K \
		"$@"
}

# Settings of the tests go along on the kernel's command line, which hands them on to init.
settings()
{
	env | grep -E '^PFNBUF_[A-Z_]+=[[:alnum:]_.,:+-]+$' | grep -v -E '^PFNBUF_(CACHE|KERNEL|VM_[A-Z]+)=' |
		tr '\n' ' '
}

shown=0
show_new()
{
	total=$(wc -l <"$results")
	[ "$total" -gt "$shown" ] || return 0
	sed -n "$((shown + 1)),${total}p" "$results" | sed -e 's/^@@ begin /== /' -e '/^@@/d'
	shown=$total
}

# The machine's own report decides; how QEMU ended does not matter.
watch()
{
	start=$(date +%s)
	booted=
	while kill -0 "$qemu_pid" 2>/dev/null; do
		sleep 0.3
		show_new
		elapsed=$(($(date +%s) - start))
		if [ -z "$booted" ] && grep -q '^@@ booted' "$results"; then
			booted=$elapsed
		fi
		if [ -z "$booted" ] && [ $elapsed -gt $boot_limit ]; then
			problem "no sign of the initramfs after $boot_limit s"
			break
		fi
		if grep -q '^@@ finished' "$results"; then
			# Powering off hangs when a test left a device's driver waiting: not worth the wait.
			sleep 2
			break
		fi
		if [ $elapsed -gt "$total_limit" ]; then
			problem "still running after $total_limit s"
			break
		fi
	done
	stop_qemu
	wait "$qemu_pid" || :
	qemu_pid=
	show_new
}

problem()
{
	echo "not ok machine: $*" | tee -a "$work/problems"
}

# Everything the kernel says only when something is wrong with it.
complaints='WARNING:|BUG:|BUG at|Oops|Call Trace|general protection|Kernel panic|rcu.*(stall|starved)
INFO: task .* blocked|soft lockup|hard LOCKUP|possible .*deadlock|refcount_t:|(list_add|list_del) corruption
UBSAN:|KASAN:|unable to handle|scheduling while atomic|sleeping function called|Unbalanced'

# The console with line numbers, without the traces that say no more than that memory ran out, as it does when
# a test lets the kernel's allocator fail (mm/page_alloc.c:warn_alloc).
readable_log()
{
	awk '
		/vmalloc error: .* failed.*, mode:/ { starved = 1 }
		!(starved && /Call Trace:/) { print NR ":" $0 }
		/<\/TASK>/ { starved = 0 }' "$console"
}

check_log()
{
	found=$(readable_log | grep -m 5 -E "$(echo "$complaints" | tr '\n' '|' | sed 's/|$//')" || :)
	[ -z "$found" ] || problem "the kernel complained (line: text in $console):
$found"
	grep -q '^@@ finished' "$results" || problem "the tests did not run to their end; last lines of $console:
$(tail -n 5 "$console")"
	# What QEMU prints when the IOMMU refuses DMA, or of CPU features that it lacks, is no complaint.
	grep -v -E 'TCG doesn.t support|vtd_|[Nn]ew fault is not recorded' "$work/qemu.log" >&2 || :
	grep '^@@ error' "$results" | while read -r _ _ text; do
		problem "$text"
	done
}

# A program is worth its "ok", "not ok" and "skip" lines; one without any is worth its exit status. One that
# ends badly without having said so, or that never ended, is one more failure.
count()
{
	awk '
		/^@@ begin/ { name = $3; cases = bad = 0; open = 1; last = "it gave no reason"; next }
		/^ok / { passed++; cases++ }
		/^not ok / { failed++; cases++; bad++ }
		/^skip / { skipped++; cases++ }
		/^@@ end/ {
			open = 0
			if ($4 == 77) { if (!cases) { skipped++; print "skip " name ": " last >> "/dev/fd/3" } }
			else if ($4 != 0) { if (!bad) { failed++; print "not ok " name ": exit status " $4 >> "/dev/fd/3" } }
			else if (!cases) { passed++; print "ok " name >> "/dev/fd/3" }
			next
		}
		NF { last = $0 }
		END {
			if (open) { failed++; print "not ok " name ": did not end" >> "/dev/fd/3" }
			print passed + 0, failed + 0, skipped + 0
		}' "$results"
}

command -v qemu-system-x86_64 >/dev/null || die 'qemu-system-x86_64 is not installed (qemu-system-x86)'
kernel=$("$here/kernel.sh")
mkdir -p "$work"
: >"$work/problems"

wanted=$(programs "$@")
[ -n "$wanted" ] || die "no test program${*:+ named $*} in $build/tests/vm: build first"
for name; do
	echo "$wanted" | grep -q "^/tests/$name=" || die "no test program named $name"
done
set --
while read -r item; do
	[ -z "$item" ] || set -- "$@" "$item"
done <<END
$wanted
$(companions)
$(case $wanted in *t40_kernel_selftest*) selftests ;; esac)
END
"$here/initramfs.sh" "$work/initramfs.gz" "$@"

if [ -n "${PFNBUF_VM_SHELL-}" ]; then
	boot "$kernel" "$work/initramfs.gz" "pfnbuf_shell=1 $(settings)" -serial mon:stdio -serial null
fi

: >"$console"
: >"$results"
trap stop_qemu EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
boot "$kernel" "$work/initramfs.gz" "$(settings)" -serial "file:$console" -serial "file:$results" \
	</dev/null 2>"$work/qemu.log" &
qemu_pid=$!
watch
check_log

exec 3>&1
counts=$(count)
problems=$(grep -c '^not ok machine' "$work/problems" || :)
passed=${counts%% *}
skipped=${counts##* }
failed=${counts#* }
failed=$((${failed%% *} + problems))
[ -z "$booted" ] || echo "booted in $booted s, all in $elapsed s; logs: $console $results"
echo "$passed passed, $failed failed$([ "$skipped" -eq 0 ] || echo ", $skipped skipped")"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
