/* SPDX-License-Identifier: MIT */
/*
 * Memory slots, guest_memfd, attributes and dirty logging on the kernel that runs, through the
 * library's public interface. Exits 77 where /dev/kvm does not open. What this kernel lacks is
 * skipped by name.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <pfnbuf.h>

#include "libpfnbuf/uapi/kvm.h"
#ifdef HAVE_GUEST
#include "tests/vm/guest.h"
#endif

#define MANY_SLOTS 32000

/* A VM of our own over a context of our own, and memory to put behind slots. */
struct host {
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_vm *vm;
	uint64_t page;
	unsigned char *ram;
	uint64_t ram_size;
	uint32_t free_at_start;
};

static int set_up(void **state)
{
	struct host *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	h->page = (uint64_t)sysconf(_SC_PAGESIZE);
	h->ram_size = 64 * h->page;
	h->ram =
		mmap(NULL, h->ram_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(h->ram, MAP_FAILED);
	assert_int_equal(pfnbuf_ctx_new(&h->ctx, NULL), 0);
	if (pfnbuf_vm_new(h->ctx, PFNBUF_VM_DEFAULT, &h->vm) < 0)
		fail_msg("%s", pfnbuf_last_error());
	h->free_at_start = pfnbuf_vm_get_free_slots(h->vm);
	*state = h;
	return 0;
}

static int tear_down(void **state)
{
	struct host *h = *state;

	h->vm = pfnbuf_vm_free(h->vm);
	h->ctx = pfnbuf_ctx_free(h->ctx);
	munmap(h->ram, h->ram_size);
	free(h);
	return 0;
}

static int extension(struct pfnbuf_vm *vm, unsigned cap)
{
	int value = -1;

	assert_int_equal(pfnbuf_vm_check_extension(vm, cap, &value), 0);
	return value;
}

/* Leave the test, naming what the running kernel lacks. */
#define skip_unless(condition, name)                                                               \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			print_message("skipped: this kernel has no %s\n", name);                   \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

#define assert_ok(call)                                                                            \
	do {                                                                                       \
		const int r_ = (call);                                                             \
		if (r_ < 0)                                                                        \
			fail_msg("%s: %s", #call, pfnbuf_last_error());                            \
	} while (0)

/* The call fails so, and the last error says the same and why. */
#define assert_refused(call, error)                                                                \
	do {                                                                                       \
		assert_int_equal((call), -(error));                                                \
		assert_int_equal(pfnbuf_last_error_record()->code, -(error));                      \
		assert_non_null(strstr(pfnbuf_last_error(), pfnbuf_errno_name(error)));            \
		assert_true(strlen(pfnbuf_last_error_record()->cause) > 0);                        \
	} while (0)

static struct pfnbuf_slot ram_slot(const struct host *h, uint64_t gpa, uint64_t pages)
{
	return (struct pfnbuf_slot){
		.gpa = gpa,
		.length = pages * h->page,
		.addr = h->ram,
	};
}

static uint32_t set_ram(struct host *h, uint64_t gpa, uint64_t pages)
{
	const struct pfnbuf_slot slot = ram_slot(h, gpa, pages);
	uint32_t id = UINT32_MAX;

	assert_ok(pfnbuf_vm_set_slot(h->vm, &slot, &id));
	return id;
}

/* ---------------------------------------------------------------- slots --------------------- */

static void test_slot_is_what_was_set(void **state)
{
	struct host *h = *state;
	const struct pfnbuf_slot slot = ram_slot(h, 0x100000, 4);
	struct pfnbuf_slot got = { 0 };
	uint32_t id = UINT32_MAX, found = UINT32_MAX;

	assert_int_equal(pfnbuf_vm_next_slot(h->vm, 0, &found, &got), 0);
	assert_ok(pfnbuf_vm_set_slot(h->vm, &slot, &id));
	assert_int_equal(id, 0);
	assert_int_equal(pfnbuf_vm_get_free_slots(h->vm), h->free_at_start - 1);
	assert_int_equal(pfnbuf_vm_next_slot(h->vm, 0, &found, &got), 1);
	assert_int_equal(found, id);
	assert_memory_equal(&got, &slot, sizeof(slot));
	assert_int_equal(pfnbuf_vm_next_slot(h->vm, id + 1, &found, &got), 0);
	assert_ok(pfnbuf_vm_delete_slot(h->vm, id));
	assert_int_equal(pfnbuf_vm_get_free_slots(h->vm), h->free_at_start);
	assert_refused(pfnbuf_vm_delete_slot(h->vm, id), ENOENT);
}

/* The kernel itself is asked where the slot is: it refuses what overlaps and takes what does not. */
static void test_move(void **state)
{
	struct host *h = *state;
	const uint64_t old_gpa = 0x100000, new_gpa = 0x200000;
	const struct pfnbuf_slot at_old = ram_slot(h, old_gpa, 4), at_new = ram_slot(h, new_gpa, 4);
	uint32_t id = set_ram(h, old_gpa, 4), other, found;
	struct pfnbuf_slot got;

	assert_refused(pfnbuf_vm_set_slot(h->vm, &at_old, &other), EEXIST);
	assert_ok(pfnbuf_vm_move_slot(h->vm, id, new_gpa));
	assert_int_equal(pfnbuf_vm_next_slot(h->vm, id, &found, &got), 1);
	assert_int_equal(got.gpa, new_gpa);
	assert_refused(pfnbuf_vm_set_slot(h->vm, &at_new, &other), EEXIST);
	assert_ok(pfnbuf_vm_set_slot(h->vm, &at_old, &other));

	/* Back is taken now; the slot stays where it is. */
	assert_refused(pfnbuf_vm_move_slot(h->vm, id, old_gpa), EEXIST);
	assert_int_equal(pfnbuf_vm_next_slot(h->vm, id, &found, &got), 1);
	assert_int_equal(got.gpa, new_gpa);
	assert_refused(pfnbuf_vm_move_slot(h->vm, id, new_gpa + 1), EINVAL);
	assert_refused(pfnbuf_vm_move_slot(h->vm, id + 17, new_gpa), ENOENT);
	assert_ok(pfnbuf_vm_delete_slot(h->vm, id));
	assert_ok(pfnbuf_vm_delete_slot(h->vm, other));
}

static void test_overlap(void **state)
{
	struct host *h = *state;
	const uint64_t gpa = 0x100000;
	struct pfnbuf_slot slot;
	uint32_t id = set_ram(h, gpa, 4), other = 77;

	slot = ram_slot(h, gpa + 3 * h->page, 2);
	assert_refused(pfnbuf_vm_set_slot(h->vm, &slot, &other), EEXIST);
	assert_int_equal(other, 77);
	assert_int_equal(pfnbuf_vm_get_free_slots(h->vm), h->free_at_start - 1);
	assert_true(pfnbuf_last_error_record()->has_range);
	assert_int_equal(pfnbuf_last_error_record()->range.offset, slot.gpa);
	assert_non_null(strstr(pfnbuf_last_error(), "0x100000"));

	/* Neighbours are no overlap, on either side. */
	slot = ram_slot(h, gpa + 4 * h->page, 2);
	assert_ok(pfnbuf_vm_set_slot(h->vm, &slot, NULL));
	slot = ram_slot(h, gpa - 2 * h->page, 2);
	assert_ok(pfnbuf_vm_set_slot(h->vm, &slot, NULL));
	assert_ok(pfnbuf_vm_delete_slot(h->vm, id));
	assert_int_equal(set_ram(h, gpa, 4), id);
}

static void test_bad_slots(void **state)
{
	struct host *h = *state;
	const struct pfnbuf_slot good = ram_slot(h, 0x100000, 4);
	struct pfnbuf_slot bad[7];
	uint32_t id = 77, found;
	struct pfnbuf_slot got;

	for (size_t i = 0; i < 7; i++)
		bad[i] = good;
	bad[0].gpa += 1;
	bad[1].length += 1;
	bad[2].addr = (char *)good.addr + 1;
	bad[3].length = 0;
	bad[4].gpa = UINT64_MAX - h->page + 1;
	bad[5].flags = 1 << 9;
	bad[6].length = UINT64_MAX - h->page + 1;
	for (size_t i = 0; i < 7; i++) {
		assert_refused(pfnbuf_vm_set_slot(h->vm, &bad[i], &id), EINVAL);
		assert_int_equal(id, 77);
		assert_int_equal(pfnbuf_vm_next_slot(h->vm, 0, &found, &got), 0);
		assert_int_equal(pfnbuf_vm_get_free_slots(h->vm), h->free_at_start);
	}
}

/* Up to 32,000 slots, then every second gone, then all: ids come back, the lowest first. */
static void test_many_slots(void **state)
{
	struct host *h = *state;
	const uint32_t many = h->free_at_start < MANY_SLOTS ? h->free_at_start : MANY_SLOTS;
	const uint64_t base = UINT64_C(1) << 32;

	if (many < MANY_SLOTS)
		print_message("this kernel has %u slots, not %d\n", many, MANY_SLOTS);
	for (uint32_t i = 0; i < many; i++)
		assert_int_equal(set_ram(h, base + 2 * i * h->page, 1), i);
	assert_int_equal(pfnbuf_vm_get_free_slots(h->vm), h->free_at_start - many);

	for (uint32_t i = 0; i < many; i += 2)
		assert_ok(pfnbuf_vm_delete_slot(h->vm, i));
	assert_int_equal(pfnbuf_vm_get_free_slots(h->vm), h->free_at_start - many + (many + 1) / 2);
	for (uint32_t i = 0; i < many; i += 2)
		assert_int_equal(set_ram(h, base + 2 * i * h->page, 1), i);

	for (uint32_t i = many; i-- > 0;)
		assert_ok(pfnbuf_vm_delete_slot(h->vm, i));
	assert_int_equal(pfnbuf_vm_get_free_slots(h->vm), h->free_at_start);
	assert_int_equal(set_ram(h, base, 1), 0);
}

/* ---------------------------------------------------------------- a VMM's VM ---------------- */

static int raw_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm;

	assert_true(kvm >= 0);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	assert_true(vm >= 0);
	close(kvm);
	return vm;
}

static int raw_slot(int vm, uint32_t id, uint64_t gpa, uint64_t length, void *addr)
{
	struct kvm_userspace_memory_region region = {
		.slot = id,
		.guest_phys_addr = gpa,
		.memory_size = length,
		.userspace_addr = (uintptr_t)addr,
	};

	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

/* The library keeps to its ids; the VMM's slot is neither touched nor forgotten. */
static void test_from_fd_with_a_range(void **state)
{
	struct host *h = *state;
	int fd = raw_vm();
	struct pfnbuf_slot slot = ram_slot(h, 0x100000, 1);
	struct pfnbuf_vm *vm;
	uint32_t id;

	assert_int_equal(raw_slot(fd, 0, 0, h->page, h->ram), 0);
	assert_ok(pfnbuf_vm_from_fd(h->ctx, fd, PFNBUF_FD_BORROWED, 100, 3, &vm));
	assert_int_equal(pfnbuf_vm_get_fd(vm), fd);
	assert_int_equal(pfnbuf_vm_get_free_slots(vm), 3);
	for (uint32_t i = 0; i < 3; i++, slot.gpa += h->page) {
		assert_ok(pfnbuf_vm_set_slot(vm, &slot, &id));
		assert_int_equal(id, 100 + i);
	}
	assert_refused(pfnbuf_vm_set_slot(vm, &slot, &id), ENOSPC);
	assert_int_equal(pfnbuf_vm_get_free_slots(vm), 0);
	assert_ok(pfnbuf_vm_delete_slot(vm, 101));
	assert_ok(pfnbuf_vm_set_slot(vm, &slot, &id));
	assert_int_equal(id, 101);
	assert_refused(pfnbuf_vm_delete_slot(vm, 0), ENOENT);

	/* The VMM's slot is in the way of the library's as any other. */
	assert_ok(pfnbuf_vm_delete_slot(vm, 100));
	slot.gpa = 0;
	assert_refused(pfnbuf_vm_set_slot(vm, &slot, &id), EEXIST);

	/* The borrowed fd outlives the object; its slots do not, and the VMM's does. */
	vm = pfnbuf_vm_free(vm);
	assert_int_equal(raw_slot(fd, 5, 0, h->page, h->ram), -EEXIST);
	assert_int_equal(raw_slot(fd, 5, 0x100000, 16 * h->page, h->ram), 0);
	close(fd);
}

static void test_from_fd_bad(void **state)
{
	struct host *h = *state;
	struct pfnbuf_vm *vm = NULL;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), fd = raw_vm();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), total;

	total = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
	assert_refused(pfnbuf_vm_from_fd(h->ctx, kvm, 0, 0, 0, &vm), ENOTTY);
	assert_refused(pfnbuf_vm_from_fd(h->ctx, null, 0, 0, 0, &vm), ENOTTY);
	assert_refused(pfnbuf_vm_from_fd(h->ctx, -1, 0, 0, 0, &vm), EBADF);
	assert_refused(pfnbuf_vm_from_fd(h->ctx, fd, 1u << 30, 0, 0, &vm), EINVAL);
	assert_refused(pfnbuf_vm_from_fd(h->ctx, fd, 0, (uint32_t)total, 0, &vm), EINVAL);
	assert_refused(pfnbuf_vm_from_fd(h->ctx, fd, 0, 1, (uint32_t)total, &vm), EINVAL);
	assert_null(vm);

	/* On failure the fd stayed the caller's, open; on success without BORROWED it goes. */
	assert_true(fcntl(fd, F_GETFD) >= 0);
	assert_ok(pfnbuf_vm_from_fd(h->ctx, fd, 0, 0, 0, &vm));
	assert_int_equal(pfnbuf_vm_get_free_slots(vm), total);
	pfnbuf_vm_free(vm);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	close(kvm);
	close(null);
}

