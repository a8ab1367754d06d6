/* SPDX-License-Identifier: MIT */
/* MAP_FILE: of shared memory, of other files, of dma-bufs. */
#include "conf.h"

#define IOAS	"drivers/iommu/iommufd/ioas.c:"
#define IOPT	"drivers/iommu/iommufd/io_pagetable.c:"
#define PAGES	"drivers/iommu/iommufd/pages.c:"
#define FIXED	IOMMU_IOAS_MAP_FIXED_IOVA
#define READ	IOMMU_IOAS_MAP_READABLE
#define WRITE	IOMMU_IOAS_MAP_WRITEABLE
#define BASE	0x100000ULL
#define SIZE	(16 * PAGE)
#define NO_IOAS 99

enum source { MEMFD, CLOSED, NEGATIVE, EVENTFD, IOMMUFD };

struct map {
	enum source source;
	uint32_t flags, ioas;
	uint64_t start, length, iova;
	int want;
	bool attached;
};

static int open_source(struct conf *c, enum source source, int iommufd)
{
	switch (source) {
	case MEMFD:
		return conf_memfd(c, SIZE);
	case EVENTFD:
		return conf_eventfd(c);
	case IOMMUFD:
		return iommufd;
	case CLOSED:
		return 1000;
	default:
		return -1;
	}
}

static void map_row(struct conf *c, const void *data)
{
	const struct map *row = data;
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	struct iommu_ioas_map_file cmd = {
		.size = sizeof(cmd),
		.flags = row->flags,
		.ioas_id = row->ioas ? row->ioas : ioas,
		.fd = open_source(c, row->source, fd),
		.start = row->start,
		.length = row->length,
		.iova = row->iova,
	};

	if (row->attached)
		conf_device_open(c, PLAIN, fd, ioas);
	expect(c, conf_ioctl(c, fd, IOMMU_IOAS_MAP_FILE, &cmd), row->want);
	if (row->want && row->iova == BASE)
		expect(c, conf_probe_iova(c, fd, ioas, BASE), 0);
}

#define MAP(rule, where, ...)                                                                      \
	{                                                                                          \
		rule, where, map_row, &(const struct map){ __VA_ARGS__, false }, NEED_IOMMUFD      \
	}
#define MAP_DEV(rule, where, ...)                                                                  \
	{                                                                                          \
		rule, where, map_row, &(const struct map){ __VA_ARGS__, true },                    \
			NEED_IOMMUFD | NEED_PLAIN                                                  \
	}

static void closed_afterwards(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c), file = conf_memfd(c, SIZE);
	uint32_t ioas = conf_ioas_new(c, fd), pt = ioas;

	(void)data;
	expect(c, conf_map_file(c, fd, ioas, file, 0, SIZE, BASE), 0);
	expect(c, conf_close(c, file), 0);
	expect(c, conf_attach(c, conf_device_open(c, PLAIN, fd, 0), &pt), 0);
}

static void fails_at_attach(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), pt = ioas;
	int dev = conf_device_open(c, PLAIN, fd, 0);

	(void)data;
	expect(c, conf_map_file(c, fd, ioas, conf_memfd(c, SIZE), 0, 2 * SIZE, BASE), 0);
	expect(c, conf_attach(c, dev, &pt), -EINVAL);
	expect(c, conf_unmap(c, fd, ioas, BASE, 2 * SIZE, NULL), 0);
	expect(c, conf_attach(c, dev, &pt), 0);
}

static void read_only_fd(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c), file = conf_memfd(c, SIZE);
	uint32_t ioas = conf_ioas_new(c, fd);
	char path[64] = "/proc/self/fd/";
	int digits = 0, other;

	(void)data;
	for (int n = file; n; n /= 10)
		digits++;
	for (int n = file, i = digits; i; n /= 10)
		path[14 + --i] = (char)('0' + n % 10);
	other = conf_open(c, path, O_RDONLY);
	expect_true(c, other >= 0);
	conf_device_open(c, PLAIN, fd, ioas);
	expect(c, conf_map_file(c, fd, ioas, other, 0, SIZE, BASE), 0);
}

static void bytes_of_a_file(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c), file = conf_memfd(c, SIZE);
	uint32_t ioas = conf_ioas_new(c, fd);

	(void)data;
	expect(c, conf_map_file(c, fd, ioas, file, 5, 7, BASE + 1), 0);
	expect(c, conf_unmap(c, fd, ioas, BASE + 1, 7, NULL), 0);
}

