/* SPDX-License-Identifier: MIT */
/* /dev/iommu: how its calls are framed, and the life of its objects. */
#include <sys/epoll.h>

#include "conf.h"

#define MAIN "drivers/iommu/iommufd/main.c:"

/* ------------------------------------------------------------------------- framing */

struct call {
	unsigned long request;
	uint32_t minimum, size;
};

#define CALL(request, minimum, type) (&(const struct call){ request, minimum, sizeof(struct type) })

static void size_zero(struct conf *c, const void *data)
{
	const struct call *call = data;
	uint32_t cmd[32] = { 0 };

	expect(c, conf_ioctl(c, conf_iommufd_open(c), call->request, cmd), -EINVAL);
}

static void size_short(struct conf *c, const void *data)
{
	const struct call *call = data;
	uint32_t cmd[32] = { call->minimum - 1 };

	expect(c, conf_ioctl(c, conf_iommufd_open(c), call->request, cmd), -EINVAL);
}

static void tail_not_zero(struct conf *c, const void *data)
{
	const struct call *call = data;
	uint32_t cmd[64] = { call->size + 8 };

	cmd[call->size / 4 + 1] = 1;
	expect(c, conf_ioctl(c, conf_iommufd_open(c), call->request, cmd), -E2BIG);
}

static void no_memory(struct conf *c, const void *data)
{
	const struct call *call = data;

	expect(c, conf_ioctl(c, conf_iommufd_open(c), call->request, NULL), -EFAULT);
}

#define FRAMING(name, request, minimum, type)                                                      \
	{ name " size 0: EINVAL", MAIN "iommufd_fops_ioctl", size_zero,                            \
	  CALL(request, minimum, type), NEED_IOMMUFD },                                            \
		{ name " size below the first version's: EINVAL", MAIN "iommufd_fops_ioctl",       \
		  size_short, CALL(request, minimum, type), NEED_IOMMUFD },                        \
		{ name " unknown tail not zero: E2BIG", MAIN "iommufd_fops_ioctl", tail_not_zero,  \
		  CALL(request, minimum, type), NEED_IOMMUFD },                                    \
	{                                                                                          \
		name " bad address: EFAULT", MAIN "iommufd_fops_ioctl", no_memory,                 \
			CALL(request, minimum, type), NEED_IOMMUFD                                 \
	}

static void tail_zero(struct conf *c, const void *data)
{
	struct {
		struct iommu_ioas_alloc cmd;
		uint32_t tail[5];
	} big = { .cmd = { .size = sizeof(big) } };

	(void)data;
	expect(c, conf_ioctl(c, conf_iommufd_open(c), IOMMU_IOAS_ALLOC, &big), 0);
	expect(c, big.cmd.out_ioas_id, 1);
}

static void unknown_number(struct conf *c, const void *data)
{
	uint32_t cmd[16] = { 8 };

	(void)data;
	expect(c, conf_ioctl(c, conf_iommufd_open(c), 0x3b9a, cmd), -ENOTTY);
}

static void other_type(struct conf *c, const void *data)
{
	uint32_t cmd[16] = { 8 };

	(void)data;
	/* The number of IOMMU_DESTROY with another type in the second byte. */
	expect(c, conf_ioctl(c, conf_iommufd_open(c), 0x3c80, cmd), -ENOTTY);
}

static void lseek_is_espipe(struct conf *c, const void *data)
{
	(void)data;
	expect(c, c->kernel->lseek(c->kernel->data, conf_iommufd_open(c), 0, SEEK_SET), -ESPIPE);
}

static void read_is_einval(struct conf *c, const void *data)
{
	char byte;

	(void)data;
	expect(c, c->kernel->read(c->kernel->data, conf_iommufd_open(c), &byte, 1), -EINVAL);
}

static void mmap_private(struct conf *c, const void *data)
{
	void *mem;

	(void)data;
	expect(c, conf_mmap(c, PAGE, PROT_READ, MAP_PRIVATE, conf_iommufd_open(c), 0, &mem),
	       -EINVAL);
}

static void mmap_exec(struct conf *c, const void *data)
{
	void *mem;

	(void)data;
	expect(c,
	       conf_mmap(c, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, conf_iommufd_open(c), 0, &mem),
	       -EPERM);
}

static void mmap_nothing(struct conf *c, const void *data)
{
	void *mem;

	(void)data;
	expect(c, conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, conf_iommufd_open(c), 0, &mem), -ENXIO);
}

/* ------------------------------------------------------------------------- objects */

static void ids_from_one(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);

	(void)data;
	expect(c, conf_ioas_new(c, fd), 1);
	expect(c, conf_ioas_new(c, fd), 2);
	expect(c, conf_ioas_new(c, fd), 3);
}

static void lowest_id_again(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);

	(void)data;
	conf_ioas_new(c, fd);
	conf_ioas_new(c, fd);
	conf_ioas_new(c, fd);
	expect(c, conf_destroy(c, fd, 2), 0);
	expect(c, conf_destroy(c, fd, 1), 0);
	expect(c, conf_ioas_new(c, fd), 1);
	expect(c, conf_ioas_new(c, fd), 2);
	expect(c, conf_ioas_new(c, fd), 4);
}

