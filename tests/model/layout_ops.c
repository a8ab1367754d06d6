/* SPDX-License-Identifier: MIT */
#include "layout_ops.h"
#include "starve.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct geometry {
	uint64_t frames;
	uint64_t page_size;
};

/* One frame, less than a chunk (16384 frames), a chunk and its neighbours, two levels of nodes (above 2^20 frames). */
static const struct geometry geometries[] = {
	{ 1, 4096 },	    { 2, 1 << 16 },  { 63, 4096 },     { 300, 4096 },
	{ 5000, 1 << 21 },  { 16383, 4096 }, { 16384, 4096 },  { 16385, 4096 },
	{ 40000, 1 << 16 }, { 70000, 4096 }, { 200000, 4096 }, { 1048576, 4096 },
	{ 1066000, 4096 },
};

struct model {
	uint64_t frames;
	uint64_t page;
	enum ops_sabotage sabotage;
	struct pfnbuf_layout *layouts[OPS_LAYOUTS];
	uint8_t *arrays[OPS_LAYOUTS];
	struct ops_failure *failure;
};

unsigned ops_geometries(void)
{
	return sizeof(geometries) / sizeof(geometries[0]);
}

static const struct geometry *geometry_of(unsigned geometry)
{
	return &geometries[geometry % ops_geometries()];
}

uint64_t ops_frames(unsigned geometry)
{
	return geometry_of(geometry)->frames;
}

static PFNBUF_PRINTF(3, 4) bool check(struct model *m, bool ok, const char *format, ...)
{
	va_list args;

	if (ok)
		return true;
	va_start(args, format);
	vsnprintf(m->failure->text, sizeof(m->failure->text), format, args);
	va_end(args);
	return false;
}

/* ---------------------------------------------------------------- the naive side ---------------------------------- */

static uint64_t naive_end(const uint8_t *array, uint64_t at, uint64_t frames)
{
	uint64_t end = at + 1;

	while (end < frames && array[end] == array[at])
		end++;
	return end;
}

static uint64_t naive_first(const uint8_t *array, uint64_t at)
{
	while (at && array[at - 1] == array[at])
		at--;
	return at;
}

static uint64_t naive_change_end(const uint8_t *from, const uint8_t *to, uint64_t at,
				 uint64_t frames)
{
	uint64_t end = at + 1;

	while (end < frames && from[end] == from[at] && to[end] == to[at])
		end++;
	return end;
}

static void naive_count(const uint8_t *array, uint64_t frames, struct pfnbuf_layout_count *count)
{
	memset(count, 0, sizeof(*count));
	for (uint64_t at = 0; at < frames; at++) {
		count->frames[array[at]]++;
		count->runs[array[at]] += !at || array[at] != array[at - 1];
	}
}

/* ---------------------------------------------------------------- comparisons ------------------------------------- */

static bool check_get(struct model *m, unsigned a, uint64_t frame)
{
	const uint8_t *array = m->arrays[a];
	struct pfnbuf_run run;
	uint64_t first, end;
	int plain = pfnbuf_layout_get(m->layouts[a], frame * m->page + m->page - 1, NULL);
	int vis = pfnbuf_layout_get(m->layouts[a], frame * m->page, &run);

	if (!check(m, plain == array[frame] && vis == plain && (int)run.vis == vis,
		   "get of frame %" PRIu64 ": %d, with the run %d; expected %u", frame, plain, vis,
		   array[frame]))
		return false;
	first = naive_first(array, frame);
	end = naive_end(array, frame, m->frames);
	return check(m, run.offset == first * m->page && run.length == (end - first) * m->page,
		     "get of frame %" PRIu64 ": run %#" PRIx64 "+%#" PRIx64
		     ", expected frames %" PRIu64 " to %" PRIu64,
		     frame, run.offset, run.length, first, end);
}

