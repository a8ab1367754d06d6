/* SPDX-License-Identifier: MIT */
/*
 * The wait engine over io_uring: one multishot poll for each eventfd, so that a signal arrives as a
 * completion and a wake-up costs no system call at all. The eventfds are not read: each signal wakes
 * the poll, and a counter that only grows has room for 2^64 of them.
 *
 * Completions that were announced are left in the ring until they are digested: they keep the
 * ring's fd readable. The ring is the one thing in the library that does not go through the door;
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

/* Tells a cancellation's own completion from those of watches. */
#define CANCELLATION 0

struct uring {
	struct pfnbuf_engine engine;
	struct io_uring ring;
	struct pfnbuf_link unarmed; /* watches to be armed at the next dispatch */
	unsigned announced; /* completions at the head of the ring that wait to be digested */
};

static struct uring *uring_of(struct pfnbuf_engine *engine)
{
	return pfnbuf_container_of(engine, struct uring, engine);
}

static int submit(struct uring *u)
{
	int r;

	do
		r = io_uring_submit(&u->ring);
	while (r == -EINTR);
	return r < 0 ? r : 0;
}

static int arm(struct uring *u, struct pfnbuf_watch *watch)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (!sqe)
		return -EBUSY;
	io_uring_prep_poll_multishot(sqe, watch->fd, POLLIN);
	io_uring_sqe_set_data(sqe, watch);
	return submit(u);
}

static int uring_add(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch)
{
	int r;

	watch->heard = 0;
	r = arm(uring_of(engine), watch);
	if (r < 0)
		return pfnbuf_failed(r, "io_uring_submit", "context", NULL);
	pfnbuf_list_init(&watch->link);
	return 0;
}

/*
 * Polls a watch anew whose poll has ended, as it does when the thread that armed it ends. What was
 * signalled meanwhile the counter knows; starting from 0 it is not said twice.
 */
static int rearm(struct uring *u, struct pfnbuf_watch *watch)
{
	uint64_t count = 0;

	if (k_read(u->engine.kernel, watch->fd, &count, sizeof(count)) < 0)
		count = 0;
	if (count > watch->heard)
		watch->ready(watch);
	watch->heard = 0;
	return arm(u, watch);
}

/* Where it fails it is tried again at the next dispatch: such watches wait in a list. */
static void rearm_or_wait(struct uring *u, struct pfnbuf_watch *watch)
{
	if (rearm(u, watch) < 0)
		pfnbuf_list_add_tail(&u->unarmed, &watch->link);
}

static void rearm_waiting(struct uring *u)
{
	while (!pfnbuf_list_is_empty(&u->unarmed)) {
		struct pfnbuf_watch *watch =
			pfnbuf_container_of(u->unarmed.next, struct pfnbuf_watch, link);

		if (rearm(u, watch) < 0)
			return;
		pfnbuf_list_del(&watch->link);
	}
}

static void uring_drained(struct pfnbuf_engine *engine, bool signalled)
{
	struct uring *u = uring_of(engine);

	(void)signalled;
	io_uring_cq_advance(&u->ring, u->announced);
	u->announced = 0;
}

static void announce(struct uring *u, const struct io_uring_cqe *cqe)
{
	struct pfnbuf_watch *watch = io_uring_cqe_get_data(cqe);

	if (!watch)
		return;
	if (cqe->res > 0) {
		watch->heard++;
		watch->ready(watch);
	}
	if (!(cqe->flags & IORING_CQE_F_MORE))
		rearm_or_wait(u, watch);
}

static int uring_dispatch(struct pfnbuf_engine *engine)
{
	struct uring *u = uring_of(engine);
	struct io_uring_cqe *cqe;
	unsigned head, at = 0;

	rearm_waiting(u);
	/*
	 * Lets the kernel put in what found no room, and sees completions that wait for this
	 * thread.
	 */
	if (io_uring_cq_has_overflow(&u->ring))
		io_uring_get_events(&u->ring);
	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		if (at++ < u->announced)
			continue;
		u->announced++;
		announce(u, cqe);
	}
	return 0;
}

/* Completions of a watch that ends must not be announced, nor armed anew, after it. */
static void forget(struct uring *u, const struct pfnbuf_watch *watch)
{
	struct io_uring_cqe *cqe;
	unsigned head;

	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		if (io_uring_cqe_get_data(cqe) == watch)
			cqe->user_data = CANCELLATION;
	}
}

/* Where its poll has ended, and its last completion waits to be digested, there is none: ENOENT. */
static void cancel(struct uring *u, struct pfnbuf_watch *watch)
{
	struct io_uring_sync_cancel_reg arg = {
		.addr = (uintptr_t)watch,
		.fd = -1,
		.timeout = { .tv_sec = -1, .tv_nsec = -1 },
	};

	io_uring_register_sync_cancel(&u->ring, &arg);
}

static void uring_del(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch)
{
	struct uring *u = uring_of(engine);

	cancel(u, watch);
	io_uring_get_events(&u->ring);
	forget(u, watch);
	pfnbuf_list_del(&watch->link);
}

static void uring_free(struct pfnbuf_engine *engine)
{
	struct uring *u = uring_of(engine);

	io_uring_queue_exit(&u->ring);
	free(u);
}

/* Linux 6.0 has it, and all else that is used here. */
static int check_sync_cancel(struct uring *u)
{
	struct io_uring_sync_cancel_reg nothing = {
		.addr = (uintptr_t)u,
		.fd = -1,
		.timeout = { .tv_sec = -1, .tv_nsec = -1 },
	};
	int r = io_uring_register_sync_cancel(&u->ring, &nothing);

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
	pfnbuf_list_init(&u->unarmed);
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
