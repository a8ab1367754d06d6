/* SPDX-License-Identifier: MIT */
/* A test suite that links the simulated kernel instead of owning a device. */
#include <pfnbuf-sim.h>

#include <stdio.h>

static int use(struct pfnbuf_sim *sim)
{
	const struct pfnbuf_sim_device spec = {
		.bdf = "0000:01:00.0",
		.vendor = 0x1af4,
		.device = 0x1110,
		.bars = { [2] = { .size = 1 << 20 } },
	};
	const struct pfnbuf_ctx_opts opts = {
		.size = sizeof(opts),
		.kernel = pfnbuf_sim_kernel(sim),
	};
	struct pfnbuf_device *device;
	struct pfnbuf_ctx *ctx;
	int r;

	if (pfnbuf_sim_add_device(sim, &spec) < 0 || pfnbuf_ctx_new(&ctx, &opts) < 0)
		return -1;
	r = pfnbuf_device_open(ctx, spec.bdf, &device);
	if (r == 0) {
		r = pfnbuf_device_bind(device, NULL);
		pfnbuf_device_close(device);
	}
	if (r < 0)
		fprintf(stderr, "%s\n", pfnbuf_last_error());
	pfnbuf_ctx_free(ctx);
	return r;
}

int main(void)
{
	struct pfnbuf_sim *sim;
	int r;

	if (pfnbuf_sim_new(&sim) < 0)
		return 1;
	r = use(sim);
	pfnbuf_sim_free(sim);
	return r < 0;
}
