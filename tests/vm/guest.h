/* SPDX-License-Identifier: MIT */
#ifndef TESTS_VM_GUEST_H
#define TESTS_VM_GUEST_H

/*
 * A guest of three bytes: one virtual CPU in protected mode without paging that reads or writes one
 * 32-bit word at a guest physical address and halts. What it can reach is what the VM's memslots and
 * attributes say, so it tells what a real guest would see.
 */

#include <stdint.h>

#include "vcpu.h"

struct guest {
	int vm;		  /* the caller's */
	struct vcpu vcpu; /* its run is the exit of the last access, for who wants details */
	unsigned slot;
	uint64_t code_gpa;
	void *code;
};

/* Takes one memslot for a page of code at code_gpa, and the vCPU id 0. 0 or a negative errno. */
int guest_start(struct guest *guest, int kvm, int vm, unsigned slot, uint64_t code_gpa);
void guest_stop(struct guest *guest);

/*
 * 0: the access was made. Positive: the KVM_EXIT_* reason why it was not (KVM_EXIT_MMIO where there is no
 * memslot). Negative: what KVM_RUN failed with; guest->vcpu.run tells more. Addresses lie below 4 GiB.
 */
int guest_write32(struct guest *guest, uint64_t gpa, uint32_t value);
int guest_read32(struct guest *guest, uint64_t gpa, uint32_t *value);

#endif
