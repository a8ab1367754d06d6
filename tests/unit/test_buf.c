/* SPDX-License-Identifier: MIT */
/* Buffers: memfd, guest_memfd, dma-bufs of others; their memory. Exports are in test_device.c. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fixture.h"
#include "libpfnbuf/private.h"
#include "libpfnbuf/uapi/dma-buf.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"

struct fixture {
	struct pfnbuf_ctx *ctx;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	mock_reset();
	f->ctx = fixture_ctx();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fixture_free_ctx(f->ctx);
	free(f);
	return 0;
}

static const struct stat memfd_stat = {
	.st_mode = S_IFREG | 0600, .st_size = 0x400000, .st_ino = 1234, .st_dev = 9
};

static const struct pfnbuf_range whole = { 0, 0x400000 };

/* ---------------------------------------------------------------- memfd --------------------- */

static void memfd(void **state)
{
	struct fixture *f = *state;
	const struct mock_call made[] = {
		{ .kind = MOCK_MEMFD_CREATE,
		  .path = "pfnbuf",
		  .request = MFD_CLOEXEC,
		  .result = BUF_FD },
		{ .kind = MOCK_FTRUNCATE, .fd = BUF_FD, .length = 0x400000 },
		{ .kind = MOCK_FSTAT, .fd = BUF_FD, .out = &memfd_stat },
	};
	struct pfnbuf_buf *buf = NULL;
	unsigned bar = 7;

	mock_expect(made, MOCK_ARRAY_SIZE(made));
	assert_int_equal(pfnbuf_buf_new_memfd(f->ctx, 0x400000, 0, &buf), 0);
	mock_done();
	assert_int_equal(pfnbuf_buf_get_fd(buf), BUF_FD);
	assert_int_equal(pfnbuf_buf_get_kind(buf), PFNBUF_MEMFD);
	assert_int_equal(pfnbuf_buf_get_length(buf), 0x400000);
	assert_int_equal(pfnbuf_buf_get_state(buf), PFNBUF_LIVE);
	assert_int_equal(pfnbuf_buf_get_generation(buf), 1);
	assert_int_equal(pfnbuf_buf_get_identity(buf).ino, 1234);
	assert_int_equal(pfnbuf_buf_get_identity(buf).dev, 9);
	assert_null(pfnbuf_buf_get_device(buf));
	assert_int_equal(pfnbuf_buf_get_slices(buf, &bar, NULL, 0), 0);

	/* References. */
	assert_ptr_equal(pfnbuf_buf_ref(buf), buf);
	assert_null(pfnbuf_buf_unref(buf));
	mock_done();
	fixture_unref(buf);
	assert_null(pfnbuf_buf_unref(NULL));
}

static void huge_pages(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *buf = NULL;
	const unsigned logs[] = { 21, 30 };

	for (size_t i = 0; i < 2; i++) {
		const struct stat st = { .st_mode = S_IFREG | 0600, .st_size = 1 << 30 };

		mock_expect_one(.kind = MOCK_MEMFD_CREATE, .path = "pfnbuf",
				.request = MFD_CLOEXEC | MFD_HUGETLB | logs[i] << 26,
				.result = BUF_FD);
		mock_expect_one(.kind = MOCK_FTRUNCATE, .fd = BUF_FD, .length = 1 << 30);
		mock_expect_one(.kind = MOCK_FSTAT, .fd = BUF_FD, .out = &st);
		assert_int_equal(
			pfnbuf_buf_new_memfd(f->ctx, 1 << 30, UINT64_C(1) << logs[i], &buf), 0);
		fixture_unref(buf);
	}
}

static int run_memfd(void *object, uint64_t *out)
{
	return pfnbuf_buf_new_memfd(object, 0x400000, 0x200000, (void *)out);
}

