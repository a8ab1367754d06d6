/* SPDX-License-Identifier: MIT */
/*
 * The library's own part of a restore: 10,000 areas of a simulated device, over a kernel that says
 * yes to every mapping and keeps none; and the same of a bare loop over the same table of calls. What
 * a real kernel takes for the calls is measured in the virtual machine (tests/vm/t40_window.c).
 */
#include <pfnbuf-sim.h>

#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "bench_restore.h"
#include "libpfnbuf/uapi/iommufd.h"

#define WINDOWS 20
#define AREAS	500 /* of each window, every other page */
#define IOVA	UINT64_C(0x10000000)
#define STRIDE	UINT64_C(0x400000) /* from a window to the next */
#define ROUNDS	25
#define BDF	"0000:01:00.0"

struct bench {
	struct pfnbuf_sim *sim;
	struct pfnbuf_kernel kernel;
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_device *device;
	struct pfnbuf_window *windows[WINDOWS];
};

static const struct pfnbuf_kernel *simulated;
static uint64_t maps;

static int null_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	switch (request) {
	case IOMMU_IOAS_MAP_FILE:
		maps++;
		return 0;
	case IOMMU_IOAS_UNMAP:
		return 0;
	default:
		return simulated->ioctl(data, fd, request, arg);
	}
}

static void open_device(struct bench *b)
{
	const struct pfnbuf_sim_device card = {
		.bdf = BDF,
		.vendor = 0x1af4,
		.device = 0x1110,
		.flags = PFNBUF_SIM_FLR,
		.bars = { [2] = { STRIDE, PFNBUF_SIM_BAR_64 } },
	};
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts) };

	CHECK(pfnbuf_sim_new(&b->sim));
	CHECK(pfnbuf_sim_add_device(b->sim, &card));
	simulated = pfnbuf_sim_kernel(b->sim);
	b->kernel = *simulated;
	b->kernel.ioctl = null_ioctl;
	opts.kernel = &b->kernel;
	CHECK(pfnbuf_ctx_new(&b->ctx, &opts));
	CHECK(pfnbuf_ioas_new(b->ctx, &b->ioas));
	CHECK(pfnbuf_device_open(b->ctx, BDF, &b->device));
	CHECK(pfnbuf_device_bind(b->device, NULL));
	CHECK(pfnbuf_device_set_memory_decode(b->device, true));
}

static void build_windows(struct bench *b)
{
	const struct pfnbuf_range part = { 0, 2 * AREAS * PAGE };
	struct pfnbuf_place at = { .size = sizeof(at), .ioas = b->ioas };
	struct pfnbuf_layout *layout;

	CHECK(pfnbuf_layout_new(part.length, PAGE, PFNBUF_HOLE, &layout));
	for (uint64_t i = 0; i < AREAS; i++)
		CHECK(pfnbuf_layout_set(layout, 2 * i * PAGE, PAGE, PFNBUF_SHARED));
	for (uint64_t i = 0; i < WINDOWS; i++) {
		at.iova = IOVA + i * STRIDE;
		CHECK(pfnbuf_window_new_bar(b->device, 2, &part, &at, &b->windows[i]));
		CHECK(pfnbuf_window_set_layout(b->windows[i], layout));
	}
	pfnbuf_layout_free(layout);
}

static void bench_close(struct bench *b)
{
	for (int i = 0; i < WINDOWS; i++)
		pfnbuf_window_free(b->windows[i]);
	pfnbuf_device_close(b->device);
	pfnbuf_ioas_free(b->ioas);
	pfnbuf_ctx_free(b->ctx);
	pfnbuf_sim_free(b->sim);
}

/* By the processor's time for this thread: what else the machine does is not in it. */
#define CLOCK CLOCK_THREAD_CPUTIME_ID

static double timed_restore(struct bench *b)
{
	double start;

	CHECK(pfnbuf_device_set_memory_decode(b->device, false));
	CHECK(pfnbuf_device_set_memory_decode(b->device, true));
	maps = 0;
	start = seconds(CLOCK);
	CHECK(pfnbuf_device_restore(b->device));
	start = seconds(CLOCK) - start;
	if (maps != WINDOWS * AREAS) {
		fprintf(stderr, "restored %llu areas\n", (unsigned long long)maps);
		exit(1);
	}
	return start;
}

static int map_bare(const struct pfnbuf_kernel *k, uint64_t start, uint64_t iova)
{
	struct iommu_ioas_map_file map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = 1,
		.fd = 1000,
		.start = start,
		.length = PAGE,
		.iova = iova,
	};

	return k->ioctl(k->data, 1000, IOMMU_IOAS_MAP_FILE, &map);
}

static double timed_loop(const struct pfnbuf_kernel *k)
{
	const double start = seconds(CLOCK);

	for (uint64_t i = 0; i < WINDOWS; i++)
		for (uint64_t n = 0; n < AREAS; n++)
			CHECK(map_bare(k, 2 * n * PAGE, IOVA + i * STRIDE + 2 * n * PAGE));
	return seconds(CLOCK) - start;
}

void bench_restore(void)
{
	double ours = 1, bare = 1;
	struct bench b;

	open_device(&b);
	build_windows(&b);
	for (int i = 0; i < ROUNDS; i++) {
		double t = timed_restore(&b);

		ours = t < ours ? t : ours;
		t = timed_loop(&b.kernel);
		bare = t < bare ? t : bare;
	}
	printf("window.restore_ns_per_area %.1f\n", ours * 1e9 / (WINDOWS * AREAS));
	printf("window.restore_ns_per_area_of_bare_loop %.1f\n", bare * 1e9 / (WINDOWS * AREAS));
	bench_close(&b);
}
