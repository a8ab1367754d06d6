/* SPDX-License-Identifier: MIT */

/*
 * Reports that must be refused: each is made by the encoder, damaged as its row says, parsed and,
 * if that still works, compiled. What counts is the exact reason, the byte and the ranges to blame.
 */

#include <errno.h>
#include <stdbool.h>

#include "tdi_build.h"

/*
 * The device: 1 MiB in BAR 0 (64 bits wide), 64 KiB in BAR 2, I/O ports in BAR 3, 16 MiB in BAR 4
 * (64 bits wide). Page numbers of their starts:
 */
#define BAR0 UINT64_C(0x1000000)
#define BAR2 UINT64_C(0x0e0000)
#define BAR4 UINT64_C(0x2000000)

static const struct pfnbuf_tdi_bar device[6] = {
	[0] = { .size = 1 << 20, .address = BAR0 << 12, .flags = PFNBUF_BAR_64 },
	[2] = { .size = 64 << 10, .address = BAR2 << 12 },
	[3] = { .size = 256, .address = 0x1000, .flags = PFNBUF_BAR_IO },
	[4] = { .size = 16 << 20, .address = BAR4 << 12, .flags = PFNBUF_BAR_64 },
};

#define MAX	6
#define NO	(-1)
#define NO_BYTE PFNBUF_TDI_NO_OFFSET

/* Byte offsets of a range's fields. */
#define FIRST(i) (16 + 16 * (i))
#define PAGES(i) (FIRST(i) + 8)
#define ATTRS(i) (FIRST(i) + 12)
#define ID(i)	 (FIRST(i) + 14)

