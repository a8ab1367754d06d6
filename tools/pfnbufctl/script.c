/* SPDX-License-Identifier: MIT */
/* Lines of words -> checked statements. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pfnbuf.h>

#include "lex.h"
#include "script.h"
#include "text.h"

enum { VARIABLES_MAX = 1000, LISTED = 8, HINT_SIZE = 1024 };

/* One statement being checked. */
struct check {
	struct script *script;
	const struct source *source;
	const struct line *line;
	size_t next; /* word */
	struct statement st;
	bool wrong;
	bool no_memory;
};

#define COMPLAIN(check, at, hint, ...)                                                             \
	((check)->wrong = true,                                                                    \
	 diag_add(&(check)->script->diags, (check)->source, at, hint, __VA_ARGS__))

void script_init(struct script *script, bool sim)
{
	*script = (struct script){ .sim = sim };
}

static void value_clear(struct value *value)
{
	free(value->text);
	free(value->data);
}

static void statement_clear(struct statement *st)
{
	for (size_t i = 0; i < st->nvalues; i++)
		value_clear(&st->values[i]);
	free(st->values);
	free(st->line);
	*st = (struct statement){ .verb = NULL };
}

void statements_clear(struct statements *statements)
{
	for (size_t i = 0; i < statements->n; i++)
		statement_clear(&statements->list[i]);
	free(statements->list);
	*statements = (struct statements){ .list = NULL };
}

void script_clear(struct script *script)
{
	for (size_t i = 0; i < script->nsymbols; i++)
		free(script->symbols[i].name);
	for (size_t i = 0; i < script->nvariables; i++) {
		free(script->variables[i].name);
		free(script->variables[i].value);
	}
	free(script->symbols);
	free(script->buckets);
	free(script->variables);
	diags_clear(&script->diags);
	statements_clear(&script->out);
	*script = (struct script){ .sim = false };
}

/* ---------------------------------------------------------------- statements ----------------------------------------- */

const struct value *statement_get(const struct statement *st, const char *name)
{
	for (size_t i = 0; i < st->nvalues; i++)
		if (!strcmp(st->values[i].param->name, name))
			return &st->values[i];
	return NULL;
}

const struct value *statement_next(const struct statement *st, const struct value *after)
{
	for (size_t i = (size_t)(after - st->values) + 1; i < st->nvalues; i++)
		if (st->values[i].param == after->param)
			return &st->values[i];
	return NULL;
}

const struct value *statement_data(const struct statement *st)
{
	for (size_t i = 0; i < st->nvalues; i++)
		if (st->values[i].param->flags & PARAM_DATA)
			return &st->values[i];
	return NULL;
}

static int statements_add(struct statements *to, const struct statement *st)
{
	size_t room = to->room ? to->room * 2 : 64;
	struct statement *list;

	if (to->n == to->room) {
		list = realloc(to->list, room * sizeof(*list));
		if (!list)
			return -ENOMEM;
		to->list = list;
		to->room = room;
	}
	to->list[to->n++] = *st;
	return 0;
}

static struct value *add_value(struct check *c, const struct param *param)
{
	struct value *values;

	/* Grown by one: a statement has few. Repeated ones are bounded by the words of a line. */
	values = realloc(c->st.values, (c->st.nvalues + 1) * sizeof(*values));
	if (!values) {
		c->no_memory = true;
		return NULL;
	}
	c->st.values = values;
	values[c->st.nvalues] = (struct value){ .param = param, .object = NO_OBJECT };
	return &values[c->st.nvalues++];
}

/* ---------------------------------------------------------------- symbols -------------------------------------------- */

static size_t hash(const char *name)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3u;
	return (size_t)(h ^ h >> 32);
}

static void place_symbol(struct script *script, size_t index)
{
	size_t at = hash(script->symbols[index].name) & (script->nbuckets - 1);

	script->symbols[index].next = script->buckets[at];
	script->buckets[at] = index + 1;
}

static int grow_buckets(struct script *script)
{
	size_t n = script->nbuckets ? script->nbuckets * 2 : 64;
	size_t *buckets = calloc(n, sizeof(*buckets));

	if (!buckets)
		return -ENOMEM;
	free(script->buckets);
	script->buckets = buckets;
	script->nbuckets = n;
	for (size_t i = 0; i < script->nsymbols; i++)
		place_symbol(script, i);
	return 0;
}

/* The living symbol with this name, or NO_OBJECT. */
static size_t find_symbol(const struct script *script, const char *name)
{
	size_t i;

	if (!script->nbuckets)
		return NO_OBJECT;
	for (i = script->buckets[hash(name) & (script->nbuckets - 1)]; i;
	     i = script->symbols[i - 1].next)
		if (script->symbols[i - 1].alive && !strcmp(script->symbols[i - 1].name, name))
			return i - 1;
	return NO_OBJECT;
}

static size_t find_bdf(const struct script *script, const char *bdf)
{
	for (size_t i = 0; i < script->nsymbols; i++)
		if (script->symbols[i].alive && !strcmp(script->symbols[i].bdf, bdf))
			return i;
	return NO_OBJECT;
}

static size_t add_symbol(struct check *c, const char *name, unsigned kinds_mask, struct place made)
{
	struct script *script = c->script;
	size_t room = script->symbols_room ? script->symbols_room * 2 : 64;
	struct symbol *symbols;
	char *copy;

	if (script->nsymbols == script->symbols_room) {
		symbols = realloc(script->symbols, room * sizeof(*symbols));
		if (!symbols) {
			c->no_memory = true;
			return NO_OBJECT;
		}
		script->symbols = symbols;
		script->symbols_room = room;
	}
	copy = strdup(name);
	if (!copy || (script->nsymbols >= script->nbuckets && grow_buckets(script))) {
		free(copy);
		c->no_memory = true;
		return NO_OBJECT;
	}
	script->symbols[script->nsymbols] = (struct symbol){
		.name = copy,
		.kinds = kinds_mask,
		.alive = true,
		.sim_only = c->st.where == WHERE_SIM,
		.kernel_only = c->st.where == WHERE_KERNEL,
		.parent = NO_OBJECT,
		.made = made,
	};
	place_symbol(script, script->nsymbols);
	return script->nsymbols++;
}

void script_forget(struct script *script, size_t object)
{
	if (!script->symbols[object].alive)
		return;
	script->symbols[object].alive = false;
	script->symbols[object].ended_in = script->serial;
	if (!(script->symbols[object].kinds & (KIND_IOAS | KIND_VM)))
		return;
	for (size_t i = object + 1; i < script->nsymbols; i++)
		if (script->symbols[i].alive && script->symbols[i].parent == object)
			script_forget(script, i);
}

void script_revive(struct script *script, size_t object)
{
	script->symbols[object].alive = true;
}

