/* SPDX-License-Identifier: MIT */
/*
 * Windows on real Linux: what edu's DMA and a real guest reach, page by page, is what the layout
 * says; after plans that the kernel was made to fail the ledger is what a probe finds; and a restore
 * costs what its calls cost.
 */
#include "devices.h"
#include "edu.h"
#include "guest.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/pci.h"
#include "raw.h"
#include "vmtest.h"

#include <errno.h>
#include <fcntl.h>
#include <pfnbuf.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PAGE	  UINT64_C(4096)
#define MAX_PAGES 16
#define FEED_IOVA UINT64_C(0x100000) /* of the page that feeds edu */
#define IOVA	  UINT64_C(0x2000000)
#define GPA	  UINT64_C(0x80000000)
#define PART_PAGE 16 /* the page of BAR 2 where the window begins */

/* Five runs. */
#define FIVE_RUNS "ss.sss..ss"

/* The machine: edu in an IOAS as the engine, an ivshmem as the memory, a VM with a guest in it. */
struct rig {
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_vm *vm;
	struct pfnbuf_device *engine, *memory;
	struct pfnbuf_buf *feed;
	uint64_t *feed_words;
	struct edu edu;
	struct guest guest;
	int kvm;
	uint32_t probe; /* an IOAS that no device sees */
	int fds;	/* open ones before */
};

/* A window, what it should be, and where its memory can be seen. */
struct view {
	struct rig *rig;
	struct pfnbuf_window *w;
	const char *picture; /* a character per page: 's' shared, else a hole */
	uint64_t gpa, iova;
	volatile char *bytes; /* of its page 0 */
};

/* What comes after a call that failed: see "faults in the kernel" below. */
static int ioctl_and_fault(void *data, int fd, unsigned long request, void *arg);

static void rig_open(struct rig *rig)
{
	static struct pfnbuf_kernel kernel;
	const struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .kernel = &kernel };

	void *feed;

	kernel = *pfnbuf_kernel_running();
	kernel.ioctl = ioctl_and_fault;
	rig->fds = vmtest_count_fds();
	check_eq(pfnbuf_ctx_new(&rig->ctx, &opts), 0);
	check_eq(pfnbuf_ioas_new(rig->ctx, &rig->ioas), 0);
	check_eq(pfnbuf_vm_new(rig->ctx, PFNBUF_VM_DEFAULT, &rig->vm), 0);
	check_eq(open_engine(rig->ctx, rig->ioas, RAW_EDU, &rig->engine), 0);
	check_eq(open_bound(rig->ctx, RAW_IVSHMEM, 0, &rig->memory), 0);
	rig->edu = (struct edu){ pfnbuf_device_get_fd(rig->engine), raw_region_offset(0) };
	check_eq(edu_identify(&rig->edu), 0);
	check_eq(map_for_dma(rig->ctx, rig->ioas, PAGE, FEED_IOVA, &rig->feed, &feed), 0);
	rig->feed_words = feed;
	rig->kvm = check_ok(vmtest_open("/dev/kvm", O_RDWR));
	check_eq(guest_start(&rig->guest, rig->kvm, pfnbuf_vm_get_fd(rig->vm), 1000, 0x1000), 0);
	check_ok(raw_ioas_alloc(pfnbuf_ctx_get_iommufd(rig->ctx), &rig->probe));
}

/* After all windows: nothing of them may be left. */
static void rig_close(struct rig *rig)
{
	struct pfnbuf_area area;
	struct pfnbuf_slot slot;
	uint32_t id;

	check_eq(pfnbuf_vm_next_slot(rig->vm, 0, &id, &slot), 0);
	check_eq(pfnbuf_ioas_next_area(rig->ioas, FEED_IOVA + PAGE, &area), 0);
	check_eq(raw_destroy(pfnbuf_ctx_get_iommufd(rig->ctx), rig->probe), 0);
	check_eq(pfnbuf_ioas_unmap_all(rig->ioas, NULL), 0);
	check_eq(pfnbuf_buf_unmap(rig->feed, rig->feed_words, PAGE), 0);
	pfnbuf_buf_unref(rig->feed);
	guest_stop(&rig->guest);
	close(rig->kvm);
	pfnbuf_device_close(rig->memory);
	pfnbuf_device_close(rig->engine);
	pfnbuf_vm_free(rig->vm);
	pfnbuf_ioas_free(rig->ioas);
	pfnbuf_ctx_free(rig->ctx);
	check_eq(vmtest_count_fds(), rig->fds);
}

static struct pfnbuf_layout *draw(const char *picture)
{
	struct pfnbuf_layout *layout;

	check_eq(pfnbuf_layout_new(strlen(picture) * PAGE, PAGE, PFNBUF_HOLE, &layout), 0);
	for (uint64_t p = 0; picture[p]; p++)
		if (picture[p] == 's')
			check_eq(pfnbuf_layout_set(layout, p * PAGE, PAGE, PFNBUF_SHARED), 0);
	return layout;
}

