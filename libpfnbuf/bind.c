/* SPDX-License-Identifier: MIT */
/*
 * Binding a device to a confidential guest, and back.
 *
 * Windows know how to place a layout and how to take it away; a profile, or the caller, knows how to
 * bind. What is here is the order of the two, and what becomes of either when the other fails:
 *
 *     withdraw, close | objects, bind | report, layouts | open, place, private
 *
 * Going back is the same from right to left. A failure on the way there goes back all the way; one on
 * the way back goes there again, up to the call that unbinds: what comes after it is tried a few times
 * and then quarantined, for a device that is neither bound nor shared is nobody's.
 *
 * All of it runs with the device's gate held and no lock.
 */
#include <stdio.h>

#include "bind.h"

static struct pfnbuf_bind *of_hook(struct pfnbuf_bind_hook *hook)
{
	return pfnbuf_container_of(hook, struct pfnbuf_bind, hook);
}

static void cleanup_let_go(struct pfnbuf_device **device)
{
	pfnbuf_device_let_go(*device);
}

static struct pfnbuf_device *held(const struct pfnbuf_bind *b)
{
	pfnbuf_device_hold(b->device);
	return b->device;
}

/* `cleanup_gate struct pfnbuf_device *gate = held(b);` holds the gate to the end of the scope. */
#define cleanup_gate __attribute__((cleanup(cleanup_let_go), unused))

static void tell(struct pfnbuf_bind *b, enum pfnbuf_event_type type, enum pfnbuf_cause cause)
{
	const struct pfnbuf_event event = {
		.type = type,
		.cause = cause,
		.device = b->dead ? NULL : b->device,
		.user = pfnbuf_device_get_user(b->device),
		.generation = pfnbuf_device_get_generation(b->device),
	};

	pfnbuf_ctx_push_event(b->ctx, &event, false);
}

/* ---------------------------------------------------------------- quarantine ---------------- */

static int refuse_quarantined(const struct pfnbuf_bind *b, const char *call)
{
	return pfnbuf_refused(-ENOTRECOVERABLE, call, name_of(b), NULL,
			      "look at it with pfnbuf_bind_get_info() and free it", "%s",
			      b->reason);
}

static int quarantine(struct pfnbuf_bind *b, const char *call, const char *what)
{
	char why[200];

	if (b->quarantined)
		return refuse_quarantined(b, call);
	pfnbuf_copy_text(why, sizeof(why), pfnbuf_last_error());
	snprintf(b->reason, sizeof(b->reason), "%s (%s)", what, why);
	b->quarantined = true;
	for (size_t i = 0; i < b->nr_windows; i++)
		pfnbuf_window_quarantine(b->windows[i], b->reason);
	pfnbuf_ctx_log(b->ctx, PFNBUF_LOG_ERROR, "%s: quarantined: %s", name_of(b), b->reason);
	tell(b, PFNBUF_EVENT_QUARANTINED, PFNBUF_CAUSE_NONE);
	return refuse_quarantined(b, call);
}

/* ---------------------------------------------------------------- windows ------------------- */

/* What the call that is under way has withdrawn. */
static void place_again(struct pfnbuf_bind *b)
{
	for (size_t i = 0; i < b->nr_windows; i++) {
		int r = b->taken[i] ? -EAGAIN : 0;

		for (int n = 0; r < 0 && n < PFNBUF_UNDO_TRIES; n++)
			r = pfnbuf_window_place(b->windows[i], &b->journal);
		b->taken[i] = false;
		if (r < 0)
			quarantine(b, "pfnbuf_bind",
				   "a window could not be placed again after another call failed");
	}
}

