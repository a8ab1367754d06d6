/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "help.h"
#include "session.h"

static char *trim(char *line)
{
	size_t n;

	while (*line == ' ' || *line == '\t')
		line++;
	n = strlen(line);
	while (n && strchr(" \t\r\n", line[n - 1]))
		line[--n] = '\0';
	return line;
}

static int run_line(struct session *session, const char *text, size_t length, unsigned number)
{
	struct script *script = &session->script;
	struct source source = { "prompt", text, length, true };
	struct statements statements;
	int err = script_parse(script, &source);

	for (size_t i = 0; i < script->diags.n; i++)
		script->diags.list[i].at.line = number;
	if (err) {
		output_diags(&session->output, &script->diags);
		diags_clear(&script->diags);
		return EXIT_USAGE;
	}
	statements = script->out;
	script->out = (struct statements){ .list = NULL };
	for (size_t i = 0; i < statements.n; i++)
		statements.list[i].at.line = number;
	err = run_statements(&session->run, &statements, 0);
	statements_clear(&statements);
	return err ? (int)session->run.exit : EXIT_DONE;
}

static void ask(const struct session *session, bool terminal)
{
	if (!terminal)
		return;
	fputs(session->run.in_transaction ? "pfnbufctl (begun)> " : "pfnbufctl> ", stdout);
	fflush(stdout);
}

/* A line of the prompt's own. Returns whether it was one. */
static bool own_line(const char *line)
{
	if (!strcmp(line, "help")) {
		help_all(stdout);
		return true;
	}
	if (strncmp(line, "help ", 5))
		return false;
	if (help_about(stdout, line + 5))
		fprintf(stderr, "no verb is called `%s`\n", line + 5);
	return true;
}

int session_prompt(struct session *session)
{
	bool terminal = isatty(STDIN_FILENO);
	char *line = NULL;
	size_t room = 0;
	unsigned number = 0;
	int code = EXIT_DONE, last;
	ssize_t n;

	session->script.open_ended = true;
	for (;;) {
		char *words;

		ask(session, terminal);
		errno = 0;
		n = getline(&line, &room, stdin);
		if (n < 0) {
			if (*session->stop && terminal && errno == EINTR) {
				/* ^C drops the line, as in a shell. */
				*session->stop = 0;
				clearerr(stdin);
				fputs("\n", stdout);
				continue;
			}
			break;
		}
		number++;
		if (*session->stop)
			break;
		words = trim(line);
		if (!strcmp(words, "quit") || !strcmp(words, "exit"))
			break;
		if (own_line(words))
			continue;
		last = run_line(session, line, strlen(line), number);
		/* A program that feeds lines learns of a failure; somebody at a terminal has seen it. */
		if (last && !terminal)
			code = last;
	}
	if (session->run.in_transaction) {
		output_notice(&session->output, "undone", STYLE_WARN,
			      "the input ended in a transaction");
		undo_all(&session->run);
	}
	free(line);
	return code;
}