/* Forget what a refused source defined, and let live what it ended. */
static void roll_back(struct script *script, size_t nsymbols, size_t nvariables)
{
	while (script->nsymbols > nsymbols) {
		struct symbol *last = &script->symbols[--script->nsymbols];
		size_t *bucket = &script->buckets[hash(last->name) & (script->nbuckets - 1)];

		/* The newest of a chain is its first. */
		*bucket = last->next;
		free(last->name);
	}
	while (script->nvariables > nvariables) {
		struct variable *last = &script->variables[--script->nvariables];

		free(last->name);
		free(last->value);
	}
	for (size_t i = 0; i < script->nsymbols; i++)
		if (!script->symbols[i].alive && script->symbols[i].ended_in == script->serial)
			script->symbols[i].alive = true;
}

/* ---------------------------------------------------------------- words as values ------------------------------------ */

static void list_words(const char *const *words, char *buf, size_t size)
{
	size_t used = 0;

	buf[0] = '\0';
	for (; *words && used < size; words++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? ", " : "", *words);
}

/* "did you mean X? valid: A, B" */
static void suggest(const char *word, const char *const *words, char *hint, size_t size)
{
	const char *nearest = diag_nearest(word, words);
	char list[HINT_SIZE - 100];

	list_words(words, list, sizeof(list));
	if (nearest)
		snprintf(hint, size, "did you mean `%s`? valid: %s", nearest, list);
	else
		snprintf(hint, size, "valid: %s", list);
}

static void wrong_value(struct check *c, const struct value *value, const char *wrong)
{
	char words[256];

	param_words(value->param, words, sizeof(words));
	COMPLAIN(c, value->at, NULL, "`%.*s` (for %s) %s", 40, value->text, words, wrong);
}

static void check_number(struct check *c, struct value *value)
{
	const struct param *param = value->param;
	const char *wrong = parse_number(value->text, &value->number);

	if (wrong)
		wrong_value(c, value, wrong);
	else if (param->max && value->number > param->max)
		COMPLAIN(c, value->at, NULL, "%s is %s; it can be at most %llu", param->name,
			 value->text, (unsigned long long)param->max);
	else if (param->flags & PARAM_PAGES && !value->number && !c->st.expect_errno)
		COMPLAIN(c, value->at, NULL, "%s is 0", param->name);
}

static void check_signed(struct check *c, struct value *value)
{
	const bool negative = value->text[0] == '-';
	const char *wrong = parse_number(value->text + negative, &value->number);

	if (!wrong && value->number > INT64_MAX)
		wrong = "goes beyond 63 bits";
	if (wrong)
		wrong_value(c, value, wrong);
	else if (negative)
		value->number = -value->number;
}

static void check_range(struct check *c, struct value *value)
{
	const char *wrong = parse_range(value->text, &value->number, &value->length);
	uint64_t end;

	if (!wrong && c->st.expect_errno)
		return; /* how the kernel refuses it is what the line asks */
	if (!wrong && !value->length)
		wrong = "is an empty range";
	/* The end is the byte behind, which for the last byte there is would be 2^64. */
	if (!wrong && __builtin_add_overflow(value->number, value->length - 1, &end))
		wrong = "is a range that goes beyond 64 bits";
	if (wrong)
		wrong_value(c, value, wrong);
}

static void check_word(struct check *c, struct value *value)
{
	char hint[HINT_SIZE];

	for (uint64_t i = 0; value->param->words[i]; i++) {
		if (!strcmp(value->param->words[i], value->text)) {
			value->number = i;
			return;
		}
	}
	suggest(value->text, value->param->words, hint, sizeof(hint));
	COMPLAIN(c, value->at, hint, "unknown %s `%.*s`", value->param->name, 40, value->text);
}

static void check_set(struct check *c, struct value *value)
{
	const char *p = value->text;
	char hint[HINT_SIZE];

	while (*p) {
		size_t n = strcspn(p, ",");
		uint64_t i = 0;

		while (value->param->words[i] && (strlen(value->param->words[i]) != n ||
						  strncmp(value->param->words[i], p, n)))
			i++;
		if (!value->param->words[i]) {
			list_words(value->param->words, hint, sizeof(hint));
			COMPLAIN(c, value->at, hint,
				 "unknown word `%.*s` in %s=", (int)(n < 40 ? n : 40), p,
				 value->param->name);
			return;
		}
		value->number |= 1ull << i;
		p += n + (p[n] == ',');
	}
}

static void check_switch(struct check *c, struct value *value)
{
	static const char *const words[] = { "off", "on", "no", "yes", NULL };

	for (uint64_t i = 0; words[i]; i++) {
		if (!strcmp(words[i], value->text)) {
			value->number = i & 1;
			return;
		}
	}
	COMPLAIN(c, value->at, "valid: on, off (or yes, no)", "%s is `%.*s`, neither on nor off",
		 value->param->name, 40, value->text);
}

static void check_errno(struct check *c, struct value *value)
{
	int code = pfnbuf_errno_from_name(value->text);

	if (code <= 0)
		COMPLAIN(c, value->at, "names are as in errno(3): ENODEV, EINVAL, ...",
			 "unknown error name `%.*s`", 40, value->text);
	else
		value->number = (uint64_t)code;
}

/* SIZE[,64][,prefetchable][,io]: number is the size, length the PFNBUF_SIM_BAR_* flags. */
static void check_bar(struct check *c, struct value *value)
{
	static const char *const words[] = { "io", "64", "prefetchable", NULL };
	size_t n = strcspn(value->text, ",");
	const char *p = value->text + n, *wrong = NULL;
	char size[32];

	snprintf(size, sizeof(size), "%.*s", (int)(n < 31 ? n : 31), value->text);
	wrong = parse_number(size, &value->number);
	while (!wrong && *p == ',') {
		size_t i = 0;

		p++;
		n = strcspn(p, ",");
		while (words[i] && (strlen(words[i]) != n || strncmp(words[i], p, n)))
			i++;
		if (!words[i])
			wrong = "has a word that is not 64, prefetchable or io";
		value->length |= 1ull << i;
		p += n;
	}
	if (!wrong && (value->number & (value->number - 1)))
		wrong = "has a size that is not a power of two";
	if (!wrong && value->number > 1ull << 40)
		wrong = "is larger than 1T";
	if (wrong)
		wrong_value(c, value, wrong);
}

static void check_fill(struct check *c, struct value *value)
{
	const char *wrong = parse_range(value->text, &value->number, &value->length);

	if (!wrong && value->number > 0xff)
		wrong = "fills with what is more than a byte";
	if (!wrong && (!value->length || value->length > SCRIPT_MAX_DATA))
		wrong = "has a length that is not between 1 and 16M";
	if (wrong)
		wrong_value(c, value, wrong);
}