static int set_picture(struct view *view, const char *picture)
{
	struct pfnbuf_layout *layout = draw(picture);
	int r = pfnbuf_window_set_layout(view->w, layout);

	pfnbuf_layout_free(layout);
	if (!r)
		view->picture = picture;
	return r;
}

static struct pfnbuf_place place_of(const struct view *view)
{
	return (struct pfnbuf_place){
		.size = sizeof(struct pfnbuf_place),
		.vm = view->rig->vm,
		.gpa = view->gpa,
		.ioas = view->rig->ioas,
		.iova = view->iova,
	};
}

/* ---------------------------------------------------------------- page by page -------------- */

/* Where in each page edu and the guest write. */
#define DMA_CELL   8
#define GUEST_CELL 16

static volatile uint32_t *cell(const struct view *view, uint64_t page, unsigned at)
{
	return (volatile uint32_t *)(view->bytes + page * PAGE + at);
}

static void clear(const struct view *view, unsigned at)
{
	for (uint64_t p = 0; view->picture[p]; p++)
		*cell(view, p, at) = 0;
}

/* The value has landed in page @page and nowhere else; a page of -1: nowhere. */
static void check_landed(const struct view *view, int page, unsigned at, uint32_t value)
{
	for (int p = 0; view->picture[p]; p++)
		check_eq(*cell(view, (uint64_t)p, at), p == page ? value : 0);
}

static bool is_shared(const struct view *view, int page)
{
	return page >= 0 && page < (int)strlen(view->picture) && view->picture[page] == 's';
}

/* Each page of the window, and one before and behind it. */
static void check_dma(const struct view *view, bool works)
{
	static uint32_t token = 0xd0000000;

	view->rig->feed_words[0] = ++token;
	check_eq(edu_load(&view->rig->edu, FEED_IOVA, sizeof(token)), 0);
	for (int p = -1; p <= (int)strlen(view->picture); p++) {
		const uint64_t iova = view->iova + (uint64_t)p * PAGE + DMA_CELL;

		clear(view, DMA_CELL);
		check_eq(edu_store(&view->rig->edu, iova, sizeof(token)), 0);
		check_landed(view, works && is_shared(view, p) ? p : -1, DMA_CELL, token);
	}
}

static int write_as_guest(const struct view *view, int page, uint32_t value)
{
	const uint64_t gpa = view->gpa + (uint64_t)page * PAGE + GUEST_CELL;

	return guest_write32(&view->rig->guest, gpa, value);
}

static void check_guest(const struct view *view, bool works)
{
	static uint32_t token = 0xc0000000;

	for (int p = -1; p <= (int)strlen(view->picture); p++) {
		const bool reaches = works && is_shared(view, p);

		clear(view, GUEST_CELL);
		check_eq(write_as_guest(view, p, ++token), reaches ? 0 : KVM_EXIT_MMIO);
		check_landed(view, reaches ? p : -1, GUEST_CELL, token);
	}
}

static void check_reach(const struct view *view, bool by_dma, bool by_guest)
{
	check_dma(view, by_dma);
	check_guest(view, by_guest);
}

static void check_state(const struct view *view, enum pfnbuf_window_state state)
{
	struct pfnbuf_window_info info;

	pfnbuf_window_get_info(view->w, &info);
	check_eq(info.state, state);
	check_eq(info.gpa, view->gpa);
	check_eq(info.iova, view->iova);
}

static void move_to(struct view *view, uint64_t gpa, uint64_t iova)
{
	const struct view old = *view;

	check_eq(pfnbuf_window_move(view->w, gpa, iova), 0);
	view->gpa = gpa;
	view->iova = iova;
	check_reach(view, true, true);
	/* Where it was, nothing is, unless it overlaps with where it is. */
	if (old.gpa != gpa)
		check_eq(write_as_guest(&old, 0, 1), KVM_EXIT_MMIO);
}

/* What holds for windows of BARs and of RAM alike. */
static void check_changes(struct view *view)
{
	check_reach(view, false, false);
	check_eq(set_picture(view, FIVE_RUNS), 0);
	check_reach(view, true, true);
	check_eq(pfnbuf_window_verify(view->w, NULL), 1);

	check_eq(pfnbuf_window_set_range(view->w, PAGE, 3 * PAGE, PFNBUF_HOLE), 0);
	view->picture = "s...ss..ss";
	check_reach(view, true, true);
	check_eq(pfnbuf_window_set_range(view->w, 4 * PAGE, 5 * PAGE, PFNBUF_SHARED), 0);
	view->picture = "s...ssssss";
	check_reach(view, true, true);
	check_eq(set_picture(view, ".s.s.s.s.s"), 0);
	check_reach(view, true, true);
	check_eq(set_picture(view, FIVE_RUNS), 0);

	/* Away, and by one page, so that it overlaps with itself. */
	move_to(view, GPA + 0x1000000, IOVA + 0x1000000);
	move_to(view, GPA + 0x1000000 + PAGE, IOVA + 0x1000000 - PAGE);
	move_to(view, GPA + 0x1000000 + PAGE, IOVA);
	move_to(view, GPA, IOVA);

	check_eq(pfnbuf_window_suspend(view->w), 0);
	check_state(view, PFNBUF_WINDOW_SUSPENDED);
	check_reach(view, false, false);
	check_eq(pfnbuf_window_resume(view->w), 0);
	check_state(view, PFNBUF_WINDOW_LIVE);
	check_reach(view, true, true);
}

