/* SPDX-License-Identifier: MIT */
/*
 * VFIO PCI devices behind their cdevs (drivers/vfio/device_cdev.c, drivers/vfio/vfio_main.c,
 * drivers/vfio/pci/vfio_pci_core.c, vfio_pci_rdwr.c, vfio_pci_intrs.c).
 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "sim.h"

#define OFFSET_SHIFT 40
#define OFFSET_MASK  ((1ULL << OFFSET_SHIFT) - 1)

/* ------------------------------------------------------------------- state changes */

bool sim_vdev_enabled(const struct sim_vdev *vdev)
{
	return vdev->power < 3 &&
	       (vdev->flags & PFNBUF_SIM_VF || vdev->config[PCI_COMMAND] & PCI_COMMAND_MEMORY);
}

void sim_vdev_move_dmabufs(struct sim_vdev *vdev, bool revoked)
{
	for (struct sim_dmabuf *dmabuf = vdev->dmabufs; dmabuf; dmabuf = dmabuf->next) {
		if (dmabuf->revoked == revoked)
			continue;
		dmabuf->revoked = revoked;
		if (revoked)
			sim_mmio_zap_dmabuf(dmabuf);
		for (struct sim_pages *pages = dmabuf->pages; revoked && pages; pages = pages->next)
			sim_pages_kill(pages);
	}
}

/*
 * The function is reset: whatever its power state was it is in D0 now. Its memory keeps its bytes.
 */
void sim_vdev_reset(struct sim_vdev *vdev)
{
	if (vdev->flags & PFNBUF_SIM_RESET_FAILS)
		return;
	vdev->power = 0;
	if (vdev->pm)
		vdev->config[vdev->pm + PCI_PM_CTRL] &= (uint8_t)~PCI_PM_CTRL_STATE_MASK;
}

