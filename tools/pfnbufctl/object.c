/* SPDX-License-Identifier: MIT */
/* What names stand for, and how each kind of object ends. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "run.h"

struct object *object_by_index(struct run *run, size_t index)
{
	if (index == NO_OBJECT || index >= run->nobjects || !run->objects[index].kind)
		return NULL;
	return &run->objects[index];
}

struct object *object_at(struct run *run, const struct value *value)
{
	struct object *object = object_by_index(run, value->object);

	if (!object)
		fail(run, -ENOENT,
		     "%s is gone: it went down with what it stood on, or was unmapped by range",
		     value->text);
	return object;
}

struct object *object_of(struct run *run, const struct statement *st, const char *param)
{
	return object_at(run, statement_get(st, param));
}

struct object *object_new(struct run *run, const struct statement *st)
{
	const struct value *value = statement_get(st, "NAME");
	/* A line that is expected to fail makes no name. */
	struct object *object =
		value->object == NO_OBJECT ? &run->scratch : &run->objects[value->object];

	*object = (struct object){
		.name = value->text,
		.parent = NO_OBJECT,
		.in_vm = NO_OBJECT,
		.in_ioas = NO_OBJECT,
		.backing = NO_OBJECT,
		.private_backing = NO_OBJECT,
	};
	if (object != &run->scratch)
		object->name = run->script->symbols[value->object].name;
	return object;
}

size_t object_index(const struct run *run, const struct object *object)
{
	return object == &run->scratch ? NO_OBJECT : (size_t)(object - run->objects);
}

static const char *words_of(const struct object *object)
{
	static char words[64];

	return kind_words(object->kind, words, sizeof(words));
}

uint64_t object_length(const struct object *object)
{
	return object->buf ? pfnbuf_buf_get_length(object->buf) : object->length;
}

static void gone(struct run *run, struct object *object)
{
	size_t index = object_index(run, object);

	free(object->allowed);
	free(object->spans.list);
	*object = (struct object){ .name = object->name };
	if (index != NO_OBJECT)
		script_forget(run->script, index);
}

void forget_areas(struct run *run, struct object *ioas, uint64_t iova, uint64_t length)
{
	size_t parent = object_index(run, ioas);

	for (size_t i = 0; i < run->nobjects; i++) {
		struct object *area = &run->objects[i];

		if (area->kind == KIND_AREA && area->parent == parent && area->iova >= iova &&
		    area->iova - iova < length)
			gone(run, area);
	}
}

/* ---------------------------------------------------------------- addresses ------------------------------------------ */

static int map_bar_slice(struct run *run, struct object *object)
{
	struct pfnbuf_device *device = pfnbuf_buf_get_device(object->buf);
	struct pfnbuf_range slice;
	unsigned bar;
	int n = pfnbuf_buf_get_slices(object->buf, &bar, &slice, 1);

	if (!device)
		return fail(run, -EINVAL,
			    "%s was not exported here, or its device is closed: nothing to map",
			    object->name);
	if (n != 1)
		return fail(run, -EINVAL, "%s has %d slices, and a slot takes one run of memory",
			    object->name, n);
	return pfnbuf_device_bar_map(device, bar, slice.offset, slice.length, &object->addr);
}

int object_address(struct run *run, struct object *object, void **addr)
{
	int err = 0;

	if (!object->addr) {
		if (object->kind == KIND_DMA_BUF)
			err = map_bar_slice(run, object);
		else
			err = pfnbuf_buf_map(object->buf, 0, pfnbuf_buf_get_length(object->buf),
					     &object->addr);
	}
	if (!err)
		*addr = object->addr;
	return err;
}

static int drop_address(struct object *object)
{
	struct pfnbuf_device *device;
	int err = 0;

	if (!object->addr)
		return 0;
	if (object->kind == KIND_MEMORY) {
		munmap(object->addr, object->length);
	} else if (object->kind == KIND_DMA_BUF) {
		/* A closed device has taken its mappings along. */
		device = pfnbuf_buf_get_device(object->buf);
		if (device)
			err = pfnbuf_device_bar_unmap(device, object->addr);
	} else {
		err = pfnbuf_buf_unmap(object->buf, object->addr,
				       pfnbuf_buf_get_length(object->buf));
	}
	if (!err)
		object->addr = NULL;
	return err;
}

/* ---------------------------------------------------------------- ends ----------------------------------------------- */

static int end_area(struct run *run, struct object *object)
{
	struct object *ioas = object_by_index(run, object->parent);
	int err = ioas ? pfnbuf_ioas_unmap(ioas->ioas, object->iova, object->length, NULL) : 0;

	if (!err)
		gone(run, object);
	return err;
}

