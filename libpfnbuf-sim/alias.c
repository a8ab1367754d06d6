/* SPDX-License-Identifier: MIT */
/*
 * The invariant: a page that the guest reaches as private is not mapped for devices. For a slot
 * with a guest_memfd the danger is the shared memory behind the same guest address: while that is
 * private, no IOMMU may map its shared twin.
 */
#include <stdarg.h>

#include "sim.h"

void sim_violated(struct pfnbuf_sim *sim, const char *format, ...)
{
	va_list args;

	if (sim->alias)
		return;
	va_start(args, format);
	if (vasprintf(&sim->alias, format, args) < 0)
		sim->alias = NULL;
	va_end(args);
}

static bool overlap(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
	return a < b + b_length && b < a + a_length;
}

/* A stretch of the shared memory behind a private run: where it is, and in which file, if any. */
struct twin {
	const struct sim_slot *slot;
	uint64_t va, length;
	uint64_t dev, ino, offset; /* ino 0: no file */
};

static bool maps_twin(const struct sim_area *area, const struct twin *twin)
{
	const struct sim_pages *pages = area->pages;
	uint64_t source = pages->base + area->start_byte;
	uint64_t size = area->last - area->iova + 1;

	if (pages->kind == SIM_PAGES_USER)
		return !pages->mm && overlap(source, size, twin->va, twin->length);
	return pages->kind == SIM_PAGES_FILE && pages->file->ino == twin->ino &&
	       pages->file->dev == twin->dev && overlap(source, size, twin->offset, twin->length);
}

static void check_twin_area(struct pfnbuf_sim *sim, const struct twin *twin,
			    const struct sim_area *area)
{
	uint64_t gpa = twin->slot->gpa + (twin->va - twin->slot->va);

	if (area->filled && maps_twin(area, twin))
		sim_violated(
			sim,
			"guest memory 0x%llx+0x%llx is private, its twin in area 0x%llx of IOAS %u",
			(unsigned long long)gpa, (unsigned long long)twin->length,
			(unsigned long long)area->iova, area->ioas->obj.id);
}

/* Against one area, or against all of them. */
static void check_twin(struct pfnbuf_sim *sim, const struct twin *twin, const struct sim_area *only)
{
	if (only) {
		check_twin_area(sim, twin, only);
		return;
	}
	for (struct sim_ictx *ictx = sim->ictxs; ictx; ictx = ictx->next)
		for (uint32_t id = 1; id < ictx->nr_objects; id++) {
			struct sim_ioas *ioas = sim_ioas_get(ictx, id);

			for (size_t i = 0; ioas && i < ioas->areas.n; i++)
				check_twin_area(sim, twin, ioas->areas.v[i]);
		}
}

/* The memory behind [gpa, end) of the slot in stretches that are each in one file, or in none. */
static void check_run(struct pfnbuf_sim *sim, const struct sim_slot *slot, uint64_t gpa,
		      uint64_t end, const struct sim_area *only)
{
	uint64_t va = slot->va + (gpa - slot->gpa), va_end = va + (end - gpa);

	while (va < va_end) {
		const struct sim_mapping *m = sim_mapping_next(sim, va);
		struct twin twin = { .slot = slot, .va = va, .length = va_end - va };

		if (m && m->addr > va) {
			twin.length = MIN(m->addr, va_end) - va;
		} else if (m) {
			twin.length = MIN(m->addr + m->length, va_end) - va;
			twin.dev = m->dev;
			twin.ino = m->ino;
			twin.offset = m->offset + (va - m->addr);
		}
		check_twin(sim, &twin, only);
		va += twin.length;
	}
}

/* The private runs of [gpa, end) within one slot. */
static void check_slot(struct pfnbuf_sim *sim, const struct sim_vm *vm, const struct sim_slot *slot,
		       uint64_t gpa, uint64_t end, const struct sim_area *only)
{
	for (uint64_t run_end; gpa < end; gpa = run_end) {
		run_end = MIN(sim_vm_run_end(vm, gpa), end);
		if (sim_vm_is_private(vm, gpa))
			check_run(sim, slot, gpa, run_end, only);
	}
}

