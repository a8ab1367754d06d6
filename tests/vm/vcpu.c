/* SPDX-License-Identifier: MIT */
#include "vcpu.h"

#include "libpfnbuf/uapi/kvm.h"
#include "vmtest.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

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

static int enter_protected_mode(int fd)
{
	struct kvm_sregs sregs;
	int ret = vmtest_ioctl(fd, KVM_GET_SREGS, &sregs);

	if (ret < 0)
		return ret;
	sregs.cs = flat_segment(0x08, 0xb);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat_segment(0x10, 0x3);
	sregs.cr0 |= 1;
	return vmtest_ioctl(fd, KVM_SET_SREGS, &sregs);
}

static int set_up(struct vcpu *vcpu, int kvm, int vm)
{
	void *run;
	int ret;

	vcpu->fd = vmtest_ioctl_value(vm, KVM_CREATE_VCPU, 0);
	if (vcpu->fd < 0)
		return vcpu->fd;
	ret = vmtest_ioctl_value(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (ret < 0)
		return ret;
	vcpu->run_size = (size_t)ret;
	run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return -errno;
	vcpu->run = run;
	return enter_protected_mode(vcpu->fd);
}

int vcpu_new(struct vcpu *vcpu, int kvm, int vm)
{
	int ret;

	*vcpu = (struct vcpu){ .fd = -1 };
	ret = set_up(vcpu, kvm, vm);
	if (ret < 0)
		vcpu_free(vcpu);
	return ret;
}

void vcpu_free(struct vcpu *vcpu)
{
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_size);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	*vcpu = (struct vcpu){ .fd = -1 };
}

/* A completion that waits in an io_uring of this thread interrupts without a signal. */
int vcpu_run(struct vcpu *vcpu)
{
	int ret;

	vcpu->run->exit_reason = KVM_EXIT_UNKNOWN;
	do
		ret = vmtest_ioctl_value(vcpu->fd, KVM_RUN, 0);
	while (ret == -EINTR);
	return ret < 0 ? ret : (int)vcpu->run->exit_reason;
}
