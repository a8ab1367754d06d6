/* SPDX-License-Identifier: MIT */
#include "raw.h"

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/pci.h"
#include "libpfnbuf/uapi/vfio.h"
#include "vmtest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PCI_DEVICES "/sys/bus/pci/devices"

static unsigned read_id(const char *bdf, const char *attribute)
{
	char path[300];
	char text[16] = "";
	FILE *f;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", bdf, attribute);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	return (unsigned)strtoul(text, NULL, 0);
}

int raw_find(unsigned vendor, unsigned device, unsigned nth, char bdf[RAW_BDF_SIZE])
{
	struct dirent **entries;
	int n = scandir(PCI_DEVICES, &entries, NULL, alphasort);
	int ret = -ENODEV;

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;

		if (ret && strlen(name) < RAW_BDF_SIZE && read_id(name, "vendor") == vendor &&
		    read_id(name, "device") == device && nth-- == 0) {
			strcpy(bdf, name);
			ret = 0;
		}
		free(entries[i]);
	}
	free(entries);
	return ret;
}

/* The cdev has the name of the only entry "vfioN" in the device's vfio-dev folder. */
int raw_device_open(const char *bdf)
{
	char path[300];
	int ret = -ENODEV;
	DIR *dir;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/vfio-dev", bdf);
	dir = opendir(path);
	if (!dir)
		return -errno;
	for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/dev/vfio/devices/%.200s", e->d_name);
		ret = vmtest_open(path, O_RDWR);
		break;
	}
	closedir(dir);
	return ret;
}

int raw_device_bind(int device, int iommufd)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = iommufd };

	return vmtest_ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind);
}

int raw_device_attach(int device, uint32_t ioas)
{
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach), .pt_id = ioas };

	return vmtest_ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

int raw_device_reset(int device)
{
	return vmtest_ioctl(device, VFIO_DEVICE_RESET, NULL);
}

uint64_t raw_region_offset(unsigned index)
{
	return (uint64_t)index << 40;
}

uint64_t raw_region_size(int device, unsigned index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

	return vmtest_ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) < 0 ? 0 : info.size;
}

int raw_config_read16(int device, unsigned offset, uint16_t *value)
{
	off_t at = (off_t)(raw_region_offset(VFIO_PCI_CONFIG_REGION_INDEX) + offset);

	return pread(device, value, sizeof(*value), at) == sizeof(*value) ? 0 : -errno;
}

static int config_write16(int device, unsigned offset, uint16_t value)
{
	off_t at = (off_t)(raw_region_offset(VFIO_PCI_CONFIG_REGION_INDEX) + offset);

	return pwrite(device, &value, sizeof(value), at) == sizeof(value) ? 0 : -errno;
}

int raw_command(int device, uint16_t set, uint16_t clear)
{
	uint16_t command;
	int ret = raw_config_read16(device, PCI_COMMAND, &command);

	if (ret)
		return ret;
	return config_write16(device, PCI_COMMAND, (uint16_t)((command | set) & ~clear));
}

int raw_export(int device, unsigned bar, uint64_t offset, uint64_t length)
{
	/* A flexible array that ends in a flexible array, laid out by hand. */
	union {
		struct vfio_device_feature feature;
		unsigned char bytes[sizeof(struct vfio_device_feature) +
				    sizeof(struct vfio_device_feature_dma_buf) +
				    sizeof(struct vfio_region_dma_range)];
	} arg = { .feature = {
			  .argsz = sizeof(arg.bytes),
			  .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF,
		  } };
	struct vfio_device_feature_dma_buf dma_buf = {
		.region_index = bar,
		.open_flags = O_RDWR | O_CLOEXEC,
		.nr_ranges = 1,
	};
	struct vfio_region_dma_range range = { .offset = offset, .length = length };
	unsigned char *at = arg.bytes + sizeof(arg.feature);

	memcpy(at, &dma_buf, sizeof(dma_buf));
	memcpy(at + sizeof(dma_buf), &range, sizeof(range));
	return vmtest_ioctl(device, VFIO_DEVICE_FEATURE, &arg);
}

int raw_ioas_alloc(int iommufd, uint32_t *ioas)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int ret = vmtest_ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc);

	if (ret >= 0)
		*ioas = alloc.out_ioas_id;
	return ret;
}

#define MAP_FLAGS (IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

int raw_ioas_map(int iommufd, uint32_t ioas, void *va, uint64_t length, uint64_t iova)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = MAP_FLAGS,
		.ioas_id = ioas,
		.user_va = (uintptr_t)va,
		.length = length,
		.iova = iova,
	};

	return vmtest_ioctl(iommufd, IOMMU_IOAS_MAP, &map);
}

int raw_ioas_map_file(int iommufd, uint32_t ioas, int fd, uint64_t start, uint64_t length,
		      uint64_t iova)
{
	struct iommu_ioas_map_file map = {
		.size = sizeof(map),
		.flags = MAP_FLAGS,
		.ioas_id = ioas,
		.fd = fd,
		.start = start,
		.length = length,
		.iova = iova,
	};

	return vmtest_ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &map);
}

int raw_ioas_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t length)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = ioas,
		.iova = iova,
		.length = length,
	};

	return vmtest_ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap);
}

int raw_destroy(int iommufd, uint32_t id)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = id };

	return vmtest_ioctl(iommufd, IOMMU_DESTROY, &destroy);
}

int raw_set_req_eventfd(int device, int eventfd)
{
	union {
		struct vfio_irq_set set;
		unsigned char bytes[sizeof(struct vfio_irq_set) + sizeof(int32_t)];
	} arg = { .set = {
			  .argsz = sizeof(arg.bytes),
			  .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			  .index = VFIO_PCI_REQ_IRQ_INDEX,
			  .count = 1,
		  } };
	int32_t fd = eventfd;

	memcpy(arg.bytes + sizeof(arg.set), &fd, sizeof(fd));
	return vmtest_ioctl(device, VFIO_DEVICE_SET_IRQS, &arg);
}
