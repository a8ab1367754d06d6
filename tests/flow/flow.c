/* SPDX-License-Identifier: MIT */
#include "flow.h"

#include <sys/mman.h>
#include <unistd.h>

#include "libpfnbuf/uapi/pci.h"

/* ---------------------------------------------------------------- the machine --------------- */

static const struct pfnbuf_sim_device machine[] = {
	{
		.bdf = BAR_DEVICE,
		.vendor = 0x1af4,
		.device = 0x1110,
		.flags = PFNBUF_SIM_FLR | PFNBUF_SIM_AF_FLR | PFNBUF_SIM_PM,
		.bars = {
			[0] = { .size = 0x1000 },
			[1] = { .size = 0x4000 },
			[2] = { .size = BAR_SIZE, .flags = PFNBUF_SIM_BAR_64 | PFNBUF_SIM_BAR_PREFETCHABLE },
			[4] = { .size = 0x20, .flags = PFNBUF_SIM_BAR_IO },
			[5] = { .size = 0x200 },
		},
		.msix_vectors = 8,
		.msix_bar = 1,
		.msix_table = 0,
		.msix_pba_bar = 1,
		.msix_pba = 0x2000,
	},
	{ .bdf = DMA_DEVICE, .vendor = 0x1234, .device = 0x11e8, .bars = { { .size = 0x100000 } } },
	{
		.bdf = VF_DEVICE,
		.vendor = 0x8086,
		.device = 0x1889,
		.flags = PFNBUF_SIM_VF | PFNBUF_SIM_FLR,
		.bars = { [2] = { .size = BAR_SIZE, .flags = PFNBUF_SIM_BAR_64 } },
	},
	{
		.bdf = BAD_RESET,
		.vendor = 0x1234,
		.device = 0x0004,
		.flags = PFNBUF_SIM_FLR | PFNBUF_SIM_RESET_FAILS,
		.bars = { [2] = { .size = BAR_SIZE } },
	},
	{
		.bdf = SLOT_FIRST,
		.vendor = 0x1234,
		.device = 0x0005,
		.bars = { [2] = { .size = BAR_SIZE } },
		.hot_reset_set = 1,
	},
	{
		.bdf = SLOT_SECOND,
		.vendor = 0x1234,
		.device = 0x0006,
		.bars = { [2] = { .size = BAR_SIZE } },
		.hot_reset_set = 1,
	},
	{ .bdf = NO_RESET, .bars = { [2] = { .size = BAR_SIZE } } },
	{ .bdf = NO_DRIVER, .flags = PFNBUF_SIM_NO_DRIVER, .bars = { { .size = 0x1000 } } },
	{ .bdf = NO_CDEV, .flags = PFNBUF_SIM_NO_CDEV, .bars = { { .size = 0x1000 } } },
	{ .bdf = NO_GROUP, .flags = PFNBUF_SIM_NO_GROUP, .bars = { { .size = 0x1000 } } },
	{ .bdf = NO_ACCESS, .flags = PFNBUF_SIM_NO_ACCESS, .bars = { { .size = 0x1000 } } },
	{ .bdf = NO_DMABUF, .flags = PFNBUF_SIM_NO_DMABUF, .bars = { [2] = { .size = BAR_SIZE } } },
};

/* A device of the set is never without the others. */
static bool belongs(const struct pfnbuf_sim_device *device, const char *bdf)
{
	return !bdf || !strcmp(device->bdf, bdf) ||
	       (device->hot_reset_set && !strncmp(bdf, SLOT_FIRST, strlen(SLOT_FIRST) - 1));
}

void world_plug(struct world *w, const char *bdf)
{
	for (size_t i = 0; i < sizeof(machine) / sizeof(*machine); i++)
		if (!w->plugged[i] && belongs(&machine[i], bdf)) {
			assert_int_equal(pfnbuf_sim_add_device(w->sim, &machine[i]), 0);
			w->plugged[i] = true;
		}
}

void world_init(struct world *w)
{
	*w = (struct world){ .fd = -1 };
	assert_int_equal(pfnbuf_sim_new(&w->sim), 0);
	world_plug(w, BAR_DEVICE);
	pfnbuf_sim_get_counts(w->sim, &w->at_start);
	w->memory =
		mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(w->memory, MAP_FAILED);
}

static void take_log(void *data, enum pfnbuf_log_level level, const char *message)
{
	struct world *w = data;

	assert_null(strchr(message, '\n'));
	if (level > PFNBUF_LOG_WARNING)
		return;
	w->warnings++;
	snprintf(w->warning, sizeof(w->warning), "%s", message);
}

