/* SPDX-License-Identifier: MIT */
/*
 * A bind when something goes wrong in the middle of it: what is said of it then is so, what may have
 * been done is not done again, and nothing is left behind that somebody could take for his own.
 */
#include "bind.h"

#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/proposed.h"

/* ---------------------------------------------------------------- the door ------------------ */

/* What the kernel is kept from, and what it is asked for when the device is unbound. */
static struct {
	const struct pfnbuf_kernel *sim;
	struct pfnbuf_kernel kernel;
	unsigned long unbind; /* the request that unbinds */
	bool refuses;	      /* it, for certain */
	bool unbound;
	bool broken;	   /* no slot can be set after that */
	unsigned deleted;  /* slots after that */
	unsigned fail_at;  /* which of them cannot be; 0: none */
	uint64_t privates; /* slots on a dma-buf in window 1 that were set after that */
} door;

static int watch_slot(const struct kvm_userspace_memory_region2 *region)
{
	if (!region->memory_size)
		return ++door.deleted == door.fail_at ? -EIO : 0;
	door.privates += region->flags & 8 && region->guest_phys_addr >= GPA(1);
	return door.broken ? -EIO : 0;
}

static int watched_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	int r = 0;

	if (request == door.unbind && door.refuses)
		r = -EBUSY;
	else if (request == KVM_SET_USER_MEMORY_REGION2 && door.unbound)
		r = watch_slot(arg);
	if (r < 0)
		return r;
	r = door.sim->ioctl(data, fd, request, arg);
	door.unbound |= request == VFIO_DEVICE_TSM_UNBIND && !r;
	return r;
}

static void plug_watched(struct guest *g, const char *profile)
{
	unsigned long bind;

	guest_plug(g, profile);
	memset(&door, 0, sizeof(door));
	door.sim = pfnbuf_sim_kernel(g->sim);
	door.kernel = *door.sim;
	door.kernel.ioctl = watched_ioctl;
	g->door = &door.kernel;
	guest_requests(g, &bind, &door.unbind);
}

static void init_watched(struct guest *g, const char *profile)
{
	plug_watched(g, profile);
	SUCCEEDS(guest_build(g));
	assert_int_equal(pfnbuf_sim_dump(g->sim, &g->dump), 0);
}

#define ON_EACH(name) GUEST_TEST(name, init_watched)

static bool is(const struct guest *g, const char *profile)
{
	return !strcmp(g->name, profile);
}

static unsigned count(const char *text, const char *part)
{
	unsigned n = 0;

	for (; (text = strstr(text, part)); text++)
		n++;
	return n;
}

/* ---------------------------------------------------------------- the start ----------------- */

static unsigned nr_starts;

static int start_op(void *data, struct pfnbuf_device *device)
{
	(void)device;
	nr_starts++;
	return guest_start(data);
}

static int start_without_answer(void *data, struct pfnbuf_device *device)
{
	start_op(data, device);
	return PFNBUF_TSM_UNKNOWN;
}

/* A TDI that runs and is started goes to ERROR: what was started is not started again. */
static void started_once(struct guest *g)
{
	char text[16384];

	for (unsigned i = 0; i < 2; i++) {
		nr_starts = 0;
		g->ops.start = i ? start_without_answer : start_op;
		SUCCEEDS(guest_lock(g));
		SUCCEEDS(pfnbuf_sim_tdi_inject(g->sim, TDI, PFNBUF_SIM_TDI_REPORT_LATE));
		REFUSED(pfnbuf_bind_run(g->bind), EAGAIN);
		/* Nor is that what comes next. */
		WANT(pfnbuf_bind_print(g->bind, text, sizeof(text)) < sizeof(text));
		WANT(count(text, "start device") == 1);
		SUCCEEDS(pfnbuf_bind_run(g->bind));
		WANT(nr_starts == 1);
		guest_assert_view(g, AS_REPORTED);
		SUCCEEDS(pfnbuf_bind_unlock(g->bind));
		/* But after it was bound anew. */
		SUCCEEDS(pfnbuf_bind_lock(g->bind));
		SUCCEEDS(pfnbuf_bind_run(g->bind));
		WANT(nr_starts == 2);
		g->bind = pfnbuf_bind_free(g->bind);
	}
}
ON_EACH(started_once)

