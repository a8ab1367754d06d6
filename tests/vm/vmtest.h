/* SPDX-License-Identifier: MIT */
#ifndef TESTS_VM_VMTEST_H
#define TESTS_VM_VMTEST_H

/*
 * A harness for test programs that have to be static, which Debian's cmocka cannot be. A program is a
 * table of named tests that run in order. Each prints one line:
 *
 *	ok NAME
 *	not ok NAME: FILE:LINE: WHAT: got GOT, want WANT
 *
 * A failed check ends its test. The exit status is 0, or 1 if any failed.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct vmtest {
	const char *name;
	void (*run)(void);
};

int vmtest_main(const struct vmtest *tests, size_t n);

/* The condition holds. */
#define check(cond) vmtest_check_true((cond), #cond, __FILE__, __LINE__)
/* Two integers are equal. A small negative one is also printed as the errno that it stands for. */
#define check_eq(got, want)                                                                        \
	vmtest_check_eq((intmax_t)(got), (intmax_t)(want), #got, __FILE__, __LINE__)
/* The value is no negative errno; evaluates to it. */
#define check_ok(got) vmtest_check_ok((got), #got, __FILE__, __LINE__)
/* So many bytes are equal; the first one that differs is named. */
#define check_bytes(got, want, length)                                                             \
	vmtest_check_bytes((got), (want), (length), #got, __FILE__, __LINE__)

void vmtest_check_true(int cond, const char *what, const char *file, int line);
void vmtest_check_eq(intmax_t got, intmax_t want, const char *what, const char *file, int line);
int vmtest_check_ok(int got, const char *what, const char *file, int line);
void vmtest_check_bytes(const void *got, const void *want, size_t length, const char *what,
			const char *file, int line);

/* System calls that answer with a negative errno, as check_eq and check_ok like it. */
int vmtest_open(const char *path, int flags);
int vmtest_ioctl(int fd, unsigned long request, void *arg);
int vmtest_ioctl_value(int fd, unsigned long request, unsigned long value);
void *vmtest_mmap(size_t length, int prot, int flags, int fd, uint64_t offset);

/* Write a short text into a file of sysfs or debugfs: 0 or a negative errno. */
int vmtest_write_file(const char *path, const char *text);
/* Open fds of this process: what a flow must bring back to where it was. */
int vmtest_count_fds(void);
/* Whether a fd becomes readable within so many milliseconds. */
int vmtest_readable(int fd, int timeout_ms);

#endif
