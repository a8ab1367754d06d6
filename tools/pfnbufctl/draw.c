/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "draw.h"
#include "output.h"

/* ---- drawings ------------------------------------------------------------------------------- */

void drawing_init(struct drawing *drawing, const char *title)
{
	*drawing = (struct drawing){ .title = strdup(title) };
	drawing->failed = !drawing->title;
}

void drawing_clear(struct drawing *drawing)
{
	for (size_t i = 0; i < drawing->nrows; i++) {
		free(drawing->rows[i].label);
		free(drawing->rows[i].note);
		free(drawing->rows[i].runs);
		free(drawing->rows[i].changes);
	}
	free(drawing->rows);
	free(drawing->title);
	*drawing = (struct drawing){ .title = NULL };
}

/* Room for one more in an array that grows by doubling. */
static void *grow(void *array, size_t n, size_t size)
{
	return n & (n - 1) ? array : reallocarray(array, n ? 2 * n : 1, size);
}

void drawing_add_row(struct drawing *drawing, const char *label, const char *note, uint64_t address,
		     uint64_t size)
{
	struct draw_row *rows = grow(drawing->rows, drawing->nrows, sizeof(*rows));
	struct draw_row row = {
		.label = strdup(label),
		.note = strdup(note),
		.size = size,
		.address = address,
	};

	if (rows)
		drawing->rows = rows;
	if (!rows || !row.label || !row.note) {
		free(row.label);
		free(row.note);
		drawing->failed = true;
		return;
	}
	rows[drawing->nrows++] = row;
}

void drawing_add_run(struct drawing *drawing, const struct draw_run *run)
{
	struct draw_row *row = drawing->nrows ? &drawing->rows[drawing->nrows - 1] : NULL;
	struct draw_run *last = row && row->nruns ? &row->runs[row->nruns - 1] : NULL;
	struct draw_run *runs;

	if (!row)
		return;
	if (last && last->vis == run->vis && last->mark == run->mark) {
		last->length += run->length;
		return;
	}
	runs = grow(row->runs, row->nruns, sizeof(*runs));
	if (!runs) {
		drawing->failed = true;
		return;
	}
	row->runs = runs;
	runs[row->nruns++] = *run;
}

void drawing_add_change(struct drawing *drawing, uint64_t offset, uint64_t length)
{
	struct draw_row *row = drawing->nrows ? &drawing->rows[drawing->nrows - 1] : NULL;
	struct pfnbuf_range *changes;

	if (!row)
		return;
	changes = grow(row->changes, row->nchanges, sizeof(*changes));
	if (!changes) {
		drawing->failed = true;
		return;
	}
	row->changes = changes;
	changes[row->nchanges++] = (struct pfnbuf_range){ offset, length };
}

void drawing_add_layout(struct drawing *drawing, const char *label, const char *note,
			const struct pfnbuf_layout *layout)
{
	struct pfnbuf_run run;

	drawing_add_row(drawing, label, note, 0, pfnbuf_layout_get_size(layout));
	for (uint64_t pos = 0; pfnbuf_layout_next(layout, &pos, &run, 1) > 0;)
		drawing_add_run(drawing,
				&(struct draw_run){ run.offset, run.length, run.vis, NULL });
}

unsigned draw_columns(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_col < 20)
		return 80;
	return size.ws_col;
}

/* How a run looks: as its visibility, unless it is marked. */
enum look {
	LOOK_HOLE = PFNBUF_HOLE,
	LOOK_SHARED = PFNBUF_SHARED,
	LOOK_PRIVATE = PFNBUF_PRIVATE,
	LOOK_MARKED,
	LOOK_SEVERAL,
	N_LOOKS,
};

struct census {
	uint64_t bytes[N_LOOKS];
	size_t runs[N_LOOKS];
};

static enum look look_of(const struct draw_run *run)
{
	return run->mark ? LOOK_MARKED : (enum look)run->vis;
}

