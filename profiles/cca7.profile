# SPDX-License-Identifier: MIT
# The Arm CCA device assignment tree, v7, September 2026: allocating a vdevice binds the device, and
# the VMM has MMIO validated for its guest.
name = cca7
about = Arm CCA device assignment v7 of September 2026: IOMMU_VDEVICE_ALLOC binds, MMIO is validated by request

bind = iommufd-vdevice-alloc

# What the guest has of the device must be unmapped before.
unbind.mappings = go

# IOMMU_VIOMMU_TYPE_ARM_REALM_SMMUV3
viommu.type = 3

# TSM_REQ_VALIDATE_MMIO through IOMMU_VDEVICE_TSM_REQ.
private = validate-mmio
private.attribute = no
validate.struct = iommu-vdevice-tsm-req
validate.payload = arm64-vdev-validate-mmio
validate.request = 0x3b96
validate.op = 4
validate.arch = 1

# The tree stands on guest_memfd conversion in place: KVM_SET_MEMORY_ATTRIBUTES2 on the guest_memfd.
gmem.struct = kvm-memory-attributes2
gmem.request = 0xc080aed2