/* ---------------------------------------------------------------- windows of BARs ----------- */

static void make_bar_window(struct view *view, unsigned flags)
{
	const struct pfnbuf_range part = { PART_PAGE * PAGE, strlen(FIVE_RUNS) * PAGE };
	struct pfnbuf_place at = place_of(view);

	at.flags = flags;
	check_eq(pfnbuf_window_new_bar(view->rig->memory, 2, &part, &at, &view->w), 0);
}

static void open_bar_view(struct view *view, struct rig *rig, unsigned flags, void **mapping)
{
	const uint64_t length = strlen(FIVE_RUNS) * PAGE;

	*view = (struct view){ .rig = rig, .picture = "..........", .gpa = GPA, .iova = IOVA };
	check_eq(pfnbuf_device_bar_map(rig->memory, 2, PART_PAGE * PAGE, length, mapping), 0);
	view->bytes = *mapping;
	make_bar_window(view, flags);
}

static void bar(void)
{
	struct view view;
	struct rig rig;
	void *mapping;

	rig_open(&rig);
	open_bar_view(&view, &rig, 0, &mapping);
	check_changes(&view);
	view.w = pfnbuf_window_free(view.w);
	check_reach(&view, false, false);
	check_eq(pfnbuf_device_bar_unmap(rig.memory, mapping), 0);
	rig_close(&rig);
}

/* While its memory is off a BAR cannot be looked at: only what the accesses themselves say. */
static void check_dark(const struct view *view, int guest_says)
{
	view->rig->feed_words[0] = 0xdeadbeef;
	check_eq(edu_load(&view->rig->edu, FEED_IOVA, sizeof(uint32_t)), 0);
	for (int p = 0; view->picture[p]; p++) {
		const uint64_t iova = view->iova + (uint64_t)p * PAGE + DMA_CELL;

		check_eq(edu_store(&view->rig->edu, iova, sizeof(uint32_t)), 0);
		check_eq(write_as_guest(view, p, 0xdeadbeef),
			 is_shared(view, p) ? guest_says : KVM_EXIT_MMIO);
	}
}

static void decode_with(unsigned flags)
{
	const bool withdraws = flags & PFNBUF_PLACE_WITHDRAW_SLOTS;
	struct view view;
	struct rig rig;
	void *mapping;

	rig_open(&rig);
	open_bar_view(&view, &rig, flags, &mapping);
	check_eq(set_picture(&view, FIVE_RUNS), 0);
	clear(&view, DMA_CELL);
	clear(&view, GUEST_CELL);
	check_eq(pfnbuf_device_set_memory_decode(rig.memory, false), 0);
	check_state(&view, PFNBUF_WINDOW_SUSPENDED);
	check_dark(&view, withdraws ? KVM_EXIT_MMIO : -EFAULT);
	check_eq(pfnbuf_window_restore(view.w), -ENODEV);
	/* A change while it is dark is a promise for the restore. */
	check_eq(pfnbuf_window_set_range(view.w, 6 * PAGE, PAGE, PFNBUF_SHARED), 0);
	view.picture = "ss.ssss.ss";
	check_dark(&view, withdraws ? KVM_EXIT_MMIO : -EFAULT);

	check_eq(pfnbuf_device_set_memory_decode(rig.memory, true), 0);
	check_landed(&view, -1, DMA_CELL, 0);
	check_landed(&view, -1, GUEST_CELL, 0);
	check_state(&view, PFNBUF_WINDOW_SUSPENDED);
	check_reach(&view, false, !withdraws);
	check_eq(pfnbuf_device_restore(rig.memory), 0);
	check_state(&view, PFNBUF_WINDOW_LIVE);
	check_reach(&view, true, true);

	view.w = pfnbuf_window_free(view.w);
	check_eq(pfnbuf_device_bar_unmap(rig.memory, mapping), 0);
	rig_close(&rig);
}

static void decode(void)
{
	decode_with(0);
}

static void decode_with_withdrawal(void)
{
	decode_with(PFNBUF_PLACE_WITHDRAW_SLOTS);
}

/* ---------------------------------------------------------------- a device with FLR --------- */

#define NVME_VERSION 8 /* a register that is never 0 */

static uint32_t read_by_dma(struct rig *rig, uint64_t iova)
{
	memset(rig->feed_words, 0, PAGE);
	check_eq(edu_copy(&rig->edu, iova, FEED_IOVA, sizeof(uint32_t)), 0);
	return (uint32_t)rig->feed_words[0];
}

