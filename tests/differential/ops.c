/* SPDX-License-Identifier: MIT */
/* The operations of a history: a kernel call each, with arguments good and bad. */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libpfnbuf/kernel.h"
#include "libpfnbuf/uapi/dma-buf.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/pci.h"
#include "libpfnbuf/uapi/vfio.h"

#define PAGE	      0x1000ULL
#define SIZE(array)   (sizeof(array) / sizeof((array)[0]))
#define REGION(index) ((uint64_t)(index) << 40)
#define NO_SUCH_ID    0xfffff0

/* ---------------------------------------------------------------- chance -------------------- */

static uint64_t roll(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static uint64_t pick(uint64_t *seed, uint64_t n)
{
	return roll(seed) % n;
}

static bool once_in(uint64_t *seed, unsigned n)
{
	return pick(seed, n) == 0;
}

/* Mostly few pages; sometimes what a careless caller passes. */
static uint64_t some_length(uint64_t *seed)
{
	static const uint64_t odd[] = {
		0,	   1,	     0x200,	  0x800,      0x1001,
		0x3fff,	   0x200000, 0x100000000, 1ULL << 63, UINT64_MAX - 0xfff,
		UINT64_MAX
	};

	if (once_in(seed, 8))
		return odd[pick(seed, SIZE(odd))];
	return (pick(seed, 8) + 1) * PAGE;
}

/* Addresses close together, so that ranges meet; and the ends of everything. */
static uint64_t some_iova(uint64_t *seed)
{
	static const uint64_t odd[] = { 0,
					1,
					0x800,
					0xfedff000,
					0xfee00000,
					0xfeefe000,
					0xfef00000,
					1ULL << 38,
					1ULL << 39,
					1ULL << 48,
					UINT64_MAX - 0xfff,
					UINT64_MAX,
					0xfeeff000,
					0x7fffffffff,
					(1ULL << 39) - PAGE };

	if (once_in(seed, 10))
		return odd[pick(seed, SIZE(odd))];
	return 0x100000 + pick(seed, 16) * PAGE;
}

static uint64_t some_offset(uint64_t *seed)
{
	static const uint64_t odd[] = { 1,
					0x800,
					0xfff,
					MEMORY_SIZE - PAGE,
					MEMORY_SIZE / 2,
					MEMORY_SIZE / 4 * 3,
					1ULL << 40,
					UINT64_MAX - 0xfff };

	if (once_in(seed, 10))
		return odd[pick(seed, SIZE(odd))];
	return pick(seed, 16) * PAGE;
}

static uint32_t some_map_flags(uint64_t *seed)
{
	static const uint32_t odd[] = { 0, 1, 8, 0x80000000 | 7 };

	if (once_in(seed, 20))
		return odd[pick(seed, SIZE(odd))];
	return (uint32_t)(2 + 2 * pick(seed, 3)) | !once_in(seed, 4);
}

/* ---------------------------------------------------------------- worlds' objects ----------- */

static struct outcome plain(int64_t ret)
{
	return (struct outcome){ .ret = ret };
}

/* A call that makes an fd: its number is nobody's business. */
static struct outcome keep_fd(struct world *w, int *place, int fd)
{
	if (fd < 0)
		return plain(fd);
	if (*place >= 0)
		k_close(w->kernel, *place);
	*place = fd;
	return plain(1);
}

static uint32_t id_or_none(uint32_t id)
{
	return id ? id : NO_SUCH_ID;
}

static int ioas_fd(const struct world *w, uint32_t i)
{
	return w->iommufds[w->ioas_owner[i]];
}

static uint64_t va(const struct world *w, uint64_t offset)
{
	return (uintptr_t)w->memory + offset;
}

static int ioctl_on(struct world *w, int fd, unsigned long request, void *arg)
{
	return k_ioctl(w->kernel, fd, request, arg);
}

/* ---------------------------------------------------------------- VFIO ---------------------- */

static struct outcome device_open(struct world *w, const struct op *op)
{
	char path[128], names[256];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", w->devices[op->a].bdf);
	n = k_list(w->kernel, path, names, sizeof(names));
	if (n <= 0)
		return plain(n);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%.64s", names);
	return keep_fd(w, &w->device_fds[op->a], k_open(w->kernel, path, O_RDWR | O_CLOEXEC));
}

static struct outcome device_close(struct world *w, const struct op *op)
{
	int fd = w->device_fds[op->a];

	w->device_fds[op->a] = -1;
	return plain(fd < 0 ? -EBADF : k_close(w->kernel, fd));
}

static struct outcome device_bind(struct world *w, const struct op *op)
{
	struct vfio_device_bind_iommufd arg = {
		.argsz = op->x ? (uint32_t)op->x : sizeof(arg),
		.flags = (uint32_t)op->y,
		.iommufd = op->b == NR_IOMMUFDS ? w->memfds[0] : w->iommufds[op->b],
	};
	int r = ioctl_on(w, w->device_fds[op->a], VFIO_DEVICE_BIND_IOMMUFD, &arg);

	if (r >= 0)
		w->devids[op->a] = arg.out_devid;
	return plain(r);
}

/* Whose HWPT that is: a bit for each of the history's own, and for each device put to it. */
static uint64_t hwpt_role(const struct world *w, uint32_t id)
{
	uint64_t role = 0;

	for (unsigned i = 0; i < NR_HWPTS; i++)
		role |= w->hwpts[i] == id ? 1ULL << i : 0;
	for (unsigned i = 0; i < NR_DEVICES; i++)
		role |= w->attached[i] == id ? 0x100ULL << i : 0;
	return role;
}

static struct outcome device_attach(struct world *w, const struct op *op)
{
	struct vfio_device_attach_iommufd_pt arg = {
		.argsz = op->x ? (uint32_t)op->x : 12,
		.flags = (uint32_t)op->y,
		.pasid = op->c,
	};

	if (op->b < NR_IOASES)
		arg.pt_id = id_or_none(w->ioases[op->b]);
	else if (op->b < NR_IOASES + NR_HWPTS)
		arg.pt_id = id_or_none(w->hwpts[op->b - NR_IOASES]);
	else
		arg.pt_id = id_or_none(w->devids[op->a]);
	int r = ioctl_on(w, w->device_fds[op->a], VFIO_DEVICE_ATTACH_IOMMUFD_PT, &arg);

	if (r < 0)
		return plain(r);
	w->attached[op->a] = arg.pt_id;
	return (struct outcome){ r, { hwpt_role(w, arg.pt_id) } };
}

static struct outcome device_detach(struct world *w, const struct op *op)
{
	struct vfio_device_detach_iommufd_pt arg = {
		.argsz = op->x ? (uint32_t)op->x : 8,
		.flags = (uint32_t)op->y,
		.pasid = op->c,
	};

	return plain(ioctl_on(w, w->device_fds[op->a], VFIO_DEVICE_DETACH_IOMMUFD_PT, &arg));
}

static struct outcome device_region_info(struct world *w, const struct op *op)
{
	struct {
		struct vfio_region_info info;
		uint8_t caps[64];
	} arg = { .info = { .argsz = (uint32_t)op->x, .index = w->devices[op->a].bar } };
	int r;

	if (op->y)
		arg.info.index = (uint32_t)op->y;
	r = ioctl_on(w, w->device_fds[op->a], VFIO_DEVICE_GET_REGION_INFO, &arg);
	if (r < 0 || op->y)
		return plain(r);
	return (struct outcome){
		r, { arg.info.argsz, arg.info.flags, arg.info.size, arg.info.offset }
	};
}

static struct outcome device_info(struct world *w, const struct op *op)
{
	struct vfio_device_info arg = { .argsz = sizeof(arg) };
	int r = ioctl_on(w, w->device_fds[op->a], VFIO_DEVICE_GET_INFO, &arg);

	return (struct outcome){ r,
				 { arg.flags & (VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET),
				   arg.num_regions, arg.num_irqs } };
}

static struct outcome device_irq_info(struct world *w, const struct op *op)
{
	struct vfio_irq_info arg = { .argsz = (uint32_t)op->x, .index = (uint32_t)op->y };

	return plain(ioctl_on(w, w->device_fds[op->a], VFIO_DEVICE_GET_IRQ_INFO, &arg));
}

static struct outcome device_set_irqs(struct world *w, const struct op *op)
{
	struct {
		struct vfio_irq_set set;
		int32_t fd;
	} arg = {
		.set = {
			.argsz = sizeof(arg),
			.flags = (uint32_t)op->x,
			.index = op->b,
			.start = (uint32_t)op->y,
			.count = op->c,
		},
		.fd = op->z == 0 ? w->memfds[0] : op->z == 1 ? -1 : w->eventfds[op->z - 2],
	};

	return plain(ioctl_on(w, w->device_fds[op->a], VFIO_DEVICE_SET_IRQS, &arg));
}

static struct outcome eventfd_make(struct world *w, const struct op *op)
{
	return keep_fd(w, &w->eventfds[op->a], k_eventfd(w->kernel, 0, O_CLOEXEC | O_NONBLOCK));
}

/* How often it was signalled since it was read last. */
static struct outcome eventfd_read(struct world *w, const struct op *op)
{
	uint64_t count = 0;
	int64_t r = k_read(w->kernel, w->eventfds[op->a], &count, sizeof(count));

	return (struct outcome){ r, { count } };
}

static struct outcome device_reset(struct world *w, const struct op *op)
{
	return plain(ioctl_on(w, w->device_fds[op->a], VFIO_DEVICE_RESET, NULL));
}

static struct outcome command(struct world *w, const struct op *op)
{
	const uint64_t at = REGION(VFIO_PCI_CONFIG_REGION_INDEX) + PCI_COMMAND;
	uint8_t value[2];
	ssize_t n = k_pread(w->kernel, w->device_fds[op->a], value, 2, at);

	if (n < 0)
		return plain(n);
	value[0] = (uint8_t)((value[0] & ~6U) | (op->x & 6U));
	n = k_pwrite(w->kernel, w->device_fds[op->a], value, op->b ? 1 : 2, at);
	return plain(n);
}

static struct outcome command_read(struct world *w, const struct op *op)
{
	uint8_t value[2] = { 0 };
	ssize_t n = k_pread(w->kernel, w->device_fds[op->a], value, 2,
			    REGION(VFIO_PCI_CONFIG_REGION_INDEX) + PCI_COMMAND);

	return (struct outcome){ n, { value[0] & 6U } };
}

static struct outcome config_bounds(struct world *w, const struct op *op)
{
	uint8_t bytes[16];

	return plain(k_pread(w->kernel, w->device_fds[op->a], bytes, op->b,
			     REGION(VFIO_PCI_CONFIG_REGION_INDEX) + op->x));
}

static struct outcome power(struct world *w, const struct op *op)
{
	const struct device *d = &w->devices[op->a];
	const uint64_t at = REGION(VFIO_PCI_CONFIG_REGION_INDEX) + d->pm + PCI_PM_CTRL;
	uint8_t value[2];
	ssize_t n;

	if (!d->pm)
		return plain(-ENXIO);
	n = k_pread(w->kernel, w->device_fds[op->a], value, 2, at);
	if (n < 0)
		return plain(n);
	value[0] = (uint8_t)((value[0] & ~3U) | op->b);
	n = k_pwrite(w->kernel, w->device_fds[op->a], value, 2, at);
	return plain(n);
}

static struct outcome flr(struct world *w, const struct op *op)
{
	const struct device *d = &w->devices[op->a];
	const uint64_t at = REGION(VFIO_PCI_CONFIG_REGION_INDEX) + d->exp + PCI_EXP_DEVCTL;
	uint8_t value[2];
	ssize_t n;

	if (!d->exp)
		return plain(-ENXIO);
	n = k_pread(w->kernel, w->device_fds[op->a], value, 2, at);
	if (n < 0)
		return plain(n);
	value[1] |= PCI_EXP_DEVCTL_BCR_FLR >> 8;
	return plain(k_pwrite(w->kernel, w->device_fds[op->a], value, 2, at));
}

static struct outcome feature(struct world *w, const struct op *op)
{
	struct {
		struct vfio_device_feature feature;
		uint8_t data[16];
	} arg = { .feature = { .argsz = (uint32_t)op->y, .flags = (uint32_t)op->x } };

	return plain(ioctl_on(w, w->device_fds[op->a], VFIO_DEVICE_FEATURE, &arg));
}

/*
 * Linux puts a device to sleep some time after the call that permits it, and only one that sleeps is
 * woken by the next: whether it does by then is nobody's rule.
 */
static void wait_for_sleep(struct world *w, unsigned device)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/power/runtime_status",
		 w->devices[device].bdf);
	for (unsigned tries = 0; tries < 1000; tries++) {
		int fd = k_open(w->kernel, path, O_RDONLY);

		if (fd < 0)
			return; /* a simulated device sleeps at once */
		memset(text, 0, sizeof(text));
		k_read(w->kernel, fd, text, sizeof(text) - 1);
		k_close(w->kernel, fd);
		if (!strncmp(text, "suspended", 9))
			return;
		usleep(1000);
	}
}

