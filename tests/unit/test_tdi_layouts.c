/* SPDX-License-Identifier: MIT */

/* From a report to layouts: modes, policies, reasons, and what the result is bound to. */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "starve.h"
#include "tdi_build.h"

#define BAR0 UINT64_C(0x1000000) /* page number of BAR 0 */
#define BAR4 UINT64_C(0x2000000)

static const struct pfnbuf_tdi_bar device[6] = {
	[0] = { .size = 256 << 10, .address = BAR0 << 12, .flags = PFNBUF_BAR_64 },
	[4] = { .size = 64 << 10, .address = BAR4 << 12, .flags = PFNBUF_BAR_64 },
};

/*
 * Of every kind one: private, MSI-X table, pending bits, shared, private for now; then a hole. BAR 4
 * is private as a whole.
 */
static const struct pfnbuf_tdi_range sample[] = {
	{ BAR0, 4, 0, 0 },	   { BAR0 + 4, 1, TABLE | NON_TEE, 0 },
	{ BAR0 + 5, 1, PBA, 0 },   { BAR0 + 6, 10, NON_TEE, 0 },
	{ BAR0 + 16, 16, UPD, 0 }, { BAR4, 16, 0, 4 },
};

#define N_SAMPLE (sizeof(sample) / sizeof(sample[0]))

static struct pfnbuf_tdi_compile_opts options(void)
{
	struct pfnbuf_tdi_compile_opts opts = {
		.size = sizeof(opts),
		.unit = PFNBUF_TDI_UNIT_PAGES,
	};

	memcpy(opts.bars, device, sizeof(device));
	return opts;
}

/* The sample in either unit, with a reporting offset in it. */
static struct pfnbuf_tdi_report *sample_in(enum pfnbuf_tdi_unit unit, int64_t reporting_offset)
{
	struct pfnbuf_tdi_range ranges[N_SAMPLE];

	for (size_t i = 0; i < N_SAMPLE; i++) {
		uint64_t address = (sample[i].first_page << 12) + (uint64_t)reporting_offset;

		ranges[i] = sample[i];
		ranges[i].first_page = unit == PFNBUF_TDI_UNIT_BYTES ? address : address >> 12;
	}
	return build(ranges, N_SAMPLE);
}

static struct pfnbuf_tdi_layouts *compile(const struct pfnbuf_tdi_report *report,
					  const struct pfnbuf_tdi_compile_opts *opts)
{
	struct pfnbuf_tdi_layouts *layouts = NULL;
	struct pfnbuf_tdi_error err;

	if (pfnbuf_tdi_layouts_compile(report, opts, &layouts, &err))
		fail_msg("%s: %s", pfnbuf_tdi_reason_name(err.reason), err.text);
	return layouts;
}

static void assert_layout(const struct pfnbuf_tdi_layouts *layouts, unsigned bar,
			  const char *expected)
{
	char *text = PRINT(pfnbuf_layout_print, pfnbuf_tdi_layouts_get(layouts, bar));

	assert_string_equal(text, expected);
	free(text);
}

#define PAGE4K	     "page=0x1000 "
#define REST	     " 0x20000+0x20000=hole"
#define BAR4_PRIVATE PAGE4K "0x0+0x10000=private"

static const struct mode {
	struct pfnbuf_tdi_compile_opts opts; /* unit and base are tried in all ways */
	const char *bar0;
	const char *bar4;
} modes[] = {
	{
		.bar0 = PAGE4K "0x0+0x4000=private 0x4000+0x2000=hole 0x6000+0xa000=shared "
			       "0x10000+0x10000=private" REST,
		.bar4 = BAR4_PRIVATE,
	},
	{
		.opts = { .msix = PFNBUF_TDI_MSIX_SHARED },
		.bar0 = PAGE4K
		"0x0+0x4000=private 0x4000+0xc000=shared 0x10000+0x10000=private" REST,
		.bar4 = BAR4_PRIVATE,
	},
	{
		.opts = { .msix = PFNBUF_TDI_MSIX_REPORTED },
		.bar0 = PAGE4K "0x0+0x4000=private 0x4000+0x1000=shared 0x5000+0x1000=private "
			       "0x6000+0xa000=shared 0x10000+0x10000=private" REST,
		.bar4 = BAR4_PRIVATE,
	},
	{
		.opts = { .holes = PFNBUF_TDI_HOLES_SHARED },
		.bar0 = PAGE4K "0x0+0x4000=private 0x4000+0x2000=hole 0x6000+0xa000=shared "
			       "0x10000+0x10000=private 0x20000+0x20000=shared",
		.bar4 = BAR4_PRIVATE,
	},
	{
		.opts = { .page_size = 8192, .msix = PFNBUF_TDI_MSIX_TRAP },
		.bar0 = "page=0x2000 0x0+0x4000=private 0x4000+0x2000=hole 0x6000+0xa000=shared "
			"0x10000+0x10000=private" REST,
		.bar4 = "page=0x2000 0x0+0x10000=private",
	},
	{
		.opts = { .page_size = 65536, .mixed = PFNBUF_TDI_MIXED_SHARED },
		.bar0 = "page=0x10000 0x0+0x10000=shared 0x10000+0x10000=private" REST,
		.bar4 = "page=0x10000 0x0+0x10000=private",
	},
	{
		.opts = { .page_size = 1 << 20, .mixed = PFNBUF_TDI_MIXED_SHARED },
		.bar0 = "page=0x100000 0x0+0x100000=shared",
		.bar4 = "page=0x100000 0x0+0x100000=private",
	},
};

/* The same report in each unit, base mode and policy, with and without a reporting offset. */
static void test_each_mode(void **state)
{
	static const int64_t offsets[] = { 0, 0x7000, -0x10000, INT64_C(0x7fff000000000000),
					   -INT64_C(0x100000000) };
	static const enum pfnbuf_tdi_unit units[] = { PFNBUF_TDI_UNIT_PAGES,
						      PFNBUF_TDI_UNIT_BYTES };

	(void)state;
	for (size_t m = 0; m < sizeof(modes) / sizeof(modes[0]); m++)
		for (size_t u = 0; u < 2; u++)
			for (int base = 0; base <= PFNBUF_TDI_BASE_MIN_RANGE; base++)
				for (size_t o = 0; o < sizeof(offsets) / sizeof(offsets[0]); o++) {
					struct pfnbuf_tdi_compile_opts opts = modes[m].opts;
					struct pfnbuf_tdi_report *report =
						sample_in(units[u], offsets[o]);
					struct pfnbuf_tdi_layouts *layouts;

					opts.size = sizeof(opts);
					opts.unit = units[u];
					opts.base = (enum pfnbuf_tdi_base)base;
					opts.reporting_offset = offsets[o];
					memcpy(opts.bars, device, sizeof(device));
					layouts = compile(report, &opts);
					assert_layout(layouts, 0, modes[m].bar0);
					assert_layout(layouts, 4, modes[m].bar4);
					assert_null(pfnbuf_tdi_layouts_get(layouts, 1));
					assert_null(pfnbuf_tdi_layouts_get(layouts, 6));
					pfnbuf_tdi_layouts_free(layouts);
					pfnbuf_tdi_report_free(report);
				}
}

