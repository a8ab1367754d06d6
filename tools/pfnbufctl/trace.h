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
};

void trace_init(struct trace *trace, const struct pfnbuf_kernel *below, FILE *file, bool json,
		bool colour);

#endif /* PFNBUFCTL_TRACE_H */