/* All of them, or none. A window that can neither go nor stay is quarantined, and so is the bind. */
static int withdraw_windows(struct pfnbuf_bind *b)
{
	struct pfnbuf_saved_error error;
	int r = 0;

	for (size_t i = 0; i < b->nr_windows; i++)
		b->taken[i] = false;
	for (size_t i = b->nr_windows; r >= 0 && i--;) {
		r = pfnbuf_window_withdraw(b->windows[i], &b->journal);
		b->taken[i] = r > 0;
		if (r < 0 && pfnbuf_window_is_quarantined(b->windows[i]))
			return quarantine(b, "pfnbuf_bind", "a window could not be withdrawn");
	}
	if (r >= 0)
		return 0;
	pfnbuf_error_save(&error);
	place_again(b);
	pfnbuf_error_restore(&error);
	return b->quarantined ? refuse_quarantined(b, "pfnbuf_bind") : r;
}

/* What is closed stays closed where another one fails: opening all of them opens those only. */
static int close_windows(struct pfnbuf_bind *b)
{
	int r = 0;

	for (size_t i = b->nr_windows; r >= 0 && i; i--)
		r = pfnbuf_window_close_buffers(b->windows[i - 1], &b->journal);
	return r;
}

static void log_last(const struct pfnbuf_bind *b)
{
	pfnbuf_ctx_log(b->ctx, PFNBUF_LOG_ERROR, "%s: %s", name_of(b), pfnbuf_last_error());
}

/* One window as it was when it was lent. */
static int restore_window(struct pfnbuf_bind *b, struct pfnbuf_window *window)
{
	int r = pfnbuf_window_open_buffers(window, NULL, false, false, &b->journal);

	return r < 0 ? r : pfnbuf_window_place(window, &b->journal);
}

static int restore_windows(struct pfnbuf_bind *b, const char *call)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < b->nr_windows; i++) {
		r = -EAGAIN;
		for (int n = 0; r < 0 && n < PFNBUF_UNDO_TRIES; n++)
			r = restore_window(b, b->windows[i]);
	}
	if (r < 0)
		return quarantine(b, call,
				  "the device is not bound, and what was shared of it could not be "
				  "placed again");
	for (size_t i = 0; i < b->nr_windows; i++)
		pfnbuf_window_give_back(b->windows[i]);
	pfnbuf_device_set_lent(b->device, PFNBUF_HOME);
	b->locked = false;
	return 0;
}

/* The device first: from then on nobody else begins to map it. */
static int lend(struct pfnbuf_bind *b)
{
	int r = 0;
	size_t i = 0;

	pfnbuf_device_set_lent(b->device, PFNBUF_LENT);
	for (; r >= 0 && i < b->nr_windows; i++)
		r = pfnbuf_window_lend(b->windows[i], b);
	b->locked = r >= 0;
	if (b->locked)
		return 0;
	for (i--; i; i--)
		pfnbuf_window_give_back(b->windows[i - 1]);
	pfnbuf_device_set_lent(b->device, PFNBUF_HOME);
	return r;
}

/* ---------------------------------------------------------------- 1 to 3: lock -------------- */

static int refuse_stranger(const struct pfnbuf_bind *b, const char *object,
			   const struct pfnbuf_range *range, const char *hint, const char *what)
{
	return pfnbuf_refused(-EBUSY, "pfnbuf_bind_lock", object, range, hint,
			      "%s a BAR of %s that is in no window of the bind", what, name_of(b));
}

static int find_areas(const struct pfnbuf_bind *b)
{
	const struct pfnbuf_link *ioases = pfnbuf_ctx_list(b->ctx, PFNBUF_LIST_IOASES);
	struct pfnbuf_range range;

	for (const struct pfnbuf_link *l = ioases->next; l != ioases; l = l->next) {
		struct pfnbuf_ioas *ioas = pfnbuf_ioas_of_link(l);

		if (pfnbuf_ioas_find_device(ioas, b->device, &range))
			return refuse_stranger(b, pfnbuf_ioas_name(ioas), &range,
					       "unmap it, or give the window to the bind",
					       "the area maps");
	}
	return 0;
}

