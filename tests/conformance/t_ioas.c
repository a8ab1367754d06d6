/* SPDX-License-Identifier: MIT */
/* I/O address spaces: MAP, UNMAP, COPY, which addresses are allowed, and attaching to them. */
#include "conf.h"

#define IOAS	"drivers/iommu/iommufd/ioas.c:"
#define IOPT	"drivers/iommu/iommufd/io_pagetable.c:"
#define PAGES	"drivers/iommu/iommufd/pages.c:"
#define FIXED	IOMMU_IOAS_MAP_FIXED_IOVA
#define READ	IOMMU_IOAS_MAP_READABLE
#define WRITE	IOMMU_IOAS_MAP_WRITEABLE
#define BASE	0x100000ULL
#define MEM	(16 * PAGE)
#define NO_IOAS 99

/* ----------------------------------------------------------------------------- MAP */

/* @va: an offset into MEM bytes of memory, or an address where it is larger. */
struct map {
	uint32_t flags, reserved, ioas; /* ioas 0: one that is there */
	uint64_t va, length, iova;
	int want;
};

static void map_row(struct conf *c, const void *data)
{
	const struct map *row = data;
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, MEM);
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd),
		.flags = row->flags,
		.__reserved = row->reserved,
		.ioas_id = row->ioas ? row->ioas : ioas,
		.user_va = row->va < MEM ? (uintptr_t)mem + row->va : row->va,
		.length = row->length,
		.iova = row->iova,
	};

	expect(c, conf_ioctl(c, fd, IOMMU_IOAS_MAP, &cmd), row->want);
	if (!row->want && row->flags & FIXED)
		expect(c, cmd.iova, row->iova);
	if (row->want && row->iova == BASE)
		expect(c, conf_probe_iova(c, fd, ioas, BASE), 0);
}

#define MAP(rule, where, ...)                                                                      \
	{                                                                                          \
		rule, where, map_row, &(const struct map){ __VA_ARGS__ }, NEED_IOMMUFD             \
	}

static int map_flags(struct conf *c, int fd, uint32_t ioas, uint32_t flags, const void *va,
		     uint64_t length, uint64_t *iova)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.ioas_id = ioas,
		.user_va = (uintptr_t)va,
		.length = length,
		.iova = *iova,
	};
	int ret = conf_ioctl(c, fd, IOMMU_IOAS_MAP, &cmd);

	*iova = cmd.iova;
	return ret;
}

static void map_overlaps(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, MEM);

	(void)data;
	expect(c, conf_map(c, fd, ioas, mem, 4 * PAGE, BASE), 0);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE), -EEXIST);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE + 3 * PAGE), -EEXIST);
	expect(c, conf_map(c, fd, ioas, mem, 2 * PAGE, BASE - PAGE), -EEXIST);
	expect(c, conf_map(c, fd, ioas, mem, 8 * PAGE, BASE - PAGE), -EEXIST);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE - PAGE), 0);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE + 4 * PAGE), 0);
}

static void map_same_memory_twice(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, MEM);

	(void)data;
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE), 0);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE + PAGE), 0);
}

static void map_last_byte(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);

	(void)data;
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, 0 - PAGE), 0);
	expect(c, conf_unmap(c, fd, ioas, 0 - PAGE, PAGE, NULL), 0);
}

static void map_iova_zero(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);

	(void)data;
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, 0), 0);
	expect(c, conf_unmap(c, fd, ioas, 0, PAGE, NULL), 0);
}

static void map_bytes(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, PAGE);
	uint64_t unmapped;

	(void)data;
	expect(c, conf_map(c, fd, ioas, mem + 3, 5, BASE + 1), 0);
	expect(c, conf_map(c, fd, ioas, mem, 1, BASE + 6), 0);
	expect(c, conf_map(c, fd, ioas, mem, 1, BASE + 5), -EEXIST);
	expect(c, conf_unmap(c, fd, ioas, BASE, 7, &unmapped), 0);
	expect(c, unmapped, 6);
}

/* ------------------------------------------------------------- automatic addresses */

static void auto_first(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, MEM);
	uint64_t iova = 0;

	(void)data;
	expect(c, map_flags(c, fd, ioas, READ, mem, PAGE, &iova), 0);
	expect(c, iova, PAGE);
	expect(c, map_flags(c, fd, ioas, READ, mem, PAGE, &iova), 0);
	expect(c, iova, 2 * PAGE);
}

static void auto_keeps_page_offset(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, MEM);
	uint64_t iova = 0;

	(void)data;
	expect(c, map_flags(c, fd, ioas, READ, mem + 0x123, 16, &iova), 0);
	expect(c, iova % PAGE, 0x123);
}

static void auto_aligns_by_length(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint64_t iova = 0;

	(void)data;
	/* Nothing need be there while no device looks at it, so the address can be chosen. */
	expect(c, map_flags(c, fd, ioas, READ, (void *)0x10000000, 3 * PAGE, &iova), 0);
	expect(c, iova, 4 * PAGE);
	expect(c, map_flags(c, fd, ioas, READ, (void *)0x10002000, 8 * PAGE, &iova), 0);
	expect(c, iova, 8 * PAGE);
	expect(c, map_flags(c, fd, ioas, READ, (void *)0x10001000, 8 * PAGE, &iova), 0);
	expect(c, iova, 16 * PAGE);
	expect(c, map_flags(c, fd, ioas, READ, (void *)0x10001000, PAGE, &iova), 0);
	expect(c, iova, PAGE);
}

static void auto_huge_alignment(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint64_t iova = 0;

	(void)data;
	expect(c, map_flags(c, fd, ioas, READ, (void *)0x40000000, 64 << 20, &iova), 0);
	/* No more than a huge page; a kernel without transparent ones aligns to a page. */
	expect_true(c, iova == 2 << 20 || iova == PAGE);
}

static void auto_address_zero(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint64_t iova = 0;

	(void)data;
	expect(c, map_flags(c, fd, ioas, READ, NULL, 4 * PAGE, &iova), 0);
	expect_true(c, iova == 4 * PAGE || iova == PAGE);
}

static void auto_first_hole(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, MEM);
	uint64_t iova = 0;

	(void)data;
	expect(c, conf_map(c, fd, ioas, mem, PAGE, 1 * PAGE), 0);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, 3 * PAGE), 0);
	expect(c, map_flags(c, fd, ioas, READ, mem + PAGE, PAGE, &iova), 0);
	expect(c, iova, 2 * PAGE);
	expect(c, map_flags(c, fd, ioas, READ, mem + PAGE, PAGE, &iova), 0);
	expect(c, iova, 4 * PAGE);
}

static void auto_in_allowed(struct conf *c, const void *data);
static void auto_no_space(struct conf *c, const void *data);
static void fixed_outside_allowed(struct conf *c, const void *data);

/* --------------------------------------------------------------------------- UNMAP */

struct unmap {
	uint64_t iova, length;
	int want;
	uint64_t unmapped;
};

/* Areas: BASE+2p, a hole of 2p, BASE+4p of 2p, BASE+6p of 1p. */
static void unmap_row(struct conf *c, const void *data)
{
	const struct unmap *row = data;
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, MEM);
	uint64_t unmapped;

	expect(c, conf_map(c, fd, ioas, mem, 2 * PAGE, BASE), 0);
	expect(c, conf_map(c, fd, ioas, mem, 2 * PAGE, BASE + 4 * PAGE), 0);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE + 6 * PAGE), 0);
	expect(c, conf_unmap(c, fd, ioas, row->iova, row->length, &unmapped), row->want);
	expect(c, unmapped, row->want ? row->length : row->unmapped);
}

