/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session.h"
#include "source.h"

static volatile sig_atomic_t stop;

/*
 * The machine that --sim has when no file describes another: a device with a DMA engine, one whose BAR 2 is plain
 * memory, and one that can be reset, with MSI-X, behind a port of its own.
 */
static const char default_machine[] =
	"sim device 0000:00:01.0 vendor=0x1234 device=0x11e8 bar0=1M\n"
	"sim device 0000:00:02.0 vendor=0x1af4 device=0x1110 bar0=256 bar2=4M,64,prefetchable\n"
	"sim device 0000:01:00.0 vendor=0x1b36 device=0x0010 bar0=16K,64 traits=flr,pm \\\n"
	"    msix=65 msix-bar=0 msix-table=0x2000 pba-bar=0 pba=0x3000 hot-reset-set=1\n";

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

/* Without SA_RESTART: a signal ends a wait. What is open is released before the process ends. */
static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	sigemptyset(&action.sa_mask);
	sigemptyset(&ignore.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
}

/* ---------------------------------------------------------------- checking ------------------------------------------- */

static int parse_text(struct script *script, const char *file, const char *text, size_t length,
		      bool semicolons)
{
	struct source source = { file, text, length, semicolons };
	struct place nowhere = { file, 0, 0, 0 };
	size_t statements = script->out.n, variables = script->nvariables;
	int err = script_parse(script, &source);

	if (!err && script->out.n == statements && script->nvariables == variables) {
		diag_add(&script->diags, NULL, nowhere, "`pfnbufctl help` lists the verbs",
			 length ? "the script has no statements" : "the script is empty");
		err = -EINVAL;
	}
	return err;
}

static int parse_file(struct session *session, struct script *script, const char *path)
{
	char *text;
	size_t length;
	int err = source_read(path, &script->diags, &text, &length);

	(void)session;
	if (err)
		return err;
	err = parse_text(script, strcmp(path, "-") ? path : "stdin", text, length, false);
	free(text);
	return err;
}

static int parse_input(struct session *session, const struct input *input)
{
	if (input->kind == INPUT_FILE)
		return parse_file(session, &session->script, input->text);
	return parse_text(&session->script, "command line", input->text, strlen(input->text), true);
}

/* Every input is looked at, so that all mistakes show at once. */
static int parse_all(struct session *session)
{
	const struct options *options = session->options;
	struct script *script = &session->script;
	int err = 0, one;

	for (size_t i = 0; i < options->ndefines; i++) {
		struct place nowhere = { "command line", 0, 0, 0 };

		err = script_define(script, options->defines[i]);
		if (err)
			diag_add(&script->diags, NULL, nowhere, "write -D NAME=VALUE",
				 "-D %s: not a name and a value", options->defines[i]);
	}
	if (options->profile)
		err = profile_read(options->profile, &session->profile, &script->diags);
	for (size_t i = 0; i < options->ninputs; i++) {
		one = parse_input(session, &options->inputs[i]);
		err = err ? err : one;
	}
	if (options->nwords) {
		one = script_parse_words(script, "command line", (size_t)options->nwords,
					 options->words);
		err = err ? err : one;
	}
	if (!err && !options->interactive)
		err = script_finish(script);
	return err;
}

static int refuse(struct session *session, int err)
{
	output_diags(&session->output, &session->script.diags);
	if (err == -ENOMEM)
		output_notice(&session->output, "failed", STYLE_BAD, "pfnbufctl: out of memory");
	return err == -ENOMEM ? EXIT_FAILED : EXIT_USAGE;
}

static void list_statements(struct session *session)
{
	struct output *output = &session->output;

	for (size_t i = 0; i < session->script.out.n; i++) {
		const struct statement *st = &session->script.out.list[i];

		output_begin(output, st);
		if (!st->skipped && !output->json)
			say(output, "line %u: %s", st->at.line, st->verb->summary);
		output_end(output, st->skipped ? OUTCOME_SKIPPED : OUTCOME_WOULD);
	}
}

/* ---------------------------------------------------------------- the kernel ----------------------------------------- */

/* --sim=WORD: a profile, if there is one of this name; a file of that name is ./WORD. */
static bool is_sim_profile(const char *word)
{
	for (size_t i = 0; word && sim_profiles[i]; i++)
		if (!strcmp(sim_profiles[i], word))
			return true;
	return false;
}

/* A word that is neither may have been meant as a profile. */
static void list_profiles(struct session *session, const char *word)
{
	const char *nearest = diag_nearest(word, sim_profiles);
	struct text names = { NULL, 0, 0, false };

	for (size_t i = 0; sim_profiles[i]; i++)
		text_add(&names, "%s%s", i ? ", " : "", sim_profiles[i]);
	output_notice(&session->output, "refused", STYLE_PLAIN,
		      "        --sim= takes a machine file or a profile%s%s%s: %s",
		      nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "",
		      text_get(&names));
	text_clear(&names);
}

