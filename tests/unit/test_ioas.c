/* SPDX-License-Identifier: MIT */
/* I/O address spaces: each call to the kernel byte by byte, each errno, and the ledger. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "fixture.h"
#include "libpfnbuf/private.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/pci.h"
#include "libpfnbuf/uapi/vfio.h"

#define ID     3
#define OBJECT "ioas 3"

#define IOMMUFD_IOCTL(request_, ...)                                                               \
	{                                                                                          \
		.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = (request_), __VA_ARGS__              \
	}

struct fixture {
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_ioas *ioas;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	mock_reset();
	f->ctx = fixture_ctx();
	f->ioas = fixture_ioas(f->ctx, ID);
	*state = f;
	return 0;
}

/* Tests leave the IOAS empty. */
static int teardown(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_area area;

	assert_int_equal(pfnbuf_ioas_next_area(f->ioas, 0, &area), 0);
	fixture_free_ioas(f->ioas, false);
	fixture_free_ctx(f->ctx);
	free(f);
	return 0;
}

/* ---------------------------------------------------------------- its life ------------------ */

static void new_errnos(void **state)
{
	struct fixture *f = *state;
	const struct iommu_ioas_alloc in = { .size = sizeof(in) };
	const int codes[] = { ENOMEM, EBADF, EINTR };
	struct pfnbuf_ioas *ioas = (void *)1;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_ALLOC,
				MOCK_STRUCT(in), .result = -codes[i]);
		assert_fails("pfnbuf_ioas_new", pfnbuf_ioas_new(f->ctx, &ioas), codes[i],
			     "IOMMU_IOAS_ALLOC", "iommufd", NULL);
		assert_ptr_equal(ioas, (void *)1);
	}
	mock_done();
}

static void without_iommufd(void **state)
{
	const int codes[] = { ENOENT, ENODEV, EACCES };
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_ioas *ioas = (void *)1;

	(void)state;
	mock_reset();
	ctx = fixture_ctx_without_iommufd();
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		mock_expect_one(.kind = MOCK_OPEN, .path = "/dev/iommu",
				.request = O_RDWR | O_CLOEXEC, .result = -codes[i]);
		assert_fails("pfnbuf_ioas_new", pfnbuf_ioas_new(ctx, &ioas), codes[i],
			     "open /dev/iommu", "/dev/iommu", NULL);
		mock_expect_one(.kind = MOCK_OPEN, .path = "/dev/iommu",
				.request = O_RDWR | O_CLOEXEC, .result = -codes[i]);
		assert_fails("pfnbuf_ioas_from_id", pfnbuf_ioas_from_id(ctx, 1, &ioas), codes[i],
			     "open /dev/iommu", "/dev/iommu", NULL);
		assert_ptr_equal(ioas, (void *)1);
	}
	fixture_free_ctx(ctx);
}

static const struct iommu_ioas_iova_ranges probe = { .size = sizeof(probe), .ioas_id = 7 };

static struct pfnbuf_ioas *borrow(struct pfnbuf_ctx *ctx, int answer)
{
	struct pfnbuf_ioas *ioas = NULL;

	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_IOVA_RANGES,
			MOCK_STRUCT(probe), .result = answer);
	assert_int_equal(pfnbuf_ioas_from_id(ctx, 7, &ioas), 0);
	mock_done();
	assert_int_equal(pfnbuf_ioas_get_id(ioas), 7);
	return ioas;
}

static void from_id(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_ioas *ioas = (void *)1;

	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_IOVA_RANGES,
			MOCK_STRUCT(probe), .result = -ENOENT);
	assert_fails("pfnbuf_ioas_from_id", pfnbuf_ioas_from_id(f->ctx, 7, &ioas), ENOENT,
		     "IOMMU_IOAS_IOVA_RANGES", "ioas 7", NULL);
	assert_ptr_equal(ioas, (void *)1);

	/* It is there whether or not it has a range; nothing of it ends with the object. */
	assert_null(pfnbuf_ioas_free(borrow(f->ctx, -EMSGSIZE)));
	assert_null(pfnbuf_ioas_free(borrow(f->ctx, 0)));
	mock_done();
	assert_null(pfnbuf_ioas_free(NULL));
}

static void end_is_logged(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_ioas *ioas = fixture_ioas(f->ctx, 9);
	const struct iommu_destroy destroy = { .size = sizeof(destroy), .id = 9 };

	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_DESTROY,
			MOCK_STRUCT(destroy), .result = -EBUSY);
	assert_null(pfnbuf_ioas_free(ioas));
	mock_logged(PFNBUF_LOG_ERROR, "IOMMU_DESTROY on ioas 9: EBUSY");
	mock_done();
}

/* ---------------------------------------------------------------- addresses ----------------- */

static void iova_ranges(void **state)
{
	struct fixture *f = *state;
	const struct iommu_iova_range found[] = {
		{ 0, 0xfedfffff },
		{ 0xfef00000, UINT64_MAX },
	};
	const struct iommu_ioas_iova_ranges in = { .size = sizeof(in),
						   .ioas_id = ID,
						   .num_iovas = 3 };
	const struct iommu_ioas_iova_ranges out = {
		.size = sizeof(out), .ioas_id = ID, .num_iovas = 2, .out_iova_alignment = 4096
	};
	struct pfnbuf_range ranges[3] = { [2] = { 1, 1 } };
	uint64_t alignment = 0;

	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_IOVA_RANGES,
			MOCK_STRUCT(in), MOCK_ANSWER(out), .points = true,
			.pointer_at = offsetof(struct iommu_ioas_iova_ranges, allowed_iovas),
			.pointed_out = found, .pointed_out_size = sizeof(found));
	assert_int_equal(pfnbuf_ioas_get_iova_ranges(f->ioas, ranges, 3, &alignment), 2);
	assert_int_equal(alignment, 4096);
	assert_int_equal(ranges[0].offset, 0);
	assert_int_equal(ranges[0].length, 0xfee00000);
	assert_int_equal(ranges[1].offset, 0xfef00000);
	assert_int_equal(ranges[1].length, -UINT64_C(0xfef00000));
	assert_int_equal(ranges[2].offset, 1);
	mock_done();
}

static void iova_ranges_all_of_it(void **state)
{
	struct fixture *f = *state;
	const struct iommu_iova_range found[] = { { 0, UINT64_MAX } };
	const struct iommu_ioas_iova_ranges in = { .size = sizeof(in),
						   .ioas_id = ID,
						   .num_iovas = 1 };
	struct iommu_ioas_iova_ranges out = in;
	struct pfnbuf_range range;

	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_IOVA_RANGES,
			MOCK_STRUCT(in), MOCK_ANSWER(out), .points = true,
			.pointer_at = offsetof(struct iommu_ioas_iova_ranges, allowed_iovas),
			.pointed_out = found, .pointed_out_size = sizeof(found));
	assert_int_equal(pfnbuf_ioas_get_iova_ranges(f->ioas, &range, 1, NULL), 1);
	assert_int_equal(range.offset, 0);
	assert_int_equal(range.length, UINT64_MAX);
	mock_done();
}

/* More than expected: the kernel says how many, and is asked again with room for what is wanted. */
static void iova_ranges_in_two_steps(void **state)
{
	struct fixture *f = *state;
	struct iommu_iova_range found[16], all[20];
	const struct iommu_ioas_iova_ranges in = { .size = sizeof(in),
						   .ioas_id = ID,
						   .num_iovas = 16 };
	const struct iommu_ioas_iova_ranges more = { .size = sizeof(in),
						     .ioas_id = ID,
						     .num_iovas = 20 };
	const struct iommu_ioas_iova_ranges out = {
		.size = sizeof(out), .ioas_id = ID, .num_iovas = 20, .out_iova_alignment = 1
	};
	struct pfnbuf_range ranges[32];

	for (uint64_t i = 0; i < 20; i++)
		all[i] = (struct iommu_iova_range){ i << 20, (i << 20) + 0xffff };
	memcpy(found, all, sizeof(found));
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_IOVA_RANGES,
			MOCK_STRUCT(in), MOCK_ANSWER(out), .points = true,
			.pointer_at = offsetof(struct iommu_ioas_iova_ranges, allowed_iovas),
			.pointed_out = found, .pointed_out_size = sizeof(found),
			.result = -EMSGSIZE);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_IOVA_RANGES,
			MOCK_STRUCT(more), MOCK_ANSWER(out), .points = true,
			.pointer_at = offsetof(struct iommu_ioas_iova_ranges, allowed_iovas),
			.pointed_out = all, .pointed_out_size = sizeof(all));
	assert_int_equal(pfnbuf_ioas_get_iova_ranges(f->ioas, ranges, 32, NULL), 20);
	for (uint64_t i = 0; i < 20; i++) {
		assert_int_equal(ranges[i].offset, i << 20);
		assert_int_equal(ranges[i].length, 0x10000);
	}
	mock_done();
}