/* Read any layout in batches from @frame on, and compare it with frames of an array. */
static bool check_runs(struct model *m, const struct pfnbuf_layout *layout, const uint8_t *array,
		       uint64_t frames, uint64_t frame, int batch)
{
	struct pfnbuf_run runs[16];
	uint64_t pos = frame * m->page;
	int n;

	while ((n = pfnbuf_layout_next(layout, &pos, runs, batch)) > 0) {
		for (int i = 0; i < n; i++) {
			uint64_t end = naive_end(array, frame, frames);

			if (!check(m,
				   runs[i].offset == frame * m->page &&
					   runs[i].length == (end - frame) * m->page &&
					   runs[i].vis == array[frame],
				   "next: %#" PRIx64 "+%#" PRIx64
				   "=%d, expected %u in frames %" PRIu64 " to %" PRIu64,
				   runs[i].offset, runs[i].length, (int)runs[i].vis, array[frame],
				   frame, end))
				return false;
			frame = end;
			if (frame == frames)
				break;
		}
		if (!check(m, pos == runs[n - 1].offset + runs[n - 1].length,
			   "next left a wrong position"))
			return false;
	}
	return check(m, n == 0 && frame == frames, "next ended with %d at frame %" PRIu64, n,
		     frame);
}

static bool check_count(struct model *m, const struct pfnbuf_layout *layout, const uint8_t *array,
			uint64_t frames)
{
	struct pfnbuf_layout_count count, naive;

	pfnbuf_layout_count(layout, &count);
	naive_count(array, frames, &naive);
	return check(m, !memcmp(&count, &naive, sizeof(count)),
		     "count: runs %" PRIu64 " %" PRIu64 " %" PRIu64 " frames %" PRIu64 " %" PRIu64
		     " %" PRIu64 ", expected %" PRIu64 " %" PRIu64 " %" PRIu64 ", %" PRIu64
		     " %" PRIu64 " %" PRIu64,
		     count.runs[0], count.runs[1], count.runs[2], count.frames[0], count.frames[1],
		     count.frames[2], naive.runs[0], naive.runs[1], naive.runs[2], naive.frames[0],
		     naive.frames[1], naive.frames[2]);
}

static bool check_whole(struct model *m, const struct pfnbuf_layout *layout, const uint8_t *array,
			uint64_t frames)
{
	return check(m, pfnbuf_layout_get_size(layout) == frames * m->page, "wrong size") &&
	       check(m, pfnbuf_layout_get_page_size(layout) == m->page, "wrong page size") &&
	       check_runs(m, layout, array, frames, 0, 16) && check_count(m, layout, array, frames);
}

/* ---------------------------------------------------------------- operations -------------------------------------- */

/* The frames that an operation speaks of. */
struct span {
	uint64_t first;
	uint64_t length;
};

static struct span op_span(const struct model *m, const struct op *op)
{
	uint64_t first = op->x % m->frames;

	return (struct span){ .first = first, .length = 1 + op->y % (m->frames - first) };
}

static enum pfnbuf_vis op_vis(const struct op *op)
{
	return (enum pfnbuf_vis)(op->vis % PFNBUF_VIS_COUNT);
}

static int library_set(const struct model *m, unsigned a, struct span span, enum pfnbuf_vis vis)
{
	if (m->sabotage == SABOTAGE_SHORT_SET &&
	    (span.first >> 14) != (span.first + span.length - 1) >> 14)
		span.length--;
	if (m->sabotage == SABOTAGE_LEAKY_SET && span.length >= 3 && span.first) {
		span.first--;
		span.length++;
	}
	return pfnbuf_layout_set(m->layouts[a], span.first * m->page, span.length * m->page, vis);
}

/* The edges are where it goes wrong: both, and their outer neighbours. */
static bool check_edges(struct model *m, unsigned a, struct span span)
{
	uint64_t end = span.first + span.length;

	return check_get(m, a, span.first) && (!span.first || check_get(m, a, span.first - 1)) &&
	       check_get(m, a, end - 1) && (end == m->frames || check_get(m, a, end));
}

static bool do_set(struct model *m, const struct op *op)
{
	unsigned a = op->a % OPS_LAYOUTS;
	struct span span = op_span(m, op);
	int ret = library_set(m, a, span, op_vis(op));

	memset(m->arrays[a] + span.first, (int)op_vis(op), span.length);
	return check(m, ret == 0, "set returned %d", ret) && check_edges(m, a, span);
}

