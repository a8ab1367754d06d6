/* SPDX-License-Identifier: MIT */
/*
 * Windows whose granules are turned without a plan, where others are about: in their addresses,
 * behind the library's back, at the limits.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libpfnbuf/areas.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/window.h"
#include "placed.h"

#define PAGES 16

static int setup(void **state)
{
	return setup_rig(state, PFNBUF_VM_SW_PROTECTED);
}

/* A window of granules of @granule pages, all of it shared. */
static struct pfnbuf_window *new_window(struct rig *rig, uint64_t granule)
{
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = {
		.memfd = rig_memfd(rig, SKIPPED + PAGES),
		.offset = SKIPPED * PAGE,
		.length = PAGES * PAGE,
	};
	struct pfnbuf_window *w;

	place.granule = granule * PAGE;
	assert_int_equal(pfnbuf_buf_new_guest_memfd(rig->vm, PAGES * PAGE, 0, &ram.guest_memfd), 0);
	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), 0);
	pfnbuf_buf_unref(ram.memfd);
	pfnbuf_buf_unref(ram.guest_memfd);
	set_layout(w, "ssssssssssssssss");
	return w;
}

/* The same over memory of this process. */
static struct pfnbuf_window *new_anonymous(struct rig *rig)
{
	static char memory[PAGES * PAGE] __attribute__((aligned(PAGE)));
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = { .addr = memory, .length = sizeof(memory) };
	struct pfnbuf_window *w;

	place.granule = PAGE;
	assert_int_equal(pfnbuf_buf_new_guest_memfd(rig->vm, PAGES * PAGE, 0, &ram.guest_memfd), 0);
	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), 0);
	pfnbuf_buf_unref(ram.guest_memfd);
	set_layout(w, "ssssssssssssssss");
	return w;
}

static void convert(struct pfnbuf_window *w, uint64_t page, enum pfnbuf_vis to)
{
	assert_int_equal(pfnbuf_window_convert(w, page * PAGE, PAGE, to), 0);
}

static void layout_is(struct pfnbuf_window *w, const char *picture)
{
	struct pfnbuf_layout *expected = rig_layout(picture), *is;

	assert_int_equal(pfnbuf_window_get_layout(w, &is), 0);
	assert_true(pfnbuf_layout_equal(is, expected));
	pfnbuf_layout_free(is);
	pfnbuf_layout_free(expected);
}

/* ---------------------------------------------------------------- ranges -------------------- */

static void what_leaves_the_window_is_refused(void **state)
{
	static const uint64_t far[] = { PAGES, PAGES + 48, UINT64_C(1) << 30, UINT64_C(1) << 50,
					UINT64_MAX / PAGE };
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 1);

	for (size_t i = 0; i < sizeof(far) / sizeof(*far); i++) {
		const struct pfnbuf_conversion batch[] = {
			{ 0, PAGE, PFNBUF_PRIVATE },
			{ far[i] * PAGE, PAGE, PFNBUF_PRIVATE },
		};

		assert_int_equal(pfnbuf_window_convert_batch(w, batch, 2), -ERANGE);
		assert_int_equal(pfnbuf_window_convert_batch(w, batch + 1, 1), -ERANGE);
		assert_int_equal(pfnbuf_window_convert(w, far[i] * PAGE, PAGE, PFNBUF_PRIVATE),
				 -ERANGE);
	}
	layout_is(w, "ssssssssssssssss");
	pfnbuf_window_free(w);
}

/* So that the first conversion has nothing to do for those that are not its own. */
static void what_is_mapped_is_a_bit_at_once(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 1);

	assert_non_null(w->granules);
	assert_int_equal(w->granules->nr_mapped, PAGES);
	assert_int_equal(w->granules->nr_records, 0);
	pfnbuf_window_free(w);
	/* A window with room for less than one has none. */
	w = new_window(rig, PAGES + 1);
	assert_null(w->granules);
	convert(w, 3, PFNBUF_PRIVATE);
	layout_is(w, "ssspssssssssssss");
	pfnbuf_window_free(w);
}

/* ---------------------------------------------------------------- others' areas ------------- */

/* Somebody unmaps page @page of a window and maps other memory there. */
static void replace(struct rig *rig, uint64_t page, struct pfnbuf_buf *other)
{
	uint64_t iova = IOVA + page * PAGE;

	assert_int_equal(pfnbuf_ioas_unmap(rig->ioas, iova, PAGE, NULL), 0);
	assert_int_equal(pfnbuf_ioas_map_buf(rig->ioas, other, page * PAGE, PAGE,
					     PFNBUF_MAP_READ | PFNBUF_MAP_FIXED, &iova),
			 0);
}

