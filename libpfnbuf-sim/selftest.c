/* SPDX-License-Identifier: MIT */
/*
 * IOMMU_TEST_CMD: mock devices behind an IOMMU of their own, accesses as mediated devices have
 * them, and checks of what an IOAS maps and pins (drivers/iommu/iommufd/selftest.c).
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "sim.h"

#ifndef MFD_HUGETLB
#define MFD_HUGETLB 4U
#endif

#define DMABUF_PAGES   512U
#define ACCESS_MAX     (16ULL << 20)
#define MEMORY_LIMIT   12U /* a PFN and a count of the batches that the kernel works in */
#define HUGE_APERTURE  ((1ULL << 56) - 1)
#define SELFTEST_IOTLB FIELD_END(iommu_hwpt_selftest, iotlb)

struct sim_mock {
	struct sim_object obj;
	struct sim_idev *idev;
	uint32_t flags; /* MOCK_FLAGS_DEVICE_* */
	uint32_t cache[MOCK_DEV_CACHE_NUM];
};

struct request {
	struct pfnbuf_sim *sim;
	struct sim_ictx *ictx;
	struct iommu_test_cmd *cmd;
	uint64_t user;
	uint32_t user_size;
};

static int respond(const struct request *r)
{
	return sim_copy_out(r->user, r->cmd, MIN(sizeof(*r->cmd), r->user_size));
}

/* --------------------------------------------------------------- the mock's driver */

uint32_t sim_mock_pasid_bits(const struct sim_mock *mock)
{
	return mock->flags & MOCK_FLAGS_DEVICE_PASID ? MOCK_PASID_WIDTH : 0;
}

bool sim_mock_tracks_dirty(const struct sim_mock *mock)
{
	return !(mock->flags & MOCK_FLAGS_DEVICE_NO_DIRTY);
}

static int load_config(const struct iommu_hwpt_alloc *cmd, struct iommu_hwpt_selftest *config)
{
	if (cmd->data_type != IOMMU_HWPT_DATA_SELFTEST)
		return -EOPNOTSUPP;
	if (cmd->data_len < SELFTEST_IOTLB || cmd->data_len > sizeof(*config))
		return -EINVAL;
	return sim_copy_struct_in(config, sizeof(*config), cmd->data_uptr, cmd->data_len);
}

static int check_flags(const struct sim_mock *mock, uint32_t flags)
{
	if (flags & ~(uint32_t)(IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING |
				IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID))
		return -EOPNOTSUPP;
	if (flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING && !sim_mock_tracks_dirty(mock))
		return -EOPNOTSUPP;
	return flags & IOMMU_HWPT_FAULT_ID_VALID && flags & IOMMU_HWPT_ALLOC_NEST_PARENT
		       ? -EOPNOTSUPP
		       : 0;
}

int sim_mock_domain(const struct sim_mock *mock, const struct iommu_hwpt_alloc *cmd,
		    struct sim_domain *domain)
{
	struct iommu_hwpt_selftest config = { 0 };
	int ret = cmd ? check_flags(mock, cmd->flags) : 0;

	if (!ret && cmd && cmd->data_len)
		ret = load_config(cmd, &config);
	if (ret)
		return ret;
	*domain = (struct sim_domain){
		.mock = true,
		.alignment = MOCK_PAGE_SIZE,
		.start = MOCK_APERTURE_START,
		.last = MOCK_APERTURE_LAST,
		.nest_parent = cmd && cmd->flags & IOMMU_HWPT_ALLOC_NEST_PARENT,
	};
	if (config.pagetable_type == MOCK_IOMMUPT_DEFAULT)
		return 0;
	if (config.pagetable_type != MOCK_IOMMUPT_HUGE)
		return -EOPNOTSUPP;
	domain->alignment = sim_page_size();
	domain->start = 0;
	domain->last = HUGE_APERTURE;
	return 0;
}

