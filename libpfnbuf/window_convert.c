/* SPDX-License-Identifier: MIT */
/*
 * Conversions of a window of RAM: what a guest asks for, as far as the window has memory there.
 */
#include <inttypes.h>

#include "window.h"

/* ---------------------------------------------------------------- planning ------------------ */

static int check_conversion(const struct pfnbuf_window *w, const struct pfnbuf_conversion *c)
{
	static const char call[] = "pfnbuf_window_convert";
	const struct pfnbuf_range range = { c->offset, c->length };

	if (c->to != PFNBUF_SHARED && c->to != PFNBUF_PRIVATE)
		return pfnbuf_refused(-EINVAL, call, w->name, &range,
				      "pfnbuf_window_set_range() makes holes",
				      "memory is converted to shared or private");
	if (!c->length || (c->offset | c->length) % pfnbuf_page_size())
		return pfnbuf_refused(-EINVAL, call, w->name, &range, "",
				      "the range is empty or misaligned");
	if (c->offset > w->length || c->length > w->length - c->offset)
		return pfnbuf_refused(-ERANGE, call, w->name, &range, "",
				      "the range leaves the window, which has 0x%" PRIx64 " bytes",
				      w->length);
	return 0;
}

/* Whether all of the range is memory of one kind. */
static bool is_uniform(const struct pfnbuf_layout *layout, const struct pfnbuf_conversion *c)
{
	const int vis = pfnbuf_layout_get(layout, c->offset, NULL);

	if (vis <= PFNBUF_HOLE)
		return false;
	return c->length == pfnbuf_page_size() ||
	       pfnbuf_layout_test(layout, c->offset, c->length, (enum pfnbuf_vis)vis, NULL) > 0;
}

/* Set a range but for its holes: a stretch between two of them with one call. */
static int convert_range(struct pfnbuf_layout *layout, const struct pfnbuf_conversion *c)
{
	const uint64_t end = c->offset + c->length;
	uint64_t start = c->offset, pos = start;
	struct pfnbuf_run run;
	int r = 0;

	if (is_uniform(layout, c))
		return pfnbuf_layout_set(layout, c->offset, c->length, c->to);
	while (r >= 0 && pos < end && pfnbuf_layout_next_to(layout, &pos, end, &run, 1) > 0) {
		if (run.vis != PFNBUF_HOLE)
			continue;
		if (start < min_u64(run.offset, end))
			r = pfnbuf_layout_set(layout, start, run.offset - start, c->to);
		start = run.offset + run.length;
	}
	if (r >= 0 && start < end)
		r = pfnbuf_layout_set(layout, start, end - start, c->to);
	return r;
}

/* What holds all of the conversions. */
static struct pfnbuf_range range_of(const struct pfnbuf_conversion *list, size_t n)
{
	uint64_t first = n ? UINT64_MAX : 0, end = 0;

	for (size_t i = 0; i < n; i++) {
		const uint64_t own = list[i].offset + list[i].length;

		first = min_u64(first, list[i].offset);
		end = own > end ? own : end;
	}
	return (struct pfnbuf_range){ first, end - first };
}

static bool is_changed(const struct pfnbuf_window *w, const struct pfnbuf_layout *layout,
		       const struct pfnbuf_range *range)
{
	struct pfnbuf_change change;
	uint64_t pos = range->offset;

	return pfnbuf_layout_diff_to(w->layout, layout, &pos, end_of(range), &change, 1) > 0;
}

/* The goal's layout after conversions that are in order; NULL where it is what it was. */
static int convert_layout(struct pfnbuf_window *w, const struct pfnbuf_conversion *list, size_t n,
			  struct pfnbuf_plan_goal *goal)
{
	cleanup_layout struct pfnbuf_layout *layout = NULL;
	int r = pfnbuf_layout_copy(w->layout, &layout);

	for (size_t i = 0; r >= 0 && i < n; i++)
		r = convert_range(layout, &list[i]);
	if (r < 0)
		return pfnbuf_window_no_memory(w, "pfnbuf_window_convert");
	if (is_changed(w, layout, &goal->changed)) {
		goal->layout = layout;
		layout = NULL;
	}
	return 0;
}

/* Of two ranges that do not wrap around. */
static bool overlap(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
	return b - a < a_length || a - b < b_length;
}

bool pfnbuf_window_meets(struct pfnbuf_window *w, const struct pfnbuf_vm *vm, uint64_t gpa,
			 uint64_t length)
{
	return w->vm == vm && !w->device && overlap(w->gpa, w->length, gpa, length);
}

/* The part of a conversion of guest memory that is in the window, by its offset there. */
static bool clip_conversion(const struct pfnbuf_window *w, const struct pfnbuf_conversion *c,
			    struct pfnbuf_conversion *part)
{
	const uint64_t gpa = w->gpa, last = c->offset + c->length - 1;
	const uint64_t from = c->offset > gpa ? c->offset : gpa;
	const uint64_t to = min_u64(last, gpa + w->length - 1);

	if (from > to)
		return false;
	*part = (struct pfnbuf_conversion){ from - gpa, to - from + 1, c->to };
	return true;
}

