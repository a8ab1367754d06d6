/* SPDX-License-Identifier: MIT */
/*
 * What conversions cost. usage: bench_convert [--least RATIO] [BDF]
 *
 * BDF is a device to attach to the IOAS, so that pages are pinned. With --least it fails where the
 * library has less of a bare loop's speed than that.
 */
#include "convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	const bool judges = argc > 2 && !strcmp(argv[1], "--least");
	const double least = judges ? strtod(argv[2], NULL) : 0;
	double worst;

	argv += judges ? 3 : 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	worst = bench_real(*argv);
	bench_calls();
	bench_null();
	discard_memory();
	if (worst < least) {
		printf("not ok convert: at %.3f of a bare loop's speed, which is below %.3f\n",
		       worst, least);
		return 1;
	}
	return 0;
}