static struct outcome wakeup(struct world *w, const struct op *op)
{
	struct {
		struct vfio_device_feature feature;
		struct vfio_device_low_power_entry_with_wakeup entry;
	} arg = {
		.feature = { .argsz = sizeof(arg),
			     .flags = VFIO_DEVICE_FEATURE_SET |
				      VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP },
		.entry.wakeup_eventfd = op->b < NR_EVENTFDS    ? w->eventfds[op->b]
					: op->b == NR_EVENTFDS ? w->memfds[0]
							       : -1,
	};

	int r = ioctl_on(w, w->device_fds[op->a], VFIO_DEVICE_FEATURE, &arg);

	if (r >= 0)
		wait_for_sleep(w, op->a);
	return plain(r);
}

static struct outcome export_bar(struct world *w, const struct op *op)
{
	struct {
		struct vfio_device_feature feature;
		struct vfio_device_feature_dma_buf buf;
		struct vfio_region_dma_range ranges[2];
	} arg = {
		.feature = {
			.argsz = sizeof(arg),
			.flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF,
		},
		.buf = {
			.region_index = w->devices[op->a].bar,
			.open_flags = O_RDWR | O_CLOEXEC,
			.flags = op->z == 1,
			.nr_ranges = op->c,
		},
		.ranges = { { op->x, op->y }, { op->x + op->y, op->y } },
	};

