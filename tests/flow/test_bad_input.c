/* SPDX-License-Identifier: MIT */
/*
 * Wrong arguments and a machine that is not as it should be: each is answered with the documented
 * errno, an error that names call, object, range and cause, and nothing has changed.
 */
#include "flow.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define GPA   UINT64_C(0x80000000)
#define READ  PFNBUF_MAP_READ
#define FIXED (PFNBUF_MAP_READ | PFNBUF_MAP_FIXED)
#define FAR   (UINT64_MAX - PAGE + 1) /* the last page there is */

/* One mistake: what is done, and what must be said of it. */
struct mistake {
	const char *what;
	int (*make)(struct world *w);
	int error;
	const char *call;   /* is in the record's call ... */
	const char *object; /* ... object ... */
	bool range;	    /* ... it has a range ... */
	const char *text;   /* ... and this is in the cause or hint */
};

static const struct pfnbuf_kernel *door(const struct world *w)
{
	return pfnbuf_sim_kernel(w->sim);
}

/* ---------------------------------------------------------------- opening ------------------- */

static int open_device(struct world *w, const char *bdf)
{
	return pfnbuf_device_open(w->ctx, bdf, &w->other);
}

#define OPEN(name, bdf)                                                                            \
	static int open_##name(struct world *w)                                                    \
	{                                                                                          \
		return open_device(w, bdf);                                                        \
	}

OPEN(nothing, "")
OPEN(word, "nonsense")
OPEN(device_32, "0000:01:20.0")
OPEN(function_8, "0000:01:00.8")
OPEN(trailing, "0000:01:00.0 ")
OPEN(leading, " 0000:01:00.0")
OPEN(signed_bus, "0000:-1:00.0")
OPEN(hex_prefix, "0x00:01:00.0")
OPEN(long_domain, "00000:01:00.0")
OPEN(unknown, "0000:ff:00.0")
OPEN(undriven, NO_DRIVER)
OPEN(without_cdev, NO_CDEV)
OPEN(forbidden, NO_ACCESS)

static int open_10000_bytes(struct world *w)
{
	char text[10000];

	memset(text, '0', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	return open_device(w, text);
}

static int bind_without_group(struct world *w)
{
	int r = open_device(w, NO_GROUP);

	if (r == 0)
		r = pfnbuf_device_bind(w->other, NULL);
	w->other = pfnbuf_device_close(w->other);
	return r;
}

static int bind_with_token(struct world *w)
{
	static const uint8_t token[16];
	int r = open_device(w, NO_RESET);

	if (r == 0)
		r = pfnbuf_device_bind(w->other, token);
	w->other = pfnbuf_device_close(w->other);
	return r;
}

/* A call on a device that is open and not bound. */
#define UNBOUND(name, expression)                                                                  \
	static int unbound_##name(struct world *w)                                                 \
	{                                                                                          \
		const struct pfnbuf_range slice = { 0, PAGE };                                     \
		uint8_t byte = 0;                                                                  \
		int r = open_device(w, NO_RESET);                                                  \
                                                                                                   \
		(void)slice;                                                                       \
		(void)byte;                                                                        \
		if (r == 0)                                                                        \
			r = expression;                                                            \
		w->other = pfnbuf_device_close(w->other);                                          \
		return r;                                                                          \
	}

UNBOUND(attach, pfnbuf_device_attach(w->other, w->ioas))
UNBOUND(detach, pfnbuf_device_detach(w->other))
UNBOUND(export, pfnbuf_device_export(w->other, BAR, &slice, 1, &w->buf2))
UNBOUND(reset, pfnbuf_device_reset(w->other))
UNBOUND(hot_reset, pfnbuf_device_hot_reset(w->other))
UNBOUND(low_power, pfnbuf_device_low_power_enter(w->other, -1))
UNBOUND(config, pfnbuf_device_config_read(w->other, 0, &byte, 1))
UNBOUND(decode, pfnbuf_device_set_memory_decode(w->other, false))
UNBOUND(bar_read, pfnbuf_device_bar_read(w->other, BAR, 0, &byte, 1))
UNBOUND(bracket, pfnbuf_device_revoke_begin(w->other, PFNBUF_CAUSE_FOREIGN))

/* ---------------------------------------------------------------- exporting ----------------- */

static int export(struct world *w, unsigned bar, uint64_t offset, uint64_t length)
{
	const struct pfnbuf_range slice = { offset, length };

	return pfnbuf_device_export(w->device, bar, &slice, 1, &w->buf2);
}

#define EXPORT(name, bar, offset, length)                                                          \
	static int export_##name(struct world *w)                                                  \
	{                                                                                          \
		return export(w, bar, offset, length);                                             \
	}

EXPORT(empty, BAR, 0, 0)
EXPORT(odd_offset, BAR, 0x800, PAGE)
EXPORT(odd_length, BAR, 0, 0x800)
EXPORT(too_long, BAR, 0, BAR_SIZE + PAGE)
EXPORT(beyond, BAR, BAR_SIZE, PAGE)
EXPORT(overflow, BAR, FAR, 2 * PAGE)
EXPORT(no_such_bar, 6, 0, PAGE)
EXPORT(upper_half, 3, 0, PAGE)
EXPORT(ports, 4, 0, PAGE)
EXPORT(small, 5, 0, PAGE)

static int export_nothing(struct world *w)
{
	return pfnbuf_device_export(w->device, BAR, NULL, 0, &w->buf2);
}

static int export_second_slice_bad(struct world *w)
{
	const struct pfnbuf_range slices[] = { { 0, PAGE }, { PAGE, 12 } };

	return pfnbuf_device_export(w->device, BAR, slices, 2, &w->buf2);
}

static int export_without_driver_support(struct world *w)
{
	const struct pfnbuf_range slice = { 0, PAGE };
	int r = open_bound(w, NO_DMABUF, &w->other);

	if (r == 0)
		r = pfnbuf_device_export(w->other, BAR, &slice, 1, &w->buf2);
	w->other = pfnbuf_device_close(w->other);
	return r;
}

/* ---------------------------------------------------------------- mapping ------------------- */

static int map(struct world *w, uint64_t offset, uint64_t length, unsigned flags, uint64_t iova)
{
	const uint64_t asked = iova;
	int r = pfnbuf_ioas_map_buf(w->ioas, w->buf, offset, length, flags, &iova);

	assert_int_equal(iova, asked);
	return r;
}

#define MAP(name, offset, length, flags, iova)                                                     \
	static int map_##name(struct world *w)                                                     \
	{                                                                                          \
		return map(w, offset, length, flags, iova);                                        \
	}

MAP(empty, 0, 0, FIXED, 0x1000)
MAP(odd_iova, 0, PAGE, FIXED, 0x1800)
MAP(odd_length, 0, 0x800, FIXED, 0x1000)
MAP(no_direction, 0, PAGE, PFNBUF_MAP_FIXED, 0x1000)
MAP(unknown_flag, 0, PAGE, FIXED | 1 << 20, 0x1000)
MAP(over_itself, 0, SLICE, FIXED, IOVA)
MAP(over_its_end, 0, 2 * PAGE, FIXED, IOVA + SLICE - PAGE)
MAP(wrapping, 0, 2 * PAGE, FIXED, FAR)
MAP(beyond_buffer, PAGE, SLICE, FIXED, 0x1000)
MAP(overflowing_buffer, FAR, 2 * PAGE, FIXED, 0x1000)

static int map_two_slices(struct world *w)
{
	const struct pfnbuf_range slices[] = { { 0, PAGE }, { 4 * PAGE, PAGE } };
	uint64_t iova = 0;
	int r = pfnbuf_device_export(w->device, BAR, slices, 2, &w->buf2);

	if (r == 0)
		r = pfnbuf_ioas_map_buf(w->ioas, w->buf2, 0, 2 * PAGE, READ, &iova);
	w->buf2 = pfnbuf_buf_unref(w->buf2);
	return r;
}

static int map_guest_memfd(struct world *w)
{
	uint64_t iova = 0;
	int r = pfnbuf_buf_new_guest_memfd(w->vm, PAGE, 0, &w->buf2);

	if (r == 0)
		r = pfnbuf_ioas_map_buf(w->ioas, w->buf2, 0, PAGE, READ, &iova);
	w->buf2 = pfnbuf_buf_unref(w->buf2);
	return r;
}

static int map_file_closed(struct world *w)
{
	uint64_t iova = 0;

	return pfnbuf_ioas_map_file(w->ioas, 9999, 0, PAGE, READ, &iova);
}

static int map_file_that_is_no_memory(struct world *w)
{
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC), r;
	uint64_t iova = 0;

	r = pfnbuf_ioas_map_file(w->ioas, fd, 0, PAGE, READ, &iova);
	close(fd);
	return r;
}