/* Linux's way: the reporting offset is not known, and the first range is taken for the base. */
static void test_relative_modes_need_no_offset(void **state)
{
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_report *report = sample_in(PFNBUF_TDI_UNIT_PAGES, 0x123456000);

	(void)state;
	for (opts.base = PFNBUF_TDI_BASE_FIRST_RANGE; opts.base <= PFNBUF_TDI_BASE_MIN_RANGE;
	     opts.base = (enum pfnbuf_tdi_base)(opts.base + 1)) {
		struct pfnbuf_tdi_layouts *layouts = compile(report, &opts);

		assert_layout(layouts, 0, modes[0].bar0);
		pfnbuf_tdi_layouts_free(layouts);
	}
	pfnbuf_tdi_report_free(report);
}

/* What reports only the inside of its BAR is misplaced by the relative modes, which warn. */
static void test_relative_modes_warn(void **state)
{
	static const struct pfnbuf_tdi_range ranges[] = { { BAR4 + 2, 1, 0, 4 },
							  { BAR4 + 8, 1, 0, 4 } };
	struct pfnbuf_tdi_report *report = build(ranges, 2);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_layouts *layouts = compile(report, &opts);
	char *text;

	(void)state;
	assert_layout(layouts, 4,
		      PAGE4K "0x0+0x2000=hole 0x2000+0x1000=private 0x3000+0x5000=hole "
			     "0x8000+0x1000=private 0x9000+0x7000=hole");
	assert_null(pfnbuf_tdi_layouts_get_warning(layouts, 0));
	pfnbuf_tdi_layouts_free(layouts);

	opts.base = PFNBUF_TDI_BASE_FIRST_RANGE;
	layouts = compile(report, &opts);
	assert_layout(layouts, 4,
		      PAGE4K "0x0+0x1000=private 0x1000+0x5000=hole 0x6000+0x1000=private "
			     "0x7000+0x9000=hole");
	assert_non_null(strstr(pfnbuf_tdi_layouts_get_warning(layouts, 0), "BAR 4"));
	assert_non_null(strstr(pfnbuf_tdi_layouts_get_warning(layouts, 0), "its first range"));
	assert_null(pfnbuf_tdi_layouts_get_warning(layouts, 1));
	text = PRINT(pfnbuf_tdi_layouts_print, layouts);
	assert_non_null(strstr(text, "\nwarning: BAR 4: its base is taken from its first range"));
	free(text);
	pfnbuf_tdi_layouts_free(layouts);
	pfnbuf_tdi_report_free(report);
}

/* First-range and minimum-range part where the ranges are not in order. */
static void test_min_range_of_unordered(void **state)
{
	static const struct pfnbuf_tdi_range ranges[] = { { BAR4 + 8, 1, 0, 4 },
							  { BAR4, 1, NON_TEE, 4 } };
	struct pfnbuf_tdi_report *report = build(ranges, 2);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_layouts *layouts;
	struct pfnbuf_tdi_error err;

	(void)state;
	opts.base = PFNBUF_TDI_BASE_MIN_RANGE;
	layouts = compile(report, &opts);
	assert_layout(layouts, 4,
		      PAGE4K "0x0+0x1000=shared 0x1000+0x7000=hole 0x8000+0x1000=private "
			     "0x9000+0x7000=hole");
	assert_non_null(strstr(pfnbuf_tdi_layouts_get_warning(layouts, 0), "its lowest range"));
	layouts = pfnbuf_tdi_layouts_free(layouts);

	opts.base = PFNBUF_TDI_BASE_FIRST_RANGE;
	assert_int_equal(pfnbuf_tdi_layouts_compile(report, &opts, &layouts, &err), -ERANGE);
	assert_int_equal(err.reason, PFNBUF_TDI_BELOW_BASE);
	assert_null(layouts);
	pfnbuf_tdi_report_free(report);
}

static void test_auto_unit(void **state)
{
	static const enum pfnbuf_tdi_unit units[] = { PFNBUF_TDI_UNIT_PAGES,
						      PFNBUF_TDI_UNIT_BYTES };
	static const char *const whys[] = { "byte addresses do not fit: range 1",
					    "page numbers do not fit: range 0" };

	(void)state;
	for (size_t u = 0; u < 2; u++) {
		struct pfnbuf_tdi_report *report = sample_in(units[u], 0);
		struct pfnbuf_tdi_compile_opts opts = options();
		struct pfnbuf_tdi_layouts *layouts;
		const char *why;

		opts.unit = PFNBUF_TDI_UNIT_AUTO;
		layouts = compile(report, &opts);
		assert_int_equal(pfnbuf_tdi_layouts_get_unit(layouts, &why), units[u]);
		assert_non_null(strstr(why, whys[u]));
		assert_layout(layouts, 0, modes[0].bar0);
		pfnbuf_tdi_layouts_free(layouts);
		pfnbuf_tdi_report_free(report);
	}
}

/* Without addresses the distance between two ranges decides, if it fits one unit only. */
static void test_auto_unit_by_distance(void **state)
{
	static const struct pfnbuf_tdi_range pages[] = { { 0x10000, 1, 0, 4 },
							 { 0x10001, 1, NON_TEE, 4 } };
	static const struct pfnbuf_tdi_range bytes[] = { { 0x10000, 1, 0, 4 },
							 { 0x11000, 1, NON_TEE, 4 } };
	struct pfnbuf_tdi_report *in_pages = build(pages, 2), *in_bytes = build(bytes, 2);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_layouts *a, *b;

	(void)state;
	opts.unit = PFNBUF_TDI_UNIT_AUTO;
	opts.base = PFNBUF_TDI_BASE_FIRST_RANGE;
	a = compile(in_pages, &opts);
	b = compile(in_bytes, &opts);
	assert_int_equal(pfnbuf_tdi_layouts_get_unit(a, NULL), PFNBUF_TDI_UNIT_PAGES);
	assert_int_equal(pfnbuf_tdi_layouts_get_unit(b, NULL), PFNBUF_TDI_UNIT_BYTES);
	assert_true(
		pfnbuf_layout_equal(pfnbuf_tdi_layouts_get(a, 4), pfnbuf_tdi_layouts_get(b, 4)));
	pfnbuf_tdi_layouts_free(a);
	pfnbuf_tdi_layouts_free(b);
	pfnbuf_tdi_report_free(in_pages);
	pfnbuf_tdi_report_free(in_bytes);
}

