/* SPDX-License-Identifier: MIT */
/*
 * KVM's memory interface (virt/kvm/kvm_main.c, arch/x86/kvm/x86.c): VMs, slots, attributes, dirty
 * logs, vCPUs.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "sim.h"

#define USER_END       0x7ffffffff000ULL
#define MAX_SLOT_PAGES ((1ULL << 31) - 1)
#define MAX_VCPU_ID    4096
#define VCPU_MAP_PAGES 3
#define V1_FLAGS       (KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY)

static unsigned supported_types(const struct pfnbuf_sim *sim)
{
	unsigned types = 1U << KVM_X86_DEFAULT_VM | 1U << KVM_X86_SW_PROTECTED_VM;

	return sim->proposed & PFNBUF_SIM_VFIO_TSM ? types | 1U << KVM_X86_TDX_VM : types;
}

bool sim_vm_has_private(const struct sim_vm *vm)
{
	return vm->type == KVM_X86_SW_PROTECTED_VM || vm->type == KVM_X86_TDX_VM;
}

static unsigned nr_address_spaces(const struct sim_vm *vm)
{
	return sim_vm_has_private(vm) ? 1 : SIM_ADDRESS_SPACES;
}

/* --------------------------------------------------------------------------- slots */

size_t sim_slot_index(const struct sim_vec *slots, uint64_t gpa)
{
	size_t low = 0, high = slots->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct sim_slot *slot = slots->v[mid];

		if (slot->gpa + slot->size <= gpa)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct sim_slot *slot_at(const struct sim_vm *vm, unsigned as_id, uint64_t gpa)
{
	const struct sim_vec *slots = &vm->by_gpa[as_id];
	size_t at = sim_slot_index(slots, gpa);
	struct sim_slot *slot = at < slots->n ? slots->v[at] : NULL;

	return slot && slot->gpa <= gpa ? slot : NULL;
}

static bool overlaps(const struct sim_vm *vm, unsigned as_id, const struct sim_slot *self,
		     uint64_t gpa, uint64_t size)
{
	const struct sim_vec *slots = &vm->by_gpa[as_id];

	for (size_t at = sim_slot_index(slots, gpa); at < slots->n; at++) {
		const struct sim_slot *slot = slots->v[at];

		if (slot->gpa >= gpa + size)
			return false;
		if (slot != self)
			return true;
	}
	return false;
}

static size_t bitmap_bytes(const struct sim_slot *slot)
{
	return (size_t)((slot->size / sim_page_size() + 63) / 64 * 8);
}

static int set_logging(struct sim_slot *slot, bool on)
{
	if (!on) {
		free(slot->dirty);
		slot->dirty = NULL;
	} else if (!slot->dirty) {
		slot->dirty = calloc(1, bitmap_bytes(slot));
		if (!slot->dirty)
			return -ENOMEM;
	}
	return 0;
}

static void unbind_gmem(struct sim_slot *slot)
{
	struct sim_gmem *gmem = slot->gmem;

	for (size_t i = 0; gmem && i < gmem->slots.n; i++)
		if (gmem->slots.v[i] == slot) {
			sim_vec_remove(&gmem->slots, i, 1);
			break;
		}
	slot->gmem = NULL;
}

static void delete_slot(struct pfnbuf_sim *sim, struct sim_vm *vm, unsigned as_id,
			struct sim_slot *slot)
{
	unbind_gmem(slot);
	sim_vec_remove(&vm->by_gpa[as_id], sim_slot_index(&vm->by_gpa[as_id], slot->gpa), 1);
	vm->by_id[as_id][slot->id] = NULL;
	vm->nr_pages -= slot->size / sim_page_size();
	sim_mmio_free_slot(sim, vm, slot);
	free(slot->dirty);
	free(slot);
}

static int check_flags(const struct pfnbuf_sim *sim, const struct sim_vm *vm,
		       const struct kvm_userspace_memory_region2 *mem)
{
	uint32_t valid = KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY;

	if (mem->flags & KVM_MEM_GUEST_MEMFD)
		valid = KVM_MEM_GUEST_MEMFD;
	else if (mem->flags & KVM_MEM_VFIO_DMABUF && sim_vm_has_private(vm) &&
		 sim->proposed & PFNBUF_SIM_DMABUF_SLOTS)
		valid = KVM_MEM_VFIO_DMABUF;
	return mem->flags & ~valid ? -EINVAL : 0;
}

static int check_region(const struct pfnbuf_sim *sim, const struct sim_vm *vm,
			const struct kvm_userspace_memory_region2 *mem)
{
	uint64_t end;

	if ((mem->slot & 0xffff) >= SIM_MEM_SLOTS || check_flags(sim, vm, mem))
		return -EINVAL;
	if (!page_aligned(mem->memory_size) || !page_aligned(mem->guest_phys_addr) ||
	    !page_aligned(mem->userspace_addr))
		return -EINVAL;
	if (__builtin_add_overflow(mem->userspace_addr, mem->memory_size, &end) || end > USER_END)
		return -EINVAL;
	if (mem->flags & KVM_MEM_GUEST_MEMFD &&
	    (!page_aligned(mem->guest_memfd_offset) ||
	     __builtin_add_overflow(mem->guest_memfd_offset, mem->memory_size, &end)))
		return -EINVAL;
	if (mem->flags & KVM_MEM_VFIO_DMABUF && mem->guest_memfd_offset)
		return -EINVAL;
	if (mem->slot >> 16 >= nr_address_spaces(vm) ||
	    __builtin_add_overflow(mem->guest_phys_addr, mem->memory_size, &end) ||
	    mem->memory_size / sim_page_size() > MAX_SLOT_PAGES)
		return -EINVAL;
	return 0;
}

/* Beyond what a guest can address. */
static bool too_high(const struct kvm_userspace_memory_region2 *mem)
{
	return mem->guest_phys_addr + mem->memory_size > 1ULL << SIM_MAX_PHYS_BITS;
}

static int find_gmem(struct pfnbuf_sim *sim, const struct sim_vm *vm,
		     const struct kvm_userspace_memory_region2 *mem, struct sim_gmem **gmemp)
{
	struct sim_file *file;
	struct sim_gmem *gmem;

	if (fcntl((int)mem->guest_memfd, F_GETFD) < 0)
		return -EBADF;
	file = sim_file_get(sim, (int)mem->guest_memfd);
	gmem = file && file->kind == SIM_GMEM ? file->object : NULL;
	if (!gmem || gmem->vm != vm || mem->guest_memfd_offset + mem->memory_size > gmem->size)
		return -EINVAL;
	*gmemp = gmem;
	return 0;
}

static bool gmem_bound(const struct sim_gmem *gmem, uint64_t offset, uint64_t size)
{
	for (size_t i = 0; i < gmem->slots.n; i++) {
		const struct sim_slot *slot = gmem->slots.v[i];

		if (slot->gmem_offset < offset + size && slot->gmem_offset + slot->size > offset)
			return true;
	}
	return false;
}

static int install_slot(struct sim_vm *vm, unsigned as_id, struct sim_slot *slot)
{
	if (!vm->by_id[as_id])
		vm->by_id[as_id] = calloc(SIM_MEM_SLOTS, sizeof(void *));
	if (!vm->by_id[as_id])
		return -ENOMEM;
	if (slot->gmem && sim_vec_insert(&slot->gmem->slots, slot->gmem->slots.n, slot))
		return -ENOMEM;
	if (sim_vec_insert(&vm->by_gpa[as_id], sim_slot_index(&vm->by_gpa[as_id], slot->gpa),
			   slot)) {
		unbind_gmem(slot);
		return -ENOMEM;
	}
	vm->by_id[as_id][slot->id] = slot;
	vm->nr_pages += slot->size / sim_page_size();
	return 0;
}

static int create_slot(struct pfnbuf_sim *sim, struct sim_vm *vm,
		       const struct kvm_userspace_memory_region2 *mem)
{
	unsigned as_id = mem->slot >> 16;
	struct sim_dmabuf *dmabuf = NULL;
	struct sim_gmem *gmem = NULL;
	struct sim_slot *slot;
	int ret;

	if (overlaps(vm, as_id, NULL, mem->guest_phys_addr, mem->memory_size))
		return sim->planted == PFNBUF_SIM_ERROR_SLOT_OVERLAP ? -EINVAL : -EEXIST;
	ret = mem->flags & KVM_MEM_GUEST_MEMFD ? find_gmem(sim, vm, mem, &gmem) : 0;
	if (!ret && mem->flags & KVM_MEM_VFIO_DMABUF)
		ret = sim_mmio_find_dmabuf(sim, (int)mem->guest_memfd, mem->memory_size, &dmabuf);
	if (ret)
		return ret;
	if (too_high(mem))
		return -EINVAL;
	if (gmem && gmem_bound(gmem, mem->guest_memfd_offset, mem->memory_size))
		return -EEXIST;
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	slot->id = mem->slot & 0xffff;
	slot->flags = mem->flags;
	slot->gpa = mem->guest_phys_addr;
	slot->size = mem->memory_size;
	slot->va = mem->userspace_addr;
	slot->gmem = gmem;
	slot->gmem_offset = gmem ? mem->guest_memfd_offset : 0;
	slot->gmem_only = gmem && gmem->flags & GUEST_MEMFD_FLAG_MMAP;
	ret = set_logging(slot, mem->flags & KVM_MEM_LOG_DIRTY_PAGES);
	if (!ret && dmabuf)
		ret = sim_mmio_init_slot(slot, dmabuf);
	if (!ret)
		ret = install_slot(vm, as_id, slot);
	if (ret) {
		sim_mmio_free_slot(sim, vm, slot);
		free(slot->dirty);
		free(slot);
		return ret;
	}
	if (gmem)
		sim_alias_check_private(sim, vm, slot->gpa, slot->size);
	if (dmabuf)
		sim_alias_check_bars(sim, NULL);
	return 0;
}

static int move_slot(struct sim_vm *vm, unsigned as_id, struct sim_slot *slot,
		     const struct kvm_userspace_memory_region2 *mem)
{
	struct sim_vec *slots = &vm->by_gpa[as_id];
	int ret;

	if (overlaps(vm, as_id, slot, mem->guest_phys_addr, mem->memory_size))
		return -EEXIST;
	if (too_high(mem))
		return -EINVAL;
	ret = set_logging(slot, mem->flags & KVM_MEM_LOG_DIRTY_PAGES);
	if (ret)
		return ret;
	sim_vec_remove(slots, sim_slot_index(slots, slot->gpa), 1);
	slot->gpa = mem->guest_phys_addr;
	slot->flags = mem->flags;
	/* There is room: one was just taken out. */
	return sim_vec_insert(slots, sim_slot_index(slots, slot->gpa), slot);
}

static int change_slot(struct sim_vm *vm, unsigned as_id, struct sim_slot *slot,
		       const struct kvm_userspace_memory_region2 *mem)
{
	const uint32_t fixed = KVM_MEM_GUEST_MEMFD | KVM_MEM_VFIO_DMABUF;

	if (mem->flags & fixed || mem->userspace_addr != slot->va ||
	    mem->memory_size != slot->size ||
	    (mem->flags ^ slot->flags) & (KVM_MEM_READONLY | fixed))
		return -EINVAL;
	if (mem->guest_phys_addr != slot->gpa)
		return move_slot(vm, as_id, slot, mem);
	slot->flags = mem->flags;
	return set_logging(slot, mem->flags & KVM_MEM_LOG_DIRTY_PAGES);
}

static int set_region(struct pfnbuf_sim *sim, struct sim_vm *vm,
		      const struct kvm_userspace_memory_region2 *mem)
{
	unsigned as_id = mem->slot >> 16;
	struct sim_slot *old;
	int ret = check_region(sim, vm, mem);

	if (ret)
		return ret;
	old = vm->by_id[as_id] ? vm->by_id[as_id][mem->slot & 0xffff] : NULL;
	if (!mem->memory_size) {
		if (!old)
			return -EINVAL;
		delete_slot(sim, vm, as_id, old);
		return 0;
	}
	return old ? change_slot(vm, as_id, old, mem) : create_slot(sim, vm, mem);
}

static int ioctl_set_region(struct pfnbuf_sim *sim, struct sim_vm *vm, uint64_t arg, bool second)
{
	struct kvm_userspace_memory_region2 mem = { 0 };

	if (sim_copy_in(&mem, arg,
			second ? sizeof(mem) : sizeof(struct kvm_userspace_memory_region)))
		return -EFAULT;
	if (!second && mem.flags & ~(uint32_t)V1_FLAGS)
		return -EINVAL;
	return set_region(sim, vm, &mem);
}

/* ---------------------------------------------------------------------- attributes */

/*
 * Whether pages of a guest_memfd say it, each for itself, or the VM does for all that is at a guest
 * address.
 */
static const struct sim_slot *gmem_slot_at(const struct sim_vm *vm, uint64_t gpa)
{
	const struct sim_slot *slot = slot_at(vm, 0, gpa);

	return slot && slot->gmem ? slot : NULL;
}

bool sim_vm_is_private(const struct sim_vm *vm, uint64_t gpa)
{
	const struct sim_slot *slot;

	if (!vm->gmem_attributes)
		return sim_runs_has(&vm->attributes, gpa);
	slot = gmem_slot_at(vm, gpa);
	return slot && sim_runs_has(&slot->gmem->private, slot->gmem_offset + (gpa - slot->gpa));
}

uint64_t sim_vm_run_end(const struct sim_vm *vm, uint64_t gpa)
{
	const struct sim_slot *slot;
	uint64_t offset, end;

	if (!vm->gmem_attributes)
		return sim_runs_end(&vm->attributes, gpa);
	slot = gmem_slot_at(vm, gpa);
	if (!slot) {
		size_t at = sim_slot_index(&vm->by_gpa[0], gpa);

		slot = at < vm->by_gpa[0].n ? vm->by_gpa[0].v[at] : NULL;
		if (!slot)
			return UINT64_MAX;
		return slot->gpa > gpa ? slot->gpa : slot->gpa + slot->size;
	}
	offset = slot->gmem_offset + (gpa - slot->gpa);
	end = sim_runs_end(&slot->gmem->private, offset);
	return gpa + MIN(end - offset, slot->gpa + slot->size - gpa);
}

static int ioctl_set_attributes(struct pfnbuf_sim *sim, struct sim_vm *vm, uint64_t arg)
{
	uint64_t supported = sim_vm_has_private(vm) ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;
	struct kvm_memory_attributes attributes;
	uint64_t end;
	int ret;

	if (vm->gmem_attributes)
		return -ENOTTY;
	if (sim_copy_in(&attributes, arg, sizeof(attributes)))
		return -EFAULT;
	if (attributes.flags || attributes.attributes & ~supported || !attributes.size ||
	    __builtin_add_overflow(attributes.address, attributes.size, &end) ||
	    !page_aligned(attributes.address) || !page_aligned(attributes.size))
		return -EINVAL;
	if (!attributes.attributes) {
		sim_mmio_zap(vm, attributes.address, end);
		return sim_runs_remove(&vm->attributes, attributes.address, end);
	}
	ret = sim_runs_add(&vm->attributes, attributes.address, end);
	if (ret)
		return ret;
	sim_alias_check_private(sim, vm, attributes.address, attributes.size);
	sim_alias_check_bars(sim, NULL);
	return 0;
}

/* ---------------------------------------------------------------------- dirty logs */

static int logged_slot(const struct sim_vm *vm, uint32_t slot, struct sim_slot **slotp)
{
	unsigned as_id = slot >> 16, id = slot & 0xffff;

	if (as_id >= nr_address_spaces(vm) || id >= SIM_MEM_SLOTS)
		return -EINVAL;
	*slotp = vm->by_id[as_id] ? vm->by_id[as_id][id] : NULL;
	return *slotp && (*slotp)->dirty ? 0 : -ENOENT;
}

static int ioctl_get_dirty_log(struct sim_vm *vm, uint64_t arg)
{
	struct kvm_dirty_log log;
	struct sim_slot *slot;
	int ret;

	if (sim_copy_in(&log, arg, sizeof(log)))
		return -EFAULT;
	ret = logged_slot(vm, log.slot, &slot);
	if (ret)
		return ret;
	ret = sim_copy_out(log.padding2, slot->dirty, bitmap_bytes(slot));
	/* The bits are taken before they are copied out. */
	if (!vm->manual_protect)
		memset(slot->dirty, 0, bitmap_bytes(slot));
	return ret;
}

static int ioctl_clear_dirty_log(struct sim_vm *vm, uint64_t arg)
{
	struct kvm_clear_dirty_log log;
	struct sim_slot *slot;
	uint64_t pages;
	int ret;

	if (sim_copy_in(&log, arg, sizeof(log)))
		return -EFAULT;
	ret = logged_slot(vm, log.slot, &slot);
	if (ret == -EINVAL || log.first_page & 63)
		return -EINVAL;
	if (ret)
		return ret;
	pages = slot->size / sim_page_size();
	if (log.first_page > pages || log.num_pages > pages - log.first_page ||
	    (log.num_pages < pages - log.first_page && log.num_pages & 63))
		return -EINVAL;
	for (uint64_t i = 0; i < (log.num_pages + 63ULL) / 64; i++) {
		uint64_t clear;

		if (sim_copy_in(&clear, log.padding2 + i * sizeof(clear), sizeof(clear)))
			return -EFAULT;
		slot->dirty[log.first_page / 64 + i] &= ~clear;
	}
	return 0;
}

static void mark_dirty(struct sim_slot *slot, uint64_t gpa, uint64_t length)
{
	uint64_t first = (gpa - slot->gpa) / sim_page_size();
	uint64_t last = (gpa - slot->gpa + length - 1) / sim_page_size();

	for (uint64_t page = first; slot->dirty && page <= last; page++)
		slot->dirty[page / 64] |= 1ULL << page % 64;
}

/* -------------------------------------------------------------------- guest access */

static int access_file(int fd, uint64_t offset, uint8_t *data, size_t length, bool write)
{
	ssize_t n = write ? pwrite(fd, data, length, (off_t)offset)
			  : pread(fd, data, length, (off_t)offset);

	return n == (ssize_t)length ? 0 : -EFAULT;
}

/* An access within one slot and one run of attributes. */
static int access_slot(struct pfnbuf_sim *sim, const struct sim_vm *vm, struct sim_slot *slot,
		       uint64_t gpa, bool as_private, uint8_t *data, size_t length, bool write)
{
	uint64_t offset = gpa - slot->gpa;
	int ret;

	if (slot->dmabuf)
		return sim_mmio_slot_access(sim, vm, slot, gpa, as_private, data, length, write);
	if (write && slot->flags & KVM_MEM_READONLY)
		return -EROFS;
	/* The guest_memfd may have been closed without the table's knowing. */
	if (slot->gmem)
		sim_file_reap(sim, slot->gmem->file);
	if (as_private || slot->gmem_only)
		ret = slot->gmem ? access_file(slot->gmem->file->anchor, slot->gmem_offset + offset,
					       data, length, write)
				 : -EFAULT;
	else
		ret = write ? sim_copy_out(slot->va + offset, data, length)
			    : sim_copy_in(data, slot->va + offset, length);
	if (!ret && write)
		mark_dirty(slot, gpa, length);
	return ret;
}

/* As far as possible from @gpa in one go: how many bytes that was, or an error. */
static ssize_t access_some(struct pfnbuf_sim *sim, const struct sim_vm *vm, uint64_t gpa,
			   bool as_private, uint8_t *data, size_t length, bool write)
{
	const struct sim_mmio *mmio = sim_mmio_at(vm, gpa);
	struct sim_slot *slot = slot_at(vm, 0, gpa);
	uint64_t end = sim_vm_run_end(vm, gpa);
	int ret;

	if (mmio) {
		length = (size_t)MIN(mmio->gpa + mmio->length - gpa, (uint64_t)length);
		ret = as_private ? sim_mmio_access(vm, mmio, gpa, data, length, write) : -EFAULT;
		return ret ? ret : (ssize_t)length;
	}
	if (sim_vm_is_private(vm, gpa) != as_private)
		return -EFAULT;
	if (!slot)
		return as_private ? -EFAULT : -ENXIO;
	end = MIN(end, slot->gpa + slot->size);
	length = (size_t)MIN(end - gpa, (uint64_t)length);
	ret = access_slot(sim, vm, slot, gpa, as_private, data, length, write);
	return ret ? ret : (ssize_t)length;
}

static struct sim_vm *vm_get(struct pfnbuf_sim *sim, int fd)
{
	struct sim_file *file = sim_file_get(sim, fd);

	return file && file->kind == SIM_VM ? file->object : NULL;
}

static int guest_access(struct pfnbuf_sim *sim, int vm_fd, uint64_t gpa, bool as_private,
			uint8_t *data, size_t length, bool write)
{
	struct sim_vm *vm;

	SIM_LOCKED(sim);
	vm = vm_get(sim, vm_fd);
	if (!vm)
		return -EBADF;
	while (length) {
		ssize_t done = access_some(sim, vm, gpa, as_private, data, length, write);

		if (done < 0)
			return (int)done;
		gpa += (size_t)done;
		data += done;
		length -= (size_t)done;
	}
	return 0;
}

int pfnbuf_sim_guest_read(struct pfnbuf_sim *sim, int vm_fd, uint64_t gpa, bool as_private,
			  void *data, size_t length)
{
	return guest_access(sim, vm_fd, gpa, as_private, data, length, false);
}

int pfnbuf_sim_guest_write(struct pfnbuf_sim *sim, int vm_fd, uint64_t gpa, bool as_private,
			   const void *data, size_t length)
{
	return guest_access(sim, vm_fd, gpa, as_private, (uint8_t *)(uintptr_t)data, length, true);
}

/* --------------------------------------------------------------------------- vCPUs */

struct vcpu {
	struct sim_vm *vm;
};

static int ioctl_create_vcpu(struct pfnbuf_sim *sim, struct sim_vm *vm, uint64_t id)
{
	struct sim_file *file;
	struct vcpu *vcpu;
	char name[32];
	int fd;

	if (id >= MAX_VCPU_ID)
		return -EINVAL;
	for (size_t i = 0; i < vm->vcpus.n; i++)
		if ((uintptr_t)vm->vcpus.v[i] == id)
			return -EEXIST;
	vcpu = calloc(1, sizeof(*vcpu));
	if (!vcpu || sim_vec_insert(&vm->vcpus, vm->vcpus.n, (void *)(uintptr_t)id)) {
		free(vcpu);
		return -ENOMEM;
	}
	vcpu->vm = vm;
	snprintf(name, sizeof(name), "kvm-vcpu:%u", (unsigned)id);
	fd = sim_file_new(sim, SIM_VCPU, name, VCPU_MAP_PAGES * sim_page_size(), O_RDWR | O_CLOEXEC,
			  vcpu, &file);
	if (fd < 0) {
		vm->vcpus.n--;
		free(vcpu);
		return fd;
	}
	sim_file_ref(vm->file);
	return fd;
}

static void vcpu_release(struct pfnbuf_sim *sim, struct sim_file *file)
{
	struct vcpu *vcpu = file->object;

	sim_file_unref(sim, vcpu->vm->file);
	free(vcpu);
}

/* Bring one page in: 0, -ENOENT or -EFAULT. */
static int pre_fault_page(struct sim_vm *vm, uint64_t gpa)
{
	struct sim_slot *slot = slot_at(vm, 0, gpa);

	if (!slot)
		return -ENOENT;
	if (slot->dmabuf)
		return sim_vm_is_private(vm, gpa) ? sim_mmio_pre_fault(vm, slot, gpa) : 0;
	if (sim_vm_is_private(vm, gpa) || slot->gmem_only)
		return slot->gmem ? 0 : -EFAULT;
	return sim_populate(slot->va + (gpa - slot->gpa), sim_page_size(),
			    !(slot->flags & KVM_MEM_READONLY));
}

static int ioctl_pre_fault(struct sim_vm *vm, uint64_t arg)
{
	struct kvm_pre_fault_memory range;
	uint64_t full;
	int ret = 0;

	if (sim_copy_in(&range, arg, sizeof(range)))
		return -EFAULT;
	full = range.size;
	if (range.flags || !page_aligned(range.gpa) || !page_aligned(range.size) ||
	    range.gpa + range.size <= range.gpa)
		ret = -EINVAL;
	while (!ret && range.size) {
		ret = pre_fault_page(vm, range.gpa);
		if (ret)
			break;
		range.gpa += sim_page_size();
		range.size -= sim_page_size();
	}
	if (sim_copy_out(arg, &range, sizeof(range)))
		return -EFAULT;
	return range.size == full ? ret : 0;
}

/*
 * Guests are not executed here: what one would reach is asked with pfnbuf_sim_guest_read() and
 * _write().
 */
static int vcpu_ioctl(struct pfnbuf_sim *sim, struct sim_file *file, unsigned long request,
		      uint64_t arg)
{
	struct vcpu *vcpu = file->object;

	(void)sim;
	if (vcpu->vm->pid != getpid())
		return -EIO;
	return request == KVM_PRE_FAULT_MEMORY ? ioctl_pre_fault(vcpu->vm, arg) : -ENOTTY;
}

static int vcpu_mmap(struct pfnbuf_sim *sim, struct sim_file *file, void *addr, size_t length,
		     int prot, int flags, uint64_t offset, void **out)
{
	void *mem = mmap(addr, length, prot, flags, file->anchor, (off_t)offset);

	if (mem == MAP_FAILED)
		return -errno;
	sim_mapping_cut(sim, (uint64_t)(uintptr_t)mem, page_up(length));
	*out = mem;
	return 0;
}

const struct sim_file_ops sim_vcpu_ops = {
	.release = vcpu_release,
	.ioctl = vcpu_ioctl,
	.mmap = vcpu_mmap,
	.magic = SIM_ANON_MAGIC,
};

/* ------------------------------------------------------------------------------ VM */

/* What a VM, or /dev/kvm for VMs in general (@vm is NULL), says of a capability. */
static int check_extension(const struct pfnbuf_sim *sim, const struct sim_vm *vm, uint64_t cap)
{
	bool in_gmem = vm ? vm->gmem_attributes : sim->proposed & PFNBUF_SIM_GMEM_ATTRIBUTES;
	bool private = !vm || sim_vm_has_private(vm);

	switch (cap) {
	case KVM_CAP_USER_MEMORY:
	case KVM_CAP_SYNC_MMU:
	case KVM_CAP_READONLY_MEM:
	case KVM_CAP_DEVICE_CTRL:
	case KVM_CAP_ENABLE_CAP_VM:
	case KVM_CAP_CHECK_EXTENSION_VM:
	case KVM_CAP_IMMEDIATE_EXIT:
	case KVM_CAP_USER_MEMORY2:
	case KVM_CAP_MEMORY_FAULT_INFO:
	case KVM_CAP_GUEST_MEMFD:
	case KVM_CAP_PRE_FAULT_MEMORY:
		return 1;
	case KVM_CAP_NR_MEMSLOTS:
		return (int)SIM_MEM_SLOTS;
	case KVM_CAP_MULTI_ADDRESS_SPACE:
		return vm ? (int)nr_address_spaces(vm) : (int)SIM_ADDRESS_SPACES;
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		return KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
	case KVM_CAP_MEMORY_ATTRIBUTES:
		return private && !in_gmem ? (int)KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;
	case KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES:
		return private && in_gmem ? (int)KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;
	case KVM_CAP_VM_TYPES:
		return (int)supported_types(sim);
	case KVM_CAP_GUEST_MEMFD_FLAGS:
		return (int)sim_gmem_flags(sim, vm);
	default:
		return 0;
	}
}

uint64_t sim_gmem_flags(const struct pfnbuf_sim *sim, const struct sim_vm *vm)
{
	uint64_t flags = GUEST_MEMFD_FLAG_MMAP;

	if (!vm || !sim_vm_has_private(vm) || sim->proposed & PFNBUF_SIM_GMEM_ATTRIBUTES)
		flags |= GUEST_MEMFD_FLAG_INIT_SHARED;
	return flags;
}

static int ioctl_enable_cap(struct sim_vm *vm, uint64_t arg)
{
	struct kvm_enable_cap cap;

	if (sim_copy_in(&cap, arg, sizeof(cap)))
		return -EFAULT;
	if (cap.cap != KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 || cap.flags ||
	    cap.args[0] &
		    ~(uint64_t)(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET))
		return -EINVAL;
	/* All set at first makes sense only with protection by hand. */
	if (cap.args[0] == KVM_DIRTY_LOG_INITIALLY_SET)
		return -EINVAL;
	vm->manual_protect = cap.args[0];
	return 0;
}

static int vm_ioctl(struct pfnbuf_sim *sim, struct sim_file *file, unsigned long request,
		    uint64_t arg)
{
	struct sim_vm *vm = file->object;

	if (vm->pid != getpid())
		return -EIO;
	switch (request) {
	case KVM_SET_USER_MEMORY_REGION:
		return ioctl_set_region(sim, vm, arg, false);
	case KVM_SET_USER_MEMORY_REGION2:
		return ioctl_set_region(sim, vm, arg, true);
	case KVM_SET_MEMORY_ATTRIBUTES:
		return ioctl_set_attributes(sim, vm, arg);
	case KVM_CREATE_GUEST_MEMFD:
		return sim_gmem_create(sim, vm, arg);
	case KVM_CREATE_DEVICE:
		return sim_kvm_create_device(sim, vm, arg);
	case KVM_GET_DIRTY_LOG:
		return ioctl_get_dirty_log(vm, arg);
	case KVM_CLEAR_DIRTY_LOG:
		return ioctl_clear_dirty_log(vm, arg);
	case KVM_CHECK_EXTENSION:
		return check_extension(sim, vm, arg);
	case KVM_ENABLE_CAP:
		return ioctl_enable_cap(vm, arg);
	case KVM_CREATE_VCPU:
		return ioctl_create_vcpu(sim, vm, arg);
	default:
		return -ENOTTY;
	}
}

static int64_t lseek_nowhere(struct sim_file *file, int64_t offset, int whence)
{
	(void)file, (void)offset, (void)whence;
	return 0;
}

/*
 * What pins a VM (guest_memfds, vCPUs, the kvm-vfio device) holds its file, so nothing is bound
 * any more.
 */
static void vm_release(struct pfnbuf_sim *sim, struct sim_file *file)
{
	struct sim_vm *vm = file->object;
	struct sim_vm **p = &sim->vms;

	for (unsigned as_id = 0; as_id < SIM_ADDRESS_SPACES; as_id++) {
		while (vm->by_gpa[as_id].n)
			delete_slot(sim, vm, as_id, vm->by_gpa[as_id].v[vm->by_gpa[as_id].n - 1]);
		sim_vec_free(&vm->by_gpa[as_id]);
		free(vm->by_id[as_id]);
	}
	while (*p != vm)
		p = &(*p)->next;
	*p = vm->next;
	sim_vec_free(&vm->vcpus);
	/* What was validated is of devices that are bound, and these hold the VM. */
	sim_vec_free(&vm->mmio);
	sim_runs_free(&vm->attributes);
	free(vm);
}

const struct sim_file_ops sim_vm_ops = {
	.release = vm_release,
	.ioctl = vm_ioctl,
	.lseek = lseek_nowhere,
	.magic = SIM_ANON_MAGIC,
};

/* ------------------------------------------------------------------------ /dev/kvm */

static int ioctl_create_vm(struct pfnbuf_sim *sim, uint64_t type)
{
	struct sim_vm *vm;
	int fd;

	if (type >= 32 || !(supported_types(sim) >> type & 1))
		return -EINVAL;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return -ENOMEM;
	vm->type = type;
	vm->pid = getpid();
	vm->gmem_attributes = sim->proposed & PFNBUF_SIM_GMEM_ATTRIBUTES;
	fd = sim_file_new(sim, SIM_VM, "kvm-vm", 0, O_RDWR | O_CLOEXEC, vm, &vm->file);
	if (fd < 0) {
		free(vm);
		return fd;
	}
	vm->next = sim->vms;
	sim->vms = vm;
	return fd;
}

static int kvm_ioctl(struct pfnbuf_sim *sim, struct sim_file *file, unsigned long request,
		     uint64_t arg)
{
	(void)file;
	switch (request) {
	case KVM_GET_API_VERSION:
		return arg ? -EINVAL : KVM_API_VERSION;
	case KVM_CREATE_VM:
		return ioctl_create_vm(sim, arg);
	case KVM_CHECK_EXTENSION:
		return check_extension(sim, NULL, arg);
	case KVM_GET_VCPU_MMAP_SIZE:
		return arg ? -EINVAL : (int)(VCPU_MAP_PAGES * sim_page_size());
	default:
		return -EINVAL;
	}
}

static void kvm_stat(struct sim_file *file, struct stat *st)
{
	(void)file;
	st->st_mode = S_IFCHR | 0666;
	st->st_rdev = makedev(10, 232);
	st->st_size = 0;
}

static void kvm_release(struct pfnbuf_sim *sim, struct sim_file *file)
{
	(void)sim, (void)file;
}

const struct sim_file_ops sim_kvm_ops = {
	.release = kvm_release,
	.ioctl = kvm_ioctl,
	.lseek = lseek_nowhere,
	.stat = kvm_stat,
	.magic = SIM_DEVTMPFS_MAGIC,
	.positioned = true,
};

int sim_kvm_open(struct pfnbuf_sim *sim, int flags)
{
	struct sim_file *file;

	return sim_file_new(sim, SIM_KVM, "kvm", 0, flags, NULL, &file);
}
