/* SPDX-License-Identifier: MIT */
/*
 * From the moment its window is built, the library gets no memory: a device with ten thousand areas
 * and slots is revoked and restored all the same. And a change of layout that runs out of memory
 * half-way finds its way back without any, as does a conversion. The simulated kernel keeps its own
 * memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpfnbuf/uapi/iommufd.h"
#include "rig.h"
#include "tests/unit/tried.h"
#include "starve.h"

#define GPA    UINT64_C(0x100000000)
#define IOVA   UINT64_C(0x40000000)
#define AREAS  10000
#define BDF    "0000:05:00.0"
#define LENGTH (UINT64_C(1) << 27)

static int (*fed_ioctl)(void *data, int fd, unsigned long request, void *arg);
static ssize_t (*fed_pwrite)(void *data, int fd, const void *buf, size_t count, uint64_t offset);
static ssize_t (*fed_pread)(void *data, int fd, void *buf, size_t count, uint64_t offset);

static int starved_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	const bool starving = starve_pause();
	int r = fed_ioctl(data, fd, request, arg);

	starve_resume(starving);
	return r;
}

static ssize_t starved_pwrite(void *data, int fd, const void *buf, size_t count, uint64_t offset)
{
	const bool starving = starve_pause();
	ssize_t r = fed_pwrite(data, fd, buf, count, offset);

	starve_resume(starving);
	return r;
}

static ssize_t starved_pread(void *data, int fd, void *buf, size_t count, uint64_t offset)
{
	const bool starving = starve_pause();
	ssize_t r = fed_pread(data, fd, buf, count, offset);

	starve_resume(starving);
	return r;
}

/* The kernel behind the door is not the one that starves. */
static void spare_the_kernel(struct rig *rig)
{
	fed_ioctl = rig->door.ioctl;
	fed_pwrite = rig->door.pwrite;
	fed_pread = rig->door.pread;
	rig->door.ioctl = starved_ioctl;
	rig->door.pwrite = starved_pwrite;
	rig->door.pread = starved_pread;
}

static struct pfnbuf_device *open_card(struct rig *rig)
{
	const struct pfnbuf_sim_device spec = {
		.bdf = BDF,
		.vendor = 0x1af4,
		.device = 0x1110,
		.flags = PFNBUF_SIM_FLR | PFNBUF_SIM_PM,
		.bars = { [0] = { .size = LENGTH } },
	};
	struct pfnbuf_device *device;

	REQUIRE(pfnbuf_sim_add_device(rig->sim, &spec) == 0);
	REQUIRE(pfnbuf_device_open(rig->ctx, BDF, &device) == 0);
	REQUIRE(pfnbuf_device_bind(device, NULL) == 0);
	return device;
}

static struct pfnbuf_place place_of(const struct rig *rig)
{
	return (struct pfnbuf_place){
		.size = sizeof(struct pfnbuf_place),
		.vm = rig->vm,
		.gpa = GPA,
		.ioas = rig->ioas,
		.iova = IOVA,
	};
}

static struct pfnbuf_window *make(struct rig *rig, struct pfnbuf_device *device)
{
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_layout *layout;
	struct pfnbuf_window *w;

	place.flags = PFNBUF_PLACE_WITHDRAW_SLOTS;
	REQUIRE(pfnbuf_layout_new(LENGTH, PAGE, PFNBUF_HOLE, &layout) == 0);
	for (uint64_t i = 0; i < AREAS; i++)
		REQUIRE(pfnbuf_layout_set(layout, 2 * i * PAGE, PAGE, PFNBUF_SHARED) == 0);
	REQUIRE(pfnbuf_window_new_bar(device, 0, NULL, &place, &w) == 0);
	REQUIRE(pfnbuf_window_set_layout(w, layout) == 0);
	pfnbuf_layout_free(layout);
	return w;
}

static void is_placed(struct rig *rig, struct pfnbuf_window *w, bool live)
{
	struct pfnbuf_window_info info;

	pfnbuf_window_get_info(w, &info);
	REQUIRE(info.state == (live ? PFNBUF_WINDOW_LIVE : PFNBUF_WINDOW_SUSPENDED));
	REQUIRE(info.areas == AREAS && info.slots == AREAS);
	REQUIRE(info.dead_areas == (live ? 0 : AREAS));
	for (uint64_t i = 0; i < AREAS; i += 999) {
		REQUIRE((rig_dma(rig, IOVA + 2 * i * PAGE) >= 0) == live);
		REQUIRE((rig_guest(rig, GPA + 2 * i * PAGE) >= 0) == live);
	}
}

