/* SPDX-License-Identifier: MIT */
/*
 * Windows where all cmocka tests place them, what they are asked to show, and the steps that it
 * takes.
 */
#ifndef PLACED_H
#define PLACED_H

#include "rig.h"

#define GPA  UINT64_C(0x100000000)
#define IOVA UINT64_C(0x40000000)

/* A window's memory begins here in its buffers, in pages, so that an offset that is forgotten shows. */
#define SKIPPED	      UINT64_C(4) /* of a memfd */
#define SKIPPED_GUEST UINT64_C(2) /* of a guest_memfd */

/* A cmocka setup and teardown: *state is a rig, whose VM is of this type. */
int setup_rig(void **state, uint64_t vm_type);
int teardown_rig(void **state);

/* What the library logged since the rig was opened: how often, and the last. */
struct logged {
	unsigned n;
	enum pfnbuf_log_level level;
	char text[512];
};
extern struct logged logged;

/* In the rig's VM at GPA, and in its IOAS at IOVA. */
struct pfnbuf_place place_of(const struct rig *rig);

/* The pictures are those of rig_layout(). */
void set_layout(struct pfnbuf_window *w, const char *picture);

/*
 * The steps of a plan of a window at GPA and IOVA, a short word each, in pages: "U1+2:2" is an UNMAP
 * of pages 1 and 2 that takes two areas, "V0+2>4" moves the slot of pages 0 and 1 to page 4, "A1+2p"
 * makes pages 1 and 2 private, and "X1+2m" discards them in the memfd. Overwritten by the next call.
 */
const char *steps_of(const struct pfnbuf_plan *plan);

/* The plan to get to @to, after @from was set unless it is NULL, has these steps and can be applied. */
void plan_is(struct pfnbuf_window *w, const char *from, const char *to, const char *steps);

/* The call fails with -@code, which is noted for tests/unit/documented.py. */
#define assert_refused(call, code) refused(#call, call, code)
void refused(const char *call, int result, int code);
/* The plan to move it there has these steps. */
void move_is(struct pfnbuf_window *w, uint64_t gpa, uint64_t iova, const char *steps);

#endif /* PLACED_H */