static void ids_per_context(struct conf *c, const void *data)
{
	int first = conf_iommufd_open(c), second = conf_iommufd_open(c);

	(void)data;
	expect(c, conf_ioas_new(c, first), 1);
	expect(c, conf_ioas_new(c, second), 1);
	expect(c, conf_destroy(c, second, 1), 0);
	expect(c, conf_probe_iova(c, first, 1, 0x10000), 0);
	expect(c, conf_probe_iova(c, second, 1, 0x10000), -ENOENT);
}

static void dup_is_the_same(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	int other = conf_keep(c, c->kernel->dup(c->kernel->data, fd));
	uint32_t ioas = conf_ioas_new(c, fd);

	(void)data;
	expect(c, conf_probe_iova(c, other, ioas, 0x10000), 0);
	expect(c, conf_close(c, fd), 0);
	expect(c, conf_probe_iova(c, other, ioas, 0x10000), 0);
}

static void alloc_flags(struct conf *c, const void *data)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd), .flags = 1 };

	(void)data;
	expect(c, conf_ioctl(c, conf_iommufd_open(c), IOMMU_IOAS_ALLOC, &cmd), -EOPNOTSUPP);
}

static void alloc_unwritable(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	struct iommu_ioas_alloc *cmd = conf_memory(c, PAGE);

	(void)data;
	cmd->size = sizeof(*cmd);
	mprotect(cmd, PAGE, PROT_READ);
	expect(c, conf_ioctl(c, fd, IOMMU_IOAS_ALLOC, cmd), -EFAULT);
	expect(c, conf_ioas_new(c, fd), 1);
}

static void destroy_missing(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);

	(void)data;
	expect(c, conf_destroy(c, fd, 1), -ENOENT);
	expect(c, conf_destroy(c, fd, 0), -ENOENT);
	expect(c, conf_destroy(c, fd, UINT32_MAX), -ENOENT);
}

static void destroy_twice(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);

	(void)data;
	expect(c, conf_destroy(c, fd, ioas), 0);
	expect(c, conf_destroy(c, fd, ioas), -ENOENT);
}

static void destroy_with_areas(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);

	(void)data;
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, 0x10000), 0);
	expect(c, conf_destroy(c, fd, ioas), 0);
}

static void destroy_device(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t devid = 0;

	(void)data;
	expect(c, conf_bind(c, conf_cdev(c, PLAIN), fd, &devid), 0);
	expect(c, conf_destroy(c, fd, devid), -EBUSY);
}

static void destroy_attached_ioas(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	int dev = conf_device_open(c, PLAIN, fd, ioas);

	(void)data;
	expect(c, conf_destroy(c, fd, ioas), -EBUSY);
	expect(c, conf_detach(c, dev), 0);
	expect(c, conf_destroy(c, fd, ioas), 0);
}

static void destroy_attached_hwpt(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	int dev = conf_device_open(c, PLAIN, fd, 0);
	uint32_t pt = ioas;

	(void)data;
	expect(c, conf_attach(c, dev, &pt), 0);
	expect(c, conf_destroy(c, fd, pt), -EBUSY);
}

static void wrong_type(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t devid = 0;

	(void)data;
	expect(c, conf_bind(c, conf_cdev(c, PLAIN), fd, &devid), 0);
	expect(c, conf_probe_iova(c, fd, devid, 0x10000), -ENOENT);
}

static void device_id_in_order(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t devid = 0;

	(void)data;
	expect(c, conf_ioas_new(c, fd), 1);
	expect(c, conf_bind(c, conf_cdev(c, PLAIN), fd, &devid), 0);
	expect(c, devid, 2);
}

static void context_outlives_fd(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	int dev = conf_device_open(c, PLAIN, fd, ioas);
	uint32_t again = ioas;

	(void)data;
	expect(c, conf_close(c, fd), 0);
	expect(c, conf_detach(c, dev), 0);
	expect(c, conf_attach(c, dev, &again), 0);
}

/* -------------------------------------------------------------------------- OPTION */

struct option {
	uint32_t id;
	uint16_t op, reserved;
	uint32_t object;
	uint64_t value;
	int want;
};

static void option_row(struct conf *c, const void *data)
{
	const struct option *row = data;
	struct iommu_option cmd = {
		.size = sizeof(cmd),
		.option_id = row->id,
		.op = row->op,
		.__reserved = row->reserved,
		.object_id = row->object,
		.val64 = row->value,
	};
	int fd = conf_iommufd_open(c);

	if (row->id == IOMMU_OPTION_HUGE_PAGES)
		conf_ioas_new(c, fd);
	expect(c, conf_ioctl(c, fd, IOMMU_OPTION, &cmd), row->want);
}

#define OPTION(rule, ...)                                                                          \
	{                                                                                          \
		rule, MAIN "iommufd_option", option_row, &(const struct option){ __VA_ARGS__ },    \
			NEED_IOMMUFD                                                               \
	}

static void option_rlimit_busy(struct conf *c, const void *data)
{
	struct iommu_option cmd = { .size = sizeof(cmd), .op = IOMMU_OPTION_OP_SET, .val64 = 1 };
	int fd = conf_iommufd_open(c);

	(void)data;
	conf_ioas_new(c, fd);
	expect(c, conf_ioctl(c, fd, IOMMU_OPTION, &cmd), -EBUSY);
}

static void option_rlimit_kept(struct conf *c, const void *data)
{
	struct iommu_option cmd = { .size = sizeof(cmd), .op = IOMMU_OPTION_OP_SET, .val64 = 1 };
	int fd = conf_iommufd_open(c);

	(void)data;
	expect(c, conf_ioctl(c, fd, IOMMU_OPTION, &cmd), 0);
	cmd.op = IOMMU_OPTION_OP_GET;
	cmd.val64 = 7;
	expect(c, conf_ioctl(c, fd, IOMMU_OPTION, &cmd), 0);
	expect(c, cmd.val64, 1);
}

