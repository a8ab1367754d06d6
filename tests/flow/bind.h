/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FLOW_BIND_H
#define TESTS_FLOW_BIND_H

/*
 * A confidential guest with a device, over a simulated kernel with one of the proposed interfaces:
 * two windows of BARs in the guest and in an IOAS, a second device that does DMA there, and a report
 * with every kind of page.
 */

#include "tests/unit/tried.h"
#include "want.h"

#define TDI	 "0000:01:00.0" /* FLR, D3hot; BAR 0 with the MSI-X structures, BAR 2 */
#define NEIGHBOR "0000:01:00.1" /* shares its slot */
#define ENGINE	 "0000:02:00.0" /* does DMA */
#define NR_PAGES 16
#define BAR_SIZE (NR_PAGES * PAGE)
#define GPA(i)	 (UINT64_C(0xe0000000) + (i)*UINT64_C(0x100000))
#define IOVA(i)	 (UINT64_C(0x40000000) + (i)*UINT64_C(0x100000))

#define NR_WINDOWS 2

/* Those that can bind. */
#define NR_PROFILES 3
extern const char *const guest_profiles[NR_PROFILES];

struct guest {
	struct pfnbuf_sim *sim;
	const struct pfnbuf_kernel *door; /* NULL: the simulated kernel's own */
	const char *name;		  /* of the profile */
	struct pfnbuf_sim_counts at_start;
	struct pfnbuf_profile *profile;
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_device *device;
	struct pfnbuf_device *neighbor;
	struct pfnbuf_device *engine;
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_vm *vm;
	int vcpu; /* -1: none */
	struct pfnbuf_window *windows[NR_WINDOWS];
	struct pfnbuf_bind *bind;
	/* How pages look, by pfnbuf_vis: before, and by the report. */
	enum pfnbuf_vis shared[NR_WINDOWS][NR_PAGES];
	enum pfnbuf_vis reported[NR_WINDOWS][NR_PAGES];
	uint8_t digest[32];
	char *dump; /* of the state before lock */
	unsigned warnings;
	char warning[512];

	/* What the caller's functions do; those that are set are handed in. */
	struct pfnbuf_tsm_ops ops;
	struct pfnbuf_bind_opts opts;
	unsigned reports;     /* how often it was asked for */
	unsigned other_lock;  /* from this reading on it was locked again; 0: never */
	unsigned other_state; /* from this reading on it is not in RUN; 0: never */
	bool other_digest;
	bool large;    /* the report is longer than what is offered first */
	bool endless;  /* longer than is taken */
	int bind_code; /* what ops do */
	int unbind_code;
	int validate_code;
	unsigned validate_at; /* which call of it fails */
	unsigned validated;
	unsigned nr_validate;
};

/* Where the machine is: its context is open and everything is placed, shared. */
void guest_init(struct guest *g, const char *profile);
/* Without asserting; whatever was made is in @g. */
int guest_build(struct guest *g);
/* The machine alone. */
void guest_plug(struct guest *g, const char *profile);
/* In the right order, and everything is gone. */
void guest_release(struct guest *g);
void guest_fini(struct guest *g);

/* A bind with the functions in g->ops: new, lock, start, run. */
int guest_bind_new(struct guest *g);
int guest_lock(struct guest *g);
int guest_start(struct guest *g);
int guest_lock_and_start(struct guest *g);
int guest_bind_all(struct guest *g);
/* The profile's call that binds, and the one that unbinds. */
void guest_requests(const struct guest *g, unsigned long *bind, unsigned long *unbind);

/* Every page through every path: as before lock; as reported; as reported without what is private; not at all. */
enum view {
	AS_SHARED,
	AS_REPORTED,
	WITHOUT_PRIVATE,
	AS_NOTHING,
};
void guest_assert_view(struct guest *g, enum view view);
void guest_assert_no_alias(struct guest *g);
/* The kernel is what it was when guest_init() returned. */
void guest_assert_as_before(struct guest *g);
struct pfnbuf_bind_info guest_info(struct guest *g);
/* Pop all events; how many were of this type. */
unsigned guest_events(struct guest *g, enum pfnbuf_event_type type, enum pfnbuf_cause *cause);

/* Make a guest of each profile that can bind, hand it to @check, and end it. */
void guest_on_each(void (*init)(struct guest *g, const char *profile),
		   void (*check)(struct guest *g));

/* The cmocka test test_NAME does so with NAME. */
#define GUEST_TEST(name, init)                                                                     \
	static void test_##name(void **state)                                                      \
	{                                                                                          \
		(void)state;                                                                       \
		guest_on_each(init, name);                                                         \
	}

#define SUCCEEDS(call)                                                                             \
	do {                                                                                       \
		const int succeeds_ = (call);                                                      \
		if (succeeds_ < 0)                                                                 \
			fail_msg("%s:%d: %s: %s", __FILE__, __LINE__, #call, pfnbuf_last_error()); \
	} while (0)

/* Refused with this errno, of which the last error speaks. */
#define REFUSED(call, error)                                                                       \
	do {                                                                                       \
		const int refused_ = (call);                                                       \
		if (refused_ != -(error) || pfnbuf_last_error_record()->code != refused_ ||        \
		    !*pfnbuf_last_error_record()->cause)                                           \
			fail_msg("%s:%d: %s returned %s instead of %s (%s)", __FILE__, __LINE__,   \
				 #call, pfnbuf_errno_name(refused_), #error, pfnbuf_last_error()); \
		note_tried(#call, refused_);                                                       \
	} while (0)

#endif