static struct census count(const struct drawing *drawing)
{
	struct census census = { .runs = { 0 } };

	for (size_t i = 0; i < drawing->nrows; i++)
		for (size_t k = 0; k < drawing->rows[i].nruns; k++) {
			const struct draw_run *run = &drawing->rows[i].runs[k];

			census.bytes[look_of(run)] += run->length;
			census.runs[look_of(run)]++;
		}
	return census;
}

static const char *const look_names[N_LOOKS] = {
	[LOOK_HOLE] = "hole",
	[LOOK_SHARED] = "shared",
	[LOOK_PRIVATE] = "private",
	[LOOK_MARKED] = "MSI-X",
	[LOOK_SEVERAL] = "several kinds in one column",
};

/* The order of legends: what the guest cares about first. */
static const enum look legend_order[] = {
	LOOK_PRIVATE,
	LOOK_SHARED,
	LOOK_HOLE,
	LOOK_MARKED,
};

#define N_LEGEND (sizeof(legend_order) / sizeof(legend_order[0]))

const char *draw_size(uint64_t bytes, char *buf)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(buf, 64, "%.4g %s", value, units[unit]);
	return buf;
}

/* ---- for a terminal ------------------------------------------------------------------------- */

static const struct {
	char letter;
	const char *colour;
	char on_colour; /* what stands in the coloured block */
} cells[N_LOOKS] = {
	[LOOK_HOLE] = { '.', "\033[100m", ' ' },   [LOOK_SHARED] = { '=', "\033[43m", ' ' },
	[LOOK_PRIVATE] = { '#', "\033[44m", ' ' }, [LOOK_MARKED] = { 'M', "\033[45m", 'M' },
	[LOOK_SEVERAL] = { '+', "\033[46m", '+' },
};

/* The look of the bytes [start, end) of a row; runs before *at end before start. */
static enum look cell_look(const struct draw_row *row, uint64_t start, uint64_t end, size_t *at)
{
	enum look look = N_LOOKS;

	while (*at < row->nruns && row->runs[*at].offset + row->runs[*at].length <= start)
		++*at;
	for (size_t i = *at; i < row->nruns && row->runs[i].offset < end; i++) {
		enum look next = look_of(&row->runs[i]);

		if (next == LOOK_MARKED)
			return next;
		look = look == N_LOOKS || look == next ? next : LOOK_SEVERAL;
	}
	return look == N_LOOKS ? LOOK_HOLE : look;
}

static void put_cells(struct text *to, enum look look, unsigned n, bool colour)
{
	if (colour)
		text_add(to, "%s", cells[look].colour);
	while (n--)
		text_add(to, "%c", colour ? cells[look].on_colour : cells[look].letter);
	if (colour)
		text_add(to, "%s", style_off(true));
}

static uint64_t column_start(const struct draw_row *row, unsigned column, unsigned width)
{
	return (uint64_t)((double)row->size * column / width);
}

/* A column is one byte at least, so that a small row is drawn whole. */
static uint64_t column_end(const struct draw_row *row, unsigned column, unsigned width)
{
	uint64_t start = column_start(row, column, width);
	uint64_t end = column_start(row, column + 1, width);

	return end > start ? end : start + 1;
}

/* Returns whether a column held several kinds. */
static bool put_row(struct text *to, const struct draw_row *row, unsigned width, bool colour)
{
	enum look pending = N_LOOKS;
	bool several = false;
	unsigned n = 0;
	size_t at = 0;

	for (unsigned i = 0; i < width; i++) {
		enum look look =
			cell_look(row, column_start(row, i, width), column_end(row, i, width), &at);

		several = several || look == LOOK_SEVERAL;
		if (look != pending && n)
			put_cells(to, pending, n, colour);
		n = look == pending ? n + 1 : 1;
		pending = look;
	}
	put_cells(to, pending, n, colour);
	return several;
}

