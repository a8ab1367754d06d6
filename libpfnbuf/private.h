/* SPDX-License-Identifier: MIT */
/*
 * What the rooms of the library say to each other. Beside kernel.h the only header they share; each
 * noun's struct stays in its own file.
 *
 * Locks, outermost first: a device's gate, access to its BARs, topology (ctx), device, window, IOAS,
 * VM, dispatch (ctx), queue (ctx). Several windows are locked in the order of the context's list. A
 * buffer has none: what of it changes is atomic. The log hook may run while an object's lock is held,
 * so it must not call the library on the same object.
 */
#ifndef PFNBUF_PRIVATE_H
#define PFNBUF_PRIVATE_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <pfnbuf.h>
#include "kernel.h"
#include "tree.h"

#define PFNBUF_NAME_MAX 64

static inline void pfnbuf_cleanup_free(void *p)
{
	free(*(void **)p);
}

/*
 * Memory of zeros. Up to glibc 2.40 calloc() passes by what the thread has at hand, and compilers
 * make it of malloc() and memset().
 */
static inline void *pfnbuf_zalloc(size_t size)
{
	void *p = malloc(size);

	if (p)
		explicit_bzero(p, size);
	return p;
}

/* Make room for @n elements in an array that has it for *max. NULL: no memory, and it stays. */
static inline void *pfnbuf_grow(void *array, size_t n, size_t *max, size_t size)
{
	size_t more = *max ? *max : 8;
	void *p;

	if (n <= *max)
		return array;
	while (more < n)
		more *= 2;
	p = reallocarray(array, more, size);
	if (p)
		*max = more;
	return p;
}

