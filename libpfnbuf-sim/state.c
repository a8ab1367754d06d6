/* SPDX-License-Identifier: MIT */
/* What there is: counted, and as text. */
#include "sim.h"

static void count_ioas(const struct sim_ioas *ioas, struct pfnbuf_sim_counts *counts)
{
	counts->ioas++;
	counts->areas += ioas->areas.n;
	for (size_t i = 0; i < ioas->areas.n; i++)
		counts->dead_areas += ((const struct sim_area *)ioas->areas.v[i])->pages->dead;
}

static void count_objects(const struct sim_ictx *ictx, struct pfnbuf_sim_counts *counts)
{
	for (uint32_t id = 1; id < ictx->nr_objects; id++) {
		const struct sim_object *obj = ictx->objects[id];

		if (!obj)
			continue;
		if (obj->type == SIM_OBJ_IOAS)
			count_ioas((const struct sim_ioas *)obj, counts);
		counts->hwpts += obj->type == SIM_OBJ_HWPT || obj->type == SIM_OBJ_NESTED;
		counts->devices += obj->type == SIM_OBJ_IDEV;
		counts->viommus += obj->type == SIM_OBJ_VIOMMU;
		counts->vdevices += obj->type == SIM_OBJ_VDEVICE;
	}
}

void pfnbuf_sim_get_counts(struct pfnbuf_sim *sim, struct pfnbuf_sim_counts *counts)
{
	SIM_LOCKED(sim);
	sim_reap(sim);
	*counts = (struct pfnbuf_sim_counts){ .fds = sim->nr_files, .pinned = sim->pinned };
	for (const struct sim_ictx *ictx = sim->ictxs; ictx; ictx = ictx->next)
		count_objects(ictx, counts);
	for (const struct sim_vm *vm = sim->vms; vm; vm = vm->next) {
		counts->vms++;
		for (unsigned as_id = 0; as_id < SIM_ADDRESS_SPACES; as_id++)
			counts->slots += vm->by_gpa[as_id].n;
	}
	for (const struct sim_gmem *gmem = sim->gmems; gmem; gmem = gmem->next)
		counts->guest_memfds++;
	for (size_t i = 0; i < SIM_BUCKETS; i++)
		for (const struct sim_file *file = sim->files[i]; file; file = file->next)
			counts->dma_bufs += file->kind == SIM_DMABUF;
	for (const struct sim_vdev *vdev = sim->vdevs; vdev; vdev = vdev->next)
		counts->tdis += vdev->tdi.vm != NULL;
	for (size_t i = 0; i < sim->mappings.n; i++)
		counts->bar_mappings +=
			((const struct sim_mapping *)sim->mappings.v[i])->vdev != NULL;
}

/* ------------------------------------------------------------------------- as text */

static const char *source(const struct sim_area *area, char *buf, size_t size)
{
	const struct sim_pages *pages = area->pages;
	unsigned long long at = pages->base + area->start_byte;
	uint64_t room;

	if (pages->kind == SIM_PAGES_DMABUF && !pages->dmabuf->bytes)
		snprintf(buf, size, "test dma-buf 0x%llx", at);
	else if (pages->kind == SIM_PAGES_DMABUF)
		snprintf(buf, size, "%s BAR %u 0x%llx", pages->dmabuf->bytes->bdf,
			 pages->dmabuf->bar,
			 (unsigned long long)sim_dmabuf_at(pages->dmabuf, at, &room));
	else if (pages->kind == SIM_PAGES_FILE)
		snprintf(buf, size, "file 0x%llx", at);
	else
		snprintf(buf, size, "memory");
	return buf;
}

static void dump_ioas(FILE *out, const struct sim_ioas *ioas)
{
	char text[96];

	fprintf(out, "ioas%s\n", ioas->hwpts.n ? " attached" : "");
	for (size_t i = 0; i < ioas->nr_allowed; i++)
		fprintf(out, "  allow 0x%llx-0x%llx\n", (unsigned long long)ioas->allowed[i].start,
			(unsigned long long)ioas->allowed[i].last);
	for (size_t i = 0; i < ioas->areas.n; i++) {
		const struct sim_area *area = ioas->areas.v[i];
		unsigned long long length = area->last - area->iova + 1;

		fprintf(out, "  0x%llx+0x%llx %s%s %s%s\n", (unsigned long long)area->iova, length,
			area->prot & IOMMU_IOAS_MAP_READABLE ? "r" : "-",
			area->prot & IOMMU_IOAS_MAP_WRITEABLE ? "w" : "-",
			source(area, text, sizeof(text)), area->pages->dead ? " dead" : "");
	}
}

static const char *const tdi_states[] = {
	[PFNBUF_TDI_CONFIG_UNLOCKED] = "CONFIG_UNLOCKED",
	[PFNBUF_TDI_CONFIG_LOCKED] = "CONFIG_LOCKED",
	[PFNBUF_TDI_RUN] = "RUN",
	[PFNBUF_TDI_ERROR] = "ERROR",
};