/* A report without ranges is all holes, and no unit is to be chosen. */
static void test_no_ranges(void **state)
{
	struct pfnbuf_tdi_report *report = build(NULL, 0);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_layouts *layouts;

	(void)state;
	opts.unit = PFNBUF_TDI_UNIT_AUTO;
	layouts = compile(report, &opts);
	assert_layout(layouts, 0, PAGE4K "0x0+0x40000=hole");
	assert_layout(layouts, 4, PAGE4K "0x0+0x10000=hole");
	pfnbuf_tdi_layouts_free(layouts);
	pfnbuf_tdi_report_free(report);
}

static void assert_run(const struct pfnbuf_tdi_layouts *layouts, uint32_t index, uint64_t offset,
		       uint64_t length, enum pfnbuf_vis vis, enum pfnbuf_tdi_rule rule,
		       const char *why)
{
	struct pfnbuf_tdi_run run;
	char text[200];
	int len;

	assert_int_equal(pfnbuf_tdi_layouts_get_run(layouts, 0, index, &run), 0);
	assert_int_equal(run.offset, offset);
	assert_int_equal(run.length, length);
	assert_int_equal(run.vis, vis);
	assert_int_equal(run.rule, rule);
	len = pfnbuf_tdi_layouts_explain(layouts, 0, index, text, sizeof(text));
	assert_string_equal(text, why);
	assert_int_equal(len, strlen(why));
}

static void test_reasons(void **state)
{
	struct pfnbuf_tdi_report *report = sample_in(PFNBUF_TDI_UNIT_PAGES, 0);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_layouts *layouts = compile(report, &opts);
	struct pfnbuf_tdi_run run;

	(void)state;
	assert_int_equal(pfnbuf_tdi_layouts_count_runs(layouts, 0), 6);
	assert_run(layouts, 0, 0, 0x4000, PFNBUF_PRIVATE, PFNBUF_TDI_RULE_TEE,
		   "range 0: IS_NON_TEE_MEM is clear");
	assert_run(layouts, 1, 0x4000, 0x1000, PFNBUF_HOLE, PFNBUF_TDI_RULE_MSIX,
		   "range 1: MSI-X table, trapped for the VMM to emulate");
	assert_run(layouts, 2, 0x5000, 0x1000, PFNBUF_HOLE, PFNBUF_TDI_RULE_MSIX,
		   "range 2: MSI-X PBA, trapped for the VMM to emulate");
	assert_run(layouts, 3, 0x6000, 0xa000, PFNBUF_SHARED, PFNBUF_TDI_RULE_NON_TEE,
		   "range 3: IS_NON_TEE_MEM is set");
	assert_run(
		layouts, 4, 0x10000, 0x10000, PFNBUF_PRIVATE, PFNBUF_TDI_RULE_TEE,
		"range 4: IS_NON_TEE_MEM is clear; updatable, so this holds for the time of lock");
	assert_run(layouts, 5, 0x20000, 0x20000, PFNBUF_HOLE, PFNBUF_TDI_RULE_NOT_REPORTED,
		   "not reported, so trapped");
	assert_int_equal(pfnbuf_tdi_layouts_get_run(layouts, 0, 6, &run), -ENOENT);
	assert_int_equal(pfnbuf_tdi_layouts_get_run(layouts, 1, 0, &run), -ENOENT);
	assert_int_equal(pfnbuf_tdi_layouts_explain(layouts, 6, 0, NULL, 0), -ENOENT);
	pfnbuf_tdi_layouts_free(layouts);
	pfnbuf_tdi_report_free(report);
}

/* A widened host page says which ranges are in it. */
static void test_reasons_of_host_pages(void **state)
{
	struct pfnbuf_tdi_report *report = sample_in(PFNBUF_TDI_UNIT_PAGES, 0);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_layouts *layouts;
	struct pfnbuf_tdi_error err;

	(void)state;
	opts.page_size = 0x8000;
	opts.mixed = PFNBUF_TDI_MIXED_SHARED;
	opts.msix = PFNBUF_TDI_MSIX_SHARED;
	layouts = compile(report, &opts);
	assert_run(
		layouts, 0, 0, 0x8000, PFNBUF_SHARED, PFNBUF_TDI_RULE_MIXED_PAGE,
		"ranges 0, 1, 2, 3: MSI-X table and PBA, the host page mixes kinds, so it is widened to "
		"shared");
	assert_run(layouts, 1, 0x8000, 0x8000, PFNBUF_SHARED, PFNBUF_TDI_RULE_NON_TEE,
		   "range 3: IS_NON_TEE_MEM is set");
	assert_non_null(strstr(pfnbuf_tdi_layouts_get_warning(layouts, 0),
			       "BAR 0: mixed host pages widened to shared: 1;"));
	pfnbuf_tdi_layouts_free(layouts);

	opts.page_size = 0x2000;
	layouts = compile(report, &opts);
	assert_run(layouts, 1, 0x4000, 0x2000, PFNBUF_SHARED, PFNBUF_TDI_RULE_MSIX,
		   "ranges 1, 2: MSI-X table and PBA, shared by policy");
	pfnbuf_tdi_layouts_free(layouts);

	opts.page_size = 0x4000;
	layouts = compile(report, &opts);
	assert_run(layouts, 1, 0x4000, 0x4000, PFNBUF_SHARED, PFNBUF_TDI_RULE_AGREED,
		   "ranges 1, 2, 3: MSI-X table and PBA, the rules in this host page agree");
	pfnbuf_tdi_layouts_free(layouts);

	opts.mixed = PFNBUF_TDI_MIXED_REFUSE;
	opts.page_size = 0x8000;
	assert_int_equal(pfnbuf_tdi_layouts_compile(report, &opts, &layouts, &err), -EXDEV);
	assert_int_equal(err.bar, 0);
	assert_non_null(strstr(err.text, "host page 0x0+0x8000 of BAR 0 mixes range 0 private, "
					 "range 1 shared, range 2 shared, range 3 shared"));
	pfnbuf_tdi_report_free(report);
}

/* Many ranges in one host page: the text is cut, and says so. */
static void test_mixed_page_of_many_ranges(void **state)
{
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_range ranges[64];
	struct pfnbuf_tdi_layouts *layouts;
	struct pfnbuf_tdi_report *report;
	struct pfnbuf_tdi_error err;

	(void)state;
	for (uint32_t i = 0; i < 64; i++)
		ranges[i] = (struct pfnbuf_tdi_range){ BAR0 + i, 1, i % 2 ? NON_TEE : 0, 0 };
	report = build(ranges, 64);
	opts.page_size = 64 << 12;
	assert_int_equal(pfnbuf_tdi_layouts_compile(report, &opts, &layouts, &err), -EXDEV);
	assert_int_equal(err.range, 0);
	assert_int_equal(err.other, 63);
	assert_non_null(strstr(err.text, ", ...: widen mixed pages"));
	pfnbuf_tdi_report_free(report);
}