/* Carets under what has changed. */
static void put_changes(struct text *to, const struct draw_row *row, unsigned width)
{
	size_t at = 0;

	for (unsigned i = 0; i < width; i++) {
		uint64_t start = column_start(row, i, width);
		uint64_t end = column_end(row, i, width);

		while (at < row->nchanges &&
		       row->changes[at].offset + row->changes[at].length <= start)
			at++;
		if (at == row->nchanges)
			break;
		text_add(to, "%c", row->changes[at].offset < end ? '^' : ' ');
	}
	text_add(to, "\n");
}

static void put_legend(struct text *to, const struct census *census, bool several, bool colour)
{
	char size[64];

	for (size_t i = 0; i < N_LEGEND; i++) {
		enum look look = legend_order[i];

		if (census->runs[look] == 0)
			continue;
		put_cells(to, look, 1, colour);
		text_add(to, " %-8s %10s in %zu run%s\n", look_names[look],
			 draw_size(census->bytes[look], size), census->runs[look],
			 census->runs[look] == 1 ? "" : "s");
	}
	if (several) {
		put_cells(to, LOOK_SEVERAL, 1, colour);
		text_add(to, " %s\n", look_names[LOOK_SEVERAL]);
	}
}

void draw_text(const struct drawing *drawing, bool colour, unsigned columns, struct text *to)
{
	const struct census census = count(drawing);
	size_t label_width = 0;
	bool several = false;
	unsigned width;
	char size[64];

	for (size_t i = 0; i < drawing->nrows; i++) {
		size_t length = text_columns(drawing->rows[i].label);

		label_width = length > label_width ? length : label_width;
	}
	/* The label, a size of nine columns, and a blank behind each. */
	width = columns > label_width + 31 ? columns - (unsigned)label_width - 11 : 20;
	for (size_t i = 0; i < drawing->nrows; i++) {
		const struct draw_row *row = &drawing->rows[i];

		text_add(to, "%s%s%s%*s %9s ", style_on(colour, STYLE_BOLD), row->label,
			 style_off(colour), (int)(label_width - text_columns(row->label)), "",
			 draw_size(row->size, size));
		several = put_row(to, row, width, colour) || several;
		text_add(to, "\n");
		if (row->nchanges) {
			text_add(to, "%*s", (int)label_width + 11, "");
			put_changes(to, row, width);
		}
	}
	text_add(to, "\n");
	put_legend(to, &census, several, colour);
}

/* ---- SVG ------------------------------------------------------------------------------------ */

/* All in SVG's user units, which are pixels at 100 %. */
enum {
	WIDTH = 960,
	LEFT = 132, /* of the bars */
	RIGHT = 930,
	TOP = 50,    /* of the first row */
	BAR = 34,    /* height of a bar */
	AXIS = 30,   /* height of the axis under it */
	PIN = 15,    /* height of a line of labels above it */
	GAP = 22,    /* between rows */
	LEGEND = 24, /* height of a line of the legend */
	DIGIT = 6,   /* width of a digit on the axis */
	CHAR = 6,    /* width of a letter, about */
	MAX_PIN_LINES = 4,
	NO_LINE = MAX_PIN_LINES,
};

static const char *const fills[N_LOOKS] = {
	[LOOK_HOLE] = "url(#hole)",
	[LOOK_SHARED] = "#f0b04f",
	[LOOK_PRIVATE] = "#2f66a9",
	[LOOK_MARKED] = "#b02a8f",
};

/* Of the words on a run. */
static const char *const classes[N_LOOKS] = {
	[LOOK_HOLE] = "on hatched",
	[LOOK_SHARED] = "on",
	[LOOK_PRIVATE] = "on dark",
	[LOOK_MARKED] = "on dark",
};

static void put_escaped(struct text *to, const char *s)
{
	for (; *s; s++) {
		if (*s == '<')
			text_add(to, "&lt;");
		else if (*s == '&')
			text_add(to, "&amp;");
		else
			text_put(to, s, 1);
	}
}

