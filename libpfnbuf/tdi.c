/* SPDX-License-Identifier: MIT */

/*
 * The TDISP DEVICE_INTERFACE_REPORT: parse it, build it, encode it, print it. What its ranges mean
 * is decided in tdi_layouts.c.
 *
 * All integers are little-endian and packed, so fields are picked by bytes: the caller's buffer may
 * lie anywhere.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpfnbuf/tdi.h>

#define DEFAULT_MAX_RANGES 4096u

/* Byte offsets of the header's fields. */
enum {
	INTERFACE_INFO = 0,
	RESERVED = 2,
	MSI_X_MESSAGE_CONTROL = 4,
	LNR_CONTROL = 6,
	TPH_CONTROL = 8,
	MMIO_RANGE_COUNT = 12,
};

struct pfnbuf_tdi_report {
	struct pfnbuf_tdi_header header;
	struct pfnbuf_tdi_range *ranges;
	uint32_t nr_ranges;
	uint32_t capacity;
	bool has_info;
	uint32_t info_len;
	uint8_t *info;
};

static const struct {
	const char *name;
	int errnum;
} reasons[PFNBUF_TDI_N_REASONS] = {
	[PFNBUF_TDI_OK] = { "ok", 0 },
	[PFNBUF_TDI_NO_MEMORY] = { "no-memory", ENOMEM },
	[PFNBUF_TDI_BAD_ARGUMENT] = { "bad-argument", EINVAL },
	[PFNBUF_TDI_TRUNCATED] = { "truncated", EBADMSG },
	[PFNBUF_TDI_TRAILING] = { "trailing", EBADMSG },
	[PFNBUF_TDI_NO_TRAILER] = { "no-trailer", EBADMSG },
	[PFNBUF_TDI_RESERVED_BITS] = { "reserved-bits", EBADMSG },
	[PFNBUF_TDI_COUNT_OVERFLOW] = { "count-overflow", EOVERFLOW },
	[PFNBUF_TDI_COUNT_LIMIT] = { "count-limit", E2BIG },
	[PFNBUF_TDI_ZERO_PAGES] = { "zero-pages", EBADMSG },
	[PFNBUF_TDI_UNORDERED] = { "unordered", EBADMSG },
	[PFNBUF_TDI_DUPLICATE] = { "duplicate", EEXIST },
	[PFNBUF_TDI_OVERLAP] = { "overlap", EEXIST },
	[PFNBUF_TDI_BAD_RANGE_ID] = { "range-id", ERANGE },
	[PFNBUF_TDI_UPPER_HALF] = { "upper-half", ERANGE },
	[PFNBUF_TDI_NO_BAR] = { "no-bar", ERANGE },
	[PFNBUF_TDI_WRAP] = { "wrap", EOVERFLOW },
	[PFNBUF_TDI_MISALIGNED] = { "misaligned", EBADMSG },
	[PFNBUF_TDI_BELOW_BASE] = { "below-base", ERANGE },
	[PFNBUF_TDI_OUTSIDE_BAR] = { "outside-bar", ERANGE },
	[PFNBUF_TDI_UNIT_AMBIGUOUS] = { "unit-ambiguous", ENOTUNIQ },
	[PFNBUF_TDI_UNIT_NONE] = { "unit-none", EBADMSG },
	[PFNBUF_TDI_HOLE] = { "hole", ENODATA },
	[PFNBUF_TDI_MIXED_PAGE] = { "mixed-page", EXDEV },
	[PFNBUF_TDI_NOT_REPORTED] = { "not-reported", ENODATA },
	[PFNBUF_TDI_NO_EVIDENCE] = { "no-evidence", ENOKEY },
	[PFNBUF_TDI_OTHER_DIGEST] = { "other-digest", EKEYREJECTED },
	[PFNBUF_TDI_OTHER_GENERATION] = { "other-generation", ESTALE },
	[PFNBUF_TDI_BAD_STATE] = { "bad-state", EPERM },
};

