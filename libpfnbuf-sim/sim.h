/* SPDX-License-Identifier: MIT */
/* What the rooms of the simulated kernel share. One lock, sim->lock, guards everything here. */
#ifndef PFNBUF_SIM_PRIVATE_H
#define PFNBUF_SIM_PRIVATE_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pfnbuf-sim.h>

#include "iommufd_test.h"
#include "libpfnbuf/uapi/dma-buf.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/pci.h"
#include "libpfnbuf/uapi/proposed.h"
#include "libpfnbuf/uapi/vfio.h"

#define MIN(a, b)	((a) < (b) ? (a) : (b))
#define MAX(a, b)	((a) > (b) ? (a) : (b))
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define FIELD_END(t, m) (offsetof(struct t, m) + sizeof(((struct t *)0)->m))

static inline uint64_t sim_page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static inline uint64_t page_down(uint64_t value)
{
	return value & ~(sim_page_size() - 1);
}

static inline bool page_aligned(uint64_t value)
{
	return !(value & (sim_page_size() - 1));
}

/* Rounds up; the caller knows that it does not wrap. */
static inline uint64_t page_up(uint64_t value)
{
	return page_down(value + sim_page_size() - 1);
}

struct pfnbuf_sim;
struct sim_file;
struct sim_vdev;
struct sim_ictx;
struct sim_ioas;
struct sim_hwpt;
struct sim_idev;
struct sim_pages;
struct sim_dmabuf;
struct sim_vm;
struct sim_gmem;
struct sim_access;
struct sim_mock;
struct sim_slot;
struct sim_vdevice;

/* A growing array of pointers; the order is the owner's business. */
struct sim_vec {
	void **v;
	size_t n, cap;
};

int sim_vec_insert(struct sim_vec *vec, size_t at, void *item);
void sim_vec_remove(struct sim_vec *vec, size_t at, size_t count);
void sim_vec_free(struct sim_vec *vec);

struct sim_range {
	uint64_t start, last;
	const void *owner;
};

/* A set of addresses as runs: sorted, disjoint, not touching. */
struct sim_runs {
	struct sim_range *v;
	size_t n, cap;
};

bool sim_runs_has(const struct sim_runs *runs, uint64_t at);
/* The end (exclusive) of the run that @at is in, whether that is of the set or of the rest. */
uint64_t sim_runs_end(const struct sim_runs *runs, uint64_t at);
int sim_runs_add(struct sim_runs *runs, uint64_t start, uint64_t end);
int sim_runs_remove(struct sim_runs *runs, uint64_t start, uint64_t end);
void sim_runs_free(struct sim_runs *runs);

/* --------------------------------------------------------------------------- files */

enum sim_kind {
	SIM_IOMMUFD,
	SIM_KVM,
	SIM_VFIO,
	SIM_DMABUF,
	SIM_VM,
	SIM_VCPU,
	SIM_GMEM,
	SIM_KVM_VFIO,
	SIM_FAULT_QUEUE,
	SIM_ACCESS,
	SIM_TSM_ATTR,
	SIM_NR_KINDS,
};

/*
 * An open file of the simulated kernel. A memfd stands behind it, so that its fds are real ones;
 * the memfd's inode says which file an fd belongs to, whatever number it has and however it got
 * here. @anchor is a second open file of the same inode: with a lease on it Linux tells whether
 * any other open file, in whatever process or socket, is left.
 */
struct sim_file {
	uint64_t dev, ino;
	struct sim_file *next; /* in the bucket */
	enum sim_kind kind;
	int anchor;
	unsigned refs; /* from inside the simulated kernel */
	bool foreign;  /* of the process that this one was forked from */
	int ready_fd;  /* an eventfd that is ready as the file would be; -1: none yet */
	void *object;
};

struct sim_file_ops {
	void (*release)(struct pfnbuf_sim *sim, struct sim_file *file);
	int (*ioctl)(struct pfnbuf_sim *sim, struct sim_file *file, unsigned long request,
		     uint64_t arg);
	ssize_t (*read)(struct pfnbuf_sim *sim, struct sim_file *file, uint64_t buf, size_t count,
			uint64_t offset);
	ssize_t (*write)(struct pfnbuf_sim *sim, struct sim_file *file, uint64_t buf, size_t count,
			 uint64_t offset);
	int (*mmap)(struct pfnbuf_sim *sim, struct sim_file *file, void *addr, size_t length,
		    int prot, int flags, uint64_t offset, void **out);
	int64_t (*lseek)(struct sim_file *file, int64_t offset, int whence);
	void (*stat)(struct sim_file *file, struct stat *st);
	int (*fallocate)(struct pfnbuf_sim *sim, struct sim_file *file, int mode, uint64_t offset,
			 uint64_t length);
	uint64_t magic;	 /* of its file system */
	bool positioned; /* pread is known to it; else it is ESPIPE */
};

extern const struct sim_file_ops sim_iommufd_ops, sim_kvm_ops, sim_vfio_ops, sim_dmabuf_ops,
	sim_vm_ops, sim_vcpu_ops, sim_gmem_ops, sim_kvm_vfio_ops, sim_fault_queue_ops,
	sim_access_ops, sim_tsm_attr_ops;

