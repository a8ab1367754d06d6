/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lex.h"

enum { LINE_MAX_BYTES = 64 << 10 };

void lexer_init(struct lexer *lexer, struct script *script, const struct source *source)
{
	*lexer = (struct lexer){ .script = script, .source = source, .number = 1 };
}

void line_clear(struct line *line)
{
	for (size_t i = 0; i < line->n; i++)
		free(line->words[i].text);
	free(line->words);
	*line = (struct line){ .n = 0 };
}

static bool at_end(const struct lexer *lx)
{
	return lx->pos >= lx->source->length;
}

/* The byte @ahead of the current one; '\n' behind the end, so that a line always ends. */
static char peek(const struct lexer *lx, size_t ahead)
{
	size_t pos = lx->pos + ahead;

	return pos < lx->source->length ? lx->source->text[pos] : '\n';
}

static struct place here(const struct lexer *lx)
{
	return (struct place){
		.file = lx->source->file,
		.line = lx->number,
		.column = (unsigned)(lx->pos - lx->start) + 1,
		.width = 1,
	};
}

static void next_line(struct lexer *lx)
{
	lx->pos++;
	lx->number++;
	lx->start = lx->pos;
}

/* Go to the end of the line after a mistake in it. */
static int refuse(struct lexer *lx)
{
	while (!at_end(lx) && peek(lx, 0) != '\n')
		lx->pos++;
	return lx->no_memory ? -ENOMEM : -EINVAL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool is_control(char c)
{
	return ((unsigned char)c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
}

static bool ends_word(const struct lexer *lx, char c)
{
	return is_blank(c) || c == '\n' || (c == ';' && lx->source->semicolons);
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

static int check_control(struct lexer *lx, char c)
{
	if (!is_control(c))
		return 0;
	lx->hopeless = true;
	diag_add(&lx->script->diags, NULL, here(lx), "a script is a text file",
		 "control character 0x%02x: is this a binary file?", (unsigned)(unsigned char)c);
	return -EINVAL;
}

/* A word that grows. */
struct builder {
	char *text;
	size_t length;
	size_t room;
};

static int build(struct lexer *lx, struct builder *b, const char *bytes, size_t n)
{
	size_t room = b->room ? b->room : 32;
	char *text;

	if (b->length + n > SCRIPT_MAX_WORD) {
		diag_add(&lx->script->diags, lx->source, here(lx), NULL,
			 "the word is longer than %d bytes", (int)SCRIPT_MAX_WORD);
		return -EINVAL;
	}
	while (room < b->length + n + 1)
		room *= 2;
	if (room != b->room) {
		text = realloc(b->text, room);
		if (!text) {
			lx->no_memory = true;
			return -ENOMEM;
		}
		b->text = text;
		b->room = room;
	}
	if (n)
		memcpy(b->text + b->length, bytes, n);
	b->length += n;
	b->text[b->length] = '\0';
	return 0;
}

static void unknown_variable(struct lexer *lx, const char *name, struct place at)
{
	struct script *script = lx->script;
	const char **names = calloc(script->nvariables + 1, sizeof(*names));
	const char *nearest = NULL;
	char hint[SCRIPT_MAX_NAME * 2 + 64];

	for (size_t i = 0; names && i < script->nvariables; i++)
		names[i] = script->variables[i].name;
	if (names)
		nearest = diag_nearest(name, names);
	if (nearest)
		snprintf(hint, sizeof(hint), "did you mean $%s?", nearest);
	else
		snprintf(hint, sizeof(hint), "write `let %s=VALUE` above, or run with -D %s=VALUE",
			 name, name);
	diag_add(&script->diags, lx->source, at, hint, "the variable $%s is not defined", name);
	free(names);
}

/* $name or ${name}: the lexer stands on the '$'. */
static int lex_variable(struct lexer *lx, struct builder *b)
{
	struct script *script = lx->script;
	struct place at = here(lx);
	bool braces = peek(lx, 1) == '{';
	char name[SCRIPT_MAX_NAME + 1];
	size_t from = braces ? 2 : 1, n = 0;

	while (is_name_char(peek(lx, from + n)) && (braces || peek(lx, from + n) != '-'))
		n++;
	if (!n || n > SCRIPT_MAX_NAME || (braces && peek(lx, from + n) != '}')) {
		diag_add(&script->diags, lx->source, at, "a dollar sign in a string is \\$",
			 "'$' is not followed by the name of a variable");
		return -EINVAL;
	}
	memcpy(name, lx->source->text + lx->pos + from, n);
	name[n] = '\0';
	at.width = (unsigned)(from + n + (braces ? 1 : 0));
	lx->pos += from + n + (braces ? 1 : 0);
	for (size_t i = 0; i < script->nvariables; i++) {
		struct variable *variable = &script->variables[i];

		if (strcmp(variable->name, name))
			continue;
		variable->used = true;
		return build(lx, b, variable->value, strlen(variable->value));
	}
	unknown_variable(lx, name, at);
	return -EINVAL;
}

static int lex_escape(struct lexer *lx, struct builder *b)
{
	static const char names[] = "nte\\\"$";
	static const char bytes[] = "\n\t\033\\\"$";
	char c = peek(lx, 1);
	const char *known = c ? strchr(names, c) : NULL;
	int high, low;
	char byte;

	if (known) {
		lx->pos += 2;
		return build(lx, b, &bytes[known - names], 1);
	}
	high = c == 'x' ? hex_digit(peek(lx, 2)) : -1;
	low = high >= 0 ? hex_digit(peek(lx, 3)) : -1;
	if (low < 0) {
		diag_add(&lx->script->diags, lx->source, here(lx),
			 "there are \\n \\t \\e \\\\ \\\" \\$ and \\xHH",
			 "unknown escape in a string");
		return -EINVAL;
	}
	byte = (char)(high << 4 | low);
	lx->pos += 4;
	return build(lx, b, &byte, 1);
}

/* A string in double quotes: the lexer stands on the opening one. */
static int lex_string(struct lexer *lx, struct builder *b)
{
	struct place at = here(lx);
	int err = 0;

	lx->pos++;
	while (!err) {
		char c = peek(lx, 0);

		if (c == '\n') {
			diag_add(&lx->script->diags, lx->source, at, NULL,
				 "the string that begins here has no end on this line");
			return -EINVAL;
		}
		err = check_control(lx, c);
		if (err)
			return err;
		if (c == '"') {
			lx->pos++;
			return build(lx, b, "", 0);
		}
		if (c == '\\') {
			err = lex_escape(lx, b);
		} else if (c == '$') {
			err = lex_variable(lx, b);
		} else {
			err = build(lx, b, &c, 1);
			lx->pos++;
		}
	}
	return err;
}

static int lex_word(struct lexer *lx, struct word *word)
{
	struct builder b = { NULL, 0, 0 };
	bool plain = true; /* nothing but the characters of a name so far */
	int err = 0;

	*word = (struct word){ .at = here(lx), .value_at = here(lx) };
	while (!err && !ends_word(lx, peek(lx, 0))) {
		char c = peek(lx, 0);

		err = check_control(lx, c);
		if (err)
			break;
		if (c == '"') {
			word->quoted = true;
			plain = false;
			err = lex_string(lx, &b);
		} else if (c == '$') {
			plain = false;
			err = lex_variable(lx, &b);
		} else {
			if (c == '=' && plain && b.length) {
				word->key = b.length;
				word->value_at = here(lx);
				word->value_at.column++;
			}
			plain = plain && is_name_char(c);
			err = build(lx, &b, &c, 1);
			lx->pos++;
		}
	}
	if (!err)
		err = build(lx, &b, "", 0);
	if (err) {
		free(b.text);
		return err;
	}
	word->text = b.text;
	word->length = b.length;
	word->at.width = here(lx).column - word->at.column;
	word->value_at.width = here(lx).column - word->value_at.column;
	return 0;
}

static int add_word(struct lexer *lx, struct line *line)
{
	struct word *words;
	size_t room = line->room ? line->room * 2 : 8;
	int err;

	if (line->n == SCRIPT_MAX_WORDS) {
		diag_add(&lx->script->diags, lx->source, here(lx), NULL,
			 "the line has more than %d words", (int)SCRIPT_MAX_WORDS);
		return -EINVAL;
	}
	if (line->n == line->room) {
		words = realloc(line->words, room * sizeof(*words));
		if (!words) {
			lx->no_memory = true;
			return -ENOMEM;
		}
		line->words = words;
		line->room = room;
	}
	err = lex_word(lx, &line->words[line->n]);
	if (!err)
		line->n++;
	return err;
}

/* Past blanks, comments and a backslash that continues the line. Returns 0, or what is wrong. */
static int skip_blanks(struct lexer *lx)
{
	for (;;) {
		char c = peek(lx, 0);

		if (is_blank(c)) {
			lx->pos++;
		} else if (c == '\\' && peek(lx, 1) == '\n' && lx->pos + 1 < lx->source->length) {
			lx->pos++;
			next_line(lx);
		} else if (c == '#') {
			while (peek(lx, 0) != '\n' && !is_control(peek(lx, 0)))
				lx->pos++;
		} else {
			return check_control(lx, c);
		}
	}
}

static bool line_too_long(struct lexer *lx)
{
	size_t left = lx->source->length - lx->pos;
	size_t n = left > LINE_MAX_BYTES ? LINE_MAX_BYTES + 1 : left;

	if (n <= LINE_MAX_BYTES || memchr(lx->source->text + lx->pos, '\n', n))
		return false;
	diag_add(&lx->script->diags, NULL, here(lx), NULL, "the line is longer than %d bytes",
		 (int)LINE_MAX_BYTES);
	return true;
}

static int lex_words(struct lexer *lx, struct line *line)
{
	int err = skip_blanks(lx);

	if (err)
		return err;
	line->at = here(lx);
	while (!at_end(lx) && !ends_word(lx, peek(lx, 0))) {
		err = add_word(lx, line);
		if (err)
			return err;
		err = skip_blanks(lx);
		if (err)
			return err;
	}
	return 0;
}

int lexer_next(struct lexer *lx, struct line *line)
{
	*line = (struct line){ .n = 0 };
	while (!at_end(lx) && !lx->hopeless) {
		int err = 0;

		if (lx->pos == lx->start && line_too_long(lx))
			err = -EINVAL;
		if (!err)
			err = lex_words(lx, line);
		if (err) {
			line_clear(line);
			return refuse(lx);
		}
		if (!at_end(lx) && peek(lx, 0) == '\n')
			next_line(lx);
		else if (!at_end(lx))
			lx->pos++;
		if (line->n)
			return 1;
	}
	return 0;
}
