/* SPDX-License-Identifier: MIT */
/*
 * Conversions of granules of RAM in two places, which is what guests ask for most. An area is no
 * larger than a granule, so what is beside it stays as it is, and three calls that are known
 * beforehand turn it: so no plan is made. For each granule the calls, their order and what becomes
 * of a failure are those of a plan. Where one call can do for two granules, a plan sees to that.
 */
#include "bitmap.h"
#include "window.h"

/* A granule that turns. */
struct turn {
	uint64_t i;
	enum pfnbuf_vis to;
};

/* Those of one call. */
struct turns {
	struct turn *list;
	size_t n;
};

/* What is mapped in place of a granule is not the window's: a plan keeps what it takes away. */
#define NOT_OURS 2

/* Whether RAM of this kind, as it is now, can be turned by granules. */
static bool is_turnable(const struct pfnbuf_window *w)
{
	return w->granule && w->has_private && !w->in_place && !w->device && !w->suspended &&
	       !w->ended && !w->quarantined;
}

/*
 * Whether a conversion, or its part that is in the window, is of one granule: @turn. *c is the part.
 */
static inline bool is_of_granule(const struct pfnbuf_window *w, bool of_guest,
				 const struct pfnbuf_conversion *conversion,
				 struct pfnbuf_conversion *c, struct turn *turn)
{
	*c = *conversion;
	if (of_guest && !pfnbuf_window_clip(w, conversion, c))
		return false;
	turn->i = c->offset / w->granule;
	turn->to = c->to;
	return c->length == w->granule && c->offset == turn->i * w->granule &&
	       (c->to == PFNBUF_SHARED || c->to == PFNBUF_PRIVATE);
}

static enum pfnbuf_vis other_of(enum pfnbuf_vis to)
{
	return to == PFNBUF_PRIVATE ? PFNBUF_SHARED : PFNBUF_PRIVATE;
}

static uint64_t gpa_of(const struct pfnbuf_window *w, uint64_t i)
{
	return w->gpa + i * w->granule;
}

/* ---------------------------------------------------------------- back ---------------------- */

static int run_inverse(struct pfnbuf_window *w, enum pfnbuf_step_kind kind, const struct turn *t)
{
	switch (kind) {
	case PFNBUF_STEP_AREA_UNMAP:
		return pfnbuf_ioas_map_granule(w->ioas, w->granules, t->i);
	case PFNBUF_STEP_AREA_MAP:
		return pfnbuf_ioas_unmap(w->ioas, w->iova + t->i * w->granule, w->granule, NULL);
	default:
		return pfnbuf_vm_put_back_attributes(
			w->vm, gpa_of(w, t->i), w->granule,
			t->to == PFNBUF_PRIVATE ? 0 : PFNBUF_ATTRIBUTE_PRIVATE);
	}
}

/* Undo a call that turned one of them; @standing: how many came before it. */
static bool undo_call(struct pfnbuf_window *w, enum pfnbuf_step_kind kind, const struct turn *t,
		      size_t standing, const struct turns *turns)
{
	const bool is_attribute = kind == PFNBUF_STEP_ATTRIBUTE_SET;
	struct pfnbuf_step stuck = {
		.kind = kind,
		.object = is_attribute ? pfnbuf_vm_name(w->vm) : pfnbuf_ioas_name(w->ioas),
		.range = { (is_attribute ? w->gpa : w->iova) + t->i * w->granule, w->granule },
		.result = -EAGAIN,
	};
	struct pfnbuf_saved_error error;

	pfnbuf_error_save(&error);
	for (int n = 0; n < PFNBUF_UNDO_TRIES && pfnbuf_may_pass(stuck.result); n++)
		stuck.result = run_inverse(w, kind, t);
	pfnbuf_error_restore(&error);
	if (stuck.result < 0)
		pfnbuf_window_quarantine_at(w, &stuck, turns->n * (w->ioas ? 3 : 2), standing);
	return stuck.result >= 0;
}

/* Undo the first @n, the last one first, as far as that goes. */
static void undo(struct pfnbuf_window *w, const struct turns *turns, size_t n)
{
	const size_t calls = w->ioas ? 2 : 1;

	while (n-- > 0 && !w->quarantined) {
		const struct turn *t = &turns->list[n];
		const bool unmaps = w->ioas && t->to == PFNBUF_PRIVATE;
		const bool maps = w->ioas && t->to == PFNBUF_SHARED;

		if (maps && !undo_call(w, PFNBUF_STEP_AREA_MAP, t, calls * n + 1, turns))
			return;
		if (!undo_call(w, PFNBUF_STEP_ATTRIBUTE_SET, t, calls * n + unmaps, turns))
			return;
		if (unmaps)
			undo_call(w, PFNBUF_STEP_AREA_UNMAP, t, calls * n, turns);
	}
}

/* ---------------------------------------------------------------- there --------------------- */

