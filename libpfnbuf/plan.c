/* SPDX-License-Identifier: MIT */
/*
 * A plan: kernel calls in order, each with what it takes to undo it, and a journal of what ran.
 *
 * Undoing goes from the step that failed to the first one and stops where an inverse is refused:
 * what comes before may rest on it. The ledgers of IOAS and VM are right all the same, for each
 * call keeps its own. Discards cannot be undone; they come last and run when nothing is to be undone
 * any more.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "private.h"

/* KVM counts a slot's pages in 31 bits (KVM_MEM_MAX_NR_PAGES, include/linux/kvm_host.h). */
#define SLOT_MAX_PAGES ((UINT64_C(1) << 31) - 1)

struct step {
	uint64_t start; /* I/O virtual, guest physical; DISCARD: into the buffer, or an address */
	uint64_t length;
	const char *reason;
	union {
		size_t area;		  /* AREA_MAP: in the plan's array */
		struct pfnbuf_node *kept; /* AREA_UNMAP: what was unmapped */
		struct pfnbuf_window_slot *slot;
		/* DISCARD, ATTRIBUTE_SET: a reference; or NULL: memory without a file, the VM's */
		struct pfnbuf_buf *buf;
	};
	union {
		uint64_t nr_areas;
		uint64_t to; /* SLOT_MOVE, ATTRIBUTE_SET */
	};
	uint64_t ns;
	int result;
	uint8_t kind;
	uint8_t state;
};

/* An area of somebody else's that a step took out, because the kernel could not do with it. */
struct pin {
	struct pfnbuf_pin taken;
	size_t step;
};

struct pfnbuf_plan {
	struct pfnbuf_plan_goal goal;
	char ioas_name[24];
	char vm_name[24];
	struct step *steps;
	size_t nr_steps;
	size_t max_steps;
	struct pfnbuf_plan_area *areas;
	size_t nr_areas;
	size_t max_areas;
	struct pin *pins;
	size_t nr_pins;
	size_t max_pins;
	bool has_run;
	bool is_timed; /* somebody may want to know what its steps took */
};

/* ---------------------------------------------------------------- its life ------------------ */

int pfnbuf_plan_new(const struct pfnbuf_plan_goal *goal, struct pfnbuf_plan **planp)
{
	struct pfnbuf_plan *plan = pfnbuf_zalloc(sizeof(*plan));

	if (!plan) {
		pfnbuf_layout_free(goal->layout);
		goal->owner->release(goal->owner);
		return pfnbuf_failed(-ENOMEM, "pfnbuf_window_plan", "plan", NULL);
	}
	plan->goal = *goal;
	if (goal->ioas)
		pfnbuf_copy_text(plan->ioas_name, sizeof(plan->ioas_name),
				 pfnbuf_ioas_name(goal->ioas));
	if (goal->vm)
		pfnbuf_copy_text(plan->vm_name, sizeof(plan->vm_name), pfnbuf_vm_name(goal->vm));
	*planp = plan;
	return 0;
}

/* What was unmapped is wanted back no more. */
static void drop_kept(struct pfnbuf_plan *plan)
{
	for (size_t i = 0; i < plan->nr_steps; i++)
		if (plan->steps[i].kind == PFNBUF_STEP_AREA_UNMAP)
			pfnbuf_ioas_drop(&plan->steps[i].kept);
	for (size_t i = 0; i < plan->nr_pins; i++)
		pfnbuf_ioas_drop(&plan->pins[i].taken.kept);
}

static bool is_of_buffer(const struct step *step)
{
	return step->kind == PFNBUF_STEP_DISCARD || step->kind == PFNBUF_STEP_ATTRIBUTE_SET;
}

struct pfnbuf_plan *pfnbuf_plan_free(struct pfnbuf_plan *plan)
{
	if (!plan)
		return NULL;
	drop_kept(plan);
	for (size_t i = 0; i < plan->nr_steps; i++)
		if (plan->steps[i].kind == PFNBUF_STEP_SLOT_SET)
			free(plan->steps[i].slot);
		else if (is_of_buffer(&plan->steps[i]))
			pfnbuf_buf_unref(plan->steps[i].buf);
	pfnbuf_layout_free(plan->goal.layout);
	plan->goal.owner->release(plan->goal.owner);
	free(plan->pins);
	free(plan->areas);
	free(plan->steps);
	free(plan);
	return NULL;
}

