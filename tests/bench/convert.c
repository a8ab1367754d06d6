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

/* Of the speed of a bare loop; the goal is 0.95. */
#define FAR_BEYOND 0.4

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
