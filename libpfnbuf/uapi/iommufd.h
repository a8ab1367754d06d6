/* SPDX-License-Identifier: MIT */
/*
 * The iommufd user interface as of Linux 7.3 (include/uapi/linux/iommufd.h).
 *
 * Every struct begins with its own size. The kernel takes a shorter one down to the size that the
 * call had when it was introduced, and a longer one whose unknown tail is zero.
 */
#ifndef PFNBUF_UAPI_IOMMUFD_H
#define PFNBUF_UAPI_IOMMUFD_H

#include <sys/ioctl.h>

#include "check.h"

#define IOMMUFD_TYPE (';')

enum {
	IOMMUFD_CMD_BASE = 0x80,
	IOMMUFD_CMD_DESTROY = 0x80,
	IOMMUFD_CMD_IOAS_ALLOC = 0x81,
	IOMMUFD_CMD_IOAS_ALLOW_IOVAS = 0x82,
	IOMMUFD_CMD_IOAS_COPY = 0x83,
	IOMMUFD_CMD_IOAS_IOVA_RANGES = 0x84,
	IOMMUFD_CMD_IOAS_MAP = 0x85,
	IOMMUFD_CMD_IOAS_UNMAP = 0x86,
	IOMMUFD_CMD_OPTION = 0x87,
	IOMMUFD_CMD_VFIO_IOAS = 0x88,
	IOMMUFD_CMD_HWPT_ALLOC = 0x89,
	IOMMUFD_CMD_GET_HW_INFO = 0x8a,
	IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING = 0x8b,
	IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP = 0x8c,
	IOMMUFD_CMD_HWPT_INVALIDATE = 0x8d,
	IOMMUFD_CMD_FAULT_QUEUE_ALLOC = 0x8e,
	IOMMUFD_CMD_IOAS_MAP_FILE = 0x8f,
	IOMMUFD_CMD_VIOMMU_ALLOC = 0x90,
	IOMMUFD_CMD_VDEVICE_ALLOC = 0x91,
	IOMMUFD_CMD_IOAS_CHANGE_PROCESS = 0x92,
	IOMMUFD_CMD_VEVENTQ_ALLOC = 0x93,
	IOMMUFD_CMD_HW_QUEUE_ALLOC = 0x94,
	IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA = 0x95,
};

struct iommu_destroy {
	uint32_t size;
	uint32_t id;
};

#define IOMMU_DESTROY _IO(IOMMUFD_TYPE, IOMMUFD_CMD_DESTROY)

UAPI_SIZE(iommu_destroy, 8);
UAPI_OFFSET(iommu_destroy, size, 0);
UAPI_OFFSET(iommu_destroy, id, 4);
UAPI_VALUE(IOMMU_DESTROY, 0x3b80);

struct iommu_ioas_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t out_ioas_id;
};

#define IOMMU_IOAS_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_ALLOC)

UAPI_SIZE(iommu_ioas_alloc, 12);
UAPI_OFFSET(iommu_ioas_alloc, size, 0);
UAPI_OFFSET(iommu_ioas_alloc, flags, 4);
UAPI_OFFSET(iommu_ioas_alloc, out_ioas_id, 8);
UAPI_VALUE(IOMMU_IOAS_ALLOC, 0x3b81);

struct iommu_iova_range {
	uapi_aligned_u64 start;
	uapi_aligned_u64 last; /* inclusive */
};

struct iommu_ioas_iova_ranges {
	uint32_t size;
	uint32_t ioas_id;
	uint32_t num_iovas; /* in: room; out: ranges that there are */
	uint32_t __reserved;
	uapi_aligned_u64 allowed_iovas; /* struct iommu_iova_range[] */
	uapi_aligned_u64 out_iova_alignment;
};

#define IOMMU_IOAS_IOVA_RANGES _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_IOVA_RANGES)

UAPI_SIZE(iommu_iova_range, 16);
UAPI_OFFSET(iommu_iova_range, start, 0);
UAPI_OFFSET(iommu_iova_range, last, 8);
UAPI_SIZE(iommu_ioas_iova_ranges, 32);
UAPI_OFFSET(iommu_ioas_iova_ranges, size, 0);
UAPI_OFFSET(iommu_ioas_iova_ranges, ioas_id, 4);
UAPI_OFFSET(iommu_ioas_iova_ranges, num_iovas, 8);
UAPI_OFFSET(iommu_ioas_iova_ranges, __reserved, 12);
UAPI_OFFSET(iommu_ioas_iova_ranges, allowed_iovas, 16);
UAPI_OFFSET(iommu_ioas_iova_ranges, out_iova_alignment, 24);
UAPI_VALUE(IOMMU_IOAS_IOVA_RANGES, 0x3b84);

