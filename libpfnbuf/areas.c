/* SPDX-License-Identifier: MIT */
#include "areas.h"

/* ---------------------------------------------------------------- records ------------------- */

static struct pfnbuf_buf *ref(struct pfnbuf_buf *buf)
{
	return buf ? pfnbuf_buf_ref(buf) : NULL;
}

struct area *pfnbuf_area_new(struct pfnbuf_buf *buf, uint64_t offset, uint64_t length,
			     unsigned bits, uint64_t generation)
{
	struct area *a = pfnbuf_zalloc(sizeof(*a));

	if (!a)
		return NULL;
	a->length = length;
	a->offset = offset;
	a->generation = generation;
	a->node.bits = bits;
	a->buf = ref(buf);
	return a;
}

void pfnbuf_area_release(struct area **list)
{
	while (*list) {
		struct area *a = pop_area(list);

		pfnbuf_buf_unref(a->buf);
		free(a);
	}
}

static bool meets(const struct pfnbuf_granules *g, uint64_t iova, uint64_t length)
{
	return iova - g->iova < g->n * g->size || g->iova - iova < length;
}

static void count_record(struct areas *areas, const struct area *a, bool entered)
{
	for (struct pfnbuf_link *l = areas->granules.next; l != &areas->granules; l = l->next) {
		struct pfnbuf_granules *g = granules_of_link(l);

		if (meets(g, a->node.key, a->length))
			g->nr_records = entered ? g->nr_records + 1 : g->nr_records - 1;
	}
}

static void insert_record(struct areas *areas, struct area *a)
{
	pfnbuf_tree_insert(&areas->tree, &a->node);
	areas->nr_absent += is_absent(a);
	count_record(areas, a, true);
}

static void remove_record(struct areas *areas, struct area *a)
{
	pfnbuf_tree_remove(&areas->tree, &a->node);
	areas->nr_absent -= is_absent(a);
	count_record(areas, a, false);
}

/* ---------------------------------------------------------------- walking ------------------- */

/* The first record of an area that ends at @iova or above. */
static struct area *record_from(const struct areas *areas, uint64_t iova)
{
	struct area *a = area_of(pfnbuf_tree_floor(&areas->tree, iova));

	if (!a)
		return area_of(pfnbuf_tree_ceil(&areas->tree, iova));
	return last_of(a) >= iova ? a : area_of(pfnbuf_tree_next(&a->node));
}

/*
 * The first granule that is mapped, ends at @iova or above and begins at @last or below, or g->n. What
 * is behind that is not looked at: it would be at each step of a walk.
 */
static uint64_t granule_in(const struct pfnbuf_granules *g, uint64_t iova, uint64_t last)
{
	const uint64_t first = iova > g->iova ? (iova - g->iova) / g->size : 0;
	uint64_t end = g->n, i;

	if (!g->nr_mapped || last < g->iova)
		return g->n;
	if ((last - g->iova) / g->size < end)
		end = (last - g->iova) / g->size + 1;
	i = pfnbuf_bitmap_next(g->mapped, first, end, true);
	return i < end ? i : g->n;
}

static struct area *show(struct pfnbuf_granules *g, uint64_t i, struct area_walk *walk)
{
	walk->of = g;
	walk->area = (struct area){
		.node = { .key = g->iova + i * g->size, .bits = g->bits | IS_GRANULE },
		.length = g->size,
		.buf = g->buf,
		.offset = g->offset + i * g->size,
		.generation = g->generation,
	};
	return &walk->area;
}

struct area *pfnbuf_areas_in(const struct areas *areas, uint64_t iova, uint64_t last,
			     struct area_walk *walk)
{
	struct area *first = up_to(record_from(areas, iova), last);

	for (const struct pfnbuf_link *l = areas->granules.next; l != &areas->granules;
	     l = l->next) {
		struct pfnbuf_granules *g = granules_of_link(l);
		uint64_t i;

		if (first && !first->node.key)
			break;
		i = granule_in(g, iova, first ? first->node.key - 1 : last);
		if (i < g->n)
			first = show(g, i, walk);
	}
	return first;
}

struct area *pfnbuf_areas_next(const struct areas *areas, const struct area *a, uint64_t last,
			       struct area_walk *walk)
{
	if (last_of(a) >= last)
		return NULL;
	if (pfnbuf_list_is_empty(&areas->granules))
		return up_to(area_of(pfnbuf_tree_next(&a->node)), last);
	return pfnbuf_areas_in(areas, last_of(a) + 1, last, walk);
}

struct area *pfnbuf_areas_ceil(const struct areas *areas, uint64_t iova, struct area_walk *walk)
{
	struct area *a = pfnbuf_areas_from(areas, iova, walk);

	return a && a->node.key < iova ? pfnbuf_areas_after(areas, a, walk) : a;
}

/* ---------------------------------------------------------------- changing ------------------ */

/* Whether an area, of a record, could be one of the granules. */
static bool fits(const struct pfnbuf_granules *g, const struct area *a)
{
	const uint64_t at = a->node.key - g->iova;

	return at < g->n * g->size && at % g->size == 0 && a->length == g->size &&
	       a->buf == g->buf && a->offset == g->offset + at && a->generation == g->generation &&
	       a->node.bits == g->bits;
}

static struct pfnbuf_granules *find_granules(const struct areas *areas, const struct area *a)
{
	for (struct pfnbuf_link *l = areas->granules.next; l != &areas->granules; l = l->next)
		if (fits(granules_of_link(l), a))
			return granules_of_link(l);
	return NULL;
}

