/* SPDX-License-Identifier: MIT */
#include "starve.h"

#include <stdbool.h>
#include <stdlib.h>

/* Names that the linker's --wrap gives. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

static bool starving;
static bool once;
static size_t left;

void starve_from(size_t n)
{
	starving = true;
	once = false;
	left = n;
}

void starve_at(size_t n)
{
	starve_from(n);
	once = true;
}

void starve_end(void)
{
	starving = false;
}

bool starve_pause(void)
{
	bool was_starving = starving;

	starving = false;
	return was_starving;
}

void starve_resume(bool was_starving)
{
	starving = was_starving;
}

static bool refuse(void)
{
	if (!starving)
		return false;
	if (!left) {
		starving = !once;
		return true;
	}
	left--;
	return false;
}

void *__wrap_malloc(size_t size)
{
	return refuse() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __real_calloc(n, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return refuse() ? NULL : __real_reallocarray(p, n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return refuse() ? NULL : __real_realloc(p, size);
}
