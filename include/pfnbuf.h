/* SPDX-License-Identifier: MIT */
/**
 * libpfnbuf: buffers of page frames behind a file descriptor, placed in guest and I/O address
 * space.
 *
 * A virtual machine monitor that assigns a PCI device keeps three kernel subsystems in step: VFIO,
 * which owns the device and exports slices of its BARs as dma-bufs; iommufd, which maps them and
 * guest memory into I/O address spaces; KVM, which maps them into the guest. The kernel does not do
 * that for it. This library does.
 *
 * Conventions that hold for every function here:
 *
 * - It returns 0, or a positive condition that its comment documents, or a negative errno. `errno`
 *   is left alone.
 * - Outputs come last, through pointers, and are untouched on failure. A failed call has changed
 *   nothing unless its comment says what. pfnbuf_last_error() tells which call failed, on which
 *   object and range, why, and what to do.
 * - Addresses, offsets and lengths are in bytes.
 * - Functions that end an object return NULL and take NULL: `ioas = pfnbuf_ioas_free(ioas);`
 * - Any thread may call any function on any object; an object may not be ended while another thread
 *   uses it.
 * - File descriptors that the library makes are close-on-exec. What a comment calls *borrowed*
 *   stays the caller's.
 * - Any function that enters the kernel may also return what the kernel could add: -ENOMEM, -EINTR
 *   and, from a security module, -EPERM or -EACCES. Comments list the errnos that carry a meaning
 *   of their own.
 * - `struct ..._opts` start with their own size; set it to sizeof and zero the rest: later versions
 *   add members.
 *
 * Rules of the kernel are cited by the path of the source file, in Linux 7.3, that makes them.
 */
#ifndef PFNBUF_H
#define PFNBUF_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PFNBUF_VERSION_STRING "0.1.0"

/* Marks a function of the public interface; everything else in the library is hidden. */
#define PFNBUF_API	    __attribute__((visibility("default")))
#define PFNBUF_PRINTF(f, a) __attribute__((format(printf, f, a)))

struct stat;
struct epoll_event;

struct pfnbuf_kernel;
struct pfnbuf_ctx;
struct pfnbuf_device;
struct pfnbuf_buf;
struct pfnbuf_ioas;
struct pfnbuf_vm;
struct pfnbuf_window;
struct pfnbuf_profile;

/** A run of bytes: [offset, offset + length). */
struct pfnbuf_range {
	uint64_t offset;
	uint64_t length;
};

/**
 * The version of the library that runs, which may be newer than the header: "MAJOR.MINOR.PATCH".
 */
PFNBUF_API const char *pfnbuf_version(void);

/* ================================================================ errors ====================== */

/**
 * What the last failed call of this thread has to say. Strings live until the thread's next failing
 * call.
 */
struct pfnbuf_error {
	int code; /**< the negative errno that was returned */
	/** the call that was refused: "IOMMU_IOAS_MAP_FILE", "open", ... */
	const char *call;
	const char *object; /**< what it was made on: "ioas 3", "device 0000:01:00.0" */
	bool has_range;	    /**< whether @range means anything */
	/** the offending range, in the address space that @object names */
	struct pfnbuf_range range;
	const char *cause; /**< why, in words; never NULL */
	const char *hint;  /**< what to do about it; "" where nothing general can be said */
};

/**
 * The last failure in this thread as one line: call, object and range, errno name, cause, hint.
 * "no error" where nothing has failed yet. Never NULL; valid until the thread's next failing call.
 */
PFNBUF_API const char *pfnbuf_last_error(void);

/** The same in parts. Never NULL; code is 0 where nothing has failed yet in this thread. */
PFNBUF_API const struct pfnbuf_error *pfnbuf_last_error_record(void);

/** "ENODEV" for -ENODEV or ENODEV; "E<number>" for one that it does not know. Never NULL. */
PFNBUF_API const char *pfnbuf_errno_name(int code);

/** The errno with this name ("ENODEV" gives 19), or -ENOENT. */
PFNBUF_API int pfnbuf_errno_from_name(const char *name);

/* ================================================================ the door ==================== */

/**
 * The one door to a kernel: the table of calls through which the library enters it.
 *
 * pfnbuf_kernel_running() is the kernel this process runs on; libpfnbuf-sim answers the same table
 * from a model; a VMM that is not allowed to make such calls itself may pass them to a broker.
 * Every entry returns what the system call returns, or a negative errno; `errno` is not used.
 * Entries are called from any thread, several at once. @data is handed to each call. A table
 * outlives the contexts made over it.
 */
struct pfnbuf_kernel {
	size_t size; /**< sizeof(struct pfnbuf_kernel) */
	void *data;

	int (*open)(void *data, const char *path, int flags);
	int (*close)(void *data, int fd);
	int (*dup)(void *data, int fd); /**< fcntl(F_DUPFD_CLOEXEC) */
	int (*set_cloexec)(void *data, int fd);
	int (*ioctl)(void *data, int fd, unsigned long request, void *arg);
	int (*mmap)(void *data, void *addr, size_t length, int prot, int flags, int fd,
		    uint64_t offset, void **out);
	int (*munmap)(void *data, void *addr, size_t length);
	int (*madvise)(void *data, void *addr, size_t length, int advice);
	ssize_t (*pread)(void *data, int fd, void *buf, size_t count, uint64_t offset);
	ssize_t (*pwrite)(void *data, int fd, const void *buf, size_t count, uint64_t offset);
	ssize_t (*read)(void *data, int fd, void *buf, size_t count);
	ssize_t (*write)(void *data, int fd, const void *buf, size_t count);
	int64_t (*lseek)(void *data, int fd, int64_t offset, int whence);
	int (*fstat)(void *data, int fd, struct stat *st);
	int (*fstatfs_type)(void *data, int fd, uint64_t *f_type); /**< f_type of struct statfs */
	int (*fallocate)(void *data, int fd, int mode, uint64_t offset, uint64_t length);
	int (*ftruncate)(void *data, int fd, uint64_t length);
	int (*memfd_create)(void *data, const char *name, unsigned flags);
	/** RLIMIT_MEMLOCK in bytes; UINT64_MAX where there is none, or CAP_IPC_LOCK is held. */
	int (*memlock)(void *data, uint64_t *limit);
	int (*eventfd)(void *data, unsigned initval, int flags);
	/** timerfd_create(CLOCK_MONOTONIC), close-on-exec, non-blocking */
	int (*timerfd)(void *data);
	/** timerfd_settime(): once, @ns nanoseconds from now; 0: not any more */
	int (*timerfd_set)(void *data, int fd, uint64_t ns);
	/** not NUL terminated */
	ssize_t (*readlink)(void *data, const char *path, char *buf, size_t size);
	/**
	 * Names in a directory without "." and "..", each ended by a NUL, into @buf; returns the
	 * bytes used, -ERANGE.
	 */
	ssize_t (*list)(void *data, const char *path, char *buf, size_t size);
	int (*epoll_create)(void *data); /**< epoll_create1(EPOLL_CLOEXEC) */
	int (*epoll_ctl)(void *data, int epfd, int op, int fd, struct epoll_event *event);
	int (*epoll_wait)(void *data, int epfd, struct epoll_event *events, int max,
			  int timeout_ms);
};

/** The kernel that this process runs on. Static; never NULL. */
PFNBUF_API const struct pfnbuf_kernel *pfnbuf_kernel_running(void);

/**
 * "VFIO_DEVICE_RESET" for its number; NULL for an ioctl that the library does not make. For traces.
 */
PFNBUF_API const char *pfnbuf_kernel_ioctl_name(unsigned long request);

/* ================================================================ context ===================== */

enum pfnbuf_log_level {
	PFNBUF_LOG_ERROR,
	PFNBUF_LOG_WARNING,
	PFNBUF_LOG_INFO,
	PFNBUF_LOG_DEBUG,
};

/**
 * The only callback there is. It gets failures that no return value can carry (of calls made while
 * an object is ended) and notices, in the thread that caused them. The object that @message speaks
 * of may be locked: do not call the library from it. @message has no newline.
 */
typedef void pfnbuf_log_fn(void *data, enum pfnbuf_log_level level, const char *message);

/** How a context waits. Behaviour is the same; what differs is the price of a wake-up. */
enum pfnbuf_engine_kind {
	PFNBUF_ENGINE_EPOLL,
	/**
	 * io_uring with multishot polls: Linux 6.0, and built with liburing. The kernel may
	 * interrupt an epoll_wait(2) of a thread that bound a device, which then says EINTR without
	 * a signal. When such a thread ends, a removal request or error that was told may be told
	 * once more, if it was signalled several times at once; none is lost.
	 */
	PFNBUF_ENGINE_URING,
};

struct pfnbuf_ctx_opts {
	size_t size; /**< sizeof(struct pfnbuf_ctx_opts) */
	/** NULL: the running kernel. Borrowed until the context and its objects end */
	const struct pfnbuf_kernel *kernel;
	/** an open /dev/iommu to use, borrowed; 0 or negative: opened when first needed */
	int iommufd;
	uint32_t max_events; /**< length of the event queue; 0: 256 */
	pfnbuf_log_fn *log;  /**< NULL: none */
	void *log_data;	     /**< handed to @log */
	enum pfnbuf_engine_kind engine;
	const char *sysfs;    /**< where sysfs is mounted; NULL: "/sys" */
	const char *devtmpfs; /**< where device nodes are; NULL: "/dev" */
};

/**
 * Make a context: one door to a kernel, one pollable fd, one event queue. @opts may be NULL.
 * Objects keep their context alive; it ends when pfnbuf_ctx_free() was called and the last object
 * is gone.
 *
 * A context and its objects belong to the process that made them. After fork(2) the child may call
 * execve(2) or _exit(2), and no function on what it has inherited: no dispatch, which would take
 * the parent's notices, nor one that ends an object, nor exit(3) where a handler does that. The
 * kernel objects are the parent's as well, so that an unmap would be one of the parent's areas,
 * while its ledger still has them; a new area would map the child's memory
 * (drivers/iommu/iommufd/pages.c:iopt_alloc_pages); only KVM refuses, with EIO
 * (virt/kvm/kvm_main.c:kvm_vm_ioctl). And a lock that another thread of the parent held stays
 * locked in the child for ever. What a child is to do itself it does in a context of its own, made
 * after the fork.
 *
 * Until the child has called execve() or _exit() it holds all fds and mappings, BARs included: what
 * the parent closes meanwhile is not released, so a device that is closed stays open and its
 * dma-bufs live (drivers/vfio/vfio_main.c:vfio_device_fops_release). posix_spawn(3) keeps that
 * short. What devices reach stays the parent's memory: mappings of memfds and guest_memfds are
 * shared with the child, and of anonymous memory the child gets copies of pinned pages
 * (mm/memory.c:copy_present_page), or none with MADV_DONTFORK, which is cheaper.
 *
 * -EINVAL  opts->size is smaller than any version knew, or the kernel's table lacks a call
 * -EMFILE, -ENFILE  no fd left for the engine or its eventfd
 * -EOPNOTSUPP  opts->engine is not built in, or this kernel has no io_uring of Linux 6.0
 * -EPERM   opts->engine is PFNBUF_ENGINE_URING, and the system forbids io_uring
 */
PFNBUF_API int pfnbuf_ctx_new(struct pfnbuf_ctx **ctxp, const struct pfnbuf_ctx_opts *opts);
PFNBUF_API struct pfnbuf_ctx *pfnbuf_ctx_free(struct pfnbuf_ctx *ctx);

/** The kernel's table that the context was made over. */
PFNBUF_API const struct pfnbuf_kernel *pfnbuf_ctx_get_kernel(const struct pfnbuf_ctx *ctx);

/**
 * The fd to poll: readable (level-triggered) while pfnbuf_ctx_dispatch() has work or
 * pfnbuf_ctx_pop_event() has an event. Owned by the context; never changes. It nests in poll, epoll
 * and io_uring.
 */
PFNBUF_API int pfnbuf_ctx_get_fd(const struct pfnbuf_ctx *ctx);

/**
 * The iommufd of the context, opened at the first call of whatever needs it. Owned by the context.
 *
 * -ENOENT  there is no /dev/iommu: the kernel was built without CONFIG_IOMMUFD (Debian's stock
 *          kernels are)
 * -ENODEV  the node is there and nothing is behind it
 * -EACCES  the caller may not open it
 */
PFNBUF_API int pfnbuf_ctx_get_iommufd(struct pfnbuf_ctx *ctx);

/**
 * Digest what is ready; never blocks. Returns 0; events, if any, are then in the queue. Call it
 * whenever the context's fd is readable: popping alone does not quieten it for good. A negative
 * errno is the engine's own (epoll_wait(2), io_uring_enter(2)); events in the queue stay.
 */
PFNBUF_API int pfnbuf_ctx_dispatch(struct pfnbuf_ctx *ctx);

enum pfnbuf_event_type {
	/**
	 * the queue was full: @count events before this one were not kept. What they said the
	 * get_info functions say: of devices, windows, and of the notices that a device gave
	 */
	PFNBUF_EVENT_LOST = 1,
	/** the device's dma-bufs are revoked, every import of them is dead */
	PFNBUF_EVENT_REVOKED,
	/** the device's memory is back: its dma-bufs can be imported again */
	PFNBUF_EVENT_LIVE,
	PFNBUF_EVENT_DEAD, /**< the device is closed: its dma-bufs are gone for good */
	/** the kernel wants the device back: release it (vfio_pci_core_request) */
	PFNBUF_EVENT_REMOVAL_REQUEST,
	/** AER reported an error on the device (vfio_pci_core_aer_err_detected) */
	PFNBUF_EVENT_DEVICE_ERROR,
	/** pfnbuf_device_restore() put back all of a window: areas and withdrawn slots */
	PFNBUF_EVENT_RESTORED,
	/** it could not: @range of the window is the first that is not back; call it again */
	PFNBUF_EVENT_RESTORE_FAILED,
	/**
	 * a plan failed and could not be undone: pfnbuf_window_get_info() says why. Without
	 * @window: binding or unbinding did, and pfnbuf_bind_get_info() says why
	 */
	PFNBUF_EVENT_QUARANTINED,
	/** a bound device gave an error: its private slots are gone; unlock its bind */
	PFNBUF_EVENT_TDI_ERROR,
	/** a bound device was unbound, because of the call that @cause names */
	PFNBUF_EVENT_TDI_UNBOUND,
	/**
	 * a conversion that returned PFNBUF_PENDING is done: @range of @window, and what was
	 * converted with it
	 */
	PFNBUF_EVENT_CONVERTED,
	/**
	 * it was tried often enough, or failed for another reason, which @result says: all is as
	 * before
	 */
	PFNBUF_EVENT_CONVERT_FAILED,
};

/** Why a device's buffers were revoked. */
enum pfnbuf_cause {
	PFNBUF_CAUSE_NONE,
	PFNBUF_CAUSE_RESET, /**< VFIO_DEVICE_RESET */
	/** VFIO_DEVICE_PCI_HOT_RESET of this device or of one in its reset set */
	PFNBUF_CAUSE_HOT_RESET,
	/** Function Level Reset through PCI Express or Advanced Features capability */
	PFNBUF_CAUSE_FLR,
	PFNBUF_CAUSE_DECODE_OFF, /**< memory decode cleared in PCI_COMMAND */
	PFNBUF_CAUSE_POWER,	 /**< D3hot through PMCSR, or the low-power feature */
	PFNBUF_CAUSE_CLOSE,	 /**< the device was closed */
	PFNBUF_CAUSE_FOREIGN,	 /**< the caller says that somebody else did it */
	PFNBUF_CAUSE_DISCONNECT, /**< the TSM's session with the device is being ended */
	PFNBUF_CAUSE_WINDOW,	 /**< a window of the bound device is being freed */
};

struct pfnbuf_event {
	uint64_t seq; /**< counts up by one for each event that happened, kept or not */
	enum pfnbuf_event_type type;
	enum pfnbuf_cause cause;
	struct pfnbuf_device *device; /**< borrowed; NULL if it has been closed since, or of RAM */
	/** borrowed; NULL if freed since, or of a device as a whole */
	struct pfnbuf_window *window;
	struct pfnbuf_range range; /**< in @window; empty where there is nothing to name */
	void *user;		   /**< the device's user pointer */
	uint64_t generation;	   /**< the device's generation after what happened */
	uint64_t count;		   /**< LOST: how many */
	int result; /**< CONVERTED, CONVERT_FAILED: what the call would have returned */
};

/** Take the oldest event. Returns 1 and fills *ev, or 0 where there is none. */
PFNBUF_API int pfnbuf_ctx_pop_event(struct pfnbuf_ctx *ctx, struct pfnbuf_event *ev);

/** "removal-request", "revoked", ... and "reset", "decode-off", ...; "?" for an unknown value. */
PFNBUF_API const char *pfnbuf_event_type_name(enum pfnbuf_event_type type);
PFNBUF_API const char *pfnbuf_cause_name(enum pfnbuf_cause cause);

/* ================================================================ device ====================== */

/** Flags for the ..._from_fd functions. Without BORROWED the object owns the fd from success on. */
enum {
	PFNBUF_FD_BORROWED = 1 << 0, /**< never close the fd */
	/** device: BIND_IOMMUFD was done already, with the context's iommufd */
	PFNBUF_FD_BOUND = 1 << 1,
};

/**
 * Open a PCI device by its address ("0000:01:00.0", or "01:00.0" in domain 0) through the VFIO cdev
 * found in sysfs. Nothing can be done with it until pfnbuf_device_bind(); to be known to KVM it is
 * added to a VM before that.
 *
 * -EINVAL  @bdf is not a PCI address
 * -ENOENT  no such PCI device
 * -ENODEV  the device is not bound to a VFIO driver, or this kernel has no VFIO cdevs
 *          (CONFIG_VFIO_DEVICE_CDEV); the hint says how to bind it
 * -EACCES  the caller may not open the node
 * -EPERM   a no-IOMMU device without CAP_SYS_RAWIO
 * Source: drivers/vfio/device_cdev.c:vfio_device_fops_cdev_open
 */
