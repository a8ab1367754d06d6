/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out: what is recorded is allocated before the kernel is asked, so that a call
 * fails with ENOMEM and the kernel unasked, or not at all; and what takes away, revokes or restores
 * needs no memory.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fixture.h"
#include "libpfnbuf/private.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/vfio.h"
#include "starve.h"

struct fixture {
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_vm *vm;
	struct pfnbuf_device *device;
	struct pfnbuf_buf *buf;
};

static int setup(void **state)
{
	static struct fixture f;

	mock_reset();
	f.ctx = fixture_ctx();
	f.ioas = fixture_ioas(f.ctx, 3);
	f.vm = fixture_vm(f.ctx, true);
	f.device = fixture_device(f.ctx);
	f.buf = fixture_export(f.device, BUF_FD, 0x10000);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	starve_end();
	fixture_unref(f->buf);
	fixture_pop_all(f->ctx);
	fixture_close(f->ctx, f->device);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = VM_FD);
	assert_null(pfnbuf_vm_free(f->vm));
	fixture_free_ioas(f->ioas, false);
	fixture_free_ctx(f->ctx);
	return 0;
}

/* With @n allocations the call fails, without the kernel having been asked. */
#define assert_starves(n_, function_, expression_, call_, object_, range_)                         \
	do {                                                                                       \
		int result_;                                                                       \
                                                                                                   \
		starve_from(n_);                                                                   \
		result_ = (expression_);                                                           \
		starve_end();                                                                      \
		assert_fails((function_), result_, ENOMEM, (call_), (object_), (range_));          \
		mock_done();                                                                       \
	} while (0)

#define FIXED_RW (IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

static void expect_map(struct iommu_ioas_map_file *in, uint64_t start, uint64_t iova)
{
	*in = (struct iommu_ioas_map_file){
		.size = sizeof(*in),
		.flags = FIXED_RW,
		.ioas_id = 3,
		.fd = BUF_FD,
		.start = start,
		.length = 0x1000,
		.iova = iova,
	};
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_MAP_FILE,
			MOCK_STRUCT(*in));
}

static void expect_unmap(struct iommu_ioas_unmap *in, uint64_t iova, uint64_t length)
{
	*in = (struct iommu_ioas_unmap){
		.size = sizeof(*in),
		.ioas_id = 3,
		.iova = iova,
		.length = length,
	};
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_UNMAP,
			MOCK_STRUCT(*in));
}

static void map_areas(struct fixture *f)
{
	struct iommu_ioas_map_file in;

	for (uint64_t i = 0; i < 3; i++) {
		uint64_t iova = 0x10000 + i * 0x1000;

		expect_map(&in, i * 0x1000, iova);
		assert_int_equal(pfnbuf_ioas_map_buf(f->ioas, f->buf, i * 0x1000, 0x1000, 7, &iova),
				 0);
	}
	mock_done();
}

static void unmap_areas(struct fixture *f)
{
	struct iommu_ioas_unmap in;

	expect_unmap(&in, 0, UINT64_MAX);
	starve_from(0);
	assert_int_equal(pfnbuf_ioas_unmap_all(f->ioas, NULL), 0);
	starve_end();
	mock_done();
}

static void mapping(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_area area;
	uint64_t iova = 0;

	assert_starves(0, "pfnbuf_ioas_map_va",
		       pfnbuf_ioas_map_va(f->ioas, (void *)0x1000, 0x1000, 1, &iova),
		       "IOMMU_IOAS_MAP", "ioas 3", NULL);
	assert_starves(0, "pfnbuf_ioas_map_file",
		       pfnbuf_ioas_map_file(f->ioas, 99, 0, 0x1000, 1, &iova),
		       "IOMMU_IOAS_MAP_FILE", "ioas 3", NULL);
	assert_starves(0, "pfnbuf_ioas_map_buf",
		       pfnbuf_ioas_map_buf(f->ioas, f->buf, 0, 0x1000, 1, &iova),
		       "IOMMU_IOAS_MAP_FILE", "ioas 3", NULL);
	map_areas(f);
	/* A copy of three areas takes three. */
	for (size_t n = 0; n < 3; n++)
		assert_starves(n, "pfnbuf_ioas_copy",
			       pfnbuf_ioas_copy(f->ioas, f->ioas, 0x10000, 0x3000, 1, &iova),
			       "IOMMU_IOAS_COPY", "ioas 3", NULL);
	assert_int_equal(iova, 0);
	assert_int_equal(pfnbuf_ioas_next_area(f->ioas, 0x13000, &area), 0);
	unmap_areas(f);
}

