/* SPDX-License-Identifier: MIT */
/* The inverses of a transaction's steps. */
#include <errno.h>
#include <stdlib.h>

#include "run.h"

static void undo_clear(struct undo *undo)
{
	pfnbuf_buf_unref(undo->area.buf);
	free(undo->ranges);
	pfnbuf_layout_free(undo->layout);
	*undo = (struct undo){ .kind = UNDO_MADE };
}

int undo_push(struct run *run, const struct undo *undo)
{
	size_t room = run->undos_room ? run->undos_room * 2 : 32;
	struct undo taken = *undo, *undos;

	if (!run->in_transaction) {
		undo_clear(&taken);
		return 0;
	}
	if (run->nundos == run->undos_room) {
		undos = realloc(run->undos, room * sizeof(*undos));
		if (!undos) {
			undo_clear(&taken);
			return fail(run, -ENOMEM, "no memory to remember how to undo this");
		}
		run->undos = undos;
		run->undos_room = room;
	}
	run->undos[run->nundos++] = taken;
	return 0;
}

int undo_made(struct run *run, struct object *object)
{
	size_t index = object_index(run, object);

	/* What a line made that should have failed is ended at once. */
	if (index == NO_OBJECT)
		return 0;
	return undo_push(run, &(struct undo){ .kind = UNDO_MADE, .object = index });
}

static int map_again(struct run *run, struct undo *undo)
{
	struct object *ioas = object_by_index(run, undo->other);
	struct pfnbuf_area *area = &undo->area;
	uint64_t iova = area->iova;
	unsigned flags = area->flags | PFNBUF_MAP_FIXED;
	int err;

	if (!ioas)
		return -ENOENT;
	if (area->buf)
		err = pfnbuf_ioas_map_buf(ioas->ioas, area->buf, area->offset, area->length, flags,
					  &iova);
	else
		err = pfnbuf_ioas_map_va(ioas->ioas, (void *)(uintptr_t)area->offset, area->length,
					 flags, &iova);
	if (!err && undo->object != NO_OBJECT) {
		run->objects[undo->object] = undo->copy;
		script_revive(run->script, undo->object);
	}
	return err;
}

static int decode_again(struct object *device, bool on)
{
	int err = pfnbuf_device_set_memory_decode(device->device, on);

	/* Decode alone leaves dead areas behind. */
	return err || !on ? err : pfnbuf_device_restore(device->device);
}

static int set_attributes(struct object *vm, uint64_t start, uint64_t length, bool private)
{
	int err = pfnbuf_vm_set_attributes(vm->vm, start, length,
					   private ? PFNBUF_ATTRIBUTE_PRIVATE : 0);

	if (!err && !spans_set(&vm->spans, start, start + length, private))
		err = -ENOMEM;
	return err;
}

static int attach_again(struct run *run, struct object *device, size_t ioas)
{
	struct object *old = object_by_index(run, ioas);

	return old ? pfnbuf_device_attach(device->device, old->ioas)
		   : pfnbuf_device_detach(device->device);
}

static int move_again(struct run *run, struct object *slot, uint64_t gpa)
{
	struct object *vm = object_by_index(run, slot->parent);
	int err = vm ? pfnbuf_vm_move_slot(vm->vm, slot->slot, gpa) : -ENOENT;

	if (!err)
		slot->gpa = gpa;
	return err;
}

static int log_again(struct run *run, struct object *slot, bool on)
{
	struct object *vm = object_by_index(run, slot->parent);

	return vm ? pfnbuf_vm_set_slot_flags(vm->vm, slot->slot, on ? PFNBUF_SLOT_LOG_DIRTY : 0)
		  : -ENOENT;
}

static int allow_again(struct object *ioas, struct undo *undo)
{
	int err = pfnbuf_ioas_set_allowed(ioas->ioas, undo->ranges, undo->nranges);

	if (err)
		return err;
	free(ioas->allowed);
	ioas->allowed = undo->ranges;
	ioas->nallowed = undo->nranges;
	undo->ranges = NULL;
	return 0;
}