static void memfd_errnos(void **state)
{
	struct fixture *f = *state;
	const struct mock_wrapper wrapper = {
		.function = "pfnbuf_buf_new_memfd",
		.call = "memfd_create",
		.object = "memfd",
		.has_range = true,
		.range = whole,
		.run = run_memfd,
		.made = { .kind = MOCK_MEMFD_CREATE,
			  .path = "pfnbuf",
			  .request = MFD_CLOEXEC | MFD_HUGETLB | 21u << 26 },
		.codes = { EINVAL, ENOMEM, EMFILE, ENFILE },
	};
	const struct mock_call made = { .kind = MOCK_MEMFD_CREATE,
					.path = "pfnbuf",
					.request = MFD_CLOEXEC,
					.result = BUF_FD };
	const struct {
		uint64_t length, hugepage_size;
	} wrong[] = {
		{ 0, 0 },	    { 0x1001, 0 },     { 0x201000, 0x200000 },
		{ 0x3000, 0x3000 }, { 1ULL << 63, 0 },
	};
	struct pfnbuf_buf *buf = (void *)1;

	mock_try_errnos(&wrapper, f->ctx);
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(wrong); i++)
		assert_fails(
			"pfnbuf_buf_new_memfd",
			pfnbuf_buf_new_memfd(f->ctx, wrong[i].length, wrong[i].hugepage_size, &buf),
			EINVAL, "memfd_create", "memfd",
			(&(struct pfnbuf_range){ 0, wrong[i].length }));
	mock_done();

	/* Later calls fail: the fd is not lost. */
	mock_expect(&made, 1);
	mock_expect_one(.kind = MOCK_FTRUNCATE, .fd = BUF_FD, .length = 0x400000,
			.result = -ENOMEM);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = BUF_FD);
	assert_fails("pfnbuf_buf_new_memfd", pfnbuf_buf_new_memfd(f->ctx, 0x400000, 0, &buf),
		     ENOMEM, "ftruncate", "memfd", &whole);
	mock_expect(&made, 1);
	mock_expect_one(.kind = MOCK_FTRUNCATE, .fd = BUF_FD, .length = 0x400000);
	mock_expect_one(.kind = MOCK_FSTAT, .fd = BUF_FD, .result = -ENOMEM);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = BUF_FD);
	assert_fails("pfnbuf_buf_new_memfd", pfnbuf_buf_new_memfd(f->ctx, 0x400000, 0, &buf),
		     ENOMEM, "fstat", "memfd", NULL);
	assert_ptr_equal(buf, (void *)1);
	mock_done();
}

/* ---------------------------------------------------------------- guest_memfd --------------- */

static const struct kvm_create_guest_memfd gmem_in = {
	.size = 0x400000,
	.flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED,
};

static int run_guest_memfd(void *object, uint64_t *out)
{
	return pfnbuf_buf_new_guest_memfd(object, 0x400000,
					  PFNBUF_GUEST_MEMFD_MMAP | PFNBUF_GUEST_MEMFD_INIT_SHARED,
					  (void *)out);
}

static void guest_memfd(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_vm *vm = fixture_vm(f->ctx, true);
	const struct mock_wrapper wrapper = {
		.function = "pfnbuf_buf_new_guest_memfd",
		.call = "KVM_CREATE_GUEST_MEMFD",
		.object = "vm 40",
		.has_range = true,
		.range = whole,
		.run = run_guest_memfd,
		.made = { .kind = MOCK_IOCTL,
			  .fd = VM_FD,
			  .request = KVM_CREATE_GUEST_MEMFD,
			  MOCK_STRUCT(gmem_in) },
		.codes = { EINVAL, ENOTTY, EMFILE, ENFILE, ENOMEM },
	};
	struct mock_call made = wrapper.made;
	struct pfnbuf_buf *buf = (void *)1;

	mock_try_errnos(&wrapper, vm);
	assert_fails("pfnbuf_buf_new_guest_memfd",
		     pfnbuf_buf_new_guest_memfd(vm, 0x400000, 1u << 5, &buf), EINVAL,
		     "KVM_CREATE_GUEST_MEMFD", "vm 40", &whole);

	made.result = BUF_FD;
	mock_expect(&made, 1);
	mock_expect_one(.kind = MOCK_SET_CLOEXEC, .fd = BUF_FD, .result = -EBADF);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = BUF_FD);
	assert_fails("pfnbuf_buf_new_guest_memfd", run_guest_memfd(vm, (void *)&buf), EBADF,
		     "fcntl(F_SETFD)", "guest_memfd", &whole);
	assert_ptr_equal(buf, (void *)1);

	mock_expect(&made, 1);
	mock_expect_one(.kind = MOCK_SET_CLOEXEC, .fd = BUF_FD);
	mock_expect_one(.kind = MOCK_FSTAT, .fd = BUF_FD, .out = &memfd_stat);
	assert_int_equal(run_guest_memfd(vm, (void *)&buf), 0);
	assert_int_equal(pfnbuf_buf_get_kind(buf), PFNBUF_GUEST_MEMFD);
	assert_int_equal(pfnbuf_buf_get_length(buf), 0x400000);
	fixture_unref(buf);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = VM_FD);
	assert_null(pfnbuf_vm_free(vm));
}

