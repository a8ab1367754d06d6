/* SPDX-License-Identifier: MIT */
/*
 * Windows of RAM that is shared and private: the steps that conversions are made of, and what device
 * and guest reach after them on the simulated kernel.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "libpfnbuf/private.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "placed.h"

#define PAGES	    16
#define PRIVATE_TAG UINT64_C(0x9417a7e)

static struct pfnbuf_ram new_memory(struct rig *rig)
{
	struct pfnbuf_ram ram = {
		.memfd = rig_memfd(rig, SKIPPED + PAGES),
		.offset = SKIPPED * PAGE,
		.length = PAGES * PAGE,
		.guest_memfd_offset = SKIPPED_GUEST * PAGE,
	};

	assert_int_equal(pfnbuf_buf_new_guest_memfd(rig->vm, (SKIPPED_GUEST + PAGES) * PAGE, 0,
						    &ram.guest_memfd),
			 0);
	return ram;
}

static void drop_memory(struct pfnbuf_ram *ram)
{
	pfnbuf_buf_unref(ram->memfd);
	pfnbuf_buf_unref(ram->guest_memfd);
}

static struct pfnbuf_window *new_window(struct rig *rig, uint64_t granule)
{
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = new_memory(rig);
	struct pfnbuf_window *w;

	place.granule = granule * PAGE;
	if (pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w) != 0)
		fail_msg("%s", pfnbuf_last_error());
	drop_memory(&ram);
	return w;
}

/* What is in a page: its own tag, that of private memory, or, after a conversion, nothing. */
static int64_t shared_tag(uint64_t page)
{
	return (int64_t)rig_tag(RIG_TAG_RAM, SKIPPED + page);
}

static int64_t private_tag(uint64_t page)
{
	return (int64_t)rig_tag(PRIVATE_TAG, page);
}

/*
 * A character per page: 's' shared with its tag, 'S' shared and empty, 'p' private with its tag, 'P'
 * private and empty, '.' a hole.
 */
static void page_is(struct rig *rig, const struct pfnbuf_window_info *info, uint64_t page, char c)
{
	const uint64_t iova = info->iova + page * PAGE, gpa = info->gpa + page * PAGE;
	const int64_t shared = c == 's' ? shared_tag(page) : c == 'S' ? 0 : -EFAULT;
	const int64_t private = c == 'p' ? private_tag(page) : c == 'P' ? 0 : -EFAULT;

	assert_int_equal(rig_dma(rig, iova), shared);
	assert_int_equal(rig_guest(rig, gpa), c == '.' ? -ENXIO : shared);
	assert_int_equal(rig_guest_private(rig, gpa), private);
}

static void reaches(struct rig *rig, struct pfnbuf_window *w, const char *picture)
{
	struct pfnbuf_window_info info;

	pfnbuf_window_get_info(w, &info);
	for (uint64_t page = 0; picture[page]; page++)
		page_is(rig, &info, page, picture[page]);
	assert_int_equal(info.state, PFNBUF_WINDOW_LIVE);
	assert_int_equal(pfnbuf_window_verify(w, NULL), 1);
	rig_check_alias(rig);
}

static void write_private(struct rig *rig, uint64_t page, uint64_t n)
{
	for (uint64_t end = page + n; page < end; page++)
		assert_int_equal(rig_guest_write_private(rig, GPA + page * PAGE,
							 (uint64_t)private_tag(page)),
				 0);
}

/* ---------------------------------------------------------------- plans --------------------- */

static void plans_convert(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 0);

	plan_is(w, NULL, "ssssssssssssssss", "S0+16 M0+16");
	plan_is(w, NULL, "pppppppppppppppp", "A0+16p S0+16");
	plan_is(w, NULL, "sspp....ppssssss", "A2+2p A8+2p S0+4 S8+8 M0+2 M10+6");
	/* No slot changes, whatever is converted. */
	plan_is(w, "ssssssssssssssss", "sspsspssssssssss",
		"U0+16 A2+1p A5+1p M0+2 M3+2 M6+10 X2+1m X5+1m");
	plan_is(w, "sspsspssssssssss", "ssssssssssssssss", "U0+16:3 A2+1s A5+1s M0+16 X2+1g X5+1g");
	plan_is(w, "sspp....ppssssss", "ppss....sspppppp",
		"U0+16:2 A0+2p A2+2s A8+2s A10+6p M2+2 M8+2 X0+2m X2+2g X8+2g X10+6m");
	/* What becomes a hole is kept, and what was one was empty. */
	plan_is(w, "ssppssppssppsspp", "ss..ssppssppss..", "D0+16 A2+2s A14+2s S0+2 S4+10");
	plan_is(w, "................", "ssppssppssppsspp",
		"A2+2p A6+2p A10+2p A14+2p S0+16 M0+2 M4+2 M8+2 M12+2");
	/* Neighbours go with one call, where they come from differs. */
	plan_is(w, "ssss..pppp..ssss", "pppppppppppp..ss",
		"U0+16:2 D0+4 D6+4 D12+4 A0+6p A10+2p S0+12 S14+2 M14+2 X0+4m");
	pfnbuf_window_free(w);
}

