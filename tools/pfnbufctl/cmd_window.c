/* SPDX-License-Identifier: MIT */
/* Verbs on windows. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "libpfnbuf/uapi/kvm.h"
#include "report.h"
#include "run.h"

/* ---------------------------------------------------------------- making one ----------------------------------------- */

struct request {
	struct pfnbuf_place place;
	struct object *vm, *ioas;
};

static int fill_place(struct run *run, const struct statement *st, struct request *request)
{
	static const unsigned access[] = { PFNBUF_MAP_READ, PFNBUF_MAP_WRITE,
					   PFNBUF_MAP_READ | PFNBUF_MAP_WRITE };
	const struct value *vm = statement_get(st, "vm"), *ioas = statement_get(st, "ioas");
	const struct value *flags = statement_get(st, "flags");

	*request = (struct request){ .vm = vm ? object_at(run, vm) : NULL };
	if (vm && !request->vm)
		return -ENOENT;
	request->ioas = ioas ? object_at(run, ioas) : NULL;
	if (ioas && !request->ioas)
		return -ENOENT;
	request->place = (struct pfnbuf_place){
		.size = sizeof(request->place),
		.vm = vm ? request->vm->vm : NULL,
		.gpa = number_or(st, "gpa", 0),
		.ioas = ioas ? request->ioas->ioas : NULL,
		.iova = number_or(st, "iova", 0),
		.map_flags = flags ? access[flags->number] : 0,
		.slot_flags = (unsigned)number_or(st, "slot-flags", 0),
		.granule = number_or(st, "granule", 0),
		.flags = (number_or(st, "withdraw", 0) ? PFNBUF_PLACE_WITHDRAW_SLOTS : 0u) |
			 (number_or(st, "retry", 0) ? PFNBUF_PLACE_RETRY : 0u),
	};
	return 0;
}

static int keep_window(struct run *run, const struct statement *st, const struct request *request,
		       struct pfnbuf_window *window, const struct object *backing)
{
	struct object *object = object_new(run, st);
	struct pfnbuf_window_info info;
	struct text *json = &run->output->fields;
	char words[64], what[128];

	pfnbuf_window_get_info(window, &info);
	object->kind = KIND_WINDOW;
	object->window = window;
	object->length = info.length;
	object->backing = object_index(run, backing);
	object->private_backing =
		has(st, "private") ? statement_get(st, "private")->object : NO_OBJECT;
	object->bar = (unsigned)number_or(st, "BAR", 0);
	object->in_vm = request->vm ? object_index(run, request->vm) : NO_OBJECT;
	object->in_ioas = request->ioas ? object_index(run, request->ioas) : NO_OBJECT;
	say(run->output, "%s of %s, nothing placed yet", length_words(info.length, words),
	    window_backing(run, object, what));
	json_number(json, "length", info.length);
	json_string(json, "backing", what);
	return undo_made(run, object);
}

int verb_bar_window(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	const struct value *range = statement_get(st, "RANGE");
	struct pfnbuf_range part = { 0, 0 };
	struct pfnbuf_window *window;
	struct request request;
	int err = device ? fill_place(run, st, &request) : -ENOENT;

	if (range)
		part = (struct pfnbuf_range){ range->number, range->length };
	if (!err)
		err = pfnbuf_window_new_bar(device->device, (unsigned)number_or(st, "BAR", 0),
					    range ? &part : NULL, &request.place, &window);
	return err ? err : keep_window(run, st, &request, window, device);
}

/* Shared memory is in a file or in this process; a guest_memfd is shared and private memory in one. */
static int fill_ram(struct run *run, const struct statement *st, struct object *buf,
		    uint64_t offset, struct pfnbuf_ram *ram)
{
	const struct value *value = statement_get(st, "private");
	struct object *private = value ? object_at(run, value) : NULL;

	if (value && !private)
		return -ENOENT;
	if (!ram->length)
		ram->length = object_length(buf);
	if (private) {
		ram->guest_memfd = private->buf;
		ram->guest_memfd_offset = number_or(st, "private-offset", 0);
	}
	if (buf->kind == KIND_GUEST_MEMFD) {
		ram->guest_memfd = buf->buf;
		ram->guest_memfd_offset = offset;
		return 0;
	}
	if (buf->kind == KIND_MEMFD) {
		ram->memfd = buf->buf;
		ram->offset = offset;
		return 0;
	}
	/* Of process memory nobody else could judge the range. */
	if (offset > buf->length || ram->length > buf->length - offset)
		return fail(run, -EINVAL,
			    "0x%" PRIx64 "+0x%" PRIx64 " leaves %s, which has 0x%" PRIx64 " bytes",
			    offset, ram->length, buf->name, buf->length);
	ram->addr = (uint8_t *)buf->addr + offset;
	return 0;
}