const char *pfnbuf_tdi_reason_name(enum pfnbuf_tdi_reason reason)
{
	return (unsigned)reason < PFNBUF_TDI_N_REASONS ? reasons[reason].name : NULL;
}

int pfnbuf_tdi_fail(struct pfnbuf_tdi_error *err, enum pfnbuf_tdi_reason reason,
		    struct tdi_site site, const char *format, ...)
{
	va_list args;

	if (err) {
		err->reason = reason;
		err->bar = site.bar;
		err->range = site.range;
		err->other = site.other;
		err->offset = site.offset;
		va_start(args, format);
		vsnprintf(err->text, sizeof(err->text), format, args);
		va_end(args);
	}
	return -reasons[reason].errnum;
}

void pfnbuf_tdi_print(struct tdi_text *out, const char *format, ...)
{
	size_t room = out->len < out->size ? out->size - out->len : 0;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(room ? out->buf + out->len : NULL, room, format, args);
	va_end(args);
	if (len > 0)
		out->len += (size_t)len;
}

static const char *const state_names[] = {
	[PFNBUF_TDI_CONFIG_UNLOCKED] = "CONFIG_UNLOCKED",
	[PFNBUF_TDI_CONFIG_LOCKED] = "CONFIG_LOCKED",
	[PFNBUF_TDI_RUN] = "RUN",
	[PFNBUF_TDI_ERROR] = "ERROR",
};

#define N_STATES (sizeof(state_names) / sizeof(state_names[0]))

const char *pfnbuf_tdi_state_name(enum pfnbuf_tdi_state state)
{
	return (unsigned)state < N_STATES ? state_names[state] : NULL;
}

int pfnbuf_tdi_state_decode(uint8_t wire, enum pfnbuf_tdi_state *statep)
{
	if (wire >= N_STATES)
		return -EPROTO;
	*statep = (enum pfnbuf_tdi_state)wire;
	return 0;
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t get32(const uint8_t *at)
{
	return get16(at) | (uint32_t)get16(at + 2) << 16;
}

static uint64_t get64(const uint8_t *at)
{
	return get32(at) | (uint64_t)get32(at + 4) << 32;
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, (uint16_t)value);
	put16(at + 2, (uint16_t)(value >> 16));
}

static void put64(uint8_t *at, uint64_t value)
{
	put32(at, (uint32_t)value);
	put32(at + 4, (uint32_t)(value >> 32));
}

int pfnbuf_tdi_report_new(const struct pfnbuf_tdi_header *header,
			  struct pfnbuf_tdi_report **reportp)
{
	struct pfnbuf_tdi_report *report = calloc(1, sizeof(*report));

	if (!report)
		return -ENOMEM;
	if (header)
		report->header = *header;
	report->has_info = true;
	*reportp = report;
	return 0;
}

struct pfnbuf_tdi_report *pfnbuf_tdi_report_free(struct pfnbuf_tdi_report *report)
{
	if (report) {
		free(report->ranges);
		free(report->info);
		free(report);
	}
	return NULL;
}

static void report_freep(struct pfnbuf_tdi_report **reportp)
{
	pfnbuf_tdi_report_free(*reportp);
}

static size_t trailer_offset(const struct pfnbuf_tdi_report *report)
{
	return TDI_HEADER_SIZE + (size_t)report->nr_ranges * TDI_RANGE_SIZE;
}