struct pfnbuf_plan_goal *pfnbuf_plan_goal(struct pfnbuf_plan *plan)
{
	return &plan->goal;
}

/* ---------------------------------------------------------------- steps --------------------- */

static int append(struct pfnbuf_plan *plan, const struct step *step)
{
	struct step *steps = pfnbuf_grow(plan->steps, plan->nr_steps + 1, &plan->max_steps,
					 sizeof(*plan->steps));

	if (!steps)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_window_plan", "plan", NULL);
	plan->steps = steps;
	steps[plan->nr_steps++] = *step;
	return 0;
}

static int append_area(struct pfnbuf_plan *plan, const struct pfnbuf_plan_area *area)
{
	struct pfnbuf_plan_area *areas = pfnbuf_grow(plan->areas, plan->nr_areas + 1,
						     &plan->max_areas, sizeof(*plan->areas));

	if (!areas)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_window_plan", "plan", NULL);
	plan->areas = areas;
	areas[plan->nr_areas++] = *area;
	return 0;
}

static int append_area_step(struct pfnbuf_plan *plan, const struct pfnbuf_plan_area *area,
			    enum pfnbuf_step_kind kind, const char *reason)
{
	const struct step step = {
		.kind = (uint8_t)kind,
		.start = area->iova,
		.length = area->length,
		.nr_areas = 1,
		.reason = reason,
	};

	return append(plan, &step);
}

int pfnbuf_plan_unmap(struct pfnbuf_plan *plan, const struct pfnbuf_plan_area *area, bool join,
		      const char *reason)
{
	struct step *last = plan->nr_steps ? &plan->steps[plan->nr_steps - 1] : NULL;

	if (!join || !last || last->kind != PFNBUF_STEP_AREA_UNMAP)
		return append_area_step(plan, area, PFNBUF_STEP_AREA_UNMAP, reason);
	last->length = area->iova + area->length - last->start;
	last->nr_areas++;
	return 0;
}

int pfnbuf_plan_map(struct pfnbuf_plan *plan, const struct pfnbuf_plan_area *area,
		    const char *reason)
{
	int r = append_area(plan, area);

	if (r >= 0)
		r = append_area_step(plan, area, PFNBUF_STEP_AREA_MAP, reason);
	if (r >= 0)
		plan->steps[plan->nr_steps - 1].area = plan->nr_areas - 1;
	return r;
}

static int append_slot_step(struct pfnbuf_plan *plan, struct pfnbuf_window_slot *slot,
			    enum pfnbuf_step_kind kind, uint64_t gpa, uint64_t to,
			    const char *reason)
{
	const struct step step = {
		.kind = (uint8_t)kind,
		.start = gpa,
		.length = slot->length,
		.slot = slot,
		.to = to,
		.reason = reason,
	};

	return append(plan, &step);
}

int pfnbuf_plan_delete_slot(struct pfnbuf_plan *plan, struct pfnbuf_window_slot *slot, uint64_t gpa,
			    const char *reason)
{
	return append_slot_step(plan, slot, PFNBUF_STEP_SLOT_DELETE, gpa, 0, reason);
}

int pfnbuf_plan_set_slot(struct pfnbuf_plan *plan, struct pfnbuf_window_slot *slot, uint64_t gpa,
			 const char *reason)
{
	int r = append_slot_step(plan, slot, PFNBUF_STEP_SLOT_SET, gpa, 0, reason);

	if (r < 0)
		free(slot);
	return r;
}

int pfnbuf_plan_move_slot(struct pfnbuf_plan *plan, struct pfnbuf_window_slot *slot, uint64_t gpa,
			  uint64_t to, const char *reason)
{
	return append_slot_step(plan, slot, PFNBUF_STEP_SLOT_MOVE, gpa, to, reason);
}

static int append_of_buffer(struct pfnbuf_plan *plan, const struct step *step)
{
	int r = append(plan, step);

	if (r >= 0 && step->buf)
		pfnbuf_buf_ref(step->buf);
	return r;
}