static bool do_set_starved(struct model *m, const struct op *op)
{
	unsigned a = op->a % OPS_LAYOUTS;
	int ret;

	starve_from(op->z % 8);
	ret = library_set(m, a, op_span(m, op), op_vis(op));
	starve_end();
	if (ret == -ENOMEM && !check_whole(m, m->layouts[a], m->arrays[a], m->frames))
		return false;
	return check(m, ret == 0 || ret == -ENOMEM, "set returned %d", ret) && do_set(m, op);
}

static bool do_get(struct model *m, const struct op *op)
{
	return check_get(m, op->a % OPS_LAYOUTS, op->x % m->frames);
}

static bool do_test(struct model *m, const struct op *op)
{
	unsigned a = op->a % OPS_LAYOUTS;
	struct span span = op_span(m, op);
	uint64_t end = span.first + span.length, same = span.first, where = UINT64_MAX;
	int ret = pfnbuf_layout_test(m->layouts[a], span.first * m->page, span.length * m->page,
				     op_vis(op), &where);

	while (same < end && m->arrays[a][same] == op_vis(op))
		same++;
	if (same == end)
		return check(m, ret == 1 && where == UINT64_MAX, "test: %d, expected 1", ret);
	return check(m, ret == 0 && where == same * m->page,
		     "test: %d at %#" PRIx64 ", expected 0 at frame %" PRIu64, ret, where, same);
}

static bool do_next(struct model *m, const struct op *op)
{
	unsigned a = op->a % OPS_LAYOUTS;

	return check_runs(m, m->layouts[a], m->arrays[a], m->frames, op->x % m->frames,
			  1 + (int)(op->z % 16));
}

static bool do_count(struct model *m, const struct op *op)
{
	unsigned a = op->a % OPS_LAYOUTS;

	return check_count(m, m->layouts[a], m->arrays[a], m->frames);
}

static bool do_copy(struct model *m, const struct op *op)
{
	unsigned a = op->a % OPS_LAYOUTS, b = op->b % OPS_LAYOUTS;
	struct pfnbuf_layout *copy = NULL;
	int ret;

	if (a == b)
		return true;
	ret = pfnbuf_layout_copy(m->layouts[a], &copy);
	if (!check(m, ret == 0, "copy returned %d", ret))
		return false;
	if (m->sabotage == SABOTAGE_DEAD_COPY && m->frames > 1)
		pfnbuf_layout_set(copy, m->frames / 2 * m->page, m->page, PFNBUF_HOLE);
	pfnbuf_layout_free(m->layouts[b]);
	m->layouts[b] = copy;
	memcpy(m->arrays[b], m->arrays[a], m->frames);
	return true;
}

static bool do_diff(struct model *m, const struct op *op)
{
	unsigned a = op->a % OPS_LAYOUTS, b = op->b % OPS_LAYOUTS;
	const uint8_t *from = m->arrays[a], *to = m->arrays[b];
	struct pfnbuf_change changes[16];
	uint64_t at = op->x % m->frames, pos = at * m->page;
	int max = 1 + (int)(op->z % 16), n;

	do {
		n = pfnbuf_layout_diff(m->layouts[a], m->layouts[b], &pos, changes, max);
		for (int i = 0; i < n; i++) {
			uint64_t end;

			while (at < m->frames && from[at] == to[at])
				at++;
			if (!check(m, at < m->frames, "diff found too much"))
				return false;
			end = naive_change_end(from, to, at, m->frames);
			if (!check(m,
				   changes[i].offset == at * m->page &&
					   changes[i].length == (end - at) * m->page &&
					   changes[i].from == from[at] && changes[i].to == to[at],
				   "diff: %#" PRIx64 "+%#" PRIx64
				   " %d to %d, expected frames %" PRIu64 " to %" PRIu64,
				   changes[i].offset, changes[i].length, (int)changes[i].from,
				   (int)changes[i].to, at, end))
				return false;
			at = end;
		}
	} while (n == max);
	while (at < m->frames && from[at] == to[at])
		at++;
	return check(m, n >= 0 && at == m->frames && pos == m->frames * m->page,
		     "diff ended with %d, frame %" PRIu64 " differs", n, at);
}

