/* SPDX-License-Identifier: MIT */
/*
 * A VFIO PCI device.
 *
 * The kernel revokes a device's dma-bufs without telling anyone. The library knows because every
 * call that can revoke them is made here, between begin() and settle(): begin() raises the
 * generation and suspends the buffers before the kernel is entered; settle() asks the device
 * whether its memory is on and, if so, makes them live again. A buffer derives its state and
 * generation from its device's, so neither walks the buffers, allocates or can fail.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "private.h"
#include "uapi/pci.h"
#include "uapi/vfio.h"

#define NR_BARS 6

/*
 * A VFIO region's place in the device's file (VFIO_PCI_INDEX_TO_OFFSET,
 * include/linux/vfio_pci_core.h).
 */
#define REGION_OFFSET(index) ((uint64_t)(index) << 40)

struct bar {
	struct pfnbuf_bar info;
	struct pfnbuf_range *sparse; /* info.nr_sparse of them */
};

/* A slice of a BAR in this process. */
struct bar_mapping {
	struct pfnbuf_link link;
	void *addr;
	uint64_t length;
};

struct notice {
	struct pfnbuf_watch watch; /* an eventfd that the kernel signals */
	struct pfnbuf_device *device;
	enum pfnbuf_event_type type;
	uint32_t irq;
	atomic_ullong count; /* of times it was given */
};

struct pfnbuf_device {
	struct pfnbuf_link link;
	struct pfnbuf_ctx *ctx;
	atomic_uint refs;
	char name[PFNBUF_NAME_MAX];
	char bdf[16];
	char cdev[32];
	int fd;
	bool borrowed;
	_Atomic(void *) user;

	/* The generation, shifted up, and the state of the buffers in the two low bits. */
	_Atomic uint64_t revocation;

	_Atomic uint32_t devid; /* 0: not bound */
	atomic_bool learned;	/* what follows is filled in, for good */
	struct vfio_device_info info;
	struct pfnbuf_pci pci;
	struct bar bars[NR_BARS];
	bool is_vf;

	pthread_mutex_t gate;		   /* binding to a guest, and calls that revoke */
	struct pfnbuf_bind_hook *bound_to; /* with the gate held */
	atomic_bool failed;		   /* an error notice that @bound_to has not heard of */
	atomic_int lent;		   /* enum pfnbuf_lending */
	pthread_rwlock_t access;	   /* to the bytes of its BARs, and what follows */
	const struct pfnbuf_tdi_layouts *report; /* of its bind, where it has one */
	struct pfnbuf_work tell_bind;		 /* of it; holds a reference while it is queued */

	pthread_mutex_t lock; /* what follows, and every call that changes the device */
	bool low_power;
	bool bracketed;
	bool has_live_export;	  /* exported live while the others are suspended */
	struct pfnbuf_ioas *ioas; /* attached to */
	uint32_t ioas_id;
	struct pfnbuf_link mappings;
	struct pfnbuf_link hooks; /* windows that stand on the device */
	struct notice removal;
	struct notice error;
};

static const struct pfnbuf_kernel *kernel(const struct pfnbuf_device *device)
{
	return pfnbuf_ctx_get_kernel(device->ctx);
}

static int device_ioctl(const struct pfnbuf_device *device, unsigned long request, void *arg)
{
	return k_ioctl(kernel(device), device->fd, request, arg);
}

/* ---------------------------------------------------------------- revocation ---------------- */

static uint64_t pack(struct pfnbuf_revocation r)
{
	return r.generation << 2 | (uint64_t)r.state;
}

static struct pfnbuf_revocation unpack(uint64_t packed)
{
	return (struct pfnbuf_revocation){
		.generation = packed >> 2,
		.state = (enum pfnbuf_state)(packed & 3),
	};
}

struct pfnbuf_revocation pfnbuf_device_revocation(const struct pfnbuf_device *device)
{
	return unpack(atomic_load(&device->revocation));
}

uint64_t pfnbuf_device_get_generation(const struct pfnbuf_device *device)
{
	return pfnbuf_device_revocation(device).generation;
}

static struct pfnbuf_event event_of(struct pfnbuf_device *device, enum pfnbuf_event_type type,
				    enum pfnbuf_cause cause)
{
	return (struct pfnbuf_event){
		.type = type,
		.cause = cause,
		.device = device,
		.user = atomic_load(&device->user),
		.generation = pfnbuf_device_get_generation(device),
	};
}

static void tell(struct pfnbuf_device *device, enum pfnbuf_event_type type, enum pfnbuf_cause cause)
{
	const struct pfnbuf_event event = event_of(device, type, cause);

	pfnbuf_ctx_push_event(device->ctx, &event, false);
}

static struct pfnbuf_revoke_hook *hook_of(struct pfnbuf_link *link)
{
	return pfnbuf_container_of(link, struct pfnbuf_revoke_hook, link);
}

int pfnbuf_device_hook(struct pfnbuf_device *device, struct pfnbuf_revoke_hook *hook)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	const enum pfnbuf_state state = pfnbuf_device_revocation(device).state;

	if (state == PFNBUF_DEAD)
		return pfnbuf_refused(-ENODEV, "pfnbuf_window_new_bar", device->name, NULL, "",
				      "the device is closed");
	pfnbuf_list_add_tail(&device->hooks, &hook->link);
	if (state != PFNBUF_LIVE)
		hook->suspend(hook);
	return 0;
}

void pfnbuf_device_unhook(struct pfnbuf_device *device, struct pfnbuf_revoke_hook *hook)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);

	pfnbuf_list_del(&hook->link);
}

/* ---------------------------------------------------------------- the gate ------------------ */

static void hear_error(struct pfnbuf_device *device)
{
	if (atomic_exchange(&device->failed, false) && device->bound_to)
		device->bound_to->error(device->bound_to);
}

void pfnbuf_device_hold(struct pfnbuf_device *device)
{
	pthread_mutex_lock(&device->gate);
}

/* An error that came while the gate was held is heard before it opens, or right after. */
void pfnbuf_device_let_go(struct pfnbuf_device *device)
{
	do {
		hear_error(device);
		pthread_mutex_unlock(&device->gate);
	} while (atomic_load(&device->failed) && !pthread_mutex_trylock(&device->gate));
}

static void tell_bind(struct pfnbuf_work *work)
{
	struct pfnbuf_device *device = pfnbuf_container_of(work, struct pfnbuf_device, tell_bind);

	if (!pthread_mutex_trylock(&device->gate))
		pfnbuf_device_let_go(device);
	pfnbuf_device_unref(device);
}

/* Dispatch never waits for the gate, nor may it be taken under the dispatch lock. */
static void note_error(struct pfnbuf_device *device)
{
	atomic_store(&device->failed, true);
	pfnbuf_device_ref(device);
	if (!pfnbuf_ctx_defer(device->ctx, &device->tell_bind))
		pfnbuf_device_unref(device);
}

static struct pfnbuf_device *held_gate(struct pfnbuf_device *device)
{
	pfnbuf_device_hold(device);
	return device;
}

static void cleanup_let_go(struct pfnbuf_device **device)
{
	pfnbuf_device_let_go(*device);
}

#define cleanup_gate __attribute__((cleanup(cleanup_let_go), unused))

int pfnbuf_device_set_bind(struct pfnbuf_device *device, struct pfnbuf_bind_hook *hook)
{
	int r;

	if (pfnbuf_device_revocation(device).state == PFNBUF_DEAD)
		return pfnbuf_refused(-ENODEV, "pfnbuf_bind_new", device->name, NULL, "",
				      "the device is closed");
	if (device->bound_to)
		return pfnbuf_refused(-EBUSY, "pfnbuf_bind_new", device->name, NULL,
				      "free the other one first", "the device has a bind");
	r = pfnbuf_device_check_not_lent(device, "pfnbuf_bind_new", device->name, NULL);
	if (r < 0)
		return r;
	device->bound_to = hook;
	/* What went wrong before is not this one's. */
	atomic_store(&device->failed, false);
	return 0;
}

void pfnbuf_device_clear_bind(struct pfnbuf_device *device, const struct pfnbuf_bind_hook *hook)
{
	if (device->bound_to == hook)
		device->bound_to = NULL;
}

int pfnbuf_device_unbind_first(struct pfnbuf_device *device, const char *call,
			       enum pfnbuf_cause cause)
{
	const struct pfnbuf_error *e;
	char why[320];

	if (!device->bound_to || device->bound_to->unbind(device->bound_to, cause) >= 0)
		return 0;
	e = pfnbuf_last_error_record();
	snprintf(why, sizeof(why), "%s: %s: %.200s", e->call, pfnbuf_errno_name(e->code),
		 e->code == -ENOTRECOVERABLE ? "the bind is quarantined" : e->cause);
	return pfnbuf_refused(-EBUSY, call, device->name, NULL,
			      "pfnbuf_bind_get_info() says what the bind is in",
			      "the device is bound to a guest, and unbinding it failed: %s", why);
}

int pfnbuf_device_find_reached(struct pfnbuf_ctx *ctx,
			       int (*reaches)(const struct pfnbuf_device *device, const void *data),
			       const void *data, struct pfnbuf_reached *reached)
{
	cleanup_rwunlock pthread_rwlock_t *topology = pfnbuf_ctx_hold(ctx);
	const struct pfnbuf_link *devices = pfnbuf_ctx_list(ctx, PFNBUF_LIST_DEVICES);

	for (const struct pfnbuf_link *l = devices->next; l != devices; l = l->next) {
		struct pfnbuf_device *device = pfnbuf_device_of_link(l);
		int r = reaches(device, data);

		if (r > 0 && reached->nr == PFNBUF_MAX_REACHED)
			r = -ENOSPC;
		if (r < 0)
			return r;
		if (r > 0)
			reached->devices[reached->nr++] = pfnbuf_device_ref(device);
	}
	return 0;
}

