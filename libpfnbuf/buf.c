/* SPDX-License-Identifier: MIT */
/*
 * A buffer: page frames behind one fd.
 *
 * A buffer exported from a device has no state of its own: state and generation are its device's,
 * counted from the buffer's birth, so that revoking ten thousand buffers is one store.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "private.h"
#include "uapi/dma-buf.h"
#include "uapi/iommufd.h"
#include "uapi/kvm.h"
#include "uapi/proposed.h"

#define TMPFS_MAGIC	0x01021994
#define HUGETLBFS_MAGIC 0x958458f6

struct pfnbuf_buf {
	struct pfnbuf_ctx *ctx;
	atomic_uint refs;
	char name[PFNBUF_NAME_MAX];
	enum pfnbuf_kind kind;
	int fd;
	bool borrowed;
	uint64_t length;
	struct pfnbuf_identity identity;
	atomic_bool revoked; /* a foreign dma-buf was found revoked */
	struct pfnbuf_vm_identity maker;

	struct pfnbuf_device *device; /* exported from; NULL: another kind, or foreign */
	uint64_t before_birth;	      /* the device's generation at the export, less one */
	/* the device's generation in which it is live though others are not; 0: none */
	uint64_t live_in;
	unsigned bar;
	size_t nr_slices;
	struct pfnbuf_range slices[];
};

static const struct pfnbuf_kernel *kernel(const struct pfnbuf_buf *buf)
{
	return pfnbuf_ctx_get_kernel(buf->ctx);
}

static int refuse_kind(int fd)
{
	char object[PFNBUF_NAME_MAX];

	snprintf(object, sizeof(object), "fd %d", fd);
	return pfnbuf_refused(-EINVAL, "pfnbuf_buf_from_fd", object, NULL, "",
			      "the fd is neither a dma-buf nor a memfd nor a guest_memfd");
}

/* Takes the fd only on success. */
static int allocate(struct pfnbuf_ctx *ctx, enum pfnbuf_kind kind, int fd, size_t nr_slices,
		    struct pfnbuf_buf **bufp)
{
	cleanup_free struct pfnbuf_buf *buf = NULL;
	struct stat st;
	int r;

	buf = calloc(1, sizeof(*buf) + nr_slices * sizeof(*buf->slices));
	if (!buf)
		return pfnbuf_failed(-ENOMEM, "allocation", pfnbuf_kind_name(kind), NULL);
	r = k_fstat(pfnbuf_ctx_get_kernel(ctx), fd, &st);
	if (r < 0)
		return pfnbuf_failed(r, "fstat", pfnbuf_kind_name(kind), NULL);
	/* Device nodes are on a tmpfs as well. */
	if (kind == PFNBUF_MEMFD && !S_ISREG(st.st_mode))
		return refuse_kind(fd);
	buf->refs = 1;
	buf->kind = kind;
	buf->fd = fd;
	buf->length = (uint64_t)st.st_size;
	buf->identity = (struct pfnbuf_identity){ .dev = st.st_dev, .ino = st.st_ino };
	buf->nr_slices = nr_slices;
	snprintf(buf->name, sizeof(buf->name), "%s %" PRIu64, pfnbuf_kind_name(kind),
		 (uint64_t)st.st_ino);
	buf->ctx = pfnbuf_ctx_ref(ctx);
	*bufp = buf;
	buf = NULL;
	return 0;
}

int pfnbuf_buf_new_export(struct pfnbuf_device *device, int fd, unsigned bar,
			  const struct pfnbuf_range *slices, size_t n, bool live,
			  struct pfnbuf_buf **bufp)
{
	struct pfnbuf_ctx *ctx = pfnbuf_device_ctx(device);
	const uint64_t generation = pfnbuf_device_revocation(device).generation;
	struct pfnbuf_buf *buf;
	int r = allocate(ctx, PFNBUF_DMA_BUF, fd, n, &buf);

	if (r < 0) {
		pfnbuf_ctx_close_fd(ctx, fd, "dma-buf");
		return r;
	}
	buf->device = pfnbuf_device_ref(device);
	buf->before_birth = generation - 1;
	buf->live_in = live ? generation : 0;
	buf->bar = bar;
	memcpy(buf->slices, slices, n * sizeof(*slices));
	*bufp = buf;
	return 0;
}

