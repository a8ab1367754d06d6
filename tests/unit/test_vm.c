/* SPDX-License-Identifier: MIT */
/* VMs: slots, attributes, devices. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "libpfnbuf/private.h"
#include "libpfnbuf/uapi/kvm.h"

#define OBJECT	"vm 40"
#define REGION2 "KVM_SET_USER_MEMORY_REGION2"
#define REGION1 "KVM_SET_USER_MEMORY_REGION"

#define VM_IOCTL(request_, ...)                                                                    \
	{                                                                                          \
		.kind = MOCK_IOCTL, .fd = VM_FD, .request = (request_), __VA_ARGS__                \
	}

struct fixture {
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_vm *vm;
};

static int setup_with(void **state, bool region2)
{
	struct fixture *f = calloc(1, sizeof(*f));

	mock_reset();
	f->ctx = fixture_ctx();
	f->vm = fixture_vm(f->ctx, region2);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, true);
}

static int setup_old(void **state)
{
	return setup_with(state, false);
}

/* Tests leave the VM without slots and devices. */
static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(pfnbuf_vm_get_free_slots(f->vm), 64);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = VM_FD);
	assert_null(pfnbuf_vm_free(f->vm));
	fixture_free_ctx(f->ctx);
	free(f);
	return 0;
}

static void end_vm(struct pfnbuf_vm *vm)
{
	mock_expect_one(.kind = MOCK_CLOSE, .fd = VM_FD);
	assert_null(pfnbuf_vm_free(vm));
	mock_done();
}

/* ---------------------------------------------------------------- its life ------------------ */

static const struct mock_call new_calls[] = {
	{ .kind = MOCK_OPEN, .path = "/dev/kvm", .request = O_RDWR, .result = KVM_FD },
	{ .kind = MOCK_IOCTL, .fd = KVM_FD, .request = KVM_GET_API_VERSION, .result = 12 },
	{ .kind = MOCK_IOCTL, .fd = KVM_FD, .request = KVM_CREATE_VM, .value = 5, .result = VM_FD },
	{ .kind = MOCK_CLOSE, .fd = KVM_FD },
	VM_IOCTL(KVM_CHECK_EXTENSION, .value = KVM_CAP_NR_MEMSLOTS, .result = 32764),
	VM_IOCTL(KVM_CHECK_EXTENSION, .value = KVM_CAP_USER_MEMORY2, .result = 1),
};

/* Making a VM fails in its n-th call; @closes is what it closes then. */
static void new_fails(struct pfnbuf_ctx *ctx, size_t n, int result, int code, const char *call,
		      const char *object, const int *closes)
{
	struct mock_call failing = new_calls[n];
	struct pfnbuf_vm *vm = (void *)1;

	failing.result = result;
	mock_expect(new_calls, n);
	mock_expect(&failing, 1);
	for (; *closes; closes++)
		mock_expect_one(.kind = MOCK_CLOSE, .fd = *closes);
	assert_fails("pfnbuf_vm_new", pfnbuf_vm_new(ctx, PFNBUF_VM_TDX, &vm), code, call, object,
		     NULL);
	assert_ptr_equal(vm, (void *)1);
	mock_done();
}

static void new_errnos(void **state)
{
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_vm *vm = NULL;

	(void)state;
	mock_reset();
	ctx = fixture_ctx();
	new_fails(ctx, 0, -ENOENT, ENOENT, "open /dev/kvm", "/dev/kvm", (int[]){ 0 });
	new_fails(ctx, 0, -EACCES, EACCES, "open /dev/kvm", "/dev/kvm", (int[]){ 0 });
	new_fails(ctx, 1, -ENOTTY, ENOTTY, "KVM_GET_API_VERSION", "/dev/kvm", (int[]){ KVM_FD, 0 });
	new_fails(ctx, 1, 11, EOPNOTSUPP, "KVM_GET_API_VERSION", "/dev/kvm", (int[]){ KVM_FD, 0 });
	new_fails(ctx, 2, -EINVAL, EINVAL, "KVM_CREATE_VM", "/dev/kvm", (int[]){ KVM_FD, 0 });
	new_fails(ctx, 2, -EMFILE, EMFILE, "KVM_CREATE_VM", "/dev/kvm", (int[]){ KVM_FD, 0 });
	new_fails(ctx, 4, -ENOMEM, ENOMEM, "KVM_CHECK_EXTENSION", OBJECT, (int[]){ VM_FD, 0 });
	new_fails(ctx, 5, -ENOMEM, ENOMEM, "KVM_CHECK_EXTENSION", OBJECT, (int[]){ VM_FD, 0 });

	mock_expect(new_calls, MOCK_ARRAY_SIZE(new_calls));
	assert_int_equal(pfnbuf_vm_new(ctx, PFNBUF_VM_TDX, &vm), 0);
	mock_done();
	assert_int_equal(pfnbuf_vm_get_fd(vm), VM_FD);
	assert_int_equal(pfnbuf_vm_get_free_slots(vm), 32764);
	end_vm(vm);
	assert_null(pfnbuf_vm_free(NULL));
	fixture_free_ctx(ctx);
}

static void expect_adopt(int fd, int version, int slots)
{
	mock_expect_one(.kind = MOCK_IOCTL, .fd = fd, .request = KVM_GET_API_VERSION,
			.result = version);
	if (version >= 0)
		return;
	mock_expect_one(.kind = MOCK_IOCTL, .fd = fd, .request = KVM_CHECK_EXTENSION,
			.value = KVM_CAP_NR_MEMSLOTS, .result = slots);
}

static void expect_region2(int fd, int answer)
{
	mock_expect_one(.kind = MOCK_IOCTL, .fd = fd, .request = KVM_CHECK_EXTENSION,
			.value = KVM_CAP_USER_MEMORY2, .result = answer);
}

static void from_fd(void **state)
{
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_vm *vm = NULL;

	(void)state;
	mock_reset();
	ctx = fixture_ctx();
	/* Borrowed: never closed. All ids from 10 on. */
	expect_adopt(VM_FD, -ENOTTY, 64);
	expect_region2(VM_FD, 1);
	assert_int_equal(pfnbuf_vm_from_fd(ctx, VM_FD, PFNBUF_FD_BORROWED, 10, 0, &vm), 0);
	assert_int_equal(pfnbuf_vm_get_free_slots(vm), 54);
	mock_done();
	assert_null(pfnbuf_vm_free(vm));
	mock_done();

	/* Owned. */
	expect_adopt(VM_FD, -ENOTTY, 64);
	expect_region2(VM_FD, 0);
	assert_int_equal(pfnbuf_vm_from_fd(ctx, VM_FD, 0, 60, 4, &vm), 0);
	assert_int_equal(pfnbuf_vm_get_free_slots(vm), 4);
	end_vm(vm);

	/* A kernel that does not say how many there are has 32. */
	expect_adopt(VM_FD, -ENOTTY, 0);
	expect_region2(VM_FD, 0);
	assert_int_equal(pfnbuf_vm_from_fd(ctx, VM_FD, 0, 0, 0, &vm), 0);
	assert_int_equal(pfnbuf_vm_get_free_slots(vm), 32);
	end_vm(vm);
	fixture_free_ctx(ctx);
}