static void restore_without_memory(void)
{
	static struct rig rig;
	struct pfnbuf_device *device;
	struct pfnbuf_window *w;

	rig_open(&rig);
	device = open_card(&rig);
	w = make(&rig, device);
	is_placed(&rig, w, true);
	spare_the_kernel(&rig);

	starve_from(0);
	REQUIRE(pfnbuf_device_reset(device) == 0);
	starve_end();
	is_placed(&rig, w, false);
	starve_from(0);
	rig_count(&rig, NULL, 0);
	REQUIRE(pfnbuf_device_restore(device) == 0);
	/* All areas at once, then each area and slot. */
	REQUIRE(rig.changes == 1 + 2 * AREAS);
	REQUIRE(pfnbuf_device_set_memory_decode(device, false) == 0);
	REQUIRE(pfnbuf_device_restore(device) == -ENODEV);
	REQUIRE(pfnbuf_device_set_memory_decode(device, true) == 0);
	REQUIRE(pfnbuf_window_restore(w) == 0);
	starve_end();
	is_placed(&rig, w, true);

	pfnbuf_window_free(w);
	pfnbuf_device_close(device);
	rig_close(&rig);
	printf("%d areas and slots restored without memory\n", AREAS);
}

static void open_bar(struct rig *rig, const struct pfnbuf_place *place, struct pfnbuf_window **wp)
{
	REQUIRE(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, place, wp) == 0);
}

static void open_ram(struct rig *rig, const struct pfnbuf_place *place, struct pfnbuf_window **wp)
{
	struct pfnbuf_ram ram = { .memfd = rig_memfd(rig, 32), .length = 32 * PAGE };

	REQUIRE(pfnbuf_buf_new_guest_memfd(rig->vm, ram.length, 0, &ram.guest_memfd) == 0);
	REQUIRE(pfnbuf_window_new_ram(rig->ctx, &ram, place, wp) == 0);
	pfnbuf_buf_unref(ram.memfd);
	pfnbuf_buf_unref(ram.guest_memfd);
}

struct change {
	const char *name;
	void (*open)(struct rig *rig, const struct pfnbuf_place *place, struct pfnbuf_window **wp);
	const char *before;
	const char *after;
};

/* Attributes whose runs are split, joined, and gone: what setting them back takes differs. */
static const struct change changes[] = {
	{ "a BAR", open_bar, "ss..ss..ssssss..ss..ss..ss......",
	  "ssss..sssssss...ss..ssss......ss" },
	{ "RAM", open_ram, "ppppppppssppsspp..ssspspspspsps.", "ppsspppppppppppp..pppssssssssss." },
};

/* Returns what the change returned when only so many allocations succeeded. */
static int change_with(const struct change *change, size_t allocations)
{
	struct rig rig = { .vm_type = PFNBUF_VM_SW_PROTECTED };
	struct pfnbuf_layout *before = rig_layout(change->before);
	struct pfnbuf_layout *after = rig_layout(change->after);
	struct pfnbuf_window_info info;
	struct pfnbuf_place place;
	struct pfnbuf_window *w;
	char *was, *is;
	int r;

	rig_open(&rig);
	spare_the_kernel(&rig);
	place = place_of(&rig);
	change->open(&rig, &place, &w);
	REQUIRE(pfnbuf_window_set_layout(w, before) == 0);
	was = rig_dump(&rig);
	starve_from(allocations);
	r = pfnbuf_window_set_layout(w, after);
	starve_end();
	is = rig_dump(&rig);
	/* The way back needs no memory, so it is always found. */
	REQUIRE(r == 0 || (r == -ENOMEM && !strcmp(was, is)));
	pfnbuf_window_get_info(w, &info);
	REQUIRE(info.state == PFNBUF_WINDOW_LIVE);
	free(was);
	free(is);
	pfnbuf_layout_free(before);
	pfnbuf_layout_free(after);
	pfnbuf_window_free(w);
	rig_close(&rig);
	return r;
}

