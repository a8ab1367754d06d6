/* SPDX-License-Identifier: MIT */
/* KVM: VMs, memory slots, attributes, dirty logs, pre-faulting. */
#include <sys/wait.h>
#include <unistd.h>

#include "conf.h"

#define MAIN	 "virt/kvm/kvm_main.c:"
#define X86	 "arch/x86/kvm/x86.c:"
#define ANY	 NULL, NEED_KVM
#define PRIVATE	 NULL, NEED_KVM | NEED_PRIVATE
#define GPA	 0x100000ULL
#define SIZE	 (16 * PAGE)
#define LOG	 KVM_MEM_LOG_DIRTY_PAGES
#define READONLY KVM_MEM_READONLY

static int default_vm(struct conf *c)
{
	return conf_vm(c, KVM_X86_DEFAULT_VM);
}

/* ------------------------------------------------------------------------------ VM */

static void api_version(struct conf *c, const void *data)
{
	int kvm = conf_open(c, "/dev/kvm", O_RDWR);

	(void)data;
	expect(c, conf_ioctl_value(c, kvm, KVM_GET_API_VERSION, 0), KVM_API_VERSION);
	expect(c, conf_ioctl_value(c, kvm, KVM_GET_API_VERSION, 1), -EINVAL);
}

static void bad_types(struct conf *c, const void *data)
{
	int kvm = conf_open(c, "/dev/kvm", O_RDWR);
	int types = conf_ioctl_value(c, kvm, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES);

	(void)data;
	for (unsigned type = 0; type < 31; type++)
		if (!(types & 1 << type))
			expect(c, conf_ioctl_value(c, kvm, KVM_CREATE_VM, type), -EINVAL);
	expect(c, conf_ioctl_value(c, kvm, KVM_CREATE_VM, 32), -EINVAL);
	expect(c, conf_ioctl_value(c, kvm, KVM_CREATE_VM, 1UL << 40), -EINVAL);
}

/* What the call answers in a child, which has the fd and another address space. */
static int in_a_child(struct conf *c, int fd, unsigned long request, unsigned long value)
{
	pid_t child = fork();
	int status = 0;

	if (!child)
		_exit(-conf_ioctl_value(c, fd, request, value));
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 1;
	return -WEXITSTATUS(status);
}

static void another_process(struct conf *c, const void *data)
{
	int vm = default_vm(c);
	int vcpu = conf_keep(c, conf_ioctl_value(c, vm, KVM_CREATE_VCPU, 0));

	(void)data;
	expect(c, in_a_child(c, vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY), -EIO);
	expect(c, in_a_child(c, vm, KVM_SET_USER_MEMORY_REGION, 0), -EIO);
	expect(c, in_a_child(c, vcpu, KVM_PRE_FAULT_MEMORY, 0), -EIO);
}

static void unknown_on_dev(struct conf *c, const void *data)
{
	uint64_t arg[16] = { 0 };

	(void)data;
	expect(c, conf_ioctl(c, conf_open(c, "/dev/kvm", O_RDWR), 0xaeff, arg), -EINVAL);
}

static void unknown_on_vm(struct conf *c, const void *data)
{
	uint64_t arg[16] = { 0 };

	(void)data;
	expect(c, conf_ioctl(c, default_vm(c), 0xaeff, arg), -ENOTTY);
}