static int map_null(struct world *w)
{
	uint64_t iova = 0;

	return pfnbuf_ioas_map_va(w->ioas, NULL, PAGE, READ, &iova);
}

static int map_hole_in_memory(struct world *w)
{
	void *hole = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t iova = 0;
	int r = pfnbuf_ioas_map_va(w->ioas, hole, PAGE, READ, &iova);

	munmap(hole, PAGE);
	return r;
}

static int map_bar_mapping(struct world *w)
{
	uint64_t iova = 0;
	void *addr;
	int r = pfnbuf_device_bar_map(w->device, BAR, 0, PAGE, &addr);

	if (r < 0)
		return r;
	r = pfnbuf_ioas_map_va(w->ioas, addr, PAGE, READ, &iova);
	assert_int_equal(pfnbuf_device_bar_unmap(w->device, addr), 0);
	return r;
}

static int map_over_memlock(struct world *w)
{
	uint64_t iova = 0;
	int r;

	pfnbuf_sim_set_memlock(w->sim, PAGE);
	r = pfnbuf_ioas_map_va(w->ioas, w->memory, 2 * PAGE, READ, &iova);
	pfnbuf_sim_set_memlock(w->sim, UINT64_MAX);
	return r;
}

#define UNMAP(name, iova, length)                                                                  \
	static int unmap_##name(struct world *w)                                                   \
	{                                                                                          \
		uint64_t unmapped = 77;                                                            \
		int r = pfnbuf_ioas_unmap(w->ioas, iova, length, &unmapped);                       \
                                                                                                   \
		assert_int_equal(unmapped, 77);                                                    \
		return r;                                                                          \
	}

UNMAP(empty, IOVA, 0)
UNMAP(nothing, 0x1000, PAGE)
UNMAP(head, IOVA, PAGE)
UNMAP(tail, IOVA + SLICE - PAGE, PAGE)
UNMAP(middle, IOVA + PAGE, PAGE)
UNMAP(across, IOVA - PAGE, 2 * PAGE)
UNMAP(wrapping, FAR, 2 * PAGE)

#define COPY(name, from, length, flags, to)                                                        \
	static int copy_##name(struct world *w)                                                    \
	{                                                                                          \
		uint64_t iova = to;                                                                \
                                                                                                   \
		return pfnbuf_ioas_copy(w->ioas, w->ioas, from, length, flags, &iova);             \
	}

COPY(nothing, 0x1000, PAGE, FIXED, 0x10000)
COPY(more_than_there_is, IOVA, 2 * SLICE, FIXED, 0x10000)
COPY(over_itself, IOVA, PAGE, FIXED, IOVA)
COPY(wrapping, FAR, 2 * PAGE, FIXED, 0x10000)
COPY(empty, IOVA, 0, FIXED, 0x10000)
COPY(for_writing, IOVA - PAGE, PAGE, MAP_FIXED_RW, 0x10000)

static int allow_nothing(struct world *w)
{
	const struct pfnbuf_range range = { 0x1000, 1 };

	return pfnbuf_ioas_set_allowed(w->ioas, &range, 1);
}