	if (op->z >= 2)
		arg.buf.region_index = (uint32_t)op->z;
	return keep_fd(w, &w->dmabufs[op->b],
		       ioctl_on(w, w->device_fds[op->a], VFIO_DEVICE_FEATURE, &arg));
}

static struct outcome dmabuf_seek(struct world *w, const struct op *op)
{
	struct stat st = { 0 };
	int64_t r = k_lseek(w->kernel, w->dmabufs[op->a], (int64_t)op->x, (int)op->b);

	k_fstat(w->kernel, w->dmabufs[op->a], &st);
	return (struct outcome){ r, { (uint64_t)st.st_size, st.st_mode } };
}

static struct outcome dmabuf_sync(struct world *w, const struct op *op)
{
	struct dma_buf_sync arg = { .flags = op->x };

	return plain(ioctl_on(w, w->dmabufs[op->a], DMA_BUF_IOCTL_SYNC, &arg));
}

static struct outcome dmabuf_close(struct world *w, const struct op *op)
{
	int fd = w->dmabufs[op->a];

	w->dmabufs[op->a] = -1;
	return plain(fd < 0 ? -EBADF : k_close(w->kernel, fd));
}

static struct outcome bar_map(struct world *w, const struct op *op)
{
	void *addr = NULL;
	int r;

	if (w->mappings[op->b])
		k_munmap(w->kernel, w->mappings[op->b], w->mapping_lengths[op->b]);
	w->mappings[op->b] = NULL;
	r = k_mmap(w->kernel, op->y, PROT_READ | PROT_WRITE, op->c ? MAP_PRIVATE : MAP_SHARED,
		   w->device_fds[op->a], REGION(op->z ? op->z : w->devices[op->a].bar) + op->x,
		   &addr);
	if (r < 0)
		return plain(r);
	w->mappings[op->b] = addr;
	w->mapping_lengths[op->b] = op->y;
	return plain(1);
}

static struct outcome bar_unmap(struct world *w, const struct op *op)
{
	void *addr = w->mappings[op->a];

	w->mappings[op->a] = NULL;
	return plain(addr ? k_munmap(w->kernel, addr, w->mapping_lengths[op->a]) : -EINVAL);
}

static sigjmp_buf no_memory;

static void on_sigbus(int signal)
{
	siglongjmp(no_memory, signal);
}

/* Whether a BAR's mapping has memory behind it. */
static struct outcome bar_touch(struct world *w, const struct op *op)
{
	const volatile uint8_t *addr = w->mappings[op->a];
	struct sigaction action = { .sa_handler = on_sigbus }, before;
	int r = 0;

	if (!addr)
		return plain(-EINVAL);
	sigaction(SIGBUS, &action, &before);
	if (sigsetjmp(no_memory, 1))
		r = -EFAULT;
	else
		(void)*addr;
	sigaction(SIGBUS, &before, NULL);
	return plain(r);
}

static struct outcome bar_read(struct world *w, const struct op *op)
{
	uint8_t bytes[64];

	return plain(k_pread(w->kernel, w->device_fds[op->a], bytes, op->b,
			     REGION(op->c ? op->c : w->devices[op->a].bar) + op->x));
}

static struct outcome hot_reset(struct world *w, const struct op *op)
{
	struct vfio_pci_hot_reset arg = {
		.argsz = op->x ? (uint32_t)op->x : sizeof(arg),
		.flags = op->b,
		.count = op->c,
	};

	return plain(ioctl_on(w, w->device_fds[op->a], VFIO_DEVICE_PCI_HOT_RESET, &arg));
}

/* Whose a device of the set is: 1 nobody's that counts, 2 the group's owner's, 3 open by its id. */
static uint64_t whose(const struct world *w, unsigned device, uint32_t devid)
{
	if (devid == (uint32_t)VFIO_PCI_DEVID_NOT_OWNED)
		return 1;
	if (devid == VFIO_PCI_DEVID_OWNED)
		return 2;
	return devid == w->devids[device] ? 3 : 4;
}

static struct outcome hot_reset_info(struct world *w, const struct op *op)
{
	struct {
		struct vfio_pci_hot_reset_info head;
		struct vfio_pci_dependent_device devices[4];
	} arg = { .head = { .argsz = (uint32_t)op->x } };
	int r = ioctl_on(w, w->device_fds[op->a], VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &arg);
	struct outcome o = { r, { arg.head.count, arg.head.flags } };
	char bdf[16];

	for (uint32_t i = 0; !r && i < arg.head.count && i < SIZE(arg.devices); i++) {
		const struct vfio_pci_dependent_device *one = &arg.devices[i];

		snprintf(bdf, sizeof(bdf), "%04x:%02x:%02x.%x", one->segment, one->bus,
			 one->devfn >> 3, one->devfn & 7U);
		for (unsigned d = 0; d < NR_DEVICES; d++)
			if (!strcmp(bdf, w->devices[d].bdf))
				o.out[2] |= whose(w, d, one->devid) << 8 * d;
	}
	return o;
}

/* ---------------------------------------------------------------- iommufd ------------------- */

static struct outcome iommufd_open(struct world *w, const struct op *op)
{
	return keep_fd(w, &w->iommufds[op->a], k_open(w->kernel, "/dev/iommu", O_RDWR | O_CLOEXEC));
}

static struct outcome ioas_alloc(struct world *w, const struct op *op)
{
	struct iommu_ioas_alloc arg = { .size = op->x ? (uint32_t)op->x : sizeof(arg),
					.flags = op->c };
	int r = ioctl_on(w, w->iommufds[op->b], IOMMU_IOAS_ALLOC, &arg);

	if (r >= 0) {
		w->ioases[op->a] = arg.out_ioas_id;
		w->ioas_owner[op->a] = op->b;
	}
	return plain(r);
}

static struct outcome destroy(struct world *w, const struct op *op)
{
	struct iommu_destroy arg = { .size = sizeof(arg) };
	bool is_ioas = op->a < NR_IOASES;
	uint32_t *id = is_ioas ? &w->ioases[op->a] : &w->hwpts[op->a - NR_IOASES];
	int fd = is_ioas ? ioas_fd(w, op->a) : w->iommufds[w->hwpt_owner[op->a - NR_IOASES]];
	int r;

