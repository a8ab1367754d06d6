/* SPDX-License-Identifier: MIT */
/* The ledger of areas against a plain array, with granules coming and going over it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpfnbuf/areas.h"
#include "mock.h"
#include "starve.h"

#define PAGE   UINT64_C(0x1000)
#define NR     96 /* pages */
#define BASE   UINT64_C(0x40000000)
#define SOURCE UINT64_C(0x7000000)
#define MOST   3 /* granules at a time */
#define ROUNDS 40000

struct expected {
	uint64_t pages; /* 0: no area begins here */
	uint64_t offset;
	unsigned bits;
};

static struct expected model[NR];
static struct areas areas;
static struct pfnbuf_granules *granules[MOST];

static uint32_t random_state = 4711;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % n;
}

static uint64_t iova_of(uint64_t page)
{
	return BASE + page * PAGE;
}

static bool is_free(uint64_t page, uint64_t n)
{
	if (page + n > NR)
		return false;
	for (uint64_t i = 0; i < NR; i++)
		if (model[i].pages && i < page + n && page < i + model[i].pages)
			return false;
	return true;
}

/* ---------------------------------------------------------------- checks -------------------- */

static void is_area(const struct area *a, uint64_t page)
{
	assert_int_equal(a->node.key, iova_of(page));
	assert_int_equal(a->length, model[page].pages * PAGE);
	assert_int_equal(a->offset, model[page].offset);
	assert_int_equal(a->node.bits & ~IS_GRANULE, model[page].bits);
}

static void check_walk(void)
{
	struct area_walk walk;
	const struct area *a = pfnbuf_areas_from(&areas, 0, &walk);

	for (uint64_t i = 0; i < NR; i++) {
		if (!model[i].pages)
			continue;
		assert_non_null(a);
		is_area(a, i);
		a = pfnbuf_areas_after(&areas, a, &walk);
	}
	assert_null(a);
}

static void check_lookups(void)
{
	const uint64_t at = random_below(NR), iova = iova_of(at) + random_below(2) * (PAGE - 1);
	uint64_t ends = NR, begins = NR;
	struct area_walk walk;
	struct area *a;

	for (uint64_t i = NR; i-- > 0;) {
		if (model[i].pages && i + model[i].pages > at)
			ends = i;
		if (model[i].pages && iova_of(i) >= iova)
			begins = i;
	}
	a = pfnbuf_areas_from(&areas, iova, &walk);
	assert_int_equal(a != NULL, ends < NR);
	if (a)
		is_area(a, ends);
	a = pfnbuf_areas_ceil(&areas, iova, &walk);
	assert_int_equal(a != NULL, begins < NR);
	if (a)
		is_area(a, begins);
}

static bool is_in(const struct pfnbuf_granules *g, uint64_t page)
{
	return iova_of(page) < g->iova + g->n * g->size &&
	       iova_of(page + model[page].pages) > g->iova;
}

/* Each counts its bits, and the records that are where it is. */
static void check_granules(const struct pfnbuf_granules *g)
{
	uint64_t records = 0, bits = 0;
	struct area_walk walk;

	for (uint64_t i = 0; i < g->n; i++)
		bits += pfnbuf_bitmap_test(g->mapped, i);
	assert_int_equal(g->nr_mapped, bits);
	for (uint64_t i = 0; i < NR; i++)
		if (model[i].pages && is_in(g, i))
			records += !(pfnbuf_areas_from(&areas, iova_of(i), &walk)->node.bits &
				     IS_GRANULE);
	assert_int_equal(g->nr_records, records);
	/* The first that fits has it. */
	for (int k = 0; !g->shares_range && k < MOST; k++)
		assert_true(!granules[k] || granules[k] == g ||
			    granules[k]->iova + granules[k]->n * granules[k]->size <= g->iova ||
			    g->iova + g->n * g->size <= granules[k]->iova);
}

static void check(void)
{
	check_walk();
	check_lookups();
	for (int i = 0; i < MOST; i++)
		if (granules[i])
			check_granules(granules[i]);
}

/* ---------------------------------------------------------------- steps --------------------- */

/* Where one of the granules is, if there are any; else anywhere. */
static uint64_t pick(uint64_t *n)
{
	const struct pfnbuf_granules *g = granules[random_below(MOST)];

	*n = 1 + random_below(3);
	if (!g || random_below(4) == 0)
		return random_below(NR);
	*n = g->size / PAGE;
	return (g->iova - BASE) / PAGE + random_below((uint32_t)g->n) * *n;
}

