/* SPDX-License-Identifier: MIT */
/*
 * A window: a BAR or a block of RAM, placed in a VM and an IOAS under a layout.
 *
 * What stands behind a layout are *pieces*, see pieces.h: what goes and what comes is found in what
 * two layouts differ in. RAM with a guest_memfd is shared and private memory behind one slot, and
 * which of them the guest sees is a matter of attributes: so a conversion touches no slot.
 *
 * An area shows one range of one buffer. Linux 7.3 imports dma-bufs of one range only
 * (drivers/vfio/pci/vfio_pci_dmabuf.c), so each stretch of a sparse BAR is a buffer of its own; a
 * kernel that imports several gets one for all. A BAR in one piece needs one in any case: runs are
 * imported by their offset in it.
 *
 * The window keeps its slots, because their ids may change; its areas are in the IOAS's ledger.
 */
#include <inttypes.h>
#include <stdio.h>

#include "window.h"

static struct pfnbuf_window *of_owner(struct pfnbuf_plan_owner *owner)
{
	return pfnbuf_container_of(owner, struct pfnbuf_window, owner);
}

static struct pfnbuf_window *of_hook(struct pfnbuf_revoke_hook *hook)
{
	return pfnbuf_container_of(hook, struct pfnbuf_window, hook);
}

int pfnbuf_window_no_memory(const struct pfnbuf_window *w, const char *call)
{
	return pfnbuf_failed(-ENOMEM, call, w->name, NULL);
}

/* ---------------------------------------------------------------- slots --------------------- */

static struct pfnbuf_range slot_range(const struct pfnbuf_window_slot *slot)
{
	return (struct pfnbuf_range){ slot->node.key, slot->length };
}

static void enter_slot(struct pfnbuf_window *w, struct pfnbuf_window_slot *slot)
{
	pfnbuf_tree_insert(&w->slots, &slot->node);
	w->nr_slots++;
}

static void remove_slot(struct pfnbuf_window *w, struct pfnbuf_window_slot *slot)
{
	pfnbuf_tree_remove(&w->slots, &slot->node);
	w->nr_slots--;
	free(slot);
}

static void log_last(const struct pfnbuf_window *w)
{
	pfnbuf_ctx_log(w->ctx, PFNBUF_LOG_ERROR, "%s: %s", w->name, pfnbuf_last_error());
}

static void delete_slot(const struct pfnbuf_window *w, struct pfnbuf_window_slot *slot)
{
	if (slot->held && pfnbuf_vm_delete_slot(w->vm, slot->id) < 0)
		log_last(w);
	slot->held = false;
}

static void delete_slots(const struct pfnbuf_window *w)
{
	struct pfnbuf_window_slot *s;

	for (s = slot_from(w, 0); s; s = slot_after(w, s))
		delete_slot(w, s);
	for (s = w->strays; s; s = slot_of(s->node.right))
		delete_slot(w, s);
}

/* ---------------------------------------------------------------- state --------------------- */

void pfnbuf_window_tell(struct pfnbuf_window *w, enum pfnbuf_event_type type,
			struct pfnbuf_range range)
{
	struct pfnbuf_event event = { .type = type, .window = w, .range = range };

	if (w->device) {
		event.device = w->dead ? NULL : w->device;
		event.user = pfnbuf_device_get_user(w->device);
		event.generation = pfnbuf_device_get_generation(w->device);
	}
	pfnbuf_ctx_push_event(w->ctx, &event, false);
}

static bool memory_is_on(const struct pfnbuf_window *w)
{
	return !w->device || pfnbuf_device_revocation(w->device).state == PFNBUF_LIVE;
}

int pfnbuf_window_check_usable(const struct pfnbuf_window *w, const char *call)
{
	if (w->dead)
		return pfnbuf_refused(-ENODEV, call, w->name, NULL, "free the window",
				      "its device is closed");
	if (w->quarantined)
		return pfnbuf_refused(-ENOTRECOVERABLE, call, w->name, NULL,
				      "look at it with pfnbuf_window_get_info() and free it",
				      "the window is quarantined");
	return 0;
}

/* Nobody but a bind changes a window that is lent to it. */
int pfnbuf_window_check_changeable(const struct pfnbuf_window *w, const char *call)
{
	int r = pfnbuf_window_check_usable(w, call);

	if (r >= 0 && !w->lent_to && w->device)
		return pfnbuf_device_check_not_lent(w->device, call, w->name, NULL);
	if (r < 0 || !w->lent_to)
		return r;
	return pfnbuf_refused(
		-EBUSY, call, w->name, NULL, "call pfnbuf_bind_unlock() first",
		"its device is bound to the guest, and the report says what it shows");
}

static int check_fresh(const struct pfnbuf_window *w, struct pfnbuf_plan *plan, const char *call)
{
	const struct pfnbuf_plan_goal *goal = pfnbuf_plan_goal(plan);

	if (pfnbuf_plan_has_run(plan))
		return pfnbuf_refused(-EALREADY, call, w->name, NULL, "make a new plan",
				      "the plan has run");
	if (w->ended || goal->version != w->version)
		return pfnbuf_refused(-ESTALE, call, w->name, NULL, "make a new plan",
				      "the window has changed since the plan was made");
	if (goal->generation != generation(w))
		return pfnbuf_refused(-ESTALE, call, w->name, NULL, "make a new plan",
				      "the device was revoked since the plan was made");
	return 0;
}

/*
 * The window alone must not exceed what may be pinned; what others have pinned nobody can ask. This
 * also keeps a window from being quarantined that exceeds a limit which was lowered since: neither
 * the way there nor the way back could be mapped.
 */
