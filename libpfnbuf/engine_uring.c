/* SPDX-License-Identifier: MIT */
/*
 * The wait engine over io_uring: one multishot poll for each eventfd, so that a signal arrives as a
 * completion and a wake-up costs no system call at all. The eventfds are not read: each signal wakes
 * the poll, and a counter that only grows has room for 2^64 of them.
 *
 * A completion that was announced is left in the ring until it is digested: it keeps the ring's fd
 * readable. The ring is the one thing in the library that does not go through the door;
 * the fds it polls are real whatever kernel stands behind it.
 *
 * No IORING_SETUP_COOP_TASKRUN: the thread that armed a poll may be in a guest for long, and has to
 * be interrupted for others to hear of the signal. No IORING_SETUP_DEFER_TASKRUN, which is for rings
 * of one thread only: any thread may call.
 */
#include "private.h"

#ifdef PFNBUF_HAVE_URING
#include <liburing.h>
#include <poll.h>

#define SQ_ENTRIES 16
#define CQ_ENTRIES 512

/*
 * The poll of a watch, whose completions carry its address. It outlives the watch until its last
 * completion, which comes from the thread that armed it: a cancellation does not wait for that
 * (io_uring/poll.c:io_poll_cancel). One whose last completion was given up stays as long as the
 * engine: should it come after all, it carries the number of another arming.
 */
struct poll {
	struct pfnbuf_watch *watch; /* NULL: it ended */
	struct pfnbuf_link link;
	struct pfnbuf_link noted; /* what follows is to be dealt with at the next dispatch */
	bool is_signalled;
	bool has_ended;	 /* its last completion came: the kernel knows it no more */
	bool is_unknown; /* to the kernel, though its last completion has not come */
	bool was_given_up;
	unsigned arming; /* goes with the address, in the bits that this leaves free */
	uint64_t heard;	 /* completions since the counter was 0 */
};

struct uring {
	struct pfnbuf_engine engine;
	struct io_uring ring;
	struct pfnbuf_link polls;
	struct pfnbuf_link noted;
	struct pfnbuf_link
		round_end; /* among the noted, those of this dispatch are in front of it */
	unsigned kept;	   /* completions at the head of the ring that were noted: 1 or none */
	bool was_full;	   /* the ring, when completions were taken in */
	unsigned dropped;  /* completions, as far as that was dealt with */
};

/* Nothing is submitted with this. */
#define NOTHING UINT64_MAX

#define ARMINGS 8

static struct uring *uring_of(struct pfnbuf_engine *engine)
{
	return pfnbuf_container_of(engine, struct uring, engine);
}

static uint64_t data_of(const struct poll *poll)
{
	return (uintptr_t)poll + poll->arming;
}

/* The poll that a completion is of, or NULL. */
static struct poll *poll_of_data(uint64_t data)
{
	struct poll *poll = (struct poll *)(uintptr_t)(data / ARMINGS * ARMINGS);

	return poll && data == data_of(poll) ? poll : NULL;
}

/* Whether all was submitted. */
static int submit(struct uring *u)
{
	int r;

	do
		r = io_uring_submit(&u->ring);
	while (r == -EINTR);
	if (r < 0)
		return r;
	return io_uring_sq_ready(&u->ring) ? -EAGAIN : 0;
}

static struct io_uring_sqe *get_sqe(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (sqe || submit(u) < 0)
		return sqe;
	return io_uring_get_sqe(&u->ring);
}

/* What could not be submitted stays in the ring, and would be with the next: it becomes nothing. */
static int arm(struct uring *u, struct poll *poll)
{
	struct io_uring_sqe *sqe = get_sqe(u);
	int r;

	if (!sqe)
		return -EAGAIN;
	io_uring_prep_poll_multishot(sqe, poll->watch->fd, POLLIN);
	io_uring_sqe_set_data64(sqe, data_of(poll));
	r = submit(u);
	if (r < 0) {
		io_uring_prep_nop(sqe);
		io_uring_sqe_set_data64(sqe, 0);
		return r;
	}
	poll->has_ended = false;
	return 0;
}

static void end_poll(struct poll *poll)
{
	pfnbuf_list_del(&poll->link);
	pfnbuf_list_del(&poll->noted);
	free(poll);
}

/* Nobody wants it, and its last completion came. */
static void let_go(struct poll *poll)
{
	if (!poll->was_given_up)
		end_poll(poll);
}