/*
 * Make a file and an fd for it. @flags: O_ACCMODE, O_CLOEXEC. @size: of the memfd. Returns the fd.
 * The object is the file's from here on: its release frees it.
 */
int sim_file_new(struct pfnbuf_sim *sim, enum sim_kind kind, const char *name, uint64_t size,
		 int flags, void *object, struct sim_file **filep);
const struct sim_file_ops *sim_file_ops(const struct sim_file *file);
/*
 * Files that can be waited for are put into epoll by the fd of an eventfd, for the running kernel
 * takes theirs for one of a regular file. -EPERM: not such a file; or another negative errno.
 */
int sim_file_ready_fd(struct pfnbuf_sim *sim, struct sim_file *file);
/* Something can be read from it, or not any more. */
void sim_file_set_ready(struct sim_file *file, bool ready);
struct sim_file *sim_file_get(struct pfnbuf_sim *sim, int fd);
struct sim_file *sim_file_find(struct pfnbuf_sim *sim, uint64_t dev, uint64_t ino);
void sim_file_ref(struct sim_file *file);
void sim_file_unref(struct pfnbuf_sim *sim, struct sim_file *file);
/* Release it where nobody holds it any more. True if it is gone. */
bool sim_file_reap(struct pfnbuf_sim *sim, struct sim_file *file);
/* Release it whoever holds it. */
void sim_file_drop(struct pfnbuf_sim *sim, struct sim_file *file);
/* Notice every file whose fds were closed elsewhere. */
void sim_reap(struct pfnbuf_sim *sim);

/* --------------------------------------------------------------------- user memory */

/* Whose memory it is, for this thread: 0, or another process. Returns what it was. */
pid_t sim_user_set(pid_t pid);
pid_t sim_user_pid(void);
/* All or nothing as far as the return value goes: 0 or -EFAULT. */
int sim_copy_in(void *dst, uint64_t src, size_t n);
int sim_copy_out(uint64_t dst, const void *src, size_t n);
/* What can be faulted in for reading, or for writing: 0 or -EFAULT. */
int sim_populate(uint64_t va, uint64_t length, bool write);
/*
 * A struct that starts with or is described by its size: 0, -EFAULT, or -E2BIG where bytes that
 * this kernel does not know are not zero.
 */
int sim_copy_struct_in(void *dst, size_t known, uint64_t src, size_t given);

/* A page of memory, whatever shows it: of a file, or private (no inode) and at one address. */
struct sim_page_id {
	uint64_t dev, ino, offset;
};

struct sim_vma {
	uint64_t start, end;
	struct sim_page_id first;
	bool shared, writable;
};

/* An address space at one moment. */
struct sim_vmas {
	struct sim_vma *v;
	size_t n;
};

/* @pid: 0 for this process. -EFAULT: it is gone; -ENOMEM. */
int sim_vmas_load(struct sim_vmas *vmas, pid_t pid);
void sim_vmas_free(struct sim_vmas *vmas);
const struct sim_vma *sim_vma_at(const struct sim_vmas *vmas, uint64_t va);
struct sim_page_id sim_page_at(const struct sim_vmas *vmas, uint64_t va);
/* An address that shows the page, writable, or 0. */
uint64_t sim_page_find(const struct sim_vmas *vmas, const struct sim_page_id *id);

/* ------------------------------------------------------------------------ mappings */

/* A mapping of this process that was made through the table. Sorted by address, disjoint. */
struct sim_mapping {
	uint64_t addr, length;
	struct sim_vdev *vdev; /* a BAR ... */
	struct sim_file *file; /* ... and the device file that it holds */
	unsigned bar;
	bool absent; /* zapped, and not to be faulted in: SIGBUS */
	int prot;
	uint64_t dev, ino; /* otherwise the file */
	uint64_t offset;
};

int sim_mapping_add(struct pfnbuf_sim *sim, const struct sim_mapping *mapping);
void sim_mapping_cut(struct pfnbuf_sim *sim, uint64_t addr, uint64_t length);
/* The first mapping that ends above @addr, or NULL. */
struct sim_mapping *sim_mapping_next(struct pfnbuf_sim *sim, uint64_t addr);
/* Make the BAR mappings of a device present or absent, as its state demands. */
void sim_mapping_update(struct pfnbuf_sim *sim, struct sim_vdev *vdev);
/* Let the mappings of a guest_memfd show what the host may see of [offset, offset + length). */
void sim_mapping_update_gmem(struct pfnbuf_sim *sim, const struct sim_gmem *gmem, uint64_t offset,
			     uint64_t length);
bool sim_mapping_has_bar(struct pfnbuf_sim *sim, uint64_t addr, uint64_t length);

/* ---------------------------------------------------------------------------- VFIO */

struct sim_bar {
	uint64_t size, start;
	unsigned flags;
	int fd; /* its bytes */
};

/*
 * A TEE device interface: what the platform's TSM knows of a device. It is bound while @vm is set,
 * which it holds.
 */
