/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "session.h"

/*
 * Whether the end of standard input means anything: it does on a terminal, a pipe and a socket that no script was read
 * from. /dev/null, the input of a daemon, is at its end all the time.
 */
static bool listens_to_input(const struct options *options)
{
	struct stat st;

	for (size_t i = 0; i < options->ninputs; i++)
		if (options->inputs[i].kind == INPUT_FILE && options->inputs[i].text[0] == '-' &&
		    !options->inputs[i].text[1])
			return false;
	if (options->interactive || fstat(STDIN_FILENO, &st))
		return false;
	return isatty(STDIN_FILENO) || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode);
}

static void report_events(struct session *session)
{
	struct run *run = &session->run;

	run_digest(run);
	for (size_t i = 0; i < run->nevents; i++)
		output_summary(&session->output, "event", STYLE_WARN,
			       "event: %s %s%s%s, generation %" PRIu64,
			       pfnbuf_event_type_name(run->events[i].event.type),
			       run->events[i].device, *run->events[i].window ? ", window " : "",
			       run->events[i].window, run->events[i].event.generation);
	run->nevents = 0;
}

/* Returns whether the input has ended. */
static bool discard_input(void)
{
	char bytes[512];

	return read(STDIN_FILENO, bytes, sizeof(bytes)) == 0;
}

void session_hold(struct session *session)
{
	struct pollfd fds[2] = {
		{ .fd = pfnbuf_ctx_get_fd(session->run.ctx), .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN },
	};
	nfds_t n = listens_to_input(session->options) ? 2 : 1;
	sigset_t blocked, before;
	bool ended = false;

	output_notice(&session->output, "holding", STYLE_DIM, "holding until SIGINT or SIGTERM%s",
		      n == 2 ? ", or the end of input" : "");
	/* Blocked but while waiting, so that no signal falls between the look and the wait. */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGHUP);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	report_events(session);
	while (!*session->stop && !ended) {
		if (ppoll(fds, n, NULL, &before) <= 0)
			continue;
		if (fds[0].revents)
			report_events(session);
		if (n == 2 && fds[1].revents)
			ended = discard_input();
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	*session->stop = 0;
}