int sim_mock_nested_domain(const struct iommu_hwpt_alloc *cmd, struct sim_domain *domain)
{
	struct iommu_hwpt_selftest config;
	int ret = load_config(cmd, &config);

	if (ret)
		return ret;
	domain->mock = true;
	for (size_t i = 0; i < ARRAY_SIZE(domain->iotlb); i++)
		domain->iotlb[i] = config.iotlb;
	return 0;
}

static int invalidate_one(struct sim_domain *domain, uint64_t entry)
{
	struct iommu_hwpt_invalidate_selftest inv;
	int ret = sim_copy_in(&inv, entry, sizeof(inv));

	if (ret)
		return ret;
	if (inv.flags & ~IOMMU_TEST_INVALIDATE_FLAG_ALL)
		return -EOPNOTSUPP;
	if (inv.iotlb_id >= ARRAY_SIZE(domain->iotlb))
		return -EINVAL;
	if (inv.flags & IOMMU_TEST_INVALIDATE_FLAG_ALL)
		memset(domain->iotlb, 0, sizeof(domain->iotlb));
	else
		domain->iotlb[inv.iotlb_id] = 0;
	return 0;
}

int sim_mock_invalidate(struct sim_domain *domain, const struct iommu_hwpt_invalidate *cmd,
			uint32_t *done)
{
	int ret = 0;

	*done = 0;
	if (cmd->data_type != IOMMU_HWPT_INVALIDATE_DATA_SELFTEST)
		return -EINVAL;
	if (cmd->entry_num && cmd->entry_len != sizeof(struct iommu_hwpt_invalidate_selftest))
		return -EINVAL;
	while (!ret && *done < cmd->entry_num) {
		ret = invalidate_one(domain, cmd->data_uptr + (uint64_t)*done * cmd->entry_len);
		if (!ret)
			++*done;
	}
	return ret;
}

/* ------------------------------------------------------------- memory by its pages */

/* The caller's memory, and which of it is in huge pages. */
struct memory {
	struct sim_vmas vmas;
	uint64_t hugetlb; /* device of the kernel's own hugetlbfs; 0: it has none */
};

static void memory_free(struct memory *memory)
{
	sim_vmas_free(&memory->vmas);
}

static uint64_t hugetlb_device(void)
{
	int saved = errno;
	int fd = memfd_create("", MFD_CLOEXEC | MFD_HUGETLB);
	struct stat st = { 0 };

	if (fd >= 0) {
		if (fstat(fd, &st))
			st.st_dev = 0;
		close(fd);
	}
	errno = saved;
	return st.st_dev;
}

static int memory_load(struct memory *memory)
{
	memory->hugetlb = hugetlb_device();
	return sim_vmas_load(&memory->vmas, 0);
}

/* Page @index of what was mapped for DMA. False where it is none of the caller's memory. */
static bool source_page(const struct memory *memory, const struct sim_pages *pages, uint64_t index,
			struct sim_page_id *id)
{
	uint64_t at = pages->base + index * sim_page_size();

	if (pages->kind == SIM_PAGES_DMABUF)
		return false;
	if (pages->kind == SIM_PAGES_USER && pages->mm) {
		*id = sim_page_at(&pages->shape, at);
		/* Nobody here has a private page of another process. */
		id->dev = id->ino ? id->dev : UINT64_MAX;
	} else if (pages->kind == SIM_PAGES_USER)
		*id = sim_page_at(&memory->vmas, at);
	else
		*id = (struct sim_page_id){ pages->file->dev, pages->file->ino, at };
	return true;
}

static bool same_page(const struct sim_page_id *a, const struct sim_page_id *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->offset == b->offset;
}

/* get_user_pages for reading. */
static int fault_in(struct pfnbuf_sim *sim, uint64_t va)
{
	if (sim_mapping_has_bar(sim, va, 1))
		return -EFAULT;
	return sim_populate(va, 1, false);
}

/* ------------------------------------------------------------------- mock devices */