static int find_slots(const struct pfnbuf_bind *b)
{
	const struct pfnbuf_link *vms = pfnbuf_ctx_list(b->ctx, PFNBUF_LIST_VMS);
	struct pfnbuf_range range;

	for (const struct pfnbuf_link *l = vms->next; l != vms; l = l->next) {
		struct pfnbuf_vm *vm = pfnbuf_vm_of_link(l);

		if (pfnbuf_vm_find_device(vm, b->device, &range))
			return refuse_stranger(b, pfnbuf_vm_name(vm), &range,
					       "delete the slot, or make a window of it",
					       "the slot stands on a dma-buf of");
	}
	return 0;
}

static int find_mappings(const struct pfnbuf_bind *b)
{
	uint64_t length;
	void *addr;

	if (!pfnbuf_device_find_mapping(b->device, &addr, &length))
		return 0;
	return refuse_stranger(b, name_of(b), &(struct pfnbuf_range){ (uintptr_t)addr, length },
			       "unmap it with pfnbuf_device_bar_unmap(), or give the window to the "
			       "bind",
			       "these addresses of the process show");
}

/*
 * Mappings of the device that are not of the windows', which show nothing now. A window that is not
 * the bind's may have found the device not lent yet: what it does then ends first.
 */
static int find_strangers(const struct pfnbuf_bind *b)
{
	cleanup_rwunlock pthread_rwlock_t *topology = pfnbuf_ctx_hold(b->ctx);
	const struct pfnbuf_link *windows = pfnbuf_ctx_list(b->ctx, PFNBUF_LIST_WINDOWS);
	int r;

	for (const struct pfnbuf_link *l = windows->next; l != windows; l = l->next)
		pfnbuf_window_await(pfnbuf_window_of_link(l), b->device);
	r = find_mappings(b);
	if (r >= 0)
		r = find_areas(b);
	return r < 0 ? r : find_slots(b);
}

static int check_lock(struct pfnbuf_bind *b)
{
	static const char call[] = "pfnbuf_bind_lock";

	if (b->quarantined)
		return refuse_quarantined(b, call);
	if (b->dead)
		return pfnbuf_refused(-ENODEV, call, name_of(b), NULL, "free the bind",
				      "the device is closed");
	if (b->locked)
		return pfnbuf_refused(-EALREADY, call, name_of(b), NULL,
				      "call pfnbuf_bind_unlock() first", "it is locked");
	return pfnbuf_device_check_quiet(b->device, call);
}

/* Undo steps 1 and 2, and what step 3 made. Returns @code, or says that it is quarantined. */
static int undo_lock(struct pfnbuf_bind *b, int code)
{
	struct pfnbuf_saved_error error;

	pfnbuf_error_save(&error);
	pfnbuf_bind_destroy_objects(b);
	if (!b->quarantined)
		restore_windows(b, "pfnbuf_bind_lock");
	if (b->quarantined)
		return refuse_quarantined(b, "pfnbuf_bind_lock");
	pfnbuf_error_restore(&error);
	return code;
}

static int lock_bind(struct pfnbuf_bind *b)
{
	static const char call[] = "pfnbuf_bind_lock";
	int r = check_lock(b);

	if (r < 0)
		return r;
	r = lend(b);
	if (r < 0)
		return r;
	pfnbuf_journal_clear(&b->journal);
	r = withdraw_windows(b);
	if (r >= 0)
		r = close_windows(b);
	if (r >= 0)
		r = find_strangers(b);
	if (r >= 0)
		r = pfnbuf_bind_make_objects(b);
	if (r < 0)
		return undo_lock(b, r);
	r = pfnbuf_bind_tdi(b);
	if (r == PFNBUF_TSM_UNKNOWN)
		return quarantine(b, call,
				  "the device may be bound or not: nothing of it is mapped");
	return r < 0 ? undo_lock(b, r) : 0;
}

int pfnbuf_bind_lock(struct pfnbuf_bind *b)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);

	return lock_bind(b);
}

/* ---------------------------------------------------------------- back ---------------------- */

/*
 * Take away what the guest sees of the bound device: all, or nothing. Windows that show nothing cost
 * no call.
 */
