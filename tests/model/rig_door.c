/* SPDX-License-Identifier: MIT */
/* What is the same over every kernel: the door, and what is put behind a window. */
#include "rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/vfio.h"

void rig_die(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not so: %s (%s)\n", file, line, what, pfnbuf_last_error());
	abort();
}

/* ---------------------------------------------------------------- the door ------------------ */

/* A call that can fail: 0, or what it shall fail with. */
static int enter(struct rig *rig, const char *name, unsigned long request)
{
	const uint64_t n = __atomic_add_fetch(&rig->calls, 1, __ATOMIC_RELAXED);

	if (rig->log && n <= rig->log_room)
		rig->log[n - 1] = (struct rig_call){ request, name };
	for (unsigned i = 0; i < RIG_MAX_FAULTS; i++)
		if (rig->faults[i].at == n) {
			rig->failed++;
			return rig->faults[i].error;
		}
	return 0;
}

static bool is_change(unsigned long request)
{
	return request == IOMMU_IOAS_MAP || request == IOMMU_IOAS_MAP_FILE ||
	       request == IOMMU_IOAS_UNMAP || request == KVM_SET_USER_MEMORY_REGION ||
	       request == KVM_SET_USER_MEMORY_REGION2;
}

/* Say that the BAR is sparse, as drivers do whose BARs have parts that nobody may map. */
static void make_sparse(const struct rig *rig, struct vfio_region_info *info, uint32_t argsz)
{
	const uint32_t size =
		(uint32_t)(sizeof(struct vfio_region_info_cap_sparse_mmap) +
			   rig->nr_sparse * sizeof(struct vfio_region_sparse_mmap_area));
	struct vfio_region_info_cap_sparse_mmap *cap;

	info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
	info->argsz = (uint32_t)sizeof(*info) + size;
	info->cap_offset = 0;
	if (argsz < info->argsz)
		return;
	info->cap_offset = sizeof(*info);
	cap = (void *)(info + 1);
	*cap = (struct vfio_region_info_cap_sparse_mmap){
		.header = { .id = VFIO_REGION_INFO_CAP_SPARSE_MMAP, .version = 1 },
		.nr_areas = rig->nr_sparse,
	};
	for (uint32_t i = 0; i < rig->nr_sparse; i++) {
		cap->areas[i].offset = rig->sparse[i].offset;
		cap->areas[i].size = rig->sparse[i].length;
	}
}

static int door_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	struct rig *rig = data;
	struct vfio_region_info *info = arg;
	const uint32_t argsz = request == VFIO_DEVICE_GET_REGION_INFO ? info->argsz : 0;
	/* Of what nothing refers to DESTROY cannot fail (drivers/iommu/iommufd/main.c). */
	int r = request == IOMMU_DESTROY ? 0 : enter(rig, "ioctl", request);

	if (r < 0)
		return r;
	if (is_change(request))
		__atomic_add_fetch(&rig->changes, 1, __ATOMIC_RELAXED);
	r = rig->inner->ioctl(rig->inner->data, fd, request, arg);
	if (r >= 0 && request == VFIO_DEVICE_GET_REGION_INFO && info->index == RIG_BAR &&
	    rig->nr_sparse)
		make_sparse(rig, info, argsz);
	if (r >= 0 && request == IOMMU_IOAS_IOVA_RANGES && rig->alignment)
		((struct iommu_ioas_iova_ranges *)arg)->out_iova_alignment = rig->alignment;
	return r;
}

static int door_open(void *data, const char *path, int flags)
{
	struct rig *rig = data;
	int r = enter(rig, "open", 0);

	return r < 0 ? r : rig->inner->open(rig->inner->data, path, flags);
}

static int door_close(void *data, int fd)
{
	struct rig *rig = data;

	return rig->inner->close(rig->inner->data, fd);
}

static int door_dup(void *data, int fd)
{
	struct rig *rig = data;
	int r = enter(rig, "dup", 0);

	return r < 0 ? r : rig->inner->dup(rig->inner->data, fd);
}

static int door_set_cloexec(void *data, int fd)
{
	struct rig *rig = data;
	int r = enter(rig, "fcntl", 0);

	return r < 0 ? r : rig->inner->set_cloexec(rig->inner->data, fd);
}

