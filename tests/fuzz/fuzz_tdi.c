/* SPDX-License-Identifier: MIT */

/*
 * Any bytes as a report, compiled under any options. The input starts with a struct knobs; the rest is
 * the report. What must hold whatever comes:
 *
 * - a parsed report encodes to the bytes it came from, and what strict takes, lenient takes;
 * - a failure says why, and gives the errno of its reason;
 * - compiled runs cover their BAR without gaps and agree with the layout and with classify;
 * - where auto decides, the unit that it names compiles to the same layouts.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pfnbuf.h>

struct knobs {
	uint8_t modes[6];
	uint8_t page_shift;
	uint8_t bar_shift[6];
	uint8_t bar_flags[6];
	uint8_t base[6][3]; /* page number of a BAR, short so that reports can hit it */
	int16_t reporting_offset;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "violated: %s\n", what);
	abort();
}

static void require_error(int ret, const struct pfnbuf_tdi_error *err)
{
	require(ret < 0, "a failure is negative");
	require(err->reason > PFNBUF_TDI_OK && err->reason < PFNBUF_TDI_N_REASONS,
		"reason in enum");
	require(pfnbuf_tdi_reason_name(err->reason) != NULL, "reason has a name");
	require(err->text[0] != '\0' && memchr(err->text, '\0', sizeof(err->text)),
		"text is a string");
}

static struct pfnbuf_tdi_compile_opts make_opts(const struct knobs *knobs)
{
	struct pfnbuf_tdi_compile_opts opts = {
		.size = sizeof(opts),
		.unit = (enum pfnbuf_tdi_unit)(knobs->modes[0] % 3),
		.base = (enum pfnbuf_tdi_base)(knobs->modes[1] % 3),
		.holes = (enum pfnbuf_tdi_holes)(knobs->modes[2] % 3),
		.mixed = (enum pfnbuf_tdi_mixed)(knobs->modes[3] % 2),
		.msix = (enum pfnbuf_tdi_msix)(knobs->modes[4] % 3),
		.page_size = knobs->page_shift ? UINT64_C(1) << (knobs->page_shift % 34) : 0,
		.reporting_offset = knobs->modes[5] & 1 ? knobs->reporting_offset
							: knobs->reporting_offset * INT64_C(4096),
	};

	for (int i = 0; i < 6; i++) {
		const uint8_t *base = knobs->base[i];
		uint64_t page = base[0] | (uint64_t)base[1] << 8 | (uint64_t)base[2] << 16;

		opts.bars[i] = (struct pfnbuf_tdi_bar){
			.size = knobs->bar_shift[i] ? UINT64_C(1) << (knobs->bar_shift[i] % 54) : 0,
			.address = page << 12,
			.flags = knobs->bar_flags[i],
		};
	}
	return opts;
}

static void check_printers(const struct pfnbuf_tdi_layouts *layouts)
{
	char buf[64];

	for (size_t size = 0; size < sizeof(buf); size += 21) {
		memset(buf, 'x', sizeof(buf));
		pfnbuf_tdi_layouts_print(layouts, buf, size);
		pfnbuf_tdi_layouts_print_json(layouts, buf, size);
		require(buf[size] == 'x', "printers stay in their buffer");
	}
}

static void check_bar(const struct pfnbuf_tdi_layouts *layouts, unsigned bar, uint64_t size)
{
	const struct pfnbuf_layout *layout = pfnbuf_tdi_layouts_get(layouts, bar);
	uint32_t n = pfnbuf_tdi_layouts_count_runs(layouts, bar);
	struct pfnbuf_tdi_run run = { .length = 0 };
	enum pfnbuf_vis vis;
	uint64_t at = 0;
	char why[512];

	require((layout == NULL) == (n == 0), "a BAR has a layout and runs, or neither");
	for (uint32_t i = 0; i < n; i++) {
		require(pfnbuf_tdi_layouts_get_run(layouts, bar, i, &run) == 0,
			"every run is there");
		require(run.offset == at && run.length > 0, "runs have no gaps");
		at += run.length;
		require(pfnbuf_layout_get(layout, run.offset, NULL) == (int)run.vis &&
				pfnbuf_layout_get(layout, at - 1, NULL) == (int)run.vis,
			"runs agree with the layout");
		require(pfnbuf_tdi_layouts_explain(layouts, bar, i, why, sizeof(why)) > 0,
			"every run has a reason");
		if (run.rule == PFNBUF_TDI_RULE_NOT_REPORTED)
			require(pfnbuf_tdi_layouts_classify(layouts, bar, run.offset, 1, &vis,
							    NULL) < 0,
				"what is not reported has no class");
		else if (run.rule <= PFNBUF_TDI_RULE_MSIX)
			require(pfnbuf_tdi_layouts_classify(layouts, bar, run.offset,
							    size - run.offset < run.length
								    ? size - run.offset
								    : run.length,
							    &vis, NULL) == 0 &&
					vis == run.vis,
				"what is reported has the class of its run");
	}
	if (layout)
		require(at == pfnbuf_layout_get_size(layout) && at >= size, "runs cover the BAR");
}

