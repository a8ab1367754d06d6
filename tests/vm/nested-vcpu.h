/* SPDX-License-Identifier: MIT */
#ifndef TESTS_VM_NESTED_VCPU_H
#define TESTS_VM_NESTED_VCPU_H

/* The virtual CPU that runs the nested guest (nested-guest.c), for whoever handles its exits. */

#include "nested.h"
#include "vcpu.h"

struct nested {
	struct vcpu vcpu;   /* owned */
	unsigned char *ram; /* what is at NESTED_RAM, the caller's */
	volatile struct nested_page *page;
};

/* Load the guest from its ELF file, and make vCPU 0 stand at its entry: 0 or a negative errno. */
int nested_start(struct nested *nested, int kvm, int vm, void *ram, const char *path);
void nested_stop(struct nested *nested);

#endif