static void set_d0(struct sim_vdev *vdev)
{
	vdev->power = 0;
	if (vdev->pm)
		vdev->config[vdev->pm + PCI_PM_CTRL] &= (uint8_t)~PCI_PM_CTRL_STATE_MASK;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void sim_signal(int eventfd)
{
	uint64_t one = 1;
	int saved = errno;

	/* A counter that is full is as readable as one that is not. */
	if (eventfd >= 0 && write(eventfd, &one, sizeof(one)) < 0)
		errno = saved;
}

/* A duplicate of an eventfd of the caller's: -EBADF, -EINVAL. */
static int eventfd_get(int fd)
{
	char path[64], target[64];
	ssize_t n;

	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return -EBADF;
	target[n] = 0;
	if (!strstr(target, "[eventfd]"))
		return -EINVAL;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

static int eventfd_take(struct pfnbuf_sim *sim, int fd)
{
	int own = eventfd_get(fd);

	return own < 0 ? own : sim_fd_high(sim, own);
}

static void leave_low_power(struct sim_vdev *vdev)
{
	vdev->low_power = false;
	close_fd(&vdev->wake_fd);
	sim_mapping_update(vdev->sim, vdev);
}

/*
 * Every ioctl and every access resumes the device first. One that was to say when it wakes says
 * so, and has left the low-power state; its dma-bufs stay revoked (vfio_pci_core_runtime_resume).
 */
static void resume(struct sim_vdev *vdev)
{
	if (!vdev->low_power || vdev->wake_fd < 0)
		return;
	sim_signal(vdev->wake_fd);
	leave_low_power(vdev);
}

static void disable_vectors(struct sim_vdev *vdev)
{
	for (unsigned i = 0; vdev->vector_fds && i < vdev->msix_vectors; i++)
		close_fd(&vdev->vector_fds[i]);
	free(vdev->vector_fds);
	vdev->vector_fds = NULL;
}

/* -------------------------------------------------------------------------- ioctls */

static bool in_set(const struct sim_vdev *vdev, const struct sim_vdev *other)
{
	return vdev->hot_reset_set && vdev->hot_reset_set == other->hot_reset_set;
}

static uint32_t count_set(const struct sim_vdev *vdev)
{
	uint32_t n = 0;

	for (const struct sim_vdev *other = vdev->sim->vdevs; other; other = other->next)
		n += in_set(vdev, other);
	return n;
}

/* A slot reset counts as a way to reset the function where nothing else is in the slot. */
static bool can_reset(const struct sim_vdev *vdev)
{
	const unsigned flags = PFNBUF_SIM_FLR | PFNBUF_SIM_AF_FLR | PFNBUF_SIM_RESET_FAILS;

	return vdev->flags & flags || count_set(vdev) == 1;
}

static int bind_checked(struct pfnbuf_sim *sim, struct sim_file *file, uint64_t arg,
			struct sim_file *iommufd)
{
	struct sim_vfile *vfile = file->object;
	struct sim_vdev *vdev = vfile->vdev;
	struct sim_ictx *ictx = iommufd->object;
	int ret;

	sim_reap(sim);
	if (vdev->bound_by)
		return -EINVAL;
	ret = sim_iommufd_bind(sim, ictx, vdev);
	if (ret)
		return ret;
	set_d0(vdev);
	sim_vdev_reset(vdev);
	sim_config_open(vdev);
	if (sim_copy_out(arg + offsetof(struct vfio_device_bind_iommufd, out_devid),
			 &vdev->idev->obj.id, sizeof(uint32_t))) {
		sim_iommufd_unbind(sim, vdev);
		return -EFAULT;
	}
	sim_file_ref(iommufd);
	vdev->bound_by = file;
	vdev->kvm = vfile->kvm;
	/* Only what can bind a device needs its VM to be there. */
	vdev->kvm_held = vdev->kvm && sim_binds(sim);
	if (vdev->kvm_held)
		sim_file_ref(vdev->kvm->file);
	vdev->reset_works = can_reset(vdev);
	vfile->bound = true;
	return 0;
}

static int ioctl_bind(struct pfnbuf_sim *sim, struct sim_file *file, uint64_t arg)
{
	struct sim_vfile *vfile = file->object;
	struct vfio_device_bind_iommufd bind;
	struct sim_file *iommufd;
	uint32_t argsz;
	uint8_t token[16];
	int ret;

	if (sim_copy_in(&argsz, arg, sizeof(argsz)))
		return -EFAULT;
	if (argsz < FIELD_END(vfio_device_bind_iommufd, out_devid))
		return -EINVAL;
	ret = sim_copy_struct_in(&bind, sizeof(bind), arg, argsz);
	if (ret)
		return ret;
	if (bind.iommufd < 0 || bind.flags & ~VFIO_DEVICE_BIND_FLAG_TOKEN || vfile->bound)
		return -EINVAL;
	/*
	 * No device here has a token: not a physical function with virtual ones, nor a virtual one
	 * of such.
	 */
	if (bind.flags & VFIO_DEVICE_BIND_FLAG_TOKEN)
		return sim_copy_in(token, bind.token_uuid_ptr, sizeof(token)) ? -EFAULT : -EINVAL;
	if (fcntl(bind.iommufd, F_GETFD) < 0)
		return -EBADF;
	iommufd = sim_file_get(sim, bind.iommufd);
	if (!iommufd || iommufd->kind != SIM_IOMMUFD)
		return -EBADFD;
	return bind_checked(sim, file, arg, iommufd);
}

static int ioctl_attach(struct sim_vdev *vdev, uint64_t arg)
{
	const size_t minimum = FIELD_END(vfio_device_attach_iommufd_pt, pt_id);
	struct vfio_device_attach_iommufd_pt attach;
	int ret;

	if (sim_copy_in(&attach, arg, minimum))
		return -EFAULT;
	if (attach.argsz < minimum || attach.flags & ~VFIO_DEVICE_ATTACH_PASID)
		return -EINVAL;
	if (attach.flags & VFIO_DEVICE_ATTACH_PASID) {
		if (attach.argsz < sizeof(attach))
			return -EINVAL;
		if (sim_copy_in(&attach.pasid, arg + minimum, sizeof(attach.pasid)))
			return -EFAULT;
		ret = sim_iommufd_attach_pasid(vdev->sim, vdev->idev, attach.pasid, &attach.pt_id);
	} else {
		ret = sim_iommufd_attach(vdev->sim, vdev->idev, &attach.pt_id);
	}
	if (ret)
		return ret;
	/* What is undone is the plain attachment, whichever it was (vfio_df_ioctl_attach_pt). */
	if (sim_copy_out(arg + offsetof(struct vfio_device_attach_iommufd_pt, pt_id), &attach.pt_id,
			 sizeof(attach.pt_id))) {
		sim_iommufd_detach(vdev->sim, vdev->idev);
		return -EFAULT;
	}
	return 0;
}

static int ioctl_detach(struct sim_vdev *vdev, uint64_t arg)
{
	const size_t minimum = FIELD_END(vfio_device_detach_iommufd_pt, flags);
	struct vfio_device_detach_iommufd_pt detach;

	if (sim_copy_in(&detach, arg, minimum))
		return -EFAULT;
	if (detach.argsz < minimum || detach.flags & ~VFIO_DEVICE_DETACH_PASID)
		return -EINVAL;
	if (detach.flags & VFIO_DEVICE_DETACH_PASID) {
		if (detach.argsz < sizeof(detach))
			return -EINVAL;
		if (sim_copy_in(&detach.pasid, arg + minimum, sizeof(detach.pasid)))
			return -EFAULT;
		sim_iommufd_detach_pasid(vdev->sim, vdev->idev, detach.pasid);
		return 0;
	}
	sim_iommufd_detach(vdev->sim, vdev->idev);
	return 0;
}

static int ioctl_info(struct sim_vdev *vdev, uint64_t arg)
{
	const size_t minimum = FIELD_END(vfio_device_info, num_irqs);
	struct vfio_device_info info = { 0 };

	if (sim_copy_in(&info, arg, minimum))
		return -EFAULT;
	if (info.argsz < minimum)
		return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_PCI | (vdev->reset_works ? VFIO_DEVICE_FLAGS_RESET : 0);
	info.num_regions = VFIO_PCI_NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return sim_copy_out(arg, &info, MIN(info.argsz, sizeof(info)));
}

static bool bar_can_mmap(const struct sim_bar *bar)
{
	return bar->size && !(bar->flags & PFNBUF_SIM_BAR_IO);
}

static void bar_info(const struct sim_vdev *vdev, struct vfio_region_info *info)
{
	const struct sim_bar *bar = &vdev->bars[info->index];

	info->size = bar->size;
	info->flags = 0;
	if (!bar->size)
		return;
	info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	if (bar_can_mmap(bar))
		info->flags |= VFIO_REGION_INFO_FLAG_MMAP;
}

static int ioctl_region_info(struct sim_vdev *vdev, uint64_t arg)
{
	const struct vfio_info_cap_header cap = { .id = VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
						  .version = 1 };
	struct vfio_region_info info;

	if (sim_copy_in(&info, arg, sizeof(info)))
		return -EFAULT;
	if (info.argsz < sizeof(info) || info.index >= VFIO_PCI_VGA_REGION_INDEX)
		return -EINVAL;
	info.offset = (uint64_t)info.index << OFFSET_SHIFT;
	if (info.index < VFIO_PCI_ROM_REGION_INDEX) {
		bar_info(vdev, &info);
	} else {
		bool config = info.index == VFIO_PCI_CONFIG_REGION_INDEX;

		info.size = config ? vdev->config_size : 0;
		info.flags = config ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
	}
	if (info.flags & VFIO_REGION_INFO_FLAG_MMAP && vdev->msix && info.index == vdev->msix_bar) {
		info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
		if (info.argsz < sizeof(info) + sizeof(cap)) {
			info.argsz = sizeof(info) + sizeof(cap);
			info.cap_offset = 0;
		} else {
			if (sim_copy_out(arg + sizeof(info), &cap, sizeof(cap)))
				return -EFAULT;
			info.cap_offset = sizeof(info);
		}
	}
	return sim_copy_out(arg, &info, sizeof(info));
}

static uint32_t irq_count(const struct sim_vdev *vdev, uint32_t index)
{
	if (index == VFIO_PCI_MSIX_IRQ_INDEX)
		return vdev->msix_vectors;
	return index == VFIO_PCI_ERR_IRQ_INDEX || index == VFIO_PCI_REQ_IRQ_INDEX;
}

static int ioctl_irq_info(struct sim_vdev *vdev, uint64_t arg)
{
	struct vfio_irq_info info;

	if (sim_copy_in(&info, arg, sizeof(info)))
		return -EFAULT;
	if (info.argsz < sizeof(info) || info.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	info.flags = VFIO_IRQ_INFO_EVENTFD;
	info.count = irq_count(vdev, info.index);
	if (info.index == VFIO_PCI_INTX_IRQ_INDEX)
		info.flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
	else if (info.index != VFIO_PCI_MSIX_IRQ_INDEX)
		info.flags |= VFIO_IRQ_INFO_NORESIZE;
	return sim_copy_out(arg, &info, sizeof(info));
}

/* The size of one datum, or -EINVAL (vfio_set_irqs_validate_and_prepare). */
static int check_irq_set(const struct sim_vdev *vdev, const struct vfio_irq_set *set)
{
	uint32_t max = irq_count(vdev, set->index);
	size_t size;

	if (set->argsz < sizeof(*set) || set->index >= VFIO_PCI_NUM_IRQS ||
	    set->count >= UINT32_MAX - set->start ||
	    set->flags & ~(VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK))
		return -EINVAL;
	if (set->start >= max || set->start + set->count > max)
		return -EINVAL;
	switch (set->flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
	case VFIO_IRQ_SET_DATA_NONE:
		return 0;
	case VFIO_IRQ_SET_DATA_BOOL:
		size = sizeof(uint8_t);
		break;
	case VFIO_IRQ_SET_DATA_EVENTFD:
		size = sizeof(int32_t);
		break;
	default:
		return -EINVAL;
	}
	return set->argsz - sizeof(*set) < set->count * size ? -EINVAL : (int)size;
}

/* REQ and ERR: one trigger each (vfio_pci_set_ctx_trigger_single). */
static int set_single(struct sim_vdev *vdev, int *trigger, const struct vfio_irq_set *set,
		      const void *data)
{
	int32_t fd;

	if (set->flags & VFIO_IRQ_SET_DATA_NONE) {
		if (*trigger < 0)
			return -EINVAL;
		if (set->count)
			sim_signal(*trigger);
		else
			close_fd(trigger);
		return 0;
	}
	if (!set->count)
		return -EINVAL;
	if (set->flags & VFIO_IRQ_SET_DATA_BOOL) {
		if (*(const uint8_t *)data)
			sim_signal(*trigger);
		return 0;
	}
	memcpy(&fd, data, sizeof(fd));
	if (fd < -1)
		return -EINVAL;
	if (fd >= 0) {
		fd = eventfd_take(vdev->sim, fd);
		if (fd < 0)
			return fd;
	}
	close_fd(trigger);
	*trigger = fd;
	return 0;
}

static int set_vector(struct sim_vdev *vdev, uint32_t vector, int32_t fd)
{
	close_fd(&vdev->vector_fds[vector]);
	if (fd < 0)
		return 0;
	fd = eventfd_take(vdev->sim, fd);
	if (fd < 0)
		return fd;
	vdev->vector_fds[vector] = fd;
	return 0;
}

static int set_vector_fds(struct sim_vdev *vdev, const struct vfio_irq_set *set, const int32_t *fds)
{
	bool was_enabled = vdev->vector_fds;

	if (!was_enabled) {
		if (!(set->start + set->count))
			return -ERANGE;
		vdev->vector_fds = malloc(vdev->msix_vectors * sizeof(*vdev->vector_fds));
		if (!vdev->vector_fds)
			return -ENOMEM;
		for (unsigned i = 0; i < vdev->msix_vectors; i++)
			vdev->vector_fds[i] = -1;
	}
	for (uint32_t i = 0; i < set->count; i++) {
		int ret = set_vector(vdev, set->start + i, fds[i]);

		if (!ret)
			continue;
		for (uint32_t j = 0; j < i; j++)
			close_fd(&vdev->vector_fds[set->start + j]);
		if (!was_enabled)
			disable_vectors(vdev);
		return ret;
	}
	return 0;
}

static int set_vectors(struct sim_vdev *vdev, const struct vfio_irq_set *set, const void *data)
{
	const uint8_t *bools = data;

	if (vdev->vector_fds && !set->count && set->flags & VFIO_IRQ_SET_DATA_NONE) {
		disable_vectors(vdev);
		return 0;
	}
	if (set->flags & VFIO_IRQ_SET_DATA_EVENTFD)
		return set_vector_fds(vdev, set, data);
	if (!vdev->vector_fds)
		return -EINVAL;
	for (uint32_t i = 0; i < set->count; i++)
		if (set->flags & VFIO_IRQ_SET_DATA_NONE || bools[i])
			sim_signal(vdev->vector_fds[set->start + i]);
	return 0;
}

static int set_irqs(struct sim_vdev *vdev, const struct vfio_irq_set *set, const void *data)
{
	if ((set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) != VFIO_IRQ_SET_ACTION_TRIGGER)
		return -ENOTTY;
	switch (set->index) {
	case VFIO_PCI_MSIX_IRQ_INDEX:
		return set_vectors(vdev, set, data);
	case VFIO_PCI_ERR_IRQ_INDEX:
		return set_single(vdev, &vdev->err_fd, set, data);
	case VFIO_PCI_REQ_IRQ_INDEX:
		return set_single(vdev, &vdev->req_fd, set, data);
	default:
		return -ENOTTY;
	}
}

static int ioctl_set_irqs(struct sim_vdev *vdev, uint64_t arg)
{
	struct vfio_irq_set set;
	void *data;
	int size;
	int ret;

	if (sim_copy_in(&set, arg, sizeof(set)))
		return -EFAULT;
	size = check_irq_set(vdev, &set);
	if (size < 0)
		return size;
	data = calloc(set.count + 1, sizeof(int32_t));
	if (!data)
		return -ENOMEM;
	ret = sim_copy_in(data, arg + sizeof(set), set.count * (size_t)size);
	if (!ret)
		ret = set_irqs(vdev, &set, data);
	free(data);
	return ret;
}

static int ioctl_reset(struct sim_vdev *vdev)
{
	if (!vdev->reset_works)
		return -EINVAL;
	sim_tdi_revoke(vdev, "reset");
	set_d0(vdev);
	sim_vdev_move_dmabufs(vdev, true);
	sim_vdev_reset(vdev);
	if (sim_vdev_enabled(vdev))
		sim_vdev_move_dmabufs(vdev, false);
	sim_mapping_update(vdev->sim, vdev);
	return vdev->flags & PFNBUF_SIM_RESET_FAILS ? -ENOTTY : 0;
}

/* Bound to the same iommufd; or not open, while another device of its IOMMU group is. */
static bool owned(const struct sim_vdev *vdev, const struct sim_vdev *other)
{
	if (other->flags & PFNBUF_SIM_NO_DRIVER)
		return false;
	return other->ictx ? other->ictx == vdev->ictx : sim_iommufd_owns_group(vdev->ictx, other);
}

static int fill_set(const struct sim_vdev *vdev, uint64_t devices, uint32_t *flags)
{
	*flags = VFIO_PCI_HOT_RESET_FLAG_DEV_ID | VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED;
	for (const struct sim_vdev *other = vdev->sim->vdevs; other; other = other->next) {
		struct vfio_pci_dependent_device entry = {
			.segment = (uint16_t)other->segment,
			.bus = (uint8_t)other->bus,
			.devfn = (uint8_t)other->devfn,
		};

		if (!in_set(vdev, other))
			continue;
		if (owned(vdev, other)) {
			entry.devid = other->idev ? other->idev->obj.id : VFIO_PCI_DEVID_OWNED;
		} else {
			entry.devid = (uint32_t)VFIO_PCI_DEVID_NOT_OWNED;
			*flags &= ~VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED;
		}
		if (sim_copy_out(devices, &entry, sizeof(entry)))
			return -EFAULT;
		devices += sizeof(entry);
	}
	return 0;
}

static int ioctl_hot_reset_info(struct sim_vdev *vdev, uint64_t arg)
{
	struct vfio_pci_hot_reset_info info;
	uint32_t count = count_set(vdev);
	uint32_t flags = 0;
	int ret = 0;

	if (sim_copy_in(&info, arg, sizeof(info)))
		return -EFAULT;
	if (info.argsz < sizeof(info))
		return -EINVAL;
	if (!count)
		return -ENODEV;
	if (count > (info.argsz - sizeof(info)) / sizeof(struct vfio_pci_dependent_device))
		ret = -ENOSPC;
	else if (fill_set(vdev, arg + sizeof(info), &flags))
		return -EFAULT;
	info.count = count;
	info.flags = flags;
	return sim_copy_out(arg, &info, sizeof(info)) ? -EFAULT : ret;
}

static int ioctl_hot_reset(struct sim_vdev *vdev, uint64_t arg)
{
	struct pfnbuf_sim *sim = vdev->sim;
	struct vfio_pci_hot_reset hdr;
	struct sim_vdev *other;

	if (sim_copy_in(&hdr, arg, sizeof(hdr)))
		return -EFAULT;
	/* A list of groups is for fds that came from a group. */
	if (hdr.argsz < sizeof(hdr) || hdr.flags || hdr.count)
		return -EINVAL;
	if (!count_set(vdev))
		return -ENODEV;
	for (other = sim->vdevs; other; other = other->next)
		if (in_set(vdev, other) && other->flags & PFNBUF_SIM_NO_DRIVER)
			return -EINVAL;
	for (other = sim->vdevs; other; other = other->next) {
		if (!in_set(vdev, other))
			continue;
		if (!owned(vdev, other))
			break;
		sim_tdi_revoke(other, "hot reset");
		sim_vdev_move_dmabufs(other, true);
	}
	for (struct sim_vdev *done = sim->vdevs; done != other; done = done->next) {
		if (!in_set(vdev, done))
			continue;
		if (!other)
			set_d0(done);
		if (done->bound_by && sim_vdev_enabled(done))
			sim_vdev_move_dmabufs(done, false);
		sim_mapping_update(sim, done);
	}
	return other ? -EINVAL : 0;
}

/* ------------------------------------------------------------------------ features */

int sim_vfio_check_feature(uint32_t flags, size_t argsz, uint32_t supported, size_t minimum)
{
	uint32_t ops = flags & (VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET);

	if (ops & ~supported)
		return -EINVAL;
	if (flags & VFIO_DEVICE_FEATURE_PROBE)
		return 0;
	if (!ops || argsz < minimum)
		return -EINVAL;
	return 1;
}

static int low_power_entry(struct sim_vdev *vdev, int wake_fd)
{
	sim_tdi_revoke(vdev, "low power");
	sim_vdev_move_dmabufs(vdev, true);
	if (vdev->low_power) {
		close_fd(&wake_fd);
		return -EINVAL;
	}
	vdev->low_power = true;
	vdev->wake_fd = wake_fd;
	sim_mapping_update(vdev->sim, vdev);
	return 0;
}

static int feature_low_power_entry(struct sim_vdev *vdev, uint32_t flags, size_t argsz)
{
	int ret = sim_vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_SET, 0);

	return ret == 1 ? low_power_entry(vdev, -1) : ret;
}

static int feature_low_power_wakeup(struct sim_vdev *vdev, uint32_t flags, uint64_t arg,
				    size_t argsz)
{
	struct vfio_device_low_power_entry_with_wakeup entry;
	int ret = sim_vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_SET, sizeof(entry));

	if (ret != 1)
		return ret;
	if (sim_copy_in(&entry, arg, sizeof(entry)))
		return -EFAULT;
	if (entry.wakeup_eventfd < 0)
		return -EINVAL;
	ret = eventfd_take(vdev->sim, entry.wakeup_eventfd);
	return ret < 0 ? ret : low_power_entry(vdev, ret);
}

static int feature_low_power_exit(struct sim_vdev *vdev, uint32_t flags, size_t argsz)
{
	int ret = sim_vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_SET, 0);

	if (ret != 1)
		return ret;
	leave_low_power(vdev);
	if (sim_vdev_enabled(vdev))
		sim_vdev_move_dmabufs(vdev, false);
	return 0;
}

