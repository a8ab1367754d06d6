/* SPDX-License-Identifier: MIT */
/* Bind and unbind on each of the proposed interfaces, and what must never become private. */
#include <inttypes.h>
#include <time.h>

#include "bind.h"

#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/proposed.h"
#include "tests/fds.h"

#define ON_EACH(name) GUEST_TEST(name, guest_init)

/* Before there was a guest. */
static struct fds fds_before;

static int note_fds(void **state)
{
	(void)state;
	fds_before = fds_now();
	return 0;
}

/* ---------------------------------------------------------------- there and back ------------ */

static void there_and_back(struct guest *g)
{
	struct pfnbuf_bind_info info;

	SUCCEEDS(guest_bind_new(g));
	guest_assert_as_before(g);
	fds_all_cloexec(fds_before);
	for (unsigned n = 0; n < 2; n++) {
		SUCCEEDS(pfnbuf_bind_lock(g->bind));
		guest_assert_view(g, AS_NOTHING);
		info = guest_info(g);
		WANT(info.bound && !info.quarantined && info.state == PFNBUF_TDI_CONFIG_LOCKED);
		WANT(info.vdevice_id && info.viommu_id && !info.private_bytes);
		SUCCEEDS(guest_start(g));
		SUCCEEDS(pfnbuf_bind_run(g->bind));
		guest_assert_view(g, AS_REPORTED);
		WANT(fds_all_cloexec(fds_before) > 8);
		info = guest_info(g);
		WANT(info.bound && info.state == PFNBUF_TDI_RUN && info.generation);
		WANT(info.private_bytes == 18 * PAGE && info.shared_bytes == 8 * PAGE);
		WANT(pfnbuf_bind_get_layouts(g->bind) != NULL);
		SUCCEEDS(pfnbuf_bind_unlock(g->bind));
		guest_assert_as_before(g);
		info = guest_info(g);
		WANT(!info.bound && info.state == PFNBUF_TDI_CONFIG_UNLOCKED && !info.vdevice_id);
		WANT(!info.private_bytes && !pfnbuf_bind_get_layouts(g->bind));
	}
	WANT(!g->warnings);
}
ON_EACH(there_and_back)

static int iommufd_call(struct guest *g, unsigned long request, void *arg)
{
	const struct pfnbuf_kernel *k = pfnbuf_sim_kernel(g->sim);

	return k->ioctl(k->data, pfnbuf_ctx_get_iommufd(g->ctx), request, arg);
}

static void make_own_objects(struct guest *g, uint32_t *hwpt, uint32_t *viommu)
{
	static const uint32_t types[] = { 0, IOMMU_VIOMMU_TYPE_ARM_SMMUV3,
					  IOMMU_VIOMMU_TYPE_ARM_REALM_SMMUV3 };
	struct iommu_hwpt_alloc parent = { .size = sizeof(parent),
					   .flags = IOMMU_HWPT_ALLOC_NEST_PARENT };
	struct iommu_viommu_alloc alloc = { .size = sizeof(alloc) };
	struct pfnbuf_device_info info;

	for (size_t i = 0; i < NR_PROFILES; i++)
		if (!strcmp(g->name, guest_profiles[i]))
			alloc.type = types[i];
	pfnbuf_device_get_info(g->device, &info);
	parent.dev_id = alloc.dev_id = info.devid;
	parent.pt_id = info.ioas_id;
	assert_int_equal(iommufd_call(g, IOMMU_HWPT_ALLOC, &parent), 0);
	alloc.hwpt_id = *hwpt = parent.out_hwpt_id;
	assert_int_equal(iommufd_call(g, IOMMU_VIOMMU_ALLOC, &alloc), 0);
	*viommu = alloc.out_viommu_id;
}

static uint32_t make_own_vdevice(struct guest *g, uint32_t viommu)
{
	struct iommu_vdevice_alloc alloc = { .size = sizeof(alloc),
					     .viommu_id = viommu,
					     .virt_id = 0x77 };
	struct pfnbuf_device_info info;

	pfnbuf_device_get_info(g->device, &info);
	alloc.dev_id = info.devid;
	assert_int_equal(iommufd_call(g, IOMMU_VDEVICE_ALLOC, &alloc), 0);
	return alloc.out_vdevice_id;
}

static void destroy_own(struct guest *g, uint32_t id)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = id };

	assert_int_equal(iommufd_call(g, IOMMU_DESTROY, &destroy), 0);
}

/* Bind with them, and back; only what the library made is gone then. */
static void bind_with(struct guest *g)
{
	struct pfnbuf_bind_info info;

	SUCCEEDS(guest_bind_all(g));
	guest_assert_view(g, AS_REPORTED);
	info = guest_info(g);
	WANT(info.vdevice_id && (!g->opts.vdevice_id || info.vdevice_id == g->opts.vdevice_id));
	WANT(!g->opts.viommu_id || info.viommu_id == g->opts.viommu_id);
	g->bind = pfnbuf_bind_free(g->bind);
	guest_assert_view(g, AS_SHARED);
}

/* The VMM's own objects are used, and stay. */
static void with_own_objects(struct guest *g)
{
	const bool binds = !strcmp(g->name, "cca7");
	uint32_t hwpt = 0, viommu = 0, vdevice;

	bind_with(g);
	guest_assert_as_before(g);
	make_own_objects(g, &hwpt, &viommu);
	g->opts.viommu_id = viommu;
	bind_with(g);
	g->opts.viommu_id = 0;
	if (!binds) {
		vdevice = make_own_vdevice(g, viommu);
		g->opts.vdevice_id = vdevice;
		bind_with(g);
		bind_with(g);
		/* Another one for the same device there cannot be. */
		g->opts.viommu_id = viommu;
		g->opts.vdevice_id = 0;
		REFUSED(guest_lock(g), EEXIST);
		g->bind = pfnbuf_bind_free(g->bind);
		destroy_own(g, vdevice);
	}
	destroy_own(g, viommu);
	destroy_own(g, hwpt);
	guest_assert_as_before(g);

	/* Such that are not there. */
	g->opts.viommu_id = 4711;
	REFUSED(guest_lock(g), ENOENT);
	guest_assert_as_before(g);
	g->bind = pfnbuf_bind_free(g->bind);
	g->opts.viommu_id = 0;
	g->opts.vdevice_id = 4711;
	REFUSED(guest_lock(g), binds ? EINVAL : ENOENT);
	guest_assert_as_before(g);
	g->bind = pfnbuf_bind_free(g->bind);
}
ON_EACH(with_own_objects)

static int start_op(void *data, struct pfnbuf_device *device)
{
	struct guest *g = data;

	WANT(device == g->device);
	return guest_start(g);
}

/* Started by the VMM, with a report that is longer than the first offer. */
static void started_by_the_caller(struct guest *g)
{
	g->ops.start = start_op;
	g->opts.compile = (struct pfnbuf_tdi_compile_opts){
		.size = sizeof(g->opts.compile),
		.unit = PFNBUF_TDI_UNIT_PAGES,
		.base = PFNBUF_TDI_BASE_ABSOLUTE,
	};
	SUCCEEDS(guest_lock(g));
	SUCCEEDS(pfnbuf_bind_run(g->bind));
	guest_assert_view(g, AS_REPORTED);
	/* Freeing it unlocks. */
	g->bind = pfnbuf_bind_free(g->bind);
	guest_assert_as_before(g);
}
ON_EACH(started_by_the_caller)

/* A window that the user had suspended is so again. */
static void suspended_window(struct guest *g)
{
	struct pfnbuf_window_info info;

	SUCCEEDS(pfnbuf_window_suspend(g->windows[1]));
	SUCCEEDS(guest_bind_all(g));
	guest_assert_view(g, AS_REPORTED);
	SUCCEEDS(pfnbuf_bind_unlock(g->bind));
	pfnbuf_window_get_info(g->windows[1], &info);
	WANT(info.user_suspended && info.state == PFNBUF_WINDOW_SUSPENDED && !info.areas);
	SUCCEEDS(pfnbuf_window_resume(g->windows[1]));
	guest_assert_as_before(g);
}
ON_EACH(suspended_window)

/* ---------------------------------------------------------------- order --------------------- */