static void from_fd_errnos(void **state)
{
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_vm *vm = (void *)1;
	static const char call[] = "KVM_CHECK_EXTENSION";

	(void)state;
	mock_reset();
	ctx = fixture_ctx();
	assert_fails("pfnbuf_vm_from_fd", pfnbuf_vm_from_fd(ctx, VM_FD, 1u << 5, 0, 0, &vm), EINVAL,
		     call, OBJECT, NULL);
	expect_adopt(VM_FD, -EBADF, -EBADF);
	assert_fails("pfnbuf_vm_from_fd", pfnbuf_vm_from_fd(ctx, VM_FD, 0, 0, 0, &vm), EBADF, call,
		     OBJECT, NULL);
	/* A pipe. */
	expect_adopt(VM_FD, -ENOTTY, -ENOTTY);
	assert_fails("pfnbuf_vm_from_fd", pfnbuf_vm_from_fd(ctx, VM_FD, 0, 0, 0, &vm), ENOTTY, call,
		     OBJECT, NULL);
	/* A vCPU. */
	expect_adopt(VM_FD, -EINVAL, -EINVAL);
	assert_fails("pfnbuf_vm_from_fd", pfnbuf_vm_from_fd(ctx, VM_FD, 0, 0, 0, &vm), ENOTTY, call,
		     OBJECT, NULL);
	/* /dev/kvm itself, which answers both questions. */
	expect_adopt(VM_FD, 12, 0);
	assert_fails("pfnbuf_vm_from_fd", pfnbuf_vm_from_fd(ctx, VM_FD, 0, 0, 0, &vm), ENOTTY, call,
		     OBJECT, NULL);
	/* Slot ids that are not there. */
	expect_adopt(VM_FD, -ENOTTY, 64);
	assert_fails("pfnbuf_vm_from_fd", pfnbuf_vm_from_fd(ctx, VM_FD, 0, 64, 0, &vm), EINVAL,
		     call, OBJECT, NULL);
	expect_adopt(VM_FD, -ENOTTY, 64);
	assert_fails("pfnbuf_vm_from_fd", pfnbuf_vm_from_fd(ctx, VM_FD, 0, 60, 5, &vm), EINVAL,
		     call, OBJECT, NULL);
	expect_adopt(VM_FD, -ENOTTY, 64);
	assert_fails("pfnbuf_vm_from_fd", pfnbuf_vm_from_fd(ctx, VM_FD, 0, 1, UINT32_MAX, &vm),
		     EINVAL, call, OBJECT, NULL);
	assert_ptr_equal(vm, (void *)1);
	fixture_free_ctx(ctx);
}

static void check_extension(void **state)
{
	struct fixture *f = *state;
	int value = 0;

	mock_expect_one(.kind = MOCK_IOCTL, .fd = VM_FD, .request = KVM_CHECK_EXTENSION,
			.value = KVM_CAP_MEMORY_ATTRIBUTES, .result = 8);
	assert_int_equal(pfnbuf_vm_check_extension(f->vm, KVM_CAP_MEMORY_ATTRIBUTES, &value), 0);
	assert_int_equal(value, 8);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = VM_FD, .request = KVM_CHECK_EXTENSION,
			.value = 9999, .result = -EINTR);
	assert_fails("pfnbuf_vm_check_extension", pfnbuf_vm_check_extension(f->vm, 9999, &value),
		     EINTR, "KVM_CHECK_EXTENSION", OBJECT, NULL);
	assert_int_equal(value, 8);
	assert_fails("pfnbuf_vm_check_extension", pfnbuf_vm_check_extension(f->vm, 1, NULL), EINVAL,
		     "KVM_CHECK_EXTENSION", OBJECT, NULL);
}

/* ---------------------------------------------------------------- slots --------------------- */

static struct kvm_userspace_memory_region2 region(uint32_t id, uint32_t flags, uint64_t gpa,
						  uint64_t size, uint64_t addr)
{
	return (struct kvm_userspace_memory_region2){
		.slot = id,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = addr,
	};
}

static void expect_region(struct kvm_userspace_memory_region2 in, int result)
{
	static struct kvm_userspace_memory_region2 kept[128];
	static unsigned next;
	unsigned i = next++ % 128;

	kept[i] = in;
	mock_expect_one(.kind = MOCK_IOCTL, .fd = VM_FD, .request = KVM_SET_USER_MEMORY_REGION2,
			MOCK_STRUCT(kept[i]), .result = result);
}

static uint32_t set_slot(struct pfnbuf_vm *vm, uint32_t expected_id, uint64_t gpa, uint64_t length,
			 uint64_t addr)
{
	const struct pfnbuf_slot slot = { .gpa = gpa,
					  .length = length,
					  .addr = (void *)(uintptr_t)addr };
	uint32_t id = 999;

	expect_region(region(expected_id, 0, gpa, length, addr), 0);
	assert_int_equal(pfnbuf_vm_set_slot(vm, &slot, &id), 0);
	assert_int_equal(id, expected_id);
	mock_done();
	return id;
}

static void delete_slot(struct pfnbuf_vm *vm, uint32_t id, uint64_t gpa, uint64_t addr)
{
	expect_region(region(id, 0, gpa, 0, addr), 0);
	assert_int_equal(pfnbuf_vm_delete_slot(vm, id), 0);
	mock_done();
}

static void set_move_log_delete(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_slot slot = { .gpa = 0x1000,
				    .length = 0x4000,
				    .addr = (void *)0x700000,
				    .flags = PFNBUF_SLOT_READONLY };
	uint32_t id = 999;

	expect_region(region(0, KVM_MEM_READONLY, 0x1000, 0x4000, 0x700000), 0);
	assert_int_equal(pfnbuf_vm_set_slot(f->vm, &slot, &id), 0);
	assert_int_equal(id, 0);
	expect_region(region(0, KVM_MEM_READONLY, 0x9000, 0x4000, 0x700000), 0);
	assert_int_equal(pfnbuf_vm_move_slot(f->vm, 0, 0x9000), 0);
	expect_region(
		region(0, KVM_MEM_READONLY | KVM_MEM_LOG_DIRTY_PAGES, 0x9000, 0x4000, 0x700000), 0);
	assert_int_equal(
		pfnbuf_vm_set_slot_flags(f->vm, 0, PFNBUF_SLOT_READONLY | PFNBUF_SLOT_LOG_DIRTY),
		0);
	mock_done();
	/* As it is already: no call. */
	assert_int_equal(
		pfnbuf_vm_set_slot_flags(f->vm, 0, PFNBUF_SLOT_READONLY | PFNBUF_SLOT_LOG_DIRTY),
		0);
	memset(&slot, 0, sizeof(slot));
	assert_int_equal(pfnbuf_vm_next_slot(f->vm, 0, &id, &slot), 1);
	assert_int_equal(id, 0);
	assert_int_equal(slot.gpa, 0x9000);
	assert_int_equal(slot.length, 0x4000);
	assert_ptr_equal(slot.addr, (void *)0x700000);
	assert_int_equal(slot.flags, PFNBUF_SLOT_READONLY | PFNBUF_SLOT_LOG_DIRTY);
	assert_int_equal(pfnbuf_vm_next_slot(f->vm, 1, &id, &slot), 0);
	assert_int_equal(pfnbuf_vm_next_slot(f->vm, UINT32_MAX, &id, &slot), 0);
	/* Flags of a deletion count, too: none. */
	delete_slot(f->vm, 0, 0x9000, 0x700000);
}

