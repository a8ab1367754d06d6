/* SPDX-License-Identifier: MIT */
/*
 * Conversions of a guest's memory, over all windows of a VM, and what a vCPU's exits ask for.
 *
 * Windows are planned first and then run one after the other, none of which gives back memory; when
 * the last one has run all of them stand. So until then everything can be undone.
 */
#include <inttypes.h>
#include <stdio.h>

#include "private.h"
#include "uapi/kvm.h"

/* A window that takes part. */
struct part {
	struct pfnbuf_window *w;
	pthread_mutex_t *lock;
	struct pfnbuf_plan *plan; /* NULL: nothing to do */
};

struct parts {
	struct part *list;
	size_t nr;
	struct part few[4]; /* the list, where no more can take part */
};

static void end_parts(struct parts *parts)
{
	for (size_t i = parts->nr; i-- > 0;) {
		pfnbuf_plan_free(parts->list[i].plan);
		pthread_mutex_unlock(parts->list[i].lock);
	}
	if (parts->list != parts->few)
		free(parts->list);
}

#define cleanup_parts __attribute__((cleanup(end_parts)))

static bool meets(struct pfnbuf_window *w, const struct pfnbuf_vm *vm,
		  const struct pfnbuf_conversion *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (pfnbuf_window_meets(w, vm, list[i].offset, list[i].length))
			return true;
	return false;
}

static size_t count_windows(const struct pfnbuf_link *windows)
{
	size_t n = 0;

	for (const struct pfnbuf_link *l = windows->next; l != windows; l = l->next)
		n++;
	return n;
}

/* Lock the windows that take part. */
static int gather(struct pfnbuf_vm *vm, const struct pfnbuf_conversion *list, size_t n,
		  struct parts *parts)
{
	const struct pfnbuf_link *windows = pfnbuf_ctx_list(pfnbuf_vm_ctx(vm), PFNBUF_LIST_WINDOWS);
	const size_t most = count_windows(windows);

	parts->list = most <= sizeof(parts->few) / sizeof(*parts->few)
			      ? parts->few
			      : calloc(most, sizeof(*parts->list));
	if (!parts->list)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_guest_convert", pfnbuf_vm_name(vm), NULL);
	for (const struct pfnbuf_link *l = windows->next; l != windows; l = l->next) {
		struct pfnbuf_window *w = pfnbuf_window_of_link(l);

		if (meets(w, vm, list, n))
			parts->list[parts->nr++] = (struct part){ w, pfnbuf_window_lock(w), NULL };
	}
	return 0;
}

/* *culprit is the window that fails. */
static int run(const struct parts *parts, struct pfnbuf_window **culprit)
{
	int r = 0;
	size_t i;

	for (i = 0; r >= 0 && i < parts->nr; i++)
		if (parts->list[i].plan)
			r = pfnbuf_window_try(parts->list[i].w, parts->list[i].plan);
	if (r >= 0)
		return 0;
	*culprit = parts->list[--i].w;
	/* That one has been undone. */
	while (i-- > 0)
		if (parts->list[i].plan)
			pfnbuf_window_take_back(parts->list[i].w, parts->list[i].plan);
	return r;
}

static int settle(const struct parts *parts)
{
	int kept = 0;

	for (size_t i = 0; i < parts->nr; i++)
		if (parts->list[i].plan)
			kept |= pfnbuf_window_settle(parts->list[i].w, parts->list[i].plan);
	return kept;
}

/* ---------------------------------------------------------------- requests ------------------ */

/* Conversions of guest memory in @vm, or of @w alone. With the topology held. */
struct request {
	struct pfnbuf_vm *vm; /* NULL: of @w */
	struct pfnbuf_window *w;
	const struct pfnbuf_conversion *list;
	size_t n;
};

static int gather_one(struct pfnbuf_window *w, struct parts *parts)
{
	parts->list = parts->few;
	parts->list[parts->nr++] = (struct part){ w, pfnbuf_window_lock(w), NULL };
	return 0;
}

static int plan_and_run(const struct request *q, const struct parts *parts,
			struct pfnbuf_window **culprit)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < parts->nr; i++)
		r = pfnbuf_window_plan_conversions(parts->list[i].w, q->vm, q->list, q->n,
						   &parts->list[i].plan);
	if (r >= 0)
		r = run(parts, culprit);
	return r < 0 ? r : settle(parts);
}

static int convert(const struct request *q, struct pfnbuf_window **culprit)
{
	cleanup_parts struct parts parts = { 0 };
	int r = q->vm ? gather(q->vm, q->list, q->n, &parts) : gather_one(q->w, &parts);

	if (r < 0)
		return r;
	r = parts.nr == 1 ? pfnbuf_window_turn_granules(parts.list->w, q->vm, q->list, q->n)
			  : PFNBUF_NOT_TURNED;
	return r == PFNBUF_NOT_TURNED ? plan_and_run(q, &parts, culprit) : r;
}

