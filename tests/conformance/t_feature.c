/* SPDX-License-Identifier: MIT */
/* VFIO_DEVICE_FEATURE, above all the export of dma-bufs, and what a dma-buf's fd is. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "conf.h"

#define MAIN   "drivers/vfio/vfio_main.c:"
#define DMABUF "drivers/vfio/pci/vfio_pci_dmabuf.c:"
#define BUF    "drivers/dma-buf/dma-buf.c:"
#define GET    VFIO_DEVICE_FEATURE_GET
#define SET    VFIO_DEVICE_FEATURE_SET
#define PROBE  VFIO_DEVICE_FEATURE_PROBE
#define INDEX  VFIO_DEVICE_FEATURE_DMA_BUF
#define DEV    NULL, NEED_IOMMUFD | NEED_PLAIN

static int open_bound(struct conf *c, enum conf_role role)
{
	return conf_device_open(c, role, conf_iommufd_open(c), 0);
}

/* argsz, flags, want */
static void feature_row(struct conf *c, const void *data)
{
	const uint32_t *row = data;
	uint32_t arg[64] = { row[0], row[1] };

	expect(c, conf_ioctl(c, open_bound(c, PLAIN), VFIO_DEVICE_FEATURE, arg), (int)row[2]);
}

#define FEATURE(rule, where, ...)                                                                  \
	{                                                                                          \
		rule, where, feature_row, (const uint32_t[]){ __VA_ARGS__ },                       \
			NEED_IOMMUFD | NEED_PLAIN                                                  \
	}

struct export
{
	uint32_t argsz; /* 0: all of it */
	uint32_t index, open_flags, flags, nr;
	uint64_t ranges[4];
	int want; /* 0: an fd */
	uint64_t size;
};

/* index 100: the BAR of plain memory; an offset of 2^64-1: its size. */
static void export_row(struct conf *c, const void *data)
{
	const struct export *row = data;
	const struct conf_device *device = &c->devices[PLAIN];
	struct {
		struct vfio_device_feature feature;
		struct vfio_device_feature_dma_buf head;
		struct vfio_region_dma_range ranges[2];
	} arg = {
		.feature.argsz = row->argsz ? row->argsz : sizeof(arg),
		.feature.flags = GET | INDEX,
		.head.region_index = row->index == 100 ? device->bar : row->index,
		.head.open_flags = row->open_flags,
		.head.flags = row->flags,
		.head.nr_ranges = row->nr,
	};
	int dev = open_bound(c, PLAIN), fd;

	for (unsigned i = 0; i < 2; i++) {
		arg.ranges[i].offset =
			row->ranges[2 * i] == UINT64_MAX ? device->bar_size : row->ranges[2 * i];
		arg.ranges[i].length = row->ranges[2 * i + 1] == UINT64_MAX
					       ? device->bar_size
					       : row->ranges[2 * i + 1];
	}
	fd = conf_keep(c, conf_ioctl(c, dev, VFIO_DEVICE_FEATURE, &arg));
	expect(c, fd < 0 ? fd : 0, row->want);
	if (fd < 0)
		return;
	expect(c, c->kernel->lseek(c->kernel->data, fd, 0, SEEK_END),
	       row->size == UINT64_MAX ? device->bar_size : row->size);
}

#define EXPORT(rule, where, ...)                                                                   \
	{                                                                                          \
		rule, where, export_row, &(const struct export){ __VA_ARGS__ },                    \
			NEED_IOMMUFD | NEED_PLAIN                                                  \
	}

static void export_bad_ranges(struct conf *c, const void *data)
{
	uint8_t *mem = conf_memory(c, 2 * PAGE);
	struct vfio_device_feature *feature =
		(void *)(mem + PAGE - sizeof(struct vfio_device_feature) -
			 sizeof(struct vfio_device_feature_dma_buf));
	struct vfio_device_feature_dma_buf *get = (void *)feature->data;
	int dev = open_bound(c, PLAIN);

	(void)data;
	munmap(mem + PAGE, PAGE);
	feature->argsz = sizeof(*feature) + sizeof(*get);
	feature->flags = GET | INDEX;
	get->region_index = c->devices[PLAIN].bar;
	get->nr_ranges = 1;
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_FEATURE, feature), -EFAULT);
}

