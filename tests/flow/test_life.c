/* SPDX-License-Identifier: MIT */
/* Objects from first to last: what ends what, what outlives what, what is told on the way. */
#include "flow.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/vfio.h"
#include "tests/fds.h"

#define GPA UINT64_C(0x80000000)

static const struct pfnbuf_kernel *door(const struct world *w)
{
	return pfnbuf_sim_kernel(w->sim);
}

static bool readable(struct pfnbuf_ctx *ctx)
{
	struct pollfd p = { .fd = pfnbuf_ctx_get_fd(ctx), .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

/* The next event is this one. In a failing run a lost wake-up or notice ends the flow. */
static int want_event(struct world *w, enum pfnbuf_event_type type, enum pfnbuf_cause cause,
		      struct pfnbuf_event *event)
{
	TRY(pfnbuf_ctx_dispatch(w->ctx));
	if (pfnbuf_ctx_pop_event(w->ctx, event) != 1) {
		WANT(w->failing);
		return -EAGAIN;
	}
	if (event->type != type || event->cause != cause) {
		if (!w->failing)
			fail_msg("event %s (%s) instead of %s (%s)",
				 pfnbuf_event_type_name(event->type),
				 pfnbuf_cause_name(event->cause), pfnbuf_event_type_name(type),
				 pfnbuf_cause_name(cause));
		return -EAGAIN;
	}
	return 0;
}

/* ---------------------------------------------------------------- a guest over a BAR -------- */

/*
 * A VM knows of the device before it is bound; a slot over the BAR's mapping survives what kills
 * imports, and faults back in by itself.
 */
static int guest_over_bar(struct world *w)
{
	struct pfnbuf_slot slot = { .gpa = GPA, .length = SLICE };
	char byte = 0;
	void *addr;
	uint32_t id;
	int vm;

	TRY(pfnbuf_vm_new(w->ctx, PFNBUF_VM_DEFAULT, &w->vm));
	vm = pfnbuf_vm_get_fd(w->vm);
	TRY(pfnbuf_device_open(w->ctx, BAR_DEVICE, &w->device));
	TRY(pfnbuf_vm_add_device(w->vm, w->device));
	REFUSED(pfnbuf_vm_add_device(w->vm, w->device), EEXIST);
	TRY(pfnbuf_device_bind(w->device, NULL));
	TRY(pfnbuf_device_bar_map(w->device, BAR, SLICE, SLICE, &addr));
	slot.addr = addr;
	TRY(pfnbuf_vm_set_slot(w->vm, &slot, &id));
	WANT(pfnbuf_sim_guest_write(w->sim, vm, GPA + 0x10, false, "g", 1) == 0);
	WANT(pfnbuf_sim_bar_peek(w->sim, BAR_DEVICE, BAR, SLICE + 0x10, &byte, 1) == 0);
	WANT(byte == 'g');
	REFUSED(pfnbuf_device_bar_unmap(w->device, addr), EBUSY);

	TRY(pfnbuf_device_set_memory_decode(w->device, false));
	WANT(pfnbuf_sim_guest_read(w->sim, vm, GPA, false, &byte, 1) == -EFAULT);
	TRY(pfnbuf_device_set_memory_decode(w->device, true));
	WANT(pfnbuf_sim_guest_write(w->sim, vm, GPA + 0x10, false, "h", 1) == 0);
	WANT(pfnbuf_sim_bar_peek(w->sim, BAR_DEVICE, BAR, SLICE + 0x10, &byte, 1) == 0);
	WANT(byte == 'h');

	TRY(pfnbuf_vm_delete_slot(w->vm, id));
	WANT(pfnbuf_sim_guest_read(w->sim, vm, GPA, false, &byte, 1) == -ENXIO);
	TRY(pfnbuf_device_bar_unmap(w->device, addr));
	REFUSED(pfnbuf_device_bar_unmap(w->device, addr), ENOENT);
	TRY(pfnbuf_vm_remove_device(w->vm, w->device));
	REFUSED(pfnbuf_vm_remove_device(w->vm, w->device), ENOENT);
	REFUSED(pfnbuf_vm_add_device(w->vm, w->device), EALREADY);
	return 0;
}

FLOW_TESTS(guest_over_bar)

/* Closing the device deletes the slots on its BAR, in every VM, and no other. */
static int close_takes_slots(struct world *w)
{
	struct pfnbuf_slot slot = { .gpa = GPA, .length = PAGE }, left;
	struct pfnbuf_sim_counts counts;
	uint32_t id, ram;
	char byte;

	STEP(open_bound(w, BAR_DEVICE, &w->device));
	TRY(pfnbuf_vm_new(w->ctx, PFNBUF_VM_DEFAULT, &w->vm));
	slot.addr = w->memory;
	TRY(pfnbuf_vm_set_slot(w->vm, &slot, &ram));
	TRY(pfnbuf_device_bar_map(w->device, BAR, 0, 4 * PAGE, &slot.addr));
	slot.gpa += PAGE;
	TRY(pfnbuf_vm_set_slot(w->vm, &slot, &id));
	slot.gpa += PAGE;
	slot.addr = (char *)slot.addr + 3 * PAGE;
	TRY(pfnbuf_vm_set_slot(w->vm, &slot, &id));
	pfnbuf_sim_get_counts(w->sim, &counts);
	WANT(counts.slots == 3 && counts.bar_mappings == 1);

	w->device = pfnbuf_device_close(w->device);
	if (w->warnings)
		return -EAGAIN;
	pfnbuf_sim_get_counts(w->sim, &counts);
	WANT(counts.slots == 1 && counts.bar_mappings == 0 && counts.devices == 0);
	WANT(pfnbuf_vm_next_slot(w->vm, 0, &id, &left) == 1 && id == ram);
	WANT(pfnbuf_vm_next_slot(w->vm, id + 1, &id, &left) == 0);
	WANT(pfnbuf_sim_guest_read(w->sim, pfnbuf_vm_get_fd(w->vm), GPA + PAGE, false, &byte, 1) ==
	     -ENXIO);
	return 0;
}

FLOW_TESTS(close_takes_slots)

/* ---------------------------------------------------------------- private memory ------------ */

static int private_memory(struct world *w)
{
	struct pfnbuf_slot slot = { .gpa = GPA, .length = 2 * PAGE, .addr = w->memory };
	char byte = 0;
	int vm;

	TRY(pfnbuf_vm_new(w->ctx, PFNBUF_VM_SW_PROTECTED, &w->vm));
	vm = pfnbuf_vm_get_fd(w->vm);
	TRY(pfnbuf_buf_new_guest_memfd(w->vm, 2 * PAGE, 0, &w->buf2));
	slot.guest_memfd = w->buf2;
	TRY(pfnbuf_vm_set_slot(w->vm, &slot, NULL));
	TRY(pfnbuf_vm_set_attributes(w->vm, GPA, PAGE, PFNBUF_ATTRIBUTE_PRIVATE));
	WANT(pfnbuf_sim_guest_write(w->sim, vm, GPA, true, "p", 1) == 0);
	WANT(pfnbuf_sim_guest_write(w->sim, vm, GPA, false, "s", 1) == -EFAULT);
	WANT(pfnbuf_sim_guest_write(w->sim, vm, GPA + PAGE, false, "s", 1) == 0);
	WANT(((char *)w->memory)[0] == 0 && ((char *)w->memory)[PAGE] == 's');

	/* The slot keeps the memory alive; the kernel's slot would not. */
	w->buf2 = pfnbuf_buf_unref(w->buf2);
	WANT(pfnbuf_sim_guest_read(w->sim, vm, GPA, true, &byte, 1) == 0);
	WANT(byte == 'p');
	TRY(pfnbuf_vm_set_attributes(w->vm, GPA, PAGE, 0));
	WANT(pfnbuf_sim_guest_read(w->sim, vm, GPA, true, &byte, 1) == -EFAULT);
	((char *)w->memory)[PAGE] = 0;
	return 0;
}

FLOW_TESTS(private_memory)

/* ---------------------------------------------------------------- closing ------------------- */

/* The buffer outlives its device: dead, refused, unmappable, and still to be let go of. */
static int buffer_outlives_device(struct world *w)
{
	uint64_t iova = IOVA + SLICE, bytes;
	struct pfnbuf_sim_counts counts;
	unsigned total;
	int answer;

	STEP(open_and_map(w, BAR_DEVICE));
	w->device = pfnbuf_device_close(w->device);
	WANT(pfnbuf_buf_get_state(w->buf) == PFNBUF_DEAD);
	WANT(pfnbuf_buf_get_device(w->buf) == NULL);
	WANT(pfnbuf_buf_get_generation(w->buf) == 2);
	WANT(pfnbuf_buf_get_length(w->buf) == SLICE);
	WANT(dead_areas(w->ioas, &total) == 1 && total == 1);
	WANT(pfnbuf_sim_dma_write(w->sim, DMA_DEVICE, IOVA, "x", 1, NULL) == -EFAULT);
	REFUSED(pfnbuf_ioas_map_buf(w->ioas, w->buf, 0, SLICE, MAP_FIXED_RW, &iova), ENODEV);
	WANT(strstr(pfnbuf_last_error(), "closed"));
	answer = pfnbuf_buf_verify(w->buf);
	TRY(answer);
	WANT(answer == 0);

	/* Opened anew, the device's BAR is another buffer; the old one stays dead. */
	STEP(open_bound(w, BAR_DEVICE, &w->device));
	WANT(pfnbuf_buf_get_state(w->buf) == PFNBUF_DEAD);
	TRY(pfnbuf_device_restore(w->device));
	WANT(dead_areas(w->ioas, &total) == 1);
	TRY(pfnbuf_ioas_unmap(w->ioas, IOVA, SLICE, &bytes));
	WANT(bytes == SLICE);
	w->buf = pfnbuf_buf_unref(w->buf);
	pfnbuf_sim_get_counts(w->sim, &counts);
	WANT(counts.dma_bufs == 0 && counts.areas == 0);
	return 0;
}

FLOW_TESTS(buffer_outlives_device)

/* An area holds its buffer: dropping the caller's reference changes nothing that devices reach. */
static int area_holds_buffer(struct world *w)
{
	struct pfnbuf_area area;

	STEP(open_and_map(w, BAR_DEVICE));
	w->buf = pfnbuf_buf_unref(w->buf);
	WANT(dma(w, 0x11) == 0);
	TRY(pfnbuf_device_reset(w->device));
	WANT(dma(w, 0x22) == -EFAULT);
	TRY(pfnbuf_device_restore(w->device));
	WANT(dma(w, 0x33) == 0);
	WANT(pfnbuf_ioas_next_area(w->ioas, 0, &area) == 1);
	WANT(pfnbuf_buf_get_generation(area.buf) == 2);
	return 0;
}

FLOW_TESTS(area_holds_buffer)

/* An IOAS that ends lets its devices go first; they can go elsewhere. */
static int ioas_ends_first(struct world *w)
{
	struct pfnbuf_sim_counts before, counts;
	struct pfnbuf_device_info info;
	uint64_t iova = IOVA;

	pfnbuf_sim_get_counts(w->sim, &before);
	STEP(open_and_map(w, BAR_DEVICE));
	w->ioas = pfnbuf_ioas_free(w->ioas);
	if (w->warnings)
		return -EAGAIN;
	TRY(pfnbuf_device_get_info(w->dma, &info));
	WANT(info.ioas_id == 0);
	WANT(pfnbuf_sim_dma_write(w->sim, DMA_DEVICE, IOVA, "x", 1, NULL) == -EPERM);
	pfnbuf_sim_get_counts(w->sim, &counts);
	WANT(counts.areas == before.areas && counts.ioas == before.ioas);
	WANT(counts.hwpts == before.hwpts);

	/* Moved from one to another in one step: what it reaches changes with it. */
	TRY(pfnbuf_ioas_new(w->ctx, &w->ioas));
	TRY(pfnbuf_ioas_new(w->ctx, &w->ioas2));
	TRY(pfnbuf_ioas_map_buf(w->ioas2, w->buf, 0, SLICE, MAP_FIXED_RW, &iova));
	TRY(pfnbuf_device_attach(w->dma, w->ioas));
	WANT(dma(w, 0x11) == -EFAULT);
	TRY(pfnbuf_device_attach(w->dma, w->ioas2));
	WANT(dma(w, 0x22) == 0);
	TRY(pfnbuf_device_get_info(w->dma, &info));
	WANT(info.ioas_id == pfnbuf_ioas_get_id(w->ioas2));
	TRY(pfnbuf_device_detach(w->dma));
	WANT(dma(w, 0x33) == -EPERM);
	TRY(pfnbuf_device_detach(w->dma));
	return 0;
}

FLOW_TESTS(ioas_ends_first)

/* ---------------------------------------------------------------- memory -------------------- */

/* A memfd for devices: what is mapped is not given back; what is not, is. */
static int shared_memory(struct world *w)
{
	uint64_t iova = IOVA, bytes;
	char *memory;
	void *addr;
	int r;

	STEP(open_pair(w, BAR_DEVICE));
	TRY(pfnbuf_buf_new_memfd(w->ctx, 4 * PAGE, 0, &w->buf2));
	WANT(pfnbuf_buf_get_kind(w->buf2) == PFNBUF_MEMFD);
	WANT(pfnbuf_buf_get_state(w->buf2) == PFNBUF_LIVE);
	WANT(pfnbuf_buf_get_device(w->buf2) == NULL);
	TRY(pfnbuf_ioas_map_buf(w->ioas, w->buf2, PAGE, 2 * PAGE, MAP_FIXED_RW, &iova));
	WANT(pfnbuf_sim_dma_write(w->sim, DMA_DEVICE, IOVA, "dma", 3, NULL) == 0);
	REFUSED(pfnbuf_buf_discard(w->buf2, 2 * PAGE, PAGE), EBUSY);
	REFUSED(pfnbuf_buf_discard(w->buf2, 0, 4 * PAGE), EBUSY);
	TRY(pfnbuf_buf_map(w->buf2, 0, 4 * PAGE, &addr));
	memory = addr;
	r = memcmp(memory + PAGE, "dma", 3);
	memory[0] = 'x';
	if (r == 0)
		r = pfnbuf_buf_discard(w->buf2, 0, PAGE);
	if (r == 0)
		r = (unsigned char)memory[0];
	munmap(memory, 4 * PAGE);
	TRY(r);
	WANT(r == 0);
	TRY(pfnbuf_device_reset(w->device));
	WANT(pfnbuf_buf_get_generation(w->buf2) == 1);
	WANT(pfnbuf_sim_dma_write(w->sim, DMA_DEVICE, IOVA, "dma", 3, NULL) == 0);
	TRY(pfnbuf_ioas_unmap(w->ioas, IOVA, 2 * PAGE, &bytes));
	TRY(pfnbuf_buf_discard(w->buf2, 2 * PAGE, PAGE));
	return 0;
}

FLOW_TESTS(shared_memory)

/* The same memory by another fd is the same memory: mapped is mapped. */
static int shared_memory_twice(struct world *w)
{
	struct pfnbuf_identity one, two;
	uint64_t iova = IOVA;

	TRY(pfnbuf_buf_new_memfd(w->ctx, 4 * PAGE, 0, &w->buf));
	w->fd = door(w)->dup(door(w)->data, pfnbuf_buf_get_fd(w->buf));
	if (w->fd < 0)
		return w->fd;
	TRY(pfnbuf_buf_from_fd(w->ctx, w->fd, PFNBUF_FD_BORROWED, &w->buf2));
	WANT(pfnbuf_buf_get_kind(w->buf2) == PFNBUF_MEMFD);
	WANT(pfnbuf_buf_get_length(w->buf2) == 4 * PAGE);
	one = pfnbuf_buf_get_identity(w->buf);
	two = pfnbuf_buf_get_identity(w->buf2);
	WANT(one.dev == two.dev && one.ino == two.ino);
	TRY(pfnbuf_ioas_new(w->ctx, &w->ioas));
	TRY(pfnbuf_ioas_map_buf(w->ioas, w->buf, 0, PAGE, MAP_FIXED_RW, &iova));
	REFUSED(pfnbuf_buf_discard(w->buf2, 0, PAGE), EBUSY);
	TRY(pfnbuf_buf_discard(w->buf2, PAGE, PAGE));
	w->buf2 = pfnbuf_buf_unref(w->buf2);
	WANT(fcntl(w->fd, F_GETFD) >= 0);
	return 0;
}

FLOW_TESTS(shared_memory_twice)

/* ---------------------------------------------------------------- handed in by a VMM -------- */

/* An fd that the VMM opened; borrowed, it is the VMM's again afterwards. */
static int device_from_fd(struct world *w)
{
	struct pfnbuf_device_info info;

	w->fd = door(w)->open(door(w)->data, "/dev/vfio/devices/vfio0", O_RDWR);
	if (w->fd < 0)
		return w->fd;
	TRY(pfnbuf_device_from_fd(w->ctx, w->fd, PFNBUF_FD_BORROWED, 0, &w->device));
	TRY(pfnbuf_device_get_info(w->device, &info));
	WANT(!info.bound && info.generation == 1);
	if (!w->failing)
		WANT(!strcmp(info.bdf, BAR_DEVICE) && !strcmp(info.cdev, "vfio0"));
	TRY(pfnbuf_device_bind(w->device, NULL));
	REFUSED(pfnbuf_device_bind(w->device, NULL), EALREADY);
	TRY(pfnbuf_device_get_info(w->device, &info));
	WANT(info.bound && info.vendor == 0x1af4 && info.device == 0x1110 && info.devid);
	w->device = pfnbuf_device_close(w->device);
	WANT(fcntl(w->fd, F_GETFD) >= 0);
	return 0;
}

FLOW_TESTS(device_from_fd)

/* Bound already by the VMM, with the context's iommufd. */
static int device_from_bound_fd(struct world *w)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	const struct pfnbuf_range slice = { 0, PAGE };
	struct pfnbuf_device_info info;
	int r = pfnbuf_ctx_get_iommufd(w->ctx);

	TRY(r);
	bind.iommufd = r;
	w->fd = door(w)->open(door(w)->data, "/dev/vfio/devices/vfio0", O_RDWR);
	if (w->fd < 0)
		return w->fd;
	STEP(door(w)->ioctl(door(w)->data, w->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind));
	REFUSED(pfnbuf_device_from_fd(w->ctx, w->fd, PFNBUF_FD_BORROWED | PFNBUF_FD_BOUND, 0,
				      &w->device),
		EINVAL);
	WANT(w->device == NULL);
	TRY(pfnbuf_device_from_fd(w->ctx, w->fd, PFNBUF_FD_BORROWED | PFNBUF_FD_BOUND,
				  bind.out_devid, &w->device));
	TRY(pfnbuf_device_get_info(w->device, &info));
	WANT(info.bound && info.devid == bind.out_devid);
	TRY(pfnbuf_device_export(w->device, BAR, &slice, 1, &w->buf));
	w->device = pfnbuf_device_close(w->device);
	WANT(pfnbuf_buf_get_state(w->buf) == PFNBUF_DEAD);
	return 0;
}

FLOW_TESTS(device_from_bound_fd)

/* An IOAS of somebody else's: what is theirs stays theirs. */
static int ioas_from_id(struct world *w)
{
	struct pfnbuf_sim_counts before, counts;
	uint64_t iova = IOVA, bytes = 77;
	unsigned total;

	pfnbuf_sim_get_counts(w->sim, &before);
	TRY(pfnbuf_ioas_new(w->ctx, &w->ioas));
	TRY(pfnbuf_ioas_map_va(w->ioas, w->memory, PAGE, MAP_FIXED_RW, &iova));
	TRY(pfnbuf_ioas_from_id(w->ctx, pfnbuf_ioas_get_id(w->ioas), &w->ioas2));
	WANT(dead_areas(w->ioas2, &total) == 0 && total == 0);
	iova = IOVA + PAGE;
	TRY(pfnbuf_ioas_map_va(w->ioas2, w->memory, PAGE, MAP_FIXED_RW, &iova));
	REFUSED(pfnbuf_ioas_map_va(w->ioas2, w->memory, PAGE, MAP_FIXED_RW, &iova), EEXIST);
	iova = IOVA;
	REFUSED(pfnbuf_ioas_map_va(w->ioas2, w->memory, PAGE, MAP_FIXED_RW, &iova), EEXIST);
	REFUSED(pfnbuf_ioas_unmap(w->ioas2, IOVA, PAGE, &bytes), ENOENT);
	WANT(bytes == 77);
	TRY(pfnbuf_ioas_unmap_all(w->ioas2, &bytes));
	WANT(bytes == PAGE || w->failing);
	TRY(pfnbuf_ioas_map_va(w->ioas2, (char *)w->memory + PAGE, PAGE, PFNBUF_MAP_READ, &iova));
	w->ioas2 = pfnbuf_ioas_free(w->ioas2);
	if (w->warnings)
		return -EAGAIN;
	pfnbuf_sim_get_counts(w->sim, &counts);
	WANT(counts.ioas == before.ioas + 1);
	WANT(counts.areas == before.areas + 1 || w->failing);
	REFUSED(pfnbuf_ioas_from_id(w->ctx, 12345, &w->ioas2), ENOENT);
	return 0;
}

FLOW_TESTS(ioas_from_id)

/* A dma-buf that came from elsewhere: it can be mapped, its revocations cannot be seen. */
static int foreign_dma_buf(struct world *w)
{
	uint64_t iova = IOVA;
	int answer;

	STEP(open_and_map(w, BAR_DEVICE));
	w->fd = door(w)->dup(door(w)->data, pfnbuf_buf_get_fd(w->buf));
	if (w->fd < 0)
		return w->fd;
	TRY(pfnbuf_buf_from_fd(w->ctx, w->fd, PFNBUF_FD_BORROWED, &w->buf2));
	WANT(pfnbuf_buf_get_kind(w->buf2) == PFNBUF_DMA_BUF);
	WANT(pfnbuf_buf_get_length(w->buf2) == SLICE);
	WANT(pfnbuf_buf_get_state(w->buf2) == PFNBUF_LIVE);
	iova = IOVA + SLICE;
	TRY(pfnbuf_ioas_map_buf(w->ioas, w->buf2, 0, SLICE, MAP_FIXED_RW, &iova));
	w->unseen = true;
	WANT(pfnbuf_sim_foreign_decode(w->sim, BAR_DEVICE, false) == 0);
	WANT(pfnbuf_buf_get_state(w->buf2) == PFNBUF_LIVE);
	answer = pfnbuf_buf_verify(w->buf2);
	TRY(answer);
	WANT(answer == 0);
	WANT(pfnbuf_buf_get_state(w->buf2) == PFNBUF_SUSPENDED);
	WANT(pfnbuf_sim_foreign_decode(w->sim, BAR_DEVICE, true) == 0);
	answer = pfnbuf_buf_verify(w->buf2);
	TRY(answer);
	/* An ENODEV that the sweep puts in looks like a revocation, and is answered so. */
	if (w->failing && !answer)
		return -EAGAIN;
	WANT(answer == 1);
	WANT(pfnbuf_buf_get_state(w->buf2) == PFNBUF_LIVE);
	return 0;
}

FLOW_TESTS(foreign_dma_buf)

/* ---------------------------------------------------------------- events -------------------- */

/* In order, numbered, with cause, user pointer and generation; the fd says so, also from inside. */
static int events(struct world *w)
{
	struct pfnbuf_event event = { 0 };
	uint64_t first;
	int user;

	STEP(open_bound(w, BAR_DEVICE, &w->device));
	WANT(!readable(w->ctx));
	pfnbuf_device_set_user(w->device, &user);
	TRY(pfnbuf_device_set_memory_decode(w->device, false));
	if (!w->failing)
		WANT(readable(w->ctx));
	TRY(pfnbuf_device_set_memory_decode(w->device, true));
	TRY(pfnbuf_device_reset(w->device));
	STEP(want_event(w, PFNBUF_EVENT_REVOKED, PFNBUF_CAUSE_DECODE_OFF, &event));
	first = event.seq;
	WANT(event.device == w->device && event.user == &user);
	WANT(event.generation == 2);
	STEP(want_event(w, PFNBUF_EVENT_LIVE, PFNBUF_CAUSE_NONE, &event));
	WANT(event.seq == first + 1 && event.generation == 2);
	STEP(want_event(w, PFNBUF_EVENT_REVOKED, PFNBUF_CAUSE_RESET, &event));
	WANT(event.seq == first + 2 && event.generation == 3);
	STEP(want_event(w, PFNBUF_EVENT_LIVE, PFNBUF_CAUSE_NONE, &event));
	WANT(pfnbuf_ctx_pop_event(w->ctx, &event) == 0);
	WANT(!readable(w->ctx));

	/* What is still queued of a closed device names it no more. */
	w->device = pfnbuf_device_close(w->device);
	STEP(want_event(w, PFNBUF_EVENT_DEAD, PFNBUF_CAUSE_CLOSE, &event));
	WANT(event.device == NULL && event.user == &user && event.generation == 4);
	return 0;
}

FLOW_TESTS(events)

/* The kernel's own notices, through a poll on an epoll that holds the context's fd. */
static int notices(struct world *w)
{
	struct epoll_event in = { .events = EPOLLIN }, out;
	struct pfnbuf_event event;
	int outer, nested;

	STEP(open_bound(w, BAR_DEVICE, &w->device));
	WANT(pfnbuf_sim_request_removal(w->sim, BAR_DEVICE) == 0);
	outer = epoll_create1(EPOLL_CLOEXEC);
	WANT(outer >= 0 && epoll_ctl(outer, EPOLL_CTL_ADD, pfnbuf_ctx_get_fd(w->ctx), &in) == 0);
	nested = epoll_wait(outer, &out, 1, 0);
	close(outer);
	if (!w->failing)
		WANT(nested == 1);
	WANT(pfnbuf_ctx_pop_event(w->ctx, &event) == 0);
	STEP(want_event(w, PFNBUF_EVENT_REMOVAL_REQUEST, PFNBUF_CAUSE_NONE, &event));
	WANT(event.device == w->device && event.generation == 1);
	WANT(pfnbuf_sim_raise_error(w->sim, BAR_DEVICE) == 0);
	STEP(want_event(w, PFNBUF_EVENT_DEVICE_ERROR, PFNBUF_CAUSE_NONE, &event));
	/* An error revokes nothing. */
	WANT(pfnbuf_device_get_generation(w->device) == 1);
	WANT(pfnbuf_ctx_pop_event(w->ctx, &event) == 0);
	WANT(!readable(w->ctx));
	return 0;
}

FLOW_TESTS(notices)

/* A queue of three keeps the oldest, counts the others, and the numbers show the gap. */
static void test_lost_events(void **state)
{
	struct pfnbuf_event event;
	struct world w_ = { 0 }, *w = &w_;

	(void)state;
	world_init(w);
	assert_int_equal(world_open(w, 3), 0);
	assert_int_equal(open_bound(w, BAR_DEVICE, &w->device), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(pfnbuf_device_reset(w->device), 0);
	for (uint64_t seq = 1; seq <= 3; seq++) {
		assert_int_equal(pfnbuf_ctx_pop_event(w->ctx, &event), 1);
		assert_int_equal(event.seq, seq);
		assert_int_equal(event.type, seq % 2 ? PFNBUF_EVENT_REVOKED : PFNBUF_EVENT_LIVE);
	}
	assert_true(readable(w->ctx));
	assert_int_equal(pfnbuf_ctx_pop_event(w->ctx, &event), 1);
	assert_int_equal(event.type, PFNBUF_EVENT_LOST);
	assert_int_equal(event.count, 7);
	assert_int_equal(event.seq, 10);
	assert_null(event.device);
	assert_int_equal(pfnbuf_ctx_pop_event(w->ctx, &event), 0);
	assert_int_equal(pfnbuf_ctx_dispatch(w->ctx), 0);
	assert_false(readable(w->ctx));

	/* After the gap it goes on, numbered on. */
	assert_int_equal(pfnbuf_device_reset(w->device), 0);
	assert_int_equal(pfnbuf_ctx_pop_event(w->ctx, &event), 1);
	assert_int_equal(event.seq, 11);
	world_fini(w);
}

/* Notices that found the queue full are not forgotten: the device says that they were given. */
static void test_lost_notices(void **state)
{
	struct pfnbuf_device_info info;
	struct pfnbuf_event event;
	struct world w_ = { 0 }, *w = &w_;

	(void)state;
	world_init(w);
	assert_int_equal(world_open(w, 2), 0);
	assert_int_equal(open_bound(w, BAR_DEVICE, &w->device), 0);
	assert_int_equal(pfnbuf_device_get_info(w->device, &info), 0);
	assert_true(info.removal_requests == 0 && info.device_errors == 0);
	assert_int_equal(pfnbuf_device_reset(w->device), 0);
	assert_int_equal(pfnbuf_sim_request_removal(w->sim, BAR_DEVICE), 0);
	assert_int_equal(pfnbuf_sim_raise_error(w->sim, BAR_DEVICE), 0);
	assert_int_equal(pfnbuf_ctx_dispatch(w->ctx), 0);
	assert_int_equal(pfnbuf_ctx_pop_event(w->ctx, &event), 1);
	assert_int_equal(pfnbuf_ctx_pop_event(w->ctx, &event), 1);
	assert_int_equal(event.type, PFNBUF_EVENT_LIVE);
	assert_int_equal(pfnbuf_ctx_pop_event(w->ctx, &event), 1);
	assert_int_equal(event.type, PFNBUF_EVENT_LOST);
	assert_int_equal(event.count, 2);
	assert_int_equal(pfnbuf_device_get_info(w->device, &info), 0);
	assert_true(info.removal_requests == 1 && info.device_errors == 1);
	world_fini(w);
}

/* ---------------------------------------------------------------- contexts ------------------ */

/* Objects keep their context; freeing it first is no mistake. */
static void test_context_freed_first(void **state)
{
	struct world w_ = { 0 }, *w = &w_;

	(void)state;
	world_init(w);
	assert_int_equal(world_open(w, 0), 0);
	assert_int_equal(open_pair(w, BAR_DEVICE), 0);
	assert_int_equal(export_and_map(w), 0);
	w->ctx = pfnbuf_ctx_free(w->ctx);
	assert_int_equal(pfnbuf_device_reset(w->device), 0);
	assert_int_equal(pfnbuf_device_restore(w->device), 0);
	assert_int_equal(dma(w, 0x5a), 0);
	world_release(w);
	assert_int_equal(w->warnings, 0);
	world_assert_counts(w);
	world_fini(w);
}

/* Two contexts over one kernel know nothing of each other: a device is bound once. */
static void test_two_contexts(void **state)
{
	struct world w_ = { 0 }, *w = &w_;
	struct pfnbuf_ctx *second;
	const struct pfnbuf_ctx_opts opts = { .size = sizeof(opts) };
	struct pfnbuf_ctx_opts with_kernel = opts;
	struct pfnbuf_device *device;

	(void)state;
	world_init(w);
	assert_int_equal(world_open(w, 0), 0);
	with_kernel.kernel = pfnbuf_sim_kernel(w->sim);
	assert_int_equal(pfnbuf_ctx_new(&second, &with_kernel), 0);
	assert_int_equal(open_bound(w, BAR_DEVICE, &w->device), 0);
	assert_int_equal(pfnbuf_device_open(second, BAR_DEVICE, &device), 0);
	assert_int_equal(pfnbuf_device_bind(device, NULL), -EINVAL);
	w->device = pfnbuf_device_close(w->device);
	assert_int_equal(pfnbuf_device_bind(device, NULL), 0);
	pfnbuf_device_close(device);
	pfnbuf_ctx_free(second);
	world_release(w);
	w->ctx = pfnbuf_ctx_free(w->ctx);
	world_assert_counts(w);
	world_fini(w);
}

/* A context can be told which iommufd to use, and leaves it open. */
static void test_borrowed_iommufd(void **state)
{
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts) };
	struct world w_ = { 0 }, *w = &w_;

	(void)state;
	world_init(w);
	opts.kernel = door(w);
	w->fd = door(w)->open(door(w)->data, "/dev/iommu", O_RDWR);
	assert_true(w->fd > 0);
	opts.iommufd = w->fd;
	assert_int_equal(pfnbuf_ctx_new(&w->ctx, &opts), 0);
	assert_int_equal(pfnbuf_ctx_get_iommufd(w->ctx), w->fd);
	assert_int_equal(open_pair(w, BAR_DEVICE), 0);
	w->device = pfnbuf_device_close(w->device);
	w->dma = pfnbuf_device_close(w->dma);
	w->ioas = pfnbuf_ioas_free(w->ioas);
	w->ctx = pfnbuf_ctx_free(w->ctx);
	assert_true(fcntl(w->fd, F_GETFD) >= 0);
	world_release(w);
	world_assert_counts(w);
	world_fini(w);
}

