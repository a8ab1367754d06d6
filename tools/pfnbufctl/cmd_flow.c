/* SPDX-License-Identifier: MIT */
/* Verbs that steer a run: print, wait, expect, begin, commit, ... */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "run.h"

int verb_print(struct run *run, const struct statement *st)
{
	struct text line = { NULL, 0, 0, false };

	for (size_t i = 0; i < st->nvalues; i++)
		text_add(&line, "%s%s", i ? " " : "", st->values[i].text);
	say_more(run->output, "%s\n", text_get(&line));
	json_string(&run->output->fields, "text", text_get(&line));
	text_clear(&line);
	return 0;
}

int verb_title(struct run *run, const struct statement *st)
{
	struct output *output = run->output;
	const char *words = statement_get(st, "TEXT")->text;
	const char *dash = output->unicode ? "─" : "-";
	size_t columns = text_columns(words);

	say_more(output, "\n%s%s%s ", style_on(output->colour, STYLE_BOLD), dash, dash);
	say_more(output, "%s ", words);
	for (size_t i = columns; i < 76; i++)
		say_more(output, "%s", dash);
	say_more(output, "%s\n", style_off(output->colour));
	json_string(&output->fields, "text", words);
	return 0;
}

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int verb_sleep(struct run *run, const struct statement *st)
{
	uint64_t ns = statement_get(st, "DURATION")->number;
	struct timespec left = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

	while (nanosleep(&left, &left))
		if (*run->stop)
			return fail(run, -EINTR, "stopped by a signal");
	return 0;
}

/* ---------------------------------------------------------------- events --------------------------------------------- */

static void put_event(struct run *run, size_t i)
{
	const struct pfnbuf_event *event = &run->events[i].event;
	struct text *json = &run->output->fields;

	json_string(json, "event", pfnbuf_event_type_name(event->type));
	json_number(json, "sequence", event->seq);
	json_string(json, "device", run->events[i].device);
	if (*run->events[i].window)
		json_string(json, "window", run->events[i].window);
	if (event->range.length) {
		json_number(json, "offset", event->range.offset);
		json_number(json, "length", event->range.length);
	}
	json_string(json, "cause", pfnbuf_cause_name(event->cause));
	json_number(json, "generation", event->generation);
	if (event->type == PFNBUF_EVENT_LOST)
		json_number(json, "count", event->count);
	if (event->type == PFNBUF_EVENT_CONVERT_FAILED)
		json_string(json, "errno", pfnbuf_errno_name(event->result));
}

static void event_words(const struct run *run, size_t i, struct text *to)
{
	const struct pfnbuf_event *event = &run->events[i].event;
	char words[64];

	text_add(to, "%s", pfnbuf_event_type_name(event->type));
	if (event->type == PFNBUF_EVENT_LOST) {
		text_add(to, ": %" PRIu64 " events", event->count);
		return;
	}
	if (*run->events[i].window)
		text_add(to, " window %s", run->events[i].window);
	if (event->range.length)
		text_add(to, " %s", range_words(event->range.offset, event->range.length, words));
	if (*run->events[i].device)
		text_add(to, " %s, generation %" PRIu64, run->events[i].device, event->generation);
	if (event->type == PFNBUF_EVENT_CONVERT_FAILED)
		text_add(to, ": %s", pfnbuf_errno_name(event->result));
	if (event->cause != PFNBUF_CAUSE_NONE)
		text_add(to, " (%s)", pfnbuf_cause_name(event->cause));
}

static void drop_event(struct run *run, size_t i)
{
	run->nevents--;
	memmove(run->events + i, run->events + i + 1, (run->nevents - i) * sizeof(*run->events));
}

static bool take_event(struct run *run, const char *type, const struct value *device,
		       const struct value *window)
{
	struct text words = { NULL, 0, 0, false };

	for (size_t i = 0; i < run->nevents; i++) {
		if (strcmp(pfnbuf_event_type_name(run->events[i].event.type), type) ||
		    (device && strcmp(run->events[i].device, device->text)) ||
		    (window && strcmp(run->events[i].window, window->text)))
			continue;
		event_words(run, i, &words);
		say(run->output, "%s", text_get(&words));
		text_clear(&words);
		put_event(run, i);
		drop_event(run, i);
		return true;
	}
	return false;
}

int verb_wait(struct run *run, const struct statement *st)
{
	const struct value *event = statement_get(st, "EVENT");
	const struct value *device = statement_get(st, "device");
	const struct value *window = statement_get(st, "window");
	uint64_t timeout = number_or(st, "timeout", 5000000000u);
	uint64_t end = now_ns() + timeout;
	struct pollfd pollfd = { .fd = pfnbuf_ctx_get_fd(run->ctx), .events = POLLIN };

	if ((device && !object_at(run, device)) || (window && !object_at(run, window)))
		return -ENOENT;
	for (;;) {
		uint64_t now = now_ns();
		int err = run_digest(run);

		if (err)
			return err;
		if (take_event(run, event->text, device, window))
			return 0;
		if (*run->stop)
			return fail(run, -EINTR, "stopped by a signal");
		if (now >= end)
			return fail(run, -ETIMEDOUT, "no %s event%s%s%s%s within %" PRIu64 " ms",
				    event->text, device ? " of " : "", device ? device->text : "",
				    window ? " of " : "", window ? window->text : "",
				    timeout / 1000000);
		/* Rounded up, so that the last wait is not a busy one. */
		poll(&pollfd, 1, (int)((end - now + 999999) / 1000000));
	}
}