struct sim_tdi {
	bool connected;
	struct sim_vm *vm;
	enum pfnbuf_tdi_state state;
	uint64_t generation; /* how often it was locked */
	uint8_t *report;     /* as the caller wants it; NULL: made from the BARs */
	size_t report_size;
	struct sim_vdevice *vdevice; /* that VFIO bound it by */
	unsigned injected;	     /* 1 << enum pfnbuf_sim_tdi_fault */
	uint64_t reads;		     /* of the report since it was locked */
};

struct sim_vdev {
	struct sim_vdev *next;
	struct pfnbuf_sim *sim;
	char bdf[16];
	unsigned segment, bus, devfn;
	unsigned flags; /* PFNBUF_SIM_* */
	unsigned hot_reset_set;
	unsigned index; /* N of vfioN */
	unsigned group;
	unsigned shared_group; /* as the caller numbers them; 0: alone in it */
	struct sim_bar bars[6];
	unsigned msix_vectors, msix_bar, msix_pba_bar;
	uint32_t msix_table, msix_pba;
	struct sim_tdi tdi;

	uint8_t config[PCI_CFG_SPACE_EXP_SIZE]; /* as VFIO presents it */
	uint8_t writable[PCI_CFG_SPACE_EXP_SIZE];
	uint8_t owner[PCI_CFG_SPACE_EXP_SIZE]; /* capability that a byte belongs to; 0xff: none */
	unsigned config_size;
	unsigned pm, exp, af, msix; /* offsets of capabilities; 0: none */

	/* while bound */
	struct sim_file *bound_by;
	struct sim_ictx *ictx;
	struct sim_idev *idev;
	struct sim_vm *kvm;
	bool kvm_held; /* by this device */
	bool reset_works;
	unsigned power; /* 0 to 3: D0 to D3hot */
	bool low_power; /* the runtime power management feature is engaged */
	int wake_fd, req_fd, err_fd;
	int *vector_fds; /* MSI-X triggers; NULL: not enabled */
	struct sim_dmabuf *dmabufs;
};

#define SIM_VFIO_MAJOR	   511U
#define SIM_DEVTMPFS_MAGIC 0x01021994 /* that of tmpfs */
#define SIM_ANON_MAGIC	   0x09041934

struct sim_vfile {
	struct sim_vdev *vdev;
	struct sim_vm *kvm; /* as kvm-vfio said last */
	bool bound;
};

struct sim_vdev *sim_vdev_find(struct pfnbuf_sim *sim, const char *bdf);
bool sim_vdev_enabled(const struct sim_vdev *vdev);
/* Revoke (or re-arm, where memory is enabled) every dma-buf of the device. */
void sim_vdev_move_dmabufs(struct sim_vdev *vdev, bool revoked);
int sim_vfio_open(struct pfnbuf_sim *sim, const char *name, int flags);
void sim_vdev_free(struct sim_vdev *vdev);
void sim_vdev_reset(struct sim_vdev *vdev);
/* 1: go on; 0: it was a probe; or an error (include/linux/vfio.h:vfio_check_feature). */
int sim_vfio_check_feature(uint32_t flags, size_t argsz, uint32_t supported, size_t minimum);
void sim_signal(int eventfd);

void sim_config_init(struct sim_vdev *vdev, const struct pfnbuf_sim_device *spec);
void sim_config_open(struct sim_vdev *vdev);
ssize_t sim_config_rw(struct pfnbuf_sim *sim, struct sim_vdev *vdev, uint64_t buf, size_t count,
		      uint64_t pos, bool write);
void sim_config_set_decode(struct sim_vdev *vdev, bool on);

/* ------------------------------------------------------------------------- dma-buf */

struct sim_dmabuf {
	struct sim_file *file;
	struct sim_vdev *vdev; /* NULL: dead for good */
	struct sim_dmabuf *next, **prevp;
	struct sim_vdev *bytes; /* whose BAR it is, dead or not; NULL: the kernel's own memory */
	uint64_t size;
	uint32_t nr_ranges;
	struct vfio_region_dma_range *ranges;
	unsigned bar;
	bool revoked;
	int access;		 /* O_ACCMODE of its fd */
	struct sim_pages *pages; /* imports */
	struct sim_vec slots;	 /* struct sim_slot that stand on it */
	char name[DMA_BUF_NAME_LEN];
};

/* A dma-buf of the kernel's own memory: its fd. */
int sim_dmabuf_make(struct pfnbuf_sim *sim, uint64_t size, uint32_t open_flags);
/* Where in its BAR a byte of a dma-buf is; *room: how many from there on follow one another. */
uint64_t sim_dmabuf_at(const struct sim_dmabuf *dmabuf, uint64_t offset, uint64_t *room);
int sim_dmabuf_export(struct sim_vdev *vdev, uint32_t flags, uint64_t arg, size_t argsz);
void sim_dmabuf_disown(struct sim_dmabuf *dmabuf);

/* ------------------------------------------------------------------------- iommufd */