#define REQUIRE_STARVED(call)                                                                      \
	do {                                                                                       \
		int result;                                                                        \
                                                                                                   \
		starve_from(0);                                                                    \
		result = (call);                                                                   \
		starve_end();                                                                      \
		REQUIRE(result == -ENOMEM);                                                        \
		note_tried(#call, ENOMEM);                                                         \
	} while (0)

static void ask_without_memory(void)
{
	struct pfnbuf_layout *layout = rig_layout("ss..ss..ssssss..ss..ss..ss......"), *got;
	static struct rig rig;
	struct pfnbuf_place place = { .size = sizeof(place), .iova = IOVA };
	struct pfnbuf_plan *plan;
	struct pfnbuf_window *w;

	rig_open(&rig);
	place.ioas = rig.ioas;
	REQUIRE(pfnbuf_window_new_bar(rig.card, RIG_BAR, NULL, &place, &w) == 0);
	REQUIRE_STARVED(pfnbuf_window_plan(w, layout, &plan));
	REQUIRE_STARVED(pfnbuf_window_get_layout(w, &got));
	REQUIRE_STARVED(pfnbuf_window_default_layout(w, &got));
	pfnbuf_window_free(w);
	pfnbuf_layout_free(layout);
	rig_close(&rig);
}

#define GRANULE	    (16 * PAGE)
#define WINDOWS	    30
#define CONVERSIONS 100 /* in each */

static struct pfnbuf_window *open_granules(struct rig *rig, uint64_t length, uint64_t granule)
{
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = { .length = length };
	struct pfnbuf_window *w;

	place.granule = granule;
	REQUIRE(pfnbuf_buf_new_memfd(rig->ctx, length, 0, &ram.memfd) == 0);
	REQUIRE(pfnbuf_buf_new_guest_memfd(rig->vm, length, 0, &ram.guest_memfd) == 0);
	REQUIRE(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w) == 0);
	REQUIRE(pfnbuf_window_set_range(w, 0, length, PFNBUF_SHARED) == 0);
	pfnbuf_buf_unref(ram.memfd);
	pfnbuf_buf_unref(ram.guest_memfd);
	return w;
}

static void layout_is(struct rig *rig, struct pfnbuf_window *w,
		      const struct pfnbuf_layout *expected, uint64_t offset)
{
	const bool shared = pfnbuf_layout_get(expected, offset, NULL) == PFNBUF_SHARED;
	struct pfnbuf_layout *layout;

	REQUIRE(pfnbuf_window_get_layout(w, &layout) == 0);
	REQUIRE(pfnbuf_layout_equal(layout, expected));
	pfnbuf_layout_free(layout);
	REQUIRE((rig_dma(rig, IOVA + offset) >= 0) == shared);
	REQUIRE((rig_guest_private(rig, GPA + offset) >= 0) == !shared);
}

/* Runs out after each number of allocations in turn; returns how often that was too few. */
static unsigned convert_granule(struct rig *rig, struct pfnbuf_window *w,
				struct pfnbuf_layout *expected, uint64_t offset)
{
	const bool shared = pfnbuf_layout_get(expected, offset, NULL) == PFNBUF_SHARED;
	const enum pfnbuf_vis to = shared ? PFNBUF_PRIVATE : PFNBUF_SHARED;
	unsigned refused = 0;
	int r;

	for (;;) {
		starve_from(refused);
		r = pfnbuf_window_convert(w, offset, GRANULE, to);
		starve_end();
		if (r >= 0)
			break;
		REQUIRE(r == -ENOMEM);
		/* It is not that of the kernel, for which there is a remedy. */
		REQUIRE(!strstr(pfnbuf_last_error(), "RLIMIT_MEMLOCK"));
		layout_is(rig, w, expected, offset);
		refused++;
	}
	REQUIRE(pfnbuf_layout_set(expected, offset, GRANULE, to) == 0);
	layout_is(rig, w, expected, offset);
	return refused;
}

/* In a window of its own: the first of them need memory, what is turned again does not. */
static unsigned convert_some(struct rig *rig, uint32_t *random)
{
	struct pfnbuf_window *w = open_granules(rig, LENGTH, GRANULE);
	struct pfnbuf_layout *expected;
	unsigned refused = 0;

	REQUIRE(pfnbuf_layout_new(LENGTH, PAGE, PFNBUF_SHARED, &expected) == 0);
	for (unsigned i = 0; i < CONVERSIONS; i++) {
		*random = *random * 1664525 + 1013904223;
		refused += convert_granule(rig, w, expected,
					   (*random >> 8) % (LENGTH / GRANULE) * GRANULE);
	}
	REQUIRE(pfnbuf_window_verify(w, NULL) == 1);
	pfnbuf_layout_free(expected);
	pfnbuf_window_free(w);
	return refused;
}

/*
 * Conversions of a granule do not go by a plan: whatever memory they need they have before the first
 * call, and what they led to is in the ledger.
 */