/* ---------------------------------------------------------------- waiting ------------------- */

#define FIRST_PAUSE   UINT64_C(1000000) /* ns */
#define LONGEST_PAUSE (64 * FIRST_PAUSE)
#define MAX_TRIES     10

/* A request that the kernel could not do yet. */
struct pending {
	struct pfnbuf_waiter waiter; /* of the window whose page is held */
	struct pfnbuf_watch timer;
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_window *culprit;
	atomic_bool is_due;
	unsigned tries; /* after the first */
	struct request request;
	struct pfnbuf_conversion list[];
};

static struct pending *of_waiter(struct pfnbuf_waiter *waiter)
{
	return pfnbuf_container_of(waiter, struct pending, waiter);
}

static void end_pending(struct pfnbuf_waiter *waiter)
{
	struct pending *p = of_waiter(waiter);

	pfnbuf_ctx_unwatch(p->ctx, &p->timer);
	pfnbuf_ctx_close_fd(p->ctx, p->timer.fd, "timer");
	free(p);
}

/* Called with the topology held. Takes the first that is due off the window's list. */
static struct pending *next_due(struct pfnbuf_window *w)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_window_lock(w);
	struct pfnbuf_link *waiters = pfnbuf_window_waiters(w);

	for (struct pfnbuf_link *l = waiters->next; l != waiters; l = l->next) {
		struct pending *p = of_waiter(pfnbuf_container_of(l, struct pfnbuf_waiter, link));

		if (!atomic_exchange(&p->is_due, false))
			continue;
		pfnbuf_list_del(&p->waiter.link);
		return p;
	}
	return NULL;
}

static int start_timer(struct pending *p)
{
	uint64_t pause = FIRST_PAUSE << p->tries;
	int r;

	pause = pause < LONGEST_PAUSE ? pause : LONGEST_PAUSE;
	r = k_timerfd_set(pfnbuf_ctx_get_kernel(p->ctx), p->timer.fd, pause);
	return r < 0 ? pfnbuf_failed(r, "timerfd_settime", "context", NULL) : 0;
}

static void enter(struct pending *p)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_window_lock(p->culprit);

	pfnbuf_list_add_tail(pfnbuf_window_waiters(p->culprit), &p->waiter.link);
}

static void leave(struct pending *p)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_window_lock(p->culprit);

	pfnbuf_list_del(&p->waiter.link);
}

/* In the list before it is watched: a dispatch that the timer wakes finds it there. */
static int arm(struct pending *p)
{
	int r;

	enter(p);
	r = start_timer(p);
	if (r >= 0)
		r = pfnbuf_ctx_watch(p->ctx, &p->timer);
	if (r < 0)
		leave(p);
	return r;
}

static void tell(const struct pending *p, int result)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_window_lock(p->culprit);

	pfnbuf_window_tell_converted(p->culprit, p->request.vm, p->list, p->request.n, result);
}

/*
 * The watch is taken away and set up again each time: what the timer said before is then forgotten,
 * whatever the engine has read of it.
 */
static void try_again(struct pending *p)
{
	struct pfnbuf_window *culprit = p->culprit;
	int r;

	pfnbuf_ctx_unwatch(p->ctx, &p->timer);
	r = convert(&p->request, &culprit);
	if (r == -EAGAIN && ++p->tries < MAX_TRIES) {
		p->culprit = culprit;
		if (arm(p) >= 0)
			return;
	}
	tell(p, r);
	end_pending(&p->waiter);
}

/* What a dispatch does when it has let go of its lock. */
static void try_due(struct pfnbuf_ctx *ctx)
{
	cleanup_rwunlock pthread_rwlock_t *held = pfnbuf_ctx_hold(ctx);
	const struct pfnbuf_link *windows = pfnbuf_ctx_list(ctx, PFNBUF_LIST_WINDOWS);
	struct pending *p;

	for (const struct pfnbuf_link *l = windows->next; l != windows; l = l->next)
		while ((p = next_due(pfnbuf_window_of_link(l))))
			try_again(p);
}

static void timer_is_ready(struct pfnbuf_watch *watch)
{
	struct pending *p = pfnbuf_container_of(watch, struct pending, timer);

	atomic_store(&p->is_due, true);
	pfnbuf_ctx_defer_retry(p->ctx, try_due);
}

static struct pending *new_pending(const struct request *q, struct pfnbuf_window *culprit)
{
	struct pending *p = calloc(1, sizeof(*p) + q->n * sizeof(*p->list));

