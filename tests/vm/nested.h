/* SPDX-License-Identifier: MIT */
#ifndef TESTS_VM_NESTED_H
#define TESTS_VM_NESTED_H

/*
 * What the nested guest (nested-guest.c) and the program that runs it have agreed on. The guest runs in 32-bit
 * protected mode without paging, so that all its addresses are guest physical ones.
 */

#include <stdint.h>

/*
 * Memory that stays shared: the guest's code and stack, and a page for talking. Whoever loads it reads the
 * entry point from its ELF header.
 */
#define NESTED_RAM     0x0u
#define NESTED_RAM_END 0x40000u
#define NESTED_STACK   NESTED_RAM_END /* grows down */
#define NESTED_PAGE    0x1000u

/* Ports that the guest writes 32 bits to. It goes on when the write has been answered. */
#define NESTED_PORT_CHECK   0x510 /* so many steps are made: look at everything */
#define NESTED_PORT_CHECKED 0x514 /* the guest has looked, too: nested_page tells */
#define NESTED_PORT_DONE    0x518 /* the end; 0: as it should be */

/* Words of a page that others write to. */
#define NESTED_CELL_DMA	  16 /* two: before a check, a device's DMA to every page */
#define NESTED_CELL_HOST  32 /* before a check, the VMM to its own memory for every page */
#define NESTED_CELL_EDU	  64 /* at any time, a device's DMA to one page */
#define NESTED_EDU_WORDS  64
#define NESTED_DMA_MASK_0 0xffff0000u /* what NESTED_CELL_DMA keeps of what is sent there … */
#define NESTED_DMA_MASK_1 0x0000ffffu /* … in each word */

/* Any page but this one. */
#define NESTED_NO_PAGE 0xffffffffu

/* What is wrong where: the first that was found. */
struct nested_fault {
	uint32_t step, page, word;
	uint32_t got, want;
};

struct nested_page {
	/* from the VMM */
	uint32_t vmmcall; /* the processor is AMD's */
	uint32_t seed;
	uint32_t steps;
	uint32_t every;	 /* steps from a check to the next */
	uint32_t window; /* its guest physical address */
	uint32_t dma[2]; /* what reaches NESTED_CELL_DMA of the shared pages before a check */
	uint32_t host;	 /* and NESTED_CELL_HOST */
	uint32_t
		edu; /* the page that has DMA under way: while it is shared, it may arrive or not */
	uint32_t all_shared; /* at the start, instead of all private */
	/* from the guest */
	uint32_t step;
	uint32_t faults; /* how often something was not as it should be */
	struct nested_fault first;
	uint32_t holes;				    /* read */
	uint32_t refused;			    /* hypercalls that did not return 0 */
	uint64_t bytes __attribute__((aligned(8))); /* compared; 32-bit code aligns it otherwise */
};

#endif
