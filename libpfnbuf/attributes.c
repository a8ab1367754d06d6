/* SPDX-License-Identifier: MIT */
#include "attributes.h"

#include <stdlib.h>
#include <string.h>

#include "private.h"

static struct pfnbuf_span *span_of(struct pfnbuf_node *node)
{
	return node ? pfnbuf_container_of(node, struct pfnbuf_span, node) : NULL;
}

static struct pfnbuf_span *span_after(const struct pfnbuf_span *span)
{
	return span_of(pfnbuf_tree_next(&span->node));
}

/* The span that the chunk is in, or NULL. */
static struct pfnbuf_span *span_at(const struct pfnbuf_attributes *a, uint64_t chunk)
{
	struct pfnbuf_span *span = span_of(pfnbuf_tree_floor(&a->spans, chunk));

	return span && span->last >= chunk ? span : NULL;
}

/* The first span that ends in the chunk or above, or NULL. */
static struct pfnbuf_span *span_from(const struct pfnbuf_attributes *a, uint64_t chunk)
{
	struct pfnbuf_span *span = span_at(a, chunk);

	return span ? span : span_of(pfnbuf_tree_ceil(&a->spans, chunk));
}

/* ---------------------------------------------------------------- the reserve --------------- */

static void give(struct pfnbuf_attributes *a, struct pfnbuf_span *span)
{
	span->node.right = a->spare ? &a->spare->node : NULL;
	a->spare = span;
	a->nr_spare++;
}

/* There is one. */
static struct pfnbuf_span *take(struct pfnbuf_attributes *a)
{
	struct pfnbuf_span *span = a->spare;

	a->spare = span_of(span->node.right);
	a->nr_spare--;
	return span;
}

void pfnbuf_attributes_init(struct pfnbuf_attributes *a, uint64_t page_size)
{
	*a = (struct pfnbuf_attributes){
		.page_size = page_size,
		.page_shift = (unsigned)__builtin_ctzll(page_size),
	};
}

void pfnbuf_attributes_end(struct pfnbuf_attributes *a)
{
	while (a->spans.root) {
		struct pfnbuf_node *node = a->spans.root;

		pfnbuf_tree_remove(&a->spans, node);
		free(span_of(node));
	}
	while (a->spare)
		free(take(a));
}

/* ---------------------------------------------------------------- whole chunks -------------- */

/* Private chunks that no span has. */
static struct pfnbuf_span *enter(struct pfnbuf_attributes *a, uint64_t first, uint64_t last)
{
	struct pfnbuf_span *span = take(a);

	span->node.key = first;
	span->last = last;
	span->is_mixed = false;
	pfnbuf_tree_insert(&a->spans, &span->node);
	return span;
}

static void drop(struct pfnbuf_attributes *a, struct pfnbuf_span *span)
{
	pfnbuf_tree_remove(&a->spans, &span->node);
	give(a, span);
}

/* Make one span of one that is all private and such neighbours. */
static void join(struct pfnbuf_attributes *a, struct pfnbuf_span *span)
{
	/* In front of the first chunk is what no chunk is. */
	struct pfnbuf_span *below = span_at(a, span->node.key - 1);
	struct pfnbuf_span *above = span_after(span);

	if (above && !above->is_mixed && above->node.key - 1 == span->last) {
		span->last = above->last;
		drop(a, above);
	}
	if (below && !below->is_mixed) {
		below->last = span->last;
		drop(a, span);
	}
}

/* @span, which is mixed, or none is touched last. */
static void touch(struct pfnbuf_attributes *a, struct pfnbuf_span *span)
{
	a->latest = span;
	a->start = span ? span->node.key * PFNBUF_CHUNK_PAGES << a->page_shift : 0;
	a->room = span ? (PFNBUF_CHUNK_PAGES - 1) * a->page_size + 1 : 0;
}

/* The chunk touched last is that no more. */
static void settle(struct pfnbuf_attributes *a)
{
	struct pfnbuf_span *span = a->latest;

	touch(a, NULL);
	if (!span)
		return;
	if (!span->nr_private) {
		drop(a, span);
	} else if (span->nr_private == PFNBUF_CHUNK_PAGES) {
		span->is_mixed = false;
		join(a, span);
	}
}

/* Take chunks [first, last] out of the span, whose first is below them. */
static void cut(struct pfnbuf_attributes *a, struct pfnbuf_span *span, uint64_t first,
		uint64_t last)
{
	if (span->last > last)
		enter(a, last + 1, span->last);
	span->last = first - 1;
}

static void clear_chunks(struct pfnbuf_attributes *a, uint64_t first, uint64_t last)
{
	struct pfnbuf_span *span = span_from(a, first), *next;

	if (span && span->node.key < first) {
		next = span_after(span);
		cut(a, span, first, last);
		span = next;
	}
	for (; span && span->last <= last; span = next) {
		next = span_after(span);
		drop(a, span);
	}
	/* No other span is between there and here, so the order stays. */
	if (span && span->node.key <= last)
		span->node.key = last + 1;
}

static void set_chunks(struct pfnbuf_attributes *a, uint64_t first, uint64_t last, bool is_private)
{
	const struct pfnbuf_span *span = span_at(a, first);

	if (is_private && span && !span->is_mixed && span->last >= last)
		return;
	clear_chunks(a, first, last);
	if (is_private)
		join(a, enter(a, first, last));
}

/* ---------------------------------------------------------------- pages of a chunk ---------- */