static bool has_twin(const struct sim_slot *slot)
{
	return slot->flags & KVM_MEM_GUEST_MEMFD && !slot->gmem_only;
}

void sim_alias_check_private(struct pfnbuf_sim *sim, struct sim_vm *vm, uint64_t gpa, uint64_t size)
{
	const struct sim_vec *slots = &vm->by_gpa[0];

	if (!vm->attributes.n)
		return;
	for (size_t i = sim_slot_index(slots, gpa); i < slots->n && !sim->alias; i++) {
		const struct sim_slot *slot = slots->v[i];

		if (slot->gpa >= gpa + size)
			break;
		if (has_twin(slot))
			check_slot(sim, vm, slot, MAX(slot->gpa, gpa),
				   MIN(slot->gpa + slot->size, gpa + size), NULL);
	}
}

/* The private runs of a slot in [va, va_end), as far as the slot's memory is there. */
static void check_addresses(struct pfnbuf_sim *sim, const struct sim_vm *vm,
			    const struct sim_slot *slot, uint64_t va, uint64_t va_end,
			    const struct sim_area *area)
{
	va = MAX(va, slot->va);
	va_end = MIN(va_end, slot->va + slot->size);
	if (va < va_end)
		check_slot(sim, vm, slot, slot->gpa + (va - slot->va),
			   slot->gpa + (va_end - slot->va), area);
}

/* Those in what is mapped there of the area's file, at the area's offsets. */
static void check_file(struct pfnbuf_sim *sim, const struct sim_vm *vm, const struct sim_slot *slot,
		       const struct sim_area *area)
{
	const struct sim_extern *file = area->pages->file;
	const uint64_t source = area->pages->base + area->start_byte;
	const uint64_t source_end = source + (area->last - area->iova + 1);
	const struct sim_mapping *m = sim_mapping_next(sim, slot->va);

	for (; m && m->addr < slot->va + slot->size;
	     m = sim_mapping_next(sim, m->addr + m->length)) {
		const uint64_t from = MAX(source, m->offset);
		const uint64_t to = MIN(source_end, m->offset + m->length);

		if (m->ino == file->ino && m->dev == file->dev && from < to)
			check_addresses(sim, vm, slot, m->addr + (from - m->offset),
					m->addr + (to - m->offset), area);
	}
}

/* Of a slot only what may be the area's memory: an area may be one of thousands. */
static void check_slot_area(struct pfnbuf_sim *sim, const struct sim_vm *vm,
			    const struct sim_slot *slot, const struct sim_area *area)
{
	const uint64_t source = area->pages->base + area->start_byte;

	if (area->pages->kind == SIM_PAGES_USER)
		check_addresses(sim, vm, slot, source, source + (area->last - area->iova + 1),
				area);
	else if (area->pages->kind == SIM_PAGES_FILE)
		check_file(sim, vm, slot, area);
}

void sim_alias_check_area(struct pfnbuf_sim *sim, const struct sim_area *area)
{
	for (struct sim_vm *vm = sim->vms; vm && !sim->alias; vm = vm->next)
		for (size_t i = 0; vm->attributes.n && i < vm->by_gpa[0].n; i++) {
			const struct sim_slot *slot = vm->by_gpa[0].v[i];

			if (has_twin(slot))
				check_slot_area(sim, vm, slot, area);
		}
}

/* ------------------------------------------------------------------ device memory */

/* The parts of a dma-buf's [offset, offset + length) that are of the run: the first one's place. */
static bool shows(const struct sim_dmabuf *dmabuf, uint64_t offset, uint64_t length,
		  const struct sim_bar_run *run)
{
	if (dmabuf->bytes != run->vdev || dmabuf->bar != run->bar)
		return false;
	for (uint64_t end = offset + length, room; offset < end; offset += room) {
		uint64_t at = sim_dmabuf_at(dmabuf, offset, &room);

		room = MIN(room, end - offset);
		if (overlap(at, room, run->offset, run->length))
			return true;
	}
	return false;
}

