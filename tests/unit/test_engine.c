/* SPDX-License-Identifier: MIT */
/* The event queue over each wait engine: the same tests for both, on real eventfds. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "libpfnbuf/private.h"

struct source {
	struct pfnbuf_watch watch;
	struct pfnbuf_ctx *ctx;
};

static void announce(struct pfnbuf_watch *watch)
{
	struct source *source = pfnbuf_container_of(watch, struct source, watch);
	const struct pfnbuf_event event = { .type = PFNBUF_EVENT_REMOVAL_REQUEST, .user = source };

	pfnbuf_ctx_push_event(source->ctx, &event, true);
}

static struct pfnbuf_ctx *new_ctx(void **state, uint32_t max_events)
{
	const struct pfnbuf_ctx_opts opts = {
		.size = sizeof(opts),
		.engine = *(enum pfnbuf_engine_kind *)*state,
		.max_events = max_events,
	};
	struct pfnbuf_ctx *ctx;
	int r = pfnbuf_ctx_new(&ctx, &opts);

	if (r == -EOPNOTSUPP || r == -EPERM) {
		print_message("skipped: %s\n", pfnbuf_last_error());
		skip();
	}
	assert_int_equal(r, 0);
	return ctx;
}

static void open_source(struct pfnbuf_ctx *ctx, struct source *source)
{
	*source = (struct source){ .ctx = ctx, .watch.ready = announce };
	source->watch.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(source->watch.fd >= 0);
	assert_int_equal(pfnbuf_ctx_watch(ctx, &source->watch), 0);
}

static void close_source(struct source *source)
{
	pfnbuf_ctx_unwatch(source->ctx, &source->watch);
	close(source->watch.fd);
}

static void signal_source(const struct source *source)
{
	assert_int_equal(eventfd_write(source->watch.fd, 1), 0);
}

/* Waits a moment for what io_uring does behind the back; 0 says that it stays silent. */
static int readable(const struct pfnbuf_ctx *ctx, int timeout_ms)
{
	struct pollfd p = { .fd = pfnbuf_ctx_get_fd(ctx), .events = POLLIN };

	return poll(&p, 1, timeout_ms);
}

static unsigned drain(struct pfnbuf_ctx *ctx)
{
	struct pfnbuf_event event;
	unsigned n = 0;

	assert_int_equal(pfnbuf_ctx_dispatch(ctx), 0);
	while (pfnbuf_ctx_pop_event(ctx, &event))
		n++;
	return n;
}

static void push(struct pfnbuf_ctx *ctx, uint64_t generation)
{
	const struct pfnbuf_event event = { .type = PFNBUF_EVENT_REVOKED,
					    .generation = generation };

	pfnbuf_ctx_push_event(ctx, &event, false);
}

static void a_new_context_is_silent(void **state)
{
	struct pfnbuf_ctx *ctx = new_ctx(state, 0);

	assert_int_equal(readable(ctx, 0), 0);
	assert_int_equal(drain(ctx), 0);
	assert_null(pfnbuf_ctx_free(ctx));
}

static void a_signal_is_one_event(void **state)
{
	struct pfnbuf_ctx *ctx = new_ctx(state, 0);
	struct pfnbuf_event event;
	struct source source;

	open_source(ctx, &source);
	for (int i = 0; i < 200; i++) {
		signal_source(&source);
		assert_int_equal(readable(ctx, 1000), 1);
		assert_int_equal(pfnbuf_ctx_dispatch(ctx), 0);
		assert_int_equal(pfnbuf_ctx_pop_event(ctx, &event), 1);
		assert_int_equal(event.type, PFNBUF_EVENT_REMOVAL_REQUEST);
		assert_ptr_equal(event.user, &source);
		assert_int_equal(event.seq, i + 1);
		assert_int_equal(pfnbuf_ctx_pop_event(ctx, &event), 0);
		assert_int_equal(readable(ctx, 0), 0);
	}
	close_source(&source);
	pfnbuf_ctx_free(ctx);
}

