/* SPDX-License-Identifier: MIT */
/*
 * A KVM VM: the memory slots that the library may use, the attributes it has set, and the devices
 * it has told KVM of. KVM can be asked for none of them, so the ledger of all three is here; the
 * attributes' one is attributes.c.
 *
 * References that leave the ledger are dropped after the lock is: the last one may end an object.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "attributes.h"
#include "private.h"
#include "uapi/kvm.h"

/* Slots come in chunks of as many as a word has bits, each allocated when its first id is used. */
#define CHUNK 64

/* What a VM has where KVM_CAP_NR_MEMSLOTS gives 0 (Documentation/virt/kvm/api.rst). */
#define FEWEST_SLOTS 32

struct chunk {
	uint64_t used;	    /* a bit per slot */
	uint64_t withdrawn; /* those that KVM does not have: their ids are kept */
	struct pfnbuf_slot slots[CHUNK];
};

/* A device that KVM has been told of. */
struct member {
	struct pfnbuf_link link;
	struct pfnbuf_device *device;
};

struct pfnbuf_vm {
	pthread_mutex_t lock;
	atomic_uint refs; /* the caller's, and one of each window and bind in it */
	struct pfnbuf_ctx *ctx;
	const struct pfnbuf_kernel *kernel;
	struct pfnbuf_link link;
	int fd;
	bool borrowed;
	bool has_region2; /* KVM_SET_USER_MEMORY_REGION2 */
	uint32_t first;	  /* the library's slot ids are [first, first + nr) */
	uint32_t nr;
	uint32_t nr_used;
	uint32_t lowest; /* no chunk in front of this one has a free id */
	uint32_t nr_chunks;
	struct chunk **chunks;
	struct pfnbuf_attributes attributes;
	int vfio_fd; /* the kvm-vfio device; -1: not made yet */
	struct pfnbuf_link members;
	char name[24];
	uint64_t id; /* these two: struct pfnbuf_vm_identity */
	bool is_new;
};

/* ---------------------------------------------------------------- its life ------------------ */

static int check_extension(const struct pfnbuf_kernel *k, int fd, unsigned cap)
{
	return k_ioctl(k, fd, KVM_CHECK_EXTENSION, (void *)(uintptr_t)cap);
}

static void free_vm(struct pfnbuf_vm *vm)
{
	for (uint32_t i = 0; i < vm->nr_chunks; i++)
		free(vm->chunks[i]);
	free(vm->chunks);
	pfnbuf_attributes_end(&vm->attributes);
	pthread_mutex_destroy(&vm->lock);
	pfnbuf_ctx_unref(vm->ctx);
	free(vm);
}

/* Find out what the VM can, and take slot ids. The fd stays the caller's on failure. */
static int set_up(struct pfnbuf_vm *vm, uint32_t first, uint32_t nr)
{
	static const char call[] = "KVM_CHECK_EXTENSION";
	int total = check_extension(vm->kernel, vm->fd, KVM_CAP_NR_MEMSLOTS);
	int region2;

	/* A vCPU answers what it does not know with EINVAL. */
	if (total == -EINVAL)
		total = -ENOTTY;
	if (total == -ENOTTY)
		return pfnbuf_refused(total, call, vm->name, NULL,
				      "hand in what KVM_CREATE_VM returned", "the fd is not a VM");
	if (total < 0)
		return pfnbuf_failed(total, call, vm->name, NULL);
	if (!total)
		total = FEWEST_SLOTS;
	if (first >= (uint32_t)total || nr > (uint32_t)total - first)
		return pfnbuf_refused(-EINVAL, call, vm->name, NULL, "",
				      "slot ids %" PRIu32 "+%" PRIu32
				      " go beyond the VM's, which are %d",
				      first, nr, total);
	region2 = check_extension(vm->kernel, vm->fd, KVM_CAP_USER_MEMORY2);
	if (region2 < 0)
		return pfnbuf_failed(region2, call, vm->name, NULL);
	vm->has_region2 = region2 > 0;
	vm->first = first;
	vm->nr = nr ? nr : (uint32_t)total - first;
	vm->nr_chunks = (vm->nr + CHUNK - 1) / CHUNK;
	vm->chunks = calloc(vm->nr_chunks, sizeof(struct chunk *));
	if (!vm->chunks)
		return pfnbuf_failed(-ENOMEM, call, vm->name, NULL);
	return 0;
}

static struct pfnbuf_vm *new_vm(struct pfnbuf_ctx *ctx)
{
	struct pfnbuf_vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	vm->refs = 1;
	vm->ctx = pfnbuf_ctx_ref(ctx);
	vm->kernel = pfnbuf_ctx_get_kernel(ctx);
	vm->vfio_fd = -1;
	pfnbuf_attributes_init(&vm->attributes, pfnbuf_page_size());
	pthread_mutex_init(&vm->lock, NULL);
	pfnbuf_list_init(&vm->link);
	pfnbuf_list_init(&vm->members);
	return vm;
}

/* A VM that is made here is a new one; an fd that was handed in may be that of a VM that is known. */
static void identify(struct pfnbuf_vm *vm, bool is_new)
{
	cleanup_rwunlock pthread_rwlock_t *held = pfnbuf_ctx_hold(vm->ctx);
	const struct pfnbuf_link *vms = pfnbuf_ctx_list(vm->ctx, PFNBUF_LIST_VMS);

	for (const struct pfnbuf_link *l = vms->next; !is_new && l != vms; l = l->next)
		if (pfnbuf_vm_of_link(l)->fd == vm->fd) {
			vm->id = pfnbuf_vm_of_link(l)->id;
			vm->is_new = pfnbuf_vm_of_link(l)->is_new;
			return;
		}
	vm->id = pfnbuf_ctx_new_id(vm->ctx);
	vm->is_new = is_new;
}

