/* SPDX-License-Identifier: MIT */
#include "bind.h"

#include <fcntl.h>

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/proposed.h"
#include "libpfnbuf/uapi/vfio.h"

static const struct pfnbuf_sim_device machine[] = {
	{
		.bdf = TDI,
		.flags = PFNBUF_SIM_TEE | PFNBUF_SIM_FLR | PFNBUF_SIM_AF_FLR | PFNBUF_SIM_PM,
		.bars = { [0] = { BAR_SIZE, 0 },
			  [2] = { BAR_SIZE, PFNBUF_SIM_BAR_64 | PFNBUF_SIM_BAR_PREFETCHABLE } },
		.msix_vectors = 4,
		.msix_bar = 0,
		.msix_table = (uint32_t)(14 * PAGE),
		.msix_pba_bar = 0,
		.msix_pba = (uint32_t)(15 * PAGE),
		.hot_reset_set = 1,
	},
	{ .bdf = NEIGHBOR, .bars = { { BAR_SIZE, 0 } }, .hot_reset_set = 1 },
	{ .bdf = ENGINE, .bars = { { BAR_SIZE, 0 } } },
};

const char *const guest_profiles[NR_PROFILES] = { "tdx-rfc2", "iommufd-tsm5", "cca7" };

static const unsigned bars[NR_WINDOWS] = { 0, 2 };

/* What the device reports: H a hole, S shared, P private. The last two pages of BAR 0 are MSI-X's. */
static const char *const reported[NR_WINDOWS] = { "PPPPSSSSHHPPSPHH", "SSPPPPPPPPPPHHSP" };

static enum pfnbuf_vis vis_of(char c)
{
	return c == 'P' ? PFNBUF_PRIVATE : c == 'S' ? PFNBUF_SHARED : PFNBUF_HOLE;
}

/* ---------------------------------------------------------------- the report ---------------- */

/* Where sysfs says that a BAR is. */
static uint64_t bar_address(struct guest *g, unsigned bar)
{
	const struct pfnbuf_kernel *k = pfnbuf_sim_kernel(g->sim);
	unsigned long long start = 0, end, flags;
	char text[2048] = "", *line = text;
	int fd = k->open(k->data, "/sys/bus/pci/devices/" TDI "/resource", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_true(k->read(k->data, fd, text, sizeof(text) - 1) > 0);
	k->close(k->data, fd);
	for (; bar; bar--)
		line = strchr(line, '\n') + 1;
	assert_int_equal(sscanf(line, "%llx %llx %llx", &start, &end, &flags), 3);
	return start;
}

static void add_range(struct pfnbuf_tdi_report *report, uint64_t address, unsigned bar,
		      unsigned pages, uint16_t attributes)
{
	const struct pfnbuf_tdi_range range = {
		.first_page = address / PAGE,
		.number_of_pages = pages,
		.range_attributes = attributes,
		.range_id = (uint16_t)bar,
	};

	assert_int_equal(pfnbuf_tdi_report_add_range(report, &range), 0);
}

static void add_bar(struct guest *g, struct pfnbuf_tdi_report *report, unsigned window)
{
	const uint64_t address = bar_address(g, bars[window]);
	const char *pages = reported[window];
	unsigned end;

	for (unsigned i = 0; i < NR_PAGES; i = end) {
		for (end = i; end < NR_PAGES && pages[end] == pages[i];)
			end++;
		if (pages[i] != 'H')
			add_range(report, address + i * PAGE, bars[window], end - i,
				  pages[i] == 'S' ? PFNBUF_TDI_ATTR_NON_TEE : 0);
	}
	if (window == 0)
		add_range(report, address + 14 * PAGE, 0, 2,
			  PFNBUF_TDI_ATTR_MSIX_TABLE | PFNBUF_TDI_ATTR_MSIX_PBA |
				  PFNBUF_TDI_ATTR_NON_TEE);
}

/* No digest that anybody should trust, but another one for other bytes. */
static void hash(const uint8_t *data, size_t size, uint8_t digest[32])
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < size; i++)
		h = (h ^ data[i]) * UINT64_C(0x100000001b3);
	for (unsigned i = 0; i < 32; i++)
		digest[i] = (uint8_t)(h >> i % 8 * 8) ^ (uint8_t)(i / 8);
}

static void set_report(struct guest *g)
{
	struct pfnbuf_tdi_report *report = NULL;
	uint8_t bytes[1024];
	size_t length;

	assert_int_equal(pfnbuf_tdi_report_new(NULL, &report), 0);
	for (unsigned i = 0; i < NR_WINDOWS; i++)
		add_bar(g, report, i);
	assert_int_equal(pfnbuf_tdi_report_encode(report, bytes, sizeof(bytes), &length), 0);
	pfnbuf_tdi_report_free(report);
	assert_int_equal(pfnbuf_sim_tdi_set_report(g->sim, TDI, bytes, length), 0);
	hash(bytes, length, g->digest);
}