static void guest_memfd_slot(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *buf = fixture_buf(f->ctx, 59, PFNBUF_GUEST_MEMFD, 0x10000);
	const struct pfnbuf_slot slot = {
		.gpa = 0x100000,
		.length = 0x4000,
		.addr = (void *)0x700000,
		.guest_memfd = buf,
		.guest_memfd_offset = 0x8000,
	};
	const struct pfnbuf_range moved = { 0x200000, 0x4000 }, there = { 0x100000, 0x4000 };
	struct kvm_userspace_memory_region2 in =
		region(0, KVM_MEM_GUEST_MEMFD, 0x100000, 0x4000, 0x700000);

	in.guest_memfd = 59;
	in.guest_memfd_offset = 0x8000;
	expect_region(in, 0);
	assert_int_equal(pfnbuf_vm_set_slot(f->vm, &slot, NULL), 0);
	assert_fails("pfnbuf_vm_move_slot", pfnbuf_vm_move_slot(f->vm, 0, 0x200000), EINVAL,
		     REGION2, OBJECT, &moved);
	assert_fails("pfnbuf_vm_set_slot_flags",
		     pfnbuf_vm_set_slot_flags(f->vm, 0, PFNBUF_SLOT_LOG_DIRTY), EINVAL, REGION2,
		     OBJECT, &there);
	/* The slot holds it: the fd stays open until the slot is gone. */
	assert_null(pfnbuf_buf_unref(buf));
	mock_done();
	expect_region(region(0, 0, 0x100000, 0, 0x700000), 0);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = 59);
	assert_int_equal(pfnbuf_vm_delete_slot(f->vm, 0), 0);
	mock_done();
}

static void use_profile(struct pfnbuf_ctx *ctx)
{
	struct pfnbuf_profile *profile = NULL;

	assert_int_equal(pfnbuf_profile_load(PROFILES "/tdx-rfc2.profile", &profile, NULL), 0);
	assert_int_equal(pfnbuf_ctx_set_profile(ctx, profile), 0);
	pfnbuf_profile_unref(profile);
}

/* A dma-buf stands behind a slot where the profile has a flag for it, and then with all of it. */
static void dmabuf_slot(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *buf = fixture_buf(f->ctx, 59, PFNBUF_DMA_BUF, 0x4000);
	const struct pfnbuf_range range = { 0x100000, 0x4000 }, part = { 0x100000, 0x3000 };
	struct pfnbuf_slot slot = { .gpa = 0x100000, .length = 0x4000, .guest_memfd = buf };
	struct kvm_userspace_memory_region2 in = region(0, 8, 0x100000, 0x4000, 0);

	assert_fails("pfnbuf_vm_set_slot", pfnbuf_vm_set_slot(f->vm, &slot, NULL), EINVAL, REGION2,
		     OBJECT, &range);
	use_profile(f->ctx);
	slot.length = 0x3000;
	assert_fails("pfnbuf_vm_set_slot", pfnbuf_vm_set_slot(f->vm, &slot, NULL), EINVAL, REGION2,
		     OBJECT, &part);
	slot.guest_memfd_offset = 0x1000;
	assert_fails("pfnbuf_vm_set_slot", pfnbuf_vm_set_slot(f->vm, &slot, NULL), EINVAL, REGION2,
		     OBJECT, &part);
	slot.length = 0x4000;
	slot.guest_memfd_offset = 0;
	in.guest_memfd = 59;
	expect_region(in, 0);
	assert_int_equal(pfnbuf_vm_set_slot(f->vm, &slot, NULL), 0);
	assert_null(pfnbuf_buf_unref(buf));
	mock_done();
	expect_region(region(0, 0, 0x100000, 0, 0), 0);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = 59);
	assert_int_equal(pfnbuf_vm_delete_slot(f->vm, 0), 0);
	mock_done();
}

static void old_kernel(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *buf = fixture_buf(f->ctx, 59, PFNBUF_GUEST_MEMFD, 0x10000);
	struct pfnbuf_slot slot = { .gpa = 0x1000, .length = 0x2000, .addr = (void *)0x5000 };
	struct kvm_userspace_memory_region in = { .guest_phys_addr = 0x1000,
						  .memory_size = 0x2000,
						  .userspace_addr = 0x5000 };
	const struct kvm_userspace_memory_region gone = { .guest_phys_addr = 0x1000,
							  .userspace_addr = 0x5000 };
	const struct pfnbuf_range range = { 0x1000, 0x2000 };
	const int codes[] = { EEXIST, EINVAL, EFAULT, EIO };

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		mock_expect_one(.kind = MOCK_IOCTL, .fd = VM_FD,
				.request = KVM_SET_USER_MEMORY_REGION, MOCK_STRUCT(in),
				.result = -codes[i]);
		assert_fails("pfnbuf_vm_set_slot", pfnbuf_vm_set_slot(f->vm, &slot, NULL), codes[i],
			     REGION1, OBJECT, &range);
	}
	mock_expect_one(.kind = MOCK_IOCTL, .fd = VM_FD, .request = KVM_SET_USER_MEMORY_REGION,
			MOCK_STRUCT(in));
	assert_int_equal(pfnbuf_vm_set_slot(f->vm, &slot, NULL), 0);
	slot.guest_memfd = buf;
	assert_fails("pfnbuf_vm_set_slot", pfnbuf_vm_set_slot(f->vm, &slot, NULL), EOPNOTSUPP,
		     REGION1, OBJECT, NULL);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = VM_FD, .request = KVM_SET_USER_MEMORY_REGION,
			MOCK_STRUCT(gone));
	assert_int_equal(pfnbuf_vm_delete_slot(f->vm, 0), 0);
	fixture_unref(buf);
}

/* The lowest free id, always, over 64 that end inside a chunk. */
static void lowest_free_id(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_slot slot = { .length = 0x1000, .addr = (void *)0x5000 };
	uint32_t id = 77;

	for (uint32_t i = 0; i < 64; i++)
		set_slot(f->vm, i, i * UINT64_C(0x1000), 0x1000, 0x5000);
	assert_int_equal(pfnbuf_vm_get_free_slots(f->vm), 0);
	assert_fails("pfnbuf_vm_set_slot", pfnbuf_vm_set_slot(f->vm, &slot, &id), ENOSPC, REGION2,
		     OBJECT, NULL);
	assert_int_equal(id, 77);
	delete_slot(f->vm, 40, 0x28000, 0x5000);
	delete_slot(f->vm, 7, 0x7000, 0x5000);
	assert_int_equal(pfnbuf_vm_get_free_slots(f->vm), 2);
	assert_int_equal(pfnbuf_vm_next_slot(f->vm, 7, &id, &slot), 1);
	assert_int_equal(id, 8);
	set_slot(f->vm, 7, 0x7000, 0x1000, 0x5000);
	set_slot(f->vm, 40, 0x28000, 0x1000, 0x5000);
	for (uint32_t i = 64; i-- > 0;)
		delete_slot(f->vm, i, i * UINT64_C(0x1000), 0x5000);
}

