/* SPDX-License-Identifier: MIT */
/*
 * I/O address spaces: areas, the pages behind them, and which addresses may be used
 * (drivers/iommu/iommufd/io_pagetable.c, pages.c).
 */
#include <fcntl.h>
#include <sys/vfs.h>

#include "sim.h"

#define HUGE_PAGE	(2ULL << 20)
#define TMPFS_MAGIC	0x01021994
#define HUGETLBFS_MAGIC 0x958458f6

/* -------------------------------------------------------------------------- search */

size_t sim_area_at(const struct sim_ioas *ioas, uint64_t iova)
{
	size_t low = 0, high = ioas->areas.n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct sim_area *area = ioas->areas.v[mid];

		if (area->last < iova)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct sim_area *area_in(const struct sim_ioas *ioas, uint64_t start, uint64_t last)
{
	size_t at = sim_area_at(ioas, start);
	struct sim_area *area = at < ioas->areas.n ? ioas->areas.v[at] : NULL;

	return area && area->iova <= last ? area : NULL;
}

static bool range_in(const struct sim_range *ranges, size_t n, uint64_t start, uint64_t last)
{
	for (size_t i = 0; i < n; i++)
		if (ranges[i].start <= last && ranges[i].last >= start)
			return true;
	return false;
}

/* ----------------------------------------------------------------- reserved ranges */

int sim_ioas_reserve(struct sim_ioas *ioas, uint64_t start, uint64_t last, const void *owner)
{
	struct sim_range *ranges;
	size_t at = 0;

	if (area_in(ioas, start, last) || range_in(ioas->allowed, ioas->nr_allowed, start, last))
		return -EADDRINUSE;
	ranges = realloc(ioas->reserved, (ioas->nr_reserved + 1) * sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	ioas->reserved = ranges;
	while (at < ioas->nr_reserved && ranges[at].start <= start)
		at++;
	memmove(ranges + at + 1, ranges + at, (ioas->nr_reserved - at) * sizeof(*ranges));
	ranges[at] = (struct sim_range){ start, last, owner };
	ioas->nr_reserved++;
	return 0;
}

void sim_ioas_unreserve(struct sim_ioas *ioas, const void *owner)
{
	size_t kept = 0;

	for (size_t i = 0; i < ioas->nr_reserved; i++)
		if (ioas->reserved[i].owner != owner)
			ioas->reserved[kept++] = ioas->reserved[i];
	ioas->nr_reserved = kept;
}

int sim_ioas_set_allowed(struct sim_ioas *ioas, struct sim_range *ranges, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (range_in(ioas->reserved, ioas->nr_reserved, ranges[i].start, ranges[i].last))
			return -EADDRINUSE;
	free(ioas->allowed);
	ioas->allowed = ranges;
	ioas->nr_allowed = n;
	return 0;
}

/* ---------------------------------------------------------------- choosing an IOVA */

struct wish {
	uint64_t length, alignment, page_offset;
};

/* Whether it fits into [*start, last], and then where. */
static bool fits(const struct wish *wish, uint64_t *start, uint64_t last)
{
	uint64_t at;

	if (__builtin_add_overflow(*start, wish->alignment - 1, &at))
		return false;
	at = (at & ~(wish->alignment - 1)) | wish->page_offset;
	if (at >= last || last - at < wish->length - 1)
		return false;
	*start = at;
	return true;
}

/* The first hole between reserved ranges and areas of [start, last] that it fits into. */
static bool find_hole(const struct sim_ioas *ioas, const struct wish *wish, uint64_t start,
		      uint64_t last, uint64_t *iova)
{
	size_t area_at = sim_area_at(ioas, start), reserved_at = 0;
	uint64_t pos = start;

	for (;;) {
		const struct sim_area *area =
			area_at < ioas->areas.n ? ioas->areas.v[area_at] : NULL;
		const struct sim_range *reserved =
			reserved_at < ioas->nr_reserved ? &ioas->reserved[reserved_at] : NULL;
		uint64_t used_start = UINT64_MAX, used_last = UINT64_MAX;
		bool used = true;

		if (area && (!reserved || area->iova <= reserved->start)) {
			used_start = area->iova;
			used_last = area->last;
			area_at++;
		} else if (reserved) {
			used_start = reserved->start;
			used_last = reserved->last;
			reserved_at++;
		} else {
			used = false;
		}
		if (!used || used_start > last) {
			*iova = pos;
			return fits(wish, iova, last);
		}
		if (used_start > pos) {
			*iova = pos;
			if (fits(wish, iova, used_start - 1))
				return true;
		}
		if (used_last >= last)
			return false;
		if (used_last >= pos)
			pos = used_last + 1;
	}
}

static uint64_t roundup_pow2(uint64_t value)
{
	return value <= 1 ? 1 : 1ULL << (64 - __builtin_clzll(value - 1));
}

static int choose_iova(const struct sim_ioas *ioas, uint64_t addr, uint64_t length, uint64_t *iova)
{
	const uint64_t lowest = sim_page_size(), highest = UINT64_MAX - sim_page_size();
	struct wish wish = { .length = length, .page_offset = addr % sim_page_size() };

	if (!length || length >= UINT64_MAX / 2)
		return -EOVERFLOW;
	wish.alignment = roundup_pow2(length);
	if (addr)
		wish.alignment = MIN(wish.alignment, addr & -addr);
	wish.alignment = MIN(wish.alignment, HUGE_PAGE);
	if (wish.alignment < ioas->alignment)
		return -EINVAL;
	if (!ioas->nr_allowed)
		return find_hole(ioas, &wish, lowest, highest, iova) ? 0 : -ENOSPC;
	for (size_t i = 0; i < ioas->nr_allowed; i++) {
		uint64_t start = MAX(ioas->allowed[i].start, lowest);
		uint64_t last = ioas->allowed[i].last;

		/* Ranges that touch are one. */
		while (i + 1 < ioas->nr_allowed && ioas->allowed[i + 1].start == last + 1)
			last = ioas->allowed[++i].last;
		last = MIN(last, highest);
		if (start <= last && fits(&wish, &start, last) &&
		    find_hole(ioas, &wish, start, last, iova))
			return 0;
	}
	return -ENOSPC;
}

static int check_iova(const struct sim_ioas *ioas, uint64_t iova, uint64_t length)
{
	uint64_t last;

	if (iova & (ioas->alignment - 1))
		return -EINVAL;
	if (__builtin_add_overflow(iova, length - 1, &last))
		return -EOVERFLOW;
	if (range_in(ioas->reserved, ioas->nr_reserved, iova, last))
		return -EINVAL;
	return area_in(ioas, iova, last) ? -EEXIST : 0;
}

/* --------------------------------------------------------------------------- pages */

static struct sim_extern *extern_get(struct pfnbuf_sim *sim, int fd)
{
	struct sim_extern *ext = sim->externs;
	struct stat st;
	char path[64];

	if (fstat(fd, &st))
		return NULL;
	for (; ext; ext = ext->next) {
		if (ext->ino != (uint64_t)st.st_ino || ext->dev != (uint64_t)st.st_dev)
			continue;
		ext->refs++;
		return ext;
	}
	ext = calloc(1, sizeof(*ext));
	if (!ext)
		return NULL;
	/* DMA writes whatever the fd was opened for, where the file itself permits it. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ext->fd = open(path, O_RDWR | O_CLOEXEC);
	if (ext->fd < 0)
		ext->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (ext->fd < 0) {
		free(ext);
		return NULL;
	}
	ext->fd = sim_fd_high(sim, ext->fd);
	ext->dev = (uint64_t)st.st_dev;
	ext->ino = (uint64_t)st.st_ino;
	ext->refs = 1;
	ext->next = sim->externs;
	sim->externs = ext;
	return ext;
}

static void extern_put(struct pfnbuf_sim *sim, struct sim_extern *ext)
{
	struct sim_extern **p = &sim->externs;

	if (!ext || --ext->refs)
		return;
	while (*p != ext)
		p = &(*p)->next;
	*p = ext->next;
	close(ext->fd);
	free(ext);
}

static void pages_put(struct pfnbuf_sim *sim, struct sim_pages *pages)
{
	if (--pages->refs)
		return;
	extern_put(sim, pages->file);
	if (pages->dmabuf) {
		*pages->prevp = pages->next;
		if (pages->next)
			pages->next->prevp = pages->prevp;
		sim_file_unref(sim, pages->dmabuf->file);
	}
	sim_vec_free(&pages->filled);
	sim_vec_free(&pages->held);
	sim_vmas_free(&pages->shape);
	free(pages);
}

void sim_pages_kill(struct sim_pages *pages)
{
	pages->dead = true;
}

static int pages_new(enum sim_pages_kind kind, uint64_t start, uint64_t length, bool writable,
		     struct sim_pages **pagesp)
{
	struct sim_pages *pages;

	if (!length || length > UINT64_MAX - sim_page_size())
		return -EINVAL;
	pages = calloc(1, sizeof(*pages));
	if (!pages)
		return -ENOMEM;
	pages->refs = 1;
	pages->kind = kind;
	pages->writable = writable;
	pages->base = page_down(start);
	pages->npages = (length + (start - pages->base) + sim_page_size() - 1) / sim_page_size();
	*pagesp = pages;
	return 0;
}

static int pages_from_user(uint64_t va, uint64_t length, bool writable, struct sim_pages **pagesp)
{
	uint64_t end;
	int ret;

	if (__builtin_add_overflow(va, length, &end))
		return -EOVERFLOW;
	ret = pages_new(SIM_PAGES_USER, va, length, writable, pagesp);
	if (!ret)
		(*pagesp)->mm = sim_user_pid();
	return ret;
}

static int pages_from_dmabuf(const struct pfnbuf_sim *sim, struct sim_dmabuf *dmabuf,
			     uint64_t start, uint64_t length, bool writable,
			     struct sim_pages **pagesp)
{
	struct sim_pages *pages;
	int ret;

	if (dmabuf->size <= start + length - 1 || length / sim_page_size() >= UINT32_MAX)
		return -EINVAL;
	if (dmabuf->revoked && sim->planted != PFNBUF_SIM_ERROR_REVOKED_IMPORT)
		return -ENODEV;
	/*
	 * More than one range needs an interface between exporter and importer that is not there
	 * yet.
	 */
	if (dmabuf->nr_ranges != 1 && !(sim->proposed & PFNBUF_SIM_IMPORT_RANGES))
		return -EOPNOTSUPP;
	ret = pages_new(SIM_PAGES_DMABUF, start, length, writable, &pages);
	if (ret)
		return ret;
	pages->dmabuf = dmabuf;
	pages->next = dmabuf->pages;
	pages->prevp = &dmabuf->pages;
	if (pages->next)
		pages->next->prevp = &pages->next;
	dmabuf->pages = pages;
	sim_file_ref(dmabuf->file);
	*pagesp = pages;
	return 0;
}

static int pages_from_file(struct pfnbuf_sim *sim, int fd, uint64_t start, uint64_t length,
			   bool writable, struct sim_pages **pagesp)
{
	struct sim_file *file;
	uint64_t last;
	int ret;

	if (!length)
		return -EINVAL;
	if (__builtin_add_overflow(start, length - 1, &last))
		return -EOVERFLOW;
	file = sim_file_get(sim, fd);
	if (file && file->kind == SIM_DMABUF)
		return pages_from_dmabuf(sim, file->object, start, length, writable, pagesp);
	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	ret = pages_new(SIM_PAGES_FILE, start, length, writable, pagesp);
	if (ret)
		return ret;
	(*pagesp)->file = extern_get(sim, fd);
	if ((*pagesp)->file)
		return 0;
	pages_put(sim, *pagesp);
	return -ENOMEM;
}

/* ------------------------------------------------------------------------- pinning */

struct run {
	uint64_t first, end;
};

static int by_first(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* How many pages the filled areas and the accesses need together: shared ones are pinned once. */
static int64_t count_pinned(const struct sim_pages *pages)
{
	size_t n = pages->filled.n + pages->held.n;
	struct run *runs = malloc((n + 1) * sizeof(*runs));
	uint64_t end = 0;
	int64_t sum = 0;

	if (!runs)
		return -ENOMEM;
	for (size_t i = 0; i < pages->held.n; i++) {
		const struct sim_hold *hold = pages->held.v[i];

		runs[pages->filled.n + i] = (struct run){ hold->first, hold->last + 1 };
	}
	for (size_t i = 0; i < pages->filled.n; i++) {
		const struct sim_area *area = pages->filled.v[i];
		uint64_t stop = area->start_byte + (area->last - area->iova);

		runs[i].first = area->start_byte / sim_page_size();
		runs[i].end = stop / sim_page_size() + 1;
	}
	qsort(runs, n, sizeof(*runs), by_first);
	for (size_t i = 0; i < n; i++) {
		if (runs[i].end <= end)
			continue;
		sum += (int64_t)(runs[i].end - MAX(runs[i].first, end));
		end = runs[i].end;
	}
	free(runs);
	return sum;
}

static bool is_shared_memory(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) &&
	       ((uint64_t)fs.f_type == TMPFS_MAGIC || (uint64_t)fs.f_type == HUGETLBFS_MAGIC);
}

/* What memfd_pin_folios takes (mm/gup.c). No file of the simulated kernel's own is such a file. */
static int pin_file(struct pfnbuf_sim *sim, const struct sim_pages *pages, uint64_t offset,
		    uint64_t length)
{
	uint64_t end = page_up(offset + length);
	struct stat st;

	if (sim_file_get(sim, pages->file->fd) || !is_shared_memory(pages->file->fd) ||
	    fstat(pages->file->fd, &st) || !S_ISREG(st.st_mode))
		return -EINVAL;
	/* A range up to the last byte there can be ends, rounded up, at 0. */
	return end <= offset || end > (uint64_t)st.st_size ? -EINVAL : 0;
}

/* What its pages are is kept: they stay pinned when the process is gone. */
static int pin_other(struct sim_pages *pages, uint64_t start, uint64_t length)
{
	pid_t own = sim_user_set(pages->mm);
	int ret = sim_populate(start, length, pages->writable);

	sim_user_set(own);
	if (ret || pages->shape.n)
		return ret;
	return sim_vmas_load(&pages->shape, pages->mm);
}

static int pin(struct pfnbuf_sim *sim, struct sim_pages *pages, uint64_t start_byte,
	       uint64_t length)
{
	uint64_t start = pages->base + start_byte;
	int ret;

	if (pages->kind == SIM_PAGES_FILE)
		return pin_file(sim, pages, page_down(start), length + start - page_down(start));
	if (pages->mm)
		return pin_other(pages, start, length);
	if (sim_mapping_has_bar(sim, start, length))
		return -EFAULT;
	ret = sim_populate(start, length, pages->writable);
	if (!ret)
		sim_gmem_remember(sim, pages);
	return ret;
}

/* Pin what of the range is not pinned yet, now that one more user of it is listed. */
static int pin_more(struct pfnbuf_sim *sim, struct sim_pages *pages, uint64_t start_byte,
		    uint64_t length)
{
	int64_t pinned = count_pinned(pages);
	uint64_t more;
	int ret;

	if (pinned < 0)
		return (int)pinned;
	if ((uint64_t)pinned <= pages->pinned)
		return 0;
	ret = pin(sim, pages, start_byte, length);
	if (ret)
		return ret;
	more = ((uint64_t)pinned - pages->pinned) * sim_page_size();
	if (sim->pinned + more > sim->memlock)
		return -ENOMEM;
	sim->pinned += more;
	pages->pinned = (uint64_t)pinned;
	return 0;
}

/* Unpin what nobody lists any more. */
static void unpin_rest(struct pfnbuf_sim *sim, struct sim_pages *pages)
{
	int64_t pinned = pages->filled.n + pages->held.n ? count_pinned(pages) : 0;

	if (pinned < 0)
		return;
	sim->pinned -= (pages->pinned - (uint64_t)pinned) * sim_page_size();
	pages->pinned = (uint64_t)pinned;
}

/* Make a HWPT see the area: pins what is not pinned yet. A dead dma-buf leaves the area empty. */
static int fill(struct pfnbuf_sim *sim, struct sim_area *area)
{
	struct sim_pages *pages = area->pages;
	int ret;

	if (area->filled)
		return 0;
	if (pages->kind == SIM_PAGES_DMABUF) {
		area->filled = true;
		sim_alias_check_bars(sim, area);
		return 0;
	}
	ret = sim_vec_insert(&pages->filled, pages->filled.n, area);
	if (ret)
		return ret;
	ret = pin_more(sim, pages, area->start_byte, area->last - area->iova + 1);
	if (ret) {
		sim_vec_remove(&pages->filled, pages->filled.n - 1, 1);
		return ret;
	}
	area->filled = true;
	sim_alias_check_area(sim, area);
	return 0;
}

static void unfill(struct pfnbuf_sim *sim, struct sim_area *area)
{
	struct sim_pages *pages = area->pages;

	if (!area->filled)
		return;
	area->filled = false;
	if (pages->kind == SIM_PAGES_DMABUF)
		return;
	for (size_t i = 0; i < pages->filled.n; i++)
		if (pages->filled.v[i] == area) {
			sim_vec_remove(&pages->filled, i, 1);
			break;
		}
	unpin_rest(sim, pages);
}

/* ------------------------------------------------------------------------- mapping */

/* A stretch of pages that becomes one area. */
struct piece {
	struct sim_pages *pages;
	uint64_t start_byte, length;
	struct sim_area *area;
};

static void remove_area(struct pfnbuf_sim *sim, struct sim_area *area)
{
	struct sim_ioas *ioas = area->ioas;

	unfill(sim, area);
	sim_vec_remove(&ioas->areas, sim_area_at(ioas, area->iova), 1);
	pages_put(sim, area->pages);
	free(area);
}

static int insert_area(struct sim_ioas *ioas, struct piece *piece, uint64_t iova, uint32_t prot)
{
	struct sim_area *area;

	if (prot & IOMMU_IOAS_MAP_WRITEABLE && !piece->pages->writable)
		return -EPERM;
	if (piece->start_byte % sim_page_size() & (ioas->alignment - 1))
		return -EINVAL;
	area = calloc(1, sizeof(*area));
	if (!area)
		return -ENOMEM;
	area->iova = iova;
	area->last = iova + piece->length - 1;
	area->ioas = ioas;
	area->pages = piece->pages;
	area->start_byte = piece->start_byte;
	area->prot = prot;
	if (sim_vec_insert(&ioas->areas, sim_area_at(ioas, iova), area)) {
		free(area);
		return -ENOMEM;
	}
	area->pages->refs++;
	piece->area = area;
	return 0;
}

/* Where a source lies, by which the kernel guesses how its address should be aligned. */
static uint64_t hint(const struct piece *piece)
{
	return piece->pages->base + piece->start_byte;
}

static int map_pieces(struct pfnbuf_sim *sim, struct sim_ioas *ioas, struct piece *pieces, size_t n,
		      uint64_t length, uint32_t prot, bool fixed, uint64_t *iovap)
{
	uint64_t iova = *iovap;
	uint64_t at;
	int ret;

	if (!length || length & (ioas->alignment - 1))
		return -EINVAL;
	ret = fixed ? check_iova(ioas, iova, length)
		    : choose_iova(ioas, hint(&pieces[0]), length, &iova);
	at = iova;
	for (size_t i = 0; !ret && i < n; i++) {
		ret = insert_area(ioas, &pieces[i], at, prot);
		at += pieces[i].length;
	}
	for (size_t i = 0; !ret && ioas->hwpts.n && i < n; i++)
		ret = fill(sim, pieces[i].area);
	for (size_t i = 0; ret && i < n; i++)
		if (pieces[i].area)
			remove_area(sim, pieces[i].area);
	if (!ret)
		*iovap = iova;
	return ret;
}

static int map_one(struct pfnbuf_sim *sim, struct sim_ioas *ioas, struct sim_pages *pages,
		   uint64_t start, uint64_t length, uint32_t prot, bool fixed, uint64_t *iova)
{
	struct piece piece = { .pages = pages,
			       .start_byte = start - pages->base,
			       .length = length };
	int ret = map_pieces(sim, ioas, &piece, 1, length, prot, fixed, iova);

	pages_put(sim, pages);
	return ret;
}

int sim_ioas_map_user(struct pfnbuf_sim *sim, struct sim_ioas *ioas, uint64_t va, uint64_t length,
		      uint32_t prot, bool fixed, uint64_t *iova)
{
	struct sim_pages *pages;
	int ret = pages_from_user(va, length, prot & IOMMU_IOAS_MAP_WRITEABLE, &pages);

	return ret ? ret : map_one(sim, ioas, pages, va, length, prot, fixed, iova);
}

int sim_ioas_map_file(struct pfnbuf_sim *sim, struct sim_ioas *ioas, int fd, uint64_t start,
		      uint64_t length, uint32_t prot, bool fixed, uint64_t *iova)
{
	struct sim_pages *pages;
	int ret = pages_from_file(sim, fd, start, length, prot & IOMMU_IOAS_MAP_WRITEABLE, &pages);

	return ret ? ret : map_one(sim, ioas, pages, start, length, prot, fixed, iova);
}

/* The pieces behind [iova, last], which areas must cover without a gap. */
static int collect(const struct sim_ioas *ioas, uint64_t iova, uint64_t last,
		   struct piece **piecesp, size_t *n)
{
	size_t at = sim_area_at(ioas, iova);
	struct piece *pieces = NULL;
	size_t count = 0;

	for (;; at++, count++) {
		const struct sim_area *area = at < ioas->areas.n ? ioas->areas.v[at] : NULL;
		struct piece *more;

		if (!area || area->iova > iova || (count && area->iova != iova)) {
			free(pieces);
			return -ENOENT;
		}
		more = realloc(pieces, (count + 1) * sizeof(*pieces));
		if (!more) {
			free(pieces);
			return -ENOMEM;
		}
		pieces = more;
		pieces[count] = (struct piece){
			.pages = area->pages,
			.start_byte = area->start_byte + (iova - area->iova),
			.length = MIN(last, area->last) - iova + 1,
		};
		if (area->last >= last)
			break;
		iova = area->last + 1;
	}
	*piecesp = pieces;
	*n = count + 1;
	return 0;
}

int sim_ioas_collect(const struct sim_ioas *ioas, uint64_t iova, uint64_t length,
		     struct sim_copy *copy)
{
	struct piece *pieces;
	uint64_t last;
	int ret;

	if (!length)
		return -EINVAL;
	if (__builtin_add_overflow(iova, length - 1, &last))
		return -EOVERFLOW;
	ret = collect(ioas, iova, last, &pieces, &copy->n);
	if (!ret)
		copy->pieces = pieces;
	return ret;
}

int sim_ioas_paste(struct pfnbuf_sim *sim, struct sim_ioas *ioas, const struct sim_copy *copy,
		   uint64_t length, uint32_t prot, bool fixed, uint64_t *iova)
{
	return map_pieces(sim, ioas, copy->pieces, copy->n, length, prot, fixed, iova);
}

int sim_ioas_unmap(struct pfnbuf_sim *sim, struct sim_ioas *ioas, uint64_t start, uint64_t last,
		   uint64_t *unmapped)
{
	struct sim_area *area;

	*unmapped = 0;
	if (sim->planted == PFNBUF_SIM_ERROR_CUT_UNMAP && area_in(ioas, last, last) &&
	    area_in(ioas, last, last)->last > last)
		return -ENOENT;
	while ((area = area_in(ioas, start, last))) {
		uint64_t area_last = area->last;

		if (area->iova < start || area_last > last)
			return -ENOENT;
		*unmapped += area_last - area->iova + 1;
		for (size_t i = 0; area->held && i < ioas->accesses.n; i++)
			sim_access_unmap(sim, ioas->accesses.v[i], area->iova, area_last);
		remove_area(sim, area);
		if (area_last >= last)
			break;
		start = area_last + 1;
	}
	return 0;
}

/* Cut the area around @iova so that one ends there. For the VFIO type 1 calls alone. */
int sim_ioas_cut(struct pfnbuf_sim *sim, struct sim_ioas *ioas, uint64_t iova)
{
	struct sim_area *area = area_in(ioas, iova, iova);
	struct sim_area *tail;

	if (!area || area->iova == iova || area->last == iova)
		return 0;
	if (area->pages->kind == SIM_PAGES_DMABUF)
		return -EOPNOTSUPP;
	if ((iova + 1) & (ioas->alignment - 1) ||
	    (area->start_byte + (iova + 1 - area->iova)) & (ioas->alignment - 1))
		return -EINVAL;
	/* Who pins which part of it is not known any more after a cut. */
	if (area->held)
		return -EINVAL;
	if (area->filled && !ioas->disable_large_pages)
		return -EINVAL;
	tail = malloc(sizeof(*tail));
	if (!tail)
		return -ENOMEM;
	*tail = *area;
	tail->iova = iova + 1;
	tail->start_byte += tail->iova - area->iova;
	if ((tail->filled && sim_vec_insert(&area->pages->filled, area->pages->filled.n, tail)) ||
	    sim_vec_insert(&ioas->areas, sim_area_at(ioas, area->iova) + 1, tail)) {
		free(tail);
		return -ENOMEM;
	}
	area->last = iova;
	area->pages->refs++;
	(void)sim;
	return 0;
}

/* ------------------------------------------------------------------------- domains */

static int check_alignment(const struct sim_ioas *ioas, uint64_t alignment)
{
	for (size_t i = 0; i < ioas->areas.n; i++) {
		const struct sim_area *area = ioas->areas.v[i];

		if ((area->iova | (area->last - area->iova + 1) |
		     area->start_byte % sim_page_size()) &
		    (alignment - 1))
			return -EADDRINUSE;
	}
	return 0;
}

static uint64_t wanted_alignment(const struct sim_ioas *ioas)
{
	uint64_t alignment = ioas->disable_large_pages ? sim_page_size() : 1;

	for (size_t i = 0; i < ioas->hwpts.n; i++) {
		const struct sim_hwpt *hwpt = ioas->hwpts.v[i];

		alignment = MAX(alignment, hwpt->domain.alignment);
	}
	for (size_t i = 0; i < ioas->accesses.n; i++)
		if (((const struct sim_access *)ioas->accesses.v[i])->pins)
			alignment = sim_page_size();
	return alignment;
}

static int fill_all(struct pfnbuf_sim *sim, struct sim_ioas *ioas)
{
	for (size_t i = 0; i < ioas->areas.n; i++) {
		int ret = fill(sim, ioas->areas.v[i]);

		if (!ret)
			continue;
		while (!ioas->hwpts.n && i--)
			unfill(sim, ioas->areas.v[i]);
		return ret;
	}
	return 0;
}

int sim_ioas_add_hwpt(struct pfnbuf_sim *sim, struct sim_ioas *ioas, struct sim_hwpt *hwpt)
{
	const struct sim_domain *domain = &hwpt->domain;
	uint64_t alignment = MAX(ioas->alignment, domain->alignment);
	int ret = 0;

	if (alignment != ioas->alignment)
		ret = check_alignment(ioas, alignment);
	if (!ret && domain->start)
		ret = sim_ioas_reserve(ioas, 0, domain->start - 1, hwpt);
	if (!ret && domain->last != UINT64_MAX)
		ret = sim_ioas_reserve(ioas, domain->last + 1, UINT64_MAX, hwpt);
	if (!ret)
		ret = fill_all(sim, ioas);
	if (!ret)
		ret = sim_vec_insert(&ioas->hwpts, ioas->hwpts.n, hwpt);
	if (ret) {
		sim_ioas_unreserve(ioas, hwpt);
		return ret;
	}
	ioas->alignment = alignment;
	return 0;
}

void sim_ioas_remove_hwpt(struct pfnbuf_sim *sim, struct sim_ioas *ioas, struct sim_hwpt *hwpt)
{
	for (size_t i = 0; i < ioas->hwpts.n; i++)
		if (ioas->hwpts.v[i] == hwpt) {
			sim_vec_remove(&ioas->hwpts, i, 1);
			break;
		}
	for (size_t i = 0; !ioas->hwpts.n && i < ioas->areas.n; i++)
		unfill(sim, ioas->areas.v[i]);
	sim_ioas_unreserve(ioas, hwpt);
	ioas->alignment = wanted_alignment(ioas);
}

int sim_ioas_add_access(struct sim_ioas *ioas, struct sim_access *access)
{
	uint64_t alignment;
	int ret = sim_vec_insert(&ioas->accesses, ioas->accesses.n, access);

	if (ret)
		return ret;
	alignment = wanted_alignment(ioas);
	if (alignment > ioas->alignment)
		ret = check_alignment(ioas, alignment);
	if (ret)
		sim_vec_remove(&ioas->accesses, ioas->accesses.n - 1, 1);
	else
		ioas->alignment = alignment;
	return ret;
}

void sim_ioas_remove_access(struct sim_ioas *ioas, struct sim_access *access)
{
	for (size_t i = 0; i < ioas->accesses.n; i++)
		if (ioas->accesses.v[i] == access) {
			sim_vec_remove(&ioas->accesses, i, 1);
			break;
		}
	ioas->alignment = wanted_alignment(ioas);
}

int sim_ioas_disable_large_pages(struct sim_ioas *ioas)
{
	int ret;

	if (ioas->disable_large_pages)
		return 0;
	if (ioas->hwpts.n && ioas->areas.n)
		return -EINVAL;
	ret = sim_page_size() > ioas->alignment ? check_alignment(ioas, sim_page_size()) : 0;
	if (ret)
		return ret;
	ioas->disable_large_pages = true;
	ioas->alignment = wanted_alignment(ioas);
	return 0;
}

void sim_ioas_enable_large_pages(struct sim_ioas *ioas)
{
	ioas->disable_large_pages = false;
	ioas->alignment = wanted_alignment(ioas);
}

void sim_ioas_clear(struct pfnbuf_sim *sim, struct sim_ioas *ioas)
{
	while (ioas->areas.n)
		remove_area(sim, ioas->areas.v[ioas->areas.n - 1]);
	sim_vec_free(&ioas->areas);
	sim_vec_free(&ioas->hwpts);
	sim_vec_free(&ioas->accesses);
	free(ioas->reserved);
	free(ioas->allowed);
}

/* ---------------------------------------------------------------------- data plane */

static ssize_t transfer_file(int fd, uint64_t offset, void *data, size_t length, bool write)
{
	return write ? pwrite(fd, data, length, (off_t)offset)
		     : pread(fd, data, length, (off_t)offset);
}

static int transfer_user(uint64_t va, uint8_t *data, size_t length, bool write)
{
	return write ? sim_copy_out(va, data, length) : sim_copy_in(data, va, length);
}

/*
 * Memory of another process, a page at a time: where this one shows the same page it is reached
 * here, whether or not the other is still there.
 */
static int transfer_other(const struct sim_pages *pages, uint64_t va, uint8_t *data, size_t length,
			  bool write)
{
	pid_t caller = sim_user_set(0);
	struct sim_vmas own = { 0 };
	int ret = sim_vmas_load(&own, 0);

	while (!ret && length) {
		size_t chunk = MIN(length, sim_page_size() - va % sim_page_size());
		struct sim_page_id id = sim_page_at(&pages->shape, va);
		uint64_t here = sim_page_find(&own, &id);

		sim_user_set(here ? 0 : pages->mm);
		ret = transfer_user(here ? here + va % sim_page_size() : va, data, chunk, write);
		va += chunk;
		data += chunk;
		length -= chunk;
	}
	sim_user_set(caller);
	sim_vmas_free(&own);
	return ret;
}

/* To or from a BAR, whose ranges follow one another in the dma-buf. */
static int transfer_dmabuf(const struct sim_dmabuf *dmabuf, uint64_t offset, uint8_t *data,
			   size_t length, bool write)
{
	int fd = dmabuf->bytes->bars[dmabuf->bar].fd;

	while (length) {
		uint64_t room, at = sim_dmabuf_at(dmabuf, offset, &room);
		size_t chunk = MIN(length, room);

		if (transfer_file(fd, at, data, chunk, write) != (ssize_t)chunk)
			return -EFAULT;
		offset += chunk;
		data += chunk;
		length -= chunk;
	}
	return 0;
}

/* A transfer within one area: 0 or -EFAULT. */
static int transfer(const struct sim_area *area, uint64_t iova, uint8_t *data, size_t length,
		    bool write)
{
	const struct sim_pages *pages = area->pages;
	uint64_t source = pages->base + area->start_byte + (iova - area->iova);
	int fd;

	if (pages->dead)
		return -EFAULT;
	if (pages->kind == SIM_PAGES_USER)
		return pages->mm ? transfer_other(pages, source, data, length, write)
				 : transfer_user(source, data, length, write);
	if (pages->kind == SIM_PAGES_DMABUF && pages->dmabuf->bytes)
		return transfer_dmabuf(pages->dmabuf, source, data, length, write);
	fd = pages->kind == SIM_PAGES_FILE ? pages->file->fd : pages->dmabuf->file->anchor;
	return transfer_file(fd, source, data, length, write) == (ssize_t)length ? 0 : -EFAULT;
}

/* ------------------------------------------------------------------------ accesses */

/* The part of [*iova, last] that the next area has; NULL where the first byte is in none. */
static struct sim_area *next_part(const struct sim_ioas *ioas, uint64_t iova, uint64_t last,
				  uint64_t *part_last)
{
	struct sim_area *area = area_in(ioas, iova, iova);

	if (area)
		*part_last = MIN(last, area->last);
	return area;
}

static void unhold(struct pfnbuf_sim *sim, struct sim_area *area, uint64_t first, uint64_t last)
{
	struct sim_pages *pages = area->pages;

	for (size_t i = 0; i < pages->held.n; i++) {
		struct sim_hold *hold = pages->held.v[i];

		if (hold->first != first || hold->last != last)
			continue;
		sim_vec_remove(&pages->held, i, 1);
		free(hold);
		area->held--;
		break;
	}
	unpin_rest(sim, pages);
}

static int hold_pages(struct pfnbuf_sim *sim, struct sim_area *area, uint64_t first, uint64_t last)
{
	struct sim_pages *pages = area->pages;
	struct sim_hold *hold = malloc(sizeof(*hold));
	int ret;

	if (!hold)
		return -ENOMEM;
	*hold = (struct sim_hold){ first, last };
	ret = sim_vec_insert(&pages->held, pages->held.n, hold);
	if (ret) {
		free(hold);
		return ret;
	}
	ret = pin_more(sim, pages, first * sim_page_size(), (last - first + 1) * sim_page_size());
	if (ret) {
		sim_vec_remove(&pages->held, pages->held.n - 1, 1);
		free(hold);
		return ret;
	}
	area->held++;
	return 0;
}

static int check_access(const struct sim_area *area, bool write)
{
	if (!(area->prot & (write ? IOMMU_IOAS_MAP_WRITEABLE : IOMMU_IOAS_MAP_READABLE)))
		return -EPERM;
	return area->pages->kind == SIM_PAGES_DMABUF ? -EINVAL : 0;
}

/* Whole pages only: a boundary between two areas must be one between pages. */
static int check_page_bounds(const struct sim_area *area, uint64_t iova, uint64_t last)
{
	uint64_t start_byte = area->start_byte + (iova - area->iova);
	uint64_t end_byte = area->start_byte + (area->last - area->iova) + 1;

	return !page_aligned(start_byte) || (last > area->last && !page_aligned(end_byte)) ? -EINVAL
											   : 0;
}

void sim_ioas_release(struct pfnbuf_sim *sim, struct sim_ioas *ioas, uint64_t iova, uint64_t last)
{
	struct sim_area *area;
	uint64_t part;

	for (; (area = next_part(ioas, iova, last, &part)); iova = part + 1) {
		unhold(sim, area, (area->start_byte + (iova - area->iova)) / sim_page_size(),
		       (area->start_byte + (part - area->iova)) / sim_page_size());
		if (part == last)
			return;
	}
}

int sim_ioas_hold(struct pfnbuf_sim *sim, struct sim_ioas *ioas, uint64_t iova, uint64_t last,
		  bool write)
{
	uint64_t at = iova, part = 0;
	int ret = 0;

	for (;; at = part + 1) {
		struct sim_area *area = next_part(ioas, at, last, &part);

		ret = area ? check_page_bounds(area, at, last) : -ENOENT;
		if (!ret)
			ret = check_access(area, write);
		if (!ret)
			ret = hold_pages(
				sim, area, (area->start_byte + (at - area->iova)) / sim_page_size(),
				(area->start_byte + (part - area->iova)) / sim_page_size());
		if (ret || part == last)
			break;
	}
	if (ret && at > iova)
		sim_ioas_release(sim, ioas, iova, at - 1);
	return ret;
}

int sim_ioas_rw(struct pfnbuf_sim *sim, struct sim_ioas *ioas, uint64_t iova, uint64_t length,
		uint8_t *data, bool write)
{
	uint64_t last = iova + length - 1, part = 0;
	int ret = 0;

	for (uint64_t at = iova;; at = part + 1) {
		struct sim_area *area = next_part(ioas, at, last, &part);

		ret = area ? check_access(area, write) : -ENOENT;
		if (!ret && area->pages->kind == SIM_PAGES_FILE)
			ret = pin(sim, area->pages, area->start_byte + (at - area->iova),
				  part - at + 1);
		if (!ret)
			ret = transfer(area, at, data + (at - iova), part - at + 1, write);
		if (ret || part == last)
			return ret;
	}
}

/*
 * How many of @length bytes from @iova on the DMA may reach: memory of a device that is locked for a
 * guest refuses it, and who let it try has made a mistake.
 */
static size_t reachable(struct pfnbuf_sim *sim, const char *bdf, const struct sim_area *area,
			uint64_t iova, size_t length)
{
	const struct sim_pages *pages = area->pages;
	const struct sim_dmabuf *dmabuf = pages->dmabuf;
	uint64_t source = pages->base + area->start_byte + (iova - area->iova);
	size_t done = 0;

	if (pages->kind == SIM_PAGES_USER && !pages->mm && sim_gmem_hides(sim, source, length)) {
		sim_violated(sim, "DMA by %s at 0x%llx, where memory is private to a guest", bdf,
			     (unsigned long long)iova);
		return 0;
	}
	if (pages->kind != SIM_PAGES_DMABUF || pages->dead || !dmabuf->bytes ||
	    !dmabuf->bytes->tdi.vm)
		return length;
	while (done < length) {
		uint64_t room, at = sim_dmabuf_at(dmabuf, source + done, &room);

		room = MIN(MIN(room, sim_page_size() - at % sim_page_size()), length - done);
		if (sim_tdi_protects(dmabuf->bytes, dmabuf->bar, at, room)) {
			sim_violated(sim, "DMA by %s to 0x%llx of BAR %u of %s, which is private",
				     bdf, (unsigned long long)at, dmabuf->bar, dmabuf->bytes->bdf);
			break;
		}
		done += (size_t)room;
	}
	return done;
}

/* The device may have been closed without the table's knowing. */
static void notice_close(struct pfnbuf_sim *sim, struct sim_vdev *vdev)
{
	if (vdev->bound_by)
		sim_file_reap(sim, vdev->bound_by);
}

static int dma(struct pfnbuf_sim *sim, const char *bdf, uint64_t iova, uint8_t *data, size_t length,
	       size_t *donep, bool write)
{
	uint32_t right = write ? IOMMU_IOAS_MAP_WRITEABLE : IOMMU_IOAS_MAP_READABLE;
	struct sim_vdev *vdev;
	size_t done = 0;
	int ret = 0;

	SIM_LOCKED(sim);
	vdev = sim_vdev_find(sim, bdf);
	if (!vdev)
		return -ENODEV;
	notice_close(sim, vdev);
	if (!vdev->idev || !vdev->idev->hwpt || !(vdev->config[PCI_COMMAND] & PCI_COMMAND_MASTER))
		return -EPERM;
	while (!ret && done < length) {
		struct sim_area *area = area_in(vdev->idev->hwpt->ioas, iova + done, iova + done);
		uint64_t room = area ? area->last - (iova + done) : 0;
		size_t chunk = length - done - 1 > room ? (size_t)room + 1 : length - done;

		if (area && area->pages->kind == SIM_PAGES_DMABUF && area->pages->dmabuf->vdev)
			notice_close(sim, area->pages->dmabuf->vdev);
		if (area && area->prot & right)
			chunk = reachable(sim, bdf, area, iova + done, chunk);
		ret = !area || !(area->prot & right) || !chunk
			      ? -EFAULT
			      : transfer(area, iova + done, data + done, chunk, write);
		if (!ret)
			done += chunk;
	}
	if (donep)
		*donep = done;
	return ret;
}

int pfnbuf_sim_dma_read(struct pfnbuf_sim *sim, const char *bdf, uint64_t iova, void *data,
			size_t length, size_t *done)
{
	return dma(sim, bdf, iova, data, length, done, false);
}

int pfnbuf_sim_dma_write(struct pfnbuf_sim *sim, const char *bdf, uint64_t iova, const void *data,
			 size_t length, size_t *done)
{
	return dma(sim, bdf, iova, (uint8_t *)(uintptr_t)data, length, done, true);
}