static void order(struct guest *g)
{
	struct pfnbuf_layout *layout = NULL;
	struct pfnbuf_plan *plan = NULL;

	SUCCEEDS(guest_bind_new(g));
	REFUSED(pfnbuf_bind_run(g->bind), EINVAL);
	REFUSED(pfnbuf_bind_unlock(g->bind), EALREADY);
	SUCCEEDS(pfnbuf_window_get_layout(g->windows[0], &layout));
	SUCCEEDS(pfnbuf_window_plan(g->windows[0], layout, &plan));
	SUCCEEDS(pfnbuf_bind_lock(g->bind));
	REFUSED(pfnbuf_bind_lock(g->bind), EALREADY);
	/* The windows are the bind's. */
	REFUSED(pfnbuf_window_apply(g->windows[0], plan), EBUSY);
	REFUSED(pfnbuf_window_set_layout(g->windows[0], layout), EBUSY);
	REFUSED(pfnbuf_window_set_range(g->windows[0], 0, PAGE, PFNBUF_HOLE), EBUSY);
	REFUSED(pfnbuf_window_move(g->windows[0], 0x1000, IOVA(0)), EBUSY);
	REFUSED(pfnbuf_window_suspend(g->windows[0]), EBUSY);
	REFUSED(pfnbuf_window_resume(g->windows[0]), EBUSY);
	SUCCEEDS(guest_start(g));
	SUCCEEDS(pfnbuf_bind_run(g->bind));
	REFUSED(pfnbuf_bind_run(g->bind), EALREADY);
	REFUSED(pfnbuf_bind_lock(g->bind), EALREADY);
	REFUSED(pfnbuf_window_set_layout(g->windows[0], layout), EBUSY);
	WANT(pfnbuf_window_verify(g->windows[0], NULL) == 1);
	SUCCEEDS(pfnbuf_bind_unlock(g->bind));
	WANT(pfnbuf_window_verify(g->windows[0], NULL) == 1);
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(layout);
	guest_assert_as_before(g);
}
ON_EACH(order)

static void one_bind_a_device(struct guest *g)
{
	struct pfnbuf_bind *first;

	SUCCEEDS(guest_bind_new(g));
	first = g->bind;
	REFUSED(guest_bind_new(g), EBUSY);
	g->bind = pfnbuf_bind_free(first);
	SUCCEEDS(guest_bind_new(g));
	g->device = pfnbuf_device_close(g->device);
	REFUSED(pfnbuf_bind_lock(g->bind), ENODEV);
}
ON_EACH(one_bind_a_device)

/* A slot of the caller's on a dma-buf: the page would be in two places of the guest. */
static void stranger_in_a_slot(struct guest *g, struct pfnbuf_buf *buf)
{
	const struct pfnbuf_slot slot = {
		.gpa = 0x80000000, .length = PAGE, .addr = (void *)(16 * PAGE), .guest_memfd = buf
	};
	uint32_t id;

	if (!strcmp(g->name, "cca7"))
		return;
	SUCCEEDS(pfnbuf_vm_set_slot(g->vm, &slot, &id));
	REFUSED(pfnbuf_bind_lock(g->bind), EBUSY);
	WANT(pfnbuf_last_error_record()->range.offset == slot.gpa &&
	     pfnbuf_last_error_record()->range.length == PAGE);
	SUCCEEDS(pfnbuf_vm_delete_slot(g->vm, id));
	guest_assert_view(g, AS_SHARED);
}

/* A window that the bind was not given. */
static void stranger_in_a_window(struct guest *g)
{
	const struct pfnbuf_place place = { .size = sizeof(place),
					    .ioas = g->ioas,
					    .iova = 0x70000000 };
	struct pfnbuf_window *other = NULL;

	SUCCEEDS(pfnbuf_window_new_bar(g->device, 2, NULL, &place, &other));
	SUCCEEDS(pfnbuf_window_set_range(other, PAGE, PAGE, PFNBUF_SHARED));
	REFUSED(pfnbuf_bind_lock(g->bind), EBUSY);
	WANT(strstr(pfnbuf_last_error(), "in no window of the bind"));
	WANT(pfnbuf_last_error_record()->range.offset == place.iova + PAGE);
	pfnbuf_window_free(other);
}

/* Somebody else's mapping of a BAR would stay shared under what becomes private. */
static void strangers(struct guest *g)
{
	const struct pfnbuf_range slice = { 0, PAGE };
	struct pfnbuf_buf *buf = NULL;
	uint64_t iova = 0;
	void *addr;

	SUCCEEDS(guest_bind_new(g));
	SUCCEEDS(pfnbuf_device_bar_map(g->device, 2, 0, PAGE, &addr));
	REFUSED(pfnbuf_bind_lock(g->bind), EBUSY);
	SUCCEEDS(pfnbuf_device_bar_unmap(g->device, addr));
	guest_assert_as_before(g);

	SUCCEEDS(pfnbuf_device_export(g->device, 2, &slice, 1, &buf));
	SUCCEEDS(pfnbuf_ioas_map_buf(g->ioas, buf, 0, PAGE, PFNBUF_MAP_READ, &iova));
	REFUSED(pfnbuf_bind_lock(g->bind), EBUSY);
	SUCCEEDS(pfnbuf_ioas_unmap(g->ioas, iova, PAGE, NULL));
	stranger_in_a_slot(g, buf);
	pfnbuf_buf_unref(buf);
	stranger_in_a_window(g);
	guest_assert_as_before(g);

	SUCCEEDS(pfnbuf_device_revoke_begin(g->device, PFNBUF_CAUSE_FOREIGN));
	REFUSED(pfnbuf_bind_lock(g->bind), EBUSY);
	SUCCEEDS(pfnbuf_device_revoke_end(g->device));
	SUCCEEDS(pfnbuf_device_restore(g->device));
	SUCCEEDS(pfnbuf_device_set_memory_decode(g->device, false));
	REFUSED(pfnbuf_bind_lock(g->bind), ENODEV);
	SUCCEEDS(pfnbuf_device_set_memory_decode(g->device, true));
	SUCCEEDS(pfnbuf_device_restore(g->device));
	SUCCEEDS(pfnbuf_bind_lock(g->bind));
}
ON_EACH(strangers)

/* What drivers/pci/tsm.c says of sessions. */
static void sessions(struct guest *g)
{
	struct pfnbuf_tsm_info info;

	SUCCEEDS(pfnbuf_tsm_get_info(g->device, &info));
	WANT(info.present && !strcmp(info.connected, "tsm0") && !*info.bound);
	WANT(!strcmp(info.authenticated, "tsm0") && !strcmp(info.dsm, TDI));
	REFUSED(pfnbuf_tsm_connect(g->device, "tsm0"), EBUSY);
	REFUSED(pfnbuf_tsm_disconnect(g->device, "tsm1"), EINVAL);
	SUCCEEDS(pfnbuf_tsm_disconnect(g->device, "tsm0"));
	REFUSED(pfnbuf_tsm_disconnect(g->device, "tsm0"), ENXIO);
	REFUSED(pfnbuf_tsm_disconnect(g->device, NULL), ENXIO);
	REFUSED(pfnbuf_tsm_connect(g->device, "tsm1"), ENXIO);
	REFUSED(pfnbuf_tsm_connect(g->device, "sev0"), EINVAL);
	SUCCEEDS(pfnbuf_tsm_get_info(g->device, &info));
	WANT(info.present && !*info.connected && !*info.authenticated);
	SUCCEEDS(pfnbuf_tsm_connect(g->device, "tsm0"));
	/* No TDISP, no TSM. */
	SUCCEEDS(pfnbuf_tsm_get_info(g->engine, &info));
	WANT(!info.present && !*info.connected);
	REFUSED(pfnbuf_tsm_connect(g->engine, "tsm0"), EOPNOTSUPP);
	REFUSED(pfnbuf_tsm_disconnect(g->engine, NULL), EOPNOTSUPP);

	SUCCEEDS(guest_lock(g));
	SUCCEEDS(pfnbuf_tsm_get_info(g->device, &info));
	WANT(!strcmp(info.bound, "tsm0"));
	SUCCEEDS(pfnbuf_bind_unlock(g->bind));
	SUCCEEDS(pfnbuf_tsm_get_info(g->device, &info));
	WANT(!*info.bound);
}
ON_EACH(sessions)

