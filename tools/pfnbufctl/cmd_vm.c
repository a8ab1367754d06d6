/* SPDX-License-Identifier: MIT */
/* Verbs on VMs. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

int verb_vm(struct run *run, const struct statement *st)
{
	const struct value *fd = statement_get(st, "fd");
	const struct value *slots = statement_get(st, "slots");
	struct pfnbuf_vm *vm;
	struct object *object;
	int err;

	if (fd) /* the words of type= stand in the order of enum pfnbuf_vm_type */
		err = pfnbuf_vm_from_fd(run->ctx, (int)fd->number, PFNBUF_FD_BORROWED,
					slots ? (uint32_t)slots->number : 0,
					slots ? (uint32_t)slots->length : 0, &vm);
	else
		err = pfnbuf_vm_new(run->ctx, number_or(st, "type", PFNBUF_VM_DEFAULT), &vm);
	if (err)
		return err;
	object = object_new(run, st);
	object->kind = KIND_VM;
	object->vm = vm;
	object->inherited = fd;
	say(run->output, "%" PRIu32 " slots free", pfnbuf_vm_get_free_slots(vm));
	json_number(&run->output->fields, "free-slots", pfnbuf_vm_get_free_slots(vm));
	return undo_made(run, object);
}

static int fill_slot(struct run *run, const struct statement *st, struct object *buf,
		     struct pfnbuf_slot *slot)
{
	const struct value *range = statement_get(st, "RANGE");
	const struct value *private = statement_get(st, "private");
	struct object *gmem = private ? object_at(run, private) : NULL;
	uint64_t offset = range ? range->number : 0;
	void *addr;
	int err;

	if (private && !gmem)
		return -ENOENT;
	*slot = (struct pfnbuf_slot){
		.gpa = number_or(st, "gpa", 0),
		.length = range ? range->length : object_length(buf),
		.flags = (unsigned)number_or(st, "flags", 0),
		.guest_memfd = gmem ? gmem->buf : NULL,
		.guest_memfd_offset = number_or(st, "private-offset", 0),
	};
	if (offset > object_length(buf) || slot->length > object_length(buf) - offset)
		return fail(run, -EINVAL,
			    "0x%" PRIx64 "+0x%" PRIx64 " leaves %s, which has 0x%" PRIx64 " bytes",
			    offset, slot->length, buf->name, object_length(buf));
	err = object_address(run, buf, &addr);
	if (!err)
		slot->addr = (uint8_t *)addr + offset;
	return err;
}

int verb_slot(struct run *run, const struct statement *st)
{
	struct object *vm = object_of(run, st, "VM");
	struct object *buf = vm ? object_of(run, st, "BUF") : NULL;
	const struct value *private = statement_get(st, "private");
	struct pfnbuf_slot slot;
	struct object *object;
	uint32_t id;
	char words[64];
	int err;

	if (!buf)
		return -ENOENT;
	err = fill_slot(run, st, buf, &slot);
	if (!err)
		err = pfnbuf_vm_set_slot(vm->vm, &slot, &id);
	if (err)
		return err;
	object = object_new(run, st);
	object->kind = KIND_SLOT;
	object->parent = object_index(run, vm);
	object->backing = object_index(run, buf);
	object->private_backing = private ? private->object : NO_OBJECT;
	object->private_offset = slot.guest_memfd_offset;
	object->gpa = slot.gpa;
	object->length = slot.length;
	object->slot = id;
	say(run->output, "slot %" PRIu32 " of %s at %s", id, vm->name,
	    range_words(slot.gpa, slot.length, words));
	json_number(&run->output->fields, "slot", id);
	json_number(&run->output->fields, "gpa", slot.gpa);
	json_number(&run->output->fields, "length", slot.length);
	return undo_made(run, object);
}

int verb_move(struct run *run, const struct statement *st)
{
	struct object *slot = object_of(run, st, "NAME");
	struct object *vm = slot ? object_by_index(run, slot->parent) : NULL;
	struct undo undo = { .kind = UNDO_MOVE };
	int err;

	if (slot && slot->kind == KIND_WINDOW)
		return move_window(run, st, slot);
	if (!vm)
		return -ENOENT;
	err = pfnbuf_vm_move_slot(vm->vm, slot->slot, number_or(st, "GPA", 0));
	if (err)
		return err;
	undo.object = object_index(run, slot);
	undo.offset = slot->gpa;
	slot->gpa = number_or(st, "GPA", 0);
	return undo_push(run, &undo);
}

