/* SPDX-License-Identifier: MIT */
/*
 * The way of a window from one layout or address to another: which pieces go and which come, and the
 * steps of a plan that this takes.
 */
#include <inttypes.h>
#include <stdio.h>

#include "window.h"

/* ---------------------------------------------------------------- pieces -------------------- */

/* Devices see what is shared, in areas. */
struct pfnbuf_cutting pfnbuf_window_area_cutting(const struct pfnbuf_window *w)
{
	return (struct pfnbuf_cutting){
		.classes = { [PFNBUF_SHARED] = 1 },
		.granule = w->granule,
		.ends = w->ends,
	};
}

/* A slot of RAM is both; what is private of a BAR stands on other buffers than what is shared. */
static uint8_t private_class(const struct pfnbuf_window *w)
{
	if (w->device)
		return w->private_slots ? 2 : 0;
	return w->stretches[0].guest_memfd != NULL;
}

/* A guest sees in slots what is shared and, with private memory behind it, what is private. */
static struct pfnbuf_cutting slot_cutting(const struct pfnbuf_window *w)
{
	return (struct pfnbuf_cutting){
		.classes = { [PFNBUF_SHARED] = 1, [PFNBUF_PRIVATE] = private_class(w) },
		.ends = w->ends,
	};
}

/* Attributes know of private memory only. */
static struct pfnbuf_cutting private_cutting(const struct pfnbuf_window *w)
{
	return (struct pfnbuf_cutting){ .classes = { [PFNBUF_PRIVATE] = 1 }, .ends = w->ends };
}

/* Whether the IOAS maps nothing of anybody else's between two areas of the window's. */
static bool gap_is_free(const struct pfnbuf_window *w, const struct pfnbuf_range *a,
			const struct pfnbuf_range *b)
{
	struct pfnbuf_area area;

	if (end_of(a) == b->offset)
		return true;
	return !pfnbuf_ioas_next_area(w->ioas, w->iova + end_of(a), &area) ||
	       area.iova >= w->iova + b->offset;
}

/* ---------------------------------------------------------------- planning ------------------ */

static struct pfnbuf_plan_area plan_area(const struct pfnbuf_window *w,
					 const struct pfnbuf_range *piece, uint64_t iova)
{
	const struct stretch *s = stretch_at(w, piece->offset);

	return (struct pfnbuf_plan_area){
		.buf = s->buf,
		.offset = (s->buf ? s->buf_offset : (uintptr_t)s->addr) + piece->offset - s->offset,
		.iova = iova + piece->offset,
		.length = piece->length,
	};
}

static int plan_unmaps(const struct pfnbuf_window *w, struct pfnbuf_plan *plan,
		       const struct pfnbuf_pieces *pieces, const char *reason, const char *replaced)
{
	for (size_t i = 0; i < pieces->nr; i++) {
		const struct pfnbuf_piece *p = &pieces->list[i];
		const struct pfnbuf_plan_area area = plan_area(w, &p->range, w->iova);
		const bool join = p->joins && gap_is_free(w, &p[-1].range, &p->range);
		int r = pfnbuf_plan_unmap(plan, &area, join, p->replaced ? replaced : reason);

		if (r < 0)
			return r;
	}
	return 0;
}

static int plan_maps(const struct pfnbuf_window *w, struct pfnbuf_plan *plan,
		     const struct pfnbuf_pieces *pieces, const char *reason, const char *replaced)
{
	const uint64_t iova = pfnbuf_plan_goal(plan)->iova;

	for (size_t i = 0; i < pieces->nr; i++) {
		const struct pfnbuf_piece *p = &pieces->list[i];
		const struct pfnbuf_plan_area area = plan_area(w, &p->range, iova);
		int r = pfnbuf_plan_map(plan, &area, p->replaced ? replaced : reason);

		if (r < 0)
			return r;
	}
	return 0;
}

static int plan_slot_deletes(const struct pfnbuf_window *w, struct pfnbuf_plan *plan,
			     const struct pfnbuf_pieces *pieces, const char *reason)
{
	for (size_t i = 0; i < pieces->nr; i++) {
		const struct pfnbuf_piece *p = &pieces->list[i];
		int r = pfnbuf_plan_delete_slot(
			plan, slot_from(w, p->range.offset), w->gpa + p->range.offset,
			p->replaced ? "its run changes, and a slot cannot" : reason);

		if (r < 0)
			return r;
	}
	return 0;
}

