/* SPDX-License-Identifier: MIT */
/*
 * A window of a device that is bound to a confidential guest: what it shows is then the bind's to say,
 * and what it was before comes back with the end of the bind.
 */
#include <inttypes.h>
#include <stdio.h>

#include "window.h"

void pfnbuf_window_get_part(struct pfnbuf_window *w, struct pfnbuf_window_part *part)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	*part = (struct pfnbuf_window_part){
		.device = w->device,
		.vm = w->vm,
		.ioas = w->ioas,
		.bar = w->bar,
		.range = { w->bar_offset, w->length },
		.gpa = w->gpa,
		.name = w->name,
	};
}

/* Its device never changes. */
void pfnbuf_window_await(struct pfnbuf_window *w, const struct pfnbuf_device *device)
{
	if (w->device != device)
		return;
	pthread_mutex_lock(&w->lock);
	pthread_mutex_unlock(&w->lock);
}

int pfnbuf_window_lend(struct pfnbuf_window *w, struct pfnbuf_bind *bind)
{
	static const char call[] = "pfnbuf_bind_lock";
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	int r = pfnbuf_window_check_usable(w, call);

	if (r < 0)
		return r;
	if (w->lent_to)
		return pfnbuf_refused(-EBUSY, call, w->name, NULL, "", "another bind has it");
	if (w->withdrawn)
		return pfnbuf_refused(-EBUSY, call, w->name, NULL,
				      "call pfnbuf_device_restore() first",
				      "its slots wait to be restored");
	if (pfnbuf_layout_copy(w->layout, &w->own_layout) < 0)
		return pfnbuf_window_no_memory(w, call);
	w->own_suspended = w->suspended;
	w->lent_to = bind;
	w->version++;
	return 0;
}

void pfnbuf_window_give_back(struct pfnbuf_window *w)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	w->own_layout = pfnbuf_layout_free(w->own_layout);
	w->lent_to = NULL;
	w->version++;
}

void pfnbuf_window_count_shown(struct pfnbuf_window *w, uint64_t *shared, uint64_t *private)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	struct pfnbuf_layout_count count;

	if (!w->vm || (w->suspended && !w->stuck))
		return;
	pfnbuf_layout_count(w->layout, &count);
	*shared += count.frames[PFNBUF_SHARED] * pfnbuf_page_size();
	*private += count.frames[PFNBUF_PRIVATE] * pfnbuf_page_size();
}

bool pfnbuf_window_is_quarantined(struct pfnbuf_window *w)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	return w->quarantined;
}

void pfnbuf_window_quarantine(struct pfnbuf_window *w, const char *reason)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	if (w->quarantined)
		return;
	w->quarantined = true;
	w->version++;
	snprintf(w->reason, sizeof(w->reason), "the bind of its device is quarantined: %.400s",
		 reason);
}

/* Go to another layout, or another state of suspension, and tell of the steps. */
static int go(struct pfnbuf_window *w, const struct pfnbuf_layout *layout, bool suspended,
	      struct pfnbuf_journal *journal)
{
	cleanup_plan struct pfnbuf_plan *plan = NULL;
	struct pfnbuf_plan_goal goal = pfnbuf_window_goal(w);
	int r = pfnbuf_window_check_usable(w, "pfnbuf_bind");

	if (r < 0)
		return r;
	goal.suspended = suspended;
	r = pfnbuf_window_make_plan(w, &goal, layout, &plan);
	if (r < 0)
		return r;
	pfnbuf_plan_take_times(plan);
	r = pfnbuf_window_run_plan(w, plan);
	pfnbuf_journal_add_plan(journal, plan);
	return r;
}