/* No TSM has a session with the device. */
static void not_connected(struct guest *g)
{
	SUCCEEDS(pfnbuf_tsm_disconnect(g->device, NULL));
	REFUSED(guest_lock(g), EINVAL);
	SUCCEEDS(pfnbuf_tsm_connect(g->device, "tsm0"));
	guest_assert_as_before(g);
}
ON_EACH(not_connected)

/* ---------------------------------------------------------------- what it is asked for ------ */

static void refuses_opts(struct guest *g, int code, const struct pfnbuf_bind_opts *opts)
{
	struct pfnbuf_bind *bind = (void *)1;

	REFUSED(pfnbuf_bind_new(g->device, g->vm, opts, &bind), code);
	WANT(bind == (void *)1);
}

/* The slot by which the guest sees a page of a window: what it stands on is mapped. */
static struct pfnbuf_slot find_slot(struct guest *g, uint64_t gpa)
{
	struct pfnbuf_slot slot = { .length = 0 };

	for (uint32_t id = 0; pfnbuf_vm_next_slot(g->vm, id, &id, &slot) > 0; id++)
		if (gpa - slot.gpa < slot.length)
			return slot;
	fail_msg("no slot shows 0x%llx", (unsigned long long)gpa);
	return slot;
}

static bool has_private_slots(const struct guest *g)
{
	return strcmp(g->name, "cca7") != 0;
}

/* Whatever would map a page of the device is refused without asking the kernel. */
static void refuses_to_map(struct guest *g, struct pfnbuf_buf *buf, struct pfnbuf_window *other)
{
	const struct pfnbuf_place place = { .size = sizeof(place),
					    .ioas = g->ioas,
					    .iova = 0x70000000 };
	const struct pfnbuf_slot slot = { .gpa = 0x80000000,
					  .length = BAR_SIZE,
					  .addr = (void *)(16 * PAGE),
					  .guest_memfd = buf };
	const uint64_t calls = pfnbuf_sim_calls(g->sim);
	struct pfnbuf_window *late = (void *)1;
	void *addr = (void *)1;
	uint64_t iova = 1;
	uint32_t id = 1;

	REFUSED(pfnbuf_ioas_map_buf(g->ioas, buf, 0, BAR_SIZE, PFNBUF_MAP_READ, &iova), EBUSY);
	WANT(strstr(pfnbuf_last_error(), "only its bind maps its BARs"));
	REFUSED(pfnbuf_window_set_range(other, 0, PAGE, PFNBUF_SHARED), EBUSY);
	REFUSED(pfnbuf_window_new_bar(g->device, 2, NULL, &place, &late), EBUSY);
	REFUSED(pfnbuf_device_bar_map(g->device, 2, 0, PAGE, &addr), EBUSY);
	WANT(strstr(pfnbuf_last_error(), "pfnbuf_bind_unlock()"));
	if (has_private_slots(g))
		REFUSED(pfnbuf_vm_set_slot(g->vm, &slot, &id), EBUSY);
	WANT(late == (void *)1 && addr == (void *)1 && iova == 1 && id == 1);
	WANT(pfnbuf_sim_calls(g->sim) == calls);
}

/* Nor is what the bind itself maps shown anywhere else. */
static void refuses_to_show(struct guest *g)
{
	struct pfnbuf_slot slot = find_slot(g, GPA(1));
	uint64_t iova = 1;
	uint32_t id = 1;

	WANT(slot.addr && slot.length == 2 * PAGE);
	slot.gpa = 0x80000000;
	REFUSED(pfnbuf_vm_set_slot(g->vm, &slot, &id), EBUSY);
	WANT(strstr(pfnbuf_last_error(), "only its bind maps its BARs"));
	REFUSED(pfnbuf_ioas_copy(g->ioas, g->ioas, IOVA(1), PAGE, PFNBUF_MAP_READ, &iova), EBUSY);
	WANT(id == 1 && iova == 1);
	/* Which is not to say that it cannot be asked for. */
	WANT(pfnbuf_window_verify(g->windows[1], NULL) == 1);
}

/* Nobody maps a page that may be private, however old the buffer or the window. */
static void mapped_by_others(struct guest *g)
{
	const struct pfnbuf_range all = { 0, BAR_SIZE };
	struct pfnbuf_place place = { .size = sizeof(place), .ioas = g->ioas, .iova = 0x70000000 };
	struct pfnbuf_window *other = NULL;
	struct pfnbuf_buf *buf = NULL;
	uint64_t iova;
	void *addr;

	SUCCEEDS(pfnbuf_device_export(g->device, 2, &all, 1, &buf));
	SUCCEEDS(pfnbuf_window_new_bar(g->device, 2, NULL, &place, &other));
	SUCCEEDS(guest_lock(g));
	refuses_to_map(g, buf, other);
	SUCCEEDS(guest_start(g));
	SUCCEEDS(pfnbuf_bind_run(g->bind));
	refuses_to_map(g, buf, other);
	refuses_to_show(g);
	guest_assert_view(g, AS_REPORTED);
	SUCCEEDS(pfnbuf_bind_unlock(g->bind));
	SUCCEEDS(pfnbuf_ioas_map_buf(g->ioas, buf, 0, BAR_SIZE, PFNBUF_MAP_READ, &iova));
	SUCCEEDS(pfnbuf_ioas_unmap(g->ioas, iova, BAR_SIZE, NULL));
	SUCCEEDS(pfnbuf_window_set_range(other, 0, PAGE, PFNBUF_SHARED));
	SUCCEEDS(pfnbuf_device_bar_map(g->device, 2, 0, PAGE, &addr));
	SUCCEEDS(pfnbuf_device_bar_unmap(g->device, addr));
	pfnbuf_window_free(other);
	pfnbuf_buf_unref(buf);
	guest_assert_as_before(g);
}
ON_EACH(mapped_by_others)

static void refuses_compile(struct guest *g, const struct pfnbuf_bind_opts *opts, const char *why)
{
	refuses_opts(g, EINVAL, opts);
	if (!strstr(pfnbuf_last_error(), why))
		fail_msg("\"%s\" is not in: %s", why, pfnbuf_last_error());
}

/* How the report is read is judged before anything is taken away from the guest. */
static void compile_options(struct guest *g)
{
	const struct pfnbuf_tdi_compile_opts good = { .size = sizeof(good) };
	const struct pfnbuf_bind_opts some = {
		.size = sizeof(some),
		.ops = &g->ops,
		.ops_data = g,
		.windows = g->windows,
		.nr_windows = NR_WINDOWS,
		.digest = g->digest,
		.digest_len = sizeof(g->digest),
		.compile = good,
	};
	struct pfnbuf_bind_opts opts = some;

	opts.compile.unit = 77;
	refuses_compile(g, &opts, "unknown unit 77");
	opts.compile = good;
	opts.compile.base = 3;
	refuses_compile(g, &opts, "unknown base mode 3");
	opts.compile = good;
	opts.compile.holes = 77;
	refuses_compile(g, &opts, "unknown hole policy 77");
	opts.compile = good;
	opts.compile.mixed = 77;
	refuses_compile(g, &opts, "unknown mixed-page policy 77");
	opts.compile = good;
	opts.compile.msix = 77;
	refuses_compile(g, &opts, "unknown MSI-X policy 77");
	opts.compile = good;
	opts.compile.page_size = 2 * PAGE;
	refuses_compile(g, &opts, "page size");
	opts.compile = good;
	opts.compile.bars[5] = (struct pfnbuf_tdi_bar){ .size = PAGE, .flags = PFNBUF_BAR_64 };
	refuses_compile(g, &opts, "no upper half");
	/* A BAR that has a window is not there, is less, or is none of memory. */
	opts.compile = good;
	opts.compile.bars[5].size = PAGE;
	refuses_compile(g, &opts, "lacks BAR");
	for (unsigned bar = 0; bar < 6; bar += 2)
		opts.compile.bars[bar] = (struct pfnbuf_tdi_bar){ .size = BAR_SIZE - PAGE };
	refuses_compile(g, &opts, "lacks BAR");
	for (unsigned bar = 0; bar < 6; bar += 2)
		opts.compile.bars[bar] =
			(struct pfnbuf_tdi_bar){ .size = BAR_SIZE, .flags = PFNBUF_BAR_IO };
	refuses_compile(g, &opts, "lacks BAR");
}
ON_EACH(compile_options)

