/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "help.h"
#include "script.h"

static const char *const groups[][2] = {
	{ "flow", "running a script" },	  { "device", "devices" },
	{ "buffer", "buffers" },	  { "ioas", "I/O address spaces" },
	{ "vm", "virtual machines" },	  { "window", "windows" },
	{ "tee", "confidential guests" }, { "sim", "the simulated kernel (--sim)" },
};

void help_usage(FILE *file)
{
	fputs("usage: pfnbufctl [OPTION...] VERB [ARGUMENT...]\n"
	      "       pfnbufctl [OPTION...] run FILE...      (or -f FILE; - is standard input)\n"
	      "       pfnbufctl [OPTION...] -c 'VERB ...; VERB ...'\n"
	      "       pfnbufctl [OPTION...] -i\n"
	      "       pfnbufctl tdi show|encode|decode ...   (TDISP reports; tdi --help)\n"
	      "       pfnbufctl layout show|diff|compile ... (page layouts; layout --help)\n"
	      "       pfnbufctl help [VERB]\n",
	      file);
}

static void help_options(FILE *file)
{
	fputs("\noptions:\n"
	      "  -f, --file FILE        run a script; several, and -c, run in the order given\n"
	      "  -c, --command LINES    run lines; ';' separates verbs\n"
	      "  -i, --interactive      read lines from standard input, one after the other\n"
	      "  -D, --define NAME=VALUE  give a variable its value; wins over `let`\n"
	      "      --sim[=FILE]       run on a simulated kernel, with the devices that FILE lists\n"
	      "      --sim=PROFILE      ... that has what a profile describes\n"
	      "      --profile PROFILE  which unmerged interfaces the kernel has: name, or file\n"
	      "  -n, --dry-run          check everything, list what would be done, do nothing\n"
	      "      --hold             keep what was made until SIGINT, SIGTERM or end of input\n"
	      "      --trace            show every kernel call with its result, on standard error\n"
	      "  -j, --json             one JSON object a line\n"
	      "  -q, --quiet            only what print, show, picture and read verbs say\n"
	      "  -V, --version          print the version\n"
	      "  -h, --help             print this\n"
	      "\nexit status:\n"
	      "  0 done   1 failed, and undone or released   2 usage or mistakes in a script: nothing\n"
	      "  was done   3 not supported by this kernel   4 outcome uncertain: undoing failed\n",
	      file);
}

static void list_group(FILE *file, const char *group, const char *title)
{
	fprintf(file, "\n%s:\n", title);
	for (size_t i = 0; i < VERB_COUNT; i++)
		if (!strcmp(verbs[i].group, group))
			fprintf(file, "  %-20s  %s\n", verbs[i].name, verbs[i].summary);
}

void help_all(FILE *file)
{
	help_usage(file);
	help_options(file);
	for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++)
		list_group(file, groups[i][0], groups[i][1]);
	fputs("\n`pfnbufctl help VERB` says more; pfnbuf-script(5) describes the language.\n",
	      file);
}

/* By words in lines of at most 80 columns, the first of which begins at @first and the others at @indent. */
static void print_wrapped(FILE *file, const char *text, int first, int indent)
{
	int column = fprintf(file, "%*s", first, "");
	bool begun = false;

	while (*text) {
		const int length = (int)strcspn(text, " ");

		if (begun && column + 1 + length > 80) {
			column = fprintf(file, "\n%*s", indent, "") - 1;
			begun = false;
		}
		column += fprintf(file, "%s%.*s", begun ? " " : "", length, text);
		begun = true;
		text += length;
		text += strspn(text, " ");
	}
	fputc('\n', file);
}

static void help_verb(FILE *file, const struct verb *verb)
{
	char synopsis[1024];

	verb_synopsis(verb, synopsis, sizeof(synopsis));
	print_wrapped(file, synopsis, 0, 8);
	fprintf(file, "    %s.\n", verb->summary);
	if (verb->detail)
		print_wrapped(file, verb->detail, 4, 4);
}

int help_about(FILE *file, const char *what)
{
	const struct verb *verb = verb_find(what);
	size_t length = strlen(what);
	bool any = false;

	/* Some verbs share their name with their group: they come first. */
	if (verb) {
		help_verb(file, verb);
		any = true;
	}
	for (size_t i = 0; i < VERB_COUNT; i++) {
		bool inside = !strncmp(verbs[i].name, what, length) && verbs[i].name[length] == ' ';

		if (&verbs[i] == verb || (!inside && strcmp(verbs[i].group, what)))
			continue;
		help_verb(file, &verbs[i]);
		any = true;
	}
	return any ? 0 : -ENOENT;
}

void help_list(FILE *file)
{
	for (size_t i = 0; i < VERB_COUNT; i++)
		fprintf(file, "%s\n", verbs[i].name);
}