int pfnbuf_device_unbind_reached(struct pfnbuf_reached *reached, const char *call,
				 enum pfnbuf_cause cause)
{
	int r = 0;

	for (; reached->nr_held < reached->nr; reached->nr_held++)
		pfnbuf_device_hold(reached->devices[reached->nr_held]);
	for (size_t i = 0; r >= 0 && i < reached->nr; i++)
		r = pfnbuf_device_unbind_first(reached->devices[i], call, cause);
	return r;
}

void pfnbuf_device_release_reached(struct pfnbuf_reached *reached)
{
	while (reached->nr_held)
		pfnbuf_device_let_go(reached->devices[--reached->nr_held]);
	while (reached->nr)
		pfnbuf_device_unref(reached->devices[--reached->nr]);
}

int pfnbuf_device_check_quiet(struct pfnbuf_device *device, const char *call)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);

	if (device->bracketed)
		return pfnbuf_refused(-EBUSY, call, device->name, NULL,
				      "call pfnbuf_device_revoke_end() first", "a bracket is open");
	if (pfnbuf_device_revocation(device).state != PFNBUF_LIVE)
		return pfnbuf_refused(-ENODEV, call, device->name, NULL,
				      "turn memory decode on, or leave low power, first",
				      "the device's memory is off, or it is closed");
	return 0;
}

/* ---------------------------------------------------------------- brackets ------------------ */

/* Before a call that may revoke. Where nothing is live there is nothing to revoke. */
static void begin(struct pfnbuf_device *device, enum pfnbuf_cause cause)
{
	struct pfnbuf_revocation r = pfnbuf_device_revocation(device);

	if (r.state != PFNBUF_LIVE && !device->has_live_export)
		return;
	r.generation++;
	r.state = PFNBUF_SUSPENDED;
	device->has_live_export = false;
	atomic_store(&device->revocation, pack(r));
	tell(device, PFNBUF_EVENT_REVOKED, cause);
	for (struct pfnbuf_link *l = device->hooks.next; l != &device->hooks; l = l->next)
		hook_of(l)->suspend(hook_of(l));
}

static int read_config(const struct pfnbuf_device *device, uint64_t offset, void *data,
		       size_t length)
{
	ssize_t n = k_pread(kernel(device), device->fd, data, length,
			    REGION_OFFSET(VFIO_PCI_CONFIG_REGION_INDEX) + offset);

	if (n < 0)
		return (int)n;
	return (size_t)n == length ? 0 : -EIO;
}

/*
 * The kernel's own predicate: drivers/vfio/pci/vfio_pci_config.c:__vfio_pci_memory_enabled. A
 * negative errno where the device cannot be asked.
 */
static int memory_enabled(const struct pfnbuf_device *device)
{
	uint8_t command[2], pmcsr[2];
	int r = read_config(device, PCI_COMMAND, command, sizeof(command));

	if (r < 0)
		return r;
	if (!device->is_vf && !(command[0] & PCI_COMMAND_MEMORY))
		return 0;
	if (!device->pci.pm)
		return 1;
	r = read_config(device, device->pci.pm + PCI_PM_CTRL, pmcsr, sizeof(pmcsr));
	if (r < 0)
		return r;
	return (pmcsr[0] & PCI_PM_CTRL_STATE_MASK) != 3;
}

/* After a call that may have revoked or restored. */
static void settle(struct pfnbuf_device *device)
{
	struct pfnbuf_revocation r = pfnbuf_device_revocation(device);
	int enabled;

	if (device->bracketed || r.state != PFNBUF_SUSPENDED)
		return;
	enabled = memory_enabled(device);
	if (enabled < 0)
		pfnbuf_ctx_log(device->ctx, PFNBUF_LOG_WARNING,
			       "%s: cannot tell whether its memory is on (%s): its buffers stay "
			       "suspended until a bracket or another call asks again",
			       device->name, pfnbuf_errno_name(enabled));
	if (enabled <= 0)
		return;
	r.state = PFNBUF_LIVE;
	atomic_store(&device->revocation, pack(r));
	tell(device, PFNBUF_EVENT_LIVE, PFNBUF_CAUSE_NONE);
}

static int check_bracket(struct pfnbuf_device *device)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);

	if (!device->learned)
		return pfnbuf_refused(-EINVAL, "pfnbuf_device_revoke_begin", device->name, NULL,
				      "bind it first", "the device is not bound");
	if (device->bracketed)
		return pfnbuf_refused(-EALREADY, "pfnbuf_device_revoke_begin", device->name, NULL,
				      "end the other bracket first", "a bracket is open");
	return 0;
}

int pfnbuf_device_revoke_begin(struct pfnbuf_device *device, enum pfnbuf_cause cause)
{
	cleanup_gate struct pfnbuf_device *gate = held_gate(device);
	cleanup_unlock pthread_mutex_t *held = NULL;
	int r = check_bracket(device);

	if (r >= 0)
		r = pfnbuf_device_unbind_first(device, "pfnbuf_device_revoke_begin", cause);
	held = pfnbuf_locked(&device->lock);
	if (r < 0)
		return r;
	begin(device, cause);
	device->bracketed = true;
	return 0;
}

int pfnbuf_device_revoke_end(struct pfnbuf_device *device)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);

	if (!device->bracketed)
		return pfnbuf_refused(-EINVAL, "pfnbuf_device_revoke_end", device->name, NULL, "",
				      "no bracket is open");
	device->bracketed = false;
	settle(device);
	return 0;
}

/* ---------------------------------------------------------------- opening ------------------- */

static struct pfnbuf_device *allocate(struct pfnbuf_ctx *ctx)
{
	struct pfnbuf_device *device = calloc(1, sizeof(*device));

	if (!device)
		return NULL;
	device->ctx = pfnbuf_ctx_ref(ctx);
	device->refs = 1;
	device->fd = -1;
	device->removal.watch.fd = -1;
	device->error.watch.fd = -1;
	atomic_init(&device->revocation,
		    pack((struct pfnbuf_revocation){ .generation = 1, .state = PFNBUF_SUSPENDED }));
	pfnbuf_list_init(&device->link);
	pfnbuf_list_init(&device->mappings);
	pfnbuf_list_init(&device->hooks);
	pfnbuf_list_init(&device->tell_bind.link);
	device->tell_bind.run = tell_bind;
	pthread_mutex_init(&device->gate, NULL);
	pthread_rwlock_init(&device->access, NULL);
	pthread_mutex_init(&device->lock, NULL);
	return device;
}

struct pfnbuf_device *pfnbuf_device_ref(struct pfnbuf_device *device)
{
	atomic_fetch_add(&device->refs, 1);
	return device;
}

struct pfnbuf_device *pfnbuf_device_unref(struct pfnbuf_device *device)
{
	if (!device || atomic_fetch_sub(&device->refs, 1) != 1)
		return NULL;
	for (unsigned bar = 0; bar < NR_BARS; bar++)
		free(device->bars[bar].sparse);
	pthread_mutex_destroy(&device->lock);
	pthread_rwlock_destroy(&device->access);
	pthread_mutex_destroy(&device->gate);
	pfnbuf_ctx_unref(device->ctx);
	free(device);
	return NULL;
}

static void cleanup_unref(struct pfnbuf_device **device)
{
	pfnbuf_device_unref(*device);
}

#define cleanup_device __attribute__((cleanup(cleanup_unref)))

/* Whether sysfs has this file or folder; a folder too long to list is there all the same. */
static bool sysfs_has(struct pfnbuf_ctx *ctx, const char *folder, const char *name)
{
	char names[4096];
	ssize_t n = k_list(pfnbuf_ctx_get_kernel(ctx), folder, names, sizeof(names));

	if (!name)
		return n >= 0 || n == -ERANGE;
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1)
		if (!strcmp(names + at, name))
			return true;
	return false;
}