/* ---------------------------------------------------------------- the end ------------------- */

/* Unbinding is refused, and the bind is freed all the same: the device stays bound, and nobody's. */
static void freed_and_still_bound(struct guest *g)
{
	struct pfnbuf_window_info info;
	struct pfnbuf_window *late;
	uint8_t byte;
	struct pfnbuf_place place = { .size = sizeof(place), .ioas = g->ioas, .iova = 0x70000000 };
	void *addr;

	SUCCEEDS(guest_bind_all(g));
	guest_events(g, PFNBUF_EVENT_QUARANTINED, NULL);
	door.refuses = true;
	g->bind = pfnbuf_bind_free(g->bind);
	door.refuses = false;
	WANT(g->warnings && pfnbuf_sim_tdi_state(g->sim, TDI, NULL, NULL) == 1);
	WANT(guest_events(g, PFNBUF_EVENT_QUARANTINED, NULL) == 1);
	/* Where nothing has to stay till it is unbound, nothing does but what only unbinding ends. */
	if (is(g, "iommufd-tsm5"))
		guest_assert_view(g, AS_NOTHING);
	/* Its windows are not what they were, and show what is the guest's. */
	for (unsigned i = 0; i < NR_WINDOWS; i++) {
		pfnbuf_window_get_info(g->windows[i], &info);
		WANT(info.state == PFNBUF_WINDOW_QUARANTINED &&
		     strstr(info.reason, "cannot be unbound"));
		REFUSED(pfnbuf_window_set_range(g->windows[i], 4 * PAGE, PAGE, PFNBUF_SHARED),
			ENOTRECOVERABLE);
	}
	REFUSED(pfnbuf_device_bar_map(g->device, 2, 0, PAGE, &addr), EBUSY);
	WANT(strstr(pfnbuf_last_error(), "close the device"));
	REFUSED(pfnbuf_device_bar_read(g->device, 2, 0, &byte, 1), EBUSY);
	WANT(strstr(pfnbuf_last_error(), "close the device"));
	REFUSED(pfnbuf_window_new_bar(g->device, 2, NULL, &place, &late), EBUSY);
	/* Binding it again would be trying again. */
	REFUSED(guest_bind_new(g), EBUSY);
	WANT(strstr(pfnbuf_last_error(), "close the device"));
}
ON_EACH(freed_and_still_bound)

/* It may be bound or not: the same. One that is not is anybody's again. */
static void freed_in_quarantine(struct guest *g)
{
	void *addr;

	SUCCEEDS(pfnbuf_sim_tdi_inject(g->sim, TDI, PFNBUF_SIM_TDI_BIND_FAILS_AFTER_COMMIT));
	REFUSED(guest_lock(g), ENOTRECOVERABLE);
	WANT(guest_info(g).bound && !guest_info(g).private_bytes && !guest_info(g).shared_bytes);
	g->bind = pfnbuf_bind_free(g->bind);
	REFUSED(guest_bind_new(g), EBUSY);
	REFUSED(pfnbuf_device_bar_map(g->device, 2, 0, PAGE, &addr), EBUSY);
}
ON_EACH(freed_in_quarantine)

/* Closing the device unbinds it, and says so; what cannot be done then goes with it. */
static void closed(struct guest *g)
{
	enum pfnbuf_cause cause = PFNBUF_CAUSE_NONE;

	SUCCEEDS(guest_bind_all(g));
	guest_events(g, PFNBUF_EVENT_TDI_UNBOUND, NULL);
	g->device = pfnbuf_device_close(g->device);
	WANT(guest_events(g, PFNBUF_EVENT_TDI_UNBOUND, &cause) == 1);
	WANT(cause == PFNBUF_CAUSE_CLOSE);
}
ON_EACH(closed)