int verb_ram_window(struct run *run, const struct statement *st)
{
	struct object *buf = object_of(run, st, "BUF");
	const struct value *range = statement_get(st, "RANGE");
	struct pfnbuf_window *window;
	struct request request;
	struct pfnbuf_ram ram = { .length = range ? range->length : 0 };
	int err = buf ? fill_place(run, st, &request) : -ENOENT;

	if (!err)
		err = fill_ram(run, st, buf, range ? range->number : 0, &ram);
	if (!err)
		err = pfnbuf_window_new_ram(run->ctx, &ram, &request.place, &window);
	return err ? err : keep_window(run, st, &request, window, buf);
}

/* ---------------------------------------------------------------- layouts -------------------------------------------- */

/* The window's layout with the ranges of the statement changed, or what suits it where there are none. */
static int make_target(struct run *run, const struct statement *st, struct object *window,
		       const struct value *vis, struct pfnbuf_layout **layoutp)
{
	const struct value *range = statement_get(st, "RANGE");
	const struct value *file = statement_get(st, "FILE");
	const struct value *name = statement_get(st, "layout");
	struct pfnbuf_layout *layout;
	int err;

	if (file) {
		err = layout_read(file->text, name ? name->text : NULL, layoutp);
		return err ? fail(run, err, "no layout for %s", window->name) : 0;
	}
	if (!range)
		return pfnbuf_window_default_layout(window->window, layoutp);
	err = pfnbuf_window_get_layout(window->window, &layout);
	if (err)
		return err;
	for (; range && !err; range = statement_next(st, range))
		err = pfnbuf_layout_set(layout, range->number, range->length,
					(enum pfnbuf_vis)vis->number);
	if (err)
		pfnbuf_layout_free(layout);
	else
		*layoutp = layout;
	return err;
}

static void put_plan(struct run *run, const struct pfnbuf_plan *plan)
{
	char *json = PRINTED(pfnbuf_plan_print_json, plan);

	if (json) {
		text_add(&run->output->fields, "%s\"plan\":%s",
			 run->output->fields.comma ? "," : "", json);
		run->output->fields.comma = true;
	}
	free(json);
}

/* How much there is of what, after a change. */
static void say_layout(struct run *run, struct object *window)
{
	uint64_t bytes[PFNBUF_VIS_COUNT];
	bool any = false;
	char words[64];

	window_count(window, bytes);
	for (unsigned i = PFNBUF_VIS_COUNT; i--;) {
		if (!bytes[i])
			continue;
		say(run->output, "%s%s %s", any ? ", " : "", length_words(bytes[i], words),
		    pfnbuf_vis_name((enum pfnbuf_vis)i));
		json_number(&run->output->fields, pfnbuf_vis_name((enum pfnbuf_vis)i), bytes[i]);
		any = true;
	}
}

/* What a call says above 0: all is done, but. */
static void say_condition(struct run *run, int condition)
{
	json_number(&run->output->fields, "condition", (uint64_t)condition);
	if (condition == PFNBUF_PENDING)
		say(run->output, "; %swaiting: somebody holds a page%s",
		    style_on(run->output->colour, STYLE_WARN), style_off(run->output->colour));
	if (condition == 1)
		say(run->output, "; %sgiving memory back failed: it stays allocated%s",
		    style_on(run->output->colour, STYLE_WARN), style_off(run->output->colour));
}

