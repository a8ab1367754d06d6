/* SPDX-License-Identifier: MIT */
/* IOMMU_TEST_CMD: mock devices, accesses, dma-bufs of kernel memory, of a kernel that has them. */
#include <sys/epoll.h>

#include "conf.h"

#define SELFTEST "drivers/iommu/iommufd/selftest.c:"
#define MAIN	 "drivers/iommu/iommufd/main.c:"
#define DEVICE	 "drivers/iommu/iommufd/device.c:"
#define HWPT	 "drivers/iommu/iommufd/hw_pagetable.c:"
#define PAGES	 "drivers/iommu/iommufd/pages.c:"
#define IOPT	 "drivers/iommu/iommufd/io_pagetable.c:"
#define NEEDS	 NEED_IOMMUFD | NEED_SELFTEST
#define BASE	 MOCK_APERTURE_START

static int test_op(struct conf *c, int iommufd, uint32_t op, uint32_t id,
		   struct iommu_test_cmd *cmd)
{
	cmd->size = sizeof(*cmd);
	cmd->op = op;
	cmd->id = id;
	return conf_ioctl(c, iommufd, IOMMU_TEST_CMD, cmd);
}

struct mock {
	uint32_t stdev, hwpt, idev;
};

static int mock_new(struct conf *c, int iommufd, uint32_t pt_id, uint32_t flags, struct mock *mock)
{
	struct iommu_test_cmd cmd = { .mock_domain.dev_flags = flags };
	int ret = test_op(c, iommufd, IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, pt_id, &cmd);

	if (!ret)
		*mock = (struct mock){ cmd.mock_domain.out_stdev_id, cmd.mock_domain.out_hwpt_id,
				       cmd.mock_domain.out_idev_id };
	return ret;
}

/* An IOAS with a mock device. */
struct bench {
	int iommufd;
	uint32_t ioas;
	struct mock mock;
};

static void set_up(struct conf *c, struct bench *b)
{
	*b = (struct bench){ .iommufd = conf_iommufd_open(c) };
	b->ioas = conf_ioas_new(c, b->iommufd);
	expect(c, mock_new(c, b->iommufd, b->ioas, 0, &b->mock), 0);
}

static int check_map(struct conf *c, const struct bench *b, uint64_t iova, const void *va,
		     uint64_t length)
{
	struct iommu_test_cmd cmd = {
		.check_map = { .iova = iova, .length = length, .uptr = (uintptr_t)va },
	};

	return test_op(c, b->iommufd, IOMMU_TEST_OP_MD_CHECK_MAP, b->mock.hwpt, &cmd);
}

static int check_refs(struct conf *c, int iommufd, const void *va, uint64_t length, uint32_t refs)
{
	struct iommu_test_cmd cmd = {
		.check_refs = { .length = length, .uptr = (uintptr_t)va, .refs = refs },
	};

	return test_op(c, iommufd, IOMMU_TEST_OP_MD_CHECK_REFS, 0, &cmd);
}

static int access_new(struct conf *c, int iommufd, uint32_t ioas, uint32_t flags)
{
	struct iommu_test_cmd cmd = { .create_access.flags = flags };
	int ret = test_op(c, iommufd, IOMMU_TEST_OP_CREATE_ACCESS, ioas, &cmd);

	return ret ? ret : conf_keep(c, (int)cmd.create_access.out_access_fd);
}

static int access_pages(struct conf *c, int iommufd, int access, uint64_t iova, uint64_t length,
			const void *va, uint32_t *item)
{
	struct iommu_test_cmd cmd = {
		.access_pages = { .iova = iova, .length = length, .uptr = (uintptr_t)va },
	};
	int ret = test_op(c, iommufd, IOMMU_TEST_OP_ACCESS_PAGES, (uint32_t)access, &cmd);

	if (!ret && item)
		*item = cmd.access_pages.out_access_pages_id;
	return ret;
}

static int access_drop(struct conf *c, int iommufd, int access, uint32_t item)
{
	struct iommu_test_cmd cmd = { .destroy_access_pages.access_pages_id = item };

	return test_op(c, iommufd, IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, (uint32_t)access, &cmd);
}

static int access_rw(struct conf *c, int iommufd, int access, uint64_t iova, uint64_t length,
		     void *va, uint32_t flags)
{
	struct iommu_test_cmd cmd = {
		.access_rw = { .iova = iova,
			       .length = length,
			       .uptr = (uintptr_t)va,
			       .flags = flags },
	};

	return test_op(c, iommufd, IOMMU_TEST_OP_ACCESS_RW, (uint32_t)access, &cmd);
}