static int take_mappings(struct pfnbuf_bind *b, const char *call)
{
	struct pfnbuf_saved_error error;
	int r = pfnbuf_bind_take_private(b);

	if (r == PFNBUF_TSM_UNKNOWN)
		return quarantine(b, call, "private pages may be validated or not");
	if (r >= 0)
		r = withdraw_windows(b);
	if (r >= 0 || b->quarantined)
		return r;
	pfnbuf_error_save(&error);
	if (pfnbuf_bind_bring_private(b) != 0)
		return quarantine(b, call, "private pages that were taken away did not come back");
	pfnbuf_error_restore(&error);
	return r;
}

/* A window that does not go at first may go in a moment; the others go in any case. */
static int withdraw_for_good(struct pfnbuf_bind *b)
{
	struct pfnbuf_first_error first = { .code = 0 };

	for (size_t i = b->nr_windows; i--;) {
		struct pfnbuf_window *window = b->windows[i];
		int r = -EAGAIN;

		for (int n = 0;
		     r < 0 && n < PFNBUF_UNDO_TRIES && !pfnbuf_window_is_quarantined(window); n++)
			r = pfnbuf_window_withdraw(window, &b->journal);
		pfnbuf_first_note(&first, r);
	}
	return pfnbuf_first_end(&first);
}

static int close_for_good(struct pfnbuf_bind *b)
{
	int r = -EAGAIN;

	for (int n = 0; r < 0 && n < PFNBUF_UNDO_TRIES; n++)
		r = close_windows(b);
	return r;
}

/* Without a way back: what is gone is not put back where something else stays. */
static int take_mappings_for_good(struct pfnbuf_bind *b, const char *call)
{
	int r = -EAGAIN;

	for (int n = 0; r < 0 && n < PFNBUF_UNDO_TRIES; n++)
		r = pfnbuf_bind_take_private(b);
	if (r == PFNBUF_TSM_UNKNOWN)
		return quarantine(b, call, "private pages may be validated or not");
	if (r >= 0)
		r = withdraw_for_good(b);
	if (r >= 0)
		r = close_for_good(b);
	return r < 0 ? quarantine(b, call, "what the guest sees could not be taken away") : 0;
}

/* Nor does that have one. A refusal that is certain may pass. */
static int unbind_for_good(struct pfnbuf_bind *b, const char *call)
{
	int r = b->bound ? -EAGAIN : 0;

	for (int n = 0; r < 0 && n < PFNBUF_UNDO_TRIES; n++)
		r = pfnbuf_bind_unbind_tdi(b);
	if (r == 0)
		return 0;
	return quarantine(b, call,
			  r == PFNBUF_TSM_UNKNOWN ? "the device may be bound or not"
						  : "the device cannot be unbound");
}

/* The device is unbound; what comes after. */
static int finish_unlock(struct pfnbuf_bind *b, const char *call)
{
	int r = take_mappings_for_good(b, call);

	if (r < 0)
		return r;
	/* Also where an error notice had it unbound before. */
	b->state = PFNBUF_TDI_CONFIG_UNLOCKED;
	pfnbuf_bind_destroy_objects(b);
	pfnbuf_bind_forget_report(b);
	return b->dead ? 0 : restore_windows(b, call);
}

/* Unbinding was refused: the guest gets back what it saw. */
static int place_private_again(struct pfnbuf_bind *b, int code)
{
	struct pfnbuf_saved_error error;

	pfnbuf_error_save(&error);
	place_again(b);
	if (!b->quarantined && pfnbuf_bind_bring_private(b) != 0)
		quarantine(b, "pfnbuf_bind_unlock", "private pages did not come back");
	if (b->quarantined)
		return refuse_quarantined(b, "pfnbuf_bind_unlock");
	pfnbuf_error_restore(&error);
	return code;
}