/* A BAR smaller than a host page takes the page, and says on which condition. */
static void test_bar_smaller_than_page(void **state)
{
	static const struct pfnbuf_tdi_range range = { BAR4, 1, 0, 4 };
	struct pfnbuf_tdi_report *report = build(&range, 1);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_layouts *layouts;

	(void)state;
	opts.bars[4].size = 256;
	layouts = compile(report, &opts);
	assert_layout(layouts, 4, PAGE4K "0x0+0x1000=private");
	assert_non_null(
		strstr(pfnbuf_tdi_layouts_get_warning(layouts, 0), "less than a host page"));
	pfnbuf_tdi_layouts_free(layouts);

	opts.page_size = 0x10000;
	layouts = compile(report, &opts);
	assert_layout(layouts, 4, "page=0x10000 0x0+0x10000=private");
	assert_non_null(
		strstr(pfnbuf_tdi_layouts_get_warning(layouts, 0), "less than a host page"));
	pfnbuf_tdi_layouts_free(layouts);
	pfnbuf_tdi_report_free(report);
}

static void test_print(void **state)
{
	static const char expected[] =
		"unit  pages: the caller says so\n"
		"base  absolute\n"
		"page  0x1000\n"
		"BAR 0  0x40000 bytes\n"
		"  0x0+0x4000=private  range 0: IS_NON_TEE_MEM is clear\n"
		"  0x4000+0x1000=hole  range 1: MSI-X table, trapped for the VMM to emulate\n"
		"  0x5000+0x1000=hole  range 2: MSI-X PBA, trapped for the VMM to emulate\n"
		"  0x6000+0xa000=shared  range 3: IS_NON_TEE_MEM is set\n"
		"  0x10000+0x10000=private  range 4: IS_NON_TEE_MEM is clear; updatable, so this holds for "
		"the time of lock\n"
		"  0x20000+0x20000=hole  not reported, so trapped\n"
		"BAR 4  0x10000 bytes\n"
		"  0x0+0x10000=private  range 5: IS_NON_TEE_MEM is clear\n";
	struct pfnbuf_tdi_report *report = sample_in(PFNBUF_TDI_UNIT_PAGES, 0);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_layouts *layouts = compile(report, &opts);
	char *text = PRINT(pfnbuf_tdi_layouts_print, layouts);

	(void)state;
	assert_string_equal(text, expected);
	free(text);
	pfnbuf_tdi_layouts_free(layouts);
	pfnbuf_tdi_report_free(report);
}

static void test_print_json(void **state)
{
	static const char expected[] =
		"{\"unit\": \"pages\", \"unit_why\": \"the caller says so\", \"base\": \"min-range\", "
		"\"page_size\": 4096, \"evidence\": {\"digest\": \"0aff\", \"generation\": "
		"\"18446744073709551615\", \"state\": \"CONFIG_LOCKED\"}, \"warnings\": [\"BAR 4: its base is "
		"taken from its lowest range: if the device reports only the inside of the BAR, all of it is "
		"misplaced; base mode absolute is sure\"], \"bars\": [{\"bar\": 4, \"size\": 65536, \"runs\": "
		"[{\"offset\": 0, \"length\": 4096, \"vis\": \"hole\", \"rule\": \"msi-x\", \"ranges\": [0], "
		"\"range_attributes\": 1, \"why\": \"range 0: MSI-X table, trapped for the VMM to emulate\"}, "
		"{\"offset\": 4096, \"length\": 61440, \"vis\": \"hole\", \"rule\": \"not-reported\", "
		"\"ranges\": [], \"range_attributes\": 0, \"why\": \"not reported, so trapped\"}]}]}\n";
	static const struct pfnbuf_tdi_range range = { BAR4, 1, TABLE, 4 };
	const struct pfnbuf_tdi_evidence evidence = {
		.digest = { 0x0a, 0xff },
		.digest_len = 2,
		.generation = UINT64_MAX,
		.state = PFNBUF_TDI_CONFIG_LOCKED,
	};
	struct pfnbuf_tdi_report *report = build(&range, 1);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_layouts *layouts;
	char *json;

	(void)state;
	opts.bars[0].size = 0;
	opts.base = PFNBUF_TDI_BASE_MIN_RANGE;
	opts.evidence = &evidence;
	layouts = compile(report, &opts);
	json = PRINT(pfnbuf_tdi_layouts_print_json, layouts);
	assert_string_equal(json, expected);
	free(json);
	pfnbuf_tdi_layouts_free(layouts);
	pfnbuf_tdi_report_free(report);
}

static void test_print_json_without_evidence(void **state)
{
	struct pfnbuf_tdi_report *report = build(NULL, 0);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_layouts *layouts = compile(report, &opts);
	char *json = PRINT(pfnbuf_tdi_layouts_print_json, layouts);

	(void)state;
	assert_non_null(strstr(json, "\"evidence\": null, \"warnings\": []"));
	free(json);
	pfnbuf_tdi_layouts_free(layouts);
	pfnbuf_tdi_report_free(report);
}

/* ---- against a naive model ------------------------------------------------------------------- */

#define MAX_FRAMES 64

struct model {
	struct pfnbuf_tdi_compile_opts opts;
	struct pfnbuf_tdi_range ranges[6 * MAX_FRAMES];
	size_t n;
	struct {
		size_t frames;
		int range[MAX_FRAMES]; /* or -1 */
	} bars[6];
};

/* Fill a BAR with ranges and gaps at random, one 4 KiB page after another. */
static void fill_bar(struct model *model, unsigned bar, uint64_t *seed)
{
	uint64_t base = UINT64_C(0x10000) + next_random(seed) % UINT64_C(0xffffffff) * 64;
	size_t at = 0;

	model->bars[bar].frames = (size_t)1 << next_random(seed) % 7;
	model->opts.bars[bar] = (struct pfnbuf_tdi_bar){
		.size = (uint64_t)model->bars[bar].frames << 12,
		.address = base << 12,
	};
	while (at < model->bars[bar].frames) {
		uint64_t r = next_random(seed);
		size_t len = 1 + r % 8;
		bool gap = (r >> 8) % 4 == 0;

		if (len > model->bars[bar].frames - at)
			len = model->bars[bar].frames - at;
		for (size_t i = 0; i < len; i++)
			model->bars[bar].range[at + i] = gap ? -1 : (int)model->n;
		if (!gap)
			model->ranges[model->n++] = (struct pfnbuf_tdi_range){
				.first_page = base + at,
				.number_of_pages = (uint32_t)len,
				.range_attributes = (uint16_t)((r >> 16) & PFNBUF_TDI_ATTR_MASK),
				.range_id = (uint16_t)bar,
			};
		at += len;
	}
}