static int uring_add(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch)
{
	struct uring *u = uring_of(engine);
	struct poll *poll = calloc(1, sizeof(*poll));
	int r;

	if (!poll)
		return pfnbuf_failed(-ENOMEM, "io_uring_submit", "context", NULL);
	poll->watch = watch;
	pfnbuf_list_init(&poll->noted);
	pfnbuf_list_add_tail(&u->polls, &poll->link);
	r = arm(u, poll);
	if (r < 0) {
		end_poll(poll);
		return pfnbuf_failed(r, "io_uring_submit", "context", NULL);
	}
	watch->poll = poll;
	return 0;
}

static void note(struct uring *u, const struct io_uring_cqe *cqe)
{
	struct poll *poll = poll_of_data(io_uring_cqe_get_data64(cqe));

	if (!poll)
		return;
	if (cqe->res > 0) {
		poll->heard++;
		poll->is_signalled = true;
	}
	if (!(cqe->flags & IORING_CQE_F_MORE))
		poll->has_ended = true;
	if (poll->watch && pfnbuf_list_is_empty(&poll->noted))
		pfnbuf_list_add_tail(&u->noted, &poll->noted);
	if (!poll->watch && poll->has_ended)
		let_go(poll);
}

/* One completion stays, so that the ring's fd stays readable until what was noted is digested. */
static void take_in_ring(struct uring *u)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		if (n++ >= u->kept)
			note(u, cqe);
	}
	if (!n)
		return;
	u->was_full |= n == u->ring.cq.ring_entries;
	io_uring_cq_advance(&u->ring, n - 1);
	u->kept = 1;
}

/* Those, too, that found no room: the kernel puts them in where it is asked to. */
static void take_in(struct uring *u)
{
	take_in_ring(u);
	while (io_uring_cq_has_overflow(&u->ring)) {
		if (io_uring_get_events(&u->ring) < 0)
			return;
		take_in_ring(u);
	}
}

/* Never while something is noted: a poll that could not be armed has to be tried again. */
static void uring_drained(struct pfnbuf_engine *engine, bool signalled)
{
	struct uring *u = uring_of(engine);

	(void)signalled;
	if (!pfnbuf_list_is_empty(&u->noted))
		return;
	io_uring_cq_advance(&u->ring, u->kept);
	u->kept = 0;
}

/*
 * A poll ends when the thread that armed it does. What was signalled until it is armed anew the
 * counter knows. Signals that came together were heard as one: then the last may be said twice, but
 * none is lost.
 */
static void rearm(struct uring *u, struct poll *poll)
{
	uint64_t count = 0;

	if (k_read(u->engine.kernel, poll->watch->fd, &count, sizeof(count)) < 0)
		count = 0;
	if (count > poll->heard)
		poll->is_signalled = true;
	poll->heard = 0;
	if (arm(u, poll) < 0)
		pfnbuf_list_add_tail(&u->noted, &poll->noted);
}

static void deal_with(struct uring *u, struct poll *poll)
{
	bool is_signalled;

	pfnbuf_list_del(&poll->noted);
	if (poll->has_ended)
		rearm(u, poll);
	is_signalled = poll->is_signalled;
	poll->is_signalled = false;
	if (is_signalled)
		poll->watch->ready(poll->watch);
}

static int cancel(struct uring *u, uint64_t data)
{
	struct io_uring_sync_cancel_reg arg = {
		.addr = data,
		.fd = -1,
		.timeout = { .tv_sec = -1, .tv_nsec = -1 },
	};

	return io_uring_register_sync_cancel(&u->ring, &arg);
}

/*
 * How many completions the kernel has dropped, for want of room in the ring and of memory
 * (io_uring/io_uring.c:io_cqring_add_overflow). It finds the ring full and counts what it drops under
 * the ring's lock: to have had that lock since is to see the count. EBADR says no more, and only to
 * who waits for a completion (io_uring/wait.c:io_cqring_wait).
 */
static unsigned count_dropped(struct uring *u)
{
	if (u->was_full)
		cancel(u, NOTHING);
	u->was_full = false;
	return __atomic_load_n(u->ring.cq.koverflow, __ATOMIC_ACQUIRE);
}

static struct poll *poll_of(struct pfnbuf_link *link)
{
	return pfnbuf_container_of(link, struct poll, link);
}

/*
 * Its last completion will not come, but from an older kernel that completes without the ring's lock:
 * then it may be under way.
 */
static void give_up(struct uring *u, struct poll *poll)
{
	poll->is_unknown = false;
	poll->has_ended = true;
	poll->was_given_up = true;
	poll->arming = (poll->arming + 1) % ARMINGS;
	if (poll->watch && pfnbuf_list_is_empty(&poll->noted))
		pfnbuf_list_add_tail(&u->noted, &poll->noted);
}

