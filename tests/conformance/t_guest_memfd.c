/* SPDX-License-Identifier: MIT */
/* guest_memfd, and the device that ties VFIO files to a VM. */
#include <linux/falloc.h>

#include "conf.h"

#define GMEM	"virt/kvm/guest_memfd.c:"
#define VFIO	"virt/kvm/vfio.c:"
#define MAIN	"virt/kvm/kvm_main.c:"
#define ANY	NULL, NEED_KVM
#define PRIVATE NULL, NEED_KVM | NEED_PRIVATE
#define DEVICE	NULL, NEED_KVM | NEED_IOMMUFD | NEED_PLAIN
#define GPA	0x100000ULL
#define SIZE	(16 * PAGE)
#define MMAP	GUEST_MEMFD_FLAG_MMAP
#define SHARED	GUEST_MEMFD_FLAG_INIT_SHARED
#define KEEP	FALLOC_FL_KEEP_SIZE
#define PUNCH	FALLOC_FL_PUNCH_HOLE

struct create {
	unsigned long type;
	uint64_t size, flags;
	int want; /* 0: an fd */
};

static void create_row(struct conf *c, const void *data)
{
	const struct create *row = data;
	int fd = conf_gmem(c, conf_vm(c, row->type), row->size, row->flags);

	expect(c, fd < 0 ? fd : 0, row->want);
}

#define CREATE(rule, needs, ...)                                                                   \
	{                                                                                          \
		rule, GMEM "kvm_gmem_create", create_row, &(const struct create){ __VA_ARGS__ },   \
			needs                                                                      \
	}

static int gmem(struct conf *c, uint64_t flags)
{
	int fd = conf_gmem(c, conf_vm(c, KVM_X86_DEFAULT_VM), SIZE, flags);

	expect_true(c, fd >= 0);
	return fd;
}

static void reserved_ignored(struct conf *c, const void *data)
{
	struct kvm_create_guest_memfd create = { .size = SIZE, .reserved = { 1, 2, 3 } };

	(void)data;
	expect_true(c, conf_keep(c, conf_ioctl(c, conf_vm(c, 0), KVM_CREATE_GUEST_MEMFD,
					       &create)) >= 0);
}

static void not_cloexec(struct conf *c, const void *data)
{
	(void)data;
	expect(c, fcntl(gmem(c, 0), F_GETFD) & FD_CLOEXEC, 0);
}

static void stat_of(struct conf *c, const void *data)
{
	uint64_t magic = 0;
	struct stat st;
	int fd = gmem(c, 0);

	(void)data;
	expect(c, c->kernel->fstat(c->kernel->data, fd, &st), 0);
	expect(c, st.st_mode, S_IFREG | 0600);
	expect(c, st.st_size, SIZE);
	expect(c, c->kernel->fstatfs_type(c->kernel->data, fd, &magic), 0);
	expect(c, magic, GUEST_MEMFD_MAGIC);
}

static void file_calls(struct conf *c, const void *data)
{
	int fd = gmem(c, MMAP | SHARED);
	char byte = 0;

	(void)data;
	expect(c, c->kernel->read(c->kernel->data, fd, &byte, 1), -EINVAL);
	expect(c, c->kernel->write(c->kernel->data, fd, &byte, 1), -EINVAL);
	expect(c, c->kernel->lseek(c->kernel->data, fd, 0, SEEK_END), -ESPIPE);
	expect(c, c->kernel->ftruncate(c->kernel->data, fd, PAGE), -EINVAL);
	expect(c, c->kernel->ftruncate(c->kernel->data, fd, SIZE), -EINVAL);
}

/* mode, offset, length, want */
static void fallocate_row(struct conf *c, const void *data)
{
	const uint64_t *row = data;

	expect(c, c->kernel->fallocate(c->kernel->data, gmem(c, 0), (int)row[0], row[1], row[2]),
	       (int)(int64_t)row[3]);
}