static void make_model(struct model *model, uint64_t *seed)
{
	uint64_t r = next_random(seed);

	memset(model, 0, sizeof(*model));
	model->opts = (struct pfnbuf_tdi_compile_opts){
		.size = sizeof(model->opts),
		.unit = r & 1 ? PFNBUF_TDI_UNIT_PAGES : PFNBUF_TDI_UNIT_BYTES,
		.holes = (enum pfnbuf_tdi_holes)((r >> 8) % 16 ? (r >> 8) % 2 : 2),
		.mixed = (r >> 16) % 4 ? PFNBUF_TDI_MIXED_SHARED : PFNBUF_TDI_MIXED_REFUSE,
		.msix = (enum pfnbuf_tdi_msix)((r >> 24) % 3),
		.page_size = UINT64_C(4096) << ((r >> 32) % 2 ? 0 : (r >> 40) % 4),
		.reporting_offset = (int64_t)((r >> 48) % 0x1000 * 4096) - 0x800 * 4096,
	};
	for (unsigned bar = 0; bar < 6; bar++)
		fill_bar(model, bar, seed);
}

/* The report of a model: shuffled, with the reporting offset, in its unit. */
static struct pfnbuf_tdi_report *model_report(const struct model *model, uint64_t *seed,
					      uint32_t *order)
{
	struct pfnbuf_tdi_report *report = build(NULL, 0);

	for (uint32_t i = 0; i < model->n; i++) {
		uint32_t j = (uint32_t)(next_random(seed) % (i + 1));

		order[i] = order[j];
		order[j] = i;
	}
	for (size_t i = 0; i < model->n; i++) {
		struct pfnbuf_tdi_range range = model->ranges[order[i]];
		uint64_t address =
			(range.first_page << 12) + (uint64_t)model->opts.reporting_offset;

		range.first_page =
			model->opts.unit == PFNBUF_TDI_UNIT_BYTES ? address : address >> 12;
		assert_int_equal(pfnbuf_tdi_report_add_range(report, &range), 0);
	}
	return report;
}

static enum pfnbuf_vis model_frame(const struct model *model, unsigned bar, size_t frame)
{
	int range = model->bars[bar].range[frame];
	uint16_t attributes;

	if (range < 0)
		return model->opts.holes == PFNBUF_TDI_HOLES_SHARED ? PFNBUF_SHARED : PFNBUF_HOLE;
	attributes = model->ranges[range].range_attributes;
	if (attributes & (TABLE | PBA)) {
		if (model->opts.msix == PFNBUF_TDI_MSIX_TRAP)
			return PFNBUF_HOLE;
		if (model->opts.msix == PFNBUF_TDI_MSIX_SHARED)
			return PFNBUF_SHARED;
	}
	return attributes & NON_TEE ? PFNBUF_SHARED : PFNBUF_PRIVATE;
}

/* The visibility of the host page around a frame: -1 if it mixes kinds. */
static int model_page(const struct model *model, unsigned bar, size_t frame)
{
	size_t per_page = (size_t)(model->opts.page_size >> 12);
	size_t start = frame / per_page * per_page;
	enum pfnbuf_vis vis = model_frame(model, bar, start);

	for (size_t i = start; i < start + per_page && i < model->bars[bar].frames; i++)
		if (model_frame(model, bar, i) != vis)
			return -1;
	return (int)vis;
}

/* Why compiling a model is refused, or PFNBUF_TDI_OK. */
static enum pfnbuf_tdi_reason model_refusal(const struct model *model)
{
	for (unsigned bar = 0; bar < 6; bar++) {
		bool aligned = !(model->opts.bars[bar].address & (model->opts.page_size - 1));
		int vis = model_page(model, bar, 0);

		for (size_t i = 0; i < model->bars[bar].frames; i++)
			if (model->bars[bar].range[i] < 0 &&
			    model->opts.holes == PFNBUF_TDI_HOLES_REFUSE)
				return PFNBUF_TDI_HOLE;
		for (size_t i = 0; i < model->bars[bar].frames; i++)
			if (model_page(model, bar, i) < 0 &&
			    model->opts.mixed == PFNBUF_TDI_MIXED_REFUSE)
				return PFNBUF_TDI_MIXED_PAGE;
		if (model->opts.bars[bar].size < model->opts.page_size && !aligned &&
		    vis != PFNBUF_HOLE)
			return PFNBUF_TDI_MIXED_PAGE;
	}
	return PFNBUF_TDI_OK;
}

/* Layout and runs say the same as the model; the runs have no gaps and name their ranges. */
static void compare_bar(const struct model *model, const uint32_t *order,
			const struct pfnbuf_tdi_layouts *layouts, unsigned bar)
{
	const struct pfnbuf_layout *layout = pfnbuf_tdi_layouts_get(layouts, bar);
	struct pfnbuf_tdi_run run = { .length = 0 };
	uint32_t next = 0;

	for (size_t i = 0; i < model->bars[bar].frames; i++) {
		int vis = model_page(model, bar, i);
		int range = model->bars[bar].range[i];
		bool named = range < 0;

		if (i << 12 == run.offset + run.length)
			assert_int_equal(pfnbuf_tdi_layouts_get_run(layouts, bar, next++, &run), 0);
		assert_true(run.offset <= i << 12 && i << 12 < run.offset + run.length);
		assert_int_equal(run.vis, vis < 0 ? (int)PFNBUF_SHARED : vis);
		assert_int_equal(run.rule == PFNBUF_TDI_RULE_MIXED_PAGE, vis < 0);
		assert_int_equal(pfnbuf_layout_get(layout, i << 12, NULL), run.vis);
		for (uint32_t k = 0; k < run.nr_ranges; k++)
			named = named || (int)order[run.ranges[k]] == range;
		assert_true(named);
	}
	assert_int_equal(next, pfnbuf_tdi_layouts_count_runs(layouts, bar));
	assert_int_equal(run.offset + run.length, pfnbuf_layout_get_size(layout));
}

static void compare_classify(const struct model *model, const struct pfnbuf_tdi_layouts *layouts,
			     unsigned bar, uint64_t *seed)
{
	uint64_t size = model->opts.bars[bar].size;
	uint64_t offset = next_random(seed) % size;
	uint64_t length = 1 + next_random(seed) % (size - offset);
	enum pfnbuf_vis vis = (enum pfnbuf_vis)77;
	int expected = 0;
	int first = -2;

	for (uint64_t i = offset >> 12; i <= (offset + length - 1) >> 12; i++) {
		int page = model_page(model, bar, (size_t)i);

		page = page < 0 ? (int)PFNBUF_SHARED : page;
		if (first == -2)
			first = page;
		if (model->bars[bar].range[i] < 0)
			expected = -ENODATA;
		else if (page != first && !expected)
			expected = -EXDEV;
	}
	assert_int_equal(pfnbuf_tdi_layouts_classify(layouts, bar, offset, length, &vis, NULL),
			 expected);
	assert_int_equal(vis, expected ? 77 : first);
}

