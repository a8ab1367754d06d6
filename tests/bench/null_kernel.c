/* SPDX-License-Identifier: MIT */
#include "null_kernel.h"

#include <errno.h>

#include "bench.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"

#define NULL_FD 100000 /* of everything that is opened */
#define MAX_FD	1024

static _Thread_local uint64_t changes;
static bool is_guest_memfd[MAX_FD];

static int null_open(void *data, const char *path, int flags)
{
	(void)data;
	(void)path;
	(void)flags;
	return NULL_FD;
}

static int null_close(void *data, int fd)
{
	(void)data;
	if (fd == NULL_FD)
		return 0;
	if (fd >= 0 && fd < MAX_FD)
		is_guest_memfd[fd] = false;
	return pfnbuf_kernel_running()->close(NULL, fd);
}

static int create_guest_memfd(const struct kvm_create_guest_memfd *create)
{
	const struct pfnbuf_kernel *k = pfnbuf_kernel_running();
	int fd = k->memfd_create(NULL, "guest_memfd", 0);

	if (fd >= MAX_FD || fd < 0 || k->ftruncate(NULL, fd, create->size) < 0)
		return -EMFILE;
	is_guest_memfd[fd] = true;
	return fd;
}

static int give_ranges(struct iommu_ioas_iova_ranges *ranges)
{
	if (ranges->num_iovas)
		*(struct iommu_iova_range *)(uintptr_t)ranges->allowed_iovas =
			(struct iommu_iova_range){ 0, UINT64_MAX };
	ranges->num_iovas = 1;
	ranges->out_iova_alignment = PAGE;
	return 0;
}

static int check_extension(uintptr_t cap)
{
	switch (cap) {
	case KVM_CAP_NR_MEMSLOTS:
		return 32764;
	case KVM_CAP_MEMORY_ATTRIBUTES:
		return PFNBUF_ATTRIBUTE_PRIVATE;
	default:
		return 1;
	}
}

static int null_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	(void)data;
	(void)fd;
	switch (request) {
	case IOMMU_IOAS_ALLOC:
		((struct iommu_ioas_alloc *)arg)->out_ioas_id = 1;
		return 0;
	case IOMMU_IOAS_IOVA_RANGES:
		return give_ranges(arg);
	case KVM_GET_API_VERSION:
		return KVM_API_VERSION;
	case KVM_CREATE_VM:
		return NULL_FD;
	case KVM_CREATE_GUEST_MEMFD:
		return create_guest_memfd(arg);
	case KVM_CHECK_EXTENSION:
		return check_extension((uintptr_t)arg);
	default:
		changes++;
		return 0;
	}
}

/* It says which is a guest_memfd that only a guest sees. */
static int null_mmap(void *data, void *addr, size_t length, int prot, int flags, int fd,
		     uint64_t offset, void **out)
{
	if (fd >= 0 && fd < MAX_FD && is_guest_memfd[fd])
		return -ENODEV;
	return pfnbuf_kernel_running()->mmap(data, addr, length, prot, flags, fd, offset, out);
}

static int null_fallocate(void *data, int fd, int mode, uint64_t offset, uint64_t length)
{
	(void)data;
	(void)fd;
	(void)mode;
	(void)offset;
	(void)length;
	changes++;
	return 0;
}

static int null_memlock(void *data, uint64_t *limit)
{
	(void)data;
	*limit = UINT64_MAX;
	return 0;
}

void null_kernel(struct pfnbuf_kernel *kernel)
{
	*kernel = *pfnbuf_kernel_running();
	kernel->open = null_open;
	kernel->close = null_close;
	kernel->ioctl = null_ioctl;
	kernel->mmap = null_mmap;
	kernel->fallocate = null_fallocate;
	kernel->memlock = null_memlock;
}

uint64_t null_kernel_changes(void)
{
	return changes;
}
