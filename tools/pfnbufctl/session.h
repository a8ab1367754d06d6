/* SPDX-License-Identifier: MIT */
/* One invocation: a kernel, a context, scripts, and the way out. */
#ifndef PFNBUFCTL_SESSION_H
#define PFNBUFCTL_SESSION_H

#include "run.h"
#include "trace.h"

struct options {
	struct input {
		enum input_kind { INPUT_FILE, INPUT_LINES } kind;
		const char *text; /* path or lines */
	} * inputs;
	size_t ninputs;
	const char **defines;
	size_t ndefines;
	int nwords; /* a verb on the command line */
	char **words;
	const char *machine; /* --sim=FILE or PROFILE; NULL: the built-in one */
	const char *profile; /* name or file; NULL: none */
	bool sim;
	bool interactive;
	bool dry_run;
	bool hold;
	bool trace;
	bool json;
	bool quiet;
};

struct session {
	const struct options *options;
	struct output output;
	struct script script;
	struct run run;
	struct trace trace;
	struct pfnbuf_profile *profile;
	volatile sig_atomic_t *stop;
};

int session_main(const struct options *options);

/* hold.c: keep everything until a signal or the end of input. */
void session_hold(struct session *session);
/* prompt.c: lines from standard input. Returns the exit code. */
int session_prompt(struct session *session);

#endif /* PFNBUFCTL_SESSION_H */
