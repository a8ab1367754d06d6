/* SPDX-License-Identifier: MIT */
/*
 * An iommufd I/O address space. What it maps is in a ledger, areas.h.
 *
 * The ledger exists because iommufd cannot be asked what it maps, refuses to split an area, and
 * says nothing when a dma-buf is revoked. An area is recorded before anybody can ask for it: its
 * record is allocated before the kernel maps. Records that leave the ledger are released after the
 * lock is, because the last reference to a buffer may go with them.
 */
#include <inttypes.h>
#include <stdio.h>

#include "areas.h"
#include "uapi/iommufd.h"

/* How often the kernel has to say that an area of the ledger is not there. */
#define UNMAP_TRIES 3

#define ALL_MAP_FLAGS (PFNBUF_MAP_READ | PFNBUF_MAP_WRITE | PFNBUF_MAP_FIXED)

struct pfnbuf_ioas {
	atomic_uint refs; /* the caller's, and one of each window in it */
	struct pfnbuf_ctx *ctx;
	const struct pfnbuf_kernel *kernel;
	struct pfnbuf_link link;
	int iommufd;
	uint32_t id;
	bool owned; /* made here: destroyed here, and everything in it is ours to unmap */
	pthread_mutex_t lock;
	struct areas areas;
	/* Counts what may have changed it. What follows is as the kernel had it at @known_version. */
	_Atomic uint64_t space_version;
	uint64_t known_version;
	uint64_t alignment;
	struct iommu_iova_range *space;
	uint32_t nr_space;
	char name[24];
};

/* One of the calls that map, ready to be made. */
struct map_call {
	const char *name;
	unsigned long request;
	void *arg;
	uapi_aligned_u64 *iova; /* inside @arg */
	uint64_t length;
	unsigned flags;
};

/* ---------------------------------------------------------------- ledger -------------------- */

static struct area *area_from(const struct pfnbuf_ioas *ioas, uint64_t iova, struct area_walk *walk)
{
	return pfnbuf_areas_from(&ioas->areas, iova, walk);
}

/* The first area that meets [@iova, @last]; the next one that does. */
static struct area *area_in(const struct pfnbuf_ioas *ioas, uint64_t iova, uint64_t last,
			    struct area_walk *walk)
{
	return pfnbuf_areas_in(&ioas->areas, iova, last, walk);
}

static struct area *area_next(const struct pfnbuf_ioas *ioas, const struct area *a, uint64_t last,
			      struct area_walk *walk)
{
	return pfnbuf_areas_next(&ioas->areas, a, last, walk);
}

static struct area *area_after(const struct pfnbuf_ioas *ioas, const struct area *a,
			       struct area_walk *walk)
{
	return pfnbuf_areas_after(&ioas->areas, a, walk);
}

static bool is_dead(const struct area *a)
{
	struct pfnbuf_revocation now;

	if (!a->buf)
		return false;
	now = pfnbuf_buf_revocation(a->buf);
	return is_absent(a) || now.state != PFNBUF_LIVE || now.generation != a->generation;
}

/* The generation to record for an import that is about to be made. */
static uint64_t import_generation(const struct pfnbuf_buf *buf)
{
	const struct pfnbuf_revocation now = pfnbuf_buf_revocation(buf);

	return now.state == PFNBUF_LIVE ? now.generation : 0;
}

/* ---------------------------------------------------------------- its life ------------------ */

static struct pfnbuf_ioas *new_ioas(struct pfnbuf_ctx *ctx, int iommufd)
{
	struct pfnbuf_ioas *ioas = calloc(1, sizeof(*ioas));

	if (!ioas)
		return NULL;
	ioas->refs = 1;
	ioas->space_version = 1;
	ioas->ctx = pfnbuf_ctx_ref(ctx);
	ioas->kernel = pfnbuf_ctx_get_kernel(ctx);
	ioas->iommufd = iommufd;
	pthread_mutex_init(&ioas->lock, NULL);
	pfnbuf_list_init(&ioas->link);
	pfnbuf_areas_init(&ioas->areas);
	return ioas;
}

static void free_ioas(struct pfnbuf_ioas *ioas)
{
	pthread_mutex_destroy(&ioas->lock);
	pfnbuf_ctx_unref(ioas->ctx);
	free(ioas->space);
	free(ioas);
}

static void publish(struct pfnbuf_ioas *ioas, uint32_t id, bool owned)
{
	ioas->id = id;
	ioas->owned = owned;
	snprintf(ioas->name, sizeof(ioas->name), "ioas %" PRIu32, id);
	pfnbuf_ctx_link(ioas->ctx, PFNBUF_LIST_IOASES, &ioas->link);
}

int pfnbuf_ioas_new(struct pfnbuf_ctx *ctx, struct pfnbuf_ioas **ioasp)
{
	static const char call[] = "IOMMU_IOAS_ALLOC";
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct pfnbuf_ioas *ioas;
	int iommufd, r;

	if (!ctx || !ioasp)
		return pfnbuf_refused(-EINVAL, call, "iommufd", NULL, "", "a pointer is NULL");
	iommufd = pfnbuf_ctx_get_iommufd(ctx);
	if (iommufd < 0)
		return iommufd;
	ioas = new_ioas(ctx, iommufd);
	if (!ioas)
		return pfnbuf_failed(-ENOMEM, call, "iommufd", NULL);
	r = k_ioctl(ioas->kernel, iommufd, IOMMU_IOAS_ALLOC, &alloc);
	if (r < 0) {
		free_ioas(ioas);
		return pfnbuf_failed(r, call, "iommufd", NULL);
	}
	publish(ioas, alloc.out_ioas_id, true);
	*ioasp = ioas;
	return 0;
}

int pfnbuf_ioas_from_id(struct pfnbuf_ctx *ctx, uint32_t id, struct pfnbuf_ioas **ioasp)
{
	static const char call[] = "IOMMU_IOAS_IOVA_RANGES";
	struct iommu_ioas_iova_ranges probe = { .size = sizeof(probe), .ioas_id = id };
	struct pfnbuf_ioas *ioas;
	char name[24];
	int iommufd, r;

	snprintf(name, sizeof(name), "ioas %" PRIu32, id);
	if (!ctx || !ioasp)
		return pfnbuf_refused(-EINVAL, call, name, NULL, "", "a pointer is NULL");
	iommufd = pfnbuf_ctx_get_iommufd(ctx);
	if (iommufd < 0)
		return iommufd;
	ioas = new_ioas(ctx, iommufd);
	if (!ioas)
		return pfnbuf_failed(-ENOMEM, call, name, NULL);
	/* With room for no range, EMSGSIZE is the answer of an IOAS that is there. */
	r = k_ioctl(ioas->kernel, iommufd, IOMMU_IOAS_IOVA_RANGES, &probe);
	if (r < 0 && r != -EMSGSIZE) {
		free_ioas(ioas);
		return pfnbuf_failed(r, call, name, NULL);
	}
	publish(ioas, id, false);
	*ioasp = ioas;
	return 0;
}

static int unmap_call(const struct pfnbuf_ioas *ioas, uint64_t iova, uint64_t length,
		      uint64_t *unmapped)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = ioas->id,
		.iova = iova,
		.length = length,
	};
	int r = k_ioctl(ioas->kernel, ioas->iommufd, IOMMU_IOAS_UNMAP, &unmap);

	*unmapped = r < 0 ? 0 : unmap.length;
	return r;
}

/*
 * Unmap one area; 0 also where the kernel does not have it. A kernel that injects faults says that
 * of areas that it has (drivers/iommu/iommufd/main.c:iommufd_get_object), and one that is taken for
 * gone would stay mapped for good: so it is asked again.
 */
static int unmap_area(const struct pfnbuf_ioas *ioas, const struct area *a, uint64_t *unmapped)
{
	int r = -ENOENT;

	*unmapped = 0;
	for (int i = 0; !is_absent(a) && r == -ENOENT && i < UNMAP_TRIES; i++)
		r = unmap_call(ioas, a->node.key, a->length, unmapped);
	return r == -ENOENT ? 0 : r;
}