/* Make the object for a VM's fd, which stays the caller's on failure. */
static int adopt(struct pfnbuf_ctx *ctx, int fd, bool is_new, bool borrowed, uint32_t first,
		 uint32_t nr, struct pfnbuf_vm **vmp)
{
	struct pfnbuf_vm *vm = new_vm(ctx);
	int r;

	if (!vm)
		return pfnbuf_failed(-ENOMEM, "KVM_CHECK_EXTENSION", "vm", NULL);
	vm->fd = fd;
	vm->borrowed = borrowed;
	snprintf(vm->name, sizeof(vm->name), "vm %d", fd);
	r = set_up(vm, first, nr);
	if (r < 0) {
		free_vm(vm);
		return r;
	}
	identify(vm, is_new);
	pfnbuf_ctx_link(ctx, PFNBUF_LIST_VMS, &vm->link);
	*vmp = vm;
	return 0;
}

/* Returns the fd of a new VM. */
static int create(const struct pfnbuf_kernel *k, int kvm, uint64_t type)
{
	int r = k_ioctl(k, kvm, KVM_GET_API_VERSION, NULL);

	if (r < 0)
		return pfnbuf_failed(r, "KVM_GET_API_VERSION", "/dev/kvm", NULL);
	if (r != KVM_API_VERSION)
		return pfnbuf_refused(-EOPNOTSUPP, "KVM_GET_API_VERSION", "/dev/kvm", NULL,
				      "boot Linux 2.6.22 or newer",
				      "this kernel speaks version %d of the interface, not %d", r,
				      KVM_API_VERSION);
	r = k_ioctl(k, kvm, KVM_CREATE_VM, (void *)(uintptr_t)type);
	return r < 0 ? pfnbuf_failed(r, "KVM_CREATE_VM", "/dev/kvm", NULL) : r;
}

int pfnbuf_vm_new(struct pfnbuf_ctx *ctx, uint64_t type, struct pfnbuf_vm **vmp)
{
	static const char call[] = "open /dev/kvm";
	const struct pfnbuf_kernel *k;
	char path[256];
	int kvm, fd, r;

	if (!ctx || !vmp)
		return pfnbuf_refused(-EINVAL, call, "/dev/kvm", NULL, "", "a pointer is NULL");
	k = pfnbuf_ctx_get_kernel(ctx);
	r = snprintf(path, sizeof(path), "%s/kvm", pfnbuf_ctx_devtmpfs(ctx));
	if (r < 0 || (size_t)r >= sizeof(path))
		return pfnbuf_refused(-ENAMETOOLONG, call, "/dev/kvm", NULL, "",
				      "the path of device nodes is too long");
	kvm = k_open(k, path, O_RDWR);
	if (kvm < 0)
		return pfnbuf_failed(kvm, call, path, NULL);
	fd = create(k, kvm, type);
	pfnbuf_ctx_close_fd(ctx, kvm, path);
	if (fd < 0)
		return fd;
	r = adopt(ctx, fd, true, false, 0, 0, vmp);
	if (r < 0)
		k_close(k, fd);
	return r;
}

int pfnbuf_vm_from_fd(struct pfnbuf_ctx *ctx, int fd, unsigned flags, uint32_t first_slot,
		      uint32_t nr_slots, struct pfnbuf_vm **vmp)
{
	static const char call[] = "KVM_CHECK_EXTENSION";
	char name[24];
	int r;

	snprintf(name, sizeof(name), "vm %d", fd);
	if (!ctx || !vmp)
		return pfnbuf_refused(-EINVAL, call, name, NULL, "", "a pointer is NULL");
	if (flags & ~(unsigned)PFNBUF_FD_BORROWED)
		return pfnbuf_refused(-EINVAL, call, name, NULL, "", "unknown flags");
	/* Only /dev/kvm itself answers this, and it answers the next question, too. */
	r = k_ioctl(pfnbuf_ctx_get_kernel(ctx), fd, KVM_GET_API_VERSION, NULL);
	if (r >= 0)
		return pfnbuf_refused(-ENOTTY, call, name, NULL,
				      "hand in what KVM_CREATE_VM returned",
				      "the fd is /dev/kvm, not a VM");
	return adopt(ctx, fd, false, flags & PFNBUF_FD_BORROWED, first_slot, nr_slots, vmp);
}

int pfnbuf_vm_get_fd(const struct pfnbuf_vm *vm)
{
	return vm->fd;
}

struct pfnbuf_vm *pfnbuf_vm_of_link(const struct pfnbuf_link *link)
{
	return pfnbuf_container_of(link, struct pfnbuf_vm, link);
}

struct pfnbuf_ctx *pfnbuf_vm_ctx(const struct pfnbuf_vm *vm)
{
	return vm->ctx;
}

const char *pfnbuf_vm_name(const struct pfnbuf_vm *vm)
{
	return vm->name;
}

struct pfnbuf_vm_identity pfnbuf_vm_get_identity(const struct pfnbuf_vm *vm)
{
	struct pfnbuf_vm_identity identity = { .id = vm->id, .is_new = vm->is_new };

	pfnbuf_copy_text(identity.name, sizeof(identity.name), vm->name);
	return identity;
}

/* Not the object that made the buffer, nor another of the same fd: who knows whether it is that VM. */
static bool is_other_object(const struct pfnbuf_vm *vm, const struct pfnbuf_buf *buf)
{
	const struct pfnbuf_vm_identity *maker = pfnbuf_buf_get_maker(buf);

	return maker->id && (maker->id != vm->id || pfnbuf_buf_ctx(buf) != vm->ctx);
}

/* Two of one context that KVM has created are two, also where one of them has ended. */
static bool is_other_vm(const struct pfnbuf_vm *vm, const struct pfnbuf_buf *buf)
{
	return is_other_object(vm, buf) && pfnbuf_buf_ctx(buf) == vm->ctx && vm->is_new &&
	       pfnbuf_buf_get_maker(buf)->is_new;
}