static void check_same(const struct pfnbuf_tdi_layouts *a, const struct pfnbuf_tdi_layouts *b)
{
	for (unsigned bar = 0; bar < 6; bar++) {
		const struct pfnbuf_layout *left = pfnbuf_tdi_layouts_get(a, bar);
		const struct pfnbuf_layout *right = pfnbuf_tdi_layouts_get(b, bar);

		require(!left == !right && (!left || pfnbuf_layout_equal(left, right)),
			"auto and the unit it names agree");
	}
}

static void check_compile(const struct pfnbuf_tdi_report *report, const struct knobs *knobs)
{
	struct pfnbuf_tdi_compile_opts opts = make_opts(knobs);
	struct pfnbuf_tdi_layouts *layouts = NULL, *again = NULL;
	struct pfnbuf_tdi_error err;
	int ret = pfnbuf_tdi_layouts_compile(report, &opts, &layouts, &err);

	if (ret) {
		require_error(ret, &err);
		require(layouts == NULL, "outputs are untouched on failure");
		return;
	}
	for (unsigned bar = 0; bar < 6; bar++)
		check_bar(layouts, bar, opts.bars[bar].size);
	check_printers(layouts);
	if (opts.unit == PFNBUF_TDI_UNIT_AUTO) {
		opts.unit = pfnbuf_tdi_layouts_get_unit(layouts, NULL);
		require(pfnbuf_tdi_layouts_compile(report, &opts, &again, &err) == 0,
			"the unit that auto names compiles");
		check_same(layouts, again);
	}
	pfnbuf_tdi_layouts_free(layouts);
	pfnbuf_tdi_layouts_free(again);
}

static void check_encoded(const struct pfnbuf_tdi_report *report, const uint8_t *data, size_t size)
{
	size_t len = pfnbuf_tdi_report_get_size(report);
	uint8_t *bytes = malloc(len);
	size_t encoded;

	require(len <= size, "a report is no longer than its bytes");
	require(pfnbuf_tdi_report_encode(report, bytes, len, &encoded) == 0 && encoded == len,
		"a report encodes to its size");
	require(memcmp(bytes, data, len) == 0, "a report encodes to its bytes");
	free(bytes);
}

static void check_report_printers(const struct pfnbuf_tdi_report *report)
{
	size_t words = pfnbuf_tdi_report_print(report, NULL, 0);
	size_t json = pfnbuf_tdi_report_print_json(report, NULL, 0);
	char *text = malloc((words > json ? words : json) + 1);

	require(pfnbuf_tdi_report_print(report, text, words + 1) == words && strlen(text) == words,
		"words fill their room");
	require(pfnbuf_tdi_report_print_json(report, text, json + 1) == json &&
			strlen(text) == json,
		"JSON fills its room");
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct pfnbuf_tdi_parse_opts strict = {
		.size = sizeof(strict),
		.flags = PFNBUF_TDI_STRICT,
	};
	struct pfnbuf_tdi_report *report = NULL, *strictly = NULL;
	struct pfnbuf_tdi_error err;
	struct knobs knobs;
	int ret, strict_ret;

	if (size < sizeof(knobs))
		return 0;
	memcpy(&knobs, data, sizeof(knobs));
	data += sizeof(knobs);
	size -= sizeof(knobs);

	strict_ret = pfnbuf_tdi_report_parse(data, size, &strict, &strictly, &err);
	if (strict_ret)
		require_error(strict_ret, &err);
	pfnbuf_tdi_report_free(strictly);

	ret = pfnbuf_tdi_report_parse(data, size, NULL, &report, &err);
	if (ret) {
		require_error(ret, &err);
		require(report == NULL, "outputs are untouched on failure");
		require(strict_ret != 0, "lenient takes what strict takes");
		return 0;
	}
	check_encoded(report, data, size);
	check_report_printers(report);
	check_compile(report, &knobs);
	pfnbuf_tdi_report_free(report);
	return 0;
}