static struct pfnbuf_window_slot *new_slot(const struct pfnbuf_window *w,
					   const struct pfnbuf_range *piece)
{
	const struct stretch *s = stretch_at(w, piece->offset);
	struct pfnbuf_window_slot *slot = calloc(1, sizeof(*slot));

	if (!slot)
		return NULL;
	slot->node.key = piece->offset;
	slot->length = piece->length;
	slot->addr = s->addr ? (char *)s->addr + (piece->offset - s->offset) : NULL;
	slot->guest_memfd = s->guest_memfd;
	slot->guest_memfd_offset = s->guest_memfd_offset + (piece->offset - s->offset);
	return slot;
}

static int plan_slot_sets(const struct pfnbuf_window *w, struct pfnbuf_plan *plan,
			  const struct pfnbuf_pieces *pieces, const char *reason)
{
	const uint64_t gpa = pfnbuf_plan_goal(plan)->gpa;

	for (size_t i = 0; i < pieces->nr; i++) {
		const struct pfnbuf_piece *p = &pieces->list[i];
		struct pfnbuf_window_slot *slot = new_slot(w, &p->range);
		int r;

		if (!slot)
			return pfnbuf_window_no_memory(w, "pfnbuf_window_plan");
		r = pfnbuf_plan_set_slot(plan, slot, gpa + p->range.offset,
					 p->replaced ? "the run as it is now" : reason);
		if (r < 0)
			return r;
	}
	return 0;
}

static uint64_t attributes_of(enum pfnbuf_vis vis)
{
	return vis == PFNBUF_PRIVATE ? PFNBUF_ATTRIBUTE_PRIVATE : 0;
}

static int plan_attribute(const struct pfnbuf_window *w, struct pfnbuf_plan *plan,
			  const struct pfnbuf_change *c)
{
	const uint64_t from = attributes_of(c->from), to = attributes_of(c->to);
	const struct stretch *s = &w->stretches[0];
	const uint64_t base = w->in_place ? s->guest_memfd_offset : w->gpa;
	const struct pfnbuf_range range = { base + c->offset, c->length };

	if (from == to)
		return 0;
	return pfnbuf_plan_set_attributes(plan, w->in_place ? s->guest_memfd : NULL, &range, to,
					  to ? "private from now on" : "not private any more");
}

/* Of the VM as far as the window is placed; in place they are the file's, and say what it holds. */
static int plan_attributes(const struct pfnbuf_window *w, struct pfnbuf_plan *plan,
			   const struct pfnbuf_changes *changes)
{
	int r = 0;

	for (size_t i = 0; w->has_private && r >= 0 && i < changes->nr; i++)
		r = plan_attribute(w, plan, &changes->list[i]);
	return r;
}

/* Where memory is shared and private in two places, what it is not any more is given back. */
static int plan_discard(const struct pfnbuf_window *w, struct pfnbuf_plan *plan,
			const struct pfnbuf_change *c)
{
	const struct stretch *s = &w->stretches[0];
	struct pfnbuf_range range = { c->offset, c->length };

	if (c->from == PFNBUF_PRIVATE && c->to == PFNBUF_SHARED) {
		range.offset += s->guest_memfd_offset;
		return pfnbuf_plan_discard(plan, s->guest_memfd, &range,
					   "what was private is shared now");
	}
	if (c->from != PFNBUF_SHARED || c->to != PFNBUF_PRIVATE)
		return 0;
	range.offset += s->buf ? s->buf_offset : (uintptr_t)s->addr;
	return pfnbuf_plan_discard(plan, s->buf, &range, "what was shared is private now");
}

/* What becomes a hole keeps what it holds. */
static int plan_discards(const struct pfnbuf_window *w, struct pfnbuf_plan *plan,
			 const struct pfnbuf_changes *changes)
{
	int r = 0;

	if (!w->has_private || w->in_place || w->device)
		return 0;
	for (size_t i = 0; r >= 0 && i < changes->nr; i++)
		r = plan_discard(w, plan, &changes->list[i]);
	return r;
}

#define cleanup_difference __attribute__((cleanup(pfnbuf_difference_free)))
#define cleanup_pieces	   __attribute__((cleanup(pfnbuf_pieces_free)))
#define cleanup_changes	   __attribute__((cleanup(pfnbuf_changes_free)))

/* From what the window places to what it shall place: nothing, where it is suspended. */
struct way {
	const struct pfnbuf_layout *from;
	const struct pfnbuf_layout *to;
	const struct pfnbuf_changes *placed;
	const struct pfnbuf_changes *held; /* of the layouts, whatever of them is placed */
};

