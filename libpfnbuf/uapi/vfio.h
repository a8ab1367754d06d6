/* SPDX-License-Identifier: MIT */
/*
 * The part of the VFIO user interface that the library speaks, as of Linux 7.3
 * (include/uapi/linux/vfio.h).
 */
#ifndef PFNBUF_UAPI_VFIO_H
#define PFNBUF_UAPI_VFIO_H

#include <sys/ioctl.h>

#include "check.h"

#define VFIO_TYPE (';')
#define VFIO_BASE 100

/* One link of a capability chain; next counts from the start of the answering struct, 0 ends. */
struct vfio_info_cap_header {
	uint16_t id;
	uint16_t version;
	uint32_t next;
};

UAPI_SIZE(vfio_info_cap_header, 8);
UAPI_OFFSET(vfio_info_cap_header, id, 0);
UAPI_OFFSET(vfio_info_cap_header, version, 2);
UAPI_OFFSET(vfio_info_cap_header, next, 4);

/*
 * Container and group calls of the older interface. An iommufd answers the container's, so that a
 * program written for /dev/vfio/vfio can be handed /dev/iommu instead
 * (drivers/iommu/iommufd/vfio_compat.c).
 */
#define VFIO_API_VERSION 0

#define VFIO_TYPE1_IOMMU   1
#define VFIO_TYPE1v2_IOMMU 3
#define VFIO_DMA_CC_IOMMU  4
#define VFIO_NOIOMMU_IOMMU 8
#define VFIO_UNMAP_ALL	   9
#define VFIO_UPDATE_VADDR  10

#define VFIO_GET_API_VERSION _IO(VFIO_TYPE, VFIO_BASE + 0)
#define VFIO_CHECK_EXTENSION _IO(VFIO_TYPE, VFIO_BASE + 1)
#define VFIO_SET_IOMMU	     _IO(VFIO_TYPE, VFIO_BASE + 2)

UAPI_VALUE(VFIO_GET_API_VERSION, 0x3b64);
UAPI_VALUE(VFIO_CHECK_EXTENSION, 0x3b65);
UAPI_VALUE(VFIO_SET_IOMMU, 0x3b66);

#define VFIO_GROUP_FLAGS_VIABLE	       (1U << 0)
#define VFIO_GROUP_FLAGS_CONTAINER_SET (1U << 1)

struct vfio_group_status {
	uint32_t argsz;
	uint32_t flags;
};

#define VFIO_GROUP_GET_STATUS	   _IO(VFIO_TYPE, VFIO_BASE + 3)
#define VFIO_GROUP_SET_CONTAINER   _IO(VFIO_TYPE, VFIO_BASE + 4)
#define VFIO_GROUP_UNSET_CONTAINER _IO(VFIO_TYPE, VFIO_BASE + 5)
#define VFIO_GROUP_GET_DEVICE_FD   _IO(VFIO_TYPE, VFIO_BASE + 6)

UAPI_SIZE(vfio_group_status, 8);
UAPI_OFFSET(vfio_group_status, argsz, 0);
UAPI_OFFSET(vfio_group_status, flags, 4);
UAPI_VALUE(VFIO_GROUP_GET_STATUS, 0x3b67);
UAPI_VALUE(VFIO_GROUP_SET_CONTAINER, 0x3b68);
UAPI_VALUE(VFIO_GROUP_UNSET_CONTAINER, 0x3b69);
UAPI_VALUE(VFIO_GROUP_GET_DEVICE_FD, 0x3b6a);

#define VFIO_IOMMU_INFO_PGSIZES (1U << 0)
#define VFIO_IOMMU_INFO_CAPS	(1U << 1)

struct vfio_iommu_type1_info {
	uint32_t argsz;
	uint32_t flags;
	uapi_aligned_u64 iova_pgsizes; /* a bit per supported page size */
	uint32_t cap_offset;
	uint32_t pad;
};

#define VFIO_IOMMU_GET_INFO _IO(VFIO_TYPE, VFIO_BASE + 12)