static int unlock_bind(struct pfnbuf_bind *b, const char *call)
{
	const bool stay = mappings_stay(b);
	int r = 0;

	if (b->quarantined)
		return refuse_quarantined(b, call);
	if (!b->locked)
		return pfnbuf_refused(-EALREADY, call, name_of(b), NULL, "",
				      "the device is not bound to the guest");
	pfnbuf_journal_clear(&b->journal);
	if (!stay)
		r = take_mappings(b, call);
	if (r < 0)
		return r;
	/* A device that failed may have been unbound then. */
	r = b->bound ? pfnbuf_bind_unbind_tdi(b) : 0;
	if (r == PFNBUF_TSM_UNKNOWN)
		return quarantine(b, call, "the device may be bound or not");
	if (r < 0)
		return stay ? r : place_private_again(b, r);
	return finish_unlock(b, call);
}

int pfnbuf_bind_unlock(struct pfnbuf_bind *b)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);

	return unlock_bind(b, "pfnbuf_bind_unlock");
}

/* Unlock without a way back. */
static int unlock_for_good(struct pfnbuf_bind *b, const char *call)
{
	if (!b->quarantined && !mappings_stay(b))
		take_mappings_for_good(b, call);
	if (!b->quarantined)
		unbind_for_good(b, call);
	if (!b->quarantined)
		finish_unlock(b, call);
	return b->quarantined ? refuse_quarantined(b, call) : 0;
}

/* Step 4, 5 or 6 failed with @code: unlock, and say why. */
static int fall_back(struct pfnbuf_bind *b, int code)
{
	struct pfnbuf_saved_error error;
	int r;

	pfnbuf_error_save(&error);
	r = unlock_for_good(b, "pfnbuf_bind_run");
	if (r < 0)
		return r;
	pfnbuf_error_restore(&error);
	return code;
}

/* ---------------------------------------------------------------- 5 and 6: place ------------ */

static int open_window(struct pfnbuf_bind *b, struct pfnbuf_window *window)
{
	const bool slots = has_slots(b);
	const bool attribute = slots && b->profile->private_attribute;
	const struct pfnbuf_layout *bar;
	struct pfnbuf_layout *layout = NULL;
	struct pfnbuf_window_part part;
	int r;

	pfnbuf_window_get_part(window, &part);
	bar = pfnbuf_tdi_layouts_get(b->layouts, part.bar);
	if (!bar)
		return pfnbuf_refused(-EINVAL, "pfnbuf_bind_run", part.name, NULL,
				      "opts.compile.bars must have every BAR that has a window",
				      "the report was compiled without its BAR");
	r = pfnbuf_layout_slice(bar, part.range.offset, part.range.length, &layout);
	if (r < 0)
		return pfnbuf_failed(r, "pfnbuf_bind_run", part.name, &part.range);
	r = pfnbuf_window_open_buffers(window, layout, slots, attribute, &b->journal);
	if (r >= 0 && part.vm)
		r = pfnbuf_bind_note_runs(b, &part, layout);
	pfnbuf_layout_free(layout);
	return r;
}

static int place_windows(struct pfnbuf_bind *b)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < b->nr_windows; i++)
		r = open_window(b, b->windows[i]);
	for (size_t i = 0; r >= 0 && i < b->nr_windows; i++) {
		r = pfnbuf_window_place(b->windows[i], &b->journal);
		if (r < 0 && pfnbuf_window_is_quarantined(b->windows[i]))
			return quarantine(b, "pfnbuf_bind_run",
					  "a window could be neither placed nor left as it was");
	}
	if (r < 0)
		return r;
	r = pfnbuf_bind_bring_private(b);
	return r == PFNBUF_TSM_UNKNOWN
		       ? quarantine(b, "pfnbuf_bind_run", "private pages may be validated or not")
		       : r;
}

