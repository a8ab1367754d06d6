/* SPDX-License-Identifier: MIT */
/* A growing array of pointers. */
#include "sim.h"

int sim_vec_insert(struct sim_vec *vec, size_t at, void *item)
{
	if (vec->n == vec->cap) {
		size_t cap = vec->cap ? vec->cap * 2 : 8;
		void **v = realloc(vec->v, cap * sizeof(*v));

		if (!v)
			return -ENOMEM;
		vec->v = v;
		vec->cap = cap;
	}
	memmove(vec->v + at + 1, vec->v + at, (vec->n - at) * sizeof(*vec->v));
	vec->v[at] = item;
	vec->n++;
	return 0;
}

void sim_vec_remove(struct sim_vec *vec, size_t at, size_t count)
{
	memmove(vec->v + at, vec->v + at + count, (vec->n - at - count) * sizeof(*vec->v));
	vec->n -= count;
}

void sim_vec_free(struct sim_vec *vec)
{
	free(vec->v);
	*vec = (struct sim_vec){ 0 };
}
