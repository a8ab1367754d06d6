/* SPDX-License-Identifier: MIT */
/*
 * guest_memfd (virt/kvm/guest_memfd.c) and the device that ties VFIO files to a VM
 * (virt/kvm/vfio.c).
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "sim.h"

int sim_gmem_create(struct pfnbuf_sim *sim, struct sim_vm *vm, uint64_t arg)
{
	struct kvm_create_guest_memfd create;
	struct sim_gmem *gmem;
	int fd;

	if (sim_copy_in(&create, arg, sizeof(create)))
		return -EFAULT;
	if (create.flags & ~sim_gmem_flags(sim, vm))
		return -EINVAL;
	if (!create.size || create.size > INT64_MAX || !page_aligned(create.size))
		return -EINVAL;
	gmem = calloc(1, sizeof(*gmem));
	if (!gmem)
		return -ENOMEM;
	gmem->flags = create.flags;
	gmem->size = create.size;
	if (vm->gmem_attributes && !(create.flags & GUEST_MEMFD_FLAG_INIT_SHARED) &&
	    sim_runs_add(&gmem->private, 0, create.size)) {
		free(gmem);
		return -ENOMEM;
	}
	/* Unlike all others it stays open across an exec. */
	fd = sim_file_new(sim, SIM_GMEM, "kvm-gmem", create.size, O_RDWR, gmem, &gmem->file);
	if (fd < 0) {
		sim_runs_free(&gmem->private);
		free(gmem);
		return fd;
	}
	gmem->vm = vm;
	sim_file_ref(vm->file);
	gmem->next = sim->gmems;
	sim->gmems = gmem;
	return fd;
}

/* A slot does not hold its guest_memfd: it goes, and the slot stays without. */
static void release(struct pfnbuf_sim *sim, struct sim_file *file)
{
	struct sim_gmem *gmem = file->object;
	struct sim_gmem **p = &sim->gmems;

	for (size_t i = 0; i < gmem->slots.n; i++)
		((struct sim_slot *)gmem->slots.v[i])->gmem = NULL;
	sim_vec_free(&gmem->slots);
	sim_runs_free(&gmem->private);
	sim_runs_free(&gmem->pinned);
	while (*p != gmem)
		p = &(*p)->next;
	*p = gmem->next;
	sim_file_unref(sim, gmem->vm->file);
	free(gmem);
}

static int map_at(struct pfnbuf_sim *sim, int fd, void *addr, size_t length, int prot, int flags,
		  uint64_t offset, void **out)
{
	struct sim_mapping mapping = { .length = page_up(length), .offset = offset, .prot = prot };
	void *mem = mmap(addr, length, prot, flags, fd, (off_t)offset);
	struct stat st;
	int ret;

	if (mem == MAP_FAILED)
		return -errno;
	mapping.addr = (uint64_t)(uintptr_t)mem;
	if (!fstat(fd, &st)) {
		mapping.dev = (uint64_t)st.st_dev;
		mapping.ino = (uint64_t)st.st_ino;
	}
	sim_mapping_cut(sim, mapping.addr, mapping.length);
	ret = sim_mapping_add(sim, &mapping);
	if (ret) {
		munmap(mem, length);
		return ret;
	}
	*out = mem;
	return 0;
}

static int gmem_mmap(struct pfnbuf_sim *sim, struct sim_file *file, void *addr, size_t length,
		     int prot, int flags, uint64_t offset, void **out)
{
	const struct sim_gmem *gmem = file->object;
	int ret;

	if (!(gmem->flags & GUEST_MEMFD_FLAG_MMAP))
		return -ENODEV;
	if (!(flags & MAP_SHARED))
		return -EINVAL;
	if (gmem->vm->gmem_attributes) {
		ret = map_at(sim, file->anchor, addr, length, prot, flags, offset, out);
		if (!ret)
			sim_mapping_update_gmem(sim, gmem, offset, page_up(length));
		return ret;
	}
	/* Memory that the host may not see is there, but touching it is SIGBUS. */
	if (!(gmem->flags & GUEST_MEMFD_FLAG_INIT_SHARED))
		return map_at(sim, sim->empty_fd, addr, length, prot, flags, offset, out);
	return map_at(sim, file->anchor, addr, length, prot, flags, offset, out);
}

