/* SPDX-License-Identifier: MIT */
/* Bits in words of 64, the first the lowest. A map of n bits has (n + 63) / 64 words. */
#ifndef PFNBUF_BITMAP_H
#define PFNBUF_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool pfnbuf_bitmap_test(const uint64_t *map, size_t i)
{
	return map[i / 64] >> (i % 64) & 1;
}

static inline void pfnbuf_bitmap_put(uint64_t *map, size_t i, bool value)
{
	const uint64_t bit = UINT64_C(1) << (i % 64);

	map[i / 64] = value ? map[i / 64] | bit : map[i / 64] & ~bit;
}

/* The first bit from @i on that is @value, or @n where none below it is. */
static inline size_t pfnbuf_bitmap_next(const uint64_t *map, size_t i, size_t n, bool value)
{
	const uint64_t flip = value ? 0 : UINT64_MAX;
	uint64_t word;

	if (i >= n)
		return n;
	word = (map[i / 64] ^ flip) >> (i % 64) << (i % 64);
	for (i -= i % 64; !word && (i += 64) < n;)
		word = map[i / 64] ^ flip;
	if (!word)
		return n;
	i += (size_t)__builtin_ctzll(word);
	return i < n ? i : n;
}

/* Give the bits [first, end) a value. Returns how many had the other. */
static inline size_t pfnbuf_bitmap_fill(uint64_t *map, size_t first, size_t end, bool value)
{
	size_t changed = 0;

	while (first < end) {
		const size_t n = end - first < 64 - first % 64 ? end - first : 64 - first % 64;
		const uint64_t mask = UINT64_MAX >> (64 - n) << (first % 64);
		uint64_t *word = &map[first / 64];

		changed += (size_t)__builtin_popcountll((value ? ~*word : *word) & mask);
		*word = value ? *word | mask : *word & ~mask;
		first += n;
	}
	return changed;
}

#endif /* PFNBUF_BITMAP_H */
