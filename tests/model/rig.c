/* SPDX-License-Identifier: MIT */
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

static const struct pfnbuf_kernel *inner(const struct rig *rig)
{
	return pfnbuf_sim_kernel(rig->sim);
}

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
	r = inner(rig)->ioctl(inner(rig)->data, fd, request, arg);
	if (r >= 0 && request == VFIO_DEVICE_GET_REGION_INFO && info->index == RIG_BAR &&
	    rig->nr_sparse)
		make_sparse(rig, info, argsz);
	return r;
}

static int door_open(void *data, const char *path, int flags)
{
	struct rig *rig = data;
	int r = enter(rig, "open", 0);

	return r < 0 ? r : inner(rig)->open(inner(rig)->data, path, flags);
}

static int door_close(void *data, int fd)
{
	struct rig *rig = data;

	return inner(rig)->close(inner(rig)->data, fd);
}

static int door_dup(void *data, int fd)
{
	struct rig *rig = data;
	int r = enter(rig, "dup", 0);

	return r < 0 ? r : inner(rig)->dup(inner(rig)->data, fd);
}

static int door_set_cloexec(void *data, int fd)
{
	struct rig *rig = data;
	int r = enter(rig, "fcntl", 0);

	return r < 0 ? r : inner(rig)->set_cloexec(inner(rig)->data, fd);
}

static int door_mmap(void *data, void *addr, size_t length, int prot, int flags, int fd,
		     uint64_t offset, void **out)
{
	struct rig *rig = data;
	int r = enter(rig, "mmap", 0);

	return r < 0 ? r
		     : inner(rig)->mmap(inner(rig)->data, addr, length, prot, flags, fd, offset,
					out);
}

static int door_munmap(void *data, void *addr, size_t length)
{
	struct rig *rig = data;

	return inner(rig)->munmap(inner(rig)->data, addr, length);
}

static ssize_t door_pread(void *data, int fd, void *buf, size_t count, uint64_t offset)
{
	struct rig *rig = data;
	int r = enter(rig, "pread", 0);

	return r < 0 ? r : inner(rig)->pread(inner(rig)->data, fd, buf, count, offset);
}

static ssize_t door_pwrite(void *data, int fd, const void *buf, size_t count, uint64_t offset)
{
	struct rig *rig = data;
	int r = enter(rig, "pwrite", 0);

	return r < 0 ? r : inner(rig)->pwrite(inner(rig)->data, fd, buf, count, offset);
}

static ssize_t door_read(void *data, int fd, void *buf, size_t count)
{
	struct rig *rig = data;

	return inner(rig)->read(inner(rig)->data, fd, buf, count);
}

static ssize_t door_write(void *data, int fd, const void *buf, size_t count)
{
	struct rig *rig = data;

	return inner(rig)->write(inner(rig)->data, fd, buf, count);
}

static int64_t door_lseek(void *data, int fd, int64_t offset, int whence)
{
	struct rig *rig = data;
	int r = enter(rig, "lseek", 0);

	return r < 0 ? r : inner(rig)->lseek(inner(rig)->data, fd, offset, whence);
}

static int door_fstat(void *data, int fd, struct stat *st)
{
	struct rig *rig = data;
	int r = enter(rig, "fstat", 0);

	return r < 0 ? r : inner(rig)->fstat(inner(rig)->data, fd, st);
}

static int door_fstatfs_type(void *data, int fd, uint64_t *f_type)
{
	struct rig *rig = data;
	int r = enter(rig, "fstatfs", 0);

	return r < 0 ? r : inner(rig)->fstatfs_type(inner(rig)->data, fd, f_type);
}

static int door_fallocate(void *data, int fd, int mode, uint64_t offset, uint64_t length)
{
	struct rig *rig = data;
	int r = enter(rig, "fallocate", 0);

	return r < 0 ? r : inner(rig)->fallocate(inner(rig)->data, fd, mode, offset, length);
}

static int door_ftruncate(void *data, int fd, uint64_t length)
{
	struct rig *rig = data;
	int r = enter(rig, "ftruncate", 0);

	return r < 0 ? r : inner(rig)->ftruncate(inner(rig)->data, fd, length);
}

static int door_memfd_create(void *data, const char *name, unsigned flags)
{
	struct rig *rig = data;
	int r = enter(rig, "memfd_create", 0);

	return r < 0 ? r : inner(rig)->memfd_create(inner(rig)->data, name, flags);
}

static int door_memlock(void *data, uint64_t *limit)
{
	struct rig *rig = data;

	return inner(rig)->memlock(inner(rig)->data, limit);
}

static int door_eventfd(void *data, unsigned initval, int flags)
{
	struct rig *rig = data;
	int r = enter(rig, "eventfd", 0);

	return r < 0 ? r : inner(rig)->eventfd(inner(rig)->data, initval, flags);
}

static ssize_t door_readlink(void *data, const char *path, char *buf, size_t size)
{
	struct rig *rig = data;

	return inner(rig)->readlink(inner(rig)->data, path, buf, size);
}

static ssize_t door_list(void *data, const char *path, char *buf, size_t size)
{
	struct rig *rig = data;

	return inner(rig)->list(inner(rig)->data, path, buf, size);
}

static int door_epoll_create(void *data)
{
	struct rig *rig = data;

	return inner(rig)->epoll_create(inner(rig)->data);
}

static int door_epoll_ctl(void *data, int epfd, int op, int fd, struct epoll_event *event)
{
	struct rig *rig = data;

	return inner(rig)->epoll_ctl(inner(rig)->data, epfd, op, fd, event);
}

static int door_epoll_wait(void *data, int epfd, struct epoll_event *events, int max,
			   int timeout_ms)
{
	struct rig *rig = data;

	return inner(rig)->epoll_wait(inner(rig)->data, epfd, events, max, timeout_ms);
}

