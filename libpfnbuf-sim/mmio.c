/* SPDX-License-Identifier: MIT */
/*
 * Memory of devices in a guest's private tables: slots that stand on a dma-buf ("KVM: Support
 * vfio_dmabuf backed MMIO region", RFC v2 of May 2025), and ranges that were validated at the
 * request of the guest.
 */
#include <fcntl.h>

#include "sim.h"

/* ------------------------------------------------------------- the device's memory */

static int bar_rw(const struct sim_vdev *vdev, unsigned bar, uint64_t offset, uint8_t *data,
		  size_t length, bool write)
{
	int fd = vdev->bars[bar].fd;
	ssize_t n = write ? pwrite(fd, data, length, (off_t)offset)
			  : pread(fd, data, length, (off_t)offset);

	return n == (ssize_t)length ? 0 : -EIO;
}

/* The device may have been closed without the table's knowing. */
static void notice_close(struct pfnbuf_sim *sim, const struct sim_dmabuf *dmabuf)
{
	if (dmabuf->vdev && dmabuf->vdev->bound_by)
		sim_file_reap(sim, dmabuf->vdev->bound_by);
}

/* --------------------------------------------------------------- slots on dma-bufs */

int sim_mmio_find_dmabuf(struct pfnbuf_sim *sim, int fd, uint64_t size, struct sim_dmabuf **dmabufp)
{
	struct sim_dmabuf *dmabuf;
	struct sim_file *file;

	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	file = sim_file_get(sim, fd);
	dmabuf = file && file->kind == SIM_DMABUF ? file->object : NULL;
	if (!dmabuf || !dmabuf->bytes || dmabuf->size != size)
		return -EINVAL;
	notice_close(sim, dmabuf);
	if (dmabuf->revoked)
		return -ENODEV;
	if (dmabuf->nr_ranges != 1 && !(sim->proposed & PFNBUF_SIM_IMPORT_RANGES))
		return -EOPNOTSUPP;
	*dmabufp = dmabuf;
	return 0;
}

static uint64_t entry_words(const struct sim_slot *slot)
{
	return (slot->size / sim_page_size() + 63) / 64;
}

int sim_mmio_init_slot(struct sim_slot *slot, struct sim_dmabuf *dmabuf)
{
	slot->entries = calloc(entry_words(slot), sizeof(*slot->entries));
	if (!slot->entries || sim_vec_insert(&dmabuf->slots, dmabuf->slots.n, slot)) {
		free(slot->entries);
		slot->entries = NULL;
		return -ENOMEM;
	}
	slot->dmabuf = dmabuf;
	sim_file_ref(dmabuf->file);
	dmabuf->bytes->sim->nr_mmio++;
	return 0;
}

static bool has_entry(const struct sim_slot *slot, uint64_t gpa)
{
	uint64_t page = (gpa - slot->gpa) / sim_page_size();

	return slot->entries[page / 64] >> page % 64 & 1;
}

/* TDX Connect: what is in the guest's private tables stays there for as long as it is bound. */
static void check_leaving(const struct sim_slot *slot, const struct sim_vm *vm, uint64_t gpa,
			  uint64_t end)
{
	const struct sim_dmabuf *dmabuf = slot->dmabuf;
	struct pfnbuf_sim *sim = dmabuf->bytes->sim;

	if (!(sim->proposed & PFNBUF_SIM_VFIO_TSM) || !sim_tdi_serves(dmabuf->bytes, vm))
		return;
	end = MIN(end, slot->gpa + slot->size);
	for (uint64_t at = MAX(gpa, slot->gpa); at < end; at += sim_page_size())
		if (has_entry(slot, at))
			sim_violated(sim,
				     "0x%llx leaves its guest's private tables while %s is bound",
				     (unsigned long long)at, dmabuf->bytes->bdf);
}

static void set_entries(struct sim_slot *slot, uint64_t gpa, uint64_t end, bool present)
{
	uint64_t first = (MAX(gpa, slot->gpa) - slot->gpa) / sim_page_size();
	uint64_t last = (MIN(end, slot->gpa + slot->size) - slot->gpa - 1) / sim_page_size();

	for (uint64_t page = first; page <= last; page++)
		if (present)
			slot->entries[page / 64] |= 1ULL << page % 64;
		else
			slot->entries[page / 64] &= ~(1ULL << page % 64);
}