int pfnbuf_window_check_memlock(struct pfnbuf_window *w, uint64_t shared_pages, bool has_way_back)
{
	const uint64_t bytes = shared_pages * pfnbuf_page_size();
	uint64_t limit;

	if (bytes <= w->memlock && has_way_back)
		return 0;
	if (k_memlock(w->kernel, &limit) < 0)
		return 0;
	w->memlock = limit;
	if (bytes <= limit)
		return 0;
	return pfnbuf_refused(-ENOMEM, "pfnbuf_plan_check", w->name, NULL,
			      "raise RLIMIT_MEMLOCK, or run with CAP_IPC_LOCK",
			      "the layout shares 0x%" PRIx64 " bytes, which devices pin, and "
			      "RLIMIT_MEMLOCK is 0x%" PRIx64,
			      bytes, limit);
}

static int check_plan_memlock(struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	struct pfnbuf_layout_count count;

	if (w->device || !pfnbuf_plan_maps(plan))
		return 0;
	pfnbuf_layout_count(pfnbuf_plan_goal(plan)->layout, &count);
	/* Where nothing is unmapped there is always a way back. */
	return pfnbuf_window_check_memlock(w, count.frames[PFNBUF_SHARED],
					   !pfnbuf_plan_unmaps(plan));
}

/* What is known beforehand to fail. */
static int check_limits(struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	int r = check_plan_memlock(w, plan);

	return r < 0 ? r : pfnbuf_plan_check_steps(plan);
}

static int check_owned_plan(struct pfnbuf_plan_owner *owner, struct pfnbuf_plan *plan)
{
	static const char call[] = "pfnbuf_plan_check";
	struct pfnbuf_window *w = of_owner(owner);
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	int r;

	/* Somebody else may have attached a device, or lowered the limit. */
	w->memlock = 0;
	if (w->ioas && !w->ended)
		pfnbuf_ioas_forget_space(w->ioas);
	r = pfnbuf_window_check_changeable(w, call);
	if (r >= 0)
		r = check_fresh(w, plan, call);
	return r < 0 ? r : check_limits(w, plan);
}

/* ---------------------------------------------------------------- pins ---------------------- */

static bool is_area_of(const struct stretch *s, const struct pfnbuf_area *area)
{
	if (s->buf)
		return s->buf == area->buf;
	return area->is_va && area->offset - (uintptr_t)s->addr < s->length;
}

static bool owns_area(const struct pfnbuf_window *w, const struct pfnbuf_area *area)
{
	for (size_t i = 0; i < w->nr_stretches; i++)
		if (is_area_of(&w->stretches[i], area))
			return true;
	return false;
}

/*
 * Where a plan may have to look through the context's IOASes and windows, these are held. Called
 * before the window is locked.
 */
static pthread_rwlock_t *hold_for(const struct pfnbuf_window *w)
{
	return w->in_place ? pfnbuf_ctx_hold(w->ctx) : NULL;
}

/* An area of any IOAS that holds the byte of the guest_memfd, through whatever mapping. */
static struct pfnbuf_ioas *find_pin(const struct pfnbuf_window *w, struct pfnbuf_buf *buf,
				    uint64_t offset, struct pfnbuf_area *area)
{
	const struct pfnbuf_identity file = pfnbuf_buf_get_identity(buf);
	const struct pfnbuf_link *ioases = pfnbuf_ctx_list(w->ctx, PFNBUF_LIST_IOASES);
	const void *addr;

	for (size_t i = 0; (addr = pfnbuf_ctx_find_mapping(w->ctx, file, offset, i)); i++)
		for (const struct pfnbuf_link *l = ioases->next; l != ioases; l = l->next)
			if (pfnbuf_ioas_find_va(pfnbuf_ioas_of_link(l), addr, area))
				return pfnbuf_ioas_of_link(l);
	return NULL;
}

/* The window whose area it is, or NULL. What is told of other windows never changes. */
static const struct pfnbuf_window *find_owner(const struct pfnbuf_window *w,
					      const struct pfnbuf_ioas *ioas,
					      const struct pfnbuf_area *area)
{
	const struct pfnbuf_link *windows = pfnbuf_ctx_list(w->ctx, PFNBUF_LIST_WINDOWS);

	for (const struct pfnbuf_link *l = windows->next; l != windows; l = l->next) {
		const struct pfnbuf_window *other =
			pfnbuf_container_of(l, struct pfnbuf_window, link);

		if (other->ioas == ioas && owns_area(other, area))
			return other;
	}
	return NULL;
}

static int unpin(struct pfnbuf_plan_owner *plan_owner, struct pfnbuf_buf *buf, uint64_t offset,
		 struct pfnbuf_pin *pin)
{
	static const char call[] = "KVM_SET_MEMORY_ATTRIBUTES2";
	struct pfnbuf_window *w = of_owner(plan_owner);
	const struct pfnbuf_range page = { offset, pfnbuf_page_size() };
	const struct pfnbuf_window *owner;
	struct pfnbuf_area area;
	int r;

	pin->ioas = find_pin(w, buf, offset, &area);
	if (!pin->ioas)
		return pfnbuf_refused(-EAGAIN, call, pfnbuf_buf_name(buf), &page,
				      "look for vhost, another process that has it mapped, direct "
				      "I/O under way, or an IOAS of another context; then convert "
				      "again",
				      "somebody holds the page whom this context does not know");
	owner = find_owner(w, pin->ioas, &area);
	if (owner)
		return pfnbuf_refused(-EBUSY, call, pfnbuf_buf_name(buf), &page,
				      "convert that one first",
				      "the %s has the page mapped in %s at 0x%" PRIx64, owner->name,
				      pfnbuf_ioas_name(pin->ioas), area.iova);
	r = pfnbuf_ioas_take(pin->ioas, area.iova, area.length, &pin->kept);
	if (r < 0)
		return r;
	pfnbuf_ctx_log(w->ctx, PFNBUF_LOG_INFO,
		       "%s: %s loses the area at 0x%" PRIx64 "+0x%" PRIx64
		       ", which holds a page that becomes private",
		       w->name, pfnbuf_ioas_name(pin->ioas), area.iova, area.length);
	return 1;
}

/* ---------------------------------------------------------------- its end ------------------- */

