/* SPDX-License-Identifier: MIT */
/* The context: the door in use, the lists of objects, the event queue, the log hook. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "private.h"

#define DEFAULT_MAX_EVENTS 256

/* Where a guest_memfd is mapped. */
struct mapping {
	struct mapping *next;
	struct pfnbuf_identity file;
	uint64_t offset;
	uint64_t length;
	char *addr;
};

struct pfnbuf_ctx {
	atomic_uint refs;
	const struct pfnbuf_kernel *kernel;
	char *sysfs;
	char *devtmpfs;
	_Atomic(struct pfnbuf_profile *) profile;
	pfnbuf_log_fn *log;
	void *log_data;

	atomic_uint_least64_t ids; /* given so far */
	pthread_rwlock_t topology; /* the lists */
	struct pfnbuf_link lists[PFNBUF_NR_LISTS];

	pthread_mutex_t dispatch; /* the engine */
	struct pfnbuf_engine *engine;

	struct pfnbuf_work retry; /* conversions that wait */
	_Atomic(void (*)(struct pfnbuf_ctx *)) try_again;

	pthread_mutex_t mappings_lock;
	struct mapping *mappings;

	pthread_mutex_t iommufd_lock;
	int iommufd; /* -1: not opened yet */
	bool iommufd_borrowed;
	atomic_int imports_ranges; /* -1: not tried yet */

	pthread_mutex_t queue;	     /* what follows */
	struct pfnbuf_link deferred; /* work for the next dispatch */
	struct pfnbuf_watch queued;  /* an eventfd, signalled for events that no watch announced */
	bool is_signalled;
	bool is_held;		     /* signalled for events that a watch announced */
	struct pfnbuf_event *events; /* a ring of max_events */
	uint32_t max_events;
	uint32_t first;
	uint32_t nr_events;
	uint64_t seq;
	uint64_t lost; /* events since the newest kept one that found no room */
};

uint64_t pfnbuf_page_size(void)
{
	static atomic_uint_least64_t known;
	uint64_t size = atomic_load_explicit(&known, memory_order_relaxed);

	if (!size) {
		size = (uint64_t)sysconf(_SC_PAGESIZE);
		atomic_store_explicit(&known, size, memory_order_relaxed);
	}
	return size;
}

/* The eventfd says that there are events, which pfnbuf_ctx_pop_event() sees for itself. */
static void events_are_queued(struct pfnbuf_watch *watch)
{
	(void)watch;
}

static void run_retry(struct pfnbuf_work *work)
{
	struct pfnbuf_ctx *ctx = pfnbuf_container_of(work, struct pfnbuf_ctx, retry);

	atomic_load (&ctx->try_again)(ctx);
}

static int check_opts(const struct pfnbuf_ctx_opts *opts)
{
	if (opts->size < sizeof(*opts))
		return pfnbuf_refused(-EINVAL, "pfnbuf_ctx_new", "options", NULL,
				      "set size to sizeof(struct pfnbuf_ctx_opts)",
				      "opts->size is %zu, below the %zu of the first version",
				      opts->size, sizeof(*opts));
	if (opts->engine != PFNBUF_ENGINE_EPOLL && opts->engine != PFNBUF_ENGINE_URING)
		return pfnbuf_refused(-EINVAL, "pfnbuf_ctx_new", "options", NULL, "",
				      "there is no engine %d", (int)opts->engine);
	if (opts->kernel && !pfnbuf_kernel_is_complete(opts->kernel))
		return pfnbuf_refused(
			-EINVAL, "pfnbuf_ctx_new", "options", NULL,
			"fill every entry; start from a copy of pfnbuf_kernel_running()",
			"the table of kernel calls lacks an entry");
	return 0;
}

