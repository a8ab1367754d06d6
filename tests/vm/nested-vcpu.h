/* SPDX-License-Identifier: MIT */
#ifndef TESTS_VM_NESTED_VCPU_H
#define TESTS_VM_NESTED_VCPU_H

/* The virtual CPU that runs the nested guest (nested-guest.c), for whoever handles its exits. */

#include <stddef.h>

#include "nested.h"

struct kvm_run;

struct nested {
	int vcpu; /* owned, like the next */
	struct kvm_run *run;
	size_t run_size;
	unsigned char *ram; /* what is at NESTED_RAM, the caller's */
	volatile struct nested_page *page;
};

/* Load the guest from its ELF file, and make vCPU 0 stand at its entry: 0 or a negative errno. */
int nested_start(struct nested *nested, int kvm, int vm, void *ram, const char *path);
void nested_stop(struct nested *nested);

/* Run up to the next exit: its KVM_EXIT_* reason, or what KVM_RUN failed with (and run->exit_reason tells more). */
int nested_run(struct nested *nested);

#endif
