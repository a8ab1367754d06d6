/* SPDX-License-Identifier: MIT */

/*
 * From a TDISP report to layouts: place every range in its BAR, classify every 4 KiB page, fold
 * pages into host pages, remember why.
 *
 * A range's id only says which BAR it claims; what decides is whether its pages fit there.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpfnbuf/tdi.h>

#define N_BARS	       6u
#define FRAME_SHIFT    12
#define MAX_BAR_SIZE   (UINT64_C(1) << 52)
#define MAX_PAGE_SIZE  (UINT64_C(1) << 30)
#define NO_PLACE       UINT32_MAX
#define WARNING_LENGTH 256

/* A range in its BAR: the 4 KiB frames [start, end). */
struct place {
	uint64_t start;
	uint64_t end;
	uint32_t range;
	unsigned bar;
};

/* Frames of a BAR that one rule decides. */
struct segment {
	uint64_t start;
	uint64_t end;
	enum pfnbuf_vis vis;
	enum pfnbuf_tdi_rule rule;
	uint32_t place; /* NO_PLACE: not reported */
};

struct compiled_bar {
	struct pfnbuf_layout *layout;
	struct pfnbuf_tdi_run *runs;
	uint32_t nr_runs;
	uint32_t first_place;
	uint32_t nr_places;
	uint32_t widened;
};

struct pfnbuf_tdi_layouts {
	struct pfnbuf_tdi_compile_opts opts;
	struct pfnbuf_tdi_evidence evidence;
	enum pfnbuf_tdi_unit unit;
	char unit_why[400];

	uint32_t nr_ranges;
	struct pfnbuf_tdi_range *ranges;
	struct place *places; /* by BAR, then by address */
	uint32_t *order;      /* the ranges of places: runs point into it */
	struct pfnbuf_tdi_run *runs;
	struct compiled_bar bars[N_BARS];

	unsigned nr_warnings;
	char (*warnings)[WARNING_LENGTH];
};

static const char *const unit_names[] = {
	[PFNBUF_TDI_UNIT_AUTO] = "auto",
	[PFNBUF_TDI_UNIT_PAGES] = "pages",
	[PFNBUF_TDI_UNIT_BYTES] = "bytes",
};

static const char *const base_names[] = {
	[PFNBUF_TDI_BASE_ABSOLUTE] = "absolute",
	[PFNBUF_TDI_BASE_FIRST_RANGE] = "first-range",
	[PFNBUF_TDI_BASE_MIN_RANGE] = "min-range",
};

static const char *const rule_names[] = {
	[PFNBUF_TDI_RULE_NOT_REPORTED] = "not-reported",
	[PFNBUF_TDI_RULE_TEE] = "tee",
	[PFNBUF_TDI_RULE_NON_TEE] = "non-tee",
	[PFNBUF_TDI_RULE_MSIX] = "msi-x",
	[PFNBUF_TDI_RULE_AGREED] = "agreed",
	[PFNBUF_TDI_RULE_MIXED_PAGE] = "mixed-page",
};

const char *pfnbuf_tdi_rule_name(enum pfnbuf_tdi_rule rule)
{
	return (unsigned)rule < sizeof(rule_names) / sizeof(rule_names[0]) ? rule_names[rule]
									   : NULL;
}

static uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) & ~(unit - 1);
}

static uint64_t round_down(uint64_t value, uint64_t unit)
{
	return value & ~(unit - 1);
}

static uint64_t frames_of(uint64_t bytes)
{
	return round_up(bytes, PFNBUF_TDI_PAGE_SIZE) >> FRAME_SHIFT;
}

static bool is_memory(const struct pfnbuf_tdi_bar *bar)
{
	return bar->size > 0 && !(bar->flags & PFNBUF_BAR_IO);
}

struct pfnbuf_tdi_layouts *pfnbuf_tdi_layouts_free(struct pfnbuf_tdi_layouts *layouts)
{
	if (!layouts)
		return NULL;
	for (unsigned bar = 0; bar < N_BARS; bar++)
		pfnbuf_layout_free(layouts->bars[bar].layout);
	free(layouts->ranges);
	free(layouts->places);
	free(layouts->order);
	free(layouts->runs);
	free(layouts->warnings);
	free(layouts);
	return NULL;
}

static void layouts_freep(struct pfnbuf_tdi_layouts **layoutsp)
{
	pfnbuf_tdi_layouts_free(*layoutsp);
}

static void freep(void *pointerp)
{
	free(*(void **)pointerp);
}

static int no_memory(struct pfnbuf_tdi_error *err)
{
	return pfnbuf_tdi_fail(err, PFNBUF_TDI_NO_MEMORY, tdi_nowhere(),
			       "no memory for the layouts");
}

PFNBUF_PRINTF(2, 3)
static int warn(struct pfnbuf_tdi_layouts *layouts, const char *format, ...)
{
	char(*warnings)[WARNING_LENGTH] =
		realloc(layouts->warnings, (layouts->nr_warnings + 1) * sizeof(*warnings));
	va_list args;

	if (!warnings)
		return -ENOMEM;
	layouts->warnings = warnings;
	va_start(args, format);
	vsnprintf(warnings[layouts->nr_warnings++], WARNING_LENGTH, format, args);
	va_end(args);
	return 0;
}

/* ---- options -------------------------------------------------------------------------------- */

static int check_bar(const struct pfnbuf_tdi_compile_opts *opts, unsigned index,
		     struct pfnbuf_tdi_error *err)
{
	const struct pfnbuf_tdi_bar *bar = &opts->bars[index];
	uint64_t end;

	if (bar->size > MAX_BAR_SIZE)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_ARGUMENT, tdi_at_bar(index),
				       "BAR %u of %" PRIu64 " bytes exceeds 4 PiB", index,
				       bar->size);
	if (__builtin_add_overflow(bar->address, bar->size, &end))
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_ARGUMENT, tdi_at_bar(index),
				       "BAR %u at 0x%" PRIx64 " leaves the 64-bit address space",
				       index, bar->address);
	if (!(bar->flags & PFNBUF_BAR_64))
		return 0;
	if (index == N_BARS - 1)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_ARGUMENT, tdi_at_bar(index),
				       "BAR 5 is 64 bits wide but has no upper half");
	if (opts->bars[index + 1].size > 0)
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_BAD_ARGUMENT, tdi_at_bar(index),
			"BAR %u is 64 bits wide, so BAR %u is its upper half and has no size",
			index, index + 1);
	return 0;
}