static int touch(struct guest *g, unsigned bar, uint64_t offset, size_t length)
{
	uint8_t bytes[2 * PAGE];
	const int r = pfnbuf_device_bar_read(g->device, bar, offset, bytes, length);

	memset(bytes, 0, sizeof(bytes));
	WANT((r < 0) == (pfnbuf_device_bar_write(g->device, bar, offset, bytes, length) < 0));
	return r;
}

/* What the VMM does for accesses of the guest's that exit must not be taken for an attack. */
static void touched_by_the_host(struct guest *g)
{
	enum pfnbuf_tdi_state state = PFNBUF_TDI_ERROR;

	SUCCEEDS(touch(g, 0, 0, 4));
	SUCCEEDS(guest_lock_and_start(g));
	/* Nobody knows yet. */
	REFUSED(touch(g, 0, 0, 4), EBUSY);
	REFUSED(touch(g, 0, 14 * PAGE, 4), EBUSY);
	SUCCEEDS(pfnbuf_bind_run(g->bind));
	REFUSED(touch(g, 0, 0, 4), EBUSY);
	WANT(strstr(pfnbuf_last_error(), "private memory"));
	REFUSED(touch(g, 0, 4 * PAGE - 2, 4), EBUSY);
	REFUSED(touch(g, 0, 9 * PAGE + 0xfff, 2), EBUSY);
	/* Shared, in a hole, and the MSI-X table. */
	SUCCEEDS(touch(g, 0, 4 * PAGE, 4));
	SUCCEEDS(touch(g, 0, 8 * PAGE, 2 * PAGE));
	SUCCEEDS(touch(g, 0, 14 * PAGE, 4));
	WANT(pfnbuf_sim_tdi_state(g->sim, TDI, &state, NULL) == 1 && state == PFNBUF_TDI_RUN);
	guest_assert_view(g, AS_REPORTED);
	SUCCEEDS(pfnbuf_bind_unlock(g->bind));
	SUCCEEDS(touch(g, 0, 0, 4));
	guest_assert_as_before(g);
}
ON_EACH(touched_by_the_host)

static void options(struct guest *g)
{
	const struct pfnbuf_bind_opts good = {
		.size = sizeof(good),
		.ops = &g->ops,
		.ops_data = g,
		.windows = g->windows,
		.nr_windows = NR_WINDOWS,
		.digest = g->digest,
		.digest_len = sizeof(g->digest),
	};
	struct pfnbuf_tsm_ops ops = g->ops;
	struct pfnbuf_window *twice[2] = { g->windows[0], g->windows[0] }, *theirs = NULL;
	struct pfnbuf_place place = { .size = sizeof(place), .ioas = g->ioas };
	struct pfnbuf_bind_opts opts = good;
	struct pfnbuf_bind *bind;

	opts.size--;
	refuses_opts(g, EINVAL, &opts);
	opts = good;
	opts.compile.size = sizeof(opts.compile) - 1;
	refuses_opts(g, EINVAL, &opts);
	opts = good;
	opts.ops = NULL;
	refuses_opts(g, EINVAL, &opts);
	opts = good;
	opts.ops = &ops;
	ops.size--;
	refuses_opts(g, EINVAL, &opts);
	ops = g->ops;
	ops.report = NULL;
	refuses_opts(g, EINVAL, &opts);
	ops = g->ops;
	ops.bind = (int (*)(void *, struct pfnbuf_device *, struct pfnbuf_vm *))abort;
	refuses_opts(g, EINVAL, &opts);
	opts = good;
	opts.nr_windows = 0;
	refuses_opts(g, EINVAL, &opts);
	opts = good;
	opts.windows = NULL;
	refuses_opts(g, EINVAL, &opts);
	opts = good;
	opts.windows = twice;
	refuses_opts(g, EINVAL, &opts);
	opts = good;
	opts.digest = NULL;
	refuses_opts(g, EINVAL, &opts);
	opts = good;
	opts.digest_len = 0;
	refuses_opts(g, EINVAL, &opts);
	opts.digest_len = PFNBUF_TDI_DIGEST_MAX + 1;
	refuses_opts(g, EINVAL, &opts);

	place.iova = 0x90000000;
	SUCCEEDS(pfnbuf_window_new_bar(g->engine, 0, NULL, &place, &theirs));
	opts = good;
	opts.windows = &theirs;
	opts.nr_windows = 1;
	refuses_opts(g, EINVAL, &opts);
	theirs = pfnbuf_window_free(theirs);
	REFUSED(pfnbuf_bind_new(g->device, NULL, &good, &bind), EINVAL);
	WANT(pfnbuf_bind_free(NULL) == NULL);
}
ON_EACH(options)

/* On Linux 7.3 there is no way, and with no profile none is tried. */
static void test_not_supported(void **state)
{
	static const char *const names[] = { "mainline-7.3", "gmem-inplace8" };
	struct guest g;
	uint64_t calls;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		guest_init(&g, names[i]);
		calls = pfnbuf_sim_calls(g.sim);
		REFUSED(guest_bind_new(&g), EOPNOTSUPP);
		WANT(strstr(pfnbuf_last_error_record()->cause, "not supported by this kernel"));
		WANT(strstr(pfnbuf_last_error_record()->hint, "TSM bind call"));
		/* The caller could bind, and nothing would be private. */
		g.ops.bind = (int (*)(void *, struct pfnbuf_device *, struct pfnbuf_vm *))abort;
		g.ops.unbind = g.ops.bind;
		REFUSED(guest_bind_new(&g), EOPNOTSUPP);
		WANT(strstr(pfnbuf_last_error_record()->cause, "private MMIO"));
		WANT(pfnbuf_sim_calls(g.sim) == calls);
		guest_fini(&g);
	}
}

static unsigned long bind_request(const struct guest *g)
{
	if (!strcmp(g->name, "tdx-rfc2"))
		return VFIO_DEVICE_TSM_BIND;
	return strcmp(g->name, "cca7") ? IOMMU_VDEVICE_TSM_OP : IOMMU_VDEVICE_ALLOC;
}

/* The profile is of a kernel that is not this one, or the IOMMU cannot do what it takes. */
static void kernel_of_another_profile(struct guest *g)
{
	SUCCEEDS(guest_bind_new(g));
	pfnbuf_sim_fail_ioctl(g->sim, IOMMU_HWPT_ALLOC, 1, EOPNOTSUPP);
	REFUSED(pfnbuf_bind_lock(g->bind), EOPNOTSUPP);
	WANT(strstr(pfnbuf_last_error(), "cannot be nested") &&
	     strstr(pfnbuf_last_error(), "profile"));
	guest_assert_as_before(g);
	pfnbuf_sim_fail_ioctl(g->sim, bind_request(g), 1, ENOTTY);
	REFUSED(pfnbuf_bind_lock(g->bind), ENOTTY);
	guest_assert_as_before(g);
	SUCCEEDS(pfnbuf_bind_lock(g->bind));
}
ON_EACH(kernel_of_another_profile)

/* ---------------------------------------------------------------- lies ---------------------- */

static int no_answer(void *data, struct pfnbuf_device *device, void *buf, size_t size, size_t *len,
		     struct pfnbuf_tdi_evidence *evidence)
{
	(void)data;
	(void)device;
	(void)buf;
	(void)size;
	(void)len;
	(void)evidence;
	return PFNBUF_TSM_UNKNOWN;
}

/* Reading a report changes nothing, so not to know is to have failed. */
static void report_without_answer(struct guest *g)
{
	g->ops.report = no_answer;
	SUCCEEDS(guest_lock_and_start(g));
	REFUSED(pfnbuf_bind_run(g->bind), EIO);
	guest_assert_as_before(g);
	WANT(!guest_info(g).bound && !guest_info(g).quarantined);
}
ON_EACH(report_without_answer)

/* Whatever the device says, what nobody attested never becomes private. */
static void refuses_run(struct guest *g, int code)
{
	REFUSED(pfnbuf_bind_run(g->bind), code);
	guest_assert_as_before(g);
	WANT(!guest_info(g).bound && !guest_info(g).quarantined);
	WANT(pfnbuf_sim_tdi_state(g->sim, TDI, NULL, NULL) == 0);
	g->bind = pfnbuf_bind_free(g->bind);
	g->reports = 0;
}