	arg.id = id_or_none(*id);
	r = ioctl_on(w, fd, IOMMU_DESTROY, &arg);
	if (r >= 0)
		*id = 0;
	return plain(r);
}

static struct outcome map_va(struct world *w, const struct op *op)
{
	struct iommu_ioas_map arg = {
		.size = sizeof(arg),
		.flags = op->c,
		.ioas_id = id_or_none(w->ioases[op->a]),
		.__reserved = op->b,
		.user_va = va(w, op->x),
		.length = op->y,
		.iova = op->z,
	};
	int r = ioctl_on(w, ioas_fd(w, op->a), IOMMU_IOAS_MAP, &arg);

	return (struct outcome){ r, { r < 0 ? 0 : arg.iova } };
}

static int some_file(const struct world *w, uint32_t which)
{
	if (which < NR_DMABUFS)
		return w->dmabufs[which];
	which -= NR_DMABUFS;
	if (which < NR_MEMFDS)
		return w->memfds[which];
	which -= NR_MEMFDS;
	return which < NR_GMEMS ? w->gmems[which] : -1;
}

static struct outcome map_file(struct world *w, const struct op *op)
{
	struct iommu_ioas_map_file arg = {
		.size = sizeof(arg),
		.flags = op->c,
		.ioas_id = id_or_none(w->ioases[op->a]),
		.fd = some_file(w, op->b),
		.start = op->x,
		.length = op->y,
		.iova = op->z,
	};
	int r = ioctl_on(w, ioas_fd(w, op->a), IOMMU_IOAS_MAP_FILE, &arg);

	return (struct outcome){ r, { r < 0 ? 0 : arg.iova } };
}

static struct outcome unmap(struct world *w, const struct op *op)
{
	struct iommu_ioas_unmap arg = {
		.size = sizeof(arg),
		.ioas_id = id_or_none(w->ioases[op->a]),
		.iova = op->x,
		.length = op->y,
	};
	int r = ioctl_on(w, ioas_fd(w, op->a), IOMMU_IOAS_UNMAP, &arg);

	return (struct outcome){ r, { arg.length } };
}

static struct outcome copy(struct world *w, const struct op *op)
{
	struct iommu_ioas_copy arg = {
		.size = sizeof(arg),
		.flags = op->c,
		.dst_ioas_id = id_or_none(w->ioases[op->a]),
		.src_ioas_id = id_or_none(w->ioases[op->b]),
		.length = op->y,
		.dst_iova = op->z,
		.src_iova = op->x,
	};
	int r = ioctl_on(w, ioas_fd(w, op->a), IOMMU_IOAS_COPY, &arg);

	return (struct outcome){ r, { r < 0 ? 0 : arg.dst_iova } };
}

static struct outcome iova_ranges(struct world *w, const struct op *op)
{
	struct iommu_iova_range ranges[8] = { { 0 } };
	struct iommu_ioas_iova_ranges arg = {
		.size = sizeof(arg),
		.ioas_id = id_or_none(w->ioases[op->a]),
		.num_iovas = op->b,
		.allowed_iovas = (uintptr_t)ranges,
	};
	int r = ioctl_on(w, ioas_fd(w, op->a), IOMMU_IOAS_IOVA_RANGES, &arg);
	struct outcome o = { r, { arg.num_iovas, arg.out_iova_alignment } };

	for (size_t i = 0; i < SIZE(ranges); i++) {
		o.out[2] = o.out[2] * 31 + ranges[i].start;
		o.out[3] = o.out[3] * 31 + ranges[i].last;
	}
	return o;
}

static struct outcome allow_iovas(struct world *w, const struct op *op)
{
	struct iommu_iova_range ranges[2] = { { op->x, op->x + op->y }, { op->z, op->z + op->y } };
	struct iommu_ioas_allow_iovas arg = {
		.size = sizeof(arg),
		.ioas_id = id_or_none(w->ioases[op->a]),
		.num_iovas = op->b,
		.allowed_iovas = (uintptr_t)ranges,
	};

	return plain(ioctl_on(w, ioas_fd(w, op->a), IOMMU_IOAS_ALLOW_IOVAS, &arg));
}

static struct outcome option(struct world *w, const struct op *op)
{
	struct iommu_option arg = {
		.size = sizeof(arg),
		.option_id = op->b,
		.op = (uint16_t)op->c,
		.object_id = op->b == IOMMU_OPTION_HUGE_PAGES ? id_or_none(w->ioases[op->a]) : 0,
		.val64 = op->x,
	};
	int r = ioctl_on(w, ioas_fd(w, op->a), IOMMU_OPTION, &arg);

	return (struct outcome){ r, { r < 0 ? 0 : arg.val64 } };
}

static struct outcome hwpt_alloc(struct world *w, const struct op *op)
{
	struct iommu_hwpt_alloc arg = {
		.size = sizeof(arg),
		.flags = op->c,
		.dev_id = id_or_none(w->devids[op->a]),
		.pt_id = op->x ? NO_SUCH_ID : id_or_none(w->ioases[op->b]),
	};
	uint32_t place = (uint32_t)op->y;
	int r = ioctl_on(w, ioas_fd(w, op->b), IOMMU_HWPT_ALLOC, &arg);

	if (r >= 0) {
		w->hwpts[place] = arg.out_hwpt_id;
		w->hwpt_owner[place] = w->ioas_owner[op->b];
	}
	return plain(r);
}

/* Whether a page is mapped in an IOAS: a copy of it into an IOAS of its own says so. */
static struct outcome probe_iova(struct world *w, const struct op *op)
{
	struct iommu_ioas_alloc scratch = { .size = sizeof(scratch) };
	struct iommu_destroy end = { .size = sizeof(end) };
	int fd = ioas_fd(w, op->a), r;

	r = ioctl_on(w, fd, IOMMU_IOAS_ALLOC, &scratch);
	if (r < 0)
		return plain(r);
	struct iommu_ioas_copy arg = {
		.size = sizeof(arg),
		.flags = IOMMU_IOAS_MAP_READABLE | (op->c ? IOMMU_IOAS_MAP_WRITEABLE : 0),
		.dst_ioas_id = scratch.out_ioas_id,
		.src_ioas_id = id_or_none(w->ioases[op->a]),
		.length = op->y,
		.src_iova = op->x,
	};
	r = ioctl_on(w, fd, IOMMU_IOAS_COPY, &arg);
	end.id = scratch.out_ioas_id;
	ioctl_on(w, fd, IOMMU_DESTROY, &end);
	return plain(r);
}

/* ---------------------------------------------------------------- memory -------------------- */

static struct outcome memfd(struct world *w, const struct op *op)
{
	int fd = k_memfd_create(w->kernel, "differential", 0);

	if (fd >= 0)
		k_ftruncate(w->kernel, fd, op->x);
	return keep_fd(w, &w->memfds[op->a], fd);
}

/* ---------------------------------------------------------------- KVM ----------------------- */