UAPI_SIZE(vfio_iommu_type1_info, 24);
UAPI_OFFSET(vfio_iommu_type1_info, argsz, 0);
UAPI_OFFSET(vfio_iommu_type1_info, flags, 4);
UAPI_OFFSET(vfio_iommu_type1_info, iova_pgsizes, 8);
UAPI_OFFSET(vfio_iommu_type1_info, cap_offset, 16);
UAPI_OFFSET(vfio_iommu_type1_info, pad, 20);
UAPI_VALUE(VFIO_IOMMU_GET_INFO, 0x3b70);

#define VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE 1

struct vfio_iova_range {
	uint64_t start;
	uint64_t end; /* inclusive */
};

struct vfio_iommu_type1_info_cap_iova_range {
	struct vfio_info_cap_header header;
	uint32_t nr_iovas;
	uint32_t reserved;
	struct vfio_iova_range iova_ranges[];
};

#define VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL 3

struct vfio_iommu_type1_info_dma_avail {
	struct vfio_info_cap_header header;
	uint32_t avail;
};

UAPI_SIZE(vfio_iova_range, 16);
UAPI_OFFSET(vfio_iova_range, start, 0);
UAPI_OFFSET(vfio_iova_range, end, 8);
UAPI_SIZE(vfio_iommu_type1_info_cap_iova_range, 16);
UAPI_OFFSET(vfio_iommu_type1_info_cap_iova_range, header, 0);
UAPI_OFFSET(vfio_iommu_type1_info_cap_iova_range, nr_iovas, 8);
UAPI_OFFSET(vfio_iommu_type1_info_cap_iova_range, reserved, 12);
UAPI_OFFSET(vfio_iommu_type1_info_cap_iova_range, iova_ranges, 16);
UAPI_SIZE(vfio_iommu_type1_info_dma_avail, 12);
UAPI_OFFSET(vfio_iommu_type1_info_dma_avail, header, 0);
UAPI_OFFSET(vfio_iommu_type1_info_dma_avail, avail, 8);

#define VFIO_DMA_MAP_FLAG_READ	(1U << 0)
#define VFIO_DMA_MAP_FLAG_WRITE (1U << 1)
#define VFIO_DMA_MAP_FLAG_VADDR (1U << 2)

struct vfio_iommu_type1_dma_map {
	uint32_t argsz;
	uint32_t flags;
	uint64_t vaddr;
	uint64_t iova;
	uint64_t size;
};

#define VFIO_IOMMU_MAP_DMA _IO(VFIO_TYPE, VFIO_BASE + 13)

UAPI_SIZE(vfio_iommu_type1_dma_map, 32);
UAPI_OFFSET(vfio_iommu_type1_dma_map, argsz, 0);
UAPI_OFFSET(vfio_iommu_type1_dma_map, flags, 4);
UAPI_OFFSET(vfio_iommu_type1_dma_map, vaddr, 8);
UAPI_OFFSET(vfio_iommu_type1_dma_map, iova, 16);
UAPI_OFFSET(vfio_iommu_type1_dma_map, size, 24);
UAPI_VALUE(VFIO_IOMMU_MAP_DMA, 0x3b71);

#define VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP (1U << 0)
#define VFIO_DMA_UNMAP_FLAG_ALL		     (1U << 1)
#define VFIO_DMA_UNMAP_FLAG_VADDR	     (1U << 2)

struct vfio_iommu_type1_dma_unmap {
	uint32_t argsz;
	uint32_t flags;
	uint64_t iova;
	uint64_t size; /* on return: bytes that were unmapped */
	uint8_t data[];
};

#define VFIO_IOMMU_UNMAP_DMA _IO(VFIO_TYPE, VFIO_BASE + 14)