/* ---------------------------------------------------------------- from an fd ---------------- */

static void from_fd(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint64_t magic;
		enum pfnbuf_kind kind;
	} known[] = {
		{ DMA_BUF_MAGIC, PFNBUF_DMA_BUF },
		{ GUEST_MEMFD_MAGIC, PFNBUF_GUEST_MEMFD },
		{ 0x01021994, PFNBUF_MEMFD },
		{ 0x958458f6, PFNBUF_MEMFD },
	};

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(known); i++) {
		struct pfnbuf_buf *buf = NULL;

		mock_expect_one(.kind = MOCK_FSTATFS_TYPE, .fd = BUF_FD, .out = &known[i].magic);
		mock_expect_one(.kind = MOCK_FSTAT, .fd = BUF_FD, .out = &memfd_stat);
		assert_int_equal(pfnbuf_buf_from_fd(f->ctx, BUF_FD, PFNBUF_FD_BORROWED, &buf), 0);
		mock_done();
		assert_int_equal(pfnbuf_buf_get_kind(buf), known[i].kind);
		/* Borrowed: not closed. */
		assert_null(pfnbuf_buf_unref(buf));
		mock_done();
	}
}

static void from_fd_errnos(void **state)
{
	struct fixture *f = *state;
	const uint64_t ext4 = 0xef53;
	const uint64_t tmpfs = 0x01021994;
	struct pfnbuf_buf *buf = (void *)1;

	assert_fails("pfnbuf_buf_from_fd", pfnbuf_buf_from_fd(f->ctx, BUF_FD, 1u << 4, &buf),
		     EINVAL, "pfnbuf_buf_from_fd", "fd 50", NULL);
	mock_expect_one(.kind = MOCK_FSTATFS_TYPE, .fd = BUF_FD, .out = &ext4);
	assert_fails("pfnbuf_buf_from_fd", pfnbuf_buf_from_fd(f->ctx, BUF_FD, 0, &buf), EINVAL,
		     "pfnbuf_buf_from_fd", "fd 50", NULL);
	mock_expect_one(.kind = MOCK_FSTATFS_TYPE, .fd = BUF_FD, .result = -EBADF);
	assert_fails("pfnbuf_buf_from_fd", pfnbuf_buf_from_fd(f->ctx, BUF_FD, 0, &buf), EBADF,
		     "fstatfs", "fd 50", NULL);
	/* Never closed on failure. */
	mock_expect_one(.kind = MOCK_FSTATFS_TYPE, .fd = BUF_FD, .out = &tmpfs);
	mock_expect_one(.kind = MOCK_FSTAT, .fd = BUF_FD, .result = -EBADF);
	assert_fails("pfnbuf_buf_from_fd", pfnbuf_buf_from_fd(f->ctx, BUF_FD, 0, &buf), EBADF,
		     "fstat", "memfd", NULL);
	assert_ptr_equal(buf, (void *)1);
	mock_done();
}

/* ---------------------------------------------------------------- verifying ----------------- */

static const struct iommu_ioas_alloc alloc_in = { .size = sizeof(alloc_in) };
static const struct iommu_ioas_alloc alloc_out = { .size = sizeof(alloc_out), .out_ioas_id = 8 };
static const struct iommu_destroy destroy = { .size = sizeof(destroy), .id = 8 };
static const struct iommu_ioas_map_file probe = {
	.size = sizeof(probe),
	.flags = IOMMU_IOAS_MAP_READABLE,
	.ioas_id = 8,
	.fd = BUF_FD,
	.length = 0x10000,
};

static void expect_verify(int answer, int end)
{
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_ALLOC,
			MOCK_STRUCT(alloc_in), MOCK_ANSWER(alloc_out));
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_MAP_FILE,
			MOCK_STRUCT(probe), .result = answer);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_DESTROY,
			MOCK_STRUCT(destroy), .result = end);
}