int world_open(struct world *w, uint32_t max_events)
{
	const struct pfnbuf_ctx_opts opts = {
		.size = sizeof(opts),
		.kernel = pfnbuf_sim_kernel(w->sim),
		.max_events = max_events,
		.log = take_log,
		.log_data = w,
	};

	return pfnbuf_ctx_new(&w->ctx, &opts);
}

void world_release(struct world *w)
{
	w->buf = pfnbuf_buf_unref(w->buf);
	w->buf2 = pfnbuf_buf_unref(w->buf2);
	w->device = pfnbuf_device_close(w->device);
	w->dma = pfnbuf_device_close(w->dma);
	w->other = pfnbuf_device_close(w->other);
	w->ioas = pfnbuf_ioas_free(w->ioas);
	w->ioas2 = pfnbuf_ioas_free(w->ioas2);
	w->vm = pfnbuf_vm_free(w->vm);
	if (w->fd >= 0)
		pfnbuf_sim_kernel(w->sim)->close(pfnbuf_sim_kernel(w->sim)->data, w->fd);
	w->fd = -1;
}

void world_fini(struct world *w)
{
	world_release(w);
	w->ctx = pfnbuf_ctx_free(w->ctx);
	w->sim = pfnbuf_sim_free(w->sim);
	munmap(w->memory, 2 * PAGE);
}

void world_assert_counts(const struct world *w)
{
	struct pfnbuf_sim_counts now;

	pfnbuf_sim_get_counts(w->sim, &now);
#define SAME(what)                                                                                 \
	if (now.what != w->at_start.what)                                                          \
		fail_msg("%s: %llu, were %llu", #what, (unsigned long long)now.what,               \
			 (unsigned long long)w->at_start.what);
	SAME(fds)
	SAME(ioas)
	SAME(hwpts)
	SAME(areas)
	SAME(dead_areas)
	SAME(devices)
	SAME(dma_bufs)
	SAME(guest_memfds)
	SAME(vms)
	SAME(slots)
	SAME(bar_mappings)
	SAME(pinned)
#undef SAME
}

/* ---------------------------------------------------------------- outcomes ------------------ */

int flow_failed(struct world *w, int code, const char *call)
{
	if (!w->failing)
		fail_msg("%s: %s", call, pfnbuf_last_error());
	/* Whatever failed has said so. */
	if (pfnbuf_last_error_record()->code != code)
		fail_msg("%s returned %s and the last error says: %s", call,
			 pfnbuf_errno_name(code), pfnbuf_last_error());
	WANT(*pfnbuf_last_error_record()->call);
	WANT(*pfnbuf_last_error_record()->object);
	WANT(*pfnbuf_last_error_record()->cause);
	return code;
}

bool flow_has_failed(const struct world *w)
{
	return w->failing && pfnbuf_sim_calls(w->sim) >= w->fails_at;
}

void flow_not_refused(int code, int wanted, const char *call)
{
	fail_msg("%s returned %s instead of %s (%s)", call,
		 code < 0 ? pfnbuf_errno_name(code) : "success", pfnbuf_errno_name(wanted),
		 pfnbuf_last_error());
}

int want_state(struct world *w, const struct pfnbuf_buf *buf, enum pfnbuf_state state)
{
	const enum pfnbuf_state is = pfnbuf_buf_get_state(buf);

	if (is == state)
		return 0;
	if (!w->failing || state != PFNBUF_LIVE || is != PFNBUF_SUSPENDED)
		fail_msg("the buffer is %s and not %s", pfnbuf_state_name(is),
			 pfnbuf_state_name(state));
	return -EAGAIN;
}

/* ---------------------------------------------------------------- steps --------------------- */

int open_bound(struct world *w, const char *bdf, struct pfnbuf_device **devicep)
{
	world_plug(w, bdf);
	TRY(pfnbuf_device_open(w->ctx, bdf, devicep));
	TRY(pfnbuf_device_bind(*devicep, NULL));
	return 0;
}

int open_pair(struct world *w, const char *bdf)
{
	STEP(open_bound(w, bdf, &w->device));
	STEP(open_bound(w, DMA_DEVICE, &w->dma));
	TRY(pfnbuf_ioas_new(w->ctx, &w->ioas));
	TRY(pfnbuf_device_attach(w->dma, w->ioas));
	TRY(pfnbuf_device_set_bus_master(w->dma, true));
	return 0;
}

int export_and_map(struct world *w)
{
	const struct pfnbuf_range slice = { SLICE, SLICE };
	uint64_t iova = IOVA;

	TRY(pfnbuf_device_export(w->device, BAR, &slice, 1, &w->buf));
	TRY(pfnbuf_ioas_map_buf(w->ioas, w->buf, 0, SLICE, MAP_FIXED_RW, &iova));
	WANT(iova == IOVA);
	return 0;
}