static void making(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_range range = { 0x1000, 0x1000 };
	struct pfnbuf_ioas *ioas = (void *)1;

	assert_starves(0, "pfnbuf_ioas_new", pfnbuf_ioas_new(f->ctx, &ioas), "IOMMU_IOAS_ALLOC",
		       "iommufd", NULL);
	assert_starves(0, "pfnbuf_ioas_from_id", pfnbuf_ioas_from_id(f->ctx, 9, &ioas),
		       "IOMMU_IOAS_IOVA_RANGES", "ioas 9", NULL);
	assert_starves(0, "pfnbuf_ioas_set_allowed", pfnbuf_ioas_set_allowed(f->ioas, &range, 1),
		       "IOMMU_IOAS_ALLOW_IOVAS", "ioas 3", NULL);
	assert_ptr_equal(ioas, (void *)1);
}

static void vm_records(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_slot slot = { .gpa = 0x1000, .length = 0x1000 };
	const struct pfnbuf_range range = { 0x1000, 0x1000 };
	uint32_t id = 77;

	assert_starves(0, "pfnbuf_vm_set_slot", pfnbuf_vm_set_slot(f->vm, &slot, &id),
		       "KVM_SET_USER_MEMORY_REGION2", "vm 40", NULL);
	/* A span of attributes that is allocated stays: each time there is one more. */
	for (size_t n = 0; n < 3; n++)
		assert_starves(
			n, "pfnbuf_vm_set_attributes",
			pfnbuf_vm_set_attributes(f->vm, 0x1000, 0x1000, PFNBUF_ATTRIBUTE_PRIVATE),
			"KVM_SET_MEMORY_ATTRIBUTES", "vm 40", &range);
	assert_starves(0, "pfnbuf_vm_add_device", pfnbuf_vm_add_device(f->vm, f->device),
		       "KVM_DEV_VFIO_FILE_ADD", DEVICE_NAME, NULL);
	assert_int_equal(id, 77);
	assert_int_equal(pfnbuf_vm_get_free_slots(f->vm), 64);
}

static void expect_attributes(struct kvm_memory_attributes *in, uint64_t gpa, uint64_t length,
			      uint64_t attributes)
{
	*in = (struct kvm_memory_attributes){
		.address = gpa,
		.size = length,
		.attributes = attributes,
	};
	mock_expect_one(.kind = MOCK_IOCTL, .fd = VM_FD, .request = KVM_SET_MEMORY_ATTRIBUTES,
			MOCK_STRUCT(*in));
}

/* Chunks cut in the midst and joined again: what was set is set back without memory. */
static void setting_back(void **state)
{
	static const struct pfnbuf_range steps[] = {
		{ 0x20000000, 0x40000000 }, { 0x27fff000, 0x1000 },    { 0x2ffff000, 0x20002000 },
		{ 0x10001000, 0x1000 },	    { 0x17fff000, 0x8001000 }, { 0x27fff000, 0x1000 },
	};
	static const uint64_t to[] = { 8, 0, 0, 8, 8, 8 };
	const size_t n = sizeof(to) / sizeof(to[0]);
	struct fixture *f = *state;
	struct kvm_memory_attributes in;
	uint64_t attributes, length;

	for (size_t i = 0; i < n; i++) {
		expect_attributes(&in, steps[i].offset, steps[i].length, to[i]);
		assert_int_equal(
			pfnbuf_vm_set_attributes(f->vm, steps[i].offset, steps[i].length, to[i]),
			0);
	}
	starve_from(0);
	for (size_t i = n; i > 0; i--) {
		const struct pfnbuf_range *step = &steps[i - 1];

		expect_attributes(&in, step->offset, step->length, to[i - 1] ^ 8);
		assert_int_equal(pfnbuf_vm_put_back_attributes(f->vm, step->offset, step->length,
							       to[i - 1] ^ 8),
				 0);
	}
	starve_end();
	pfnbuf_vm_get_attributes(f->vm, 0, &attributes, &length);
	assert_int_equal(attributes, 0);
	assert_int_equal(length, UINT64_MAX);
	mock_done();
}

static void bar_mapping(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_range range = { 0, 0x1000 };
	void *addr = (void *)1;

	assert_starves(0, "pfnbuf_device_bar_map",
		       pfnbuf_device_bar_map(f->device, 0, 0, 0x1000, &addr), "mmap of a BAR",
		       DEVICE_NAME, &range);
	assert_ptr_equal(addr, (void *)1);
}