static void check_bytes(struct check *c, struct value *value)
{
	const char *wrong = parse_hex_bytes(value->text, &value->data, &value->size);

	if (wrong)
		wrong_value(c, value, wrong);
}

static void check_text(struct check *c, struct value *value, const struct word *word)
{
	size_t skip = word->key ? word->key + 1 : 0;

	value->size = word->length - skip;
	if (!value->size) {
		wrong_value(c, value, "has no bytes");
		return;
	}
	value->data = malloc(value->size);
	if (!value->data)
		c->no_memory = true;
	else
		memcpy(value->data, word->text + skip, value->size);
}

static void check_integer(struct check *c, struct value *value)
{
	size_t size = (size_t)value->param->max;
	const char *wrong = parse_number(value->text, &value->number);

	if (!wrong && size < 8 && value->number >> (8 * size))
		wrong = "does not fit";
	if (wrong) {
		wrong_value(c, value, wrong);
		return;
	}
	value->data = malloc(size);
	if (!value->data) {
		c->no_memory = true;
		return;
	}
	for (size_t i = 0; i < size; i++)
		value->data[i] = (uint8_t)(value->number >> (8 * i));
	value->size = size;
}

/* ---------------------------------------------------------------- names ---------------------------------------------- */

static void suggest_name(struct check *c, const char *word, unsigned wanted, char *hint,
			 size_t size)
{
	struct script *script = c->script;
	const char *names[64 + 1] = { NULL };
	size_t n = 0;

	for (size_t i = script->nsymbols; i-- && n < 64;)
		if (script->symbols[i].alive && script->symbols[i].kinds & wanted)
			names[n++] = script->symbols[i].name;
	if (!n) {
		char words[128];

		snprintf(hint, size, "there is no %s yet",
			 kind_words(wanted, words, sizeof(words)));
		return;
	}
	if (n > LISTED && !diag_nearest(word, names))
		names[LISTED] = NULL;
	suggest(word, names, hint, size);
}

static void unknown_object(struct check *c, struct value *value)
{
	char hint[HINT_SIZE], words[128];

	suggest_name(c, value->text, value->param->kinds, hint, sizeof(hint));
	COMPLAIN(c, value->at, hint, "no %s is called `%.*s` here",
		 value->param->kinds == KIND_ANY
			 ? "object"
			 : kind_words(value->param->kinds, words, sizeof(words)),
		 40, value->text);
}

static const char *article(unsigned kinds_mask)
{
	char words[128];

	return strchr("aeiouAEIO", kind_words(kinds_mask, words, sizeof(words))[0]) ? "an" : "a";
}

static void wrong_kind(struct check *c, struct value *value, const struct symbol *symbol)
{
	char is[128], wants[128], hint[HINT_SIZE];

	suggest_name(c, value->text, value->param->kinds, hint, sizeof(hint));
	COMPLAIN(c, value->at, hint, "`%s` is %s %s (line %u); wanted is %s %s", symbol->name,
		 article(symbol->kinds), kind_words(symbol->kinds, is, sizeof(is)),
		 symbol->made.line, article(value->param->kinds),
		 kind_words(value->param->kinds, wants, sizeof(wants)));
}

/* A name that only one kind of run makes can only be used by lines for that kind. */
static void check_where(struct check *c, struct value *value, const struct symbol *symbol)
{
	bool sim_line = c->st.where == WHERE_SIM || c->st.verb->flags & VERB_SIM_ONLY;

	if (symbol->sim_only && !sim_line)
		COMPLAIN(c, value->at, "put sim: in front of this line, too",
			 "`%s` exists on the simulated kernel only (line %u)", symbol->name,
			 symbol->made.line);
	if (symbol->kernel_only && c->st.where != WHERE_KERNEL)
		COMPLAIN(c, value->at, "put kernel: in front of this line, too",
			 "`%s` exists on the running kernel only (line %u)", symbol->name,
			 symbol->made.line);
}

/* `reset 0000:01:00.0`: the device is opened under its address. */
static size_t imply_device(struct check *c, const struct value *value)
{
	const struct verb *verb = &verbs[VERB_DEVICE];
	struct check opened = { .script = c->script, .source = c->source, .line = c->line };
	char bdf[16];
	struct value *name, *address;
	size_t object;

	bdf_normalize(value->text, bdf);
	object = find_bdf(c->script, bdf);
	if (object != NO_OBJECT)
		return object;
	opened.st = (struct statement){
		.verb = verb,
		.at = c->st.at,
		.where = c->st.where,
		.skipped = c->st.skipped,
		.implied = true,
	};
	object = add_symbol(c, bdf, KIND_DEVICE, value->at);
	if (object == NO_OBJECT)
		return object;
	memcpy(c->script->symbols[object].bdf, bdf, sizeof(bdf));
	opened.st.line = format_text("device %s", bdf);
	name = add_value(&opened, &verb->params[verb_param(verb, "NAME")]);
	if (name) {
		name->object = object;
		name->at = value->at;
		name->text = strdup(bdf);
	}
	address = name ? add_value(&opened, &verb->params[verb_param(verb, "BDF")]) : NULL;
	if (address) {
		address->at = value->at;
		address->text = strdup(bdf);
	}
	if (!opened.st.line || !name || !address || !opened.st.values[0].text || !address->text ||
	    statements_add(&c->script->out, &opened.st)) {
		statement_clear(&opened.st);
		c->no_memory = true;
	}
	return object;
}

static void check_object(struct check *c, struct value *value)
{
	const struct symbol *symbol;

	value->object = find_symbol(c->script, value->text);
	if (value->object == NO_OBJECT && value->param->kinds & KIND_DEVICE &&
	    bdf_is_valid(value->text) && !c->wrong)
		value->object = imply_device(c, value);
	if (c->no_memory)
		return;
	if (value->object == NO_OBJECT) {
		unknown_object(c, value);
		return;
	}
	symbol = &c->script->symbols[value->object];
	if (!(symbol->kinds & value->param->kinds))
		wrong_kind(c, value, symbol);
	else
		check_where(c, value, symbol);
}

static void check_new(struct check *c, struct value *value)
{
	size_t old = find_symbol(c->script, value->text);
	struct symbol *symbol = old == NO_OBJECT ? NULL : &c->script->symbols[old];

	if (!name_is_valid(value->text)) {
		COMPLAIN(c, value->at,
			 "a letter or _, then letters, digits, _ and -, at most 63 in all",
			 "`%.*s` cannot be a name", 40, value->text);
		return;
	}
	if (!symbol)
		return;
	/* `sim: device a ...` and `kernel: device a ...` make one name between them. */
	if ((symbol->sim_only && c->st.where == WHERE_KERNEL) ||
	    (symbol->kernel_only && c->st.where == WHERE_SIM)) {
		if (symbol->kinds == value->param->kinds) {
			value->object = old;
			return;
		}
	}
	COMPLAIN(c, value->at, "close it first, or take another name",
		 "the name `%s` is taken (line %u)", value->text, symbol->made.line);
}