int pfnbuf_plan_set_attributes(struct pfnbuf_plan *plan, struct pfnbuf_buf *buf,
			       const struct pfnbuf_range *range, uint64_t to, const char *reason)
{
	const struct step step = {
		.kind = PFNBUF_STEP_ATTRIBUTE_SET,
		.start = range->offset,
		.length = range->length,
		.buf = buf,
		.to = to,
		.reason = reason,
	};
	struct step *last = plan->nr_steps ? &plan->steps[plan->nr_steps - 1] : NULL;

	/* What goes on where the step in front ends goes with its call. */
	if (last && last->kind == PFNBUF_STEP_ATTRIBUTE_SET && last->to == to &&
	    last->start + last->length == range->offset) {
		last->length += range->length;
		return 0;
	}
	return append_of_buffer(plan, &step);
}

int pfnbuf_plan_discard(struct pfnbuf_plan *plan, struct pfnbuf_buf *buf,
			const struct pfnbuf_range *range, const char *reason)
{
	const struct step step = {
		.kind = PFNBUF_STEP_DISCARD,
		.start = range->offset,
		.length = range->length,
		.buf = buf,
		.reason = reason,
	};

	return append_of_buffer(plan, &step);
}

struct pfnbuf_window_slot *pfnbuf_plan_take_slot(struct pfnbuf_plan *plan, size_t i, bool *enters)
{
	struct step *step = &plan->steps[i];
	struct pfnbuf_window_slot *slot = step->slot;

	if (step->kind != PFNBUF_STEP_SLOT_SET && step->kind != PFNBUF_STEP_SLOT_DELETE)
		return NULL;
	*enters = step->kind == PFNBUF_STEP_SLOT_SET;
	step->slot = NULL;
	return slot;
}

static bool is_area_step(const struct step *step)
{
	return step->kind == PFNBUF_STEP_AREA_UNMAP || step->kind == PFNBUF_STEP_AREA_MAP;
}

static const char *object_of(const struct pfnbuf_plan *plan, const struct step *step)
{
	if (is_area_step(step))
		return plan->ioas_name;
	if (step->kind == PFNBUF_STEP_DISCARD)
		return step->buf ? pfnbuf_buf_name(step->buf) : "anonymous memory";
	if (step->kind == PFNBUF_STEP_ATTRIBUTE_SET && step->buf)
		return pfnbuf_buf_name(step->buf);
	return plan->vm_name;
}

/* ---------------------------------------------------------------- checking ------------------ */

static int check_slot_ids(const struct pfnbuf_plan *plan)
{
	uint64_t sets = 0, deletes = 0;
	uint32_t free_ids;

	for (size_t i = 0; i < plan->nr_steps; i++) {
		sets += plan->steps[i].kind == PFNBUF_STEP_SLOT_SET;
		deletes += plan->steps[i].kind == PFNBUF_STEP_SLOT_DELETE;
	}
	if (sets <= deletes)
		return 0;
	free_ids = pfnbuf_vm_get_free_slots(plan->goal.vm);
	if (sets - deletes <= free_ids)
		return 0;
	return pfnbuf_refused(-ENOSPC, "pfnbuf_plan_check", plan->vm_name, NULL,
			      "make the layout coarser, or give the library more slot ids",
			      "the plan needs %" PRIu64 " more slot ids and %" PRIu32 " are free",
			      sets - deletes, free_ids);
}

bool pfnbuf_plan_maps(const struct pfnbuf_plan *plan)
{
	return plan->nr_areas;
}

/* What goes comes first. */
bool pfnbuf_plan_unmaps(const struct pfnbuf_plan *plan)
{
	return plan->nr_steps && plan->steps[0].kind == PFNBUF_STEP_AREA_UNMAP;
}

/* What goes with one call must be all that is there. */
static int check_unmap(const struct pfnbuf_plan *plan, const struct step *step)
{
	const struct pfnbuf_range range = { step->start, step->length };
	uint64_t areas, dead;

	if (step->nr_areas == 1)
		return 0;
	pfnbuf_ioas_count(plan->goal.ioas, range.offset, range.offset + range.length - 1, &areas,
			  &dead);
	if (areas <= step->nr_areas)
		return 0;
	return pfnbuf_refused(-EEXIST, "pfnbuf_plan_check", plan->ioas_name, &range,
			      "a window's addresses are its own, holes included",
			      "%" PRIu64 " areas are there, of which %" PRIu64 " are the window's",
			      areas, step->nr_areas);
}