UAPI_SIZE(vfio_iommu_type1_dma_unmap, 24);
UAPI_OFFSET(vfio_iommu_type1_dma_unmap, argsz, 0);
UAPI_OFFSET(vfio_iommu_type1_dma_unmap, flags, 4);
UAPI_OFFSET(vfio_iommu_type1_dma_unmap, iova, 8);
UAPI_OFFSET(vfio_iommu_type1_dma_unmap, size, 16);
UAPI_OFFSET(vfio_iommu_type1_dma_unmap, data, 24);
UAPI_VALUE(VFIO_IOMMU_UNMAP_DMA, 0x3b72);

#define VFIO_DEVICE_FLAGS_RESET	   (1U << 0)
#define VFIO_DEVICE_FLAGS_PCI	   (1U << 1)
#define VFIO_DEVICE_FLAGS_PLATFORM (1U << 2)
#define VFIO_DEVICE_FLAGS_AMBA	   (1U << 3)
#define VFIO_DEVICE_FLAGS_CCW	   (1U << 4)
#define VFIO_DEVICE_FLAGS_AP	   (1U << 5)
#define VFIO_DEVICE_FLAGS_FSL_MC   (1U << 6)
#define VFIO_DEVICE_FLAGS_CAPS	   (1U << 7)
#define VFIO_DEVICE_FLAGS_CDX	   (1U << 8)

/* The kernel accepts argsz 16, which ends before cap_offset. */
struct vfio_device_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t num_regions;
	uint32_t num_irqs;
	uint32_t cap_offset;
	uint32_t pad;
};

#define VFIO_DEVICE_GET_INFO _IO(VFIO_TYPE, VFIO_BASE + 7)

UAPI_SIZE(vfio_device_info, 24);
UAPI_OFFSET(vfio_device_info, argsz, 0);
UAPI_OFFSET(vfio_device_info, flags, 4);
UAPI_OFFSET(vfio_device_info, num_regions, 8);
UAPI_OFFSET(vfio_device_info, num_irqs, 12);
UAPI_OFFSET(vfio_device_info, cap_offset, 16);
UAPI_OFFSET(vfio_device_info, pad, 20);
UAPI_VALUE(VFIO_DEVICE_GET_INFO, 0x3b6b);

#define VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP 5

#define VFIO_PCI_ATOMIC_COMP32	(1U << 0)
#define VFIO_PCI_ATOMIC_COMP64	(1U << 1)
#define VFIO_PCI_ATOMIC_COMP128 (1U << 2)

struct vfio_device_info_cap_pci_atomic_comp {
	struct vfio_info_cap_header header;
	uint32_t flags;
	uint32_t reserved;
};

UAPI_SIZE(vfio_device_info_cap_pci_atomic_comp, 16);
UAPI_OFFSET(vfio_device_info_cap_pci_atomic_comp, header, 0);
UAPI_OFFSET(vfio_device_info_cap_pci_atomic_comp, flags, 8);
UAPI_OFFSET(vfio_device_info_cap_pci_atomic_comp, reserved, 12);

#define VFIO_REGION_INFO_FLAG_READ  (1U << 0)
#define VFIO_REGION_INFO_FLAG_WRITE (1U << 1)
#define VFIO_REGION_INFO_FLAG_MMAP  (1U << 2)
#define VFIO_REGION_INFO_FLAG_CAPS  (1U << 3)

struct vfio_region_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t cap_offset;
	uapi_aligned_u64 size;
	uapi_aligned_u64 offset; /* for pread, pwrite and mmap on the device fd */
};

#define VFIO_DEVICE_GET_REGION_INFO _IO(VFIO_TYPE, VFIO_BASE + 8)

UAPI_SIZE(vfio_region_info, 32);
UAPI_OFFSET(vfio_region_info, argsz, 0);
UAPI_OFFSET(vfio_region_info, flags, 4);
UAPI_OFFSET(vfio_region_info, index, 8);
UAPI_OFFSET(vfio_region_info, cap_offset, 12);
UAPI_OFFSET(vfio_region_info, size, 16);
UAPI_OFFSET(vfio_region_info, offset, 24);
UAPI_VALUE(VFIO_DEVICE_GET_REGION_INFO, 0x3b6c);