/*
 * A completion that was dropped is the last of its poll, which nobody would hear again: the kernel
 * ends a poll whose completions find no room (io_uring/poll.c:io_poll_check_events). Which one it
 * was is not said. So all are ended: those that the kernel knows complete and are armed again then;
 * those that it does not know, and whose last completion is not here either, are the ones.
 */
static void find_dropped(struct uring *u)
{
	const unsigned dropped = count_dropped(u);
	struct pfnbuf_link *l;

	if (dropped == u->dropped)
		return;
	for (l = u->polls.next; l != &u->polls; l = l->next)
		poll_of(l)->is_unknown =
			!poll_of(l)->has_ended && cancel(u, data_of(poll_of(l))) == -ENOENT;
	take_in(u);
	/* What is still in the kernel may be a last one: then at the next dispatch. */
	if (io_uring_cq_has_overflow(&u->ring))
		return;
	for (l = u->polls.next; l != &u->polls; l = l->next)
		if (poll_of(l)->is_unknown && !poll_of(l)->has_ended)
			give_up(u, poll_of(l));
	u->dropped = dropped;
}

/* Each that is noted, once: those that cannot be armed are noted again. */
static int uring_dispatch(struct pfnbuf_engine *engine)
{
	struct uring *u = uring_of(engine);

	take_in(u);
	find_dropped(u);
	pfnbuf_list_add_tail(&u->noted, &u->round_end);
	while (u->noted.next != &u->round_end)
		deal_with(u, pfnbuf_container_of(u->noted.next, struct poll, noted));
	pfnbuf_list_del(&u->round_end);
	return 0;
}

/* The last completion is either here, or will be. A watch that is not in any more is left alone. */
static void uring_del(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch)
{
	struct uring *u = uring_of(engine);
	struct poll *poll = watch->poll;

	if (!poll)
		return;
	if (!poll->has_ended)
		cancel(u, data_of(poll));
	take_in(u);
	watch->poll = NULL;
	poll->watch = NULL;
	pfnbuf_list_del(&poll->noted);
	if (poll->has_ended)
		let_go(poll);
}

static void uring_free(struct pfnbuf_engine *engine)
{
	struct uring *u = uring_of(engine);

	io_uring_queue_exit(&u->ring);
	while (!pfnbuf_list_is_empty(&u->polls))
		end_poll(pfnbuf_container_of(u->polls.next, struct poll, link));
	free(u);
}

/* Linux 6.0 has it, and all else that is used here. */
static int check_sync_cancel(struct uring *u)
{
	int r = cancel(u, NOTHING);

	return r == -ENOENT ? 0 : r == -EINVAL ? -EOPNOTSUPP : r;
}

static int refuse(int r)
{
	if (r == -ENOSYS)
		return pfnbuf_refused(-EOPNOTSUPP, "io_uring_setup", "context", NULL,
				      "use PFNBUF_ENGINE_EPOLL", "this kernel has no io_uring");
	return pfnbuf_refused(r, "io_uring_setup", "context", NULL, "use PFNBUF_ENGINE_EPOLL",
			      r == -EOPNOTSUPP
				      ? "this kernel's io_uring is older than that of Linux 6.0"
				      : "this kernel does not let the process have an io_uring");
}

int pfnbuf_engine_new_uring(const struct pfnbuf_kernel *kernel, struct pfnbuf_engine **enginep)
{
	static const struct pfnbuf_engine_ops ops = {
		.add = uring_add,
		.del = uring_del,
		.dispatch = uring_dispatch,
		.drained = uring_drained,
		.free = uring_free,
	};
	struct io_uring_params params = {
		.flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};
	cleanup_free struct uring *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return pfnbuf_failed(-ENOMEM, "io_uring_setup", "context", NULL);
	r = io_uring_queue_init_params(SQ_ENTRIES, &u->ring, &params);
	if (r < 0)
		return refuse(r);
	r = check_sync_cancel(u);
	if (r < 0) {
		io_uring_queue_exit(&u->ring);
		return refuse(r);
	}
	u->engine = (struct pfnbuf_engine){
		.ops = &ops,
		.kernel = kernel,
		.fd = u->ring.ring_fd,
		.holds = true,
	};
	pfnbuf_list_init(&u->polls);
	pfnbuf_list_init(&u->noted);
	*enginep = &u->engine;
	u = NULL;
	return 0;
}

#else /* !PFNBUF_HAVE_URING */

int pfnbuf_engine_new_uring(const struct pfnbuf_kernel *kernel, struct pfnbuf_engine **enginep)
{
	(void)kernel;
	(void)enginep;
	return pfnbuf_refused(-EOPNOTSUPP, "io_uring_setup", "context", NULL,
			      "use PFNBUF_ENGINE_EPOLL", "the library was built without liburing");
}

#endif
