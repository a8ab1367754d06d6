/* SPDX-License-Identifier: MIT */
#ifndef TESTS_VM_CONVERSIONS_H
#define TESTS_VM_CONVERSIONS_H

/*
 * A VM with a window of RAM that converts, over whichever kernel: it takes what a guest's exits say, and keeps a
 * record of what the library's ledger came to, so that two kernels can be compared.
 */

#include <pfnbuf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "history.h"

#define CONVERSIONS_GPA	 UINT64_C(0x100000)
#define CONVERSIONS_IOVA UINT64_C(0x2000000)
#define CONVERSIONS_SIZE ((uint64_t)HISTORY_PAGES * HISTORY_PAGE)

/* Where the shared memory is, and the private. */
enum backing {
	BACKING_MEMFD,	   /* a memfd, and a guest_memfd */
	BACKING_ANONYMOUS, /* memory of this process, and a guest_memfd */
	BACKING_IN_PLACE,  /* a guest_memfd is both; all is shared, and stays so */
};

/* Kernel calls that a conversion can make. */
enum conversions_call {
	CONVERSIONS_MAP,
	CONVERSIONS_UNMAP,
	CONVERSIONS_SLOT,
	CONVERSIONS_ATTRIBUTES,
	CONVERSIONS_DISCARD,
	CONVERSIONS_OTHER,
	CONVERSIONS_CALLS,
};

/* What the ledger came to, a text for each hundred steps or whatever the run looks after. */
struct record {
	char **texts;
	size_t n;
	uint64_t digest; /* of all */
};

struct conversions {
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_vm *vm;
	struct pfnbuf_buf *memfd, *guest_memfd;
	unsigned char *shared; /* what the VMM sees of the shared memory */
	enum backing backing;
	struct pfnbuf_window *window;
	struct history history; /* what everything should be */
	uint64_t calls[CONVERSIONS_CALLS];
	struct record record;
};

/*
 * Let the nth call of that kind, from 1, of all runs from now on say that it was made, and not be made: to see
 * that it is noticed. 0: none.
 */
void conversions_plant(enum conversions_call kind, uint64_t nth);

/*
 * Open a context over @kernel, an IOAS and a VM that suits the backing; then, once devices are attached, place
 * the window: private but for its holes, and shared in place.
 */
void conversions_open(struct conversions *c, const struct pfnbuf_kernel *kernel,
		      enum backing backing, uint32_t seed);
void conversions_place(struct conversions *c, uint64_t granule);
void conversions_close(struct conversions *c);

/*
 * The guest asks for the next step of the history in these words (KVM_HC_MAP_GPA_RANGE): explain, convert, and
 * say what to answer. That they are the next step's is checked.
 */
uint64_t conversions_hypercall(struct conversions *c, uint64_t nr, const uint64_t args[4]);

/* The ledger agrees with the history, and goes into the record. */
void conversions_check_ledger(struct conversions *c);

/* The same history on the simulated kernel, memory checked page by page after each @every steps. */
void conversions_simulate(enum backing backing, uint32_t seed, uint32_t steps, uint32_t every,
			  uint64_t granule, struct record *record);

/* The records are the same. */
void record_compare(const struct record *a, const struct record *b);
void record_free(struct record *record);

#endif