#define UNMAP(rule, ...)                                                                           \
	{                                                                                          \
		rule, IOAS "iommufd_ioas_unmap", unmap_row, &(const struct unmap){ __VA_ARGS__ },  \
			NEED_IOMMUFD                                                               \
	}

static void unmap_empty_all(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint64_t unmapped;

	(void)data;
	expect(c, conf_unmap(c, fd, ioas, 0, UINT64_MAX, &unmapped), 0);
	expect(c, unmapped, 0);
}

static void unmap_missing_ioas(struct conf *c, const void *data)
{
	(void)data;
	expect(c, conf_unmap(c, conf_iommufd_open(c), NO_IOAS, 0, UINT64_MAX, NULL), -ENOENT);
}

static void unmap_cuts(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, MEM);

	(void)data;
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE), 0);
	expect(c, conf_map(c, fd, ioas, mem, 2 * PAGE, BASE + PAGE), 0);
	expect(c, conf_unmap(c, fd, ioas, BASE, 2 * PAGE, NULL), -ENOENT);
	expect(c, conf_probe_iova(c, fd, ioas, BASE), 0);
	expect(c, conf_probe_iova(c, fd, ioas, BASE + PAGE), -EEXIST);
	expect(c, conf_probe_iova(c, fd, ioas, BASE + 2 * PAGE), -EEXIST);
}

static void unmap_then_map(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, MEM);

	(void)data;
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE), 0);
	expect(c, conf_unmap(c, fd, ioas, BASE, PAGE, NULL), 0);
	expect(c, conf_unmap(c, fd, ioas, BASE, PAGE, NULL), -ENOENT);
	expect(c, conf_map(c, fd, ioas, mem, 2 * PAGE, BASE), 0);
}

/* ---------------------------------------------------------------------------- COPY */

/* The source has areas BASE of 2p, BASE+2p of 2p (read only), BASE+6p of 1p. */
struct copy {
	uint32_t flags, src, dst;
	uint64_t src_iova, length, dst_iova;
	int want;
};

static void copy_row(struct conf *c, const void *data)
{
	const struct copy *row = data;
	int fd = conf_iommufd_open(c);
	uint32_t src = conf_ioas_new(c, fd), dst = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, MEM);
	uint64_t iova = BASE + 2 * PAGE;
	struct iommu_ioas_copy cmd = {
		.size = sizeof(cmd),
		.flags = row->flags,
		.src_ioas_id = row->src ? row->src : src,
		.dst_ioas_id = row->dst ? row->dst : dst,
		.src_iova = row->src_iova,
		.length = row->length,
		.dst_iova = row->dst_iova,
	};

	expect(c, conf_map(c, fd, src, mem, 2 * PAGE, BASE), 0);
	expect(c, map_flags(c, fd, src, FIXED | READ, mem + 2 * PAGE, 2 * PAGE, &iova), 0);
	expect(c, conf_map(c, fd, src, mem, PAGE, BASE + 6 * PAGE), 0);
	expect(c, conf_ioctl(c, fd, IOMMU_IOAS_COPY, &cmd), row->want);
	if (!row->want && row->flags & FIXED)
		expect(c, cmd.dst_iova, row->dst_iova);
}

#define COPY(rule, where, ...)                                                                     \
	{                                                                                          \
		rule, where, copy_row, &(const struct copy){ __VA_ARGS__ }, NEED_IOMMUFD           \
	}

static void copy_makes_areas(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t src = conf_ioas_new(c, fd), dst = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, MEM);
	uint64_t unmapped;

	(void)data;
	expect(c, conf_map(c, fd, src, mem, 2 * PAGE, BASE), 0);
	expect(c, conf_map(c, fd, src, mem, 2 * PAGE, BASE + 2 * PAGE), 0);
	expect(c, conf_copy(c, fd, dst, BASE, src, BASE, 4 * PAGE), 0);
	/* As many areas as the source has: the first can go alone. */
	expect(c, conf_unmap(c, fd, dst, BASE, 2 * PAGE, &unmapped), 0);
	expect(c, unmapped, 2 * PAGE);
	expect(c, conf_unmap(c, fd, src, BASE, 4 * PAGE, &unmapped), 0);
	expect(c, conf_probe_iova(c, fd, dst, BASE + 2 * PAGE), -EEXIST);
}

static void copy_within(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);

	(void)data;
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, BASE), 0);
	expect(c, conf_copy(c, fd, ioas, BASE + PAGE, ioas, BASE, PAGE), 0);
	expect(c, conf_copy(c, fd, ioas, BASE, ioas, BASE, PAGE), -EEXIST);
}

static void copy_of_part(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t src = conf_ioas_new(c, fd), dst = conf_ioas_new(c, fd);
	uint64_t unmapped;

	(void)data;
	expect(c, conf_map(c, fd, src, conf_memory(c, MEM), 4 * PAGE, BASE), 0);
	expect(c, conf_copy(c, fd, dst, BASE, src, BASE + PAGE, PAGE), 0);
	expect(c, conf_unmap(c, fd, dst, 0, UINT64_MAX, &unmapped), 0);
	expect(c, unmapped, PAGE);
}

/* -------------------------------------------------------------------------- ranges */

static int get_ranges(struct conf *c, int fd, uint32_t ioas, struct iommu_iova_range *ranges,
		      uint32_t *n)
{
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas,
		.num_iovas = *n,
		.allowed_iovas = (uintptr_t)ranges,
	};
	int ret = conf_ioctl(c, fd, IOMMU_IOAS_IOVA_RANGES, &cmd);

	*n = cmd.num_iovas;
	return ret;
}

static int set_allowed(struct conf *c, int fd, uint32_t ioas, const struct iommu_iova_range *ranges,
		       uint32_t n)
{
	struct iommu_ioas_allow_iovas cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas,
		.num_iovas = n,
		.allowed_iovas = (uintptr_t)ranges,
	};

	return conf_ioctl(c, fd, IOMMU_IOAS_ALLOW_IOVAS, &cmd);
}

static void ranges_of_new(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	struct iommu_iova_range range = { 1, 1 };
	uint32_t n = 1;

	(void)data;
	expect(c, get_ranges(c, fd, conf_ioas_new(c, fd), &range, &n), 0);
	expect(c, n, 1);
	expect(c, range.start, 0);
	expect(c, range.last, UINT64_MAX);
}

static void ranges_no_room(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t n = 0;

	(void)data;
	expect(c, get_ranges(c, fd, conf_ioas_new(c, fd), NULL, &n), -EMSGSIZE);
	expect(c, n, 1);
}

static void ranges_missing(struct conf *c, const void *data)
{
	struct iommu_iova_range range;
	uint32_t n = 1;

	(void)data;
	expect(c, get_ranges(c, conf_iommufd_open(c), NO_IOAS, &range, &n), -ENOENT);
}

static void ranges_reserved_field(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	struct iommu_ioas_iova_ranges cmd = { .size = sizeof(cmd), .ioas_id = 1, .__reserved = 1 };

	(void)data;
	conf_ioas_new(c, fd);
	expect(c, conf_ioctl(c, fd, IOMMU_IOAS_IOVA_RANGES, &cmd), -EOPNOTSUPP);
}

static void ranges_bad_address(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t n = 1;

	(void)data;
	expect(c, get_ranges(c, fd, conf_ioas_new(c, fd), NULL, &n), -EFAULT);
}

