/* SPDX-License-Identifier: MIT */
/*
 * A layout is a radix tree over frame numbers. A slot of the tree covers an aligned power of two of
 * frames and is one of
 *
 *	uniform   every frame below it has one visibility: a tagged word, no memory
 *	node      64 slots that cover a 64th each
 *	leaf      one chunk of 16384 frames, as a *sparse* list of runs or a *dense* map of frames
 *
 * Why these: 16384 frames leave two of 16 bits for the visibility, so a run costs two bytes and a
 * list of runs is a sorted array of integers; a chunk with a few hundred runs fits a few cache
 * lines, where a search and a memmove cost less than the cache miss that fetches them. Above that a
 * map of frames is quicker. Most chunks of a real layout are uniform and cost eight bytes, and so
 * does a uniform TiB.
 *
 * Leaves and nodes are counted references: a copy shares the tree, and a change first copies what
 * it changes and is not alone in owning. What compares equal by pointer needs no look inside.
 *
 * The tree covers more frames than the layout has. The frames behind the end always have the
 * visibility of the last frame: a set that reaches the end reaches the end of the tree. So there is
 * no special case below this rule but in counting frames, and the last run needs none in counting
 * runs.
 *
 * In here, all positions are frame numbers; those inside a chunk are `unsigned`.
 */
#include "private.h"

#define CHUNK_SHIFT  14
#define CHUNK_FRAMES (1u << CHUNK_SHIFT)

#define NODE_SHIFT 6
#define NODE_SLOTS (1u << NODE_SHIFT)

/* Levels of nodes above the leaves that PFNBUF_LAYOUT_MAX_FRAMES needs. */
#define LEVELS_MAX 5

/* A leaf with more runs becomes dense, and sparse again with fewer than half of it. */
#define SPARSE_MAX 320

#define DENSE_WORDS (CHUNK_FRAMES / 64)

_Static_assert(UINT64_C(1) << (CHUNK_SHIFT + NODE_SHIFT * LEVELS_MAX) >= PFNBUF_LAYOUT_MAX_FRAMES,
	       "the tree must reach the last frame");

/*
 * A tagged word: SLOT_UNIFORM and a visibility, or a pointer, with SLOT_DENSE if it is to a dense
 * leaf.
 */
typedef uintptr_t slot_t;

#define SLOT_UNIFORM 1u
#define SLOT_DENSE   2u
#define SLOT_TAGS    3u

/* First in all that a slot points to. */
struct head {
	atomic_uint refs;
};

struct node {
	struct head head;
	slot_t slots[NODE_SLOTS];
};

/*
 * Runs in order, each as its first frame << 2 | visibility. The first begins at 0, neighbours
 * differ.
 */
struct sparse {
	struct head head;
	uint16_t n;
	uint16_t cap;
	uint16_t runs[];
};

/*
 * Each frame has a code: bit p of it is the frame's bit in plane p. Codes are handed out as
 * visibilities turn up, so that the usual chunk, which knows two, needs one plane.
 */
struct dense {
	struct head head;
	uint16_t n; /* runs */
	uint8_t planes;
	uint8_t codes;
	uint8_t vis[PFNBUF_VIS_COUNT];	/* of a code below @codes */
	uint8_t code[PFNBUF_VIS_COUNT]; /* of a visibility, or NO_CODE */
	uint64_t bits[];		/* DENSE_WORDS per plane */
};

#define NO_CODE UINT8_MAX

/* Runs by their visibility, and frames. */
struct tally {
	int64_t runs[PFNBUF_VIS_COUNT];
	int64_t frames[PFNBUF_VIS_COUNT];
};

static inline int64_t tally_runs(const struct tally *tally)
{
	return tally->runs[PFNBUF_HOLE] + tally->runs[PFNBUF_SHARED] + tally->runs[PFNBUF_PRIVATE];
}

struct pfnbuf_layout {
	slot_t root;
	uint64_t frames;
	unsigned levels; /* of nodes; 0: the root is a leaf, or uniform */
	unsigned page_shift;
	struct tally tally; /* of the whole tree */
};

/* ---------------------------------------------------------------- slots ----------------------- */

static inline slot_t slot_uniform(enum pfnbuf_vis vis)
{
	return (slot_t)vis << 2 | SLOT_UNIFORM;
}

static inline bool is_uniform(slot_t slot)
{
	return slot & SLOT_UNIFORM;
}

static inline enum pfnbuf_vis uniform_vis(slot_t slot)
{
	return (enum pfnbuf_vis)(slot >> 2);
}

static inline bool is_dense(slot_t slot)
{
	return slot & SLOT_DENSE;
}

static inline void *slot_ptr(slot_t slot)
{
	return (void *)(slot & ~(slot_t)SLOT_TAGS);
}

static inline struct node *slot_node(slot_t slot)
{
	return (struct node *)slot;
}

static inline struct sparse *slot_sparse(slot_t slot)
{
	return (struct sparse *)slot;
}

static inline struct dense *slot_dense(slot_t slot)
{
	return (struct dense *)(slot - SLOT_DENSE);
}

/*
 * True if the caller's layout is the only owner. Acquire: what other owners read came before they
 * let go.
 */
static inline bool is_sole(slot_t slot)
{
	struct head *head = slot_ptr(slot);

	return atomic_load_explicit(&head->refs, memory_order_acquire) == 1;
}

static void slot_ref(slot_t slot)
{
	if (!is_uniform(slot))
		atomic_fetch_add_explicit(&((struct head *)slot_ptr(slot))->refs, 1,
					  memory_order_relaxed);
}