/* The fd that the kernel made is not lost. */
static void export(void **state)
{
	struct fixture *f = *state;
	struct {
		struct vfio_device_feature feature;
		uint32_t region_index, open_flags, flags, nr_ranges;
		struct vfio_region_dma_range range;
	} in = {
		.feature = { .argsz = sizeof(in),
			     .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF },
		.open_flags = 02000002,
		.nr_ranges = 1,
		.range = { 0, 0x1000 },
	};
	const struct pfnbuf_range slice = { 0, 0x1000 };
	struct pfnbuf_buf *buf = (void *)1;

	assert_starves(0, "pfnbuf_device_export",
		       pfnbuf_device_export(f->device, 0, &slice, 1, &buf),
		       "VFIO_DEVICE_FEATURE_DMA_BUF", DEVICE_NAME, &slice);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_FEATURE,
			MOCK_STRUCT(in), .result = 77);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = 77);
	assert_starves(1, "pfnbuf_device_export",
		       pfnbuf_device_export(f->device, 0, &slice, 1, &buf), "allocation", "dma-buf",
		       NULL);
	assert_ptr_equal(buf, (void *)1);
}

/* From the reset to the last area that is back: not one allocation. */
static void revoking_and_restoring(void **state)
{
	struct fixture *f = *state;
	struct iommu_ioas_map_file maps[3];
	struct iommu_ioas_unmap unmap;
	struct pfnbuf_area area;

	map_areas(f);
	fixture_expect_event();
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_RESET);
	fixture_expect_memory(true);
	starve_from(0);
	assert_int_equal(pfnbuf_device_reset(f->device), 0);
	expect_unmap(&unmap, 0x10000, 0x3000);
	for (uint64_t i = 0; i < 3; i++)
		expect_map(&maps[i], i * 0x1000, 0x10000 + i * 0x1000);
	assert_int_equal(pfnbuf_device_restore(f->device), 0);
	assert_int_equal(pfnbuf_ioas_next_area(f->ioas, 0, &area), 1);
	assert_false(area.dead);
	starve_end();
	mock_done();
	unmap_areas(f);
}

static void deleting(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_slot slot = { .gpa = 0x1000, .length = 0x1000 };
	const struct kvm_userspace_memory_region2 set = { .guest_phys_addr = 0x1000,
							  .memory_size = 0x1000 };
	const struct kvm_userspace_memory_region2 gone = { .guest_phys_addr = 0x1000 };

	mock_expect_one(.kind = MOCK_IOCTL, .fd = VM_FD, .request = KVM_SET_USER_MEMORY_REGION2,
			MOCK_STRUCT(set));
	assert_int_equal(pfnbuf_vm_set_slot(f->vm, &slot, NULL), 0);
	starve_from(0);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = VM_FD, .request = KVM_SET_USER_MEMORY_REGION2,
			MOCK_STRUCT(gone));
	assert_int_equal(pfnbuf_vm_delete_slot(f->vm, 0), 0);
	/* The room for its like is still there. */
	mock_expect_one(.kind = MOCK_IOCTL, .fd = VM_FD, .request = KVM_SET_USER_MEMORY_REGION2,
			MOCK_STRUCT(set));
	assert_int_equal(pfnbuf_vm_set_slot(f->vm, &slot, NULL), 0);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = VM_FD, .request = KVM_SET_USER_MEMORY_REGION2,
			MOCK_STRUCT(gone));
	assert_int_equal(pfnbuf_vm_delete_slot(f->vm, 0), 0);
	starve_end();
	mock_done();
}

/* Whichever allocation fails, nothing stays open and nothing is leaked. */
static void context(void **state)
{
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .kernel = mock_kernel() };
	struct pfnbuf_ctx *ctx = (void *)1;

	(void)state;
	mock_reset();
	for (size_t n = 0; n < 2; n++)
		assert_starves(n, "pfnbuf_ctx_new", pfnbuf_ctx_new(&ctx, &opts), "pfnbuf_ctx_new",
			       "context", NULL);
	assert_starves(2, "pfnbuf_ctx_new", pfnbuf_ctx_new(&ctx, &opts), "epoll_create1", "context",
		       NULL);
	assert_ptr_equal(ctx, (void *)1);
}

static void profile_text(void **state)
{
	static const char text[] = "name = x\nbind = none\nprivate = none\n";
	struct pfnbuf_profile *profile = (void *)1;

	(void)state;
	mock_reset();
	assert_starves(0, "pfnbuf_profile_parse",
		       pfnbuf_profile_parse(text, sizeof(text) - 1, &profile, NULL),
		       "pfnbuf_profile_parse", "profile", NULL);
	assert_ptr_equal(profile, (void *)1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(mapping),
		TEST(making),
		TEST(vm_records),
		TEST(setting_back),
		TEST(bar_mapping),
		TEST(export),
		TEST(revoking_and_restoring),
		TEST(deleting),
		cmocka_unit_test(context),
		cmocka_unit_test(profile_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
