/* SPDX-License-Identifier: MIT */
/* What the benchmarks share. */
#ifndef TESTS_BENCH_H
#define TESTS_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define PAGE UINT64_C(4096)
#define MIB  (UINT64_C(1) << 20)
#define GIB  (UINT64_C(1) << 30)
#define TIB  (UINT64_C(1) << 40)

/* End the program with what went wrong, unless @result is positive or 0. */
#define CHECK(result) check_result((result), #result)
int check_result(int result, const char *call);

uint64_t now(void);		 /* in nanoseconds */
double seconds(clockid_t clock); /* that a processor took */
uint64_t random_u64(void);	 /* the same numbers in each run */
/* These sort the values. */
uint64_t median_u64(uint64_t *values, size_t n);
double median(double *values, size_t n);

#endif
