/* SPDX-License-Identifier: MIT */
/*
 * Random histories of windows whose memory is converted in granules, two of them at addresses that
 * overlap, with somebody who unmaps their areas and maps others there. Some steps have a call of
 * theirs fail, or two. After each the ledgers of IOAS and VM are what the kernel has; and what a
 * window could not do has changed nothing, unless it is quarantined.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "histories.h"
#include "rig.h"

#define GPA	      UINT64_C(0x100000000)
#define IOVA	      UINT64_C(0x40000000)
#define WINDOWS	      3
#define PAGES	      UINT64_C(96) /* of addresses that are used */
#define SKIPPED	      UINT64_C(4)
#define DEFAULT_STEPS 40000

static const struct {
	uint64_t granule; /* pages */
	uint64_t length;
	uint64_t at;
	bool is_va;
} kinds[WINDOWS] = {
	{ 1, 24, 0, false },
	{ 2, 21, 16, false },
	{ 3, 20, 48, true },
};

struct world {
	struct rig rig;
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_window *windows[WINDOWS];
	struct pfnbuf_buf *others;
	void *memory;
	uint64_t random;
	bool is_alone; /* nobody meddles */
};

static uint64_t nr_undone, nr_quarantined;

static uint64_t draw(struct world *world, uint64_t below)
{
	return draw_below(&world->random, below);
}

/* ---------------------------------------------------------------- the judge ----------------- */

/* The ledgers, as the simulated machine shows itself. */
static void print_ledgers(struct world *world, FILE *out)
{
	uint64_t attributes, length = 0;
	struct pfnbuf_area area = { 0 };

	while (pfnbuf_ioas_next_area(world->ioas, area.iova + area.length, &area)) {
		fprintf(out, "  0x%" PRIx64 "+0x%" PRIx64 " %s%s ", area.iova, area.length,
			area.flags & PFNBUF_MAP_READ ? "r" : "-",
			area.flags & PFNBUF_MAP_WRITE ? "w" : "-");
		if (area.is_va)
			fprintf(out, "memory\n");
		else
			fprintf(out, "file 0x%" PRIx64 "\n", area.offset);
		REQUIRE(!area.dead);
	}
	for (uint64_t gpa = GPA; gpa - GPA < GPA; gpa += length) {
		pfnbuf_vm_get_attributes(world->rig.vm, gpa, &attributes, &length);
		if (attributes)
			fprintf(out, "  private 0x%" PRIx64 "+0x%" PRIx64 "\n", gpa, length);
	}
}