/* The conversions as the window has them: checked, or, of guest memory, what is in it. */
static int find_parts(const struct pfnbuf_window *w, bool of_guest,
		      const struct pfnbuf_conversion *list, size_t n,
		      struct pfnbuf_conversion *parts)
{
	size_t nr = 0;

	for (size_t i = 0; i < n; i++) {
		int r = of_guest ? 0 : check_conversion(w, &list[i]);

		if (r < 0)
			return r;
		parts[nr] = list[i];
		nr += !of_guest || clip_conversion(w, &list[i], &parts[nr]);
	}
	return (int)nr;
}

/* Set the goal's layout; leave it NULL where the window has it already. */
static int aim(struct pfnbuf_window *w, struct pfnbuf_plan_goal *goal,
	       const struct pfnbuf_conversion *list, size_t n)
{
	int r;

	goal->changed = range_of(list, n);
	r = convert_layout(w, list, n, goal);
	return r < 0 || !goal->layout ? r : pfnbuf_window_check_layout(w, goal->layout);
}

int pfnbuf_window_plan_conversions(struct pfnbuf_window *w, bool of_guest,
				   const struct pfnbuf_conversion *list, size_t n,
				   struct pfnbuf_plan **planp)
{
	cleanup_free struct pfnbuf_conversion *parts = malloc((n + 1) * sizeof(*parts));
	struct pfnbuf_plan_goal goal = pfnbuf_window_goal(w);
	int r = pfnbuf_window_check_changeable(w, "pfnbuf_window_convert");

	if (!parts)
		return pfnbuf_window_no_memory(w, "pfnbuf_window_convert");
	if (r >= 0)
		r = find_parts(w, of_guest, list, n, parts);
	if (r >= 0)
		r = aim(w, &goal, parts, (size_t)r);
	if (r < 0) {
		pfnbuf_layout_free(goal.layout);
		return r;
	}
	*planp = NULL;
	return goal.layout ? pfnbuf_window_plan_towards(w, &goal, planp) : 0;
}

/* ---------------------------------------------------------------- one granule --------------- */

/*
 * A granule that turns from shared to private, or back, is what guests ask for most. An area is no
 * larger, so what is beside it stays as it is, and three calls that are known beforehand do it: so
 * no plan is made. The calls, their order and what becomes of a failure are those of a plan.
 */

/* From the first of them on, the ledger of the IOAS has the window's granules as a bit each. */
static int have_granules(struct pfnbuf_window *w)
{
	const struct stretch *s = &w->stretches[0];

	if (w->granules || !w->ioas)
		return 0;
	return pfnbuf_ioas_add_granules(w->ioas, s->buf,
					s->buf ? s->buf_offset : (uintptr_t)s->addr, w->length,
					w->granule, w->map_flags, w->iova, &w->granules);
}

/* Undo the first step: the area is unmapped, or the attribute shared. */
static void undo_granule(struct pfnbuf_window *w, enum pfnbuf_step_kind kind, uint64_t i)
{
	const bool is_area = kind == PFNBUF_STEP_AREA_UNMAP;
	struct pfnbuf_step stuck = {
		.kind = kind,
		.object = is_area ? pfnbuf_ioas_name(w->ioas) : pfnbuf_vm_name(w->vm),
		.range = { (is_area ? w->iova : w->gpa) + i * w->granule, w->granule },
		.result = -EAGAIN,
	};
	struct pfnbuf_saved_error error;

	pfnbuf_error_save(&error);
	for (int n = 0; n < PFNBUF_UNDO_TRIES && pfnbuf_may_pass(stuck.result); n++)
		stuck.result = is_area ? pfnbuf_ioas_map_granule(w->ioas, w->granules, i)
				       : pfnbuf_vm_put_back_attributes(w->vm, stuck.range.offset,
								       stuck.range.length,
								       PFNBUF_ATTRIBUTE_PRIVATE);
	pfnbuf_error_restore(&error);
	if (stuck.result < 0)
		pfnbuf_window_quarantine_at(w, &stuck, 3, 0);
}

static int make_private(struct pfnbuf_window *w, uint64_t i)
{
	int r = w->ioas ? pfnbuf_ioas_unmap_granule(w->ioas, w->granules, i) : 0;

	if (r < 0)
		return r;
	r = pfnbuf_vm_set_attributes(w->vm, w->gpa + i * w->granule, w->granule,
				     PFNBUF_ATTRIBUTE_PRIVATE);
	if (r < 0 && w->ioas)
		undo_granule(w, PFNBUF_STEP_AREA_UNMAP, i);
	return r;
}

/* Where even all of the window may be pinned, there is nothing to count. */
static int check_memlock(struct pfnbuf_window *w)
{
	struct pfnbuf_layout_count count;

	if (w->length <= w->memlock)
		return 0;
	pfnbuf_layout_count(w->layout, &count);
	return pfnbuf_window_check_memlock(
		w, count.frames[PFNBUF_SHARED] + w->granule / pfnbuf_page_size(), true);
}

static int check_area(struct pfnbuf_window *w, uint64_t i)
{
	int r = check_memlock(w);

	return r < 0 ? r : pfnbuf_ioas_check_granule(w->ioas, w->granules, i);
}