/* Page 0 of the nvme's BAR is placed, page 1 is a hole. */
static void check_version(const struct view *view, bool by_dma, bool by_guest)
{
	uint32_t version, seen = 0;

	version = *(volatile uint32_t *)(view->bytes + NVME_VERSION);
	check(version != 0);
	check_eq(read_by_dma(view->rig, view->iova + NVME_VERSION), by_dma ? version : 0);
	check_eq(read_by_dma(view->rig, view->iova + PAGE + NVME_VERSION), 0);
	check_eq(guest_read32(&view->rig->guest, view->gpa + NVME_VERSION, &seen),
		 by_guest ? 0 : KVM_EXIT_MMIO);
	check_eq(seen, by_guest ? version : 0);
	check_eq(guest_read32(&view->rig->guest, view->gpa + PAGE, &seen), KVM_EXIT_MMIO);
}

static int flr(struct pfnbuf_device *device)
{
	uint8_t config[256], at, control[2];

	check_eq(pfnbuf_device_config_read(device, 0, config, sizeof(config)), 0);
	for (at = config[PCI_CAPABILITY_LIST]; at && config[at] != 0x10; at = config[at + 1])
		;
	check(at != 0);
	memcpy(control, config + at + 8, 2);
	control[1] |= 0x80;
	return pfnbuf_device_config_write(device, at + 8U, control, 2);
}

static void survives_reset(int (*reset)(struct pfnbuf_device *), unsigned flags)
{
	const struct pfnbuf_range part = { 0, 2 * PAGE };
	struct pfnbuf_device *nvme;
	struct pfnbuf_place at;
	struct view view;
	struct rig rig;
	void *mapping;

	rig_open(&rig);
	check_eq(open_bound(rig.ctx, RAW_NVME, 0, &nvme), 0);
	view = (struct view){ .rig = &rig, .gpa = GPA, .iova = IOVA };
	at = place_of(&view);
	at.flags = flags;
	check_eq(pfnbuf_device_bar_map(nvme, 0, 0, 2 * PAGE, &mapping), 0);
	view.bytes = mapping;
	check_eq(pfnbuf_window_new_bar(nvme, 0, &part, &at, &view.w), 0);
	check_eq(set_picture(&view, "s."), 0);
	check_version(&view, true, true);
	check_eq(reset(nvme), 0);
	check_state(&view, PFNBUF_WINDOW_SUSPENDED);
	check_version(&view, false, !flags);
	check_eq(pfnbuf_device_restore(nvme), 0);
	check_state(&view, PFNBUF_WINDOW_LIVE);
	check_version(&view, true, true);
	view.w = pfnbuf_window_free(view.w);
	check_eq(pfnbuf_device_bar_unmap(nvme, mapping), 0);
	pfnbuf_device_close(nvme);
	rig_close(&rig);
}

static void function_level_reset(void)
{
	survives_reset(flr, 0);
	survives_reset(flr, PFNBUF_PLACE_WITHDRAW_SLOTS);
}

static void device_reset(void)
{
	survives_reset(pfnbuf_device_reset, 0);
	survives_reset(pfnbuf_device_reset, PFNBUF_PLACE_WITHDRAW_SLOTS);
}

/* ---------------------------------------------------------------- windows of RAM ------------ */

static void ram_with(uint64_t granule)
{
	struct pfnbuf_ram ram = { .offset = 2 * PAGE, .length = strlen(FIVE_RUNS) * PAGE };
	struct pfnbuf_place at;
	struct view view;
	struct rig rig;
	void *bytes;

	rig_open(&rig);
	check_eq(pfnbuf_buf_new_memfd(rig.ctx, MAX_PAGES * PAGE, 0, &ram.memfd), 0);
	check_eq(pfnbuf_buf_map(ram.memfd, ram.offset, ram.length, &bytes), 0);
	view = (struct view){
		.rig = &rig, .picture = "..........", .gpa = GPA, .iova = IOVA, .bytes = bytes
	};
	at = place_of(&view);
	at.granule = granule;
	check_eq(pfnbuf_window_new_ram(rig.ctx, &ram, &at, &view.w), 0);
	check_changes(&view);
	view.w = pfnbuf_window_free(view.w);
	check_reach(&view, false, false);
	check_eq(pfnbuf_buf_unmap(ram.memfd, bytes, ram.length), 0);
	pfnbuf_buf_unref(ram.memfd);
	rig_close(&rig);
}

static void ram_by_runs(void)
{
	ram_with(0);
}

static void ram_by_granules(void)
{
	ram_with(4 * PAGE);
}

/* ---------------------------------------------------------------- faults in the kernel ------ */

#define FAIL_NTH "/proc/thread-self/fail-nth"

/*
 * Let the nth point of this thread fail where the kernel can inject a fault; 0: none. @fd is open before,
 * since to open is to allocate.
 */