static int allow_overlapping(struct world *w)
{
	const struct pfnbuf_range ranges[] = { { 0x1000, 2 * PAGE }, { 0x2000, PAGE } };

	return pfnbuf_ioas_set_allowed(w->ioas, ranges, 2);
}

static int ioas_unknown(struct world *w)
{
	return pfnbuf_ioas_from_id(w->ctx, 4711, &w->ioas2);
}

/* ---------------------------------------------------------------- fds ----------------------- */

#define BUF_FROM(name, fd)                                                                         \
	static int buf_from_##name(struct world *w)                                                \
	{                                                                                          \
		return pfnbuf_buf_from_fd(w->ctx, fd, PFNBUF_FD_BORROWED, &w->buf2);               \
	}

BUF_FROM(closed_fd, 9999)
BUF_FROM(minus_1, -1)
BUF_FROM(device, pfnbuf_device_get_fd(w->device))
BUF_FROM(vm, pfnbuf_vm_get_fd(w->vm))
BUF_FROM(iommufd, pfnbuf_ctx_get_iommufd(w->ctx))
BUF_FROM(context, pfnbuf_ctx_get_fd(w->ctx))

static int buf_from_flags(struct world *w)
{
	return pfnbuf_buf_from_fd(w->ctx, pfnbuf_buf_get_fd(w->buf), 1 << 30, &w->buf2);
}

#define DEVICE_FROM(name, fd)                                                                      \
	static int device_from_##name(struct world *w)                                             \
	{                                                                                          \
		return pfnbuf_device_from_fd(w->ctx, fd, PFNBUF_FD_BORROWED, 0, &w->other);        \
	}

DEVICE_FROM(closed_fd, 9999)
DEVICE_FROM(dma_buf, pfnbuf_buf_get_fd(w->buf))
DEVICE_FROM(vm, pfnbuf_vm_get_fd(w->vm))
DEVICE_FROM(iommufd, pfnbuf_ctx_get_iommufd(w->ctx))

static int device_from_flags(struct world *w)
{
	return pfnbuf_device_from_fd(w->ctx, 0, 1 << 30, 0, &w->other);
}

static int device_from_bound_without_id(struct world *w)
{
	return pfnbuf_device_from_fd(w->ctx, 0, PFNBUF_FD_BOUND, 0, &w->other);
}

#define VM_FROM(name, fd, flags, first, nr)                                                        \
	static int vm_from_##name(struct world *w)                                                 \
	{                                                                                          \
		struct pfnbuf_vm *vm = NULL;                                                       \
		int r = pfnbuf_vm_from_fd(w->ctx, fd, PFNBUF_FD_BORROWED | (flags), first, nr,     \
					  &vm);                                                    \
                                                                                                   \
		assert_null(vm);                                                                   \
		return r;                                                                          \
	}

VM_FROM(closed_fd, 9999, 0, 0, 0)
VM_FROM(dma_buf, pfnbuf_buf_get_fd(w->buf), 0, 0, 0)
VM_FROM(device, pfnbuf_device_get_fd(w->device), 0, 0, 0)
VM_FROM(flags, pfnbuf_vm_get_fd(w->vm), 1 << 30, 0, 0)
VM_FROM(too_high_slots, pfnbuf_vm_get_fd(w->vm), 0, 1 << 20, 1)
VM_FROM(too_many_slots, pfnbuf_vm_get_fd(w->vm), 0, 100, 1 << 20)

/* ---------------------------------------------------------------- bytes --------------------- */

#define BYTES(name, expression)                                                                    \
	static int name(struct world *w)                                                           \
	{                                                                                          \
		uint8_t bytes[16] = { 0 };                                                         \
		void *addr = NULL;                                                                 \
		int r = expression;                                                                \
                                                                                                   \
		assert_int_equal(bytes[0], 0);                                                     \
		assert_null(addr);                                                                 \
		return r;                                                                          \
	}

BYTES(bar_read_beyond, pfnbuf_device_bar_read(w->device, BAR, BAR_SIZE - 8, bytes, 16))
BYTES(bar_read_far, pfnbuf_device_bar_read(w->device, BAR, UINT64_MAX - 3, bytes, 16))
BYTES(bar_write_beyond, pfnbuf_device_bar_write(w->device, BAR, BAR_SIZE, bytes, 1))
BYTES(bar_read_no_bar, pfnbuf_device_bar_read(w->device, 7, 0, bytes, 1))
BYTES(bar_read_upper_half, pfnbuf_device_bar_read(w->device, 3, 0, bytes, 1))
BYTES(bar_map_odd, pfnbuf_device_bar_map(w->device, BAR, 0x10, PAGE, &addr))
BYTES(bar_map_empty, pfnbuf_device_bar_map(w->device, BAR, 0, 0, &addr))
BYTES(bar_map_beyond, pfnbuf_device_bar_map(w->device, BAR, BAR_SIZE, PAGE, &addr))
BYTES(bar_map_ports, pfnbuf_device_bar_map(w->device, 4, 0, PAGE, &addr))
BYTES(bar_unmap_unknown, pfnbuf_device_bar_unmap(w->device, w->memory))
BYTES(config_empty, pfnbuf_device_config_read(w->device, 0, bytes, 0))
BYTES(config_beyond, pfnbuf_device_config_read(w->device, 4096, bytes, 4))
BYTES(config_write_across, pfnbuf_device_config_write(w->device, 4094, bytes, 4))
BYTES(buf_map_dma_buf, pfnbuf_buf_map(w->buf, 0, PAGE, &addr))
BYTES(discard_dma_buf, pfnbuf_buf_discard(w->buf, 0, PAGE))
BYTES(memfd_empty, pfnbuf_buf_new_memfd(w->ctx, 0, 0, &w->buf2))
BYTES(memfd_odd, pfnbuf_buf_new_memfd(w->ctx, PAGE + 1, 0, &w->buf2))
BYTES(memfd_huge_odd, pfnbuf_buf_new_memfd(w->ctx, PAGE, 1 << 21, &w->buf2))
BYTES(memfd_odd_huge, pfnbuf_buf_new_memfd(w->ctx, 3 << 20, 3 << 20, &w->buf2))
BYTES(memfd_endless, pfnbuf_buf_new_memfd(w->ctx, FAR, 0, &w->buf2))
BYTES(bracket_unopened, pfnbuf_device_revoke_end(w->device))
BYTES(wake_fd_closed, pfnbuf_device_low_power_enter(w->dma, 9999))