static void ranges_ignore_areas(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), n = 1;
	const struct iommu_iova_range allow = { BASE, BASE + PAGE - 1 };
	struct iommu_iova_range range;

	(void)data;
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, BASE), 0);
	expect(c, set_allowed(c, fd, ioas, &allow, 1), 0);
	expect(c, get_ranges(c, fd, ioas, &range, &n), 0);
	expect(c, n, 1);
	expect(c, range.last, UINT64_MAX);
}

static void allow_row(struct conf *c, const void *data)
{
	const uint64_t *row = data;
	const struct iommu_iova_range ranges[2] = { { row[0], row[1] }, { row[2], row[3] } };
	int fd = conf_iommufd_open(c);

	expect(c, set_allowed(c, fd, conf_ioas_new(c, fd), ranges, 2), (int)(int64_t)row[4]);
}

#define ALLOW(rule, ...)                                                                           \
	{                                                                                          \
		rule, IOAS "iommufd_ioas_load_iovas", allow_row,                                   \
			(const uint64_t[]){ __VA_ARGS__ }, NEED_IOMMUFD                            \
	}

static void allow_bad_address(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);

	(void)data;
	expect(c, set_allowed(c, fd, conf_ioas_new(c, fd), NULL, 1), -EFAULT);
}

static void allow_missing(struct conf *c, const void *data)
{
	(void)data;
	expect(c, set_allowed(c, conf_iommufd_open(c), NO_IOAS, NULL, 0), -ENOENT);
}

static void allow_reserved_field(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	struct iommu_ioas_allow_iovas cmd = { .size = sizeof(cmd), .ioas_id = 1, .__reserved = 1 };

	(void)data;
	conf_ioas_new(c, fd);
	expect(c, conf_ioctl(c, fd, IOMMU_IOAS_ALLOW_IOVAS, &cmd), -EOPNOTSUPP);
}

static void auto_in_allowed(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	const struct iommu_iova_range allow = { BASE, BASE + 4 * PAGE - 1 };
	uint8_t *mem = conf_memory(c, MEM);
	uint64_t iova = 0;

	(void)data;
	expect(c, set_allowed(c, fd, ioas, &allow, 1), 0);
	expect(c, map_flags(c, fd, ioas, READ, mem, PAGE, &iova), 0);
	expect(c, iova, BASE);
	expect(c, set_allowed(c, fd, ioas, NULL, 0), 0);
	expect(c, map_flags(c, fd, ioas, READ, mem, PAGE, &iova), 0);
	expect(c, iova, PAGE);
}

static void auto_no_space(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	const struct iommu_iova_range allow = { BASE, BASE + 2 * PAGE - 1 };
	uint8_t *mem = conf_memory(c, MEM);
	uint64_t iova = 0;

	(void)data;
	expect(c, set_allowed(c, fd, ioas, &allow, 1), 0);
	expect(c, map_flags(c, fd, ioas, READ, mem, 4 * PAGE, &iova), -ENOSPC);
	expect(c, map_flags(c, fd, ioas, READ, mem, PAGE, &iova), 0);
	expect(c, map_flags(c, fd, ioas, READ, mem, PAGE, &iova), 0);
	expect(c, map_flags(c, fd, ioas, READ, mem, PAGE, &iova), -ENOSPC);
}

static void fixed_outside_allowed(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	const struct iommu_iova_range allow = { BASE, BASE + 2 * PAGE - 1 };

	(void)data;
	expect(c, set_allowed(c, fd, ioas, &allow, 1), 0);
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, BASE + 8 * PAGE), 0);
}

static void allow_failure_keeps_list(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	const struct iommu_iova_range allow = { BASE, BASE + PAGE - 1 }, bad = { 5, 5 };
	uint64_t iova = 0;

	(void)data;
	expect(c, set_allowed(c, fd, ioas, &allow, 1), 0);
	expect(c, set_allowed(c, fd, ioas, &bad, 1), -EINVAL);
	expect(c, map_flags(c, fd, ioas, READ, conf_memory(c, PAGE), PAGE, &iova), 0);
	expect(c, iova, BASE);
}

/* ---------------------------------------------------------- with a device attached */

static void attached_alignment(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, MEM);

	(void)data;
	conf_device_open(c, PLAIN, fd, ioas);
	expect(c, conf_map(c, fd, ioas, mem, 512, BASE), -EINVAL);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE + 512), -EINVAL);
	expect(c, conf_map(c, fd, ioas, mem + 512, PAGE, BASE), -EINVAL);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE), 0);
}

static void attached_reserves(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), n = 16;
	struct iommu_iova_range ranges[16];
	int dev = conf_device_open(c, PLAIN, fd, ioas);

	(void)data;
	/* On x86 the window that interrupts are written to. */
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, 0xfee00000), -EINVAL);
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, 0xfedff000), 0);
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, 0xfef00000), 0);
	expect(c, get_ranges(c, fd, ioas, ranges, &n), 0);
	expect_true(c, n >= 2);
	expect(c, ranges[0].start, 0);
	expect(c, ranges[0].last, 0xfedfffff);
	expect(c, ranges[1].start, 0xfef00000);
	expect_true(c, ranges[n - 1].last < UINT64_MAX);
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, ranges[n - 1].last + 1),
	       -EINVAL);
	expect(c, conf_detach(c, dev), 0);
	n = 16;
	expect(c, get_ranges(c, fd, ioas, ranges, &n), 0);
	expect(c, n, 1);
	expect(c, ranges[0].last, UINT64_MAX);
}

static void attach_over_area(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), pt = ioas;
	int dev = conf_device_open(c, PLAIN, fd, 0);

	(void)data;
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, 0xfee00000), 0);
	expect(c, conf_attach(c, dev, &pt), -EADDRINUSE);
	expect(c, conf_unmap(c, fd, ioas, 0xfee00000, PAGE, NULL), 0);
	expect(c, conf_attach(c, dev, &pt), 0);
}

static void attach_beyond_aperture(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), pt = ioas;
	int dev = conf_device_open(c, PLAIN, fd, 0);

	(void)data;
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, 1ULL << 62), 0);
	expect(c, conf_attach(c, dev, &pt), -EADDRINUSE);
}

static void attach_over_allowed(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), pt = ioas;
	int dev = conf_device_open(c, PLAIN, fd, 0);
	const struct iommu_iova_range allow = { 0xfee00000, 0xfee0ffff };

	(void)data;
	expect(c, set_allowed(c, fd, ioas, &allow, 1), 0);
	expect(c, conf_attach(c, dev, &pt), -EADDRINUSE);
	expect(c, set_allowed(c, fd, ioas, NULL, 0), 0);
	expect(c, conf_attach(c, dev, &pt), 0);
}

static void allow_over_reserved(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	const struct iommu_iova_range good = { BASE, BASE + PAGE - 1 },
				      bad = { 0xfee00000, 0xfee0ffff };
	uint64_t iova = 0;

	(void)data;
	conf_device_open(c, PLAIN, fd, ioas);
	expect(c, set_allowed(c, fd, ioas, &good, 1), 0);
	expect(c, set_allowed(c, fd, ioas, &bad, 1), -EADDRINUSE);
	expect(c, map_flags(c, fd, ioas, READ, conf_memory(c, PAGE), PAGE, &iova), 0);
	expect(c, iova, BASE);
}

