/* SPDX-License-Identifier: MIT */
/*
 * The ledger of memory attributes against one byte per page: random ranges across the borders of
 * chunks, up to the end of the address space, with no more spans than it says it takes.
 * PFNBUF_HISTORY_SEED takes another random order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "libpfnbuf/attributes.h"
#include "libpfnbuf/private.h"
#include "starve.h"

#define CHUNK	PFNBUF_CHUNK_PAGES
#define CHUNKS	5
#define PAGES	(CHUNKS * CHUNK)
#define ROUNDS	20000
#define LADDERS 3000
#define RUNGS	12

/* A part of a guest's memory, and what its pages ought to be. */
struct guest {
	struct pfnbuf_attributes a;
	uint64_t page_size;
	uint64_t start;
	uint8_t is_private[PAGES]; /* 1, or 0 */
	size_t most;		   /* spans that setting a range took */
};

struct change {
	uint32_t first, end;
	bool to;
};

static uint32_t random_state;

static void seed(void)
{
	const char *text = getenv("PFNBUF_HISTORY_SEED");

	random_state = text ? (uint32_t)strtoul(text, NULL, 0) : 12345;
}

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(random_state >> 8) * n >> 24);
}

static void open_guest(struct guest *g, uint64_t page_size, uint64_t first_chunk)
{
	memset(g, 0, sizeof(*g));
	g->page_size = page_size;
	g->start = first_chunk * CHUNK * page_size;
	pfnbuf_attributes_init(&g->a, page_size);
}

/* ---------------------------------------------------------------- what has to hold ---------- */

static size_t count_spare(const struct pfnbuf_attributes *a)
{
	size_t n = 0;

	for (const struct pfnbuf_node *s = a->spare ? &a->spare->node : NULL; s; s = s->right)
		n++;
	return n;
}

static size_t count_bits(const struct pfnbuf_span *span)
{
	size_t n = 0;

	for (size_t i = 0; i < CHUNK; i++)
		n += pfnbuf_bitmap_test(span->map, i);
	return n;
}

static struct pfnbuf_span *span_of(struct pfnbuf_node *node)
{
	return node ? pfnbuf_container_of(node, struct pfnbuf_span, node) : NULL;
}

/* Spans in order, mixed ones really mixed and counted, private ones not beside each other. */
static void check_spans(const struct pfnbuf_attributes *a, bool count)
{
	const struct pfnbuf_span *below = NULL, *span = span_of(pfnbuf_tree_ceil(&a->spans, 0));

	for (; span; below = span, span = span_of(pfnbuf_tree_next(&span->node))) {
		assert_true(span->node.key <= span->last);
		if (below) {
			assert_true(below->last < span->node.key);
			assert_true(below->is_mixed || span->is_mixed ||
				    below->last + 1 < span->node.key);
		}
		if (!span->is_mixed)
			continue;
		assert_int_equal(span->last, span->node.key);
		assert_true(span == a->latest ||
			    (span->nr_private > 0 && span->nr_private < CHUNK));
		if (count)
			assert_int_equal(span->nr_private, count_bits(span));
	}
	assert_true(!a->latest || a->latest->is_mixed);
	assert_int_equal(a->nr_spare, count_spare(a));
}

static uint32_t run_end(const struct guest *g, uint32_t page)
{
	const uint8_t other = g->is_private[page] ? 0 : 1;
	const uint8_t *end = memchr(g->is_private + page, other, PAGES - page);

	return end ? (uint32_t)(end - g->is_private) : PAGES;
}

/* What is told of a page, and how far. Returns where that ends. */
static uint32_t check_page(const struct guest *g, uint32_t page)
{
	const uint64_t gpa = g->start + page * g->page_size + random_below((uint32_t)g->page_size);
	const uint32_t end = run_end(g, page);
	uint64_t last = 77;

	assert_int_equal(pfnbuf_attributes_get(&g->a, gpa, &last), g->is_private[page]);
	if (end == PAGES && !g->is_private[page])
		assert_int_equal(last, UINT64_MAX);
	else
		assert_int_equal(last, g->start + end * g->page_size - 1);
	return end;
}