static int open_queue(struct pfnbuf_ctx *ctx)
{
	int r = k_eventfd(ctx->kernel, 0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (r < 0)
		return pfnbuf_failed(r, "eventfd", "context", NULL);
	ctx->queued =
		(struct pfnbuf_watch){ .fd = r, .is_queue = true, .ready = events_are_queued };
	r = ctx->engine->ops->add(ctx->engine, &ctx->queued);
	if (r < 0)
		k_close(ctx->kernel, ctx->queued.fd);
	return r;
}

static int open_fds(struct pfnbuf_ctx *ctx, enum pfnbuf_engine_kind kind)
{
	int r = kind == PFNBUF_ENGINE_URING ? pfnbuf_engine_new_uring(ctx->kernel, &ctx->engine)
					    : pfnbuf_engine_new_epoll(ctx->kernel, &ctx->engine);

	if (r < 0)
		return r;
	r = open_queue(ctx);
	if (r < 0)
		ctx->engine->ops->free(ctx->engine);
	return r;
}

static void free_memory(struct pfnbuf_ctx *ctx)
{
	free(ctx->sysfs);
	free(ctx->devtmpfs);
	pfnbuf_profile_unref(atomic_load(&ctx->profile));
	free(ctx->events);
	free(ctx);
}

static struct pfnbuf_ctx *allocate(const struct pfnbuf_ctx_opts *opts)
{
	struct pfnbuf_ctx *ctx = calloc(1, sizeof(*ctx));

	if (!ctx)
		return NULL;
	ctx->max_events = opts->max_events ? opts->max_events : DEFAULT_MAX_EVENTS;
	ctx->events = calloc(ctx->max_events, sizeof(*ctx->events));
	ctx->sysfs = strdup(opts->sysfs ? opts->sysfs : "/sys");
	ctx->devtmpfs = strdup(opts->devtmpfs ? opts->devtmpfs : "/dev");
	if (ctx->events && ctx->sysfs && ctx->devtmpfs)
		return ctx;
	free_memory(ctx);
	return NULL;
}

int pfnbuf_ctx_new(struct pfnbuf_ctx **ctxp, const struct pfnbuf_ctx_opts *opts)
{
	static const struct pfnbuf_ctx_opts defaults = { .size = sizeof(defaults) };
	struct pfnbuf_ctx *ctx;
	int r;

	opts = opts ? opts : &defaults;
	r = check_opts(opts);
	if (r < 0)
		return r;
	ctx = allocate(opts);
	if (!ctx)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_ctx_new", "context", NULL);

	ctx->refs = 1;
	ctx->kernel = opts->kernel ? opts->kernel : pfnbuf_kernel_running();
	ctx->log = opts->log;
	ctx->log_data = opts->log_data;
	ctx->iommufd = opts->iommufd > 0 ? opts->iommufd : -1;
	ctx->iommufd_borrowed = opts->iommufd > 0;
	ctx->imports_ranges = -1;
	r = open_fds(ctx, opts->engine);
	if (r < 0) {
		free_memory(ctx);
		return r;
	}
	for (int i = 0; i < PFNBUF_NR_LISTS; i++)
		pfnbuf_list_init(&ctx->lists[i]);
	pfnbuf_list_init(&ctx->deferred);
	pfnbuf_list_init(&ctx->retry.link);
	ctx->retry.run = run_retry;
	pthread_rwlock_init(&ctx->topology, NULL);
	pthread_mutex_init(&ctx->dispatch, NULL);
	pthread_mutex_init(&ctx->mappings_lock, NULL);
	pthread_mutex_init(&ctx->iommufd_lock, NULL);
	pthread_mutex_init(&ctx->queue, NULL);
	*ctxp = ctx;
	return 0;
}

struct pfnbuf_ctx *pfnbuf_ctx_ref(struct pfnbuf_ctx *ctx)
{
	atomic_fetch_add(&ctx->refs, 1);
	return ctx;
}

/* What the caller has not unmapped. */
static void free_mappings(struct pfnbuf_ctx *ctx)
{
	while (ctx->mappings) {
		struct mapping *m = ctx->mappings;

		ctx->mappings = m->next;
		free(m);
	}
}

struct pfnbuf_ctx *pfnbuf_ctx_unref(struct pfnbuf_ctx *ctx)
{
	if (!ctx || atomic_fetch_sub(&ctx->refs, 1) != 1)
		return NULL;
	ctx->engine->ops->del(ctx->engine, &ctx->queued);
	k_close(ctx->kernel, ctx->queued.fd);
	ctx->engine->ops->free(ctx->engine);
	if (ctx->iommufd >= 0 && !ctx->iommufd_borrowed)
		pfnbuf_ctx_close_fd(ctx, ctx->iommufd, "iommufd");
	pthread_mutex_destroy(&ctx->queue);
	pthread_mutex_destroy(&ctx->iommufd_lock);
	pthread_mutex_destroy(&ctx->mappings_lock);
	free_mappings(ctx);
	pthread_mutex_destroy(&ctx->dispatch);
	pthread_rwlock_destroy(&ctx->topology);
	free_memory(ctx);
	return NULL;
}

struct pfnbuf_ctx *pfnbuf_ctx_free(struct pfnbuf_ctx *ctx)
{
	return pfnbuf_ctx_unref(ctx);
}

const struct pfnbuf_kernel *pfnbuf_ctx_get_kernel(const struct pfnbuf_ctx *ctx)
{
	return ctx->kernel;
}

int pfnbuf_ctx_get_fd(const struct pfnbuf_ctx *ctx)
{
	return ctx->engine->fd;
}

const char *pfnbuf_ctx_sysfs(const struct pfnbuf_ctx *ctx)
{
	return ctx->sysfs;
}

const char *pfnbuf_ctx_devtmpfs(const struct pfnbuf_ctx *ctx)
{
	return ctx->devtmpfs;
}

/* Set once: rooms read it without a lock, and hold no reference. */
int pfnbuf_ctx_set_profile(struct pfnbuf_ctx *ctx, struct pfnbuf_profile *profile)
{
	struct pfnbuf_profile *none = NULL;

	pfnbuf_profile_ref(profile);
	if (atomic_compare_exchange_strong(&ctx->profile, &none, profile))
		return 0;
	pfnbuf_profile_unref(profile);
	return pfnbuf_refused(-EALREADY, "pfnbuf_ctx_set_profile", "context", NULL,
			      "make another context for another profile",
			      "the context speaks the profile %s", pfnbuf_profile_get_name(none));
}

const struct pfnbuf_profile *pfnbuf_ctx_profile(const struct pfnbuf_ctx *ctx)
{
	return atomic_load(&ctx->profile);
}

int pfnbuf_ctx_get_iommufd(struct pfnbuf_ctx *ctx)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->iommufd_lock);
	cleanup_free char *path = NULL;
	int r;

	if (ctx->iommufd >= 0)
		return ctx->iommufd;
	if (asprintf(&path, "%s/iommu", ctx->devtmpfs) < 0) {
		path = NULL;
		return pfnbuf_failed(-ENOMEM, "open /dev/iommu", "context", NULL);
	}
	r = k_open(ctx->kernel, path, O_RDWR | O_CLOEXEC);
	if (r < 0)
		return pfnbuf_failed(r, "open /dev/iommu", path, NULL);
	ctx->iommufd = r;
	return r;
}