int pfnbuf_vm_check_maker(const struct pfnbuf_vm *vm, const struct pfnbuf_buf *buf,
			  const char *call, const char *object, const struct pfnbuf_range *range)
{
	const char *maker = pfnbuf_buf_get_maker(buf)->name;
	/* The fd of one that has ended may be this one's. */
	const bool is_namesake = !strcmp(maker, vm->name);

	if (!is_other_vm(vm, buf))
		return 0;
	return pfnbuf_refused(-EINVAL, call, object, range,
			      "make it with pfnbuf_buf_new_guest_memfd() of that VM",
			      "%s was made of %s%s and is private memory of its guest alone, not "
			      "of %s's",
			      pfnbuf_buf_name(buf), is_namesake ? "an earlier " : "", maker,
			      vm->name);
}

int pfnbuf_vm_check_extension(struct pfnbuf_vm *vm, unsigned cap, int *value)
{
	static const char call[] = "KVM_CHECK_EXTENSION";
	int r;

	if (!value)
		return pfnbuf_refused(-EINVAL, call, vm->name, NULL, "", "value is NULL");
	r = check_extension(vm->kernel, vm->fd, cap);
	if (r < 0)
		return pfnbuf_failed(r, call, vm->name, NULL);
	*value = r;
	return 0;
}

/* ---------------------------------------------------------------- slots --------------------- */

/* The slot with this id, or NULL. */
static struct pfnbuf_slot *slot_at(const struct pfnbuf_vm *vm, uint32_t id)
{
	uint32_t i = id - vm->first;
	struct chunk *chunk;

	if (id < vm->first || i >= vm->nr)
		return NULL;
	chunk = vm->chunks[i / CHUNK];
	if (!chunk || !(chunk->used >> (i % CHUNK) & 1))
		return NULL;
	return &chunk->slots[i % CHUNK];
}

static bool is_withdrawn(const struct pfnbuf_vm *vm, uint32_t id)
{
	uint32_t i = id - vm->first;

	return vm->chunks[i / CHUNK]->withdrawn >> (i % CHUNK) & 1;
}

static void set_withdrawn(struct pfnbuf_vm *vm, uint32_t id, bool withdrawn)
{
	struct chunk *chunk = vm->chunks[(id - vm->first) / CHUNK];
	const uint64_t bit = UINT64_C(1) << ((id - vm->first) % CHUNK);

	chunk->withdrawn = withdrawn ? chunk->withdrawn | bit : chunk->withdrawn & ~bit;
}

/* The slot with the lowest id from *id on, or NULL; *id becomes its id. */
static struct pfnbuf_slot *slot_from(const struct pfnbuf_vm *vm, uint32_t *id)
{
	uint32_t i = *id < vm->first ? 0 : *id - vm->first;

	while (i < vm->nr) {
		struct chunk *chunk = vm->chunks[i / CHUNK];
		uint64_t used = chunk ? chunk->used >> (i % CHUNK) : 0;

		if (used) {
			i += (uint32_t)__builtin_ctzll(used);
			*id = vm->first + i;
			return &chunk->slots[i % CHUNK];
		}
		i = (i / CHUNK + 1) * CHUNK;
	}
	return NULL;
}

/* The lowest free id, with room for its slot; or a negative errno. */
static int64_t find_free(struct pfnbuf_vm *vm)
{
	if (vm->nr_used == vm->nr)
		return -ENOSPC;
	while (vm->chunks[vm->lowest] && !~vm->chunks[vm->lowest]->used)
		vm->lowest++;
	if (!vm->chunks[vm->lowest])
		vm->chunks[vm->lowest] = calloc(1, sizeof(struct chunk));
	if (!vm->chunks[vm->lowest])
		return -ENOMEM;
	return (int64_t)vm->first + vm->lowest * CHUNK +
	       __builtin_ctzll(~vm->chunks[vm->lowest]->used);
}

static void take_id(struct pfnbuf_vm *vm, uint32_t id, const struct pfnbuf_slot *slot)
{
	struct chunk *chunk = vm->chunks[(id - vm->first) / CHUNK];
	uint32_t bit = (id - vm->first) % CHUNK;

	chunk->used |= UINT64_C(1) << bit;
	chunk->slots[bit] = *slot;
	vm->nr_used++;
}

static void give_id(struct pfnbuf_vm *vm, uint32_t id)
{
	uint32_t i = (id - vm->first) / CHUNK;

	set_withdrawn(vm, id, false);
	vm->chunks[i]->used &= ~(UINT64_C(1) << ((id - vm->first) % CHUNK));
	vm->nr_used--;
	if (i < vm->lowest)
		vm->lowest = i;
}

static const char *region_call(const struct pfnbuf_vm *vm)
{
	return vm->has_region2 ? "KVM_SET_USER_MEMORY_REGION2" : "KVM_SET_USER_MEMORY_REGION";
}

static uint32_t region_flags(unsigned flags)
{
	return (flags & PFNBUF_SLOT_LOG_DIRTY ? (uint32_t)KVM_MEM_LOG_DIRTY_PAGES : 0) |
	       (flags & PFNBUF_SLOT_READONLY ? (uint32_t)KVM_MEM_READONLY : 0);
}

/* The flag by which a profile lets a dma-buf stand behind a slot; 0: none does. */
static uint32_t dmabuf_flag(const struct pfnbuf_vm *vm)
{
	const struct pfnbuf_profile *profile = pfnbuf_ctx_profile(vm->ctx);

	return profile ? (uint32_t)pfnbuf_profile_data(profile)->slot_flag : 0;
}

static uint32_t private_flag(const struct pfnbuf_vm *vm, const struct pfnbuf_buf *buf)
{
	return pfnbuf_buf_get_kind(buf) == PFNBUF_DMA_BUF ? dmabuf_flag(vm)
							  : (uint32_t)KVM_MEM_GUEST_MEMFD;
}