static int check_evidence(const struct pfnbuf_tdi_evidence *evidence, struct pfnbuf_tdi_error *err)
{
	if (evidence->digest_len > PFNBUF_TDI_DIGEST_MAX)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_ARGUMENT, tdi_nowhere(),
				       "a digest of %zu bytes exceeds %d", evidence->digest_len,
				       PFNBUF_TDI_DIGEST_MAX);
	if (!pfnbuf_tdi_state_name(evidence->state))
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_STATE, tdi_nowhere(),
				       "TDISP knows no TDI state %u", (unsigned)evidence->state);
	if (evidence->state == PFNBUF_TDI_CONFIG_UNLOCKED || evidence->state == PFNBUF_TDI_ERROR)
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_BAD_STATE, tdi_nowhere(),
			"the TDI was in %s: a report can only be had in CONFIG_LOCKED or RUN",
			pfnbuf_tdi_state_name(evidence->state));
	return 0;
}

static int check_choices(const struct pfnbuf_tdi_compile_opts *opts, struct pfnbuf_tdi_error *err)
{
	const struct {
		const char *name;
		unsigned value;
		unsigned last;
	} choices[] = {
		{ "unit", opts->unit, PFNBUF_TDI_UNIT_BYTES },
		{ "base mode", opts->base, PFNBUF_TDI_BASE_MIN_RANGE },
		{ "hole policy", opts->holes, PFNBUF_TDI_HOLES_REFUSE },
		{ "mixed-page policy", opts->mixed, PFNBUF_TDI_MIXED_SHARED },
		{ "MSI-X policy", opts->msix, PFNBUF_TDI_MSIX_REPORTED },
	};

	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
		if (choices[i].value > choices[i].last)
			return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_ARGUMENT, tdi_nowhere(),
					       "unknown %s %u", choices[i].name, choices[i].value);
	return 0;
}

int pfnbuf_tdi_check_opts(const struct pfnbuf_tdi_compile_opts *opts, struct pfnbuf_tdi_error *err)
{
	uint64_t page_size = opts->page_size;
	int ret;

	if (opts->size < sizeof(*opts))
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_ARGUMENT, tdi_nowhere(),
				       "the options' size %zu is too small", opts->size);
	ret = check_choices(opts, err);
	if (ret)
		return ret;
	if (page_size && (page_size < PFNBUF_TDI_PAGE_SIZE || page_size > MAX_PAGE_SIZE ||
			  page_size & (page_size - 1)))
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_ARGUMENT, tdi_nowhere(),
				       "page size %" PRIu64
				       " is not a power of two from 4 KiB to 1 GiB",
				       page_size);
	for (unsigned bar = 0; bar < N_BARS; bar++) {
		ret = check_bar(opts, bar, err);
		if (ret)
			return ret;
	}
	return opts->evidence ? check_evidence(opts->evidence, err) : 0;
}

/* ---- placing -------------------------------------------------------------------------------- */

static int check_id(const struct pfnbuf_tdi_layouts *layouts, uint32_t index,
		    struct pfnbuf_tdi_error *err)
{
	const struct pfnbuf_tdi_bar *bars = layouts->opts.bars;
	unsigned id = layouts->ranges[index].range_id;
	struct tdi_site site = tdi_at_range(index, TDI_RANGE_ID);

	if (id >= N_BARS)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_RANGE_ID, site,
				       "range %" PRIu32 " has id %u (byte %" PRIu64
				       "): BARs are 0 to 5",
				       index, id, site.offset);
	site.bar = (int)id;
	if (id > 0 && bars[id - 1].flags & PFNBUF_BAR_64)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_UPPER_HALF, site,
				       "range %" PRIu32 " has id %u (byte %" PRIu64
				       "), the upper half of 64-bit BAR %u",
				       index, id, site.offset, id - 1);
	if (!is_memory(&bars[id]))
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_NO_BAR, site,
			"range %" PRIu32 " has id %u (byte %" PRIu64 "), but BAR %u %s", index, id,
			site.offset, id, bars[id].size > 0 ? "is I/O ports" : "does not exist");
	if (layouts->opts.base == PFNBUF_TDI_BASE_ABSOLUTE && bars[id].address == 0)
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_BAD_ARGUMENT, tdi_at_bar(id),
			"base mode absolute needs the address of BAR %u, which range %" PRIu32
			" names",
			id, index);
	return 0;
}

/* The address in bytes of a range with the reporting offset taken off again. */
static int read_address(const struct pfnbuf_tdi_layouts *layouts, uint32_t index,
			enum pfnbuf_tdi_unit unit, uint64_t *addressp, struct pfnbuf_tdi_error *err)
{
	const struct pfnbuf_tdi_range *range = &layouts->ranges[index];
	unsigned shift = unit == PFNBUF_TDI_UNIT_PAGES ? FRAME_SHIFT : 0;
	uint64_t last = ((uint64_t)range->number_of_pages << FRAME_SHIFT) - 1;
	uint64_t reported = range->first_page << shift;
	struct tdi_site site = tdi_at_range(index, TDI_FIRST_PAGE);
	uint64_t address, end;

	site.bar = range->range_id;
	if (reported >> shift != range->first_page || __builtin_add_overflow(reported, last, &end))
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_WRAP, site,
				       "range %" PRIu32 " (byte %" PRIu64 "): %s 0x%" PRIx64
				       " and %" PRIu32 " pages leave the 64-bit address space",
				       index, site.offset, shift ? "page" : "address",
				       range->first_page, range->number_of_pages);
	if (__builtin_sub_overflow(reported, layouts->opts.reporting_offset, &address) ||
	    __builtin_add_overflow(address, last, &end))
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_WRAP, site,
			"range %" PRIu32 " (byte %" PRIu64 ") at 0x%" PRIx64
			" cannot have reporting offset %" PRId64 " in it: the address would wrap",
			index, site.offset, reported, layouts->opts.reporting_offset);
	if (address & (PFNBUF_TDI_PAGE_SIZE - 1))
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_MISALIGNED, site,
				       "range %" PRIu32 " (byte %" PRIu64 ") at 0x%" PRIx64
				       " does not start on a 4 KiB page",
				       index, site.offset, address);
	*addressp = address;
	return 0;
}

/* Whether an address that names a BAR's base replaces the one found before. */
static bool is_base(enum pfnbuf_tdi_base mode, bool found, uint64_t address, uint64_t base)
{
	return !found || (mode == PFNBUF_TDI_BASE_MIN_RANGE && address < base);
}