/* The last part of what a symbolic link of the device's folder points at: its driver's name. */
static void read_link_name(struct pfnbuf_ctx *ctx, const char *folder, const char *link, char *out,
			   size_t size)
{
	char path[512], target[512];
	const char *name;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", folder, link);
	n = k_readlink(pfnbuf_ctx_get_kernel(ctx), path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	name = strrchr(target, '/');
	pfnbuf_copy_text(out, size, name ? name + 1 : target);
}

static int not_a_vfio_device(struct pfnbuf_ctx *ctx, const char *object, const char *bdf,
			     const char *folder)
{
	char driver[64], hint[256];

	read_link_name(ctx, folder, "driver", driver, sizeof(driver));
	snprintf(hint, sizeof(hint),
		 "as root: cd %.64s/bus/pci/devices/%s; echo vfio-pci > driver_override; %s%s%s"
		 "echo %s > ../../drivers_probe",
		 pfnbuf_ctx_sysfs(ctx), bdf, *driver ? "echo " : "", *driver ? bdf : "",
		 *driver ? " > driver/unbind; " : "", bdf);
	return pfnbuf_refused(-ENODEV, "open VFIO cdev", object, NULL, hint,
			      "the device is not bound to a VFIO driver (its driver: %s)",
			      *driver ? driver : "none");
}

/* The name of the VFIO cdev that stands for a PCI device. */
static int find_cdev(struct pfnbuf_ctx *ctx, const char *object, const char *bdf, char *name,
		     size_t size)
{
	cleanup_free char *folder = NULL;
	char path[512], names[256];
	ssize_t n;

	if (asprintf(&folder, "%s/bus/pci/devices/%s", pfnbuf_ctx_sysfs(ctx), bdf) < 0) {
		folder = NULL;
		return pfnbuf_failed(-ENOMEM, "open VFIO cdev", object, NULL);
	}
	if (!sysfs_has(ctx, folder, NULL))
		return pfnbuf_refused(-ENOENT, "open VFIO cdev", object, NULL,
				      "lspci -D lists them",
				      "no PCI device has this address (%s does not exist)", folder);
	snprintf(path, sizeof(path), "%s/vfio-dev", folder);
	n = k_list(pfnbuf_ctx_get_kernel(ctx), path, names, sizeof(names));
	if (n <= 0)
		return not_a_vfio_device(ctx, object, bdf, folder);
	snprintf(path, sizeof(path), "%s/vfio-dev/%s", folder, names);
	if (!sysfs_has(ctx, path, "dev"))
		return pfnbuf_refused(
			-ENODEV, "open VFIO cdev", object, NULL,
			"boot a kernel with CONFIG_VFIO_DEVICE_CDEV (it needs CONFIG_IOMMUFD; "
			"Debian's stock kernels have neither)",
			"this kernel has no VFIO cdevs");
	pfnbuf_copy_text(name, size, names);
	return 0;
}

static int open_cdev(struct pfnbuf_ctx *ctx, const char *object, const char *cdev)
{
	cleanup_free char *path = NULL;
	int fd;

	if (asprintf(&path, "%s/vfio/devices/%s", pfnbuf_ctx_devtmpfs(ctx), cdev) < 0) {
		path = NULL;
		return pfnbuf_failed(-ENOMEM, "open VFIO cdev", object, NULL);
	}
	fd = k_open(pfnbuf_ctx_get_kernel(ctx), path, O_RDWR | O_CLOEXEC);
	if (fd == -ENOENT)
		return pfnbuf_refused(fd, "open VFIO cdev", object, NULL,
				      "mount devtmpfs, or make the node",
				      "sysfs names the cdev, but there is no node %s", path);
	return fd < 0 ? pfnbuf_failed(fd, "open VFIO cdev", object, NULL) : fd;
}

int pfnbuf_device_open(struct pfnbuf_ctx *ctx, const char *bdf, struct pfnbuf_device **devicep)
{
	cleanup_device struct pfnbuf_device *device = NULL;
	char object[PFNBUF_NAME_MAX];
	char address[16];
	int r;

	snprintf(object, sizeof(object), "device %.40s", bdf);
	r = pfnbuf_pci_parse_bdf(bdf, address);
	if (r < 0)
		return pfnbuf_refused(r, "pfnbuf_device_open", object, NULL,
				      "write it as DDDD:BB:DD.F, as in 0000:01:00.0",
				      "not a PCI address");
	device = allocate(ctx);
	if (!device)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_device_open", object, NULL);
	snprintf(device->bdf, sizeof(device->bdf), "%s", address);
	snprintf(device->name, sizeof(device->name), "device %s", address);
	r = find_cdev(ctx, device->name, device->bdf, device->cdev, sizeof(device->cdev));
	if (r < 0)
		return r;
	r = open_cdev(ctx, device->name, device->cdev);
	if (r < 0)
		return r;
	device->fd = r;
	pfnbuf_ctx_link(ctx, PFNBUF_LIST_DEVICES, &device->link);
	*devicep = device;
	device = NULL;
	return 0;
}

/*
 * The path of a VFIO device in sysfs, as its fd's fdinfo gives it, into @path; "" where it does
 * not.
 */
static void read_syspath(const struct pfnbuf_device *device, char *path, size_t size)
{
	static const char key[] = "vfio-device-syspath: ";
	const struct pfnbuf_kernel *k = kernel(device);
	char name[64], text[1024], *at;
	ssize_t n;
	int fd;

	*path = '\0';
	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", device->fd);
	fd = k_open(k, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = k_read(k, fd, text, sizeof(text) - 1);
	pfnbuf_ctx_close_fd(device->ctx, fd, device->name);
	text[n > 0 ? n : 0] = '\0';
	at = strstr(text, key);
	if (!at)
		return;
	at += strlen(key);
	at[strcspn(at, "\n")] = '\0';
	pfnbuf_copy_text(path, size, at);
}

/* It is the PCI device's: /sys/devices/.../0000:01:00.0 (drivers/vfio/vfio_main.c). */
static void name_from_fdinfo(struct pfnbuf_device *device)
{
	char path[512], names[256];
	const char *last;

	snprintf(device->name, sizeof(device->name), "device fd %d", device->fd);
	read_syspath(device, path, sizeof(path));
	last = strrchr(path, '/');
	if (!last || pfnbuf_pci_parse_bdf(last + 1, device->bdf) < 0)
		return;
	snprintf(device->name, sizeof(device->name), "device %s", device->bdf);
	snprintf(path, sizeof(path), "%.64s/bus/pci/devices/%s/vfio-dev",
		 pfnbuf_ctx_sysfs(device->ctx), device->bdf);
	if (k_list(kernel(device), path, names, sizeof(names)) > 0)
		pfnbuf_copy_text(device->cdev, sizeof(device->cdev), names);
}

/* Only a VFIO device answers this call with EINVAL: argsz 0 is refused before anything else. */
static int check_is_vfio(const struct pfnbuf_device *device)
{
	struct vfio_device_bind_iommufd probe = { .argsz = 0 };
	struct stat st;
	int r = k_fstat(kernel(device), device->fd, &st);

	if (r < 0)
		return pfnbuf_failed(r, "fstat", device->name, NULL);
	r = device_ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &probe);
	if (r != -EINVAL)
		return pfnbuf_refused(-ENOTTY, "pfnbuf_device_from_fd", device->name, NULL,
				      "hand in an fd of a node in /dev/vfio/devices",
				      "the fd is not a VFIO device");
	return 0;
}

static int learn(struct pfnbuf_device *device);
static void unwatch_notices(struct pfnbuf_device *device);

/* The fd stays the caller's on failure, so nothing of ours may stay in it. */
static int learn_or_leave(struct pfnbuf_device *device)
{
	int r = learn(device);

	if (r >= 0)
		return r;
	device->borrowed = true;
	unwatch_notices(device);
	return r;
}

int pfnbuf_device_from_fd(struct pfnbuf_ctx *ctx, int fd, unsigned flags, uint32_t devid,
			  struct pfnbuf_device **devicep)
{
	cleanup_device struct pfnbuf_device *device = NULL;
	char object[PFNBUF_NAME_MAX];
	int r;

	snprintf(object, sizeof(object), "device fd %d", fd);
	if (flags & ~(unsigned)(PFNBUF_FD_BORROWED | PFNBUF_FD_BOUND))
		return pfnbuf_refused(-EINVAL, "pfnbuf_device_from_fd", object, NULL, "",
				      "unknown flags 0x%x", flags);
	if ((flags & PFNBUF_FD_BOUND) && !devid)
		return pfnbuf_refused(-EINVAL, "pfnbuf_device_from_fd", object, NULL,
				      "pass the id that VFIO_DEVICE_BIND_IOMMUFD returned",
				      "a bound device has an object id above 0");
	device = allocate(ctx);
	if (!device)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_device_from_fd", object, NULL);
	device->fd = fd;
	device->borrowed = flags & PFNBUF_FD_BORROWED;
	name_from_fdinfo(device);
	r = check_is_vfio(device);
	if (r < 0)
		return r;
	if (flags & PFNBUF_FD_BOUND) {
		device->devid = devid;
		r = learn_or_leave(device);
		if (r < 0)
			return r;
	}
	pfnbuf_ctx_link(ctx, PFNBUF_LIST_DEVICES, &device->link);
	*devicep = device;
	device = NULL;
	return 0;
}

/* ---------------------------------------------------------------- binding ------------------- */

static void pass_on_notice(struct pfnbuf_watch *watch)
{
	struct notice *notice = pfnbuf_container_of(watch, struct notice, watch);
	const struct pfnbuf_event event = event_of(notice->device, notice->type, PFNBUF_CAUSE_NONE);

	/* First: who hears that events were lost finds it here. */
	atomic_fetch_add(&notice->count, 1);
	pfnbuf_ctx_push_event(notice->device->ctx, &event, true);
	if (notice->type == PFNBUF_EVENT_DEVICE_ERROR)
		note_error(notice->device);
}

static int set_trigger(struct pfnbuf_device *device, uint32_t irq, int32_t fd)
{
	struct {
		struct vfio_irq_set set;
		int32_t fd;
	} arg = {
		.set = {
			.argsz = sizeof(arg),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = irq,
			.count = 1,
		},
		.fd = fd,
	};

	return device_ioctl(device, VFIO_DEVICE_SET_IRQS, &arg);
}

/*
 * A device without this notice is as good as one that never gives it: say so in the log and go on.
 */
static int watch_notice(struct pfnbuf_device *device, struct notice *notice,
			enum pfnbuf_event_type type, uint32_t irq)
{
	int r, fd = k_eventfd(kernel(device), 0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return pfnbuf_failed(fd, "eventfd", device->name, NULL);
	*notice = (struct notice){
		.watch = { .fd = fd, .ready = pass_on_notice },
		.device = device,
		.type = type,
		.irq = irq,
	};
	r = pfnbuf_ctx_watch(device->ctx, &notice->watch);
	if (r >= 0) {
		r = set_trigger(device, irq, fd);
		if (r >= 0)
			return 0;
		pfnbuf_ctx_unwatch(device->ctx, &notice->watch);
		if (r == -EINVAL || r == -ENOTTY) {
			pfnbuf_ctx_log(device->ctx, PFNBUF_LOG_INFO, "%s: no %s notice (%s)",
				       device->name, pfnbuf_event_type_name(type),
				       pfnbuf_errno_name(r));
			r = 0;
		} else {
			pfnbuf_failed(r, "VFIO_DEVICE_SET_IRQS", device->name, NULL);
		}
	}
	k_close(kernel(device), fd);
	notice->watch.fd = -1;
	return r;
}

static void unwatch_notice(struct pfnbuf_device *device, struct notice *notice)
{
	if (notice->watch.fd < 0)
		return;
	/* A borrowed fd lives on: take our eventfd out of it. */
	if (device->borrowed)
		set_trigger(device, notice->irq, -1);
	pfnbuf_ctx_unwatch(device->ctx, &notice->watch);
	pfnbuf_ctx_close_fd(device->ctx, notice->watch.fd, device->name);
	notice->watch.fd = -1;
}

static void unwatch_notices(struct pfnbuf_device *device)
{
	unwatch_notice(device, &device->removal);
	unwatch_notice(device, &device->error);
}

static int watch_notices(struct pfnbuf_device *device)
{
	int r = 0;

	if (device->removal.watch.fd < 0)
		r = watch_notice(device, &device->removal, PFNBUF_EVENT_REMOVAL_REQUEST,
				 VFIO_PCI_REQ_IRQ_INDEX);
	if (r >= 0 && device->error.watch.fd < 0)
		r = watch_notice(device, &device->error, PFNBUF_EVENT_DEVICE_ERROR,
				 VFIO_PCI_ERR_IRQ_INDEX);
	return r;
}

/* GET_REGION_INFO with as much room as its capabilities need; *infop is the caller's to free. */
static int get_region_info(const struct pfnbuf_device *device, uint32_t index,
			   struct vfio_region_info **infop)
{
	cleanup_free struct vfio_region_info *info = NULL;
	uint32_t argsz = sizeof(*info);

	for (;;) {
		int r;

		free(info);
		info = calloc(1, argsz);
		if (!info)
			return -ENOMEM;
		info->argsz = argsz;
		info->index = index;
		r = device_ioctl(device, VFIO_DEVICE_GET_REGION_INFO, info);
		if (r < 0)
			return r;
		if (info->argsz <= argsz)
			break;
		argsz = info->argsz;
	}
	info->argsz = argsz;
	*infop = info;
	info = NULL;
	return 0;
}

static const struct vfio_info_cap_header *find_cap(const struct vfio_region_info *info, uint16_t id)
{
	uint32_t at = (info->flags & VFIO_REGION_INFO_FLAG_CAPS) ? info->cap_offset : 0;

	while (at && at <= info->argsz - sizeof(struct vfio_info_cap_header)) {
		const struct vfio_info_cap_header *cap = (const void *)((const char *)info + at);

		if (cap->id == id)
			return cap;
		if (cap->next <= at)
			break;
		at = cap->next;
	}
	return NULL;
}

static int learn_sparse(struct bar *bar, const struct vfio_region_info *info)
{
	const struct vfio_region_info_cap_sparse_mmap *cap =
		(const void *)find_cap(info, VFIO_REGION_INFO_CAP_SPARSE_MMAP);
	struct pfnbuf_range *sparse;

	if (!cap || !cap->nr_areas)
		return 0;
	sparse = calloc(cap->nr_areas, sizeof(*sparse));
	if (!sparse)
		return -ENOMEM;
	for (uint32_t i = 0; i < cap->nr_areas; i++)
		sparse[i] = (struct pfnbuf_range){ cap->areas[i].offset, cap->areas[i].size };
	free(bar->sparse);
	bar->sparse = sparse;
	bar->info.nr_sparse = cap->nr_areas;
	return 0;
}

static uint32_t bar_flags(const struct pfnbuf_device *device, unsigned bar,
			  const struct vfio_region_info *info)
{
	const uint32_t reg = device->pci.bar[bar];
	uint32_t flags = 0;

	flags |= (info->flags & VFIO_REGION_INFO_FLAG_READ) ? PFNBUF_BAR_READ : 0;
	flags |= (info->flags & VFIO_REGION_INFO_FLAG_WRITE) ? PFNBUF_BAR_WRITE : 0;
	flags |= (info->flags & VFIO_REGION_INFO_FLAG_MMAP) ? PFNBUF_BAR_MMAP : 0;
	flags |= find_cap(info, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE) ? PFNBUF_BAR_HAS_MSIX : 0;
	if (reg & PCI_BASE_ADDRESS_SPACE_IO)
		return flags | PFNBUF_BAR_IO;
	if ((reg & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64)
		flags |= PFNBUF_BAR_64;
	if (reg & PCI_BASE_ADDRESS_MEM_PREFETCH)
		flags |= PFNBUF_BAR_PREFETCHABLE;
	return flags;
}

static int learn_bar(struct pfnbuf_device *device, unsigned index)
{
	cleanup_free struct vfio_region_info *info = NULL;
	struct bar *bar = &device->bars[index];
	int r = get_region_info(device, index, &info);

	if (r < 0)
		return r;
	bar->info.size = info->size;
	bar->info.flags = info->size ? bar_flags(device, index, info) : 0;
	return learn_sparse(bar, info);
}

static int learn_bars(struct pfnbuf_device *device)
{
	for (unsigned bar = 0; bar < NR_BARS; bar++) {
		int r = learn_bar(device, bar);

		if (r < 0)
			return pfnbuf_failed(r, "VFIO_DEVICE_GET_REGION_INFO", device->name, NULL);
	}
	return 0;
}

static int learn_config(struct pfnbuf_device *device)
{
	uint8_t config[PCI_CFG_SPACE_SIZE];
	int r = read_config(device, 0, config, sizeof(config));
	char path[256], target[256];

	if (r < 0)
		return pfnbuf_failed(r, "pread of configuration space", device->name, NULL);
	pfnbuf_pci_scan(config, &device->pci);
	snprintf(path, sizeof(path), "%.128s/bus/pci/devices/%s/physfn",
		 pfnbuf_ctx_sysfs(device->ctx), device->bdf);
	device->is_vf =
		*device->bdf && k_readlink(kernel(device), path, target, sizeof(target)) > 0;
	return 0;
}

static int learn_info(struct pfnbuf_device *device)
{
	int r;

	device->info = (struct vfio_device_info){ .argsz = sizeof(device->info) };
	r = device_ioctl(device, VFIO_DEVICE_GET_INFO, &device->info);
	if (r < 0)
		return pfnbuf_failed(r, "VFIO_DEVICE_GET_INFO", device->name, NULL);
	if (!(device->info.flags & VFIO_DEVICE_FLAGS_PCI))
		return pfnbuf_refused(-EINVAL, "VFIO_DEVICE_GET_INFO", device->name, NULL, "",
				      "it is a VFIO device, but not on a PCI bus");
	return 0;
}

/* Ask the bound device what it is. May be repeated after a failure. */
static int learn(struct pfnbuf_device *device)
{
	int enabled, r = learn_info(device);

	if (r >= 0)
		r = learn_config(device);
	if (r >= 0)
		r = learn_bars(device);
	if (r >= 0)
		r = watch_notices(device);
	if (r < 0)
		return r;
	enabled = memory_enabled(device);
	if (enabled < 0)
		return pfnbuf_failed(enabled, "pread of configuration space", device->name, NULL);
	device->learned = true;
	if (enabled)
		atomic_store(&device->revocation, pack((struct pfnbuf_revocation){
							  .generation = 1, .state = PFNBUF_LIVE }));
	return 0;
}

static int bind_iommufd(struct pfnbuf_device *device, const uint8_t *token)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind),
		.flags = token ? VFIO_DEVICE_BIND_FLAG_TOKEN : 0,
		.token_uuid_ptr = (uintptr_t)token,
	};
	int r = pfnbuf_ctx_get_iommufd(device->ctx);

	if (r < 0)
		return r;
	bind.iommufd = r;
	r = device_ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind);
	if (r < 0)
		return pfnbuf_failed(r, "VFIO_DEVICE_BIND_IOMMUFD", device->name, NULL);
	device->devid = bind.out_devid;
	return 0;
}

