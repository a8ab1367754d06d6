/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "report_json.h"

struct reader {
	struct report_json_error *error;
	char where[40]; /* in front of keys: "mmio_ranges[3]." */
	bool failed;
};

PFNBUF_PRINTF(3, 4)
static void refuse(struct reader *reader, const char *key, const char *fmt, ...)
{
	char why[160];
	va_list args;

	if (reader->failed) /* the first one counts */
		return;
	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	snprintf(reader->error->text, sizeof(reader->error->text), "%s%.40s %s", reader->where, key,
		 why);
	reader->failed = true;
}

static void refuse_memory(struct reader *reader)
{
	refuse(reader, "the report", "needs more memory than there is");
}

/* An integer, or a string as C writes one: "0x10000". */
static bool to_number(struct json_object *value, uint64_t *number)
{
	const char *word;
	char *end;

	if (json_object_is_type(value, json_type_int)) {
		*number = json_object_get_uint64(value);
		/* What is negative reads as 0 here and as itself there; what is too large, as the largest. */
		return json_object_get_int64(value) >= 0 && *number < UINT64_MAX;
	}
	if (!json_object_is_type(value, json_type_string))
		return false;
	word = json_object_get_string(value);
	if (!isdigit((unsigned char)*word))
		return false;
	errno = 0;
	*number = strtoull(word, &end, 0);
	return !errno && !*end;
}

static uint64_t read_number(struct reader *reader, struct json_object *object, const char *key,
			    uint64_t max)
{
	struct json_object *value;
	uint64_t number = 0;

	if (!json_object_object_get_ex(object, key, &value))
		refuse(reader, key, "is missing");
	else if (!to_number(value, &number))
		refuse(reader, key, "is neither a number from 0 on nor a string of one");
	else if (number > max)
		refuse(reader, key, "is %" PRIu64 ", and its field ends at %" PRIu64, number, max);
	return number;
}

static void check_keys(struct reader *reader, struct json_object *object, const char *const *known)
{
	json_object_object_foreach(object, key, value)
	{
		const char *const *name = known;

		(void)value;
		while (*name && strcmp(*name, key))
			name++;
		if (!*name)
			refuse(reader, key, "is no field of a report");
	}
}

static void read_range(struct reader *reader, struct json_object *object,
		       struct pfnbuf_tdi_report *report)
{
	static const char *const known[] = { "first_page", "number_of_pages", "range_attributes",
					     "range_id", NULL };
	struct pfnbuf_tdi_range range;

	if (!json_object_is_type(object, json_type_object)) {
		refuse(reader, "", "is not an object");
		return;
	}
	check_keys(reader, object, known);
	range = (struct pfnbuf_tdi_range){
		.first_page = read_number(reader, object, "first_page", UINT64_MAX),
		.number_of_pages =
			(uint32_t)read_number(reader, object, "number_of_pages", UINT32_MAX),
		.range_attributes =
			(uint16_t)read_number(reader, object, "range_attributes", UINT16_MAX),
		.range_id = (uint16_t)read_number(reader, object, "range_id", UINT16_MAX),
	};
	if (pfnbuf_tdi_report_add_range(report, &range))
		refuse_memory(reader);
}

static void read_ranges(struct reader *reader, struct json_object *root,
			struct pfnbuf_tdi_report *report)
{
	struct json_object *ranges;

	if (!json_object_object_get_ex(root, "mmio_ranges", &ranges)) {
		refuse(reader, "mmio_ranges", "is missing");
		return;
	}
	if (!json_object_is_type(ranges, json_type_array)) {
		refuse(reader, "mmio_ranges", "is not an array");
		return;
	}
	for (size_t i = 0; i < json_object_array_length(ranges); i++) {
		snprintf(reader->where, sizeof(reader->where), "mmio_ranges[%zu].", i);
		read_range(reader, json_object_array_get_idx(ranges, i), report);
	}
	reader->where[0] = '\0';
}

static void read_info_text(struct reader *reader, struct json_object *info,
			   struct pfnbuf_tdi_report *report)
{
	int err = 0;

	if (json_object_is_type(info, json_type_string))
		err = pfnbuf_tdi_report_set_info(report, json_object_get_string(info),
						 (size_t)json_object_get_string_len(info));
	else if (!info)
		err = pfnbuf_tdi_report_set_info(report, NULL, 0);
	else
		refuse(reader, "device_specific_info", "is neither a string nor null");
	if (err)
		refuse_memory(reader);
}

static int hex_digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