/*
 * Linux 7.3.4 returns 0 where it should return the fd, which is open nevertheless: it is the lowest
 * number that was free.
 */
static int dmabuf_new(struct conf *c, int iommufd, uint32_t length)
{
	struct iommu_test_cmd cmd = { .dmabuf_get = { length, O_CLOEXEC } };
	int lowest = c->kernel->eventfd(c->kernel->data, 0, O_CLOEXEC);
	int ret;

	c->kernel->close(c->kernel->data, lowest);
	ret = test_op(c, iommufd, IOMMU_TEST_OP_DMABUF_GET, 0, &cmd);
	return ret < 0 ? ret : conf_keep(c, ret ? ret : lowest);
}

static int dmabuf_revoke(struct conf *c, int iommufd, int dmabuf, bool revoked)
{
	struct iommu_test_cmd cmd = { .dmabuf_revoke = { dmabuf, revoked } };

	return test_op(c, iommufd, IOMMU_TEST_OP_DMABUF_REVOKE, 0, &cmd);
}

/* -------------------------------------------------------------------- one call each */

struct one {
	uint32_t op;
	struct iommu_test_cmd cmd;
	int want;
};

static void one_call(struct conf *c, const void *data)
{
	const struct one *one = data;
	struct iommu_test_cmd cmd = one->cmd;

	expect(c, test_op(c, conf_iommufd_open(c), one->op, one->cmd.id, &cmd), one->want);
}

#define ONE(op, want, ...)                                                                         \
	one_call, &(const struct one)                                                              \
	{                                                                                          \
		IOMMU_TEST_OP_##op, { __VA_ARGS__ }, want                                          \
	}

static void unknown_op(struct conf *c, const void *data)
{
	struct iommu_test_cmd cmd = { 0 };

	(void)data;
	expect(c, test_op(c, conf_iommufd_open(c), 0, 0, &cmd), -EOPNOTSUPP);
	expect(c, test_op(c, conf_iommufd_open(c), 1000, 0, &cmd), -EOPNOTSUPP);
}

static void too_short(struct conf *c, const void *data)
{
	struct iommu_test_cmd cmd = { .size = offsetof(struct iommu_test_cmd, last) };

	(void)data;
	expect(c, conf_ioctl(c, conf_iommufd_open(c), IOMMU_TEST_CMD, &cmd), -EINVAL);
}

/* -------------------------------------------------------------------- mock devices */

static void aperture(struct conf *c, const void *data)
{
	struct iommu_iova_range range = { 0 };
	struct iommu_ioas_iova_ranges ranges = { .size = sizeof(ranges),
						 .num_iovas = 1,
						 .allowed_iovas = (uintptr_t)&range };
	struct bench b;

	(void)data;
	set_up(c, &b);
	ranges.ioas_id = b.ioas;
	expect(c, conf_ioctl(c, b.iommufd, IOMMU_IOAS_IOVA_RANGES, &ranges), 0);
	expect(c, ranges.num_iovas, 1);
	expect(c, range.start, MOCK_APERTURE_START);
	expect(c, range.last, MOCK_APERTURE_LAST);
	expect(c, ranges.out_iova_alignment, MOCK_PAGE_SIZE);
}

static void tear_down(struct conf *c, const void *data)
{
	struct bench b;

	(void)data;
	set_up(c, &b);
	expect(c, conf_destroy(c, b.iommufd, b.ioas), -EBUSY);
	expect(c, conf_destroy(c, b.iommufd, b.mock.idev), -EBUSY);
	expect(c, conf_destroy(c, b.iommufd, b.mock.hwpt), -EBUSY);
	expect(c, conf_destroy(c, b.iommufd, b.mock.stdev), 0);
	expect(c, conf_destroy(c, b.iommufd, b.mock.idev), -ENOENT);
	expect(c, conf_destroy(c, b.iommufd, b.mock.hwpt), -ENOENT);
	expect(c, conf_destroy(c, b.iommufd, b.ioas), 0);
}

static void outside_aperture(struct conf *c, const void *data)
{
	int iommufd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, iommufd);
	struct mock mock;

	(void)data;
	expect(c, conf_map(c, iommufd, ioas, conf_memory(c, PAGE), PAGE, PAGE), 0);
	expect(c, mock_new(c, iommufd, ioas, 0, &mock), -EADDRINUSE);
}