static const struct hostile {
	const char *name;
	struct pfnbuf_tdi_range ranges[MAX]; /* up to the first without pages */
	struct {
		unsigned at;
		unsigned len; /* 0: none */
		uint64_t value;
	} patch;
	int grow; /* bytes more, or fewer, at the end */
	uint32_t flags;
	uint32_t max_ranges;
	struct pfnbuf_tdi_compile_opts opts;
	struct {
		unsigned bar;
		struct pfnbuf_tdi_bar is;
	} other_bar; /* put in the device's place, if it has any member set */
	enum pfnbuf_tdi_reason reason;
	uint64_t offset;
	int64_t range;
	int64_t other;
} table[] = {
#define REFUSED(r, byte, index, with)                                                              \
	.reason = PFNBUF_TDI_##r, .offset = byte, .range = index, .other = with
#define PAGE_UNIT .unit = PFNBUF_TDI_UNIT_PAGES
#define BYTE_UNIT .unit = PFNBUF_TDI_UNIT_BYTES
#define STRICT	  .flags = PFNBUF_TDI_STRICT

	/* Too short. */
	{ "nothing at all", .grow = -20, REFUSED(TRUNCATED, 0, NO, NO) },
	{ "one byte", .grow = -19, REFUSED(TRUNCATED, 1, NO, NO) },
	{ "header less a byte", .grow = -5, REFUSED(TRUNCATED, 15, NO, NO) },
	{ "half a length field", .grow = -2, REFUSED(TRUNCATED, 18, NO, NO) },
	{ "one byte of a length field", .grow = -3, REFUSED(TRUNCATED, 17, NO, NO) },
	{ "one range announced, none there", .patch = { 12, 4, 1 }, .grow = -4,
	  REFUSED(TRUNCATED, 16, NO, NO) },
	{ "range less a byte", .ranges = { { BAR0, 1, 0, 0 } }, .grow = -5,
	  REFUSED(TRUNCATED, 31, NO, NO) },
	{ "the trailer taken for a range", .ranges = { { BAR0, 1, 0, 0 } }, .patch = { 12, 4, 2 },
	  REFUSED(TRUNCATED, 36, NO, NO) },
	{ "info longer than the report", .patch = { 16, 4, 1 }, REFUSED(TRUNCATED, 20, NO, NO) },
	{ "info of 4 GiB", .patch = { 16, 4, UINT32_MAX }, .grow = 8,
	  REFUSED(TRUNCATED, 28, NO, NO) },
	{ "info less a byte", .patch = { 16, 4, 9 }, .grow = 8, REFUSED(TRUNCATED, 28, NO, NO) },

	/* Too long. */
	{ "a byte behind the end", .grow = 1, STRICT, REFUSED(TRAILING, 20, NO, NO) },
	{ "a byte behind the info", .patch = { 16, 4, 7 }, .grow = 8, STRICT,
	  REFUSED(TRAILING, 27, NO, NO) },
	{ "a range that is not counted", .ranges = { { BAR0, 1, 0, 0 } }, .patch = { 12, 4, 0 },
	  STRICT, REFUSED(TRUNCATED, 36, NO, NO) },

	/* No trailer. */
	{ "no trailer, no ranges", .grow = -4, STRICT, REFUSED(NO_TRAILER, 16, NO, NO) },
	{ "no trailer", .ranges = { { BAR0, 1, 0, 0 } }, .grow = -4, STRICT,
	  REFUSED(NO_TRAILER, 32, NO, NO) },

	/* Counts. */
	{ "the largest count", .patch = { 12, 4, UINT32_MAX },
	  REFUSED(COUNT_OVERFLOW, 12, NO, NO) },
	{ "count whose bytes wrap to 0", .patch = { 12, 4, 0x10000000 },
	  REFUSED(COUNT_OVERFLOW, 12, NO, NO) },
	{ "count whose bytes wrap to one range", .ranges = { { BAR0, 1, 0, 0 } },
	  .patch = { 12, 4, 0x10000001 }, REFUSED(COUNT_OVERFLOW, 12, NO, NO) },
	{ "count that wraps with the header", .patch = { 12, 4, 0x0fffffff },
	  REFUSED(COUNT_OVERFLOW, 12, NO, NO) },
	{ "count just below the wrap", .patch = { 12, 4, 0x0ffffffe },
	  REFUSED(COUNT_LIMIT, 12, NO, NO) },
	{ "count above the default limit", .patch = { 12, 4, 4097 },
	  REFUSED(COUNT_LIMIT, 12, NO, NO) },
	{ "count at the default limit, no ranges", .patch = { 12, 4, 4096 },
	  REFUSED(TRUNCATED, 20, NO, NO) },
	{ "count above the caller's limit", .max_ranges = 1,
	  .ranges = { { BAR0, 1, 0, 0 }, { BAR0 + 1, 1, 0, 0 } },
	  REFUSED(COUNT_LIMIT, 12, NO, NO) },

	/* Reserved bits. */
	{ "first reserved bit of INTERFACE_INFO", .patch = { 0, 2, 0x20 }, STRICT,
	  REFUSED(RESERVED_BITS, 0, NO, NO) },
	{ "last reserved bit of INTERFACE_INFO", .patch = { 0, 2, 0x8000 }, STRICT,
	  REFUSED(RESERVED_BITS, 0, NO, NO) },
	{ "reserved field", .patch = { 2, 2, 1 }, STRICT, REFUSED(RESERVED_BITS, 2, NO, NO) },
	{ "first reserved attribute", .ranges = { { BAR0, 1, 0x10, 0 } }, STRICT,
	  REFUSED(RESERVED_BITS, ATTRS(0), 0, NO) },
	{ "BAR number in the upper half of the attributes",
	  .ranges = { { BAR0, 1, 0, 0 }, { BAR4, 1, 0x400, 4 } }, STRICT,
	  REFUSED(RESERVED_BITS, ATTRS(1), 1, NO) },

	/* No pages. */
	{ "no pages", .ranges = { { BAR0, 1, 0, 0 } }, .patch = { PAGES(0), 4, 0 },
	  REFUSED(ZERO_PAGES, PAGES(0), 0, NO) },
	{ "no pages in the last range", .ranges = { { BAR0, 1, 0, 0 }, { BAR0 + 1, 1, 0, 0 } },
	  .patch = { PAGES(1), 4, 0 }, REFUSED(ZERO_PAGES, PAGES(1), 1, NO) },
	{ "no pages, strict", .ranges = { { BAR0, 1, 0, 0 } }, .patch = { PAGES(0), 4, 0 }, STRICT,
	  REFUSED(ZERO_PAGES, PAGES(0), 0, NO) },

	/* Order. */
	{ "ids descend", .ranges = { { BAR4, 1, 0, 4 }, { BAR0, 1, 0, 0 } }, STRICT,
	  REFUSED(UNORDERED, ID(1), 1, 0) },
	{ "an id comes back",
	  .ranges = { { BAR0, 1, 0, 0 }, { BAR4, 1, 0, 4 }, { BAR0 + 1, 1, 0, 0 } }, STRICT,
	  REFUSED(UNORDERED, ID(2), 2, 1) },
	{ "pages descend", .ranges = { { BAR0 + 1, 1, 0, 0 }, { BAR0, 1, 0, 0 } }, STRICT,
	  REFUSED(UNORDERED, FIRST(1), 1, 0) },
	{ "same page, other length", .ranges = { { BAR0, 1, 0, 0 }, { BAR0, 2, 0, 0 } }, STRICT,
	  REFUSED(UNORDERED, FIRST(1), 1, 0) },

	/* The same twice. */
	{ "duplicate, strict", .ranges = { { BAR0, 1, 0, 0 }, { BAR0, 1, 0, 0 } }, STRICT,
	  REFUSED(DUPLICATE, FIRST(1), 1, 0) },
	{ "duplicate with other attributes, strict",
	  .ranges = { { BAR0, 1, 0, 0 }, { BAR0, 1, NON_TEE, 0 } }, STRICT,
	  REFUSED(DUPLICATE, FIRST(1), 1, 0) },
	{ "duplicate", .ranges = { { BAR0, 1, 0, 0 }, { BAR0, 1, 0, 0 } }, .opts = { PAGE_UNIT },
	  REFUSED(DUPLICATE, FIRST(1), 1, 0) },
	{ "duplicate far apart",
	  .ranges = { { BAR0 + 2, 1, 0, 0 },
		      { BAR0, 1, 0, 0 },
		      { BAR4, 1, 0, 4 },
		      { BAR0 + 2, 1, 4, 0 } },
	  .opts = { PAGE_UNIT }, REFUSED(DUPLICATE, FIRST(3), 3, 0) },
	{ "duplicate in either unit", .ranges = { { BAR0, 1, 0, 0 }, { BAR0, 1, 0, 0 } },
	  .opts = { .base = PFNBUF_TDI_BASE_MIN_RANGE }, REFUSED(DUPLICATE, FIRST(1), 1, 0) },

	/* Overlap. */
	{ "overlap by a page", .ranges = { { BAR0, 2, 0, 0 }, { BAR0 + 1, 2, NON_TEE, 0 } },
	  .opts = { PAGE_UNIT }, REFUSED(OVERLAP, FIRST(1), 1, 0) },
	{ "one inside another", .ranges = { { BAR0, 16, 0, 0 }, { BAR0 + 4, 1, TABLE, 0 } },
	  .opts = { PAGE_UNIT }, REFUSED(OVERLAP, FIRST(1), 1, 0) },
	{ "an earlier one inside a later one",
	  .ranges = { { BAR0 + 4, 1, TABLE, 0 }, { BAR0, 16, 0, 0 } }, .opts = { PAGE_UNIT },
	  REFUSED(OVERLAP, FIRST(1), 1, 0) },
	{ "same start, longer", .ranges = { { BAR0, 1, 0, 0 }, { BAR0, 2, 0, 0 } },
	  .opts = { PAGE_UNIT }, REFUSED(OVERLAP, FIRST(1), 1, 0) },
	{ "overlap behind others",
	  .ranges = { { BAR0, 1, 0, 0 },
		      { BAR0 + 8, 8, 0, 0 },
		      { BAR4, 1, 0, 4 },
		      { BAR0 + 15, 1, 0, 0 } },
	  .opts = { PAGE_UNIT }, REFUSED(OVERLAP, FIRST(3), 3, 1) },
	{ "overlap of byte addresses",
	  .ranges = { { BAR0 << 12, 2, 0, 0 }, { (BAR0 + 1) << 12, 1, 0, 0 } },
	  .opts = { BYTE_UNIT }, REFUSED(OVERLAP, FIRST(1), 1, 0) },

	/* Ids. */
	{ "id 6", .ranges = { { BAR0, 1, 0, 6 } }, .opts = { PAGE_UNIT },
	  REFUSED(BAD_RANGE_ID, ID(0), 0, NO) },
	{ "the largest id", .ranges = { { BAR0, 1, 0, 0 }, { BAR0 + 1, 1, 0, 0xffff } },
	  .opts = { PAGE_UNIT }, REFUSED(BAD_RANGE_ID, ID(1), 1, NO) },
	{ "id 6, auto", .ranges = { { BAR0, 1, 0, 6 } }, REFUSED(BAD_RANGE_ID, ID(0), 0, NO) },
	{ "upper half of BAR 0", .ranges = { { BAR0, 1, 0, 1 } }, .opts = { PAGE_UNIT },
	  REFUSED(UPPER_HALF, ID(0), 0, NO) },
	{ "upper half of BAR 4", .ranges = { { BAR4, 1, 0, 4 }, { BAR4 + 1, 1, 0, 5 } },
	  .opts = { PAGE_UNIT }, REFUSED(UPPER_HALF, ID(1), 1, NO) },
	{ "BAR of I/O ports", .ranges = { { 1, 1, 0, 3 } }, .opts = { PAGE_UNIT },
	  REFUSED(NO_BAR, ID(0), 0, NO) },
	{ "no such BAR", .other_bar = { 2, { .flags = PFNBUF_BAR_PREFETCHABLE } },
	  .ranges = { { BAR2, 1, 0, 2 } }, .opts = { PAGE_UNIT }, REFUSED(NO_BAR, ID(0), 0, NO) },

	/* Addresses that leave 64 bits. */
	{ "page number of 53 bits", .ranges = { { UINT64_C(1) << 52, 1, 0, 0 } },
	  .opts = { PAGE_UNIT }, REFUSED(WRAP, FIRST(0), 0, NO) },
	{ "page number that shifts to the BAR", .ranges = { { BAR0 | UINT64_C(1) << 52, 1, 0, 0 } },
	  .opts = { PAGE_UNIT }, REFUSED(WRAP, FIRST(0), 0, NO) },
	{ "the last page and the one behind it", .ranges = { { (UINT64_C(1) << 52) - 1, 2, 0, 0 } },
	  .opts = { PAGE_UNIT }, REFUSED(WRAP, FIRST(0), 0, NO) },
	{ "pages that wrap to the BAR", .ranges = { { (UINT64_C(1) << 52) - 1, UINT32_MAX, 0, 0 } },
	  .opts = { PAGE_UNIT }, REFUSED(WRAP, FIRST(0), 0, NO) },
	{ "the last byte address and the one behind it", .ranges = { { -UINT64_C(4096), 2, 0, 0 } },
	  .opts = { BYTE_UNIT }, REFUSED(WRAP, FIRST(0), 0, NO) },
	{ "reporting offset above the address", .ranges = { { BAR2, 1, 0, 2 } },
	  .opts = { PAGE_UNIT, .reporting_offset = (BAR2 + 1) << 12 },
	  REFUSED(WRAP, FIRST(0), 0, NO) },
	{ "negative reporting offset beyond the end", .ranges = { { -UINT64_C(4096), 1, 0, 0 } },
	  .opts = { BYTE_UNIT, .reporting_offset = -8192 }, REFUSED(WRAP, FIRST(0), 0, NO) },
	{ "the least reporting offset", .ranges = { { UINT64_C(1) << 63, 1, 0, 0 } },
	  .opts = { BYTE_UNIT, .reporting_offset = INT64_MIN }, REFUSED(WRAP, FIRST(0), 0, NO) },

	/* Alignment. */
	{ "byte address inside a page", .ranges = { { (BAR0 << 12) + 1, 1, 0, 0 } },
	  .opts = { BYTE_UNIT }, REFUSED(MISALIGNED, FIRST(0), 0, NO) },
	{ "page numbers read as bytes", .ranges = { { BAR0, 1, 0, 0 }, { BAR0 + 1, 1, 0, 0 } },
	  .opts = { BYTE_UNIT, .base = PFNBUF_TDI_BASE_MIN_RANGE },
	  REFUSED(MISALIGNED, FIRST(1), 1, NO) },
	{ "page numbers with a reporting offset inside a page", .ranges = { { BAR0, 1, 0, 0 } },
	  .opts = { PAGE_UNIT, .reporting_offset = 0x800 }, REFUSED(MISALIGNED, FIRST(0), 0, NO) },

	/* Outside the BAR. */
	{ "one page below the BAR", .ranges = { { BAR2 - 1, 1, 0, 2 } }, .opts = { PAGE_UNIT },
	  REFUSED(BELOW_BASE, FIRST(0), 0, NO) },
	{ "one page below the first range", .ranges = { { BAR2 + 1, 1, 0, 2 }, { BAR2, 1, 0, 2 } },
	  .opts = { PAGE_UNIT, .base = PFNBUF_TDI_BASE_FIRST_RANGE },
	  REFUSED(BELOW_BASE, FIRST(1), 1, NO) },
	{ "just behind the BAR", .ranges = { { BAR2 + 16, 1, 0, 2 } }, .opts = { PAGE_UNIT },
	  REFUSED(OUTSIDE_BAR, FIRST(0), 0, NO) },
	{ "one page too long", .ranges = { { BAR2, 17, 0, 2 } }, .opts = { PAGE_UNIT },
	  REFUSED(OUTSIDE_BAR, PAGES(0), 0, NO) },
	{ "longest range", .ranges = { { BAR2, UINT32_MAX, 0, 2 } }, .opts = { PAGE_UNIT },
	  REFUSED(OUTSIDE_BAR, PAGES(0), 0, NO) },
	{ "the right pages under another BAR's id", .ranges = { { BAR0, 1, 0, 2 } },
	  .opts = { PAGE_UNIT }, REFUSED(OUTSIDE_BAR, FIRST(0), 0, NO) },
	{ "byte addresses read as pages", .ranges = { { BAR2 << 12, 1, 0, 2 } },
	  .opts = { PAGE_UNIT }, REFUSED(OUTSIDE_BAR, FIRST(0), 0, NO) },
	{ "too far apart for the BAR", .ranges = { { BAR2, 1, 0, 2 }, { BAR2 + 16, 1, 0, 2 } },
	  .opts = { PAGE_UNIT, .base = PFNBUF_TDI_BASE_MIN_RANGE },
	  REFUSED(OUTSIDE_BAR, FIRST(1), 1, NO) },
	{ "reporting offset forgotten", .ranges = { { BAR2 + 0x100, 1, 0, 2 } },
	  .opts = { PAGE_UNIT }, REFUSED(OUTSIDE_BAR, FIRST(0), 0, NO) },
	{ "second page of a BAR of 256 bytes",
	  .other_bar = { 2, { .size = 256, .address = BAR2 << 12 } },
	  .ranges = { { BAR2 + 1, 1, 0, 2 } }, .opts = { PAGE_UNIT },
	  REFUSED(OUTSIDE_BAR, FIRST(0), 0, NO) },

	/* The unit. */
	{ "auto: one page fits either way", .ranges = { { BAR2, 1, 0, 2 } },
	  .opts = { .base = PFNBUF_TDI_BASE_FIRST_RANGE },
	  REFUSED(UNIT_AMBIGUOUS, FIRST(0), 0, NO) },
	{ "auto: neither fits", .ranges = { { BAR2 + 1, 1, 0, 2 }, { BAR2 + 0x100, 1, 0, 2 } },
	  REFUSED(UNIT_NONE, FIRST(1), 1, NO) },
	{ "auto: one range of each kind", .ranges = { { BAR0, 1, 0, 0 }, { BAR4 << 12, 1, 0, 4 } },
	  REFUSED(UNIT_NONE, FIRST(1), 1, NO) },

	/* Holes refused. */
	{ "hole at the start", .ranges = { { BAR2 + 1, 15, 0, 2 } },
	  .opts = { PAGE_UNIT, .holes = PFNBUF_TDI_HOLES_REFUSE }, REFUSED(HOLE, NO_BYTE, NO, NO) },
	{ "hole at the end", .ranges = { { BAR0, 256, 0, 0 }, { BAR2, 15, 0, 2 } },
	  .opts = { PAGE_UNIT, .holes = PFNBUF_TDI_HOLES_REFUSE }, REFUSED(HOLE, NO_BYTE, NO, NO) },
	{ "a BAR that is not reported", .ranges = { { BAR0, 256, 0, 0 } },
	  .opts = { PAGE_UNIT, .holes = PFNBUF_TDI_HOLES_REFUSE }, REFUSED(HOLE, NO_BYTE, NO, NO) },

	/* Host pages of 64 KiB. */
	{ "private and shared in a host page",
	  .ranges = { { BAR0, 4, 0, 0 }, { BAR0 + 4, 12, NON_TEE, 0 } },
	  .opts = { PAGE_UNIT, .page_size = 0x10000 }, REFUSED(MIXED_PAGE, FIRST(0), 0, 1) },
	{ "private and a hole in a host page", .ranges = { { BAR0 + 16, 17, 0, 0 } },
	  .opts = { PAGE_UNIT, .page_size = 0x10000 }, REFUSED(MIXED_PAGE, FIRST(0), 0, NO) },
	{ "a hole and private in a host page", .ranges = { { BAR0 + 1, 15, 0, 0 } },
	  .opts = { PAGE_UNIT, .page_size = 0x10000 }, REFUSED(MIXED_PAGE, FIRST(0), 0, NO) },
	{ "MSI-X table inside a private host page",
	  .ranges = { { BAR0, 8, 0, 0 }, { BAR0 + 8, 1, TABLE, 0 }, { BAR0 + 9, 7, 0, 0 } },
	  .opts = { PAGE_UNIT, .page_size = 0x10000 }, REFUSED(MIXED_PAGE, FIRST(0), 0, 2) },
	{ "BAR of 4 KiB inside somebody's host page",
	  .other_bar = { 2, { .size = 4096, .address = (BAR2 + 1) << 12 } },
	  .ranges = { { BAR2 + 1, 1, 0, 2 } },
	  .opts = { PAGE_UNIT, .page_size = 0x10000, .mixed = PFNBUF_TDI_MIXED_SHARED },
	  REFUSED(MIXED_PAGE, NO_BYTE, NO, NO) },

	/* Options outside their sets. */
	{ "unknown unit", .opts = { .unit = (enum pfnbuf_tdi_unit)3 },
	  REFUSED(BAD_ARGUMENT, NO_BYTE, NO, NO) },
	{ "unknown base", .opts = { .base = (enum pfnbuf_tdi_base)3 },
	  REFUSED(BAD_ARGUMENT, NO_BYTE, NO, NO) },
	{ "unknown hole policy", .opts = { .holes = (enum pfnbuf_tdi_holes)3 },
	  REFUSED(BAD_ARGUMENT, NO_BYTE, NO, NO) },
	{ "unknown mixed policy", .opts = { .mixed = (enum pfnbuf_tdi_mixed)2 },
	  REFUSED(BAD_ARGUMENT, NO_BYTE, NO, NO) },
	{ "unknown MSI-X policy", .opts = { .msix = (enum pfnbuf_tdi_msix)3 },
	  REFUSED(BAD_ARGUMENT, NO_BYTE, NO, NO) },
	{ "page size below 4 KiB", .opts = { .page_size = 2048 },
	  REFUSED(BAD_ARGUMENT, NO_BYTE, NO, NO) },
	{ "page size of no power of two", .opts = { .page_size = 0x3000 },
	  REFUSED(BAD_ARGUMENT, NO_BYTE, NO, NO) },
	{ "page size of 2 GiB", .opts = { .page_size = UINT64_C(1) << 31 },
	  REFUSED(BAD_ARGUMENT, NO_BYTE, NO, NO) },
	{ "absolute without an address", .other_bar = { 2, { .size = 4096 } },
	  .ranges = { { BAR2, 1, 0, 2 } }, .opts = { PAGE_UNIT },
	  REFUSED(BAD_ARGUMENT, NO_BYTE, NO, NO) },
	{ "upper half with a size of its own", .other_bar = { 1, { .size = 4096 } },
	  REFUSED(BAD_ARGUMENT, NO_BYTE, NO, NO) },
	{ "BAR that wraps", .other_bar = { 2, { .size = 8192, .address = -UINT64_C(4096) } },
	  REFUSED(BAD_ARGUMENT, NO_BYTE, NO, NO) },
	{ "BAR above 4 PiB", .other_bar = { 2, { .size = (UINT64_C(1) << 52) + 1 } },
	  REFUSED(BAD_ARGUMENT, NO_BYTE, NO, NO) },
	{ "unknown parse flag", .flags = 2, REFUSED(BAD_ARGUMENT, NO_BYTE, NO, NO) },
};

