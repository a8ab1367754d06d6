/* SPDX-License-Identifier: MIT */
/*
 * A real guest converts its memory by hypercall, thousands of times in random order, while a device does DMA
 * into the shared part. The guest compares every byte. After each hundred conversions every page is tried in
 * every way there is: by the guest, through the VMM's mapping, by DMA. And the same history on the simulated
 * kernel leaves the same ledger.
 */
#include "conversions.h"
#include "devices.h"
#include "edu.h"
#include "guest.h"
#include "libpfnbuf/uapi/kvm.h"
#include "nested-vcpu.h"
#include "nvme.h"
#include "raw.h"
#include "vmtest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>

#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GUEST	  "/lib/nested-guest"
#define PAGE	  UINT64_C(4096)
#define EVERY	  100u
#define FEED_IOVA UINT64_C(0x100000) /* a page that feeds the engines */
#define NVME_IOVA UINT64_C(0x200000)
#define EDU_BYTES ((size_t)NESTED_EDU_WORDS * 4)

/* What the nvme keeps of 64. */
#define NVME_BITS UINT64_C(0xffffffff0000)

/* Pages that are mapped for DMA whatever the guest does. */
#define OTHER_PAGES (1 + NVME_MEMORY_SIZE / PAGE)

/* The machine: a VM with convertible RAM and a guest in it; edu and an nvme that do DMA. */
struct machine {
	struct conversions c;
	struct pfnbuf_device *edu_device, *nvme_device;
	struct edu edu;
	struct nvme nvme;
	struct pfnbuf_buf *feed, *queues, *low;
	unsigned char *feed_bytes, *queue_bytes, *low_bytes;
	void *nvme_bar;
	struct pfnbuf_window *low_window; /* where the guest's code is */
	struct nested guest;
	int kvm;
	bool edu_flies;	 /* DMA by edu goes on while the guest converts */
	uint32_t flight; /* the page that it goes to, or NESTED_NO_PAGE */
	uint64_t landed, refused;
	unsigned checks;
	int fds; /* open ones before */
};

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Kilobytes that are pinned for this process, as the kernel counts them. */
static uint64_t pinned_kb(void)
{
	uint64_t kb = UINT64_MAX;
	char line[128];
	FILE *f = fopen("/proc/self/status", "re");

	check(f != NULL);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "VmPin: %" SCNu64, &kb);
	fclose(f);
	check(kb != UINT64_MAX);
	return kb;
}

/* ---------------------------------------------------------------- the machine --------------- */

static void start_engines(struct machine *m)
{
	void *feed, *queues;

	check_eq(open_engine(m->c.ctx, m->c.ioas, RAW_EDU, &m->edu_device), 0);
	m->edu = (struct edu){ pfnbuf_device_get_fd(m->edu_device), raw_region_offset(0) };
	check_eq(edu_identify(&m->edu), 0);
	check_eq(open_engine(m->c.ctx, m->c.ioas, RAW_NVME, &m->nvme_device), 0);
	check_eq(map_for_dma(m->c.ctx, m->c.ioas, PAGE, FEED_IOVA, &m->feed, &feed), 0);
	m->feed_bytes = feed;
	check_eq(map_for_dma(m->c.ctx, m->c.ioas, NVME_MEMORY_SIZE, NVME_IOVA, &m->queues, &queues),
		 0);
	m->queue_bytes = queues;
	check_eq(pfnbuf_device_bar_map(m->nvme_device, 0, 0, 2 * PAGE, &m->nvme_bar), 0);
	check_eq(nvme_start(&m->nvme, m->nvme_bar, m->queue_bytes, NVME_IOVA), 0);
}

static void stop_engines(struct machine *m)
{
	nvme_stop(&m->nvme);
	check_eq(pfnbuf_ioas_unmap_all(m->c.ioas, NULL), 0);
	check_eq(pfnbuf_device_bar_unmap(m->nvme_device, m->nvme_bar), 0);
	check_eq(pfnbuf_buf_unmap(m->feed, m->feed_bytes, PAGE), 0);
	check_eq(pfnbuf_buf_unmap(m->queues, m->queue_bytes, NVME_MEMORY_SIZE), 0);
	m->feed = pfnbuf_buf_unref(m->feed);
	m->queues = pfnbuf_buf_unref(m->queues);
	m->nvme_device = pfnbuf_device_close(m->nvme_device);
	m->edu_device = pfnbuf_device_close(m->edu_device);
}