PFNBUF_API int pfnbuf_device_open(struct pfnbuf_ctx *ctx, const char *bdf,
				  struct pfnbuf_device **devicep);

/**
 * The same for an fd of a VFIO cdev. @flags: PFNBUF_FD_*. With PFNBUF_FD_BOUND @devid is the object
 * id that BIND_IOMMUFD returned, else it is ignored. On failure the fd stays the caller's.
 *
 * -EINVAL  unknown flags, PFNBUF_FD_BOUND without @devid, or a VFIO device of another bus than PCI
 * -EBADF   not an open fd
 * -ENOTTY  not a VFIO device
 * and, with PFNBUF_FD_BOUND, what asking the device fails with: -EIO where it cannot be resumed
 */
PFNBUF_API int pfnbuf_device_from_fd(struct pfnbuf_ctx *ctx, int fd, unsigned flags, uint32_t devid,
				     struct pfnbuf_device **devicep);

/**
 * Close the device, in the order that the kernel needs: detach, delete the KVM slots of this
 * context that stand on its BAR mappings, unmap those, take it out of the VMs it was added to,
 * close the fd (unless borrowed). Its buffers are DEAD from here on. Failures on the way go to the
 * log; they do not stop it.
 */
PFNBUF_API struct pfnbuf_device *pfnbuf_device_close(struct pfnbuf_device *device);

/** A pointer of the caller's that events of this device carry. */
PFNBUF_API void pfnbuf_device_set_user(struct pfnbuf_device *device, void *user);

/** The device's fd; owned by the device. */
PFNBUF_API int pfnbuf_device_get_fd(const struct pfnbuf_device *device);

/**
 * Bind the device to the context's iommufd (VFIO_DEVICE_BIND_IOMMUFD). The kernel resets the
 * function, leaves memory decode on and bus mastering off, and blocks DMA until
 * pfnbuf_device_attach(). Afterwards BARs and configuration space are known and removal-request and
 * error notices reach the event queue. There is no unbind but closing; where the kernel has bound
 * the device and asking it something failed then, call again: it goes on from there.
 * @token: 16 bytes of VF token, or NULL.
 *
 * -EALREADY the device object is bound
 * -EINVAL   bound by another fd; not cache coherent; a token for a device that takes none
 * -EBUSY    its group is open through /dev/vfio/N, or its IOMMU domain is in use
 * -EPERM    no isolated MSI on this platform, or the group's DMA is owned by somebody else
 * -ENODEV   the device has no IOMMU group
 * -EACCES   wrong or missing VF token
 * -EAGAIN   the device is being reset by somebody else; try again
 * -EBADFD   the context's iommufd is not one
 * -EIO      the device cannot be resumed
 * and those of pfnbuf_ctx_get_iommufd()
 * Source: drivers/vfio/device_cdev.c:vfio_df_ioctl_bind_iommufd,
 * drivers/iommu/iommufd/device.c:iommufd_device_bind
 */
PFNBUF_API int pfnbuf_device_bind(struct pfnbuf_device *device, const uint8_t *token);

/**
 * Attach the device to an IOAS, or move it there in one atomic step if it is attached elsewhere.
 * Its DMA then reaches what is mapped. On failure the old attachment stays.
 *
 * -ENOENT     the IOAS is gone
 * -EADDRINUSE an area or the allow list of the IOAS covers addresses that the device's IOMMU
 *             reserves (MSI window, aperture), or areas are not aligned to its pages
 * -EINVAL     the device is not bound, or a device of its group is attached elsewhere
 * -EFAULT, -ENOMEM  memory mapped earlier in the IOAS cannot be pinned now that a device looks at
 *                   it
 * -EBUSY      the device, or one of its group, is being reset
 * Source: drivers/iommu/iommufd/device.c:iommufd_device_change_pt
 */
PFNBUF_API int pfnbuf_device_attach(struct pfnbuf_device *device, struct pfnbuf_ioas *ioas);

/**
 * Detach it: its DMA is blocked again; the IOAS keeps its areas. 0 also where nothing was attached.
 */
PFNBUF_API int pfnbuf_device_detach(struct pfnbuf_device *device);

/** What is known of a device. */
struct pfnbuf_device_info {
	char bdf[16];	      /**< "0000:01:00.0"; "" where the fd does not tell */
	char cdev[32];	      /**< "vfio3"; "" where the fd does not tell */
	uint16_t vendor;      /**< PCI vendor id; 0 before bind */
	uint16_t device;      /**< PCI device id; 0 before bind */
	uint32_t devid;	      /**< iommufd object id; 0 before bind */
	uint32_t num_regions; /**< VFIO regions */
	uint32_t num_irqs;    /**< VFIO interrupt indexes */
	uint32_t ioas_id;     /**< IOAS it is attached to; 0: none */
	bool bound;
	bool can_reset; /**< VFIO_DEVICE_RESET works on it */
	bool is_vf;	/**< a virtual function: memory decode cannot be cleared */
	/**
	 * its BARs answer: decode on, and not in D3hot, which is the kernel's own predicate
	 * (__vfio_pci_memory_enabled). False in low power, where asking would wake it
	 */
	bool memory_enabled;
	/** in the low-power state that pfnbuf_device_low_power_enter() asked for */
	bool low_power;
	uint64_t generation; /**< counts the revocations, from 1 */
	/**
	 * REMOVAL_REQUEST and DEVICE_ERROR events since bind, those included that were lost. The
	 * kernel repeats its request every 10 s (drivers/vfio/vfio_main.c)
	 */
	uint64_t removal_requests;
	uint64_t device_errors;
};

/**
 * Answers before bind, too, with what is known then, and never fails. Enters the kernel for
 * memory_enabled only.
 */
PFNBUF_API int pfnbuf_device_get_info(struct pfnbuf_device *device,
				      struct pfnbuf_device_info *info);

/**
 * The revocation counter: from 1, raised before each call that may revoke the device's buffers.
 * Never blocks.
 */
PFNBUF_API uint64_t pfnbuf_device_get_generation(const struct pfnbuf_device *device);

enum {
	PFNBUF_BAR_READ = 1 << 0,     /**< pfnbuf_device_bar_read() works */
	PFNBUF_BAR_WRITE = 1 << 1,    /**< pfnbuf_device_bar_write() works */
	PFNBUF_BAR_MMAP = 1 << 2,     /**< pfnbuf_device_bar_map() works */
	PFNBUF_BAR_HAS_MSIX = 1 << 3, /**< the MSI-X table is in this BAR */
	PFNBUF_BAR_IO = 1 << 4,	      /**< I/O ports: no memory, cannot be exported */
	PFNBUF_BAR_64 = 1 << 5,	      /**< takes two BAR registers; the next BAR does not exist */
	PFNBUF_BAR_PREFETCHABLE = 1 << 6,
};

struct pfnbuf_bar {
	uint64_t size;	    /**< 0: not implemented */
	uint32_t flags;	    /**< PFNBUF_BAR_* */
	uint32_t nr_sparse; /**< runs of a sparse BAR that may be mapped; 0: the whole BAR */
};

/**
 * A BAR (0 to 5) of a bound device.
 *
 * -EINVAL  not bound, or @bar above 5
 * Source: drivers/vfio/pci/vfio_pci_core.c:vfio_pci_ioctl_get_region_info
 */
PFNBUF_API int pfnbuf_device_get_bar(struct pfnbuf_device *device, unsigned bar,
				     struct pfnbuf_bar *info);

/**
 * Up to @n runs of a sparse BAR into @ranges; returns how many there are in all (0: not sparse).
 * -EINVAL as above.
 */
PFNBUF_API int pfnbuf_device_get_bar_sparse(struct pfnbuf_device *device, unsigned bar,
					    struct pfnbuf_range *ranges, size_t n);

/**
 * The pages of a BAR that hold its MSI-X table and its pending bits, which a VMM emulates for the
 * guest: two ranges at most, in ascending order, none that overlap. Up to @n into @ranges; returns
 * how many there are in all. -EINVAL as above.
 * Source: PCI Express Base Specification, MSI-X Capability and Table Structure
 */
PFNBUF_API int pfnbuf_device_get_bar_msix(struct pfnbuf_device *device, unsigned bar,
					  struct pfnbuf_range *ranges, size_t n);

/**
 * Read or write bytes of a BAR through the kernel (not through a mapping). Of a device that a bind
 * has locked only what its report says is not private: where the kernel did not refuse the rest the
 * device would, and its TDI might go to ERROR for it.
 *
 * -EINVAL  not bound, no such BAR, or the range leaves it; nothing was transferred
 * -EIO     the device's memory is off (decode, or D3hot), or it could not be resumed
 * -EBUSY   the BAR is claimed by another driver, or for the guest that the device is bound to; or
 *          pfnbuf_bind_lock() has locked the device, and the bytes are private to its guest, or
 *          there is no report yet that says which are
 * Source: drivers/vfio/pci/vfio_pci_rdwr.c:vfio_pci_bar_rw
 */
PFNBUF_API int pfnbuf_device_bar_read(struct pfnbuf_device *device, unsigned bar, uint64_t offset,
				      void *data, size_t length);
PFNBUF_API int pfnbuf_device_bar_write(struct pfnbuf_device *device, unsigned bar, uint64_t offset,
				       const void *data, size_t length);

/**
 * Map a slice of a BAR into this process, shared and uncached. Both values are multiples of the
 * page size. The mapping survives revocation: while the device's memory is off, touching it raises
 * SIGBUS (in a vCPU: KVM_RUN fails with EFAULT), and it faults back in by itself afterwards. It
 * keeps the device's file open until pfnbuf_device_bar_unmap() or pfnbuf_device_close().
 *
 * -EINVAL  not bound, BAR cannot be mapped, misaligned or empty range, or it leaves the BAR
 * -EBUSY, -ENOMEM, -ENODEV  the BAR could not be claimed or mapped when the device was bound
 * -EBUSY   pfnbuf_bind_lock() has locked the device: call pfnbuf_bind_unlock() first
 * Source: drivers/vfio/pci/vfio_pci_core.c:vfio_pci_core_mmap
 */
PFNBUF_API int pfnbuf_device_bar_map(struct pfnbuf_device *device, unsigned bar, uint64_t offset,
				     uint64_t length, void **addrp);

/**
 * Unmap what pfnbuf_device_bar_map() returned. -ENOENT: no such mapping. -EBUSY: a KVM slot still
 * stands on it.
 */
PFNBUF_API int pfnbuf_device_bar_unmap(struct pfnbuf_device *device, void *addr);

/**
 * Read configuration space as VFIO presents it, little endian as on the bus.
 *
 * -EINVAL  not bound, or length 0
 * -EFAULT  the range leaves configuration space
 * -EIO     the device could not be resumed
 * Source: drivers/vfio/pci/vfio_pci_config.c:vfio_pci_config_rw
 */
PFNBUF_API int pfnbuf_device_config_read(struct pfnbuf_device *device, uint64_t offset, void *data,
					 size_t length);

/**
 * Write configuration space. A write that can revoke the device's buffers is recognised and
 * bracketed: memory decode cleared in PCI_COMMAND, D3hot in PMCSR, FLR in the PCI Express or
 * Advanced Features capability. It may touch several registers; each is looked at. Afterwards the
 * device is asked whether its memory is on. Where it cannot be asked the buffers stay SUSPENDED,
 * the log says so, and an empty bracket asks again: pfnbuf_device_revoke_begin(), _end().
 *
 * -EBUSY   pfnbuf_bind_lock() has locked the device and it cannot be unlocked; nothing happened
 * and those of pfnbuf_device_config_read()
 */
PFNBUF_API int pfnbuf_device_config_write(struct pfnbuf_device *device, uint64_t offset,
					  const void *data, size_t length);

/**
 * Set or clear memory decode (PCI_COMMAND bit 1), read-modify-write. A virtual function has no such
 * bit: clearing it revokes the buffers, and they are LIVE again at once.
 * Source: drivers/vfio/pci/vfio_pci_config.c:vfio_basic_config_write
 * Errnos of pfnbuf_device_config_write().
 */
PFNBUF_API int pfnbuf_device_set_memory_decode(struct pfnbuf_device *device, bool on);

/**
 * Set or clear bus mastering (PCI_COMMAND bit 2): no DMA leaves the device without it, and bind
 * clears it. Errnos of pfnbuf_device_config_read().
 */
PFNBUF_API int pfnbuf_device_set_bus_master(struct pfnbuf_device *device, bool on);

/**
 * Reset the function (VFIO_DEVICE_RESET). Kills every import of the device's buffers, also where it
 * fails after it began: the generation is raised first. Buffers are LIVE again afterwards if memory
 * decode is on.
 *
 * -EINVAL  not bound, or the device has no way to be reset (info.can_reset is false); nothing
 *          happened
 * -EAGAIN  the device is locked by somebody else; imports are dead all the same
 * -ENOTTY  no reset method worked; imports are dead all the same
 * -EBUSY   pfnbuf_bind_lock() has locked the device and it cannot be unlocked; nothing happened
 * Source: drivers/vfio/pci/vfio_pci_core.c:vfio_pci_ioctl_reset
 */
PFNBUF_API int pfnbuf_device_reset(struct pfnbuf_device *device);

/** A device that a hot reset reaches. */
struct pfnbuf_hot_reset_device {
	char bdf[16];
	/** iommufd object id; 0: owned by this iommufd without one; UINT32_MAX: not owned */
	uint32_t devid;
};

/**
 * The devices that a hot reset of this one reaches, up to @n into @devices; returns how many there
 * are in all. -ENODEV: neither slot nor bus can be reset. -EINVAL: not bound. -ENOSPC: there are
 * more than 256.
 */
PFNBUF_API int pfnbuf_device_hot_reset_set(struct pfnbuf_device *device,
					   struct pfnbuf_hot_reset_device *devices, size_t n);

/**
 * Reset the slot or bus. Reaches every device of the set: the generation of each that belongs to
 * this context is raised first, and their imports count as dead also where it is refused, because
 * the kernel has revoked the buffers of those in front of the one that it stopped at.
 *
 * -EINVAL  not bound (nothing happened), or a device of the set is not bound to VFIO, or belongs to
 *          another iommufd
 * -ENODEV  neither slot nor bus can be reset; nothing happened
 * -ENOSPC  the set has more than 256 devices; nothing happened
 * -EBUSY   a device of the set is locked by somebody else; or pfnbuf_bind_lock() has locked it and
 *          it cannot be unlocked: then nothing was reset
 * Source: drivers/vfio/pci/vfio_pci_core.c:vfio_pci_dev_set_hot_reset
 */
PFNBUF_API int pfnbuf_device_hot_reset(struct pfnbuf_device *device);

/**
 * Let the device enter low power (runtime D3), and leave it. @wake_fd: an eventfd that the kernel
 * signals when the device woke by itself (borrowed during the call), or -1. Entering revokes the
 * buffers also where it is then refused because the device is in low power already. A buffer that
 * is exported meanwhile is born LIVE, since the call wakes the device. After a wake-up by itself
 * the buffers stay SUSPENDED until pfnbuf_device_low_power_exit(), which may be called at any time.
 *
 * -EINVAL  not bound, engaged already (enter), or @wake_fd is no eventfd
 * -ENOTTY  the driver has no such feature
 * -EBADF   @wake_fd is not an open fd
 * -EBUSY   pfnbuf_bind_lock() has locked the device and it cannot be unlocked; nothing happened
 * Source: drivers/vfio/pci/vfio_pci_core.c:vfio_pci_runtime_pm_entry, vfio_pci_core_pm_exit
 */
PFNBUF_API int pfnbuf_device_low_power_enter(struct pfnbuf_device *device, int wake_fd);
PFNBUF_API int pfnbuf_device_low_power_exit(struct pfnbuf_device *device);

/**
 * Brackets for a VMM that makes a revoking call itself: begin before the call, end after it. Begin
 * raises the generation and suspends the buffers; end asks the device whether its memory is on and,
 * if so, makes them LIVE. Calls of the library's in between neither raise it again nor make them
 * LIVE. Brackets do not nest.
 *
 * -EINVAL   begin: not bound; end: no bracket is open
 * -EALREADY begin: another bracket of this device is open
 * -EBUSY    begin: pfnbuf_bind_lock() has locked the device and it cannot be unlocked
 */
PFNBUF_API int pfnbuf_device_revoke_begin(struct pfnbuf_device *device, enum pfnbuf_cause cause);
PFNBUF_API int pfnbuf_device_revoke_end(struct pfnbuf_device *device);

/**
 * Import again, at the same I/O virtual addresses, every area of this context's IOASes that died
 * with a revocation of this device's buffers: MAP_FILE for each, and one UNMAP for those that
 * follow each other. Then set the withdrawn slots of its windows. On failure some are restored and
 * the others stay dead, named by pfnbuf_ioas_next_area(), or withdrawn; calling again goes on with
 * them. Each window says how it fared with an event. Calls no allocator. Returns 0.
 *
 * -ENODEV     the device's memory is off and nothing was done, or it went off meanwhile
 * -EBUSY, -EDEADLK  an area cannot be unmapped, as for pfnbuf_ioas_unmap()
 * -EEXIST     somebody else has mapped an area's addresses since
 * -EINVAL     a device attached since reserves an area's addresses
 * -EOPNOTSUPP this kernel does not import the dma-buf any more: vfio-pci was unloaded
 * -ENOENT     an IOAS is gone
 * -ENOMEM     no memory for it
 * and what setting a slot may be refused with
 */
PFNBUF_API int pfnbuf_device_restore(struct pfnbuf_device *device);

/* ================================================================ buffer ====================== */

enum pfnbuf_kind {
	PFNBUF_DMA_BUF = 1, /**< a dma-buf: slices of a BAR, or another exporter's */
	PFNBUF_MEMFD,	    /**< shared memory: memfd or hugetlb memfd */
	PFNBUF_GUEST_MEMFD, /**< KVM's private memory */
};