static void export_bad_header(struct conf *c, const void *data)
{
	uint8_t *mem = conf_memory(c, 2 * PAGE);
	struct vfio_device_feature *feature = (void *)(mem + PAGE - sizeof(*feature));
	int dev = open_bound(c, PLAIN);

	(void)data;
	munmap(mem + PAGE, PAGE);
	feature->argsz = 64;
	feature->flags = GET | INDEX;
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_FEATURE, feature), -EFAULT);
}

static void export_io(struct conf *c, const void *data)
{
	int dev = open_bound(c, ALONE);

	(void)data;
	expect(c, conf_export(c, dev, conf_io_bar(c, dev), 0, PAGE), -EINVAL);
}

static void export_small(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);
	struct vfio_region_info info = { .argsz = sizeof(info) };

	(void)data;
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_GET_REGION_INFO, &info), 0);
	expect_true(c, info.size && info.size < PAGE);
	expect(c, conf_export(c, dev, 0, 0, PAGE), -EINVAL);
}

static void export_many(struct conf *c, const void *data)
{
	const uint32_t n = 1000;
	size_t size = sizeof(struct vfio_device_feature) +
		      sizeof(struct vfio_device_feature_dma_buf) +
		      n * sizeof(struct vfio_region_dma_range);
	struct vfio_device_feature *feature = conf_memory(c, (size + PAGE - 1) & ~(PAGE - 1));
	struct vfio_device_feature_dma_buf *get = (void *)feature->data;
	int dev = open_bound(c, PLAIN), fd;

	(void)data;
	feature->argsz = (uint32_t)size;
	feature->flags = GET | INDEX;
	get->region_index = c->devices[PLAIN].bar;
	get->open_flags = O_CLOEXEC;
	get->nr_ranges = n;
	for (uint32_t i = 0; i < n; i++)
		get->dma_ranges[i].length = PAGE;
	fd = conf_keep(c, conf_ioctl(c, dev, VFIO_DEVICE_FEATURE, feature));
	expect_true(c, fd >= 0);
	expect(c, c->kernel->lseek(c->kernel->data, fd, 0, SEEK_END), n * PAGE);
}

static void export_memory_off(struct conf *c, const void *data)
{
	int iommufd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, iommufd, 0), fd;

	(void)data;
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	fd = conf_export(c, dev, c->devices[PLAIN].bar, 0, PAGE);
	expect_true(c, fd >= 0);
	expect(c, conf_probe_dmabuf(c, iommufd, fd), -ENODEV);
	conf_command(c, dev, 0, PCI_COMMAND_MEMORY);
	expect(c, conf_probe_dmabuf(c, iommufd, fd), 0);
}

/* -------------------------------------------------------------------------- its fd */

static int exported(struct conf *c)
{
	int fd = conf_export(c, open_bound(c, PLAIN), c->devices[PLAIN].bar, 0, 4 * PAGE);

	expect_true(c, fd >= 0);
	return fd;
}

static void buf_lseek(struct conf *c, const void *data)
{
	int fd = exported(c);

	(void)data;
	expect(c, c->kernel->lseek(c->kernel->data, fd, 0, SEEK_END), 4 * PAGE);
	expect(c, c->kernel->lseek(c->kernel->data, fd, 0, SEEK_SET), 0);
	expect(c, c->kernel->lseek(c->kernel->data, fd, 1, SEEK_SET), -EINVAL);
	expect(c, c->kernel->lseek(c->kernel->data, fd, -1, SEEK_END), -EINVAL);
	expect(c, c->kernel->lseek(c->kernel->data, fd, 0, SEEK_CUR), -EINVAL);
}

static void buf_stat(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);
	int one = conf_export(c, dev, c->devices[PLAIN].bar, 0, 4 * PAGE);
	int other = conf_export(c, dev, c->devices[PLAIN].bar, 0, 4 * PAGE);
	struct stat st, st2;

	(void)data;
	expect(c, c->kernel->fstat(c->kernel->data, one, &st), 0);
	expect(c, c->kernel->fstat(c->kernel->data, other, &st2), 0);
	expect(c, st.st_size, 4 * PAGE);
	expect(c, st.st_mode, 0600);
	expect(c, st.st_blocks, 4 * PAGE / 512);
	expect_true(c, st.st_ino != st2.st_ino);
}

