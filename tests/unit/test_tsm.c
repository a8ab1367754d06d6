/* SPDX-License-Identifier: MIT */
/* The TSM in sysfs: each call, and every errno of the kernel. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "libpfnbuf/private.h"

#define FD 60

#define CONNECT	   "write of tsm/connect"
#define DISCONNECT "write of tsm/disconnect"
#define READ	   "read of the TSM's state"

struct fixture {
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_device *device;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	mock_reset();
	f->ctx = fixture_ctx();
	/* Not bound: the session comes before. */
	f->device = fixture_device_opened(f->ctx);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fixture_expect_close(false, false);
	assert_null(pfnbuf_device_close(f->device));
	fixture_free_ctx(f->ctx);
	free(f);
	return 0;
}

static void expect_open(const char *attribute, int flags, int result)
{
	static char paths[8][256];
	static unsigned n;
	char *path = paths[n++ % 8];

	snprintf(path, sizeof(paths[0]), SYSFS_DIR "/%s", attribute);
	mock_expect_one(.kind = MOCK_OPEN, .path = path,
			.request = (unsigned long)flags | O_CLOEXEC, .result = result);
}

static void expect_write(const char *attribute, const char *name, int result)
{
	expect_open(attribute, O_WRONLY, FD);
	mock_expect_one(.kind = MOCK_WRITE, .fd = FD, .length = strlen(name), .in = name,
			.in_size = strlen(name), .result = result);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = FD);
}

static void expect_read(const char *attribute, const char *text)
{
	expect_open(attribute, O_RDONLY, text ? FD : -ENOENT);
	if (!text)
		return;
	mock_expect_one(.kind = MOCK_READ, .fd = FD, .length = 63, .out = text,
			.out_size = strlen(text), .result = (int64_t)strlen(text));
	mock_expect_one(.kind = MOCK_CLOSE, .fd = FD);
}

static void connects(void **state)
{
	struct fixture *f = *state;

	expect_write("tsm/connect", "tsm12", 5);
	assert_int_equal(pfnbuf_tsm_connect(f->device, "tsm12"), 0);
	expect_read("tsm/connect", "tsm12\n");
	expect_write("tsm/disconnect", "tsm12", 5);
	assert_int_equal(pfnbuf_tsm_disconnect(f->device, "tsm12"), 0);
	mock_done();
}

/* By no name: which it is is asked first. */
static void disconnects_any(void **state)
{
	struct fixture *f = *state;

	expect_read("tsm/connect", "tsm0\n");
	expect_write("tsm/disconnect", "tsm0", 4);
	assert_int_equal(pfnbuf_tsm_disconnect(f->device, NULL), 0);

	expect_read("tsm/connect", "\n");
	assert_fails("pfnbuf_tsm_disconnect", pfnbuf_tsm_disconnect(f->device, NULL), ENXIO,
		     DISCONNECT, DEVICE_NAME, NULL);
	expect_read("tsm/connect", NULL);
	assert_fails("pfnbuf_tsm_disconnect", pfnbuf_tsm_disconnect(f->device, NULL), EOPNOTSUPP,
		     DISCONNECT, DEVICE_NAME, NULL);
	expect_read("tsm/connect", "tsm0\n");
	assert_fails("pfnbuf_tsm_disconnect", pfnbuf_tsm_disconnect(f->device, "tsm1"), EINVAL,
		     DISCONNECT, DEVICE_NAME, NULL);
	expect_open("tsm/connect", O_RDONLY, -EACCES);
	assert_fails("pfnbuf_tsm_disconnect", pfnbuf_tsm_disconnect(f->device, "tsm1"), EACCES,
		     READ, DEVICE_NAME, NULL);
	mock_done();
}

static void asks(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_tsm_info info;

	expect_read("tsm/connect", "tsm0\n");
	expect_read("tsm/bound", "tsm0\n");
	expect_read("tsm/dsm", BDF "\n");
	expect_read("authenticated", "tsm0\n");
	assert_int_equal(pfnbuf_tsm_get_info(f->device, &info), 0);
	assert_true(info.present);
	assert_string_equal(info.connected, "tsm0");
	assert_string_equal(info.bound, "tsm0");
	assert_string_equal(info.dsm, BDF);
	assert_string_equal(info.authenticated, "tsm0");

	for (int i = 0; i < 4; i++)
		expect_read((const char *[]){ "tsm/connect", "tsm/bound", "tsm/dsm",
					      "authenticated" }[i],
			    NULL);
	assert_int_equal(pfnbuf_tsm_get_info(f->device, &info), 0);
	assert_false(info.present);
	assert_string_equal(info.connected, "");
	mock_done();
}

static void asking_fails(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_tsm_info info = { .present = true, .connected = "before" };

	expect_open("tsm/connect", O_RDONLY, -EACCES);
	assert_fails("pfnbuf_tsm_get_info", pfnbuf_tsm_get_info(f->device, &info), EACCES, READ,
		     DEVICE_NAME, NULL);
	expect_read("tsm/connect", "tsm0\n");
	expect_open("tsm/bound", O_RDONLY, FD);
	mock_expect_one(.kind = MOCK_READ, .fd = FD, .length = 63, .result = -EINTR);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = FD);
	assert_fails("pfnbuf_tsm_get_info", pfnbuf_tsm_get_info(f->device, &info), EINTR, READ,
		     DEVICE_NAME, NULL);
	assert_string_equal(info.connected, "before");
	mock_done();
}