static int run_ranges(void *object, uint64_t *out)
{
	return pfnbuf_ioas_get_iova_ranges(object, (struct pfnbuf_range *)out, 2, &out[4]);
}

static int run_allowed(void *object, uint64_t *out)
{
	const struct pfnbuf_range ranges[] = { { 0x1000, 0x1000 }, { 0, UINT64_MAX } };

	(void)out;
	return pfnbuf_ioas_set_allowed(object, ranges, 2);
}

static int run_huge_pages(void *object, uint64_t *out)
{
	(void)out;
	return pfnbuf_ioas_set_huge_pages(object, false);
}

static int run_get_pa(void *object, uint64_t *out)
{
	return pfnbuf_ioas_get_pa(object, 0x7000, &out[0], &out[1]);
}

static const struct iommu_ioas_iova_ranges ranges_in = { .size = sizeof(ranges_in),
							 .ioas_id = ID,
							 .num_iovas = 2 };
static const struct iommu_ioas_allow_iovas allow_in = { .size = sizeof(allow_in),
							.ioas_id = ID,
							.num_iovas = 2 };
static const struct iommu_iova_range allowed[] = { { 0x1000, 0x1fff }, { 0, UINT64_MAX } };
static const struct iommu_option huge_in = {
	.size = sizeof(huge_in),
	.option_id = IOMMU_OPTION_HUGE_PAGES,
	.op = IOMMU_OPTION_OP_SET,
	.object_id = ID,
};
static const struct iommu_ioas_noiommu_get_pa pa_in = {
	.size = sizeof(pa_in), .ioas_id = ID, .iova = 0x7000, .length = MOCK_PATTERN
};

static const struct mock_wrapper address_calls[] = {
	{
		.function = "pfnbuf_ioas_get_iova_ranges",
		.call = "IOMMU_IOAS_IOVA_RANGES",
		.object = OBJECT,
		.run = run_ranges,
		.made = IOMMUFD_IOCTL(
			IOMMU_IOAS_IOVA_RANGES, MOCK_STRUCT(ranges_in), .points = true,
			.pointer_at = offsetof(struct iommu_ioas_iova_ranges, allowed_iovas)),
		.codes = { ENOENT, EBADF },
	},
	{
		.function = "pfnbuf_ioas_set_allowed",
		.call = "IOMMU_IOAS_ALLOW_IOVAS",
		.object = OBJECT,
		.run = run_allowed,
		.made = IOMMUFD_IOCTL(
			IOMMU_IOAS_ALLOW_IOVAS, MOCK_STRUCT(allow_in), .points = true,
			.pointer_at = offsetof(struct iommu_ioas_allow_iovas, allowed_iovas),
			.pointed_in = allowed, .pointed_in_size = sizeof(allowed)),
		.codes = { EINVAL, EADDRINUSE, ENOENT, ENOMEM },
	},
	{
		.function = "pfnbuf_ioas_set_huge_pages",
		.call = "IOMMU_OPTION",
		.object = OBJECT,
		.run = run_huge_pages,
		.made = IOMMUFD_IOCTL(IOMMU_OPTION, MOCK_STRUCT(huge_in)),
		.codes = { EADDRINUSE, EINVAL, ENOENT },
	},
	{
		.function = "pfnbuf_ioas_get_pa",
		.call = "IOMMU_IOAS_NOIOMMU_GET_PA",
		.object = OBJECT,
		.has_range = true,
		.range = { 0x7000, MOCK_PATTERN },
		.run = run_get_pa,
		.made = IOMMUFD_IOCTL(IOMMU_IOAS_NOIOMMU_GET_PA, MOCK_STRUCT(pa_in)),
		.codes = { EOPNOTSUPP, EPERM, ENOENT, EINVAL, ENOTTY },
	},
};

static void address_errnos(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(address_calls); i++)
		mock_try_errnos(&address_calls[i], f->ioas);
	/* What needs no kernel to see. */
	assert_fails("pfnbuf_ioas_get_iova_ranges",
		     pfnbuf_ioas_get_iova_ranges(f->ioas, NULL, 1, NULL), EINVAL,
		     "IOMMU_IOAS_IOVA_RANGES", OBJECT, NULL);
	assert_fails("pfnbuf_ioas_set_allowed", pfnbuf_ioas_set_allowed(f->ioas, NULL, 1), EINVAL,
		     "IOMMU_IOAS_ALLOW_IOVAS", OBJECT, NULL);
	assert_fails("pfnbuf_ioas_get_pa", pfnbuf_ioas_get_pa(f->ioas, 0, NULL, NULL), EINVAL,
		     "IOMMU_IOAS_NOIOMMU_GET_PA", OBJECT, NULL);
}

static void allowed_refused(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_range wrong[] = {
		{ 0x1000, 0 },
		{ 0x1000, 1 },
		{ UINT64_MAX - 10, 12 },
		{ 1, UINT64_MAX },
	};

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(wrong); i++)
		if (i < 3)
			assert_fails("pfnbuf_ioas_set_allowed",
				     pfnbuf_ioas_set_allowed(f->ioas, &wrong[i], 1), EINVAL,
				     "IOMMU_IOAS_ALLOW_IOVAS", OBJECT, &wrong[i]);
	mock_done();
}

static void allowed_and_lifted(void **state)
{
	struct fixture *f = *state;
	const struct iommu_ioas_allow_iovas none = { .size = sizeof(none), .ioas_id = ID };
	struct mock_call allow = address_calls[1].made;

	mock_expect(&allow, 1);
	assert_int_equal(run_allowed(f->ioas, NULL), 0);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_ALLOW_IOVAS,
			MOCK_STRUCT(none), .points = true,
			.pointer_at = offsetof(struct iommu_ioas_allow_iovas, allowed_iovas));
	assert_int_equal(pfnbuf_ioas_set_allowed(f->ioas, NULL, 0), 0);
	mock_done();
}

static void huge_pages_and_pa(void **state)
{
	struct fixture *f = *state;
	const struct iommu_option on = {
		.size = sizeof(on),
		.option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET,
		.object_id = ID,
		.val64 = 1,
	};
	const struct iommu_ioas_noiommu_get_pa in = {
		.size = sizeof(in), .ioas_id = ID, .iova = 0x1000, .length = 0x9000
	};
	struct iommu_ioas_noiommu_get_pa out = in;
	uint64_t length = 0x9000, pa = 0;

	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_OPTION,
			MOCK_STRUCT(on));
	assert_int_equal(pfnbuf_ioas_set_huge_pages(f->ioas, true), 0);
	out.length = 0x2000;
	out.out_phys = 0xc0ffee000;
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_NOIOMMU_GET_PA,
			MOCK_STRUCT(in), MOCK_ANSWER(out));
	assert_int_equal(pfnbuf_ioas_get_pa(f->ioas, 0x1000, &length, &pa), 0);
	assert_int_equal(length, 0x2000);
	assert_int_equal(pa, 0xc0ffee000);
	mock_done();
}

/* ---------------------------------------------------------------- mapping ------------------- */

static void expect_map(uint64_t va, uint64_t length, uint32_t flags, uint64_t in_iova,
		       uint64_t out_iova)
{
	static struct iommu_ioas_map in[8], out[8];
	static unsigned next;
	unsigned i = next++ % 8;

	in[i] = (struct iommu_ioas_map){
		.size = sizeof(in[i]),
		.flags = flags,
		.ioas_id = ID,
		.user_va = va,
		.length = length,
		.iova = in_iova,
	};
	out[i] = in[i];
	out[i].iova = out_iova;
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_MAP,
			MOCK_STRUCT(in[i]), MOCK_ANSWER(out[i]));
}

#define FIXED_RW (IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

static void expect_map_file(uint32_t id, int fd, uint64_t start, uint64_t length, uint32_t flags,
			    uint64_t iova, int result)
{
	static struct iommu_ioas_map_file in[8];
	static unsigned next;
	unsigned i = next++ % 8;

	in[i] = (struct iommu_ioas_map_file){
		.size = sizeof(in[i]),
		.flags = flags,
		.ioas_id = id,
		.fd = fd,
		.start = start,
		.length = length,
		.iova = iova,
	};
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_MAP_FILE,
			MOCK_STRUCT(in[i]), .result = result);
}

static void expect_unmap(uint32_t id, uint64_t iova, uint64_t length, uint64_t bytes, int result)
{
	static struct iommu_ioas_unmap in[16], out[16];
	static unsigned next;
	unsigned i = next++ % 16;

	in[i] = (struct iommu_ioas_unmap){
		.size = sizeof(in[i]),
		.ioas_id = id,
		.iova = iova,
		.length = length,
	};
	out[i] = in[i];
	out[i].length = bytes;
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_UNMAP,
			MOCK_STRUCT(in[i]), .out = result < 0 ? NULL : &out[i],
			.out_size = sizeof(out[i]), .result = result);
}