/* Plain shared memory that no device sees, and the guest in it. */
static void load_guest(struct machine *m)
{
	const struct pfnbuf_place place = { .size = sizeof(place),
					    .vm = m->c.vm,
					    .gpa = NESTED_RAM };
	struct pfnbuf_ram ram = { .length = NESTED_RAM_END };
	struct pfnbuf_layout *layout;
	void *addr;

	check_eq(pfnbuf_buf_new_memfd(m->c.ctx, ram.length, 0, &m->low), 0);
	check_eq(pfnbuf_buf_map(m->low, 0, ram.length, &addr), 0);
	m->low_bytes = addr;
	ram.memfd = m->low;
	check_eq(pfnbuf_window_new_ram(m->c.ctx, &ram, &place, &m->low_window), 0);
	check_eq(pfnbuf_window_default_layout(m->low_window, &layout), 0);
	check_eq(pfnbuf_window_set_layout(m->low_window, layout), 0);
	pfnbuf_layout_free(layout);
	m->kvm = check_ok(vmtest_open("/dev/kvm", O_RDWR));
	check_eq(nested_start(&m->guest, m->kvm, pfnbuf_vm_get_fd(m->c.vm), addr, GUEST), 0);
	m->guest.page->window = (uint32_t)CONVERSIONS_GPA;
	m->guest.page->every = EVERY;
}

static void exit_on_hypercall(int vm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_EXIT_HYPERCALL,
		.args = { 1U << KVM_HC_MAP_GPA_RANGE },
	};

	check_eq(vmtest_ioctl(vm, KVM_ENABLE_CAP, &cap), 0);
}

static void machine_open(struct machine *m, enum backing backing, uint32_t seed)
{
	*m = (struct machine){ .fds = vmtest_count_fds(), .flight = NESTED_NO_PAGE };
	conversions_open(&m->c, pfnbuf_kernel_running(), backing, seed);
	start_engines(m);
	load_guest(m);
	exit_on_hypercall(pfnbuf_vm_get_fd(m->c.vm));
}

/* Nothing is left, and nothing pinned. */
static void machine_close(struct machine *m)
{
	nested_stop(&m->guest);
	close(m->kvm);
	m->c.window = pfnbuf_window_free(m->c.window);
	m->low_window = pfnbuf_window_free(m->low_window);
	check_eq(pfnbuf_buf_unmap(m->low, m->low_bytes, NESTED_RAM_END), 0);
	m->low = pfnbuf_buf_unref(m->low);
	stop_engines(m);
	conversions_close(&m->c);
	check_eq(pinned_kb(), 0);
	check_eq(vmtest_count_fds(), m->fds);
}

/* ---------------------------------------------------------------- every page, every path ---- */

static enum history_kind kind_of(const struct machine *m, uint32_t p)
{
	return m->c.history.pages[p].kind;
}

static uint32_t *host_words(const struct machine *m, uint32_t p)
{
	return (uint32_t *)(m->c.shared + p * PAGE);
}

static uint64_t iova_of(uint32_t p, uint32_t word)
{
	return CONVERSIONS_IOVA + p * PAGE + word * sizeof(uint32_t);
}

static uint64_t count_shared(const struct machine *m)
{
	uint64_t n = 0;

	for (uint32_t p = 0; p < HISTORY_PAGES; p++)
		n += kind_of(m, p) == HISTORY_SHARED;
	return n;
}