static void lies(struct guest *g)
{
	uint8_t attested[32];

	memcpy(attested, g->digest, sizeof(attested));

	/* Not what was attested. */
	SUCCEEDS(guest_lock_and_start(g));
	g->other_digest = true;
	refuses_run(g, EKEYREJECTED);
	g->other_digest = false;

	/* Not started. */
	SUCCEEDS(guest_lock(g));
	if (!strcmp(g->name, "cca7"))
		SUCCEEDS(pfnbuf_sim_tdi_lock(g->sim, TDI));
	refuses_run(g, EPERM);

	/* Locked again between the readings, or not in RUN any more. */
	SUCCEEDS(guest_lock_and_start(g));
	g->other_lock = 2;
	refuses_run(g, ESTALE);
	g->other_lock = 0;
	SUCCEEDS(guest_lock_and_start(g));
	g->other_state = 2;
	refuses_run(g, EPERM);
	g->other_state = 0;

	/* A range beyond its BAR: by its digest, and where that was attested, by what it says. */
	SUCCEEDS(pfnbuf_sim_tdi_inject(g->sim, TDI, PFNBUF_SIM_TDI_REPORT_LIES));
	SUCCEEDS(guest_lock_and_start(g));
	refuses_run(g, EKEYREJECTED);
	SUCCEEDS(pfnbuf_sim_tdi_inject(g->sim, TDI, PFNBUF_SIM_TDI_NO_FAULT));
}
ON_EACH(lies)

/* The digest of a report as the device gives it in its present trouble. */
static void attest(struct guest *g)
{
	struct pfnbuf_tdi_evidence e;
	static uint8_t bytes[4096];
	size_t length;

	SUCCEEDS(g->ops.report(g, g->device, bytes, sizeof(bytes), &length, &e));
	memcpy(g->digest, e.digest, sizeof(g->digest));
	g->reports = 0;
}

/* The owner attested a report that lies: the compiler sees it. */
static void attested_lie(struct guest *g)
{
	SUCCEEDS(pfnbuf_sim_tdi_inject(g->sim, TDI, PFNBUF_SIM_TDI_REPORT_LIES));
	SUCCEEDS(guest_lock_and_start(g));
	attest(g);
	g->bind = pfnbuf_bind_free(g->bind);
	SUCCEEDS(guest_lock_and_start(g));
	/* AUTO finds no unit in which it makes sense. */
	refuses_run(g, EBADMSG);
	g->opts.compile = (struct pfnbuf_tdi_compile_opts){
		.size = sizeof(g->opts.compile),
		.unit = PFNBUF_TDI_UNIT_PAGES,
	};
	SUCCEEDS(guest_lock_and_start(g));
	refuses_run(g, ERANGE);
}
ON_EACH(attested_lie)

/* Another report at each reading: the first is the attested one, the second is not. */
static void changing_report(struct guest *g)
{
	SUCCEEDS(pfnbuf_sim_tdi_inject(g->sim, TDI, PFNBUF_SIM_TDI_REPORT_CHANGES));
	SUCCEEDS(guest_lock_and_start(g));
	refuses_run(g, EKEYREJECTED);
	SUCCEEDS(guest_lock_and_start(g));
	attest(g);
	g->bind = pfnbuf_bind_free(g->bind);
	SUCCEEDS(guest_lock_and_start(g));
	refuses_run(g, EKEYREJECTED);
}
ON_EACH(changing_report)

/* A report that is not there yet is waited for. */
static void late_report(struct guest *g)
{
	SUCCEEDS(guest_lock_and_start(g));
	SUCCEEDS(pfnbuf_sim_tdi_inject(g->sim, TDI, PFNBUF_SIM_TDI_REPORT_LATE));
	REFUSED(pfnbuf_bind_run(g->bind), EAGAIN);
	guest_assert_view(g, AS_NOTHING);
	WANT(guest_info(g).bound && guest_info(g).state == PFNBUF_TDI_CONFIG_LOCKED);
	SUCCEEDS(pfnbuf_bind_run(g->bind));
	guest_assert_view(g, AS_REPORTED);
}
ON_EACH(late_report)

/* ---------------------------------------------------------------- trouble ------------------- */

static void bind_fails(struct guest *g)
{
	struct pfnbuf_window_info window;

	SUCCEEDS(pfnbuf_sim_tdi_inject(g->sim, TDI, PFNBUF_SIM_TDI_BIND_FAILS_BEFORE));
	REFUSED(guest_lock(g), EBUSY);
	guest_assert_as_before(g);
	WANT(!guest_info(g).bound && !guest_info(g).quarantined);
	SUCCEEDS(pfnbuf_bind_lock(g->bind));
	SUCCEEDS(pfnbuf_bind_unlock(g->bind));

	/* It may be bound, and is: nothing is tried again, nothing is placed. */
	SUCCEEDS(pfnbuf_sim_tdi_inject(g->sim, TDI, PFNBUF_SIM_TDI_BIND_FAILS_AFTER_COMMIT));
	guest_events(g, PFNBUF_EVENT_QUARANTINED, NULL);
	REFUSED(pfnbuf_bind_lock(g->bind), ENOTRECOVERABLE);
	WANT(guest_info(g).quarantined && *guest_info(g).reason);
	WANT(guest_events(g, PFNBUF_EVENT_QUARANTINED, NULL) == 1);
	guest_assert_view(g, AS_NOTHING);
	WANT(pfnbuf_sim_tdi_state(g->sim, TDI, NULL, NULL) == 1);
	REFUSED(pfnbuf_bind_lock(g->bind), ENOTRECOVERABLE);
	REFUSED(pfnbuf_bind_run(g->bind), ENOTRECOVERABLE);
	REFUSED(pfnbuf_bind_unlock(g->bind), ENOTRECOVERABLE);
	REFUSED(pfnbuf_device_reset(g->device), EBUSY);
	pfnbuf_window_get_info(g->windows[0], &window);
	WANT(window.state == PFNBUF_WINDOW_QUARANTINED && strstr(window.reason, "bind"));
	REFUSED(pfnbuf_window_resume(g->windows[0]), ENOTRECOVERABLE);
}
ON_EACH(bind_fails)

static void unbind_fails(struct guest *g)
{
	SUCCEEDS(guest_bind_all(g));
	SUCCEEDS(pfnbuf_sim_tdi_inject(g->sim, TDI, PFNBUF_SIM_TDI_UNBIND_FAILS));
	/* EIO: who knows. */
	REFUSED(pfnbuf_bind_unlock(g->bind), ENOTRECOVERABLE);
	WANT(guest_info(g).quarantined);
	REFUSED(pfnbuf_device_set_memory_decode(g->device, false), EBUSY);
}
ON_EACH(unbind_fails)

/* What the kernel refuses for certain leaves everything as it was. */
static void refused_for_certain(struct guest *g)
{
	unsigned long bind = 0, unbind = 0;

	guest_requests(g, &bind, &unbind);
	pfnbuf_sim_fail_ioctl(g->sim, bind, 1, ENXIO);
	REFUSED(guest_lock(g), ENXIO);
	guest_assert_as_before(g);
	pfnbuf_sim_fail_ioctl(g->sim, IOMMU_VDEVICE_ALLOC, 1, EEXIST);
	REFUSED(pfnbuf_bind_lock(g->bind), EEXIST);
	guest_assert_as_before(g);

	/* Locked, and running. */
	SUCCEEDS(pfnbuf_bind_lock(g->bind));
	pfnbuf_sim_fail_ioctl(g->sim, unbind, 1, EBUSY);
	REFUSED(pfnbuf_bind_unlock(g->bind), EBUSY);
	guest_assert_view(g, AS_NOTHING);
	WANT(guest_info(g).bound && !guest_info(g).quarantined);
	SUCCEEDS(guest_start(g));
	SUCCEEDS(pfnbuf_bind_run(g->bind));
	pfnbuf_sim_fail_ioctl(g->sim, unbind, 1, EBUSY);
	REFUSED(pfnbuf_bind_unlock(g->bind), EBUSY);
	guest_assert_view(g, AS_REPORTED);
	WANT(guest_info(g).bound && guest_info(g).state == PFNBUF_TDI_RUN);
	pfnbuf_sim_fail_ioctl(g->sim, unbind, 1, EBUSY);
	REFUSED(pfnbuf_device_reset(g->device), EBUSY);
	guest_assert_view(g, AS_REPORTED);
	SUCCEEDS(pfnbuf_bind_unlock(g->bind));
	guest_assert_as_before(g);

	/* Nothing is to be tried again that was undone. */
	SUCCEEDS(pfnbuf_bind_lock(g->bind));
	SUCCEEDS(guest_start(g));
	pfnbuf_sim_fail_ioctl(g->sim, KVM_SET_USER_MEMORY_REGION2, 1, EAGAIN);
	REFUSED(pfnbuf_bind_run(g->bind), EBUSY);
	guest_assert_as_before(g);
	SUCCEEDS(pfnbuf_bind_lock(g->bind));
	SUCCEEDS(guest_start(g));
	g->endless = true;
	REFUSED(pfnbuf_bind_run(g->bind), E2BIG);
	guest_assert_as_before(g);
}
ON_EACH(refused_for_certain)