static int check_step(const struct pfnbuf_plan *plan, const struct step *step)
{
	const struct pfnbuf_range range = { step->start, step->length };

	switch (step->kind) {
	case PFNBUF_STEP_AREA_UNMAP:
		return check_unmap(plan, step);
	case PFNBUF_STEP_AREA_MAP:
		return pfnbuf_ioas_check_space(plan->goal.ioas, step->start, step->length);
	case PFNBUF_STEP_SLOT_SET:
		if (step->length / pfnbuf_page_size() <= SLOT_MAX_PAGES)
			return 0;
		return pfnbuf_refused(-E2BIG, "pfnbuf_plan_check", plan->vm_name, &range,
				      "make two windows of it",
				      "a memory slot has at most 2^31 - 1 pages");
	default:
		return 0;
	}
}

int pfnbuf_plan_check_steps(const struct pfnbuf_plan *plan)
{
	int r = check_slot_ids(plan);

	for (size_t i = 0; r >= 0 && i < plan->nr_steps; i++)
		r = check_step(plan, &plan->steps[i]);
	return r;
}

int pfnbuf_plan_check(struct pfnbuf_plan *plan)
{
	return plan->goal.owner->check(plan->goal.owner, plan);
}

/* ---------------------------------------------------------------- running ------------------- */

uint64_t pfnbuf_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static int map_area(const struct pfnbuf_plan *plan, const struct pfnbuf_plan_area *area)
{
	const unsigned flags = plan->goal.map_flags;
	uint64_t iova = area->iova;
	int r;

	if (!area->buf)
		return pfnbuf_ioas_map_va(plan->goal.ioas, (void *)(uintptr_t)area->offset,
					  area->length, flags | PFNBUF_MAP_FIXED, &iova);
	r = pfnbuf_ioas_expect_buf(plan->goal.ioas, area->buf, area->offset, area->length, flags,
				   iova);
	return r < 0 ? r : 0;
}

static int set_slot(const struct pfnbuf_plan *plan, const struct step *step, bool withdrawn)
{
	const struct pfnbuf_slot slot = {
		.gpa = step->start,
		.length = step->length,
		.addr = step->slot->addr,
		.flags = plan->goal.slot_flags,
		.guest_memfd = step->slot->guest_memfd,
		.guest_memfd_offset = step->slot->guest_memfd_offset,
	};
	int r = pfnbuf_vm_enter_slot(plan->goal.vm, &slot, withdrawn, &step->slot->id);

	step->slot->held = r >= 0;
	return r;
}

static int delete_slot(const struct pfnbuf_plan *plan, const struct step *step)
{
	int r = pfnbuf_vm_delete_slot(plan->goal.vm, step->slot->id);

	step->slot->held = r < 0;
	return r;
}

static int set_attributes(const struct pfnbuf_plan *plan, const struct step *step,
			  uint64_t attributes, uint64_t *where)
{
	if (step->buf)
		return pfnbuf_buf_set_attributes(step->buf, plan->goal.gmem_request, step->start,
						 step->length, attributes, where);
	return pfnbuf_vm_set_attributes(plan->goal.vm, step->start, step->length, attributes);
}

/* Take out the area that holds a page of the step's. Returns 1, or why it cannot be had. */
static int take_pin(struct pfnbuf_plan *plan, size_t i, uint64_t where)
{
	struct pin *pins =
		pfnbuf_grow(plan->pins, plan->nr_pins + 1, &plan->max_pins, sizeof(*plan->pins));
	struct pfnbuf_plan_owner *owner = plan->goal.owner;
	int r;

	if (!pins)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_window_apply", "plan", NULL);
	plan->pins = pins;
	r = owner->unpin(owner, plan->steps[i].buf, where, &pins[plan->nr_pins].taken);
	if (r > 0)
		pins[plan->nr_pins++].step = i;
	return r;
}