#define MEMORY(name, expression)                                                                   \
	static int name(struct world *w)                                                           \
	{                                                                                          \
		struct pfnbuf_buf *memfd;                                                          \
		void *addr = NULL;                                                                 \
		int r = pfnbuf_buf_new_memfd(w->ctx, 2 * PAGE, 0, &memfd);                         \
                                                                                                   \
		if (r == 0)                                                                        \
			r = expression;                                                            \
		assert_null(addr);                                                                 \
		pfnbuf_buf_unref(memfd);                                                           \
		return r;                                                                          \
	}

MEMORY(memfd_map_empty, pfnbuf_buf_map(memfd, 0, 0, &addr))
MEMORY(memfd_map_odd, pfnbuf_buf_map(memfd, 1, PAGE, &addr))
MEMORY(memfd_map_beyond, pfnbuf_buf_map(memfd, PAGE, 2 * PAGE, &addr))
MEMORY(memfd_discard_odd, pfnbuf_buf_discard(memfd, 0, 5))
MEMORY(memfd_discard_far, pfnbuf_buf_discard(memfd, FAR, 2 * PAGE))
MEMORY(memfd_verify, pfnbuf_buf_verify(memfd))

/* ---------------------------------------------------------------- VM ------------------------ */

#define SLOT(name, ...)                                                                            \
	static int slot_##name(struct world *w)                                                    \
	{                                                                                          \
		const struct pfnbuf_slot slot = { __VA_ARGS__ };                                   \
		uint32_t id = 77;                                                                  \
		int r = pfnbuf_vm_set_slot(w->vm, &slot, &id);                                     \
                                                                                                   \
		assert_int_equal(id, 77);                                                          \
		return r;                                                                          \
	}

SLOT(empty, .addr = w->memory, .gpa = 0, .length = 0)
SLOT(odd_gpa, .addr = w->memory, .gpa = 1, .length = PAGE)
SLOT(odd_length, .addr = w->memory, .gpa = 0, .length = PAGE + 1)
SLOT(odd_address, .gpa = 0, .length = PAGE, .addr = (char *)w->memory + 1)
SLOT(wrapping, .addr = w->memory, .gpa = FAR, .length = 2 * PAGE)
SLOT(over_another, .addr = w->memory, .gpa = GPA - PAGE, .length = 2 * PAGE)
SLOT(flags, .addr = w->memory, .gpa = 0, .length = PAGE, .flags = 1 << 30)
SLOT(dma_buf, .addr = w->memory, .gpa = 0, .length = PAGE, .guest_memfd = w->buf)

/* Memory of another VM's, of one that has ended, and of one that somebody else made. */
static int slot_with_memory_of(struct world *w, struct pfnbuf_vm *maker, bool has_ended)
{
	struct pfnbuf_slot slot = { .gpa = 0, .length = PAGE, .addr = w->memory };
	int r = pfnbuf_buf_new_guest_memfd(maker, PAGE, 0, &slot.guest_memfd);

	if (has_ended)
		maker = pfnbuf_vm_free(maker);
	if (r == 0)
		r = pfnbuf_vm_set_slot(w->vm, &slot, NULL);
	pfnbuf_buf_unref(slot.guest_memfd);
	pfnbuf_vm_free(maker);
	return r;
}

static int slot_of_another_vm(struct world *w)
{
	struct pfnbuf_vm *maker;
	int r = pfnbuf_vm_new(w->ctx, PFNBUF_VM_DEFAULT, &maker);

	return r < 0 ? r : slot_with_memory_of(w, maker, false);
}

static int slot_of_an_ended_vm(struct world *w)
{
	struct pfnbuf_vm *maker;
	int r = pfnbuf_vm_new(w->ctx, PFNBUF_VM_DEFAULT, &maker);

	return r < 0 ? r : slot_with_memory_of(w, maker, true);
}

static int slot_move_unknown(struct world *w)
{
	return pfnbuf_vm_move_slot(w->vm, 4711, 0);
}

static int slot_move_odd(struct world *w)
{
	return pfnbuf_vm_move_slot(w->vm, 0, 5);
}

static int slot_flags_unknown(struct world *w)
{
	return pfnbuf_vm_set_slot_flags(w->vm, 0, PFNBUF_SLOT_READONLY);
}

static int slot_delete_unknown(struct world *w)
{
	return pfnbuf_vm_delete_slot(w->vm, 4711);
}

static int dirty_log_unlogged(struct world *w)
{
	uint64_t bitmap;

	return pfnbuf_vm_get_dirty_log(w->vm, 0, &bitmap, sizeof(bitmap));
}

static int vm_unknown_type(struct world *w)
{
	struct pfnbuf_vm *vm;

	return pfnbuf_vm_new(w->ctx, 31, &vm);
}

#define ATTRIBUTES(name, gpa, length, value)                                                       \
	static int attributes_##name(struct world *w)                                              \
	{                                                                                          \
		return pfnbuf_vm_set_attributes(w->vm, gpa, length, value);                        \
	}

ATTRIBUTES(private, 0, PAGE, PFNBUF_ATTRIBUTE_PRIVATE)
ATTRIBUTES(empty, 0, 0, 0)
ATTRIBUTES(odd, 1, PAGE, 0)
ATTRIBUTES(wrapping, FAR, 2 * PAGE, 0)

