/* SPDX-License-Identifier: MIT */
/*
 * The last-error record: which call, on what, with which errno, why, and what to do.
 *
 * The record is the thread's own and holds copies, so that it outlives the object it speaks of.
 */
#include <stdarg.h>
#include <stdio.h>
#include <inttypes.h>

#include "private.h"

/*
 * What an errno of a call means. A row with code 0 holds for any errno that has no row of its own.
 */
struct explanation {
	const char *call;
	int code;
	const char *cause;
	const char *hint;
};

static const struct explanation explanations[] = {
	/* opening */
	{ "open /dev/iommu", ENOENT,
	  "there is no /dev/iommu: this kernel was built without CONFIG_IOMMUFD",
	  "boot a kernel with CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV (Debian's stock kernels have "
	  "neither), or load the iommufd module" },
	{ "open /dev/iommu", ENODEV, "/dev/iommu exists but no driver is behind it",
	  "load the iommufd module" },
	{ "open /dev/iommu", EACCES, "this user may not open /dev/iommu",
	  "run as root, or give the user access to the node" },
	{ "open /dev/kvm", ENOENT,
	  "there is no /dev/kvm: KVM is not loaded, or the processor cannot",
	  "load kvm_intel or kvm_amd; inside a virtual machine, enable nested virtualisation" },
	{ "open /dev/kvm", EACCES, "this user may not open /dev/kvm",
	  "run as root, or add the user to the group kvm" },
	{ "open VFIO cdev", EACCES, "this user may not open the device node (its mode is 0600)",
	  "run as root, or change the owner of the node" },
	{ "open VFIO cdev", EPERM, "a no-IOMMU device needs CAP_SYS_RAWIO", "run as root" },
	{ "open VFIO cdev", ENODEV, "the device is being taken from its driver",
	  "bind it to vfio-pci again" },

	/* VFIO */
	{ "VFIO_DEVICE_BIND_IOMMUFD", EINVAL,
	  "the device is open by another fd, is not cache coherent, or takes no VF token",
	  "close the other user of the device" },
	{ "VFIO_DEVICE_BIND_IOMMUFD", EBUSY,
	  "its IOMMU group is in use through /dev/vfio/N or by a host driver",
	  "bind every device of the group to vfio-pci and close the group's users" },
	{ "VFIO_DEVICE_BIND_IOMMUFD", EPERM,
	  "the platform has no isolated MSI, or the DMA of its IOMMU group belongs to somebody else",
	  "see the iommufd module's parameter allow_unsafe_interrupts, or close the other owner" },
	{ "VFIO_DEVICE_BIND_IOMMUFD", ENODEV,
	  "the device has no IOMMU group: no IOMMU stands before it",
	  "enable the IOMMU (intel_iommu=on, or in the firmware), or use no-IOMMU mode" },
	{ "VFIO_DEVICE_BIND_IOMMUFD", EACCES, "the VF token is missing or wrong",
	  "pass the token that the physical function's user set" },
	{ "VFIO_DEVICE_BIND_IOMMUFD", EAGAIN, "somebody else is resetting the device",
	  "try again" },
	{ "VFIO_DEVICE_BIND_IOMMUFD", EBADFD, "the context's iommufd is not an iommufd",
	  "hand in an fd of /dev/iommu" },
	{ "VFIO_DEVICE_BIND_IOMMUFD", EIO, "the device could not be resumed",
	  "see the kernel's log: it may be gone from the bus" },
	{ "VFIO_DEVICE_GET_INFO", EIO, "the device could not be resumed",
	  "see the kernel's log: it may be gone from the bus" },
	{ "VFIO_DEVICE_BIND_IOMMUFD", ENOTTY, "the fd is not a VFIO device",
	  "hand in an fd of a VFIO cdev" },
	{ "VFIO_DEVICE_ATTACH_IOMMUFD_PT", ENOENT, "the IOAS is gone", "" },
	{ "VFIO_DEVICE_ATTACH_IOMMUFD_PT", EADDRINUSE,
	  "the IOAS maps or allows addresses that the device's IOMMU reserves, or areas are misaligned for it",
	  "ask an IOAS that the device is attached to for its IOVA ranges and map inside them" },
	{ "VFIO_DEVICE_ATTACH_IOMMUFD_PT", EINVAL,
	  "a device of its IOMMU group is attached to another IOAS, or a mapped file cannot be pinned",
	  "attach the devices of a group to one IOAS" },
	{ "VFIO_DEVICE_ATTACH_IOMMUFD_PT", EFAULT,
	  "an area of the IOAS maps memory that is not there",
	  "unmap areas over unmapped memory or BAR mappings first" },
	{ "VFIO_DEVICE_ATTACH_IOMMUFD_PT", ENOMEM,
	  "pinning the mapped memory exceeds RLIMIT_MEMLOCK", "raise RLIMIT_MEMLOCK or map less" },
	{ "VFIO_DEVICE_ATTACH_IOMMUFD_PT", EBUSY, "the device, or one of its group, is being reset",
	  "try again" },
	{ "VFIO_DEVICE_RESET", EINVAL, "the device has no function reset",
	  "use a hot reset of its slot or bus" },
	{ "VFIO_DEVICE_RESET", EAGAIN, "somebody else holds the device's lock", "try again" },
	{ "VFIO_DEVICE_RESET", ENOTTY, "no reset method worked",
	  "use a hot reset of its slot or bus" },
	{ "VFIO_DEVICE_PCI_HOT_RESET", EINVAL,
	  "a device of the reset set is not bound to VFIO, or belongs to another iommufd",
	  "list the set with pfnbuf_device_hot_reset_set() and bind each to this iommufd" },
	{ "VFIO_DEVICE_PCI_HOT_RESET", ENODEV, "neither the slot nor the bus can be reset", "" },
	{ "VFIO_DEVICE_PCI_HOT_RESET", EBUSY, "a device of the reset set is locked", "try again" },
	{ "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", ENOSPC, "the reset set has more than 256 devices",
	  "" },
	{ "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", ENODEV, "neither the slot nor the bus can be reset",
	  "" },
	{ "VFIO_DEVICE_FEATURE_DMA_BUF", EINVAL,
	  "a slice is misaligned or leaves the BAR, or the BAR is I/O ports or smaller than a page",
	  "offsets and lengths are multiples of the page size inside a memory BAR" },
	{ "VFIO_DEVICE_FEATURE_DMA_BUF", ENODEV,
	  "the device has no such BAR, or it cannot be claimed",
	  "the upper half of a 64-bit BAR is not a BAR; see lspci -v" },
	{ "VFIO_DEVICE_FEATURE_DMA_BUF", EOPNOTSUPP, "the device's driver exports no dma-bufs",
	  "only vfio-pci and nvgrace-gpu-vfio-pci do" },
	{ "VFIO_DEVICE_FEATURE_DMA_BUF", ENOTTY, "this kernel cannot export a BAR as a dma-buf",
	  "Linux 6.19 or newer with CONFIG_VFIO_PCI_DMABUF (needs CONFIG_PCI_P2PDMA) can" },
	{ "VFIO_DEVICE_FEATURE_DMA_BUF", ENOMEM, "too many slices, or no memory",
	  "export fewer at once" },
	{ "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY", EINVAL, "the device is in low power already", "" },
	{ "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY", ENOTTY, "the driver has no low-power feature",
	  "" },
	{ "VFIO_DEVICE_FEATURE_LOW_POWER_EXIT", ENOTTY, "the driver has no low-power feature", "" },
	{ "VFIO_DEVICE_SET_IRQS", EINVAL, "this interrupt index does not exist on the device", "" },
	{ "mmap of a BAR", EINVAL, "the BAR cannot be mapped, or the range leaves it",
	  "see pfnbuf_device_get_bar() for its size and flags" },
	{ "mmap of a BAR", EBUSY,
	  "another driver has claimed the BAR, or the device is bound to a guest", "" },
	{ "mmap of a BAR", ENODEV, "the kernel has claimed no memory for the BAR", "" },
	{ "pread of a BAR", EIO, "the device's memory is off (decode cleared, or D3hot)",
	  "turn memory decode on" },
	{ "pwrite of a BAR", EIO, "the device's memory is off (decode cleared, or D3hot)",
	  "turn memory decode on" },
	{ "pread of a BAR", EBUSY, "another driver has claimed the BAR", "" },
	{ "pwrite of a BAR", EBUSY, "another driver has claimed the BAR", "" },
	{ "read of the PCI resources", EACCES, "this process may not read BAR addresses in sysfs",
	  "run as root" },
	{ "pread of configuration space", EFAULT, "the range leaves configuration space", "" },
	{ "pwrite of configuration space", EFAULT, "the range leaves configuration space", "" },
	{ "pread of configuration space", EIO, "the device could not be resumed", "" },
	{ "pwrite of configuration space", EIO, "the device could not be resumed", "" },

	/* the TSM */
	{ "write of tsm/connect", EBUSY, "a TSM is connected to the device",
	  "disconnect it first; pfnbuf_tsm_get_info() names it" },
	{ "write of tsm/connect", ENXIO, "there is no such TSM, or it does not take the device",
	  "see /sys/class/tsm" },
	{ "write of tsm/connect", EINVAL, "the TSM's driver finds the device's state wrong",
	  "see the kernel's log" },
	{ "write of tsm/connect", EIO, "the device did not answer the TSM as it should",
	  "see the kernel's log" },
	{ "write of tsm/connect", EACCES, "this process may not write sysfs", "run as root" },
	{ "write of tsm/connect", EINTR, "interrupted by a fatal signal", "" },
	{ "write of tsm/disconnect", ENXIO, "no TSM is connected to the device", "" },
	{ "write of tsm/disconnect", EINVAL, "another TSM is connected to the device",
	  "pfnbuf_tsm_get_info() names it" },
	{ "write of tsm/disconnect", EACCES, "this process may not write sysfs", "run as root" },

	{ "write of tsm/disconnect", EINTR, "interrupted by a fatal signal", "" },
	{ "read of the TSM's state", EACCES, "this process may not read sysfs", "run as root" },
	{ "read of the TSM's state", EINTR, "interrupted by a signal while the TSM was busy",
	  "try again" },

	/* binding; the numbers of these calls are the profile's */
	{ "VFIO_DEVICE_TSM_BIND", EINVAL,
	  "the kernel knows of no VM for the device, or no TSM has a session with it",
	  "call pfnbuf_vm_add_device() before pfnbuf_device_bind(), and pfnbuf_tsm_connect()" },
	{ "VFIO_DEVICE_TSM_BIND", EBUSY,
	  "somebody still maps the device's memory, or it is bound to another VM",
	  "close its dma-bufs and BAR mappings" },
	{ "VFIO_DEVICE_TSM_BIND", ENXIO, "the TSM does not bind devices", "" },
	{ "VFIO_DEVICE_TSM_BIND", EIO, "the TSM or the device failed on the way",
	  "see the kernel's log" },
	{ "VFIO_DEVICE_TSM_BIND", ENOENT, "there is no such vDEVICE", "see opts.vdevice_id" },
	{ "VFIO_DEVICE_TSM_BIND", ENOTTY, "this kernel has no such call: the profile is not its",
	  "choose the profile of the kernel that runs" },
	{ "VFIO_DEVICE_TSM_UNBIND", EIO, "the TSM or the device failed on the way",
	  "see the kernel's log" },
	{ "VFIO_DEVICE_TSM_UNBIND", ENOTTY, "this kernel has no such call: the profile is not its",
	  "choose the profile of the kernel that runs" },
	{ "IOMMU_VDEVICE_TSM_OP", EINVAL,
	  "the kernel knows of no VM for the device, or no TSM has a session with it",
	  "call pfnbuf_vm_add_device() before pfnbuf_device_bind(), and pfnbuf_tsm_connect()" },
	{ "IOMMU_VDEVICE_TSM_OP", EBUSY, "the device is bound to another VM, or still in use", "" },
	{ "IOMMU_VDEVICE_TSM_OP", ENXIO, "the TSM does not bind devices", "" },
	{ "IOMMU_VDEVICE_TSM_OP", EIO, "the TSM or the device failed on the way",
	  "see the kernel's log" },
	{ "IOMMU_VDEVICE_TSM_OP", ENOENT, "there is no such vDEVICE", "see opts.vdevice_id" },
	{ "IOMMU_VDEVICE_TSM_OP", ENOTTY, "this kernel has no such call: the profile is not its",
	  "choose the profile of the kernel that runs" },
	{ "IOMMU_VDEVICE_ALLOC that binds", EINVAL,
	  "the kernel knows of no VM for the device, or no TSM has a session with it",
	  "call pfnbuf_vm_add_device() before pfnbuf_device_bind(), and pfnbuf_tsm_connect()" },
	{ "IOMMU_VDEVICE_ALLOC that binds", EEXIST,
	  "the device has a vDEVICE, or virt_id is in use", "see opts.virt_id" },
	{ "IOMMU_VDEVICE_ALLOC that binds", ENOENT, "there is no such vIOMMU",
	  "see opts.viommu_id" },
	{ "IOMMU_VDEVICE_ALLOC", EEXIST, "the device has a vDEVICE, or virt_id is in use",
	  "see opts.vdevice_id and opts.virt_id" },
	{ "IOMMU_VDEVICE_ALLOC", ENOENT, "there is no such vIOMMU", "see opts.viommu_id" },
	{ "IOMMU_HWPT_ALLOC", EOPNOTSUPP,
	  "the device's IOMMU cannot be nested, so that no guest's IOMMU can stand on it",
	  "choose the profile of the kernel that runs, or give opts.viommu_id" },
	{ "IOMMU_VIOMMU_ALLOC", EOPNOTSUPP, "the device's IOMMU has no vIOMMU of this type",
	  "choose the profile of the kernel that runs, or give opts.viommu_id" },
	{ "IOMMU_DESTROY of a bound vDEVICE", EBUSY, "what the guest has of the device is in use",
	  "" },
	{ "IOMMU_VDEVICE_TSM_REQ", EINVAL, "the range is not in a BAR of the device",
	  "see sysfs for where its BARs are" },
	{ "IOMMU_VDEVICE_TSM_REQ", ENXIO, "the device is not bound", "" },

	/* profiles */
	{ "pfnbuf_profile_load", EACCES, "this user may not read the file", "" },
	{ "pfnbuf_profile_load", EISDIR, "the path is a folder's", "name the file in it" },

	/* iommufd */
	{ "IOMMU_IOAS_MAP", EEXIST, "part of the range is mapped",
	  "unmap it first, or let the kernel choose" },
	{ "IOMMU_IOAS_MAP", EINVAL,
	  "the address or length is misaligned, or the range hits addresses that an attached device reserves",
	  "see pfnbuf_ioas_get_iova_ranges()" },
	{ "IOMMU_IOAS_MAP", EOVERFLOW, "the range wraps around", "" },
	{ "IOMMU_IOAS_MAP", ENOSPC, "no free range of this length",
	  "unmap something, or lift the allow list" },
	{ "IOMMU_IOAS_MAP", EFAULT, "the memory is not mapped, not writeable, or is device memory",
	  "map a BAR by exporting it as a dma-buf" },
	{ "IOMMU_IOAS_MAP", ENOMEM,
	  "pinning the memory exceeds RLIMIT_MEMLOCK, or there is no memory",
	  "raise RLIMIT_MEMLOCK" },
	{ "IOMMU_IOAS_MAP_FILE", EEXIST, "part of the range is mapped",
	  "unmap it first, or let the kernel choose" },
	{ "IOMMU_IOAS_MAP_FILE", ENODEV,
	  "the dma-buf is revoked: its device's memory is off, or the device is closed",
	  "turn memory decode on (or finish the reset) before mapping; the buffer of a closed device is gone" },
	{ "IOMMU_IOAS_MAP_FILE", EOPNOTSUPP,
	  "this kernel cannot import the dma-buf: it has more than one slice, or its exporter is not VFIO",
	  "export each slice as a buffer of its own" },
	{ "IOMMU_IOAS_MAP_FILE", EINVAL,
	  "the range is misaligned or leaves the file, hits reserved addresses, or the file is neither shared "
	  "memory nor a dma-buf (a guest_memfd cannot be mapped for devices)",
	  "see pfnbuf_ioas_get_iova_ranges()" },
	{ "IOMMU_IOAS_MAP_FILE", EBADF, "the fd is not open", "" },
	{ "IOMMU_IOAS_MAP_FILE", EOVERFLOW, "the range wraps around", "" },
	{ "IOMMU_IOAS_MAP_FILE", ENOSPC, "no free range of this length",
	  "unmap something, or lift the allow list" },
	{ "IOMMU_IOAS_MAP_FILE", ENOMEM,
	  "pinning the memory exceeds RLIMIT_MEMLOCK, or there is no memory",
	  "raise RLIMIT_MEMLOCK" },
	{ "IOMMU_IOAS_MAP_FILE", ENOTTY, "this kernel has no IOMMU_IOAS_MAP_FILE",
	  "Linux 6.13 or newer has" },
	{ "IOMMU_IOAS_MAP", ENOENT, "the IOAS is gone", "" },
	{ "IOMMU_IOAS_MAP_FILE", ENOENT, "the IOAS is gone", "" },
	{ "IOMMU_IOAS_MAP_FILE", EFAULT, "the file's pages cannot be pinned", "" },
	{ "IOMMU_IOAS_COPY", EFAULT, "memory that the source maps cannot be pinned", "" },
	{ "IOMMU_IOAS_COPY", ENOSPC, "no free range of this length",
	  "unmap something, or lift the allow list" },
	{ "IOMMU_IOAS_COPY", ENOENT, "the source range is not mapped without a gap", "" },
	{ "IOMMU_IOAS_COPY", EPERM,
	  "writing was asked for, and the source is mapped for reading only", "" },
	{ "IOMMU_IOAS_COPY", EEXIST, "part of the range is mapped",
	  "unmap it first, or let the kernel choose" },
	{ "IOMMU_IOAS_COPY", EINVAL, "the range is misaligned or hits reserved addresses",
	  "see pfnbuf_ioas_get_iova_ranges()" },
	{ "IOMMU_IOAS_COPY", EOVERFLOW, "the range wraps around", "" },
	{ "IOMMU_IOAS_UNMAP", ENOENT, "nothing is mapped there, or the range cuts an area",
	  "areas are unmapped whole" },
	{ "IOMMU_IOAS_UNMAP", EBUSY, "the area is being mapped, or hardware holds it",
	  "try again" },
	{ "IOMMU_IOAS_UNMAP", EDEADLK, "a mediated device does not let go of the area",
	  "close that device" },
	{ "IOMMU_IOAS_UNMAP", EOVERFLOW, "the range wraps around", "" },
	{ "IOMMU_IOAS_UNMAP", EINVAL, "the range is empty", "" },
	{ "IOMMU_IOAS_ALLOW_IOVAS", EADDRINUSE, "an attached device reserves part of it", "" },
	{ "IOMMU_IOAS_ALLOW_IOVAS", EINVAL, "a range is below two bytes, or two overlap", "" },
	{ "IOMMU_IOAS_ALLOW_IOVAS", ENOENT, "the IOAS is gone", "" },
	{ "IOMMU_IOAS_IOVA_RANGES", ENOENT, "no IOAS has this id", "" },
	{ "IOMMU_DESTROY", EBUSY, "something still refers to it", "detach its devices first" },
	{ "IOMMU_DESTROY", ENOENT, "it is gone", "" },
	{ "IOMMU_OPTION", EADDRINUSE, "areas are not aligned to pages", "" },
	{ "IOMMU_OPTION", ENOENT, "the IOAS is gone", "" },
	{ "IOMMU_OPTION", EINVAL, "a device is attached and areas are mapped: too late",
	  "set it earlier" },
	{ "IOMMU_IOAS_NOIOMMU_GET_PA", EOPNOTSUPP,
	  "no no-IOMMU device is attached, or the kernel lacks CONFIG_IOMMUFD_NOIOMMU", "" },
	{ "IOMMU_IOAS_NOIOMMU_GET_PA", ENOTTY, "this kernel has no such call",
	  "Linux 7.3 or newer has" },
	{ "IOMMU_IOAS_NOIOMMU_GET_PA", EPERM, "CAP_SYS_RAWIO is needed", "run as root" },
	{ "IOMMU_IOAS_NOIOMMU_GET_PA", ENOENT, "nothing is mapped there", "" },
	{ "IOMMU_IOAS_NOIOMMU_GET_PA", EINVAL, "the dma-buf is revoked, or the length is 0", "" },

	/* KVM */
	{ "KVM_CREATE_VM", EINVAL, "this kernel or processor has no VM of this type",
	  "KVM_CAP_VM_TYPES lists those it has; SW_PROTECTED needs CONFIG_KVM_SW_PROTECTED_VM and the TDP MMU" },
	{ "KVM_SET_USER_MEMORY_REGION2", EEXIST,
	  "it overlaps another slot, or the guest_memfd range is in one",
	  "delete that slot first" },
	{ "KVM_SET_USER_MEMORY_REGION2", EINVAL,
	  "misaligned, beyond the guest's physical addresses, or flags or a guest_memfd that this VM does not take",
	  "a guest_memfd must be of the same VM, reach far enough, and goes with neither dirty logging nor READONLY" },
	{ "KVM_SET_USER_MEMORY_REGION2", EBADF, "the guest_memfd is closed", "" },
	{ "KVM_SET_USER_MEMORY_REGION2", ENOTTY, "this kernel has no KVM_SET_USER_MEMORY_REGION2",
	  "Linux 6.8 or newer has" },
	{ "KVM_SET_USER_MEMORY_REGION", EEXIST, "it overlaps another slot",
	  "delete that slot first" },
	{ "KVM_SET_USER_MEMORY_REGION", EINVAL,
	  "misaligned, beyond the guest's physical addresses, or bad flags", "" },
	{ "KVM_SET_USER_MEMORY_REGION", EFAULT, "beyond the guest's physical addresses", "" },
	{ "KVM_SET_USER_MEMORY_REGION2", EFAULT, "beyond the guest's physical addresses", "" },
	{ "KVM_SET_USER_MEMORY_REGION", EIO, "the VM is dead, or was made by another process", "" },
	{ "KVM_SET_USER_MEMORY_REGION2", EIO, "the VM is dead, or was made by another process",
	  "" },
	{ "KVM_SET_MEMORY_ATTRIBUTES", EIO, "the VM is dead, or was made by another process", "" },
	{ "KVM_CREATE_GUEST_MEMFD", EINVAL,
	  "the length is 0 or misaligned, or this VM does not take the flags",
	  "INIT_SHARED is for VMs without private memory" },
	{ "KVM_CREATE_GUEST_MEMFD", ENOTTY, "this kernel has no guest_memfd",
	  "Linux 6.8 or newer with CONFIG_KVM_GUEST_MEMFD has" },
	{ "KVM_SET_MEMORY_ATTRIBUTES", EINVAL,
	  "the range is empty or misaligned, or this VM has no private memory",
	  "use a VM type with private memory (SW_PROTECTED, SNP, TDX)" },
	{ "KVM_SET_MEMORY_ATTRIBUTES", ENOTTY, "this kernel has no memory attributes",
	  "Linux 6.8 or newer on x86 has, with a confidential VM type built in" },
	{ "KVM_PRE_FAULT_MEMORY", ENOENT, "no slot is there", "" },
	{ "KVM_PRE_FAULT_MEMORY", EOPNOTSUPP, "this VM or processor cannot", "" },
	{ "KVM_PRE_FAULT_MEMORY", EFAULT, "what is behind the slot cannot be faulted in", "" },
	{ "KVM_PRE_FAULT_MEMORY", EINVAL, "the range is empty or misaligned", "" },
	{ "KVM_PRE_FAULT_MEMORY", EAGAIN, "slots are being changed", "try again" },
	{ "KVM_GET_DIRTY_LOG", ENXIO, "the VM logs dirty pages into rings, without bitmaps", "" },
	{ "KVM_GET_DIRTY_LOG", ENOENT, "no such slot, or it is not logged",
	  "set PFNBUF_SLOT_LOG_DIRTY" },
	{ "KVM_CREATE_DEVICE", ENODEV, "this kernel has no kvm-vfio device", "CONFIG_KVM_VFIO" },
	{ "KVM_CREATE_DEVICE", EBUSY, "the VM has a kvm-vfio device made by somebody else",
	  "let its maker add the device" },
	{ "KVM_GET_API_VERSION", ENOTTY, "the node is not KVM's", "" },
	{ "KVM_DEV_VFIO_FILE_ADD", EEXIST, "the VM knows the device", "" },
	{ "KVM_DEV_VFIO_FILE_ADD", EINVAL, "the fd is not a VFIO device", "" },
	{ "KVM_DEV_VFIO_FILE_DEL", ENOENT, "the VM does not know the device", "" },

	/* fds */
	{ "fallocate", EOPNOTSUPP, "the file cannot give pages back", "" },
	{ "memfd_create", EINVAL, "this kernel has no huge pages of that size", "" },
	{ "munmap", EINVAL, "address or length is not a multiple of the page size", "" },
	{ "mmap of a buffer", ENODEV, "the guest_memfd was made without PFNBUF_GUEST_MEMFD_MMAP",
	  "" },
};