static void vm_cloexec(struct conf *c, const void *data)
{
	(void)data;
	expect(c, fcntl(default_vm(c), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void extension(struct conf *c, const void *data)
{
	const unsigned *row = data;
	int vm = default_vm(c);

	expect(c, conf_ioctl_value(c, vm, KVM_CHECK_EXTENSION, row[0]), row[1]);
}

#define EXTENSION(name, cap, value)                                                                \
	{                                                                                          \
		"CHECK_EXTENSION " name, MAIN "kvm_vm_ioctl_check_extension_generic", extension,   \
			(const unsigned[]){ cap, value }, NEED_KVM                                 \
	}

static void extension_private(struct conf *c, const void *data)
{
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);

	(void)data;
	expect(c, conf_ioctl_value(c, vm, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_ATTRIBUTES),
	       KVM_MEMORY_ATTRIBUTE_PRIVATE);
	expect(c, conf_ioctl_value(c, vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_FLAGS),
	       GUEST_MEMFD_FLAG_MMAP);
	expect(c, conf_ioctl_value(c, vm, KVM_CHECK_EXTENSION, KVM_CAP_MULTI_ADDRESS_SPACE), 1);
}

static void extension_of_all(struct conf *c, const void *data)
{
	int kvm = conf_open(c, "/dev/kvm", O_RDWR);

	(void)data;
	expect(c, conf_ioctl_value(c, kvm, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_ATTRIBUTES),
	       KVM_MEMORY_ATTRIBUTE_PRIVATE);
	expect(c, conf_ioctl_value(c, kvm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_FLAGS),
	       GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
}

static void bad_address(struct conf *c, const void *data)
{
	expect(c, conf_ioctl(c, default_vm(c), *(const unsigned long *)data, NULL), -EFAULT);
}

#define BAD_ADDRESS(name, request)                                                                 \
	{                                                                                          \
		name " from a bad address: EFAULT", MAIN "kvm_vm_ioctl", bad_address,              \
			&(const unsigned long){ request }, NEED_KVM                                \
	}

/* --------------------------------------------------------------------------- slots */

/* @va: an offset into SIZE bytes of memory, or an address where it is larger. */
struct slot {
	bool second;
	uint32_t slot, flags;
	uint64_t gpa, size, va;
	int want;
};

static int set(struct conf *c, int vm, const struct slot *row, const uint8_t *mem)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = row->slot,
		.flags = row->flags,
		.guest_phys_addr = row->gpa,
		.memory_size = row->size,
		.userspace_addr = row->va < SIZE ? (uintptr_t)mem + row->va : row->va,
	};

	return conf_ioctl(c, vm,
			  row->second ? KVM_SET_USER_MEMORY_REGION2 : KVM_SET_USER_MEMORY_REGION,
			  &region);
}

static void create_row(struct conf *c, const void *data)
{
	expect(c, set(c, default_vm(c), data, conf_memory(c, SIZE)),
	       ((const struct slot *)data)->want);
}

#define CREATE(rule, where, ...)                                                                   \
	{                                                                                          \
		rule, where, create_row, &(const struct slot){ __VA_ARGS__ }, NEED_KVM             \
	}

/* With a slot of id 1, GPA, 4 pages of memory from its start. */
static void change_row(struct conf *c, const void *data)
{
	int vm = default_vm(c);
	uint8_t *mem = conf_memory(c, SIZE);

	expect(c, conf_slot(c, vm, 1, 0, GPA, 4 * PAGE, mem), 0);
	expect(c, set(c, vm, data, mem), ((const struct slot *)data)->want);
}

#define CHANGE(rule, ...)                                                                          \
	{                                                                                          \
		rule, MAIN "kvm_set_memory_region", change_row,                                    \
			&(const struct slot){ __VA_ARGS__ }, NEED_KVM                              \
	}

static void delete_makes_room(struct conf *c, const void *data)
{
	int vm = default_vm(c);
	uint8_t *mem = conf_memory(c, SIZE);

	(void)data;
	expect(c, conf_slot(c, vm, 1, 0, GPA, PAGE, mem), 0);
	expect(c, conf_slot(c, vm, 2, 0, GPA, PAGE, mem), -EEXIST);
	expect(c, conf_slot(c, vm, 1, 0, GPA, 0, mem), 0);
	expect(c, conf_slot(c, vm, 1, 0, GPA, 0, mem), -EINVAL);
	expect(c, conf_slot(c, vm, 2, 0, GPA, PAGE, mem), 0);
}

static void move_frees_old(struct conf *c, const void *data)
{
	int vm = default_vm(c);
	uint8_t *mem = conf_memory(c, SIZE);

	(void)data;
	expect(c, conf_slot(c, vm, 1, 0, GPA, 4 * PAGE, mem), 0);
	expect(c, conf_slot(c, vm, 1, 0, GPA + PAGE, 4 * PAGE, mem), 0);
	expect(c, conf_slot(c, vm, 2, 0, GPA, PAGE, mem), 0);
	expect(c, conf_slot(c, vm, 3, 0, GPA + 4 * PAGE, PAGE, mem), -EEXIST);
	expect(c, conf_slot(c, vm, 1, 0, GPA, 4 * PAGE, mem), -EEXIST);
}

static void slots_touch(struct conf *c, const void *data)
{
	int vm = default_vm(c);
	uint8_t *mem = conf_memory(c, SIZE);

	(void)data;
	expect(c, conf_slot(c, vm, 1, 0, GPA, 4 * PAGE, mem), 0);
	expect(c, conf_slot(c, vm, 2, 0, GPA + 4 * PAGE, PAGE, mem), 0);
	expect(c, conf_slot(c, vm, 3, 0, GPA - PAGE, PAGE, mem), 0);
	expect(c, conf_slot(c, vm, 4, 0, GPA - 2 * PAGE, 8 * PAGE, mem), -EEXIST);
	expect(c, conf_slot(c, vm, 4, 0, GPA + PAGE, PAGE, mem), -EEXIST);
}

static void many_slots(struct conf *c, const void *data)
{
	int vm = default_vm(c);
	uint8_t *mem = conf_memory(c, PAGE);
	int limit = conf_ioctl_value(c, vm, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);

	(void)data;
	for (uint32_t i = 0; i < 500; i++)
		if (!expect(c, conf_slot(c, vm, i, 0, GPA + i * 2 * PAGE, PAGE, mem), 0))
			return;
	expect(c, conf_slot(c, vm, (uint32_t)limit - 1, 0, 1ULL << 32, PAGE, mem), 0);
	expect(c, conf_slot(c, vm, (uint32_t)limit, 0, 1ULL << 33, PAGE, mem), -EINVAL);
}

static void second_address_space(struct conf *c, const void *data)
{
	int vm = default_vm(c);
	uint8_t *mem = conf_memory(c, SIZE);
	int spaces = conf_ioctl_value(c, vm, KVM_CHECK_EXTENSION, KVM_CAP_MULTI_ADDRESS_SPACE);

	(void)data;
	expect(c, conf_slot(c, vm, 0, 0, GPA, PAGE, mem), 0);
	/* Without the capability there is one. */
	expect(c, conf_slot(c, vm, 1 << 16, 0, GPA, PAGE, mem), spaces > 1 ? 0 : -EINVAL);
	expect(c, conf_slot(c, vm, 2 << 16, 0, GPA, PAGE, mem), -EINVAL);
}

static void beyond_width(struct conf *c, const void *data)
{
	(void)data;
	expect(c, conf_slot(c, default_vm(c), 0, 0, 1ULL << 52, PAGE, conf_memory(c, PAGE)),
	       -EINVAL);
}

static void slot_over_nothing(struct conf *c, const void *data)
{
	int vm = default_vm(c);
	uint64_t hole = conf_hole(c, PAGE);

	(void)data;
	expect(c, conf_slot(c, vm, 0, 0, GPA, PAGE, (void *)(uintptr_t)hole), 0);
	expect(c, conf_slot(c, vm, 1, 0, GPA + PAGE, PAGE, NULL), 0);
}

/* ---------------------------------------------------------------------- dirty logs */

static int dirty_log(struct conf *c, int vm, uint32_t slot, void *bitmap)
{
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bitmap };

	return conf_ioctl(c, vm, KVM_GET_DIRTY_LOG, &log);
}

