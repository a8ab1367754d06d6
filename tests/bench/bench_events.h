/* SPDX-License-Identifier: MIT */
/* The figures of waiting, which bench_window prints among its own. */
#ifndef BENCH_EVENTS_H
#define BENCH_EVENTS_H

void bench_events(void);

#endif /* BENCH_EVENTS_H */