int pfnbuf_device_bind(struct pfnbuf_device *device, const uint8_t *token)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	int r;

	if (device->learned)
		return pfnbuf_refused(-EALREADY, "VFIO_DEVICE_BIND_IOMMUFD", device->name, NULL, "",
				      "the device is bound");
	/*
	 * Bound, but the rest of an earlier call failed: there is no unbinding, so go on from
	 * there.
	 */
	r = device->devid ? 0 : bind_iommufd(device, token);
	return r < 0 ? r : learn(device);
}

void pfnbuf_device_set_lent(struct pfnbuf_device *device, enum pfnbuf_lending lent)
{
	pthread_rwlock_wrlock(&device->access);
	atomic_store(&device->lent, (int)lent);
	pthread_rwlock_unlock(&device->access);
}

void pfnbuf_device_set_report(struct pfnbuf_device *device, const struct pfnbuf_tdi_layouts *report)
{
	pthread_rwlock_wrlock(&device->access);
	device->report = report;
	pthread_rwlock_unlock(&device->access);
}

int pfnbuf_device_check_not_lent(const struct pfnbuf_device *device, const char *call,
				 const char *object, const struct pfnbuf_range *range)
{
	switch (atomic_load(&device->lent)) {
	case PFNBUF_HOME:
		return 0;
	case PFNBUF_LENT:
		return pfnbuf_refused(
			-EBUSY, call, object, range, "call pfnbuf_bind_unlock() first",
			"%s is locked to be a guest's, and only its bind maps its BARs",
			device->name);
	default:
		return pfnbuf_refused(-EBUSY, call, object, range,
				      "close the device and open it again",
				      "%s may still be a guest's: its bind was freed in quarantine",
				      device->name);
	}
}