static void area_is(struct rig *rig, uint64_t page, const struct pfnbuf_buf *buf)
{
	struct pfnbuf_area area;

	assert_int_equal(pfnbuf_ioas_next_area(rig->ioas, IOVA + page * PAGE, &area), 1);
	assert_int_equal(area.iova, IOVA + page * PAGE);
	assert_int_equal(area.length, PAGE);
	assert_ptr_equal(area.buf, buf);
}

/* A conversion of page 3, and two others in some batches. */
static const struct pfnbuf_conversion three[] = {
	{ 9 * PAGE, PAGE, PFNBUF_PRIVATE },
	{ 12 * PAGE, PAGE, PFNBUF_SHARED },
	{ 3 * PAGE, PAGE, PFNBUF_PRIVATE },
};

/* Returns false where the conversion does, because no call is the one that shall fail. */
static bool fails_at(struct rig *rig, struct pfnbuf_window *w, size_t n, uint64_t at)
{
	char *before = rig_dump(rig), *after;
	int r;

	rig_count(rig, NULL, 0);
	rig_fail(rig, 0, at, EPERM);
	r = pfnbuf_window_convert_batch(w, three + 3 - n, n);
	rig_count(rig, NULL, 0);
	if (r == -EPERM) {
		after = rig_dump(rig);
		assert_string_equal(before, after);
		free(after);
	} else {
		/* Memory that cannot be given back is no failure. */
		assert_in_range(r, 0, 1);
	}
	free(before);
	return r < 0;
}

/* A conversion that fails leaves what was there, whosever it was. */
static void what_somebody_mapped_is_put_back(void **state)
{
	static const char *const left[] = {
		"",
		"ssspsssssssspsss",
		"ssspssssssssssss",
		"ssspssssspssssss",
	};
	struct rig *rig = *state;
	struct pfnbuf_buf *other = rig_memfd(rig, PAGES);

	for (size_t n = 1; n <= 3; n++) {
		struct pfnbuf_window *w = new_window(rig, 1);
		uint64_t at = 1;

		convert(w, 12, PFNBUF_PRIVATE);
		replace(rig, 3, other);
		while (fails_at(rig, w, n, at)) {
			area_is(rig, 3, other);
			at++;
		}
		assert_true(at > 2 * n);
		layout_is(w, left[n]);
		pfnbuf_window_free(w);
	}
	pfnbuf_buf_unref(other);
}

/* What the kernel does not have any more is an error once; then it can be converted as before. */
static void what_somebody_unmapped_is_had_back(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 1);
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = pfnbuf_ioas_get_id(rig->ioas),
		.iova = IOVA + 3 * PAGE,
		.length = PAGE,
	};
	const int iommufd = pfnbuf_ctx_get_iommufd(rig->ctx);

	convert(w, 12, PFNBUF_PRIVATE);
	for (size_t n = 1; n <= 3; n += 2) {
		unmap.length = PAGE;
		assert_int_equal(
			rig->inner->ioctl(rig->inner->data, iommufd, IOMMU_IOAS_UNMAP, &unmap), 0);
		assert_int_equal(pfnbuf_window_convert_batch(w, three + 3 - n, n), -ENOENT);
		layout_is(w, "sssssssssssspsss");
		assert_int_equal(pfnbuf_window_verify(w, NULL), 1);
		assert_int_equal(pfnbuf_window_convert_batch(w, three + 3 - n, n), 0);
		convert(w, 3, PFNBUF_SHARED);
	}
	layout_is(w, "ssssssssspssssss");
	pfnbuf_window_free(w);
}

static int yes_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	struct rig *rig = data;

	if (request == IOMMU_IOAS_UNMAP || request == IOMMU_IOAS_MAP)
		return 0;
	return rig->inner->ioctl(rig->inner->data, fd, request, arg);
}

/*
 * One by one, as they are in an IOAS of somebody else's. If each looked through those in front of it,
 * or through what is empty behind it, this would take minutes.
 */
static void many_come_and_go(void **state)
{
	const uint64_t n = UINT64_C(1) << 22;
	struct rig *rig = *state;
	struct pfnbuf_granules *g;
	struct pfnbuf_ioas *ioas;
	uint64_t unmapped;

	rig->door.ioctl = yes_ioctl;
	assert_int_equal(pfnbuf_ioas_from_id(rig->ctx, pfnbuf_ioas_get_id(rig->ioas), &ioas), 0);
	assert_true(pfnbuf_ioas_add_granules(ioas, NULL, 0x10000, n * PAGE, PAGE, PFNBUF_MAP_READ,
					     IOVA, &g));
	for (uint64_t i = 0; i < n; i++) {
		uint64_t iova = IOVA + i * PAGE;

		assert_int_equal(pfnbuf_ioas_map_va(ioas, (void *)(uintptr_t)(0x10000 + i * PAGE),
						    PAGE, PFNBUF_MAP_READ | PFNBUF_MAP_FIXED,
						    &iova),
				 0);
	}
	assert_int_equal(g->nr_mapped, n);
	assert_int_equal(pfnbuf_ioas_unmap_all(ioas, &unmapped), 0);
	assert_int_equal(unmapped, n * PAGE);
	assert_int_equal(g->nr_mapped, 0);
	pfnbuf_ioas_end_granules(ioas, g);
	pfnbuf_ioas_free(ioas);
}

