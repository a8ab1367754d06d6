/* SPDX-License-Identifier: MIT */
/*
 * How a window comes to be: what may be shown of a BAR or a block of RAM, and the buffers and mappings
 * behind it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include "uapi/kvm.h"
#include "window.h"

#define ALL_SLOT_FLAGS	(PFNBUF_SLOT_LOG_DIRTY | PFNBUF_SLOT_READONLY)
#define ALL_PLACE_FLAGS (PFNBUF_PLACE_WITHDRAW_SLOTS | PFNBUF_PLACE_RETRY)

static int check_place(const struct pfnbuf_ctx *ctx, const struct pfnbuf_place *place,
		       uint64_t length, const char *object)
{
	const char *wrong = NULL;
	int r;

	if (place->size < sizeof(*place))
		wrong = "place->size is not sizeof(struct pfnbuf_place)";
	else if (!place->vm && !place->ioas)
		wrong = "neither a VM nor an IOAS";
	else if (place->vm && pfnbuf_vm_ctx(place->vm) != ctx)
		wrong = "the VM is another context's";
	else if (place->ioas && pfnbuf_ioas_ctx(place->ioas) != ctx)
		wrong = "the IOAS is another context's";
	else if (place->map_flags & ~(unsigned)(PFNBUF_MAP_READ | PFNBUF_MAP_WRITE))
		wrong = "unknown map_flags";
	else if (place->slot_flags & ~(unsigned)ALL_SLOT_FLAGS)
		wrong = "unknown slot_flags";
	else if (place->flags & ~(unsigned)ALL_PLACE_FLAGS)
		wrong = "unknown flags";
	else if (place->granule % pfnbuf_page_size())
		wrong = "the granule is no multiple of the page size";
	if (wrong)
		return pfnbuf_refused(-EINVAL, "pfnbuf_place", object, NULL, "", "%s", wrong);
	r = place->vm ? pfnbuf_window_check_address(object, "guest physical address", place->gpa,
						    length)
		      : 0;
	if (r >= 0 && place->ioas)
		r = pfnbuf_window_check_address(object, "I/O virtual address", place->iova, length);
	return r;
}

/* What is asked for and would do nothing is a mistake of somebody's. */
static int check_bar_flags(const struct pfnbuf_place *place, const char *object)
{
	if (place->flags & PFNBUF_PLACE_RETRY)
		return pfnbuf_refused(-EINVAL, "pfnbuf_place", object, NULL,
				      "leave out PFNBUF_PLACE_RETRY",
				      "nobody holds pages of a BAR, so that it never waits");
	if (place->flags & PFNBUF_PLACE_WITHDRAW_SLOTS && !place->vm)
		return pfnbuf_refused(-EINVAL, "pfnbuf_place", object, NULL,
				      "leave out PFNBUF_PLACE_WITHDRAW_SLOTS",
				      "a window that is in no VM has no slots");
	return 0;
}

static int check_ram_flags(const struct pfnbuf_ram *ram, const struct pfnbuf_place *place,
			   const char *object)
{
	if (place->flags & PFNBUF_PLACE_WITHDRAW_SLOTS)
		return pfnbuf_refused(-EINVAL, "pfnbuf_place", object, NULL,
				      "leave out PFNBUF_PLACE_WITHDRAW_SLOTS; "
				      "pfnbuf_window_suspend() takes slots away",
				      "no device turns RAM off, so that its slots always stay");
	if (place->flags & PFNBUF_PLACE_RETRY && (ram->memfd || ram->addr))
		return pfnbuf_refused(-EINVAL, "pfnbuf_place", object, NULL,
				      "leave out PFNBUF_PLACE_RETRY",
				      "only a guest_memfd alone is converted in place: the kernel "
				      "converts other memory whoever holds it, so that it never "
				      "waits");
	return 0;
}