static const char *slot_reason(const struct pfnbuf_window *w, bool made)
{
	if (w->lent_to)
		return made ? "the report names it" : "the guest sees nothing of it";
	if (w->stretches[0].guest_memfd)
		return made ? "no hole any more" : "a hole from now on";
	return made ? "shared from now on" : "not shared any more";
}

/*
 * Devices lose what goes before the guest does, and get what comes after the guest has it. What
 * turns private is gone from the IOAS before its attribute is set, and what turns shared is not
 * private any more when it comes there: at no instant is it both.
 */
static int plan_difference(const struct pfnbuf_window *w, struct pfnbuf_plan *plan,
			   const struct way *way)
{
	cleanup_difference struct pfnbuf_difference areas = {
		.cutting = pfnbuf_window_area_cutting(w),
		.from = way->from,
		.to = way->to,
	};
	cleanup_difference struct pfnbuf_difference slots = {
		.cutting = slot_cutting(w),
		.from = way->from,
		.to = way->to,
	};
	int r = 0;

	if (w->ioas)
		r = pfnbuf_pieces_compare(&areas, way->placed);
	if (w->vm && r >= 0)
		r = pfnbuf_pieces_compare(&slots, way->placed);
	if (r < 0)
		return pfnbuf_window_no_memory(w, "pfnbuf_window_plan");
	r = plan_unmaps(w, plan, &areas.gone, "not shared any more",
			"its run changes, and an area cannot");
	if (r >= 0)
		r = plan_slot_deletes(w, plan, &slots.gone, slot_reason(w, false));
	if (r >= 0)
		r = plan_attributes(w, plan, w->in_place ? way->held : way->placed);
	if (r >= 0)
		r = plan_slot_sets(w, plan, &slots.made, slot_reason(w, true));
	if (r >= 0)
		r = plan_maps(w, plan, &areas.made, "shared from now on", "the run as it is now");
	return r < 0 ? r : plan_discards(w, plan, way->held);
}

/* In the direction in which no slot's new place is where another one still is. */
static int plan_slot_moves(const struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	const uint64_t gpa = pfnbuf_plan_goal(plan)->gpa;
	const bool up = gpa > w->gpa;
	struct pfnbuf_window_slot *s = up ? slot_up_to(w, UINT64_MAX) : slot_from(w, 0);
	int r = 0;

	for (; r >= 0 && s; s = up ? slot_before(w, s) : slot_after(w, s))
		r = pfnbuf_plan_move_slot(plan, s, w->gpa + s->node.key, gpa + s->node.key,
					  "the window moves");
	return r;
}

static int plan_moved_attributes(struct pfnbuf_plan *plan, const struct pfnbuf_pieces *runs,
				 uint64_t gpa, uint64_t to, const char *reason)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < runs->nr; i++) {
		const struct pfnbuf_range range = { gpa + runs->list[i].range.offset,
						    runs->list[i].range.length };

		r = pfnbuf_plan_set_attributes(plan, NULL, &range, to, reason);
	}
	return r;
}

/* A slot with a guest_memfd cannot be moved: each is made anew, and its attributes go with it. */
static int plan_slot_remakes(const struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	static const char reason[] = "the window moves";
	const struct pfnbuf_cutting slot = slot_cutting(w), private = private_cutting(w);
	const uint64_t gpa = pfnbuf_plan_goal(plan)->gpa;
	cleanup_pieces struct pfnbuf_pieces slots = { 0 };
	cleanup_pieces struct pfnbuf_pieces runs = { 0 };
	int r;

	if (pfnbuf_pieces_collect(&slot, w->layout, &slots) < 0 ||
	    (!w->in_place && pfnbuf_pieces_collect(&private, w->layout, &runs) < 0))
		return pfnbuf_window_no_memory(w, "pfnbuf_window_plan");
	r = plan_slot_deletes(w, plan, &slots, reason);
	if (r >= 0)
		r = plan_moved_attributes(plan, &runs, w->gpa, 0, reason);
	if (r >= 0)
		r = plan_moved_attributes(plan, &runs, gpa, PFNBUF_ATTRIBUTE_PRIVATE, reason);
	return r < 0 ? r : plan_slot_sets(w, plan, &slots, reason);
}