/* Each time around one area less is in the way. */
static int run_attributes(struct pfnbuf_plan *plan, struct step *step)
{
	uint64_t where = 0;
	int r, taken;

	do {
		r = set_attributes(plan, step, step->to, &where);
		taken = r == -EAGAIN && step->buf
				? take_pin(plan, (size_t)(step - plan->steps), where)
				: r;
	} while (r == -EAGAIN && taken > 0);
	return taken;
}

/* Put back what the step took out, the last one first. */
static int put_back_pins(struct pfnbuf_plan *plan, const struct step *step)
{
	const size_t i = (size_t)(step - plan->steps);
	int r = 0;

	while (r >= 0 && plan->nr_pins && plan->pins[plan->nr_pins - 1].step == i) {
		struct pfnbuf_pin *pin = &plan->pins[plan->nr_pins - 1].taken;

		r = pfnbuf_ioas_put_back(pin->ioas, &pin->kept);
		if (r >= 0)
			plan->nr_pins--;
	}
	return r;
}

static int reset_attributes(const struct pfnbuf_plan *plan, const struct step *step)
{
	const uint64_t was = step->to ^ PFNBUF_ATTRIBUTE_PRIVATE;
	uint64_t where;

	if (step->buf)
		return set_attributes(plan, step, was, &where);
	return pfnbuf_vm_put_back_attributes(plan->goal.vm, step->start, step->length, was);
}

static int undo_attributes(struct pfnbuf_plan *plan, struct step *step)
{
	int r = step->state == PFNBUF_STEP_DONE ? reset_attributes(plan, step) : 0;

	return r < 0 ? r : put_back_pins(plan, step);
}

static int run_step(struct pfnbuf_plan *plan, struct step *step, bool withdrawn)
{
	switch (step->kind) {
	case PFNBUF_STEP_AREA_UNMAP:
		return pfnbuf_ioas_take(plan->goal.ioas, step->start, step->length, &step->kept);
	case PFNBUF_STEP_AREA_MAP:
		return map_area(plan, &plan->areas[step->area]);
	case PFNBUF_STEP_SLOT_DELETE:
		return delete_slot(plan, step);
	case PFNBUF_STEP_SLOT_SET:
		return set_slot(plan, step, withdrawn);
	case PFNBUF_STEP_ATTRIBUTE_SET:
		return run_attributes(plan, step);
	default:
		return pfnbuf_vm_move_slot(plan->goal.vm, step->slot->id, step->to);
	}
}

static int run_inverse(struct pfnbuf_plan *plan, struct step *step, bool withdrawn)
{
	switch (step->kind) {
	case PFNBUF_STEP_AREA_UNMAP:
		return pfnbuf_ioas_put_back(plan->goal.ioas, &step->kept);
	case PFNBUF_STEP_AREA_MAP:
		return pfnbuf_ioas_unmap(plan->goal.ioas, step->start, step->length, NULL);
	case PFNBUF_STEP_SLOT_DELETE:
		return set_slot(plan, step, withdrawn);
	case PFNBUF_STEP_SLOT_SET:
		return delete_slot(plan, step);
	case PFNBUF_STEP_ATTRIBUTE_SET:
		return undo_attributes(plan, step);
	default:
		return pfnbuf_vm_move_slot(plan->goal.vm, step->slot->id, step->start);
	}
}

static int undo_step(struct pfnbuf_plan *plan, struct step *step, bool withdrawn)
{
	int r = -EAGAIN;

	for (int i = 0; i < PFNBUF_UNDO_TRIES && pfnbuf_may_pass(r); i++)
		r = run_inverse(plan, step, withdrawn);
	if (r < 0) {
		step->state = PFNBUF_STEP_UNDO_FAILED;
		step->result = r;
	} else if (step->state == PFNBUF_STEP_DONE) {
		step->state = PFNBUF_STEP_UNDONE;
	}
	return r;
}

/* Undo the first @n steps. */
static int undo(struct pfnbuf_plan *plan, size_t n, bool withdrawn)
{
	int r = 0;

	while (r >= 0 && n-- > 0)
		r = undo_step(plan, &plan->steps[n], withdrawn);
	return r;
}

