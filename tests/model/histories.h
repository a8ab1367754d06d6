/* SPDX-License-Identifier: MIT */
/*
 * Random histories that can be had again. Each has a seed, one more than the one before it:
 * PFNBUF_HISTORY_SEED is the first, and PFNBUF_HISTORY_STEPS says how many steps are made in all.
 */
#ifndef HISTORIES_H
#define HISTORIES_H

#include <stdint.h>

#define HISTORY_LEN 200 /* steps */

/* The one that runs. Where the program aborts, it is told of both. */
extern uint64_t history_seed, history_step;

/* A number below @below, of which *random is the state. */
uint64_t draw_below(uint64_t *random, uint64_t below);

/* Run histories, @run one of them. Returns how many there were. */
uint64_t run_histories(void (*run)(void), uint64_t default_steps);

#endif