/* Give the chunk bits. @span has it and is not mixed; NULL: the chunk is in none. */
static struct pfnbuf_span *mix(struct pfnbuf_attributes *a, struct pfnbuf_span *span,
			       uint64_t chunk)
{
	const bool is_private = span;

	if (!span) {
		span = enter(a, chunk, chunk);
	} else if (span->node.key < chunk) {
		cut(a, span, chunk, chunk);
		span = enter(a, chunk, chunk);
	} else if (span->last > chunk) {
		enter(a, chunk + 1, span->last);
		span->last = chunk;
	}
	span->is_mixed = true;
	span->nr_private = is_private ? PFNBUF_CHUNK_PAGES : 0;
	memset(span->map, is_private ? 0xff : 0, sizeof(span->map));
	return span;
}

static void set_bits(struct pfnbuf_span *span, uint64_t first, uint64_t last, bool is_private)
{
	const uint32_t changed = (uint32_t)pfnbuf_bitmap_fill(
		span->map, first % PFNBUF_CHUNK_PAGES, last % PFNBUF_CHUNK_PAGES + 1, is_private);

	span->nr_private += is_private ? changed : -changed;
}

/* Pages of one chunk that may not be mixed yet. */
static void set_pages(struct pfnbuf_attributes *a, uint64_t first, uint64_t last, bool is_private)
{
	const uint64_t chunk = first / PFNBUF_CHUNK_PAGES;
	struct pfnbuf_span *span;

	settle(a);
	span = span_at(a, chunk);
	if (!span || !span->is_mixed) {
		if (is_private == (span != NULL))
			return;
		span = mix(a, span, chunk);
	}
	set_bits(span, first, last, is_private);
	touch(a, span);
}

/* ---------------------------------------------------------------- ranges -------------------- */

static bool is_in_latest(const struct pfnbuf_attributes *a, uint64_t gpa, uint64_t last)
{
	const uint64_t room = PFNBUF_CHUNK_PAGES * a->page_size;

	return a->latest && gpa - a->start < room && last - a->start < room;
}

bool pfnbuf_attributes_reserve(struct pfnbuf_attributes *a, uint64_t gpa, uint64_t last, size_t n)
{
	const unsigned shift = a->page_shift + PFNBUF_CHUNK_SHIFT;
	struct pfnbuf_span *span;

	if (is_in_latest(a, gpa, last))
		return true;
	settle(a);
	span = span_at(a, gpa >> shift);
	if (span && span->is_mixed && last >> shift == span->last) {
		touch(a, span);
		return true;
	}
	while (a->nr_spare < n) {
		span = malloc(sizeof(*span));
		if (!span)
			return false;
		give(a, span);
	}
	return true;
}

/* Pages [first, end). */
static void set_range(struct pfnbuf_attributes *a, uint64_t first, uint64_t end, bool is_private)
{
	/* The whole chunks are [low, high); the first one and the last one may be others. */
	const uint64_t low = (first + PFNBUF_CHUNK_PAGES - 1) / PFNBUF_CHUNK_PAGES;
	const uint64_t high = end / PFNBUF_CHUNK_PAGES;

	if (low > high) {
		set_pages(a, first, end - 1, is_private);
		return;
	}
	if (low < high)
		set_chunks(a, low, high - 1, is_private);
	if (first < low * PFNBUF_CHUNK_PAGES)
		set_pages(a, first, low * PFNBUF_CHUNK_PAGES - 1, is_private);
	if (end > high * PFNBUF_CHUNK_PAGES)
		set_pages(a, high * PFNBUF_CHUNK_PAGES, end - 1, is_private);
}

void pfnbuf_attributes_set(struct pfnbuf_attributes *a, uint64_t gpa, uint64_t last,
			   bool is_private)
{
	const uint64_t first = gpa >> a->page_shift, final = last >> a->page_shift;

	if (!is_in_latest(a, gpa, last))
		set_range(a, first, final + 1, is_private);
	else if (first == final)
		pfnbuf_attributes_set_page(a, gpa - a->start, is_private);
	else
		set_bits(a->latest, first, final, is_private);
}

/* The first page from @page on that is not what @is_private says; or the end of all pages. */
static uint64_t next_other(const struct pfnbuf_attributes *a, uint64_t page, bool is_private)
{
	const struct pfnbuf_span *span = span_from(a, page / PFNBUF_CHUNK_PAGES);

	for (; span; span = span_after(span)) {
		if (page < span->node.key * PFNBUF_CHUNK_PAGES) {
			if (is_private)
				return page;
			page = span->node.key * PFNBUF_CHUNK_PAGES;
		}
		if (!span->is_mixed && !is_private)
			return page;
		if (span->is_mixed) {
			const size_t i = page % PFNBUF_CHUNK_PAGES;

			page += pfnbuf_bitmap_next(span->map, i, PFNBUF_CHUNK_PAGES, !is_private) -
				i;
			if (page / PFNBUF_CHUNK_PAGES == span->node.key)
				return page;
		} else {
			page = (span->last + 1) * PFNBUF_CHUNK_PAGES;
		}
	}
	return is_private ? page : (UINT64_MAX >> a->page_shift) + 1;
}

static bool is_private_at(const struct pfnbuf_attributes *a, uint64_t page)
{
	const struct pfnbuf_span *span = span_at(a, page / PFNBUF_CHUNK_PAGES);

	if (!span || !span->is_mixed)
		return span;
	return pfnbuf_bitmap_test(span->map, page % PFNBUF_CHUNK_PAGES);
}

bool pfnbuf_attributes_get(const struct pfnbuf_attributes *a, uint64_t gpa, uint64_t *last)
{
	const uint64_t page = gpa >> a->page_shift;
	const bool is_private = is_private_at(a, page);

	/* The end of all pages, shifted out, is 0: its last byte is still the last. */
	*last = (next_other(a, page, is_private) << a->page_shift) - 1;
	return is_private;
}