static int guest_memfd_empty(struct world *w)
{
	return pfnbuf_buf_new_guest_memfd(w->vm, 0, 0, &w->buf2);
}

static int guest_memfd_flags(struct world *w)
{
	return pfnbuf_buf_new_guest_memfd(w->vm, PAGE, 1u << 31, &w->buf2);
}

static int add_bound_device(struct world *w)
{
	return pfnbuf_vm_add_device(w->vm, w->device);
}

static int remove_unknown_device(struct world *w)
{
	return pfnbuf_vm_remove_device(w->vm, w->device);
}

/* ---------------------------------------------------------------- the table ----------------- */

#define OF_DEVICE "device " BAR_DEVICE
#define DMABUF	  "VFIO_DEVICE_FEATURE_DMA_BUF"
#define IMPORT	  "IOMMU_IOAS_MAP_FILE"
#define REGION	  "KVM_SET_USER_MEMORY_REGION"

static const struct mistake mistakes[] = {
#define M(make, error, call, object, range, text)                                                  \
	{                                                                                          \
#make, make, error, call, object, range, text                                      \
	}
	M(open_nothing, EINVAL, "pfnbuf_device_open", "device", false, "not a PCI address"),
	M(open_word, EINVAL, "pfnbuf_device_open", "device nonsense", false, "0000:01:00.0"),
	M(open_device_32, EINVAL, "pfnbuf_device_open", "0000:01:20.0", false, "not a PCI address"),
	M(open_function_8, EINVAL, "pfnbuf_device_open", "0000:01:00.8", false,
	  "not a PCI address"),
	M(open_trailing, EINVAL, "pfnbuf_device_open", "device", false, "not a PCI address"),
	M(open_leading, EINVAL, "pfnbuf_device_open", "device", false, "not a PCI address"),
	M(open_signed_bus, EINVAL, "pfnbuf_device_open", "device", false, "not a PCI address"),
	M(open_hex_prefix, EINVAL, "pfnbuf_device_open", "device", false, "not a PCI address"),
	M(open_long_domain, EINVAL, "pfnbuf_device_open", "device", false, "not a PCI address"),
	M(open_10000_bytes, EINVAL, "pfnbuf_device_open", "device 000", false, "not a PCI address"),
	M(open_unknown, ENOENT, "open", "0000:ff:00.0", false, "no PCI device"),
	M(open_undriven, ENODEV, "open", NO_DRIVER, false, "vfio-pci > driver_override"),
	M(open_without_cdev, ENODEV, "open", NO_CDEV, false, "CONFIG_VFIO_DEVICE_CDEV"),
	M(open_forbidden, EACCES, "open", NO_ACCESS, false, "run as root"),
	M(bind_without_group, ENODEV, "BIND_IOMMUFD", NO_GROUP, false, "no IOMMU group"),
	M(bind_with_token, EINVAL, "BIND_IOMMUFD", NO_RESET, false, "token"),

	M(unbound_attach, EINVAL, "ATTACH", NO_RESET, false, "pfnbuf_device_bind"),
	M(unbound_detach, EINVAL, "DETACH", NO_RESET, false, "pfnbuf_device_bind"),
	M(unbound_export, EINVAL, DMABUF, NO_RESET, false, "pfnbuf_device_bind"),
	M(unbound_reset, EINVAL, "RESET", NO_RESET, false, "pfnbuf_device_bind"),
	M(unbound_hot_reset, EINVAL, "RESET", NO_RESET, false, "pfnbuf_device_bind"),
	M(unbound_low_power, EINVAL, "LOW_POWER", NO_RESET, false, "pfnbuf_device_bind"),
	M(unbound_config, EINVAL, "configuration", NO_RESET, false, "pfnbuf_device_bind"),
	M(unbound_decode, EINVAL, "configuration", NO_RESET, false, "pfnbuf_device_bind"),
	M(unbound_bar_read, EINVAL, "BAR", NO_RESET, false, "pfnbuf_device_bind"),
	M(unbound_bracket, EINVAL, "revoke_begin", NO_RESET, false, "not bound"),

	M(export_nothing, EINVAL, DMABUF, OF_DEVICE, false, "0 slices"),
	M(export_empty, EINVAL, DMABUF, OF_DEVICE, true, "empty"),
	M(export_odd_offset, EINVAL, DMABUF, OF_DEVICE, true, "multiples of the page size"),
	M(export_odd_length, EINVAL, DMABUF, OF_DEVICE, true, "multiples of the page size"),
	M(export_too_long, EINVAL, DMABUF, OF_DEVICE, true, "0x100000 bytes"),
	M(export_beyond, EINVAL, DMABUF, OF_DEVICE, true, "leaves BAR 2"),
	M(export_overflow, EINVAL, DMABUF, OF_DEVICE, true, "leaves BAR 2"),
	M(export_second_slice_bad, EINVAL, DMABUF, OF_DEVICE, true, "multiples"),
	M(export_no_such_bar, EINVAL, DMABUF, OF_DEVICE, false, "no BAR 6"),
	M(export_upper_half, ENODEV, DMABUF, OF_DEVICE, false, "the device has no BAR 3"),
	M(export_ports, EINVAL, DMABUF, OF_DEVICE, false, "I/O ports"),
	M(export_small, EINVAL, DMABUF, OF_DEVICE, true, "BAR 5"),
	M(export_without_driver_support, EOPNOTSUPP, DMABUF, NO_DMABUF, true, "driver"),

	M(map_empty, EINVAL, IMPORT, "ioas", false, "length is 0"),
	M(map_odd_iova, EINVAL, IMPORT, "ioas", true, "misaligned"),
	M(map_odd_length, EINVAL, IMPORT, "ioas", true, "misaligned"),
	M(map_no_direction, EINVAL, IMPORT, "ioas", false, "PFNBUF_MAP_READ"),
	M(map_unknown_flag, EINVAL, IMPORT, "ioas", false, "flags"),
	M(map_over_itself, EEXIST, IMPORT, "ioas", true, "0x40000000+0x10000"),
	M(map_over_its_end, EEXIST, IMPORT, "ioas", true, "0x40000000+0x10000"),
	M(map_wrapping, EOVERFLOW, IMPORT, "ioas", true, "wraps"),
	M(map_beyond_buffer, EINVAL, IMPORT, "dma-buf", true, "length is 0x10000"),
	M(map_overflowing_buffer, EOVERFLOW, IMPORT, "dma-buf", true, "wraps"),
	M(map_two_slices, EOPNOTSUPP, IMPORT, "dma-buf", true, "2 slices"),
	M(map_guest_memfd, EINVAL, IMPORT, "guest_memfd", true, "cannot be mapped for devices"),
	M(map_file_closed, EBADF, IMPORT, "ioas", false, "not open"),
	M(map_file_that_is_no_memory, EINVAL, IMPORT, "ioas", false, "shared memory"),
	M(map_null, EINVAL, "IOMMU_IOAS_MAP", "ioas", false, "NULL"),
	M(map_hole_in_memory, EFAULT, "IOMMU_IOAS_MAP", "ioas", false, "not mapped"),
	M(map_bar_mapping, EFAULT, "IOMMU_IOAS_MAP", "ioas", false, "exporting it as a dma-buf"),
	M(map_over_memlock, ENOMEM, "IOMMU_IOAS_MAP", "ioas", false, "RLIMIT_MEMLOCK"),
	M(unmap_empty, EINVAL, "UNMAP", "ioas", true, "empty"),
	M(unmap_nothing, ENOENT, "UNMAP", "ioas", true, "nothing is mapped"),
	M(unmap_head, ENOENT, "UNMAP", "ioas", true, "cuts the area at 0x40000000+0x10000"),
	M(unmap_tail, ENOENT, "UNMAP", "ioas", true, "cuts the area at 0x40000000+0x10000"),
	M(unmap_middle, ENOENT, "UNMAP", "ioas", true, "cuts the area at 0x40000000+0x10000"),
	M(unmap_across, ENOENT, "UNMAP", "ioas", true, "cuts the area at 0x40000000+0x10000"),
	M(unmap_wrapping, EOVERFLOW, "UNMAP", "ioas", true, "wraps"),
	M(copy_nothing, ENOENT, "COPY", "ioas", true, "without a gap"),
	M(copy_more_than_there_is, ENOENT, "COPY", "ioas", true, "without a gap"),
	M(copy_over_itself, EEXIST, "COPY", "ioas", true, "0x40000000"),
	M(copy_wrapping, EOVERFLOW, "COPY", "ioas", true, "wraps"),
	M(copy_empty, EINVAL, "COPY", "ioas", false, "length is 0"),
	M(copy_for_writing, EPERM, "COPY", "ioas", true, "reading only"),
	M(allow_nothing, EINVAL, "ALLOW_IOVAS", "ioas", true, "two bytes"),
	M(allow_overlapping, EINVAL, "ALLOW_IOVAS", "ioas", false, "overlap"),
	M(ioas_unknown, ENOENT, "IOVA_RANGES", "ioas 4711", false, "no IOAS has this id"),

	M(buf_from_closed_fd, EBADF, "fstatfs", "fd 9999", false, "not open"),
	M(buf_from_minus_1, EBADF, "fstatfs", "fd -1", false, "not open"),
	M(buf_from_device, EINVAL, "from_fd", "fd", false, "neither a dma-buf"),
	M(buf_from_vm, EINVAL, "from_fd", "fd", false, "neither a dma-buf"),
	M(buf_from_iommufd, EINVAL, "from_fd", "fd", false, "neither a dma-buf"),
	M(buf_from_context, EINVAL, "from_fd", "fd", false, "neither a dma-buf"),
	M(buf_from_flags, EINVAL, "from_fd", "fd", false, "flags"),
	M(device_from_closed_fd, EBADF, "fstat", "device fd 9999", false, "not open"),
	M(device_from_dma_buf, ENOTTY, "from_fd", "device fd", false, "not a VFIO device"),
	M(device_from_vm, ENOTTY, "from_fd", "device fd", false, "not a VFIO device"),
	M(device_from_iommufd, ENOTTY, "from_fd", "device fd", false, "not a VFIO device"),
	M(device_from_flags, EINVAL, "from_fd", "device fd", false, "flags"),
	M(device_from_bound_without_id, EINVAL, "from_fd", "device fd", false, "id"),
	M(vm_from_closed_fd, EBADF, "KVM", "vm 9999", false, "not open"),
	M(vm_from_dma_buf, ENOTTY, "KVM", "vm", false, "not a VM"),
	M(vm_from_device, ENOTTY, "KVM", "vm", false, "not a VM"),
	M(vm_from_flags, EINVAL, "KVM", "vm", false, "flags"),
	M(vm_from_too_high_slots, EINVAL, "KVM", "vm", false, "beyond the VM's"),
	M(vm_from_too_many_slots, EINVAL, "KVM", "vm", false, "beyond the VM's"),

	M(bar_read_beyond, EINVAL, "pread of a BAR", OF_DEVICE, true, "leaves BAR 2"),
	M(bar_read_far, EINVAL, "pread of a BAR", OF_DEVICE, true, "leaves BAR 2"),
	M(bar_write_beyond, EINVAL, "pwrite of a BAR", OF_DEVICE, true, "leaves BAR 2"),
	M(bar_read_no_bar, EINVAL, "pread of a BAR", OF_DEVICE, false, "no BAR 7"),
	M(bar_read_upper_half, EINVAL, "pread of a BAR", OF_DEVICE, true, "has no BAR"),
	M(bar_map_odd, EINVAL, "mmap of a BAR", OF_DEVICE, true, "page size"),
	M(bar_map_empty, EINVAL, "mmap of a BAR", OF_DEVICE, true, "empty"),
	M(bar_map_beyond, EINVAL, "mmap of a BAR", OF_DEVICE, true, "leaves BAR 2"),
	M(bar_map_ports, EINVAL, "mmap of a BAR", OF_DEVICE, true, "BAR 4"),
	M(bar_unmap_unknown, ENOENT, "munmap of a BAR", OF_DEVICE, false, "no BAR mapping"),
	M(config_empty, EINVAL, "configuration", OF_DEVICE, true, "empty"),
	M(config_beyond, EFAULT, "configuration", OF_DEVICE, true, "leaves configuration"),
	M(config_write_across, EFAULT, "configuration", OF_DEVICE, true, "leaves configuration"),
	M(buf_map_dma_buf, EINVAL, "mmap", "dma-buf", true, "pfnbuf_device_bar_map"),
	M(discard_dma_buf, EINVAL, "fallocate", "dma-buf", true, "not memory"),
	M(memfd_empty, EINVAL, "memfd_create", "memfd", true, "0x1000"),
	M(memfd_odd, EINVAL, "memfd_create", "memfd", true, "0x1000"),
	M(memfd_huge_odd, EINVAL, "memfd_create", "memfd", true, "0x200000"),
	M(memfd_odd_huge, EINVAL, "memfd_create", "memfd", true, "power of two"),
	M(memfd_endless, EINVAL, "memfd_create", "memfd", true, "0x1000"),
	M(memfd_map_empty, EINVAL, "mmap", "memfd", true, "not 0"),
	M(memfd_map_odd, EINVAL, "mmap", "memfd", true, "multiples"),
	M(memfd_map_beyond, EINVAL, "mmap", "memfd", true, "0x2000 bytes"),
	M(memfd_discard_odd, EINVAL, "fallocate", "memfd", true, "multiples"),
	M(memfd_discard_far, EINVAL, "fallocate", "memfd", true, "leaves the buffer"),
	M(memfd_verify, EINVAL, "verify", "memfd", false, "dma-buf"),
	M(bracket_unopened, EINVAL, "revoke_end", OF_DEVICE, false, "no bracket"),
	M(wake_fd_closed, EBADF, "LOW_POWER", "device " DMA_DEVICE, false, "not open"),

	M(slot_empty, EINVAL, REGION, "vm", true, "empty"),
	M(slot_odd_gpa, EINVAL, REGION, "vm", true, "misaligned"),
	M(slot_odd_length, EINVAL, REGION, "vm", true, "misaligned"),
	M(slot_odd_address, EINVAL, REGION, "vm", true, "misaligned"),
	M(slot_wrapping, EINVAL, REGION, "vm", true, "guest"),
	M(slot_over_another, EEXIST, REGION, "vm", true, "slot 0 at 0x80000000+0x1000"),
	M(slot_flags, EINVAL, REGION, "vm", true, "flags"),
	M(slot_dma_buf, EINVAL, REGION, "vm", true, "not a guest_memfd"),
	M(slot_of_another_vm, EINVAL, REGION, "vm", true, "was made of vm"),
	M(slot_of_an_ended_vm, EINVAL, REGION, "vm", true, "was made of vm"),
	M(slot_move_unknown, ENOENT, REGION, "vm", false, "no slot 4711"),
	M(slot_move_odd, EINVAL, REGION, "vm", true, "misaligned"),
	M(slot_flags_unknown, EINVAL, REGION, "vm", true, "dirty logging"),
	M(slot_delete_unknown, ENOENT, REGION, "vm", false, "no slot 4711"),
	M(dirty_log_unlogged, ENOENT, "DIRTY_LOG", "vm", false, "not logged"),
	M(vm_unknown_type, EINVAL, "KVM_CREATE_VM", "kvm", false, "type"),
	M(attributes_private, EINVAL, "ATTRIBUTES", "vm", true, "private memory"),
	M(attributes_empty, EINVAL, "ATTRIBUTES", "vm", true, "empty"),
	M(attributes_odd, EINVAL, "ATTRIBUTES", "vm", true, "misaligned"),
	M(attributes_wrapping, EINVAL, "ATTRIBUTES", "vm", true, "wraps"),
	M(guest_memfd_empty, EINVAL, "GUEST_MEMFD", "vm", true, "length is 0"),
	M(guest_memfd_flags, EINVAL, "GUEST_MEMFD", "vm", true, "flags"),
	M(add_bound_device, EALREADY, "FILE_ADD", OF_DEVICE, false, "bound"),
	M(remove_unknown_device, ENOENT, "FILE_DEL", OF_DEVICE, false, "does not know"),
#undef M
};

