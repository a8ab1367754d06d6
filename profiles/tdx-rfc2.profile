# SPDX-License-Identifier: MIT
# "Host side (KVM/VFIO/IOMMUFD) support for TDISP using TSM", RFC v2, linux-coco, 2025-05-29: VFIO
# binds, KVM takes dma-bufs behind slots.
name = tdx-rfc2
about = TDX Connect RFC v2 of May 2025: VFIO_DEVICE_TSM_BIND, dma-buf memory slots

# VFIO_DEVICE_TSM_BIND and _UNBIND are _IO(VFIO_TYPE, VFIO_BASE + 22) and + 23. Another series uses the
# first of them to revoke a dma-buf.
bind = vfio-tsm-bind
bind.struct = vfio-pci-tsm-bind
bind.request = 0x3b7a
unbind.request = 0x3b7b

# What a bound device has in the secure EPT must stay till it is unbound (patch 20).
unbind.mappings = stay

# The series has no vIOMMU type of its own: IOMMU_VIOMMU_TYPE_DEFAULT.
viommu.type = 0

# KVM_MEM_VFIO_DMABUF. The slot shows all of the dma-buf: guest_memfd_offset is 0, sizes are equal.
private = kvm-dmabuf-slot
private.flag = 0x8
private.buffer = whole
private.attribute = yes