static void convert_granules(void)
{
	static struct rig rig = { .vm_type = PFNBUF_VM_SW_PROTECTED };
	uint32_t random = 1;
	unsigned refused = 0;

	rig_open(&rig);
	spare_the_kernel(&rig);
	for (int i = 0; i < WINDOWS; i++)
		refused += convert_some(&rig, &random);
	REQUIRE(refused > 3 * WINDOWS);
	printf("%d conversions of a granule, refused %u times for want of memory\n",
	       WINDOWS * CONVERSIONS, refused);
	rig_close(&rig);
}

#define CHUNKS	UINT64_C(8) /* what attributes are kept for at a time */
#define LARGER	(UINT64_C(1) << 20)
#define BATCHES 20U

/* A granule of every other chunk becomes private, and those of the rest are shared again. */
static void draw_batch(struct pfnbuf_conversion *batch, uint64_t round)
{
	for (uint64_t i = 0; i < CHUNKS; i++) {
		const bool to_private = (i + round) % 2;

		batch[i] = (struct pfnbuf_conversion){
			.offset = i * LENGTH + (round + to_private) / 2 % 32 * 3 * LARGER,
			.length = LARGER,
			.to = to_private ? PFNBUF_PRIVATE : PFNBUF_SHARED,
		};
	}
}

/* Half-way there it runs out of memory as well, and what was done is undone without any. */
static void convert_batches(void)
{
	static struct rig rig = { .vm_type = PFNBUF_VM_SW_PROTECTED };
	struct pfnbuf_conversion batch[CHUNKS];
	struct pfnbuf_window *w;
	unsigned refused = 0;

	rig_open(&rig);
	spare_the_kernel(&rig);
	w = open_granules(&rig, CHUNKS * LENGTH, LARGER);
	for (unsigned i = 0; i < BATCHES; i++) {
		char *before = rig_dump(&rig), *after;
		int r = -ENOMEM;

		draw_batch(batch, i);
		for (size_t n = 0; r < 0; n++) {
			starve_from(n);
			r = pfnbuf_window_convert_batch(w, batch, CHUNKS);
			starve_end();
			REQUIRE(r == 0 || r == -ENOMEM);
			after = rig_dump(&rig);
			REQUIRE(r == 0 || !strcmp(before, after));
			free(after);
			refused += r < 0;
		}
		free(before);
	}
	REQUIRE(refused > 10 * BATCHES);
	REQUIRE(pfnbuf_window_verify(w, NULL) == 1);
	printf("%u batches of granules, refused %u times for want of memory\n", BATCHES, refused);
	pfnbuf_window_free(w);
	rig_check_clean(&rig);
	rig_close(&rig);
}

/* Areas that the kernel does not unmap stay on the ledger, with no memory for records of theirs, too. */
static void end_granules(void)
{
	static struct rig rig = { .vm_type = PFNBUF_VM_SW_PROTECTED };
	const uint64_t n = LENGTH / LARGER;
	struct pfnbuf_area area = { 0 };
	struct pfnbuf_window *w, *next;
	uint64_t left = 0;

	rig_open(&rig);
	spare_the_kernel(&rig);
	w = open_granules(&rig, LENGTH, LARGER);
	REQUIRE(pfnbuf_window_convert(w, 3 * LARGER, LARGER, PFNBUF_PRIVATE) == 0);
	rig_count(&rig, NULL, 0);
	rig_fail(&rig, 0, 1, EIO);
	rig_fail(&rig, 1, 2, EIO);
	starve_from(4);
	pfnbuf_window_free(w);
	starve_end();
	while (pfnbuf_ioas_next_area(rig.ioas, area.iova + area.length, &area))
		left += area.length / LARGER;
	REQUIRE(left == n - 1);
	/* What they were is none of another window's business. */
	REQUIRE(pfnbuf_ioas_unmap_all(rig.ioas, NULL) == 0);
	next = open_granules(&rig, LENGTH, LARGER);
	for (uint64_t i = 0; i < n; i++)
		REQUIRE(pfnbuf_window_convert(next, i * LARGER, LARGER, PFNBUF_PRIVATE) == 0);
	for (uint64_t i = 0; i < n; i += 2)
		REQUIRE(pfnbuf_window_convert(next, i * LARGER, LARGER, PFNBUF_SHARED) == 0);
	REQUIRE(pfnbuf_window_verify(next, NULL) == 1);
	pfnbuf_window_free(next);
	rig_check_clean(&rig);
	rig_close(&rig);
}

int main(void)
{
	restore_without_memory();
	ask_without_memory();
	convert_granules();
	convert_batches();
	end_granules();
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		size_t n = 0;

		while (change_with(&changes[i], n) < 0)
			n++;
		REQUIRE(n > 10);
		printf("a change of %s undone after each of %zu allocations\n", changes[i].name, n);
	}
	return 0;
}
