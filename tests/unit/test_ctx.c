/* SPDX-License-Identifier: MIT */
/* The context over the mock kernel. Its event queue over real fds is in test_engine.c. */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "libpfnbuf/private.h"

static void options(void **state)
{
	struct pfnbuf_kernel incomplete = *mock_kernel();
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .kernel = mock_kernel() };
	struct pfnbuf_ctx *ctx = (void *)1;

	(void)state;
	mock_reset();
	opts.size--;
	assert_fails("pfnbuf_ctx_new", pfnbuf_ctx_new(&ctx, &opts), EINVAL, "pfnbuf_ctx_new",
		     "options", NULL);
	opts.size++;
	incomplete.readlink = NULL;
	opts.kernel = &incomplete;
	assert_fails("pfnbuf_ctx_new", pfnbuf_ctx_new(&ctx, &opts), EINVAL, "pfnbuf_ctx_new",
		     "options", NULL);
	incomplete = *mock_kernel();
	incomplete.size--;
	assert_fails("pfnbuf_ctx_new", pfnbuf_ctx_new(&ctx, &opts), EINVAL, "pfnbuf_ctx_new",
		     "options", NULL);
	opts.kernel = mock_kernel();
	opts.engine = (enum pfnbuf_engine_kind)77;
	assert_fails("pfnbuf_ctx_new", pfnbuf_ctx_new(&ctx, &opts), EINVAL, "pfnbuf_ctx_new",
		     "options", NULL);
	assert_ptr_equal(ctx, (void *)1);
	mock_done();
}

/* Every entry of the table is looked for, one by one. */
static void every_call_is_needed(void **state)
{
	const size_t first = offsetof(struct pfnbuf_kernel, open);
	const size_t n = (sizeof(struct pfnbuf_kernel) - first) / sizeof(void *);
	struct pfnbuf_ctx *ctx;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		struct pfnbuf_kernel k = *mock_kernel();
		const struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .kernel = &k };

		memset((char *)&k + first + i * sizeof(void *), 0, sizeof(void *));
		assert_int_equal(pfnbuf_ctx_new(&ctx, &opts), -EINVAL);
	}
}

static void new_errnos(void **state)
{
	const struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .kernel = mock_kernel() };
	const struct mock_call add = { .kind = MOCK_EPOLL_CTL,
				       .fd = EPOLL_FD,
				       .mode = EPOLL_CTL_ADD,
				       .target = QUEUE_FD,
				       .result = -ENOMEM };
	const int codes[] = { EMFILE, ENFILE };
	struct pfnbuf_ctx *ctx = (void *)1;

	(void)state;
	mock_reset();
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		mock_expect_one(.kind = MOCK_EPOLL_CREATE, .result = -codes[i]);
		assert_fails("pfnbuf_ctx_new", pfnbuf_ctx_new(&ctx, &opts), codes[i],
			     "epoll_create1", "context", NULL);
		mock_expect_one(.kind = MOCK_EPOLL_CREATE, .result = EPOLL_FD);
		mock_expect_one(.kind = MOCK_EVENTFD, .request = EFD_CLOEXEC | EFD_NONBLOCK,
				.result = -codes[i]);
		mock_expect_one(.kind = MOCK_CLOSE, .fd = EPOLL_FD);
		assert_fails("pfnbuf_ctx_new", pfnbuf_ctx_new(&ctx, &opts), codes[i], "eventfd",
			     "context", NULL);
	}
	mock_expect_one(.kind = MOCK_EPOLL_CREATE, .result = EPOLL_FD);
	mock_expect_one(.kind = MOCK_EVENTFD, .request = EFD_CLOEXEC | EFD_NONBLOCK,
			.result = QUEUE_FD);
	mock_expect(&add, 1);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = QUEUE_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = EPOLL_FD);
	assert_fails("pfnbuf_ctx_new", pfnbuf_ctx_new(&ctx, &opts), ENOMEM, "epoll_ctl", "context",
		     NULL);
	assert_ptr_equal(ctx, (void *)1);
	mock_done();
}

static void asks_what_it_was_given(void **state)
{
	struct pfnbuf_ctx *ctx;

	(void)state;
	mock_reset();
	ctx = fixture_ctx();
	assert_ptr_equal(pfnbuf_ctx_get_kernel(ctx), mock_kernel());
	assert_int_equal(pfnbuf_ctx_get_fd(ctx), EPOLL_FD);
	assert_int_equal(pfnbuf_ctx_get_iommufd(ctx), IOMMUFD);
	assert_string_equal(pfnbuf_ctx_sysfs(ctx), "/sys");
	assert_string_equal(pfnbuf_ctx_devtmpfs(ctx), "/dev");
	/* An iommufd that was handed in is not closed. */
	fixture_free_ctx(ctx);
	assert_null(pfnbuf_ctx_free(NULL));
}