static void unref(struct pfnbuf_window *w)
{
	if (atomic_fetch_sub(&w->refs, 1) != 1)
		return;
	pthread_mutex_destroy(&w->lock);
	pfnbuf_vm_free(w->vm);
	pfnbuf_ioas_free(w->ioas);
	pfnbuf_device_unref(w->device);
	pfnbuf_ctx_unref(w->ctx);
	free(w);
}

static void release_by_plan(struct pfnbuf_plan_owner *owner)
{
	unref(of_owner(owner));
}

/*
 * Whether the window has placed an area there, as its layout says. Another window may show the same
 * buffer in the same IOAS; where nobody knows what was placed it can be no other's.
 */
static bool has_placed(const struct pfnbuf_window *w, const struct pfnbuf_area *area)
{
	if (!owns_area(w, area))
		return false;
	if (w->quarantined)
		return true;
	return !w->suspended && area->iova >= w->iova &&
	       pfnbuf_layout_test(w->layout, area->iova - w->iova, area->length, PFNBUF_SHARED,
				  NULL) == 1;
}

/* The next areas of the window in [iova, last] that follow each other, as one range. */
static bool next_areas(const struct pfnbuf_window *w, uint64_t iova, uint64_t last,
		       struct pfnbuf_range *range)
{
	struct pfnbuf_area area;
	uint64_t end = 0;
	bool any = false;

	while (iova <= last && pfnbuf_ioas_next_area(w->ioas, iova, &area) && area.iova <= last) {
		end = area.iova + area.length - 1;
		if (has_placed(w, &area)) {
			range->offset = any ? range->offset : area.iova;
			range->length = end - range->offset + 1;
			any = true;
		} else if (any) {
			return true;
		}
		if (end == UINT64_MAX)
			break;
		iova = end + 1;
	}
	return any;
}

static void unmap_areas(const struct pfnbuf_window *w, uint64_t iova)
{
	const uint64_t last = iova + w->length - 1;
	struct pfnbuf_range range = { 0, 0 };

	while (next_areas(w, iova, last, &range)) {
		if (pfnbuf_ioas_unmap(w->ioas, range.offset, range.length, NULL) < 0)
			log_last(w);
		iova = range.offset + range.length;
		if (!iova)
			break;
	}
}

/* The areas of other addresses are not these. */
static void end_granules(struct pfnbuf_window *w)
{
	pfnbuf_ioas_end_granules(w->ioas, w->granules);
	w->granules = NULL;
}

void pfnbuf_window_release_stretch(const struct pfnbuf_window *w, struct stretch *s)
{
	int r = 0;

	/* Closing the device has unmapped its BARs. */
	if (s->mapped && w->device && !w->dead)
		r = pfnbuf_device_bar_unmap(w->device, s->addr);
	else if (s->mapped && !w->device)
		r = pfnbuf_buf_unmap(s->buf ? s->buf : s->guest_memfd, s->addr, s->length);
	if (r < 0)
		log_last(w);
	pfnbuf_buf_unref(s->buf);
	pfnbuf_buf_unref(s->guest_memfd);
}

static void release_slots(struct pfnbuf_window *w)
{
	while (w->slots.root)
		remove_slot(w, slot_of(w->slots.root));
	while (w->strays) {
		struct pfnbuf_window_slot *s = w->strays;

		w->strays = slot_of(s->node.right);
		free(s);
	}
}

/* Guest memory is shared where nobody says otherwise. */
static void reset_attributes(const struct pfnbuf_window *w, uint64_t gpa)
{
	const uint64_t end = gpa + w->length;
	uint64_t attributes, length;

	for (uint64_t at = gpa; at - gpa < w->length; at += length) {
		pfnbuf_vm_get_attributes(w->vm, at, &attributes, &length);
		length = min_u64(length, end - at);
		if (attributes && pfnbuf_vm_set_attributes(w->vm, at, length, 0) < 0)
			log_last(w);
	}
}

static bool has_private_pages(const struct pfnbuf_window *w)
{
	struct pfnbuf_layout_count count;

	pfnbuf_layout_count(w->layout, &count);
	return count.frames[PFNBUF_PRIVATE];
}

/* What is private in place, which is the file's business: the same at any address. */
static void reset_file(const struct pfnbuf_window *w)
{
	const struct stretch *s = &w->stretches[0];
	unsigned long request = 0;
	uint64_t pos = 0, where;
	struct pfnbuf_run run;

	pfnbuf_profile_gmem_attributes(pfnbuf_ctx_profile(w->ctx), &request);
	while (pfnbuf_layout_next(w->layout, &pos, &run, 1) > 0)
		if ((run.vis == PFNBUF_PRIVATE || w->quarantined) &&
		    pfnbuf_buf_set_attributes(s->guest_memfd, request,
					      s->guest_memfd_offset + run.offset, run.length, 0,
					      &where) < 0)
			log_last(w);
}

static void end_attributes(const struct pfnbuf_window *w)
{
	if (!w->has_private || (!w->quarantined && !has_private_pages(w)))
		return;
	if (w->in_place) {
		reset_file(w);
		return;
	}
	reset_attributes(w, w->gpa);
	if (w->other_gpa != w->gpa)
		reset_attributes(w, w->other_gpa);
}

static void end(struct pfnbuf_window *w)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	if (w->ioas)
		unmap_areas(w, w->iova);
	if (w->ioas && w->other_iova != w->iova)
		unmap_areas(w, w->other_iova);
	end_granules(w);
	if (w->vm)
		delete_slots(w);
	end_attributes(w);
	release_slots(w);
	w->layout = pfnbuf_layout_free(w->layout);
	w->ended = true;
}

static struct pfnbuf_bind *borrower(struct pfnbuf_window *w)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	return w->lent_to;
}