/* What the VMM sees of a page: what the guest wrote if it is shared, and else nothing. */
static void check_host(const struct machine *m, uint32_t p)
{
	static const uint32_t zero[HISTORY_WORDS];
	uint32_t want[HISTORY_WORDS], got[HISTORY_WORDS];

	if (kind_of(m, p) == HISTORY_SHARED) {
		for (uint32_t i = 0; i < HISTORY_WORDS; i++)
			want[i] = history_word(p, m->c.history.pages[p].since, i);
		check_bytes(host_words(m, p), want, PAGE);
		return;
	}
	if (m->c.backing == BACKING_MEMFD) {
		/* Reading through the mapping would make memory of what has none. */
		check_eq(pread(pfnbuf_buf_get_fd(m->c.memfd), got, PAGE, (off_t)(p * PAGE)), PAGE);
		check_bytes(got, zero, PAGE);
	} else if (m->c.backing == BACKING_ANONYMOUS) {
		check_bytes(host_words(m, p), zero, PAGE);
	}
}

/* What became private gave its shared memory back; and what devices cannot reach is not pinned. */
static void check_memory(const struct machine *m)
{
	struct stat st;

	check_eq(pinned_kb(), (count_shared(m) + OTHER_PAGES) * 4);
	if (m->c.backing != BACKING_MEMFD)
		return;
	check_eq(fstat(pfnbuf_buf_get_fd(m->c.memfd), &st), 0);
	check_eq(st.st_blocks, count_shared(m) * 8);
}

/* A device reads a page: 48 bits of what is there, or zero where it is refused. */
static void check_dma_read(struct machine *m, uint32_t p)
{
	uint64_t got, want = 0;

	if (kind_of(m, p) == HISTORY_SHARED)
		memcpy(&want, host_words(m, p), sizeof(want));
	check_eq(nvme_fetch(&m->nvme, iova_of(p, 0), &got), 0);
	check_eq(got, want & NVME_BITS);
}

/* A device writes to every page. */
static void write_by_dma(struct machine *m)
{
	const uint64_t token = UINT64_C(0xd3a0) << 32 | (uint64_t)++m->checks << 16;
	uint64_t fetched;

	memcpy(m->feed_bytes, &token, sizeof(token));
	check_eq(nvme_fetch(&m->nvme, FEED_IOVA, &fetched), 0);
	check_eq(fetched, token);
	for (uint32_t p = 0; p < HISTORY_PAGES; p++)
		check_eq(nvme_store(&m->nvme, iova_of(p, NESTED_CELL_DMA)), 0);
	m->guest.page->dma[0] = (uint32_t)token;
	m->guest.page->dma[1] = (uint32_t)(token >> 32);
}

/* It arrived where memory is shared; the guest finds out whether it did elsewhere. */
static void check_dma_write(const struct machine *m, uint32_t p)
{
	const uint32_t *words = host_words(m, p) + NESTED_CELL_DMA;

	if (kind_of(m, p) != HISTORY_SHARED) {
		check_host(m, p);
		return;
	}
	check_eq(words[0] & NESTED_DMA_MASK_0, m->guest.page->dma[0] & NESTED_DMA_MASK_0);
	check_eq(words[1] & NESTED_DMA_MASK_1, m->guest.page->dma[1] & NESTED_DMA_MASK_1);
}

/* The VMM writes to all of its own memory, also where the guest must not see it. */
static void write_by_host(struct machine *m)
{
	m->guest.page->host = 0x05700000 | m->checks;
	for (uint32_t p = 0; p < HISTORY_PAGES; p++)
		if (m->c.backing != BACKING_IN_PLACE || kind_of(m, p) == HISTORY_SHARED)
			host_words(m, p)[NESTED_CELL_HOST] = m->guest.page->host;
}

/* … and takes back what it made there. */
static void discard_host_writes(const struct machine *m)
{
	const int advice = m->c.backing == BACKING_MEMFD ? MADV_REMOVE : MADV_DONTNEED;

	for (uint32_t p = 0; m->c.backing != BACKING_IN_PLACE && p < HISTORY_PAGES; p++)
		if (kind_of(m, p) != HISTORY_SHARED)
			check_eq(madvise(host_words(m, p), PAGE, advice), 0);
}

/* Beside the window there is nothing for devices, however far ranges go. */
static void check_margins(struct machine *m)
{
	uint64_t got;

	check_eq(nvme_fetch(&m->nvme, CONVERSIONS_IOVA - PAGE, &got), 0);
	check_eq(got, 0);
	check_eq(nvme_fetch(&m->nvme, CONVERSIONS_IOVA + CONVERSIONS_SIZE, &got), 0);
	check_eq(got, 0);
}