/* Put the devices of a machine file into the simulated kernel. */
static int build_machine(struct session *session)
{
	const char *machine = session->options->machine;
	const char *path = is_sim_profile(machine) ? NULL : machine;
	struct output quiet = session->output;
	struct script script;
	struct run run = {
		.sim = session->run.sim, .script = &script, .output = &quiet, .stop = &stop
	};
	int err, code = 0;

	if (run.sim && is_sim_profile(machine) && pfnbuf_sim_set_profile(run.sim, machine))
		return EXIT_USAGE;
	script_init(&script, true);
	script.machine = true;
	quiet.quiet = true;
	quiet.json = false;
	err = path ? parse_file(session, &script, path)
		   : parse_text(&script, "default machine", default_machine,
				sizeof(default_machine) - 1, false);
	if (err) {
		output_diags(&session->output, &script.diags);
		if (path && !strchr(path, '/') && access(path, F_OK))
			list_profiles(session, path);
		code = EXIT_USAGE;
	} else if (run.sim) {
		quiet.json = session->options->json;
		for (size_t i = 0; i < script.out.n && !code; i++) {
			output_begin(&quiet, &script.out.list[i]);
			err = verb_functions[script.out.list[i].verb->id](&run,
									  &script.out.list[i]);
			if (err)
				output_failure(&quiet, &(struct failure){ &script.out.list[i], err,
									  run.message });
			code = err ? EXIT_USAGE : 0;
		}
	}
	output_clear(&quiet);
	run_clear(&run);
	script_clear(&script);
	return code;
}

static void on_log(void *data, enum pfnbuf_log_level level, const char *message)
{
	struct session *session = data;

	if (level == PFNBUF_LOG_ERROR)
		session->run.uncertain = true;
	if (level <= PFNBUF_LOG_WARNING)
		output_notice(&session->output, "log",
			      level == PFNBUF_LOG_ERROR ? STYLE_BAD : STYLE_WARN, "pfnbufctl: %s",
			      message);
}

static int open_context(struct session *session)
{
	const struct pfnbuf_kernel *kernel =
		session->run.sim ? pfnbuf_sim_kernel(session->run.sim) : pfnbuf_kernel_running();
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .log = on_log, .log_data = session };
	int err;

	trace_init(&session->trace, kernel, stderr, session->options->json,
		   session->output.colour_error);
	opts.kernel = session->options->trace ? &session->trace.kernel : kernel;
	err = pfnbuf_ctx_new(&session->run.ctx, &opts);
	session->run.kernel = opts.kernel;
	session->run.trace = session->options->trace ? &session->trace : NULL;
	if (!err && session->profile)
		err = profile_use(&session->run, session->profile);
	if (err)
		output_failure(&session->output, &(struct failure){ NULL, err, NULL });
	return err;
}

/* What a simulated kernel still holds when everything was released must be nothing. */
static void check_leaks(struct session *session)
{
	struct text left = { NULL, 0, 0, false };
	const char *alias;

	if (!session->run.sim)
		return;
	if (sim_counts_words(session->run.sim, &left, NULL)) {
		output_summary(&session->output, "clean", STYLE_DIM,
			       "nothing is left in the simulated kernel");
	} else {
		session->run.uncertain = true;
		output_notice(&session->output, "leak", STYLE_BAD,
			      "left in the simulated kernel: %s", text_get(&left));
	}
	if (pfnbuf_sim_alias(session->run.sim, &alias)) {
		session->run.uncertain = true;
		output_notice(&session->output, "alias", STYLE_BAD,
			      "a private page was reachable as shared: %s", alias);
	}
	text_clear(&left);
}

/* ---------------------------------------------------------------- the whole ------------------------------------------ */

/* Only where the library had nothing better to say. */
static void hint_unsupported(struct session *session)
{
	if (*pfnbuf_last_error_record()->hint)
		return;
	output_notice(
		&session->output, "unsupported", STYLE_PLAIN,
		"this kernel cannot do that: wanted is Linux 6.19 or newer with CONFIG_IOMMUFD, "
		"CONFIG_VFIO_DEVICE_CDEV, CONFIG_VFIO_PCI_DMABUF and, for VMs, CONFIG_KVM; "
		"--sim runs on a simulated one");
}

static int run_all(struct session *session)
{
	struct run *run = &session->run;
	int err = open_context(session), code = EXIT_DONE;

	if (err)
		return EXIT_FAILED;
	if (run_statements(run, &session->script.out, 0))
		code = (int)run->exit;
	if (code == EXIT_DONE && session->options->interactive)
		code = session_prompt(session);
	if (code == EXIT_DONE && session->options->hold)
		session_hold(session);
	if (code == EXIT_UNSUPPORTED && !run->sim)
		hint_unsupported(session);
	run_release(run);
	check_leaks(session);
	return run->uncertain ? EXIT_UNCERTAIN : code;
}

static int run_session(struct session *session)
{
	const struct options *options = session->options;
	int err = parse_all(session), code;

	if (err)
		return refuse(session, err);
	if (options->sim && !options->dry_run && pfnbuf_sim_new(&session->run.sim)) {
		output_notice(&session->output, "failed", STYLE_BAD,
			      "pfnbufctl: cannot make a simulated kernel");
		return EXIT_FAILED;
	}
	code = options->sim ? build_machine(session) : EXIT_DONE;
	if (code)
		return code;
	if (options->dry_run) {
		list_statements(session);
		return EXIT_DONE;
	}
	return run_all(session);
}

int session_main(const struct options *options)
{
	struct session session = { .options = options, .stop = &stop };
	int code;

	catch_signals();
	output_init(&session.output, options->json);
	session.output.quiet = options->quiet;
	session.output.echo = options->ninputs || options->dry_run;
	script_init(&session.script, options->sim);
	session.run.script = &session.script;
	session.run.output = &session.output;
	session.run.stop = &stop;
	code = run_session(&session);
	pfnbuf_sim_free(session.run.sim);
	pfnbuf_profile_unref(session.profile);
	run_clear(&session.run);
	script_clear(&session.script);
	output_clear(&session.output);
	if (fflush(stdout) || ferror(stdout))
		return code ? code : EXIT_FAILED;
	return code;
}
