/* SPDX-License-Identifier: MIT */
#include "devices.h"

#include "raw.h"

int open_bound(struct pfnbuf_ctx *ctx, unsigned vendor, unsigned device, unsigned nth,
	       struct pfnbuf_device **devicep)
{
	char bdf[RAW_BDF_SIZE];
	int r = raw_find(vendor, device, nth, bdf);

	if (r == 0)
		r = pfnbuf_device_open(ctx, bdf, devicep);
	return r < 0 ? r : pfnbuf_device_bind(*devicep, NULL);
}

int open_engine(struct pfnbuf_ctx *ctx, struct pfnbuf_ioas *ioas, unsigned vendor, unsigned device,
		struct pfnbuf_device **devicep)
{
	int r = open_bound(ctx, vendor, device, 0, devicep);

	if (r == 0)
		r = pfnbuf_device_attach(*devicep, ioas);
	return r < 0 ? r : pfnbuf_device_set_bus_master(*devicep, true);
}

int map_for_dma(struct pfnbuf_ctx *ctx, struct pfnbuf_ioas *ioas, uint64_t length, uint64_t iova,
		struct pfnbuf_buf **bufp, void **addrp)
{
	const unsigned flags = PFNBUF_MAP_READ | PFNBUF_MAP_WRITE | PFNBUF_MAP_FIXED;
	int r = pfnbuf_buf_new_memfd(ctx, length, 0, bufp);

	if (r == 0)
		r = pfnbuf_buf_map(*bufp, 0, length, addrp);
	return r < 0 ? r : pfnbuf_ioas_map_buf(ioas, *bufp, 0, length, flags, &iova);
}
