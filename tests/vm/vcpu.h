/* SPDX-License-Identifier: MIT */
#ifndef TESTS_VM_VCPU_H
#define TESTS_VM_VCPU_H

/* A virtual CPU in flat 32-bit protected mode without paging: its addresses are guest physical ones. */

#include <stddef.h>

struct kvm_run;

struct vcpu {
	int fd;
	struct kvm_run *run;
	size_t run_size;
};

/* vCPU 0 of a VM: 0 or a negative errno, and then there is nothing to free. */
int vcpu_new(struct vcpu *vcpu, int kvm, int vm);
/* Also one that is zero but for an fd of -1. */
void vcpu_free(struct vcpu *vcpu);

/* Run up to the next exit: its KVM_EXIT_* reason, or what KVM_RUN failed with (and run->exit_reason tells more). */
int vcpu_run(struct vcpu *vcpu);

#endif