static void check_bdf(struct check *c, struct value *value)
{
	char bdf[16];

	if (!bdf_is_valid(value->text)) {
		wrong_value(c, value,
			    "is not a PCI address: write DOMAIN:BUS:DEVICE.FUNCTION, as in "
			    "0000:01:00.0");
		return;
	}
	bdf_normalize(value->text, bdf);
	free(value->text);
	value->text = strdup(bdf);
	if (!value->text)
		c->no_memory = true;
}

static void check_value(struct check *c, struct value *value, const struct word *word)
{
	const char *wrong = NULL;

	/* Only bytes may hold a NUL. */
	if (value->param->type != TYPE_TEXT && strlen(word->text) != word->length) {
		wrong_value(c, value, "has a NUL byte in it");
		return;
	}
	switch (value->param->type) {
	case TYPE_NEW:
		check_new(c, value);
		break;
	case TYPE_OBJECT:
		check_object(c, value);
		break;
	case TYPE_BDF:
		check_bdf(c, value);
		break;
	case TYPE_NUMBER:
		check_number(c, value);
		break;
	case TYPE_SIGNED:
		check_signed(c, value);
		break;
	case TYPE_RANGE:
		check_range(c, value);
		break;
	case TYPE_WORD:
		check_word(c, value);
		break;
	case TYPE_SET:
		check_set(c, value);
		break;
	case TYPE_SWITCH:
		check_switch(c, value);
		break;
	case TYPE_STRING:
		break;
	case TYPE_DURATION:
		wrong = parse_duration(value->text, &value->number);
		break;
	case TYPE_ERRNO:
		check_errno(c, value);
		break;
	case TYPE_BAR:
		check_bar(c, value);
		break;
	case TYPE_BYTES:
		check_bytes(c, value);
		break;
	case TYPE_TEXT:
		check_text(c, value, word);
		break;
	case TYPE_FILL:
		check_fill(c, value);
		break;
	case TYPE_INTEGER:
		check_integer(c, value);
		break;
	}
	if (wrong)
		wrong_value(c, value, wrong);
}

/* ---------------------------------------------------------------- arguments ------------------------------------------ */

static void take_value(struct check *c, const struct param *param, const struct word *word)
{
	size_t skip = param->flags & PARAM_KEY ? word->key + 1 : 0;
	struct value value = { .param = param, .object = NO_OBJECT };
	struct value *slot;

	value.at = skip ? word->value_at : word->at;
	value.text = strdup(word->text + skip);
	if (!value.text) {
		c->no_memory = true;
		return;
	}
	check_value(c, &value, word);
	slot = c->no_memory ? NULL : add_value(c, param);
	if (slot)
		*slot = value;
	else
		value_clear(&value);
}

static const struct param *find_key(const struct verb *verb, const struct word *word)
{
	for (const struct param *p = verb->params; p->name; p++)
		if (p->flags & PARAM_KEY && strlen(p->name) == word->key &&
		    !strncmp(p->name, word->text, word->key))
			return p;
	return NULL;
}

static void unknown_key(struct check *c, const struct word *word)
{
	const char *keys[SCRIPT_MAX_PARAMS + 1] = { NULL };
	char hint[HINT_SIZE], name[64];
	size_t n = 0;

	for (const struct param *p = c->st.verb->params; p->name; p++)
		if (p->flags & PARAM_KEY)
			keys[n++] = p->name;
	snprintf(name, sizeof(name), "%.*s", (int)(word->key < 63 ? word->key : 63), word->text);
	if (n)
		suggest(name, keys, hint, sizeof(hint));
	else
		snprintf(hint, sizeof(hint), "`%s` takes no key=value arguments", c->st.verb->name);
	COMPLAIN(c, word->at, hint, "`%s` has no argument %s=", c->st.verb->name, name);
}

static void take_key(struct check *c, const struct word *word)
{
	const struct param *param = find_key(c->st.verb, word);

	if (!param) {
		unknown_key(c, word);
		return;
	}
	if (statement_get(&c->st, param->name)) {
		COMPLAIN(c, word->at, NULL, "%s= is given twice", param->name);
		return;
	}
	if (param->flags & PARAM_DATA && statement_data(&c->st)) {
		COMPLAIN(c, word->at, NULL, "bytes are given twice: by %s= and by %s=",
			 statement_data(&c->st)->param->name, param->name);
		return;
	}
	take_value(c, param, word);
}

static const struct param *next_positional(const struct param *param)
{
	while (param->name && param->flags & PARAM_KEY)
		param++;
	return param->name ? param : NULL;
}

static void synopsis_hint(const struct verb *verb, char *hint, size_t size)
{
	char synopsis[HINT_SIZE - 16];

	verb_synopsis(verb, synopsis, sizeof(synopsis));
	snprintf(hint, size, "usage: %s", synopsis);
}

static void take_words(struct check *c)
{
	const struct param *param = next_positional(c->st.verb->params);
	char hint[HINT_SIZE];

	for (; c->next < c->line->n && !c->no_memory; c->next++) {
		const struct word *word = &c->line->words[c->next];

		if (word->key) {
			take_key(c, word);
			continue;
		}
		if (!param) {
			synopsis_hint(c->st.verb, hint, sizeof(hint));
			COMPLAIN(c, word->at, hint, "`%.*s` is one word too many for `%s`", 40,
				 word->text, c->st.verb->name);
			return;
		}
		take_value(c, param, word);
		if (!(param->flags & PARAM_REPEAT))
			param = next_positional(param + 1);
	}
}

static void check_complete(struct check *c)
{
	bool data_wanted = false;
	char hint[HINT_SIZE], words[256];

	synopsis_hint(c->st.verb, hint, sizeof(hint));
	for (const struct param *p = c->st.verb->params; p->name; p++) {
		data_wanted = data_wanted || p->flags & PARAM_DATA;
		if (p->flags & (PARAM_OPTIONAL | PARAM_DATA) || statement_get(&c->st, p->name))
			continue;
		param_words(p, words, sizeof(words));
		COMPLAIN(c, c->st.at, hint, "`%s` lacks its %s", c->st.verb->name, words);
		return;
	}
	if (data_wanted && !statement_data(&c->st))
		COMPLAIN(
			c, c->st.at,
			"give one of bytes=dead_beef, string=\"text\", fill=0xa5+64, u8=, u16=, u32=, u64=",
			"`%s` lacks its bytes", c->st.verb->name);
}