static struct outcome vm_create(struct world *w, const struct op *op)
{
	int kvm = k_open(w->kernel, "/dev/kvm", O_RDWR | O_CLOEXEC);
	int fd;

	if (kvm < 0)
		return plain(kvm);
	fd = k_ioctl(w->kernel, kvm, KVM_CREATE_VM, (void *)(uintptr_t)op->x);
	k_close(w->kernel, kvm);
	return keep_fd(w, &w->vms[op->a], fd);
}

static uint64_t slot_memory(const struct world *w, const struct op *op)
{
	/* Where nothing is needs not be mapped; x may be any. */
	return va(w, op->x);
}

static struct outcome set_slot(struct world *w, const struct op *op)
{
	struct kvm_userspace_memory_region arg = {
		.slot = op->b,
		.flags = op->c,
		.guest_phys_addr = op->z,
		.memory_size = op->y,
		.userspace_addr = slot_memory(w, op),
	};

	return plain(ioctl_on(w, w->vms[op->a], KVM_SET_USER_MEMORY_REGION, &arg));
}

static struct outcome set_slot2(struct world *w, const struct op *op)
{
	struct kvm_userspace_memory_region2 arg = {
		.slot = op->b & 0xff,
		.flags = op->c,
		.guest_phys_addr = op->z,
		.memory_size = op->y,
		.userspace_addr = va(w, op->x & ~0xfULL),
		.guest_memfd = (uint32_t)w->gmems[(op->b >> 8) % NR_GMEMS],
		.guest_memfd_offset = (op->x & 0xf) * PAGE,
	};

	return plain(ioctl_on(w, w->vms[op->a], KVM_SET_USER_MEMORY_REGION2, &arg));
}

static struct outcome gmem_create(struct world *w, const struct op *op)
{
	struct kvm_create_guest_memfd arg = { .size = op->x, .flags = op->y };

	return keep_fd(w, &w->gmems[op->b],
		       ioctl_on(w, w->vms[op->a], KVM_CREATE_GUEST_MEMFD, &arg));
}

static struct outcome gmem_punch(struct world *w, const struct op *op)
{
	return plain(k_fallocate(w->kernel, w->gmems[op->a], (int)op->b, op->x, op->y));
}

static struct outcome gmem_close(struct world *w, const struct op *op)
{
	int fd = w->gmems[op->a];

	w->gmems[op->a] = -1;
	return plain(fd < 0 ? -EBADF : k_close(w->kernel, fd));
}

static struct outcome attributes(struct world *w, const struct op *op)
{
	struct kvm_memory_attributes arg = {
		.address = op->x,
		.size = op->y,
		.attributes = op->b,
		.flags = op->c,
	};

	return plain(ioctl_on(w, w->vms[op->a], KVM_SET_MEMORY_ATTRIBUTES, &arg));
}

static struct outcome dirty_log(struct world *w, const struct op *op)
{
	/* A bit for each page of the longest slot that some_length() makes. */
	static uint64_t bitmap[(1ULL << 32) / PAGE / 64];
	struct kvm_dirty_log arg = { .slot = op->b, .dirty_bitmap = bitmap };

	return plain(ioctl_on(w, w->vms[op->a], KVM_GET_DIRTY_LOG, &arg));
}

static struct outcome dirty_clear(struct world *w, const struct op *op)
{
	static uint64_t bitmap[(1ULL << 32) / PAGE / 64];
	struct kvm_clear_dirty_log arg = {
		.slot = op->b,
		.num_pages = op->c,
		.first_page = op->x,
		.dirty_bitmap = bitmap,
	};

	return plain(ioctl_on(w, w->vms[op->a], KVM_CLEAR_DIRTY_LOG, &arg));
}

static struct outcome kvm_vfio_create(struct world *w, const struct op *op)
{
	struct kvm_create_device arg = { .type = KVM_DEV_TYPE_VFIO, .flags = op->c };
	int r = ioctl_on(w, w->vms[op->a], KVM_CREATE_DEVICE, &arg);

	return r < 0 || op->c ? plain(r) : keep_fd(w, &w->kvm_vfios[op->a], (int)arg.fd);
}

static struct outcome kvm_vfio_file(struct world *w, const struct op *op)
{
	int32_t fd = op->b < NR_DEVICES ? w->device_fds[op->b] : w->memfds[0];
	struct kvm_device_attr arg = {
		.group = op->c,
		.attr = op->x,
		.addr = (uintptr_t)&fd,
	};

	return plain(ioctl_on(w, w->kvm_vfios[op->a], KVM_SET_DEVICE_ATTR, &arg));
}

static struct outcome kvm_vfio_close(struct world *w, const struct op *op)
{
	int fd = w->kvm_vfios[op->a];

	w->kvm_vfios[op->a] = -1;
	return plain(fd < 0 ? -EBADF : k_close(w->kernel, fd));
}

static struct outcome vm_close(struct world *w, const struct op *op)
{
	int fd = w->vms[op->a];

	w->vms[op->a] = -1;
	return plain(fd < 0 ? -EBADF : k_close(w->kernel, fd));
}

/* ---------------------------------------------------------------- the table ----------------- */

/* How an operation's numbers are drawn. */
enum shape {
	DEVICE, /* a: device */
	IOAS,	/* a: IOAS */
	VM,	/* a: VM */
	OTHER,
};

struct kind {
	const char *name;
	struct outcome (*run)(struct world *world, const struct op *op);
	void (*draw)(struct op *op, uint64_t *seed);
	enum shape shape;
	unsigned weight;
};

static void draw_nothing(struct op *op, uint64_t *seed)
{
	(void)op;
	(void)seed;
}

static void draw_hot_reset_info(struct op *op, uint64_t *seed)
{
	static const uint64_t argsz[] = { 11, 12, 27, 28, 43, 44, 76 };

	op->x = argsz[pick(seed, SIZE(argsz))];
}

static void draw_bind(struct op *op, uint64_t *seed)
{
	op->b = once_in(seed, 20) ? NR_IOMMUFDS : once_in(seed, 8);
	op->x = once_in(seed, 20) ? pick(seed, 24) : 0;
	op->y = once_in(seed, 20) ? pick(seed, 3) * 2 : 0;
}

static void draw_attach(struct op *op, uint64_t *seed)
{
	static const uint32_t pasids[] = { 1, INT32_MAX, 1U << 31, (uint32_t)-EINVAL, UINT32_MAX };

	op->b = (uint32_t)pick(seed, NR_IOASES + NR_HWPTS + 1);
	op->x = once_in(seed, 16) ? pick(seed, 20) : 0;
	op->y = once_in(seed, 16) ? pick(seed, 4) : 0;
	/* PASID 0 is the device itself. */
	if (once_in(seed, 8)) {
		op->x = sizeof(struct vfio_device_attach_iommufd_pt);
		op->y = VFIO_DEVICE_ATTACH_PASID;
		op->c = once_in(seed, 3) ? pasids[pick(seed, SIZE(pasids))] : 0;
	}
}

