/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "mock.h"
#include "tried.h"

#define MAX_CALLS 4096
#define MAX_FDS	  512

static struct mock_call calls[MAX_CALLS];
static size_t nr_calls, next_call;
static void *watched[MAX_FDS]; /* what epoll_ctl(ADD) was given for each fd */

static char last_message[512];
static enum pfnbuf_log_level last_level;
static unsigned nr_messages;

static const char *const names[] = {
	[MOCK_OPEN] = "open",
	[MOCK_CLOSE] = "close",
	[MOCK_DUP] = "dup",
	[MOCK_SET_CLOEXEC] = "set_cloexec",
	[MOCK_IOCTL] = "ioctl",
	[MOCK_MMAP] = "mmap",
	[MOCK_MUNMAP] = "munmap",
	[MOCK_MADVISE] = "madvise",
	[MOCK_PREAD] = "pread",
	[MOCK_PWRITE] = "pwrite",
	[MOCK_READ] = "read",
	[MOCK_WRITE] = "write",
	[MOCK_LSEEK] = "lseek",
	[MOCK_FSTAT] = "fstat",
	[MOCK_FSTATFS_TYPE] = "fstatfs_type",
	[MOCK_FALLOCATE] = "fallocate",
	[MOCK_FTRUNCATE] = "ftruncate",
	[MOCK_MEMFD_CREATE] = "memfd_create",
	[MOCK_EVENTFD] = "eventfd",
	[MOCK_TIMERFD] = "timerfd",
	[MOCK_TIMERFD_SET] = "timerfd_set",
	[MOCK_READLINK] = "readlink",
	[MOCK_LIST] = "list",
	[MOCK_EPOLL_CREATE] = "epoll_create",
	[MOCK_EPOLL_CTL] = "epoll_ctl",
	[MOCK_EPOLL_WAIT] = "epoll_wait",
};

static const char *describe(const struct mock_call *c)
{
	static char text[2][256];
	static int which;
	char *out = text[which ^= 1];
	const char *ioctl_name =
		c->kind == MOCK_IOCTL ? pfnbuf_kernel_ioctl_name(c->request) : NULL;

	snprintf(out, sizeof(text[0]),
		 "%s(fd %d, 0x%lx%s%s, \"%s\", mode %d, target %d, value 0x%" PRIx64
		 ", length 0x%" PRIx64 ")",
		 names[c->kind], c->fd, c->request, ioctl_name ? " " : "",
		 ioctl_name ? ioctl_name : "", c->path ? c->path : "", c->mode, c->target, c->value,
		 c->length);
	return out;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* The next expected call, which @made must equal as far as scalars go. */
static const struct mock_call *take(const struct mock_call *made)
{
	const struct mock_call *c = &calls[next_call];

	if (next_call == nr_calls)
		fail_msg("unexpected call %zu: %s", next_call, describe(made));
	if (c->kind != made->kind || c->fd != made->fd || c->request != made->request ||
	    !same_text(c->path, made->path) || c->mode != made->mode ||
	    (c->target != made->target && c->kind != MOCK_EPOLL_WAIT) || c->value != made->value ||
	    c->length != made->length)
		fail_msg("call %zu is\n  %s\nexpected was\n  %s", next_call, describe(made),
			 describe(c));
	next_call++;
	return c;
}

static void compare(const struct mock_call *c, const void *got, const void *expected, size_t size,
		    size_t skip_from, size_t skip)
{
	const uint8_t *a = got, *b = expected;

	for (size_t i = 0; i < size; i++)
		if (a[i] != b[i] && (i < skip_from || i >= skip_from + skip))
			fail_msg("call %zu, %s: byte %zu is 0x%02x, expected was 0x%02x",
				 next_call - 1, describe(c), i, a[i], b[i]);
}

static void *pointer_in(const void *arg, size_t at)
{
	uint64_t value;

	memcpy(&value, (const char *)arg + at, sizeof(value));
	return (void *)(uintptr_t)value;
}

static int mock_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	const struct mock_call *c = &calls[next_call];
	bool by_value = next_call < nr_calls && !c->in;

	(void)data;
	c = take(&(struct mock_call){
		.kind = MOCK_IOCTL,
		.fd = fd,
		.request = request,
		.value = by_value ? (uintptr_t)arg : 0,
	});
	if (!c->in)
		return (int)c->result;
	compare(c, arg, c->in, c->in_size, c->pointer_at, c->points ? sizeof(uint64_t) : 0);
	if (c->points) {
		void *pointed = pointer_in(arg, c->pointer_at);

		if (!pointed)
			fail_msg("call %zu, %s: the pointer is NULL", next_call - 1, describe(c));
		compare(c, pointed, c->pointed_in, c->pointed_in_size, 0, 0);
		memcpy(pointed, c->pointed_out ? c->pointed_out : "", c->pointed_out_size);
	}
	if (c->out) {
		/* The caller's own pointer stays. */
		uint64_t kept = c->points ? (uintptr_t)pointer_in(arg, c->pointer_at) : 0;

		memcpy(arg, c->out, c->out_size);
		if (c->points)
			memcpy((char *)arg + c->pointer_at, &kept, sizeof(kept));
	}
	return (int)c->result;
}