static void map_fixed(struct pfnbuf_ioas *ioas, uint64_t va, uint64_t length, uint64_t iova)
{
	uint64_t where = iova;

	expect_map(va, length, FIXED_RW, iova, iova);
	assert_int_equal(pfnbuf_ioas_map_va(ioas, (void *)(uintptr_t)va, length,
					    PFNBUF_MAP_READ | PFNBUF_MAP_WRITE | PFNBUF_MAP_FIXED,
					    &where),
			 0);
	assert_int_equal(where, iova);
	mock_done();
}

static void unmap_everything(struct pfnbuf_ioas *ioas)
{
	expect_unmap(ID, 0, UINT64_MAX, 1, 0);
	assert_int_equal(pfnbuf_ioas_unmap_all(ioas, NULL), 0);
	mock_done();
}

static void check_area(struct pfnbuf_ioas *ioas, uint64_t from, const struct pfnbuf_area *expected)
{
	struct pfnbuf_area area;

	assert_int_equal(pfnbuf_ioas_next_area(ioas, from, &area), 1);
	assert_int_equal(area.iova, expected->iova);
	assert_int_equal(area.length, expected->length);
	assert_int_equal(area.flags, expected->flags);
	assert_ptr_equal(area.buf, expected->buf);
	assert_int_equal(area.offset, expected->offset);
	assert_int_equal(area.generation, expected->generation);
	assert_int_equal(area.dead, expected->dead);
}

static void map_va(void **state)
{
	struct fixture *f = *state;
	uint64_t iova = 77, unmapped = 0;
	struct pfnbuf_area area;

	/* Where the kernel chooses, what is in *iova does not matter. */
	expect_map(0x700000, 0x3000, IOMMU_IOAS_MAP_READABLE, 0, 0x100000);
	assert_int_equal(
		pfnbuf_ioas_map_va(f->ioas, (void *)0x700000, 0x3000, PFNBUF_MAP_READ, &iova), 0);
	assert_int_equal(iova, 0x100000);
	map_fixed(f->ioas, 0x900000, 0x1000, 0x5000);

	check_area(f->ioas, 0,
		   &(struct pfnbuf_area){ .iova = 0x5000,
					  .length = 0x1000,
					  .flags = PFNBUF_MAP_READ | PFNBUF_MAP_WRITE,
					  .offset = 0x900000 });
	check_area(f->ioas, 0x6000,
		   &(struct pfnbuf_area){ .iova = 0x100000,
					  .length = 0x3000,
					  .flags = PFNBUF_MAP_READ,
					  .offset = 0x700000 });
	check_area(f->ioas, 0x102fff,
		   &(struct pfnbuf_area){ .iova = 0x100000,
					  .length = 0x3000,
					  .flags = PFNBUF_MAP_READ,
					  .offset = 0x700000 });
	assert_int_equal(pfnbuf_ioas_next_area(f->ioas, 0x103000, &area), 0);
	expect_unmap(ID, 0, UINT64_MAX, 0x4000, 0);
	assert_int_equal(pfnbuf_ioas_unmap_all(f->ioas, &unmapped), 0);
	assert_int_equal(unmapped, 0x4000);
	mock_done();
}

static int run_map_va(void *object, uint64_t *out)
{
	return pfnbuf_ioas_map_va(object, (void *)0x700000, 0x3000,
				  PFNBUF_MAP_WRITE | PFNBUF_MAP_FIXED, out);
}

static int run_map_va_anywhere(void *object, uint64_t *out)
{
	return pfnbuf_ioas_map_va(object, (void *)0x700000, 0x3000, PFNBUF_MAP_WRITE, out);
}

static int run_map_file(void *object, uint64_t *out)
{
	return pfnbuf_ioas_map_file(object, 99, 0x1000, 0x3000, PFNBUF_MAP_READ | PFNBUF_MAP_FIXED,
				    out);
}

static const struct iommu_ioas_map va_in = {
	.size = sizeof(va_in),
	.flags = IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_FIXED_IOVA,
	.ioas_id = ID,
	.user_va = 0x700000,
	.length = 0x3000,
	.iova = MOCK_PATTERN,
};
static const struct iommu_ioas_map va_anywhere_in = {
	.size = sizeof(va_in),
	.flags = IOMMU_IOAS_MAP_WRITEABLE,
	.ioas_id = ID,
	.user_va = 0x700000,
	.length = 0x3000,
};
static const struct iommu_ioas_map_file file_in = {
	.size = sizeof(file_in),
	.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_FIXED_IOVA,
	.ioas_id = ID,
	.fd = 99,
	.start = 0x1000,
	.length = 0x3000,
	.iova = MOCK_PATTERN,
};

static const struct mock_wrapper map_calls[] = {
	{
		.function = "pfnbuf_ioas_map_va",
		.call = "IOMMU_IOAS_MAP",
		.object = OBJECT,
		.has_range = true,
		.range = { MOCK_PATTERN, 0x3000 },
		.run = run_map_va,
		.made = IOMMUFD_IOCTL(IOMMU_IOAS_MAP, MOCK_STRUCT(va_in)),
		.codes = { EINVAL, EEXIST, EOVERFLOW, EFAULT, ENOMEM, ENOENT },
	},
	{
		.function = "pfnbuf_ioas_map_va",
		.call = "IOMMU_IOAS_MAP",
		.object = OBJECT,
		.run = run_map_va_anywhere,
		.made = IOMMUFD_IOCTL(IOMMU_IOAS_MAP, MOCK_STRUCT(va_anywhere_in)),
		.codes = { ENOSPC, EINVAL, EFAULT, ENOMEM },
	},
	{
		.function = "pfnbuf_ioas_map_file",
		.call = "IOMMU_IOAS_MAP_FILE",
		.object = OBJECT,
		.has_range = true,
		.range = { MOCK_PATTERN, 0x3000 },
		.run = run_map_file,
		.made = IOMMUFD_IOCTL(IOMMU_IOAS_MAP_FILE, MOCK_STRUCT(file_in)),
		.codes = { EBADF, EINVAL, EEXIST, EOVERFLOW, ENOSPC, EFAULT, ENOMEM, ENOENT,
			   ENOTTY },
	},
};

static void map_errnos(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_area area;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(map_calls); i++)
		mock_try_errnos(&map_calls[i], f->ioas);
	assert_int_equal(pfnbuf_ioas_next_area(f->ioas, 0, &area), 0);
}

/* Refused before the kernel is asked. */
static void map_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t iova = 0;
	void *va = (void *)0x1000;

	assert_fails("pfnbuf_ioas_map_va", pfnbuf_ioas_map_va(f->ioas, va, 1, 1u << 7 | 1, &iova),
		     EINVAL, "IOMMU_IOAS_MAP", OBJECT, NULL);
	assert_fails("pfnbuf_ioas_map_va", pfnbuf_ioas_map_va(f->ioas, va, 1, 0, &iova), EINVAL,
		     "IOMMU_IOAS_MAP", OBJECT, NULL);
	assert_fails("pfnbuf_ioas_map_va", pfnbuf_ioas_map_va(f->ioas, va, 0, 1, &iova), EINVAL,
		     "IOMMU_IOAS_MAP", OBJECT, NULL);
	assert_fails("pfnbuf_ioas_map_va", pfnbuf_ioas_map_va(f->ioas, NULL, 1, 1, &iova), EINVAL,
		     "IOMMU_IOAS_MAP", OBJECT, NULL);
	assert_fails("pfnbuf_ioas_map_va", pfnbuf_ioas_map_va(f->ioas, va, 1, 1, NULL), EINVAL,
		     "IOMMU_IOAS_MAP", OBJECT, NULL);
	assert_fails("pfnbuf_ioas_map_file", pfnbuf_ioas_map_file(f->ioas, 9, 0, 0, 1, &iova),
		     EINVAL, "IOMMU_IOAS_MAP_FILE", OBJECT, NULL);
	assert_fails("pfnbuf_ioas_map_buf", pfnbuf_ioas_map_buf(f->ioas, NULL, 0, 1, 1, &iova),
		     EINVAL, "IOMMU_IOAS_MAP_FILE", OBJECT, NULL);
	assert_fails("pfnbuf_ioas_copy", pfnbuf_ioas_copy(f->ioas, NULL, 0, 1, 1, &iova), EINVAL,
		     "IOMMU_IOAS_COPY", OBJECT, NULL);
	mock_done();
}

/* The ledger knows what is in the way, and says so. */
static void names_what_is_in_the_way(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_range range = { 0x3000, 0x3000 };
	const struct iommu_ioas_map in = {
		.size = sizeof(in),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = ID,
		.user_va = 0x900000,
		.length = 0x3000,
		.iova = 0x3000,
	};
	uint64_t iova = 0x3000;

	map_fixed(f->ioas, 0x700000, 0x2000, 0x5000);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_MAP,
			MOCK_STRUCT(in), .result = -EEXIST);
	assert_fails("pfnbuf_ioas_map_va",
		     pfnbuf_ioas_map_va(f->ioas, (void *)0x900000, 0x3000,
					PFNBUF_MAP_READ | PFNBUF_MAP_FIXED, &iova),
		     EEXIST, "IOMMU_IOAS_MAP", OBJECT, &range);
	assert_non_null(strstr(pfnbuf_last_error(), "0x5000+0x2000"));
	unmap_everything(f->ioas);
}