/* ---------------------------------------------------------------- dirty logging ------------- */

static void test_dirty_log(void **state)
{
	struct host *h = *state;
	uint32_t id = set_ram(h, 0x100000, 65);
	uint64_t bitmap[2] = { ~UINT64_C(0), ~UINT64_C(0) };

	assert_refused(pfnbuf_vm_get_dirty_log(h->vm, id, bitmap, sizeof(bitmap)), ENOENT);
	assert_ok(pfnbuf_vm_set_slot_flags(h->vm, id, PFNBUF_SLOT_LOG_DIRTY));
	assert_refused(pfnbuf_vm_get_dirty_log(h->vm, id, bitmap, sizeof(bitmap) - 1), EINVAL);
	assert_int_equal(bitmap[0], ~UINT64_C(0));
	assert_ok(pfnbuf_vm_get_dirty_log(h->vm, id, bitmap, sizeof(bitmap)));
	/* No vCPU ran, so nothing is dirty; the kernel wrote both words. */
	assert_int_equal(bitmap[0], 0);
	assert_int_equal(bitmap[1], 0);
	assert_ok(pfnbuf_vm_set_slot_flags(h->vm, id, 0));
	assert_refused(pfnbuf_vm_get_dirty_log(h->vm, id, bitmap, sizeof(bitmap)), ENOENT);
	assert_refused(pfnbuf_vm_set_slot_flags(h->vm, id + 1, 0), ENOENT);
}