static void verify(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *buf = fixture_buf(f->ctx, BUF_FD, PFNBUF_DMA_BUF, 0x10000);
	struct pfnbuf_buf *memory = fixture_buf(f->ctx, 51, PFNBUF_MEMFD, 0x10000);

	expect_verify(0, 0);
	assert_int_equal(pfnbuf_buf_verify(buf), 1);
	assert_int_equal(pfnbuf_buf_get_state(buf), PFNBUF_LIVE);
	expect_verify(-ENODEV, 0);
	assert_int_equal(pfnbuf_buf_verify(buf), 0);
	assert_int_equal(pfnbuf_buf_get_state(buf), PFNBUF_SUSPENDED);
	expect_verify(0, 0);
	assert_int_equal(pfnbuf_buf_verify(buf), 1);
	assert_int_equal(pfnbuf_buf_get_state(buf), PFNBUF_LIVE);
	mock_done();

	expect_verify(-EOPNOTSUPP, 0);
	assert_fails("pfnbuf_buf_verify", pfnbuf_buf_verify(buf), EOPNOTSUPP, "IOMMU_IOAS_MAP_FILE",
		     "dma-buf 50", NULL);
	expect_verify(0, -EBUSY);
	assert_int_equal(pfnbuf_buf_verify(buf), 1);
	mock_logged(PFNBUF_LOG_WARNING, "IOMMU_DESTROY failed with EBUSY");
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_ALLOC,
			MOCK_STRUCT(alloc_in), .result = -ENOMEM);
	assert_fails("pfnbuf_buf_verify", pfnbuf_buf_verify(buf), ENOMEM, "IOMMU_IOAS_ALLOC",
		     "dma-buf 50", NULL);
	assert_fails("pfnbuf_buf_verify", pfnbuf_buf_verify(memory), EINVAL, "pfnbuf_buf_verify",
		     "memfd 51", NULL);
	mock_done();
	fixture_unref(memory);
	fixture_unref(buf);
}

/* ---------------------------------------------------------------- memory -------------------- */

static const struct pfnbuf_range part = { 0x2000, 0x3000 };

static int run_map(void *object, uint64_t *out)
{
	return pfnbuf_buf_map(object, part.offset, part.length, (void *)out);
}

static int run_discard(void *object, uint64_t *out)
{
	(void)out;
	return pfnbuf_buf_discard(object, part.offset, part.length);
}

static int run_unmap(void *object, uint64_t *out)
{
	(void)out;
	return pfnbuf_buf_unmap(object, (void *)part.offset, part.length);
}

static const struct mock_wrapper memory_calls[] = {
	{
		.function = "pfnbuf_buf_map",
		.call = "mmap of a buffer",
		.object = "guest_memfd 50",
		.has_range = true,
		.range = { 0x2000, 0x3000 },
		.run = run_map,
		.made = { .kind = MOCK_MMAP,
			  .fd = BUF_FD,
			  .request = MAP_SHARED,
			  .mode = PROT_READ | PROT_WRITE,
			  .value = 0x2000,
			  .length = 0x3000 },
		.codes = { ENODEV, ENOMEM },
	},
	{
		.function = "pfnbuf_buf_unmap",
		.call = "munmap",
		.object = "guest_memfd 50",
		.has_range = true,
		.range = { 0x2000, 0x3000 },
		.run = run_unmap,
		.made = { .kind = MOCK_MUNMAP, .value = 0x2000, .length = 0x3000 },
		.codes = { EINVAL, ENOMEM },
	},
	{
		.function = "pfnbuf_buf_discard",
		.call = "fallocate",
		.object = "guest_memfd 50",
		.has_range = true,
		.range = { 0x2000, 0x3000 },
		.run = run_discard,
		.made = { .kind = MOCK_FALLOCATE,
			  .fd = BUF_FD,
			  .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  .value = 0x2000,
			  .length = 0x3000 },
		.codes = { EOPNOTSUPP, EINTR, EBADF },
	},
};

