/* SPDX-License-Identifier: MIT */
/*
 * What waiting costs: events a second through a context over those of a bare loop of epoll_wait(2)
 * and read(2) on the same eventfds. Both loops wait in an epoll set of their own, as a monitor does.
 *
 * The load is a burst, one signal on each source, from a thread on another processor, as interrupts
 * come from elsewhere while a monitor waits. The figures are by the processor time of the thread that
 * waits: it is what a monitor has less of for other things, and what else the machine does is not in
 * it. Those that end in _with_signals count the processor time of the signalling thread, too, into
 * which part of the work moves. On _one_cpu the two threads share a processor, so that the first
 * signal of a burst wakes the one that waits before there is a second.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench.h"
#include "bench_events.h"
#include "libpfnbuf/private.h"

#define MAX_SOURCES 64
#define EVENTS	    4000 /* a round, … */
#define WAKEUPS	    250	 /* … or so many bursts, where that is fewer */
#define ROUNDS	    31

struct source {
	struct pfnbuf_watch watch;
	struct pfnbuf_ctx *ctx;
};

struct load {
	const char *name;
	unsigned n;   /* sources */
	unsigned cpu; /* of the thread that signals; the other is on 0 */
};

struct bench {
	struct source sources[MAX_SOURCES];
	unsigned n;
	int set;		/* the monitor's own */
	struct pfnbuf_ctx *ctx; /* NULL: the bare loop */
	pthread_t signaller;
	sem_t burst;
	bool ends;
};

/* The processors of this process, in turn; the thread keeps to the one that it gets. */
static void settle(pthread_t thread, unsigned nth)
{
	static cpu_set_t all;
	cpu_set_t one;
	unsigned cpu = 0;

	if (!CPU_COUNT(&all))
		sched_getaffinity(0, sizeof(all), &all);
	nth %= (unsigned)CPU_COUNT(&all);
	while (!CPU_ISSET(cpu, &all) || nth--)
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	pthread_setaffinity_np(thread, sizeof(one), &one);
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

	CHECK(epoll_ctl(b->set, EPOLL_CTL_ADD, fd, &event));
}

static void *signal_bursts(void *arg)
{
	struct bench *b = arg;

	for (;;) {
		sem_wait(&b->burst);
		if (b->ends)
			return NULL;
		for (unsigned i = 0; i < b->n; i++)
			eventfd_write(b->sources[i].watch.fd, 1);
	}
}

static void bench_open(struct bench *b, struct pfnbuf_ctx *ctx, const struct load *load)
{
	*b = (struct bench){ .n = load->n, .ctx = ctx, .set = epoll_create1(EPOLL_CLOEXEC) };
	for (unsigned i = 0; i < b->n; i++) {
		struct source *s = &b->sources[i];

		s->ctx = ctx;
		s->watch.ready = announce;
		s->watch.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (ctx)
			CHECK(pfnbuf_ctx_watch(ctx, &s->watch));
		else
			add(b, s->watch.fd, s);
	}
	if (ctx)
		add(b, pfnbuf_ctx_get_fd(ctx), ctx);
	sem_init(&b->burst, 0, 0);
	pthread_create(&b->signaller, NULL, signal_bursts, b);
	settle(b->signaller, load->cpu);
}

static void bench_close(struct bench *b)
{
	b->ends = true;
	sem_post(&b->burst);
	pthread_join(b->signaller, NULL);
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

	CHECK(pfnbuf_ctx_dispatch(ctx));
	while (pfnbuf_ctx_pop_event(ctx, &event))
		taken++;
	return taken;
}

static void wake_up_once(struct bench *b)
{
	struct epoll_event events[MAX_SOURCES];

	sem_post(&b->burst);
	for (unsigned taken = 0; taken < b->n;) {
		int ready = epoll_wait(b->set, events, MAX_SOURCES, -1);

		/* io_uring interrupts the thread that it has work for. */
		if (ready < 0)
			continue;
		taken += b->ctx ? take_events(b->ctx) : take_bare(events, ready);
	}
}

/* Processor time of the thread that waits, and of both. */
struct cost {
	double thread;
	double process;
};

static struct cost run(struct bench *b)
{
	const double thread = seconds(CLOCK_THREAD_CPUTIME_ID);
	const double process = seconds(CLOCK_PROCESS_CPUTIME_ID);

	for (unsigned i = 0; i < WAKEUPS && i < EVENTS / b->n; i++)
		wake_up_once(b);
	return (struct cost){ seconds(CLOCK_THREAD_CPUTIME_ID) - thread,
			      seconds(CLOCK_PROCESS_CPUTIME_ID) - process };
}

/* Rounds take turns, so that what else the machine does meets both; the median counts. */
static struct cost compare(struct bench *bare, struct bench *ours)
{
	double thread[ROUNDS], process[ROUNDS];

	run(bare);
	run(ours);
	for (unsigned i = 0; i < ROUNDS; i++) {
		const struct cost a = run(bare), b = run(ours);

		thread[i] = a.thread / b.thread;
		process[i] = a.process / b.process;
	}
	return (struct cost){ median(thread, ROUNDS), median(process, ROUNDS) };
}

static void measure(const char *name, const struct load *load, enum pfnbuf_engine_kind engine)
{
	const struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .engine = engine };
	struct bench bare, ours;
	struct pfnbuf_ctx *ctx;
	struct cost ratio;

	if (pfnbuf_ctx_new(&ctx, &opts) < 0) {
		fprintf(stderr, "events by %s: left out: %s\n", name, pfnbuf_last_error());
		return;
	}
	bench_open(&bare, NULL, load);
	bench_open(&ours, ctx, load);
	ratio = compare(&bare, &ours);
	printf("window.%s_events_over_loop%s %.3f\n", name, load->name, ratio.thread);
	printf("window.%s_events_over_loop%s_with_signals %.3f\n", name, load->name, ratio.process);
	bench_close(&ours);
	bench_close(&bare);
	pfnbuf_ctx_free(ctx);
}

void bench_events(void)
{
	static const struct load loads[] = {
		{ "", 16, 1 },
		{ "_64_sources", 64, 1 },
		{ "_1_source", 1, 1 },
		{ "_one_cpu", 16, 0 },
	};

	settle(pthread_self(), 0);
	for (size_t i = 0; i < sizeof(loads) / sizeof(*loads); i++) {
		measure("epoll", &loads[i], PFNBUF_ENGINE_EPOLL);
		measure("uring", &loads[i], PFNBUF_ENGINE_URING);
	}
}