/*
 * Of the steps, @failed is the one that was refused. An UNMAP may have taken part of its areas, and
 * attributes may have taken pins.
 */
static void turn_back(struct pfnbuf_plan *plan, size_t failed, bool withdrawn)
{
	const uint8_t kind = plan->steps[failed].kind;
	struct pfnbuf_saved_error error;
	int r = 0;

	pfnbuf_error_save(&error);
	if (kind == PFNBUF_STEP_AREA_UNMAP || kind == PFNBUF_STEP_ATTRIBUTE_SET)
		r = undo_step(plan, &plan->steps[failed], withdrawn);
	if (r >= 0)
		undo(plan, failed, withdrawn);
	pfnbuf_error_restore(&error);
}

/* 0 where nobody wants to know. */
static uint64_t time_of(const struct pfnbuf_plan *plan)
{
	return plan->is_timed ? pfnbuf_now() : 0;
}

/* Note what became of a step. *before is when it began, and becomes when it ended. */
static int note(const struct pfnbuf_plan *plan, struct step *step, int result, uint64_t *before)
{
	const uint64_t after = time_of(plan);

	step->result = result;
	step->state = result < 0 ? PFNBUF_STEP_FAILED : PFNBUF_STEP_DONE;
	step->ns = after > *before ? after - *before : 1;
	*before = after;
	return result;
}

/* How many steps there are in front of the discards. */
static size_t nr_undoable(const struct pfnbuf_plan *plan)
{
	size_t n = plan->nr_steps;

	while (n && plan->steps[n - 1].kind == PFNBUF_STEP_DISCARD)
		n--;
	return n;
}

void pfnbuf_plan_take_times(struct pfnbuf_plan *plan)
{
	plan->is_timed = true;
}

int pfnbuf_plan_run(struct pfnbuf_plan *plan, bool withdrawn)
{
	const size_t n = nr_undoable(plan);
	uint64_t before = time_of(plan);

	plan->has_run = true;
	for (size_t i = 0; i < n; i++) {
		struct step *step = &plan->steps[i];
		int r = note(plan, step, run_step(plan, step, withdrawn), &before);

		if (r < 0) {
			turn_back(plan, i, withdrawn);
			return r;
		}
	}
	return 0;
}

void pfnbuf_plan_undo(struct pfnbuf_plan *plan, bool withdrawn)
{
	struct pfnbuf_saved_error error;

	pfnbuf_error_save(&error);
	undo(plan, nr_undoable(plan), withdrawn);
	pfnbuf_error_restore(&error);
}

/*
 * MADV_REMOVE gives back memory that is shared between processes and refuses what is this process's
 * alone, MADV_DONTNEED the reverse, but that it refuses nothing (mm/madvise.c).
 */
int pfnbuf_advise(const struct pfnbuf_kernel *k, uint64_t start, uint64_t length)
{
	const struct pfnbuf_range range = { start, length };
	void *addr = (void *)(uintptr_t)start;
	int r = k_madvise(k, addr, length, MADV_REMOVE);

	if (r == -EINVAL)
		r = k_madvise(k, addr, length, MADV_DONTNEED);
	return r < 0 ? pfnbuf_failed(r, "madvise", "anonymous memory", &range) : 0;
}

static int discard(const struct pfnbuf_plan *plan, const struct step *step)
{
	int r = -EAGAIN;

	for (int i = 0; i < PFNBUF_UNDO_TRIES && pfnbuf_may_pass(r); i++)
		r = step->buf ? pfnbuf_buf_punch(step->buf, step->start, step->length)
			      : pfnbuf_advise(plan->goal.kernel, step->start, step->length);
	return r;
}

/*
 * One by one: io_uring hands each fallocate() to a worker thread (io_uring/sync.c). On two CPUs a
 * submission has 0.1 to 0.8 of a loop's speed for 1 to 4096 pages, and 0.6 to 0.97 for 1 to 16 times
 * 2 MiB: measured of a memfd on hardware, and of memfd and guest_memfd on Linux 7.3 in an emulator
 * (convert.discard of the benchmark).
 */
