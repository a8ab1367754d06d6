/* SPDX-License-Identifier: MIT */
/* Verbs on devices. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "run.h"

static int open_device(struct run *run, const struct statement *st, struct pfnbuf_device **devicep)
{
	const struct value *bdf = statement_get(st, "BDF");

	if (bdf)
		return pfnbuf_device_open(run->ctx, bdf->text, devicep);
	/* The process keeps what it inherited: the same fd may be named twice. */
	return pfnbuf_device_from_fd(run->ctx, (int)number_or(st, "fd", 0), PFNBUF_FD_BORROWED, 0,
				     devicep);
}

static void say_device(struct run *run, struct pfnbuf_device *device)
{
	struct text *json = &run->output->fields;
	struct pfnbuf_device_info info;

	if (pfnbuf_device_get_info(device, &info))
		return;
	say(run->output, "%s %04x:%04x, bound, generation %" PRIu64, info.bdf, info.vendor,
	    info.device, info.generation);
	json_string(json, "bdf", info.bdf);
	json_number(json, "vendor", info.vendor);
	json_number(json, "device", info.device);
	json_number(json, "generation", info.generation);
}

int verb_device(struct run *run, const struct statement *st)
{
	const struct value *vm_name = statement_get(st, "vm");
	const struct value *token = statement_get(st, "token");
	struct object *vm = vm_name ? object_at(run, vm_name) : NULL;
	struct pfnbuf_device *device;
	struct object *object;
	int err;

	if (vm_name && !vm)
		return -ENOENT;
	err = open_device(run, st, &device);
	if (err)
		return err;
	/* KVM first: the driver sees the VM only if it was told before binding. */
	if (vm)
		err = pfnbuf_vm_add_device(vm->vm, device);
	if (!err)
		err = pfnbuf_device_bind(device, token ? token->data : NULL);
	if (err) {
		pfnbuf_device_close(device);
		return err;
	}
	object = object_new(run, st);
	object->kind = KIND_DEVICE;
	object->device = device;
	say_device(run, device);
	return undo_made(run, object);
}

/* The index of the IOAS that a device is attached to, or NO_OBJECT. */
static size_t attached_to(struct run *run, struct pfnbuf_device *device)
{
	struct pfnbuf_device_info info;

	if (pfnbuf_device_get_info(device, &info) || !info.ioas_id)
		return NO_OBJECT;
	for (size_t i = 0; i < run->nobjects; i++)
		if (run->objects[i].kind == KIND_IOAS &&
		    pfnbuf_ioas_get_id(run->objects[i].ioas) == info.ioas_id)
			return i;
	return NO_OBJECT;
}

int verb_attach(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	struct object *ioas = object_of(run, st, "IOAS");
	struct undo undo = { .kind = UNDO_ATTACH };
	int err;

	if (!device || !ioas)
		return -ENOENT;
	undo.object = object_index(run, device);
	undo.other = attached_to(run, device->device);
	err = pfnbuf_device_attach(device->device, ioas->ioas);
	if (err)
		return err;
	say(run->output, "its DMA reaches what %s maps", ioas->name);
	return undo_push(run, &undo);
}

int verb_detach(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	struct undo undo = { .kind = UNDO_ATTACH };
	int err;

	if (!device)
		return -ENOENT;
	undo.object = object_index(run, device);
	undo.other = attached_to(run, device->device);
	err = pfnbuf_device_detach(device->device);
	if (err)
		return err;
	say(run->output, "its DMA is blocked");
	return undo_push(run, &undo);
}

/* What a device's state is after a call that may have revoked: the line of every such verb. */
static void say_state(struct run *run, struct object *object)
{
	struct output *output = run->output;
	struct pfnbuf_device_info info;

	if (pfnbuf_device_get_info(object->device, &info))
		return;
	say(output, "memory %s%s%s, generation %" PRIu64,
	    style_on(output->colour, info.memory_enabled ? STYLE_GOOD : STYLE_WARN),
	    info.memory_enabled ? "on" : "off", style_off(output->colour), info.generation);
	json_bool(&output->fields, "memory", info.memory_enabled);
	json_number(&output->fields, "generation", info.generation);
	for (size_t i = 0; i < run->nobjects; i++) {
		struct object *buf = &run->objects[i];
		enum pfnbuf_state state;

		if (buf->kind != KIND_DMA_BUF || pfnbuf_buf_get_device(buf->buf) != object->device)
			continue;
		state = pfnbuf_buf_get_state(buf->buf);
		say(output, "; %s %s%s%s", buf->name, style_on(output->colour, state_style(state)),
		    pfnbuf_state_name(state), style_off(output->colour));
	}
}

