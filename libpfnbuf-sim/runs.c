/* SPDX-License-Identifier: MIT */
/* A set of addresses as runs: sorted, disjoint, not touching. */
#include "sim.h"

/* The first run that ends above @at (or at it, with @touching): its index. */
static size_t run_index(const struct sim_runs *runs, uint64_t at, bool touching)
{
	size_t low = 0, high = runs->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		uint64_t end = runs->v[mid].last + 1;

		if (touching ? end < at : end <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool sim_runs_has(const struct sim_runs *runs, uint64_t at)
{
	size_t i = run_index(runs, at, false);

	return i < runs->n && runs->v[i].start <= at;
}

uint64_t sim_runs_end(const struct sim_runs *runs, uint64_t at)
{
	size_t i = run_index(runs, at, false);

	if (i == runs->n)
		return UINT64_MAX;
	return runs->v[i].start <= at ? runs->v[i].last + 1 : runs->v[i].start;
}

/* Replace runs [from, to) by @n others. */
static int replace(struct sim_runs *runs, size_t from, size_t to, const struct sim_range *others,
		   size_t n)
{
	size_t need = runs->n - (to - from) + n;

	if (from == to && !n)
		return 0;
	if (need > runs->cap) {
		size_t cap = need * 2;
		struct sim_range *grown = realloc(runs->v, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		runs->v = grown;
		runs->cap = cap;
	}
	memmove(runs->v + from + n, runs->v + to, (runs->n - to) * sizeof(*others));
	memcpy(runs->v + from, others, n * sizeof(*others));
	runs->n = need;
	return 0;
}

int sim_runs_add(struct sim_runs *runs, uint64_t start, uint64_t end)
{
	size_t from = run_index(runs, start, true), to = from;
	struct sim_range run = { start, end - 1, NULL };

	for (; to < runs->n && runs->v[to].start <= end; to++) {
		run.start = MIN(run.start, runs->v[to].start);
		run.last = MAX(run.last, runs->v[to].last);
	}
	return replace(runs, from, to, &run, 1);
}

int sim_runs_remove(struct sim_runs *runs, uint64_t start, uint64_t end)
{
	size_t from = run_index(runs, start, false), to = from;
	struct sim_range rest[2];
	size_t n = 0;

	for (; to < runs->n && runs->v[to].start < end; to++) {
		const struct sim_range *run = &runs->v[to];

		if (run->start < start)
			rest[n++] = (struct sim_range){ run->start, start - 1, NULL };
		if (run->last >= end)
			rest[n++] = (struct sim_range){ end, run->last, NULL };
	}
	return replace(runs, from, to, rest, n);
}

void sim_runs_free(struct sim_runs *runs)
{
	free(runs->v);
	*runs = (struct sim_runs){ 0 };
}
