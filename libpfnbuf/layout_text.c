/* SPDX-License-Identifier: MIT */
/* Layouts as text and as JSON, over the functions that everyone has. */
#include <pfnbuf.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_PAGE_SIZE 4096

static const char *const vis_names[PFNBUF_VIS_COUNT] = {
	[PFNBUF_HOLE] = "hole",
	[PFNBUF_SHARED] = "shared",
	[PFNBUF_PRIVATE] = "private",
};

const char *pfnbuf_vis_name(enum pfnbuf_vis vis)
{
	return (unsigned)vis < PFNBUF_VIS_COUNT ? vis_names[vis] : NULL;
}

/* ---------------------------------------------------------------- printing -------------------- */

struct printer {
	char *buf;
	size_t size;
	size_t length; /* of the whole text, also where it no longer fits */
};

static PFNBUF_PRINTF(2, 3) void print(struct printer *p, const char *format, ...)
{
	size_t used = p->length < p->size ? p->length : p->size;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(p->size ? p->buf + used : NULL, p->size - used, format, args);
	va_end(args);
	p->length += (size_t)(n > 0 ? n : 0);
}

/* Calls that read runs one by one from a valid cursor cannot fail. */
static bool next_run(const struct pfnbuf_layout *layout, uint64_t *pos, struct pfnbuf_run *run)
{
	return pfnbuf_layout_next(layout, pos, run, 1) > 0;
}

size_t pfnbuf_layout_print(const struct pfnbuf_layout *layout, char *buf, size_t size)
{
	struct printer p = { .buf = buf, .size = size };
	struct pfnbuf_run run;

	print(&p, "page=0x%" PRIx64, pfnbuf_layout_get_page_size(layout));
	for (uint64_t pos = 0; next_run(layout, &pos, &run);)
		print(&p, " 0x%" PRIx64 "+0x%" PRIx64 "=%s", run.offset, run.length,
		      vis_names[run.vis]);
	return p.length;
}

size_t pfnbuf_layout_print_json(const struct pfnbuf_layout *layout, char *buf, size_t size)
{
	struct printer p = { .buf = buf, .size = size };
	struct pfnbuf_run run;

	print(&p, "{\"page_size\": %" PRIu64 ", \"size\": %" PRIu64 ", \"runs\": [",
	      pfnbuf_layout_get_page_size(layout), pfnbuf_layout_get_size(layout));
	for (uint64_t pos = 0; next_run(layout, &pos, &run);)
		print(&p, "%s{\"offset\": %" PRIu64 ", \"length\": %" PRIu64 ", \"vis\": \"%s\"}",
		      run.offset ? ", " : "", run.offset, run.length, vis_names[run.vis]);
	print(&p, "]}");
	return p.length;
}

/* ---------------------------------------------------------------- parsing --------------------- */

struct scanner {
	const char *text;
	const char *at;
	struct pfnbuf_layout_error error;
};

static int fail(struct scanner *s, const char *where, const char *cause)
{
	s->error.column = (size_t)(where - s->text) + 1;
	s->error.cause = cause;
	return -EINVAL;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool at_token_end(const struct scanner *s)
{
	return !*s->at || is_space(*s->at);
}

static void skip_space(struct scanner *s)
{
	while (is_space(*s->at))
		s->at++;
}

static bool take(struct scanner *s, const char *prefix)
{
	size_t n = strlen(prefix);

	if (strncmp(s->at, prefix, n))
		return false;
	s->at += n;
	return true;
}

static int digit_value(char c, unsigned base)
{
	int value = c >= '0' && c <= '9'   ? c - '0'
		    : c >= 'a' && c <= 'f' ? c - 'a' + 10
		    : c >= 'A' && c <= 'F' ? c - 'A' + 10
					   : -1;

	return value < (int)base ? value : -1;
}

static unsigned suffix_shift(char c)
{
	const char *suffixes = "KMGT", *found = c ? strchr(suffixes, c) : NULL;

	return found ? 10 * (unsigned)(found - suffixes + 1) : 0;
}

static int scan_number(struct scanner *s, uint64_t *number)
{
	const char *start = s->at;
	unsigned base = take(s, "0x") ? 16 : 10;
	uint64_t value = 0;
	unsigned shift;

	do {
		int digit = digit_value(*s->at, base);

		if (digit < 0)
			return fail(s, s->at, "a digit is missing");
		if (__builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, (unsigned)digit, &value))
			return fail(s, start, "the number is above 2^64 - 1");
		s->at++;
	} while (take(s, "_") || digit_value(*s->at, base) >= 0);

	shift = suffix_shift(*s->at);
	if (shift) {
		s->at++;
		if (value << shift >> shift != value)
			return fail(s, start, "the number is above 2^64 - 1");
	}
	*number = value << shift;
	return 0;
}