enum pfnbuf_state {
	PFNBUF_LIVE = 1, /**< can be imported; what was imported under this generation works */
	/** the device's memory is off; nothing can be imported until it is back */
	PFNBUF_SUSPENDED,
	PFNBUF_DEAD, /**< for good: the device is closed */
};

/**
 * Export slices of a BAR as one dma-buf (VFIO_DEVICE_FEATURE_DMA_BUF). Offsets and lengths are
 * multiples of the page size; slices may be in any order and may overlap; the buffer is as long as
 * all of them together. Linux 7.3 imports a dma-buf of one slice only. The buffer starts with one
 * reference, which is the caller's.
 *
 * -EINVAL     not bound, @bar above 5, no slices, a slice that is empty, misaligned, overflows or
 *             leaves the BAR, an I/O port BAR, or a BAR below the page size
 * -ENODEV     the BAR is not implemented (the upper half of a 64-bit one is none), or it cannot be
 *             claimed
 * -EOPNOTSUPP the device's driver exports no dma-bufs (only vfio-pci and nvgrace-gpu do)
 * -ENOTTY     this kernel exports none (before 6.19, or without CONFIG_VFIO_PCI_DMABUF)
 * -ENOMEM     too many slices
 * -EMFILE, -ENFILE  no fd left
 * Source: drivers/vfio/pci/vfio_pci_dmabuf.c:vfio_pci_core_feature_dma_buf
 */
PFNBUF_API int pfnbuf_device_export(struct pfnbuf_device *device, unsigned bar,
				    const struct pfnbuf_range *slices, size_t n,
				    struct pfnbuf_buf **bufp);

/**
 * Make shared memory (memfd_create). @length is a multiple of the page size; with @hugepage_size (2
 * MiB or 1 GiB; 0: none) of that. Zeroed.
 *
 * -EINVAL  length 0 or no multiple; a huge page size that this kernel has not
 * -ENOMEM  not that much memory (huge pages: when first touched)
 */
PFNBUF_API int pfnbuf_buf_new_memfd(struct pfnbuf_ctx *ctx, uint64_t length, uint64_t hugepage_size,
				    struct pfnbuf_buf **bufp);

enum {
	PFNBUF_GUEST_MEMFD_MMAP = 1 << 0, /**< may be mapped by this process */
	/** starts shared; only a VM without private memory takes it */
	PFNBUF_GUEST_MEMFD_INIT_SHARED = 1 << 1,
};

/**
 * Make private memory for a VM (KVM_CREATE_GUEST_MEMFD). @length is a multiple of the page size.
 * The memory pins the VM; a slot over it does not pin the memory, so slots hold a reference here.
 * It is of that VM for good: slots and windows in another are refused (virt/kvm/guest_memfd.c:
 * kvm_gmem_prepare_memory_region). Unlike the kernel's default the fd is close-on-exec.
 *
 * -EINVAL  length 0 or misaligned, or flags that this VM does not take
 * -ENOTTY  this kernel has no guest_memfd (CONFIG_KVM_GUEST_MEMFD)
 * -EMFILE  no fd left
 * Source: virt/kvm/guest_memfd.c:kvm_gmem_create
 */
PFNBUF_API int pfnbuf_buf_new_guest_memfd(struct pfnbuf_vm *vm, uint64_t length, unsigned flags,
					  struct pfnbuf_buf **bufp);

/**
 * Take a dma-buf, memfd or guest_memfd that somebody else made; the kind is read from the fd. Any
 * file on a tmpfs or hugetlbfs is as good as a memfd.
 * @flags: PFNBUF_FD_BORROWED. On failure the fd stays the caller's. The library cannot see
 * revocations of a dma-buf that it did not export: its state is LIVE until pfnbuf_buf_verify()
 * finds otherwise.
 *
 * -EBADF   not an open fd
 * -EINVAL  none of the three kinds, or flags unknown
 */
PFNBUF_API int pfnbuf_buf_from_fd(struct pfnbuf_ctx *ctx, int fd, unsigned flags,
				  struct pfnbuf_buf **bufp);

/**
 * One reference more, and one less; the fd is closed (unless borrowed) with the last. IOAS areas
 * and slots hold one.
 */
PFNBUF_API struct pfnbuf_buf *pfnbuf_buf_ref(struct pfnbuf_buf *buf);
PFNBUF_API struct pfnbuf_buf *pfnbuf_buf_unref(struct pfnbuf_buf *buf);

/** The buffer's fd; owned by the buffer. */
PFNBUF_API int pfnbuf_buf_get_fd(const struct pfnbuf_buf *buf);
PFNBUF_API enum pfnbuf_kind pfnbuf_buf_get_kind(const struct pfnbuf_buf *buf);
PFNBUF_API uint64_t pfnbuf_buf_get_length(const struct pfnbuf_buf *buf);
PFNBUF_API enum pfnbuf_state pfnbuf_buf_get_state(const struct pfnbuf_buf *buf);

/**
 * How often the buffer could have been revoked, from 1. An address or import from an older
 * generation is stale.
 */
PFNBUF_API uint64_t pfnbuf_buf_get_generation(const struct pfnbuf_buf *buf);

/** What tells two buffers apart, whatever their fd numbers: st_dev and st_ino. */
struct pfnbuf_identity {
	uint64_t dev;
	uint64_t ino;
};
PFNBUF_API struct pfnbuf_identity pfnbuf_buf_get_identity(const struct pfnbuf_buf *buf);

/**
 * The device it was exported from, borrowed, or NULL (another kind, foreign, or the device is
 * closed).
 */
PFNBUF_API struct pfnbuf_device *pfnbuf_buf_get_device(const struct pfnbuf_buf *buf);

/**
 * Up to @n slices of the BAR it consists of; returns how many there are in all (0: not exported
 * here), and the BAR.
 */
PFNBUF_API int pfnbuf_buf_get_slices(const struct pfnbuf_buf *buf, unsigned *barp,
				     struct pfnbuf_range *slices, size_t n);

/**
 * Ask the kernel whether the dma-buf can be imported now, by mapping it for a moment into an IOAS
 * of its own that no device sees. Returns 1: yes; 0: no, it is revoked. It cannot tell whether it
 * *was* revoked in between: imports may be dead although this says yes. The state of a foreign
 * buffer follows the answer.
 *
 * -EINVAL     not a dma-buf
 * -EOPNOTSUPP this kernel cannot import it at all (several slices, or not from VFIO)
 */
PFNBUF_API int pfnbuf_buf_verify(struct pfnbuf_buf *buf);

/** A page frame, and under which generation it was asked for: worth nothing without that. */
struct pfnbuf_pfn {
	uint64_t pfn; /**< physical address divided by the page size */
	/** the frame is one of 2^order that are contiguous, aligned to that, and in the buffer */
	unsigned order;
	uint64_t generation; /**< the buffer's; pass it on with the number */
};

/**
 * The page frame at @offset (any byte) of a buffer that was exported from a BAR, as sysfs tells the
 * BAR's address. @generation is the one that the caller believes in (of an earlier answer), or 0
 * for the first question. A number from an older generation must not be used: ask again.
 *
 * -ESTALE     the buffer was revoked since @generation, or while it was being asked
 * -ENODEV     the device's memory is off, or it is closed: nothing answers behind the frame
 * -ERANGE     @offset is beyond the buffer
 * -EOPNOTSUPP not a buffer of a BAR exported here (no kernel tells the frames of other memory), or
 *             sysfs does not know the device
 * -EACCES     this process may not read the address
 * Source: drivers/pci/pci-sysfs.c:resource_show
 */
PFNBUF_API int pfnbuf_buf_get_pfn(struct pfnbuf_buf *buf, uint64_t offset, uint64_t generation,
				  struct pfnbuf_pfn *pfn);

/**
 * Map the memory of a memfd, or of a guest_memfd made with PFNBUF_GUEST_MEMFD_MMAP, into this
 * process, and unmap it.
 *
 * -EINVAL  range empty, misaligned or beyond the buffer; a dma-buf (a BAR is mapped through its
 *          device)
 * -ENODEV  a guest_memfd without PFNBUF_GUEST_MEMFD_MMAP
 */
PFNBUF_API int pfnbuf_buf_map(struct pfnbuf_buf *buf, uint64_t offset, uint64_t length,
			      void **addrp);
PFNBUF_API int pfnbuf_buf_unmap(struct pfnbuf_buf *buf, void *addr, uint64_t length);

/**
 * Give the pages of a range back (fallocate, punch hole): read again they are zero. The IOMMU is
 * not told: a range that an IOAS maps is refused, through whichever buffer object of this context
 * it was mapped. What pfnbuf_ioas_map_file() and pfnbuf_ioas_map_va() mapped is not known here.
 *
 * -EINVAL  range empty, misaligned or beyond the buffer; a dma-buf
 * -EBUSY   an area of an IOAS of this context maps part of it
 */
PFNBUF_API int pfnbuf_buf_discard(struct pfnbuf_buf *buf, uint64_t offset, uint64_t length);

PFNBUF_API const char *pfnbuf_kind_name(enum pfnbuf_kind kind);
PFNBUF_API const char *pfnbuf_state_name(enum pfnbuf_state state);

/* ================================================================ IOAS ======================== */

enum {
	PFNBUF_MAP_READ = 1 << 0,  /**< devices may read */
	PFNBUF_MAP_WRITE = 1 << 1, /**< devices may write */
	/** at *iova; otherwise the kernel chooses and *iova says what */
	PFNBUF_MAP_FIXED = 1 << 2,
};

/**
 * Make an I/O address space.
 * Errnos of pfnbuf_ctx_get_iommufd().
 */
PFNBUF_API int pfnbuf_ioas_new(struct pfnbuf_ctx *ctx, struct pfnbuf_ioas **ioasp);

/**
 * Use an IOAS of the context's iommufd that somebody else made. It is not destroyed with the
 * object, and only areas mapped through this object are unmapped then.
 *
 * -ENOENT  no IOAS has this id
 */
PFNBUF_API int pfnbuf_ioas_from_id(struct pfnbuf_ctx *ctx, uint32_t id, struct pfnbuf_ioas **ioasp);

/**
 * End it: detach the context's devices that are attached to it, unmap its areas, destroy the
 * kernel's object if it was made by pfnbuf_ioas_new(). Failures go to the log. Where windows or
 * plans for them are left it ends with the last of these.
 */
PFNBUF_API struct pfnbuf_ioas *pfnbuf_ioas_free(struct pfnbuf_ioas *ioas);

PFNBUF_API uint32_t pfnbuf_ioas_get_id(const struct pfnbuf_ioas *ioas);

/**
 * The I/O virtual addresses that attached devices allow, as inclusive ranges turned into offset and
 * length (a range that ends at 2^64 - 1 and starts at 0 has length UINT64_MAX). Up to @n into
 * @ranges; returns how many there are in all. *alignment (may be NULL) is what addresses and
 * lengths must be multiples of.
 * Source: drivers/iommu/iommufd/ioas.c:iommufd_ioas_iova_ranges
 */
PFNBUF_API int pfnbuf_ioas_get_iova_ranges(struct pfnbuf_ioas *ioas, struct pfnbuf_range *ranges,
					   size_t n, uint64_t *alignment);

/**
 * Restrict the addresses that the kernel chooses from, and the addresses future devices may
 * reserve; n = 0 lifts it. A fixed address may lie outside.
 *
 * -EINVAL     a range is below 2 bytes, overflows, or two overlap
 * -EADDRINUSE an attached device reserves part of it; the old list stands
 */
PFNBUF_API int pfnbuf_ioas_set_allowed(struct pfnbuf_ioas *ioas, const struct pfnbuf_range *ranges,
				       size_t n);

/**
 * Map memory of this process. It stays pinned while a device is attached; what is behind the
 * address then must not change until it is unmapped. A BAR mapping is refused: export the BAR and
 * use pfnbuf_ioas_map_buf().
 * @flags: PFNBUF_MAP_*; *iova: in with PFNBUF_MAP_FIXED, out otherwise.
 *
 * -EINVAL    no direction, length 0 or misaligned, address misaligned, or it hits a reserved range
 * -EEXIST    part of the fixed range is mapped, or kept for an area that waits for its restore
 * -EBUSY     the kernel may not choose the address while an area waits for a restore that failed
 *            half-way, because it could choose that area's: finish pfnbuf_device_restore(), unmap
 *            the area, or use PFNBUF_MAP_FIXED
 * -EOVERFLOW the range wraps
 * -ENOSPC    no room for it
 * -EFAULT    no such memory, not writeable, or device memory (seen only while a device is attached;
 *            else at attach)
 * -ENOMEM    RLIMIT_MEMLOCK
 * -ENOENT    the IOAS is gone
 * Source: drivers/iommu/iommufd/ioas.c:iommufd_ioas_map, io_pagetable.c:iopt_alloc_area_pages
 */
PFNBUF_API int pfnbuf_ioas_map_va(struct pfnbuf_ioas *ioas, void *addr, uint64_t length,
				  unsigned flags, uint64_t *iova);

/**
 * Map a file (memfd, hugetlbfs) by its fd, which the caller may close afterwards. The library does
 * not know what the file is: a dma-buf mapped like this is not restored, use pfnbuf_ioas_map_buf().
 * Errnos of pfnbuf_ioas_map_va(), and:
 *
 * -EBADF  not an open fd
 * -ENOTTY this kernel maps no files (before 6.13)
 * -EINVAL another kind of file, a guest_memfd, or the range leaves the file (seen only while a
 *         device is attached)
 * Source: drivers/iommu/iommufd/ioas.c:iommufd_ioas_map_file, mm/gup.c:memfd_pin_folios
 */
PFNBUF_API int pfnbuf_ioas_map_file(struct pfnbuf_ioas *ioas, int fd, uint64_t offset,
				    uint64_t length, unsigned flags, uint64_t *iova);

/**
 * Map part of a buffer. A dma-buf's area dies when the buffer is revoked: DMA to it faults, and
 * nothing but unmapping and mapping again revives it: pfnbuf_device_restore().
 * Errnos of pfnbuf_ioas_map_file(), and:
 *
 * -ENODEV     the buffer is revoked: turn memory decode on first. Wins over -EEXIST
 * -EOPNOTSUPP this kernel cannot import the dma-buf: it has more than one slice, or is not VFIO's
 * -EINVAL     the range leaves the buffer, or a guest_memfd
 * -EBUSY      pfnbuf_bind_lock() has locked the buffer's device: call pfnbuf_bind_unlock() first
 * Source: drivers/iommu/iommufd/pages.c:iopt_alloc_dmabuf_pages,
 * drivers/vfio/pci/vfio_pci_dmabuf.c:vfio_pci_dma_buf_iommufd_map
 */
PFNBUF_API int pfnbuf_ioas_map_buf(struct pfnbuf_ioas *ioas, struct pfnbuf_buf *buf,
				   uint64_t offset, uint64_t length, unsigned flags,
				   uint64_t *iova);

/**
 * Map again what [src_iova, src_iova + length) of @src maps; @src may be @ioas. Each area in the
 * range becomes an area of its own, also where it lies in the range with a part only. A copy of a
 * dead area is dead.
 *
 * -EINVAL  @src belongs to another context
 * -ENOENT  the source is not mapped without a gap
 * -EPERM   writing asked for, and the source was mapped for reading only
 * -EBUSY   part of it is a buffer whose device pfnbuf_bind_lock() has locked
 * and the placement errors of pfnbuf_ioas_map_va()
 * Source: drivers/iommu/iommufd/ioas.c:iommufd_ioas_copy
 */
PFNBUF_API int pfnbuf_ioas_copy(struct pfnbuf_ioas *ioas, struct pfnbuf_ioas *src,
				uint64_t src_iova, uint64_t length, unsigned flags, uint64_t *iova);

/**
 * Unmap every area in the range. Areas are unmapped whole: a range that cuts one is refused before
 * the kernel is asked, which otherwise would remove those in front of it. *unmapped (may be NULL):
 * the bytes that were mapped.
 *
 * -EINVAL  length 0
 * -ENOENT  nothing is mapped there, or the range cuts an area (the error names it)
 * -EBUSY   the area that the error names is being mapped, or hardware holds it; those in front of
 *          it are unmapped
 * -EDEADLK the same of an area that a mediated device does not let go of
 * -EOVERFLOW the range wraps
 * Source: drivers/iommu/iommufd/io_pagetable.c:iopt_unmap_iova_range
 */
PFNBUF_API int pfnbuf_ioas_unmap(struct pfnbuf_ioas *ioas, uint64_t iova, uint64_t length,
				 uint64_t *unmapped);

/**
 * Unmap everything; of an IOAS from pfnbuf_ioas_from_id() what was mapped through this object. 0
 * also where empty.
 * -EBUSY, -EDEADLK as for pfnbuf_ioas_unmap().
 */
PFNBUF_API int pfnbuf_ioas_unmap_all(struct pfnbuf_ioas *ioas, uint64_t *unmapped);

/**
 * Huge pages in the IOMMU on (the default) or off. -EADDRINUSE: areas are not aligned to pages.
 * -EINVAL: too late.
 */
PFNBUF_API int pfnbuf_ioas_set_huge_pages(struct pfnbuf_ioas *ioas, bool on);

/**
 * The physical address behind @iova, and how far it goes on contiguously (in: at most, out).
 * No-IOMMU devices only.
 *
 * -EOPNOTSUPP no no-IOMMU device is attached, or the kernel lacks CONFIG_IOMMUFD_NOIOMMU
 * -EPERM      no CAP_SYS_RAWIO
 * -ENOENT     not mapped
 * -EINVAL     a revoked dma-buf, or length 0
 * Source: drivers/iommu/iommufd/ioas.c (new in 7.3)
 */
PFNBUF_API int pfnbuf_ioas_get_pa(struct pfnbuf_ioas *ioas, uint64_t iova, uint64_t *length,
				  uint64_t *pa);