static void test_read_only_slot(void **state)
{
	struct host *h = *state;
	struct pfnbuf_slot slot = ram_slot(h, 0x100000, 1);
	uint32_t id;

	slot.flags = PFNBUF_SLOT_READONLY;
	skip_unless(extension(h->vm, KVM_CAP_READONLY_MEM), "KVM_CAP_READONLY_MEM");
	assert_ok(pfnbuf_vm_set_slot(h->vm, &slot, &id));
	/* READONLY is for life; logging may be added to it and taken away. */
	assert_refused(pfnbuf_vm_set_slot_flags(h->vm, id, 0), EINVAL);
	assert_ok(
		pfnbuf_vm_set_slot_flags(h->vm, id, PFNBUF_SLOT_READONLY | PFNBUF_SLOT_LOG_DIRTY));
	assert_ok(pfnbuf_vm_set_slot_flags(h->vm, id, PFNBUF_SLOT_READONLY));
}

/* ---------------------------------------------------------------- guest_memfd --------------- */

static void require_guest_memfd(struct host *h, int flags)
{
	int has = extension(h->vm, KVM_CAP_GUEST_MEMFD);
	int taken = has ? extension(h->vm, KVM_CAP_GUEST_MEMFD_FLAGS) : 0;

	skip_unless(has, "KVM_CAP_GUEST_MEMFD");
	skip_unless(!(flags & PFNBUF_GUEST_MEMFD_MMAP & ~taken), "GUEST_MEMFD_FLAG_MMAP");
	skip_unless(!(flags & PFNBUF_GUEST_MEMFD_INIT_SHARED & ~taken),
		    "GUEST_MEMFD_FLAG_INIT_SHARED");
}

