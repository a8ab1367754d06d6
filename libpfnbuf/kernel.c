/* SPDX-License-Identifier: MIT */
/*
 * The kernel this process runs on, behind the table of calls. Nothing else in the library makes a
 * system call on a device, an I/O address space or a VM.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "kernel.h"
#include "uapi/dma-buf.h"
#include "uapi/iommufd.h"
#include "uapi/kvm.h"
#include "uapi/proposed.h"
#include "uapi/vfio.h"

/* A system call's result as the table gives it; the caller's errno is put back. */
#define RESULT(call)                                                                               \
	({                                                                                         \
		const int saved_ = errno;                                                          \
		__typeof__(call) result_ = (call);                                                 \
		if (result_ < 0) {                                                                 \
			result_ = (__typeof__(result_))(-errno);                                   \
			errno = saved_;                                                            \
		}                                                                                  \
		result_;                                                                           \
	})

static int running_open(void *data, const char *path, int flags)
{
	(void)data;
	return RESULT(open(path, flags | O_CLOEXEC));
}

static int running_close(void *data, int fd)
{
	(void)data;
	return RESULT(close(fd));
}

static int running_dup(void *data, int fd)
{
	(void)data;
	return RESULT(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

static int running_set_cloexec(void *data, int fd)
{
	(void)data;
	return RESULT(fcntl(fd, F_SETFD, FD_CLOEXEC));
}

static int running_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	(void)data;
	return RESULT(ioctl(fd, request, arg));
}

static int running_mmap(void *data, void *addr, size_t length, int prot, int flags, int fd,
			uint64_t offset, void **out)
{
	const int saved = errno;
	void *p = mmap(addr, length, prot, flags, fd, (off_t)offset);
	int r = 0;

	(void)data;
	if (p == MAP_FAILED) {
		r = -errno;
		errno = saved;
		return r;
	}
	*out = p;
	return 0;
}

static int running_munmap(void *data, void *addr, size_t length)
{
	(void)data;
	return RESULT(munmap(addr, length));
}

static int running_madvise(void *data, void *addr, size_t length, int advice)
{
	(void)data;
	return RESULT(madvise(addr, length, advice));
}

static ssize_t running_pread(void *data, int fd, void *buf, size_t count, uint64_t offset)
{
	(void)data;
	return RESULT(pread(fd, buf, count, (off_t)offset));
}

static ssize_t running_pwrite(void *data, int fd, const void *buf, size_t count, uint64_t offset)
{
	(void)data;
	return RESULT(pwrite(fd, buf, count, (off_t)offset));
}

static ssize_t running_read(void *data, int fd, void *buf, size_t count)
{
	(void)data;
	return RESULT(read(fd, buf, count));
}

static ssize_t running_write(void *data, int fd, const void *buf, size_t count)
{
	(void)data;
	return RESULT(write(fd, buf, count));
}

static int64_t running_lseek(void *data, int fd, int64_t offset, int whence)
{
	(void)data;
	return RESULT(lseek(fd, (off_t)offset, whence));
}

static int running_fstat(void *data, int fd, struct stat *st)
{
	(void)data;
	return RESULT(fstat(fd, st));
}

static int running_fstatfs_type(void *data, int fd, uint64_t *f_type)
{
	struct statfs fs;
	int r = RESULT(fstatfs(fd, &fs));

	(void)data;
	if (r < 0)
		return r;
	*f_type = (uint64_t)fs.f_type;
	return 0;
}

static int running_fallocate(void *data, int fd, int mode, uint64_t offset, uint64_t length)
{
	(void)data;
	return RESULT(fallocate(fd, mode, (off_t)offset, (off_t)length));
}

static int running_ftruncate(void *data, int fd, uint64_t length)
{
	(void)data;
	return RESULT(ftruncate(fd, (off_t)length));
}

static int running_memfd_create(void *data, const char *name, unsigned flags)
{
	(void)data;
	return RESULT(memfd_create(name, flags | MFD_CLOEXEC));
}

static bool has_ipc_lock(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];

	if (RESULT(syscall(SYS_capget, &header, caps)) < 0)
		return false;
	return caps[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK);
}