/* ---------------------------------------------------------------- limits -------------------- */

/* A check asks for the limits anew. */
static void forget_limits(struct pfnbuf_window *w)
{
	struct pfnbuf_plan *plan;

	assert_int_equal(pfnbuf_window_plan_move(w, GPA, IOVA, &plan), 0);
	assert_int_equal(pfnbuf_plan_check(plan), 0);
	pfnbuf_plan_free(plan);
}

/* Above a limit that was lowered since. */
static void less_is_always_allowed(void **state)
{
	static const struct pfnbuf_conversion batch[] = {
		{ 9 * PAGE, PAGE, PFNBUF_PRIVATE },
		{ 3 * PAGE, PAGE, PFNBUF_PRIVATE },
	};
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 1);

	pfnbuf_sim_set_memlock(rig->sim, 4 * PAGE);
	forget_limits(w);
	assert_int_equal(pfnbuf_window_convert_batch(w, batch, 2), 0);
	layout_is(w, "ssspssssspssssss");
	pfnbuf_window_free(w);
}

/* In whatever order they are asked for, what is shared at no instant exceeds before and after. */
static void as_many_are_allowed_at_the_limit(void **state)
{
	static const struct pfnbuf_conversion batch[] = {
		{ 12 * PAGE, PAGE, PFNBUF_SHARED },
		{ 3 * PAGE, PAGE, PFNBUF_PRIVATE },
		{ 5 * PAGE, PAGE, PFNBUF_SHARED },
		{ 9 * PAGE, PAGE, PFNBUF_PRIVATE },
	};
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 1);

	convert(w, 12, PFNBUF_PRIVATE);
	convert(w, 5, PFNBUF_PRIVATE);
	pfnbuf_sim_set_memlock(rig->sim, (PAGES - 2) * PAGE);
	assert_int_equal(pfnbuf_window_convert_batch(w, batch, 4), 0);
	layout_is(w, "ssspssssspssssss");
	pfnbuf_window_free(w);
}

/* What has to be unmapped for it could not be had back: so it is refused, and not quarantined. */
static void nothing_is_tried_above_the_limit(void **state)
{
	static const struct pfnbuf_conversion batch[] = {
		{ 3 * PAGE, PAGE, PFNBUF_PRIVATE },
		{ 12 * PAGE, PAGE, PFNBUF_SHARED },
	};
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_window(rig, 1);
	struct pfnbuf_window_info info;

	convert(w, 12, PFNBUF_PRIVATE);
	convert(w, 5, PFNBUF_PRIVATE);
	convert(w, 5, PFNBUF_SHARED);
	pfnbuf_sim_set_memlock(rig->sim, 4 * PAGE);
	rig_count(rig, NULL, 0);
	assert_int_equal(pfnbuf_window_convert_batch(w, batch, 2), -ENOMEM);
	assert_non_null(strstr(pfnbuf_last_error(), "RLIMIT_MEMLOCK is 0x4000"));
	assert_int_equal(rig->changes, 0);
	pfnbuf_window_get_info(w, &info);
	assert_int_equal(info.state, PFNBUF_WINDOW_LIVE);
	pfnbuf_window_free(w);
}

/* ---------------------------------------------------------------- errors -------------------- */

/* One page, by a plan that is made and applied. */
static int convert_by_plan(struct pfnbuf_window *w, uint64_t page, enum pfnbuf_vis to)
{
	struct pfnbuf_layout *layout;
	struct pfnbuf_plan *plan;
	int r;

	assert_int_equal(pfnbuf_window_get_layout(w, &layout), 0);
	assert_int_equal(pfnbuf_layout_set(layout, page * PAGE, PAGE, to), 0);
	assert_int_equal(pfnbuf_window_plan(w, layout, &plan), 0);
	r = pfnbuf_window_apply(w, plan);
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(layout);
	return r;
}