static void replace(struct conf *c, const void *data)
{
	struct iommu_test_cmd cmd = { 0 };
	uint32_t other;
	struct bench b;

	(void)data;
	set_up(c, &b);
	other = conf_ioas_new(c, b.iommufd);
	cmd.mock_domain_replace.pt_id = other;
	expect(c, test_op(c, b.iommufd, IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, b.mock.stdev, &cmd), 0);
	expect(c, conf_destroy(c, b.iommufd, b.ioas), 0);
	expect(c, conf_destroy(c, b.iommufd, other), -EBUSY);
	cmd.mock_domain_replace.pt_id = b.mock.hwpt + 100;
	expect(c, test_op(c, b.iommufd, IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, b.mock.stdev, &cmd),
	       -ENOENT);
}

static void reserve(struct conf *c, const void *data)
{
	struct iommu_test_cmd cmd = { .add_reserved = { BASE, PAGE } };
	struct bench b;

	(void)data;
	set_up(c, &b);
	expect(c, test_op(c, b.iommufd, IOMMU_TEST_OP_ADD_RESERVED, b.ioas, &cmd), 0);
	expect(c, conf_map(c, b.iommufd, b.ioas, conf_memory(c, PAGE), PAGE, BASE), -EINVAL);
	expect(c, conf_map(c, b.iommufd, b.ioas, conf_memory(c, PAGE), PAGE, BASE + PAGE), 0);
	cmd.add_reserved.start = BASE + PAGE;
	expect(c, test_op(c, b.iommufd, IOMMU_TEST_OP_ADD_RESERVED, b.ioas, &cmd), -EADDRINUSE);
}

static void hw_info(struct conf *c, const void *data)
{
	struct iommu_test_hw_info own = { .flags = 1 };
	struct iommu_hw_info info = { .size = sizeof(info),
				      .data_len = sizeof(own),
				      .data_uptr = (uintptr_t)&own };
	struct bench b;

	(void)data;
	set_up(c, &b);
	info.dev_id = b.mock.idev;
	expect(c, conf_ioctl(c, b.iommufd, IOMMU_GET_HW_INFO, &info), 0);
	expect(c, info.out_data_type, IOMMU_HW_INFO_TYPE_SELFTEST);
	expect(c, own.flags, 0);
	expect(c, own.test_reg, IOMMU_HW_INFO_SELFTEST_REGVAL);
	expect_true(c, info.out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING);
}

static void nested(struct conf *c, const void *data)
{
	struct iommu_hwpt_selftest config = { .iotlb = 7 };
	struct iommu_hwpt_alloc alloc = { .size = sizeof(alloc),
					  .flags = IOMMU_HWPT_ALLOC_NEST_PARENT };
	struct iommu_test_cmd cmd = { .check_iotlb = { 3, 7 } };
	uint32_t parent;
	struct bench b;

	(void)data;
	set_up(c, &b);
	alloc.dev_id = b.mock.idev;
	alloc.pt_id = b.ioas;
	expect(c, conf_ioctl(c, b.iommufd, IOMMU_HWPT_ALLOC, &alloc), 0);
	parent = alloc.out_hwpt_id;
	alloc.flags = 0;
	alloc.data_type = IOMMU_HWPT_DATA_SELFTEST;
	alloc.data_len = sizeof(config);
	alloc.data_uptr = (uintptr_t)&config;
	alloc.pt_id = b.mock.hwpt;
	expect(c, conf_ioctl(c, b.iommufd, IOMMU_HWPT_ALLOC, &alloc), -EINVAL);
	alloc.pt_id = parent;
	expect(c, conf_ioctl(c, b.iommufd, IOMMU_HWPT_ALLOC, &alloc), 0);
	expect(c, test_op(c, b.iommufd, IOMMU_TEST_OP_MD_CHECK_IOTLB, alloc.out_hwpt_id, &cmd), 0);
	cmd.check_iotlb.iotlb = 8;
	expect(c, test_op(c, b.iommufd, IOMMU_TEST_OP_MD_CHECK_IOTLB, alloc.out_hwpt_id, &cmd),
	       -EINVAL);
	expect(c, conf_destroy(c, b.iommufd, parent), -EBUSY);
	expect(c, conf_destroy(c, b.iommufd, alloc.out_hwpt_id), 0);
	expect(c, conf_destroy(c, b.iommufd, parent), 0);
}

/* --------------------------------------------------------------- mapped and pinned */