static bool do_equal(struct model *m, const struct op *op)
{
	unsigned a = op->a % OPS_LAYOUTS, b = op->b % OPS_LAYOUTS;
	bool equal = pfnbuf_layout_equal(m->layouts[a], m->layouts[b]);

	return check(m, equal == !memcmp(m->arrays[a], m->arrays[b], m->frames), "equal: %d",
		     equal);
}

/* Take a fresh layout into layout a, and compare it with the array, which has been changed alike. */
static bool adopt(struct model *m, unsigned a, int ret, struct pfnbuf_layout *layout)
{
	if (!check(m, ret == 0, "returned %d", ret))
		return false;
	pfnbuf_layout_free(m->layouts[a]);
	m->layouts[a] = layout;
	return check_whole(m, layout, m->arrays[a], m->frames);
}

static bool do_intersect(struct model *m, const struct op *op)
{
	unsigned a = op->a % OPS_LAYOUTS, b = op->b % OPS_LAYOUTS;
	struct pfnbuf_layout *layout = NULL;
	int ret = pfnbuf_layout_intersect(m->layouts[a], m->layouts[b], &layout);

	for (uint64_t at = 0; at < m->frames; at++)
		m->arrays[a][at] =
			m->arrays[a][at] == m->arrays[b][at] ? m->arrays[a][at] : PFNBUF_HOLE;
	return adopt(m, a, ret, layout);
}

static bool do_slice(struct model *m, const struct op *op)
{
	unsigned a = op->a % OPS_LAYOUTS;
	struct span span = op_span(m, op);
	struct pfnbuf_layout *slice = NULL;
	int ret = pfnbuf_layout_slice(m->layouts[a], span.first * m->page, span.length * m->page,
				      &slice);
	bool ok = check(m, ret == 0, "slice returned %d", ret) &&
		  check_whole(m, slice, m->arrays[a] + span.first, span.length);

	pfnbuf_layout_free(slice);
	return ok;
}

static bool do_shift(struct model *m, const struct op *op)
{
	unsigned a = op->a % OPS_LAYOUTS;
	uint64_t distance = op->x % (m->frames + 2),
		 kept = distance < m->frames ? m->frames - distance : 0;
	int64_t delta = (int64_t)(distance * m->page);
	struct pfnbuf_layout *shifted = NULL;
	int ret = pfnbuf_layout_shift(m->layouts[a], op->z & 1 ? -delta : delta, op_vis(op),
				      &shifted);

	if (op->z & 1) {
		memmove(m->arrays[a], m->arrays[a] + (m->frames - kept), kept);
		memset(m->arrays[a] + kept, (int)op_vis(op), m->frames - kept);
	} else {
		memmove(m->arrays[a] + (m->frames - kept), m->arrays[a], kept);
		memset(m->arrays[a], (int)op_vis(op), m->frames - kept);
	}
	return adopt(m, a, ret, shifted);
}

/* Build from the array's runs, without the holes if z is odd, some of them in two pieces. */
static bool do_build(struct model *m, const struct op *op)
{
	unsigned a = op->a % OPS_LAYOUTS;
	const uint8_t *array = m->arrays[a];
	struct pfnbuf_run *runs = calloc(2 * m->frames, sizeof(*runs));
	struct pfnbuf_layout *layout = NULL;
	size_t n = 0;
	int ret;

	for (uint64_t at = 0, end; at < m->frames; at = end) {
		uint64_t cut;

		end = naive_end(array, at, m->frames);
		if (array[at] == PFNBUF_HOLE && op->z & 1)
			continue;
		cut = (at ^ op->x) & 1 ? end : at + (end - at) / 2;
		if (cut > at)
			runs[n++] = (struct pfnbuf_run){ at * m->page, (cut - at) * m->page,
							 array[at] };
		if (end > cut)
			runs[n++] = (struct pfnbuf_run){ cut * m->page, (end - cut) * m->page,
							 array[at] };
	}
	ret = pfnbuf_layout_build(m->frames * m->page, m->page, runs, n, &layout);
	free(runs);
	return check(m, ret < 0 || pfnbuf_layout_equal(layout, m->layouts[a]),
		     "built layout is not equal") &&
	       adopt(m, a, ret, layout);
}