static void inject(int fd, unsigned n)
{
	char text[16];
	const int length = snprintf(text, sizeof(text), "%u", n);

	check_eq(pwrite(fd, text, (size_t)length, 0), length);
}

/* The fault that comes after the first call that fails, and then no more; 0: none. */
static struct {
	int fd;
	unsigned n;
} second_fault;

static unsigned long ioctls;

static int ioctl_and_fault(void *data, int fd, unsigned long request, void *arg)
{
	const int r = pfnbuf_kernel_running()->ioctl(data, fd, request, arg);

	ioctls++;
	if (r < 0 && second_fault.n) {
		inject(second_fault.fd, second_fault.n);
		second_fault.n = 0;
	}
	return r;
}

/* Whether the fault came; no more of them. */
static bool injected(int fd)
{
	char text[16] = "";
	const ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	inject(fd, 0);
	check(n > 0);
	return text[0] == '0';
}

static bool is_mapped(const struct rig *rig, uint64_t iova)
{
	const int iommufd = pfnbuf_ctx_get_iommufd(rig->ctx);
	struct iommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE,
		.dst_ioas_id = rig->probe,
		.src_ioas_id = pfnbuf_ioas_get_id(rig->ioas),
		.length = PAGE,
		.dst_iova = iova,
		.src_iova = iova,
	};
	const int r = vmtest_ioctl(iommufd, IOMMU_IOAS_COPY, &copy);

	check(r == 0 || r == -ENOENT);
	if (!r)
		check_eq(raw_ioas_unmap(iommufd, rig->probe, iova, PAGE), 0);
	return !r;
}

static bool is_in_ledger(const struct rig *rig, uint64_t iova)
{
	struct pfnbuf_area area;

	return pfnbuf_ioas_next_area(rig->ioas, iova, &area) && area.iova <= iova;
}

/* Areas by what can be copied, slots by what the guest reaches; and both as the layout has it. */
static void check_ledger(const struct view *view)
{
	static uint32_t token = 0xe0000000;

	for (int p = -1; p <= (int)strlen(view->picture); p++) {
		const uint64_t iova = view->iova + (uint64_t)p * PAGE;
		const bool mapped = is_mapped(view->rig, iova);

		check_eq(mapped, is_in_ledger(view->rig, iova));
		check_eq(mapped, is_shared(view, p));
		clear(view, GUEST_CELL);
		check_eq(write_as_guest(view, p, ++token), is_shared(view, p) ? 0 : KVM_EXIT_MMIO);
		check_landed(view, is_shared(view, p) ? p : -1, GUEST_CELL, token);
	}
}

/* Two states of a window, the one it is in, and what came of the faults on the way. */
struct sweep {
	struct view *view;
	const char *picture[2];
	uint64_t gpa[2], iova[2];
	int at;
	unsigned faults, survived, refused, undone, quarantined;
};

static bool is_move(const struct sweep *sweep)
{
	return sweep->gpa[0] != sweep->gpa[1] || sweep->iova[0] != sweep->iova[1];
}

static struct pfnbuf_plan *plan_to(const struct sweep *sweep, int to)
{
	struct pfnbuf_layout *layout;
	struct pfnbuf_plan *plan;

	if (is_move(sweep)) {
		check_eq(pfnbuf_window_plan_move(sweep->view->w, sweep->gpa[to], sweep->iova[to],
						 &plan),
			 0);
		return plan;
	}
	layout = draw(sweep->picture[to]);
	check_eq(pfnbuf_window_plan(sweep->view->w, layout, &plan), 0);
	pfnbuf_layout_free(layout);
	return plan;
}

static bool has_undone(const struct pfnbuf_plan *plan)
{
	struct pfnbuf_step step;

	check_eq(pfnbuf_plan_get_step(plan, 0, &step), 0);
	return step.state == PFNBUF_STEP_UNDONE;
}

static void be_at(struct sweep *sweep, int at)
{
	sweep->at = at;
	sweep->view->picture = sweep->picture[at];
	sweep->view->gpa = sweep->gpa[at];
	sweep->view->iova = sweep->iova[at];
}

static void go(struct sweep *sweep, int to)
{
	struct pfnbuf_plan *plan = plan_to(sweep, to);

	check_eq(pfnbuf_window_apply(sweep->view->w, plan), 0);
	pfnbuf_plan_free(plan);
	be_at(sweep, to);
}

/* The window is what the answer says. */
static void judge(struct sweep *sweep, int to, int r, const struct pfnbuf_plan *plan)
{
	struct pfnbuf_window_info info;

	pfnbuf_window_get_info(sweep->view->w, &info);
	be_at(sweep, r ? !to : to);
	/* One fault leaves the way back open. */
	check_eq(info.state, PFNBUF_WINDOW_LIVE);
	sweep->undone += r < 0 && has_undone(plan);
	sweep->refused += r < 0;
	check_ledger(sweep->view);
}