/* Shared from the start and mappable: what is written is read, and gone after a discard. */
static void test_guest_memfd_shared(void **state)
{
	struct host *h = *state;
	const unsigned flags = PFNBUF_GUEST_MEMFD_MMAP | PFNBUF_GUEST_MEMFD_INIT_SHARED;
	struct pfnbuf_buf *buf;
	unsigned char *memory;
	void *addr;

	require_guest_memfd(h, (int)flags);
	assert_ok(pfnbuf_buf_new_guest_memfd(h->vm, 4 * h->page, flags, &buf));
	assert_int_equal(pfnbuf_buf_get_kind(buf), PFNBUF_GUEST_MEMFD);
	assert_int_equal(pfnbuf_buf_get_length(buf), 4 * h->page);
	assert_true(fcntl(pfnbuf_buf_get_fd(buf), F_GETFD) & FD_CLOEXEC);
	assert_ok(pfnbuf_buf_map(buf, h->page, 2 * h->page, &addr));
	memory = addr;
	memset(memory, 0x5a, 2 * h->page);
	assert_int_equal(memory[2 * h->page - 1], 0x5a);
	assert_ok(pfnbuf_buf_discard(buf, h->page, h->page));
	assert_int_equal(memory[0], 0);
	assert_int_equal(memory[h->page], 0x5a);
	assert_refused(pfnbuf_buf_discard(buf, 3 * h->page, 2 * h->page), EINVAL);
	assert_refused(pfnbuf_buf_map(buf, 1, h->page, &addr), EINVAL);
	assert_ok(pfnbuf_buf_unmap(buf, memory, 2 * h->page));
	pfnbuf_buf_unref(buf);
}