/* Slots that a revocation withdrew are not the bind's to place. */
static void withdrawn_slots(struct guest *g)
{
	struct pfnbuf_place place = {
		.size = sizeof(place),
		.vm = g->vm,
		.gpa = GPA(0),
		.ioas = g->ioas,
		.iova = IOVA(0),
		.flags = PFNBUF_PLACE_WITHDRAW_SLOTS,
	};
	struct pfnbuf_layout *layout = NULL;

	SUCCEEDS(pfnbuf_window_get_layout(g->windows[0], &layout));
	g->windows[0] = pfnbuf_window_free(g->windows[0]);
	SUCCEEDS(pfnbuf_window_new_bar(g->device, 0, NULL, &place, &g->windows[0]));
	SUCCEEDS(pfnbuf_window_set_layout(g->windows[0], layout));
	pfnbuf_layout_free(layout);
	SUCCEEDS(pfnbuf_device_reset(g->device));
	REFUSED(guest_lock(g), EBUSY);
	SUCCEEDS(pfnbuf_device_restore(g->device));
	guest_assert_view(g, AS_SHARED);
	SUCCEEDS(pfnbuf_bind_lock(g->bind));
	SUCCEEDS(guest_start(g));
	SUCCEEDS(pfnbuf_bind_run(g->bind));
	guest_assert_view(g, AS_REPORTED);
	SUCCEEDS(pfnbuf_device_reset(g->device));
	SUCCEEDS(pfnbuf_device_restore(g->device));
	guest_assert_view(g, AS_SHARED);
}
ON_EACH(withdrawn_slots)

/* ---------------------------------------------------------------- revoking ------------------ */

typedef int revoke_fn(struct pfnbuf_device *device);

static int by_decode(struct pfnbuf_device *device)
{
	return pfnbuf_device_set_memory_decode(device, false);
}

static int by_low_power(struct pfnbuf_device *device)
{
	return pfnbuf_device_low_power_enter(device, -1);
}

static int by_bracket(struct pfnbuf_device *device)
{
	return pfnbuf_device_revoke_begin(device, PFNBUF_CAUSE_FOREIGN);
}

static int by_disconnect(struct pfnbuf_device *device)
{
	return pfnbuf_tsm_disconnect(device, NULL);
}

static int find_cap(struct pfnbuf_device *device, uint8_t id)
{
	uint8_t at = 0, cap[2] = { 0, 0 };

	SUCCEEDS(pfnbuf_device_config_read(device, 0x34, &at, 1));
	while (at >= 0x40) {
		SUCCEEDS(pfnbuf_device_config_read(device, at, cap, sizeof(cap)));
		if (cap[0] == id)
			return at;
		at = cap[1] & 0xfc;
	}
	fail_msg("no capability %d", id);
	return 0;
}

static int by_d3hot(struct pfnbuf_device *device)
{
	const uint8_t d3hot[2] = { 3, 0 };

	return pfnbuf_device_config_write(device, (uint64_t)find_cap(device, 1) + 4, d3hot, 2);
}

static int by_flr(struct pfnbuf_device *device)
{
	const uint8_t flr[2] = { 0, 0x80 };

	return pfnbuf_device_config_write(device, (uint64_t)find_cap(device, 0x10) + 8, flr, 2);
}

static int by_af_flr(struct pfnbuf_device *device)
{
	const uint8_t flr = 1;

	return pfnbuf_device_config_write(device, (uint64_t)find_cap(device, 0x13) + 4, &flr, 1);
}

static const struct {
	revoke_fn *call;
	enum pfnbuf_cause cause;
	bool revokes;
} revoking[] = {
	{ pfnbuf_device_reset, PFNBUF_CAUSE_RESET, true },
	{ pfnbuf_device_hot_reset, PFNBUF_CAUSE_HOT_RESET, true },
	{ by_flr, PFNBUF_CAUSE_FLR, true },
	{ by_af_flr, PFNBUF_CAUSE_FLR, true },
	{ by_d3hot, PFNBUF_CAUSE_POWER, true },
	{ by_decode, PFNBUF_CAUSE_DECODE_OFF, true },
	{ by_low_power, PFNBUF_CAUSE_POWER, true },
	{ by_bracket, PFNBUF_CAUSE_FOREIGN, true },
	{ by_disconnect, PFNBUF_CAUSE_DISCONNECT, false },
};

#define NR_REVOKING (sizeof(revoking) / sizeof(*revoking))

static void wake(struct guest *g)
{
	const uint8_t d0[2] = { 0, 0 };

	SUCCEEDS(
		pfnbuf_device_config_write(g->device, (uint64_t)find_cap(g->device, 1) + 4, d0, 2));
	pfnbuf_device_revoke_end(g->device);
	SUCCEEDS(pfnbuf_device_low_power_exit(g->device));
	SUCCEEDS(pfnbuf_device_set_memory_decode(g->device, true));
	SUCCEEDS(pfnbuf_device_restore(g->device));
	if (pfnbuf_device_get_generation(g->neighbor) > 1)
		SUCCEEDS(pfnbuf_device_restore(g->neighbor));
	pfnbuf_tsm_connect(g->device, "tsm0");
}

/* What revokes unbinds first, and it is all shared and alive again afterwards. */
static void unbound_first(struct guest *g)
{
	SUCCEEDS(guest_bind_new(g));
	/* What is not bound is not unbound. */
	SUCCEEDS(pfnbuf_device_reset(g->device));
	SUCCEEDS(pfnbuf_device_restore(g->device));
	WANT(guest_events(g, PFNBUF_EVENT_TDI_UNBOUND, NULL) == 0);
	for (size_t i = 0; i < 2 * NR_REVOKING; i++) {
		enum pfnbuf_cause cause = PFNBUF_CAUSE_NONE;
		uint64_t generation;

		print_message("%s\n", pfnbuf_cause_name(revoking[i / 2].cause));
		SUCCEEDS(pfnbuf_bind_lock(g->bind));
		SUCCEEDS(guest_start(g));
		/* Locked, and running. */
		if (i % 2)
			SUCCEEDS(pfnbuf_bind_run(g->bind));
		guest_assert_view(g, i % 2 ? AS_REPORTED : AS_NOTHING);
		guest_events(g, PFNBUF_EVENT_TDI_UNBOUND, NULL);
		generation = pfnbuf_device_get_generation(g->device);
		SUCCEEDS(revoking[i / 2].call(g->device));
		WANT(pfnbuf_device_get_generation(g->device) ==
		     generation + revoking[i / 2].revokes);
		guest_assert_no_alias(g);
		WANT(guest_events(g, PFNBUF_EVENT_TDI_UNBOUND, &cause) == 1);
		WANT(cause == revoking[i / 2].cause);
		WANT(!guest_info(g).bound);
		WANT(pfnbuf_sim_tdi_state(g->sim, TDI, NULL, NULL) == 0);
		wake(g);
		guest_assert_view(g, AS_SHARED);
	}
	/* The neighbor's hot reset reaches it. */
	SUCCEEDS(pfnbuf_bind_lock(g->bind));
	SUCCEEDS(pfnbuf_device_hot_reset(g->neighbor));
	WANT(!guest_info(g).bound);
	WANT(guest_events(g, PFNBUF_EVENT_TDI_UNBOUND, NULL) == 1);
	wake(g);
	guest_assert_view(g, AS_SHARED);
}
ON_EACH(unbound_first)