static void test_model(void **state)
{
	uint64_t seed = 7;
	unsigned compiled = 0;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct pfnbuf_tdi_layouts *layouts = NULL;
		uint32_t order[6 * MAX_FRAMES] = { 0 };
		struct pfnbuf_tdi_report *report;
		struct pfnbuf_tdi_error err = { .reason = PFNBUF_TDI_OK };
		struct model model;

		make_model(&model, &seed);
		report = model_report(&model, &seed, order);
		if (next_random(&seed) % 2)
			model.opts.unit = PFNBUF_TDI_UNIT_AUTO;
		pfnbuf_tdi_layouts_compile(report, &model.opts, &layouts, &err);
		assert_int_equal(err.reason, model_refusal(&model));
		for (unsigned bar = 0; layouts && bar < 6; bar++) {
			compare_bar(&model, order, layouts, bar);
			for (int i = 0; i < 8; i++)
				compare_classify(&model, layouts, bar, &seed);
		}
		compiled += layouts != NULL;
		pfnbuf_tdi_layouts_free(layouts);
		pfnbuf_tdi_report_free(report);
	}
	/* Most must get through, or little was compared. */
	assert_true(compiled > 1000);
}

/* ---- memory that runs out -------------------------------------------------------------------- */

/* At every allocation: the errno says so, and what was there stays as it was. */
static void test_no_memory(void **state)
{
	struct pfnbuf_tdi_report *report = sample_in(PFNBUF_TDI_UNIT_PAGES, 0);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_layouts *layouts = NULL;
	struct pfnbuf_tdi_report *parsed = NULL;
	struct pfnbuf_tdi_error err;
	size_t len, n = 0;
	uint8_t *bytes = encode(report, &len);
	int ret;

	(void)state;
	opts.base = PFNBUF_TDI_BASE_MIN_RANGE; /* warnings are allocated, too */
	pfnbuf_tdi_report_set_info(report, "info", 4);
	free(bytes);
	bytes = encode(report, &len);
	do {
		starve_from(n++);
		ret = pfnbuf_tdi_report_parse(bytes, len, NULL, &parsed, &err);
		starve_end();
		assert_true(!ret ||
			    (ret == -ENOMEM && err.reason == PFNBUF_TDI_NO_MEMORY && !parsed));
	} while (ret);
	assert_int_equal(n, 4); /* report, ranges, info, and none */

	n = 0;
	do {
		starve_from(n++);
		ret = pfnbuf_tdi_layouts_compile(parsed, &opts, &layouts, &err);
		starve_end();
		assert_true(!ret ||
			    (ret == -ENOMEM && err.reason == PFNBUF_TDI_NO_MEMORY && !layouts));
	} while (ret);
	assert_true(n > 10);
	assert_layout(layouts, 0, modes[0].bar0);
	pfnbuf_tdi_layouts_free(layouts);
	pfnbuf_tdi_report_free(parsed);
	pfnbuf_tdi_report_free(report);
	free(bytes);
}

/* A report that cannot grow is what it was. */
static void test_no_memory_to_build(void **state)
{
	struct pfnbuf_tdi_report *report = build(sample, N_SAMPLE), *none = NULL;
	size_t before, after;
	uint8_t *bytes, *again;

	(void)state;
	/* Up to where the next range needs room. */
	while (pfnbuf_tdi_report_count_ranges(report) < 8)
		assert_int_equal(pfnbuf_tdi_report_add_range(report, &sample[0]), 0);
	bytes = encode(report, &before);

	starve_from(0);
	assert_int_equal(pfnbuf_tdi_report_new(NULL, &none), -ENOMEM);
	assert_int_equal(pfnbuf_tdi_report_add_range(report, &sample[0]), -ENOMEM);
	assert_int_equal(pfnbuf_tdi_report_set_info(report, "x", 1), -ENOMEM);
	starve_end();

	assert_null(none);
	again = encode(report, &after);
	assert_int_equal(after, before);
	assert_memory_equal(again, bytes, after);
	free(bytes);
	free(again);
	pfnbuf_tdi_report_free(report);
}

/* ---- what a parser can decide of TDISP-001 to TDISP-008 -------------------------------------- */

static const struct pfnbuf_tdi_evidence locked = {
	.digest = { 1, 2, 3, 4 },
	.digest_len = 4,
	.generation = 9,
	.state = PFNBUF_TDI_CONFIG_LOCKED,
};

static struct pfnbuf_tdi_layouts *compile_with(const struct pfnbuf_tdi_evidence *evidence)
{
	struct pfnbuf_tdi_report *report = sample_in(PFNBUF_TDI_UNIT_PAGES, 0);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_layouts *layouts;

	opts.evidence = evidence;
	layouts = compile(report, &opts);
	pfnbuf_tdi_report_free(report);
	return layouts;
}

static void assert_check(const struct pfnbuf_tdi_layouts *layouts,
			 const struct pfnbuf_tdi_evidence *now, enum pfnbuf_tdi_use use, int ret,
			 enum pfnbuf_tdi_reason reason)
{
	struct pfnbuf_tdi_error err = { .reason = PFNBUF_TDI_OK };

	assert_int_equal(pfnbuf_tdi_layouts_check(layouts, now, use, &err), ret);
	assert_int_equal(err.reason, reason);
}

static struct pfnbuf_tdi_evidence in_state(enum pfnbuf_tdi_state state)
{
	struct pfnbuf_tdi_evidence evidence = locked;

	evidence.state = state;
	return evidence;
}

/* 001: the digest of the report is never checked. */
static void test_tdisp_001_other_digest(void **state)
{
	struct pfnbuf_tdi_layouts *layouts = compile_with(&locked);
	struct pfnbuf_tdi_evidence now = locked;

	(void)state;
	assert_check(layouts, &now, PFNBUF_TDI_USE_PLACE, 0, PFNBUF_TDI_OK);
	for (size_t i = 0; i < locked.digest_len; i++) {
		now = locked;
		now.digest[i] ^= 0x80;
		assert_check(layouts, &now, PFNBUF_TDI_USE_PLACE, -EKEYREJECTED,
			     PFNBUF_TDI_OTHER_DIGEST);
	}
	now = locked;
	now.digest_len = 3;
	assert_check(layouts, &now, PFNBUF_TDI_USE_PLACE, -EKEYREJECTED, PFNBUF_TDI_OTHER_DIGEST);
	now.digest_len = 5;
	assert_check(layouts, &now, PFNBUF_TDI_USE_PLACE, -EKEYREJECTED, PFNBUF_TDI_OTHER_DIGEST);
	pfnbuf_tdi_layouts_free(layouts);
}