static void attach_misaligned(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), pt = ioas;
	int dev = conf_device_open(c, PLAIN, fd, 0);

	(void)data;
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), 512, BASE), 0);
	expect(c, conf_attach(c, dev, &pt), -EADDRINUSE);
}

static void bad_memory_late(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), pt = ioas;
	int dev = conf_device_open(c, PLAIN, fd, 0);
	uint64_t hole = conf_hole(c, PAGE);

	(void)data;
	expect(c, conf_map(c, fd, ioas, (void *)(uintptr_t)hole, PAGE, BASE), 0);
	expect(c, conf_attach(c, dev, &pt), -EFAULT);
	expect(c, pt, ioas);
	expect(c, conf_unmap(c, fd, ioas, BASE, PAGE, NULL), 0);
	expect(c, conf_attach(c, dev, &pt), 0);
}

static void bad_memory_early(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint64_t hole;

	(void)data;
	conf_device_open(c, PLAIN, fd, ioas);
	hole = conf_hole(c, PAGE);
	expect(c, conf_map(c, fd, ioas, (void *)(uintptr_t)hole, PAGE, BASE), -EFAULT);
	expect(c, conf_probe_iova(c, fd, ioas, BASE), 0);
}

static void bad_memory_half(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem;

	(void)data;
	conf_device_open(c, PLAIN, fd, ioas);
	mem = conf_memory(c, 4 * PAGE);
	munmap(mem + 2 * PAGE, PAGE);
	expect(c, conf_map(c, fd, ioas, mem, 4 * PAGE, BASE), -EFAULT);
	expect(c, conf_map(c, fd, ioas, mem, 2 * PAGE, BASE), 0);
}

static void read_only_memory(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint64_t iova = BASE;
	uint8_t *mem;

	(void)data;
	conf_device_open(c, PLAIN, fd, ioas);
	mem = conf_memory(c, PAGE);
	mprotect(mem, PAGE, PROT_READ);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE), -EFAULT);
	expect(c, map_flags(c, fd, ioas, FIXED | READ, mem, PAGE, &iova), 0);
}

static void no_access_memory(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem;

	(void)data;
	conf_device_open(c, PLAIN, fd, ioas);
	mem = conf_memory(c, PAGE);
	mprotect(mem, PAGE, PROT_NONE);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE), -EFAULT);
}

static void bar_memory(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	int dev = conf_device_open(c, PLAIN, fd, ioas);
	void *bar;

	(void)data;
	expect(c,
	       conf_mmap(c, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dev,
			 (uint64_t)c->devices[PLAIN].bar << 40, &bar),
	       0);
	expect(c, conf_map(c, fd, ioas, bar, PAGE, BASE), -EFAULT);
}

static void detach_keeps_areas(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), pt = ioas;
	int dev = conf_device_open(c, PLAIN, fd, ioas);

	(void)data;
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, BASE), 0);
	expect(c, conf_detach(c, dev), 0);
	expect(c, conf_probe_iova(c, fd, ioas, BASE), -EEXIST);
	expect(c, conf_attach(c, dev, &pt), 0);
	expect(c, conf_probe_iova(c, fd, ioas, BASE), -EEXIST);
}

static void copy_to_attached(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t src = conf_ioas_new(c, fd), dst = conf_ioas_new(c, fd);
	uint64_t hole = conf_hole(c, PAGE);
	uint8_t *mem = conf_memory(c, MEM);

	(void)data;
	conf_device_open(c, PLAIN, fd, dst);
	expect(c, conf_map(c, fd, src, mem, 512, BASE), 0);
	expect(c, conf_copy(c, fd, dst, BASE, src, BASE, 512), -EINVAL);
	expect(c, conf_map(c, fd, src, (void *)(uintptr_t)hole, PAGE, BASE + PAGE), 0);
	munmap((void *)(uintptr_t)hole, PAGE);
	expect(c, conf_map(c, fd, src, mem + PAGE, PAGE, BASE + 2 * PAGE), 0);
	expect(c, conf_copy(c, fd, dst, BASE, src, BASE + 2 * PAGE, PAGE), 0);
}

static void auto_with_device(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	const struct iommu_iova_range allow = { 0xfedff000, 0xfef0ffff };
	uint8_t *mem = conf_memory(c, MEM);
	uint64_t iova = 0;

	(void)data;
	conf_device_open(c, PLAIN, fd, ioas);
	/* The list may not touch what is reserved, so fill the room below instead. */
	expect(c, set_allowed(c, fd, ioas, &allow, 1), -EADDRINUSE);
	expect(c, map_flags(c, fd, ioas, READ, mem, PAGE, &iova), 0);
	expect(c, iova, PAGE);
	expect(c, map_flags(c, fd, ioas, READ, mem + 512, PAGE, &iova), -EINVAL);
}

/* ----------------------------------------------------------------- HWPT and others */

static void hwpt_by_hand(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), devid = 0, hwpt = 0, pt;
	int dev = conf_cdev(c, PLAIN);

	(void)data;
	expect(c, conf_bind(c, dev, fd, &devid), 0);
	expect(c, conf_hwpt(c, fd, devid, ioas, &hwpt), 0);
	/* It looks at the areas at once. */
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), 512, BASE), -EINVAL);
	expect(c, conf_destroy(c, fd, ioas), -EBUSY);
	pt = hwpt;
	expect(c, conf_attach(c, dev, &pt), 0);
	expect(c, pt, hwpt);
	expect(c, conf_destroy(c, fd, hwpt), -EBUSY);
	expect(c, conf_detach(c, dev), 0);
	/* One made by hand stays when its last device leaves. */
	expect(c, conf_destroy(c, fd, ioas), -EBUSY);
	expect(c, conf_destroy(c, fd, hwpt), 0);
	expect(c, conf_destroy(c, fd, ioas), 0);
}

static void hwpt_bad_memory(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), devid = 0, hwpt = 0;
	uint64_t hole;

	(void)data;
	expect(c, conf_bind(c, conf_cdev(c, PLAIN), fd, &devid), 0);
	hole = conf_hole(c, PAGE);
	expect(c, conf_map(c, fd, ioas, (void *)(uintptr_t)hole, PAGE, BASE), 0);
	expect(c, conf_hwpt(c, fd, devid, ioas, &hwpt), -EFAULT);
	expect(c, conf_destroy(c, fd, ioas), 0);
}

static void attach_ioas_ignores_manual(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), devid = 0, hwpt = 0, pt = ioas;
	int dev = conf_cdev(c, PLAIN);

	(void)data;
	expect(c, conf_bind(c, dev, fd, &devid), 0);
	expect(c, conf_hwpt(c, fd, devid, ioas, &hwpt), 0);
	expect(c, conf_attach(c, dev, &pt), 0);
	expect_true(c, pt != hwpt && pt != ioas);
	expect(c, conf_detach(c, dev), 0);
	/* The automatic one went with its last device. */
	expect(c, conf_destroy(c, fd, pt), -ENOENT);
}

struct hwpt {
	uint32_t flags, reserved, data_type, data_len;
	int dev, pt; /* 0: right, 1: missing, 2: another type */
	int want;
};

static void hwpt_row(struct conf *c, const void *data)
{
	const struct hwpt *row = data;
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), devid = 0;
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.flags = row->flags,
		.__reserved = row->reserved,
		.data_type = row->data_type,
		.data_len = row->data_len,
	};

	expect(c, conf_bind(c, conf_cdev(c, PLAIN), fd, &devid), 0);
	cmd.dev_id = row->dev == 0 ? devid : row->dev == 1 ? NO_IOAS : ioas;
	cmd.pt_id = row->pt == 0 ? ioas : row->pt == 1 ? NO_IOAS : devid;
	expect(c, conf_ioctl(c, fd, IOMMU_HWPT_ALLOC, &cmd), row->want);
}

