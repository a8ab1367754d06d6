/* SPDX-License-Identifier: MIT */
/* A report from JSON. Apart from the rest: the names of json-c and of text.h collide. */
#ifndef PFNBUFCTL_REPORT_JSON_H
#define PFNBUFCTL_REPORT_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include <pfnbuf.h>

struct report_json_error {
	bool is_syntax; /* it is no JSON, from this byte on; else the text names the field */
	size_t byte;
	char text[240];
};

/*
 * The form of spdm-emu's sample device, and what pfnbuf_tdi_report_print_json() adds to it. Strict:
 * an unknown or missing key, or a number that does not fit its field, is refused.
 *
 * -EINVAL *error says why
 */
int report_from_json(const char *bytes, size_t n, struct pfnbuf_tdi_report **reportp,
		     struct report_json_error *error);

#endif /* PFNBUFCTL_REPORT_JSON_H */