#define FALLOCATE(rule, ...)                                                                       \
	{                                                                                          \
		rule, GMEM "kvm_gmem_fallocate", fallocate_row, (const uint64_t[]){ __VA_ARGS__ }, \
			NEED_KVM                                                                   \
	}

static void mmap_row(struct conf *c, const void *data)
{
	const int *row = data;
	void *mem;

	expect(c,
	       conf_mmap(c, SIZE, PROT_READ | PROT_WRITE, row[1], gmem(c, (uint64_t)row[0]), 0,
			 &mem),
	       row[2]);
	if (!row[2])
		expect(c, conf_touch(mem, true), row[3]);
}

#define MAPPING(rule, ...)                                                                         \
	{                                                                                          \
		rule, GMEM "kvm_gmem_mmap", mmap_row, (const int[]){ __VA_ARGS__ }, NEED_KVM       \
	}

static void mmap_past_end(struct conf *c, const void *data)
{
	uint8_t *bytes;
	void *mem;

	(void)data;
	if (!expect(c,
		    conf_mmap(c, SIZE + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			      gmem(c, MMAP | SHARED), 0, &mem),
		    0))
		return;
	bytes = mem;
	expect(c, conf_touch(bytes + SIZE - 1, true), 0);
	expect(c, conf_touch(bytes + SIZE, false), -EFAULT);
}

static void punch_zeroes(struct conf *c, const void *data)
{
	int fd = gmem(c, MMAP | SHARED);
	volatile uint8_t *bytes;
	void *mem;

	(void)data;
	if (!expect(c, conf_mmap(c, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0, &mem), 0))
		return;
	bytes = mem;
	bytes[0] = 1;
	bytes[PAGE] = 2;
	expect(c, c->kernel->fallocate(c->kernel->data, fd, KEEP | PUNCH, 0, PAGE), 0);
	expect(c, bytes[0], 0);
	expect(c, bytes[PAGE], 2);
}

/* --------------------------------------------------------------------------- slots */

static void slot_of(struct conf *c, const void *data)
{
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);
	int fd = conf_gmem(c, vm, SIZE, 0);
	uint8_t *mem = conf_memory(c, SIZE);

	(void)data;
	expect(c, conf_slot2(c, vm, 0, GPA, SIZE, mem, fd, 0), 0);
	expect(c, conf_slot2(c, vm, 0, GPA, SIZE, mem, fd, 0), -EINVAL);
	expect(c, conf_slot2(c, vm, 0, GPA + SIZE, SIZE, mem, fd, 0), -EINVAL);
	expect(c, conf_slot(c, vm, 0, 0, GPA, SIZE, mem), -EINVAL);
	expect(c, conf_slot(c, vm, 0, 0, GPA, 0, mem), 0);
}

static void slot_errors(struct conf *c, const void *data)
{
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);
	int fd = conf_gmem(c, vm, SIZE, 0);
	int foreign = conf_gmem(c, conf_vm(c, KVM_X86_SW_PROTECTED_VM), SIZE, 0);
	uint8_t *mem = conf_memory(c, SIZE);

	(void)data;
	expect(c, conf_slot2(c, vm, 0, GPA, PAGE, mem, 1000, 0), -EBADF);
	expect(c, conf_slot2(c, vm, 0, GPA, PAGE, mem, conf_memfd(c, SIZE), 0), -EINVAL);
	expect(c, conf_slot2(c, vm, 0, GPA, PAGE, mem, foreign, 0), -EINVAL);
	expect(c, conf_slot2(c, vm, 0, GPA, PAGE, mem, fd, 512), -EINVAL);
	expect(c, conf_slot2(c, vm, 0, GPA, PAGE, mem, fd, SIZE), -EINVAL);
	expect(c, conf_slot2(c, vm, 0, GPA, 2 * PAGE, mem, fd, SIZE - PAGE), -EINVAL);
	expect(c, conf_slot2(c, vm, 0, GPA, 2 * PAGE, mem, fd, 0 - PAGE), -EINVAL);
	expect(c, conf_slot2(c, vm, 0, GPA, PAGE, mem, fd, SIZE - PAGE), 0);
}

