/* SPDX-License-Identifier: MIT */
/*
 * Random operations on layouts, compared with naive arrays. A failing sequence is shrunk before it is shown.
 *
 *	layout_model [--ops N] [--seed S]    N operations (300000), from seed S (a new one each time)
 *	layout_model --prove                 plant errors, and fail unless each is found and shrunk to a few operations
 */
#include "layout_ops.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Operations in one sequence, after which fresh layouts are taken. */
#define SEQUENCE_MAX 4000

static uint64_t random_state;

/* splitmix64: any seed is a good one. */
static uint64_t random_next(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint32_t random_below(uint64_t limit)
{
	return (uint32_t)(random_next() % limit);
}

/* What a sequence is like. */
struct mood {
	uint64_t frames;
	uint32_t focus;	 /* around here most happens */
	uint32_t states; /* how many visibilities it knows */
	bool dense;	 /* so many short runs close together that chunks become dense */
};

static struct mood random_mood(uint64_t frames)
{
	return (struct mood){
		.frames = frames,
		.focus = random_below(frames),
		.states = 2 + random_below(2),
		.dense = random_below(2),
	};
}

/* Lengths of all magnitudes up to the whole, mostly short, as conversions are. */
static uint32_t random_length(const struct mood *mood)
{
	unsigned bits = random_below(4) ? random_below(5) : random_below(22);

	if (mood->dense && random_below(256))
		bits = random_below(4);
	return (uint32_t)(random_next() & ((UINT64_C(1) << bits) - 1)) % (uint32_t)mood->frames;
}

/* Places that are close together, so that runs meet, and often at an edge of 64 frames or of a chunk. */
static uint32_t random_frame(const struct mood *mood)
{
	switch (mood->dense && random_below(32) ? 3 : random_below(4)) {
	case 0:
		return random_below(mood->frames);
	case 1:
		return (uint32_t)((random_below(mood->frames) & ~63u) + random_below(3) - 1);
	case 2:
		return (uint32_t)((random_below(mood->frames) & ~16383u) + random_below(5) - 2);
	default:
		return mood->focus + random_below(mood->dense ? 8000 : 2000);
	}
}

/* Whole comparisons are slow on large geometries: there they come seldom. */
static uint8_t random_kind(uint64_t frames)
{
	static const uint8_t cheap[] = { OP_SET, OP_SET, OP_SET, OP_SET, OP_SET, OP_GET, OP_TEST };

	if (random_below(frames > 1000 ? frames / 200 : 4))
		return cheap[random_below(sizeof(cheap))];
	return (uint8_t)random_below(OP_KINDS);
}

static void random_ops(struct op *ops, size_t n, uint64_t frames)
{
	struct mood mood = random_mood(frames);

	for (size_t i = 0; i < n; i++)
		ops[i] = (struct op){
			.kind = random_kind(frames),
			.a = (uint8_t)(random_below(mood.dense ? 16 : 3)
					       ? 1
					       : random_below(OPS_LAYOUTS)),
			.b = (uint8_t)random_below(OPS_LAYOUTS),
			.vis = (uint8_t)(PFNBUF_PRIVATE - random_below(mood.states)),
			.x = random_frame(&mood),
			.y = random_length(&mood),
			.z = (uint32_t)random_next(),
		};
}

/* ---------------------------------------------------------------- shrinking --------------------------------------- */

static bool still_fails(const struct ops_world *world, const struct op *ops, size_t n,
			struct ops_failure *failure)
{
	struct ops_failure now;

	if (ops_run(world, ops, n, &now))
		return false;
	*failure = now;
	return true;
}

/* Leave out stretches, of half the sequence at first and of one operation at last, as long as it fails without. */
static size_t shrink_length(const struct ops_world *world, struct op *ops, size_t n,
			    struct ops_failure *failure)
{
	struct op *trial = malloc(n * sizeof(*ops));

	for (size_t cut = n / 2; cut; cut /= 2) {
		for (size_t at = 0; at + cut <= n;) {
			memcpy(trial, ops, at * sizeof(*ops));
			memcpy(trial + at, ops + at + cut, (n - at - cut) * sizeof(*ops));
			if (still_fails(world, trial, n - cut, failure)) {
				n -= cut;
				memcpy(ops, trial, n * sizeof(*ops));
			} else {
				at += cut;
			}
		}
	}
	free(trial);
	return n;
}

/* Halve, then lessen, a number for as long as it fails with it. */
static void shrink_number(const struct ops_world *world, struct op *ops, size_t n, uint32_t *number,
			  struct ops_failure *failure)
{
	for (uint32_t step = *number; step; step /= 2) {
		while (*number >= step) {
			*number -= step;
			if (!still_fails(world, ops, n, failure)) {
				*number += step;
				break;
			}
		}
	}
}

static size_t shrink(const struct ops_world *world, struct op *ops, size_t n,
		     struct ops_failure *failure)
{
	n = shrink_length(world, ops, failure->op + 1 < n ? failure->op + 1 : n, failure);
	for (size_t i = 0; i < n; i++) {
		ops[i].x %= (uint32_t)ops_frames(world->geometry);
		shrink_number(world, ops, n, &ops[i].y, failure);
		shrink_number(world, ops, n, &ops[i].x, failure);
		shrink_number(world, ops, n, &ops[i].z, failure);
	}
	return n;
}

/* ---------------------------------------------------------------- running ----------------------------------------- */

static void report(const struct ops_world *world, const struct op *ops, size_t n,
		   const struct ops_failure *failure)
{
	char line[256];

	printf("%zu operations on %" PRIu64 " frames fail: %s\n", n, ops_frames(world->geometry),
	       failure->text);
	for (size_t i = 0; i < n; i++) {
		ops_print(world, &ops[i], line, sizeof(line));
		printf("  %s\n", line);
	}
}

/* Up to @count operations; returns 0, or the length of the smallest failing sequence found, which is shown. */
static size_t search(enum ops_sabotage sabotage, uint64_t count)
{
	struct op *ops = malloc(SEQUENCE_MAX * sizeof(*ops));
	struct ops_failure failure;
	size_t n = 0, failing = 0;

	for (uint64_t done = 0; !failing && done < count; done += n) {
		struct ops_world world = { .geometry = random_below(ops_geometries()),
					   .sabotage = sabotage };

		n = count - done < SEQUENCE_MAX ? (size_t)(count - done) : SEQUENCE_MAX;
		random_ops(ops, n, ops_frames(world.geometry));
		if (!ops_run(&world, ops, n, &failure)) {
			printf("operation %zu of a sequence fails: %s; shrinking it\n", failure.op,
			       failure.text);
			fflush(stdout);
			failing = shrink(&world, ops, n, &failure);
			report(&world, ops, failing, &failure);
		}
	}
	free(ops);
	return failing;
}

static int prove(void)
{
	for (enum ops_sabotage sabotage = SABOTAGE_NONE + 1; sabotage < SABOTAGE_KINDS;
	     sabotage++) {
		size_t failing = search(sabotage, 200000);

		if (!failing || failing > 4) {
			printf("planted error %d: %zu operations, expected 1 to 4\n", (int)sabotage,
			       failing);
			return EXIT_FAILURE;
		}
	}
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "ops", required_argument, NULL, 'o' },
		{ "seed", required_argument, NULL, 's' },
		{ "prove", no_argument, NULL, 'p' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t count = 300000;
	bool proving = false;

	if (getrandom(&random_state, sizeof(random_state), 0) != sizeof(random_state))
		random_state = 1;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'o')
			count = strtoull(optarg, NULL, 0);
		else if (c == 's')
			random_state = strtoull(optarg, NULL, 0);
		else if (c == 'p')
			proving = true;
		else
			return 2;
	}
	printf("seed %#" PRIx64 "\n", random_state);
	fflush(stdout);
	if (proving)
		return prove();
	return search(SABOTAGE_NONE, count) ? EXIT_FAILURE : EXIT_SUCCESS;
}