/* ---------------------------------------------------------------- the caller's functions ---- */

static int report_op(void *data, struct pfnbuf_device *device, void *buf, size_t size, size_t *len,
		     struct pfnbuf_tdi_evidence *e)
{
	struct guest *g = data;
	int r;

	WANT(device == g->device);
	g->reports++;
	if (g->endless) {
		*len = PFNBUF_BIND_REPORT_MAX + 1;
		return 0;
	}
	if (g->large && size < UINT64_C(0x20000)) {
		*len = 0x20000;
		return 0;
	}
	r = pfnbuf_sim_tdi_get_report(g->sim, TDI, buf, size, len, &e->state, &e->generation);
	if (r < 0)
		return r;
	hash(buf, *len, e->digest);
	e->digest_len = sizeof(g->digest);
	if (g->other_digest)
		e->digest[0] ^= 1;
	if (g->other_lock && g->reports >= g->other_lock)
		e->generation++;
	if (g->other_state && g->reports >= g->other_state)
		e->state = PFNBUF_TDI_CONFIG_LOCKED;
	return 0;
}

/* ---------------------------------------------------------------- its life ------------------ */

static void take_log(void *data, enum pfnbuf_log_level level, const char *message)
{
	struct guest *g = data;

	if (level > PFNBUF_LOG_WARNING)
		return;
	g->warnings++;
	snprintf(g->warning, sizeof(g->warning), "%s", message);
}

void guest_plug(struct guest *g, const char *profile)
{
	char path[512];

	*g = (struct guest){ .name = profile, .vcpu = -1 };
	g->ops = (struct pfnbuf_tsm_ops){ .size = sizeof(g->ops), .report = report_op };
	assert_int_equal(pfnbuf_sim_new(&g->sim), 0);
	assert_int_equal(pfnbuf_sim_set_profile(g->sim, profile), 0);
	for (size_t i = 0; i < sizeof(machine) / sizeof(*machine); i++)
		assert_int_equal(pfnbuf_sim_add_device(g->sim, &machine[i]), 0);
	set_report(g);
	for (unsigned i = 0; i < NR_WINDOWS; i++)
		for (unsigned page = 0; page < NR_PAGES; page++) {
			g->reported[i][page] = vis_of(reported[i][page]);
			/* The MSI-X pages are the VMM's. */
			g->shared[i][page] = i == 0 && page >= 14 ? PFNBUF_HOLE : PFNBUF_SHARED;
		}
	snprintf(path, sizeof(path), "%s/%s.profile", PROFILES, profile);
	SUCCEEDS(pfnbuf_profile_load(path, &g->profile, NULL));
	pfnbuf_sim_get_counts(g->sim, &g->at_start);
}

static int open_device(struct guest *g, const char *bdf, struct pfnbuf_device **devicep)
{
	int r = pfnbuf_device_open(g->ctx, bdf, devicep);

	if (r >= 0 && devicep == &g->device)
		r = pfnbuf_vm_add_device(g->vm, *devicep);
	if (r >= 0)
		r = pfnbuf_device_bind(*devicep, NULL);
	return r;
}

static int open_devices(struct guest *g)
{
	int r = open_device(g, TDI, &g->device);
	struct pfnbuf_tsm_info info;

	if (r >= 0)
		r = open_device(g, NEIGHBOR, &g->neighbor);
	if (r >= 0)
		r = open_device(g, ENGINE, &g->engine);
	if (r >= 0)
		r = pfnbuf_ioas_new(g->ctx, &g->ioas);
	if (r >= 0)
		r = pfnbuf_device_attach(g->engine, g->ioas);
	if (r >= 0)
		r = pfnbuf_device_set_bus_master(g->engine, true);
	if (r >= 0)
		r = pfnbuf_device_attach(g->device, g->ioas);
	if (r >= 0)
		r = pfnbuf_tsm_get_info(g->device, &info);
	if (r >= 0 && info.present)
		r = pfnbuf_tsm_connect(g->device, "tsm0");
	return r;
}

static int make_window(struct guest *g, unsigned i)
{
	const struct pfnbuf_place place = {
		.size = sizeof(place),
		.vm = g->vm,
		.gpa = GPA(i),
		.ioas = g->ioas,
		.iova = IOVA(i),
	};
	struct pfnbuf_layout *layout = NULL;
	int r = pfnbuf_window_new_bar(g->device, bars[i], NULL, &place, &g->windows[i]);

	if (r >= 0)
		r = pfnbuf_window_default_layout(g->windows[i], &layout);
	if (r >= 0)
		r = pfnbuf_window_set_layout(g->windows[i], layout);
	pfnbuf_layout_free(layout);
	return r;
}