static void map_file_and_buf(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *buf = fixture_buf(f->ctx, 55, PFNBUF_MEMFD, 0x10000);
	uint64_t iova = 0x20000;

	expect_map_file(ID, 99, 0x1000, 0x3000, FIXED_RW, 0x20000, 0);
	assert_int_equal(pfnbuf_ioas_map_file(f->ioas, 99, 0x1000, 0x3000, 7, &iova), 0);
	iova = 0x40000;
	expect_map_file(ID, 55, 0xe000, 0x2000, FIXED_RW, 0x40000, 0);
	assert_int_equal(pfnbuf_ioas_map_buf(f->ioas, buf, 0xe000, 0x2000, 7, &iova), 0);
	check_area(f->ioas, 0,
		   &(struct pfnbuf_area){
			   .iova = 0x20000, .length = 0x3000, .flags = 3, .offset = 0x1000 });
	check_area(f->ioas, 0x23000,
		   &(struct pfnbuf_area){ .iova = 0x40000,
					  .length = 0x2000,
					  .flags = 3,
					  .buf = buf,
					  .offset = 0xe000,
					  .generation = 1 });

	assert_true(pfnbuf_ioas_maps_buf(f->ioas, buf, 0xf000, 0x1000));
	assert_true(pfnbuf_ioas_maps_buf(f->ioas, buf, 0, 0xe001));
	assert_true(pfnbuf_ioas_maps_buf(f->ioas, buf, 0, 0x10000));
	assert_true(pfnbuf_ioas_maps_buf(f->ioas, buf, 0xe800, 1));
	assert_false(pfnbuf_ioas_maps_buf(f->ioas, buf, 0, 0xe000));

	/* The area holds the buffer: its fd is closed when the last area goes. */
	assert_null(pfnbuf_buf_unref(buf));
	mock_done();
	expect_unmap(ID, 0x20000, 0x22000, 0x5000, 0);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = 55);
	assert_int_equal(pfnbuf_ioas_unmap(f->ioas, 0x20000, 0x22000, NULL), 0);
	mock_done();
}

static int run_map_buf(void *object, uint64_t *out)
{
	struct pfnbuf_buf **of = object;

	return pfnbuf_ioas_map_buf((void *)of[0], of[1], 0x1000, 0x2000,
				   PFNBUF_MAP_READ | PFNBUF_MAP_FIXED, out);
}

static const struct iommu_ioas_map_file buf_in = {
	.size = sizeof(buf_in),
	.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_FIXED_IOVA,
	.ioas_id = ID,
	.fd = 56,
	.start = 0x1000,
	.length = 0x2000,
	.iova = MOCK_PATTERN,
};

static const struct mock_wrapper map_buf_calls[] = {
	/* The place is to blame ... */
	{
		.function = "pfnbuf_ioas_map_buf",
		.call = "IOMMU_IOAS_MAP_FILE",
		.object = OBJECT,
		.has_range = true,
		.range = { MOCK_PATTERN, 0x2000 },
		.run = run_map_buf,
		.made = IOMMUFD_IOCTL(IOMMU_IOAS_MAP_FILE, MOCK_STRUCT(buf_in)),
		.codes = { EINVAL, EEXIST, EOVERFLOW, ENOSPC, EFAULT, ENOMEM, ENOENT, ENOTTY },
	},
	/* ... or the buffer. */
	{
		.function = "pfnbuf_ioas_map_buf",
		.call = "IOMMU_IOAS_MAP_FILE",
		.object = "dma-buf 56",
		.has_range = true,
		.range = { 0x1000, 0x2000 },
		.run = run_map_buf,
		.made = IOMMUFD_IOCTL(IOMMU_IOAS_MAP_FILE, MOCK_STRUCT(buf_in)),
		.codes = { ENODEV, EOPNOTSUPP, EBADF },
	},
};

static void map_buf_errnos(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *buf = fixture_buf(f->ctx, 56, PFNBUF_DMA_BUF, 0x10000);
	void *of[] = { f->ioas, buf };
	struct pfnbuf_area area;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(map_buf_calls); i++)
		mock_try_errnos(&map_buf_calls[i], of);
	assert_int_equal(pfnbuf_ioas_next_area(f->ioas, 0, &area), 0);
	/* A failed map has given its reference back. */
	fixture_unref(buf);
}

static void map_buf_refused(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *memfd = fixture_buf(f->ctx, 57, PFNBUF_MEMFD, 0x4000);
	struct pfnbuf_buf *gmem = fixture_buf(f->ctx, 58, PFNBUF_GUEST_MEMFD, 0x4000);
	const struct pfnbuf_range beyond = { 0x3000, 0x2000 },
				  wraps = { 0x3000, -UINT64_C(0x1000) };
	const struct pfnbuf_range fits = { 0, 0x1000 };
	uint64_t iova = 0;

	assert_fails("pfnbuf_ioas_map_buf",
		     pfnbuf_ioas_map_buf(f->ioas, memfd, 0x3000, 0x2000, 1, &iova), EINVAL,
		     "IOMMU_IOAS_MAP_FILE", "memfd 57", &beyond);
	assert_fails("pfnbuf_ioas_map_buf",
		     pfnbuf_ioas_map_buf(f->ioas, memfd, wraps.offset, wraps.length, 1, &iova),
		     EOVERFLOW, "IOMMU_IOAS_MAP_FILE", "memfd 57", &wraps);
	assert_fails("pfnbuf_ioas_map_buf", pfnbuf_ioas_map_buf(f->ioas, gmem, 0, 0x1000, 1, &iova),
		     EINVAL, "IOMMU_IOAS_MAP_FILE", "guest_memfd 58", &fits);
	mock_done();
	fixture_unref(memfd);
	fixture_unref(gmem);
}

/* ---------------------------------------------------------------- copying ------------------- */

static void expect_copy(const struct iommu_ioas_copy *in, uint64_t iova)
{
	static struct iommu_ioas_copy out[4];
	static unsigned next;
	unsigned i = next++ % 4;

	out[i] = *in;
	out[i].dst_iova = iova;
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_COPY,
			MOCK_STRUCT(*in), MOCK_ANSWER(out[i]));
}

/* The kernel makes an area for each area of the source; so does the ledger. */
static void copy_of_several(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *buf = fixture_buf(f->ctx, 55, PFNBUF_MEMFD, 0x10000);
	struct pfnbuf_ioas *other = fixture_ioas(f->ctx, 4);
	const struct iommu_ioas_copy in = {
		.size = sizeof(in),
		.flags = IOMMU_IOAS_MAP_READABLE,
		.dst_ioas_id = 4,
		.src_ioas_id = ID,
		.length = 0x3800,
		.src_iova = 0x10800,
	};
	uint64_t iova = 0x10000;

	map_fixed(f->ioas, 0x700000, 0x1000, 0x10000);
	iova = 0x11000;
	expect_map_file(ID, 55, 0x4000, 0x2000, FIXED_RW, 0x11000, 0);
	assert_int_equal(pfnbuf_ioas_map_buf(f->ioas, buf, 0x4000, 0x2000, 7, &iova), 0);
	map_fixed(f->ioas, 0x900000, 0x2000, 0x13000);

	expect_copy(&in, 0x50000);
	assert_int_equal(pfnbuf_ioas_copy(other, f->ioas, 0x10800, 0x3800, PFNBUF_MAP_READ, &iova),
			 0);
	assert_int_equal(iova, 0x50000);
	check_area(other, 0,
		   &(struct pfnbuf_area){
			   .iova = 0x50000, .length = 0x800, .flags = 1, .offset = 0x700800 });
	check_area(other, 0x50800,
		   &(struct pfnbuf_area){ .iova = 0x50800,
					  .length = 0x2000,
					  .flags = 1,
					  .buf = buf,
					  .offset = 0x4000,
					  .generation = 1 });
	check_area(other, 0x52800,
		   &(struct pfnbuf_area){
			   .iova = 0x52800, .length = 0x1000, .flags = 1, .offset = 0x900000 });
	fixture_free_ioas(other, true);
	unmap_everything(f->ioas);
	fixture_unref(buf);
}

