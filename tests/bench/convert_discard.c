/* SPDX-License-Identifier: MIT */
#include "convert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define PUNCH  (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define MAX_N  4096
#define ROUNDS 15

/* @n ranges of a file, with as much between them. */
struct ranges {
	int fd;
	uint64_t n;
	uint64_t length;
};

static off_t start_of(const struct ranges *r, uint64_t i)
{
	return (off_t)(2 * i * r->length);
}

/*
 * All of them are allocated. An io_uring has the thread that submits to it make more workers by what
 * looks like a signal, at any time; guest_memfd then stops with EINTR, between two pages.
 */
static void fill(const struct ranges *r)
{
	for (uint64_t i = 0; i < r->n; i++)
		while (fallocate(r->fd, FALLOC_FL_KEEP_SIZE, start_of(r, i), (off_t)r->length) < 0)
			if (errno != EINTR)
				CHECK(-errno);
}

static uint64_t time_loop(const struct ranges *r)
{
	uint64_t before;

	fill(r);
	before = now();
	for (uint64_t i = 0; i < r->n; i++)
		if (fallocate(r->fd, PUNCH, start_of(r, i), (off_t)r->length) < 0)
			CHECK(-errno);
	return now() - before;
}

#ifdef PFNBUF_HAVE_URING
#include <liburing.h>

static void reap(struct io_uring *ring, uint64_t n)
{
	struct io_uring_cqe *cqe;

	for (uint64_t i = 0; i < n; i++) {
		CHECK(io_uring_wait_cqe(ring, &cqe));
		CHECK(cqe->res);
		io_uring_cqe_seen(ring, cqe);
	}
}

static uint64_t time_batch(struct io_uring *ring, const struct ranges *r)
{
	uint64_t before;

	fill(r);
	before = now();
	for (uint64_t i = 0; i < r->n; i++)
		io_uring_prep_fallocate(io_uring_get_sqe(ring), r->fd, PUNCH, start_of(r, i),
					(off_t)r->length);
	CHECK(io_uring_submit_and_wait(ring, (unsigned)r->n));
	reap(ring, r->n);
	return now() - before;
}

static void compare(struct io_uring *ring, const char *name, const char *size,
		    const struct ranges *r)
{
	uint64_t loop[ROUNDS], batch[ROUNDS];
	double ratio;

	for (int i = 0; i < ROUNDS; i++) {
		loop[i] = time_loop(r);
		batch[i] = time_batch(ring, r);
	}
	ratio = (double)median_u64(loop, ROUNDS) / (double)median_u64(batch, ROUNDS);
	printf("convert.discard.%s.%s.%lu %.3f # %lu ns each in a loop, %lu in a submission\n",
	       name, size, (unsigned long)r->n, ratio,
	       (unsigned long)(median_u64(loop, ROUNDS) / r->n),
	       (unsigned long)(median_u64(batch, ROUNDS) / r->n));
}

void bench_discard(int fd, const char *name)
{
	static const uint64_t pages[] = { 1, 16, 256, MAX_N }, blocks[] = { 1, 4, 16 };
	struct io_uring ring;
	const int r = io_uring_queue_init(MAX_N, &ring, 0);

	if (r < 0) {
		printf("# convert.discard.%s: left out: no io_uring here: %s\n", name,
		       pfnbuf_errno_name(r));
		return;
	}
	for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
		compare(&ring, name, "4k", &(struct ranges){ fd, pages[i], PAGE });
	for (size_t i = 0; i < sizeof(blocks) / sizeof(*blocks); i++)
		compare(&ring, name, "2m", &(struct ranges){ fd, blocks[i], 2 * MIB });
	io_uring_queue_exit(&ring);
}

#else

void bench_discard(int fd, const char *name)
{
	printf("# convert.discard.%s: built without liburing; in a loop %lu ns each\n", name,
	       (unsigned long)(time_loop(&(struct ranges){ fd, MAX_N, PAGE }) / MAX_N));
}

#endif