static void read_info_hex(struct reader *reader, struct json_object *info,
			  struct pfnbuf_tdi_report *report)
{
	const char *word =
		json_object_is_type(info, json_type_string) ? json_object_get_string(info) : "?";
	size_t n = strlen(word);
	uint8_t *bytes;

	if (n % 2 || strspn(word, "0123456789abcdefABCDEF") != n) {
		refuse(reader, "device_specific_info_hex", "is no string of pairs of hex digits");
		return;
	}
	bytes = malloc(n / 2 + 1);
	for (size_t i = 0; bytes && i < n / 2; i++)
		bytes[i] = (uint8_t)(hex_digit(word[2 * i]) << 4 | hex_digit(word[2 * i + 1]));
	if (!bytes || pfnbuf_tdi_report_set_info(report, bytes, n / 2))
		refuse_memory(reader);
	free(bytes);
}

static void read_info(struct reader *reader, struct json_object *root,
		      struct pfnbuf_tdi_report *report)
{
	struct json_object *text, *hex;
	bool has_text = json_object_object_get_ex(root, "device_specific_info", &text);
	bool has_hex = json_object_object_get_ex(root, "device_specific_info_hex", &hex);

	if (has_text && has_hex)
		refuse(reader, "device_specific_info", "stands there in two forms");
	else if (has_text)
		read_info_text(reader, text, report);
	else if (has_hex)
		read_info_hex(reader, hex, report);
	else
		refuse(reader, "device_specific_info", "is missing");
}

static struct pfnbuf_tdi_report *read_root(struct reader *reader, struct json_object *root)
{
	static const char *const known[] = { "interface_info",
					     "reserved",
					     "msi_x_message_control",
					     "lnr_control",
					     "tph_control",
					     "mmio_ranges",
					     "device_specific_info",
					     "device_specific_info_hex",
					     NULL };
	struct pfnbuf_tdi_report *report = NULL;
	struct pfnbuf_tdi_header header;

	if (!json_object_is_type(root, json_type_object)) {
		refuse(reader, "the report", "is not an object");
		return NULL;
	}
	check_keys(reader, root, known);
	header = (struct pfnbuf_tdi_header){
		.interface_info = (uint16_t)read_number(reader, root, "interface_info", UINT16_MAX),
		.msi_x_message_control =
			(uint16_t)read_number(reader, root, "msi_x_message_control", UINT16_MAX),
		.lnr_control = (uint16_t)read_number(reader, root, "lnr_control", UINT16_MAX),
		.tph_control = (uint32_t)read_number(reader, root, "tph_control", UINT32_MAX),
	};
	if (json_object_object_get_ex(root, "reserved", NULL))
		header.reserved = (uint16_t)read_number(reader, root, "reserved", UINT16_MAX);
	if (pfnbuf_tdi_report_new(&header, &report)) {
		refuse_memory(reader);
		return NULL;
	}
	read_ranges(reader, root, report);
	read_info(reader, root, report);
	return reader->failed ? pfnbuf_tdi_report_free(report) : report;
}

static void refuse_syntax(struct report_json_error *error, const char *why)
{
	error->is_syntax = true;
	snprintf(error->text, sizeof(error->text), "is no JSON: %s", why);
}

/* The root of a JSON text, which is NULL for null; where it is no JSON, *error says so. */
static struct json_object *parse(const char *bytes, size_t n, struct report_json_error *error)
{
	struct json_tokener *tokener = json_tokener_new();
	enum json_tokener_error err;
	struct json_object *root;

	if (!tokener) {
		refuse_syntax(error, "there is no memory to read it");
		return NULL;
	}
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	/* With the NUL behind it, so that a number at the end is complete. */
	root = json_tokener_parse_ex(tokener, bytes, (int)n + 1);
	err = json_tokener_get_error(tokener);
	error->byte = json_tokener_get_parse_end(tokener);
	json_tokener_free(tokener);
	if (err == json_tokener_continue)
		refuse_syntax(error, "it ends too early");
	else if (err != json_tokener_success)
		refuse_syntax(error, json_tokener_error_desc(err));
	return root;
}

int report_from_json(const char *bytes, size_t n, struct pfnbuf_tdi_report **reportp,
		     struct report_json_error *error)
{
	struct reader reader = { .error = error };
	struct pfnbuf_tdi_report *report;
	struct json_object *root;

	*error = (struct report_json_error){ .is_syntax = false };
	root = parse(bytes, n, error);
	if (error->is_syntax)
		return -EINVAL;
	report = read_root(&reader, root);
	json_object_put(root);
	if (!report)
		return -EINVAL;
	*reportp = report;
	return 0;
}