static void copy_within_one(void **state)
{
	struct fixture *f = *state;
	const struct iommu_ioas_copy in = {
		.size = sizeof(in),
		.flags = FIXED_RW,
		.dst_ioas_id = ID,
		.src_ioas_id = ID,
		.length = 0x1000,
		.dst_iova = 0x80000,
		.src_iova = 0x10000,
	};
	uint64_t iova = 0x80000;

	map_fixed(f->ioas, 0x700000, 0x1000, 0x10000);
	expect_copy(&in, 0x80000);
	assert_int_equal(pfnbuf_ioas_copy(f->ioas, f->ioas, 0x10000, 0x1000, 7, &iova), 0);
	check_area(f->ioas, 0x11000,
		   &(struct pfnbuf_area){
			   .iova = 0x80000, .length = 0x1000, .flags = 3, .offset = 0x700000 });
	unmap_everything(f->ioas);
}

/* What somebody else mapped can be copied; of what it is the ledger knows nothing. */
static void copy_of_unknown(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_ioas *theirs = borrow(f->ctx, 0);
	const struct iommu_ioas_copy in = {
		.size = sizeof(in),
		.flags = IOMMU_IOAS_MAP_READABLE,
		.dst_ioas_id = ID,
		.src_ioas_id = 7,
		.length = 0x3000,
		.src_iova = 0x10000,
	};
	uint64_t iova = 0;

	expect_copy(&in, 0x90000);
	assert_int_equal(pfnbuf_ioas_copy(f->ioas, theirs, 0x10000, 0x3000, 1, &iova), 0);
	check_area(f->ioas, 0,
		   &(struct pfnbuf_area){ .iova = 0x90000, .length = 0x3000, .flags = 1 });
	assert_null(pfnbuf_ioas_free(theirs));
	unmap_everything(f->ioas);
}

static int run_copy(void *object, uint64_t *out)
{
	return pfnbuf_ioas_copy(object, object, 0x10000, 0x1000, PFNBUF_MAP_READ | PFNBUF_MAP_FIXED,
				out);
}

static int run_copy_anywhere(void *object, uint64_t *out)
{
	return pfnbuf_ioas_copy(object, object, 0x10000, 0x1000, PFNBUF_MAP_READ, out);
}

static const struct iommu_ioas_copy copy_in = {
	.size = sizeof(copy_in),
	.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_FIXED_IOVA,
	.dst_ioas_id = ID,
	.src_ioas_id = ID,
	.length = 0x1000,
	.dst_iova = MOCK_PATTERN,
	.src_iova = 0x10000,
};
static const struct iommu_ioas_copy copy_anywhere_in = {
	.size = sizeof(copy_in),
	.flags = IOMMU_IOAS_MAP_READABLE,
	.dst_ioas_id = ID,
	.src_ioas_id = ID,
	.length = 0x1000,
	.src_iova = 0x10000,
};

static const struct mock_wrapper copy_calls[] = {
	{
		.function = "pfnbuf_ioas_copy",
		.call = "IOMMU_IOAS_COPY",
		.object = OBJECT,
		.has_range = true,
		.range = { 0x10000, 0x1000 },
		.run = run_copy,
		.made = IOMMUFD_IOCTL(IOMMU_IOAS_COPY, MOCK_STRUCT(copy_in)),
		.codes = { ENOENT, EPERM },
	},
	{
		.function = "pfnbuf_ioas_copy",
		.call = "IOMMU_IOAS_COPY",
		.object = OBJECT,
		.has_range = true,
		.range = { MOCK_PATTERN, 0x1000 },
		.run = run_copy,
		.made = IOMMUFD_IOCTL(IOMMU_IOAS_COPY, MOCK_STRUCT(copy_in)),
		.codes = { EEXIST, EINVAL, EOVERFLOW, EFAULT, ENOMEM },
	},
	{
		.function = "pfnbuf_ioas_copy",
		.call = "IOMMU_IOAS_COPY",
		.object = OBJECT,
		.run = run_copy_anywhere,
		.made = IOMMUFD_IOCTL(IOMMU_IOAS_COPY, MOCK_STRUCT(copy_anywhere_in)),
		.codes = { ENOSPC },
	},
};

static void copy_errnos(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_range wraps = { UINT64_MAX, 2 };
	uint64_t iova = 0;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(copy_calls); i++)
		mock_try_errnos(&copy_calls[i], f->ioas);
	assert_fails("pfnbuf_ioas_copy",
		     pfnbuf_ioas_copy(f->ioas, f->ioas, UINT64_MAX, 2, 1, &iova), EOVERFLOW,
		     "IOMMU_IOAS_COPY", OBJECT, &wraps);
}

static void copy_from_another_context(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_ctx *ctx = NULL;
	struct pfnbuf_ioas *ioas = NULL;
	const struct pfnbuf_ctx_opts opts = { .size = sizeof(opts),
					      .kernel = mock_kernel(),
					      .iommufd = 21 };
	const struct iommu_ioas_iova_ranges in = { .size = sizeof(in), .ioas_id = 1 };
	uint64_t iova = 0;

	mock_expect_one(.kind = MOCK_EPOLL_CREATE, .result = 110);
	mock_expect_one(.kind = MOCK_EVENTFD, .request = EFD_CLOEXEC | EFD_NONBLOCK, .result = 111);
	mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = 110, .mode = 1, .target = 111);
	assert_int_equal(pfnbuf_ctx_new(&ctx, &opts), 0);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = 21, .request = IOMMU_IOAS_IOVA_RANGES,
			MOCK_STRUCT(in));
	assert_int_equal(pfnbuf_ioas_from_id(ctx, 1, &ioas), 0);
	assert_fails("pfnbuf_ioas_copy", pfnbuf_ioas_copy(f->ioas, ioas, 0, 1, 1, &iova), EINVAL,
		     "IOMMU_IOAS_COPY", "ioas 1", NULL);
	mock_done();
	pfnbuf_ioas_free(ioas);
	mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = 110, .mode = 2, .target = 111);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = 111);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = 110);
	pfnbuf_ctx_free(ctx);
	mock_done();
}

/* ---------------------------------------------------------------- unmapping ----------------- */

static void unmap_refuses_to_cut(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_range cuts[] = {
		{ 0x11000, 0x1000 },  /* inside */
		{ 0x10000, 0x2000 },  /* its front */
		{ 0x11000, 0x10000 }, /* its back, and all of the next */
		{ 0, 0x10001 },	      /* its first byte */
		{ 0x10000, 0x10001 }, /* all of it, and the next one's first byte */
	};

	map_fixed(f->ioas, 0x700000, 0x3000, 0x10000);
	map_fixed(f->ioas, 0x800000, 0x1000, 0x20000);
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(cuts); i++) {
		uint64_t unmapped = 42;

		assert_fails("pfnbuf_ioas_unmap",
			     pfnbuf_ioas_unmap(f->ioas, cuts[i].offset, cuts[i].length, &unmapped),
			     ENOENT, "IOMMU_IOAS_UNMAP", OBJECT, &cuts[i]);
		assert_non_null(
			strstr(pfnbuf_last_error(), i < 4 ? "0x10000+0x3000" : "0x20000+0x1000"));
		assert_int_equal(unmapped, 42);
	}
	mock_done();
	unmap_everything(f->ioas);
}

static void unmap_ranges(void **state)
{
	struct fixture *f = *state;
	uint64_t unmapped = 0;
	struct pfnbuf_area area;

	for (uint64_t i = 1; i <= 4; i++)
		map_fixed(f->ioas, 0x700000, 0x1000, i << 16);
	/* With holes in front, between and behind. */
	expect_unmap(ID, 0x18000, 0x20000, 0x2000, 0);
	assert_int_equal(pfnbuf_ioas_unmap(f->ioas, 0x18000, 0x20000, &unmapped), 0);
	assert_int_equal(unmapped, 0x2000);
	assert_int_equal(pfnbuf_ioas_next_area(f->ioas, 0x11000, &area), 1);
	assert_int_equal(area.iova, 0x40000);
	unmap_everything(f->ioas);
}

static int run_unmap(void *object, uint64_t *out)
{
	return pfnbuf_ioas_unmap(object, 0x10000, 0x3000, out);
}

static const struct iommu_ioas_unmap unmap_in = {
	.size = sizeof(unmap_in), .ioas_id = ID, .iova = 0x10000, .length = 0x3000
};
static const struct mock_wrapper unmap_call = {
	.function = "pfnbuf_ioas_unmap",
	.call = "IOMMU_IOAS_UNMAP",
	.object = OBJECT,
	.has_range = true,
	.range = { 0x10000, 0x3000 },
	.run = run_unmap,
	.made = IOMMUFD_IOCTL(IOMMU_IOAS_UNMAP, MOCK_STRUCT(unmap_in)),
	.codes = { EBUSY, EDEADLK, EINTR },
};

static int run_unmap_all(void *object, uint64_t *out)
{
	return pfnbuf_ioas_unmap_all(object, out);
}

static const struct iommu_ioas_unmap unmap_all_in = { .size = sizeof(unmap_in),
						      .ioas_id = ID,
						      .length = UINT64_MAX };