static void check_all(const struct guest *g)
{
	uint64_t last;

	check_spans(&g->a, true);
	for (uint32_t page = 0; page < PAGES;)
		page = check_page(g, page);
	if (!g->start)
		return;
	assert_false(pfnbuf_attributes_get(&g->a, 0, &last));
	assert_int_equal(last, g->is_private[0]	       ? g->start - 1
			       : run_end(g, 0) < PAGES ? g->start + run_end(g, 0) * g->page_size - 1
						       : UINT64_MAX);
}

/* ---------------------------------------------------------------- changes ------------------- */

/* Most begin or end where a chunk does, or a page beside it. */
static uint32_t random_border(void)
{
	const uint32_t border = random_below(CHUNKS + 1) * CHUNK, at = border + random_below(5);

	if (!random_below(4))
		return random_below(PAGES + 1);
	return at < 2 ? 0 : at - 2 > PAGES ? PAGES : at - 2;
}

static struct change random_change(void)
{
	struct change c = { .to = random_below(2) };
	uint32_t page = random_border(), other = random_border();

	if (!random_below(2))
		other = page + 1;
	c.first = page < other ? page : other;
	c.end = page < other ? other : page;
	if (c.first == c.end && c.first)
		c.first--;
	c.first = c.first < PAGES ? c.first : PAGES - 1;
	c.end = c.end > PAGES ? PAGES : c.end == c.first ? c.first + 1 : c.end;
	return c;
}

/* Leave the ledger only @n of its spares. Returns the others. */
static struct pfnbuf_node *hide_spares(struct pfnbuf_attributes *a, size_t n)
{
	struct pfnbuf_node **link = &a->spare->node.right, *others;

	assert_true(n > 0 && a->nr_spare >= n);
	for (size_t i = 1; i < n; i++)
		link = &(*link)->right;
	others = *link;
	*link = NULL;
	a->nr_spare = n;
	return others;
}

static void show_spares(struct pfnbuf_attributes *a, struct pfnbuf_node *others)
{
	while (others) {
		struct pfnbuf_span *span = span_of(others);

		others = others->right;
		span->node.right = a->spare ? &a->spare->node : NULL;
		a->spare = span;
		a->nr_spare++;
	}
}

/* As a VM does it. What setting a range may take is all it gets. */
static bool make_change(struct guest *g, const struct change *c, size_t spans)
{
	const uint64_t gpa = g->start + c->first * g->page_size;
	const uint64_t last = g->start + c->end * g->page_size - 1;
	struct pfnbuf_node *others = NULL;
	size_t had;
	uint64_t offset;

	if (c->end - c->first == 1 && pfnbuf_attributes_is_at_hand(&g->a, gpa, &offset)) {
		had = g->a.nr_spare;
		pfnbuf_attributes_set_page(&g->a, offset, c->to);
	} else {
		if (!pfnbuf_attributes_reserve(&g->a, gpa, last, spans))
			return false;
		if (g->a.nr_spare > PFNBUF_SPANS_TO_SET_BACK)
			others = hide_spares(&g->a, PFNBUF_SPANS_TO_SET_BACK);
		had = g->a.nr_spare;
		pfnbuf_attributes_set(&g->a, gpa, last, c->to);
	}
	if (had > g->a.nr_spare && had - g->a.nr_spare > g->most)
		g->most = had - g->a.nr_spare;
	show_spares(&g->a, others);
	memset(g->is_private + c->first, c->to, c->end - c->first);
	check_spans(&g->a, false);
	return true;
}

/* ---------------------------------------------------------------- tests --------------------- */

static void compare(uint64_t page_size, uint64_t first_chunk)
{
	static struct guest g;

	open_guest(&g, page_size, first_chunk);
	check_all(&g);
	for (int round = 0; round < ROUNDS; round++) {
		const struct change c = random_change();

		assert_true(make_change(&g, &c, PFNBUF_SPANS_TO_SET));
		check_page(&g, c.first);
		check_page(&g, random_below(PAGES));
		if (round % 64 == 0)
			check_all(&g);
	}
	check_all(&g);
	assert_int_equal(g.most, PFNBUF_SPANS_TO_SET_BACK);
	pfnbuf_attributes_end(&g.a);
}

/* The number of chunks in all guest physical addresses. */
static uint64_t nr_chunks(uint64_t page_size)
{
	return UINT64_MAX / page_size / CHUNK + 1;
}