int guest_build(struct guest *g)
{
	const struct pfnbuf_ctx_opts opts = {
		.size = sizeof(opts),
		.kernel = g->door ? g->door : pfnbuf_sim_kernel(g->sim),
		.log = take_log,
		.log_data = g,
	};
	const struct pfnbuf_kernel *k = opts.kernel;
	int r = pfnbuf_ctx_new(&g->ctx, &opts);

	if (r >= 0 && g->profile)
		r = pfnbuf_ctx_set_profile(g->ctx, g->profile);
	if (r >= 0)
		r = pfnbuf_vm_new(g->ctx, PFNBUF_VM_SW_PROTECTED, &g->vm);
	if (r >= 0)
		r = g->vcpu = k->ioctl(k->data, pfnbuf_vm_get_fd(g->vm), KVM_CREATE_VCPU, NULL);
	if (r >= 0)
		r = open_devices(g);
	for (unsigned i = 0; r >= 0 && i < NR_WINDOWS; i++)
		r = make_window(g, i);
	return r < 0 ? r : 0;
}

void guest_init(struct guest *g, const char *profile)
{
	guest_plug(g, profile);
	SUCCEEDS(guest_build(g));
	assert_int_equal(pfnbuf_sim_dump(g->sim, &g->dump), 0);
	guest_assert_view(g, AS_SHARED);
}

void guest_release(struct guest *g)
{
	const struct pfnbuf_kernel *k = pfnbuf_sim_kernel(g->sim);

	g->bind = pfnbuf_bind_free(g->bind);
	for (unsigned i = 0; i < NR_WINDOWS; i++)
		g->windows[i] = pfnbuf_window_free(g->windows[i]);
	g->device = pfnbuf_device_close(g->device);
	g->neighbor = pfnbuf_device_close(g->neighbor);
	g->engine = pfnbuf_device_close(g->engine);
	g->ioas = pfnbuf_ioas_free(g->ioas);
	if (g->vcpu >= 0)
		k->close(k->data, g->vcpu);
	g->vcpu = -1;
	g->vm = pfnbuf_vm_free(g->vm);
}

static void assert_nothing_left(struct guest *g)
{
	struct pfnbuf_sim_counts now;

	pfnbuf_sim_get_counts(g->sim, &now);
	if (memcmp(&now, &g->at_start, sizeof(now)) != 0)
		fail_msg("left: fds %llu, hwpts %llu, areas %llu, dma-bufs %llu, slots %llu, BAR "
			 "mappings %llu, tdis %llu",
			 (unsigned long long)(now.fds - g->at_start.fds),
			 (unsigned long long)now.hwpts, (unsigned long long)now.areas,
			 (unsigned long long)now.dma_bufs, (unsigned long long)now.slots,
			 (unsigned long long)now.bar_mappings, (unsigned long long)now.tdis);
}

void guest_fini(struct guest *g)
{
	guest_release(g);
	g->ctx = pfnbuf_ctx_free(g->ctx);
	assert_nothing_left(g);
	g->profile = pfnbuf_profile_unref(g->profile);
	free(g->dump);
	g->sim = pfnbuf_sim_free(g->sim);
}

int guest_bind_new(struct guest *g)
{
	struct pfnbuf_bind_opts opts = g->opts;
	int r;

	opts.size = sizeof(opts);
	opts.ops = &g->ops;
	opts.ops_data = g;
	opts.windows = g->windows;
	opts.nr_windows = NR_WINDOWS;
	opts.digest = g->digest;
	opts.digest_len = sizeof(g->digest);
	opts.virt_id = opts.virt_id ? opts.virt_id : 0x100;
	opts.vcpu_fd = g->vcpu;
	r = pfnbuf_bind_new(g->device, g->vm, &opts, &g->bind);
	if (r < 0)
		note_tried("pfnbuf_bind_new()", r);
	return r;
}

int guest_lock(struct guest *g)
{
	int r = guest_bind_new(g);

	if (r < 0)
		return r;
	r = pfnbuf_bind_lock(g->bind);
	if (r < 0)
		note_tried("pfnbuf_bind_lock()", r);
	return r;
}

int guest_lock_and_start(struct guest *g)
{
	int r = guest_lock(g);

	return r < 0 ? r : guest_start(g);
}

int guest_bind_all(struct guest *g)
{
	int r = guest_lock_and_start(g);

	return r < 0 ? r : pfnbuf_bind_run(g->bind);
}