static unsigned hugepage_flags(uint64_t hugepage_size)
{
	if (!hugepage_size)
		return 0;
	/* The kernel takes the size's logarithm in the flags: include/uapi/linux/memfd.h. */
	return MFD_HUGETLB | (unsigned)__builtin_ctzll(hugepage_size) << 26;
}

int pfnbuf_buf_new_memfd(struct pfnbuf_ctx *ctx, uint64_t length, uint64_t hugepage_size,
			 struct pfnbuf_buf **bufp)
{
	const struct pfnbuf_kernel *k = pfnbuf_ctx_get_kernel(ctx);
	const uint64_t unit = hugepage_size ? hugepage_size : pfnbuf_page_size();
	const struct pfnbuf_range range = { 0, length };
	int fd, r;

	if (unit & (unit - 1))
		return pfnbuf_refused(
			-EINVAL, "memfd_create", "memfd", &range, "use 2 MiB or 1 GiB",
			"a huge page of 0x%" PRIx64 " bytes is no power of two", unit);
	if (!length || length % unit || length > INT64_MAX)
		return pfnbuf_refused(-EINVAL, "memfd_create", "memfd", &range, "",
				      "the length must be a multiple of 0x%" PRIx64 " and not 0",
				      unit);
	fd = k_memfd_create(k, "pfnbuf", MFD_CLOEXEC | hugepage_flags(hugepage_size));
	if (fd < 0)
		return pfnbuf_failed(fd, "memfd_create", "memfd", &range);
	r = k_ftruncate(k, fd, length);
	if (r < 0)
		pfnbuf_failed(r, "ftruncate", "memfd", &range);
	else
		r = allocate(ctx, PFNBUF_MEMFD, fd, 0, bufp);
	if (r < 0)
		k_close(k, fd);
	return r;
}

int pfnbuf_buf_new_guest_memfd(struct pfnbuf_vm *vm, uint64_t length, unsigned flags,
			       struct pfnbuf_buf **bufp)
{
	struct pfnbuf_ctx *ctx = pfnbuf_vm_ctx(vm);
	const struct pfnbuf_kernel *k = pfnbuf_ctx_get_kernel(ctx);
	const struct pfnbuf_range range = { 0, length };
	struct kvm_create_guest_memfd arg = { .size = length, .flags = flags };
	int fd, r;

	if (flags & ~(unsigned)(PFNBUF_GUEST_MEMFD_MMAP | PFNBUF_GUEST_MEMFD_INIT_SHARED))
		return pfnbuf_refused(-EINVAL, "KVM_CREATE_GUEST_MEMFD", pfnbuf_vm_name(vm), &range,
				      "", "unknown flags 0x%x", flags);
	fd = k_ioctl(k, pfnbuf_vm_get_fd(vm), KVM_CREATE_GUEST_MEMFD, &arg);
	if (fd < 0)
		return pfnbuf_failed(fd, "KVM_CREATE_GUEST_MEMFD", pfnbuf_vm_name(vm), &range);
	/* The kernel leaves it open across exec: virt/kvm/guest_memfd.c:__kvm_gmem_create. */
	r = k_set_cloexec(k, fd);
	if (r < 0)
		pfnbuf_failed(r, "fcntl(F_SETFD)", "guest_memfd", &range);
	else
		r = allocate(ctx, PFNBUF_GUEST_MEMFD, fd, 0, bufp);
	if (r < 0) {
		k_close(k, fd);
		return r;
	}
	(*bufp)->maker = pfnbuf_vm_get_identity(vm);
	return 0;
}

static int kind_of_fd(const struct pfnbuf_kernel *k, int fd, enum pfnbuf_kind *kind)
{
	uint64_t f_type;
	int r = k_fstatfs_type(k, fd, &f_type);

	if (r < 0)
		return r;
	switch (f_type) {
	case DMA_BUF_MAGIC:
		*kind = PFNBUF_DMA_BUF;
		return 0;
	case GUEST_MEMFD_MAGIC:
		*kind = PFNBUF_GUEST_MEMFD;
		return 0;
	case TMPFS_MAGIC:
	case HUGETLBFS_MAGIC:
		*kind = PFNBUF_MEMFD;
		return 0;
	default:
		return -EINVAL;
	}
}