static void plans_convert_with_a_granule(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 4);

	plan_is(w, "ssssssssssssssss", "sspsssssppppssss",
		"U0+4 U8+4 A2+1p A8+4p M0+2 M3+1 X2+1m X8+4m");
	pfnbuf_window_free(w);
}

/* The target of a conversion, made page by page. */
static struct pfnbuf_layout *converted(struct pfnbuf_window *w, const struct pfnbuf_conversion *c)
{
	struct pfnbuf_layout *layout;

	assert_int_equal(pfnbuf_window_get_layout(w, &layout), 0);
	for (uint64_t at = c->offset; at < c->offset + c->length; at += PAGE)
		if (pfnbuf_layout_get(layout, at, NULL) != PFNBUF_HOLE)
			assert_int_equal(pfnbuf_layout_set(layout, at, PAGE, c->to), 0);
	return layout;
}

/* The ioctl that a step makes; 0: it is none. */
static unsigned long request_of(const struct pfnbuf_plan *plan, size_t i)
{
	struct pfnbuf_step step;

	assert_int_equal(pfnbuf_plan_get_step(plan, i, &step), 0);
	switch (step.kind) {
	case PFNBUF_STEP_AREA_UNMAP:
		return IOMMU_IOAS_UNMAP;
	case PFNBUF_STEP_AREA_MAP:
		return IOMMU_IOAS_MAP_FILE;
	case PFNBUF_STEP_ATTRIBUTE_SET:
		return KVM_SET_MEMORY_ATTRIBUTES;
	default:
		assert_int_equal(step.kind, PFNBUF_STEP_DISCARD);
		return 0;
	}
}

/* A conversion makes the calls of a plan for what it leads to, in that order. */
static void convert_as_planned(struct rig *rig, struct pfnbuf_window *w,
			       const struct pfnbuf_conversion *c)
{
	struct pfnbuf_layout *target = converted(w, c), *layout;
	struct rig_call log[64];
	struct pfnbuf_plan *plan;
	size_t n;

	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	n = pfnbuf_plan_get_nr_steps(plan);
	rig_count(rig, log, 64);
	assert_int_equal(pfnbuf_window_convert(w, c->offset, c->length, c->to), 0);
	assert_int_equal(rig->calls, n);
	rig_count(rig, NULL, 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(log[i].request, request_of(plan, i));
	pfnbuf_plan_free(plan);
	assert_int_equal(pfnbuf_window_get_layout(w, &layout), 0);
	assert_true(pfnbuf_layout_equal(layout, target));
	pfnbuf_layout_free(layout);
	pfnbuf_layout_free(target);
}

static void conversions_are_planned_as_layouts(void **state)
{
	struct rig *rig = *state;
	uint32_t random = 1;

	for (uint64_t granule = 0; granule <= 4; granule += 2) {
		const uint64_t unit = granule ? granule : 1;
		struct pfnbuf_window *w = new_window(rig, granule);

		set_layout(w, "ssssppppss..ssss");
		for (int i = 0; i < 500; i++) {
			struct pfnbuf_conversion c = { 0 };

			random = random * 1664525 + 1013904223;
			c.to = random >> 31 ? PFNBUF_SHARED : PFNBUF_PRIVATE;
			c.length = (random >> 8) % 3 ? unit : 1 + (random >> 10) % 5;
			c.offset = (random >> 16) % (PAGES - c.length + 1) * PAGE;
			if ((random >> 8) % 3 != 2)
				c.offset -= c.offset % (unit * PAGE);
			c.length *= PAGE;
			convert_as_planned(rig, w, &c);
		}
		pfnbuf_window_free(w);
	}
}

/* A hole in a slot that shows thousands of runs, and changes all over it. */
static void plans_of_many_runs(void **state)
{
	enum { RUNS = 4096 };
	struct rig *rig = *state;
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = { .length = 2 * RUNS * PAGE };
	struct pfnbuf_layout *layout;
	struct pfnbuf_window *w;
	struct pfnbuf_plan *plan;
	struct pfnbuf_step s;

	assert_int_equal(pfnbuf_buf_new_memfd(rig->ctx, ram.length, 0, &ram.memfd), 0);
	assert_int_equal(pfnbuf_buf_new_guest_memfd(rig->vm, ram.length, 0, &ram.guest_memfd), 0);
	place.ioas = NULL;
	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), 0);
	drop_memory(&ram);
	assert_int_equal(pfnbuf_layout_new(ram.length, PAGE, PFNBUF_SHARED, &layout), 0);
	for (uint64_t i = 0; i < RUNS; i++)
		assert_int_equal(pfnbuf_layout_set(layout, 2 * i * PAGE, PAGE, PFNBUF_PRIVATE), 0);
	assert_int_equal(pfnbuf_window_set_layout(w, layout), 0);
	for (uint64_t i = 1; i < RUNS; i += 2)
		assert_int_equal(pfnbuf_layout_set(layout, 2 * i * PAGE, PAGE, PFNBUF_HOLE), 0);
	assert_int_equal(pfnbuf_window_plan(w, layout, &plan), 0);
	/* One slot goes, RUNS / 2 attributes are reset, and as many slots and one come. */
	assert_int_equal(pfnbuf_plan_get_nr_steps(plan), 1 + RUNS / 2 + RUNS / 2 + 1);
	assert_int_equal(pfnbuf_plan_get_step(plan, 1 + RUNS / 2, &s), 0);
	assert_int_equal(s.kind, PFNBUF_STEP_SLOT_SET);
	assert_int_equal(s.range.length, 2 * PAGE);
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(layout);
	pfnbuf_window_free(w);
}