/* Ids that begin in the middle, over more than one chunk, to the last one that a VM has. */
static void thirty_two_thousand(void **state)
{
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_vm *vm = NULL;
	struct pfnbuf_slot slot;
	uint32_t id = 0, n = 0;

	(void)state;
	mock_reset();
	ctx = fixture_ctx();
	expect_adopt(VM_FD, -ENOTTY, 32764);
	expect_region2(VM_FD, 1);
	assert_int_equal(pfnbuf_vm_from_fd(ctx, VM_FD, 0, 100, 32664, &vm), 0);
	for (uint32_t i = 100; i < 32764; i++)
		set_slot(vm, i, i * UINT64_C(0x1000), 0x1000, 0x5000);
	assert_int_equal(pfnbuf_vm_get_free_slots(vm), 0);
	delete_slot(vm, 32763, 32763 * UINT64_C(0x1000), 0x5000);
	set_slot(vm, 32763, 0, 0x1000, 0x5000);
	/* Far in front of where the last one was found. */
	delete_slot(vm, 101, 101 * UINT64_C(0x1000), 0x5000);
	set_slot(vm, 101, 101 * UINT64_C(0x1000), 0x1000, 0x5000);
	while (pfnbuf_vm_next_slot(vm, id, &id, &slot)) {
		assert_int_equal(id, 100 + n);
		n++;
		id++;
	}
	assert_int_equal(n, 32664);
	for (uint32_t i = 100; i < 32764; i++)
		delete_slot(vm, i, i == 32763 ? 0 : i * UINT64_C(0x1000), 0x5000);
	assert_int_equal(pfnbuf_vm_get_free_slots(vm), 32664);
	end_vm(vm);
	fixture_free_ctx(ctx);
}

static int run_set_slot(void *object, uint64_t *out)
{
	const struct pfnbuf_slot slot = { .gpa = 0x2000, .length = 0x3000, .addr = (void *)0x5000 };

	return pfnbuf_vm_set_slot(object, &slot, (uint32_t *)out);
}

static int run_move(void *object, uint64_t *out)
{
	(void)out;
	return pfnbuf_vm_move_slot(object, 0, 0x2000);
}

static int run_flags(void *object, uint64_t *out)
{
	(void)out;
	return pfnbuf_vm_set_slot_flags(object, 0, PFNBUF_SLOT_LOG_DIRTY);
}

static int run_delete(void *object, uint64_t *out)
{
	(void)out;
	return pfnbuf_vm_delete_slot(object, 0);
}

#define REGION_WRAPPER(name_, run_, in_, gpa_, ...)                                                \
	{                                                                                          \
		.function = (name_), .call = REGION2, .object = OBJECT, .has_range = true,         \
		.range = { (gpa_), 0x3000 }, .run = (run_),                                        \
		.made = VM_IOCTL(KVM_SET_USER_MEMORY_REGION2, MOCK_STRUCT(in_)),                   \
		.codes = { __VA_ARGS__ },                                                          \
	}

static const struct kvm_userspace_memory_region2 set_in = {
	.slot = 1, .guest_phys_addr = 0x2000, .memory_size = 0x3000, .userspace_addr = 0x5000
};
static const struct kvm_userspace_memory_region2 move_in = { .guest_phys_addr = 0x2000,
							     .memory_size = 0x3000,
							     .userspace_addr = 0x7000 };
static const struct kvm_userspace_memory_region2 flags_in = {
	.flags = KVM_MEM_LOG_DIRTY_PAGES,
	.guest_phys_addr = 0x10000,
	.memory_size = 0x3000,
	.userspace_addr = 0x7000,
};
static const struct kvm_userspace_memory_region2 delete_in = { .guest_phys_addr = 0x10000,
							       .userspace_addr = 0x7000 };

static const struct mock_wrapper region_calls[] = {
	REGION_WRAPPER("pfnbuf_vm_set_slot", run_set_slot, set_in, 0x2000, EINVAL, EEXIST, EBADF,
		       EFAULT, EIO, ENOMEM),
	REGION_WRAPPER("pfnbuf_vm_move_slot", run_move, move_in, 0x2000, EINVAL, EEXIST, EIO),
	REGION_WRAPPER("pfnbuf_vm_set_slot_flags", run_flags, flags_in, 0x10000, EINVAL, ENOMEM,
		       EIO),
	REGION_WRAPPER("pfnbuf_vm_delete_slot", run_delete, delete_in, 0x10000, EIO),
};

static void slot_errnos(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_slot slot;
	uint32_t id;

	set_slot(f->vm, 0, 0x10000, 0x3000, 0x7000);
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(region_calls); i++)
		mock_try_errnos(&region_calls[i], f->vm);
	/* Nothing has changed. */
	assert_int_equal(pfnbuf_vm_next_slot(f->vm, 0, &id, &slot), 1);
	assert_int_equal(slot.gpa, 0x10000);
	assert_int_equal(slot.flags, 0);
	assert_int_equal(pfnbuf_vm_get_free_slots(f->vm), 63);
	delete_slot(f->vm, 0, 0x10000, 0x7000);
}

static void slot_refused(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *memfd = fixture_buf(f->ctx, 57, PFNBUF_MEMFD, 0x4000);
	struct pfnbuf_buf *gmem = fixture_buf(f->ctx, 58, PFNBUF_GUEST_MEMFD, 0x4000);
	const struct pfnbuf_slot wrong[] = {
		{ .length = 0x1000, .flags = 1u << 9 },
		{ .length = 0 },
		{ .length = 0x1000, .guest_memfd = memfd },
		{ .length = 0x1000, .guest_memfd = gmem, .flags = PFNBUF_SLOT_READONLY },
		{ .length = 0x1000, .guest_memfd = gmem, .flags = PFNBUF_SLOT_LOG_DIRTY },
	};
	const struct pfnbuf_range range = { 0x10000, 0x1000 };

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(wrong); i++)
		assert_fails("pfnbuf_vm_set_slot", pfnbuf_vm_set_slot(f->vm, &wrong[i], NULL),
			     EINVAL, REGION2, OBJECT,
			     &((struct pfnbuf_range){ wrong[i].gpa, wrong[i].length }));
	assert_fails("pfnbuf_vm_set_slot", pfnbuf_vm_set_slot(f->vm, NULL, NULL), EINVAL, REGION2,
		     OBJECT, NULL);
	for (uint32_t id = 0; id < 80; id += 79) {
		assert_fails("pfnbuf_vm_move_slot", pfnbuf_vm_move_slot(f->vm, id, 0), ENOENT,
			     REGION2, OBJECT, NULL);
		assert_fails("pfnbuf_vm_set_slot_flags", pfnbuf_vm_set_slot_flags(f->vm, id, 0),
			     ENOENT, REGION2, OBJECT, NULL);
		assert_fails("pfnbuf_vm_delete_slot", pfnbuf_vm_delete_slot(f->vm, id), ENOENT,
			     REGION2, OBJECT, NULL);
		assert_fails("pfnbuf_vm_get_dirty_log",
			     pfnbuf_vm_get_dirty_log(f->vm, id, (void *)&range, 8), ENOENT,
			     "KVM_GET_DIRTY_LOG", OBJECT, NULL);
	}
	set_slot(f->vm, 0, 0x10000, 0x1000, 0x5000);
	assert_fails("pfnbuf_vm_set_slot_flags",
		     pfnbuf_vm_set_slot_flags(f->vm, 0, PFNBUF_SLOT_READONLY), EINVAL, REGION2,
		     OBJECT, &range);
	delete_slot(f->vm, 0, 0x10000, 0x5000);
	fixture_unref(memfd);
	fixture_unref(gmem);
}

