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
};

static void end_parts(struct parts *parts)
{
	for (size_t i = parts->nr; i-- > 0;) {
		pfnbuf_plan_free(parts->list[i].plan);
		pthread_mutex_unlock(parts->list[i].lock);
	}
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

	parts->list = calloc(count_windows(windows) + 1, sizeof(*parts->list));
	if (!parts->list)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_guest_convert", pfnbuf_vm_name(vm), NULL);
	for (const struct pfnbuf_link *l = windows->next; l != windows; l = l->next) {
		struct pfnbuf_window *w = pfnbuf_window_of_link(l);

		if (meets(w, vm, list, n))
			parts->list[parts->nr++] = (struct part){ w, pfnbuf_window_lock(w), NULL };
	}
	return 0;
}

static int run(const struct parts *parts)
{
	int r = 0;
	size_t i;

	for (i = 0; r >= 0 && i < parts->nr; i++)
		if (parts->list[i].plan)
			r = pfnbuf_window_try(parts->list[i].w, parts->list[i].plan);
	if (r >= 0)
		return 0;
	/* The last one that was tried has been undone. */
	for (i--; i-- > 0;)
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
	cleanup_parts struct parts parts = { 0 };
	int r = 0;

	for (size_t i = 0; r >= 0 && i < n; i++)
		r = check(vm, &list[i]);
	if (r >= 0)
		r = gather(vm, list, n, &parts);
	for (size_t i = 0; r >= 0 && i < parts.nr; i++)
		r = pfnbuf_window_plan_conversions(parts.list[i].w, list, n, &parts.list[i].plan);
	if (r >= 0)
		r = run(&parts);
	return r < 0 ? r : settle(&parts);
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
			.ret = (uint64_t)-EINVAL,
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