static void closed_and_refused(struct guest *g)
{
	struct pfnbuf_sim_counts before, now;

	/* What a realm has validated goes with its vDEVICE alone. */
	if (is(g, "cca7"))
		return;
	pfnbuf_sim_get_counts(g->sim, &before);
	SUCCEEDS(guest_bind_all(g));
	guest_events(g, PFNBUF_EVENT_TDI_UNBOUND, NULL);
	door.refuses = true;
	g->device = pfnbuf_device_close(g->device);
	door.refuses = false;
	WANT(pfnbuf_sim_tdi_state(g->sim, TDI, NULL, NULL) == 0);
	g->bind = pfnbuf_bind_free(g->bind);
	pfnbuf_sim_get_counts(g->sim, &now);
	/* What stood for the guest's view of the device is not left to the end of the iommufd. */
	WANT(now.hwpts <= before.hwpts && !now.viommus && !now.vdevices && !now.tdis);
}
ON_EACH(closed_and_refused)

enum {
	BIND,
	WINDOW_0,
	WINDOW_1,
	DEVICE,
	IOAS,
	VM,
	NR_OBJECTS,
};

static void free_object(struct guest *g, unsigned which)
{
	switch (which) {
	case BIND:
		g->bind = pfnbuf_bind_free(g->bind);
		break;
	case DEVICE:
		g->device = pfnbuf_device_close(g->device);
		break;
	case IOAS:
		g->ioas = pfnbuf_ioas_free(g->ioas);
		break;
	case VM:
		g->vm = pfnbuf_vm_free(g->vm);
		break;
	default:
		g->windows[which - WINDOW_0] = pfnbuf_window_free(g->windows[which - WINDOW_0]);
	}
}

/* The @n-th order of all objects, by the digits of @n in base 6, 5, 4, ... */
static void free_in_order(struct guest *g, unsigned n)
{
	unsigned left[NR_OBJECTS] = { BIND, WINDOW_0, WINDOW_1, DEVICE, IOAS, VM };

	for (unsigned nr = NR_OBJECTS; nr; nr--) {
		const unsigned i = n % nr;

		n /= nr;
		free_object(g, left[i]);
		guest_assert_no_alias(g);
		memmove(&left[i], &left[i + 1], (nr - 1 - i) * sizeof(*left));
	}
}

/* Whatever goes first, the device is unbound before what is private of it goes, and nothing is left. */
static void test_freed_in_any_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_PROFILES; i++)
		for (unsigned n = 0; n < 720; n++) {
			struct guest g;

			guest_init(&g, guest_profiles[i]);
			SUCCEEDS(guest_bind_all(&g));
			free_in_order(&g, n);
			guest_fini(&g);
			WANT(!g.warnings);
		}
}

/* ---------------------------------------------------------------- what is said -------------- */

/* What it says that the guest sees is what it sees. */
static void says_what_is_shown(struct guest *g)
{
	SUCCEEDS(guest_lock(g));
	WANT(!guest_info(g).private_bytes && !guest_info(g).shared_bytes);
	SUCCEEDS(guest_start(g));
	SUCCEEDS(pfnbuf_bind_run(g->bind));
	WANT(guest_info(g).private_bytes == 18 * PAGE && guest_info(g).shared_bytes == 8 * PAGE);
	/* EIO: it may be unbound or not. Where mappings stay till it is they are there. */
	pfnbuf_sim_fail_ioctl(g->sim, door.unbind, 1, EIO);
	REFUSED(pfnbuf_bind_unlock(g->bind), ENOTRECOVERABLE);
	WANT(guest_info(g).bound);
	if (is(g, "tdx-rfc2"))
		guest_assert_view(g, AS_REPORTED);
	WANT(guest_info(g).shared_bytes == (is(g, "tdx-rfc2") ? 8 * PAGE : 0));
	/* What was validated goes with unbinding, and with nothing else. */
	WANT(guest_info(g).private_bytes == (is(g, "iommufd-tsm5") ? 0 : 18 * PAGE));
}
ON_EACH(says_what_is_shown)

/* The device fails, and cannot be unbound: the guest goes on seeing its private pages. */
static void says_what_failed_shows(struct guest *g)
{
	if (is(g, "iommufd-tsm5"))
		return;
	SUCCEEDS(guest_bind_all(g));
	pfnbuf_sim_fail_ioctl(g->sim, door.unbind, 1, EIO);
	SUCCEEDS(pfnbuf_sim_raise_error(g->sim, TDI));
	WANT(guest_events(g, PFNBUF_EVENT_TDI_ERROR, NULL) == 1);
	WANT(guest_info(g).quarantined && guest_info(g).state == PFNBUF_TDI_ERROR);
	guest_assert_view(g, AS_REPORTED);
	WANT(guest_info(g).private_bytes == 18 * PAGE && guest_info(g).shared_bytes == 8 * PAGE);
}
ON_EACH(says_what_failed_shows)

