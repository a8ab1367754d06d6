/* SPDX-License-Identifier: MIT */
/*
 * Kernel interfaces that were proposed for Linux and are in no release, as of 7.3. Each series is a
 * proposal of its own: the numbers collide with those of other proposals and with merged ones (on
 * Linux 7.3, 0x3b95 is IOMMU_IOAS_NOIOMMU_GET_PA and capability 250 is KVM_CAP_PPC_COMPAT_CAPS), and
 * the structs changed from one posting to the next. They mean something only on a kernel that is
 * known to have them: the library makes such a call only where a profile names it.
 */
#ifndef PFNBUF_UAPI_PROPOSED_H
#define PFNBUF_UAPI_PROPOSED_H

#include "check.h"
#include "iommufd.h"
#include "kvm.h"
#include "vfio.h"

/*
 * Private MMIO through KVM and bind through VFIO: "Host side (KVM/VFIO/IOMMUFD) support for TDISP
 * using TSM", RFC v2 of May 2025, patches 7 and 19.
 */

/*
 * Of struct kvm_userspace_memory_region2: guest_memfd is a dma-buf of memory_size bytes, and
 * guest_memfd_offset is 0.
 */
#define KVM_MEM_VFIO_DMABUF (1UL << 3)

struct vfio_pci_tsm_bind {
	uint32_t argsz;
	uint32_t flags;
	uint32_t vdevice_id;
	uint32_t pad;
};

#define VFIO_DEVICE_TSM_BIND _IO(VFIO_TYPE, VFIO_BASE + 22)

struct vfio_pci_tsm_unbind {
	uint32_t argsz;
	uint32_t flags;
};

#define VFIO_DEVICE_TSM_UNBIND _IO(VFIO_TYPE, VFIO_BASE + 23)

UAPI_VALUE(KVM_MEM_VFIO_DMABUF, 8);
UAPI_SIZE(vfio_pci_tsm_bind, 16);
UAPI_OFFSET(vfio_pci_tsm_bind, argsz, 0);
UAPI_OFFSET(vfio_pci_tsm_bind, flags, 4);
UAPI_OFFSET(vfio_pci_tsm_bind, vdevice_id, 8);
UAPI_OFFSET(vfio_pci_tsm_bind, pad, 12);
UAPI_VALUE(VFIO_DEVICE_TSM_BIND, 0x3b7a);
UAPI_SIZE(vfio_pci_tsm_unbind, 8);
UAPI_OFFSET(vfio_pci_tsm_unbind, argsz, 0);
UAPI_OFFSET(vfio_pci_tsm_unbind, flags, 4);
UAPI_VALUE(VFIO_DEVICE_TSM_UNBIND, 0x3b7b);

/* Bind through iommufd: "iommufd/tsm: Add vdevice TSM bind/unbind ioctl", v5 of May 2026. */

#define IOMMUFD_CMD_VDEVICE_TSM_OP  0x95
#define IOMMUFD_CMD_VDEVICE_TSM_REQ 0x96

enum iommu_vdevice_tsm_op_type {
	IOMMU_VDEVICE_TSM_BIND = 1,
	IOMMU_VDEVICE_TSM_UNBIND = 2,
};

struct iommu_vdevice_tsm_op {
	uint32_t size;
	uint32_t type;
	uint32_t flags;
	uint32_t vdevice_id;
};

#define IOMMU_VDEVICE_TSM_OP _IO(IOMMUFD_TYPE, IOMMUFD_CMD_VDEVICE_TSM_OP)

UAPI_VALUE(IOMMUFD_CMD_VDEVICE_TSM_OP, 0x95);
UAPI_VALUE(IOMMUFD_CMD_VDEVICE_TSM_REQ, 0x96);
UAPI_VALUE(IOMMU_VDEVICE_TSM_BIND, 1);
UAPI_VALUE(IOMMU_VDEVICE_TSM_UNBIND, 2);
UAPI_SIZE(iommu_vdevice_tsm_op, 16);
UAPI_OFFSET(iommu_vdevice_tsm_op, size, 0);
UAPI_OFFSET(iommu_vdevice_tsm_op, type, 4);
UAPI_OFFSET(iommu_vdevice_tsm_op, flags, 8);
UAPI_OFFSET(iommu_vdevice_tsm_op, vdevice_id, 12);
UAPI_VALUE(IOMMU_VDEVICE_TSM_OP, 0x3b95);

