/* SPDX-License-Identifier: MIT */
/*
 * Binds in random order, with calls of the kernel that fail at random: after each of them what the
 * bind says is what the simulated kernel has, page by page. PFNBUF_HISTORY_SEED takes another random order.
 */
#include "bind.h"

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/vfio.h"

#define NR_GUESTS 120
#define NR_STEPS  60

static const char *const profiles[] = { "tdx-rfc2", "iommufd-tsm5", "cca7" };

static const int errnos[] = { EIO, EINTR, EAGAIN, EBUSY, ENOMEM, EINVAL, ENODEV };

static const unsigned long requests[] = {
	KVM_SET_USER_MEMORY_REGION2, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP, IOMMU_DESTROY,
	VFIO_DEVICE_FEATURE,
};

static const enum pfnbuf_sim_tdi_fault faults[] = {
	PFNBUF_SIM_TDI_BIND_FAILS_BEFORE, PFNBUF_SIM_TDI_BIND_FAILS_AFTER_COMMIT,
	PFNBUF_SIM_TDI_UNBIND_FAILS,	  PFNBUF_SIM_TDI_REPORT_LIES,
	PFNBUF_SIM_TDI_REPORT_CHANGES,	  PFNBUF_SIM_TDI_REPORT_LATE,
};

#define ELEMENTS(array) (sizeof(array) / sizeof(*(array)))

static uint64_t seed, state_of_random;
static unsigned nr_done, nr_refused, nr_quarantined;

static uint64_t next_random(void)
{
	state_of_random ^= state_of_random << 13;
	state_of_random ^= state_of_random >> 7;
	state_of_random ^= state_of_random << 17;
	return state_of_random;
}

static unsigned below(unsigned n)
{
	return (unsigned)(next_random() >> 33) % n;
}

/* ---------------------------------------------------------------- steps --------------------- */

static void stop_failing(struct guest *g)
{
	SUCCEEDS(pfnbuf_sim_tdi_inject(g->sim, TDI, PFNBUF_SIM_TDI_NO_FAULT));
	pfnbuf_sim_fail_nth(g->sim, 0, 0);
	for (size_t i = 0; i < ELEMENTS(requests); i++)
		pfnbuf_sim_fail_ioctl(g->sim, requests[i], 0, 0);
}

/* What could not be unlocked then is left to be closed. */
static int make(struct guest *g)
{
	int r;

	if (below(3))
		return 0;
	g->bind = pfnbuf_bind_free(g->bind);
	stop_failing(g);
	r = guest_bind_new(g);
	WANT(r == 0 || (r == -EBUSY && strstr(pfnbuf_last_error(), "close the device")));
	return r;
}

static int lock(struct guest *g)
{
	return pfnbuf_bind_lock(g->bind);
}

static int run(struct guest *g)
{
	pfnbuf_sim_tdi_start(g->sim, TDI);
	return pfnbuf_bind_run(g->bind);
}

static int unlock(struct guest *g)
{
	return pfnbuf_bind_unlock(g->bind);
}

static int reset(struct guest *g)
{
	return pfnbuf_device_reset(g->device);
}

static int hot_reset(struct guest *g)
{
	return pfnbuf_device_hot_reset(g->neighbor);
}

static int blink(struct guest *g)
{
	return pfnbuf_device_set_memory_decode(g->device, false);
}

static int end_session(struct guest *g)
{
	return pfnbuf_tsm_disconnect(g->device, NULL);
}

static int raise_error(struct guest *g)
{
	assert_int_equal(pfnbuf_sim_raise_error(g->sim, TDI), 0);
	return pfnbuf_ctx_dispatch(g->ctx);
}

static int (*const steps[])(struct guest *g) = {
	make,	lock,  lock,	  run,	 run,	      run,	   unlock,
	unlock, reset, hot_reset, blink, end_session, raise_error,
};

static void begin_failing(struct guest *g)
{
	if (!below(6))
		SUCCEEDS(pfnbuf_sim_tdi_inject(g->sim, TDI, faults[below(ELEMENTS(faults))]));
	if (below(2))
		pfnbuf_sim_fail_nth(g->sim, 1 + below(60), errnos[below(ELEMENTS(errnos))]);
	for (unsigned n = below(4); n; n--)
		pfnbuf_sim_fail_ioctl(g->sim, requests[below(ELEMENTS(requests))], 1 + below(12),
				      errnos[below(ELEMENTS(errnos))]);
}

/* ---------------------------------------------------------------- what is there ------------- */

/* How many bytes of the windows the guest reaches as shared, and as private. */
static void measure(struct guest *g, uint64_t *shared, uint64_t *private)
{
	const int vm = pfnbuf_vm_get_fd(g->vm);
	uint8_t byte;

	*shared = *private = 0;
	for (unsigned i = 0; i < NR_WINDOWS; i++)
		for (unsigned page = 0; page < NR_PAGES; page++) {
			const uint64_t gpa = GPA(i) + page * PAGE;

			*shared +=
				pfnbuf_sim_guest_read(g->sim, vm, gpa, false, &byte, 1) ? 0 : PAGE;
			*private +=
				pfnbuf_sim_guest_read(g->sim, vm, gpa, true, &byte, 1) ? 0 : PAGE;
		}
}