/** An area: what one map call made. */
struct pfnbuf_area {
	uint64_t iova;
	uint64_t length;
	unsigned flags;		/**< PFNBUF_MAP_READ, PFNBUF_MAP_WRITE */
	struct pfnbuf_buf *buf; /**< borrowed; NULL: process memory or a file */
	uint64_t offset;	/**< into the buffer or file; the address for process memory */
	bool is_va;		/**< process memory */
	/**
	 * the buffer's generation when it was imported; 0 without a buffer, and where a revocation
	 * was under way, so that the import may have come before it
	 */
	uint64_t generation;
	bool dead; /**< revoked since, or waits for its restore: DMA to it faults */
};

/**
 * The first area that ends above @iova, of those mapped through this object. Returns 1 and fills
 * *area, or 0.
 */
PFNBUF_API int pfnbuf_ioas_next_area(struct pfnbuf_ioas *ioas, uint64_t iova,
				     struct pfnbuf_area *area);

/* ================================================================ VM ========================== */

enum pfnbuf_vm_type {
	PFNBUF_VM_DEFAULT = 0,
	/** x86: private memory without hardware support, for development */
	PFNBUF_VM_SW_PROTECTED = 1,
	PFNBUF_VM_SEV = 2,
	PFNBUF_VM_SEV_ES = 3,
	PFNBUF_VM_SNP = 4,
	PFNBUF_VM_TDX = 5,
};

/**
 * Make a VM (KVM_CREATE_VM). @type: enum pfnbuf_vm_type on x86; on arm64 the low 8 bits are the IPA
 * size. All slot ids are the library's.
 *
 * -ENOENT, -EACCES  /dev/kvm is missing, or the caller may not open it
 * -EINVAL  this kernel or processor has no such type
 * -EOPNOTSUPP the kernel speaks another version of the KVM interface (none in use does)
 * Source: virt/kvm/kvm_main.c:kvm_dev_ioctl_create_vm
 */
PFNBUF_API int pfnbuf_vm_new(struct pfnbuf_ctx *ctx, uint64_t type, struct pfnbuf_vm **vmp);

/**
 * Use a VM of the VMM's. The library takes memory slots from [first_slot, first_slot + nr_slots)
 * only; the VMM must leave those alone (nr_slots 0: every id from first_slot on). @flags:
 * PFNBUF_FD_BORROWED. On failure the fd stays the caller's.
 *
 * -EINVAL  flags unknown, or slot ids beyond what the VM has
 * -ENOTTY  not a VM
 * -EBADF   not an open fd
 */
PFNBUF_API int pfnbuf_vm_from_fd(struct pfnbuf_ctx *ctx, int fd, unsigned flags,
				 uint32_t first_slot, uint32_t nr_slots, struct pfnbuf_vm **vmp);

/**
 * End it: delete the slots made through this object, drop the devices added, close the fd (unless
 * borrowed). Failures go to the log. Where windows, plans for them or binds are left it ends with
 * the last of these.
 */
PFNBUF_API struct pfnbuf_vm *pfnbuf_vm_free(struct pfnbuf_vm *vm);

PFNBUF_API int pfnbuf_vm_get_fd(const struct pfnbuf_vm *vm);

/**
 * KVM_CHECK_EXTENSION on the VM: the value (0: not supported) through *value. @cap: a KVM_CAP_*
 * number.
 */
PFNBUF_API int pfnbuf_vm_check_extension(struct pfnbuf_vm *vm, unsigned cap, int *value);

enum {
	PFNBUF_SLOT_LOG_DIRTY = 1 << 0, /**< KVM_MEM_LOG_DIRTY_PAGES */
	PFNBUF_SLOT_READONLY = 1 << 1,	/**< KVM_MEM_READONLY: guest writes exit to the VMM */
};

/** A memory slot. */
struct pfnbuf_slot {
	uint64_t gpa;	 /**< guest physical address, page aligned */
	uint64_t length; /**< page aligned */
	/**
	 * memory of this process behind it: RAM or a BAR mapping; page aligned. With a guest_memfd
	 * that can be mapped let it be the mapping: KVM goes there when it emulates an access of
	 * the guest's (virt/kvm/kvm_main.c:__kvm_write_guest_page)
	 */
	void *addr;
	unsigned flags; /**< PFNBUF_SLOT_* */
	/**
	 * private memory behind it, or NULL: a guest_memfd; with a profile that puts private MMIO
	 * in slots also a dma-buf, of which the slot then shows all
	 */
	struct pfnbuf_buf *guest_memfd;
	uint64_t guest_memfd_offset;
};

/**
 * Make a slot, with an id from the free list; *id (may be NULL) says which. With guest_memfd the
 * slot holds a reference to it, because the kernel's does not. A BAR mapping under a slot survives
 * resets; see pfnbuf_device_bar_map().
 *
 * -EINVAL  misaligned or empty, wraps, flags that this VM or kind of slot does not take,
 *          guest_memfd of another VM or too short, beyond the guest's physical address width. Of
 *          two VMs that pfnbuf_vm_new() made this is known before KVM is asked; fds that were
 *          handed in may be duplicates of one another, so KVM judges them
 * -EEXIST  overlaps another slot, or the guest_memfd range is in another slot (for which Linux 6.18
 *          says -EINVAL)
 * -ENOSPC  no slot id left
 * -EBADF   the guest_memfd is closed
 * -EBUSY   the memory is a mapping of a BAR, or guest_memfd a dma-buf, of a device that
 *          pfnbuf_bind_lock() has locked: call pfnbuf_bind_unlock() first
 * -EOPNOTSUPP guest_memfd, and the kernel has no KVM_SET_USER_MEMORY_REGION2 (before 6.8)
 * -EFAULT  arm64: beyond the guest's physical address width
 * -EIO     the VM is dead, or was made by another process (as for every call on a VM)
 * Source: virt/kvm/kvm_main.c:kvm_set_memory_region
 */
PFNBUF_API int pfnbuf_vm_set_slot(struct pfnbuf_vm *vm, const struct pfnbuf_slot *slot,
				  uint32_t *id);

/**
 * Move a slot to another guest physical address. -ENOENT: no such slot; -EINVAL: it has
 * guest_memfd; -EEXIST.
 */
PFNBUF_API int pfnbuf_vm_move_slot(struct pfnbuf_vm *vm, uint32_t id, uint64_t gpa);

/**
 * Dirty logging of a slot on or off (PFNBUF_SLOT_LOG_DIRTY); other flags cannot change. -ENOENT,
 * -EINVAL.
 */
PFNBUF_API int pfnbuf_vm_set_slot_flags(struct pfnbuf_vm *vm, uint32_t id, unsigned flags);

/** Delete a slot; the guest cannot reach it any more on return. -ENOENT: no such slot. */
PFNBUF_API int pfnbuf_vm_delete_slot(struct pfnbuf_vm *vm, uint32_t id);

/** The slot with the lowest id not below @id. Returns 1, fills *slot and *idp; 0: none. */
PFNBUF_API int pfnbuf_vm_next_slot(struct pfnbuf_vm *vm, uint32_t id, uint32_t *idp,
				   struct pfnbuf_slot *slot);

/** How many slot ids are still free. */
PFNBUF_API uint32_t pfnbuf_vm_get_free_slots(struct pfnbuf_vm *vm);

/**
 * The dirty pages of a slot since the last call, one bit a page, into @bitmap of @size bytes (at
 * least 8 for each 64 pages, begun or whole). -ENOENT: no such slot or not logged. -EINVAL: @size
 * too small. -ENXIO: the VM logs into dirty rings, without bitmaps.
 */
PFNBUF_API int pfnbuf_vm_get_dirty_log(struct pfnbuf_vm *vm, uint32_t id, void *bitmap,
				       size_t size);

enum {
	PFNBUF_ATTRIBUTE_PRIVATE = 1 << 3, /**< KVM_MEMORY_ATTRIBUTE_PRIVATE */
};

/**
 * Set the attributes of a range of guest memory: 0 (shared) or PFNBUF_ATTRIBUTE_PRIVATE. No slot is
 * needed. Mappings of the other kind are gone from the guest on return. The kernel cannot be asked
 * for them: pfnbuf_vm_get_attributes() tells what was set through this object.
 *
 * -EINVAL  range empty, misaligned or wraps; attribute that is none of these, or that this VM does
 *          not have (only VMs with private memory have any)
 * -ENOTTY  this kernel has no memory attributes
 * Source: virt/kvm/kvm_main.c:kvm_vm_ioctl_set_mem_attributes
 */
PFNBUF_API int pfnbuf_vm_set_attributes(struct pfnbuf_vm *vm, uint64_t gpa, uint64_t length,
					uint64_t attributes);

/**
 * The attributes that were set at @gpa (any byte) through this object; 0 where none were. *length
 * (may be NULL): how far from @gpa on they stay the same, at most UINT64_MAX. Never enters the
 * kernel.
 */
PFNBUF_API void pfnbuf_vm_get_attributes(struct pfnbuf_vm *vm, uint64_t gpa, uint64_t *attributes,
					 uint64_t *length);

/**
 * Populate guest memory through a vCPU (KVM_PRE_FAULT_MEMORY). *done (may be NULL): the bytes
 * populated, also on failure.
 *
 * -EINVAL     misaligned, empty or wraps
 * -ENOENT     no slot there
 * -EOPNOTSUPP this VM or processor cannot
 * -EFAULT     what is behind it cannot be faulted in
 * -EAGAIN     slots are being changed
 * -EIO        the kernel makes no progress, or as for every call on a VM
 * Source: virt/kvm/kvm_main.c:kvm_vcpu_pre_fault_memory
 */
PFNBUF_API int pfnbuf_vm_pre_fault(struct pfnbuf_vm *vm, int vcpu_fd, uint64_t gpa, uint64_t length,
				   uint64_t *done);

/**
 * Tell KVM of a device (KVM_DEV_VFIO_FILE_ADD); the driver learns of the VM only if this comes
 * before pfnbuf_device_bind(). KVM holds the device's file open until it is removed.
 *
 * -EEXIST   the device is known to this VM
 * -EALREADY the device is bound: too late for the driver to see it
 * -ENODEV   this kernel has no kvm-vfio device
 * -EBUSY    the VMM made a kvm-vfio device already: it must add the device itself
 * Source: virt/kvm/vfio.c:kvm_vfio_file_add
 */
PFNBUF_API int pfnbuf_vm_add_device(struct pfnbuf_vm *vm, struct pfnbuf_device *device);

/** The reverse. -ENOENT: not added. */
PFNBUF_API int pfnbuf_vm_remove_device(struct pfnbuf_vm *vm, struct pfnbuf_device *device);

/* ================================================================ layout ====================== */

/**
 * A layout is a pure value: for every page frame of a BAR or a RAM block, whether it is shared,
 * private or a hole. It holds no file descriptor and enters no kernel.
 *
 * Offsets and lengths are in bytes and multiples of the layout's page size; only
 * pfnbuf_layout_get() takes any byte. A *run* is a longest stretch of frames with one visibility:
 * neighbouring runs always differ.
 *
 * Threads: other than the objects above, a layout does not lock. It may be read by any number of
 * threads, or changed by one while no other reads it. Copies share memory inside, yet count as
 * separate layouts: each may be used and freed in a thread of its own. Taking a copy is a read.
 * Reading never allocates.
 *
 * A change that fails has changed nothing, also when memory runs out half way.
 */
struct pfnbuf_layout;

/** How the guest sees a page frame. The values are those of the text form, and stay. */
enum pfnbuf_vis {
	PFNBUF_HOLE,	/**< not mapped: an access exits to the VMM */
	PFNBUF_SHARED,	/**< reachable by the host and by devices */
	PFNBUF_PRIVATE, /**< the guest's alone */
};

#define PFNBUF_VIS_COUNT 3

/** The most frames a layout can have: 4 PiB of 4 KiB pages. */
#define PFNBUF_LAYOUT_MAX_FRAMES (UINT64_C(1) << 40)

struct pfnbuf_run {
	uint64_t offset;
	uint64_t length;
	enum pfnbuf_vis vis;
};

/** A stretch in which one layout says @from and another says @to. */
struct pfnbuf_change {
	uint64_t offset;
	uint64_t length;
	enum pfnbuf_vis from;
	enum pfnbuf_vis to;
};

struct pfnbuf_layout_count {
	uint64_t runs[PFNBUF_VIS_COUNT];   /**< by enum pfnbuf_vis */
	uint64_t frames[PFNBUF_VIS_COUNT]; /**< times the page size: bytes */
};

/** What is wrong with a text. */
struct pfnbuf_layout_error {
	size_t column;	   /**< of the offending byte, from 1; newlines count like any other byte */
	const char *cause; /**< static, in words */
};

/** "hole", "shared", "private"; NULL for no visibility. */
PFNBUF_API const char *pfnbuf_vis_name(enum pfnbuf_vis vis);

/**
 * Make a layout of @size bytes, all of it @vis. Free it with pfnbuf_layout_free(). A uniform layout
 * takes less than 256 bytes, whatever its size.
 *
 * -EINVAL @page_size is no power of two or below 4096; @size is 0 or no multiple of it; no such
 *         visibility
 * -E2BIG  more than PFNBUF_LAYOUT_MAX_FRAMES
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_layout_new(uint64_t size, uint64_t page_size, enum pfnbuf_vis vis,
				 struct pfnbuf_layout **layoutp);

/**
 * Make a layout from runs in ascending order that do not overlap; what they leave out is a hole.
 * Neighbours of one visibility are merged.
 *
 * -EINVAL as for pfnbuf_layout_new(); a run is empty or misaligned, or begins before the one in
 *         front of it ends
 * -ERANGE a run leaves the layout
 * -E2BIG  more than PFNBUF_LAYOUT_MAX_FRAMES
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_layout_build(uint64_t size, uint64_t page_size, const struct pfnbuf_run *runs,
				   size_t n, struct pfnbuf_layout **layoutp);

/**
 * Copy a layout, in constant time: the two share what neither has changed since. The caller frees
 * the copy.
 *
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_layout_copy(const struct pfnbuf_layout *layout, struct pfnbuf_layout **copyp);

PFNBUF_API struct pfnbuf_layout *pfnbuf_layout_free(struct pfnbuf_layout *layout);

/** In bytes. */
PFNBUF_API uint64_t pfnbuf_layout_get_size(const struct pfnbuf_layout *layout);

/** In bytes. */
PFNBUF_API uint64_t pfnbuf_layout_get_page_size(const struct pfnbuf_layout *layout);

/**
 * Set a range. Setting what is set already succeeds and costs no memory.
 *
 * -EINVAL misaligned or empty range (as KVM_SET_MEMORY_ATTRIBUTES has it, virt/kvm/kvm_main.c); no
 *         such visibility
 * -ERANGE the range leaves the layout
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_layout_set(struct pfnbuf_layout *layout, uint64_t offset, uint64_t length,
				 enum pfnbuf_vis vis);

/**
 * The visibility at any byte, aligned or not (returned: enum pfnbuf_vis), and the whole run around
 * it in *run, which may be NULL; finding the run costs more than finding the visibility.
 *
 * -ERANGE beyond the end
 */
PFNBUF_API int pfnbuf_layout_get(const struct pfnbuf_layout *layout, uint64_t offset,
				 struct pfnbuf_run *run);

/**
 * Compare a range with one visibility: 1 if all of it is @vis, else 0 and the first offset that is
 * not in *where, which may be NULL and is untouched on 1.
 *
 * -EINVAL misaligned or empty range, no such visibility
 * -ERANGE the range leaves the layout
 */
PFNBUF_API int pfnbuf_layout_test(const struct pfnbuf_layout *layout, uint64_t offset,
				  uint64_t length, enum pfnbuf_vis vis, uint64_t *where);

/**
 * The next runs from *pos on, at most @max of them; returns how many, 0 at the end, and moves *pos
 * behind the last.
 *
 * *pos is all the state there is: start with 0, and a change to the layout between two calls does
 * no harm. From a *pos inside a run, the first run is what is left of it. Ask for some hundred runs
 * a call where speed matters.
 *
 *     for (uint64_t pos = 0; pfnbuf_layout_next(layout, &pos, &run, 1) > 0;)
 *
 * -EINVAL *pos is misaligned, @max is below 1
 * -ERANGE *pos is beyond the end
 */
PFNBUF_API int pfnbuf_layout_next(const struct pfnbuf_layout *layout, uint64_t *pos,
				  struct pfnbuf_run *runs, int max);

/**
 * The next differences from *pos on between two layouts of one size and page size, each as long as
 * it can be (both layouts keep one visibility in it). Returns and moves *pos as
 * pfnbuf_layout_next() does. What the two share since one was copied from the other is skipped
 * without a look.
 *
 * -EINVAL *pos is misaligned, @max is below 1; size or page size differ
 * -ERANGE *pos is beyond the end
 */
PFNBUF_API int pfnbuf_layout_diff(const struct pfnbuf_layout *from, const struct pfnbuf_layout *to,
				  uint64_t *pos, struct pfnbuf_change *changes, int max);

/** Same size, same page size, same visibility everywhere. */
PFNBUF_API bool pfnbuf_layout_equal(const struct pfnbuf_layout *a, const struct pfnbuf_layout *b);

/**
 * How many runs and frames of each visibility there are. In constant time: the layout keeps count.
 */
PFNBUF_API void pfnbuf_layout_count(const struct pfnbuf_layout *layout,
				    struct pfnbuf_layout_count *count);

/**
 * Make the layout that @a and @b agree on: a frame keeps its visibility where both have the same,
 * and is a hole elsewhere.
 *
 * -EINVAL size or page size differ
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_layout_intersect(const struct pfnbuf_layout *a, const struct pfnbuf_layout *b,
				       struct pfnbuf_layout **layoutp);

/**
 * Make a layout of @length bytes from the range of @layout that begins at @offset.
 *
 * -EINVAL misaligned or empty range
 * -ERANGE the range leaves the layout
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_layout_slice(const struct pfnbuf_layout *layout, uint64_t offset,
				   uint64_t length, struct pfnbuf_layout **slicep);

/**
 * Make a layout of the same size in which everything lies @delta bytes higher (lower, if negative).
 * What moves out at one end is lost, what is left behind at the other is @fill.
 *
 * -EINVAL @delta is no multiple of the page size; no such visibility
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_layout_shift(const struct pfnbuf_layout *layout, int64_t delta,
				   enum pfnbuf_vis fill, struct pfnbuf_layout **shiftedp);

/**
 * Print a layout as text: "page=0x1000 0x0+0x10000=shared 0x10000+0x2000=hole", each run as
 * OFFSET+LENGTH=VISIBILITY in bytes. As snprintf does, writes at most @size bytes into @buf, the
 * last a NUL, and returns the length of the whole text without it.
 */
