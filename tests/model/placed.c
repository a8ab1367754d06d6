/* SPDX-License-Identifier: MIT */
#include "placed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/tried.h"

struct logged logged;

static void take_log(void *data, enum pfnbuf_log_level level, const char *message)
{
	(void)data;
	logged.n++;
	logged.level = level;
	snprintf(logged.text, sizeof(logged.text), "%s", message);
}

int setup_rig(void **state, uint64_t vm_type)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	logged = (struct logged){ 0 };
	rig->vm_type = vm_type;
	rig->hears = take_log;
	rig_open(rig);
	*state = rig;
	return 0;
}

int teardown_rig(void **state)
{
	struct rig *rig = *state;

	rig_check_alias(rig);
	rig_close(rig);
	free(rig);
	return 0;
}

struct pfnbuf_place place_of(const struct rig *rig)
{
	return (struct pfnbuf_place){
		.size = sizeof(struct pfnbuf_place),
		.vm = rig->vm,
		.gpa = GPA,
		.ioas = rig->ioas,
		.iova = IOVA,
	};
}

void set_layout(struct pfnbuf_window *w, const char *picture)
{
	struct pfnbuf_layout *layout = rig_layout(picture);

	if (pfnbuf_window_set_layout(w, layout) != 0)
		fail_msg("%s: %s", picture, pfnbuf_last_error());
	pfnbuf_layout_free(layout);
}

/* Where page 0 of the window is in the object of a step. */
static uint64_t base_of(const struct pfnbuf_step *step)
{
	switch (step->object[0]) {
	case 'i':
		return IOVA;
	case 'm':
		return SKIPPED * PAGE;
	case 'g':
		return SKIPPED_GUEST * PAGE;
	default:
		return GPA;
	}
}

static int page_of(uint64_t at, uint64_t base)
{
	return (int)((int64_t)(at - base) / (int64_t)PAGE);
}

static void print_step(FILE *out, const struct pfnbuf_step *step)
{
	static const char letter[] = "?UMDSVAX";
	const uint64_t base = base_of(step);

	assert_in_range(step->kind, PFNBUF_STEP_AREA_UNMAP, PFNBUF_STEP_DISCARD);
	fprintf(out, "%c%d+%d", letter[step->kind], page_of(step->range.offset, base),
		(int)(step->range.length / PAGE));
	if (step->kind == PFNBUF_STEP_ATTRIBUTE_SET)
		fputc(step->to ? 'p' : 's', out);
	if (step->kind == PFNBUF_STEP_DISCARD)
		fputc(step->object[0], out);
	if (step->kind == PFNBUF_STEP_SLOT_MOVE)
		fprintf(out, ">%d", page_of(step->to, base));
	if (step->areas > 1)
		fprintf(out, ":%d", (int)step->areas);
}

const char *steps_of(const struct pfnbuf_plan *plan)
{
	static char text[4096];
	FILE *out = fmemopen(text, sizeof(text), "w");

	assert_non_null(out);
	text[0] = '\0'; /* which fmemopen() leaves alone where nothing is printed */
	for (size_t i = 0; i < pfnbuf_plan_get_nr_steps(plan); i++) {
		struct pfnbuf_step step;

		assert_int_equal(pfnbuf_plan_get_step(plan, i, &step), 0);
		if (i)
			fputc(' ', out);
		print_step(out, &step);
	}
	assert_int_equal(fclose(out), 0);
	return text;
}

void plan_is(struct pfnbuf_window *w, const char *from, const char *to, const char *steps)
{
	struct pfnbuf_layout *target = rig_layout(to);
	struct pfnbuf_plan *plan;

	if (from)
		set_layout(w, from);
	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	assert_string_equal(steps_of(plan), steps);
	assert_int_equal(pfnbuf_plan_check(plan), 0);
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(target);
}

void refused(const char *call, int result, int code)
{
	assert_int_equal(result, -code);
	note_tried(call, code);
}

void move_is(struct pfnbuf_window *w, uint64_t gpa, uint64_t iova, const char *steps)
{
	struct pfnbuf_plan *plan;

	assert_int_equal(pfnbuf_window_plan_move(w, gpa, iova, &plan), 0);
	assert_string_equal(steps_of(plan), steps);
	pfnbuf_plan_free(plan);
}