static void test_guest_memfd_private(void **state)
{
	struct host *h = *state;
	struct pfnbuf_buf *buf = NULL;
	void *addr;

	require_guest_memfd(h, 0);
	assert_refused(pfnbuf_buf_new_guest_memfd(h->vm, 0, 0, &buf), EINVAL);
	assert_refused(pfnbuf_buf_new_guest_memfd(h->vm, h->page + 1, 0, &buf), EINVAL);
	assert_refused(pfnbuf_buf_new_guest_memfd(h->vm, h->page, 1u << 31, &buf), EINVAL);
	assert_null(buf);
	assert_ok(pfnbuf_buf_new_guest_memfd(h->vm, h->page, 0, &buf));
	assert_refused(pfnbuf_buf_map(buf, 0, h->page, &addr), ENODEV);
	pfnbuf_buf_unref(buf);
}

/* The kernel's slot does not hold the file; the library's does, and lets it go with the slot. */
static void test_guest_memfd_slot(void **state)
{
	struct host *h = *state;
	const unsigned flags = PFNBUF_GUEST_MEMFD_MMAP | PFNBUF_GUEST_MEMFD_INIT_SHARED;
	struct pfnbuf_slot slot = ram_slot(h, 0x100000, 2);
	struct pfnbuf_buf *buf;
	uint32_t id, other = 77;
	int fd;

	require_guest_memfd(h, (int)flags);
	skip_unless(extension(h->vm, KVM_CAP_USER_MEMORY2), "KVM_CAP_USER_MEMORY2");
	assert_ok(pfnbuf_buf_new_guest_memfd(h->vm, 4 * h->page, flags, &buf));
	fd = pfnbuf_buf_get_fd(buf);
	slot.guest_memfd = buf;
	slot.guest_memfd_offset = h->page;
	assert_ok(pfnbuf_vm_set_slot(h->vm, &slot, &id));
	pfnbuf_buf_unref(buf);
	assert_true(fcntl(fd, F_GETFD) >= 0);

	/* The same bytes cannot be in two slots: EEXIST in Linux 7.3, EINVAL in 6.18. */
	slot.gpa = 0x200000;
	assert_int_not_equal(pfnbuf_vm_set_slot(h->vm, &slot, &other), 0);
	assert_true(pfnbuf_last_error_record()->code == -EEXIST ||
		    pfnbuf_last_error_record()->code == -EINVAL);

	/* Nor may a slot leave the file, nor such a one move. */
	slot.guest_memfd_offset = 3 * h->page;
	assert_refused(pfnbuf_vm_set_slot(h->vm, &slot, &other), EINVAL);
	assert_int_equal(other, 77);
	assert_refused(pfnbuf_vm_move_slot(h->vm, id, 0x300000), EINVAL);
	assert_refused(pfnbuf_vm_set_slot_flags(h->vm, id, PFNBUF_SLOT_LOG_DIRTY), EINVAL);
	slot.flags = PFNBUF_SLOT_READONLY;
	slot.guest_memfd_offset = 0;
	assert_refused(pfnbuf_vm_set_slot(h->vm, &slot, &other), EINVAL);

	assert_ok(pfnbuf_vm_delete_slot(h->vm, id));
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_guest_memfd_of_another_vm(void **state)
{
	struct host *h = *state;
	struct pfnbuf_slot slot = ram_slot(h, 0x100000, 1);
	struct pfnbuf_vm *other;
	struct pfnbuf_buf *buf;
	uint32_t id;

	require_guest_memfd(h, 0);
	assert_ok(pfnbuf_vm_new(h->ctx, PFNBUF_VM_DEFAULT, &other));
	assert_ok(pfnbuf_buf_new_guest_memfd(other, h->page, 0, &buf));
	slot.guest_memfd = buf;
	assert_refused(pfnbuf_vm_set_slot(h->vm, &slot, &id), EINVAL);
	assert_int_equal(pfnbuf_vm_get_free_slots(h->vm), h->free_at_start);
	pfnbuf_buf_unref(buf);
	pfnbuf_vm_free(other);
}

static void test_memfd_is_no_guest_memfd(void **state)
{
	struct host *h = *state;
	struct pfnbuf_slot slot = ram_slot(h, 0x100000, 1);
	struct pfnbuf_buf *buf;
	uint32_t id;

	assert_ok(pfnbuf_buf_new_memfd(h->ctx, h->page, 0, &buf));
	slot.guest_memfd = buf;
	assert_refused(pfnbuf_vm_set_slot(h->vm, &slot, &id), EINVAL);
	pfnbuf_buf_unref(buf);
}

/* ---------------------------------------------------------------- attributes ---------------- */

/* A VM without private memory has no attribute to set; 0 over anything is what it is already. */
static void test_attributes_of_a_default_vm(void **state)
{
	struct host *h = *state;
	int r = pfnbuf_vm_set_attributes(h->vm, 0, h->page, 0);

	skip_unless(r != -ENOTTY, "KVM_SET_MEMORY_ATTRIBUTES");
	assert_int_equal(r, 0);
	assert_int_equal(extension(h->vm, KVM_CAP_MEMORY_ATTRIBUTES), 0);
	assert_refused(pfnbuf_vm_set_attributes(h->vm, 0, h->page, PFNBUF_ATTRIBUTE_PRIVATE),
		       EINVAL);
}

static void test_attributes_of_a_protected_vm(void **state)
{
	struct host *h = *state;
	struct pfnbuf_vm *vm;

	skip_unless(extension(h->vm, KVM_CAP_VM_TYPES) & 1 << PFNBUF_VM_SW_PROTECTED,
		    "VM type SW_PROTECTED");
	assert_ok(pfnbuf_vm_new(h->ctx, PFNBUF_VM_SW_PROTECTED, &vm));
	assert_int_equal(extension(vm, KVM_CAP_MEMORY_ATTRIBUTES), PFNBUF_ATTRIBUTE_PRIVATE);
	assert_ok(pfnbuf_vm_set_attributes(vm, 0, 16 * h->page, PFNBUF_ATTRIBUTE_PRIVATE));
	assert_ok(pfnbuf_vm_set_attributes(vm, 4 * h->page, 4 * h->page, 0));
	assert_refused(pfnbuf_vm_set_attributes(vm, 1, h->page, 0), EINVAL);
	assert_refused(pfnbuf_vm_set_attributes(vm, 0, h->page + 1, 0), EINVAL);
	assert_refused(pfnbuf_vm_set_attributes(vm, 0, 0, 0), EINVAL);
	assert_refused(pfnbuf_vm_set_attributes(vm, 0, h->page, 1 << 4), EINVAL);
	assert_refused(pfnbuf_vm_set_attributes(vm, UINT64_MAX - h->page + 1, 2 * h->page, 0),
		       EINVAL);
	pfnbuf_vm_free(vm);
}

static void test_unknown_vm_type(void **state)
{
	struct host *h = *state;
	struct pfnbuf_vm *vm = NULL;

	assert_refused(pfnbuf_vm_new(h->ctx, 31, &vm), EINVAL);
	assert_null(vm);
}

/* ---------------------------------------------------------------- a guest ------------------- */

#ifdef HAVE_GUEST
#define CODE_GPA 0x40000000

/* A vCPU in the VM; its page of code takes the last slot id, which the library comes to last. */
static void start_guest(const struct host *h, struct guest *guest)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	const int last = extension(h->vm, KVM_CAP_NR_MEMSLOTS) - 1;
	int r;

	assert_true(kvm >= 0);
	r = guest_start(guest, kvm, pfnbuf_vm_get_fd(h->vm), (unsigned)last, CODE_GPA);
	close(kvm);
	if (r < 0)
		fail_msg("no guest: %s", pfnbuf_errno_name(r));
}