void sim_selftest_destroy(struct pfnbuf_sim *sim, struct sim_ictx *ictx, struct sim_object *obj)
{
	struct sim_mock *mock = (struct sim_mock *)obj;

	if (mock->idev)
		sim_idev_free(sim, mock->idev);
	sim_object_remove(ictx, obj);
	free(mock);
}

static int mock_new(struct request *r, uint32_t flags, struct sim_mock **mockp)
{
	struct sim_mock *mock;

	if (flags & ~(MOCK_FLAGS_DEVICE_NO_DIRTY | MOCK_FLAGS_DEVICE_PASID))
		return -EINVAL;
	mock = calloc(1, sizeof(*mock));
	if (!mock)
		return -ENOMEM;
	mock->flags = flags;
	for (size_t i = 0; i < ARRAY_SIZE(mock->cache); i++)
		mock->cache[i] = IOMMU_TEST_DEV_CACHE_DEFAULT;
	if (sim_object_add(r->ictx, &mock->obj, SIM_OBJ_SELFTEST)) {
		free(mock);
		return -ENOMEM;
	}
	mock->idev = sim_idev_new(r->ictx);
	if (!mock->idev) {
		sim_selftest_destroy(r->sim, r->ictx, &mock->obj);
		return -ENOMEM;
	}
	mock->idev->mock = mock;
	*mockp = mock;
	return 0;
}

static int mock_domain(struct request *r)
{
	struct iommu_test_cmd *cmd = r->cmd;
	bool with_flags = cmd->op == IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS;
	uint32_t pt_id = cmd->id;
	struct sim_mock *mock;
	int ret = mock_new(r, with_flags ? cmd->mock_domain.dev_flags : 0, &mock);

	if (ret)
		return ret;
	ret = sim_iommufd_attach(r->sim, mock->idev, &pt_id);
	if (!ret) {
		cmd->mock_domain.out_hwpt_id = pt_id;
		cmd->mock_domain.out_stdev_id = mock->obj.id;
		cmd->mock_domain.out_idev_id = mock->idev->obj.id;
		ret = respond(r);
	}
	if (ret)
		sim_selftest_destroy(r->sim, r->ictx, &mock->obj);
	return ret;
}

static int mock_domain_replace(struct request *r)
{
	struct sim_mock *mock =
		(struct sim_mock *)sim_object_get(r->ictx, r->cmd->id, SIM_OBJ_SELFTEST);
	int ret;

	if (!mock)
		return -ENOENT;
	ret = sim_iommufd_attach(r->sim, mock->idev, &r->cmd->mock_domain_replace.pt_id);
	return ret ? ret : respond(r);
}

static int add_reserved(struct request *r)
{
	uint64_t start = r->cmd->add_reserved.start, last;
	struct sim_ioas *ioas;

	if (!r->cmd->add_reserved.length)
		return -EINVAL;
	if (__builtin_add_overflow(start, r->cmd->add_reserved.length - 1, &last))
		return -EOVERFLOW;
	ioas = sim_ioas_get(r->ictx, r->cmd->id);
	return ioas ? sim_ioas_reserve(ioas, start, last, NULL) : -ENOENT;
}

static int check_cache(struct request *r)
{
	const struct sim_idev *idev =
		(struct sim_idev *)sim_object_get(r->ictx, r->cmd->id, SIM_OBJ_IDEV);
	uint32_t id = r->cmd->check_dev_cache.id;

	if (!idev)
		return -ENOENT;
	if (!idev->mock || id >= MOCK_DEV_CACHE_NUM)
		return -EINVAL;
	return idev->mock->cache[id] == r->cmd->check_dev_cache.cache ? 0 : -EINVAL;
}

static int check_iotlb(struct request *r)
{
	const struct sim_hwpt *hwpt =
		(struct sim_hwpt *)sim_object_get(r->ictx, r->cmd->id, SIM_OBJ_NESTED);
	uint32_t id = r->cmd->check_iotlb.id;

	if (!hwpt)
		return -ENOENT;
	if (id >= MOCK_NESTED_DOMAIN_IOTLB_NUM)
		return -EINVAL;
	return hwpt->domain.iotlb[id] == r->cmd->check_iotlb.iotlb ? 0 : -EINVAL;
}

