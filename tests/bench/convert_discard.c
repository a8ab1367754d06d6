/* SPDX-License-Identifier: MIT */
#include "convert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#define PUNCH  (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define MAX_N  4096
#define ROUNDS 15

/* Every other page, all of them allocated. */
static void fill(int fd, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)(2 * i * PAGE), PAGE) < 0)
			abort();
}

static uint64_t time_loop(int fd, uint64_t n)
{
	uint64_t before;

	fill(fd, n);
	before = now();
	for (uint64_t i = 0; i < n; i++)
		if (fallocate(fd, PUNCH, (off_t)(2 * i * PAGE), PAGE) < 0)
			abort();
	return now() - before;
}

#ifdef PFNBUF_HAVE_URING
#include <liburing.h>

static void reap(struct io_uring *ring, uint64_t n)
{
	struct io_uring_cqe *cqe;

	for (uint64_t i = 0; i < n; i++) {
		if (io_uring_wait_cqe(ring, &cqe) || cqe->res)
			abort();
		io_uring_cqe_seen(ring, cqe);
	}
}

static uint64_t time_batch(struct io_uring *ring, int fd, uint64_t n)
{
	uint64_t before;

	fill(fd, n);
	before = now();
	for (uint64_t i = 0; i < n; i++)
		io_uring_prep_fallocate(io_uring_get_sqe(ring), fd, PUNCH, (off_t)(2 * i * PAGE),
					(off_t)PAGE);
	if (io_uring_submit_and_wait(ring, (unsigned)n) != (int)n)
		abort();
	reap(ring, n);
	return now() - before;
}

static void compare(struct io_uring *ring, int fd, const char *name, uint64_t n)
{
	uint64_t loop[ROUNDS], batch[ROUNDS];
	double ratio;

	for (int i = 0; i < ROUNDS; i++) {
		loop[i] = time_loop(fd, n);
		batch[i] = time_batch(ring, fd, n);
	}
	ratio = (double)median_u64(loop, ROUNDS) / (double)median_u64(batch, ROUNDS);
	printf("convert.discard.%s.%lu %.3f # %lu ns each in a loop, %lu in a submission\n", name,
	       (unsigned long)n, ratio, (unsigned long)(median_u64(loop, ROUNDS) / n),
	       (unsigned long)(median_u64(batch, ROUNDS) / n));
}

void bench_discard(int fd, const char *name)
{
	static const uint64_t sizes[] = { 1, 16, 256, MAX_N };
	struct io_uring ring;
	const int r = io_uring_queue_init(MAX_N, &ring, 0);

	if (r < 0) {
		printf("# convert.discard.%s: left out: no io_uring here: %s\n", name,
		       pfnbuf_errno_name(r));
		return;
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		compare(&ring, fd, name, sizes[i]);
	io_uring_queue_exit(&ring);
}

#else

void bench_discard(int fd, const char *name)
{
	printf("# convert.discard.%s: built without liburing; in a loop %lu ns each\n", name,
	       (unsigned long)(time_loop(fd, MAX_N) / MAX_N));
}

#endif
