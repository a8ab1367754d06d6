/* SPDX-License-Identifier: MIT */
/*
 * A VFIO PCI device: bind, attach, what it has, interrupts, reading, writing and mapping its
 * regions.
 */
#include "conf.h"

#define CDEV	      "drivers/vfio/device_cdev.c:"
#define MAIN	      "drivers/vfio/vfio_main.c:"
#define CORE	      "drivers/vfio/pci/vfio_pci_core.c:"
#define INTRS	      "drivers/vfio/pci/vfio_pci_intrs.c:"
#define RDWR	      "drivers/vfio/pci/vfio_pci_rdwr.c:"
#define REGION(index) ((uint64_t)(index) << 40)
#define BASE	      0x100000ULL

/* --------------------------------------------------------------------- before bind */

static void unbound_ioctl(struct conf *c, const void *data)
{
	uint32_t arg[64] = { sizeof(arg) };

	expect(c, conf_ioctl(c, conf_cdev(c, PLAIN), *(const unsigned long *)data, arg), -EINVAL);
}

#define UNBOUND(name, request)                                                                     \
	{                                                                                          \
		"before BIND " name ": EINVAL", MAIN "vfio_device_fops_unl_ioctl", unbound_ioctl,  \
			&(const unsigned long){ request }, NEED_IOMMUFD | NEED_PLAIN               \
	}

static void unbound_rw(struct conf *c, const void *data)
{
	int dev = conf_cdev(c, PLAIN);
	uint32_t value = 0;

	(void)data;
	expect(c, conf_config_read(c, dev, 0, &value, 4), -EINVAL);
	expect(c, conf_config_write(c, dev, 0, &value, 4), -EINVAL);
}

static void unbound_mmap(struct conf *c, const void *data)
{
	void *mem;

	(void)data;
	expect(c,
	       conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, conf_cdev(c, PLAIN),
			 REGION(c->devices[PLAIN].bar), &mem),
	       -EINVAL);
}

/* ---------------------------------------------------------------------------- bind */

struct bind {
	uint32_t argsz, flags;
	int iommufd; /* 0: a good one; 1: an eventfd; 2: a closed one; below 0: as it is */
	int want;
};

static void bind_row(struct conf *c, const void *data)
{
	const struct bind *row = data;
	int fd = conf_iommufd_open(c);
	int dev = conf_cdev(c, PLAIN);
	static const uint8_t token[16] = { 1 };
	struct vfio_device_bind_iommufd cmd = {
		.argsz = row->argsz,
		.flags = row->flags,
		.iommufd = row->iommufd == 0   ? fd
			   : row->iommufd == 1 ? conf_eventfd(c)
			   : row->iommufd == 2 ? 1000
					       : row->iommufd,
		.token_uuid_ptr = row->flags ? (uintptr_t)token : 0,
	};

	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_BIND_IOMMUFD, &cmd), row->want);
	if (row->want)
		expect(c, conf_bind(c, dev, fd, NULL), 0);
}

#define BIND(rule, ...)                                                                            \
	{                                                                                          \
		rule, CDEV "vfio_df_ioctl_bind_iommufd", bind_row,                                 \
			&(const struct bind){ __VA_ARGS__ }, NEED_IOMMUFD | NEED_PLAIN             \
	}

static void bind_bad_address(struct conf *c, const void *data)
{
	(void)data;
	expect(c, conf_ioctl(c, conf_cdev(c, PLAIN), VFIO_DEVICE_BIND_IOMMUFD, NULL), -EFAULT);
}

static void bind_tail(struct conf *c, const void *data)
{
	uint32_t cmd[16] = { sizeof(cmd), 0, (uint32_t)conf_iommufd_open(c) };
	int dev = conf_cdev(c, PLAIN);

	(void)data;
	cmd[10] = 1;
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_BIND_IOMMUFD, cmd), -E2BIG);
	cmd[10] = 0;
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_BIND_IOMMUFD, cmd), 0);
}

static void bind_twice(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, fd, 0);

	(void)data;
	expect(c, conf_bind(c, dev, fd, NULL), -EINVAL);
}

static void bind_other_fd(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, fd, 0), other = conf_cdev(c, PLAIN);

	(void)data;
	expect(c, conf_bind(c, other, fd, NULL), -EINVAL);
	expect(c, conf_bind(c, other, conf_iommufd_open(c), NULL), -EINVAL);
	expect(c, conf_close(c, dev), 0);
	expect(c, conf_bind(c, other, fd, NULL), 0);
}

static void bind_state(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	uint16_t command = 0;

	(void)data;
	expect(c, conf_config_read(c, dev, PCI_COMMAND, &command, 2), 2);
	expect(c, command & (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER), PCI_COMMAND_MEMORY);
}

static void bind_clears_master(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, fd, 0);
	uint16_t command = 0;

	(void)data;
	conf_command(c, dev, PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER);
	expect(c, conf_close(c, dev), 0);
	dev = conf_device_open(c, PLAIN, fd, 0);
	expect(c, conf_config_read(c, dev, PCI_COMMAND, &command, 2), 2);
	expect(c, command & (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER), PCI_COMMAND_MEMORY);
}

/* -------------------------------------------------------------------------- attach */

struct attach {
	uint32_t argsz, flags;
	int pt; /* 0: an IOAS; 1: missing; 2: a device */
	int want;
};

static void attach_row(struct conf *c, const void *data)
{
	const struct attach *row = data;
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), devid = 0;
	int dev = conf_cdev(c, PLAIN);
	struct vfio_device_attach_iommufd_pt cmd = { .argsz = row->argsz,
						     .flags = row->flags,
						     .pasid = 1 };

	expect(c, conf_bind(c, dev, fd, &devid), 0);
	cmd.pt_id = row->pt == 0 ? ioas : row->pt == 1 ? 99 : devid;
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd), row->want);
	if (!row->want)
		expect_true(c, cmd.pt_id != ioas);
	expect(c, conf_destroy(c, fd, ioas), row->want ? 0 : -EBUSY);
}

#define ATTACH(rule, ...)                                                                          \
	{                                                                                          \
		rule, CDEV "vfio_df_ioctl_attach_pt", attach_row,                                  \
			&(const struct attach){ __VA_ARGS__ }, NEED_IOMMUFD | NEED_PLAIN           \
	}

static void attach_again(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), first = ioas, second = ioas, third;
	int dev = conf_device_open(c, PLAIN, fd, 0);

	(void)data;
	expect(c, conf_attach(c, dev, &first), 0);
	expect(c, conf_attach(c, dev, &second), 0);
	expect(c, second, first);
	third = first;
	expect(c, conf_attach(c, dev, &third), 0);
	expect(c, third, first);
}

static void attach_moves(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t first = conf_ioas_new(c, fd), second = conf_ioas_new(c, fd), pt = second;
	int dev = conf_device_open(c, PLAIN, fd, first);

	(void)data;
	expect(c, conf_attach(c, dev, &pt), 0);
	expect(c, conf_map(c, fd, first, conf_memory(c, PAGE), PAGE, 0xfee00000), 0);
	expect(c, conf_map(c, fd, second, conf_memory(c, PAGE), PAGE, 0xfee00000), -EINVAL);
	expect(c, conf_destroy(c, fd, first), 0);
	expect(c, conf_destroy(c, fd, second), -EBUSY);
}