/*
 * The driver of the mock devices lets the guest have the PASID table: a fault with a PASID is for
 * a nested domain that the device is attached to.
 */
static int trigger_iopf(struct request *r)
{
	const struct iommu_test_cmd *cmd = r->cmd;
	const struct sim_idev *idev =
		(struct sim_idev *)sim_object_get(r->ictx, cmd->trigger_iopf.dev_id, SIM_OBJ_IDEV);
	uint32_t pasid = cmd->trigger_iopf.pasid;
	struct sim_fault *fault;

	if (!idev)
		return -ENOENT;
	if (!idev->mock)
		return -EINVAL;
	if (!idev->hwpt || (pasid && !idev->hwpt->parent))
		return 0;
	fault = calloc(1, sizeof(*fault));
	if (!fault)
		return 0; /* as in Linux: nobody is told */
	fault->idev = idev;
	fault->record = (struct iommu_hwpt_pgfault){
		.flags = IOMMU_PGFAULT_FLAGS_LAST_PAGE |
			 (pasid ? (uint32_t)IOMMU_PGFAULT_FLAGS_PASID_VALID : 0),
		.dev_id = idev->obj.id,
		.pasid = pasid,
		.grpid = cmd->trigger_iopf.grpid,
		.perm = cmd->trigger_iopf.perm,
		.addr = cmd->trigger_iopf.addr,
	};
	sim_fault_report(fault);
	return 0;
}

/* --------------------------------------------------------------- mapped and pinned */

/* Whether the page table has, at @iova, the byte that the caller has at @va. */
static bool translates_to(const struct memory *memory, const struct sim_ioas *ioas, uint64_t iova,
			  uint64_t va)
{
	size_t at = sim_area_at(ioas, iova);
	const struct sim_area *area = at < ioas->areas.n ? ioas->areas.v[at] : NULL;
	struct sim_page_id theirs, ours = sim_page_at(&memory->vmas, va);
	uint64_t byte;

	if (!area || area->iova > iova || !area->filled || area->pages->dead)
		return false;
	byte = area->start_byte + (iova - area->iova);
	return byte % sim_page_size() == va % sim_page_size() &&
	       source_page(memory, area->pages, byte / sim_page_size(), &theirs) &&
	       same_page(&theirs, &ours);
}

static int check_map(struct request *r)
{
	uint64_t iova = r->cmd->check_map.iova, length = r->cmd->check_map.length;
	uint64_t va = r->cmd->check_map.uptr, step, end;
	struct memory memory __attribute__((cleanup(memory_free))) = { 0 };
	const struct sim_hwpt *hwpt =
		(struct sim_hwpt *)sim_object_get(r->ictx, r->cmd->id, SIM_OBJ_HWPT);
	int ret;

	if (!hwpt)
		return -ENOENT;
	step = hwpt->domain.alignment;
	if (!hwpt->domain.mock || (iova | length | va) & (step - 1) ||
	    __builtin_add_overflow(va, length, &end))
		return -EINVAL;
	ret = memory_load(&memory);
	for (; !ret && va < end; va += step, iova += step) {
		ret = fault_in(r->sim, page_down(va));
		if (!ret && !translates_to(&memory, hwpt->ioas, iova, va))
			ret = -EINVAL;
	}
	return ret;
}

static bool holds(const struct sim_pages *pages, uint64_t index)
{
	for (size_t i = 0; i < pages->filled.n; i++) {
		const struct sim_area *area = pages->filled.v[i];
		uint64_t last_byte = area->start_byte + (area->last - area->iova);

		if (index >= area->start_byte / sim_page_size() &&
		    index <= last_byte / sim_page_size())
			return true;
	}
	for (size_t i = 0; i < pages->held.n; i++) {
		const struct sim_hold *hold = pages->held.v[i];

		if (index >= hold->first && index <= hold->last)
			return true;
	}
	return false;
}