/* Tell KVM what the slot is from now on. A length of 0 deletes it. */
static int set_region(const struct pfnbuf_vm *vm, uint32_t id, const struct pfnbuf_slot *slot)
{
	struct kvm_userspace_memory_region2 region2 = {
		.slot = id,
		.flags = region_flags(slot->flags),
		.guest_phys_addr = slot->gpa,
		.memory_size = slot->length,
		.userspace_addr = (uintptr_t)slot->addr,
	};
	struct kvm_userspace_memory_region region = {
		.slot = region2.slot,
		.flags = region2.flags,
		.guest_phys_addr = region2.guest_phys_addr,
		.memory_size = region2.memory_size,
		.userspace_addr = region2.userspace_addr,
	};

	if (!vm->has_region2)
		return k_ioctl(vm->kernel, vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
	if (slot->guest_memfd) {
		region2.flags |= private_flag(vm, slot->guest_memfd);
		region2.guest_memfd = (uint32_t)pfnbuf_buf_get_fd(slot->guest_memfd);
		region2.guest_memfd_offset = slot->guest_memfd_offset;
	}
	return k_ioctl(vm->kernel, vm->fd, KVM_SET_USER_MEMORY_REGION2, &region2);
}

static int delete_region(const struct pfnbuf_vm *vm, uint32_t id, const struct pfnbuf_slot *slot)
{
	/* The kernel looks at the addresses of a deletion as well: they stay what they were. */
	const struct pfnbuf_slot none = { .gpa = slot->gpa, .addr = slot->addr };

	return set_region(vm, id, &none);
}

/* Of two ranges that do not wrap around. */
static bool overlap(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
	return b - a < a_length || a - b < b_length;
}

/* KVM says that something is in the way; the ledger may know what. */
static int region_failed(const struct pfnbuf_vm *vm, int code, uint32_t self,
			 const struct pfnbuf_slot *slot)
{
	const struct pfnbuf_range range = { slot->gpa, slot->length };
	const struct pfnbuf_slot *other = NULL;
	uint32_t id = 0;

	if (code == -EEXIST)
		for (other = slot_from(vm, &id); other; other = slot_from(vm, &id)) {
			if (id != self &&
			    overlap(other->gpa, other->length, slot->gpa, slot->length))
				break;
			id++;
		}
	if (code == -EBADF && !slot->guest_memfd)
		return pfnbuf_refused(code, region_call(vm), vm->name, &range, "",
				      "the VM's fd is not open");
	if (code == -EINVAL && slot->guest_memfd && is_other_object(vm, slot->guest_memfd))
		return pfnbuf_refused(code, region_call(vm), vm->name, &range,
				      "make it with pfnbuf_buf_new_guest_memfd() of that VM",
				      "%s was made of %s: unless that is the same VM this one does "
				      "not take it; else the slot is misaligned, or reaches beyond "
				      "the guest's physical addresses or the memory",
				      pfnbuf_buf_name(slot->guest_memfd),
				      pfnbuf_buf_get_maker(slot->guest_memfd)->name);
	if (!other)
		return pfnbuf_failed(code, region_call(vm), vm->name, &range);
	return pfnbuf_refused(code, region_call(vm), vm->name, &range, "delete that slot first",
			      "it overlaps slot %" PRIu32 " at 0x%" PRIx64 "+0x%" PRIx64, id,
			      other->gpa, other->length);
}

static int no_such_slot(const struct pfnbuf_vm *vm, const char *call, uint32_t id)
{
	return pfnbuf_refused(-ENOENT, call, vm->name, NULL, "", "there is no slot %" PRIu32, id);
}

static bool can_be_private(const struct pfnbuf_vm *vm, const struct pfnbuf_buf *buf)
{
	const enum pfnbuf_kind kind = pfnbuf_buf_get_kind(buf);

	return kind == PFNBUF_GUEST_MEMFD || (kind == PFNBUF_DMA_BUF && dmabuf_flag(vm));
}

static bool shows_whole_dmabuf(const struct pfnbuf_slot *slot)
{
	return pfnbuf_buf_get_kind(slot->guest_memfd) != PFNBUF_DMA_BUF ||
	       (!slot->guest_memfd_offset &&
		slot->length == pfnbuf_buf_get_length(slot->guest_memfd));
}

static int check_slot(const struct pfnbuf_vm *vm, const struct pfnbuf_slot *slot)
{
	const char *wrong = NULL;
	const char *call = region_call(vm);

	if (!slot)
		return pfnbuf_refused(-EINVAL, call, vm->name, NULL, "", "slot is NULL");
	if (slot->flags & ~(unsigned)(PFNBUF_SLOT_LOG_DIRTY | PFNBUF_SLOT_READONLY))
		wrong = "unknown flags";
	else if (!slot->length)
		wrong = "the slot is empty";
	else if (slot->guest_memfd && !can_be_private(vm, slot->guest_memfd))
		wrong = "the buffer is not a guest_memfd, and no profile lets another kind be one";
	else if (slot->guest_memfd && !shows_whole_dmabuf(slot))
		wrong = "a slot on a dma-buf shows all of it";
	else if (slot->guest_memfd && slot->flags)
		wrong = "a slot with a guest_memfd is neither logged nor read-only";
	if (wrong)
		return pfnbuf_refused(-EINVAL, call, vm->name,
				      &(struct pfnbuf_range){ slot->gpa, slot->length }, "", "%s",
				      wrong);
	if (slot->guest_memfd && !vm->has_region2)
		return pfnbuf_refused(-EOPNOTSUPP, call, vm->name, NULL,
				      "Linux 6.8 or newer has it",
				      "this kernel puts no guest_memfd behind a slot");
	if (slot->guest_memfd)
		return pfnbuf_vm_check_maker(vm, slot->guest_memfd, call, vm->name,
					     &(struct pfnbuf_range){ slot->gpa, slot->length });
	return 0;
}

/* Enter a slot under a free id, with the lock held. @withdrawn: without telling KVM. */
static int enter_slot(struct pfnbuf_vm *vm, const struct pfnbuf_slot *slot, bool withdrawn,
		      uint32_t *id)
{
	int64_t free_id;
	int r = check_slot(vm, slot);

	if (r < 0)
		return r;
	free_id = find_free(vm);
	if (free_id == -ENOSPC)
		return pfnbuf_refused(-ENOSPC, region_call(vm), vm->name, NULL,
				      "delete slots, or join neighbours into one",
				      "all %" PRIu32 " slot ids are in use", vm->nr);
	if (free_id < 0)
		return pfnbuf_failed((int)free_id, region_call(vm), vm->name, NULL);
	r = withdrawn ? 0 : set_region(vm, (uint32_t)free_id, slot);
	if (r < 0)
		return region_failed(vm, r, (uint32_t)free_id, slot);
	take_id(vm, (uint32_t)free_id, slot);
	set_withdrawn(vm, (uint32_t)free_id, withdrawn);
	if (slot->guest_memfd)
		pfnbuf_buf_ref(slot->guest_memfd);
	if (id)
		*id = (uint32_t)free_id;
	return 0;
}

/* Before the lock is taken, which comes after a device's. */
static int check_memory_not_lent(const struct pfnbuf_vm *vm, const struct pfnbuf_slot *slot)
{
	const struct pfnbuf_range range = { slot->gpa, slot->length };

	return pfnbuf_device_check_memory_not_lent(vm->ctx, slot->addr, slot->length,
						   region_call(vm), vm->name, &range);
}

static int check_buf_not_lent(const struct pfnbuf_vm *vm, const struct pfnbuf_slot *slot)
{
	const struct pfnbuf_device *device =
		slot->guest_memfd ? pfnbuf_buf_get_device(slot->guest_memfd) : NULL;
	const struct pfnbuf_range range = { slot->gpa, slot->length };

	return device ? pfnbuf_device_check_not_lent(device, region_call(vm), vm->name, &range) : 0;
}

int pfnbuf_vm_set_slot(struct pfnbuf_vm *vm, const struct pfnbuf_slot *slot, uint32_t *id)
{
	int r = slot ? check_memory_not_lent(vm, slot) : 0;
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);

	if (r >= 0 && slot)
		r = check_buf_not_lent(vm, slot);
	return r < 0 ? r : enter_slot(vm, slot, false, id);
}