enum sim_object_type {
	SIM_OBJ_IOAS = 1,
	SIM_OBJ_HWPT,
	SIM_OBJ_IDEV,
	SIM_OBJ_FAULT,
	SIM_OBJ_NESTED, /* a struct sim_hwpt, too */
	SIM_OBJ_ACCESS,
	SIM_OBJ_SELFTEST,
	SIM_OBJ_VIOMMU,
	SIM_OBJ_VDEVICE,
	SIM_OBJ_TOMBSTONE, /* of a vDEVICE whose device was closed: the id stays taken */
};

struct sim_object {
	enum sim_object_type type;
	uint32_t id;
	unsigned users; /* other objects and files that need it */
};

struct sim_ictx {
	struct sim_ictx *next;
	struct sim_file *file;
	struct sim_object **objects; /* by id; [0] is never used */
	uint32_t nr_objects;	     /* length of the array */
	uint32_t lowest_free;
	uint32_t live;
	struct sim_ioas *compat;
	bool rlimit_mm;
};

struct sim_ioas {
	struct sim_object obj;
	struct sim_ictx *ictx;
	struct sim_vec areas;	    /* struct sim_area, by IOVA */
	struct sim_range *reserved; /* by start; may overlap */
	size_t nr_reserved;
	struct sim_range *allowed; /* by start; disjoint */
	size_t nr_allowed;
	struct sim_vec hwpts;
	struct sim_vec accesses;
	uint64_t alignment;
	bool disable_large_pages;
};

enum sim_pages_kind {
	SIM_PAGES_USER,
	SIM_PAGES_FILE,
	SIM_PAGES_DMABUF,
};

/* A file of the caller's that is mapped for DMA: one fd for it, however often it is mapped. */
struct sim_extern {
	struct sim_extern *next;
	uint64_t dev, ino;
	unsigned refs;
	int fd;
};

/* The source of what one map call made, shared with copies of it. */
struct sim_pages {
	unsigned refs;
	enum sim_pages_kind kind;
	bool writable;
	bool dead; /* a revoked dma-buf: never comes back */
	bool accounted;
	uint64_t base; /* page aligned: address, or offset into the file or dma-buf */
	uint64_t npages;
	struct sim_extern *file;
	struct sim_dmabuf *dmabuf;
	struct sim_pages *next, **prevp; /* imports of one dma-buf */
	struct sim_vec filled;		 /* areas of it that a HWPT maps */
	struct sim_vec held;		 /* struct sim_hold: pages that an access pins */
	uint64_t pinned;		 /* pages */
	uint64_t seen;			 /* by the walk with this number */
	pid_t mm;			 /* whose memory it is; 0: this process's */
	struct sim_page_id gmem; /* as it was pinned: where it begins in a guest_memfd; ino 0 */
	struct sim_vmas shape;	 /* of another process's memory, as it was pinned */
};

/* Pages [first, last] of a struct sim_pages. */
struct sim_hold {
	uint64_t first, last;
};

struct sim_area {
	uint64_t iova, last;
	struct sim_ioas *ioas;
	struct sim_pages *pages;
	uint64_t start_byte; /* from pages->base */
	uint32_t prot;	     /* IOMMU_IOAS_MAP_READABLE, _WRITEABLE */
	bool filled;
	unsigned held; /* by accesses, how often */
};

/* What an IOMMU's driver says of a domain. */
struct sim_domain {
	bool mock;	      /* of the IOMMU that tests make devices of */
	uint64_t alignment;   /* its smallest page */
	uint64_t start, last; /* the aperture */
	bool nest_parent;
	uint32_t iotlb[MOCK_NESTED_DOMAIN_IOTLB_NUM]; /* of a nested one */
};

struct sim_hwpt {
	struct sim_object obj;
	struct sim_ioas *ioas; /* for a nested one that of its parent */
	struct sim_hwpt *parent;
	struct sim_fault_queue *fault;
	struct sim_domain domain;
	bool automatic;
};

struct sim_idev {
	struct sim_object obj;
	struct sim_ictx *ictx;
	struct sim_vdev *vdev; /* NULL: a mock device */
	struct sim_mock *mock;
	struct sim_hwpt *hwpt; /* attached to; NULL: DMA is blocked */
	bool as_pasid;	       /* and this as PASID 0 */
	struct sim_vdevice *vdevice;
};

struct sim_fault_queue {
	struct sim_object obj;
	struct sim_ictx *ictx;
	struct sim_file *file;
	struct sim_vec waiting;	 /* struct sim_fault, to be read */
	struct sim_vec answered; /* those that were read, by cookie; NULL: none */
};

/* A page fault of a device that its driver waits for. */
struct sim_fault {
	const struct sim_idev *idev;
	struct iommu_hwpt_pgfault record;
};

/* What a copy takes from its source; the pieces are free()d by who collected them. */
struct piece;
struct sim_copy {
	struct piece *pieces;
	size_t n;
};

