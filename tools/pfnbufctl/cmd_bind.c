/* SPDX-License-Identifier: MIT */
/* Verbs on binds: a device given to a confidential guest, and taken back. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "helper.h"
#include "libpfnbuf/uapi/kvm.h"
#include "report.h"
#include "run.h"

/* What a helper program does, in the order of the words of helper-does=. */
enum {
	DOES_BIND = 1 << 0,
	DOES_REPORT = 1 << 1,
	DOES_START = 1 << 2,
	DOES_VALIDATE = 1 << 3,
};

/* Where a bind's report comes from, and who does what the kernel does not. */
struct tsm {
	struct run *run;
	char bdf[16];
	char *helper; /* NULL: none */
	unsigned does;
	uint8_t *report; /* from a file; NULL: from the helper, or the simulated TSM */
	size_t report_size;
	size_t digest_size;
	uint64_t locks;
};

struct tsm *tsm_free(struct tsm *tsm)
{
	if (tsm) {
		free(tsm->helper);
		free(tsm->report);
		free(tsm);
	}
	return NULL;
}

/* ---------------------------------------------------------------- the helper ----------------------------------------- */

/* 0, a negative errno where nothing was done for certain, or PFNBUF_TSM_UNKNOWN. */
static int ask(struct tsm *tsm, const char *const *argv, struct text *out)
{
	int code = helper_run(argv, out, PFNBUF_BIND_REPORT_MAX, tsm->run->stop);

	if (code < 0) {
		output_notice(tsm->run->output, "helper", STYLE_BAD, "pfnbufctl: %s: %s", argv[0],
			      strerror(-code));
		/* What printed too much has run all the same. */
		return code == -E2BIG ? PFNBUF_TSM_UNKNOWN : code;
	}
	switch (code) {
	case HELPER_DONE:
		return 0;
	case HELPER_NOT_DONE:
		return -EIO;
	case HELPER_NOT_YET:
		return -EAGAIN;
	default:
		return PFNBUF_TSM_UNKNOWN;
	}
}

static int ask_one(struct tsm *tsm, const char *verb)
{
	const char *const argv[] = { tsm->helper, verb, tsm->bdf, NULL };

	return ask(tsm, argv, NULL);
}

static int helper_bind(void *data, struct pfnbuf_device *device, struct pfnbuf_vm *vm)
{
	(void)device;
	(void)vm;
	return ask_one(data, "bind");
}

static int helper_unbind(void *data, struct pfnbuf_device *device, struct pfnbuf_vm *vm)
{
	(void)device;
	(void)vm;
	return ask_one(data, "unbind");
}

static int helper_start(void *data, struct pfnbuf_device *device)
{
	(void)device;
	return ask_one(data, "start");
}

static int helper_validate(void *data, struct pfnbuf_device *device, unsigned bar, uint64_t offset,
			   uint64_t length, uint64_t gpa, bool on)
{
	struct tsm *tsm = data;
	char numbers[4][24];
	const char *const argv[] = {
		tsm->helper, "validate", tsm->bdf,	    numbers[0], numbers[1],
		numbers[2],  numbers[3], on ? "on" : "off", NULL,
	};

	(void)device;
	snprintf(numbers[0], sizeof(numbers[0]), "%u", bar);
	snprintf(numbers[1], sizeof(numbers[1]), "0x%" PRIx64, offset);
	snprintf(numbers[2], sizeof(numbers[2]), "0x%" PRIx64, length);
	snprintf(numbers[3], sizeof(numbers[3]), "0x%" PRIx64, gpa);
	return ask(tsm, argv, NULL);
}

/* Of what only reads, nothing can be uncertain. */
static int reading(int result)
{
	return result > 0 ? -EIO : result;
}

/* "RUN 3": a state, and how often the device was locked. */
static int parse_state(const char *text, struct pfnbuf_tdi_evidence *evidence)
{
	char name[32];
	uint64_t generation;

	if (sscanf(text, "%31s %" SCNu64, name, &generation) != 2)
		return -EPROTO;
	for (unsigned i = 0; pfnbuf_tdi_state_name((enum pfnbuf_tdi_state)i); i++) {
		if (strcmp(pfnbuf_tdi_state_name((enum pfnbuf_tdi_state)i), name))
			continue;
		evidence->state = (enum pfnbuf_tdi_state)i;
		evidence->generation = generation;
		return 0;
	}
	return -EPROTO;
}

