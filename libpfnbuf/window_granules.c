/* SPDX-License-Identifier: MIT */
/*
 * Conversions of granules of RAM in two places, which is what guests ask for most. An area is no
 * larger than a granule, so what is beside it stays as it is, and three calls that are known
 * beforehand turn it: so no plan is made. For each granule the calls, their order and what becomes
 * of a failure are those of a plan. Where one call can do for two granules, a plan sees to that.
 */
#include "bitmap.h"
#include "window.h"

/* Whether RAM of this kind, as it is now, can be turned by granules. */
static inline bool is_turnable(const struct pfnbuf_window *w)
{
	return w->has_granules && !(w->suspended | w->ended | w->quarantined);
}

/* Whether a conversion of part of the window is of granule @i. */
static inline bool is_of_granule(const struct pfnbuf_window *w, uint64_t offset, uint64_t length,
				 enum pfnbuf_vis to, uint64_t i)
{
	return length == w->granule && offset == i * length &&
	       (to == PFNBUF_PRIVATE || to == PFNBUF_SHARED);
}

static inline enum pfnbuf_vis other_of(enum pfnbuf_vis to)
{
	return to == PFNBUF_PRIVATE ? PFNBUF_SHARED : PFNBUF_PRIVATE;
}

/* ---------------------------------------------------------------- back ---------------------- */

/* One granule of those that a call turns; handed on by value, so that it stays in registers. */
struct turn {
	uint64_t i;
	uint64_t offset; /* into the window */
	enum pfnbuf_vis to;
	size_t n; /* how many it turns */
	size_t k; /* how many are turned before this one */
};

static int run_inverse(struct pfnbuf_window *w, enum pfnbuf_step_kind kind, struct turn t)
{
	switch (kind) {
	case PFNBUF_STEP_AREA_UNMAP:
		return pfnbuf_ioas_map_granule(w->ioas, w->granules, t.i);
	case PFNBUF_STEP_AREA_MAP:
		return pfnbuf_ioas_unmap(w->ioas, w->iova + t.offset, w->granule, NULL);
	default:
		return pfnbuf_vm_put_back_attributes(
			w->vm, w->gpa + t.offset, w->granule,
			t.to == PFNBUF_PRIVATE ? 0 : PFNBUF_ATTRIBUTE_PRIVATE);
	}
}

/* Undo a call that turned a granule: its first or its second. False: the window is quarantined. */
static __attribute__((noinline)) bool undo_call(struct pfnbuf_window *w, enum pfnbuf_step_kind kind,
						struct turn t, bool second)
{
	const bool is_attribute = kind == PFNBUF_STEP_ATTRIBUTE_SET;
	const size_t calls = w->ioas ? 2 : 1;
	struct pfnbuf_step stuck = {
		.kind = kind,
		.object = is_attribute ? pfnbuf_vm_name(w->vm) : pfnbuf_ioas_name(w->ioas),
		.range = { (is_attribute ? w->gpa : w->iova) + t.offset, w->granule },
		.result = -EAGAIN,
	};
	struct pfnbuf_saved_error error;

	pfnbuf_error_save(&error);
	for (int n = 0; n < PFNBUF_UNDO_TRIES && pfnbuf_may_pass(stuck.result); n++)
		stuck.result = run_inverse(w, kind, t);
	pfnbuf_error_restore(&error);
	if (stuck.result < 0)
		pfnbuf_window_quarantine_at(w, &stuck, t.n * (calls + 1), t.k * calls + second);
	return stuck.result >= 0;
}

static bool undo_granule(struct pfnbuf_window *w, struct turn t)
{
	if (!w->ioas)
		return undo_call(w, PFNBUF_STEP_ATTRIBUTE_SET, t, false);
	if (t.to == PFNBUF_SHARED)
		return undo_call(w, PFNBUF_STEP_AREA_MAP, t, true) &&
		       undo_call(w, PFNBUF_STEP_ATTRIBUTE_SET, t, false);
	return undo_call(w, PFNBUF_STEP_ATTRIBUTE_SET, t, true) &&
	       undo_call(w, PFNBUF_STEP_AREA_UNMAP, t, false);
}

