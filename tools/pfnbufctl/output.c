/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <inttypes.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pfnbuf.h>

#include "output.h"

enum { DETAIL_COLUMN = 50, DUMP_WIDTH = 16, DUMP_LINES = 16 };

static bool wants_colour(FILE *file)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (no_color && *no_color)
		return false;
	return isatty(fileno(file)) && term && strcmp(term, "dumb");
}

void output_init(struct output *output, bool json)
{
	*output = (struct output){ .json = json, .out = stdout, .error = stderr };
	output->colour = !json && wants_colour(stdout);
	output->colour_error = !json && wants_colour(stderr);
	output->unicode = !strcmp(nl_langinfo(CODESET), "UTF-8");
}

void output_clear(struct output *output)
{
	text_clear(&output->detail);
	text_clear(&output->body);
	text_clear(&output->fields);
}

const char *style_on(bool colour, enum style style)
{
	static const char *const codes[] = {
		[STYLE_PLAIN] = "",	   [STYLE_BOLD] = "\033[1m", [STYLE_DIM] = "\033[2m",
		[STYLE_GOOD] = "\033[32m", [STYLE_BAD] = "\033[31m", [STYLE_WARN] = "\033[33m",
		[STYLE_NAME] = "\033[36m",
	};

	return colour ? codes[style] : "";
}

const char *style_off(bool colour)
{
	return colour ? "\033[0m" : "";
}

void output_begin(struct output *output, const struct statement *st)
{
	text_clear(&output->detail);
	text_clear(&output->body);
	text_clear(&output->fields);
	output->st = st;
}

void say(struct output *output, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	text_vadd(&output->detail, fmt, args);
	va_end(args);
}

void say_more(struct output *output, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	text_vadd(&output->body, fmt, args);
	va_end(args);
}

/* ---------------------------------------------------------------- statements ----------------------------------------- */

static void put_place(struct text *json, const struct place *at)
{
	json_string(json, "file", at->file);
	json_number(json, "line", at->line);
	json_number(json, "column", at->column);
}

static void print_json(FILE *file, struct text *json)
{
	fprintf(file, "%s\n", text_get(json));
	fflush(file);
	text_clear(json);
}

static void put_statement(struct text *json, const struct statement *st)
{
	json_string(json, "verb", st->verb->name);
	put_place(json, &st->at);
}

static void put_record(struct text *json, int code, const char *message)
{
	const struct pfnbuf_error *record = pfnbuf_last_error_record();

	json_open(json, "error", '{');
	json_string(json, "errno", pfnbuf_errno_name(code));
	if (message) {
		json_string(json, "cause", message);
	} else {
		json_string(json, "call", record->call ? record->call : "");
		json_string(json, "object", record->object ? record->object : "");
		if (record->has_range) {
			json_number(json, "offset", record->range.offset);
			json_number(json, "length", record->range.length);
		}
		json_string(json, "cause", record->cause);
		json_string(json, "hint", record->hint);
	}
	json_close(json, '}');
}

static void end_json(struct output *output, enum outcome outcome)
{
	static const char *const words[] = {
		[OUTCOME_DONE] = "done",
		[OUTCOME_SKIPPED] = "skipped",
		[OUTCOME_EXPECTED] = "failed as expected",
		[OUTCOME_WOULD] = "would do",
	};
	struct text json = { NULL, 0, 0, false };

	json_open(&json, NULL, '{');
	put_statement(&json, output->st);
	json_string(&json, "outcome", words[outcome]);
	if (outcome == OUTCOME_WOULD)
		json_string(&json, "statement", output->st->line);
	if (output->fields.length) {
		text_put(&json, ",", 1);
		text_put(&json, output->fields.bytes, output->fields.length);
	}
	if (outcome == OUTCOME_EXPECTED)
		put_record(&json, output->st->expect_errno,
			   output->recorded ? NULL : text_get(&output->detail));
	json_close(&json, '}');
	print_json(output->out, &json);
}

static bool prints_by_itself(enum verb_id id)
{
	return id == VERB_PRINT || id == VERB_TITLE || id == VERB_SHOW || id == VERB_PICTURE;
}

static bool is_question(enum verb_id id)
{
	switch (id) {
	case VERB_EVENTS:
	case VERB_CONFIG_READ:
	case VERB_BAR_READ:
	case VERB_BUF_READ:
	case VERB_DMA_READ:
	case VERB_GUEST_READ:
	case VERB_PHYSICAL:
	case VERB_DIRTY:
	case VERB_EXTENSION:
	case VERB_SIM_PEEK:
	case VERB_SIM_COUNTS:
	case VERB_SIM_DUMP:
		return true;
	default:
		return prints_by_itself(id);
	}
}

