/* SPDX-License-Identifier: MIT */
/*
 * One thread binds the device and takes it back, others reset it, raise errors on it, digest events
 * and look. Whatever comes in between, each call is done or refused, no page is ever aliased, and in
 * the end it is all shared. What threads do to each other's memory is for a build with
 * -Db_sanitize=thread to see.
 */
#include "bind.h"

#include <pthread.h>
#include <stdatomic.h>

#define ROUNDS 150

static atomic_bool stop;
static atomic_uint nr_bound, nr_unbound, nr_resets, nr_errors;

/* What another thread's reset, or an error, may make of a call. */
static bool may_be(int code)
{
	return code == 0 || code == -EALREADY || code == -EINVAL || code == -EPERM ||
	       code == -ENODEV || code == -EBUSY || code == -EIO;
}

static void *bind_it(void *data)
{
	struct guest *g = data;

	for (unsigned i = 0; i < ROUNDS; i++) {
		int r = pfnbuf_bind_lock(g->bind);

		WANT(may_be(r));
		guest_start(g);
		r = pfnbuf_bind_run(g->bind);
		WANT(may_be(r));
		nr_bound += r == 0;
		r = pfnbuf_bind_unlock(g->bind);
		WANT(may_be(r));
	}
	stop = true;
	return NULL;
}

static void *revoke_it(void *data)
{
	struct guest *g = data;
	unsigned n = 0;

	while (!stop) {
		int r = n++ % 3 ? pfnbuf_device_reset(g->device)
				: pfnbuf_device_hot_reset(g->neighbor);

		WANT(r == 0);
		nr_resets++;
		r = pfnbuf_device_restore(g->device);
		WANT(r == 0 || r == -ENODEV);
		pfnbuf_device_restore(g->neighbor);
	}
	return NULL;
}

static void *fail_it(void *data)
{
	struct guest *g = data;

	while (!stop)
		WANT(pfnbuf_sim_raise_error(g->sim, TDI) == 0);
	return NULL;
}

static void *digest(void *data)
{
	struct guest *g = data;
	struct pfnbuf_event event;

	while (!stop) {
		WANT(pfnbuf_ctx_dispatch(g->ctx) == 0);
		while (pfnbuf_ctx_pop_event(g->ctx, &event) > 0) {
			nr_unbound += event.type == PFNBUF_EVENT_TDI_UNBOUND;
			nr_errors += event.type == PFNBUF_EVENT_TDI_ERROR;
			WANT(event.type != PFNBUF_EVENT_QUARANTINED);
		}
	}
	return NULL;
}

static void *look(void *data)
{
	struct guest *g = data;
	struct pfnbuf_window_info window;
	char text[256];

	while (!stop) {
		WANT(!guest_info(g).quarantined);
		pfnbuf_bind_print(g->bind, text, sizeof(text));
		pfnbuf_window_get_info(g->windows[0], &window);
		WANT(window.state != PFNBUF_WINDOW_QUARANTINED);
		guest_assert_no_alias(g);
	}
	return NULL;
}

static void run_threads(const char *profile)
{
	static void *(*const work[])(void *) = { bind_it, revoke_it, fail_it, digest, look };
	pthread_t threads[sizeof(work) / sizeof(*work)];
	struct guest g;

	guest_init(&g, profile);
	SUCCEEDS(guest_bind_new(&g));
	stop = false;
	for (size_t i = 0; i < sizeof(work) / sizeof(*work); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work[i], &g), 0);
	for (size_t i = 0; i < sizeof(work) / sizeof(*work); i++)
		pthread_join(threads[i], NULL);
	guest_events(&g, PFNBUF_EVENT_TDI_ERROR, NULL);
	WANT(!guest_info(&g).bound && !guest_info(&g).quarantined);
	SUCCEEDS(pfnbuf_device_restore(g.device));
	SUCCEEDS(pfnbuf_device_restore(g.neighbor));
	guest_assert_view(&g, AS_SHARED);
	/* And it can still be done. */
	SUCCEEDS(pfnbuf_bind_lock(g.bind));
	SUCCEEDS(guest_start(&g));
	SUCCEEDS(pfnbuf_bind_run(g.bind));
	guest_assert_view(&g, AS_REPORTED);
	guest_fini(&g);
}

static void test_threads(void **state)
{
	static const char *const profiles[] = { "tdx-rfc2", "iommufd-tsm5", "cca7" };

	(void)state;
	for (size_t i = 0; i < 3; i++)
		run_threads(profiles[i]);
	print_message("ran %u times; %u resets, of which %u unbound; %u errors while bound\n",
		      nr_bound, nr_resets, nr_unbound, nr_errors);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_threads) };

	return cmocka_run_group_tests_name("bind threads", tests, NULL, NULL);
}