static void detach_devices(struct pfnbuf_ioas *ioas)
{
	cleanup_rwunlock pthread_rwlock_t *held = pfnbuf_ctx_hold(ioas->ctx);
	const struct pfnbuf_link *devices = pfnbuf_ctx_list(ioas->ctx, PFNBUF_LIST_DEVICES);

	for (const struct pfnbuf_link *l = devices->next; l != devices; l = l->next)
		pfnbuf_device_leave_ioas(pfnbuf_device_of_link(l), ioas);
}

static void log_end(const struct pfnbuf_ioas *ioas, int code, const char *call,
		    const struct pfnbuf_range *range)
{
	pfnbuf_failed(code, call, ioas->name, range);
	pfnbuf_ctx_log(ioas->ctx, PFNBUF_LOG_ERROR, "%s", pfnbuf_last_error());
}

/* Unmapped one by one: in an IOAS of somebody else's only our own areas are ours to unmap. */
static void end_areas(struct pfnbuf_ioas *ioas)
{
	struct area_walk walk;
	uint64_t bytes;

	for (struct area *a = area_from(ioas, 0, &walk); a; a = area_after(ioas, a, &walk)) {
		struct pfnbuf_range range = { a->node.key, a->length };
		int r = unmap_area(ioas, a, &bytes);

		if (r < 0)
			log_end(ioas, r, "IOMMU_IOAS_UNMAP", &range);
	}
}

/* Areas go first: where the IOAS itself cannot be destroyed, nothing is reachable through it. */
static void end_owned(struct pfnbuf_ioas *ioas)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = ioas->id };
	struct area_walk walk;
	uint64_t bytes;
	int r = 0;

	if (area_from(ioas, 0, &walk))
		r = unmap_call(ioas, 0, UINT64_MAX, &bytes);
	if (r < 0)
		log_end(ioas, r, "IOMMU_IOAS_UNMAP", NULL);
	r = k_ioctl(ioas->kernel, ioas->iommufd, IOMMU_DESTROY, &destroy);
	if (r < 0)
		log_end(ioas, r, "IOMMU_DESTROY", NULL);
}

struct pfnbuf_ioas *pfnbuf_ioas_ref(struct pfnbuf_ioas *ioas)
{
	if (ioas)
		atomic_fetch_add(&ioas->refs, 1);
	return ioas;
}

struct pfnbuf_ioas *pfnbuf_ioas_free(struct pfnbuf_ioas *ioas)
{
	if (!ioas || atomic_fetch_sub(&ioas->refs, 1) != 1)
		return NULL;
	detach_devices(ioas);
	pfnbuf_ctx_unlink(ioas->ctx, &ioas->link);
	if (ioas->owned)
		end_owned(ioas);
	else
		end_areas(ioas);
	pfnbuf_areas_free(&ioas->areas);
	free_ioas(ioas);
	return NULL;
}

uint32_t pfnbuf_ioas_get_id(const struct pfnbuf_ioas *ioas)
{
	return ioas->id;
}

struct pfnbuf_ctx *pfnbuf_ioas_ctx(const struct pfnbuf_ioas *ioas)
{
	return ioas->ctx;
}

const char *pfnbuf_ioas_name(const struct pfnbuf_ioas *ioas)
{
	return ioas->name;
}

struct pfnbuf_ioas *pfnbuf_ioas_of_link(const struct pfnbuf_link *link)
{
	return pfnbuf_container_of(link, struct pfnbuf_ioas, link);
}

/* ---------------------------------------------------------------- addresses ----------------- */

/* Returns how many ranges there are, of which up to @n are in @ranges. */
static int query_ranges(const struct pfnbuf_ioas *ioas, struct iommu_iova_range *ranges, uint32_t n,
			uint64_t *alignment)
{
	struct iommu_ioas_iova_ranges query = {
		.size = sizeof(query),
		.ioas_id = ioas->id,
		.num_iovas = n,
		.allowed_iovas = (uintptr_t)ranges,
	};
	int r = k_ioctl(ioas->kernel, ioas->iommufd, IOMMU_IOAS_IOVA_RANGES, &query);

	/* EMSGSIZE says that there are more; everything is filled in all the same. */
	if (r < 0 && r != -EMSGSIZE)
		return pfnbuf_failed(r, "IOMMU_IOAS_IOVA_RANGES", ioas->name, NULL);
	*alignment = query.out_iova_alignment;
	return (int)query.num_iovas;
}

static struct pfnbuf_range range_of(const struct iommu_iova_range *r)
{
	uint64_t less_one = r->last - r->start;

	return (struct pfnbuf_range){ r->start, less_one == UINT64_MAX ? less_one : less_one + 1 };
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

int pfnbuf_ioas_get_iova_ranges(struct pfnbuf_ioas *ioas, struct pfnbuf_range *ranges, size_t n,
				uint64_t *alignment)
{
	struct iommu_iova_range few[16];
	cleanup_free struct iommu_iova_range *many = NULL;
	struct iommu_iova_range *found = few;
	size_t room = sizeof(few) / sizeof(*few);
	uint64_t align = 0;
	int total;

	if (n && !ranges)
		return pfnbuf_refused(-EINVAL, "IOMMU_IOAS_IOVA_RANGES", ioas->name, NULL, "",
				      "ranges is NULL");
	total = query_ranges(ioas, few, (uint32_t)min_size(room, n), &align);
	if (total > 0 && min_size((size_t)total, n) > room) {
		room = min_size((size_t)total, n);
		found = many = calloc(room, sizeof(*many));
		if (!many)
			return pfnbuf_failed(-ENOMEM, "IOMMU_IOAS_IOVA_RANGES", ioas->name, NULL);
		total = query_ranges(ioas, many, (uint32_t)room, &align);
	}
	if (total < 0)
		return total;
	for (size_t i = 0; i < min_size(min_size((size_t)total, n), room); i++)
		ranges[i] = range_of(&found[i]);
	if (alignment)
		*alignment = align;
	return total;
}

void pfnbuf_ioas_forget_space(struct pfnbuf_ioas *ioas)
{
	atomic_fetch_add(&ioas->space_version, 1);
}

static int learn_space(struct pfnbuf_ioas *ioas)
{
	/* Before the question: what changes after it is asked for again. */
	const uint64_t version = atomic_load(&ioas->space_version);

	for (;;) {
		struct iommu_iova_range *space;
		int n = query_ranges(ioas, ioas->space, ioas->nr_space, &ioas->alignment);

		if (n < 0 || (uint32_t)n <= ioas->nr_space) {
			ioas->nr_space = n < 0 ? 0 : (uint32_t)n;
			ioas->known_version = n < 0 ? 0 : version;
			return n < 0 ? n : 0;
		}
		space = realloc(ioas->space, (size_t)n * sizeof(*space));
		if (!space) {
			ioas->known_version = 0;
			return pfnbuf_failed(-ENOMEM, "IOMMU_IOAS_IOVA_RANGES", ioas->name, NULL);
		}
		ioas->space = space;
		ioas->nr_space = (uint32_t)n;
	}
}

static bool is_allowed(const struct pfnbuf_ioas *ioas, uint64_t first, uint64_t last)
{
	for (uint32_t i = 0; i < ioas->nr_space; i++)
		if (first >= ioas->space[i].start && last <= ioas->space[i].last)
			return true;
	return false;
}

int pfnbuf_ioas_check_space(struct pfnbuf_ioas *ioas, uint64_t iova, uint64_t length)
{
	static const char call[] = "IOMMU_IOAS_MAP_FILE";
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);
	const struct pfnbuf_range range = { iova, length };
	int r = ioas->known_version == atomic_load(&ioas->space_version) ? 0 : learn_space(ioas);