static int huge_again(struct object *ioas, bool on)
{
	int err = pfnbuf_ioas_set_huge_pages(ioas->ioas, on);

	if (!err)
		ioas->no_huge = !on;
	return err;
}

static int suspend_again(struct object *window, bool suspended)
{
	return suspended ? pfnbuf_window_suspend(window->window)
			 : pfnbuf_window_resume(window->window);
}

/* A condition above 0 says that all is done. */
static int done(int result)
{
	return result < 0 ? result : 0;
}

/* Locked, as it was before it ran; or unlocked in a moment, where locking it is undone, too. */
static int lock_again(struct run *run, size_t index)
{
	struct object *bind = &run->objects[index];
	int err;

	for (size_t i = 0; i < run->nundos; i++)
		if (run->undos[i].kind == UNDO_TDI_LOCK && run->undos[i].object == index)
			return 0;
	err = pfnbuf_bind_unlock(bind->bind);
	return err ? err : pfnbuf_bind_lock(bind->bind);
}

static int undo_one(struct run *run, struct undo *undo)
{
	struct object *object = object_by_index(run, undo->object);

	if (undo->kind == UNDO_UNMAP)
		return map_again(run, undo);
	if (!object)
		return undo->kind == UNDO_MADE ? 0 : -ENOENT;
	switch (undo->kind) {
	case UNDO_MADE:
		return object_end(run, object);
	case UNDO_ATTACH:
		return attach_again(run, object, undo->other);
	case UNDO_DECODE:
		return decode_again(object, undo->flag);
	case UNDO_BUSMASTER:
		return pfnbuf_device_set_bus_master(object->device, undo->flag);
	case UNDO_ATTRIBUTES:
		return set_attributes(object, undo->offset, undo->length, undo->flag);
	case UNDO_MOVE:
		return move_again(run, object, undo->offset);
	case UNDO_LOG:
		return log_again(run, object, undo->flag);
	case UNDO_ALLOW:
		return allow_again(object, undo);
	case UNDO_HUGE_PAGES:
		return huge_again(object, undo->flag);
	case UNDO_LAYOUT:
		return done(pfnbuf_window_set_layout(object->window, undo->layout));
	case UNDO_PLACE:
		return done(pfnbuf_window_move(object->window, undo->offset, undo->length));
	case UNDO_SUSPEND:
		return done(suspend_again(object, undo->flag));
	case UNDO_CONNECT:
		return pfnbuf_tsm_disconnect(object->device, NULL);
	case UNDO_TDI_LOCK:
		return pfnbuf_bind_unlock(object->bind);
	case UNDO_TDI_RUN:
		return lock_again(run, undo->object);
	case UNDO_UNMAP:
		break;
	}
	return 0;
}

void undo_all(struct run *run)
{
	size_t steps = run->nundos;
	bool failed = false;

	run->in_transaction = false;
	while (run->nundos) {
		struct undo *undo = &run->undos[--run->nundos];
		int err = undo_one(run, undo);

		if (err) {
			failed = true;
			output_notice(run->output, "undo failed", STYLE_BAD, "undo failed: %s",
				      run->message ? run->message : pfnbuf_last_error());
		}
		undo_clear(undo);
	}
	run->uncertain = run->uncertain || failed;
	if (!failed)
		output_notice(run->output, "undone", STYLE_PLAIN,
			      "undone: %zu step%s since `begin` (%s:%u)", steps,
			      steps == 1 ? "" : "s", run->begun.file, run->begun.line);
}

void undo_drop(struct run *run)
{
	run->in_transaction = false;
	while (run->nundos)
		undo_clear(&run->undos[--run->nundos]);
	free(run->undos);
	run->undos = NULL;
	run->undos_room = 0;
}