static void draw_argsz(struct op *op, uint64_t *seed)
{
	static const uint64_t argsz[] = { 0, 15, 16, 20, 24, 31, 32, 40, 96 };

	op->x = argsz[pick(seed, SIZE(argsz))];
	op->y = once_in(seed, 3) ? 6 + pick(seed, 5) : 0;
}

static void draw_irq_info(struct op *op, uint64_t *seed)
{
	op->x = 15 + pick(seed, 3);
	op->y = once_in(seed, 2) ? VFIO_PCI_REQ_IRQ_INDEX : 5 + pick(seed, 2);
}

static void draw_set_irqs(struct op *op, uint64_t *seed)
{
	static const uint32_t flags[] = { 0x24, 0x21, 0x22, 0x20, 0x0c, 0x14, 0x25, 0x64, 0x3c };

	op->b = once_in(seed, 8) ? 5 : VFIO_PCI_REQ_IRQ_INDEX;
	op->x = flags[pick(seed, SIZE(flags))];
	op->y = once_in(seed, 8);
	op->c = (uint32_t)pick(seed, 3);
	op->z = pick(seed, 2 + NR_EVENTFDS);
	if (once_in(seed, 2)) {
		op->b = VFIO_PCI_REQ_IRQ_INDEX;
		op->x = VFIO_IRQ_SET_ACTION_TRIGGER | 1U << pick(seed, 3);
		op->y = 0;
		op->c = 1;
		op->z = 2 + pick(seed, NR_EVENTFDS);
	}
}

static void draw_eventfd(struct op *op, uint64_t *seed)
{
	op->a = (uint32_t)pick(seed, NR_EVENTFDS);
}

static void draw_command(struct op *op, uint64_t *seed)
{
	op->x = pick(seed, 4) * 2;
	op->b = (uint32_t)pick(seed, 2);
}

static void draw_config_bounds(struct op *op, uint64_t *seed)
{
	static const uint64_t at[] = { 0, 1, 0x3e, 0xf8, 0xff, 0x100, 0x1000, 0xffc };

	op->x = at[pick(seed, SIZE(at))];
	op->b = (uint32_t)pick(seed, 9);
}

static void draw_power(struct op *op, uint64_t *seed)
{
	op->b = once_in(seed, 2) ? 3 : 0;
}

static void draw_feature(struct op *op, uint64_t *seed)
{
	static const uint32_t probes[] = { 3, 4, 5, 11, 14, 99, 1, 6 };

	op->x = probes[pick(seed, SIZE(probes))];
	op->x |= VFIO_DEVICE_FEATURE_PROBE;
	op->x |= pick(seed, 4) << 16;
	op->x |= once_in(seed, 10) ? 1U << 19 : 0;
	op->y = once_in(seed, 8) ? pick(seed, 9) : 24;
}

static void draw_low_power(struct op *op, uint64_t *seed)
{
	op->x = VFIO_DEVICE_FEATURE_SET | (once_in(seed, 2) ? VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY
							    : VFIO_DEVICE_FEATURE_LOW_POWER_EXIT);
	op->y = 8;
}

static void draw_wakeup(struct op *op, uint64_t *seed)
{
	op->b = (uint32_t)(once_in(seed, 6) ? pick(seed, NR_EVENTFDS + 2)
					    : pick(seed, NR_EVENTFDS));
}

static void draw_sync(struct op *op, uint64_t *seed)
{
	op->a = (uint32_t)pick(seed, NR_DMABUFS);
	op->x = pick(seed, 16);
}

static void draw_export(struct op *op, uint64_t *seed)
{
	op->b = (uint32_t)pick(seed, NR_DMABUFS);
	op->c = once_in(seed, 8) ? (uint32_t)pick(seed, 3) : 1;
	op->x = once_in(seed, 12) ? some_offset(seed) : pick(seed, 3) * PAGE;
	op->y = once_in(seed, 12) ? some_length(seed) : (1 + pick(seed, 2)) * PAGE;
	op->z = once_in(seed, 16) ? 1 + pick(seed, 1) : 0;
	if (once_in(seed, 20))
		op->z = 6 + pick(seed, 4);
}

static void draw_seek(struct op *op, uint64_t *seed)
{
	op->a = (uint32_t)pick(seed, NR_DMABUFS);
	op->b = (uint32_t)pick(seed, 5);
	op->x = once_in(seed, 3) ? pick(seed, 3) : 0;
}

static void draw_dmabuf(struct op *op, uint64_t *seed)
{
	op->a = (uint32_t)pick(seed, NR_DMABUFS);
}

static void draw_bar_map(struct op *op, uint64_t *seed)
{
	op->b = (uint32_t)pick(seed, NR_MAPPINGS);
	op->c = once_in(seed, 10);
	op->x = once_in(seed, 10) ? 1ULL << 30 : pick(seed, 3) * PAGE;
	op->y = (1 + pick(seed, 2)) * PAGE;
	op->z = once_in(seed, 12) ? 6 + pick(seed, 4) : 0;
}

static void draw_mapping(struct op *op, uint64_t *seed)
{
	op->a = (uint32_t)pick(seed, NR_MAPPINGS);
}

static void draw_bar_read(struct op *op, uint64_t *seed)
{
	op->b = (uint32_t)pick(seed, 9);
	op->c = once_in(seed, 12) ? 9 : 0;
	op->x = once_in(seed, 4) ? pick(seed, 3) << 30 : pick(seed, 16) * 4;
}

static void draw_hot_reset(struct op *op, uint64_t *seed)
{
	op->x = once_in(seed, 6) ? 8 : 0;
	op->b = once_in(seed, 6);
	op->c = once_in(seed, 6);
}

static void draw_iommufd(struct op *op, uint64_t *seed)
{
	op->a = !once_in(seed, 6);
}

static void draw_ioas_alloc(struct op *op, uint64_t *seed)
{
	op->b = once_in(seed, 8);
	op->c = once_in(seed, 20);
	op->x = once_in(seed, 20) ? pick(seed, 12) : 0;
}

static void draw_destroy(struct op *op, uint64_t *seed)
{
	op->a = (uint32_t)pick(seed, NR_IOASES + NR_HWPTS);
}

static void draw_map_va(struct op *op, uint64_t *seed)
{
	op->b = once_in(seed, 40);
	op->c = some_map_flags(seed);
	op->x = some_offset(seed);
	op->y = some_length(seed);
	op->z = some_iova(seed);
}

static void draw_map_file(struct op *op, uint64_t *seed)
{
	op->b = (uint32_t)(once_in(seed, 3) ? pick(seed, NR_DMABUFS + NR_MEMFDS + NR_GMEMS + 1)
					    : pick(seed, NR_DMABUFS));
	op->c = some_map_flags(seed);
	op->x = once_in(seed, 3) ? some_offset(seed) : 0;
	op->y = once_in(seed, 3) ? some_length(seed) : PAGE;
	op->z = some_iova(seed);
}

