/* SPDX-License-Identifier: MIT */
/* The door to the running kernel, on files that any kernel has. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libpfnbuf/kernel.h"
#include "libpfnbuf/uapi/dma-buf.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/vfio.h"
#include "mock.h"

#define UNTOUCHED 4242

static const struct pfnbuf_kernel *k;

static int setup(void **state)
{
	(void)state;
	k = pfnbuf_kernel_running();
	errno = UNTOUCHED;
	return 0;
}

/* The caller's errno is never touched, not even by what fails. */
static int teardown(void **state)
{
	(void)state;
	assert_int_equal(errno, UNTOUCHED);
	return 0;
}

static bool is_cloexec(int fd)
{
	int saved = errno;
	int flags = fcntl(fd, F_GETFD);

	errno = saved;
	return flags >= 0 && flags & FD_CLOEXEC;
}

static void is_complete(void **state)
{
	(void)state;
	assert_true(pfnbuf_kernel_is_complete(k));
	assert_int_equal(k->size, sizeof(*k));
}

static void files(void **state)
{
	struct stat st;
	uint64_t type = 0;
	char bytes[8] = "";
	int fd, twin;

	(void)state;
	fd = k_memfd_create(k, "test", 0);
	assert_true(fd >= 0);
	assert_true(is_cloexec(fd));
	assert_int_equal(k_ftruncate(k, fd, 0x10000), 0);
	assert_int_equal(k_pwrite(k, fd, "abcdef", 6, 0x8000), 6);
	assert_int_equal(k_pread(k, fd, bytes, 4, 0x8002), 4);
	assert_string_equal(bytes, "cdef");
	assert_int_equal(k_write(k, fd, "xy", 2), 2);
	assert_int_equal(k_lseek(k, fd, 0, SEEK_SET), 0);
	assert_int_equal(k_read(k, fd, bytes, 2), 2);
	assert_memory_equal(bytes, "xy", 2);
	assert_int_equal(k_lseek(k, fd, 0, SEEK_END), 0x10000);
	assert_int_equal(k_fstat(k, fd, &st), 0);
	assert_int_equal(st.st_size, 0x10000);
	assert_int_equal(k_memlock(k, &type), 0);
	assert_true(type > 0);
	assert_int_equal(k_fstatfs_type(k, fd, &type), 0);
	assert_int_equal(type, 0x01021994);
	assert_int_equal(
		k_fallocate(k, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0x8000, 0x1000), 0);
	assert_int_equal(k_pread(k, fd, bytes, 1, 0x8000), 1);
	assert_int_equal(bytes[0], 0);
	twin = k_dup(k, fd);
	assert_true(twin >= 0 && twin != fd && is_cloexec(twin));
	assert_int_equal(k_close(k, fd), 0);
	assert_int_equal(k_close(k, fd), -EBADF);
	assert_int_equal(k_fstat(k, twin, &st), 0);
	assert_int_equal(k_close(k, twin), 0);
}

