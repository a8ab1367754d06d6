/* SPDX-License-Identifier: MIT */
/* An object in full. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "run.h"

enum style state_style(enum pfnbuf_state state)
{
	switch (state) {
	case PFNBUF_LIVE:
		return STYLE_GOOD;
	case PFNBUF_SUSPENDED:
		return STYLE_WARN;
	default:
		return STYLE_BAD;
	}
}

const char *area_backing(struct run *run, const struct pfnbuf_area *area, char *buf)
{
	for (size_t i = 0; i < run->nobjects; i++) {
		const struct object *object = &run->objects[i];

		if (area->buf && object->kind & KIND_BUF && object->buf == area->buf)
			return object->name;
		if (!area->buf && object->kind == KIND_MEMORY &&
		    area->offset >= (uintptr_t)object->addr &&
		    area->offset - (uintptr_t)object->addr < object->length)
			return object->name;
	}
	for (size_t i = 0; area->buf && i < run->nobjects; i++) {
		const struct object *window = &run->objects[i];
		struct pfnbuf_device *device = pfnbuf_buf_get_device(area->buf);
		const struct object *backing = object_by_index(run, window->backing);

		/* A window's own buffers have no names. */
		if (window->kind == KIND_WINDOW && device && backing && backing->device == device)
			return backing->name;
	}
	if (area->buf)
		snprintf(buf, 64, "a %s (closed here)",
			 pfnbuf_kind_name(pfnbuf_buf_get_kind(area->buf)));
	else
		snprintf(buf, 64, "process memory");
	return buf;
}

static void heading(struct run *run, const struct object *object, const char *kind)
{
	struct output *output = run->output;

	say_more(output, "%s%s%s  %s", style_on(output->colour, STYLE_BOLD), object->name,
		 style_off(output->colour), kind);
	json_string(&output->fields, "name", object->name);
	json_string(&output->fields, "kind", kind);
}

/* ---------------------------------------------------------------- device --------------------------------------------- */

static void show_bars(struct run *run, struct pfnbuf_device *device)
{
	struct text *json = &run->output->fields;
	struct pfnbuf_bar bar;
	char words[64];

	json_open(json, "bars", '[');
	for (unsigned i = 0; i < 6; i++) {
		if (pfnbuf_device_get_bar(device, i, &bar) || !bar.size)
			continue;
		say_more(run->output, "    BAR %u  %-6s%s%s%s%s%s\n", i,
			 length_words(bar.size, words), bar.flags & PFNBUF_BAR_IO ? "  I/O" : "",
			 bar.flags & PFNBUF_BAR_64 ? "  64 bit" : "",
			 bar.flags & PFNBUF_BAR_PREFETCHABLE ? "  prefetchable" : "",
			 bar.flags & PFNBUF_BAR_MMAP ? "  mmap" : "",
			 bar.flags & PFNBUF_BAR_HAS_MSIX ? "  MSI-X table" : "");
		json_open(json, NULL, '{');
		json_number(json, "bar", i);
		json_number(json, "size", bar.size);
		json_bool(json, "io", bar.flags & PFNBUF_BAR_IO);
		json_bool(json, "64", bar.flags & PFNBUF_BAR_64);
		json_bool(json, "prefetchable", bar.flags & PFNBUF_BAR_PREFETCHABLE);
		json_bool(json, "mmap", bar.flags & PFNBUF_BAR_MMAP);
		json_bool(json, "msix", bar.flags & PFNBUF_BAR_HAS_MSIX);
		json_close(json, '}');
	}
	json_close(json, ']');
}

static void show_reset_set(struct run *run, struct pfnbuf_device *device)
{
	struct pfnbuf_hot_reset_device set[32];
	struct text *json = &run->output->fields;
	int n = pfnbuf_device_hot_reset_set(device, set, 32);

	if (n <= 0)
		return;
	say_more(run->output, "    hot reset reaches");
	json_open(json, "hot-reset-set", '[');
	for (int i = 0; i < n && i < 32; i++) {
		say_more(run->output, " %s", set[i].bdf);
		json_string(json, NULL, set[i].bdf);
	}
	json_close(json, ']');
	say_more(run->output, "\n");
}

