/* SPDX-License-Identifier: MIT */
/*
 * Completions that the kernel drops where the ring is full and it has no memory: taken out of the
 * ring here, and counted as the kernel counts them, so that nobody has to run out of memory.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Its ring is nobody else's business. NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "libpfnbuf/engine_uring.c"

struct source {
	struct pfnbuf_watch watch;
	unsigned heard;
};

static void hear(struct pfnbuf_watch *watch)
{
	pfnbuf_container_of(watch, struct source, watch)->heard++;
}

static struct pfnbuf_engine *new_engine(void)
{
	struct pfnbuf_engine *engine;
	int r = pfnbuf_engine_new_uring(pfnbuf_kernel_running(), &engine);

	if (r == -EOPNOTSUPP || r == -EPERM) {
		print_message("skipped: %s\n", pfnbuf_last_error());
		skip();
	}
	assert_int_equal(r, 0);
	return engine;
}

#ifdef PFNBUF_HAVE_URING

static void open_source(struct pfnbuf_engine *engine, struct source *source)
{
	*source = (struct source){ .watch.ready = hear };
	source->watch.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(source->watch.fd >= 0);
	assert_int_equal(engine->ops->add(engine, &source->watch), 0);
}

static void close_source(struct pfnbuf_engine *engine, struct source *source)
{
	engine->ops->del(engine, &source->watch);
	close(source->watch.fd);
}

/* A wake-up, or none within a moment. */
static bool dispatch(struct pfnbuf_engine *engine)
{
	struct pollfd p = { .fd = engine->fd, .events = POLLIN };

	if (poll(&p, 1, 20) != 1)
		return false;
	assert_int_equal(engine->ops->dispatch(engine), 0);
	engine->ops->drained(engine, false);
	return true;
}

static void dispatch_all(struct pfnbuf_engine *engine)
{
	for (int i = 0; dispatch(engine); i++)
		assert_true(i < 100);
}

/* Each signal from now on is heard. */
static void hears(struct pfnbuf_engine *engine, struct source *source)
{
	for (int i = 0; i < 10; i++) {
		const unsigned before = source->heard;

		assert_int_equal(eventfd_write(source->watch.fd, 1), 0);
		dispatch_all(engine);
		assert_int_equal(source->heard, before + 1);
	}
}

/* The kernel ends a poll, and its last completion finds neither room nor memory. */
static void end_unheard(struct pfnbuf_engine *engine, struct poll *poll)
{
	struct uring *u = uring_of(engine);
	struct io_uring_cqe *cqe;

	dispatch_all(engine);
	cancel(u, data_of(poll));
	assert_int_equal(io_uring_wait_cqe(&u->ring, &cqe), 0);
	assert_ptr_equal(poll_of_data(io_uring_cqe_get_data64(cqe)), poll);
	assert_false(cqe->flags & IORING_CQE_F_MORE);
	io_uring_cqe_seen(&u->ring, cqe);
	assert_int_equal(io_uring_cq_ready(&u->ring), 0);
	__atomic_add_fetch(u->ring.cq.koverflow, 1, __ATOMIC_SEQ_CST);
}

static unsigned count_polls(struct pfnbuf_engine *engine)
{
	const struct pfnbuf_link *polls = &uring_of(engine)->polls;
	unsigned n = 0;

	for (const struct pfnbuf_link *l = polls->next; l != polls; l = l->next)
		n++;
	return n;
}

/* What was signalled since is heard with whatever is next, and then each signal. */
static void a_poll_that_ended_unheard_is_armed_again(void **state)
{
	struct pfnbuf_engine *engine = new_engine();
	struct source a, b;

	(void)state;
	open_source(engine, &a);
	open_source(engine, &b);
	hears(engine, &a);
	hears(engine, &b);
	for (int i = 0; i < 20; i++) {
		a.heard = b.heard = 0;
		end_unheard(engine, a.watch.poll);
		assert_int_equal(eventfd_write(a.watch.fd, 1), 0);
		assert_false(dispatch(engine));
		assert_int_equal(eventfd_write(b.watch.fd, 1), 0);
		dispatch_all(engine);
		assert_in_range(a.heard, 1, 2);
		assert_in_range(b.heard, 1, 2);
		hears(engine, &a);
		hears(engine, &b);
	}
	close_source(engine, &a);
	close_source(engine, &b);
	dispatch_all(engine);
	/* That of a, whose last completion could still come. */
	assert_int_equal(count_polls(engine), 1);
	engine->ops->free(engine);
}