PFNBUF_API size_t pfnbuf_layout_print(const struct pfnbuf_layout *layout, char *buf, size_t size);

/**
 * Print a layout as JSON: {"page_size": 4096, "size": 73728, "runs": [{"offset": 0, "length":
 * 65536, "vis": "shared"}, ...]}, in bytes, on one line. Buffer and return value as for
 * pfnbuf_layout_print().
 */
PFNBUF_API size_t pfnbuf_layout_print_json(const struct pfnbuf_layout *layout, char *buf,
					   size_t size);

/**
 * Make a layout from its text form. Runs come in ascending order, separated by white space; what
 * they leave out is a hole. page=BYTES (4096 if absent) and size=BYTES (the end of the last run if
 * absent) come before the runs. A number is decimal or 0x hexadecimal, may have _ between digits,
 * and K, M, G or T behind it.
 *
 * -EINVAL the text is wrong; *error, which may be NULL, says where and why. It is written in this
 *         case only.
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_layout_parse(const char *text, struct pfnbuf_layout **layoutp,
				   struct pfnbuf_layout_error *error);

/* ================================================================ report ====================== */

/**
 * The DEVICE_INTERFACE_REPORT of TDISP (PCI Express 7.0, section 11.3.11): what a locked device
 * says of its MMIO ranges. These functions enter no kernel and hold no file descriptor.
 *
 * Threads: as for layouts. What pfnbuf_tdi_layouts_compile() returns never changes.
 *
 * Errors: pfnbuf_last_error() knows nothing of them. A function that fails fills its struct
 * pfnbuf_tdi_error, which may be NULL; one that succeeds leaves it alone.
 */

/** Unit of NUMBER_OF_PAGES, and of FIRST_PAGE where that is read as a page number: bytes. */
#define PFNBUF_TDI_PAGE_SIZE UINT64_C(4096)

/** The longest evidence digest that is kept: SHA-512's. */
#define PFNBUF_TDI_DIGEST_MAX 64

/** In pfnbuf_tdi_error.offset: no byte of the report is to blame. */
#define PFNBUF_TDI_NO_OFFSET UINT64_MAX

/** INTERFACE_INFO. */
enum {
	PFNBUF_TDI_INFO_NO_FW_UPDATE = 1 << 0, /**< no firmware update in CONFIG_LOCKED and RUN */
	PFNBUF_TDI_INFO_DMA_WITHOUT_PASID = 1 << 1,
	PFNBUF_TDI_INFO_DMA_WITH_PASID = 1 << 2,
	PFNBUF_TDI_INFO_ATS = 1 << 3,
	PFNBUF_TDI_INFO_PRS = 1 << 4,
	PFNBUF_TDI_INFO_MASK = 0x1f, /**< the others are reserved */
};

/** RANGE_ATTRIBUTES. */
enum {
	PFNBUF_TDI_ATTR_MSIX_TABLE = 1 << 0, /**< has the MSI-X table, if LOCK_MSIX locked it */
	PFNBUF_TDI_ATTR_MSIX_PBA = 1 << 1,   /**< has the MSI-X pending bits, likewise */
	PFNBUF_TDI_ATTR_NON_TEE = 1 << 2,    /**< IS_NON_TEE_MEM */
	PFNBUF_TDI_ATTR_UPDATABLE = 1 << 3,  /**< IS_MEM_ATTR_UPDATABLE: NON_TEE was so at lock */
	PFNBUF_TDI_ATTR_MASK = 0xf,	     /**< the others are reserved */
};

/**
 * TDI states, with TDISP's own values. Other interfaces number them otherwise: do not cast between
 * them.
 */
enum pfnbuf_tdi_state {
	PFNBUF_TDI_CONFIG_UNLOCKED = 0,
	PFNBUF_TDI_CONFIG_LOCKED = 1,
	PFNBUF_TDI_RUN = 2,
	PFNBUF_TDI_ERROR = 3,
};

/** Why a report, a compilation or a use of its result was refused. */
enum pfnbuf_tdi_reason {
	PFNBUF_TDI_OK,
	PFNBUF_TDI_NO_MEMORY,	   /**< -ENOMEM */
	PFNBUF_TDI_BAD_ARGUMENT,   /**< -EINVAL: an option is out of its set; text says which */
	PFNBUF_TDI_TRUNCATED,	   /**< -EBADMSG: ends inside the field at offset */
	PFNBUF_TDI_TRAILING,	   /**< -EBADMSG: bytes follow the report (strict) */
	PFNBUF_TDI_NO_TRAILER,	   /**< -EBADMSG: no DEVICE_SPECIFIC_INFO_LEN (strict) */
	PFNBUF_TDI_RESERVED_BITS,  /**< -EBADMSG: reserved bits are set (strict) */
	PFNBUF_TDI_COUNT_OVERFLOW, /**< -EOVERFLOW: the ranges alone would exceed 4 GiB */
	PFNBUF_TDI_COUNT_LIMIT,	   /**< -E2BIG: more ranges than max_ranges */
	PFNBUF_TDI_ZERO_PAGES,	   /**< -EBADMSG: a range of no pages */
	PFNBUF_TDI_UNORDERED,	   /**< -EBADMSG: range ids or first pages do not ascend (strict) */
	PFNBUF_TDI_DUPLICATE,	   /**< -EEXIST: two ranges name the same pages of the same id */
	PFNBUF_TDI_OVERLAP,	   /**< -EEXIST: two ranges share pages */
	PFNBUF_TDI_BAD_RANGE_ID,   /**< -ERANGE: a range id above 5 */
	PFNBUF_TDI_UPPER_HALF, /**< -ERANGE: a range id that names the upper half of a 64-bit BAR */
	PFNBUF_TDI_NO_BAR,     /**< -ERANGE: a BAR that does not exist, or is I/O ports */
	PFNBUF_TDI_WRAP,       /**< -EOVERFLOW: the range leaves the 64-bit address space */
	PFNBUF_TDI_MISALIGNED, /**< -EBADMSG: an address that is not on a 4 KiB page */
	PFNBUF_TDI_BELOW_BASE, /**< -ERANGE: starts below the base of its BAR */
	PFNBUF_TDI_OUTSIDE_BAR,	   /**< -ERANGE: ends beyond its BAR */
	PFNBUF_TDI_UNIT_AMBIGUOUS, /**< -ENOTUNIQ: auto: both units of FIRST_PAGE are consistent */
	PFNBUF_TDI_UNIT_NONE,	   /**< -EBADMSG: auto: neither unit is consistent */
	PFNBUF_TDI_HOLE,	   /**< -ENODATA: part of a BAR is not reported (holes = refuse) */
	PFNBUF_TDI_MIXED_PAGE,	   /**< -EXDEV: a host page or a classified range mixes kinds */
	PFNBUF_TDI_NOT_REPORTED, /**< -ENODATA: the classified range is in no range of the report */
	PFNBUF_TDI_NO_EVIDENCE,	 /**< -ENOKEY: compiled, or asked, without a digest */
	PFNBUF_TDI_OTHER_DIGEST, /**< -EKEYREJECTED: another digest than the one compiled from */
	PFNBUF_TDI_OTHER_GENERATION, /**< -ESTALE: another generation than the one compiled in */
	PFNBUF_TDI_BAD_STATE,	     /**< -EPERM: the TDI state does not allow this use */
	PFNBUF_TDI_N_REASONS,
};

struct pfnbuf_tdi_error {
	enum pfnbuf_tdi_reason reason;
	int bar;	 /**< or -1 */
	int64_t range;	 /**< index of the range to blame in the report, or -1 */
	int64_t other;	 /**< index of the range that it collides or mixes with, or -1 */
	uint64_t offset; /**< byte in the report of the field to blame, or PFNBUF_TDI_NO_OFFSET */
	char text[320];	 /**< what, where, why and what to do; one line, no newline */
};

/** "truncated", "count-overflow", ...: a stable word for scripts; NULL for no reason. */
PFNBUF_API const char *pfnbuf_tdi_reason_name(enum pfnbuf_tdi_reason reason);

/** "CONFIG_UNLOCKED", "CONFIG_LOCKED", "RUN", "ERROR"; NULL for no state. */
PFNBUF_API const char *pfnbuf_tdi_state_name(enum pfnbuf_tdi_state state);

/**
 * Decode the state byte of a DEVICE_INTERFACE_STATE response.
 *
 * -EPROTO  TDISP knows no such state: the TDI is not to be used
 */
PFNBUF_API int pfnbuf_tdi_state_decode(uint8_t wire, enum pfnbuf_tdi_state *statep);

/**
 * The fixed fields of a report, as they stand in it. The controls are copies of the device's
 * registers.
 */
struct pfnbuf_tdi_header {
	uint16_t interface_info; /**< PFNBUF_TDI_INFO_* */
	uint16_t reserved;
	uint16_t msi_x_message_control; /**< 0 without MSI-X, or if its table is not locked */
	uint16_t lnr_control;		/**< deprecated */
	uint32_t tph_control;
};

/** One MMIO range, as it stands in the report. */
struct pfnbuf_tdi_range {
	uint64_t first_page;	   /**< with the reporting offset added; see enum pfnbuf_tdi_unit */
	uint32_t number_of_pages;  /**< of 4 KiB */
	uint16_t range_attributes; /**< PFNBUF_TDI_ATTR_* */
	uint16_t range_id; /**< device-specific in the standard; everyone puts the BAR here */
};

/** A parsed report, or one that is being built to be encoded. */
struct pfnbuf_tdi_report;

enum {
	/**
	 * Refuse what the standard forbids but devices are seen to do: reserved bits, ranges out of
	 * order, no DEVICE_SPECIFIC_INFO_LEN, bytes after the end.
	 */
	PFNBUF_TDI_STRICT = 1 << 0,
};

struct pfnbuf_tdi_parse_opts {
	size_t size;	     /**< sizeof(struct pfnbuf_tdi_parse_opts) */
	uint32_t max_ranges; /**< 0: 4096 */
	uint32_t flags;	     /**< PFNBUF_TDI_STRICT; 0: lenient */
};

/**
 * Parse a report. The bytes may lie anywhere, unaligned, and are not kept. Nothing is decided here
 * about what the ranges mean, so that a report which cannot be compiled can still be shown. @opts
 * may be NULL: lenient.
 *
 * Returns 0 and a report for the caller to free, or the negative errno that enum pfnbuf_tdi_reason
 * gives beside the reason in *err.
 */
PFNBUF_API int pfnbuf_tdi_report_parse(const void *data, size_t len,
				       const struct pfnbuf_tdi_parse_opts *opts,
				       struct pfnbuf_tdi_report **reportp,
				       struct pfnbuf_tdi_error *err);

/**
 * Make a report with these fixed fields (NULL: all zero), no ranges and an empty
 * DEVICE_SPECIFIC_INFO.
 *
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_tdi_report_new(const struct pfnbuf_tdi_header *header,
				     struct pfnbuf_tdi_report **reportp);
PFNBUF_API struct pfnbuf_tdi_report *pfnbuf_tdi_report_free(struct pfnbuf_tdi_report *report);

/**
 * Append a range. Any values are taken, so that hostile reports can be made for tests.
 *
 * -E2BIG  the encoded ranges would exceed 4 GiB
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_tdi_report_add_range(struct pfnbuf_tdi_report *report,
					   const struct pfnbuf_tdi_range *range);

/**
 * Set DEVICE_SPECIFIC_INFO to a copy of the bytes. @data NULL drops it together with its length
 * field, as some devices do.
 *
 * -E2BIG  longer than the 32-bit length field can say
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_tdi_report_set_info(struct pfnbuf_tdi_report *report, const void *data,
					  size_t len);

PFNBUF_API void pfnbuf_tdi_report_get_header(const struct pfnbuf_tdi_report *report,
					     struct pfnbuf_tdi_header *header);
PFNBUF_API uint32_t pfnbuf_tdi_report_count_ranges(const struct pfnbuf_tdi_report *report);

/** -ENOENT: @index is not below the count. */
PFNBUF_API int pfnbuf_tdi_report_get_range(const struct pfnbuf_tdi_report *report, uint32_t index,
					   struct pfnbuf_tdi_range *range);

/**
 * DEVICE_SPECIFIC_INFO, which stays the report's, and its length. NULL where the report ends before
 * the length field; an empty one is not NULL.
 */
PFNBUF_API const void *pfnbuf_tdi_report_get_info(const struct pfnbuf_tdi_report *report,
						  size_t *lenp);

/** The length in bytes of the encoded report. */
PFNBUF_API size_t pfnbuf_tdi_report_get_size(const struct pfnbuf_tdi_report *report);

/**
 * Encode a report into @buf and its length into *lenp. A parsed report gives the bytes it was
 * parsed from, less what trailed them.
 *
 * -ENOSPC  @size is below pfnbuf_tdi_report_get_size(); nothing was written
 */
PFNBUF_API int pfnbuf_tdi_report_encode(const struct pfnbuf_tdi_report *report, void *buf,
					size_t size, size_t *lenp);

/**
 * Print a report in words, a line for each field and range. Buffer and return value as for
 * pfnbuf_layout_print().
 */
PFNBUF_API size_t pfnbuf_tdi_report_print(const struct pfnbuf_tdi_report *report, char *buf,
					  size_t size);

/**
 * Print a report as JSON in the form that spdm-emu's sample device reads
 * (TDISP_DEVICE_INTERFACE_REPORT in its environment). first_page is a string, for many JSON readers
 * cut integers of 64 bits. What that form cannot say is added: "reserved" if it is not zero;
 * "device_specific_info": null without a trailer; "device_specific_info_hex" in its place if the
 * bytes are not ASCII without NUL. The library reads no JSON: who does builds the report with
 * pfnbuf_tdi_report_new(), as pfnbufctl does. Buffer and return value as for pfnbuf_layout_print().
 */
PFNBUF_API size_t pfnbuf_tdi_report_print_json(const struct pfnbuf_tdi_report *report, char *buf,
					       size_t size);

/**
 * How FIRST_PAGE is to be read: Linux and spdm-emu take it for a page number, other software for a
 * byte address.
 */
enum pfnbuf_tdi_unit {
	/** the one unit under which every range fits its BAR, else refused */
	PFNBUF_TDI_UNIT_AUTO,
	PFNBUF_TDI_UNIT_PAGES, /**< 4 KiB page numbers */
	PFNBUF_TDI_UNIT_BYTES, /**< byte addresses */
};

/**
 * Where a BAR starts among the reported addresses. If a device reports only the inside of a BAR,
 * all but the absolute mode misplace it: the result carries a warning then.
 */
enum pfnbuf_tdi_base {
	PFNBUF_TDI_BASE_ABSOLUTE,    /**< pfnbuf_tdi_bar.address plus the reporting offset */
	PFNBUF_TDI_BASE_FIRST_RANGE, /**< where the first range with its id starts */
	PFNBUF_TDI_BASE_MIN_RANGE,   /**< where the lowest range with its id starts */
};

/** What becomes of bytes that no range names. */
enum pfnbuf_tdi_holes {
	PFNBUF_TDI_HOLES_TRAP,	 /**< PFNBUF_HOLE: not mapped, an access exits to the VMM */
	PFNBUF_TDI_HOLES_SHARED, /**< PFNBUF_SHARED */
	PFNBUF_TDI_HOLES_REFUSE, /**< -ENODATA */
};

/** What becomes of a host page whose 4 KiB pages are not all of one kind. */
enum pfnbuf_tdi_mixed {
	PFNBUF_TDI_MIXED_REFUSE, /**< -EXDEV */
	PFNBUF_TDI_MIXED_SHARED, /**< the whole host page becomes shared, with a warning */
};

/** What becomes of ranges that hold the MSI-X table or pending bits. */
enum pfnbuf_tdi_msix {
	PFNBUF_TDI_MSIX_TRAP,	  /**< PFNBUF_HOLE: the VMM emulates them */
	PFNBUF_TDI_MSIX_SHARED,	  /**< PFNBUF_SHARED */
	PFNBUF_TDI_MSIX_REPORTED, /**< as their IS_NON_TEE_MEM bit says */
};

/** A BAR as struct pfnbuf_bar has it, and where it is. */
struct pfnbuf_tdi_bar {
	uint64_t size;	  /**< 0: not implemented */
	uint64_t address; /**< physical, at the time of lock; 0: unknown; BASE_ABSOLUTE needs it */
	uint32_t flags;	  /**< of PFNBUF_BAR_*: 64 shuts the next BAR to ranges, IO this one */
};

/** What vouches for a report. The library computes no digest: it keeps the caller's. */
struct pfnbuf_tdi_evidence {
	uint8_t digest[PFNBUF_TDI_DIGEST_MAX]; /**< of the report's bytes, as attested */
	size_t digest_len;
	uint64_t generation; /**< another for each LOCK_INTERFACE_REQUEST, so none is replayed */
	enum pfnbuf_tdi_state state; /**< when the report was obtained */
};

struct pfnbuf_tdi_compile_opts {
	size_t size; /**< sizeof(struct pfnbuf_tdi_compile_opts) */
	struct pfnbuf_tdi_bar bars[6];
	enum pfnbuf_tdi_unit unit;
	enum pfnbuf_tdi_base base;
	enum pfnbuf_tdi_holes holes;
	enum pfnbuf_tdi_mixed mixed;
	enum pfnbuf_tdi_msix msix;
	uint64_t page_size; /**< the host's, a power of two; 0: 4096 */
	/** MMIO_REPORTING_OFFSET of LOCK_INTERFACE_REQUEST: bytes, signed */
	int64_t reporting_offset;
	/** Copied. NULL: nothing vouches for the result, pfnbuf_tdi_layouts_check() refuses it. */
	const struct pfnbuf_tdi_evidence *evidence;
};