static void find_bases(const struct pfnbuf_tdi_layouts *layouts, const uint64_t *addresses,
		       uint64_t *bases)
{
	bool found[N_BARS] = { false };

	for (unsigned bar = 0; bar < N_BARS; bar++)
		bases[bar] = round_down(layouts->opts.bars[bar].address, PFNBUF_TDI_PAGE_SIZE);
	if (layouts->opts.base == PFNBUF_TDI_BASE_ABSOLUTE)
		return;
	for (uint32_t i = 0; i < layouts->nr_ranges; i++) {
		unsigned bar = layouts->ranges[i].range_id;

		if (is_base(layouts->opts.base, found[bar], addresses[i], bases[bar]))
			bases[bar] = addresses[i];
		found[bar] = true;
	}
}

static int place_range(const struct pfnbuf_tdi_layouts *layouts, uint32_t index, uint64_t address,
		       uint64_t base, struct place *place, struct pfnbuf_tdi_error *err)
{
	const struct pfnbuf_tdi_range *range = &layouts->ranges[index];
	const struct pfnbuf_tdi_bar *bar = &layouts->opts.bars[range->range_id];
	struct tdi_site site = tdi_at_range(index, TDI_FIRST_PAGE);
	uint64_t start;

	site.bar = range->range_id;
	if (address < base)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BELOW_BASE, site,
				       "range %" PRIu32 " (byte %" PRIu64 ") at 0x%" PRIx64
				       " lies below the base of BAR %u, 0x%" PRIx64,
				       index, site.offset, address, range->range_id, base);
	start = (address - base) >> FRAME_SHIFT;
	if (start + range->number_of_pages > frames_of(bar->size)) {
		if (start < frames_of(bar->size))
			site.offset += TDI_NUMBER_OF_PAGES;
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_OUTSIDE_BAR, site,
			"range %" PRIu32 " (byte %" PRIu64 "), 0x%" PRIx64 "+0x%" PRIx64
			" from the base of BAR %u, ends outside its 0x%" PRIx64 " bytes",
			index, site.offset, address - base,
			(uint64_t)range->number_of_pages << FRAME_SHIFT, range->range_id,
			bar->size);
	}
	*place = (struct place){
		.start = start,
		.end = start + range->number_of_pages,
		.range = index,
		.bar = range->range_id,
	};
	return 0;
}

static int compare_places(const void *left, const void *right)
{
	const struct place *a = left;
	const struct place *b = right;

	if (a->bar != b->bar)
		return a->bar < b->bar ? -1 : 1;
	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return a->range < b->range ? -1 : a->range > b->range;
}

static int check_overlap(const struct place *a, const struct place *b, struct pfnbuf_tdi_error *err)
{
	const struct place *early = a->range < b->range ? a : b;
	const struct place *late = a->range < b->range ? b : a;
	struct tdi_site site = tdi_at_range(late->range, TDI_FIRST_PAGE);

	if (a->bar != b->bar || a->end <= b->start)
		return 0;
	site.bar = (int)late->bar;
	site.other = early->range;
	if (a->start == b->start && a->end == b->end)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_DUPLICATE, site,
				       "range %" PRIu32 " (byte %" PRIu64 ") repeats range %" PRIu32
				       " in BAR %u",
				       late->range, site.offset, early->range, late->bar);
	return pfnbuf_tdi_fail(err, PFNBUF_TDI_OVERLAP, site,
			       "range %" PRIu32 " (byte %" PRIu64 "), 0x%" PRIx64 "+0x%" PRIx64
			       " of BAR %u, overlaps range %" PRIu32 ", 0x%" PRIx64 "+0x%" PRIx64,
			       late->range, site.offset, late->start << FRAME_SHIFT,
			       (late->end - late->start) << FRAME_SHIFT, late->bar, early->range,
			       early->start << FRAME_SHIFT,
			       (early->end - early->start) << FRAME_SHIFT);
}

/* Place every range under one reading of FIRST_PAGE; addresses is room for nr_ranges of them. */
static int place_all(struct pfnbuf_tdi_layouts *layouts, enum pfnbuf_tdi_unit unit,
		     uint64_t *addresses, struct pfnbuf_tdi_error *err)
{
	uint64_t bases[N_BARS];
	int ret;

	for (uint32_t i = 0; i < layouts->nr_ranges; i++) {
		ret = read_address(layouts, i, unit, &addresses[i], err);
		if (ret)
			return ret;
	}
	find_bases(layouts, addresses, bases);
	for (uint32_t i = 0; i < layouts->nr_ranges; i++) {
		ret = place_range(layouts, i, addresses[i], bases[layouts->ranges[i].range_id],
				  &layouts->places[i], err);
		if (ret)
			return ret;
	}
	qsort(layouts->places, layouts->nr_ranges, sizeof(*layouts->places), compare_places);
	for (uint32_t i = 1; i < layouts->nr_ranges; i++) {
		ret = check_overlap(&layouts->places[i - 1], &layouts->places[i], err);
		if (ret)
			return ret;
	}
	layouts->unit = unit;
	return 0;
}

static int neither_unit(const struct pfnbuf_tdi_error *pages, const struct pfnbuf_tdi_error *bytes,
			struct pfnbuf_tdi_error *err)
{
	struct tdi_site site = { pages->bar, pages->range, pages->other, pages->offset };

	/* What is wrong in either reading is not the unit's fault. */
	if (pages->reason == bytes->reason && pages->range == bytes->range)
		return pfnbuf_tdi_fail(err, pages->reason, site, "%s", pages->text);
	return pfnbuf_tdi_fail(
		err, PFNBUF_TDI_UNIT_NONE, site,
		"neither unit of FIRST_PAGE is consistent; as pages, %.130s; as bytes, %.130s",
		pages->text, bytes->text);
}

/* Decide only if the ranges themselves do: exactly one reading places all of them. */
static int choose_unit(struct pfnbuf_tdi_layouts *layouts, uint64_t *addresses,
		       struct pfnbuf_tdi_error *err)
{
	struct pfnbuf_tdi_error as_pages, as_bytes;
	int bytes = place_all(layouts, PFNBUF_TDI_UNIT_BYTES, addresses, &as_bytes);
	int pages = place_all(layouts, PFNBUF_TDI_UNIT_PAGES, addresses, &as_pages);

	if (layouts->nr_ranges == 0) {
		strcpy(layouts->unit_why, "there is no range to read");
		return 0;
	}
	if (bytes && pages)
		return neither_unit(&as_pages, &as_bytes, err);
	if (!bytes && !pages)
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_UNIT_AMBIGUOUS, tdi_at_range(0, TDI_FIRST_PAGE),
			"FIRST_PAGE of every range fits as page number and as byte address: "
			"say which%s",
			layouts->opts.base == PFNBUF_TDI_BASE_ABSOLUTE
				? ""
				: ", or give the BAR addresses and use base mode absolute");
	snprintf(layouts->unit_why, sizeof(layouts->unit_why), "%s do not fit: %s",
		 bytes ? "byte addresses" : "page numbers", bytes ? as_bytes.text : as_pages.text);
	return bytes ? 0 : place_all(layouts, PFNBUF_TDI_UNIT_BYTES, addresses, err);
}