static int set_huge_pages(struct conf *c, int fd, uint32_t ioas, uint64_t value)
{
	struct iommu_option cmd = {
		.size = sizeof(cmd),
		.option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET,
		.object_id = ioas,
		.val64 = value,
	};

	return conf_ioctl(c, fd, IOMMU_OPTION, &cmd);
}

static uint64_t alignment(struct conf *c, int fd, uint32_t ioas)
{
	struct iommu_iova_range ranges[16];
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas,
		.num_iovas = 16,
		.allowed_iovas = (uintptr_t)ranges,
	};

	expect(c, conf_ioctl(c, fd, IOMMU_IOAS_IOVA_RANGES, &cmd), 0);
	return cmd.out_iova_alignment;
}

static void huge_pages_alignment(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);

	(void)data;
	expect(c, alignment(c, fd, ioas), 1);
	expect(c, set_huge_pages(c, fd, ioas, 0), 0);
	expect(c, alignment(c, fd, ioas), PAGE);
	expect(c, set_huge_pages(c, fd, ioas, 1), 0);
	expect(c, alignment(c, fd, ioas), 1);
}

static void huge_pages_misaligned(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);

	(void)data;
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), 512, 0x10000), 0);
	expect(c, set_huge_pages(c, fd, ioas, 0), -EADDRINUSE);
	expect(c, alignment(c, fd, ioas), 1);
}

static void huge_pages_in_use(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);

	(void)data;
	conf_device_open(c, PLAIN, fd, ioas);
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, 0x10000), 0);
	expect(c, set_huge_pages(c, fd, ioas, 0), -EINVAL);
}

static void huge_pages_attached_empty(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);

	(void)data;
	conf_device_open(c, PLAIN, fd, ioas);
	expect(c, set_huge_pages(c, fd, ioas, 0), 0);
}

/* --------------------------------------------------------------------- VFIO compat */

static int vfio_ioas(struct conf *c, int fd, uint16_t op, uint32_t *ioas)
{
	struct iommu_vfio_ioas cmd = { .size = sizeof(cmd), .op = op, .ioas_id = *ioas };
	int ret = conf_ioctl(c, fd, IOMMU_VFIO_IOAS, &cmd);

	*ioas = cmd.ioas_id;
	return ret;
}

static void compat_none(struct conf *c, const void *data)
{
	uint32_t id = 0;

	(void)data;
	expect(c, vfio_ioas(c, conf_iommufd_open(c), IOMMU_VFIO_IOAS_GET, &id), -ENODEV);
}

static void compat_set_get_clear(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), id = ioas;

	(void)data;
	expect(c, vfio_ioas(c, fd, IOMMU_VFIO_IOAS_SET, &id), 0);
	id = 0;
	expect(c, vfio_ioas(c, fd, IOMMU_VFIO_IOAS_GET, &id), 0);
	expect(c, id, ioas);
	expect(c, vfio_ioas(c, fd, IOMMU_VFIO_IOAS_CLEAR, &id), 0);
	expect(c, vfio_ioas(c, fd, IOMMU_VFIO_IOAS_GET, &id), -ENODEV);
}

static void compat_set_missing(struct conf *c, const void *data)
{
	uint32_t id = 7;

	(void)data;
	expect(c, vfio_ioas(c, conf_iommufd_open(c), IOMMU_VFIO_IOAS_SET, &id), -ENOENT);
}

static void compat_bad_op(struct conf *c, const void *data)
{
	uint32_t id = 0;

	(void)data;
	expect(c, vfio_ioas(c, conf_iommufd_open(c), 3, &id), -EOPNOTSUPP);
}

static void compat_destroyed(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), id = ioas;

	(void)data;
	expect(c, vfio_ioas(c, fd, IOMMU_VFIO_IOAS_SET, &id), 0);
	expect(c, conf_destroy(c, fd, ioas), 0);
	expect(c, vfio_ioas(c, fd, IOMMU_VFIO_IOAS_GET, &id), -ENODEV);
}

static void compat_version(struct conf *c, const void *data)
{
	(void)data;
	expect(c, conf_ioctl(c, conf_iommufd_open(c), VFIO_GET_API_VERSION, NULL), 0);
}

static void compat_extensions(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);

	(void)data;
	expect(c, conf_ioctl_value(c, fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU), 1);
	expect(c, conf_ioctl_value(c, fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU), 1);
	expect(c, conf_ioctl_value(c, fd, VFIO_CHECK_EXTENSION, VFIO_UNMAP_ALL), 1);
	expect(c, conf_ioctl_value(c, fd, VFIO_CHECK_EXTENSION, VFIO_UPDATE_VADDR), 0);
	expect(c, conf_ioctl_value(c, fd, VFIO_CHECK_EXTENSION, VFIO_DMA_CC_IOMMU), -ENODEV);
	expect(c, conf_ioctl_value(c, fd, VFIO_CHECK_EXTENSION, 4711), 0);
}

static int compat_map(struct conf *c, int fd, const void *va, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)va,
		.iova = iova,
		.size = size,
	};

	return conf_ioctl(c, fd, VFIO_IOMMU_MAP_DMA, &map);
}

