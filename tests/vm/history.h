/* SPDX-License-Identifier: MIT */
#ifndef TESTS_VM_HISTORY_H
#define TESTS_VM_HISTORY_H

/*
 * A history of conversions as a pure function of a seed, and what becomes of the memory under it. The
 * nested guest makes it, and whoever judges makes it again: nothing needs to be handed over. It stands on
 * nothing but a freestanding compiler.
 *
 * Ranges may begin before the window, end behind it and lie over its holes, as the conversions of real
 * guests do: there they have no effect.
 */

#include <stdbool.h>
#include <stdint.h>

#define HISTORY_PAGE   4096u
#define HISTORY_WORDS  (HISTORY_PAGE / 4)
#define HISTORY_PAGES  64u /* of the window */
#define HISTORY_MARGIN 8u  /* pages before and behind it that ranges reach */
#define HISTORY_MOST   24u /* pages in a range */

/* A conversion. @first counts from HISTORY_MARGIN pages below the window. */
struct history_step {
	uint32_t first, pages;
	bool to_private;
};

enum history_kind {
	HISTORY_HOLE,
	HISTORY_SHARED,
	HISTORY_PRIVATE,
};

/* What is in a page: a pattern of its own since the step that changed it, from 1; 0: since the start. */
struct history_page {
	uint8_t kind; /* enum history_kind */
	uint32_t since;
};

struct history {
	uint32_t random;
	uint32_t steps; /* made so far */
	struct history_page pages[HISTORY_PAGES];
};

/* Everything is private at first, as a confidential guest finds it, but for two holes. */
static inline void history_start(struct history *h, uint32_t seed)
{
	h->random = seed * 2654435761u | 1;
	h->steps = 0;
	for (uint32_t p = 0; p < HISTORY_PAGES; p++) {
		const bool hole = (p >= 20 && p < 23) || p == 47;

		h->pages[p].kind = hole ? HISTORY_HOLE : HISTORY_PRIVATE;
		h->pages[p].since = 0;
	}
}

/* xorshift (Marsaglia 2003); the upper bits are the better ones. */
static inline uint32_t history_below(struct history *h, uint32_t limit)
{
	h->random ^= h->random << 13;
	h->random ^= h->random >> 17;
	h->random ^= h->random << 5;
	return (h->random >> 8) % limit;
}

/* Mostly some pages, now and then many. */
static inline struct history_step history_next(struct history *h)
{
	const uint32_t all = HISTORY_PAGES + 2 * HISTORY_MARGIN;
	const uint32_t most = history_below(h, 8) ? 4 : HISTORY_MOST;
	struct history_step step;

	step.pages = 1 + history_below(h, most);
	step.first = history_below(h, all - step.pages + 1);
	step.to_private = history_below(h, 2);
	h->steps++;
	return step;
}

/* Whether the step that was drawn last covers page @p of the window. */
static inline bool history_covers(const struct history_step *step, uint32_t p)
{
	const uint32_t at = p + HISTORY_MARGIN;

	return at >= step->first && at - step->first < step->pages;
}

/* Let the step that was drawn last take effect on a page: whether it changed. */
static inline bool history_convert(struct history *h, const struct history_step *step, uint32_t p)
{
	const uint8_t to = step->to_private ? HISTORY_PRIVATE : HISTORY_SHARED;
	struct history_page *page = &h->pages[p];

	if (!history_covers(step, p) || page->kind == HISTORY_HOLE || page->kind == to)
		return false;
	page->kind = to;
	page->since = h->steps;
	return true;
}

/* The word @i of what the guest writes into page @p when step @since has changed it; never 0. */
static inline uint32_t history_word(uint32_t p, uint32_t since, uint32_t i)
{
	uint32_t x = (since << 16 ^ since >> 16) + p * HISTORY_WORDS + i;

	x = (x ^ x >> 16) * 0x45d9f3bu;
	x = (x ^ x >> 16) * 0x45d9f3bu;
	return x | 1;
}

#endif