static void plans_move_private_memory(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 0);

	set_layout(w, "sspp....pppp..ss");
	move_is(w, GPA + 4 * PAGE, IOVA,
		"D0+4 D8+4 D14+2 A2+2s A8+4s A6+2p A12+4p S4+4 S12+4 S18+2");
	move_is(w, GPA, IOVA + PAGE, "U0+16:2 M1+2 M15+2");
	pfnbuf_window_free(w);
}

static void plans_are_printed(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 0);
	struct pfnbuf_layout *target = rig_layout("pppppppppppppppp");
	const int vm = pfnbuf_vm_get_fd(rig->vm);
	char text[1024], expected[1024];
	struct pfnbuf_plan *plan;

	set_layout(w, "ssssssssssssssss");
	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	pfnbuf_plan_print(plan, text, sizeof(text));
	snprintf(expected, sizeof(expected),
		 "2 attribute-set vm %d 0x100000000+0x10000 to private: private from now on\n", vm);
	assert_non_null(strstr(text, expected));
	assert_non_null(strstr(text, "\n3 discard memfd "));
	assert_non_null(strstr(text, " 0x4000+0x10000: what was shared is private now\n"));
	pfnbuf_plan_print_json(plan, text, sizeof(text));
	assert_non_null(strstr(text, "\"kind\": \"attribute-set\""));
	assert_non_null(strstr(text, ", \"attributes\": 8, \"reason\""));
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(target);
	pfnbuf_window_free(w);
}

/* ---------------------------------------------------------------- flows --------------------- */

static void memory_is_converted(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 4);
	char *before = rig_dump(rig), *after;

	reaches(rig, w, "................");
	set_layout(w, "ssssssssssssssss");
	reaches(rig, w, "ssssssssssssssss");
	assert_int_equal(pfnbuf_window_convert(w, 4 * PAGE, 6 * PAGE, PFNBUF_PRIVATE), 0);
	reaches(rig, w, "ssssPPPPPPssssss");
	write_private(rig, 4, 6);
	reaches(rig, w, "ssssppppppssssss");
	assert_int_equal(pfnbuf_window_convert(w, 5 * PAGE, 2 * PAGE, PFNBUF_SHARED), 0);
	reaches(rig, w, "sssspSSpppssssss");
	/* What was converted is gone from both memories. */
	assert_int_equal(pfnbuf_window_convert(w, 5 * PAGE, 2 * PAGE, PFNBUF_PRIVATE), 0);
	reaches(rig, w, "sssspPPpppssssss");
	assert_int_equal(pfnbuf_window_convert(w, 0, PAGES * PAGE, PFNBUF_SHARED), 0);
	reaches(rig, w, "ssssSSSSSSssssss");
	set_layout(w, "................");
	after = rig_dump(rig);
	assert_string_equal(before, after);
	free(before);
	free(after);
	pfnbuf_window_free(w);
}

