/* SPDX-License-Identifier: MIT */
/* What a user sees: text for people, one JSON object a line for programs. */
#ifndef PFNBUFCTL_OUTPUT_H
#define PFNBUFCTL_OUTPUT_H

#include <stdio.h>

#include "script.h"
#include "text.h"

enum style {
	STYLE_PLAIN,
	STYLE_BOLD,
	STYLE_DIM,
	STYLE_GOOD, /* live, done */
	STYLE_BAD,  /* dead, failed */
	STYLE_WARN, /* suspended */
	STYLE_NAME,
};

struct output {
	bool json;
	bool quiet;	   /* of a statement only what it was asked to print */
	bool echo;	   /* show each statement */
	bool colour;	   /* of stdout */
	bool colour_error; /* of stderr */
	bool unicode;
	FILE *out;
	FILE *error;
	unsigned titles;

	/* The statement that runs. */
	const struct statement *st;
	struct text detail; /* one line: what came of it */
	struct text body;   /* more lines */
	struct text fields; /* JSON members */
	bool recorded;	    /* an expected failure was the library's: its record says more */
};

void output_init(struct output *output, bool json);
void output_clear(struct output *output);

/* Escape sequences around a piece of text; "" where colours are off. */
const char *style_on(bool colour, enum style style);
const char *style_off(bool colour);

/* Between begin and end, what a statement has to say is collected. */
void output_begin(struct output *output, const struct statement *st);
void say(struct output *output, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void say_more(struct output *output, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

enum outcome {
	OUTCOME_DONE,
	OUTCOME_SKIPPED,  /* for the other kernel */
	OUTCOME_EXPECTED, /* failed, as it should */
	OUTCOME_WOULD,	  /* a dry run */
};
void output_end(struct output *output, enum outcome outcome);

/* A failure of the statement that runs, or with @st NULL of something else. */
struct failure {
	const struct statement *st;
	int code;	     /* negative errno */
	const char *message; /* of the tool; NULL: the library's last error */
};
void output_failure(struct output *output, const struct failure *failure);

/* What is wrong with scripts. */
void output_diags(struct output *output, const struct diags *diags);

/* Notices that belong to no statement: text on stderr unless quiet; JSON {"notice": @kind, ...}. */
void output_notice(struct output *output, const char *kind, enum style style, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same on stdout: how a run ended. */
void output_summary(struct output *output, const char *kind, enum style style, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* "0x1000+64K"; the number of bytes in the largest unit that divides it. @buf has 64 bytes. */
const char *range_words(uint64_t offset, uint64_t length, char *buf);
const char *length_words(uint64_t length, char *buf);

/* Lines of a hex dump into @to; with @against, bytes that differ are marked and shown below. */
void hexdump(struct text *to, uint64_t offset, const uint8_t *bytes, size_t n);
void hexdiff(struct text *to, uint64_t offset, const uint8_t *found, const uint8_t *wanted,
	     size_t n, bool colour);

#endif /* PFNBUFCTL_OUTPUT_H */