/* What the header promises for each reason. */
static const int errnos[PFNBUF_TDI_N_REASONS] = {
	[PFNBUF_TDI_BAD_ARGUMENT] = EINVAL,
	[PFNBUF_TDI_TRUNCATED] = EBADMSG,
	[PFNBUF_TDI_TRAILING] = EBADMSG,
	[PFNBUF_TDI_NO_TRAILER] = EBADMSG,
	[PFNBUF_TDI_RESERVED_BITS] = EBADMSG,
	[PFNBUF_TDI_COUNT_OVERFLOW] = EOVERFLOW,
	[PFNBUF_TDI_COUNT_LIMIT] = E2BIG,
	[PFNBUF_TDI_ZERO_PAGES] = EBADMSG,
	[PFNBUF_TDI_UNORDERED] = EBADMSG,
	[PFNBUF_TDI_DUPLICATE] = EEXIST,
	[PFNBUF_TDI_OVERLAP] = EEXIST,
	[PFNBUF_TDI_BAD_RANGE_ID] = ERANGE,
	[PFNBUF_TDI_UPPER_HALF] = ERANGE,
	[PFNBUF_TDI_NO_BAR] = ERANGE,
	[PFNBUF_TDI_WRAP] = EOVERFLOW,
	[PFNBUF_TDI_MISALIGNED] = EBADMSG,
	[PFNBUF_TDI_BELOW_BASE] = ERANGE,
	[PFNBUF_TDI_OUTSIDE_BAR] = ERANGE,
	[PFNBUF_TDI_UNIT_AMBIGUOUS] = ENOTUNIQ,
	[PFNBUF_TDI_UNIT_NONE] = EBADMSG,
	[PFNBUF_TDI_HOLE] = ENODATA,
	[PFNBUF_TDI_MIXED_PAGE] = EXDEV,
};