static void attach_fails_stays(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t first = conf_ioas_new(c, fd), second = conf_ioas_new(c, fd), pt = second;
	int dev = conf_device_open(c, PLAIN, fd, first);

	(void)data;
	expect(c, conf_map(c, fd, second, conf_memory(c, PAGE), PAGE, 0xfee00000), 0);
	expect(c, conf_attach(c, dev, &pt), -EADDRINUSE);
	expect(c, pt, second);
	expect(c, conf_destroy(c, fd, first), -EBUSY);
	expect(c, conf_destroy(c, fd, second), 0);
}

static void attach_two_devices(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), first = ioas, second = ioas;
	int one = conf_device_open(c, PLAIN, fd, 0), other = conf_device_open(c, NO_RESET, fd, 0);

	(void)data;
	expect(c, conf_attach(c, one, &first), 0);
	expect(c, conf_attach(c, other, &second), 0);
	expect(c, second, first);
	expect(c, conf_detach(c, one), 0);
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), 512, BASE), -EINVAL);
	expect(c, conf_detach(c, other), 0);
	expect(c, conf_destroy(c, fd, first), -ENOENT);
}

struct detach {
	uint32_t argsz, flags;
	int want;
};

static void detach_row(struct conf *c, const void *data)
{
	const struct detach *row = data;
	int fd = conf_iommufd_open(c);
	struct vfio_device_detach_iommufd_pt cmd = { .argsz = row->argsz, .flags = row->flags };

	expect(c,
	       conf_ioctl(c, conf_device_open(c, PLAIN, fd, conf_ioas_new(c, fd)),
			  VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd),
	       row->want);
	expect(c, conf_destroy(c, fd, 1), row->want || row->flags ? -EBUSY : 0);
}

#define DETACH(rule, ...)                                                                          \
	{                                                                                          \
		rule, CDEV "vfio_df_ioctl_detach_pt", detach_row,                                  \
			&(const struct detach){ __VA_ARGS__ }, NEED_IOMMUFD | NEED_PLAIN           \
	}

static void detach_unattached(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);

	(void)data;
	expect(c, conf_detach(c, dev), 0);
	expect(c, conf_detach(c, dev), 0);
}

static void close_detaches(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	int dev = conf_device_open(c, PLAIN, fd, ioas);

	(void)data;
	expect(c, conf_destroy(c, fd, ioas), -EBUSY);
	expect(c, conf_close(c, dev), 0);
	expect(c, conf_destroy(c, fd, ioas), 0);
}

/* ------------------------------------------------------------- attaching by PASID */

static int attach_pasid(struct conf *c, int device, uint32_t pasid, uint32_t *pt_id)
{
	struct vfio_device_attach_iommufd_pt cmd = { .argsz = sizeof(cmd),
						     .flags = VFIO_DEVICE_ATTACH_PASID,
						     .pt_id = *pt_id,
						     .pasid = pasid };
	int ret = conf_ioctl(c, device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd);

	*pt_id = cmd.pt_id;
	return ret;
}

static int detach_pasid(struct conf *c, int device, uint32_t pasid)
{
	struct vfio_device_detach_iommufd_pt cmd = { .argsz = sizeof(cmd),
						     .flags = VFIO_DEVICE_DETACH_PASID,
						     .pasid = pasid };

	return conf_ioctl(c, device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd);
}

/* The IOAS has the device's reserved range: a mapping there is refused while it is attached. */
static bool attached(struct conf *c, int iommufd, uint32_t ioas)
{
	int ret = conf_probe_iova(c, iommufd, ioas, 0xfee00000);

	expect_true(c, !ret || ret == -EINVAL);
	return ret;
}

static void pasid_0_attaches(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), pt = ioas;
	int dev = conf_device_open(c, PLAIN, fd, 0);

	(void)data;
	expect(c, attach_pasid(c, dev, 0, &pt), 0);
	expect_true(c, pt != ioas);
	expect_true(c, attached(c, fd, ioas));
	expect(c, conf_destroy(c, fd, ioas), -EBUSY);
	expect(c, conf_close(c, dev), 0);
	expect(c, conf_destroy(c, fd, pt), -ENOENT);
	expect(c, conf_destroy(c, fd, ioas), 0);
}

static void pasid_0_moves(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t first = conf_ioas_new(c, fd), second = conf_ioas_new(c, fd), missing = 99;
	uint32_t pt = first, hwpt, again;
	int dev = conf_device_open(c, PLAIN, fd, 0);

	(void)data;
	expect(c, attach_pasid(c, dev, 0, &pt), 0);
	hwpt = pt;
	again = first;
	expect(c, attach_pasid(c, dev, 0, &again), 0);
	expect(c, again, hwpt);
	expect(c, attach_pasid(c, dev, 0, &missing), -ENOENT);
	expect_true(c, attached(c, fd, first));
	pt = second;
	expect(c, attach_pasid(c, dev, 0, &pt), 0);
	expect_true(c, !attached(c, fd, first));
	expect_true(c, attached(c, fd, second));
	expect(c, conf_destroy(c, fd, first), 0);
}

static void pasid_0_then_plain(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), other = conf_ioas_new(c, fd), pt = ioas;
	uint32_t devid = 0, hwpt, missing = 99;
	int dev = conf_cdev(c, PLAIN);

	(void)data;
	expect(c, conf_bind(c, dev, fd, &devid), 0);
	expect(c, attach_pasid(c, dev, 0, &pt), 0);
	hwpt = pt;
	expect(c, conf_attach(c, dev, &hwpt), -EBUSY);
	pt = ioas;
	expect(c, conf_attach(c, dev, &pt), -EBUSY);
	pt = other;
	expect(c, conf_attach(c, dev, &pt), -EBUSY);
	expect(c, conf_attach(c, dev, &devid), -EINVAL);
	expect(c, conf_attach(c, dev, &missing), -ENOENT);
	expect(c, conf_detach(c, dev), 0);
	expect_true(c, attached(c, fd, ioas));
	expect(c, detach_pasid(c, dev, 1), 0);
	expect_true(c, attached(c, fd, ioas));
	expect(c, detach_pasid(c, dev, 0), 0);
	expect_true(c, !attached(c, fd, ioas));
	expect(c, conf_destroy(c, fd, hwpt), -ENOENT);
	pt = ioas;
	expect(c, conf_attach(c, dev, &pt), 0);
}

static void plain_then_pasid_0(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), other = conf_ioas_new(c, fd), pt = ioas, hwpt;
	int dev = conf_device_open(c, PLAIN, fd, 0);

	(void)data;
	expect(c, conf_attach(c, dev, &pt), 0);
	hwpt = pt;
	expect(c, attach_pasid(c, dev, 0, &pt), -EBUSY);
	expect(c, pt, hwpt);
	pt = other;
	expect(c, attach_pasid(c, dev, 0, &pt), -EBUSY);
	expect(c, conf_destroy(c, fd, other), 0);
	expect(c, detach_pasid(c, dev, 0), 0);
	expect_true(c, attached(c, fd, ioas));
	expect(c, conf_attach(c, dev, &hwpt), 0);
	expect(c, conf_detach(c, dev), 0);
	expect_true(c, !attached(c, fd, ioas));
	pt = ioas;
	expect(c, attach_pasid(c, dev, 0, &pt), 0);
}

static void pasid_of_unattached(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), pt = 99;
	int dev = conf_device_open(c, PLAIN, fd, 0);

	(void)data;
	expect(c, attach_pasid(c, dev, 0, &pt), -ENOENT);
	expect(c, conf_attach(c, dev, &ioas), 0);
	expect(c, detach_pasid(c, dev, 0), 0);
	expect(c, detach_pasid(c, dev, 7), 0);
	expect(c, detach_pasid(c, dev, UINT32_MAX), 0);
}

