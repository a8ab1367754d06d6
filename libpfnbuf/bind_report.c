/* SPDX-License-Identifier: MIT */
/*
 * The report of a device that is to run for a guest: read, held against what was attested, compiled
 * into layouts, and read again.
 */
#include <inttypes.h>

#include "bind.h"

#define FIRST_REPORT_SIZE (UINT64_C(64) << 10)

static int call_report(struct pfnbuf_bind *b, struct bind_report *report, size_t size)
{
	int r;

	free(report->data);
	report->data = malloc(size);
	if (!report->data)
		return pfnbuf_failed(-ENOMEM, "ops->report", name_of(b), NULL);
	report->length = 0;
	memset(&report->evidence, 0, sizeof(report->evidence));
	r = b->ops.report(b->ops_data, b->device, report->data, size, &report->length,
			  &report->evidence);
	if (r == -EAGAIN)
		return pfnbuf_refused(r, "ops->report", name_of(b), NULL,
				      "try again when the device has been started",
				      "the report is not there yet");
	return pfnbuf_bind_judge_op(b, r, "ops->report");
}

static int read_report_step(struct pfnbuf_bind *b, struct bind_report *report)
{
	size_t size = FIRST_REPORT_SIZE;

	for (;;) {
		int r = call_report(b, report, size);

		if (r > 0)
			return pfnbuf_refused(-EIO, "ops->report", name_of(b), NULL, "",
					      "whether there is a report must be known");
		if (r < 0 || report->length <= size)
			return r;
		if (report->length > PFNBUF_BIND_REPORT_MAX)
			return pfnbuf_refused(-E2BIG, "ops->report", name_of(b), NULL, "",
					      "the report has %zu bytes; %" PRIu64 " are the most",
					      report->length, PFNBUF_BIND_REPORT_MAX);
		size = report->length;
	}
}

int pfnbuf_bind_read_report(struct pfnbuf_bind *b, struct bind_report *report, const char *reason)
{
	const size_t step = pfnbuf_bind_begin_step(b, PFNBUF_STEP_REPORT, name_of(b), NULL, reason);

	return pfnbuf_journal_end(&b->journal, step, read_report_step(b, report));
}

/* Is this what the guest's owner attested, of a device that runs? */
static int check_evidence(const struct pfnbuf_bind *b, const struct pfnbuf_tdi_evidence *e)
{
	const char *state = pfnbuf_tdi_state_name(e->state);

	if (e->digest_len != b->digest_len || memcmp(e->digest, b->digest, b->digest_len) != 0)
		return pfnbuf_refused(-EKEYREJECTED, "pfnbuf_bind_run", name_of(b), NULL,
				      "attest the device again",
				      "the report's digest is not the one that was attested");
	if (e->state != PFNBUF_TDI_RUN)
		return pfnbuf_refused(-EPERM, "pfnbuf_bind_run", name_of(b), NULL,
				      "let the guest start the device first, or give ops->start",
				      "its TDI is in %s, not in RUN", state ? state : "no state");
	return 0;
}

static int refuse_tdi(const struct pfnbuf_bind *b, int code, const char *call,
		      const struct pfnbuf_tdi_error *error)
{
	return pfnbuf_refused(code, call, name_of(b), NULL, "", "%s", error->text);
}

static int fill_in_bars(struct pfnbuf_bind *b, struct pfnbuf_tdi_compile_opts *opts)
{
	struct pfnbuf_bar bar;

	if (has_bars(opts))
		return 0;
	for (unsigned i = 0; i < 6; i++) {
		int r = pfnbuf_device_get_bar(b->device, i, &bar);

		if (r < 0)
			return r;
		opts->bars[i].size = bar.size;
		opts->bars[i].flags = bar.flags;
		/* Unknown where sysfs does not tell: some ways to find the BAR's start need none. */
		if (bar.size && !(bar.flags & PFNBUF_BAR_IO))
			pfnbuf_device_bar_address(b->device, i, &opts->bars[i].address);
	}
	return 0;
}

static int compile_report(struct pfnbuf_bind *b, const struct bind_report *report)
{
	struct pfnbuf_tdi_compile_opts opts = b->compile;
	struct pfnbuf_tdi_report *parsed = NULL;
	struct pfnbuf_tdi_error error;
	int r = pfnbuf_tdi_report_parse(report->data, report->length, NULL, &parsed, &error);

	if (r < 0)
		return refuse_tdi(b, r, "pfnbuf_tdi_report_parse", &error);
	opts.size = sizeof(opts);
	opts.page_size = opts.page_size ? opts.page_size : pfnbuf_page_size();
	opts.evidence = &report->evidence;
	r = fill_in_bars(b, &opts);
	if (r >= 0) {
		r = pfnbuf_tdi_layouts_compile(parsed, &opts, &b->layouts, &error);
		if (r < 0)
			refuse_tdi(b, r, "pfnbuf_tdi_layouts_compile", &error);
	}
	pfnbuf_tdi_report_free(parsed);
	return r;
}

/* The second reading: nothing has changed since the first. */
static int confirm_report(struct pfnbuf_bind *b, const struct bind_report *first)
{
	cleanup_report struct bind_report second = { .data = NULL };
	struct pfnbuf_tdi_error error;
	int r = pfnbuf_bind_read_report(b, &second,
					"it must be the same when its pages are placed");

	/* What was there must not be gone. */
	if (r == -EAGAIN)
		return pfnbuf_refused(-ESTALE, "pfnbuf_bind_run", name_of(b), NULL, "",
				      "the report was there and is not any more");
	if (r >= 0)
		r = check_evidence(b, &second.evidence);
	if (r < 0)
		return r;
	if (second.evidence.generation == first->evidence.generation &&
	    (second.length != first->length ||
	     memcmp(second.data, first->data, first->length) != 0))
		return pfnbuf_refused(
			-EKEYREJECTED, "pfnbuf_bind_run", name_of(b), NULL,
			"do not trust the device",
			"the report changed without a new lock, and its digest did not");
	r = pfnbuf_tdi_layouts_check(b->layouts, &second.evidence, PFNBUF_TDI_USE_RUN, &error);
	return r < 0 ? refuse_tdi(b, r, "pfnbuf_tdi_layouts_check", &error) : 0;
}

int pfnbuf_bind_learn_layouts(struct pfnbuf_bind *b, const struct bind_report *first)
{
	int r = check_evidence(b, &first->evidence);

	if (r >= 0)
		r = compile_report(b, first);
	if (r >= 0)
		r = confirm_report(b, first);
	if (r >= 0)
		b->generation = first->evidence.generation;
	return r;
}

void pfnbuf_bind_forget_report(struct pfnbuf_bind *b)
{
	pfnbuf_bind_forget_runs(b);
	pfnbuf_device_set_report(b->device, NULL);
	b->layouts = pfnbuf_tdi_layouts_free(b->layouts);
	b->generation = 0;
}