static int make_private(struct pfnbuf_window *w, const struct turn *t, const struct turns *turns)
{
	int r = w->ioas ? pfnbuf_ioas_unmap_granule(w->ioas, w->granules, t->i) : 0;

	if (r)
		return r < 0 ? r : NOT_OURS;
	r = pfnbuf_vm_set_attributes(w->vm, gpa_of(w, t->i), w->granule, PFNBUF_ATTRIBUTE_PRIVATE);
	if (r < 0 && w->ioas)
		undo_call(w, PFNBUF_STEP_AREA_UNMAP, t, (size_t)(t - turns->list) * 2, turns);
	return r;
}

static int make_shared(struct pfnbuf_window *w, const struct turn *t, const struct turns *turns)
{
	int r = pfnbuf_vm_set_attributes(w->vm, gpa_of(w, t->i), w->granule, 0);

	if (r < 0 || !w->ioas)
		return r;
	r = pfnbuf_ioas_map_granule(w->ioas, w->granules, t->i);
	if (r < 0)
		undo_call(w, PFNBUF_STEP_ATTRIBUTE_SET, t, (size_t)(t - turns->list) * 2, turns);
	return r;
}

/* What a granule was before is not needed any more. Returns 1 where that stays allocated. */
static int discard(struct pfnbuf_window *w, const struct turn *t)
{
	const struct stretch *s = &w->stretches[0];
	const bool shared = t->to == PFNBUF_PRIVATE;
	const uint64_t start = !shared	? s->guest_memfd_offset
			       : s->buf ? s->buf_offset
					: (uintptr_t)s->addr;
	int r = pfnbuf_discard(w->kernel, shared ? s->buf : s->guest_memfd,
			       start + t->i * w->granule, w->granule);

	if (r >= 0)
		return 0;
	pfnbuf_window_warn_kept(w);
	return 1;
}

/* Turn all of them, or none, NOT_OURS included. Discards come last: they cannot be undone. */
static int run(struct pfnbuf_window *w, const struct turns *turns)
{
	int kept = 0;

	for (size_t k = 0; k < turns->n; k++) {
		const struct turn *t = &turns->list[k];
		int r = t->to == PFNBUF_PRIVATE ? make_private(w, t, turns)
						: make_shared(w, t, turns);

		if (r) {
			undo(w, turns, k);
			return r;
		}
	}
	for (size_t k = 0; k < turns->n; k++)
		kept |= discard(w, &turns->list[k]);
	w->version++;
	return kept;
}

/* ---------------------------------------------------------------- limits -------------------- */

/* Where even all of the window may be pinned, there is nothing to count. */
static int check_memlock(struct pfnbuf_window *w, const struct pfnbuf_layout *layout,
			 uint64_t pages_more, bool has_way_back)
{
	struct pfnbuf_layout_count count;

	if (w->length <= w->memlock && has_way_back)
		return 0;
	pfnbuf_layout_count(layout, &count);
	return pfnbuf_window_check_memlock(w, count.frames[PFNBUF_SHARED] + pages_more,
					   has_way_back);
}

/* From the first conversion on the IOAS has the window's granules as a bit each. */
static int have_granules(struct pfnbuf_window *w)
{
	const struct stretch *s = &w->stretches[0];

	if (w->granules)
		return 0;
	return pfnbuf_ioas_add_granules(w->ioas, s->buf,
					s->buf ? s->buf_offset : (uintptr_t)s->addr, w->length,
					w->granule, w->map_flags, w->iova, &w->granules);
}

/* ---------------------------------------------------------------- one ----------------------- */

static int check_one(struct pfnbuf_window *w, const struct turn *t)
{
	int r = have_granules(w);

	if (r < 0 || t->to == PFNBUF_PRIVATE)
		return r;
	r = check_memlock(w, w->layout, w->granule / pfnbuf_page_size(), true);
	return r < 0 ? r : pfnbuf_ioas_check_granule(w->ioas, w->granules, t->i);
}

static bool turn_one(struct pfnbuf_window *w, bool of_guest,
		     const struct pfnbuf_conversion *conversion, int *result)
{
	struct pfnbuf_layout_turn turn;
	struct pfnbuf_conversion c;
	struct turn t;
	int r;

	if (!is_of_granule(w, of_guest, conversion, &c, &t))
		return false;
	r = pfnbuf_layout_prepare_turn(w->layout, c.offset, c.length, other_of(c.to), c.to, &turn);
	if (r <= 0) {
		*result = r == -ENOMEM ? pfnbuf_window_no_memory(w, "pfnbuf_window_convert") : 0;
		return r == -ENOMEM;
	}
	r = w->ioas ? check_one(w, &t) : 0;
	if (r >= 0)
		r = run(w, &(struct turns){ &t, 1 });
	if (r >= 0 && r != NOT_OURS)
		pfnbuf_layout_turn(w->layout, &turn);
	*result = r;
	return r != NOT_OURS;
}

/* ---------------------------------------------------------------- several ------------------- */