static int compat_unmap(struct conf *c, int fd, uint64_t iova, uint64_t size, uint64_t *unmapped)
{
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap),
						    .iova = iova,
						    .size = size };
	int ret = conf_ioctl(c, fd, VFIO_IOMMU_UNMAP_DMA, &unmap);

	*unmapped = unmap.size;
	return ret;
}

static void compat_map_without(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);

	(void)data;
	expect(c, compat_map(c, fd, conf_memory(c, PAGE), 0x10000, PAGE), -ENODEV);
}

static void compat_map_unmap(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint64_t unmapped;

	(void)data;
	vfio_ioas(c, fd, IOMMU_VFIO_IOAS_SET, &ioas);
	expect(c, compat_map(c, fd, conf_memory(c, PAGE), 0x10000, PAGE), 0);
	expect(c, conf_probe_iova(c, fd, ioas, 0x10000), -EEXIST);
	expect(c, compat_unmap(c, fd, 0x10000, PAGE, &unmapped), 0);
	expect(c, unmapped, PAGE);
	expect(c, conf_probe_iova(c, fd, ioas, 0x10000), 0);
}

static void compat_unmap_nothing(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint64_t unmapped;

	(void)data;
	vfio_ioas(c, fd, IOMMU_VFIO_IOAS_SET, &ioas);
	expect(c, compat_unmap(c, fd, 0x10000, PAGE, &unmapped), 0);
	expect(c, unmapped, 0);
}