/* Go to @target, which is freed. What was there can be had back. */
static int set_layout(struct run *run, struct object *window, struct pfnbuf_layout *target)
{
	struct undo undo = { .kind = UNDO_LAYOUT, .object = object_index(run, window) };
	struct pfnbuf_plan *plan = NULL;
	size_t steps = 0;
	int err = pfnbuf_window_get_layout(window->window, &undo.layout);

	if (!err)
		err = pfnbuf_window_plan(window->window, target, &plan);
	if (!err) {
		steps = pfnbuf_plan_get_nr_steps(plan);
		err = pfnbuf_window_apply(window->window, plan);
		put_plan(run, plan);
	}
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(target);
	if (err < 0) {
		pfnbuf_layout_free(undo.layout);
		return err;
	}
	say_layout(run, window);
	say(run->output, "; %zu kernel call%s", steps, steps == 1 ? "" : "s");
	say_condition(run, err);
	return undo_push(run, &undo);
}

int verb_set_layout(struct run *run, const struct statement *st)
{
	struct object *window = object_of(run, st, "WINDOW");
	struct pfnbuf_layout *target;
	int err = window ? make_target(run, st, window, NULL, &target) : -ENOENT;

	return err ? err : set_layout(run, window, target);
}

int verb_set_range(struct run *run, const struct statement *st)
{
	struct object *window = object_of(run, st, "WINDOW");
	struct pfnbuf_layout *target;
	int err = window ? make_target(run, st, window, statement_get(st, "VISIBILITY"), &target)
			 : -ENOENT;

	return err ? err : set_layout(run, window, target);
}

/* Every window that the conversion could reach, as it is now. */
static int remember_windows(struct run *run, const struct object *object, struct undo *undos,
			    size_t *n)
{
	size_t index = object_index(run, object);
	int err = 0;

	for (size_t i = 0; i < run->nobjects && !err; i++) {
		struct object *window = &run->objects[i];

		if (window->kind != KIND_WINDOW || (window != object && window->in_vm != index))
			continue;
		undos[*n] = (struct undo){ .kind = UNDO_LAYOUT, .object = i };
		err = pfnbuf_window_get_layout(window->window, &undos[*n].layout);
		*n += !err;
	}
	return err;
}

static int convert(struct object *object, const struct pfnbuf_conversion *conversions, size_t n)
{
	return object->kind == KIND_VM
		       ? pfnbuf_guest_convert(object->vm, conversions, n)
		       : pfnbuf_window_convert_batch(object->window, conversions, n);
}

/* The event that tells what became of a conversion, among those after @since; NULL: none yet. */
static const struct pfnbuf_event *find_outcome(const struct run *run, uint64_t since)
{
	for (size_t i = 0; i < run->nevents; i++) {
		const struct pfnbuf_event *event = &run->events[i].event;

		if (event->seq > since && (event->type == PFNBUF_EVENT_CONVERTED ||
					   event->type == PFNBUF_EVENT_CONVERT_FAILED))
			return event;
	}
	return NULL;
}

/* What became of a conversion that waits, once that is known: 0 or 1, or why it failed. */
static int wait_for_conversion(struct run *run)
{
	struct pollfd pollfd = { .fd = pfnbuf_ctx_get_fd(run->ctx), .events = POLLIN };
	uint64_t since = run->nevents ? run->events[run->nevents - 1].event.seq : 0;

	for (;;) {
		int err = run_digest(run);
		const struct pfnbuf_event *outcome = err ? NULL : find_outcome(run, since);

		if (err)
			return err;
		if (outcome && outcome->result < 0)
			return fail(run, outcome->result,
				    "the conversion was tried often enough: %s",
				    strerror(-outcome->result));
		if (outcome)
			return outcome->result;
		if (*run->stop)
			return fail(run, -EINTR, "stopped by a signal");
		poll(&pollfd, 1, 1000);
	}
}

/* What could be undone is remembered, or forgotten where nothing was done. */
static int keep_or_drop(struct run *run, struct undo *undos, size_t n, int result)
{
	for (size_t i = 0; i < n; i++) {
		if (result < 0)
			pfnbuf_layout_free(undos[i].layout);
		else if (undo_push(run, &undos[i]))
			result = -ENOMEM;
	}
	free(undos);
	return result;
}

