/* SPDX-License-Identifier: MIT */
#ifndef TESTS_DIFFERENTIAL_WORLD_H
#define TESTS_DIFFERENTIAL_WORLD_H

/*
 * Two kernels, one history. A world is a kernel behind the table of calls together with the objects
 * that a history has made there; an operation names objects by their place in the world, never by fd
 * or id, so that the same operation can be carried out in two worlds and its results compared.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pfnbuf.h>

enum {
	NR_DEVICES = 5,
	NR_IOMMUFDS = 2,
	NR_IOASES = 4,
	NR_HWPTS = 2,
	NR_DMABUFS = 4,
	NR_MEMFDS = 2,
	NR_EVENTFDS = 2,
	NR_VMS = 2,
	NR_GMEMS = 3,
	NR_MAPPINGS = 2,
};

/* A device that both worlds have: the same BAR, the same capabilities. */
struct device {
	char bdf[16];
	unsigned bar; /* the one that histories use */
	uint64_t bar_size;
	unsigned pm, exp; /* offsets of the capabilities in configuration space; 0: none */
	bool resets;	  /* VFIO_DEVICE_RESET is worth the time it takes */
};

struct world {
	const char *name;
	const struct pfnbuf_kernel *kernel;
	struct device devices[NR_DEVICES];
	unsigned char
		*memory; /* of this process, aligned the same in each world; MEMORY_SIZE bytes */

	/* What the history has made: fds, or -1; ids, or 0. */
	int device_fds[NR_DEVICES];
	uint32_t devids[NR_DEVICES];
	uint32_t attached[NR_DEVICES]; /* the HWPT that the last ATTACH named */
	int iommufds[NR_IOMMUFDS];
	uint32_t ioases[NR_IOASES], hwpts[NR_HWPTS];
	unsigned ioas_owner[NR_IOASES], hwpt_owner[NR_HWPTS]; /* which iommufd */
	int dmabufs[NR_DMABUFS];
	int memfds[NR_MEMFDS];
	int eventfds[NR_EVENTFDS];
	int vms[NR_VMS];
	int kvm_vfios[NR_VMS]; /* the kvm-vfio device of each */
	int gmems[NR_GMEMS];
	void *mappings[NR_MAPPINGS];
	uint64_t mapping_lengths[NR_MAPPINGS];
};

#define MEMORY_SIZE 0x400000

/* An operation: what it does, to which objects, with which numbers. */
struct op {
	unsigned code;
	uint32_t a, b, c;
	uint64_t x, y, z;
};

/* What an operation showed: its return value (1 for a new fd or id) and what came back with it. */
struct outcome {
	int64_t ret;
	uint64_t out[4];
};

/* A random operation. */
struct op op_random(uint64_t *seed);
/* The operations that give a history something to work on; returns how many, at most @max. */
size_t op_prelude(struct op *ops, size_t max);
struct outcome op_run(struct world *world, const struct op *op);
/* "map_va ioas=1 offset=0x1000 ..." */
void op_print(const struct op *op, char *text, size_t size);

/* Find the devices' capabilities; make the memory. 0 or a negative errno. */
int world_init(struct world *world);
void world_fini(struct world *world);
/* Close and unmap all that the history has made. */
void world_reset(struct world *world);

#endif
