/* SPDX-License-Identifier: MIT */

/* The report itself: bytes to fields and back, words and JSON. */

#include <errno.h>

#include "tdi_build.h"

static const struct pfnbuf_tdi_parse_opts strict = {
	.size = sizeof(strict),
	.flags = PFNBUF_TDI_STRICT,
};

/* Three reports that other projects publish, with the fields they publish for them. */

static const uint8_t spdm_emu[] = {
	0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
	0x04, 0x00, 0x01, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
	0x00, 0x00, 0x08, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x08, 0x00, 0x00, 0x00, 0x08, 0x00, 0x03, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x08, 0x00, 0x04, 0x00, 0x0d, 0x00, 0x00, 0x00,
	0x74, 0x64, 0x69, 0x73, 0x70, 0x5f, 0x64, 0x65, 0x76, 0x5f, 0x65, 0x6d, 0x75,
};

static const uint8_t openvmm[] = {
	0x02, 0x00, 0x00, 0x00, 0x01, 0x80, 0x34, 0x12, 0x23, 0x01, 0xcd, 0xab,
	0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf0, 0x00, 0x00, 0x00, 0x00,
	0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0xf0,
	0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x05, 0x00, 0x04, 0x00,
};

static const uint8_t spdm_rs[] = {
	0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x34, 0x12, 0x00, 0x00, 0x00, 0x00, 0x20, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06,
};

static const struct vector {
	const uint8_t *bytes;
	size_t len;
	struct pfnbuf_tdi_header header;
	uint32_t n;
	struct pfnbuf_tdi_range ranges[4];
	const char *info; /* NULL: no trailer */
	size_t info_len;
} vectors[] = {
	{
		/* spdm-emu */
		.bytes = spdm_emu,
		.len = sizeof(spdm_emu),
		.header = { .interface_info = PFNBUF_TDI_INFO_NO_FW_UPDATE |
					      PFNBUF_TDI_INFO_DMA_WITHOUT_PASID },
		.n = 4,
		.ranges = { { 0, 1, NON_TEE, 1 },
			    { 32768, 4, UPD, 2 },
			    { 0x10000, 8, UPD, 3 },
			    { 0x20000, 8, UPD, 4 } },
		.info = "tdisp_dev_emu",
		.info_len = 13,
	},
	{
		/* OpenVMM */
		.bytes = openvmm,
		.len = sizeof(openvmm),
		.header = { .interface_info = PFNBUF_TDI_INFO_DMA_WITHOUT_PASID,
			    .msi_x_message_control = 0x8001,
			    .lnr_control = 0x1234,
			    .tph_control = 0xabcd0123 },
		.n = 2,
		.ranges = { { 0xf0000000, 16, 0, 0 }, { 0xf0010000, 1, TABLE | NON_TEE, 4 } },
	},
	{
		/* spdm-rs */
		.bytes = spdm_rs,
		.len = sizeof(spdm_rs),
		.header = { .interface_info = PFNBUF_TDI_INFO_NO_FW_UPDATE },
		.n = 1,
		.ranges = { { 0x12340000, 32, 0, 0 } },
		.info = "\6\6\6\6\6\6",
		.info_len = 6,
	},
};

#define N_VECTORS (sizeof(vectors) / sizeof(vectors[0]))

static void assert_report(const struct pfnbuf_tdi_report *report, const struct vector *vector)
{
	struct pfnbuf_tdi_header header;
	struct pfnbuf_tdi_range range;
	const void *info;
	size_t info_len;

	pfnbuf_tdi_report_get_header(report, &header);
	assert_memory_equal(&header, &vector->header, sizeof(header));
	assert_int_equal(pfnbuf_tdi_report_count_ranges(report), vector->n);
	for (uint32_t i = 0; i < vector->n; i++) {
		assert_int_equal(pfnbuf_tdi_report_get_range(report, i, &range), 0);
		assert_memory_equal(&range, &vector->ranges[i], sizeof(range));
	}
	assert_int_equal(pfnbuf_tdi_report_get_range(report, vector->n, &range), -ENOENT);

	info = pfnbuf_tdi_report_get_info(report, &info_len);
	assert_int_equal(info_len, vector->info_len);
	assert_true(!info == !vector->info);
	if (info)
		assert_memory_equal(info, vector->info, info_len);
}

