/* SPDX-License-Identifier: MIT */
/*
 * dma-bufs: slices of a BAR that vfio-pci exports, and memory of the kernel's own for tests
 * (drivers/vfio/pci/vfio_pci_dmabuf.c, drivers/iommu/iommufd/selftest.c, drivers/dma-buf/dma-buf.c).
 */
#include <fcntl.h>

#include "sim.h"

#define KMALLOC_MAX (4U << 20)

uint64_t sim_dmabuf_at(const struct sim_dmabuf *dmabuf, uint64_t offset, uint64_t *room)
{
	const struct vfio_region_dma_range *range = dmabuf->ranges;

	for (; offset >= range->length; range++)
		offset -= range->length;
	*room = range->length - offset;
	return range->offset + offset;
}

static void unlink_dmabuf(struct sim_dmabuf *dmabuf)
{
	if (!dmabuf->vdev)
		return;
	*dmabuf->prevp = dmabuf->next;
	if (dmabuf->next)
		dmabuf->next->prevp = dmabuf->prevp;
	dmabuf->vdev = NULL;
}

void sim_dmabuf_disown(struct sim_dmabuf *dmabuf)
{
	dmabuf->revoked = true;
	unlink_dmabuf(dmabuf);
}

static int check_ranges(const struct vfio_region_dma_range *ranges, uint32_t n, uint64_t *size)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		if (!ranges[i].length || !page_aligned(ranges[i].offset) ||
		    !page_aligned(ranges[i].length) ||
		    __builtin_add_overflow(sum, ranges[i].length, &sum))
			return -EINVAL;
	if (sum >> 63)
		return -EINVAL;
	*size = sum;
	return 0;
}

static int check_in_bar(const struct sim_bar *bar, const struct vfio_region_dma_range *ranges,
			uint32_t n)
{
	if (bar->flags & PFNBUF_SIM_BAR_IO)
		return -EINVAL;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t start, end;

		if (__builtin_add_overflow(bar->start, ranges[i].offset, &start) ||
		    __builtin_add_overflow(start, ranges[i].length, &end))
			return -EOVERFLOW;
		if (end > bar->start + bar->size)
			return -EINVAL;
	}
	return 0;
}

static int make(struct sim_vdev *vdev, const struct vfio_device_feature_dma_buf *get,
		struct vfio_region_dma_range *ranges, uint64_t size)
{
	struct sim_dmabuf *dmabuf = calloc(1, sizeof(*dmabuf));
	int fd;

	if (!dmabuf)
		return -ENOMEM;
	dmabuf->access = (int)(get->open_flags & O_ACCMODE);
	fd = sim_file_new(vdev->sim, SIM_DMABUF, "dmabuf", size,
			  (int)(get->open_flags & (O_ACCMODE | O_CLOEXEC)), dmabuf, &dmabuf->file);
	if (fd < 0) {
		free(dmabuf);
		return fd;
	}
	dmabuf->vdev = dmabuf->bytes = vdev;
	dmabuf->bar = get->region_index;
	dmabuf->size = size;
	dmabuf->ranges = ranges;
	dmabuf->nr_ranges = get->nr_ranges;
	dmabuf->revoked = !sim_vdev_enabled(vdev);
	dmabuf->next = vdev->dmabufs;
	dmabuf->prevp = &vdev->dmabufs;
	if (dmabuf->next)
		dmabuf->next->prevp = &dmabuf->next;
	vdev->dmabufs = dmabuf;
	return fd;
}

int sim_dmabuf_make(struct pfnbuf_sim *sim, uint64_t size, uint32_t open_flags)
{
	struct sim_dmabuf *dmabuf = calloc(1, sizeof(*dmabuf));
	int fd;

	if (!dmabuf)
		return -ENOMEM;
	dmabuf->access = (int)(open_flags & O_ACCMODE);
	dmabuf->size = size;
	dmabuf->nr_ranges = 1;
	fd = sim_file_new(sim, SIM_DMABUF, "dmabuf", size,
			  (int)(open_flags & (O_ACCMODE | O_CLOEXEC)), dmabuf, &dmabuf->file);
	if (fd < 0)
		free(dmabuf);
	return fd;
}