static int command_bit(struct object *device, unsigned bit, bool *on)
{
	uint8_t command;
	int err = pfnbuf_device_config_read(device->device, 4, &command, 1);

	if (!err)
		*on = command >> bit & 1;
	return err;
}

enum { COMMAND_MEMORY = 1, COMMAND_MASTER = 2 };

int verb_decode(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	bool on = statement_get(st, "STATE")->number;
	struct undo undo = { .kind = UNDO_DECODE };
	int err;

	if (!device)
		return -ENOENT;
	undo.object = object_index(run, device);
	err = command_bit(device, COMMAND_MEMORY, &undo.flag);
	if (!err)
		err = pfnbuf_device_set_memory_decode(device->device, on);
	if (err)
		return err;
	say_state(run, device);
	return undo_push(run, &undo);
}

int verb_busmaster(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	bool on = statement_get(st, "STATE")->number;
	struct undo undo = { .kind = UNDO_BUSMASTER };
	int err;

	if (!device)
		return -ENOENT;
	undo.object = object_index(run, device);
	err = command_bit(device, COMMAND_MASTER, &undo.flag);
	if (!err)
		err = pfnbuf_device_set_bus_master(device->device, on);
	if (err)
		return err;
	say(run->output, "%s", on ? "may start DMA" : "starts no DMA");
	return undo_push(run, &undo);
}

int verb_reset(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	int err = device ? pfnbuf_device_reset(device->device) : -ENOENT;

	if (!err)
		say_state(run, device);
	return err;
}

int verb_hotreset(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	int err = device ? pfnbuf_device_hot_reset(device->device) : -ENOENT;

	if (!err)
		say_state(run, device);
	return err;
}

int verb_lowpower(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	bool enter = !statement_get(st, "STEP")->number;
	int err;

	if (!device)
		return -ENOENT;
	err = enter ? pfnbuf_device_low_power_enter(device->device, -1)
		    : pfnbuf_device_low_power_exit(device->device);
	if (!err)
		say_state(run, device);
	return err;
}

static size_t dead_areas(struct run *run)
{
	size_t n = 0, dead;

	for (size_t i = 0; i < run->nobjects; i++) {
		if (run->objects[i].kind != KIND_IOAS)
			continue;
		count_areas(run->objects[i].ioas, &dead);
		n += dead;
	}
	return n;
}

int verb_restore(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "NAME");
	size_t before = dead_areas(run), n;
	int err;

	if (!object)
		return -ENOENT;
	err = object->kind == KIND_WINDOW ? pfnbuf_window_restore(object->window)
					  : pfnbuf_device_restore(object->device);
	if (err)
		return err;
	n = before - dead_areas(run);
	say(run->output, "%zu area%s imported again", n, n == 1 ? "" : "s");
	json_number(&run->output->fields, "areas", n);
	return 0;
}

int verb_bracket(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	const struct value *cause = statement_get(st, "cause");
	bool begin = !statement_get(st, "STEP")->number;
	int err;

	if (!device)
		return -ENOENT;
	if (begin) /* the words stand in the order of the enum, which begins with NONE */
		err = pfnbuf_device_revoke_begin(device->device,
						 cause ? (enum pfnbuf_cause)(cause->number + 1)
						       : PFNBUF_CAUSE_FOREIGN);
	else
		err = pfnbuf_device_revoke_end(device->device);
	if (!err)
		say_state(run, device);
	return err;
}

/* ---------------------------------------------------------------- bytes ---------------------------------------------- */

uint8_t *statement_bytes(struct run *run, const struct statement *st, size_t *size)
{
	const struct value *data = statement_data(st);
	uint8_t *bytes;

	*size = (size_t)data_length(data);
	bytes = malloc(*size);
	if (bytes)
		data_copy(data, bytes);
	else
		fail(run, -ENOMEM, "no memory for %zu bytes", *size);
	return bytes;
}

bool worth_another_look(struct run *run, const struct statement *st, const uint8_t *found,
			uint64_t began)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };
	const struct value *timeout = statement_get(st, "timeout");
	size_t size;
	uint8_t *wanted;
	bool same;

	if (!timeout || now_ns() - began >= timeout->number || *run->stop)
		return false;
	wanted = statement_bytes(run, st, &size);
	same = !wanted || !memcmp(found, wanted, size);
	free(wanted);
	if (!same)
		nanosleep(&pause, NULL);
	return !same;
}