#define HWPT(rule, ...)                                                                            \
	{                                                                                          \
		rule, "drivers/iommu/iommufd/hw_pagetable.c:iommufd_hwpt_alloc", hwpt_row,         \
			&(const struct hwpt){ __VA_ARGS__ }, NEED_IOMMUFD | NEED_PLAIN             \
	}

static void hwpt_nested_in_ordinary(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), devid = 0, hwpt = 0, nested = 0;

	(void)data;
	expect(c, conf_bind(c, conf_cdev(c, PLAIN), fd, &devid), 0);
	expect(c, conf_hwpt(c, fd, devid, ioas, &hwpt), 0);
	expect(c, conf_hwpt(c, fd, devid, hwpt, &nested), -EOPNOTSUPP);
}

static void hw_info(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint8_t buf[64];
	struct iommu_hw_info cmd = {
		.size = sizeof(cmd),
		.data_len = sizeof(buf),
		.data_uptr = (uintptr_t)buf,
	};

	(void)data;
	expect(c, conf_bind(c, conf_cdev(c, PLAIN), fd, &cmd.dev_id), 0);
	memset(buf, 0xff, sizeof(buf));
	expect(c, conf_ioctl(c, fd, IOMMU_GET_HW_INFO, &cmd), 0);
	expect_true(c, cmd.data_len <= sizeof(buf));
	expect(c, buf[sizeof(buf) - 1], 0);
	cmd.dev_id = NO_IOAS;
	expect(c, conf_ioctl(c, fd, IOMMU_GET_HW_INFO, &cmd), -ENOENT);
	cmd.flags = 0x80;
	expect(c, conf_ioctl(c, fd, IOMMU_GET_HW_INFO, &cmd), -EOPNOTSUPP);
}

static void dirty_calls(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	struct iommu_hwpt_set_dirty_tracking set = { .size = sizeof(set), .hwpt_id = NO_IOAS };
	struct iommu_hwpt_get_dirty_bitmap get = { .size = sizeof(get), .hwpt_id = NO_IOAS };

	(void)data;
	expect(c, conf_ioctl(c, fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set), -ENOENT);
	set.flags = 2;
	expect(c, conf_ioctl(c, fd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set), -EOPNOTSUPP);
	expect(c, conf_ioctl(c, fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), -ENOENT);
	get.flags = 2;
	expect(c, conf_ioctl(c, fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), -EOPNOTSUPP);
}

static void dirty_checks(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), devid = 0, hwpt = 0;
	uint64_t bitmap;
	struct iommu_hwpt_get_dirty_bitmap get = { .size = sizeof(get),
						   .data = (uintptr_t)&bitmap };

	(void)data;
	expect(c, conf_bind(c, conf_cdev(c, PLAIN), fd, &devid), 0);
	expect(c, conf_hwpt(c, fd, devid, ioas, &hwpt), 0);
	get.hwpt_id = hwpt;
	get.page_size = PAGE;
	expect(c, conf_ioctl(c, fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), -EINVAL);
	get.length = PAGE;
	get.iova = 0 - PAGE;
	get.length = 2 * PAGE;
	expect(c, conf_ioctl(c, fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), -EOVERFLOW);
	get.iova = 512;
	get.length = PAGE;
	expect(c, conf_ioctl(c, fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), -EINVAL);
	get.iova = 0;
	get.page_size = 0;
	expect(c, conf_ioctl(c, fd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get), -EINVAL);
}

static void change_process(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	struct iommu_ioas_change_process cmd = { .size = sizeof(cmd) };

	(void)data;
	expect(c, conf_ioctl(c, fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd), 0);
	expect(c, conf_map_file(c, fd, ioas, conf_memfd(c, MEM), 0, PAGE, BASE), 0);
	expect(c, conf_ioctl(c, fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd), 0);
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, BASE + PAGE), 0);
	expect(c, conf_ioctl(c, fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd), -EINVAL);
	cmd.__reserved = 1;
	expect(c, conf_ioctl(c, fd, IOMMU_IOAS_CHANGE_PROCESS, &cmd), -EOPNOTSUPP);
}

static void invalidate(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	struct iommu_hwpt_invalidate cmd = { .size = sizeof(cmd), .hwpt_id = NO_IOAS };

	(void)data;
	expect(c, conf_ioctl(c, fd, IOMMU_HWPT_INVALIDATE, &cmd), -ENOENT);
	cmd.hwpt_id = ioas;
	expect(c, conf_ioctl(c, fd, IOMMU_HWPT_INVALIDATE, &cmd), -EINVAL);
	cmd.entry_num = 3;
	expect(c, conf_ioctl(c, fd, IOMMU_HWPT_INVALIDATE, &cmd), -EINVAL);
	expect(c, cmd.entry_num, 0);
	cmd.__reserved = 1;
	expect(c, conf_ioctl(c, fd, IOMMU_HWPT_INVALIDATE, &cmd), -EOPNOTSUPP);
}

#define ANY NULL, NEED_IOMMUFD
#define DEV NULL, NEED_IOMMUFD | NEED_PLAIN

/* ------------------------------------------------------------------ locked memory */

static void memlock_map(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, 8 * PAGE);

	(void)data;
	conf_device_open(c, PLAIN, fd, ioas);
	conf_set_memlock(c, 4 * PAGE);
	expect(c, conf_map(c, fd, ioas, mem, 5 * PAGE, BASE), -ENOMEM);
	expect(c, conf_probe_iova(c, fd, ioas, BASE), 0);
	expect(c, conf_map(c, fd, ioas, mem, 4 * PAGE, BASE), 0);
	expect(c, conf_map(c, fd, ioas, mem + 4 * PAGE, PAGE, BASE + 4 * PAGE), -ENOMEM);
	expect(c, conf_unmap(c, fd, ioas, BASE, 4 * PAGE, NULL), 0);
	expect(c, conf_map(c, fd, ioas, mem + 4 * PAGE, 4 * PAGE, BASE), 0);
}

static void memlock_counts(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), other = conf_ioas_new(c, fd);
	uint8_t *mem = conf_memory(c, 4 * PAGE);

	(void)data;
	conf_device_open(c, PLAIN, fd, ioas);
	conf_set_memlock(c, 4 * PAGE);
	/* Another MAP counts once more, a COPY does not. */
	expect(c, conf_map(c, fd, ioas, mem, 2 * PAGE, BASE), 0);
	expect(c, conf_copy(c, fd, ioas, BASE + 8 * PAGE, ioas, BASE, 2 * PAGE), 0);
	expect(c, conf_map(c, fd, ioas, mem, 2 * PAGE, BASE + 16 * PAGE), 0);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE + 24 * PAGE), -ENOMEM);
	/* Where no device looks nothing is locked. */
	expect(c, conf_map(c, fd, other, mem, 4 * PAGE, BASE), 0);
	expect(c, conf_unmap(c, fd, ioas, BASE, 2 * PAGE, NULL), 0);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE + 24 * PAGE), -ENOMEM);
	expect(c, conf_unmap(c, fd, ioas, BASE + 8 * PAGE, 2 * PAGE, NULL), 0);
	expect(c, conf_map(c, fd, ioas, mem, PAGE, BASE + 24 * PAGE), 0);
}