/* What does not revoke does not unbind. */
static void stays_bound(struct guest *g)
{
	uint8_t command[2];

	SUCCEEDS(guest_bind_all(g));
	SUCCEEDS(pfnbuf_device_set_memory_decode(g->device, true));
	SUCCEEDS(pfnbuf_device_config_read(g->device, 4, command, 2));
	SUCCEEDS(pfnbuf_device_config_write(g->device, 4, command, 2));
	guest_assert_view(g, AS_REPORTED);
}
ON_EACH(stays_bound)

static void error_while_bound(struct guest *g)
{
	/* Of no interest to a bind that is not locked. */
	SUCCEEDS(guest_bind_new(g));
	SUCCEEDS(pfnbuf_sim_raise_error(g->sim, TDI));
	WANT(guest_events(g, PFNBUF_EVENT_TDI_ERROR, NULL) == 0);
	guest_assert_as_before(g);

	SUCCEEDS(pfnbuf_bind_lock(g->bind));
	SUCCEEDS(guest_start(g));
	SUCCEEDS(pfnbuf_bind_run(g->bind));
	guest_assert_view(g, AS_REPORTED);
	SUCCEEDS(pfnbuf_sim_raise_error(g->sim, TDI));
	WANT(guest_events(g, PFNBUF_EVENT_TDI_ERROR, NULL) == 1);
	WANT(guest_info(g).state == PFNBUF_TDI_ERROR && !guest_info(g).private_bytes);
	/* Where what is bound must not lose its pages, or they go with it, it is not bound any more. */
	WANT(guest_info(g).bound == !strcmp(g->name, "iommufd-tsm5"));
	guest_assert_no_alias(g);
	guest_assert_view(g, WITHOUT_PRIVATE);
	REFUSED(pfnbuf_bind_run(g->bind), EPERM);
	SUCCEEDS(pfnbuf_bind_unlock(g->bind));
	guest_assert_as_before(g);

	/* Its interface really is in ERROR. */
	SUCCEEDS(pfnbuf_bind_lock(g->bind));
	SUCCEEDS(guest_start(g));
	SUCCEEDS(pfnbuf_bind_run(g->bind));
	SUCCEEDS(pfnbuf_sim_tdi_inject(g->sim, TDI, PFNBUF_SIM_TDI_ERROR_STATE));
	WANT(guest_events(g, PFNBUF_EVENT_TDI_ERROR, NULL) == 1);
	guest_assert_view(g, WITHOUT_PRIVATE);
	/* A reset of a failed device unbinds, too. */
	SUCCEEDS(pfnbuf_device_reset(g->device));
	WANT(!guest_info(g).bound);
	SUCCEEDS(pfnbuf_device_restore(g->device));
	guest_assert_view(g, AS_SHARED);
}
ON_EACH(error_while_bound)

/* ---------------------------------------------------------------- teardown ------------------ */

/* The device goes while it is bound. */
static void closed_while_bound(struct guest *g)
{
	SUCCEEDS(guest_bind_all(g));
	g->device = pfnbuf_device_close(g->device);
	WANT(pfnbuf_sim_tdi_state(g->sim, TDI, NULL, NULL) == 0);
	WANT(!guest_info(g).bound && !guest_info(g).quarantined);
	REFUSED(pfnbuf_bind_lock(g->bind), ENODEV);
	REFUSED(pfnbuf_bind_unlock(g->bind), EALREADY);
	WANT(!g->warnings);
}
ON_EACH(closed_while_bound)

/* A window goes while its device is bound: the device is unbound first. */
static void window_freed_while_bound(struct guest *g)
{
	enum pfnbuf_cause cause = PFNBUF_CAUSE_NONE;

	SUCCEEDS(guest_bind_all(g));
	guest_events(g, PFNBUF_EVENT_TDI_UNBOUND, NULL);
	g->windows[0] = pfnbuf_window_free(g->windows[0]);
	WANT(!guest_info(g).bound);
	WANT(guest_events(g, PFNBUF_EVENT_TDI_UNBOUND, &cause) == 1);
	WANT(cause == PFNBUF_CAUSE_WINDOW);
	WANT(pfnbuf_sim_tdi_state(g->sim, TDI, NULL, NULL) == 0);
	/* The other one can be bound without it. */
	SUCCEEDS(pfnbuf_bind_lock(g->bind));
	SUCCEEDS(pfnbuf_bind_unlock(g->bind));
	WANT(!g->warnings);
}
ON_EACH(window_freed_while_bound)

/* ---------------------------------------------------------------- the caller's functions ---- */

static int bind_op(void *data, struct pfnbuf_device *device, struct pfnbuf_vm *vm)
{
	struct guest *g = data;

	WANT(device == g->device && vm == g->vm);
	return g->bind_code;
}

static int unbind_op(void *data, struct pfnbuf_device *device, struct pfnbuf_vm *vm)
{
	struct guest *g = data;

	WANT(device == g->device && vm == g->vm);
	return g->unbind_code;
}

static int validate_op(void *data, struct pfnbuf_device *device, unsigned bar, uint64_t offset,
		       uint64_t length, uint64_t gpa, bool on)
{
	struct guest *g = data;
	const unsigned i = bar ? 1 : 0;

	WANT(device == g->device && (bar == 0 || bar == 2));
	WANT(gpa == GPA(i) + offset && length && offset + length <= BAR_SIZE);
	for (uint64_t at = offset; at < offset + length; at += PAGE)
		WANT(g->reported[i][at / PAGE] == PFNBUF_PRIVATE);
	if (g->validate_at && ++g->nr_validate == g->validate_at)
		return g->validate_code;
	g->validated += on ? 1 : -1U;
	return 0;
}

static uint8_t own_bytes[1024];
static size_t own_length;

static int own_report_op(void *data, struct pfnbuf_device *device, void *buf, size_t size,
			 size_t *len, struct pfnbuf_tdi_evidence *e)
{
	struct guest *g = data;

	(void)device;
	g->reports++;
	if (g->large && size < 0x20000) {
		*len = 0x20000;
		return 0;
	}
	WANT(size >= own_length);
	memcpy(buf, own_bytes, own_length);
	*len = own_length;
	memcpy(e->digest, g->digest, sizeof(g->digest));
	e->digest_len = sizeof(g->digest);
	e->generation = 1;
	e->state = PFNBUF_TDI_RUN;
	return 0;
}

/* On Linux 7.3, where the caller does all of it. */
static void own_init(struct guest *g)
{
	struct pfnbuf_tdi_evidence e;

	guest_init(g, "tdx-rfc2");
	SUCCEEDS(guest_lock(g));
	SUCCEEDS(g->ops.report(g, g->device, own_bytes, sizeof(own_bytes), &own_length, &e));
	guest_fini(g);
	guest_init(g, "mainline-7.3");
	memcpy(g->digest, e.digest, sizeof(g->digest));
	g->ops.bind = bind_op;
	g->ops.unbind = unbind_op;
	g->ops.validate = validate_op;
	g->ops.report = own_report_op;
}

static void test_own_functions(void **state)
{
	struct guest g;

	(void)state;
	own_init(&g);
	SUCCEEDS(guest_lock(&g));
	guest_assert_view(&g, AS_NOTHING);
	g.large = true;
	SUCCEEDS(pfnbuf_bind_run(g.bind));
	/* Private pages are the caller's business: five runs. */
	guest_assert_view(&g, WITHOUT_PRIVATE);
	WANT(g.validated == 5 && g.reports == 4);
	SUCCEEDS(pfnbuf_bind_unlock(g.bind));
	WANT(g.validated == 0);
	guest_assert_as_before(&g);
	guest_fini(&g);
}