static void holes_stay_holes(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 0);
	struct pfnbuf_window_info before, after;

	set_layout(w, "ss..ss....ssss..");
	assert_int_equal(pfnbuf_window_convert(w, PAGE, 11 * PAGE, PFNBUF_PRIVATE), 0);
	reaches(rig, w, "sP..PP....PPss..");
	/* What is so already, and what is a hole, costs nothing. */
	pfnbuf_window_get_info(w, &before);
	rig_count(rig, NULL, 0);
	assert_int_equal(pfnbuf_window_convert(w, PAGE, 5 * PAGE, PFNBUF_PRIVATE), 0);
	assert_int_equal(pfnbuf_window_convert(w, 6 * PAGE, 4 * PAGE, PFNBUF_SHARED), 0);
	assert_int_equal(pfnbuf_window_convert(w, 12 * PAGE, 4 * PAGE, PFNBUF_SHARED), 0);
	assert_int_equal(rig->calls, 0);
	pfnbuf_window_get_info(w, &after);
	assert_int_equal(before.version, after.version);

	assert_int_equal(pfnbuf_window_convert(w, 0, PAGE, PFNBUF_HOLE), -EINVAL);
	assert_int_equal(pfnbuf_window_convert(w, 0, PAGE, (enum pfnbuf_vis)3), -EINVAL);
	assert_int_equal(pfnbuf_window_convert(w, 0, 0, PFNBUF_SHARED), -EINVAL);
	assert_int_equal(pfnbuf_window_convert(w, 1, PAGE, PFNBUF_SHARED), -EINVAL);
	assert_int_equal(pfnbuf_window_convert(w, 0, 17 * PAGE, PFNBUF_SHARED), -ERANGE);
	assert_int_equal(pfnbuf_window_convert(w, 16 * PAGE, PAGE, PFNBUF_SHARED), -ERANGE);
	assert_int_equal(pfnbuf_window_convert(w, -PAGE, 2 * PAGE, PFNBUF_SHARED), -ERANGE);
	reaches(rig, w, "sP..PP....PPss..");
	pfnbuf_window_free(w);
}

static void batches_are_one_plan(void **state)
{
	const struct pfnbuf_conversion batch[] = {
		{ 0, 4 * PAGE, PFNBUF_PRIVATE },
		{ 8 * PAGE, 4 * PAGE, PFNBUF_SHARED },
		{ 2 * PAGE, 4 * PAGE, PFNBUF_SHARED }, /* overrules part of the first */
		{ 6 * PAGE, PAGE, PFNBUF_PRIVATE },
	};
	const struct pfnbuf_conversion bad[] = {
		{ 0, PAGE, PFNBUF_SHARED },
		{ 0, 17 * PAGE, PFNBUF_PRIVATE },
	};
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 0);

	set_layout(w, "ssssssssppp.pppp");
	rig_count(rig, NULL, 0);
	assert_int_equal(pfnbuf_window_convert_batch(w, batch, 4), 0);
	/* UNMAP, attributes of 0+2, 6+1 and 8+3, MAP of 2+4, 7+4; discards of three. */
	assert_int_equal(rig->calls, 1 + 3 + 2 + 3);
	reaches(rig, w, "PPssssPssss.PPPP");
	assert_int_equal(pfnbuf_window_convert_batch(w, bad, 2), -ERANGE);
	assert_int_equal(pfnbuf_window_convert_batch(w, NULL, 0), 0);
	reaches(rig, w, "PPssssPssss.PPPP");
	pfnbuf_window_free(w);
}

static void private_memory_moves(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 0);
	uint64_t attributes, length;

	set_layout(w, "ssppss..ppppss..");
	write_private(rig, 2, 2);
	write_private(rig, 8, 4);
	reaches(rig, w, "ssppss..ppppss..");
	assert_int_equal(pfnbuf_window_move(w, GPA + 3 * PAGE, IOVA + PAGE), 0);
	reaches(rig, w, "ssppss..ppppss..");
	assert_int_equal(pfnbuf_window_move(w, GPA + 64 * PAGE, IOVA), 0);
	reaches(rig, w, "ssppss..ppppss..");
	pfnbuf_vm_get_attributes(rig->vm, GPA, &attributes, &length);
	assert_int_equal(attributes, 0);
	assert_int_equal(length, 66 * PAGE);
	assert_int_equal(pfnbuf_window_suspend(w), 0);
	pfnbuf_vm_get_attributes(rig->vm, GPA, &attributes, &length);
	assert_true(!attributes && length > 128 * PAGE);
	assert_int_equal(rig_guest_private(rig, GPA + 66 * PAGE), -EFAULT);
	assert_int_equal(pfnbuf_window_move(w, GPA, IOVA), 0);
	assert_int_equal(pfnbuf_window_resume(w), 0);
	reaches(rig, w, "ssppss..ppppss..");
	pfnbuf_window_free(w);
	/* KVM is as it was. */
	pfnbuf_vm_get_attributes(rig->vm, 0, &attributes, &length);
	assert_true(!attributes && length == UINT64_MAX);
	assert_int_equal(rig_guest_private(rig, GPA + 2 * PAGE), -EFAULT);
	rig_check_clean(rig);
}