struct sim_object *sim_object_get(struct sim_ictx *ictx, uint32_t id, enum sim_object_type type);
int sim_object_add(struct sim_ictx *ictx, struct sim_object *obj, enum sim_object_type type);
void sim_object_remove(struct sim_ictx *ictx, struct sim_object *obj);
/* Its memory, and an id; its driver holds it. */
struct sim_idev *sim_idev_new(struct sim_ictx *ictx);
/* Detach it and take it away. */
void sim_idev_free(struct pfnbuf_sim *sim, struct sim_idev *idev);
/* Takes @fault: it is freed where no queue is for it. */
void sim_fault_report(struct sim_fault *fault);

int sim_ioas_reserve(struct sim_ioas *ioas, uint64_t start, uint64_t last, const void *owner);
void sim_ioas_unreserve(struct sim_ioas *ioas, const void *owner);
/* Takes @ranges, sorted, on success. */
int sim_ioas_set_allowed(struct sim_ioas *ioas, struct sim_range *ranges, size_t n);
int sim_ioas_map_file(struct pfnbuf_sim *sim, struct sim_ioas *ioas, int fd, uint64_t start,
		      uint64_t length, uint32_t prot, bool fixed, uint64_t *iova);
int sim_ioas_collect(const struct sim_ioas *ioas, uint64_t iova, uint64_t length,
		     struct sim_copy *copy);
int sim_ioas_paste(struct pfnbuf_sim *sim, struct sim_ioas *ioas, const struct sim_copy *copy,
		   uint64_t length, uint32_t prot, bool fixed, uint64_t *iova);
int sim_ioas_add_hwpt(struct pfnbuf_sim *sim, struct sim_ioas *ioas, struct sim_hwpt *hwpt);
void sim_ioas_remove_hwpt(struct pfnbuf_sim *sim, struct sim_ioas *ioas, struct sim_hwpt *hwpt);
void sim_ioas_enable_large_pages(struct sim_ioas *ioas);
void sim_ioas_clear(struct pfnbuf_sim *sim, struct sim_ioas *ioas);
int sim_iommufd_open(struct pfnbuf_sim *sim, int flags);
/* Whether a device of the same IOMMU group is bound to it. */
bool sim_iommufd_owns_group(const struct sim_ictx *ictx, const struct sim_vdev *vdev);
int sim_iommufd_bind(struct pfnbuf_sim *sim, struct sim_ictx *ictx, struct sim_vdev *vdev);
void sim_iommufd_unbind(struct pfnbuf_sim *sim, struct sim_vdev *vdev);
int sim_iommufd_attach(struct pfnbuf_sim *sim, struct sim_idev *idev, uint32_t *pt_id);
void sim_iommufd_detach(struct pfnbuf_sim *sim, struct sim_idev *idev);
/* By PASID, on a device whose IOMMU has none: 0 is the device itself, others are refused. */
int sim_iommufd_attach_pasid(struct pfnbuf_sim *sim, struct sim_idev *idev, uint32_t pasid,
			     uint32_t *pt_id);
void sim_iommufd_detach_pasid(struct pfnbuf_sim *sim, struct sim_idev *idev, uint32_t pasid);
int sim_iommufd_compat_ioctl(struct pfnbuf_sim *sim, struct sim_ictx *ictx, unsigned long request,
			     uint64_t arg);
struct sim_ioas *sim_ioas_get(struct sim_ictx *ictx, uint32_t id);
int sim_ioas_map_user(struct pfnbuf_sim *sim, struct sim_ioas *ioas, uint64_t va, uint64_t length,
		      uint32_t prot, bool fixed, uint64_t *iova);
int sim_ioas_unmap(struct pfnbuf_sim *sim, struct sim_ioas *ioas, uint64_t start, uint64_t last,
		   uint64_t *unmapped);
int sim_ioas_disable_large_pages(struct sim_ioas *ioas);
int sim_ioas_cut(struct pfnbuf_sim *sim, struct sim_ioas *ioas, uint64_t iova);
void sim_pages_kill(struct sim_pages *pages);
/* The first area that ends at or above @iova: its index. */
size_t sim_area_at(const struct sim_ioas *ioas, uint64_t iova);

/* An access changes what its IOAS must be aligned to. -EADDRINUSE, -ENOMEM: nothing happened. */
int sim_ioas_add_access(struct sim_ioas *ioas, struct sim_access *access);
void sim_ioas_remove_access(struct sim_ioas *ioas, struct sim_access *access);
/* Pin what is behind [iova, last] for an access; undone with the same range. */
int sim_ioas_hold(struct pfnbuf_sim *sim, struct sim_ioas *ioas, uint64_t iova, uint64_t last,
		  bool write);
void sim_ioas_release(struct pfnbuf_sim *sim, struct sim_ioas *ioas, uint64_t iova, uint64_t last);
int sim_ioas_rw(struct pfnbuf_sim *sim, struct sim_ioas *ioas, uint64_t iova, uint64_t length,
		uint8_t *data, bool write);

/* ------------------------------------------------------------------- vIOMMUs, TSM */

/* What a guest sees of an IOMMU. */
struct sim_viommu {
	struct sim_object obj;
	struct sim_ictx *ictx;
	struct sim_hwpt *hwpt;
	struct sim_vm *vm; /* that of the device it was made by, held; NULL: none */
};