/* ---------------------------------------------------------------- there --------------------- */

/*
 * Where what is mapped there is not the window's, a plan has to do it: that keeps what it takes away.
 */
static inline int make_private(struct pfnbuf_window *w, struct turn t)
{
	int r = w->ioas ? pfnbuf_ioas_unmap_granule(w->ioas, w->granules, t.i) : 0;

	if (r)
		return r < 0 ? r : PFNBUF_NOT_TURNED;
	r = pfnbuf_vm_set_attributes(w->vm, w->gpa + t.offset, w->granule,
				     PFNBUF_ATTRIBUTE_PRIVATE);
	if (r < 0 && w->ioas)
		undo_call(w, PFNBUF_STEP_AREA_UNMAP, t, false);
	return r;
}

static inline int make_shared(struct pfnbuf_window *w, struct turn t)
{
	int r = pfnbuf_vm_set_attributes(w->vm, w->gpa + t.offset, w->granule, 0);

	if (r < 0 || !w->ioas)
		return r;
	r = pfnbuf_ioas_map_granule(w->ioas, w->granules, t.i);
	if (r < 0)
		undo_call(w, PFNBUF_STEP_ATTRIBUTE_SET, t, false);
	return r;
}

/* 0, PFNBUF_NOT_TURNED, or an error; then nothing has changed, or the window is quarantined. */
static inline int make(struct pfnbuf_window *w, struct turn t)
{
	return t.to == PFNBUF_PRIVATE ? make_private(w, t) : make_shared(w, t);
}

/* Memory that is not needed any more, in a buffer or at an address of this process. */
struct waste {
	struct pfnbuf_buf *buf; /* or NULL */
	uint64_t start;
};

static inline struct waste waste_of(const struct pfnbuf_window *w, struct turn t)
{
	const struct stretch *s = &w->stretches[0];
	if (t.to == PFNBUF_SHARED)
		return (struct waste){ s->guest_memfd, s->guest_memfd_offset + t.offset };
	return (struct waste){ s->buf, (s->buf ? s->buf_offset : (uintptr_t)s->addr) + t.offset };
}

static inline int discard_once(const struct pfnbuf_window *w, struct waste waste)
{
	return waste.buf ? pfnbuf_buf_punch(waste.buf, waste.start, w->granule)
			 : pfnbuf_advise(w->kernel, waste.start, w->granule);
}

static __attribute__((noinline)) int discard_again(const struct pfnbuf_window *w,
						   struct waste waste, int r)
{
	for (int n = 1; n < PFNBUF_UNDO_TRIES && pfnbuf_may_pass(r); n++)
		r = discard_once(w, waste);
	if (r >= 0)
		return 0;
	pfnbuf_window_warn_kept(w);
	return 1;
}

/* What a granule was before is not needed any more. Returns 1 where that stays allocated. */
static inline int discard(const struct pfnbuf_window *w, struct turn t)
{
	const struct waste waste = waste_of(w, t);
	const int r = discard_once(w, waste);

	return r < 0 ? discard_again(w, waste, r) : 0;
}

/* ---------------------------------------------------------------- limits -------------------- */

/* Where even all of the window may be pinned, there is nothing to count. */
static inline int check_memlock(struct pfnbuf_window *w, const struct pfnbuf_layout *layout,
				uint64_t more, bool has_way_back)
{
	struct pfnbuf_layout_count count;

	if (w->length <= w->memlock && has_way_back)
		return 0;
	pfnbuf_layout_count(layout, &count);
	return pfnbuf_window_check_memlock(
		w, count.frames[PFNBUF_SHARED] + more / pfnbuf_page_size(), has_way_back);
}

bool pfnbuf_window_add_granules(struct pfnbuf_window *w)
{
	const struct stretch *s = &w->stretches[0];

	if (w->granules || !w->ioas || !w->has_granules || w->length < w->granule)
		return true;
	return pfnbuf_ioas_add_granules(w->ioas, s->buf,
					s->buf ? s->buf_offset : (uintptr_t)s->addr, w->length,
					w->granule, w->map_flags, w->iova, &w->granules);
}

