/* SPDX-License-Identifier: MIT */
/* Verbs on what the simulated kernel has for confidential guests: its profile, and TEE device interfaces. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "run.h"

static const char *tdi_meaning(int err)
{
	switch (err) {
	case -ENODEV:
		return "no such device in the simulated machine";
	case -ENXIO:
		return "the device is not bound to a guest, or its TDI is in another state";
	default:
		return "the simulated TSM failed";
	}
}

static int tdi_failed(struct run *run, int err)
{
	return err ? fail(run, err, "%s", tdi_meaning(err)) : 0;
}

static const char *bdf_of(const struct statement *st)
{
	return statement_get(st, "BDF")->text;
}

int verb_sim_profile(struct run *run, const struct statement *st)
{
	const char *name = statement_get(st, "PROFILE")->text;
	int err = pfnbuf_sim_set_profile(run->sim, name);

	if (err)
		return fail(run, err, "the simulated kernel knows no profile %s", name);
	return 0;
}

/* What the state is after a change: the line of every such verb. */
static int say_tdi(struct run *run, const char *bdf)
{
	struct text *json = &run->output->fields;
	enum pfnbuf_tdi_state state;
	uint64_t generation;
	int bound = pfnbuf_sim_tdi_state(run->sim, bdf, &state, &generation);

	if (bound < 0)
		return tdi_failed(run, bound);
	say(run->output, "%s, %s, locked %" PRIu64 " time%s", pfnbuf_tdi_state_name(state),
	    bound ? "bound" : "not bound", generation, generation == 1 ? "" : "s");
	json_string(json, "state", pfnbuf_tdi_state_name(state));
	json_bool(json, "bound", bound);
	json_number(json, "generation", generation);
	return 0;
}

static int encode(struct run *run, const char *path, uint8_t **bytesp, size_t *sizep)
{
	struct pfnbuf_tdi_report *report;
	size_t size;
	uint8_t *bytes;
	int err = report_read(path, 0, &report);

	if (err)
		return fail(run, err, "%s holds no report", path);
	size = pfnbuf_tdi_report_get_size(report);
	bytes = malloc(size);
	err = bytes ? pfnbuf_tdi_report_encode(report, bytes, size, sizep) : -ENOMEM;
	pfnbuf_tdi_report_free(report);
	if (err) {
		free(bytes);
		return fail(run, err, "%s cannot be encoded", path);
	}
	*bytesp = bytes;
	return 0;
}

int verb_sim_tdi_report(struct run *run, const struct statement *st)
{
	const struct value *file = statement_get(st, "FILE");
	uint8_t *bytes = NULL;
	size_t size = 0;
	int err = file ? encode(run, file->text, &bytes, &size) : 0;

	if (err)
		return err;
	err = pfnbuf_sim_tdi_set_report(run->sim, bdf_of(st), bytes, size);
	free(bytes);
	if (!err && file)
		say(run->output, "%zu bytes, when it is locked", size);
	return tdi_failed(run, err);
}

int verb_sim_tdi_lock(struct run *run, const struct statement *st)
{
	int err = pfnbuf_sim_tdi_lock(run->sim, bdf_of(st));

	return err ? tdi_failed(run, err) : say_tdi(run, bdf_of(st));
}

int verb_sim_tdi_start(struct run *run, const struct statement *st)
{
	int err = pfnbuf_sim_tdi_start(run->sim, bdf_of(st));

	return err ? tdi_failed(run, err) : say_tdi(run, bdf_of(st));
}

int verb_sim_tdi_inject(struct run *run, const struct statement *st)
{
	/* The words stand in the order of the enum. */
	const struct value *fault = statement_get(st, "FAULT");
	int err = pfnbuf_sim_tdi_inject(run->sim, bdf_of(st),
					(enum pfnbuf_sim_tdi_fault)fault->number);

	return tdi_failed(run, err);
}

int verb_sim_tdi_expect(struct run *run, const struct statement *st)
{
	const struct value *wanted_state = statement_get(st, "state");
	const struct value *wanted_bound = statement_get(st, "bound");
	const struct value *wanted_locks = statement_get(st, "generation");
	enum pfnbuf_tdi_state state;
	uint64_t generation;
	int bound = pfnbuf_sim_tdi_state(run->sim, bdf_of(st), &state, &generation);

	if (bound < 0)
		return tdi_failed(run, bound);
	if (wanted_state && strcmp(pfnbuf_tdi_state_name(state), wanted_state->text))
		return fail(run, -EBADMSG, "its state is %s, not %s", pfnbuf_tdi_state_name(state),
			    wanted_state->text);
	if (wanted_bound && (wanted_bound->number != 0) != (bound != 0))
		return fail(run, -EBADMSG, "it is %s", bound ? "bound" : "not bound");
	if (wanted_locks && wanted_locks->number != generation)
		return fail(run, -EBADMSG, "it was locked %" PRIu64 " times, not %s", generation,
			    wanted_locks->text);
	return say_tdi(run, bdf_of(st));
}

int verb_sim_pin(struct run *run, const struct statement *st)
{
	struct object *gmem = object_of(run, st, "BUF");
	bool on = statement_get(st, "STATE")->number;
	int err;

	if (!gmem)
		return -ENOENT;
	err = pfnbuf_sim_gmem_pin(run->sim, pfnbuf_buf_get_fd(gmem->buf),
				  number_or(st, "OFFSET", 0), on);
	if (err == -EINVAL)
		return fail(run, err, "%s ends before that", gmem->name);
	return err ? fail(run, err, "the page cannot be held") : 0;
}