static void slot_order(struct conf *c, const void *data)
{
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);
	int fd = conf_gmem(c, vm, SIZE, 0);
	uint8_t *mem = conf_memory(c, SIZE);

	(void)data;
	expect(c, conf_slot2(c, vm, 0, GPA, PAGE, mem, fd, 0), 0);
	/* The guest address is looked at before the fd, and that before what is bound to it. */
	expect(c, conf_slot2(c, vm, 1, GPA, PAGE, mem, 1000, 0), -EEXIST);
	expect(c, conf_slot2(c, vm, 1, GPA + PAGE, PAGE, mem, fd, 0), -EEXIST);
	expect(c, conf_slot2(c, vm, 1, GPA + PAGE, PAGE, mem, fd, PAGE), 0);
	expect(c, conf_slot(c, vm, 0, 0, GPA, 0, mem), 0);
	expect(c, conf_slot2(c, vm, 2, GPA + 2 * PAGE, PAGE, mem, fd, 0), 0);
}

static void slot_does_not_hold(struct conf *c, const void *data)
{
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);
	int fd = conf_gmem(c, vm, SIZE, 0);
	uint8_t *mem = conf_memory(c, SIZE);

	(void)data;
	expect(c, conf_slot2(c, vm, 0, GPA, SIZE, mem, fd, 0), 0);
	expect(c, conf_close(c, fd), 0);
	/* The slot stays, without. */
	expect(c, conf_slot(c, vm, 1, 0, GPA, PAGE, mem), -EEXIST);
	expect(c, conf_slot(c, vm, 0, 0, GPA, 0, mem), 0);
}

static void no_dma(struct conf *c, const void *data)
{
	int iommufd = conf_iommufd_open(c), fd = gmem(c, 0);
	uint32_t ioas = conf_ioas_new(c, iommufd), pt = ioas;
	int dev = conf_device_open(c, PLAIN, iommufd, 0);

	(void)data;
	expect(c, conf_map_file(c, iommufd, ioas, fd, 0, PAGE, GPA), 0);
	expect(c, conf_attach(c, dev, &pt), -EINVAL);
	expect(c, conf_unmap(c, iommufd, ioas, GPA, PAGE, NULL), 0);
	expect(c, conf_attach(c, dev, &pt), 0);
	expect(c, conf_map_file(c, iommufd, ioas, fd, 0, PAGE, GPA), -EINVAL);
}

/* ------------------------------------------------------------------------ kvm-vfio */

static int create_device(struct conf *c, int vm, uint32_t type, uint32_t flags)
{
	struct kvm_create_device create = { .type = type, .flags = flags };
	int ret = conf_ioctl(c, vm, KVM_CREATE_DEVICE, &create);

	if (ret || flags)
		return ret;
	return conf_keep(c, (int)create.fd);
}

static int attr(struct conf *c, int kv, unsigned long request, uint32_t group, uint64_t id,
		const int32_t *fd)
{
	struct kvm_device_attr arg = { .group = group, .attr = id, .addr = (uintptr_t)fd };

	return conf_ioctl(c, kv, request, &arg);
}

static int add(struct conf *c, int kv, int32_t fd)
{
	return attr(c, kv, KVM_SET_DEVICE_ATTR, KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_FILE_ADD, &fd);
}

static int del(struct conf *c, int kv, int32_t fd)
{
	return attr(c, kv, KVM_SET_DEVICE_ATTR, KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_FILE_DEL, &fd);
}