static int ioctl_feature(struct sim_vdev *vdev, uint64_t arg)
{
	const uint32_t ops = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
	const uint32_t known = VFIO_DEVICE_FEATURE_MASK | ops | VFIO_DEVICE_FEATURE_PROBE;
	struct vfio_device_feature feature;
	uint64_t data = arg + sizeof(feature);
	size_t argsz;

	if (sim_copy_in(&feature, arg, sizeof(feature)))
		return -EFAULT;
	if (feature.argsz < sizeof(feature) || feature.flags & ~known)
		return -EINVAL;
	if (!(feature.flags & VFIO_DEVICE_FEATURE_PROBE) && (feature.flags & ops) == ops)
		return -EINVAL;
	argsz = feature.argsz - sizeof(feature);
	switch (feature.flags & VFIO_DEVICE_FEATURE_MASK) {
	case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY:
		return feature_low_power_entry(vdev, feature.flags, argsz);
	case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP:
		return feature_low_power_wakeup(vdev, feature.flags, data, argsz);
	case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT:
		return feature_low_power_exit(vdev, feature.flags, argsz);
	case VFIO_DEVICE_FEATURE_DMA_BUF:
		return sim_dmabuf_export(vdev, feature.flags, data, argsz);
	default:
		return -ENOTTY;
	}
}