int verb_convert(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "NAME");
	const struct value *range = statement_get(st, "RANGE");
	bool private = statement_get(st, "to")->number;
	struct pfnbuf_conversion conversions[SCRIPT_MAX_WORDS];
	struct undo *undos;
	size_t n = 0, windows = 0;
	int err;

	if (!object)
		return -ENOENT;
	for (; range; range = statement_next(st, range))
		conversions[n++] =
			(struct pfnbuf_conversion){ range->number, range->length,
						    private ? PFNBUF_PRIVATE : PFNBUF_SHARED };
	undos = calloc(run->nobjects + 1, sizeof(*undos));
	if (!undos)
		return fail(run, -ENOMEM, "out of memory");
	err = remember_windows(run, object, undos, &windows);
	if (!err)
		err = convert(object, conversions, n);
	if (err == PFNBUF_PENDING && run->in_transaction)
		err = wait_for_conversion(run);
	err = keep_or_drop(run, undos, windows, err);
	if (err < 0)
		return err;
	if (object->kind == KIND_WINDOW)
		say_layout(run, object);
	else
		say(run->output, "%zu range%s %s", n, n == 1 ? "" : "s",
		    private ? "private" : "shared");
	say_condition(run, err);
	return 0;
}

/* ---------------------------------------------------------------- exits ---------------------------------------------- */

static int explain(struct run *run, const struct statement *st, const struct pfnbuf_exit *exit)
{
	struct object *vm = object_of(run, st, "VM");
	struct text *json = &run->output->fields;
	struct pfnbuf_exit_advice advice;
	char words[64];
	int err = vm ? pfnbuf_exit_explain(vm->vm, exit, &advice) : -ENOENT;

	if (err)
		return err;
	say(run->output, "%s", pfnbuf_exit_action_name(advice.action));
	json_string(json, "action", pfnbuf_exit_action_name(advice.action));
	if (advice.action == PFNBUF_EXIT_CONVERT) {
		say(run->output, " %s to %s",
		    range_words(advice.conversion.offset, advice.conversion.length, words),
		    pfnbuf_vis_name(advice.conversion.to));
		json_number(json, "gpa", advice.conversion.offset);
		json_number(json, "length", advice.conversion.length);
		json_string(json, "to", pfnbuf_vis_name(advice.conversion.to));
	}
	say(run->output, ": %s", advice.reason);
	json_string(json, "reason", advice.reason);
	if (exit->kind == PFNBUF_EXIT_HYPERCALL) {
		say(run->output, "; the hypercall returns %" PRId64, (int64_t)advice.ret);
		json_number(json, "ret", advice.ret);
	}
	return 0;
}

int verb_explain_hypercall(struct run *run, const struct statement *st)
{
	struct pfnbuf_exit exit = { .kind = PFNBUF_EXIT_HYPERCALL,
				    .nr = statement_get(st, "NR")->number };
	const struct value *arg = statement_get(st, "ARG");

	for (size_t i = 0; arg && i < 4; i++) {
		exit.args[i] = arg->number;
		arg = statement_next(st, arg);
	}
	return explain(run, st, &exit);
}

int verb_explain_fault(struct run *run, const struct statement *st)
{
	const struct value *range = statement_get(st, "RANGE");
	struct pfnbuf_exit exit = {
		.kind = PFNBUF_EXIT_MEMORY_FAULT,
		.flags = number_or(st, "as", 0) ? KVM_MEMORY_EXIT_FLAG_PRIVATE : 0,
		.gpa = range->number,
		.length = range->length,
	};

	return explain(run, st, &exit);
}

/* ---------------------------------------------------------------- plans ---------------------------------------------- */

int verb_plan(struct run *run, const struct statement *st)
{
	struct object *window = object_of(run, st, "NAME");
	struct pfnbuf_layout *target;
	struct pfnbuf_plan *plan = NULL;
	size_t steps;
	char *text;
	int err;

	if (window && window->kind == KIND_BIND)
		return plan_bind(run, window);
	err = window ? make_target(run, st, window, statement_get(st, "to"), &target) : -ENOENT;

	if (err)
		return err;
	err = pfnbuf_window_plan(window->window, target, &plan);
	pfnbuf_layout_free(target);
	if (err)
		return err;
	steps = pfnbuf_plan_get_nr_steps(plan);
	text = PRINTED(pfnbuf_plan_print, plan);
	say(run->output, "%zu kernel call%s", steps, steps == 1 ? "" : "s");
	if (text)
		say_more(run->output, "%s", text);
	put_plan(run, plan);
	free(text);
	err = pfnbuf_plan_check(plan);
	pfnbuf_plan_free(plan);
	return err;
}