/* Of the machine's own text what is in the ledgers. */
static void print_kernel(struct world *world, FILE *out)
{
	char *dump = rig_dump(&world->rig), *state;

	for (char *line = strtok_r(dump, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
		if (!strncmp(line, "  0x", 4) || !strncmp(line, "  private", 9))
			fprintf(out, "%s\n", line);
	free(dump);
}

static void judge(struct world *world)
{
	char *ledgers, *kernel;
	size_t size;
	FILE *out = open_memstream(&ledgers, &size);

	REQUIRE(out);
	print_ledgers(world, out);
	fclose(out);
	out = open_memstream(&kernel, &size);
	REQUIRE(out);
	print_kernel(world, out);
	fclose(out);
	if (strcmp(ledgers, kernel) != 0)
		fprintf(stderr, "ledgers:\n%skernel:\n%s", ledgers, kernel);
	REQUIRE(!strcmp(ledgers, kernel));
	free(ledgers);
	free(kernel);
}

/* ---------------------------------------------------------------- windows ------------------- */

static bool is_quarantined(struct pfnbuf_window *w)
{
	struct pfnbuf_window_info info;

	pfnbuf_window_get_info(w, &info);
	return info.state == PFNBUF_WINDOW_QUARANTINED;
}

static void make(struct world *world, int i)
{
	struct rig *rig = &world->rig;
	const struct pfnbuf_place place = {
		.size = sizeof(place),
		.vm = rig->vm,
		.gpa = GPA + (uint64_t)i * 2 * PAGES * PAGE,
		.ioas = world->ioas,
		.iova = IOVA + kinds[i].at * PAGE,
		.granule = kinds[i].granule * PAGE,
	};
	struct pfnbuf_ram ram = { .length = kinds[i].length * PAGE };

	if (kinds[i].is_va) {
		ram.addr = world->memory;
	} else {
		ram.memfd = rig_memfd(rig, SKIPPED + kinds[i].length);
		ram.offset = SKIPPED * PAGE;
	}
	REQUIRE(pfnbuf_buf_new_guest_memfd(rig->vm, ram.length, 0, &ram.guest_memfd) == 0);
	REQUIRE(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &world->windows[i]) == 0);
	pfnbuf_buf_unref(ram.memfd);
	pfnbuf_buf_unref(ram.guest_memfd);
	/* Where there is room for it. */
	pfnbuf_window_set_range(world->windows[i], 0, ram.length, PFNBUF_SHARED);
}

static enum pfnbuf_vis draw_vis(struct world *world)
{
	return draw(world, 2) ? PFNBUF_PRIVATE : PFNBUF_SHARED;
}

/* Often of one granule; sometimes it leaves the window. */
static struct pfnbuf_conversion draw_conversion(struct world *world, int i)
{
	const uint64_t granule = kinds[i].granule, n = (kinds[i].length + granule - 1) / granule;
	struct pfnbuf_conversion c = {
		.offset = draw(world, n) * granule * PAGE,
		.length = granule * PAGE,
		.to = draw_vis(world),
	};

	if (draw(world, 8) == 0)
		c.offset = draw(world, kinds[i].length) * PAGE;
	if (draw(world, 8) == 0)
		c.length = (1 + draw(world, 6)) * PAGE;
	return c;
}

static int convert(struct world *world, int i)
{
	const bool of_guest = draw(world, 3) == 0;
	const size_t n = 1 + (draw(world, 2) ? draw(world, 6) : 0);
	struct pfnbuf_conversion list[6];
	struct pfnbuf_window_info info;

	pfnbuf_window_get_info(world->windows[i], &info);
	for (size_t k = 0; k < n; k++) {
		list[k] = draw_conversion(world, i);
		list[k].offset += of_guest ? info.gpa : 0;
	}
	return of_guest ? pfnbuf_guest_convert(world->rig.vm, list, n)
			: pfnbuf_window_convert_batch(world->windows[i], list, n);
}

static int set_range(struct world *world, int i)
{
	const uint64_t n = kinds[i].length, from = draw(world, n),
		       length = 1 + draw(world, n - from);
	const enum pfnbuf_vis vis = draw(world, 8)   ? PFNBUF_SHARED
				    : draw(world, 2) ? PFNBUF_PRIVATE
						     : PFNBUF_HOLE;

	return pfnbuf_window_set_range(world->windows[i], from * PAGE, length * PAGE, vis);
}

static int move(struct world *world, int i)
{
	struct pfnbuf_window_info info;
	const uint64_t iova = IOVA + draw(world, PAGES - kinds[i].length) * PAGE;

	pfnbuf_window_get_info(world->windows[i], &info);
	return pfnbuf_window_move(world->windows[i], info.gpa,
				  draw(world, 2) ? iova : IOVA + kinds[i].at * PAGE);
}

static int suspend(struct world *world, int i)
{
	struct pfnbuf_window_info info;

	pfnbuf_window_get_info(world->windows[i], &info);
	return info.state == PFNBUF_WINDOW_SUSPENDED ? pfnbuf_window_resume(world->windows[i])
						     : pfnbuf_window_suspend(world->windows[i]);
}

static void draw_faults(struct world *world)
{
	static const int errors[] = { ENOMEM, EPERM, ENOENT, EINTR, EAGAIN, EBUSY, EEXIST };

	rig_count(&world->rig, NULL, 0);
	for (unsigned k = 0; k < 2 && draw(world, 3) == 0; k++)
		rig_fail(&world->rig, k, 1 + draw(world, 8),
			 errors[draw(world, sizeof(errors) / sizeof(*errors))]);
}

/* It does what it says, or leaves all as it was; or it is quarantined, and another takes its place. */
static void change(struct world *world, int (*what)(struct world *world, int i))
{
	const int i = (int)draw(world, WINDOWS);
	char *before = rig_dump(&world->rig), *after;
	int r;

	draw_faults(world);
	r = what(world, i);
	rig_count(&world->rig, NULL, 0);
	judge(world);
	after = rig_dump(&world->rig);
	if (is_quarantined(world->windows[i])) {
		REQUIRE(r < 0);
		nr_quarantined++;
		world->windows[i] = pfnbuf_window_free(world->windows[i]);
		make(world, i);
	} else if (r < 0) {
		if (strcmp(before, after) != 0)
			fprintf(stderr, "before:\n%safter:\n%s", before, after);
		REQUIRE(!strcmp(before, after));
		REQUIRE(*pfnbuf_last_error());
		nr_undone++;
	} else if (world->is_alone) {
		REQUIRE(pfnbuf_window_verify(world->windows[i], NULL) == 1);
	}
	free(before);
	free(after);
}

/* ---------------------------------------------------------------- somebody ------------------ */

static void unmap_some(struct world *world)
{
	struct pfnbuf_area first, last;

	if (!pfnbuf_ioas_next_area(world->ioas, IOVA + draw(world, PAGES) * PAGE, &first))
		return;
	if (!pfnbuf_ioas_next_area(world->ioas, first.iova + draw(world, 4) * PAGE, &last))
		last = first;
	REQUIRE(pfnbuf_ioas_unmap(world->ioas, first.iova, last.iova + last.length - first.iova,
				  NULL) == 0);
}

static void map_some(struct world *world)
{
	uint64_t iova = IOVA + draw(world, PAGES) * PAGE;
	const uint64_t length = (1 + draw(world, 4)) * PAGE;
	const int r = pfnbuf_ioas_map_buf(world->ioas, world->others, draw(world, 4) * PAGE, length,
					  PFNBUF_MAP_READ | PFNBUF_MAP_FIXED, &iova);

	REQUIRE(r == 0 || r == -EEXIST);
}

static void copy_some(struct world *world)
{
	uint64_t iova = IOVA + draw(world, PAGES) * PAGE;
	struct pfnbuf_area area;
	int r;

	if (!pfnbuf_ioas_next_area(world->ioas, IOVA + draw(world, PAGES) * PAGE, &area))
		return;
	r = pfnbuf_ioas_copy(world->ioas, world->ioas, area.iova, area.length,
			     area.flags | PFNBUF_MAP_FIXED, &iova);
	REQUIRE(r == 0 || r == -EEXIST);
}

static void meddle(struct world *world)
{
	switch (draw(world, 12)) {
	case 0:
		REQUIRE(pfnbuf_ioas_unmap_all(world->ioas, NULL) == 0);
		break;
	case 1:
	case 2:
	case 3:
	case 4:
		map_some(world);
		break;
	case 5:
	case 6:
		copy_some(world);
		break;
	default:
		unmap_some(world);
		break;
	}
}

/* ---------------------------------------------------------------- histories ----------------- */

static void make_step(struct world *world)
{
	const int i = (int)draw(world, WINDOWS);

	switch (draw(world, 40)) {
	case 0:
		pfnbuf_window_free(world->windows[i]);
		make(world, i);
		break;
	case 1:
	case 2:
		change(world, move);
		break;
	case 3:
	case 4:
		change(world, suspend);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
	case 9:
	case 10:
		change(world, set_range);
		break;
	case 11:
	case 12:
	case 13:
	case 14:
		if (!world->is_alone)
			meddle(world);
		break;
	default:
		change(world, convert);
		break;
	}
}

static void begin(struct world *world)
{
	*world = (struct world){ .random = history_seed, .is_alone = history_seed % 2 };
	world->rig.vm_type = PFNBUF_VM_SW_PROTECTED;
	rig_open(&world->rig);
	/* Areas of an IOAS of somebody else's are unmapped one by one. */
	if (history_seed % 3)
		world->ioas = world->rig.ioas;
	else
		REQUIRE(pfnbuf_ioas_from_id(world->rig.ctx, pfnbuf_ioas_get_id(world->rig.ioas),
					    &world->ioas) == 0);
	world->others = rig_memfd(&world->rig, 8);
	world->memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(world->memory != MAP_FAILED);
	for (int i = 0; i < WINDOWS; i++)
		make(world, i);
}

static void end(struct world *world)
{
	for (int i = 0; i < WINDOWS; i++)
		pfnbuf_window_free(world->windows[i]);
	judge(world);
	REQUIRE(pfnbuf_ioas_unmap_all(world->ioas, NULL) == 0);
	rig_check_clean(&world->rig);
	pfnbuf_buf_unref(world->others);
	munmap(world->memory, PAGES * PAGE);
	if (world->ioas != world->rig.ioas)
		pfnbuf_ioas_free(world->ioas);
	rig_close(&world->rig);
}

static void run_history(void)
{
	static struct world world;

	begin(&world);
	for (history_step = 0; history_step < HISTORY_LEN; history_step++) {
		make_step(&world);
		judge(&world);
	}
	end(&world);
}

int main(void)
{
	const uint64_t n = run_histories(run_history, DEFAULT_STEPS);

	printf("%" PRIu64 " steps in %" PRIu64 " histories, %" PRIu64 " changes undone, %" PRIu64
	       " quarantined\n",
	       n * HISTORY_LEN, n, nr_undone, nr_quarantined);
	return 0;
}