struct count {
	const struct memory *memory;
	uint64_t va, npages, walk;
	struct sim_page_id *wanted;
	uint32_t *refs;
};

static void count_pages(struct count *count, struct sim_pages *pages)
{
	struct sim_page_id id;

	if (!pages->pinned || pages->seen == count->walk)
		return;
	pages->seen = count->walk;
	for (uint64_t i = 0; i < pages->npages; i++) {
		if (!holds(pages, i) || !source_page(count->memory, pages, i, &id))
			continue;
		for (uint64_t j = 0; j < count->npages; j++)
			count->refs[j] += same_page(&id, &count->wanted[j]);
	}
}

/* How often each page is pinned, by whatever IOAS. */
static void count_refs(struct pfnbuf_sim *sim, struct count *count)
{
	count->walk = ++sim->walks;
	for (struct sim_ictx *ictx = sim->ictxs; ictx; ictx = ictx->next)
		for (uint32_t id = 1; id < ictx->nr_objects; id++) {
			struct sim_ioas *ioas = sim_ioas_get(ictx, id);

			for (size_t i = 0; ioas && i < ioas->areas.n; i++)
				count_pages(count, ((struct sim_area *)ioas->areas.v[i])->pages);
		}
}

static int compare_refs(struct pfnbuf_sim *sim, struct count *count, uint32_t refs)
{
	for (uint64_t i = 0; i < count->npages; i++) {
		uint64_t va = count->va + i * sim_page_size();
		int ret = fault_in(sim, va);

		if (ret)
			return ret;
		/* The count of a huge page is that of all its parts, and is not looked at. */
		if (count->memory->hugetlb && count->wanted[i].dev == count->memory->hugetlb)
			continue;
		if (count->refs[i] != refs)
			return -EIO;
	}
	return 0;
}

static int check_refs(struct request *r)
{
	uint64_t length = r->cmd->check_refs.length, va = r->cmd->check_refs.uptr, end;
	struct memory memory __attribute__((cleanup(memory_free))) = { 0 };
	struct count count = { .memory = &memory, .va = va, .npages = length / sim_page_size() };
	int ret;

	if (!page_aligned(length) || !page_aligned(va) || __builtin_add_overflow(va, length, &end))
		return -EINVAL;
	/* Nothing that long is mapped: the first page that is not there ends it. */
	if (count.npages > 1 << 20)
		return -EFAULT;
	ret = memory_load(&memory);
	if (ret)
		return ret;
	count.wanted = calloc(count.npages + 1, sizeof(*count.wanted));
	count.refs = calloc(count.npages + 1, sizeof(*count.refs));
	ret = count.wanted && count.refs ? 0 : -ENOMEM;
	if (!ret) {
		for (uint64_t i = 0; i < count.npages; i++)
			count.wanted[i] = sim_page_at(&memory.vmas, va + i * sim_page_size());
		count_refs(r->sim, &count);
		ret = compare_refs(r->sim, &count, r->cmd->check_refs.refs);
	}
	free(count.wanted);
	free(count.refs);
	return ret;
}

/* ------------------------------------------------------------------------ accesses */

struct sim_access_item {
	uint64_t iova, last;
	uint32_t id;
};

static void drop_item(struct pfnbuf_sim *sim, struct sim_access *access, size_t at)
{
	struct sim_access_item *item = access->items.v[at];

	sim_vec_remove(&access->items, at, 1);
	sim_ioas_release(sim, access->ioas, item->iova, item->last);
	free(item);
}

void sim_access_unmap(struct pfnbuf_sim *sim, struct sim_access *access, uint64_t iova,
		      uint64_t last)
{
	for (size_t i = access->items.n; i--;) {
		const struct sim_access_item *item = access->items.v[i];

		if (item->iova <= last && item->last >= iova)
			drop_item(sim, access, i);
	}
}

