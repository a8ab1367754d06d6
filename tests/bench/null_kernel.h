/* SPDX-License-Identifier: MIT */
/* A kernel that says yes to everything and keeps nothing: what is left is the library. */
#ifndef TESTS_BENCH_NULL_KERNEL_H
#define TESTS_BENCH_NULL_KERNEL_H

#include <pfnbuf.h>

void null_kernel(struct pfnbuf_kernel *kernel);
/* How many calls that change something this thread made. */
uint64_t null_kernel_changes(void);

#endif
