/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include "libpfnbuf/uapi/kvm.h"
#include "vmtest.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define CODE_SIZE 4096

static const unsigned char code_write[] = {
	0x89, 0x03, /* mov %eax,(%ebx) */
	0xf4,	    /* hlt */
};

static const unsigned char code_read[] = {
	0x8b, 0x03, /* mov (%ebx),%eax */
	0xf4,	    /* hlt */
};

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

static int set_up(struct guest *guest, int kvm)
{
	void *code =
		mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int ret;

	if (code == MAP_FAILED)
		return -errno;
	guest->code = code;
	ret = set_slot(guest, CODE_SIZE);
	return ret < 0 ? ret : vcpu_new(&guest->vcpu, kvm, guest->vm);
}

int guest_start(struct guest *guest, int kvm, int vm, unsigned slot, uint64_t code_gpa)
{
	int ret;

	*guest = (struct guest){
		.vm = vm, .vcpu = { .fd = -1 }, .slot = slot, .code_gpa = code_gpa
	};
	ret = set_up(guest, kvm);
	if (ret < 0)
		guest_stop(guest);
	return ret;
}

void guest_stop(struct guest *guest)
{
	vcpu_free(&guest->vcpu);
	if (guest->code) {
		set_slot(guest, 0);
		munmap(guest->code, CODE_SIZE);
	}
	*guest = (struct guest){ .vm = -1, .vcpu = { .fd = -1 } };
}

/*
 * An access that ended in an exit is finished by the next KVM_RUN, whatever the registers say by
 * then: Documentation/virt/kvm/api.rst, KVM_EXIT_MMIO. So finish it, without running on.
 */
static int finish_access(struct guest *guest)
{
	struct kvm_run *state = guest->vcpu.run;
	int ret;

	if (state->exit_reason != KVM_EXIT_MMIO)
		return 0;
	state->immediate_exit = 1;
	ret = vmtest_ioctl_value(guest->vcpu.fd, KVM_RUN, 0);
	state->immediate_exit = 0;
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
	ret = vmtest_ioctl(guest->vcpu.fd, KVM_SET_REGS, regs);
	if (ret < 0)
		return ret;
	ret = vcpu_run(&guest->vcpu);
	return ret == KVM_EXIT_HLT ? vmtest_ioctl(guest->vcpu.fd, KVM_GET_REGS, regs) : ret;
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
