# SPDX-License-Identifier: MIT
# guest_memfd conversion in place, v8, 2026-06-18 (gmem-inplace-conversion-v8): attributes of the
# file, not of the VM.
name = gmem-inplace8
about = guest_memfd in-place conversion v8 of June 2026: KVM_SET_MEMORY_ATTRIBUTES2
needs = a kernel with a TSM bind call (VFIO or iommufd) and private MMIO in KVM
bind = none
private = none
gmem.struct = kvm-memory-attributes2
gmem.request = 0xc080aed2