static int report_by_helper(struct tsm *tsm, struct text *bytes,
			    struct pfnbuf_tdi_evidence *evidence)
{
	const char *const report[] = { tsm->helper, "report", tsm->bdf, NULL };
	const char *const state[] = { tsm->helper, "state", tsm->bdf, NULL };
	struct text words = { .bytes = NULL };
	int err = reading(ask(tsm, report, bytes));

	if (!err)
		err = reading(ask(tsm, state, &words));
	if (!err) {
		err = parse_state(text_get(&words), evidence);
		if (err)
			output_notice(tsm->run->output, "helper", STYLE_BAD,
				      "pfnbufctl: %s state %s: prints no state and generation, "
				      "as in `RUN 1`",
				      tsm->helper, tsm->bdf);
	}
	text_clear(&words);
	return err;
}

/* ---------------------------------------------------------------- reports -------------------------------------------- */

/* Whoever gives a file says that the guest has started what it has attested by it. */
static void report_from_file(struct tsm *tsm, struct text *bytes,
			     struct pfnbuf_tdi_evidence *evidence)
{
	text_put(bytes, (const char *)tsm->report, tsm->report_size);
	evidence->state = PFNBUF_TDI_RUN;
	evidence->generation = tsm->locks;
}

static int report_of_sim(struct tsm *tsm, struct text *bytes, struct pfnbuf_tdi_evidence *evidence)
{
	size_t size = 4096, length = 0;
	char *buf = NULL, *grown;
	int err;

	do {
		size *= 4;
		grown = realloc(buf, size);
		if (!grown) {
			free(buf);
			return -ENOMEM;
		}
		buf = grown;
		err = pfnbuf_sim_tdi_get_report(tsm->run->sim, tsm->bdf, buf, size, &length,
						&evidence->state, &evidence->generation);
	} while (err == -ENOSPC && size < PFNBUF_BIND_REPORT_MAX);
	if (!err)
		text_put(bytes, buf, length);
	free(buf);
	return err;
}

static int get_report(void *data, struct pfnbuf_device *device, void *buf, size_t size, size_t *len,
		      struct pfnbuf_tdi_evidence *evidence)
{
	struct tsm *tsm = data;
	struct text bytes = { .bytes = NULL };
	int err = 0;

	(void)device;
	if (tsm->report)
		report_from_file(tsm, &bytes, evidence);
	else if (tsm->does & DOES_REPORT)
		err = report_by_helper(tsm, &bytes, evidence);
	else
		err = report_of_sim(tsm, &bytes, evidence);
	if (!err) {
		*len = bytes.length;
		if (bytes.length && bytes.length <= size)
			memcpy(buf, bytes.bytes, bytes.length);
		evidence->digest_len = tsm->digest_size;
		err = sha2(text_get(&bytes), bytes.length, evidence->digest, tsm->digest_size);
	}
	text_clear(&bytes);
	return err;
}

static int read_report(struct run *run, const char *path, struct tsm *tsm)
{
	struct pfnbuf_tdi_report *report;
	size_t size;
	int err = report_read(path, 0, &report);

	if (err)
		return fail(run, err, "%s holds no report", path);
	size = pfnbuf_tdi_report_get_size(report);
	tsm->report = malloc(size);
	err = tsm->report ? pfnbuf_tdi_report_encode(report, tsm->report, size, &tsm->report_size)
			  : fail(run, -ENOMEM, "out of memory");
	pfnbuf_tdi_report_free(report);
	return err;
}

/* ---------------------------------------------------------------- making one ----------------------------------------- */

static int make_tsm(struct run *run, const struct statement *st, struct object *device,
		    struct tsm **tsmp)
{
	const struct value *helper = statement_get(st, "helper");
	const struct value *report = statement_get(st, "report");
	struct pfnbuf_device_info info;
	struct tsm *tsm;
	int err = pfnbuf_device_get_info(device->device, &info);

	if (err)
		return err;
	tsm = calloc(1, sizeof(*tsm));
	if (!tsm)
		return fail(run, -ENOMEM, "out of memory");
	*tsm = (struct tsm){ .run = run, .digest_size = statement_get(st, "digest")->size };
	memcpy(tsm->bdf, info.bdf, sizeof(tsm->bdf));
	if (helper) {
		tsm->does = (unsigned)number_or(st, "helper-does", DOES_BIND | DOES_REPORT);
		tsm->helper = strdup(helper->text);
		err = tsm->helper ? 0 : fail(run, -ENOMEM, "out of memory");
	}
	if (!err && report)
		err = read_report(run, report->text, tsm);
	if (err)
		tsm_free(tsm);
	else
		*tsmp = tsm;
	return err;
}