int pfnbuf_vm_enter_slot(struct pfnbuf_vm *vm, const struct pfnbuf_slot *slot, bool withdrawn,
			 uint32_t *id)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);

	return enter_slot(vm, slot, withdrawn, id);
}

int pfnbuf_vm_find_device(struct pfnbuf_vm *vm, const struct pfnbuf_device *device,
			  struct pfnbuf_range *range)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	const struct pfnbuf_slot *slot;
	uint32_t id = 0;

	for (slot = slot_from(vm, &id); slot; id++, slot = slot_from(vm, &id))
		if (slot->guest_memfd && pfnbuf_buf_exporter(slot->guest_memfd) == device) {
			*range = (struct pfnbuf_range){ slot->gpa, slot->length };
			return 1;
		}
	return 0;
}

int pfnbuf_vm_withdraw_slot(struct pfnbuf_vm *vm, uint32_t id)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	const struct pfnbuf_slot *slot = slot_at(vm, id);
	int r;

	if (!slot)
		return no_such_slot(vm, region_call(vm), id);
	r = is_withdrawn(vm, id) ? 0 : delete_region(vm, id, slot);
	if (r < 0)
		return region_failed(vm, r, id, slot);
	set_withdrawn(vm, id, true);
	return 0;
}

int pfnbuf_vm_put_back_slot(struct pfnbuf_vm *vm, uint32_t id)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	const struct pfnbuf_slot *slot = slot_at(vm, id);
	int r;

	if (!slot)
		return no_such_slot(vm, region_call(vm), id);
	r = is_withdrawn(vm, id) ? set_region(vm, id, slot) : 0;
	if (r < 0)
		return region_failed(vm, r, id, slot);
	set_withdrawn(vm, id, false);
	return 0;
}

/*
 * KVM refuses a guest_memfd for a slot that it has, before it looks at the fd; for one that it does
 * not have it looks for what overlaps, and then at the fd (virt/kvm/kvm_main.c:
 * kvm_set_memory_region). So an fd that is none asks whether the slot is there, and makes none.
 */
static bool lacks_slot(const struct pfnbuf_vm *vm, uint32_t id, const struct pfnbuf_slot *slot)
{
	struct kvm_userspace_memory_region2 probe = {
		.slot = id,
		.flags = (uint32_t)KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = slot->gpa,
		.memory_size = slot->length,
		.userspace_addr = (uintptr_t)slot->addr,
		.guest_memfd = UINT32_MAX,
	};
	int r;

	if (!vm->has_region2)
		return false;
	r = k_ioctl(vm->kernel, vm->fd, KVM_SET_USER_MEMORY_REGION2, &probe);
	return r == -EBADF || r == -EEXIST;
}

int pfnbuf_vm_verify_slot(struct pfnbuf_vm *vm, uint32_t id)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	const struct pfnbuf_slot *slot = slot_at(vm, id);
	int r;

	if (!slot)
		return no_such_slot(vm, region_call(vm), id);
	if (is_withdrawn(vm, id))
		return 1;
	if (lacks_slot(vm, id, slot))
		return 0;
	/*
	 * A slot with a guest_memfd cannot be set twice; that it is there is all that can be asked.
	 */
	r = slot->guest_memfd ? 0 : set_region(vm, id, slot);
	if (r == -EINVAL || r == -EEXIST)
		return 0;
	return r < 0 ? region_failed(vm, r, id, slot) : 1;
}

int pfnbuf_vm_move_slot(struct pfnbuf_vm *vm, uint32_t id, uint64_t gpa)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	struct pfnbuf_slot *slot = slot_at(vm, id);
	struct pfnbuf_slot moved;
	int r;

	if (!slot)
		return no_such_slot(vm, region_call(vm), id);
	moved = *slot;
	moved.gpa = gpa;
	if (slot->guest_memfd)
		return pfnbuf_refused(-EINVAL, region_call(vm), vm->name,
				      &(struct pfnbuf_range){ gpa, slot->length },
				      "delete it and make another",
				      "a slot with a guest_memfd cannot be moved");
	r = is_withdrawn(vm, id) ? 0 : set_region(vm, id, &moved);
	if (r < 0)
		return region_failed(vm, r, id, &moved);
	*slot = moved;
	return 0;
}

