/* SPDX-License-Identifier: MIT */
/*
 * What waiting costs, a line for each figure: "events.<figure> <value>". Events a second through a
 * context, over those of a bare loop of epoll_wait(2) and read(2) on the same eventfds. Both loops wait
 * in an epoll set of their own, as a monitor does; signalling is part of both.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "libpfnbuf/private.h"

#define MAX_SOURCES 16
#define WAKEUPS	    2000
#define ROUNDS	    31

struct source {
	struct pfnbuf_watch watch;
	struct pfnbuf_ctx *ctx;
};

struct bench {
	struct source sources[MAX_SOURCES];
	unsigned n;
	int set;		/* the monitor's own */
	struct pfnbuf_ctx *ctx; /* NULL: the bare loop */
};

static void must(int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "%s\n", pfnbuf_last_error());
	exit(1);
}

static void announce(struct pfnbuf_watch *watch)
{
	struct source *source = pfnbuf_container_of(watch, struct source, watch);
	const struct pfnbuf_event event = { .type = PFNBUF_EVENT_DEVICE_ERROR };

	pfnbuf_ctx_push_event(source->ctx, &event, true);
}

static void add(struct bench *b, int fd, void *what)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = what };

	must(epoll_ctl(b->set, EPOLL_CTL_ADD, fd, &event));
}

static void bench_open(struct bench *b, struct pfnbuf_ctx *ctx, unsigned n)
{
	*b = (struct bench){ .n = n, .ctx = ctx, .set = epoll_create1(EPOLL_CLOEXEC) };
	for (unsigned i = 0; i < n; i++) {
		struct source *s = &b->sources[i];

		s->ctx = ctx;
		s->watch.ready = announce;
		s->watch.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (ctx)
			must(pfnbuf_ctx_watch(ctx, &s->watch));
		else
			add(b, s->watch.fd, s);
	}
	if (ctx)
		add(b, pfnbuf_ctx_get_fd(ctx), ctx);
}

static void bench_close(struct bench *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		if (b->ctx)
			pfnbuf_ctx_unwatch(b->ctx, &b->sources[i].watch);
		close(b->sources[i].watch.fd);
	}
	close(b->set);
}

static unsigned take_bare(const struct epoll_event *events, int ready)
{
	unsigned taken = 0;

	for (int i = 0; i < ready; i++) {
		const struct source *s = events[i].data.ptr;
		uint64_t count;

		taken += read(s->watch.fd, &count, sizeof(count)) == sizeof(count);
	}
	return taken;
}

static unsigned take_events(struct pfnbuf_ctx *ctx)
{
	struct pfnbuf_event event;
	unsigned taken = 0;

	must(pfnbuf_ctx_dispatch(ctx));
	while (pfnbuf_ctx_pop_event(ctx, &event))
		taken++;
	return taken;
}

static void wake_up_once(struct bench *b)
{
	struct epoll_event events[MAX_SOURCES];

	for (unsigned i = 0; i < b->n; i++)
		eventfd_write(b->sources[i].watch.fd, 1);
	for (unsigned taken = 0; taken < b->n;) {
		int ready = epoll_wait(b->set, events, MAX_SOURCES, -1);

		taken += b->ctx ? take_events(b->ctx) : take_bare(events, ready);
	}
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double run(struct bench *b)
{
	double start = seconds();

	for (unsigned i = 0; i < WAKEUPS; i++)
		wake_up_once(b);
	return seconds() - start;
}

static int ascending(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Rounds take turns, so that what else the machine does meets both; the median counts. */
static double compare(struct bench *bare, struct bench *ours)
{
	double ratios[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		double t = run(bare);

		ratios[i] = t / run(ours);
	}
	qsort(ratios, ROUNDS, sizeof(*ratios), ascending);
	return ratios[ROUNDS / 2];
}

static void measure(const char *name, enum pfnbuf_engine_kind engine, unsigned n)
{
	const struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .engine = engine };
	struct bench bare, ours;
	struct pfnbuf_ctx *ctx;

	if (pfnbuf_ctx_new(&ctx, &opts) < 0) {
		printf("# events.%s: %s\n", name, pfnbuf_last_error());
		return;
	}
	bench_open(&bare, NULL, n);
	bench_open(&ours, ctx, n);
	printf("events.%s %.3f\n", name, compare(&bare, &ours));
	bench_close(&ours);
	bench_close(&bare);
	pfnbuf_ctx_free(ctx);
}

int main(void)
{
	measure("epoll_over_loop", PFNBUF_ENGINE_EPOLL, MAX_SOURCES);
	measure("uring_over_loop", PFNBUF_ENGINE_URING, MAX_SOURCES);
	measure("epoll_over_loop_1_source", PFNBUF_ENGINE_EPOLL, 1);
	measure("uring_over_loop_1_source", PFNBUF_ENGINE_URING, 1);
	return 0;
}