/* ---------------------------------------------------------------- holding it ---------------- */

/* A world with something in it of each kind. */
static void set_up(struct world *w)
{
	struct pfnbuf_slot slot = { .gpa = GPA, .length = PAGE };
	uint64_t iova = IOVA - PAGE;

	world_init(w);
	world_plug(w, NULL);
	assert_int_equal(world_open(w, 0), 0);
	assert_int_equal(open_pair(w, BAR_DEVICE), 0);
	assert_int_equal(export_and_map(w), 0);
	assert_int_equal(pfnbuf_ioas_map_va(w->ioas, w->memory, PAGE, FIXED, &iova), 0);
	assert_int_equal(pfnbuf_vm_new(w->ctx, PFNBUF_VM_DEFAULT, &w->vm), 0);
	slot.addr = w->memory;
	assert_int_equal(pfnbuf_vm_set_slot(w->vm, &slot, NULL), 0);
}

/* All of them are reported, not the first alone. */
static unsigned complaints;

static void complain(const struct mistake *m, const char *about, const char *detail)
{
	print_error("%s: %s: %s\n", m->what, about, detail);
	complaints++;
}

static void check_said(const struct mistake *m)
{
	const struct pfnbuf_error *e = pfnbuf_last_error_record();
	const char *line = pfnbuf_last_error();

	if (e->code != -m->error)
		complain(m, "another errno is recorded", line);
	if (!strstr(e->call, m->call))
		complain(m, "the call is not named", line);
	if (!strstr(e->object, m->object))
		complain(m, "the object is not named", line);
	if (e->has_range != m->range)
		complain(m, m->range ? "no range" : "a range", line);
	if (!strstr(e->cause, m->text) && !strstr(e->hint, m->text))
		complain(m, m->text, line);
	if (!strstr(line, e->cause) || strchr(line, '\n'))
		complain(m, "the line is not the record", line);
}