static int gmem_fallocate(struct pfnbuf_sim *sim, struct sim_file *file, int mode, uint64_t offset,
			  uint64_t length)
{
	const struct sim_gmem *gmem = file->object;

	(void)sim;
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (!page_aligned(offset) || !page_aligned(length))
		return -EINVAL;
	if (!(mode & FALLOC_FL_PUNCH_HOLE) && offset + length > gmem->size)
		return -EINVAL;
	return fallocate(file->anchor, mode, (off_t)offset, (off_t)length) ? -errno : 0;
}

/* ------------------------------------------------------------------------ attributes */

/* The lowest page of [start, end) that a set of runs has; @end: none. */
static uint64_t first_in(const struct sim_runs *runs, uint64_t start, uint64_t end)
{
	if (sim_runs_has(runs, start))
		return start;
	return MIN(sim_runs_end(runs, start), end);
}

/* A mapping of a guest_memfd that shows all of [va, va + length), or NULL. */
static const struct sim_mapping *find_mapping(struct pfnbuf_sim *sim, uint64_t va, uint64_t length)
{
	const struct sim_mapping *m = sim_mapping_next(sim, va);

	if (!m || m->addr > va || m->length < length || va - m->addr > m->length - length)
		return NULL;
	for (const struct sim_gmem *gmem = sim->gmems; gmem; gmem = gmem->next)
		if (m->ino == gmem->file->ino && m->dev == gmem->file->dev)
			return m;
	return NULL;
}

void sim_gmem_remember(struct pfnbuf_sim *sim, struct sim_pages *pages)
{
	const struct sim_mapping *m =
		find_mapping(sim, pages->base, pages->npages * sim_page_size());

	pages->gmem = (struct sim_page_id){ 0 };
	if (m)
		pages->gmem = (struct sim_page_id){
			m->dev,
			m->ino,
			m->offset + (pages->base - m->addr),
		};
}

/* The lowest page of [start, end) that the area pins; @end: none. */
static uint64_t first_pinned(const struct sim_file *file, const struct sim_area *area,
			     uint64_t start, uint64_t end)
{
	const struct sim_page_id *gmem = &area->pages->gmem;
	uint64_t from = page_down(gmem->offset + area->start_byte);
	uint64_t to = gmem->offset + area->start_byte + (area->last - area->iova) + 1;

	if (!area->filled || !gmem->ino || gmem->ino != file->ino || gmem->dev != file->dev ||
	    from >= end || to <= start)
		return end;
	return MAX(from, start);
}

/* Whoever else refers to a page: IOMMUs that map it by address, and what tests let hold one. */
static uint64_t first_held(struct pfnbuf_sim *sim, const struct sim_gmem *gmem, uint64_t start,
			   uint64_t end)
{
	uint64_t found = first_in(&gmem->pinned, start, end);

	for (struct sim_ictx *ictx = sim->ictxs; ictx; ictx = ictx->next)
		for (uint32_t id = 1; id < ictx->nr_objects; id++) {
			const struct sim_ioas *ioas = sim_ioas_get(ictx, id);

			for (size_t i = 0; ioas && i < ioas->areas.n; i++)
				found = MIN(found,
					    first_pinned(gmem->file, ioas->areas.v[i], start, end));
		}
	return found;
}

/*
 * What was in a page that changes sides is undefined unless the caller says what it wants: here it
 * is gone, as with TDX, so that nobody comes to rely on it.
 */
static int clear_changed(const struct sim_gmem *gmem, uint64_t start, uint64_t end, bool to_private)
{
	for (uint64_t at = start, next; at < end; at = next) {
		next = MIN(sim_runs_end(&gmem->private, at), end);
		if (sim_runs_has(&gmem->private, at) == to_private)
			continue;
		if (fallocate(gmem->file->anchor, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
			      (off_t)at, (off_t)(next - at)))
			return -errno;
	}
	return 0;
}

