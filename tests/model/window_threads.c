/* SPDX-License-Identifier: MIT */
/*
 * Eight threads change windows of their own, one digests events and one resets the devices and
 * restores them. Nothing fails meanwhile, and in the end everything is as the layouts say. What
 * threads do to each other's memory is for a build with -Db_sanitize=thread to see.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

#define GPA	UINT64_C(0x100000000)
#define IOVA	UINT64_C(0x40000000)
#define WINDOWS 8
#define PAGES	UINT64_C(32)

struct worker {
	struct rig *rig;
	struct pfnbuf_window *w;
	uint64_t base;
	uint32_t seed;
	unsigned long done;
	pthread_t thread;
};

static atomic_bool stop;
static unsigned nr_resets;

static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void make(struct worker *me, int i)
{
	struct rig *rig = me->rig;
	struct pfnbuf_place place = {
		.size = sizeof(place),
		.vm = rig->vm,
		.gpa = GPA + (uint64_t)i * 128 * PAGE,
		.ioas = rig->ioas,
		.iova = IOVA + (uint64_t)i * 128 * PAGE,
		.flags = i & 1 ? PFNBUF_PLACE_WITHDRAW_SLOTS : 0,
	};

	me->base = (uint64_t)i * 128 * PAGE;
	me->seed = (uint32_t)i * 77 + 1;
	if (i < 4) {
		REQUIRE(pfnbuf_window_new_bar(i < 2 ? rig->card : rig->other, RIG_BAR, NULL, &place,
					      &me->w) == 0);
	} else {
		struct pfnbuf_ram ram = { .memfd = rig_memfd(rig, PAGES), .length = PAGES * PAGE };

		place.flags = 0;
		place.granule = 4 * PAGE;
		REQUIRE(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &me->w) == 0);
		pfnbuf_buf_unref(ram.memfd);
	}
}

static void *work(void *data)
{
	struct worker *me = data;

	while (!stop) {
		const uint32_t a = next_random(&me->seed), b = next_random(&me->seed);
		const uint64_t from = a % PAGES, n = 1 + b % (PAGES - from);
		struct pfnbuf_window_info info;

		if (a % 16 == 0)
			REQUIRE(pfnbuf_window_move(me->w, GPA + me->base + b % 64 * PAGE,
						   IOVA + me->base + a / 16 % 64 * PAGE) == 0);
		else
			REQUIRE(pfnbuf_window_set_range(me->w, from * PAGE, n * PAGE,
							a >> 16 & 1 ? PFNBUF_SHARED
								    : PFNBUF_HOLE) == 0);
		if (a % 8 == 1)
			pfnbuf_window_get_info(me->w, &info);
		me->done++;
	}
	return NULL;
}

static void *dispatch(void *data)
{
	struct rig *rig = data;
	struct pfnbuf_event ev;
	uint64_t seq = 0;

	while (!stop) {
		REQUIRE(pfnbuf_ctx_dispatch(rig->ctx) == 0);
		while (pfnbuf_ctx_pop_event(rig->ctx, &ev)) {
			REQUIRE(ev.seq > seq || ev.type == PFNBUF_EVENT_LOST);
			seq = ev.seq;
		}
		usleep(100);
	}
	return NULL;
}

static void *reset(void *data)
{
	struct rig *rig = data;

	for (; !stop; nr_resets++) {
		struct pfnbuf_device *device = nr_resets & 1 ? rig->other : rig->card;

		if (nr_resets % 4 < 2) {
			REQUIRE(pfnbuf_device_reset(device) == 0);
		} else {
			REQUIRE(pfnbuf_device_set_memory_decode(device, false) == 0);
			usleep(200);
			REQUIRE(pfnbuf_device_set_memory_decode(device, true) == 0);
		}
		REQUIRE(pfnbuf_device_restore(device) == 0);
		usleep(200);
	}
	return NULL;
}

static void check(struct worker *me)
{
	struct pfnbuf_window_info info;
	struct pfnbuf_layout *layout;

	pfnbuf_window_get_info(me->w, &info);
	REQUIRE(info.state == PFNBUF_WINDOW_LIVE);
	REQUIRE(pfnbuf_window_verify(me->w, NULL) == 1);
	REQUIRE(pfnbuf_window_get_layout(me->w, &layout) == 0);
	for (uint64_t page = 0; page < PAGES; page++) {
		const bool shared = pfnbuf_layout_get(layout, page * PAGE, NULL) == PFNBUF_SHARED;

		REQUIRE((rig_dma(me->rig, info.iova + page * PAGE) >= 0) == shared);
		REQUIRE((rig_guest(me->rig, info.gpa + page * PAGE) >= 0) == shared);
	}
	pfnbuf_layout_free(layout);
}

int main(int argc, char **argv)
{
	static struct worker workers[WINDOWS];
	static struct rig rig;
	const unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 2;
	pthread_t dispatcher, resetter;
	unsigned long done = 0;

	rig_open(&rig);
	for (int i = 0; i < WINDOWS; i++) {
		workers[i].rig = &rig;
		make(&workers[i], i);
	}
	for (int i = 0; i < WINDOWS; i++)
		REQUIRE(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
	REQUIRE(pthread_create(&dispatcher, NULL, dispatch, &rig) == 0);
	REQUIRE(pthread_create(&resetter, NULL, reset, &rig) == 0);
	sleep(seconds);
	stop = true;
	for (int i = 0; i < WINDOWS; i++) {
		pthread_join(workers[i].thread, NULL);
		REQUIRE(workers[i].done > 0);
		done += workers[i].done;
	}
	pthread_join(dispatcher, NULL);
	pthread_join(resetter, NULL);
	REQUIRE(nr_resets > 0);
	REQUIRE(pfnbuf_device_restore(rig.card) == 0);
	REQUIRE(pfnbuf_device_restore(rig.other) == 0);
	for (int i = 0; i < WINDOWS; i++)
		check(&workers[i]);
	for (int i = 0; i < WINDOWS; i++)
		pfnbuf_window_free(workers[i].w);
	rig_close(&rig);
	printf("%lu changes, %u resets\n", done, nr_resets);
	return 0;
}