int pfnbuf_plan_settle(struct pfnbuf_plan *plan)
{
	uint64_t before = time_of(plan);
	int failed = 0;

	drop_kept(plan);
	for (size_t i = nr_undoable(plan); i < plan->nr_steps; i++) {
		struct step *step = &plan->steps[i];

		if (note(plan, step, discard(plan, step), &before) < 0)
			failed = 1;
	}
	return failed;
}

bool pfnbuf_plan_has_run(const struct pfnbuf_plan *plan)
{
	return plan->has_run;
}

/* ---------------------------------------------------------------- looking ------------------- */

size_t pfnbuf_plan_get_nr_steps(const struct pfnbuf_plan *plan)
{
	return plan->nr_steps;
}

static bool has_target(const struct step *step)
{
	return step->kind == PFNBUF_STEP_SLOT_MOVE || step->kind == PFNBUF_STEP_ATTRIBUTE_SET;
}

int pfnbuf_plan_get_step(const struct pfnbuf_plan *plan, size_t i, struct pfnbuf_step *out)
{
	const struct step *step = &plan->steps[i];

	if (i >= plan->nr_steps)
		return pfnbuf_refused(-ERANGE, "pfnbuf_plan_get_step", "plan", NULL, "",
				      "the plan has %zu steps", plan->nr_steps);
	*out = (struct pfnbuf_step){
		.kind = (enum pfnbuf_step_kind)step->kind,
		.state = (enum pfnbuf_step_state)step->state,
		.object = object_of(plan, step),
		.range = { step->start, step->length },
		.to = has_target(step) ? step->to : 0,
		.areas = is_area_step(step) ? step->nr_areas : 0,
		.reason = step->reason,
		.result = step->result,
		.ns = step->ns,
	};
	return 0;
}

bool pfnbuf_plan_get_stuck(const struct pfnbuf_plan *plan, struct pfnbuf_step *step)
{
	for (size_t i = 0; i < plan->nr_steps; i++)
		if (plan->steps[i].state == PFNBUF_STEP_UNDO_FAILED)
			return pfnbuf_plan_get_step(plan, i, step) == 0;
	return false;
}

const char *pfnbuf_step_kind_name(enum pfnbuf_step_kind kind)
{
	switch (kind) {
	case PFNBUF_STEP_AREA_UNMAP:
		return "area-unmap";
	case PFNBUF_STEP_AREA_MAP:
		return "area-map";
	case PFNBUF_STEP_SLOT_DELETE:
		return "slot-delete";
	case PFNBUF_STEP_SLOT_SET:
		return "slot-set";
	case PFNBUF_STEP_SLOT_MOVE:
		return "slot-move";
	case PFNBUF_STEP_ATTRIBUTE_SET:
		return "attribute-set";
	case PFNBUF_STEP_DISCARD:
		return "discard";
	case PFNBUF_STEP_EXPORT:
		return "export";
	case PFNBUF_STEP_CLOSE:
		return "close";
	case PFNBUF_STEP_BAR_MAP:
		return "bar-map";
	case PFNBUF_STEP_BAR_UNMAP:
		return "bar-unmap";
	case PFNBUF_STEP_ALLOC:
		return "alloc";
	case PFNBUF_STEP_DESTROY:
		return "destroy";
	case PFNBUF_STEP_BIND:
		return "bind";
	case PFNBUF_STEP_UNBIND:
		return "unbind";
	case PFNBUF_STEP_START:
		return "start";
	case PFNBUF_STEP_REPORT:
		return "report";
	case PFNBUF_STEP_VALIDATE:
		return "validate";
	case PFNBUF_STEP_PRE_FAULT:
		return "pre-fault";
	}
	return "?";
}

const char *pfnbuf_step_state_name(enum pfnbuf_step_state state)
{
	switch (state) {
	case PFNBUF_STEP_PLANNED:
		return "planned";
	case PFNBUF_STEP_DONE:
		return "done";
	case PFNBUF_STEP_FAILED:
		return "failed";
	case PFNBUF_STEP_UNDONE:
		return "undone";
	case PFNBUF_STEP_UNDO_FAILED:
		return "undo-failed";
	}
	return "?";
}