static void failures(void **state)
{
	struct epoll_event event = { 0 };
	char bytes[8] = "";
	struct stat st;
	void *addr = (void *)1;
	uint64_t type = 7;

	(void)state;
	assert_int_equal(k_open(k, "/nowhere/at/all", O_RDONLY), -ENOENT);
	assert_int_equal(k_dup(k, -1), -EBADF);
	assert_int_equal(k_set_cloexec(k, -1), -EBADF);
	assert_int_equal(k_ioctl(k, -1, KVM_GET_API_VERSION, NULL), -EBADF);
	assert_int_equal(k_mmap(k, 0x1000, PROT_READ, MAP_SHARED, -1, 0, &addr), -EBADF);
	assert_ptr_equal(addr, (void *)1);
	assert_int_equal(k_munmap(k, (void *)1, 0x1000), -EINVAL);
	assert_int_equal(k_pread(k, -1, bytes, 1, 0), -EBADF);
	assert_int_equal(k_pwrite(k, -1, bytes, 1, 0), -EBADF);
	assert_int_equal(k_read(k, -1, bytes, 1), -EBADF);
	assert_int_equal(k_write(k, -1, bytes, 1), -EBADF);
	assert_int_equal(k_lseek(k, -1, 0, SEEK_SET), -EBADF);
	assert_int_equal(k_fstat(k, -1, &st), -EBADF);
	assert_int_equal(k_fstatfs_type(k, -1, &type), -EBADF);
	assert_int_equal(type, 7);
	assert_int_equal(k_fallocate(k, -1, 0, 0, 1), -EBADF);
	assert_int_equal(k_ftruncate(k, -1, 1), -EBADF);
	assert_int_equal(k_memfd_create(k, "x", 1u << 30), -EINVAL);
	assert_int_equal(k_eventfd(k, 0, 1 << 30), -EINVAL);
	assert_int_equal(k_madvise(k, (void *)1, 1, MADV_DONTNEED), -EINVAL);
	assert_int_equal(k_timerfd_set(k, -1, 1), -EBADF);
	assert_int_equal(k_readlink(k, "/", bytes, sizeof(bytes)), -EINVAL);
	assert_int_equal(k_list(k, "/nowhere/at/all", bytes, sizeof(bytes)), -ENOENT);
	assert_int_equal(k_epoll_ctl(k, -1, EPOLL_CTL_ADD, 0, &event), -EBADF);
	assert_int_equal(k_epoll_wait(k, -1, &event, 1, 0), -EBADF);
}

static void cloexec(void **state)
{
	int fd = k_open(k, "/", O_RDONLY), saved = errno;
	int made[5];

	(void)state;
	assert_true(fd >= 0 && is_cloexec(fd));
	assert_int_equal(fcntl(fd, F_SETFD, 0), 0);
	errno = saved;
	assert_false(is_cloexec(fd));
	assert_int_equal(k_set_cloexec(k, fd), 0);
	assert_true(is_cloexec(fd));
	made[0] = k_dup(k, fd);
	made[1] = k_memfd_create(k, "test", 0);
	made[2] = k_eventfd(k, 0, 0);
	made[3] = k_timerfd(k);
	made[4] = k_epoll_create(k);
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(made); i++) {
		assert_true(made[i] >= 0 && is_cloexec(made[i]));
		assert_int_equal(k_close(k, made[i]), 0);
	}
	assert_int_equal(k_close(k, fd), 0);
}

static void mapping(void **state)
{
	int fd = k_memfd_create(k, "test", 0);
	char *addr = NULL;

	(void)state;
	assert_int_equal(k_ftruncate(k, fd, 0x2000), 0);
	assert_int_equal(k_pwrite(k, fd, "Z", 1, 0x1000), 1);
	assert_int_equal(k_mmap(k, 0x1000, PROT_READ, MAP_SHARED, fd, 0x1000, (void **)&addr), 0);
	assert_int_equal(addr[0], 'Z');
	assert_int_equal(k_munmap(k, addr, 0x1000), 0);
	assert_int_equal(k_close(k, fd), 0);
}

static void time_passes(void **state)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epfd = k_epoll_create(k), fd = k_timerfd(k);
	uint64_t ticks = 0;

	(void)state;
	assert_true(fd >= 0 && is_cloexec(fd));
	assert_int_equal(k_epoll_ctl(k, epfd, EPOLL_CTL_ADD, fd, &event), 0);
	assert_int_equal(k_read(k, fd, &ticks, sizeof(ticks)), -EAGAIN);
	assert_int_equal(k_timerfd_set(k, fd, UINT64_C(3600000000000)), 0);
	assert_int_equal(k_epoll_wait(k, epfd, &event, 1, 0), 0);
	assert_int_equal(k_timerfd_set(k, fd, 1000000), 0);
	assert_int_equal(k_epoll_wait(k, epfd, &event, 1, 5000), 1);
	assert_int_equal(k_read(k, fd, &ticks, sizeof(ticks)), sizeof(ticks));
	assert_int_equal(ticks, 1);
	assert_int_equal(k_timerfd_set(k, fd, 1), 0);
	assert_int_equal(k_timerfd_set(k, fd, 0), 0);
	assert_int_equal(k_epoll_wait(k, epfd, &event, 1, 5), 0);
	assert_int_equal(k_close(k, fd), 0);
	assert_int_equal(k_close(k, epfd), 0);
}