/* ---------------------------------------------------------------- rules of single verbs ------------------------------ */

static unsigned kinds_of(const struct check *c, const char *param)
{
	const struct value *value = statement_get(&c->st, param);

	return value && value->object != NO_OBJECT ? c->script->symbols[value->object].kinds
						   : KIND_ANY;
}

static void check_expect(struct check *c)
{
	unsigned kinds_here = kinds_of(c, "NAME");
	char words[128], hint[HINT_SIZE];
	const char *keys[SCRIPT_MAX_PARAMS + 1] = { NULL };
	size_t n = 0;

	for (const struct param *p = c->st.verb->params; p->name; p++)
		if (p->flags & PARAM_KEY && p->kinds & kinds_here)
			keys[n++] = p->name;
	list_words(keys, words, sizeof(words));
	snprintf(hint, sizeof(hint), "valid for it: %s", words);
	if (c->st.nvalues < 2)
		COMPLAIN(c, c->st.at, hint, "`expect` lacks what to compare");
	for (size_t i = 1; i < c->st.nvalues; i++) {
		const struct value *value = &c->st.values[i];

		if (value->param->flags & PARAM_KEY && !(value->param->kinds & kinds_here))
			COMPLAIN(c, value->at, hint, "%s %s has no %s", article(kinds_here),
				 kind_words(kinds_here, words, sizeof(words)), value->param->name);
	}
}

static void check_exclusive(struct check *c, const char *one, const char *other, bool needed)
{
	const struct value *a = statement_get(&c->st, one), *b = statement_get(&c->st, other);

	if (a && b)
		COMPLAIN(c, b->at, NULL, "`%s` takes %s or %s, not both", c->st.verb->name, one,
			 other);
	else if (needed && !a && !b)
		COMPLAIN(c, c->st.at, NULL, "`%s` lacks %s, or %s= instead", c->st.verb->name, one,
			 other);
}

static void check_unmap(struct check *c)
{
	const struct value *range = statement_get(&c->st, "RANGE");

	if (range && kinds_of(c, "NAME") == KIND_AREA)
		COMPLAIN(c, range->at, "unmap the area, or a range of its IOAS",
			 "an area is unmapped whole, and takes no range");
}

static void check_vm(struct check *c)
{
	const struct value *slots = statement_get(&c->st, "slots");

	check_exclusive(c, "type", "fd", false);
	if (slots && !statement_get(&c->st, "fd"))
		COMPLAIN(c, slots->at, NULL,
			 "slots= goes with fd=: all slots of a new VM are free");
	if (slots && (slots->number > UINT32_MAX || slots->length > UINT32_MAX))
		COMPLAIN(c, slots->at, NULL, "slot ids have 32 bits");
}

/* An address goes with what it is an address of. */
static void check_pair(struct check *c, const char *space, const char *address)
{
	const struct value *a = statement_get(&c->st, space), *b = statement_get(&c->st, address);

	if (a && !b)
		COMPLAIN(c, a->at, NULL, "%s= wants %s=, where in it the window is", space,
			 address);
	if (b && !a)
		COMPLAIN(c, b->at, NULL, "%s= wants %s=, what that is an address in", address,
			 space);
}

/* A key that says nothing without another one. */
static void check_needs(struct check *c, const char *key, const char *other)
{
	const struct value *value = statement_get(&c->st, key);

	if (value && !statement_get(&c->st, other))
		COMPLAIN(c, value->at, NULL, "%s= says nothing without %s%s", key, other,
			 c->st.verb->params[verb_param(c->st.verb, other)].flags & PARAM_KEY ? "="
											     : "");
}

static void check_ram(struct check *c)
{
	const struct value *private = statement_get(&c->st, "private");

	check_needs(c, "private-offset", "private");
	if (statement_get(&c->st, "retry") && !(kinds_of(c, "BUF") & KIND_GUEST_MEMFD))
		COMPLAIN(c, statement_get(&c->st, "retry")->at, NULL,
			 "retry= is for a guest_memfd that is converted in place");
	check_needs(c, "private", "vm");
	if (private && kinds_of(c, "BUF") == KIND_GUEST_MEMFD)
		COMPLAIN(c, private->at, NULL,
			 "a guest_memfd as the memory is private memory, too: private= is for "
			 "another one beside a memfd");
}

static void check_window(struct check *c)
{
	check_pair(c, "vm", "gpa");
	check_pair(c, "ioas", "iova");
	if (!statement_get(&c->st, "vm") && !statement_get(&c->st, "ioas"))
		COMPLAIN(c, c->st.at, NULL,
			 "a window is in a VM (vm=, gpa=), in an IOAS (ioas=, iova=), or both");
	check_needs(c, "slot-flags", "vm");
	check_needs(c, "withdraw", "vm");
	check_needs(c, "flags", "ioas");
	check_needs(c, "granule", "ioas");
	if (c->st.verb->id == VERB_RAM_WINDOW)
		check_ram(c);
}

static void check_bind(struct check *c)
{
	const struct value *digest = statement_get(&c->st, "digest");
	const struct value *report = statement_get(&c->st, "report");
	const struct value *does = statement_get(&c->st, "helper-does");
	const bool sim = c->script->sim || c->st.where == WHERE_SIM;
	const bool helped = statement_get(&c->st, "helper") && (!does || does->number & 2);

	if (digest->size != 32 && digest->size != 48 && digest->size != 64)
		COMPLAIN(c, digest->at, "SHA-256, SHA-384 and SHA-512 have 32, 48 and 64 bytes",
			 "the digest has %zu byte%s", digest->size, digest->size == 1 ? "" : "s");
	check_needs(c, "helper-does", "helper");
	if (report && does && does->number & 2)
		COMPLAIN(c, report->at, NULL,
			 "the report is given twice: by report= and by the helper");
	if (!report && !helped && !sim)
		COMPLAIN(c, c->st.at,
			 "no kernel interface has it: give report=FILE or helper=PROGRAM",
			 "where does the report come from?");
}

static void check_hypercall(struct check *c)
{
	size_t n = 0;

	for (const struct value *arg = statement_get(&c->st, "ARG"); arg;
	     arg = statement_next(&c->st, arg))
		if (n++ == 4)
			COMPLAIN(c, arg->at, NULL, "a hypercall has four arguments at most");
}

static void check_plan(struct check *c)
{
	const struct value *range = statement_get(&c->st, "RANGE"),
			   *to = statement_get(&c->st, "to");

	if (range && !to)
		COMPLAIN(c, range->at, NULL, "to=: what shall the range become?");
	if (to && !range)
		COMPLAIN(c, to->at, NULL, "to= wants the range that shall become so");
	if (range && kinds_of(c, "NAME") == KIND_BIND)
		COMPLAIN(c, range->at, NULL,
			 "a bind has no ranges: its report says what becomes what");
}