/* It fails with @code, and says what a plan says; a call fails in both, or none where @error is 0. */
static void fails_as_a_plan(struct rig *rig, struct pfnbuf_window *w, enum pfnbuf_vis to,
			    uint64_t at, int error, int code)
{
	char said[512];

	rig_count(rig, NULL, 0);
	rig_fail(rig, 0, at, error);
	assert_int_equal(convert_by_plan(w, 3, to), code);
	snprintf(said, sizeof(said), "%s", pfnbuf_last_error());
	rig_count(rig, NULL, 0);
	rig_fail(rig, 0, at, error);
	assert_int_equal(pfnbuf_window_convert(w, 3 * PAGE, PAGE, to), code);
	rig_count(rig, NULL, 0);
	assert_string_equal(pfnbuf_last_error(), said);
}

static void calls_fail_as_those_of_a_plan(struct rig *rig, struct pfnbuf_window *w)
{
	static const int errors[] = { ENOMEM, EPERM, EEXIST, ENOSPC, EINVAL,	 EFAULT,
				      EINTR,  EBUSY, EAGAIN, ENODEV, EOPNOTSUPP, EBADF };

	convert(w, 3, PFNBUF_PRIVATE);
	convert(w, 3, PFNBUF_SHARED);
	for (uint64_t at = 1; at <= 2; at++)
		for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
			fails_as_a_plan(rig, w, PFNBUF_PRIVATE, at, errors[i], -errors[i]);
	convert(w, 3, PFNBUF_PRIVATE);
	for (uint64_t at = 1; at <= 2; at++)
		for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
			fails_as_a_plan(rig, w, PFNBUF_SHARED, at, errors[i], -errors[i]);
	pfnbuf_window_free(w);
}

static void errors_are_those_of_a_plan(void **state)
{
	const uint64_t map = PFNBUF_MAP_READ | PFNBUF_MAP_FIXED;
	struct rig *rig = *state;
	struct pfnbuf_buf *other = rig_memfd(rig, 4);
	struct pfnbuf_window *w = new_window(rig, 1);
	uint64_t iova = IOVA + 3 * PAGE;

	calls_fail_as_those_of_a_plan(rig, w);
	calls_fail_as_those_of_a_plan(rig, new_anonymous(rig));
	/* Somebody is in the way, or in part. */
	w = new_window(rig, 1);
	convert(w, 3, PFNBUF_PRIVATE);
	assert_int_equal(pfnbuf_ioas_map_buf(rig->ioas, other, 0, PAGE, (unsigned)map, &iova), 0);
	fails_as_a_plan(rig, w, PFNBUF_SHARED, 0, 0, -EEXIST);
	convert(w, 4, PFNBUF_PRIVATE);
	assert_int_equal(pfnbuf_ioas_unmap(rig->ioas, iova, PAGE, NULL), 0);
	assert_int_equal(pfnbuf_ioas_map_buf(rig->ioas, other, 0, 2 * PAGE, (unsigned)map, &iova),
			 0);
	fails_as_a_plan(rig, w, PFNBUF_SHARED, 0, 0, -EEXIST);
	assert_int_equal(pfnbuf_ioas_unmap(rig->ioas, iova, 2 * PAGE, NULL), 0);
	/* The limit, and the space. */
	pfnbuf_sim_set_memlock(rig->sim, PAGE);
	rig_count(rig, NULL, 0);
	forget_limits(w);
	fails_as_a_plan(rig, w, PFNBUF_SHARED, 0, 0, -ENOMEM);
	pfnbuf_sim_set_memlock(rig->sim, UINT64_MAX);
	rig->alignment = 2 * PAGE;
	forget_limits(w);
	fails_as_a_plan(rig, w, PFNBUF_SHARED, 0, 0, -EINVAL);
	rig->alignment = 0;
	forget_limits(w);
	assert_int_equal(pfnbuf_window_set_range(w, 0, PAGES * PAGE, PFNBUF_PRIVATE), 0);
	assert_int_equal(pfnbuf_window_move(w, GPA, UINT64_C(1) << 50), 0);
	fails_as_a_plan(rig, w, PFNBUF_SHARED, 0, 0, -ERANGE);
	/* Part of the window is in the space, part is not. */
	assert_int_equal(pfnbuf_window_move(w, GPA, (UINT64_C(1) << 48) - 3 * PAGE), 0);
	fails_as_a_plan(rig, w, PFNBUF_SHARED, 0, 0, -ERANGE);
	convert(w, 2, PFNBUF_SHARED);
	pfnbuf_window_free(w);
	pfnbuf_buf_unref(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown_rig)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_leaves_the_window_is_refused),
		TEST(what_is_mapped_is_a_bit_at_once),
		TEST(what_somebody_mapped_is_put_back),
		TEST(what_somebody_unmapped_is_had_back),
		TEST(many_come_and_go),
		TEST(less_is_always_allowed),
		TEST(as_many_are_allowed_at_the_limit),
		TEST(nothing_is_tried_above_the_limit),
		TEST(errors_are_those_of_a_plan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