static void a_suspended_window_is_converted(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 0);

	set_layout(w, "ssssssssssssssss");
	assert_int_equal(pfnbuf_window_suspend(w), 0);
	rig_count(rig, NULL, 0);
	assert_int_equal(pfnbuf_window_convert(w, 0, 4 * PAGE, PFNBUF_PRIVATE), 0);
	assert_int_equal(rig->calls, 1); /* the discard */
	assert_int_equal(pfnbuf_window_resume(w), 0);
	reaches(rig, w, "PPPPssssssssssss");
	assert_int_equal(pfnbuf_window_convert(w, 0, 4 * PAGE, PFNBUF_SHARED), 0);
	reaches(rig, w, "SSSSssssssssssss");
	pfnbuf_window_free(w);
}

static uint64_t blocks_of(const struct pfnbuf_buf *buf)
{
	struct stat st;

	assert_int_equal(fstat(pfnbuf_buf_get_fd(buf), &st), 0);
	return (uint64_t)st.st_blocks;
}

static void a_discard_fails(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = new_memory(rig);
	struct pfnbuf_layout *target = rig_layout("ppppssssssssssss");
	const uint64_t all = blocks_of(ram.memfd);
	struct pfnbuf_plan *plan;
	struct pfnbuf_window *w;
	struct pfnbuf_step s;

	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), 0);
	set_layout(w, "ssssssssssssssss");
	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	assert_string_equal(steps_of(plan), "U0+16 A0+4p M4+12 X0+4m");
	rig_count(rig, NULL, 0);
	rig_fail(rig, 0, 4, EIO);
	assert_int_equal(pfnbuf_window_apply(w, plan), 1);
	assert_int_equal(rig->failed, 1);
	assert_int_equal(pfnbuf_plan_get_step(plan, 3, &s), 0);
	assert_int_equal(s.state, PFNBUF_STEP_FAILED);
	assert_int_equal(s.result, -EIO);
	assert_int_equal(logged.n, 1);
	assert_int_equal(logged.level, PFNBUF_LOG_WARNING);
	assert_non_null(strstr(logged.text, "stays allocated"));
	rig_count(rig, NULL, 0);
	reaches(rig, w, "PPPPssssssssssss");
	assert_int_equal(blocks_of(ram.memfd), all);
	pfnbuf_plan_free(plan);

	/* What may pass is tried again. */
	assert_int_equal(pfnbuf_window_convert(w, 0, 4 * PAGE, PFNBUF_SHARED), 0);
	rig_count(rig, NULL, 0);
	rig_fail(rig, 0, 4, EINTR);
	assert_int_equal(pfnbuf_window_set_layout(w, target), 0);
	assert_int_equal(rig->calls, 5);
	assert_true(blocks_of(ram.memfd) < all);
	pfnbuf_layout_free(target);
	pfnbuf_window_free(w);
	drop_memory(&ram);
}

/* Memory without a file: the process's own, and shared with its children. */
static void anonymous_memory(void **state)
{
	static const int kinds[] = { MAP_PRIVATE, MAP_SHARED };
	struct rig *rig = *state;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | kinds[i],
			       -1, 0);
		struct pfnbuf_place place = place_of(rig);
		struct pfnbuf_ram ram = { .addr = p, .length = PAGES * PAGE };
		struct pfnbuf_window *w;

		assert_ptr_not_equal(p, MAP_FAILED);
		for (uint64_t page = 0; page < PAGES; page++)
			*(int64_t *)(void *)(p + page * PAGE) = shared_tag(page);
		assert_int_equal(
			pfnbuf_buf_new_guest_memfd(rig->vm, PAGES * PAGE, 0, &ram.guest_memfd), 0);
		place.granule = 4 * PAGE;
		assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), 0);
		set_layout(w, "ssssssssssssssss");
		reaches(rig, w, "ssssssssssssssss");
		assert_int_equal(pfnbuf_window_convert(w, 2 * PAGE, 5 * PAGE, PFNBUF_PRIVATE), 0);
		reaches(rig, w, "ssPPPPPsssssssss");
		for (uint64_t page = 2; page < 7; page++)
			assert_int_equal(*(int64_t *)(void *)(p + page * PAGE), 0);
		assert_int_equal(pfnbuf_window_move(w, GPA, IOVA + PAGE), 0);
		/* A plan that fails puts areas of addresses back, too. */
		rig_count(rig, NULL, 0);
		rig_fail(rig, 0, 3, ENOMEM);
		assert_int_equal(pfnbuf_window_convert(w, 8 * PAGE, PAGE, PFNBUF_PRIVATE), -ENOMEM);
		rig_count(rig, NULL, 0);
		reaches(rig, w, "ssPPPPPsssssssss");
		pfnbuf_window_free(w);
		pfnbuf_buf_unref(ram.guest_memfd);
		assert_int_equal(munmap(p, PAGES * PAGE), 0);
		rig_check_clean(rig);
	}
}