/* Recursion goes down the tree: LEVELS_MAX deep at most. */
static void slot_unref(slot_t slot, unsigned level)
{
	struct head *head = slot_ptr(slot);

	if (is_uniform(slot) || atomic_fetch_sub_explicit(&head->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (unsigned i = 0; level && i < NODE_SLOTS; i++)
		slot_unref(slot_node(slot)->slots[i], level - 1);
	free(head);
}

/* How many frames a slot at this level covers. */
static inline uint64_t level_span(unsigned level)
{
	return UINT64_C(1) << (CHUNK_SHIFT + NODE_SHIFT * level);
}

/* The slot for @frame among those of a node, which are at @level. */
static inline slot_t *node_slot(slot_t node, unsigned level, uint64_t frame)
{
	return &slot_node(node)
			->slots[frame >> (CHUNK_SHIFT + NODE_SHIFT * level) & (NODE_SLOTS - 1)];
}

static inline unsigned chunk_offset(uint64_t frame)
{
	return (unsigned)(frame & (CHUNK_FRAMES - 1));
}

/* ---------------------------------------------------------------- sparse leaves --------------- */

static inline uint16_t run_word(unsigned first, enum pfnbuf_vis vis)
{
	return (uint16_t)(first << 2 | vis);
}

static inline unsigned run_first(unsigned word)
{
	return word >> 2;
}

static inline enum pfnbuf_vis run_vis(unsigned word)
{
	return (enum pfnbuf_vis)(word & 3);
}

/* Where run @i ends. */
static inline unsigned sparse_end(const struct sparse *s, unsigned i)
{
	return i + 1 < s->n ? run_first(s->runs[i + 1]) : CHUNK_FRAMES;
}

/* Eight words of runs, wherever they lie. */
typedef uint16_t words_t __attribute__((vector_size(16), aligned(2), may_alias));
typedef uint64_t quads_t __attribute__((vector_size(16)));

#define WINDOW 32

/* How many of WINDOW ascending words are at most @key. */
static inline unsigned window_rank(const uint16_t *runs, uint16_t key)
{
	const words_t *w = (const words_t *)runs;
	words_t keys = (words_t){ 0 } + key;
	/* A true comparison is -1. */
	words_t count = (words_t){ 0 } - (words_t)(w[0] <= keys) - (words_t)(w[1] <= keys) -
			(words_t)(w[2] <= keys) - (words_t)(w[3] <= keys);
	quads_t quads = (quads_t)count;

	/* The product's highest word is the sum of the four words of a quad. */
	return (unsigned)((quads[0] + quads[1]) * UINT64_C(0x0001000100010001) >> 48);
}

/*
 * The run that holds frame @at. If runs are spread evenly, as conversions are, it is near where it
 * would be with runs of one length: one cache line is fetched instead of one for each step of a
 * search. No branch depends on what is compared, except for whether it is near, for it could not be
 * predicted.
 */
static inline unsigned sparse_find(const struct sparse *s, unsigned at)
{
	const uint16_t *base = s->runs;
	uint16_t key = (uint16_t)(at << 2 | 3);
	unsigned n = s->n;

	if (n > WINDOW) {
		unsigned guess = (n - WINDOW) * at / CHUNK_FRAMES;

		if (base[guess] <= key && (guess + WINDOW == n || base[guess + WINDOW] > key))
			return guess + window_rank(base + guess, key) - 1;
	}
	while (n > 1) {
		const uint16_t *middle = base + n / 2;

		base = *middle <= key ? middle : base;
		n -= n / 2;
	}
	return (unsigned)(base - s->runs);
}

/*
 * A sparse leaf with room for @n runs and some more, as many as the allocator's next step of 16
 * bytes leaves room for.
 */
static struct sparse *sparse_resize(struct sparse *s, unsigned n)
{
	size_t size = sizeof(*s) + (n + n / 2) * sizeof(s->runs[0]);

	size = (size + 7) / 16 * 16 + 8;
	s = realloc(s, size);
	n = (unsigned)((size - sizeof(*s)) / sizeof(s->runs[0]));
	if (s)
		s->cap = (uint16_t)(n < SPARSE_MAX ? n : SPARSE_MAX);
	return s;
}

static struct sparse *sparse_new(unsigned room)
{
	struct sparse *s = sparse_resize(NULL, room);

	if (s) {
		atomic_init(&s->head.refs, 1);
		s->n = 0;
	}
	return s;
}

/*
 * Set frames [first, end), of which @i is the run that holds @first. The caller has made room for
 * two runs more. Changes @tally by what becomes of run beginnings in [first, end] and of frames in
 * [first, end).
 */
static void sparse_set(struct sparse *s, unsigned i, unsigned first, unsigned end,
		       enum pfnbuf_vis vis, struct tally *tally)
{
	unsigned lo = i + (run_first(s->runs[i]) < first);
	unsigned hi = lo;
	unsigned at = first;
	enum pfnbuf_vis before = run_vis(s->runs[i]);
	uint16_t put[2];
	unsigned n = 0;

	while (hi < s->n && run_first(s->runs[hi]) <= end) {
		tally->frames[before] -= run_first(s->runs[hi]) - at;
		at = run_first(s->runs[hi]);
		before = run_vis(s->runs[hi++]);
		tally->runs[before]--;
	}
	tally->frames[before] -= end - at;
	tally->frames[vis] += end - first;

	if (!lo || run_vis(s->runs[lo - 1]) != vis) {
		put[n++] = run_word(first, vis);
		tally->runs[vis]++;
	}
	if (end < CHUNK_FRAMES && before != vis) {
		put[n++] = run_word(end, before);
		tally->runs[before]++;
	}
	if (hi != lo + n)
		memmove(s->runs + lo + n, s->runs + hi, (s->n - hi) * sizeof(s->runs[0]));
	for (unsigned k = 0; k < n; k++)
		s->runs[lo + k] = put[k];
	s->n = (uint16_t)(s->n + n - (hi - lo));
}

/* ---------------------------------------------------------------- dense leaves ---------------- */

/* The bits of word @i that stand for frames in [first, end). */
static inline uint64_t word_mask(unsigned i, unsigned first, unsigned end)
{
	uint64_t mask = UINT64_MAX;

	if (first > i * 64)
		mask = first < i * 64 + 64 ? mask << (first - i * 64) : 0;
	if (end < i * 64 + 64)
		mask &= end > i * 64 ? UINT64_MAX >> (i * 64 + 64 - end) : 0;
	return mask;
}

static inline uint64_t dense_word(const struct dense *d, unsigned plane, unsigned i)
{
	return plane < d->planes ? d->bits[plane * DENSE_WORDS + i] : 0;
}

/* The frames of word @i that have @code, which is below 3. */
static inline uint64_t dense_code_mask(const struct dense *d, unsigned code, unsigned i)
{
	uint64_t low = d->bits[i], high;

	if (d->planes == 1)
		return low ^ (code - UINT64_C(1));
	high = d->bits[DENSE_WORDS + i];
	return code == 0 ? ~(low | high) : code == 1 ? low : high;
}

/*
 * The frames of word @i at which a run begins: those that differ from the frame in front of them,
 * and the first.
 */
static inline uint64_t dense_starts(const struct dense *d, unsigned i)
{
	uint64_t starts = i == 0;

	for (unsigned plane = 0; plane < d->planes; plane++) {
		const uint64_t *word = &d->bits[plane * DENSE_WORDS + i];
		uint64_t carry = i ? word[-1] >> 63 : *word & 1;

		starts |= *word ^ (*word << 1 | carry);
	}
	return starts;
}

static inline enum pfnbuf_vis dense_vis(const struct dense *d, unsigned at)
{
	unsigned low = dense_word(d, 0, at / 64) >> (at % 64) & 1;
	unsigned high = dense_word(d, 1, at / 64) >> (at % 64) & 1;

	return (enum pfnbuf_vis)d->vis[low | high << 1];
}

/* The first frame of the run that holds @at. */
static unsigned dense_first(const struct dense *d, unsigned at)
{
	unsigned i = at / 64;
	uint64_t starts = dense_starts(d, i) & (UINT64_MAX >> (63 - at % 64));

	while (!starts)
		starts = dense_starts(d, --i);
	return i * 64 + 63 - (unsigned)__builtin_clzll(starts);
}

/* The end of the run that holds @at. */
static unsigned dense_end(const struct dense *d, unsigned at)
{
	unsigned i = at / 64;
	uint64_t starts = dense_starts(d, i) & ~(UINT64_MAX >> (63 - at % 64));

	while (!starts) {
		if (++i == DENSE_WORDS)
			return CHUNK_FRAMES;
		starts = dense_starts(d, i);
	}
	return i * 64 + (unsigned)__builtin_ctzll(starts);
}

/* Take the run beginnings in [first, end] and the frames in [first, end) from the tally. */
static void dense_untally(const struct dense *d, unsigned first, unsigned end, struct tally *tally)
{
	unsigned last = (end < CHUNK_FRAMES ? end : end - 1) / 64;

	for (unsigned i = first / 64; i <= last; i++) {
		uint64_t frames = word_mask(i, first, end);
		uint64_t starts = dense_starts(d, i) & word_mask(i, first, end + 1);

		for (unsigned code = 0; code < d->codes; code++) {
			uint64_t mask = dense_code_mask(d, code, i);

			tally->frames[d->vis[code]] -= __builtin_popcountll(mask & frames);
			if (starts)
				tally->runs[d->vis[code]] -= __builtin_popcountll(mask & starts);
		}
	}
}

/* Count a run for @at if one begins there. */
static void dense_tally_start(const struct dense *d, unsigned at, struct tally *tally)
{
	if (dense_starts(d, at / 64) >> (at % 64) & 1)
		tally->runs[dense_vis(d, at)]++;
}

static void dense_fill(struct dense *d, unsigned first, unsigned end, unsigned code)
{
	for (unsigned plane = 0; plane < d->planes; plane++) {
		uint64_t ones = code >> plane & 1 ? UINT64_MAX : 0;

		for (unsigned i = first / 64; i <= (end - 1) / 64; i++) {
			uint64_t *word = &d->bits[plane * DENSE_WORDS + i];
			uint64_t mask = word_mask(i, first, end);

			*word = (*word & ~mask) | (ones & mask);
		}
	}
}

/* As sparse_set(). The caller has seen to it that @vis has a code. */
static void dense_set(struct dense *d, unsigned first, unsigned end, enum pfnbuf_vis vis,
		      struct tally *tally)
{
	int64_t runs = tally_runs(tally);

	dense_untally(d, first, end, tally);
	dense_fill(d, first, end, d->code[vis]);
	tally->frames[vis] += end - first;
	dense_tally_start(d, first, tally);
	if (end < CHUNK_FRAMES)
		dense_tally_start(d, end, tally);
	d->n = (uint16_t)(d->n + tally_runs(tally) - runs);
}

static inline bool dense_has(const struct dense *d, unsigned code, unsigned at)
{
	return dense_code_mask(d, code, at / 64) >> (at % 64) & 1;
}

/* The bits of frames [first, end) in their word; 0 where they are not in one word. */
static inline uint64_t one_word(unsigned first, unsigned end)
{
	return first / 64 == (end - 1) / 64 ? UINT64_MAX >> ((first - end) % 64) << (first % 64)
					    : 0;
}

/* Count what becomes of frames [first, end) that turn: how many runs more there are of each. */
static inline __attribute__((always_inline)) void count_turned(
	struct dense *d, unsigned first, unsigned end, const struct pfnbuf_layout_turn *turn,
	int from_runs, int to_runs, struct tally *tally)
{
	d->n = (uint16_t)(d->n + from_runs + to_runs);
	tally->runs[turn->from] += from_runs;
	tally->runs[turn->to] += to_runs;
	tally->frames[turn->from] -= end - first;
	tally->frames[turn->to] += end - first;
}

/* In a leaf of three visibilities. */
static __attribute__((noinline)) void dense_turn_of_three(struct dense *d, unsigned first,
							  unsigned end,
							  const struct pfnbuf_layout_turn *turn,
							  struct tally *tally)
{
	const unsigned was = d->code[turn->from], is = d->code[turn->to];
	const int from_runs = dense_has(d, was, first - 1) + dense_has(d, was, end) - 1;
	const int to_runs = 1 - dense_has(d, is, first - 1) - dense_has(d, is, end);

	if ((was ^ is) & 1)
		d->bits[first / 64] ^= turn->mask;
	if ((was ^ is) & 2)
		d->bits[DENSE_WORDS + first / 64] ^= turn->mask;
	count_turned(d, first, end, turn, from_runs, to_runs, tally);
}

/*
 * Turn frames of one word, all of one visibility and between others of the leaf, which has codes for
 * both. What is not of the one is of the other: what it gains of an edge, that does.
 */
static inline __attribute__((always_inline)) void dense_turn(struct dense *d, unsigned first,
							     unsigned end,
							     const struct pfnbuf_layout_turn *turn,
							     struct tally *tally)
{
	const uint64_t before = d->bits[(first - 1) / 64], behind = d->bits[end / 64];
	int runs = (int)(before >> (first - 1) % 64 & 1) + (int)(behind >> end % 64 & 1) - 1;

	if (d->planes > 1) {
		dense_turn_of_three(d, first, end, turn, tally);
		return;
	}
	if (!d->code[turn->from])
		runs = -runs;
	d->bits[first / 64] ^= turn->mask;
	count_turned(d, first, end, turn, runs, runs, tally);
}

static struct dense *dense_new(unsigned planes)
{
	struct dense *d = malloc(sizeof(*d) + planes * DENSE_WORDS * sizeof(d->bits[0]));

	if (!d)
		return NULL;
	atomic_init(&d->head.refs, 1);
	d->n = 0;
	d->planes = (uint8_t)planes;
	d->codes = 0;
	memset(d->vis, 0, sizeof(d->vis));
	memset(d->code, NO_CODE, sizeof(d->code));
	return d;
}

/* The most codes that so many planes hold. */
static unsigned dense_codes_max(unsigned planes)
{
	return planes == 1 ? 2 : PFNBUF_VIS_COUNT;
}

static unsigned dense_code(struct dense *d, enum pfnbuf_vis vis)
{
	if (d->code[vis] == NO_CODE) {
		d->code[vis] = d->codes;
		d->vis[d->codes++] = (uint8_t)vis;
	}
	return d->code[vis];
}

/* A copy with @planes planes, not fewer than @d has. */
static struct dense *dense_clone(const struct dense *d, unsigned planes)
{
	size_t plane_size = DENSE_WORDS * sizeof(d->bits[0]);
	struct dense *clone = dense_new(planes);

	if (!clone)
		return NULL;
	clone->n = d->n;
	clone->codes = d->codes;
	memcpy(clone->vis, d->vis, sizeof(d->vis));
	memcpy(clone->code, d->code, sizeof(d->code));
	memcpy(clone->bits, d->bits, d->planes * plane_size);
	memset(clone->bits + d->planes * DENSE_WORDS, 0, (planes - d->planes) * plane_size);
	return clone;
}

/* ---------------------------------------------------------------- leaves ---------------------- */

static unsigned sparse_codes(const struct sparse *s)
{
	unsigned seen = 0;

	for (unsigned i = 0; i < s->n; i++)
		seen |= 1u << run_vis(s->runs[i]);
	return (unsigned)__builtin_popcount(seen);
}

static struct dense *sparse_to_dense(const struct sparse *s)
{
	struct dense *d = dense_new(sparse_codes(s) > dense_codes_max(1) ? 2 : 1);

	if (!d)
		return NULL;
	/* Every bit is filled in below, but compilers merge bits in ways that valgrind cannot follow. */
	memset(d->bits, 0, d->planes * DENSE_WORDS * sizeof(d->bits[0]));
	d->n = s->n;
	for (unsigned i = 0; i < s->n; i++)
		dense_fill(d, run_first(s->runs[i]), sparse_end(s, i),
			   dense_code(d, run_vis(s->runs[i])));
	return d;
}

static struct sparse *dense_to_sparse(const struct dense *d)
{
	struct sparse *s = sparse_new(d->n);

	for (unsigned at = 0; s && at < CHUNK_FRAMES; at = dense_end(d, at))
		s->runs[s->n++] = run_word(at, dense_vis(d, at));
	return s;
}

/* Put another leaf in a slot that was a leaf or uniform. */
static int leaf_replace(slot_t *slot, void *leaf, unsigned tag)
{
	if (!leaf)
		return -ENOMEM;
	slot_unref(*slot, 0);
	*slot = (slot_t)leaf | tag;
	return 0;
}

static int uniform_to_sparse(slot_t *slot)
{
	struct sparse *s = sparse_new(3);

	if (s)
		s->runs[s->n++] = run_word(0, uniform_vis(*slot));
	return leaf_replace(slot, s, 0);
}

static int sparse_ready(slot_t *slot)
{
	struct sparse *s = slot_sparse(*slot);
	unsigned room = s->n + 2u;
	struct sparse *copy;

	if (room > SPARSE_MAX)
		return leaf_replace(slot, sparse_to_dense(s), SLOT_DENSE);
	if (!is_sole(*slot)) {
		copy = sparse_new(room);
		if (copy) {
			copy->n = s->n;
			memcpy(copy->runs, s->runs, s->n * sizeof(s->runs[0]));
		}
		return leaf_replace(slot, copy, 0);
	}
	if (room <= s->cap)
		return 0;
	s = sparse_resize(s, room);
	if (!s)
		return -ENOMEM;
	*slot = (slot_t)s;
	return 0;
}

static int dense_ready(slot_t *slot, enum pfnbuf_vis vis)
{
	struct dense *d = slot_dense(*slot);
	unsigned planes = d->planes;
	int ret = 0;

	if (d->code[vis] == NO_CODE && d->codes == dense_codes_max(planes))
		planes++;
	if (planes > d->planes || !is_sole(*slot))
		ret = leaf_replace(slot, dense_clone(d, planes), SLOT_DENSE);
	if (!ret)
		dense_code(slot_dense(*slot), vis);
	return ret;
}

/*
 * Make the slot a leaf of this layout alone in which any range can be set to @vis without an
 * allocation.
 */
static int leaf_ready(slot_t *slot, enum pfnbuf_vis vis)
{
	int ret = 0;

	if (is_uniform(*slot))
		return uniform_to_sparse(slot);
	if (!is_dense(*slot))
		ret = sparse_ready(slot);
	if (!ret && is_dense(*slot))
		ret = dense_ready(slot, vis);
	return ret;
}

static void leaf_set(slot_t slot, unsigned first, unsigned end, enum pfnbuf_vis vis,
		     struct tally *tally)
{
	if (is_dense(slot))
		dense_set(slot_dense(slot), first, end, vis, tally);
	else
		sparse_set(slot_sparse(slot), sparse_find(slot_sparse(slot), first), first, end,
			   vis, tally);
}

/* True if leaf_settle() has something to do. */
static inline bool leaf_is_unsettled(slot_t slot)
{
	if (is_dense(slot))
		return slot_dense(slot)->n < SPARSE_MAX / 2;
	return slot_sparse(slot)->n == 1 || slot_sparse(slot)->cap > 16 + 4 * slot_sparse(slot)->n;
}

/*
 * Bring a leaf of this layout alone into the form that suits what is in it now. Without memory it
 * stays as it is.
 */
static void leaf_settle(slot_t *slot)
{
	struct sparse *s;

	if (!leaf_is_unsettled(*slot))
		return;
	if (is_dense(*slot) && leaf_replace(slot, dense_to_sparse(slot_dense(*slot)), 0) < 0)
		return;
	if (slot_sparse(*slot)->n == 1) {
		enum pfnbuf_vis vis = run_vis(slot_sparse(*slot)->runs[0]);

		slot_unref(*slot, 0);
		*slot = slot_uniform(vis);
		return;
	}
	s = leaf_is_unsettled(*slot) ? sparse_resize(slot_sparse(*slot), slot_sparse(*slot)->n)
				     : NULL;
	if (s)
		*slot = (slot_t)s;
}

/* The run that holds frame @at of a chunk, as far as the chunk goes. */
static inline enum pfnbuf_vis leaf_run(slot_t slot, unsigned at, unsigned *first, unsigned *end)
{
	if (is_uniform(slot)) {
		*first = 0;
		*end = CHUNK_FRAMES;
		return uniform_vis(slot);
	}
	if (is_dense(slot)) {
		const struct dense *d = slot_dense(slot);

		*first = dense_first(d, at);
		*end = dense_end(d, at);
		return dense_vis(d, at);
	}

	const struct sparse *s = slot_sparse(slot);
	unsigned i = sparse_find(s, at);

	*first = run_first(s->runs[i]);
	*end = sparse_end(s, i);
	return run_vis(s->runs[i]);
}

static inline enum pfnbuf_vis leaf_vis(slot_t slot, unsigned at)
{
	if (is_uniform(slot))
		return uniform_vis(slot);
	if (is_dense(slot))
		return dense_vis(slot_dense(slot), at);
	return run_vis(slot_sparse(slot)->runs[sparse_find(slot_sparse(slot), at)]);
}

/* True if two leaves are the same by a quick look; false may mean that it takes a closer one. */
static bool leaf_looks_same(slot_t a, slot_t b)
{
	if (is_uniform(a) || is_uniform(b) || is_dense(a) != is_dense(b))
		return a == b;
	if (is_dense(a)) {
		const struct dense *da = slot_dense(a), *db = slot_dense(b);

		return da->planes == db->planes && !memcmp(da->vis, db->vis, sizeof(da->vis)) &&
		       !memcmp(da->bits, db->bits, da->planes * DENSE_WORDS * sizeof(da->bits[0]));
	}

	const struct sparse *sa = slot_sparse(a), *sb = slot_sparse(b);

	return sa->n == sb->n && !memcmp(sa->runs, sb->runs, sa->n * sizeof(sa->runs[0]));
}

/* ---------------------------------------------------------------- the tree -------------------- */

/*
 * Leaves lie anywhere in memory, so no processor fetches their cache lines ahead, or the second
 * with the first.
 */
static inline void prefetch_leaf(const slot_t *slot, unsigned lines)
{
	const char *leaf = is_uniform(*slot) ? (const char *)slot : slot_ptr(*slot);

	for (unsigned i = 0; i < lines; i++)
		__builtin_prefetch(leaf + (size_t)i * 64);
}

/* A leaf or uniform slot, and the frames that it covers. */
struct spot {
	slot_t slot;
	uint64_t first;
	uint64_t end;
};

static inline struct spot look_up(const struct pfnbuf_layout *l, uint64_t frame)
{
	unsigned level = l->levels;
	slot_t slot = l->root;
	uint64_t span;

	while (level && !is_uniform(slot))
		slot = *node_slot(slot, --level, frame);
	span = level_span(level);
	frame &= ~(span - 1);
	return (struct spot){ .slot = slot, .first = frame, .end = frame + span };
}

/* The run that holds @frame, as far as its spot goes. */
static enum pfnbuf_vis spot_run(const struct spot *spot, uint64_t frame, uint64_t *first,
				uint64_t *end)
{
	unsigned leaf_first, leaf_end;
	enum pfnbuf_vis vis;

	if (is_uniform(spot->slot)) {
		*first = spot->first;
		*end = spot->end;
		return uniform_vis(spot->slot);
	}
	vis = leaf_run(spot->slot, chunk_offset(frame), &leaf_first, &leaf_end);
	*first = spot->first + leaf_first;
	*end = spot->first + leaf_end;
	return vis;
}

static inline enum pfnbuf_vis vis_at(const struct pfnbuf_layout *l, uint64_t frame)
{
	return leaf_vis(look_up(l, frame).slot, chunk_offset(frame));
}

/* How many frames the tree covers: the layout's and those behind its end. */
static inline uint64_t tree_frames(const struct pfnbuf_layout *l)
{
	return level_span(l->levels);
}

/* Where the run of @vis that reaches @frame from above really begins. */
static uint64_t run_reach_down(const struct pfnbuf_layout *l, uint64_t frame, enum pfnbuf_vis vis)
{
	uint64_t first = frame, end;

	while (frame) {
		struct spot spot = look_up(l, frame - 1);

		if (spot_run(&spot, frame - 1, &first, &end) != vis)
			return frame;
		frame = first;
		if (first > spot.first)
			break;
	}
	return frame;
}

/* Where the run of @vis that reaches @frame from below really ends; not further than @limit. */
static uint64_t run_reach_up(const struct pfnbuf_layout *l, uint64_t frame, enum pfnbuf_vis vis,
			     uint64_t limit)
{
	uint64_t first, end;

	while (frame < limit) {
		struct spot spot = look_up(l, frame);

		if (spot_run(&spot, frame, &first, &end) != vis)
			return frame;
		frame = end;
		if (end < spot.end)
			break;
	}
	return frame < limit ? frame : limit;
}

/* Make a slot at @level, above 0, a node of this layout alone. */
static int node_ready(slot_t *slot, unsigned level)
{
	struct node *node;

	if (!is_uniform(*slot) && is_sole(*slot))
		return 0;
	node = malloc(sizeof(*node));
	if (!node)
		return -ENOMEM;
	atomic_init(&node->head.refs, 1);
	for (unsigned i = 0; i < NODE_SLOTS; i++) {
		node->slots[i] = is_uniform(*slot) ? *slot : slot_node(*slot)->slots[i];
		slot_ref(node->slots[i]);
	}
	slot_unref(*slot, level);
	*slot = (slot_t)node;
	return 0;
}

/* A uniform node is a uniform slot. */
static bool node_collapse(slot_t *slot)
{
	const struct node *node = slot_node(*slot);
	slot_t uniform = node->slots[0];

	if (!is_uniform(uniform))
		return false;
	for (unsigned i = 1; i < NODE_SLOTS; i++) {
		if (node->slots[i] != uniform)
			return false;
	}
	slot_unref(*slot, 1);
	*slot = uniform;
	return true;
}

/*
 * Prepare [first, end) for fill_tree() on the way down to @frame, one of its edges: own what it
 * changes, make room in what it edits. No visibility changes.
 */
static int ready_edge(struct pfnbuf_layout *l, uint64_t frame, uint64_t first, uint64_t end,
		      enum pfnbuf_vis vis)
{
	slot_t *slot = &l->root;

	for (unsigned level = l->levels;; level--) {
		uint64_t span = level_span(level);
		uint64_t slot_first = frame & ~(span - 1);
		int ret;

		if (first <= slot_first && slot_first + span <= end)
			return 0; /* replaced whole */
		if (*slot == slot_uniform(vis))
			return 0;
		if (!level)
			return leaf_ready(slot, vis);
		ret = node_ready(slot, level);
		if (ret < 0)
			return ret;
		slot = node_slot(*slot, level - 1, frame);
	}
}

/*
 * Set [first, end) below a slot that begins at @base. Cannot fail after ready_edge(). LEVELS_MAX
 * deep at most.
 */
static void fill_tree(slot_t *slot, unsigned level, uint64_t base, uint64_t first, uint64_t end,
		      enum pfnbuf_vis vis)
{
	uint64_t span = level_span(level);

	if (first < base)
		first = base;
	if (end > base + span)
		end = base + span;
	if (*slot == slot_uniform(vis))
		return;
	if (end - first == span) {
		slot_unref(*slot, level);
		*slot = slot_uniform(vis);
	} else if (!level) {
		leaf_set(*slot, (unsigned)(first - base), (unsigned)(end - base), vis,
			 &(struct tally){ 0 });
	} else {
		span = level_span(level - 1);
		for (uint64_t at = first & ~(span - 1); at < end; at += span)
			fill_tree(node_slot(*slot, level - 1, at), level - 1, at, first, end, vis);
	}
}

/*
 * Bring the leaf that holds @frame, and the nodes above it, into the form that suits what is in
 * them.
 */
static void tidy(struct pfnbuf_layout *l, uint64_t frame)
{
	slot_t *path[LEVELS_MAX + 1];
	unsigned level = l->levels;

	path[level] = &l->root;
	for (; level && !is_uniform(*path[level]) && is_sole(*path[level]); level--)
		path[level - 1] = node_slot(*path[level], level - 1, frame);
	if (!level && !is_uniform(*path[0]) && is_sole(*path[0]))
		leaf_settle(path[0]);
	while (level < l->levels && is_uniform(*path[level]) && node_collapse(path[level + 1]))
		level++;
}

/*
 * Add @sign times the runs that begin in [first, end] and the frames in [first, end) to the
 * layout's tally.
 */
static void tally_range(struct pfnbuf_layout *l, uint64_t first, uint64_t end, int sign)
{
	unsigned before = first ? vis_at(l, first - 1) : PFNBUF_VIS_COUNT;
	uint64_t run_first, run_end;

	for (uint64_t at = first; at <= end && at < tree_frames(l); at = run_end) {
		struct spot spot = look_up(l, at);
		enum pfnbuf_vis vis = spot_run(&spot, at, &run_first, &run_end);

		if (vis != before)
			l->tally.runs[vis] += sign;
		if (at < end)
			l->tally.frames[vis] +=
				sign * (int64_t)((run_end < end ? run_end : end) - at);
		before = vis;
	}
}

/* Prepare both edges. Where that fails, what was prepared is tidied up. */
static int ready_edges(struct pfnbuf_layout *l, uint64_t first, uint64_t end, enum pfnbuf_vis vis)
{
	int ret = ready_edge(l, first, first, end, vis);

	if (!ret && first >> CHUNK_SHIFT != (end - 1) >> CHUNK_SHIFT)
		ret = ready_edge(l, end - 1, first, end, vis);
	if (ret < 0) {
		tidy(l, first);
		tidy(l, end - 1);
	}
	return ret;
}

/* Set any range whose edges are ready; nothing is tidied up. */
static void set_ready(struct pfnbuf_layout *l, uint64_t first, uint64_t end, enum pfnbuf_vis vis)
{
	tally_range(l, first, end, -1);
	fill_tree(&l->root, l->levels, 0, first, end, vis);
	tally_range(l, first, end, 1);
}

/* Set any range. */
static int set_across(struct pfnbuf_layout *l, uint64_t first, uint64_t end, enum pfnbuf_vis vis)
{
	int ret;

	if (run_reach_up(l, first, vis, end) == end)
		return 0;
	ret = ready_edges(l, first, end, vis);
	if (ret < 0)
		return ret;
	set_ready(l, first, end, vis);
	tidy(l, first);
	tidy(l, end - 1);
	return 0;
}

/*
 * True for a part of a chunk that nothing outside the chunk has a part in: neither does it end nor
 * begin where two chunks meet.
 */
static inline bool is_inside(const struct pfnbuf_layout *l, uint64_t first, uint64_t end)
{
	const unsigned at = chunk_offset(first);
	const uint64_t at_end = at + (end - first);

	if (at && at_end < CHUNK_FRAMES)
		return true;
	return at ? at_end == CHUNK_FRAMES && end == tree_frames(l)
		  : !first && at_end < CHUNK_FRAMES;
}

/* The slot of the chunk that holds @frame; NULL where a node above it is not this layout's alone. */
static inline slot_t *own_slot(struct pfnbuf_layout *l, uint64_t frame)
{
	slot_t *slot = &l->root;

	for (unsigned level = l->levels; level; level--) {
		if (is_uniform(*slot) || !is_sole(*slot))
			return NULL;
		slot = node_slot(*slot, level - 1, frame);
	}
	return slot;
}

/* Whether two runs more fit into a leaf of this layout alone. */
static inline bool sparse_has_room(const struct sparse *s)
{
	return s->n + 2 <= s->cap;
}

/* Set frames inside a chunk that is a sparse leaf of this layout alone. */
static int set_in_sparse(struct pfnbuf_layout *l, slot_t *slot, unsigned first, unsigned end,
			 enum pfnbuf_vis vis)
{
	const struct sparse *s = slot_sparse(*slot);
	const unsigned i = sparse_find(s, first);
	int ret = 0;

	if (run_vis(s->runs[i]) == vis && sparse_end(s, i) >= end)
		return 0;
	if (!sparse_has_room(s))
		ret = leaf_ready(slot, vis);
	if (ret < 0)
		return ret;
	if (is_dense(*slot))
		dense_set(slot_dense(*slot), first, end, vis, &l->tally);
	else
		sparse_set(slot_sparse(*slot), i, first, end, vis, &l->tally);
	return 0;
}

/* As set_in_sparse(), of a dense one. */
static int set_in_dense(struct pfnbuf_layout *l, slot_t *slot, unsigned first, unsigned end,
			enum pfnbuf_vis vis)
{
	int ret = dense_ready(slot, vis);
	struct pfnbuf_layout_turn turn = {
		.to = vis,
		.mask = first && end < CHUNK_FRAMES ? one_word(first, end) : 0,
	};
	struct dense *d = slot_dense(*slot);

	if (ret < 0)
		return ret;
	turn.from = dense_vis(d, first);
	if (turn.from == vis && end - first == 1)
		return 0;
	if (turn.mask && turn.from != vis &&
	    !(~dense_code_mask(d, d->code[turn.from], first / 64) & turn.mask))
		dense_turn(d, first, end, &turn, &l->tally);
	else
		dense_set(d, first, end, vis, &l->tally);
	return 0;
}

/* Set a range that is inside a chunk: the usual case, made quick. */
static int set_inside(struct pfnbuf_layout *l, uint64_t first, uint64_t end, enum pfnbuf_vis vis)
{
	const unsigned at = chunk_offset(first), at_end = at + (unsigned)(end - first);
	slot_t *slot = own_slot(l, first);
	int ret = 0;

	if (slot)
		prefetch_leaf(slot, 4);
	if (slot && is_uniform(*slot)) {
		if (*slot == slot_uniform(vis))
			return 0;
		ret = uniform_to_sparse(slot);
	} else if (!slot || !is_sole(*slot)) {
		if (run_reach_up(l, first, vis, end) == end)
			return 0;
		ret = ready_edges(l, first, end, vis);
		slot = own_slot(l, first);
	}
	if (ret < 0)
		return ret;
	ret = is_dense(*slot) ? set_in_dense(l, slot, at, at_end, vis)
			      : set_in_sparse(l, slot, at, at_end, vis);
	if (leaf_is_unsettled(*slot))
		tidy(l, first);
	return ret;
}

/* ---------------------------------------------------------------- the interface --------------- */

static bool is_vis(enum pfnbuf_vis vis)
{
	return (unsigned)vis < PFNBUF_VIS_COUNT;
}

static bool is_aligned(const struct pfnbuf_layout *l, uint64_t bytes)
{
	return !(bytes & ((UINT64_C(1) << l->page_shift) - 1));
}

/* Bytes in frames. What is not aligned is more than any layout has. */
static inline uint64_t to_frames(const struct pfnbuf_layout *l, uint64_t bytes)
{
	return bytes >> l->page_shift | bytes << (-l->page_shift & 63);
}

/* Check a range in bytes and turn it into frames. */
static inline int range_frames(const struct pfnbuf_layout *l, uint64_t offset, uint64_t length,
			       uint64_t *first, uint64_t *end)
{
	const uint64_t at = to_frames(l, offset), n = to_frames(l, length);

	if (at >= l->frames || n - 1 >= l->frames - at)
		return !length || !is_aligned(l, offset | length) ? -EINVAL : -ERANGE;
	*first = at;
	*end = at + n;
	return 0;
}

static int check_geometry(uint64_t size, uint64_t page_size)
{
	if (page_size < 4096 || page_size & (page_size - 1) || !size || size & (page_size - 1))
		return -EINVAL;
	return size / page_size > PFNBUF_LAYOUT_MAX_FRAMES ? -E2BIG : 0;
}

int pfnbuf_layout_new(uint64_t size, uint64_t page_size, enum pfnbuf_vis vis,
		      struct pfnbuf_layout **layoutp)
{
	int ret = is_vis(vis) ? check_geometry(size, page_size) : -EINVAL;
	struct pfnbuf_layout *l;

	if (ret < 0)
		return ret;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->page_shift = (unsigned)__builtin_ctzll(page_size);
	l->frames = size >> l->page_shift;
	while (level_span(l->levels) < l->frames)
		l->levels++;
	l->root = slot_uniform(vis);
	l->tally.runs[vis] = 1;
	l->tally.frames[vis] = (int64_t)tree_frames(l);
	*layoutp = l;
	return 0;
}

int pfnbuf_layout_copy(const struct pfnbuf_layout *layout, struct pfnbuf_layout **copyp)
{
	struct pfnbuf_layout *copy = malloc(sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	*copy = *layout;
	slot_ref(copy->root);
	*copyp = copy;
	return 0;
}

struct pfnbuf_layout *pfnbuf_layout_free(struct pfnbuf_layout *layout)
{
	if (layout) {
		slot_unref(layout->root, layout->levels);
		free(layout);
	}
	return NULL;
}

static void freep(struct pfnbuf_layout **layoutp)
{
	pfnbuf_layout_free(*layoutp);
}

/* A layout that is freed with its scope, unless hand_over() passes it on. */
#define _cleanup_layout_ __attribute__((cleanup(freep)))

static int hand_over(struct pfnbuf_layout **from, struct pfnbuf_layout **to)
{
	*to = *from;
	*from = NULL;
	return 0;
}

uint64_t pfnbuf_layout_get_size(const struct pfnbuf_layout *layout)
{
	return layout->frames << layout->page_shift;
}

uint64_t pfnbuf_layout_get_page_size(const struct pfnbuf_layout *layout)
{
	return UINT64_C(1) << layout->page_shift;
}

int pfnbuf_layout_set(struct pfnbuf_layout *layout, uint64_t offset, uint64_t length,
		      enum pfnbuf_vis vis)
{
	uint64_t first, end;
	int ret = is_vis(vis) ? range_frames(layout, offset, length, &first, &end) : -EINVAL;

	if (ret < 0)
		return ret;
	if (end == layout->frames)
		end = tree_frames(layout);
	return is_inside(layout, first, end) ? set_inside(layout, first, end, vis)
					     : set_across(layout, first, end, vis);
}

/* Make the leaf in which frames of one word turn a dense one with codes for both. */
static int prepare_leaf(struct pfnbuf_layout *l, struct pfnbuf_layout_turn *turn)
{
	slot_t *slot = own_slot(l, turn->first);
	int ret = 0;

	if (!is_dense(*slot))
		ret = leaf_replace(slot, sparse_to_dense(slot_sparse(*slot)), SLOT_DENSE);
	if (!ret)
		ret = dense_ready(slot, turn->to);
	if (ret < 0) {
		tidy(l, turn->first);
		return ret;
	}
	turn->leaf = slot_dense(*slot);
	return 0;
}

/* Whether the frames in front of @first and at @end are in the same chunk. */
static inline bool is_amid(uint64_t first, uint64_t end)
{
	return !(((first - 1) ^ end) >> CHUNK_SHIFT);
}

/* Whether all of a turn is in the layout, or what is wrong with it. */
static int check_turn(const struct pfnbuf_layout *l, const struct pfnbuf_layout_turn *turn)
{
	const uint64_t n = turn->end - turn->first;

	/* What is not aligned has its lowest bits on top. */
	if (!n || (turn->first | n) >> (64 - l->page_shift))
		return -EINVAL;
	return turn->first >= l->frames || n > l->frames - turn->first ? -ERANGE : 0;
}

/* Prepare any turn: what it takes to make it quick the next time, or to make it at all. */
static __attribute__((noinline)) int prepare_turn(struct pfnbuf_layout *l,
						  struct pfnbuf_layout_turn *turn)
{
	int ret = check_turn(l, turn);

	if (ret < 0)
		return ret;
	turn->leaf = NULL;
	turn->mask = 0;
	if (turn->end == l->frames)
		turn->end = tree_frames(l);
	if (run_reach_up(l, turn->first, turn->from, turn->end) < turn->end)
		return 0;
	if (is_amid(turn->first, turn->end))
		turn->mask = one_word(chunk_offset(turn->first), chunk_offset(turn->end));
	ret = ready_edges(l, turn->first, turn->end, turn->to);
	if (!ret && turn->mask)
		ret = prepare_leaf(l, turn);
	return ret < 0 ? ret : 1;
}

/*
 * The usual turn, made quick: of frames in a word of a dense leaf that is the layout's alone. A leaf
 * of which a word turns becomes dense, however few its runs are, and stays it until it is set: what
 * turns will turn again.
 */
int pfnbuf_layout_prepare_turn(struct pfnbuf_layout *layout, uint64_t offset, uint64_t length,
			       enum pfnbuf_vis from, enum pfnbuf_vis to,
			       struct pfnbuf_layout_turn *turn)
{
	const uint64_t first = to_frames(layout, offset), n = to_frames(layout, length);
	const uint64_t end = first + n;
	struct dense *d;
	slot_t *slot;

	turn->from = from;
	turn->to = to;
	turn->first = first;
	turn->end = end;
	if (n - 1 >= 64 - first % 64 || end >= layout->frames || !is_amid(first, end))
		return prepare_turn(layout, turn);
	slot = own_slot(layout, first);
	if (!slot || !is_dense(*slot) || !is_sole(*slot))
		return prepare_turn(layout, turn);
	d = slot_dense(*slot);
	if ((d->code[from] | d->code[to]) == NO_CODE)
		return prepare_turn(layout, turn);
	turn->leaf = d;
	turn->mask = UINT64_MAX >> (64 - n) << (first % 64);
	return !(~dense_code_mask(d, d->code[from], chunk_offset(first) / 64) & turn->mask);
}

void pfnbuf_layout_turn(struct pfnbuf_layout *layout, const struct pfnbuf_layout_turn *turn)
{
	const unsigned first = chunk_offset(turn->first);

	if (turn->leaf)
		dense_turn(turn->leaf, first, first + (unsigned)(turn->end - turn->first), turn,
			   &layout->tally);
	else
		set_ready(layout, turn->first, turn->end, turn->to);
}

int pfnbuf_layout_get(const struct pfnbuf_layout *layout, uint64_t offset, struct pfnbuf_run *run)
{
	uint64_t frame = offset >> layout->page_shift;
	uint64_t first, end;
	enum pfnbuf_vis vis;
	struct spot spot;

	if (frame >= layout->frames)
		return -ERANGE;
	if (!run)
		return (int)vis_at(layout, frame);
	spot = look_up(layout, frame);
	vis = spot_run(&spot, frame, &first, &end);
	if (first == spot.first)
		first = run_reach_down(layout, first, vis);
	if (end == spot.end || end > layout->frames)
		end = run_reach_up(layout, end, vis, layout->frames);
	run->offset = first << layout->page_shift;
	run->length = (end - first) << layout->page_shift;
	run->vis = vis;
	return (int)vis;
}

int pfnbuf_layout_test(const struct pfnbuf_layout *layout, uint64_t offset, uint64_t length,
		       enum pfnbuf_vis vis, uint64_t *where)
{
	uint64_t first, end, same;
	int ret = is_vis(vis) ? range_frames(layout, offset, length, &first, &end) : -EINVAL;

	if (ret < 0)
		return ret;
	same = run_reach_up(layout, first, vis, end);
	if (same == end)
		return 1;
	if (where)
		*where = same << layout->page_shift;
	return 0;
}

void pfnbuf_layout_count(const struct pfnbuf_layout *layout, struct pfnbuf_layout_count *count)
{
	const enum pfnbuf_vis last = vis_at(layout, layout->frames - 1);

	for (unsigned vis = 0; vis < PFNBUF_VIS_COUNT; vis++) {
		count->runs[vis] = (uint64_t)layout->tally.runs[vis];
		count->frames[vis] = (uint64_t)layout->tally.frames[vis];
	}
	count->frames[last] -= tree_frames(layout) - layout->frames;
}

/* ---------------------------------------------------------------- iteration ------------------- */

/*
 * Where runs go, and the one that is still open: it begins at @offset and ends where another
 * visibility begins. Passed and returned by value, so that it lives in registers from one chunk to
 * the next.
 */
struct run_writer {
	struct pfnbuf_run *next;
	struct pfnbuf_run *end;
	uint64_t page_size;
	uint64_t offset;
	enum pfnbuf_vis vis;
};

/* End the open run at @frame, and open one of @vis. */
static inline struct run_writer next_run(struct run_writer w, uint64_t frame, enum pfnbuf_vis vis)
{
	uint64_t end = frame * w.page_size;

	w.next->offset = w.offset;
	w.next->length = end - w.offset;
	w.next->vis = w.vis;
	w.next++;
	w.offset = end;
	w.vis = vis;
	return w;
}

static inline struct run_writer write_sparse(struct run_writer w, const struct sparse *s,
					     uint64_t base, unsigned at)
{
	unsigned i = at ? sparse_find(s, at) : 0;
	const uint16_t *run = &s->runs[i + 1], *end = &s->runs[s->n];

	if (run_vis(s->runs[i]) != w.vis)
		w = next_run(w, base + at, run_vis(s->runs[i]));
	if (end - run > w.end - w.next)
		end = run + (w.end - w.next);
	for (; run < end; run++)
		w = next_run(w, base + run_first(*run), run_vis(*run));
	return w;
}

static struct run_writer write_dense(struct run_writer w, const struct dense *d, uint64_t base,
				     unsigned at)
{
	if (dense_vis(d, at) != w.vis)
		w = next_run(w, base + at, dense_vis(d, at));
	for (unsigned i = at / 64; i < DENSE_WORDS; i++) {
		uint64_t starts = dense_starts(d, i) & word_mask(i, at + 1, CHUNK_FRAMES);

		for (; starts; starts &= starts - 1) {
			unsigned first = i * 64 + (unsigned)__builtin_ctzll(starts);

			if (w.next == w.end)
				return w;
			w = next_run(w, base + first, dense_vis(d, first));
		}
	}
	return w;
}

/*
 * The slot that covers a frame and those to the right of it in its node, if they are of chunks.
 * @edges has a bit for each at which a run may begin: not for a uniform one that continues its
 * neighbour. Most are such, and which are is not to be predicted: looking at all of them would cost
 * more than at the rest. What begins at frame @end or behind it is left out.
 */
struct row {
	const slot_t *slots;
	uint64_t edges;
	uint64_t first; /* of the first slot */
	uint64_t end;	/* of the last */
};

static struct row look_up_row(const struct pfnbuf_layout *l, uint64_t frame, uint64_t end)
{
	const slot_t *slot = &l->root;
	unsigned level = l->levels, n = 1;
	struct row row;

	while (level && !is_uniform(*slot))
		slot = node_slot(*slot, --level, frame);
	row.slots = slot;
	row.edges = 1;
	row.first = frame & ~(level_span(level) - 1);
	if (!level && l->levels)
		n = NODE_SLOTS - (frame >> CHUNK_SHIFT & (NODE_SLOTS - 1));
	if (end - row.first < (uint64_t)n * CHUNK_FRAMES)
		n = (unsigned)((end - row.first - 1) >> CHUNK_SHIFT) + 1;
	for (unsigned i = 1; i < n; i++)
		row.edges |= (uint64_t)(!is_uniform(slot[i]) | (slot[i] != slot[i - 1])) << i;
	row.end = row.first + n * level_span(level);
	return row;
}

/* Write the runs of a row from frame @at, which is in its first slot. */
static struct run_writer write_row(struct run_writer w, const struct row *row, uint64_t at)
{
	uint64_t edges = row->edges;

	while (edges && w.next < w.end) {
		unsigned i = (unsigned)__builtin_ctzll(edges);
		uint64_t base = row->first + (uint64_t)i * CHUNK_FRAMES;
		unsigned from = i ? 0 : chunk_offset(at);
		slot_t slot = row->slots[i];

		edges &= edges - 1;
		if (edges)
			prefetch_leaf(&row->slots[__builtin_ctzll(edges)], 2);
		if (is_uniform(slot))
			w = uniform_vis(slot) == w.vis
				    ? w
				    : next_run(w, i ? base : at, uniform_vis(slot));
		else if (is_dense(slot))
			w = write_dense(w, slot_dense(slot), base, from);
		else
			w = write_sparse(w, slot_sparse(slot), base, from);
	}
	return w;
}

static int check_cursor(const struct pfnbuf_layout *l, uint64_t pos, int max)
{
	if (max < 1 || !is_aligned(l, pos))
		return -EINVAL;
	return pos > l->frames << l->page_shift ? -ERANGE : 0;
}

static int check_cursor_to(const struct pfnbuf_layout *l, uint64_t pos, uint64_t end, int max)
{
	int ret = check_cursor(l, pos, max);

	return ret < 0 ? ret : check_cursor(l, end, max);
}

int pfnbuf_layout_next_to(const struct pfnbuf_layout *layout, uint64_t *pos, uint64_t end,
			  struct pfnbuf_run *runs, int max)
{
	int ret = check_cursor_to(layout, *pos, end, max);
	uint64_t at = *pos >> layout->page_shift, last = end >> layout->page_shift;
	struct run_writer w = {
		.next = runs,
		.end = runs + (ret < 0 ? 0 : max),
		.page_size = UINT64_C(1) << layout->page_shift,
		.offset = *pos,
	};
	struct row row;

	if (ret < 0 || at >= last)
		return ret;
	row = look_up_row(layout, at, last);
	w.vis = leaf_vis(*row.slots, chunk_offset(at));
	w = write_row(w, &row, at);
	for (at = row.end; at < last && w.next < w.end; at = row.end) {
		row = look_up_row(layout, at, last);
		w = write_row(w, &row, at);
	}
	if (w.next < w.end)
		w = next_run(w, at < layout->frames ? at : layout->frames, w.vis);
	*pos = w.next[-1].offset + w.next[-1].length;
	return (int)(w.next - runs);
}

int pfnbuf_layout_next(const struct pfnbuf_layout *layout, uint64_t *pos, struct pfnbuf_run *runs,
		       int max)
{
	return pfnbuf_layout_next_to(layout, pos, pfnbuf_layout_get_size(layout), runs, max);
}

/* ---------------------------------------------------------------- two layouts ----------------- */

/* As struct run_writer. The open stretch is no change while both sides agree. */
struct change_writer {
	struct pfnbuf_change *changes;
	int n;
	int max;
	unsigned page_shift;
	enum pfnbuf_vis from;
	enum pfnbuf_vis to;
	uint64_t first;
};

static void writer_close_change(struct change_writer *w, uint64_t end)
{
	if (w->from == w->to || w->n == w->max)
		return;
	w->changes[w->n++] = (struct pfnbuf_change){
		.offset = w->first << w->page_shift,
		.length = (end - w->first) << w->page_shift,
		.from = w->from,
		.to = w->to,
	};
}

static void writer_begin_change(struct change_writer *w, uint64_t first, enum pfnbuf_vis from,
				enum pfnbuf_vis to)
{
	if (from == w->from && to == w->to)
		return;
	writer_close_change(w, first);
	w->first = first;
	w->from = from;
	w->to = to;
}

/* The slots of two layouts that cover the same frames: equal, or both uniform, or of chunks. */
struct spot_pair {
	slot_t a;
	slot_t b;
	uint64_t first;
	uint64_t end;
};

static struct spot_pair look_up_pair(const struct pfnbuf_layout *a, const struct pfnbuf_layout *b,
				     uint64_t frame)
{
	struct spot_pair pair = { .a = a->root, .b = b->root };
	unsigned level = a->levels;

	while (level && pair.a != pair.b && !(is_uniform(pair.a) && is_uniform(pair.b))) {
		level--;
		if (!is_uniform(pair.a))
			pair.a = *node_slot(pair.a, level, frame);
		if (!is_uniform(pair.b))
			pair.b = *node_slot(pair.b, level, frame);
	}
	pair.first = frame & ~(level_span(level) - 1);
	pair.end = pair.first + level_span(level);
	return pair;
}

/* The changes of a chunk's frames [at, end). */
static void write_chunk_changes(struct change_writer *w, const struct spot_pair *pair, unsigned at,
				unsigned end)
{
	unsigned first, a_end, b_end;

	for (; at < end && w->n < w->max; at = a_end < b_end ? a_end : b_end) {
		enum pfnbuf_vis from = leaf_run(pair->a, at, &first, &a_end);
		enum pfnbuf_vis to = leaf_run(pair->b, at, &first, &b_end);

		writer_begin_change(w, pair->first + at, from, to);
	}
}

static bool same_geometry(const struct pfnbuf_layout *a, const struct pfnbuf_layout *b)
{
	return a->frames == b->frames && a->page_shift == b->page_shift;
}

int pfnbuf_layout_diff_to(const struct pfnbuf_layout *from, const struct pfnbuf_layout *to,
			  uint64_t *pos, uint64_t end, struct pfnbuf_change *changes, int max)
{
	int ret = same_geometry(from, to) ? check_cursor_to(from, *pos, end, max) : -EINVAL;
	struct change_writer w = { .changes = changes, .max = max, .page_shift = from->page_shift };
	const uint64_t last = end >> from->page_shift;
	struct spot_pair pair;

	if (ret < 0)
		return ret;
	for (uint64_t at = *pos >> from->page_shift; at < last && w.n < max; at = pair.end) {
		pair = look_up_pair(from, to, at);
		if (pair.a == pair.b)
			writer_begin_change(&w, at, PFNBUF_HOLE, PFNBUF_HOLE);
		else if (is_uniform(pair.a) && is_uniform(pair.b))
			writer_begin_change(&w, at, uniform_vis(pair.a), uniform_vis(pair.b));
		else if (pair.end <= last && leaf_looks_same(pair.a, pair.b))
			writer_begin_change(&w, at, PFNBUF_HOLE, PFNBUF_HOLE);
		else
			write_chunk_changes(&w, &pair, chunk_offset(at),
					    pair.end <= last ? CHUNK_FRAMES : chunk_offset(last));
	}
	writer_close_change(&w, last);
	*pos = w.n == max ? changes[max - 1].offset + changes[max - 1].length : end;
	return w.n;
}

int pfnbuf_layout_diff(const struct pfnbuf_layout *from, const struct pfnbuf_layout *to,
		       uint64_t *pos, struct pfnbuf_change *changes, int max)
{
	return pfnbuf_layout_diff_to(from, to, pos, pfnbuf_layout_get_size(from), changes, max);
}

bool pfnbuf_layout_equal(const struct pfnbuf_layout *a, const struct pfnbuf_layout *b)
{
	struct pfnbuf_change change;
	uint64_t pos = 0;

	return same_geometry(a, b) && !memcmp(&a->tally, &b->tally, sizeof(a->tally)) &&
	       pfnbuf_layout_diff(a, b, &pos, &change, 1) == 0;
}

int pfnbuf_layout_intersect(const struct pfnbuf_layout *a, const struct pfnbuf_layout *b,
			    struct pfnbuf_layout **layoutp)
{
	_cleanup_layout_ struct pfnbuf_layout *l = NULL;
	struct pfnbuf_change changes[64];
	uint64_t pos = 0;
	int ret, n;

	if (!same_geometry(a, b))
		return -EINVAL;
	ret = pfnbuf_layout_copy(a, &l);
	while (!ret && (n = pfnbuf_layout_diff(a, b, &pos, changes, 64)) > 0) {
		for (int i = 0; !ret && i < n; i++)
			ret = pfnbuf_layout_set(l, changes[i].offset, changes[i].length,
						PFNBUF_HOLE);
	}
	return ret < 0 ? ret : hand_over(&l, layoutp);
}

/* ---------------------------------------------------------------- made from runs -------------- */

int pfnbuf_layout_build(uint64_t size, uint64_t page_size, const struct pfnbuf_run *runs, size_t n,
			struct pfnbuf_layout **layoutp)
{
	_cleanup_layout_ struct pfnbuf_layout *l = NULL;
	int ret = pfnbuf_layout_new(size, page_size, PFNBUF_HOLE, &l);
	uint64_t end = 0;

	for (size_t i = 0; !ret && i < n; i++) {
		if (runs[i].offset < end)
			return -EINVAL;
		ret = pfnbuf_layout_set(l, runs[i].offset, runs[i].length, runs[i].vis);
		end = runs[i].offset + runs[i].length;
	}
	return ret < 0 ? ret : hand_over(&l, layoutp);
}

/*
 * Set [offset, offset + length) of @to as @from is from @source on. Ranges are checked, layouts are
 * two.
 */
static int copy_range(const struct pfnbuf_layout *from, uint64_t source, uint64_t length,
		      struct pfnbuf_layout *to, uint64_t offset)
{
	struct pfnbuf_run runs[64];
	uint64_t pos = source;
	int ret = 0;

	while (!ret && pos < source + length) {
		int n = pfnbuf_layout_next(from, &pos, runs, 64);

		for (int i = 0; !ret && i < n && runs[i].offset < source + length; i++) {
			uint64_t left = source + length - runs[i].offset;

			ret = pfnbuf_layout_set(to, offset + (runs[i].offset - source),
						runs[i].length < left ? runs[i].length : left,
						runs[i].vis);
		}
	}
	return ret;
}

int pfnbuf_layout_slice(const struct pfnbuf_layout *layout, uint64_t offset, uint64_t length,
			struct pfnbuf_layout **slicep)
{
	_cleanup_layout_ struct pfnbuf_layout *l = NULL;
	uint64_t first, end;
	int ret = range_frames(layout, offset, length, &first, &end);

	if (!ret)
		ret = pfnbuf_layout_new(length, pfnbuf_layout_get_page_size(layout), PFNBUF_HOLE,
					&l);
	if (!ret)
		ret = copy_range(layout, offset, length, l, 0);
	return ret < 0 ? ret : hand_over(&l, slicep);
}

int pfnbuf_layout_shift(const struct pfnbuf_layout *layout, int64_t delta, enum pfnbuf_vis fill,
			struct pfnbuf_layout **shiftedp)
{
	_cleanup_layout_ struct pfnbuf_layout *l = NULL;
	uint64_t size = pfnbuf_layout_get_size(layout);
	uint64_t distance = delta < 0 ? -(uint64_t)delta : (uint64_t)delta;
	int ret;

	if (!is_aligned(layout, distance))
		return -EINVAL;
	ret = pfnbuf_layout_new(size, pfnbuf_layout_get_page_size(layout), fill, &l);
	if (!ret && distance < size)
		ret = copy_range(layout, delta < 0 ? distance : 0, size - distance, l,
				 delta < 0 ? 0 : distance);
	return ret < 0 ? ret : hand_over(&l, shiftedp);
}