static int mock_open(void *data, const char *path, int flags)
{
	(void)data;
	return (int)take(&(struct mock_call){
				 .kind = MOCK_OPEN, .path = path, .request = (unsigned long)flags })
		->result;
}

static int mock_close(void *data, int fd)
{
	(void)data;
	return (int)take(&(struct mock_call){ .kind = MOCK_CLOSE, .fd = fd })->result;
}

static int mock_dup(void *data, int fd)
{
	(void)data;
	return (int)take(&(struct mock_call){ .kind = MOCK_DUP, .fd = fd })->result;
}

static int mock_set_cloexec(void *data, int fd)
{
	(void)data;
	return (int)take(&(struct mock_call){ .kind = MOCK_SET_CLOEXEC, .fd = fd })->result;
}

static int mock_mmap(void *data, void *addr, size_t length, int prot, int flags, int fd,
		     uint64_t offset, void **out)
{
	const struct mock_call *c = take(&(struct mock_call){
		.kind = MOCK_MMAP,
		.fd = fd,
		.request = (unsigned long)flags,
		.mode = prot,
		.value = offset,
		.length = length,
	});

	(void)data;
	assert_null(addr);
	if (c->result < 0)
		return (int)c->result;
	*out = (void *)(uintptr_t)c->out;
	return 0;
}

static int mock_munmap(void *data, void *addr, size_t length)
{
	(void)data;
	return (int)take(&(struct mock_call){
				 .kind = MOCK_MUNMAP, .value = (uintptr_t)addr, .length = length })
		->result;
}

static int mock_madvise(void *data, void *addr, size_t length, int advice)
{
	(void)data;
	return (int)take(&(struct mock_call){ .kind = MOCK_MADVISE,
					      .value = (uintptr_t)addr,
					      .length = length,
					      .mode = advice })
		->result;
}

static ssize_t input(const struct mock_call *c, void *buf, size_t count)
{
	if (c->result > 0) {
		assert_true((size_t)c->result <= count);
		memcpy(buf, c->out, (size_t)c->result);
	}
	return (ssize_t)c->result;
}

static ssize_t output(const struct mock_call *c, const void *buf, size_t count)
{
	assert_true(c->in_size == count);
	compare(c, buf, c->in, count, 0, 0);
	return (ssize_t)c->result;
}

static ssize_t mock_pread(void *data, int fd, void *buf, size_t count, uint64_t offset)
{
	(void)data;
	return input(take(&(struct mock_call){
			     .kind = MOCK_PREAD, .fd = fd, .value = offset, .length = count }),
		     buf, count);
}

static ssize_t mock_pwrite(void *data, int fd, const void *buf, size_t count, uint64_t offset)
{
	(void)data;
	return output(take(&(struct mock_call){
			      .kind = MOCK_PWRITE, .fd = fd, .value = offset, .length = count }),
		      buf, count);
}

static ssize_t mock_read(void *data, int fd, void *buf, size_t count)
{
	(void)data;
	return input(take(&(struct mock_call){ .kind = MOCK_READ, .fd = fd, .length = count }), buf,
		     count);
}

static ssize_t mock_write(void *data, int fd, const void *buf, size_t count)
{
	(void)data;
	return output(take(&(struct mock_call){ .kind = MOCK_WRITE, .fd = fd, .length = count }),
		      buf, count);
}

static int64_t mock_lseek(void *data, int fd, int64_t offset, int whence)
{
	(void)data;
	return take(&(struct mock_call){ .kind = MOCK_LSEEK,
					 .fd = fd,
					 .value = (uint64_t)offset,
					 .mode = whence })
		->result;
}

static int mock_fstat(void *data, int fd, struct stat *st)
{
	const struct mock_call *c = take(&(struct mock_call){ .kind = MOCK_FSTAT, .fd = fd });

	(void)data;
	if (c->result >= 0)
		memcpy(st, c->out, sizeof(*st));
	return (int)c->result;
}

/* It asks for nothing that a test would want to see. */
static int mock_memlock(void *data, uint64_t *limit)
{
	(void)data;
	*limit = UINT64_MAX;
	return 0;
}

