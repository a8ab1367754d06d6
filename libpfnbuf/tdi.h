/* SPDX-License-Identifier: MIT */
#ifndef PFNBUF_TDI_H
#define PFNBUF_TDI_H

#include <stdint.h>

#include <pfnbuf.h>

/* What tdi.c and tdi_layouts.c share: the wire format's geometry and the making of an error. */

#define TDI_HEADER_SIZE 16u
#define TDI_RANGE_SIZE	16u

/* Where a field of a range stands in it. */
enum tdi_field {
	TDI_FIRST_PAGE = 0,
	TDI_NUMBER_OF_PAGES = 8,
	TDI_RANGE_ATTRIBUTES = 12,
	TDI_RANGE_ID = 14,
};

/* What an error is about: -1, or PFNBUF_TDI_NO_OFFSET, for nothing. */
struct tdi_site {
	int bar;
	int64_t range;
	int64_t other;
	uint64_t offset;
};

static inline struct tdi_site tdi_nowhere(void)
{
	return (struct tdi_site){ -1, -1, -1, PFNBUF_TDI_NO_OFFSET };
}

static inline struct tdi_site tdi_at_byte(uint64_t offset)
{
	return (struct tdi_site){ -1, -1, -1, offset };
}

static inline struct tdi_site tdi_at_bar(unsigned bar)
{
	return (struct tdi_site){ (int)bar, -1, -1, PFNBUF_TDI_NO_OFFSET };
}

static inline struct tdi_site tdi_at_range(uint32_t index, enum tdi_field field)
{
	return (struct tdi_site){ -1, index, -1,
				  TDI_HEADER_SIZE + (uint64_t)index * TDI_RANGE_SIZE + field };
}

/* Fill *err (may be NULL) and return the negative errno of the reason. */
PFNBUF_PRINTF(4, 5)
int pfnbuf_tdi_fail(struct pfnbuf_tdi_error *err, enum pfnbuf_tdi_reason reason,
		    struct tdi_site site, const char *format, ...);

/* Whether a report can be compiled so at all, whatever is in it. */
int pfnbuf_tdi_check_opts(const struct pfnbuf_tdi_compile_opts *opts, struct pfnbuf_tdi_error *err);

/* Text that grows beyond its buffer without being written there, as snprintf()'s does. */
struct tdi_text {
	char *buf;
	size_t size;
	size_t len;
};

PFNBUF_PRINTF(2, 3)
void pfnbuf_tdi_print(struct tdi_text *out, const char *format, ...);

#endif /* PFNBUF_TDI_H */