static void pasid_too_large(struct conf *c, const void *data)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), missing = 99;
	int dev = conf_device_open(c, PLAIN, fd, 0);

	(void)data;
	expect(c, attach_pasid(c, dev, INT32_MAX, &ioas), -EINVAL);
	expect(c, attach_pasid(c, dev, INT32_MAX, &missing), -ENOENT);
	expect(c, attach_pasid(c, dev, 1U << 31, &ioas), -ENOSPC);
	expect(c, attach_pasid(c, dev, UINT32_MAX, &missing), -ENOSPC);
}

static void pasid_einval(struct conf *c, const void *data)
{
	const uint32_t pasid = (uint32_t)-EINVAL;
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd), missing = 99, devid = 0;
	uint64_t hole = conf_hole(c, PAGE);
	int dev = conf_cdev(c, PLAIN);

	(void)data;
	expect(c, conf_bind(c, dev, fd, &devid), 0);
	expect(c, attach_pasid(c, dev, pasid, &missing), -ENOENT);
	expect(c, attach_pasid(c, dev, pasid, &devid), -EINVAL);
	expect(c, attach_pasid(c, dev, pasid, &ioas), -EINVAL);
	expect(c, conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, BASE), 0);
	expect(c, attach_pasid(c, dev, pasid, &ioas), -EINVAL);
	expect(c, conf_map(c, fd, ioas, (void *)(uintptr_t)hole, PAGE, BASE + PAGE), 0);
	expect(c, attach_pasid(c, dev, pasid, &ioas), -EFAULT);
	expect(c, detach_pasid(c, dev, pasid), 0);
	expect(c, conf_destroy(c, fd, ioas), 0);
}

/* The new pt_id cannot be written back: whether the device is attached then. */
static void attach_unwritable(struct conf *c, const void *data)
{
	uint32_t flags = *(const uint32_t *)data;
	int fd = conf_iommufd_open(c), mem = conf_memfd(c, PAGE);
	uint32_t ioas = conf_ioas_new(c, fd);
	int dev = conf_device_open(c, PLAIN, fd, 0);
	struct vfio_device_attach_iommufd_pt cmd = { .argsz = sizeof(cmd),
						     .flags = flags,
						     .pt_id = ioas };
	void *arg = NULL;

	expect(c, c->kernel->pwrite(c->kernel->data, mem, &cmd, sizeof(cmd), 0), sizeof(cmd));
	expect(c, conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, mem, 0, &arg), 0);
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_ATTACH_IOMMUFD_PT, arg), -EFAULT);
	expect(c, attached(c, fd, ioas), flags & VFIO_DEVICE_ATTACH_PASID);
	expect(c, detach_pasid(c, dev, 0), 0);
	expect_true(c, !attached(c, fd, ioas));
}

#define PASID(rule, run, ...)                                                                      \
	{                                                                                          \
		rule, "drivers/vfio/iommufd.c:vfio_iommufd_physical_pasid_attach_ioas", run,       \
			__VA_ARGS__, NEED_IOMMUFD | NEED_PLAIN                                     \
	}

/* --------------------------------------------------------------------- what it has */

static void bound_bad_address(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);

	expect(c, conf_ioctl(c, dev, *(const unsigned long *)data, NULL), -EFAULT);
}

static void bound_short(struct conf *c, const void *data)
{
	const unsigned long *row = data;
	uint32_t arg[64] = { (uint32_t)row[1] - 1 };
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);

	expect(c, conf_ioctl(c, dev, row[0], arg), -EINVAL);
}

#define ARGUMENT(name, request, minimum)                                                           \
	{ name " from a bad address: EFAULT", MAIN "vfio_device_fops_unl_ioctl",                   \
	  bound_bad_address, &(const unsigned long){ request }, NEED_IOMMUFD | NEED_PLAIN },       \
	{                                                                                          \
		name " with argsz too small: EINVAL", MAIN "vfio_device_fops_unl_ioctl",           \
			bound_short, (const unsigned long[]){ request, minimum },                  \
			NEED_IOMMUFD | NEED_PLAIN                                                  \
	}

static void unknown_ioctl(struct conf *c, const void *data)
{
	uint32_t arg[16] = { sizeof(arg) };

	(void)data;
	expect(c, conf_ioctl(c, conf_device_open(c, PLAIN, conf_iommufd_open(c), 0), 0x3bff, arg),
	       -ENOTTY);
}

static void info(struct conf *c, const void *data)
{
	enum conf_role role = *(const enum conf_role *)data;
	struct vfio_device_info get = { .argsz = sizeof(get) };
	int dev = conf_device_open(c, role, conf_iommufd_open(c), 0);

	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_GET_INFO, &get), 0);
	expect(c, get.flags & (VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET),
	       VFIO_DEVICE_FLAGS_PCI |
		       (role == FLR || role == ALONE ? VFIO_DEVICE_FLAGS_RESET : 0));
	expect(c, get.num_regions, VFIO_PCI_NUM_REGIONS);
	expect(c, get.num_irqs, VFIO_PCI_NUM_IRQS);
}

static void info_old_size(struct conf *c, const void *data)
{
	struct vfio_device_info get = { .argsz = 16, .cap_offset = 0x1234 };

	(void)data;
	expect(c,
	       conf_ioctl(c, conf_device_open(c, PLAIN, conf_iommufd_open(c), 0),
			  VFIO_DEVICE_GET_INFO, &get),
	       0);
	expect(c, get.cap_offset, 0x1234);
	expect(c, get.num_irqs, VFIO_PCI_NUM_IRQS);
}

static int region(struct conf *c, int dev, uint32_t index, struct vfio_region_info *info)
{
	*info = (struct vfio_region_info){ .argsz = sizeof(*info), .index = index };
	return conf_ioctl(c, dev, VFIO_DEVICE_GET_REGION_INFO, info);
}

static void region_bars(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	struct vfio_region_info get;

	(void)data;
	for (uint32_t i = 0; i < 6; i++) {
		expect(c, region(c, dev, i, &get), 0);
		expect(c, get.offset, REGION(i));
		expect(c, !get.size, !get.flags);
	}
	expect(c, region(c, dev, c->devices[PLAIN].bar, &get), 0);
	expect(c, get.size, c->devices[PLAIN].bar_size);
	expect(c, get.flags,
	       VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
		       VFIO_REGION_INFO_FLAG_MMAP);
}

static void region_upper_half(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	unsigned bar = c->devices[PLAIN].bar;
	struct vfio_region_info get;
	uint32_t value = 0;

	(void)data;
	expect(c, conf_config_read(c, dev, PCI_BASE_ADDRESS_0 + 4 * bar, &value, 4), 4);
	if ((value & PCI_BASE_ADDRESS_MEM_TYPE_MASK) != PCI_BASE_ADDRESS_MEM_TYPE_64)
		return;
	expect(c, region(c, dev, bar + 1, &get), 0);
	expect(c, get.size, 0);
	expect(c, get.flags, 0);
}

static void region_io(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, ALONE, conf_iommufd_open(c), 0);
	uint32_t bar = conf_io_bar(c, dev);
	struct vfio_region_info get;
	void *mem;

	(void)data;
	expect(c, region(c, dev, bar, &get), 0);
	expect_true(c, get.size);
	expect(c, get.flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
	expect(c, conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, dev, REGION(bar), &mem), -EINVAL);
}

static void region_config(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, FLR, conf_iommufd_open(c), 0);
	struct vfio_region_info get;

	(void)data;
	expect(c, region(c, dev, VFIO_PCI_CONFIG_REGION_INDEX, &get), 0);
	expect(c, get.size, PCI_CFG_SPACE_EXP_SIZE);
	expect(c, get.flags, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE);
	expect(c, get.offset, REGION(VFIO_PCI_CONFIG_REGION_INDEX));
}