static double x_of(const struct draw_row *row, uint64_t offset)
{
	return LEFT + (double)offset / (double)row->size * (RIGHT - LEFT);
}

/* A run is never thinner than what can be seen. */
static double run_width(const struct draw_row *row, const struct draw_run *run)
{
	return fmax(x_of(row, run->offset + run->length) - x_of(row, run->offset),
		    run->mark ? 2.5 : 1.2);
}

static void svg_text(struct text *to, double x, double y, const char *class, const char *words)
{
	text_add(to, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">", class, x, y);
	put_escaped(to, words);
	text_add(to, "</text>\n");
}

static const char *name_of(const struct draw_run *run)
{
	return run->mark ? run->mark : look_names[look_of(run)];
}

/* Whether a run's name and size can be written on it. */
static bool has_room(const struct draw_row *row, const struct draw_run *run)
{
	char size[64];
	size_t letters = strlen(draw_size(run->length, size));

	if (letters < strlen(name_of(run)))
		letters = strlen(name_of(run));
	return run_width(row, run) > CHAR * (double)letters + 4;
}

static void svg_run(struct text *to, const struct draw_row *row, const struct draw_run *run,
		    double y)
{
	enum look look = look_of(run);
	double width = run_width(row, run);
	double middle = x_of(row, run->offset) + width / 2;
	char size[64];

	text_add(
		to,
		"<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\" fill=\"%s\"><title>0x%" PRIx64
		"+0x%" PRIx64 " %s%s%s</title></rect>\n",
		x_of(row, run->offset), y, width, BAR, fills[look], run->offset, run->length,
		pfnbuf_vis_name(run->vis), run->mark ? ", " : "", run->mark ? run->mark : "");
	if (!has_room(row, run))
		return;
	svg_text(to, middle, y + 15, classes[look], name_of(run));
	svg_text(to, middle, y + 27, classes[look], draw_size(run->length, size));
}

/* What points at a run with a mark that has no room for it. */
struct pin {
	const struct draw_run *run;
	double x;
	bool left; /* the label is left of x */
	unsigned line;
};

/* "MSI-X table, 16 KiB at +0xb00000". @buf has 128 bytes. */
static const char *pin_words(const struct draw_run *run, char *buf)
{
	char size[64];

	snprintf(buf, 128, "%s, %s at +0x%" PRIx64, run->mark, draw_size(run->length, size),
		 run->offset);
	return buf;
}

/*
 * The pins of a row: a label stands in the lowest line that is free there; where none is, the pin
 * has to do without (NO_LINE). Returns how many there are, and how many lines they take.
 */
static size_t place_pins(const struct draw_row *row, struct pin *pins, unsigned *linesp)
{
	double taken[MAX_PIN_LINES] = { 0 };
	char words[128];
	size_t n = 0;

	*linesp = 0;
	for (size_t i = 0; i < row->nruns; i++) {
		const struct draw_run *run = &row->runs[i];
		struct pin pin = { .run = run };
		double width, start;

		if (!run->mark || has_room(row, run))
			continue;
		width = CHAR * (double)strlen(pin_words(run, words));
		pin.x = x_of(row, run->offset) + run_width(row, run) / 2;
		pin.left = pin.x + 6 + width > WIDTH - 4;
		start = pin.left ? pin.x - 6 - width : pin.x + 6;
		while (pin.line < MAX_PIN_LINES && taken[pin.line] > start - 8)
			pin.line++;
		pins[n++] = pin;
		if (pin.line == NO_LINE)
			continue;
		taken[pin.line] = start + width;
		*linesp = pin.line + 1 > *linesp ? pin.line + 1 : *linesp;
	}
	return n;
}

static double pin_base(const struct pin *pin, double y)
{
	return y - 8 - PIN * (double)pin->line;
}