bool pfnbuf_device_is_bound(const struct pfnbuf_device *device)
{
	return device->devid != 0;
}

static int refuse_unbound(const struct pfnbuf_device *device, const char *call)
{
	return pfnbuf_refused(-EINVAL, call, device->name, NULL, "call pfnbuf_device_bind() first",
			      "the device is not bound to an iommufd");
}

/* ---------------------------------------------------------------- attaching ----------------- */

int pfnbuf_device_attach(struct pfnbuf_device *device, struct pfnbuf_ioas *ioas)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.pt_id = pfnbuf_ioas_get_id(ioas),
	};
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	int r;

	if (!device->learned)
		return refuse_unbound(device, "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
	r = device_ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
	if (r < 0)
		return pfnbuf_failed(r, "VFIO_DEVICE_ATTACH_IOMMUFD_PT", device->name, NULL);
	if (device->ioas)
		pfnbuf_ioas_forget_space(device->ioas);
	pfnbuf_ioas_forget_space(ioas);
	device->ioas = ioas;
	device->ioas_id = pfnbuf_ioas_get_id(ioas);
	return 0;
}

static int detach(struct pfnbuf_device *device)
{
	struct vfio_device_detach_iommufd_pt arg = { .argsz = sizeof(arg) };
	int r = device_ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &arg);

	if (r < 0)
		return pfnbuf_failed(r, "VFIO_DEVICE_DETACH_IOMMUFD_PT", device->name, NULL);
	if (device->ioas)
		pfnbuf_ioas_forget_space(device->ioas);
	device->ioas = NULL;
	device->ioas_id = 0;
	return 0;
}

/* Where the kernel refuses, the device stays attached there; the object is ending all the same. */
static void leave(struct pfnbuf_device *device)
{
	if (detach(device) < 0)
		pfnbuf_ctx_log(device->ctx, PFNBUF_LOG_WARNING, "%s", pfnbuf_last_error());
	device->ioas = NULL;
}

int pfnbuf_device_detach(struct pfnbuf_device *device)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);

	if (!device->learned)
		return refuse_unbound(device, "VFIO_DEVICE_DETACH_IOMMUFD_PT");
	return detach(device);
}

void pfnbuf_device_leave_ioas(struct pfnbuf_device *device, const struct pfnbuf_ioas *ioas)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);

	if (device->ioas == ioas)
		leave(device);
}

/* ---------------------------------------------------------------- closing ------------------- */

static void unmap_bar(struct pfnbuf_device *device, struct bar_mapping *mapping)
{
	int r = k_munmap(kernel(device), mapping->addr, mapping->length);

	if (r < 0)
		pfnbuf_ctx_log(device->ctx, PFNBUF_LOG_WARNING, "%s: munmap failed with %s",
			       device->name, pfnbuf_errno_name(r));
	pfnbuf_list_del(&mapping->link);
	free(mapping);
}

/*
 * Slots must go before the mappings that they stand on: what is mapped there next is not the
 * guest's.
 */
static void withdraw_from_vms(struct pfnbuf_device *device)
{
	cleanup_rwunlock pthread_rwlock_t *held = pfnbuf_ctx_hold(device->ctx);
	const struct pfnbuf_link *vms = pfnbuf_ctx_list(device->ctx, PFNBUF_LIST_VMS);

	for (const struct pfnbuf_link *l = vms->next; l != vms; l = l->next) {
		struct pfnbuf_vm *vm = pfnbuf_vm_of_link(l);

		for (struct pfnbuf_link *m = device->mappings.next; m != &device->mappings;
		     m = m->next) {
			const struct bar_mapping *mapping =
				pfnbuf_container_of(m, struct bar_mapping, link);

			pfnbuf_vm_drop_slots_over(vm, mapping->addr, mapping->length);
		}
		pfnbuf_vm_drop_device(vm, device);
	}
}

static void die(struct pfnbuf_device *device)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	struct pfnbuf_revocation r = pfnbuf_device_revocation(device);

	device->has_live_export = false;
	r.generation++;
	r.state = PFNBUF_DEAD;
	atomic_store(&device->revocation, pack(r));
	if (device->learned)
		tell(device, PFNBUF_EVENT_DEAD, PFNBUF_CAUSE_CLOSE);
	pfnbuf_ctx_forget_device(device->ctx, device);
}

/* What can be undone of it is, before the device goes. */
static void close_bind(struct pfnbuf_device *device)
{
	cleanup_gate struct pfnbuf_device *gate = held_gate(device);
	struct pfnbuf_bind_hook *hook = device->bound_to;

	if (pfnbuf_ctx_cancel(device->ctx, &device->tell_bind))
		pfnbuf_device_unref(device);
	device->bound_to = NULL;
	if (hook)
		hook->close(hook);
}

static void close_hooks(struct pfnbuf_device *device)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);

	while (device->hooks.next != &device->hooks) {
		struct pfnbuf_revoke_hook *hook = hook_of(device->hooks.next);

		pfnbuf_list_del(&hook->link);
		hook->close(hook);
	}
}

/*
 * An IOAS that ends looks for its devices in the context's list: this one stays there till it left.
 */
static void leave_for_good(struct pfnbuf_device *device)
{
	pthread_mutex_lock(&device->lock);
	if (device->ioas_id)
		leave(device);
	pthread_mutex_unlock(&device->lock);
	pfnbuf_ctx_unlink(device->ctx, &device->link);
}

struct pfnbuf_device *pfnbuf_device_close(struct pfnbuf_device *device)
{
	if (!device)
		return NULL;
	unwatch_notices(device);
	close_bind(device);
	die(device);
	close_hooks(device);
	leave_for_good(device);
	withdraw_from_vms(device);
	while (device->mappings.next != &device->mappings)
		unmap_bar(device,
			  pfnbuf_container_of(device->mappings.next, struct bar_mapping, link));
	if (!device->borrowed)
		pfnbuf_ctx_close_fd(device->ctx, device->fd, device->name);
	return pfnbuf_device_unref(device);
}

/* ---------------------------------------------------------------- asking -------------------- */

struct pfnbuf_device *pfnbuf_device_of_link(const struct pfnbuf_link *link)
{
	return pfnbuf_container_of((uintptr_t)link, struct pfnbuf_device, link);
}

const char *pfnbuf_device_name(const struct pfnbuf_device *device)
{
	return device->name;
}

const char *pfnbuf_device_bdf(const struct pfnbuf_device *device)
{
	return device->bdf;
}

struct pfnbuf_ctx *pfnbuf_device_ctx(const struct pfnbuf_device *device)
{
	return device->ctx;
}

uint32_t pfnbuf_device_devid(const struct pfnbuf_device *device)
{
	return device->devid;
}

uint32_t pfnbuf_device_ioas_id(struct pfnbuf_device *device)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);

	return device->ioas_id;
}

void pfnbuf_device_set_user(struct pfnbuf_device *device, void *user)
{
	atomic_store(&device->user, user);
}

void *pfnbuf_device_get_user(const struct pfnbuf_device *device)
{
	return atomic_load(&device->user);
}

int pfnbuf_device_get_fd(const struct pfnbuf_device *device)
{
	return device->fd;
}

int pfnbuf_device_get_info(struct pfnbuf_device *device, struct pfnbuf_device_info *info)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);

	*info = (struct pfnbuf_device_info){
		.vendor = device->pci.vendor,
		.device = device->pci.device,
		.devid = device->devid,
		.num_regions = device->info.num_regions,
		.num_irqs = device->info.num_irqs,
		.ioas_id = device->ioas_id,
		.bound = device->learned,
		.can_reset = device->info.flags & VFIO_DEVICE_FLAGS_RESET,
		.is_vf = device->is_vf,
		/* Asking a device in low power would wake it. */
		.memory_enabled =
			device->learned && !device->low_power && memory_enabled(device) > 0,
		.low_power = device->low_power,
		.generation = pfnbuf_device_get_generation(device),
		.removal_requests = atomic_load(&device->removal.count),
		.device_errors = atomic_load(&device->error.count),
	};
	snprintf(info->bdf, sizeof(info->bdf), "%s", device->bdf);
	snprintf(info->cdev, sizeof(info->cdev), "%s", device->cdev);
	return 0;
}

static int check_bar(const struct pfnbuf_device *device, unsigned bar, const char *call)
{
	if (!device->learned)
		return refuse_unbound(device, call);
	if (bar >= NR_BARS)
		return pfnbuf_refused(-EINVAL, call, device->name, NULL, "BARs are 0 to 5",
				      "there is no BAR %u", bar);
	return 0;
}

int pfnbuf_device_get_bar(struct pfnbuf_device *device, unsigned bar, struct pfnbuf_bar *info)
{
	int r = check_bar(device, bar, "pfnbuf_device_get_bar");

	if (r >= 0)
		*info = device->bars[bar].info;
	return r;
}

int pfnbuf_device_get_bar_sparse(struct pfnbuf_device *device, unsigned bar,
				 struct pfnbuf_range *ranges, size_t n)
{
	int r = check_bar(device, bar, "pfnbuf_device_get_bar_sparse");
	uint32_t nr;

	if (r < 0)
		return r;
	nr = device->bars[bar].info.nr_sparse;
	if (ranges && nr)
		memcpy(ranges, device->bars[bar].sparse, (n < nr ? n : nr) * sizeof(*ranges));
	return (int)nr;
}

/* A line for each BAR: first and last address, and flags, in hexadecimal. */
static bool parse_resource(const char *text, unsigned bar, uint64_t *address)
{
	unsigned long long first, last;

	for (; bar; bar--) {
		text = strchr(text, '\n');
		if (!text)
			return false;
		text++;
	}
	if (sscanf(text, "%llx %llx", &first, &last) != 2 || !first || last < first)
		return false;
	*address = first;
	return true;
}