struct iommu_ioas_allow_iovas {
	uint32_t size;
	uint32_t ioas_id;
	uint32_t num_iovas;
	uint32_t __reserved;
	uapi_aligned_u64 allowed_iovas;
};

#define IOMMU_IOAS_ALLOW_IOVAS _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_ALLOW_IOVAS)

UAPI_SIZE(iommu_ioas_allow_iovas, 24);
UAPI_OFFSET(iommu_ioas_allow_iovas, size, 0);
UAPI_OFFSET(iommu_ioas_allow_iovas, ioas_id, 4);
UAPI_OFFSET(iommu_ioas_allow_iovas, num_iovas, 8);
UAPI_OFFSET(iommu_ioas_allow_iovas, __reserved, 12);
UAPI_OFFSET(iommu_ioas_allow_iovas, allowed_iovas, 16);
UAPI_VALUE(IOMMU_IOAS_ALLOW_IOVAS, 0x3b82);

enum iommufd_ioas_map_flags {
	IOMMU_IOAS_MAP_FIXED_IOVA = 1 << 0,
	IOMMU_IOAS_MAP_WRITEABLE = 1 << 1,
	IOMMU_IOAS_MAP_READABLE = 1 << 2,
};

struct iommu_ioas_map {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas_id;
	uint32_t __reserved;
	uapi_aligned_u64 user_va;
	uapi_aligned_u64 length;
	uapi_aligned_u64 iova; /* in with FIXED_IOVA, else out */
};

#define IOMMU_IOAS_MAP _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_MAP)

UAPI_SIZE(iommu_ioas_map, 40);
UAPI_OFFSET(iommu_ioas_map, size, 0);
UAPI_OFFSET(iommu_ioas_map, flags, 4);
UAPI_OFFSET(iommu_ioas_map, ioas_id, 8);
UAPI_OFFSET(iommu_ioas_map, __reserved, 12);
UAPI_OFFSET(iommu_ioas_map, user_va, 16);
UAPI_OFFSET(iommu_ioas_map, length, 24);
UAPI_OFFSET(iommu_ioas_map, iova, 32);
UAPI_VALUE(IOMMU_IOAS_MAP, 0x3b85);

struct iommu_ioas_map_file {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas_id;
	int32_t fd; /* memfd or dma-buf */
	uapi_aligned_u64 start;
	uapi_aligned_u64 length;
	uapi_aligned_u64 iova;
};

#define IOMMU_IOAS_MAP_FILE _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_MAP_FILE)

UAPI_SIZE(iommu_ioas_map_file, 40);
UAPI_OFFSET(iommu_ioas_map_file, size, 0);
UAPI_OFFSET(iommu_ioas_map_file, flags, 4);
UAPI_OFFSET(iommu_ioas_map_file, ioas_id, 8);
UAPI_OFFSET(iommu_ioas_map_file, fd, 12);
UAPI_OFFSET(iommu_ioas_map_file, start, 16);
UAPI_OFFSET(iommu_ioas_map_file, length, 24);
UAPI_OFFSET(iommu_ioas_map_file, iova, 32);
UAPI_VALUE(IOMMU_IOAS_MAP_FILE, 0x3b8f);

struct iommu_ioas_copy {
	uint32_t size;
	uint32_t flags;
	uint32_t dst_ioas_id;
	uint32_t src_ioas_id;
	uapi_aligned_u64 length;
	uapi_aligned_u64 dst_iova;
	uapi_aligned_u64 src_iova;
};

#define IOMMU_IOAS_COPY _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_COPY)

UAPI_SIZE(iommu_ioas_copy, 40);
UAPI_OFFSET(iommu_ioas_copy, size, 0);
UAPI_OFFSET(iommu_ioas_copy, flags, 4);
UAPI_OFFSET(iommu_ioas_copy, dst_ioas_id, 8);
UAPI_OFFSET(iommu_ioas_copy, src_ioas_id, 12);
UAPI_OFFSET(iommu_ioas_copy, length, 16);
UAPI_OFFSET(iommu_ioas_copy, dst_iova, 24);
UAPI_OFFSET(iommu_ioas_copy, src_iova, 32);
UAPI_VALUE(IOMMU_IOAS_COPY, 0x3b83);

struct iommu_ioas_unmap {
	uint32_t size;
	uint32_t ioas_id;
	uapi_aligned_u64 iova;
	uapi_aligned_u64 length; /* on return: bytes that were unmapped */
};

#define IOMMU_IOAS_UNMAP _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_UNMAP)