static void dirty_log_errors(struct conf *c, const void *data)
{
	int vm = default_vm(c);
	uint8_t *mem = conf_memory(c, SIZE);
	uint64_t bitmap[4];

	(void)data;
	expect(c, dirty_log(c, vm, 1, bitmap), -ENOENT);
	expect(c, conf_slot(c, vm, 1, 0, GPA, SIZE, mem), 0);
	expect(c, dirty_log(c, vm, 1, bitmap), -ENOENT);
	expect(c, dirty_log(c, vm, 40000, bitmap), -EINVAL);
	expect(c, dirty_log(c, vm, 9 << 16, bitmap), -EINVAL);
	expect(c, conf_slot(c, vm, 1, LOG, GPA, SIZE, mem), 0);
	expect(c, dirty_log(c, vm, 1, bitmap), 0);
	expect(c, bitmap[0], 0);
	expect(c, dirty_log(c, vm, 1, NULL), -EFAULT);
	expect(c, conf_slot(c, vm, 1, 0, GPA, SIZE, mem), 0);
	expect(c, dirty_log(c, vm, 1, bitmap), -ENOENT);
}

static int clear_log(struct conf *c, int vm, uint32_t slot, uint64_t first, uint32_t n,
		     void *bitmap)
{
	struct kvm_clear_dirty_log log = {
		.slot = slot,
		.num_pages = n,
		.first_page = first,
		.dirty_bitmap = bitmap,
	};

	return conf_ioctl(c, vm, KVM_CLEAR_DIRTY_LOG, &log);
}