static void names_the_slot_in_the_way(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_slot slot = { .gpa = 0x8000, .length = 0x10000 };
	const struct pfnbuf_range range = { 0x8000, 0x10000 }, moved = { 0x10000, 0x1000 };

	set_slot(f->vm, 0, 0x40000, 0x1000, 0x5000);
	set_slot(f->vm, 1, 0x10000, 0x1000, 0x5000);
	expect_region(region(2, 0, 0x8000, 0x10000, 0), -EEXIST);
	assert_fails("pfnbuf_vm_set_slot", pfnbuf_vm_set_slot(f->vm, &slot, NULL), EEXIST, REGION2,
		     OBJECT, &range);
	assert_non_null(strstr(pfnbuf_last_error(), "slot 1 at 0x10000+0x1000"));
	expect_region(region(0, 0, 0x10000, 0x1000, 0x5000), -EEXIST);
	assert_fails("pfnbuf_vm_move_slot", pfnbuf_vm_move_slot(f->vm, 0, 0x10000), EEXIST, REGION2,
		     OBJECT, &moved);
	assert_non_null(strstr(pfnbuf_last_error(), "slot 1 "));
	delete_slot(f->vm, 1, 0x10000, 0x5000);
	delete_slot(f->vm, 0, 0x40000, 0x5000);
}

static uint64_t bitmap[2];
static const struct kvm_dirty_log dirty_in = { .slot = 0, .dirty_bitmap = bitmap };

static int run_dirty(void *object, uint64_t *out)
{
	(void)out;
	return pfnbuf_vm_get_dirty_log(object, 0, bitmap, sizeof(bitmap));
}

static void dirty_log(void **state)
{
	struct fixture *f = *state;
	const uint64_t length = 65 * pfnbuf_page_size();
	const struct mock_wrapper wrapper = {
		.function = "pfnbuf_vm_get_dirty_log",
		.call = "KVM_GET_DIRTY_LOG",
		.object = OBJECT,
		.run = run_dirty,
		.made = VM_IOCTL(KVM_GET_DIRTY_LOG, MOCK_STRUCT(dirty_in)),
		.codes = { ENOENT, ENXIO, ENOMEM },
	};

	set_slot(f->vm, 0, 0x100000, length, 0x5000);
	assert_fails("pfnbuf_vm_get_dirty_log", run_dirty(f->vm, NULL), ENOENT, "KVM_GET_DIRTY_LOG",
		     OBJECT, NULL);
	expect_region(region(0, KVM_MEM_LOG_DIRTY_PAGES, 0x100000, length, 0x5000), 0);
	assert_int_equal(pfnbuf_vm_set_slot_flags(f->vm, 0, PFNBUF_SLOT_LOG_DIRTY), 0);
	/* 65 pages are two words. */
	assert_fails("pfnbuf_vm_get_dirty_log", pfnbuf_vm_get_dirty_log(f->vm, 0, bitmap, 15),
		     EINVAL, "KVM_GET_DIRTY_LOG", OBJECT, NULL);
	assert_fails("pfnbuf_vm_get_dirty_log", pfnbuf_vm_get_dirty_log(f->vm, 0, NULL, 16), EINVAL,
		     "KVM_GET_DIRTY_LOG", OBJECT, NULL);
	mock_try_errnos(&wrapper, f->vm);
	mock_expect(&wrapper.made, 1);
	assert_int_equal(run_dirty(f->vm, NULL), 0);
	delete_slot(f->vm, 0, 0x100000, 0x5000);
}

static void slots_over_memory(void **state)
{
	struct fixture *f = *state;

	set_slot(f->vm, 0, 0x10000, 0x4000, 0x70000);
	set_slot(f->vm, 1, 0x20000, 0x4000, 0x80000);
	set_slot(f->vm, 2, 0x30000, 0x4000, 0x73000);
	assert_true(pfnbuf_vm_has_slot_over(f->vm, (void *)0x73000, 0x1000));
	assert_true(pfnbuf_vm_has_slot_over(f->vm, (void *)0x6f000, 0x1001));
	assert_false(pfnbuf_vm_has_slot_over(f->vm, (void *)0x6f000, 0x1000));
	assert_false(pfnbuf_vm_has_slot_over(f->vm, (void *)0x77000, 0x9000));
	assert_true(pfnbuf_vm_has_slot_over(f->vm, (void *)0x77000, 0x9001));
	/* One of the two cannot be deleted: the log says so, and it stays in the ledger. */
	expect_region(region(0, 0, 0x10000, 0, 0x70000), -EIO);
	expect_region(region(2, 0, 0x30000, 0, 0x73000), 0);
	pfnbuf_vm_drop_slots_over(f->vm, (void *)0x73000, 0x1000);
	mock_logged(PFNBUF_LOG_ERROR,
		    "KVM_SET_USER_MEMORY_REGION2 on vm 40 at 0x10000+0x4000: EIO");
	mock_done();
	assert_int_equal(pfnbuf_vm_get_free_slots(f->vm), 62);
	delete_slot(f->vm, 0, 0x10000, 0x70000);
	delete_slot(f->vm, 1, 0x20000, 0x80000);
}

static void end_deletes_slots(void **state)
{
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_vm *vm;
	struct pfnbuf_buf *buf;
	struct kvm_userspace_memory_region2 in = region(1, KVM_MEM_GUEST_MEMFD, 0x40000, 0x1000, 0);
	struct pfnbuf_slot slot = { .gpa = 0x40000, .length = 0x1000 };

	(void)state;
	mock_reset();
	ctx = fixture_ctx();
	vm = fixture_vm(ctx, true);
	buf = fixture_buf(ctx, 59, PFNBUF_GUEST_MEMFD, 0x10000);
	set_slot(vm, 0, 0x10000, 0x1000, 0x5000);
	slot.guest_memfd = buf;
	in.guest_memfd = 59;
	expect_region(in, 0);
	assert_int_equal(pfnbuf_vm_set_slot(vm, &slot, NULL), 0);
	pfnbuf_buf_unref(buf);
	mock_done();

	expect_region(region(0, 0, 0x10000, 0, 0x5000), -EIO);
	expect_region(region(1, 0, 0x40000, 0, 0), 0);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = 59);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = VM_FD);
	assert_null(pfnbuf_vm_free(vm));
	mock_logged(PFNBUF_LOG_ERROR, "EIO");
	mock_done();
	fixture_free_ctx(ctx);
}