static int reserve(struct pfnbuf_tdi_report *report, uint32_t capacity)
{
	struct pfnbuf_tdi_range *ranges;

	if (capacity <= report->capacity)
		return 0;
	ranges = realloc(report->ranges, capacity * sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	report->ranges = ranges;
	report->capacity = capacity;
	return 0;
}

int pfnbuf_tdi_report_add_range(struct pfnbuf_tdi_report *report,
				const struct pfnbuf_tdi_range *range)
{
	int ret;

	if (trailer_offset(report) + TDI_RANGE_SIZE > UINT32_MAX)
		return -E2BIG;
	if (report->nr_ranges == report->capacity) {
		ret = reserve(report, report->capacity ? 2 * report->capacity : 8);
		if (ret)
			return ret;
	}
	report->ranges[report->nr_ranges++] = *range;
	return 0;
}

int pfnbuf_tdi_report_set_info(struct pfnbuf_tdi_report *report, const void *data, size_t len)
{
	uint8_t *info = NULL;

	if (data && len > UINT32_MAX)
		return -E2BIG;
	if (data && len > 0) {
		info = malloc(len);
		if (!info)
			return -ENOMEM;
		memcpy(info, data, len);
	}
	free(report->info);
	report->info = info;
	report->info_len = info ? (uint32_t)len : 0;
	report->has_info = data != NULL;
	return 0;
}

void pfnbuf_tdi_report_get_header(const struct pfnbuf_tdi_report *report,
				  struct pfnbuf_tdi_header *header)
{
	*header = report->header;
}

uint32_t pfnbuf_tdi_report_count_ranges(const struct pfnbuf_tdi_report *report)
{
	return report->nr_ranges;
}

int pfnbuf_tdi_report_get_range(const struct pfnbuf_tdi_report *report, uint32_t index,
				struct pfnbuf_tdi_range *range)
{
	if (index >= report->nr_ranges)
		return -ENOENT;
	*range = report->ranges[index];
	return 0;
}

const void *pfnbuf_tdi_report_get_info(const struct pfnbuf_tdi_report *report, size_t *lenp)
{
	*lenp = report->info_len;
	if (!report->has_info)
		return NULL;
	return report->info ? report->info : (const void *)"";
}

size_t pfnbuf_tdi_report_get_size(const struct pfnbuf_tdi_report *report)
{
	size_t size = trailer_offset(report);

	return report->has_info ? size + sizeof(uint32_t) + report->info_len : size;
}

int pfnbuf_tdi_report_encode(const struct pfnbuf_tdi_report *report, void *buf, size_t size,
			     size_t *lenp)
{
	size_t len = pfnbuf_tdi_report_get_size(report);
	uint8_t *at = buf;

	if (size < len)
		return -ENOSPC;

	put16(at + INTERFACE_INFO, report->header.interface_info);
	put16(at + RESERVED, report->header.reserved);
	put16(at + MSI_X_MESSAGE_CONTROL, report->header.msi_x_message_control);
	put16(at + LNR_CONTROL, report->header.lnr_control);
	put32(at + TPH_CONTROL, report->header.tph_control);
	put32(at + MMIO_RANGE_COUNT, report->nr_ranges);
	at += TDI_HEADER_SIZE;

	for (uint32_t i = 0; i < report->nr_ranges; i++, at += TDI_RANGE_SIZE) {
		put64(at + TDI_FIRST_PAGE, report->ranges[i].first_page);
		put32(at + TDI_NUMBER_OF_PAGES, report->ranges[i].number_of_pages);
		put16(at + TDI_RANGE_ATTRIBUTES, report->ranges[i].range_attributes);
		put16(at + TDI_RANGE_ID, report->ranges[i].range_id);
	}

	if (report->has_info) {
		put32(at, report->info_len);
		if (report->info)
			memcpy(at + sizeof(uint32_t), report->info, report->info_len);
	}
	*lenp = len;
	return 0;
}

static int parse_header(struct pfnbuf_tdi_header *header, const uint8_t *data, size_t len,
			bool strict, struct pfnbuf_tdi_error *err)
{
	if (len < TDI_HEADER_SIZE)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_TRUNCATED, tdi_at_byte(len),
				       "the report ends at byte %zu, inside its %u-byte header",
				       len, TDI_HEADER_SIZE);

	header->interface_info = get16(data + INTERFACE_INFO);
	header->reserved = get16(data + RESERVED);
	header->msi_x_message_control = get16(data + MSI_X_MESSAGE_CONTROL);
	header->lnr_control = get16(data + LNR_CONTROL);
	header->tph_control = get32(data + TPH_CONTROL);

	if (strict && header->interface_info & ~PFNBUF_TDI_INFO_MASK)
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_RESERVED_BITS, tdi_at_byte(INTERFACE_INFO),
			"INTERFACE_INFO 0x%04x at byte 0 has reserved bits set: 0x%04x",
			header->interface_info, header->interface_info & ~PFNBUF_TDI_INFO_MASK);
	if (strict && header->reserved)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_RESERVED_BITS, tdi_at_byte(RESERVED),
				       "the reserved field at byte 2 is 0x%04x, not 0",
				       header->reserved);
	return 0;
}

