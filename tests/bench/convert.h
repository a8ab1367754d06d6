/* SPDX-License-Identifier: MIT */
/*
 * The parts of the benchmark of conversions, which prints a line for each figure: "convert.<figure>
 * <value>", and what stands behind it after a "#".
 */
#ifndef TESTS_BENCH_CONVERT_H
#define TESTS_BENCH_CONVERT_H

#include <pfnbuf.h>

#include "bench.h"
#include "null_kernel.h"

/* ---------------------------------------------------------------- convert_null.c ------------ */

/* A window of RAM in two places, in a VM and an IOAS of its own or those of @with. */
struct null_scene {
	struct pfnbuf_kernel kernel;
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_vm *vm;
	struct pfnbuf_window *w;
	const struct null_scene *with;
};

void null_scene_open(struct null_scene *scene, uint64_t length, uint64_t granule,
		     const struct null_scene *with);
void null_scene_close(struct null_scene *scene);

/* The library's own time for a conversion, and two threads over one. */
void bench_null(void);

/* ---------------------------------------------------------------- the others ---------------- */

/* convert_calls.c: kernel calls over the fewest that will do. */
void bench_calls(void);

/*
 * convert_real.c: conversions over a bare loop, on the kernel that runs. @bdf: a device to attach,
 * so that pages are pinned; or NULL. Returns the worst of the ratios, 1 where there are none.
 */
double bench_real(const char *bdf);

/*
 * convert_discard.c: a submission to io_uring over a loop of fallocate, for pages and for 2 MiB.
 * @fd has 64 MiB; @name: of the figure.
 */
void bench_discard(int fd, const char *name);

#endif