UAPI_SIZE(iommu_ioas_unmap, 24);
UAPI_OFFSET(iommu_ioas_unmap, size, 0);
UAPI_OFFSET(iommu_ioas_unmap, ioas_id, 4);
UAPI_OFFSET(iommu_ioas_unmap, iova, 8);
UAPI_OFFSET(iommu_ioas_unmap, length, 16);
UAPI_VALUE(IOMMU_IOAS_UNMAP, 0x3b86);

struct iommu_ioas_change_process {
	uint32_t size;
	uint32_t __reserved;
};

#define IOMMU_IOAS_CHANGE_PROCESS _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_CHANGE_PROCESS)

UAPI_SIZE(iommu_ioas_change_process, 8);
UAPI_OFFSET(iommu_ioas_change_process, size, 0);
UAPI_OFFSET(iommu_ioas_change_process, __reserved, 4);
UAPI_VALUE(IOMMU_IOAS_CHANGE_PROCESS, 0x3b92);

struct iommu_ioas_noiommu_get_pa {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas_id;
	uint32_t __reserved;
	uapi_aligned_u64 iova;
	uapi_aligned_u64 length;
	uapi_aligned_u64 out_phys;
};

#define IOMMU_IOAS_NOIOMMU_GET_PA _IO(IOMMUFD_TYPE, IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA)

UAPI_SIZE(iommu_ioas_noiommu_get_pa, 40);
UAPI_OFFSET(iommu_ioas_noiommu_get_pa, size, 0);
UAPI_OFFSET(iommu_ioas_noiommu_get_pa, flags, 4);
UAPI_OFFSET(iommu_ioas_noiommu_get_pa, ioas_id, 8);
UAPI_OFFSET(iommu_ioas_noiommu_get_pa, __reserved, 12);
UAPI_OFFSET(iommu_ioas_noiommu_get_pa, iova, 16);
UAPI_OFFSET(iommu_ioas_noiommu_get_pa, length, 24);
UAPI_OFFSET(iommu_ioas_noiommu_get_pa, out_phys, 32);
UAPI_VALUE(IOMMU_IOAS_NOIOMMU_GET_PA, 0x3b95);

enum iommufd_option {
	IOMMU_OPTION_RLIMIT_MODE = 0,
	IOMMU_OPTION_HUGE_PAGES = 1,
};

enum iommufd_option_ops {
	IOMMU_OPTION_OP_SET = 0,
	IOMMU_OPTION_OP_GET = 1,
};

struct iommu_option {
	uint32_t size;
	uint32_t option_id;
	uint16_t op;
	uint16_t __reserved;
	uint32_t object_id;
	uapi_aligned_u64 val64;
};

#define IOMMU_OPTION _IO(IOMMUFD_TYPE, IOMMUFD_CMD_OPTION)

UAPI_SIZE(iommu_option, 24);
UAPI_OFFSET(iommu_option, size, 0);
UAPI_OFFSET(iommu_option, option_id, 4);
UAPI_OFFSET(iommu_option, op, 8);
UAPI_OFFSET(iommu_option, __reserved, 10);
UAPI_OFFSET(iommu_option, object_id, 12);
UAPI_OFFSET(iommu_option, val64, 16);
UAPI_VALUE(IOMMU_OPTION, 0x3b87);

enum iommufd_vfio_ioas_op {
	IOMMU_VFIO_IOAS_GET = 0,
	IOMMU_VFIO_IOAS_SET = 1,
	IOMMU_VFIO_IOAS_CLEAR = 2,
};

struct iommu_vfio_ioas {
	uint32_t size;
	uint32_t ioas_id;
	uint16_t op;
	uint16_t __reserved;
};

#define IOMMU_VFIO_IOAS _IO(IOMMUFD_TYPE, IOMMUFD_CMD_VFIO_IOAS)

UAPI_SIZE(iommu_vfio_ioas, 12);
UAPI_OFFSET(iommu_vfio_ioas, size, 0);
UAPI_OFFSET(iommu_vfio_ioas, ioas_id, 4);
UAPI_OFFSET(iommu_vfio_ioas, op, 8);
UAPI_OFFSET(iommu_vfio_ioas, __reserved, 10);
UAPI_VALUE(IOMMU_VFIO_IOAS, 0x3b88);

enum iommufd_hwpt_alloc_flags {
	IOMMU_HWPT_ALLOC_NEST_PARENT = 1 << 0,
	IOMMU_HWPT_ALLOC_DIRTY_TRACKING = 1 << 1,
	IOMMU_HWPT_FAULT_ID_VALID = 1 << 2,
	IOMMU_HWPT_ALLOC_PASID = 1 << 3,
};

enum iommu_hwpt_data_type {
	IOMMU_HWPT_DATA_NONE = 0,
	IOMMU_HWPT_DATA_VTD_S1 = 1,
	IOMMU_HWPT_DATA_ARM_SMMUV3 = 2,
	IOMMU_HWPT_DATA_AMD_GUEST = 3,
};