/* ----------------------------------------------------------------------------- TSM */

/* Whoever has a BAR of the device, and so keeps others from having all of it alone. */
static bool bars_in_use(const struct sim_vdev *vdev)
{
	const struct sim_vec *mappings = &vdev->sim->mappings;

	for (const struct sim_dmabuf *dmabuf = vdev->dmabufs; dmabuf; dmabuf = dmabuf->next)
		if (dmabuf->pages || dmabuf->slots.n)
			return true;
	for (size_t i = 0; i < mappings->n; i++)
		if (((const struct sim_mapping *)mappings->v[i])->vdev == vdev)
			return true;
	return false;
}

static int ioctl_tsm_bind(struct sim_vdev *vdev, uint64_t arg)
{
	const size_t minimum = FIELD_END(vfio_pci_tsm_bind, vdevice_id);
	struct vfio_pci_tsm_bind bind;
	struct sim_vdevice *vdevice;
	int ret;

	if (sim_copy_in(&bind, arg, minimum))
		return -EFAULT;
	if (bind.argsz < minimum || bind.flags)
		return -EINVAL;
	if (vdev->tdi.vdevice || bars_in_use(vdev))
		return -EBUSY;
	vdevice =
		(struct sim_vdevice *)sim_object_get(vdev->ictx, bind.vdevice_id, SIM_OBJ_VDEVICE);
	if (!vdevice)
		return -ENOENT;
	if (vdevice->idev != vdev->idev)
		return -EINVAL;
	ret = sim_tdi_bind(vdev, vdevice->viommu->vm);
	if (!vdev->tdi.vm)
		return ret;
	vdev->tdi.vdevice = vdevice;
	vdevice->obj.users++;
	return ret;
}

