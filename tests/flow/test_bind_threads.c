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
#include <time.h>

#include "libpfnbuf/private.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/proposed.h"

#define ROUNDS	   150
#define OTHER_GPA  UINT64_C(0x80000000)
#define OTHER_IOVA UINT64_C(0x70000000)
#define OTHER_BYTE (2 * PAGE + 0x123)

static atomic_bool stop;
static atomic_uint nr_bound, nr_unbound, nr_resets, nr_errors, nr_mapped;

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

/* Done, or refused since the device is locked or in a reset. */
static bool mapped(int code)
{
	WANT(code == 0 || code == -EBUSY || code == -ENODEV || code == -EEXIST);
	nr_mapped += code == 0;
	return code == 0;
}

/* Somebody who maps the device's BARs whenever he may, and lets go of them again. */
static void *map_it(void *data)
{
	struct guest *g = data;
	const struct pfnbuf_range slice = { 4 * PAGE, PAGE };
	const struct pfnbuf_place place = { .size = sizeof(place),
					    .ioas = g->ioas,
					    .iova = OTHER_IOVA };
	const uint64_t fixed = 0x71000000;
	struct pfnbuf_window *other = NULL;
	struct pfnbuf_buf *buf = NULL;

	while (pfnbuf_window_new_bar(g->device, 2, NULL, &place, &other) < 0)
		;
	SUCCEEDS(pfnbuf_device_export(g->device, 2, &slice, 1, &buf));
	while (!stop) {
		struct pfnbuf_slot slot = { .gpa = OTHER_GPA,
					    .length = PAGE,
					    .addr = (void *)(16 * PAGE),
					    .guest_memfd = buf };
		uint64_t iova = fixed;
		uint32_t id;
		void *addr;

		if (mapped(pfnbuf_window_set_range(other, 2 * PAGE, PAGE, PFNBUF_SHARED)))
			while (pfnbuf_window_set_range(other, 2 * PAGE, PAGE, PFNBUF_HOLE) < 0)
				;
		if (mapped(pfnbuf_ioas_map_buf(g->ioas, buf, 0, PAGE,
					       PFNBUF_MAP_READ | PFNBUF_MAP_FIXED, &iova)))
			SUCCEEDS(pfnbuf_ioas_unmap(g->ioas, fixed, PAGE, NULL));
		if (mapped(pfnbuf_device_bar_map(g->device, 2, 0, PAGE, &addr)))
			SUCCEEDS(pfnbuf_device_bar_unmap(g->device, addr));
		if (strcmp(g->name, "cca7") != 0 && mapped(pfnbuf_vm_set_slot(g->vm, &slot, &id)))
			SUCCEEDS(pfnbuf_vm_delete_slot(g->vm, id));
	}
	pfnbuf_buf_unref(buf);
	pfnbuf_window_free(other);
	return NULL;
}

static void run_threads(const char *profile)
{
	static void *(*const work[])(void *) = {
		bind_it, revoke_it, fail_it, digest, look, map_it,
	};
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
	(void)state;
	for (size_t i = 0; i < NR_PROFILES; i++)
		run_threads(guest_profiles[i]);
	print_message("ran %u times; %u resets, of which %u unbound; %u errors while bound; mapped "
		      "%u times\n",
		      nr_bound, nr_resets, nr_unbound, nr_errors, nr_mapped);
	/* Else nothing was under way at the same time. */
	WANT(nr_bound && nr_resets && nr_mapped);
}

/* ---------------------------------------------------------------- in between ---------------- */

/*
 * Somebody has found the device not lent, and is on the way to the kernel with a mapping of it, when
 * it is locked: he is held up there till it is bound, or till it is plain that it waits for him.
 */
static struct {
	const struct pfnbuf_kernel *sim;
	atomic_bool arrived; /* where he is held up */
	atomic_bool bound;   /* the device was */
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_vm *vm;
	struct pfnbuf_window *window;
	struct pfnbuf_buf *buf;
	uint32_t slot;
} race;

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static void hold_up(void)
{
	race.arrived = true;
	for (int i = 0; !race.bound && i < 100; i++)
		sleep_ms(1);
}