int pfnbuf_buf_from_fd(struct pfnbuf_ctx *ctx, int fd, unsigned flags, struct pfnbuf_buf **bufp)
{
	char object[PFNBUF_NAME_MAX];
	enum pfnbuf_kind kind;
	int r;

	snprintf(object, sizeof(object), "fd %d", fd);
	if (flags & ~(unsigned)PFNBUF_FD_BORROWED)
		return pfnbuf_refused(-EINVAL, "pfnbuf_buf_from_fd", object, NULL, "",
				      "unknown flags 0x%x", flags);
	r = kind_of_fd(pfnbuf_ctx_get_kernel(ctx), fd, &kind);
	if (r == -EINVAL)
		return refuse_kind(fd);
	if (r < 0)
		return pfnbuf_failed(r, "fstatfs", object, NULL);
	r = allocate(ctx, kind, fd, 0, bufp);
	if (r < 0)
		return r;
	(*bufp)->borrowed = flags & PFNBUF_FD_BORROWED;
	return 0;
}

struct pfnbuf_buf *pfnbuf_buf_ref(struct pfnbuf_buf *buf)
{
	atomic_fetch_add(&buf->refs, 1);
	return buf;
}

struct pfnbuf_buf *pfnbuf_buf_unref(struct pfnbuf_buf *buf)
{
	if (!buf || atomic_fetch_sub(&buf->refs, 1) != 1)
		return NULL;
	if (!buf->borrowed)
		pfnbuf_ctx_close_fd(buf->ctx, buf->fd, buf->name);
	pfnbuf_device_unref(buf->device);
	pfnbuf_ctx_unref(buf->ctx);
	free(buf);
	return NULL;
}

/* ---------------------------------------------------------------- asking -------------------- */

const char *pfnbuf_buf_name(const struct pfnbuf_buf *buf)
{
	return buf->name;
}

struct pfnbuf_ctx *pfnbuf_buf_ctx(const struct pfnbuf_buf *buf)
{
	return buf->ctx;
}

const struct pfnbuf_vm_identity *pfnbuf_buf_get_maker(const struct pfnbuf_buf *buf)
{
	return &buf->maker;
}

int pfnbuf_buf_get_fd(const struct pfnbuf_buf *buf)
{
	return buf->fd;
}

enum pfnbuf_kind pfnbuf_buf_get_kind(const struct pfnbuf_buf *buf)
{
	return buf->kind;
}

uint64_t pfnbuf_buf_get_length(const struct pfnbuf_buf *buf)
{
	return buf->length;
}

struct pfnbuf_identity pfnbuf_buf_get_identity(const struct pfnbuf_buf *buf)
{
	return buf->identity;
}

struct pfnbuf_revocation pfnbuf_buf_revocation(const struct pfnbuf_buf *buf)
{
	struct pfnbuf_revocation r = { .generation = 1, .state = PFNBUF_LIVE };

	if (!buf->device) {
		if (atomic_load(&buf->revoked))
			r.state = PFNBUF_SUSPENDED;
		return r;
	}
	r = pfnbuf_device_revocation(buf->device);
	if (r.state == PFNBUF_SUSPENDED && r.generation == buf->live_in)
		r.state = PFNBUF_LIVE;
	r.generation -= buf->before_birth;
	return r;
}

enum pfnbuf_state pfnbuf_buf_get_state(const struct pfnbuf_buf *buf)
{
	return pfnbuf_buf_revocation(buf).state;
}

uint64_t pfnbuf_buf_get_generation(const struct pfnbuf_buf *buf)
{
	return pfnbuf_buf_revocation(buf).generation;
}

const struct pfnbuf_device *pfnbuf_buf_exporter(const struct pfnbuf_buf *buf)
{
	return buf->device;
}