static int check_attributes(const struct sim_gmem *gmem, const struct kvm_memory_attributes2 *cmd)
{
	const uint64_t flags =
		KVM_SET_MEMORY_ATTRIBUTES2_ZERO | KVM_SET_MEMORY_ATTRIBUTES2_PRESERVE;
	uint64_t supported = sim_vm_has_private(gmem->vm) ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;
	uint64_t end;

	for (size_t i = 0; i < ARRAY_SIZE(cmd->reserved); i++)
		if (cmd->reserved[i])
			return -EINVAL;
	if (cmd->flags & ~flags || cmd->flags == flags || cmd->attributes & ~supported ||
	    !cmd->size || __builtin_add_overflow(cmd->offset, cmd->size, &end) ||
	    !page_aligned(cmd->offset) || !page_aligned(cmd->size) || end > gmem->size)
		return -EINVAL;
	return 0;
}

/* Where a private page becomes shared nobody can hold it: only the other way is looked at. */
static int set_attributes(struct pfnbuf_sim *sim, struct sim_gmem *gmem,
			  struct kvm_memory_attributes2 *cmd)
{
	bool to_private = cmd->attributes & KVM_MEMORY_ATTRIBUTE_PRIVATE;
	uint64_t end = cmd->offset + cmd->size;
	int ret = 0;

	if (to_private) {
		uint64_t held = first_held(sim, gmem, cmd->offset, end);

		if (held < end) {
			cmd->error_offset = held;
			return -EAGAIN;
		}
	}
	if (!(cmd->flags & KVM_SET_MEMORY_ATTRIBUTES2_PRESERVE))
		ret = clear_changed(gmem, cmd->offset, end, to_private);
	if (!ret)
		ret = (to_private ? sim_runs_add : sim_runs_remove)(&gmem->private, cmd->offset,
								    end);
	sim_mapping_update_gmem(sim, gmem, cmd->offset, cmd->size);
	return ret;
}

static int gmem_ioctl(struct pfnbuf_sim *sim, struct sim_file *file, unsigned long request,
		      uint64_t arg)
{
	struct sim_gmem *gmem = file->object;
	struct kvm_memory_attributes2 cmd;
	int ret;

	if (request != KVM_SET_MEMORY_ATTRIBUTES2 || !gmem->vm->gmem_attributes)
		return -ENOTTY;
	if (sim_copy_in(&cmd, arg, sizeof(cmd)))
		return -EFAULT;
	ret = check_attributes(gmem, &cmd);
	if (ret)
		return ret;
	ret = set_attributes(sim, gmem, &cmd);
	if (ret == -EAGAIN && sim_copy_out(arg, &cmd, sizeof(cmd)))
		return -EFAULT;
	return ret;
}

bool sim_gmem_hides(struct pfnbuf_sim *sim, uint64_t va, uint64_t length)
{
	for (const struct sim_mapping *m = sim_mapping_next(sim, va); m && m->addr < va + length;
	     m = sim_mapping_next(sim, m->addr + m->length)) {
		uint64_t from = MAX(m->addr, va) - m->addr + m->offset;
		uint64_t to = MIN(m->addr + m->length, va + length) - m->addr + m->offset;

		for (const struct sim_gmem *gmem = sim->gmems; gmem; gmem = gmem->next)
			if (m->ino == gmem->file->ino && m->dev == gmem->file->dev &&
			    first_in(&gmem->private, from, to) < to)
				return true;
	}
	return false;
}

int pfnbuf_sim_gmem_pin(struct pfnbuf_sim *sim, int fd, uint64_t offset, bool on)
{
	struct sim_file *file;
	struct sim_gmem *gmem;
	uint64_t page = page_down(offset);

	SIM_LOCKED(sim);
	file = sim_file_get(sim, fd);
	if (!file || file->kind != SIM_GMEM)
		return -EBADF;
	gmem = file->object;
	if (offset >= gmem->size)
		return -EINVAL;
	return (on ? sim_runs_add : sim_runs_remove)(&gmem->pinned, page, page + sim_page_size());
}

static void gmem_stat(struct sim_file *file, struct stat *st)
{
	(void)file;
	st->st_mode = S_IFREG | 0600;
}

const struct sim_file_ops sim_gmem_ops = {
	.release = release,
	.ioctl = gmem_ioctl,
	.mmap = gmem_mmap,
	.fallocate = gmem_fallocate,
	.stat = gmem_stat,
	.magic = GUEST_MEMFD_MAGIC,
};

/* ------------------------------------------------------------------------ kvm-vfio */

struct kvm_vfio {
	struct sim_vm *vm;
	struct sim_vec files;
};