/* A wedge that points at the run, and a line up from it. */
static void svg_pin(struct text *to, const struct pin *pin, double y)
{
	text_add(to, "<path class=\"wedge\" d=\"M%.1f %.1f l-4 -6 h8 z\"/>\n", pin->x, y);
	if (pin->line != NO_LINE)
		text_add(to, "<path class=\"pin\" d=\"M%.1f %.1f V%.1f\"/>\n", pin->x,
			 pin_base(pin, y) - 5, y - 5);
}

static void svg_pin_label(struct text *to, const struct pin *pin, double y)
{
	char words[128];

	if (pin->line != NO_LINE)
		svg_text(to, pin->left ? pin->x - 6 : pin->x + 6, pin_base(pin, y),
			 pin->left ? "label left" : "label", pin_words(pin->run, words));
}

static void svg_change(struct text *to, const struct draw_row *row,
		       const struct pfnbuf_range *change, double y)
{
	double x = x_of(row, change->offset);
	double width = fmax(x_of(row, change->offset + change->length) - x, 2);

	text_add(to, "<rect class=\"change\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"4\"/>\n",
		 x, y - 6, width);
}

/* Addresses where runs meet, as far as they have room; the two ends always. */
static void svg_axis(struct text *to, const struct draw_row *row, double y)
{
	char words[32], end_words[32];
	double end_x, free_from;

	snprintf(end_words, sizeof(end_words), "0x%" PRIx64, row->address + row->size);
	end_x = RIGHT - DIGIT * (double)strlen(end_words) - 8;
	snprintf(words, sizeof(words), "0x%" PRIx64, row->address);
	svg_text(to, LEFT, y + 17, "at start", words);
	svg_text(to, RIGHT, y + 17, "at end", end_words);
	text_add(to, "<path class=\"tick\" d=\"M%d %.1f v6 M%d %.1f v6\"/>\n", LEFT, y, RIGHT, y);

	free_from = LEFT + DIGIT * (double)strlen(words) + 8;
	for (size_t i = 1; i < row->nruns; i++) {
		double x = x_of(row, row->runs[i].offset);
		double half;

		snprintf(words, sizeof(words), "0x%" PRIx64, row->address + row->runs[i].offset);
		half = DIGIT * (double)strlen(words) / 2;
		text_add(to, "<path class=\"tick\" d=\"M%.1f %.1f v4\"/>\n", x, y);
		if (x - half < free_from || x + half > end_x)
			continue;
		svg_text(to, x, y + 17, "at", words);
		free_from = x + half + 8;
	}
}

/* Returns where the next row starts. */
static double svg_row(struct text *to, const struct draw_row *row, double y)
{
	struct pin *pins = calloc(row->nruns + 1, sizeof(*pins));
	unsigned lines = 0;
	size_t npins = pins ? place_pins(row, pins, &lines) : 0;
	char size[64];

	y += lines ? PIN * lines + 8 : 0;
	svg_text(to, 16, y + 14, "name", row->label);
	svg_text(to, 16, y + 29, "note", *row->note ? row->note : draw_size(row->size, size));
	for (size_t i = 0; i < row->nruns; i++)
		if (!row->runs[i].mark)
			svg_run(to, row, &row->runs[i], y);
	/* On top of what else is as thin as they are. */
	for (size_t i = 0; i < row->nruns; i++)
		if (row->runs[i].mark)
			svg_run(to, row, &row->runs[i], y);
	text_add(to, "<rect class=\"frame\" x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%d\"/>\n",
		 LEFT, y, RIGHT - LEFT, BAR);
	for (size_t i = 0; i < npins; i++)
		svg_pin(to, &pins[i], y);
	/* Over the lines of all pins, so that none strikes a label out. */
	for (size_t i = 0; i < npins; i++)
		svg_pin_label(to, &pins[i], y);
	for (size_t i = 0; i < row->nchanges; i++)
		svg_change(to, row, &row->changes[i], y);
	svg_axis(to, row, y + BAR);
	free(pins);
	return y + BAR + AXIS + GAP;
}

