/* SPDX-License-Identifier: MIT */
/* Words of a script as numbers, ranges, durations and bytes. */
#include <stdlib.h>
#include <string.h>

#include "script.h"

int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Digits of @base with '_' between them, from *word on; *word ends behind them. */
static const char *parse_digits(const char **word, unsigned base, uint64_t *number)
{
	const char *p = *word;
	uint64_t n = 0;
	int digit = hex_digit(*p);

	if (digit < 0 || (unsigned)digit >= base)
		return "is not a number";
	for (; *p; p++) {
		if (*p == '_') {
			digit = hex_digit(p[1]);
			if (digit < 0 || (unsigned)digit >= base)
				return "has a '_' that is not between digits";
			continue;
		}
		digit = hex_digit(*p);
		if (digit < 0 || (unsigned)digit >= base)
			break;
		if (__builtin_mul_overflow(n, base, &n) ||
		    __builtin_add_overflow(n, (uint64_t)digit, &n))
			return "does not fit in 64 bits";
	}
	*word = p;
	*number = n;
	return NULL;
}

static const char *parse_scaled(const char **word, uint64_t *number)
{
	static const char units[] = "KMGT";
	const char *p = *word;
	bool hex = p[0] == '0' && p[1] == 'x';
	const char *unit, *wrong;

	if (hex)
		p += 2;
	wrong = parse_digits(&p, hex ? 16 : 10, number);
	if (wrong)
		return wrong;
	unit = *p ? strchr(units, *p) : NULL;
	if (unit) {
		unsigned shift = 10 * (unsigned)(unit - units + 1);

		if (*number > UINT64_MAX >> shift)
			return "does not fit in 64 bits";
		*number <<= shift;
		p++;
	}
	*word = p;
	return NULL;
}

const char *parse_number(const char *word, uint64_t *number)
{
	const char *wrong = parse_scaled(&word, number);

	if (wrong)
		return wrong;
	return *word ? "ends in what is neither a digit nor one of the units K, M, G, T" : NULL;
}

const char *parse_range(const char *word, uint64_t *offset, uint64_t *length)
{
	static const char not_a_range[] = "is not a range: write OFFSET+LENGTH, as in 0x1000+64K";
	const char *wrong;

	if (hex_digit(*word) < 0 || hex_digit(*word) > 9)
		return not_a_range;
	wrong = parse_scaled(&word, offset);
	if (wrong)
		return wrong;
	if (*word != '+')
		return not_a_range;
	word++;
	wrong = parse_scaled(&word, length);
	if (wrong)
		return "is not a range: its length is not a number that fits in 64 bits";
	return *word ? "ends in what is neither a digit nor one of the units K, M, G, T" : NULL;
}

const char *parse_duration(const char *word, uint64_t *ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "us", 1000 },
		{ "ms", 1000 * 1000 },
		{ "s", 1000 * 1000 * 1000 },
		{ "m", 60ull * 1000 * 1000 * 1000 },
	};
	uint64_t number;
	const char *wrong = parse_digits(&word, 10, &number);

	if (wrong)
		return wrong;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (strcmp(word, units[i].name))
			continue;
		/* A day is the longest: what is more is a slip. */
		if (number > 86400ull * 1000 * 1000 * 1000 / units[i].ns)
			return "is longer than a day";
		*ns = number * units[i].ns;
		return NULL;
	}
	return "has no unit: write us, ms, s or m, as in 500ms";
}

const char *parse_hex_bytes(const char *word, uint8_t **datap, size_t *sizep)
{
	uint8_t *data = malloc(strlen(word) / 2 + 1);
	size_t size = 0;

	if (!data)
		return "does not fit in memory";
	for (; *word; word++) {
		int high = hex_digit(word[0]);
		int low = word[0] ? hex_digit(word[1]) : -1;

		if (*word == '_' && size && word[1])
			continue;
		if (high < 0 || low < 0) {
			free(data);
			return "is not bytes: write two hex digits for each, as in dead_beef";
		}
		data[size++] = (uint8_t)(high << 4 | low);
		word++;
	}
	if (!size) {
		free(data);
		return "has no bytes";
	}
	*datap = data;
	*sizep = size;
	return NULL;
}

bool name_is_valid(const char *name)
{
	size_t n = 0;

	if (!((*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') || *name == '_'))
		return false;
	for (; name[n]; n++) {
		char c = name[n];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '_' || c == '-'))
			return false;
	}
	return n <= SCRIPT_MAX_NAME;
}

/* @n hex digits from *word on. */
static bool take_hex(const char **word, unsigned n)
{
	for (; n; n--, (*word)++)
		if (hex_digit(**word) < 0)
			return false;
	return true;
}

static bool take_char(const char **word, char c)
{
	return *(*word)++ == c;
}

bool bdf_is_valid(const char *word)
{
	size_t n = strlen(word);

	if (n == 12) {
		if (!take_hex(&word, 4) || !take_char(&word, ':'))
			return false;
	} else if (n != 7) {
		return false;
	}
	return take_hex(&word, 2) && take_char(&word, ':') && (*word == '0' || *word == '1') &&
	       take_hex(&word, 2) && take_char(&word, '.') && *word >= '0' && *word <= '7';
}

void bdf_normalize(const char *word, char *out)
{
	size_t used = 0;

	if (strlen(word) == 7) {
		memcpy(out, "0000:", 5);
		used = 5;
	}
	for (; *word && used < 15; word++)
		out[used++] = *word >= 'A' && *word <= 'F' ? (char)(*word - 'A' + 'a') : *word;
	out[used] = '\0';
}

uint64_t data_length(const struct value *value)
{
	return value->param->type == TYPE_FILL ? value->length : value->size;
}

void data_copy(const struct value *value, uint8_t *buf)
{
	if (value->param->type == TYPE_FILL)
		memset(buf, (int)value->number, value->length);
	else
		memcpy(buf, value->data, value->size);
}