#define VFIO_REGION_INFO_CAP_SPARSE_MMAP   1
#define VFIO_REGION_INFO_CAP_TYPE	   2
#define VFIO_REGION_INFO_CAP_MSIX_MAPPABLE 3 /* a bare header */

struct vfio_region_sparse_mmap_area {
	uapi_aligned_u64 offset; /* within the region */
	uapi_aligned_u64 size;
};

struct vfio_region_info_cap_sparse_mmap {
	struct vfio_info_cap_header header;
	uint32_t nr_areas;
	uint32_t reserved;
	struct vfio_region_sparse_mmap_area areas[];
};

struct vfio_region_info_cap_type {
	struct vfio_info_cap_header header;
	uint32_t type;
	uint32_t subtype;
};

UAPI_SIZE(vfio_region_sparse_mmap_area, 16);
UAPI_OFFSET(vfio_region_sparse_mmap_area, offset, 0);
UAPI_OFFSET(vfio_region_sparse_mmap_area, size, 8);
UAPI_SIZE(vfio_region_info_cap_sparse_mmap, 16);
UAPI_OFFSET(vfio_region_info_cap_sparse_mmap, header, 0);
UAPI_OFFSET(vfio_region_info_cap_sparse_mmap, nr_areas, 8);
UAPI_OFFSET(vfio_region_info_cap_sparse_mmap, reserved, 12);
UAPI_OFFSET(vfio_region_info_cap_sparse_mmap, areas, 16);
UAPI_SIZE(vfio_region_info_cap_type, 16);
UAPI_OFFSET(vfio_region_info_cap_type, header, 0);
UAPI_OFFSET(vfio_region_info_cap_type, type, 8);
UAPI_OFFSET(vfio_region_info_cap_type, subtype, 12);

#define VFIO_IRQ_INFO_EVENTFD	 (1U << 0)
#define VFIO_IRQ_INFO_MASKABLE	 (1U << 1)
#define VFIO_IRQ_INFO_AUTOMASKED (1U << 2)
#define VFIO_IRQ_INFO_NORESIZE	 (1U << 3)

struct vfio_irq_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count;
};

#define VFIO_DEVICE_GET_IRQ_INFO _IO(VFIO_TYPE, VFIO_BASE + 9)

UAPI_SIZE(vfio_irq_info, 16);
UAPI_OFFSET(vfio_irq_info, argsz, 0);
UAPI_OFFSET(vfio_irq_info, flags, 4);
UAPI_OFFSET(vfio_irq_info, index, 8);
UAPI_OFFSET(vfio_irq_info, count, 12);
UAPI_VALUE(VFIO_DEVICE_GET_IRQ_INFO, 0x3b6d);

#define VFIO_IRQ_SET_DATA_NONE	      (1U << 0)
#define VFIO_IRQ_SET_DATA_BOOL	      (1U << 1) /* a uint8_t per interrupt */
#define VFIO_IRQ_SET_DATA_EVENTFD     (1U << 2) /* an int32_t per interrupt */
#define VFIO_IRQ_SET_ACTION_MASK      (1U << 3)
#define VFIO_IRQ_SET_ACTION_UNMASK    (1U << 4)
#define VFIO_IRQ_SET_ACTION_TRIGGER   (1U << 5)
#define VFIO_IRQ_SET_DATA_TYPE_MASK   0x07U
#define VFIO_IRQ_SET_ACTION_TYPE_MASK 0x38U

struct vfio_irq_set {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t start;
	uint32_t count;
	uint8_t data[];
};

#define VFIO_DEVICE_SET_IRQS _IO(VFIO_TYPE, VFIO_BASE + 10)

#define VFIO_DEVICE_RESET _IO(VFIO_TYPE, VFIO_BASE + 11)