static void region_vga(struct conf *c, const void *data)
{
	struct vfio_region_info get;

	(void)data;
	expect(c,
	       region(c, conf_device_open(c, PLAIN, conf_iommufd_open(c), 0),
		      VFIO_PCI_VGA_REGION_INDEX, &get),
	       -EINVAL);
}

static void region_beyond(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	struct vfio_region_info get;

	(void)data;
	expect(c, region(c, dev, VFIO_PCI_NUM_REGIONS, &get), -EINVAL);
	expect(c, region(c, dev, UINT32_MAX, &get), -EINVAL);
}

static void region_msix_room(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, FLR, conf_iommufd_open(c), 0);
	unsigned msix = conf_capability(c, dev, PCI_CAP_ID_MSIX);
	struct {
		struct vfio_region_info info;
		struct vfio_info_cap_header cap;
	} get;
	uint32_t table = 0;

	(void)data;
	if (!expect_true(c, msix))
		return;
	expect(c, conf_config_read(c, dev, msix + PCI_MSIX_TABLE, &table, 4), 4);
	expect(c, region(c, dev, table & PCI_MSIX_TABLE_BIR, &get.info), 0);
	expect(c, get.info.flags & VFIO_REGION_INFO_FLAG_CAPS, VFIO_REGION_INFO_FLAG_CAPS);
	expect(c, get.info.argsz, sizeof(get));
	expect(c, get.info.cap_offset, 0);
	memset(&get, 0, sizeof(get));
	get.info.argsz = sizeof(get);
	get.info.index = table & PCI_MSIX_TABLE_BIR;
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_GET_REGION_INFO, &get), 0);
	expect(c, get.info.argsz, sizeof(get));
	expect(c, get.info.cap_offset, sizeof(get.info));
	expect(c, get.cap.id, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE);
	expect(c, get.cap.next, 0);
}

/* ---------------------------------------------------------------------- interrupts */

static void irq_info(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	struct vfio_irq_info get = { .argsz = sizeof(get) };

	(void)data;
	for (get.index = VFIO_PCI_ERR_IRQ_INDEX; get.index <= VFIO_PCI_REQ_IRQ_INDEX; get.index++) {
		expect(c, conf_ioctl(c, dev, VFIO_DEVICE_GET_IRQ_INFO, &get), 0);
		expect(c, get.count, 1);
		expect(c, get.flags, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE);
	}
	get.index = VFIO_PCI_INTX_IRQ_INDEX;
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_GET_IRQ_INFO, &get), 0);
	expect(c, get.flags,
	       VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED);
	get.index = VFIO_PCI_NUM_IRQS;
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_GET_IRQ_INFO, &get), -EINVAL);
}

struct irq_set {
	struct vfio_irq_set head;
	union {
		uint8_t byte;
		int32_t fd;
	};
};

static int set_irq(struct conf *c, int dev, uint32_t index, uint32_t flags, uint32_t count,
		   int32_t value)
{
	struct {
		uint32_t argsz, flags, index, start, count;
		int32_t value;
	} set = { sizeof(set), flags, index, 0, count, value };

	return conf_ioctl(c, dev, VFIO_DEVICE_SET_IRQS, &set);
}

#define TRIGGER VFIO_IRQ_SET_ACTION_TRIGGER
#define NONE	VFIO_IRQ_SET_DATA_NONE
#define BOOL	VFIO_IRQ_SET_DATA_BOOL
#define EVENTFD VFIO_IRQ_SET_DATA_EVENTFD

/* argsz, flags, index, start, count, want */
static void irq_row(struct conf *c, const void *data)
{
	const uint32_t *row = data;
	uint32_t set[8] = { row[0], row[1], row[2], row[3], row[4], UINT32_MAX };

	expect(c,
	       conf_ioctl(c, conf_device_open(c, PLAIN, conf_iommufd_open(c), 0),
			  VFIO_DEVICE_SET_IRQS, set),
	       (int)row[5]);
}

#define IRQ(rule, where, ...)                                                                      \
	{                                                                                          \
		rule, where, irq_row, (const uint32_t[]){ __VA_ARGS__ }, NEED_IOMMUFD | NEED_PLAIN \
	}

/* REQ and ERR behave the same. */
static void single_install(struct conf *c, const void *data)
{
	uint32_t index = *(const uint32_t *)data;
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	int one = conf_eventfd(c), other = conf_eventfd(c);

	expect(c, set_irq(c, dev, index, EVENTFD | TRIGGER, 1, one), 0);
	expect(c, set_irq(c, dev, index, NONE | TRIGGER, 1, 0), 0);
	expect(c, conf_count(c, one), 1);
	expect(c, set_irq(c, dev, index, EVENTFD | TRIGGER, 1, other), 0);
	expect(c, set_irq(c, dev, index, NONE | TRIGGER, 1, 0), 0);
	expect(c, conf_count(c, one), 0);
	expect(c, conf_count(c, other), 1);
	expect(c, set_irq(c, dev, index, NONE | TRIGGER, 0, 0), 0);
	expect(c, set_irq(c, dev, index, NONE | TRIGGER, 1, 0), -EINVAL);
	expect(c, conf_count(c, other), 0);
}

static void single_empty(struct conf *c, const void *data)
{
	uint32_t index = *(const uint32_t *)data;
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);

	expect(c, set_irq(c, dev, index, NONE | TRIGGER, 0, 0), -EINVAL);
	expect(c, set_irq(c, dev, index, NONE | TRIGGER, 1, 0), -EINVAL);
	expect(c, set_irq(c, dev, index, BOOL | TRIGGER, 1, 1), 0);
	expect(c, set_irq(c, dev, index, EVENTFD | TRIGGER, 1, -1), 0);
	expect(c, set_irq(c, dev, index, EVENTFD | TRIGGER, 0, -1), -EINVAL);
	expect(c, set_irq(c, dev, index, BOOL | TRIGGER, 0, 0), -EINVAL);
}

static void single_bad_fd(struct conf *c, const void *data)
{
	uint32_t index = *(const uint32_t *)data;
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);

	expect(c, set_irq(c, dev, index, EVENTFD | TRIGGER, 1, 1000), -EBADF);
	expect(c, set_irq(c, dev, index, EVENTFD | TRIGGER, 1, conf_memfd(c, PAGE)), -EINVAL);
	expect(c, set_irq(c, dev, index, EVENTFD | TRIGGER, 1, -2), -EINVAL);
}

static void single_bool(struct conf *c, const void *data)
{
	uint32_t index = *(const uint32_t *)data;
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	int fd = conf_eventfd(c);

	expect(c, set_irq(c, dev, index, EVENTFD | TRIGGER, 1, fd), 0);
	expect(c, set_irq(c, dev, index, BOOL | TRIGGER, 1, 0), 0);
	expect(c, conf_count(c, fd), 0);
	expect(c, set_irq(c, dev, index, BOOL | TRIGGER, 1, 1), 0);
	expect(c, conf_count(c, fd), 1);
}

static void single_failure_keeps(struct conf *c, const void *data)
{
	uint32_t index = *(const uint32_t *)data;
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	int fd = conf_eventfd(c);

	expect(c, set_irq(c, dev, index, EVENTFD | TRIGGER, 1, fd), 0);
	expect(c, set_irq(c, dev, index, EVENTFD | TRIGGER, 1, 1000), -EBADF);
	expect(c, set_irq(c, dev, index, NONE | TRIGGER, 1, 0), 0);
	expect(c, conf_count(c, fd), 1);
}