	if (!p)
		return NULL;
	memcpy(p->list, q->list, q->n * sizeof(*p->list));
	p->request = *q;
	p->request.list = p->list;
	p->culprit = culprit;
	p->ctx = pfnbuf_window_ctx(culprit);
	p->waiter.end = end_pending;
	p->timer.ready = timer_is_ready;
	return p;
}

static int wait_for(const struct request *q, struct pfnbuf_window *culprit)
{
	cleanup_free struct pending *p = new_pending(q, culprit);
	const struct pfnbuf_kernel *k;
	int r;

	if (!p)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_window_convert", "context", NULL);
	k = pfnbuf_ctx_get_kernel(p->ctx);
	p->timer.fd = k_timerfd(k);
	if (p->timer.fd < 0)
		return pfnbuf_failed(p->timer.fd, "timerfd_create", "context", NULL);
	r = arm(p);
	if (r < 0) {
		pfnbuf_ctx_close_fd(p->ctx, p->timer.fd, "timer");
		return r;
	}
	p = NULL;
	return PFNBUF_PENDING;
}

/* ---------------------------------------------------------------- calls --------------------- */

static int convert_or_wait(const struct request *q)
{
	struct pfnbuf_window *culprit = NULL;
	int r = convert(q, &culprit);

	return r == -EAGAIN && culprit && pfnbuf_window_retries(culprit) ? wait_for(q, culprit) : r;
}

int pfnbuf_window_convert_batch(struct pfnbuf_window *w, const struct pfnbuf_conversion *list,
				size_t n)
{
	cleanup_rwunlock pthread_rwlock_t *held = pfnbuf_ctx_hold(pfnbuf_window_ctx(w));
	const struct request q = { NULL, w, list, n };

	return convert_or_wait(&q);
}

static int check(const struct pfnbuf_vm *vm, const struct pfnbuf_conversion *c)
{
	const struct pfnbuf_range range = { c->offset, c->length };
	const char *wrong = NULL;

	if (c->to != PFNBUF_SHARED && c->to != PFNBUF_PRIVATE)
		wrong = "memory is converted to shared or private";
	else if (!c->length || (c->offset | c->length) % pfnbuf_page_size())
		wrong = "the range is empty or misaligned";
	else if (c->length - 1 > UINT64_MAX - c->offset)
		wrong = "the range wraps around";
	if (!wrong)
		return 0;
	return pfnbuf_refused(-EINVAL, "pfnbuf_guest_convert", pfnbuf_vm_name(vm), &range, "", "%s",
			      wrong);
}

int pfnbuf_guest_convert(struct pfnbuf_vm *vm, const struct pfnbuf_conversion *list, size_t n)
{
	cleanup_rwunlock pthread_rwlock_t *held = pfnbuf_ctx_hold(pfnbuf_vm_ctx(vm));
	const struct request q = { vm, NULL, list, n };

	for (size_t i = 0; i < n; i++) {
		int r = check(vm, &list[i]);

		if (r < 0)
			return r;
	}
	return convert_or_wait(&q);
}

/* ---------------------------------------------------------------- exits --------------------- */

/* What the VM's windows have in a range. */
static struct pfnbuf_window_view look(struct pfnbuf_vm *vm, const struct pfnbuf_conversion *c)
{
	cleanup_rwunlock pthread_rwlock_t *held = pfnbuf_ctx_hold(pfnbuf_vm_ctx(vm));
	const struct pfnbuf_link *windows = pfnbuf_ctx_list(pfnbuf_vm_ctx(vm), PFNBUF_LIST_WINDOWS);
	struct pfnbuf_window_view view = { false, false, false };

	for (const struct pfnbuf_link *l = windows->next; l != windows && !view.differs;
	     l = l->next) {
		struct pfnbuf_window *w = pfnbuf_window_of_link(l);

		if (pfnbuf_window_meets(w, vm, c->offset, c->length))
			pfnbuf_window_look(w, c, &view);
	}
	return view;
}

#ifdef __x86_64__

#define MAP_GPA_RANGE_KNOWN (0xfU | KVM_MAP_GPA_RANGE_ENCRYPTED)

/* Whether a guest's request makes sense; KVM has looked at the range already. */
static bool read_request(const uint64_t *args, struct pfnbuf_conversion *c)
{
	const uint64_t pages = args[1], attributes = args[2];

	*c = (struct pfnbuf_conversion){
		.offset = args[0],
		.length = pages * 4096,
		.to = attributes & KVM_MAP_GPA_RANGE_ENCRYPTED ? PFNBUF_PRIVATE : PFNBUF_SHARED,
	};
	return pages && pages <= UINT64_MAX / 4096 &&
	       !(attributes & ~(uint64_t)MAP_GPA_RANGE_KNOWN) && c->offset % 4096 == 0 &&
	       c->length - 1 <= UINT64_MAX - c->offset;
}