int pfnbuf_ctx_imports_ranges(struct pfnbuf_ctx *ctx)
{
	return atomic_load(&ctx->imports_ranges);
}

void pfnbuf_ctx_learn_import(struct pfnbuf_ctx *ctx, bool takes_ranges)
{
	atomic_store(&ctx->imports_ranges, takes_ranges);
}

/* ---------------------------------------------------------------- objects ------------------- */

void pfnbuf_ctx_link(struct pfnbuf_ctx *ctx, enum pfnbuf_ctx_list list, struct pfnbuf_link *link)
{
	pthread_rwlock_wrlock(&ctx->topology);
	pfnbuf_list_add_tail(&ctx->lists[list], link);
	pthread_rwlock_unlock(&ctx->topology);
}

void pfnbuf_ctx_unlink(struct pfnbuf_ctx *ctx, struct pfnbuf_link *link)
{
	pthread_rwlock_wrlock(&ctx->topology);
	pfnbuf_list_del(link);
	pthread_rwlock_unlock(&ctx->topology);
}

uint64_t pfnbuf_ctx_new_id(struct pfnbuf_ctx *ctx)
{
	return atomic_fetch_add(&ctx->ids, 1) + 1;
}

pthread_rwlock_t *pfnbuf_ctx_hold(struct pfnbuf_ctx *ctx)
{
	pthread_rwlock_rdlock(&ctx->topology);
	return &ctx->topology;
}

