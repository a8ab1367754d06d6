/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FLOW_WANT_H
#define TESTS_FLOW_WANT_H

/* What all flow tests stand on: cmocka, the library, and its simulated kernel. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pfnbuf-sim.h>

#define PAGE UINT64_C(0x1000)

#define WANT(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fail_msg("%s:%d: not so: %s (last error: %s)", __FILE__, __LINE__,         \
				 #condition, pfnbuf_last_error());                                 \
	} while (0)

#endif
