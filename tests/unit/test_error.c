/* SPDX-License-Identifier: MIT */
/* The last-error record, and the names of errnos. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "libpfnbuf/private.h"
#include "mock.h"

static void *no_error_yet(void *ok)
{
	const struct pfnbuf_error *e = pfnbuf_last_error_record();

	*(bool *)ok = !e->code && !e->has_range && !strcmp(pfnbuf_last_error(), "no error") &&
		      !*e->call && !*e->object && !*e->hint;
	return NULL;
}

static void starts_empty(void **state)
{
	pthread_t thread;
	bool ok = false;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, no_error_yet, &ok), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(ok);
}

static void knows_cause_and_hint(void **state)
{
	const struct pfnbuf_range range = { 0x10000, 0x2000 };
	const struct pfnbuf_error *e;

	(void)state;
	assert_int_equal(pfnbuf_failed(-ENODEV, "IOMMU_IOAS_MAP_FILE", "ioas 3", &range), -ENODEV);
	e = pfnbuf_last_error_record();
	assert_int_equal(e->code, -ENODEV);
	assert_string_equal(e->call, "IOMMU_IOAS_MAP_FILE");
	assert_string_equal(e->object, "ioas 3");
	assert_true(e->has_range);
	assert_int_equal(e->range.offset, 0x10000);
	assert_int_equal(e->range.length, 0x2000);
	assert_non_null(strstr(e->cause, "revoked"));
	assert_non_null(strstr(e->hint, "memory decode"));
	assert_string_equal(
		pfnbuf_last_error(),
		"IOMMU_IOAS_MAP_FILE on ioas 3 at 0x10000+0x2000: ENODEV: the dma-buf is "
		"revoked: its device's memory is off, or the device is closed; turn "
		"memory decode on (or finish the reset) before mapping; the buffer of a "
		"closed device is gone");
}

static void without_range_or_hint(void **state)
{
	(void)state;
	assert_int_equal(pfnbuf_failed(-ENFILE, "open /dev/iommu", "/dev/iommu", NULL), -ENFILE);
	assert_false(pfnbuf_last_error_record()->has_range);
	assert_string_equal(pfnbuf_last_error(),
			    "open /dev/iommu on /dev/iommu: ENFILE: the system has no file left");
}

static void unknown_call_and_errno(void **state)
{
	(void)state;
	assert_int_equal(pfnbuf_failed(-ELOOP, "nothing", "nobody", NULL), -ELOOP);
	assert_string_equal(pfnbuf_last_error(), "nothing on nobody: ELOOP: the kernel refused");
}

/* The record outlives the strings that it was made of. */
static void keeps_copies(void **state)
{
	char call[8] = "call", object[8] = "object", hint[8] = "hint", part[8] = "part";

	(void)state;
	pfnbuf_refused(-EBUSY, call, object, NULL, hint, "a %s of %d", part, 7);
	memset(call, 'x', 7);
	memset(object, 'x', 7);
	memset(hint, 'x', 7);
	memset(part, 'x', 7);
	assert_string_equal(pfnbuf_last_error(), "call on object: EBUSY: a part of 7; hint");
}

static void cuts_what_is_too_long(void **state)
{
	char text[2048];
	const char *line;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	pfnbuf_refused(-EINVAL, text, text, &(struct pfnbuf_range){ UINT64_MAX, UINT64_MAX }, text,
		       "%s", text);
	line = pfnbuf_last_error();
	assert_non_null(strstr(line, "EINVAL"));
	assert_non_null(strstr(line, "0xffffffffffffffff+0xffffffffffffffff"));
}

static void *fail_elsewhere(void *line)
{
	pfnbuf_failed(-EMFILE, "eventfd", "context", NULL);
	snprintf(line, 128, "%s", pfnbuf_last_error());
	return NULL;
}

static void each_thread_has_its_own(void **state)
{
	char other[128] = "";
	pthread_t thread;

	(void)state;
	pfnbuf_refused(-EPERM, "mine", "here", NULL, "", "why");
	assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, other), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_string_equal(other, "eventfd on context: EMFILE: this process has no fd left; raise "
				   "RLIMIT_NOFILE");
	assert_string_equal(pfnbuf_last_error(), "mine on here: EPERM: why");
}

static void leaves_errno_alone(void **state)
{
	(void)state;
	errno = 4242;
	pfnbuf_failed(-EINVAL, "IOMMU_IOAS_MAP", "ioas 1", &(struct pfnbuf_range){ 1, 2 });
	pfnbuf_last_error();
	pfnbuf_errno_name(-9999);
	assert_int_equal(errno, 4242);
}

static void errno_names(void **state)
{
	(void)state;
	assert_string_equal(pfnbuf_errno_name(-ENODEV), "ENODEV");
	assert_string_equal(pfnbuf_errno_name(ENODEV), "ENODEV");
	assert_string_equal(pfnbuf_errno_name(-4095), "E4095");
	assert_string_equal(pfnbuf_errno_name(0), "E0");
	assert_string_equal(pfnbuf_errno_name(-2147483647 - 1), "E2147483648");
	assert_int_equal(pfnbuf_errno_from_name("ENODEV"), ENODEV);
	assert_int_equal(pfnbuf_errno_from_name("EADDRINUSE"), EADDRINUSE);
	assert_int_equal(pfnbuf_errno_from_name("enodev"), -ENOENT);
	assert_int_equal(pfnbuf_errno_from_name(""), -ENOENT);
	assert_int_equal(pfnbuf_errno_from_name("EWHATEVER"), -ENOENT);
}

/* Every name leads back to its number. */
static void errno_names_both_ways(void **state)
{
	int known = 0;

	(void)state;
	for (int code = 1; code < 200; code++) {
		const char *name = pfnbuf_errno_name(code);

		if (name[1] >= '0' && name[1] <= '9')
			continue;
		known++;
		assert_int_equal(pfnbuf_errno_from_name(name), code);
	}
	assert_true(known >= 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_empty),
		cmocka_unit_test(knows_cause_and_hint),
		cmocka_unit_test(without_range_or_hint),
		cmocka_unit_test(unknown_call_and_errno),
		cmocka_unit_test(keeps_copies),
		cmocka_unit_test(cuts_what_is_too_long),
		cmocka_unit_test(each_thread_has_its_own),
		cmocka_unit_test(leaves_errno_alone),
		cmocka_unit_test(errno_names),
		cmocka_unit_test(errno_names_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