static void show_device(struct run *run, struct object *object)
{
	struct output *output = run->output;
	struct text *json = &output->fields;
	struct pfnbuf_device_info info;

	heading(run, object, "device");
	if (pfnbuf_device_get_info(object->device, &info))
		return;
	say_more(output, " %s %04x:%04x, memory %s%s%s, %s, generation %" PRIu64 "%s%s\n", info.bdf,
		 info.vendor, info.device,
		 style_on(output->colour, info.memory_enabled ? STYLE_GOOD : STYLE_WARN),
		 info.memory_enabled ? "on" : "off", style_off(output->colour),
		 info.ioas_id ? "attached" : "not attached", info.generation,
		 info.can_reset ? ", can be reset" : "", info.low_power ? ", in low power" : "");
	json_string(json, "bdf", info.bdf);
	json_string(json, "cdev", info.cdev);
	json_number(json, "vendor", info.vendor);
	json_number(json, "device", info.device);
	json_number(json, "generation", info.generation);
	json_number(json, "ioas-id", info.ioas_id);
	json_bool(json, "memory", info.memory_enabled);
	json_bool(json, "can-reset", info.can_reset);
	json_bool(json, "low-power", info.low_power);
	json_bool(json, "vf", info.is_vf);
	show_bars(run, object->device);
	show_reset_set(run, object->device);
}

/* ---------------------------------------------------------------- buffers -------------------------------------------- */

static void list_ranges(struct run *run, const char *key, const struct pfnbuf_range *ranges, int n)
{
	struct text *json = &run->output->fields;
	char words[64];

	json_open(json, key, '[');
	for (int i = 0; i < n; i++) {
		say_more(run->output, " %s",
			 range_words(ranges[i].offset, ranges[i].length, words));
		json_open(json, NULL, '{');
		json_number(json, "offset", ranges[i].offset);
		json_number(json, "length", ranges[i].length);
		json_close(json, '}');
	}
	json_close(json, ']');
}

static void show_slices(struct run *run, struct pfnbuf_buf *buf)
{
	struct pfnbuf_range slices[64];
	struct text *json = &run->output->fields;
	unsigned bar;
	int n = pfnbuf_buf_get_slices(buf, &bar, slices, 64);

	if (n <= 0)
		return;
	say_more(run->output, ", BAR %u", bar);
	json_number(json, "bar", bar);
	list_ranges(run, "slices", slices, n < 64 ? n : 64);
}

static void show_buf(struct run *run, struct object *object)
{
	struct output *output = run->output;
	struct pfnbuf_identity id = pfnbuf_buf_get_identity(object->buf);
	enum pfnbuf_state state = pfnbuf_buf_get_state(object->buf);
	uint64_t length = pfnbuf_buf_get_length(object->buf);
	char words[64];

	heading(run, object, pfnbuf_kind_name(pfnbuf_buf_get_kind(object->buf)));
	say_more(output, " of %s, %s%s%s, generation %" PRIu64, length_words(length, words),
		 style_on(output->colour, state_style(state)), pfnbuf_state_name(state),
		 style_off(output->colour), pfnbuf_buf_get_generation(object->buf));
	json_number(&output->fields, "length", length);
	json_string(&output->fields, "state", pfnbuf_state_name(state));
	json_number(&output->fields, "generation", pfnbuf_buf_get_generation(object->buf));
	json_number(&output->fields, "st_dev", id.dev);
	json_number(&output->fields, "st_ino", id.ino);
	show_slices(run, object->buf);
	say_more(output, "\n");
}

static void show_memory(struct run *run, struct object *object)
{
	char words[64];

	heading(run, object, "process memory");
	say_more(run->output, " of %s\n", length_words(object->length, words));
	json_number(&run->output->fields, "length", object->length);
}

/* ---------------------------------------------------------------- IOAS ----------------------------------------------- */

static void show_area_words(struct run *run, const struct pfnbuf_area *area)
{
	struct output *output = run->output;
	struct text *json = &output->fields;
	char words[64], backing[64];

	say_more(output, "    %-22s %s%s  %s 0x%" PRIx64 "  %s%s%s\n",
		 range_words(area->iova, area->length, words),
		 area->flags & PFNBUF_MAP_READ ? "r" : "-",
		 area->flags & PFNBUF_MAP_WRITE ? "w" : "-", area_backing(run, area, backing),
		 area->buf ? area->offset : 0,
		 style_on(output->colour, area->dead ? STYLE_BAD : STYLE_GOOD),
		 area->dead ? "dead" : "works", style_off(output->colour));
	json_number(json, "iova", area->iova);
	json_number(json, "length", area->length);
	json_bool(json, "read", area->flags & PFNBUF_MAP_READ);
	json_bool(json, "write", area->flags & PFNBUF_MAP_WRITE);
	json_string(json, "backing", area_backing(run, area, backing));
	json_number(json, "generation", area->generation);
	json_bool(json, "dead", area->dead);
}