static void mapped(struct conf *c, const void *data)
{
	uint8_t *memory = conf_memory(c, 4 * PAGE);
	struct bench b;

	(void)data;
	set_up(c, &b);
	expect(c, conf_map(c, b.iommufd, b.ioas, memory, 2 * PAGE, BASE), 0);
	expect(c, check_map(c, &b, BASE, memory, 2 * PAGE), 0);
	expect(c, check_map(c, &b, BASE, memory + PAGE, PAGE), -EINVAL);
	expect(c, check_map(c, &b, BASE, memory, 3 * PAGE), -EINVAL);
	expect(c, check_map(c, &b, BASE + 1, memory, PAGE), -EINVAL);
	expect(c, conf_unmap(c, b.iommufd, b.ioas, BASE, 2 * PAGE, NULL), 0);
	expect(c, check_map(c, &b, BASE, memory, PAGE), -EINVAL);
}

static void mapped_file(struct conf *c, const void *data)
{
	int memfd = conf_memfd(c, 4 * PAGE);
	void *va = NULL;
	struct bench b;

	(void)data;
	set_up(c, &b);
	expect(c, conf_mmap(c, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0, &va), 0);
	expect(c, conf_map_file(c, b.iommufd, b.ioas, memfd, PAGE, 2 * PAGE, BASE), 0);
	expect(c, check_map(c, &b, BASE, (uint8_t *)va + PAGE, 2 * PAGE), 0);
	expect(c, check_map(c, &b, BASE, va, PAGE), -EINVAL);
	expect(c, check_refs(c, b.iommufd, (uint8_t *)va + PAGE, 2 * PAGE, 1), 0);
	expect(c, check_refs(c, b.iommufd, va, PAGE, 0), 0);
}

static void half_pages(struct conf *c, const void *data)
{
	uint8_t *memory = conf_memory(c, 2 * PAGE);
	struct bench b;

	(void)data;
	set_up(c, &b);
	expect(c,
	       conf_map(c, b.iommufd, b.ioas, memory + MOCK_PAGE_SIZE, PAGE, BASE + MOCK_PAGE_SIZE),
	       0);
	expect(c, check_map(c, &b, BASE + MOCK_PAGE_SIZE, memory + MOCK_PAGE_SIZE, PAGE), 0);
	expect(c, check_map(c, &b, BASE, memory, MOCK_PAGE_SIZE), -EINVAL);
	expect(c, check_refs(c, b.iommufd, memory, 2 * PAGE, 1), 0);
}

static void pins(struct conf *c, const void *data)
{
	uint8_t *memory = conf_memory(c, 2 * PAGE);
	uint32_t bare;
	struct bench b;

	(void)data;
	set_up(c, &b);
	bare = conf_ioas_new(c, b.iommufd);
	expect(c, check_refs(c, b.iommufd, memory, 2 * PAGE, 0), 0);
	expect(c, check_refs(c, b.iommufd, memory, 2 * PAGE, 1), -EIO);
	expect(c, conf_map(c, b.iommufd, bare, memory, PAGE, BASE), 0);
	expect(c, check_refs(c, b.iommufd, memory, PAGE, 0), 0);
	expect(c, conf_map(c, b.iommufd, b.ioas, memory, PAGE, BASE), 0);
	expect(c, check_refs(c, b.iommufd, memory, PAGE, 1), 0);
	expect(c, conf_copy(c, b.iommufd, b.ioas, BASE + PAGE, b.ioas, BASE, PAGE), 0);
	expect(c, check_refs(c, b.iommufd, memory, PAGE, 1), 0);
	expect(c, conf_map(c, b.iommufd, b.ioas, memory, PAGE, BASE + 4 * PAGE), 0);
	expect(c, check_refs(c, b.iommufd, memory, PAGE, 2), 0);
	expect(c, conf_unmap(c, b.iommufd, b.ioas, 0, UINT64_MAX, NULL), 0);
	expect(c, check_refs(c, b.iommufd, memory, PAGE, 0), 0);
}

/* ------------------------------------------------------------------------ accesses */

static void access_pins(struct conf *c, const void *data)
{
	uint8_t *memory = conf_memory(c, 2 * PAGE);
	int iommufd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, iommufd), item = 0, second = 0;
	int access = access_new(c, iommufd, ioas, MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES);

	(void)data;
	expect(c, conf_map(c, iommufd, ioas, memory, 2 * PAGE, BASE), 0);
	expect(c, access_pages(c, iommufd, access, BASE, PAGE, memory, &item), 0);
	expect(c, check_refs(c, iommufd, memory, PAGE, 1), 0);
	expect(c, check_refs(c, iommufd, memory + PAGE, PAGE, 0), 0);
	expect(c, access_pages(c, iommufd, access, BASE, PAGE, memory, &second), 0);
	expect(c, check_refs(c, iommufd, memory, PAGE, 1), 0);
	expect(c, access_drop(c, iommufd, access, item), 0);
	expect(c, access_drop(c, iommufd, access, item), -ENOENT);
	expect(c, check_refs(c, iommufd, memory, PAGE, 1), 0);
	expect(c, access_drop(c, iommufd, access, second), 0);
	expect(c, check_refs(c, iommufd, memory, PAGE, 0), 0);
	expect(c, conf_destroy(c, iommufd, ioas), -EBUSY);
}