/* errnos that say the same wherever they come from. */
static const struct explanation common[] = {
	{ NULL, EBADF, "the fd is not open", "" },
	{ NULL, EMFILE, "this process has no fd left", "raise RLIMIT_NOFILE" },
	{ NULL, ENFILE, "the system has no file left", "" },
	{ NULL, ENOMEM, "no memory", "" },
	{ NULL, EINTR, "a signal interrupted it", "call again" },
	{ NULL, EPERM, "not permitted", "" },
	{ NULL, EACCES, "no permission", "" },
	{ NULL, EFAULT, "the kernel could not read or write the caller's memory", "" },
	{ NULL, ENOTTY, "this kernel does not know the call, or the fd is of another kind", "" },
	{ NULL, EIO, "the device did not answer, or the VM is dead or another process's", "" },
	{ NULL, ENODEV, "no such device", "" },
	{ NULL, ENOENT, "no such object", "" },
	{ NULL, EINVAL, "an argument is not valid", "" },
	{ NULL, EEXIST, "it exists", "" },
	{ NULL, EBUSY, "it is in use", "" },
	{ NULL, EOVERFLOW, "the range wraps around", "" },
	{ NULL, EOPNOTSUPP, "not supported by this kernel", "" },
	{ NULL, EAGAIN, "the kernel cannot do it right now", "try again" },
	{ NULL, ENOSPC, "no room", "" },
	{ NULL, ENXIO, "there is nothing behind it", "" },
};