static void buf_same_inode(struct conf *c, const void *data)
{
	int fd = exported(c);
	int dup = conf_keep(c, c->kernel->dup(c->kernel->data, fd));
	struct stat st, st2;

	(void)data;
	expect(c, c->kernel->fstat(c->kernel->data, fd, &st), 0);
	expect(c, c->kernel->fstat(c->kernel->data, dup, &st2), 0);
	expect_true(c, st.st_ino == st2.st_ino && st.st_dev == st2.st_dev);
}

static void buf_magic(struct conf *c, const void *data)
{
	uint64_t magic = 0;

	(void)data;
	expect(c, c->kernel->fstatfs_type(c->kernel->data, exported(c), &magic), 0);
	expect(c, magic, DMA_BUF_MAGIC);
}

static void buf_rw(struct conf *c, const void *data)
{
	int fd = exported(c);
	char byte = 0;

	(void)data;
	expect(c, c->kernel->read(c->kernel->data, fd, &byte, 1), -EINVAL);
	expect(c, c->kernel->write(c->kernel->data, fd, &byte, 1), -EINVAL);
}

static void buf_mmap(struct conf *c, const void *data)
{
	void *mem;

	(void)data;
	expect(c, conf_mmap(c, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, exported(c), 0, &mem),
	       -EINVAL);
}

static void buf_read_only(struct conf *c, const void *data)
{
	struct {
		struct vfio_device_feature_dma_buf head;
		struct vfio_region_dma_range range;
	} get = { .head = { .region_index = c->devices[PLAIN].bar,
			    .open_flags = O_CLOEXEC,
			    .nr_ranges = 1 },
		  .range = { 0, PAGE } };
	int fd = conf_keep(
		c, conf_feature_call(c, open_bound(c, PLAIN), GET | INDEX, &get, sizeof(get)));
	char byte = 0;
	void *mem;

	(void)data;
	expect_true(c, fd >= 0);
	expect(c, c->kernel->write(c->kernel->data, fd, &byte, 1), -EBADF);
	expect(c, conf_mmap(c, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0, &mem), -EACCES);
	expect(c, conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, fd, 0, &mem), -EINVAL);
}

static void buf_truncate(struct conf *c, const void *data)
{
	int fd = exported(c);

	(void)data;
	expect(c, c->kernel->ftruncate(c->kernel->data, fd, PAGE), -EINVAL);
	expect(c, c->kernel->fallocate(c->kernel->data, fd, 0, 0, PAGE), -ENODEV);
}

static void buf_sync(struct conf *c, const void *data)
{
	int fd = exported(c);
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_RW | DMA_BUF_SYNC_START };

	(void)data;
	expect(c, conf_ioctl(c, fd, DMA_BUF_IOCTL_SYNC, &sync), 0);
	sync.flags = DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END;
	expect(c, conf_ioctl(c, fd, DMA_BUF_IOCTL_SYNC, &sync), 0);
	sync.flags = DMA_BUF_SYNC_START;
	expect(c, conf_ioctl(c, fd, DMA_BUF_IOCTL_SYNC, &sync), -EINVAL);
	sync.flags = DMA_BUF_SYNC_RW | 1 << 5;
	expect(c, conf_ioctl(c, fd, DMA_BUF_IOCTL_SYNC, &sync), -EINVAL);
	expect(c, conf_ioctl(c, fd, DMA_BUF_IOCTL_SYNC, NULL), -EFAULT);
}

static void buf_name(struct conf *c, const void *data)
{
	char name[] = "0123456789012345678901234567890",
	     too_long[] = "01234567890123456789012345678901";
	int fd = exported(c);

	(void)data;
	expect(c, conf_ioctl(c, fd, DMA_BUF_SET_NAME_A, name), 0);
	expect(c, conf_ioctl(c, fd, DMA_BUF_SET_NAME_B, name), 0);
	expect(c, conf_ioctl(c, fd, DMA_BUF_SET_NAME_B, too_long), -EINVAL);
	expect(c, conf_ioctl(c, fd, DMA_BUF_SET_NAME_B, NULL), -EFAULT);
}

