/* SPDX-License-Identifier: MIT */
#ifndef TDI_BUILD_H
#define TDI_BUILD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pfnbuf.h>

/* What the report tests share: reports from initialisers, text from printers, random numbers. */

#define TABLE	PFNBUF_TDI_ATTR_MSIX_TABLE
#define PBA	PFNBUF_TDI_ATTR_MSIX_PBA
#define NON_TEE PFNBUF_TDI_ATTR_NON_TEE
#define UPD	PFNBUF_TDI_ATTR_UPDATABLE

static inline struct pfnbuf_tdi_report *build(const struct pfnbuf_tdi_range *ranges, size_t n)
{
	struct pfnbuf_tdi_report *report;

	assert_int_equal(pfnbuf_tdi_report_new(NULL, &report), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(pfnbuf_tdi_report_add_range(report, &ranges[i]), 0);
	return report;
}

/* The encoded report, for the caller to free. */
static inline uint8_t *encode(const struct pfnbuf_tdi_report *report, size_t *lenp)
{
	size_t size = pfnbuf_tdi_report_get_size(report);
	uint8_t *bytes = malloc(size);

	assert_non_null(bytes);
	assert_int_equal(pfnbuf_tdi_report_encode(report, bytes, size, lenp), 0);
	assert_int_equal(*lenp, size);
	return bytes;
}

/* What a printer prints, for the caller to free; it must ask for the same room twice. */
#define PRINT(printer, object)                                                                     \
	({                                                                                         \
		size_t len_ = printer(object, NULL, 0);                                            \
		char *text_ = malloc(len_ + 1);                                                    \
		assert_non_null(text_);                                                            \
		assert_int_equal(printer(object, text_, len_ + 1), len_);                          \
		assert_int_equal(strlen(text_), len_);                                             \
		text_;                                                                             \
	})

/* A small generator of its own, so that a failing seed fails everywhere. */
static inline uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

#endif /* TDI_BUILD_H */