const struct pfnbuf_link *pfnbuf_ctx_list(const struct pfnbuf_ctx *ctx, enum pfnbuf_ctx_list list)
{
	return &ctx->lists[list];
}

int pfnbuf_ctx_note_mapping(struct pfnbuf_ctx *ctx, struct pfnbuf_identity file, uint64_t offset,
			    uint64_t length, void *addr)
{
	struct mapping *m = malloc(sizeof(*m));
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->mappings_lock);

	if (!m)
		return -ENOMEM;
	*m = (struct mapping){ ctx->mappings, file, offset, length, addr };
	ctx->mappings = m;
	return 0;
}

void pfnbuf_ctx_forget_mapping(struct pfnbuf_ctx *ctx, const void *addr)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->mappings_lock);

	for (struct mapping **m = &ctx->mappings; *m; m = &(*m)->next)
		if ((*m)->addr == addr) {
			struct mapping *gone = *m;

			*m = gone->next;
			free(gone);
			return;
		}
}

void *pfnbuf_ctx_find_mapping(struct pfnbuf_ctx *ctx, struct pfnbuf_identity file, uint64_t offset,
			      size_t i)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->mappings_lock);

	for (const struct mapping *m = ctx->mappings; m; m = m->next)
		if (m->file.dev == file.dev && m->file.ino == file.ino &&
		    offset - m->offset < m->length && !i--)
			return m->addr + (offset - m->offset);
	return NULL;
}

void pfnbuf_ctx_close_fd(struct pfnbuf_ctx *ctx, int fd, const char *object)
{
	int r = k_close(ctx->kernel, fd);

	if (r < 0)
		pfnbuf_ctx_log(ctx, PFNBUF_LOG_WARNING, "%s: closing fd %d failed with %s", object,
			       fd, pfnbuf_errno_name(r));
}

void pfnbuf_ctx_log(struct pfnbuf_ctx *ctx, enum pfnbuf_log_level level, const char *format, ...)
{
	char message[512];
	va_list ap;

	if (!ctx->log)
		return;
	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	ctx->log(ctx->log_data, level, message);
}

/* ---------------------------------------------------------------- waiting ------------------- */

int pfnbuf_ctx_watch(struct pfnbuf_ctx *ctx, struct pfnbuf_watch *watch)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->dispatch);

	return ctx->engine->ops->add(ctx->engine, watch);
}

/* On return no callback of this watch runs or will run. */
void pfnbuf_ctx_unwatch(struct pfnbuf_ctx *ctx, struct pfnbuf_watch *watch)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->dispatch);

	ctx->engine->ops->del(ctx->engine, watch);
}

/* ---------------------------------------------------------------- events -------------------- */

/*
 * The context's fd is readable while events are queued: where the engine holds, what a watch
 * announced keeps it so; for the others the queue's own eventfd is signalled. Both fall silent when
 * the queue has been emptied.
 */