/* A completion that carries this. */
static void complete(struct pfnbuf_engine *engine, uint64_t data)
{
	struct io_uring *ring = &uring_of(engine)->ring;
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	assert_non_null(sqe);
	io_uring_prep_nop(sqe);
	io_uring_sqe_set_data64(sqe, data);
	assert_int_equal(io_uring_submit(ring), 1);
	dispatch_all(engine);
}

/* The last completion was on its way: it comes when it is not waited for any more. */
static void a_straggler_does_no_harm(void **state)
{
	struct pfnbuf_engine *engine = new_engine();
	struct source a, b;
	uint64_t data;

	(void)state;
	open_source(engine, &a);
	open_source(engine, &b);
	data = data_of(a.watch.poll);
	end_unheard(engine, a.watch.poll);
	hears(engine, &b);
	hears(engine, &a);
	complete(engine, data);
	hears(engine, &a);
	close_source(engine, &a);
	complete(engine, data);
	hears(engine, &b);
	close_source(engine, &b);
	engine->ops->free(engine);
}

/* A watch has ended, and then its poll, of which nobody hears: it goes with the engine. */
static void a_poll_that_nobody_wants_is_left_alone(void **state)
{
	struct pfnbuf_engine *engine = new_engine();
	struct source a, b;
	struct poll *left;

	(void)state;
	open_source(engine, &a);
	open_source(engine, &b);
	hears(engine, &a);
	left = a.watch.poll;
	end_unheard(engine, left);
	left->watch = NULL;
	close(a.watch.fd);
	hears(engine, &b);
	hears(engine, &b);
	assert_true(left->was_given_up && pfnbuf_list_is_empty(&left->noted));
	close_source(engine, &b);
	engine->ops->free(engine);
}

/* A full ring is no loss: the kernel keeps what finds no room, while it has the memory. */
static void a_full_ring_loses_nothing(void **state)
{
	enum { NR_SOURCES = 4, NR_SIGNALS = CQ_ENTRIES };
	struct pfnbuf_engine *engine = new_engine();
	struct source sources[NR_SOURCES];

	(void)state;
	for (int i = 0; i < NR_SOURCES; i++)
		open_source(engine, &sources[i]);
	for (int k = 0; k < NR_SIGNALS; k++)
		for (int i = 0; i < NR_SOURCES; i++)
			assert_int_equal(eventfd_write(sources[i].watch.fd, 1), 0);
	/* One that there was no memory for all the same. */
	__atomic_add_fetch(uring_of(engine)->ring.cq.koverflow, 1, __ATOMIC_SEQ_CST);
	dispatch_all(engine);
	for (int i = 0; i < NR_SOURCES; i++) {
		assert_in_range(sources[i].heard, 1, NR_SIGNALS);
		hears(engine, &sources[i]);
	}
	for (int i = 0; i < NR_SOURCES; i++)
		close_source(engine, &sources[i]);
	dispatch_all(engine);
	assert_int_equal(count_polls(engine), 0);
	engine->ops->free(engine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_poll_that_ended_unheard_is_armed_again),
		cmocka_unit_test(a_straggler_does_no_harm),
		cmocka_unit_test(a_poll_that_nobody_wants_is_left_alone),
		cmocka_unit_test(a_full_ring_loses_nothing),
	};

	return cmocka_run_group_tests_name("dropped completions", tests, NULL, NULL);
}

#else

static void without_liburing(void **state)
{
	(void)state;
	(void)new_engine();
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(without_liburing) };

	return cmocka_run_group_tests_name("dropped completions", tests, NULL, NULL);
}

#endif