static inline int have_granules(struct pfnbuf_window *w)
{
	if (w->granules || !w->ioas || pfnbuf_window_add_granules(w))
		return 0;
	return pfnbuf_window_no_memory(w, "pfnbuf_window_convert");
}

/* ---------------------------------------------------------------- one ----------------------- */

static inline int check_one(struct pfnbuf_window *w, struct turn t)
{
	int r = have_granules(w);

	if (r < 0 || t.to == PFNBUF_PRIVATE || !w->ioas)
		return r;
	r = check_memlock(w, w->layout, w->granule, true);
	return r < 0 ? r : pfnbuf_ioas_check_granule(w->ioas, w->granules, t.i);
}

static int not_one(const struct pfnbuf_window *w, int prepared)
{
	return prepared == -ENOMEM ? pfnbuf_window_no_memory(w, "pfnbuf_window_convert")
				   : PFNBUF_NOT_TURNED;
}

static inline __attribute__((always_inline)) int turn_one(struct pfnbuf_window *w, uint64_t offset,
							  uint64_t length, enum pfnbuf_vis to)
{
	const struct turn t = {
		.i = offset / w->granule,
		.offset = offset,
		.to = to,
		.n = 1,
	};
	struct pfnbuf_layout_turn layout_turn;
	int r;

	if (!is_of_granule(w, offset, length, to, t.i))
		return PFNBUF_NOT_TURNED;
	r = pfnbuf_layout_prepare_turn(w->layout, offset, length, other_of(to), to, &layout_turn);
	if (r <= 0)
		return not_one(w, r);
	r = check_one(w, t);
	if (r >= 0)
		r = make(w, t);
	if (r)
		return r;
	r = discard(w, t);
	pfnbuf_layout_turn(w->layout, &layout_turn);
	w->version++;
	return r;
}

/* No other object has a part in it, so that the topology need not be held. */
static inline int lock_and_turn_one(struct pfnbuf_window *w, uint64_t offset, uint64_t length,
				    enum pfnbuf_vis to)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	return is_turnable(w) ? turn_one(w, offset, length, to) : PFNBUF_NOT_TURNED;
}

int pfnbuf_window_convert(struct pfnbuf_window *w, uint64_t offset, uint64_t length,
			  enum pfnbuf_vis to)
{
	const int r = lock_and_turn_one(w, offset, length, to);

	if (r != PFNBUF_NOT_TURNED)
		return r;
	return pfnbuf_window_convert_batch(w, &(struct pfnbuf_conversion){ offset, length, to }, 1);
}

/* ---------------------------------------------------------------- several ------------------- */

/* What is gathered of a call. */
struct gathering {
	/* What becomes private first: at no instant is more pinned than before or after. */
	struct turn *turns;
	size_t n;
	size_t nr_private;
	size_t nr_shared;
	struct pfnbuf_layout *layout; /* the goal */
	uint64_t *which;	      /* a bit for each granule; they are all in [first, end) */
	uint64_t first;
	uint64_t end;
};

