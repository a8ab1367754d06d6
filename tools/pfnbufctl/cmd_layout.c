/* SPDX-License-Identifier: MIT */
/* pfnbufctl layout: draw layouts, compare them, compile them from a TDISP report. No kernel. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"
#include "report.h"
#include "run.h"

static const char help[] =
	"usage: pfnbufctl layout show FILE [--json] [--svg OUT]\n"
	"       pfnbufctl layout diff OLD NEW [--json] [--svg OUT] [--exit-code]\n"
	"       pfnbufctl layout compile REPORT --bar N=SIZE[@ADDRESS][,64][,io] ... [OPTION ...]\n"
	"\n"
	"FILE, OLD and NEW hold layouts in text form, `page=0x1000 0x0+0x10000=shared ...`: one, or\n"
	"several with a `NAME:` in front of each; # starts a comment; - is standard input. diff\n"
	"--exit-code exits with 1 where layouts differ.\n"
	"\n"
	"compile makes one layout for each memory BAR of a device, with the reason for every run:\n"
	"  --bar N=SIZE[@ADDRESS][,64][,io]   a BAR: 64 takes two numbers, io is no memory\n"
	"  --unit auto|pages|bytes            how FIRST_PAGE is read (auto)\n"
	"  --base absolute|first-range|min-range\n"
	"                                     where a BAR starts; absolute (the default) needs ADDRESS\n"
	"  --reporting-offset BYTES           MMIO_REPORTING_OFFSET, may be negative (0)\n"
	"  --holes trap|shared|refuse         what no range names (trap)\n"
	"  --mixed refuse|shared              host pages of several kinds (refuse)\n"
	"  --msix trap|shared|reported        MSI-X table and PBA (trap)\n"
	"  --page-size SIZE                   of the host (4K)\n"
	"  --strict                           refuse what the standard forbids in a report\n"
	"  -o, --output FILE                  write the layouts in text form\n"
	"\n"
	"--svg OUT draws a picture, --json prints for programs.\n";

struct request {
	const char *files[2];
	const char *svg;
	const char *out;
	bool json;
	bool exit_code;
	uint32_t parse_flags;
	struct pfnbuf_tdi_compile_opts opts;
};

/* ---- layouts in files ----------------------------------------------------------------------- */

struct entry {
	char *name;
	struct pfnbuf_layout *layout;
};

struct set {
	struct entry *list;
	size_t n;
};

static void set_clear(struct set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		free(set->list[i].name);
		pfnbuf_layout_free(set->list[i].layout);
	}
	free(set->list);
	*set = (struct set){ .list = NULL };
}

static const struct entry *set_find(const struct set *set, const char *name)
{
	for (size_t i = 0; i < set->n; i++)
		if (!strcmp(set->list[i].name, name))
			return &set->list[i];
	return NULL;
}

/* Takes over the layout. */
static int set_add(struct set *set, const char *name, size_t len, struct pfnbuf_layout *layout)
{
	struct entry *list = reallocarray(set->list, set->n + 1, sizeof(*list));
	char *copy = strndup(name, len);

	if (list)
		set->list = list;
	if (!list || !copy) {
		free(copy);
		pfnbuf_layout_free(layout);
		complain("out of memory");
		return -ENOMEM;
	}
	set->list[set->n++] = (struct entry){ copy, layout };
	return 0;
}

static void blank_comments(char *text)
{
	for (; (text = strchr(text, '#')); text += strcspn(text, "\n"))
		memset(text, ' ', strcspn(text, "\n"));
}

/* Where the next name of a layout is, "bar0:" at the start of a line; NULL: nowhere. */
static char *find_name(char *text)
{
	while (*text) {
		char *start = text + strspn(text, " \t\r\n");
		size_t len = strcspn(start, ": \t\r\n");

		if (len > 0 && start[len] == ':')
			return start;
		text = start + strcspn(start, "\n");
	}
	return NULL;
}

/* What is wrong at a byte of a file, from 0. */
static int complain_at(const char *path, const char *text, size_t byte, const char *why)
{
	unsigned line = 1, column = 1;

	for (size_t i = 0; i < byte && text[i]; i++) {
		column = text[i] == '\n' ? 1 : column + 1;
		line += text[i] == '\n';
	}
	complain("%s:%u:%u: %s", path, line, column, why);
	return -EINVAL;
}