static int check_bar(const struct pfnbuf_bar *bar, unsigned index, const struct pfnbuf_range *part,
		     const char *object)
{
	static const char call[] = "pfnbuf_window_new_bar";
	const uint64_t page = pfnbuf_page_size();

	if (!bar->size)
		return pfnbuf_refused(-EINVAL, call, object, NULL, "lspci -v shows the BARs",
				      "the device has no BAR %u", index);
	if (bar->flags & PFNBUF_BAR_IO)
		return pfnbuf_refused(-EINVAL, call, object, NULL, "",
				      "BAR %u is I/O ports, not memory", index);
	if (bar->size < page)
		return pfnbuf_refused(-EOPNOTSUPP, call, object, NULL,
				      "leave it a hole and emulate it with "
				      "pfnbuf_device_bar_read() and pfnbuf_device_bar_write()",
				      "BAR %u has 0x%" PRIx64 " bytes, less than a page: what else "
				      "is in that page would be shown with it",
				      index, bar->size);
	if (!(bar->flags & PFNBUF_BAR_MMAP))
		return pfnbuf_refused(-EOPNOTSUPP, call, object, NULL, "",
				      "BAR %u cannot be mapped", index);
	if (part && (!part->length || (part->offset | part->length) % page ||
		     part->offset > bar->size || part->length > bar->size - part->offset))
		return pfnbuf_refused(-EINVAL, call, object, part, "",
				      "the part is empty, misaligned or leaves BAR %u, which has "
				      "0x%" PRIx64 " bytes",
				      index, bar->size);
	return 0;
}

/* Of a range in the BAR, the pages that are in the window. */
static bool clip(const struct pfnbuf_range *range, const struct pfnbuf_range *part,
		 struct stretch *out)
{
	const uint64_t page = pfnbuf_page_size();
	uint64_t from = (range->offset + page - 1) / page * page;
	uint64_t to = end_of(range) / page * page;

	from = from > part->offset ? from : part->offset;
	to = min_u64(to, end_of(part));
	if (from >= to)
		return false;
	*out = (struct stretch){ .offset = from - part->offset, .length = to - from };
	return true;
}

/* Behind the last one there is nothing that could be cut. */
static void note_ends(struct pfnbuf_window *w)
{
	for (size_t i = 0; i < w->nr_stretches; i++)
		w->ends[i] = w->stretches[i].offset + w->stretches[i].length;
	w->ends[w->nr_stretches] = UINT64_MAX;
}

static int by_offset(const void *a, const void *b)
{
	const struct pfnbuf_range *x = a, *y = b;

	return (x->offset > y->offset) - (x->offset < y->offset);
}

static int find_stretches(struct pfnbuf_window *w, const struct pfnbuf_bar *bar,
			  const struct pfnbuf_range *part)
{
	const size_t n = bar->nr_sparse ? bar->nr_sparse : 1;
	cleanup_free struct pfnbuf_range *ranges = calloc(n, sizeof(*ranges));

	if (!ranges)
		return pfnbuf_window_no_memory(w, "pfnbuf_window_new_bar");
	ranges[0] = *part;
	if (bar->nr_sparse)
		pfnbuf_device_get_bar_sparse(w->device, w->bar, ranges, n);
	qsort(ranges, n, sizeof(*ranges), by_offset);
	for (size_t i = 0; i < n; i++)
		w->nr_stretches += clip(&ranges[i], part, &w->stretches[w->nr_stretches]);
	if (!w->nr_stretches)
		return pfnbuf_refused(-EOPNOTSUPP, "pfnbuf_window_new_bar", w->name, part, "",
				      "no page of it can be mapped");
	note_ends(w);
	return 0;
}

/*
 * Whether the kernel imports a dma-buf of several ranges, as this one is: 1, 0, or a negative
 * errno. Where the device's memory is off it does not tell.
 */
static int imports_ranges(const struct pfnbuf_window *w, struct pfnbuf_buf *buf)
{
	int r = pfnbuf_ctx_imports_ranges(w->ctx);

	if (r >= 0)
		return r;
	r = pfnbuf_buf_verify(buf);
	if (r == 0 || (r < 0 && r != -EOPNOTSUPP))
		return r;
	pfnbuf_ctx_learn_import(w->ctx, r > 0);
	return r > 0;
}