static int place_ranges(struct pfnbuf_tdi_layouts *layouts, struct pfnbuf_tdi_error *err)
{
	__attribute__((cleanup(freep))) uint64_t *addresses = NULL;
	int ret;

	addresses = calloc((size_t)layouts->nr_ranges + 1, sizeof(*addresses));
	layouts->places = calloc((size_t)layouts->nr_ranges + 1, sizeof(*layouts->places));
	layouts->order = calloc((size_t)layouts->nr_ranges + 1, sizeof(*layouts->order));
	if (!addresses || !layouts->places || !layouts->order)
		return no_memory(err);

	for (uint32_t i = 0; i < layouts->nr_ranges; i++) {
		ret = check_id(layouts, i, err);
		if (ret)
			return ret;
	}
	if (layouts->opts.unit == PFNBUF_TDI_UNIT_AUTO) {
		ret = choose_unit(layouts, addresses, err);
	} else {
		strcpy(layouts->unit_why, "the caller says so");
		ret = place_all(layouts, layouts->opts.unit, addresses, err);
	}
	if (ret)
		return ret;

	for (uint32_t i = 0; i < layouts->nr_ranges; i++) {
		struct compiled_bar *bar = &layouts->bars[layouts->places[i].bar];

		layouts->order[i] = layouts->places[i].range;
		if (bar->nr_places++ == 0)
			bar->first_place = i;
	}
	return 0;
}

/* ---- classifying ---------------------------------------------------------------------------- */

static enum pfnbuf_tdi_rule rule_of(const struct pfnbuf_tdi_compile_opts *opts, uint16_t attributes)
{
	if (attributes & (PFNBUF_TDI_ATTR_MSIX_TABLE | PFNBUF_TDI_ATTR_MSIX_PBA) &&
	    opts->msix != PFNBUF_TDI_MSIX_REPORTED)
		return PFNBUF_TDI_RULE_MSIX;
	return attributes & PFNBUF_TDI_ATTR_NON_TEE ? PFNBUF_TDI_RULE_NON_TEE : PFNBUF_TDI_RULE_TEE;
}

static enum pfnbuf_vis vis_of(const struct pfnbuf_tdi_compile_opts *opts, enum pfnbuf_tdi_rule rule)
{
	if (rule == PFNBUF_TDI_RULE_TEE)
		return PFNBUF_PRIVATE;
	if (rule == PFNBUF_TDI_RULE_MSIX && opts->msix == PFNBUF_TDI_MSIX_TRAP)
		return PFNBUF_HOLE;
	if (rule == PFNBUF_TDI_RULE_NOT_REPORTED && opts->holes == PFNBUF_TDI_HOLES_TRAP)
		return PFNBUF_HOLE;
	return PFNBUF_SHARED;
}

static struct segment hole_segment(const struct pfnbuf_tdi_compile_opts *opts, uint64_t start,
				   uint64_t end)
{
	return (struct segment){
		.start = start,
		.end = end,
		.vis = vis_of(opts, PFNBUF_TDI_RULE_NOT_REPORTED),
		.rule = PFNBUF_TDI_RULE_NOT_REPORTED,
		.place = NO_PLACE,
	};
}

static struct segment range_segment(const struct pfnbuf_tdi_layouts *layouts, uint32_t index)
{
	const struct place *place = &layouts->places[index];
	uint16_t attributes = layouts->ranges[place->range].range_attributes;
	enum pfnbuf_tdi_rule rule = rule_of(&layouts->opts, attributes);

	return (struct segment){
		.start = place->start,
		.end = place->end,
		.vis = vis_of(&layouts->opts, rule),
		.rule = rule,
		.place = index,
	};
}

static int refuse_hole(unsigned bar, const struct segment *hole, struct pfnbuf_tdi_error *err)
{
	return pfnbuf_tdi_fail(
		err, PFNBUF_TDI_HOLE, tdi_at_bar(bar),
		"no range names 0x%" PRIx64 "+0x%" PRIx64 " of BAR %u, and holes are refused",
		hole->start << FRAME_SHIFT, (hole->end - hole->start) << FRAME_SHIFT, bar);
}

/* Cut a BAR into segments without gaps; segments is room for 2 * nr_places + 1. */
static int cut_bar(const struct pfnbuf_tdi_layouts *layouts, unsigned index,
		   struct segment *segments, uint32_t *countp, struct pfnbuf_tdi_error *err)
{
	const struct compiled_bar *bar = &layouts->bars[index];
	uint64_t frames = frames_of(layouts->opts.bars[index].size);
	uint64_t at = 0;
	uint32_t count = 0;

	for (uint32_t i = bar->first_place; i < bar->first_place + bar->nr_places; i++) {
		if (layouts->places[i].start > at)
			segments[count++] =
				hole_segment(&layouts->opts, at, layouts->places[i].start);
		segments[count++] = range_segment(layouts, i);
		at = layouts->places[i].end;
	}
	if (at < frames)
		segments[count++] = hole_segment(&layouts->opts, at, frames);

	for (uint32_t i = 0; i < count; i++)
		if (segments[i].place == NO_PLACE && layouts->opts.holes == PFNBUF_TDI_HOLES_REFUSE)
			return refuse_hole(index, &segments[i], err);
	*countp = count;
	return 0;
}

/* ---- folding into host pages ---------------------------------------------------------------- */

/* A run of frames [start, end) that n segments decide. */
static struct pfnbuf_tdi_run make_run(const struct pfnbuf_tdi_layouts *layouts, uint64_t start,
				      uint64_t end, const struct segment *segments, uint32_t n)
{
	struct pfnbuf_tdi_run run = {
		.offset = start << FRAME_SHIFT,
		.length = (end - start) << FRAME_SHIFT,
		.vis = segments->vis,
		.rule = segments->rule,
	};

	for (uint32_t i = 0; i < n; i++) {
		const struct segment *segment = &segments[i];

		if (segment->rule != run.rule)
			run.rule = PFNBUF_TDI_RULE_AGREED;
		if (segment->place == NO_PLACE)
			continue;
		if (run.nr_ranges++ == 0)
			run.ranges = &layouts->order[segment->place];
		run.range_attributes |=
			layouts->ranges[layouts->places[segment->place].range].range_attributes;
	}
	return run;
}