int sim_kvm_create_device(struct pfnbuf_sim *sim, struct sim_vm *vm, uint64_t arg)
{
	struct kvm_create_device create;
	struct kvm_vfio *kv;
	int fd;

	if (sim_copy_in(&create, arg, sizeof(create)))
		return -EFAULT;
	if (create.type != KVM_DEV_TYPE_VFIO)
		return -ENODEV;
	if (create.flags & KVM_CREATE_DEVICE_TEST)
		return sim_copy_out(arg, &create, sizeof(create));
	if (vm->kvm_vfio)
		return -EBUSY;
	kv = calloc(1, sizeof(*kv));
	if (!kv)
		return -ENOMEM;
	fd = sim_file_new(sim, SIM_KVM_VFIO, "kvm-vfio", 0, O_RDWR | O_CLOEXEC, kv, &vm->kvm_vfio);
	if (fd < 0) {
		free(kv);
		return fd;
	}
	kv->vm = vm;
	sim_file_ref(vm->file);
	create.fd = (uint32_t)fd;
	return sim_copy_out(arg, &create, sizeof(create));
}

static void set_kvm(struct sim_file *file, struct sim_vm *vm)
{
	struct sim_vfile *vfile = file->object;

	vfile->kvm = vm;
}

static void kvm_vfio_release(struct pfnbuf_sim *sim, struct sim_file *file)
{
	struct kvm_vfio *kv = file->object;

	kv->vm->kvm_vfio = NULL;
	while (kv->files.n) {
		struct sim_file *member = kv->files.v[kv->files.n - 1];

		kv->files.n--;
		set_kvm(member, NULL);
		sim_file_unref(sim, member);
	}
	sim_vec_free(&kv->files);
	sim_file_unref(sim, kv->vm->file);
	free(kv);
}

static int set_file(struct pfnbuf_sim *sim, struct kvm_vfio *kv, uint64_t attr, uint64_t addr)
{
	struct sim_file *file;
	size_t at = 0;
	int32_t fd;
	int ret;

	if (attr != KVM_DEV_VFIO_FILE_ADD && attr != KVM_DEV_VFIO_FILE_DEL)
		return -ENXIO;
	if (sim_copy_in(&fd, addr, sizeof(fd)))
		return -EFAULT;
	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	file = sim_file_get(sim, fd);
	while (at < kv->files.n && kv->files.v[at] != file)
		at++;
	if (attr == KVM_DEV_VFIO_FILE_DEL) {
		if (!file || at == kv->files.n)
			return -ENOENT;
		sim_vec_remove(&kv->files, at, 1);
		set_kvm(file, NULL);
		sim_file_unref(sim, file);
		return 0;
	}
	if (!file || file->kind != SIM_VFIO)
		return -EINVAL;
	if (at < kv->files.n)
		return -EEXIST;
	ret = sim_vec_insert(&kv->files, kv->files.n, file);
	if (ret)
		return ret;
	sim_file_ref(file);
	set_kvm(file, kv->vm);
	return 0;
}

static int kvm_vfio_ioctl(struct pfnbuf_sim *sim, struct sim_file *file, unsigned long request,
			  uint64_t arg)
{
	struct kvm_device_attr attr;

	if (((struct kvm_vfio *)file->object)->vm->pid != getpid())
		return -EIO;
	if (request == KVM_GET_DEVICE_ATTR)
		return -EPERM;
	if (request != KVM_SET_DEVICE_ATTR && request != KVM_HAS_DEVICE_ATTR)
		return -ENOTTY;
	if (sim_copy_in(&attr, arg, sizeof(attr)))
		return -EFAULT;
	if (attr.group != KVM_DEV_VFIO_FILE)
		return -ENXIO;
	if (request == KVM_SET_DEVICE_ATTR)
		return set_file(sim, file->object, attr.attr, attr.addr);
	return attr.attr == KVM_DEV_VFIO_FILE_ADD || attr.attr == KVM_DEV_VFIO_FILE_DEL ? 0
											: -ENXIO;
}

const struct sim_file_ops sim_kvm_vfio_ops = {
	.release = kvm_vfio_release,
	.ioctl = kvm_vfio_ioctl,
	.magic = SIM_ANON_MAGIC,
};