/* Apply the plan with the nth fault; whether there were as many. */
static bool apply_with_fault(struct sweep *sweep, int to, unsigned n)
{
	struct pfnbuf_plan *plan = plan_to(sweep, to);
	int fd = check_ok(vmtest_open(FAIL_NTH, O_RDWR));
	bool came;
	int r;

	inject(fd, n);
	r = pfnbuf_window_apply(sweep->view->w, plan);
	came = injected(fd);
	close(fd);
	check(came || r == 0);
	judge(sweep, to, r, plan);
	pfnbuf_plan_free(plan);
	sweep->faults += came;
	sweep->survived += came && r == 0;
	return came;
}

static void sweep_to(struct sweep *sweep, int to)
{
	for (unsigned n = 1; apply_with_fault(sweep, to, n); n++)
		if (sweep->at == to)
			go(sweep, !to);
}

static void sweep_both_ways(struct sweep *sweep, const char *what)
{
	go(sweep, 0);
	sweep_to(sweep, 1);
	sweep_to(sweep, 0);
	printf("# %s: %u faults: %u plans refused, %u of them undone, %u faults survived\n", what,
	       sweep->faults, sweep->refused, sweep->undone, sweep->survived);
	/* The kernel must have had something to fail in, after the first step, too. */
	check(sweep->refused > 0 && sweep->undone > 0);
}

/* ---------------------------------------------------------------- two faults ---------------- */

#define MAX_SECOND 6 /* of the points where the way back can fail */

/* Whatever is there, the ledgers know; with @nothing there is nothing. */
static void check_place(const struct view *view, bool nothing)
{
	for (int p = -1; p <= (int)strlen(FIVE_RUNS); p++) {
		const uint64_t iova = view->iova + (uint64_t)p * PAGE;
		const uint64_t gpa = view->gpa + (uint64_t)p * PAGE;
		const bool mapped = is_mapped(view->rig, iova);
		bool in_vm = false;
		struct pfnbuf_slot slot;
		uint32_t id = 0;

		for (; pfnbuf_vm_next_slot(view->rig->vm, id, &id, &slot); id++)
			in_vm |= gpa - slot.gpa < slot.length;
		check_eq(mapped, is_in_ledger(view->rig, iova));
		check_eq(write_as_guest(view, p, 1), in_vm ? 0 : KVM_EXIT_MMIO);
		check(!nothing || (!mapped && !in_vm));
	}
}

static void check_places(struct sweep *sweep, bool nothing)
{
	for (int at = 0; at < 2; at++) {
		be_at(sweep, at);
		check_place(sweep->view, nothing);
	}
}

/* What stuck half-way is known, ends when the window does, and makes place for another. */
static void renew_quarantined(struct sweep *sweep, int at)
{
	check_places(sweep, false);
	check_eq(pfnbuf_window_set_range(sweep->view->w, 0, PAGE, PFNBUF_SHARED), -ENOTRECOVERABLE);
	sweep->view->w = pfnbuf_window_free(sweep->view->w);
	check_places(sweep, true);
	be_at(sweep, at);
	make_bar_window(sweep->view, 0);
	check_eq(set_picture(sweep->view, sweep->picture[at]), 0);
	sweep->quarantined++;
}

static void judge_two(struct sweep *sweep, int to, int r, const struct pfnbuf_plan *plan)
{
	struct pfnbuf_window_info info;

	pfnbuf_window_get_info(sweep->view->w, &info);
	if (info.state != PFNBUF_WINDOW_QUARANTINED) {
		judge(sweep, to, r, plan);
		return;
	}
	check(r < 0);
	sweep->refused++;
	renew_quarantined(sweep, !to);
}

/*
 * Apply the plan with the nth fault and, once a call has failed, the mth of what follows. Whether they came:
 * 0, 1 or both.
 */
static int apply_with_two(struct sweep *sweep, int to, unsigned n, unsigned m)
{
	struct pfnbuf_plan *plan = plan_to(sweep, to);
	int fd = check_ok(vmtest_open(FAIL_NTH, O_RDWR));
	bool came, armed;
	int r;

	second_fault.fd = fd;
	second_fault.n = m;
	inject(fd, n);
	r = pfnbuf_window_apply(sweep->view->w, plan);
	armed = !second_fault.n;
	second_fault.n = 0;
	came = injected(fd);
	close(fd);
	sweep->faults++;
	judge_two(sweep, to, r, plan);
	pfnbuf_plan_free(plan);
	if (sweep->at == to)
		go(sweep, !to);
	return armed + came;
}

static void sweep_pairs_to(struct sweep *sweep, int to)
{
	int came = 1;

	go(sweep, !to);
	for (unsigned n = 1; came; n++) {
		came = 2;
		for (unsigned m = 1; came == 2 && m <= MAX_SECOND; m++)
			came = apply_with_two(sweep, to, n, m);
	}
}

