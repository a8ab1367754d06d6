/* SPDX-License-Identifier: MIT */
#include "convert.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

/* ---------------------------------------------------------------- scenes -------------------- */

void null_scene_open(struct null_scene *s, uint64_t length, uint64_t granule,
		     const struct null_scene *with)
{
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .kernel = &s->kernel };
	struct pfnbuf_ram ram = { .length = length, .addr = (void *)TIB };
	struct pfnbuf_place place = { .size = sizeof(place), .granule = granule };

	s->with = with;
	if (with) {
		s->ctx = with->ctx;
		s->ioas = with->ioas;
		s->vm = with->vm;
		place.gpa = place.iova = TIB;
	} else {
		null_kernel(&s->kernel);
		CHECK(pfnbuf_ctx_new(&s->ctx, &opts));
		CHECK(pfnbuf_ioas_new(s->ctx, &s->ioas));
		CHECK(pfnbuf_vm_new(s->ctx, PFNBUF_VM_SW_PROTECTED, &s->vm));
	}
	place.vm = s->vm;
	place.ioas = s->ioas;
	CHECK(pfnbuf_buf_new_memfd(s->ctx, length, 0, &ram.memfd));
	CHECK(pfnbuf_buf_new_guest_memfd(s->vm, length, 0, &ram.guest_memfd));
	CHECK(pfnbuf_window_new_ram(s->ctx, &ram, &place, &s->w));
	pfnbuf_buf_unref(ram.memfd);
	pfnbuf_buf_unref(ram.guest_memfd);
	CHECK(pfnbuf_window_set_range(s->w, 0, length, PFNBUF_SHARED));
}

void null_scene_close(struct null_scene *s)
{
	pfnbuf_window_free(s->w);
	if (s->with)
		return;
	pfnbuf_vm_free(s->vm);
	pfnbuf_ioas_free(s->ioas);
	pfnbuf_ctx_free(s->ctx);
}

/* ---------------------------------------------------------------- the library's time -------- */

#define CONVERSIONS 5000
#define ROUNDS	    5

/* The best of some rounds, in nanoseconds for one conversion, to shared and to private. */
struct best {
	uint64_t each[2];
	uint64_t batch[2];
};

/* Scattered ranges of one size, in no order. */
static void scatter(struct pfnbuf_conversion *list, uint64_t length, uint64_t size)
{
	const uint64_t stride = length / CONVERSIONS / size;

	for (uint64_t i = 0; i < CONVERSIONS; i++) {
		list[i].offset = (i * stride + random_u64() % stride) * size;
		list[i].length = size;
	}
	for (uint64_t i = CONVERSIONS - 1; i; i--) {
		const uint64_t k = random_u64() % (i + 1);
		const struct pfnbuf_conversion swap = list[i];

		list[i] = list[k];
		list[k] = swap;
	}
}

static void direct(struct pfnbuf_conversion *list, enum pfnbuf_vis to)
{
	for (int i = 0; i < CONVERSIONS; i++)
		list[i].to = to;
}

static void convert_each(struct pfnbuf_window *w, const struct pfnbuf_conversion *list)
{
	for (int i = 0; i < CONVERSIONS; i++)
		CHECK(pfnbuf_window_convert(w, list[i].offset, list[i].length, list[i].to));
}

static void keep_best(uint64_t *best, uint64_t before)
{
	const uint64_t ns = (now() - before) / CONVERSIONS;

	*best = ns < *best ? ns : *best;
}

static void there_and_back(struct pfnbuf_window *w, struct pfnbuf_conversion *list,
			   struct best *best)
{
	static const enum pfnbuf_vis to[] = { PFNBUF_PRIVATE, PFNBUF_SHARED };

	for (int i = 0; i < 4; i++) {
		uint64_t before;

		direct(list, to[i % 2]);
		before = now();
		if (i < 2) {
			convert_each(w, list);
			keep_best(&best->each[i % 2], before);
		} else {
			CHECK(pfnbuf_window_convert_batch(w, list, CONVERSIONS));
			keep_best(&best->batch[i % 2], before);
		}
	}
}

static void bench_size(const char *name, uint64_t length, uint64_t size)
{
	static struct pfnbuf_conversion list[CONVERSIONS];
	struct best best = { { UINT64_MAX, UINT64_MAX }, { UINT64_MAX, UINT64_MAX } };
	struct null_scene s;

	null_scene_open(&s, length, size, NULL);
	scatter(list, length, size);
	for (int i = 0; i < ROUNDS; i++)
		there_and_back(s.w, list, &best);
	null_scene_close(&s);
	printf("convert.null.%s.to_private_ns %" PRIu64 "\n", name, best.each[0]);
	printf("convert.null.%s.to_shared_ns %" PRIu64 "\n", name, best.each[1]);
	printf("convert.null.%s.batch_to_private_ns %" PRIu64 "\n", name, best.batch[0]);
	printf("convert.null.%s.batch_to_shared_ns %" PRIu64 "\n", name, best.batch[1]);
}

/* ---------------------------------------------------------------- two threads --------------- */

struct worker {
	pthread_t thread;
	struct pfnbuf_window *w;
	struct pfnbuf_conversion list[CONVERSIONS];
};

static void *work(void *arg)
{
	struct worker *worker = arg;

	for (int i = 0; i < 4; i++) {
		direct(worker->list, i & 1 ? PFNBUF_SHARED : PFNBUF_PRIVATE);
		convert_each(worker->w, worker->list);
	}
	return NULL;
}

static uint64_t time_workers(struct worker *workers, int n)
{
	const uint64_t before = now();

	for (int i = 0; i < n; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			abort();
	for (int i = 0; i < n; i++)
		pthread_join(workers[i].thread, NULL);
	return now() - before;
}

/* Conversions a second of two threads on two windows, over those of one on one. */
static void bench_threads(const char *name, bool together)
{
	static struct worker workers[2];
	uint64_t one = UINT64_MAX, two = UINT64_MAX;
	struct null_scene s[2];

	null_scene_open(&s[0], 16 * GIB, 2 * MIB, NULL);
	null_scene_open(&s[1], 16 * GIB, 2 * MIB, together ? &s[0] : NULL);
	for (int i = 0; i < 2; i++) {
		workers[i].w = s[i].w;
		scatter(workers[i].list, 16 * GIB, 2 * MIB);
	}
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t ns = time_workers(workers, 1);

		one = ns < one ? ns : one;
		ns = time_workers(workers, 2);
		two = ns < two ? ns : two;
	}
	null_scene_close(&s[1]);
	null_scene_close(&s[0]);
	printf("convert.null.%s %.3f\n", name, 2 * (double)one / (double)two);
}

void bench_null(void)
{
	bench_size("4k", 2 * GIB, PAGE);
	bench_size("2m", 64 * GIB, 2 * MIB);
	bench_threads("two_threads", true);
	bench_threads("two_threads_two_vms", false);
}