/* What is gathered of a call. */
struct gathering {
	struct turns
		turns; /* what becomes private first: at no instant is more pinned than it takes */
	size_t nr_private;
	size_t nr_shared;
	struct pfnbuf_layout *layout; /* the goal */
	uint64_t *which;	      /* a bit for each granule; they are all in [first, end) */
	uint64_t first;
	uint64_t end;
};

static void end_gathering(struct gathering *g)
{
	free(g->turns.list);
	free(g->which);
	pfnbuf_layout_free(g->layout);
}

#define cleanup_gathering __attribute__((cleanup(end_gathering)))

/*
 * False where there is none, it turns already, or a neighbour does: then calls of both can be joined.
 */
static bool mark(struct gathering *g, uint64_t i, uint64_t n)
{
	if (i >= n || pfnbuf_bitmap_test(g->which, i) ||
	    (i && pfnbuf_bitmap_test(g->which, i - 1)) ||
	    (i + 1 < n && pfnbuf_bitmap_test(g->which, i + 1)))
		return false;
	pfnbuf_bitmap_put(g->which, i, true);
	g->first = min_u64(g->first, i);
	g->end = i >= g->end ? i + 1 : g->end;
	return true;
}

static void add_turn(struct gathering *g, const struct turn *t)
{
	if (t->to == PFNBUF_PRIVATE)
		g->turns.list[g->nr_private++] = *t;
	else
		g->turns.list[g->turns.n - ++g->nr_shared] = *t;
}

/* Returns 1, 0 where they are not all of single granules that turn, or -ENOMEM. */
static int gather(struct pfnbuf_window *w, bool of_guest, const struct pfnbuf_conversion *list,
		  size_t n, struct gathering *g)
{
	const uint64_t nr = w->length / w->granule;
	struct pfnbuf_layout_turn turn;
	struct pfnbuf_conversion c;
	struct turn t;
	int r;

	g->turns = (struct turns){ malloc(n * sizeof(*g->turns.list)), n };
	g->which = calloc((nr + 63) / 64, sizeof(*g->which));
	if (!g->turns.list || !g->which || pfnbuf_layout_copy(w->layout, &g->layout) < 0)
		return -ENOMEM;
	for (size_t k = 0; k < n; k++) {
		if (!is_of_granule(w, of_guest, &list[k], &c, &t) || !mark(g, t.i, nr))
			return 0;
		r = pfnbuf_layout_prepare_turn(g->layout, c.offset, c.length, other_of(c.to), c.to,
					       &turn);
		if (r <= 0)
			return r == -ENOMEM ? r : 0;
		pfnbuf_layout_turn(g->layout, &turn);
		add_turn(g, &t);
	}
	return 1;
}

/* Few granules far apart: looking at all that is between them would cost more than a plan. */
static bool is_sparse(const struct gathering *g)
{
	return (g->end - g->first) / 64 > 64 * g->turns.n;
}

/*
 * Whether the limits allow what was gathered: 1, or an error; 0 where calls might be joined, or
 * somebody else's area is in the place of one.
 */
static int check_gathered(struct pfnbuf_window *w, const struct gathering *g)
{
	int r = have_granules(w);

	if (r >= 0 &&
	    (is_sparse(g) || !pfnbuf_ioas_parts_granules(w->ioas, w->granules, g->which, g->first,
							 g->end, g->nr_private)))
		return 0;
	if (r >= 0 && g->nr_shared)
		r = check_memlock(w, g->layout, 0, !g->nr_private);
	for (size_t k = g->nr_private; r >= 0 && k < g->turns.n; k++)
		r = pfnbuf_ioas_check_granule(w->ioas, w->granules, g->turns.list[k].i);
	return r < 0 ? r : 1;
}

static __attribute__((noinline)) bool turn_several(struct pfnbuf_window *w, bool of_guest,
						   const struct pfnbuf_conversion *list, size_t n,
						   int *result)
{
	cleanup_gathering struct gathering g = { .first = UINT64_MAX };
	struct pfnbuf_layout *old = w->layout;
	int r = gather(w, of_guest, list, n, &g);

	if (r < 0)
		r = pfnbuf_window_no_memory(w, "pfnbuf_window_convert");
	else if (r > 0 && w->ioas)
		r = check_gathered(w, &g);
	*result = r > 0 ? run(w, &g.turns) : r;
	if (*result == NOT_OURS)
		return false;
	if (r > 0 && *result >= 0) {
		w->layout = g.layout;
		g.layout = old;
	}
	return r != 0;
}

bool pfnbuf_window_turn_granules(struct pfnbuf_window *w, bool of_guest,
				 const struct pfnbuf_conversion *list, size_t n, int *result)
{
	if (!is_turnable(w) || !n)
		return false;
	return n == 1 ? turn_one(w, of_guest, list, result)
		      : turn_several(w, of_guest, list, n, result);
}

bool pfnbuf_window_try_turn(struct pfnbuf_window *w, const struct pfnbuf_conversion *list, size_t n,
			    int *result)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	return pfnbuf_window_turn_granules(w, false, list, n, result);
}