static int make_shared(struct pfnbuf_window *w, uint64_t i)
{
	int r = w->ioas ? check_area(w, i) : 0;

	if (r >= 0)
		r = pfnbuf_vm_set_attributes(w->vm, w->gpa + i * w->granule, w->granule, 0);
	if (r < 0 || !w->ioas)
		return r;
	r = pfnbuf_ioas_map_granule(w->ioas, w->granules, i);
	if (r < 0)
		undo_granule(w, PFNBUF_STEP_ATTRIBUTE_SET, i);
	return r;
}

/* What it was before is not needed any more. Returns 1 where that stays allocated. */
static int discard_granule(struct pfnbuf_window *w, const struct pfnbuf_conversion *c)
{
	const struct pfnbuf_kernel *k = pfnbuf_ctx_get_kernel(w->ctx);
	const struct stretch *s = &w->stretches[0];
	const uint64_t shared = s->buf ? s->buf_offset : (uintptr_t)s->addr;
	int r = c->to == PFNBUF_PRIVATE
			? pfnbuf_discard(k, s->buf, shared + c->offset, c->length)
			: pfnbuf_discard(k, s->guest_memfd, s->guest_memfd_offset + c->offset,
					 c->length);

	if (r >= 0)
		return 0;
	pfnbuf_window_warn_kept(w);
	return 1;
}

static int turn(struct pfnbuf_window *w, const struct pfnbuf_conversion *c,
		const struct pfnbuf_layout_turn *turn)
{
	const uint64_t i = c->offset / w->granule;
	int r = c->to == PFNBUF_PRIVATE ? make_private(w, i) : make_shared(w, i);

	if (r < 0)
		return r;
	r = discard_granule(w, c);
	pfnbuf_layout_turn(w->layout, turn);
	w->version++;
	return r;
}

/* Whether a conversion is of one granule of RAM in two places. */
static bool is_of_granule(const struct pfnbuf_window *w, const struct pfnbuf_conversion *c)
{
	return w->granule && c->length == w->granule && c->offset % c->length == 0 &&
	       w->has_private && !w->in_place && !w->device && !w->suspended && !w->ended &&
	       !w->quarantined && (c->to == PFNBUF_SHARED || c->to == PFNBUF_PRIVATE);
}

bool pfnbuf_window_turn_granule(struct pfnbuf_window *w, bool of_guest,
				const struct pfnbuf_conversion *conversion, int *result)
{
	struct pfnbuf_conversion c = *conversion;
	struct pfnbuf_layout_turn t;
	enum pfnbuf_vis was;
	int r;

	if (of_guest && !clip_conversion(w, conversion, &c))
		return false;
	if (!is_of_granule(w, &c))
		return false;
	was = c.to == PFNBUF_PRIVATE ? PFNBUF_SHARED : PFNBUF_PRIVATE;
	r = pfnbuf_layout_prepare_turn(w->layout, c.offset, c.length, was, c.to, &t);
	if (r == -ENOMEM)
		*result = pfnbuf_window_no_memory(w, "pfnbuf_window_convert");
	if (r <= 0)
		return r == -ENOMEM;
	r = have_granules(w);
	*result = r < 0 ? r : turn(w, &c, &t);
	return true;
}

bool pfnbuf_window_try_turn(struct pfnbuf_window *w, const struct pfnbuf_conversion *conversion,
			    int *result)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	return pfnbuf_window_turn_granule(w, false, conversion, result);
}

/* ---------------------------------------------------------------- looking ------------------- */

void pfnbuf_window_tell_converted(struct pfnbuf_window *w, bool of_guest,
				  const struct pfnbuf_conversion *list, size_t n, int result)
{
	struct pfnbuf_event event = {
		.type = result < 0 ? PFNBUF_EVENT_CONVERT_FAILED : PFNBUF_EVENT_CONVERTED,
		.window = w,
		.result = result,
	};
	struct pfnbuf_conversion part;
	uint64_t first = UINT64_MAX, end = 0;

	for (size_t i = 0; i < n; i++) {
		part = list[i];
		if (of_guest && !clip_conversion(w, &list[i], &part))
			continue;
		first = min_u64(first, part.offset);
		end = part.offset + part.length > end ? part.offset + part.length : end;
	}
	if (end)
		event.range = (struct pfnbuf_range){ first, end - first };
	pfnbuf_ctx_push_event(w->ctx, &event, false);
}

void pfnbuf_window_look(struct pfnbuf_window *w, const struct pfnbuf_conversion *c,
			struct pfnbuf_window_view *view)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	struct pfnbuf_conversion part;
	struct pfnbuf_run run;
	uint64_t pos;

	if (w->ended || !clip_conversion(w, c, &part))
		return;
	view->is_suspended |= w->suspended;
	pos = part.offset;
	while (pos < part.offset + part.length && !view->differs &&
	       pfnbuf_layout_next(w->layout, &pos, &run, 1) > 0) {
		if (run.vis == PFNBUF_HOLE)
			continue;
		view->is_memory = true;
		view->differs = run.vis != part.to;
	}
}