/* Nobody finds the window any more, so that no waiter comes. */
static void end_waiters(struct pfnbuf_window *w)
{
	while (!pfnbuf_list_is_empty(&w->waiters)) {
		struct pfnbuf_waiter *waiter =
			pfnbuf_container_of(w->waiters.next, struct pfnbuf_waiter, link);

		pfnbuf_list_del(&waiter->link);
		waiter->end(waiter);
	}
}

struct pfnbuf_window *pfnbuf_window_free(struct pfnbuf_window *w)
{
	struct pfnbuf_bind *bind;

	if (!w)
		return NULL;
	bind = borrower(w);
	if (bind)
		pfnbuf_bind_forget_window(bind, w);
	pfnbuf_ctx_unlink(w->ctx, &w->link);
	end_waiters(w);
	if (w->device)
		pfnbuf_device_unhook(w->device, &w->hook);
	end(w);
	for (size_t i = 0; i < w->nr_stretches; i++)
		pfnbuf_window_release_stretch(w, &w->stretches[i]);
	free(w->stretches);
	free(w->ends);
	w->stretches = NULL;
	w->ends = NULL;
	free(w->own_stretches);
	free(w->own_ends);
	pfnbuf_layout_free(w->own_layout);
	pfnbuf_ctx_forget_window(w->ctx, w);
	unref(w);
	return NULL;
}

/* ---------------------------------------------------------------- revocation ---------------- */

static void suspend_hook(struct pfnbuf_revoke_hook *hook)
{
	struct pfnbuf_window *w = of_hook(hook);
	struct pfnbuf_window_slot *s;

	if (!w->withdraws)
		return;
	pthread_mutex_lock(&w->lock);
	w->withdrawn = true;
	for (s = slot_from(w, 0); s; s = slot_after(w, s))
		if (s->held && pfnbuf_vm_withdraw_slot(w->vm, s->id) < 0)
			log_last(w);
	pthread_mutex_unlock(&w->lock);
}

/* Where some cannot be set the rest is all the same; *missing is the first. */
static int put_back_slots(struct pfnbuf_window *w, struct pfnbuf_range *missing)
{
	struct pfnbuf_first_error first = { .code = 0 };
	struct pfnbuf_window_slot *s;

	if (!w->withdrawn)
		return 0;
	for (s = slot_from(w, 0); s; s = slot_after(w, s)) {
		int r = s->held ? pfnbuf_vm_put_back_slot(w->vm, s->id) : 0;

		if (pfnbuf_first_note(&first, r))
			*missing = slot_range(s);
	}
	w->withdrawn = first.code < 0;
	return pfnbuf_first_end(&first);
}

static bool has_dead_area(const struct pfnbuf_window *w, struct pfnbuf_range *where)
{
	const uint64_t last = w->iova + w->length - 1;
	struct pfnbuf_area area = { .iova = w->iova };

	while (pfnbuf_ioas_next_area(w->ioas, area.iova + area.length, &area) &&
	       area.iova <= last) {
		if (area.dead && owns_area(w, &area)) {
			*where = (struct pfnbuf_range){ area.iova - w->iova, area.length };
			return true;
		}
		if (area.iova + area.length - 1 >= last)
			break;
	}
	return false;
}

/* The window's part of a restore, when the areas are done. */
static int finish_restore(struct pfnbuf_window *w, bool complete)
{
	struct pfnbuf_range missing = { 0, 0 };
	int r = put_back_slots(w, &missing);

	if (!complete && w->ioas)
		complete = !has_dead_area(w, &missing);
	if (r >= 0 && complete)
		pfnbuf_window_tell(w, PFNBUF_EVENT_RESTORED, (struct pfnbuf_range){ 0, w->length });
	else
		pfnbuf_window_tell(w, PFNBUF_EVENT_RESTORE_FAILED, missing);
	return r;
}

static int restore_hook(struct pfnbuf_revoke_hook *hook, bool complete)
{
	struct pfnbuf_window *w = of_hook(hook);
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	return w->quarantined ? 0 : finish_restore(w, complete);
}

static void close_hook(struct pfnbuf_revoke_hook *hook)
{
	struct pfnbuf_window *w = of_hook(hook);
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	w->dead = true;
	if (w->vm)
		delete_slots(w);
}

static int refuse_dark(const struct pfnbuf_window *w)
{
	return pfnbuf_refused(-ENODEV, "pfnbuf_window_restore", w->name, NULL,
			      "turn memory decode on, or leave low power, first",
			      "the device's memory is off: nothing can be imported");
}

int pfnbuf_window_restore(struct pfnbuf_window *w)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	struct pfnbuf_saved_error error;
	int areas = 0, slots, r = pfnbuf_window_check_usable(w, "pfnbuf_window_restore");

	if (r < 0 || !w->device)
		return r;
	if (!memory_is_on(w))
		return refuse_dark(w);
	if (w->ioas)
		areas = pfnbuf_ioas_restore(w->ioas, w->device, w->iova, w->iova + w->length - 1);
	pfnbuf_error_save(&error);
	/* Nothing keeps the device from being revoked meanwhile: the areas themselves tell. */
	slots = finish_restore(w, false);
	if (areas < 0)
		pfnbuf_error_restore(&error);
	if (areas >= 0 && !memory_is_on(w))
		return refuse_dark(w);
	return areas < 0 ? areas : slots;
}

/* ---------------------------------------------------------------- applying ------------------ */

static void commit(struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	struct pfnbuf_plan_goal *goal = pfnbuf_plan_goal(plan);
	struct pfnbuf_layout *old = w->layout;
	const size_t n = pfnbuf_plan_get_nr_steps(plan);

	for (size_t i = 0; i < n; i++) {
		bool enters = false;
		struct pfnbuf_window_slot *slot = pfnbuf_plan_take_slot(plan, i, &enters);

		if (slot && enters)
			enter_slot(w, slot);
		else if (slot)
			remove_slot(w, slot);
	}
	w->layout = goal->layout;
	goal->layout = old;
	w->gpa = goal->gpa;
	if (w->iova != goal->iova)
		end_granules(w);
	w->iova = goal->iova;
	w->other_gpa = goal->gpa;
	w->other_iova = goal->iova;
	w->suspended = goal->suspended;
	w->version++;
}