static void show_ranges(struct run *run, struct pfnbuf_ioas *ioas)
{
	struct pfnbuf_range ranges[16];
	struct text *json = &run->output->fields;
	uint64_t alignment = 0;
	int n = pfnbuf_ioas_get_iova_ranges(ioas, ranges, 16, &alignment);

	if (n < 0)
		return;
	say_more(run->output, "    usable");
	json_number(json, "alignment", alignment);
	list_ranges(run, "ranges", ranges, n < 16 ? n : 16);
	say_more(run->output, ", aligned to 0x%" PRIx64 "\n", alignment);
}

static void show_ioas(struct run *run, struct object *object)
{
	struct text *json = &run->output->fields;
	struct pfnbuf_area area;
	size_t dead, n = count_areas(object->ioas, &dead);
	uint64_t at = 0;

	heading(run, object, "IOAS");
	say_more(run->output, " id %" PRIu32 ", %zu area%s, %zu dead\n",
		 pfnbuf_ioas_get_id(object->ioas), n, n == 1 ? "" : "s", dead);
	json_number(json, "id", pfnbuf_ioas_get_id(object->ioas));
	show_ranges(run, object->ioas);
	json_open(json, "areas", '[');
	while (pfnbuf_ioas_next_area(object->ioas, at, &area) == 1) {
		json_open(json, NULL, '{');
		show_area_words(run, &area);
		json_close(json, '}');
		if (__builtin_add_overflow(area.iova, area.length, &at))
			break;
	}
	json_close(json, ']');
}

static void show_area(struct run *run, struct object *object)
{
	struct object *ioas = object_by_index(run, object->parent);
	struct pfnbuf_area area;

	heading(run, object, "area");
	say_more(run->output, " in %s\n", ioas ? ioas->name : "?");
	if (ioas && pfnbuf_ioas_next_area(ioas->ioas, object->iova, &area) == 1)
		show_area_words(run, &area);
}

/* ---------------------------------------------------------------- VM ------------------------------------------------- */

static void show_slot(struct run *run, struct object *object)
{
	struct object *backing = object_by_index(run, object->backing);
	struct object *private = object_by_index(run, object->private_backing);
	struct text *json = &run->output->fields;
	char words[64];

	heading(run, object, "slot");
	say_more(run->output, " %" PRIu32 ", %s over %s%s%s\n", object->slot,
		 range_words(object->gpa, object->length, words), backing ? backing->name : "?",
		 private ? ", private pages in " : "", private ? private->name : "");
	json_number(json, "slot", object->slot);
	json_number(json, "gpa", object->gpa);
	json_number(json, "length", object->length);
	json_string(json, "backing", backing ? backing->name : "");
	json_string(json, "private", private ? private->name : "");
}

static void show_window(struct run *run, struct object *object)
{
	struct object *vm = object_by_index(run, object->in_vm);
	struct object *ioas = object_by_index(run, object->in_ioas);
	struct output *output = run->output;
	struct text *json = &output->fields;
	struct pfnbuf_window_info info;
	struct pfnbuf_layout *layout;
	struct pfnbuf_run run_;
	char words[64], backing[128];

	heading(run, object, "window");
	pfnbuf_window_get_info(object->window, &info);
	say_more(output, " of %s of %s, %s%s%s%s%s", length_words(info.length, words),
		 window_backing(run, object, backing),
		 style_on(output->colour, window_style(info.state)),
		 pfnbuf_window_state_name(info.state), style_off(output->colour),
		 *info.reason ? ": " : "", info.reason);
	if (vm)
		say_more(output, ", at 0x%" PRIx64 " of %s with %" PRIu64 " slot%s", info.gpa,
			 vm->name, info.slots, info.slots == 1 ? "" : "s");
	if (ioas)
		say_more(output,
			 ", at 0x%" PRIx64 " of %s with %" PRIu64 " area%s, %" PRIu64 " dead",
			 info.iova, ioas->name, info.areas, info.areas == 1 ? "" : "s",
			 info.dead_areas);
	say_more(output, "\n");
	json_string(json, "state", pfnbuf_window_state_name(info.state));
	if (*info.reason)
		json_string(json, "reason", info.reason);
	json_string(json, "backing", backing);
	json_number(json, "length", info.length);
	if (vm) {
		json_string(json, "vm", vm->name);
		json_number(json, "gpa", info.gpa);
		json_number(json, "slots", info.slots);
	}
	if (ioas) {
		json_string(json, "ioas", ioas->name);
		json_number(json, "iova", info.iova);
		json_number(json, "areas", info.areas);
		json_number(json, "dead-areas", info.dead_areas);
	}
	json_number(json, "generation", info.generation);
	if (pfnbuf_window_get_layout(object->window, &layout))
		return;
	json_open(json, "runs", '[');
	for (uint64_t at = 0; pfnbuf_layout_next(layout, &at, &run_, 1) > 0;) {
		say_more(output, "    %-22s %s\n", range_words(run_.offset, run_.length, words),
			 pfnbuf_vis_name(run_.vis));
		json_open(json, NULL, '{');
		json_number(json, "offset", run_.offset);
		json_number(json, "length", run_.length);
		json_string(json, "visibility", pfnbuf_vis_name(run_.vis));
		json_close(json, '}');
	}
	json_close(json, ']');
	pfnbuf_layout_free(layout);
}