static _Thread_local struct pfnbuf_saved_error last = {
	.record = { .call = "", .object = "", .cause = "no error", .hint = "" },
};
static _Thread_local char line[1024];

static const struct explanation *find(const struct explanation *table, size_t n, const char *call,
				      int code)
{
	for (size_t i = 0; i < n; i++)
		if (table[i].code == code && (!table[i].call || !strcmp(table[i].call, call)))
			return &table[i];
	return NULL;
}

static const struct explanation *explain(const char *call, int code)
{
	const struct explanation *e =
		find(explanations, sizeof(explanations) / sizeof(*explanations), call, code);

	return e ? e : find(common, sizeof(common) / sizeof(*common), call, code);
}

static void set_subject(int code, const char *call, const char *object,
			const struct pfnbuf_range *range)
{
	snprintf(last.call, sizeof(last.call), "%s", call);
	snprintf(last.object, sizeof(last.object), "%s", object);
	last.record = (struct pfnbuf_error){
		.code = code,
		.call = last.call,
		.object = last.object,
		.has_range = range != NULL,
		.range = range ? *range : (struct pfnbuf_range){ 0 },
		.cause = last.cause,
		.hint = last.hint,
	};
}

int pfnbuf_failed(int code, const char *call, const char *object, const struct pfnbuf_range *range)
{
	const struct explanation *e = explain(call, -code);

	set_subject(code, call, object, range);
	snprintf(last.cause, sizeof(last.cause), "%s", e ? e->cause : "the kernel refused");
	snprintf(last.hint, sizeof(last.hint), "%s", e ? e->hint : "");
	return code;
}

