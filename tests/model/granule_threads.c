/* SPDX-License-Identifier: MIT */
/*
 * Two threads convert the granules of a window each, one by one and in batches, one of them as the
 * guest asks; one moves and suspends a third window; one walks through the IOAS, maps and unmaps
 * beside them, for a window's addresses are its own, and copies; one asks for states. In the end
 * everything is as the layouts say. What threads do to each other's memory is for a build with
 * -Db_sanitize=thread to see.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "libpfnbuf/uapi/kvm.h"
#include "rig.h"

#define GPA	UINT64_C(0x100000000)
#define IOVA	UINT64_C(0x40000000)
#define WINDOWS 3
#define PAGES	UINT64_C(64)
#define SPACING (4 * PAGES * PAGE)
#define HOLE	UINT64_C(40) /* a page of the first window */

struct world {
	struct rig rig;
	struct pfnbuf_ioas *copies;
	struct pfnbuf_buf *other;
	struct pfnbuf_window *windows[WINDOWS];
};

static atomic_bool stop;
static atomic_ulong nr_converted, nr_walked, nr_moved, nr_asked;

static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void make(struct world *world, int i)
{
	struct rig *rig = &world->rig;
	const struct pfnbuf_place place = {
		.size = sizeof(place),
		.vm = rig->vm,
		.gpa = GPA + (uint64_t)i * SPACING,
		.ioas = rig->ioas,
		.iova = IOVA + (uint64_t)i * SPACING,
		.granule = PAGE,
	};
	struct pfnbuf_ram ram = { .memfd = rig_memfd(rig, PAGES), .length = PAGES * PAGE };

	REQUIRE(pfnbuf_buf_new_guest_memfd(rig->vm, ram.length, 0, &ram.guest_memfd) == 0);
	REQUIRE(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &world->windows[i]) == 0);
	REQUIRE(pfnbuf_window_set_range(world->windows[i], 0, ram.length, PFNBUF_SHARED) == 0);
	pfnbuf_buf_unref(ram.memfd);
	pfnbuf_buf_unref(ram.guest_memfd);
}

static size_t draw_batch(uint32_t *seed, uint64_t base, struct pfnbuf_conversion *list)
{
	const size_t n = next_random(seed) % 3 ? 1 : 2 + next_random(seed) % 5;

	for (size_t k = 0; k < n; k++) {
		const uint32_t random = next_random(seed);

		list[k] = (struct pfnbuf_conversion){
			.offset = base + random % PAGES * PAGE,
			.length = PAGE,
			.to = random >> 16 & 1 ? PFNBUF_SHARED : PFNBUF_PRIVATE,
		};
	}
	return n;
}

static void *convert(void *data)
{
	struct world *world = data;
	struct pfnbuf_conversion list[8];
	uint32_t seed = 11;

	for (; !stop; nr_converted++)
		REQUIRE(pfnbuf_window_convert_batch(world->windows[0], list,
						    draw_batch(&seed, 0, list)) == 0);
	return NULL;
}

static void *convert_as_guest(void *data)
{
	struct world *world = data;
	struct pfnbuf_conversion list[8];
	uint32_t seed = 12;

	for (; !stop; nr_converted++)
		REQUIRE(pfnbuf_guest_convert(world->rig.vm, list,
					     draw_batch(&seed, GPA + SPACING, list)) == 0);
	return NULL;
}

static void *move(void *data)
{
	struct world *world = data;
	struct pfnbuf_window *w = world->windows[2];
	uint32_t seed = 13;

	for (; !stop; nr_moved++) {
		const uint64_t by = next_random(&seed) % PAGES * PAGE;

		REQUIRE(pfnbuf_window_convert(w, by, PAGE, PFNBUF_PRIVATE) == 0);
		REQUIRE(pfnbuf_window_move(w, GPA + 2 * SPACING + by, IOVA + 2 * SPACING + by) ==
			0);
		REQUIRE(pfnbuf_window_convert(w, by, PAGE, PFNBUF_SHARED) == 0);
		REQUIRE(pfnbuf_window_suspend(w) == 0);
		REQUIRE(pfnbuf_window_resume(w) == 0);
	}
	return NULL;
}

static void map_and_copy(struct world *world, uint64_t iova)
{
	struct pfnbuf_ioas *ioas = world->rig.ioas;
	uint64_t copy;

	REQUIRE(pfnbuf_ioas_map_buf(ioas, world->other, 0, PAGE, PFNBUF_MAP_READ | PFNBUF_MAP_FIXED,
				    &iova) == 0);
	REQUIRE(pfnbuf_ioas_copy(world->copies, ioas, iova, PAGE, PFNBUF_MAP_READ, &copy) == 0);
	REQUIRE(pfnbuf_ioas_unmap(world->copies, copy, PAGE, NULL) == 0);
	REQUIRE(pfnbuf_ioas_unmap(ioas, iova, PAGE, NULL) == 0);
}