int verb_events(struct run *run, const struct statement *st)
{
	struct text *json = &run->output->fields;
	int err = run_digest(run);

	(void)st;
	if (err)
		return err;
	say(run->output, "%zu event%s", run->nevents, run->nevents == 1 ? "" : "s");
	json_open(json, "events", '[');
	for (size_t i = 0; i < run->nevents; i++) {
		struct text words = { NULL, 0, 0, false };

		event_words(run, i, &words);
		say_more(run->output, "      %" PRIu64 " %s\n", run->events[i].event.seq,
			 text_get(&words));
		text_clear(&words);
		json_open(json, NULL, '{');
		put_event(run, i);
		json_close(json, '}');
	}
	json_close(json, ']');
	if (run->events_lost)
		say_more(run->output, "      and %" PRIu64 " before those\n", run->events_lost);
	run->nevents = 0;
	run->events_lost = 0;
	return 0;
}

/* ---------------------------------------------------------------- transactions --------------------------------------- */

int verb_begin(struct run *run, const struct statement *st)
{
	run->in_transaction = true;
	run->begun = st->at;
	return 0;
}

int verb_commit(struct run *run, const struct statement *st)
{
	size_t steps = run->nundos;

	(void)st;
	undo_drop(run);
	say(run->output, "%zu step%s", steps, steps == 1 ? "" : "s");
	json_number(&run->output->fields, "steps", steps);
	return 0;
}

/* ---------------------------------------------------------------- expect --------------------------------------------- */

/* What differs, collected over the keys of one line. */
struct comparison {
	struct run *run;
	const struct statement *st;
	struct text wrong;
};

static void compare_number(struct comparison *c, const char *key, uint64_t found)
{
	const struct value *value = statement_get(c->st, key);

	if (!value)
		return;
	json_number(&c->run->output->fields, key, found);
	if (found != value->number)
		text_add(&c->wrong, "%s%s is %" PRIu64 " (0x%" PRIx64 "), not %s",
			 c->wrong.length ? "; " : "", key, found, found, value->text);
}

static void compare_switch(struct comparison *c, const char *key, bool found)
{
	const struct value *value = statement_get(c->st, key);

	if (!value)
		return;
	json_bool(&c->run->output->fields, key, found);
	if (found != (value->number != 0))
		text_add(&c->wrong, "%s%s is %s, not %s", c->wrong.length ? "; " : "", key,
			 found ? "on" : "off", value->text);
}

static void compare_word(struct comparison *c, const char *key, const char *found)
{
	const struct value *value = statement_get(c->st, key);

	if (!value)
		return;
	json_string(&c->run->output->fields, key, found);
	if (strcasecmp(found, value->text))
		text_add(&c->wrong, "%s%s is %s, not %s", c->wrong.length ? "; " : "", key, found,
			 value->text);
}

static int expect_device(struct comparison *c, struct object *object)
{
	struct pfnbuf_device_info info;
	int err = pfnbuf_device_get_info(object->device, &info);

	if (err)
		return err;
	compare_number(c, "generation", info.generation);
	compare_switch(c, "memory", info.memory_enabled);
	compare_switch(c, "attached", info.ioas_id != 0);
	compare_switch(c, "low-power", info.low_power);
	compare_switch(c, "can-reset", info.can_reset);
	return 0;
}

static int expect_area(struct comparison *c, struct object *object)
{
	struct object *ioas = object_by_index(c->run, object->parent);
	struct pfnbuf_area area;

	if (!ioas || pfnbuf_ioas_next_area(ioas->ioas, object->iova, &area) != 1 ||
	    area.iova != object->iova)
		return fail(c->run, -ENOENT, "%s is not mapped any more", object->name);
	compare_number(c, "iova", area.iova);
	compare_number(c, "length", area.length);
	compare_number(c, "generation", area.generation);
	compare_switch(c, "dead", area.dead);
	return 0;
}

size_t count_areas(struct pfnbuf_ioas *ioas, size_t *dead)
{
	struct pfnbuf_area area;
	uint64_t at = 0;
	size_t n = 0;

	*dead = 0;
	while (pfnbuf_ioas_next_area(ioas, at, &area) == 1) {
		n++;
		*dead += area.dead;
		if (__builtin_add_overflow(area.iova, area.length, &at))
			break;
	}
	return n;
}