/** The rule that decided a run. */
enum pfnbuf_tdi_rule {
	PFNBUF_TDI_RULE_NOT_REPORTED, /**< no range names it: the hole policy */
	PFNBUF_TDI_RULE_TEE,	      /**< IS_NON_TEE_MEM is clear: private */
	PFNBUF_TDI_RULE_NON_TEE,      /**< IS_NON_TEE_MEM is set: shared */
	PFNBUF_TDI_RULE_MSIX,	    /**< holds the MSI-X table or pending bits: the MSI-X policy */
	PFNBUF_TDI_RULE_AGREED,	    /**< the host page has several rules, and they agree */
	PFNBUF_TDI_RULE_MIXED_PAGE, /**< the host page has several kinds: the mixed policy */
};

/** "not-reported", "tee", ...; NULL for no rule. */
PFNBUF_API const char *pfnbuf_tdi_rule_name(enum pfnbuf_tdi_rule rule);

/**
 * A run of a compiled BAR and why it is what it is. Runs cover the BAR in order and without gaps;
 * neighbours may have one visibility for different reasons, unlike those of a layout.
 */
struct pfnbuf_tdi_run {
	uint64_t offset; /**< from the start of the BAR; a multiple of the host page size */
	uint64_t length; /**< likewise */
	enum pfnbuf_vis vis;
	enum pfnbuf_tdi_rule rule;
	uint16_t range_attributes; /**< of all the ranges, or-ed */
	uint32_t nr_ranges;	   /**< how many ranges of the report are behind it */
	const uint32_t *ranges;	   /**< their indexes, in address order; stay the result's */
};

/**
 * The layouts of one report, one for each memory BAR, with their reasons, bound to their evidence.
 */
struct pfnbuf_tdi_layouts;

/**
 * Compile a report into layouts. Every byte of every memory BAR in @opts gets a visibility and a
 * reason.
 *
 * A BAR that ends inside a host page gets the whole page: VFIO lets a BAR below page size be mapped
 * only if it owns the page (drivers/vfio/pci/vfio_pci_core.c:vfio_pci_probe_mmaps). The result
 * warns of it; where the BAR's address is known and does not start a host page, it is refused
 * unless it is a hole.
 *
 * A report without ranges has no unit, so PFNBUF_TDI_UNIT_AUTO takes it.
 *
 * Returns 0 and a result for the caller to free, or the negative errno that enum pfnbuf_tdi_reason
 * gives beside the reason in *err. -EPERM: the evidence says that the TDI was neither CONFIG_LOCKED
 * nor RUN, and no report can be had then.
 */
PFNBUF_API int pfnbuf_tdi_layouts_compile(const struct pfnbuf_tdi_report *report,
					  const struct pfnbuf_tdi_compile_opts *opts,
					  struct pfnbuf_tdi_layouts **layoutsp,
					  struct pfnbuf_tdi_error *err);
PFNBUF_API struct pfnbuf_tdi_layouts *pfnbuf_tdi_layouts_free(struct pfnbuf_tdi_layouts *layouts);

/**
 * The layout of a BAR in host pages, which stays the result's; NULL where @opts had no such memory
 * BAR.
 */
PFNBUF_API const struct pfnbuf_layout *pfnbuf_tdi_layouts_get(
	const struct pfnbuf_tdi_layouts *layouts, unsigned bar);

/** 0 where @opts had no such memory BAR. */
PFNBUF_API uint32_t pfnbuf_tdi_layouts_count_runs(const struct pfnbuf_tdi_layouts *layouts,
						  unsigned bar);

/** -ENOENT: no such run. */
PFNBUF_API int pfnbuf_tdi_layouts_get_run(const struct pfnbuf_tdi_layouts *layouts, unsigned bar,
					  uint32_t index, struct pfnbuf_tdi_run *run);

/**
 * Print why a run is what it is: "range 3: IS_NON_TEE_MEM is set". Buffer and return value as for
 * snprintf().
 *
 * -ENOENT  no such run
 */
PFNBUF_API int pfnbuf_tdi_layouts_explain(const struct pfnbuf_tdi_layouts *layouts, unsigned bar,
					  uint32_t index, char *buf, size_t size);

/**
 * The unit that FIRST_PAGE was read in, never AUTO; and why in *whyp, which may be NULL and stays
 * the result's.
 */
PFNBUF_API enum pfnbuf_tdi_unit pfnbuf_tdi_layouts_get_unit(
	const struct pfnbuf_tdi_layouts *layouts, const char **whyp);

/** The warnings from @index 0 on, which stay the result's; NULL after the last. */
PFNBUF_API const char *pfnbuf_tdi_layouts_get_warning(const struct pfnbuf_tdi_layouts *layouts,
						      unsigned index);

/**
 * Classify bytes of a BAR as somebody is about to use them. The range id alone decides nothing:
 * ranges of the report must name every page.
 *
 * -EINVAL  @length is 0
 * -ERANGE  outside the BAR, or no such memory BAR
 * -ENODATA no range names some of it, whatever the hole policy is
 * -EXDEV   it holds more than one visibility
 */
PFNBUF_API int pfnbuf_tdi_layouts_classify(const struct pfnbuf_tdi_layouts *layouts, unsigned bar,
					   uint64_t offset, uint64_t length, enum pfnbuf_vis *visp,
					   struct pfnbuf_tdi_error *err);

/** What layouts are about to be used for. */
enum pfnbuf_tdi_use {
	PFNBUF_TDI_USE_PLACE, /**< make mappings: in CONFIG_LOCKED or RUN */
	PFNBUF_TDI_USE_START, /**< START_INTERFACE_REQUEST, verified before: in CONFIG_LOCKED */
	PFNBUF_TDI_USE_RUN,   /**< tell the guest that its MMIO is ready: in RUN */
};

/**
 * Hold the evidence of now against the evidence that the layouts were compiled from.
 *
 * 0              they may be used so
 * -ENOKEY        either has no digest
 * -EKEYREJECTED  another digest
 * -ESTALE        another generation: the TDI was locked again since
 * -EPERM         the TDI state does not allow this use, or fell from RUN back to CONFIG_LOCKED
 *                without a new lock, which TDISP cannot do
 */
PFNBUF_API int pfnbuf_tdi_layouts_check(const struct pfnbuf_tdi_layouts *layouts,
					const struct pfnbuf_tdi_evidence *now,
					enum pfnbuf_tdi_use use, struct pfnbuf_tdi_error *err);

/**
 * Print the layouts with their reasons and warnings. Buffer and return value as for
 * pfnbuf_layout_print().
 */
PFNBUF_API size_t pfnbuf_tdi_layouts_print(const struct pfnbuf_tdi_layouts *layouts, char *buf,
					   size_t size);

/** The same as JSON, on one line. */
PFNBUF_API size_t pfnbuf_tdi_layouts_print_json(const struct pfnbuf_tdi_layouts *layouts, char *buf,
						size_t size);

/* ================================================================ profile ===================== */

/**
 * A profile says in which of its proposed versions to speak a kernel interface that no release of
 * Linux has: how a device is bound to a confidential guest, how private MMIO gets into one, how a
 * guest_memfd is converted in place. Proposals give the same number to different calls, so that
 * nothing of the kind is ever called without a profile, and which one the kernel speaks is never
 * guessed: who built the kernel knows.
 *
 * It is a text, a line for each `key = value`; # begins a comment, but in `about` and `needs`,
 * which take the rest of their line. pfnbuf-profile(5) describes the keys. The library comes with
 * mainline-7.3 (nothing unmerged), tdx-rfc2, iommufd-tsm5, cca7 and gmem-inplace8, which show every
 * key there is.
 *
 * Threads: a profile never changes.
 */

/** What is wrong with a text of several lines. */
struct pfnbuf_text_error {
	unsigned line;	     /**< from 1 */
	unsigned column;     /**< of the offending byte in the line, from 1 */
	const char *cause;   /**< static, in words */
	const char *missing; /**< the key that is missing, static; NULL: another error */
};

/**
 * Read a profile: with a slash in its name the file at this path, else NAME.profile where the
 * library's own are installed. It starts with one reference, which is the caller's.
 *
 * -ENOENT  there is no such file
 * -EINVAL  its text is wrong; *error, which may be NULL, says where and why. It is written in this
 *          case only
 * -EFBIG   longer than 64 KiB
 * -EISDIR  it is a folder
 * -EACCES  the caller may not read it
 */
PFNBUF_API int pfnbuf_profile_load(const char *name_or_path, struct pfnbuf_profile **profilep,
				   struct pfnbuf_text_error *error);

/**
 * The same for @length bytes of text.
 *
 * -EINVAL  the text is wrong, or longer than 64 KiB; *error says where and why
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_profile_parse(const char *text, size_t length,
				    struct pfnbuf_profile **profilep,
				    struct pfnbuf_text_error *error);

/** One reference more, and one less. */
PFNBUF_API struct pfnbuf_profile *pfnbuf_profile_ref(struct pfnbuf_profile *profile);
PFNBUF_API struct pfnbuf_profile *pfnbuf_profile_unref(struct pfnbuf_profile *profile);

/** As its text says; stays the profile's. */
PFNBUF_API const char *pfnbuf_profile_get_name(const struct pfnbuf_profile *profile);

/** What a profile says of a kernel. Strings are the profile's; "" where it says nothing. */
struct pfnbuf_profile_info {
	const char *name;
	const char *about;
	const char *needs; /**< where it cannot bind: what would be needed */
	/** "none", "vfio-tsm-bind", "iommufd-tsm-op", "iommufd-vdevice-alloc" */
	const char *bind;
	/** "none", "kvm-dmabuf-slot", "pre-fault", "validate-mmio" */
	const char *private_mmio;
	bool can_bind;
	bool has_private_mmio;
	/** a guest_memfd is converted in place (KVM_SET_MEMORY_ATTRIBUTES2) */
	bool has_gmem_attributes;
};

PFNBUF_API void pfnbuf_profile_get_info(const struct pfnbuf_profile *profile,
					struct pfnbuf_profile_info *info);

/**
 * Print a profile as text that pfnbuf_profile_parse() takes. Buffer and return value as for
 * pfnbuf_layout_print().
 */
PFNBUF_API size_t pfnbuf_profile_print(const struct pfnbuf_profile *profile, char *buf,
				       size_t size);

/**
 * Let the context speak this profile, once and for all; it takes a reference. Without one it calls
 * nothing that is not merged.
 *
 * -EALREADY  the context has a profile
 */
PFNBUF_API int pfnbuf_ctx_set_profile(struct pfnbuf_ctx *ctx, struct pfnbuf_profile *profile);

/* ================================================================ TSM ========================= */

/**
 * What Linux 7.3 has for confidential devices: the platform's security manager (TSM) makes a secure
 * session with the device, asked for in sysfs. Only a device with a session can be bound.
 */
struct pfnbuf_tsm_info {
	bool present;	    /**< sysfs says anything of a TSM for this device */
	char connected[16]; /**< "tsm0": has a session with the device; "": none has */
	/** what manages the device while it is bound to a guest: "tsm0"; "": it is not bound */
	char bound[16];
	char dsm[16]; /**< address of the function that manages security for it; "": none */
	char authenticated[16]; /**< as connected, where the session was made by a link TSM */
};

/**
 * Ask sysfs. All is empty where the platform has no TSM, or the device neither TDISP nor IDE.
 *
 * -EACCES  the caller may not read it
 * -EINTR   a fatal signal came while the TSM was busy
 * Source: drivers/pci/tsm.c
 */
PFNBUF_API int pfnbuf_tsm_get_info(struct pfnbuf_device *device, struct pfnbuf_tsm_info *info);

/**
 * Let a TSM ("tsm0") make a session with the device, which is function 0 of its kind. It needs no
 * pfnbuf_device_bind().
 *
 * -EINVAL  not a name of that form
 * -EOPNOTSUPP  no TSM manages such devices here, or the device has neither TDISP nor IDE
 * -EBUSY   a TSM has a session with the device
 * -ENXIO   there is no such TSM, or it does not take the device
 * -EACCES  the caller may not write there
 * -EINTR   a fatal signal came
 * and what the TSM's driver fails with
 * Source: drivers/pci/tsm.c:connect_store
 */
PFNBUF_API int pfnbuf_tsm_connect(struct pfnbuf_device *device, const char *tsm);

/**
 * End the session. @tsm: which is expected to have it, or NULL: whichever has. The kernel unbinds
 * the device, and the functions it manages, from their guests without asking; here, the binds of
 * all of them in this context are unlocked first.
 *
 * -EBUSY   one of them is bound to a guest, and unbinding it failed; others may be unlocked
 * -EINVAL  not a name of that form, or another TSM has the session
 * -EOPNOTSUPP  as for pfnbuf_tsm_connect()
 * -ENXIO   there is no session
 * -EACCES  the caller may not write there
 * -EINTR   a fatal signal came
 * Source: drivers/pci/tsm.c:disconnect_store
 */
PFNBUF_API int pfnbuf_tsm_disconnect(struct pfnbuf_device *device, const char *tsm);

/* ================================================================ plan ======================== */

/**
 * A plan is the list of kernel calls that lead from what a window is to what it shall be. Making
 * one enters no kernel. Each step is one call, knows why it is there, and has an inverse: where a
 * step fails, the inverses of those before it run in reverse order, so that a plan is done or not
 * done. Giving back memory has none: it comes last.
 *
 * A plan is made by pfnbuf_window_plan() or pfnbuf_window_plan_move() and run by
 * pfnbuf_window_apply(), once. It keeps its window's memory, and must not be checked or applied
 * after the window's IOAS or VM has ended.
 *
 * Threads: a plan does not lock. It may be read by any number of threads, or applied by one while
 * no other reads it.
 */
struct pfnbuf_plan;

enum pfnbuf_step_kind {
	/** IOMMU_IOAS_UNMAP of one or more areas. Inverse: map each again */
	PFNBUF_STEP_AREA_UNMAP = 1,
	PFNBUF_STEP_AREA_MAP, /**< IOMMU_IOAS_MAP_FILE. Inverse: unmap */
	/** KVM_SET_USER_MEMORY_REGION, size 0. Inverse: set, perhaps under another id */
	PFNBUF_STEP_SLOT_DELETE,
	PFNBUF_STEP_SLOT_SET, /**< KVM_SET_USER_MEMORY_REGION. Inverse: delete */
	/** KVM_SET_USER_MEMORY_REGION of a slot that is there. Inverse: move back */
	PFNBUF_STEP_SLOT_MOVE,
	/**
	 * KVM_SET_MEMORY_ATTRIBUTES, or KVM_SET_MEMORY_ATTRIBUTES2 of a guest_memfd: private, or
	 * not any more. Inverse: what they were, the same for all of the range
	 */
	PFNBUF_STEP_ATTRIBUTE_SET,
	/**
	 * give back memory whose contents nobody can reach any more: fallocate, punch hole; madvise
	 * for memory without a file. No inverse, so these come last, when nothing else can fail;
	 * where one is refused the memory stays allocated and the plan is done all the same
	 */
	PFNBUF_STEP_DISCARD,
	/* Those of a bind. */
	PFNBUF_STEP_EXPORT,    /**< VFIO_DEVICE_FEATURE_DMA_BUF; @range in the BAR */
	PFNBUF_STEP_CLOSE,     /**< of a dma-buf; @range in the BAR */
	PFNBUF_STEP_BAR_MAP,   /**< mmap of a BAR; @range in the BAR */
	PFNBUF_STEP_BAR_UNMAP, /**< munmap of a BAR; @range in the BAR */
	PFNBUF_STEP_ALLOC,     /**< of an iommufd object that the bind takes */
	PFNBUF_STEP_DESTROY,   /**< of such an object */
	PFNBUF_STEP_BIND,      /**< the call that binds, as profile or caller have it */
	PFNBUF_STEP_UNBIND,
	PFNBUF_STEP_START,  /**< the device's interface starts */
	PFNBUF_STEP_REPORT, /**< the device's interface report is read */
	/** MMIO is validated for the guest, or not any more; @range guest physical */
	PFNBUF_STEP_VALIDATE,
	PFNBUF_STEP_PRE_FAULT, /**< KVM_PRE_FAULT_MEMORY; @range guest physical */
};

enum pfnbuf_step_state {
	PFNBUF_STEP_PLANNED, /**< has not run */
	PFNBUF_STEP_DONE,    /**< ran; its effect stands */
	/** ran and was refused: this is where the plan turned back, unless it is a DISCARD */
	PFNBUF_STEP_FAILED,
	PFNBUF_STEP_UNDONE, /**< ran, and its inverse ran */
	/** ran, and its inverse was refused: its effect, or part of it, stands */
	PFNBUF_STEP_UNDO_FAILED,
};

/** A step, and what became of it. */
struct pfnbuf_step {
	enum pfnbuf_step_kind kind;
	enum pfnbuf_step_state state;
	/** "ioas 3", "vm 7", "memfd 1029", "anonymous memory"; lives as long as the plan */
	const char *object;
	/** I/O virtual, guest physical, or in the buffer or process, as @object has it */
	struct pfnbuf_range range;
	/**
	 * SLOT_MOVE: the new guest physical address; ATTRIBUTE_SET: 0 or PFNBUF_ATTRIBUTE_PRIVATE
	 */
	uint64_t to;
	uint64_t areas;	    /**< AREA_UNMAP: how many areas go; AREA_MAP: 1 */
	const char *reason; /**< static, in words */
	int result;  /**< of the call, or of its inverse if UNDO_FAILED: 0 or a negative errno */
	uint64_t ns; /**< that the call took, in nanoseconds; 0: has not run */
};

/** How many steps there are: 0 where nothing has to change. */
PFNBUF_API size_t pfnbuf_plan_get_nr_steps(const struct pfnbuf_plan *plan);

