/* SPDX-License-Identifier: MIT */

/*
 * Any bytes as a script. The first byte says how it is run; the rest is the source. What must hold whatever comes:
 *
 * - a source is either taken, and nothing is said against it, or refused with at least one reason, each with a place
 *   inside the source, and then nothing of it stays behind;
 * - a statement that was taken has what its verb needs, and names only what exists;
 * - what was taken, written out with its variables put in, is taken again, and is the same.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/pfnbufctl/script.h"
#include "tools/pfnbufctl/text.h"

enum {
	MODE_SIM = 1,
	MODE_MACHINE = 2,
	MODE_SEMICOLONS = 4,
	MODE_OPEN_ENDED = 8,
	MODE_DEFINED = 16
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "violated: %s\n", what);
	abort();
}

static void check_refused(const struct script *script, const struct source *source)
{
	size_t lines = 1;

	for (size_t i = 0; i < source->length; i++)
		lines += source->text[i] == '\n';
	require(script->diags.n > 0, "a refused source has a reason");
	for (size_t i = 0; i < script->diags.n; i++) {
		const struct diag *diag = &script->diags.list[i];

		require(diag->message && *diag->message, "a reason has words");
		require(diag->at.line <= lines && diag->at.width > 0, "a reason has a place");
		require(!diag->text || diag->caret <= strlen(diag->text),
			"the caret is below the text");
	}
	require(!script->out.n && !script->nsymbols,
		"a refused source leaves no statement and no name");
	require(!script->in_transaction, "a refused source leaves no transaction");
}

static void check_statement(const struct script *script, const struct statement *st)
{
	require(st->verb && st->line, "a statement has a verb and its text");
	for (const struct param *p = st->verb->params; p->name; p++)
		if (!(p->flags & (PARAM_OPTIONAL | PARAM_DATA)))
			require(statement_get(st, p->name), "a statement has what its verb needs");
	for (size_t i = 0; i < st->nvalues; i++) {
		const struct value *value = &st->values[i];

		require(value->text, "a value has its text");
		if (value->param->type == TYPE_OBJECT)
			require(value->object < script->nsymbols &&
					script->symbols[value->object].kinds & value->param->kinds,
				"a statement names what exists, and is of the right kind");
		if (value->param->flags & PARAM_DATA)
			require(data_length(value) > 0 && data_length(value) <= SCRIPT_MAX_DATA,
				"bytes are some and not too many");
	}
}

static void compare(const struct statement *a, const struct statement *b)
{
	require(a->verb == b->verb && a->expect_errno == b->expect_errno && a->where == b->where &&
			a->implied == b->implied && a->nvalues == b->nvalues,
		"a statement written out is the same statement");
	for (size_t i = 0; i < a->nvalues; i++)
		require(a->values[i].param == b->values[i].param &&
				a->values[i].number == b->values[i].number &&
				a->values[i].length == b->values[i].length &&
				a->values[i].size == b->values[i].size &&
				a->values[i].object == b->values[i].object &&
				!strcmp(a->values[i].text, b->values[i].text),
			"a value written out is the same value");
}

static void check_written_out(const struct script *script)
{
	struct text text = { NULL, 0, 0, false };
	struct script again;
	struct source source = { .file = "again" };

	for (size_t i = 0; i < script->out.n; i++)
		if (!script->out.list[i].implied)
			text_add(&text, "%s\n", script->out.list[i].line);
	source.text = text_get(&text);
	source.length = text.length;
	script_init(&again, script->sim);
	again.machine = script->machine;
	again.open_ended = script->open_ended;
	/* A line may grow too long when its variables are put in; then it is refused for that alone. */
	if (script_parse(&again, &source)) {
		require(again.diags.n && strstr(again.diags.list[0].message, "longer than"),
			"what was taken is taken again");
	} else {
		require(again.out.n == script->out.n, "written out, there are as many statements");
		for (size_t i = 0; i < script->out.n; i++)
			compare(&script->out.list[i], &again.out.list[i]);
	}
	script_clear(&again);
	text_clear(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source source = { .file = "fuzz" };
	struct script script;

	if (!size)
		return 0;
	source.text = (const char *)data + 1;
	source.length = size - 1;
	source.semicolons = data[0] & MODE_SEMICOLONS;
	script_init(&script, data[0] & MODE_SIM);
	script.machine = data[0] & MODE_MACHINE;
	script.open_ended = data[0] & MODE_OPEN_ENDED;
	if (data[0] & MODE_DEFINED)
		require(!script_define(&script, "v=0x1000+64K"), "a good definition is taken");
	if (script_parse(&script, &source)) {
		check_refused(&script, &source);
	} else {
		require(!script.diags.n, "nothing is said against a source that is taken");
		for (size_t i = 0; i < script.out.n; i++)
			check_statement(&script, &script.out.list[i]);
		check_written_out(&script);
	}
	script_clear(&script);
	return 0;
}