static const struct pfnbuf_kernel door = {
	.size = sizeof(struct pfnbuf_kernel),
	.open = door_open,
	.close = door_close,
	.dup = door_dup,
	.set_cloexec = door_set_cloexec,
	.ioctl = door_ioctl,
	.mmap = door_mmap,
	.munmap = door_munmap,
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

/* ---------------------------------------------------------------- the machine --------------- */

uint64_t rig_tag(uint64_t what, uint64_t page)
{
	return (what + page) << 16 | 0x5a5a;
}

static void add_card(struct rig *rig, const char *bdf, uint64_t what)
{
	const struct pfnbuf_sim_device spec = {
		.bdf = bdf,
		.vendor = 0x1af4,
		.device = 0x1110,
		.flags = PFNBUF_SIM_FLR | PFNBUF_SIM_PM,
		.bars = {
			[RIG_BAR] = { .size = RIG_BAR_PAGES * PAGE },
			[RIG_MSIX_BAR] = { .size = RIG_MSIX_PAGES * PAGE },
			[RIG_SMALL_BAR] = { .size = 256 },
			[RIG_IO_BAR] = { .size = 64, .flags = PFNBUF_SIM_BAR_IO },
		},
		.msix_vectors = 4,
		.msix_bar = RIG_MSIX_BAR,
		.msix_table = 2 * PAGE,
		.msix_pba_bar = RIG_MSIX_BAR,
		.msix_pba = 3 * PAGE,
		.hot_reset_set = 1,
	};

	REQUIRE(pfnbuf_sim_add_device(rig->sim, &spec) == 0);
	for (uint64_t page = 0; page < RIG_BAR_PAGES; page++) {
		const uint64_t tag = rig_tag(what, page);

		REQUIRE(pfnbuf_sim_bar_poke(rig->sim, bdf, RIG_BAR, page * PAGE, &tag,
					    sizeof(tag)) == 0);
	}
	for (uint64_t page = 0; page < RIG_MSIX_PAGES; page++) {
		const uint64_t tag = rig_tag(what, 0x100 + page);

		REQUIRE(pfnbuf_sim_bar_poke(rig->sim, bdf, RIG_MSIX_BAR, page * PAGE, &tag,
					    sizeof(tag)) == 0);
	}
}

static void add_engine(struct rig *rig)
{
	const struct pfnbuf_sim_device spec = {
		.bdf = RIG_ENGINE,
		.vendor = 0x1234,
		.device = 0x11e8,
		.flags = PFNBUF_SIM_FLR,
		.bars = { [0] = { .size = 1 << 20 } },
	};

	REQUIRE(pfnbuf_sim_add_device(rig->sim, &spec) == 0);
}

static void open_device(struct rig *rig, const char *bdf, struct pfnbuf_device **device)
{
	if (*device)
		return;
	REQUIRE(pfnbuf_device_open(rig->ctx, bdf, device) == 0);
	REQUIRE(pfnbuf_device_bind(*device, NULL) == 0);
}

void rig_open_devices(struct rig *rig)
{
	const bool with_engine = !rig->engine;

	open_device(rig, RIG_CARD, &rig->card);
	open_device(rig, RIG_OTHER, &rig->other);
	open_device(rig, RIG_ENGINE, &rig->engine);
	if (!with_engine)
		return;
	REQUIRE(pfnbuf_device_attach(rig->engine, rig->ioas) == 0);
	REQUIRE(pfnbuf_device_set_bus_master(rig->engine, true) == 0);
}

void rig_open(struct rig *rig)
{
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .max_events = 64 };

	rig->door = door;
	rig->door.data = rig;
	opts.kernel = &rig->door;
	REQUIRE(pfnbuf_sim_new(&rig->sim) == 0);
	add_card(rig, RIG_CARD, RIG_TAG_CARD);
	add_card(rig, RIG_OTHER, RIG_TAG_OTHER);
	add_engine(rig);
	REQUIRE(pfnbuf_ctx_new(&rig->ctx, &opts) == 0);
	REQUIRE(pfnbuf_ioas_new(rig->ctx, &rig->ioas) == 0);
	REQUIRE(pfnbuf_vm_new(rig->ctx, PFNBUF_VM_DEFAULT, &rig->vm) == 0);
	rig_open_devices(rig);
}

void rig_close(struct rig *rig)
{
	rig_count(rig, NULL, 0);
	rig->card = pfnbuf_device_close(rig->card);
	rig->other = pfnbuf_device_close(rig->other);
	rig->engine = pfnbuf_device_close(rig->engine);
	rig->vm = pfnbuf_vm_free(rig->vm);
	rig->ioas = pfnbuf_ioas_free(rig->ioas);
	rig->ctx = pfnbuf_ctx_free(rig->ctx);
	rig->sim = pfnbuf_sim_free(rig->sim);
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

int64_t rig_dma(struct rig *rig, uint64_t iova)
{
	uint64_t tag = 0;
	int r = pfnbuf_sim_dma_read(rig->sim, RIG_ENGINE, iova, &tag, sizeof(tag), NULL);

	return r < 0 ? r : (int64_t)tag;
}

int64_t rig_guest(struct rig *rig, uint64_t gpa)
{
	uint64_t tag = 0;
	int r = pfnbuf_sim_guest_read(rig->sim, pfnbuf_vm_get_fd(rig->vm), gpa, false, &tag,
				      sizeof(tag));

	return r < 0 ? r : (int64_t)tag;
}

char *rig_dump(struct rig *rig)
{
	char *text;

	REQUIRE(pfnbuf_sim_dump(rig->sim, &text) == 0);
	return text;
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