static void unmap_unpins(struct conf *c, const void *data)
{
	uint8_t *memory = conf_memory(c, 2 * PAGE);
	int iommufd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, iommufd), item = 0;
	int access = access_new(c, iommufd, ioas, MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES);

	(void)data;
	expect(c, conf_map(c, iommufd, ioas, memory, 2 * PAGE, BASE), 0);
	expect(c, access_pages(c, iommufd, access, BASE + PAGE, PAGE, memory + PAGE, &item), 0);
	expect(c, conf_unmap(c, iommufd, ioas, BASE, 2 * PAGE, NULL), 0);
	expect(c, check_refs(c, iommufd, memory, 2 * PAGE, 0), 0);
	expect(c, access_drop(c, iommufd, access, item), -ENOENT);
}

static void access_errors(struct conf *c, const void *data)
{
	uint8_t *memory = conf_memory(c, 2 * PAGE);
	int iommufd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, iommufd);
	int access = access_new(c, iommufd, ioas, MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES);
	int other = access_new(c, iommufd, ioas, 0);

	(void)data;
	expect(c, conf_map(c, iommufd, ioas, memory, PAGE, BASE), 0);
	expect(c, access_pages(c, iommufd, other, BASE, PAGE, NULL, NULL), -EOPNOTSUPP);
	expect(c, access_pages(c, iommufd, iommufd, BASE, PAGE, NULL, NULL), -EBADFD);
	expect(c, access_pages(c, iommufd, access, BASE, 0, NULL, NULL), -EINVAL);
	expect(c, access_pages(c, iommufd, access, BASE, 2 * PAGE, NULL, NULL), -ENOENT);
	expect(c, access_pages(c, iommufd, access, UINT64_MAX, 2, NULL, NULL), -EOVERFLOW);
	expect(c, access_pages(c, iommufd, access, BASE, PAGE, memory + PAGE, NULL), -EBADE);
	expect(c, check_refs(c, iommufd, memory, PAGE, 0), 0);
	expect(c, access_new(c, iommufd, ioas, 2), -EOPNOTSUPP);
	expect(c, access_new(c, iommufd, 1000, 0), -ENOENT);
}

static void access_alignment(struct conf *c, const void *data)
{
	uint8_t *memory = conf_memory(c, 2 * PAGE);
	int iommufd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, iommufd);
	int access;

	(void)data;
	expect(c, conf_map(c, iommufd, ioas, memory + 1, PAGE, BASE + 1), 0);
	expect(c, access_new(c, iommufd, ioas, MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES),
	       -EADDRINUSE);
	access = access_new(c, iommufd, ioas, 0);
	expect_true(c, access >= 0);
	expect(c, conf_map(c, iommufd, ioas, memory + 1, 3, BASE + 2 * PAGE), 0);
}

static void read_write(struct conf *c, const void *data)
{
	uint8_t *memory = conf_memory(c, 2 * PAGE);
	int iommufd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, iommufd);
	int access = access_new(c, iommufd, ioas, 0);
	uint8_t bytes[4] = { 1, 2, 3, 4 };

	(void)data;
	expect(c, conf_map(c, iommufd, ioas, memory, PAGE, BASE), 0);
	expect(c, conf_map(c, iommufd, ioas, memory + PAGE, PAGE, BASE + PAGE), 0);
	expect(c, access_rw(c, iommufd, access, BASE + PAGE - 2, 4, bytes, MOCK_ACCESS_RW_WRITE),
	       0);
	expect(c, memory[PAGE - 1], 2);
	expect(c, memory[PAGE], 3);
	memory[PAGE] = 9;
	expect(c, access_rw(c, iommufd, access, BASE + PAGE, 1, bytes, MOCK_ACCESS_RW_SLOW_PATH),
	       0);
	expect(c, bytes[0], 9);
	expect(c, access_rw(c, iommufd, access, BASE, 0, bytes, 0), -EINVAL);
	expect(c, access_rw(c, iommufd, access, BASE + 2 * PAGE - 1, 2, bytes, 0), -ENOENT);
	expect(c, access_rw(c, iommufd, access, BASE, 1, bytes, 2), -EOPNOTSUPP);
	expect(c, access_rw(c, iommufd, access, BASE, (16 << 20) + 1, bytes, 0), -ENOMEM);
}