int pfnbuf_device_bar_address(const struct pfnbuf_device *device, unsigned bar, uint64_t *address)
{
	static const char call[] = "read of the PCI resources";
	char path[512], text[2048];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%.256s/bus/pci/devices/%s/resource",
		 pfnbuf_ctx_sysfs(device->ctx), device->bdf);
	fd = *device->bdf ? k_open(kernel(device), path, O_RDONLY | O_CLOEXEC) : -ENOENT;
	if (fd == -ENOENT)
		return pfnbuf_refused(-EOPNOTSUPP, call, device->name, NULL, "",
				      "sysfs does not know the device");
	if (fd < 0)
		return pfnbuf_failed(fd, call, device->name, NULL);
	n = k_read(kernel(device), fd, text, sizeof(text) - 1);
	pfnbuf_ctx_close_fd(device->ctx, fd, device->name);
	if (n < 0)
		return pfnbuf_failed((int)n, call, device->name, NULL);
	text[n] = '\0';
	if (!parse_resource(text, bar, address))
		return pfnbuf_refused(-EACCES, call, device->name, NULL, "run as root",
				      "sysfs does not tell the address of BAR %u", bar);
	return 0;
}

static struct pfnbuf_range round_to_pages(const struct pfnbuf_range *range, uint64_t size)
{
	const uint64_t page = pfnbuf_page_size();
	const uint64_t start = range->offset / page * page;
	const uint64_t end = (range->offset + range->length + page - 1) / page * page;

	return (struct pfnbuf_range){ start, (end < size ? end : size) - start };
}

int pfnbuf_device_get_bar_msix(struct pfnbuf_device *device, unsigned bar,
			       struct pfnbuf_range *ranges, size_t n)
{
	struct pfnbuf_range found[2];
	uint64_t size;
	int nr = 0, r = check_bar(device, bar, "pfnbuf_device_get_bar_msix");

	if (r < 0)
		return r;
	size = device->bars[bar].info.size;
	for (unsigned i = 0; i < 2; i++) {
		const struct pfnbuf_pci_part *part = &device->pci.msix[i];

		if (part->range.length && part->bar == bar && part->range.offset < size)
			found[nr++] = round_to_pages(&part->range, size);
	}
	if (nr == 2 && found[1].offset < found[0].offset) {
		const struct pfnbuf_range swap = found[0];

		found[0] = found[1];
		found[1] = swap;
	}
	if (nr == 2 && found[1].offset < found[0].offset + found[0].length) {
		const uint64_t end = found[1].offset + found[1].length;

		if (end > found[0].offset + found[0].length)
			found[0].length = end - found[0].offset;
		nr = 1;
	}
	for (int i = 0; i < nr && (size_t)i < n; i++)
		ranges[i] = found[i];
	return nr;
}

/* ---------------------------------------------------------------- BAR bytes ----------------- */

static int check_bar_range(const struct pfnbuf_device *device, unsigned bar, const char *call,
			   const struct pfnbuf_range *range)
{
	int r = check_bar(device, bar, call);
	uint64_t size;

	if (r < 0)
		return r;
	size = device->bars[bar].info.size;
	if (!size)
		return pfnbuf_refused(-EINVAL, call, device->name, range, "",
				      "the device has no BAR %u", bar);
	if (range->offset > size || range->length > size - range->offset)
		return pfnbuf_refused(-EINVAL, call, device->name, range, "",
				      "the range leaves BAR %u, which has 0x%llx bytes", bar,
				      (unsigned long long)size);
	return 0;
}

static pthread_rwlock_t *hold_access(struct pfnbuf_device *device)
{
	pthread_rwlock_rdlock(&device->access);
	return &device->access;
}

static bool is_private(const struct pfnbuf_device *device, unsigned bar,
		       const struct pfnbuf_range *range)
{
	const struct pfnbuf_layout *layout = pfnbuf_tdi_layouts_get(device->report, bar);
	uint64_t pos = range->offset / pfnbuf_page_size() * pfnbuf_page_size();
	struct pfnbuf_run run;

	while (layout && pos < range->offset + range->length &&
	       pfnbuf_layout_next(layout, &pos, &run, 1) > 0)
		if (run.vis == PFNBUF_PRIVATE)
			return true;
	return false;
}

/* A TDI whose private memory is asked for from here takes it for an attack and goes to ERROR. */
static int check_access(const struct pfnbuf_device *device, unsigned bar, const char *call,
			const struct pfnbuf_range *range)
{
	const int lent = atomic_load(&device->lent);
	int r = check_bar_range(device, bar, call, range);

	if (r < 0 || lent == PFNBUF_HOME)
		return r;
	if (!device->report)
		return pfnbuf_refused(-EBUSY, call, device->name, range,
				      lent == PFNBUF_LENT
					      ? "wait for its report, or call pfnbuf_bind_unlock()"
					      : "close the device and open it again",
				      "the device is locked to be a guest's, and what of it is "
				      "private is not known");
	if (is_private(device, bar, range))
		return pfnbuf_refused(-EBUSY, call, device->name, range,
				      "call pfnbuf_bind_unlock() first",
				      "it is private memory of a guest's");
	return 0;
}

int pfnbuf_device_bar_read(struct pfnbuf_device *device, unsigned bar, uint64_t offset, void *data,
			   size_t length)
{
	cleanup_rwunlock pthread_rwlock_t *access = hold_access(device);
	const struct pfnbuf_range range = { offset, length };
	int r = check_access(device, bar, "pread of a BAR", &range);
	ssize_t n;

	if (r < 0)
		return r;
	n = k_pread(kernel(device), device->fd, data, length, REGION_OFFSET(bar) + offset);
	if (n < 0)
		return pfnbuf_failed((int)n, "pread of a BAR", device->name, &range);
	if ((size_t)n != length)
		return pfnbuf_failed(-EIO, "pread of a BAR", device->name, &range);
	return 0;
}

int pfnbuf_device_bar_write(struct pfnbuf_device *device, unsigned bar, uint64_t offset,
			    const void *data, size_t length)
{
	cleanup_rwunlock pthread_rwlock_t *access = hold_access(device);
	const struct pfnbuf_range range = { offset, length };
	int r = check_access(device, bar, "pwrite of a BAR", &range);
	ssize_t n;

	if (r < 0)
		return r;
	n = k_pwrite(kernel(device), device->fd, data, length, REGION_OFFSET(bar) + offset);
	if (n < 0)
		return pfnbuf_failed((int)n, "pwrite of a BAR", device->name, &range);
	if ((size_t)n != length)
		return pfnbuf_failed(-EIO, "pwrite of a BAR", device->name, &range);
	return 0;
}

static int check_pages(const struct pfnbuf_device *device, const char *call,
		       const struct pfnbuf_range *range)
{
	const uint64_t page = pfnbuf_page_size();

	if (!range->length)
		return pfnbuf_refused(-EINVAL, call, device->name, range, "", "the range is empty");
	if ((range->offset | range->length) % page)
		return pfnbuf_refused(
			-EINVAL, call, device->name, range, "",
			"offset and length must be multiples of the page size, 0x%llx",
			(unsigned long long)page);
	return 0;
}

/* With the device's lock held. */
static int map_bar(struct pfnbuf_device *device, unsigned bar, const struct pfnbuf_range *range,
		   void **addrp)
{
	cleanup_free struct bar_mapping *mapping = NULL;
	int r = check_bar_range(device, bar, "mmap of a BAR", range);

	if (r >= 0)
		r = check_pages(device, "mmap of a BAR", range);
	if (r < 0)
		return r;
	mapping = calloc(1, sizeof(*mapping));
	if (!mapping)
		return pfnbuf_failed(-ENOMEM, "mmap of a BAR", device->name, range);
	r = k_mmap(kernel(device), range->length, PROT_READ | PROT_WRITE, MAP_SHARED, device->fd,
		   REGION_OFFSET(bar) + range->offset, &mapping->addr);
	if (r < 0)
		return pfnbuf_failed(r, "mmap of a BAR", device->name, range);
	mapping->length = range->length;
	pfnbuf_list_add_tail(&device->mappings, &mapping->link);
	*addrp = mapping->addr;
	mapping = NULL;
	return 0;
}

int pfnbuf_device_bar_map(struct pfnbuf_device *device, unsigned bar, uint64_t offset,
			  uint64_t length, void **addrp)
{
	const struct pfnbuf_range range = { offset, length };
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	int r = pfnbuf_device_check_not_lent(device, "mmap of a BAR", device->name, &range);

	return r < 0 ? r : map_bar(device, bar, &range, addrp);
}

int pfnbuf_device_bar_map_lent(struct pfnbuf_device *device, unsigned bar, uint64_t offset,
			       uint64_t length, void **addrp)
{
	const struct pfnbuf_range range = { offset, length };
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);

	return map_bar(device, bar, &range, addrp);
}

static struct bar_mapping *find_mapping(struct pfnbuf_device *device, const void *addr)
{
	for (struct pfnbuf_link *l = device->mappings.next; l != &device->mappings; l = l->next) {
		struct bar_mapping *mapping = pfnbuf_container_of(l, struct bar_mapping, link);

		if (mapping->addr == addr)
			return mapping;
	}
	return NULL;
}

int pfnbuf_device_find_mapping(struct pfnbuf_device *device, void **addr, uint64_t *length)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	const struct bar_mapping *mapping;

	if (pfnbuf_list_is_empty(&device->mappings))
		return 0;
	mapping = pfnbuf_container_of(device->mappings.next, struct bar_mapping, link);
	*addr = mapping->addr;
	*length = mapping->length;
	return 1;
}