static struct pfnbuf_exit_advice explain_hypercall(struct pfnbuf_vm *vm,
						   const struct pfnbuf_exit *exit)
{
	struct pfnbuf_conversion c;

	if (exit->nr != KVM_HC_MAP_GPA_RANGE)
		return (struct pfnbuf_exit_advice){
			.action = PFNBUF_EXIT_NOT_OURS,
			.ret = (uint64_t)-KVM_ENOSYS,
			.reason = "another hypercall",
		};
	if (!read_request(exit->args, &c))
		return (struct pfnbuf_exit_advice){
			.action = PFNBUF_EXIT_RESUME,
			.ret = EINVAL, /* positive: arch/x86/kvm/x86.h:kvm_is_valid_map_gpa_range_ret */
			.reason = "the guest asks for a range or an attribute that cannot be",
		};
	if (!look(vm, &c).differs)
		return (struct pfnbuf_exit_advice){
			.action = PFNBUF_EXIT_RESUME,
			.reason = "the guest asks for what is so already, or where no memory is",
		};
	return (struct pfnbuf_exit_advice){
		.action = PFNBUF_EXIT_CONVERT,
		.conversion = c,
		.reason = c.to == PFNBUF_PRIVATE ? "the guest asks for private memory"
						 : "the guest asks for shared memory",
	};
}

#else

static struct pfnbuf_exit_advice explain_hypercall(struct pfnbuf_vm *vm,
						   const struct pfnbuf_exit *exit)
{
	(void)vm;
	(void)exit;
	return (struct pfnbuf_exit_advice){
		.action = PFNBUF_EXIT_NOT_OURS,
		.reason = "no hypercall of this architecture converts memory",
	};
}

#endif

/* The pages of an access; arm64 says which bytes. */
static int read_fault(const struct pfnbuf_vm *vm, const struct pfnbuf_exit *exit,
		      struct pfnbuf_conversion *c)
{
	const struct pfnbuf_range range = { exit->gpa, exit->length };
	const uint64_t page = pfnbuf_page_size();
	const uint64_t last = exit->gpa + exit->length - 1;

	if (!exit->length || last < exit->gpa)
		return pfnbuf_refused(-EINVAL, "pfnbuf_exit_explain", pfnbuf_vm_name(vm), &range,
				      "", "the fault's range is empty or wraps around");
	c->offset = exit->gpa - exit->gpa % page;
	c->length = last - last % page + page - c->offset;
	c->to = exit->flags & KVM_MEMORY_EXIT_FLAG_PRIVATE ? PFNBUF_PRIVATE : PFNBUF_SHARED;
	return 0;
}

static struct pfnbuf_exit_advice explain_fault(struct pfnbuf_vm *vm,
					       const struct pfnbuf_conversion *c)
{
	const struct pfnbuf_window_view view = look(vm, c);

	if (!view.is_memory)
		return (struct pfnbuf_exit_advice){
			.action = PFNBUF_EXIT_NO_MEMORY,
			.reason = "no window has memory there",
		};
	if (view.is_suspended)
		return (struct pfnbuf_exit_advice){
			.action = PFNBUF_EXIT_NO_MEMORY,
			.reason = "the window there is suspended",
		};
	if (!view.differs)
		return (struct pfnbuf_exit_advice){
			.action = PFNBUF_EXIT_RESUME,
			.reason = "it has been converted meanwhile",
		};
	return (struct pfnbuf_exit_advice){
		.action = PFNBUF_EXIT_CONVERT,
		.conversion = *c,
		.reason = c->to == PFNBUF_PRIVATE ? "the guest took shared memory for private"
						  : "the guest took private memory for shared",
	};
}

int pfnbuf_exit_explain(struct pfnbuf_vm *vm, const struct pfnbuf_exit *exit,
			struct pfnbuf_exit_advice *advice)
{
	struct pfnbuf_conversion c;
	int r;

	switch (exit->kind) {
	case PFNBUF_EXIT_HYPERCALL:
		*advice = explain_hypercall(vm, exit);
		return 0;
	case PFNBUF_EXIT_MEMORY_FAULT:
		r = read_fault(vm, exit, &c);
		if (r >= 0)
			*advice = explain_fault(vm, &c);
		return r;
	}
	return pfnbuf_refused(-EINVAL, "pfnbuf_exit_explain", pfnbuf_vm_name(vm), NULL, "",
			      "exits of kind %d are not the library's", (int)exit->kind);
}

const char *pfnbuf_exit_action_name(enum pfnbuf_exit_action action)
{
	switch (action) {
	case PFNBUF_EXIT_RESUME:
		return "resume";
	case PFNBUF_EXIT_CONVERT:
		return "convert";
	case PFNBUF_EXIT_NO_MEMORY:
		return "no-memory";
	case PFNBUF_EXIT_NOT_OURS:
		return "not-ours";
	}
	return "?";
}
