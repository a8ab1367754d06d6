/* SPDX-License-Identifier: MIT */
#ifndef PFNBUF_TESTS_TRIED_H
#define PFNBUF_TESTS_TRIED_H

/*
 * A function of pfnbuf.h, which @call begins with, failed with @code, as it should: documented.py holds
 * what was seen so against what pfnbuf.h promises. Calls of anything else are passed over.
 */
void note_tried(const char *call, int code);

#endif /* PFNBUF_TESTS_TRIED_H */