struct pfnbuf_device *pfnbuf_buf_get_device(const struct pfnbuf_buf *buf)
{
	if (!buf->device || pfnbuf_device_revocation(buf->device).state == PFNBUF_DEAD)
		return NULL;
	return buf->device;
}

int pfnbuf_buf_get_slices(const struct pfnbuf_buf *buf, unsigned *barp, struct pfnbuf_range *slices,
			  size_t n)
{
	if (!buf->nr_slices)
		return 0;
	*barp = buf->bar;
	if (slices)
		memcpy(slices, buf->slices,
		       (n < buf->nr_slices ? n : buf->nr_slices) * sizeof(*slices));
	return (int)buf->nr_slices;
}

/* ---------------------------------------------------------------- verifying ----------------- */

/*
 * Whether the kernel lets the dma-buf into the scratch IOAS: 1, 0 (revoked), or a negative errno.
 */
static int try_import(const struct pfnbuf_buf *buf, int iommufd, uint32_t scratch)
{
	struct iommu_ioas_map_file map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_READABLE,
		.ioas_id = scratch,
		.fd = buf->fd,
		.length = buf->length,
	};
	int r = k_ioctl(kernel(buf), iommufd, IOMMU_IOAS_MAP_FILE, &map);

	if (r == -ENODEV)
		return 0;
	return r < 0 ? r : 1;
}

int pfnbuf_buf_verify(struct pfnbuf_buf *buf)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct iommu_destroy destroy = { .size = sizeof(destroy) };
	int iommufd, answer, r;

	if (buf->kind != PFNBUF_DMA_BUF)
		return pfnbuf_refused(-EINVAL, "pfnbuf_buf_verify", buf->name, NULL, "",
				      "only a dma-buf can be revoked");
	iommufd = pfnbuf_ctx_get_iommufd(buf->ctx);
	if (iommufd < 0)
		return iommufd;
	r = k_ioctl(kernel(buf), iommufd, IOMMU_IOAS_ALLOC, &alloc);
	if (r < 0)
		return pfnbuf_failed(r, "IOMMU_IOAS_ALLOC", buf->name, NULL);
	answer = try_import(buf, iommufd, alloc.out_ioas_id);
	/* Destroying it unmaps what it maps. */
	destroy.id = alloc.out_ioas_id;
	r = k_ioctl(kernel(buf), iommufd, IOMMU_DESTROY, &destroy);
	if (r < 0)
		pfnbuf_ctx_log(buf->ctx, PFNBUF_LOG_WARNING, "%s: IOMMU_DESTROY failed with %s",
			       buf->name, pfnbuf_errno_name(r));
	if (answer < 0)
		return pfnbuf_failed(answer, "IOMMU_IOAS_MAP_FILE", buf->name, NULL);
	atomic_store(&buf->revoked, !answer);
	return answer;
}

/* ---------------------------------------------------------------- page frames --------------- */

/* The slice that holds the byte, which becomes an offset into it; NULL: beyond the buffer. */
static const struct pfnbuf_range *slice_at(const struct pfnbuf_buf *buf, uint64_t *offset)
{
	for (size_t i = 0; i < buf->nr_slices; i++) {
		if (*offset < buf->slices[i].length)
			return &buf->slices[i];
		*offset -= buf->slices[i].length;
	}
	return NULL;
}

/* Blocks of twice the size as long as they do not leave [first, end), which holds the frame. */
static unsigned order_of(uint64_t pfn, uint64_t first, uint64_t end)
{
	unsigned order = 0;

	for (; order < 62; order++) {
		const uint64_t size = UINT64_C(2) << order;
		const uint64_t start = pfn & ~(size - 1);

		if (start < first || end - start < size)
			break;
	}
	return order;
}

