/* SPDX-License-Identifier: MIT */
/* Pictures of layouts: a row for each, to the width of a terminal or as SVG. */
#ifndef PFNBUFCTL_DRAW_H
#define PFNBUFCTL_DRAW_H

#include <pfnbuf.h>

#include "text.h"

struct draw_run {
	uint64_t offset;
	uint64_t length;
	enum pfnbuf_vis vis;
	const char *mark; /* static; what to point out: "MSI-X table"; NULL: nothing */
};

struct draw_row {
	char *label;
	char *note;	  /* under the label; may be "" */
	uint64_t size;	  /* bytes */
	uint64_t address; /* of the first byte, for the axis */
	struct draw_run *runs;
	size_t nruns;
	struct pfnbuf_range *changes;
	size_t nchanges;
};

struct drawing {
	char *title;
	struct draw_row *rows;
	size_t nrows;
	bool failed; /* out of memory: something is missing */
};

void drawing_init(struct drawing *drawing, const char *title);
void drawing_clear(struct drawing *drawing);

/*
 * Runs, and what has changed in it, go to the row that was added last, in order; neighbours that
 * look the same become one run.
 */
void drawing_add_row(struct drawing *drawing, const char *label, const char *note, uint64_t address,
		     uint64_t size);
void drawing_add_run(struct drawing *drawing, const struct draw_run *run);
void drawing_add_change(struct drawing *drawing, uint64_t offset, uint64_t length);
void drawing_add_layout(struct drawing *drawing, const char *label, const char *note,
			const struct pfnbuf_layout *layout);

/* A line for each row and a legend, at most @columns wide. Letters where @colour is off. */
void draw_text(const struct drawing *drawing, bool colour, unsigned columns, struct text *to);

/* A whole SVG document. */
void draw_svg(const struct drawing *drawing, struct text *to);

/* "1.5 MiB". @buf has 64 bytes. */
const char *draw_size(uint64_t bytes, char *buf);

/* How wide stdout is: the terminal's columns, or 80. */
unsigned draw_columns(void);

#endif /* PFNBUFCTL_DRAW_H */