static bool agree(const struct segment *segments, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++)
		if (segments[i].vis != segments[0].vis)
			return false;
	return true;
}

/* "range 0 private, no range hole, range 2 shared", cut where size ends. */
static void name_segments(const struct pfnbuf_tdi_layouts *layouts, const struct segment *segments,
			  uint32_t n, char *buf, size_t size)
{
	static const char cut[] = ", ...";
	struct tdi_text out = { buf, size, 0 };

	for (uint32_t i = 0; i < n; i++) {
		pfnbuf_tdi_print(&out, "%s", i > 0 ? ", " : "");
		if (segments[i].place == NO_PLACE)
			pfnbuf_tdi_print(&out, "no range");
		else
			pfnbuf_tdi_print(&out, "range %" PRIu32, layouts->order[segments[i].place]);
		pfnbuf_tdi_print(&out, " %s", pfnbuf_vis_name(segments[i].vis));
	}
	if (out.len >= size)
		memcpy(buf + size - sizeof(cut), cut, sizeof(cut));
}

static int refuse_mixed(const struct pfnbuf_tdi_layouts *layouts, unsigned bar, uint64_t start,
			const struct segment *segments, uint32_t n, struct pfnbuf_tdi_error *err)
{
	const struct segment *named = segments->place == NO_PLACE ? segments + 1 : segments;
	struct tdi_site site = tdi_at_range(layouts->order[named->place], TDI_FIRST_PAGE);
	char names[180];

	site.bar = (int)bar;
	for (uint32_t i = n - 1; &segments[i] > named && site.other < 0; i--)
		if (segments[i].place != NO_PLACE)
			site.other = layouts->order[segments[i].place];
	name_segments(layouts, segments, n, names, sizeof(names));
	return pfnbuf_tdi_fail(
		err, PFNBUF_TDI_MIXED_PAGE, site,
		"host page 0x%" PRIx64 "+0x%" PRIx64
		" of BAR %u mixes %s: widen mixed pages to shared, or use smaller host pages",
		start << FRAME_SHIFT, layouts->opts.page_size, bar, names);
}

/* One host page that several segments share. */
static int fold_page(struct pfnbuf_tdi_layouts *layouts, unsigned index, uint64_t start,
		     const struct segment *segments, uint32_t n, struct pfnbuf_tdi_error *err)
{
	struct compiled_bar *bar = &layouts->bars[index];
	uint64_t end = start + (layouts->opts.page_size >> FRAME_SHIFT);
	struct pfnbuf_tdi_run run = make_run(layouts, start, end, segments, n);

	if (!agree(segments, n)) {
		if (layouts->opts.mixed == PFNBUF_TDI_MIXED_REFUSE)
			return refuse_mixed(layouts, index, start, segments, n, err);
		run.vis = PFNBUF_SHARED;
		run.rule = PFNBUF_TDI_RULE_MIXED_PAGE;
		bar->widened++;
	}
	bar->runs[bar->nr_runs++] = run;
	return 0;
}

/* Turn the n segments of a BAR into runs of whole host pages. */
static int fold_bar(struct pfnbuf_tdi_layouts *layouts, unsigned index,
		    const struct segment *segments, uint32_t n, struct pfnbuf_tdi_error *err)
{
	struct compiled_bar *bar = &layouts->bars[index];
	uint64_t page = layouts->opts.page_size >> FRAME_SHIFT;
	uint64_t at = 0;
	uint32_t i = 0;

	while (i < n) {
		uint64_t whole = round_down(segments[i].end, page);
		uint32_t last = i;
		int ret;

		if (whole > at) {
			bar->runs[bar->nr_runs++] = make_run(layouts, at, whole, &segments[i], 1);
			at = whole;
		} else {
			while (last + 1 < n && segments[last + 1].start < at + page)
				last++;
			ret = fold_page(layouts, index, at, &segments[i], last - i + 1, err);
			if (ret)
				return ret;
			at += page;
			i = last;
		}
		if (segments[i].end <= at)
			i++;
	}
	return 0;
}

/* A BAR smaller than a host page that starts inside one: the page has other owners. */
static int check_alone(const struct pfnbuf_tdi_layouts *layouts, unsigned index,
		       struct pfnbuf_tdi_error *err)
{
	const struct pfnbuf_tdi_bar *bar = &layouts->opts.bars[index];

	if (layouts->bars[index].runs[0].vis == PFNBUF_HOLE ||
	    !(bar->address & (layouts->opts.page_size - 1)))
		return 0;
	return pfnbuf_tdi_fail(err, PFNBUF_TDI_MIXED_PAGE, tdi_at_bar(index),
			       "BAR %u (0x%" PRIx64 " bytes at 0x%" PRIx64
			       ") starts inside a host page of 0x%" PRIx64
			       " bytes: it cannot be mapped without its neighbours",
			       index, bar->size, bar->address, layouts->opts.page_size);
}

static int warn_bar(struct pfnbuf_tdi_layouts *layouts, unsigned index)
{
	const struct compiled_bar *bar = &layouts->bars[index];
	int ret = 0;

	if (bar->nr_places > 0 && layouts->opts.base != PFNBUF_TDI_BASE_ABSOLUTE)
		ret = warn(
			layouts,
			"BAR %u: its base is taken from %s: if the device reports only the inside of "
			"the BAR, all of it is misplaced; base mode absolute is sure",
			index,
			layouts->opts.base == PFNBUF_TDI_BASE_FIRST_RANGE ? "its first range"
									  : "its lowest range");
	if (!ret && bar->widened > 0)
		ret = warn(layouts,
			   "BAR %u: mixed host pages widened to shared: %" PRIu32
			   "; the guest cannot accept the private ranges in them",
			   index, bar->widened);
	if (!ret && layouts->opts.bars[index].size < layouts->opts.page_size &&
	    bar->runs[0].vis != PFNBUF_HOLE)
		ret = warn(
			layouts,
			"BAR %u: 0x%" PRIx64
			" bytes are less than a host page: it can be mapped only if it owns the page",
			index, layouts->opts.bars[index].size);
	return ret;
}

/* ---- compiling ------------------------------------------------------------------------------ */