static int ioctl_tsm_unbind(struct sim_vdev *vdev, uint64_t arg)
{
	struct vfio_pci_tsm_unbind unbind;

	if (sim_copy_in(&unbind, arg, sizeof(unbind)))
		return -EFAULT;
	if (unbind.argsz < sizeof(unbind) || unbind.flags)
		return -EINVAL;
	return sim_tdi_unbind(vdev);
}

/* ---------------------------------------------------------------------------- file */

static int bound_ioctl(struct sim_vdev *vdev, unsigned long request, uint64_t arg)
{
	switch (request) {
	case VFIO_DEVICE_ATTACH_IOMMUFD_PT:
		return ioctl_attach(vdev, arg);
	case VFIO_DEVICE_DETACH_IOMMUFD_PT:
		return ioctl_detach(vdev, arg);
	case VFIO_DEVICE_FEATURE:
		return ioctl_feature(vdev, arg);
	case VFIO_DEVICE_GET_REGION_INFO:
		return ioctl_region_info(vdev, arg);
	case VFIO_DEVICE_GET_INFO:
		return ioctl_info(vdev, arg);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return ioctl_irq_info(vdev, arg);
	case VFIO_DEVICE_SET_IRQS:
		return ioctl_set_irqs(vdev, arg);
	case VFIO_DEVICE_RESET:
		return ioctl_reset(vdev);
	case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
		return ioctl_hot_reset_info(vdev, arg);
	case VFIO_DEVICE_PCI_HOT_RESET:
		return ioctl_hot_reset(vdev, arg);
	case VFIO_DEVICE_TSM_BIND:
		return vdev->sim->proposed & PFNBUF_SIM_VFIO_TSM ? ioctl_tsm_bind(vdev, arg)
								 : -ENOTTY;
	case VFIO_DEVICE_TSM_UNBIND:
		return vdev->sim->proposed & PFNBUF_SIM_VFIO_TSM ? ioctl_tsm_unbind(vdev, arg)
								 : -ENOTTY;
	default:
		return -ENOTTY;
	}
}

static int vfio_ioctl(struct pfnbuf_sim *sim, struct sim_file *file, unsigned long request,
		      uint64_t arg)
{
	struct sim_vfile *vfile = file->object;

	if (request == VFIO_DEVICE_BIND_IOMMUFD)
		return ioctl_bind(sim, file, arg);
	if (!vfile->bound)
		return -EINVAL;
	resume(vfile->vdev);
	return bound_ioctl(vfile->vdev, request, arg);
}

static bool in_msix_table(const struct sim_vdev *vdev, unsigned bar, uint64_t pos)
{
	return vdev->msix && bar == vdev->msix_bar && pos >= vdev->msix_table &&
	       pos < vdev->msix_table + (uint64_t)vdev->msix_vectors * PCI_MSIX_ENTRY_SIZE;
}