void pfnbuf_window_plan_withdraw(struct pfnbuf_window *w, struct pfnbuf_journal *journal)
{
	cleanup_plan struct pfnbuf_plan *plan = NULL;
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	struct pfnbuf_plan_goal goal = pfnbuf_window_goal(w);

	goal.suspended = true;
	if (pfnbuf_window_make_plan(w, &goal, NULL, &plan) >= 0)
		pfnbuf_journal_add_plan(journal, plan);
	for (size_t i = 0; i < w->nr_stretches; i++) {
		const struct stretch *s = &w->stretches[i];
		const struct pfnbuf_range slice = slice_of(w, s);

		if (s->mapped)
			pfnbuf_journal_add(journal, PFNBUF_STEP_BAR_UNMAP, w->name, &slice,
					   "the host must not touch it");
		if (s->buf || s->guest_memfd)
			pfnbuf_journal_add(journal, PFNBUF_STEP_CLOSE, w->name, &slice,
					   "nothing of it is shown any more");
	}
}

int pfnbuf_window_withdraw(struct pfnbuf_window *w, struct pfnbuf_journal *journal)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	int r;

	if (w->suspended)
		return 0;
	r = go(w, NULL, true, journal);
	return r < 0 ? r : 1;
}

int pfnbuf_window_place(struct pfnbuf_window *w, struct pfnbuf_journal *journal)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	const bool home = !w->own_stretches;

	if (!w->suspended || (home && w->own_suspended))
		return 0;
	return go(w, NULL, false, journal);
}

int pfnbuf_window_drop_private(struct pfnbuf_window *w, struct pfnbuf_journal *journal)
{
	cleanup_layout struct pfnbuf_layout *layout = NULL;
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	struct pfnbuf_run run;
	int r = pfnbuf_layout_copy(w->layout, &layout);

	for (uint64_t at = 0; r >= 0 && pfnbuf_layout_next(w->layout, &at, &run, 1) > 0;)
		if (run.vis == PFNBUF_PRIVATE)
			r = pfnbuf_layout_set(layout, run.offset, run.length, PFNBUF_HOLE);
	if (r < 0)
		return pfnbuf_window_no_memory(w, "pfnbuf_bind");
	return go(w, layout, w->suspended, journal);
}

/*
 * What stands behind a stretch is opened and closed without the window's lock, which comes after the
 * device's; only entering and taking out is done with it.
 */
static int unmap_stretch(struct pfnbuf_window *w, struct stretch *s, struct pfnbuf_journal *journal)
{
	const struct pfnbuf_range slice = slice_of(w, s);
	size_t step;
	int r;

	if (!s->mapped)
		return 0;
	step = pfnbuf_journal_add(journal, PFNBUF_STEP_BAR_UNMAP, w->name, &slice,
				  "the host must not touch it");
	pfnbuf_journal_begin(journal, step);
	r = pfnbuf_journal_end(journal, step, pfnbuf_device_bar_unmap(w->device, s->addr));
	if (r < 0)
		return r;
	pthread_mutex_lock(&w->lock);
	s->addr = NULL;
	s->mapped = false;
	pthread_mutex_unlock(&w->lock);
	return 0;
}

static void close_stretch(struct pfnbuf_window *w, struct stretch *s,
			  struct pfnbuf_journal *journal)
{
	const struct pfnbuf_range slice = slice_of(w, s);
	struct pfnbuf_buf *shared = s->buf, *private = s->guest_memfd;
	size_t step;

	if (!shared && !private)
		return;
	step = pfnbuf_journal_add(journal, PFNBUF_STEP_CLOSE, w->name, &slice,
				  "nothing of it is shown any more");
	pfnbuf_journal_begin(journal, step);
	pthread_mutex_lock(&w->lock);
	s->buf = NULL;
	s->buf_offset = 0;
	s->guest_memfd = NULL;
	pthread_mutex_unlock(&w->lock);
	pfnbuf_buf_unref(shared);
	pfnbuf_buf_unref(private);
	pfnbuf_journal_end(journal, step, 0);
}

