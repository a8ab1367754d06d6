/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

int fail(struct run *run, int code, const char *fmt, ...)
{
	va_list args;
	char *message;

	va_start(args, fmt);
	if (vasprintf(&message, fmt, args) < 0)
		message = NULL;
	va_end(args);
	free(run->message);
	run->message = message;
	return code;
}

uint64_t number_or(const struct statement *st, const char *param, uint64_t other)
{
	const struct value *value = statement_get(st, param);

	return value ? value->number : other;
}

bool has(const struct statement *st, const char *param)
{
	return statement_get(st, param);
}

static int make_room(struct run *run)
{
	size_t n = run->script->nsymbols;
	struct object *objects;

	if (n <= run->nobjects)
		return 0;
	n += n / 2;
	objects = realloc(run->objects, n * sizeof(*objects));
	if (!objects)
		return fail(run, -ENOMEM, "out of memory");
	memset(objects + run->nobjects, 0, (n - run->nobjects) * sizeof(*objects));
	run->objects = objects;
	run->nobjects = n;
	return 0;
}

/* ---------------------------------------------------------------- events --------------------------------------------- */

static const char *name_of_device(struct run *run, const struct pfnbuf_device *device)
{
	for (size_t i = 0; device && i < run->nobjects; i++)
		if (run->objects[i].kind == KIND_DEVICE && run->objects[i].device == device)
			return run->objects[i].name;
	return "";
}

static const char *name_of_window(struct run *run, const struct pfnbuf_window *window)
{
	for (size_t i = 0; window && i < run->nobjects; i++)
		if (run->objects[i].kind == KIND_WINDOW && run->objects[i].window == window)
			return run->objects[i].name;
	return "";
}

int run_digest(struct run *run)
{
	struct pfnbuf_event event;
	int err = pfnbuf_ctx_dispatch(run->ctx);

	while (!err && pfnbuf_ctx_pop_event(run->ctx, &event) == 1) {
		struct seen *seen;

		if (run->nevents == EVENTS_MAX) {
			run->nevents--;
			run->events_lost++;
			memmove(run->events, run->events + 1, run->nevents * sizeof(*run->events));
		}
		seen = &run->events[run->nevents++];
		seen->event = event;
		snprintf(seen->device, sizeof(seen->device), "%s",
			 name_of_device(run, event.device));
		snprintf(seen->window, sizeof(seen->window), "%s",
			 name_of_window(run, event.window));
	}
	return err;
}

/* ---------------------------------------------------------------- statements ----------------------------------------- */

/* A library failure whose record is not about this code was overwritten on the way out. */
static const char *reason(const struct run *run)
{
	return run->message ? run->message : pfnbuf_last_error();
}

static int expected_failure(struct run *run, const struct statement *st, int err)
{
	const char *wanted = pfnbuf_errno_name(st->expect_errno);
	char *was;

	if (err == -st->expect_errno) {
		say(run->output, "%s",
		    run->message ? run->message : pfnbuf_last_error_record()->cause);
		run->output->recorded = !run->message;
		output_end(run->output, OUTCOME_EXPECTED);
		return 0;
	}
	if (err) {
		was = format_text("%s", reason(run));
		fail(run, err, "expected %s, got: %s", wanted, was ? was : "?");
		free(was);
		return err;
	}
	object_end(run, &run->scratch);
	if (st->verb->flags & VERB_FINAL && run->in_transaction)
		run->uncertain = true; /* it happened, and nothing can undo it */
	return fail(run, -EPROTO, "expected %s, but it succeeded", wanted);
}

static int run_one(struct run *run, const struct statement *st)
{
	verb_fn *function = verb_functions[st->verb->id];
	int err = make_room(run);

	free(run->message);
	run->message = NULL;
	run->scratch = (struct object){ .kind = 0 };
	if (!err && *run->stop)
		err = fail(run, -EINTR, "stopped by a signal");
	else if (!err && function)
		err = function(run, st);
	if (!err || st->expect_errno)
		run_digest(run);
	if (st->expect_errno && !*run->stop)
		return expected_failure(run, st, err);
	if (!err)
		output_end(run->output, OUTCOME_DONE);
	return err;
}