static void leave_ioas(struct pfnbuf_sim *sim, struct sim_access *access)
{
	sim_access_unmap(sim, access, 0, UINT64_MAX);
	sim_ioas_remove_access(access->ioas, access);
	access->ioas->obj.users--;
	access->ioas = NULL;
}

static int change_ioas(struct pfnbuf_sim *sim, struct sim_access *access, uint32_t id)
{
	struct sim_ioas *ioas = sim_ioas_get(access->ictx, id);
	int ret;

	if (!ioas)
		return -ENOENT;
	if (ioas == access->ioas)
		return 0;
	ret = sim_ioas_add_access(ioas, access);
	if (ret)
		return ret;
	ioas->obj.users++;
	if (access->ioas)
		leave_ioas(sim, access);
	access->ioas = ioas;
	return 0;
}

static void access_free(struct pfnbuf_sim *sim, struct sim_access *access)
{
	if (access->ioas)
		leave_ioas(sim, access);
	sim_vec_free(&access->items);
	sim_object_remove(access->ictx, &access->obj);
	free(access);
}

static void access_release(struct pfnbuf_sim *sim, struct sim_file *file)
{
	struct sim_access *access = file->object;
	struct sim_file *iommufd = access->ictx->file;

	access_free(sim, access);
	sim_file_unref(sim, iommufd);
}

const struct sim_file_ops sim_access_ops = {
	.release = access_release,
	.magic = SIM_ANON_MAGIC,
};

static struct sim_access *access_get(struct request *r)
{
	struct sim_file *file = sim_file_get(r->sim, (int)r->cmd->id);

	return file && file->kind == SIM_ACCESS ? file->object : NULL;
}

static int create_access(struct request *r)
{
	uint32_t flags = r->cmd->create_access.flags;
	struct sim_access *access;
	int fd, ret;

	if (flags & ~MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES)
		return -EOPNOTSUPP;
	access = calloc(1, sizeof(*access));
	if (!access)
		return -ENOMEM;
	access->ictx = r->ictx;
	access->pins = flags & MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES;
	if (sim_object_add(r->ictx, &access->obj, SIM_OBJ_ACCESS)) {
		free(access);
		return -ENOMEM;
	}
	access->obj.users = 1;
	ret = change_ioas(r->sim, access, r->cmd->id);
	fd = ret ? ret
		 : sim_file_new(r->sim, SIM_ACCESS, "iommufd_test_staccess", 0, O_RDWR | O_CLOEXEC,
				access, &access->file);
	if (fd < 0) {
		access_free(r->sim, access);
		return ret ? ret : -ENOMEM;
	}
	sim_file_ref(r->ictx->file);
	r->cmd->create_access.out_access_fd = (uint32_t)fd;
	ret = respond(r);
	if (ret) {
		struct sim_file *file = access->file;

		close(fd);
		sim_file_reap(r->sim, file);
	}
	return ret;
}

static int access_replace_ioas(struct request *r)
{
	struct sim_access *access = access_get(r);

	return access ? change_ioas(r->sim, access, r->cmd->access_replace_ioas.ioas_id) : -EBADFD;
}

/* Where a fuzzer names an address by the number of its area and an offset. */
static uint64_t conv_iova(const struct sim_ioas *ioas, uint64_t iova)
{
	uint32_t nth = (uint32_t)iova;

	return nth < ioas->areas.n
		       ? ((const struct sim_area *)ioas->areas.v[nth])->iova + (iova >> 32)
		       : 0;
}

/* 0, -EFAULT or -EBADE: whether the pages behind @iova are those at @va. */
static int compare_pages(struct request *r, const struct sim_ioas *ioas, uint64_t iova,
			 uint64_t last, uint64_t va)
{
	struct memory memory __attribute__((cleanup(memory_free))) = { 0 };
	int ret = memory_load(&memory);

	va -= iova - page_down(iova);
	for (; !ret; va += sim_page_size()) {
		const struct sim_area *area = ioas->areas.v[sim_area_at(ioas, iova)];
		uint64_t byte = area->start_byte + (iova - area->iova);
		struct sim_page_id theirs, ours;

		ret = fault_in(r->sim, va);
		if (ret)
			break;
		ours = sim_page_at(&memory.vmas, va);
		if (!source_page(&memory, area->pages, byte / sim_page_size(), &theirs) ||
		    !same_page(&theirs, &ours))
			ret = -EBADE;
		if (last - iova < sim_page_size())
			break;
		iova += sim_page_size();
	}
	return ret;
}