/* One layout, whose text ends at @end, which may be overwritten. */
static int read_one(struct set *set, const char *path, const char *text, const char *name,
		    size_t name_len, const char *body, char *end)
{
	struct pfnbuf_layout_error error;
	struct pfnbuf_layout *layout;
	char kept = *end;
	int err;

	*end = '\0';
	err = pfnbuf_layout_parse(body, &layout, &error);
	*end = kept;
	if (err == -EINVAL)
		return complain_at(path, text, (size_t)(body - text) + error.column - 1,
				   error.cause);
	if (err) {
		complain("%s: %s", path, strerror(-err));
		return err;
	}
	for (size_t i = 0; i < set->n; i++)
		if (strlen(set->list[i].name) == name_len &&
		    !strncmp(set->list[i].name, name, name_len)) {
			pfnbuf_layout_free(layout);
			return complain_at(path, text, (size_t)(name - text),
					   "a layout of this name stands above");
		}
	return set_add(set, name, name_len, layout);
}

static int read_all(struct set *set, const char *path, char *text)
{
	char *name = find_name(text), *next;
	int err = 0;

	if (!name)
		return read_one(set, path, text, "layout", strlen("layout"), text,
				text + strlen(text));
	if (text + strspn(text, " \t\r\n") != name)
		return complain_at(path, text, strspn(text, " \t\r\n"),
				   "a layout without a name stands before those that have one");
	for (; !err && name; name = next) {
		size_t len = strcspn(name, ":");

		next = find_name(name + len + 1);
		err = read_one(set, path, text, name, len, name + len + 1,
			       next ? next : name + strlen(name));
	}
	return err;
}

static int set_read(struct set *set, const char *path)
{
	struct text bytes = { .bytes = NULL };
	int err = file_read(path, &bytes);

	if (!err && strlen(bytes.bytes) != bytes.length) {
		complain("%s: is no text", path);
		err = -EINVAL;
	}
	if (!err) {
		blank_comments(bytes.bytes);
		err = read_all(set, path, bytes.bytes);
	}
	text_clear(&bytes);
	return err;
}

int layout_read(const char *path, const char *name, struct pfnbuf_layout **layoutp)
{
	struct set set = { .list = NULL };
	const struct entry *entry = NULL;
	int err = set_read(&set, path);

	if (!err && name)
		entry = set_find(&set, name);
	else if (!err && set.n == 1)
		entry = &set.list[0];
	if (!err && !entry) {
		if (name)
			complain("%s: no layout is called %s", path, name);
		else
			complain("%s: has %zu layouts: say which one", path, set.n);
		err = -EINVAL;
	}
	if (!err)
		err = pfnbuf_layout_copy(entry->layout, layoutp);
	set_clear(&set);
	return err;
}

/* ---- output --------------------------------------------------------------------------------- */

static int put(const char *path, struct text *text)
{
	int err = file_write(path, text_get(text), text->length);

	text_clear(text);
	return err;
}

/* What every action ends with: the picture, and either JSON or the drawing with what follows it. */
static int finish(const struct request *request, const struct drawing *drawing, struct text *json,
		  const struct text *more)
{
	struct output output;
	struct text text = { .bytes = NULL };
	int err = 0;

	if (drawing->failed) {
		complain("out of memory");
		return -ENOMEM;
	}
	if (request->svg) {
		draw_svg(drawing, &text);
		err = put(request->svg, &text);
	}
	if (err || (request->svg && !strcmp(request->svg, "-")) ||
	    (request->out && !strcmp(request->out, "-")))
		return err;
	if (request->json)
		return put(NULL, json);
	output_init(&output, false);
	draw_text(drawing, output.colour, draw_columns(), &text);
	text_put(&text, text_get(more), more->length);
	return put(NULL, &text);
}

/* ---- show ----------------------------------------------------------------------------------- */

static void json_layout(struct text *json, const char *name, const struct pfnbuf_layout *layout)
{
	char *printed = PRINTED(pfnbuf_layout_print_json, layout);

	json_open(json, NULL, '{');
	json_string(json, "name", name);
	text_add(json, ",\"layout\":%s", printed ? printed : "null");
	json_close(json, '}');
	free(printed);
}