static int refuse_pfn(const struct pfnbuf_buf *buf, uint64_t offset, uint64_t generation)
{
	static const char call[] = "pfnbuf_buf_get_pfn";
	const struct pfnbuf_range range = { offset, 1 };

	if (pfnbuf_buf_get_state(buf) != PFNBUF_LIVE)
		return pfnbuf_refused(-ENODEV, call, buf->name, &range,
				      "turn memory decode on first",
				      "the buffer is %s: nothing answers behind its frames",
				      pfnbuf_state_name(pfnbuf_buf_get_state(buf)));
	if (generation && generation != pfnbuf_buf_get_generation(buf))
		return pfnbuf_refused(-ESTALE, call, buf->name, &range,
				      "drop what was learned under it, and ask with generation 0",
				      "the buffer was revoked: its generation is %" PRIu64
				      ", not %" PRIu64,
				      pfnbuf_buf_get_generation(buf), generation);
	return 0;
}

int pfnbuf_buf_get_pfn(struct pfnbuf_buf *buf, uint64_t offset, uint64_t generation,
		       struct pfnbuf_pfn *pfn)
{
	static const char call[] = "pfnbuf_buf_get_pfn";
	const struct pfnbuf_range range = { offset, 1 };
	const uint64_t page = pfnbuf_page_size(), believed = pfnbuf_buf_get_generation(buf);
	const struct pfnbuf_range *slice;
	uint64_t address, first, number;
	int r;

	if (!buf->device)
		return pfnbuf_refused(-EOPNOTSUPP, call, buf->name, NULL, "",
				      "the buffer was not exported from a BAR here");
	slice = slice_at(buf, &offset);
	if (!slice)
		return pfnbuf_refused(-ERANGE, call, buf->name, &range, "",
				      "the buffer has 0x%" PRIx64 " bytes", buf->length);
	r = refuse_pfn(buf, range.offset, generation);
	if (r >= 0)
		r = pfnbuf_device_bar_address(buf->device, buf->bar, &address);
	/* Revoked while sysfs was asked? */
	if (r >= 0)
		r = refuse_pfn(buf, range.offset, believed);
	if (r < 0)
		return r;
	first = (address + slice->offset) / page;
	number = first + offset / page;
	*pfn = (struct pfnbuf_pfn){
		.pfn = number,
		.order = order_of(number, first, first + slice->length / page),
		.generation = believed,
	};
	return 0;
}

/* ---------------------------------------------------------------- memory -------------------- */

static int check_memory(const struct pfnbuf_buf *buf, const char *call,
			const struct pfnbuf_range *range)
{
	const uint64_t page = pfnbuf_page_size();

	if (buf->kind == PFNBUF_DMA_BUF)
		return pfnbuf_refused(-EINVAL, call, buf->name, range,
				      "map a BAR with pfnbuf_device_bar_map()",
				      "a dma-buf of a BAR is not memory of this process's");
	if (!range->length || (range->offset | range->length) % page)
		return pfnbuf_refused(-EINVAL, call, buf->name, range, "",
				      "offset and length must be multiples of 0x%" PRIx64
				      " and the length not 0",
				      page);
	if (range->offset > buf->length || range->length > buf->length - range->offset)
		return pfnbuf_refused(-EINVAL, call, buf->name, range, "",
				      "the range leaves the buffer, which has 0x%" PRIx64 " bytes",
				      buf->length);
	return 0;
}

int pfnbuf_buf_map(struct pfnbuf_buf *buf, uint64_t offset, uint64_t length, void **addrp)
{
	const struct pfnbuf_range range = { offset, length };
	int r = check_memory(buf, "mmap of a buffer", &range);
	void *addr;

	if (r < 0)
		return r;
	r = k_mmap(kernel(buf), length, PROT_READ | PROT_WRITE, MAP_SHARED, buf->fd, offset, &addr);
	if (r >= 0 && buf->kind == PFNBUF_GUEST_MEMFD) {
		r = pfnbuf_ctx_note_mapping(buf->ctx, buf->identity, offset, length, addr);
		if (r < 0)
			k_munmap(kernel(buf), addr, length);
	}
	if (r < 0)
		return pfnbuf_failed(r, "mmap of a buffer", buf->name, &range);
	*addrp = addr;
	return 0;
}