	if (r < 0)
		return r;
	if (ioas->alignment && (iova | length) % ioas->alignment)
		return pfnbuf_refused(-EINVAL, call, ioas->name, &range, "",
				      "the IOMMU behind it maps multiples of 0x%" PRIx64 " only",
				      ioas->alignment);
	if (!is_allowed(ioas, iova, iova + length - 1))
		return pfnbuf_refused(
			-ERANGE, call, ioas->name, &range, "see pfnbuf_ioas_get_iova_ranges()",
			"an attached device reserves part of it, or its IOMMU does not "
			"reach so far");
	return 0;
}

/* The reverse of range_of(), for ranges that a caller made. */
static int allowed_range(const struct pfnbuf_range *range, struct iommu_iova_range *out)
{
	uint64_t last = range->offset + range->length - 1;

	if (!range->offset && range->length == UINT64_MAX)
		last = UINT64_MAX;
	if (range->length < 2 || last < range->offset)
		return -EINVAL;
	*out = (struct iommu_iova_range){ range->offset, last };
	return 0;
}

int pfnbuf_ioas_set_allowed(struct pfnbuf_ioas *ioas, const struct pfnbuf_range *ranges, size_t n)
{
	static const char call[] = "IOMMU_IOAS_ALLOW_IOVAS";
	cleanup_free struct iommu_iova_range *allowed = NULL;
	struct iommu_ioas_allow_iovas allow = { .size = sizeof(allow), .ioas_id = ioas->id };
	int r;

	if ((n && !ranges) || n > UINT32_MAX)
		return pfnbuf_refused(-EINVAL, call, ioas->name, NULL, "",
				      "ranges is NULL, or there are more than 2^32 - 1");
	allowed = calloc(n ? n : 1, sizeof(*allowed));
	if (!allowed)
		return pfnbuf_failed(-ENOMEM, call, ioas->name, NULL);
	for (size_t i = 0; i < n; i++)
		if (allowed_range(&ranges[i], &allowed[i]) < 0)
			return pfnbuf_refused(-EINVAL, call, ioas->name, &ranges[i], "",
					      "the range is below two bytes, or wraps around");
	allow.num_iovas = (uint32_t)n;
	allow.allowed_iovas = (uintptr_t)allowed;
	r = k_ioctl(ioas->kernel, ioas->iommufd, IOMMU_IOAS_ALLOW_IOVAS, &allow);
	return r < 0 ? pfnbuf_failed(r, call, ioas->name, NULL) : 0;
}

int pfnbuf_ioas_set_huge_pages(struct pfnbuf_ioas *ioas, bool on)
{
	struct iommu_option option = {
		.size = sizeof(option),
		.option_id = IOMMU_OPTION_HUGE_PAGES,
		.op = IOMMU_OPTION_OP_SET,
		.object_id = ioas->id,
		.val64 = on,
	};
	int r = k_ioctl(ioas->kernel, ioas->iommufd, IOMMU_OPTION, &option);

	return r < 0 ? pfnbuf_failed(r, "IOMMU_OPTION", ioas->name, NULL) : 0;
}

int pfnbuf_ioas_get_pa(struct pfnbuf_ioas *ioas, uint64_t iova, uint64_t *length, uint64_t *pa)
{
	static const char call[] = "IOMMU_IOAS_NOIOMMU_GET_PA";
	struct iommu_ioas_noiommu_get_pa get = {
		.size = sizeof(get),
		.ioas_id = ioas->id,
		.iova = iova,
	};
	int r;

	if (!length || !pa)
		return pfnbuf_refused(-EINVAL, call, ioas->name, NULL, "", "a pointer is NULL");
	get.length = *length;
	r = k_ioctl(ioas->kernel, ioas->iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &get);
	if (r < 0) {
		struct pfnbuf_range range = { iova, *length };

		return pfnbuf_failed(r, call, ioas->name, &range);
	}
	*length = get.length;
	*pa = get.out_phys;
	return 0;
}

/* ---------------------------------------------------------------- mapping ------------------- */

static uint32_t kernel_flags(unsigned flags)
{
	return (flags & PFNBUF_MAP_FIXED ? IOMMU_IOAS_MAP_FIXED_IOVA : 0) |
	       (flags & PFNBUF_MAP_READ ? IOMMU_IOAS_MAP_READABLE : 0) |
	       (flags & PFNBUF_MAP_WRITE ? IOMMU_IOAS_MAP_WRITEABLE : 0);
}

/* What needs no kernel to see that it is wrong. */
static int check_arguments(const struct pfnbuf_ioas *ioas, const char *call, const void *source,
			   uint64_t length, unsigned flags, const uint64_t *iova)
{
	const char *wrong = NULL;

	if (!source || !iova)
		wrong = "a pointer is NULL";
	else if (flags & ~(unsigned)ALL_MAP_FLAGS)
		wrong = "unknown flags";
	else if (!(flags & (PFNBUF_MAP_READ | PFNBUF_MAP_WRITE)))
		wrong = "neither PFNBUF_MAP_READ nor PFNBUF_MAP_WRITE is asked for";
	else if (!length)
		wrong = "the length is 0";
	if (wrong)
		return pfnbuf_refused(-EINVAL, call, ioas->name, NULL, "", "%s", wrong);
	return 0;
}

/*
 * The kernel holds the addresses of an absent area for free. They are kept for it here: were they
 * given away, a transfer meant for the device's BAR would land in whatever took its place.
 */
static int keep_off_absent(const struct pfnbuf_ioas *ioas, const struct map_call *call)
{
	struct pfnbuf_range range = { *call->iova, call->length };
	uint64_t last = range.offset + range.length - 1;
	struct area_walk walk;
	struct area *a;

	if (!ioas->areas.nr_absent)
		return 0;
	if (!(call->flags & PFNBUF_MAP_FIXED))
		return pfnbuf_refused(-EBUSY, call->name, ioas->name, NULL,
				      "finish it with pfnbuf_device_restore(), unmap those areas, "
				      "or map at a fixed address",
				      "%zu areas wait for their restore, and the kernel could give "
				      "their addresses away",
				      ioas->areas.nr_absent);
	for (a = area_in(ioas, range.offset, last, &walk); a; a = area_next(ioas, a, last, &walk))
		if (is_absent(a))
			return pfnbuf_refused(-EEXIST, call->name, ioas->name, &range,
					      "finish the restore, or unmap that area",
					      "the area at 0x%" PRIx64 "+0x%" PRIx64
					      " waits for its restore",
					      a->node.key, a->length);
	return 0;
}

static int map_failed(const struct pfnbuf_ioas *ioas, const struct map_call *call, int code)
{
	struct pfnbuf_range range = { *call->iova, call->length };
	struct area_walk walk;
	const struct area *a;

	if (!(call->flags & PFNBUF_MAP_FIXED))
		return pfnbuf_failed(code, call->name, ioas->name, NULL);
	a = area_in(ioas, range.offset, range.offset + range.length - 1, &walk);
	if (code != -EEXIST || !a)
		return pfnbuf_failed(code, call->name, ioas->name, &range);
	return pfnbuf_refused(
		code, call->name, ioas->name, &range, "unmap it first, or let the kernel choose",
		"the area at 0x%" PRIx64 "+0x%" PRIx64 " is there", a->node.key, a->length);
}

/* Take an area off the ledger. Returns the next one, where it begins in a range that ends at @last. */
static struct area *leave(struct pfnbuf_ioas *ioas, struct area *a, uint64_t last,
			  struct area_leaving *leaving, struct area_walk *walk)
{
	const uint64_t own = last_of(a);

	pfnbuf_areas_leave(&ioas->areas, a, leaving);
	return own < last ? area_in(ioas, own + 1, last, walk) : NULL;
}

/* @first is the first area that meets a range that ends at @last, or NULL. */
static void forget(struct pfnbuf_ioas *ioas, uint64_t last, struct area *first,
		   struct area_leaving *leaving)
{
	struct area_walk walk;

	for (struct area *a = first; a;)
		a = leave(ioas, a, last, leaving, &walk);
}

/* Where the kernel had room, somebody else has unmapped what the ledger still has there. */
static void leave_stale(struct pfnbuf_ioas *ioas, uint64_t iova, uint64_t length,
			struct area_leaving *leaving)
{
	const uint64_t last = iova + length - 1;
	struct area_walk walk;