static void bar_violated(struct pfnbuf_sim *sim, const struct sim_bar_run *run, const char *where,
			 uint64_t at)
{
	sim_violated(
		sim,
		"0x%llx+0x%llx of BAR %u of %s is private in a guest at 0x%llx, and %s at 0x%llx",
		(unsigned long long)run->offset, (unsigned long long)run->length, run->bar,
		run->vdev->bdf, (unsigned long long)run->gpa, where, (unsigned long long)at);
}

static void check_bar_area(struct pfnbuf_sim *sim, const struct sim_bar_run *run,
			   const struct sim_area *area)
{
	const struct sim_pages *pages = area->pages;

	if (area->filled && pages->kind == SIM_PAGES_DMABUF && !pages->dead &&
	    shows(pages->dmabuf, pages->base + area->start_byte, area->last - area->iova + 1, run))
		bar_violated(sim, run, "in an IOAS", area->iova);
}

static void check_bar_areas(struct pfnbuf_sim *sim, const struct sim_bar_run *run)
{
	for (struct sim_ictx *ictx = sim->ictxs; ictx; ictx = ictx->next)
		for (uint32_t id = 1; id < ictx->nr_objects; id++) {
			struct sim_ioas *ioas = sim_ioas_get(ictx, id);

			for (size_t i = 0; ioas && i < ioas->areas.n; i++)
				check_bar_area(sim, run, ioas->areas.v[i]);
		}
}

static void check_bar_mappings(struct pfnbuf_sim *sim, const struct sim_bar_run *run)
{
	for (size_t i = 0; i < sim->mappings.n; i++) {
		const struct sim_mapping *m = sim->mappings.v[i];

		if (m->vdev == run->vdev && m->bar == run->bar &&
		    overlap(m->offset, m->length, run->offset, run->length))
			bar_violated(sim, run, "mapped in the process", m->addr);
	}
}

/* The shared runs of slots on dma-bufs; a slot on a mapping of the BAR needs that mapping. */
static void check_bar_slot(struct pfnbuf_sim *sim, const struct sim_bar_run *run,
			   const struct sim_vm *vm, const struct sim_slot *slot)
{
	uint64_t end = slot->gpa + slot->size;

	for (uint64_t gpa = slot->gpa, next; gpa < end; gpa = next) {
		next = MIN(sim_vm_run_end(vm, gpa), end);
		if (!sim_vm_is_private(vm, gpa) &&
		    shows(slot->dmabuf, gpa - slot->gpa, next - gpa, run))
			bar_violated(sim, run, "shared in a guest", gpa);
	}
}

static void check_bar_run(struct pfnbuf_sim *sim, const struct sim_bar_run *run, void *data)
{
	const struct sim_area *only = data;

	if (sim->alias)
		return;
	if (only) {
		check_bar_area(sim, run, only);
		return;
	}
	check_bar_areas(sim, run);
	check_bar_mappings(sim, run);
	for (const struct sim_vm *vm = sim->vms; vm; vm = vm->next)
		for (size_t i = 0; i < vm->by_gpa[0].n; i++) {
			const struct sim_slot *slot = vm->by_gpa[0].v[i];

			if (slot->dmabuf)
				check_bar_slot(sim, run, vm, slot);
		}
}

void sim_alias_check_bars(struct pfnbuf_sim *sim, const struct sim_area *only)
{
	sim_mmio_each_private(sim, check_bar_run, (void *)(uintptr_t)only);
}

int pfnbuf_sim_alias(struct pfnbuf_sim *sim, const char **what)
{
	SIM_LOCKED(sim);
	if (sim->alias && what)
		*what = sim->alias;
	return sim->alias != NULL;
}
