/* SPDX-License-Identifier: MIT */
/* The wait engine over epoll: level-triggered, one epoll instance a context. */
#include <sys/epoll.h>

#include "private.h"

#define BATCH 16

int pfnbuf_engine_init(struct pfnbuf_engine *engine, const struct pfnbuf_kernel *kernel)
{
	int fd = k_epoll_create(kernel);

	if (fd < 0)
		return pfnbuf_failed(fd, "epoll_create1", "context", NULL);
	*engine = (struct pfnbuf_engine){ .kernel = kernel, .fd = fd };
	return 0;
}

void pfnbuf_engine_fini(struct pfnbuf_engine *engine)
{
	k_close(engine->kernel, engine->fd);
}

int pfnbuf_engine_add(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = watch };
	int r = k_epoll_ctl(engine->kernel, engine->fd, EPOLL_CTL_ADD, watch->fd, &event);

	return r < 0 ? pfnbuf_failed(r, "epoll_ctl", "context", NULL) : 0;
}

/* Never skipped: an fd that others share would stay in the set after its close. */
void pfnbuf_engine_del(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch)
{
	struct epoll_event event = { 0 };

	k_epoll_ctl(engine->kernel, engine->fd, EPOLL_CTL_DEL, watch->fd, &event);
}

int pfnbuf_engine_dispatch(struct pfnbuf_engine *engine)
{
	struct epoll_event events[BATCH];
	int n;

	n = k_epoll_wait(engine->kernel, engine->fd, events, BATCH, 0);
	if (n == -EINTR)
		return 0;
	if (n < 0)
		return pfnbuf_failed(n, "epoll_wait", "context", NULL);
	for (int i = 0; i < n; i++) {
		struct pfnbuf_watch *watch = events[i].data.ptr;

		watch->ready(watch);
	}
	return 0;
}