	forget(ioas, last, area_in(ioas, iova, last, &walk), leaving);
}

/*
 * Make the call and enter the areas in @list, whose keys count from the start of the range. What
 * @list holds on return is no longer, or never was, in the ledger.
 */
static int place(struct pfnbuf_ioas *ioas, const struct map_call *call, struct area **list,
		 uint64_t *iova)
{
	struct area_leaving leaving = { 0 };
	struct area *made;
	int r;

	r = keep_off_absent(ioas, call);
	if (r < 0)
		return r;
	r = k_ioctl(ioas->kernel, ioas->iommufd, call->request, call->arg);
	if (r < 0)
		return map_failed(ioas, call, r);
	made = *list;
	leave_stale(ioas, *call->iova, call->length, &leaving);
	*list = leaving.gone;
	while (made) {
		struct area *a = pop_area(&made);

		pfnbuf_areas_enter(&ioas->areas, a, *call->iova + a->node.key, list);
	}
	*iova = *call->iova;
	return 0;
}

static int check_not_lent(const struct pfnbuf_ioas *ioas, const struct map_call *call,
			  const struct pfnbuf_buf *buf)
{
	const struct pfnbuf_device *device = buf ? pfnbuf_buf_get_device(buf) : NULL;
	const struct pfnbuf_range range = { *call->iova, call->length };

	if (!device)
		return 0;
	return pfnbuf_device_check_not_lent(device, call->name, ioas->name,
					    call->flags & PFNBUF_MAP_FIXED ? &range : NULL);
}

static int map(struct pfnbuf_ioas *ioas, const struct map_call *call, struct area *area,
	       uint64_t *iova)
{
	cleanup_areas struct area *list = area;
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);
	int r;

	if (!area)
		return pfnbuf_failed(-ENOMEM, call->name, ioas->name, NULL);
	/* Under the lock: a bind that looks for areas has either come before, or will see it. */
	r = check_not_lent(ioas, call, area->buf);
	if (r < 0)
		return r;
	/* Likewise a restore. */
	if (area->buf)
		area->generation = import_generation(area->buf);
	return place(ioas, call, &list, iova);
}

static struct iommu_ioas_map map_arg(const struct pfnbuf_ioas *ioas, uint64_t addr, uint64_t length,
				     unsigned flags)
{
	return (struct iommu_ioas_map){
		.size = sizeof(struct iommu_ioas_map),
		.flags = kernel_flags(flags),
		.ioas_id = ioas->id,
		.user_va = addr,
		.length = length,
	};
}

static struct map_call map_call(struct iommu_ioas_map *arg, unsigned flags)
{
	return (struct map_call){
		"IOMMU_IOAS_MAP", IOMMU_IOAS_MAP, arg, &arg->iova, arg->length, flags,
	};
}

int pfnbuf_ioas_map_va(struct pfnbuf_ioas *ioas, void *addr, uint64_t length, unsigned flags,
		       uint64_t *iova)
{
	struct iommu_ioas_map arg = map_arg(ioas, (uintptr_t)addr, length, flags);
	const struct map_call call = map_call(&arg, flags);
	int r = check_arguments(ioas, call.name, addr, length, flags, iova);
	struct area *area;

	if (r < 0)
		return r;
	if (flags & PFNBUF_MAP_FIXED)
		arg.iova = *iova;
	area = pfnbuf_area_new(NULL, (uintptr_t)addr, length, (flags & MAP_FLAGS) | IS_VA, 0);
	return map(ioas, &call, area, iova);
}

static struct iommu_ioas_map_file map_file_arg(const struct pfnbuf_ioas *ioas, int fd,
					       uint64_t offset, uint64_t length, unsigned flags)
{
	return (struct iommu_ioas_map_file){
		.size = sizeof(struct iommu_ioas_map_file),
		.flags = kernel_flags(flags),
		.ioas_id = ioas->id,
		.fd = fd,
		.start = offset,
		.length = length,
	};
}

static struct map_call map_file_call(struct iommu_ioas_map_file *arg, unsigned flags)
{
	return (struct map_call){
		"IOMMU_IOAS_MAP_FILE", IOMMU_IOAS_MAP_FILE, arg, &arg->iova, arg->length, flags,
	};
}

int pfnbuf_ioas_map_file(struct pfnbuf_ioas *ioas, int fd, uint64_t offset, uint64_t length,
			 unsigned flags, uint64_t *iova)
{
	struct iommu_ioas_map_file arg = map_file_arg(ioas, fd, offset, length, flags);
	const struct map_call call = map_file_call(&arg, flags);
	int r = check_arguments(ioas, call.name, &arg, length, flags, iova);

	if (r < 0)
		return r;
	if (flags & PFNBUF_MAP_FIXED)
		arg.iova = *iova;
	return map(ioas, &call, pfnbuf_area_new(NULL, offset, length, flags & MAP_FLAGS, 0), iova);
}

static int check_buf(const struct pfnbuf_buf *buf, const struct pfnbuf_range *range)
{
	static const char call[] = "IOMMU_IOAS_MAP_FILE";
	uint64_t length = pfnbuf_buf_get_length(buf);

	if (pfnbuf_buf_get_kind(buf) == PFNBUF_GUEST_MEMFD)
		return pfnbuf_refused(-EINVAL, call, pfnbuf_buf_name(buf), range,
				      "map shared memory, and convert the guest's range to it",
				      "a guest_memfd cannot be mapped for devices");
	if (range->offset + range->length < range->offset)
		return pfnbuf_failed(-EOVERFLOW, call, pfnbuf_buf_name(buf), range);
	if (range->offset + range->length > length)
		return pfnbuf_refused(-EINVAL, call, pfnbuf_buf_name(buf), range, "",
				      "the range leaves the buffer, whose length is 0x%" PRIx64,
				      length);
	return 0;
}

/*
 * Refusals whose reason is the buffer and not the place: the library knows more of it than the
 * errno says. Returns @code; others keep the record that they have.
 */
static int import_failed(const struct pfnbuf_buf *buf, const struct pfnbuf_range *range, int code)
{
	static const char call[] = "IOMMU_IOAS_MAP_FILE";
	const char *name = pfnbuf_buf_name(buf);
	unsigned bar;
	int slices;

	switch (code) {
	case -ENODEV:
		if (pfnbuf_buf_get_state(buf) == PFNBUF_DEAD)
			return pfnbuf_refused(code, call, name, range,
					      "open the device and export the BAR again",
					      "the buffer's device is closed");
		return pfnbuf_failed(code, call, name, range);
	case -EOPNOTSUPP:
		slices = pfnbuf_buf_get_slices(buf, &bar, NULL, 0);
		if (slices > 1)
			return pfnbuf_refused(code, call, name, range,
					      "export each slice as a buffer of its own",
					      "the dma-buf has %d slices and this kernel imports "
					      "one",
					      slices);
		return pfnbuf_failed(code, call, name, range);
	case -EBADF:
		return pfnbuf_failed(code, call, name, range);
	default:
		return code;
	}
}

int pfnbuf_ioas_map_buf(struct pfnbuf_ioas *ioas, struct pfnbuf_buf *buf, uint64_t offset,
			uint64_t length, unsigned flags, uint64_t *iova)
{
	struct iommu_ioas_map_file arg = map_file_arg(ioas, -1, offset, length, flags);
	const struct map_call call = map_file_call(&arg, flags);
	struct pfnbuf_range range = { offset, length };
	int r;

	r = check_arguments(ioas, call.name, buf, length, flags, iova);
	if (r < 0)
		return r;
	r = check_buf(buf, &range);
	if (r < 0)
		return r;
	arg.fd = pfnbuf_buf_get_fd(buf);
	if (flags & PFNBUF_MAP_FIXED)
		arg.iova = *iova;
	r = map(ioas, &call, pfnbuf_area_new(buf, offset, length, flags & MAP_FLAGS, 0), iova);
	return r < 0 ? import_failed(buf, &range, r) : r;
}