int pfnbuf_window_close_buffers(struct pfnbuf_window *w, struct pfnbuf_journal *journal)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < w->nr_stretches; i++)
		r = unmap_stretch(w, &w->stretches[i], journal);
	for (size_t i = 0; r >= 0 && i < w->nr_stretches; i++)
		close_stretch(w, &w->stretches[i], journal);
	return r;
}

static int export_stretch(const struct pfnbuf_window *w, const struct stretch *s,
			  const char *reason, struct pfnbuf_journal *journal,
			  struct pfnbuf_buf **bufp)
{
	const struct pfnbuf_range slice = slice_of(w, s);
	const size_t step =
		pfnbuf_journal_add(journal, PFNBUF_STEP_EXPORT, w->name, &slice, reason);

	pfnbuf_journal_begin(journal, step);
	return pfnbuf_journal_end(journal, step,
				  pfnbuf_device_export(w->device, w->bar, &slice, 1, bufp));
}

static int map_stretch(const struct pfnbuf_window *w, struct stretch *s,
		       struct pfnbuf_journal *journal)
{
	const struct pfnbuf_range slice = slice_of(w, s);
	const size_t step = pfnbuf_journal_add(journal, PFNBUF_STEP_BAR_MAP, w->name, &slice,
					       "the guest's slots stand on it");
	int r;

	pfnbuf_journal_begin(journal, step);
	r = pfnbuf_journal_end(journal, step,
			       pfnbuf_device_bar_map_lent(w->device, w->bar, slice.offset,
							  slice.length, &s->addr));
	s->mapped = r >= 0;
	return r;
}

/* What a shared stretch lacks. */
static int open_shared(const struct pfnbuf_window *w, struct stretch *s,
		       struct pfnbuf_journal *journal)
{
	int r = 0;

	if (w->ioas && !s->buf)
		r = export_stretch(w, s, "devices see it", journal, &s->buf);
	if (r >= 0 && w->vm && !s->mapped)
		r = map_stretch(w, s, journal);
	return r;
}

static void release_stretches(const struct pfnbuf_window *w, struct stretch *stretches, size_t n)
{
	for (size_t i = 0; i < n; i++)
		pfnbuf_window_release_stretch(w, &stretches[i]);
	free(stretches);
}

static void enter_stretch(struct pfnbuf_window *w, size_t i, const struct stretch *s)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	w->stretches[i] = *s;
}

/* Where one buffer stood for all stretches, one does so again. */
static int open_together(struct pfnbuf_window *w)
{
	const size_t n = w->nr_stretches;
	cleanup_free struct stretch *opened = NULL;
	int r;

	if (!w->ioas || n < 2 || w->stretches[0].buf || pfnbuf_ctx_imports_ranges(w->ctx) <= 0)
		return 0;
	opened = calloc(n, sizeof(*opened));
	if (!opened)
		return pfnbuf_window_no_memory(w, "pfnbuf_bind");
	memcpy(opened, w->stretches, n * sizeof(*opened));
	r = pfnbuf_window_export_together(w, opened, n);
	for (size_t i = 0; r > 0 && i < n; i++)
		enter_stretch(w, i, &opened[i]);
	return r;
}

/*
 * The window's own stretches, as far as they are not open. What was opened before another one fails
 * stays open: calling again goes on there.
 */
static int open_own(struct pfnbuf_window *w, struct pfnbuf_journal *journal)
{
	int r = open_together(w);

	for (size_t i = 0; r >= 0 && i < w->nr_stretches; i++) {
		struct stretch s = w->stretches[i];

		r = open_shared(w, &s, journal);
		enter_stretch(w, i, &s);
	}
	return r < 0 ? r : 0;
}

/* Go from the report's stretches, which are closed, back to the window's own. */
static void go_home(struct pfnbuf_window *w)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	struct pfnbuf_layout *layout = w->layout;

	if (!w->own_stretches)
		return;
	free(w->stretches);
	free(w->ends);
	w->stretches = w->own_stretches;
	w->ends = w->own_ends;
	w->nr_stretches = w->nr_own;
	w->own_stretches = NULL;
	w->own_ends = NULL;
	w->private_slots = false;
	w->has_private = false;
	/* Nothing is placed, so that the layout is but what it will be. */
	w->layout = w->own_layout;
	w->own_layout = layout;
	w->version++;
}

