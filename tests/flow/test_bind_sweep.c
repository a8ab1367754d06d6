/* SPDX-License-Identifier: MIT */
/*
 * Binding and unbinding with every kernel call failing in turn, and with a second one failing while
 * the first is undone: it is all shared again, or all there, or quarantined and says so. No page is
 * ever private and shared at once, and nothing leaks.
 */
#include "bind.h"

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/vfio.h"

/* What says nothing, what may pass, and what comes from checks before anything is done. */
static const int errnos[] = { EIO, EINTR, EAGAIN, EBUSY, ENOMEM, EINVAL, ENODEV, ENOTTY, EFAULT };

#define NR_ERRNOS (sizeof(errnos) / sizeof(*errnos))

/* A second failure: which call, and which one of its kind from the first failure on. */
static const unsigned long second_calls[] = {
	KVM_SET_USER_MEMORY_REGION2, IOMMU_IOAS_MAP_FILE, IOMMU_IOAS_UNMAP, IOMMU_DESTROY,
	VFIO_DEVICE_FEATURE,
};

#define NR_SECOND (sizeof(second_calls) / sizeof(*second_calls))

/* The run that is under way, for what an assertion says. */
static struct {
	const char *profile;
	uint64_t n;
	int error;
	unsigned long second;
	unsigned k;
} at;

static int name_run(void **state)
{
	(void)state;
	if (at.n)
		print_error("%s, call %llu fails with %s, and call %u of 0x%lx\n", at.profile,
			    (unsigned long long)at.n, pfnbuf_errno_name(at.error), at.k, at.second);
	at.n = 0;
	return 0;
}

static unsigned nr_quarantined, nr_undone, nr_done;

/* Nothing that the guest could use is of a device that may not be its own. */
static void check_quarantined(struct guest *g)
{
	const struct pfnbuf_bind_info info = guest_info(g);

	WANT(info.quarantined && *info.reason);
	REFUSED(pfnbuf_bind_lock(g->bind), ENOTRECOVERABLE);
	REFUSED(pfnbuf_bind_run(g->bind), ENOTRECOVERABLE);
	REFUSED(pfnbuf_bind_unlock(g->bind), ENOTRECOVERABLE);
	guest_assert_no_alias(g);
	nr_quarantined++;
}

typedef int step_fn(struct guest *g);

/* Each leaves things as they were where it fails, or as the second says. */
static int try_lock(struct guest *g)
{
	return pfnbuf_bind_lock(g->bind);
}

static int try_run(struct guest *g)
{
	return pfnbuf_bind_run(g->bind);
}

static int try_unlock(struct guest *g)
{
	return pfnbuf_bind_unlock(g->bind);
}

static void stop_failing(struct guest *g)
{
	pfnbuf_sim_fail_nth(g->sim, 0, 0);
	for (size_t i = 0; i < NR_SECOND; i++)
		pfnbuf_sim_fail_ioctl(g->sim, second_calls[i], 0, 0);
}

/* Take a step that may fail: 1 where it is done, 0 where it was quarantined. */
static int take(struct guest *g, step_fn *step, enum view before, enum view after)
{
	int r = step(g);

	if (r < 0) {
		const struct pfnbuf_error *error = pfnbuf_last_error_record();

		WANT(error->code == r && *error->call && *error->object && *error->cause);
		stop_failing(g);
		if (guest_info(g).quarantined) {
			WANT(r == -ENOTRECOVERABLE);
			check_quarantined(g);
			return 0;
		}
		if (before == AS_SHARED)
			guest_assert_as_before(g);
		guest_assert_view(g, before);
		nr_undone++;
		/* Where running failed it is unlocked. */
		if (step == try_run) {
			WANT(!guest_info(g).bound);
			SUCCEEDS(pfnbuf_bind_lock(g->bind));
			SUCCEEDS(guest_start(g));
		}
		SUCCEEDS(step(g));
	}
	guest_assert_view(g, after);
	return 1;
}

/* The whole of it. A step that fails is undone and taken again without trouble. */
static void whole(struct guest *g)
{
	if (!take(g, try_lock, AS_SHARED, AS_NOTHING))
		return;
	SUCCEEDS(guest_start(g));
	if (!take(g, try_run, AS_SHARED, AS_REPORTED))
		return;
	if (!take(g, try_unlock, AS_REPORTED, AS_SHARED))
		return;
	stop_failing(g);
	/* An object that could not be destroyed is all that may be left, and the log says so. */
	if (!g->warnings)
		guest_assert_as_before(g);
	nr_done++;
}

static uint64_t count_calls(const char *profile)
{
	struct guest g;
	uint64_t before;

	guest_init(&g, profile);
	SUCCEEDS(guest_bind_new(&g));
	before = pfnbuf_sim_calls(g.sim);
	SUCCEEDS(pfnbuf_bind_lock(g.bind));
	SUCCEEDS(guest_start(&g));
	SUCCEEDS(pfnbuf_bind_run(g.bind));
	SUCCEEDS(pfnbuf_bind_unlock(g.bind));
	before = pfnbuf_sim_calls(g.sim) - before;
	guest_fini(&g);
	return before;
}