static void quarantine_ends_clean(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 0);
	struct pfnbuf_window_info info;
	uint64_t attributes, length;

	set_layout(w, "ssssssssssssssss");
	/* MAP fails, and then making the attribute what it was. */
	rig_count(rig, NULL, 0);
	rig_fail(rig, 0, 3, ENOMEM);
	rig_fail(rig, 1, 4, EIO);
	assert_int_equal(pfnbuf_window_convert(w, 0, PAGE, PFNBUF_PRIVATE), -ENOMEM);
	rig_count(rig, NULL, 0);
	pfnbuf_window_get_info(w, &info);
	assert_int_equal(info.state, PFNBUF_WINDOW_QUARANTINED);
	assert_non_null(strstr(info.reason, "attribute-set"));
	assert_int_equal(pfnbuf_window_convert(w, 0, PAGE, PFNBUF_SHARED), -ENOTRECOVERABLE);
	pfnbuf_vm_get_attributes(rig->vm, GPA, &attributes, &length);
	assert_true(attributes == PFNBUF_ATTRIBUTE_PRIVATE && length == PAGE);
	rig_check_alias(rig);
	pfnbuf_window_free(w);
	pfnbuf_vm_get_attributes(rig->vm, 0, &attributes, &length);
	assert_true(!attributes && length == UINT64_MAX);
	rig_check_clean(rig);
}

static void refuse_ram(struct rig *rig, const struct pfnbuf_ram *ram,
		       const struct pfnbuf_place *place, int error, const char *why)
{
	struct pfnbuf_window *w;

	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, ram, place, &w), -error);
	if (!strstr(pfnbuf_last_error(), why))
		fail_msg("\"%s\" is not in: %s", why, pfnbuf_last_error());
	rig_check_clean(rig);
}

/* Flags that would do nothing. */
static void refuse_flags(struct rig *rig, const struct pfnbuf_ram *good)
{
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram shared = *good;

	shared.guest_memfd = NULL;
	place.flags = PFNBUF_PLACE_RETRY;
	refuse_ram(rig, good, &place, EINVAL, "never waits");
	refuse_ram(rig, &shared, &place, EINVAL, "never waits");
	place.flags = PFNBUF_PLACE_WITHDRAW_SLOTS;
	refuse_ram(rig, good, &place, EINVAL, "pfnbuf_window_suspend()");
	for (unsigned bit = 2; bit < 32; bit++) {
		place.flags = 1u << bit;
		refuse_ram(rig, good, &place, EINVAL, "unknown flags");
	}
}

static void refusals(void **state)
{
	struct rig *rig = *state;
	const struct pfnbuf_place place = place_of(rig);
	const struct pfnbuf_ram good = new_memory(rig);
	struct pfnbuf_place wrong_place = place;
	struct pfnbuf_ram ram = { .length = PAGE };
	struct pfnbuf_buf *mappable;

	refuse_ram(rig, &ram, &place, EINVAL, "there is no memory");
	ram = good;
	ram.memfd = good.guest_memfd;
	refuse_ram(rig, &ram, &place, EINVAL, "not a memfd");
	ram = good;
	ram.guest_memfd = good.memfd;
	refuse_ram(rig, &ram, &place, EINVAL, "not a guest_memfd");
	ram = good;
	ram.guest_memfd_offset = 3 * PAGE;
	refuse_ram(rig, &ram, &place, EINVAL, "leaves the memory");
	ram = good;
	ram.offset = 5 * PAGE;
	refuse_ram(rig, &ram, &place, EINVAL, "leaves the memory");
	wrong_place.vm = NULL;
	refuse_ram(rig, &good, &wrong_place, EINVAL, "there is no VM");
	wrong_place = place;
	wrong_place.slot_flags = PFNBUF_SLOT_LOG_DIRTY;
	refuse_ram(rig, &good, &wrong_place, EINVAL, "takes no flags");
	assert_int_equal(pfnbuf_buf_new_guest_memfd(rig->vm, (SKIPPED_GUEST + PAGES) * PAGE,
						    PFNBUF_GUEST_MEMFD_MMAP, &mappable),
			 0);
	ram = good;
	ram.guest_memfd = mappable;
	refuse_ram(rig, &ram, &place, EINVAL, "can be mapped");
	ram = good;
	ram.memfd = NULL;
	ram.offset = 0;
	refuse_ram(rig, &ram, &place, ENODEV, "mmap");
	pfnbuf_buf_unref(mappable);
	refuse_flags(rig, &good);
	pfnbuf_buf_unref(good.memfd);
	pfnbuf_buf_unref(good.guest_memfd);
}