static size_t count_slots(struct pfnbuf_vm *vm)
{
	struct pfnbuf_slot slot;
	uint32_t id = 0;
	size_t n = 0;

	for (; pfnbuf_vm_next_slot(vm, id, &id, &slot) == 1; id++)
		n++;
	return n;
}

static void expect_window(struct comparison *c, struct object *object)
{
	struct pfnbuf_window_info info;
	uint64_t bytes[PFNBUF_VIS_COUNT];

	pfnbuf_window_get_info(object->window, &info);
	window_count(object, bytes);
	compare_word(c, "state", pfnbuf_window_state_name(info.state));
	compare_number(c, "generation", info.generation);
	compare_number(c, "length", info.length);
	compare_number(c, "areas", info.areas);
	compare_number(c, "dead-areas", info.dead_areas);
	compare_number(c, "iova", info.iova);
	compare_number(c, "slots", info.slots);
	compare_number(c, "gpa", info.gpa);
	compare_number(c, "shared", bytes[PFNBUF_SHARED]);
	compare_number(c, "private", bytes[PFNBUF_PRIVATE]);
	compare_number(c, "hole", bytes[PFNBUF_HOLE]);
}

static void expect_bind(struct comparison *c, struct object *object)
{
	struct pfnbuf_bind_info info;

	pfnbuf_bind_get_info(object->bind, &info);
	compare_word(c, "state",
		     info.quarantined ? "quarantined" : pfnbuf_tdi_state_name(info.state));
	compare_number(c, "generation", info.generation);
	compare_number(c, "shared", info.shared_bytes);
	compare_number(c, "private", info.private_bytes);
	compare_switch(c, "bound", info.bound);
}

static int expect_object(struct comparison *c, struct object *object)
{
	size_t areas, dead;

	switch (object->kind) {
	case KIND_DEVICE:
		return expect_device(c, object);
	case KIND_AREA:
		return expect_area(c, object);
	case KIND_IOAS:
		areas = count_areas(object->ioas, &dead);
		compare_number(c, "areas", areas);
		compare_number(c, "dead-areas", dead);
		return 0;
	case KIND_VM:
		compare_number(c, "slots", count_slots(object->vm));
		return 0;
	case KIND_SLOT:
		compare_number(c, "gpa", object->gpa);
		compare_number(c, "length", object->length);
		return 0;
	case KIND_MEMORY:
		compare_number(c, "length", object->length);
		return 0;
	case KIND_WINDOW:
		expect_window(c, object);
		return 0;
	case KIND_BIND:
		expect_bind(c, object);
		return 0;
	default:
		compare_word(c, "state", pfnbuf_state_name(pfnbuf_buf_get_state(object->buf)));
		compare_number(c, "generation", pfnbuf_buf_get_generation(object->buf));
		compare_number(c, "length", pfnbuf_buf_get_length(object->buf));
		return 0;
	}
}

int verb_expect(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "NAME");
	struct comparison c = { .run = run, .st = st };
	int err;

	if (!object)
		return -ENOENT;
	err = expect_object(&c, object);
	if (!err && c.wrong.length)
		err = fail(run, -EBADMSG, "%s: %s", object->name, text_get(&c.wrong));
	text_clear(&c.wrong);
	if (!err)
		say(run->output, "%sas expected%s", style_on(run->output->colour, STYLE_GOOD),
		    style_off(run->output->colour));
	return err;
}

/* ---------------------------------------------------------------- objects -------------------------------------------- */

int verb_show(struct run *run, const struct statement *st)
{
	struct text *json = &run->output->fields;
	int err = 0;

	json_open(json, "objects", '[');
	for (size_t i = 0; i < st->nvalues && !err; i++) {
		struct object *object = object_at(run, &st->values[i]);

		if (object)
			show_object(run, object);
		else
			err = -ENOENT;
	}
	for (size_t i = 0; i < run->nobjects && !st->nvalues; i++)
		if (run->objects[i].kind)
			show_object(run, &run->objects[i]);
	json_close(json, ']');
	return err;
}

static void draw(struct run *run, struct object *object)
{
	if (object->kind == KIND_IOAS)
		draw_ioas(run, object);
	else if (object->kind == KIND_VM)
		draw_vm(run, object);
}

int verb_picture(struct run *run, const struct statement *st)
{
	struct text *json = &run->output->fields;
	int err = 0;

	json_open(json, "spaces", '[');
	for (size_t i = 0; i < st->nvalues && !err; i++) {
		struct object *object = object_at(run, &st->values[i]);

		if (object)
			draw(run, object);
		else
			err = -ENOENT;
	}
	for (size_t i = 0; i < run->nobjects && !st->nvalues; i++)
		draw(run, &run->objects[i]);
	json_close(json, ']');
	return err;
}

int verb_close(struct run *run, const struct statement *st)
{
	for (size_t i = 0; i < st->nvalues; i++) {
		struct object *object = object_at(run, &st->values[i]);
		int err = object ? object_end(run, object) : -ENOENT;

		if (err)
			return err;
	}
	return 0;
}