/* How many ranges follow, none of which may reach beyond len. */
static int parse_count(uint32_t *countp, const uint8_t *data, size_t len, uint32_t limit,
		       struct pfnbuf_tdi_error *err)
{
	uint32_t count = get32(data + MMIO_RANGE_COUNT);
	uint32_t bytes;

	if (__builtin_mul_overflow(count, TDI_RANGE_SIZE, &bytes) ||
	    __builtin_add_overflow(bytes, TDI_HEADER_SIZE, &bytes))
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_COUNT_OVERFLOW, tdi_at_byte(MMIO_RANGE_COUNT),
			"MMIO_RANGE_COUNT %" PRIu32 " at byte 12: so many ranges exceed 4 GiB",
			count);
	if (count > limit)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_COUNT_LIMIT, tdi_at_byte(MMIO_RANGE_COUNT),
				       "MMIO_RANGE_COUNT %" PRIu32
				       " at byte 12 exceeds the limit of %" PRIu32,
				       count, limit);
	if (count > (len - TDI_HEADER_SIZE) / TDI_RANGE_SIZE)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_TRUNCATED, tdi_at_byte(len),
				       "the report ends at byte %zu, inside range %zu of %" PRIu32,
				       len, (len - TDI_HEADER_SIZE) / TDI_RANGE_SIZE, count);
	*countp = count;
	return 0;
}

/* The order that Linux demands: ids ascend, and first pages within an id. */
static int check_order(const struct pfnbuf_tdi_range *range, uint32_t index,
		       struct pfnbuf_tdi_error *err)
{
	const struct pfnbuf_tdi_range *before = range - 1;
	struct tdi_site site = tdi_at_range(index, TDI_FIRST_PAGE);

	site.other = (int64_t)index - 1;
	if (range->range_id > before->range_id)
		return 0;
	if (range->range_id < before->range_id) {
		site.offset += TDI_RANGE_ID;
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_UNORDERED, site,
				       "range %" PRIu32 " at byte %" PRIu64
				       " has id %u after id %u",
				       index, site.offset, range->range_id, before->range_id);
	}
	if (range->first_page > before->first_page)
		return 0;
	if (range->first_page == before->first_page &&
	    range->number_of_pages == before->number_of_pages)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_DUPLICATE, site,
				       "range %" PRIu32 " at byte %" PRIu64
				       " repeats range %" PRIu32,
				       index, site.offset, index - 1);
	return pfnbuf_tdi_fail(err, PFNBUF_TDI_UNORDERED, site,
			       "range %" PRIu32 " at byte %" PRIu64 " starts at 0x%" PRIx64
			       ", not after range %" PRIu32 " of the same id at 0x%" PRIx64,
			       index, site.offset, range->first_page, index - 1,
			       before->first_page);
}

