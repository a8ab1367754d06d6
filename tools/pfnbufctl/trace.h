/* SPDX-License-Identifier: MIT */
/* A kernel door that lets everything through and tells of each call. */
#ifndef PFNBUFCTL_TRACE_H
#define PFNBUFCTL_TRACE_H

#include <stdio.h>

#include <pfnbuf.h>

struct trace {
	struct pfnbuf_kernel kernel; /* hand this to a context */
	const struct pfnbuf_kernel *below;
	FILE *file;
	bool json;
	bool colour;
	struct {
		unsigned long request;
		const char *name;
	} proposed[4]; /* what the profile names; ended by request 0 where there are fewer */
};

void trace_init(struct trace *trace, const struct pfnbuf_kernel *below, FILE *file, bool json,
		bool colour);

/* The calls that a profile names have names from now on: their numbers alone mean nothing. */
void trace_set_profile(struct trace *trace, const struct pfnbuf_profile *profile);

#endif /* PFNBUFCTL_TRACE_H */