static int check_run(struct pfnbuf_bind *b)
{
	static const char call[] = "pfnbuf_bind_run";

	if (b->quarantined)
		return refuse_quarantined(b, call);
	if (b->state == PFNBUF_TDI_RUN)
		return pfnbuf_refused(-EALREADY, call, name_of(b), NULL, "",
				      "what the report names is placed");
	if (b->state == PFNBUF_TDI_ERROR)
		return pfnbuf_refused(-EPERM, call, name_of(b), NULL, "unlock it",
				      "its TDI is in ERROR");
	if (!b->bound)
		return pfnbuf_refused(-EINVAL, call, name_of(b), NULL,
				      "call pfnbuf_bind_lock() first",
				      "the device is not bound to the guest");
	return 0;
}

/* -EAGAIN means that nothing happened, which is for the first report alone to say. */
static int not_again(const struct pfnbuf_bind *b, int code)
{
	char why[256];

	if (code != -EAGAIN)
		return code;
	pfnbuf_copy_text(why, sizeof(why), pfnbuf_last_error());
	return pfnbuf_refused(-EBUSY, "pfnbuf_bind_run", name_of(b), NULL, "lock it and try again",
			      "something was busy: %s", why);
}

static int run_bind(struct pfnbuf_bind *b)
{
	cleanup_report struct bind_report first = { .data = NULL };
	int r = check_run(b);

	if (r < 0)
		return r;
	pfnbuf_journal_clear(&b->journal);
	r = pfnbuf_bind_start_tdi(b);
	if (r >= 0) {
		r = pfnbuf_bind_read_report(b, &first, "it names the pages that become private");
		if (r == -EAGAIN)
			return r;
	}
	if (r >= 0)
		r = pfnbuf_bind_learn_layouts(b, &first);
	if (r >= 0) {
		pfnbuf_device_set_report(b->device, b->layouts);
		r = place_windows(b);
	}
	if (r < 0)
		return fall_back(b, not_again(b, r));
	b->state = PFNBUF_TDI_RUN;
	return 0;
}

int pfnbuf_bind_run(struct pfnbuf_bind *b)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);

	return run_bind(b);
}

/* ---------------------------------------------------------------- what the device says ------ */

static int unbind_hook(struct pfnbuf_bind_hook *hook, enum pfnbuf_cause cause)
{
	struct pfnbuf_bind *b = of_hook(hook);
	int r;

	if (!b->locked)
		return 0;
	r = unlock_bind(b, "pfnbuf_bind_unlock");
	if (r >= 0)
		tell(b, PFNBUF_EVENT_TDI_UNBOUND, cause);
	return r;
}

static void unlock_at_end(struct pfnbuf_bind *b, const char *call)
{
	if (!b->locked || b->quarantined)
		return;
	pfnbuf_journal_clear(&b->journal);
	if (unlock_for_good(b, call) < 0)
		log_last(b);
}

/*
 * The kernel unbinds it with the last reference to its file, whatever happens here: nothing private
 * that could be taken away is to be there then.
 */
static void close_hook(struct pfnbuf_bind_hook *hook)
{
	struct pfnbuf_bind *b = of_hook(hook);
	const bool was_locked = b->locked;

	b->dead = true;
	unlock_at_end(b, "pfnbuf_device_close");
	if (was_locked && !b->quarantined)
		tell(b, PFNBUF_EVENT_TDI_UNBOUND, PFNBUF_CAUSE_CLOSE);
	/* What could not be done here goes with the device. */
	for (size_t i = 0; i < b->nr_windows && b->locked; i++)
		pfnbuf_window_give_back(b->windows[i]);
	b->locked = false;
	b->bound = false;
	b->state = PFNBUF_TDI_CONFIG_UNLOCKED;
}

static int drop_private(struct pfnbuf_bind *b)
{
	int r = pfnbuf_bind_take_private(b) == 0 ? 0 : -EIO;

	for (size_t i = 0; r >= 0 && i < b->nr_windows; i++) {
		r = -EAGAIN;
		for (int n = 0; r < 0 && n < PFNBUF_UNDO_TRIES; n++)
			r = pfnbuf_window_drop_private(b->windows[i], &b->journal);
	}
	return r;
}