static const struct mock_wrapper unmap_all_call = {
	.function = "pfnbuf_ioas_unmap_all",
	.call = "IOMMU_IOAS_UNMAP",
	.object = OBJECT,
	.has_range = true,
	.range = { 0, UINT64_MAX },
	.run = run_unmap_all,
	.made = IOMMUFD_IOCTL(IOMMU_IOAS_UNMAP, MOCK_STRUCT(unmap_all_in)),
	.codes = { EBUSY, EDEADLK },
};

static void unmap_errnos(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_range empty = { 0x10000, 0 }, wraps = { 0x10000, UINT64_MAX };
	const struct pfnbuf_range nothing = { 0x50000, 0x1000 }, all = { 0, UINT64_MAX };

	map_fixed(f->ioas, 0x700000, 0x3000, 0x10000);
	mock_try_errnos(&unmap_call, f->ioas);
	mock_try_errnos(&unmap_all_call, f->ioas);
	check_area(f->ioas, 0,
		   &(struct pfnbuf_area){
			   .iova = 0x10000, .length = 0x3000, .flags = 3, .offset = 0x700000 });
	assert_fails("pfnbuf_ioas_unmap", pfnbuf_ioas_unmap(f->ioas, 0x10000, 0, NULL), EINVAL,
		     "IOMMU_IOAS_UNMAP", OBJECT, &empty);
	assert_fails("pfnbuf_ioas_unmap", pfnbuf_ioas_unmap(f->ioas, 0x10000, UINT64_MAX, NULL),
		     EOVERFLOW, "IOMMU_IOAS_UNMAP", OBJECT, &wraps);
	expect_unmap(ID, 0x50000, 0x1000, 0, -ENOENT);
	assert_fails("pfnbuf_ioas_unmap", pfnbuf_ioas_unmap(f->ioas, 0x50000, 0x1000, NULL), ENOENT,
		     "IOMMU_IOAS_UNMAP", OBJECT, &nothing);
	unmap_everything(f->ioas);
	/* Unmapping all of nothing is an error only where a range was meant. */
	unmap_everything(f->ioas);
	expect_unmap(ID, 0, UINT64_MAX, 0, 0);
	assert_fails("pfnbuf_ioas_unmap", pfnbuf_ioas_unmap(f->ioas, 0, UINT64_MAX, NULL), ENOENT,
		     "IOMMU_IOAS_UNMAP", OBJECT, &all);
	mock_done();
}

/* That an area of the ledger is not there is believed the third time. */
static void expect_gone(uint32_t id, uint64_t iova, uint64_t length)
{
	for (int i = 0; i < 3; i++)
		expect_unmap(id, iova, length, 0, -ENOENT);
}

/* A kernel that injects faults does not find an IOAS that is there: no area is forgotten for it. */
static void unmap_of_what_is_said_to_be_gone(void **state)
{
	struct fixture *f = *state;
	uint64_t unmapped;

	for (uint64_t i = 1; i <= 3; i++)
		map_fixed(f->ioas, 0x700000, 0x1000, i << 16);
	expect_unmap(ID, 0x10000, 0x30000, 0, -ENOENT);
	expect_unmap(ID, 0x10000, 0x1000, 0x1000, 0);
	expect_unmap(ID, 0x20000, 0x1000, 0, -ENOENT);
	expect_unmap(ID, 0x20000, 0x1000, 0, -ENOENT);
	expect_unmap(ID, 0x20000, 0x1000, 0x1000, 0);
	expect_unmap(ID, 0x30000, 0x1000, 0x1000, 0);
	assert_int_equal(pfnbuf_ioas_unmap(f->ioas, 0x10000, 0x30000, &unmapped), 0);
	assert_int_equal(unmapped, 0x3000);
	mock_done();
}

/* The kernel gives up half-way and does not say where: the library finds out. */
static void unmap_half_way(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_range second = { 0x20000, 0x1000 };
	uint64_t unmapped = 42;
	struct pfnbuf_area area;

	for (uint64_t i = 1; i <= 3; i++)
		map_fixed(f->ioas, 0x700000, 0x1000, i << 16);
	expect_unmap(ID, 0x10000, 0x30000, 0, -EBUSY);
	expect_gone(ID, 0x10000, 0x1000);
	expect_unmap(ID, 0x20000, 0x1000, 0, -EBUSY); /* this is the one */
	assert_fails("pfnbuf_ioas_unmap", pfnbuf_ioas_unmap(f->ioas, 0x10000, 0x30000, &unmapped),
		     EBUSY, "IOMMU_IOAS_UNMAP", OBJECT, &second);
	assert_int_equal(unmapped, 42);
	assert_int_equal(pfnbuf_ioas_next_area(f->ioas, 0, &area), 1);
	assert_int_equal(area.iova, 0x20000);
	mock_done();

	/* The one that was busy is free again when it is asked for. */
	expect_unmap(ID, 0, UINT64_MAX, 0, -EBUSY);
	expect_unmap(ID, 0x20000, 0x1000, 0x1000, 0);
	expect_unmap(ID, 0x30000, 0x1000, 0x1000, 0);
	assert_int_equal(pfnbuf_ioas_unmap_all(f->ioas, &unmapped), 0);
	assert_int_equal(unmapped, 0x2000);
	mock_done();
}

/* Somebody with the id unmapped behind our back. */
static void unmapped_by_somebody_else(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_range range = { 0x10000, 0x1000 };

	map_fixed(f->ioas, 0x700000, 0x1000, 0x10000);
	expect_unmap(ID, 0x10000, 0x1000, 0, -ENOENT);
	expect_gone(ID, 0x10000, 0x1000);
	assert_fails("pfnbuf_ioas_unmap", pfnbuf_ioas_unmap(f->ioas, 0x10000, 0x1000, NULL), ENOENT,
		     "IOMMU_IOAS_UNMAP", OBJECT, &range);

	/* And here mapping tells: the kernel has room where the ledger has an area. */
	map_fixed(f->ioas, 0x700000, 0x4000, 0x10000);
	map_fixed(f->ioas, 0x800000, 0x1000, 0x12000);
	check_area(f->ioas, 0,
		   &(struct pfnbuf_area){
			   .iova = 0x12000, .length = 0x1000, .flags = 3, .offset = 0x800000 });
	unmap_everything(f->ioas);
}

/* In an IOAS of somebody else's only what was mapped through the object is unmapped. */
static void borrowed(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_ioas *ioas = borrow(f->ctx, -EMSGSIZE);
	const struct pfnbuf_range nothing = { 0x90000, 0x1000 }, second = { 0x20000, 0x1000 };
	uint64_t iova, unmapped = 0;

	for (uint64_t i = 1; i <= 3; i++) {
		iova = i << 16;
		expect_map_file(7, 99, 0, 0x1000, FIXED_RW, iova, 0);
		assert_int_equal(pfnbuf_ioas_map_file(ioas, 99, 0, 0x1000, 7, &iova), 0);
	}
	assert_fails("pfnbuf_ioas_unmap", pfnbuf_ioas_unmap(ioas, 0x90000, 0x1000, NULL), ENOENT,
		     "IOMMU_IOAS_UNMAP", "ioas 7", &nothing);
	expect_unmap(7, 0x10000, 0x1000, 0x1000, 0);
	expect_unmap(7, 0x20000, 0x1000, 0, -EBUSY);
	assert_fails("pfnbuf_ioas_unmap_all", pfnbuf_ioas_unmap_all(ioas, NULL), EBUSY,
		     "IOMMU_IOAS_UNMAP", "ioas 7", &second);
	expect_unmap(7, 0x20000, 0x1000, 0x1000, 0);
	assert_int_equal(pfnbuf_ioas_unmap(ioas, 0, 0x30000, &unmapped), 0);
	assert_int_equal(unmapped, 0x1000);
	mock_done();

	expect_unmap(7, 0x30000, 0x1000, 0, -EBUSY);
	assert_null(pfnbuf_ioas_free(ioas));
	mock_logged(PFNBUF_LOG_ERROR, "IOMMU_IOAS_UNMAP on ioas 7 at 0x30000+0x1000: EBUSY");
	mock_done();
}

static void end_unmaps(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_ioas *ioas = fixture_ioas(f->ctx, 5);
	struct pfnbuf_buf *buf = fixture_buf(f->ctx, 55, PFNBUF_MEMFD, 0x10000);
	uint64_t iova = 0x1000;

	expect_map_file(5, 55, 0, 0x1000, FIXED_RW, 0x1000, 0);
	assert_int_equal(pfnbuf_ioas_map_buf(ioas, buf, 0, 0x1000, 7, &iova), 0);
	fixture_free_ioas(ioas, true);
	fixture_unref(buf);
}

/* ---------------------------------------------------------------- revocation ---------------- */

struct revoked {
	struct pfnbuf_device *device;
	struct pfnbuf_buf *buf;
};