static struct pfnbuf_tsm_ops make_ops(const struct tsm *tsm)
{
	bool binds = tsm->does & DOES_BIND;

	return (struct pfnbuf_tsm_ops){
		.size = sizeof(struct pfnbuf_tsm_ops),
		.bind = binds ? helper_bind : NULL,
		.unbind = binds ? helper_unbind : NULL,
		.start = tsm->does & DOES_START ? helper_start : NULL,
		.report = get_report,
		.validate = tsm->does & DOES_VALIDATE ? helper_validate : NULL,
	};
}

/* Private pages of some profiles come in through a vCPU. Of an inherited VM that has to be inherited, too. */
static int get_vcpu(struct run *run, const struct statement *st, struct object *vm, int *fd)
{
	const struct value *given = statement_get(st, "vcpu-fd");
	int made;

	if (given || vm->has_vcpu) {
		*fd = given ? (int)given->number : vm->vcpu;
		return 0;
	}
	*fd = -1;
	if (!run->profile_pre_faults || vm->inherited)
		return 0;
	made = run->kernel->ioctl(run->kernel->data, pfnbuf_vm_get_fd(vm->vm), KVM_CREATE_VCPU,
				  NULL);
	if (made < 0)
		return fail(run, made, "KVM_CREATE_VCPU: %s", strerror(-made));
	vm->has_vcpu = true;
	vm->vcpu = *fd = made;
	return 0;
}

static struct pfnbuf_tdi_compile_opts compile_opts(const struct statement *st)
{
	return (struct pfnbuf_tdi_compile_opts){
		.size = sizeof(struct pfnbuf_tdi_compile_opts),
		/* The words of each stand in the order of the enum. */
		.unit = (enum pfnbuf_tdi_unit)number_or(st, "unit", 0),
		.base = (enum pfnbuf_tdi_base)number_or(st, "base", 0),
		.holes = (enum pfnbuf_tdi_holes)number_or(st, "holes", 0),
		.mixed = (enum pfnbuf_tdi_mixed)number_or(st, "mixed", 0),
		.msix = (enum pfnbuf_tdi_msix)number_or(st, "msix", 0),
		.reporting_offset = (int64_t)number_or(st, "reporting-offset", 0),
	};
}

/* The windows that the statement names, also as objects. */
static int take_windows(struct run *run, const struct statement *st, struct pfnbuf_window **windows,
			size_t *indexes, size_t *n)
{
	const struct value *value = statement_get(st, "WINDOW");

	for (*n = 0; value; value = statement_next(st, value)) {
		struct object *window = object_at(run, value);

		if (!window)
			return -ENOENT;
		indexes[*n] = object_index(run, window);
		windows[(*n)++] = window->window;
	}
	return 0;
}

static int make_bind(struct run *run, const struct statement *st, struct object *device,
		     struct object *vm, struct tsm *tsm, struct object *made)
{
	const struct value *digest = statement_get(st, "digest");
	struct pfnbuf_window *windows[SCRIPT_MAX_WORDS];
	struct pfnbuf_tsm_ops ops = make_ops(tsm);
	size_t indexes[SCRIPT_MAX_WORDS];
	struct pfnbuf_bind_opts opts = {
		.size = sizeof(opts),
		.ops = &ops,
		.ops_data = tsm,
		.windows = windows,
		.compile = compile_opts(st),
		.digest = digest->data,
		.digest_len = digest->size,
		.vdevice_id = (uint32_t)number_or(st, "vdevice", 0),
		.viommu_id = (uint32_t)number_or(st, "viommu", 0),
		.virt_id = number_or(st, "virt-id", 0),
	};
	int err = take_windows(run, st, windows, indexes, &opts.nr_windows);

