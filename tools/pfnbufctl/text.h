/* SPDX-License-Identifier: MIT */
/* Text that grows, and JSON written into it. */
#ifndef PFNBUFCTL_TEXT_H
#define PFNBUFCTL_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *bytes; /* NUL terminated; NULL: empty */
	size_t length;
	size_t room;
	bool comma; /* JSON: the next member needs one in front */
};

void text_add(struct text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_vadd(struct text *text, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));
void text_put(struct text *text, const char *bytes, size_t n);
const char *text_get(const struct text *text); /* never NULL */
void text_clear(struct text *text);

/* JSON. A NULL key is for what stands in an array or alone. */
void json_open(struct text *json, const char *key, char bracket); /* '{' or '[' */
void json_close(struct text *json, char bracket);		  /* '}' or ']' */
void json_string(struct text *json, const char *key, const char *value);
void json_number(struct text *json, const char *key, uint64_t value);
void json_bool(struct text *json, const char *key, bool value);
void json_hex(struct text *json, const char *key, const uint8_t *bytes, size_t n);

/* How many columns a terminal gives it, a code point one each. */
size_t text_columns(const char *s);

#endif /* PFNBUFCTL_TEXT_H */