static void device_create(struct conf *c, const void *data)
{
	int vm = conf_vm(c, 0), kv;

	(void)data;
	expect(c, create_device(c, vm, 4711, 0), -ENODEV);
	expect(c, create_device(c, vm, 4711, KVM_CREATE_DEVICE_TEST), -ENODEV);
	expect(c, create_device(c, vm, KVM_DEV_TYPE_VFIO, KVM_CREATE_DEVICE_TEST), 0);
	kv = create_device(c, vm, KVM_DEV_TYPE_VFIO, 0);
	expect_true(c, kv >= 0);
	expect(c, create_device(c, vm, KVM_DEV_TYPE_VFIO, 0), -EBUSY);
	expect(c, create_device(c, vm, KVM_DEV_TYPE_VFIO, KVM_CREATE_DEVICE_TEST), 0);
	expect(c, conf_close(c, kv), 0);
	expect_true(c, create_device(c, vm, KVM_DEV_TYPE_VFIO, 0) >= 0);
}

static void device_attributes(struct conf *c, const void *data)
{
	int kv = create_device(c, conf_vm(c, 0), KVM_DEV_TYPE_VFIO, 0);
	int32_t fd = -1;

	(void)data;
	expect(c, attr(c, kv, KVM_HAS_DEVICE_ATTR, 1, KVM_DEV_VFIO_FILE_ADD, NULL), 0);
	expect(c, attr(c, kv, KVM_HAS_DEVICE_ATTR, 1, KVM_DEV_VFIO_FILE_DEL, NULL), 0);
	expect(c, attr(c, kv, KVM_HAS_DEVICE_ATTR, 1, 9, NULL), -ENXIO);
	expect(c, attr(c, kv, KVM_HAS_DEVICE_ATTR, 2, KVM_DEV_VFIO_FILE_ADD, NULL), -ENXIO);
	expect(c, attr(c, kv, KVM_GET_DEVICE_ATTR, 1, KVM_DEV_VFIO_FILE_ADD, &fd), -EPERM);
	expect(c, attr(c, kv, KVM_SET_DEVICE_ATTR, 1, 9, &fd), -ENXIO);
	expect(c, attr(c, kv, KVM_SET_DEVICE_ATTR, 2, KVM_DEV_VFIO_FILE_ADD, &fd), -ENXIO);
	expect(c, attr(c, kv, KVM_SET_DEVICE_ATTR, 1, KVM_DEV_VFIO_FILE_ADD, NULL), -EFAULT);
	expect(c, conf_ioctl(c, kv, KVM_SET_DEVICE_ATTR, NULL), -EFAULT);
	expect(c, conf_ioctl(c, kv, 0xaeff, NULL), -ENOTTY);
}

static void device_files(struct conf *c, const void *data)
{
	int kv = create_device(c, conf_vm(c, 0), KVM_DEV_TYPE_VFIO, 0);
	int dev = conf_cdev(c, PLAIN), other = conf_cdev(c, PLAIN);
	int dup = conf_keep(c, c->kernel->dup(c->kernel->data, dev));

	(void)data;
	expect(c, add(c, kv, 1000), -EBADF);
	expect(c, add(c, kv, -1), -EBADF);
	expect(c, add(c, kv, conf_eventfd(c)), -EINVAL);
	expect(c, del(c, kv, dev), -ENOENT);
	expect(c, add(c, kv, dev), 0);
	expect(c, add(c, kv, dev), -EEXIST);
	expect(c, add(c, kv, dup), -EEXIST);
	/* Another open file of the same device is another file. */
	expect(c, add(c, kv, other), 0);
	expect(c, del(c, kv, dup), 0);
	expect(c, del(c, kv, dev), -ENOENT);
	expect(c, del(c, kv, 1000), -EBADF);
}

static void device_holds_file(struct conf *c, const void *data)
{
	int kv = create_device(c, conf_vm(c, 0), KVM_DEV_TYPE_VFIO, 0);
	int iommufd = conf_iommufd_open(c);
	int dev = conf_cdev(c, PLAIN), other = conf_cdev(c, PLAIN);

	(void)data;
	expect(c, add(c, kv, dev), 0);
	expect(c, conf_bind(c, dev, iommufd, NULL), 0);
	expect(c, conf_close(c, dev), 0);
	expect(c, conf_bind(c, other, iommufd, NULL), -EINVAL);
	expect(c, conf_close(c, kv), 0);
	expect(c, conf_bind(c, other, iommufd, NULL), 0);
}