static int show(const struct request *request)
{
	struct text json = { .bytes = NULL }, more = { .bytes = NULL };
	struct set set = { .list = NULL };
	struct drawing drawing;
	int err = set_read(&set, request->files[0]);

	if (!err) {
		drawing_init(&drawing, basename(request->files[0]));
		json_open(&json, NULL, '{');
		json_open(&json, "layouts", '[');
		for (size_t i = 0; i < set.n; i++) {
			drawing_add_layout(&drawing, set.list[i].name, "", set.list[i].layout);
			json_layout(&json, set.list[i].name, set.list[i].layout);
		}
		json_close(&json, ']');
		json_close(&json, '}');
		text_add(&json, "\n");
		err = finish(request, &drawing, &json, &more);
		drawing_clear(&drawing);
	}
	text_clear(&json);
	set_clear(&set);
	return err ? EXIT_FAILED : EXIT_DONE;
}

/* ---- diff ----------------------------------------------------------------------------------- */

struct diff {
	const struct request *request;
	struct drawing drawing;
	struct text json;
	struct text more;
	uint64_t bytes;
	size_t n;
};

static void diff_change(struct diff *diff, const char *name, const struct pfnbuf_change *change)
{
	char length[64];

	diff->n++;
	diff->bytes += change->length;
	drawing_add_change(&diff->drawing, change->offset, change->length);
	text_add(&diff->more, "%s  0x%" PRIx64 "+0x%" PRIx64 "  %s -> %s  %s\n", name,
		 change->offset, change->length, pfnbuf_vis_name(change->from),
		 pfnbuf_vis_name(change->to), draw_size(change->length, length));
	json_open(&diff->json, NULL, '{');
	json_string(&diff->json, "name", name);
	json_number(&diff->json, "offset", change->offset);
	json_number(&diff->json, "length", change->length);
	json_string(&diff->json, "from", pfnbuf_vis_name(change->from));
	json_string(&diff->json, "to", pfnbuf_vis_name(change->to));
	json_close(&diff->json, '}');
}

static void diff_draw(struct diff *diff, const char *name, const char *note,
		      const struct pfnbuf_layout *layout)
{
	char label[128];

	snprintf(label, sizeof(label), "%s %s", name, note);
	drawing_add_layout(&diff->drawing, label, "", layout);
}

static int diff_pair(struct diff *diff, const struct entry *old, const struct entry *new)
{
	struct pfnbuf_change change;
	uint64_t pos = 0;
	int n;

	diff_draw(diff, old->name, "old", old->layout);
	diff_draw(diff, new->name, "new", new->layout);
	while ((n = pfnbuf_layout_diff(old->layout, new->layout, &pos, &change, 1)) > 0)
		diff_change(diff, old->name, &change);
	if (n < 0)
		complain("%s: the two layouts differ in size or page size", old->name);
	return n;
}

static int diff_missing(const struct set *set, const struct set *other, const char *path)
{
	for (size_t i = 0; i < set->n; i++)
		if (!set_find(other, set->list[i].name)) {
			complain("%s: has no layout called %s", path, set->list[i].name);
			return -ENOENT;
		}
	return 0;
}

static int diff_sets(struct diff *diff, const struct set *old, const struct set *new)
{
	/* Two files of one layout each are compared whatever they call it. */
	bool alone = old->n == 1 && new->n == 1;
	int err = 0;

	if (!alone)
		err = diff_missing(old, new, diff->request->files[1]);
	if (!alone && !err)
		err = diff_missing(new, old, diff->request->files[0]);
	for (size_t i = 0; !err && i < old->n; i++)
		err = diff_pair(diff, &old->list[i],
				alone ? &new->list[0] : set_find(new, old->list[i].name));
	return err;
}

static int diff(const struct request *request)
{
	struct set old = { .list = NULL }, new = { .list = NULL };
	struct diff diff = { .request = request };
	char length[64];
	int err = set_read(&old, request->files[0]);

	if (!err)
		err = set_read(&new, request->files[1]);
	drawing_init(&diff.drawing, "old and new");
	json_open(&diff.json, NULL, '{');
	json_open(&diff.json, "changes", '[');
	text_add(&diff.more, "\n");
	if (!err)
		err = diff_sets(&diff, &old, &new);
	json_close(&diff.json, ']');
	json_close(&diff.json, '}');
	text_add(&diff.json, "\n");
	text_add(&diff.more, "%zu change%s, %s\n", diff.n, diff.n == 1 ? "" : "s",
		 draw_size(diff.bytes, length));
	if (!err)
		err = finish(request, &diff.drawing, &diff.json, &diff.more);
	drawing_clear(&diff.drawing);
	text_clear(&diff.json);
	text_clear(&diff.more);
	set_clear(&old);
	set_clear(&new);
	return err || (request->exit_code && diff.n) ? EXIT_FAILED : EXIT_DONE;
}

/* ---- compile -------------------------------------------------------------------------------- */