static void test_vectors_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_VECTORS; i++) {
		struct pfnbuf_tdi_report *report;

		assert_int_equal(pfnbuf_tdi_report_parse(vectors[i].bytes, vectors[i].len, NULL,
							 &report, NULL),
				 0);
		assert_report(report, &vectors[i]);
		pfnbuf_tdi_report_free(report);
	}
}

static void test_vectors_encode(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_VECTORS; i++) {
		struct pfnbuf_tdi_report *report;
		uint8_t *bytes;
		size_t len;

		assert_int_equal(pfnbuf_tdi_report_new(&vectors[i].header, &report), 0);
		for (uint32_t r = 0; r < vectors[i].n; r++)
			pfnbuf_tdi_report_add_range(report, &vectors[i].ranges[r]);
		pfnbuf_tdi_report_set_info(report, vectors[i].info, vectors[i].info_len);

		bytes = encode(report, &len);
		assert_int_equal(len, vectors[i].len);
		assert_memory_equal(bytes, vectors[i].bytes, len);
		free(bytes);
		pfnbuf_tdi_report_free(report);
	}
}

/* Strict takes what keeps to the standard; OpenVMM's has no trailer. */
static void test_vectors_strict(void **state)
{
	struct pfnbuf_tdi_error err;
	struct pfnbuf_tdi_report *report;

	(void)state;
	for (size_t i = 0; i < N_VECTORS; i++) {
		int ret = pfnbuf_tdi_report_parse(vectors[i].bytes, vectors[i].len, &strict,
						  &report, &err);

		if (vectors[i].info) {
			assert_int_equal(ret, 0);
			pfnbuf_tdi_report_free(report);
		} else {
			assert_int_equal(ret, -EBADMSG);
			assert_int_equal(err.reason, PFNBUF_TDI_NO_TRAILER);
			assert_int_equal(err.offset, vectors[i].len);
		}
	}
}

static void test_strict_takes_order(void **state)
{
	static const struct pfnbuf_tdi_range ranges[] = {
		{ 9, 1, 0, 0 },
		{ 10, 4, NON_TEE, 0 },
		{ 20, 1, TABLE | PBA, 0 },
		{ 1, 1, UPD, 4 },
	};
	struct pfnbuf_tdi_report *report = build(ranges, 4), *parsed;
	size_t len;
	uint8_t *bytes = encode(report, &len);

	(void)state;
	assert_int_equal(pfnbuf_tdi_report_parse(bytes, len, &strict, &parsed, NULL), 0);
	assert_int_equal(pfnbuf_tdi_report_count_ranges(parsed), 4);
	free(bytes);
	pfnbuf_tdi_report_free(parsed);
	pfnbuf_tdi_report_free(report);
}

static void test_any_alignment(void **state)
{
	uint8_t buffer[sizeof(spdm_emu) + 16];

	(void)state;
	for (size_t shift = 0; shift < 16; shift++) {
		struct pfnbuf_tdi_report *report;
		size_t len;

		memcpy(buffer + shift, spdm_emu, sizeof(spdm_emu));
		assert_int_equal(pfnbuf_tdi_report_parse(buffer + shift, sizeof(spdm_emu), NULL,
							 &report, NULL),
				 0);
		assert_report(report, &vectors[0]);
		memset(buffer, 0xee, sizeof(buffer));
		assert_int_equal(
			pfnbuf_tdi_report_encode(report, buffer + shift, sizeof(spdm_emu), &len),
			0);
		assert_memory_equal(buffer + shift, spdm_emu, len);
		pfnbuf_tdi_report_free(report);
	}
}

/* Every prefix of a report is refused, and says where it ends, but the one without trailer. */
static void test_every_prefix(void **state)
{
	const size_t no_trailer = 16 + 4 * 16;

	(void)state;
	for (size_t len = 0; len < sizeof(spdm_emu); len++) {
		struct pfnbuf_tdi_report *report = NULL;
		struct pfnbuf_tdi_error err;
		/* Exactly as long as it claims, so that a sanitizer sees a byte read beyond. */
		uint8_t *prefix = malloc(len ? len : 1);
		int ret;

		memcpy(prefix, spdm_emu, len);
		ret = pfnbuf_tdi_report_parse(prefix, len, NULL, &report, &err);
		free(prefix);
		if (len == no_trailer) {
			assert_int_equal(ret, 0);
			pfnbuf_tdi_report_free(report);
			continue;
		}
		assert_int_equal(ret, -EBADMSG);
		assert_int_equal(err.reason, PFNBUF_TDI_TRUNCATED);
		assert_int_equal(err.offset, len);
		assert_null(report);
	}
}