/* What the guest reaches is what the library says: set, moved, read-only, deleted. */
static void test_guest_reaches_slots(void **state)
{
	struct host *h = *state;
	struct pfnbuf_slot slot = ram_slot(h, 0x100000, 4);
	struct guest guest;
	uint32_t id, word = 0x12345678, value = 0;

	start_guest(h, &guest);
	assert_int_equal(guest_write32(&guest, 0x101004, word), KVM_EXIT_MMIO);
	assert_ok(pfnbuf_vm_set_slot(h->vm, &slot, &id));
	assert_int_equal(guest_write32(&guest, 0x101004, word), 0);
	assert_memory_equal(h->ram + 0x1004, &word, sizeof(word));

	assert_ok(pfnbuf_vm_move_slot(h->vm, id, 0x200000));
	assert_int_equal(guest_read32(&guest, 0x101004, &value), KVM_EXIT_MMIO);
	assert_int_equal(guest_read32(&guest, 0x201004, &value), 0);
	assert_int_equal(value, word);

	assert_ok(pfnbuf_vm_delete_slot(h->vm, id));
	assert_int_equal(guest_read32(&guest, 0x201004, &value), KVM_EXIT_MMIO);
	slot.flags = PFNBUF_SLOT_READONLY;
	assert_ok(pfnbuf_vm_set_slot(h->vm, &slot, &id));
	assert_int_equal(guest_read32(&guest, 0x101004, &value), 0);
	assert_int_equal(value, word);
	assert_int_equal(guest_write32(&guest, 0x101004, 0), KVM_EXIT_MMIO);
	assert_memory_equal(h->ram + 0x1004, &word, sizeof(word));
	guest_stop(&guest);
}