/* Slots that the plan has set, and nobody could delete, stay the window's to free. */
static void keep_strays(struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	const size_t n = pfnbuf_plan_get_nr_steps(plan);

	for (size_t i = 0; i < n; i++) {
		bool enters = false;
		struct pfnbuf_window_slot *slot = pfnbuf_plan_take_slot(plan, i, &enters);

		if (!slot || !enters)
			continue;
		slot->node.right = w->strays ? &w->strays->node : NULL;
		w->strays = slot;
	}
}

/* @stuck could not be undone, and of the steps in front of it so many stand. */
void pfnbuf_window_quarantine_at(struct pfnbuf_window *w, const struct pfnbuf_step *stuck,
				 size_t nr_steps, size_t standing)
{
	snprintf(w->reason, sizeof(w->reason),
		 "a plan of %zu steps failed (%.240s), and undoing its %s of %s at 0x%" PRIx64
		 "+0x%" PRIx64
		 " failed with %s: %zu steps before that stand, those after it do not. "
		 "The ledgers of IOAS and VM say what is there",
		 nr_steps, pfnbuf_last_error(), pfnbuf_step_kind_name(stuck->kind), stuck->object,
		 stuck->range.offset, stuck->range.length, pfnbuf_errno_name(stuck->result),
		 standing);
	w->quarantined = true;
	w->stuck = true;
	w->version++;
	pfnbuf_window_tell(w, PFNBUF_EVENT_QUARANTINED, (struct pfnbuf_range){ 0, w->length });
}

static void quarantine(struct pfnbuf_window *w, struct pfnbuf_plan *plan,
		       const struct pfnbuf_step *stuck)
{
	const size_t n = pfnbuf_plan_get_nr_steps(plan);
	struct pfnbuf_step step;
	size_t standing = 0;

	for (size_t i = 0; i < n; i++)
		standing +=
			pfnbuf_plan_get_step(plan, i, &step) == 0 && step.state == PFNBUF_STEP_DONE;
	keep_strays(w, plan);
	w->other_gpa = pfnbuf_plan_goal(plan)->gpa;
	w->other_iova = pfnbuf_plan_goal(plan)->iova;
	pfnbuf_window_quarantine_at(w, stuck, n, standing);
}

/* Run a plan but for what cannot be undone. */
static int try_plan(struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	struct pfnbuf_step stuck;
	int r = check_limits(w, plan);

	if (r < 0)
		return r;
	/* Without memory for that they wait for the first conversion. */
	if (pfnbuf_plan_maps(plan) && pfnbuf_plan_goal(plan)->iova == w->iova)
		pfnbuf_window_add_granules(w);
	r = pfnbuf_plan_run(plan, w->withdrawn);
	if (r < 0 && pfnbuf_plan_get_stuck(plan, &stuck))
		quarantine(w, plan, &stuck);
	return r;
}

void pfnbuf_window_warn_kept(const struct pfnbuf_window *w)
{
	pfnbuf_ctx_log(w->ctx, PFNBUF_LOG_WARNING,
		       "%s: memory that it does not need any more stays allocated: %s", w->name,
		       pfnbuf_last_error());
}

/* What it led to shall stand. Returns 1 where some memory could not be given back. */
static int settle(struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	int r = pfnbuf_plan_settle(plan);

	if (r > 0)
		pfnbuf_window_warn_kept(w);
	commit(w, plan);
	return r;
}

int pfnbuf_window_run_plan(struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	int r = try_plan(w, plan);

	return r < 0 ? r : settle(w, plan);
}

int pfnbuf_window_apply(struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	static const char call[] = "pfnbuf_window_apply";
	cleanup_rwunlock pthread_rwlock_t *topology = hold_for(w);
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	int r;

	if (pfnbuf_plan_goal(plan)->owner != &w->owner)
		return pfnbuf_refused(-EINVAL, call, w->name, NULL, "",
				      "the plan is another window's");
	r = pfnbuf_window_check_changeable(w, call);
	if (r >= 0)
		r = check_fresh(w, plan, call);
	pfnbuf_plan_take_times(plan);
	return r < 0 ? r : pfnbuf_window_run_plan(w, plan);
}

/* ---------------------------------------------------------------- layouts ------------------- */

int pfnbuf_window_check_stretches(const struct pfnbuf_window *w, const struct pfnbuf_layout *layout)
{
	uint64_t at = 0;

	for (size_t i = 0; i <= w->nr_stretches; i++) {
		const bool last = i == w->nr_stretches;
		const uint64_t start = last ? w->length : w->stretches[i].offset;
		const struct pfnbuf_range gap = { at, start - at };

		if (gap.length &&
		    pfnbuf_layout_test(layout, at, gap.length, PFNBUF_HOLE, NULL) == 0)
			return pfnbuf_refused(-EINVAL, "pfnbuf_window_plan", w->name, &gap,
					      "make it a hole: accesses exit to the VMM",
					      "the layout shows what of the BAR cannot be mapped");
		if (!last)
			at = start + w->stretches[i].length;
	}
	return 0;
}

int pfnbuf_window_refuse_private(const struct pfnbuf_window *w, const struct pfnbuf_range *range)
{
	static const char call[] = "pfnbuf_window_plan";

	if (w->device)
		return pfnbuf_refused(-EOPNOTSUPP, call, w->name, range,
				      "bind the device to the confidential guest",
				      "nothing private stands behind this window");
	if (!w->stretches[0].guest_memfd)
		return pfnbuf_refused(-EOPNOTSUPP, call, w->name, range,
				      "put a guest_memfd behind the window",
				      "nothing private stands behind this window");
	if (w->in_place)
		return pfnbuf_refused(-EOPNOTSUPP, call, w->name, range,
				      "give it shared memory of its own beside the guest_memfd, or "
				      "the context a profile of a kernel that does",
				      "nothing converts this memory in place on this kernel");
	return pfnbuf_refused(-EOPNOTSUPP, call, w->name, range,
			      "make a VM of a type that has: PFNBUF_VM_SW_PROTECTED, or the "
			      "platform's",
			      "its VM has no private memory");
}