static void automatic_by_start(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	struct iommu_ioas_map_file cmd = {
		.size = sizeof(cmd),
		.flags = READ,
		.ioas_id = conf_ioas_new(c, fd),
		.fd = conf_memfd(c, SIZE),
		.start = PAGE,
		.length = 4 * PAGE,
	};

	(void)data;
	expect(c, conf_ioctl(c, fd, IOMMU_IOAS_MAP_FILE, &cmd), 0);
	expect(c, cmd.iova, PAGE);
}

/* ------------------------------------------------------------------------ dma-bufs */

struct dmabuf {
	uint64_t start, length, iova;
	int want;
};

/* Of a dma-buf of 8 pages. */
static void dmabuf_row(struct conf *c, const void *data)
{
	const struct dmabuf *row = data;
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	int dev = conf_device_open(c, PLAIN, fd, 0);
	int dmabuf = conf_export(c, dev, c->devices[PLAIN].bar, PAGE, 8 * PAGE);

	expect_true(c, dmabuf >= 0);
	expect(c, conf_map_file(c, fd, ioas, dmabuf, row->start, row->length, row->iova),
	       row->want);
	expect(c, conf_probe_iova(c, fd, ioas, BASE), row->want ? 0 : -EEXIST);
}

#define DMABUF(rule, ...)                                                                          \
	{                                                                                          \
		rule, PAGES "iopt_alloc_dmabuf_pages", dmabuf_row,                                 \
			&(const struct dmabuf){ __VA_ARGS__ }, NEED_IOMMUFD | NEED_PLAIN           \
	}

static void dmabuf_closed_afterwards(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), pt = ioas;
	int dev = conf_device_open(c, PLAIN, fd, 0);
	int dmabuf = conf_export(c, dev, c->devices[PLAIN].bar, 0, PAGE);

	(void)data;
	expect(c, conf_map_file(c, fd, ioas, dmabuf, 0, PAGE, BASE), 0);
	expect(c, conf_close(c, dmabuf), 0);
	expect(c, conf_attach(c, dev, &pt), 0);
	expect(c, conf_unmap(c, fd, ioas, BASE, PAGE, NULL), 0);
}

static void dmabuf_of_two(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, fd, 0);
	int dmabuf = conf_export_two(c, dev, c->devices[PLAIN].bar);

	(void)data;
	expect_true(c, dmabuf >= 0);
	expect(c, conf_map_file(c, fd, conf_ioas_new(c, fd), dmabuf, 0, PAGE, BASE), -EOPNOTSUPP);
}

static void dmabuf_twice(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	int dev = conf_device_open(c, PLAIN, fd, ioas);
	int dmabuf = conf_export(c, dev, c->devices[PLAIN].bar, 0, 2 * PAGE);

	(void)data;
	expect(c, conf_map_file(c, fd, ioas, dmabuf, 0, 2 * PAGE, BASE), 0);
	expect(c, conf_map_file(c, fd, ioas, dmabuf, PAGE, PAGE, BASE + 2 * PAGE), 0);
	expect(c, conf_map_file(c, fd, ioas, dmabuf, PAGE, PAGE, BASE), -EEXIST);
}

static void dmabuf_of_read_only_fd(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, fd, 0);
	struct {
		struct vfio_device_feature_dma_buf head;
		struct vfio_region_dma_range range;
	} get = {
		.head = { .region_index = c->devices[PLAIN].bar,
			  .open_flags = O_CLOEXEC | O_RDONLY,
			  .nr_ranges = 1 },
		.range = { 0, PAGE },
	};
	int dmabuf = conf_keep(
		c, conf_feature_call(c, dev, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF,
				     &get, sizeof(get)));

	(void)data;
	expect(c, conf_map_file(c, fd, conf_ioas_new(c, fd), dmabuf, 0, PAGE, BASE), 0);
}

static void dmabuf_change_process(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, fd, 0);
	int dmabuf = conf_export(c, dev, c->devices[PLAIN].bar, 0, PAGE);
	struct iommu_ioas_change_process cmd = { .size = sizeof(cmd) };

	(void)data;
	expect(c, conf_map_file(c, fd, conf_ioas_new(c, fd), dmabuf, 0, PAGE, BASE), 0);
	expect(c, conf_ioctl(c, fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd), -EINVAL);
}

