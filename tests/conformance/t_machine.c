/* SPDX-License-Identifier: MIT */
/* What the machine says of itself: sysfs and /dev. */
#include <stdio.h>
#include <sys/epoll.h>

#include "conf.h"

#define ANY NULL, NEED_IOMMUFD
#define DEV NULL, NEED_IOMMUFD | NEED_PLAIN

static ssize_t read_text(struct conf *c, const char *path, char *buf, size_t size)
{
	int fd = conf_open(c, path, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = c->kernel->read(c->kernel->data, fd, buf, size - 1);
	buf[n > 0 ? n : 0] = 0;
	return n;
}

static void no_such_node(struct conf *c, const void *data)
{
	(void)data;
	expect(c, conf_open(c, "/dev/vfio/devices/vfio4711", O_RDWR), -ENOENT);
	expect(c, conf_open(c, "/sys/bus/pci/devices/ffff:ff:1f.7/vendor", O_RDONLY), -ENOENT);
}

static void node_number(struct conf *c, const void *data)
{
	const struct conf_device *device = &c->devices[PLAIN];
	const char *name = strrchr(device->cdev, '/') + 1;
	char path[128], text[64], number[64];

	(void)data;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev/%s/dev", device->bdf, name);
	expect_true(c, read_text(c, path, text, sizeof(text)) > 0);
	snprintf(path, sizeof(path), "/sys/class/vfio-dev/%s/dev", name);
	expect_true(c, read_text(c, path, number, sizeof(number)) > 0);
	expect(c, strcmp(text, number), 0);
}

static void node_stat(struct conf *c, const void *data)
{
	struct stat st;

	(void)data;
	expect(c, c->kernel->fstat(c->kernel->data, conf_cdev(c, PLAIN), &st), 0);
	expect(c, st.st_mode & S_IFMT, S_IFCHR);
}

static void attributes(struct conf *c, const void *data)
{
	const struct conf_device *device = &c->devices[PLAIN];
	uint16_t vendor = 0, id = 0;
	char path[128], text[64], want[64];
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);

	(void)data;
	expect(c, conf_config_read(c, dev, PCI_VENDOR_ID, &vendor, 2), 2);
	expect(c, conf_config_read(c, dev, PCI_DEVICE_ID, &id, 2), 2);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vendor", device->bdf);
	expect_true(c, read_text(c, path, text, sizeof(text)) > 0);
	snprintf(want, sizeof(want), "0x%04x\n", vendor);
	expect(c, strcmp(text, want), 0);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device", device->bdf);
	expect_true(c, read_text(c, path, text, sizeof(text)) > 0);
	snprintf(want, sizeof(want), "0x%04x\n", id);
	expect(c, strcmp(text, want), 0);
}

static void links(struct conf *c, const void *data)
{
	const struct conf_device *device = &c->devices[PLAIN];
	char path[128], target[256] = "";
	ssize_t n;

	(void)data;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", device->bdf);
	n = c->kernel->readlink(c->kernel->data, path, target, sizeof(target) - 1);
	expect_true(c, n > 9 && !strcmp(target + n - 9, "/vfio-pci"));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", device->bdf);
	expect_true(c, c->kernel->readlink(c->kernel->data, path, target, sizeof(target)) > 0);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vendor", device->bdf);
	expect(c, c->kernel->readlink(c->kernel->data, path, target, sizeof(target)), -EINVAL);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/nothing", device->bdf);
	expect(c, c->kernel->readlink(c->kernel->data, path, target, sizeof(target)), -ENOENT);
}

static void resource_file(struct conf *c, const void *data)
{
	const struct conf_device *device = &c->devices[PLAIN];
	unsigned long long start = 0, end = 0, flags = 0;
	char path[128], text[1024];
	const char *line = text;

	(void)data;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", device->bdf);
	expect_true(c, read_text(c, path, text, sizeof(text)) > 0);
	for (unsigned i = 0; i < device->bar; i++)
		line = strchr(line, '\n') + 1;
	expect(c, sscanf(line, "%llx %llx %llx", &start, &end, &flags), 3);
	expect(c, end - start + 1, device->bar_size);
	expect(c, flags & 0x200, 0x200);
}