static void single_dropped(struct conf *c, const void *data)
{
	uint32_t index = *(const uint32_t *)data;
	int iommufd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, iommufd, 0);

	expect(c, set_irq(c, dev, index, EVENTFD | TRIGGER, 1, conf_eventfd(c)), 0);
	expect(c, conf_close(c, dev), 0);
	dev = conf_device_open(c, PLAIN, iommufd, 0);
	expect(c, set_irq(c, dev, index, NONE | TRIGGER, 1, 0), -EINVAL);
}

static void single_action(struct conf *c, const void *data)
{
	uint32_t index = *(const uint32_t *)data;
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);

	expect(c, set_irq(c, dev, index, NONE, 1, 0), -ENOTTY);
	expect(c, set_irq(c, dev, index, NONE | VFIO_IRQ_SET_ACTION_MASK, 1, 0), -ENOTTY);
	expect(c, set_irq(c, dev, index, NONE | VFIO_IRQ_SET_ACTION_UNMASK, 1, 0), -ENOTTY);
	expect(c, set_irq(c, dev, index, NONE | TRIGGER | VFIO_IRQ_SET_ACTION_MASK, 1, 0), -ENOTTY);
}

#define SINGLE(rule, run)                                                                          \
	{ "ERR " rule, INTRS "vfio_pci_set_ctx_trigger_single", run,                               \
	  &(const uint32_t){ VFIO_PCI_ERR_IRQ_INDEX }, NEED_IOMMUFD | NEED_PLAIN },                \
	{                                                                                          \
		"REQ " rule, INTRS "vfio_pci_set_ctx_trigger_single", run,                         \
			&(const uint32_t){ VFIO_PCI_REQ_IRQ_INDEX }, NEED_IOMMUFD | NEED_PLAIN     \
	}

static void msix_install(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, FLR, conf_iommufd_open(c), 0);
	int fd = conf_eventfd(c);

	(void)data;
	expect(c, set_irq(c, dev, VFIO_PCI_MSIX_IRQ_INDEX, NONE | TRIGGER, 1, 0), -EINVAL);
	expect(c, set_irq(c, dev, VFIO_PCI_MSIX_IRQ_INDEX, EVENTFD | TRIGGER, 1, fd), 0);
	expect(c, set_irq(c, dev, VFIO_PCI_MSIX_IRQ_INDEX, NONE | TRIGGER, 1, 0), 0);
	expect(c, conf_count(c, fd), 1);
	expect(c, set_irq(c, dev, VFIO_PCI_MSIX_IRQ_INDEX, BOOL | TRIGGER, 1, 0), 0);
	expect(c, conf_count(c, fd), 0);
	expect(c, set_irq(c, dev, VFIO_PCI_MSIX_IRQ_INDEX, NONE | TRIGGER, 0, 0), 0);
	expect(c, set_irq(c, dev, VFIO_PCI_MSIX_IRQ_INDEX, NONE | TRIGGER, 1, 0), -EINVAL);
}

static void msix_bad(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, FLR, conf_iommufd_open(c), 0);

	(void)data;
	expect(c, set_irq(c, dev, VFIO_PCI_MSIX_IRQ_INDEX, EVENTFD | TRIGGER, 1, 1000), -EBADF);
	expect(c,
	       set_irq(c, dev, VFIO_PCI_MSIX_IRQ_INDEX, EVENTFD | TRIGGER, 1, conf_memfd(c, PAGE)),
	       -EINVAL);
	expect(c, set_irq(c, dev, VFIO_PCI_MSIX_IRQ_INDEX, NONE | VFIO_IRQ_SET_ACTION_MASK, 1, 0),
	       -ENOTTY);
	expect(c, set_irq(c, dev, VFIO_PCI_MSIX_IRQ_INDEX, NONE | TRIGGER, 5000, 0), -EINVAL);
}

/* ----------------------------------------------------------------------- BAR bytes */

static ssize_t bar_read(struct conf *c, int dev, uint64_t pos, void *data, size_t size)
{
	return c->kernel->pread(c->kernel->data, dev, data, size,
				REGION(c->devices[PLAIN].bar) + pos);
}

static ssize_t bar_write(struct conf *c, int dev, uint64_t pos, const void *data, size_t size)
{
	return c->kernel->pwrite(c->kernel->data, dev, data, size,
				 REGION(c->devices[PLAIN].bar) + pos);
}

static void rw_bytes(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	uint8_t out[64], in[64];

	(void)data;
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + 1);
	expect(c, bar_write(c, dev, 0x103, out, sizeof(out)), sizeof(out));
	expect(c, bar_read(c, dev, 0x103, in, sizeof(in)), sizeof(in));
	expect(c, memcmp(in, out, sizeof(in)), 0);
	expect(c, bar_read(c, dev, 0x10b, in, 1), 1);
	expect(c, in[0], out[8]);
}

static void rw_clipped(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	uint64_t size = c->devices[PLAIN].bar_size;
	uint8_t in[64];

	(void)data;
	expect(c, bar_read(c, dev, size - 8, in, sizeof(in)), 8);
	expect(c, bar_write(c, dev, size - 8, in, sizeof(in)), 8);
	expect(c, bar_read(c, dev, size, in, 1), -EINVAL);
	expect(c, bar_write(c, dev, size, in, 1), -EINVAL);
}

static void rw_nothing(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);

	(void)data;
	expect(c, bar_read(c, dev, 0, NULL, 0), 0);
	expect(c, c->kernel->pread(c->kernel->data, dev, NULL, 0, REGION(200)), 0);
}

static void rw_bad_region(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	uint8_t byte = 0;

	(void)data;
	expect(c, c->kernel->pread(c->kernel->data, dev, &byte, 1, REGION(VFIO_PCI_NUM_REGIONS)),
	       -EINVAL);
	expect(c,
	       c->kernel->pread(c->kernel->data, dev, &byte, 1, REGION(VFIO_PCI_VGA_REGION_INDEX)),
	       -EINVAL);
	expect(c,
	       c->kernel->pwrite(c->kernel->data, dev, &byte, 1, REGION(VFIO_PCI_ROM_REGION_INDEX)),
	       -EINVAL);
}

static void rw_io_decode_off(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, ALONE, conf_iommufd_open(c), 0);
	uint64_t bar = conf_io_bar(c, dev);
	uint32_t value = 0;

	(void)data;
	expect(c, c->kernel->pread(c->kernel->data, dev, &value, 4, REGION(bar)), 4);
	conf_command(c, dev, PCI_COMMAND_MEMORY | PCI_COMMAND_IO, 0);
	expect(c, c->kernel->pread(c->kernel->data, dev, &value, 4, REGION(bar)), 4);
	conf_command(c, dev, 0, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
}

static void rw_no_bar(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	uint32_t value = 0;

	(void)data;
	expect(c, c->kernel->pread(c->kernel->data, dev, &value, 4, REGION(5)), -EINVAL);
	expect(c, c->kernel->pwrite(c->kernel->data, dev, &value, 4, REGION(5)), -EINVAL);
}

static void rw_memory_off(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	uint32_t value = 0;

	(void)data;
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	expect(c, bar_read(c, dev, 0, &value, 4), -EIO);
	expect(c, bar_write(c, dev, 0, &value, 4), -EIO);
	conf_command(c, dev, 0, PCI_COMMAND_MEMORY);
	expect(c, bar_read(c, dev, 0, &value, 4), 4);
}

static void rw_bad_address(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);

	(void)data;
	expect(c, bar_read(c, dev, 0, NULL, 4), -EFAULT);
	expect(c, bar_write(c, dev, 0, NULL, 4), -EFAULT);
}