/* The guest stands still. It goes on to look at what it finds in its memory after all this. */
static void check_before_guest(struct machine *m)
{
	check_memory(m);
	for (uint32_t p = 0; p < HISTORY_PAGES; p++) {
		check_host(m, p);
		check_dma_read(m, p);
	}
	check_margins(m);
	write_by_dma(m);
	for (uint32_t p = 0; p < HISTORY_PAGES; p++)
		check_dma_write(m, p);
	write_by_host(m);
	if (m->c.window)
		conversions_check_ledger(&m->c);
}

static void check_guest(const struct machine *m)
{
	const volatile struct nested_page *page = m->guest.page;

	if (page->faults)
		printf("# the guest found %u words that are wrong, the first at step %u in page %u, "
		       "word %u: %#x, not %#x\n",
		       page->faults, page->first.step, page->first.page, page->first.word,
		       page->first.got, page->first.want);
	check_eq(page->faults, 0);
	check_eq(page->refused, 0);
}

/* The guest has written to all of its memory anew. */
static void check_after_guest(struct machine *m)
{
	check_guest(m);
	discard_host_writes(m);
	for (uint32_t p = 0; p < HISTORY_PAGES; p++)
		check_host(m, p);
}

/* ---------------------------------------------------------------- DMA in the meantime ------- */

/* Whether a page stays what it is up to the next check. */
static bool is_steady(const struct machine *m, uint32_t p)
{
	struct history ahead = m->c.history;

	for (uint32_t i = 0; i < EVERY; i++) {
		const struct history_step step = history_next(&ahead);

		if (history_convert(&ahead, &step, p))
			return false;
	}
	return true;
}

static uint32_t find_steady(const struct machine *m, enum history_kind kind, uint32_t from)
{
	for (uint32_t i = 0; i < HISTORY_PAGES; i++) {
		const uint32_t p = (from + i) % HISTORY_PAGES;

		if (kind_of(m, p) == kind && is_steady(m, p))
			return p;
	}
	return NESTED_NO_PAGE;
}

/* edu starts to write into a page, now a shared, now a private one, and will have done so by the next check. */
static void begin_flight(struct machine *m)
{
	const enum history_kind kind = m->checks % 2 ? HISTORY_SHARED : HISTORY_PRIVATE;

	if (!m->edu_flies)
		return;
	m->flight = find_steady(m, kind, m->checks * 7);
	m->guest.page->edu = m->flight;
	if (m->flight != NESTED_NO_PAGE)
		check_eq(edu_begin_store(&m->edu, iova_of(m->flight, NESTED_CELL_EDU), EDU_BYTES),
			 0);
}

/* It arrived in a shared page, which gets back what it should contain. Of a private one the guest can tell. */
static void end_flight(struct machine *m)
{
	const uint32_t p = m->flight;
	uint32_t *cell = host_words(m, p) + NESTED_CELL_EDU;

	if (p == NESTED_NO_PAGE)
		return;
	check_eq(edu_wait(&m->edu), 0);
	m->flight = m->guest.page->edu = NESTED_NO_PAGE;
	if (kind_of(m, p) != HISTORY_SHARED) {
		m->refused++;
		return;
	}
	check_bytes(cell, m->feed_bytes + EDU_BYTES, EDU_BYTES);
	for (uint32_t i = 0; i < NESTED_EDU_WORDS; i++)
		cell[i] = history_word(p, m->c.history.pages[p].since, NESTED_CELL_EDU + i);
	m->landed++;
}

/* Fill edu's own buffer with bytes that are in no page. */
static void load_edu(struct machine *m)
{
	memset(m->feed_bytes + EDU_BYTES, 0, EDU_BYTES);
	for (uint32_t i = 0; i < NESTED_EDU_WORDS; i++)
		m->feed_bytes[EDU_BYTES + i * 4] = 0xed;
	check_eq(edu_load(&m->edu, FEED_IOVA + EDU_BYTES, EDU_BYTES), 0);
}