static void many_opens(struct conf *c, const void *data)
{
	(void)data;
	for (int i = 0; i < 8; i++)
		conf_cdev(c, PLAIN);
	expect(c, conf_bind(c, conf_cdev(c, PLAIN), conf_iommufd_open(c), NULL), 0);
}

static void not_pollable(struct conf *c, const void *data)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = conf_keep(c, c->kernel->epoll_create(c->kernel->data));
	int iommufd = conf_iommufd_open(c), dev = conf_cdev(c, PLAIN), counter = conf_eventfd(c);

	(void)data;
	expect(c, c->kernel->epoll_ctl(c->kernel->data, epoll, EPOLL_CTL_ADD, iommufd, &event),
	       -EPERM);
	expect(c, c->kernel->epoll_ctl(c->kernel->data, epoll, EPOLL_CTL_ADD, dev, &event), -EPERM);
	expect(c, c->kernel->epoll_ctl(c->kernel->data, epoll, EPOLL_CTL_ADD, counter, &event), 0);
}

static void device_fdinfo(struct conf *c, const void *data)
{
	char path[64], text[512] = "";
	int fd = conf_cdev(c, PLAIN);
	const char *at;

	(void)data;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	expect_true(c, read_text(c, path, text, sizeof(text)) > 0);
	at = strstr(text, "vfio-device-syspath: /sys/devices/");
	expect_true(c, at && strstr(at, c->devices[PLAIN].bdf));
}

static void noiommu_get_pa(struct conf *c, const void *data)
{
	struct iommu_ioas_noiommu_get_pa cmd = { .size = sizeof(cmd),
						 .ioas_id = 99,
						 .length = PAGE };
	int ret = conf_ioctl(c, conf_iommufd_open(c), IOMMU_IOAS_NOIOMMU_GET_PA, &cmd);

	(void)data;
	/* Compiled in or not. */
	expect_true(c, ret == -EOPNOTSUPP || ret == -ENOENT);
}

static void list_missing(struct conf *c, const void *data)
{
	char names[64];

	(void)data;
	expect(c,
	       c->kernel->list(c->kernel->data, "/sys/bus/pci/devices/ffff:ff:1f.7", names,
			       sizeof(names)),
	       -ENOENT);
	expect(c, c->kernel->list(c->kernel->data, "/sys/bus/pci/devices", names, 1), -ERANGE);
}

static const struct conf_case machine[] = {
	{ "nodes and devices that are not there: ENOENT",
	  "drivers/vfio/device_cdev.c:vfio_init_device_cdev", no_such_node, ANY },
	{ "a cdev's number is found by device and by class", "drivers/vfio/vfio.h:vfio_device_add",
	  node_number, DEV },
	{ "a cdev is a character device", "drivers/vfio/device_cdev.c:vfio_init_device_cdev",
	  node_stat, DEV },
	{ "sysfs vendor and device are those of configuration space",
	  "drivers/pci/pci-sysfs.c:pci_config_attr", attributes, DEV },
	{ "sysfs links: driver and IOMMU group", "drivers/base/dd.c:driver_sysfs_add", links, DEV },
	{ "sysfs resource: where the BARs are", "drivers/pci/pci-sysfs.c:resource_show",
	  resource_file, DEV },
	{ "a cdev is opened any number of times",
	  "drivers/vfio/device_cdev.c:vfio_device_fops_cdev_open", many_opens, DEV },
	{ "a device and an iommufd are not for epoll: EPERM", "fs/eventpoll.c:do_epoll_ctl",
	  not_pollable, DEV },
	{ "a device's fdinfo says which it is", "drivers/vfio/vfio_main.c:vfio_device_show_fdinfo",
	  device_fdinfo, DEV },
	{ "NOIOMMU_GET_PA: EOPNOTSUPP where it is compiled out",
	  "drivers/iommu/iommufd/ioas.c:iommufd_ioas_noiommu_get_pa", noiommu_get_pa, ANY },
	{ "listing what is not there: ENOENT; without room: ERANGE",
	  "fs/kernfs/dir.c:kernfs_fop_readdir", list_missing, ANY },
};

CONF_TABLE(conf_machine, machine);