static void opens_iommufd_once(void **state)
{
	const int codes[] = { ENOENT, ENODEV, EACCES, EMFILE };
	const struct mock_call iommu = { .kind = MOCK_OPEN,
					 .path = "/dev/iommu",
					 .request = O_RDWR | O_CLOEXEC };
	struct pfnbuf_ctx *ctx;
	struct mock_call made;

	(void)state;
	mock_reset();
	ctx = fixture_ctx_without_iommufd();
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		made = iommu;
		made.result = -codes[i];
		mock_expect(&made, 1);
		assert_fails("pfnbuf_ctx_get_iommufd", pfnbuf_ctx_get_iommufd(ctx), codes[i],
			     "open /dev/iommu", "/dev/iommu", NULL);
	}
	made = iommu;
	made.result = IOMMUFD;
	mock_expect(&made, 1);
	assert_int_equal(pfnbuf_ctx_get_iommufd(ctx), IOMMUFD);
	assert_int_equal(pfnbuf_ctx_get_iommufd(ctx), IOMMUFD);
	mock_done();
	/* This one is ours to close; a failure of that goes to the log. */
	mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD, .mode = EPOLL_CTL_DEL,
			.target = QUEUE_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = QUEUE_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = EPOLL_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = IOMMUFD, .result = -EIO);
	assert_null(pfnbuf_ctx_free(ctx));
	mock_logged(PFNBUF_LOG_WARNING, "closing fd 20 failed with EIO");
	mock_done();
}

static void other_folders(void **state)
{
	const struct pfnbuf_ctx_opts opts = {
		.size = sizeof(opts),
		.kernel = mock_kernel(),
		.sysfs = "/chroot/sys",
		.devtmpfs = "/chroot/dev",
	};
	struct pfnbuf_ctx *ctx = NULL;
	struct pfnbuf_device *device;
	struct pfnbuf_vm *vm;

	(void)state;
	mock_reset();
	mock_expect_one(.kind = MOCK_EPOLL_CREATE, .result = EPOLL_FD);
	mock_expect_one(.kind = MOCK_EVENTFD, .request = EFD_CLOEXEC | EFD_NONBLOCK,
			.result = QUEUE_FD);
	mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD, .mode = EPOLL_CTL_ADD,
			.target = QUEUE_FD);
	assert_int_equal(pfnbuf_ctx_new(&ctx, &opts), 0);
	mock_expect_one(.kind = MOCK_OPEN, .path = "/chroot/dev/iommu",
			.request = O_RDWR | O_CLOEXEC, .result = -ENOENT);
	assert_fails("pfnbuf_ctx_get_iommufd", pfnbuf_ctx_get_iommufd(ctx), ENOENT,
		     "open /dev/iommu", "/chroot/dev/iommu", NULL);
	mock_expect_one(.kind = MOCK_OPEN, .path = "/chroot/dev/kvm", .request = O_RDWR,
			.result = -ENOENT);
	assert_fails("pfnbuf_vm_new", pfnbuf_vm_new(ctx, 0, &vm), ENOENT, "open /dev/kvm",
		     "/chroot/dev/kvm", NULL);
	mock_expect_one(.kind = MOCK_LIST, .path = "/chroot/sys/bus/pci/devices/" BDF,
			.result = -ENOENT);
	assert_fails("pfnbuf_device_open", pfnbuf_device_open(ctx, BDF, &device), ENOENT,
		     "open VFIO cdev", DEVICE_NAME, NULL);
	mock_done();
	fixture_free_ctx(ctx);
}