static int make_layout(struct pfnbuf_tdi_layouts *layouts, unsigned index)
{
	__attribute__((cleanup(freep))) struct pfnbuf_run *runs = NULL;
	struct compiled_bar *bar = &layouts->bars[index];
	uint64_t page_size = layouts->opts.page_size;

	runs = calloc(bar->nr_runs, sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	for (uint32_t i = 0; i < bar->nr_runs; i++)
		runs[i] = (struct pfnbuf_run){
			.offset = bar->runs[i].offset,
			.length = bar->runs[i].length,
			.vis = bar->runs[i].vis,
		};
	return pfnbuf_layout_build(round_up(layouts->opts.bars[index].size, page_size), page_size,
				   runs, bar->nr_runs, &bar->layout);
}

static int compile_bar(struct pfnbuf_tdi_layouts *layouts, unsigned index, struct segment *segments,
		       struct pfnbuf_tdi_error *err)
{
	uint32_t count = 0;
	int ret = cut_bar(layouts, index, segments, &count, err);

	if (!ret)
		ret = fold_bar(layouts, index, segments, count, err);
	if (!ret && layouts->opts.bars[index].size < layouts->opts.page_size)
		ret = check_alone(layouts, index, err);
	if (ret)
		return ret;
	if (make_layout(layouts, index) || warn_bar(layouts, index))
		return no_memory(err);
	return 0;
}

static int compile_bars(struct pfnbuf_tdi_layouts *layouts, struct pfnbuf_tdi_error *err)
{
	__attribute__((cleanup(freep))) struct segment *segments = NULL;
	size_t max_segments = 2 * (size_t)layouts->nr_ranges + 1;
	struct pfnbuf_tdi_run *runs;
	int ret;

	/*
	 * N ranges in six BARs make at most 2N + 6 segments, and each of these at most two runs:
	 * its whole host pages, and the one that it shares at its end.
	 */
	runs = calloc(2 * (max_segments + N_BARS), sizeof(*runs));
	segments = calloc(max_segments, sizeof(*segments));
	layouts->runs = runs;
	if (!runs || !segments)
		return no_memory(err);
	for (unsigned bar = 0; bar < N_BARS; bar++) {
		if (!is_memory(&layouts->opts.bars[bar]))
			continue;
		layouts->bars[bar].runs = runs;
		ret = compile_bar(layouts, bar, segments, err);
		if (ret)
			return ret;
		runs += layouts->bars[bar].nr_runs;
	}
	return 0;
}

static int copy_ranges(struct pfnbuf_tdi_layouts *layouts, const struct pfnbuf_tdi_report *report,
		       struct pfnbuf_tdi_error *err)
{
	uint32_t count = pfnbuf_tdi_report_count_ranges(report);

	layouts->ranges = calloc((size_t)count + 1, sizeof(*layouts->ranges));
	if (!layouts->ranges)
		return no_memory(err);
	layouts->nr_ranges = count;
	for (uint32_t i = 0; i < count; i++) {
		pfnbuf_tdi_report_get_range(report, i, &layouts->ranges[i]);
		if (layouts->ranges[i].number_of_pages == 0)
			return pfnbuf_tdi_fail(err, PFNBUF_TDI_ZERO_PAGES,
					       tdi_at_range(i, TDI_NUMBER_OF_PAGES),
					       "range %" PRIu32 " has no pages (byte %" PRIu64 ")",
					       i, tdi_at_range(i, TDI_NUMBER_OF_PAGES).offset);
	}
	return 0;
}

int pfnbuf_tdi_layouts_compile(const struct pfnbuf_tdi_report *report,
			       const struct pfnbuf_tdi_compile_opts *opts,
			       struct pfnbuf_tdi_layouts **layoutsp, struct pfnbuf_tdi_error *err)
{
	__attribute__((cleanup(layouts_freep))) struct pfnbuf_tdi_layouts *layouts = NULL;
	int ret = pfnbuf_tdi_check_opts(opts, err);

	if (ret)
		return ret;
	layouts = calloc(1, sizeof(*layouts));
	if (!layouts)
		return no_memory(err);
	layouts->opts = *opts;
	if (!layouts->opts.page_size)
		layouts->opts.page_size = PFNBUF_TDI_PAGE_SIZE;
	if (opts->evidence) {
		layouts->evidence = *opts->evidence;
		layouts->opts.evidence = &layouts->evidence;
	}
	ret = copy_ranges(layouts, report, err);
	if (!ret)
		ret = place_ranges(layouts, err);
	if (!ret)
		ret = compile_bars(layouts, err);
	if (ret)
		return ret;

	*layoutsp = layouts;
	layouts = NULL;
	return 0;
}

/* ---- reading the result --------------------------------------------------------------------- */

const struct pfnbuf_layout *pfnbuf_tdi_layouts_get(const struct pfnbuf_tdi_layouts *layouts,
						   unsigned bar)
{
	return bar < N_BARS ? layouts->bars[bar].layout : NULL;
}

uint32_t pfnbuf_tdi_layouts_count_runs(const struct pfnbuf_tdi_layouts *layouts, unsigned bar)
{
	return bar < N_BARS ? layouts->bars[bar].nr_runs : 0;
}

int pfnbuf_tdi_layouts_get_run(const struct pfnbuf_tdi_layouts *layouts, unsigned bar,
			       uint32_t index, struct pfnbuf_tdi_run *run)
{
	if (index >= pfnbuf_tdi_layouts_count_runs(layouts, bar))
		return -ENOENT;
	*run = layouts->bars[bar].runs[index];
	return 0;
}

enum pfnbuf_tdi_unit pfnbuf_tdi_layouts_get_unit(const struct pfnbuf_tdi_layouts *layouts,
						 const char **whyp)
{
	if (whyp)
		*whyp = layouts->unit_why;
	return layouts->unit;
}

const char *pfnbuf_tdi_layouts_get_warning(const struct pfnbuf_tdi_layouts *layouts, unsigned index)
{
	return index < layouts->nr_warnings ? layouts->warnings[index] : NULL;
}

/* The first place in the BAR that ends after frame. */
static uint32_t find_place(const struct pfnbuf_tdi_layouts *layouts, unsigned bar, uint64_t frame)
{
	uint32_t low = layouts->bars[bar].first_place;
	uint32_t high = low + layouts->bars[bar].nr_places;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (layouts->places[middle].end <= frame)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Whether ranges of the report cover the frames [start, end); if not, the first that is not. */
static bool is_reported(const struct pfnbuf_tdi_layouts *layouts, unsigned bar, uint64_t start,
			uint64_t end, uint64_t *missingp)
{
	uint32_t end_place = layouts->bars[bar].first_place + layouts->bars[bar].nr_places;

	for (uint32_t i = find_place(layouts, bar, start); start < end; i++) {
		if (i == end_place || layouts->places[i].start > start) {
			*missingp = start;
			return false;
		}
		start = layouts->places[i].end;
	}
	return true;
}

/* The run that holds byte offset, which lies in the BAR. */
static const struct pfnbuf_tdi_run *find_run(const struct compiled_bar *bar, uint64_t offset)
{
	uint32_t low = 0;
	uint32_t high = bar->nr_runs;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (bar->runs[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return &bar->runs[low];
}

int pfnbuf_tdi_layouts_classify(const struct pfnbuf_tdi_layouts *layouts, unsigned bar,
				uint64_t offset, uint64_t length, enum pfnbuf_vis *visp,
				struct pfnbuf_tdi_error *err)
{
	struct tdi_site site = bar < N_BARS ? tdi_at_bar(bar) : tdi_nowhere();
	const struct pfnbuf_tdi_run *first, *run;
	uint64_t end, missing;

	if (length == 0)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_ARGUMENT, site,
				       "nothing to classify: length 0");
	if (bar >= N_BARS || !is_memory(&layouts->opts.bars[bar]))
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_NO_BAR, site, "BAR %u was not compiled",
				       bar);
	if (__builtin_add_overflow(offset, length, &end) || end > layouts->opts.bars[bar].size)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_OUTSIDE_BAR, site,
				       "0x%" PRIx64 "+0x%" PRIx64
				       " lies outside BAR %u of 0x%" PRIx64 " bytes",
				       offset, length, bar, layouts->opts.bars[bar].size);
	if (!is_reported(layouts, bar, offset >> FRAME_SHIFT, frames_of(end), &missing))
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_NOT_REPORTED, site,
				       "no range names the page at 0x%" PRIx64
				       " of BAR %u, which is in 0x%" PRIx64 "+0x%" PRIx64,
				       missing << FRAME_SHIFT, bar, offset, length);

	first = find_run(&layouts->bars[bar], offset);
	for (run = first; run->offset + run->length < end; run++)
		if (run[1].vis != first->vis)
			return pfnbuf_tdi_fail(err, PFNBUF_TDI_MIXED_PAGE, site,
					       "0x%" PRIx64 "+0x%" PRIx64
					       " of BAR %u is %s, but %s from 0x%" PRIx64 " on",
					       offset, length, bar, pfnbuf_vis_name(first->vis),
					       pfnbuf_vis_name(run[1].vis), run[1].offset);
	*visp = first->vis;
	return 0;
}

