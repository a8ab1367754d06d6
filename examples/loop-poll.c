/* SPDX-License-Identifier: MIT */
/*
 * A monitor with a loop around poll(2): the library's one fd stands beside the monitor's own.
 *
 * Runs on the simulated kernel. For the real one leave opts.kernel NULL and name a device of yours.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
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

/* Returns whether the device is still ours. */
static bool handle_events(struct pfnbuf_ctx *ctx)
{
	struct pfnbuf_event event;
	bool ours = true;

	must(pfnbuf_ctx_dispatch(ctx));
	while (pfnbuf_ctx_pop_event(ctx, &event)) {
		printf("event %llu: %s\n", (unsigned long long)event.seq,
		       pfnbuf_event_type_name(event.type));
		if (event.type == PFNBUF_EVENT_REMOVAL_REQUEST)
			ours = false;
	}
	return ours;
}

int main(void)
{
	const struct pfnbuf_sim_device spec = {
		.bdf = BDF,
		.flags = PFNBUF_SIM_FLR,
		.bars[0].size = 0x10000,
	};
	const struct itimerspec in_50_ms = { .it_value.tv_nsec = 50000000 };
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts) };
	struct pfnbuf_device *device;
	struct pfnbuf_sim *sim;
	struct pfnbuf_ctx *ctx;
	struct pollfd fds[2];
	bool running = true;
	int ticks = 0;

	must(pfnbuf_sim_new(&sim));
	must(pfnbuf_sim_add_device(sim, &spec));
	opts.kernel = pfnbuf_sim_kernel(sim);
	must(pfnbuf_ctx_new(&ctx, &opts));
	must(pfnbuf_device_open(ctx, BDF, &device));
	must(pfnbuf_device_bind(device, NULL));

	fds[0] = (struct pollfd){ .fd = pfnbuf_ctx_get_fd(ctx), .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = timerfd_create(CLOCK_MONOTONIC, 0), .events = POLLIN };
	timerfd_settime(fds[1].fd, 0, &in_50_ms, NULL);

	while (running && poll(fds, 2, -1) > 0) {
		if (fds[0].revents)
			running = handle_events(ctx);
		if (fds[1].revents) {
			/* The monitor's own timer: here it plays the administrator who unplugs. */
			uint64_t expired;

			ticks += read(fds[1].fd, &expired, sizeof(expired)) > 0;
			must(pfnbuf_device_reset(device));
			must(pfnbuf_sim_request_removal(sim, BDF));
		}
	}

	printf("released after %d tick\n", ticks);
	close(fds[1].fd);
	pfnbuf_device_close(device);
	pfnbuf_ctx_free(ctx);
	pfnbuf_sim_free(sim);
	return 0;
}