/* One dma-buf for several stretches, where the kernel imports such. */
int pfnbuf_window_export_together(const struct pfnbuf_window *w, struct stretch *stretches,
				  size_t n)
{
	cleanup_free struct pfnbuf_range *slices = calloc(n, sizeof(*slices));
	struct pfnbuf_buf *buf;
	uint64_t offset = 0;
	int r;

	if (!slices)
		return pfnbuf_window_no_memory(w, "pfnbuf_window_new_bar");
	for (size_t i = 0; i < n; i++)
		slices[i] = slice_of(w, &stretches[i]);
	r = pfnbuf_device_export(w->device, w->bar, slices, n, &buf);
	if (r < 0)
		return r;
	r = imports_ranges(w, buf);
	for (size_t i = 0; r > 0 && i < n; i++) {
		stretches[i].buf = pfnbuf_buf_ref(buf);
		stretches[i].buf_offset = offset;
		offset += stretches[i].length;
	}
	pfnbuf_buf_unref(buf);
	return r;
}

static int open_stretch(const struct pfnbuf_window *w, struct stretch *s)
{
	const struct pfnbuf_range slice = slice_of(w, s);
	int r = 0;

	if (w->ioas && !s->buf)
		r = pfnbuf_device_export(w->device, w->bar, &slice, 1, &s->buf);
	if (r >= 0 && w->vm) {
		r = pfnbuf_device_bar_map(w->device, w->bar, slice.offset, slice.length, &s->addr);
		s->mapped = r >= 0;
	}
	return r;
}

int pfnbuf_window_new_bar(struct pfnbuf_device *device, unsigned bar,
			  const struct pfnbuf_range *part, const struct pfnbuf_place *place,
			  struct pfnbuf_window **windowp)
{
	const char *object = pfnbuf_device_name(device);
	cleanup_window struct pfnbuf_window *w = NULL;
	struct pfnbuf_range all = { 0, 0 };
	struct pfnbuf_bar info;
	int r = pfnbuf_device_get_bar(device, bar, &info);

	if (r >= 0)
		r = check_bar(&info, bar, part, object);
	if (r >= 0)
		r = pfnbuf_device_check_not_lent(device, "pfnbuf_window_new_bar", object, NULL);
	if (r < 0)
		return r;
	all.length = info.size;
	part = part ? part : &all;
	r = check_place(pfnbuf_device_ctx(device), place, part->length, object);
	if (r < 0)
		return r;
	if (place->granule)
		return pfnbuf_refused(-EINVAL, "pfnbuf_place", object, NULL, "",
				      "a BAR has no granule");
	r = check_bar_flags(place, object);
	if (r < 0)
		return r;
	w = pfnbuf_window_allocate(pfnbuf_device_ctx(device), place, part->length,
				   info.nr_sparse ? info.nr_sparse : 1);
	if (!w)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_window_new_bar", object, NULL);
	w->device = pfnbuf_device_ref(device);
	w->bar = bar;
	w->bar_offset = part->offset;
	snprintf(w->name, sizeof(w->name), "window of %.32s BAR %u", object, bar);
	r = find_stretches(w, &info, part);
	if (r >= 0 && w->ioas && w->nr_stretches > 1 && pfnbuf_ctx_imports_ranges(w->ctx) != 0)
		r = pfnbuf_window_export_together(w, w->stretches, w->nr_stretches);
	for (size_t i = 0; r >= 0 && i < w->nr_stretches; i++)
		r = open_stretch(w, &w->stretches[i]);
	if (r >= 0)
		r = pfnbuf_device_hook(device, &w->hook);
	if (r < 0)
		return r;
	pfnbuf_ctx_link(w->ctx, PFNBUF_LIST_WINDOWS, &w->link);
	*windowp = w;
	w = NULL;
	return 0;
}

