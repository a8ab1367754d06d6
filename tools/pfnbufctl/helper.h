/* SPDX-License-Identifier: MIT */
/* Programs that do what no kernel interface has: helper=PROGRAM. */
#ifndef PFNBUFCTL_HELPER_H
#define PFNBUFCTL_HELPER_H

#include <signal.h>
#include <stddef.h>

#include "text.h"

/* What a program's exit code says. */
enum helper_code {
	HELPER_DONE = 0,
	HELPER_NOT_DONE = 1, /* for certain */
	HELPER_UNKNOWN = 2,  /* and every code that is not here, and an end by a signal */
	HELPER_NOT_YET = 3,  /* nothing was done; worth another try */
};

enum { HELPER_ARGUMENTS = 8 };

/*
 * Run @argv (ended by NULL; argv[0] is looked for in PATH) and wait for it. What it prints goes into @out, up to @max
 * bytes, or with NULL nowhere. Returns its code, or a negative errno where it did not run. A stop asks it to end.
 */
int helper_run(const char *const *argv, struct text *out, size_t max,
	       const volatile sig_atomic_t *stop);

#endif /* PFNBUFCTL_HELPER_H */