struct opening {
	struct stretch *stretches;
	uint64_t *ends;
	size_t nr;
};

static int open_run(struct pfnbuf_window *w, const struct pfnbuf_run *run, bool private_slots,
		    struct opening *o, struct pfnbuf_journal *journal)
{
	struct stretch *s = &o->stretches[o->nr];

	*s = (struct stretch){ .offset = run->offset, .length = run->length };
	o->ends[o->nr++] = run->offset + run->length;
	if (run->vis == PFNBUF_SHARED)
		return open_shared(w, s, journal);
	if (!private_slots || !w->vm)
		return 0;
	return export_stretch(w, s, "the guest's alone", journal, &s->guest_memfd);
}

/* A stretch for each run, cut where the window itself is. */
static int open_runs(struct pfnbuf_window *w, const struct pfnbuf_layout *layout,
		     bool private_slots, struct opening *o, struct pfnbuf_journal *journal)
{
	struct pfnbuf_run run;
	size_t at = 0;
	int r = 0;

	for (uint64_t pos = 0; r >= 0 && pfnbuf_layout_next(layout, &pos, &run, 1) > 0;) {
		while (at < w->nr_stretches && w->ends[at] <= run.offset)
			at++;
		if (at < w->nr_stretches && run.offset + run.length > w->ends[at]) {
			run.length = w->ends[at] - run.offset;
			pos = w->ends[at];
		}
		if (run.vis != PFNBUF_HOLE)
			r = open_run(w, &run, private_slots, o, journal);
	}
	return r;
}

static int open_report(struct pfnbuf_window *w, const struct pfnbuf_layout *layout,
		       bool private_slots, bool private_attribute, struct pfnbuf_journal *journal)
{
	cleanup_layout struct pfnbuf_layout *copy = NULL;
	struct pfnbuf_layout_count count;
	struct opening o = { .nr = 0 };
	size_t max;
	int r = pfnbuf_window_check_stretches(w, layout);

	if (r < 0)
		return r;
	pfnbuf_layout_count(layout, &count);
	max = count.runs[PFNBUF_SHARED] + count.runs[PFNBUF_PRIVATE] + w->nr_stretches;
	o.stretches = calloc(max, sizeof(*o.stretches));
	o.ends = calloc(max + 1, sizeof(*o.ends));
	if (!o.stretches || !o.ends || pfnbuf_layout_copy(layout, &copy) < 0)
		r = pfnbuf_window_no_memory(w, "pfnbuf_bind_run");
	if (r >= 0)
		r = open_runs(w, layout, private_slots, &o, journal);
	if (r < 0) {
		release_stretches(w, o.stretches, o.nr);
		free(o.ends);
		return r;
	}
	o.ends[o.nr] = UINT64_MAX;
	pthread_mutex_lock(&w->lock);
	w->own_stretches = w->stretches;
	w->own_ends = w->ends;
	w->nr_own = w->nr_stretches;
	w->stretches = o.stretches;
	w->ends = o.ends;
	w->nr_stretches = o.nr;
	w->private_slots = private_slots && w->vm;
	w->has_private = private_attribute && w->vm;
	/* The window's own is kept in own_layout. */
	pfnbuf_layout_free(w->layout);
	w->layout = copy;
	copy = NULL;
	w->version++;
	pthread_mutex_unlock(&w->lock);
	return 0;
}

int pfnbuf_window_open_buffers(struct pfnbuf_window *w, const struct pfnbuf_layout *layout,
			       bool private_slots, bool private_attribute,
			       struct pfnbuf_journal *journal)
{
	if (layout)
		return open_report(w, layout, private_slots, private_attribute, journal);
	go_home(w);
	return open_own(w, journal);
}