/* One of each kind of fd that the library makes. */
static void open_everything(struct world *w, enum pfnbuf_engine_kind engine)
{
	const struct pfnbuf_ctx_opts opts = {
		.size = sizeof(opts),
		.kernel = door(w),
		.engine = engine,
	};
	const struct pfnbuf_kernel *k = door(w);

	assert_int_equal(pfnbuf_ctx_new(&w->ctx, &opts), 0);
	assert_int_equal(pfnbuf_vm_new(w->ctx, PFNBUF_VM_SW_PROTECTED, &w->vm), 0);
	assert_int_equal(pfnbuf_device_open(w->ctx, BAR_DEVICE, &w->device), 0);
	assert_int_equal(pfnbuf_vm_add_device(w->vm, w->device), 0);
	assert_int_equal(pfnbuf_device_bind(w->device, NULL), 0);
	assert_int_equal(pfnbuf_device_low_power_enter(w->device, -1), 0);
	assert_int_equal(pfnbuf_device_low_power_exit(w->device), 0);
	assert_int_equal(pfnbuf_ioas_new(w->ctx, &w->ioas), 0);
	assert_int_equal(pfnbuf_device_attach(w->device, w->ioas), 0);
	assert_int_equal(export_and_map(w), 0);
	assert_int_equal(pfnbuf_buf_new_guest_memfd(w->vm, PAGE, 0, &w->buf2), 0);
	w->fd = k->dup(k->data, pfnbuf_buf_get_fd(w->buf));
	assert_true(w->fd >= 0);
}