enum iommu_hwpt_vtd_s1_flags {
	IOMMU_VTD_S1_SRE = 1 << 0,
	IOMMU_VTD_S1_EAFE = 1 << 1,
	IOMMU_VTD_S1_WPE = 1 << 2,
};

struct iommu_hwpt_vtd_s1 {
	uapi_aligned_u64 flags;
	uapi_aligned_u64 pgtbl_addr;
	uint32_t addr_width;
	uint32_t __reserved;
};

/* Little-endian words of the stream table entry. */
struct iommu_hwpt_arm_smmuv3 {
	uapi_aligned_u64 ste[2];
};

struct iommu_hwpt_amd_guest {
	uapi_aligned_u64 dte[4];
};

/* The kernel accepts size 24, which ends before data_type. */
struct iommu_hwpt_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t dev_id;
	uint32_t pt_id;
	uint32_t out_hwpt_id;
	uint32_t __reserved;
	uint32_t data_type;
	uint32_t data_len;
	uapi_aligned_u64 data_uptr;
	uint32_t fault_id;
	uint32_t __reserved2;
};

#define IOMMU_HWPT_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_HWPT_ALLOC)

UAPI_SIZE(iommu_hwpt_vtd_s1, 24);
UAPI_OFFSET(iommu_hwpt_vtd_s1, flags, 0);
UAPI_OFFSET(iommu_hwpt_vtd_s1, pgtbl_addr, 8);
UAPI_OFFSET(iommu_hwpt_vtd_s1, addr_width, 16);
UAPI_OFFSET(iommu_hwpt_vtd_s1, __reserved, 20);
UAPI_SIZE(iommu_hwpt_arm_smmuv3, 16);
UAPI_OFFSET(iommu_hwpt_arm_smmuv3, ste, 0);
UAPI_SIZE(iommu_hwpt_amd_guest, 32);
UAPI_OFFSET(iommu_hwpt_amd_guest, dte, 0);
UAPI_SIZE(iommu_hwpt_alloc, 48);
UAPI_OFFSET(iommu_hwpt_alloc, size, 0);
UAPI_OFFSET(iommu_hwpt_alloc, flags, 4);
UAPI_OFFSET(iommu_hwpt_alloc, dev_id, 8);
UAPI_OFFSET(iommu_hwpt_alloc, pt_id, 12);
UAPI_OFFSET(iommu_hwpt_alloc, out_hwpt_id, 16);
UAPI_OFFSET(iommu_hwpt_alloc, __reserved, 20);
UAPI_OFFSET(iommu_hwpt_alloc, data_type, 24);
UAPI_OFFSET(iommu_hwpt_alloc, data_len, 28);
UAPI_OFFSET(iommu_hwpt_alloc, data_uptr, 32);
UAPI_OFFSET(iommu_hwpt_alloc, fault_id, 40);
UAPI_OFFSET(iommu_hwpt_alloc, __reserved2, 44);
UAPI_VALUE(IOMMU_HWPT_ALLOC, 0x3b89);

enum iommu_hw_info_type {
	IOMMU_HW_INFO_TYPE_NONE = 0,
	IOMMU_HW_INFO_TYPE_DEFAULT = 0,
	IOMMU_HW_INFO_TYPE_INTEL_VTD = 1,
	IOMMU_HW_INFO_TYPE_ARM_SMMUV3 = 2,
	IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV = 3,
	IOMMU_HW_INFO_TYPE_AMD = 4,
};

enum iommu_hw_info_vtd_flags {
	IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17 = 1 << 0,
};

struct iommu_hw_info_vtd {
	uint32_t flags;
	uint32_t __reserved;
	uapi_aligned_u64 cap_reg;
	uapi_aligned_u64 ecap_reg;
};

enum iommu_hw_info_arm_smmuv3_flags {
	IOMMU_HW_INFO_ARM_SMMUV3_ERRATA_REPEAT_TLBI_CFGI = 1 << 0,
};

struct iommu_hw_info_arm_smmuv3 {
	uint32_t flags;
	uint32_t __reserved;
	uint32_t idr[6];
	uint32_t iidr;
	uint32_t aidr;
};

struct iommu_hw_info_tegra241_cmdqv {
	uint32_t flags;
	uint8_t version;
	uint8_t log2vcmdqs;
	uint8_t log2vsids;
	uint8_t __reserved;
};

struct iommu_hw_info_amd {
	uapi_aligned_u64 efr;
	uapi_aligned_u64 efr2;
};