static void check_no_difference(struct world *w, const struct mistake *m)
{
	struct pfnbuf_sim_counts before, after;
	char *was, *is;
	unsigned total;
	int r;

	pfnbuf_sim_get_counts(w->sim, &before);
	assert_int_equal(pfnbuf_sim_dump(w->sim, &was), 0);
	errno = 4711;
	r = m->make(w);
	if (errno != 4711)
		complain(m, "errno was touched", "");
	if (r == -m->error)
		check_said(m);
	else
		complain(m, r < 0 ? pfnbuf_errno_name(r) : "success", pfnbuf_last_error());
	if (w->other || w->buf2 || w->ioas2)
		complain(m, "an output was written", "");
	assert_int_equal(pfnbuf_sim_dump(w->sim, &is), 0);
	if (strcmp(was, is) != 0)
		complain(m, was, is);
	free(was);
	free(is);
	pfnbuf_sim_get_counts(w->sim, &after);
	if (memcmp(&before, &after, sizeof(before)) != 0)
		complain(m, "something was left behind", "");
	if (dead_areas(w->ioas, &total) != 0 || total != 2 || dma(w, 0x5a) != 0)
		complain(m, "devices reach something else", "");
	if (pfnbuf_buf_get_generation(w->buf) != 1)
		complain(m, "it counts as a revocation", "");
}