static void buf_link(struct conf *c, const void *data)
{
	char path[64], text[64] = "", name[] = "guest-bar";
	int fd = exported(c);

	(void)data;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	expect_true(c, c->kernel->readlink(c->kernel->data, path, text, sizeof(text) - 1) > 0);
	expect(c, strncmp(text, "/dmabuf:", 8), 0);
	memset(text, 0, sizeof(text));
	expect(c, conf_ioctl(c, fd, DMA_BUF_SET_NAME_B, name), 0);
	expect_true(c, c->kernel->readlink(c->kernel->data, path, text, sizeof(text) - 1) > 0);
	expect(c, strncmp(text, "/dmabuf:guest-bar", 17), 0);
}

static void buf_fdinfo(struct conf *c, const void *data)
{
	char path[64], text[512] = "", name[] = "guest-bar";
	int fd = exported(c), info;

	(void)data;
	expect(c, conf_ioctl(c, fd, DMA_BUF_SET_NAME_B, name), 0);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = conf_open(c, path, O_RDONLY);
	expect_true(c, info >= 0);
	expect_true(c, c->kernel->read(c->kernel->data, info, text, sizeof(text) - 1) > 0);
	expect_true(c, strstr(text, "exp_name:\tvfio_pci_core\n"));
	expect_true(c, strstr(text, "size:\t"));
	expect_true(c, strstr(text, "name:\tguest-bar\n"));
}

/* Whoever waits for a revocation is told that all is well. */
static void buf_epoll(struct conf *c, const void *data)
{
	int epoll = conf_keep(c, c->kernel->epoll_create(c->kernel->data));
	int dev = open_bound(c, PLAIN);
	int fd = conf_export(c, dev, c->devices[PLAIN].bar, 0, PAGE);

	(void)data;
	expect(c, conf_wait_for(c, epoll, EPOLL_CTL_MOD, fd, EPOLLIN), -ENOENT);
	expect(c, conf_wait_for(c, epoll, EPOLL_CTL_ADD, fd, EPOLLIN), 0);
	expect(c, conf_wait_for(c, epoll, EPOLL_CTL_ADD, fd, EPOLLIN), -EEXIST);
	expect(c, conf_ready(c, epoll), EPOLLIN);
	expect(c, conf_wait_for(c, epoll, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT), 0);
	expect(c, conf_ready(c, epoll), EPOLLIN | EPOLLOUT);
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	expect(c, conf_ready(c, epoll), EPOLLIN | EPOLLOUT);
	expect(c, conf_close(c, dev), 0);
	expect(c, conf_ready(c, epoll), EPOLLIN | EPOLLOUT);
	expect(c, conf_wait_for(c, epoll, EPOLL_CTL_MOD, fd, 0), 0);
	expect(c, conf_ready(c, epoll), 0);
	expect(c, conf_wait_for(c, epoll, EPOLL_CTL_DEL, fd, 0), 0);
	expect(c, conf_wait_for(c, epoll, EPOLL_CTL_DEL, fd, 0), -ENOENT);
	expect(c, conf_wait_for(c, epoll, EPOLL_CTL_ADD, fd, EPOLLOUT), 0);
	expect(c, conf_close(c, fd), 0);
	expect(c, conf_ready(c, epoll), 0);
}

static void buf_unknown_ioctl(struct conf *c, const void *data)
{
	uint64_t arg[4] = { 0 };

	(void)data;
	expect(c, conf_ioctl(c, exported(c), 0x62ff, arg), -ENOTTY);
}

static void buf_size_after_revoke(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);
	int fd = conf_export(c, dev, c->devices[PLAIN].bar, 0, 4 * PAGE);

	(void)data;
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	expect(c, c->kernel->lseek(c->kernel->data, fd, 0, SEEK_END), 4 * PAGE);
	expect(c, conf_close(c, dev), 0);
	expect(c, c->kernel->lseek(c->kernel->data, fd, 0, SEEK_END), 4 * PAGE);
}