static int check_digest(const struct pfnbuf_tdi_evidence *then,
			const struct pfnbuf_tdi_evidence *now, struct pfnbuf_tdi_error *err)
{
	if (!then || then->digest_len == 0)
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_NO_EVIDENCE, tdi_nowhere(),
			"the layouts were compiled without a digest: nothing vouches for them");
	if (!now || now->digest_len == 0)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_NO_EVIDENCE, tdi_nowhere(),
				       "no digest was given to hold the layouts against");
	if (now->digest_len != then->digest_len ||
	    memcmp(now->digest, then->digest, then->digest_len) != 0)
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_OTHER_DIGEST, tdi_nowhere(),
			"the layouts were compiled from a report with another digest: compile "
			"the attested one");
	return 0;
}

static int check_state(enum pfnbuf_tdi_state then, enum pfnbuf_tdi_state now,
		       enum pfnbuf_tdi_use use, struct pfnbuf_tdi_error *err)
{
	const char *name = pfnbuf_tdi_state_name(now);

	if (!name)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_STATE, tdi_nowhere(),
				       "TDISP knows no TDI state %u", (unsigned)now);
	if (now != PFNBUF_TDI_CONFIG_LOCKED && now != PFNBUF_TDI_RUN)
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_BAD_STATE, tdi_nowhere(),
			"the TDI is in %s: its report holds in CONFIG_LOCKED and RUN only", name);
	if (then == PFNBUF_TDI_RUN && now == PFNBUF_TDI_CONFIG_LOCKED)
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_BAD_STATE, tdi_nowhere(),
			"the TDI was in RUN and is said to be in CONFIG_LOCKED: TDISP has no such "
			"way back without a new lock");
	if (use == PFNBUF_TDI_USE_START && now != PFNBUF_TDI_CONFIG_LOCKED)
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_BAD_STATE, tdi_nowhere(),
			"the TDI is in %s: its report is verified before it is started", name);
	if (use == PFNBUF_TDI_USE_RUN && now != PFNBUF_TDI_RUN)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_STATE, tdi_nowhere(),
				       "the TDI is in %s: its MMIO is not ready before RUN", name);
	return 0;
}

int pfnbuf_tdi_layouts_check(const struct pfnbuf_tdi_layouts *layouts,
			     const struct pfnbuf_tdi_evidence *now, enum pfnbuf_tdi_use use,
			     struct pfnbuf_tdi_error *err)
{
	const struct pfnbuf_tdi_evidence *then = layouts->opts.evidence;
	int ret;

	if ((unsigned)use > PFNBUF_TDI_USE_RUN)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_ARGUMENT, tdi_nowhere(),
				       "unknown use %u", (unsigned)use);
	ret = check_digest(then, now, err);
	if (ret)
		return ret;
	if (now->generation != then->generation)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_OTHER_GENERATION, tdi_nowhere(),
				       "the layouts are of generation %" PRIu64 ", not %" PRIu64
				       ": the TDI was locked again since; compile its new report",
				       then->generation, now->generation);
	return check_state(then->state, now->state, use, err);
}

/* ---- words and JSON ------------------------------------------------------------------------- */

static const char *describe_rule(const struct pfnbuf_tdi_compile_opts *opts,
				 const struct pfnbuf_tdi_run *run)
{
	switch (run->rule) {
	case PFNBUF_TDI_RULE_NOT_REPORTED:
		return opts->holes == PFNBUF_TDI_HOLES_TRAP ? "not reported, so trapped"
							    : "not reported, shared by policy";
	case PFNBUF_TDI_RULE_TEE:
		return "IS_NON_TEE_MEM is clear";
	case PFNBUF_TDI_RULE_NON_TEE:
		return "IS_NON_TEE_MEM is set";
	case PFNBUF_TDI_RULE_MSIX:
		return opts->msix == PFNBUF_TDI_MSIX_TRAP ? "trapped for the VMM to emulate"
							  : "shared by policy";
	case PFNBUF_TDI_RULE_AGREED:
		return "the rules in this host page agree";
	case PFNBUF_TDI_RULE_MIXED_PAGE:
		return "the host page mixes kinds, so it is widened to shared";
	}
	return "";
}

static const char *describe_msix(uint16_t attributes)
{
	switch (attributes & (PFNBUF_TDI_ATTR_MSIX_TABLE | PFNBUF_TDI_ATTR_MSIX_PBA)) {
	case PFNBUF_TDI_ATTR_MSIX_TABLE:
		return "MSI-X table, ";
	case PFNBUF_TDI_ATTR_MSIX_PBA:
		return "MSI-X PBA, ";
	case 0:
		return "";
	default:
		return "MSI-X table and PBA, ";
	}
}