void pfnbuf_areas_enter(struct areas *areas, struct area *a, uint64_t iova, struct area **list)
{
	struct pfnbuf_granules *g;

	a->node.key = iova;
	g = find_granules(areas, a);
	if (!g) {
		insert_record(areas, a);
		return;
	}
	put_granule(g, (iova - g->iova) / g->size, true);
	push_area(list, a);
}

int pfnbuf_areas_reserve(const struct areas *areas, const struct area *first, uint64_t last,
			 struct area_leaving *leaving)
{
	struct area_walk walk;

	for (const struct area *a = first; a; a = pfnbuf_areas_next(areas, a, last, &walk)) {
		struct area *record;

		if (!(a->node.bits & IS_GRANULE))
			continue;
		record = pfnbuf_area_new(NULL, 0, 0, 0, 0);
		if (!record)
			return -ENOMEM;
		push_area(&leaving->reserve, record);
	}
	return 0;
}

/* Let the record stand for an area that is shown of granules, and be nowhere. */
static void become(struct area *record, const struct area *shown)
{
	*record = *shown;
	record->node.bits &= ~IS_GRANULE;
	record->buf = ref(shown->buf);
}

void pfnbuf_areas_leave(struct areas *areas, struct area *a, struct area_leaving *leaving)
{
	struct area *record = a;

	if (a->node.bits & IS_GRANULE) {
		struct pfnbuf_granules *g = pfnbuf_container_of(a, struct area_walk, area)->of;

		put_granule(g, (a->node.key - g->iova) / g->size, false);
		record = leaving->reserve ? pop_area(&leaving->reserve) : NULL;
		if (record)
			become(record, a);
	} else {
		remove_record(areas, a);
	}
	if (record)
		push_area(&leaving->gone, record);
}

void pfnbuf_areas_set_absent(struct areas *areas, struct area *a, bool absent)
{
	if (is_absent(a) == absent)
		return;
	a->node.bits ^= IS_ABSENT;
	areas->nr_absent = absent ? areas->nr_absent + 1 : areas->nr_absent - 1;
}

/* ---------------------------------------------------------------- granules ------------------ */

/* What others there are in its range. */
static void look_around(struct areas *areas, struct pfnbuf_granules *g)
{
	const uint64_t length = g->n * g->size;

	for (struct pfnbuf_link *l = areas->granules.next; l != &areas->granules; l = l->next) {
		struct pfnbuf_granules *other = granules_of_link(l);

		if (meets(other, g->iova, length))
			g->shares_range = other->shares_range = true;
	}
	for (struct area *a = up_to(record_from(areas, g->iova), g->iova + length - 1); a;
	     a = up_to(area_of(pfnbuf_tree_next(&a->node)), g->iova + length - 1))
		g->nr_records++;
}

/* By IOVA: so a walk looks at none before it gets there. */
static void link_in_order(struct areas *areas, struct pfnbuf_granules *g)
{
	struct pfnbuf_link *next = areas->granules.next;

	while (next != &areas->granules && granules_of_link(next)->iova <= g->iova)
		next = next->next;
	pfnbuf_list_add_tail(next, &g->link);
}

struct pfnbuf_granules *pfnbuf_granules_new(struct areas *areas, const struct area *model,
					    uint64_t size, struct area **list)
{
	const uint64_t n = model->length / size, last = last_of(model);
	struct pfnbuf_granules *g = calloc(1, sizeof(*g) + (n + 63) / 64 * sizeof(*g->mapped));
	struct area *a, *next;

	if (!g)
		return NULL;
	g->iova = model->node.key;
	g->offset = model->offset;
	g->buf = ref(model->buf);
	g->size = size;
	g->n = n;
	g->generation = model->generation;
	g->bits = model->node.bits;
	look_around(areas, g);
	link_in_order(areas, g);
	for (a = up_to(record_from(areas, g->iova), last); a; a = next) {
		next = up_to(area_of(pfnbuf_tree_next(&a->node)), last);
		if (!fits(g, a))
			continue;
		remove_record(areas, a);
		pfnbuf_areas_enter(areas, a, a->node.key, list);
	}
	return g;
}

bool pfnbuf_granules_dissolve(struct areas *areas, struct pfnbuf_granules *g)
{
	struct area_walk walk;

	for (uint64_t i = 0; g->nr_mapped; i++) {
		struct area *record;

		i = pfnbuf_bitmap_next(g->mapped, i, g->n, true);
		record = pfnbuf_area_new(NULL, 0, 0, 0, 0);
		if (!record)
			return false;
		become(record, show(g, i, &walk));
		put_granule(g, i, false);
		insert_record(areas, record);
	}
	return true;
}

void pfnbuf_granules_unlink(struct pfnbuf_granules *g)
{
	pfnbuf_list_del(&g->link);
}

void pfnbuf_granules_free(struct pfnbuf_granules *g)
{
	pfnbuf_buf_unref(g->buf);
	free(g);
}

/* ---------------------------------------------------------------- life ---------------------- */

void pfnbuf_areas_init(struct areas *areas)
{
	*areas = (struct areas){ 0 };
	pfnbuf_list_init(&areas->granules);
}

void pfnbuf_areas_free(struct areas *areas)
{
	while (areas->tree.root) {
		struct area *record = area_of(areas->tree.root);

		pfnbuf_tree_remove(&areas->tree, &record->node);
		record->node.right = NULL;
		pfnbuf_area_release(&record);
	}
	while (!pfnbuf_list_is_empty(&areas->granules)) {
		struct pfnbuf_granules *g = granules_of_link(areas->granules.next);

		pfnbuf_granules_unlink(g);
		pfnbuf_granules_free(g);
	}
}