/* ---------------------------------------------------------------- exits --------------------- */

static void handle_hypercall(struct machine *m)
{
	struct kvm_run *run = m->guest.vcpu.run;

	run->hypercall.ret = conversions_hypercall(&m->c, run->hypercall.nr, run->hypercall.args);
}

/* What nested-guest.c expects of a hole. */
static void handle_mmio(struct machine *m)
{
	struct kvm_run *run = m->guest.vcpu.run;
	const uint64_t p = (run->mmio.phys_addr - CONVERSIONS_GPA) / PAGE;
	const uint32_t answer = ~(uint32_t)p;

	check(p < HISTORY_PAGES && !run->mmio.is_write && run->mmio.len == sizeof(answer));
	check_eq(kind_of(m, (uint32_t)p), HISTORY_HOLE);
	memcpy(run->mmio.data, &answer, sizeof(answer));
}

/* Whether the guest goes on. */
static bool handle_port(struct machine *m)
{
	const struct kvm_run *run = m->guest.vcpu.run;

	check_eq(run->io.direction, KVM_EXIT_IO_OUT);
	switch (run->io.port) {
	case NESTED_PORT_CHECK:
		check_eq(m->c.history.steps, m->guest.page->step);
		end_flight(m);
		check_before_guest(m);
		return true;
	case NESTED_PORT_CHECKED:
		check_after_guest(m);
		begin_flight(m);
		return true;
	default:
		check_eq(run->io.port, NESTED_PORT_DONE);
		check_guest(m);
		return false;
	}
}

static bool handle_exit(struct machine *m, int reason)
{
	switch (reason) {
	case KVM_EXIT_HYPERCALL:
		handle_hypercall(m);
		return true;
	case KVM_EXIT_MMIO:
		handle_mmio(m);
		return true;
	default:
		check_eq(reason, KVM_EXIT_IO);
		return handle_port(m);
	}
}

static void run_guest(struct machine *m, uint32_t steps)
{
	m->guest.page->steps = steps;
	while (handle_exit(m, vcpu_run(&m->guest.vcpu)))
		;
	if (m->flight != NESTED_NO_PAGE)
		check_eq(edu_wait(&m->edu), 0);
}

/* ---------------------------------------------------------------- the tests ----------------- */

static uint32_t seed_or(uint32_t seed)
{
	const char *text = getenv("PFNBUF_HISTORY_SEED");

	return text ? (uint32_t)strtoul(text, NULL, 0) : seed;
}

static void convert(enum backing backing, uint32_t seed, uint32_t steps, uint64_t granule,
		    bool edu_flies)
{
	struct record real, simulated;
	struct machine m;
	double start, took;

	machine_open(&m, backing, seed);
	conversions_place(&m.c, granule);
	m.guest.page->seed = seed;
	m.edu_flies = edu_flies;
	load_edu(&m);
	start = now();
	run_guest(&m, steps);
	took = now() - start;
	check_eq(m.c.history.steps, steps);
	check_eq(m.checks, 1 + steps / EVERY);
	check_eq(m.guest.page->holes, 4 * m.checks);
	printf("# seed %u: %u conversions, %u checks of all pages, %" PRIu64
	       " bytes compared by the "
	       "guest, in %.1f s\n",
	       seed, steps, m.checks, m.guest.page->bytes, took);
	if (edu_flies) {
		printf("# edu meanwhile: %" PRIu64 " times into shared memory, %" PRIu64
		       " times refused\n",
		       m.landed, m.refused);
		check(m.landed >= steps / EVERY / 10 && m.refused >= steps / EVERY / 10);
	}
	real = m.c.record;
	machine_close(&m);
	conversions_simulate(backing, seed, steps, EVERY, granule, &simulated);
	record_compare(&real, &simulated);
	printf("# ledger after each %u, here and simulated: %016" PRIx64 " %016" PRIx64 "\n", EVERY,
	       real.digest, simulated.digest);
	record_free(&simulated);
	record_free(&real);
}

/* With a page as the granule no conversion disturbs its neighbours' DMA. */
static void ten_thousand(void)
{
	convert(BACKING_MEMFD, seed_or(1), 10000, PAGE, true);
}