static const char *mark_of(const struct pfnbuf_tdi_run *run)
{
	bool table = run->range_attributes & PFNBUF_TDI_ATTR_MSIX_TABLE;
	bool pba = run->range_attributes & PFNBUF_TDI_ATTR_MSIX_PBA;

	/* A widened page holds more than what a mark would say. */
	if (run->rule == PFNBUF_TDI_RULE_MIXED_PAGE || !(table || pba))
		return NULL;
	return table && pba ? "MSI-X table and PBA" : table ? "MSI-X table" : "MSI-X PBA";
}

static void add_bar(struct drawing *drawing, const struct request *request,
		    const struct pfnbuf_tdi_layouts *layouts, unsigned bar)
{
	const struct pfnbuf_tdi_bar *opts = &request->opts.bars[bar];
	const struct pfnbuf_layout *layout = pfnbuf_tdi_layouts_get(layouts, bar);
	struct pfnbuf_tdi_run run;
	char label[16], note[80], size[64];

	if (!layout)
		return;
	snprintf(label, sizeof(label), "BAR %u", bar);
	snprintf(note, sizeof(note), "%s%s", draw_size(opts->size, size),
		 opts->flags & PFNBUF_BAR_64 ? ", 64-bit" : "");
	drawing_add_row(drawing, label, note, opts->address, pfnbuf_layout_get_size(layout));
	for (uint32_t i = 0; !pfnbuf_tdi_layouts_get_run(layouts, bar, i, &run); i++)
		drawing_add_run(drawing, &(struct draw_run){ run.offset, run.length, run.vis,
							     mark_of(&run) });
}

static void explain_bar(struct text *more, const struct pfnbuf_tdi_layouts *layouts, unsigned bar)
{
	struct pfnbuf_tdi_run run;
	char why[512], range[64];

	if (!pfnbuf_tdi_layouts_count_runs(layouts, bar))
		return;
	text_add(more, "\nBAR %u\n", bar);
	for (uint32_t i = 0; !pfnbuf_tdi_layouts_get_run(layouts, bar, i, &run); i++) {
		pfnbuf_tdi_layouts_explain(layouts, bar, i, why, sizeof(why));
		snprintf(range, sizeof(range), "0x%" PRIx64 "+0x%" PRIx64, run.offset, run.length);
		text_add(more, "  %-24s %-8s %s\n", range, pfnbuf_vis_name(run.vis), why);
	}
}

static void explain(struct text *more, const struct pfnbuf_tdi_layouts *layouts)
{
	const char *warning, *why;
	enum pfnbuf_tdi_unit unit = pfnbuf_tdi_layouts_get_unit(layouts, &why);

	for (unsigned bar = 0; bar < 6; bar++)
		explain_bar(more, layouts, bar);
	text_add(more, "\nFIRST_PAGE is in %s: %s\n",
		 unit == PFNBUF_TDI_UNIT_PAGES ? "pages" : "bytes", why);
	for (unsigned i = 0; (warning = pfnbuf_tdi_layouts_get_warning(layouts, i)); i++)
		text_add(more, "warning: %s\n", warning);
}

static int write_layouts(const struct request *request, const struct pfnbuf_tdi_layouts *layouts)
{
	struct text text = { .bytes = NULL };

	for (unsigned bar = 0; bar < 6; bar++) {
		const struct pfnbuf_layout *layout = pfnbuf_tdi_layouts_get(layouts, bar);
		char *printed = layout ? PRINTED(pfnbuf_layout_print, layout) : NULL;

		if (printed)
			text_add(&text, "bar%u: %s\n", bar, printed);
		free(printed);
	}
	return put(request->out, &text);
}

static int refused(const struct request *request, const struct pfnbuf_tdi_error *error)
{
	struct text json = { .bytes = NULL };

	complain("%s: %s (%s)", request->files[0], error->text,
		 pfnbuf_tdi_reason_name(error->reason));
	if (!request->json)
		return EXIT_FAILED;
	json_open(&json, NULL, '{');
	json_open(&json, "error", '{');
	json_string(&json, "reason", pfnbuf_tdi_reason_name(error->reason));
	json_string(&json, "text", error->text);
	if (error->bar >= 0)
		json_number(&json, "bar", (uint64_t)error->bar);
	if (error->range >= 0)
		json_number(&json, "range", (uint64_t)error->range);
	if (error->other >= 0)
		json_number(&json, "other", (uint64_t)error->other);
	if (error->offset != PFNBUF_TDI_NO_OFFSET)
		json_number(&json, "offset", error->offset);
	json_close(&json, '}');
	json_close(&json, '}');
	text_add(&json, "\n");
	put(NULL, &json);
	return EXIT_FAILED;
}

