/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FLOW_H
#define TESTS_FLOW_H

/*
 * Whole flows through the public interface over the simulated kernel.
 *
 * A flow is a function that takes a world, makes calls in an order that a VMM would, and asserts what
 * must hold after each. It returns 0, or at once the negative errno of the first call that failed.
 * Without trouble it must return 0; the sweep runs the same function with every single call of it
 * failing in turn, and looks at what is left.
 */

#include "want.h"

/* What a flow can put into its machine. */
#define BAR_DEVICE  "0000:01:00.0" /* FLR by both capabilities, D3hot, BAR 2 of 1 MiB, BAR 4 I/O */
#define DMA_DEVICE  "0000:02:00.0" /* no reset at all */
#define VF_DEVICE   "0000:03:00.0" /* no memory decode bit */
#define BAD_RESET   "0000:04:00.0" /* its reset revokes and fails */
#define SLOT_FIRST  "0000:05:00.0" /* shares a slot with ... */
#define SLOT_SECOND "0000:05:00.1"
#define NO_DRIVER   "0000:06:00.0"
#define NO_CDEV	    "0000:07:00.0"
#define NO_GROUP    "0000:08:00.0"
#define NO_ACCESS   "0000:09:00.0"
#define NO_DMABUF   "0000:0a:00.0"
#define NO_RESET    "0000:0b:00.0"

#define BAR	 2
#define BAR_SIZE UINT64_C(0x100000)
#define IOVA	 UINT64_C(0x40000000)
#define SLICE	 UINT64_C(0x10000) /* offset and length of the slice that flows export */

#define MAP_FIXED_RW (PFNBUF_MAP_READ | PFNBUF_MAP_WRITE | PFNBUF_MAP_FIXED)

/* What a flow has made. world_release() ends what is not NULL; a flow may end it before. */
struct world {
	struct pfnbuf_sim *sim;
	bool plugged[16];
	struct pfnbuf_sim_counts at_start;
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_device *device; /* the one whose BAR it is about */
	struct pfnbuf_device *dma;    /* the one that reaches it */
	struct pfnbuf_device *other;
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_ioas *ioas2;
	struct pfnbuf_buf *buf;
	struct pfnbuf_buf *buf2;
	struct pfnbuf_vm *vm;
	void *memory;	   /* of this process, two pages */
	int fd;		   /* of a simulated or real file that the flow opened itself; -1: none */
	bool failing;	   /* a call fails: what only success allows is not asserted */
	uint64_t fails_at; /* ... the one with this number, of pfnbuf_sim_calls() */
	bool unseen;	   /* something was done that the library cannot see */
	unsigned warnings;
	char warning[512]; /* the last one */
};

/* The machine has BAR_DEVICE. */
void world_init(struct world *w);
/* Put a device into the machine, or all with NULL; open_bound() does for what it opens. */
void world_plug(struct world *w, const char *bdf);
/* Open the world's context. Errnos of pfnbuf_ctx_new(). */
int world_open(struct world *w, uint32_t max_events);
void world_release(struct world *w);
void world_fini(struct world *w);
/* Everything that can leak is as it was. */
void world_assert_counts(const struct world *w);

typedef int flow_fn(struct world *w);

/* Run a flow without trouble: it succeeds, warns of nothing and leaves nothing. */
void flow_run(flow_fn *flow);
/* Run it once for each of its calls and each of a list of errnos, with that call failing so. */
void flow_sweep(flow_fn *flow);
/* A cmocka teardown: says at which call of a sweep an assertion failed. */
int flow_name_failed_run(void **state);

/* For a flow NAME: test_NAME and test_NAME_sweep. */
#define FLOW_TESTS(name)                                                                           \
	static void test_##name(void **state)                                                      \
	{                                                                                          \
		(void)state;                                                                       \
		flow_run(name);                                                                    \
	}                                                                                          \
	static void test_##name##_sweep(void **state)                                              \
	{                                                                                          \
		(void)state;                                                                       \
		flow_sweep(name);                                                                  \
	}
#define FLOW_ENTRIES(name)                                                                         \
	cmocka_unit_test(test_##name),                                                             \
		cmocka_unit_test_teardown(test_##name##_sweep, flow_name_failed_run)

/* Leave the flow with what a call failed with. */
#define TRY(call)                                                                                  \
	do {                                                                                       \
		const int try_ = (call);                                                           \
		if (try_ < 0)                                                                      \
			return flow_failed(w, try_, #call);                                        \
	} while (0)

int flow_failed(struct world *w, int code, const char *call);

/* Leave the flow where a step of it, which is a function like it, was left. */
#define STEP(step)                                                                                 \
	do {                                                                                       \
		const int step_ = (step);                                                          \
		if (step_ < 0)                                                                     \
			return step_;                                                              \
	} while (0)

/*
 * The call is refused with this errno. Where the sweep made a kernel call in it fail the refusal is
 * that one's, whatever it says, and the flow ends.
 */
#define REFUSED(call, error)                                                                       \
	do {                                                                                       \
		const bool failed_before_ = flow_has_failed(w);                                    \
		const int refused_ = (call);                                                       \
		if (refused_ < 0 && flow_has_failed(w) != failed_before_)                          \
			return flow_failed(w, refused_, #call);                                    \
		if (refused_ != -(error))                                                          \
			flow_not_refused(refused_, -(error), #call);                               \
	} while (0)

/* Whether the call that the sweep makes fail has been made. */
bool flow_has_failed(const struct world *w);
void flow_not_refused(int code, int wanted, const char *call);

/* ---- steps that flows share; they fail as the library's calls do ---- */

int open_bound(struct world *w, const char *bdf, struct pfnbuf_device **devicep);
/* Device and DMA device bound, the latter attached to the IOAS and bus master. */
int open_pair(struct world *w, const char *bdf);
/* SLICE+SLICE of the BAR exported and mapped at IOVA. */
int export_and_map(struct world *w);
/* open_pair() and export_and_map(). */
int open_and_map(struct world *w, const char *bdf);
/* What DMA to the mapped slice does: 0, or -EFAULT. Where it lands, the BAR has the bytes. */
int dma(struct world *w, uint8_t fill);
/*
 * The buffer's state. A call that fails inside may leave a buffer SUSPENDED that is LIVE, never the
 * other way round: then the flow ends with -EAGAIN.
 */
int want_state(struct world *w, const struct pfnbuf_buf *buf, enum pfnbuf_state state);
/* Position of a capability in configuration space, or -ENOENT. */
int find_cap(struct pfnbuf_device *device, uint8_t id);
/* Dead areas of an IOAS in the library's ledger; *total: all of them. */
unsigned dead_areas(struct pfnbuf_ioas *ioas, unsigned *total);

#endif
