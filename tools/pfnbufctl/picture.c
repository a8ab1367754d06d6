/* SPDX-License-Identifier: MIT */
/* Small pictures of address spaces: what stands where, and whether it works. */
#include <inttypes.h>
#include <string.h>

#include "run.h"

enum { BOX_WIDTH = 14, ROWS_MAX = 24 };

/* The strokes of a box, for terminals with and without Unicode. */
struct strokes {
	const char *top;     /* of an edge */
	const char *line[3]; /* the corners of an edge, left and right in one */
	const char *side, *open_side;
	const char *works, *dead, *private;
	const char *arrow;
};

static const struct strokes unicode = {
	.line = { "╭╮", "├┤", "╰╯" },
	.top = "─",
	.side = "│",
	.open_side = "┊",
	.works = "█",
	.dead = "░",
	.private = "▓",
	.arrow = "→",
};

static const struct strokes ascii = {
	.line = { "++", "++", "++" },
	.top = "-",
	.side = "|",
	.open_side = ":",
	.works = "#",
	.dead = ".",
	.private = "%",
	.arrow = "->",
};

enum edge { EDGE_TOP, EDGE_BETWEEN, EDGE_BOTTOM };

struct canvas {
	struct run *run;
	const struct strokes *strokes;
	bool colour;
};

static struct canvas canvas_of(struct run *run)
{
	return (struct canvas){ run, run->output->unicode ? &unicode : &ascii,
				run->output->colour };
}

static void repeat(const struct canvas *c, const char *mark, size_t n)
{
	for (size_t i = 0; i < n; i++)
		say_more(c->run->output, "%s", mark);
}

/* The edge at an address; without one, nothing is written beside it. */
static void edge(const struct canvas *c, enum edge edge, bool labelled, uint64_t at)
{
	const char *corners = c->strokes->line[edge];
	size_t half = strlen(corners) / 2;

	if (labelled)
		say_more(c->run->output, "    %#14" PRIx64 " %.*s", at, (int)half, corners);
	else
		say_more(c->run->output, "    %14s %.*s", "", (int)half, corners);
	repeat(c, c->strokes->top, BOX_WIDTH);
	say_more(c->run->output, "%s\n", corners + half);
}

static void gap_row(const struct canvas *c, const char *words)
{
	say_more(c->run->output, "    %14s %s %s%-*s%s %s\n", "", c->strokes->open_side,
		 style_on(c->colour, STYLE_DIM), BOX_WIDTH - 2, words, style_off(c->colour),
		 c->strokes->open_side);
}

/* A filled row, with its length in the middle; what is beside it follows. */
static void filled_row(const struct canvas *c, uint64_t length, const char *mark, enum style style)
{
	char words[64];
	size_t n = strlen(length_words(length, words));
	size_t left = n + 2 < BOX_WIDTH ? (BOX_WIDTH - n - 2) / 2 : 0;
	size_t right = n + 2 < BOX_WIDTH ? BOX_WIDTH - n - 2 - left : 0;

	say_more(c->run->output, "    %14s %s%s", "", c->strokes->side, style_on(c->colour, style));
	repeat(c, mark, left);
	say_more(c->run->output, "%s %s %s", style_off(c->colour), words,
		 style_on(c->colour, style));
	repeat(c, mark, right);
	say_more(c->run->output, "%s%s", style_off(c->colour), c->strokes->side);
}

static void gap(const struct canvas *c, uint64_t from, uint64_t to)
{
	char words[64];

	if (to > from)
		gap_row(c, length_words(to - from, words));
}

/* ---------------------------------------------------------------- IOAS ----------------------------------------------- */

static void name_users(struct run *run, const struct object *ioas)
{
	uint32_t id = pfnbuf_ioas_get_id(ioas->ioas);
	struct pfnbuf_device_info info;
	bool any = false;

	json_open(&run->output->fields, "attached", '[');
	for (size_t i = 0; i < run->nobjects; i++) {
		struct object *device = &run->objects[i];

		if (device->kind != KIND_DEVICE || pfnbuf_device_get_info(device->device, &info) ||
		    info.ioas_id != id)
			continue;
		say_more(run->output, "%s%s", any ? ", " : " reached by ", device->name);
		json_string(&run->output->fields, NULL, device->name);
		any = true;
	}
	json_close(&run->output->fields, ']');
	say_more(run->output, "%s\n", any ? "" : " that no device is attached to");
}

static const char *name_of_area(struct run *run, const struct object *ioas, uint64_t iova)
{
	const struct object *window = window_at(run, ioas, iova);
	size_t parent = object_index(run, ioas);

	for (size_t i = 0; i < run->nobjects; i++)
		if (run->objects[i].kind == KIND_AREA && run->objects[i].parent == parent &&
		    run->objects[i].iova == iova)
			return run->objects[i].name;
	return window ? window->name : "(no name)";
}