static int compile(const struct request *request)
{
	struct text json = { .bytes = NULL }, more = { .bytes = NULL };
	struct pfnbuf_tdi_layouts *layouts;
	struct pfnbuf_tdi_report *report;
	struct pfnbuf_tdi_error error;
	struct drawing drawing;
	char *printed;
	int err;

	if (report_read(request->files[0], request->parse_flags, &report))
		return EXIT_FAILED;
	err = pfnbuf_tdi_layouts_compile(report, &request->opts, &layouts, &error);
	pfnbuf_tdi_report_free(report);
	if (err)
		return refused(request, &error);

	drawing_init(&drawing, basename(request->files[0]));
	for (unsigned bar = 0; bar < 6; bar++)
		add_bar(&drawing, request, layouts, bar);
	explain(&more, layouts);
	printed = PRINTED(pfnbuf_tdi_layouts_print_json, layouts);
	text_add(&json, "%s", printed ? printed : "");
	free(printed);
	err = request->out ? write_layouts(request, layouts) : 0;
	if (!err)
		err = finish(request, &drawing, &json, &more);
	drawing_clear(&drawing);
	text_clear(&json);
	text_clear(&more);
	pfnbuf_tdi_layouts_free(layouts);
	return err ? EXIT_FAILED : EXIT_DONE;
}

/* ---- options -------------------------------------------------------------------------------- */

static int usage(const char *why)
{
	if (why)
		complain("%s", why);
	fputs(help, why ? stderr : stdout);
	return why ? EXIT_USAGE : EXIT_DONE;
}

static int bad_option(const char *option, const char *word, const char *why)
{
	complain("--%s %s: %s", option, word, why);
	return EXIT_USAGE;
}

/* The index of a word among those of an option, or -1 after a complaint. */
static int take_word(const char *option, const char *word, const char *const *words)
{
	const char *nearest = diag_nearest(word, words);

	for (int i = 0; words[i]; i++)
		if (!strcmp(word, words[i]))
			return i;
	if (nearest)
		complain("--%s %s: is no choice; do you mean %s?", option, word, nearest);
	else
		complain("--%s %s: is no choice", option, word);
	return -1;
}

/* "2=64K@0xe0000000,64". Overwrites the word. */
static int take_bar(struct pfnbuf_tdi_compile_opts *opts, char *word)
{
	static const char form[] = "write N=SIZE[@ADDRESS][,64][,io], N from 0 to 5";
	struct pfnbuf_tdi_bar bar = { .size = 0 };
	char *flags = strchr(word, ','), *at, *flag;
	unsigned index = (unsigned)(word[0] - '0');

	if (index > 5 || word[1] != '=')
		return bad_option("bar", word, form);
	if (opts->bars[index].size)
		return bad_option("bar", word, "this BAR was given before");
	if (flags)
		*flags++ = '\0';
	at = strchr(word, '@');
	if (at)
		*at++ = '\0';
	if (parse_number(word + 2, &bar.size) || !bar.size)
		return bad_option("bar", word, form);
	if (at && parse_number(at, &bar.address))
		return bad_option("bar", at, "is no address");
	while ((flag = strsep(&flags, ","))) {
		if (!strcmp(flag, "64"))
			bar.flags |= PFNBUF_BAR_64;
		else if (!strcmp(flag, "io"))
			bar.flags |= PFNBUF_BAR_IO;
		else
			return bad_option("bar", flag, form);
	}
	opts->bars[index] = bar;
	return -1;
}

static int take_offset(struct pfnbuf_tdi_compile_opts *opts, const char *word)
{
	bool negative = *word == '-';
	uint64_t number;
	const char *wrong = parse_number(word + negative, &number);

	if (wrong)
		return bad_option("reporting-offset", word, wrong);
	if (number > (uint64_t)INT64_MAX + negative)
		return bad_option("reporting-offset", word, "does not fit in 64 bits with a sign");
	opts->reporting_offset = (int64_t)(negative ? -number : number);
	return -1;
}

enum { UNIT = 256, BASE, OFFSET, HOLES, MIXED, MSIX, PAGE_SIZE, BAR, STRICT, SVG, EXIT_CODE };