static int add_item(struct request *r, struct sim_access *access, uint64_t iova, uint64_t last)
{
	struct sim_access_item *item = malloc(sizeof(*item));
	int ret;

	if (!item)
		return -ENOMEM;
	*item = (struct sim_access_item){ iova, last, access->next_item++ };
	ret = sim_vec_insert(&access->items, access->items.n, item);
	if (ret) {
		free(item);
		return ret;
	}
	r->cmd->access_pages.out_access_pages_id = item->id;
	ret = respond(r);
	if (ret) {
		sim_vec_remove(&access->items, access->items.n - 1, 1);
		free(item);
	}
	return ret;
}

static int access_pages(struct request *r)
{
	uint64_t iova = r->cmd->access_pages.iova, length = r->cmd->access_pages.length, last;
	uint32_t flags = r->cmd->access_pages.flags;
	struct sim_access *access;
	int ret;

	if (length > ACCESS_MAX)
		return -ENOMEM;
	if (flags & ~(MOCK_FLAGS_ACCESS_WRITE | MOCK_FLAGS_ACCESS_SYZ))
		return -EOPNOTSUPP;
	access = access_get(r);
	if (!access)
		return -EBADFD;
	if (!access->pins)
		return -EOPNOTSUPP;
	if (flags & MOCK_FLAGS_ACCESS_SYZ)
		iova = conv_iova(access->ioas, iova);
	if (!length)
		return -EINVAL;
	if (__builtin_add_overflow(iova, length - 1, &last))
		return -EOVERFLOW;
	ret = sim_ioas_hold(r->sim, access->ioas, iova, last, flags & MOCK_FLAGS_ACCESS_WRITE);
	if (ret)
		return ret;
	if (r->cmd->access_pages.uptr)
		ret = compare_pages(r, access->ioas, iova, last, r->cmd->access_pages.uptr);
	if (!ret)
		ret = add_item(r, access, iova, last);
	if (ret)
		sim_ioas_release(r->sim, access->ioas, iova, last);
	return ret;
}

static int destroy_access_pages(struct request *r)
{
	struct sim_access *access = access_get(r);

	if (!access)
		return -EBADFD;
	for (size_t i = 0; i < access->items.n; i++) {
		const struct sim_access_item *item = access->items.v[i];

		if (item->id != r->cmd->destroy_access_pages.access_pages_id)
			continue;
		drop_item(r->sim, access, i);
		return 0;
	}
	return -ENOENT;
}

static int transfer(struct request *r, struct sim_access *access, uint8_t *data)
{
	uint64_t iova = r->cmd->access_rw.iova, length = r->cmd->access_rw.length, last;
	bool write = r->cmd->access_rw.flags & MOCK_ACCESS_RW_WRITE;
	int ret;

	if (write && sim_copy_in(data, r->cmd->access_rw.uptr, length))
		return -EFAULT;
	if (r->cmd->access_rw.flags & MOCK_FLAGS_ACCESS_SYZ)
		iova = conv_iova(access->ioas, iova);
	if (!length)
		return -EINVAL;
	if (__builtin_add_overflow(iova, length - 1, &last))
		return -EOVERFLOW;
	ret = sim_ioas_rw(r->sim, access->ioas, iova, length, data, write);
	return ret || write ? ret : sim_copy_out(r->cmd->access_rw.uptr, data, length);
}

