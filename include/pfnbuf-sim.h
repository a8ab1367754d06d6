/* SPDX-License-Identifier: MIT */
/**
 * libpfnbuf-sim: a model of Linux 7.3's VFIO, iommufd and KVM memory interfaces behind the table of
 * calls that libpfnbuf enters a kernel by. For test suites: no hardware, no root, real fds, real
 * bytes.
 *
 * Conventions are those of pfnbuf.h. A simulated kernel may be used by any number of threads and
 * contexts at once.
 *
 * Each file that it opens is a real one: its fds may be dup'ed, sent through sockets, and closed
 * without asking the table, which notices. /proc must be mounted. It keeps up to two fds of its own
 * for each, with high numbers, out of the way of the caller's.
 *
 * What it does not do: it runs no guest (what one would reach is asked with
 * pfnbuf_sim_guest_read() and _write()); it does not pin memory that an IOAS maps by address, so
 * DMA reaches what is there now; a dma-buf and a fault queue cannot be put into an epoll instance
 * (EPERM), where Linux takes them; mmap(2) of its fds without the table maps nothing of use.
 */
#ifndef PFNBUF_SIM_H
#define PFNBUF_SIM_H

#include <pfnbuf.h>

#ifdef __cplusplus
extern "C" {
#endif

struct pfnbuf_sim;

/**
 * Make a simulated kernel: no PCI devices yet, /dev/iommu and /dev/kvm present.
 *
 * -ENOMEM, -EMFILE, -ENFILE
 */
PFNBUF_API int pfnbuf_sim_new(struct pfnbuf_sim **simp);

/**
 * End it. Contexts over it must be gone; fds of it that are still open stay open and answer nothing
 * any more.
 */
PFNBUF_API struct pfnbuf_sim *pfnbuf_sim_free(struct pfnbuf_sim *sim);

/**
 * The table of calls to make contexts over: pfnbuf_ctx_opts.kernel. Lives as long as the simulated
 * kernel.
 */
PFNBUF_API const struct pfnbuf_kernel *pfnbuf_sim_kernel(struct pfnbuf_sim *sim);

/* --------------------------------------------------- what is in the machine ------ */

enum {
	PFNBUF_SIM_BAR_IO = 1 << 0, /**< I/O ports */
	PFNBUF_SIM_BAR_64 = 1 << 1, /**< 64 bits wide: the next BAR must have size 0 */
	PFNBUF_SIM_BAR_PREFETCHABLE = 1 << 2,
};

enum {
	PFNBUF_SIM_FLR = 1 << 0, /**< PCI Express capability with Function Level Reset */
	/** Advanced Features capability with Function Level Reset */
	PFNBUF_SIM_AF_FLR = 1 << 1,
	PFNBUF_SIM_PM = 1 << 2,	       /**< power management capability (D3hot) */
	PFNBUF_SIM_VF = 1 << 3,	       /**< a virtual function: no memory decode bit */
	PFNBUF_SIM_NO_DRIVER = 1 << 4, /**< not bound to vfio-pci (no cdev) */
	PFNBUF_SIM_NO_CDEV = 1 << 5,   /**< bound, but the kernel has no VFIO cdevs */
	PFNBUF_SIM_NO_GROUP = 1 << 6,  /**< no IOMMU group: bind fails with ENODEV */
	PFNBUF_SIM_NO_ACCESS = 1 << 7, /**< the cdev may not be opened: EACCES */
	PFNBUF_SIM_NO_DMABUF = 1 << 8, /**< a variant driver that exports no dma-bufs */
	/** can be reset, it seems; VFIO_DEVICE_RESET revokes and then fails with ENOTTY */
	PFNBUF_SIM_RESET_FAILS = 1 << 9,
	/** PCI Express capability with TDISP: the platform's TSM can connect to it, and bind it */
	PFNBUF_SIM_TEE = 1 << 10,
};

struct pfnbuf_sim_bar {
	uint64_t size; /**< a power of two; 0: not implemented */
	unsigned flags;
};

/**
 * A PCI device to put into the machine. It can be reset (VFIO_DEVICE_RESET) with PFNBUF_SIM_FLR or
 * PFNBUF_SIM_AF_FLR, or where it is alone in its hot_reset_set. A reset leaves the bytes of its
 * BARs as they are.
 */
struct pfnbuf_sim_device {
	const char *bdf; /**< "0000:01:00.0" */
	uint16_t vendor;
	uint16_t device;
	unsigned flags; /**< PFNBUF_SIM_* */
	struct pfnbuf_sim_bar bars[6];
	unsigned msix_vectors; /**< 0: no MSI-X capability */
	unsigned msix_bar;     /**< BAR of the MSI-X table */
	uint32_t msix_table;   /**< offset of the table, 8-byte aligned */
	unsigned msix_pba_bar; /**< BAR of the pending bit array */
	uint32_t msix_pba;     /**< offset of it */
	/** devices with the same number above 0 share one slot that can be reset */
	unsigned hot_reset_set;
	/** devices with the same number above 0 share an IOMMU group; 0: one of its own */
	unsigned iommu_group;
};

/**
 * Put a device in; also possible while contexts exist. Its cdev is vfioN, where N counts from 0.
 *
 * -EEXIST  the address is taken
 * -EINVAL  malformed address; a BAR that is not a power of two, below 16 bytes or too wide; an
 *          MSI-X table that is not inside its BAR
 * -ENOMEM, -EMFILE, -ENFILE
 */
PFNBUF_API int pfnbuf_sim_add_device(struct pfnbuf_sim *sim, const struct pfnbuf_sim_device *spec);

/** Whether /dev/iommu, /dev/kvm exist (they do at first). */
PFNBUF_API void pfnbuf_sim_set_iommufd(struct pfnbuf_sim *sim, bool present);
PFNBUF_API void pfnbuf_sim_set_kvm(struct pfnbuf_sim *sim, bool present);

/**
 * The width of the I/O virtual addresses that the machine's IOMMU takes, in bits (at first: 48;
 * 64: no limit). Holds for attachments from now on. -EINVAL: below 32 or above 64.
 */
PFNBUF_API int pfnbuf_sim_set_iova_bits(struct pfnbuf_sim *sim, unsigned bits);

/** RLIMIT_MEMLOCK of the simulated process, in bytes (at first: no limit). */
PFNBUF_API void pfnbuf_sim_set_memlock(struct pfnbuf_sim *sim, uint64_t bytes);

enum {
	/**
	 * the kernel is built with CONFIG_IOMMUFD_TEST: /dev/iommu answers IOMMU_TEST_CMD
	 * (0x3ba0), which makes mock devices, accesses as mediated devices have them, and
	 * dma-bufs of kernel memory
	 */
	PFNBUF_SIM_SELFTEST = 1 << 0,
	/**
	 * IOMMU_TEST_OP_DMABUF_GET returns 0 where it should return the fd, as Linux 7.3.4 does;
	 * the fd is open nevertheless
	 */
	PFNBUF_SIM_DMABUF_GET_ZERO = 1 << 1,
};

/**
 * Build the kernel with its own tests in it, PFNBUF_SIM_SELFTEST and other flags, or without (at
 * first; IOMMU_TEST_CMD is ENOTTY). The kernel's program tools/testing/selftests/iommu/iommufd
 * needs them. No PASIDs, vIOMMUs or dirty tracking: their operations are EOPNOTSUPP. Source:
 * drivers/iommu/iommufd/selftest.c.
 */
PFNBUF_API void pfnbuf_sim_set_selftest(struct pfnbuf_sim *sim, unsigned flags);

enum {
	/** an IOAS maps dma-bufs of several ranges, which Linux 7.3 refuses with EOPNOTSUPP */
	PFNBUF_SIM_IMPORT_RANGES = 1 << 0,
	/**
	 * memory slots on dma-bufs, KVM_MEM_VFIO_DMABUF, in VMs with private memory: private where
	 * the VM's attributes say so (RFC v2 of May 2025, patch 7)
	 */
	PFNBUF_SIM_DMABUF_SLOTS = 1 << 1,
	/** VFIO_DEVICE_TSM_BIND and _UNBIND, VMs of type TDX (the same RFC, patches 19 and 20) */
	PFNBUF_SIM_VFIO_TSM = 1 << 2,
	/**
	 * IOMMU_VDEVICE_TSM_OP, at the number of IOMMU_IOAS_NOIOMMU_GET_PA; private memory of
	 * devices is not faulted in, KVM_PRE_FAULT_MEMORY brings it (v5 of May 2026)
	 */
	PFNBUF_SIM_VDEVICE_OP = 1 << 3,
	/**
	 * IOMMU_VDEVICE_ALLOC binds and destroying the vDEVICE unbinds; IOMMU_VDEVICE_TSM_REQ
	 * validates memory of the device at guest addresses, locks and starts (Arm CCA, September
	 * 2026)
	 */
	PFNBUF_SIM_VDEVICE_BINDS = 1 << 4,
	/**
	 * KVM_SET_MEMORY_ATTRIBUTES2 on guest_memfds, whose pages are shared or private each for
	 * itself, and no KVM_SET_MEMORY_ATTRIBUTES on VMs (ENOTTY); holds for VMs made from now on
	 * (v8 of June 2026)
	 */
	PFNBUF_SIM_GMEM_ATTRIBUTES = 1 << 5,
};

/**
 * Add interfaces that are proposed for Linux and not in 7.3, or none (at first). The calls of one
 * that is not there fail as on Linux 7.3. A device that was bound to its iommufd before cannot be
 * bound to a guest: set it first.
 */
PFNBUF_API void pfnbuf_sim_set_proposed(struct pfnbuf_sim *sim, unsigned flags);

/**
 * The same by the name of one of the library's profiles, and the TSM that it takes: "mainline-7.3",
 * "tdx-rfc2", "iommufd-tsm5", "cca7" or "gmem-inplace8"; besides, "proposed" for
 * PFNBUF_SIM_IMPORT_RANGES alone. -EINVAL: none of these.
 */
PFNBUF_API int pfnbuf_sim_set_profile(struct pfnbuf_sim *sim, const char *name);

/**
 * Whether the platform has a TEE security manager, tsm0 (at first: no). Where it has, function 0 of
 * a device with PFNBUF_SIM_TEE has the tsm/ folder and `authenticated` in sysfs, on Linux 7.3 as
 * well; nothing in Linux 7.3 binds a device. Taking it away disconnects all devices.
 */
PFNBUF_API void pfnbuf_sim_set_tsm(struct pfnbuf_sim *sim, bool present);

/* --------------------------------------------------- what it would really reach -- */

/**
 * DMA by the device at @bdf to or from @iova, through what its IOAS maps at this moment. Bytes
 * before the first fault are transferred; *done (may be NULL) says how many.
 *
 * -EFAULT  not mapped, mapped without this right, or dead
 * -EPERM   the device is not attached, or is no bus master
 * -ENODEV  no such device
 */
PFNBUF_API int pfnbuf_sim_dma_read(struct pfnbuf_sim *sim, const char *bdf, uint64_t iova,
				   void *data, size_t length, size_t *done);
PFNBUF_API int pfnbuf_sim_dma_write(struct pfnbuf_sim *sim, const char *bdf, uint64_t iova,
				    const void *data, size_t length, size_t *done);

/**
 * Access by the guest of the VM behind @vm_fd at @gpa, as private or shared memory.
 *
 * -ENXIO   no slot: an MMIO exit to the VMM
 * -EFAULT  KVM_EXIT_MEMORY_FAULT or a failed KVM_RUN: the attribute says otherwise, nothing is
 *          behind it, BAR memory off
 * -EIO     memory of a device that is revoked, or not bound and locked for this guest, or of
 *          which the device says the opposite (shared or private)
 * -EROFS   a write to a read-only slot
 * -EBADF   not a VM of this kernel
 */
PFNBUF_API int pfnbuf_sim_guest_read(struct pfnbuf_sim *sim, int vm_fd, uint64_t gpa,
				     bool as_private, void *data, size_t length);
PFNBUF_API int pfnbuf_sim_guest_write(struct pfnbuf_sim *sim, int vm_fd, uint64_t gpa,
				      bool as_private, const void *data, size_t length);

/**
 * Let somebody else hold the page at @offset of a guest_memfd, or let it go: a device of a mediated
 * driver, another process, I/O that is under way. While it is held KVM_SET_MEMORY_ATTRIBUTES2 does
 * not make it private (PFNBUF_SIM_GMEM_ATTRIBUTES).
 *
 * -EBADF  not a guest_memfd of this kernel
 * -EINVAL @offset is behind its end
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_sim_gmem_pin(struct pfnbuf_sim *sim, int fd, uint64_t offset, bool on);

/**
 * The bytes behind a BAR, whatever its state: what the device itself sees. -ENODEV; -EINVAL:
 * outside the BAR.
 */
PFNBUF_API int pfnbuf_sim_bar_peek(struct pfnbuf_sim *sim, const char *bdf, unsigned bar,
				   uint64_t offset, void *data, size_t length);
PFNBUF_API int pfnbuf_sim_bar_poke(struct pfnbuf_sim *sim, const char *bdf, unsigned bar,
				   uint64_t offset, const void *data, size_t length);

/* --------------------------------------------------- trouble --------------------- */

/**
 * Let the @n-th call from now on (1: the next) fail with -@error without having any effect. Only
 * calls through the table count, and of these not close, munmap and read of an eventfd, which
 * cannot fail so. 0 takes it back.
 */
PFNBUF_API void pfnbuf_sim_fail_nth(struct pfnbuf_sim *sim, uint64_t n, int error);

/**
 * Let the @n-th ioctl with this request number fail; 0 takes it back. Independent of
 * pfnbuf_sim_fail_nth(); one setting for each request.
 */
PFNBUF_API void pfnbuf_sim_fail_ioctl(struct pfnbuf_sim *sim, unsigned long request, uint64_t n,
				      int error);

/** Calls made through the table so far that count for pfnbuf_sim_fail_nth(). */
PFNBUF_API uint64_t pfnbuf_sim_calls(struct pfnbuf_sim *sim);

/**
 * The kernel asks for the device back: signals the REQ eventfd, as a driver unbind or unplug does.
 * -ENODEV.
 */
PFNBUF_API int pfnbuf_sim_request_removal(struct pfnbuf_sim *sim, const char *bdf);

/** An AER error: signals the ERR eventfd; revokes nothing. -ENODEV. */
PFNBUF_API int pfnbuf_sim_raise_error(struct pfnbuf_sim *sim, const char *bdf);

/**
 * Reset or switch memory decode behind the library's back, as another process that shares the
 * device could. -ENODEV.
 */
PFNBUF_API int pfnbuf_sim_foreign_reset(struct pfnbuf_sim *sim, const char *bdf);
PFNBUF_API int pfnbuf_sim_foreign_decode(struct pfnbuf_sim *sim, const char *bdf, bool on);

/* --------------------------------------------------- TEE device interfaces ------ */

/**
 * What the device at @bdf reports when it is locked, as bytes (PCI Express 7.0, 11.3.11); NULL: a
 * report made from its BARs (at first), by bus address with a reporting offset of 0 and the number
 * of the BAR as range id: everything is for the guest alone, but for the pages that hold the MSI-X
 * table and the pending bits. The report is the truth, too: while the device is locked, memory that
 * it names for the guest alone is refused to everybody else. A range is taken for bus addresses
 * where these are in the BAR, and else for relative to the lowest address that is named of the BAR.
 *
 * -ENODEV  no such device
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_sim_tdi_set_report(struct pfnbuf_sim *sim, const char *bdf,
					 const void *report, size_t size);

/**
 * The report, as the guest or the VMM would get it from the TSM, with the state and the number of
 * times that the device was locked (either may be NULL).
 *
 * -ENODEV  no such device
 * -ENXIO   it is not bound, or neither CONFIG_LOCKED nor RUN
 * -EAGAIN  not ready yet (PFNBUF_SIM_TDI_REPORT_LATE)
 * -ENOSPC  longer than @size
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_sim_tdi_get_report(struct pfnbuf_sim *sim, const char *bdf, void *buf,
					 size_t size, size_t *len, enum pfnbuf_tdi_state *state,
					 uint64_t *generation);

/**
 * Whether it is bound: 1, or 0; and as above. -ENODEV.
 */
PFNBUF_API int pfnbuf_sim_tdi_state(struct pfnbuf_sim *sim, const char *bdf,
				    enum pfnbuf_tdi_state *state, uint64_t *generation);

/**
 * What a guest asks its TSM for: CONFIG_UNLOCKED to CONFIG_LOCKED, where binding has not locked the
 * device (PFNBUF_SIM_VDEVICE_BINDS), and CONFIG_LOCKED to RUN. With PFNBUF_SIM_VDEVICE_BINDS
 * starting locks first where that is to be done.
 *
 * -ENODEV  no such device
 * -ENXIO   it is not bound, or in another state
 */
PFNBUF_API int pfnbuf_sim_tdi_lock(struct pfnbuf_sim *sim, const char *bdf);
PFNBUF_API int pfnbuf_sim_tdi_start(struct pfnbuf_sim *sim, const char *bdf);

/** What can go wrong with a device or its TSM. */
enum pfnbuf_sim_tdi_fault {
	PFNBUF_SIM_TDI_NO_FAULT, /**< nothing more, whatever was injected before */
	/** from now on: the first range of the report goes on beyond the end of its BAR */
	PFNBUF_SIM_TDI_REPORT_LIES,
	/** from now on: every other time the first range is shared where it was for the guest */
	PFNBUF_SIM_TDI_REPORT_CHANGES,
	PFNBUF_SIM_TDI_REPORT_LATE,	  /**< the next reading fails with -EAGAIN */
	PFNBUF_SIM_TDI_BIND_FAILS_BEFORE, /**< the next bind fails with -EBUSY and did nothing */
	/** the next bind fails with -EIO, and the device is bound */
	PFNBUF_SIM_TDI_BIND_FAILS_AFTER_COMMIT,
	PFNBUF_SIM_TDI_UNBIND_FAILS, /**< the next unbind that is asked for: -EIO, still bound */
	/** at once: it goes to ERROR, and signals the ERR eventfd. -ENXIO: not bound */
	PFNBUF_SIM_TDI_ERROR_STATE,
};

/** -ENODEV: no such device; -ENXIO as above. */
PFNBUF_API int pfnbuf_sim_tdi_inject(struct pfnbuf_sim *sim, const char *bdf,
				     enum pfnbuf_sim_tdi_fault fault);

/** Rules that the simulated kernel can be made to break, to see that a test would notice. */
enum pfnbuf_sim_error {
	PFNBUF_SIM_ERROR_NONE,
	/** an overlapping slot is EINVAL, where Linux says EEXIST */
	PFNBUF_SIM_ERROR_SLOT_OVERLAP,
	PFNBUF_SIM_ERROR_REVOKED_IMPORT, /**< a revoked dma-buf can be imported */
	PFNBUF_SIM_ERROR_CUT_UNMAP,	 /**< an unmap that cuts an area leaves those below it */
};

/** Break a rule from now on, for tests of tests. */
PFNBUF_API void pfnbuf_sim_plant_error(struct pfnbuf_sim *sim, enum pfnbuf_sim_error error);

/* --------------------------------------------------- what is there --------------- */

/** Everything that can leak, counted. Equal before and after means nothing leaked. */
struct pfnbuf_sim_counts {
	uint64_t fds;  /**< open files of the simulated kernel, by reference */
	uint64_t ioas; /**< IOAS objects */
	uint64_t hwpts;
	uint64_t areas; /**< areas of all IOASes, dead ones included */
	uint64_t dead_areas;
	uint64_t devices; /**< devices bound to an iommufd */
	uint64_t dma_bufs;
	uint64_t guest_memfds;
	uint64_t vms;
	uint64_t slots;
	uint64_t bar_mappings;
	uint64_t pinned; /**< bytes of user memory that IOASes pin */
	uint64_t viommus;
	uint64_t vdevices;
	uint64_t tdis; /**< devices that are bound for a guest */
};

PFNBUF_API void pfnbuf_sim_get_counts(struct pfnbuf_sim *sim, struct pfnbuf_sim_counts *counts);

/**
 * The state as text, the same for the same state whatever fds and ids stand for it: devices, IOASes
 * with areas, VMs with slots and attributes. For comparing before with after. *textp is the
 * caller's, to be freed with free(). -ENOMEM.
 */
PFNBUF_API int pfnbuf_sim_dump(struct pfnbuf_sim *sim, char **textp);

/**
 * Invariant: while a guest's page is private, nobody else reaches it. For memory of the process no
 * IOMMU maps the shared memory behind the same guest address. For memory of a device that is
 * private in a guest no IOAS in sight of a device has it, no slot has it shared, and the process
 * has not mapped it. It is checked when memory becomes private, when a slot with a guest_memfd
 * or a dma-buf is made, when an area comes into sight of a device and when a BAR is mapped.
 * Memory counts as the same by address, or by file where both the slot's memory and the area
 * come from one and it was mapped through the table.
 *
 * Mistakes that come to the same are recorded, too: DMA to private memory, which does not land;
 * closing or revoking a bound device while memory of it is private in its guest. With
 * PFNBUF_SIM_VFIO_TSM memory that the guest has used may not leave its private tables (slot,
 * attribute) before the device is unbound; with PFNBUF_SIM_VDEVICE_OP private slots must have gone
 * before it is; with PFNBUF_SIM_VDEVICE_BINDS what was validated goes with the bind.
 *
 * The first violation is kept. Returns 0, or 1 and a description in *what (may be NULL), owned by
 * @sim.
 */
PFNBUF_API int pfnbuf_sim_alias(struct pfnbuf_sim *sim, const char **what);

#ifdef __cplusplus
}
#endif

#endif /* PFNBUF_SIM_H */