/* Of the options that only compile has. Returns -1 to go on, or the exit code. */
static int take_compile_option(struct request *request, int option)
{
	static const char *const units[] = { "auto", "pages", "bytes", NULL };
	static const char *const bases[] = { "absolute", "first-range", "min-range", NULL };
	static const char *const holes[] = { "trap", "shared", "refuse", NULL };
	static const char *const mixed[] = { "refuse", "shared", NULL };
	static const char *const msix[] = { "trap", "shared", "reported", NULL };
	struct pfnbuf_tdi_compile_opts *opts = &request->opts;
	const char *wrong;
	int word;

	switch (option) {
	case UNIT:
		word = take_word("unit", optarg, units);
		opts->unit = (enum pfnbuf_tdi_unit)word;
		break;
	case BASE:
		word = take_word("base", optarg, bases);
		opts->base = (enum pfnbuf_tdi_base)word;
		break;
	case HOLES:
		word = take_word("holes", optarg, holes);
		opts->holes = (enum pfnbuf_tdi_holes)word;
		break;
	case MIXED:
		word = take_word("mixed", optarg, mixed);
		opts->mixed = (enum pfnbuf_tdi_mixed)word;
		break;
	case MSIX:
		word = take_word("msix", optarg, msix);
		opts->msix = (enum pfnbuf_tdi_msix)word;
		break;
	case BAR:
		return take_bar(opts, optarg);
	case OFFSET:
		return take_offset(opts, optarg);
	case PAGE_SIZE:
		wrong = parse_number(optarg, &opts->page_size);
		return wrong ? bad_option("page-size", optarg, wrong) : -1;
	default: /* STRICT */
		request->parse_flags |= PFNBUF_TDI_STRICT;
		return -1;
	}
	return word < 0 ? EXIT_USAGE : -1;
}

static const struct option common_options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "svg", required_argument, NULL, SVG },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static const struct option diff_options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "svg", required_argument, NULL, SVG },
	{ "exit-code", no_argument, NULL, EXIT_CODE },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static const struct option compile_options[] = {
	{ "json", no_argument, NULL, 'j' },
	{ "svg", required_argument, NULL, SVG },
	{ "output", required_argument, NULL, 'o' },
	{ "bar", required_argument, NULL, BAR },
	{ "unit", required_argument, NULL, UNIT },
	{ "base", required_argument, NULL, BASE },
	{ "reporting-offset", required_argument, NULL, OFFSET },
	{ "holes", required_argument, NULL, HOLES },
	{ "mixed", required_argument, NULL, MIXED },
	{ "msix", required_argument, NULL, MSIX },
	{ "page-size", required_argument, NULL, PAGE_SIZE },
	{ "strict", no_argument, NULL, STRICT },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static const struct action {
	const char *name;
	int (*act)(const struct request *);
	const char *letters;
	const struct option *options;
	int files;
	const char *which;
} actions[] = {
	{ "show", show, "jh", common_options, 1, "show: which FILE?" },
	{ "diff", diff, "jh", diff_options, 2, "diff: which two FILEs?" },
	{ "compile", compile, "jho:", compile_options, 1, "compile: which REPORT?" },
};

/* Returns -1 to go on, or the exit code. */
static int take_options(struct request *request, const struct action *action, int argc, char **argv)
{
	int option, code = -1;

	optind = 0;
	while (code < 0 &&
	       (option = getopt_long(argc, argv, action->letters, action->options, NULL)) != -1) {
		switch (option) {
		case 'j':
			request->json = true;
			break;
		case 'o':
			request->out = optarg;
			break;
		case SVG:
			request->svg = optarg;
			break;
		case EXIT_CODE:
			request->exit_code = true;
			break;
		case 'h':
			return usage(NULL);
		case '?':
			return usage("see the usage");
		default:
			code = take_compile_option(request, option);
		}
	}
	if (code >= 0)
		return code;
	if (argc - optind != action->files)
		return usage(action->which);
	for (int i = 0; i < action->files; i++)
		request->files[i] = argv[optind + i];
	return -1;
}

int cmd_layout(int argc, char **argv, bool json)
{
	struct request request = { .json = json, .opts = { .size = sizeof(request.opts) } };

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help")))
		return usage(NULL);
	for (size_t i = 0; argc > 1 && i < sizeof(actions) / sizeof(*actions); i++) {
		int code;

		if (strcmp(argv[1], actions[i].name))
			continue;
		code = take_options(&request, &actions[i], argc - 1, argv + 1);
		return code >= 0 ? code : actions[i].act(&request);
	}
	return usage("layout: show, diff or compile?");
}
