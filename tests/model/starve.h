/* SPDX-License-Identifier: MIT */
/* Memory that runs out on demand: link with starve.c and starve_link_args of the meson file. */
#ifndef STARVE_H
#define STARVE_H

#include <stdbool.h>
#include <stddef.h>

/* From now on @n allocations succeed and every later one fails. */
void starve_from(size_t n);

/* From now on @n allocations succeed, the next one fails, and every later one succeeds. */
void starve_at(size_t n);

/* Allocations succeed again. */
void starve_end(void);

/*
 * The same for a while: what is left to succeed is left afterwards. Returns whether it was
 * starving.
 */
bool starve_pause(void);
void starve_resume(bool was_starving);

#endif /* STARVE_H */