static void clear_log_errors(struct conf *c, const void *data)
{
	int vm = default_vm(c);
	uint8_t *mem = conf_memory(c, SIZE);
	uint64_t bitmap[4] = { 0 };

	(void)data;
	expect(c, clear_log(c, vm, 1, 0, 16, bitmap), -ENOENT);
	expect(c, conf_slot(c, vm, 1, LOG, GPA, SIZE, mem), 0);
	expect(c, clear_log(c, vm, 1, 0, 16, bitmap), 0);
	expect(c, clear_log(c, vm, 1, 1, 15, bitmap), -EINVAL);
	expect(c, clear_log(c, vm, 1, 0, 17, bitmap), -EINVAL);
	expect(c, clear_log(c, vm, 1, 64, 1, bitmap), -EINVAL);
	expect(c, clear_log(c, vm, 1, 0, 8, bitmap), -EINVAL);
	expect(c, clear_log(c, vm, 1, 0, 16, NULL), -EFAULT);
	expect(c, clear_log(c, vm, 40000, 0, 16, bitmap), -EINVAL);
}

/* ---------------------------------------------------------------------- attributes */

struct attributes {
	unsigned long type;
	uint64_t gpa, size, attributes, flags;
	int want;
};

static void attributes_row(struct conf *c, const void *data)
{
	const struct attributes *row = data;
	struct kvm_memory_attributes arg = { row->gpa, row->size, row->attributes, row->flags };

	expect(c, conf_ioctl(c, conf_vm(c, row->type), KVM_SET_MEMORY_ATTRIBUTES, &arg), row->want);
}

#define ATTRIBUTES(rule, needs, ...)                                                               \
	{                                                                                          \
		rule, MAIN "kvm_vm_ioctl_set_mem_attributes", attributes_row,                      \
			&(const struct attributes){ __VA_ARGS__ }, needs                           \
	}

static void attributes_again(struct conf *c, const void *data)
{
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);

	(void)data;
	expect(c, conf_attributes(c, vm, GPA, 16 * PAGE, KVM_MEMORY_ATTRIBUTE_PRIVATE), 0);
	expect(c, conf_attributes(c, vm, GPA, 16 * PAGE, KVM_MEMORY_ATTRIBUTE_PRIVATE), 0);
	expect(c, conf_attributes(c, vm, GPA + PAGE, PAGE, 0), 0);
	expect(c, conf_attributes(c, vm, GPA, 32 * PAGE, KVM_MEMORY_ATTRIBUTE_PRIVATE), 0);
	expect(c, conf_attributes(c, vm, 0, 4 << 20, 0), 0);
}

/* -------------------------------------------------------------------- pre-faulting */

static int pre_fault(struct conf *c, int vcpu, uint64_t gpa, uint64_t size, uint64_t flags,
		     uint64_t *left)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = size, .flags = flags };
	int ret = conf_ioctl(c, vcpu, KVM_PRE_FAULT_MEMORY, &range);

	*left = range.size;
	return ret;
}

static void pre_fault_arguments(struct conf *c, const void *data)
{
	int vm = default_vm(c);
	int vcpu = conf_keep(c, conf_ioctl_value(c, vm, KVM_CREATE_VCPU, 0));
	uint64_t left;

	(void)data;
	expect_true(c, vcpu >= 0);
	expect(c, pre_fault(c, vcpu, GPA, PAGE, 1, &left), -EINVAL);
	expect(c, pre_fault(c, vcpu, GPA, 0, 0, &left), -EINVAL);
	expect(c, pre_fault(c, vcpu, GPA + 1, PAGE, 0, &left), -EINVAL);
	expect(c, pre_fault(c, vcpu, GPA, PAGE + 1, 0, &left), -EINVAL);
	expect(c, pre_fault(c, vcpu, 0 - PAGE, PAGE, 0, &left), -EINVAL);
	expect(c, pre_fault(c, vcpu, GPA, PAGE, 0, &left), -ENOENT);
	expect(c, left, PAGE);
}