/* Text that grows past its buffer and is only counted there. */
struct text {
	char *buf;
	size_t size;
	size_t length;
};

static void say(struct text *text, const char *format, ...) PFNBUF_PRINTF(2, 3);

static void say(struct text *text, const char *format, ...)
{
	const size_t room = text->length < text->size ? text->size - text->length : 0;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(room ? text->buf + text->length : NULL, room, format, ap);
	va_end(ap);
	text->length += n > 0 ? (size_t)n : 0;
}

static void say_step(struct text *text, size_t i, const struct pfnbuf_step *step)
{
	say(text, "%zu %s %s", i + 1, pfnbuf_step_kind_name(step->kind), step->object);
	/* What is done to a device or an object as a whole has none. */
	if (step->range.length)
		say(text, " 0x%" PRIx64 "+0x%" PRIx64, step->range.offset, step->range.length);
	if (step->kind == PFNBUF_STEP_SLOT_MOVE)
		say(text, " to 0x%" PRIx64, step->to);
	if (step->kind == PFNBUF_STEP_ATTRIBUTE_SET)
		say(text, " to %s", step->to ? "private" : "shared");
	if (step->areas > 1)
		say(text, " (%" PRIu64 " areas)", step->areas);
	say(text, ": %s", step->reason);
	if (step->state != PFNBUF_STEP_PLANNED)
		say(text, "; %s, %s, %" PRIu64 " ns", pfnbuf_step_state_name(step->state),
		    step->result ? pfnbuf_errno_name(step->result) : "0", step->ns);
	say(text, "\n");
}

static void say_step_json(struct text *text, const struct pfnbuf_step *step)
{
	say(text,
	    "{\"kind\": \"%s\", \"object\": \"%s\", \"offset\": %" PRIu64 ", \"length\": %" PRIu64,
	    pfnbuf_step_kind_name(step->kind), step->object, step->range.offset,
	    step->range.length);
	if (step->kind == PFNBUF_STEP_SLOT_MOVE)
		say(text, ", \"to\": %" PRIu64, step->to);
	if (step->kind == PFNBUF_STEP_ATTRIBUTE_SET)
		say(text, ", \"attributes\": %" PRIu64, step->to);
	if (step->areas)
		say(text, ", \"areas\": %" PRIu64, step->areas);
	say(text, ", \"reason\": \"%s\", \"state\": \"%s\"", step->reason,
	    pfnbuf_step_state_name(step->state));
	if (step->state != PFNBUF_STEP_PLANNED && step->result)
		say(text, ", \"result\": \"%s\"", pfnbuf_errno_name(step->result));
	else if (step->state != PFNBUF_STEP_PLANNED)
		say(text, ", \"result\": 0");
	if (step->state != PFNBUF_STEP_PLANNED)
		say(text, ", \"ns\": %" PRIu64, step->ns);
	say(text, "}");
}

size_t pfnbuf_step_print(const struct pfnbuf_step *step, size_t i, char *buf, size_t size)
{
	struct text text = { buf, size, 0 };

	say_step(&text, i, step);
	return text.length;
}

size_t pfnbuf_step_print_json(const struct pfnbuf_step *step, char *buf, size_t size)
{
	struct text text = { buf, size, 0 };

	say_step_json(&text, step);
	return text.length;
}

size_t pfnbuf_plan_print(const struct pfnbuf_plan *plan, char *buf, size_t size)
{
	struct text text = { buf, size, 0 };
	struct pfnbuf_step step;

	say(&text, "%s", "");
	for (size_t i = 0; i < plan->nr_steps; i++) {
		pfnbuf_plan_get_step(plan, i, &step);
		say_step(&text, i, &step);
	}
	return text.length;
}

size_t pfnbuf_plan_print_json(const struct pfnbuf_plan *plan, char *buf, size_t size)
{
	struct text text = { buf, size, 0 };
	struct pfnbuf_step step;

	say(&text, "{\"steps\": [");
	for (size_t i = 0; i < plan->nr_steps; i++) {
		say(&text, "%s", i ? ", " : "");
		pfnbuf_plan_get_step(plan, i, &step);
		say_step_json(&text, &step);
	}
	say(&text, "]}");
	return text.length;
}
