/* SPDX-License-Identifier: MIT */
/*
 * The ledger of an I/O address space: its areas, which are what map calls made, by IOVA.
 *
 * An area has a record. Of memory that is mapped and unmapped in granules, as RAM is whose pages a
 * guest converts, there may be more than of all else: those are a bit each, in a map that is set
 * aside for the whole of the memory. Who walks through the ledger sees areas, and no difference.
 *
 * Enters no kernel and takes no lock.
 */
#ifndef PFNBUF_AREAS_H
#define PFNBUF_AREAS_H

#include <assert.h>

#include "bitmap.h"
#include "private.h"
#include "tree.h"

/*
 * Outside the ledger records form a list through node.right.
 *
 * @generation is 0, which no buffer has, where the buffer was not LIVE when it was imported: a
 * revocation was under way, and the import may have come before it or after.
 */
struct area {
	struct pfnbuf_node node; /* by IOVA */
	uint64_t length;
	struct pfnbuf_buf *buf;
	uint64_t offset;
	uint64_t generation;
};

/* node.bits of an area */
#define MAP_FLAGS  (PFNBUF_MAP_READ | PFNBUF_MAP_WRITE)
#define IS_VA	   (1U << 8) /* memory of this process, and @offset its address */
/* Not in the kernel: a restore unmapped it and could not map it again. */
#define IS_ABSENT  (1U << 9)
#define IS_GRANULE (1U << 10) /* a bit of some granules, shown as an area */

static_assert(!(MAP_FLAGS & (IS_VA | IS_ABSENT | IS_GRANULE)), "bits of an area collide");

/* With malloc's own word an area takes no more than 96 bytes. */
static_assert(sizeof(struct area) <= 88, "an area has grown");

/* Memory of one source that is mapped in granules, in order and without a gap. */
struct pfnbuf_granules {
	struct pfnbuf_link link;
	uint64_t iova; /* these: of the first of them */
	uint64_t offset;
	struct pfnbuf_buf *buf;
	uint64_t size; /* of each, in bytes */
	uint64_t n;
	uint64_t generation;
	unsigned bits;	     /* as those of an area */
	bool shares_range;   /* or did, with other granules */
	uint64_t nr_mapped;  /* bits that are set */
	uint64_t nr_records; /* areas in this range that are none of these */
	uint64_t allowed_at; /* when all of it was seen to be in the space of the IOAS */
	uint64_t mapped[];
};

struct areas {
	struct pfnbuf_tree tree;
	struct pfnbuf_link granules; /* by IOVA */
	size_t nr_absent;
};

/* What a walk shows of granules; what it returned is overwritten by its next step. */
struct area_walk {
	struct area area;
	struct pfnbuf_granules *of;
};

static inline struct area *area_of(struct pfnbuf_node *node)
{
	return node ? pfnbuf_container_of(node, struct area, node) : NULL;
}

static inline unsigned flags_of(const struct area *a)
{
	return a->node.bits & MAP_FLAGS;
}

static inline bool is_va(const struct area *a)
{
	return a->node.bits & IS_VA;
}

static inline bool is_absent(const struct area *a)
{
	return a->node.bits & IS_ABSENT;
}

static inline uint64_t last_of(const struct area *a)
{
	return a->node.key + a->length - 1;
}

/* An area or NULL, where it begins inside a range that ends with the byte @last. */
static inline struct area *up_to(struct area *a, uint64_t last)
{
	return a && a->node.key <= last ? a : NULL;
}

/* ---------------------------------------------------------------- records ------------------- */

/* @buf may be NULL. NULL: no memory. */
struct area *pfnbuf_area_new(struct pfnbuf_buf *buf, uint64_t offset, uint64_t length,
			     unsigned bits, uint64_t generation);

static inline void push_area(struct area **list, struct area *a)
{
	a->node.right = *list ? &(*list)->node : NULL;
	*list = a;
}

static inline struct area *pop_area(struct area **list)
{
	struct area *a = *list;

	*list = area_of(a->node.right);
	return a;
}

/* May end buffers: not with a lock held. */
void pfnbuf_area_release(struct area **list);

#define cleanup_areas __attribute__((cleanup(pfnbuf_area_release)))

/* ---------------------------------------------------------------- the ledger ---------------- */

void pfnbuf_areas_init(struct areas *areas);
/* Empty it, with nobody else there. May end buffers. */
void pfnbuf_areas_free(struct areas *areas);

/* The first area that meets [@iova, @last]; the next one that does. */
struct area *pfnbuf_areas_in(const struct areas *areas, uint64_t iova, uint64_t last,
			     struct area_walk *walk);
struct area *pfnbuf_areas_next(const struct areas *areas, const struct area *a, uint64_t last,
			       struct area_walk *walk);

/* The first area that ends at @iova or above; the first that begins there or above; the next. */
static inline struct area *pfnbuf_areas_from(const struct areas *areas, uint64_t iova,
					     struct area_walk *walk)
{
	return pfnbuf_areas_in(areas, iova, UINT64_MAX, walk);
}

struct area *pfnbuf_areas_ceil(const struct areas *areas, uint64_t iova, struct area_walk *walk);
static inline struct area *pfnbuf_areas_after(const struct areas *areas, const struct area *a,
					      struct area_walk *walk)
{
	return pfnbuf_areas_next(areas, a, UINT64_MAX, walk);
}

/* Enter a record at @iova. It joins the list where a bit does. */
void pfnbuf_areas_enter(struct areas *areas, struct area *a, uint64_t iova, struct area **list);

/* What leaves a ledger. Records that are in reserve become those of granules. */
struct area_leaving {
	struct area *gone;
	struct area *reserve;
};

/* Put a record in reserve for each granule of a walk from @first up to @last. -ENOMEM */
int pfnbuf_areas_reserve(const struct areas *areas, const struct area *first, uint64_t last,
			 struct area_leaving *leaving);
/* A granule for which there is no record in reserve leaves no trace. */
void pfnbuf_areas_leave(struct areas *areas, struct area *a, struct area_leaving *leaving);

/* Of a record. */
void pfnbuf_areas_set_absent(struct areas *areas, struct area *a, bool absent);

/* ---------------------------------------------------------------- granules ------------------ */

static inline struct pfnbuf_granules *granules_of_link(const struct pfnbuf_link *link)
{
	return pfnbuf_container_of(link, struct pfnbuf_granules, link);
}

/*
 * Granules like @model, the area of all of them, of which there is room for one at least; its
 * records become bits and join the list. NULL: no memory, and nothing has changed.
 */
struct pfnbuf_granules *pfnbuf_granules_new(struct areas *areas, const struct area *model,
					    uint64_t size, struct area **list);
/*
 * Give those that are mapped a record each. False: there was no memory for all; then they stay what
 * they are.
 */
bool pfnbuf_granules_dissolve(struct areas *areas, struct pfnbuf_granules *g);
/* Take it off the ledger; none of them may be mapped. May end a buffer, as above. */
void pfnbuf_granules_unlink(struct pfnbuf_granules *g);
void pfnbuf_granules_free(struct pfnbuf_granules *g);

static inline void put_granule(struct pfnbuf_granules *g, uint64_t i, bool mapped)
{
	pfnbuf_bitmap_put(g->mapped, i, mapped);
	g->nr_mapped = mapped ? g->nr_mapped + 1 : g->nr_mapped - 1;
}

#endif /* PFNBUF_AREAS_H */