/* 001 again: no digest is no agreement. */
static void test_tdisp_001_no_digest(void **state)
{
	struct pfnbuf_tdi_evidence none = { .generation = 9, .state = PFNBUF_TDI_CONFIG_LOCKED };
	struct pfnbuf_tdi_layouts *unbound = compile_with(NULL);
	struct pfnbuf_tdi_layouts *without = compile_with(&none);
	struct pfnbuf_tdi_layouts *with = compile_with(&locked);

	(void)state;
	assert_check(unbound, &locked, PFNBUF_TDI_USE_PLACE, -ENOKEY, PFNBUF_TDI_NO_EVIDENCE);
	assert_check(without, &none, PFNBUF_TDI_USE_PLACE, -ENOKEY, PFNBUF_TDI_NO_EVIDENCE);
	assert_check(with, &none, PFNBUF_TDI_USE_PLACE, -ENOKEY, PFNBUF_TDI_NO_EVIDENCE);
	assert_check(with, NULL, PFNBUF_TDI_USE_PLACE, -ENOKEY, PFNBUF_TDI_NO_EVIDENCE);
	pfnbuf_tdi_layouts_free(unbound);
	pfnbuf_tdi_layouts_free(without);
	pfnbuf_tdi_layouts_free(with);
}

/* 002: START is sent before the report was fetched. */
static void test_tdisp_002_start_before_report(void **state)
{
	const struct pfnbuf_tdi_evidence running = in_state(PFNBUF_TDI_RUN);
	struct pfnbuf_tdi_layouts *early = compile_with(&locked);
	struct pfnbuf_tdi_layouts *late = compile_with(&running);

	(void)state;
	assert_check(early, &locked, PFNBUF_TDI_USE_START, 0, PFNBUF_TDI_OK);
	assert_check(early, &running, PFNBUF_TDI_USE_START, -EPERM, PFNBUF_TDI_BAD_STATE);
	assert_check(late, &running, PFNBUF_TDI_USE_START, -EPERM, PFNBUF_TDI_BAD_STATE);
	assert_check(late, &locked, PFNBUF_TDI_USE_START, -EPERM, PFNBUF_TDI_BAD_STATE);
	pfnbuf_tdi_layouts_free(early);
	pfnbuf_tdi_layouts_free(late);
}

/* 003: a LOCK of an earlier time is replayed. */
static void test_tdisp_003_other_generation(void **state)
{
	struct pfnbuf_tdi_layouts *layouts = compile_with(&locked);
	struct pfnbuf_tdi_evidence now = locked;

	(void)state;
	now.generation = 10;
	for (int use = 0; use <= PFNBUF_TDI_USE_RUN; use++)
		assert_check(layouts, &now, (enum pfnbuf_tdi_use)use, -ESTALE,
			     PFNBUF_TDI_OTHER_GENERATION);
	now.generation = 8;
	assert_check(layouts, &now, PFNBUF_TDI_USE_PLACE, -ESTALE, PFNBUF_TDI_OTHER_GENERATION);
	pfnbuf_tdi_layouts_free(layouts);
}

/* 004: a state that cannot be decoded passes for the one before. */
static void test_tdisp_004_unknown_state(void **state)
{
	struct pfnbuf_tdi_layouts *layouts = compile_with(&locked);
	struct pfnbuf_tdi_evidence now;

	(void)state;
	for (unsigned wire = 0; wire < 256; wire++) {
		enum pfnbuf_tdi_state decoded = PFNBUF_TDI_RUN;
		int ret = pfnbuf_tdi_state_decode((uint8_t)wire, &decoded);

		assert_int_equal(ret, wire < 4 ? 0 : -EPROTO);
		assert_int_equal(decoded, wire < 4 ? wire : PFNBUF_TDI_RUN);
		now = in_state((enum pfnbuf_tdi_state)wire);
		if (wire >= 4)
			assert_check(layouts, &now, PFNBUF_TDI_USE_PLACE, -EPERM,
				     PFNBUF_TDI_BAD_STATE);
	}
	pfnbuf_tdi_layouts_free(layouts);
}

/* 005: an unbind that claims RUN afterwards keeps the report usable. */
static void test_tdisp_005_unbound(void **state)
{
	struct pfnbuf_tdi_layouts *layouts = compile_with(&locked);
	struct pfnbuf_tdi_evidence now;

	(void)state;
	for (int use = 0; use <= PFNBUF_TDI_USE_RUN; use++) {
		now = in_state(PFNBUF_TDI_CONFIG_UNLOCKED);
		assert_check(layouts, &now, (enum pfnbuf_tdi_use)use, -EPERM, PFNBUF_TDI_BAD_STATE);
		/* The caller raised the generation when it unbound: the device may claim what it likes. */
		now = in_state(PFNBUF_TDI_RUN);
		now.generation++;
		assert_check(layouts, &now, (enum pfnbuf_tdi_use)use, -ESTALE,
			     PFNBUF_TDI_OTHER_GENERATION);
	}
	pfnbuf_tdi_layouts_free(layouts);
}

/* 006: a report is taken from a TDI that was never locked. */
static void test_tdisp_006_report_without_lock(void **state)
{
	static const enum pfnbuf_tdi_state states[] = { PFNBUF_TDI_CONFIG_UNLOCKED,
							PFNBUF_TDI_ERROR, (enum pfnbuf_tdi_state)4,
							(enum pfnbuf_tdi_state) - 1 };
	struct pfnbuf_tdi_report *report = sample_in(PFNBUF_TDI_UNIT_PAGES, 0);
	struct pfnbuf_tdi_layouts *layouts = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		struct pfnbuf_tdi_evidence evidence = in_state(states[i]);
		struct pfnbuf_tdi_compile_opts opts = options();
		struct pfnbuf_tdi_error err;

		opts.evidence = &evidence;
		assert_int_equal(pfnbuf_tdi_layouts_compile(report, &opts, &layouts, &err), -EPERM);
		assert_int_equal(err.reason, PFNBUF_TDI_BAD_STATE);
		assert_null(layouts);
	}
	pfnbuf_tdi_report_free(report);
}