static int scan_vis(struct scanner *s, enum pfnbuf_vis *vis)
{
	const char *start = s->at;

	for (unsigned i = 0; i < PFNBUF_VIS_COUNT; i++) {
		if (take(s, vis_names[i]) && at_token_end(s)) {
			*vis = (enum pfnbuf_vis)i;
			return 0;
		}
		s->at = start;
	}
	return fail(s, start, "not one of hole, shared, private");
}

/* What may come in front of the runs. */
struct preamble {
	uint64_t page_size;
	uint64_t size; /* 0: where the last run ends */
	const char *size_at;
};

static int scan_preamble(struct scanner *s, struct preamble *p)
{
	*p = (struct preamble){ .page_size = DEFAULT_PAGE_SIZE };
	for (skip_space(s);; skip_space(s)) {
		bool is_page = take(s, "page=");
		const char *value;
		int ret;

		if (!is_page && !take(s, "size="))
			return 0;
		value = s->at;
		ret = scan_number(s, is_page ? &p->page_size : &p->size);
		if (ret < 0)
			return ret;
		if (!at_token_end(s))
			return fail(s, s->at, "not part of a number");
		if (is_page && (p->page_size < 4096 || p->page_size & (p->page_size - 1)))
			return fail(s, value, "the page size is no power of two from 4096");
		if (!is_page && !p->size)
			return fail(s, value, "the size is 0");
		if (!is_page)
			p->size_at = value;
	}
}

/* One OFFSET+LENGTH=VISIBILITY that begins at or behind @end. */
static int scan_run(struct scanner *s, const struct preamble *p, uint64_t end,
		    struct pfnbuf_run *run)
{
	const char *offset = s->at, *length;
	int ret = scan_number(s, &run->offset);

	if (ret < 0)
		return ret;
	if (!take(s, "+"))
		return fail(s, s->at, "'+' is missing between offset and length");
	length = s->at;
	ret = scan_number(s, &run->length);
	if (ret < 0)
		return ret;
	if (!take(s, "="))
		return fail(s, s->at, "'=' is missing between length and visibility");
	ret = scan_vis(s, &run->vis);
	if (ret < 0)
		return ret;

	if (run->offset & (p->page_size - 1))
		return fail(s, offset, "the offset is no multiple of the page size");
	if (run->offset < end)
		return fail(s, offset, "the run begins before the one in front of it ends");
	if (!run->length || run->length & (p->page_size - 1))
		return fail(s, length, "the length is 0 or no multiple of the page size");
	if (run->length > UINT64_MAX - run->offset)
		return fail(s, length, "the run ends above 2^64 - 1");
	if (p->size && run->offset + run->length > p->size)
		return fail(s, length, "the run ends behind the size");
	return 0;
}

/*
 * Go through the text once; set its runs in @layout, unless that is NULL. *end: where the last one
 * ends.
 */
static int scan_runs(struct scanner *s, const struct preamble *p, struct pfnbuf_layout *layout,
		     uint64_t *end)
{
	struct pfnbuf_run run;
	int ret = 0;

	*end = 0;
	for (skip_space(s); !ret && *s->at; skip_space(s)) {
		const char *start = s->at;

		ret = scan_run(s, p, *end, &run);
		if (ret < 0)
			return ret;
		*end = run.offset + run.length;
		if (*end / p->page_size > PFNBUF_LAYOUT_MAX_FRAMES)
			return fail(s, start, "more than 2^40 page frames");
		if (layout)
			ret = pfnbuf_layout_set(layout, run.offset, run.length, run.vis);
	}
	return ret;
}

/* Check the whole text and find the size of the layout. */
static int scan_check(struct scanner *s, struct preamble *p)
{
	uint64_t end;
	int ret = scan_runs(s, p, NULL, &end);

	if (ret < 0)
		return ret;
	if (!p->size && !end)
		return fail(s, s->at, "no run and no size");
	if (p->size & (p->page_size - 1))
		return fail(s, p->size_at, "the size is no multiple of the page size");
	if (p->size / p->page_size > PFNBUF_LAYOUT_MAX_FRAMES)
		return fail(s, p->size_at, "more than 2^40 page frames");
	if (!p->size)
		p->size = end;
	return 0;
}

int pfnbuf_layout_parse(const char *text, struct pfnbuf_layout **layoutp,
			struct pfnbuf_layout_error *error)
{
	struct scanner s = { .text = text, .at = text };
	struct pfnbuf_layout *layout;
	struct preamble preamble;
	const char *runs;
	uint64_t end;
	int ret = scan_preamble(&s, &preamble);

	runs = s.at;
	if (!ret)
		ret = scan_check(&s, &preamble);
	if (ret < 0) {
		if (error)
			*error = s.error;
		return ret;
	}
	ret = pfnbuf_layout_new(preamble.size, preamble.page_size, PFNBUF_HOLE, &layout);
	if (ret < 0)
		return ret;
	s.at = runs;
	ret = scan_runs(&s, &preamble, layout, &end);
	if (ret < 0) {
		pfnbuf_layout_free(layout);
		return ret;
	}
	*layoutp = layout;
	return 0;
}