static uint8_t *make_bytes(const struct hostile *row, size_t *lenp)
{
	struct pfnbuf_tdi_report *report;
	uint8_t *bytes, *grown;
	size_t n = 0;

	while (n < MAX && row->ranges[n].number_of_pages > 0)
		n++;
	report = build(row->ranges, n);
	bytes = encode(report, lenp);
	pfnbuf_tdi_report_free(report);

	for (unsigned i = 0; i < row->patch.len; i++)
		bytes[row->patch.at + i] = (uint8_t)(row->patch.value >> 8 * i);

	/* Exactly as long as it claims, so that a sanitizer sees a byte read beyond. */
	grown = calloc(1, *lenp + 16);
	assert_non_null(grown);
	memcpy(grown, bytes, *lenp);
	free(bytes);
	*lenp += (size_t)row->grow;
	bytes = malloc(*lenp ? *lenp : 1);
	assert_non_null(bytes);
	memcpy(bytes, grown, *lenp);
	free(grown);
	return bytes;
}

static int compile(const struct hostile *row, const struct pfnbuf_tdi_report *report,
		   struct pfnbuf_tdi_layouts **layoutsp, struct pfnbuf_tdi_error *err)
{
	struct pfnbuf_tdi_compile_opts opts = row->opts;

	opts.size = sizeof(opts);
	memcpy(opts.bars, device, sizeof(device));
	if (row->other_bar.is.size || row->other_bar.is.address || row->other_bar.is.flags)
		opts.bars[row->other_bar.bar] = row->other_bar.is;
	return pfnbuf_tdi_layouts_compile(report, &opts, layoutsp, err);
}