/*
 * Requests of the guest, with the payloads of Arm CCA: the tree of September 2026, in which
 * IOMMU_VDEVICE_ALLOC binds and destroying the vDEVICE unbinds.
 */

/* Besides those of enum iommu_viommu_type. */
#define IOMMU_VIOMMU_TYPE_ARM_REALM_SMMUV3 3

enum iommu_vdevice_tsm_guest_tvm_arch {
	IOMMU_VDEVICE_TSM_TVM_ARCH_CCA = 1,
	IOMMU_VDEVICE_TSM_TVM_ARCH_SEV = 2,
	IOMMU_VDEVICE_TSM_TVM_ARCH_TDX = 3,
};

enum iommu_vdevice_tsm_guest_req_op {
	TSM_REQ_READ_OBJECT = 1,
	TSM_REQ_REGEN_OBJECT = 2,
	TSM_REQ_OBJECT_INFO = 3,
	TSM_REQ_VALIDATE_MMIO = 4,
	TSM_REQ_SET_TDI_STATE = 5,
	TSM_REQ_SEV_ENABLE_DMA = 6,
	TSM_REQ_SEV_DISABLE_DMA = 7,
};

/* The ioctl returns how many bytes of the response (without one: of the request) are left over. */
struct iommu_vdevice_tsm_req {
	uint32_t size;
	uint32_t vdevice_id;
	uint32_t op;
	uint32_t tvm_arch;
	uint32_t req_len;
	uint32_t resp_len;
	uapi_aligned_u64 req_uptr;
	uapi_aligned_u64 resp_uptr;
	uapi_aligned_u64 tsm_code; /* out */
};

#define IOMMU_VDEVICE_TSM_REQ _IO(IOMMUFD_TYPE, IOMMUFD_CMD_VDEVICE_TSM_REQ)

/* Request of TSM_REQ_VALIDATE_MMIO: [gpa_base, gpa_top) shows the device's memory from pa_base. */
struct arm64_vdev_validate_mmio_guest_req {
	uapi_aligned_u64 gpa_base;
	uapi_aligned_u64 gpa_top;
	uapi_aligned_u64 pa_base;
};

/* Request of TSM_REQ_SET_TDI_STATE; the states are those of Arm's host interface, not TDISP's. */
struct arm64_vdev_set_tdi_state_guest_req {
	uint32_t tdi_state;
};

#define RHI_DA_TDI_CONFIG_UNLOCKED 0
#define RHI_DA_TDI_CONFIG_LOCKED   1
#define RHI_DA_TDI_CONFIG_RUN	   2