UAPI_SIZE(vfio_irq_set, 20);
UAPI_OFFSET(vfio_irq_set, argsz, 0);
UAPI_OFFSET(vfio_irq_set, flags, 4);
UAPI_OFFSET(vfio_irq_set, index, 8);
UAPI_OFFSET(vfio_irq_set, start, 12);
UAPI_OFFSET(vfio_irq_set, count, 16);
UAPI_OFFSET(vfio_irq_set, data, 20);
UAPI_VALUE(VFIO_DEVICE_SET_IRQS, 0x3b6e);
UAPI_VALUE(VFIO_DEVICE_RESET, 0x3b6f);

enum {
	VFIO_PCI_BAR0_REGION_INDEX = 0,
	VFIO_PCI_BAR1_REGION_INDEX = 1,
	VFIO_PCI_BAR2_REGION_INDEX = 2,
	VFIO_PCI_BAR3_REGION_INDEX = 3,
	VFIO_PCI_BAR4_REGION_INDEX = 4,
	VFIO_PCI_BAR5_REGION_INDEX = 5,
	VFIO_PCI_ROM_REGION_INDEX = 6,
	VFIO_PCI_CONFIG_REGION_INDEX = 7,
	VFIO_PCI_VGA_REGION_INDEX = 8,
	VFIO_PCI_NUM_REGIONS = 9, /* regions of the device's own kind start here */
};

enum {
	VFIO_PCI_INTX_IRQ_INDEX = 0,
	VFIO_PCI_MSI_IRQ_INDEX = 1,
	VFIO_PCI_MSIX_IRQ_INDEX = 2,
	VFIO_PCI_ERR_IRQ_INDEX = 3,
	VFIO_PCI_REQ_IRQ_INDEX = 4,
	VFIO_PCI_NUM_IRQS = 5,
};

#define VFIO_PCI_DEVID_OWNED	 0
#define VFIO_PCI_DEVID_NOT_OWNED -1

struct vfio_pci_dependent_device {
	union {
		uint32_t group_id;
		uint32_t devid; /* with VFIO_PCI_HOT_RESET_FLAG_DEV_ID */
	};
	uint16_t segment;
	uint8_t bus;
	uint8_t devfn;
};

#define VFIO_PCI_HOT_RESET_FLAG_DEV_ID	     (1U << 0)
#define VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED (1U << 1)

struct vfio_pci_hot_reset_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t count;
	struct vfio_pci_dependent_device devices[];
};

#define VFIO_DEVICE_GET_PCI_HOT_RESET_INFO _IO(VFIO_TYPE, VFIO_BASE + 12)

UAPI_SIZE(vfio_pci_dependent_device, 8);
UAPI_OFFSET(vfio_pci_dependent_device, group_id, 0);
UAPI_OFFSET(vfio_pci_dependent_device, devid, 0);
UAPI_OFFSET(vfio_pci_dependent_device, segment, 4);
UAPI_OFFSET(vfio_pci_dependent_device, bus, 6);
UAPI_OFFSET(vfio_pci_dependent_device, devfn, 7);
UAPI_SIZE(vfio_pci_hot_reset_info, 12);
UAPI_OFFSET(vfio_pci_hot_reset_info, argsz, 0);
UAPI_OFFSET(vfio_pci_hot_reset_info, flags, 4);
UAPI_OFFSET(vfio_pci_hot_reset_info, count, 8);
UAPI_OFFSET(vfio_pci_hot_reset_info, devices, 12);
UAPI_VALUE(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, 0x3b70);

struct vfio_pci_hot_reset {
	uint32_t argsz;
	uint32_t flags;
	uint32_t count; /* 0 on a device fd that came from the cdev */
	int32_t group_fds[];
};

#define VFIO_DEVICE_PCI_HOT_RESET _IO(VFIO_TYPE, VFIO_BASE + 13)

UAPI_SIZE(vfio_pci_hot_reset, 12);
UAPI_OFFSET(vfio_pci_hot_reset, argsz, 0);
UAPI_OFFSET(vfio_pci_hot_reset, flags, 4);
UAPI_OFFSET(vfio_pci_hot_reset, count, 8);
UAPI_OFFSET(vfio_pci_hot_reset, group_fds, 12);
UAPI_VALUE(VFIO_DEVICE_PCI_HOT_RESET, 0x3b71);

