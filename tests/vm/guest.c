/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include "libpfnbuf/uapi/kvm.h"
#include "vmtest.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CODE_SIZE 4096

static const unsigned char code_write[] = {
	0x89, 0x03, /* mov %eax,(%ebx) */
	0xf4,	    /* hlt */
};

static const unsigned char code_read[] = {
	0x8b, 0x03, /* mov (%ebx),%eax */
	0xf4,	    /* hlt */
};

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
}

static int enter_protected_mode(int vcpu)
{
	struct kvm_sregs sregs;
	int ret = vmtest_ioctl(vcpu, KVM_GET_SREGS, &sregs);

	if (ret < 0)
		return ret;
	sregs.cs = flat_segment(0x08, 0xb);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat_segment(0x10, 0x3);
	sregs.cr0 |= 1;
	return vmtest_ioctl(vcpu, KVM_SET_SREGS, &sregs);
}

static int set_slot(const struct guest *guest, uint64_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = guest->slot,
		.guest_phys_addr = guest->code_gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)guest->code,
	};

	return vmtest_ioctl(guest->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static void *map_or_null(size_t length, int flags, int fd)
{
	void *map = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, fd, 0);

	return map == MAP_FAILED ? NULL : map;
}

static int set_up(struct guest *guest, int kvm)
{
	int ret;

	guest->code = map_or_null(CODE_SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (!guest->code)
		return -errno;
	ret = set_slot(guest, CODE_SIZE);
	if (ret < 0)
		return ret;
	guest->vcpu = vmtest_ioctl_value(guest->vm, KVM_CREATE_VCPU, 0);
	if (guest->vcpu < 0)
		return guest->vcpu;
	ret = vmtest_ioctl_value(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (ret < 0)
		return ret;
	guest->run_size = (size_t)ret;
	guest->run = map_or_null(guest->run_size, MAP_SHARED, guest->vcpu);
	if (!guest->run)
		return -errno;
	return enter_protected_mode(guest->vcpu);
}

int guest_start(struct guest *guest, int kvm, int vm, unsigned slot, uint64_t code_gpa)
{
	int ret;

	*guest = (struct guest){ .vm = vm, .vcpu = -1, .slot = slot, .code_gpa = code_gpa };
	ret = set_up(guest, kvm);
	if (ret < 0)
		guest_stop(guest);
	return ret;
}

void guest_stop(struct guest *guest)
{
	if (guest->run)
		munmap(guest->run, guest->run_size);
	if (guest->vcpu >= 0)
		close(guest->vcpu);
	if (guest->code) {
		set_slot(guest, 0);
		munmap(guest->code, CODE_SIZE);
	}
	*guest = (struct guest){ .vm = -1, .vcpu = -1 };
}

/*
 * An access that ended in an exit is finished by the next KVM_RUN, whatever the registers say by
 * then: Documentation/virt/kvm/api.rst, KVM_EXIT_MMIO. So finish it, without running on.
 */
static int finish_access(struct guest *guest)
{
	int ret;

	if (guest->run->exit_reason != KVM_EXIT_MMIO)
		return 0;
	guest->run->immediate_exit = 1;
	ret = vmtest_ioctl_value(guest->vcpu, KVM_RUN, 0);
	guest->run->immediate_exit = 0;
	return ret == -EINTR ? 0 : ret;
}

/* Bit 1 of rflags is always set; interrupts stay off. */
static int run(struct guest *guest, const void *code, size_t size, struct kvm_regs *regs)
{
	int ret;

	ret = finish_access(guest);
	if (ret < 0)
		return ret;
	memcpy(guest->code, code, size);
	regs->rip = guest->code_gpa;
	regs->rflags = 2;
	ret = vmtest_ioctl(guest->vcpu, KVM_SET_REGS, regs);
	if (ret < 0)
		return ret;
	guest->run->exit_reason = KVM_EXIT_UNKNOWN;
	/* A completion that waits in an io_uring of this thread interrupts without a signal. */
	do
		ret = vmtest_ioctl_value(guest->vcpu, KVM_RUN, 0);
	while (ret == -EINTR);
	if (ret < 0)
		return ret;
	if (guest->run->exit_reason != KVM_EXIT_HLT)
		return (int)guest->run->exit_reason;
	return vmtest_ioctl(guest->vcpu, KVM_GET_REGS, regs);
}

int guest_write32(struct guest *guest, uint64_t gpa, uint32_t value)
{
	struct kvm_regs regs = { .rax = value, .rbx = gpa };

	return run(guest, code_write, sizeof(code_write), &regs);
}

int guest_read32(struct guest *guest, uint64_t gpa, uint32_t *value)
{
	struct kvm_regs regs = { .rbx = gpa };
	int ret = run(guest, code_read, sizeof(code_read), &regs);

	if (!ret)
		*value = (uint32_t)regs.rax;
	return ret;
}
