/* SPDX-License-Identifier: MIT */
/* Diagnostics: what is wrong with a script, where, and what would be right. */
#ifndef PFNBUFCTL_DIAG_H
#define PFNBUFCTL_DIAG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* A place in a source: lines and columns count from 1; columns are bytes. Line 0: the source as a whole. */
struct place {
	const char *file;
	unsigned line;
	unsigned column;
	unsigned width; /* how many bytes the caret underlines, at least 1 */
};

struct diag {
	struct place at;
	char *message;
	char *hint;	/* NULL: none */
	char *text;	/* the source line, shortened and printable; NULL: none to show */
	unsigned caret; /* where in @text the place is, from 0 */
};

/* So many are kept; after so many more, nobody reads on. */
enum { DIAG_MAX = 20, DIAG_GIVE_UP = 1000 };

struct diags {
	struct diag list[DIAG_MAX];
	size_t n;	/* kept */
	size_t dropped; /* found beyond those */
};

struct source;

/* Add one; @hint may be NULL. The line shown is taken from @source, which may be NULL. */
void diag_add(struct diags *diags, const struct source *source, struct place at, const char *hint,
	      const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void diags_clear(struct diags *diags);

/*
 * The word of @words (ended by NULL) that was most likely meant by @word, or NULL where none is near.
 */
const char *diag_nearest(const char *word, const char *const *words);

/* malloc'd text, NULL where out of memory. */
char *format_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* PFNBUFCTL_DIAG_H */
