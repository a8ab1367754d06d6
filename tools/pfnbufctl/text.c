/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

static bool reserve(struct text *text, size_t n)
{
	size_t room = text->room ? text->room : 64;
	char *bytes;

	if (text->length + n < text->room)
		return true;
	while (room <= text->length + n)
		room *= 2;
	bytes = realloc(text->bytes, room);
	if (!bytes)
		return false; /* out of memory: the text stays shorter */
	text->bytes = bytes;
	text->room = room;
	return true;
}

void text_put(struct text *text, const char *bytes, size_t n)
{
	if (!reserve(text, n))
		return;
	if (n)
		memcpy(text->bytes + text->length, bytes, n);
	text->length += n;
	text->bytes[text->length] = '\0';
}

void text_vadd(struct text *text, const char *fmt, va_list args)
{
	char *bytes;
	int n = vasprintf(&bytes, fmt, args);

	if (n < 0)
		return;
	text_put(text, bytes, (size_t)n);
	free(bytes);
}

void text_add(struct text *text, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	text_vadd(text, fmt, args);
	va_end(args);
}

const char *text_get(const struct text *text)
{
	return text->bytes ? text->bytes : "";
}

void text_clear(struct text *text)
{
	free(text->bytes);
	*text = (struct text){ .bytes = NULL };
}

/* How many bytes a UTF-8 sequence that is valid takes at @s, of @n left; 0: none. */
static size_t utf8_length(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned code;
	size_t length;

	if (!n)
		return 0;
	if (p[0] < 0x80)
		return 1;
	length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || length > n)
		return 0;
	code = p[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3fu);
	}
	/* Overlong forms, surrogates, and beyond Unicode. */
	if ((length == 3 && code < 0x800) || (length == 4 && code < 0x10000) || code > 0x10ffff ||
	    (code >= 0xd800 && code < 0xe000))
		return 0;
	return length;
}

size_t text_columns(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* ---------------------------------------------------------------- JSON ----------------------------------------------- */

static void put_quoted(struct text *json, const char *s, size_t n)
{
	static const char plain[] = "\"\\\n\t\r";
	static const char escaped[] = "\"\\ntr";

	text_put(json, "\"", 1);
	while (n) {
		const char *special = *s ? strchr(plain, *s) : NULL;
		size_t length = utf8_length(s, n);

		if (special)
			text_add(json, "\\%c", escaped[special - plain]);
		else if (!length)
			text_add(json, "\\ufffd"); /* what is not UTF-8 cannot stand in JSON */
		else if ((unsigned char)*s < 0x20 || *s == 0x7f)
			text_add(json, "\\u%04x", (unsigned)(unsigned char)*s);
		else
			text_put(json, s, length);
		s += length ? length : 1;
		n -= length ? length : 1;
	}
	text_put(json, "\"", 1);
}

static void put_key(struct text *json, const char *key)
{
	if (json->comma)
		text_put(json, ",", 1);
	json->comma = true;
	if (!key)
		return;
	put_quoted(json, key, strlen(key));
	text_put(json, ":", 1);
}

void json_open(struct text *json, const char *key, char bracket)
{
	put_key(json, key);
	text_put(json, &bracket, 1);
	json->comma = false;
}

void json_close(struct text *json, char bracket)
{
	text_put(json, &bracket, 1);
	json->comma = true;
}

void json_string(struct text *json, const char *key, const char *value)
{
	put_key(json, key);
	put_quoted(json, value, strlen(value));
}

void json_number(struct text *json, const char *key, uint64_t value)
{
	put_key(json, key);
	text_add(json, "%" PRIu64, value);
}

void json_bool(struct text *json, const char *key, bool value)
{
	put_key(json, key);
	text_add(json, "%s", value ? "true" : "false");
}

void json_hex(struct text *json, const char *key, const uint8_t *bytes, size_t n)
{
	put_key(json, key);
	text_put(json, "\"", 1);
	for (size_t i = 0; i < n; i++)
		text_add(json, "%02x", bytes[i]);
	text_put(json, "\"", 1);
}
