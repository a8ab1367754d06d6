/* SPDX-License-Identifier: MIT */
/*
 * Binding and unbinding while the library runs out of memory at each of its allocations: it is as
 * before, or done, or quarantined and says so; nothing leaks. The simulated kernel keeps its own.
 */
#include "bind.h"

#include "tests/model/starve.h"

static struct pfnbuf_kernel door;
static const struct pfnbuf_kernel *fed;

static int fed_open(void *data, const char *path, int flags)
{
	const bool starving = starve_pause();
	int r = fed->open(data, path, flags);

	starve_resume(starving);
	return r;
}

static int fed_close(void *data, int fd)
{
	const bool starving = starve_pause();
	int r = fed->close(data, fd);

	starve_resume(starving);
	return r;
}

static int fed_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	const bool starving = starve_pause();
	int r = fed->ioctl(data, fd, request, arg);

	starve_resume(starving);
	return r;
}

static int fed_mmap(void *data, void *addr, size_t length, int prot, int flags, int fd,
		    uint64_t offset, void **out)
{
	const bool starving = starve_pause();
	int r = fed->mmap(data, addr, length, prot, flags, fd, offset, out);

	starve_resume(starving);
	return r;
}

static int fed_munmap(void *data, void *addr, size_t length)
{
	const bool starving = starve_pause();
	int r = fed->munmap(data, addr, length);

	starve_resume(starving);
	return r;
}

static ssize_t fed_read(void *data, int fd, void *buf, size_t count)
{
	const bool starving = starve_pause();
	ssize_t r = fed->read(data, fd, buf, count);

	starve_resume(starving);
	return r;
}

static ssize_t fed_pread(void *data, int fd, void *buf, size_t count, uint64_t offset)
{
	const bool starving = starve_pause();
	ssize_t r = fed->pread(data, fd, buf, count, offset);

	starve_resume(starving);
	return r;
}

static int64_t fed_lseek(void *data, int fd, int64_t offset, int whence)
{
	const bool starving = starve_pause();
	int64_t r = fed->lseek(data, fd, offset, whence);

	starve_resume(starving);
	return r;
}

static int fed_fstat(void *data, int fd, struct stat *st)
{
	const bool starving = starve_pause();
	int r = fed->fstat(data, fd, st);

	starve_resume(starving);
	return r;
}

static int (*hungry_report)(void *data, struct pfnbuf_device *device, void *buf, size_t size,
			    size_t *len, struct pfnbuf_tdi_evidence *e);

static int fed_report(void *data, struct pfnbuf_device *device, void *buf, size_t size, size_t *len,
		      struct pfnbuf_tdi_evidence *e)
{
	const bool starving = starve_pause();
	int r = hungry_report(data, device, buf, size, len, e);

	starve_resume(starving);
	return r;
}

static void init(struct guest *g, const char *profile)
{
	guest_plug(g, profile);
	fed = pfnbuf_sim_kernel(g->sim);
	door = *fed;
	door.open = fed_open;
	door.close = fed_close;
	door.ioctl = fed_ioctl;
	door.mmap = fed_mmap;
	door.munmap = fed_munmap;
	door.read = fed_read;
	door.pread = fed_pread;
	door.lseek = fed_lseek;
	door.fstat = fed_fstat;
	g->door = &door;
	hungry_report = g->ops.report;
	g->ops.report = fed_report;
	SUCCEEDS(guest_build(g));
	assert_int_equal(pfnbuf_sim_dump(g->sim, &g->dump), 0);
	SUCCEEDS(guest_bind_new(g));
}

typedef int step_fn(struct pfnbuf_bind *bind);

static unsigned nr_failed, nr_quarantined;

/* From the n-th allocation on none succeeds, or only that one does not. */
static void (*starve)(size_t n);

/* Returns whether the step was done. */
static bool starved(struct guest *g, step_fn *step, size_t n, enum view before, enum view after)
{
	int r;

	starve(n);
	r = step(g->bind);
	starve_end();
	guest_assert_no_alias(g);
	if (r >= 0) {
		guest_assert_view(g, after);
		WANT(!guest_info(g).quarantined);
		return true;
	}
	nr_failed++;
	if (guest_info(g).quarantined) {
		WANT(r == -ENOTRECOVERABLE && *guest_info(g).reason);
		nr_quarantined++;
	} else {
		WANT(r == -ENOMEM && pfnbuf_last_error_record()->code == -ENOMEM);
		guest_assert_view(g, before);
		if (before == AS_SHARED)
			guest_assert_as_before(g);
	}
	return false;
}

static bool run_starved(const char *profile, unsigned which, size_t n)
{
	static step_fn *const steps[] = { pfnbuf_bind_lock, pfnbuf_bind_run, pfnbuf_bind_unlock };
	static const enum view before[] = { AS_SHARED, AS_SHARED, AS_REPORTED };
	static const enum view after[] = { AS_NOTHING, AS_REPORTED, AS_SHARED };
	struct guest g;
	bool done;

	init(&g, profile);
	if (which > 0) {
		SUCCEEDS(pfnbuf_bind_lock(g.bind));
		SUCCEEDS(guest_start(&g));
	}
	if (which > 1)
		SUCCEEDS(pfnbuf_bind_run(g.bind));
	done = starved(&g, steps[which], n, before[which], after[which]);
	guest_fini(&g);
	return done;
}

/* A step that is done although an allocation failed has allocated for its journal only. */
#define MANY 120

static void on_each(void)
{

	nr_failed = nr_quarantined = 0;
	for (size_t i = 0; i < 3; i++)
		for (unsigned which = 0; which < 3; which++) {
			unsigned done = 0;

			for (size_t n = 0; n < MANY; n++)
				done += run_starved(guest_profiles[i], which, n);
			/* In the end nothing was short. */
			WANT(done > 0 && (done < MANY || starve == starve_at));
		}
	print_message("failed %u times, of which quarantined %u\n", nr_failed, nr_quarantined);
}

static void test_starved(void **state)
{
	(void)state;
	starve = starve_from;
	on_each();
	WANT(nr_failed > nr_quarantined);
}

static void test_one_allocation(void **state)
{
	(void)state;
	starve = starve_at;
	on_each();
	WANT(nr_failed && !nr_quarantined);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_starved),
		cmocka_unit_test(test_one_allocation),
	};

	return cmocka_run_group_tests_name("bind without memory", tests, NULL, NULL);
}
