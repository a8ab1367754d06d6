/* SPDX-License-Identifier: MIT */

/* Layouts: every errno, every edge that the header promises. Behaviour at large is tests/model's. */

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpfnbuf/private.h"
#include "starve.h"

#define PAGE UINT64_C(4096)

/* A chunk of the tree: what crosses its edge goes other ways than what does not. */
#define CHUNK (16384 * PAGE)

static struct pfnbuf_layout *make(uint64_t pages, enum pfnbuf_vis vis)
{
	struct pfnbuf_layout *layout = NULL;

	assert_int_equal(pfnbuf_layout_new(pages * PAGE, PAGE, vis, &layout), 0);
	return layout;
}

static struct pfnbuf_layout *parse(const char *text)
{
	struct pfnbuf_layout *layout = NULL;

	assert_int_equal(pfnbuf_layout_parse(text, &layout, NULL), 0);
	return layout;
}

static void assert_text(const struct pfnbuf_layout *layout, const char *expected)
{
	char text[512];

	assert_true(pfnbuf_layout_print(layout, text, sizeof(text)) < sizeof(text));
	assert_string_equal(text, expected);
}

static void test_new(void **state)
{
	static const struct {
		uint64_t size, page_size;
		int vis, ret;
	} rows[] = {
		{ PAGE, PAGE, PFNBUF_HOLE, 0 },
		{ UINT64_C(1) << 52, PAGE, PFNBUF_PRIVATE, 0 },
		{ UINT64_C(1) << 63, UINT64_C(1) << 63, PFNBUF_SHARED, 0 },
		{ UINT64_C(3) << 30, 1 << 30, PFNBUF_SHARED, 0 },
		{ 0, PAGE, PFNBUF_HOLE, -EINVAL },
		{ PAGE + 1, PAGE, PFNBUF_HOLE, -EINVAL },
		{ PAGE, 0, PFNBUF_HOLE, -EINVAL },
		{ PAGE, 2048, PFNBUF_HOLE, -EINVAL },
		{ 3 * PAGE, 3 * PAGE, PFNBUF_HOLE, -EINVAL },
		{ PAGE, UINT64_C(1) << 40, PFNBUF_HOLE, -EINVAL }, /* the two swapped */
		{ PAGE, PAGE, 3, -EINVAL },
		{ PAGE, PAGE, -1, -EINVAL },
		{ (UINT64_C(1) << 52) + PAGE, PAGE, PFNBUF_HOLE, -E2BIG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pfnbuf_layout *layout = NULL;

		assert_int_equal(pfnbuf_layout_new(rows[i].size, rows[i].page_size,
						   (enum pfnbuf_vis)rows[i].vis, &layout),
				 rows[i].ret);
		assert_int_equal(!layout, rows[i].ret < 0);
		if (layout) {
			struct pfnbuf_run run = { 0 };

			assert_int_equal(pfnbuf_layout_get_size(layout), rows[i].size);
			assert_int_equal(pfnbuf_layout_get_page_size(layout), rows[i].page_size);
			assert_int_equal(pfnbuf_layout_get(layout, rows[i].size - 1, &run),
					 rows[i].vis);
			assert_int_equal(run.offset, 0);
			assert_int_equal(run.length, rows[i].size);
		}
		assert_null(pfnbuf_layout_free(layout));
	}
}

static void test_ranges(void **state)
{
	static const struct {
		uint64_t offset, length;
		int vis, ret;
	} rows[] = {
		{ 0, PAGE, PFNBUF_PRIVATE, 0 },
		{ 0, 100 * PAGE, PFNBUF_PRIVATE, 0 },
		{ 99 * PAGE, PAGE, PFNBUF_PRIVATE, 0 },
		{ 0, 0, PFNBUF_PRIVATE, -EINVAL },
		{ 1, PAGE, PFNBUF_PRIVATE, -EINVAL },
		{ 0, PAGE - 1, PFNBUF_PRIVATE, -EINVAL },
		{ 0, PAGE, 3, -EINVAL },
		{ 100 * PAGE, PAGE, PFNBUF_PRIVATE, -ERANGE },
		{ 99 * PAGE, 2 * PAGE, PFNBUF_PRIVATE, -ERANGE },
		{ PAGE, UINT64_MAX - PAGE + 1, PFNBUF_PRIVATE, -ERANGE },
		{ UINT64_MAX - PAGE + 1, PAGE, PFNBUF_PRIVATE, -ERANGE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pfnbuf_layout *layout = make(100, PFNBUF_SHARED), *slice = NULL;
		enum pfnbuf_vis vis = (enum pfnbuf_vis)rows[i].vis;
		uint64_t where = 77;

		assert_int_equal(
			pfnbuf_layout_test(layout, rows[i].offset, rows[i].length, vis, &where),
			rows[i].ret);
		assert_int_equal(where, rows[i].ret < 0 ? 77 : rows[i].offset);
		if (rows[i].vis < 3) {
			assert_int_equal(
				pfnbuf_layout_slice(layout, rows[i].offset, rows[i].length, &slice),
				rows[i].ret);
			assert_int_equal(!slice, rows[i].ret < 0);
		}
		assert_int_equal(pfnbuf_layout_set(layout, rows[i].offset, rows[i].length, vis),
				 rows[i].ret);
		if (rows[i].ret < 0)
			assert_text(layout, "page=0x1000 0x0+0x64000=shared");
		else
			assert_int_equal(pfnbuf_layout_test(layout, rows[i].offset, rows[i].length,
							    vis, NULL),
					 1);
		pfnbuf_layout_free(slice);
		pfnbuf_layout_free(layout);
	}
}

static void test_get(void **state)
{
	struct pfnbuf_layout *layout = parse("0x0+0x2000=shared 0x3000+0x1000=private");
	struct pfnbuf_run run = { 1, 2, PFNBUF_SHARED };

	(void)state;
	assert_int_equal(pfnbuf_layout_get(layout, 0x4000, &run), -ERANGE);
	assert_int_equal(pfnbuf_layout_get(layout, UINT64_MAX, NULL), -ERANGE);
	assert_int_equal(run.offset, 1);
	assert_int_equal(pfnbuf_layout_get(layout, 0x1fff, &run), PFNBUF_SHARED);
	assert_int_equal(run.offset, 0);
	assert_int_equal(run.length, 0x2000);
	assert_int_equal(pfnbuf_layout_get(layout, 0x2000, &run), PFNBUF_HOLE);
	assert_int_equal(run.length, 0x1000);
	assert_int_equal(pfnbuf_layout_get(layout, 0x3abc, &run), PFNBUF_PRIVATE);
	assert_int_equal(run.offset, 0x3000);
	pfnbuf_layout_free(layout);
}

static void test_cursors(void **state)
{
	struct pfnbuf_layout *layout = parse("0x0+0x2000=shared 0x3000+0x1000=private");
	struct pfnbuf_layout *shared = make(4, PFNBUF_SHARED), *longer = make(5, PFNBUF_SHARED),
			     *coarse = NULL;
	struct pfnbuf_change changes[4];
	struct pfnbuf_run runs[4];
	uint64_t pos = 1;

	(void)state;
	assert_int_equal(pfnbuf_layout_next(layout, &pos, runs, 1), -EINVAL);
	assert_int_equal(pfnbuf_layout_diff(layout, shared, &pos, changes, 1), -EINVAL);
	pos = 0;
	assert_int_equal(pfnbuf_layout_next(layout, &pos, runs, 0), -EINVAL);
	assert_int_equal(pfnbuf_layout_next(layout, &pos, runs, -1), -EINVAL);
	assert_int_equal(pfnbuf_layout_diff(layout, shared, &pos, changes, 0), -EINVAL);
	assert_int_equal(pfnbuf_layout_diff(layout, longer, &pos, changes, 1), -EINVAL);
	assert_int_equal(pfnbuf_layout_new(0x4000, 0x4000, PFNBUF_SHARED, &coarse), 0);
	assert_int_equal(pfnbuf_layout_diff(shared, coarse, &pos, changes, 1), -EINVAL);
	assert_false(pfnbuf_layout_equal(shared, coarse));
	assert_false(pfnbuf_layout_equal(shared, longer));
	pos = 0x5000;
	assert_int_equal(pfnbuf_layout_next(layout, &pos, runs, 1), -ERANGE);
	assert_int_equal(pfnbuf_layout_diff(layout, shared, &pos, changes, 1), -ERANGE);
	assert_int_equal(pos, 0x5000);
	pos = 0x4000;
	assert_int_equal(pfnbuf_layout_next(layout, &pos, runs, 1), 0);
	assert_int_equal(pfnbuf_layout_diff(layout, shared, &pos, changes, 1), 0);

	/* From inside a run, what is left of it; and on from where it stopped. */
	pos = 0x1000;
	assert_int_equal(pfnbuf_layout_next(layout, &pos, runs, 2), 2);
	assert_int_equal(runs[0].offset, 0x1000);
	assert_int_equal(runs[0].length, 0x1000);
	assert_int_equal(runs[1].vis, PFNBUF_HOLE);
	assert_int_equal(pfnbuf_layout_next(layout, &pos, runs, 4), 1);
	assert_int_equal(runs[0].vis, PFNBUF_PRIVATE);
	assert_int_equal(pos, 0x4000);

	pos = 0;
	assert_int_equal(pfnbuf_layout_diff(layout, shared, &pos, changes, 4), 2);
	assert_int_equal(changes[0].offset, 0x2000);
	assert_int_equal(changes[0].from, PFNBUF_HOLE);
	assert_int_equal(changes[1].from, PFNBUF_PRIVATE);
	assert_int_equal(changes[1].to, PFNBUF_SHARED);
	assert_int_equal(pos, 0x4000);

	pfnbuf_layout_free(coarse);
	pfnbuf_layout_free(longer);
	pfnbuf_layout_free(shared);
	pfnbuf_layout_free(layout);
}

static void test_build(void **state)
{
	static const struct {
		struct pfnbuf_run runs[3];
		size_t n;
		int ret;
		const char *text;
	} rows[] = {
		{ { { 0 } }, 0, 0, "page=0x1000 0x0+0x4000=hole" },
		{ { { 0, PAGE, PFNBUF_SHARED }, { PAGE, PAGE, PFNBUF_SHARED } },
		  2,
		  0,
		  "page=0x1000 0x0+0x2000=shared 0x2000+0x2000=hole" },
		{ { { PAGE, PAGE, PFNBUF_HOLE }, { 3 * PAGE, PAGE, PFNBUF_PRIVATE } },
		  2,
		  0,
		  "page=0x1000 0x0+0x3000=hole 0x3000+0x1000=private" },
		{ { { PAGE, PAGE, PFNBUF_SHARED }, { 0, PAGE, PFNBUF_SHARED } }, 2, -EINVAL, NULL },
		{ { { 0, 2 * PAGE, PFNBUF_SHARED }, { PAGE, PAGE, PFNBUF_SHARED } },
		  2,
		  -EINVAL,
		  NULL },
		{ { { 0, 0, PFNBUF_SHARED } }, 1, -EINVAL, NULL },
		{ { { 0, 5, PFNBUF_SHARED } }, 1, -EINVAL, NULL },
		{ { { 0, PAGE, (enum pfnbuf_vis)3 } }, 1, -EINVAL, NULL },
		{ { { 3 * PAGE, 2 * PAGE, PFNBUF_SHARED } }, 1, -ERANGE, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pfnbuf_layout *layout = NULL;

		assert_int_equal(
			pfnbuf_layout_build(4 * PAGE, PAGE, rows[i].runs, rows[i].n, &layout),
			rows[i].ret);
		if (rows[i].ret < 0)
			assert_null(layout);
		else
			assert_text(layout, rows[i].text);
		pfnbuf_layout_free(layout);
	}
}

static void test_derived(void **state)
{
	struct pfnbuf_layout *a = parse("0x0+0x3000=shared 0x3000+0x3000=private");
	struct pfnbuf_layout *b = parse("0x0+0x2000=shared 0x2000+0x4000=private");
	struct pfnbuf_layout *longer = make(7, PFNBUF_HOLE), *out = NULL;

	(void)state;
	assert_int_equal(pfnbuf_layout_intersect(a, longer, &out), -EINVAL);
	assert_int_equal(pfnbuf_layout_shift(a, 1, PFNBUF_HOLE, &out), -EINVAL);
	assert_int_equal(pfnbuf_layout_shift(a, 0, (enum pfnbuf_vis)3, &out), -EINVAL);
	assert_null(out);

	assert_int_equal(pfnbuf_layout_intersect(a, b, &out), 0);
	assert_text(out, "page=0x1000 0x0+0x2000=shared 0x2000+0x1000=hole 0x3000+0x3000=private");
	out = pfnbuf_layout_free(out);
	assert_int_equal(pfnbuf_layout_shift(a, 0x1000, PFNBUF_HOLE, &out), 0);
	assert_text(out, "page=0x1000 0x0+0x1000=hole 0x1000+0x3000=shared 0x4000+0x2000=private");
	out = pfnbuf_layout_free(out);
	assert_int_equal(pfnbuf_layout_shift(a, -0x4000, PFNBUF_SHARED, &out), 0);
	assert_text(out, "page=0x1000 0x0+0x2000=private 0x2000+0x4000=shared");
	out = pfnbuf_layout_free(out);
	assert_int_equal(pfnbuf_layout_shift(a, INT64_MIN, PFNBUF_SHARED, &out), 0);
	assert_text(out, "page=0x1000 0x0+0x6000=shared");
	out = pfnbuf_layout_free(out);
	assert_int_equal(pfnbuf_layout_slice(a, 0x2000, 0x2000, &out), 0);
	assert_text(out, "page=0x1000 0x0+0x1000=shared 0x1000+0x1000=private");

	pfnbuf_layout_free(out);
	pfnbuf_layout_free(longer);
	pfnbuf_layout_free(b);
	pfnbuf_layout_free(a);
}

static void test_largest(void **state)
{
	const uint64_t size = PFNBUF_LAYOUT_MAX_FRAMES * PAGE;
	struct pfnbuf_layout *layout = make(PFNBUF_LAYOUT_MAX_FRAMES, PFNBUF_SHARED);
	struct pfnbuf_layout_count count;
	struct pfnbuf_run run;

	(void)state;
	assert_int_equal(pfnbuf_layout_set(layout, size - PAGE, PAGE, PFNBUF_PRIVATE), 0);
	assert_int_equal(pfnbuf_layout_set(layout, size / 2, PAGE, PFNBUF_HOLE), 0);
	assert_int_equal(pfnbuf_layout_get(layout, size - PAGE - 1, &run), PFNBUF_SHARED);
	assert_int_equal(run.offset, size / 2 + PAGE);
	assert_int_equal(run.length, size / 2 - 2 * PAGE);
	pfnbuf_layout_count(layout, &count);
	assert_int_equal(count.frames[PFNBUF_PRIVATE], 1);
	assert_int_equal(count.frames[PFNBUF_HOLE], 1);
	assert_int_equal(count.frames[PFNBUF_SHARED], PFNBUF_LAYOUT_MAX_FRAMES - 2);
	assert_int_equal(count.runs[PFNBUF_SHARED], 2);
	assert_int_equal(pfnbuf_layout_set(layout, 0, size, PFNBUF_SHARED), 0);
	assert_text(layout, "page=0x1000 0x0+0x10000000000000=shared");
	pfnbuf_layout_free(layout);
}

static void test_parse(void **state)
{
	static const struct {
		const char *text, *printed;
	} rows[] = {
		{ "0+4096=hole", "page=0x1000 0x0+0x1000=hole" },
		{ " 0x0+0x1000=shared\n0x1000+0x1000=shared\t", "page=0x1000 0x0+0x2000=shared" },
		{ "page=64K 0+1M=private", "page=0x10000 0x0+0x100000=private" },
		{ "size=1G page=2M 0+512_0K=private", NULL }, /* 5120K is no multiple of 2M */
		{ "size=1G page=2M 0+6_144K=private",
		  "page=0x200000 0x0+0x600000=private 0x600000+0x3fa00000=hole" },
		{ "size=2T", "page=0x1000 0x0+0x20000000000=hole" },
		{ "0x1000+0X1000=shared", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pfnbuf_layout *layout = NULL;
		int ret = pfnbuf_layout_parse(rows[i].text, &layout, NULL);

		assert_int_equal(ret, rows[i].printed ? 0 : -EINVAL);
		if (layout)
			assert_text(layout, rows[i].printed);
		pfnbuf_layout_free(layout);
	}
}

static void test_parse_errors(void **state)
{
	static const struct {
		const char *text;
		size_t column;
		const char *cause;
	} rows[] = {
		{ "", 1, "no run and no size" },
		{ "  ", 3, "no run and no size" },
		{ "0x+0x1000=hole", 3, "a digit is missing" },
		{ "0x0x+0x1000=hole", 4, "'+' is missing between offset and length" },
		{ "0x0", 4, "'+' is missing between offset and length" },
		{ "0x0+", 5, "a digit is missing" },
		{ "0x0+0x1000", 11, "'=' is missing between length and visibility" },
		{ "0x0+1__0=hole", 7, "a digit is missing" },
		{ "0x0+0x1000=", 12, "not one of hole, shared, private" },
		{ "0x0+0x1000=shared,", 12, "not one of hole, shared, private" },
		{ "0x0+0x1000=sharedness", 12, "not one of hole, shared, private" },
		{ "0x800+0x1000=hole", 1, "the offset is no multiple of the page size" },
		{ "0x0+0x800=hole", 5, "the length is 0 or no multiple of the page size" },
		{ "0x0+0=hole", 5, "the length is 0 or no multiple of the page size" },
		{ "0x0+0x2000=hole 0x1000+0x1000=hole", 17,
		  "the run begins before the one in front of it ends" },
		{ "0x0+0x10000000000000000=hole", 5, "the number is above 2^64 - 1" },
		{ "0x0+18446744073709551616=hole", 5, "the number is above 2^64 - 1" },
		{ "0x0+0x1000000000000000T=hole", 5, "the number is above 2^64 - 1" },
		{ "0x1000+0xfffffffffffff000=hole", 8, "the run ends above 2^64 - 1" },
		{ "0x0+0x20000000000000=hole", 1, "more than 2^40 page frames" },
		{ "page=3K 0x0+0x1000=hole", 6, "the page size is no power of two from 4096" },
		{ "page=1K 0x0+0x1000=hole", 6, "the page size is no power of two from 4096" },
		{ "page=4Kb 0x0+0x1000=hole", 8, "not part of a number" },
		{ "page= 0x0+0x1000=hole", 6, "a digit is missing" },
		{ "size=0 0x0+0x1000=hole", 6, "the size is 0" },
		{ "size=0x1800 0x0+0x1000=hole", 6, "the size is no multiple of the page size" },
		{ "size=0x1000 0x0+0x2000=hole", 17, "the run ends behind the size" },
		{ "size=0x20000000000000", 6, "more than 2^40 page frames" },
		{ "0x0+0x1000=hole page=4K", 17, "a digit is missing" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pfnbuf_layout_error error = { 0, "none" };
		struct pfnbuf_layout *layout = NULL;

		assert_int_equal(pfnbuf_layout_parse(rows[i].text, &layout, &error), -EINVAL);
		assert_null(layout);
		assert_string_equal(error.cause, rows[i].cause);
		assert_int_equal(error.column, rows[i].column);
	}
}

static void test_print(void **state)
{
	static const char expected[] = "page=0x1000 0x0+0x1000=shared 0x1000+0x1000=hole";
	static const char json[] =
		"{\"page_size\": 4096, \"size\": 8192, \"runs\": [{\"offset\": 0, \"length\": 4096, "
		"\"vis\": \"shared\"}, {\"offset\": 4096, \"length\": 4096, \"vis\": \"hole\"}]}";
	struct pfnbuf_layout *layout = parse("0x0+0x1000=shared 0x1000+0x1000=hole");
	char text[256];

	(void)state;
	for (size_t size = 0; size < sizeof(expected) + 2; size++) {
		memset(text, '#', sizeof(text));
		assert_int_equal(pfnbuf_layout_print(layout, size ? text : NULL, size),
				 sizeof(expected) - 1);
		if (size)
			assert_int_equal(strlen(text),
					 size < sizeof(expected) ? size - 1 : sizeof(expected) - 1);
		assert_memory_equal(text, expected, size && size < sizeof(expected) ? size - 1 : 0);
		assert_int_equal(text[size], '#');
	}
	assert_int_equal(pfnbuf_layout_print_json(layout, text, sizeof(text)), sizeof(json) - 1);
	assert_string_equal(text, json);
	assert_string_equal(pfnbuf_vis_name(PFNBUF_HOLE), "hole");
	assert_null(pfnbuf_vis_name((enum pfnbuf_vis)3));
	pfnbuf_layout_free(layout);
}

/* A layout with something of every kind inside, and calls that allocate in every way. */
static struct pfnbuf_layout *rich_layout(void)
{
	struct pfnbuf_layout *layout = make(70 * 16384, PFNBUF_SHARED);

	for (uint64_t page = 0; page < 400; page++)
		assert_int_equal(
			pfnbuf_layout_set(layout, CHUNK + 4 * page * PAGE, PAGE, PFNBUF_PRIVATE),
			0);
	for (uint64_t page = 0; page < 318;
	     page += 2) /* one run below the most of a sparse chunk */
		assert_int_equal(pfnbuf_layout_set(layout, 65 * CHUNK + page * PAGE + PAGE, PAGE,
						   PFNBUF_HOLE),
				 0);
	return layout;
}

static int set_near_edge(struct pfnbuf_layout *layout)
{
	return pfnbuf_layout_set(layout, CHUNK / 2, 66 * CHUNK, PFNBUF_HOLE);
}

static int set_third_vis(struct pfnbuf_layout *layout)
{
	return pfnbuf_layout_set(layout, CHUNK + 2 * PAGE, PAGE, PFNBUF_HOLE);
}

static int set_one_more(struct pfnbuf_layout *layout)
{
	return pfnbuf_layout_set(layout, 65 * CHUNK + 10000 * PAGE, PAGE, PFNBUF_PRIVATE);
}

static int set_first(struct pfnbuf_layout *layout)
{
	return pfnbuf_layout_set(layout, 10 * CHUNK + 100 * PAGE, PAGE, PFNBUF_PRIVATE);
}

static int set_sparse_again(struct pfnbuf_layout *layout)
{
	return pfnbuf_layout_set(layout, CHUNK, 1500 * PAGE, PFNBUF_SHARED);
}

/* Each set, with every allocation failing in turn, on a layout of its own and on one that shares with a copy. */
static void test_starved_set(void **state)
{
	static int (*const sets[])(struct pfnbuf_layout *) = { set_near_edge, set_third_vis,
							       set_one_more, set_first,
							       set_sparse_again };

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(sets) / sizeof(sets[0]); i++) {
		struct pfnbuf_layout *before = rich_layout(), *layout = rich_layout(), *copy = NULL;
		int ret = -ENOMEM;

		if (i & 1)
			assert_int_equal(pfnbuf_layout_copy(layout, &copy), 0);
		for (size_t n = 0; ret == -ENOMEM; n++) {
			assert_true(n < 30);
			starve_from(n);
			ret = sets[i / 2](layout);
			starve_end();
			assert_int_equal(pfnbuf_layout_equal(layout, before), ret < 0);
		}
		assert_int_equal(ret, 0);
		if (copy)
			assert_true(pfnbuf_layout_equal(copy, before));
		pfnbuf_layout_free(copy);
		pfnbuf_layout_free(layout);
		pfnbuf_layout_free(before);
	}
}

/* Prepared with every allocation failing in turn, and then made without any. */
static void turn_starved(struct pfnbuf_layout *layout, const struct pfnbuf_run *run,
			 enum pfnbuf_vis to, bool shares)
{
	struct pfnbuf_layout *before = NULL, *expected = NULL, *copy = NULL;
	struct pfnbuf_layout_turn turn;
	int r = -ENOMEM;

	assert_int_equal(pfnbuf_layout_slice(layout, 0, pfnbuf_layout_get_size(layout), &before),
			 0);
	if (shares)
		assert_int_equal(pfnbuf_layout_copy(layout, &copy), 0);
	for (size_t n = 0; r == -ENOMEM; n++) {
		assert_true(n < 30);
		starve_from(n);
		r = pfnbuf_layout_prepare_turn(layout, run->offset, run->length, run->vis, to,
					       &turn);
		starve_end();
		assert_true(pfnbuf_layout_equal(layout, before));
	}
	assert_int_equal(r, 1);
	starve_from(0);
	pfnbuf_layout_turn(layout, &turn);
	starve_end();
	assert_int_equal(pfnbuf_layout_copy(before, &expected), 0);
	assert_int_equal(pfnbuf_layout_set(expected, run->offset, run->length, to), 0);
	assert_true(pfnbuf_layout_equal(layout, expected));
	if (copy)
		assert_true(pfnbuf_layout_equal(copy, before));
	pfnbuf_layout_free(copy);
	pfnbuf_layout_free(expected);
	pfnbuf_layout_free(before);
}

static void test_turns(void **state)
{
	struct pfnbuf_layout *layout = rich_layout();
	struct pfnbuf_layout_turn turn;
	uint32_t random = 1;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		const uint64_t chunk = (uint64_t[]){ 1, 1, 65, 65, 64, 10, 69 }[i % 7];
		struct pfnbuf_run run;
		enum pfnbuf_vis to;
		uint64_t at;

		random = random * 1664525 + 1013904223;
		/* Often at a chunk's edge, or across. */
		at = random >> 30 ? (random >> 8) % 2000 : 16383;
		assert_true(pfnbuf_layout_get(layout, chunk * CHUNK + at * PAGE, &run) >= 0);
		to = (enum pfnbuf_vis)((run.vis + 1 + (random >> 5) % 2) % 3);
		/* All of a run, or a page of it. */
		if ((random >> 6) % 4)
			run = (struct pfnbuf_run){ chunk * CHUNK + at * PAGE, PAGE, run.vis };
		assert_int_equal(pfnbuf_layout_prepare_turn(layout, run.offset, run.length, to,
							    run.vis, &turn),
				 0);
		turn_starved(layout, &run, to, i % 3 == 0);
	}
	assert_int_equal(
		pfnbuf_layout_prepare_turn(layout, 0, 0, PFNBUF_SHARED, PFNBUF_PRIVATE, &turn),
		-EINVAL);
	assert_int_equal(pfnbuf_layout_prepare_turn(layout, 70 * CHUNK, PAGE, PFNBUF_SHARED,
						    PFNBUF_PRIVATE, &turn),
			 -ERANGE);
	pfnbuf_layout_free(layout);
}

/* What a layout should be: the visibility of each page. */
struct pages {
	uint64_t n;
	uint8_t vis[2 * 16384 + 9000];
};

static void assert_pages(const struct pfnbuf_layout *layout, const struct pages *pages)
{
	struct pfnbuf_layout_count expected = { 0 }, count;
	struct pfnbuf_run runs[64];
	uint64_t page = 0, pos = 0;

	for (int n; (n = pfnbuf_layout_next(layout, &pos, runs, 64)) > 0;) {
		for (int i = 0; i < n; i++) {
			const uint64_t end = page + runs[i].length / PAGE;

			assert_int_equal(runs[i].offset, page * PAGE);
			assert_true(end <= pages->n);
			assert_true(!page || pages->vis[page - 1] != runs[i].vis);
			for (; page < end; page++)
				assert_int_equal(pages->vis[page], runs[i].vis);
			expected.runs[runs[i].vis]++;
			expected.frames[runs[i].vis] += runs[i].length / PAGE;
		}
	}
	assert_int_equal(page, pages->n);
	pfnbuf_layout_count(layout, &count);
	assert_memory_equal(&count, &expected, sizeof(count));
}

static void set_pages(struct pfnbuf_layout *layout, struct pages *pages, uint64_t first, uint64_t n,
		      enum pfnbuf_vis vis)
{
	assert_int_equal(pfnbuf_layout_set(layout, first * PAGE, n * PAGE, vis), 0);
	memset(&pages->vis[first], (int)vis, n);
}

enum turn_mode { TURN_ALONE, TURN_STARVED, TURN_SHARED_STARVED, TURN_MODES };

/*
 * Turn pages, which fails as often as an allocation can; set them back and forth, and turn them back.
 */
static void turn_pages(struct pfnbuf_layout *layout, struct pages *pages, uint64_t first,
		       uint64_t n, enum pfnbuf_vis to, enum turn_mode mode)
{
	const enum pfnbuf_vis from = (enum pfnbuf_vis)pages->vis[first];
	const enum pfnbuf_vis third = (enum pfnbuf_vis)(3 - from - to);
	struct pfnbuf_layout *copy = NULL;
	struct pfnbuf_layout_turn turn;
	int r = -ENOMEM;

	if (mode == TURN_SHARED_STARVED)
		assert_int_equal(pfnbuf_layout_copy(layout, &copy), 0);
	assert_int_equal(
		pfnbuf_layout_prepare_turn(layout, first * PAGE, n * PAGE, third, to, &turn), 0);
	assert_int_equal(
		pfnbuf_layout_prepare_turn(layout, first * PAGE, n * PAGE, to, from, &turn), 0);
	for (size_t k = 0; r == -ENOMEM; k++) {
		assert_true(k < 30);
		if (mode != TURN_ALONE)
			starve_from(k);
		r = pfnbuf_layout_prepare_turn(layout, first * PAGE, n * PAGE, from, to, &turn);
		starve_end();
		assert_pages(layout, pages);
	}
	assert_int_equal(r, 1);
	if (mode != TURN_ALONE)
		starve_from(0);
	pfnbuf_layout_turn(layout, &turn);
	starve_end();
	if (copy)
		assert_pages(copy, pages);
	memset(&pages->vis[first], (int)to, n);
	assert_pages(layout, pages);
	set_pages(layout, pages, first, n, from);
	assert_pages(layout, pages);
	set_pages(layout, pages, first, n, to);
	assert_pages(layout, pages);
	assert_int_equal(
		pfnbuf_layout_prepare_turn(layout, first * PAGE, n * PAGE, to, from, &turn), 1);
	pfnbuf_layout_turn(layout, &turn);
	memset(&pages->vis[first], (int)from, n);
	assert_pages(layout, pages);
	pfnbuf_layout_free(copy);
}

/* Private pages apart from each other, in a chunk that is shared else. */
struct noise {
	uint64_t pages; /* of the layout */
	uint64_t first;
	uint64_t step;
	unsigned n;
	unsigned kept; /* the others are set back, which a dense leaf survives to some degree */
};

static struct pfnbuf_layout *noisy_layout(const struct noise *noise, uint64_t chunk,
					  const char *pattern, uint64_t where, struct pages *pages)
{
	struct pfnbuf_layout *layout = make(noise->pages, PFNBUF_SHARED);
	const uint64_t first = chunk + noise->first, kept = first + noise->kept * noise->step;

	pages->n = noise->pages;
	memset(pages->vis, PFNBUF_SHARED, pages->n);
	for (unsigned i = 0; i < noise->n; i++)
		set_pages(layout, pages, first + i * noise->step, 1, PFNBUF_PRIVATE);
	for (uint64_t i = 0; pattern[i]; i++)
		set_pages(layout, pages, where + i, 1,
			  pattern[i] == 'h'   ? PFNBUF_HOLE
			  : pattern[i] == 's' ? PFNBUF_SHARED
					      : PFNBUF_PRIVATE);
	if (noise->kept < noise->n)
		set_pages(layout, pages, kept, first + noise->n * noise->step - kept,
			  PFNBUF_SHARED);
	return layout;
}

/* A turn of every kind, at every place, in leaves of every kind. */
static void test_turn_kinds(void **state)
{
	static const struct {
		const char *pattern;
		uint64_t first, n;
		enum pfnbuf_vis to;
	} turns[] = {
		{ "sppps", 2, 1, PFNBUF_SHARED }, /* in the middle of a run */
		{ "sppps", 2, 1, PFNBUF_HOLE },
		{ "sppps", 1, 1, PFNBUF_SHARED }, /* at its beginning */
		{ "sppps", 1, 2, PFNBUF_HOLE },
		{ "hppps", 1, 1, PFNBUF_SHARED },
		{ "sppps", 3, 1, PFNBUF_SHARED }, /* at its end */
		{ "sppps", 2, 2, PFNBUF_HOLE },
		{ "spps", 1, 2, PFNBUF_SHARED }, /* all of it */
		{ "spps", 1, 2, PFNBUF_HOLE },
		{ "hpps", 1, 2, PFNBUF_HOLE },
		{ "hpps", 1, 2, PFNBUF_SHARED },
		{ "hpph", 1, 2, PFNBUF_SHARED },
		{ "sps", 1, 1, PFNBUF_SHARED },
		{ "psp", 1, 1, PFNBUF_PRIVATE },
		{ "ppp", 0, 1, PFNBUF_SHARED }, /* where a chunk or the layout begins or ends */
		{ "ppp", 2, 1, PFNBUF_SHARED },
		{ "ppp", 0, 3, PFNBUF_SHARED },
		{ "pps", 0, 1, PFNBUF_HOLE },
		{ "hpp", 2, 1, PFNBUF_HOLE },
		{ "p", 0, 1, PFNBUF_SHARED },
	};
	static const struct noise noises[] = {
		{ 200, 60, 2, 0, 0 },
		{ 200, 60, 2, 6, 6 },
		{ 200, 60, 2, 40, 40 }, /* runs fill a window, and are spread as expected */
		{ 16384, 4000, 4, 40, 40 },
		{ 2 * 16384 + 9000, 4000, 4, 0, 0 },
		{ 2 * 16384 + 9000, 4000, 20, 100, 100 },
		{ 2 * 16384 + 9000, 4000, 4, 157, 157 }, /* about the most of a sparse leaf */
		{ 2 * 16384 + 9000, 4000, 4, 158, 158 },
		{ 2 * 16384 + 9000, 4000, 4, 159, 159 },
		{ 2 * 16384 + 9000, 4000, 4, 200, 200 }, /* dense */
		{ 2 * 16384 + 9000, 4000, 4, 200, 78 },	 /* about the least of that */
		{ 2 * 16384 + 9000, 4000, 4, 200, 79 },
		{ 16384, 4000, 4, 200, 200 },
	};
	struct pages *pages = malloc(sizeof(*pages));

	(void)state;
	assert_non_null(pages);
	for (size_t i = 0; i < sizeof(noises) / sizeof(noises[0]); i++) {
		const uint64_t end = noises[i].pages, chunk = end > 2 * 16384 ? 16384 : 0;

		for (size_t k = 0; k < sizeof(turns) / sizeof(turns[0]); k++) {
			const uint64_t n = strlen(turns[k].pattern);
			/* In a chunk, in a word and across two, at both ends of chunk and layout. */
			const uint64_t places[] = {
				chunk + 20,
				chunk + 62,
				chunk,
				chunk ? chunk - 1 : 0,
				chunk ? 2 * chunk - n : 0,
				0,
				end - n,
			};

			for (size_t at = 0; at < sizeof(places) / sizeof(places[0]); at++) {
				for (int mode = 0; mode < TURN_MODES; mode++) {
					const uint64_t where = places[at];
					struct pfnbuf_layout *layout =
						noisy_layout(&noises[i], where / 16384 * 16384,
							     turns[k].pattern, where, pages);

					turn_pages(layout, pages, where + turns[k].first,
						   turns[k].n, turns[k].to, (enum turn_mode)mode);
					pfnbuf_layout_free(layout);
				}
			}
		}
	}
	free(pages);
}

static int turn_page(struct pfnbuf_layout *layout, uint64_t page, enum pfnbuf_vis from,
		     enum pfnbuf_vis to)
{
	struct pfnbuf_layout_turn turn;
	int r = pfnbuf_layout_prepare_turn(layout, page * PAGE, PAGE, from, to, &turn);

	if (r > 0)
		pfnbuf_layout_turn(layout, &turn);
	return r;
}

/* What has turned once needs no memory to turn again, until it is set: then it has no leaf any more. */
static void test_turn_keeps(void **state)
{
	struct pfnbuf_layout *layout = make(3 * 16384, PFNBUF_SHARED);
	const uint64_t page = CHUNK / PAGE + 1;

	(void)state;
	starve_from(0);
	assert_int_equal(turn_page(layout, page, PFNBUF_SHARED, PFNBUF_PRIVATE), -ENOMEM);
	starve_end();
	assert_int_equal(turn_page(layout, page, PFNBUF_SHARED, PFNBUF_PRIVATE), 1);
	starve_from(0);
	for (uint64_t i = 0; i < 200; i++) {
		assert_int_equal(turn_page(layout, page + i, PFNBUF_PRIVATE, PFNBUF_SHARED), 1);
		assert_int_equal(turn_page(layout, page + i + 1, PFNBUF_SHARED, PFNBUF_PRIVATE), 1);
	}
	assert_int_equal(turn_page(layout, page + 200, PFNBUF_PRIVATE, PFNBUF_SHARED), 1);
	starve_end();
	assert_int_equal(pfnbuf_layout_set(layout, page * PAGE, PAGE, PFNBUF_PRIVATE), 0);
	assert_int_equal(pfnbuf_layout_set(layout, page * PAGE, PAGE, PFNBUF_SHARED), 0);
	starve_from(0);
	assert_int_equal(turn_page(layout, page, PFNBUF_SHARED, PFNBUF_PRIVATE), -ENOMEM);
	starve_end();
	pfnbuf_layout_free(layout);
}

static int starved_new(const struct pfnbuf_layout *in, struct pfnbuf_layout **out)
{
	return pfnbuf_layout_new(pfnbuf_layout_get_size(in), PAGE, PFNBUF_HOLE, out);
}

static int starved_slice(const struct pfnbuf_layout *in, struct pfnbuf_layout **out)
{
	return pfnbuf_layout_slice(in, CHUNK + PAGE, CHUNK, out);
}

static int starved_shift(const struct pfnbuf_layout *in, struct pfnbuf_layout **out)
{
	return pfnbuf_layout_shift(in, (int64_t)PAGE, PFNBUF_HOLE, out);
}

static int starved_intersect(const struct pfnbuf_layout *in, struct pfnbuf_layout **out)
{
	struct pfnbuf_layout *other = NULL;
	int ret = pfnbuf_layout_shift(in, (int64_t)PAGE, PFNBUF_HOLE, &other);

	if (!ret)
		ret = pfnbuf_layout_intersect(in, other, out);
	pfnbuf_layout_free(other);
	return ret;
}

static int starved_build(const struct pfnbuf_layout *in, struct pfnbuf_layout **out)
{
	static const struct pfnbuf_run runs[] = { { PAGE, PAGE, PFNBUF_SHARED },
						  { CHUNK + PAGE, CHUNK, PFNBUF_PRIVATE } };

	return pfnbuf_layout_build(pfnbuf_layout_get_size(in), PAGE, runs, 2, out);
}

static int starved_parse(const struct pfnbuf_layout *in, struct pfnbuf_layout **out)
{
	struct pfnbuf_layout_error untouched = { 7, "untouched" };
	int ret = pfnbuf_layout_parse("size=1T 0x1000+0x1000=private 512G+4K=shared", out,
				      &untouched);

	(void)in;
	assert_int_equal(untouched.column, 7);
	return ret;
}

static void test_starved_makers(void **state)
{
	static int (*const makers[])(const struct pfnbuf_layout *, struct pfnbuf_layout **) = {
		starved_new,	   pfnbuf_layout_copy, starved_slice, starved_shift,
		starved_intersect, starved_build,      starved_parse,
	};
	struct pfnbuf_layout *layout = rich_layout();

	(void)state;
	for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
		struct pfnbuf_layout *out = NULL;
		size_t n = 0;
		int ret;

		do {
			starve_from(n);
			ret = makers[i](layout, &out);
			starve_end();
			assert_int_equal(!out, ret < 0);
			assert_true(n++ < 1000);
		} while (ret == -ENOMEM);
		assert_int_equal(ret, 0);
		assert_true(n > 1);
		pfnbuf_layout_free(out);
	}
	pfnbuf_layout_free(layout);
}

/* Reading does not allocate, nor does setting what is set, nor do both on a layout that shares with a copy. */
static void test_no_allocation(void **state)
{
	struct pfnbuf_layout *layout = rich_layout(), *copy = NULL, *other = rich_layout();
	struct pfnbuf_layout_count count;
	struct pfnbuf_change changes[8];
	struct pfnbuf_run runs[8];
	uint64_t pos = 0;
	char text[64];

	(void)state;
	assert_int_equal(pfnbuf_layout_copy(layout, &copy), 0);
	starve_from(0);
	assert_int_equal(pfnbuf_layout_set(layout, CHUNK, PAGE, PFNBUF_PRIVATE), 0);
	assert_int_equal(pfnbuf_layout_set(layout, 3 * CHUNK, 10 * CHUNK, PFNBUF_SHARED), 0);
	assert_int_equal(pfnbuf_layout_get(layout, CHUNK, runs), PFNBUF_PRIVATE);
	while (pfnbuf_layout_next(layout, &pos, runs, 8) > 0)
		;
	pos = 0;
	assert_int_equal(pfnbuf_layout_diff(layout, other, &pos, changes, 8), 0);
	assert_true(pfnbuf_layout_equal(layout, other));
	assert_int_equal(pfnbuf_layout_test(layout, 0, CHUNK, PFNBUF_SHARED, NULL), 1);
	pfnbuf_layout_count(layout, &count);
	pfnbuf_layout_print(layout, text, sizeof(text));
	starve_end();
	pfnbuf_layout_free(other);
	pfnbuf_layout_free(copy);
	pfnbuf_layout_free(layout);
}

static void *change_all(void *data)
{
	struct pfnbuf_layout *layout = data;

	for (uint64_t at = 0; at < 66 * CHUNK; at += CHUNK / 8)
		assert_int_equal(pfnbuf_layout_set(layout, at + PAGE, PAGE, PFNBUF_HOLE), 0);
	return pfnbuf_layout_free(layout);
}

/* Copies of one layout, each changed and freed in a thread of its own. The thread sanitizer sees more here than we do. */
static void test_threads(void **state)
{
	struct pfnbuf_layout *layout = rich_layout(), *expected = rich_layout(), *copies[4];
	pthread_t threads[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pfnbuf_layout_copy(layout, &copies[i]), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, change_all, copies[i]), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_true(pfnbuf_layout_equal(layout, expected));
	pfnbuf_layout_free(expected);
	pfnbuf_layout_free(layout);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_cursors),
		cmocka_unit_test(test_build),
		cmocka_unit_test(test_derived),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_errors),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_turn_kinds),
		cmocka_unit_test(test_turn_keeps),
		cmocka_unit_test(test_starved_set),
		cmocka_unit_test(test_starved_makers),
		cmocka_unit_test(test_no_allocation),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