static bool do_text(struct model *m, const struct op *op)
{
	unsigned a = op->a % OPS_LAYOUTS;
	size_t size = pfnbuf_layout_print(m->layouts[a], NULL, 0) + 1;
	struct pfnbuf_layout_error error = { 0, "nothing" };
	struct pfnbuf_layout *layout = NULL;
	char *text = malloc(size);
	size_t length = pfnbuf_layout_print(m->layouts[a], text, size);
	int ret = pfnbuf_layout_parse(text, &layout, &error);
	bool ok = check(m, ret == 0 && length + 1 == size && strlen(text) == length,
			"parse returned %d, at %zu: %s", ret, error.column, error.cause);

	free(text);
	return ok && adopt(m, a, ret, layout);
}

struct op_type {
	const char *name;
	bool (*run)(struct model *m, const struct op *op);
};

static const struct op_type op_types[OP_KINDS] = {
	[OP_SET] = { "set", do_set },	    [OP_SET_STARVED] = { "set-starved", do_set_starved },
	[OP_GET] = { "get", do_get },	    [OP_TEST] = { "test", do_test },
	[OP_NEXT] = { "next", do_next },    [OP_COUNT] = { "count", do_count },
	[OP_COPY] = { "copy", do_copy },    [OP_DIFF] = { "diff", do_diff },
	[OP_EQUAL] = { "equal", do_equal }, [OP_INTERSECT] = { "intersect", do_intersect },
	[OP_SLICE] = { "slice", do_slice }, [OP_SHIFT] = { "shift", do_shift },
	[OP_BUILD] = { "build", do_build }, [OP_TEXT] = { "text", do_text },
};

static bool model_begin(struct model *m)
{
	for (unsigned i = 0; i < OPS_LAYOUTS; i++) {
		enum pfnbuf_vis vis = i ? PFNBUF_SHARED : PFNBUF_HOLE;

		m->arrays[i] = malloc(m->frames);
		memset(m->arrays[i], (int)vis, m->frames);
		if (!check(m,
			   pfnbuf_layout_new(m->frames * m->page, m->page, vis, &m->layouts[i]) ==
				   0,
			   "new"))
			return false;
	}
	return true;
}

static void model_end(struct model *m)
{
	for (unsigned i = 0; i < OPS_LAYOUTS; i++) {
		free(m->arrays[i]);
		pfnbuf_layout_free(m->layouts[i]);
	}
}

bool ops_run(const struct ops_world *world, const struct op *ops, size_t n,
	     struct ops_failure *failure)
{
	struct model m = {
		.frames = ops_frames(world->geometry),
		.page = geometry_of(world->geometry)->page_size,
		.sabotage = world->sabotage,
		.failure = failure,
	};
	bool ok = model_begin(&m);

	for (size_t i = 0; ok && i < n; i++) {
		failure->op = i;
		ok = op_types[ops[i].kind % OP_KINDS].run(&m, &ops[i]);
	}
	for (unsigned i = 0; ok && i < OPS_LAYOUTS; i++)
		ok = check_whole(&m, m.layouts[i], m.arrays[i], m.frames);
	model_end(&m);
	return ok;
}

void ops_print(const struct ops_world *world, const struct op *op, char *buf, size_t size)
{
	struct model m = { .frames = ops_frames(world->geometry) };
	struct span span = op_span(&m, op);

	snprintf(buf, size,
		 "%s layout %u, other %u, vis %s, frames %" PRIu64 "+%" PRIu64 ", z %" PRIu32,
		 op_types[op->kind % OP_KINDS].name, op->a % OPS_LAYOUTS, op->b % OPS_LAYOUTS,
		 pfnbuf_vis_name(op_vis(op)), span.first, span.length, op->z);
}