static void check_quarantined(struct guest *g, const struct pfnbuf_bind_info *info, int is_bound)
{
	uint64_t shared, private;

	measure(g, &shared, &private);
	WANT(*info->reason);
	/* Whatever there is, it was said that it may be. */
	WANT(info->bound || is_bound == 0);
	WANT(info->shared_bytes || !shared);
	WANT(info->private_bytes || !private);
}

static void check(struct guest *g)
{
	const int is_bound = pfnbuf_sim_tdi_state(g->sim, TDI, NULL, NULL);
	const struct pfnbuf_bind_info info = guest_info(g);

	guest_assert_no_alias(g);
	if (info.quarantined) {
		check_quarantined(g, &info, is_bound);
		return;
	}
	WANT(info.bound == (is_bound == 1));
	switch (info.state) {
	case PFNBUF_TDI_CONFIG_UNLOCKED:
		WANT(!info.bound && !info.private_bytes && !info.shared_bytes);
		guest_assert_view(g, AS_SHARED);
		break;
	case PFNBUF_TDI_CONFIG_LOCKED:
		WANT(info.bound && !info.private_bytes && !info.shared_bytes);
		guest_assert_view(g, AS_NOTHING);
		break;
	case PFNBUF_TDI_RUN:
		WANT(info.bound && info.private_bytes == 18 * PAGE);
		WANT(info.shared_bytes == 8 * PAGE);
		guest_assert_view(g, AS_REPORTED);
		break;
	default:
		WANT(!info.private_bytes);
		guest_assert_view(g, info.shared_bytes ? WITHOUT_PRIVATE : AS_NOTHING);
	}
}

/* What a step may leave to be done by the caller. */
static void tidy(struct guest *g)
{
	struct pfnbuf_tsm_info tsm;

	stop_failing(g);
	if (!guest_info(g).bound) {
		SUCCEEDS(pfnbuf_tsm_get_info(g->device, &tsm));
		if (!*tsm.connected)
			SUCCEEDS(pfnbuf_tsm_connect(g->device, "tsm0"));
	}
	if (guest_info(g).quarantined)
		return;
	SUCCEEDS(pfnbuf_device_set_memory_decode(g->device, true));
	SUCCEEDS(pfnbuf_device_set_memory_decode(g->neighbor, true));
	SUCCEEDS(pfnbuf_device_restore(g->device));
	SUCCEEDS(pfnbuf_device_restore(g->neighbor));
}

/* A bind that was freed in quarantine leaves them so. */
static bool is_usable(const struct guest *g)
{
	struct pfnbuf_window_info info;

	for (unsigned i = 0; i < NR_WINDOWS; i++) {
		pfnbuf_window_get_info(g->windows[i], &info);
		if (info.state == PFNBUF_WINDOW_QUARANTINED)
			return false;
	}
	return g->bind != NULL;
}

/* Returns whether it goes on. */
static bool take(struct guest *g)
{
	int r;

	guest_events(g, PFNBUF_EVENT_QUARANTINED, NULL);
	begin_failing(g);
	r = steps[below(ELEMENTS(steps))](g);
	nr_done += r >= 0;
	nr_refused += r < 0;
	stop_failing(g);
	if (!g->bind || (!guest_info(g).quarantined && !is_usable(g)))
		return false;
	/* An error that was not heard of since dispatch failed. */
	guest_events(g, PFNBUF_EVENT_TDI_ERROR, NULL);
	tidy(g);
	check(g);
	nr_quarantined += guest_info(g).quarantined;
	return !guest_info(g).quarantined;
}

static void run_guest(const char *profile)
{
	struct guest g;

	guest_init(&g, profile);
	SUCCEEDS(guest_bind_new(&g));
	for (unsigned n = 0; n < NR_STEPS; n++)
		if (!take(&g))
			break;
	guest_fini(&g);
}

static int say_seed(void **state)
{
	(void)state;
	print_message("PFNBUF_HISTORY_SEED=%llu: done %u, refused %u, quarantined %u\n",
		      (unsigned long long)seed, nr_done, nr_refused, nr_quarantined);
	return 0;
}

static void test_random(void **state)
{
	const char *text = getenv("PFNBUF_HISTORY_SEED");

	(void)state;
	seed = text ? strtoull(text, NULL, 0) : 1;
	state_of_random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	for (unsigned n = 0; n < NR_GUESTS; n++)
		run_guest(profiles[n % ELEMENTS(profiles)]);
	WANT(nr_done && nr_refused && nr_quarantined);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_teardown(test_random, say_seed) };

	return cmocka_run_group_tests_name("bind at random", tests, NULL, NULL);
}