enum iommufd_hw_capabilities {
	IOMMU_HW_CAP_DIRTY_TRACKING = 1 << 0,
	IOMMU_HW_CAP_PCI_PASID_EXEC = 1 << 1,
	IOMMU_HW_CAP_PCI_PASID_PRIV = 1 << 2,
	IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED = 1 << 3,
};

enum iommufd_hw_info_flags {
	IOMMU_HW_INFO_FLAG_INPUT_TYPE = 1 << 0,
};

/* The kernel accepts size 32, which ends before out_capabilities. */
struct iommu_hw_info {
	uint32_t size;
	uint32_t flags;
	uint32_t dev_id;
	uint32_t data_len;
	uapi_aligned_u64 data_uptr;
	union {
		uint32_t in_data_type; /* with IOMMU_HW_INFO_FLAG_INPUT_TYPE */
		uint32_t out_data_type;
	};
	uint8_t out_max_pasid_log2;
	uint8_t __reserved[3];
	uapi_aligned_u64 out_capabilities;
};

#define IOMMU_GET_HW_INFO _IO(IOMMUFD_TYPE, IOMMUFD_CMD_GET_HW_INFO)

UAPI_SIZE(iommu_hw_info_vtd, 24);
UAPI_OFFSET(iommu_hw_info_vtd, flags, 0);
UAPI_OFFSET(iommu_hw_info_vtd, __reserved, 4);
UAPI_OFFSET(iommu_hw_info_vtd, cap_reg, 8);
UAPI_OFFSET(iommu_hw_info_vtd, ecap_reg, 16);
UAPI_SIZE(iommu_hw_info_arm_smmuv3, 40);
UAPI_OFFSET(iommu_hw_info_arm_smmuv3, flags, 0);
UAPI_OFFSET(iommu_hw_info_arm_smmuv3, __reserved, 4);
UAPI_OFFSET(iommu_hw_info_arm_smmuv3, idr, 8);
UAPI_OFFSET(iommu_hw_info_arm_smmuv3, iidr, 32);
UAPI_OFFSET(iommu_hw_info_arm_smmuv3, aidr, 36);
UAPI_SIZE(iommu_hw_info_tegra241_cmdqv, 8);
UAPI_OFFSET(iommu_hw_info_tegra241_cmdqv, flags, 0);
UAPI_OFFSET(iommu_hw_info_tegra241_cmdqv, version, 4);
UAPI_OFFSET(iommu_hw_info_tegra241_cmdqv, log2vcmdqs, 5);
UAPI_OFFSET(iommu_hw_info_tegra241_cmdqv, log2vsids, 6);
UAPI_OFFSET(iommu_hw_info_tegra241_cmdqv, __reserved, 7);
UAPI_SIZE(iommu_hw_info_amd, 16);
UAPI_OFFSET(iommu_hw_info_amd, efr, 0);
UAPI_OFFSET(iommu_hw_info_amd, efr2, 8);
UAPI_SIZE(iommu_hw_info, 40);
UAPI_OFFSET(iommu_hw_info, size, 0);
UAPI_OFFSET(iommu_hw_info, flags, 4);
UAPI_OFFSET(iommu_hw_info, dev_id, 8);
UAPI_OFFSET(iommu_hw_info, data_len, 12);
UAPI_OFFSET(iommu_hw_info, data_uptr, 16);
UAPI_OFFSET(iommu_hw_info, in_data_type, 24);
UAPI_OFFSET(iommu_hw_info, out_data_type, 24);
UAPI_OFFSET(iommu_hw_info, out_max_pasid_log2, 28);
UAPI_OFFSET(iommu_hw_info, __reserved, 29);
UAPI_OFFSET(iommu_hw_info, out_capabilities, 32);
UAPI_VALUE(IOMMU_GET_HW_INFO, 0x3b8a);

enum iommufd_hwpt_set_dirty_tracking_flags {
	IOMMU_HWPT_DIRTY_TRACKING_ENABLE = 1,
};

struct iommu_hwpt_set_dirty_tracking {
	uint32_t size;
	uint32_t flags;
	uint32_t hwpt_id;
	uint32_t __reserved;
};

#define IOMMU_HWPT_SET_DIRTY_TRACKING _IO(IOMMUFD_TYPE, IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING)

UAPI_SIZE(iommu_hwpt_set_dirty_tracking, 16);
UAPI_OFFSET(iommu_hwpt_set_dirty_tracking, size, 0);
UAPI_OFFSET(iommu_hwpt_set_dirty_tracking, flags, 4);
UAPI_OFFSET(iommu_hwpt_set_dirty_tracking, hwpt_id, 8);
UAPI_OFFSET(iommu_hwpt_set_dirty_tracking, __reserved, 12);
UAPI_VALUE(IOMMU_HWPT_SET_DIRTY_TRACKING, 0x3b8b);