#define VFIO_DEVICE_IOEVENTFD_8		(1U << 0)
#define VFIO_DEVICE_IOEVENTFD_16	(1U << 1)
#define VFIO_DEVICE_IOEVENTFD_32	(1U << 2)
#define VFIO_DEVICE_IOEVENTFD_64	(1U << 3)
#define VFIO_DEVICE_IOEVENTFD_SIZE_MASK 0xfU

struct vfio_device_ioeventfd {
	uint32_t argsz;
	uint32_t flags;
	uapi_aligned_u64 offset;
	uapi_aligned_u64 data;
	int32_t fd;
	uint32_t reserved;
};

#define VFIO_DEVICE_IOEVENTFD _IO(VFIO_TYPE, VFIO_BASE + 16)

UAPI_SIZE(vfio_device_ioeventfd, 32);
UAPI_OFFSET(vfio_device_ioeventfd, argsz, 0);
UAPI_OFFSET(vfio_device_ioeventfd, flags, 4);
UAPI_OFFSET(vfio_device_ioeventfd, offset, 8);
UAPI_OFFSET(vfio_device_ioeventfd, data, 16);
UAPI_OFFSET(vfio_device_ioeventfd, fd, 24);
UAPI_OFFSET(vfio_device_ioeventfd, reserved, 28);
UAPI_VALUE(VFIO_DEVICE_IOEVENTFD, 0x3b74);

#define VFIO_DEVICE_BIND_FLAG_TOKEN (1U << 0)

/* The kernel accepts argsz 16, which ends before token_uuid_ptr. */
struct vfio_device_bind_iommufd {
	uint32_t argsz;
	uint32_t flags;
	int32_t iommufd;
	uint32_t out_devid;
	uapi_aligned_u64 token_uuid_ptr; /* 16 bytes */
};

#define VFIO_DEVICE_BIND_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 18)

UAPI_SIZE(vfio_device_bind_iommufd, 24);
UAPI_OFFSET(vfio_device_bind_iommufd, argsz, 0);
UAPI_OFFSET(vfio_device_bind_iommufd, flags, 4);
UAPI_OFFSET(vfio_device_bind_iommufd, iommufd, 8);
UAPI_OFFSET(vfio_device_bind_iommufd, out_devid, 12);
UAPI_OFFSET(vfio_device_bind_iommufd, token_uuid_ptr, 16);
UAPI_VALUE(VFIO_DEVICE_BIND_IOMMUFD, 0x3b76);

#define VFIO_DEVICE_ATTACH_PASID (1U << 0)

/* The kernel accepts argsz 12, which ends before pasid. */
struct vfio_device_attach_iommufd_pt {
	uint32_t argsz;
	uint32_t flags;
	uint32_t pt_id; /* in: IOAS or HWPT; out: the HWPT that serves */
	uint32_t pasid;
};

#define VFIO_DEVICE_ATTACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 19)

UAPI_SIZE(vfio_device_attach_iommufd_pt, 16);
UAPI_OFFSET(vfio_device_attach_iommufd_pt, argsz, 0);
UAPI_OFFSET(vfio_device_attach_iommufd_pt, flags, 4);
UAPI_OFFSET(vfio_device_attach_iommufd_pt, pt_id, 8);
UAPI_OFFSET(vfio_device_attach_iommufd_pt, pasid, 12);
UAPI_VALUE(VFIO_DEVICE_ATTACH_IOMMUFD_PT, 0x3b77);

#define VFIO_DEVICE_DETACH_PASID (1U << 0)

/* The kernel accepts argsz 8, which ends before pasid. */
struct vfio_device_detach_iommufd_pt {
	uint32_t argsz;
	uint32_t flags;
	uint32_t pasid;
};

#define VFIO_DEVICE_DETACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 20)