/* Most are of the source, as a window's are; some are another's. */
static void enter(void)
{
	uint64_t n;
	const uint64_t page = pick(&n);
	const unsigned bits = random_below(8) ? MAP_FLAGS | IS_VA : PFNBUF_MAP_READ | IS_VA;
	const uint64_t offset = SOURCE + page * PAGE + (random_below(8) ? 0 : PAGE);
	struct area *list = NULL;

	if (!is_free(page, n))
		return;
	pfnbuf_areas_enter(&areas, pfnbuf_area_new(NULL, offset, n * PAGE, bits, 0), iova_of(page),
			   &list);
	/* What became a bit is given back. */
	assert_true(!list || list->length == n * PAGE);
	pfnbuf_area_release(&list);
	model[page] = (struct expected){ n, offset, bits };
}

/* All areas of a range leave, and are had back in order if that is wanted. */
static void leave(bool keeps)
{
	const uint64_t page = random_below(NR), n = 1 + random_below(12);
	const uint64_t last = iova_of(page + n) - 1;
	struct area_leaving leaving = { 0 };
	struct area_walk walk;
	struct area *a = up_to(pfnbuf_areas_from(&areas, iova_of(page), &walk), last);

	if (keeps)
		assert_int_equal(pfnbuf_areas_reserve(&areas, a, last, &leaving), 0);
	while (a) {
		const uint64_t own = (a->node.key - BASE) / PAGE;
		const bool record = keeps || !(a->node.bits & IS_GRANULE);

		pfnbuf_areas_leave(&areas, a, &leaving);
		if (record) {
			is_area(leaving.gone, own);
			assert_false(leaving.gone->node.bits & IS_GRANULE);
		}
		model[own].pages = 0;
		a = up_to(pfnbuf_areas_from(&areas, iova_of(page), &walk), last);
	}
	assert_null(leaving.reserve);
	pfnbuf_area_release(&leaving.gone);
}

/* One record in reserve for each granule, or the truth. */
static void reserve_starved(void)
{
	struct area_leaving leaving = { 0 };
	struct area_walk walk;
	const struct area *first = pfnbuf_areas_from(&areas, 0, &walk);
	struct area_walk other;
	uint32_t bits = 0;

	for (const struct area *a = pfnbuf_areas_from(&areas, 0, &other); a;
	     a = pfnbuf_areas_after(&areas, a, &other))
		bits += a->node.bits & IS_GRANULE ? 1 : 0;
	if (!bits)
		return;
	starve_from(random_below(bits));
	assert_int_equal(pfnbuf_areas_reserve(&areas, first, UINT64_MAX, &leaving), -ENOMEM);
	starve_end();
	assert_null(leaving.gone);
	pfnbuf_area_release(&leaving.reserve);
}

static void add(int slot)
{
	const uint64_t size = 1 + random_below(3), page = random_below(NR - 8);
	const struct area like = {
		.node = { .key = iova_of(page), .bits = MAP_FLAGS | IS_VA },
		.length = (size + random_below((uint32_t)(NR - page - size))) * PAGE,
		.offset = SOURCE + page * PAGE,
	};
	struct area *list = NULL;

	starve_from(0);
	assert_null(pfnbuf_granules_new(&areas, &like, size * PAGE, &list));
	starve_end();
	assert_null(list);
	granules[slot] = pfnbuf_granules_new(&areas, &like, size * PAGE, &list);
	assert_non_null(granules[slot]);
	assert_int_equal(granules[slot]->n, like.length / (size * PAGE));
	pfnbuf_area_release(&list);
}

/* Without memory for all of its records it stays, and loses none. */
static void end(int slot)
{
	struct pfnbuf_granules *g = granules[slot];

	if (g->nr_mapped) {
		starve_from(random_below((uint32_t)g->nr_mapped));
		assert_false(pfnbuf_granules_dissolve(&areas, g));
		starve_end();
		check();
	}
	assert_true(pfnbuf_granules_dissolve(&areas, g));
	assert_int_equal(g->nr_mapped, 0);
	pfnbuf_granules_unlink(g);
	pfnbuf_granules_free(g);
	granules[slot] = NULL;
}

static void step(void)
{
	const uint32_t kind = random_below(100);
	const int slot = (int)random_below(MOST);

	if (kind < 60)
		enter();
	else if (kind < 85)
		leave(kind & 1);
	else if (kind < 87)
		reserve_starved();
	else if (kind < 90 && granules[slot])
		end(slot);
	else if (kind < 93 && !granules[slot])
		add(slot);
}