static void against_an_array(void **state)
{
	(void)state;
	seed();
	compare(4096, 0);
	compare(4096, 32);
	compare(4096, nr_chunks(4096) - CHUNKS);
	compare(65536, nr_chunks(65536) - CHUNKS);
}

/* Change pages that are alike. */
static void go_up(struct guest *g, struct change *c)
{
	*c = random_change();
	if (c->end > run_end(g, c->first))
		c->end = run_end(g, c->first);
	c->to = !g->is_private[c->first];
	assert_true(make_change(g, c, PFNBUF_SPANS_TO_SET));
}

/* Any number of changes, taken back the last one first with no memory to be had. */
static void taken_back(void **state)
{
	static struct guest g;
	static uint8_t before[PAGES];
	struct change changes[RUNGS];

	(void)state;
	seed();
	for (int ladder = 0; ladder < LADDERS; ladder++) {
		const uint32_t warm = random_below(6), rungs = 1 + random_below(RUNGS);

		open_guest(&g, 4096, nr_chunks(4096) - CHUNKS);
		for (uint32_t i = 0; i < warm; i++) {
			const struct change c = random_change();

			assert_true(make_change(&g, &c, PFNBUF_SPANS_TO_SET));
		}
		memcpy(before, g.is_private, sizeof(before));
		for (uint32_t i = 0; i < rungs; i++)
			go_up(&g, &changes[i]);
		starve_from(0);
		for (uint32_t i = rungs; i > 0; i--) {
			changes[i - 1].to = !changes[i - 1].to;
			assert_true(make_change(&g, &changes[i - 1], PFNBUF_SPANS_TO_SET_BACK));
		}
		starve_end();
		assert_memory_equal(before, g.is_private, sizeof(before));
		check_all(&g);
		pfnbuf_attributes_end(&g.a);
	}
}

/* Without memory nothing is set, and what was is still told; changes in mixed chunks go on. */
static void without_memory(void **state)
{
	static struct guest g;
	const struct change page = { 7, 8, true }, back = { 7, 8, false }, beside = { 6, 9, true };
	const struct change other = { 4 * CHUNK, 4 * CHUNK + 2, true };
	const struct change far = { CHUNK - 1, 3 * CHUNK + 1, true };

	(void)state;
	seed();
	open_guest(&g, 4096, 32);
	for (size_t n = 0; n < PFNBUF_SPANS_TO_SET; n++) {
		starve_from(n);
		assert_false(make_change(&g, &page, PFNBUF_SPANS_TO_SET));
		starve_end();
		check_all(&g);
		pfnbuf_attributes_end(&g.a);
		open_guest(&g, 4096, 32);
	}
	assert_true(make_change(&g, &page, PFNBUF_SPANS_TO_SET));
	starve_from(0);
	assert_false(make_change(&g, &far, PFNBUF_SPANS_TO_SET));
	check_all(&g);
	assert_true(make_change(&g, &back, PFNBUF_SPANS_TO_SET_BACK));
	assert_true(make_change(&g, &page, PFNBUF_SPANS_TO_SET_BACK));
	assert_true(make_change(&g, &back, PFNBUF_SPANS_TO_SET));
	assert_true(make_change(&g, &beside, PFNBUF_SPANS_TO_SET));
	starve_end();
	assert_true(make_change(&g, &other, PFNBUF_SPANS_TO_SET));
	starve_from(0);
	assert_true(make_change(&g, &back, PFNBUF_SPANS_TO_SET));
	starve_end();
	assert_true(make_change(&g, &far, PFNBUF_SPANS_TO_SET));
	check_all(&g);
	pfnbuf_attributes_end(&g.a);
}

static size_t count_spans(const struct pfnbuf_attributes *a)
{
	const struct pfnbuf_node *n = pfnbuf_tree_ceil(&a->spans, 0);
	size_t count = 0;

	for (; n; n = pfnbuf_tree_next(n))
		count++;
	return count;
}