static bool maps_in(struct pfnbuf_device *device, const void *addr, uint64_t length)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);

	for (struct pfnbuf_link *l = device->mappings.next; l != &device->mappings; l = l->next) {
		const struct bar_mapping *m = pfnbuf_container_of(l, struct bar_mapping, link);

		if ((uintptr_t)m->addr - (uintptr_t)addr < length ||
		    (uintptr_t)addr - (uintptr_t)m->addr < m->length)
			return true;
	}
	return false;
}

/* The lock of a device that is not lent is not waited for: it may be in a reset. */
int pfnbuf_device_check_memory_not_lent(struct pfnbuf_ctx *ctx, const void *addr, uint64_t length,
					const char *call, const char *object,
					const struct pfnbuf_range *range)
{
	cleanup_rwunlock pthread_rwlock_t *topology = pfnbuf_ctx_hold(ctx);
	const struct pfnbuf_link *devices = pfnbuf_ctx_list(ctx, PFNBUF_LIST_DEVICES);
	int r = 0;

	for (const struct pfnbuf_link *l = devices->next; r >= 0 && l != devices; l = l->next) {
		struct pfnbuf_device *device = pfnbuf_device_of_link(l);

		if (atomic_load(&device->lent) && maps_in(device, addr, length))
			r = pfnbuf_device_check_not_lent(device, call, object, range);
	}
	return r;
}

static const char *slot_over(struct pfnbuf_device *device, const struct bar_mapping *mapping)
{
	const struct pfnbuf_link *vms = pfnbuf_ctx_list(device->ctx, PFNBUF_LIST_VMS);

	for (const struct pfnbuf_link *l = vms->next; l != vms; l = l->next)
		if (pfnbuf_vm_has_slot_over(pfnbuf_vm_of_link(l), mapping->addr, mapping->length))
			return pfnbuf_vm_name(pfnbuf_vm_of_link(l));
	return NULL;
}

int pfnbuf_device_bar_unmap(struct pfnbuf_device *device, void *addr)
{
	cleanup_rwunlock pthread_rwlock_t *topology = pfnbuf_ctx_hold(device->ctx);
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	struct bar_mapping *mapping = find_mapping(device, addr);
	const char *vm;

	if (!mapping)
		return pfnbuf_refused(-ENOENT, "munmap of a BAR", device->name, NULL, "",
				      "no BAR mapping starts at %p", addr);
	vm = slot_over(device, mapping);
	if (vm)
		return pfnbuf_refused(-EBUSY, "munmap of a BAR", device->name, NULL,
				      "delete the slot first", "a memory slot of %s stands on it",
				      vm);
	unmap_bar(device, mapping);
	return 0;
}

/* ---------------------------------------------------------------- configuration space ------- */

int pfnbuf_device_config_read(struct pfnbuf_device *device, uint64_t offset, void *data,
			      size_t length)
{
	const struct pfnbuf_range range = { offset, length };
	int r;

	if (!device->learned)
		return refuse_unbound(device, "pread of configuration space");
	if (!length)
		return pfnbuf_refused(-EINVAL, "pread of configuration space", device->name, &range,
				      "", "the range is empty");
	r = read_config(device, offset, data, length);
	if (r < 0)
		return pfnbuf_failed(r, "pread of configuration space", device->name, &range);
	return 0;
}

static int write_config(struct pfnbuf_device *device, uint64_t offset, const void *data,
			size_t length)
{
	const struct pfnbuf_range range = { offset, length };
	enum pfnbuf_cause cause = pfnbuf_pci_write_revokes(&device->pci, offset, data, length);
	ssize_t n;

	if (cause != PFNBUF_CAUSE_NONE)
		begin(device, cause);
	n = k_pwrite(kernel(device), device->fd, data, length,
		     REGION_OFFSET(VFIO_PCI_CONFIG_REGION_INDEX) + offset);
	if (pfnbuf_pci_write_matters(&device->pci, offset, length))
		settle(device);
	if (n < 0)
		return pfnbuf_failed((int)n, "pwrite of configuration space", device->name, &range);
	if ((size_t)n != length)
		return pfnbuf_failed(-EIO, "pwrite of configuration space", device->name, &range);
	return 0;
}

static int write_config_locked(struct pfnbuf_device *device, uint64_t offset, const void *data,
			       size_t length)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);

	return write_config(device, offset, data, length);
}

static int write_config_unbound(struct pfnbuf_device *device, uint64_t offset, const void *data,
				size_t length, enum pfnbuf_cause cause)
{
	cleanup_gate struct pfnbuf_device *gate = held_gate(device);
	int r = pfnbuf_device_unbind_first(device, "pwrite of configuration space", cause);

	return r < 0 ? r : write_config_locked(device, offset, data, length);
}

int pfnbuf_device_config_write(struct pfnbuf_device *device, uint64_t offset, const void *data,
			       size_t length)
{
	const struct pfnbuf_range range = { offset, length };
	enum pfnbuf_cause cause;

	if (!device->learned)
		return refuse_unbound(device, "pwrite of configuration space");
	if (!length)
		return pfnbuf_refused(-EINVAL, "pwrite of configuration space", device->name,
				      &range, "", "the range is empty");
	cause = pfnbuf_pci_write_revokes(&device->pci, offset, data, length);
	if (cause == PFNBUF_CAUSE_NONE)
		return write_config_locked(device, offset, data, length);
	return write_config_unbound(device, offset, data, length, cause);
}

static int set_command_bit(struct pfnbuf_device *device, uint8_t bit, bool on)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	const struct pfnbuf_range range = { PCI_COMMAND, 2 };
	uint8_t command[2];
	int r;

	if (!device->learned)
		return refuse_unbound(device, "pwrite of configuration space");
	r = read_config(device, PCI_COMMAND, command, sizeof(command));
	if (r < 0)
		return pfnbuf_failed(r, "pread of configuration space", device->name, &range);
	command[0] = (uint8_t)(on ? command[0] | bit : command[0] & ~bit);
	return write_config(device, PCI_COMMAND, command, sizeof(command));
}

static int memory_decode_off(struct pfnbuf_device *device)
{
	cleanup_gate struct pfnbuf_device *gate = held_gate(device);
	int r = pfnbuf_device_unbind_first(device, "pwrite of configuration space",
					   PFNBUF_CAUSE_DECODE_OFF);

	return r < 0 ? r : set_command_bit(device, PCI_COMMAND_MEMORY, false);
}

int pfnbuf_device_set_memory_decode(struct pfnbuf_device *device, bool on)
{
	return on ? set_command_bit(device, PCI_COMMAND_MEMORY, true) : memory_decode_off(device);
}

int pfnbuf_device_set_bus_master(struct pfnbuf_device *device, bool on)
{
	return set_command_bit(device, PCI_COMMAND_MASTER, on);
}

/* ---------------------------------------------------------------- resets -------------------- */

static int reset(struct pfnbuf_device *device)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	int r;

	begin(device, PFNBUF_CAUSE_RESET);
	r = device_ioctl(device, VFIO_DEVICE_RESET, NULL);
	settle(device);
	return r < 0 ? pfnbuf_failed(r, "VFIO_DEVICE_RESET", device->name, NULL) : 0;
}

int pfnbuf_device_reset(struct pfnbuf_device *device)
{
	cleanup_gate struct pfnbuf_device *gate = held_gate(device);
	int r;

	if (!device->learned)
		return refuse_unbound(device, "VFIO_DEVICE_RESET");
	/* The kernel refuses it without touching the device, so nothing is revoked. */
	if (!(device->info.flags & VFIO_DEVICE_FLAGS_RESET))
		return pfnbuf_failed(-EINVAL, "VFIO_DEVICE_RESET", device->name, NULL);
	r = pfnbuf_device_unbind_first(device, "VFIO_DEVICE_RESET", PFNBUF_CAUSE_RESET);
	return r < 0 ? r : reset(device);
}

/* A slot or bus has at most this many functions. */
#define MAX_HOT_RESET_DEVICES PFNBUF_MAX_REACHED

struct hot_reset_set {
	struct vfio_pci_hot_reset_info info;
	struct vfio_pci_dependent_device devices[MAX_HOT_RESET_DEVICES];
};

static int get_hot_reset_set(struct pfnbuf_device *device, struct hot_reset_set *set)
{
	int r;

	if (!device->learned)
		return refuse_unbound(device, "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO");
	set->info = (struct vfio_pci_hot_reset_info){ .argsz = sizeof(*set) };
	r = device_ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, set);
	if (r < 0)
		return pfnbuf_failed(r, "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", device->name, NULL);
	return 0;
}

static void format_bdf(const struct vfio_pci_dependent_device *d, char bdf[16])
{
	snprintf(bdf, 16, "%04x:%02x:%02x.%x", d->segment, d->bus, d->devfn >> 3, d->devfn & 7U);
}

int pfnbuf_device_hot_reset_set(struct pfnbuf_device *device,
				struct pfnbuf_hot_reset_device *devices, size_t n)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	struct hot_reset_set set;
	int r = get_hot_reset_set(device, &set);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < set.info.count && i < n; i++) {
		format_bdf(&set.devices[i], devices[i].bdf);
		devices[i].devid = set.devices[i].devid;
	}
	return (int)set.info.count;
}

/*
 * An object of this context stands for a device of the set if it is bound under its id, or has its
 * address: it may have been bound since the set was asked for.
 */
static int is_in_set(const struct pfnbuf_device *device, const void *data)
{
	const struct hot_reset_set *set = data;

	for (uint32_t i = 0; i < set->info.count; i++) {
		char bdf[16];

		if (device->devid && set->devices[i].devid == device->devid)
			return 1;
		format_bdf(&set->devices[i], bdf);
		if (device->devid && !strcmp(device->bdf, bdf))
			return 1;
	}
	return 0;
}