static void show_layouts(struct run *run, struct object *object)
{
	const struct pfnbuf_tdi_layouts *layouts = pfnbuf_bind_get_layouts(object->bind);
	struct text *json = &run->output->fields;
	char *text = layouts ? PRINTED(pfnbuf_tdi_layouts_print, layouts) : NULL;
	char *more = layouts ? PRINTED(pfnbuf_tdi_layouts_print_json, layouts) : NULL;

	if (text)
		say_more(run->output, "%s", text);
	if (more) {
		text_add(json, "%s\"layouts\":%.*s", json->comma ? "," : "",
			 (int)strcspn(more, "\n"), more);
		json->comma = true;
	}
	free(text);
	free(more);
}

static void show_bind(struct run *run, struct object *object)
{
	struct object *device = object_by_index(run, object->backing);
	struct object *vm = object_by_index(run, object->in_vm);
	struct output *output = run->output;
	struct text *json = &output->fields;
	struct pfnbuf_bind_info info;
	char private[64], shared[64];

	heading(run, object, "bind");
	pfnbuf_bind_get_info(object->bind, &info);
	say_more(output, " of %s to %s, %s, %s, %s private, %s shared%s%s\n",
		 device ? device->name : "?", vm ? vm->name : "?",
		 pfnbuf_tdi_state_name(info.state), info.bound ? "bound" : "not bound",
		 length_words(info.private_bytes, private), length_words(info.shared_bytes, shared),
		 info.quarantined ? ", quarantined: " : "", info.reason);
	json_string(json, "device", device ? device->name : "");
	json_string(json, "vm", vm ? vm->name : "");
	json_string(json, "state", pfnbuf_tdi_state_name(info.state));
	json_bool(json, "bound", info.bound);
	json_bool(json, "quarantined", info.quarantined);
	if (info.quarantined)
		json_string(json, "reason", info.reason);
	json_number(json, "generation", info.generation);
	json_number(json, "private", info.private_bytes);
	json_number(json, "shared", info.shared_bytes);
	json_number(json, "vdevice", info.vdevice_id);
	json_number(json, "viommu", info.viommu_id);
	show_layouts(run, object);
}

static void show_vm(struct run *run, struct object *object)
{
	struct text *json = &run->output->fields;
	uint32_t left = pfnbuf_vm_get_free_slots(object->vm);
	char words[64];

	heading(run, object, "VM");
	say_more(run->output, " %" PRIu32 " slots free\n", left);
	json_number(json, "free-slots", left);
	json_open(json, "private", '[');
	for (size_t i = 0; i < object->spans.n; i++) {
		struct span span = object->spans.list[i];

		say_more(run->output, "    private %s\n",
			 range_words(span.start, span.end - span.start, words));
		json_open(json, NULL, '{');
		json_number(json, "offset", span.start);
		json_number(json, "length", span.end - span.start);
		json_close(json, '}');
	}
	json_close(json, ']');
}

void show_object(struct run *run, struct object *object)
{
	json_open(&run->output->fields, NULL, '{');
	switch (object->kind) {
	case KIND_DEVICE:
		show_device(run, object);
		break;
	case KIND_IOAS:
		show_ioas(run, object);
		break;
	case KIND_AREA:
		show_area(run, object);
		break;
	case KIND_VM:
		show_vm(run, object);
		break;
	case KIND_SLOT:
		show_slot(run, object);
		break;
	case KIND_MEMORY:
		show_memory(run, object);
		break;
	case KIND_WINDOW:
		show_window(run, object);
		break;
	case KIND_BIND:
		show_bind(run, object);
		break;
	default:
		show_buf(run, object);
		break;
	}
	json_close(&run->output->fields, '}');
}