int open_and_map(struct world *w, const char *bdf)
{
	STEP(open_pair(w, bdf));
	return export_and_map(w);
}

int dma(struct world *w, uint8_t fill)
{
	struct pfnbuf_device_info info;
	uint8_t bytes[64], there[64];
	size_t done = 77;
	int r;

	pfnbuf_device_get_info(w->device, &info);
	memset(bytes, fill, sizeof(bytes));
	memset(there, ~fill, sizeof(there));
	assert_int_equal(
		pfnbuf_sim_bar_poke(w->sim, info.bdf, BAR, SLICE + 0x100, there, sizeof(there)), 0);
	r = pfnbuf_sim_dma_write(w->sim, DMA_DEVICE, IOVA + 0x100, bytes, sizeof(bytes), &done);
	WANT(r == 0 || r == -EFAULT || r == -EPERM);
	WANT(r == -EPERM || done == (r < 0 ? 0 : sizeof(bytes)));
	assert_int_equal(
		pfnbuf_sim_bar_peek(w->sim, info.bdf, BAR, SLICE + 0x100, there, sizeof(there)), 0);
	/* Landed whole or not at all. */
	memset(bytes, r < 0 ? (uint8_t)~fill : fill, sizeof(bytes));
	assert_memory_equal(there, bytes, sizeof(bytes));
	return r;
}

int find_cap(struct pfnbuf_device *device, uint8_t id)
{
	uint8_t at, cap[2];
	int r = pfnbuf_device_config_read(device, 0x34, &at, 1);

	for (unsigned n = 0; r >= 0 && at >= 0x40 && n < 48; n++) {
		r = pfnbuf_device_config_read(device, at, cap, sizeof(cap));
		if (r < 0)
			return r;
		if (cap[0] == id)
			return at;
		at = cap[1] & 0xfc;
	}
	return r < 0 ? r : -ENOENT;
}

unsigned dead_areas(struct pfnbuf_ioas *ioas, unsigned *total)
{
	struct pfnbuf_area area = { 0 };
	unsigned dead = 0;

	*total = 0;
	for (uint64_t at = 0; pfnbuf_ioas_next_area(ioas, at, &area) > 0;
	     at = area.iova + area.length) {
		++*total;
		dead += area.dead;
	}
	return dead;
}

/* ---------------------------------------------------------------- running ------------------- */

static void assert_no_alias(struct world *w)
{
	const char *what = "";

	if (pfnbuf_sim_alias(w->sim, &what))
		fail_msg("a page is private and shared at once: %s", what);
}

void flow_run(flow_fn *flow)
{
	struct world w;

	world_init(&w);
	assert_int_equal(world_open(&w, 0), 0);
	assert_int_equal(flow(&w), 0);
	assert_no_alias(&w);
	world_release(&w);
	if (w.warnings)
		fail_msg("warned: %s", w.warning);
	w.ctx = pfnbuf_ctx_free(w.ctx);
	world_assert_counts(&w);
	world_fini(&w);
}

/*
 * What the ledgers say is what the kernel has, or less: nothing that the library calls alive is
 * dead or missing, and nothing is mapped that it does not know of.
 */
static void assert_ledgers(struct world *w)
{
	struct pfnbuf_ioas *const ioases[] = { w->ioas, w->ioas2 };
	unsigned total = 0, dead = 0, slots = 0;
	struct pfnbuf_sim_counts now;

	for (size_t i = 0; i < 2; i++) {
		unsigned n;

		if (!ioases[i])
			continue;
		dead += dead_areas(ioases[i], &n);
		total += n;
	}
	if (w->vm) {
		struct pfnbuf_slot slot;

		for (uint32_t id = 0; pfnbuf_vm_next_slot(w->vm, id, &id, &slot) > 0; id++)
			slots++;
	}
	pfnbuf_sim_get_counts(w->sim, &now);
	WANT(w->unseen || total - dead <= now.areas - now.dead_areas);
	/* Where ending an object failed, and was logged, the kernel has more than is known of. */
	WANT(w->warnings || total >= now.areas);
	WANT(slots == now.slots);
}

static void put_in_d0(struct pfnbuf_device *device)
{
	const int pm = find_cap(device, PCI_CAP_ID_PM);
	const uint8_t pmcsr[2] = { 0 };

	if (pm >= 0)
		WANT(pfnbuf_device_config_write(device, (unsigned)pm + PCI_PM_CTRL, pmcsr,
						sizeof(pmcsr)) == 0);
}