static void check_move(struct check *c)
{
	const struct value *iova = statement_get(&c->st, "iova");

	if (iova && kinds_of(c, "NAME") == KIND_SLOT)
		COMPLAIN(c, iova->at, NULL, "a slot is in no IOAS: only a window is moved there");
}

static void check_read_length(struct check *c)
{
	const struct value *range = statement_get(&c->st, "RANGE");

	if (range && range->length > SCRIPT_MAX_DATA)
		COMPLAIN(c, range->at, NULL, "reads more than 16M");
}

static void check_token(struct check *c)
{
	const struct value *token = statement_get(&c->st, "token");

	check_exclusive(c, "BDF", "fd", true);
	if (token && token->size != 16)
		COMPLAIN(c, token->at, NULL, "a VF token has 16 bytes, and this has %zu",
			 token->size);
}

static void check_verb(struct check *c)
{
	switch (c->st.verb->id) {
	case VERB_EXPECT:
		check_expect(c);
		break;
	case VERB_DEVICE:
		check_token(c);
		break;
	case VERB_UNMAP:
		check_unmap(c);
		break;
	case VERB_VM:
		check_vm(c);
		break;
	case VERB_BAR_WINDOW:
	case VERB_RAM_WINDOW:
		check_window(c);
		break;
	case VERB_SET_LAYOUT:
		check_needs(c, "layout", "FILE");
		break;
	case VERB_BIND:
		check_bind(c);
		break;
	case VERB_EXPLAIN_HYPERCALL:
		check_hypercall(c);
		break;
	case VERB_PLAN:
		check_plan(c);
		break;
	case VERB_MOVE:
		check_move(c);
		break;
	case VERB_CONFIG_READ:
	case VERB_BAR_READ:
	case VERB_BUF_READ:
	case VERB_DMA_READ:
	case VERB_GUEST_READ:
	case VERB_SIM_PEEK:
		check_read_length(c);
		break;
	default:
		break;
	}
}

/* ---------------------------------------------------------------- let ------------------------------------------------ */

static struct variable *find_variable(struct script *script, const char *name, size_t length)
{
	for (size_t i = 0; i < script->nvariables; i++)
		if (strlen(script->variables[i].name) == length &&
		    !strncmp(script->variables[i].name, name, length))
			return &script->variables[i];
	return NULL;
}

static int add_variable(struct script *script, const char *name, size_t length, const char *value)
{
	struct variable *variables;
	char *name_copy = strndup(name, length), *value_copy = strdup(value);

	variables = realloc(script->variables, (script->nvariables + 1) * sizeof(*variables));
	if (variables)
		script->variables = variables;
	if (!variables || !name_copy || !value_copy) {
		free(name_copy);
		free(value_copy);
		return -ENOMEM;
	}
	variables[script->nvariables++] =
		(struct variable){ .name = name_copy, .value = value_copy };
	return 0;
}

static void take_let(struct check *c, const struct word *word)
{
	struct script *script = c->script;
	struct variable *variable;
	char name[SCRIPT_MAX_NAME + 1];

	if (!word->key || word->key > SCRIPT_MAX_NAME) {
		COMPLAIN(c, word->at, "usage: let NAME=VALUE ...",
			 "`%.*s` gives no variable a value", 40, word->text);
		return;
	}
	snprintf(name, sizeof(name), "%.*s", (int)word->key, word->text);
	if (!name_is_valid(name)) {
		COMPLAIN(c, word->at, NULL, "`%s` cannot be the name of a variable", name);
		return;
	}
	variable = find_variable(script, name, word->key);
	if (variable && variable->forced && !variable->made.line) {
		variable->used = true;
		variable->made = word->at;
		return;
	}
	if (variable) {
		COMPLAIN(c, word->at, NULL, "the variable %s has a value already (line %u)", name,
			 variable->made.line);
		return;
	}
	if (script->nvariables >= VARIABLES_MAX) {
		COMPLAIN(c, word->at, NULL, "there are more than %d variables", (int)VARIABLES_MAX);
		return;
	}
	if (add_variable(script, name, word->key, word->text + word->key + 1)) {
		c->no_memory = true;
		return;
	}
	script->variables[script->nvariables - 1].made = word->at;
}

int script_define(struct script *script, const char *assignment)
{
	const char *equals = strchr(assignment, '=');
	char name[SCRIPT_MAX_NAME + 1];
	size_t length = equals ? (size_t)(equals - assignment) : 0;
	struct variable *variable;
	int err;

	if (!equals || length > SCRIPT_MAX_NAME)
		return -EINVAL;
	snprintf(name, sizeof(name), "%.*s", (int)length, assignment);
	if (!name_is_valid(name) || script->nvariables >= VARIABLES_MAX)
		return -EINVAL;
	variable = find_variable(script, name, length);
	if (variable) {
		char *value = strdup(equals + 1);

		if (!value)
			return -ENOMEM;
		free(variable->value);
		variable->value = value;
		return 0;
	}
	err = add_variable(script, name, length, equals + 1);
	if (!err)
		script->variables[script->nvariables - 1].forced = true;
	return err;
}

/* ---------------------------------------------------------------- lines ---------------------------------------------- */

static void take_prefixes(struct check *c)
{
	const struct line *line = c->line;

	if (c->next < line->n && !strcmp(line->words[c->next].text, "sim:")) {
		c->st.where = WHERE_SIM;
		c->next++;
	} else if (c->next < line->n && !strcmp(line->words[c->next].text, "kernel:")) {
		c->st.where = WHERE_KERNEL;
		c->next++;
	}
	c->st.skipped = (c->st.where == WHERE_SIM && !c->script->sim) ||
			(c->st.where == WHERE_KERNEL && c->script->sim);
	if (c->next < line->n && line->words[c->next].text[0] == '!') {
		const struct word *word = &line->words[c->next++];

		c->st.expect_errno = pfnbuf_errno_from_name(word->text + 1);
		if (c->st.expect_errno <= 0) {
			COMPLAIN(c, word->at, "as in `!ENODEV map ...`; names are as in errno(3)",
				 "unknown error name `%.*s`", 40, word->text + 1);
			c->st.expect_errno = EINVAL;
		}
	}
}

