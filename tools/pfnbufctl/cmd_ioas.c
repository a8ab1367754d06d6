/* SPDX-License-Identifier: MIT */
/* Verbs on I/O address spaces. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

int verb_ioas(struct run *run, const struct statement *st)
{
	struct pfnbuf_ioas *ioas;
	struct object *object;
	int err = pfnbuf_ioas_new(run->ctx, &ioas);

	if (err)
		return err;
	object = object_new(run, st);
	object->kind = KIND_IOAS;
	object->ioas = ioas;
	say(run->output, "id %" PRIu32, pfnbuf_ioas_get_id(ioas));
	json_number(&run->output->fields, "id", pfnbuf_ioas_get_id(ioas));
	return undo_made(run, object);
}

static unsigned map_flags(const struct statement *st)
{
	static const unsigned words[] = { PFNBUF_MAP_READ, PFNBUF_MAP_WRITE,
					  PFNBUF_MAP_READ | PFNBUF_MAP_WRITE };
	const struct value *value = statement_get(st, "flags");
	unsigned flags = value ? words[value->number] : PFNBUF_MAP_READ | PFNBUF_MAP_WRITE;

	return flags | (has(st, "iova") ? PFNBUF_MAP_FIXED : 0);
}

static int keep_area(struct run *run, const struct statement *st, struct object *ioas,
		     struct object *backing, uint64_t iova, uint64_t length)
{
	struct object *object = object_new(run, st);
	struct text *json = &run->output->fields;
	char words[64];

	object->kind = KIND_AREA;
	object->parent = object_index(run, ioas);
	object->backing = backing ? object_index(run, backing) : NO_OBJECT;
	object->iova = iova;
	object->length = length;
	say(run->output, "%s in %s", range_words(iova, length, words), ioas->name);
	json_number(json, "iova", iova);
	json_number(json, "length", length);
	return undo_made(run, object);
}

/* Process memory is the tool's own: the range can be judged before the kernel sees an address. */
static int map_memory(struct run *run, struct object *ioas, struct object *memory, uint64_t offset,
		      uint64_t length, unsigned flags, uint64_t *iova)
{
	if (offset > memory->length || length > memory->length - offset)
		return fail(run, -EINVAL,
			    "0x%" PRIx64 "+0x%" PRIx64 " leaves %s, which has 0x%" PRIx64 " bytes",
			    offset, length, memory->name, memory->length);
	return pfnbuf_ioas_map_va(ioas->ioas, (uint8_t *)memory->addr + offset, length, flags,
				  iova);
}

int verb_map(struct run *run, const struct statement *st)
{
	struct object *ioas = object_of(run, st, "IOAS");
	struct object *buf = ioas ? object_of(run, st, "BUF") : NULL;
	const struct value *range = statement_get(st, "RANGE");
	uint64_t iova = number_or(st, "iova", 0), offset, length;
	int err;

	if (!buf)
		return -ENOENT;
	offset = range ? range->number : 0;
	length = range ? range->length : object_length(buf);
	if (buf->kind == KIND_MEMORY)
		err = map_memory(run, ioas, buf, offset, length, map_flags(st), &iova);
	else
		err = pfnbuf_ioas_map_buf(ioas->ioas, buf->buf, offset, length, map_flags(st),
					  &iova);
	return err ? err : keep_area(run, st, ioas, buf, iova, length);
}

int verb_copy(struct run *run, const struct statement *st)
{
	struct object *ioas = object_of(run, st, "IOAS");
	struct object *source = ioas ? object_of(run, st, "SOURCE") : NULL;
	const struct value *range = statement_get(st, "RANGE");
	uint64_t iova = number_or(st, "iova", 0);
	int err;

	if (!source)
		return -ENOENT;
	err = pfnbuf_ioas_copy(ioas->ioas, source->ioas, range->number, range->length,
			       map_flags(st), &iova);
	return err ? err : keep_area(run, st, ioas, NULL, iova, range->length);
}

/* ---------------------------------------------------------------- unmap ---------------------------------------------- */

static struct object *name_of_area(struct run *run, size_t ioas, uint64_t iova)
{
	for (size_t i = 0; i < run->nobjects; i++) {
		struct object *object = &run->objects[i];

		if (object->kind == KIND_AREA && object->parent == ioas && object->iova == iova)
			return object;
	}
	return NULL;
}

/* Remember every area in the range, before it goes. */
static int remember_areas(struct run *run, struct object *ioas, uint64_t iova, uint64_t length,
			  struct undo **undosp, size_t *np)
{
	size_t n = 0, room = 0, index = object_index(run, ioas);
	struct undo *undos = NULL, *grown;
	struct pfnbuf_area area;
	uint64_t at = iova;