static int access_rw(struct request *r)
{
	struct sim_access *access;
	uint8_t *data;
	int ret;

	if (r->cmd->access_rw.length > ACCESS_MAX)
		return -ENOMEM;
	if (r->cmd->access_rw.flags &
	    ~(MOCK_ACCESS_RW_WRITE | MOCK_ACCESS_RW_SLOW_PATH | MOCK_FLAGS_ACCESS_SYZ))
		return -EOPNOTSUPP;
	access = access_get(r);
	if (!access)
		return -EBADFD;
	data = calloc(1, r->cmd->access_rw.length + 1);
	if (!data)
		return -ENOMEM;
	ret = transfer(r, access, data);
	free(data);
	return ret;
}

/* ------------------------------------------------------------------------ dma-bufs */

static int dmabuf_get(struct request *r)
{
	uint64_t size = page_up(r->cmd->dmabuf_get.length);
	int fd;

	if (!size || size > DMABUF_PAGES * sim_page_size())
		return -EINVAL;
	fd = sim_dmabuf_make(r->sim, size, r->cmd->dmabuf_get.open_flags);
	return fd >= 0 && r->sim->selftest & PFNBUF_SIM_DMABUF_GET_ZERO ? 0 : fd;
}

/* Whatever imported it lets go, also where it is un-revoked. */
static int dmabuf_revoke(struct request *r)
{
	int fd = r->cmd->dmabuf_revoke.dmabuf_fd;
	struct sim_file *file = sim_file_get(r->sim, fd);
	struct sim_dmabuf *dmabuf;
	int saved = errno;

	if (!file || file->kind != SIM_DMABUF) {
		int ret = fcntl(fd, F_GETFD) < 0 ? -EBADF : -EINVAL;

		errno = saved;
		return ret;
	}
	dmabuf = file->object;
	if (dmabuf->bytes)
		return -EOPNOTSUPP;
	dmabuf->revoked = r->cmd->dmabuf_revoke.revoked;
	for (struct sim_pages *pages = dmabuf->pages; pages; pages = pages->next)
		sim_pages_kill(pages);
	return 0;
}

/* ------------------------------------------------------------------------ the call */

static int set_memory_limit(struct request *r)
{
	return r->cmd->memory_limit.limit < MEMORY_LIMIT ? -EINVAL : 0;
}

int sim_selftest_call(struct pfnbuf_sim *sim, struct sim_ictx *ictx, struct iommu_test_cmd *cmd,
		      uint64_t user, uint32_t user_size)
{
	static int (*const ops[])(struct request * r) = {
		[IOMMU_TEST_OP_ADD_RESERVED] = add_reserved,
		[IOMMU_TEST_OP_MOCK_DOMAIN] = mock_domain,
		[IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS] = mock_domain,
		[IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE] = mock_domain_replace,
		[IOMMU_TEST_OP_MD_CHECK_MAP] = check_map,
		[IOMMU_TEST_OP_MD_CHECK_REFS] = check_refs,
		[IOMMU_TEST_OP_MD_CHECK_IOTLB] = check_iotlb,
		[IOMMU_TEST_OP_DEV_CHECK_CACHE] = check_cache,
		[IOMMU_TEST_OP_TRIGGER_IOPF] = trigger_iopf,
		[IOMMU_TEST_OP_CREATE_ACCESS] = create_access,
		[IOMMU_TEST_OP_ACCESS_REPLACE_IOAS] = access_replace_ioas,
		[IOMMU_TEST_OP_ACCESS_PAGES] = access_pages,
		[IOMMU_TEST_OP_DESTROY_ACCESS_PAGES] = destroy_access_pages,
		[IOMMU_TEST_OP_ACCESS_RW] = access_rw,
		[IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT] = set_memory_limit,
		[IOMMU_TEST_OP_DMABUF_GET] = dmabuf_get,
		[IOMMU_TEST_OP_DMABUF_REVOKE] = dmabuf_revoke,
	};
	struct request r = { sim, ictx, cmd, user, user_size };

	return cmd->op < ARRAY_SIZE(ops) && ops[cmd->op] ? ops[cmd->op](&r) : -EOPNOTSUPP;
}