static void rw_msix_table(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, FLR, conf_iommufd_open(c), 0);
	unsigned msix = conf_capability(c, dev, PCI_CAP_ID_MSIX);
	uint32_t table = 0, value = 0;
	uint64_t pos;

	(void)data;
	expect(c, conf_config_read(c, dev, msix + PCI_MSIX_TABLE, &table, 4), 4);
	pos = REGION(table & PCI_MSIX_TABLE_BIR) + (table & PCI_MSIX_TABLE_OFFSET);
	expect(c, c->kernel->pread(c->kernel->data, dev, &value, 4, pos), 4);
	expect(c, value, UINT32_MAX);
	value = 0;
	expect(c, c->kernel->pwrite(c->kernel->data, dev, &value, 4, pos), 4);
	expect(c, c->kernel->pread(c->kernel->data, dev, &value, 4, pos), 4);
	expect(c, value, UINT32_MAX);
}

static void cdev_lseek(struct conf *c, const void *data)
{
	(void)data;
	expect(c, c->kernel->lseek(c->kernel->data, conf_cdev(c, PLAIN), 0, SEEK_END), -ESPIPE);
}

/* -------------------------------------------------------------------- BAR mappings */

struct map {
	int index; /* -1: the BAR of plain memory */
	uint64_t offset, length;
	int flags, want;
};

static void mmap_row(struct conf *c, const void *data)
{
	const struct map *row = data;
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	uint64_t index = row->index < 0 ? c->devices[PLAIN].bar : (uint64_t)row->index;
	uint64_t offset = row->offset == UINT64_MAX ? c->devices[PLAIN].bar_size : row->offset;
	void *mem;

	expect(c,
	       conf_mmap(c, row->length, PROT_READ | PROT_WRITE, row->flags, dev,
			 REGION(index) + offset, &mem),
	       row->want);
}

#define MMAP(rule, ...)                                                                            \
	{                                                                                          \
		rule, CORE "vfio_pci_core_mmap", mmap_row, &(const struct map){ __VA_ARGS__ },     \
			NEED_IOMMUFD | NEED_PLAIN                                                  \
	}

static void mmap_same_bytes(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	uint32_t value = 0x12345678;
	uint32_t *bar;
	void *mem;

	(void)data;
	if (!expect(c,
		    conf_mmap(c, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dev,
			      REGION(c->devices[PLAIN].bar) + PAGE, &mem),
		    0))
		return;
	bar = mem;
	expect(c, bar_write(c, dev, PAGE, &value, 4), 4);
	expect(c, bar[0], value);
	bar[1] = 0x9abcdef0;
	expect(c, bar_read(c, dev, PAGE + 4, &value, 4), 4);
	expect(c, value, 0x9abcdef0);
}

static void mmap_two_fds(struct conf *c, const void *data)
{
	int iommufd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, iommufd, 0);
	void *mem;

	(void)data;
	expect(c,
	       conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, conf_cdev(c, PLAIN),
			 REGION(c->devices[PLAIN].bar), &mem),
	       -EINVAL);
	expect(c,
	       conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, dev, REGION(c->devices[PLAIN].bar), &mem),
	       0);
}

static void mmap_zapped(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	void *mem;

	(void)data;
	if (!expect(c,
		    conf_mmap(c, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dev,
			      REGION(c->devices[PLAIN].bar), &mem),
		    0))
		return;
	expect(c, conf_touch(mem, true), 0);
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	expect(c, conf_touch(mem, false), -EFAULT);
	conf_command(c, dev, 0, PCI_COMMAND_MEMORY);
	expect(c, conf_touch(mem, false), 0);
	expect(c, *(const uint8_t *)mem, 0x5a);
}

static void mmap_while_off(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	void *mem;

	(void)data;
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	if (!expect(c,
		    conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, dev, REGION(c->devices[PLAIN].bar),
			      &mem),
		    0))
		return;
	expect(c, conf_touch(mem, false), -EFAULT);
	conf_command(c, dev, 0, PCI_COMMAND_MEMORY);
	expect(c, conf_touch(mem, false), 0);
}

static void mmap_holds_device(struct conf *c, const void *data)
{
	int iommufd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, iommufd, 0), other = conf_cdev(c, PLAIN);
	void *mem;

	(void)data;
	if (!expect(c,
		    conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, dev, REGION(c->devices[PLAIN].bar),
			      &mem),
		    0))
		return;
	expect(c, conf_close(c, dev), 0);
	expect(c, conf_bind(c, other, iommufd, NULL), -EINVAL);
	expect(c, conf_touch(mem, false), 0);
	expect(c, conf_munmap(c, mem, PAGE), 0);
	expect(c, conf_bind(c, other, iommufd, NULL), 0);
}

static void dup_holds_device(struct conf *c, const void *data)
{
	int iommufd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, iommufd, 0), other = conf_cdev(c, PLAIN);
	int dup = conf_keep(c, c->kernel->dup(c->kernel->data, dev));

	(void)data;
	expect(c, conf_close(c, dev), 0);
	expect(c, conf_bind(c, other, iommufd, NULL), -EINVAL);
	expect(c, conf_close(c, dup), 0);
	expect(c, conf_bind(c, other, iommufd, NULL), 0);
}

#define DEV NULL, NEED_IOMMUFD | NEED_PLAIN