/*
 * AER does not say what the TDI is in now; for the guest it is lost. Where private mappings must not
 * go while the device is bound, or nothing else takes them, it is unbound here already.
 */
static void error_hook(struct pfnbuf_bind_hook *hook)
{
	static const char call[] = "pfnbuf_bind";
	struct pfnbuf_bind *b = of_hook(hook);

	if (!b->bound || b->quarantined || b->state == PFNBUF_TDI_ERROR)
		return;
	pfnbuf_journal_clear(&b->journal);
	if (mappings_stay(b) || validates_by_profile(b))
		unbind_for_good(b, call);
	if (!b->quarantined && drop_private(b) < 0)
		quarantine(b, call, "private pages of a failed device could not be dropped");
	if (!b->quarantined)
		pfnbuf_bind_forget_runs(b);
	b->state = PFNBUF_TDI_ERROR;
	tell(b, PFNBUF_EVENT_TDI_ERROR, PFNBUF_CAUSE_NONE);
}

const struct pfnbuf_bind_hook pfnbuf_bind_hooks = {
	.unbind = unbind_hook,
	.close = close_hook,
	.error = error_hook,
};

void pfnbuf_bind_forget_window(struct pfnbuf_bind *b, struct pfnbuf_window *window)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);
	size_t kept = 0;

	if (b->locked && !b->quarantined) {
		if (unlock_bind(b, "pfnbuf_window_free") < 0)
			log_last(b);
		else
			tell(b, PFNBUF_EVENT_TDI_UNBOUND, PFNBUF_CAUSE_WINDOW);
	}
	for (size_t i = 0; i < b->nr_windows; i++)
		if (b->windows[i] != window)
			b->windows[kept++] = b->windows[i];
	b->nr_windows = kept;
}

/* ---------------------------------------------------------------- its end  ------------------ */

static void end_bind(struct pfnbuf_bind *b)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);

	unlock_at_end(b, "pfnbuf_bind_free");
	pfnbuf_device_clear_bind(b->device, &b->hook);
	pfnbuf_bind_forget_report(b);
	/* Nobody unbinds it any more: it stays what it may be. */
	pfnbuf_device_set_lent(b->device, b->bound ? PFNBUF_LEFT : PFNBUF_HOME);
	for (size_t i = 0; i < b->nr_windows && b->locked; i++)
		pfnbuf_window_give_back(b->windows[i]);
	/* A vDEVICE that may be bound is left to the kernel: destroying it could be another unbind. */
	if (!b->bound)
		pfnbuf_bind_destroy_objects(b);
}

struct pfnbuf_bind *pfnbuf_bind_free(struct pfnbuf_bind *b)
{
	struct pfnbuf_device *device;

	if (!b)
		return NULL;
	/* The gate is released before the last reference to what it is in is. */
	device = pfnbuf_device_ref(b->device);
	end_bind(b);
	pfnbuf_bind_release(b);
	pfnbuf_device_unref(device);
	return NULL;
}

/* ---------------------------------------------------------------- looking ------------------- */

void pfnbuf_bind_get_info(struct pfnbuf_bind *b, struct pfnbuf_bind_info *info)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);
	uint64_t by_slots = 0, validated = 0;

	*info = (struct pfnbuf_bind_info){
		.state = b->state,
		.bound = b->bound,
		.quarantined = b->quarantined,
		.vdevice_id = b->vdevice.id,
		.viommu_id = b->viommu.id,
		.generation = b->generation,
	};
	for (size_t i = 0; b->locked && i < b->nr_windows; i++)
		pfnbuf_window_count_shown(b->windows[i], &info->shared_bytes, &by_slots);
	for (size_t i = 0; i < b->nr_valid; i++)
		validated += b->runs[i].length;
	info->private_bytes = has_slots(b) ? by_slots : validated;
	pfnbuf_copy_text(info->reason, sizeof(info->reason), b->reason);
}

const struct pfnbuf_tdi_layouts *pfnbuf_bind_get_layouts(struct pfnbuf_bind *b)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);

	return b->layouts;
}