static int plan_way(const struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	const struct pfnbuf_plan_goal *goal = pfnbuf_plan_goal(plan);
	const struct pfnbuf_cutting cutting = pfnbuf_window_area_cutting(w);
	cleanup_pieces struct pfnbuf_pieces areas = { 0 };
	int r;

	if (w->ioas && goal->iova != w->iova &&
	    pfnbuf_pieces_collect(&cutting, w->layout, &areas) < 0)
		return pfnbuf_window_no_memory(w, "pfnbuf_window_plan");
	r = plan_unmaps(w, plan, &areas, "the window moves", "");
	if (r >= 0 && w->vm && goal->gpa != w->gpa)
		r = w->stretches[0].guest_memfd ? plan_slot_remakes(w, plan)
						: plan_slot_moves(w, plan);
	if (r >= 0)
		r = plan_maps(w, plan, &areas, "the window moves", "");
	return r;
}

/* The window is suspended, or will be. */
static int plan_around_nothing(const struct pfnbuf_window *w, struct pfnbuf_plan *plan,
			       const struct pfnbuf_changes *held)
{
	const struct pfnbuf_plan_goal *goal = pfnbuf_plan_goal(plan);
	cleanup_layout struct pfnbuf_layout *nothing = NULL;
	cleanup_changes struct pfnbuf_changes placed = { 0 };
	struct way way;

	if (pfnbuf_layout_new(w->length, pfnbuf_page_size(), PFNBUF_HOLE, &nothing) < 0)
		return pfnbuf_window_no_memory(w, "pfnbuf_window_plan");
	way = (struct way){
		.from = w->suspended ? nothing : w->layout,
		.to = goal->suspended ? nothing : goal->layout,
		.placed = &placed,
		.held = held,
	};
	if (pfnbuf_changes_collect(way.from, way.to, &goal->changed, &placed) < 0)
		return pfnbuf_window_no_memory(w, "pfnbuf_window_plan");
	return plan_difference(w, plan, &way);
}

static int plan_steps(const struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	const struct pfnbuf_plan_goal *goal = pfnbuf_plan_goal(plan);
	cleanup_changes struct pfnbuf_changes changes = { 0 };
	const struct way way = { w->layout, goal->layout, &changes, &changes };

	if (goal->gpa != w->gpa || goal->iova != w->iova)
		return w->suspended ? 0 : plan_way(w, plan);
	if (pfnbuf_changes_collect(w->layout, goal->layout, &goal->changed, &changes) < 0)
		return pfnbuf_window_no_memory(w, "pfnbuf_window_plan");
	if (w->suspended || goal->suspended)
		return plan_around_nothing(w, plan, &changes);
	return plan_difference(w, plan, &way);
}

/* What the window is, as the start of what it shall be; the layout is the caller's to fill in. */
struct pfnbuf_plan_goal pfnbuf_window_goal(struct pfnbuf_window *w)
{
	unsigned long request = 0;

	pfnbuf_profile_gmem_attributes(pfnbuf_ctx_profile(w->ctx), &request);
	return (struct pfnbuf_plan_goal){
		.gmem_request = request,
		.kernel = w->kernel,
		.ioas = w->ioas,
		.vm = w->vm,
		.map_flags = w->map_flags,
		.slot_flags = w->slot_flags,
		.gpa = w->gpa,
		.iova = w->iova,
		.changed = { 0, w->length },
		.suspended = w->suspended,
		.version = w->version,
		.generation = generation(w),
	};
}

/* Takes the goal's layout, also on failure. */
int pfnbuf_window_plan_towards(struct pfnbuf_window *w, struct pfnbuf_plan_goal *goal,
			       struct pfnbuf_plan **planp)
{
	cleanup_plan struct pfnbuf_plan *plan = NULL;
	int r;

	goal->owner = &w->owner;
	atomic_fetch_add(&w->refs, 1);
	r = pfnbuf_plan_new(goal, &plan);
	if (r >= 0)
		r = plan_steps(w, plan);
	if (r < 0)
		return r;
	*planp = plan;
	plan = NULL;
	return 0;
}

/* Takes a copy of @layout, or of the window's own where it is NULL. */
int pfnbuf_window_make_plan(struct pfnbuf_window *w, struct pfnbuf_plan_goal *goal,
			    const struct pfnbuf_layout *layout, struct pfnbuf_plan **planp)
{
	if (pfnbuf_layout_copy(layout ? layout : w->layout, &goal->layout) < 0)
		return pfnbuf_window_no_memory(w, "pfnbuf_window_plan");
	return pfnbuf_window_plan_towards(w, goal, planp);
}