/* A failed device that was unbound at once is not said to be unbound next. A refusal may pass. */
static void failed_and_unbound(struct guest *g)
{
	char text[16384];

	SUCCEEDS(guest_bind_all(g));
	pfnbuf_sim_fail_ioctl(g->sim, door.unbind, 1, EBUSY);
	SUCCEEDS(pfnbuf_sim_raise_error(g->sim, TDI));
	WANT(guest_events(g, PFNBUF_EVENT_TDI_ERROR, NULL) == 1);
	WANT(!guest_info(g).quarantined && !guest_info(g).private_bytes);
	WANT(guest_info(g).shared_bytes == 8 * PAGE);
	guest_assert_view(g, WITHOUT_PRIVATE);
	WANT(pfnbuf_bind_print(g->bind, text, sizeof(text)) < sizeof(text));
	/* It was refused once, and done; or it is still to be done. */
	WANT(count(text, "unbind device") == (is(g, "iommufd-tsm5") ? 1 : 2));
	pfnbuf_sim_fail_ioctl(g->sim, door.unbind, 0, 0);
	SUCCEEDS(pfnbuf_bind_unlock(g->bind));
	guest_assert_as_before(g);
}
ON_EACH(failed_and_unbound)

/* Which of the windows it is that does not fit. */
static void names_the_window(struct guest *g)
{
	const struct pfnbuf_range part = { 4 * PAGE, PAGE };
	struct pfnbuf_place place = { .size = sizeof(place), .ioas = g->ioas, .iova = 0x70000000 };
	struct pfnbuf_window *windows[] = { g->windows[0], g->windows[1], NULL };
	struct pfnbuf_bind_opts opts = {
		.size = sizeof(opts),
		.ops = &g->ops,
		.ops_data = g,
		.windows = windows,
		.nr_windows = 3,
		.digest = g->digest,
		.digest_len = sizeof(g->digest),
	};
	struct pfnbuf_bind *bind;

	SUCCEEDS(pfnbuf_window_new_bar(g->device, 2, &part, &place, &windows[2]));
	REFUSED(pfnbuf_bind_new(g->device, g->vm, &opts, &bind), EINVAL);
	WANT(strstr(pfnbuf_last_error_record()->object, "BAR 2"));
	WANT(pfnbuf_last_error_record()->range.offset == part.offset &&
	     pfnbuf_last_error_record()->range.length == part.length);
	pfnbuf_window_free(windows[2]);
}
ON_EACH(names_the_window)

/* ---------------------------------------------------------------- no way back --------------- */

/* A device that is not bound any more never gets private slots back, whatever else fails. */
static void test_never_private_again(void **state)
{
	struct guest g;

	(void)state;
	/* Four slots of window 1, then five of window 0. */
	for (unsigned n = 1; n <= 9; n++) {
		plug_watched(&g, "tdx-rfc2");
		SUCCEEDS(guest_build(&g));
		SUCCEEDS(guest_bind_all(&g));
		door.fail_at = n;
		SUCCEEDS(pfnbuf_bind_unlock(g.bind));
		WANT(door.unbound && door.deleted > n);
		/* A plan that fails is undone, and what other windows did stands. */
		WANT(n <= 4 || !door.privates);
		guest_assert_view(&g, AS_SHARED);
		guest_fini(&g);
	}
}

/* It is not bound, and its windows could not be placed again: once they are gone it is anybody's. */
static void test_freed_in_quarantine_unbound(void **state)
{
	struct guest g;
	void *addr;

	(void)state;
	plug_watched(&g, "tdx-rfc2");
	SUCCEEDS(guest_build(&g));
	SUCCEEDS(guest_lock(&g));
	door.broken = true;
	REFUSED(pfnbuf_bind_unlock(g.bind), ENOTRECOVERABLE);
	door.broken = false;
	WANT(door.unbound && !guest_info(&g).bound && !guest_info(&g).shared_bytes);
	g.bind = pfnbuf_bind_free(g.bind);
	for (unsigned i = 0; i < NR_WINDOWS; i++)
		g.windows[i] = pfnbuf_window_free(g.windows[i]);
	SUCCEEDS(pfnbuf_device_bar_map(g.device, 2, 0, PAGE, &addr));
	SUCCEEDS(pfnbuf_device_bar_unmap(g.device, addr));
	guest_fini(&g);
}

