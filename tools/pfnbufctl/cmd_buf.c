/* SPDX-License-Identifier: MIT */
/* Verbs on buffers and process memory. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "run.h"

static int keep_buf(struct run *run, const struct statement *st, struct pfnbuf_buf *buf)
{
	static const unsigned kinds[] = {
		[PFNBUF_DMA_BUF] = KIND_DMA_BUF,
		[PFNBUF_MEMFD] = KIND_MEMFD,
		[PFNBUF_GUEST_MEMFD] = KIND_GUEST_MEMFD,
	};
	struct object *object = object_new(run, st);
	enum pfnbuf_kind kind = pfnbuf_buf_get_kind(buf);
	uint64_t length = pfnbuf_buf_get_length(buf);
	struct text *json = &run->output->fields;
	char words[64];

	object->kind = kinds[kind];
	object->buf = buf;
	say(run->output, "%s of %s", pfnbuf_kind_name(kind), length_words(length, words));
	json_string(json, "kind", pfnbuf_kind_name(kind));
	json_number(json, "length", length);
	if (kind == PFNBUF_DMA_BUF) {
		enum pfnbuf_state state = pfnbuf_buf_get_state(buf);

		say(run->output, ", %s%s%s, generation %" PRIu64,
		    style_on(run->output->colour, state_style(state)), pfnbuf_state_name(state),
		    style_off(run->output->colour), pfnbuf_buf_get_generation(buf));
		json_string(json, "state", pfnbuf_state_name(state));
		json_number(json, "generation", pfnbuf_buf_get_generation(buf));
	}
	return undo_made(run, object);
}

int verb_export(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	const struct value *range = statement_get(st, "RANGE");
	struct pfnbuf_range slices[SCRIPT_MAX_WORDS];
	struct pfnbuf_buf *buf;
	size_t n = 0;
	int err;

	if (!device)
		return -ENOENT;
	for (; range; range = statement_next(st, range))
		slices[n++] = (struct pfnbuf_range){ range->number, range->length };
	err = pfnbuf_device_export(device->device, (unsigned)number_or(st, "BAR", 0), slices, n,
				   &buf);
	return err ? err : keep_buf(run, st, buf);
}

int verb_memfd(struct run *run, const struct statement *st)
{
	struct pfnbuf_buf *buf;
	int err = pfnbuf_buf_new_memfd(run->ctx, number_or(st, "LENGTH", 0),
				       number_or(st, "huge", 0), &buf);

	return err ? err : keep_buf(run, st, buf);
}

int verb_guest_memfd(struct run *run, const struct statement *st)
{
	struct object *vm = object_of(run, st, "VM");
	struct pfnbuf_buf *buf;
	int err;

	if (!vm)
		return -ENOENT;
	/* The words stand in the order of the bits. */
	err = pfnbuf_buf_new_guest_memfd(vm->vm, number_or(st, "LENGTH", 0),
					 (unsigned)number_or(st, "flags", 0), &buf);
	return err ? err : keep_buf(run, st, buf);
}

int verb_memory(struct run *run, const struct statement *st)
{
	uint64_t length = number_or(st, "LENGTH", 0);
	struct object *object;
	char words[64];
	void *addr;

	addr = mmap(NULL, length, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (addr == MAP_FAILED)
		return fail(run, -errno, "no %s of memory: %s", length_words(length, words),
			    strerror(errno));
	object = object_new(run, st);
	object->kind = KIND_MEMORY;
	object->addr = addr;
	object->length = length;
	say(run->output, "%s of process memory", length_words(length, words));
	json_number(&run->output->fields, "length", length);
	return undo_made(run, object);
}

int verb_import(struct run *run, const struct statement *st)
{
	struct pfnbuf_buf *buf;
	int err =
		pfnbuf_buf_from_fd(run->ctx, (int)number_or(st, "fd", 0), PFNBUF_FD_BORROWED, &buf);

	return err ? err : keep_buf(run, st, buf);
}

int verb_verify(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "NAME");
	int answer;

	if (object && object->kind == KIND_WINDOW)
		return verify_window(run, object);
	answer = object ? pfnbuf_buf_verify(object->buf) : -ENOENT;
	if (answer < 0)
		return answer;
	json_bool(&run->output->fields, "importable", answer);
	if (!answer)
		return fail(run, -ENODEV, "%s is revoked: nothing can import it now", object->name);
	say(run->output, "can be imported");
	return 0;
}