/*
 * What the process may pin is not counted where it has CAP_IPC_LOCK: drivers/iommu/iommufd/pages.c.
 */
static int running_memlock(void *data, uint64_t *limit)
{
	struct rlimit rlimit;
	int r = RESULT(getrlimit(RLIMIT_MEMLOCK, &rlimit));

	(void)data;
	if (r < 0)
		return r;
	*limit = rlimit.rlim_cur == RLIM_INFINITY || has_ipc_lock() ? UINT64_MAX : rlimit.rlim_cur;
	return 0;
}

static int running_eventfd(void *data, unsigned initval, int flags)
{
	(void)data;
	return RESULT(eventfd(initval, flags | EFD_CLOEXEC));
}

static int running_timerfd(void *data)
{
	(void)data;
	return RESULT(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
}

static int running_timerfd_set(void *data, int fd, uint64_t ns)
{
	const struct itimerspec once = {
		.it_value = { (time_t)(ns / 1000000000U), (long)(ns % 1000000000U) },
	};

	(void)data;
	return RESULT(timerfd_settime(fd, 0, &once, NULL));
}

static ssize_t running_readlink(void *data, const char *path, char *buf, size_t size)
{
	(void)data;
	return RESULT(readlink(path, buf, size));
}

static ssize_t collect_names(DIR *dir, char *buf, size_t size)
{
	size_t used = 0;

	for (;;) {
		const struct dirent *entry;
		size_t n;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return errno ? -errno : (ssize_t)used;
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		n = strlen(entry->d_name) + 1;
		if (n > size - used)
			return -ERANGE;
		memcpy(buf + used, entry->d_name, n);
		used += n;
	}
}

static ssize_t running_list(void *data, const char *path, char *buf, size_t size)
{
	const int saved = errno;
	DIR *dir = opendir(path);
	ssize_t r;

	(void)data;
	if (!dir) {
		r = -errno;
	} else {
		r = collect_names(dir, buf, size);
		closedir(dir);
	}
	errno = saved;
	return r;
}

static int running_epoll_create(void *data)
{
	(void)data;
	return RESULT(epoll_create1(EPOLL_CLOEXEC));
}

static int running_epoll_ctl(void *data, int epfd, int op, int fd, struct epoll_event *event)
{
	(void)data;
	return RESULT(epoll_ctl(epfd, op, fd, event));
}

static int running_epoll_wait(void *data, int epfd, struct epoll_event *events, int max,
			      int timeout_ms)
{
	(void)data;
	return RESULT(epoll_wait(epfd, events, max, timeout_ms));
}

static const struct pfnbuf_kernel running = {
	.size = sizeof(struct pfnbuf_kernel),
	.open = running_open,
	.close = running_close,
	.dup = running_dup,
	.set_cloexec = running_set_cloexec,
	.ioctl = running_ioctl,
	.mmap = running_mmap,
	.munmap = running_munmap,
	.madvise = running_madvise,
	.pread = running_pread,
	.pwrite = running_pwrite,
	.read = running_read,
	.write = running_write,
	.lseek = running_lseek,
	.fstat = running_fstat,
	.fstatfs_type = running_fstatfs_type,
	.fallocate = running_fallocate,
	.ftruncate = running_ftruncate,
	.memfd_create = running_memfd_create,
	.memlock = running_memlock,
	.eventfd = running_eventfd,
	.timerfd = running_timerfd,
	.timerfd_set = running_timerfd_set,
	.readlink = running_readlink,
	.list = running_list,
	.epoll_create = running_epoll_create,
	.epoll_ctl = running_epoll_ctl,
	.epoll_wait = running_epoll_wait,
};

const struct pfnbuf_kernel *pfnbuf_kernel_running(void)
{
	return &running;
}

bool pfnbuf_kernel_is_complete(const struct pfnbuf_kernel *k)
{
	return k->size >= sizeof(*k) && k->open && k->close && k->dup && k->set_cloexec &&
	       k->ioctl && k->mmap && k->munmap && k->madvise && k->pread && k->pwrite && k->read &&
	       k->write && k->lseek && k->fstat && k->fstatfs_type && k->fallocate &&
	       k->ftruncate && k->memfd_create && k->memlock && k->eventfd && k->timerfd &&
	       k->timerfd_set && k->readlink && k->list && k->epoll_create && k->epoll_ctl &&
	       k->epoll_wait;
}

static const struct {
	unsigned long request;
	const char *name;
} ioctl_names[] = {
#define NAME(request)                                                                              \
	{                                                                                          \
		request, #request                                                                  \
	}
	NAME(VFIO_DEVICE_GET_INFO),
	NAME(VFIO_DEVICE_GET_REGION_INFO),
	NAME(VFIO_DEVICE_GET_IRQ_INFO),
	NAME(VFIO_DEVICE_SET_IRQS),
	NAME(VFIO_DEVICE_RESET),
	NAME(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO),
	NAME(VFIO_DEVICE_PCI_HOT_RESET),
	NAME(VFIO_DEVICE_FEATURE),
	NAME(VFIO_DEVICE_BIND_IOMMUFD),
	NAME(VFIO_DEVICE_ATTACH_IOMMUFD_PT),
	NAME(VFIO_DEVICE_DETACH_IOMMUFD_PT),
	NAME(IOMMU_DESTROY),
	NAME(IOMMU_IOAS_ALLOC),
	NAME(IOMMU_IOAS_ALLOW_IOVAS),
	NAME(IOMMU_IOAS_COPY),
	NAME(IOMMU_IOAS_IOVA_RANGES),
	NAME(IOMMU_IOAS_MAP),
	NAME(IOMMU_IOAS_UNMAP),
	NAME(IOMMU_OPTION),
	NAME(IOMMU_VFIO_IOAS),
	NAME(IOMMU_HWPT_ALLOC),
	NAME(IOMMU_GET_HW_INFO),
	NAME(IOMMU_FAULT_QUEUE_ALLOC),
	NAME(IOMMU_VIOMMU_ALLOC),
	NAME(IOMMU_VDEVICE_ALLOC),
	NAME(IOMMU_IOAS_MAP_FILE),
	NAME(IOMMU_IOAS_NOIOMMU_GET_PA),
	NAME(KVM_GET_API_VERSION),
	NAME(KVM_CREATE_VM),
	NAME(KVM_CHECK_EXTENSION),
	NAME(KVM_SET_USER_MEMORY_REGION),
	NAME(KVM_SET_USER_MEMORY_REGION2),
	NAME(KVM_CREATE_GUEST_MEMFD),
	NAME(KVM_SET_MEMORY_ATTRIBUTES),
	NAME(KVM_SET_MEMORY_ATTRIBUTES2),
	NAME(KVM_PRE_FAULT_MEMORY),
	NAME(KVM_GET_DIRTY_LOG),
	NAME(KVM_CLEAR_DIRTY_LOG),
	NAME(KVM_CREATE_DEVICE),
	NAME(KVM_SET_DEVICE_ATTR),
	NAME(KVM_GET_DEVICE_ATTR),
	NAME(KVM_HAS_DEVICE_ATTR),
	NAME(DMA_BUF_IOCTL_SYNC),
	NAME(DMA_BUF_SET_NAME_B),
#undef NAME
};

const char *pfnbuf_kernel_ioctl_name(unsigned long request)
{
	for (size_t i = 0; i < sizeof(ioctl_names) / sizeof(*ioctl_names); i++)
		if (ioctl_names[i].request == request)
			return ioctl_names[i].name;
	return NULL;
}
