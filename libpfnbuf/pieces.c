/* SPDX-License-Identifier: MIT */
/*
 * The way from one layout to another is a matter of two sets of pieces: those only the old one has
 * go, those only the new one has come, and where the layouts agree nobody looks. Each change
 * reaches the pieces that it touches; reaches that overlap make a span, whose pieces are compared
 * once.
 */
#include <limits.h>

#include "pieces.h"
#include "private.h"

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t end_of(const struct pfnbuf_range *range)
{
	return range->offset + range->length;
}

/* ---------------------------------------------------------------- walking ------------------- */

struct pfnbuf_cursor pfnbuf_pieces_walk(const struct pfnbuf_cutting *cutting,
					const struct pfnbuf_layout *layout,
					const struct pfnbuf_range *span)
{
	return (struct pfnbuf_cursor){
		.cutting = cutting,
		.layout = layout,
		.stretch_end = cutting->ends,
		.at = span->offset,
		.end = end_of(span),
		.next = span->offset,
		.ask = 2,
	};
}

/* The run that the cursor has come to; NULL at the end. */
static const struct pfnbuf_run *this_run(struct pfnbuf_cursor *c)
{
	if (c->i < c->nr)
		return &c->runs[c->i];
	if (c->next >= c->end)
		return NULL;
	c->nr = pfnbuf_layout_next_to(c->layout, &c->next, c->end, c->runs, c->ask);
	c->i = 0;
	c->ask = sizeof(c->runs) / sizeof(*c->runs);
	return c->nr > 0 ? c->runs : NULL;
}

/* Where a piece that begins at @at ends at the latest. */
static uint64_t next_cut(const struct pfnbuf_cutting *cutting, const uint64_t **stretch_end,
			 uint64_t at, uint64_t end)
{
	const uint64_t granule = cutting->granule;
	uint64_t cut = end;

	while (**stretch_end <= at)
		++*stretch_end;
	cut = min_u64(cut, **stretch_end);
	if (granule)
		cut = min_u64(cut, at - at % granule + granule);
	return cut;
}

bool pfnbuf_pieces_next(struct pfnbuf_cursor *c, struct pfnbuf_piece *piece)
{
	const uint8_t *classes = c->cutting->classes;
	const struct pfnbuf_run *run = this_run(c);
	uint64_t at, cut, end;
	uint8_t class;

	while (run && (!classes[run->vis] || run->offset + run->length <= c->at)) {
		c->i++;
		run = this_run(c);
	}
	if (!run || run->offset >= c->end || c->at >= c->end)
		return false;
	at = run->offset > c->at ? run->offset : c->at;
	class = classes[run->vis];
	cut = next_cut(c->cutting, &c->stretch_end, at, c->end);
	end = run->offset + run->length;
	while (end < cut) {
		c->i++;
		run = this_run(c);
		if (!run || classes[run->vis] != class)
			break;
		end = run->offset + run->length;
	}
	c->at = min_u64(end, cut);
	*piece = (struct pfnbuf_piece){ .range = { at, c->at - at }, .class = class };
	return true;
}

static int push(struct pfnbuf_pieces *pieces, const struct pfnbuf_piece *piece)
{
	struct pfnbuf_piece *list =
		pfnbuf_grow(pieces->list, pieces->nr + 1, &pieces->max, sizeof(*list));

	if (!list)
		return -ENOMEM;
	pieces->list = list;
	pieces->list[pieces->nr++] = *piece;
	return 0;
}

int pfnbuf_pieces_collect(const struct pfnbuf_cutting *cutting, const struct pfnbuf_layout *layout,
			  struct pfnbuf_pieces *pieces)
{
	const struct pfnbuf_range all = { 0, pfnbuf_layout_get_size(layout) };
	struct pfnbuf_cursor c = pfnbuf_pieces_walk(cutting, layout, &all);
	struct pfnbuf_piece piece;
	int r = 0;

	while (r >= 0 && pfnbuf_pieces_next(&c, &piece)) {
		piece.joins = pieces->nr;
		r = push(pieces, &piece);
	}
	return r;
}

void pfnbuf_pieces_free(struct pfnbuf_pieces *pieces)
{
	free(pieces->list);
}

/* ---------------------------------------------------------------- changes ------------------- */