static int parse_range(struct pfnbuf_tdi_range *range, uint32_t index, const uint8_t *at,
		       bool strict, struct pfnbuf_tdi_error *err)
{
	range->first_page = get64(at + TDI_FIRST_PAGE);
	range->number_of_pages = get32(at + TDI_NUMBER_OF_PAGES);
	range->range_attributes = get16(at + TDI_RANGE_ATTRIBUTES);
	range->range_id = get16(at + TDI_RANGE_ID);

	if (range->number_of_pages == 0)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_ZERO_PAGES,
				       tdi_at_range(index, TDI_NUMBER_OF_PAGES),
				       "range %" PRIu32 " has no pages (byte %" PRIu64 ")", index,
				       tdi_at_range(index, TDI_NUMBER_OF_PAGES).offset);
	if (strict && range->range_attributes & ~PFNBUF_TDI_ATTR_MASK)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_RESERVED_BITS,
				       tdi_at_range(index, TDI_RANGE_ATTRIBUTES),
				       "RANGE_ATTRIBUTES 0x%04x of range %" PRIu32 " (byte %" PRIu64
				       ") has reserved bits set: 0x%04x",
				       range->range_attributes, index,
				       tdi_at_range(index, TDI_RANGE_ATTRIBUTES).offset,
				       range->range_attributes & ~PFNBUF_TDI_ATTR_MASK);
	return strict && index > 0 ? check_order(range, index, err) : 0;
}

static int parse_ranges(struct pfnbuf_tdi_report *report, uint32_t count, const uint8_t *at,
			bool strict, struct pfnbuf_tdi_error *err)
{
	int ret;

	if (reserve(report, count))
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_NO_MEMORY, tdi_nowhere(),
				       "no memory for %" PRIu32 " ranges", count);
	for (uint32_t i = 0; i < count; i++, at += TDI_RANGE_SIZE) {
		ret = parse_range(&report->ranges[i], i, at, strict, err);
		if (ret)
			return ret;
	}
	report->nr_ranges = count;
	return 0;
}

static int parse_info(struct pfnbuf_tdi_report *report, const uint8_t *data, size_t len,
		      bool strict, struct pfnbuf_tdi_error *err)
{
	size_t at = trailer_offset(report);
	uint32_t info_len;

	if (at == len && !strict) {
		report->has_info = false;
		return 0;
	}
	if (at == len)
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_NO_TRAILER, tdi_at_byte(at),
			"the report ends at byte %zu without DEVICE_SPECIFIC_INFO_LEN", at);
	if (len - at < sizeof(info_len))
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_TRUNCATED, tdi_at_byte(len),
			"the report ends at byte %zu, inside DEVICE_SPECIFIC_INFO_LEN", len);

	info_len = get32(data + at);
	at += sizeof(info_len);
	if (info_len > len - at)
		return pfnbuf_tdi_fail(
			err, PFNBUF_TDI_TRUNCATED, tdi_at_byte(len),
			"the report ends at byte %zu, %zu bytes short of its %" PRIu32
			" bytes of DEVICE_SPECIFIC_INFO",
			len, info_len - (len - at), info_len);
	if (strict && info_len < len - at)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_TRAILING, tdi_at_byte(at + info_len),
				       "%zu bytes follow the end of the report at byte %zu",
				       len - at - info_len, at + info_len);
	if (pfnbuf_tdi_report_set_info(report, data + at, info_len))
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_NO_MEMORY, tdi_nowhere(),
				       "no memory for %" PRIu32 " bytes of DEVICE_SPECIFIC_INFO",
				       info_len);
	return 0;
}

int pfnbuf_tdi_report_parse(const void *data, size_t len, const struct pfnbuf_tdi_parse_opts *opts,
			    struct pfnbuf_tdi_report **reportp, struct pfnbuf_tdi_error *err)
{
	__attribute__((cleanup(report_freep))) struct pfnbuf_tdi_report *report = NULL;
	uint32_t limit = opts && opts->max_ranges ? opts->max_ranges : DEFAULT_MAX_RANGES;
	bool strict = opts && opts->flags & PFNBUF_TDI_STRICT;
	struct pfnbuf_tdi_header header;
	uint32_t count = 0;
	int ret;