static void pre_fault_progress(struct conf *c, const void *data)
{
	int vm = default_vm(c);
	int vcpu = conf_keep(c, conf_ioctl_value(c, vm, KVM_CREATE_VCPU, 0));
	uint64_t left;

	(void)data;
	expect(c, conf_slot(c, vm, 0, 0, GPA, 4 * PAGE, conf_memory(c, SIZE)), 0);
	expect(c, pre_fault(c, vcpu, GPA, 4 * PAGE, 0, &left), 0);
	expect(c, left, 0);
	expect(c, pre_fault(c, vcpu, GPA + 2 * PAGE, 4 * PAGE, 0, &left), 0);
	expect(c, left, 2 * PAGE);
}

static void pre_fault_bad_memory(struct conf *c, const void *data)
{
	int vm = default_vm(c);
	int vcpu = conf_keep(c, conf_ioctl_value(c, vm, KVM_CREATE_VCPU, 0));
	uint64_t hole = conf_hole(c, PAGE), left;

	(void)data;
	expect(c, conf_slot(c, vm, 0, 0, GPA, PAGE, (void *)(uintptr_t)hole), 0);
	expect(c, pre_fault(c, vcpu, GPA, PAGE, 0, &left), -EFAULT);
	expect(c, left, PAGE);
}

static void pre_fault_private(struct conf *c, const void *data)
{
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);
	int vcpu = conf_keep(c, conf_ioctl_value(c, vm, KVM_CREATE_VCPU, 0));
	int gmem = conf_gmem(c, vm, SIZE, 0);
	uint8_t *mem = conf_memory(c, SIZE);
	uint64_t left;

	(void)data;
	expect(c, conf_slot2(c, vm, 0, GPA, SIZE, mem, gmem, 0), 0);
	expect(c, conf_attributes(c, vm, GPA, SIZE, KVM_MEMORY_ATTRIBUTE_PRIVATE), 0);
	expect(c, pre_fault(c, vcpu, GPA, SIZE, 0, &left), 0);
	expect(c, left, 0);
	expect(c, conf_close(c, gmem), 0);
	expect(c, pre_fault(c, vcpu, GPA, SIZE, 0, &left), -EFAULT);
}

static void pre_fault_private_without_gmem(struct conf *c, const void *data)
{
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);
	int vcpu = conf_keep(c, conf_ioctl_value(c, vm, KVM_CREATE_VCPU, 0));
	uint64_t left;

	(void)data;
	expect(c, conf_slot(c, vm, 0, 0, GPA, SIZE, conf_memory(c, SIZE)), 0);
	expect(c, conf_attributes(c, vm, GPA, SIZE, KVM_MEMORY_ATTRIBUTE_PRIVATE), 0);
	expect(c, pre_fault(c, vcpu, GPA, SIZE, 0, &left), -EFAULT);
}

static void vcpu_ids(struct conf *c, const void *data)
{
	int vm = default_vm(c);

	(void)data;
	expect_true(c, conf_keep(c, conf_ioctl_value(c, vm, KVM_CREATE_VCPU, 0)) >= 0);
	expect(c, conf_ioctl_value(c, vm, KVM_CREATE_VCPU, 0), -EEXIST);
	expect(c, conf_ioctl_value(c, vm, KVM_CREATE_VCPU, 1 << 30), -EINVAL);
}

#define SET   MAIN "kvm_set_memory_region"
#define CHECK MAIN "check_memory_region_flags"
#define HIGH  (1ULL << 47)