/* ---------------------------------------------------------------- sessions ------------------ */

#define SIBLING "0000:01:00.2"

static int done_op(void *data, struct pfnbuf_device *device, struct pfnbuf_vm *vm)
{
	(void)data, (void)device, (void)vm;
	return 0;
}

static int validate_op(void *data, struct pfnbuf_device *device, unsigned bar, uint64_t offset,
		       uint64_t length, uint64_t gpa, bool on)
{
	(void)data, (void)device, (void)bar, (void)offset, (void)length, (void)gpa, (void)on;
	return 0;
}

/* Function 0's session is that of those beside it: they are unbound with it, each by its own bind. */
static void test_session_of_several(void **state)
{
	const struct pfnbuf_sim_device sibling = {
		.bdf = SIBLING,
		.flags = PFNBUF_SIM_TEE,
		.bars = { [0] = { BAR_SIZE, 0 } },
	};
	struct pfnbuf_place place = { .size = sizeof(place), .iova = 0x70000000 };
	struct pfnbuf_window *window = NULL;
	struct pfnbuf_device *device = NULL;
	struct pfnbuf_bind_opts opts = {
		.size = sizeof(opts), .windows = &window, .nr_windows = 1, .digest_len = 32
	};
	struct pfnbuf_bind *bind = NULL;
	struct pfnbuf_bind_info info;
	struct guest g;

	(void)state;
	guest_plug(&g, "tdx-rfc2");
	assert_int_equal(pfnbuf_sim_add_device(g.sim, &sibling), 0);
	SUCCEEDS(guest_build(&g));
	SUCCEEDS(pfnbuf_device_open(g.ctx, SIBLING, &device));
	SUCCEEDS(pfnbuf_device_bind(device, NULL));
	place.ioas = g.ioas;
	SUCCEEDS(pfnbuf_window_new_bar(device, 0, NULL, &place, &window));
	g.ops.bind = g.ops.unbind = done_op;
	g.ops.validate = validate_op;
	opts.ops = &g.ops;
	opts.digest = g.digest;
	SUCCEEDS(pfnbuf_bind_new(device, g.vm, &opts, &bind));
	g.ops.bind = g.ops.unbind = NULL;
	g.ops.validate = NULL;
	SUCCEEDS(guest_lock(&g));
	SUCCEEDS(pfnbuf_bind_lock(bind));

	/* Another TSM's session is not there to be ended: nobody is unbound for it. */
	REFUSED(pfnbuf_tsm_disconnect(g.device, "tsm1"), EINVAL);
	WANT(guest_info(&g).bound);
	guest_events(&g, PFNBUF_EVENT_TDI_UNBOUND, NULL);
	SUCCEEDS(pfnbuf_tsm_disconnect(g.device, "tsm0"));
	WANT(guest_events(&g, PFNBUF_EVENT_TDI_UNBOUND, NULL) == 2);
	pfnbuf_bind_get_info(bind, &info);
	WANT(!info.bound && !guest_info(&g).bound);
	guest_assert_view(&g, AS_SHARED);

	pfnbuf_bind_free(bind);
	pfnbuf_window_free(window);
	pfnbuf_device_close(device);
	guest_fini(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_started_once),
		cmocka_unit_test(test_freed_and_still_bound),
		cmocka_unit_test(test_freed_in_quarantine),
		cmocka_unit_test(test_freed_in_quarantine_unbound),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_closed_and_refused),
		cmocka_unit_test(test_freed_in_any_order),
		cmocka_unit_test(test_says_what_is_shown),
		cmocka_unit_test(test_says_what_failed_shows),
		cmocka_unit_test(test_failed_and_unbound),
		cmocka_unit_test(test_names_the_window),
		cmocka_unit_test(test_never_private_again),
		cmocka_unit_test(test_session_of_several),
	};

	return cmocka_run_group_tests_name("bind in trouble", tests, NULL, NULL);
}