static void replace_ioas(struct conf *c, const void *data)
{
	uint8_t *memory = conf_memory(c, PAGE);
	int iommufd = conf_iommufd_open(c);
	uint32_t first = conf_ioas_new(c, iommufd), second = conf_ioas_new(c, iommufd), item = 0;
	int access = access_new(c, iommufd, first, MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES);
	struct iommu_test_cmd cmd = { .access_replace_ioas.ioas_id = second };

	(void)data;
	expect(c, conf_map(c, iommufd, first, memory, PAGE, BASE), 0);
	expect(c, access_pages(c, iommufd, access, BASE, PAGE, memory, &item), 0);
	expect(c, test_op(c, iommufd, IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, (uint32_t)access, &cmd),
	       0);
	expect(c, check_refs(c, iommufd, memory, PAGE, 0), 0);
	expect(c, access_drop(c, iommufd, access, item), -ENOENT);
	expect(c, conf_destroy(c, iommufd, first), 0);
	expect(c, conf_destroy(c, iommufd, second), -EBUSY);
}

static void close_access(struct conf *c, const void *data)
{
	uint8_t *memory = conf_memory(c, PAGE);
	int iommufd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, iommufd);
	int access = access_new(c, iommufd, ioas, MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES);

	(void)data;
	expect(c, conf_map(c, iommufd, ioas, memory, PAGE, BASE), 0);
	expect(c, access_pages(c, iommufd, access, BASE, PAGE, memory, NULL), 0);
	expect(c, conf_close(c, access), 0);
	expect(c, check_refs(c, iommufd, memory, PAGE, 0), 0);
	expect(c, conf_destroy(c, iommufd, ioas), 0);
}

/* ------------------------------------------------------------------------ dma-bufs */

static void dmabuf_size(struct conf *c, const void *data)
{
	struct bench b;
	int buf;

	(void)data;
	set_up(c, &b);
	buf = dmabuf_new(c, b.iommufd, PAGE + 1);
	expect_true(c, buf >= 0);
	expect(c, conf_map_file(c, b.iommufd, b.ioas, buf, 0, 2 * PAGE, BASE), 0);
	expect(c, conf_map_file(c, b.iommufd, b.ioas, buf, PAGE, 2 * PAGE, BASE + 4 * PAGE),
	       -EINVAL);
	expect(c, dmabuf_new(c, b.iommufd, 0), -EINVAL);
	expect(c, dmabuf_new(c, b.iommufd, 512 * PAGE + 1), -EINVAL);
}

static void dmabuf_revoked(struct conf *c, const void *data)
{
	struct bench b;
	int buf;

	(void)data;
	set_up(c, &b);
	buf = dmabuf_new(c, b.iommufd, 2 * PAGE);
	expect(c, conf_map_file(c, b.iommufd, b.ioas, buf, 0, 2 * PAGE, BASE), 0);
	expect(c, dmabuf_revoke(c, b.iommufd, buf, true), 0);
	expect(c, conf_map_file(c, b.iommufd, b.ioas, buf, 0, PAGE, BASE + 4 * PAGE), -ENODEV);
	expect(c, dmabuf_revoke(c, b.iommufd, buf, false), 0);
	expect(c, conf_map_file(c, b.iommufd, b.ioas, buf, 0, PAGE, BASE), -EEXIST);
	expect(c, conf_unmap(c, b.iommufd, b.ioas, BASE, 2 * PAGE, NULL), 0);
	expect(c, conf_map_file(c, b.iommufd, b.ioas, buf, 0, 2 * PAGE, BASE), 0);
}

static void dmabuf_access(struct conf *c, const void *data)
{
	int iommufd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, iommufd);
	int access = access_new(c, iommufd, ioas, MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES);
	int buf = dmabuf_new(c, iommufd, PAGE);
	uint8_t byte = 0;

	(void)data;
	expect(c, conf_map_file(c, iommufd, ioas, buf, 0, PAGE, BASE), 0);
	expect(c, access_pages(c, iommufd, access, BASE, PAGE, NULL, NULL), -EINVAL);
	expect(c, access_rw(c, iommufd, access, BASE, 1, &byte, 0), -EINVAL);
}

static void dmabuf_revoke_errors(struct conf *c, const void *data)
{
	int iommufd = conf_iommufd_open(c);

	(void)data;
	expect(c, dmabuf_revoke(c, iommufd, -1, true), -EBADF);
	expect(c, dmabuf_revoke(c, iommufd, conf_memfd(c, PAGE), true), -EINVAL);
	expect(c, dmabuf_revoke(c, iommufd, iommufd, true), -EINVAL);
}