int compare_bytes(struct run *run, const struct statement *st, uint64_t offset,
		  const uint8_t *found)
{
	size_t size, differ = 0;
	uint8_t *wanted = statement_bytes(run, st, &size);

	if (!wanted)
		return -ENOMEM;
	for (size_t i = 0; i < size; i++)
		differ += found[i] != wanted[i];
	if (differ)
		hexdiff(&run->output->body, offset, found, wanted, size, run->output->colour_error);
	else
		say(run->output, "%sthe same %zu byte%s%s",
		    style_on(run->output->colour, STYLE_GOOD), size, size == 1 ? "" : "s",
		    style_off(run->output->colour));
	json_number(&run->output->fields, "differ", differ);
	free(wanted);
	return differ ? fail(run, -EBADMSG, "%zu of %zu bytes differ (- found, + expected)", differ,
			     size)
		      : 0;
}

void report_bytes(struct run *run, uint64_t offset, const uint8_t *bytes, size_t n)
{
	say(run->output, "%zu byte%s", n, n == 1 ? "" : "s");
	hexdump(&run->output->body, offset, bytes, n);
	json_number(&run->output->fields, "offset", offset);
	json_hex(&run->output->fields, "bytes", bytes, n);
}

static int read_and_report(struct run *run, const struct statement *st,
			   int (*read)(struct object *, unsigned, uint64_t, void *, size_t))
{
	struct object *device = object_of(run, st, "DEVICE");
	const struct value *range = statement_get(st, "RANGE");
	unsigned bar = (unsigned)number_or(st, "BAR", 0);
	uint8_t *bytes;
	int err;

	if (!device)
		return -ENOENT;
	bytes = calloc(1, (size_t)range->length + 1);
	if (!bytes)
		return fail(run, -ENOMEM, "no memory for %" PRIu64 " bytes", range->length);
	err = read(device, bar, range->number, bytes, (size_t)range->length);
	if (!err)
		report_bytes(run, range->number, bytes, (size_t)range->length);
	free(bytes);
	return err;
}

static int read_and_compare(struct run *run, const struct statement *st,
			    int (*read)(struct object *, unsigned, uint64_t, void *, size_t))
{
	struct object *device = object_of(run, st, "DEVICE");
	uint64_t offset = statement_get(st, "OFFSET")->number;
	size_t size = (size_t)data_length(statement_data(st));
	unsigned bar = (unsigned)number_or(st, "BAR", 0);
	uint64_t began = now_ns();
	uint8_t *bytes;
	int err;

	if (!device)
		return -ENOENT;
	bytes = calloc(1, size);
	if (!bytes)
		return fail(run, -ENOMEM, "no memory for %zu bytes", size);
	do
		err = read(device, bar, offset, bytes, size);
	while (!err && worth_another_look(run, st, bytes, began));
	if (!err)
		err = compare_bytes(run, st, offset, bytes);
	free(bytes);
	return err;
}

static int read_config(struct object *device, unsigned bar, uint64_t offset, void *data,
		       size_t size)
{
	(void)bar;
	return pfnbuf_device_config_read(device->device, offset, data, size);
}

static int read_bar(struct object *device, unsigned bar, uint64_t offset, void *data, size_t size)
{
	return pfnbuf_device_bar_read(device->device, bar, offset, data, size);
}

int verb_config_read(struct run *run, const struct statement *st)
{
	return read_and_report(run, st, read_config);
}

int verb_config_expect(struct run *run, const struct statement *st)
{
	return read_and_compare(run, st, read_config);
}

int verb_bar_read(struct run *run, const struct statement *st)
{
	return read_and_report(run, st, read_bar);
}

int verb_bar_expect(struct run *run, const struct statement *st)
{
	return read_and_compare(run, st, read_bar);
}

int verb_config_write(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	uint64_t offset = statement_get(st, "OFFSET")->number, before, after;
	uint8_t *bytes;
	size_t size;
	int err;

	if (!device)
		return -ENOENT;
	bytes = statement_bytes(run, st, &size);
	if (!bytes)
		return -ENOMEM;
	before = pfnbuf_device_get_generation(device->device);
	err = pfnbuf_device_config_write(device->device, offset, bytes, size);
	free(bytes);
	after = pfnbuf_device_get_generation(device->device);
	if (!err && after != before)
		say_state(run, device);
	else if (!err)
		say(run->output, "%zu byte%s", size, size == 1 ? "" : "s");
	return err;
}

int verb_bar_write(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	uint64_t offset = statement_get(st, "OFFSET")->number;
	uint8_t *bytes;
	size_t size;
	int err;

	if (!device)
		return -ENOENT;
	bytes = statement_bytes(run, st, &size);
	if (!bytes)
		return -ENOMEM;
	err = pfnbuf_device_bar_write(device->device, (unsigned)number_or(st, "BAR", 0), offset,
				      bytes, size);
	free(bytes);
	if (!err)
		say(run->output, "%zu byte%s", size, size == 1 ? "" : "s");
	return err;
}