void sim_mmio_free_slot(struct pfnbuf_sim *sim, const struct sim_vm *vm, struct sim_slot *slot)
{
	struct sim_dmabuf *dmabuf = slot->dmabuf;

	if (!dmabuf)
		return;
	check_leaving(slot, vm, slot->gpa, slot->gpa + slot->size);
	for (size_t i = 0; i < dmabuf->slots.n; i++)
		if (dmabuf->slots.v[i] == slot) {
			sim_vec_remove(&dmabuf->slots, i, 1);
			break;
		}
	free(slot->entries);
	slot->entries = NULL;
	slot->dmabuf = NULL;
	sim->nr_mmio--;
	sim_file_unref(sim, dmabuf->file);
}

void sim_mmio_zap(struct sim_vm *vm, uint64_t gpa, uint64_t end)
{
	const struct sim_vec *slots = &vm->by_gpa[0];

	for (size_t i = sim_slot_index(slots, gpa); i < slots->n; i++) {
		struct sim_slot *slot = slots->v[i];

		if (slot->gpa >= end)
			return;
		if (!slot->dmabuf)
			continue;
		check_leaving(slot, vm, gpa, end);
		set_entries(slot, gpa, end, false);
	}
}

void sim_mmio_zap_dmabuf(struct sim_dmabuf *dmabuf)
{
	for (size_t i = 0; i < dmabuf->slots.n; i++) {
		struct sim_slot *slot = dmabuf->slots.v[i];

		set_entries(slot, slot->gpa, slot->gpa + slot->size, false);
	}
}

/* What KVM gets from VFIO, and the TSM takes into the guest's tables. */
static int fault_in(const struct sim_vm *vm, const struct sim_slot *slot, uint64_t gpa)
{
	const struct sim_dmabuf *dmabuf = slot->dmabuf;
	uint64_t room, at = sim_dmabuf_at(dmabuf, gpa - slot->gpa, &room);

	if (dmabuf->revoked || !sim_tdi_serves(dmabuf->bytes, vm) ||
	    !sim_tdi_all_tee(dmabuf->bytes, dmabuf->bar, page_down(at), sim_page_size()))
		return -EIO;
	return 0;
}

int sim_mmio_pre_fault(const struct sim_vm *vm, struct sim_slot *slot, uint64_t gpa)
{
	int ret = fault_in(vm, slot, gpa);

	if (!ret)
		set_entries(slot, gpa, gpa + sim_page_size(), true);
	return ret;
}

/* Where the kernel brings private memory of a device in on demand, or only when it is told to. */
static int access_private(const struct pfnbuf_sim *sim, const struct sim_vm *vm,
			  struct sim_slot *slot, uint64_t gpa)
{
	if (sim->proposed & PFNBUF_SIM_VDEVICE_OP)
		return has_entry(slot, gpa) ? fault_in(vm, slot, gpa) : -EFAULT;
	return sim_mmio_pre_fault(vm, slot, gpa);
}

static int access_shared(const struct sim_slot *slot, uint64_t gpa)
{
	const struct sim_dmabuf *dmabuf = slot->dmabuf;
	uint64_t room, at = sim_dmabuf_at(dmabuf, gpa - slot->gpa, &room);

	/* A device that is locked refuses what does not come from its guest. */
	if (dmabuf->revoked || sim_tdi_protects(dmabuf->bytes, dmabuf->bar, at, 1))
		return -EIO;
	return 0;
}

int sim_mmio_slot_access(struct pfnbuf_sim *sim, const struct sim_vm *vm, struct sim_slot *slot,
			 uint64_t gpa, bool as_private, uint8_t *data, size_t length, bool write)
{
	const struct sim_dmabuf *dmabuf = slot->dmabuf;

	notice_close(sim, dmabuf);
	while (length) {
		size_t chunk =
			(size_t)MIN(sim_page_size() - gpa % sim_page_size(), (uint64_t)length);
		uint64_t room, at = sim_dmabuf_at(dmabuf, gpa - slot->gpa, &room);
		int ret =
			as_private ? access_private(sim, vm, slot, gpa) : access_shared(slot, gpa);

		if (!ret)
			ret = bar_rw(dmabuf->bytes, dmabuf->bar, at, data, chunk, write);
		if (ret)
			return ret;
		gpa += chunk;
		data += chunk;
		length -= chunk;
	}
	return 0;
}

/* ------------------------------------------------------------------------ validated */

struct sim_mmio *sim_mmio_at(const struct sim_vm *vm, uint64_t gpa)
{
	for (size_t i = 0; i < vm->mmio.n; i++) {
		struct sim_mmio *mmio = vm->mmio.v[i];

		if (gpa >= mmio->gpa && gpa - mmio->gpa < mmio->length)
			return mmio;
	}
	return NULL;
}

int sim_mmio_access(const struct sim_vm *vm, const struct sim_mmio *mmio, uint64_t gpa,
		    uint8_t *data, size_t length, bool write)
{
	if (!sim_vdev_enabled(mmio->vdev) || !sim_tdi_serves(mmio->vdev, vm))
		return -EIO;
	return bar_rw(mmio->vdev, mmio->bar, mmio->offset + (gpa - mmio->gpa), data, length, write);
}