static void slot_over_bar(struct conf *c, const void *data)
{
	int vm = conf_vm(c, 0);
	int vcpu = conf_keep(c, conf_ioctl_value(c, vm, KVM_CREATE_VCPU, 0));
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	struct kvm_pre_fault_memory range = { .gpa = GPA, .size = PAGE };
	void *bar;

	(void)data;
	if (!expect(c,
		    conf_mmap(c, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dev,
			      (uint64_t)c->devices[PLAIN].bar << 40, &bar),
		    0))
		return;
	expect(c, conf_slot(c, vm, 0, 0, GPA, PAGE, bar), 0);
	expect(c, conf_ioctl(c, vcpu, KVM_PRE_FAULT_MEMORY, &range), 0);
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	range.gpa = GPA;
	range.size = PAGE;
	expect(c, conf_ioctl(c, vcpu, KVM_PRE_FAULT_MEMORY, &range), -EFAULT);
	conf_command(c, dev, 0, PCI_COMMAND_MEMORY);
	range.gpa = GPA;
	range.size = PAGE;
	expect(c, conf_ioctl(c, vcpu, KVM_PRE_FAULT_MEMORY, &range), 0);
}

#define D	 KVM_X86_DEFAULT_VM
#define P	 KVM_X86_SW_PROTECTED_VM
#define E(error) (uint64_t)(int64_t)(-(error))

