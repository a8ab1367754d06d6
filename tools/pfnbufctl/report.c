/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "report_json.h"

enum { MAX_BYTES = 64 << 20 }; /* of a file; evidence is up to 16 MiB, twice that as hex */

void complain(const char *fmt, ...)
{
	va_list args;

	fputs("pfnbufctl: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

/* ---- files ---------------------------------------------------------------------------------- */

int file_read(const char *path, struct text *bytes)
{
	bool standard = !strcmp(path, "-");
	FILE *file = standard ? stdin : fopen(path, "rb");
	char buf[16384];
	size_t n;
	int err;

	if (!file) {
		err = -errno;
		complain("%s: %s", path, strerror(-err));
		return err;
	}
	text_put(bytes, "", 0);
	while ((n = fread(buf, 1, sizeof(buf), file)) > 0 && bytes->length < MAX_BYTES)
		text_put(bytes, buf, n);
	err = ferror(file) ? -errno : bytes->length >= MAX_BYTES ? -EFBIG : 0;
	if (!standard)
		fclose(file);
	if (err)
		complain("%s: %s", path, strerror(-err));
	return err;
}

int file_write(const char *path, const char *bytes, size_t n)
{
	bool standard = !path || !strcmp(path, "-");
	FILE *file = standard ? stdout : fopen(path, "wb");
	bool failed;

	if (!file) {
		complain("%s: %s", path, strerror(errno));
		return -EIO;
	}
	failed = fwrite(bytes, 1, n, file) != n;
	failed = (standard ? fflush(file) : fclose(file)) || failed;
	if (failed)
		complain("%s: %s", standard ? "standard output" : path, strerror(errno));
	return failed ? -EIO : 0;
}

/* ---- hex ------------------------------------------------------------------------------------ */

static bool is_hex(const struct text *bytes)
{
	size_t digits = 0;

	for (size_t i = 0; i < bytes->length; i++) {
		unsigned char c = (unsigned char)bytes->bytes[i];

		if (!isxdigit(c) && !isspace(c))
			return false;
		digits += isxdigit(c) != 0;
	}
	return digits > 0 && digits % 2 == 0;
}

static unsigned digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

static void from_hex(struct text *bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < bytes->length; i++) {
		char c = bytes->bytes[i];

		if (isspace((unsigned char)c))
			continue;
		if (n % 2 == 0)
			bytes->bytes[n / 2] = (char)(digit(c) << 4);
		else
			bytes->bytes[n / 2] = (char)(bytes->bytes[n / 2] | (char)digit(c));
		n++;
	}
	bytes->length = n / 2;
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static int from_json(const char *path, const struct text *bytes, struct pfnbuf_tdi_report **reportp)
{
	struct report_json_error error;
	unsigned line = 1, column = 1;
	int err = report_from_json(bytes->bytes, bytes->length, reportp, &error);

	if (!err)
		return 0;
	for (size_t i = 0; i < error.byte && i < bytes->length; i++) {
		column = bytes->bytes[i] == '\n' ? 1 : column + 1;
		line += bytes->bytes[i] == '\n';
	}
	if (error.is_syntax)
		complain("%s:%u:%u: %s", path, line, column, error.text);
	else
		complain("%s: %s", path, error.text);
	return err;
}

/* ---- reports -------------------------------------------------------------------------------- */

static bool is_json(const struct text *bytes)
{
	size_t i = 0;

	while (i < bytes->length && isspace((unsigned char)bytes->bytes[i]))
		i++;
	return i < bytes->length && bytes->bytes[i] == '{';
}

static int from_bytes(const char *path, const struct text *bytes, uint32_t flags,
		      struct pfnbuf_tdi_report **reportp)
{
	const struct pfnbuf_tdi_parse_opts opts = { .size = sizeof(opts), .flags = flags };
	struct pfnbuf_tdi_error error;
	int err = pfnbuf_tdi_report_parse(bytes->bytes, bytes->length, &opts, reportp, &error);

	if (err)
		complain("%s: %s (%s)", path, error.text, pfnbuf_tdi_reason_name(error.reason));
	return err;
}

/* What a report says is held to @flags in every form: JSON goes through the encoder. */
static int checked_from_json(const char *path, const struct text *bytes, uint32_t flags,
			     struct pfnbuf_tdi_report **reportp)
{
	struct pfnbuf_tdi_report *report;
	struct text encoded = { .bytes = NULL };
	size_t size;
	int err = from_json(path, bytes, &report);

	if (err)
		return err;
	size = pfnbuf_tdi_report_get_size(report);
	encoded.bytes = malloc(size);
	if (!encoded.bytes)
		err = -ENOMEM;
	else
		err = pfnbuf_tdi_report_encode(report, encoded.bytes, size, &encoded.length);
	pfnbuf_tdi_report_free(report);
	if (!err)
		err = from_bytes(path, &encoded, flags, reportp);
	text_clear(&encoded);
	return err;
}

int report_read(const char *path, uint32_t flags, struct pfnbuf_tdi_report **reportp)
{
	struct text bytes = { .bytes = NULL };
	int err = file_read(path, &bytes);

	if (!err && is_json(&bytes)) {
		err = checked_from_json(path, &bytes, flags, reportp);
	} else if (!err) {
		if (is_hex(&bytes))
			from_hex(&bytes);
		err = from_bytes(path, &bytes, flags, reportp);
	}
	text_clear(&bytes);
	return err;
}
