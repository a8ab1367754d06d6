/* SPDX-License-Identifier: MIT */
/* Any bytes as a sequence of operations on layouts, each compared with naive arrays: a byte of geometry, then struct op. */
#include "layout_ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPS_MAX 256

/* The smaller geometries: up to five chunks, below a level of nodes. */
#define GEOMETRY_MAX 10

/* Operations times frames, which is what arrays cost: more inputs a second find more than longer ones. */
#define WORK_MAX 200000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ops_world world = { .geometry = size ? data[0] % GEOMETRY_MAX : 0 };
	struct ops_failure failure;
	struct op ops[OPS_MAX];
	size_t n = size ? (size - 1) / sizeof(ops[0]) : 0;

	if (n > OPS_MAX)
		n = OPS_MAX;
	if (n > WORK_MAX / ops_frames(world.geometry))
		n = WORK_MAX / ops_frames(world.geometry);
	if (n)
		memcpy(ops, data + 1, n * sizeof(ops[0]));
	if (!ops_run(&world, ops, n, &failure)) {
		fprintf(stderr, "operation %zu: %s\n", failure.op, failure.text);
		abort();
	}
	return 0;
}