static void compat_type1_splits(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint64_t unmapped;

	(void)data;
	vfio_ioas(c, fd, IOMMU_VFIO_IOAS_SET, &ioas);
	expect(c, conf_ioctl_value(c, fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	expect(c, compat_map(c, fd, conf_memory(c, 4 * PAGE), 0x10000, 4 * PAGE), 0);
	expect(c, compat_unmap(c, fd, 0x11000, PAGE, &unmapped), 0);
	expect(c, unmapped, PAGE);
	expect(c, conf_probe_iova(c, fd, ioas, 0x10000), -EEXIST);
	expect(c, conf_probe_iova(c, fd, ioas, 0x11000), 0);
	expect(c, conf_probe_iova(c, fd, ioas, 0x12000), -EEXIST);
}

static void compat_type1v2_keeps_whole(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint64_t unmapped;

	(void)data;
	vfio_ioas(c, fd, IOMMU_VFIO_IOAS_SET, &ioas);
	expect(c, conf_ioctl_value(c, fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), 0);
	expect(c, compat_map(c, fd, conf_memory(c, 4 * PAGE), 0x10000, 4 * PAGE), 0);
	expect(c, compat_unmap(c, fd, 0x11000, PAGE, &unmapped), -ENOENT);
	expect(c, unmapped, 0);
}

static void compat_set_iommu(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);

	(void)data;
	expect(c, conf_ioctl_value(c, fd, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), -ENODEV);
	expect(c, conf_ioctl_value(c, fd, VFIO_SET_IOMMU, 77), -EINVAL);
}

static void compat_info(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	struct {
		struct vfio_iommu_type1_info info;
		struct vfio_iommu_type1_info_dma_avail avail;
		uint32_t pad;
		struct vfio_iommu_type1_info_cap_iova_range iova;
		struct vfio_iova_range range;
	} get = { .info = { .argsz = sizeof(get) } };

	(void)data;
	expect(c, conf_ioctl(c, fd, VFIO_IOMMU_GET_INFO, &get), -ENODEV);
	vfio_ioas(c, fd, IOMMU_VFIO_IOAS_SET, &ioas);
	get.info.argsz = 8;
	expect(c, conf_ioctl(c, fd, VFIO_IOMMU_GET_INFO, &get), -EINVAL);
	get.info.argsz = sizeof(get);
	expect(c, conf_ioctl(c, fd, VFIO_IOMMU_GET_INFO, &get), 0);
	expect(c, get.info.argsz, sizeof(get));
	expect(c, get.info.flags, VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS);
	expect(c, get.info.iova_pgsizes, ~(PAGE - 1));
	expect(c, get.info.cap_offset, sizeof(get.info));
	expect(c, get.avail.header.id, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
	expect(c, get.avail.avail, UINT32_MAX);
	expect(c, get.iova.header.id, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
	expect(c, get.iova.nr_iovas, 1);
	expect(c, get.range.start, 0);
	expect(c, get.range.end, UINT64_MAX);
}

/* -------------------------------------------------------------------- fault queues */

static int fault_queue(struct conf *c, int fd, uint32_t flags, uint32_t *id)
{
	struct iommu_fault_alloc cmd = { .size = sizeof(cmd), .flags = flags };
	int ret = conf_ioctl(c, fd, IOMMU_FAULT_QUEUE_ALLOC, &cmd);

	if (ret)
		return ret;
	*id = cmd.out_fault_id;
	return conf_keep(c, (int)cmd.out_fault_fd);
}

static void fault_flags(struct conf *c, const void *data)
{
	uint32_t id;

	(void)data;
	expect(c, fault_queue(c, conf_iommufd_open(c), 1, &id), -EOPNOTSUPP);
}

static void fault_busy_while_open(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t id = 0;
	int queue = fault_queue(c, fd, 0, &id);

	(void)data;
	expect_true(c, queue >= 0);
	expect(c, conf_destroy(c, fd, id), -EBUSY);
	expect(c, conf_close(c, queue), 0);
	expect(c, conf_destroy(c, fd, id), 0);
}

static void fault_read(struct conf *c, const void *data)
{
	uint32_t id;
	int queue = fault_queue(c, conf_iommufd_open(c), 0, &id);
	struct iommu_hwpt_pgfault fault;

	(void)data;
	expect(c, c->kernel->read(c->kernel->data, queue, &fault, sizeof(fault)), 0);
	expect(c, c->kernel->read(c->kernel->data, queue, &fault, sizeof(fault) - 1), -ESPIPE);
}

static void fault_write(struct conf *c, const void *data)
{
	uint32_t id;
	int queue = fault_queue(c, conf_iommufd_open(c), 0, &id);
	struct iommu_hwpt_page_response response = { .cookie = 1 };

	(void)data;
	expect(c, c->kernel->write(c->kernel->data, queue, &response, sizeof(response) - 1),
	       -ESPIPE);
	expect(c, c->kernel->write(c->kernel->data, queue, &response, sizeof(response)), -EINVAL);
	response.code = 7;
	expect(c, c->kernel->write(c->kernel->data, queue, &response, sizeof(response)), -EINVAL);
}

static void fault_epoll(struct conf *c, const void *data)
{
	int epoll = conf_keep(c, c->kernel->epoll_create(c->kernel->data));
	uint32_t id;
	int queue = fault_queue(c, conf_iommufd_open(c), 0, &id);

	(void)data;
	expect(c, conf_wait_for(c, epoll, EPOLL_CTL_ADD, queue, EPOLLIN), 0);
	expect(c, conf_ready(c, epoll), 0);
	expect(c, conf_wait_for(c, epoll, EPOLL_CTL_MOD, queue, EPOLLIN | EPOLLOUT), 0);
	expect(c, conf_ready(c, epoll), EPOLLOUT);
}

static void fault_keeps_context(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	struct iommu_hwpt_pgfault fault;
	uint32_t id;
	int queue = fault_queue(c, fd, 0, &id);

	(void)data;
	expect(c, conf_close(c, fd), 0);
	expect(c, c->kernel->read(c->kernel->data, queue, &fault, sizeof(fault)), 0);
}

/* -------------------------------------------------------- calls that need hardware */

static void viommu_row(struct conf *c, const void *data)
{
	const int *row = data;
	struct iommu_viommu_alloc cmd = {
		.size = sizeof(cmd),
		.flags = (uint32_t)row[0],
		.type = (uint32_t)row[1],
		.dev_id = 99,
	};

	expect(c, conf_ioctl(c, conf_iommufd_open(c), IOMMU_VIOMMU_ALLOC, &cmd), row[2]);
}

static void vdevice_missing(struct conf *c, const void *data)
{
	struct iommu_vdevice_alloc cmd = { .size = sizeof(cmd), .viommu_id = 99 };

	(void)data;
	expect(c, conf_ioctl(c, conf_iommufd_open(c), IOMMU_VDEVICE_ALLOC, &cmd), -ENOENT);
}

static void veventq_row(struct conf *c, const void *data)
{
	const int *row = data;
	struct iommu_veventq_alloc cmd = {
		.size = sizeof(cmd),
		.flags = (uint32_t)row[0],
		.type = (uint32_t)row[1],
		.veventq_depth = (uint32_t)row[2],
		.viommu_id = 99,
	};

	expect(c, conf_ioctl(c, conf_iommufd_open(c), IOMMU_VEVENTQ_ALLOC, &cmd), row[3]);
}

struct hw_queue {
	uint32_t flags, type;
	uint64_t iova, length;
	int want;
};

static void hw_queue_row(struct conf *c, const void *data)
{
	const struct hw_queue *row = data;
	struct iommu_hw_queue_alloc cmd = {
		.size = sizeof(cmd),
		.flags = row->flags,
		.type = row->type,
		.viommu_id = 99,
		.nesting_parent_iova = row->iova,
		.length = row->length,
	};

	expect(c, conf_ioctl(c, conf_iommufd_open(c), IOMMU_HW_QUEUE_ALLOC, &cmd), row->want);
}

#define VIOMMU(rule, ...)                                                                          \
	{                                                                                          \
		rule, "drivers/iommu/iommufd/viommu.c:iommufd_viommu_alloc_ioctl", viommu_row,     \
			(const int[]){ __VA_ARGS__ }, NEED_IOMMUFD                                 \
	}
#define VEVENTQ(rule, ...)                                                                         \
	{                                                                                          \
		rule, "drivers/iommu/iommufd/eventq.c:iommufd_veventq_alloc", veventq_row,         \
			(const int[]){ __VA_ARGS__ }, NEED_IOMMUFD                                 \
	}
#define HW_QUEUE(rule, ...)                                                                        \
	{                                                                                          \
		rule, "drivers/iommu/iommufd/viommu.c:iommufd_hw_queue_alloc_ioctl", hw_queue_row, \
			&(const struct hw_queue){ __VA_ARGS__ }, NEED_IOMMUFD                      \
	}

#define COMPAT "drivers/iommu/iommufd/vfio_compat.c:"
#define EVENTQ "drivers/iommu/iommufd/eventq.c:"

static const struct conf_case iommufd[] = {
	FRAMING("DESTROY", IOMMU_DESTROY, 8, iommu_destroy),
	FRAMING("IOAS_ALLOC", IOMMU_IOAS_ALLOC, 12, iommu_ioas_alloc),
	FRAMING("ALLOW_IOVAS", IOMMU_IOAS_ALLOW_IOVAS, 24, iommu_ioas_allow_iovas),
	FRAMING("COPY", IOMMU_IOAS_COPY, 40, iommu_ioas_copy),
	FRAMING("IOVA_RANGES", IOMMU_IOAS_IOVA_RANGES, 32, iommu_ioas_iova_ranges),
	FRAMING("MAP", IOMMU_IOAS_MAP, 40, iommu_ioas_map),
	FRAMING("MAP_FILE", IOMMU_IOAS_MAP_FILE, 40, iommu_ioas_map_file),
	FRAMING("UNMAP", IOMMU_IOAS_UNMAP, 24, iommu_ioas_unmap),
	FRAMING("OPTION", IOMMU_OPTION, 24, iommu_option),
	FRAMING("VFIO_IOAS", IOMMU_VFIO_IOAS, 12, iommu_vfio_ioas),
	FRAMING("HWPT_ALLOC", IOMMU_HWPT_ALLOC, 24, iommu_hwpt_alloc),
	FRAMING("GET_HW_INFO", IOMMU_GET_HW_INFO, 32, iommu_hw_info),
	FRAMING("SET_DIRTY_TRACKING", IOMMU_HWPT_SET_DIRTY_TRACKING, 16,
		iommu_hwpt_set_dirty_tracking),
	FRAMING("GET_DIRTY_BITMAP", IOMMU_HWPT_GET_DIRTY_BITMAP, 48, iommu_hwpt_get_dirty_bitmap),
	FRAMING("HWPT_INVALIDATE", IOMMU_HWPT_INVALIDATE, 32, iommu_hwpt_invalidate),
	FRAMING("FAULT_QUEUE_ALLOC", IOMMU_FAULT_QUEUE_ALLOC, 16, iommu_fault_alloc),
	FRAMING("VIOMMU_ALLOC", IOMMU_VIOMMU_ALLOC, 24, iommu_viommu_alloc),
	FRAMING("VDEVICE_ALLOC", IOMMU_VDEVICE_ALLOC, 24, iommu_vdevice_alloc),
	FRAMING("CHANGE_PROCESS", IOMMU_IOAS_CHANGE_PROCESS, 8, iommu_ioas_change_process),
	FRAMING("VEVENTQ_ALLOC", IOMMU_VEVENTQ_ALLOC, 28, iommu_veventq_alloc),
	FRAMING("HW_QUEUE_ALLOC", IOMMU_HW_QUEUE_ALLOC, 40, iommu_hw_queue_alloc),
	FRAMING("NOIOMMU_GET_PA", IOMMU_IOAS_NOIOMMU_GET_PA, 40, iommu_ioas_noiommu_get_pa),
	{ "a longer struct whose tail is zero is taken", MAIN "iommufd_fops_ioctl", tail_zero, NULL,
	  NEED_IOMMUFD },
	{ "an unknown number: ENOTTY", MAIN "iommufd_fops_ioctl", unknown_number, NULL,
	  NEED_IOMMUFD },
	{ "another ioctl type with a known number: ENOTTY", MAIN "iommufd_fops_ioctl", other_type,
	  NULL, NEED_IOMMUFD },
	{ "lseek on /dev/iommu: ESPIPE", MAIN "iommufd_fops", lseek_is_espipe, NULL, NEED_IOMMUFD },
	{ "read of /dev/iommu: EINVAL", MAIN "iommufd_fops", read_is_einval, NULL, NEED_IOMMUFD },
	{ "private mmap of /dev/iommu: EINVAL", MAIN "iommufd_fops_mmap", mmap_private, NULL,
	  NEED_IOMMUFD },
	{ "executable mmap of /dev/iommu: EPERM", MAIN "iommufd_fops_mmap", mmap_exec, NULL,
	  NEED_IOMMUFD },
	{ "mmap of /dev/iommu where nothing is published: ENXIO", MAIN "iommufd_fops_mmap",
	  mmap_nothing, NULL, NEED_IOMMUFD },

	{ "object ids start at 1", MAIN "_iommufd_object_alloc", ids_from_one, NULL, NEED_IOMMUFD },
	{ "the lowest free object id is used again", MAIN "_iommufd_object_alloc", lowest_id_again,
	  NULL, NEED_IOMMUFD },
	{ "object ids belong to one open file", MAIN "iommufd_fops_open", ids_per_context, NULL,
	  NEED_IOMMUFD },
	{ "a dup'ed fd is the same context, also alone", MAIN "iommufd_fops_release",
	  dup_is_the_same, NULL, NEED_IOMMUFD },
	{ "IOAS_ALLOC with flags: EOPNOTSUPP",
	  "drivers/iommu/iommufd/ioas.c:iommufd_ioas_alloc_ioctl", alloc_flags, NULL,
	  NEED_IOMMUFD },
	{ "IOAS_ALLOC that cannot answer leaves no object",
	  "drivers/iommu/iommufd/ioas.c:iommufd_ioas_alloc_ioctl", alloc_unwritable, NULL,
	  NEED_IOMMUFD },
	{ "DESTROY of what is not there: ENOENT", MAIN "iommufd_object_remove", destroy_missing,
	  NULL, NEED_IOMMUFD },
	{ "DESTROY twice: ENOENT", MAIN "iommufd_object_remove", destroy_twice, NULL,
	  NEED_IOMMUFD },
	{ "DESTROY of an IOAS with areas unmaps them",
	  "drivers/iommu/iommufd/ioas.c:iommufd_ioas_destroy", destroy_with_areas, NULL,
	  NEED_IOMMUFD },
	{ "DESTROY of a bound device: EBUSY", MAIN "iommufd_object_remove", destroy_device, NULL,
	  NEED_IOMMUFD | NEED_PLAIN },
	{ "DESTROY of an IOAS with a HWPT: EBUSY until detached", MAIN "iommufd_object_remove",
	  destroy_attached_ioas, NULL, NEED_IOMMUFD | NEED_PLAIN },
	{ "DESTROY of an attached HWPT: EBUSY", MAIN "iommufd_object_remove", destroy_attached_hwpt,
	  NULL, NEED_IOMMUFD | NEED_PLAIN },
	{ "an id of another type: ENOENT", MAIN "iommufd_get_object", wrong_type, NULL,
	  NEED_IOMMUFD | NEED_PLAIN },
	{ "a device takes the next object id", MAIN "_iommufd_object_alloc", device_id_in_order,
	  NULL, NEED_IOMMUFD | NEED_PLAIN },
	{ "a bound device keeps the context of a closed fd",
	  "drivers/vfio/device_cdev.c:vfio_df_ioctl_bind_iommufd", context_outlives_fd, NULL,
	  NEED_IOMMUFD | NEED_PLAIN },

	OPTION("OPTION with an unknown id: EOPNOTSUPP", 2, IOMMU_OPTION_OP_GET, 0, 0, 0,
	       -EOPNOTSUPP),
	OPTION("OPTION with an unknown operation: EOPNOTSUPP", IOMMU_OPTION_RLIMIT_MODE, 2, 0, 0, 0,
	       -EOPNOTSUPP),
	OPTION("OPTION with reserved bits: EOPNOTSUPP", IOMMU_OPTION_RLIMIT_MODE,
	       IOMMU_OPTION_OP_GET, 1, 0, 0, -EOPNOTSUPP),
	OPTION("RLIMIT_MODE of an object: EOPNOTSUPP", IOMMU_OPTION_RLIMIT_MODE,
	       IOMMU_OPTION_OP_GET, 0, 1, 0, -EOPNOTSUPP),
	OPTION("RLIMIT_MODE can be read", IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_OP_GET, 0, 0, 0,
	       0),
	OPTION("RLIMIT_MODE above 1: EINVAL", IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_OP_SET, 0, 0,
	       2, -EINVAL),
	{ "RLIMIT_MODE after the first object: EBUSY",
	  "drivers/iommu/iommufd/ioas.c:iommufd_option_rlimit_mode", option_rlimit_busy, NULL,
	  NEED_IOMMUFD },
	{ "RLIMIT_MODE reads back what was set",
	  "drivers/iommu/iommufd/ioas.c:iommufd_option_rlimit_mode", option_rlimit_kept, NULL,
	  NEED_IOMMUFD },
	OPTION("HUGE_PAGES of a missing IOAS: ENOENT", IOMMU_OPTION_HUGE_PAGES, IOMMU_OPTION_OP_GET,
	       0, 9, 0, -ENOENT),
	OPTION("HUGE_PAGES can be read", IOMMU_OPTION_HUGE_PAGES, IOMMU_OPTION_OP_GET, 0, 1, 0, 0),
	OPTION("HUGE_PAGES above 1: EINVAL", IOMMU_OPTION_HUGE_PAGES, IOMMU_OPTION_OP_SET, 0, 1, 2,
	       -EINVAL),
	OPTION("HUGE_PAGES with an unknown operation: EOPNOTSUPP", IOMMU_OPTION_HUGE_PAGES, 5, 0, 1,
	       0, -EOPNOTSUPP),
	{ "HUGE_PAGES off raises the alignment to a page, on lowers it",
	  "drivers/iommu/iommufd/io_pagetable.c:iopt_disable_large_pages", huge_pages_alignment,
	  NULL, NEED_IOMMUFD },
	{ "HUGE_PAGES off with an area that is not page aligned: EADDRINUSE",
	  "drivers/iommu/iommufd/io_pagetable.c:iopt_check_iova_alignment", huge_pages_misaligned,
	  NULL, NEED_IOMMUFD },
	{ "HUGE_PAGES off with a device and areas: EINVAL",
	  "drivers/iommu/iommufd/io_pagetable.c:iopt_disable_large_pages", huge_pages_in_use, NULL,
	  NEED_IOMMUFD | NEED_PLAIN },
	{ "HUGE_PAGES off with a device and no area works",
	  "drivers/iommu/iommufd/io_pagetable.c:iopt_disable_large_pages",
	  huge_pages_attached_empty, NULL, NEED_IOMMUFD | NEED_PLAIN },

	{ "VFIO_IOAS GET without one: ENODEV", COMPAT "iommufd_vfio_ioas", compat_none, NULL,
	  NEED_IOMMUFD },
	{ "VFIO_IOAS SET, GET, CLEAR", COMPAT "iommufd_vfio_ioas", compat_set_get_clear, NULL,
	  NEED_IOMMUFD },
	{ "VFIO_IOAS SET of a missing IOAS: ENOENT", COMPAT "iommufd_vfio_ioas", compat_set_missing,
	  NULL, NEED_IOMMUFD },
	{ "VFIO_IOAS with an unknown operation: EOPNOTSUPP", COMPAT "iommufd_vfio_ioas",
	  compat_bad_op, NULL, NEED_IOMMUFD },
	{ "DESTROY of the compatibility IOAS clears it", MAIN "iommufd_object_remove",
	  compat_destroyed, NULL, NEED_IOMMUFD },
	{ "VFIO_GET_API_VERSION on an iommufd: 0", COMPAT "iommufd_vfio_ioctl", compat_version,
	  NULL, NEED_IOMMUFD },
	{ "VFIO_CHECK_EXTENSION on an iommufd", COMPAT "iommufd_vfio_check_extension",
	  compat_extensions, NULL, NEED_IOMMUFD },
	{ "VFIO_IOMMU_MAP_DMA without a compatibility IOAS: ENODEV", COMPAT "iommufd_vfio_map_dma",
	  compat_map_without, NULL, NEED_IOMMUFD },
	{ "VFIO_IOMMU_MAP_DMA makes an area, UNMAP_DMA ends it", COMPAT "iommufd_vfio_map_dma",
	  compat_map_unmap, NULL, NEED_IOMMUFD },
	{ "VFIO_IOMMU_UNMAP_DMA of nothing: 0, size 0", COMPAT "iommufd_vfio_unmap_dma",
	  compat_unmap_nothing, NULL, NEED_IOMMUFD },
	{ "type 1: an area is cut", COMPAT "iommufd_vfio_unmap_dma", compat_type1_splits, NULL,
	  NEED_IOMMUFD },
	{ "type 1 version 2: an area is not cut", COMPAT "iommufd_vfio_unmap_dma",
	  compat_type1v2_keeps_whole, NULL, NEED_IOMMUFD },
	{ "VFIO_SET_IOMMU: unknown type EINVAL, no IOAS ENODEV", COMPAT "iommufd_vfio_set_iommu",
	  compat_set_iommu, NULL, NEED_IOMMUFD },
	{ "VFIO_IOMMU_GET_INFO: page sizes and capabilities", COMPAT "iommufd_vfio_iommu_get_info",
	  compat_info, NULL, NEED_IOMMUFD },

	{ "FAULT_QUEUE_ALLOC with flags: EOPNOTSUPP", EVENTQ "iommufd_fault_alloc", fault_flags,
	  NULL, NEED_IOMMUFD },
	{ "DESTROY of a fault queue: EBUSY while its fd is open",
	  EVENTQ "iommufd_eventq_fops_release", fault_busy_while_open, NULL, NEED_IOMMUFD },
	{ "read of an empty fault queue: 0; of part of a record: ESPIPE",
	  EVENTQ "iommufd_fault_fops_read", fault_read, NULL, NEED_IOMMUFD },
	{ "an answer that no fault waits for: EINVAL; part of one: ESPIPE",
	  EVENTQ "iommufd_fault_fops_write", fault_write, NULL, NEED_IOMMUFD },
	{ "a fault queue in epoll: can be written, and read when there is a fault",
	  EVENTQ "iommufd_eventq_fops_poll", fault_epoll, NULL, NEED_IOMMUFD },
	{ "a fault queue's fd keeps the context", EVENTQ "iommufd_eventq_init", fault_keeps_context,
	  NULL, NEED_IOMMUFD },

	VIOMMU("VIOMMU_ALLOC with flags: EOPNOTSUPP", 1, 1, -EOPNOTSUPP),
	VIOMMU("VIOMMU_ALLOC of type 0: EOPNOTSUPP", 0, 0, -EOPNOTSUPP),
	VIOMMU("VIOMMU_ALLOC for a missing device: ENOENT", 0, 1, -ENOENT),
	{ "VDEVICE_ALLOC in a missing vIOMMU: ENOENT",
	  "drivers/iommu/iommufd/viommu.c:iommufd_vdevice_alloc_ioctl", vdevice_missing, NULL,
	  NEED_IOMMUFD },
	VEVENTQ("VEVENTQ_ALLOC with flags: EOPNOTSUPP", 1, 1, 8, -EOPNOTSUPP),
	VEVENTQ("VEVENTQ_ALLOC of type 0: EOPNOTSUPP", 0, 0, 8, -EOPNOTSUPP),
	VEVENTQ("VEVENTQ_ALLOC of depth 0: EINVAL", 0, 1, 0, -EINVAL),
	VEVENTQ("VEVENTQ_ALLOC of a depth above 2^19: EINVAL", 0, 1, (1 << 19) + 1, -EINVAL),
	VEVENTQ("VEVENTQ_ALLOC in a missing vIOMMU: ENOENT", 0, 1, 8, -ENOENT),
	HW_QUEUE("HW_QUEUE_ALLOC with flags: EOPNOTSUPP", 1, 1, 0, PAGE, -EOPNOTSUPP),
	HW_QUEUE("HW_QUEUE_ALLOC of type 0: EOPNOTSUPP", 0, 0, 0, PAGE, -EOPNOTSUPP),
	HW_QUEUE("HW_QUEUE_ALLOC of length 0: EINVAL", 0, 1, 0, 0, -EINVAL),
	HW_QUEUE("HW_QUEUE_ALLOC that wraps: EOVERFLOW", 0, 1, UINT64_MAX - PAGE, 2 * PAGE,
		 -EOVERFLOW),
	HW_QUEUE("HW_QUEUE_ALLOC in a missing vIOMMU: ENOENT", 0, 1, 0, PAGE, -ENOENT),
};

CONF_TABLE(conf_iommufd, iommufd);