/* A device as its guest sees it. */
struct sim_vdevice {
	struct sim_object obj;
	struct sim_viommu *viommu;
	struct sim_idev *idev; /* NULL: a tombstone */
	uint64_t virt_id;
};

/* Whether the kernel is one that binds devices. */
bool sim_binds(const struct pfnbuf_sim *sim);
/* All four may write to @cmd what is to be copied out, where they succeed. */
int sim_viommu_alloc(struct pfnbuf_sim *sim, struct sim_ictx *ictx, struct iommu_viommu_alloc *cmd);
int sim_vdevice_alloc(struct sim_ictx *ictx, struct iommu_vdevice_alloc *cmd);
int sim_vdevice_op(struct sim_ictx *ictx, const struct iommu_vdevice_tsm_op *cmd);
/* What is left over of the request; tsm_code is to be copied out in any case. */
int sim_vdevice_request(struct sim_ictx *ictx, struct iommu_vdevice_tsm_req *cmd);
/* Whether userspace may destroy it: where it is bound by being there, it is unbound first. */
int sim_vdevice_release(struct sim_vdevice *vdevice);
void sim_vdevice_destroy(struct sim_vdevice *vdevice);
void sim_viommu_destroy(struct pfnbuf_sim *sim, struct sim_viommu *viommu);
/* The device goes, its vDEVICE becomes a tombstone. */
void sim_vdevice_bury(struct sim_idev *idev);

/* The contract of pci_tsm_bind (drivers/pci/tsm.c). */
int sim_tdi_bind(struct sim_vdev *vdev, struct sim_vm *vm);
/* 0, also where it is not bound; -EIO where it was told to fail: nothing happened. */
int sim_tdi_unbind(struct sim_vdev *vdev);
/* Unbind whatever happens. @event: what takes the device away. */
void sim_tdi_drop(struct sim_vdev *vdev, const char *event);
int sim_tdi_lock(struct sim_vdev *vdev);
int sim_tdi_run(struct sim_vdev *vdev);
/* Before the memory of the device goes away: a bound device should have been unbound. */
void sim_tdi_revoke(struct sim_vdev *vdev, const char *event);
/* Something happened to it that a locked interface does not survive. */
void sim_tdi_fail(struct sim_vdev *vdev);
/* Whether the guest's private accesses are taken. */
bool sim_tdi_serves(const struct sim_vdev *vdev, const struct sim_vm *vm);
/* Whether it is locked and a page of the range is for the guest alone. */
bool sim_tdi_protects(const struct sim_vdev *vdev, unsigned bar, uint64_t offset, uint64_t length);
/* Whether every page of the range is for the guest alone once it is locked. */
bool sim_tdi_all_tee(const struct sim_vdev *vdev, unsigned bar, uint64_t offset, uint64_t length);

enum sim_tsm_attr {
	SIM_TSM_CONNECT,
	SIM_TSM_DISCONNECT,
	SIM_TSM_BOUND,
	SIM_TSM_DSM,
	SIM_TSM_NR_ATTRS, /* in tsm/; beside it there is */
	SIM_TSM_AUTHENTICATED = SIM_TSM_NR_ATTRS,
	SIM_TSM_NR_FILES,
};

/* Whether the file is there now. */
bool sim_tsm_has(const struct sim_vdev *vdev, enum sim_tsm_attr attr);
const char *sim_tsm_name(enum sim_tsm_attr attr);
/* What reading it gives, without the newline. */
const char *sim_tsm_show(const struct sim_vdev *vdev, enum sim_tsm_attr attr);
/* An fd to write to it by. */
int sim_tsm_open(struct sim_vdev *vdev, enum sim_tsm_attr attr, int flags);
void sim_tsm_path(const struct sim_file *file, char *buf, size_t size);

/* ------------------------------------------------------------------------ selftest */

/* A user of an IOAS that is no device: a mediated device of the tests (selftest.c). */
struct sim_access {
	struct sim_object obj;
	struct sim_ictx *ictx;
	struct sim_ioas *ioas;
	struct sim_file *file;
	struct sim_vec items; /* struct sim_access_item, oldest first */
	uint32_t next_item;
	bool pins;
};

/* Let go of all that it pins within [iova, last]. */
void sim_access_unmap(struct pfnbuf_sim *sim, struct sim_access *access, uint64_t iova,
		      uint64_t last);
int sim_selftest_call(struct pfnbuf_sim *sim, struct sim_ictx *ictx, struct iommu_test_cmd *cmd,
		      uint64_t user, uint32_t user_size);
/* The destructor of SIM_OBJ_SELFTEST: the mock device behind it goes. */
void sim_selftest_destroy(struct pfnbuf_sim *sim, struct sim_ictx *ictx, struct sim_object *obj);
/* What the mock devices' driver answers to iommufd. */
uint32_t sim_mock_pasid_bits(const struct sim_mock *mock);
bool sim_mock_tracks_dirty(const struct sim_mock *mock);
int sim_mock_domain(const struct sim_mock *mock, const struct iommu_hwpt_alloc *cmd,
		    struct sim_domain *domain);