/* Enter an area that the kernel cannot map yet. */
static int await_restore(struct pfnbuf_ioas *ioas, const struct map_call *call, struct area **list)
{
	const struct pfnbuf_range range = { *call->iova, call->length };
	const uint64_t last = range.offset + range.length - 1;
	struct area *area = *list;
	struct area_walk walk;

	if (last < range.offset)
		return pfnbuf_failed(-EOVERFLOW, call->name, ioas->name, &range);
	if (area_in(ioas, range.offset, last, &walk))
		return map_failed(ioas, call, -EEXIST);
	*list = NULL;
	area->node.bits |= IS_ABSENT;
	pfnbuf_areas_enter(&ioas->areas, area, range.offset, list);
	return 1;
}

/*
 * Under the lock, so that a restore that comes after the revocation seen here finds the area. What
 * the kernel calls revoked although the generation stands was revoked behind the library's back.
 */
static int map_or_await(struct pfnbuf_ioas *ioas, const struct map_call *call, struct area **list,
			bool anyway)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);
	struct area *area = *list;
	const struct pfnbuf_buf *buf = area->buf;
	uint64_t iova;
	int r;

	area->generation = import_generation(buf);
	r = area->generation ? place(ioas, call, list, &iova) : -ENODEV;
	if (r != -ENODEV || pfnbuf_buf_get_kind(buf) != PFNBUF_DMA_BUF)
		return r;
	if (!anyway && (pfnbuf_buf_get_state(buf) == PFNBUF_DEAD ||
			(area->generation && area->generation == import_generation(buf))))
		return r;
	return await_restore(ioas, call, list);
}

int pfnbuf_ioas_expect_buf(struct pfnbuf_ioas *ioas, struct pfnbuf_buf *buf, uint64_t offset,
			   uint64_t length, unsigned flags, uint64_t iova)
{
	struct iommu_ioas_map_file arg = map_file_arg(ioas, pfnbuf_buf_get_fd(buf), offset, length,
						      flags | PFNBUF_MAP_FIXED);
	const struct map_call call = map_file_call(&arg, flags | PFNBUF_MAP_FIXED);
	const struct pfnbuf_range range = { offset, length };
	cleanup_areas struct area *list = NULL;
	int r = check_buf(buf, &range);

	if (r < 0)
		return r;
	list = pfnbuf_area_new(buf, offset, length, flags & MAP_FLAGS, 0);
	if (!list)
		return pfnbuf_failed(-ENOMEM, call.name, ioas->name, NULL);
	arg.iova = iova;
	r = map_or_await(ioas, &call, &list, false);
	return r < 0 ? import_failed(buf, &range, r) : r;
}

static int put_back_va(struct pfnbuf_ioas *ioas, struct area **list, uint64_t iova)
{
	const struct area *a = *list;
	const unsigned flags = flags_of(a) | PFNBUF_MAP_FIXED;
	struct iommu_ioas_map arg = map_arg(ioas, a->offset, a->length, flags);
	const struct map_call call = map_call(&arg, flags);
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);

	arg.iova = iova;
	return place(ioas, &call, list, &iova);
}

static int put_back(struct pfnbuf_ioas *ioas, struct area **list, uint64_t iova)
{
	struct area *a = *list;
	const unsigned flags = flags_of(a) | PFNBUF_MAP_FIXED;
	struct iommu_ioas_map_file arg =
		map_file_arg(ioas, pfnbuf_buf_get_fd(a->buf), a->offset, a->length, flags);
	const struct map_call call = map_file_call(&arg, flags);

	arg.iova = iova;
	a->node.bits &= ~IS_ABSENT;
	return map_or_await(ioas, &call, list, true);
}

int pfnbuf_ioas_put_back(struct pfnbuf_ioas *ioas, struct pfnbuf_node **kept)
{
	while (*kept) {
		struct area *list = area_of(*kept);
		const uint64_t iova = list->node.key;
		int r;

		/* Somebody mapped it there meanwhile; from what, the ledger does not know. */
		if (!list->buf && !is_va(list))
			return pfnbuf_refused(-EOPNOTSUPP, "IOMMU_IOAS_MAP_FILE", ioas->name,
					      &(struct pfnbuf_range){ iova, list->length }, "",
					      "an area of a file cannot be had back");
		*kept = list->node.right;
		/* Entering counts keys from the start of the range that is mapped. */
		list->node.key = 0;
		list->node.right = NULL;
		r = is_va(list) ? put_back_va(ioas, &list, iova) : put_back(ioas, &list, iova);
		if (r < 0) {
			list->node.key = iova;
			list->node.right = *kept;
			*kept = &list->node;
			return r;
		}
		pfnbuf_area_release(&list);
	}
	return 0;
}

void pfnbuf_ioas_drop(struct pfnbuf_node **kept)
{
	struct area *list = area_of(*kept);

	pfnbuf_area_release(&list);
	*kept = NULL;
}

/*
 * The areas that a copy of [iova, iova + length) makes: the kernel makes one for each area of the
 * source, which shares that one's fate. What the ledger does not know of is somebody else's.
 */
static int copy_areas(const struct pfnbuf_ioas *src, uint64_t iova, uint64_t length, unsigned flags,
		      struct area **list)
{
	struct area_walk walk;
	uint64_t done, n;

	for (done = 0; done < length; done += n) {
		uint64_t at = iova + done;
		const struct area *a = area_in(src, at, iova + length - 1, &walk);
		struct area *copy;

		n = length - done;
		if (!a) {
			copy = pfnbuf_area_new(NULL, 0, n, flags & MAP_FLAGS, 0);
		} else if (a->node.key > at) {
			n = a->node.key - at;
			copy = pfnbuf_area_new(NULL, 0, n, flags & MAP_FLAGS, 0);
		} else {
			uint64_t in = at - a->node.key;

			n = n < a->length - in ? n : a->length - in;
			copy = pfnbuf_area_new(a->buf, a->offset + in, n, flags & MAP_FLAGS,
					       a->generation);
		}
		if (!copy)
			return -ENOMEM;
		if (a && a->node.key <= at && is_va(a))
			copy->node.bits |= IS_VA;
		copy->node.key = done;
		push_area(list, copy);
	}
	return 0;
}

/* What is to be copied. */
struct copying {
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_ioas *src;
	struct iommu_ioas_copy *arg;
	unsigned flags;
	bool lent; /* also of a device that is lent to a bind */
};

static int copy(const struct copying *c, struct area **list, uint64_t *iova)
{
	const struct map_call call = {
		.name = "IOMMU_IOAS_COPY",
		.request = IOMMU_IOAS_COPY,
		.arg = c->arg,
		.iova = &c->arg->dst_iova,
		.length = c->arg->length,
		.flags = c->flags,
	};
	const struct pfnbuf_range range = { c->arg->src_iova, c->arg->length };
	int r = copy_areas(c->src, range.offset, range.length, c->flags, list);

	if (r < 0)
		return pfnbuf_failed(r, call.name, c->ioas->name, NULL);
	for (const struct area *a = *list; !c->lent && r >= 0 && a; a = area_of(a->node.right))
		r = check_not_lent(c->ioas, &call, a->buf);
	if (r < 0)
		return r;
	r = place(c->ioas, &call, list, iova);
	if (r == -ENOENT || r == -EPERM)
		return pfnbuf_failed(r, call.name, c->src->name, &range);
	return r;
}

static int copy_between(const struct copying *c, struct area **list, uint64_t *iova)
{
	bool up = (uintptr_t)c->ioas < (uintptr_t)c->src;
	cleanup_unlock pthread_mutex_t *one = pfnbuf_locked(up ? &c->ioas->lock : &c->src->lock);
	cleanup_unlock pthread_mutex_t *two = pfnbuf_locked(up ? &c->src->lock : &c->ioas->lock);

	return copy(c, list, iova);
}

