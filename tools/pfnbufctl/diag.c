/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diag.h"
#include "script.h"

/* How much of a long line is shown around the place. */
enum { SHOWN = 100, SHOWN_BEFORE = 60 };

char *format_text(const char *fmt, ...)
{
	va_list args;
	char *text;
	int n;

	va_start(args, fmt);
	n = vasprintf(&text, fmt, args);
	va_end(args);
	return n < 0 ? NULL : text;
}

static char printable(char c)
{
	if (c == '\t')
		return ' ';
	if ((unsigned char)c < 0x20 || c == 0x7f)
		return '?';
	return c;
}

/* The line with number @line, or NULL. */
static const char *find_line(const struct source *source, unsigned line, size_t *length)
{
	const char *p = source->text;
	const char *end = source->text + source->length;
	const char *stop;

	for (unsigned i = 1; i < line; i++) {
		p = memchr(p, '\n', (size_t)(end - p));
		if (!p)
			return NULL;
		p++;
	}
	stop = memchr(p, '\n', (size_t)(end - p));
	*length = (size_t)((stop ? stop : end) - p);
	return p;
}

static void show_line(struct diag *diag, const struct source *source)
{
	unsigned column = diag->at.column ? diag->at.column - 1 : 0;
	size_t length, from = 0, used = 0;
	const char *line;
	char *text;

	if (!source || !diag->at.line)
		return;
	line = find_line(source, diag->at.line, &length);
	if (!line || column > length)
		return;
	text = malloc(SHOWN + 1);
	if (!text)
		return;
	if (length > SHOWN && column > SHOWN_BEFORE)
		from = column - SHOWN_BEFORE;
	while (used < SHOWN && from + used < length) {
		text[used] = printable(line[from + used]);
		used++;
	}
	text[used] = '\0';
	diag->text = text;
	diag->caret = column - (unsigned)from;
	if (diag->caret + diag->at.width > used)
		diag->at.width = used > diag->caret ? (unsigned)used - diag->caret : 1;
}

void diag_add(struct diags *diags, const struct source *source, struct place at, const char *hint,
	      const char *fmt, ...)
{
	struct diag *diag;
	va_list args;

	if (diags->n == DIAG_MAX) {
		diags->dropped++;
		return;
	}
	diag = &diags->list[diags->n++];
	*diag = (struct diag){ .at = at };
	if (!diag->at.width)
		diag->at.width = 1;
	va_start(args, fmt);
	if (vasprintf(&diag->message, fmt, args) < 0)
		diag->message = NULL;
	va_end(args);
	diag->hint = hint && *hint ? strdup(hint) : NULL;
	show_line(diag, source);
}

void diags_clear(struct diags *diags)
{
	for (size_t i = 0; i < diags->n; i++) {
		free(diags->list[i].message);
		free(diags->list[i].hint);
		free(diags->list[i].text);
	}
	*diags = (struct diags){ .n = 0 };
}

enum { DISTANCE_MAX = SCRIPT_MAX_NAME + 1 };

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* The edit distance of two words, or @limit where it is that or more. Swapped neighbours count one. */
static unsigned edit_distance(const char *a, const char *b, unsigned limit)
{
	unsigned rows[3][DISTANCE_MAX + 1];
	unsigned *before = rows[0], *above = rows[1], *row = rows[2], *spare;
	size_t na = strnlen(a, DISTANCE_MAX + 1), nb = strnlen(b, DISTANCE_MAX + 1);

	if (na > DISTANCE_MAX || nb > DISTANCE_MAX)
		return limit;
	for (size_t j = 0; j <= nb; j++)
		above[j] = before[j] = (unsigned)j;
	for (size_t i = 1; i <= na; i++) {
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned cost = a[i - 1] == b[j - 1] ? 0 : 1;

			row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], before[j - 2] + 1);
		}
		spare = before;
		before = above;
		above = row;
		row = spare;
	}
	return least(above[nb], limit);
}

const char *diag_nearest(const char *word, const char *const *words)
{
	/* A third of the letters may be wrong: more is another word. */
	unsigned best = (unsigned)strnlen(word, DISTANCE_MAX) / 3 + 2;
	const char *found = NULL;

	for (; *words; words++) {
		unsigned distance = edit_distance(word, *words, best);

		if (distance < best) {
			best = distance;
			found = *words;
		}
	}
	return found;
}