int verb_discard(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "BUF");
	const struct value *range = statement_get(st, "RANGE");

	if (!object)
		return -ENOENT;
	return pfnbuf_buf_discard(object->buf, range->number, range->length);
}

/* ---------------------------------------------------------------- bytes ---------------------------------------------- */

static int check_bounds(struct run *run, struct object *object, uint64_t offset, uint64_t size)
{
	uint64_t length = object_length(object);

	if (object->kind == KIND_DMA_BUF)
		return fail(run, -EINVAL,
			    "%s is a dma-buf: its bytes are read and written through "
			    "the BAR, by `bar read` and `bar write`",
			    object->name);
	if (offset > length || size > length - offset)
		return fail(run, -EINVAL,
			    "0x%" PRIx64 "+%" PRIu64 " leaves %s, which has 0x%" PRIx64 " bytes",
			    offset, size, object->name, length);
	return 0;
}

/*
 * Through a pipe and not by memcpy(): private pages of a guest_memfd and huge pages that are not there fail then with
 * EFAULT, where a plain access would kill the process. Returns how much was copied, or a negative errno.
 */
static ssize_t copy_carefully(uint8_t *to, const uint8_t *from, size_t size)
{
	ssize_t n = 0;
	size_t done = 0;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	while (done < size) {
		size_t chunk = size - done < PIPE_BUF ? size - done : PIPE_BUF;

		n = write(fds[1], from + done, chunk);
		if (n > 0)
			n = read(fds[0], to + done, (size_t)n);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (n < 0 && !done)
		n = -errno;
	close(fds[0]);
	close(fds[1]);
	return done ? (ssize_t)done : n;
}

static int transfer(struct run *run, struct object *object, uint64_t offset, uint8_t *bytes,
		    size_t size, bool write)
{
	ssize_t n;
	void *addr;
	int err = check_bounds(run, object, offset, size);

	if (!err)
		err = object_address(run, object, &addr);
	if (err)
		return err;
	if (write)
		n = copy_carefully((uint8_t *)addr + offset, bytes, size);
	else
		n = copy_carefully(bytes, (uint8_t *)addr + offset, size);
	if (n == (ssize_t)size)
		return 0;
	return fail(run, n < 0 ? (int)n : -EFAULT, "%s: only %zd of %zu bytes can be %s",
		    object->name, n < 0 ? 0 : n, size, write ? "written" : "read");
}

int verb_buf_read(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "BUF");
	const struct value *range = statement_get(st, "RANGE");
	uint8_t *bytes;
	int err;

	if (!object)
		return -ENOENT;
	bytes = calloc(1, (size_t)range->length + 1);
	if (!bytes)
		return fail(run, -ENOMEM, "no memory for %" PRIu64 " bytes", range->length);
	err = transfer(run, object, range->number, bytes, (size_t)range->length, false);
	if (!err)
		report_bytes(run, range->number, bytes, (size_t)range->length);
	free(bytes);
	return err;
}

int verb_buf_write(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "BUF");
	uint8_t *bytes;
	size_t size;
	int err;

	if (!object)
		return -ENOENT;
	bytes = statement_bytes(run, st, &size);
	if (!bytes)
		return -ENOMEM;
	err = transfer(run, object, number_or(st, "OFFSET", 0), bytes, size, true);
	free(bytes);
	if (!err)
		say(run->output, "%zu byte%s", size, size == 1 ? "" : "s");
	return err;
}

int verb_buf_expect(struct run *run, const struct statement *st)
{
	struct object *object = object_of(run, st, "BUF");
	uint64_t offset = number_or(st, "OFFSET", 0);
	size_t size = (size_t)data_length(statement_data(st));
	uint64_t began = now_ns();
	uint8_t *bytes;
	int err;

	if (!object)
		return -ENOENT;
	bytes = calloc(1, size);
	if (!bytes)
		return fail(run, -ENOMEM, "no memory for %zu bytes", size);
	do
		err = transfer(run, object, offset, bytes, size, false);
	while (!err && worth_another_look(run, st, bytes, began));
	if (!err)
		err = compare_bytes(run, st, offset, bytes);
	free(bytes);
	return err;
}
