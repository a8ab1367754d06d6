/* SPDX-License-Identifier: MIT */
/* A set of numbers as sorted runs. */
#include <stdlib.h>
#include <string.h>

#include "run.h"

/* The first run that ends above @at. */
static size_t first_above(const struct spans *spans, uint64_t at)
{
	size_t i = 0;

	while (i < spans->n && spans->list[i].end <= at)
		i++;
	return i;
}

bool spans_find(const struct spans *spans, uint64_t start, uint64_t end, bool on, struct span *run)
{
	size_t i = first_above(spans, start);
	uint64_t next;

	if (start >= end)
		return false;
	if (!on) { /* a run that is in the set */
		if (i == spans->n || spans->list[i].start >= end)
			return false;
		run->start = spans->list[i].start > start ? spans->list[i].start : start;
		run->end = spans->list[i].end < end ? spans->list[i].end : end;
		return true;
	}
	if (i < spans->n && spans->list[i].start <= start)
		start = spans->list[i++].end;
	if (start >= end)
		return false;
	next = i < spans->n ? spans->list[i].start : end;
	*run = (struct span){ start, next < end ? next : end };
	return true;
}

static bool insert(struct spans *spans, size_t at, struct span span)
{
	struct span *list = realloc(spans->list, (spans->n + 1) * sizeof(*list));

	if (!list)
		return false;
	spans->list = list;
	memmove(list + at + 1, list + at, (spans->n - at) * sizeof(*list));
	list[at] = span;
	spans->n++;
	return true;
}

static void drop(struct spans *spans, size_t at)
{
	memmove(spans->list + at, spans->list + at + 1, (spans->n - at - 1) * sizeof(*spans->list));
	spans->n--;
}

static bool take_out(struct spans *spans, uint64_t start, uint64_t end)
{
	size_t i = first_above(spans, start);

	while (i < spans->n && spans->list[i].start < end) {
		struct span *span = &spans->list[i];
		struct span tail = { end, span->end };

		if (span->start < start && span->end > end) {
			if (!insert(spans, i + 1, tail))
				return false;
			spans->list[i].end = start;
			return true;
		}
		if (span->start >= start && span->end <= end) {
			drop(spans, i);
			continue;
		}
		if (span->start < start)
			span->end = start;
		else
			span->start = end;
		i++;
	}
	return true;
}

bool spans_set(struct spans *spans, uint64_t start, uint64_t end, bool on)
{
	size_t i;

	if (!take_out(spans, start, end))
		return false;
	if (!on)
		return true;
	i = first_above(spans, start);
	if (i && spans->list[i - 1].end == start) {
		start = spans->list[i - 1].start;
		drop(spans, --i);
	}
	if (i < spans->n && spans->list[i].start == end) {
		end = spans->list[i].end;
		drop(spans, i);
	}
	return insert(spans, i, (struct span){ start, end });
}
