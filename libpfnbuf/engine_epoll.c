/* SPDX-License-Identifier: MIT */
/* The wait engine over epoll: level-triggered, one epoll instance a context. */
#include <sys/epoll.h>

#include "private.h"

#define BATCH 64

static int epoll_add(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = watch };
	int r = k_epoll_ctl(engine->kernel, engine->fd, EPOLL_CTL_ADD, watch->fd, &event);

	if (r < 0)
		return pfnbuf_failed(r, "epoll_ctl", "context", NULL);
	pfnbuf_list_init(&watch->link);
	return 0;
}

/* Never skipped: an fd that others share would stay in the set after its close. */
static void epoll_del(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch)
{
	struct epoll_event event = { 0 };

	k_epoll_ctl(engine->kernel, engine->fd, EPOLL_CTL_DEL, watch->fd, &event);
	pfnbuf_list_del(&watch->link);
}

static int epoll_dispatch(struct pfnbuf_engine *engine)
{
	struct epoll_event events[BATCH];
	int n = k_epoll_wait(engine->kernel, engine->fd, events, BATCH, 0);

	if (n == -EINTR)
		return 0;
	if (n < 0)
		return pfnbuf_failed(n, "epoll_wait", "context", NULL);
	for (int i = 0; i < n; i++) {
		struct pfnbuf_watch *watch = events[i].data.ptr;

		if (!pfnbuf_list_is_empty(&watch->link))
			continue;
		pfnbuf_list_add_tail(&engine->signalled, &watch->link);
		watch->ready(watch);
	}
	return 0;
}

/* A signal that came between ready() and this read was not announced: put it back. */
static void read_signal(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch)
{
	const uint64_t one = 1;
	uint64_t count = 0;

	k_read(engine->kernel, watch->fd, &count, sizeof(count));
	if (count > 1)
		k_write(engine->kernel, watch->fd, &one, sizeof(one));
}

static void epoll_drained(struct pfnbuf_engine *engine)
{
	while (!pfnbuf_list_is_empty(&engine->signalled)) {
		struct pfnbuf_watch *watch =
			pfnbuf_container_of(engine->signalled.next, struct pfnbuf_watch, link);

		pfnbuf_list_del(&watch->link);
		read_signal(engine, watch);
	}
}

static void epoll_free(struct pfnbuf_engine *engine)
{
	k_close(engine->kernel, engine->fd);
	free(engine);
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
	struct pfnbuf_engine *engine = calloc(1, sizeof(*engine));

	if (!engine)
		return pfnbuf_failed(-ENOMEM, "epoll_create1", "context", NULL);
	*engine = (struct pfnbuf_engine){ .ops = &ops, .kernel = kernel };
	pfnbuf_list_init(&engine->signalled);
	engine->fd = k_epoll_create(kernel);
	if (engine->fd < 0) {
		int r = pfnbuf_failed(engine->fd, "epoll_create1", "context", NULL);

		free(engine);
		return r;
	}
	*enginep = engine;
	return 0;
}