/* One page or a few of them that go back and forth make no span come and go, until others do. */
static void back_and_forth(void **state)
{
	static struct guest g;
	const struct change all = { 0, PAGES, true }, away = { 4 * CHUNK, 4 * CHUNK + 1, false };

	(void)state;
	seed();
	open_guest(&g, 4096, 0);
	assert_true(make_change(&g, &all, PFNBUF_SPANS_TO_SET));
	assert_int_equal(count_spans(&g.a), 1);
	for (uint32_t i = 0; i < 20; i++) {
		const uint32_t end = i % 4 < 2 ? 2 * CHUNK : CHUNK + 1;
		const struct change c = { CHUNK, end, i % 2 };

		assert_true(make_change(&g, &c, PFNBUF_SPANS_TO_SET));
		/* A whole chunk is not mixed before some of its pages are. */
		assert_int_equal(count_spans(&g.a), i < 1 ? 2 : i < 2 ? 1 : 3);
		check_all(&g);
	}
	assert_int_equal(g.a.latest->nr_private, CHUNK);
	assert_true(make_change(&g, &away, PFNBUF_SPANS_TO_SET));
	/* In front of the page's chunk, and that. */
	assert_int_equal(count_spans(&g.a), 2);
	check_all(&g);
	pfnbuf_attributes_end(&g.a);
}

static void check_run(const struct pfnbuf_attributes *a, uint64_t gpa, bool is_private,
		      uint64_t end)
{
	uint64_t last;

	assert_int_equal(pfnbuf_attributes_get(a, gpa, &last), is_private);
	assert_int_equal(last, end);
}

static void set(struct pfnbuf_attributes *a, uint64_t gpa, uint64_t last, bool is_private)
{
	assert_true(pfnbuf_attributes_reserve(a, gpa, last, PFNBUF_SPANS_TO_SET));
	pfnbuf_attributes_set(a, gpa, last, is_private);
	check_spans(a, true);
}

/* All of 64 bits, in one span and with holes at both ends. */
static void whole_space(void **state)
{
	struct pfnbuf_attributes a;

	(void)state;
	pfnbuf_attributes_init(&a, 4096);
	check_run(&a, 0, false, UINT64_MAX);
	set(&a, 0, UINT64_MAX, true);
	check_run(&a, 0, true, UINT64_MAX);
	check_run(&a, UINT64_MAX, true, UINT64_MAX);
	assert_int_equal(count_spans(&a), 1);
	set(&a, UINT64_MAX - 4095, UINT64_MAX, false);
	set(&a, 0, 4095, false);
	check_run(&a, 0, false, 4095);
	check_run(&a, 4096, true, UINT64_MAX - 4096);
	check_run(&a, UINT64_MAX - 5, false, UINT64_MAX);
	assert_int_equal(count_spans(&a), 3);
	set(&a, 4096, UINT64_MAX - 4096, false);
	check_run(&a, 0, false, UINT64_MAX);
	set(&a, 0, UINT64_MAX, false);
	check_run(&a, 4096, false, UINT64_MAX);
	assert_int_equal(count_spans(&a), 0);
	pfnbuf_attributes_end(&a);
}

/* What is so already takes no span, not for a moment. */
static void as_it_was(void **state)
{
	struct pfnbuf_attributes a;
	struct pfnbuf_span *spare;
	size_t nr_spare;

	(void)state;
	pfnbuf_attributes_init(&a, 4096);
	set(&a, 0, 5 * CHUNK * UINT64_C(4096) - 1, true);
	spare = a.spare;
	nr_spare = a.nr_spare;
	a.spare = NULL;
	a.nr_spare = 0;
	pfnbuf_attributes_set(&a, CHUNK * UINT64_C(4096), 3 * CHUNK * UINT64_C(4096) - 1, true);
	pfnbuf_attributes_set(&a, 4096, 3 * CHUNK * UINT64_C(4096) + 4095, true);
	pfnbuf_attributes_set(&a, 5 * CHUNK * UINT64_C(4096), UINT64_MAX - 4096, false);
	check_run(&a, 0, true, 5 * CHUNK * UINT64_C(4096) - 1);
	check_spans(&a, true);
	assert_int_equal(count_spans(&a), 1);
	a.spare = spare;
	a.nr_spare = nr_spare;
	pfnbuf_attributes_end(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_an_array), cmocka_unit_test(taken_back),
		cmocka_unit_test(without_memory),   cmocka_unit_test(back_and_forth),
		cmocka_unit_test(whole_space),	    cmocka_unit_test(as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
