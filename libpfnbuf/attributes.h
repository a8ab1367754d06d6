/* SPDX-License-Identifier: MIT */
/*
 * Which pages of a guest are private: what a VM's attributes were set to, which KVM does not tell.
 * Nothing here enters the kernel, takes a lock or reports.
 *
 * Guest physical addresses are divided into aligned chunks of 32768 pages, 128 MiB of 4 KiB pages.
 * A tree has spans that do not overlap: a mixed one is one chunk, with a bit for each page; any
 * other is a number of whole chunks that are all private, and no two of those are neighbours. What
 * no span covers is shared. So a guest's memory costs at most a bit per page, and nothing where it
 * is of one kind, while a page that turns is found with one look at the tree; in the chunk that was
 * touched last with none.
 *
 * That chunk stays mixed even where all its pages are alike: one page that goes back and forth then
 * costs a bit each time, not a span that comes and goes. It becomes what it is when another chunk
 * is touched, so one at most waits for that; a ledger without it is called settled.
 *
 * Memory. Spans are allocated in front of the kernel call, by pfnbuf_attributes_reserve() alone;
 * those that leave the tree stay in reserve, so there are never fewer of them. How many are in the
 * tree of a settled ledger follows from what is private.
 *
 * Setting a range takes three at most. Whole chunks in its midst take one: the private span that is
 * made of them, or what is above them of the private span that they are cut from. Each chunk that
 * is only in part in the range, at its ends, takes one: for its bits, because on the side of the
 * midst, or of the other end, there is nothing left that it has to be cut from. Where there is no
 * midst the first of them may take two, for its bits and for what is above it; but then there is
 * nothing else, or the other end alone.
 *
 * Setting back what was set takes three as well, and they are there. In front of the change six
 * were, more than the settled ledger had in the tree; three at most it took. So with the memory of
 * the guest as the change left it, and the ledger settled, three are there, then and for ever. A
 * change within a chunk that is mixed already needs no reserve: the settled ledger has as many in
 * the tree after it, or fewer. So any number of changes can be taken back without memory, the last
 * one first. Where threads take back theirs in another order, the first that does after a change
 * that reserved finds three.
 */
#ifndef PFNBUF_ATTRIBUTES_H
#define PFNBUF_ATTRIBUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bitmap.h"
#include "tree.h"

#define PFNBUF_CHUNK_SHIFT 15
#define PFNBUF_CHUNK_PAGES (1U << PFNBUF_CHUNK_SHIFT)

/* Spans in reserve in front of a change. */
#define PFNBUF_SPANS_TO_SET	 6
#define PFNBUF_SPANS_TO_SET_BACK 3

struct pfnbuf_span {
	struct pfnbuf_node node; /* by its first chunk; of one in reserve: the next is node.right */
	uint64_t last;		 /* its last chunk */
	bool is_mixed;
	uint32_t nr_private; /* these two are a mixed one's */
	uint64_t map[PFNBUF_CHUNK_PAGES / 64];
};

struct pfnbuf_attributes {
	struct pfnbuf_tree spans;
	struct pfnbuf_span *latest; /* the mixed one touched last, or NULL */
	uint64_t start;		    /* its first byte */
	uint64_t room;		    /* as many bytes from there on may begin a page of it; or 0 */
	uint64_t page_size;
	unsigned page_shift;
	size_t nr_spare;
	struct pfnbuf_span *spare;
};

/* @page_size: a power of two. */
void pfnbuf_attributes_init(struct pfnbuf_attributes *a, uint64_t page_size);
void pfnbuf_attributes_end(struct pfnbuf_attributes *a);

/*
 * Whether the page at @gpa is in the chunk touched last, so that pfnbuf_attributes_set_page() does;
 * and the @offset to hand to that.
 */
static inline bool pfnbuf_attributes_is_at_hand(const struct pfnbuf_attributes *a, uint64_t gpa,
						uint64_t *offset)
{
	*offset = gpa - a->start;
	return *offset < a->room;
}

static inline void pfnbuf_attributes_set_page(struct pfnbuf_attributes *a, uint64_t offset,
					      bool is_private)
{
	const uint64_t page = offset >> a->page_shift, bit = UINT64_C(1) << (page % 64);
	struct pfnbuf_span *span = a->latest;
	uint64_t *word = &span->map[page / 64];

	if (is_private && !(*word & bit)) {
		*word |= bit;
		span->nr_private++;
	} else if (!is_private && *word & bit) {
		*word &= ~bit;
		span->nr_private--;
	}
}

/*
 * Reserve for setting the pages that have a byte of [@gpa, @last] as many spans as @n says:
 * PFNBUF_SPANS_TO_SET, or _TO_SET_BACK for what was set before. Settles the ledger where not all of
 * them are in the chunk touched last; a chunk that is mixed already is that then, and needs nothing.
 * Returns false where there is no memory.
 */
bool pfnbuf_attributes_reserve(struct pfnbuf_attributes *a, uint64_t gpa, uint64_t last, size_t n);
/* After a reserve for that, and nothing else in between. */
void pfnbuf_attributes_set(struct pfnbuf_attributes *a, uint64_t gpa, uint64_t last,
			   bool is_private);

/* Whether the page of @gpa is private. *last: the last byte up to which all are as it is. */
bool pfnbuf_attributes_get(const struct pfnbuf_attributes *a, uint64_t gpa, uint64_t *last);

#endif /* PFNBUF_ATTRIBUTES_H */