static void refuse(const struct hostile *row)
{
	const struct pfnbuf_tdi_parse_opts opts = {
		.size = sizeof(opts),
		.max_ranges = row->max_ranges,
		.flags = row->flags,
	};
	struct pfnbuf_tdi_error err = { .reason = PFNBUF_TDI_OK };
	struct pfnbuf_tdi_layouts *layouts = NULL;
	struct pfnbuf_tdi_report *report = NULL;
	size_t len;
	uint8_t *bytes = make_bytes(row, &len);
	int ret = pfnbuf_tdi_report_parse(bytes, len, &opts, &report, &err);

	if (!ret)
		ret = compile(row, report, &layouts, &err);
	if (ret != -errnos[row->reason] || err.reason != row->reason || err.offset != row->offset ||
	    err.range != row->range || err.other != row->other)
		fail_msg("%s: got %d, %s, byte %lld, range %lld, other %lld: %s", row->name, ret,
			 pfnbuf_tdi_reason_name(err.reason), (long long)err.offset,
			 (long long)err.range, (long long)err.other, err.text);
	assert_true(strlen(err.text) > 10);
	assert_null(strchr(err.text, '\n'));
	assert_null(strchr(err.text, '"'));
	assert_null(layouts);

	pfnbuf_tdi_report_free(report);
	free(bytes);
}