	if (opts && opts->size < sizeof(*opts))
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_ARGUMENT, tdi_nowhere(),
				       "the options' size %zu is too small", opts->size);
	if (opts && opts->flags & ~(uint32_t)PFNBUF_TDI_STRICT)
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_BAD_ARGUMENT, tdi_nowhere(),
				       "unknown parse flags 0x%" PRIx32,
				       opts->flags & ~(uint32_t)PFNBUF_TDI_STRICT);
	ret = parse_header(&header, data, len, strict, err);
	if (ret)
		return ret;
	ret = parse_count(&count, data, len, limit, err);
	if (ret)
		return ret;
	if (pfnbuf_tdi_report_new(&header, &report))
		return pfnbuf_tdi_fail(err, PFNBUF_TDI_NO_MEMORY, tdi_nowhere(),
				       "no memory for the report");
	ret = parse_ranges(report, count, (const uint8_t *)data + TDI_HEADER_SIZE, strict, err);
	if (ret)
		return ret;
	ret = parse_info(report, data, len, strict, err);
	if (ret)
		return ret;

	*reportp = report;
	report = NULL;
	return 0;
}

/* Words for the bits that are set, and for those that have none. */
static void print_bits(struct tdi_text *out, unsigned value, const char *const *names, unsigned n)
{
	const char *separator = "";

	for (unsigned i = 0; i < 16; i++) {
		if (!(value & 1u << i))
			continue;
		if (i < n)
			pfnbuf_tdi_print(out, "%s%s", separator, names[i]);
		else
			pfnbuf_tdi_print(out, "%sreserved bit %u", separator, i);
		separator = ", ";
	}
}

static void print_info_words(struct tdi_text *out, uint16_t info)
{
	static const char *const names[] = {
		"NO_FW_UPDATE", "DMA without PASID", "DMA with PASID", "ATS", "PRS",
	};

	pfnbuf_tdi_print(out, "interface info         0x%04x  ", info);
	print_bits(out, info, names, sizeof(names) / sizeof(names[0]));
	pfnbuf_tdi_print(out, "%s\n", info ? "" : "none");
}

static void print_attributes(struct tdi_text *out, uint16_t attributes)
{
	static const char *const names[] = { "MSI-X table", "MSI-X PBA", "non-TEE", "updatable" };

	if (!(attributes & PFNBUF_TDI_ATTR_NON_TEE))
		pfnbuf_tdi_print(out, "TEE%s", attributes ? ", " : "");
	print_bits(out, attributes, names, sizeof(names) / sizeof(names[0]));
	pfnbuf_tdi_print(out, "\n");
}

static void print_msix_words(struct tdi_text *out, uint16_t control)
{
	pfnbuf_tdi_print(out, "MSI-X message control  0x%04x  ", control);
	if (control == 0)
		pfnbuf_tdi_print(out, "no MSI-X, or its table is not locked\n");
	else
		pfnbuf_tdi_print(out, "%u vectors, %s%s\n", (control & 0x7ffu) + 1,
				 control & 0x8000u ? "enabled" : "disabled",
				 control & 0x4000u ? ", masked" : "");
}

/* Whether the bytes can be a JSON string that other readers take back as they are. */
static bool is_ascii(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] == 0 || bytes[i] > 0x7f)
			return false;
	return true;
}

static void print_json_string(struct tdi_text *out, const uint8_t *bytes, size_t len)
{
	pfnbuf_tdi_print(out, "\"");
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '"' || bytes[i] == '\\')
			pfnbuf_tdi_print(out, "\\%c", bytes[i]);
		else if (bytes[i] < 0x20 || bytes[i] == 0x7f)
			pfnbuf_tdi_print(out, "\\u%04x", bytes[i]);
		else
			pfnbuf_tdi_print(out, "%c", bytes[i]);
	}
	pfnbuf_tdi_print(out, "\"");
}

static void print_hex(struct tdi_text *out, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		pfnbuf_tdi_print(out, "%02x", bytes[i]);
}

static void print_trailer_words(struct tdi_text *out, const struct pfnbuf_tdi_report *report)
{
	pfnbuf_tdi_print(out, "device-specific info   ");
	if (!report->has_info) {
		pfnbuf_tdi_print(out, "no trailer\n");
		return;
	}
	pfnbuf_tdi_print(out, "%" PRIu32 " bytes", report->info_len);
	if (report->info_len > 0) {
		pfnbuf_tdi_print(out, "  ");
		if (is_ascii(report->info, report->info_len))
			print_json_string(out, report->info, report->info_len);
		else
			print_hex(out, report->info, report->info_len);
	}
	pfnbuf_tdi_print(out, "\n");
}

