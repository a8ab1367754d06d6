/* SPDX-License-Identifier: MIT */
/* The simulated machine as the command line describes it; the launcher and the preload read it. */
#ifndef PFNBUF_SIM_RUN_MACHINE_H
#define PFNBUF_SIM_RUN_MACHINE_H

#include <stdbool.h>

#include <pfnbuf-sim.h>

/* Lines "profile P", "device SPEC", "selftest", "hugepages": from the launcher to the program. */
#define MACHINE_VARIABLE "PFNBUF_SIM_MACHINE"

/* The device that there is where none is asked for. */
#define MACHINE_DEFAULT_DEVICE                                                                     \
	"0000:01:00.0,vendor=0x1b36,device=0x0010,bar0=16K:64,flr,pm,msix=65,msix-table=0x2000,"   \
	"pba=0x3000"

/*
 * Make it. 0, or a negative errno and what is wrong in @why: one line that names the line of
 * @description.
 */
int machine_new(struct pfnbuf_sim **simp, const char *description, char *why, size_t size);

/* Whether there are huge pages for who asks for them. */
bool machine_has_hugepages(const char *description);

#endif /* PFNBUF_SIM_RUN_MACHINE_H */