static int held_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	const struct kvm_userspace_memory_region2 *region = arg;

	if (request == KVM_SET_USER_MEMORY_REGION2 && region->memory_size &&
	    region->guest_phys_addr == OTHER_GPA)
		hold_up();
	if (request == VFIO_DEVICE_TSM_BIND)
		race.bound = true;
	return race.sim->ioctl(data, fd, request, arg);
}

static ssize_t held_pread(void *data, int fd, void *buf, size_t count, uint64_t offset)
{
	ssize_t n;

	/* The one byte that is read here. */
	if (offset != (UINT64_C(2) << 40 | OTHER_BYTE))
		return race.sim->pread(data, fd, buf, count, offset);
	hold_up();
	n = race.sim->pread(data, fd, buf, count, offset);
	/* As soon as it has returned the device may be. */
	WANT(!race.bound);
	return n;
}

/* A window that is not the bind's, between looking at the device and mapping a page of it. */
static void *share_page(void *data)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_window_lock(race.window);

	(void)data;
	hold_up();
	SUCCEEDS(pfnbuf_ioas_expect_buf(race.ioas, race.buf, 0, PAGE, PFNBUF_MAP_READ, OTHER_IOVA));
	return NULL;
}

static void *show_buf(void *data)
{
	const struct pfnbuf_slot slot = { .gpa = OTHER_GPA,
					  .length = PAGE,
					  .addr = (void *)(16 * PAGE),
					  .guest_memfd = race.buf };

	(void)data;
	SUCCEEDS(pfnbuf_vm_set_slot(race.vm, &slot, &race.slot));
	return NULL;
}

/* An access of the guest's, carried out here. */
static void *read_byte(void *data)
{
	uint8_t byte;

	SUCCEEDS(pfnbuf_device_bar_read(data, 2, OTHER_BYTE, &byte, 1));
	return NULL;
}

/* He came first: the device is not bound, and nothing of it is private. */
static void comes_first(struct guest *g, void *(*work)(void *))
{
	pthread_t thread;

	race.arrived = race.bound = false;
	assert_int_equal(pthread_create(&thread, NULL, work, NULL), 0);
	while (!race.arrived)
		sleep_ms(1);
	REFUSED(pfnbuf_bind_lock(g->bind), EBUSY);
	pthread_join(thread, NULL);
	WANT(!race.bound && !guest_info(g).bound);
	guest_assert_view(g, AS_SHARED);
}

static void test_in_between(void **state)
{
	const struct pfnbuf_range slice = { 4 * PAGE, PAGE };
	struct pfnbuf_place place = { .size = sizeof(place), .iova = OTHER_IOVA };
	struct pfnbuf_kernel door;
	pthread_t thread;
	struct guest g;

	(void)state;
	guest_plug(&g, "tdx-rfc2");
	race.sim = pfnbuf_sim_kernel(g.sim);
	door = *race.sim;
	door.ioctl = held_ioctl;
	door.pread = held_pread;
	g.door = &door;
	SUCCEEDS(guest_build(&g));
	SUCCEEDS(guest_bind_new(&g));
	place.ioas = race.ioas = g.ioas;
	race.vm = g.vm;
	SUCCEEDS(pfnbuf_window_new_bar(g.device, 2, NULL, &place, &race.window));
	SUCCEEDS(pfnbuf_device_export(g.device, 2, &slice, 1, &race.buf));

	comes_first(&g, share_page);
	SUCCEEDS(pfnbuf_ioas_unmap(g.ioas, OTHER_IOVA, PAGE, NULL));
	comes_first(&g, show_buf);
	SUCCEEDS(pfnbuf_vm_delete_slot(g.vm, race.slot));

	/* What does not stay is waited for. */
	race.arrived = race.bound = false;
	assert_int_equal(pthread_create(&thread, NULL, read_byte, g.device), 0);
	while (!race.arrived)
		sleep_ms(1);
	SUCCEEDS(pfnbuf_bind_lock(g.bind));
	pthread_join(thread, NULL);
	WANT(race.bound);
	pfnbuf_buf_unref(race.buf);
	pfnbuf_window_free(race.window);
	guest_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_between),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests_name("bind threads", tests, NULL, NULL);
}