static void test_refused(void **state)
{
	const size_t n = sizeof(table) / sizeof(table[0]);

	(void)state;
	assert_true(n >= 60);
	for (size_t i = 0; i < n; i++)
		refuse(&table[i]);
}

/* A caller who does not ask why gets the same errno. */
static void test_refused_without_error(void **state)
{
	struct pfnbuf_tdi_layouts *layouts = NULL;
	struct pfnbuf_tdi_report *report;

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct pfnbuf_tdi_parse_opts opts = {
			.size = sizeof(opts),
			.max_ranges = table[i].max_ranges,
			.flags = table[i].flags,
		};
		size_t len;
		uint8_t *bytes = make_bytes(&table[i], &len);
		int ret = pfnbuf_tdi_report_parse(bytes, len, &opts, &report, NULL);

		if (!ret) {
			ret = compile(&table[i], report, &layouts, NULL);
			pfnbuf_tdi_report_free(report);
		}
		assert_int_equal(ret, -errnos[table[i].reason]);
		free(bytes);
	}
}

/* What lenient reading is for: the same damage passes the parser. */
static void test_lenient(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct hostile *row = &table[i];
		struct pfnbuf_tdi_report *report;
		size_t len;
		uint8_t *bytes;

		if (row->flags != PFNBUF_TDI_STRICT || row->reason == PFNBUF_TDI_ZERO_PAGES ||
		    row->reason == PFNBUF_TDI_TRUNCATED)
			continue;
		bytes = make_bytes(row, &len);
		assert_int_equal(pfnbuf_tdi_report_parse(bytes, len, NULL, &report, NULL), 0);
		pfnbuf_tdi_report_free(report);
		free(bytes);
	}
}