static int copy_within(const struct copying *c, struct area **list, uint64_t *iova)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&c->ioas->lock);

	return copy(c, list, iova);
}

static int check_and_copy(struct pfnbuf_ioas *ioas, struct pfnbuf_ioas *src, uint64_t src_iova,
			  uint64_t length, unsigned flags, bool lent, uint64_t *iova)
{
	static const char call[] = "IOMMU_IOAS_COPY";
	cleanup_areas struct area *list = NULL;
	struct iommu_ioas_copy arg = {
		.size = sizeof(arg),
		.flags = kernel_flags(flags),
		.dst_ioas_id = ioas->id,
		.length = length,
		.src_iova = src_iova,
	};
	const struct copying c = { ioas, src, &arg, flags, lent };
	struct pfnbuf_range range = { src_iova, length };
	int r = check_arguments(ioas, call, src, length, flags, iova);

	if (r < 0)
		return r;
	if (src->iommufd != ioas->iommufd)
		return pfnbuf_refused(-EINVAL, call, src->name, NULL, "",
				      "the source belongs to another context's iommufd");
	if (src_iova + length < src_iova)
		return pfnbuf_failed(-EOVERFLOW, call, src->name, &range);
	arg.src_ioas_id = src->id;
	if (flags & PFNBUF_MAP_FIXED)
		arg.dst_iova = *iova;
	return src == ioas ? copy_within(&c, &list, iova) : copy_between(&c, &list, iova);
}

int pfnbuf_ioas_copy(struct pfnbuf_ioas *ioas, struct pfnbuf_ioas *src, uint64_t src_iova,
		     uint64_t length, unsigned flags, uint64_t *iova)
{
	return check_and_copy(ioas, src, src_iova, length, flags, false, iova);
}

int pfnbuf_ioas_copy_lent(struct pfnbuf_ioas *ioas, struct pfnbuf_ioas *src, uint64_t src_iova,
			  uint64_t length, unsigned flags, uint64_t *iova)
{
	return check_and_copy(ioas, src, src_iova, length, flags, true, iova);
}

/* ---------------------------------------------------------------- unmapping ----------------- */

/* Of these, @first is the first area that meets the range, or NULL. */

static int refuse_cut(const struct pfnbuf_ioas *ioas, const struct pfnbuf_range *range,
		      const struct area *first)
{
	uint64_t last = range->offset + range->length - 1;
	const struct area *cut = first;
	struct area_walk walk;

	if (cut && cut->node.key >= range->offset) {
		if (last_of(cut) < last)
			cut = area_in(ioas, last, last, &walk);
		if (cut && last_of(cut) == last)
			cut = NULL;
	}
	if (!cut)
		return 0;
	return pfnbuf_refused(
		-ENOENT, "IOMMU_IOAS_UNMAP", ioas->name, range, "areas are unmapped whole",
		"the range cuts the area at 0x%" PRIx64 "+0x%" PRIx64, cut->node.key, cut->length);
}

/* How many areas are in a range that cuts none, and how many of them are in the kernel. */
static size_t count_areas(const struct pfnbuf_ioas *ioas, const struct pfnbuf_range *range,
			  const struct area *first, size_t *present)
{
	uint64_t last = range->offset + range->length - 1;
	struct area_walk walk;
	size_t n = 0;

	*present = 0;
	for (const struct area *a = first; a; a = area_next(ioas, a, last, &walk)) {
		n++;
		*present += !is_absent(a);
	}
	return n;
}

/* Unmap the areas of a range one by one; an area that the kernel does not have is gone as well. */
static int unmap_each(struct pfnbuf_ioas *ioas, const struct pfnbuf_range *range,
		      struct area_leaving *leaving, uint64_t *unmapped)
{
	uint64_t last = range->offset + range->length - 1;
	struct area_walk walk;
	struct area *a = area_in(ioas, range->offset, last, &walk);

	while (a) {
		struct pfnbuf_range own = { a->node.key, a->length };
		uint64_t bytes;
		int r = unmap_area(ioas, a, &bytes);

		if (r < 0)
			return pfnbuf_failed(r, "IOMMU_IOAS_UNMAP", ioas->name, &own);
		a = leave(ioas, a, last, leaving, &walk);
		*unmapped += bytes;
	}
	return 0;
}

/*
 * Unmap a range of an IOAS that is all ours with one call. Where that fails the kernel may have
 * removed areas in front of the one that it failed at, without saying how many: asking for each
 * tells.
 */
static int unmap_whole(struct pfnbuf_ioas *ioas, const struct pfnbuf_range *range,
		       struct area *first, struct area_leaving *leaving, uint64_t *unmapped)
{
	size_t present, n = count_areas(ioas, range, first, &present);
	int r = 0, each;

	if (!n || present)
		r = unmap_call(ioas, range->offset, range->length, unmapped);
	if (r >= 0) {
		forget(ioas, range->offset + range->length - 1, first, leaving);
		return 0;
	}
	if (n > 1 || (n && r == -ENOENT)) {
		each = unmap_each(ioas, range, leaving, unmapped);
		if (each < 0 || *unmapped)
			return each;
	}
	return pfnbuf_failed(r, "IOMMU_IOAS_UNMAP", ioas->name, range);
}

static int unmap_owned(struct pfnbuf_ioas *ioas, const struct pfnbuf_range *range,
		       struct area *first, struct area_leaving *leaving, uint64_t *unmapped)
{
	int r = unmap_whole(ioas, range, first, leaving, unmapped);

	/* The kernel reads 0 and UINT64_MAX as "all", which succeeds where there is nothing. */
	if (!r && !first && !*unmapped)
		return pfnbuf_failed(-ENOENT, "IOMMU_IOAS_UNMAP", ioas->name, range);
	return r;
}

static int unmap_shared(struct pfnbuf_ioas *ioas, const struct pfnbuf_range *range,
			const struct area *first, struct area_leaving *leaving, uint64_t *unmapped)
{
	if (!first)
		return pfnbuf_failed(-ENOENT, "IOMMU_IOAS_UNMAP", ioas->name, range);
	return unmap_each(ioas, range, leaving, unmapped);
}

/* @keeps: what leaves the ledger is wanted. */
static int unmap(struct pfnbuf_ioas *ioas, uint64_t iova, uint64_t length, bool keeps,
		 struct area_leaving *leaving, uint64_t *unmapped)
{
	static const char call[] = "IOMMU_IOAS_UNMAP";
	const struct pfnbuf_range range = { iova, length };
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);
	const uint64_t last = iova + length - 1;
	struct area_walk walk;
	struct area *first;
	uint64_t bytes = 0;
	int r;

	if (!length)
		return pfnbuf_failed(-EINVAL, call, ioas->name, &range);
	if (last < iova)
		return pfnbuf_failed(-EOVERFLOW, call, ioas->name, &range);
	first = area_in(ioas, iova, last, &walk);
	r = refuse_cut(ioas, &range, first);
	if (r < 0)
		return r;
	if (keeps && pfnbuf_areas_reserve(&ioas->areas, first, last, leaving) < 0)
		return pfnbuf_failed(-ENOMEM, call, ioas->name, &range);
	r = ioas->owned ? unmap_owned(ioas, &range, first, leaving, &bytes)
			: unmap_shared(ioas, &range, first, leaving, &bytes);
	if (r < 0)
		return r;
	if (unmapped)
		*unmapped = bytes;
	return 0;
}

static inline void end_leaving(struct area_leaving *leaving)
{
	if (leaving->gone)
		pfnbuf_area_release(&leaving->gone);
	if (leaving->reserve)
		pfnbuf_area_release(&leaving->reserve);
}

#define cleanup_leaving __attribute__((cleanup(end_leaving)))

int pfnbuf_ioas_unmap(struct pfnbuf_ioas *ioas, uint64_t iova, uint64_t length, uint64_t *unmapped)
{
	cleanup_leaving struct area_leaving leaving = { 0 };

	return unmap(ioas, iova, length, false, &leaving, unmapped);
}