int sim_mock_nested_domain(const struct iommu_hwpt_alloc *cmd, struct sim_domain *domain);
int sim_mock_invalidate(struct sim_domain *domain, const struct iommu_hwpt_invalidate *cmd,
			uint32_t *done);

/* ----------------------------------------------------------------------------- KVM */

#define SIM_MEM_SLOTS	   32764U
#define SIM_ADDRESS_SPACES 2U
#define SIM_MAX_PHYS_BITS  48U

struct sim_slot {
	uint32_t id;
	uint32_t flags;
	uint64_t gpa, size;
	uint64_t va;
	struct sim_gmem *gmem; /* NULL with KVM_MEM_GUEST_MEMFD: its file was closed */
	uint64_t gmem_offset;
	bool gmem_only;		   /* shared memory comes from it, too */
	struct sim_dmabuf *dmabuf; /* with KVM_MEM_VFIO_DMABUF, held */
	uint64_t *entries;	   /* a bit for each page that is in the guest's private tables */
	uint64_t *dirty;
	uint64_t *dirty_buffer;
};

struct sim_vm {
	struct sim_vm *next;
	struct sim_file *file;
	unsigned long type;
	pid_t pid; /* whose memory the guest has: no other process may ask */
	struct sim_slot **by_id[SIM_ADDRESS_SPACES];
	struct sim_vec by_gpa[SIM_ADDRESS_SPACES];
	bool gmem_attributes;	    /* guest_memfds say what is private, not @attributes */
	struct sim_runs attributes; /* what is private */
	struct sim_vec mmio;	    /* struct sim_mmio */
	struct sim_file *kvm_vfio;
	bool manual_protect;
	struct sim_vec vcpus; /* ids, in use for as long as the VM lives */
	uint64_t nr_pages;
};

struct sim_gmem {
	struct sim_gmem *next;
	struct sim_file *file;
	struct sim_vm *vm;
	uint64_t flags, size;
	struct sim_vec slots;	 /* bound to it */
	struct sim_runs private; /* pages, where the kernel keeps attributes in here */
	struct sim_runs pinned;	 /* pages that someone else holds */
};

/* Private memory of a device that was validated at a guest address. */
struct sim_mmio {
	uint64_t gpa, length;
	struct sim_vdev *vdev;
	unsigned bar;
	uint64_t offset;
};

bool sim_vm_has_private(const struct sim_vm *vm);
/* What a slot shall stand on, held. */
int sim_mmio_find_dmabuf(struct pfnbuf_sim *sim, int fd, uint64_t size,
			 struct sim_dmabuf **dmabufp);
int sim_mmio_init_slot(struct sim_slot *slot, struct sim_dmabuf *dmabuf);
void sim_mmio_free_slot(struct pfnbuf_sim *sim, const struct sim_vm *vm, struct sim_slot *slot);
/* An access to a slot on a dma-buf, within one run of attributes. */
int sim_mmio_slot_access(struct pfnbuf_sim *sim, const struct sim_vm *vm, struct sim_slot *slot,
			 uint64_t gpa, bool as_private, uint8_t *data, size_t length, bool write);
int sim_mmio_pre_fault(const struct sim_vm *vm, struct sim_slot *slot, uint64_t gpa);
/* Pages of [gpa, end) leave the guest's private tables. */
void sim_mmio_zap(struct sim_vm *vm, uint64_t gpa, uint64_t end);
/* All that stand on the dma-buf. */
void sim_mmio_zap_dmabuf(struct sim_dmabuf *dmabuf);
struct sim_mmio *sim_mmio_at(const struct sim_vm *vm, uint64_t gpa);
int sim_mmio_access(const struct sim_vm *vm, const struct sim_mmio *mmio, uint64_t gpa,
		    uint8_t *data, size_t length, bool write);
int sim_mmio_validate(struct sim_vdev *vdev, uint64_t gpa, uint64_t end, uint64_t pa);
/* What was validated of the device's memory is gone. */
void sim_mmio_invalidate(struct sim_vm *vm, const struct sim_vdev *vdev);

/* Memory of a device that a guest reaches as private. */
struct sim_bar_run {
	const struct sim_vm *vm;
	const struct sim_vdev *vdev;
	unsigned bar;
	uint64_t gpa, offset, length;
};

typedef void sim_bar_run_fn(struct pfnbuf_sim *sim, const struct sim_bar_run *run, void *data);
void sim_mmio_each_private(struct pfnbuf_sim *sim, sim_bar_run_fn *visit, void *data);

/* The guest_memfd flags that a VM (NULL: any) takes. */
uint64_t sim_gmem_flags(const struct pfnbuf_sim *sim, const struct sim_vm *vm);
int sim_gmem_create(struct pfnbuf_sim *sim, struct sim_vm *vm, uint64_t arg);
int sim_kvm_create_device(struct pfnbuf_sim *sim, struct sim_vm *vm, uint64_t arg);
int sim_kvm_open(struct pfnbuf_sim *sim, int flags);
/* What was pinned is held, wherever the process has it afterwards. */
void sim_gmem_remember(struct pfnbuf_sim *sim, struct sim_pages *pages);
/* Whether a page of the process's memory is one that a guest_memfd keeps for its guest alone. */
bool sim_gmem_hides(struct pfnbuf_sim *sim, uint64_t va, uint64_t length);
bool sim_vm_is_private(const struct sim_vm *vm, uint64_t gpa);
/* The end (exclusive) of the run that @gpa is in, all private or all shared. */
uint64_t sim_vm_run_end(const struct sim_vm *vm, uint64_t gpa);
/* The first slot that ends above @gpa: its index. */
size_t sim_slot_index(const struct sim_vec *slots, uint64_t gpa);