enum iommufd_hwpt_get_dirty_bitmap_flags {
	IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR = 1,
};

struct iommu_hwpt_get_dirty_bitmap {
	uint32_t size;
	uint32_t hwpt_id;
	uint32_t flags;
	uint32_t __reserved;
	uapi_aligned_u64 iova;
	uapi_aligned_u64 length;
	uapi_aligned_u64 page_size;
	uapi_aligned_u64 data;
};

#define IOMMU_HWPT_GET_DIRTY_BITMAP _IO(IOMMUFD_TYPE, IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP)

UAPI_SIZE(iommu_hwpt_get_dirty_bitmap, 48);
UAPI_OFFSET(iommu_hwpt_get_dirty_bitmap, size, 0);
UAPI_OFFSET(iommu_hwpt_get_dirty_bitmap, hwpt_id, 4);
UAPI_OFFSET(iommu_hwpt_get_dirty_bitmap, flags, 8);
UAPI_OFFSET(iommu_hwpt_get_dirty_bitmap, __reserved, 12);
UAPI_OFFSET(iommu_hwpt_get_dirty_bitmap, iova, 16);
UAPI_OFFSET(iommu_hwpt_get_dirty_bitmap, length, 24);
UAPI_OFFSET(iommu_hwpt_get_dirty_bitmap, page_size, 32);
UAPI_OFFSET(iommu_hwpt_get_dirty_bitmap, data, 40);
UAPI_VALUE(IOMMU_HWPT_GET_DIRTY_BITMAP, 0x3b8c);

enum iommu_hwpt_invalidate_data_type {
	IOMMU_HWPT_INVALIDATE_DATA_VTD_S1 = 0,
	IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3 = 1,
};

enum iommu_hwpt_vtd_s1_invalidate_flags {
	IOMMU_VTD_INV_FLAGS_LEAF = 1 << 0,
};

struct iommu_hwpt_vtd_s1_invalidate {
	uapi_aligned_u64 addr;
	uapi_aligned_u64 npages;
	uint32_t flags;
	uint32_t __reserved;
};

/* A little-endian command of the SMMU's command queue. */
struct iommu_viommu_arm_smmuv3_invalidate {
	uapi_aligned_u64 cmd[2];
};

struct iommu_hwpt_invalidate {
	uint32_t size;
	uint32_t hwpt_id;
	uapi_aligned_u64 data_uptr;
	uint32_t data_type;
	uint32_t entry_len;
	uint32_t entry_num; /* on return: entries that were handled */
	uint32_t __reserved;
};

#define IOMMU_HWPT_INVALIDATE _IO(IOMMUFD_TYPE, IOMMUFD_CMD_HWPT_INVALIDATE)

UAPI_SIZE(iommu_hwpt_vtd_s1_invalidate, 24);
UAPI_OFFSET(iommu_hwpt_vtd_s1_invalidate, addr, 0);
UAPI_OFFSET(iommu_hwpt_vtd_s1_invalidate, npages, 8);
UAPI_OFFSET(iommu_hwpt_vtd_s1_invalidate, flags, 16);
UAPI_OFFSET(iommu_hwpt_vtd_s1_invalidate, __reserved, 20);
UAPI_SIZE(iommu_viommu_arm_smmuv3_invalidate, 16);
UAPI_OFFSET(iommu_viommu_arm_smmuv3_invalidate, cmd, 0);
UAPI_SIZE(iommu_hwpt_invalidate, 32);
UAPI_OFFSET(iommu_hwpt_invalidate, size, 0);
UAPI_OFFSET(iommu_hwpt_invalidate, hwpt_id, 4);
UAPI_OFFSET(iommu_hwpt_invalidate, data_uptr, 8);
UAPI_OFFSET(iommu_hwpt_invalidate, data_type, 16);
UAPI_OFFSET(iommu_hwpt_invalidate, entry_len, 20);
UAPI_OFFSET(iommu_hwpt_invalidate, entry_num, 24);
UAPI_OFFSET(iommu_hwpt_invalidate, __reserved, 28);
UAPI_VALUE(IOMMU_HWPT_INVALIDATE, 0x3b8d);

enum iommu_hwpt_pgfault_flags {
	IOMMU_PGFAULT_FLAGS_PASID_VALID = 1 << 0,
	IOMMU_PGFAULT_FLAGS_LAST_PAGE = 1 << 1,
};

enum iommu_hwpt_pgfault_perm {
	IOMMU_PGFAULT_PERM_READ = 1 << 0,
	IOMMU_PGFAULT_PERM_WRITE = 1 << 1,
	IOMMU_PGFAULT_PERM_EXEC = 1 << 2,
	IOMMU_PGFAULT_PERM_PRIV = 1 << 3,
};