int pfnbuf_ioas_take(struct pfnbuf_ioas *ioas, uint64_t iova, uint64_t length,
		     struct pfnbuf_node **kept)
{
	cleanup_leaving struct area_leaving leaving = { 0 };
	int r = unmap(ioas, iova, length, true, &leaving, NULL);

	*kept = leaving.gone ? &leaving.gone->node : NULL;
	leaving.gone = NULL;
	return r;
}

int pfnbuf_ioas_unmap_all(struct pfnbuf_ioas *ioas, uint64_t *unmapped)
{
	const struct pfnbuf_range all = { 0, UINT64_MAX };
	cleanup_leaving struct area_leaving leaving = { 0 };
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);
	struct area_walk walk;
	uint64_t bytes = 0;
	int r;

	r = ioas->owned ? unmap_whole(ioas, &all, area_from(ioas, 0, &walk), &leaving, &bytes)
			: unmap_each(ioas, &all, &leaving, &bytes);
	if (r < 0)
		return r;
	if (unmapped)
		*unmapped = bytes;
	return 0;
}

/* ---------------------------------------------------------------- granules ------------------ */

bool pfnbuf_ioas_add_granules(struct pfnbuf_ioas *ioas, struct pfnbuf_buf *buf, uint64_t offset,
			      uint64_t length, uint64_t size, unsigned flags, uint64_t iova,
			      struct pfnbuf_granules **granules)
{
	const struct area model = {
		.node = { .key = iova, .bits = (flags & MAP_FLAGS) | (buf ? 0 : IS_VA) },
		.length = length,
		.buf = buf,
		.offset = offset,
		.generation = buf ? import_generation(buf) : 0,
	};
	cleanup_areas struct area *list = NULL;
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);

	*granules = pfnbuf_granules_new(&ioas->areas, &model, size, &list);
	return *granules;
}

static bool take_off(struct pfnbuf_ioas *ioas, struct pfnbuf_granules *g)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);

	if (!pfnbuf_granules_dissolve(&ioas->areas, g))
		return false;
	pfnbuf_granules_unlink(g);
	return true;
}

void pfnbuf_ioas_end_granules(struct pfnbuf_ioas *ioas, struct pfnbuf_granules *g)
{
	/* What stays on the ledger goes with it. */
	if (g && take_off(ioas, g))
		pfnbuf_granules_free(g);
}

int pfnbuf_ioas_check_granule(struct pfnbuf_ioas *ioas, struct pfnbuf_granules *g, uint64_t i)
{
	const uint64_t version = atomic_load(&ioas->space_version);
	int r;

	if (g->allowed_at == version)
		return 0;
	r = pfnbuf_ioas_check_space(ioas, g->iova + i * g->size, g->size);
	/* All of them are aligned as one is, but together they may be where one is not. */
	if (r >= 0 && pfnbuf_ioas_check_space(ioas, g->iova, g->n * g->size) >= 0)
		g->allowed_at = version;
	return r;
}

static __attribute__((noinline)) int unmap_granule_failed(const struct pfnbuf_ioas *ioas,
							  const struct pfnbuf_granules *g,
							  uint64_t i, int code)
{
	const struct pfnbuf_range range = { g->iova + i * g->size, g->size };

	pfnbuf_failed(code, "IOMMU_IOAS_UNMAP", ioas->name, &range);
	return code == -ENOENT ? 1 : code;
}

int pfnbuf_ioas_unmap_granule(struct pfnbuf_ioas *ioas, struct pfnbuf_granules *g, uint64_t i)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);
	uint64_t bytes;
	int r;

	if (!pfnbuf_bitmap_test(g->mapped, i))
		return unmap_granule_failed(ioas, g, i, -ENOENT);
	r = unmap_call(ioas, g->iova + i * g->size, g->size, &bytes);
	if (r < 0)
		return unmap_granule_failed(ioas, g, i, r);
	put_granule(g, i, false);
	return 0;
}

/* What fails is told of as place() does: @r is why, or 0 where it has not been tried yet. */
static __attribute__((noinline)) int granule_not_placed(const struct pfnbuf_ioas *ioas,
							const struct pfnbuf_granules *g, uint64_t i,
							int r)
{
	uapi_aligned_u64 iova = g->iova + i * g->size;
	const struct map_call call = {
		.name = g->buf ? "IOMMU_IOAS_MAP_FILE" : "IOMMU_IOAS_MAP",
		.iova = &iova,
		.length = g->size,
		.flags = PFNBUF_MAP_FIXED,
	};

	return r < 0 ? map_failed(ioas, &call, r) : keep_off_absent(ioas, &call);
}

/* What is in the way there on the ledger somebody else has unmapped. */
static __attribute__((noinline)) void clear_granule(struct pfnbuf_ioas *ioas,
						    const struct pfnbuf_granules *g, uint64_t i,
						    struct area_leaving *leaving)
{
	leave_stale(ioas, g->iova + i * g->size, g->size, leaving);
}

static inline int place_granule(struct pfnbuf_ioas *ioas, struct pfnbuf_granules *g, uint64_t i,
				unsigned long request, void *arg)
{
	cleanup_leaving struct area_leaving leaving = { 0 };
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);
	int r = ioas->areas.nr_absent ? granule_not_placed(ioas, g, i, 0) : 0;

	if (r < 0)
		return r;
	r = k_ioctl(ioas->kernel, ioas->iommufd, request, arg);
	if (r < 0)
		return granule_not_placed(ioas, g, i, r);
	if (g->nr_records || g->shares_range || pfnbuf_bitmap_test(g->mapped, i))
		clear_granule(ioas, g, i, &leaving);
	put_granule(g, i, true);
	return 0;
}

/*
 * Whether two of the bits in @which, or the first of them and one in front of the word where that is
 * @open, have none of the other bits in @mapped between them. Then *open is whether the last is so.
 */
static bool word_joins(uint64_t mapped, uint64_t which, bool *open)
{
	for (; which; which &= which - 1) {
		const uint64_t bit = which & -which;

		if (*open && !(mapped & (bit - 1)))
			return true;
		mapped &= ~(bit | (bit - 1));
		*open = true;
	}
	*open = *open && !mapped;
	return false;
}

bool pfnbuf_ioas_parts_granules(struct pfnbuf_ioas *ioas, const struct pfnbuf_granules *g,
				const uint64_t *which, uint64_t first, uint64_t end, size_t nr)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);
	bool open = false, joins = false;
	size_t nr_mapped = 0;

	for (uint64_t i = first / 64; i < (end + 63) / 64 && !joins; i++) {
		const uint64_t mapped = g->mapped[i] & which[i];

		nr_mapped += (size_t)__builtin_popcountll(mapped);
		joins = word_joins(g->mapped[i], mapped, &open);
	}
	return !joins && nr_mapped == nr;
}

static int map_va_granule(struct pfnbuf_ioas *ioas, struct pfnbuf_granules *g, uint64_t i)
{
	struct iommu_ioas_map arg = map_arg(ioas, g->offset + i * g->size, g->size,
					    (g->bits & MAP_FLAGS) | PFNBUF_MAP_FIXED);

	arg.iova = g->iova + i * g->size;
	return place_granule(ioas, g, i, IOMMU_IOAS_MAP, &arg);
}

static __attribute__((noinline)) int import_granule_failed(const struct pfnbuf_granules *g,
							   uint64_t i, int code)
{
	const struct pfnbuf_range range = { g->offset + i * g->size, g->size };

	return import_failed(g->buf, &range, code);
}

static inline int map_file_granule(struct pfnbuf_ioas *ioas, struct pfnbuf_granules *g, uint64_t i)
{
	struct iommu_ioas_map_file arg =
		map_file_arg(ioas, pfnbuf_buf_get_fd(g->buf), g->offset + i * g->size, g->size,
			     g->bits | PFNBUF_MAP_FIXED);
	int r;

	arg.iova = g->iova + i * g->size;
	r = place_granule(ioas, g, i, IOMMU_IOAS_MAP_FILE, &arg);
	return r < 0 ? import_granule_failed(g, i, r) : 0;
}