static inline void pfnbuf_cleanup_unlock(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

/* A lock that was not needed is NULL. */
static inline void pfnbuf_cleanup_rwunlock(pthread_rwlock_t **lock)
{
	if (*lock)
		pthread_rwlock_unlock(*lock);
}

static inline pthread_mutex_t *pfnbuf_locked(pthread_mutex_t *lock)
{
	pthread_mutex_lock(lock);
	return lock;
}

/*
 * `cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&x->lock);` holds the lock to the end of
 * the scope.
 */
#define cleanup_free	 __attribute__((cleanup(pfnbuf_cleanup_free)))
#define cleanup_unlock	 __attribute__((cleanup(pfnbuf_cleanup_unlock), unused))
#define cleanup_rwunlock __attribute__((cleanup(pfnbuf_cleanup_rwunlock), unused))

/* Copy a string that is for people to read; what does not fit is cut off. */
static inline void pfnbuf_copy_text(char *out, size_t size, const char *text)
{
	const size_t n = strnlen(text, size - 1);

	memcpy(out, text, n);
	out[n] = '\0';
}

/* A member of a list that its object sits in. */
struct pfnbuf_link {
	struct pfnbuf_link *prev;
	struct pfnbuf_link *next;
};

#define pfnbuf_container_of(ptr, type, member)                                                     \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void pfnbuf_list_init(struct pfnbuf_link *head)
{
	head->prev = head;
	head->next = head;
}

static inline bool pfnbuf_list_is_empty(const struct pfnbuf_link *head)
{
	return head->next == head;
}

static inline void pfnbuf_list_add_tail(struct pfnbuf_link *head, struct pfnbuf_link *link)
{
	link->prev = head->prev;
	link->next = head;
	head->prev->next = link;
	head->prev = link;
}

static inline void pfnbuf_list_del(struct pfnbuf_link *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	pfnbuf_list_init(link);
}

/* ---------------------------------------------------------------- error.c ------------------- */

/*
 * Remember that @call on @object (and @range, unless NULL) failed with @code; the cause and the
 * hint come from the table in error.c. Returns @code, so that a caller can say `return
 * pfnbuf_failed(...)`.
 */
int pfnbuf_failed(int code, const char *call, const char *object, const struct pfnbuf_range *range);

/* The same where the caller knows better than the table; @hint may be "". */
int pfnbuf_refused(int code, const char *call, const char *object, const struct pfnbuf_range *range,
		   const char *hint, const char *cause, ...) PFNBUF_PRINTF(6, 7);

/*
 * The last-error record of this thread, to be put back after calls whose failure is nobody's news.
 */
struct pfnbuf_saved_error {
	struct pfnbuf_error record;
	char call[64];
	char object[96];
	char cause[320];
	char hint[256];
};

void pfnbuf_error_save(struct pfnbuf_saved_error *saved);
void pfnbuf_error_restore(const struct pfnbuf_saved_error *saved);

/* The first of several failures, where the rest is done all the same. */
struct pfnbuf_first_error {
	int code; /* 0: none so far */
	struct pfnbuf_saved_error saved;
};

/* Returns whether @r is the first. */
static inline bool pfnbuf_first_note(struct pfnbuf_first_error *first, int r)
{
	if (r >= 0 || first->code)
		return false;
	first->code = r;
	pfnbuf_error_save(&first->saved);
	return true;
}

/* The result of all: the first failure, of which the last error speaks then, or 0. */
static inline int pfnbuf_first_end(const struct pfnbuf_first_error *first)
{
	if (first->code)
		pfnbuf_error_restore(&first->saved);
	return first->code;
}

/* ---------------------------------------------------------------- layout.c ------------------ */

/* A range, all of one visibility, that is about to get another. Its fields are layout.c's. */
struct pfnbuf_layout_turn {
	enum pfnbuf_vis from, to;
	uint64_t first, end; /* frames */
	void *leaf;	     /* a dense one, in a word of which they all are; or NULL */
	uint64_t mask;	     /* their bits in that word */
};

/*
 * Make room for a turn, which cannot fail then, as long as the layout is neither changed nor copied.
 * @from and @to differ. Returns 1, or 0 where not all of the range is @from; errors are those of
 * pfnbuf_layout_set().
 */
int pfnbuf_layout_prepare_turn(struct pfnbuf_layout *layout, uint64_t offset, uint64_t length,
			       enum pfnbuf_vis from, enum pfnbuf_vis to,
			       struct pfnbuf_layout_turn *turn);
void pfnbuf_layout_turn(struct pfnbuf_layout *layout, const struct pfnbuf_layout_turn *turn);

/*
 * As pfnbuf_layout_next() and pfnbuf_layout_diff(), of which nobody asks what begins at @end or
 * behind it. Runs may go on there and be cut somewhere; changes are cut at @end.
 */
int pfnbuf_layout_next_to(const struct pfnbuf_layout *layout, uint64_t *pos, uint64_t end,
			  struct pfnbuf_run *runs, int max);
int pfnbuf_layout_diff_to(const struct pfnbuf_layout *from, const struct pfnbuf_layout *to,
			  uint64_t *pos, uint64_t end, struct pfnbuf_change *changes, int max);

/* ---------------------------------------------------------------- pci.c --------------------- */

/* A part of a BAR. */
struct pfnbuf_pci_part {
	unsigned bar;
	struct pfnbuf_range range;
};

/*
 * What configuration space says once and for all. Offsets of capabilities: 0 where there is none.
 */
struct pfnbuf_pci {
	uint16_t vendor;
	uint16_t device;
	uint32_t bar[6]; /* the registers */
	uint8_t pm;
	uint8_t exp;
	uint8_t af;
	struct pfnbuf_pci_part msix[2]; /* table and pending bits; empty: no such capability */
};

/* "0000:01:00.0" or "01:00.0" into the long form; -EINVAL. */
int pfnbuf_pci_parse_bdf(const char *text, char out[16]);
void pfnbuf_pci_scan(const uint8_t config[256], struct pfnbuf_pci *pci);
/* Why a write of these bytes to configuration space revokes the device's buffers, or NONE. */
enum pfnbuf_cause pfnbuf_pci_write_revokes(const struct pfnbuf_pci *pci, uint64_t offset,
					   const uint8_t *data, size_t length);
/* Whether a write to this range can turn the device's memory on or off. */
bool pfnbuf_pci_write_matters(const struct pfnbuf_pci *pci, uint64_t offset, size_t length);

/*
 * ---------------------------------------------------------------- engine_epoll.c, engine_uring.c
 */

/*
 * An eventfd in an engine, which says once that it was signalled, and is the engine's to read. What
 * it announced keeps the engine's fd readable until pfnbuf_engine_ops.drained() where the engine
 * holds; else the queue's own eventfd has to.
 */
struct pfnbuf_watch {
	int fd;	       /* -1: not watched */
	bool is_queue; /* the context's own, which announces nothing */
	void (*ready)(struct pfnbuf_watch *watch);
	struct poll *poll; /* the engine's */
};

struct pfnbuf_engine;

/* Waits for many eventfds behind one fd. Its functions are called with the dispatch lock held. */
struct pfnbuf_engine_ops {
	int (*add)(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch);
	void (*del)(struct pfnbuf_engine *engine, struct pfnbuf_watch *watch);
	/* Call ready() of each watch that was signalled since; never blocks. */
	int (*dispatch)(struct pfnbuf_engine *engine);
	/*
	 * What was announced is digested: fall silent until the next signal. @signalled: the queue's
	 * eventfd was.
	 */
	void (*drained)(struct pfnbuf_engine *engine, bool signalled);
	void (*free)(struct pfnbuf_engine *engine);
};

struct pfnbuf_engine {
	const struct pfnbuf_engine_ops *ops;
	const struct pfnbuf_kernel *kernel;
	int fd;
	bool holds;
};

int pfnbuf_engine_new_epoll(const struct pfnbuf_kernel *kernel, struct pfnbuf_engine **enginep);
/* -EOPNOTSUPP: not built in, or this kernel has no io_uring of Linux 6.0. */
int pfnbuf_engine_new_uring(const struct pfnbuf_kernel *kernel, struct pfnbuf_engine **enginep);

/* ---------------------------------------------------------------- ctx.c --------------------- */

enum pfnbuf_ctx_list {
	PFNBUF_LIST_DEVICES,
	PFNBUF_LIST_IOASES,
	PFNBUF_LIST_VMS,
	PFNBUF_LIST_WINDOWS,
	PFNBUF_NR_LISTS,
};

struct pfnbuf_ctx *pfnbuf_ctx_ref(struct pfnbuf_ctx *ctx);
struct pfnbuf_ctx *pfnbuf_ctx_unref(struct pfnbuf_ctx *ctx);
const char *pfnbuf_ctx_sysfs(const struct pfnbuf_ctx *ctx);
const char *pfnbuf_ctx_devtmpfs(const struct pfnbuf_ctx *ctx);

/* Enter a link into one of the context's lists and take it out again. Takes the topology lock. */
void pfnbuf_ctx_link(struct pfnbuf_ctx *ctx, enum pfnbuf_ctx_list list, struct pfnbuf_link *link);
void pfnbuf_ctx_unlink(struct pfnbuf_ctx *ctx, struct pfnbuf_link *link);

/* A number that no other object of the context has; never 0. */
uint64_t pfnbuf_ctx_new_id(struct pfnbuf_ctx *ctx);

/* Hold the topology lock for reading: no object enters or leaves the lists meanwhile. */
pthread_rwlock_t *pfnbuf_ctx_hold(struct pfnbuf_ctx *ctx);
const struct pfnbuf_link *pfnbuf_ctx_list(const struct pfnbuf_ctx *ctx, enum pfnbuf_ctx_list list);

void pfnbuf_ctx_log(struct pfnbuf_ctx *ctx, enum pfnbuf_log_level level, const char *format, ...)
	PFNBUF_PRINTF(3, 4);

int pfnbuf_ctx_watch(struct pfnbuf_ctx *ctx, struct pfnbuf_watch *watch);
void pfnbuf_ctx_unwatch(struct pfnbuf_ctx *ctx, struct pfnbuf_watch *watch);

/*
 * Queue an event; never fails and never allocates. Sequence number and LOST are filled in here.
 * @announced: it comes from a watch's ready(), which keeps the context's fd readable by itself.
 */
void pfnbuf_ctx_push_event(struct pfnbuf_ctx *ctx, const struct pfnbuf_event *event,
			   bool announced);
/* The device is going: events that name it name nothing any more. */
void pfnbuf_ctx_forget_device(struct pfnbuf_ctx *ctx, const struct pfnbuf_device *device);
/* The same of a window. */
void pfnbuf_ctx_forget_window(struct pfnbuf_ctx *ctx, const struct pfnbuf_window *window);

/*
 * What a watch's ready() wants done without the dispatch lock: run() is called once by the dispatch
 * that is under way, or the next one.
 */
struct pfnbuf_work {
	struct pfnbuf_link link; /* empty: not queued */
	void (*run)(struct pfnbuf_work *work);
};

/* Whether the call did it: false where it was queued, or was not, before. */
bool pfnbuf_ctx_defer(struct pfnbuf_ctx *ctx, struct pfnbuf_work *work);
bool pfnbuf_ctx_cancel(struct pfnbuf_ctx *ctx, struct pfnbuf_work *work);
/* The same for conversions that wait, all of the context's at once. */
void pfnbuf_ctx_defer_retry(struct pfnbuf_ctx *ctx, void (*try_again)(struct pfnbuf_ctx *ctx));

/* Close an fd at the end of an object; a failure goes to the log. */
void pfnbuf_ctx_close_fd(struct pfnbuf_ctx *ctx, int fd, const char *object);

/*
 * Whether this kernel imports dma-bufs of several ranges, as far as it was tried: 1, 0, or
 * negative where it was not.
 */
int pfnbuf_ctx_imports_ranges(struct pfnbuf_ctx *ctx);
void pfnbuf_ctx_learn_import(struct pfnbuf_ctx *ctx, bool takes_ranges);

/*
 * Where guest_memfds are mapped in this process: the only way in which an IOAS can come to hold one.
 * -ENOMEM
 */
int pfnbuf_ctx_note_mapping(struct pfnbuf_ctx *ctx, struct pfnbuf_identity file, uint64_t offset,
			    uint64_t length, void *addr);
void pfnbuf_ctx_forget_mapping(struct pfnbuf_ctx *ctx, const void *addr);
/*
 * The address of the byte at @offset in the @i-th mapping that shows it; NULL where there are not as
 * many.
 */
void *pfnbuf_ctx_find_mapping(struct pfnbuf_ctx *ctx, struct pfnbuf_identity file, uint64_t offset,
			      size_t i);

/* The system's page size in bytes. */
uint64_t pfnbuf_page_size(void);

/* ---------------------------------------------------------------- profile.c ----------------- */

/* How a device is bound to a confidential guest. */
enum pfnbuf_tsm_mechanism {
	PFNBUF_TSM_NONE,
	PFNBUF_TSM_VFIO_BIND,	  /* an ioctl of the device, another one unbinds */
	PFNBUF_TSM_VDEVICE_OP,	  /* operations of one ioctl of the iommufd on a vDEVICE */
	PFNBUF_TSM_VDEVICE_ALLOC, /* allocating a vDEVICE binds, destroying it unbinds */
};

/* How the guest gets at private MMIO. */
enum pfnbuf_mmio_mechanism {
	PFNBUF_MMIO_NONE,
	PFNBUF_MMIO_DMABUF_SLOT, /* memory slots on dma-bufs */
	PFNBUF_MMIO_PRE_FAULT,	 /* the same, populated by KVM_PRE_FAULT_MEMORY */
	PFNBUF_MMIO_VALIDATE,	 /* a request to the TSM for each range, and no slot */
};

/* Values of pfnbuf_profile_data.bind_struct. */
enum {
	PFNBUF_STRUCT_VFIO_PCI_TSM_BIND,
	PFNBUF_STRUCT_IOMMU_VDEVICE_TSM_OP,
};

/* What a profile says. What its mechanisms do not use is 0. */
struct pfnbuf_profile_data {
	char name[64];
	char about[256];
	char needs[256];
	uint64_t bind; /* enum pfnbuf_tsm_mechanism */
	uint64_t bind_struct;
	uint64_t bind_request;
	uint64_t bind_op;
	uint64_t unbind_request;
	uint64_t unbind_op;
	uint64_t mappings_stay; /* 1: private mappings go after unbind, and not before */
	uint64_t viommu_type;
	uint64_t private_mmio; /* enum pfnbuf_mmio_mechanism */
	uint64_t slot_flag;
	uint64_t slot_buffer;	    /* 0: from the dma-buf's start to its end */
	uint64_t private_attribute; /* 1: private MMIO has the VM's private attribute, too */
	uint64_t pre_fault_request;
	uint64_t validate_struct;
	uint64_t validate_payload;
	uint64_t validate_request;
	uint64_t validate_op;
	uint64_t validate_arch;
	uint64_t gmem_struct;
	uint64_t gmem_request; /* 0: no attributes of a guest_memfd */
};

const struct pfnbuf_profile_data *pfnbuf_profile_data(const struct pfnbuf_profile *profile);
/*
 * Whether KVM_SET_MEMORY_ATTRIBUTES2 may be called on a guest_memfd, and its number. @profile may
 * be NULL: no.
 */
bool pfnbuf_profile_gmem_attributes(const struct pfnbuf_profile *profile, unsigned long *request);
/* The context's profile, which it keeps till its end; NULL: nothing unmerged is ever called. */
const struct pfnbuf_profile *pfnbuf_ctx_profile(const struct pfnbuf_ctx *ctx);

/* ---------------------------------------------------------------- device.c ------------------ */

/* A device's revocations: how many so far (from 1), and what its buffers are now. */
struct pfnbuf_revocation {
	uint64_t generation;
	enum pfnbuf_state state;
};

/*
 * What stands on a device hears of its revocations. Callbacks run with the device's lock held and
 * must not take a lock that comes before it.
 */
struct pfnbuf_revoke_hook {
	struct pfnbuf_link link;
	/* Before the call that revokes, with the state SUSPENDED already. Allocates nothing. */
	void (*suspend)(struct pfnbuf_revoke_hook *hook);
	/*
	 * After the IOASes' areas were imported again; @complete: all of them. Allocates nothing.
	 */
	int (*restore)(struct pfnbuf_revoke_hook *hook, bool complete);
	/* The device is closed. The hook is off the list. */
	void (*close)(struct pfnbuf_revoke_hook *hook);
};

/*
 * Where the device's memory is off, suspend() is called before it returns. -ENODEV: it is closed.
 */
int pfnbuf_device_hook(struct pfnbuf_device *device, struct pfnbuf_revoke_hook *hook);
/* Also where the hook is off the list. */
void pfnbuf_device_unhook(struct pfnbuf_device *device, struct pfnbuf_revoke_hook *hook);

/*
 * Binding the device to a guest, and every call that revokes, go through its gate one at a time.
 * It is outside of all locks, so that whoever holds it may call anything but those.
 */
void pfnbuf_device_hold(struct pfnbuf_device *device);
void pfnbuf_device_let_go(struct pfnbuf_device *device);

/* What is bound to a guest hears first. All are called with the gate held, and no lock. */
struct pfnbuf_bind_hook {
	/* A call is about to revoke. -errno: the device stays bound, and the call is refused. */
	int (*unbind)(struct pfnbuf_bind_hook *hook, enum pfnbuf_cause cause);
	/* The device is being closed. The hook is off. */
	void (*close)(struct pfnbuf_bind_hook *hook);
	/* The device gave an error notice. */
	void (*error)(struct pfnbuf_bind_hook *hook);
};

/* With the gate held. -EBUSY: another one is there; -ENODEV: the device is closed. */
int pfnbuf_device_set_bind(struct pfnbuf_device *device, struct pfnbuf_bind_hook *hook);
void pfnbuf_device_clear_bind(struct pfnbuf_device *device, const struct pfnbuf_bind_hook *hook);
/* With the gate held: unbind it, if it is bound. -EBUSY: it stays so, and @call is refused. */
int pfnbuf_device_unbind_first(struct pfnbuf_device *device, const char *call,
			       enum pfnbuf_cause cause);
/* As many functions as a bus has. */
#define PFNBUF_MAX_REACHED 256

/*
 * The devices of a context that a call reaches, in the order of its list, which is that of their
 * gates.
 */
struct pfnbuf_reached {
	struct pfnbuf_device *devices[PFNBUF_MAX_REACHED]; /* a reference each */
	size_t nr;
	size_t nr_held; /* of the gates */
};

/*
 * Find those of which @reaches is 1 (0: not; negative: it fails with that). Holds the topology lock.
 * Allocates nothing. -ENOSPC
 */
int pfnbuf_device_find_reached(struct pfnbuf_ctx *ctx,
			       int (*reaches)(const struct pfnbuf_device *device, const void *data),
			       const void *data, struct pfnbuf_reached *reached);
/* Hold all the gates, and then pfnbuf_device_unbind_first(). */
int pfnbuf_device_unbind_reached(struct pfnbuf_reached *reached, const char *call,
				 enum pfnbuf_cause cause);
void pfnbuf_device_release_reached(struct pfnbuf_reached *reached);

#define cleanup_reached __attribute__((cleanup(pfnbuf_device_release_reached)))

/* With the gate held: whether its memory is on, and no bracket is open. -ENODEV, -EBUSY */
int pfnbuf_device_check_quiet(struct pfnbuf_device *device, const char *call);
/* A mapping of a BAR in this process that stands: 1, and which; 0: none does. */
int pfnbuf_device_find_mapping(struct pfnbuf_device *device, void **addr, uint64_t *length);
uint32_t pfnbuf_device_devid(const struct pfnbuf_device *device);
uint32_t pfnbuf_device_ioas_id(struct pfnbuf_device *device);

struct pfnbuf_device *pfnbuf_device_ref(struct pfnbuf_device *device);
struct pfnbuf_device *pfnbuf_device_unref(struct pfnbuf_device *device);
struct pfnbuf_device *pfnbuf_device_of_link(const struct pfnbuf_link *link);
struct pfnbuf_revocation pfnbuf_device_revocation(const struct pfnbuf_device *device);
const char *pfnbuf_device_name(const struct pfnbuf_device *device);
/* "" where its fd does not tell. */
const char *pfnbuf_device_bdf(const struct pfnbuf_device *device);
struct pfnbuf_ctx *pfnbuf_device_ctx(const struct pfnbuf_device *device);
/* The physical address of a BAR, from sysfs: -EOPNOTSUPP or -EACCES where it does not tell. */
int pfnbuf_device_bar_address(const struct pfnbuf_device *device, unsigned bar, uint64_t *address);
void *pfnbuf_device_get_user(const struct pfnbuf_device *device);
bool pfnbuf_device_is_bound(const struct pfnbuf_device *device);
/*
 * A device is lent to its bind from the begin of pfnbuf_bind_lock() to the end of unlock: nobody else
 * maps its BARs. Whoever does it asks under the lock that his mapping is entered under. A bind first
 * lends the device, then takes each of these locks to look for mappings that were there before: so
 * it sees a mapping, or that one is refused. What the bind's own windows map goes by functions that
 * do not ask.
 */
enum pfnbuf_lending {
	PFNBUF_HOME,
	PFNBUF_LENT, /* to a bind */
	PFNBUF_LEFT, /* its bind was freed, and it may be a guest's: till it is closed */
};

/* Waits for reads and writes of its BARs that are under way. */
void pfnbuf_device_set_lent(struct pfnbuf_device *device, enum pfnbuf_lending lent);
/*
 * What of its BARs is not private while it is lent may be read and written; without a report nothing.
 * The bind takes its report back before it frees it.
 */
void pfnbuf_device_set_report(struct pfnbuf_device *device,
			      const struct pfnbuf_tdi_layouts *report);
/* -EBUSY unless it is at home. */
int pfnbuf_device_check_not_lent(const struct pfnbuf_device *device, const char *call,
				 const char *object, const struct pfnbuf_range *range);
/* The same of each device of which a BAR is mapped in [addr, addr + length) of this process. */
int pfnbuf_device_check_memory_not_lent(struct pfnbuf_ctx *ctx, const void *addr, uint64_t length,
					const char *call, const char *object,
					const struct pfnbuf_range *range);
/* pfnbuf_device_bar_map() by the bind that the device is lent to. */
int pfnbuf_device_bar_map_lent(struct pfnbuf_device *device, unsigned bar, uint64_t offset,
			       uint64_t length, void **addrp);
/* Detach it if it is attached to @ioas, which is ending. */
void pfnbuf_device_leave_ioas(struct pfnbuf_device *device, const struct pfnbuf_ioas *ioas);

/* ---------------------------------------------------------------- buf.c --------------------- */

/*
 * Which VM of its context one is. An fd that was handed in may be a duplicate of another's: then two
 * ids are one VM. Two that are new are two.
 */
struct pfnbuf_vm_identity {
	uint64_t id; /* from 1 */
	bool is_new; /* KVM_CREATE_VM made it here */
	char name[24];
};

/*
 * What pfnbuf_device_export() makes of the fd that the kernel returned; takes the fd, also on
 * failure.
 * @live: it can be imported although the device's other buffers are suspended.
 */
int pfnbuf_buf_new_export(struct pfnbuf_device *device, int fd, unsigned bar,
			  const struct pfnbuf_range *slices, size_t n, bool live,
			  struct pfnbuf_buf **bufp);
/* Its state and its generation, read at once: a revocation shows in both, or in neither. */
struct pfnbuf_revocation pfnbuf_buf_revocation(const struct pfnbuf_buf *buf);
/* NULL: it was not exported here. The device may be DEAD. */
const struct pfnbuf_device *pfnbuf_buf_exporter(const struct pfnbuf_buf *buf);
const char *pfnbuf_buf_name(const struct pfnbuf_buf *buf);
struct pfnbuf_ctx *pfnbuf_buf_ctx(const struct pfnbuf_buf *buf);

/* Who made a guest_memfd; the id is 0 where nobody knows, or it is memory of another kind. */
const struct pfnbuf_vm_identity *pfnbuf_buf_get_maker(const struct pfnbuf_buf *buf);

/* Give back pages of a memfd or guest_memfd, whoever maps them. */
int pfnbuf_buf_punch(struct pfnbuf_buf *buf, uint64_t offset, uint64_t length);
/*
 * Make a range of a guest_memfd private (PFNBUF_ATTRIBUTE_PRIVATE) or shared (0) in place. @request:
 * the call's number, from the context's profile. -EAGAIN: somebody holds the page at *where.
 */
int pfnbuf_buf_set_attributes(struct pfnbuf_buf *buf, unsigned long request, uint64_t offset,
			      uint64_t length, uint64_t attributes, uint64_t *where);

/* ---------------------------------------------------------------- ioas.c -------------------- */

struct pfnbuf_granules;

struct pfnbuf_ioas *pfnbuf_ioas_of_link(const struct pfnbuf_link *link);
/* A reference, which pfnbuf_ioas_free() gives back. NULL of NULL. */
struct pfnbuf_ioas *pfnbuf_ioas_ref(struct pfnbuf_ioas *ioas);
struct pfnbuf_ctx *pfnbuf_ioas_ctx(const struct pfnbuf_ioas *ioas);
const char *pfnbuf_ioas_name(const struct pfnbuf_ioas *ioas);
/*
 * Map part of a buffer at a fixed address; where its device's memory is off, enter the area in the
 * ledger as dead, for a restore to map it. Returns 1 where the area is entered only.
 */
int pfnbuf_ioas_expect_buf(struct pfnbuf_ioas *ioas, struct pfnbuf_buf *buf, uint64_t offset,
			   uint64_t length, unsigned flags, uint64_t iova);
/*
 * Unmap as pfnbuf_ioas_unmap() does, and keep what leaves the ledger, also before a failure; then
 * put it back or drop it. Putting back allocates nothing; where a dma-buf turns out to be revoked
 * its area is entered as dead. On failure the rest stays kept. Only for areas of buffers and of
 * process memory.
 */
int pfnbuf_ioas_take(struct pfnbuf_ioas *ioas, uint64_t iova, uint64_t length,
		     struct pfnbuf_node **kept);
int pfnbuf_ioas_put_back(struct pfnbuf_ioas *ioas, struct pfnbuf_node **kept);
void pfnbuf_ioas_drop(struct pfnbuf_node **kept);
/*
 * Have the areas of memory that is mapped and unmapped in granules of @size as a bit each: of
 * [offset, offset + length) of a buffer that has no device, or of this process's memory where @buf is
 * NULL, at @iova. What is mapped of it becomes part of that. False, and *granules NULL: no memory.
 */
bool pfnbuf_ioas_add_granules(struct pfnbuf_ioas *ioas, struct pfnbuf_buf *buf, uint64_t offset,
			      uint64_t length, uint64_t size, unsigned flags, uint64_t iova,
			      struct pfnbuf_granules **granules);
/* What is mapped of it stays mapped, and on the ledger. NULL: nothing to do. */
void pfnbuf_ioas_end_granules(struct pfnbuf_ioas *ioas, struct pfnbuf_granules *granules);
/* pfnbuf_ioas_check_space(), pfnbuf_ioas_map_buf() or _map_va(), pfnbuf_ioas_unmap() of granule @i. */
int pfnbuf_ioas_check_granule(struct pfnbuf_ioas *ioas, struct pfnbuf_granules *g, uint64_t i);
int pfnbuf_ioas_map_granule(struct pfnbuf_ioas *ioas, struct pfnbuf_granules *g, uint64_t i);
/* Returns 1 where it is not mapped, or the kernel says so: nothing is changed then. */
int pfnbuf_ioas_unmap_granule(struct pfnbuf_ioas *ioas, struct pfnbuf_granules *g, uint64_t i);
/*
 * Whether of the granules whose bits are set in @which @nr are mapped, and no call could unmap two of
 * them because between them is one that stays. No bit is set outside of [first, end).
 */
bool pfnbuf_ioas_parts_granules(struct pfnbuf_ioas *ioas, const struct pfnbuf_granules *g,
				const uint64_t *which, uint64_t first, uint64_t end, size_t nr);
/*
 * Import again the dead areas of @device's buffers that begin in [first, last]. Calls no allocator.
 */
int pfnbuf_ioas_restore(struct pfnbuf_ioas *ioas, const struct pfnbuf_device *device,
			uint64_t first, uint64_t last);
/*
 * Whether devices that are attached allow an area there: -ERANGE, or -EINVAL for its alignment.
 * Asks the kernel where a device of this context came or went since the last time, or
 * pfnbuf_ioas_forget_space() was called.
 */
int pfnbuf_ioas_check_space(struct pfnbuf_ioas *ioas, uint64_t iova, uint64_t length);
void pfnbuf_ioas_forget_space(struct pfnbuf_ioas *ioas);
/* An area that maps the byte at @addr of this process. 1, or 0: none. */
int pfnbuf_ioas_find_va(struct pfnbuf_ioas *ioas, const void *addr, struct pfnbuf_area *area);
/* How many areas begin in [first, last], and how many of these are dead. */
void pfnbuf_ioas_count(struct pfnbuf_ioas *ioas, uint64_t first, uint64_t last, uint64_t *areas,
		       uint64_t *dead);
/* pfnbuf_ioas_copy(), also of what is mapped of a device that is lent to a bind. */
int pfnbuf_ioas_copy_lent(struct pfnbuf_ioas *ioas, struct pfnbuf_ioas *src, uint64_t src_iova,
			  uint64_t length, unsigned flags, uint64_t *iova);
/* An area that maps a buffer of the device's: 1, and where it is; 0: none does. */
int pfnbuf_ioas_find_device(struct pfnbuf_ioas *ioas, const struct pfnbuf_device *device,
			    struct pfnbuf_range *range);
/* Whether an area maps part of [offset, offset + length) of the buffer. */
bool pfnbuf_ioas_maps_buf(struct pfnbuf_ioas *ioas, const struct pfnbuf_buf *buf, uint64_t offset,
			  uint64_t length);

/* ---------------------------------------------------------------- vm.c ---------------------- */

struct pfnbuf_vm *pfnbuf_vm_of_link(const struct pfnbuf_link *link);
/* A reference, which pfnbuf_vm_free() gives back. NULL of NULL. */
struct pfnbuf_vm *pfnbuf_vm_ref(struct pfnbuf_vm *vm);
struct pfnbuf_ctx *pfnbuf_vm_ctx(const struct pfnbuf_vm *vm);
const char *pfnbuf_vm_name(const struct pfnbuf_vm *vm);
struct pfnbuf_vm_identity pfnbuf_vm_get_identity(const struct pfnbuf_vm *vm);
/* -EINVAL, on @object, where the guest_memfd is known to be another VM's. */
int pfnbuf_vm_check_maker(const struct pfnbuf_vm *vm, const struct pfnbuf_buf *buf,
			  const char *call, const char *object, const struct pfnbuf_range *range);
/* Whether a slot stands on part of [addr, addr + length) of this process. */
bool pfnbuf_vm_has_slot_over(struct pfnbuf_vm *vm, const void *addr, uint64_t length);
/*
 * pfnbuf_vm_set_slot() by a window, also of a device that is lent. @withdrawn: take an id for it
 * only, KVM is not told of it yet.
 */
int pfnbuf_vm_enter_slot(struct pfnbuf_vm *vm, const struct pfnbuf_slot *slot, bool withdrawn,
			 uint32_t *id);
/* A slot on a buffer of the device's: 1, and where it is; 0: there is none. */
int pfnbuf_vm_find_device(struct pfnbuf_vm *vm, const struct pfnbuf_device *device,
			  struct pfnbuf_range *range);
/* Delete a slot and keep its id and what it was; and set it again. Neither allocates. */
int pfnbuf_vm_withdraw_slot(struct pfnbuf_vm *vm, uint32_t id);
int pfnbuf_vm_put_back_slot(struct pfnbuf_vm *vm, uint32_t id);
/* Set attributes to what they were before. Allocates nothing. */
int pfnbuf_vm_put_back_attributes(struct pfnbuf_vm *vm, uint64_t gpa, uint64_t length,
				  uint64_t attributes);
/* Whether KVM has the slot as the ledger says: 1, 0, or a negative errno. A withdrawn one is. */
int pfnbuf_vm_verify_slot(struct pfnbuf_vm *vm, uint32_t id);
/* pfnbuf_vm_pre_fault() by a profile's request. */
int pfnbuf_vm_pre_fault_by(struct pfnbuf_vm *vm, uint64_t request, int vcpu_fd, uint64_t gpa,
			   uint64_t length);
/* Delete those slots, and drop the device from kvm-vfio: it is being closed. */
void pfnbuf_vm_drop_slots_over(struct pfnbuf_vm *vm, const void *addr, uint64_t length);
void pfnbuf_vm_drop_device(struct pfnbuf_vm *vm, struct pfnbuf_device *device);

/* ---------------------------------------------------------------- plan.c -------------------- */

/* A slot in a window's ledger. */
struct pfnbuf_window_slot {
	struct pfnbuf_node node; /* by offset into the window */
	uint64_t length;
	void *addr;			/* what it stands on */
	struct pfnbuf_buf *guest_memfd; /* or NULL; the window's reference */
	uint64_t guest_memfd_offset;
	uint32_t id;
	bool held; /* the VM has it under @id, set or withdrawn */
};

/* An area to be mapped, or one that is. */
struct pfnbuf_plan_area {
	struct pfnbuf_buf *buf; /* NULL: memory of this process */
	uint64_t offset;	/* or its address */
	uint64_t iova;
	uint64_t length;
};

/* What an IOAS mapped, and was taken out of it. */
struct pfnbuf_pin {
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_node *kept;
};

/* Who made a plan. */
struct pfnbuf_plan_owner {
	int (*check)(struct pfnbuf_plan_owner *owner, struct pfnbuf_plan *plan);
	/*
	 * Take out the area that holds a page of a guest_memfd's. Returns 1; -EBUSY: it is another
	 * window's; -EAGAIN: nobody here has it.
	 */
	int (*unpin)(struct pfnbuf_plan_owner *owner, struct pfnbuf_buf *buf, uint64_t offset,
		     struct pfnbuf_pin *pin);
	void (*release)(struct pfnbuf_plan_owner *owner);
};

/* What a plan works on, and where its owner is to be afterwards. */
struct pfnbuf_plan_goal {
	struct pfnbuf_plan_owner *owner; /* a reference, which the plan releases */
	const struct pfnbuf_kernel *kernel;
	struct pfnbuf_ioas *ioas;   /* or NULL */
	struct pfnbuf_vm *vm;	    /* or NULL */
	unsigned long gmem_request; /* KVM_SET_MEMORY_ATTRIBUTES2, as the profile has it; 0 */
	unsigned map_flags;
	unsigned slot_flags;
	struct pfnbuf_layout *layout; /* the plan frees it */
	struct pfnbuf_range changed;  /* outside of it the owner's layout is the same */
	uint64_t gpa;
	uint64_t iova;
	bool suspended;
	uint64_t version;    /* of the owner, when the plan was made */
	uint64_t generation; /* of its device */
};

/* An inverse, or a discard, that is refused for such a reason may well succeed in a moment. */
#define PFNBUF_UNDO_TRIES 3

static inline bool pfnbuf_may_pass(int code)
{
	return code == -EINTR || code == -EAGAIN || code == -EBUSY;
}

/* Give back memory at an address of this process. */
int pfnbuf_advise(const struct pfnbuf_kernel *kernel, uint64_t start, uint64_t length);

/* Takes what @goal refers to, also on failure. */
int pfnbuf_plan_new(const struct pfnbuf_plan_goal *goal, struct pfnbuf_plan **planp);
struct pfnbuf_plan_goal *pfnbuf_plan_goal(struct pfnbuf_plan *plan);
/* A step as the plan's print has it, as snprintf() does; @i counts from 0. */
size_t pfnbuf_step_print(const struct pfnbuf_step *step, size_t i, char *buf, size_t size);
size_t pfnbuf_step_print_json(const struct pfnbuf_step *step, char *buf, size_t size);
/* In nanoseconds, from some moment on. */
uint64_t pfnbuf_now(void);

/* Append a step. @join: the area may go with the call of the step in front, which unmaps, too. */
int pfnbuf_plan_unmap(struct pfnbuf_plan *plan, const struct pfnbuf_plan_area *area, bool join,
		      const char *reason);
int pfnbuf_plan_map(struct pfnbuf_plan *plan, const struct pfnbuf_plan_area *area,
		    const char *reason);
int pfnbuf_plan_delete_slot(struct pfnbuf_plan *plan, struct pfnbuf_window_slot *slot, uint64_t gpa,
			    const char *reason);
/* The plan takes @slot and frees it, unless it ran and has been detached; also on failure. */
int pfnbuf_plan_set_slot(struct pfnbuf_plan *plan, struct pfnbuf_window_slot *slot, uint64_t gpa,
			 const char *reason);
int pfnbuf_plan_move_slot(struct pfnbuf_plan *plan, struct pfnbuf_window_slot *slot, uint64_t gpa,
			  uint64_t to, const char *reason);

/*
 * Of the VM, or of a guest_memfd: @buf, to which the plan takes a reference. @to: 0 or
 * PFNBUF_ATTRIBUTE_PRIVATE; now all of it is the other.
 */
int pfnbuf_plan_set_attributes(struct pfnbuf_plan *plan, struct pfnbuf_buf *buf,
			       const struct pfnbuf_range *range, uint64_t to, const char *reason);
/* Of a buffer, to which the plan takes a reference, or NULL: at an address of this process. */
int pfnbuf_plan_discard(struct pfnbuf_plan *plan, struct pfnbuf_buf *buf,
			const struct pfnbuf_range *range, const char *reason);

/* Somebody will see it when it has run, and how long each step took. */
void pfnbuf_plan_take_times(struct pfnbuf_plan *plan);

/* What can be said of the steps without entering the kernel, but for the IOAS's addresses. */
int pfnbuf_plan_check_steps(const struct pfnbuf_plan *plan);
/*
 * Run it but for its discards, or undo it. @withdrawn: slots are entered without telling KVM.
 * Returns 0 or the first failure, of which the last-error record speaks.
 */
int pfnbuf_plan_run(struct pfnbuf_plan *plan, bool withdrawn);
/* Undo a plan that has run. */
void pfnbuf_plan_undo(struct pfnbuf_plan *plan, bool withdrawn);
/*
 * It has run, and that shall stand: forget what undoing takes, and discard. Returns 1 where some
 * memory could not be given back, of which the last-error record speaks; else 0.
 */
int pfnbuf_plan_settle(struct pfnbuf_plan *plan);
bool pfnbuf_plan_maps(const struct pfnbuf_plan *plan);
bool pfnbuf_plan_unmaps(const struct pfnbuf_plan *plan);
bool pfnbuf_plan_has_run(const struct pfnbuf_plan *plan);
/* The step that could not be undone, or NULL. */
bool pfnbuf_plan_get_stuck(const struct pfnbuf_plan *plan, struct pfnbuf_step *step);
/*
 * The slot of step @i, NULL where the step has none, and whether it is to be entered in the ledger
 * or to leave it. The plan forgets it.
 */
struct pfnbuf_window_slot *pfnbuf_plan_take_slot(struct pfnbuf_plan *plan, size_t i, bool *enters);

/* ---------------------------------------------------------------- window.c ------------------ */

/* Whether it is RAM in this VM, and [gpa, gpa + length) meets it. Takes no lock: it may move. */
bool pfnbuf_window_meets(struct pfnbuf_window *window, const struct pfnbuf_vm *vm, uint64_t gpa,
			 uint64_t length);
struct pfnbuf_window *pfnbuf_window_of_link(const struct pfnbuf_link *link);
pthread_mutex_t *pfnbuf_window_lock(struct pfnbuf_window *window);

/*
 * With the window's lock held, and that of the topology: plan conversions (@of_guest: of guest
 * physical addresses, as far as they meet the window; else of offsets, which are checked); run the
 * plan, or undo it; and then either undo what has run, or let it stand. Returns of try() and
 * settle() are those of pfnbuf_window_apply(). *planp is NULL where nothing has to change.
 */
int pfnbuf_window_plan_conversions(struct pfnbuf_window *window, bool of_guest,
				   const struct pfnbuf_conversion *list, size_t n,
				   struct pfnbuf_plan **planp);
int pfnbuf_window_try(struct pfnbuf_window *window, struct pfnbuf_plan *plan);
void pfnbuf_window_take_back(struct pfnbuf_window *window, struct pfnbuf_plan *plan);
int pfnbuf_window_settle(struct pfnbuf_window *window, struct pfnbuf_plan *plan);

/*
 * The same at once, and with the same locks, where all that is asked for is single granules that
 * turn. Returns PFNBUF_NOT_TURNED where it is not; else as pfnbuf_window_apply().
 */
int pfnbuf_window_turn_granules(struct pfnbuf_window *window, bool of_guest,
				const struct pfnbuf_conversion *list, size_t n);
#define PFNBUF_NOT_TURNED 2

/* What waits for a window, and ends with it: end() frees it, and is called without a lock. */
struct pfnbuf_waiter {
	struct pfnbuf_link link;
	void (*end)(struct pfnbuf_waiter *waiter);
};

struct pfnbuf_ctx *pfnbuf_window_ctx(const struct pfnbuf_window *window);
/* Whether a conversion is tried again (PFNBUF_PLACE_RETRY). */
bool pfnbuf_window_retries(const struct pfnbuf_window *window);
/* The list of waiters; with the window's lock held. */
struct pfnbuf_link *pfnbuf_window_waiters(struct pfnbuf_window *window);
/* Tell what became of conversions that waited; with the window's lock held. */
void pfnbuf_window_tell_converted(struct pfnbuf_window *window, bool of_guest,
				  const struct pfnbuf_conversion *list, size_t n, int result);

/* What conversions of a part of guest memory would find there. */
struct pfnbuf_window_view {
	bool is_memory; /* some of it is no hole */
	bool differs;	/* some of that is not as it shall be */
	bool is_suspended;
};

/* Look at [gpa, gpa + length) as far as it meets the window. Takes its lock. */
void pfnbuf_window_look(struct pfnbuf_window *window, const struct pfnbuf_conversion *conversion,
			struct pfnbuf_window_view *view);

/* ---------------------------------------------------------------- journal.c ----------------- */

/* Steps that were taken, or will be, one after the other, whoever took them. */
struct pfnbuf_journal {
	struct pfnbuf_journal_entry *entries;
	size_t nr;
	size_t max;
	size_t lost; /* that there was no memory for */
};

#define PFNBUF_JOURNAL_LOST SIZE_MAX

/* Add a step that has not run. Returns its number, to be told of its result. @reason is static. */
size_t pfnbuf_journal_add(struct pfnbuf_journal *journal, enum pfnbuf_step_kind kind,
			  const char *object, const struct pfnbuf_range *range, const char *reason);
/* It begins now; and it ended. A step that was lost is not missed. */
void pfnbuf_journal_begin(struct pfnbuf_journal *journal, size_t i);
int pfnbuf_journal_end(struct pfnbuf_journal *journal, size_t i, int result);
/* Add a plan's steps, run or not. */
void pfnbuf_journal_add_plan(struct pfnbuf_journal *journal, const struct pfnbuf_plan *plan);
void pfnbuf_journal_copy(struct pfnbuf_journal *journal, const struct pfnbuf_journal *from,
			 size_t i);
void pfnbuf_journal_clear(struct pfnbuf_journal *journal);
/* As pfnbuf_plan_print() and pfnbuf_plan_print_json(). */
size_t pfnbuf_journal_print(const struct pfnbuf_journal *journal, char *buf, size_t size);
size_t pfnbuf_journal_print_json(const struct pfnbuf_journal *journal, char *buf, size_t size);

/* ---------------------------------------------------------------- window_bind.c ------------- */

/* What a bind knows of a window. */
struct pfnbuf_window_part {
	struct pfnbuf_device *device; /* NULL: RAM */
	struct pfnbuf_vm *vm;	      /* or NULL */
	struct pfnbuf_ioas *ioas;     /* or NULL */
	unsigned bar;
	struct pfnbuf_range range; /* in the BAR */
	uint64_t gpa;
	const char *name;
};

void pfnbuf_window_get_part(struct pfnbuf_window *window, struct pfnbuf_window_part *part);
/* Let a change that is under way end, if it is a window of this device's. */
void pfnbuf_window_await(struct pfnbuf_window *window, const struct pfnbuf_device *device);

/*
 * The window of a bind. All but the first two with the device's gate held, by the bind that the
 * window is lent to; nobody else changes it until it is given back.
 */
struct pfnbuf_bind;

/* -EBUSY: another bind has it, or slots of it are withdrawn; -ENODEV, -ENOTRECOVERABLE, -ENOMEM. */
int pfnbuf_window_lend(struct pfnbuf_window *window, struct pfnbuf_bind *bind);
void pfnbuf_window_give_back(struct pfnbuf_window *window);
/* Add to the journal the steps that pfnbuf_window_withdraw() and _close_buffers() would take. */
void pfnbuf_window_plan_withdraw(struct pfnbuf_window *window, struct pfnbuf_journal *journal);
/* Take away all that is placed, or fail and leave all. 1, or 0: nothing was. */
int pfnbuf_window_withdraw(struct pfnbuf_window *window, struct pfnbuf_journal *journal);
/* Then unmap and close what stood behind it, or fail and leave it open. */
int pfnbuf_window_close_buffers(struct pfnbuf_window *window, struct pfnbuf_journal *journal);
/*
 * Open what the layout needs: for each shared run a dma-buf and a mapping, for each private one a
 * dma-buf where @private_slots; or fail and open none. NULL: what the window had when it was lent;
 * or fail and leave some open, which calling again is for.
 */
int pfnbuf_window_open_buffers(struct pfnbuf_window *window, const struct pfnbuf_layout *layout,
			       bool private_slots, bool private_attribute,
			       struct pfnbuf_journal *journal);
/* Place what was opened, or fail and place none. */
int pfnbuf_window_place(struct pfnbuf_window *window, struct pfnbuf_journal *journal);
/* Make holes of what is private, or fail and leave it. */
int pfnbuf_window_drop_private(struct pfnbuf_window *window, struct pfnbuf_journal *journal);
/* Add what of it the guest sees as shared, and as private; where it is not known, what it may see. */
void pfnbuf_window_count_shown(struct pfnbuf_window *window, uint64_t *shared, uint64_t *private);
bool pfnbuf_window_is_quarantined(struct pfnbuf_window *window);
/* Also where the device is closed. */
void pfnbuf_window_quarantine(struct pfnbuf_window *window, const char *reason);

/* ---------------------------------------------------------------- bind.c -------------------- */

/* A window that is lent to it is being freed: unlock it and forget the window. */
void pfnbuf_bind_forget_window(struct pfnbuf_bind *bind, struct pfnbuf_window *window);

#endif /* PFNBUF_PRIVATE_H */
