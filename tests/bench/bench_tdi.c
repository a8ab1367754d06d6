/* SPDX-License-Identifier: MIT */

/*
 * What a bind waits for: the report of a device with six BARs and a hundred ranges, from its bytes to
 * layouts. Prints the median of many rounds in microseconds, freeing included.
 */

#include <stdio.h>
#include <stdlib.h>

#include <pfnbuf.h>

#include "bench.h"

#define N_RANGES 100
#define ROUNDS	 2001

static const uint64_t page[6] = { 0x10000000, 0x20000000, 0x30000000,
				  0x40000000, 0x50000000, 0x60000000 };

/* Ranges with holes between them, spread over all BARs, of every kind in turn. */
static size_t make_report(uint8_t *bytes, size_t size)
{
	struct pfnbuf_tdi_report *report;
	size_t len = 0;

	if (pfnbuf_tdi_report_new(NULL, &report))
		abort();
	for (unsigned i = 0; i < N_RANGES; i++) {
		unsigned bar = i * 6 / N_RANGES;
		const struct pfnbuf_tdi_range range = {
			.first_page = page[bar] + i * 32,
			.number_of_pages = 8 + i % 24,
			.range_attributes = i % 16,
			.range_id = (uint16_t)bar,
		};

		if (pfnbuf_tdi_report_add_range(report, &range))
			abort();
	}
	if (pfnbuf_tdi_report_encode(report, bytes, size, &len))
		abort();
	pfnbuf_tdi_report_free(report);
	return len;
}

static uint64_t compile_once(const uint8_t *bytes, size_t len,
			     const struct pfnbuf_tdi_compile_opts *opts)
{
	struct pfnbuf_tdi_layouts *layouts;
	struct pfnbuf_tdi_report *report;
	struct pfnbuf_tdi_error err;
	const uint64_t start = now();

	if (pfnbuf_tdi_report_parse(bytes, len, NULL, &report, &err) ||
	    pfnbuf_tdi_layouts_compile(report, opts, &layouts, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	pfnbuf_tdi_report_free(report);
	pfnbuf_tdi_layouts_free(layouts);
	return now() - start;
}

static double median_us(const uint8_t *bytes, size_t len,
			const struct pfnbuf_tdi_compile_opts *opts)
{
	static uint64_t times[ROUNDS];

	for (int i = 0; i < ROUNDS; i++)
		times[i] = compile_once(bytes, len, opts);
	return (double)median_u64(times, ROUNDS) / 1e3;
}

int main(void)
{
	struct pfnbuf_tdi_compile_opts opts = { .size = sizeof(opts) };
	uint8_t bytes[4096];
	size_t len = make_report(bytes, sizeof(bytes));

	for (int bar = 0; bar < 6; bar++)
		opts.bars[bar] = (struct pfnbuf_tdi_bar){
			.size = UINT64_C(16) << 20,
			.address = page[bar] << 12,
		};
	opts.unit = PFNBUF_TDI_UNIT_PAGES;
	printf("tdi.compile.us %.2f\n", median_us(bytes, len, &opts));
	opts.unit = PFNBUF_TDI_UNIT_AUTO;
	printf("tdi.compile.auto.us %.2f\n", median_us(bytes, len, &opts));
	opts.page_size = 65536;
	opts.mixed = PFNBUF_TDI_MIXED_SHARED;
	printf("tdi.compile.64k.us %.2f\n", median_us(bytes, len, &opts));
	return 0;
}
