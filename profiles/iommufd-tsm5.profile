# SPDX-License-Identifier: MIT
# The iommufd TSM calls, v5, May 2026: an operation on a vdevice binds it, KVM_PRE_FAULT_MEMORY brings
# the private pages in.
name = iommufd-tsm5
about = iommufd TSM v5 of May 2026: IOMMU_VDEVICE_TSM_OP, KVM_PRE_FAULT_MEMORY

# The number is IOMMU_IOAS_NOIOMMU_GET_PA in Linux 7.3.
bind = iommufd-tsm-op
bind.struct = iommu-vdevice-tsm-op
bind.request = 0x3b95
bind.op = 1
unbind.op = 2

# What the guest has of the device must be unmapped before.
unbind.mappings = go

# IOMMU_VIOMMU_TYPE_ARM_SMMUV3
viommu.type = 1

private = pre-fault
private.flag = 0x8
private.buffer = whole
private.attribute = yes
pre-fault.request = 0xc040aed5