static void test_encode_needs_room(void **state)
{
	struct pfnbuf_tdi_report *report;
	uint8_t buffer[sizeof(spdm_rs)];
	size_t len = 7;

	(void)state;
	memset(buffer, 0xee, sizeof(buffer));
	assert_int_equal(pfnbuf_tdi_report_parse(spdm_rs, sizeof(spdm_rs), NULL, &report, NULL), 0);
	assert_int_equal(pfnbuf_tdi_report_encode(report, buffer, sizeof(buffer) - 1, &len),
			 -ENOSPC);
	assert_int_equal(len, 7);
	for (size_t i = 0; i < sizeof(buffer); i++)
		assert_int_equal(buffer[i], 0xee);
	pfnbuf_tdi_report_free(report);
}

/* A length field of 32 bits cannot say more; the report stays as it was. */
static void test_info_too_long(void **state)
{
	struct pfnbuf_tdi_report *report = build(NULL, 0);
	size_t len;

	(void)state;
	assert_int_equal(pfnbuf_tdi_report_set_info(report, "abc", 3), 0);
	assert_int_equal(pfnbuf_tdi_report_set_info(report, "abc", (size_t)UINT32_MAX + 1), -E2BIG);
	assert_memory_equal(pfnbuf_tdi_report_get_info(report, &len), "abc", 3);
	assert_int_equal(len, 3);
	pfnbuf_tdi_report_free(report);
}

static void random_report(uint64_t *seed, struct pfnbuf_tdi_report **reportp)
{
	uint64_t r = next_random(seed);
	struct pfnbuf_tdi_header header = {
		.interface_info = (uint16_t)r,
		.reserved = (uint16_t)(r >> 16),
		.msi_x_message_control = (uint16_t)(r >> 32),
		.lnr_control = (uint16_t)(r >> 48),
		.tph_control = (uint32_t)next_random(seed),
	};
	uint8_t info[64];
	uint32_t n = (uint32_t)(next_random(seed) % 40);

	assert_int_equal(pfnbuf_tdi_report_new(&header, reportp), 0);
	for (uint32_t i = 0; i < n; i++) {
		struct pfnbuf_tdi_range range = {
			.first_page = next_random(seed),
			.number_of_pages = (uint32_t)next_random(seed) | 1,
			.range_attributes = (uint16_t)next_random(seed),
			.range_id = (uint16_t)next_random(seed),
		};

		assert_int_equal(pfnbuf_tdi_report_add_range(*reportp, &range), 0);
	}
	for (size_t i = 0; i < sizeof(info); i++)
		info[i] = (uint8_t)next_random(seed);
	r = next_random(seed);
	if (r % 4 == 0)
		assert_int_equal(pfnbuf_tdi_report_set_info(*reportp, NULL, 0), 0);
	else
		assert_int_equal(pfnbuf_tdi_report_set_info(*reportp, info, r % sizeof(info)), 0);
}

static void assert_same(const struct pfnbuf_tdi_report *a, const struct pfnbuf_tdi_report *b)
{
	struct vector fields = { .n = pfnbuf_tdi_report_count_ranges(a) };
	struct pfnbuf_tdi_header header;
	struct pfnbuf_tdi_range left, right;
	size_t len;

	pfnbuf_tdi_report_get_header(a, &fields.header);
	pfnbuf_tdi_report_get_header(b, &header);
	assert_memory_equal(&fields.header, &header, sizeof(header));
	assert_int_equal(pfnbuf_tdi_report_count_ranges(b), fields.n);
	for (uint32_t i = 0; i < fields.n; i++) {
		pfnbuf_tdi_report_get_range(a, i, &left);
		pfnbuf_tdi_report_get_range(b, i, &right);
		assert_memory_equal(&left, &right, sizeof(left));
	}
	fields.info = pfnbuf_tdi_report_get_info(a, &fields.info_len);
	assert_true(!pfnbuf_tdi_report_get_info(b, &len) == !fields.info);
	assert_int_equal(len, fields.info_len);
	if (fields.info)
		assert_memory_equal(pfnbuf_tdi_report_get_info(b, &len), fields.info, len);
}