/* Read from the fault queue's fd, whole records only. */
struct iommu_hwpt_pgfault {
	uint32_t flags;
	uint32_t dev_id;
	uint32_t pasid;
	uint32_t grpid;
	uint32_t perm;
	uint32_t __reserved;
	uapi_aligned_u64 addr;
	uint32_t length;
	uint32_t cookie;
};

enum iommufd_page_response_code {
	IOMMUFD_PAGE_RESP_SUCCESS = 0,
	IOMMUFD_PAGE_RESP_INVALID = 1,
};

/* Written to the fault queue's fd in answer. */
struct iommu_hwpt_page_response {
	uint32_t cookie;
	uint32_t code;
};

struct iommu_fault_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t out_fault_id;
	uint32_t out_fault_fd;
};

#define IOMMU_FAULT_QUEUE_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_FAULT_QUEUE_ALLOC)

UAPI_SIZE(iommu_hwpt_pgfault, 40);
UAPI_OFFSET(iommu_hwpt_pgfault, flags, 0);
UAPI_OFFSET(iommu_hwpt_pgfault, dev_id, 4);
UAPI_OFFSET(iommu_hwpt_pgfault, pasid, 8);
UAPI_OFFSET(iommu_hwpt_pgfault, grpid, 12);
UAPI_OFFSET(iommu_hwpt_pgfault, perm, 16);
UAPI_OFFSET(iommu_hwpt_pgfault, __reserved, 20);
UAPI_OFFSET(iommu_hwpt_pgfault, addr, 24);
UAPI_OFFSET(iommu_hwpt_pgfault, length, 32);
UAPI_OFFSET(iommu_hwpt_pgfault, cookie, 36);
UAPI_SIZE(iommu_hwpt_page_response, 8);
UAPI_OFFSET(iommu_hwpt_page_response, cookie, 0);
UAPI_OFFSET(iommu_hwpt_page_response, code, 4);
UAPI_SIZE(iommu_fault_alloc, 16);
UAPI_OFFSET(iommu_fault_alloc, size, 0);
UAPI_OFFSET(iommu_fault_alloc, flags, 4);
UAPI_OFFSET(iommu_fault_alloc, out_fault_id, 8);
UAPI_OFFSET(iommu_fault_alloc, out_fault_fd, 12);
UAPI_VALUE(IOMMU_FAULT_QUEUE_ALLOC, 0x3b8e);

enum iommu_viommu_type {
	IOMMU_VIOMMU_TYPE_DEFAULT = 0,
	IOMMU_VIOMMU_TYPE_ARM_SMMUV3 = 1,
	IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV = 2,
};

struct iommu_viommu_tegra241_cmdqv {
	uapi_aligned_u64 out_vintf_mmap_offset;
	uapi_aligned_u64 out_vintf_mmap_length;
};

/* The kernel accepts size 24, which ends before data_len. */
struct iommu_viommu_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t type;
	uint32_t dev_id;
	uint32_t hwpt_id;
	uint32_t out_viommu_id;
	uint32_t data_len;
	uint32_t __reserved;
	uapi_aligned_u64 data_uptr;
};

#define IOMMU_VIOMMU_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_VIOMMU_ALLOC)

UAPI_SIZE(iommu_viommu_tegra241_cmdqv, 16);
UAPI_OFFSET(iommu_viommu_tegra241_cmdqv, out_vintf_mmap_offset, 0);
UAPI_OFFSET(iommu_viommu_tegra241_cmdqv, out_vintf_mmap_length, 8);
UAPI_SIZE(iommu_viommu_alloc, 40);
UAPI_OFFSET(iommu_viommu_alloc, size, 0);
UAPI_OFFSET(iommu_viommu_alloc, flags, 4);
UAPI_OFFSET(iommu_viommu_alloc, type, 8);
UAPI_OFFSET(iommu_viommu_alloc, dev_id, 12);
UAPI_OFFSET(iommu_viommu_alloc, hwpt_id, 16);
UAPI_OFFSET(iommu_viommu_alloc, out_viommu_id, 20);
UAPI_OFFSET(iommu_viommu_alloc, data_len, 24);
UAPI_OFFSET(iommu_viommu_alloc, __reserved, 28);
UAPI_OFFSET(iommu_viommu_alloc, data_uptr, 32);
UAPI_VALUE(IOMMU_VIOMMU_ALLOC, 0x3b90);

struct iommu_vdevice_alloc {
	uint32_t size;
	uint32_t viommu_id;
	uint32_t dev_id;
	uint32_t out_vdevice_id;
	uapi_aligned_u64 virt_id;
};

#define IOMMU_VDEVICE_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_VDEVICE_ALLOC)