int verb_log(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "SLOT");
	struct object *vm = object ? object_by_index(run, object->parent) : NULL;
	bool on = statement_get(st, "STATE")->number;
	struct undo undo = { .kind = UNDO_LOG };
	struct pfnbuf_slot slot;
	uint32_t id;
	int err;

	if (!vm)
		return -ENOENT;
	undo.object = object_index(run, object);
	if (pfnbuf_vm_next_slot(vm->vm, object->slot, &id, &slot) == 1 && id == object->slot)
		undo.flag = slot.flags & PFNBUF_SLOT_LOG_DIRTY;
	err = pfnbuf_vm_set_slot_flags(vm->vm, object->slot, on ? PFNBUF_SLOT_LOG_DIRTY : 0);
	return err ? err : undo_push(run, &undo);
}

int verb_dirty(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "SLOT");
	struct object *vm = object ? object_by_index(run, object->parent) : NULL;
	struct text *json = &run->output->fields;
	uint64_t pages, page = 4096, n = 0;
	size_t size;
	uint8_t *bitmap;
	int err;

	if (!vm)
		return -ENOENT;
	pages = object->length / page;
	size = (size_t)((pages + 63) / 64 * 8);
	bitmap = calloc(1, size ? size : 8);
	if (!bitmap)
		return fail(run, -ENOMEM, "no memory for a bitmap of %zu bytes", size);
	err = pfnbuf_vm_get_dirty_log(vm->vm, object->slot, bitmap, size);
	if (!err)
		json_open(json, "dirty", '[');
	for (uint64_t i = 0; i < pages && !err; i++) {
		if (!(bitmap[i / 8] >> (i % 8) & 1))
			continue;
		n++;
		say_more(run->output, "      0x%" PRIx64 "\n", object->gpa + i * page);
		json_number(json, NULL, object->gpa + i * page);
	}
	free(bitmap);
	if (err)
		return err;
	json_close(json, ']');
	say(run->output, "%" PRIu64 " dirty page%s", n, n == 1 ? "" : "s");
	return 0;
}

/* What the range was before, so that it can be so again. */
static int remember_attributes(struct run *run, struct object *vm, uint64_t start, uint64_t end,
			       bool private)
{
	struct span span;
	int err = 0;

	while (!err && spans_find(&vm->spans, start, end, private, &span)) {
		err = undo_push(run, &(struct undo){
					     .kind = UNDO_ATTRIBUTES,
					     .object = object_index(run, vm),
					     .flag = !private,
					     .offset = span.start,
					     .length = span.end - span.start,
				     });
		start = span.end;
	}
	return err;
}

int verb_attributes(struct run *run, const struct statement *st)
{
	struct object *vm = object_of(run, st, "VM");
	const struct value *range = statement_get(st, "RANGE");
	bool private = statement_get(st, "ATTRIBUTE")->number;
	uint64_t end = range->number + range->length;
	char words[64];
	int err;

	if (!vm)
		return -ENOENT;
	err = pfnbuf_vm_set_attributes(vm->vm, range->number, range->length,
				       private ? PFNBUF_ATTRIBUTE_PRIVATE : 0);
	if (err)
		return err;
	err = remember_attributes(run, vm, range->number, end, private);
	if (!spans_set(&vm->spans, range->number, end, private))
		return fail(run, -ENOMEM, "out of memory");
	say(run->output, "%s is %s", range_words(range->number, range->length, words),
	    private ? "private" : "shared");
	return err;
}

int verb_extension(struct run *run, const struct statement *st)
{
	struct object *vm = object_of(run, st, "VM");
	int value, err;

	if (!vm)
		return -ENOENT;
	err = pfnbuf_vm_check_extension(vm->vm, (unsigned)number_or(st, "CAP", 0), &value);
	if (err)
		return err;
	say(run->output, "%d", value);
	json_number(&run->output->fields, "value", (uint64_t)value);
	return 0;
}