static int door_mmap(void *data, void *addr, size_t length, int prot, int flags, int fd,
		     uint64_t offset, void **out)
{
	struct rig *rig = data;
	int r = enter(rig, "mmap", 0);

	return r < 0 ? r
		     : rig->inner->mmap(rig->inner->data, addr, length, prot, flags, fd, offset,
					out);
}

static int door_munmap(void *data, void *addr, size_t length)
{
	struct rig *rig = data;

	return rig->inner->munmap(rig->inner->data, addr, length);
}

static int door_madvise(void *data, void *addr, size_t length, int advice)
{
	struct rig *rig = data;
	int r = enter(rig, "madvise", 0);

	return r < 0 ? r : rig->inner->madvise(rig->inner->data, addr, length, advice);
}

static ssize_t door_pread(void *data, int fd, void *buf, size_t count, uint64_t offset)
{
	struct rig *rig = data;
	int r = enter(rig, "pread", 0);

	return r < 0 ? r : rig->inner->pread(rig->inner->data, fd, buf, count, offset);
}

static ssize_t door_pwrite(void *data, int fd, const void *buf, size_t count, uint64_t offset)
{
	struct rig *rig = data;
	int r = enter(rig, "pwrite", 0);

	return r < 0 ? r : rig->inner->pwrite(rig->inner->data, fd, buf, count, offset);
}

static ssize_t door_read(void *data, int fd, void *buf, size_t count)
{
	struct rig *rig = data;

	return rig->inner->read(rig->inner->data, fd, buf, count);
}

static ssize_t door_write(void *data, int fd, const void *buf, size_t count)
{
	struct rig *rig = data;

	return rig->inner->write(rig->inner->data, fd, buf, count);
}

static int64_t door_lseek(void *data, int fd, int64_t offset, int whence)
{
	struct rig *rig = data;
	int r = enter(rig, "lseek", 0);

	return r < 0 ? r : rig->inner->lseek(rig->inner->data, fd, offset, whence);
}

static int door_fstat(void *data, int fd, struct stat *st)
{
	struct rig *rig = data;
	int r = enter(rig, "fstat", 0);

	return r < 0 ? r : rig->inner->fstat(rig->inner->data, fd, st);
}

static int door_fstatfs_type(void *data, int fd, uint64_t *f_type)
{
	struct rig *rig = data;
	int r = enter(rig, "fstatfs", 0);

	return r < 0 ? r : rig->inner->fstatfs_type(rig->inner->data, fd, f_type);
}

static int door_fallocate(void *data, int fd, int mode, uint64_t offset, uint64_t length)
{
	struct rig *rig = data;
	int r = enter(rig, "fallocate", 0);

	return r < 0 ? r : rig->inner->fallocate(rig->inner->data, fd, mode, offset, length);
}

static int door_ftruncate(void *data, int fd, uint64_t length)
{
	struct rig *rig = data;
	int r = enter(rig, "ftruncate", 0);

	return r < 0 ? r : rig->inner->ftruncate(rig->inner->data, fd, length);
}

static int door_memfd_create(void *data, const char *name, unsigned flags)
{
	struct rig *rig = data;
	int r = enter(rig, "memfd_create", 0);

	return r < 0 ? r : rig->inner->memfd_create(rig->inner->data, name, flags);
}

static int door_memlock(void *data, uint64_t *limit)
{
	struct rig *rig = data;

	return rig->inner->memlock(rig->inner->data, limit);
}

static int door_eventfd(void *data, unsigned initval, int flags)
{
	struct rig *rig = data;
	int r = enter(rig, "eventfd", 0);

	return r < 0 ? r : rig->inner->eventfd(rig->inner->data, initval, flags);
}

static int door_timerfd(void *data)
{
	struct rig *rig = data;
	int r = enter(rig, "timerfd_create", 0);

	return r < 0 ? r : rig->inner->timerfd(rig->inner->data);
}

static int door_timerfd_set(void *data, int fd, uint64_t ns)
{
	struct rig *rig = data;
	int r = enter(rig, "timerfd_settime", 0);

	return r < 0 ? r : rig->inner->timerfd_set(rig->inner->data, fd, ns);
}

static ssize_t door_readlink(void *data, const char *path, char *buf, size_t size)
{
	struct rig *rig = data;

	return rig->inner->readlink(rig->inner->data, path, buf, size);
}