/** Step @i, from 0. -ERANGE: there are not as many. */
PFNBUF_API int pfnbuf_plan_get_step(const struct pfnbuf_plan *plan, size_t i,
				    struct pfnbuf_step *step);

/**
 * Hold a plan that has not run against the limits that are known: what would fail for certain is
 * refused here, before anything has run. It asks the kernel for the IOAS's addresses and changes
 * nothing. That it succeeds promises nothing: others may take slots or addresses meanwhile.
 *
 * -ESTALE     the window has changed, or its device was revoked, since the plan was made
 * -EALREADY   the plan has run
 * -ENODEV     the window's device is closed
 * -ENOTRECOVERABLE  the window is quarantined
 * -ENOSPC     the VM has not that many slot ids free, deletions counted
 * -E2BIG      a slot would be longer than 2^31 - 1 pages
 *             (virt/kvm/kvm_main.c:kvm_set_memory_region)
 * -ERANGE     an area lies outside the addresses that the IOAS's devices allow
 * -EINVAL     an area is not aligned as the IOAS's devices need it
 * -EEXIST     somebody else maps something between the areas that go with one call
 * -ENOMEM     it maps, and the window's memory alone exceeds RLIMIT_MEMLOCK
 */
PFNBUF_API int pfnbuf_plan_check(struct pfnbuf_plan *plan);

/**
 * Print a plan as text, a line for each step: what, where, why, and once it has run its result and
 * time. As snprintf does, writes at most @size bytes into @buf, the last a NUL, and returns the
 * length of the whole text without it.
 */
PFNBUF_API size_t pfnbuf_plan_print(const struct pfnbuf_plan *plan, char *buf, size_t size);

/**
 * Print a plan as JSON on one line: {"steps": [{"kind": "area-map", "object": "ioas 3", "offset":
 * 4096, "length": 8192, "reason": "...", "state": "planned"}, ...]}; "to" for a slot-move,
 * "attributes" for an attribute-set, "areas" for areas, and "result" (0, or an errno's name) and
 * "ns" for what has run. Buffer and return value as for pfnbuf_plan_print().
 */
PFNBUF_API size_t pfnbuf_plan_print_json(const struct pfnbuf_plan *plan, char *buf, size_t size);

/** End it, run or not. */
PFNBUF_API struct pfnbuf_plan *pfnbuf_plan_free(struct pfnbuf_plan *plan);

/** "area-unmap", "slot-set", ... and "planned", "done", ...; "?" for an unknown value. */
PFNBUF_API const char *pfnbuf_step_kind_name(enum pfnbuf_step_kind kind);
PFNBUF_API const char *pfnbuf_step_state_name(enum pfnbuf_step_state state);

/* ================================================================ window ====================== */

/**
 * A window is a BAR, part of one, or a block of RAM, placed at a guest physical address in a VM and
 * at an I/O virtual address in an IOAS, under a layout: what the layout calls shared is reachable
 * there, a hole is not. It owns the buffers, mappings, slots and areas that make the placement
 * true, and changes them with as few kernel calls as the difference of two layouts needs.
 *
 * After every call the window is what its layout says, or what it was before the call; where
 * neither can be had, because a call and then its undoing was refused, it is *quarantined*: it can
 * be looked at and freed, and pfnbuf_window_get_info() says why.
 *
 * The window's addresses are its own from end to end, holes included: nobody else maps there.
 *
 * Threads: a window serialises on itself; different windows go in parallel. A device's revocation
 * waits for a window of it that was asked to withdraw its slots. Free windows before their device,
 * IOAS and VM.
 */
enum {
	/**
	 * A window of a BAR: delete the memory slots before the device's memory goes off, and set
	 * them again with pfnbuf_device_restore(). Without it they stay, and a guest that touches
	 * them meanwhile fails its vCPU's KVM_RUN with EFAULT
	 * (arch/x86/kvm/mmu/mmu.c:kvm_handle_error_pfn) instead of exiting for MMIO. RAM does not
	 * go off, and a window in no VM has no slots: refused there.
	 */
	PFNBUF_PLACE_WITHDRAW_SLOTS = 1 << 0,
	/**
	 * A window of memory that is converted in place: a conversion (pfnbuf_window_convert(),
	 * pfnbuf_window_convert_batch(), pfnbuf_guest_convert()) that fails because somebody holds
	 * a page returns PFNBUF_PENDING, and pfnbuf_ctx_dispatch() tries it again after 1, 2, 4 and
	 * so on to 64 ms, ten times in all. Nothing else waits: see -EAGAIN of
	 * pfnbuf_window_apply(). Refused with a memfd or addr, and for a BAR: no conversion of
	 * these fails for that.
	 */
	PFNBUF_PLACE_RETRY = 1 << 1,
};

/** Returned by a conversion that waits: an event will say what became of it. */
#define PFNBUF_PENDING 2

/** Where a window is. */
struct pfnbuf_place {
	size_t size;	      /**< sizeof(struct pfnbuf_place) */
	struct pfnbuf_vm *vm; /**< NULL: not in a guest */
	uint64_t gpa; /**< guest physical address of the window's first byte, page aligned */
	struct pfnbuf_ioas *ioas; /**< NULL: not for devices */
	uint64_t iova;	     /**< I/O virtual address of the window's first byte, page aligned */
	unsigned map_flags;  /**< PFNBUF_MAP_READ, PFNBUF_MAP_WRITE; 0: both */
	unsigned slot_flags; /**< PFNBUF_SLOT_* */
	/**
	 * RAM: no area crosses a multiple of this, counted from the window's first byte. An area is
	 * unmapped whole, so a conversion of less than a granule maps what is left of it anew and
	 * disturbs its DMA for that moment: DMA to it faults in between. The system's page size
	 * avoids that, at the price of an area for each page. 0: an area for each run. A BAR has
	 * none.
	 */
	uint64_t granule;
	unsigned flags; /**< PFNBUF_PLACE_* */
};

/**
 * What a window of RAM shows. Shared memory alone is @memfd, or anonymous memory at @addr. Shared
 * and private memory in two places is the same with a @guest_memfd: one slot stands on both, the
 * VM's attributes say which of them the guest sees, and what is converted loses what it held.
 * Shared and private memory in one is a @guest_memfd alone, made with PFNBUF_GUEST_MEMFD_MMAP and
 * _INIT_SHARED: converted in place, where the context's profile says that the kernel does that
 * (pfnbuf_ctx_set_profile() comes first), and shared memory only on Linux 7.3. The kernel converts
 * no page to private that anybody holds; areas of this context that do, without being a window's,
 * are unmapped. What a page held when it was converted in place is undefined, also where it was
 * converted back because something else failed; and a hole is shared.
 *
 * Whatever it is, devices reach its shared pages only. The window takes references. The memory is
 * the window's own: a page that is given back because it was converted must not be mapped for
 * devices by anybody else, who would go on using it.
 */
struct pfnbuf_ram {
	struct pfnbuf_buf *memfd; /**< PFNBUF_MEMFD, or NULL */
	uint64_t offset;	  /**< into @memfd, of the window's first byte; page aligned */
	uint64_t length;	  /**< of the window, page aligned */
	/**
	 * where the caller has mapped that range, or has anonymous memory, borrowed; NULL: the
	 * window maps what is to be mapped itself
	 */
	void *addr;
	struct pfnbuf_buf *guest_memfd; /**< PFNBUF_GUEST_MEMFD of the place's VM, or NULL */
	uint64_t guest_memfd_offset;	/**< of the window's first byte, page aligned */
};

/**
 * Make a window of a BAR, or of @part of it (NULL: all). It is a hole from end to end: nothing is
 * placed. It is mapped once for each stretch that can be mapped where a VM is given, and
 * exported as one dma-buf for each where an IOAS is; as one for all of them where the kernel
 * imports dma-bufs of several ranges, which the first window of several stretches in a context
 * tries with a scratch IOAS (Linux 7.3 does not:
 * drivers/vfio/pci/vfio_pci_dmabuf.c:vfio_pci_dma_buf_iommufd_map).
 *
 * -EINVAL     not bound, no such BAR or an I/O port BAR; @part, an address or a flag is wrong;
 *             neither VM nor IOAS, or one of another context; a granule
 * -EOPNOTSUPP the BAR is smaller than a page, or cannot be mapped (sub-page BARs share their page
 *             with others, so that the kernel exports none:
 *             drivers/vfio/pci/vfio_pci_dmabuf.c:validate_dmabuf_input)
 * -ERANGE     from its address on the window would wrap around
 * -ENODEV     the device is closed
 * -EBUSY      pfnbuf_bind_lock() has locked the device
 * and those of pfnbuf_device_export(), pfnbuf_device_bar_map() and pfnbuf_buf_verify()
 */
PFNBUF_API int pfnbuf_window_new_bar(struct pfnbuf_device *device, unsigned bar,
				     const struct pfnbuf_range *part,
				     const struct pfnbuf_place *place,
				     struct pfnbuf_window **windowp);

/**
 * Make a window of RAM. It is a hole from end to end: nothing is placed.
 *
 * -EINVAL  no memory; not a memfd or guest_memfd, or of another context; range, address, granule or
 *          flag wrong; neither VM nor IOAS, or one of another context; a guest_memfd without a
 *          VM, that is known to be of another (pfnbuf_vm_set_slot()), with slot_flags, or one
 *          that can be mapped beside other memory, which the guest would never see
 *          (include/linux/kvm_host.h:kvm_memslot_is_gmem_only)
 * -ENODEV  a guest_memfd alone that cannot be mapped
 * -ERANGE  from its address on the window would wrap around
 * and those of pfnbuf_buf_map() and pfnbuf_vm_check_extension()
 */
PFNBUF_API int pfnbuf_window_new_ram(struct pfnbuf_ctx *ctx, const struct pfnbuf_ram *ram,
				     const struct pfnbuf_place *place,
				     struct pfnbuf_window **windowp);

/**
 * End it: take away what it has placed, unmap and release what it made. What was private in the
 * guest is not any more. Failures go to the log.
 */
PFNBUF_API struct pfnbuf_window *pfnbuf_window_free(struct pfnbuf_window *window);

/**
 * The layout that suits what the window shows: RAM is shared. A BAR is shared but for the pages of
 * the MSI-X table and pending bits, which the VMM emulates, and what a sparse BAR does not offer.
 * The caller frees it.
 *
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_window_default_layout(const struct pfnbuf_window *window,
					    struct pfnbuf_layout **layoutp);

/** A copy of the layout that the window has now. The caller frees it. -ENOMEM */
PFNBUF_API int pfnbuf_window_get_layout(struct pfnbuf_window *window,
					struct pfnbuf_layout **layoutp);

/**
 * Plan the way to another layout, which must have the window's size and the system's page size. An
 * explicit layout is honoured: it may show MSI-X pages, too.
 *
 * -EINVAL     another size or page size; no hole where a sparse BAR cannot be mapped
 * -EOPNOTSUPP private somewhere: that takes private memory behind the window (a guest_memfd in a VM
 *             that has private memory, or a device that is bound to the confidential guest)
 * -EBUSY      pfnbuf_bind_lock() has locked the window's device
 * -ENODEV     the window's device is closed
 * -ENOTRECOVERABLE  the window is quarantined
 * -ENOMEM
 */
PFNBUF_API int pfnbuf_window_plan(struct pfnbuf_window *window, const struct pfnbuf_layout *target,
				  struct pfnbuf_plan **planp);

/** Plan the way to other addresses. Errnos of pfnbuf_window_move() that need no kernel. */
PFNBUF_API int pfnbuf_window_plan_move(struct pfnbuf_window *window, uint64_t gpa, uint64_t iova,
				       struct pfnbuf_plan **planp);

/**
 * Run a plan of this window, once. On failure everything is as before, or the window is
 * quarantined: the plan's steps say which. What pfnbuf_plan_check() can see without asking the
 * kernel is refused before anything runs. Returns 0, or 1 where it is done, but memory that is not
 * needed any more could not be given back: it stays allocated, which the log says, and so does the
 * plan (a PFNBUF_STEP_DISCARD that FAILED).
 *
 * -EAGAIN  in place: somebody whom this context does not know holds a page, which the error names.
 *          With PFNBUF_PLACE_RETRY, too, it is not tried again: a plan is run once. Make a new one
 *          later, or leave what becomes private to pfnbuf_window_convert(), which waits
 * -EBUSY   in place: another window has it mapped for devices; or pfnbuf_bind_lock() has locked the
 *          window's device
 * -ENOTTY  in place: the kernel is not the one of the context's profile
 * -EINVAL  a plan of another window
 * and those of pfnbuf_plan_check(), pfnbuf_ioas_map_buf(), pfnbuf_ioas_unmap(),
 * pfnbuf_vm_set_slot(), pfnbuf_vm_set_attributes()
 */
PFNBUF_API int pfnbuf_window_apply(struct pfnbuf_window *window, struct pfnbuf_plan *plan);

/**
 * Plan and apply in one. While the device's memory is off the areas are entered in the IOAS's
 * ledger only, and pfnbuf_device_restore() maps them. Returns what pfnbuf_window_apply() does.
 *
 * Errnos of pfnbuf_window_plan() and pfnbuf_window_apply(). On -EAGAIN call it again later: it
 * never waits, with PFNBUF_PLACE_RETRY neither
 */
PFNBUF_API int pfnbuf_window_set_layout(struct pfnbuf_window *window,
					const struct pfnbuf_layout *target);

/**
 * The same for one range, whatever is there: -EINVAL misaligned or empty, -ERANGE it leaves the
 * window. Memory is better converted with pfnbuf_window_convert(), which leaves holes alone, and
 * waits where it was asked to.
 */
PFNBUF_API int pfnbuf_window_set_range(struct pfnbuf_window *window, uint64_t offset,
				       uint64_t length, enum pfnbuf_vis to);

/** A range of memory that is to become shared or private. */
struct pfnbuf_conversion {
	uint64_t offset;    /**< into the window, or a guest physical address; page aligned */
	uint64_t length;    /**< page aligned */
	enum pfnbuf_vis to; /**< PFNBUF_SHARED or PFNBUF_PRIVATE */
};

/**
 * Convert a range, as a guest asks for it: what is shared becomes private, or the reverse. Holes
 * stay holes, and what is so already costs nothing. Where shared and private memory are in two
 * places, what the range held before is gone: those pages are given back.
 *
 * An area is unmapped whole, so DMA to what is shared beside the range, up to the next multiple of
 * the window's granule (without one: up to the ends of its run), is disturbed for a moment.
 *
 * It makes the fewest kernel calls that will do. Of its own time it takes least where the range is
 * one granule of one visibility; and many ranges cost less in one pfnbuf_window_convert_batch().
 *
 * Returns 0 or 1 as pfnbuf_window_apply() does, or PFNBUF_PENDING: nothing is changed yet, see
 * PFNBUF_PLACE_RETRY. A conversion that waits is done whatever has been converted since; it is
 * dropped with its window.
 *
 * -EINVAL  misaligned or empty, or @to is neither
 * -ERANGE  it leaves the window
 * -EMFILE, -ENFILE  it would have to wait, and no fd is left for its timer; nothing is changed
 * and those of pfnbuf_window_plan() and pfnbuf_window_apply()
 */
PFNBUF_API int pfnbuf_window_convert(struct pfnbuf_window *window, uint64_t offset, uint64_t length,
				     enum pfnbuf_vis to);

/**
 * The same for @n ranges in one plan, with fewer calls than one by one; all of it is done or
 * nothing. Where they overlap the later one counts. With none there is nothing to do.
 *
 * Errnos of pfnbuf_window_convert(), for which one wrong range is enough
 */
PFNBUF_API int pfnbuf_window_convert_batch(struct pfnbuf_window *window,
					   const struct pfnbuf_conversion *conversions, size_t n);

/**
 * Move the window to other addresses, as a guest does that writes a BAR register. Slots are moved,
 * areas unmapped with one call and mapped anew. Slots with a guest_memfd cannot be moved: they are
 * deleted and made anew, and the attributes move with them. An address of what the window is not in
 * must stay what it is.
 *
 * -EINVAL  misaligned, or of what the window is not in
 * -ERANGE  it leaves the addresses that the IOAS's devices allow, or wraps around
 * -EEXIST  something else is there
 * and those of pfnbuf_window_apply()
 */
PFNBUF_API int pfnbuf_window_move(struct pfnbuf_window *window, uint64_t gpa, uint64_t iova);

/**
 * Take away all that the window has placed, private attributes included, and put it back; what
 * memory holds stays, but on platforms that forget private memory without a slot (TDX). In between
 * its layout and addresses can be changed, which costs no call but to give back what is converted.
 * -EALREADY: (not) suspended.
 *
 * Errnos of pfnbuf_window_apply()
 */
PFNBUF_API int pfnbuf_window_suspend(struct pfnbuf_window *window);
PFNBUF_API int pfnbuf_window_resume(struct pfnbuf_window *window);

/**
 * Import the window's dead areas again and set its withdrawn slots: what pfnbuf_device_restore()
 * does for a whole device. Calls no allocator. Of a window of RAM: nothing. Returns 0.
 *
 * -ENODEV  the device's memory is off, or it is closed
 * -ENOTRECOVERABLE  the window is quarantined
 * and those of pfnbuf_ioas_map_buf() and pfnbuf_vm_set_slot()
 */
PFNBUF_API int pfnbuf_window_restore(struct pfnbuf_window *window);

/**
 * Ask the kernel whether what the ledger says of this window is there: each area is copied into an
 * IOAS that no device sees (IOMMU_IOAS_COPY), each slot is set to what it should be. Returns 1: all
 * is there; 0: not, and *missing (may be NULL) is the first range of the window that is not, areas
 * before slots.
 *
 * It cannot tell what is behind an area, nor whether a revoked area is dead (its copy succeeds; the
 * generation tells), nor what the VM's attributes are, nor whether somebody has mapped something in
 * the window's holes. A slot that
 * somebody has moved is moved back by it, and where the kernel has no guest_memfd a slot that
 * somebody has deleted is set again.
 *
 * -ENODEV, -ENOTRECOVERABLE  as above
 * and those of pfnbuf_ioas_new()
 */