static void test_mistakes(void **state)
{
	struct world w;

	(void)state;
	set_up(&w);
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(*mistakes); i++)
		check_no_difference(&w, &mistakes[i]);
	world_release(&w);
	w.ctx = pfnbuf_ctx_free(w.ctx);
	if (w.warnings)
		fail_msg("warned: %s", w.warning);
	world_assert_counts(&w);
	world_fini(&w);
	assert_int_equal(complaints, 0);
}

/* ---------------------------------------------------------------- a machine without --------- */

static void assert_says(const char *text)
{
	if (!strstr(pfnbuf_last_error(), text))
		fail_msg("\"%s\" is not in: %s", text, pfnbuf_last_error());
}

static void test_no_iommufd(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	pfnbuf_sim_set_iommufd(w.sim, false);
	assert_int_equal(world_open(&w, 0), 0);
	assert_int_equal(pfnbuf_ioas_new(w.ctx, &w.ioas), -ENOENT);
	assert_says("CONFIG_IOMMUFD");
	assert_says("Debian's stock kernels");
	assert_int_equal(pfnbuf_device_open(w.ctx, BAR_DEVICE, &w.device), 0);
	assert_int_equal(pfnbuf_device_bind(w.device, NULL), -ENOENT);
	assert_says("/dev/iommu");

	/* There after all: the same objects go on. */
	pfnbuf_sim_set_iommufd(w.sim, true);
	assert_int_equal(pfnbuf_device_bind(w.device, NULL), 0);
	world_fini(&w);
}

static void test_no_kvm(void **state)
{
	struct world w;

	(void)state;
	world_init(&w);
	pfnbuf_sim_set_kvm(w.sim, false);
	assert_int_equal(world_open(&w, 0), 0);
	assert_int_equal(pfnbuf_vm_new(w.ctx, PFNBUF_VM_DEFAULT, &w.vm), -ENOENT);
	assert_says("/dev/kvm");
	assert_null(w.vm);
	world_fini(&w);
}

/* Somebody closes an fd of the library's: every call says so, and the end is none the worse. */
static void test_fds_closed_underneath(void **state)
{
	uint64_t iova = 0;
	struct world w;

	(void)state;
	set_up(&w);
	door(&w)->close(door(&w)->data, pfnbuf_buf_get_fd(w.buf));
	assert_int_equal(pfnbuf_ioas_map_buf(w.ioas, w.buf, 0, PAGE, READ, &iova), -EBADF);
	assert_says("not open");
	assert_says("dma-buf");
	door(&w)->close(door(&w)->data, pfnbuf_vm_get_fd(w.vm));
	assert_int_equal(pfnbuf_vm_delete_slot(w.vm, 0), -EBADF);
	assert_says("not open");
	door(&w)->close(door(&w)->data, pfnbuf_device_get_fd(w.device));
	assert_int_equal(pfnbuf_device_reset(w.device), -EBADF);
	assert_says(BAR_DEVICE);
	world_release(&w);
	assert_int_not_equal(w.warnings, 0);
	w.ctx = pfnbuf_ctx_free(w.ctx);
	world_assert_counts(&w);
	world_fini(&w);
}

static void test_bad_options(void **state)
{
	struct pfnbuf_ctx_opts opts = { .size = 4 };
	struct pfnbuf_kernel lame = *pfnbuf_kernel_running();
	struct pfnbuf_ctx *ctx = NULL;

	(void)state;
	assert_int_equal(pfnbuf_ctx_new(&ctx, &opts), -EINVAL);
	assert_says("size");
	lame.epoll_wait = NULL;
	opts = (struct pfnbuf_ctx_opts){ .size = sizeof(opts), .kernel = &lame };
	assert_int_equal(pfnbuf_ctx_new(&ctx, &opts), -EINVAL);
	assert_says("lacks an entry");
	lame = *pfnbuf_kernel_running();
	lame.size = 8;
	assert_int_equal(pfnbuf_ctx_new(&ctx, &opts), -EINVAL);
	assert_null(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mistakes),    cmocka_unit_test(test_no_iommufd),
		cmocka_unit_test(test_no_kvm),	    cmocka_unit_test(test_fds_closed_underneath),
		cmocka_unit_test(test_bad_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