/* ---------------------------------------------------------------- moving --------------------------------------------- */

int move_window(struct run *run, const struct statement *st, struct object *object)
{
	struct undo undo = { .kind = UNDO_PLACE, .object = object_index(run, object) };
	struct pfnbuf_window_info info;
	int err;

	pfnbuf_window_get_info(object->window, &info);
	undo.offset = info.gpa;
	undo.length = info.iova;
	err = pfnbuf_window_move(object->window, number_or(st, "GPA", 0),
				 number_or(st, "iova", info.iova));
	return err < 0 ? err : undo_push(run, &undo);
}

int verb_suspend(struct run *run, const struct statement *st)
{
	struct object *window = object_of(run, st, "WINDOW");
	struct undo undo = { .kind = UNDO_SUSPEND };
	int err = window ? pfnbuf_window_suspend(window->window) : -ENOENT;

	if (err < 0)
		return err;
	undo.object = object_index(run, window);
	return undo_push(run, &undo);
}

int verb_resume(struct run *run, const struct statement *st)
{
	struct object *window = object_of(run, st, "WINDOW");
	struct undo undo = { .kind = UNDO_SUSPEND, .flag = true };
	int err = window ? pfnbuf_window_resume(window->window) : -ENOENT;

	if (err < 0)
		return err;
	undo.object = object_index(run, window);
	return undo_push(run, &undo);
}

/* ---------------------------------------------------------------- looking -------------------------------------------- */

int verify_window(struct run *run, struct object *object)
{
	struct pfnbuf_range missing;
	char words[64];
	int answer = pfnbuf_window_verify(object->window, &missing);

	if (answer < 0)
		return answer;
	json_bool(&run->output->fields, "there", answer);
	if (!answer)
		return fail(run, -ESTALE, "the kernel has nothing at %s of %s",
			    range_words(missing.offset, missing.length, words), object->name);
	say(run->output, "all is there");
	return 0;
}

void window_count(struct object *object, uint64_t *bytes)
{
	struct pfnbuf_layout_count count = { .runs = { 0 } };
	struct pfnbuf_layout *layout;
	uint64_t page = 0;

	if (!pfnbuf_window_get_layout(object->window, &layout)) {
		pfnbuf_layout_count(layout, &count);
		page = pfnbuf_layout_get_page_size(layout);
		pfnbuf_layout_free(layout);
	}
	for (unsigned i = 0; i < PFNBUF_VIS_COUNT; i++)
		bytes[i] = count.frames[i] * page;
}

struct object *window_at(struct run *run, const struct object *ioas, uint64_t iova)
{
	size_t index = object_index(run, ioas);

	for (size_t i = 0; i < run->nobjects; i++) {
		struct object *object = &run->objects[i];
		struct pfnbuf_window_info info;

		if (object->kind != KIND_WINDOW || object->in_ioas != index)
			continue;
		pfnbuf_window_get_info(object->window, &info);
		if (iova >= info.iova && iova - info.iova < info.length)
			return object;
	}
	return NULL;
}

const char *window_backing(struct run *run, const struct object *window, char *buf)
{
	const struct object *backing = object_by_index(run, window->backing);
	const struct object *private = object_by_index(run, window->private_backing);

	if (backing && backing->kind == KIND_DEVICE)
		snprintf(buf, 128, "BAR %u of %s", window->bar, backing->name);
	else
		snprintf(buf, 128, "%.60s%s%.60s", backing ? backing->name : "?",
			 private ? " + " : "", private ? private->name : "");
	return buf;
}

enum style window_style(enum pfnbuf_window_state state)
{
	return state == PFNBUF_WINDOW_LIVE	  ? STYLE_GOOD
	       : state == PFNBUF_WINDOW_SUSPENDED ? STYLE_WARN
						  : STYLE_BAD;
}
