/* SPDX-License-Identifier: MIT */
#include "conversions.h"

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "vmtest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

/* ---------------------------------------------------------------- the door ------------------ */

/* The kernel's table with calls counted on their way: of one run at a time, and while it converts. */
static struct {
	struct pfnbuf_kernel table;
	const struct pfnbuf_kernel *kernel;
	uint64_t *calls;
	enum conversions_call planted;
	uint64_t nth;
} door;

void conversions_plant(enum conversions_call kind, uint64_t nth)
{
	door.planted = kind;
	door.nth = nth;
}

/* Whether a call goes through. */
static bool count_call(enum conversions_call kind)
{
	return !door.calls || ++door.calls[kind] != door.nth || kind != door.planted;
}

static enum conversions_call classify(unsigned long request)
{
	switch (request) {
	case IOMMU_IOAS_MAP:
	case IOMMU_IOAS_MAP_FILE:
		return CONVERSIONS_MAP;
	case IOMMU_IOAS_UNMAP:
		return CONVERSIONS_UNMAP;
	case KVM_SET_USER_MEMORY_REGION:
	case KVM_SET_USER_MEMORY_REGION2:
		return CONVERSIONS_SLOT;
	case KVM_SET_MEMORY_ATTRIBUTES:
		return CONVERSIONS_ATTRIBUTES;
	default:
		return CONVERSIONS_OTHER;
	}
}

static int counted_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	if (!count_call(classify(request)))
		return 0;
	return door.kernel->ioctl(data, fd, request, arg);
}

static int counted_fallocate(void *data, int fd, int mode, uint64_t offset, uint64_t length)
{
	if (!count_call(CONVERSIONS_DISCARD))
		return 0;
	return door.kernel->fallocate(data, fd, mode, offset, length);
}

static int counted_madvise(void *data, void *addr, size_t length, int advice)
{
	if (!count_call(CONVERSIONS_DISCARD))
		return 0;
	return door.kernel->madvise(data, addr, length, advice);
}

static const struct pfnbuf_kernel *counted(const struct pfnbuf_kernel *kernel)
{
	door.calls = NULL;
	door.kernel = kernel;
	door.table = *kernel;
	door.table.ioctl = counted_ioctl;
	door.table.fallocate = counted_fallocate;
	door.table.madvise = counted_madvise;
	return &door.table;
}

/* ---------------------------------------------------------------- the VM -------------------- */

static void share_all(struct history *history)
{
	for (uint32_t p = 0; p < HISTORY_PAGES; p++)
		if (history->pages[p].kind == HISTORY_PRIVATE)
			history->pages[p].kind = HISTORY_SHARED;
}

void conversions_open(struct conversions *c, const struct pfnbuf_kernel *kernel,
		      enum backing backing, uint32_t seed)
{
	const struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .kernel = counted(kernel) };
	const bool in_place = backing == BACKING_IN_PLACE;

	*c = (struct conversions){ .backing = backing };
	history_start(&c->history, seed);
	if (in_place)
		share_all(&c->history);
	check_eq(pfnbuf_ctx_new(&c->ctx, &opts), 0);
	check_eq(pfnbuf_ioas_new(c->ctx, &c->ioas), 0);
	check_eq(pfnbuf_vm_new(c->ctx, in_place ? PFNBUF_VM_DEFAULT : PFNBUF_VM_SW_PROTECTED,
			       &c->vm),
		 0);
}

static enum pfnbuf_vis expected(const struct conversions *c, uint32_t p)
{
	switch (c->history.pages[p].kind) {
	case HISTORY_SHARED:
		return PFNBUF_SHARED;
	case HISTORY_PRIVATE:
		return PFNBUF_PRIVATE;
	default:
		return PFNBUF_HOLE;
	}
}

/* As a VMM would have to keep it that did all by itself: a visibility for each page. */
static struct pfnbuf_layout *expected_layout(const struct conversions *c)
{
	struct pfnbuf_layout *layout;

	check_eq(pfnbuf_layout_new(CONVERSIONS_SIZE, HISTORY_PAGE, PFNBUF_HOLE, &layout), 0);
	for (uint32_t p = 0; p < HISTORY_PAGES; p++)
		check_eq(
			pfnbuf_layout_set(layout, p * UINT64_C(4096), HISTORY_PAGE, expected(c, p)),
			0);
	return layout;
}