/* Whether a range is one of pages of @buf. */
static int check_range(const struct pfnbuf_ctx *ctx, struct pfnbuf_buf *buf, uint64_t offset,
		       uint64_t length)
{
	static const char call[] = "pfnbuf_window_new_ram";
	const struct pfnbuf_range range = { offset, length };
	const uint64_t size = pfnbuf_buf_get_length(buf);
	const char *name = pfnbuf_buf_name(buf);

	if (pfnbuf_buf_ctx(buf) != ctx)
		return pfnbuf_refused(-EINVAL, call, name, NULL, "",
				      "the memory is another context's");
	if (!length || (offset | length) % pfnbuf_page_size() || offset > size ||
	    length > size - offset)
		return pfnbuf_refused(-EINVAL, call, name, &range, "",
				      "the range is empty, misaligned or leaves the memory, which "
				      "has 0x%" PRIx64 " bytes",
				      size);
	return 0;
}

static const char *ram_name(const struct pfnbuf_ram *ram)
{
	if (ram->memfd)
		return pfnbuf_buf_name(ram->memfd);
	if (ram->guest_memfd && !ram->addr)
		return pfnbuf_buf_name(ram->guest_memfd);
	return "anonymous memory";
}

static int check_ram(const struct pfnbuf_ctx *ctx, const struct pfnbuf_ram *ram)
{
	const char *wrong = NULL;
	int r = 0;

	if (!ram->memfd && !ram->addr && !ram->guest_memfd)
		wrong = "there is no memory: neither memfd, addr nor guest_memfd";
	else if (ram->memfd && pfnbuf_buf_get_kind(ram->memfd) != PFNBUF_MEMFD)
		wrong = "the buffer is not a memfd";
	else if (ram->guest_memfd && pfnbuf_buf_get_kind(ram->guest_memfd) != PFNBUF_GUEST_MEMFD)
		wrong = "the buffer is not a guest_memfd";
	else if (!ram->memfd && ram->offset)
		wrong = "an offset into no memfd";
	else if (!ram->length || (ram->length | (uintptr_t)ram->addr) % pfnbuf_page_size())
		wrong = "the length is 0, or it or the address misaligned";
	if (wrong)
		return pfnbuf_refused(-EINVAL, "pfnbuf_window_new_ram", "RAM", NULL, "", "%s",
				      wrong);
	if (ram->memfd)
		r = check_range(ctx, ram->memfd, ram->offset, ram->length);
	if (r >= 0 && ram->guest_memfd)
		r = check_range(ctx, ram->guest_memfd, ram->guest_memfd_offset, ram->length);
	return r;
}

static int check_private(const struct pfnbuf_ram *ram, const struct pfnbuf_place *place)
{
	static const char call[] = "pfnbuf_window_new_ram";

	if (!ram->guest_memfd)
		return 0;
	if (!place->vm)
		return pfnbuf_refused(-EINVAL, call, ram_name(ram), NULL,
				      "put the window into the VM that the guest_memfd was made of",
				      "a guest_memfd is memory of a guest's, and there is no VM");
	if (place->slot_flags)
		return pfnbuf_refused(-EINVAL, call, ram_name(ram), NULL, "",
				      "a slot with a guest_memfd takes no flags");
	return pfnbuf_vm_check_maker(place->vm, ram->guest_memfd, call,
				     pfnbuf_buf_name(ram->guest_memfd), NULL);
}

/*
 * A guest_memfd that can be mapped is all that the guest sees, shared or private
 * (include/linux/kvm_host.h:kvm_memslot_is_gmem_only): shared memory beside it would be for devices
 * only. Only mmap tells whether it is one.
 */