void guest_requests(const struct guest *g, unsigned long *bind, unsigned long *unbind)
{
	if (!strcmp(g->name, "tdx-rfc2")) {
		*bind = VFIO_DEVICE_TSM_BIND;
		*unbind = VFIO_DEVICE_TSM_UNBIND;
	} else if (!strcmp(g->name, "iommufd-tsm5")) {
		*bind = *unbind = IOMMU_VDEVICE_TSM_OP;
	} else {
		*bind = IOMMU_VDEVICE_ALLOC;
		*unbind = IOMMU_DESTROY;
	}
}

/* As the guest does. */
int guest_start(struct guest *g)
{
	return pfnbuf_sim_tdi_start(g->sim, TDI);
}

/* ---------------------------------------------------------------- looking ------------------- */

static enum pfnbuf_vis wanted(const struct guest *g, enum view view, unsigned i, unsigned page)
{
	switch (view) {
	case AS_SHARED:
		return g->shared[i][page];
	case AS_REPORTED:
		return g->reported[i][page];
	case WITHOUT_PRIVATE:
		return g->reported[i][page] == PFNBUF_PRIVATE ? PFNBUF_HOLE : g->reported[i][page];
	default:
		return PFNBUF_HOLE;
	}
}

/* What reaches the page does so with the bytes that the device has there. */
static void check_page(struct guest *g, unsigned i, unsigned page, enum pfnbuf_vis vis)
{
	const uint64_t offset = page * PAGE + 0x123;
	const uint8_t there = (uint8_t)(0x11 + i * 0x40 + page);
	uint8_t by_guest = 0, as_private = 0, by_dma = 0;
	int g_r, p_r, d_r;
	size_t done;

	assert_int_equal(pfnbuf_sim_bar_poke(g->sim, TDI, bars[i], offset, &there, 1), 0);
	g_r = pfnbuf_sim_guest_read(g->sim, pfnbuf_vm_get_fd(g->vm), GPA(i) + offset, false,
				    &by_guest, 1);
	p_r = pfnbuf_sim_guest_read(g->sim, pfnbuf_vm_get_fd(g->vm), GPA(i) + offset, true,
				    &as_private, 1);
	d_r = pfnbuf_sim_dma_read(g->sim, ENGINE, IOVA(i) + offset, &by_dma, 1, &done);
	if ((g_r == 0) != (vis == PFNBUF_SHARED) || (p_r == 0) != (vis == PFNBUF_PRIVATE) ||
	    (d_r == 0) != (vis == PFNBUF_SHARED))
		fail_msg("BAR %u page %u is to be %s: the guest gets %s, as private memory %s, a "
			 "device %s",
			 bars[i], page, pfnbuf_vis_name(vis), pfnbuf_errno_name(g_r),
			 pfnbuf_errno_name(p_r), pfnbuf_errno_name(d_r));
	WANT(g_r || by_guest == there);
	WANT(p_r || as_private == there);
	WANT(d_r || by_dma == there);
}

void guest_assert_no_alias(struct guest *g)
{
	const char *what = "";

	if (pfnbuf_sim_alias(g->sim, &what))
		fail_msg("%s", what);
}

void guest_assert_view(struct guest *g, enum view view)
{
	for (unsigned i = 0; i < NR_WINDOWS; i++)
		for (unsigned page = 0; page < NR_PAGES; page++)
			check_page(g, i, page, wanted(g, view, i, page));
	guest_assert_no_alias(g);
}

void guest_assert_as_before(struct guest *g)
{
	char *now = NULL;

	assert_int_equal(pfnbuf_sim_dump(g->sim, &now), 0);
	assert_string_equal(now, g->dump);
	free(now);
	guest_assert_view(g, AS_SHARED);
}

struct pfnbuf_bind_info guest_info(struct guest *g)
{
	struct pfnbuf_bind_info info;

	pfnbuf_bind_get_info(g->bind, &info);
	return info;
}

unsigned guest_events(struct guest *g, enum pfnbuf_event_type type, enum pfnbuf_cause *cause)
{
	struct pfnbuf_event event;
	unsigned n = 0;

	SUCCEEDS(pfnbuf_ctx_dispatch(g->ctx));
	while (pfnbuf_ctx_pop_event(g->ctx, &event) > 0)
		if (event.type == type) {
			n++;
			if (cause)
				*cause = event.cause;
		}
	return n;
}

void guest_on_each(void (*init)(struct guest *g, const char *profile),
		   void (*check)(struct guest *g))
{
	for (size_t i = 0; i < NR_PROFILES; i++) {
		struct guest g;

		print_message("%s\n", guest_profiles[i]);
		init(&g, guest_profiles[i]);
		check(&g);
		guest_assert_no_alias(&g);
		guest_fini(&g);
	}
}