/* 007: the right range id, but other pages. */
static void test_tdisp_007_lying_range(void **state)
{
	static const struct {
		unsigned bar;
		uint64_t offset;
		uint64_t length;
		int ret;
		enum pfnbuf_tdi_reason reason;
	} cases[] = {
		{ 0, 0, 0x4000, 0, PFNBUF_TDI_OK },
		{ 0, 0x1800, 0x1000, 0, PFNBUF_TDI_OK },
		{ 0, 0, 0x4001, -EXDEV, PFNBUF_TDI_MIXED_PAGE },
		{ 0, 0x1f000, 0x1000, 0, PFNBUF_TDI_OK },
		{ 0, 0x1f000, 0x1001, -ENODATA, PFNBUF_TDI_NOT_REPORTED },
		{ 0, 0x20000, 1, -ENODATA, PFNBUF_TDI_NOT_REPORTED },
		{ 0, 0, 0x40000, -ENODATA, PFNBUF_TDI_NOT_REPORTED },
		{ 0, 0, 0x40001, -ERANGE, PFNBUF_TDI_OUTSIDE_BAR },
		{ 0, 0x40000, 1, -ERANGE, PFNBUF_TDI_OUTSIDE_BAR },
		{ 0, UINT64_MAX, 2, -ERANGE, PFNBUF_TDI_OUTSIDE_BAR },
		{ 0, 0x1000, UINT64_MAX, -ERANGE, PFNBUF_TDI_OUTSIDE_BAR },
		{ 0, 0x1000, 0, -EINVAL, PFNBUF_TDI_BAD_ARGUMENT },
		{ 1, 0, 0x1000, -ERANGE, PFNBUF_TDI_NO_BAR },
		{ 2, 0, 0x1000, -ERANGE, PFNBUF_TDI_NO_BAR },
		{ 6, 0, 0x1000, -ERANGE, PFNBUF_TDI_NO_BAR },
		{ UINT32_MAX, 0, 0x1000, -ERANGE, PFNBUF_TDI_NO_BAR },
	};
	struct pfnbuf_tdi_layouts *layouts = compile_with(&locked);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pfnbuf_tdi_error err = { .reason = PFNBUF_TDI_OK };
		enum pfnbuf_vis vis = PFNBUF_HOLE;
		int ret = pfnbuf_tdi_layouts_classify(layouts, cases[i].bar, cases[i].offset,
						      cases[i].length, &vis, &err);

		assert_int_equal(ret, cases[i].ret);
		assert_int_equal(err.reason, cases[i].reason);
		assert_int_equal(vis, ret ? PFNBUF_HOLE : PFNBUF_PRIVATE);
	}
	pfnbuf_tdi_layouts_free(layouts);
}

/* 007 again: a hole that policy shares is still not reported. */
static void test_tdisp_007_hole_by_policy(void **state)
{
	struct pfnbuf_tdi_report *report = sample_in(PFNBUF_TDI_UNIT_PAGES, 0);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_layouts *layouts;
	enum pfnbuf_vis vis;

	(void)state;
	opts.holes = PFNBUF_TDI_HOLES_SHARED;
	layouts = compile(report, &opts);
	assert_int_equal(pfnbuf_tdi_layouts_classify(layouts, 0, 0x20000, 0x1000, &vis, NULL),
			 -ENODATA);
	pfnbuf_tdi_layouts_free(layouts);
	pfnbuf_tdi_report_free(report);
}

/* 008: MMIO is called ready while the TDI is not in RUN. */
static void test_tdisp_008_ready_before_run(void **state)
{
	struct pfnbuf_tdi_layouts *layouts = compile_with(&locked);
	struct pfnbuf_tdi_evidence now;

	(void)state;
	for (int tdi = 0; tdi < 4; tdi++) {
		now = in_state((enum pfnbuf_tdi_state)tdi);
		if (tdi == PFNBUF_TDI_RUN)
			assert_check(layouts, &now, PFNBUF_TDI_USE_RUN, 0, PFNBUF_TDI_OK);
		else
			assert_check(layouts, &now, PFNBUF_TDI_USE_RUN, -EPERM,
				     PFNBUF_TDI_BAD_STATE);
	}
	pfnbuf_tdi_layouts_free(layouts);
}

/* RUN does not go back to CONFIG_LOCKED without a new lock, which would be another generation. */
static void test_run_does_not_go_back(void **state)
{
	const struct pfnbuf_tdi_evidence running = in_state(PFNBUF_TDI_RUN);
	struct pfnbuf_tdi_layouts *layouts = compile_with(&running);

	(void)state;
	assert_check(layouts, &running, PFNBUF_TDI_USE_PLACE, 0, PFNBUF_TDI_OK);
	assert_check(layouts, &locked, PFNBUF_TDI_USE_PLACE, -EPERM, PFNBUF_TDI_BAD_STATE);
	pfnbuf_tdi_layouts_free(layouts);
}

static void test_check_arguments(void **state)
{
	struct pfnbuf_tdi_layouts *layouts = compile_with(&locked);
	struct pfnbuf_tdi_report *report = build(NULL, 0);
	struct pfnbuf_tdi_compile_opts opts = options();
	struct pfnbuf_tdi_evidence evidence = locked;
	struct pfnbuf_tdi_layouts *none;

	(void)state;
	assert_check(layouts, &locked, (enum pfnbuf_tdi_use)3, -EINVAL, PFNBUF_TDI_BAD_ARGUMENT);
	evidence.digest_len = PFNBUF_TDI_DIGEST_MAX + 1;
	assert_check(layouts, &evidence, PFNBUF_TDI_USE_PLACE, -EKEYREJECTED,
		     PFNBUF_TDI_OTHER_DIGEST);
	opts.evidence = &evidence;
	assert_int_equal(pfnbuf_tdi_layouts_compile(report, &opts, &none, NULL), -EINVAL);
	pfnbuf_tdi_layouts_free(layouts);
	pfnbuf_tdi_report_free(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_mode),
		cmocka_unit_test(test_relative_modes_need_no_offset),
		cmocka_unit_test(test_relative_modes_warn),
		cmocka_unit_test(test_min_range_of_unordered),
		cmocka_unit_test(test_auto_unit),
		cmocka_unit_test(test_auto_unit_by_distance),
		cmocka_unit_test(test_no_ranges),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_reasons_of_host_pages),
		cmocka_unit_test(test_mixed_page_of_many_ranges),
		cmocka_unit_test(test_bar_smaller_than_page),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_print_json),
		cmocka_unit_test(test_print_json_without_evidence),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_no_memory_to_build),
		cmocka_unit_test(test_tdisp_001_other_digest),
		cmocka_unit_test(test_tdisp_001_no_digest),
		cmocka_unit_test(test_tdisp_002_start_before_report),
		cmocka_unit_test(test_tdisp_003_other_generation),
		cmocka_unit_test(test_tdisp_004_unknown_state),
		cmocka_unit_test(test_tdisp_005_unbound),
		cmocka_unit_test(test_tdisp_006_report_without_lock),
		cmocka_unit_test(test_tdisp_007_lying_range),
		cmocka_unit_test(test_tdisp_007_hole_by_policy),
		cmocka_unit_test(test_tdisp_008_ready_before_run),
		cmocka_unit_test(test_run_does_not_go_back),
		cmocka_unit_test(test_check_arguments),
	};

	return cmocka_run_group_tests_name("tdi-layouts", tests, NULL, NULL);
}