static void against_an_array(void **state)
{
	uint64_t most = 0;

	(void)state;
	pfnbuf_areas_init(&areas);
	for (int i = 0; i < ROUNDS; i++) {
		step();
		check();
		for (int k = 0; k < MOST; k++)
			if (granules[k] && granules[k]->nr_mapped > most)
				most = granules[k]->nr_mapped;
	}
	/* It was about something. */
	assert_true(most > 12);
	pfnbuf_areas_free(&areas);
}

/* ---------------------------------------------------------------- single rules --------------- */

static void at_the_end_of_addresses(void **state)
{
	const struct area like = {
		.node = { .key = UINT64_MAX - 4 * PAGE + 1, .bits = MAP_FLAGS | IS_VA },
		.length = 4 * PAGE,
		.offset = SOURCE,
	};
	struct area *list = NULL;
	struct area_walk walk;
	struct area *a;

	(void)state;
	pfnbuf_areas_init(&areas);
	pfnbuf_granules_new(&areas, &like, PAGE, &list);
	pfnbuf_areas_enter(&areas,
			   pfnbuf_area_new(NULL, SOURCE + 3 * PAGE, PAGE, MAP_FLAGS | IS_VA, 0),
			   -PAGE, &list);
	assert_non_null(list);
	pfnbuf_area_release(&list);
	a = pfnbuf_areas_from(&areas, UINT64_MAX, &walk);
	assert_non_null(a);
	assert_int_equal(last_of(a), UINT64_MAX);
	assert_null(pfnbuf_areas_after(&areas, a, &walk));
	pfnbuf_areas_free(&areas);
}

/* An area that waits for its restore is a record, whatever it looks like, and is counted. */
static void an_absent_area_is_a_record(void **state)
{
	const struct area like = {
		.node = { .key = BASE, .bits = MAP_FLAGS },
		.length = 4 * PAGE,
		.offset = SOURCE,
	};
	struct area_leaving leaving = { 0 };
	struct area *list = NULL;
	struct pfnbuf_granules *g;

	(void)state;
	pfnbuf_areas_init(&areas);
	g = pfnbuf_granules_new(&areas, &like, PAGE, &list);
	pfnbuf_areas_enter(&areas, pfnbuf_area_new(NULL, SOURCE, PAGE, MAP_FLAGS | IS_ABSENT, 0),
			   BASE, &list);
	assert_null(list);
	assert_int_equal(areas.nr_absent, 1);
	assert_int_equal(g->nr_mapped, 0);
	assert_int_equal(g->nr_records, 1);
	pfnbuf_areas_leave(&areas, pfnbuf_areas_from(&areas, BASE, &(struct area_walk){ 0 }),
			   &leaving);
	assert_int_equal(areas.nr_absent, 0);
	assert_int_equal(g->nr_records, 0);
	pfnbuf_area_release(&leaving.gone);
	pfnbuf_areas_free(&areas);
}

/*
 * As many steps as there are areas. If each looked through what is behind the next area, this would
 * take minutes.
 */
static void many_are_walked_in_one_go(void **state)
{
	const uint64_t n = UINT64_C(1) << 22;
	struct area like = {
		.node = { .key = BASE + n * PAGE, .bits = MAP_FLAGS | IS_VA },
		.length = n * PAGE,
		.offset = SOURCE + n * PAGE,
	};
	struct pfnbuf_granules *above, *below;
	struct area *list = NULL;
	struct area_walk walk;
	uint64_t seen = 0, last = 0;

	(void)state;
	pfnbuf_areas_init(&areas);
	above = pfnbuf_granules_new(&areas, &like, PAGE, &list);
	like.node.key = BASE;
	like.offset = SOURCE;
	below = pfnbuf_granules_new(&areas, &like, PAGE, &list);
	put_granule(above, n - 1, true);
	for (uint64_t i = 0; i < n; i += 2)
		put_granule(below, i, true);
	for (uint64_t i = 1; i < n; i += 64)
		pfnbuf_areas_enter(&areas, pfnbuf_area_new(NULL, 0, PAGE, MAP_FLAGS | IS_VA, 0),
				   BASE + i * PAGE, &list);
	assert_null(list);
	for (const struct area *a = pfnbuf_areas_from(&areas, 0, &walk); a;
	     a = pfnbuf_areas_after(&areas, a, &walk)) {
		assert_true(a->node.key > last);
		last = a->node.key;
		seen++;
	}
	assert_int_equal(last, BASE + (2 * n - 1) * PAGE);
	assert_int_equal(seen, n / 2 + n / 64 + 1);
	pfnbuf_areas_free(&areas);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_an_array),
		cmocka_unit_test(at_the_end_of_addresses),
		cmocka_unit_test(an_absent_area_is_a_record),
		cmocka_unit_test(many_are_walked_in_one_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