/* Areas as long as they can be, which are mapped anew when a part of them converts. */
static void long_areas(void)
{
	convert(BACKING_MEMFD, seed_or(2), 2000, 0, false);
}

/* Shared memory that is no file's: areas by address, given back by madvise(). */
static void anonymous_memory(void)
{
	convert(BACKING_ANONYMOUS, seed_or(3), 2000, 0, false);
}

/* What a run comes to in which one such call says that it was made, and was not: the status of a process of its own. */
static int run_without(enum conversions_call kind)
{
	static const struct vmtest tests[] = { { "with a call missing", long_areas } };
	int status;
	const pid_t pid = fork();

	if (pid == 0) {
		check(freopen("/dev/null", "w", stdout) != NULL);
		conversions_plant(kind, 100);
		_exit(vmtest_main(tests, 1));
	}
	check(pid > 0);
	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* The checks above are ones that can fail; and if nothing is missing they do not. */
static void missing_calls_are_noticed(void)
{
	check_eq(run_without(CONVERSIONS_CALLS), 0);
	check_eq(run_without(CONVERSIONS_MAP), 1);
	check_eq(run_without(CONVERSIONS_UNMAP), 1);
	check_eq(run_without(CONVERSIONS_ATTRIBUTES), 1);
	check_eq(run_without(CONVERSIONS_DISCARD), 1);
}

/* All is shared from the start, and there is one memory only, which guest, VMM and devices see. */
static void in_place(void)
{
	const struct pfnbuf_conversion one = { CONVERSIONS_GPA, PAGE, PFNBUF_PRIVATE };
	struct machine m;

	machine_open(&m, BACKING_IN_PLACE, 1);
	conversions_place(&m.c, 0);
	m.guest.page->seed = 1;
	m.guest.page->all_shared = 1;
	run_guest(&m, 0);
	check_eq(m.checks, 1);
	check_eq(m.guest.page->holes, 4);

	/* Nothing in this kernel converts such memory. */
	check_eq(pfnbuf_guest_convert(m.c.vm, &one, 1), -EOPNOTSUPP);
	printf("# private: %s\n", pfnbuf_last_error());
	check(strstr(pfnbuf_last_error(), "in place") != NULL);
	conversions_check_ledger(&m.c);
	check_host(&m, 0);
	record_free(&m.c.record);
	machine_close(&m);
}

/* ---------------------------------------------------------------- faults -------------------- */

/* Whether the kernel has told of a fault of this device at this address; the log is read up to there. */
static bool await_fault(int kmsg, const char *bdf, uint64_t iova)
{
	char line[1024], device[32], address[32];

	snprintf(device, sizeof(device), "[%s]", bdf);
	snprintf(address, sizeof(address), "addr %#" PRIx64 " ", iova);
	for (int i = 0; i < 200; i++) {
		ssize_t n;

		while ((n = read(kmsg, line, sizeof(line) - 1)) > 0) {
			line[n] = '\0';
			if (strstr(line, "DMAR") && strstr(line, device) && strstr(line, address))
				return true;
		}
		/* -EPIPE: lines were lost; the next read goes on behind them. */
		poll(NULL, 0, 10);
	}
	return false;
}

/*
 * Whether DMA is stopped and the kernel tells of it. It tells of ten faults in five seconds
 * (drivers/iommu/intel/dmar.c:dmar_fault), and other tests may have used those up.
 */
static bool is_stopped(const struct machine *m, int kmsg, const char *bdf)
{
	for (int i = 0; i < 5; i++) {
		check_eq(edu_store(&m->edu, CONVERSIONS_IOVA, EDU_BYTES), 0);
		if (await_fault(kmsg, bdf, CONVERSIONS_IOVA))
			return true;
	}
	return false;
}

/* DMA to a private page is stopped by the IOMMU, which says so. */
static void private_dma_faults(void)
{
	const struct pfnbuf_conversion shared = { CONVERSIONS_GPA, PAGE, PFNBUF_SHARED };
	const struct pfnbuf_conversion private = { CONVERSIONS_GPA, PAGE, PFNBUF_PRIVATE };
	struct pfnbuf_device_info info;
	struct machine m;
	int kmsg;

	kmsg = check_ok(vmtest_open("/dev/kmsg", O_RDONLY | O_NONBLOCK));
	machine_open(&m, BACKING_MEMFD, 1);
	conversions_place(&m.c, 0);
	check_eq(pfnbuf_device_get_info(m.edu_device, &info), 0);
	load_edu(&m);
	check(lseek(kmsg, 0, SEEK_END) >= 0);

	check_eq(pfnbuf_guest_convert(m.c.vm, &shared, 1), 0);
	check_eq(edu_store(&m.edu, CONVERSIONS_IOVA, EDU_BYTES), 0);
	check_bytes(m.c.shared, m.feed_bytes + EDU_BYTES, EDU_BYTES);
	check(!await_fault(kmsg, info.bdf, CONVERSIONS_IOVA));
	check_eq(pfnbuf_guest_convert(m.c.vm, &private, 1), 0);
	check(is_stopped(&m, kmsg, info.bdf));
	check_host(&m, 0);
	machine_close(&m);
	close(kmsg);
}

/* An access as private to where no memory is: the guest cannot go on, and the library has nothing to convert. */
static void memory_fault(void)
{
	const uint64_t hole = CONVERSIONS_GPA + 20 * PAGE;
	struct pfnbuf_exit exit = { .kind = PFNBUF_EXIT_MEMORY_FAULT };
	struct pfnbuf_exit_advice advice;
	struct conversions c;
	struct guest guest;
	uint32_t value;
	int kvm;

	conversions_open(&c, pfnbuf_kernel_running(), BACKING_MEMFD, 1);
	conversions_place(&c, 0);
	check_eq(pfnbuf_vm_set_attributes(c.vm, hole, PAGE, PFNBUF_ATTRIBUTE_PRIVATE), 0);
	kvm = check_ok(vmtest_open("/dev/kvm", O_RDWR));
	check_eq(guest_start(&guest, kvm, pfnbuf_vm_get_fd(c.vm), 1000, 0x1000), 0);
	check_eq(guest_read32(&guest, hole, &value), -EFAULT);
	check_eq(guest.vcpu.run->exit_reason, KVM_EXIT_MEMORY_FAULT);
	exit.flags = guest.vcpu.run->memory_fault.flags;
	exit.gpa = guest.vcpu.run->memory_fault.gpa;
	exit.length = guest.vcpu.run->memory_fault.size;
	check_eq(exit.flags, KVM_MEMORY_EXIT_FLAG_PRIVATE);
	check_eq(exit.gpa, hole);
	check_eq(pfnbuf_exit_explain(c.vm, &exit, &advice), 0);
	check_eq(advice.action, PFNBUF_EXIT_NO_MEMORY);
	guest_stop(&guest);
	close(kvm);
	conversions_close(&c);
}

/* ---------------------------------------------------------------- what is pinned ------------ */

#define BIG_SIZE   UINT64_C(0x4000000) /* 64 MiB */
#define BIG_PIECES 16		       /* evenly spread, of which a sixteenth of each is shared */
#define BIG_PIECE  (BIG_SIZE / BIG_PIECES)

static void set_memlock(uint64_t bytes)
{
	const struct rlimit limit = { bytes, RLIM_INFINITY };

	check_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
}

static void set_all_private(struct pfnbuf_window *w)
{
	struct pfnbuf_layout *layout;

	check_eq(pfnbuf_layout_new(BIG_SIZE, PAGE, PFNBUF_PRIVATE, &layout), 0);
	check_eq(pfnbuf_window_set_layout(w, layout), 0);
	pfnbuf_layout_free(layout);
}

/* A limit of a sixteenth is enough, and one page more is refused, with everything as it was. */
static void check_pins(struct pfnbuf_vm *vm, struct pfnbuf_window *w)
{
	const uint64_t sixteenth_kb = BIG_SIZE / 16 / 1024;
	struct pfnbuf_conversion parts[BIG_PIECES];
	struct pfnbuf_conversion more = { CONVERSIONS_GPA + PAGE * 1000, PAGE, PFNBUF_SHARED };
	struct pfnbuf_window_info before, after;

	for (uint64_t i = 0; i < BIG_PIECES; i++)
		parts[i] = (struct pfnbuf_conversion){ CONVERSIONS_GPA + i * BIG_PIECE,
						       BIG_PIECE / 16, PFNBUF_SHARED };
	set_memlock(BIG_SIZE / 16);
	check_eq(pinned_kb(), 0);
	check_eq(pfnbuf_guest_convert(vm, parts, BIG_PIECES), 0);
	check_eq(pinned_kb(), sixteenth_kb);
	printf("# %" PRIu64 " kB of memory, a sixteenth shared: VmPin %" PRIu64 " kB\n",
	       BIG_SIZE / 1024, pinned_kb());

	pfnbuf_window_get_info(w, &before);
	check_eq(pfnbuf_guest_convert(vm, &more, 1), -ENOMEM);
	check(strstr(pfnbuf_last_error(), "RLIMIT_MEMLOCK") != NULL);
	pfnbuf_window_get_info(w, &after);
	check_eq(after.state, PFNBUF_WINDOW_LIVE);
	check_eq(after.areas, before.areas);
	check_eq(pinned_kb(), sixteenth_kb);
	check_eq(pfnbuf_window_verify(w, NULL), 1);

	set_memlock(RLIM_INFINITY);
	check_eq(pfnbuf_guest_convert(vm, &more, 1), 0);
	check_eq(pinned_kb(), sixteenth_kb + 4);
	more.to = PFNBUF_PRIVATE;
	more.offset = CONVERSIONS_GPA;
	more.length = BIG_SIZE;
	check_eq(pfnbuf_guest_convert(vm, &more, 1), 0);
	check_eq(pinned_kb(), 0);
}

static void a_sixteenth_is_pinned(void)
{
	struct pfnbuf_place place = { .size = sizeof(place), .gpa = CONVERSIONS_GPA };
	struct pfnbuf_ram ram = { .length = BIG_SIZE };
	struct pfnbuf_window *window;
	struct machine m = { .fds = vmtest_count_fds() };

	conversions_open(&m.c, pfnbuf_kernel_running(), BACKING_MEMFD, 1);
	check_eq(open_engine(m.c.ctx, m.c.ioas, RAW_EDU, &m.edu_device), 0);
	check_eq(pfnbuf_buf_new_memfd(m.c.ctx, BIG_SIZE, 0, &ram.memfd), 0);
	check_eq(pfnbuf_buf_new_guest_memfd(m.c.vm, BIG_SIZE, 0, &ram.guest_memfd), 0);
	place.vm = m.c.vm;
	place.ioas = m.c.ioas;
	place.iova = CONVERSIONS_IOVA;
	check_eq(pfnbuf_window_new_ram(m.c.ctx, &ram, &place, &window), 0);
	pfnbuf_buf_unref(ram.memfd);
	pfnbuf_buf_unref(ram.guest_memfd);
	set_all_private(window);
	check_pins(m.c.vm, window);
	pfnbuf_window_free(window);
	pfnbuf_device_close(m.edu_device);
	conversions_close(&m.c);
	check_eq(vmtest_count_fds(), m.fds);
}

/* With CAP_IPC_LOCK nothing is counted (drivers/iommu/iommufd/pages.c:iopt_alloc_pages). */
static int drop_ipc_lock(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return -errno;
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

int main(void)
{
	static const struct vmtest tests[] = {
		{ "private_dma_faults", private_dma_faults },
		{ "memory_fault", memory_fault },
		{ "a_sixteenth_is_pinned", a_sixteenth_is_pinned },
		{ "ten_thousand", ten_thousand },
		{ "long_areas", long_areas },
		{ "anonymous_memory", anonymous_memory },
		{ "missing_calls_are_noticed", missing_calls_are_noticed },
		{ "in_place", in_place },
	};
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	if (drop_ipc_lock() || setrlimit(RLIMIT_MEMLOCK, &unlimited)) {
		perror("not ok set-up");
		return 1;
	}
	return vmtest_main(tests, sizeof(tests) / sizeof(tests[0]));
}