static void echo_statement(struct output *output, enum style style)
{
	const char *line = output->st->line;
	size_t columns = text_columns(line);
	const char *arrow = output->unicode ? "\u2192" : "->";

	fprintf(output->out, "  %s%s%s", style_on(output->colour, style), line,
		style_off(output->colour));
	if (!output->detail.length)
		fputs("\n", output->out);
	else if (columns < DETAIL_COLUMN)
		fprintf(output->out, "%*s %s ", (int)(DETAIL_COLUMN - columns), "", arrow);
	else
		fprintf(output->out, "\n  %*s %s ", (int)DETAIL_COLUMN, "", arrow);
}

static void end_text(struct output *output, enum outcome outcome)
{
	bool own = prints_by_itself(output->st->verb->id) && outcome == OUTCOME_DONE;

	if (output->quiet && !is_question(output->st->verb->id))
		return;
	if (outcome == OUTCOME_SKIPPED) {
		text_clear(&output->detail);
		say(output, "skipped: for the %s kernel only",
		    output->st->where == WHERE_SIM ? "simulated" : "running");
	}
	if (output->echo && !output->quiet && !own)
		echo_statement(output, outcome == OUTCOME_SKIPPED ? STYLE_DIM : STYLE_PLAIN);
	if (output->detail.length && outcome == OUTCOME_EXPECTED)
		fprintf(output->out, "%s%s as expected:%s %s\n",
			style_on(output->colour, STYLE_WARN),
			pfnbuf_errno_name(output->st->expect_errno), style_off(output->colour),
			text_get(&output->detail));
	else if (output->detail.length)
		fprintf(output->out, "%s%s%s\n",
			style_on(output->colour,
				 outcome == OUTCOME_SKIPPED ? STYLE_DIM : STYLE_PLAIN),
			text_get(&output->detail), style_off(output->colour));
	fputs(text_get(&output->body), output->out);
	fflush(output->out);
}

void output_end(struct output *output, enum outcome outcome)
{
	if (output->json)
		end_json(output, outcome);
	else
		end_text(output, outcome);
}

/* ---------------------------------------------------------------- failures ------------------------------------------- */

static void failure_json(struct output *output, const struct failure *failure)
{
	struct text json = { NULL, 0, 0, false };

	json_open(&json, NULL, '{');
	if (failure->st)
		put_statement(&json, failure->st);
	json_string(&json, "outcome", "failed");
	put_record(&json, failure->code, failure->message);
	json_close(&json, '}');
	print_json(output->out, &json);
}

void output_failure(struct output *output, const struct failure *failure)
{
	const struct statement *st = failure->st;
	const char *red = style_on(output->colour_error, STYLE_BAD);
	const char *plain = style_off(output->colour_error);
	const char *message = failure->message ? failure->message : pfnbuf_last_error();
	const char *name = failure->message ? pfnbuf_errno_name(failure->code) : "";
	const char *colon = failure->message ? ": " : "";

	if (output->json) {
		failure_json(output, failure);
		return;
	}
	if (st)
		fprintf(output->error, "%s:%u:%u: %sfailed:%s %s%s%s\n  %5u | %s\n", st->at.file,
			st->at.line, st->at.column, red, plain, name, colon, message, st->at.line,
			st->line);
	else
		fprintf(output->error, "pfnbufctl: %sfailed:%s %s%s%s\n", red, plain, name, colon,
			message);
	fputs(text_get(&output->body), output->error);
	fflush(output->error);
}

static void diag_json(struct output *output, const struct diag *diag)
{
	struct text json = { NULL, 0, 0, false };

	json_open(&json, NULL, '{');
	json_string(&json, "outcome", "refused");
	if (diag->at.line)
		put_place(&json, &diag->at);
	else
		json_string(&json, "file", diag->at.file);
	json_string(&json, "message", diag->message ? diag->message : "out of memory");
	if (diag->hint)
		json_string(&json, "hint", diag->hint);
	json_close(&json, '}');
	print_json(output->out, &json);
}

static void diag_text(struct output *output, const struct diag *diag)
{
	const char *red = style_on(output->colour_error, STYLE_BAD);
	const char *bold = style_on(output->colour_error, STYLE_BOLD);
	const char *plain = style_off(output->colour_error);
	const char *message = diag->message ? diag->message : "out of memory";

	if (diag->at.line)
		fprintf(output->error, "%s%s:%u:%u:%s %serror:%s %s\n", bold, diag->at.file,
			diag->at.line, diag->at.column, plain, red, plain, message);
	else
		fprintf(output->error, "%s%s:%s %serror:%s %s\n", bold, diag->at.file, plain, red,
			plain, message);
	if (diag->text) {
		fprintf(output->error, "  %5u | %s\n        | %*s%s^", diag->at.line, diag->text,
			(int)diag->caret, "", red);
		for (unsigned i = 1; i < diag->at.width; i++)
			fputc('~', output->error);
		fprintf(output->error, "%s\n", plain);
	}
	if (diag->hint)
		fprintf(output->error, "        %s %s\n", diag->text ? "=" : "  ", diag->hint);
}