static void print_words(struct tdi_text *out, const struct pfnbuf_tdi_report *report)
{
	print_info_words(out, report->header.interface_info);
	if (report->header.reserved)
		pfnbuf_tdi_print(out, "reserved               0x%04x\n", report->header.reserved);
	print_msix_words(out, report->header.msi_x_message_control);
	pfnbuf_tdi_print(out, "LNR control            0x%04x  deprecated\n",
			 report->header.lnr_control);
	pfnbuf_tdi_print(out, "TPH control            0x%08" PRIx32 "\n",
			 report->header.tph_control);
	pfnbuf_tdi_print(out, "MMIO ranges            %" PRIu32 "\n", report->nr_ranges);
	if (report->nr_ranges > 0)
		pfnbuf_tdi_print(out,
				 "  range     id          first page       pages  attributes\n");
	for (uint32_t i = 0; i < report->nr_ranges; i++) {
		const struct pfnbuf_tdi_range *range = &report->ranges[i];

		pfnbuf_tdi_print(out, "  %5" PRIu32 "  %5u  0x%016" PRIx64 "  %10" PRIu32 "  ", i,
				 range->range_id, range->first_page, range->number_of_pages);
		print_attributes(out, range->range_attributes);
	}
	print_trailer_words(out, report);
}

static void print_json(struct tdi_text *out, const struct pfnbuf_tdi_report *report)
{
	pfnbuf_tdi_print(out, "{\n    \"interface_info\": %u,\n", report->header.interface_info);
	if (report->header.reserved)
		pfnbuf_tdi_print(out, "    \"reserved\": %u,\n", report->header.reserved);
	pfnbuf_tdi_print(out, "    \"msi_x_message_control\": %u,\n",
			 report->header.msi_x_message_control);
	pfnbuf_tdi_print(out, "    \"lnr_control\": %u,\n", report->header.lnr_control);
	pfnbuf_tdi_print(out, "    \"tph_control\": %" PRIu32 ",\n", report->header.tph_control);
	pfnbuf_tdi_print(out, "    \"mmio_ranges\": [");
	for (uint32_t i = 0; i < report->nr_ranges; i++) {
		const struct pfnbuf_tdi_range *range = &report->ranges[i];

		pfnbuf_tdi_print(out,
				 "%s\n        { \"first_page\": \"0x%" PRIx64
				 "\", \"number_of_pages\": %" PRIu32
				 ", \"range_attributes\": %u, \"range_id\": %u }",
				 i > 0 ? "," : "", range->first_page, range->number_of_pages,
				 range->range_attributes, range->range_id);
	}
	pfnbuf_tdi_print(out, "%s],\n", report->nr_ranges > 0 ? "\n    " : "");
	if (!report->has_info) {
		pfnbuf_tdi_print(out, "    \"device_specific_info\": null");
	} else if (is_ascii(report->info, report->info_len)) {
		pfnbuf_tdi_print(out, "    \"device_specific_info\": ");
		print_json_string(out, report->info, report->info_len);
	} else {
		pfnbuf_tdi_print(out, "    \"device_specific_info_hex\": \"");
		print_hex(out, report->info, report->info_len);
		pfnbuf_tdi_print(out, "\"");
	}
	pfnbuf_tdi_print(out, "\n}\n");
}

size_t pfnbuf_tdi_report_print(const struct pfnbuf_tdi_report *report, char *buf, size_t size)
{
	struct tdi_text out = { buf, size, 0 };

	print_words(&out, report);
	return out.len;
}

size_t pfnbuf_tdi_report_print_json(const struct pfnbuf_tdi_report *report, char *buf, size_t size)
{
	struct tdi_text out = { buf, size, 0 };

	print_json(&out, report);
	return out.len;
}