static void advice(void **state)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(p, MAP_FAILED);
	*p = 1;
	assert_int_equal(k_madvise(k, p, page, MADV_REMOVE), -EINVAL);
	assert_int_equal(*p, 1);
	assert_int_equal(k_madvise(k, p, page, MADV_DONTNEED), 0);
	assert_int_equal(*p, 0);
	assert_int_equal(munmap(p, page), 0);
}

static void waiting(void **state)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = 99 };
	int epfd = k_epoll_create(k), fd = k_eventfd(k, 0, EFD_NONBLOCK);
	const uint64_t one = 1;

	(void)state;
	assert_true(epfd >= 0 && is_cloexec(epfd));
	assert_true(fd >= 0 && is_cloexec(fd));
	assert_int_equal(k_epoll_ctl(k, epfd, EPOLL_CTL_ADD, fd, &event), 0);
	event.data.u32 = 0;
	assert_int_equal(k_epoll_wait(k, epfd, &event, 1, 0), 0);
	assert_int_equal(k_write(k, fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(k_epoll_wait(k, epfd, &event, 1, 0), 1);
	assert_int_equal(event.data.u32, 99);
	assert_int_equal(k_close(k, fd), 0);
	assert_int_equal(k_close(k, epfd), 0);
}

static void folders(void **state)
{
	char folder[] = "/tmp/pfnbuf-XXXXXX", path[64], names[16], target[32];
	const char *const files_in[] = { "a", "bb", "ccc" };
	size_t seen = 0;
	ssize_t n;
	int saved = errno;

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(k_list(k, folder, names, sizeof(names)), 0);
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, files_in[i]);
		assert_int_equal(symlink("../there", path), 0);
	}
	/* 2 + 3 + 4 bytes with their NULs, in any order. */
	n = k_list(k, folder, names, sizeof(names));
	assert_int_equal(n, 9);
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1)
		seen += strlen(names + at);
	assert_int_equal(seen, 6);
	assert_int_equal(k_list(k, folder, names, 9), 9);
	assert_int_equal(k_list(k, folder, names, 8), -ERANGE);
	assert_int_equal(k_readlink(k, path, target, sizeof(target)), 8);
	assert_memory_equal(target, "../there", 8);
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, files_in[i]);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(rmdir(folder), 0);
	errno = saved;
}

static void ioctl_names(void **state)
{
	static const struct {
		unsigned long request;
		const char *name;
	} some[] = {
		{ VFIO_DEVICE_RESET, "VFIO_DEVICE_RESET" },
		{ VFIO_DEVICE_FEATURE, "VFIO_DEVICE_FEATURE" },
		{ IOMMU_IOAS_MAP_FILE, "IOMMU_IOAS_MAP_FILE" },
		{ IOMMU_DESTROY, "IOMMU_DESTROY" },
		{ KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION" },
		{ KVM_SET_USER_MEMORY_REGION2, "KVM_SET_USER_MEMORY_REGION2" },
		{ DMA_BUF_IOCTL_SYNC, "DMA_BUF_IOCTL_SYNC" },
	};

	(void)state;
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(some); i++)
		assert_string_equal(pfnbuf_kernel_ioctl_name(some[i].request), some[i].name);
	assert_null(pfnbuf_kernel_ioctl_name(0));
	assert_null(pfnbuf_kernel_ioctl_name(UINT64_MAX));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(is_complete), TEST(files),	      TEST(failures), TEST(cloexec),
		TEST(mapping),	   TEST(waiting),     TEST(folders),  TEST(time_passes),
		TEST(advice),	   TEST(ioctl_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
