/* SPDX-License-Identifier: MIT */
/*
 * The wait engine over epoll. Eventfds are watched edge-triggered and never read: each signal is an
 * edge, and a counter that only grows has room for 2^64 of them. So a wake-up costs the same number
 * of system calls however many were signalled. What keeps the engine's fd readable until its events
 * are taken is the eventfd of the queue, watched level-triggered.
 */
#include <sys/epoll.h>

#include "private.h"

#define BATCH 64

struct epoll {
	struct pfnbuf_engine engine;
	struct pfnbuf_watch *queue;
	bool queue_is_ready;
};

static struct epoll *epoll_of(struct pfnbuf_engine *engine)
{
	return pfnbuf_container_of(engine, struct epoll, engine);
}

static int epoll_add(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch)
{
	struct epoll_event event = {
		.events = watch->is_queue ? EPOLLIN : EPOLLIN | EPOLLET,
		.data.ptr = watch,
	};
	int r = k_epoll_ctl(engine->kernel, engine->fd, EPOLL_CTL_ADD, watch->fd, &event);

	if (r < 0)
		return pfnbuf_failed(r, "epoll_ctl", "context", NULL);
	if (watch->is_queue)
		epoll_of(engine)->queue = watch;
	return 0;
}

/* Never skipped: an fd that others share would stay in the set after its close. */
static void epoll_del(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch)
{
	struct epoll_event event = { 0 };

	k_epoll_ctl(engine->kernel, engine->fd, EPOLL_CTL_DEL, watch->fd, &event);
}

static int epoll_dispatch(struct pfnbuf_engine *engine)
{
	struct epoll *e = epoll_of(engine);
	struct epoll_event events[BATCH];
	int n = k_epoll_wait(engine->kernel, engine->fd, events, BATCH, 0);

	if (n == -EINTR)
		return 0;
	if (n < 0)
		return pfnbuf_failed(n, "epoll_wait", "context", NULL);
	for (int i = 0; i < n; i++) {
		struct pfnbuf_watch *watch = events[i].data.ptr;

		if (watch == e->queue)
			e->queue_is_ready = true;
		else
			watch->ready(watch);
	}
	return 0;
}

static void epoll_drained(struct pfnbuf_engine *engine, bool signalled)
{
	struct epoll *e = epoll_of(engine);
	uint64_t count;

	if (signalled || e->queue_is_ready)
		k_read(engine->kernel, e->queue->fd, &count, sizeof(count));
	e->queue_is_ready = false;
}

static void epoll_free(struct pfnbuf_engine *engine)
{
	k_close(engine->kernel, engine->fd);
	free(epoll_of(engine));
}

int pfnbuf_engine_new_epoll(const struct pfnbuf_kernel *kernel, struct pfnbuf_engine **enginep)
{
	static const struct pfnbuf_engine_ops ops = {
		.add = epoll_add,
		.del = epoll_del,
		.dispatch = epoll_dispatch,
		.drained = epoll_drained,
		.free = epoll_free,
	};
	struct epoll *e = calloc(1, sizeof(*e));

	if (!e)
		return pfnbuf_failed(-ENOMEM, "epoll_create1", "context", NULL);
	e->engine = (struct pfnbuf_engine){ .ops = &ops, .kernel = kernel };
	e->engine.fd = k_epoll_create(kernel);
	if (e->engine.fd < 0) {
		int r = pfnbuf_failed(e->engine.fd, "epoll_create1", "context", NULL);

		free(e);
		return r;
	}
	*enginep = &e->engine;
	return 0;
}