static void memlock_attach(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), pt = ioas;
	int dev = conf_device_open(c, PLAIN, fd, 0), file = conf_memfd(c, 4 * PAGE);

	(void)data;
	conf_set_memlock(c, 4 * PAGE);
	expect(c, conf_map(c, fd, ioas, conf_memory(c, 3 * PAGE), 3 * PAGE, BASE), 0);
	expect(c, conf_map_file(c, fd, ioas, file, 0, 2 * PAGE, BASE + 8 * PAGE), 0);
	expect(c, conf_attach(c, dev, &pt), -ENOMEM);
	expect(c, conf_unmap(c, fd, ioas, BASE + 8 * PAGE, 2 * PAGE, NULL), 0);
	expect(c, conf_map_file(c, fd, ioas, file, 0, PAGE, BASE + 8 * PAGE), 0);
	expect(c, conf_attach(c, dev, &pt), 0);
	expect(c, conf_detach(c, dev), 0);
	pt = ioas;
	expect(c, conf_attach(c, dev, &pt), 0);
}

static void memlock_dmabuf(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	int dev = conf_device_open(c, PLAIN, fd, ioas);
	int buf = conf_export(c, dev, c->devices[PLAIN].bar, 0, 8 * PAGE);

	(void)data;
	conf_set_memlock(c, PAGE);
	expect(c, conf_map_file(c, fd, ioas, buf, 0, 8 * PAGE, BASE), 0);
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, BASE + 8 * PAGE), 0);
}