/* A device's page fault, from its queue to the answer. */
static void page_fault(struct conf *c, const void *data)
{
	int epoll = conf_keep(c, c->kernel->epoll_create(c->kernel->data));
	struct iommu_fault_alloc alloc = { .size = sizeof(alloc) };
	struct iommu_hwpt_page_response answer = { 0 };
	struct iommu_hwpt_pgfault fault = { 0 };
	struct iommu_hwpt_alloc hwpt = { .size = sizeof(hwpt), .flags = IOMMU_HWPT_FAULT_ID_VALID };
	struct iommu_test_cmd replace = { 0 };
	struct iommu_test_cmd cmd = {
		.trigger_iopf = { .grpid = 3, .perm = 2, .addr = 0x12340000 },
	};
	struct bench b;
	int queue;

	(void)data;
	set_up(c, &b);
	expect(c, conf_ioctl(c, b.iommufd, IOMMU_FAULT_QUEUE_ALLOC, &alloc), 0);
	queue = conf_keep(c, (int)alloc.out_fault_fd);
	hwpt.dev_id = b.mock.idev;
	hwpt.pt_id = b.ioas;
	hwpt.fault_id = alloc.out_fault_id;
	expect(c, conf_ioctl(c, b.iommufd, IOMMU_HWPT_ALLOC, &hwpt), 0);
	replace.mock_domain_replace.pt_id = hwpt.out_hwpt_id;
	expect(c, test_op(c, b.iommufd, IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, b.mock.stdev, &replace),
	       0);
	expect(c, conf_wait_for(c, epoll, EPOLL_CTL_ADD, queue, EPOLLIN), 0);
	expect(c, conf_ready(c, epoll), 0);
	cmd.trigger_iopf.dev_id = b.mock.idev;
	expect(c, test_op(c, b.iommufd, IOMMU_TEST_OP_TRIGGER_IOPF, 0, &cmd), 0);
	expect(c, conf_ready(c, epoll), EPOLLIN);
	expect(c, c->kernel->read(c->kernel->data, queue, &fault, sizeof(fault)), sizeof(fault));
	expect(c, conf_ready(c, epoll), 0);
	expect(c, fault.addr, 0x12340000);
	expect(c, fault.grpid, 3);
	expect(c, fault.dev_id, b.mock.idev);
	answer.cookie = fault.cookie;
	expect(c, c->kernel->write(c->kernel->data, queue, &answer, sizeof(answer)),
	       sizeof(answer));
	expect(c, c->kernel->write(c->kernel->data, queue, &answer, sizeof(answer)), -EINVAL);
}