int pfnbuf_vm_set_slot_flags(struct pfnbuf_vm *vm, uint32_t id, unsigned flags)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	struct pfnbuf_slot *slot = slot_at(vm, id);
	struct pfnbuf_slot changed;
	int r;

	if (!slot)
		return no_such_slot(vm, region_call(vm), id);
	if (slot->flags == flags)
		return 0;
	if ((slot->flags ^ flags) != PFNBUF_SLOT_LOG_DIRTY || slot->guest_memfd)
		return pfnbuf_refused(-EINVAL, region_call(vm), vm->name,
				      &(struct pfnbuf_range){ slot->gpa, slot->length },
				      "delete the slot and make another",
				      "only dirty logging can change, and of a slot with a "
				      "guest_memfd nothing");
	changed = *slot;
	changed.flags = flags;
	r = is_withdrawn(vm, id) ? 0 : set_region(vm, id, &changed);
	if (r < 0)
		return region_failed(vm, r, id, &changed);
	*slot = changed;
	return 0;
}

/* Called with the lock held; *gone is the guest_memfd to unref without it. */
static int delete_slot(struct pfnbuf_vm *vm, uint32_t id, struct pfnbuf_buf **gone)
{
	struct pfnbuf_slot *slot = slot_at(vm, id);
	int r;

	if (!slot)
		return no_such_slot(vm, region_call(vm), id);
	r = is_withdrawn(vm, id) ? 0 : delete_region(vm, id, slot);
	if (r < 0)
		return region_failed(vm, r, id, slot);
	*gone = slot->guest_memfd;
	give_id(vm, id);
	return 0;
}

int pfnbuf_vm_delete_slot(struct pfnbuf_vm *vm, uint32_t id)
{
	struct pfnbuf_buf *gone = NULL;
	int r;

	pthread_mutex_lock(&vm->lock);
	r = delete_slot(vm, id, &gone);
	pthread_mutex_unlock(&vm->lock);
	pfnbuf_buf_unref(gone);
	return r;
}

int pfnbuf_vm_next_slot(struct pfnbuf_vm *vm, uint32_t id, uint32_t *idp, struct pfnbuf_slot *slot)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	const struct pfnbuf_slot *found = slot_from(vm, &id);

	while (found && is_withdrawn(vm, id)) {
		id++;
		found = slot_from(vm, &id);
	}
	if (!found)
		return 0;
	*idp = id;
	*slot = *found;
	return 1;
}

uint32_t pfnbuf_vm_get_free_slots(struct pfnbuf_vm *vm)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);

	return vm->nr - vm->nr_used;
}

int pfnbuf_vm_get_dirty_log(struct pfnbuf_vm *vm, uint32_t id, void *bitmap, size_t size)
{
	static const char call[] = "KVM_GET_DIRTY_LOG";
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	const struct pfnbuf_slot *slot = slot_at(vm, id);
	struct kvm_dirty_log log = { .slot = id, .dirty_bitmap = bitmap };
	uint64_t words;
	int r;

	if (!slot)
		return no_such_slot(vm, call, id);
	if (!(slot->flags & PFNBUF_SLOT_LOG_DIRTY))
		return pfnbuf_refused(-ENOENT, call, vm->name, NULL, "set PFNBUF_SLOT_LOG_DIRTY",
				      "slot %" PRIu32 " is not logged", id);
	words = (slot->length / pfnbuf_page_size() + 63) / 64;
	if (!bitmap || size / 8 < words)
		return pfnbuf_refused(-EINVAL, call, vm->name, NULL, "",
				      "slot %" PRIu32 " needs a bitmap of %" PRIu64 " bytes", id,
				      words * 8);
	r = k_ioctl(vm->kernel, vm->fd, KVM_GET_DIRTY_LOG, &log);
	return r < 0 ? pfnbuf_failed(r, call, vm->name, NULL) : 0;
}

static bool stands_over(const struct pfnbuf_slot *slot, const void *addr, uint64_t length)
{
	return overlap((uintptr_t)slot->addr, slot->length, (uintptr_t)addr, length);
}

bool pfnbuf_vm_has_slot_over(struct pfnbuf_vm *vm, const void *addr, uint64_t length)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	const struct pfnbuf_slot *slot;
	uint32_t id = 0;

	for (slot = slot_from(vm, &id); slot; id++, slot = slot_from(vm, &id))
		if (stands_over(slot, addr, length))
			return true;
	return false;
}

static void log_end(const struct pfnbuf_vm *vm)
{
	pfnbuf_ctx_log(vm->ctx, PFNBUF_LOG_ERROR, "%s", pfnbuf_last_error());
}

/* Delete the first slot from *id on that stands there; 1, a negative errno, or 0: none does. */
static int drop_next(struct pfnbuf_vm *vm, uint32_t *id, const void *addr, uint64_t length,
		     struct pfnbuf_buf **gone)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	const struct pfnbuf_slot *slot = slot_from(vm, id);
	int r;

	for (; slot && !stands_over(slot, addr, length); slot = slot_from(vm, id))
		++*id;
	if (!slot)
		return 0;
	r = delete_slot(vm, *id, gone);
	++*id;
	return r < 0 ? r : 1;
}

void pfnbuf_vm_drop_slots_over(struct pfnbuf_vm *vm, const void *addr, uint64_t length)
{
	struct pfnbuf_buf *gone = NULL;
	uint32_t id = 0;
	int r;

	while ((r = drop_next(vm, &id, addr, length, &gone))) {
		if (r < 0)
			log_end(vm);
		gone = pfnbuf_buf_unref(gone);
	}
}

/* ---------------------------------------------------------------- attributes ---------------- */

static const char set_attributes_call[] = "KVM_SET_MEMORY_ATTRIBUTES";

static int attributes_failed(const struct pfnbuf_vm *vm, int err,
			     const struct kvm_memory_attributes *arg)
{
	const struct pfnbuf_range range = { arg->address, arg->size };

	return pfnbuf_failed(err, set_attributes_call, vm->name, &range);
}