/* There is one. */
static struct pfnbuf_range first_private_run(const struct pfnbuf_layout *layout)
{
	struct pfnbuf_run run = { .vis = PFNBUF_HOLE };
	uint64_t pos = 0;

	while (pfnbuf_layout_next(layout, &pos, &run, 1) > 0 && run.vis != PFNBUF_PRIVATE)
		;
	return (struct pfnbuf_range){ run.offset, run.length };
}

int pfnbuf_window_check_layout(const struct pfnbuf_window *w, const struct pfnbuf_layout *layout)
{
	static const char call[] = "pfnbuf_window_plan";
	struct pfnbuf_layout_count count;
	struct pfnbuf_range range;

	if (pfnbuf_layout_get_size(layout) != w->length ||
	    pfnbuf_layout_get_page_size(layout) != pfnbuf_page_size())
		return pfnbuf_refused(-EINVAL, call, w->name, NULL, "",
				      "the layout has 0x%" PRIx64 " bytes in pages of 0x%" PRIx64
				      ", the window 0x%" PRIx64 " in pages of 0x%" PRIx64,
				      pfnbuf_layout_get_size(layout),
				      pfnbuf_layout_get_page_size(layout), w->length,
				      pfnbuf_page_size());
	pfnbuf_layout_count(layout, &count);
	if (count.runs[PFNBUF_PRIVATE] && !w->has_private) {
		range = first_private_run(layout);
		return pfnbuf_window_refuse_private(w, &range);
	}
	return pfnbuf_window_check_stretches(w, layout);
}

/* Outside @changed the window has that layout already; NULL: who knows. */
static int plan_layout(struct pfnbuf_window *w, const struct pfnbuf_layout *target,
		       const struct pfnbuf_range *changed, struct pfnbuf_plan **planp)
{
	struct pfnbuf_plan_goal goal = pfnbuf_window_goal(w);
	int r = pfnbuf_window_check_changeable(w, "pfnbuf_window_plan");

	if (changed)
		goal.changed = *changed;
	if (r >= 0)
		r = pfnbuf_window_check_layout(w, target);
	return r < 0 ? r : pfnbuf_window_make_plan(w, &goal, target, planp);
}

static int set_layout(struct pfnbuf_window *w, const struct pfnbuf_layout *target,
		      const struct pfnbuf_range *changed)
{
	cleanup_plan struct pfnbuf_plan *plan = NULL;
	int r = plan_layout(w, target, changed, &plan);

	return r < 0 ? r : pfnbuf_window_run_plan(w, plan);
}

int pfnbuf_window_plan(struct pfnbuf_window *w, const struct pfnbuf_layout *target,
		       struct pfnbuf_plan **planp)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	return plan_layout(w, target, NULL, planp);
}

int pfnbuf_window_set_layout(struct pfnbuf_window *w, const struct pfnbuf_layout *target)
{
	cleanup_rwunlock pthread_rwlock_t *topology = hold_for(w);
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	return set_layout(w, target, NULL);
}

int pfnbuf_window_set_range(struct pfnbuf_window *w, uint64_t offset, uint64_t length,
			    enum pfnbuf_vis to)
{
	static const char call[] = "pfnbuf_window_set_range";
	cleanup_layout struct pfnbuf_layout *target = NULL;
	cleanup_rwunlock pthread_rwlock_t *topology = hold_for(w);
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	const struct pfnbuf_range range = { offset, length };
	int r = pfnbuf_window_check_changeable(w, call);

	if (r < 0)
		return r;
	r = pfnbuf_layout_copy(w->layout, &target);
	if (r >= 0)
		r = pfnbuf_layout_set(target, offset, length, to);
	if (r == -ENOMEM)
		return pfnbuf_window_no_memory(w, call);
	if (r == -ERANGE)
		return pfnbuf_refused(r, call, w->name, &range, "",
				      "the range leaves the window, which has 0x%" PRIx64 " bytes",
				      w->length);
	if (r < 0)
		return pfnbuf_refused(r, call, w->name, &range, "",
				      "the range is empty or misaligned, or there is no such "
				      "visibility");
	return set_layout(w, target, &range);
}

/* ---------------------------------------------------------------- as part of a guest -------- */

struct pfnbuf_window *pfnbuf_window_of_link(const struct pfnbuf_link *link)
{
	return pfnbuf_container_of(link, struct pfnbuf_window, link);
}

pthread_mutex_t *pfnbuf_window_lock(struct pfnbuf_window *w)
{
	return pfnbuf_locked(&w->lock);
}

struct pfnbuf_ctx *pfnbuf_window_ctx(const struct pfnbuf_window *w)
{
	return w->ctx;
}

bool pfnbuf_window_retries(const struct pfnbuf_window *w)
{
	return w->retries;
}

struct pfnbuf_link *pfnbuf_window_waiters(struct pfnbuf_window *w)
{
	return &w->waiters;
}

int pfnbuf_window_try(struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	return try_plan(w, plan);
}

void pfnbuf_window_take_back(struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	struct pfnbuf_step stuck;

	pfnbuf_plan_undo(plan, w->withdrawn);
	if (pfnbuf_plan_get_stuck(plan, &stuck))
		quarantine(w, plan, &stuck);
}

int pfnbuf_window_settle(struct pfnbuf_window *w, struct pfnbuf_plan *plan)
{
	return settle(w, plan);
}

int pfnbuf_window_get_layout(struct pfnbuf_window *w, struct pfnbuf_layout **layoutp)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	if (pfnbuf_layout_copy(w->layout, layoutp) < 0)
		return pfnbuf_window_no_memory(w, "pfnbuf_window_get_layout");
	return 0;
}

