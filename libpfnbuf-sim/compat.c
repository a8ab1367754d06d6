/* SPDX-License-Identifier: MIT */
/* The VFIO type 1 calls that an iommufd answers (drivers/iommu/iommufd/vfio_compat.c). */
#include "sim.h"

static int map_dma(struct pfnbuf_sim *sim, struct sim_ictx *ictx, uint64_t arg)
{
	struct vfio_iommu_type1_dma_map map;
	uint32_t prot = 0;
	uint64_t iova;

	if (sim_copy_in(&map, arg, sizeof(map)))
		return -EFAULT;
	if (map.argsz < sizeof(map) ||
	    map.flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE))
		return -EINVAL;
	if (map.flags & VFIO_DMA_MAP_FLAG_READ)
		prot |= IOMMU_IOAS_MAP_READABLE;
	if (map.flags & VFIO_DMA_MAP_FLAG_WRITE)
		prot |= IOMMU_IOAS_MAP_WRITEABLE;
	if (!ictx->compat)
		return -ENODEV;
	iova = map.iova;
	return sim_ioas_map_user(sim, ictx->compat, map.vaddr, map.size, prot, true, &iova);
}

static int unmap_range(struct pfnbuf_sim *sim, struct sim_ioas *ioas, uint64_t iova, uint64_t size,
		       uint64_t *unmapped)
{
	uint64_t last;
	int ret = 0;

	if (ioas->disable_large_pages) {
		ret = sim_ioas_cut(sim, ioas, iova + size - 1);
		if (!ret && iova)
			ret = sim_ioas_cut(sim, ioas, iova - 1);
	}
	if (ret)
		return ret;
	if (!size)
		return -EINVAL;
	if (__builtin_add_overflow(iova, size - 1, &last))
		return -EOVERFLOW;
	return sim_ioas_unmap(sim, ioas, iova, last, unmapped);
}

static int unmap_dma(struct pfnbuf_sim *sim, struct sim_ictx *ictx, uint64_t arg)
{
	struct vfio_iommu_type1_dma_unmap unmap;
	uint64_t unmapped = 0;
	int ret;

	if (sim_copy_in(&unmap, arg, sizeof(unmap)))
		return -EFAULT;
	if (unmap.argsz < sizeof(unmap) || unmap.flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EINVAL;
	if (!ictx->compat)
		return -ENODEV;
	if (unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL) {
		if (unmap.iova || unmap.size)
			return -EINVAL;
		ret = sim_ioas_unmap(sim, ictx->compat, 0, UINT64_MAX, &unmapped);
	} else {
		ret = unmap_range(sim, ictx->compat, unmap.iova, unmap.size, &unmapped);
	}
	unmap.size = unmapped;
	return sim_copy_out(arg, &unmap, sizeof(unmap)) ? -EFAULT : ret;
}

static int check_extension(const struct sim_ictx *ictx, uint64_t type)
{
	switch (type) {
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
	case VFIO_UNMAP_ALL:
		return 1;
	case VFIO_DMA_CC_IOMMU:
		return ictx->compat ? 1 : -ENODEV;
	default:
		return 0;
	}
}

static int set_iommu(struct sim_ictx *ictx, uint64_t type)
{
	if (type != VFIO_TYPE1_IOMMU && type != VFIO_TYPE1v2_IOMMU)
		return -EINVAL;
	if (!ictx->compat)
		return -ENODEV;
	/* Type 1 of the first version promises that a mapping can be cut. */
	return type == VFIO_TYPE1_IOMMU ? sim_ioas_disable_large_pages(ictx->compat) : 0;
}

/* What the IOMMU maps in one step; where there is none yet, all but less than a page. */
static uint64_t page_sizes(const struct sim_ioas *ioas)
{
	if (!ioas->hwpts.n)
		return ~(sim_page_size() - 1);
	return sim_page_size() | 1ULL << 21 | 1ULL << 30;
}

/* Room for the capabilities: an integer, and a range for each hole between reserved ranges. */
static size_t caps_room(const struct sim_ioas *ioas)
{
	return sizeof(struct vfio_iova_range) * (ioas->nr_reserved + 1) + 64;
}

static size_t fill_iovas(const struct sim_ioas *ioas, uint8_t *cap)
{
	struct vfio_iommu_type1_info_cap_iova_range header = {
		.header = { VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1, 0 },
	};
	size_t size = sizeof(header);
	uint64_t pos = 0;

	for (size_t i = 0; i <= ioas->nr_reserved; i++) {
		const struct sim_range *r = i < ioas->nr_reserved ? &ioas->reserved[i] : NULL;
		struct vfio_iova_range range = { pos, r ? r->start - 1 : UINT64_MAX };

		if (!r || r->start > pos) {
			memcpy(cap + size, &range, sizeof(range));
			size += sizeof(range);
			header.nr_iovas++;
		}
		if (!r || r->last == UINT64_MAX)
			break;
		pos = MAX(pos, r->last + 1);
	}
	memcpy(cap, &header, sizeof(header));
	return size;
}

/* What is too small for the whole chain gets the part that fits, and the size that it takes. */
static int get_info(struct sim_ictx *ictx, uint64_t arg)
{
	struct vfio_iommu_type1_info_dma_avail avail = {
		.header = { VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, 1,
			    sizeof(struct vfio_iommu_type1_info) + 16 },
		.avail = UINT32_MAX,
	};
	const size_t minimum = FIELD_END(vfio_iommu_type1_info, iova_pgsizes);
	struct vfio_iommu_type1_info info = { 0 };
	size_t given, size;
	uint8_t *caps;
	int ret = 0;

	if (sim_copy_in(&info, arg, minimum))
		return -EFAULT;
	given = info.argsz;
	if (given < minimum)
		return -EINVAL;
	if (!ictx->compat)
		return -ENODEV;
	caps = calloc(1, caps_room(ictx->compat));
	if (!caps)
		return -ENOMEM;
	memcpy(caps, &avail, sizeof(avail));
	size = sizeof(info) + 16 + fill_iovas(ictx->compat, caps + 16);
	info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	info.iova_pgsizes = page_sizes(ictx->compat);
	info.argsz = (uint32_t)size;
	if (given >= size)
		info.cap_offset = sizeof(info);
	if (given >= sizeof(info) + sizeof(avail))
		ret = sim_copy_out(arg + sizeof(info), caps,
				   given >= size ? size - sizeof(info) : sizeof(avail));
	free(caps);
	return ret ? ret : sim_copy_out(arg, &info, MIN(given, sizeof(info)));
}

int sim_iommufd_compat_ioctl(struct pfnbuf_sim *sim, struct sim_ictx *ictx, unsigned long request,
			     uint64_t arg)
{
	switch (request) {
	case VFIO_GET_API_VERSION:
		return VFIO_API_VERSION;
	case VFIO_CHECK_EXTENSION:
		return check_extension(ictx, arg);
	case VFIO_SET_IOMMU:
		return set_iommu(ictx, arg);
	case VFIO_IOMMU_GET_INFO:
		return get_info(ictx, arg);
	case VFIO_IOMMU_MAP_DMA:
		return map_dma(sim, ictx, arg);
	case VFIO_IOMMU_UNMAP_DMA:
		return unmap_dma(sim, ictx, arg);
	default:
		return -ENOTTY;
	}
}