static int ask_for_attributes(const struct pfnbuf_vm *vm, struct kvm_memory_attributes *arg)
{
	return k_ioctl(vm->kernel, vm->fd, KVM_SET_MEMORY_ATTRIBUTES, arg);
}

/* Under the lock. What the ledger could not tell of must not be set, whatever the kernel takes. */
static int set_any_range(struct pfnbuf_vm *vm, struct kvm_memory_attributes *arg, size_t spans)
{
	const struct pfnbuf_range range = { arg->address, arg->size };
	const uint64_t last = arg->address + arg->size - 1;
	int r;

	if (!arg->size || last < arg->address)
		return pfnbuf_refused(-EINVAL, set_attributes_call, vm->name, &range, "",
				      "the range is empty or wraps around");
	if (arg->attributes & ~(uint64_t)PFNBUF_ATTRIBUTE_PRIVATE)
		return pfnbuf_refused(-EINVAL, set_attributes_call, vm->name, &range,
				      "pass 0 or PFNBUF_ATTRIBUTE_PRIVATE",
				      "0x%" PRIx64 " has unknown attributes", arg->attributes);
	if (!pfnbuf_attributes_reserve(&vm->attributes, arg->address, last, spans))
		return attributes_failed(vm, -ENOMEM, arg);
	r = ask_for_attributes(vm, arg);
	if (r < 0)
		return attributes_failed(vm, r, arg);
	pfnbuf_attributes_set(&vm->attributes, arg->address, last, arg->attributes);
	return 0;
}

static int set_range(struct pfnbuf_vm *vm, struct kvm_memory_attributes *arg, size_t spans)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);

	return set_any_range(vm, arg, spans);
}

/* What guests ask for most: where it is at hand, no range is to be checked and nothing reserved. */
static inline int set_page(struct pfnbuf_vm *vm, struct kvm_memory_attributes *arg, size_t spans)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	uint64_t offset;
	int r;

	if (!pfnbuf_attributes_is_at_hand(&vm->attributes, arg->address, &offset))
		return set_any_range(vm, arg, spans);
	r = ask_for_attributes(vm, arg);
	if (r < 0)
		return attributes_failed(vm, r, arg);
	pfnbuf_attributes_set_page(&vm->attributes, offset, arg->attributes);
	return 0;
}

static inline int set_attributes(struct pfnbuf_vm *vm, uint64_t gpa, uint64_t length,
				 uint64_t attributes, size_t spans)
{
	struct kvm_memory_attributes arg = {
		.address = gpa,
		.size = length,
		.attributes = attributes,
	};

	if (length == vm->attributes.page_size &&
	    !(attributes & ~(uint64_t)PFNBUF_ATTRIBUTE_PRIVATE))
		return set_page(vm, &arg, spans);
	return set_range(vm, &arg, spans);
}

int pfnbuf_vm_set_attributes(struct pfnbuf_vm *vm, uint64_t gpa, uint64_t length,
			     uint64_t attributes)
{
	return set_attributes(vm, gpa, length, attributes, PFNBUF_SPANS_TO_SET);
}

int pfnbuf_vm_put_back_attributes(struct pfnbuf_vm *vm, uint64_t gpa, uint64_t length,
				  uint64_t attributes)
{
	return set_attributes(vm, gpa, length, attributes, PFNBUF_SPANS_TO_SET_BACK);
}

void pfnbuf_vm_get_attributes(struct pfnbuf_vm *vm, uint64_t gpa, uint64_t *attributes,
			      uint64_t *length)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	uint64_t last;

	*attributes =
		pfnbuf_attributes_get(&vm->attributes, gpa, &last) ? PFNBUF_ATTRIBUTE_PRIVATE : 0;
	if (length)
		*length = last - gpa == UINT64_MAX ? UINT64_MAX : last - gpa + 1;
}

static int pre_fault(struct pfnbuf_vm *vm, unsigned long request, int vcpu_fd, uint64_t gpa,
		     uint64_t length, uint64_t *done)
{
	static const char call[] = "KVM_PRE_FAULT_MEMORY";
	struct kvm_pre_fault_memory arg = { .gpa = gpa, .size = length };
	int r;

	/* The kernel may stop half-way and say 0; the struct then says where. */
	do {
		uint64_t before = arg.size;

		r = k_ioctl(vm->kernel, vcpu_fd, request, &arg);
		if (r >= 0 && arg.size >= before)
			break;
	} while (r >= 0 && arg.size);
	if (done)
		*done = arg.gpa - gpa;
	if (r < 0)
		return pfnbuf_failed(r, call, vm->name,
				     &(struct pfnbuf_range){ arg.gpa, arg.size });
	if (arg.size)
		return pfnbuf_refused(-EIO, call, vm->name,
				      &(struct pfnbuf_range){ arg.gpa, arg.size }, "",
				      "the kernel makes no progress");
	return 0;
}

int pfnbuf_vm_pre_fault(struct pfnbuf_vm *vm, int vcpu_fd, uint64_t gpa, uint64_t length,
			uint64_t *done)
{
	return pre_fault(vm, KVM_PRE_FAULT_MEMORY, vcpu_fd, gpa, length, done);
}

int pfnbuf_vm_pre_fault_by(struct pfnbuf_vm *vm, uint64_t request, int vcpu_fd, uint64_t gpa,
			   uint64_t length)
{
	return pre_fault(vm, (unsigned long)request, vcpu_fd, gpa, length, NULL);
}

/* ---------------------------------------------------------------- devices ------------------- */

static struct member *find_member(const struct pfnbuf_vm *vm, const struct pfnbuf_device *device)
{
	for (struct pfnbuf_link *l = vm->members.next; l != &vm->members; l = l->next) {
		struct member *m = pfnbuf_container_of(l, struct member, link);

		if (m->device == device)
			return m;
	}
	return NULL;
}