/* The MSI-X pages of the window's BAR, as far as the window has them. */
static int hide_msix(const struct pfnbuf_window *w, struct pfnbuf_layout *layout)
{
	struct pfnbuf_range pages[2];
	int n = w->device ? pfnbuf_device_get_bar_msix(w->device, w->bar, pages, 2) : 0;
	int r = 0;

	for (int i = 0; r >= 0 && i < n; i++) {
		const uint64_t from =
			pages[i].offset > w->bar_offset ? pages[i].offset : w->bar_offset;
		const uint64_t to = min_u64(end_of(&pages[i]), w->bar_offset + w->length);

		if (from < to)
			r = pfnbuf_layout_set(layout, from - w->bar_offset, to - from, PFNBUF_HOLE);
	}
	return r;
}

int pfnbuf_window_default_layout(const struct pfnbuf_window *w, struct pfnbuf_layout **layoutp)
{
	cleanup_layout struct pfnbuf_layout *layout = NULL;
	int r = pfnbuf_layout_new(w->length, pfnbuf_page_size(), PFNBUF_HOLE, &layout);

	for (size_t i = 0; r >= 0 && i < w->nr_stretches; i++)
		r = pfnbuf_layout_set(layout, w->stretches[i].offset, w->stretches[i].length,
				      PFNBUF_SHARED);
	if (r >= 0)
		r = hide_msix(w, layout);
	if (r < 0)
		return pfnbuf_window_no_memory(w, "pfnbuf_window_default_layout");
	*layoutp = layout;
	layout = NULL;
	return 0;
}

/* ---------------------------------------------------------------- its beginning ------------- */

struct pfnbuf_window *pfnbuf_window_allocate(struct pfnbuf_ctx *ctx,
					     const struct pfnbuf_place *place, uint64_t length,
					     size_t nr_stretches)
{
	struct pfnbuf_window *w = calloc(1, sizeof(*w));
	const unsigned both = PFNBUF_MAP_READ | PFNBUF_MAP_WRITE;

	if (!w)
		return NULL;
	w->stretches = calloc(nr_stretches, sizeof(*w->stretches));
	w->ends = calloc(nr_stretches + 1, sizeof(*w->ends));
	if (!w->stretches || !w->ends ||
	    pfnbuf_layout_new(length, pfnbuf_page_size(), PFNBUF_HOLE, &w->layout) < 0) {
		free(w->stretches);
		free(w->ends);
		free(w);
		return NULL;
	}
	w->owner = (struct pfnbuf_plan_owner){
		.check = check_owned_plan,
		.unpin = unpin,
		.release = release_by_plan,
	};
	w->hook = (struct pfnbuf_revoke_hook){
		.suspend = suspend_hook,
		.restore = restore_hook,
		.close = close_hook,
	};
	pfnbuf_list_init(&w->hook.link);
	pfnbuf_list_init(&w->link);
	pfnbuf_list_init(&w->waiters);
	w->refs = 1;
	w->ctx = pfnbuf_ctx_ref(ctx);
	w->kernel = pfnbuf_ctx_get_kernel(ctx);
	w->vm = pfnbuf_vm_ref(place->vm);
	w->gpa = place->vm ? place->gpa : 0;
	w->ioas = pfnbuf_ioas_ref(place->ioas);
	w->iova = place->ioas ? place->iova : 0;
	w->other_gpa = w->gpa;
	w->other_iova = w->iova;
	w->map_flags = place->map_flags ? place->map_flags : both;
	w->slot_flags = place->slot_flags;
	w->length = length;
	w->granule = place->granule;
	w->withdraws = place->flags & PFNBUF_PLACE_WITHDRAW_SLOTS;
	w->retries = place->flags & PFNBUF_PLACE_RETRY;
	w->version = 1;
	pthread_mutex_init(&w->lock, NULL);
	return w;
}

/* ---------------------------------------------------------------- places -------------------- */

int pfnbuf_window_check_address(const char *object, const char *what, uint64_t address,
				uint64_t length)
{
	const struct pfnbuf_range range = { address, length };

	if (address % pfnbuf_page_size())
		return pfnbuf_refused(-EINVAL, "pfnbuf_place", object, &range, "",
				      "the %s is no multiple of the page size", what);
	if (length - 1 > UINT64_MAX - address)
		return pfnbuf_refused(-ERANGE, "pfnbuf_place", object, &range, "",
				      "from this %s on the window wraps around", what);
	return 0;
}

static int plan_move(struct pfnbuf_window *w, uint64_t gpa, uint64_t iova,
		     struct pfnbuf_plan **planp)
{
	static const char call[] = "pfnbuf_window_move";
	struct pfnbuf_plan_goal goal = pfnbuf_window_goal(w);
	int r = pfnbuf_window_check_changeable(w, call);

	if (r >= 0)
		r = pfnbuf_window_check_address(w->name, "guest physical address", gpa, w->length);
	if (r >= 0)
		r = pfnbuf_window_check_address(w->name, "I/O virtual address", iova, w->length);
	if (r < 0)
		return r;
	if ((!w->vm && gpa != w->gpa) || (!w->ioas && iova != w->iova))
		return pfnbuf_refused(-EINVAL, call, w->name, NULL, "", "the window is not in a %s",
				      w->vm ? "IOAS" : "VM");
	goal.gpa = gpa;
	goal.iova = iova;
	return pfnbuf_window_make_plan(w, &goal, NULL, planp);
}

int pfnbuf_window_plan_move(struct pfnbuf_window *w, uint64_t gpa, uint64_t iova,
			    struct pfnbuf_plan **planp)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	return plan_move(w, gpa, iova, planp);
}

int pfnbuf_window_move(struct pfnbuf_window *w, uint64_t gpa, uint64_t iova)
{
	cleanup_plan struct pfnbuf_plan *plan = NULL;
	cleanup_rwunlock pthread_rwlock_t *topology = hold_for(w);
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	int r = plan_move(w, gpa, iova, &plan);

	return r < 0 ? r : pfnbuf_window_run_plan(w, plan);
}