static void signal_queued(struct pfnbuf_ctx *ctx)
{
	const uint64_t one = 1;

	if (!ctx->is_signalled)
		ctx->is_signalled =
			k_write(ctx->kernel, ctx->queued.fd, &one, sizeof(one)) == sizeof(one);
}

static bool is_empty(struct pfnbuf_ctx *ctx, bool *held_readable)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->queue);

	*held_readable = ctx->is_held;
	return !ctx->nr_events;
}

/* What another thread pushed while the watches were being read may have lost its signal. */
static void signal_rest(struct pfnbuf_ctx *ctx)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->queue);

	ctx->is_signalled = false;
	ctx->is_held = false;
	if (ctx->nr_events)
		signal_queued(ctx);
}

/* With the dispatch lock held. */
static void fall_silent(struct pfnbuf_ctx *ctx)
{
	bool is_held;

	if (!is_empty(ctx, &is_held))
		return;
	ctx->engine->ops->drained(ctx->engine, is_held);
	signal_rest(ctx);
}

static int dispatch_engine(struct pfnbuf_ctx *ctx)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->dispatch);
	int r = ctx->engine->ops->dispatch(ctx->engine);

	fall_silent(ctx);
	return r;
}

bool pfnbuf_ctx_defer(struct pfnbuf_ctx *ctx, struct pfnbuf_work *work)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->queue);

	if (!pfnbuf_list_is_empty(&work->link))
		return false;
	pfnbuf_list_add_tail(&ctx->deferred, &work->link);
	return true;
}

bool pfnbuf_ctx_cancel(struct pfnbuf_ctx *ctx, struct pfnbuf_work *work)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->queue);

	if (pfnbuf_list_is_empty(&work->link))
		return false;
	pfnbuf_list_del(&work->link);
	return true;
}

/* A context outlives its dispatch, which a conversion that waits may not. */
void pfnbuf_ctx_defer_retry(struct pfnbuf_ctx *ctx, void (*try_again)(struct pfnbuf_ctx *ctx))
{
	atomic_store(&ctx->try_again, try_again);
	pfnbuf_ctx_defer(ctx, &ctx->retry);
}

static struct pfnbuf_work *next_deferred(struct pfnbuf_ctx *ctx)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->queue);
	struct pfnbuf_work *work;

	if (pfnbuf_list_is_empty(&ctx->deferred))
		return NULL;
	work = pfnbuf_container_of(ctx->deferred.next, struct pfnbuf_work, link);
	pfnbuf_list_del(&work->link);
	return work;
}

int pfnbuf_ctx_dispatch(struct pfnbuf_ctx *ctx)
{
	struct pfnbuf_work *work;
	int r = dispatch_engine(ctx);

	while ((work = next_deferred(ctx)))
		work->run(work);
	return r;
}

static void keep_event(struct pfnbuf_ctx *ctx, const struct pfnbuf_event *event)
{
	ctx->events[(ctx->first + ctx->nr_events) % ctx->max_events] = *event;
	ctx->nr_events++;
}

static struct pfnbuf_event lost_event(struct pfnbuf_ctx *ctx)
{
	struct pfnbuf_event event = {
		.seq = ctx->seq,
		.type = PFNBUF_EVENT_LOST,
		.count = ctx->lost,
	};

	ctx->lost = 0;
	return event;
}

/*
 * After a loss the next event is kept only where the LOST event in front of it finds room, too, so
 * that a reader sees the gap where it was.
 */
void pfnbuf_ctx_push_event(struct pfnbuf_ctx *ctx, const struct pfnbuf_event *event, bool announced)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->queue);
	struct pfnbuf_event copy = *event;
	uint32_t needed = ctx->lost ? 2 : 1;

	if (ctx->max_events - ctx->nr_events < needed) {
		ctx->seq++;
		ctx->lost++;
		return;
	}
	if (ctx->lost) {
		struct pfnbuf_event lost = lost_event(ctx);

		keep_event(ctx, &lost);
	}
	copy.seq = ++ctx->seq;
	keep_event(ctx, &copy);
	if (announced && ctx->engine->holds)
		return;
	ctx->is_held |= announced;
	signal_queued(ctx);
}