static const struct conf_case kvm[] = {
	{ "GET_API_VERSION: 12; with an argument EINVAL", MAIN "kvm_dev_ioctl", api_version, ANY },
	{ "CREATE_VM of a type that is not offered: EINVAL", X86 "kvm_is_vm_type_supported",
	  bad_types, ANY },
	{ "an unknown ioctl on /dev/kvm: EINVAL", X86 "kvm_arch_dev_ioctl", unknown_on_dev, ANY },
	{ "an unknown ioctl on a VM: ENOTTY", X86 "kvm_arch_vm_ioctl", unknown_on_vm, ANY },
	{ "a VM's fd is close-on-exec", MAIN "kvm_dev_ioctl_create_vm", vm_cloexec, ANY },
	{ "a VM and its vCPUs answer no other process: EIO", MAIN "kvm_vm_ioctl", another_process,
	  ANY },
	EXTENSION("USER_MEMORY: 1", KVM_CAP_USER_MEMORY, 1),
	EXTENSION("USER_MEMORY2: 1", KVM_CAP_USER_MEMORY2, 1),
	EXTENSION("READONLY_MEM: 1", KVM_CAP_READONLY_MEM, 1),
	EXTENSION("DEVICE_CTRL: 1", KVM_CAP_DEVICE_CTRL, 1),
	EXTENSION("CHECK_EXTENSION_VM: 1", KVM_CAP_CHECK_EXTENSION_VM, 1),
	EXTENSION("NR_MEMSLOTS: 32764", KVM_CAP_NR_MEMSLOTS, 32764),
	EXTENSION("GUEST_MEMFD: 1", KVM_CAP_GUEST_MEMFD, 1),
	EXTENSION("MEMORY_FAULT_INFO: 1", KVM_CAP_MEMORY_FAULT_INFO, 1),
	EXTENSION("MEMORY_ATTRIBUTES of a default VM: 0", KVM_CAP_MEMORY_ATTRIBUTES, 0),
	EXTENSION("GUEST_MEMFD_FLAGS of a default VM: MMAP and INIT_SHARED",
		  KVM_CAP_GUEST_MEMFD_FLAGS, 3),
	EXTENSION("MANUAL_DIRTY_LOG_PROTECT2: 3", KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 3),
	EXTENSION("PRE_FAULT_MEMORY: 1", KVM_CAP_PRE_FAULT_MEMORY, 1),
	EXTENSION("unknown: 0", 99999, 0),
	{ "CHECK_EXTENSION of a VM with private memory",
	  MAIN "kvm_vm_ioctl_check_extension_generic", extension_private, PRIVATE },
	{ "CHECK_EXTENSION on /dev/kvm: what any VM may have",
	  MAIN "kvm_vm_ioctl_check_extension_generic", extension_of_all, PRIVATE },
	BAD_ADDRESS("SET_USER_MEMORY_REGION", KVM_SET_USER_MEMORY_REGION),
	BAD_ADDRESS("SET_USER_MEMORY_REGION2", KVM_SET_USER_MEMORY_REGION2),
	BAD_ADDRESS("SET_MEMORY_ATTRIBUTES", KVM_SET_MEMORY_ATTRIBUTES),
	BAD_ADDRESS("CREATE_GUEST_MEMFD", KVM_CREATE_GUEST_MEMFD),
	BAD_ADDRESS("CREATE_DEVICE", KVM_CREATE_DEVICE),
	BAD_ADDRESS("GET_DIRTY_LOG", KVM_GET_DIRTY_LOG),
	BAD_ADDRESS("CLEAR_DIRTY_LOG", KVM_CLEAR_DIRTY_LOG),

	CREATE("a slot", SET, false, 0, 0, GPA, SIZE, 0, 0),
	CREATE("a slot by the second call", SET, true, 0, 0, GPA, SIZE, 0, 0),
	CREATE("a slot with a dirty log", SET, false, 0, LOG, GPA, SIZE, 0, 0),
	CREATE("a read-only slot", SET, false, 0, READONLY, GPA, SIZE, 0, 0),
	CREATE("a read-only slot with a dirty log", SET, false, 0, READONLY | LOG, GPA, SIZE, 0, 0),
	CREATE("an unknown slot flag: EINVAL", CHECK, false, 0, 1 << 3, GPA, SIZE, 0, -EINVAL),
	CREATE("an unknown slot flag by the second call: EINVAL", CHECK, true, 0, 1 << 3, GPA, SIZE,
	       0, -EINVAL),
	CREATE("guest_memfd by the first call: EINVAL", MAIN "kvm_vm_ioctl", false, 0,
	       KVM_MEM_GUEST_MEMFD, GPA, SIZE, 0, -EINVAL),
	CREATE("guest_memfd with a dirty log: EINVAL", CHECK, true, 0, KVM_MEM_GUEST_MEMFD | LOG,
	       GPA, SIZE, 0, -EINVAL),
	CREATE("guest_memfd read-only: EINVAL", CHECK, true, 0, KVM_MEM_GUEST_MEMFD | READONLY, GPA,
	       SIZE, 0, -EINVAL),
	CREATE("a slot id beyond the last: EINVAL", MAIN "kvm_vm_ioctl_set_memory_region", false,
	       32764, 0, GPA, SIZE, 0, -EINVAL),
	CREATE("a slot in an address space that is not there: EINVAL", SET, false, 7 << 16, 0, GPA,
	       SIZE, 0, -EINVAL),
	CREATE("a slot at half a page: EINVAL", SET, false, 0, 0, GPA + 512, SIZE, 0, -EINVAL),
	CREATE("a slot of half a page: EINVAL", SET, false, 0, 0, GPA, 512, 0, -EINVAL),
	CREATE("a slot over memory at half a page: EINVAL", SET, false, 0, 0, GPA, PAGE, 512,
	       -EINVAL),
	CREATE("a slot over kernel addresses: EINVAL", SET, false, 0, 0, GPA, PAGE, HIGH, -EINVAL),
	CREATE("a slot whose memory reaches kernel addresses: EINVAL", SET, false, 0, 0, GPA,
	       1ULL << 40, HIGH - (1ULL << 30), -EINVAL),
	CREATE("a slot at addresses that wrap: EINVAL", SET, false, 0, 0, 0 - PAGE, 2 * PAGE, 0,
	       -EINVAL),
	CREATE("a slot of 2^31 pages: EINVAL", SET, false, 0, 0, 0, 1ULL << 43, 0, -EINVAL),
	CREATE("deletion of a slot that is not there: EINVAL", SET, false, 5, 0, GPA, 0, 0,
	       -EINVAL),
	{ "a slot beyond the guest's address width: EINVAL", X86 "kvm_arch_prepare_memory_region",
	  beyond_width, ANY },
	{ "a slot over nothing", SET, slot_over_nothing, ANY },

	CHANGE("the same slot again: 0", false, 1, 0, GPA, 4 * PAGE, 0, 0),
	CHANGE("a slot moved", false, 1, 0, GPA + SIZE, 4 * PAGE, 0, 0),
	CHANGE("a slot moved onto part of itself", false, 1, 0, GPA + PAGE, 4 * PAGE, 0, 0),
	CHANGE("a dirty log turned on", false, 1, LOG, GPA, 4 * PAGE, 0, 0),
	CHANGE("a slot moved and its dirty log turned on", false, 1, LOG, GPA + SIZE, 4 * PAGE, 0,
	       0),
	CHANGE("a slot grown: EINVAL", false, 1, 0, GPA, 8 * PAGE, 0, -EINVAL),
	CHANGE("a slot shrunk: EINVAL", false, 1, 0, GPA, PAGE, 0, -EINVAL),
	CHANGE("a slot put over other memory: EINVAL", false, 1, 0, GPA, 4 * PAGE, PAGE, -EINVAL),
	CHANGE("a slot made read-only: EINVAL", false, 1, READONLY, GPA, 4 * PAGE, 0, -EINVAL),
	CHANGE("a slot given a guest_memfd: EINVAL", true, 1, KVM_MEM_GUEST_MEMFD, GPA, 4 * PAGE, 0,
	       -EINVAL),
	CHANGE("a slot deleted", false, 1, 0, GPA, 0, 0, 0),
	CHANGE("a slot deleted with an unknown flag: EINVAL", false, 1, 1 << 3, GPA, 0, 0, -EINVAL),
	CHANGE("a slot deleted at half a page: EINVAL", false, 1, 0, GPA + 1, 0, 0, -EINVAL),
	CHANGE("a slot deleted at another address", false, 1, 0, 0, 0, 0, 0),
	CHANGE("another slot over it: EEXIST", false, 2, 0, GPA, PAGE, 0, -EEXIST),
	CHANGE("another slot over its last page: EEXIST", false, 2, 0, GPA + 3 * PAGE, 4 * PAGE, 0,
	       -EEXIST),
	{ "deleting makes room", SET, delete_makes_room, ANY },
	{ "moving leaves room behind, and no slot moves over another", SET, move_frees_old, ANY },
	{ "slots may touch, not overlap", MAIN "kvm_check_memslot_overlap", slots_touch, ANY },
	{ "500 slots and the last id", SET, many_slots, ANY },
	{ "slots of another address space do not collide", SET, second_address_space, ANY },

	{ "GET_DIRTY_LOG: unknown slot ENOENT or EINVAL, not logged ENOENT, bad address EFAULT",
	  MAIN "kvm_get_dirty_log_protect", dirty_log_errors, ANY },
	{ "CLEAR_DIRTY_LOG checks its range", MAIN "kvm_clear_dirty_log_protect", clear_log_errors,
	  ANY },

	ATTRIBUTES("a default VM takes attribute 0", NEED_KVM, KVM_X86_DEFAULT_VM, GPA, PAGE, 0, 0,
		   0),
	ATTRIBUTES("a default VM has no private memory: EINVAL", NEED_KVM, KVM_X86_DEFAULT_VM, GPA,
		   PAGE, KVM_MEMORY_ATTRIBUTE_PRIVATE, 0, -EINVAL),
	ATTRIBUTES("private memory", NEED_KVM | NEED_PRIVATE, KVM_X86_SW_PROTECTED_VM, GPA, PAGE,
		   KVM_MEMORY_ATTRIBUTE_PRIVATE, 0, 0),
	ATTRIBUTES("an unknown attribute: EINVAL", NEED_KVM | NEED_PRIVATE, KVM_X86_SW_PROTECTED_VM,
		   GPA, PAGE, 1, 0, -EINVAL),
	ATTRIBUTES("attributes with flags: EINVAL", NEED_KVM | NEED_PRIVATE,
		   KVM_X86_SW_PROTECTED_VM, GPA, PAGE, 0, 1, -EINVAL),
	ATTRIBUTES("attributes of nothing: EINVAL", NEED_KVM | NEED_PRIVATE,
		   KVM_X86_SW_PROTECTED_VM, GPA, 0, 0, 0, -EINVAL),
	ATTRIBUTES("attributes that wrap: EINVAL", NEED_KVM | NEED_PRIVATE, KVM_X86_SW_PROTECTED_VM,
		   0 - PAGE, 2 * PAGE, 0, 0, -EINVAL),
	ATTRIBUTES("attributes at half a page: EINVAL", NEED_KVM | NEED_PRIVATE,
		   KVM_X86_SW_PROTECTED_VM, GPA + 1, PAGE, 0, 0, -EINVAL),
	ATTRIBUTES("attributes of half a page: EINVAL", NEED_KVM | NEED_PRIVATE,
		   KVM_X86_SW_PROTECTED_VM, GPA, PAGE / 2, 0, 0, -EINVAL),
	{ "attributes replace what was, again and again", MAIN "kvm_vm_set_mem_attributes",
	  attributes_again, PRIVATE },

	{ "CREATE_VCPU: an id twice EEXIST, too high EINVAL", MAIN "kvm_vm_ioctl_create_vcpu",
	  vcpu_ids, ANY },
	{ "PRE_FAULT_MEMORY checks its range; without a slot ENOENT",
	  MAIN "kvm_vcpu_pre_fault_memory", pre_fault_arguments, ANY },
	{ "PRE_FAULT_MEMORY says how far it came", MAIN "kvm_vcpu_pre_fault_memory",
	  pre_fault_progress, ANY },
	{ "PRE_FAULT_MEMORY of a slot over nothing: EFAULT",
	  "arch/x86/kvm/mmu/mmu.c:kvm_handle_error_pfn", pre_fault_bad_memory, ANY },
	{ "PRE_FAULT_MEMORY of private memory; EFAULT once its guest_memfd is closed",
	  "virt/kvm/guest_memfd.c:kvm_gmem_get_pfn", pre_fault_private, PRIVATE },
	{ "PRE_FAULT_MEMORY of private memory without a guest_memfd: EFAULT",
	  "arch/x86/kvm/mmu/mmu.c:kvm_mmu_faultin_pfn", pre_fault_private_without_gmem, PRIVATE },
};

CONF_TABLE(conf_kvm, kvm);
