/* SPDX-License-Identifier: MIT */
#ifndef TESTS_VM_DEVICES_H
#define TESTS_VM_DEVICES_H

/* The devices of the test machine, through the library. Everything returns 0 or a negative errno. */

#include <pfnbuf.h>

/* Open and bind the nth (from 0) device of a kind: vendor and device are RAW_EDU and the like. */
int open_bound(struct pfnbuf_ctx *ctx, unsigned vendor, unsigned device, unsigned nth,
	       struct pfnbuf_device **devicep);
/* The first of a kind, which then can do DMA in the IOAS. */
int open_engine(struct pfnbuf_ctx *ctx, struct pfnbuf_ioas *ioas, unsigned vendor, unsigned device,
		struct pfnbuf_device **devicep);

/* Memory that the IOAS's devices find at an IOVA and this process at *addrp. */
int map_for_dma(struct pfnbuf_ctx *ctx, struct pfnbuf_ioas *ioas, uint64_t length, uint64_t iova,
		struct pfnbuf_buf **bufp, void **addrp);

#endif