static void end_gathering(struct gathering *g)
{
	free(g->turns);
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

static void add_turn(struct gathering *g, uint64_t i, uint64_t offset, enum pfnbuf_vis to)
{
	const size_t k = to == PFNBUF_PRIVATE ? g->nr_private++ : g->n - ++g->nr_shared;

	g->turns[k] = (struct turn){ i, offset, to, g->n, k };
}

/* Turn a granule in the goal. 1; 0: it is none, or not to be turned by itself; -ENOMEM */
static int gather_one(const struct pfnbuf_window *w, const struct pfnbuf_conversion *c,
		      struct gathering *g)
{
	const uint64_t i = c->offset / w->granule;
	struct pfnbuf_layout_turn layout_turn;
	int r;

	if (!is_of_granule(w, c->offset, c->length, c->to, i) ||
	    !mark(g, i, w->length / w->granule))
		return 0;
	r = pfnbuf_layout_prepare_turn(g->layout, c->offset, c->length, other_of(c->to), c->to,
				       &layout_turn);
	if (r <= 0)
		return r == -ENOMEM ? r : 0;
	pfnbuf_layout_turn(g->layout, &layout_turn);
	add_turn(g, i, c->offset, c->to);
	return 1;
}

/* The same of all. */
static int gather(const struct pfnbuf_window *w, bool of_guest,
		  const struct pfnbuf_conversion *list, struct gathering *g)
{
	int r = 1;

	g->turns = malloc(g->n * sizeof(*g->turns));
	g->which = calloc((w->length / w->granule + 63) / 64, sizeof(*g->which));
	if (!g->turns || !g->which || pfnbuf_layout_copy(w->layout, &g->layout) < 0)
		return -ENOMEM;
	for (size_t k = 0; r > 0 && k < g->n; k++) {
		struct pfnbuf_conversion c = list[k];

		if (of_guest && !pfnbuf_window_clip(w, &list[k], &c))
			return 0;
		r = gather_one(w, &c, g);
	}
	return r;
}

/* Few granules far apart: looking at all that is between them would cost more than a plan. */
static bool is_sparse(const struct gathering *g)
{
	return (g->end - g->first) / 64 > 64 * g->n;
}

/*
 * Whether the limits allow what was gathered: 1, or an error; 0 where calls might be joined, or
 * somebody else's area is in the place of one.
 */
static int check_gathered(struct pfnbuf_window *w, const struct gathering *g)
{
	int r = have_granules(w);

	if (r < 0 || !w->ioas)
		return r < 0 ? r : 1;
	if (is_sparse(g) || !pfnbuf_ioas_parts_granules(w->ioas, w->granules, g->which, g->first,
							g->end, g->nr_private))
		return 0;
	r = g->nr_shared ? check_memlock(w, g->layout, 0, !g->nr_private) : 0;
	for (size_t k = g->nr_private; r >= 0 && k < g->n; k++)
		r = pfnbuf_ioas_check_granule(w->ioas, w->granules, g->turns[k].i);
	return r < 0 ? r : 1;
}

/* Turn all of them, or none. Discards come last: they cannot be undone. */
static int run(struct pfnbuf_window *w, const struct gathering *g)
{
	int kept = 0, r = 0;
	size_t k = 0;

	while (!r && k < g->n)
		r = make(w, g->turns[k++]);
	if (r) {
		/* The last one has undone itself. */
		for (k--; !w->quarantined && k-- > 0;)
			undo_granule(w, g->turns[k]);
		return r;
	}
	for (k = 0; k < g->n; k++)
		kept |= discard(w, g->turns[k]);
	w->version++;
	return kept;
}

static __attribute__((noinline)) int turn_several(struct pfnbuf_window *w, bool of_guest,
						  const struct pfnbuf_conversion *list, size_t n)
{
	cleanup_gathering struct gathering g = { .n = n, .first = UINT64_MAX };
	struct pfnbuf_layout *old = w->layout;
	int r = gather(w, of_guest, list, &g);

	if (r < 0)
		return pfnbuf_window_no_memory(w, "pfnbuf_window_convert");
	if (r > 0)
		r = check_gathered(w, &g);
	if (r <= 0)
		return r < 0 ? r : PFNBUF_NOT_TURNED;
	r = run(w, &g);
	if (r >= 0 && r != PFNBUF_NOT_TURNED) {
		w->layout = g.layout;
		g.layout = old;
	}
	return r;
}

int pfnbuf_window_turn_granules(struct pfnbuf_window *w, bool of_guest,
				const struct pfnbuf_conversion *list, size_t n)
{
	struct pfnbuf_conversion c;

	if (!is_turnable(w) || !n)
		return PFNBUF_NOT_TURNED;
	if (n > 1)
		return turn_several(w, of_guest, list, n);
	c = *list;
	if (of_guest && !pfnbuf_window_clip(w, list, &c))
		return PFNBUF_NOT_TURNED;
	return turn_one(w, c.offset, c.length, c.to);
}