int pfnbuf_buf_unmap(struct pfnbuf_buf *buf, void *addr, uint64_t length)
{
	const struct pfnbuf_range range = { (uintptr_t)addr, length };
	int r = k_munmap(kernel(buf), addr, length);

	if (r < 0)
		return pfnbuf_failed(r, "munmap", buf->name, &range);
	if (buf->kind == PFNBUF_GUEST_MEMFD)
		pfnbuf_ctx_forget_mapping(buf->ctx, addr);
	return 0;
}

/* The name of an IOAS that maps part of the range, or NULL. */
static const char *mapped_by(const struct pfnbuf_buf *buf, const struct pfnbuf_range *range)
{
	const struct pfnbuf_link *ioases = pfnbuf_ctx_list(buf->ctx, PFNBUF_LIST_IOASES);

	for (const struct pfnbuf_link *l = ioases->next; l != ioases; l = l->next) {
		struct pfnbuf_ioas *ioas = pfnbuf_ioas_of_link(l);

		if (pfnbuf_ioas_maps_buf(ioas, buf, range->offset, range->length))
			return pfnbuf_ioas_name(ioas);
	}
	return NULL;
}

static int refuse_mapped(struct pfnbuf_buf *buf, const struct pfnbuf_range *range)
{
	cleanup_rwunlock pthread_rwlock_t *held = pfnbuf_ctx_hold(buf->ctx);
	const char *ioas = mapped_by(buf, range);

	if (!ioas)
		return 0;
	return pfnbuf_refused(-EBUSY, "fallocate", buf->name, range, "unmap it there first",
			      "%s maps part of the range: devices would go on using the old pages",
			      ioas);
}

static int punch_failed(const struct pfnbuf_buf *buf, uint64_t offset, uint64_t length, int code)
{
	const struct pfnbuf_range range = { offset, length };

	return pfnbuf_failed(code, "fallocate", buf->name, &range);
}

int pfnbuf_buf_punch(struct pfnbuf_buf *buf, uint64_t offset, uint64_t length)
{
	int r = k_fallocate(kernel(buf), buf->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			    offset, length);

	return r < 0 ? punch_failed(buf, offset, length, r) : 0;
}

int pfnbuf_buf_set_attributes(struct pfnbuf_buf *buf, unsigned long request, uint64_t offset,
			      uint64_t length, uint64_t attributes, uint64_t *where)
{
	static const char call[] = "KVM_SET_MEMORY_ATTRIBUTES2";
	const struct pfnbuf_range range = { offset, length };
	struct kvm_memory_attributes2 arg = {
		.offset = offset,
		.size = length,
		.attributes = attributes,
	};
	int r = k_ioctl(kernel(buf), buf->fd, request, &arg);

	if (r == -EAGAIN)
		*where = arg.error_offset;
	if (r == -ENOTTY)
		return pfnbuf_refused(
			r, call, buf->name, &range, "load the profile of the kernel that runs",
			"this kernel does not convert a guest_memfd in place, and the "
			"context's profile says that it does");
	return r < 0 ? pfnbuf_failed(r, call, buf->name, &range) : 0;
}

int pfnbuf_buf_discard(struct pfnbuf_buf *buf, uint64_t offset, uint64_t length)
{
	const struct pfnbuf_range range = { offset, length };
	int r = check_memory(buf, "fallocate", &range);

	/*
	 * An IOAS takes no guest_memfd; what another object of the same memory mapped counts as
	 * well.
	 */
	if (r >= 0 && buf->kind == PFNBUF_MEMFD)
		r = refuse_mapped(buf, &range);
	return r < 0 ? r : pfnbuf_buf_punch(buf, offset, length);
}

const char *pfnbuf_kind_name(enum pfnbuf_kind kind)
{
	switch (kind) {
	case PFNBUF_DMA_BUF:
		return "dma-buf";
	case PFNBUF_MEMFD:
		return "memfd";
	case PFNBUF_GUEST_MEMFD:
		return "guest_memfd";
	}
	return "?";
}

const char *pfnbuf_state_name(enum pfnbuf_state state)
{
	switch (state) {
	case PFNBUF_LIVE:
		return "LIVE";
	case PFNBUF_SUSPENDED:
		return "SUSPENDED";
	case PFNBUF_DEAD:
		return "DEAD";
	}
	return "?";
}