int pfnbuf_refused(int code, const char *call, const char *object, const struct pfnbuf_range *range,
		   const char *hint, const char *cause, ...)
{
	va_list ap;

	set_subject(code, call, object, range);
	va_start(ap, cause);
	vsnprintf(last.cause, sizeof(last.cause), cause, ap);
	va_end(ap);
	snprintf(last.hint, sizeof(last.hint), "%s", hint);
	return code;
}

/*
 * The record points into the strings beside it, which stay where they are: they are the thread's.
 */
void pfnbuf_error_save(struct pfnbuf_saved_error *saved)
{
	*saved = last;
}

void pfnbuf_error_restore(const struct pfnbuf_saved_error *saved)
{
	last = *saved;
}

const struct pfnbuf_error *pfnbuf_last_error_record(void)
{
	return &last.record;
}

const char *pfnbuf_last_error(void)
{
	const struct pfnbuf_error *e = &last.record;
	char range[64] = "";

	if (!e->code)
		return "no error";
	if (e->has_range)
		snprintf(range, sizeof(range), " at 0x%" PRIx64 "+0x%" PRIx64, e->range.offset,
			 e->range.length);
	snprintf(line, sizeof(line), "%s on %s%s: %s: %s%s%s", e->call, e->object, range,
		 pfnbuf_errno_name(e->code), e->cause, *e->hint ? "; " : "", e->hint);
	return line;
}