static void sweep_pairs(struct sweep *sweep, const char *what)
{
	sweep_pairs_to(sweep, 1);
	sweep_pairs_to(sweep, 0);
	printf("# %s: %u pairs of faults: %u plans refused, %u of them undone, %u windows quarantined\n",
	       what, sweep->faults, sweep->refused, sweep->undone, sweep->quarantined);
	check(sweep->undone > 0 && sweep->quarantined > 0);
}

static void set_fault(const char *attribute, const char *knob, const char *text)
{
	char path[100];

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s/%s", attribute, knob);
	check_eq(vmtest_write_file(path, text), 0);
}

/* Faults of allocations that may wait, too. */
static void arm_sleeping_allocations(void)
{
	set_fault("failslab", "ignore-gfp-wait", "N");
	set_fault("fail_page_alloc", "ignore-gfp-wait", "N");
	set_fault("fail_page_alloc", "min-order", "0");
}

static void sweep_layouts_and_moves(struct view *view, const char *what)
{
	struct sweep layouts = {
		.view = view,
		.picture = { FIVE_RUNS, ".s.ss..sss" },
		.gpa = { GPA, GPA },
		.iova = { IOVA, IOVA },
	};
	struct sweep moves = {
		.view = view,
		.picture = { FIVE_RUNS, FIVE_RUNS },
		.gpa = { GPA, GPA + 0x1000000 },
		.iova = { IOVA, IOVA + 0x1000000 },
	};
	char text[64];

	snprintf(text, sizeof(text), "set_layout of %s", what);
	sweep_both_ways(&layouts, text);
	check_eq(set_picture(view, FIVE_RUNS), 0);
	snprintf(text, sizeof(text), "move of %s", what);
	sweep_both_ways(&moves, text);
}

static void every_fault_of_a_bar(void)
{
	struct view view;
	struct rig rig;
	void *mapping;

	arm_sleeping_allocations();
	rig_open(&rig);
	open_bar_view(&view, &rig, 0, &mapping);
	sweep_layouts_and_moves(&view, "a BAR");
	view.w = pfnbuf_window_free(view.w);
	check_eq(pfnbuf_device_bar_unmap(rig.memory, mapping), 0);
	rig_close(&rig);
}

static void pairs_of_faults(void)
{
	struct view view;
	struct rig rig;
	void *mapping;
	struct sweep layouts = {
		.view = &view,
		.picture = { FIVE_RUNS, ".s.ss..sss" },
		.gpa = { GPA, GPA },
		.iova = { IOVA, IOVA },
	};
	struct sweep moves = {
		.view = &view,
		.picture = { FIVE_RUNS, FIVE_RUNS },
		.gpa = { GPA, GPA + 0x1000000 },
		.iova = { IOVA, IOVA + 0x1000000 },
	};

	arm_sleeping_allocations();
	rig_open(&rig);
	open_bar_view(&view, &rig, 0, &mapping);
	sweep_pairs(&layouts, "set_layout of a BAR");
	check_eq(set_picture(&view, FIVE_RUNS), 0);
	sweep_pairs(&moves, "move of a BAR");
	view.w = pfnbuf_window_free(view.w);
	check_eq(pfnbuf_device_bar_unmap(rig.memory, mapping), 0);
	rig_close(&rig);
}

static void every_fault_of_ram(void)
{
	struct pfnbuf_ram ram = { .length = strlen(FIVE_RUNS) * PAGE };
	struct pfnbuf_place at;
	struct view view;
	struct rig rig;
	void *bytes;

	arm_sleeping_allocations();
	rig_open(&rig);
	check_eq(pfnbuf_buf_new_memfd(rig.ctx, MAX_PAGES * PAGE, 0, &ram.memfd), 0);
	check_eq(pfnbuf_buf_map(ram.memfd, 0, ram.length, &bytes), 0);
	view = (struct view){
		.rig = &rig, .picture = "..........", .gpa = GPA, .iova = IOVA, .bytes = bytes
	};
	at = place_of(&view);
	check_eq(pfnbuf_window_new_ram(rig.ctx, &ram, &at, &view.w), 0);
	sweep_layouts_and_moves(&view, "RAM");
	view.w = pfnbuf_window_free(view.w);
	check_eq(pfnbuf_buf_unmap(ram.memfd, bytes, ram.length), 0);
	pfnbuf_buf_unref(ram.memfd);
	rig_close(&rig);
}

/* ---------------------------------------------------------------- what a restore costs ------ */

#define COST_WINDOWS 20
#define COST_AREAS   500 /* of each window, every other page */
#define COST_IOVA    UINT64_C(0x10000000)
#define COST_STRIDE  UINT64_C(0x400000) /* from a window to the next */
#define COST_ROUNDS  30

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void pulse(struct rig *rig)
{
	check_eq(pfnbuf_device_set_memory_decode(rig->memory, false), 0);
	check_eq(pfnbuf_device_set_memory_decode(rig->memory, true), 0);
}