UAPI_SIZE(vfio_device_detach_iommufd_pt, 12);
UAPI_OFFSET(vfio_device_detach_iommufd_pt, argsz, 0);
UAPI_OFFSET(vfio_device_detach_iommufd_pt, flags, 4);
UAPI_OFFSET(vfio_device_detach_iommufd_pt, pasid, 8);
UAPI_VALUE(VFIO_DEVICE_DETACH_IOMMUFD_PT, 0x3b78);

#define VFIO_DEVICE_FEATURE_MASK  0xffffU /* the index */
#define VFIO_DEVICE_FEATURE_GET	  (1U << 16)
#define VFIO_DEVICE_FEATURE_SET	  (1U << 17)
#define VFIO_DEVICE_FEATURE_PROBE (1U << 18)

struct vfio_device_feature {
	uint32_t argsz;
	uint32_t flags;
	uint8_t data[];
};

#define VFIO_DEVICE_FEATURE _IO(VFIO_TYPE, VFIO_BASE + 17)

#define VFIO_DEVICE_FEATURE_PCI_VF_TOKEN		0
#define VFIO_DEVICE_FEATURE_MIGRATION			1
#define VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE		2
#define VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY		3
#define VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP 4
#define VFIO_DEVICE_FEATURE_LOW_POWER_EXIT		5
#define VFIO_DEVICE_FEATURE_DMA_LOGGING_START		6
#define VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP		7
#define VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT		8
#define VFIO_DEVICE_FEATURE_MIG_DATA_SIZE		9
#define VFIO_DEVICE_FEATURE_BUS_MASTER			10
#define VFIO_DEVICE_FEATURE_DMA_BUF			11
#define VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2		12
#define VFIO_DEVICE_FEATURE_ZPCI_ERROR			13

UAPI_SIZE(vfio_device_feature, 8);
UAPI_OFFSET(vfio_device_feature, argsz, 0);
UAPI_OFFSET(vfio_device_feature, flags, 4);
UAPI_OFFSET(vfio_device_feature, data, 8);
UAPI_VALUE(VFIO_DEVICE_FEATURE, 0x3b75);

struct vfio_device_low_power_entry_with_wakeup {
	int32_t wakeup_eventfd;
	uint32_t reserved;
};

#define VFIO_DEVICE_FEATURE_CLEAR_MASTER 0
#define VFIO_DEVICE_FEATURE_SET_MASTER	 1

struct vfio_device_feature_bus_master {
	uint32_t op;
};

struct vfio_region_dma_range {
	uint64_t offset; /* within the BAR, a multiple of the page size */
	uint64_t length;
};

/* The kernel reads dma_ranges past argsz, which need only cover the fields before it. */
struct vfio_device_feature_dma_buf {
	uint32_t region_index;
	uint32_t open_flags;
	uint32_t flags;
	uint32_t nr_ranges;
	struct vfio_region_dma_range dma_ranges[];
};

UAPI_SIZE(vfio_device_low_power_entry_with_wakeup, 8);
UAPI_OFFSET(vfio_device_low_power_entry_with_wakeup, wakeup_eventfd, 0);
UAPI_OFFSET(vfio_device_low_power_entry_with_wakeup, reserved, 4);
UAPI_SIZE(vfio_device_feature_bus_master, 4);
UAPI_OFFSET(vfio_device_feature_bus_master, op, 0);
UAPI_SIZE(vfio_region_dma_range, 16);
UAPI_OFFSET(vfio_region_dma_range, offset, 0);
UAPI_OFFSET(vfio_region_dma_range, length, 8);
UAPI_SIZE(vfio_device_feature_dma_buf, 16);
UAPI_OFFSET(vfio_device_feature_dma_buf, region_index, 0);
UAPI_OFFSET(vfio_device_feature_dma_buf, open_flags, 4);
UAPI_OFFSET(vfio_device_feature_dma_buf, flags, 8);
UAPI_OFFSET(vfio_device_feature_dma_buf, nr_ranges, 12);
UAPI_OFFSET(vfio_device_feature_dma_buf, dma_ranges, 16);

#endif /* PFNBUF_UAPI_VFIO_H */