	if (!err)
		err = get_vcpu(run, st, vm, &opts.vcpu_fd);
	made->on = err ? NULL : calloc(opts.nr_windows, sizeof(*made->on));
	if (!err && !made->on)
		err = fail(run, -ENOMEM, "out of memory");
	if (!err)
		err = pfnbuf_bind_new(device->device, vm->vm, &opts, &made->bind);
	if (err) {
		free(made->on);
		return err;
	}
	memcpy(made->on, indexes, opts.nr_windows * sizeof(*made->on));
	made->non = opts.nr_windows;
	return 0;
}

int verb_bind(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	struct object *vm = device ? object_of(run, st, "VM") : NULL;
	struct object *object, made = { .kind = 0 };
	struct tsm *tsm = NULL;
	int err = vm ? make_tsm(run, st, device, &tsm) : -ENOENT;

	if (err)
		return err;
	err = make_bind(run, st, device, vm, tsm, &made);
	if (err == -EOPNOTSUPP && !run->has_profile && !st->expect_errno)
		output_notice(run->output, "unsupported", STYLE_PLAIN,
			      "pfnbufctl: of a kernel that can, say which one it is with "
			      "--profile; `pfnbufctl profile list` lists them");
	if (err) {
		tsm_free(tsm);
		return err;
	}
	object = object_new(run, st);
	object->kind = KIND_BIND;
	object->bind = made.bind;
	object->on = made.on;
	object->non = made.non;
	object->tsm = tsm;
	object->backing = object_index(run, device);
	object->in_vm = object_index(run, vm);
	say(run->output, "%s to %s, %zu window%s; not locked yet", device->name, vm->name, made.non,
	    made.non == 1 ? "" : "s");
	json_number(&run->output->fields, "windows", made.non);
	return undo_made(run, object);
}

/* ---------------------------------------------------------------- what it does --------------------------------------- */

static void put_steps(struct run *run, struct object *object)
{
	char *json = PRINTED(pfnbuf_bind_print_json, object->bind);

	if (json) {
		text_add(&run->output->fields, "%s\"plan\":%s",
			 run->output->fields.comma ? "," : "", json);
		run->output->fields.comma = true;
	}
	free(json);
}

static void say_bind(struct run *run, struct object *object)
{
	struct text *json = &run->output->fields;
	struct pfnbuf_bind_info info;
	char private[64], shared[64];

	pfnbuf_bind_get_info(object->bind, &info);
	say(run->output, "%s%s%s, %s", style_on(run->output->colour, STYLE_GOOD),
	    pfnbuf_tdi_state_name(info.state), style_off(run->output->colour),
	    info.bound ? "bound" : "not bound");
	if (info.private_bytes || info.shared_bytes)
		say(run->output, ", %s private, %s shared",
		    length_words(info.private_bytes, private),
		    length_words(info.shared_bytes, shared));
	json_string(json, "state", pfnbuf_tdi_state_name(info.state));
	json_bool(json, "bound", info.bound);
	json_bool(json, "quarantined", info.quarantined);
	json_number(json, "generation", info.generation);
	json_number(json, "private", info.private_bytes);
	json_number(json, "shared", info.shared_bytes);
	put_steps(run, object);
}

/* Whatever a line expects: what is quarantined leaves the outcome open. */
static int done(struct run *run, struct object *object, int err)
{
	struct pfnbuf_bind_info info;

	pfnbuf_bind_get_info(object->bind, &info);
	run->uncertain = run->uncertain || info.quarantined;
	if (!err)
		say_bind(run, object);
	return err;
}

int verb_tdi_lock(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "BIND");
	struct undo undo = { .kind = UNDO_TDI_LOCK };
	int err;

	if (!object)
		return -ENOENT;
	object->tsm->locks++;
	err = done(run, object, pfnbuf_bind_lock(object->bind));
	if (err)
		return err;
	undo.object = object_index(run, object);
	return undo_push(run, &undo);
}

int verb_tdi_run(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "BIND");
	struct undo undo = { .kind = UNDO_TDI_RUN };
	int err = object ? done(run, object, pfnbuf_bind_run(object->bind)) : -ENOENT;

	if (err)
		return err;
	undo.object = object_index(run, object);
	return undo_push(run, &undo);
}

int verb_tdi_unlock(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "BIND");

	return object ? done(run, object, pfnbuf_bind_unlock(object->bind)) : -ENOENT;
}

int plan_bind(struct run *run, struct object *object)
{
	char *text = PRINTED(pfnbuf_bind_print, object->bind);

	say_bind(run, object);
	say_more(run->output, "%s", text ? text : "");
	free(text);
	return 0;
}
