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

bool pfnbuf_window_clip(const struct pfnbuf_window *w, const struct pfnbuf_conversion *c,
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
		nr += !of_guest || pfnbuf_window_clip(w, &list[i], &parts[nr]);
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
		if (of_guest && !pfnbuf_window_clip(w, &list[i], &part))
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

	if (w->ended || !pfnbuf_window_clip(w, c, &part))
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
