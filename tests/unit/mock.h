/* SPDX-License-Identifier: MIT */
/*
 * A kernel that is a list of expected calls, each with its answer. A call that is not the next of the
 * list, or differs from it in one byte, fails the test; so does a list that is not used up.
 */
#ifndef PFNBUF_TESTS_MOCK_H
#define PFNBUF_TESTS_MOCK_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pfnbuf.h>

enum mock_kind {
	MOCK_OPEN,
	MOCK_CLOSE,
	MOCK_DUP,
	MOCK_SET_CLOEXEC,
	MOCK_IOCTL,
	MOCK_MMAP,
	MOCK_MUNMAP,
	MOCK_MADVISE,
	MOCK_PREAD,
	MOCK_PWRITE,
	MOCK_READ,
	MOCK_WRITE,
	MOCK_LSEEK,
	MOCK_FSTAT,
	MOCK_FSTATFS_TYPE,
	MOCK_FALLOCATE,
	MOCK_FTRUNCATE,
	MOCK_MEMFD_CREATE,
	MOCK_EVENTFD,
	MOCK_TIMERFD,
	MOCK_TIMERFD_SET,
	MOCK_READLINK,
	MOCK_LIST,
	MOCK_EPOLL_CREATE,
	MOCK_EPOLL_CTL,
	MOCK_EPOLL_WAIT,
};

/* An expected call. Every argument is compared; what a call does not have is left 0. */
struct mock_call {
	enum mock_kind kind;
	int fd;
	unsigned long request; /* ioctl number; flags of open, mmap, eventfd, memfd_create */
	const char *path;      /* open, readlink, list; the name for memfd_create */
	int mode;	       /* prot, whence, advice, fallocate's mode, epoll's operation */
	int target;	 /* epoll_ctl: the other fd. epoll_wait: the fd that is ready, 0: none */
	uint64_t value;	 /* offset; an ioctl's argument where that is no pointer */
	uint64_t length; /* bytes, nanoseconds; address of munmap is in @value */

	const void *in; /* what the caller passes: every byte */
	size_t in_size;
	const void *out; /* what the kernel writes to the same place; also where the call fails */
	size_t out_size;

	/*
	 * A pointer inside @in, at this offset: its eight bytes are not compared, what it points at is,
	 * and @pointed_out is written there.
	 */
	bool points;
	size_t pointer_at;
	const void *pointed_in;
	size_t pointed_in_size;
	const void *pointed_out;
	size_t pointed_out_size;

	int64_t result;
};

#define MOCK_ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

const struct pfnbuf_kernel *mock_kernel(void);

/* Append to the list. What the calls point at must live until they are made. */
void mock_expect(const struct mock_call *calls, size_t n);
#define mock_expect_one(...) mock_expect(&(const struct mock_call){ __VA_ARGS__ }, 1)

/* Fail unless every expected call was made. */
void mock_done(void);
/* Forget everything: at the start of each test. */
void mock_reset(void);

/* An ioctl with a struct that is expected as @in_ and stays so. */
#define MOCK_STRUCT(in_)  .in = &(in_), .in_size = sizeof(in_)
#define MOCK_ANSWER(out_) .out = &(out_), .out_size = sizeof(out_)

/* The log hook: keeps the last message and counts. */
void mock_log(void *data, enum pfnbuf_log_level level, const char *message);
/* Fail unless just one message was logged since the last look, and it has @part in it. */
void mock_logged(enum pfnbuf_log_level level, const char *part);

/* ---------------------------------------------------------------- failures ------------------ */

/* What a failed call has to leave in the record. */
struct mock_failure {
	const char *function; /* of pfnbuf.h */
	int code;	      /* positive */
	const char *call;
	const char *object;
	const struct pfnbuf_range *range; /* NULL: none */
};

/* @result is what the function returned. Also notes that the errno of the function was tried. */
void mock_check_failure(int result, const struct mock_failure *failure);

#define assert_fails(function_, result_, code_, call_, object_, range_)                            \
	mock_check_failure((result_), &(const struct mock_failure){ (function_), (code_), (call_), \
								    (object_), (range_) })

/*
 * A wrapper around one call of the kernel, and the errnos that the kernel may give there. Each is
 * tried: the wrapper has to return it, leave its outputs alone, and say why.
 *
 * @run makes the call with outputs in @out, which are filled with MOCK_PATTERN on entry, so that what
 * is both input and output has that value.
 */
struct mock_wrapper {
	const char *function;
	const char *call;
	const char *object;
	bool has_range;
	struct pfnbuf_range range;
	int (*run)(void *object, uint64_t *out);
	struct mock_call made;
	int codes[16]; /* positive, ended by 0 */
};

#define MOCK_PATTERN	UINT64_C(0xa5a5a5a5a5a5a5a5)
#define MOCK_NR_OUTPUTS 16

void mock_try_errnos(const struct mock_wrapper *w, void *object);

#endif /* PFNBUF_TESTS_MOCK_H */