/* As much as the window needs, which is made in @in of what @maker has made. */
static int place_memory_of(struct rig *rig, struct pfnbuf_vm *maker, struct pfnbuf_vm *in,
			   struct pfnbuf_window **windowp)
{
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = new_memory(rig);
	int r;

	pfnbuf_buf_unref(ram.guest_memfd);
	assert_int_equal(pfnbuf_buf_new_guest_memfd(maker, (SKIPPED_GUEST + PAGES) * PAGE, 0,
						    &ram.guest_memfd),
			 0);
	place.vm = in;
	r = pfnbuf_window_new_ram(rig->ctx, &ram, &place, windowp);
	drop_memory(&ram);
	return r;
}

static void says_both(struct pfnbuf_vm *maker, struct pfnbuf_vm *in)
{
	char first[32], second[32];

	snprintf(first, sizeof(first), "was made of vm %d", pfnbuf_vm_get_fd(maker));
	snprintf(second, sizeof(second), "vm %d", pfnbuf_vm_get_fd(in));
	if (!strstr(pfnbuf_last_error(), first) || !strstr(pfnbuf_last_error(), second))
		fail_msg("not both VMs are in: %s", pfnbuf_last_error());
}

/* Refused before KVM does it, but never where it may be the same VM after all. */
static void memory_of_another_vm(void **state)
{
	struct rig *rig = *state;
	const int fd = pfnbuf_vm_get_fd(rig->vm);
	const struct pfnbuf_kernel *k = pfnbuf_ctx_get_kernel(rig->ctx);
	struct pfnbuf_vm *other, *same, *twin, *unknown;
	struct pfnbuf_window *w;

	assert_int_equal(pfnbuf_vm_new(rig->ctx, PFNBUF_VM_SW_PROTECTED, &other), 0);
	assert_int_equal(pfnbuf_vm_from_fd(rig->ctx, fd, PFNBUF_FD_BORROWED, 100, 50, &same), 0);
	assert_int_equal(pfnbuf_vm_from_fd(rig->ctx, k->dup(k->data, fd), 0, 200, 50, &twin), 0);
	rig_count(rig, NULL, 0);
	assert_int_equal(place_memory_of(rig, other, rig->vm, &w), -EINVAL);
	says_both(other, rig->vm);
	assert_int_equal(place_memory_of(rig, other, same, &w), -EINVAL);
	says_both(other, same);
	assert_int_equal(rig->changes, 0);

	assert_int_equal(place_memory_of(rig, rig->vm, same, &w), 0);
	set_layout(w, "sspp............");
	pfnbuf_window_free(w);
	assert_int_equal(place_memory_of(rig, twin, rig->vm, &w), 0);
	set_layout(w, "sspp............");
	pfnbuf_window_free(w);

	/* What nobody here can know KVM does. */
	assert_int_equal(pfnbuf_vm_from_fd(rig->ctx, k->dup(k->data, pfnbuf_vm_get_fd(other)), 0, 0,
					   0, &unknown),
			 0);
	assert_int_equal(place_memory_of(rig, unknown, rig->vm, &w), 0);
	assert_int_equal(pfnbuf_window_set_range(w, 0, PAGE, PFNBUF_SHARED), -EINVAL);
	says_both(unknown, rig->vm);
	pfnbuf_window_free(w);
	pfnbuf_vm_free(unknown);
	pfnbuf_vm_free(twin);
	pfnbuf_vm_free(same);
	pfnbuf_vm_free(other);
}

/* How many pages there are from @page to the next hole. */
static uint64_t pages_to_hole(struct pfnbuf_window *w, uint64_t page)
{
	struct pfnbuf_layout *layout;
	struct pfnbuf_run run;

	assert_int_equal(pfnbuf_window_get_layout(w, &layout), 0);
	assert_int_equal(pfnbuf_layout_get(layout, page * PAGE, &run), PFNBUF_SHARED);
	pfnbuf_layout_free(layout);
	return (run.offset + run.length) / PAGE - page;
}

static void refused_for(int result, uint64_t page, uint64_t pages, const char *why)
{
	const struct pfnbuf_error *e = pfnbuf_last_error_record();

	assert_int_equal(result, -EOPNOTSUPP);
	if (!strstr(pfnbuf_last_error(), why))
		fail_msg("\"%s\" is not in: %s", why, pfnbuf_last_error());
	assert_true(e->has_range);
	assert_int_equal(e->range.offset, page * PAGE);
	assert_int_equal(e->range.length, pages * PAGE);
}