int sim_dmabuf_export(struct sim_vdev *vdev, uint32_t flags, uint64_t arg, size_t argsz)
{
	struct vfio_device_feature_dma_buf get;
	struct vfio_region_dma_range *ranges;
	uint64_t size;
	int ret;

	if (vdev->flags & PFNBUF_SIM_NO_DMABUF)
		return -EOPNOTSUPP;
	ret = sim_vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_GET, sizeof(get));
	if (ret != 1)
		return ret;
	if (sim_copy_in(&get, arg, sizeof(get)))
		return -EFAULT;
	if (!get.nr_ranges || get.flags)
		return -EINVAL;
	if (get.region_index >= VFIO_PCI_ROM_REGION_INDEX || !vdev->bars[get.region_index].size)
		return -ENODEV;
	if ((uint64_t)get.nr_ranges * sizeof(*ranges) > KMALLOC_MAX)
		return -ENOMEM;
	ranges = calloc(get.nr_ranges, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	ret = sim_copy_in(ranges, arg + sizeof(get), get.nr_ranges * sizeof(*ranges));
	if (!ret)
		ret = check_ranges(ranges, get.nr_ranges, &size);
	if (!ret)
		ret = check_in_bar(&vdev->bars[get.region_index], ranges, get.nr_ranges);
	if (!ret)
		ret = make(vdev, &get, ranges, size);
	if (ret < 0)
		free(ranges);
	return ret;
}

static void release(struct pfnbuf_sim *sim, struct sim_file *file)
{
	struct sim_dmabuf *dmabuf = file->object;

	(void)sim;
	unlink_dmabuf(dmabuf);
	sim_vec_free(&dmabuf->slots);
	free(dmabuf->ranges);
	free(dmabuf);
}

static int ioctl_sync(uint64_t arg)
{
	struct dma_buf_sync sync;

	if (sim_copy_in(&sync, arg, sizeof(sync)))
		return -EFAULT;
	if (sync.flags & ~(uint64_t)DMA_BUF_SYNC_VALID_FLAGS_MASK ||
	    !(sync.flags & DMA_BUF_SYNC_RW))
		return -EINVAL;
	return 0;
}

static int ioctl_set_name(struct sim_dmabuf *dmabuf, uint64_t arg)
{
	char name[DMA_BUF_NAME_LEN];

	for (size_t i = 0; i < sizeof(name); i++) {
		if (sim_copy_in(&name[i], arg + i, 1))
			return -EFAULT;
		if (name[i])
			continue;
		memcpy(dmabuf->name, name, i + 1);
		return 0;
	}
	return -EINVAL;
}

static int dmabuf_ioctl(struct pfnbuf_sim *sim, struct sim_file *file, unsigned long request,
			uint64_t arg)
{
	(void)sim;
	switch (request) {
	case DMA_BUF_IOCTL_SYNC:
		return ioctl_sync(arg);
	case DMA_BUF_SET_NAME_A:
	case DMA_BUF_SET_NAME_B:
		return ioctl_set_name(file->object, arg);
	default:
		return -ENOTTY;
	}
}

static int64_t dmabuf_lseek(struct sim_file *file, int64_t offset, int whence)
{
	const struct sim_dmabuf *dmabuf = file->object;

	if ((whence != SEEK_END && whence != SEEK_SET) || offset)
		return -EINVAL;
	return whence == SEEK_END ? (int64_t)dmabuf->size : 0;
}

static void dmabuf_stat(struct sim_file *file, struct stat *st)
{
	const struct sim_dmabuf *dmabuf = file->object;

	st->st_mode = 0600;
	st->st_nlink = 1;
	st->st_size = (off_t)dmabuf->size;
	st->st_blocks = (blkcnt_t)(dmabuf->size / 512);
}

/* vfio-pci offers no mmap of its dma-bufs. */
static int dmabuf_mmap(struct pfnbuf_sim *sim, struct sim_file *file, void *addr, size_t length,
		       int prot, int flags, uint64_t offset, void **out)
{
	(void)sim, (void)file, (void)addr, (void)length, (void)prot, (void)flags, (void)offset,
		(void)out;
	return -EINVAL;
}

const struct sim_file_ops sim_dmabuf_ops = {
	.release = release,
	.ioctl = dmabuf_ioctl,
	.lseek = dmabuf_lseek,
	.stat = dmabuf_stat,
	.mmap = dmabuf_mmap,
	.magic = DMA_BUF_MAGIC,
};