/* "= exporter BAR 2 0x0+64K" of a dma-buf that was exported here. */
static void origin_words(const struct canvas *c, const struct pfnbuf_area *area)
{
	struct pfnbuf_device *device = area->buf ? pfnbuf_buf_get_device(area->buf) : NULL;
	struct pfnbuf_range slice;
	unsigned bar;
	char words[64];

	if (!device || pfnbuf_buf_get_slices(area->buf, &bar, &slice, 1) != 1)
		return;
	for (size_t i = 0; i < c->run->nobjects; i++)
		if (c->run->objects[i].device == device)
			say_more(c->run->output, " = %s BAR %u %s", c->run->objects[i].name, bar,
				 range_words(slice.offset + area->offset, area->length, words));
}

static void state_words(const struct canvas *c, const struct pfnbuf_area *area)
{
	struct output *output = c->run->output;
	enum pfnbuf_state state;

	if (!area->buf || pfnbuf_buf_get_kind(area->buf) != PFNBUF_DMA_BUF)
		return;
	state = pfnbuf_buf_get_state(area->buf);
	say_more(output, "\n    %14s %s", "", c->strokes->side);
	repeat(c, " ", BOX_WIDTH);
	say_more(output, "%s     buffer %s%s%s, generation %" PRIu64 "; import ", c->strokes->side,
		 style_on(c->colour, state_style(state)),
		 state == PFNBUF_LIVE	     ? "LIVE"
		 : state == PFNBUF_SUSPENDED ? "SUSPENDED"
					     : "DEAD",
		 style_off(c->colour), pfnbuf_buf_get_generation(area->buf));
	if (area->dead)
		say_more(output, "%sdead%s, from generation %" PRIu64,
			 style_on(c->colour, STYLE_BAD), style_off(c->colour), area->generation);
	else
		say_more(output, "%sworks%s", style_on(c->colour, STYLE_GOOD),
			 style_off(c->colour));
}

static void area_row(const struct canvas *c, const struct object *ioas,
		     const struct pfnbuf_area *area)
{
	struct output *output = c->run->output;
	struct text *json = &output->fields;
	char words[64];

	filled_row(c, area->length, area->dead ? c->strokes->dead : c->strokes->works,
		   area->dead ? STYLE_BAD : STYLE_GOOD);
	say_more(output, "  %s %s%s %s %s", name_of_area(c->run, ioas, area->iova),
		 area->flags & PFNBUF_MAP_READ ? "r" : "",
		 area->flags & PFNBUF_MAP_WRITE ? "w" : "", c->strokes->arrow,
		 area_backing(c->run, area, words));
	origin_words(c, area);
	state_words(c, area);
	say_more(output, "\n");
	json_open(json, NULL, '{');
	json_string(json, "name", name_of_area(c->run, ioas, area->iova));
	json_number(json, "iova", area->iova);
	json_number(json, "length", area->length);
	json_string(json, "backing", area_backing(c->run, area, words));
	json_bool(json, "dead", area->dead);
	json_close(json, '}');
}

void draw_ioas(struct run *run, struct object *object)
{
	struct canvas c = canvas_of(run);
	struct text *json = &run->output->fields;
	struct pfnbuf_area area;
	uint64_t at = 0;
	size_t dead, rows = 0, n = count_areas(object->ioas, &dead);

	json_open(json, NULL, '{');
	json_string(json, "ioas", object->name);
	say_more(run->output, "    %14s %s%s%s: I/O address space", "",
		 style_on(c.colour, STYLE_BOLD), object->name, style_off(c.colour));
	name_users(run, object);
	json_open(json, "areas", '[');
	edge(&c, EDGE_TOP, false, 0);
	while (rows < ROWS_MAX && pfnbuf_ioas_next_area(object->ioas, at, &area) == 1) {
		gap(&c, at, area.iova);
		if (area.iova)
			edge(&c, EDGE_BETWEEN, true, area.iova);
		area_row(&c, object, &area);
		rows++;
		if (__builtin_add_overflow(area.iova, area.length, &at))
			break;
		edge(&c, EDGE_BETWEEN, true, at);
	}
	gap_row(&c, n == 0 ? "empty" : n > rows ? "and more" : "");
	edge(&c, EDGE_BOTTOM, false, 0);
	json_close(json, ']');
	json_number(json, "count", n);
	json_close(json, '}');
}

/* ---------------------------------------------------------------- VM ------------------------------------------------- */

static uint64_t gpa_of(const struct object *object)
{
	struct pfnbuf_window_info info;

	if (object->kind == KIND_SLOT)
		return object->gpa;
	pfnbuf_window_get_info(object->window, &info);
	return info.gpa;
}

/* The slot or window of @vm with the lowest address that is not below @from. */
static struct object *next_placed(struct run *run, size_t vm, uint64_t from)
{
	struct object *found = NULL;

	for (size_t i = 0; i < run->nobjects; i++) {
		struct object *object = &run->objects[i];

		if (!(object->kind == KIND_SLOT && object->parent == vm) &&
		    !(object->kind == KIND_WINDOW && object->in_vm == vm))
			continue;
		if (gpa_of(object) >= from && (!found || gpa_of(object) < gpa_of(found)))
			found = object;
	}
	return found;
}