static void test_round_trip(void **state)
{
	uint64_t seed = 4;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct pfnbuf_tdi_report *made, *parsed;
		uint8_t *bytes, *again;
		size_t len, again_len;

		random_report(&seed, &made);
		bytes = encode(made, &len);
		assert_int_equal(pfnbuf_tdi_report_parse(bytes, len, NULL, &parsed, NULL), 0);
		assert_same(made, parsed);
		again = encode(parsed, &again_len);
		assert_int_equal(again_len, len);
		assert_memory_equal(again, bytes, len);
		free(bytes);
		free(again);
		pfnbuf_tdi_report_free(made);
		pfnbuf_tdi_report_free(parsed);
	}
}

static void test_words(void **state)
{
	static const char expected[] =
		"interface info         0x0002  DMA without PASID\n"
		"MSI-X message control  0x8001  2 vectors, enabled\n"
		"LNR control            0x1234  deprecated\n"
		"TPH control            0xabcd0123\n"
		"MMIO ranges            2\n"
		"  range     id          first page       pages  attributes\n"
		"      0      0  0x00000000f0000000          16  TEE\n"
		"      1      4  0x00000000f0010000           1  MSI-X table, non-TEE\n"
		"device-specific info   no trailer\n";
	struct pfnbuf_tdi_report *report;
	char *text;

	(void)state;
	assert_int_equal(pfnbuf_tdi_report_parse(openvmm, sizeof(openvmm), NULL, &report, NULL), 0);
	text = PRINT(pfnbuf_tdi_report_print, report);
	assert_string_equal(text, expected);
	free(text);

	assert_int_equal(pfnbuf_tdi_report_set_info(report, "v1\n", 3), 0);
	text = PRINT(pfnbuf_tdi_report_print, report);
	assert_non_null(strstr(text, "device-specific info   3 bytes  \"v1\\u000a\"\n"));
	free(text);
	pfnbuf_tdi_report_free(report);
}

static void test_words_name_what_is_reserved(void **state)
{
	const struct pfnbuf_tdi_header header = { .interface_info = 0x8001, .reserved = 0xbad };
	const struct pfnbuf_tdi_range range = { 0, 1, 0x4003, 0 };
	struct pfnbuf_tdi_report *report;
	char *text;

	(void)state;
	assert_int_equal(pfnbuf_tdi_report_new(&header, &report), 0);
	assert_int_equal(pfnbuf_tdi_report_add_range(report, &range), 0);
	assert_int_equal(pfnbuf_tdi_report_set_info(report, "\0\377", 2), 0);
	text = PRINT(pfnbuf_tdi_report_print, report);
	assert_non_null(strstr(text, "NO_FW_UPDATE, reserved bit 15\n"));
	assert_non_null(strstr(text, "reserved               0x0bad\n"));
	assert_non_null(strstr(text, "TEE, MSI-X table, MSI-X PBA, reserved bit 14\n"));
	assert_non_null(strstr(text, "2 bytes  00ff\n"));
	free(text);
	pfnbuf_tdi_report_free(report);
}

/* The fields, names and values of the example that spdm-emu reads. */
static void test_json(void **state)
{
	static const char expected[] =
		"{\n"
		"    \"interface_info\": 3,\n"
		"    \"msi_x_message_control\": 0,\n"
		"    \"lnr_control\": 0,\n"
		"    \"tph_control\": 0,\n"
		"    \"mmio_ranges\": [\n"
		"        { \"first_page\": \"0x0\", \"number_of_pages\": 1, \"range_attributes\": 4, "
		"\"range_id\": 1 },\n"
		"        { \"first_page\": \"0x8000\", \"number_of_pages\": 4, \"range_attributes\": 8, "
		"\"range_id\": 2 },\n"
		"        { \"first_page\": \"0x10000\", \"number_of_pages\": 8, \"range_attributes\": 8, "
		"\"range_id\": 3 },\n"
		"        { \"first_page\": \"0x20000\", \"number_of_pages\": 8, \"range_attributes\": 8, "
		"\"range_id\": 4 }\n"
		"    ],\n"
		"    \"device_specific_info\": \"tdisp_dev_emu\"\n"
		"}\n";
	struct pfnbuf_tdi_report *report;
	char *json;

	(void)state;
	assert_int_equal(pfnbuf_tdi_report_parse(spdm_emu, sizeof(spdm_emu), NULL, &report, NULL),
			 0);
	json = PRINT(pfnbuf_tdi_report_print_json, report);
	assert_string_equal(json, expected);
	free(json);
	pfnbuf_tdi_report_free(report);
}

