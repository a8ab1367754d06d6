/* SPDX-License-Identifier: MIT */
/*
 * What conversions cost. usage: bench_convert [--judge] [BDF]
 *
 * BDF is a device to attach to the IOAS, so that pages are pinned. --judge fails where the library
 * is so slow that no busy machine explains it.
 */
#include "convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Of the speed of a bare loop; the goal is 0.95. */
#define FAR_BEYOND 0.4

int check_result(int result, const char *call)
{
	if (result >= 0)
		return result;
	printf("not ok convert: %s: %s: %s\n", call, pfnbuf_errno_name(result),
	       pfnbuf_last_error());
	exit(1);
}

uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

uint64_t random_u64(void)
{
	static uint64_t state = 42;
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

uint64_t median_u64(uint64_t *values, size_t n)
{
	qsort(values, n, sizeof(*values), by_value);
	return values[n / 2];
}

static void discard_memory(void)
{
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_buf *memfd;

	CHECK(pfnbuf_ctx_new(&ctx, NULL));
	CHECK(pfnbuf_buf_new_memfd(ctx, 64 * MIB, 0, &memfd));
	bench_discard(pfnbuf_buf_get_fd(memfd), "uring");
	pfnbuf_buf_unref(memfd);
	pfnbuf_ctx_free(ctx);
}

int main(int argc, char **argv)
{
	const bool judge = argc > 1 && !strcmp(argv[1], "--judge");
	const char *bdf = argv[1 + judge];
	double worst;

	setvbuf(stdout, NULL, _IOLBF, 0);
	worst = bench_real(argc > 1 ? bdf : NULL);
	bench_calls();
	bench_null();
	discard_memory();
	if (judge && worst < FAR_BEYOND) {
		printf("not ok convert: at %.3f of a bare loop's speed\n", worst);
		return 1;
	}
	return 0;
}