/* The pages that the guest wrote are dirty, once; those that it read are not. */
static void test_guest_dirties_pages(void **state)
{
	struct host *h = *state;
	uint32_t id = set_ram(h, 0x100000, 64), value;
	uint64_t bitmap = 0;
	struct guest guest;

	start_guest(h, &guest);
	assert_ok(pfnbuf_vm_set_slot_flags(h->vm, id, PFNBUF_SLOT_LOG_DIRTY));
	assert_int_equal(guest_write32(&guest, 0x100000 + 3 * h->page, 1), 0);
	assert_int_equal(guest_write32(&guest, 0x100000 + 63 * h->page, 1), 0);
	assert_int_equal(guest_read32(&guest, 0x100000 + 9 * h->page, &value), 0);
	assert_ok(pfnbuf_vm_get_dirty_log(h->vm, id, &bitmap, sizeof(bitmap)));
	assert_int_equal(bitmap, UINT64_C(1) << 63 | UINT64_C(1) << 3);
	assert_ok(pfnbuf_vm_get_dirty_log(h->vm, id, &bitmap, sizeof(bitmap)));
	assert_int_equal(bitmap, 0);
	assert_int_equal(guest_write32(&guest, 0x100000 + 3 * h->page, 2), 0);
	assert_ok(pfnbuf_vm_get_dirty_log(h->vm, id, &bitmap, sizeof(bitmap)));
	assert_int_equal(bitmap, 1 << 3);
	guest_stop(&guest);
}