static void *walk(void *data)
{
	struct world *world = data;

	for (; !stop; nr_walked++) {
		struct pfnbuf_area area = { 0 };

		while (pfnbuf_ioas_next_area(world->rig.ioas, area.iova + area.length, &area))
			REQUIRE(area.length == PAGE && !area.dead);
		map_and_copy(world, IOVA + PAGES * PAGE);
		map_and_copy(world, IOVA + SPACING - PAGE);
	}
	return NULL;
}

static void *look(void *data)
{
	struct world *world = data;
	uint64_t attributes, length;

	for (uint64_t i = 0; !stop; i++, nr_asked++) {
		const struct pfnbuf_exit exit = {
			.kind = PFNBUF_EXIT_MEMORY_FAULT,
			.flags = i & 1 ? KVM_MEMORY_EXIT_FLAG_PRIVATE : 0,
			.gpa = GPA + i % WINDOWS * SPACING + i % PAGES * PAGE,
			.length = PAGE,
		};
		struct pfnbuf_window_info info;
		struct pfnbuf_exit_advice advice;

		pfnbuf_window_get_info(world->windows[i % WINDOWS], &info);
		REQUIRE(info.state != PFNBUF_WINDOW_QUARANTINED);
		/* It waits for all conversions of the guest, of which there is always one. */
		if (i % 64 == 63)
			REQUIRE(pfnbuf_window_verify(world->windows[i % WINDOWS], NULL) == 1);
		pfnbuf_vm_get_attributes(world->rig.vm, exit.gpa, &attributes, &length);
		REQUIRE(pfnbuf_exit_explain(world->rig.vm, &exit, &advice) == 0);
	}
	return NULL;
}

static void check(struct world *world, int i)
{
	struct pfnbuf_window_info info;
	struct pfnbuf_layout *layout;

	pfnbuf_window_get_info(world->windows[i], &info);
	REQUIRE(pfnbuf_window_verify(world->windows[i], NULL) == 1);
	REQUIRE(pfnbuf_window_get_layout(world->windows[i], &layout) == 0);
	for (uint64_t page = 0; page < PAGES; page++) {
		const int vis = pfnbuf_layout_get(layout, page * PAGE, NULL);

		REQUIRE((rig_dma(&world->rig, info.iova + page * PAGE) >= 0) ==
			(vis == PFNBUF_SHARED));
		REQUIRE((rig_guest(&world->rig, info.gpa + page * PAGE) >= 0) ==
			(vis == PFNBUF_SHARED));
		REQUIRE((rig_guest_private(&world->rig, info.gpa + page * PAGE) >= 0) ==
			(vis == PFNBUF_PRIVATE));
	}
	pfnbuf_layout_free(layout);
}

int main(int argc, char **argv)
{
	static void *(*const work[])(void *) = { convert, convert_as_guest, move, walk, look };
	static struct world world;
	const unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 2;
	pthread_t threads[5];

	world.rig.vm_type = PFNBUF_VM_SW_PROTECTED;
	rig_open(&world.rig);
	REQUIRE(pfnbuf_ioas_new(world.rig.ctx, &world.copies) == 0);
	world.other = rig_memfd(&world.rig, 1);
	for (int i = 0; i < WINDOWS; i++)
		make(&world, i);
	REQUIRE(pfnbuf_window_set_range(world.windows[0], HOLE * PAGE, PAGE, PFNBUF_HOLE) == 0);
	for (int i = 0; i < 5; i++)
		REQUIRE(pthread_create(&threads[i], NULL, work[i], &world) == 0);
	sleep(seconds);
	stop = true;
	for (int i = 0; i < 5; i++)
		pthread_join(threads[i], NULL);
	REQUIRE(nr_converted && nr_walked && nr_moved && nr_asked);
	rig_check_alias(&world.rig);
	for (int i = 0; i < WINDOWS; i++) {
		check(&world, i);
		pfnbuf_window_free(world.windows[i]);
	}
	pfnbuf_buf_unref(world.other);
	pfnbuf_ioas_free(world.copies);
	rig_check_clean(&world.rig);
	printf("%lu conversions, %lu walks, %lu moves, %lu looks\n", nr_converted, nr_walked,
	       nr_moved, nr_asked);
	rig_close(&world.rig);
	return 0;
}
