/* SPDX-License-Identifier: MIT */
/* Source text -> words, with variables put in. */
#ifndef PFNBUFCTL_LEX_H
#define PFNBUFCTL_LEX_H

#include "script.h"

struct word {
	char *text;    /* with variables put in, quotes and escapes taken out */
	size_t length; /* text may hold NUL bytes, from \x00 */
	size_t key;    /* length of the key in front of '='; 0: there is none */
	bool quoted;   /* some of it was in quotes */
	struct place at;
	struct place value_at; /* behind the '=' */
};

struct line {
	struct word *words;
	size_t n;
	size_t room;
	struct place at;
};

struct lexer {
	struct script *script;
	const struct source *source;
	size_t pos;
	unsigned number; /* of the line */
	size_t start;	 /* where the line starts */
	bool hopeless;	 /* a binary file: nothing more can be read from it */
	bool no_memory;
};

void lexer_init(struct lexer *lexer, struct script *script, const struct source *source);

/*
 * The next line that has words. Returns 1; 0 at the end; -EINVAL where the line was refused (the reason is in the
 * script's diags and the lexer stands behind it); -ENOMEM.
 */
int lexer_next(struct lexer *lx, struct line *line);
void line_clear(struct line *line);

#endif /* PFNBUFCTL_LEX_H */