static void *make_memory(struct conversions *c, struct pfnbuf_ram *ram)
{
	const unsigned in_place = PFNBUF_GUEST_MEMFD_MMAP | PFNBUF_GUEST_MEMFD_INIT_SHARED;
	void *addr;

	check_eq(pfnbuf_buf_new_guest_memfd(c->vm, CONVERSIONS_SIZE,
					    c->backing == BACKING_IN_PLACE ? in_place : 0,
					    &c->guest_memfd),
		 0);
	ram->guest_memfd = c->guest_memfd;
	if (c->backing == BACKING_IN_PLACE) {
		check_eq(pfnbuf_buf_map(c->guest_memfd, 0, CONVERSIONS_SIZE, &addr), 0);
		return addr;
	}
	if (c->backing == BACKING_MEMFD) {
		check_eq(pfnbuf_buf_new_memfd(c->ctx, CONVERSIONS_SIZE, 0, &c->memfd), 0);
		check_eq(pfnbuf_buf_map(c->memfd, 0, CONVERSIONS_SIZE, &addr), 0);
		ram->memfd = c->memfd;
	} else {
		addr = vmtest_mmap(CONVERSIONS_SIZE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	ram->addr = addr;
	return addr;
}

static void free_memory(struct conversions *c)
{
	if (!c->shared)
		return;
	if (c->backing == BACKING_ANONYMOUS)
		munmap(c->shared, CONVERSIONS_SIZE);
	else
		check_eq(pfnbuf_buf_unmap(c->memfd ? c->memfd : c->guest_memfd, c->shared,
					  CONVERSIONS_SIZE),
			 0);
	c->shared = NULL;
	c->memfd = pfnbuf_buf_unref(c->memfd);
	c->guest_memfd = pfnbuf_buf_unref(c->guest_memfd);
}

void conversions_place(struct conversions *c, uint64_t granule)
{
	const struct pfnbuf_place place = {
		.size = sizeof(place),
		.vm = c->vm,
		.gpa = CONVERSIONS_GPA,
		.ioas = c->ioas,
		.iova = CONVERSIONS_IOVA,
		.granule = granule,
	};
	struct pfnbuf_ram ram = { .length = CONVERSIONS_SIZE };
	struct pfnbuf_layout *layout;

	c->shared = make_memory(c, &ram);
	check_eq(pfnbuf_window_new_ram(c->ctx, &ram, &place, &c->window), 0);
	layout = expected_layout(c);
	check_eq(pfnbuf_window_set_layout(c->window, layout), 0);
	pfnbuf_layout_free(layout);
}

void conversions_close(struct conversions *c)
{
	c->window = pfnbuf_window_free(c->window);
	free_memory(c);
	c->vm = pfnbuf_vm_free(c->vm);
	c->ioas = pfnbuf_ioas_free(c->ioas);
	c->ctx = pfnbuf_ctx_free(c->ctx);
}

/* ---------------------------------------------------------------- exits --------------------- */

/* What the guest asks for is what comes next in the history, which takes effect on the model here. */
static void check_and_take_step(struct conversions *c, const uint64_t args[4])
{
	const struct history_step step = history_next(&c->history);

	check_eq(args[0],
		 CONVERSIONS_GPA + step.first * UINT64_C(4096) - HISTORY_MARGIN * UINT64_C(4096));
	check_eq(args[1], step.pages);
	check_eq(args[2] & KVM_MAP_GPA_RANGE_ENCRYPTED,
		 step.to_private ? KVM_MAP_GPA_RANGE_ENCRYPTED : 0);
	for (uint32_t p = 0; p < HISTORY_PAGES; p++)
		history_convert(&c->history, &step, p);
}

uint64_t conversions_hypercall(struct conversions *c, uint64_t nr, const uint64_t args[4])
{
	struct pfnbuf_exit exit = { .kind = PFNBUF_EXIT_HYPERCALL, .nr = nr };
	struct pfnbuf_exit_advice advice;

	memcpy(exit.args, args, sizeof(exit.args));
	check_and_take_step(c, args);
	check_eq(pfnbuf_exit_explain(c->vm, &exit, &advice), 0);
	if (advice.action == PFNBUF_EXIT_RESUME)
		return advice.ret;
	check_eq(advice.action, PFNBUF_EXIT_CONVERT);
	door.calls = c->calls;
	check_eq(pfnbuf_guest_convert(c->vm, &advice.conversion, 1), 0);
	door.calls = NULL;
	return advice.ret;
}

/* ---------------------------------------------------------------- the record ---------------- */

static void print_layout(FILE *f, struct pfnbuf_layout *layout)
{
	char text[4096];

	check(pfnbuf_layout_print(layout, text, sizeof(text)) < sizeof(text));
	fprintf(f, "%s\n", text);
}

/* The areas that lie in the window, and how much they come to. */
static uint64_t print_areas(FILE *f, const struct conversions *c)
{
	const uint64_t end = CONVERSIONS_IOVA + CONVERSIONS_SIZE;
	struct pfnbuf_area area;
	uint64_t mapped = 0;

	for (uint64_t at = CONVERSIONS_IOVA;
	     pfnbuf_ioas_next_area(c->ioas, at, &area) && area.iova < end;
	     at = area.iova + area.length) {
		check(!area.dead);
		if (area.is_va)
			area.offset -= (uintptr_t)c->shared;
		fprintf(f, "area %#" PRIx64 "+%#" PRIx64 " offset %#" PRIx64 " flags %u\n",
			area.iova, area.length, area.offset, area.flags);
		mapped += area.length;
	}
	return mapped;
}

static uint64_t print_attributes(FILE *f, const struct conversions *c)
{
	const uint64_t end = CONVERSIONS_GPA + CONVERSIONS_SIZE;
	uint64_t private = 0, length;

	for (uint64_t at = CONVERSIONS_GPA; at < end; at += length) {
		uint64_t attributes;

		pfnbuf_vm_get_attributes(c->vm, at, &attributes, &length);
		length = length < end - at ? length : end - at;
		fprintf(f, "attributes %#" PRIx64 "+%#" PRIx64 " %#" PRIx64 "\n", at, length,
			attributes);
		private += attributes & PFNBUF_ATTRIBUTE_PRIVATE ? length : 0;
	}
	return private;
}

static void print_slots(FILE *f, const struct conversions *c)
{
	struct pfnbuf_slot slot;
	uint32_t id;

	for (uint32_t from = 0; pfnbuf_vm_next_slot(c->vm, from, &id, &slot); from = id + 1)
		if (slot.guest_memfd)
			fprintf(f, "slot %#" PRIx64 "+%#" PRIx64 " offset %#" PRIx64 "\n", slot.gpa,
				slot.length, slot.guest_memfd_offset);
}

static void print_calls(FILE *f, const struct conversions *c)
{
	fprintf(f,
		"calls: map %" PRIu64 " unmap %" PRIu64 " slot %" PRIu64 " attributes %" PRIu64
		" discard %" PRIu64 " other %" PRIu64 "\n",
		c->calls[CONVERSIONS_MAP], c->calls[CONVERSIONS_UNMAP], c->calls[CONVERSIONS_SLOT],
		c->calls[CONVERSIONS_ATTRIBUTES], c->calls[CONVERSIONS_DISCARD],
		c->calls[CONVERSIONS_OTHER]);
}

static void add(struct record *record, char *text)
{
	const size_t size = (record->n + 1) * sizeof(*record->texts);
	char **texts = realloc(record->texts, size);

	check(texts != NULL);
	record->texts = texts;
	record->texts[record->n++] = text;
	/* FNV-1a */
	if (!record->digest)
		record->digest = UINT64_C(0xcbf29ce484222325);
	for (const char *byte = text; *byte; byte++)
		record->digest = (record->digest ^ (unsigned char)*byte) * UINT64_C(0x100000001b3);
}

static uint64_t count(const struct conversions *c, enum history_kind kind)
{
	uint64_t n = 0;

	for (uint32_t p = 0; p < HISTORY_PAGES; p++)
		n += c->history.pages[p].kind == kind;
	return n * HISTORY_PAGE;
}

void conversions_check_ledger(struct conversions *c)
{
	struct pfnbuf_layout *layout, *want = expected_layout(c);
	struct pfnbuf_window_info info;
	char *text;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	check(f != NULL);
	pfnbuf_window_get_info(c->window, &info);
	check_eq(info.state, PFNBUF_WINDOW_LIVE);
	check_eq(pfnbuf_window_get_layout(c->window, &layout), 0);
	check(pfnbuf_layout_equal(layout, want));
	fprintf(f, "step %" PRIu32 "\n", c->history.steps);
	print_layout(f, layout);
	check_eq(print_areas(f, c), count(c, HISTORY_SHARED));
	check_eq(print_attributes(f, c), count(c, HISTORY_PRIVATE));
	print_slots(f, c);
	print_calls(f, c);
	check_eq(fclose(f), 0);
	add(&c->record, text);
	pfnbuf_layout_free(layout);
	pfnbuf_layout_free(want);
}

void record_compare(const struct record *a, const struct record *b)
{
	check_eq(a->n, b->n);
	for (size_t i = 0; i < a->n; i++) {
		if (strcmp(a->texts[i], b->texts[i]) != 0)
			printf("# one kernel:\n%s# the other:\n%s", a->texts[i], b->texts[i]);
		check_eq(strcmp(a->texts[i], b->texts[i]), 0);
	}
	check(a->n > 0 && a->digest == b->digest);
}

void record_free(struct record *record)
{
	for (size_t i = 0; i < record->n; i++)
		free(record->texts[i]);
	free(record->texts);
	*record = (struct record){ 0 };
}