static const struct conf_case device[] = {
	UNBOUND("ATTACH", VFIO_DEVICE_ATTACH_IOMMUFD_PT),
	UNBOUND("DETACH", VFIO_DEVICE_DETACH_IOMMUFD_PT),
	UNBOUND("GET_INFO", VFIO_DEVICE_GET_INFO),
	UNBOUND("GET_REGION_INFO", VFIO_DEVICE_GET_REGION_INFO),
	UNBOUND("GET_IRQ_INFO", VFIO_DEVICE_GET_IRQ_INFO),
	UNBOUND("SET_IRQS", VFIO_DEVICE_SET_IRQS),
	UNBOUND("RESET", VFIO_DEVICE_RESET),
	UNBOUND("GET_PCI_HOT_RESET_INFO", VFIO_DEVICE_GET_PCI_HOT_RESET_INFO),
	UNBOUND("FEATURE", VFIO_DEVICE_FEATURE),
	UNBOUND("an unknown ioctl", 0x3bff),
	{ "before BIND read and write: EINVAL", MAIN "vfio_device_fops_read", unbound_rw, DEV },
	{ "before BIND mmap: EINVAL", MAIN "vfio_device_fops_mmap", unbound_mmap, DEV },

	BIND("BIND", sizeof(struct vfio_device_bind_iommufd), 0, 0, 0),
	BIND("BIND with the first version's size", 16, 0, 0, 0),
	BIND("BIND with argsz too small: EINVAL", 15, 0, 0, -EINVAL),
	BIND("BIND with an unknown flag: EINVAL", sizeof(struct vfio_device_bind_iommufd), 2, 0,
	     -EINVAL),
	BIND("BIND with a token for a device that takes none: EINVAL",
	     sizeof(struct vfio_device_bind_iommufd), VFIO_DEVICE_BIND_FLAG_TOKEN, 0, -EINVAL),
	BIND("BIND to fd -1: EINVAL", sizeof(struct vfio_device_bind_iommufd), 0, -1, -EINVAL),
	BIND("BIND to a closed fd: EBADF", sizeof(struct vfio_device_bind_iommufd), 0, 2, -EBADF),
	BIND("BIND to an eventfd: EBADFD", sizeof(struct vfio_device_bind_iommufd), 0, 1, -EBADFD),
	{ "BIND from a bad address: EFAULT", CDEV "vfio_df_ioctl_bind_iommufd", bind_bad_address,
	  DEV },
	{ "BIND with an unknown tail not zero: E2BIG", CDEV "vfio_df_ioctl_bind_iommufd", bind_tail,
	  DEV },
	{ "BIND twice: EINVAL", CDEV "vfio_df_ioctl_bind_iommufd", bind_twice, DEV },
	{ "BIND through a second fd: EINVAL until the first is closed", MAIN "vfio_df_open",
	  bind_other_fd, DEV },
	{ "after BIND memory is on and bus mastering off", CORE "vfio_pci_core_enable", bind_state,
	  DEV },
	{ "BIND again turns memory on and bus mastering off", CORE "vfio_pci_core_enable",
	  bind_clears_master, DEV },

	ATTACH("ATTACH to an IOAS: pt_id becomes the HWPT",
	       sizeof(struct vfio_device_attach_iommufd_pt), 0, 0, 0),
	ATTACH("ATTACH with the first version's size", 12, 0, 0, 0),
	ATTACH("ATTACH of an IOAS with argsz too small: EINVAL, and not attached", 11, 0, 0,
	       -EINVAL),
	ATTACH("ATTACH with an unknown flag: EINVAL", sizeof(struct vfio_device_attach_iommufd_pt),
	       2, 0, -EINVAL),
	ATTACH("ATTACH to what is not there: ENOENT", sizeof(struct vfio_device_attach_iommufd_pt),
	       0, 1, -ENOENT),
	ATTACH("ATTACH to a device: EINVAL", sizeof(struct vfio_device_attach_iommufd_pt), 0, 2,
	       -EINVAL),
	ATTACH("ATTACH of a PASID with argsz too small: EINVAL", 12, VFIO_DEVICE_ATTACH_PASID, 0,
	       -EINVAL),
	ATTACH("ATTACH of a PASID to what is not there: ENOENT",
	       sizeof(struct vfio_device_attach_iommufd_pt), VFIO_DEVICE_ATTACH_PASID, 1, -ENOENT),
	ATTACH("ATTACH of a PASID where the IOMMU has none: EINVAL",
	       sizeof(struct vfio_device_attach_iommufd_pt), VFIO_DEVICE_ATTACH_PASID, 0, -EINVAL),
	{ "ATTACH to the same again: 0", "drivers/iommu/iommufd/device.c:iommufd_device_do_replace",
	  attach_again, DEV },
	{ "ATTACH to another IOAS moves the device",
	  "drivers/iommu/iommufd/device.c:iommufd_device_do_replace", attach_moves, DEV },
	{ "ATTACH that fails leaves the device where it was",
	  "drivers/iommu/iommufd/device.c:iommufd_device_do_replace", attach_fails_stays, DEV },
	{ "ATTACH of a second device uses the same HWPT",
	  "drivers/iommu/iommufd/device.c:iommufd_device_auto_get_domain", attach_two_devices, NULL,
	  NEED_IOMMUFD | NEED_PLAIN | NEED_NO_RESET },
	DETACH("DETACH", sizeof(struct vfio_device_detach_iommufd_pt), 0, 0),
	DETACH("DETACH with the first version's size", 8, 0, 0),
	DETACH("DETACH with argsz too small: EINVAL, and still attached", 7, 0, -EINVAL),
	DETACH("DETACH with an unknown flag: EINVAL", sizeof(struct vfio_device_detach_iommufd_pt),
	       2, -EINVAL),
	DETACH("DETACH of a PASID with argsz too small: EINVAL", 8, VFIO_DEVICE_DETACH_PASID,
	       -EINVAL),
	{ "DETACH of what is not attached: 0",
	  "drivers/vfio/iommufd.c:vfio_iommufd_physical_detach_ioas", detach_unattached, DEV },
	{ "closing the device detaches it", CDEV "vfio_df_unbind_iommufd", close_detaches, DEV },
	PASID("ATTACH as PASID 0 attaches the device, closing detaches it", pasid_0_attaches, NULL),
	PASID("ATTACH as PASID 0 again moves the device", pasid_0_moves, NULL),
	PASID("ATTACH after one as PASID 0: EBUSY; only DETACH as PASID 0 ends it",
	      pasid_0_then_plain, NULL),
	PASID("ATTACH as PASID 0 after a plain one: EBUSY; only the plain DETACH ends it",
	      plain_then_pasid_0, NULL),
	PASID("DETACH of a PASID that is not attached: 0", pasid_of_unattached, NULL),
	PASID("ATTACH of a PASID above INT_MAX: ENOSPC, whatever to", pasid_too_large, NULL),
	PASID("ATTACH of PASID -EINVAL replaces what is not there: EINVAL, or why it cannot be "
	      "mapped",
	      pasid_einval, NULL),
	PASID("ATTACH that cannot write pt_id back: EFAULT, and not attached", attach_unwritable,
	      &(const uint32_t){ 0 }),
	PASID("ATTACH as PASID 0 that cannot write pt_id back: EFAULT, and attached",
	      attach_unwritable, &(const uint32_t){ VFIO_DEVICE_ATTACH_PASID }),

	ARGUMENT("ATTACH", VFIO_DEVICE_ATTACH_IOMMUFD_PT, 12),
	ARGUMENT("DETACH", VFIO_DEVICE_DETACH_IOMMUFD_PT, 8),
	ARGUMENT("GET_INFO", VFIO_DEVICE_GET_INFO, 16),
	ARGUMENT("GET_REGION_INFO", VFIO_DEVICE_GET_REGION_INFO, 32),
	ARGUMENT("GET_IRQ_INFO", VFIO_DEVICE_GET_IRQ_INFO, 16),
	ARGUMENT("SET_IRQS", VFIO_DEVICE_SET_IRQS, 20),
	ARGUMENT("FEATURE", VFIO_DEVICE_FEATURE, 8),
	ARGUMENT("GET_PCI_HOT_RESET_INFO", VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, 12),
	ARGUMENT("PCI_HOT_RESET", VFIO_DEVICE_PCI_HOT_RESET, 12),
	{ "an unknown ioctl: ENOTTY", CORE "vfio_pci_core_ioctl", unknown_ioctl, DEV },
	{ "GET_INFO of a device with Function Level Reset", CORE "vfio_pci_ioctl_get_info", info,
	  &(const enum conf_role){ FLR }, NEED_IOMMUFD | NEED_FLR },
	{ "GET_INFO of a device without reset", CORE "vfio_pci_ioctl_get_info", info,
	  &(const enum conf_role){ NO_RESET }, NEED_IOMMUFD | NEED_NO_RESET },
	{ "GET_INFO of a device alone in its slot: it can be reset",
	  "drivers/pci/pci.c:pci_parent_bus_reset", info, &(const enum conf_role){ ALONE },
	  NEED_IOMMUFD | NEED_ALONE },
	{ "GET_INFO of a function beside another, without Function Level Reset: no reset",
	  "drivers/pci/pci.c:pci_parent_bus_reset", info, &(const enum conf_role){ PAIR },
	  NEED_IOMMUFD | NEED_PAIR },
	{ "GET_INFO with the first version's size writes no more", CORE "vfio_pci_ioctl_get_info",
	  info_old_size, DEV },
	{ "GET_REGION_INFO of BARs", CORE "vfio_pci_ioctl_get_region_info", region_bars, DEV },
	{ "GET_REGION_INFO of the upper half of a 64-bit BAR: size 0",
	  CORE "vfio_pci_ioctl_get_region_info", region_upper_half, DEV },
	{ "GET_REGION_INFO of a BAR of I/O ports: not for mmap", CORE "vfio_pci_probe_mmaps",
	  region_io, NULL, NEED_IOMMUFD | NEED_ALONE },
	{ "GET_REGION_INFO of configuration space", CORE "vfio_pci_ioctl_get_region_info",
	  region_config, NULL, NEED_IOMMUFD | NEED_FLR },
	{ "GET_REGION_INFO of the VGA region of another device: EINVAL",
	  CORE "vfio_pci_ioctl_get_region_info", region_vga, DEV },
	{ "GET_REGION_INFO beyond the last region: EINVAL", CORE "vfio_pci_ioctl_get_region_info",
	  region_beyond, DEV },
	{ "GET_REGION_INFO of the BAR with the MSI-X table: a capability, and its size",
	  MAIN "vfio_get_region_info", region_msix_room, NULL, NEED_IOMMUFD | NEED_FLR },

	{ "GET_IRQ_INFO", CORE "vfio_pci_ioctl_get_irq_info", irq_info, DEV },
	IRQ("SET_IRQS of an unknown index: EINVAL", MAIN "vfio_set_irqs_validate_and_prepare", 24,
	    NONE | TRIGGER, 5, 0, 1, (uint32_t)-EINVAL),
	IRQ("SET_IRQS with an unknown flag: EINVAL", MAIN "vfio_set_irqs_validate_and_prepare", 24,
	    NONE | TRIGGER | 1 << 6, VFIO_PCI_REQ_IRQ_INDEX, 0, 1, (uint32_t)-EINVAL),
	IRQ("SET_IRQS from a vector that is not there: EINVAL",
	    MAIN "vfio_set_irqs_validate_and_prepare", 24, NONE | TRIGGER, VFIO_PCI_REQ_IRQ_INDEX,
	    1, 0, (uint32_t)-EINVAL),
	IRQ("SET_IRQS of more vectors than there are: EINVAL",
	    MAIN "vfio_set_irqs_validate_and_prepare", 24, NONE | TRIGGER, VFIO_PCI_REQ_IRQ_INDEX,
	    0, 2, (uint32_t)-EINVAL),
	IRQ("SET_IRQS with a count that wraps: EINVAL", MAIN "vfio_set_irqs_validate_and_prepare",
	    24, NONE | TRIGGER, VFIO_PCI_REQ_IRQ_INDEX, 1, UINT32_MAX, (uint32_t)-EINVAL),
	IRQ("SET_IRQS without a kind of data: EINVAL", MAIN "vfio_set_irqs_validate_and_prepare",
	    24, TRIGGER, VFIO_PCI_REQ_IRQ_INDEX, 0, 1, (uint32_t)-EINVAL),
	IRQ("SET_IRQS with two kinds of data: EINVAL", MAIN "vfio_set_irqs_validate_and_prepare",
	    24, NONE | BOOL | TRIGGER, VFIO_PCI_REQ_IRQ_INDEX, 0, 1, (uint32_t)-EINVAL),
	IRQ("SET_IRQS without room for its fd: EINVAL", MAIN "vfio_set_irqs_validate_and_prepare",
	    20, EVENTFD | TRIGGER, VFIO_PCI_REQ_IRQ_INDEX, 0, 1, (uint32_t)-EINVAL),
	SINGLE("eventfd: installed, signalled, replaced, removed", single_install),
	SINGLE("without an eventfd: what is an error and what is not", single_empty),
	SINGLE("eventfd: closed EBADF, another file EINVAL, below -1 EINVAL", single_bad_fd),
	SINGLE("DATA_BOOL signals where the byte is not 0", single_bool),
	SINGLE("a bad fd leaves the old eventfd", single_failure_keeps),
	SINGLE("eventfd is dropped when the device is closed", single_dropped),
	SINGLE("other actions than TRIGGER: ENOTTY", single_action),
	{ "MSI-X: enabled by the first eventfd, signalled, disabled by count 0",
	  INTRS "vfio_pci_set_msi_trigger", msix_install, NULL, NEED_IOMMUFD | NEED_FLR },
	{ "MSI-X: bad eventfds, masks and counts", INTRS "vfio_pci_set_msi_trigger", msix_bad, NULL,
	  NEED_IOMMUFD | NEED_FLR },

	{ "a BAR is read and written at any offset", RDWR "vfio_pci_bar_rw", rw_bytes, DEV },
	{ "reading past a BAR's end is cut short, behind it EINVAL", RDWR "vfio_pci_bar_rw",
	  rw_clipped, DEV },
	{ "reading nothing: 0, wherever", CORE "vfio_pci_core_read", rw_nothing, DEV },
	{ "reading a region that is not there, writing a ROM: EINVAL", CORE "vfio_pci_rw",
	  rw_bad_region, DEV },
	{ "reading and writing a BAR that is not there: EINVAL", RDWR "vfio_pci_bar_rw", rw_no_bar,
	  DEV },
	{ "a BAR of I/O ports is read whatever is decoded", RDWR "vfio_pci_bar_rw",
	  rw_io_decode_off, NULL, NEED_IOMMUFD | NEED_ALONE },
	{ "reading and writing a BAR while memory is off: EIO", RDWR "vfio_pci_core_do_io_rw",
	  rw_memory_off, DEV },
	{ "reading a BAR to a bad address: EFAULT", RDWR "vfio_pci_core_do_io_rw", rw_bad_address,
	  DEV },
	{ "the MSI-X table reads as ones and takes no write", RDWR "vfio_pci_bar_rw", rw_msix_table,
	  NULL, NEED_IOMMUFD | NEED_FLR },
	{ "lseek on a device: ESPIPE", MAIN "vfio_device_fops", cdev_lseek, DEV },

	MMAP("mmap of a BAR", -1, 0, 4 * PAGE, MAP_SHARED, 0),
	MMAP("private mmap of a BAR: EINVAL", -1, 0, PAGE, MAP_PRIVATE, -EINVAL),
	MMAP("mmap behind a BAR: EINVAL", -1, UINT64_MAX, PAGE, MAP_SHARED, -EINVAL),
	MMAP("mmap of configuration space: EINVAL", VFIO_PCI_CONFIG_REGION_INDEX, 0, PAGE,
	     MAP_SHARED, -EINVAL),
	MMAP("mmap of the ROM: EINVAL", VFIO_PCI_ROM_REGION_INDEX, 0, PAGE, MAP_SHARED, -EINVAL),
	MMAP("mmap of a region that is not there: EINVAL", VFIO_PCI_NUM_REGIONS, 0, PAGE,
	     MAP_SHARED, -EINVAL),
	MMAP("mmap of a BAR that is not there: EINVAL", 5, 0, PAGE, MAP_SHARED, -EINVAL),
	{ "a mapping and pread show the same bytes", CORE "vfio_pci_core_mmap", mmap_same_bytes,
	  DEV },
	{ "a second, unbound fd maps nothing", MAIN "vfio_device_fops_mmap", mmap_two_fds, DEV },
	{ "a mapping: SIGBUS while memory is off, back afterwards", CORE "vfio_pci_vmf_insert_pfn",
	  mmap_zapped, DEV },
	{ "mmap works while memory is off", CORE "vfio_pci_core_mmap", mmap_while_off, DEV },
	{ "a mapping holds the device open", MAIN "vfio_device_fops_release", mmap_holds_device,
	  DEV },
	{ "a dup'ed fd holds the device open", MAIN "vfio_device_fops_release", dup_holds_device,
	  DEV },
};

CONF_TABLE(conf_device, device);