void output_diags(struct output *output, const struct diags *diags)
{
	for (size_t i = 0; i < diags->n; i++) {
		if (output->json)
			diag_json(output, &diags->list[i]);
		else
			diag_text(output, &diags->list[i]);
	}
	if (diags->dropped)
		output_notice(output, "refused", STYLE_PLAIN, "... and %s%zu more errors",
			      diags->dropped >= DIAG_GIVE_UP ? "at least " : "", diags->dropped);
	fflush(output->error);
}

static void notice(struct output *output, FILE *file, const char *kind, enum style style,
		   const char *fmt, va_list args)
{
	struct text message = { NULL, 0, 0, false }, json = { NULL, 0, 0, false };
	bool colour = file == output->out ? output->colour : output->colour_error;

	text_vadd(&message, fmt, args);
	if (output->json) {
		json_open(&json, NULL, '{');
		json_string(&json, "notice", kind);
		json_string(&json, "message", text_get(&message));
		json_close(&json, '}');
		print_json(output->out, &json);
	} else {
		fprintf(file, "%s%s%s\n", style_on(colour, style), text_get(&message),
			style_off(colour));
		fflush(file);
	}
	text_clear(&message);
}

void output_notice(struct output *output, const char *kind, enum style style, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	notice(output, output->error, kind, style, fmt, args);
	va_end(args);
}

void output_summary(struct output *output, const char *kind, enum style style, const char *fmt, ...)
{
	va_list args;

	if (output->quiet && !output->json)
		return;
	va_start(args, fmt);
	notice(output, output->out, kind, style, fmt, args);
	va_end(args);
}

/* ---------------------------------------------------------------- numbers and bytes ---------------------------------- */

const char *length_words(uint64_t length, char *buf)
{
	static const char units[] = " KMGT";
	unsigned unit = 0;

	while (unit < 4 && length && !(length & 1023)) {
		length >>= 10;
		unit++;
	}
	if (unit)
		snprintf(buf, 64, "%" PRIu64 "%c", length, units[unit]);
	else if (length < 4096)
		snprintf(buf, 64, "%" PRIu64, length);
	else
		snprintf(buf, 64, "0x%" PRIx64, length);
	return buf;
}

const char *range_words(uint64_t offset, uint64_t length, char *buf)
{
	char words[64];

	snprintf(buf, 64, "0x%" PRIx64 "+%s", offset, length_words(length, words));
	return buf;
}

static void dump_line(struct text *to, const char *lead, uint64_t offset, const uint8_t *bytes,
		      size_t n)
{
	text_add(to, "%s%08" PRIx64 " ", lead, offset);
	for (size_t i = 0; i < DUMP_WIDTH; i++) {
		if (i < n)
			text_add(to, "%s%02x", i == 8 ? "  " : " ", bytes[i]);
		else
			text_add(to, "%s  ", i == 8 ? "  " : " ");
	}
	text_add(to, "  |");
	for (size_t i = 0; i < n; i++)
		text_add(to, "%c", isprint(bytes[i]) ? bytes[i] : '.');
	text_add(to, "|\n");
}

void hexdump(struct text *to, uint64_t offset, const uint8_t *bytes, size_t n)
{
	bool starred = false;

	for (size_t i = 0; i < n; i += DUMP_WIDTH) {
		size_t m = n - i < DUMP_WIDTH ? n - i : DUMP_WIDTH;
		bool same =
			i && i + DUMP_WIDTH < n && !memcmp(bytes + i, bytes + i - DUMP_WIDTH, m);

		/* Lines that repeat stand as one star, as in hexdump(1). */
		if (same && !starred)
			text_add(to, "      *\n");
		starred = same;
		if (!same)
			dump_line(to, "      ", offset + i, bytes + i, m);
	}
}

void hexdiff(struct text *to, uint64_t offset, const uint8_t *found, const uint8_t *wanted,
	     size_t n, bool colour)
{
	size_t lines = 0;

	for (size_t i = 0; i < n; i += DUMP_WIDTH) {
		size_t m = n - i < DUMP_WIDTH ? n - i : DUMP_WIDTH;

		if (!memcmp(found + i, wanted + i, m))
			continue;
		if (lines++ == DUMP_LINES) {
			text_add(to, "      ... and more\n");
			return;
		}
		text_add(to, "%s", style_on(colour, STYLE_BAD));
		dump_line(to, "    - ", offset + i, found + i, m);
		text_add(to, "%s%s", style_off(colour), style_on(colour, STYLE_GOOD));
		dump_line(to, "    + ", offset + i, wanted + i, m);
		text_add(to, "%s", style_off(colour));
	}
}