/* After trouble a user who turns memory on and restores gets everything back. */
static void assert_recovers(struct world *w)
{
	unsigned total;

	if (!w->device || !w->buf || !w->ioas || pfnbuf_buf_get_state(w->buf) == PFNBUF_DEAD)
		return;
	put_in_d0(w->device);
	if (pfnbuf_device_revoke_end(w->device) < 0)
		WANT(pfnbuf_last_error_record()->code == -EINVAL);
	pfnbuf_device_low_power_exit(w->device);
	WANT(pfnbuf_device_set_memory_decode(w->device, true) == 0);
	WANT(pfnbuf_device_revoke_begin(w->device, PFNBUF_CAUSE_FOREIGN) == 0);
	WANT(pfnbuf_device_revoke_end(w->device) == 0);
	WANT(pfnbuf_buf_get_state(w->buf) == PFNBUF_LIVE);
	WANT(pfnbuf_device_restore(w->device) == 0);
	if (w->other && pfnbuf_device_get_generation(w->other) > 1) {
		WANT(pfnbuf_device_revoke_begin(w->other, PFNBUF_CAUSE_FOREIGN) == 0);
		WANT(pfnbuf_device_revoke_end(w->other) == 0);
		WANT(pfnbuf_device_restore(w->other) == 0);
	}
	/* Areas of a buffer that the library did not export are not its device's to restore. */
	WANT(w->unseen || dead_areas(w->ioas, &total) == 0);
}

/* A failure that says nothing, and those that the library reads something from. */
static const int errnos[] = { EIO, EINTR, ENODEV, EINVAL, ENOTTY, ENOENT };

/* How many calls the flow makes, its release included. */
static uint64_t count_calls(flow_fn *flow)
{
	uint64_t before, calls;
	struct world w;

	world_init(&w);
	before = pfnbuf_sim_calls(w.sim);
	assert_int_equal(world_open(&w, 0), 0);
	assert_int_equal(flow(&w), 0);
	world_release(&w);
	w.ctx = pfnbuf_ctx_free(w.ctx);
	calls = pfnbuf_sim_calls(w.sim) - before;
	world_fini(&w);
	return calls;
}

static void forget_run(struct world *w)
{
	struct pfnbuf_event event;

	w->failing = false;
	w->unseen = false;
	w->warnings = 0;
	while (w->ctx && pfnbuf_ctx_pop_event(w->ctx, &event) > 0)
		;
	if (w->ctx)
		assert_int_equal(pfnbuf_ctx_dispatch(w->ctx), 0);
}

static void run_failing(flow_fn *flow, uint64_t n, int error)
{
	struct world w;
	int r;

	world_init(&w);
	w.failing = true;
	w.fails_at = pfnbuf_sim_calls(w.sim) + n;
	pfnbuf_sim_fail_nth(w.sim, n, error);
	r = world_open(&w, 0);
	if (r >= 0)
		r = flow(&w);
	else
		flow_failed(&w, r, "pfnbuf_ctx_new");
	assert_no_alias(&w);
	/* What is left to fail fails while everything is released: that may warn and must not leak. */
	if (r < 0) {
		pfnbuf_sim_fail_nth(w.sim, 0, 0);
		/* A kernel that says ENOENT of what it has is believed: this one would have lied. */
		if (error != ENOENT) {
			assert_ledgers(&w);
			assert_recovers(&w);
		}
	}
	world_release(&w);
	pfnbuf_sim_fail_nth(w.sim, 0, 0);

	/* Nothing is wedged: the same context can do it all again. */
	forget_run(&w);
	if (w.ctx)
		assert_int_equal(flow(&w), 0);
	world_release(&w);
	w.ctx = pfnbuf_ctx_free(w.ctx);
	world_assert_counts(&w);
	world_fini(&w);
}

/* The run that a sweep is in. */
static uint64_t sweep_n;
static int sweep_error;

int flow_name_failed_run(void **state)
{
	(void)state;
	if (sweep_n)
		print_error("in the run whose call %llu fails with %s\n",
			    (unsigned long long)sweep_n, pfnbuf_errno_name(sweep_error));
	sweep_n = 0;
	return 0;
}

void flow_sweep(flow_fn *flow)
{
	const uint64_t calls = count_calls(flow);

	assert_true(calls > 10);
	for (sweep_n = 1; sweep_n <= calls; sweep_n++)
		for (size_t i = 0; i < sizeof(errnos) / sizeof(*errnos); i++) {
			sweep_error = errnos[i];
			run_failing(flow, sweep_n, sweep_error);
		}
	sweep_n = 0;
}