static int check_not_mappable(const struct pfnbuf_window *w, const struct stretch *s)
{
	const char *name = pfnbuf_buf_name(s->guest_memfd);
	void *addr;
	int r = k_mmap(w->kernel, pfnbuf_page_size(), PROT_READ, MAP_SHARED,
		       pfnbuf_buf_get_fd(s->guest_memfd), 0, &addr);

	if (r == -ENODEV)
		return 0;
	if (r < 0)
		return pfnbuf_failed(r, "mmap of a buffer", name, NULL);
	if (k_munmap(w->kernel, addr, pfnbuf_page_size()) < 0)
		pfnbuf_ctx_log(w->ctx, PFNBUF_LOG_WARNING, "%s: a page stays mapped", name);
	return pfnbuf_refused(
		-EINVAL, "pfnbuf_window_new_ram", name, NULL,
		"make it without PFNBUF_GUEST_MEMFD_MMAP, or leave out memfd and addr",
		"it can be mapped, so that the guest would never see the memory "
		"beside it");
}

static int open_memory(struct pfnbuf_window *w, struct stretch *s)
{
	struct pfnbuf_buf *from = w->in_place ? s->guest_memfd : s->buf;
	const uint64_t offset = w->in_place ? s->guest_memfd_offset : s->buf_offset;
	int r;

	if (s->addr || !from || (!w->vm && !w->in_place))
		return 0;
	r = pfnbuf_buf_map(from, offset, s->length, &s->addr);
	s->mapped = r >= 0;
	return r;
}

static int open_private(struct pfnbuf_window *w, const struct stretch *s)
{
	const struct pfnbuf_profile *profile = pfnbuf_ctx_profile(w->ctx);
	unsigned long request;
	int attributes = 0, r;

	if (!s->guest_memfd)
		return 0;
	if (w->in_place) {
		w->has_private = pfnbuf_profile_gmem_attributes(profile, &request);
		return 0;
	}
	r = pfnbuf_vm_check_extension(w->vm, KVM_CAP_MEMORY_ATTRIBUTES, &attributes);
	w->has_private = attributes & PFNBUF_ATTRIBUTE_PRIVATE;
	w->has_granules = w->has_private && w->granule;
	return r < 0 ? r : check_not_mappable(w, s);
}

static void name_ram(struct pfnbuf_window *w, const struct pfnbuf_ram *ram)
{
	if (ram->memfd || w->in_place)
		snprintf(w->name, sizeof(w->name), "window of %.40s", ram_name(ram));
	else
		snprintf(w->name, sizeof(w->name), "window of memory at %p", ram->addr);
}

int pfnbuf_window_new_ram(struct pfnbuf_ctx *ctx, const struct pfnbuf_ram *ram,
			  const struct pfnbuf_place *place, struct pfnbuf_window **windowp)
{
	cleanup_window struct pfnbuf_window *w = NULL;
	struct stretch *s;
	int r = check_ram(ctx, ram);

	if (r >= 0)
		r = check_place(ctx, place, ram->length, ram_name(ram));
	if (r >= 0)
		r = check_ram_flags(ram, place, ram_name(ram));
	if (r >= 0)
		r = check_private(ram, place);
	if (r < 0)
		return r;
	w = pfnbuf_window_allocate(ctx, place, ram->length, 1);
	if (!w)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_window_new_ram", ram_name(ram), NULL);
	w->in_place = !ram->memfd && !ram->addr;
	name_ram(w, ram);
	s = &w->stretches[w->nr_stretches++];
	*s = (struct stretch){
		.length = ram->length,
		.buf = ram->memfd ? pfnbuf_buf_ref(ram->memfd) : NULL,
		.buf_offset = ram->offset,
		.guest_memfd = ram->guest_memfd ? pfnbuf_buf_ref(ram->guest_memfd) : NULL,
		.guest_memfd_offset = ram->guest_memfd_offset,
		.addr = ram->addr,
	};
	note_ends(w);
	r = open_private(w, s);
	if (r >= 0)
		r = open_memory(w, s);
	if (r < 0)
		return r;
	pfnbuf_ctx_link(ctx, PFNBUF_LIST_WINDOWS, &w->link);
	*windowp = w;
	w = NULL;
	return 0;
}