int pfnbuf_changes_collect(const struct pfnbuf_layout *from, const struct pfnbuf_layout *to,
			   const struct pfnbuf_range *range, struct pfnbuf_changes *changes)
{
	uint64_t pos = range->offset;
	int n;

	do {
		struct pfnbuf_change *list =
			pfnbuf_grow(changes->list, changes->nr + 8, &changes->max, sizeof(*list));
		const size_t room = list ? changes->max - changes->nr : 0;

		if (!list)
			return -ENOMEM;
		changes->list = list;
		n = pfnbuf_layout_diff_to(from, to, &pos, end_of(range), list + changes->nr,
					  room < INT_MAX ? (int)room : INT_MAX);
		changes->nr += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	return 0;
}

void pfnbuf_changes_free(struct pfnbuf_changes *changes)
{
	free(changes->list);
}

/* ---------------------------------------------------------------- comparing ----------------- */

static bool has_piece(const struct pfnbuf_cutting *cutting, const struct pfnbuf_layout *layout,
		      uint64_t from, uint64_t to)
{
	const int vis = from < to ? pfnbuf_layout_get(layout, from, NULL) : -ERANGE;
	struct pfnbuf_run run;

	if (vis >= 0 && cutting->classes[vis])
		return true;
	while (from < to && pfnbuf_layout_next_to(layout, &from, to, &run, 1) > 0)
		if (cutting->classes[run.vis] && run.offset < to)
			return true;
	return false;
}

static bool last_reaches(const struct pfnbuf_pieces *pieces, uint64_t offset)
{
	return pieces->nr && end_of(&pieces->list[pieces->nr - 1].range) > offset;
}

static int add_gone(struct pfnbuf_difference *d, struct pfnbuf_piece *old, bool replaced)
{
	old->joins = d->gone.nr && !d->kept;
	old->replaced = replaced;
	d->kept = false;
	return push(&d->gone, old);
}

static int add_made(struct pfnbuf_difference *d, struct pfnbuf_piece *new, bool replaced)
{
	new->replaced = replaced;
	return push(&d->made, new);
}

static bool is_same(const struct pfnbuf_piece *a, const struct pfnbuf_piece *b)
{
	return a->range.offset == b->range.offset && a->range.length == b->range.length &&
	       a->class == b->class;
}

/* It is @span's turn; between it and the one in front everything stays. */
static void see(struct pfnbuf_difference *d, const struct pfnbuf_range *span)
{
	if (d->gone.nr && !d->kept)
		d->kept = has_piece(&d->cutting, d->from, d->seen, span->offset);
	d->seen = end_of(span);
}

/* Compare the pieces of both layouts in a span that cuts none of either. */
static int compare(struct pfnbuf_difference *d, const struct pfnbuf_range *span)
{
	struct pfnbuf_cursor old_at = pfnbuf_pieces_walk(&d->cutting, d->from, span);
	struct pfnbuf_cursor new_at = pfnbuf_pieces_walk(&d->cutting, d->to, span);
	struct pfnbuf_piece old, new;
	bool has_old = pfnbuf_pieces_next(&old_at, &old);
	bool has_new = pfnbuf_pieces_next(&new_at, &new);
	int r = 0;

	see(d, span);
	while (r >= 0 && (has_old || has_new)) {
		if (has_old && has_new && is_same(&old, &new)) {
			d->kept = true;
			has_old = pfnbuf_pieces_next(&old_at, &old);
			has_new = pfnbuf_pieces_next(&new_at, &new);
		} else if (has_old && (!has_new || old.range.offset <= new.range.offset)) {
			r = add_gone(d, &old,
				     (has_new && new.range.offset < end_of(&old.range)) ||
					     last_reaches(&d->made, old.range.offset));
			has_old = pfnbuf_pieces_next(&old_at, &old);
		} else {
			r = add_made(d, &new,
				     (has_old && old.range.offset < end_of(&new.range)) ||
					     last_reaches(&d->gone, new.range.offset));
			has_new = pfnbuf_pieces_next(&new_at, &new);
		}
	}
	return r;
}

/* ---------------------------------------------------------------- what a change reaches ----- */

/* Whether two visibilities are of this class, so that a run of it may be many of the layout's. */
static bool is_mixed(const struct pfnbuf_cutting *cutting, uint8_t class)
{
	unsigned n = 0;

	for (int vis = 0; vis < PFNBUF_VIS_COUNT; vis++)
		n += cutting->classes[vis] == class;
	return n > 1;
}

/* The longest stretch of one class around @at. */
static struct pfnbuf_range class_run(const struct pfnbuf_cutting *cutting,
				     const struct pfnbuf_layout *layout, uint64_t at)
{
	const uint64_t size = pfnbuf_layout_get_size(layout);
	struct pfnbuf_run run;
	struct pfnbuf_range all;
	uint8_t class;

	pfnbuf_layout_get(layout, at, &run);
	all = (struct pfnbuf_range){ run.offset, run.length };
	class = cutting->classes[run.vis];
	if (!is_mixed(cutting, class))
		return all;
	while (all.offset && pfnbuf_layout_get(layout, all.offset - 1, &run) >= 0 &&
	       cutting->classes[run.vis] == class) {
		all.offset = run.offset;
		all.length += run.length;
	}
	while (end_of(&all) < size && pfnbuf_layout_get(layout, end_of(&all), &run) >= 0 &&
	       cutting->classes[run.vis] == class)
		all.length += run.length;
	return all;
}

static void widen(struct pfnbuf_range *range, const struct pfnbuf_range *by)
{
	const uint64_t end = end_of(range) > end_of(by) ? end_of(range) : end_of(by);

	range->offset = min_u64(range->offset, by->offset);
	range->length = end - range->offset;
}

/*
 * Widen by the run of @layout that holds @at, unless it was looked at for an earlier change: then
 * it is in the span already. So each run is walked once, however many changes are in it.
 */
static void reach_run(const struct pfnbuf_difference *d, const struct pfnbuf_layout *layout,
		      enum pfnbuf_vis vis, uint64_t at, uint64_t *looked,
		      struct pfnbuf_range *reach)
{
	struct pfnbuf_range run;

	if (!d->cutting.classes[vis] || at < *looked)
		return;
	run = class_run(&d->cutting, layout, at);
	*looked = end_of(&run);
	widen(reach, &run);
}

/*
 * What a change reaches: the granules that it touches, or without one the runs that it is part of,
 * in the one layout and in the other.
 */
static struct pfnbuf_range reach_of(struct pfnbuf_difference *d, const struct pfnbuf_change *c)
{
	const uint64_t granule = d->cutting.granule;
	struct pfnbuf_range reach = { c->offset, c->length };
	uint64_t last;

	if (granule) {
		last = end_of(&reach) + granule - 1;
		last = min_u64(last - last % granule, pfnbuf_layout_get_size(d->from));
		reach.offset -= reach.offset % granule;
		reach.length = last - reach.offset;
		return reach;
	}
	reach_run(d, d->from, c->from, c->offset, &d->from_end, &reach);
	reach_run(d, d->to, c->to, c->offset, &d->to_end, &reach);
	return reach;
}

/*
 * Whether a change is of whole granules that are there before or after it, and not both: then they
 * are the pieces.
 */
static bool is_of_granules(const struct pfnbuf_difference *d, const struct pfnbuf_change *c)
{
	const uint64_t granule = d->cutting.granule, end = c->offset + c->length;

	return granule && c->offset % granule == 0 &&
	       (end % granule == 0 || end == pfnbuf_layout_get_size(d->from)) &&
	       (!d->cutting.classes[c->from] || !d->cutting.classes[c->to]);
}

static int add_granules(struct pfnbuf_difference *d, const struct pfnbuf_change *c)
{
	const struct pfnbuf_range range = { c->offset, c->length };
	const uint64_t end = end_of(&range);
	const uint8_t old = d->cutting.classes[c->from], new = d->cutting.classes[c->to];
	struct pfnbuf_piece piece;
	uint64_t cut;
	int r = 0;

	see(d, &range);
	for (uint64_t at = c->offset; r >= 0 && at < end; at = cut) {
		cut = next_cut(&d->cutting, &d->stretch_end, at, end);
		piece = (struct pfnbuf_piece){ .range = { at, cut - at },
					       .class = old ? old : new };
		r = old ? add_gone(d, &piece, false) : add_made(d, &piece, false);
	}
	return r;
}

/* Later changes never reach further to the front, so spans that overlap are neighbours. */
static int add_change(struct pfnbuf_difference *d, const struct pfnbuf_change *c)
{
	const struct pfnbuf_range span = d->span, next = reach_of(d, c);
	int r;

	if (next.offset < end_of(&span)) {
		widen(&d->span, &next);
		return 0;
	}
	d->span = next;
	r = span.length ? compare(d, &span) : 0;
	if (r < 0 || !is_of_granules(d, c))
		return r;
	d->span = (struct pfnbuf_range){ end_of(&next), 0 };
	return add_granules(d, c);
}

int pfnbuf_pieces_compare(struct pfnbuf_difference *d, const struct pfnbuf_changes *changes)
{
	const uint8_t *classes = d->cutting.classes;
	int r = 0;

	d->stretch_end = d->cutting.ends;
	for (size_t i = 0; r >= 0 && i < changes->nr; i++)
		if (classes[changes->list[i].from] != classes[changes->list[i].to])
			r = add_change(d, &changes->list[i]);
	return r < 0 || !d->span.length ? r : compare(d, &d->span);
}

void pfnbuf_difference_free(struct pfnbuf_difference *d)
{
	pfnbuf_pieces_free(&d->gone);
	pfnbuf_pieces_free(&d->made);
}