static int make_vfio_device(struct pfnbuf_vm *vm)
{
	struct kvm_create_device create_device = { .type = KVM_DEV_TYPE_VFIO };
	int r;

	if (vm->vfio_fd >= 0)
		return 0;
	r = k_ioctl(vm->kernel, vm->fd, KVM_CREATE_DEVICE, &create_device);
	if (r < 0)
		return pfnbuf_failed(r, "KVM_CREATE_DEVICE", vm->name, NULL);
	vm->vfio_fd = (int)create_device.fd;
	return 0;
}

static int tell_of_file(const struct pfnbuf_vm *vm, uint64_t what, int fd)
{
	int32_t file = fd;
	struct kvm_device_attr attr = {
		.group = KVM_DEV_VFIO_FILE,
		.attr = what,
		.addr = (uintptr_t)&file,
	};

	return k_ioctl(vm->kernel, vm->vfio_fd, KVM_SET_DEVICE_ATTR, &attr);
}

int pfnbuf_vm_add_device(struct pfnbuf_vm *vm, struct pfnbuf_device *device)
{
	static const char call[] = "KVM_DEV_VFIO_FILE_ADD";
	cleanup_free struct member *member = calloc(1, sizeof(*member));
	const char *name = device ? pfnbuf_device_name(device) : "device";
	bool bound = device && pfnbuf_device_is_bound(device);
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	int r;

	if (!device)
		return pfnbuf_refused(-EINVAL, call, name, NULL, "", "device is NULL");
	if (!member)
		return pfnbuf_failed(-ENOMEM, call, name, NULL);
	if (find_member(vm, device))
		return pfnbuf_failed(-EEXIST, call, name, NULL);
	if (bound)
		return pfnbuf_refused(
			-EALREADY, call, name, NULL,
			"add it between pfnbuf_device_open() and pfnbuf_device_bind()",
			"the device is bound: its driver learns of no VM any more");
	r = make_vfio_device(vm);
	if (r < 0)
		return r;
	r = tell_of_file(vm, KVM_DEV_VFIO_FILE_ADD, pfnbuf_device_get_fd(device));
	if (r < 0)
		return pfnbuf_failed(r, call, name, NULL);
	member->device = pfnbuf_device_ref(device);
	pfnbuf_list_add_tail(&vm->members, &member->link);
	member = NULL;
	return 0;
}

/*
 * Take the device off the list; what KVM holds of it goes first. *member is to be ended unlocked.
 */
static int remove_member(struct pfnbuf_vm *vm, struct pfnbuf_device *device, bool forced,
			 struct member **member)
{
	static const char call[] = "KVM_DEV_VFIO_FILE_DEL";
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);
	struct member *m = find_member(vm, device);
	int r;

	if (!m)
		return pfnbuf_failed(-ENOENT, call, pfnbuf_device_name(device), NULL);
	r = tell_of_file(vm, KVM_DEV_VFIO_FILE_DEL, pfnbuf_device_get_fd(device));
	if (r < 0)
		pfnbuf_failed(r, call, pfnbuf_device_name(device), NULL);
	if (r >= 0 || forced) {
		pfnbuf_list_del(&m->link);
		*member = m;
	}
	return r < 0 ? r : 0;
}

static void end_member(struct member *member)
{
	if (member)
		pfnbuf_device_unref(member->device);
	free(member);
}

int pfnbuf_vm_remove_device(struct pfnbuf_vm *vm, struct pfnbuf_device *device)
{
	struct member *member = NULL;
	int r;

	if (!device)
		return pfnbuf_refused(-EINVAL, "KVM_DEV_VFIO_FILE_DEL", "device", NULL, "",
				      "device is NULL");
	r = remove_member(vm, device, false, &member);
	end_member(member);
	return r;
}

static bool has_member(struct pfnbuf_vm *vm, const struct pfnbuf_device *device)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&vm->lock);

	return find_member(vm, device) != NULL;
}

void pfnbuf_vm_drop_device(struct pfnbuf_vm *vm, struct pfnbuf_device *device)
{
	struct member *member = NULL;

	if (!has_member(vm, device))
		return;
	if (remove_member(vm, device, true, &member) < 0)
		log_end(vm);
	end_member(member);
}

/* ---------------------------------------------------------------- its end ------------------- */

/* A VM that cannot be spoken to refuses every slot for the same reason: the log says it once. */
static void end_slots(struct pfnbuf_vm *vm)
{
	const struct pfnbuf_slot *slot;
	uint32_t id = 0, failed = 0;

	for (slot = slot_from(vm, &id); slot; id++, slot = slot_from(vm, &id)) {
		struct pfnbuf_buf *guest_memfd = slot->guest_memfd;
		int r = is_withdrawn(vm, id) ? 0 : delete_region(vm, id, slot);

		if (r < 0 && !failed++) {
			region_failed(vm, r, id, slot);
			log_end(vm);
		}
		pfnbuf_buf_unref(guest_memfd);
	}
	if (failed > 1)
		pfnbuf_ctx_log(vm->ctx, PFNBUF_LOG_ERROR,
			       "%s: %" PRIu32 " slots not deleted in all", vm->name, failed);
}

static void end_members(struct pfnbuf_vm *vm)
{
	while (vm->members.next != &vm->members) {
		struct member *m = pfnbuf_container_of(vm->members.next, struct member, link);

		pfnbuf_vm_drop_device(vm, m->device);
	}
	if (vm->vfio_fd >= 0)
		pfnbuf_ctx_close_fd(vm->ctx, vm->vfio_fd, vm->name);
}

struct pfnbuf_vm *pfnbuf_vm_ref(struct pfnbuf_vm *vm)
{
	if (vm)
		atomic_fetch_add(&vm->refs, 1);
	return vm;
}

struct pfnbuf_vm *pfnbuf_vm_free(struct pfnbuf_vm *vm)
{
	if (!vm || atomic_fetch_sub(&vm->refs, 1) != 1)
		return NULL;
	pfnbuf_ctx_unlink(vm->ctx, &vm->link);
	end_slots(vm);
	end_members(vm);
	if (!vm->borrowed)
		pfnbuf_ctx_close_fd(vm->ctx, vm->fd, vm->name);
	free_vm(vm);
	return NULL;
}