int pfnbuf_ioas_map_granule(struct pfnbuf_ioas *ioas, struct pfnbuf_granules *g, uint64_t i)
{
	return g->buf ? map_file_granule(ioas, g, i) : map_va_granule(ioas, g, i);
}

/* ---------------------------------------------------------------- revocation ---------------- */

/* Whether a restore after a revocation of @device can do something for the area. */
static bool is_restorable(const struct area *a, const struct pfnbuf_device *device)
{
	struct pfnbuf_revocation now;

	if (!a->buf || pfnbuf_buf_exporter(a->buf) != device)
		return false;
	now = pfnbuf_buf_revocation(a->buf);
	return now.state == PFNBUF_LIVE && (is_absent(a) || now.generation != a->generation);
}

static struct area *next_restorable(const struct pfnbuf_ioas *ioas, struct area *a, uint64_t last,
				    const struct pfnbuf_device *device, struct area_walk *walk)
{
	a = up_to(a, last);
	while (a && !is_restorable(a, device))
		a = area_next(ioas, a, last, walk);
	return a;
}

/* Restorable areas that follow each other; granules are none. */
struct dead_run {
	struct area *first;
	struct area *end; /* the last of them */
	size_t present;	  /* those that the kernel still has, dead */
};

static struct dead_run dead_run(const struct pfnbuf_ioas *ioas, struct area *first, uint64_t last,
				const struct pfnbuf_device *device)
{
	struct area_walk walk;
	struct dead_run run = { .first = first, .end = first, .present = !is_absent(first) };

	for (struct area *a = area_next(ioas, first, last, &walk); a && is_restorable(a, device);
	     a = area_next(ioas, a, last, &walk)) {
		run.end = a;
		run.present += !is_absent(a);
	}
	return run;
}

static int clear_area(struct pfnbuf_ioas *ioas, struct area *a)
{
	const struct pfnbuf_range range = { a->node.key, a->length };
	uint64_t bytes;
	/* What somebody else has unmapped is mapped again all the same. */
	int r = unmap_area(ioas, a, &bytes);

	if (r < 0)
		return pfnbuf_failed(r, "IOMMU_IOAS_UNMAP", ioas->name, &range);
	return 0;
}

/* What lies between two areas of an IOAS of ours is nobody's: one call unmaps them all. */
static bool clear_at_once(struct pfnbuf_ioas *ioas, const struct dead_run *run)
{
	const uint64_t iova = run->first->node.key;
	uint64_t bytes;

	if (!ioas->owned || run->first == run->end)
		return false;
	return !run->present || unmap_call(ioas, iova, last_of(run->end) - iova + 1, &bytes) >= 0;
}

static int import_again_failed(const struct pfnbuf_ioas *ioas, const struct area *a, int code)
{
	const struct pfnbuf_range place_of = { a->node.key, a->length };
	const struct pfnbuf_range source = { a->offset, a->length };

	pfnbuf_failed(code, "IOMMU_IOAS_MAP_FILE", ioas->name, &place_of);
	return import_failed(a->buf, &source, code);
}

static int import_area(struct pfnbuf_ioas *ioas, struct area *a)
{
	struct iommu_ioas_map_file arg = map_file_arg(ioas, pfnbuf_buf_get_fd(a->buf), a->offset,
						      a->length, flags_of(a) | PFNBUF_MAP_FIXED);
	uint64_t generation = import_generation(a->buf);
	int r;

	arg.iova = a->node.key;
	r = k_ioctl(ioas->kernel, ioas->iommufd, IOMMU_IOAS_MAP_FILE, &arg);
	pfnbuf_areas_set_absent(&ioas->areas, a, r < 0);
	if (r < 0)
		return import_again_failed(ioas, a, r);
	a->generation = generation;
	return 0;
}

/*
 * In one walk: each area is unmapped before it is mapped, all at once or one by one. Where a failure
 * ends it those that were unmapped and not mapped are absent.
 */
static int restore_run(struct pfnbuf_ioas *ioas, const struct dead_run *run)
{
	const bool cleared = clear_at_once(ioas, run);
	struct area *a = run->first;
	struct area_walk walk;
	int r = 0;

	for (; a && r >= 0; a = area_next(ioas, a, run->end->node.key, &walk)) {
		if (!cleared)
			r = clear_area(ioas, a);
		if (r >= 0)
			r = import_area(ioas, a);
	}
	for (; a && cleared; a = area_next(ioas, a, run->end->node.key, &walk))
		pfnbuf_areas_set_absent(&ioas->areas, a, true);
	return r;
}

int pfnbuf_ioas_restore(struct pfnbuf_ioas *ioas, const struct pfnbuf_device *device,
			uint64_t first, uint64_t last)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);
	struct area_walk walk;
	struct area *a = pfnbuf_areas_ceil(&ioas->areas, first, &walk);

	while ((a = next_restorable(ioas, a, last, device, &walk))) {
		const struct dead_run run = dead_run(ioas, a, last, device);
		int r = restore_run(ioas, &run);

		if (r < 0)
			return r;
		a = area_after(ioas, run.end, &walk);
	}
	return 0;
}

void pfnbuf_ioas_count(struct pfnbuf_ioas *ioas, uint64_t first, uint64_t last, uint64_t *areas,
		       uint64_t *dead)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);

	struct area_walk walk;

	*areas = 0;
	*dead = 0;
	for (struct area *a = up_to(pfnbuf_areas_ceil(&ioas->areas, first, &walk), last); a;
	     a = area_next(ioas, a, last, &walk)) {
		++*areas;
		*dead += is_dead(a);
	}
}

/* Of two ranges that do not wrap around. */
static bool overlap(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
	return b - a < a_length || a - b < b_length;
}

bool pfnbuf_ioas_maps_buf(struct pfnbuf_ioas *ioas, const struct pfnbuf_buf *buf, uint64_t offset,
			  uint64_t length)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);
	struct pfnbuf_identity wanted = pfnbuf_buf_get_identity(buf);
	struct area_walk walk;

	for (const struct area *a = area_from(ioas, 0, &walk); a; a = area_after(ioas, a, &walk)) {
		struct pfnbuf_identity id;

		if (!a->buf || is_absent(a) || !overlap(a->offset, a->length, offset, length))
			continue;
		id = pfnbuf_buf_get_identity(a->buf);
		if (id.dev == wanted.dev && id.ino == wanted.ino)
			return true;
	}
	return false;
}

int pfnbuf_ioas_find_device(struct pfnbuf_ioas *ioas, const struct pfnbuf_device *device,
			    struct pfnbuf_range *range)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);
	struct area_walk walk;

	for (const struct area *a = area_from(ioas, 0, &walk); a; a = area_after(ioas, a, &walk))
		if (a->buf && pfnbuf_buf_exporter(a->buf) == device) {
			*range = (struct pfnbuf_range){ a->node.key, a->length };
			return 1;
		}
	return 0;
}

static struct pfnbuf_area show(const struct area *a)
{
	return (struct pfnbuf_area){
		.iova = a->node.key,
		.length = a->length,
		.flags = flags_of(a),
		.buf = a->buf,
		.offset = a->offset,
		.generation = a->generation,
		.is_va = is_va(a),
		.dead = is_dead(a),
	};
}

int pfnbuf_ioas_find_va(struct pfnbuf_ioas *ioas, const void *addr, struct pfnbuf_area *area)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);
	struct area_walk walk;

	for (const struct area *a = area_from(ioas, 0, &walk); a; a = area_after(ioas, a, &walk))
		if (is_va(a) && (uintptr_t)addr - a->offset < a->length) {
			*area = show(a);
			return 1;
		}
	return 0;
}

int pfnbuf_ioas_next_area(struct pfnbuf_ioas *ioas, uint64_t iova, struct pfnbuf_area *area)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ioas->lock);
	struct area_walk walk;
	const struct area *a = area_from(ioas, iova, &walk);

	if (!a)
		return 0;
	*area = show(a);
	return 1;
}