static const struct conf_case guest_memfd[] = {
	CREATE("guest_memfd of a default VM", NEED_KVM, D, SIZE, 0, 0),
	CREATE("guest_memfd of a VM with private memory", NEED_KVM | NEED_PRIVATE, P, SIZE, 0, 0),
	CREATE("guest_memfd that can be mapped", NEED_KVM, D, SIZE, MMAP, 0),
	CREATE("guest_memfd that can be mapped and begins shared", NEED_KVM, D, SIZE, MMAP | SHARED,
	       0),
	CREATE("guest_memfd that begins shared, not mapped", NEED_KVM, D, SIZE, SHARED, 0),
	CREATE("guest_memfd that begins shared, of a VM with private memory: EINVAL",
	       NEED_KVM | NEED_PRIVATE, P, SIZE, SHARED, -EINVAL),
	CREATE("guest_memfd with an unknown flag: EINVAL", NEED_KVM, D, SIZE, 1ULL << 40, -EINVAL),
	CREATE("guest_memfd of size 0: EINVAL", NEED_KVM, D, 0, 0, -EINVAL),
	CREATE("guest_memfd of half a page: EINVAL", NEED_KVM, D, 512, 0, -EINVAL),
	CREATE("guest_memfd of a negative size: EINVAL", NEED_KVM, D, 1ULL << 63, 0, -EINVAL),
	{ "guest_memfd: the reserved fields are not looked at", GMEM "kvm_gmem_create",
	  reserved_ignored, ANY },
	{ "guest_memfd is not close-on-exec", GMEM "__kvm_gmem_create", not_cloexec, ANY },
	{ "guest_memfd fstat: a regular file; fstatfs: its magic", GMEM "__kvm_gmem_create",
	  stat_of, ANY },
	{ "guest_memfd read, write, ftruncate EINVAL; lseek ESPIPE", GMEM "kvm_gmem_fops",
	  file_calls, ANY },
	FALLOCATE("guest_memfd fallocate", KEEP, 0, PAGE, 0),
	FALLOCATE("guest_memfd punch hole", KEEP | PUNCH, 0, PAGE, 0),
	FALLOCATE("guest_memfd punch hole past the end", KEEP | PUNCH, SIZE, PAGE, 0),
	FALLOCATE("guest_memfd fallocate past the end: EINVAL", KEEP, SIZE, PAGE, E(EINVAL)),
	FALLOCATE("guest_memfd fallocate without KEEP_SIZE: EOPNOTSUPP", 0, 0, PAGE, E(EOPNOTSUPP)),
	FALLOCATE("guest_memfd punch hole without KEEP_SIZE: EOPNOTSUPP", PUNCH, 0, PAGE,
		  E(EOPNOTSUPP)),
	FALLOCATE("guest_memfd zero range: EOPNOTSUPP", KEEP | FALLOC_FL_ZERO_RANGE, 0, PAGE,
		  E(EOPNOTSUPP)),
	FALLOCATE("guest_memfd fallocate at half a page: EINVAL", KEEP, 512, PAGE, E(EINVAL)),
	FALLOCATE("guest_memfd fallocate of half a page: EINVAL", KEEP, 0, 512, E(EINVAL)),
	FALLOCATE("guest_memfd fallocate of nothing: EINVAL", KEEP, 0, 0, E(EINVAL)),
	FALLOCATE("guest_memfd fallocate at a negative offset: EINVAL", KEEP, 1ULL << 63, PAGE,
		  E(EINVAL)),
	FALLOCATE("guest_memfd fallocate that wraps: EFBIG", KEEP, INT64_MAX - PAGE + 1, 2 * PAGE,
		  E(EFBIG)),
	MAPPING("guest_memfd without MMAP: mmap ENODEV", 0, MAP_SHARED, -ENODEV, 0),
	MAPPING("guest_memfd private mmap: EINVAL", MMAP | SHARED, MAP_PRIVATE, -EINVAL, 0),
	MAPPING("guest_memfd that begins shared: mapped memory can be touched", MMAP | SHARED,
		MAP_SHARED, 0, 0),
	MAPPING("guest_memfd that begins private: touching mapped memory is SIGBUS", MMAP,
		MAP_SHARED, 0, -EFAULT),
	{ "guest_memfd mmap beyond the end: SIGBUS there", GMEM "kvm_gmem_fault_user_mapping",
	  mmap_past_end, ANY },
	{ "guest_memfd punch hole: zeroes", GMEM "kvm_gmem_punch_hole", punch_zeroes, ANY },

	{ "a slot with a guest_memfd can only be deleted", MAIN "kvm_set_memory_region", slot_of,
	  PRIVATE },
	{ "a slot with a bad guest_memfd: closed EBADF, other files, VMs and ranges EINVAL",
	  GMEM "kvm_gmem_prepare_memory_region", slot_errors, PRIVATE },
	{ "a guest_memfd range in two slots: EEXIST, until one is deleted",
	  GMEM "kvm_gmem_commit_memory_region", slot_order, PRIVATE },
	{ "a slot does not hold its guest_memfd", GMEM "kvm_gmem_release", slot_does_not_hold,
	  PRIVATE },
	{ "guest_memfd takes no DMA: EINVAL when it is pinned", "mm/gup.c:memfd_pin_folios", no_dma,
	  DEVICE },

	{ "CREATE_DEVICE: unknown ENODEV, a second kvm-vfio EBUSY, a test makes none",
	  MAIN "kvm_ioctl_create_device", device_create, ANY },
	{ "kvm-vfio attributes", VFIO "kvm_vfio_set_attr", device_attributes, ANY },
	{ "kvm-vfio: files are added once and deleted once", VFIO "kvm_vfio_file_add", device_files,
	  DEVICE },
	{ "kvm-vfio holds the device open", VFIO "kvm_vfio_file_add", device_holds_file, DEVICE },
	{ "a slot over a BAR mapping: EFAULT while memory is off, and back",
	  "arch/x86/kvm/mmu/mmu.c:kvm_handle_error_pfn", slot_over_bar, DEVICE },
};

CONF_TABLE(conf_guest_memfd, guest_memfd);