/* Make the names that the checker knows agree with what there is. */
static void reconcile(struct run *run)
{
	struct script *script = run->script;

	for (size_t i = 0; i < script->nsymbols; i++) {
		struct symbol *symbol = &script->symbols[i];

		if ((symbol->sim_only && !script->sim) || (symbol->kernel_only && script->sim))
			continue;
		if (i < run->nobjects && run->objects[i].kind)
			symbol->alive = true;
		else
			symbol->alive = false;
	}
	script->in_transaction = run->in_transaction;
}

/* The exit code for a failure with this errno, after the library's or the tool's complaint. */
static enum exit_code exit_code_of(const struct run *run, int code)
{
	const struct pfnbuf_error *record = pfnbuf_last_error_record();
	const char *call = record->call ? record->call : "";

	if (run->uncertain)
		return EXIT_UNCERTAIN;
	if (run->message || record->code != code)
		return EXIT_FAILED;
	if (!strncmp(call, "open /dev/", 10) && (code == -ENOENT || code == -ENODEV))
		return EXIT_UNSUPPORTED;
	/* Of a reset, ENOTTY says that the device has no way that worked. */
	if (!strcmp(call, "VFIO_DEVICE_RESET"))
		return EXIT_FAILED;
	return code == -ENOTTY || code == -EOPNOTSUPP ? EXIT_UNSUPPORTED : EXIT_FAILED;
}

int run_statements(struct run *run, const struct statements *statements, size_t from)
{
	int err = 0;

	for (size_t i = from; i < statements->n && !err; i++) {
		const struct statement *st = &statements->list[i];

		output_begin(run->output, st);
		if (st->skipped) {
			run->skipped++;
			output_end(run->output, OUTCOME_SKIPPED);
			continue;
		}
		err = run_one(run, st);
		if (!err) {
			run->done++;
			continue;
		}
		output_failure(run->output, &(struct failure){ st, err, run->message });
		run->exit = exit_code_of(run, err);
		if (run->in_transaction)
			undo_all(run);
		if (run->uncertain)
			run->exit = EXIT_UNCERTAIN;
	}
	reconcile(run);
	return err;
}

/* ---------------------------------------------------------------- release -------------------------------------------- */

struct tally {
	size_t ended;
	struct text words;
};

static void end_kind(struct run *run, unsigned kinds, const char *words, struct tally *tally)
{
	size_t n = 0;

	for (size_t i = run->nobjects; i--;) {
		struct object *object = &run->objects[i];
		int err;

		if (!(object->kind & kinds))
			continue;
		free(run->message);
		run->message = NULL;
		err = object->kind == KIND_DEVICE ? pfnbuf_device_detach(object->device) : 0;
		err = err ? err : object_end(run, object);
		if (!err) {
			n++;
			continue;
		}
		run->uncertain = true;
		output_notice(run->output, "release failed", STYLE_BAD, "releasing %s failed: %s",
			      object->name, reason(run));
	}
	if (n)
		text_add(&tally->words, "%s%zu %s%s", tally->ended ? ", " : "", n, words,
			 n == 1 ? "" : "s");
	tally->ended += n;
}

void run_release(struct run *run)
{
	struct tally tally = { 0, { NULL, 0, 0, false } };

	undo_drop(run);
	end_kind(run, KIND_BIND, "bind", &tally);
	end_kind(run, KIND_WINDOW, "window", &tally);
	end_kind(run, KIND_AREA, "area", &tally);
	end_kind(run, KIND_SLOT, "slot", &tally);
	end_kind(run, KIND_BUF | KIND_MEMORY, "buffer", &tally);
	end_kind(run, KIND_DEVICE, "device", &tally);
	end_kind(run, KIND_IOAS, "address space", &tally);
	end_kind(run, KIND_VM, "VM", &tally);
	if (tally.ended)
		output_summary(run->output, "released", STYLE_DIM, "released: %s",
			       text_get(&tally.words));
	text_clear(&tally.words);
	run->ctx = pfnbuf_ctx_free(run->ctx);
}

void run_clear(struct run *run)
{
	free(run->objects);
	free(run->message);
	run->objects = NULL;
	run->message = NULL;
	run->nobjects = 0;
}