static void test_json_of_what_spdm_emu_cannot_say(void **state)
{
	static const struct {
		const char *info;
		size_t len;
		const char *json;
	} cases[] = {
		{ NULL, 0, "\"device_specific_info\": null\n" },
		{ "", 0, "\"device_specific_info\": \"\"\n" },
		{ "a\"b\\c\n\177", 7, "\"device_specific_info\": \"a\\\"b\\\\c\\u000a\\u007f\"\n" },
		{ "a\0b", 3, "\"device_specific_info_hex\": \"610062\"\n" },
		{ "\303\244", 2, "\"device_specific_info_hex\": \"c3a4\"\n" },
	};
	const struct pfnbuf_tdi_header header = { .reserved = 9 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pfnbuf_tdi_report *report;
		char *json;

		assert_int_equal(pfnbuf_tdi_report_new(&header, &report), 0);
		assert_int_equal(pfnbuf_tdi_report_set_info(report, cases[i].info, cases[i].len),
				 0);
		json = PRINT(pfnbuf_tdi_report_print_json, report);
		assert_non_null(strstr(json, cases[i].json));
		assert_non_null(strstr(json, "\"reserved\": 9,"));
		assert_non_null(strstr(json, "\"mmio_ranges\": [],"));
		free(json);
		pfnbuf_tdi_report_free(report);
	}
}

/* A printer writes what fits and ends it. */
static void test_print_into_little_room(void **state)
{
	struct pfnbuf_tdi_report *report;
	char buf[32];

	(void)state;
	assert_int_equal(pfnbuf_tdi_report_parse(openvmm, sizeof(openvmm), NULL, &report, NULL), 0);
	for (size_t size = 1; size <= sizeof(buf); size++) {
		memset(buf, 'x', sizeof(buf));
		assert_true(pfnbuf_tdi_report_print(report, buf, size) > sizeof(buf));
		assert_int_equal(strlen(buf), size - 1);
		for (size_t i = size; i < sizeof(buf); i++)
			assert_int_equal(buf[i], 'x');
	}
	pfnbuf_tdi_report_free(report);
}

static void test_names(void **state)
{
	(void)state;
	for (int reason = 0; reason < PFNBUF_TDI_N_REASONS; reason++)
		assert_non_null(pfnbuf_tdi_reason_name((enum pfnbuf_tdi_reason)reason));
	assert_null(pfnbuf_tdi_reason_name(PFNBUF_TDI_N_REASONS));
	assert_null(pfnbuf_tdi_reason_name((enum pfnbuf_tdi_reason) - 1));
	assert_string_equal(pfnbuf_tdi_state_name(PFNBUF_TDI_RUN), "RUN");
	assert_null(pfnbuf_tdi_state_name((enum pfnbuf_tdi_state)4));
	assert_string_equal(pfnbuf_tdi_rule_name(PFNBUF_TDI_RULE_NOT_REPORTED), "not-reported");
	assert_string_equal(pfnbuf_tdi_rule_name(PFNBUF_TDI_RULE_MIXED_PAGE), "mixed-page");
	assert_null(pfnbuf_tdi_rule_name((enum pfnbuf_tdi_rule)6));
}

static void test_free_takes_null(void **state)
{
	(void)state;
	assert_null(pfnbuf_tdi_report_free(NULL));
	assert_null(pfnbuf_tdi_layouts_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors_parse),
		cmocka_unit_test(test_vectors_encode),
		cmocka_unit_test(test_vectors_strict),
		cmocka_unit_test(test_strict_takes_order),
		cmocka_unit_test(test_any_alignment),
		cmocka_unit_test(test_every_prefix),
		cmocka_unit_test(test_encode_needs_room),
		cmocka_unit_test(test_info_too_long),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_words_name_what_is_reserved),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_json_of_what_spdm_emu_cannot_say),
		cmocka_unit_test(test_print_into_little_room),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_free_takes_null),
	};

	return cmocka_run_group_tests_name("tdi", tests, NULL, NULL);
}