/*
 * A shared guest_memfd: what the guest writes is in the file. The slot's address is the file's
 * mapping, because KVM goes there when it emulates an access of the guest's.
 */
static void test_guest_writes_guest_memfd(void **state)
{
	struct host *h = *state;
	const unsigned flags = PFNBUF_GUEST_MEMFD_MMAP | PFNBUF_GUEST_MEMFD_INIT_SHARED;
	struct pfnbuf_slot slot = ram_slot(h, 0x100000, 2);
	uint32_t word = 0xfeedface, value = 0;
	struct pfnbuf_buf *buf;
	struct guest guest;
	void *memory;

	require_guest_memfd(h, (int)flags);
	assert_ok(pfnbuf_buf_new_guest_memfd(h->vm, 2 * h->page, flags, &buf));
	assert_ok(pfnbuf_buf_map(buf, 0, 2 * h->page, &memory));
	slot.guest_memfd = buf;
	slot.addr = memory;
	assert_ok(pfnbuf_vm_set_slot(h->vm, &slot, NULL));
	start_guest(h, &guest);
	assert_int_equal(guest_write32(&guest, 0x101000, word), 0);
	assert_memory_equal((char *)memory + h->page, &word, sizeof(word));

	/* Given back, the page reads as zero in the guest, too. */
	assert_ok(pfnbuf_buf_discard(buf, h->page, h->page));
	assert_int_equal(guest_read32(&guest, 0x101000, &value), 0);
	assert_int_equal(value, 0);
	guest_stop(&guest);
	assert_ok(pfnbuf_buf_unmap(buf, memory, 2 * h->page));
	pfnbuf_buf_unref(buf);
}
#endif

/* ---------------------------------------------------------------- the end ------------------- */

static void test_end_gives_everything_back(void **state)
{
	struct host *h = *state;
	int before, after;

	before = dup(0);
	close(before);
	for (int i = 0; i < 3; i++) {
		struct pfnbuf_vm *vm;
		const struct pfnbuf_slot slot = ram_slot(h, 0x100000, 1);

		assert_ok(pfnbuf_vm_new(h->ctx, PFNBUF_VM_DEFAULT, &vm));
		assert_true(fcntl(pfnbuf_vm_get_fd(vm), F_GETFD) & FD_CLOEXEC);
		assert_ok(pfnbuf_vm_set_slot(vm, &slot, NULL));
		assert_null(pfnbuf_vm_free(vm));
	}
	after = dup(0);
	close(after);
	assert_int_equal(before, after);
	assert_null(pfnbuf_vm_free(NULL));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(slot_is_what_was_set),
		TEST(move),
		TEST(overlap),
		TEST(bad_slots),
		TEST(many_slots),
		TEST(from_fd_with_a_range),
		TEST(from_fd_bad),
		TEST(dirty_log),
		TEST(read_only_slot),
		TEST(guest_memfd_shared),
		TEST(guest_memfd_private),
		TEST(guest_memfd_slot),
		TEST(guest_memfd_of_another_vm),
		TEST(memfd_is_no_guest_memfd),
		TEST(attributes_of_a_default_vm),
		TEST(attributes_of_a_protected_vm),
		TEST(unknown_vm_type),
#ifdef HAVE_GUEST
		TEST(guest_reaches_slots),
		TEST(guest_dirties_pages),
		TEST(guest_writes_guest_memfd),
#endif
		TEST(end_gives_everything_back),
	};
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0) {
		printf("skipped: /dev/kvm does not open here: %s\n", strerror(errno));
		return 77;
	}
	close(kvm);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