static const struct conf_case ioas[] = {
	MAP("MAP at a fixed address", IOAS "iommufd_ioas_map", FIXED | READ | WRITE, 0, 0, 0, PAGE,
	    BASE, 0),
	MAP("MAP for reading only", IOAS "iommufd_ioas_map", FIXED | READ, 0, 0, 0, PAGE, BASE, 0),
	MAP("MAP for writing only", IOAS "iommufd_ioas_map", FIXED | WRITE, 0, 0, 0, PAGE, BASE, 0),
	MAP("MAP with an unknown flag: EOPNOTSUPP", IOAS "iommufd_ioas_map", FIXED | READ | 8, 0, 0,
	    0, PAGE, BASE, -EOPNOTSUPP),
	MAP("MAP with the reserved field set: EOPNOTSUPP", IOAS "iommufd_ioas_map", FIXED | READ, 1,
	    0, 0, PAGE, BASE, -EOPNOTSUPP),
	MAP("MAP: flags are looked at before the address", IOAS "iommufd_ioas_map", 8, 0, NO_IOAS,
	    0, UINT64_MAX, UINT64_MAX, -EOPNOTSUPP),
	MAP("MAP with length 2^64-1: EOVERFLOW", IOAS "iommufd_ioas_map", FIXED | READ, 0, 0, 0,
	    UINT64_MAX, BASE, -EOVERFLOW),
	MAP("MAP at address 2^64-1: EOVERFLOW", IOAS "iommufd_ioas_map", FIXED | READ, 0, 0, 0,
	    PAGE, UINT64_MAX, -EOVERFLOW),
	MAP("MAP without FIXED_IOVA looks at the address all the same", IOAS "iommufd_ioas_map",
	    READ, 0, 0, 0, PAGE, UINT64_MAX, -EOVERFLOW),
	MAP("MAP: overflow comes before the direction", IOAS "iommufd_ioas_map", FIXED, 0, NO_IOAS,
	    0, UINT64_MAX, BASE, -EOVERFLOW),
	MAP("MAP without a direction: EINVAL", IOAS "iommufd_ioas_map", FIXED, 0, 0, 0, PAGE, BASE,
	    -EINVAL),
	MAP("MAP: the direction comes before the IOAS", IOAS "iommufd_ioas_map", FIXED, 0, NO_IOAS,
	    0, PAGE, BASE, -EINVAL),
	MAP("MAP in a missing IOAS: ENOENT", IOAS "iommufd_ioas_map", FIXED | READ, 0, NO_IOAS, 0,
	    PAGE, BASE, -ENOENT),
	MAP("MAP: the IOAS comes before the length", IOAS "iommufd_ioas_map", FIXED | READ, 0,
	    NO_IOAS, 0, 0, BASE, -ENOENT),
	MAP("MAP of length 0: EINVAL", PAGES "iopt_alloc_pages", FIXED | READ, 0, 0, 0, 0, BASE,
	    -EINVAL),
	MAP("MAP of memory that wraps: EOVERFLOW", PAGES "iopt_alloc_user_pages", FIXED | READ, 0,
	    0, 0 - PAGE, 2 * PAGE, BASE, -EOVERFLOW),
	MAP("MAP at addresses that wrap: EOVERFLOW", IOPT "iopt_check_iova", FIXED | READ, 0, 0, 0,
	    2 * PAGE, 0 - PAGE, -EOVERFLOW),
	MAP("MAP of what is not there works while no device looks", PAGES "iopt_alloc_user_pages",
	    FIXED | READ, 0, 0, 0x10000, PAGE, BASE, 0),
	MAP("MAP without an address of more than half of all: EOVERFLOW", IOPT "iopt_alloc_iova",
	    READ, 0, 0, 0x1000, 1ULL << 63, 0, -EOVERFLOW),
	{ "MAP over an area: EEXIST at either end, inside, around; beside it works",
	  IOPT "iopt_check_iova", map_overlaps, ANY },
	{ "MAP of the same memory twice works", IOPT "iopt_map_user_pages", map_same_memory_twice,
	  ANY },
	{ "MAP of the last page of all", IOPT "iopt_check_iova", map_last_byte, ANY },
	{ "MAP at address 0", IOPT "iopt_check_iova", map_iova_zero, ANY },
	{ "MAP of single bytes while no device looks", IOPT "iopt_init_table", map_bytes, ANY },

	{ "automatic: the first page is never used", IOPT "iopt_alloc_iova", auto_first, ANY },
	{ "automatic: the offset into the page is kept", IOPT "iopt_alloc_iova",
	  auto_keeps_page_offset, ANY },
	{ "automatic: aligned to the length, no more than the source is", IOPT "iopt_alloc_iova",
	  auto_aligns_by_length, ANY },
	{ "automatic: never aligned to more than a huge page", IOPT "iopt_alloc_iova",
	  auto_huge_alignment, ANY },
	{ "automatic: address 0 is aligned to everything", IOPT "iopt_alloc_iova",
	  auto_address_zero, ANY },
	{ "automatic: the lowest hole that fits", IOPT "iopt_alloc_iova", auto_first_hole, ANY },
	{ "automatic: within the allow list while there is one", IOPT "iopt_alloc_iova",
	  auto_in_allowed, ANY },
	{ "automatic: no room in the allow list: ENOSPC", IOPT "iopt_alloc_iova", auto_no_space,
	  ANY },
	{ "a fixed address may lie outside the allow list", IOPT "iopt_check_iova",
	  fixed_outside_allowed, ANY },

	UNMAP("UNMAP of exactly one area", BASE, 2 * PAGE, 0, 2 * PAGE),
	UNMAP("UNMAP of two areas that touch", BASE + 4 * PAGE, 3 * PAGE, 0, 3 * PAGE),
	UNMAP("UNMAP of areas and holes counts the areas", 0, 1ULL << 40, 0, 5 * PAGE),
	UNMAP("UNMAP of everything", 0, UINT64_MAX, 0, 5 * PAGE),
	UNMAP("UNMAP of nothing: ENOENT", BASE + 2 * PAGE, 2 * PAGE, -ENOENT, 0),
	UNMAP("UNMAP of part of an area: ENOENT", BASE, PAGE, -ENOENT, 0),
	UNMAP("UNMAP of an area's tail: ENOENT", BASE + PAGE, PAGE, -ENOENT, 0),
	UNMAP("UNMAP of length 0: EINVAL", BASE, 0, -EINVAL, 0),
	UNMAP("UNMAP of length 2^64-1 from elsewhere than 0: EOVERFLOW", BASE, UINT64_MAX,
	      -EOVERFLOW, 0),
	UNMAP("UNMAP at 2^64-1: EOVERFLOW", UINT64_MAX, 1, -EOVERFLOW, 0),
	UNMAP("UNMAP that wraps: EOVERFLOW", 0 - PAGE, 2 * PAGE, -EOVERFLOW, 0),
	{ "UNMAP of everything in an empty IOAS: 0", IOPT "iopt_unmap_all", unmap_empty_all, ANY },
	{ "UNMAP in a missing IOAS: ENOENT", IOAS "iommufd_ioas_unmap", unmap_missing_ioas, ANY },
	{ "UNMAP that cuts an area: ENOENT, areas below it are gone", IOPT "iopt_unmap_iova_range",
	  unmap_cuts, ANY },
	{ "UNMAP makes room", IOPT "iopt_unmap_iova_range", unmap_then_map, ANY },

	COPY("COPY of an area", IOAS "iommufd_ioas_copy", FIXED | READ | WRITE, 0, 0, BASE,
	     2 * PAGE, BASE, 0),
	COPY("COPY across areas that touch", IOPT "iopt_get_pages", FIXED | READ, 0, 0, BASE,
	     4 * PAGE, BASE, 0),
	COPY("COPY from the middle of one area to the middle of the next", IOPT "iopt_get_pages",
	     FIXED | READ, 0, 0, BASE + PAGE, 2 * PAGE, BASE, 0),
	COPY("COPY without FIXED_IOVA", IOPT "iopt_alloc_iova", READ, 0, 0, BASE, 2 * PAGE, 0, 0),
	COPY("COPY with an unknown flag: EOPNOTSUPP", IOAS "iommufd_ioas_copy", FIXED | READ | 8, 0,
	     0, BASE, PAGE, BASE, -EOPNOTSUPP),
	COPY("COPY of length 2^64-1: EOVERFLOW", IOAS "iommufd_ioas_copy", FIXED | READ, 0, 0, BASE,
	     UINT64_MAX, BASE, -EOVERFLOW),
	COPY("COPY from 2^64-1: EOVERFLOW", IOAS "iommufd_ioas_copy", FIXED | READ, 0, 0,
	     UINT64_MAX, PAGE, BASE, -EOVERFLOW),
	COPY("COPY to 2^64-1: EOVERFLOW", IOAS "iommufd_ioas_copy", READ, 0, 0, BASE, PAGE,
	     UINT64_MAX, -EOVERFLOW),
	COPY("COPY without a direction: EINVAL", IOAS "iommufd_ioas_copy", FIXED, 0, 0, BASE, PAGE,
	     BASE, -EINVAL),
	COPY("COPY from a missing IOAS: ENOENT", IOAS "iommufd_ioas_copy", FIXED | READ, NO_IOAS, 0,
	     BASE, PAGE, BASE, -ENOENT),
	COPY("COPY to a missing IOAS: ENOENT", IOAS "iommufd_ioas_copy", FIXED | READ, 0, NO_IOAS,
	     BASE, PAGE, BASE, -ENOENT),
	COPY("COPY of length 0: EINVAL", IOPT "iopt_get_pages", FIXED | READ, 0, 0, BASE, 0, BASE,
	     -EINVAL),
	COPY("COPY of a range that wraps: EOVERFLOW", IOPT "iopt_get_pages", FIXED | READ, 0, 0,
	     0 - PAGE, 2 * PAGE, BASE, -EOVERFLOW),
	COPY("COPY of nothing: ENOENT", IOPT "iopt_get_pages", FIXED | READ, 0, 0, 0x1000, PAGE,
	     BASE, -ENOENT),
	COPY("COPY across a hole: ENOENT", IOPT "iopt_get_pages", FIXED | READ, 0, 0, BASE,
	     7 * PAGE, BASE, -ENOENT),
	COPY("COPY that starts before an area: ENOENT", IOPT "iopt_get_pages", FIXED | READ, 0, 0,
	     BASE - PAGE, 2 * PAGE, BASE, -ENOENT),
	COPY("COPY that ends behind an area: ENOENT", IOPT "iopt_get_pages", FIXED | READ, 0, 0,
	     BASE + 6 * PAGE, 2 * PAGE, BASE, -ENOENT),
	COPY("COPY for writing of what was mapped for reading: EPERM", IOPT "iopt_insert_area",
	     FIXED | WRITE, 0, 0, BASE + 2 * PAGE, PAGE, BASE, -EPERM),
	COPY("COPY for writing of both: EPERM", IOPT "iopt_insert_area", FIXED | WRITE, 0, 0, BASE,
	     4 * PAGE, BASE, -EPERM),
	COPY("COPY to addresses that wrap: EOVERFLOW", IOPT "iopt_check_iova", FIXED | READ, 0, 0,
	     BASE, 2 * PAGE, 0 - PAGE, -EOVERFLOW),
	{ "COPY makes areas as the source has them, which outlive it", IOPT "iopt_map_pages",
	  copy_makes_areas, ANY },
	{ "COPY within one IOAS", IOAS "iommufd_ioas_copy", copy_within, ANY },
	{ "COPY of part of an area", IOPT "iopt_get_pages", copy_of_part, ANY },

	{ "IOVA_RANGES of a new IOAS: everything", IOAS "iommufd_ioas_iova_ranges", ranges_of_new,
	  ANY },
	{ "IOVA_RANGES without room: EMSGSIZE and how many there are",
	  IOAS "iommufd_ioas_iova_ranges", ranges_no_room, ANY },
	{ "IOVA_RANGES of a missing IOAS: ENOENT", IOAS "iommufd_ioas_iova_ranges", ranges_missing,
	  ANY },
	{ "IOVA_RANGES with the reserved field set: EOPNOTSUPP", IOAS "iommufd_ioas_iova_ranges",
	  ranges_reserved_field, ANY },
	{ "IOVA_RANGES to a bad address: EFAULT", IOAS "iommufd_ioas_iova_ranges",
	  ranges_bad_address, ANY },
	{ "IOVA_RANGES knows neither areas nor the allow list", IOAS "iommufd_ioas_iova_ranges",
	  ranges_ignore_areas, ANY },
	ALLOW("ALLOW_IOVAS of two ranges", 0, 0xfff, 0x1000, 0x1fff, 0),
	ALLOW("ALLOW_IOVAS in any order", 0x1000, 0x1fff, 0, 0xfff, 0),
	ALLOW("ALLOW_IOVAS of one byte: EINVAL", 5, 5, 0x1000, 0x1fff, (uint64_t)-EINVAL),
	ALLOW("ALLOW_IOVAS with start above last: EINVAL", 0x1fff, 0x1000, 0x3000, 0x3fff,
	      (uint64_t)-EINVAL),
	ALLOW("ALLOW_IOVAS that overlap: EINVAL", 0, 0x1000, 0x1000, 0x1fff, (uint64_t)-EINVAL),
	ALLOW("ALLOW_IOVAS twice the same: EINVAL", 0, 0xfff, 0, 0xfff, (uint64_t)-EINVAL),
	{ "ALLOW_IOVAS from a bad address: EFAULT", IOAS "iommufd_ioas_load_iovas",
	  allow_bad_address, ANY },
	{ "ALLOW_IOVAS of a missing IOAS: ENOENT", IOAS "iommufd_ioas_allow_iovas", allow_missing,
	  ANY },
	{ "ALLOW_IOVAS with the reserved field set: EOPNOTSUPP", IOAS "iommufd_ioas_allow_iovas",
	  allow_reserved_field, ANY },
	{ "ALLOW_IOVAS that fails keeps the old list", IOPT "iopt_set_allow_iova",
	  allow_failure_keeps_list, ANY },

	{ "with a device: address, length and source are page aligned", IOPT "iopt_check_iova",
	  attached_alignment, DEV },
	{ "with a device: its interrupt window and what its IOMMU cannot reach are reserved",
	  IOPT "iopt_table_enforce_dev_resv_regions", attached_reserves, DEV },
	{ "ATTACH where an area covers the interrupt window: EADDRINUSE", IOPT "iopt_reserve_iova",
	  attach_over_area, DEV },
	{ "ATTACH where an area lies beyond the IOMMU's reach: EADDRINUSE",
	  IOPT "iopt_table_add_domain", attach_beyond_aperture, DEV },
	{ "ATTACH where the allow list covers the interrupt window: EADDRINUSE",
	  IOPT "iopt_reserve_iova", attach_over_allowed, DEV },
	{ "ALLOW_IOVAS over a reserved range: EADDRINUSE, the old list stays",
	  IOPT "iopt_set_allow_iova", allow_over_reserved, DEV },
	{ "ATTACH where an area is not page aligned: EADDRINUSE", IOPT "iopt_check_iova_alignment",
	  attach_misaligned, DEV },
	{ "memory that is not there is found when a device is attached: EFAULT",
	  IOPT "iopt_fill_domain", bad_memory_late, DEV },
	{ "with a device: MAP of memory that is not there: EFAULT, nothing is mapped",
	  PAGES "iopt_area_fill_domains", bad_memory_early, DEV },
	{ "with a device: MAP of memory with a hole: EFAULT", PAGES "iopt_area_fill_domains",
	  bad_memory_half, DEV },
	{ "with a device: MAP for writing of read-only memory: EFAULT", PAGES "pfn_reader_user_pin",
	  read_only_memory, DEV },
	{ "with a device: MAP of memory without access: EFAULT", PAGES "pfn_reader_user_pin",
	  no_access_memory, DEV },
	{ "with a device: MAP of a BAR mapping: EFAULT", "mm/gup.c:check_vma_flags", bar_memory,
	  DEV },
	{ "DETACH keeps the areas", IOPT "iopt_table_remove_domain", detach_keeps_areas, DEV },
	{ "COPY into an IOAS with a device: aligned", IOPT "iopt_alloc_area_pages",
	  copy_to_attached, DEV },
	{ "automatic with a device: a source within a page: EINVAL", IOPT "iopt_alloc_iova",
	  auto_with_device, DEV },

	{ "HWPT_ALLOC: looks at the areas at once, holds the IOAS, stays",
	  "drivers/iommu/iommufd/hw_pagetable.c:iommufd_hwpt_paging_alloc", hwpt_by_hand, DEV },
	{ "HWPT_ALLOC over memory that is not there: EFAULT, nothing is left",
	  "drivers/iommu/iommufd/hw_pagetable.c:iommufd_hwpt_paging_alloc", hwpt_bad_memory, DEV },
	{ "ATTACH to an IOAS makes a HWPT of its own, which goes with its last device",
	  "drivers/iommu/iommufd/device.c:iommufd_device_auto_get_domain",
	  attach_ioas_ignores_manual, DEV },
	HWPT("HWPT_ALLOC with the reserved field set: EOPNOTSUPP", 0, 1, 0, 0, 0, 0, -EOPNOTSUPP),
	HWPT("HWPT_ALLOC with data of no type: EINVAL", 0, 0, 0, 8, 0, 0, -EINVAL),
	HWPT("HWPT_ALLOC with a type and no data: EINVAL", 0, 0, 1, 0, 0, 0, -EINVAL),
	HWPT("HWPT_ALLOC for a missing device: ENOENT", 0, 0, 0, 0, 1, 0, -ENOENT),
	HWPT("HWPT_ALLOC for a device that is an IOAS: ENOENT", 0, 0, 0, 0, 2, 0, -ENOENT),
	HWPT("HWPT_ALLOC in a missing IOAS: EINVAL", 0, 0, 0, 0, 0, 1, -EINVAL),
	HWPT("HWPT_ALLOC in a device: EINVAL", 0, 0, 0, 0, 0, 2, -EINVAL),
	HWPT("HWPT_ALLOC with an unknown flag: EOPNOTSUPP", 1 << 8, 0, 0, 0, 0, 0, -EOPNOTSUPP),
	HWPT("HWPT_ALLOC with a missing fault queue: ENOENT", IOMMU_HWPT_FAULT_ID_VALID, 0, 0, 0, 0,
	     0, -ENOENT),
	HWPT("HWPT_ALLOC as a parent with a fault queue: EOPNOTSUPP",
	     IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_NEST_PARENT, 0, 0, 0, 0, 0, -EOPNOTSUPP),
	{ "HWPT_ALLOC in a HWPT without data: EOPNOTSUPP",
	  "drivers/iommu/iommufd/hw_pagetable.c:iommufd_hwpt_nested_alloc", hwpt_nested_in_ordinary,
	  DEV },
	{ "GET_HW_INFO fills the buffer; missing device ENOENT; flags EOPNOTSUPP",
	  "drivers/iommu/iommufd/device.c:iommufd_get_hw_info", hw_info, DEV },
	{ "dirty tracking: missing HWPT ENOENT; flags EOPNOTSUPP",
	  "drivers/iommu/iommufd/hw_pagetable.c:iommufd_hwpt_set_dirty_tracking", dirty_calls,
	  ANY },
	{ "GET_DIRTY_BITMAP checks its range", IOPT "iommufd_check_iova_range", dirty_checks, DEV },
	{ "CHANGE_PROCESS: files only", IOAS "iommufd_ioas_change_process", change_process, ANY },
	{ "HWPT_INVALIDATE of what is not nested: EINVAL",
	  "drivers/iommu/iommufd/hw_pagetable.c:iommufd_hwpt_invalidate", invalidate, ANY },
	{ "RLIMIT_MEMLOCK: MAP beyond it ENOMEM and nothing mapped, UNMAP makes room",
	  PAGES "incr_user_locked_vm", memlock_map, DEV },
	{ "RLIMIT_MEMLOCK: each MAP counts, a COPY does not, nor what no device sees",
	  PAGES "incr_user_locked_vm", memlock_counts, DEV },
	{ "RLIMIT_MEMLOCK: ATTACH to more than it, files included: ENOMEM",
	  PAGES "iopt_area_fill_domain", memlock_attach, DEV },
	{ "RLIMIT_MEMLOCK: a dma-buf is not counted", PAGES "iopt_alloc_dmabuf_pages",
	  memlock_dmabuf, DEV },
};

CONF_TABLE(conf_ioas, ioas);