static int mock_fstatfs_type(void *data, int fd, uint64_t *f_type)
{
	const struct mock_call *c =
		take(&(struct mock_call){ .kind = MOCK_FSTATFS_TYPE, .fd = fd });

	(void)data;
	if (c->result >= 0)
		memcpy(f_type, c->out, sizeof(*f_type));
	return (int)c->result;
}

static int mock_fallocate(void *data, int fd, int mode, uint64_t offset, uint64_t length)
{
	(void)data;
	return (int)take(&(struct mock_call){ .kind = MOCK_FALLOCATE,
					      .fd = fd,
					      .mode = mode,
					      .value = offset,
					      .length = length })
		->result;
}

static int mock_ftruncate(void *data, int fd, uint64_t length)
{
	(void)data;
	return (int)take(&(struct mock_call){ .kind = MOCK_FTRUNCATE, .fd = fd, .length = length })
		->result;
}

static int mock_memfd_create(void *data, const char *name, unsigned flags)
{
	(void)data;
	return (int)take(&(struct mock_call){
				 .kind = MOCK_MEMFD_CREATE, .path = name, .request = flags })
		->result;
}

static int mock_eventfd(void *data, unsigned initval, int flags)
{
	(void)data;
	return (int)take(&(struct mock_call){ .kind = MOCK_EVENTFD,
					      .value = initval,
					      .request = (unsigned long)flags })
		->result;
}

static int mock_timerfd(void *data)
{
	(void)data;
	return (int)take(&(struct mock_call){ .kind = MOCK_TIMERFD })->result;
}

static int mock_timerfd_set(void *data, int fd, uint64_t ns)
{
	(void)data;
	return (int)take(&(struct mock_call){ .kind = MOCK_TIMERFD_SET, .fd = fd, .length = ns })
		->result;
}

static ssize_t mock_readlink(void *data, const char *path, char *buf, size_t size)
{
	(void)data;
	return input(take(&(struct mock_call){ .kind = MOCK_READLINK, .path = path }), buf, size);
}

static ssize_t mock_list(void *data, const char *path, char *buf, size_t size)
{
	(void)data;
	return input(take(&(struct mock_call){ .kind = MOCK_LIST, .path = path }), buf, size);
}

static int mock_epoll_create(void *data)
{
	(void)data;
	return (int)take(&(struct mock_call){ .kind = MOCK_EPOLL_CREATE })->result;
}

static int mock_epoll_ctl(void *data, int epfd, int op, int fd, struct epoll_event *event)
{
	const struct mock_call *c = take(&(struct mock_call){
		.kind = MOCK_EPOLL_CTL, .fd = epfd, .mode = op, .target = fd });

	(void)data;
	assert_true(fd >= 0 && fd < MAX_FDS);
	assert_non_null(event);
	if (c->result < 0)
		return (int)c->result;
	if (op == EPOLL_CTL_ADD) {
		assert_int_equal(event->events & ~(uint32_t)EPOLLET, EPOLLIN);
		assert_null(watched[fd]);
		watched[fd] = event->data.ptr;
	} else {
		assert_int_equal(op, EPOLL_CTL_DEL);
		assert_non_null(watched[fd]);
		watched[fd] = NULL;
	}
	return 0;
}

static int mock_epoll_wait(void *data, int epfd, struct epoll_event *events, int max,
			   int timeout_ms)
{
	const struct mock_call *c = take(
		&(struct mock_call){ .kind = MOCK_EPOLL_WAIT, .fd = epfd, .mode = timeout_ms });

	(void)data;
	assert_true(max > 0);
	if (c->result > 0) {
		assert_int_equal(c->result, 1);
		assert_non_null(watched[c->target]);
		events[0] =
			(struct epoll_event){ .events = EPOLLIN, .data.ptr = watched[c->target] };
	}
	return (int)c->result;
}

const struct pfnbuf_kernel *mock_kernel(void)
{
	static const struct pfnbuf_kernel kernel = {
		.size = sizeof(kernel),
		.open = mock_open,
		.close = mock_close,
		.dup = mock_dup,
		.set_cloexec = mock_set_cloexec,
		.ioctl = mock_ioctl,
		.mmap = mock_mmap,
		.munmap = mock_munmap,
		.madvise = mock_madvise,
		.pread = mock_pread,
		.pwrite = mock_pwrite,
		.read = mock_read,
		.write = mock_write,
		.lseek = mock_lseek,
		.fstat = mock_fstat,
		.fstatfs_type = mock_fstatfs_type,
		.memlock = mock_memlock,
		.fallocate = mock_fallocate,
		.ftruncate = mock_ftruncate,
		.memfd_create = mock_memfd_create,
		.eventfd = mock_eventfd,
		.timerfd = mock_timerfd,
		.timerfd_set = mock_timerfd_set,
		.readlink = mock_readlink,
		.list = mock_list,
		.epoll_create = mock_epoll_create,
		.epoll_ctl = mock_epoll_ctl,
		.epoll_wait = mock_epoll_wait,
	};

	return &kernel;
}

