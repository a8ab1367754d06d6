# SPDX-License-Identifier: MIT
# Linux 7.3 as it is: no private MMIO, no way to bind a device. Everything else of the library works.
name = mainline-7.3
about = Linux 7.3: nothing that is not merged
needs = a kernel with a TSM bind call (VFIO or iommufd) and private MMIO in KVM; none is merged up to 7.3
bind = none
private = none