static void it_stays_readable_until_the_last_event_is_popped(void **state)
{
	struct pfnbuf_ctx *ctx = new_ctx(state, 0);
	struct source sources[3];
	struct pfnbuf_event event;

	for (int i = 0; i < 3; i++)
		open_source(ctx, &sources[i]);
	for (int i = 0; i < 3; i++)
		signal_source(&sources[i]);
	for (int left = 3; left > 0; left--) {
		assert_int_equal(readable(ctx, 1000), 1);
		assert_int_equal(pfnbuf_ctx_dispatch(ctx), 0);
		assert_int_equal(pfnbuf_ctx_pop_event(ctx, &event), 1);
	}
	assert_int_equal(drain(ctx), 0);
	assert_int_equal(readable(ctx, 0), 0);
	for (int i = 0; i < 3; i++)
		close_source(&sources[i]);
	pfnbuf_ctx_free(ctx);
}

static void a_second_signal_before_the_pop_is_not_lost(void **state)
{
	struct pfnbuf_ctx *ctx = new_ctx(state, 0);
	struct source source;

	open_source(ctx, &source);
	signal_source(&source);
	assert_int_equal(readable(ctx, 1000), 1);
	assert_int_equal(pfnbuf_ctx_dispatch(ctx), 0);
	signal_source(&source);
	assert_true(drain(ctx) >= 1);
	if (readable(ctx, 100) == 1)
		assert_int_equal(drain(ctx), 1);
	assert_int_equal(readable(ctx, 0), 0);
	close_source(&source);
	pfnbuf_ctx_free(ctx);
}

static void an_event_of_the_library_itself_makes_it_readable(void **state)
{
	struct pfnbuf_ctx *ctx = new_ctx(state, 0);
	struct pfnbuf_event event;

	for (uint64_t i = 1; i <= 100; i++) {
		push(ctx, i);
		push(ctx, i);
		assert_int_equal(readable(ctx, 1000), 1);
		assert_int_equal(pfnbuf_ctx_pop_event(ctx, &event), 1);
		assert_int_equal(readable(ctx, 0), 1);
		assert_int_equal(pfnbuf_ctx_pop_event(ctx, &event), 1);
		assert_int_equal(event.generation, i);
		/* Popped without a dispatch: at most one empty wake-up is left, which a dispatch ends. */
		assert_int_equal(drain(ctx), 0);
		assert_int_equal(readable(ctx, 0), 0);
	}
	pfnbuf_ctx_free(ctx);
}

static void a_loss_is_told_where_it_was(void **state)
{
	struct pfnbuf_ctx *ctx = new_ctx(state, 2);
	struct pfnbuf_event event;

	for (uint64_t i = 1; i <= 5; i++)
		push(ctx, i);
	assert_int_equal(pfnbuf_ctx_pop_event(ctx, &event), 1);
	assert_int_equal(event.seq, 1);
	push(ctx, 6);
	assert_int_equal(pfnbuf_ctx_pop_event(ctx, &event), 1);
	assert_int_equal(event.seq, 2);
	assert_int_equal(pfnbuf_ctx_pop_event(ctx, &event), 1);
	assert_int_equal(event.type, PFNBUF_EVENT_LOST);
	assert_int_equal(event.count, 4);
	push(ctx, 7);
	assert_int_equal(pfnbuf_ctx_pop_event(ctx, &event), 1);
	assert_int_equal(event.seq, 7);
	assert_int_equal(event.generation, 7);
	assert_int_equal(pfnbuf_ctx_pop_event(ctx, &event), 0);
	pfnbuf_ctx_free(ctx);
}

static void an_unwatched_source_is_never_heard_again(void **state)
{
	struct pfnbuf_ctx *ctx = new_ctx(state, 0);
	struct source source;

	for (int i = 0; i < 50; i++) {
		open_source(ctx, &source);
		signal_source(&source);
		close_source(&source);
		/* The record is gone with the source: touching it is what the sanitizers look for. */
		memset(&source, 0xa5, sizeof(source));
		assert_int_equal(drain(ctx), 0);
	}
	assert_int_equal(readable(ctx, 0), 0);
	pfnbuf_ctx_free(ctx);
}

static void *watch_and_leave(void *arg)
{
	struct source *source = arg;

	return pfnbuf_ctx_watch(source->ctx, &source->watch) < 0 ? arg : NULL;
}