static void dispatch(void **state)
{
	const uint64_t one = 1;
	struct pfnbuf_event event;
	struct pfnbuf_ctx *ctx;

	(void)state;
	mock_reset();
	ctx = fixture_ctx();
	mock_expect_one(.kind = MOCK_EPOLL_WAIT, .fd = EPOLL_FD, .result = 0);
	assert_int_equal(pfnbuf_ctx_dispatch(ctx), 0);
	/* A signal is no failure: there is nothing to do, and nothing was lost. */
	mock_expect_one(.kind = MOCK_EPOLL_WAIT, .fd = EPOLL_FD, .result = -EINTR);
	assert_int_equal(pfnbuf_ctx_dispatch(ctx), 0);
	mock_expect_one(.kind = MOCK_EPOLL_WAIT, .fd = EPOLL_FD, .result = -EBADF);
	assert_fails("pfnbuf_ctx_dispatch", pfnbuf_ctx_dispatch(ctx), EBADF, "epoll_wait",
		     "context", NULL);
	/* A stale signal of the queue is taken back. */
	mock_expect_one(.kind = MOCK_EPOLL_WAIT, .fd = EPOLL_FD, .target = QUEUE_FD, .result = 1);
	mock_expect_one(.kind = MOCK_READ, .fd = QUEUE_FD, .length = 8, .out = &one, .result = 8);
	assert_int_equal(pfnbuf_ctx_dispatch(ctx), 0);
	assert_int_equal(pfnbuf_ctx_pop_event(ctx, &event), 0);
	mock_done();
	fixture_free_ctx(ctx);
}

/* What a kernel that forbids io_uring, and one that has none, gives: seccomp plays both. */
static void deny_uring(int code)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { MOCK_ARRAY_SIZE(filter), filter };

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static int new_without_uring(int denial)
{
	const struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .engine = PFNBUF_ENGINE_URING };
	struct pfnbuf_ctx *ctx = (void *)1;
	int r;

	deny_uring(denial);
	r = pfnbuf_ctx_new(&ctx, &opts);
	if (r != -EPERM)
		assert_int_equal(r, -EOPNOTSUPP);
	assert_fails("pfnbuf_ctx_new", r, -r, "io_uring_setup", "context", NULL);
	assert_ptr_equal(ctx, (void *)1);
	return -r;
}

/* In a child, because a filter stays. */
static void check_without_uring(int denial, int expected)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (!child)
		_exit(new_without_uring(denial));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), expected);
}

static void without_uring(void **state)
{
	(void)state;
	check_without_uring(ENOSYS, EOPNOTSUPP);
#ifdef PFNBUF_HAVE_URING
	check_without_uring(EPERM, EPERM);
#endif
}

static void names(void **state)
{
	(void)state;
	assert_string_equal(pfnbuf_event_type_name(PFNBUF_EVENT_LOST), "lost");
	assert_string_equal(pfnbuf_event_type_name(PFNBUF_EVENT_REVOKED), "revoked");
	assert_string_equal(pfnbuf_event_type_name(PFNBUF_EVENT_LIVE), "live");
	assert_string_equal(pfnbuf_event_type_name(PFNBUF_EVENT_DEAD), "dead");
	assert_string_equal(pfnbuf_event_type_name(PFNBUF_EVENT_REMOVAL_REQUEST),
			    "removal-request");
	assert_string_equal(pfnbuf_event_type_name(PFNBUF_EVENT_DEVICE_ERROR), "device-error");
	assert_string_equal(pfnbuf_event_type_name(PFNBUF_EVENT_CONVERTED), "converted");
	assert_string_equal(pfnbuf_event_type_name(PFNBUF_EVENT_CONVERT_FAILED), "convert-failed");
	assert_string_equal(pfnbuf_event_type_name((enum pfnbuf_event_type)99), "?");
	assert_string_equal(pfnbuf_cause_name(PFNBUF_CAUSE_NONE), "none");
	assert_string_equal(pfnbuf_cause_name(PFNBUF_CAUSE_RESET), "reset");
	assert_string_equal(pfnbuf_cause_name(PFNBUF_CAUSE_HOT_RESET), "hot-reset");
	assert_string_equal(pfnbuf_cause_name(PFNBUF_CAUSE_FLR), "flr");
	assert_string_equal(pfnbuf_cause_name(PFNBUF_CAUSE_DECODE_OFF), "decode-off");
	assert_string_equal(pfnbuf_cause_name(PFNBUF_CAUSE_POWER), "power");
	assert_string_equal(pfnbuf_cause_name(PFNBUF_CAUSE_CLOSE), "close");
	assert_string_equal(pfnbuf_cause_name(PFNBUF_CAUSE_FOREIGN), "foreign");
	assert_string_equal(pfnbuf_cause_name((enum pfnbuf_cause)99), "?");
	assert_string_equal(pfnbuf_version(), PFNBUF_VERSION_STRING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options),
		cmocka_unit_test(every_call_is_needed),
		cmocka_unit_test(new_errnos),
		cmocka_unit_test(asks_what_it_was_given),
		cmocka_unit_test(opens_iommufd_once),
		cmocka_unit_test(other_folders),
		cmocka_unit_test(dispatch),
		cmocka_unit_test(without_uring),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
