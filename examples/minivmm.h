/* SPDX-License-Identifier: MIT */
/* What minivmm.c and the guest that it boots, minivmm-guest.c, have agreed on. */
#ifndef EXAMPLES_MINIVMM_H
#define EXAMPLES_MINIVMM_H

/*
 * The guest's memory. It all is private, but for the low part: that is where the guest is loaded,
 * and where it runs, since a SW_PROTECTED VM has no way to put code into private memory.
 */
#define RAM_SIZE 0x1000000u /* from address 0 on */
#define LOW_SIZE 0x100000u
#define STACK	 0x90000u /* grows down */

/* The device's BAR 0: an NVMe controller's registers. */
#define BAR_ADDRESS 0xe0000000u

/* Ports. */
#define PORT_CONSOLE 0x3f8 /* 8 bits: a character */
#define PORT_RESET   0x600 /* 32 bits: reset the device */
#define PORT_END     0x604 /* 32 bits: the guest has done what it does; 0: all was well */

/* In eax at the entry: which instruction makes a hypercall. */
#define HYPERCALL_VMCALL  0
#define HYPERCALL_VMMCALL 1

#endif