static const char caption[] = "Each row is to its own scale. Addresses stand where runs meet; thin "
			      "runs are widened to be seen.";

static double svg_legend(struct text *to, const struct census *census, bool changed, double y)
{
	double x = LEFT;
	char words[128], size[64];

	for (size_t i = 0; i < N_LEGEND; i++) {
		enum look look = legend_order[i];

		if (census->runs[look] == 0)
			continue;
		snprintf(words, sizeof(words), "%s: %s in %zu run%s", look_names[look],
			 draw_size(census->bytes[look], size), census->runs[look],
			 census->runs[look] == 1 ? "" : "s");
		text_add(to,
			 "<rect class=\"swatch\" x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"14\" "
			 "fill=\"%s\"/>\n",
			 x, y, fills[look]);
		svg_text(to, x + 20, y + 11, "legend", words);
		x += 44 + CHAR * (double)strlen(words);
	}
	if (changed) {
		text_add(
			to,
			"<rect class=\"change\" x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"4\"/>\n",
			x, y + 5);
		svg_text(to, x + 20, y + 11, "legend", "changed");
	}
	svg_text(to, LEFT, y + LEGEND + 6, "note", caption);
	return y + 2 * LEGEND;
}

static const char head[] =
	"<style>\n"
	"text { font-family: Helvetica, Arial, 'Liberation Sans', sans-serif; font-size: 12px; "
	"fill: #222; }\n"
	".title { font-size: 16px; font-weight: bold; }\n"
	".name { font-weight: bold; }\n"
	".note { font-size: 11px; fill: #555; }\n"
	".on { font-size: 11px; text-anchor: middle; }\n"
	".dark { fill: #fff; }\n"
	".hatched { stroke: #f7f7f7; stroke-width: 4px; stroke-linejoin: round; "
	"paint-order: stroke; }\n"
	".at { font-family: 'DejaVu Sans Mono', 'Liberation Mono', monospace; font-size: 10px; "
	"text-anchor: middle; }\n"
	".start { text-anchor: start; }\n"
	".end { text-anchor: end; }\n"
	".label { font-size: 11px; fill: #8c1f70; stroke: #fff; stroke-width: 4px; "
	"stroke-linejoin: round; paint-order: stroke; }\n"
	".left { text-anchor: end; }\n"
	".pin { stroke: #b02a8f; fill: none; }\n"
	".wedge { fill: #b02a8f; }\n"
	".change { fill: #c8102e; }\n"
	".tick { stroke: #222; fill: none; }\n"
	".frame { stroke: #222; fill: none; }\n"
	".swatch { stroke: #222; stroke-width: 0.7; }\n"
	"</style>\n"
	"<defs><pattern id=\"hole\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" "
	"patternTransform=\"rotate(45)\"><rect width=\"7\" height=\"7\" fill=\"#f7f7f7\"/>"
	"<path d=\"M0 0 V7\" stroke=\"#c4c4c4\" stroke-width=\"2\"/></pattern></defs>\n";

void draw_svg(const struct drawing *drawing, struct text *to)
{
	const struct census census = count(drawing);
	struct text body = { .bytes = NULL };
	bool changed = false;
	double y = TOP;

	for (size_t i = 0; i < drawing->nrows; i++) {
		y = svg_row(&body, &drawing->rows[i], y);
		changed = changed || drawing->rows[i].nchanges;
	}
	y = svg_legend(&body, &census, changed, y);

	text_add(to,
		 "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" "
		 "viewBox=\"0 0 %d %.0f\">\n%s<rect width=\"%d\" height=\"%.0f\" fill=\"#fff\"/>\n",
		 WIDTH, y, WIDTH, y, head, WIDTH, y);
	svg_text(to, 16, 28, "title", drawing->title);
	text_put(to, text_get(&body), body.length);
	text_add(to, "</svg>\n");
	text_clear(&body);
}