UAPI_VALUE(IOMMU_VIOMMU_TYPE_ARM_REALM_SMMUV3, 3);
UAPI_VALUE(IOMMU_VDEVICE_TSM_TVM_ARCH_CCA, 1);
UAPI_VALUE(IOMMU_VDEVICE_TSM_TVM_ARCH_SEV, 2);
UAPI_VALUE(IOMMU_VDEVICE_TSM_TVM_ARCH_TDX, 3);
UAPI_VALUE(TSM_REQ_READ_OBJECT, 1);
UAPI_VALUE(TSM_REQ_REGEN_OBJECT, 2);
UAPI_VALUE(TSM_REQ_OBJECT_INFO, 3);
UAPI_VALUE(TSM_REQ_VALIDATE_MMIO, 4);
UAPI_VALUE(TSM_REQ_SET_TDI_STATE, 5);
UAPI_VALUE(TSM_REQ_SEV_ENABLE_DMA, 6);
UAPI_VALUE(TSM_REQ_SEV_DISABLE_DMA, 7);
UAPI_VALUE(RHI_DA_TDI_CONFIG_UNLOCKED, 0);
UAPI_VALUE(RHI_DA_TDI_CONFIG_LOCKED, 1);
UAPI_VALUE(RHI_DA_TDI_CONFIG_RUN, 2);
UAPI_SIZE(iommu_vdevice_tsm_req, 48);
UAPI_OFFSET(iommu_vdevice_tsm_req, size, 0);
UAPI_OFFSET(iommu_vdevice_tsm_req, vdevice_id, 4);
UAPI_OFFSET(iommu_vdevice_tsm_req, op, 8);
UAPI_OFFSET(iommu_vdevice_tsm_req, tvm_arch, 12);
UAPI_OFFSET(iommu_vdevice_tsm_req, req_len, 16);
UAPI_OFFSET(iommu_vdevice_tsm_req, resp_len, 20);
UAPI_OFFSET(iommu_vdevice_tsm_req, req_uptr, 24);
UAPI_OFFSET(iommu_vdevice_tsm_req, resp_uptr, 32);
UAPI_OFFSET(iommu_vdevice_tsm_req, tsm_code, 40);
UAPI_VALUE(IOMMU_VDEVICE_TSM_REQ, 0x3b96);
UAPI_SIZE(arm64_vdev_validate_mmio_guest_req, 24);
UAPI_OFFSET(arm64_vdev_validate_mmio_guest_req, gpa_base, 0);
UAPI_OFFSET(arm64_vdev_validate_mmio_guest_req, gpa_top, 8);
UAPI_OFFSET(arm64_vdev_validate_mmio_guest_req, pa_base, 16);
UAPI_SIZE(arm64_vdev_set_tdi_state_guest_req, 4);
UAPI_OFFSET(arm64_vdev_set_tdi_state_guest_req, tdi_state, 0);

/*
 * A guest_memfd whose pages are shared or private each for itself: "guest_memfd in-place conversion
 * support", v8 of June 2026. KVM_SET_MEMORY_ATTRIBUTES2 is a call on the guest_memfd's fd.
 */

/* The attributes that the call takes, a bitmask. */
#define KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES 250

#define KVM_SET_MEMORY_ATTRIBUTES2_ZERO	    (1ULL << 0)
#define KVM_SET_MEMORY_ATTRIBUTES2_PRESERVE (1ULL << 1)

struct kvm_memory_attributes2 {
	union {
		uint64_t address;
		uint64_t offset; /* in the guest_memfd */
	};
	uint64_t size;
	uint64_t attributes;
	uint64_t flags;
	uint64_t error_offset; /* out: of the page in the way, with EAGAIN */
	uint64_t reserved[11];
};

#define KVM_SET_MEMORY_ATTRIBUTES2 _IOWR(KVMIO, 0xd2, struct kvm_memory_attributes2)

UAPI_VALUE(KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES, 250);
UAPI_VALUE(KVM_SET_MEMORY_ATTRIBUTES2_ZERO, 1);
UAPI_VALUE(KVM_SET_MEMORY_ATTRIBUTES2_PRESERVE, 2);
UAPI_SIZE(kvm_memory_attributes2, 128);
UAPI_OFFSET(kvm_memory_attributes2, address, 0);
UAPI_OFFSET(kvm_memory_attributes2, offset, 0);
UAPI_OFFSET(kvm_memory_attributes2, size, 8);
UAPI_OFFSET(kvm_memory_attributes2, attributes, 16);
UAPI_OFFSET(kvm_memory_attributes2, flags, 24);
UAPI_OFFSET(kvm_memory_attributes2, error_offset, 32);
UAPI_OFFSET(kvm_memory_attributes2, reserved, 40);
UAPI_VALUE(KVM_SET_MEMORY_ATTRIBUTES2, 0xc080aed2);

#endif /* PFNBUF_UAPI_PROPOSED_H */