PFNBUF_API int pfnbuf_window_verify(struct pfnbuf_window *window, struct pfnbuf_range *missing);

enum pfnbuf_window_state {
	PFNBUF_WINDOW_LIVE = 1, /**< what its layout says is true */
	/** the caller or a revocation suspended it, or areas wait for their restore */
	PFNBUF_WINDOW_SUSPENDED,
	/** its state is not one that anybody asked for; look at it, and free it */
	PFNBUF_WINDOW_QUARANTINED,
	PFNBUF_WINDOW_DEAD, /**< the device is closed; free it */
};

struct pfnbuf_window_info {
	enum pfnbuf_window_state state;
	/** why it is QUARANTINED, in words: what is known, and what is not; else "" */
	char reason[512];
	bool user_suspended; /**< by pfnbuf_window_suspend() */
	bool withdrawn;	     /**< its slots are withdrawn because of a revocation */
	uint64_t length;     /**< of the window */
	uint64_t gpa;
	uint64_t iova;
	uint64_t generation; /**< of the device; 0 for RAM */
	uint64_t version;    /**< counts the window's changes: a plan of another version is stale */
	uint64_t areas;	     /**< in the IOAS's ledger */
	uint64_t dead_areas; /**< of these */
	uint64_t slots;	     /**< withdrawn ones included */
};

/** Never enters the kernel; looks at each area. */
PFNBUF_API void pfnbuf_window_get_info(struct pfnbuf_window *window,
				       struct pfnbuf_window_info *info);

/** "live", ...; "?" for an unknown value. */
PFNBUF_API const char *pfnbuf_window_state_name(enum pfnbuf_window_state state);

/* ================================================================ conversion ================== */

/**
 * Convert ranges of a guest's memory, as it asks for it: by guest physical address, in all windows
 * of RAM that the VM has. A range over holes, MMIO or nothing is nothing to do, which guests ask
 * for legally. All of it is done or nothing: where a window fails, those before it are put back.
 * Windows go in the order in which they were made. Where ranges overlap the later one counts.
 *
 * Returns 0, 1 or PFNBUF_PENDING as pfnbuf_window_convert() does; the window whose page is held
 * decides whether it is tried again.
 *
 * Threads: it locks the windows that the ranges meet, and no others. While it runs no object of the
 * context can be made or ended.
 *
 * -EINVAL  a range is misaligned, empty or wraps around, or is to be neither shared nor private
 * -EOPNOTSUPP to be private, and there is shared memory in it without private memory behind it
 * -ENOTRECOVERABLE  a window there is quarantined
 * -EMFILE, -ENFILE  it would have to wait, and no fd is left for its timer; nothing is changed
 * -ENOMEM
 * and those of pfnbuf_window_apply()
 */
PFNBUF_API int pfnbuf_guest_convert(struct pfnbuf_vm *vm,
				    const struct pfnbuf_conversion *conversions, size_t n);

/** Why a vCPU left the guest; the numbers are those of struct kvm_run's exit_reason. */
enum pfnbuf_exit_kind {
	PFNBUF_EXIT_HYPERCALL = 3,     /**< KVM_EXIT_HYPERCALL */
	PFNBUF_EXIT_MEMORY_FAULT = 39, /**< KVM_EXIT_MEMORY_FAULT: KVM_RUN failed with EFAULT */
};

/** An exit to be explained: what struct kvm_run says. */
struct pfnbuf_exit {
	enum pfnbuf_exit_kind kind;
	uint64_t nr;	  /**< HYPERCALL: hypercall.nr */
	uint64_t args[4]; /**< HYPERCALL: hypercall.args */
	uint64_t flags;	  /**< MEMORY_FAULT: memory_fault.flags */
	uint64_t gpa;	  /**< MEMORY_FAULT: memory_fault.gpa */
	uint64_t length;  /**< MEMORY_FAULT: memory_fault.size */
};

enum pfnbuf_exit_action {
	/** there is nothing to do: enter the guest again */
	PFNBUF_EXIT_RESUME = 1,
	/** call pfnbuf_guest_convert() with the conversion, then enter the guest again */
	PFNBUF_EXIT_CONVERT,
	/**
	 * none of the library's memory is there, or its window is suspended: an access to a device,
	 * or a mistake of the guest's
	 */
	PFNBUF_EXIT_NO_MEMORY,
	PFNBUF_EXIT_NOT_OURS, /**< another hypercall */
};

/** What to do about an exit. */
struct pfnbuf_exit_advice {
	enum pfnbuf_exit_action action;
	struct pfnbuf_conversion conversion; /**< CONVERT: in guest physical addresses */
	/**
	 * HYPERCALL: what to put into hypercall.ret: 0 or EINVAL; for NOT_OURS -KVM_ENOSYS. Where
	 * the conversion fails put EINVAL there instead, or EAGAIN where the guest shall ask again,
	 * as after PFNBUF_PENDING. Positive: of any other value KVM_RUN fails for TDX and SEV-SNP
	 * (arch/x86/kvm/x86.h:kvm_is_valid_map_gpa_range_ret)
	 */
	uint64_t ret;
	const char *reason; /**< static, in words */
};

/**
 * Say what an exit asks for: a hypercall by which a guest converts memory (KVM_HC_MAP_GPA_RANGE; to
 * get these, enable KVM_CAP_EXIT_HYPERCALL), or an access as private to what is shared, or the
 * reverse. It changes nothing, and the vCPU stays the caller's. Of a fault for which KVM_RUN gives
 * another errno than EFAULT it knows nothing: EHWPOISON is broken memory. A fault that comes again
 * and again, whatever was done about it, has a cause that it cannot see, as a memfd that was cut.
 *
 * -EINVAL  another kind of exit; a fault whose range is empty or wraps around
 * Source: Documentation/virt/kvm/x86/hypercalls.rst, arch/x86/kvm/x86.c,
 * include/linux/kvm_host.h:kvm_prepare_memory_fault_exit
 */
PFNBUF_API int pfnbuf_exit_explain(struct pfnbuf_vm *vm, const struct pfnbuf_exit *exit,
				   struct pfnbuf_exit_advice *advice);

/** "resume", "convert", "no-memory", "not-ours"; "?" for an unknown value. */
PFNBUF_API const char *pfnbuf_exit_action_name(enum pfnbuf_exit_action action);

/* ================================================================ bind ======================== */

/**
 * A bind gives a device to a confidential guest and takes it back. What is shared of its BARs is
 * withdrawn, the device is bound, its report says what becomes private, and that is placed: shared
 * pages for the guest and for devices, private pages for the guest alone, nothing else for nobody.
 * Taking it back is the exact reverse, with the windows as they were.
 *
 *     pfnbuf_bind_new()     nothing happens yet
 *     pfnbuf_bind_lock()    1 unmap what is shared, 2 close its buffers, 3 bind
 *     ...                   the guest attests the device and starts it
 *     pfnbuf_bind_run()     4 report, layouts, export; 5 place what is shared; 6 what is private
 *     pfnbuf_bind_unlock()  back, from wherever it is
 *
 * Each of these is done or not done. Where neither can be had, or where a call to bind or unbind
 * may have been committed and it cannot be known, the bind is *quarantined*: it refuses all but
 * being looked at and freed, and is never tried again; nothing of the device's BARs is placed then
 * unless pfnbuf_bind_get_info() says so.
 *
 * Calls that revoke the device's buffers (reset, hot reset, FLR, D3hot, memory decode off, low
 * power, a bracket, ending the TSM's session, close) unlock the bind first and say so with an
 * event; where that fails they are refused with -EBUSY, but close is not.
 *
 * From the begin of pfnbuf_bind_lock() to the end of pfnbuf_bind_unlock() nobody else maps the
 * device's BARs: its windows, the bind's and others, are not changed and none is made, its BARs are
 * not mapped into the process (pfnbuf_device_bar_map()), and what is mapped of them or was exported
 * goes into no IOAS (pfnbuf_ioas_map_buf(), pfnbuf_ioas_copy()) and no VM (pfnbuf_vm_set_slot()):
 * -EBUSY. Nor are their bytes read or written for an access of the guest's that exits
 * (pfnbuf_device_bar_read()), but those of which the report says that they are not private: the
 * device would take it for an attack. pfnbuf_bind_lock() waits for what is under way. What the
 * library is not told of, such as an fd of one of its dma-bufs that is handed to
 * pfnbuf_ioas_map_file(), is the kernel's to refuse.
 *
 * Threads: a bind serialises on its device, with the calls that revoke. Teardown: bind, windows,
 * device, IOAS, VM; a window that is freed, or a device that is closed, before that unlocks it, and
 * an IOAS or a VM that is freed before that stays till they are gone.
 */
struct pfnbuf_bind;

/** What a struct pfnbuf_tsm_ops function returns where it cannot tell whether it was done. */
#define PFNBUF_TSM_UNKNOWN 1

/**
 * What the caller does itself. Each returns 0, or a negative errno that says for certain that
 * nothing was done, or PFNBUF_TSM_UNKNOWN. They are called with no lock held but the device's for
 * binding: they must not call functions on the bind, nor any that revokes, of its device.
 */
struct pfnbuf_tsm_ops {
	size_t size; /**< sizeof(struct pfnbuf_tsm_ops) */
	/** NULL, both: the kernel's calls that the context's profile names */
	int (*bind)(void *data, struct pfnbuf_device *device, struct pfnbuf_vm *vm);
	int (*unbind)(void *data, struct pfnbuf_device *device, struct pfnbuf_vm *vm);
	/** CONFIG_LOCKED to RUN. NULL: the guest does it before pfnbuf_bind_run() */
	int (*start)(void *data, struct pfnbuf_device *device);
	/**
	 * The device's interface report into @buf, its length into *@len (more than @size: it is
	 * called again with as much room), and what vouches for it. -EAGAIN: it is not there yet.
	 * No kernel interface has it. Needed by pfnbuf_bind_run().
	 */
	int (*report)(void *data, struct pfnbuf_device *device, void *buf, size_t size, size_t *len,
		      struct pfnbuf_tdi_evidence *evidence);
	/**
	 * Let the guest see [@offset, +@length) of a BAR as private memory at @gpa, or (@on false)
	 * not any more. NULL: what the profile names.
	 */
	int (*validate)(void *data, struct pfnbuf_device *device, unsigned bar, uint64_t offset,
			uint64_t length, uint64_t gpa, bool on);
};

/** The longest report that is taken: what Linux lets a TSM answer (TSM_REPORT_OUTBLOB_MAX). */
#define PFNBUF_BIND_REPORT_MAX (UINT64_C(16) << 20)

struct pfnbuf_bind_opts {
	size_t size;			  /**< sizeof(struct pfnbuf_bind_opts) */
	const struct pfnbuf_tsm_ops *ops; /**< copied */
	void *ops_data;			  /**< handed to each of them */
	/** all windows of the device's BARs; they must outlive the bind's last unlock */
	struct pfnbuf_window *const *windows;
	size_t nr_windows;
	/**
	 * How the report is read; size 0: as pfnbuf_tdi_layouts_compile() does by default. Bars
	 * that are all 0 are filled in from the device; else each BAR that has a window is among
	 * them. page_size is 0 or the system's, and evidence the report's own.
	 */
	struct pfnbuf_tdi_compile_opts compile;
	const uint8_t *digest; /**< of the report that the guest's owner attested; copied */
	size_t digest_len;     /**< up to PFNBUF_TDI_DIGEST_MAX */
	/**
	 * iommufd objects of the VMM's that stand for the guest's view of the device. 0, both: the
	 * library makes them, and destroys them after unbind. With viommu_id alone it makes the
	 * vDEVICE. A profile whose bind is the vDEVICE's allocation takes no vdevice_id.
	 */
	uint32_t vdevice_id;
	uint32_t viommu_id;
	uint64_t virt_id; /**< what the guest calls the device: its requester id, on Arm and x86 */
	int vcpu_fd;	  /**< for a profile that pre-faults private pages; else ignored */
};

/**
 * Make a bind of @device, which KVM was told of (pfnbuf_vm_add_device()) before it was bound to the
 * iommufd, to @vm. Enters no kernel.
 *
 * -EINVAL  opts->size, ops->size or compile.size wrong, or something in compile by which no report
 *          could be read; not bound to an iommufd; no windows, or one that is of another device, in
 *          another VM, or shows what another one shows; bind without unbind; a digest that is
 *          missing or too long; vdevice_id with a profile whose bind allocates it
 * -EOPNOTSUPP  this kernel cannot: the context has no profile, or one that has neither private MMIO
 *          nor a way to bind, and the caller does not either. The error says what would be needed
 * -EBUSY   the device has a bind, or one that was freed in quarantine and may have left it bound
 */
PFNBUF_API int pfnbuf_bind_new(struct pfnbuf_device *device, struct pfnbuf_vm *vm,
			       const struct pfnbuf_bind_opts *opts, struct pfnbuf_bind **bindp);

/**
 * End it; unlocks first, where that can be done. Failures go to the log. Where the device may be
 * bound all the same its windows are quarantined and it stays locked: nothing maps its BARs and no
 * other bind can be made until it is closed, which unbinds it.
 */
PFNBUF_API struct pfnbuf_bind *pfnbuf_bind_free(struct pfnbuf_bind *bind);

/**
 * Steps 1 to 3. On failure the windows are as before.
 *
 * -EALREADY  it is locked
 * -EBUSY   a mapping of a BAR that is not the windows' stands in the process, an IOAS or a VM (the
 *          error names it); a bracket is open; slots of a window wait to be restored; or the kernel
 *          says that somebody else still has one, or that the device is bound to another VM
 * -EINVAL  the kernel knows of no VM for the device, or no TSM has a session with it
 * -ENODEV  the device's memory is off, or it is closed
 * -ENXIO   the TSM cannot bind
 * -EEXIST  the device has a vDEVICE, or virt_id is in use (vdevice_id names it)
 * -ENOENT  there is no such vdevice_id or viommu_id
 * -EOPNOTSUPP  the device's IOMMU cannot be nested, or has no vIOMMU of the profile's type
 * -ENOTTY  the kernel is not the one of the context's profile: it does not know the call
 * -ENOTRECOVERABLE  it is quarantined, perhaps by this very call
 * and what opts.ops fail with, and the errnos of pfnbuf_window_apply()
 */
PFNBUF_API int pfnbuf_bind_lock(struct pfnbuf_bind *bind);

/**
 * Steps 4 to 6. The report is read twice. On failure the device is unbound and the windows are as
 * before pfnbuf_bind_lock(), but for -EAGAIN.
 *
 * -EINVAL  it is not locked
 * -EALREADY  it runs
 * -EAGAIN  the report is not there yet: try again. It is locked as before; what ops->start has
 *          started is not started again
 * -EBUSY   the kernel says to try something again; the bind is unlocked all the same
 * -EKEYREJECTED  the report's digest is not the attested one
 * -ESTALE  the device was locked again between the two readings
 * -EPERM   its TDI is not in RUN, or in ERROR
 * -E2BIG   the report is longer than PFNBUF_BIND_REPORT_MAX
 * -EIO     opts.ops->report cannot tell whether there is one, or the TSM does not validate MMIO
 * -ENOTRECOVERABLE  it is quarantined, perhaps by this very call
 * and those of pfnbuf_tdi_report_parse(), pfnbuf_tdi_layouts_compile(), pfnbuf_device_export(),
 * pfnbuf_window_apply(), pfnbuf_vm_pre_fault(), and what opts.ops fail with
 */
PFNBUF_API int pfnbuf_bind_run(struct pfnbuf_bind *bind);

/**
 * Back to what was before pfnbuf_bind_lock(). On failure it is as before, locked or running.
 *
 * -EALREADY  it is not locked
 * -EBUSY   the kernel does not unbind: something of the device is still in use
 * -ENOTRECOVERABLE  it is quarantined, perhaps by this very call
 * and what opts.ops fail with, and the errnos of pfnbuf_window_apply()
 */
PFNBUF_API int pfnbuf_bind_unlock(struct pfnbuf_bind *bind);

struct pfnbuf_bind_info {
	/**
	 * the TDI as far as the library knows: from pfnbuf_bind_lock() on CONFIG_LOCKED, from
	 * pfnbuf_bind_run() on RUN, ERROR after an error notice
	 */
	enum pfnbuf_tdi_state state;
	/**
	 * the device is bound to the guest, or, where it is quarantined, may be; in ERROR, it may
	 * have been unbound at once
	 */
	bool bound;
	bool quarantined;
	char reason[512];    /**< why it is quarantined: what is known, and what is not; else "" */
	uint32_t vdevice_id; /**< in use: the caller's or the library's; 0: none */
	uint32_t viommu_id;
	uint64_t generation; /**< of the evidence that the layouts rest on; 0: none */
	/** of the windows, what the guest sees as private memory; quarantined: what it may see */
	uint64_t private_bytes;
	uint64_t shared_bytes; /**< the same as shared memory, while it is locked; else 0 */
};

PFNBUF_API void pfnbuf_bind_get_info(struct pfnbuf_bind *bind, struct pfnbuf_bind_info *info);

/**
 * The layouts that pfnbuf_bind_run() compiled, with their reasons; they stay the bind's, until its
 * next call, or one that revokes. NULL: it does not run.
 */
PFNBUF_API const struct pfnbuf_tdi_layouts *pfnbuf_bind_get_layouts(struct pfnbuf_bind *bind);

/**
 * Print the steps: those that the last lock, run, unlock or error took, with result and time, and
 * those that the next one will take, as far as it is known before there is a report. Form, buffer
 * and return value are those of pfnbuf_plan_print() and pfnbuf_plan_print_json().
 */
PFNBUF_API size_t pfnbuf_bind_print(struct pfnbuf_bind *bind, char *buf, size_t size);
PFNBUF_API size_t pfnbuf_bind_print_json(struct pfnbuf_bind *bind, char *buf, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* PFNBUF_H */