static void map_export(struct pfnbuf_ioas *ioas, struct pfnbuf_buf *buf, uint64_t offset,
		       uint64_t iova)
{
	uint64_t where = iova;

	expect_map_file(ID, BUF_FD, offset, 0x1000, FIXED_RW, iova, 0);
	assert_int_equal(pfnbuf_ioas_map_buf(ioas, buf, offset, 0x1000, 7, &where), 0);
	mock_done();
}

static struct revoked make_areas(struct fixture *f)
{
	struct revoked r = { .device = fixture_device(f->ctx) };

	r.buf = fixture_export(r.device, BUF_FD, 0x10000);
	map_export(f->ioas, r.buf, 0, 0x10000);
	map_export(f->ioas, r.buf, 0x1000, 0x20000);
	map_fixed(f->ioas, 0x700000, 0x1000, 0x30000);
	return r;
}

static void reset(struct pfnbuf_device *device, bool first)
{
	if (first)
		fixture_expect_event();
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_RESET);
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_reset(device), 0);
	mock_done();
}

static void end_areas(struct fixture *f, struct revoked *r)
{

	unmap_everything(f->ioas);
	fixture_unref(r->buf);
	fixture_pop_all(f->ctx);
	mock_done();
	fixture_expect_close(true, false);
	assert_null(pfnbuf_device_close(r->device));
	fixture_pop_all(f->ctx);
	mock_done();
}

static unsigned count_dead(struct pfnbuf_ioas *ioas)
{
	struct pfnbuf_area area;
	unsigned n = 0;

	for (uint64_t at = 0; pfnbuf_ioas_next_area(ioas, at, &area); at = area.iova + area.length)
		n += area.dead;
	return n;
}

/* Areas that died next to each other go with one call. */
static void restores(void **state)
{
	struct fixture *f = *state;
	struct revoked r = make_areas(f);

	assert_int_equal(count_dead(f->ioas), 0);
	/* Nothing is dead, nothing is done. */
	assert_int_equal(pfnbuf_device_restore(r.device), 0);
	mock_done();
	reset(r.device, true);
	assert_int_equal(count_dead(f->ioas), 2);

	expect_unmap(ID, 0x10000, 0x11000, 0x2000, 0);
	expect_map_file(ID, BUF_FD, 0, 0x1000, FIXED_RW, 0x10000, 0);
	expect_map_file(ID, BUF_FD, 0x1000, 0x1000, FIXED_RW, 0x20000, 0);
	assert_int_equal(pfnbuf_device_restore(r.device), 0);
	mock_done();
	check_area(f->ioas, 0x20000,
		   &(struct pfnbuf_area){ .iova = 0x20000,
					  .length = 0x1000,
					  .flags = 3,
					  .buf = r.buf,
					  .offset = 0x1000,
					  .generation = 2 });
	assert_int_equal(count_dead(f->ioas), 0);
	end_areas(f, &r);
}

/* An area that was unmapped and could not be mapped keeps its place, and is tried again. */
static void restore_half_way(void **state)
{
	struct fixture *f = *state;
	struct revoked r = make_areas(f);
	const struct pfnbuf_range source = { 0x1000, 0x1000 }, wanted = { 0x20000, 0x1000 };
	const struct pfnbuf_range front = { 0, 0x1000 };
	const int codes[] = { EEXIST, EINVAL, ENOMEM, ENOENT };
	uint64_t iova = 0x20000, unmapped = 42;

	reset(r.device, true);
	expect_unmap(ID, 0x10000, 0x11000, 0x2000, 0);
	expect_map_file(ID, BUF_FD, 0, 0x1000, FIXED_RW, 0x10000, 0);
	expect_map_file(ID, BUF_FD, 0x1000, 0x1000, FIXED_RW, 0x20000, -EOPNOTSUPP);
	assert_fails("pfnbuf_device_restore", pfnbuf_device_restore(r.device), EOPNOTSUPP,
		     "IOMMU_IOAS_MAP_FILE", pfnbuf_buf_name(r.buf), &source);
	assert_int_equal(count_dead(f->ioas), 1);
	mock_done();

	/* Its addresses are nobody else's meanwhile. */
	assert_fails("pfnbuf_ioas_map_va",
		     pfnbuf_ioas_map_va(f->ioas, (void *)0x700000, 0x1000, 1, &iova), EBUSY,
		     "IOMMU_IOAS_MAP", OBJECT, NULL);
	assert_fails("pfnbuf_ioas_map_file", pfnbuf_ioas_map_file(f->ioas, 99, 0, 0x1000, 1, &iova),
		     EBUSY, "IOMMU_IOAS_MAP_FILE", OBJECT, NULL);
	assert_fails("pfnbuf_ioas_map_buf",
		     pfnbuf_ioas_map_buf(f->ioas, r.buf, 0, 0x1000, 1, &iova), EBUSY,
		     "IOMMU_IOAS_MAP_FILE", OBJECT, NULL);
	assert_fails("pfnbuf_ioas_copy",
		     pfnbuf_ioas_copy(f->ioas, f->ioas, 0x30000, 0x1000, 1, &iova), EBUSY,
		     "IOMMU_IOAS_COPY", OBJECT, NULL);
	assert_fails("pfnbuf_ioas_map_va",
		     pfnbuf_ioas_map_va(f->ioas, (void *)0x700000, 0x1000, 5, &iova), EEXIST,
		     "IOMMU_IOAS_MAP", OBJECT, &wanted);
	map_fixed(f->ioas, 0x700000, 0x1000, 0x40000);

	/* Again: no UNMAP this time. It fails in every way, then works. */
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		expect_map_file(ID, BUF_FD, 0x1000, 0x1000, FIXED_RW, 0x20000, -codes[i]);
		assert_fails("pfnbuf_device_restore", pfnbuf_device_restore(r.device), codes[i],
			     "IOMMU_IOAS_MAP_FILE", OBJECT, &wanted);
		assert_int_equal(count_dead(f->ioas), 1);
	}
	expect_map_file(ID, BUF_FD, 0x1000, 0x1000, FIXED_RW, 0x20000, 0);
	assert_int_equal(pfnbuf_device_restore(r.device), 0);
	assert_int_equal(count_dead(f->ioas), 0);
	/* And the kernel may choose again. */
	expect_map(0x700000, 0x1000, IOMMU_IOAS_MAP_READABLE, 0, 0x60000);
	assert_int_equal(pfnbuf_ioas_map_va(f->ioas, (void *)0x700000, 0x1000, 1, &iova), 0);
	mock_done();

	/* The user gives up instead: the kernel has nothing to unmap. */
	reset(r.device, false);
	expect_unmap(ID, 0x10000, 0x11000, 0x2000, 0);
	expect_map_file(ID, BUF_FD, 0, 0x1000, FIXED_RW, 0x10000, -ENODEV);
	assert_fails("pfnbuf_device_restore", pfnbuf_device_restore(r.device), ENODEV,
		     "IOMMU_IOAS_MAP_FILE", pfnbuf_buf_name(r.buf), &front);
	assert_int_equal(pfnbuf_ioas_unmap(f->ioas, 0x10000, 0x1000, &unmapped), 0);
	assert_int_equal(unmapped, 0);
	mock_done();
	end_areas(f, &r);
}

static void restore_cannot_unmap(void **state)
{
	struct fixture *f = *state;
	struct revoked r = make_areas(f);
	const struct pfnbuf_range first = { 0x10000, 0x1000 };
	const int codes[] = { EBUSY, EDEADLK };

	reset(r.device, true);
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		/* Both at once; then one by one, to find out which is held. */
		expect_unmap(ID, 0x10000, 0x11000, 0, -codes[i]);
		expect_unmap(ID, 0x10000, 0x1000, 0, -codes[i]);
		assert_fails("pfnbuf_device_restore", pfnbuf_device_restore(r.device), codes[i],
			     "IOMMU_IOAS_UNMAP", OBJECT, &first);
		assert_int_equal(count_dead(f->ioas), 2);
	}
	end_areas(f, &r);
}

/* In an IOAS of somebody else's, too, an area that the kernel does not have is not unmapped. */
static void absent_in_a_borrowed_one(void **state)
{
	struct fixture *f = *state;
	struct revoked r = make_areas(f);
	struct pfnbuf_ioas *theirs = borrow(f->ctx, 0);
	const struct pfnbuf_range source = { 0, 0x1000 };
	uint64_t iova = 0x10000, unmapped = 42;

	unmap_everything(f->ioas);
	for (int i = 0; i < 2; i++) {
		expect_map_file(7, BUF_FD, 0, 0x1000, FIXED_RW, 0x10000, 0);
		assert_int_equal(pfnbuf_ioas_map_buf(theirs, r.buf, 0, 0x1000, 7, &iova), 0);
		reset(r.device, !i);
		expect_unmap(7, 0x10000, 0x1000, 0x1000, 0);
		expect_map_file(7, BUF_FD, 0, 0x1000, FIXED_RW, 0x10000, -EOPNOTSUPP);
		assert_fails("pfnbuf_device_restore", pfnbuf_device_restore(r.device), EOPNOTSUPP,
			     "IOMMU_IOAS_MAP_FILE", pfnbuf_buf_name(r.buf), &source);
		mock_done();
		if (!i) {
			assert_int_equal(pfnbuf_ioas_unmap(theirs, 0x10000, 0x1000, &unmapped), 0);
			assert_int_equal(unmapped, 0);
		}
	}
	assert_null(pfnbuf_ioas_free(theirs));
	mock_done();
	end_areas(f, &r);
}