static ssize_t bar_chunk(struct sim_vdev *vdev, unsigned bar, uint64_t pos, uint64_t buf,
			 size_t count, bool write)
{
	uint8_t bytes[4096];
	int fd = vdev->bars[bar].fd;

	if (!write) {
		if (pread(fd, bytes, count, (off_t)pos) != (ssize_t)count)
			return -EIO;
		for (size_t i = 0; i < count; i++)
			if (in_msix_table(vdev, bar, pos + i))
				bytes[i] = 0xff;
		return sim_copy_out(buf, bytes, count);
	}
	if (sim_copy_in(bytes, buf, count))
		return -EFAULT;
	for (size_t i = 0; i < count; i++)
		if (in_msix_table(vdev, bar, pos + i) &&
		    pread(fd, &bytes[i], 1, (off_t)(pos + i)) != 1)
			return -EIO;
	return pwrite(fd, bytes, count, (off_t)pos) == (ssize_t)count ? 0 : -EIO;
}

/* All ones, or nothing at all; the device takes it for an attack. */
static ssize_t refused_rw(struct sim_vdev *vdev, uint64_t buf, size_t count, bool write)
{
	uint8_t ones[256];

	sim_tdi_fail(vdev);
	memset(ones, 0xff, sizeof(ones));
	for (size_t done = 0; !write && done < count; done += sizeof(ones))
		if (sim_copy_out(buf + done, ones, MIN(count - done, sizeof(ones))))
			return -EFAULT;
	return (ssize_t)count;
}

static ssize_t bar_rw(struct sim_vdev *vdev, unsigned index, uint64_t pos, uint64_t buf,
		      size_t count, bool write)
{
	const struct sim_bar *bar = &vdev->bars[index];
	size_t done = 0;

	if (pos >= bar->size)
		return -EINVAL;
	count = MIN(count, bar->size - pos);
	if (!(bar->flags & PFNBUF_SIM_BAR_IO) && !sim_vdev_enabled(vdev))
		return -EIO;
	if (sim_tdi_protects(vdev, index, pos, count))
		return vdev->tdi.vdevice ? -EBUSY : refused_rw(vdev, buf, count, write);
	while (done < count) {
		size_t chunk = MIN(count - done, 4096U);
		ssize_t ret = bar_chunk(vdev, index, pos + done, buf + done, chunk, write);

		if (ret)
			return ret;
		done += chunk;
	}
	return (ssize_t)done;
}