static ssize_t door_list(void *data, const char *path, char *buf, size_t size)
{
	struct rig *rig = data;

	return rig->inner->list(rig->inner->data, path, buf, size);
}

static int door_epoll_create(void *data)
{
	struct rig *rig = data;

	return rig->inner->epoll_create(rig->inner->data);
}

static int door_epoll_ctl(void *data, int epfd, int op, int fd, struct epoll_event *event)
{
	struct rig *rig = data;

	return rig->inner->epoll_ctl(rig->inner->data, epfd, op, fd, event);
}

static int door_epoll_wait(void *data, int epfd, struct epoll_event *events, int max,
			   int timeout_ms)
{
	struct rig *rig = data;

	return rig->inner->epoll_wait(rig->inner->data, epfd, events, max, timeout_ms);
}

static const struct pfnbuf_kernel wrapper = {
	.size = sizeof(struct pfnbuf_kernel),
	.open = door_open,
	.close = door_close,
	.dup = door_dup,
	.set_cloexec = door_set_cloexec,
	.ioctl = door_ioctl,
	.mmap = door_mmap,
	.munmap = door_munmap,
	.madvise = door_madvise,
	.pread = door_pread,
	.pwrite = door_pwrite,
	.read = door_read,
	.write = door_write,
	.lseek = door_lseek,
	.fstat = door_fstat,
	.fstatfs_type = door_fstatfs_type,
	.fallocate = door_fallocate,
	.ftruncate = door_ftruncate,
	.memfd_create = door_memfd_create,
	.memlock = door_memlock,
	.eventfd = door_eventfd,
	.timerfd = door_timerfd,
	.timerfd_set = door_timerfd_set,
	.readlink = door_readlink,
	.list = door_list,
	.epoll_create = door_epoll_create,
	.epoll_ctl = door_epoll_ctl,
	.epoll_wait = door_epoll_wait,
};

void rig_count(struct rig *rig, struct rig_call *log, size_t room)
{
	rig->calls = 0;
	rig->changes = 0;
	rig->failed = 0;
	rig->log = log;
	rig->log_room = room;
	memset(rig->faults, 0, sizeof(rig->faults));
}

void rig_fail(struct rig *rig, unsigned i, uint64_t at, int error)
{
	rig->faults[i].at = at;
	rig->faults[i].error = -error;
}

struct pfnbuf_kernel *rig_door(struct rig *rig, const struct pfnbuf_kernel *inner)
{
	rig->inner = inner;
	rig->door = wrapper;
	rig->door.data = rig;
	return &rig->door;
}

/* ---------------------------------------------------------------- what is behind a window --- */

uint64_t rig_tag(uint64_t what, uint64_t page)
{
	return (what + page) << 16 | 0x5a5a;
}

struct pfnbuf_buf *rig_memfd(struct rig *rig, uint64_t pages)
{
	struct pfnbuf_buf *buf;
	void *addr;

	REQUIRE(pfnbuf_buf_new_memfd(rig->ctx, pages * PAGE, 0, &buf) == 0);
	REQUIRE(pfnbuf_buf_map(buf, 0, pages * PAGE, &addr) == 0);
	for (uint64_t page = 0; page < pages; page++) {
		const uint64_t tag = rig_tag(RIG_TAG_RAM, page);

		memcpy((char *)addr + page * PAGE, &tag, sizeof(tag));
	}
	REQUIRE(pfnbuf_buf_unmap(buf, addr, pages * PAGE) == 0);
	return buf;
}

struct pfnbuf_layout *rig_layout(const char *picture)
{
	const uint64_t pages = strlen(picture);
	struct pfnbuf_layout *layout;

	REQUIRE(pfnbuf_layout_new(pages * PAGE, PAGE, PFNBUF_HOLE, &layout) == 0);
	for (uint64_t page = 0; page < pages; page++) {
		const enum pfnbuf_vis vis = picture[page] == 's'   ? PFNBUF_SHARED
					    : picture[page] == 'p' ? PFNBUF_PRIVATE
								   : PFNBUF_HOLE;

		REQUIRE(pfnbuf_layout_set(layout, page * PAGE, PAGE, vis) == 0);
	}
	return layout;
}
