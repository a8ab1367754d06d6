/* SPDX-License-Identifier: MIT */
/*
 * A monitor with a loop around epoll(7): the library's one fd is one entry of the monitor's set,
 * whichever engine is behind it.
 *
 * Runs on the simulated kernel. For the real one leave opts.kernel NULL and name a device of yours.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <pfnbuf.h>
#include <pfnbuf-sim.h>

#define BDF "0000:01:00.0"

static void must(int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "%s\n", pfnbuf_last_error());
	exit(1);
}

/* Somebody else: unbinds the driver while the monitor has the device. */
static void *administrator(void *sim)
{
	usleep(50000);
	must(pfnbuf_sim_raise_error(sim, BDF));
	must(pfnbuf_sim_request_removal(sim, BDF));
	return NULL;
}

static bool handle_events(struct pfnbuf_ctx *ctx)
{
	struct pfnbuf_event event;
	bool ours = true;

	must(pfnbuf_ctx_dispatch(ctx));
	while (pfnbuf_ctx_pop_event(ctx, &event)) {
		/* What pfnbuf_device_set_user() was given comes back with each event. */
		printf("%s: %s\n", (const char *)event.user, pfnbuf_event_type_name(event.type));
		if (event.type == PFNBUF_EVENT_REMOVAL_REQUEST)
			ours = false;
	}
	return ours;
}

int main(int argc, char **argv)
{
	const struct pfnbuf_sim_device spec = {
		.bdf = BDF,
		.flags = PFNBUF_SIM_FLR,
		.bars[0].size = 0x10000,
	};
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts) };
	struct epoll_event event = { .events = EPOLLIN };
	static char name[] = "the only device";
	struct pfnbuf_device *device;
	struct pfnbuf_sim *sim;
	struct pfnbuf_ctx *ctx;
	bool running = true;
	pthread_t thread;
	int set;

	if (argc > 1 && !strcmp(argv[1], "--uring"))
		opts.engine = PFNBUF_ENGINE_URING;
	must(pfnbuf_sim_new(&sim));
	must(pfnbuf_sim_add_device(sim, &spec));
	opts.kernel = pfnbuf_sim_kernel(sim);
	must(pfnbuf_ctx_new(&ctx, &opts));
	must(pfnbuf_device_open(ctx, BDF, &device));
	pfnbuf_device_set_user(device, name);
	must(pfnbuf_device_bind(device, NULL));

	set = epoll_create1(EPOLL_CLOEXEC);
	event.data.ptr = ctx;
	epoll_ctl(set, EPOLL_CTL_ADD, pfnbuf_ctx_get_fd(ctx), &event);

	pthread_create(&thread, NULL, administrator, sim);
	while (running) {
		/* Woken by an io_uring of this thread's, epoll_wait() may say EINTR: just go on. */
		if (epoll_wait(set, &event, 1, -1) == 1 && event.data.ptr == ctx)
			running = handle_events(ctx);
	}
	pthread_join(thread, NULL);

	close(set);
	pfnbuf_device_close(device);
	pfnbuf_ctx_free(ctx);
	pfnbuf_sim_free(sim);
	return 0;
}