static ssize_t vfio_rw(struct sim_file *file, uint64_t buf, size_t count, uint64_t offset,
		       bool write)
{
	struct sim_vfile *vfile = file->object;
	struct sim_vdev *vdev = vfile->vdev;
	uint64_t index = offset >> OFFSET_SHIFT;
	uint64_t pos = offset & OFFSET_MASK;

	if (!vfile->bound)
		return -EINVAL;
	if (!count)
		return 0;
	if (index >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	resume(vdev);
	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		return sim_config_rw(vdev->sim, vdev, buf, count, pos, write);
	if (index >= VFIO_PCI_ROM_REGION_INDEX)
		return -EINVAL;
	return bar_rw(vdev, (unsigned)index, pos, buf, count, write);
}

static ssize_t vfio_read(struct pfnbuf_sim *sim, struct sim_file *file, uint64_t buf, size_t count,
			 uint64_t offset)
{
	(void)sim;
	return vfio_rw(file, buf, count, offset, false);
}

static ssize_t vfio_write(struct pfnbuf_sim *sim, struct sim_file *file, uint64_t buf, size_t count,
			  uint64_t offset)
{
	(void)sim;
	return vfio_rw(file, buf, count, offset, true);
}

static int map_bar(struct pfnbuf_sim *sim, struct sim_file *file, void *addr, size_t length,
		   int prot, int flags, unsigned bar, uint64_t offset, void **out)
{
	struct sim_vfile *vfile = file->object;
	struct sim_vdev *vdev = vfile->vdev;
	struct sim_mapping mapping = {
		.length = page_up(length),
		.vdev = vdev,
		.file = file,
		.bar = bar,
		.offset = offset,
		.prot = prot,
		.absent = !sim_vdev_enabled(vdev) || vdev->low_power,
	};
	void *mem =
		mmap(addr, length, prot, flags, mapping.absent ? sim->empty_fd : vdev->bars[bar].fd,
		     mapping.absent ? 0 : (off_t)offset);
	int ret;

	if (mem == MAP_FAILED)
		return -errno;
	mapping.addr = (uint64_t)(uintptr_t)mem;
	sim_mapping_cut(sim, mapping.addr, mapping.length);
	ret = sim_mapping_add(sim, &mapping);
	if (ret) {
		munmap(mem, length);
		return ret;
	}
	sim_alias_check_bars(sim, NULL);
	*out = mem;
	return 0;
}

static int vfio_mmap(struct pfnbuf_sim *sim, struct sim_file *file, void *addr, size_t length,
		     int prot, int flags, uint64_t offset, void **out)
{
	struct sim_vfile *vfile = file->object;
	uint64_t index = offset >> OFFSET_SHIFT;
	uint64_t pos = offset & OFFSET_MASK;
	const struct sim_bar *bar;

	if (!vfile->bound || index >= VFIO_PCI_ROM_REGION_INDEX || !(flags & MAP_SHARED))
		return -EINVAL;
	bar = &vfile->vdev->bars[index];
	if (!bar_can_mmap(bar) || page_up(length) > page_up(bar->size) ||
	    pos > page_up(bar->size) - page_up(length))
		return -EINVAL;
	/* The regions are requested for the guest alone. */
	if (vfile->vdev->tdi.vdevice &&
	    sim_tdi_protects(vfile->vdev, (unsigned)index, pos, page_up(length)))
		return -EBUSY;
	return map_bar(sim, file, addr, length, prot, flags, (unsigned)index, pos, out);
}

static void vfio_stat(struct sim_file *file, struct stat *st)
{
	const struct sim_vfile *vfile = file->object;

	st->st_mode = S_IFCHR | 0600;
	st->st_rdev = makedev(SIM_VFIO_MAJOR, vfile->vdev->index);
	st->st_size = 0;
	st->st_blocks = 0;
}

/* The last one who held the bound file is gone: the device is closed, its dma-bufs are dead. */
static void close_device(struct pfnbuf_sim *sim, struct sim_vdev *vdev)
{
	struct sim_file *iommufd = vdev->ictx->file;
	struct sim_vm *held = vdev->kvm_held ? vdev->kvm : NULL;

	sim_tdi_drop(vdev, "close");
	sim_vdev_move_dmabufs(vdev, true);
	while (vdev->dmabufs)
		sim_dmabuf_disown(vdev->dmabufs);
	disable_vectors(vdev);
	close_fd(&vdev->req_fd);
	close_fd(&vdev->err_fd);
	close_fd(&vdev->wake_fd);
	vdev->low_power = false;
	vdev->bound_by = NULL;
	vdev->kvm = NULL;
	vdev->kvm_held = false;
	set_d0(vdev);
	sim_iommufd_unbind(sim, vdev);
	sim_file_unref(sim, iommufd);
	if (held)
		sim_file_unref(sim, held->file);
}

static void release(struct pfnbuf_sim *sim, struct sim_file *file)
{
	struct sim_vfile *vfile = file->object;

	if (vfile->bound)
		close_device(sim, vfile->vdev);
	free(vfile);
}

const struct sim_file_ops sim_vfio_ops = {
	.release = release,
	.ioctl = vfio_ioctl,
	.read = vfio_read,
	.write = vfio_write,
	.mmap = vfio_mmap,
	.stat = vfio_stat,
	.magic = SIM_DEVTMPFS_MAGIC,
	.positioned = true,
};

static struct sim_vdev *find_cdev(struct pfnbuf_sim *sim, const char *name)
{
	char own[32];

	for (struct sim_vdev *vdev = sim->vdevs; vdev; vdev = vdev->next) {
		snprintf(own, sizeof(own), "vfio%u", vdev->index);
		if (!strcmp(name, own) &&
		    !(vdev->flags & (PFNBUF_SIM_NO_DRIVER | PFNBUF_SIM_NO_CDEV)))
			return vdev;
	}
	return NULL;
}

int sim_vfio_open(struct pfnbuf_sim *sim, const char *name, int flags)
{
	struct sim_vdev *vdev = find_cdev(sim, name);
	struct sim_vfile *vfile;
	struct sim_file *file;
	int fd;

	if (!vdev)
		return -ENOENT;
	if (vdev->flags & PFNBUF_SIM_NO_ACCESS)
		return -EACCES;
	vfile = calloc(1, sizeof(*vfile));
	if (!vfile)
		return -ENOMEM;
	vfile->vdev = vdev;
	fd = sim_file_new(sim, SIM_VFIO, name, 0, flags, vfile, &file);
	if (fd < 0)
		free(vfile);
	return fd;
}

/* ------------------------------------------------------------------- the machine's */

struct sim_vdev *sim_vdev_find(struct pfnbuf_sim *sim, const char *bdf)
{
	struct sim_vdev *vdev = sim->vdevs;

	while (vdev && strcmp(vdev->bdf, bdf))
		vdev = vdev->next;
	return vdev;
}

void sim_vdev_free(struct sim_vdev *vdev)
{
	for (unsigned i = 0; i < 6; i++)
		close_fd(&vdev->bars[i].fd);
	disable_vectors(vdev);
	close_fd(&vdev->req_fd);
	close_fd(&vdev->err_fd);
	close_fd(&vdev->wake_fd);
	free(vdev->tdi.report);
	free(vdev);
}

static bool is_power_of_two(uint64_t value)
{
	return value && !(value & (value - 1));
}

static bool bars_make_sense(const struct pfnbuf_sim_device *spec)
{
	for (unsigned i = 0; i < 6; i++) {
		const struct pfnbuf_sim_bar *bar = &spec->bars[i];

		if (!bar->size)
			continue;
		if (!is_power_of_two(bar->size) || bar->size < 16 || bar->size > 1ULL << 39)
			return false;
		if (bar->flags & PFNBUF_SIM_BAR_IO && bar->flags & PFNBUF_SIM_BAR_64)
			return false;
		if (bar->flags & PFNBUF_SIM_BAR_64 && (i == 5 || spec->bars[i + 1].size))
			return false;
		if (!(bar->flags & PFNBUF_SIM_BAR_64) && bar->size > 1U << 31)
			return false;
	}
	return true;
}

static bool fits(const struct pfnbuf_sim_device *spec, unsigned bar, uint64_t offset,
		 uint64_t length)
{
	return bar < 6 && !(spec->bars[bar].flags & PFNBUF_SIM_BAR_IO) && offset % 8 == 0 &&
	       length <= spec->bars[bar].size && offset <= spec->bars[bar].size - length;
}

static bool msix_makes_sense(const struct pfnbuf_sim_device *spec)
{
	uint64_t n = spec->msix_vectors;

	if (!n)
		return true;
	return n <= 2048 && fits(spec, spec->msix_bar, spec->msix_table, n * PCI_MSIX_ENTRY_SIZE) &&
	       fits(spec, spec->msix_pba_bar, spec->msix_pba, (n + 63) / 64 * 8);
}

static int parse_bdf(const char *bdf, struct sim_vdev *vdev)
{
	unsigned slot, function;
	char again[32];

	if (sscanf(bdf, "%4x:%2x:%2x.%1x", &vdev->segment, &vdev->bus, &slot, &function) != 4 ||
	    slot > 31 || function > 7)
		return -EINVAL;
	snprintf(again, sizeof(again), "%04x:%02x:%02x.%x", vdev->segment, vdev->bus, slot,
		 function);
	if (strcmp(again, bdf))
		return -EINVAL;
	vdev->devfn = slot << 3 | function;
	memcpy(vdev->bdf, again, sizeof(vdev->bdf) - 1);
	return 0;
}

static int make_bars(struct pfnbuf_sim *sim, struct sim_vdev *vdev,
		     const struct pfnbuf_sim_device *spec)
{
	for (unsigned i = 0; i < 6; i++) {
		struct sim_bar *bar = &vdev->bars[i];
		uint64_t size = spec->bars[i].size;
		uint64_t align = MAX(size, sim_page_size());

		bar->size = size;
		bar->flags = spec->bars[i].flags;
		if (!size)
			continue;
		if (bar->flags & PFNBUF_SIM_BAR_IO) {
			bar->start = 0x1000 + 0x100 * (sim->nr_vdevs * 6 + i);
		} else {
			uint64_t *next =
				bar->flags & PFNBUF_SIM_BAR_64 ? &sim->next_bar64 : &sim->next_bar;

			bar->start = (*next + align - 1) & ~(align - 1);
			*next = bar->start + align;
		}
		bar->fd = sim_fd_high(sim, memfd_create("BAR", MFD_CLOEXEC));
		if (bar->fd < 0 || ftruncate(bar->fd, (off_t)page_up(size)))
			return -errno;
	}
	return 0;
}

static int make_vdev(struct pfnbuf_sim *sim, struct sim_vdev *vdev,
		     const struct pfnbuf_sim_device *spec)
{
	int ret = parse_bdf(spec->bdf, vdev);

	if (ret)
		return ret;
	if (sim_vdev_find(sim, vdev->bdf))
		return -EEXIST;
	if (!bars_make_sense(spec) || !msix_makes_sense(spec))
		return -EINVAL;
	vdev->sim = sim;
	vdev->flags = spec->flags;
	vdev->hot_reset_set = spec->hot_reset_set;
	vdev->msix_vectors = spec->msix_vectors;
	vdev->msix_bar = spec->msix_bar;
	vdev->msix_table = spec->msix_table;
	vdev->msix_pba_bar = spec->msix_pba_bar;
	vdev->msix_pba = spec->msix_pba;
	vdev->index = vdev->group = sim->nr_vdevs;
	vdev->shared_group = spec->iommu_group;
	for (const struct sim_vdev *other = sim->vdevs; vdev->shared_group && other;
	     other = other->next)
		if (other->shared_group == vdev->shared_group)
			vdev->group = other->group;
	ret = make_bars(sim, vdev, spec);
	if (!ret)
		sim_config_init(vdev, spec);
	return ret;
}

int pfnbuf_sim_add_device(struct pfnbuf_sim *sim, const struct pfnbuf_sim_device *spec)
{
	struct sim_vdev **last = &sim->vdevs;
	struct sim_vdev *vdev = calloc(1, sizeof(*vdev));
	int ret;

	if (!vdev)
		return -ENOMEM;
	vdev->wake_fd = vdev->req_fd = vdev->err_fd = -1;
	for (unsigned i = 0; i < 6; i++)
		vdev->bars[i].fd = -1;
	SIM_LOCKED(sim);
	ret = make_vdev(sim, vdev, spec);
	if (ret) {
		sim_vdev_free(vdev);
		return ret;
	}
	while (*last)
		last = &(*last)->next;
	*last = vdev;
	sim->nr_vdevs++;
	return 0;
}

/* ------------------------------------------------------------- from the other side */

static int bar_bytes(struct pfnbuf_sim *sim, const char *bdf, unsigned bar, uint64_t offset,
		     size_t length)
{
	struct sim_vdev *vdev = sim_vdev_find(sim, bdf);

	if (!vdev)
		return -ENODEV;
	if (bar > 5 || length > vdev->bars[bar].size || offset > vdev->bars[bar].size - length)
		return -EINVAL;
	return vdev->bars[bar].fd;
}

int pfnbuf_sim_bar_peek(struct pfnbuf_sim *sim, const char *bdf, unsigned bar, uint64_t offset,
			void *data, size_t length)
{
	int fd;

	SIM_LOCKED(sim);
	fd = bar_bytes(sim, bdf, bar, offset, length);
	if (fd < 0)
		return fd;
	return pread(fd, data, length, (off_t)offset) == (ssize_t)length ? 0 : -EINVAL;
}

int pfnbuf_sim_bar_poke(struct pfnbuf_sim *sim, const char *bdf, unsigned bar, uint64_t offset,
			const void *data, size_t length)
{
	int fd;

	SIM_LOCKED(sim);
	fd = bar_bytes(sim, bdf, bar, offset, length);
	if (fd < 0)
		return fd;
	return pwrite(fd, data, length, (off_t)offset) == (ssize_t)length ? 0 : -EINVAL;
}

int pfnbuf_sim_request_removal(struct pfnbuf_sim *sim, const char *bdf)
{
	struct sim_vdev *vdev;

	SIM_LOCKED(sim);
	vdev = sim_vdev_find(sim, bdf);
	if (!vdev)
		return -ENODEV;
	sim_signal(vdev->req_fd);
	return 0;
}

int pfnbuf_sim_raise_error(struct pfnbuf_sim *sim, const char *bdf)
{
	struct sim_vdev *vdev;

	SIM_LOCKED(sim);
	vdev = sim_vdev_find(sim, bdf);
	if (!vdev)
		return -ENODEV;
	sim_signal(vdev->err_fd);
	return 0;
}

int pfnbuf_sim_foreign_reset(struct pfnbuf_sim *sim, const char *bdf)
{
	struct sim_vdev *vdev;

	SIM_LOCKED(sim);
	vdev = sim_vdev_find(sim, bdf);
	if (!vdev)
		return -ENODEV;
	sim_tdi_fail(vdev);
	sim_vdev_move_dmabufs(vdev, true);
	sim_vdev_reset(vdev);
	if (sim_vdev_enabled(vdev))
		sim_vdev_move_dmabufs(vdev, false);
	sim_mapping_update(sim, vdev);
	return 0;
}

int pfnbuf_sim_foreign_decode(struct pfnbuf_sim *sim, const char *bdf, bool on)
{
	struct sim_vdev *vdev;

	SIM_LOCKED(sim);
	vdev = sim_vdev_find(sim, bdf);
	if (!vdev)
		return -ENODEV;
	if (!on) {
		sim_tdi_fail(vdev);
		sim_vdev_move_dmabufs(vdev, true);
	}
	sim_config_set_decode(vdev, on);
	if (sim_vdev_enabled(vdev))
		sim_vdev_move_dmabufs(vdev, false);
	sim_mapping_update(sim, vdev);
	return 0;
}