static void draw_unmap(struct op *op, uint64_t *seed)
{
	op->x = some_iova(seed);
	op->y = some_length(seed);
	if (once_in(seed, 16)) {
		op->x = 0;
		op->y = UINT64_MAX;
	}
}

static void draw_copy(struct op *op, uint64_t *seed)
{
	op->b = once_in(seed, 2) ? 0 : (uint32_t)pick(seed, NR_IOASES);
	op->c = some_map_flags(seed);
	op->x = some_iova(seed);
	op->y = some_length(seed);
	op->z = some_iova(seed);
}

static void draw_iova_ranges(struct op *op, uint64_t *seed)
{
	op->b = (uint32_t)pick(seed, 9);
}

static void draw_allow(struct op *op, uint64_t *seed)
{
	op->b = (uint32_t)pick(seed, 3);
	op->x = once_in(seed, 4) ? some_iova(seed) : 0x100000;
	op->y = once_in(seed, 4) ? some_length(seed) : 0x3ffff;
	op->z = once_in(seed, 4) ? some_iova(seed) : 0x200000;
}

static void draw_option(struct op *op, uint64_t *seed)
{
	op->b = (uint32_t)(once_in(seed, 8) ? pick(seed, 4) : IOMMU_OPTION_HUGE_PAGES);
	op->c = (uint32_t)(once_in(seed, 10) ? 2 : pick(seed, 2));
	op->x = once_in(seed, 10) ? 2 : pick(seed, 2);
}

static void draw_hwpt(struct op *op, uint64_t *seed)
{
	op->b = (uint32_t)pick(seed, NR_IOASES);
	op->x = once_in(seed, 10);
	op->y = pick(seed, NR_HWPTS);
}

static void draw_probe(struct op *op, uint64_t *seed)
{
	op->c = (uint32_t)pick(seed, 2);
	op->x = 0x100000 + pick(seed, 16) * PAGE;
	op->y = once_in(seed, 4) ? some_length(seed) : PAGE;
}

static void draw_memfd(struct op *op, uint64_t *seed)
{
	op->a = (uint32_t)pick(seed, NR_MEMFDS);
	op->x = pick(seed, 5) * PAGE + (once_in(seed, 6) ? 0x10 : 0);
}

static void draw_vm_create(struct op *op, uint64_t *seed)
{
	op->x = once_in(seed, 12) ? 31 + pick(seed, 3) : pick(seed, 2);
}

static uint64_t some_gpa(uint64_t *seed)
{
	static const uint64_t odd[] = { 1, 0x800, 1ULL << 52, 1ULL << 62, UINT64_MAX - 0xfff };

	return once_in(seed, 12) ? odd[pick(seed, SIZE(odd))] : 0x100000 + pick(seed, 16) * PAGE;
}

static uint64_t some_slot_length(uint64_t *seed)
{
	return once_in(seed, 4)	   ? 0
	       : once_in(seed, 12) ? some_length(seed)
				   : (1 + pick(seed, 4)) * PAGE;
}

static void draw_slot(struct op *op, uint64_t *seed)
{
	op->b = once_in(seed, 16) ? (uint32_t)(32762 + pick(seed, 4) + (pick(seed, 3) << 16))
				  : (uint32_t)pick(seed, 6);
	op->c = once_in(seed, 12) ? (uint32_t)(1U << pick(seed, 6)) : (uint32_t)pick(seed, 4);
	op->x = pick(seed, 4) * PAGE + (once_in(seed, 20) ? 1 : 0);
	op->y = some_slot_length(seed);
	op->z = some_gpa(seed);
}

static void draw_slot2(struct op *op, uint64_t *seed)
{
	draw_slot(op, seed);
	op->b = (uint32_t)(pick(seed, 6) | pick(seed, NR_GMEMS) << 8);
	op->c = once_in(seed, 4) ? (uint32_t)pick(seed, 16) : KVM_MEM_GUEST_MEMFD;
	op->x = pick(seed, 4) * PAGE | (once_in(seed, 2) ? 0 : pick(seed, 4));
}

static void draw_gmem(struct op *op, uint64_t *seed)
{
	op->b = (uint32_t)pick(seed, NR_GMEMS);
	op->x = once_in(seed, 8) ? some_length(seed) : (1 + pick(seed, 8)) * PAGE;
	op->y = once_in(seed, 3) ? pick(seed, 5) : 0;
	/* Not the lengths that only run the machine out of memory. */
	if (op->x > 1ULL << 32 && op->x < 1ULL << 63)
		op->x = 0;
}

static void draw_punch(struct op *op, uint64_t *seed)
{
	static const uint32_t modes[] = { 3, 3, 3, 0, 1, 2, 0x11 };

	op->a = (uint32_t)pick(seed, NR_GMEMS);
	op->b = modes[pick(seed, SIZE(modes))];
	op->x = once_in(seed, 6) ? some_offset(seed) : pick(seed, 4) * PAGE;
	op->y = once_in(seed, 6) ? some_length(seed) : (1 + pick(seed, 2)) * PAGE;
}

static void draw_gmem_close(struct op *op, uint64_t *seed)
{
	op->a = (uint32_t)pick(seed, NR_GMEMS);
}

static void draw_attributes(struct op *op, uint64_t *seed)
{
	op->b = once_in(seed, 10) ? (uint32_t)pick(seed, 16) : (uint32_t)pick(seed, 2) * 8;
	op->c = once_in(seed, 20);
	op->x = some_gpa(seed);
	op->y = once_in(seed, 10) ? some_length(seed) : (1 + pick(seed, 4)) * PAGE;
	/* A range of petabytes is legal, and takes the kernel for ever. */
	if (op->y > 1ULL << 30 && op->x + op->y >= op->x)
		op->y = PAGE;
}

static void draw_clear(struct op *op, uint64_t *seed)
{
	op->b = (uint32_t)pick(seed, 6);
	op->c = (uint32_t)(once_in(seed, 4) ? pick(seed, 200) : 1 + pick(seed, 4));
	op->x = once_in(seed, 4) ? pick(seed, 200) : 0;
}

static void draw_kvm_vfio(struct op *op, uint64_t *seed)
{
	op->c = once_in(seed, 4);
}

static void draw_kvm_vfio_file(struct op *op, uint64_t *seed)
{
	op->b = (uint32_t)(once_in(seed, 2) ? 0 : pick(seed, NR_DEVICES + 1));
	op->c = once_in(seed, 10) ? (uint32_t)pick(seed, 4) : KVM_DEV_VFIO_FILE;
	op->x = once_in(seed, 10) ? pick(seed, 4) : 1 + pick(seed, 2);
}

static void draw_dirty(struct op *op, uint64_t *seed)
{
	op->b = once_in(seed, 10) ? 0x20000 : (uint32_t)pick(seed, 6);
}