static void unknown_verb(struct check *c)
{
	const struct word *word = &c->line->words[c->next];
	const char *words[VERB_COUNT + 1] = { NULL };
	char hint[HINT_SIZE], list[HINT_SIZE - 128], both[160];
	size_t length = strlen(word->text), n = 0, used = 0;
	const char *nearest;

	list[0] = '\0';
	for (size_t i = 0; i < VERB_COUNT; i++) {
		const char *name = verbs[i].name;

		words[n++] = name;
		if (!strncmp(name, word->text, length) && name[length] == ' ' &&
		    used < sizeof(list))
			used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s",
						 used ? ", " : "", name);
	}
	snprintf(both, sizeof(both), "%.60s %.60s", word->text,
		 c->next + 1 < c->line->n ? c->line->words[c->next + 1].text : "");
	nearest = diag_nearest(both, words);
	if (used && c->next + 1 == c->line->n) {
		snprintf(hint, sizeof(hint), "valid: %s", list);
		COMPLAIN(c, word->at, hint, "`%s` wants a second word", word->text);
		return;
	}
	if (used) {
		if (nearest)
			snprintf(hint, sizeof(hint), "did you mean `%s`? valid: %s", nearest, list);
		else
			snprintf(hint, sizeof(hint), "valid: %s", list);
		COMPLAIN(c, word->at, hint, "unknown verb `%s`", both);
		return;
	}
	if (!nearest)
		nearest = diag_nearest(word->text, words);
	if (nearest)
		snprintf(hint, sizeof(hint), "did you mean `%s`? `pfnbufctl help` lists all",
			 nearest);
	else
		snprintf(hint, sizeof(hint), "`pfnbufctl help` lists all");
	COMPLAIN(c, word->at, hint, "unknown verb `%.*s`", 40, word->text);
}

static bool take_verb(struct check *c)
{
	const struct line *line = c->line;
	char both[64];

	if (c->next == line->n) {
		COMPLAIN(c, line->at, NULL, "the line has a prefix and no verb");
		return false;
	}
	if (c->next + 1 < line->n) {
		int n = snprintf(both, sizeof(both), "%s %s", line->words[c->next].text,
				 line->words[c->next + 1].text);

		c->st.verb = n < (int)sizeof(both) ? verb_find(both) : NULL;
		if (c->st.verb)
			c->next += 2;
	}
	if (!c->st.verb) {
		c->st.verb = verb_find(line->words[c->next].text);
		if (c->st.verb)
			c->next++;
	}
	if (!c->st.verb)
		unknown_verb(c);
	return c->st.verb;
}

static void check_placement(struct check *c)
{
	const struct verb *verb = c->st.verb;
	struct script *script = c->script;

	if (c->st.expect_errno && verb->flags & VERB_NO_FAIL)
		COMPLAIN(c, c->st.at, NULL, "`%s` cannot be expected to fail", verb->name);
	if (script->machine && !(verb->flags & VERB_MACHINE))
		COMPLAIN(c, c->st.at,
			 "valid: let, sim device, sim set, sim poke, sim profile, sim tdi-report",
			 "a machine file has no `%s`", verb->name);
	if (verb->flags & VERB_SIM_ONLY && c->st.where == WHERE_KERNEL)
		COMPLAIN(c, c->st.at, NULL,
			 "`%s` is for the simulated kernel, not for kernel: lines", verb->name);
	else if (verb->flags & VERB_SIM_ONLY && !script->sim && c->st.where != WHERE_SIM)
		COMPLAIN(c, c->st.at,
			 "run with --sim, or put sim: in front of the line to skip it elsewhere",
			 "`%s` needs the simulated kernel", verb->name);
	if (verb->flags & VERB_FINAL && script->in_transaction && !c->st.expect_errno)
		COMPLAIN(c, c->st.at, "move it out of begin ... commit",
			 "`%s` cannot be undone, and a transaction is open (line %u)", verb->name,
			 script->begun.line);
}

static void check_transaction(struct check *c)
{
	struct script *script = c->script;
	bool begin = c->st.verb->id == VERB_BEGIN;

	if (!begin && c->st.verb->id != VERB_COMMIT)
		return;
	if (c->st.where != WHERE_ANY)
		COMPLAIN(c, c->st.at, NULL, "a transaction begins and ends everywhere or nowhere");
	if (begin && script->in_transaction)
		COMPLAIN(c, c->st.at, "transactions do not nest", "a transaction is open (line %u)",
			 script->begun.line);
	if (!begin && !script->in_transaction)
		COMPLAIN(c, c->st.at, NULL, "`commit` without `begin`");
	script->in_transaction = begin;
	script->begun = c->st.at;
}

/* What the statement does to names, once it is known to be right. */
static void take_effect(struct check *c)
{
	struct statement *st = &c->st;

	if (st->expect_errno)
		return;
	for (size_t i = 0; i < st->nvalues; i++) {
		struct value *value = &st->values[i];
		struct symbol *symbol;

		if (value->param->type != TYPE_NEW || !name_is_valid(value->text))
			continue;
		if (value->object != NO_OBJECT) { /* the other half of a sim: and kernel: pair */
			symbol = &c->script->symbols[value->object];
			symbol->sim_only = symbol->kernel_only = false;
		} else if (find_symbol(c->script, value->text) != NO_OBJECT) {
			continue; /* complained of already */
		} else {
			value->object = add_symbol(c, value->text, value->param->kinds, value->at);
			if (value->object == NO_OBJECT)
				return;
			symbol = &c->script->symbols[value->object];
		}
		if (statement_get(st, "IOAS"))
			symbol->parent = statement_get(st, "IOAS")->object;
		else if (st->verb->id == VERB_SLOT && statement_get(st, "VM"))
			symbol->parent = statement_get(st, "VM")->object;
		if (st->verb->id == VERB_DEVICE && statement_get(st, "BDF"))
			snprintf(symbol->bdf, sizeof(symbol->bdf), "%s",
				 statement_get(st, "BDF")->text);
	}
	if (st->skipped)
		return;
	if (st->verb->id == VERB_CLOSE ||
	    (st->verb->id == VERB_UNMAP && kinds_of(c, "NAME") == KIND_AREA))
		for (size_t i = 0; i < st->nvalues; i++)
			if (st->values[i].object != NO_OBJECT)
				script_forget(c->script, st->values[i].object);
}

static void check_line(struct check *c)
{
	c->st.at = c->line->at;
	take_prefixes(c);
	if (!take_verb(c))
		return;
	c->st.at = c->line->words[c->next - 1].at;
	c->st.at.column = c->line->words[c->next - 1].at.column;
	if (strchr(c->st.verb->name, ' '))
		c->st.at = c->line->words[c->next - 2].at;
	c->st.at.width = (unsigned)strlen(c->st.verb->name);
	check_placement(c);
	check_transaction(c);
	if (c->st.verb->id == VERB_LET) {
		if (c->next == c->line->n)
			COMPLAIN(c, c->st.at, "usage: let NAME=VALUE ...",
				 "`let` lacks a variable");
		for (; c->next < c->line->n && !c->no_memory; c->next++)
			take_let(c, &c->line->words[c->next]);
		return;
	}
	take_words(c);
	if (!c->wrong && !c->no_memory)
		check_complete(c);
	if (!c->wrong && !c->no_memory)
		check_verb(c);
	/* Also of a wrong line: what it names is not wrong again further down. */
	if (!c->no_memory)
		take_effect(c);
}