static void build_windows(struct rig *rig, struct pfnbuf_window **windows)
{
	const struct pfnbuf_range part = { 0, 2 * COST_AREAS * PAGE };
	struct pfnbuf_place at = { .size = sizeof(at), .ioas = rig->ioas };
	char picture[2 * COST_AREAS + 1];
	struct pfnbuf_layout *layout;

	for (int i = 0; i < 2 * COST_AREAS; i++)
		picture[i] = i & 1 ? '.' : 's';
	picture[2 * COST_AREAS] = '\0';
	layout = draw(picture);
	for (uint64_t i = 0; i < COST_WINDOWS; i++) {
		at.iova = COST_IOVA + i * COST_STRIDE;
		check_eq(pfnbuf_window_new_bar(rig->memory, 2, &part, &at, &windows[i]), 0);
		check_eq(pfnbuf_window_set_layout(windows[i], layout), 0);
	}
	pfnbuf_layout_free(layout);
}

/* One call of a restore. */
struct mapping {
	int dma_buf;
	uint64_t offset;
	uint64_t length;
	uint64_t iova;
};

static void list_mappings(const struct rig *rig, struct mapping *mappings)
{
	struct pfnbuf_area area = { .iova = COST_IOVA };

	for (int i = 0; i < COST_WINDOWS * COST_AREAS; i++) {
		check(pfnbuf_ioas_next_area(rig->ioas, area.iova + area.length, &area));
		mappings[i] = (struct mapping){
			.dma_buf = pfnbuf_buf_get_fd(area.buf),
			.offset = area.offset,
			.length = area.length,
			.iova = area.iova,
		};
	}
	check(!pfnbuf_ioas_next_area(rig->ioas, area.iova + area.length, &area));
}

/* The calls of a restore, with nothing around them: one unmaps what is dead, and each area is mapped. */
static void bare_restore(const struct rig *rig, const struct mapping *mappings)
{
	const int iommufd = pfnbuf_ctx_get_iommufd(rig->ctx);
	const uint32_t ioas = pfnbuf_ioas_get_id(rig->ioas);
	const struct mapping *last = &mappings[COST_WINDOWS * COST_AREAS - 1];

	check_ok(raw_ioas_unmap(iommufd, ioas, mappings->iova,
				last->iova + last->length - mappings->iova));
	for (const struct mapping *m = mappings; m <= last; m++)
		check_ok(raw_ioas_map_file(iommufd, ioas, m->dma_buf, m->offset, m->length,
					   m->iova));
}

/* Either meets the same: every area has just died. */
static void time_one(struct rig *rig, const struct mapping *mappings, double *best)
{
	double t;

	pulse(rig);
	t = now();
	if (mappings)
		bare_restore(rig, mappings);
	else
		check_eq(pfnbuf_device_restore(rig->memory), 0);
	t = now() - t;
	*best = t < *best ? t : *best;
}

/*
 * Rounds of both in turn, and of each the best: on a busy machine an emulated processor stands still
 * for long. The ledger, which does not know of the bare loop, takes what that mapped for dead; the
 * restore that comes last makes it true.
 */
static void restore_over_loop(void)
{
	static struct mapping mappings[COST_WINDOWS * COST_AREAS];
	struct pfnbuf_window *windows[COST_WINDOWS];
	double restore = 1e9, loop = 1e9;
	struct rig rig;

	rig_open(&rig);
	build_windows(&rig, windows);
	list_mappings(&rig, mappings);
	for (int i = 0; i < COST_ROUNDS; i++) {
		time_one(&rig, mappings, &loop);
		ioctls = 0;
		time_one(&rig, NULL, &restore);
		check_eq(ioctls, 1 + COST_WINDOWS * COST_AREAS);
	}
	for (int i = 0; i < COST_WINDOWS * COST_AREAS; i++)
		check(is_mapped(&rig, mappings[i].iova));
	printf("window.restore_over_loop %.3f\n", restore / loop);
	printf("# %d areas: %.1f ms, bare %.1f ms\n", COST_WINDOWS * COST_AREAS, restore * 1e3,
	       loop * 1e3);
	check(restore / loop < 1.5);
	for (int i = 0; i < COST_WINDOWS; i++)
		windows[i] = pfnbuf_window_free(windows[i]);
	rig_close(&rig);
}

int main(void)
{
	static const struct vmtest tests[] = {
		{ "bar", bar },
		{ "decode", decode },
		{ "decode_with_withdrawal", decode_with_withdrawal },
		{ "function_level_reset", function_level_reset },
		{ "device_reset", device_reset },
		{ "ram_by_runs", ram_by_runs },
		{ "ram_by_granules", ram_by_granules },
		{ "every_fault_of_a_bar", every_fault_of_a_bar },
		{ "every_fault_of_ram", every_fault_of_ram },
		{ "pairs_of_faults", pairs_of_faults },
		{ "restore_over_loop", restore_over_loop },
	};

	return vmtest_main(tests, sizeof(tests) / sizeof(tests[0]));
}