static void memory(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *buf = fixture_buf(f->ctx, BUF_FD, PFNBUF_GUEST_MEMFD, 0x10000);
	struct mock_call map = memory_calls[0].made;
	void *addr = NULL;

	map.out = (void *)0x700000;
	mock_expect(&map, 1);
	assert_int_equal(pfnbuf_buf_map(buf, 0x2000, 0x3000, &addr), 0);
	assert_ptr_equal(addr, (void *)0x700000);
	mock_expect_one(.kind = MOCK_MUNMAP, .value = 0x700000, .length = 0x3000);
	assert_int_equal(pfnbuf_buf_unmap(buf, addr, 0x3000), 0);
	mock_expect(&memory_calls[2].made, 1);
	assert_int_equal(run_discard(buf, NULL), 0);
	mock_done();
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(memory_calls); i++)
		mock_try_errnos(&memory_calls[i], buf);
	fixture_unref(buf);
}

static void memory_refused(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *dma_buf = fixture_buf(f->ctx, BUF_FD, PFNBUF_DMA_BUF, 0x10000);
	struct pfnbuf_buf *buf = fixture_buf(f->ctx, 51, PFNBUF_MEMFD, 0x10000);
	const struct pfnbuf_range wrong[] = {
		{ 0, 0 },	    { 0x800, 0x1000 },	 { 0x1000, 0x800 },
		{ 0xf000, 0x2000 }, { 0x11000, 0x1000 }, { 0x1000, -UINT64_C(0x1000) },
	};
	void *addr = (void *)1;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(wrong); i++) {
		assert_fails("pfnbuf_buf_map",
			     pfnbuf_buf_map(buf, wrong[i].offset, wrong[i].length, &addr), EINVAL,
			     "mmap of a buffer", "memfd 51", &wrong[i]);
		assert_fails("pfnbuf_buf_discard",
			     pfnbuf_buf_discard(buf, wrong[i].offset, wrong[i].length), EINVAL,
			     "fallocate", "memfd 51", &wrong[i]);
	}
	assert_fails("pfnbuf_buf_map", pfnbuf_buf_map(dma_buf, 0x2000, 0x3000, &addr), EINVAL,
		     "mmap of a buffer", "dma-buf 50", &part);
	assert_fails("pfnbuf_buf_discard", pfnbuf_buf_discard(dma_buf, 0x2000, 0x3000), EINVAL,
		     "fallocate", "dma-buf 50", &part);
	assert_ptr_equal(addr, (void *)1);
	mock_done();
	fixture_unref(buf);
	fixture_unref(dma_buf);
}

/* What devices can reach is not taken away under them. */
static void discard_of_what_is_mapped(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *buf = fixture_buf(f->ctx, BUF_FD, PFNBUF_MEMFD, 0x10000);
	struct pfnbuf_ioas *ioas = fixture_ioas(f->ctx, 3);
	const struct iommu_ioas_map_file in = {
		.size = sizeof(in),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = 3,
		.fd = BUF_FD,
		.start = 0x4000,
		.length = 0x1000,
	};
	uint64_t iova = 0;

	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_MAP_FILE,
			MOCK_STRUCT(in));
	assert_int_equal(pfnbuf_ioas_map_buf(ioas, buf, 0x4000, 0x1000,
					     PFNBUF_MAP_READ | PFNBUF_MAP_FIXED, &iova),
			 0);
	assert_fails("pfnbuf_buf_discard", pfnbuf_buf_discard(buf, 0x2000, 0x3000), EBUSY,
		     "fallocate", "memfd 50", &part);
	assert_non_null(strstr(pfnbuf_last_error(), "ioas 3"));
	mock_expect_one(.kind = MOCK_FALLOCATE, .fd = BUF_FD,
			.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, .length = 0x4000);
	assert_int_equal(pfnbuf_buf_discard(buf, 0, 0x4000), 0);
	fixture_free_ioas(ioas, true);
	mock_expect_one(.kind = MOCK_FALLOCATE, .fd = BUF_FD,
			.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, .value = 0x2000,
			.length = 0x3000);
	assert_int_equal(pfnbuf_buf_discard(buf, 0x2000, 0x3000), 0);
	fixture_unref(buf);
}

/* As the kernel prints them: BAR 0 is at 0x3800_0000_0000, and nobody tells of BAR 1. */
static const char resources[] = "0x0000380000000000 0x00003800000fffff 0x000000000014220c\n"
				"0x0000000000000000 0x0000000000000000 0x0000000000000000\n";