static void private_words(const struct canvas *c, const struct object *vm,
			  const struct object *slot)
{
	uint64_t from = slot->gpa, end = slot->gpa + slot->length;
	char words[64];
	struct span span;

	while (spans_find(&vm->spans, from, end, false, &span)) {
		say_more(c->run->output, ", %sprivate%s %s", style_on(c->colour, STYLE_WARN),
			 style_off(c->colour),
			 range_words(span.start, span.end - span.start, words));
		from = span.end;
	}
}

static void slot_row(const struct canvas *c, const struct object *vm, const struct object *slot)
{
	struct output *output = c->run->output;
	struct object *backing = object_by_index(c->run, slot->backing);
	struct object *private = object_by_index(c->run, slot->private_backing);
	struct text *json = &output->fields;
	bool works = true;

	if (backing && backing->kind == KIND_DMA_BUF)
		works = pfnbuf_buf_get_state(backing->buf) == PFNBUF_LIVE;
	filled_row(c, slot->length, works ? c->strokes->works : c->strokes->dead,
		   works ? STYLE_GOOD : STYLE_WARN);
	say_more(output, "  %s (slot %" PRIu32 ") %s %s", slot->name, slot->slot, c->strokes->arrow,
		 backing ? backing->name : "?");
	if (private)
		say_more(output, " + %s", private->name);
	private_words(c, vm, slot);
	say_more(output, "\n");
	json_open(json, NULL, '{');
	json_string(json, "name", slot->name);
	json_number(json, "gpa", slot->gpa);
	json_number(json, "length", slot->length);
	json_string(json, "backing", backing ? backing->name : "");
	json_close(json, '}');
}

static void window_row(const struct canvas *c, const struct object *window,
		       const struct pfnbuf_window_info *info, const struct pfnbuf_run *piece)
{
	struct output *output = c->run->output;
	struct text *json = &output->fields;
	bool works = info->state == PFNBUF_WINDOW_LIVE && !info->dead_areas;
	const char *mark = !works			  ? c->strokes->dead
			   : piece->vis == PFNBUF_PRIVATE ? c->strokes->private
							  : c->strokes->works;
	enum style style = piece->vis == PFNBUF_PRIVATE ? STYLE_WARN : window_style(info->state);
	char words[128], at[64];

	if (piece->vis == PFNBUF_HOLE) {
		gap_row(c, length_words(piece->length, at));
	} else {
		filled_row(c, piece->length, mark, style);
		say_more(output, "  %s %s %s %s %s\n", window->name,
			 range_words(piece->offset, piece->length, at), pfnbuf_vis_name(piece->vis),
			 c->strokes->arrow, window_backing(c->run, window, words));
	}
	json_open(json, NULL, '{');
	json_string(json, "name", window->name);
	json_number(json, "gpa", info->gpa + piece->offset);
	json_number(json, "length", piece->length);
	json_string(json, "visibility", pfnbuf_vis_name(piece->vis));
	json_string(json, "backing", window_backing(c->run, window, words));
	json_close(json, '}');
}

/* The runs of a window, with an edge between two. */
static void window_rows(const struct canvas *c, const struct object *window, size_t *rows)
{
	struct pfnbuf_window_info info;
	struct pfnbuf_layout *layout;
	struct pfnbuf_run piece;
	bool first = true;

	pfnbuf_window_get_info(window->window, &info);
	if (pfnbuf_window_get_layout(window->window, &layout))
		return;
	for (uint64_t at = 0; pfnbuf_layout_next(layout, &at, &piece, 1) > 0; first = false) {
		if (!first)
			edge(c, EDGE_BETWEEN, true, info.gpa + piece.offset);
		if (++*rows > ROWS_MAX) {
			gap_row(c, "and more");
			break;
		}
		window_row(c, window, &info, &piece);
	}
	pfnbuf_layout_free(layout);
}

void draw_vm(struct run *run, struct object *object)
{
	struct canvas c = canvas_of(run);
	struct text *json = &run->output->fields;
	size_t index = object_index(run, object), rows = 0;
	struct object *placed;
	uint64_t at = 0, gpa;

	json_open(json, NULL, '{');
	json_string(json, "vm", object->name);
	say_more(run->output, "    %14s %s%s%s: guest memory\n", "", style_on(c.colour, STYLE_BOLD),
		 object->name, style_off(c.colour));
	json_open(json, "slots", '[');
	edge(&c, EDGE_TOP, false, 0);
	while (rows < ROWS_MAX && (placed = next_placed(run, index, at))) {
		gpa = gpa_of(placed);
		gap(&c, at, gpa);
		if (gpa)
			edge(&c, EDGE_BETWEEN, true, gpa);
		if (placed->kind == KIND_SLOT)
			slot_row(&c, object, placed);
		else
			window_rows(&c, placed, &rows);
		rows++;
		at = gpa + placed->length;
		edge(&c, EDGE_BETWEEN, true, at);
	}
	gap_row(&c, !rows ? "empty" : next_placed(run, index, at) ? "and more" : "");
	edge(&c, EDGE_BOTTOM, false, 0);
	json_close(json, ']');
	json_close(json, '}');
}