/* A copy shares the fate of its source, and is restored by itself. */
static void copies_die_and_are_restored(void **state)
{
	struct fixture *f = *state;
	struct revoked r = make_areas(f);
	const struct iommu_ioas_copy in = {
		.size = sizeof(in),
		.flags = FIXED_RW,
		.dst_ioas_id = ID,
		.src_ioas_id = ID,
		.length = 0x800,
		.dst_iova = 0x80000,
		.src_iova = 0x20400,
	};
	uint64_t iova = 0x80000;

	reset(r.device, true);
	expect_copy(&in, 0x80000);
	assert_int_equal(pfnbuf_ioas_copy(f->ioas, f->ioas, 0x20400, 0x800, 7, &iova), 0);
	check_area(f->ioas, 0x80000,
		   &(struct pfnbuf_area){ .iova = 0x80000,
					  .length = 0x800,
					  .flags = 3,
					  .buf = r.buf,
					  .offset = 0x1400,
					  .generation = 1,
					  .dead = true });
	expect_unmap(ID, 0x10000, 0x11000, 0x2000, 0);
	expect_map_file(ID, BUF_FD, 0, 0x1000, FIXED_RW, 0x10000, 0);
	expect_map_file(ID, BUF_FD, 0x1000, 0x1000, FIXED_RW, 0x20000, 0);
	expect_unmap(ID, 0x80000, 0x800, 0x800, 0);
	expect_map_file(ID, BUF_FD, 0x1400, 0x800, FIXED_RW, 0x80000, 0);
	assert_int_equal(pfnbuf_device_restore(r.device), 0);
	assert_int_equal(count_dead(f->ioas), 0);
	end_areas(f, &r);
}

/* While a bind has the device, nobody maps its buffers; what somebody else has is not its business. */
static void of_a_lent_device(void **state)
{
	struct fixture *f = *state;
	struct revoked r = make_areas(f);
	const struct iommu_ioas_copy in = {
		.size = sizeof(in),
		.flags = FIXED_RW,
		.dst_ioas_id = ID,
		.src_ioas_id = ID,
		.length = 0x1000,
		.dst_iova = 0x80000,
		.src_iova = 0x10000,
	};
	struct iommu_ioas_copy other = in;
	uint64_t iova = 0x80000;

	pfnbuf_device_set_lent(r.device, PFNBUF_LENT);
	assert_fails("pfnbuf_ioas_map_buf",
		     pfnbuf_ioas_map_buf(f->ioas, r.buf, 0x2000, 0x1000, 7, &iova), EBUSY,
		     "IOMMU_IOAS_MAP_FILE", OBJECT, (&(struct pfnbuf_range){ 0x80000, 0x1000 }));
	assert_fails("pfnbuf_ioas_copy",
		     pfnbuf_ioas_copy(f->ioas, f->ioas, 0x10000, 0x1000, 7, &iova), EBUSY,
		     "IOMMU_IOAS_COPY", OBJECT, (&(struct pfnbuf_range){ 0x80000, 0x1000 }));
	assert_string_equal(pfnbuf_last_error_record()->hint, "call pfnbuf_bind_unlock() first");
	mock_done();
	expect_copy(&in, 0x80000);
	assert_int_equal(pfnbuf_ioas_copy_lent(f->ioas, f->ioas, 0x10000, 0x1000, 7, &iova), 0);
	iova = other.dst_iova = 0x90000;
	other.src_iova = 0x30000;
	expect_copy(&other, 0x90000);
	assert_int_equal(pfnbuf_ioas_copy(f->ioas, f->ioas, 0x30000, 0x1000, 7, &iova), 0);
	pfnbuf_device_set_lent(r.device, PFNBUF_HOME);
	map_export(f->ioas, r.buf, 0x2000, 0xa0000);
	end_areas(f, &r);
}

/*
 * An import while a revocation is under way came before it or after; nobody can say. It counts as
 * dead, so that a restore makes sure.
 */
static void import_inside_a_bracket(void **state)
{
	struct fixture *f = *state;
	struct revoked r = make_areas(f);

	fixture_expect_event();
	assert_int_equal(pfnbuf_device_revoke_begin(r.device, PFNBUF_CAUSE_FOREIGN), 0);
	map_export(f->ioas, r.buf, 0x2000, 0x50000);
	assert_int_equal(count_dead(f->ioas), 3);
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_revoke_end(r.device), 0);
	assert_int_equal(count_dead(f->ioas), 3);
	expect_unmap(ID, 0x10000, 0x11000, 0x2000, 0);
	expect_map_file(ID, BUF_FD, 0, 0x1000, FIXED_RW, 0x10000, 0);
	expect_map_file(ID, BUF_FD, 0x1000, 0x1000, FIXED_RW, 0x20000, 0);
	expect_unmap(ID, 0x50000, 0x1000, 0x1000, 0);
	expect_map_file(ID, BUF_FD, 0x2000, 0x1000, FIXED_RW, 0x50000, 0);
	assert_int_equal(pfnbuf_device_restore(r.device), 0);
	assert_int_equal(count_dead(f->ioas), 0);
	end_areas(f, &r);
}

static void buffer_of_a_closed_device(void **state)
{
	struct fixture *f = *state;
	struct revoked r = make_areas(f);
	const struct pfnbuf_range source = { 0x3000, 0x1000 };
	uint64_t iova = 0x60000;

	fixture_expect_close(true, false);
	assert_null(pfnbuf_device_close(r.device));
	assert_int_equal(count_dead(f->ioas), 2);
	expect_map_file(ID, BUF_FD, 0x3000, 0x1000, FIXED_RW, 0x60000, -ENODEV);
	assert_fails("pfnbuf_ioas_map_buf",
		     pfnbuf_ioas_map_buf(f->ioas, r.buf, 0x3000, 0x1000, 7, &iova), ENODEV,
		     "IOMMU_IOAS_MAP_FILE", pfnbuf_buf_name(r.buf), &source);
	assert_non_null(strstr(pfnbuf_last_error(), "closed"));
	unmap_everything(f->ioas);
	fixture_unref(r.buf);
	fixture_pop_all(f->ctx);
	mock_done();
}

/* The end of an IOAS detaches the devices that are attached to it. */
static void end_detaches(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_device *device = fixture_device(f->ctx);
	struct pfnbuf_ioas *ioas = fixture_ioas(f->ctx, 6);
	const struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach), .pt_id = 6 };
	const struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD,
			.request = VFIO_DEVICE_ATTACH_IOMMUFD_PT, MOCK_STRUCT(attach));
	assert_int_equal(pfnbuf_device_attach(device, ioas), 0);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD,
			.request = VFIO_DEVICE_DETACH_IOMMUFD_PT, MOCK_STRUCT(detach));
	fixture_free_ioas(ioas, false);
	fixture_close(f->ctx, device);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(new_errnos),
		cmocka_unit_test(without_iommufd),
		TEST(from_id),
		TEST(end_is_logged),
		TEST(iova_ranges),
		TEST(iova_ranges_all_of_it),
		TEST(iova_ranges_in_two_steps),
		TEST(address_errnos),
		TEST(allowed_refused),
		TEST(allowed_and_lifted),
		TEST(huge_pages_and_pa),
		TEST(map_va),
		TEST(map_errnos),
		TEST(map_refused),
		TEST(names_what_is_in_the_way),
		TEST(map_file_and_buf),
		TEST(map_buf_errnos),
		TEST(map_buf_refused),
		TEST(copy_of_several),
		TEST(copy_within_one),
		TEST(copy_of_unknown),
		TEST(copy_errnos),
		TEST(copy_from_another_context),
		TEST(unmap_refuses_to_cut),
		TEST(unmap_ranges),
		TEST(unmap_errnos),
		TEST(unmap_of_what_is_said_to_be_gone),
		TEST(unmap_half_way),
		TEST(unmapped_by_somebody_else),
		TEST(borrowed),
		TEST(end_unmaps),
		TEST(restores),
		TEST(restore_half_way),
		TEST(restore_cannot_unmap),
		TEST(absent_in_a_borrowed_one),
		TEST(copies_die_and_are_restored),
		TEST(of_a_lent_device),
		TEST(import_inside_a_bracket),
		TEST(buffer_of_a_closed_device),
		TEST(end_detaches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