UAPI_SIZE(iommu_vdevice_alloc, 24);
UAPI_OFFSET(iommu_vdevice_alloc, size, 0);
UAPI_OFFSET(iommu_vdevice_alloc, viommu_id, 4);
UAPI_OFFSET(iommu_vdevice_alloc, dev_id, 8);
UAPI_OFFSET(iommu_vdevice_alloc, out_vdevice_id, 12);
UAPI_OFFSET(iommu_vdevice_alloc, virt_id, 16);
UAPI_VALUE(IOMMU_VDEVICE_ALLOC, 0x3b91);

enum iommu_veventq_flag {
	IOMMU_VEVENTQ_FLAG_LOST_EVENTS = 1 << 0,
};

/* Precedes each event read from the queue's fd; stands alone when it reports lost events. */
struct iommufd_vevent_header {
	uint32_t flags;
	uint32_t sequence;
};

enum iommu_veventq_type {
	IOMMU_VEVENTQ_TYPE_DEFAULT = 0,
	IOMMU_VEVENTQ_TYPE_ARM_SMMUV3 = 1,
	IOMMU_VEVENTQ_TYPE_TEGRA241_CMDQV = 2,
};

struct iommu_vevent_arm_smmuv3 {
	uapi_aligned_u64 evt[4]; /* little-endian */
};

struct iommu_vevent_tegra241_cmdqv {
	uapi_aligned_u64 lvcmdq_err_map[2]; /* little-endian */
};

/* The kernel accepts size 28, which ends before the last field. */
struct iommu_veventq_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t viommu_id;
	uint32_t type;
	uint32_t veventq_depth;
	uint32_t out_veventq_id;
	uint32_t out_veventq_fd;
	uint32_t __reserved;
};

#define IOMMU_VEVENTQ_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_VEVENTQ_ALLOC)

UAPI_SIZE(iommufd_vevent_header, 8);
UAPI_OFFSET(iommufd_vevent_header, flags, 0);
UAPI_OFFSET(iommufd_vevent_header, sequence, 4);
UAPI_SIZE(iommu_vevent_arm_smmuv3, 32);
UAPI_OFFSET(iommu_vevent_arm_smmuv3, evt, 0);
UAPI_SIZE(iommu_vevent_tegra241_cmdqv, 16);
UAPI_OFFSET(iommu_vevent_tegra241_cmdqv, lvcmdq_err_map, 0);
UAPI_SIZE(iommu_veventq_alloc, 32);
UAPI_OFFSET(iommu_veventq_alloc, size, 0);
UAPI_OFFSET(iommu_veventq_alloc, flags, 4);
UAPI_OFFSET(iommu_veventq_alloc, viommu_id, 8);
UAPI_OFFSET(iommu_veventq_alloc, type, 12);
UAPI_OFFSET(iommu_veventq_alloc, veventq_depth, 16);
UAPI_OFFSET(iommu_veventq_alloc, out_veventq_id, 20);
UAPI_OFFSET(iommu_veventq_alloc, out_veventq_fd, 24);
UAPI_OFFSET(iommu_veventq_alloc, __reserved, 28);
UAPI_VALUE(IOMMU_VEVENTQ_ALLOC, 0x3b93);

enum iommu_hw_queue_type {
	IOMMU_HW_QUEUE_TYPE_DEFAULT = 0,
	IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV = 1,
};

struct iommu_hw_queue_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t viommu_id;
	uint32_t type;
	uint32_t index;
	uint32_t out_hw_queue_id;
	uapi_aligned_u64 nesting_parent_iova;
	uapi_aligned_u64 length;
};

#define IOMMU_HW_QUEUE_ALLOC _IO(IOMMUFD_TYPE, IOMMUFD_CMD_HW_QUEUE_ALLOC)

UAPI_SIZE(iommu_hw_queue_alloc, 40);
UAPI_OFFSET(iommu_hw_queue_alloc, size, 0);
UAPI_OFFSET(iommu_hw_queue_alloc, flags, 4);
UAPI_OFFSET(iommu_hw_queue_alloc, viommu_id, 8);
UAPI_OFFSET(iommu_hw_queue_alloc, type, 12);
UAPI_OFFSET(iommu_hw_queue_alloc, index, 16);
UAPI_OFFSET(iommu_hw_queue_alloc, out_hw_queue_id, 20);
UAPI_OFFSET(iommu_hw_queue_alloc, nesting_parent_iova, 24);
UAPI_OFFSET(iommu_hw_queue_alloc, length, 32);
UAPI_VALUE(IOMMU_HW_QUEUE_ALLOC, 0x3b94);

#endif /* PFNBUF_UAPI_IOMMUFD_H */