static void run_failing(void)
{
	struct guest g;

	guest_init(&g, at.profile);
	SUCCEEDS(guest_bind_new(&g));
	pfnbuf_sim_fail_nth(g.sim, at.n, at.error);
	if (at.second)
		pfnbuf_sim_fail_ioctl(g.sim, at.second, at.k, EIO);
	whole(&g);
	stop_failing(&g);
	guest_fini(&g);
}

static void sweep(const char *profile)
{
	const uint64_t calls = count_calls(profile);

	WANT(calls > 60);
	at.profile = profile;
	for (at.n = 1; at.n <= calls; at.n++)
		for (size_t i = 0; i < NR_ERRNOS; i++) {
			at.error = errnos[i];
			run_failing();
		}
	at.error = EIO;
	for (at.n = 1; at.n <= calls; at.n++)
		for (size_t i = 0; i < NR_SECOND; i++)
			for (at.k = 1; at.k <= 9; at.k += 4) {
				at.second = second_calls[i];
				run_failing();
			}
	at.second = 0;
	at.k = 0;
	at.n = 0;
	print_message("%s: %llu calls; quarantined %u, undone %u, done %u times\n", profile,
		      (unsigned long long)calls, nr_quarantined, nr_undone, nr_done);
	WANT(nr_quarantined && nr_undone > nr_quarantined && nr_done > nr_quarantined);
}

static void test_tdx(void **state)
{
	(void)state;
	sweep("tdx-rfc2");
}

static void test_tsm5(void **state)
{
	(void)state;
	sweep("iommufd-tsm5");
}

static void test_cca(void **state)
{
	(void)state;
	sweep("cca7");
}

/* While everything is released any call may fail: it may warn, and nothing leaks or is aliased. */
static void release_failing(const char *profile, bool running)
{
	at.profile = profile;
	for (at.n = 1;; at.n++) {
		uint64_t calls;
		struct guest g;

		guest_init(&g, profile);
		SUCCEEDS(guest_bind_new(&g));
		SUCCEEDS(pfnbuf_bind_lock(g.bind));
		if (running) {
			SUCCEEDS(guest_start(&g));
			SUCCEEDS(pfnbuf_bind_run(g.bind));
		}
		calls = pfnbuf_sim_calls(g.sim);
		pfnbuf_sim_fail_nth(g.sim, at.n, EIO);
		g.bind = pfnbuf_bind_free(g.bind);
		guest_assert_no_alias(&g);
		guest_release(&g);
		calls = pfnbuf_sim_calls(g.sim) - calls;
		stop_failing(&g);
		guest_fini(&g);
		if (calls < at.n)
			break;
	}
	at.n = 0;
}

static void test_release(void **state)
{

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		release_failing(guest_profiles[i], false);
		release_failing(guest_profiles[i], true);
	}
}

/* A device fails, and a call that drops its private pages does, too. Returns whether any could. */
static bool error_failing(const char *profile)
{
	struct guest g;
	uint64_t calls;
	bool reached;

	guest_init(&g, profile);
	SUCCEEDS(guest_bind_new(&g));
	SUCCEEDS(pfnbuf_bind_lock(g.bind));
	SUCCEEDS(guest_start(&g));
	SUCCEEDS(pfnbuf_bind_run(g.bind));
	guest_assert_view(&g, AS_REPORTED);
	SUCCEEDS(pfnbuf_sim_tdi_inject(g.sim, TDI, PFNBUF_SIM_TDI_ERROR_STATE));
	calls = pfnbuf_sim_calls(g.sim);
	pfnbuf_sim_fail_nth(g.sim, at.n, at.error);
	pfnbuf_ctx_dispatch(g.ctx);
	reached = pfnbuf_sim_calls(g.sim) - calls >= at.n;
	stop_failing(&g);
	/* Dispatch itself may have failed. */
	guest_events(&g, PFNBUF_EVENT_TDI_ERROR, NULL);
	WANT(guest_info(&g).state == PFNBUF_TDI_ERROR);
	if (guest_info(&g).quarantined) {
		check_quarantined(&g);
	} else {
		guest_assert_view(&g, WITHOUT_PRIVATE);
		SUCCEEDS(pfnbuf_bind_unlock(g.bind));
		guest_assert_as_before(&g);
	}
	guest_fini(&g);
	return reached;
}

static void test_error(void **state)
{

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		at.profile = guest_profiles[i];
		for (size_t e = 0; e < NR_ERRNOS; e++) {
			at.error = errnos[e];
			at.n = 1;
			while (error_failing(guest_profiles[i]))
				at.n++;
			WANT(at.n > 2);
		}
	}
	at.n = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_tdx, name_run),
		cmocka_unit_test_teardown(test_tsm5, name_run),
		cmocka_unit_test_teardown(test_cca, name_run),
		cmocka_unit_test_teardown(test_release, name_run),
		cmocka_unit_test_teardown(test_error, name_run),
	};

	return cmocka_run_group_tests_name("bind sweep", tests, NULL, NULL);
}
