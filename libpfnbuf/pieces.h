/* SPDX-License-Identifier: MIT */
/*
 * The pieces of a layout: what one slot or one area can show of it, and what two layouts differ in.
 *
 * A layout is cut by *class*: visibilities that look the same from where one stands are of one
 * class, and class 0 is not there. For an IOAS, private is as good as a hole; for slots with a
 * guest_memfd, private is as good as shared. A piece is a longest stretch of one class, cut where
 * the window is interrupted and at multiples of the granule.
 *
 * All of it is pure: it enters no kernel and keeps nothing.
 */
#ifndef PFNBUF_PIECES_H
#define PFNBUF_PIECES_H

#include <pfnbuf.h>

/* How a layout is cut. */
struct pfnbuf_cutting {
	uint8_t classes[PFNBUF_VIS_COUNT]; /* by enum pfnbuf_vis */
	uint64_t granule;		   /* 0: none */
	/* Where the window is interrupted, in order; the last is beyond its end. */
	const uint64_t *ends;
};

struct pfnbuf_piece {
	struct pfnbuf_range range;
	uint8_t class;
	bool joins;    /* what goes: nothing that stays lies between it and the one in front */
	bool replaced; /* part of what it shows is shown before and after */
};

struct pfnbuf_pieces {
	struct pfnbuf_piece *list;
	size_t nr;
	size_t max;
};

/* Walks the pieces of a layout in [at, end). */
struct pfnbuf_cursor {
	const struct pfnbuf_cutting *cutting;
	const struct pfnbuf_layout *layout;
	const uint64_t *stretch_end; /* of the stretch that holds @at, or an earlier one */
	uint64_t at;
	uint64_t end;
	uint64_t next; /* the first offset behind @runs */
	struct pfnbuf_run runs[16];
	int nr;
	int i;
	int ask; /* how many runs next time: a span has few, or many */
};

/* What two layouts differ in, as pfnbuf_layout_diff() has it. */
struct pfnbuf_changes {
	struct pfnbuf_change *list;
	size_t nr;
	size_t max;
};

/* What goes and what comes on the way from one layout to another. Set @cutting, @from, @to. */
struct pfnbuf_difference {
	struct pfnbuf_cutting cutting;
	const struct pfnbuf_layout *from;
	const struct pfnbuf_layout *to;
	struct pfnbuf_pieces gone;
	struct pfnbuf_pieces made;

	/* While it is being found. */
	struct pfnbuf_range span; /* what changes have reached and nobody has compared yet */
	uint64_t from_end;	  /* how far the runs go that were looked at last */
	uint64_t to_end;
	uint64_t seen;		     /* up to where it is compared */
	const uint64_t *stretch_end; /* of the stretch where that is, or an earlier one; NULL */
	bool kept;		     /* a piece that stays was seen after the last that goes */
};

struct pfnbuf_cursor pfnbuf_pieces_walk(const struct pfnbuf_cutting *cutting,
					const struct pfnbuf_layout *layout,
					const struct pfnbuf_range *span);
/* The next piece; false at the end. @joins and @replaced are false. */
bool pfnbuf_pieces_next(struct pfnbuf_cursor *cursor, struct pfnbuf_piece *piece);

/* Every piece of a layout, as what goes. -ENOMEM */
int pfnbuf_pieces_collect(const struct pfnbuf_cutting *cutting, const struct pfnbuf_layout *layout,
			  struct pfnbuf_pieces *pieces);
/* All changes in a range. -ENOMEM */
int pfnbuf_changes_collect(const struct pfnbuf_layout *from, const struct pfnbuf_layout *to,
			   const struct pfnbuf_range *range, struct pfnbuf_changes *changes);
/* Find @gone and @made of a difference; @changes are all that the layouts differ in. -ENOMEM */
int pfnbuf_pieces_compare(struct pfnbuf_difference *difference,
			  const struct pfnbuf_changes *changes);

/* Free the lists, and not the struct that holds them. */
void pfnbuf_changes_free(struct pfnbuf_changes *changes);
void pfnbuf_pieces_free(struct pfnbuf_pieces *pieces);
void pfnbuf_difference_free(struct pfnbuf_difference *difference);

#endif /* PFNBUF_PIECES_H */
