/* SPDX-License-Identifier: MIT */
/*
 * A monitor with a loop around io_uring(7): a multishot poll of the library's one fd. With the
 * library's io_uring engine a wake-up then costs no system call on either side.
 *
 * Runs on the simulated kernel. For the real one leave opts.kernel NULL and name a device of yours.
 */
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
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

static void *administrator(void *sim)
{
	usleep(50000);
	must(pfnbuf_sim_request_removal(sim, BDF));
	return NULL;
}

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

static void watch(struct io_uring *ring, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_poll_multishot(sqe, fd, POLLIN);
	io_uring_submit(ring);
}

int main(void)
{
	const struct pfnbuf_sim_device spec = {
		.bdf = BDF,
		.flags = PFNBUF_SIM_FLR,
		.bars[0].size = 0x10000,
	};
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .engine = PFNBUF_ENGINE_URING };
	struct pfnbuf_device *device;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	struct pfnbuf_sim *sim;
	struct pfnbuf_ctx *ctx;
	bool running = true;
	pthread_t thread;

	must(pfnbuf_sim_new(&sim));
	must(pfnbuf_sim_add_device(sim, &spec));
	opts.kernel = pfnbuf_sim_kernel(sim);
	if (pfnbuf_ctx_new(&ctx, &opts) < 0) {
		/* Too old a kernel: the fd of the epoll engine nests in a ring as well. */
		printf("%s\n", pfnbuf_last_error());
		opts.engine = PFNBUF_ENGINE_EPOLL;
		must(pfnbuf_ctx_new(&ctx, &opts));
	}
	must(pfnbuf_device_open(ctx, BDF, &device));
	must(pfnbuf_device_bind(device, NULL));

	if (io_uring_queue_init(8, &ring, 0) < 0) {
		fprintf(stderr, "no io_uring for this process\n");
		return 77;
	}
	watch(&ring, pfnbuf_ctx_get_fd(ctx));
	pthread_create(&thread, NULL, administrator, sim);
	while (running && !io_uring_wait_cqe(&ring, &cqe)) {
		bool over = !(cqe->flags & IORING_CQE_F_MORE);

		io_uring_cqe_seen(&ring, cqe);
		running = handle_events(ctx);
		if (over && running)
			watch(&ring, pfnbuf_ctx_get_fd(ctx));
	}
	pthread_join(thread, NULL);

	io_uring_queue_exit(&ring);
	pfnbuf_device_close(device);
	pfnbuf_ctx_free(ctx);
	pfnbuf_sim_free(sim);
	return 0;
}