static void a_source_outlives_the_thread_that_watched_it(void **state)
{
	struct pfnbuf_ctx *ctx = new_ctx(state, 0);
	struct source source = { .ctx = ctx, .watch.ready = announce };
	pthread_t thread;
	void *failed;

	source.watch.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(pthread_create(&thread, NULL, watch_and_leave, &source), 0);
	pthread_join(thread, &failed);
	assert_null(failed);
	drain(ctx);
	usleep(10000);
	drain(ctx);
	signal_source(&source);
	assert_int_equal(readable(ctx, 1000), 1);
	assert_int_equal(drain(ctx), 1);
	close_source(&source);
	pfnbuf_ctx_free(ctx);
}

/* Watches a source, and goes away when told to. */
struct armer {
	struct source *source;
	int done; /* an eventfd */
};

static void *watch_and_wait(void *arg)
{
	const struct armer *armer = arg;
	eventfd_t value;

	if (pfnbuf_ctx_watch(armer->source->ctx, &armer->source->watch) < 0)
		return arg;
	return eventfd_read(armer->done, &value) < 0 ? arg : NULL;
}

/*
 * Signals that came together before the thread ended that watched are one event, or two; those after
 * it are not lost, and then each is heard.
 */
static void signals_together_outlive_the_thread_that_watched(void **state)
{
	struct pfnbuf_ctx *ctx = new_ctx(state, 0);

	for (int i = 0; i < 20; i++) {
		struct source source = { .ctx = ctx, .watch.ready = announce };
		struct armer armer = { &source, eventfd(0, EFD_CLOEXEC) };
		pthread_t thread;
		void *failed;
		unsigned n;

		source.watch.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		assert_int_equal(eventfd_write(source.watch.fd, 5), 0);
		assert_int_equal(pthread_create(&thread, NULL, watch_and_wait, &armer), 0);
		assert_int_equal(readable(ctx, 10000), 1);
		assert_int_equal(drain(ctx), 1);
		if (i & 1)
			assert_int_equal(eventfd_write(source.watch.fd, 3), 0);
		assert_int_equal(eventfd_write(armer.done, 1), 0);
		pthread_join(thread, &failed);
		assert_null(failed);
		signal_source(&source);
		assert_int_equal(readable(ctx, 10000), 1);
		n = drain(ctx);
		while (readable(ctx, 20) == 1)
			n += drain(ctx);
		assert_in_range(n, 1, 3);
		signal_source(&source);
		assert_int_equal(readable(ctx, 10000), 1);
		assert_int_equal(drain(ctx), 1);
		assert_int_equal(readable(ctx, 0), 0);
		close_source(&source);
		/* That a watch ended wakes once, too. */
		assert_int_equal(drain(ctx), 0);
		close(armer.done);
	}
	pfnbuf_ctx_free(ctx);
}

/*
 * A watch that another thread began ends at once, and its memory with it, though the kernel tells of
 * its end only when that thread runs: touching it is what the sanitizers look for.
 */
static void a_source_ends_while_another_thread_has_it_armed(void **state)
{
	struct pfnbuf_ctx *ctx = new_ctx(state, 0);

	for (int i = 0; i < 200; i++) {
		struct source *source = calloc(1, sizeof(*source));
		struct armer armer = { source, eventfd(0, EFD_CLOEXEC) };
		pthread_t thread;
		void *failed;

		assert_non_null(source);
		source->ctx = ctx;
		source->watch.ready = announce;
		source->watch.fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
		assert_int_equal(pthread_create(&thread, NULL, watch_and_wait, &armer), 0);
		assert_int_equal(readable(ctx, 10000), 1);
		close_source(source);
		free(source);
		drain(ctx);
		assert_int_equal(eventfd_write(armer.done, 1), 0);
		pthread_join(thread, &failed);
		assert_null(failed);
		while (readable(ctx, 0) == 1)
			assert_int_equal(drain(ctx), 0);
		close(armer.done);
	}
	pfnbuf_ctx_free(ctx);
}