/* Whether a word reads as itself without quotes. */
static bool reads_plain(const struct word *word, size_t skip)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+:.,!=/";
	const char *text = word->text + skip;

	if (word->quoted || !word->length || strlen(word->text) != word->length)
		return false;
	/* An equals sign that came out of a variable makes no key. */
	if (!skip && strchr(text, '='))
		return false;
	return text[strspn(text, plain)] == '\0';
}

static void quote(struct text *text, const char *bytes, size_t n)
{
	text_put(text, "\"", 1);
	for (size_t i = 0; i < n; i++) {
		unsigned char byte = (unsigned char)bytes[i];

		if (byte < 0x20 || byte == 0x7f)
			text_add(text, "\\x%02x", byte);
		else
			text_add(text, "%s%c", strchr("\"\\$", byte) ? "\\" : "", byte);
	}
	text_put(text, "\"", 1);
}

/* The line with variables put in: what really runs, and would run again if it were written so. */
static char *line_words(const struct line *line)
{
	struct text text = { NULL, 0, 0, false };

	for (size_t i = 0; i < line->n; i++) {
		const struct word *word = &line->words[i];
		size_t skip = word->key ? word->key + 1 : 0;

		text_add(&text, "%s%.*s", i ? " " : "", (int)skip, word->text);
		if (reads_plain(word, skip))
			text_add(&text, "%s", word->text + skip);
		else
			quote(&text, word->text + skip, word->length - skip);
	}
	return text.bytes;
}

static int parse_line(struct script *script, const struct source *source, const struct line *line)
{
	struct check c = { .script = script, .source = source, .line = line };

	if (script->out.n >= SCRIPT_MAX_LINES) {
		diag_add(&script->diags, source, line->at, NULL,
			 "the script has more than %d lines", (int)SCRIPT_MAX_LINES);
		return -E2BIG;
	}
	check_line(&c);
	if (!c.wrong && !c.no_memory && c.st.verb->id != VERB_LET) {
		c.st.line = line_words(line);
		if (c.st.line && !statements_add(&script->out, &c.st))
			return 0;
		c.no_memory = true;
	}
	statement_clear(&c.st);
	return c.no_memory ? -ENOMEM : 0;
}

struct mark {
	size_t symbols;
	size_t variables;
	size_t statements;
	bool in_transaction;
	struct place begun;
};

static struct mark mark(struct script *script)
{
	script->serial++;
	return (struct mark){ script->nsymbols, script->nvariables, script->out.n,
			      script->in_transaction, script->begun };
}

static int settle(struct script *script, const struct mark *before, int err)
{
	if (!err && !script->diags.n)
		return 0;
	while (script->out.n > before->statements)
		statement_clear(&script->out.list[--script->out.n]);
	roll_back(script, before->symbols, before->variables);
	script->in_transaction = before->in_transaction;
	script->begun = before->begun;
	return err == -ENOMEM ? err : -EINVAL;
}

int script_parse(struct script *script, const struct source *source)
{
	struct mark before = mark(script);
	struct lexer lexer;
	struct line line;
	int err = 0, more;

	lexer_init(&lexer, script, source);
	for (;;) {
		more = script->diags.dropped < DIAG_GIVE_UP ? lexer_next(&lexer, &line) : 0;
		if (more == -EINVAL)
			continue;
		if (more <= 0)
			break;
		err = parse_line(script, source, &line);
		line_clear(&line);
		if (err)
			break;
	}
	if (more == -ENOMEM)
		err = more;
	if (!err && script->in_transaction && !script->open_ended)
		diag_add(&script->diags, source, script->begun, "end it with `commit`",
			 "the transaction that begins here has no end");
	return settle(script, &before, err);
}

static int split_words(const char *file, size_t n, char *const *words, struct line *line)
{
	size_t column = 0;

	*line = (struct line){ .room = n };
	line->at = (struct place){ file, 1, 1, 1 };
	line->words = calloc(n ? n : 1, sizeof(*line->words));
	if (!line->words)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct word *word = &line->words[i];
		const char *equals = strchr(words[i], '=');
		bool plain = equals && equals != words[i];

		for (const char *p = words[i]; plain && p < equals; p++)
			plain = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '-' ||
				*p == '_' || (*p >= 'A' && *p <= 'Z');
		word->text = strdup(words[i]);
		if (!word->text)
			return -ENOMEM;
		line->n++;
		word->length = strlen(words[i]);
		word->key = plain ? (size_t)(equals - words[i]) : 0;
		word->at = (struct place){ file, 1, (unsigned)column + 1, (unsigned)word->length };
		word->value_at = word->at;
		if (plain) {
			word->value_at.column += (unsigned)word->key + 1;
			word->value_at.width -= (unsigned)word->key + 1;
		}
		column += word->length + 1;
	}
	return 0;
}

int script_parse_words(struct script *script, const char *file, size_t n, char *const *words)
{
	struct mark before = mark(script);
	struct source source = { .file = file };
	struct line line;
	size_t length = 1;
	char *text;
	int err;

	for (size_t i = 0; i < n; i++)
		length += strlen(words[i]) + 1;
	text = calloc(1, length);
	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		strcat(text, words[i]);
		if (i + 1 < n)
			strcat(text, " ");
	}
	source.text = text;
	source.length = strlen(text);
	err = split_words(file, n, words, &line);
	if (!err)
		err = parse_line(script, &source, &line);
	line_clear(&line);
	if (!err && script->in_transaction)
		diag_add(&script->diags, &source, script->begun, "write a script: -c or -f",
			 "a transaction of one line");
	err = settle(script, &before, err);
	free(text);
	return err;
}

int script_finish(struct script *script)
{
	const char *names[VARIABLES_MAX + 1] = { NULL };
	struct place nowhere = { "command line", 0, 0, 0 };
	size_t n = 0;

	for (size_t i = 0; i < script->nvariables; i++)
		if (!script->variables[i].forced)
			names[n++] = script->variables[i].name;
	for (size_t i = 0; i < script->nvariables; i++) {
		const struct variable *variable = &script->variables[i];
		const char *nearest;
		char hint[SCRIPT_MAX_NAME + 64] = "";

		if (!variable->forced || variable->used)
			continue;
		nearest = diag_nearest(variable->name, names);
		if (nearest)
			snprintf(hint, sizeof(hint), "did you mean -D %s=...?", nearest);
		diag_add(&script->diags, NULL, nowhere, hint,
			 "-D %s=...: nothing uses this variable", variable->name);
	}
	return script->diags.n ? -EINVAL : 0;
}