/* --------------------------------------------------------------------------- sysfs */

/* True where the path belongs to the simulated machine, present or not. */
bool sim_sysfs_owns(const char *path);
int sim_sysfs_open(struct pfnbuf_sim *sim, const char *path, int flags);
ssize_t sim_sysfs_readlink(struct pfnbuf_sim *sim, const char *path, char *buf, size_t size);
ssize_t sim_sysfs_list(struct pfnbuf_sim *sim, const char *path, char *buf, size_t size);
/* /proc/self/fd/N and /proc/self/fdinfo/N of simulated files; -ENOTTY: not one of those. */
ssize_t sim_proc_readlink(struct pfnbuf_sim *sim, const char *path, char *buf, size_t size);
int sim_proc_open(struct pfnbuf_sim *sim, const char *path);

/* --------------------------------------------------------------------------- alias */

/* What a call has changed is looked at, not the whole machine. */
void sim_alias_check_private(struct pfnbuf_sim *sim, struct sim_vm *vm, uint64_t gpa,
			     uint64_t size);
void sim_alias_check_area(struct pfnbuf_sim *sim, const struct sim_area *area);
/* Memory of devices that is private in a guest: against one area, or against all there is. */
void sim_alias_check_bars(struct pfnbuf_sim *sim, const struct sim_area *only);
/* Keep the first rule that was broken. */
__attribute__((format(printf, 2, 3))) void sim_violated(struct pfnbuf_sim *sim, const char *format,
							...);

/* -------------------------------------------------------------------------- faults */

struct sim_ioctl_fault {
	struct sim_ioctl_fault *next;
	unsigned long request;
	uint64_t n;
	int error;
};

/* Count a call; the error that it shall fail with, or 0. @request: 0 for what is no ioctl. */
int sim_fault_count(struct pfnbuf_sim *sim, unsigned long request);

/* ------------------------------------------------------------------------------ it */

#define SIM_BUCKETS 4096

struct pfnbuf_sim {
	pthread_mutex_t lock;
	struct pfnbuf_kernel table;
	bool ended;

	struct sim_file *files[SIM_BUCKETS];
	uint64_t nr_files;
	int high_fd;  /* own fds start here, to leave the low numbers to the caller */
	int empty_fd; /* a memfd without bytes: touching a mapping of it is SIGBUS */

	struct sim_vdev *vdevs;
	unsigned nr_vdevs;
	uint64_t next_bar, next_bar64; /* bus addresses of the next BARs */
	bool iommufd_present, kvm_present;

	struct sim_ictx *ictxs;
	struct sim_extern *externs;
	uint64_t memlock, pinned;
	unsigned aperture_bits;
	unsigned selftest; /* PFNBUF_SIM_SELFTEST, ... */
	unsigned proposed; /* PFNBUF_SIM_IMPORT_RANGES, ... */
	bool tsm;	   /* tsm0 is there */
	uint64_t nr_mmio;  /* slots on dma-bufs, and validated ranges */
	uint64_t walks;

	struct sim_vm *vms;
	struct sim_gmem *gmems;

	struct sim_vec mappings;

	int owner;	  /* of inherited files: a socket to it */
	int fork_pair[2]; /* while it forks */
	bool fork_serves;

	uint64_t calls, fail_at;
	int fail_error;
	struct sim_ioctl_fault *ioctl_faults;
	enum pfnbuf_sim_error planted;

	char *alias;
};

/*
 * Around a fork: an iommufd that the child inherits stays in the parent, where a thread serves the
 * child's calls on it; the simulated kernel has to live as long as it runs. @enter: called first in that thread; may be NULL. The lock is held from
 * before to after.
 */
void sim_fork_before(struct pfnbuf_sim *sim);
void sim_fork_parent(struct pfnbuf_sim *sim, void (*enter)(void));
void sim_fork_child(struct pfnbuf_sim *sim);
int sim_fork_forward(struct pfnbuf_sim *sim, const struct sim_file *file, unsigned long request,
		     uint64_t arg);

/* Move an fd of the simulator's own out of the caller's way; takes @fd, returns the new one. */
int sim_fd_high(struct pfnbuf_sim *sim, int fd);

void sim_unlock(pthread_mutex_t **lock);

/* Hold the lock until the end of the block. */
#define SIM_LOCKED(sim)                                                                            \
	pthread_mutex_t *sim_locked __attribute__((cleanup(sim_unlock), unused)) = &(sim)->lock;   \
	pthread_mutex_lock(sim_locked)

#endif /* PFNBUF_SIM_PRIVATE_H */