static void dump_vdev(FILE *out, const struct sim_vdev *vdev)
{
	unsigned n = 0;

	if (!vdev->bound_by)
		return;
	fprintf(out, "device %s bound%s%s%s D%u%s%s%s\n", vdev->bdf,
		vdev->idev->hwpt ? " attached" : "",
		vdev->config[PCI_COMMAND] & PCI_COMMAND_MEMORY ? " memory" : "",
		vdev->config[PCI_COMMAND] & PCI_COMMAND_MASTER ? " master" : "", vdev->power,
		vdev->low_power ? " low-power" : "", vdev->req_fd >= 0 ? " req" : "",
		vdev->err_fd >= 0 ? " err" : "");
	if (vdev->tdi.vm)
		fprintf(out, "  tdi %s\n", tdi_states[vdev->tdi.state]);
	for (const struct sim_dmabuf *dmabuf = vdev->dmabufs; dmabuf; dmabuf = dmabuf->next)
		n++;
	/* The list is by age, newest first; as text the oldest comes first. */
	while (n--) {
		const struct sim_dmabuf *dmabuf = vdev->dmabufs;

		for (unsigned i = 0; i < n; i++)
			dmabuf = dmabuf->next;
		fprintf(out, "  dma-buf BAR %u 0x%llx%s\n", dmabuf->bar,
			(unsigned long long)dmabuf->size, dmabuf->revoked ? " revoked" : "");
	}
}

/* Of each slot by itself. */
static void dump_gmem_attributes(FILE *out, const struct sim_vm *vm)
{
	for (size_t i = 0; i < vm->by_gpa[0].n; i++) {
		const struct sim_slot *slot = vm->by_gpa[0].v[i];
		uint64_t end = slot->gpa + slot->size;

		for (uint64_t gpa = slot->gpa, next; gpa < end; gpa = next) {
			next = MIN(sim_vm_run_end(vm, gpa), end);
			if (sim_vm_is_private(vm, gpa))
				fprintf(out, "  private 0x%llx+0x%llx\n", (unsigned long long)gpa,
					(unsigned long long)(next - gpa));
		}
	}
}

static void dump_vm(FILE *out, const struct sim_vm *vm)
{
	fprintf(out, "vm type %lu\n", vm->type);
	for (unsigned as_id = 0; as_id < SIM_ADDRESS_SPACES; as_id++)
		for (size_t i = 0; i < vm->by_gpa[as_id].n; i++) {
			const struct sim_slot *slot = vm->by_gpa[as_id].v[i];

			fprintf(out, "  slot 0x%llx+0x%llx%s%s%s%s%s\n",
				(unsigned long long)slot->gpa, (unsigned long long)slot->size,
				as_id ? " smm" : "",
				slot->flags & KVM_MEM_LOG_DIRTY_PAGES ? " log" : "",
				slot->flags & KVM_MEM_READONLY ? " readonly" : "",
				slot->dmabuf ? " dma-buf" : "",
				!(slot->flags & KVM_MEM_GUEST_MEMFD) ? ""
				: slot->gmem			     ? " guest_memfd"
								     : " guest_memfd closed");
		}
	for (size_t i = 0; i < vm->attributes.n; i++) {
		unsigned long long start = vm->attributes.v[i].start;
		unsigned long long length = vm->attributes.v[i].last - start + 1;

		fprintf(out, "  private 0x%llx+0x%llx\n", start, length);
	}
	if (vm->gmem_attributes)
		dump_gmem_attributes(out, vm);
	for (size_t i = 0; i < vm->mmio.n; i++) {
		const struct sim_mmio *mmio = vm->mmio.v[i];

		fprintf(out, "  validated 0x%llx+0x%llx %s BAR %u 0x%llx\n",
			(unsigned long long)mmio->gpa, (unsigned long long)mmio->length,
			mmio->vdev->bdf, mmio->bar, (unsigned long long)mmio->offset);
	}
}

/* Lists of the simulated kernel have the newest first; as text the oldest comes first. */
static void dump_ictxs(FILE *out, const struct sim_ictx *ictx)
{
	if (!ictx)
		return;
	dump_ictxs(out, ictx->next);
	for (uint32_t id = 1; id < ictx->nr_objects; id++)
		if (ictx->objects[id] && ictx->objects[id]->type == SIM_OBJ_IOAS)
			dump_ioas(out, (const struct sim_ioas *)ictx->objects[id]);
}

static void dump_vms(FILE *out, const struct sim_vm *vm)
{
	if (!vm)
		return;
	dump_vms(out, vm->next);
	dump_vm(out, vm);
}

int pfnbuf_sim_dump(struct pfnbuf_sim *sim, char **textp)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return -ENOMEM;
	SIM_LOCKED(sim);
	sim_reap(sim);
	for (const struct sim_vdev *vdev = sim->vdevs; vdev; vdev = vdev->next)
		dump_vdev(out, vdev);
	dump_ictxs(out, sim->ictxs);
	dump_vms(out, sim->vms);
	if (fclose(out)) {
		free(text);
		return -ENOMEM;
	}
	*textp = text;
	return 0;
}
