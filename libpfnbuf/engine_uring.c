/* SPDX-License-Identifier: MIT */
/*
 * The wait engine over io_uring: one multishot read for each eventfd, so that a signal arrives as a
 * completion with the eventfd read already, and a wake-up costs no system call at all.
 *
 * Completions that were announced are left in the ring until they are digested: they keep the
 * ring's fd readable. The ring is the one thing in the library that does not go through the door;
 * the fds it reads are real whatever kernel stands behind it.
 */
#include "private.h"

#ifdef PFNBUF_HAVE_URING
#include <liburing.h>

#define SQ_ENTRIES   16
#define NR_BUFFERS   64 /* a power of two, and no more than there are completions */
#define BUFFER_GROUP 0

/* From include/uapi/linux/io_uring.h; liburing learned it after the version that Debian 12 has. */
#define READ_MULTISHOT 49

/* Tells a cancellation's own completion from those of watches. */
#define CANCELLATION 0

struct uring {
	struct pfnbuf_engine engine;
	struct io_uring ring;
	struct io_uring_buf_ring *buffers;
	uint64_t counts[NR_BUFFERS]; /* what the buffers are: eventfd counters */
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
	io_uring_prep_rw(READ_MULTISHOT, sqe, watch->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUFFER_GROUP;
	io_uring_sqe_set_data(sqe, watch);
	return submit(u);
}

static int uring_add(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch)
{
	int r = arm(uring_of(engine), watch);

	if (r < 0)
		return pfnbuf_failed(r, "io_uring_submit", "context", NULL);
	pfnbuf_list_init(&watch->link);
	return 0;
}

static void give_back_buffer(struct uring *u, const struct io_uring_cqe *cqe)
{
	unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;

	if (!(cqe->flags & IORING_CQE_F_BUFFER))
		return;
	io_uring_buf_ring_add(u->buffers, &u->counts[id], sizeof(u->counts[id]), (unsigned short)id,
			      NR_BUFFERS - 1, 0);
	io_uring_buf_ring_advance(u->buffers, 1);
}

/*
 * A read ends by itself when the buffers ran out, or at the first signal after the thread that
 * armed it ended; the signal is then still to be read. Where arming it anew fails it is tried again
 * at the next dispatch: such watches wait in the engine's list.
 */
static void rearm_if_ended(struct uring *u, struct io_uring_cqe *cqe)
{
	struct pfnbuf_watch *watch = io_uring_cqe_get_data(cqe);

	if (!watch || (cqe->flags & IORING_CQE_F_MORE))
		return;
	cqe->flags |= IORING_CQE_F_MORE;
	if (arm(u, watch) < 0)
		pfnbuf_list_add_tail(&u->engine.signalled, &watch->link);
}

static void rearm_waiting(struct uring *u)
{
	while (!pfnbuf_list_is_empty(&u->engine.signalled)) {
		struct pfnbuf_watch *watch =
			pfnbuf_container_of(u->engine.signalled.next, struct pfnbuf_watch, link);

		if (arm(u, watch) < 0)
			return;
		pfnbuf_list_del(&watch->link);
	}
}

static void digest(struct uring *u, struct io_uring_cqe *cqe)
{
	give_back_buffer(u, cqe);
	rearm_if_ended(u, cqe);
	io_uring_cqe_seen(&u->ring, cqe);
}

static void uring_drained(struct pfnbuf_engine *engine)
{
	struct uring *u = uring_of(engine);
	struct io_uring_cqe *cqe;

	for (; u->announced && !io_uring_peek_cqe(&u->ring, &cqe); u->announced--)
		digest(u, cqe);
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
		struct pfnbuf_watch *watch = io_uring_cqe_get_data(cqe);

		if (at++ < u->announced)
			continue;
		u->announced++;
		if (watch && cqe->res > 0)
			watch->ready(watch);
		/* Without a buffer it would end again at once; digesting gives some back. */
		if (cqe->res != -ENOBUFS)
			rearm_if_ended(u, cqe);
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

/* Whether the last completion of the watch's read is in the ring. */
static bool has_ended(struct uring *u, const struct pfnbuf_watch *watch)
{
	struct io_uring_cqe *cqe;
	unsigned head;

	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		if (io_uring_cqe_get_data(cqe) == watch && !(cqe->flags & IORING_CQE_F_MORE))
			return true;
	}
	return false;
}

static void cancel(struct uring *u, struct pfnbuf_watch *watch)
{
	struct io_uring_sync_cancel_reg arg = {
		.addr = (uintptr_t)watch,
		.fd = -1,
		.timeout = { .tv_sec = -1, .tv_nsec = -1 },
	};

	if (!has_ended(u, watch))
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

	io_uring_unregister_buf_ring(&u->ring, BUFFER_GROUP);
	io_uring_queue_exit(&u->ring);
	free(u->buffers);
	free(u);
}

/* The ring of buffers that reads pick from: page-aligned memory that both sides see. */
static int register_buffers(struct uring *u)
{
	const size_t size = NR_BUFFERS * sizeof(struct io_uring_buf);
	struct io_uring_buf_reg arg = { .ring_entries = NR_BUFFERS, .bgid = BUFFER_GROUP };
	void *memory;
	int r;

	if (posix_memalign(&memory, (size_t)pfnbuf_page_size(), size))
		return -ENOMEM;
	memset(memory, 0, size);
	arg.ring_addr = (uintptr_t)memory;
	r = io_uring_register_buf_ring(&u->ring, &arg, 0);
	if (r < 0) {
		free(memory);
		return r;
	}
	u->buffers = memory;
	for (unsigned i = 0; i < NR_BUFFERS; i++)
		io_uring_buf_ring_add(u->buffers, &u->counts[i], sizeof(u->counts[i]),
				      (unsigned short)i, NR_BUFFERS - 1, (int)i);
	io_uring_buf_ring_advance(u->buffers, NR_BUFFERS);
	return 0;
}

static bool has_multishot_read(struct uring *u)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(&u->ring);
	bool has = probe && io_uring_opcode_supported(probe, READ_MULTISHOT);

	io_uring_free_probe(probe);
	return has;
}

static int refuse(int r)
{
	if (r == -ENOSYS)
		return pfnbuf_refused(-EOPNOTSUPP, "io_uring_setup", "context", NULL,
				      "use PFNBUF_ENGINE_EPOLL", "this kernel has no io_uring");
	return pfnbuf_refused(
		r, "io_uring_setup", "context", NULL, "use PFNBUF_ENGINE_EPOLL",
		r == -EOPNOTSUPP ? "this kernel's io_uring has no multishot read (Linux 6.7 has)"
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
	cleanup_free struct uring *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return pfnbuf_failed(-ENOMEM, "io_uring_setup", "context", NULL);
	r = io_uring_queue_init(SQ_ENTRIES, &u->ring, IORING_SETUP_CLAMP);
	if (r < 0)
		return refuse(r);
	r = has_multishot_read(u) ? register_buffers(u) : -EOPNOTSUPP;
	if (r < 0) {
		io_uring_queue_exit(&u->ring);
		return refuse(r);
	}
	u->engine = (struct pfnbuf_engine){ .ops = &ops, .kernel = kernel, .fd = u->ring.ring_fd };
	pfnbuf_list_init(&u->engine.signalled);
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