static void test_own_functions_refuse(void **state)
{
	struct guest g;

	(void)state;
	own_init(&g);
	g.bind_code = -EPROTO;
	REFUSED(guest_lock(&g), EPROTO);
	guest_assert_as_before(&g);
	g.bind_code = 0;

	/* Each call of validate, on the way there. */
	g.validate_code = -EPROTO;
	for (g.validate_at = 1; g.validate_at <= 5; g.validate_at++) {
		g.nr_validate = 0;
		SUCCEEDS(pfnbuf_bind_lock(g.bind));
		REFUSED(pfnbuf_bind_run(g.bind), EPROTO);
		WANT(g.validated == 0);
		guest_assert_as_before(&g);
	}
	/* And on the way back: it runs on. */
	for (g.validate_at = 1; g.validate_at <= 5; g.validate_at++) {
		g.nr_validate = 100;
		SUCCEEDS(pfnbuf_bind_lock(g.bind));
		SUCCEEDS(pfnbuf_bind_run(g.bind));
		g.nr_validate = 0;
		REFUSED(pfnbuf_bind_unlock(g.bind), EPROTO);
		WANT(g.validated == 5 && guest_info(&g).state == PFNBUF_TDI_RUN);
		guest_assert_view(&g, WITHOUT_PRIVATE);
		SUCCEEDS(pfnbuf_bind_unlock(g.bind));
		WANT(g.validated == 0);
	}
	/* Unbinding is refused: as before, and the reset with it. */
	g.validate_at = 0;
	g.unbind_code = -EPROTO;
	SUCCEEDS(pfnbuf_bind_lock(g.bind));
	REFUSED(pfnbuf_bind_unlock(g.bind), EPROTO);
	SUCCEEDS(pfnbuf_bind_run(g.bind));
	REFUSED(pfnbuf_bind_unlock(g.bind), EPROTO);
	WANT(g.validated == 5 && guest_info(&g).state == PFNBUF_TDI_RUN);
	guest_assert_view(&g, WITHOUT_PRIVATE);
	REFUSED(pfnbuf_device_reset(g.device), EBUSY);
	WANT(pfnbuf_device_get_generation(g.device) == 1);
	g.unbind_code = 0;
	SUCCEEDS(pfnbuf_bind_unlock(g.bind));
	guest_assert_as_before(&g);
	guest_fini(&g);
}

/* Nor does it take a profile. */
static void test_own_functions_alone(void **state)
{
	struct pfnbuf_bind_info info;
	struct guest g;

	(void)state;
	own_init(&g);
	guest_release(&g);
	g.ctx = pfnbuf_ctx_free(g.ctx);
	g.profile = pfnbuf_profile_unref(g.profile);
	SUCCEEDS(guest_build(&g));
	SUCCEEDS(guest_lock(&g));
	SUCCEEDS(pfnbuf_bind_run(g.bind));
	info = guest_info(&g);
	WANT(info.bound && !info.vdevice_id && info.private_bytes == 18 * PAGE);
	guest_assert_view(&g, WITHOUT_PRIVATE);
	g.bind = pfnbuf_bind_free(g.bind);
	WANT(g.validated == 0);
	g.ops.validate = NULL;
	REFUSED(guest_bind_new(&g), EOPNOTSUPP);
	guest_fini(&g);
}

/* What may have been done is never done again. */
static void test_own_functions_do_not_know(void **state)
{
	struct guest g;

	(void)state;
	own_init(&g);
	g.bind_code = PFNBUF_TSM_UNKNOWN;
	REFUSED(guest_lock(&g), ENOTRECOVERABLE);
	guest_assert_view(&g, AS_NOTHING);
	g.bind = pfnbuf_bind_free(g.bind);
	guest_fini(&g);

	own_init(&g);
	SUCCEEDS(guest_lock(&g));
	SUCCEEDS(pfnbuf_bind_run(g.bind));
	g.unbind_code = PFNBUF_TSM_UNKNOWN;
	REFUSED(pfnbuf_bind_unlock(g.bind), ENOTRECOVERABLE);
	guest_assert_view(&g, AS_NOTHING);
	guest_fini(&g);

	own_init(&g);
	g.validate_code = PFNBUF_TSM_UNKNOWN;
	g.validate_at = 3;
	SUCCEEDS(guest_lock(&g));
	REFUSED(pfnbuf_bind_run(g.bind), ENOTRECOVERABLE);
	WANT(guest_info(&g).quarantined && guest_info(&g).bound);
	guest_fini(&g);
}

/* ---------------------------------------------------------------- printing ------------------ */

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* What ran took its time, whoever ran it, and all together no more than has gone by. */
static void check_times(const char *text, uint64_t start)
{
	const uint64_t passed = now() - start;
	uint64_t spent = 0, ns;

	WANT(!strstr(text, ", 1 ns"));
	for (; (text = strstr(text, "; ")); text++)
		if (sscanf(text, "; %*[^,], %*[^,], %" SCNu64 " ns", &ns) == 1)
			spent += ns;
	WANT(spent <= passed);
}

static void check_print(struct guest *g, uint64_t start, const char *const *parts)
{
	const size_t length = pfnbuf_bind_print(g->bind, NULL, 0);
	const size_t json_length = pfnbuf_bind_print_json(g->bind, NULL, 0);
	char *text = malloc(length + 1), *json = malloc(json_length + 1);

	WANT(pfnbuf_bind_print(g->bind, text, length + 1) >= strlen(text) &&
	     strlen(text) <= length);
	WANT(pfnbuf_bind_print_json(g->bind, json, json_length + 1) == json_length);
	WANT(!strncmp(json, "{\"steps\": [", 11) && !strcmp(json + json_length - 2, "]}"));
	check_times(text, start);
	for (; *parts; parts++)
		if (!strstr(text, *parts))
			fail_msg("no \"%s\" in: %s", *parts, text);
	free(text);
	free(json);
}

static void prints(struct guest *g)
{
	static const char binds[] = "bind device " TDI ": ";
	static const char locked[] =
		"bind device " TDI ": the device is the guest's from now on; done, 0";
	const uint64_t start = now();
	uint64_t calls;

	SUCCEEDS(guest_bind_new(g));
	calls = pfnbuf_sim_calls(g->sim);
	check_print(g, start,
		    (const char *const[]){ "area-unmap", "slot-delete", "bar-unmap", "close", binds,
					   NULL });
	/* Nothing but looking. */
	WANT(pfnbuf_sim_calls(g->sim) == calls);
	SUCCEEDS(pfnbuf_bind_lock(g->bind));
	check_print(g, start,
		    (const char *const[]){ locked, "report device " TDI ": it names", NULL });
	SUCCEEDS(guest_start(g));
	SUCCEEDS(pfnbuf_bind_run(g->bind));
	check_print(g, start,
		    (const char *const[]){ "report", "export", "slot-set", "area-map", "; done, 0",
					   "unbind device", NULL });
	SUCCEEDS(pfnbuf_bind_unlock(g->bind));
	check_print(
		g, start,
		(const char *const[]){ "unbind device " TDI, "destroy vIOMMU", "area-map", NULL });
}
ON_EACH(prints)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_with_own_objects),
		cmocka_unit_test(test_started_by_the_caller),
		cmocka_unit_test(test_suspended_window),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_one_bind_a_device),
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_not_connected),
		cmocka_unit_test(test_mapped_by_others),
		cmocka_unit_test(test_touched_by_the_host),
		cmocka_unit_test(test_compile_options),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_not_supported),
		cmocka_unit_test(test_kernel_of_another_profile),
		cmocka_unit_test(test_report_without_answer),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_attested_lie),
		cmocka_unit_test(test_changing_report),
		cmocka_unit_test(test_late_report),
		cmocka_unit_test(test_bind_fails),
		cmocka_unit_test(test_unbind_fails),
		cmocka_unit_test(test_refused_for_certain),
		cmocka_unit_test(test_withdrawn_slots),
		cmocka_unit_test(test_unbound_first),
		cmocka_unit_test(test_stays_bound),
		cmocka_unit_test(test_error_while_bound),
		cmocka_unit_test(test_closed_while_bound),
		cmocka_unit_test(test_window_freed_while_bound),
		cmocka_unit_test(test_own_functions),
		cmocka_unit_test(test_own_functions_refuse),
		cmocka_unit_test(test_own_functions_alone),
		cmocka_unit_test(test_own_functions_do_not_know),
		cmocka_unit_test(test_prints),
	};

	return cmocka_run_group_tests_name("bind", tests, note_fds, NULL);
}