static const struct {
	int code;
	const char *name;
} errno_names[] = {
#define NAME(e)                                                                                    \
	{                                                                                          \
		e, #e                                                                              \
	}
	NAME(EPERM),	    NAME(ENOENT),	 NAME(ESRCH),
	NAME(EINTR),	    NAME(EIO),		 NAME(ENXIO),
	NAME(E2BIG),	    NAME(ENOEXEC),	 NAME(EBADF),
	NAME(ECHILD),	    NAME(EAGAIN),	 NAME(ENOMEM),
	NAME(EACCES),	    NAME(EFAULT),	 NAME(ENOTBLK),
	NAME(EBUSY),	    NAME(EEXIST),	 NAME(EXDEV),
	NAME(ENODEV),	    NAME(ENOTDIR),	 NAME(EISDIR),
	NAME(EINVAL),	    NAME(ENFILE),	 NAME(EMFILE),
	NAME(ENOTTY),	    NAME(ETXTBSY),	 NAME(EFBIG),
	NAME(ENOSPC),	    NAME(ESPIPE),	 NAME(EROFS),
	NAME(EMLINK),	    NAME(EPIPE),	 NAME(EDOM),
	NAME(ERANGE),	    NAME(EDEADLK),	 NAME(ENAMETOOLONG),
	NAME(ENOLCK),	    NAME(ENOSYS),	 NAME(ENOTEMPTY),
	NAME(ELOOP),	    NAME(ENODATA),	 NAME(ETIME),
	NAME(EPROTO),	    NAME(EBADMSG),	 NAME(EOVERFLOW),
	NAME(EBADFD),	    NAME(EILSEQ),	 NAME(EUSERS),
	NAME(ENOTSOCK),	    NAME(EMSGSIZE),	 NAME(EOPNOTSUPP),
	NAME(EADDRINUSE),   NAME(EADDRNOTAVAIL), NAME(ENETDOWN),
	NAME(ECONNABORTED), NAME(ECONNRESET),	 NAME(ENOBUFS),
	NAME(EISCONN),	    NAME(ENOTCONN),	 NAME(ETIMEDOUT),
	NAME(ECONNREFUSED), NAME(EALREADY),	 NAME(EINPROGRESS),
	NAME(ESTALE),	    NAME(EREMOTEIO),	 NAME(EDQUOT),
	NAME(ECANCELED),    NAME(EOWNERDEAD),	 NAME(ENOTRECOVERABLE),
	NAME(EHWPOISON),    NAME(EKEYREJECTED),	 NAME(ENOKEY),
	NAME(ENOTUNIQ),	    NAME(EKEYEXPIRED),	 NAME(EKEYREVOKED),
#undef NAME
};

const char *pfnbuf_errno_name(int code)
{
	static _Thread_local char unknown[16];
	unsigned e = code < 0 ? -(unsigned)code : (unsigned)code;

	for (size_t i = 0; i < sizeof(errno_names) / sizeof(*errno_names); i++)
		if ((unsigned)errno_names[i].code == e)
			return errno_names[i].name;
	snprintf(unknown, sizeof(unknown), "E%u", e);
	return unknown;
}

int pfnbuf_errno_from_name(const char *name)
{
	for (size_t i = 0; i < sizeof(errno_names) / sizeof(*errno_names); i++)
		if (!strcmp(errno_names[i].name, name))
			return errno_names[i].code;
	return -ENOENT;
}
