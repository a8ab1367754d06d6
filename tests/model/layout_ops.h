/* SPDX-License-Identifier: MIT */
/* Operations on layouts, each made on the library and on naive arrays of one byte per frame, and compared. */
#ifndef LAYOUT_OPS_H
#define LAYOUT_OPS_H

#include <pfnbuf.h>

#define OPS_LAYOUTS 4

enum op_kind {
	OP_SET,
	OP_SET_STARVED, /* set, with the z-th allocation failing; then again with memory */
	OP_GET,
	OP_TEST,
	OP_NEXT,
	OP_COUNT,
	OP_COPY,
	OP_DIFF,
	OP_EQUAL,
	OP_INTERSECT,
	OP_SLICE,
	OP_SHIFT,
	OP_BUILD,
	OP_TEXT,
	OP_KINDS,
};

/* Any values make a valid operation: they are reduced to what there is. So a fuzzer may fill it with any bytes. */
struct op {
	uint8_t kind;
	uint8_t a; /* the layout that the operation is made on */
	uint8_t b; /* the other, where it takes two */
	uint8_t vis;
	uint32_t x; /* first frame */
	uint32_t y; /* frames, less one */
	uint32_t z;
};

/* Deliberate errors between the operation and the library, which a test that can fail must find. */
enum ops_sabotage {
	SABOTAGE_NONE,
	SABOTAGE_SHORT_SET, /* a set across a chunk's edge misses its last frame */
	SABOTAGE_LEAKY_SET, /* a set of 3 frames or more also changes the frame in front of it */
	SABOTAGE_DEAD_COPY, /* a copy is made of the layout's first half only */
	SABOTAGE_KINDS,
};

struct ops_world {
	unsigned geometry; /* reduced to what there is */
	enum ops_sabotage sabotage;
};

/* What went wrong. */
struct ops_failure {
	size_t op;
	char text[256];
};

/* Do the operations on fresh layouts. False, with *failure filled, if the library and the arrays disagree. */
bool ops_run(const struct ops_world *world, const struct op *ops, size_t n,
	     struct ops_failure *failure);

/* How many frames a geometry has. */
uint64_t ops_frames(unsigned geometry);

/* How many geometries there are. */
unsigned ops_geometries(void);

/* One line for people. */
void ops_print(const struct ops_world *world, const struct op *op, char *buf, size_t size);

#endif /* LAYOUT_OPS_H */