static void buf_cloexec(struct conf *c, const void *data)
{
	const uint32_t flags = *(const uint32_t *)data;
	struct {
		struct vfio_device_feature_dma_buf head;
		struct vfio_region_dma_range range;
	} get = { .head = { .region_index = c->devices[PLAIN].bar,
			    .open_flags = flags,
			    .nr_ranges = 1 },
		  .range = { 0, PAGE } };
	int fd = conf_keep(
		c, conf_feature_call(c, open_bound(c, PLAIN), GET | INDEX, &get, sizeof(get)));

	expect_true(c, fd >= 0);
	expect(c, fcntl(fd, F_GETFD) & FD_CLOEXEC, flags & O_CLOEXEC ? FD_CLOEXEC : 0);
	expect(c, fcntl(fd, F_GETFL) & O_ACCMODE, flags & O_ACCMODE);
}

#define CHECK "include/linux/vfio.h:vfio_check_feature"
#define FEAT  MAIN "vfio_ioctl_device_feature"
#define EXP   DMABUF "vfio_pci_core_feature_dma_buf"
#define VALID DMABUF "validate_dmabuf_input"
#define PHYS  DMABUF "vfio_pci_core_fill_phys_vec"

static const struct conf_case feature[] = {
	FEATURE("FEATURE with an unknown flag: EINVAL", FEAT, 8, PROBE | GET | 1U << 19 | INDEX,
		(uint32_t)-EINVAL),
	FEATURE("FEATURE GET and SET without PROBE: EINVAL", FEAT, 8, GET | SET | INDEX,
		(uint32_t)-EINVAL),
	FEATURE("FEATURE of an unknown index: ENOTTY", FEAT, 8, PROBE | GET | 999,
		(uint32_t)-ENOTTY),
	FEATURE("FEATURE of an unknown index without PROBE: ENOTTY", FEAT, 64, GET | 999,
		(uint32_t)-ENOTTY),
	FEATURE("FEATURE of migration where there is none: ENOTTY", FEAT, 8,
		PROBE | GET | VFIO_DEVICE_FEATURE_MIGRATION, (uint32_t)-ENOTTY),
	FEATURE("FEATURE of DMA logging where there is none: ENOTTY", FEAT, 8,
		PROBE | SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START, (uint32_t)-ENOTTY),
	FEATURE("FEATURE of a VF token for what is no SR-IOV device: ENOTTY", FEAT, 8,
		PROBE | SET | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, (uint32_t)-ENOTTY),
	FEATURE("FEATURE of bus mastering on PCI: ENOTTY", FEAT, 8,
		PROBE | SET | VFIO_DEVICE_FEATURE_BUS_MASTER, (uint32_t)-ENOTTY),
	FEATURE("PROBE of DMA_BUF GET: 0", CHECK, 8, PROBE | GET | INDEX, 0),
	FEATURE("PROBE of DMA_BUF SET: EINVAL", CHECK, 8, PROBE | SET | INDEX, (uint32_t)-EINVAL),
	FEATURE("PROBE of DMA_BUF GET and SET: EINVAL", CHECK, 8, PROBE | GET | SET | INDEX,
		(uint32_t)-EINVAL),
	FEATURE("PROBE of DMA_BUF for nothing: 0", CHECK, 8, PROBE | INDEX, 0),
	FEATURE("DMA_BUF with neither GET nor SET: EINVAL", CHECK, 64, INDEX, (uint32_t)-EINVAL),
	FEATURE("DMA_BUF SET: EINVAL", CHECK, 64, SET | INDEX, (uint32_t)-EINVAL),
	FEATURE("DMA_BUF GET with argsz too small: EINVAL", CHECK, 23, GET | INDEX,
		(uint32_t)-EINVAL),
	FEATURE("PROBE of LOW_POWER_ENTRY SET: 0", CHECK, 8,
		PROBE | SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, 0),
	FEATURE("PROBE of LOW_POWER_ENTRY GET: EINVAL", CHECK, 8,
		PROBE | GET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, (uint32_t)-EINVAL),
	FEATURE("PROBE of LOW_POWER_EXIT SET: 0", CHECK, 8,
		PROBE | SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, 0),
	FEATURE("LOW_POWER_EXIT in full power: 0",
		"drivers/vfio/pci/vfio_pci_core.c:vfio_pci_core_pm_exit", 8,
		SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, 0),
	FEATURE("LOW_POWER_ENTRY_WITH_WAKEUP with argsz too small: EINVAL", CHECK, 8,
		SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, (uint32_t)-EINVAL),

	EXPORT("DMA_BUF of a page", EXP, 0, 100, O_CLOEXEC, 0, 1, { 0, PAGE }, 0, PAGE),
	EXPORT("DMA_BUF of a whole BAR", EXP, 0, 100, O_CLOEXEC, 0, 1, { 0, UINT64_MAX }, 0,
	       UINT64_MAX),
	EXPORT("DMA_BUF of the last page", EXP, 0, 100, O_CLOEXEC, 0, 1, { 0x1000, PAGE }, 0, PAGE),
	EXPORT("DMA_BUF of two ranges", EXP, 0, 100, O_CLOEXEC, 0, 2,
	       { 0, PAGE, 4 * PAGE, 2 * PAGE }, 0, 3 * PAGE),
	EXPORT("DMA_BUF of ranges in any order", EXP, 0, 100, O_CLOEXEC, 0, 2,
	       { 4 * PAGE, 2 * PAGE, 0, PAGE }, 0, 3 * PAGE),
	EXPORT("DMA_BUF of the same range twice", EXP, 0, 100, O_CLOEXEC, 0, 2,
	       { 0, PAGE, 0, PAGE }, 0, 2 * PAGE),
	EXPORT("DMA_BUF with an argsz that ends before its ranges", EXP, 24, 100, O_CLOEXEC, 0, 1,
	       { 0, PAGE }, 0, PAGE),
	EXPORT("DMA_BUF ignores unknown open flags", EXP, 0, 100, O_CLOEXEC | 0x40000000, 0, 1,
	       { 0, PAGE }, 0, PAGE),
	EXPORT("DMA_BUF of no range: EINVAL", EXP, 0, 100, O_CLOEXEC, 0, 0, { 0, PAGE }, -EINVAL,
	       0),
	EXPORT("DMA_BUF with flags: EINVAL", EXP, 0, 100, O_CLOEXEC, 1, 1, { 0, PAGE }, -EINVAL, 0),
	EXPORT("DMA_BUF: flags come before the region", EXP, 0, 77, O_CLOEXEC, 1, 1, { 0, PAGE },
	       -EINVAL, 0),
	EXPORT("DMA_BUF of the ROM: ENODEV", EXP, 0, VFIO_PCI_ROM_REGION_INDEX, O_CLOEXEC, 0, 1,
	       { 0, PAGE }, -ENODEV, 0),
	EXPORT("DMA_BUF of configuration space: ENODEV", EXP, 0, VFIO_PCI_CONFIG_REGION_INDEX,
	       O_CLOEXEC, 0, 1, { 0, PAGE }, -ENODEV, 0),
	EXPORT("DMA_BUF of an unknown region: ENODEV", EXP, 0, UINT32_MAX, O_CLOEXEC, 0, 1,
	       { 0, PAGE }, -ENODEV, 0),
	EXPORT("DMA_BUF of a BAR that is not there: ENODEV", EXP, 0, 5, O_CLOEXEC, 0, 1,
	       { 0, PAGE }, -ENODEV, 0),
	EXPORT("DMA_BUF: the region comes before the ranges", EXP, 0, 5, O_CLOEXEC, 0, 1, { 1, 1 },
	       -ENODEV, 0),
	EXPORT("DMA_BUF of length 0: EINVAL", VALID, 0, 100, O_CLOEXEC, 0, 1, { 0, 0 }, -EINVAL, 0),
	EXPORT("DMA_BUF at half a page: EINVAL", VALID, 0, 100, O_CLOEXEC, 0, 1, { 512, PAGE },
	       -EINVAL, 0),
	EXPORT("DMA_BUF of half a page: EINVAL", VALID, 0, 100, O_CLOEXEC, 0, 1, { 0, 512 },
	       -EINVAL, 0),
	EXPORT("DMA_BUF whose second range is empty: EINVAL", VALID, 0, 100, O_CLOEXEC, 0, 2,
	       { 0, PAGE, PAGE, 0 }, -EINVAL, 0),
	EXPORT("DMA_BUF of ranges that add up to more than 2^64: EINVAL", VALID, 0, 100, O_CLOEXEC,
	       0, 2, { 0, 0 - PAGE, 0, 2 * PAGE }, -EINVAL, 0),
	EXPORT("DMA_BUF of 2^63 bytes: EINVAL", VALID, 0, 100, O_CLOEXEC, 0, 1, { 0, 1ULL << 63 },
	       -EINVAL, 0),
	EXPORT("DMA_BUF behind the BAR: EINVAL", PHYS, 0, 100, O_CLOEXEC, 0, 1,
	       { UINT64_MAX, PAGE }, -EINVAL, 0),
	EXPORT("DMA_BUF half behind the BAR: EINVAL", PHYS, 0, 100, O_CLOEXEC, 0, 1,
	       { PAGE, UINT64_MAX }, -EINVAL, 0),
	EXPORT("DMA_BUF at an offset that wraps: EOVERFLOW", PHYS, 0, 100, O_CLOEXEC, 0, 1,
	       { 0 - PAGE, PAGE }, -EOVERFLOW, 0),
	{ "DMA_BUF whose ranges cannot be read: EFAULT", EXP, export_bad_ranges, DEV },
	{ "DMA_BUF whose header cannot be read: EFAULT", EXP, export_bad_header, DEV },
	EXPORT("DMA_BUF of more ranges than memory can hold: ENOMEM", EXP, .index = 100,
	       .nr = UINT32_MAX, .want = -ENOMEM),
	{ "DMA_BUF of a BAR of I/O ports: EINVAL", EXP, export_io, NULL,
	  NEED_IOMMUFD | NEED_ALONE },
	{ "DMA_BUF of a BAR smaller than a page: EINVAL", PHYS, export_small, DEV },
	{ "DMA_BUF of a thousand ranges", EXP, export_many, DEV },
	{ "DMA_BUF while memory is off: made revoked", EXP, export_memory_off, DEV },

	{ "dma-buf lseek: size at the end, nothing else", BUF "dma_buf_llseek", buf_lseek, DEV },
	{ "dma-buf fstat: size, mode 0600 without a type, an inode of its own",
	  BUF "dma_buf_getfile", buf_stat, DEV },
	{ "a dup'ed dma-buf has the same inode", BUF "dma_buf_getfile", buf_same_inode, DEV },
	{ "dma-buf fstatfs: its magic", BUF "dma_buf_fs_init_context", buf_magic, DEV },
	{ "dma-buf read and write: EINVAL", BUF "dma_buf_fops", buf_rw, DEV },
	{ "dma-buf mmap: EINVAL", BUF "dma_buf_mmap_internal", buf_mmap, DEV },
	{ "dma-buf opened for reading: write EBADF, shared writable mmap EACCES",
	  BUF "dma_buf_getfile", buf_read_only, DEV },
	{ "dma-buf ftruncate EINVAL, fallocate ENODEV", "fs/open.c:vfs_fallocate", buf_truncate,
	  DEV },
	{ "DMA_BUF_IOCTL_SYNC checks its flags", BUF "dma_buf_ioctl", buf_sync, DEV },
	{ "DMA_BUF_SET_NAME: 31 characters", BUF "dma_buf_set_name", buf_name, DEV },
	{ "a dma-buf's link in /proc: its name", BUF "dmabuffs_dname", buf_link, DEV },
	{ "a dma-buf's fdinfo: size, exporter and name", BUF "dma_buf_show_fdinfo", buf_fdinfo,
	  DEV },
	{ "a dma-buf in epoll is ready for all that it is asked for, revoked or not",
	  BUF "dma_buf_poll", buf_epoll, DEV },
	{ "an unknown ioctl on a dma-buf: ENOTTY", BUF "dma_buf_ioctl", buf_unknown_ioctl, DEV },
	{ "a dma-buf keeps its size when it is revoked and when it is dead", BUF "dma_buf_llseek",
	  buf_size_after_revoke, DEV },
	{ "open_flags: close-on-exec, reading and writing", BUF "dma_buf_fd", buf_cloexec,
	  &(const uint32_t){ O_CLOEXEC | O_RDWR }, NEED_IOMMUFD | NEED_PLAIN },
	{ "open_flags: not close-on-exec, reading", BUF "dma_buf_fd", buf_cloexec,
	  &(const uint32_t){ O_RDONLY }, NEED_IOMMUFD | NEED_PLAIN },
};

CONF_TABLE(conf_feature, feature);