static int end_slot(struct run *run, struct object *object)
{
	struct object *vm = object_by_index(run, object->parent);
	int err = vm ? pfnbuf_vm_delete_slot(vm->vm, object->slot) : 0;

	if (!err)
		gone(run, object);
	return err;
}

static int end_ioas(struct run *run, struct object *object)
{
	int err = pfnbuf_ioas_unmap_all(object->ioas, NULL);

	if (err)
		return err;
	forget_areas(run, object, 0, UINT64_MAX);
	object->ioas = pfnbuf_ioas_free(object->ioas);
	gone(run, object);
	return 0;
}

static int end_vm(struct run *run, struct object *object)
{
	size_t index = object_index(run, object);
	int err;

	for (size_t i = 0; i < run->nobjects; i++) {
		if (run->objects[i].kind != KIND_SLOT || run->objects[i].parent != index)
			continue;
		err = end_slot(run, &run->objects[i]);
		if (err)
			return err;
	}
	if (object->has_vcpu)
		run->kernel->close(run->kernel->data, object->vcpu);
	object->vm = pfnbuf_vm_free(object->vm);
	gone(run, object);
	return 0;
}

static bool is_of_device(struct run *run, size_t backing, const struct pfnbuf_device *device)
{
	struct object *buf = object_by_index(run, backing);

	return buf && buf->buf && pfnbuf_buf_get_device(buf->buf) == device;
}

static int end_device(struct run *run, struct object *object)
{
	int err = 0;

	for (size_t i = 0; i < run->nobjects && !err; i++)
		if (run->objects[i].kind == KIND_SLOT &&
		    is_of_device(run, run->objects[i].backing, object->device))
			err = end_slot(run, &run->objects[i]);
	for (size_t i = 0; i < run->nobjects && !err; i++)
		if (run->objects[i].kind == KIND_DMA_BUF && is_of_device(run, i, object->device))
			err = drop_address(&run->objects[i]);
	if (err)
		return err;
	object->device = pfnbuf_device_close(object->device);
	gone(run, object);
	return 0;
}

static bool bind_needs(const struct object *bind, size_t index)
{
	if (bind->kind != KIND_BIND)
		return false;
	for (size_t i = 0; i < bind->non; i++)
		if (bind->on[i] == index)
			return true;
	return bind->backing == index || bind->in_vm == index;
}

/* A window outlives nothing that it is in or stands on. */
static bool window_needs(const struct object *window, size_t index)
{
	return window->kind == KIND_WINDOW &&
	       (window->in_vm == index || window->in_ioas == index || window->backing == index ||
		window->private_backing == index);
}

/* Memory under a slot or window, or process memory under an area, has to stay. */
static struct object *user_of(struct run *run, const struct object *object)
{
	size_t index = object_index(run, object);

	if (index == NO_OBJECT)
		return NULL;
	for (size_t i = 0; i < run->nobjects; i++) {
		struct object *user = &run->objects[i];

		if (window_needs(user, index) || bind_needs(user, index))
			return user;
		if (user->backing != index)
			continue;
		if ((user->kind == KIND_SLOT && object->kind & (KIND_BUF | KIND_MEMORY)) ||
		    (user->kind == KIND_AREA && object->kind == KIND_MEMORY))
			return user;
	}
	return NULL;
}

static int end_bind(struct run *run, struct object *object)
{
	object->bind = pfnbuf_bind_free(object->bind);
	object->tsm = tsm_free(object->tsm);
	free(object->on);
	gone(run, object);
	return 0;
}

static int end_window(struct run *run, struct object *object)
{
	object->window = pfnbuf_window_free(object->window);
	gone(run, object);
	return 0;
}

static int end_memory(struct run *run, struct object *object)
{
	int err = drop_address(object);

	if (err)
		return err;
	object->buf = pfnbuf_buf_unref(object->buf);
	gone(run, object);
	return 0;
}

int object_end(struct run *run, struct object *object)
{
	struct object *user = user_of(run, object);

	if (user)
		return fail(run, -EBUSY, "the %s %s %s %s: close that first", words_of(user),
			    user->name,
			    object->kind & (KIND_VM | KIND_IOAS) ? "is in" : "stands on",
			    object->name);
	switch (object->kind) {
	case 0:
		return 0;
	case KIND_AREA:
		return end_area(run, object);
	case KIND_SLOT:
		return end_slot(run, object);
	case KIND_IOAS:
		return end_ioas(run, object);
	case KIND_VM:
		return end_vm(run, object);
	case KIND_DEVICE:
		return end_device(run, object);
	case KIND_WINDOW:
		return end_window(run, object);
	case KIND_BIND:
		return end_bind(run, object);
	default:
		return end_memory(run, object);
	}
}