/* A report that was built, not parsed, may hold a range without pages. */
static void test_built_without_pages(void **state)
{
	const struct pfnbuf_tdi_range range = { BAR0, 0, 0, 0 };
	struct pfnbuf_tdi_report *report = build(&range, 1);
	struct pfnbuf_tdi_compile_opts opts = { .size = sizeof(opts) };
	struct pfnbuf_tdi_layouts *layouts;
	struct pfnbuf_tdi_error err;

	(void)state;
	memcpy(opts.bars, device, sizeof(device));
	assert_int_equal(pfnbuf_tdi_layouts_compile(report, &opts, &layouts, &err), -EBADMSG);
	assert_int_equal(err.reason, PFNBUF_TDI_ZERO_PAGES);
	assert_int_equal(err.offset, PAGES(0));
	pfnbuf_tdi_report_free(report);
}

/* BAR 4 is 32 bits wide here, or BAR 5 would be its upper half. */
static void test_bar_5_has_no_upper_half(void **state)
{
	struct pfnbuf_tdi_report *report = build(NULL, 0);
	struct pfnbuf_tdi_compile_opts opts = { .size = sizeof(opts) };
	struct pfnbuf_tdi_layouts *layouts;
	struct pfnbuf_tdi_error err;

	(void)state;
	opts.bars[5] = (struct pfnbuf_tdi_bar){ .size = 4096, .flags = PFNBUF_BAR_64 };
	assert_int_equal(pfnbuf_tdi_layouts_compile(report, &opts, &layouts, &err), -EINVAL);
	assert_int_equal(err.reason, PFNBUF_TDI_BAD_ARGUMENT);
	assert_int_equal(err.bar, 5);
	pfnbuf_tdi_report_free(report);
}

static void test_options_of_no_version(void **state)
{
	const struct pfnbuf_tdi_parse_opts parse = { .size = 4 };
	const struct pfnbuf_tdi_compile_opts compile_opts = { .size = 4 };
	struct pfnbuf_tdi_report *report = build(NULL, 0), *parsed;
	struct pfnbuf_tdi_layouts *layouts;
	size_t len;
	uint8_t *bytes = encode(report, &len);

	(void)state;
	assert_int_equal(pfnbuf_tdi_report_parse(bytes, len, &parse, &parsed, NULL), -EINVAL);
	assert_int_equal(pfnbuf_tdi_layouts_compile(report, &compile_opts, &layouts, NULL),
			 -EINVAL);
	free(bytes);
	pfnbuf_tdi_report_free(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_without_error),
		cmocka_unit_test(test_lenient),
		cmocka_unit_test(test_built_without_pages),
		cmocka_unit_test(test_bar_5_has_no_upper_half),
		cmocka_unit_test(test_options_of_no_version),
	};

	return cmocka_run_group_tests_name("tdi-hostile", tests, NULL, NULL);
}