/* A child that does what it may leaves everything as it was. */
static void come_and_go(struct world *w)
{
	char *was, *is;
	pid_t child;
	int status;

	assert_int_equal(pfnbuf_sim_dump(w->sim, &was), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(7);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	assert_int_equal(pfnbuf_sim_dump(w->sim, &is), 0);
	assert_string_equal(is, was);
	free(was);
	free(is);
	/* Notices still come. */
	assert_int_equal(pfnbuf_sim_request_removal(w->sim, BAR_DEVICE), 0);
	assert_true(readable(w->ctx));
	assert_int_equal(pfnbuf_ctx_dispatch(w->ctx), 0);
}

static void closes_on_exec(enum pfnbuf_engine_kind engine)
{
	struct world w;
	struct fds before;

	world_init(&w);
	world_plug(&w, NULL);
	before = fds_now();
	open_everything(&w, engine);
	/* Engine, queue, VM, device, its two notices, iommufd, kvm-vfio, dma-buf twice, guest_memfd. */
	assert_true(fds_all_cloexec(before) >= 11);
	come_and_go(&w);
	world_release(&w);
	w.ctx = pfnbuf_ctx_free(w.ctx);
	assert_int_equal(fds_all_cloexec(before), 0);
	world_fini(&w);
}

static void test_closes_on_exec(void **state)
{
	(void)state;
	closes_on_exec(PFNBUF_ENGINE_EPOLL);
}

static void test_closes_on_exec_uring(void **state)
{
	const struct pfnbuf_ctx_opts opts = {
		.size = sizeof(opts),
		.engine = PFNBUF_ENGINE_URING,
	};
	struct pfnbuf_ctx *ctx;
	int r = pfnbuf_ctx_new(&ctx, &opts);

	(void)state;
	if (r == -EOPNOTSUPP || r == -EPERM) {
		print_message("without io_uring: %s\n", pfnbuf_last_error());
		return;
	}
	assert_int_equal(r, 0);
	pfnbuf_ctx_free(ctx);
	closes_on_exec(PFNBUF_ENGINE_URING);
}

/* Every destructor takes NULL and returns it. */
static void test_null(void **state)
{
	(void)state;
	assert_null(pfnbuf_ctx_free(NULL));
	assert_null(pfnbuf_device_close(NULL));
	assert_null(pfnbuf_buf_unref(NULL));
	assert_null(pfnbuf_ioas_free(NULL));
	assert_null(pfnbuf_vm_free(NULL));
	assert_null(pfnbuf_layout_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FLOW_ENTRIES(guest_over_bar),
		FLOW_ENTRIES(close_takes_slots),
		FLOW_ENTRIES(private_memory),
		FLOW_ENTRIES(buffer_outlives_device),
		FLOW_ENTRIES(area_holds_buffer),
		FLOW_ENTRIES(ioas_ends_first),
		FLOW_ENTRIES(shared_memory),
		FLOW_ENTRIES(shared_memory_twice),
		FLOW_ENTRIES(device_from_fd),
		FLOW_ENTRIES(device_from_bound_fd),
		FLOW_ENTRIES(ioas_from_id),
		FLOW_ENTRIES(foreign_dma_buf),
		FLOW_ENTRIES(events),
		FLOW_ENTRIES(notices),
		cmocka_unit_test(test_lost_events),
		cmocka_unit_test(test_lost_notices),
		cmocka_unit_test(test_context_freed_first),
		cmocka_unit_test(test_two_contexts),
		cmocka_unit_test(test_borrowed_iommufd),
		cmocka_unit_test(test_closes_on_exec),
		cmocka_unit_test(test_closes_on_exec_uring),
		cmocka_unit_test(test_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