static const struct kind kinds[] = {
	{ "iommufd_open", iommufd_open, draw_iommufd, OTHER, 3 },
	{ "device_open", device_open, draw_nothing, DEVICE, 6 },
	{ "device_close", device_close, draw_nothing, DEVICE, 2 },
	{ "device_bind", device_bind, draw_bind, DEVICE, 16 },
	{ "device_attach", device_attach, draw_attach, DEVICE, 16 },
	{ "device_detach", device_detach, draw_attach, DEVICE, 4 },
	{ "device_region_info", device_region_info, draw_argsz, DEVICE, 6 },
	{ "device_info", device_info, draw_nothing, DEVICE, 2 },
	{ "device_irq_info", device_irq_info, draw_irq_info, DEVICE, 2 },
	{ "device_set_irqs", device_set_irqs, draw_set_irqs, DEVICE, 6 },
	{ "eventfd_make", eventfd_make, draw_eventfd, OTHER, 2 },
	{ "eventfd_read", eventfd_read, draw_eventfd, OTHER, 4 },
	{ "device_reset", device_reset, draw_nothing, DEVICE, 2 },
	{ "command", command, draw_command, DEVICE, 14 },
	{ "command_read", command_read, draw_nothing, DEVICE, 6 },
	{ "config_bounds", config_bounds, draw_config_bounds, DEVICE, 4 },
	{ "power", power, draw_power, DEVICE, 2 },
	{ "flr", flr, draw_nothing, DEVICE, 1 },
	{ "feature", feature, draw_feature, DEVICE, 4 },
	{ "low_power", feature, draw_low_power, DEVICE, 3 },
	{ "wakeup", wakeup, draw_wakeup, DEVICE, 3 },
	{ "export", export_bar, draw_export, DEVICE, 20 },
	{ "dmabuf_seek", dmabuf_seek, draw_seek, OTHER, 4 },
	{ "dmabuf_sync", dmabuf_sync, draw_sync, OTHER, 2 },
	{ "dmabuf_close", dmabuf_close, draw_dmabuf, OTHER, 2 },
	{ "bar_map", bar_map, draw_bar_map, DEVICE, 5 },
	{ "bar_unmap", bar_unmap, draw_mapping, OTHER, 3 },
	{ "bar_touch", bar_touch, draw_mapping, OTHER, 6 },
	{ "bar_read", bar_read, draw_bar_read, DEVICE, 6 },
	{ "hot_reset", hot_reset, draw_hot_reset, DEVICE, 2 },
	{ "hot_reset_info", hot_reset_info, draw_hot_reset_info, DEVICE, 3 },
	{ "ioas_alloc", ioas_alloc, draw_ioas_alloc, IOAS, 14 },
	{ "destroy", destroy, draw_destroy, OTHER, 2 },
	{ "map_va", map_va, draw_map_va, IOAS, 40 },
	{ "map_file", map_file, draw_map_file, IOAS, 40 },
	{ "unmap", unmap, draw_unmap, IOAS, 30 },
	{ "copy", copy, draw_copy, IOAS, 24 },
	{ "iova_ranges", iova_ranges, draw_iova_ranges, IOAS, 10 },
	{ "allow_iovas", allow_iovas, draw_allow, IOAS, 6 },
	{ "option", option, draw_option, IOAS, 4 },
	{ "hwpt_alloc", hwpt_alloc, draw_hwpt, DEVICE, 5 },
	{ "probe_iova", probe_iova, draw_probe, IOAS, 30 },
	{ "memfd", memfd, draw_memfd, OTHER, 5 },
	{ "vm_create", vm_create, draw_vm_create, VM, 4 },
	{ "vm_close", vm_close, draw_nothing, VM, 1 },
	{ "set_slot", set_slot, draw_slot, VM, 30 },
	{ "set_slot2", set_slot2, draw_slot2, VM, 30 },
	{ "gmem_create", gmem_create, draw_gmem, VM, 10 },
	{ "gmem_punch", gmem_punch, draw_punch, OTHER, 8 },
	{ "gmem_close", gmem_close, draw_gmem_close, OTHER, 2 },
	{ "attributes", attributes, draw_attributes, VM, 14 },
	{ "dirty_log", dirty_log, draw_dirty, VM, 6 },
	{ "dirty_clear", dirty_clear, draw_clear, VM, 3 },
	{ "kvm_vfio_create", kvm_vfio_create, draw_kvm_vfio, VM, 4 },
	{ "kvm_vfio_file", kvm_vfio_file, draw_kvm_vfio_file, VM, 6 },
	{ "kvm_vfio_close", kvm_vfio_close, draw_nothing, VM, 2 },
};

static unsigned total_weight(void)
{
	unsigned total = 0;

	for (size_t i = 0; i < SIZE(kinds); i++)
		total += kinds[i].weight;
	return total;
}

struct op op_random(uint64_t *seed)
{
	static const uint32_t places[] = {
		[DEVICE] = NR_DEVICES, [IOAS] = NR_IOASES, [VM] = NR_VMS, [OTHER] = 1
	};
	uint64_t at = pick(seed, total_weight());
	struct op op = { 0 };

	while (at >= kinds[op.code].weight)
		at -= kinds[op.code++].weight;
	/* The first of its kind is used most, so that things come together. */
	op.a = once_in(seed, 2) ? 0 : (uint32_t)pick(seed, places[kinds[op.code].shape]);
	kinds[op.code].draw(&op, seed);
	return op;
}

/* What most histories begin with, so that they come to something. */
static const struct {
	const char *name;
	struct op op;
} prelude[] = {
	{ "iommufd_open", { .a = 0 } },
	{ "ioas_alloc", { .a = 0 } },
	{ "ioas_alloc", { .a = 1 } },
	{ "memfd", { .a = 0, .x = 8 * PAGE } },
	{ "device_open", { .a = 0 } },
	{ "device_bind", { .a = 0 } },
	{ "device_attach", { .a = 0, .b = 0 } },
	{ "export", { .a = 0, .b = 0, .c = 1, .x = 0, .y = 4 * PAGE } },
	{ "vm_create", { .a = 0, .x = 1 } },
	{ "gmem_create", { .a = 0, .b = 0, .x = 4 * PAGE } },
};

static unsigned code_of(const char *name)
{
	unsigned code = 0;

	while (strcmp(kinds[code].name, name) != 0)
		code++;
	return code;
}

size_t op_prelude(struct op *ops, size_t max)
{
	size_t n = SIZE(prelude) < max ? SIZE(prelude) : max;

	for (size_t i = 0; i < n; i++) {
		ops[i] = prelude[i].op;
		ops[i].code = code_of(prelude[i].name);
	}
	return n;
}

struct outcome op_run(struct world *world, const struct op *op)
{
	return kinds[op->code].run(world, op);
}

void op_print(const struct op *op, char *text, size_t size)
{
	snprintf(text, size,
		 "%s a=%" PRIu32 " b=0x%" PRIx32 " c=0x%" PRIx32 " x=0x%" PRIx64 " y=0x%" PRIx64
		 " z=0x%" PRIx64,
		 kinds[op->code].name, op->a, op->b, op->c, op->x, op->y, op->z);
}
