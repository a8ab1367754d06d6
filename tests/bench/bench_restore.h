/* SPDX-License-Identifier: MIT */
/* The library's own part of a restore, which bench_window prints among its figures. */
#ifndef BENCH_RESTORE_H
#define BENCH_RESTORE_H

void bench_restore(void);

#endif /* BENCH_RESTORE_H */
