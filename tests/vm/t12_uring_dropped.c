/* SPDX-License-Identifier: MIT */
/*
 * io_uring drops the last completion of a poll on real Linux: the ring is full, and failslab refuses
 * what would keep it. The source is heard again all the same.
 */
#include "vmtest.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "libpfnbuf/private.h"

#define FAILSLAB "/sys/kernel/debug/failslab/"
#define SIGNALS	 600 /* more than the ring has room for */

struct source {
	struct pfnbuf_watch watch;
	unsigned heard;
};

static void hear(struct pfnbuf_watch *watch)
{
	pfnbuf_container_of(watch, struct source, watch)->heard++;
}

static void open_source(struct pfnbuf_engine *engine, struct source *source)
{
	*source = (struct source){ .watch.ready = hear };
	source->watch.fd = check_ok(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
	check_eq(engine->ops->add(engine, &source->watch), 0);
}

static void signal_source(const struct source *source)
{
	check_eq(eventfd_write(source->watch.fd, 1), 0);
}

static void dispatch_all(struct pfnbuf_engine *engine)
{
	for (int i = 0; vmtest_readable(engine->fd, 50); i++) {
		check(i < 100);
		check_eq(engine->ops->dispatch(engine), 0);
		engine->ops->drained(engine, false);
	}
}

static void hears(struct pfnbuf_engine *engine, struct source *source)
{
	for (int i = 0; i < 5; i++) {
		const unsigned before = source->heard;

		signal_source(source);
		dispatch_all(engine);
		check_eq(source->heard, before + 1);
	}
}

/* Every allocation of this thread that may not wait fails, or none does any more. */
static void fail_allocations(int on)
{
	check_eq(vmtest_write_file(FAILSLAB "task-filter", "1"), 0);
	check_eq(vmtest_write_file(FAILSLAB "probability", on ? "100" : "0"), 0);
	check_eq(vmtest_write_file(FAILSLAB "times", "-1"), 0);
	check_eq(vmtest_write_file(FAILSLAB "verbose", "0"), 0);
	check_eq(vmtest_write_file("/proc/self/make-it-fail", on ? "1" : "0"), 0);
}

static void dropped(void)
{
	struct pfnbuf_engine *engine = NULL;
	struct source a, b;

	check_eq(pfnbuf_engine_new_uring(pfnbuf_kernel_running(), &engine), 0);
	open_source(engine, &a);
	open_source(engine, &b);
	hears(engine, &a);
	hears(engine, &b);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < SIGNALS; i++) {
			if (i == SIGNALS - 90)
				fail_allocations(1);
			signal_source(&a);
		}
		fail_allocations(0);
		a.heard = 0;
		dispatch_all(engine);
		check(a.heard >= 1);
		hears(engine, &a);
		hears(engine, &b);
	}
	engine->ops->del(engine, &a.watch);
	engine->ops->del(engine, &b.watch);
	engine->ops->free(engine);
	close(a.watch.fd);
	close(b.watch.fd);
}

int main(void)
{
	static const struct vmtest tests[] = { { "uring_dropped", dropped } };

	return vmtest_main(tests, sizeof(tests) / sizeof(*tests));
}