/* ---------------------------------------------------------------- attributes ---------------- */

static void set_attributes(struct pfnbuf_vm *vm, uint64_t gpa, uint64_t length, uint64_t attributes)
{
	const struct kvm_memory_attributes in = { .address = gpa,
						  .size = length,
						  .attributes = attributes };

	mock_expect_one(.kind = MOCK_IOCTL, .fd = VM_FD, .request = KVM_SET_MEMORY_ATTRIBUTES,
			MOCK_STRUCT(in));
	assert_int_equal(pfnbuf_vm_set_attributes(vm, gpa, length, attributes), 0);
	mock_done();
}

static void check_attributes(struct pfnbuf_vm *vm, uint64_t gpa, uint64_t attributes,
			     uint64_t length)
{
	uint64_t a = 1, n = 1;

	pfnbuf_vm_get_attributes(vm, gpa, &a, &n);
	assert_int_equal(a, attributes);
	assert_int_equal(n, length);
	pfnbuf_vm_get_attributes(vm, gpa, &a, NULL);
	assert_int_equal(a, attributes);
}

#define PRIVATE PFNBUF_ATTRIBUTE_PRIVATE

static void attributes(void **state)
{
	struct fixture *f = *state;

	check_attributes(f->vm, 0, 0, UINT64_MAX);
	check_attributes(f->vm, 0x1000, 0, -UINT64_C(0x1000));
	set_attributes(f->vm, 0x10000, 0x4000, PRIVATE);
	check_attributes(f->vm, 0, 0, 0x10000);
	check_attributes(f->vm, 0x10000, PRIVATE, 0x4000);
	check_attributes(f->vm, 0x13fff, PRIVATE, 1);
	check_attributes(f->vm, 0x14000, 0, -UINT64_C(0x14000));
	/* Neighbours of one kind are one run. */
	set_attributes(f->vm, 0x14000, 0x4000, PRIVATE);
	set_attributes(f->vm, 0xc000, 0x4000, PRIVATE);
	check_attributes(f->vm, 0xc000, PRIVATE, 0xc000);
	/* A hole in the middle makes two of one. */
	set_attributes(f->vm, 0x10000, 0x1000, 0);
	check_attributes(f->vm, 0xc000, PRIVATE, 0x4000);
	check_attributes(f->vm, 0x10000, 0, 0x1000);
	check_attributes(f->vm, 0x11000, PRIVATE, 0x7000);
	/* Over several runs and the ends of two. */
	set_attributes(f->vm, 0xd000, 0x5000, 0);
	check_attributes(f->vm, 0xc000, PRIVATE, 0x1000);
	check_attributes(f->vm, 0xd000, 0, 0x5000);
	check_attributes(f->vm, 0x12000, PRIVATE, 0x6000);
	/* To the last byte. */
	set_attributes(f->vm, -UINT64_C(0x2000), 0x2000, PRIVATE);
	check_attributes(f->vm, -UINT64_C(0x1000), PRIVATE, 0x1000);
	set_attributes(f->vm, -UINT64_C(0x2000), 0x2000, 0);
	set_attributes(f->vm, 0, 0x100000, 0);
	check_attributes(f->vm, 0, 0, UINT64_MAX);

	/* Across chunks of the ledger. */
	set_attributes(f->vm, 0x7fff000, 0x10002000, PRIVATE);
	set_attributes(f->vm, 0x8000000, 0x1000, 0);
	check_attributes(f->vm, 0x7fff000, PRIVATE, 0x1000);
	check_attributes(f->vm, 0x8000000, 0, 0x1000);
	check_attributes(f->vm, 0x8001000, PRIVATE, 0x10000000);
	check_attributes(f->vm, 0x18001000, 0, -UINT64_C(0x18001000));
	set_attributes(f->vm, 0, -UINT64_C(0x1000), PRIVATE);
	check_attributes(f->vm, 0, PRIVATE, -UINT64_C(0x1000));
}

/* Random changes against one byte per page. */
static void attributes_against_an_array(void **state)
{
	struct fixture *f = *state;
	uint8_t model[256] = { 0 };
	uint32_t random = 99;

	for (int round = 0; round < 3000; round++) {
		uint32_t from, n, page;
		uint64_t run = 0, got, length;
		bool set;

		random = random * 1664525 + 1013904223;
		from = random >> 24;
		n = 1 + (random >> 12) % (256 - from < 20 ? 256 - from : 20);
		set = random >> 11 & 1;
		set_attributes(f->vm, from * UINT64_C(0x1000), n * UINT64_C(0x1000),
			       set ? PRIVATE : 0);
		memset(model + from, set, n);
		page = random >> 3 & 255;
		pfnbuf_vm_get_attributes(f->vm, page * UINT64_C(0x1000), &got, &length);
		assert_int_equal(got, model[page] ? PRIVATE : 0);
		while (page + run < 256 && model[page + run] == model[page])
			run++;
		if (page + run < 256 || model[page])
			assert_int_equal(length, run * 0x1000);
		else
			assert_int_equal(length, -(page * UINT64_C(0x1000)));
	}
}

static int run_attributes(void *object, uint64_t *out)
{
	(void)out;
	return pfnbuf_vm_set_attributes(object, 0x10000, 0x1000, PRIVATE);
}

static void attributes_errnos(void **state)
{
	struct fixture *f = *state;
	const struct kvm_memory_attributes in = { .address = 0x10000,
						  .size = 0x1000,
						  .attributes = PRIVATE };
	const struct mock_wrapper wrapper = {
		.function = "pfnbuf_vm_set_attributes",
		.call = "KVM_SET_MEMORY_ATTRIBUTES",
		.object = OBJECT,
		.has_range = true,
		.range = { 0x10000, 0x1000 },
		.run = run_attributes,
		.made = VM_IOCTL(KVM_SET_MEMORY_ATTRIBUTES, MOCK_STRUCT(in)),
		.codes = { EINVAL, ENOTTY, ENOMEM, EIO },
	};
	const struct pfnbuf_range empty = { 0x1000, 0 }, wraps = { 0x1000, UINT64_MAX };
	const struct pfnbuf_range page = { 0x1000, 0x1000 };

	mock_try_errnos(&wrapper, f->vm);
	check_attributes(f->vm, 0, 0, UINT64_MAX);
	/* The page beside one that is set goes another way than the first. */
	set_attributes(f->vm, 0x20000, 0x1000, PRIVATE);
	mock_try_errnos(&wrapper, f->vm);
	check_attributes(f->vm, 0, 0, 0x20000);
	set_attributes(f->vm, 0x10000, 0x1000, PRIVATE);
	check_attributes(f->vm, 0x10000, PRIVATE, 0x1000);
	check_attributes(f->vm, 0x11000, 0, 0xf000);
	assert_fails("pfnbuf_vm_set_attributes",
		     pfnbuf_vm_set_attributes(f->vm, 0x1000, 0x1000, PRIVATE | 1), EINVAL,
		     "KVM_SET_MEMORY_ATTRIBUTES", OBJECT, &page);
	assert_non_null(strstr(pfnbuf_last_error(), "0x9 has unknown attributes"));
	assert_fails("pfnbuf_vm_set_attributes", pfnbuf_vm_set_attributes(f->vm, 0x1000, 0, 0),
		     EINVAL, "KVM_SET_MEMORY_ATTRIBUTES", OBJECT, &empty);
	assert_fails("pfnbuf_vm_set_attributes",
		     pfnbuf_vm_set_attributes(f->vm, 0x1000, UINT64_MAX, 0), EINVAL,
		     "KVM_SET_MEMORY_ATTRIBUTES", OBJECT, &wraps);
	assert_fails("pfnbuf_vm_set_attributes",
		     pfnbuf_vm_set_attributes(f->vm, 0x1000, UINT64_MAX, PRIVATE | 1), EINVAL,
		     "KVM_SET_MEMORY_ATTRIBUTES", OBJECT, &wraps);
	assert_non_null(strstr(pfnbuf_last_error(), "empty or wraps around"));
	mock_done();
}