static const struct conf_case selftest[] = {
	{ "an unknown test operation: EOPNOTSUPP", SELFTEST "iommufd_test", unknown_op, NULL,
	  NEEDS },
	{ "TEST_CMD without its last member: EINVAL", MAIN "iommufd_fops_ioctl", too_short, NULL,
	  NEEDS },
	{ "MOCK_DOMAIN in an unknown IOAS: ENOENT", SELFTEST "iommufd_test_mock_domain",
	  ONE(MOCK_DOMAIN, -ENOENT, .id = 9), NEEDS },
	{ "MOCK_DOMAIN_FLAGS with an unknown flag: EINVAL", SELFTEST "mock_dev_create",
	  ONE(MOCK_DOMAIN_FLAGS, -EINVAL, .mock_domain.dev_flags = 2), NEEDS },
	{ "ADD_RESERVED of nothing: EINVAL", SELFTEST "iommufd_test_add_reserved",
	  ONE(ADD_RESERVED, -EINVAL, .id = 9), NEEDS },
	{ "ADD_RESERVED that wraps: EOVERFLOW", SELFTEST "iommufd_test_add_reserved",
	  ONE(ADD_RESERVED, -EOVERFLOW, .id = 9, .add_reserved = { 2, UINT64_MAX }), NEEDS },
	{ "ADD_RESERVED in an unknown IOAS: ENOENT", SELFTEST "iommufd_test_add_reserved",
	  ONE(ADD_RESERVED, -ENOENT, .id = 9, .add_reserved = { 0, 1 }), NEEDS },
	{ "MD_CHECK_MAP of an unknown HWPT: ENOENT", SELFTEST "iommufd_test_md_check_pa",
	  ONE(MD_CHECK_MAP, -ENOENT, .id = 9), NEEDS },
	{ "MD_CHECK_REFS of part of a page: EINVAL", SELFTEST "iommufd_test_md_check_refs",
	  ONE(MD_CHECK_REFS, -EINVAL, .check_refs = { .length = 1 }), NEEDS },
	{ "MOCK_DOMAIN_REPLACE of an unknown device: ENOENT",
	  SELFTEST "iommufd_test_mock_domain_replace", ONE(MOCK_DOMAIN_REPLACE, -ENOENT, .id = 9),
	  NEEDS },
	{ "DEV_CHECK_CACHE of an unknown device: ENOENT", SELFTEST "iommufd_test_dev_check_cache",
	  ONE(DEV_CHECK_CACHE, -ENOENT, .id = 9), NEEDS },
	{ "SET_TEMP_MEMORY_LIMIT below one element: EINVAL", SELFTEST "iommufd_test",
	  ONE(SET_TEMP_MEMORY_LIMIT, -EINVAL, .memory_limit = { 11 }), NEEDS },
	{ "a mock domain reaches from 16 MiB to 2 GiB in pages of 2 KiB",
	  SELFTEST "mock_domain_alloc_pgtable", aperture, NULL, NEEDS },
	{ "a mock device goes with its own object, and nothing that it uses before",
	  SELFTEST "iommufd_selftest_destroy", tear_down, NULL, NEEDS },
	{ "an area outside the aperture keeps a mock device out: EADDRINUSE",
	  IOPT "iopt_table_add_domain", outside_aperture, NULL, NEEDS },
	{ "MOCK_DOMAIN_REPLACE moves the device and lets go of the old IOAS",
	  DEVICE "iommufd_device_replace", replace, NULL, NEEDS },
	{ "what ADD_RESERVED takes cannot be mapped, what is mapped cannot be taken",
	  IOPT "iopt_reserve_iova", reserve, NULL, NEEDS },
	{ "GET_HW_INFO of a mock device", SELFTEST "mock_domain_hw_info", hw_info, NULL, NEEDS },
	{ "a nested HWPT needs a parent that was made one, and holds it",
	  HWPT "iommufd_hwpt_nested_alloc", nested, NULL, NEEDS },
	{ "the page table has the caller's pages, while they are mapped",
	  SELFTEST "iommufd_test_md_check_pa", mapped, NULL, NEEDS },
	{ "a mapped file's pages are those that an mmap of it shows", PAGES "pfn_reader_user_pin",
	  mapped_file, NULL, NEEDS },
	{ "half a page can be mapped where the IOMMU's pages are smaller",
	  PAGES "batch_iommu_map_small", half_pages, NULL, NEEDS },
	{ "a page is pinned once for each MAP that a HWPT sees, copies included",
	  PAGES "iopt_area_fill_domains", pins, NULL, NEEDS },
	{ "an access pins the pages that it names, once however often",
	  PAGES "iopt_area_add_access", access_pins, NULL, NEEDS },
	{ "UNMAP makes accesses let go", DEVICE "iommufd_access_notify_unmap", unmap_unpins, NULL,
	  NEEDS },
	{ "errors of accesses", SELFTEST "iommufd_test_access_pages", access_errors, NULL, NEEDS },
	{ "an access that pins raises the alignment to a page", IOPT "iopt_add_access",
	  access_alignment, NULL, NEEDS },
	{ "an access reads and writes across areas", DEVICE "iommufd_access_rw", read_write, NULL,
	  NEEDS },
	{ "ACCESS_REPLACE_IOAS unpins and moves", DEVICE "iommufd_access_change_ioas", replace_ioas,
	  NULL, NEEDS },
	{ "closing an access unpins", SELFTEST "iommufd_test_staccess_release", close_access, NULL,
	  NEEDS },
	{ "DMABUF_GET rounds up to pages, and makes 1 to 512", SELFTEST "iommufd_test_dmabuf_get",
	  dmabuf_size, NULL, NEEDS },
	{ "DMABUF_REVOKE kills imports for good, and un-revoking permits new ones",
	  SELFTEST "iommufd_test_dmabuf_revoke", dmabuf_revoked, NULL, NEEDS },
	{ "an access to a dma-buf: EINVAL", PAGES "iopt_pages_rw_access", dmabuf_access, NULL,
	  NEEDS },
	{ "a page fault is read from its queue, which epoll tells, and answered once",
	  "drivers/iommu/iommufd/eventq.c:iommufd_fault_fops_read", page_fault, NULL, NEEDS },
	{ "DMABUF_REVOKE of what is no dma-buf: EBADF, EINVAL",
	  SELFTEST "iommufd_test_dmabuf_revoke", dmabuf_revoke_errors, NULL, NEEDS },
};

CONF_TABLE(conf_selftest, selftest);