	while (run->in_transaction && pfnbuf_ioas_next_area(ioas->ioas, at, &area) == 1 &&
	       area.iova - iova < length && area.iova >= iova) {
		struct object *named = name_of_area(run, index, area.iova);

		if (n == room) {
			room = room ? room * 2 : 8;
			grown = realloc(undos, room * sizeof(*undos));
			if (!grown)
				break;
			undos = grown;
		}
		undos[n] = (struct undo){
			.kind = UNDO_UNMAP, .other = index, .area = area, .object = NO_OBJECT
		};
		if (area.buf)
			pfnbuf_buf_ref(area.buf);
		if (named) {
			undos[n].object = object_index(run, named);
			undos[n].copy = *named;
		}
		n++;
		if (__builtin_add_overflow(area.iova, area.length, &at))
			break;
	}
	*undosp = undos;
	*np = n;
	return 0;
}

static int unmap(struct run *run, struct object *ioas, uint64_t iova, uint64_t length, bool all)
{
	struct undo *undos;
	uint64_t unmapped = 0;
	size_t n;
	char words[64];
	int err;

	remember_areas(run, ioas, iova, length, &undos, &n);
	err = all ? pfnbuf_ioas_unmap_all(ioas->ioas, &unmapped)
		  : pfnbuf_ioas_unmap(ioas->ioas, iova, length, &unmapped);
	for (size_t i = 0; i < n; i++) {
		if (err)
			pfnbuf_buf_unref(undos[i].area.buf);
		else
			undo_push(run, &undos[i]);
	}
	free(undos);
	if (err)
		return err;
	forget_areas(run, ioas, iova, length);
	say(run->output, "%s unmapped from %s", length_words(unmapped, words), ioas->name);
	json_number(&run->output->fields, "length", unmapped);
	return 0;
}

int verb_unmap(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "NAME");
	const struct value *range = statement_get(st, "RANGE");
	struct object *ioas;

	if (!object)
		return -ENOENT;
	if (object->kind == KIND_AREA) {
		ioas = object_by_index(run, object->parent);
		return unmap(run, ioas, object->iova, object->length, false);
	}
	if (range)
		return unmap(run, object, range->number, range->length, false);
	return unmap(run, object, 0, UINT64_MAX, true);
}

/* ---------------------------------------------------------------- the rest ------------------------------------------- */

int verb_allow(struct run *run, const struct statement *st)
{
	struct object *ioas = object_of(run, st, "IOAS");
	const struct value *range = statement_get(st, "RANGE");
	struct pfnbuf_range *ranges;
	struct undo undo = { .kind = UNDO_ALLOW };
	size_t n = 0;
	int err;

	if (!ioas)
		return -ENOENT;
	ranges = calloc(SCRIPT_MAX_WORDS, sizeof(*ranges));
	if (!ranges)
		return fail(run, -ENOMEM, "out of memory");
	for (; range; range = statement_next(st, range))
		ranges[n++] = (struct pfnbuf_range){ range->number, range->length };
	err = pfnbuf_ioas_set_allowed(ioas->ioas, ranges, n);
	if (err) {
		free(ranges);
		return err;
	}
	undo.object = object_index(run, ioas);
	undo.ranges = ioas->allowed;
	undo.nranges = ioas->nallowed;
	ioas->allowed = ranges;
	ioas->nallowed = n;
	say(run->output, n ? "%zu range%s" : "everything", n, n == 1 ? "" : "s");
	return undo_push(run, &undo);
}

int verb_huge_pages(struct run *run, const struct statement *st)
{
	struct object *ioas = object_of(run, st, "IOAS");
	bool on = statement_get(st, "STATE")->number;
	struct undo undo = { .kind = UNDO_HUGE_PAGES };
	int err = ioas ? pfnbuf_ioas_set_huge_pages(ioas->ioas, on) : -ENOENT;

	if (err)
		return err;
	undo.object = object_index(run, ioas);
	undo.flag = !ioas->no_huge;
	ioas->no_huge = !on;
	return undo_push(run, &undo);
}

int verb_physical(struct run *run, const struct statement *st)
{
	struct object *ioas = object_of(run, st, "IOAS");
	const struct value *range = statement_get(st, "RANGE");
	uint64_t length = range->length, pa;
	char words[64];
	int err = ioas ? pfnbuf_ioas_get_pa(ioas->ioas, range->number, &length, &pa) : -ENOENT;

	if (err)
		return err;
	say(run->output, "%s", range_words(pa, length, words));
	json_number(&run->output->fields, "physical", pa);
	json_number(&run->output->fields, "length", length);
	return 0;
}
