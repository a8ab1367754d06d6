/* SPDX-License-Identifier: MIT */
#include "vmtest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static jmp_buf failed;
static const char *current; /* test */

static void fail(void) __attribute__((noreturn));

static void fail(void)
{
	longjmp(failed, 1);
}

static void start_failure(const char *what, const char *file, int line)
{
	printf("not ok %s: %s:%d: %s: ", current, file, line, what);
}

static void print_value(intmax_t value)
{
	const char *name = value < 0 && value > -4096 ? strerrorname_np((int)-value) : NULL;

	if (name)
		printf("-%s", name);
	else if (value >= 0 && value < 10)
		printf("%" PRIdMAX, value);
	else
		printf("%" PRIdMAX " (%#" PRIxMAX ")", value, (uintmax_t)value);
}

void vmtest_check_true(int cond, const char *what, const char *file, int line)
{
	if (cond)
		return;
	start_failure(what, file, line);
	printf("got false, want true\n");
	fail();
}

void vmtest_check_eq(intmax_t got, intmax_t want, const char *what, const char *file, int line)
{
	if (got == want)
		return;
	start_failure(what, file, line);
	printf("got ");
	print_value(got);
	printf(", want ");
	print_value(want);
	printf("\n");
	fail();
}

int vmtest_check_ok(int got, const char *what, const char *file, int line)
{
	if (got >= 0)
		return got;
	start_failure(what, file, line);
	printf("got ");
	print_value(got);
	printf(", want success\n");
	fail();
}

void vmtest_check_bytes(const void *got, const void *want, size_t length, const char *what,
			const char *file, int line)
{
	const unsigned char *g = got;
	const unsigned char *w = want;

	for (size_t i = 0; i < length; i++) {
		if (g[i] == w[i])
			continue;
		start_failure(what, file, line);
		printf("byte %zu: got %#x, want %#x\n", i, g[i], w[i]);
		fail();
	}
}

static bool passes(const struct vmtest *test)
{
	current = test->name;
	if (setjmp(failed))
		return false;
	test->run();
	printf("ok %s\n", test->name);
	return true;
}

int vmtest_main(const struct vmtest *tests, size_t n)
{
	size_t passed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < n; i++)
		passed += passes(&tests[i]);
	printf("# %zu passed, %zu failed\n", passed, n - passed);
	return passed == n ? 0 : 1;
}

int vmtest_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int vmtest_ioctl(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

int vmtest_ioctl_value(int fd, unsigned long request, unsigned long value)
{
	int ret = ioctl(fd, request, value);

	return ret < 0 ? -errno : ret;
}

void *vmtest_mmap(size_t length, int prot, int flags, int fd, uint64_t offset)
{
	void *map = mmap(NULL, length, prot, flags, fd, (off_t)offset);

	check_ok(map == MAP_FAILED ? -errno : 0);
	return map;
}

int vmtest_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

int vmtest_count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int vmtest_readable(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}