static void print_reason(struct tdi_text *out, const struct pfnbuf_tdi_layouts *layouts,
			 const struct pfnbuf_tdi_run *run)
{
	if (run->nr_ranges > 0)
		pfnbuf_tdi_print(out, "range%s %" PRIu32, run->nr_ranges > 1 ? "s" : "",
				 run->ranges[0]);
	for (uint32_t i = 1; i < run->nr_ranges; i++)
		pfnbuf_tdi_print(out, ", %" PRIu32, run->ranges[i]);
	pfnbuf_tdi_print(out, "%s%s%s%s", run->nr_ranges > 0 ? ": " : "",
			 describe_msix(run->range_attributes), describe_rule(&layouts->opts, run),
			 run->range_attributes & PFNBUF_TDI_ATTR_UPDATABLE
				 ? "; updatable, so this holds for the time of lock"
				 : "");
}

int pfnbuf_tdi_layouts_explain(const struct pfnbuf_tdi_layouts *layouts, unsigned bar,
			       uint32_t index, char *buf, size_t size)
{
	struct tdi_text out = { buf, size, 0 };

	if (index >= pfnbuf_tdi_layouts_count_runs(layouts, bar))
		return -ENOENT;
	print_reason(&out, layouts, &layouts->bars[bar].runs[index]);
	return (int)out.len;
}

static void print_bar(struct tdi_text *out, const struct pfnbuf_tdi_layouts *layouts,
		      unsigned index)
{
	const struct compiled_bar *bar = &layouts->bars[index];

	pfnbuf_tdi_print(out, "BAR %u  0x%" PRIx64 " bytes\n", index,
			 layouts->opts.bars[index].size);
	for (uint32_t i = 0; i < bar->nr_runs; i++) {
		const struct pfnbuf_tdi_run *run = &bar->runs[i];

		pfnbuf_tdi_print(out, "  0x%" PRIx64 "+0x%" PRIx64 "=%s  ", run->offset,
				 run->length, pfnbuf_vis_name(run->vis));
		print_reason(out, layouts, run);
		pfnbuf_tdi_print(out, "\n");
	}
}

size_t pfnbuf_tdi_layouts_print(const struct pfnbuf_tdi_layouts *layouts, char *buf, size_t size)
{
	struct tdi_text out = { buf, size, 0 };

	pfnbuf_tdi_print(&out, "unit  %s: %s\nbase  %s\npage  0x%" PRIx64 "\n",
			 unit_names[layouts->unit], layouts->unit_why,
			 base_names[layouts->opts.base], layouts->opts.page_size);
	for (unsigned i = 0; i < layouts->nr_warnings; i++)
		pfnbuf_tdi_print(&out, "warning: %s\n", layouts->warnings[i]);
	for (unsigned bar = 0; bar < N_BARS; bar++)
		if (layouts->bars[bar].nr_runs > 0)
			print_bar(&out, layouts, bar);
	return out.len;
}

static void print_run_json(struct tdi_text *out, const struct pfnbuf_tdi_layouts *layouts,
			   const struct pfnbuf_tdi_run *run)
{
	pfnbuf_tdi_print(out,
			 "{\"offset\": %" PRIu64 ", \"length\": %" PRIu64
			 ", \"vis\": \"%s\", \"rule\": \"%s\", \"ranges\": [",
			 run->offset, run->length, pfnbuf_vis_name(run->vis),
			 rule_names[run->rule]);
	for (uint32_t i = 0; i < run->nr_ranges; i++)
		pfnbuf_tdi_print(out, "%s%" PRIu32, i > 0 ? ", " : "", run->ranges[i]);
	pfnbuf_tdi_print(out, "], \"range_attributes\": %u, \"why\": \"", run->range_attributes);
	print_reason(out, layouts, run);
	pfnbuf_tdi_print(out, "\"}");
}

static void print_bar_json(struct tdi_text *out, const struct pfnbuf_tdi_layouts *layouts,
			   unsigned index)
{
	const struct compiled_bar *bar = &layouts->bars[index];

	pfnbuf_tdi_print(out, "{\"bar\": %u, \"size\": %" PRIu64 ", \"runs\": [", index,
			 layouts->opts.bars[index].size);
	for (uint32_t i = 0; i < bar->nr_runs; i++) {
		pfnbuf_tdi_print(out, "%s", i > 0 ? ", " : "");
		print_run_json(out, layouts, &bar->runs[i]);
	}
	pfnbuf_tdi_print(out, "]}");
}

static void print_evidence_json(struct tdi_text *out, const struct pfnbuf_tdi_evidence *evidence)
{
	if (!evidence) {
		pfnbuf_tdi_print(out, "null");
		return;
	}
	pfnbuf_tdi_print(out, "{\"digest\": \"");
	for (size_t i = 0; i < evidence->digest_len; i++)
		pfnbuf_tdi_print(out, "%02x", evidence->digest[i]);
	pfnbuf_tdi_print(out, "\", \"generation\": \"%" PRIu64 "\", \"state\": \"%s\"}",
			 evidence->generation, pfnbuf_tdi_state_name(evidence->state));
}

size_t pfnbuf_tdi_layouts_print_json(const struct pfnbuf_tdi_layouts *layouts, char *buf,
				     size_t size)
{
	struct tdi_text out = { buf, size, 0 };
	const char *comma = "";

	pfnbuf_tdi_print(
		&out,
		"{\"unit\": \"%s\", \"unit_why\": \"%s\", \"base\": \"%s\", \"page_size\": %" PRIu64
		", \"evidence\": ",
		unit_names[layouts->unit], layouts->unit_why, base_names[layouts->opts.base],
		layouts->opts.page_size);
	print_evidence_json(&out, layouts->opts.evidence);
	pfnbuf_tdi_print(&out, ", \"warnings\": [");
	for (unsigned i = 0; i < layouts->nr_warnings; i++)
		pfnbuf_tdi_print(&out, "%s\"%s\"", i > 0 ? ", " : "", layouts->warnings[i]);
	pfnbuf_tdi_print(&out, "], \"bars\": [");
	for (unsigned bar = 0; bar < N_BARS; bar++) {
		if (layouts->bars[bar].nr_runs == 0)
			continue;
		pfnbuf_tdi_print(&out, "%s", comma);
		print_bar_json(&out, layouts, bar);
		comma = ", ";
	}
	pfnbuf_tdi_print(&out, "]}\n");
	return out.len;
}