/*
 * Devices in the context's list, each locked, so that their locks are always taken in the same
 * order.
 */
static void lock_all(const struct pfnbuf_link *devices)
{
	for (const struct pfnbuf_link *l = devices->next; l != devices; l = l->next)
		pthread_mutex_lock(&pfnbuf_device_of_link(l)->lock);
}

static void unlock_all(const struct pfnbuf_link *devices)
{
	for (const struct pfnbuf_link *l = devices->next; l != devices; l = l->next)
		pthread_mutex_unlock(&pfnbuf_device_of_link(l)->lock);
}

static int ask_for_set(struct pfnbuf_device *device, struct hot_reset_set *set)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);

	return get_hot_reset_set(device, set);
}

static int hot_reset_locked(struct pfnbuf_device *device, const struct hot_reset_set *set,
			    const struct pfnbuf_link *devices)
{
	struct vfio_pci_hot_reset arg = { .argsz = sizeof(arg) };
	int r;

	for (const struct pfnbuf_link *l = devices->next; l != devices; l = l->next)
		if (is_in_set(pfnbuf_device_of_link(l), set))
			begin(pfnbuf_device_of_link(l), PFNBUF_CAUSE_HOT_RESET);
	r = device_ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, &arg);
	for (const struct pfnbuf_link *l = devices->next; l != devices; l = l->next)
		if (is_in_set(pfnbuf_device_of_link(l), set))
			settle(pfnbuf_device_of_link(l));
	return r < 0 ? pfnbuf_failed(r, "VFIO_DEVICE_PCI_HOT_RESET", device->name, NULL) : 0;
}

static int hot_reset(struct pfnbuf_device *device, const struct hot_reset_set *set)
{
	cleanup_rwunlock pthread_rwlock_t *topology = pfnbuf_ctx_hold(device->ctx);
	const struct pfnbuf_link *devices = pfnbuf_ctx_list(device->ctx, PFNBUF_LIST_DEVICES);
	int r;

	lock_all(devices);
	r = hot_reset_locked(device, set, devices);
	unlock_all(devices);
	return r;
}

int pfnbuf_device_hot_reset(struct pfnbuf_device *device)
{
	static const char call[] = "VFIO_DEVICE_PCI_HOT_RESET";
	cleanup_reached struct pfnbuf_reached reached = { .nr = 0 };
	struct hot_reset_set set;
	int r = ask_for_set(device, &set);

	if (r < 0)
		return r;
	r = pfnbuf_device_find_reached(device->ctx, is_in_set, &set, &reached);
	if (r < 0)
		return pfnbuf_failed(r, call, device->name, NULL);
	r = pfnbuf_device_unbind_reached(&reached, call, PFNBUF_CAUSE_HOT_RESET);
	return r < 0 ? r : hot_reset(device, &set);
}

/* ---------------------------------------------------------------- low power ----------------- */

static int set_feature(struct pfnbuf_device *device, uint32_t feature, const void *data,
		       size_t size)
{
	struct {
		struct vfio_device_feature feature;
		uint8_t data[sizeof(struct vfio_device_low_power_entry_with_wakeup)];
	} arg = {
		.feature = {
			.argsz = (uint32_t)(sizeof(struct vfio_device_feature) + size),
			.flags = VFIO_DEVICE_FEATURE_SET | feature,
		},
	};

	memcpy(arg.data, data, size);
	return device_ioctl(device, VFIO_DEVICE_FEATURE, &arg);
}

static int enter_low_power(struct pfnbuf_device *device, int wake_fd)
{
	struct vfio_device_low_power_entry_with_wakeup wakeup = { .wakeup_eventfd = wake_fd };
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	int r;

	begin(device, PFNBUF_CAUSE_POWER);
	r = wake_fd < 0 ? set_feature(device, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, "", 0)
			: set_feature(device, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
				      &wakeup, sizeof(wakeup));
	if (r >= 0) {
		device->low_power = true;
		return 0;
	}
	/*
	 * In low power already, it was revoked and stays so; for any other failure the device
	 * tells.
	 */
	if (!device->low_power)
		settle(device);
	return pfnbuf_failed(r, "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY", device->name, NULL);
}

int pfnbuf_device_low_power_enter(struct pfnbuf_device *device, int wake_fd)
{
	static const char call[] = "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY";
	cleanup_gate struct pfnbuf_device *gate = held_gate(device);
	int r;

	if (!device->learned)
		return refuse_unbound(device, call);
	r = pfnbuf_device_unbind_first(device, call, PFNBUF_CAUSE_POWER);
	return r < 0 ? r : enter_low_power(device, wake_fd);
}

int pfnbuf_device_low_power_exit(struct pfnbuf_device *device)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	int r;

	if (!device->learned)
		return refuse_unbound(device, "VFIO_DEVICE_FEATURE_LOW_POWER_EXIT");
	r = set_feature(device, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, "", 0);
	if (r < 0)
		return pfnbuf_failed(r, "VFIO_DEVICE_FEATURE_LOW_POWER_EXIT", device->name, NULL);
	device->low_power = false;
	settle(device);
	return 0;
}

/* ---------------------------------------------------------------- buffers ------------------- */

static int check_slices(const struct pfnbuf_device *device, unsigned bar,
			const struct pfnbuf_range *slices, size_t n)
{
	static const char call[] = "VFIO_DEVICE_FEATURE_DMA_BUF";
	int r = check_bar(device, bar, call);

	if (r < 0)
		return r;
	if (!n || n > UINT32_MAX)
		return pfnbuf_refused(-EINVAL, call, device->name, NULL, "", "%zu slices", n);
	if (!device->bars[bar].info.size)
		return pfnbuf_refused(-ENODEV, call, device->name, NULL, "lspci -v shows the BARs",
				      "the device has no BAR %u", bar);
	if (device->bars[bar].info.flags & PFNBUF_BAR_IO)
		return pfnbuf_refused(-EINVAL, call, device->name, NULL, "",
				      "BAR %u is I/O ports, not memory", bar);
	for (size_t i = 0; i < n; i++) {
		r = check_pages(device, call, &slices[i]);
		if (r >= 0)
			r = check_bar_range(device, bar, call, &slices[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int export_slices(struct pfnbuf_device *device, unsigned bar,
			 const struct pfnbuf_range *slices, size_t n)
{
	const size_t size = sizeof(struct vfio_device_feature) +
			    sizeof(struct vfio_device_feature_dma_buf) +
			    n * sizeof(struct vfio_region_dma_range);
	cleanup_free struct vfio_device_feature *feature = calloc(1, size);
	struct vfio_device_feature_dma_buf *arg;

	if (!feature || size > UINT32_MAX)
		return -ENOMEM;
	feature->argsz = (uint32_t)size;
	feature->flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
	arg = (void *)feature->data;
	arg->region_index = bar;
	arg->open_flags = O_RDWR | O_CLOEXEC;
	arg->nr_ranges = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		arg->dma_ranges[i].offset = slices[i].offset;
		arg->dma_ranges[i].length = slices[i].length;
	}
	return device_ioctl(device, VFIO_DEVICE_FEATURE, feature);
}

int pfnbuf_device_export(struct pfnbuf_device *device, unsigned bar,
			 const struct pfnbuf_range *slices, size_t n, struct pfnbuf_buf **bufp)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	int r = check_slices(device, bar, slices, n);
	bool live;
	int fd;

	if (r < 0)
		return r;
	fd = export_slices(device, bar, slices, n);
	if (fd < 0)
		return pfnbuf_failed(fd, "VFIO_DEVICE_FEATURE_DMA_BUF", device->name, &slices[0]);
	/*
	 * A buffer is born revoked where memory is off. Low power is no such state: the call woke
	 * it.
	 */
	live = device->low_power && memory_enabled(device) > 0;
	r = pfnbuf_buf_new_export(device, fd, bar, slices, n, live, bufp);
	if (r >= 0 && live)
		device->has_live_export = true;
	return r;
}

static int refuse_restore(const struct pfnbuf_device *device)
{
	return pfnbuf_refused(-ENODEV, "pfnbuf_device_restore", device->name, NULL,
			      "turn memory decode on, or leave low power, first",
			      "the device's memory is off: nothing can be imported");
}

static int restore_areas(const struct pfnbuf_device *device)
{
	const struct pfnbuf_link *ioases = pfnbuf_ctx_list(device->ctx, PFNBUF_LIST_IOASES);
	struct pfnbuf_first_error first = { .code = 0 };

	for (const struct pfnbuf_link *l = ioases->next; l != ioases; l = l->next)
		pfnbuf_first_note(
			&first, pfnbuf_ioas_restore(pfnbuf_ioas_of_link(l), device, 0, UINT64_MAX));
	return pfnbuf_first_end(&first);
}

/* Holds the device's lock, so that no revocation begins half-way. */
int pfnbuf_device_restore(struct pfnbuf_device *device)
{
	cleanup_rwunlock pthread_rwlock_t *topology = pfnbuf_ctx_hold(device->ctx);
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&device->lock);
	struct pfnbuf_first_error first = { .code = 0 };
	bool complete;

	if (pfnbuf_device_revocation(device).state != PFNBUF_LIVE)
		return refuse_restore(device);
	pfnbuf_first_note(&first, restore_areas(device));
	complete = !first.code;
	for (struct pfnbuf_link *l = device->hooks.next; l != &device->hooks; l = l->next)
		pfnbuf_first_note(&first, hook_of(l)->restore(hook_of(l), complete));
	return pfnbuf_first_end(&first);
}