static int set_suspended(struct pfnbuf_window *w, bool suspended, const char *call)
{
	cleanup_plan struct pfnbuf_plan *plan = NULL;
	cleanup_rwunlock pthread_rwlock_t *topology = hold_for(w);
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	struct pfnbuf_plan_goal goal = pfnbuf_window_goal(w);
	int r = pfnbuf_window_check_changeable(w, call);

	if (r < 0)
		return r;
	if (w->suspended == suspended)
		return pfnbuf_refused(-EALREADY, call, w->name, NULL, "", "the window is %s",
				      suspended ? "suspended" : "not suspended");
	goal.suspended = suspended;
	r = pfnbuf_window_make_plan(w, &goal, NULL, &plan);
	return r < 0 ? r : pfnbuf_window_run_plan(w, plan);
}

int pfnbuf_window_suspend(struct pfnbuf_window *w)
{
	return set_suspended(w, true, "pfnbuf_window_suspend");
}

int pfnbuf_window_resume(struct pfnbuf_window *w)
{
	return set_suspended(w, false, "pfnbuf_window_resume");
}

/* ---------------------------------------------------------------- looking ------------------- */

/* 1, or 0 where the kernel does not have it; a dead area is not asked for: the ledger says so. */
static int verify_area(const struct pfnbuf_window *w, struct pfnbuf_ioas *scratch,
		       const struct pfnbuf_range *piece)
{
	struct pfnbuf_area area;
	uint64_t iova;
	int r;

	if (!pfnbuf_ioas_next_area(w->ioas, w->iova + piece->offset, &area) ||
	    area.iova != w->iova + piece->offset || area.length != piece->length ||
	    !owns_area(w, &area))
		return 0;
	if (area.dead)
		return 1;
	r = pfnbuf_ioas_copy_lent(scratch, w->ioas, area.iova, area.length, area.flags, &iova);
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : 1;
}

static int verify_areas(const struct pfnbuf_window *w, struct pfnbuf_ioas *scratch,
			struct pfnbuf_range *missing)
{
	const struct pfnbuf_range all = { 0, w->length };
	const struct pfnbuf_cutting cutting = pfnbuf_window_area_cutting(w);
	struct pfnbuf_cursor c = pfnbuf_pieces_walk(&cutting, w->layout, &all);
	struct pfnbuf_piece piece;
	int r = 1;

	while (r > 0 && pfnbuf_pieces_next(&c, &piece)) {
		*missing = piece.range;
		r = verify_area(w, scratch, missing);
	}
	return r;
}

static int verify_slots(const struct pfnbuf_window *w, struct pfnbuf_range *missing)
{
	int r = 1;

	for (struct pfnbuf_window_slot *s = slot_from(w, 0); r > 0 && s; s = slot_after(w, s)) {
		*missing = slot_range(s);
		r = pfnbuf_vm_verify_slot(w->vm, s->id);
	}
	return r;
}

static int verify(struct pfnbuf_window *w, struct pfnbuf_ioas *scratch,
		  struct pfnbuf_range *missing)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);
	int r = pfnbuf_window_check_usable(w, "pfnbuf_window_verify");

	if (r < 0)
		return r;
	r = 1;
	if (scratch && !w->suspended)
		r = verify_areas(w, scratch, missing);
	if (r > 0 && w->vm)
		r = verify_slots(w, missing);
	return r;
}

int pfnbuf_window_verify(struct pfnbuf_window *w, struct pfnbuf_range *missing)
{
	struct pfnbuf_ioas *scratch = NULL;
	struct pfnbuf_range first = { 0, 0 };
	/*
	 * Made and ended without the window's lock: both take the topology lock, which comes
	 * before.
	 */
	int r = w->ioas ? pfnbuf_ioas_new(w->ctx, &scratch) : 0;

	if (r < 0)
		return r;
	r = verify(w, scratch, &first);
	pfnbuf_ioas_free(scratch);
	if (r == 0 && missing)
		*missing = first;
	return r;
}

static enum pfnbuf_window_state state_of(const struct pfnbuf_window *w,
					 const struct pfnbuf_window_info *info)
{
	if (w->dead)
		return PFNBUF_WINDOW_DEAD;
	if (w->quarantined)
		return PFNBUF_WINDOW_QUARANTINED;
	if (w->suspended || w->withdrawn || !memory_is_on(w) || info->dead_areas)
		return PFNBUF_WINDOW_SUSPENDED;
	return PFNBUF_WINDOW_LIVE;
}

void pfnbuf_window_get_info(struct pfnbuf_window *w, struct pfnbuf_window_info *info)
{
	cleanup_unlock pthread_mutex_t *held = pfnbuf_locked(&w->lock);

	*info = (struct pfnbuf_window_info){
		.user_suspended = w->lent_to ? w->own_suspended : w->suspended,
		.withdrawn = w->withdrawn,
		.length = w->length,
		.gpa = w->gpa,
		.iova = w->iova,
		.generation = generation(w),
		.version = w->version,
		.slots = w->nr_slots,
	};
	if (w->ioas)
		pfnbuf_ioas_count(w->ioas, w->iova, w->iova + w->length - 1, &info->areas,
				  &info->dead_areas);
	info->state = state_of(w, info);
	pfnbuf_copy_text(info->reason, sizeof(info->reason), w->reason);
}

const char *pfnbuf_window_state_name(enum pfnbuf_window_state state)
{
	switch (state) {
	case PFNBUF_WINDOW_LIVE:
		return "live";
	case PFNBUF_WINDOW_SUSPENDED:
		return "suspended";
	case PFNBUF_WINDOW_QUARANTINED:
		return "quarantined";
	case PFNBUF_WINDOW_DEAD:
		return "dead";
	}
	return "?";
}