/* ---------------------------------------------------------------- printing ------------------ */

static void plan_lock(struct pfnbuf_bind *b, struct pfnbuf_journal *plan)
{
	const bool objects = binds_by_profile(b) || validates_by_profile(b);

	for (size_t i = b->nr_windows; i; i--)
		pfnbuf_window_plan_withdraw(b->windows[i - 1], plan);
	if (objects && !b->given_vdevice && !b->given_viommu) {
		pfnbuf_journal_add(plan, PFNBUF_STEP_ALLOC, "nest parent", NULL,
				   "the guest's IOMMU stands on it");
		pfnbuf_journal_add(plan, PFNBUF_STEP_ALLOC, "vIOMMU", NULL, "the guest's IOMMU");
	}
	if (objects && !b->given_vdevice && !binds_by_allocation(b))
		pfnbuf_journal_add(plan, PFNBUF_STEP_ALLOC, "vDEVICE", NULL,
				   "the device as the guest sees it");
	pfnbuf_journal_add(plan, PFNBUF_STEP_BIND, name_of(b), NULL,
			   "the device is the guest's from now on");
}

static void plan_run(struct pfnbuf_bind *b, struct pfnbuf_journal *plan)
{
	if (b->ops.start && !b->started)
		pfnbuf_journal_add(plan, PFNBUF_STEP_START, name_of(b), NULL,
				   "from CONFIG_LOCKED to RUN");
	pfnbuf_journal_add(plan, PFNBUF_STEP_REPORT, name_of(b), NULL,
			   "it names the pages that become private");
	pfnbuf_journal_add(plan, PFNBUF_STEP_REPORT, name_of(b), NULL,
			   "it must be the same when its pages are placed");
	pfnbuf_journal_add(plan, PFNBUF_STEP_EXPORT, name_of(b), NULL,
			   "its runs, as the report will have them, are placed");
}

static void plan_unlock(struct pfnbuf_bind *b, struct pfnbuf_journal *plan)
{
	const bool stay = mappings_stay(b);

	if (b->bound && stay)
		pfnbuf_journal_add(plan, PFNBUF_STEP_UNBIND, name_of(b), NULL,
				   "the device is the guest's no more");
	for (size_t i = b->nr_windows; i; i--)
		pfnbuf_window_plan_withdraw(b->windows[i - 1], plan);
	if (b->bound && !stay)
		pfnbuf_journal_add(plan, PFNBUF_STEP_UNBIND, name_of(b), NULL,
				   "the device is the guest's no more");
}

/* What was done, and what comes next. */
static void copy_journal(const struct pfnbuf_bind *b, struct pfnbuf_journal *copy)
{
	for (size_t i = 0; i < b->journal.nr; i++)
		pfnbuf_journal_copy(copy, &b->journal, i);
	copy->lost += b->journal.lost;
}

static size_t print(struct pfnbuf_bind *b, char *buf, size_t size,
		    size_t (*fn)(const struct pfnbuf_journal *, char *, size_t))
{
	cleanup_gate struct pfnbuf_device *gate = held(b);
	struct pfnbuf_journal all = { .nr = 0 };
	size_t length;

	copy_journal(b, &all);
	if (!b->quarantined && !b->dead) {
		if (!b->locked)
			plan_lock(b, &all);
		else if (b->state == PFNBUF_TDI_CONFIG_LOCKED)
			plan_run(b, &all);
		else
			plan_unlock(b, &all);
	}
	length = fn(&all, buf, size);
	pfnbuf_journal_clear(&all);
	return length;
}

size_t pfnbuf_bind_print(struct pfnbuf_bind *b, char *buf, size_t size)
{
	return print(b, buf, size, pfnbuf_journal_print);
}

size_t pfnbuf_bind_print_json(struct pfnbuf_bind *b, char *buf, size_t size)
{
	return print(b, buf, size, pfnbuf_journal_print_json);
}
