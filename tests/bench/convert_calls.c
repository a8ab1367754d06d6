/* SPDX-License-Identifier: MIT */
/*
 * Kernel calls for 5,000 scattered conversions over the fewest that will do, which is counted from
 * pages alone. What shall be private is not one with what was: to set an attribute again drops the
 * guest's mappings of it, and on some platforms what it holds.
 */
#include "convert.h"

#include <stdio.h>
#include <string.h>

#define PAGES	    65536
#define CONVERSIONS 5000
#define MAX_LENGTH  32 /* pages of a conversion */

struct pages {
	bool shared[PAGES];
};

static uint64_t piece_end(const struct pages *p, uint64_t at, uint64_t granule)
{
	uint64_t end = at + 1;

	while (end < PAGES && p->shared[end] && end % granule)
		end++;
	return end;
}

static bool begins_piece(const struct pages *p, uint64_t at, uint64_t granule)
{
	return p->shared[at] && (!at || !p->shared[at - 1] || at % granule == 0);
}

static bool has_piece(const struct pages *p, uint64_t at, uint64_t end, uint64_t granule)
{
	return begins_piece(p, at, granule) && piece_end(p, at, granule) == end;
}

/* Areas of @a that @b has not, from page @at to before @end; joined: what no other parts is one. */
static uint64_t count_areas(const struct pages *a, const struct pages *b, uint64_t granule,
			    bool joined)
{
	uint64_t n = 0, end;
	bool parted = true;

	for (uint64_t at = 0; at < PAGES; at = end) {
		end = at + 1;
		if (!a->shared[at])
			continue;
		end = piece_end(a, at, granule);
		if (has_piece(b, at, end, granule)) {
			parted = true;
			continue;
		}
		n += !joined || parted;
		parted = false;
	}
	return n;
}

/* Longest stretches of pages that change one way. */
static uint64_t count_changes(const struct pages *from, const struct pages *to)
{
	uint64_t n = 0;

	for (uint64_t at = 0; at < PAGES; at++) {
		if (from->shared[at] == to->shared[at])
			continue;
		n += !at || from->shared[at - 1] == to->shared[at - 1] ||
		     to->shared[at - 1] != to->shared[at];
	}
	return n;
}

/* Each change is an attribute to set, and memory to discard. */
static uint64_t fewest_calls(const struct pages *from, const struct pages *to, uint64_t granule)
{
	return count_areas(from, to, granule, true) + count_areas(to, from, granule, false) +
	       2 * count_changes(from, to);
}

static struct pfnbuf_conversion random_conversion(void)
{
	const uint64_t length = 1 + random_u64() % MAX_LENGTH;

	return (struct pfnbuf_conversion){
		.offset = random_u64() % (PAGES - length + 1) * PAGE,
		.length = length * PAGE,
		.to = random_u64() & 1 ? PFNBUF_SHARED : PFNBUF_PRIVATE,
	};
}

static void convert_pages(struct pages *p, const struct pfnbuf_conversion *c)
{
	memset(&p->shared[c->offset / PAGE], c->to == PFNBUF_SHARED, c->length / PAGE);
}

static void one_by_one(struct pfnbuf_window *w, uint64_t granule, struct pages *at,
		       uint64_t *fewest)
{
	static struct pages next;

	for (int i = 0; i < CONVERSIONS; i++) {
		const struct pfnbuf_conversion c = random_conversion();

		next = *at;
		convert_pages(&next, &c);
		*fewest += fewest_calls(at, &next, granule);
		*at = next;
		CHECK(pfnbuf_window_convert(w, c.offset, c.length, c.to));
	}
}

static void in_batches(struct pfnbuf_window *w, uint64_t granule, struct pages *at,
		       uint64_t *fewest)
{
	static struct pfnbuf_conversion list[CONVERSIONS];
	static struct pages next;

	for (int batch = 0; batch < 8; batch++) {
		next = *at;
		for (int i = 0; i < CONVERSIONS; i++) {
			list[i] = random_conversion();
			convert_pages(&next, &list[i]);
		}
		*fewest += fewest_calls(at, &next, granule);
		*at = next;
		CHECK(pfnbuf_window_convert_batch(w, list, CONVERSIONS));
	}
}

static void count(const char *name, uint64_t granule, bool batch)
{
	static struct pages at;
	uint64_t fewest = 0, made;
	struct null_scene s;

	/* Without a granule an area is as long as can be. */
	null_scene_open(&s, PAGES * PAGE, granule == PAGES ? 0 : granule * PAGE, NULL);
	memset(&at, 1, sizeof(at));
	made = null_kernel_changes();
	if (batch)
		in_batches(s.w, granule, &at, &fewest);
	else
		one_by_one(s.w, granule, &at, &fewest);
	made = null_kernel_changes() - made;
	printf("convert.calls.%s %.4f\n", name, (double)made / (double)fewest);
	null_scene_close(&s);
}

void bench_calls(void)
{
	count("one_by_one", PAGES, false);
	count("one_by_one_granule_64k", 16, false);
	count("batch", PAGES, true);
	count("batch_granule_64k", 16, true);
}