void mock_expect(const struct mock_call *c, size_t n)
{
	if (next_call == nr_calls)
		next_call = nr_calls = 0;
	assert_true(nr_calls + n <= MAX_CALLS);
	memcpy(&calls[nr_calls], c, n * sizeof(*c));
	nr_calls += n;
}

void mock_done(void)
{
	if (next_call != nr_calls)
		fail_msg("%zu of %zu expected calls were not made; the next is %s",
			 nr_calls - next_call, nr_calls, describe(&calls[next_call]));
	if (nr_messages)
		fail_msg("%u unexpected log messages; the last: %s", nr_messages, last_message);
}

void mock_reset(void)
{
	nr_calls = 0;
	next_call = 0;
	nr_messages = 0;
	memset(watched, 0, sizeof(watched));
}

/* ---------------------------------------------------------------- log ----------------------- */

void mock_log(void *data, enum pfnbuf_log_level level, const char *message)
{
	(void)data;
	assert_null(strchr(message, '\n'));
	snprintf(last_message, sizeof(last_message), "%s", message);
	last_level = level;
	nr_messages++;
}

void mock_logged(enum pfnbuf_log_level level, const char *part)
{
	if (nr_messages != 1 || last_level != level || !strstr(last_message, part))
		fail_msg(
			"%u messages, the last on level %d: \"%s\"; expected was \"%s\" on level %d",
			nr_messages, (int)last_level, last_message, part, (int)level);
	nr_messages = 0;
}

/* ---------------------------------------------------------------- failures ------------------ */

/* Causes that would fit any call: a wrapper whose errno is documented knows better. */
static const char *const empty_causes[] = {
	"",
	"no error",
	"the kernel refused",
	"an argument is not valid",
	"no such device",
	"no such object",
	"it exists",
	"it is in use",
	"not supported by this kernel",
	"this kernel does not know the call, or the fd is of another kind",
	"the kernel could not read or write the caller's memory",
	"the device did not answer, or the VM is dead or another process's",
	"the kernel cannot do it right now",
	"no room",
	"there is nothing behind it",
	"not permitted",
	"no permission",
};

void mock_check_failure(int result, const struct mock_failure *f)
{
	const struct pfnbuf_error *e = pfnbuf_last_error_record();
	const char *line = pfnbuf_last_error();

	if (result != -f->code)
		fail_msg("%s returned %d, expected was %s; %s", f->function, result,
			 pfnbuf_errno_name(f->code), line);
	assert_int_equal(e->code, result);
	assert_string_equal(e->call, f->call);
	assert_string_equal(e->object, f->object);
	if (e->has_range != (f->range != NULL))
		fail_msg("%s: range %s; %s", f->function, f->range ? "missing" : "not expected",
			 line);
	if (f->range &&
	    (e->range.offset != f->range->offset || e->range.length != f->range->length))
		fail_msg("%s: range is not 0x%" PRIx64 "+0x%" PRIx64 "; %s", f->function,
			 f->range->offset, f->range->length, line);
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(empty_causes); i++)
		if (!strcmp(e->cause, empty_causes[i]))
			fail_msg("%s, %s: the cause says nothing: \"%s\"", f->function,
				 pfnbuf_errno_name(f->code), e->cause);
	assert_non_null(e->hint);
	assert_non_null(strstr(line, pfnbuf_errno_name(f->code)));
	assert_non_null(strstr(line, f->object));
	assert_non_null(strstr(line, e->cause));
	note_tried(f->function, f->code);
}

void mock_try_errnos(const struct mock_wrapper *w, void *object)
{
	uint64_t out[MOCK_NR_OUTPUTS];

	for (size_t i = 0; w->codes[i]; i++) {
		const struct mock_failure failure = {
			.function = w->function,
			.code = w->codes[i],
			.call = w->call,
			.object = w->object,
			.range = w->has_range ? &w->range : NULL,
		};
		struct mock_call made = w->made;

		made.result = -w->codes[i];
		mock_expect(&made, 1);
		for (size_t k = 0; k < MOCK_NR_OUTPUTS; k++)
			out[k] = MOCK_PATTERN;
		mock_check_failure(w->run(object, out), &failure);
		for (size_t k = 0; k < MOCK_NR_OUTPUTS; k++)
			if (out[k] != MOCK_PATTERN)
				fail_msg("%s, %s: an output has changed", w->function,
					 pfnbuf_errno_name(w->codes[i]));
		mock_done();
	}
}