/* Takes the oldest event; *last says whether it was the last. */
static int take_event(struct pfnbuf_ctx *ctx, struct pfnbuf_event *ev, bool *last)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->queue);

	if (!ctx->nr_events)
		return 0;
	*ev = ctx->events[ctx->first];
	ctx->first = (ctx->first + 1) % ctx->max_events;
	ctx->nr_events--;
	if (!ctx->nr_events && ctx->lost) {
		struct pfnbuf_event lost = lost_event(ctx);

		keep_event(ctx, &lost);
	}
	*last = !ctx->nr_events;
	return 1;
}

int pfnbuf_ctx_pop_event(struct pfnbuf_ctx *ctx, struct pfnbuf_event *ev)
{
	bool last;

	if (!take_event(ctx, ev, &last))
		return 0;
	if (last) {
		cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->dispatch);

		fall_silent(ctx);
	}
	return 1;
}

void pfnbuf_ctx_forget_device(struct pfnbuf_ctx *ctx, const struct pfnbuf_device *device)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->queue);

	for (uint32_t i = 0; i < ctx->nr_events; i++) {
		struct pfnbuf_event *event = &ctx->events[(ctx->first + i) % ctx->max_events];

		if (event->device == device)
			event->device = NULL;
	}
}

void pfnbuf_ctx_forget_window(struct pfnbuf_ctx *ctx, const struct pfnbuf_window *window)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&ctx->queue);

	for (uint32_t i = 0; i < ctx->nr_events; i++) {
		struct pfnbuf_event *event = &ctx->events[(ctx->first + i) % ctx->max_events];

		if (event->window == window)
			event->window = NULL;
	}
}

const char *pfnbuf_event_type_name(enum pfnbuf_event_type type)
{
	switch (type) {
	case PFNBUF_EVENT_LOST:
		return "lost";
	case PFNBUF_EVENT_REVOKED:
		return "revoked";
	case PFNBUF_EVENT_LIVE:
		return "live";
	case PFNBUF_EVENT_DEAD:
		return "dead";
	case PFNBUF_EVENT_REMOVAL_REQUEST:
		return "removal-request";
	case PFNBUF_EVENT_DEVICE_ERROR:
		return "device-error";
	case PFNBUF_EVENT_RESTORED:
		return "restored";
	case PFNBUF_EVENT_RESTORE_FAILED:
		return "restore-failed";
	case PFNBUF_EVENT_QUARANTINED:
		return "quarantined";
	case PFNBUF_EVENT_TDI_ERROR:
		return "tdi-error";
	case PFNBUF_EVENT_TDI_UNBOUND:
		return "tdi-unbound";
	case PFNBUF_EVENT_CONVERTED:
		return "converted";
	case PFNBUF_EVENT_CONVERT_FAILED:
		return "convert-failed";
	}
	return "?";
}

const char *pfnbuf_cause_name(enum pfnbuf_cause cause)
{
	switch (cause) {
	case PFNBUF_CAUSE_NONE:
		return "none";
	case PFNBUF_CAUSE_RESET:
		return "reset";
	case PFNBUF_CAUSE_HOT_RESET:
		return "hot-reset";
	case PFNBUF_CAUSE_FLR:
		return "flr";
	case PFNBUF_CAUSE_DECODE_OFF:
		return "decode-off";
	case PFNBUF_CAUSE_POWER:
		return "power";
	case PFNBUF_CAUSE_CLOSE:
		return "close";
	case PFNBUF_CAUSE_FOREIGN:
		return "foreign";
	case PFNBUF_CAUSE_DISCONNECT:
		return "disconnect";
	case PFNBUF_CAUSE_WINDOW:
		return "window";
	}
	return "?";
}