static void dmabuf_aligned(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	int dev = conf_device_open(c, PLAIN, fd, ioas);
	int dmabuf = conf_export(c, dev, c->devices[PLAIN].bar, 0, 2 * PAGE);

	(void)data;
	expect(c, conf_map_file(c, fd, ioas, dmabuf, 512, PAGE, BASE), -EINVAL);
	expect(c, conf_map_file(c, fd, ioas, dmabuf, 0, 512, BASE), -EINVAL);
	expect(c, conf_map_file(c, fd, ioas, dmabuf, 0, PAGE, BASE + 512), -EINVAL);
	expect(c, conf_map_file(c, fd, ioas, dmabuf, PAGE, PAGE, BASE), 0);
}

static void compat_no_cut_of_dmabuf(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	int dev = conf_device_open(c, PLAIN, fd, 0);
	int dmabuf = conf_export(c, dev, c->devices[PLAIN].bar, 0, 4 * PAGE);
	struct iommu_vfio_ioas set = { .size = sizeof(set),
				       .ioas_id = ioas,
				       .op = IOMMU_VFIO_IOAS_SET };
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap),
						    .iova = BASE,
						    .size = PAGE };

	(void)data;
	expect(c, conf_ioctl(c, fd, IOMMU_VFIO_IOAS, &set), 0);
	expect(c, conf_ioctl_value(c, fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	expect(c, conf_map_file(c, fd, ioas, dmabuf, 0, 4 * PAGE, BASE), 0);
	expect(c, conf_ioctl(c, fd, VFIO_IOMMU_UNMAP_DMA, &unmap), -EOPNOTSUPP);
}

#define ANY NULL, NEED_IOMMUFD
#define DEV NULL, NEED_IOMMUFD | NEED_PLAIN

static const struct conf_case file[] = {
	MAP("MAP_FILE at a fixed address", IOAS "iommufd_ioas_map_file", MEMFD,
	    FIXED | READ | WRITE, 0, 0, SIZE, BASE, 0),
	MAP("MAP_FILE of part of a file", IOAS "iommufd_ioas_map_file", MEMFD, FIXED | READ, 0,
	    PAGE, PAGE, BASE, 0),
	MAP("MAP_FILE with an unknown flag: EOPNOTSUPP", IOAS "iommufd_ioas_map_file", MEMFD,
	    FIXED | READ | 8, 0, 0, PAGE, BASE, -EOPNOTSUPP),
	MAP("MAP_FILE with length 2^64-1: EOVERFLOW", IOAS "iommufd_ioas_map_file", MEMFD,
	    FIXED | READ, 0, 0, UINT64_MAX, BASE, -EOVERFLOW),
	MAP("MAP_FILE at 2^64-1: EOVERFLOW", IOAS "iommufd_ioas_map_file", MEMFD, FIXED | READ, 0,
	    0, PAGE, UINT64_MAX, -EOVERFLOW),
	MAP("MAP_FILE without a direction: EINVAL", IOAS "iommufd_ioas_map_file", MEMFD, FIXED, 0,
	    0, PAGE, BASE, -EINVAL),
	MAP("MAP_FILE in a missing IOAS: ENOENT", IOAS "iommufd_ioas_map_file", CLOSED,
	    FIXED | READ, NO_IOAS, 0, PAGE, BASE, -ENOENT),
	MAP("MAP_FILE of length 0: EINVAL before the file is looked at", IOPT "iopt_map_file_pages",
	    CLOSED, FIXED | READ, 0, 0, 0, BASE, -EINVAL),
	MAP("MAP_FILE of a range that wraps: EOVERFLOW before the file is looked at",
	    IOPT "iopt_map_file_pages", CLOSED, FIXED | READ, 0, 0 - PAGE, 2 * PAGE, BASE,
	    -EOVERFLOW),
	MAP("MAP_FILE of a closed fd: EBADF", IOPT "iopt_map_file_pages", CLOSED, FIXED | READ, 0,
	    0, PAGE, BASE, -EBADF),
	MAP("MAP_FILE of fd -1: EBADF", IOPT "iopt_map_file_pages", NEGATIVE, FIXED | READ, 0, 0,
	    PAGE, BASE, -EBADF),
	MAP("MAP_FILE of any file works while no device looks", IOPT "iopt_map_file_pages", EVENTFD,
	    FIXED | READ, 0, 0, PAGE, BASE, 0),
	MAP("MAP_FILE beyond the file works while no device looks", IOPT "iopt_map_file_pages",
	    MEMFD, FIXED | READ, 0, SIZE, PAGE, BASE, 0),
	MAP("MAP_FILE of an iommufd works while no device looks", IOPT "iopt_map_file_pages",
	    IOMMUFD, FIXED | READ, 0, 0, PAGE, BASE, 0),
	MAP_DEV("with a device: MAP_FILE of a whole file", "mm/gup.c:memfd_pin_folios", MEMFD,
		FIXED | READ | WRITE, 0, 0, SIZE, BASE, 0),
	MAP_DEV("with a device: MAP_FILE beyond the file: EINVAL", "mm/gup.c:memfd_pin_folios",
		MEMFD, FIXED | READ, 0, SIZE, PAGE, BASE, -EINVAL),
	MAP_DEV("with a device: MAP_FILE half beyond the file: EINVAL", "mm/gup.c:memfd_pin_folios",
		MEMFD, FIXED | READ, 0, SIZE - PAGE, 2 * PAGE, BASE, -EINVAL),
	MAP_DEV("with a device: MAP_FILE at the end of the 64-bit range: EINVAL",
		"mm/gup.c:memfd_pin_folios", MEMFD, FIXED | READ, 0, UINT64_MAX - PAGE + 1, PAGE,
		BASE, -EINVAL),
	MAP_DEV("with a device: MAP_FILE of an eventfd: EINVAL", "mm/gup.c:memfd_pin_folios",
		EVENTFD, FIXED | READ, 0, 0, PAGE, BASE, -EINVAL),
	MAP_DEV("with a device: MAP_FILE of an iommufd: EINVAL", "mm/gup.c:memfd_pin_folios",
		IOMMUFD, FIXED | READ, 0, 0, PAGE, BASE, -EINVAL),
	MAP_DEV("with a device: MAP_FILE in the interrupt window: EINVAL", IOPT "iopt_check_iova",
		MEMFD, FIXED | READ, 0, 0, PAGE, 0xfee00000, -EINVAL),
	{ "MAP_FILE holds the file", PAGES "iopt_alloc_file_pages", closed_afterwards, DEV },
	{ "a file that is too short is found when a device is attached: EINVAL",
	  IOPT "iopt_fill_domain", fails_at_attach, DEV },
	{ "MAP_FILE for writing does not ask how the fd was opened", PAGES "iopt_alloc_file_pages",
	  read_only_fd, DEV },
	{ "MAP_FILE of single bytes while no device looks", IOPT "iopt_map_file_pages",
	  bytes_of_a_file, ANY },
	{ "automatic: aligned as the place in the file is", IOPT "iopt_alloc_area_pages",
	  automatic_by_start, ANY },

	DMABUF("MAP_FILE of a dma-buf", 0, 8 * PAGE, BASE, 0),
	DMABUF("MAP_FILE of part of a dma-buf", 2 * PAGE, PAGE, BASE, 0),
	DMABUF("MAP_FILE of single bytes of a dma-buf while no device looks", 100, 7, BASE, 0),
	DMABUF("MAP_FILE beyond a dma-buf: EINVAL", 8 * PAGE, PAGE, BASE, -EINVAL),
	DMABUF("MAP_FILE half beyond a dma-buf: EINVAL", 7 * PAGE, 2 * PAGE, BASE, -EINVAL),
	DMABUF("MAP_FILE of a dma-buf of length 0: EINVAL", 0, 0, BASE, -EINVAL),
	DMABUF("MAP_FILE of a dma-buf: the source comes before the address", 8 * PAGE, PAGE,
	       0 - PAGE / 2, -EINVAL),
	{ "MAP_FILE holds the dma-buf", PAGES "iopt_map_dmabuf", dmabuf_closed_afterwards, DEV },
	{ "MAP_FILE of a dma-buf of two ranges: EOPNOTSUPP",
	  "drivers/vfio/pci/vfio_pci_dmabuf.c:vfio_pci_dma_buf_iommufd_map", dmabuf_of_two, DEV },
	{ "MAP_FILE of a dma-buf twice", PAGES "iopt_map_dmabuf", dmabuf_twice, DEV },
	{ "MAP_FILE for writing does not ask how a dma-buf's fd was opened",
	  PAGES "iopt_alloc_dmabuf_pages", dmabuf_of_read_only_fd, DEV },
	{ "CHANGE_PROCESS with a dma-buf: EINVAL", IOAS "iommufd_ioas_change_process",
	  dmabuf_change_process, DEV },
	{ "with a device: MAP_FILE of a dma-buf is page aligned", IOPT "iopt_check_iova",
	  dmabuf_aligned, DEV },
	{ "type 1: an area of a dma-buf is not cut: EOPNOTSUPP", IOPT "iopt_area_split",
	  compat_no_cut_of_dmabuf, DEV },
};

CONF_TABLE(conf_file, file);