static void expect_resources(const char *text, int64_t opened)
{
	mock_expect_one(.kind = MOCK_OPEN, .path = SYSFS_DIR "/resource",
			.request = O_RDONLY | O_CLOEXEC, .result = opened);
	if (opened < 0 || !text)
		return;
	mock_expect_one(.kind = MOCK_READ, .fd = (int)opened, .length = 2047, .out = text,
			.result = (int64_t)strlen(text));
	mock_expect_one(.kind = MOCK_CLOSE, .fd = (int)opened);
}

static void page_frames(void **state)
{
	static const char call[] = "pfnbuf_buf_get_pfn", read[] = "read of the PCI resources";
	struct fixture *f = *state;
	struct pfnbuf_device *device = fixture_device(f->ctx);
	struct pfnbuf_buf *buf = fixture_export(device, BUF_FD, 0x6000);
	struct pfnbuf_buf *memfd = fixture_buf(f->ctx, 51, PFNBUF_MEMFD, 0x1000);
	const struct pfnbuf_range start = { 0, 1 }, beyond = { 0x6000, 1 };
	struct pfnbuf_pfn pfn = { .pfn = 77 };

	expect_resources(resources, 99);
	assert_int_equal(pfnbuf_buf_get_pfn(buf, 0x1fff, 0, &pfn), 0);
	assert_true(pfn.pfn == 0x380000001 && pfn.order == 2 && pfn.generation == 1);
	expect_resources(resources, 99);
	assert_int_equal(pfnbuf_buf_get_pfn(buf, 0x5000, 1, &pfn), 0);
	assert_true(pfn.pfn == 0x380000005 && pfn.order == 1 && pfn.generation == 1);

	assert_fails(call, pfnbuf_buf_get_pfn(buf, 0x6000, 0, &pfn), ERANGE, call,
		     pfnbuf_buf_name(buf), &beyond);
	assert_fails(call, pfnbuf_buf_get_pfn(memfd, 0, 0, &pfn), EOPNOTSUPP, call,
		     pfnbuf_buf_name(memfd), NULL);
	expect_resources(NULL, -EACCES);
	assert_fails(call, pfnbuf_buf_get_pfn(buf, 0, 0, &pfn), EACCES, read, DEVICE_NAME, NULL);
	expect_resources(NULL, -ENOENT);
	assert_fails(call, pfnbuf_buf_get_pfn(buf, 0, 0, &pfn), EOPNOTSUPP, read, DEVICE_NAME,
		     NULL);
	expect_resources("0x0000000000000000 0x0000000000000000 0x0000000000000000\n", 99);
	assert_fails(call, pfnbuf_buf_get_pfn(buf, 0, 0, &pfn), EACCES, read, DEVICE_NAME, NULL);
	assert_fails(call, pfnbuf_buf_get_pfn(buf, 0, 2, &pfn), ESTALE, call, pfnbuf_buf_name(buf),
		     &start);
	assert_int_equal(pfn.pfn, 0x380000005);
	mock_done();

	fixture_expect_close(true, false);
	assert_null(pfnbuf_device_close(device));
	assert_fails(call, pfnbuf_buf_get_pfn(buf, 0, 1, &pfn), ENODEV, call, pfnbuf_buf_name(buf),
		     &start);
	fixture_pop_all(f->ctx);
	fixture_unref(buf);
	fixture_unref(memfd);
}

static void names(void **state)
{
	(void)state;
	assert_string_equal(pfnbuf_kind_name(PFNBUF_DMA_BUF), "dma-buf");
	assert_string_equal(pfnbuf_kind_name(PFNBUF_MEMFD), "memfd");
	assert_string_equal(pfnbuf_kind_name(PFNBUF_GUEST_MEMFD), "guest_memfd");
	assert_string_equal(pfnbuf_kind_name((enum pfnbuf_kind)99), "?");
	assert_string_equal(pfnbuf_state_name(PFNBUF_LIVE), "LIVE");
	assert_string_equal(pfnbuf_state_name(PFNBUF_SUSPENDED), "SUSPENDED");
	assert_string_equal(pfnbuf_state_name(PFNBUF_DEAD), "DEAD");
	assert_string_equal(pfnbuf_state_name((enum pfnbuf_state)99), "?");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(memfd),	      TEST(huge_pages),
		TEST(memfd_errnos),   TEST(guest_memfd),
		TEST(from_fd),	      TEST(from_fd_errnos),
		TEST(verify),	      TEST(memory),
		TEST(memory_refused), TEST(discard_of_what_is_mapped),
		TEST(page_frames),    cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