/* The BAR that all of the range is in, as a number; 6: none. */
static unsigned find_bar(const struct sim_vdev *vdev, uint64_t pa, uint64_t length)
{
	unsigned i = 0;

	for (; i < 6; i++) {
		const struct sim_bar *bar = &vdev->bars[i];

		if (bar->size && !(bar->flags & PFNBUF_SIM_BAR_IO) && pa >= bar->start &&
		    length <= bar->size && pa - bar->start <= bar->size - length)
			break;
	}
	return i;
}

static bool overlaps(const struct sim_vm *vm, uint64_t gpa, uint64_t length)
{
	for (size_t i = 0; i < vm->mmio.n; i++) {
		const struct sim_mmio *mmio = vm->mmio.v[i];

		if (gpa < mmio->gpa + mmio->length && mmio->gpa < gpa + length)
			return true;
	}
	return false;
}

/* -EINVAL: nothing that could be asked for; -ENXIO: the monitor says no. */
int sim_mmio_validate(struct sim_vdev *vdev, uint64_t gpa, uint64_t end, uint64_t pa)
{
	struct sim_vm *vm = vdev->tdi.vm;
	uint64_t length = end - gpa;
	struct sim_mmio *mmio;
	unsigned bar;

	if (end <= gpa || !page_aligned(gpa) || !page_aligned(end) || !page_aligned(pa) ||
	    end > 1ULL << SIM_MAX_PHYS_BITS)
		return -EINVAL;
	bar = find_bar(vdev, pa, length);
	if (bar == 6 || !sim_tdi_serves(vdev, vm) || overlaps(vm, gpa, length) ||
	    !sim_tdi_all_tee(vdev, bar, pa - vdev->bars[bar].start, length))
		return -ENXIO;
	mmio = malloc(sizeof(*mmio));
	if (!mmio)
		return -ENOMEM;
	*mmio = (struct sim_mmio){ gpa, length, vdev, bar, pa - vdev->bars[bar].start };
	if (sim_vec_insert(&vm->mmio, vm->mmio.n, mmio)) {
		free(mmio);
		return -ENOMEM;
	}
	vdev->sim->nr_mmio++;
	sim_alias_check_bars(vdev->sim, NULL);
	return 0;
}

void sim_mmio_invalidate(struct sim_vm *vm, const struct sim_vdev *vdev)
{
	for (size_t i = vm->mmio.n; i--;) {
		struct sim_mmio *mmio = vm->mmio.v[i];

		if (mmio->vdev != vdev)
			continue;
		sim_vec_remove(&vm->mmio, i, 1);
		free(mmio);
		vdev->sim->nr_mmio--;
	}
}

/* ---------------------------------------------------------------- what is private */

/* The private runs of a slot, in pieces that are each one stretch of the BAR. */
static void visit_slot(struct pfnbuf_sim *sim, const struct sim_vm *vm, const struct sim_slot *slot,
		       sim_bar_run_fn *visit, void *data)
{
	const struct sim_dmabuf *dmabuf = slot->dmabuf;
	uint64_t end = slot->gpa + slot->size;

	for (uint64_t gpa = slot->gpa, next; gpa < end; gpa = next) {
		struct sim_bar_run run = { vm, dmabuf->bytes, dmabuf->bar, gpa, 0, 0 };
		uint64_t room;

		run.offset = sim_dmabuf_at(dmabuf, gpa - slot->gpa, &room);
		next = MIN(MIN(sim_vm_run_end(vm, gpa), end), gpa + room);
		run.length = next - gpa;
		if (sim_vm_is_private(vm, gpa))
			visit(sim, &run, data);
	}
}

void sim_mmio_each_private(struct pfnbuf_sim *sim, sim_bar_run_fn *visit, void *data)
{
	for (const struct sim_vm *vm = sim->nr_mmio ? sim->vms : NULL; vm; vm = vm->next) {
		for (size_t i = 0; i < vm->by_gpa[0].n; i++) {
			const struct sim_slot *slot = vm->by_gpa[0].v[i];

			if (slot->dmabuf)
				visit_slot(sim, vm, slot, visit, data);
		}
		for (size_t i = 0; i < vm->mmio.n; i++) {
			const struct sim_mmio *mmio = vm->mmio.v[i];
			const struct sim_bar_run run = { vm,	    mmio->vdev,	  mmio->bar,
							 mmio->gpa, mmio->offset, mmio->length };

			visit(sim, &run, data);
		}
	}
}