/* ---------------------------------------------------------------- pre-faulting -------------- */

static void expect_fault(uint64_t gpa, uint64_t size, uint64_t done, int result)
{
	static struct kvm_pre_fault_memory in[16], out[16];
	static unsigned next;
	unsigned i = next++ % 16;

	in[i] = (struct kvm_pre_fault_memory){ .gpa = gpa, .size = size };
	out[i] = (struct kvm_pre_fault_memory){ .gpa = gpa + done, .size = size - done };
	mock_expect_one(.kind = MOCK_IOCTL, .fd = 77, .request = KVM_PRE_FAULT_MEMORY,
			MOCK_STRUCT(in[i]), MOCK_ANSWER(out[i]), .result = result);
}

static void pre_fault(void **state)
{
	struct fixture *f = *state;
	const int codes[] = { EINVAL, ENOENT, EOPNOTSUPP, EFAULT, EAGAIN, EINTR, EBADF };
	const struct pfnbuf_range rest = { 0x12000, 0x6000 };
	uint64_t done = 0;

	expect_fault(0x10000, 0x8000, 0x8000, 0);
	assert_int_equal(pfnbuf_vm_pre_fault(f->vm, 77, 0x10000, 0x8000, NULL), 0);
	/* In three steps. */
	expect_fault(0x10000, 0x8000, 0x1000, 0);
	expect_fault(0x11000, 0x7000, 0x1000, 0);
	expect_fault(0x12000, 0x6000, 0x6000, 0);
	assert_int_equal(pfnbuf_vm_pre_fault(f->vm, 77, 0x10000, 0x8000, &done), 0);
	assert_int_equal(done, 0x8000);
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		expect_fault(0x10000, 0x8000, 0x2000, 0);
		expect_fault(0x12000, 0x6000, 0, -codes[i]);
		done = 0;
		assert_fails("pfnbuf_vm_pre_fault",
			     pfnbuf_vm_pre_fault(f->vm, 77, 0x10000, 0x8000, &done), codes[i],
			     "KVM_PRE_FAULT_MEMORY", OBJECT, &rest);
		assert_int_equal(done, 0x2000);
	}
	/* A kernel that does nothing and says 0 does not hang us. */
	expect_fault(0x12000, 0x6000, 0, 0);
	assert_fails("pfnbuf_vm_pre_fault", pfnbuf_vm_pre_fault(f->vm, 77, 0x12000, 0x6000, NULL),
		     EIO, "KVM_PRE_FAULT_MEMORY", OBJECT, &rest);
	mock_done();
}

/* ---------------------------------------------------------------- devices ------------------- */

static const struct kvm_create_device create_in = { .type = KVM_DEV_TYPE_VFIO };
static const struct kvm_create_device create_out = { .type = KVM_DEV_TYPE_VFIO, .fd = KVM_VFIO_FD };
static const int32_t device_fd = DEVICE_FD;

static void expect_create(int result)
{
	mock_expect_one(.kind = MOCK_IOCTL, .fd = VM_FD, .request = KVM_CREATE_DEVICE,
			MOCK_STRUCT(create_in), .out = result < 0 ? NULL : &create_out,
			.out_size = sizeof(create_out), .result = result);
}

static void expect_file(uint64_t what, int result)
{
	static struct kvm_device_attr in[4];
	static unsigned next;
	unsigned i = next++ % 4;

	in[i] = (struct kvm_device_attr){ .group = KVM_DEV_VFIO_FILE, .attr = what };
	mock_expect_one(.kind = MOCK_IOCTL, .fd = KVM_VFIO_FD, .request = KVM_SET_DEVICE_ATTR,
			MOCK_STRUCT(in[i]), .points = true,
			.pointer_at = offsetof(struct kvm_device_attr, addr),
			.pointed_in = &device_fd, .pointed_in_size = sizeof(device_fd),
			.result = result);
}

static void add_and_remove(void **state)
{
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_vm *vm;
	struct pfnbuf_device *device;
	const int codes[] = { EEXIST, EINVAL, EBADF };

	(void)state;
	mock_reset();
	ctx = fixture_ctx();
	vm = fixture_vm(ctx, true);
	device = fixture_device_opened(ctx);

	expect_create(-ENODEV);
	assert_fails("pfnbuf_vm_add_device", pfnbuf_vm_add_device(vm, device), ENODEV,
		     "KVM_CREATE_DEVICE", OBJECT, NULL);
	expect_create(-EBUSY);
	assert_fails("pfnbuf_vm_add_device", pfnbuf_vm_add_device(vm, device), EBUSY,
		     "KVM_CREATE_DEVICE", OBJECT, NULL);
	expect_create(0);
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		expect_file(KVM_DEV_VFIO_FILE_ADD, -codes[i]);
		assert_fails("pfnbuf_vm_add_device", pfnbuf_vm_add_device(vm, device), codes[i],
			     "KVM_DEV_VFIO_FILE_ADD", DEVICE_NAME, NULL);
	}
	assert_fails("pfnbuf_vm_remove_device", pfnbuf_vm_remove_device(vm, device), ENOENT,
		     "KVM_DEV_VFIO_FILE_DEL", DEVICE_NAME, NULL);
	expect_file(KVM_DEV_VFIO_FILE_ADD, 0);
	assert_int_equal(pfnbuf_vm_add_device(vm, device), 0);
	mock_done();
	assert_fails("pfnbuf_vm_add_device", pfnbuf_vm_add_device(vm, device), EEXIST,
		     "KVM_DEV_VFIO_FILE_ADD", DEVICE_NAME, NULL);
	expect_file(KVM_DEV_VFIO_FILE_DEL, -ENOENT);
	assert_fails("pfnbuf_vm_remove_device", pfnbuf_vm_remove_device(vm, device), ENOENT,
		     "KVM_DEV_VFIO_FILE_DEL", DEVICE_NAME, NULL);
	expect_file(KVM_DEV_VFIO_FILE_DEL, 0);
	assert_int_equal(pfnbuf_vm_remove_device(vm, device), 0);
	mock_done();
	/* Made once. */
	expect_file(KVM_DEV_VFIO_FILE_ADD, 0);
	assert_int_equal(pfnbuf_vm_add_device(vm, device), 0);
	assert_fails("pfnbuf_vm_add_device", pfnbuf_vm_add_device(vm, NULL), EINVAL,
		     "KVM_DEV_VFIO_FILE_ADD", "device", NULL);
	assert_fails("pfnbuf_vm_remove_device", pfnbuf_vm_remove_device(vm, NULL), EINVAL,
		     "KVM_DEV_VFIO_FILE_DEL", "device", NULL);

	/* Closing the device takes it out. */
	expect_file(KVM_DEV_VFIO_FILE_DEL, 0);
	fixture_expect_close(false, false);
	assert_null(pfnbuf_device_close(device));
	mock_expect_one(.kind = MOCK_CLOSE, .fd = KVM_VFIO_FD);
	end_vm(vm);
	fixture_free_ctx(ctx);
}

