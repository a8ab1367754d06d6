/* SPDX-License-Identifier: MIT */
/* pfnbufctl: open, export, map, revoke, restore and look, from a shell, a script or a prompt. */
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "help.h"
#include "report.h"
#include "session.h"

enum { OPTION_SIM = 256, OPTION_HOLD, OPTION_TRACE, OPTION_LIST, OPTION_PROFILE };

static const struct option long_options[] = {
	{ "file", required_argument, NULL, 'f' },
	{ "command", required_argument, NULL, 'c' },
	{ "interactive", no_argument, NULL, 'i' },
	{ "define", required_argument, NULL, 'D' },
	{ "sim", optional_argument, NULL, OPTION_SIM },
	{ "profile", required_argument, NULL, OPTION_PROFILE },
	{ "dry-run", no_argument, NULL, 'n' },
	{ "hold", no_argument, NULL, OPTION_HOLD },
	{ "trace", no_argument, NULL, OPTION_TRACE },
	{ "json", no_argument, NULL, 'j' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ "list-verbs", no_argument, NULL, OPTION_LIST }, /* for completions */
	{ NULL, 0, NULL, 0 },
};

static void add_input(struct options *options, enum input_kind kind, const char *text)
{
	options->inputs[options->ninputs].kind = kind;
	options->inputs[options->ninputs++].text = text;
}

/* Returns -1 to go on, or the exit code. */
static int take_option(struct options *options, int option)
{
	switch (option) {
	case 'f':
		add_input(options, INPUT_FILE, optarg);
		break;
	case 'c':
		add_input(options, INPUT_LINES, optarg);
		break;
	case 'i':
		options->interactive = true;
		break;
	case 'D':
		options->defines[options->ndefines++] = optarg;
		break;
	case OPTION_SIM:
		options->sim = true;
		options->machine = optarg;
		break;
	case OPTION_PROFILE:
		options->profile = optarg;
		break;
	case 'n':
		options->dry_run = true;
		break;
	case OPTION_HOLD:
		options->hold = true;
		break;
	case OPTION_TRACE:
		options->trace = true;
		break;
	case 'j':
		options->json = true;
		break;
	case 'q':
		options->quiet = true;
		break;
	case 'V':
		printf("pfnbufctl %s (libpfnbuf %s)\n", PFNBUF_VERSION_STRING, pfnbuf_version());
		return EXIT_DONE;
	case 'h':
		help_all(stdout);
		return EXIT_DONE;
	case OPTION_LIST:
		help_list(stdout);
		return EXIT_DONE;
	default:
		fputs("`pfnbufctl --help` lists the options\n", stderr);
		return EXIT_USAGE;
	}
	return -1;
}

/* @brief: options end at the first word that is none; else they may stand anywhere. */
static int take_options(struct options *options, int argc, char **argv, bool brief)
{
	const char *letters = brief ? "+f:c:iD:njqVh" : "f:c:iD:njqVh";
	int option, code = -1;

	while (code < 0 && (option = getopt_long(argc, argv, letters, long_options, NULL)) != -1)
		code = take_option(options, option);
	return code;
}

static int print_help(int n, char **words)
{
	struct text what = { NULL, 0, 0, false };
	int err = 0;

	for (int i = 0; i < n; i++)
		text_add(&what, "%s%s", i ? " " : "", words[i]);
	if (!n)
		help_all(stdout);
	else
		err = help_about(stdout, text_get(&what));
	if (err)
		fprintf(stderr, "pfnbufctl: no verb is called `%s`; `pfnbufctl help` lists all\n",
			text_get(&what));
	text_clear(&what);
	return err ? EXIT_USAGE : EXIT_DONE;
}

static int usage(const char *why)
{
	fprintf(stderr, "pfnbufctl: %s\n", why);
	help_usage(stderr);
	return EXIT_USAGE;
}

/* `tdi lock` is a verb of the language, `tdi show` a command of its own. */
static bool is_verb(int n, char **words)
{
	char name[64];

	if (n < 2)
		return false;
	snprintf(name, sizeof(name), "%.30s %.30s", words[0], words[1]);
	return verb_find(name);
}

static int take_words(struct options *options, int argc, char **argv)
{
	int code;

	if (optind < argc && !strcmp(argv[optind], "help"))
		return print_help(argc - optind - 1, argv + optind + 1);
	if (optind < argc && !strcmp(argv[optind], "tdi") && !is_verb(argc - optind, argv + optind))
		return cmd_tdi(argc - optind, argv + optind, options->json);
	if (optind < argc && !strcmp(argv[optind], "layout"))
		return cmd_layout(argc - optind, argv + optind, options->json);
	if (optind < argc && !strcmp(argv[optind], "run")) {
		optind++;
		code = take_options(options, argc, argv, false);
		if (code >= 0)
			return code;
		if (optind == argc)
			return usage("run: which script? (- is standard input)");
		for (; optind < argc; optind++)
			add_input(options, INPUT_FILE, argv[optind]);
		return -1;
	}
	options->nwords = argc - optind;
	options->words = argv + optind;
	if (options->nwords && (options->ninputs || options->interactive))
		return usage("a verb goes neither with -f nor with -c nor with -i");
	if (!options->nwords && !options->ninputs && !options->interactive)
		return usage("nothing to do");
	return -1;
}

int main(int argc, char **argv)
{
	struct options options = { .nwords = 0 };
	int code;

	setlocale(LC_CTYPE, "");
	/* Each option or word gives at most one. */
	options.inputs = calloc((size_t)argc + 1, sizeof(*options.inputs));
	options.defines = calloc((size_t)argc + 1, sizeof(*options.defines));
	code = options.inputs && options.defines ? take_options(&options, argc, argv, true)
						 : EXIT_FAILED;
	if (code < 0)
		code = take_words(&options, argc, argv);
	if (code < 0)
		code = session_main(&options);
	free(options.inputs);
	free(options.defines);
	return code;
}