/* More completions than the ring has room for, none of them taken before sources end. */
static void nothing_of_an_ended_source_waits_behind_a_full_ring(void **state)
{
	enum { NR_SOURCES = 20, NR_SIGNALS = 100 };
	struct pfnbuf_ctx *ctx = new_ctx(state, 0);
	struct source *sources = calloc(NR_SOURCES, sizeof(*sources)), last;
	unsigned seen = 0;

	assert_non_null(sources);
	open_source(ctx, &last);
	for (int i = 0; i < NR_SOURCES; i++)
		open_source(ctx, &sources[i]);
	for (int k = 0; k < NR_SIGNALS; k++)
		for (int i = 0; i < NR_SOURCES; i++)
			signal_source(&sources[i]);
	signal_source(&last);
	for (int i = 0; i < NR_SOURCES; i++)
		close_source(&sources[i]);
	free(sources);
	assert_int_equal(readable(ctx, 10000), 1);
	while (readable(ctx, 20) == 1)
		seen += drain(ctx);
	assert_in_range(seen, 1, 2);
	signal_source(&last);
	assert_int_equal(readable(ctx, 10000), 1);
	assert_int_equal(drain(ctx), 1);
	close_source(&last);
	pfnbuf_ctx_free(ctx);
}

#define NR_PUSHED 20000

static void *push_many(void *arg)
{
	for (uint64_t i = 1; i <= NR_PUSHED; i++)
		push(arg, i);
	return NULL;
}

/* A wake-up that were lost between a push and the fall into silence would end this in a timeout. */
static void no_wakeup_is_lost_to_another_thread(void **state)
{
	struct pfnbuf_ctx *ctx = new_ctx(state, 64);
	struct pfnbuf_event event;
	uint64_t seen = 0;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, push_many, ctx), 0);
	while (seen < NR_PUSHED) {
		assert_int_equal(readable(ctx, 10000), 1);
		assert_int_equal(pfnbuf_ctx_dispatch(ctx), 0);
		while (pfnbuf_ctx_pop_event(ctx, &event))
			seen += event.type == PFNBUF_EVENT_LOST ? event.count : 1;
	}
	pthread_join(thread, NULL);
	assert_int_equal(seen, NR_PUSHED);
	assert_int_equal(drain(ctx), 0);
	assert_int_equal(readable(ctx, 0), 0);
	pfnbuf_ctx_free(ctx);
}

static void more_sources_than_one_batch(void **state)
{
	enum { NR_SOURCES = 200 };
	struct pfnbuf_ctx *ctx = new_ctx(state, 0);
	struct source sources[NR_SOURCES];
	unsigned seen = 0;

	for (int i = 0; i < NR_SOURCES; i++)
		open_source(ctx, &sources[i]);
	for (int i = 0; i < NR_SOURCES; i++)
		signal_source(&sources[i]);
	while (readable(ctx, 100) == 1)
		seen += drain(ctx);
	assert_int_equal(seen, NR_SOURCES);
	for (int i = 0; i < NR_SOURCES; i++)
		close_source(&sources[i]);
	pfnbuf_ctx_free(ctx);
}

#define OVER(engine, test)                                                                         \
	{                                                                                          \
#test " (" #engine ")", test, NULL, NULL, &engine                                  \
	}
#define OVER_BOTH(test) OVER(epoll, test), OVER(io_uring, test)

int main(void)
{
	static enum pfnbuf_engine_kind epoll = PFNBUF_ENGINE_EPOLL, io_uring = PFNBUF_ENGINE_URING;
	const struct CMUnitTest tests[] = {
		OVER_BOTH(a_new_context_is_silent),
		OVER_BOTH(a_signal_is_one_event),
		OVER_BOTH(it_stays_readable_until_the_last_event_is_popped),
		OVER_BOTH(a_second_signal_before_the_pop_is_not_lost),
		OVER_BOTH(an_event_of_the_library_itself_makes_it_readable),
		OVER_BOTH(a_loss_is_told_where_it_was),
		OVER_BOTH(an_unwatched_source_is_never_heard_again),
		OVER_BOTH(a_source_outlives_the_thread_that_watched_it),
		OVER_BOTH(signals_together_outlive_the_thread_that_watched),
		OVER_BOTH(a_source_ends_while_another_thread_has_it_armed),
		OVER_BOTH(nothing_of_an_ended_source_waits_behind_a_full_ring),
		OVER_BOTH(no_wakeup_is_lost_to_another_thread),
		OVER_BOTH(more_sources_than_one_batch),
	};

	return cmocka_run_group_tests_name("engines", tests, NULL, NULL);
}