static void end_drops_devices(void **state)
{
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_vm *vm;
	struct pfnbuf_device *device;

	(void)state;
	mock_reset();
	ctx = fixture_ctx();
	vm = fixture_vm(ctx, true);
	device = fixture_device_opened(ctx);
	expect_create(0);
	expect_file(KVM_DEV_VFIO_FILE_ADD, 0);
	assert_int_equal(pfnbuf_vm_add_device(vm, device), 0);
	expect_file(KVM_DEV_VFIO_FILE_DEL, -ENOENT);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = KVM_VFIO_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = VM_FD);
	assert_null(pfnbuf_vm_free(vm));
	mock_logged(PFNBUF_LOG_ERROR, "KVM_DEV_VFIO_FILE_DEL on " DEVICE_NAME ": ENOENT");
	fixture_expect_close(false, false);
	assert_null(pfnbuf_device_close(device));
	fixture_free_ctx(ctx);
}

static void too_late_to_add(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_device *device = fixture_device(f->ctx);

	assert_fails("pfnbuf_vm_add_device", pfnbuf_vm_add_device(f->vm, device), EALREADY,
		     "KVM_DEV_VFIO_FILE_ADD", DEVICE_NAME, NULL);
	fixture_close(f->ctx, device);
}

/* Slots over a BAR mapping go before the mapping does. */
static void close_withdraws_slots(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_device *device = fixture_device(f->ctx);
	void *addr = NULL;

	mock_expect_one(.kind = MOCK_MMAP, .fd = DEVICE_FD, .request = 1, .mode = 3,
			.value = BAR_AT(0, 0x1000), .length = 0x4000, .out = (void *)0x700000);
	assert_int_equal(pfnbuf_device_bar_map(device, 0, 0x1000, 0x4000, &addr), 0);
	set_slot(f->vm, 0, 0x10000, 0x2000, 0x702000);
	assert_fails("pfnbuf_device_bar_unmap", pfnbuf_device_bar_unmap(device, addr), EBUSY,
		     "munmap of a BAR", DEVICE_NAME, NULL);

	mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD, .mode = 2, .target = REMOVAL_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = REMOVAL_FD);
	mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD, .mode = 2, .target = ERROR_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = ERROR_FD);
	fixture_expect_event();
	expect_region(region(0, 0, 0x10000, 0, 0x702000), 0);
	mock_expect_one(.kind = MOCK_MUNMAP, .value = 0x700000, .length = 0x4000);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = DEVICE_FD);
	assert_null(pfnbuf_device_close(device));
	mock_done();
	fixture_pop_all(f->ctx);
	mock_done();
}

/* While a bind has the device, no guest gets what is mapped of it, nor its buffers, by others. */
static void slots_of_a_lent_device(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_device *device = fixture_device(f->ctx);
	struct pfnbuf_buf *buf = fixture_export(device, BUF_FD, 0x1000);
	struct pfnbuf_slot slot = { .gpa = 0x10000, .length = 0x2000, .addr = (void *)0x6ff000 };
	const struct pfnbuf_range range = { slot.gpa, slot.length };
	void *addr = NULL;
	uint32_t id = 77;

	mock_expect_one(.kind = MOCK_MMAP, .fd = DEVICE_FD, .request = 1, .mode = 3,
			.value = BAR_AT(0, 0x1000), .length = 0x1000, .out = (void *)0x700000);
	assert_int_equal(pfnbuf_device_bar_map(device, 0, 0x1000, 0x1000, &addr), 0);
	pfnbuf_device_set_lent(device, PFNBUF_LENT);
	assert_fails("pfnbuf_vm_set_slot", pfnbuf_vm_set_slot(f->vm, &slot, &id), EBUSY,
		     "KVM_SET_USER_MEMORY_REGION2", OBJECT, &range);
	slot.addr = (void *)0x700000;
	assert_fails("pfnbuf_vm_set_slot", pfnbuf_vm_set_slot(f->vm, &slot, &id), EBUSY,
		     "KVM_SET_USER_MEMORY_REGION2", OBJECT, &range);
	slot.addr = (void *)0x900000;
	slot.guest_memfd = buf;
	assert_fails("pfnbuf_vm_set_slot", pfnbuf_vm_set_slot(f->vm, &slot, &id), EBUSY,
		     "KVM_SET_USER_MEMORY_REGION2", OBJECT, &range);
	assert_int_equal(id, 77);
	mock_done();
	/* What is next to the mapping is somebody else's. */
	set_slot(f->vm, 0, 0x10000, 0x2000, 0x6fe000);
	delete_slot(f->vm, 0, 0x10000, 0x6fe000);
	set_slot(f->vm, 0, 0x10000, 0x2000, 0x701000);
	delete_slot(f->vm, 0, 0x10000, 0x701000);
	/* The bind's windows go past it. */
	slot = (struct pfnbuf_slot){ .gpa = 0x10000, .length = 0x1000, .addr = addr };
	expect_region(region(0, 0, 0x10000, 0x1000, 0x700000), 0);
	assert_int_equal(pfnbuf_vm_enter_slot(f->vm, &slot, false, &id), 0);
	delete_slot(f->vm, 0, 0x10000, 0x700000);
	pfnbuf_device_set_lent(device, PFNBUF_HOME);
	mock_expect_one(.kind = MOCK_MUNMAP, .value = 0x700000, .length = 0x1000);
	assert_int_equal(pfnbuf_device_bar_unmap(device, addr), 0);
	fixture_unref(buf);
	fixture_close(f->ctx, device);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_errnos),
		cmocka_unit_test(from_fd),
		cmocka_unit_test(from_fd_errnos),
		TEST(check_extension),
		TEST(set_move_log_delete),
		TEST(guest_memfd_slot),
		TEST(dmabuf_slot),
		cmocka_unit_test_setup_teardown(old_kernel, setup_old, teardown),
		TEST(lowest_free_id),
		cmocka_unit_test(thirty_two_thousand),
		TEST(slot_errnos),
		TEST(slot_refused),
		TEST(names_the_slot_in_the_way),
		TEST(dirty_log),
		TEST(slots_over_memory),
		cmocka_unit_test(end_deletes_slots),
		TEST(attributes),
		TEST(attributes_against_an_array),
		TEST(attributes_errnos),
		TEST(pre_fault),
		cmocka_unit_test(add_and_remove),
		cmocka_unit_test(end_drops_devices),
		TEST(too_late_to_add),
		TEST(close_withdraws_slots),
		TEST(slots_of_a_lent_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