static void names_are_checked(void **state)
{
	static const char *const names[] = {
		"", "tsm", "tsmx", "tsm0 ", "tsm0\n", "sev0", "tsm01234567890123"
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(names); i++) {
		assert_fails("pfnbuf_tsm_connect", pfnbuf_tsm_connect(f->device, names[i]), EINVAL,
			     CONNECT, DEVICE_NAME, NULL);
		assert_fails("pfnbuf_tsm_disconnect", pfnbuf_tsm_disconnect(f->device, names[i]),
			     EINVAL, DISCONNECT, DEVICE_NAME, NULL);
	}
	mock_done();
}

/* The kernel's refusals: drivers/pci/tsm.c. */
static void kernel_refuses(void **state)
{
	static const int connect[] = { EINVAL, EBUSY, ENXIO, EINTR, EIO };
	static const int disconnect[] = { EINVAL, ENXIO, EINTR };
	struct fixture *f = *state;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(connect); i++) {
		expect_write("tsm/connect", "tsm0", -connect[i]);
		assert_fails("pfnbuf_tsm_connect", pfnbuf_tsm_connect(f->device, "tsm0"),
			     connect[i], CONNECT, DEVICE_NAME, NULL);
	}
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(disconnect); i++) {
		expect_read("tsm/connect", "tsm0\n");
		expect_write("tsm/disconnect", "tsm0", -disconnect[i]);
		assert_fails("pfnbuf_tsm_disconnect", pfnbuf_tsm_disconnect(f->device, "tsm0"),
			     disconnect[i], DISCONNECT, DEVICE_NAME, NULL);
	}
	expect_open("tsm/connect", O_WRONLY, -EACCES);
	assert_fails("pfnbuf_tsm_connect", pfnbuf_tsm_connect(f->device, "tsm0"), EACCES, CONNECT,
		     DEVICE_NAME, NULL);
	expect_read("tsm/connect", "tsm0\n");
	expect_open("tsm/disconnect", O_WRONLY, -EACCES);
	assert_fails("pfnbuf_tsm_disconnect", pfnbuf_tsm_disconnect(f->device, "tsm0"), EACCES,
		     DISCONNECT, DEVICE_NAME, NULL);
	expect_open("tsm/connect", O_WRONLY, -ENOENT);
	assert_fails("pfnbuf_tsm_connect", pfnbuf_tsm_connect(f->device, "tsm0"), EOPNOTSUPP,
		     CONNECT, DEVICE_NAME, NULL);
	expect_read("tsm/connect", "tsm0\n");
	expect_open("tsm/disconnect", O_WRONLY, -ENOENT);
	assert_fails("pfnbuf_tsm_disconnect", pfnbuf_tsm_disconnect(f->device, "tsm0"), EOPNOTSUPP,
		     DISCONNECT, DEVICE_NAME, NULL);
	mock_done();
}

static int stays_bound(struct pfnbuf_bind_hook *hook, enum pfnbuf_cause cause)
{
	(void)hook;
	assert_int_equal(cause, PFNBUF_CAUSE_DISCONNECT);
	return -EIO;
}

static void closed(struct pfnbuf_bind_hook *hook)
{
	(void)hook;
}

/* What is bound to a guest is unbound first; where that fails the session stays. */
static void a_bound_device_stays(void **state)
{
	struct pfnbuf_bind_hook hook = { stays_bound, closed, closed };
	struct fixture *f = *state;

	pfnbuf_device_hold(f->device);
	assert_int_equal(pfnbuf_device_set_bind(f->device, &hook), 0);
	pfnbuf_device_let_go(f->device);
	expect_read("tsm/connect", "tsm0\n");
	expect_open("tsm/disconnect", O_WRONLY, FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = FD);
	assert_fails("pfnbuf_tsm_disconnect", pfnbuf_tsm_disconnect(f->device, "tsm0"), EBUSY,
		     DISCONNECT, DEVICE_NAME, NULL);
	/* What the kernel refuses in any case unbinds nothing. */
	expect_read("tsm/connect", "tsm0\n");
	expect_open("tsm/disconnect", O_WRONLY, -EACCES);
	assert_fails("pfnbuf_tsm_disconnect", pfnbuf_tsm_disconnect(f->device, "tsm0"), EACCES,
		     DISCONNECT, DEVICE_NAME, NULL);
	expect_read("tsm/connect", "tsm0\n");
	assert_fails("pfnbuf_tsm_disconnect", pfnbuf_tsm_disconnect(f->device, "tsm1"), EINVAL,
		     DISCONNECT, DEVICE_NAME, NULL);
	mock_done();
	pfnbuf_device_hold(f->device);
	pfnbuf_device_clear_bind(f->device, &hook);
	pfnbuf_device_let_go(f->device);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(connects),
		TEST(disconnects_any),
		TEST(asks),
		TEST(asking_fails),
		TEST(names_are_checked),
		TEST(kernel_refuses),
		TEST(a_bound_device_stays),
	};

	return cmocka_run_group_tests_name("tsm", tests, NULL, NULL);
}