/* The window is shared but for some holes, pages 0 to 5 not among them. */
static void refuse_private(struct pfnbuf_window *w, const char *why)
{
	const struct pfnbuf_conversion apart[] = { { 4 * PAGE, PAGE, PFNBUF_PRIVATE },
						   { 0, 2 * PAGE, PFNBUF_PRIVATE } };
	struct pfnbuf_layout *layout = rig_layout("ss.ppp..p.......");
	struct pfnbuf_plan *plan;

	refused_for(pfnbuf_window_convert(w, PAGE, 2 * PAGE, PFNBUF_PRIVATE), 1, 2, why);
	refused_for(pfnbuf_window_convert(w, 3 * PAGE, (PAGES - 3) * PAGE, PFNBUF_PRIVATE), 3,
		    pages_to_hole(w, 3), why);
	refused_for(pfnbuf_window_convert_batch(w, apart, 2), 0, 2, why);
	refused_for(pfnbuf_window_set_range(w, 2 * PAGE, 3 * PAGE, PFNBUF_PRIVATE), 2, 3, why);
	refused_for(pfnbuf_window_plan(w, layout, &plan), 3, 3, why);
	pfnbuf_layout_free(layout);
}

/* A VM without private memory. */
static void private_memory_takes_a_vm_that_has_it(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 0);
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = new_memory(rig);

	set_layout(w, "ssssssssssss....");
	refuse_private(w, "its VM has no private memory");
	reaches(rig, w, "ssssssssssss....");
	pfnbuf_window_free(w);
	pfnbuf_buf_unref(ram.guest_memfd);
	ram.guest_memfd = NULL;
	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), 0);
	set_layout(w, "ssssssssssss....");
	refuse_private(w, "put a guest_memfd behind the window");
	reaches(rig, w, "ssssssssssss....");
	pfnbuf_window_free(w);
	pfnbuf_buf_unref(ram.memfd);
}

/* One guest_memfd that is shared from the start: Linux 7.3 has no way to make it private. */
static void memory_in_place_is_shared(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = { .length = PAGES * PAGE, .guest_memfd_offset = PAGE };
	struct pfnbuf_window *w;
	void *addr;

	assert_int_equal(
		pfnbuf_buf_new_guest_memfd(rig->vm, (PAGES + 1) * PAGE,
					   PFNBUF_GUEST_MEMFD_MMAP | PFNBUF_GUEST_MEMFD_INIT_SHARED,
					   &ram.guest_memfd),
		0);
	assert_int_equal(pfnbuf_buf_map(ram.guest_memfd, PAGE, PAGES * PAGE, &addr), 0);
	for (uint64_t page = 0; page < PAGES; page++)
		*(int64_t *)(void *)((char *)addr + page * PAGE) = shared_tag(page);
	place.granule = 4 * PAGE;
	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), 0);
	set_layout(w, "ssssss..ssssssss");
	reaches(rig, w, "ssssss..ssssssss");
	refuse_private(w, "nothing converts this memory in place");
	assert_int_equal(pfnbuf_window_move(w, GPA + 4 * PAGE, IOVA + PAGE), 0);
	reaches(rig, w, "ssssss..ssssssss");
	set_layout(w, "ssssssssss......");
	reaches(rig, w, "ssssssssss......");
	pfnbuf_window_free(w);
	assert_int_equal(pfnbuf_buf_unmap(ram.guest_memfd, addr, PAGES * PAGE), 0);
	pfnbuf_buf_unref(ram.guest_memfd);
	rig_check_clean(rig);
}

static int setup(void **state)
{
	return setup_rig(state, PFNBUF_VM_SW_PROTECTED);
}

static int setup_plain(void **state)
{
	return setup_rig(state, PFNBUF_VM_DEFAULT);
}

#define TEST(name)	 cmocka_unit_test_setup_teardown(name, setup, teardown_rig)
#define PLAIN_TEST(name) cmocka_unit_test_setup_teardown(name, setup_plain, teardown_rig)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(plans_convert),
		TEST(plans_convert_with_a_granule),
		TEST(conversions_are_planned_as_layouts),
		TEST(plans_of_many_runs),
		TEST(plans_move_private_memory),
		TEST(plans_are_printed),
		TEST(memory_is_converted),
		TEST(holes_stay_holes),
		TEST(batches_are_one_plan),
		TEST(private_memory_moves),
		TEST(a_suspended_window_is_converted),
		TEST(a_discard_fails),
		TEST(anonymous_memory),
		TEST(quarantine_ends_clean),
		TEST(refusals),
		TEST(memory_of_another_vm),
		PLAIN_TEST(private_memory_takes_a_vm_that_has_it),
		PLAIN_TEST(memory_in_place_is_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
