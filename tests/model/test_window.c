/* SPDX-License-Identifier: MIT */
/*
 * Windows: the steps that plans are made of, and flows on the simulated kernel judged by what they
 * reach.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libpfnbuf/private.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/vfio.h"
#include "placed.h"

static struct pfnbuf_window *new_bar(struct rig *rig, unsigned flags)
{
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_window *w;

	place.flags = flags;
	assert_int_equal(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, &place, &w), 0);
	return w;
}

static struct pfnbuf_window *new_ram(struct rig *rig, uint64_t pages, uint64_t granule)
{
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = { .memfd = rig_memfd(rig, pages), .length = pages * PAGE };
	struct pfnbuf_window *w;

	place.granule = granule;
	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), 0);
	pfnbuf_buf_unref(ram.memfd);
	return w;
}

/* What the picture says is what device and guest reach, and the library says that it is so. */
static void reaches(struct rig *rig, struct pfnbuf_window *w, uint64_t what, const char *picture)
{
	struct pfnbuf_window_info info;

	pfnbuf_window_get_info(w, &info);
	for (uint64_t page = 0; picture[page]; page++) {
		const int64_t tag = (int64_t)rig_tag(what, page);
		const bool shared = picture[page] == 's';

		assert_int_equal(rig_dma(rig, info.iova + page * PAGE), shared ? tag : -EFAULT);
		assert_int_equal(rig_guest(rig, info.gpa + page * PAGE), shared ? tag : -ENXIO);
	}
	assert_int_equal(info.state, PFNBUF_WINDOW_LIVE);
	assert_int_equal(pfnbuf_window_verify(w, NULL), 1);
}

/* ---------------------------------------------------------------- plans --------------------- */

static void plans_of_runs(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_ram(rig, 16, 0);

	plan_is(w, NULL, "................", "");
	plan_is(w, NULL, "ssssssssssssssss", "S0+16 M0+16");
	plan_is(w, "ssssssssssssssss", "................", "U0+16 D0+16");
	plan_is(w, NULL, "ssss....ssssssss", "U0+16 D0+16 S0+4 S8+8 M0+4 M8+8");
	/* Runs that the difference does not touch stay. */
	plan_is(w, "ss..ss..ss..ss..", "ss..ss..ss......", "U12+2 D12+2");
	plan_is(w, NULL, "ss......ss......", "U4+2 U12+2 D4+2 D12+2");
	pfnbuf_window_free(w);
}

static void plans_join_unmaps(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_ram(rig, 16, 0);

	/* Nothing that stays lies between them. */
	plan_is(w, "ss..ss..ss..ss..", "................", "U0+14:4 D0+2 D4+2 D8+2 D12+2");
	plan_is(w, NULL, "ss..........ss..", "U4+6:2 D4+2 D8+2");
	/* The one at 4 stays. */
	plan_is(w, NULL, "....ss..........", "U0+2 U8+6:2 D0+2 D8+2 D12+2");
	/* A run that grows takes its neighbours in. */
	plan_is(w, NULL, "ssssss..ss..ss..", "U0+6:2 D0+2 D4+2 S0+6 M0+6");
	plan_is(w, NULL, "ssssssssssssssss", "U0+14:4 D0+2 D4+2 D8+2 D12+2 S0+16 M0+16");
	/*
	 * A change next to one: the run of both layouts shrinks at one end and grows at the other.
	 */
	plan_is(w, "..ssss..........", "...ssss.........", "U2+4 D2+4 S3+4 M3+4");
	pfnbuf_window_free(w);
}

static void plans_with_a_granule(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_ram(rig, 16, 4 * PAGE);

	plan_is(w, NULL, "ssssssssssssssss", "S0+16 M0+4 M4+4 M8+4 M12+4");
	plan_is(w, "ssssssssssssssss", "ssssssss..ssssss", "U8+4 D0+16 S0+8 S10+6 M10+2");
	plan_is(w, NULL, "ssss....ssssssss", "U4+4 D0+16 S0+4 S8+8");
	plan_is(w, "s.s.s.s.ssssssss", "s...s.s.ssssssss", "U2+1 D2+1");
	plan_is(w, NULL, "s.s.s.s.sss.ssss", "U8+4 D8+8 S8+3 S12+4 M8+3");
	/* In granules that change, areas that do not stay where they are. */
	plan_is(w, NULL, "s.ss....ssssssss", "U2+5:3 D2+1 D4+1 D6+1 S2+2 M2+2");
	pfnbuf_window_free(w);
}

static void plans_to_move(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_ram(rig, 16, 0);
	struct pfnbuf_plan *plan;

	set_layout(w, "ss..ss..ss......");
	move_is(w, GPA + 4 * PAGE, IOVA, "V8+2>12 V4+2>8 V0+2>4");
	move_is(w, GPA - 4 * PAGE, IOVA + PAGE, "U0+10:3 V0+2>-4 V4+2>0 V8+2>4 M1+2 M5+2 M9+2");
	move_is(w, GPA, IOVA, "");
	assert_refused(pfnbuf_window_plan_move(w, GPA + 1, IOVA, &plan), EINVAL);
	assert_refused(pfnbuf_window_plan_move(w, GPA, -PAGE, &plan), ERANGE);
	pfnbuf_window_free(w);
}

static void plans_are_printed(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_ram(rig, 16, 0);
	struct pfnbuf_layout *target = rig_layout("ss..............");
	struct pfnbuf_plan *plan;
	char text[1024], expected[1024];
	int vm = pfnbuf_vm_get_fd(rig->vm);

	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	snprintf(expected, sizeof(expected),
		 "1 slot-set vm %d 0x100000000+0x2000: shared from now on\n"
		 "2 area-map ioas 1 0x40000000+0x2000: shared from now on\n",
		 vm);
	assert_int_equal(pfnbuf_plan_print(plan, text, sizeof(text)), strlen(expected));
	assert_string_equal(text, expected);
	assert_int_equal(pfnbuf_plan_print(plan, text, 5), strlen(expected));
	assert_string_equal(text, "1 sl");
	assert_int_equal(pfnbuf_plan_print(plan, NULL, 0), strlen(expected));
	snprintf(
		expected, sizeof(expected),
		"{\"steps\": [{\"kind\": \"slot-set\", \"object\": \"vm %d\", \"offset\": 4294967296, "
		"\"length\": 8192, \"reason\": \"shared from now on\", \"state\": \"planned\"}, "
		"{\"kind\": \"area-map\", \"object\": \"ioas 1\", \"offset\": 1073741824, "
		"\"length\": 8192, \"areas\": 1, \"reason\": \"shared from now on\", "
		"\"state\": \"planned\"}]}",
		vm);
	assert_int_equal(pfnbuf_plan_print_json(plan, text, sizeof(text)), strlen(expected));
	assert_string_equal(text, expected);
	assert_int_equal(pfnbuf_window_apply(w, plan), 0);
	pfnbuf_plan_print(plan, text, sizeof(text));
	assert_non_null(strstr(text, "shared from now on; done, 0, "));
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(target);
	pfnbuf_window_free(w);
}

static void stale_plans_are_refused(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, 0), *other = new_ram(rig, 4, 0);
	struct pfnbuf_layout *target;
	struct pfnbuf_plan *plan;

	assert_int_equal(pfnbuf_window_default_layout(w, &target), 0);
	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	assert_refused(pfnbuf_window_apply(other, plan), EINVAL);
	assert_int_equal(pfnbuf_window_set_range(w, 0, PAGE, PFNBUF_SHARED), 0);
	assert_refused(pfnbuf_plan_check(plan), ESTALE);
	assert_refused(pfnbuf_window_apply(w, plan), ESTALE);
	pfnbuf_plan_free(plan);

	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	assert_int_equal(pfnbuf_device_reset(rig->card), 0);
	assert_refused(pfnbuf_plan_check(plan), ESTALE);
	assert_refused(pfnbuf_window_apply(w, plan), ESTALE);
	assert_non_null(strstr(pfnbuf_last_error(), "revoked"));
	pfnbuf_plan_free(plan);

	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	assert_int_equal(pfnbuf_window_apply(w, plan), 0);
	assert_refused(pfnbuf_window_apply(w, plan), EALREADY);
	pfnbuf_plan_free(plan);

	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	pfnbuf_window_free(w);
	assert_refused(pfnbuf_plan_check(plan), ESTALE);
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(target);
	pfnbuf_window_free(other);
}

/* ---------------------------------------------------------------- flows --------------------- */

#define ALL_SHARED "ssssssssssssssssssssssssssssssss"
#define FIVE_RUNS  "ssss....ssssssss..ssss....ss.sss"
#define NOTHING	   "................................"

static void bar_is_placed(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, 0);
	char *before = rig_dump(rig), *after;

	reaches(rig, w, RIG_TAG_CARD, NOTHING);
	set_layout(w, ALL_SHARED);
	reaches(rig, w, RIG_TAG_CARD, ALL_SHARED);
	set_layout(w, FIVE_RUNS);
	reaches(rig, w, RIG_TAG_CARD, FIVE_RUNS);
	assert_int_equal(pfnbuf_window_set_range(w, 4 * PAGE, 4 * PAGE, PFNBUF_SHARED), 0);
	reaches(rig, w, RIG_TAG_CARD, "ssssssssssssssss..ssss....ss.sss");
	set_layout(w, NOTHING);
	after = rig_dump(rig);
	assert_string_equal(before, after);
	free(before);
	free(after);
	pfnbuf_window_free(w);
}

static void bar_moves(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, 0);

	set_layout(w, FIVE_RUNS);
	assert_int_equal(pfnbuf_window_move(w, GPA + PAGE, IOVA + 2 * PAGE), 0);
	reaches(rig, w, RIG_TAG_CARD, FIVE_RUNS);
	assert_int_equal(pfnbuf_window_move(w, GPA - 8 * PAGE, IOVA), 0);
	reaches(rig, w, RIG_TAG_CARD, FIVE_RUNS);
	assert_int_equal(pfnbuf_window_suspend(w), 0);
	assert_refused(pfnbuf_window_suspend(w), EALREADY);
	assert_int_equal(rig_dma(rig, IOVA), -EFAULT);
	assert_int_equal(rig_guest(rig, GPA - 8 * PAGE), -ENXIO);
	assert_int_equal(pfnbuf_window_move(w, GPA, IOVA), 0);
	assert_int_equal(pfnbuf_window_set_range(w, 4 * PAGE, 4 * PAGE, PFNBUF_SHARED), 0);
	assert_int_equal(pfnbuf_window_resume(w), 0);
	assert_refused(pfnbuf_window_resume(w), EALREADY);
	reaches(rig, w, RIG_TAG_CARD, "ssssssssssssssss..ssss....ss.sss");
	pfnbuf_window_free(w);
}

static void pop_until(struct rig *rig, enum pfnbuf_event_type type, struct pfnbuf_event *ev)
{
	while (pfnbuf_ctx_pop_event(rig->ctx, ev))
		if (ev->type == type)
			return;
	fail_msg("no %s event", pfnbuf_event_type_name(type));
}

static void bar_survives_a_reset(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, 0);
	struct pfnbuf_window_info info;
	struct pfnbuf_event ev;

	set_layout(w, FIVE_RUNS);
	assert_int_equal(pfnbuf_device_reset(rig->card), 0);
	pfnbuf_window_get_info(w, &info);
	assert_int_equal(info.state, PFNBUF_WINDOW_SUSPENDED);
	assert_int_equal(info.dead_areas, 5);
	assert_int_equal(info.slots, 5);
	assert_int_equal(rig_dma(rig, IOVA), -EFAULT);
	assert_int_equal(rig_guest(rig, GPA), rig_tag(RIG_TAG_CARD, 0));
	assert_int_equal(pfnbuf_device_restore(rig->card), 0);
	pop_until(rig, PFNBUF_EVENT_RESTORED, &ev);
	assert_ptr_equal(ev.window, w);
	assert_ptr_equal(ev.device, rig->card);
	assert_int_equal(ev.range.length, RIG_BAR_PAGES * PAGE);
	reaches(rig, w, RIG_TAG_CARD, FIVE_RUNS);
	pfnbuf_window_free(w);
}

/* Whoever takes an event after its window was freed finds no window in it, and others keep theirs. */
static void events_outlive_their_window(void **state)
{
	const struct pfnbuf_range parts[] = { { 0, 8 * PAGE }, { 8 * PAGE, 8 * PAGE } };
	struct rig *rig = *state;
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_window *w[2];
	struct pfnbuf_event ev;

	for (int i = 0; i < 2; i++) {
		place.gpa = GPA + (uint64_t)i * 64 * PAGE;
		place.iova = IOVA + (uint64_t)i * 64 * PAGE;
		assert_int_equal(
			pfnbuf_window_new_bar(rig->card, RIG_BAR, &parts[i], &place, &w[i]), 0);
		set_layout(w[i], "ssssssss");
	}
	assert_int_equal(pfnbuf_device_reset(rig->card), 0);
	assert_int_equal(pfnbuf_window_restore(w[0]), 0);
	assert_int_equal(pfnbuf_window_restore(w[1]), 0);
	pfnbuf_window_free(w[0]);
	pop_until(rig, PFNBUF_EVENT_RESTORED, &ev);
	assert_null(ev.window);
	pop_until(rig, PFNBUF_EVENT_RESTORED, &ev);
	assert_ptr_equal(ev.window, w[1]);
	pfnbuf_window_free(w[1]);
}

static struct pfnbuf_device *open_odd(struct rig *rig, const char *bdf, unsigned flags)
{
	const struct pfnbuf_sim_device spec = {
		.bdf = bdf,
		.vendor = 0x1af4,
		.device = 0x1110,
		.flags = PFNBUF_SIM_FLR | PFNBUF_SIM_PM | flags,
		.bars = { [RIG_BAR] = { .size = RIG_BAR_PAGES * PAGE } },
	};
	struct pfnbuf_device *device;

	assert_int_equal(pfnbuf_sim_add_device(rig->sim, &spec), 0);
	assert_int_equal(pfnbuf_device_open(rig->ctx, bdf, &device), 0);
	assert_int_equal(pfnbuf_device_bind(device, NULL), 0);
	return device;
}

/* Its areas are dead, and a restore is all that it takes. */
static void dies_and_revives(struct rig *rig, struct pfnbuf_device *device, struct pfnbuf_window *w)
{
	struct pfnbuf_window_info info;

	pfnbuf_window_get_info(w, &info);
	assert_int_equal(info.state, PFNBUF_WINDOW_SUSPENDED);
	assert_int_equal(info.dead_areas, 5);
	assert_int_equal(rig_dma(rig, info.iova), -EFAULT);
	assert_int_equal(pfnbuf_device_restore(device), 0);
	pfnbuf_window_get_info(w, &info);
	assert_int_equal(info.state, PFNBUF_WINDOW_LIVE);
	assert_true(rig_dma(rig, info.iova) >= 0);
	assert_int_equal(pfnbuf_window_verify(w, NULL), 1);
}

static struct pfnbuf_window *place_odd(struct rig *rig, struct pfnbuf_device *device)
{
	const struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_window *w;

	assert_int_equal(pfnbuf_window_new_bar(device, RIG_BAR, NULL, &place, &w), 0);
	set_layout(w, FIVE_RUNS);
	return w;
}

/* A virtual function's memory cannot be turned off: trying revokes for a moment. */
static void a_vf_pulses(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_device *vf = open_odd(rig, "0000:04:00.0", PFNBUF_SIM_VF);
	struct pfnbuf_window *w = place_odd(rig, vf);

	assert_int_equal(pfnbuf_device_set_memory_decode(vf, false), 0);
	dies_and_revives(rig, vf, w);
	pfnbuf_window_free(w);
	pfnbuf_device_close(vf);
}

static void a_failed_reset_revokes(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_device *device = open_odd(rig, "0000:04:00.0", PFNBUF_SIM_RESET_FAILS);
	struct pfnbuf_window *w = place_odd(rig, device);

	assert_int_equal(pfnbuf_device_reset(device), -ENOTTY);
	dies_and_revives(rig, device, w);
	pfnbuf_window_free(w);
	pfnbuf_device_close(device);
}

static void a_hot_reset_reaches_the_set(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = place_odd(rig, rig->other);

	assert_int_equal(pfnbuf_device_hot_reset(rig->card), 0);
	dies_and_revives(rig, rig->other, w);
	pfnbuf_window_free(w);
}

static void low_power_twice(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, PFNBUF_PLACE_WITHDRAW_SLOTS);

	set_layout(w, FIVE_RUNS);
	assert_int_equal(pfnbuf_device_low_power_enter(rig->card, -1), 0);
	assert_int_equal(pfnbuf_device_low_power_enter(rig->card, -1), -EINVAL);
	assert_int_equal(rig_guest(rig, GPA), -ENXIO);
	assert_int_equal(pfnbuf_device_restore(rig->card), -ENODEV);
	assert_int_equal(pfnbuf_device_low_power_exit(rig->card), 0);
	dies_and_revives(rig, rig->card, w);
	reaches(rig, w, RIG_TAG_CARD, FIVE_RUNS);
	pfnbuf_window_free(w);
}

/* What cannot be restored is named, and asking again goes on from there. */
static void a_restore_fails_half_way(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, PFNBUF_PLACE_WITHDRAW_SLOTS);
	struct pfnbuf_event ev;

	set_layout(w, FIVE_RUNS);
	assert_int_equal(pfnbuf_device_reset(rig->card), 0);
	pfnbuf_sim_fail_ioctl(rig->sim, IOMMU_IOAS_MAP_FILE, 3, ENOMEM);
	assert_int_equal(pfnbuf_device_restore(rig->card), -ENOMEM);
	assert_non_null(strstr(pfnbuf_last_error(), "IOMMU_IOAS_MAP_FILE"));
	pop_until(rig, PFNBUF_EVENT_RESTORE_FAILED, &ev);
	assert_ptr_equal(ev.window, w);
	assert_int_equal(ev.range.offset, 18 * PAGE);
	assert_int_equal(ev.range.length, 4 * PAGE);
	/* The slots are back, and so are the first two areas. */
	assert_true(rig_guest(rig, GPA + 18 * PAGE) >= 0);
	assert_true(rig_dma(rig, IOVA + 8 * PAGE) >= 0);
	assert_int_equal(pfnbuf_window_restore(w), 0);
	pop_until(rig, PFNBUF_EVENT_RESTORED, &ev);
	reaches(rig, w, RIG_TAG_CARD, FIVE_RUNS);

	assert_int_equal(pfnbuf_device_reset(rig->card), 0);
	pfnbuf_sim_fail_ioctl(rig->sim, KVM_SET_USER_MEMORY_REGION2, 2, EEXIST);
	assert_int_equal(pfnbuf_device_restore(rig->card), -EEXIST);
	pop_until(rig, PFNBUF_EVENT_RESTORE_FAILED, &ev);
	assert_int_equal(ev.range.offset, 8 * PAGE);
	assert_int_equal(rig_guest(rig, GPA + 8 * PAGE), -ENXIO);
	assert_int_equal(pfnbuf_device_restore(rig->card), 0);
	reaches(rig, w, RIG_TAG_CARD, FIVE_RUNS);
	pfnbuf_window_free(w);
}

/*
 * Layouts and places change while the memory is off; the restore places what is then to be placed.
 */
static void changes_while_suspended(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, 0);
	struct pfnbuf_window_info info;

	set_layout(w, FIVE_RUNS);
	assert_int_equal(pfnbuf_device_set_memory_decode(rig->card, false), 0);
	set_layout(w, ALL_SHARED);
	assert_int_equal(pfnbuf_window_move(w, GPA + 4 * PAGE, IOVA + 4 * PAGE), 0);
	assert_int_equal(pfnbuf_window_set_range(w, 8 * PAGE, 8 * PAGE, PFNBUF_HOLE), 0);
	assert_refused(pfnbuf_window_restore(w), ENODEV);
	pfnbuf_window_get_info(w, &info);
	assert_int_equal(info.areas, 2);
	assert_int_equal(info.dead_areas, 2);
	assert_int_equal(rig_dma(rig, IOVA + 4 * PAGE), -EFAULT);
	assert_int_equal(pfnbuf_device_set_memory_decode(rig->card, true), 0);
	assert_int_equal(rig_dma(rig, IOVA + 4 * PAGE), -EFAULT);
	assert_int_equal(pfnbuf_window_restore(w), 0);
	reaches(rig, w, RIG_TAG_CARD, "ssssssss........ssssssssssssssss");
	pfnbuf_window_free(w);
}

static void slots_are_withdrawn(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, PFNBUF_PLACE_WITHDRAW_SLOTS);
	struct pfnbuf_window_info info;
	struct pfnbuf_slot slot;
	uint32_t id;

	set_layout(w, FIVE_RUNS);
	assert_int_equal(pfnbuf_device_set_memory_decode(rig->card, false), 0);
	assert_int_equal(pfnbuf_vm_next_slot(rig->vm, 0, &id, &slot), 0);
	assert_int_equal(rig_guest(rig, GPA), -ENXIO);
	pfnbuf_window_get_info(w, &info);
	assert_true(info.withdrawn);
	assert_int_equal(info.slots, 5);
	assert_int_equal(pfnbuf_window_set_range(w, 4 * PAGE, 4 * PAGE, PFNBUF_SHARED), 0);
	assert_int_equal(pfnbuf_window_move(w, GPA + PAGE, IOVA + PAGE), 0);
	assert_int_equal(pfnbuf_device_set_memory_decode(rig->card, true), 0);
	assert_int_equal(rig_guest(rig, GPA + PAGE), -ENXIO);
	assert_int_equal(pfnbuf_device_restore(rig->card), 0);
	reaches(rig, w, RIG_TAG_CARD, "ssssssssssssssss..ssss....ss.sss");
	pfnbuf_window_free(w);
}

static void device_closes_first(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, 0);
	struct pfnbuf_layout *layout;
	struct pfnbuf_window_info info;
	struct pfnbuf_sim_counts counts;
	void *somewhere = NULL;
	uint32_t id;

	set_layout(w, FIVE_RUNS);
	rig->card = pfnbuf_device_close(rig->card);
	pfnbuf_window_get_info(w, &info);
	assert_int_equal(info.state, PFNBUF_WINDOW_DEAD);
	assert_refused(pfnbuf_window_set_range(w, 0, PAGE, PFNBUF_HOLE), ENODEV);
	assert_refused(pfnbuf_window_restore(w), ENODEV);
	assert_refused(pfnbuf_window_verify(w, NULL), ENODEV);
	assert_int_equal(pfnbuf_window_get_layout(w, &layout), 0);
	pfnbuf_layout_free(layout);
	pfnbuf_sim_get_counts(rig->sim, &counts);
	assert_int_equal(counts.slots, 0);
	/* The ids are somebody else's now, who shall keep them. */
	assert_int_equal(posix_memalign(&somewhere, PAGE, PAGE), 0);
	assert_int_equal(pfnbuf_vm_set_slot(rig->vm,
					    &(struct pfnbuf_slot){
						    .gpa = GPA, .length = PAGE, .addr = somewhere },
					    &id),
			 0);
	pfnbuf_window_free(w);
	pfnbuf_sim_get_counts(rig->sim, &counts);
	assert_int_equal(counts.slots, 1);
	assert_int_equal(counts.areas, 0);
	assert_int_equal(pfnbuf_vm_delete_slot(rig->vm, id), 0);
	free(somewhere);
}

static void ram_is_placed(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_ram(rig, 16, 4 * PAGE);

	set_layout(w, "ssssssssssssssss");
	reaches(rig, w, RIG_TAG_RAM, "ssssssssssssssss");
	set_layout(w, "s.ss.sssss..s..s");
	reaches(rig, w, RIG_TAG_RAM, "s.ss.sssss..s..s");
	assert_int_equal(pfnbuf_window_move(w, GPA + 3 * PAGE, IOVA - PAGE), 0);
	reaches(rig, w, RIG_TAG_RAM, "s.ss.sssss..s..s");
	assert_int_equal(pfnbuf_window_restore(w), 0);
	pfnbuf_window_free(w);
}

static void msix_is_a_hole_by_default(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_place place = place_of(rig);
	const struct pfnbuf_range part = { 3 * PAGE, 4 * PAGE };
	struct pfnbuf_layout *layout, *expected = rig_layout("ss..ssssssssssss");
	struct pfnbuf_range pages[2];
	struct pfnbuf_window *w;

	assert_int_equal(pfnbuf_device_get_bar_msix(rig->card, RIG_MSIX_BAR, pages, 2), 2);
	assert_int_equal(pages[0].offset, 2 * PAGE);
	assert_int_equal(pages[0].length, PAGE);
	assert_int_equal(pages[1].offset, 3 * PAGE);
	assert_int_equal(pfnbuf_device_get_bar_msix(rig->card, RIG_BAR, pages, 2), 0);
	assert_int_equal(pfnbuf_window_new_bar(rig->card, RIG_MSIX_BAR, NULL, &place, &w), 0);
	assert_int_equal(pfnbuf_window_default_layout(w, &layout), 0);
	assert_true(pfnbuf_layout_equal(layout, expected));
	pfnbuf_layout_free(layout);
	pfnbuf_layout_free(expected);
	/* An explicit layout is honoured. */
	set_layout(w, "ssssssssssssssss");
	pfnbuf_window_free(w);

	assert_int_equal(pfnbuf_window_new_bar(rig->card, RIG_MSIX_BAR, &part, &place, &w), 0);
	assert_int_equal(pfnbuf_window_default_layout(w, &layout), 0);
	expected = rig_layout(".sss");
	assert_true(pfnbuf_layout_equal(layout, expected));
	assert_int_equal(pfnbuf_window_set_layout(w, layout), 0);
	assert_int_equal(rig_dma(rig, IOVA + PAGE), rig_tag(RIG_TAG_CARD, 0x104));
	pfnbuf_layout_free(layout);
	pfnbuf_layout_free(expected);
	pfnbuf_window_free(w);
}

static const struct pfnbuf_range three_parts[] = {
	{ 16 * PAGE, 8 * PAGE },
	{ 0, 4 * PAGE },
	{ 4 * PAGE, 4 * PAGE },
};

static void have_sparse_card(struct rig *rig)
{
	rig->card = pfnbuf_device_close(rig->card);
	rig->sparse = three_parts;
	rig->nr_sparse = 3;
	rig_open_devices(rig);
}

static void sparse_bars_are_honoured(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_layout *layout, *expected;
	struct pfnbuf_window *w;

	have_sparse_card(rig);
	w = new_bar(rig, 0);
	assert_int_equal(pfnbuf_window_default_layout(w, &layout), 0);
	expected = rig_layout("ssssssss........ssssssss........");
	assert_true(pfnbuf_layout_equal(layout, expected));
	plan_is(w, NULL, "ssssssss........ssssssss........", "S0+4 S4+4 S16+8 M0+4 M4+4 M16+8");
	assert_int_equal(pfnbuf_window_set_layout(w, layout), 0);
	reaches(rig, w, RIG_TAG_CARD, "ssssssss........ssssssss........");
	plan_is(w, NULL, "ss.sssss........ssssssss........", "U0+4 D0+4 S0+2 S3+1 M0+2 M3+1");
	assert_refused(pfnbuf_window_set_range(w, 15 * PAGE, PAGE, PFNBUF_SHARED), EINVAL);
	assert_non_null(strstr(pfnbuf_last_error(), "cannot be mapped"));
	pfnbuf_layout_free(layout);
	pfnbuf_layout_free(expected);
	pfnbuf_window_free(w);
	rig->nr_sparse = 0;
}

static uint64_t dma_bufs(const struct rig *rig)
{
	struct pfnbuf_sim_counts counts;

	pfnbuf_sim_get_counts(rig->sim, &counts);
	return counts.dma_bufs;
}

/* Make the window and say how many scratch IOASes it took, which is where imports are tried. */
static struct pfnbuf_window *new_sparse(struct rig *rig, unsigned *scratches)
{
	struct rig_call log[64];
	struct pfnbuf_window *w;

	rig_count(rig, log, 64);
	w = new_bar(rig, 0);
	assert_true(rig->calls <= 64);
	*scratches = 0;
	for (uint64_t i = 0; i < rig->calls; i++)
		*scratches += log[i].request == IOMMU_IOAS_ALLOC;
	rig_count(rig, NULL, 0);
	return w;
}

#define SPARSE	     "ssssssss........ssssssss........"
#define PART_OF_THAT "ss.sssss........s..sssss........"

/* Whether one dma-buf serves for all stretches is found out by trying, once. */
static void ranges_share_a_buffer_where_they_can(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w;
	unsigned scratches;

	pfnbuf_sim_set_proposed(rig->sim, PFNBUF_SIM_IMPORT_RANGES);
	have_sparse_card(rig);
	w = new_sparse(rig, &scratches);
	assert_int_equal(scratches, 1);
	assert_int_equal(dma_bufs(rig), 1);
	set_layout(w, SPARSE);
	reaches(rig, w, RIG_TAG_CARD, SPARSE);
	set_layout(w, PART_OF_THAT);
	reaches(rig, w, RIG_TAG_CARD, PART_OF_THAT);
	assert_int_equal(pfnbuf_window_move(w, GPA + PAGE, IOVA + 3 * PAGE), 0);
	reaches(rig, w, RIG_TAG_CARD, PART_OF_THAT);
	assert_int_equal(pfnbuf_device_reset(rig->card), 0);
	assert_int_equal(rig_dma(rig, IOVA + 3 * PAGE), -EFAULT);
	assert_int_equal(pfnbuf_device_restore(rig->card), 0);
	reaches(rig, w, RIG_TAG_CARD, PART_OF_THAT);
	pfnbuf_window_free(w);
	assert_int_equal(dma_bufs(rig), 0);

	w = new_sparse(rig, &scratches);
	assert_int_equal(scratches, 0);
	assert_int_equal(dma_bufs(rig), 1);
	pfnbuf_window_free(w);
	rig->nr_sparse = 0;
}

static void ranges_have_a_buffer_each_where_not(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w;
	unsigned scratches;

	/* A BAR in one piece does not ask. */
	w = new_sparse(rig, &scratches);
	assert_int_equal(scratches, 0);
	pfnbuf_window_free(w);
	have_sparse_card(rig);
	w = new_sparse(rig, &scratches);
	assert_int_equal(scratches, 1);
	assert_int_equal(dma_bufs(rig), 3);
	pfnbuf_window_free(w);
	w = new_sparse(rig, &scratches);
	assert_int_equal(scratches, 0);
	assert_int_equal(dma_bufs(rig), 3);
	pfnbuf_window_free(w);
	rig->nr_sparse = 0;
}

/* With the memory off every import is refused, which says nothing of ranges. */
static void ranges_are_not_judged_in_the_dark(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w;
	unsigned scratches;

	pfnbuf_sim_set_proposed(rig->sim, PFNBUF_SIM_IMPORT_RANGES);
	have_sparse_card(rig);
	assert_int_equal(pfnbuf_device_set_memory_decode(rig->card, false), 0);
	w = new_sparse(rig, &scratches);
	assert_int_equal(scratches, 1);
	assert_int_equal(dma_bufs(rig), 3);
	set_layout(w, SPARSE);
	assert_int_equal(pfnbuf_device_set_memory_decode(rig->card, true), 0);
	assert_int_equal(pfnbuf_device_restore(rig->card), 0);
	reaches(rig, w, RIG_TAG_CARD, SPARSE);
	pfnbuf_window_free(w);
	w = new_sparse(rig, &scratches);
	assert_int_equal(scratches, 1);
	assert_int_equal(dma_bufs(rig), 1);
	pfnbuf_window_free(w);
	rig->nr_sparse = 0;
}

static void several_windows_on_one_bar(void **state)
{
	struct rig *rig = *state;
	const struct pfnbuf_range parts[] = { { 0, 8 * PAGE }, { 8 * PAGE, 24 * PAGE } };
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_window *w[2];

	for (int i = 0; i < 2; i++) {
		place.gpa = GPA + (uint64_t)(1 - i) * 64 * PAGE;
		place.iova = IOVA + (uint64_t)(1 - i) * 64 * PAGE;
		assert_int_equal(
			pfnbuf_window_new_bar(rig->card, RIG_BAR, &parts[i], &place, &w[i]), 0);
	}
	set_layout(w[0], "ssssssss");
	set_layout(w[1], "ssss....ssssssssssssssss");
	reaches(rig, w[0], RIG_TAG_CARD, "ssssssss");
	reaches(rig, w[1], RIG_TAG_CARD + 8, "ssss....ssssssssssssssss");
	assert_int_equal(pfnbuf_device_reset(rig->card), 0);
	assert_int_equal(pfnbuf_window_restore(w[1]), 0);
	reaches(rig, w[1], RIG_TAG_CARD + 8, "ssss....ssssssssssssssss");
	assert_int_equal(rig_dma(rig, IOVA + 64 * PAGE), -EFAULT);
	assert_int_equal(pfnbuf_device_restore(rig->card), 0);
	reaches(rig, w[0], RIG_TAG_CARD, "ssssssss");
	pfnbuf_window_free(w[0]);
	pfnbuf_window_free(w[1]);
}

/* A window of a device that is a bind's own is not changed. */
static void of_a_lent_device(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, 0);
	struct pfnbuf_layout *layout = NULL;
	struct pfnbuf_plan *plan = NULL, *late = NULL;

	assert_int_equal(pfnbuf_window_default_layout(w, &layout), 0);
	assert_int_equal(pfnbuf_window_plan(w, layout, &plan), 0);
	pfnbuf_device_set_lent(rig->card, PFNBUF_LENT);
	assert_refused(pfnbuf_window_plan(w, layout, &late), EBUSY);
	assert_refused(pfnbuf_window_plan_move(w, GPA + PAGE, IOVA, &late), EBUSY);
	assert_refused(pfnbuf_window_apply(w, plan), EBUSY);
	assert_refused(pfnbuf_window_set_range(w, 0, PAGE, PFNBUF_SHARED), EBUSY);
	assert_refused(pfnbuf_window_move(w, GPA + PAGE, IOVA), EBUSY);
	assert_refused(pfnbuf_window_suspend(w), EBUSY);
	assert_null(late);
	pfnbuf_device_set_lent(rig->card, PFNBUF_HOME);
	assert_int_equal(pfnbuf_window_apply(w, plan), 0);
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(layout);
	pfnbuf_window_free(w);
}

static void refusals(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_place place = place_of(rig);
	const struct pfnbuf_range beyond = { 31 * PAGE, 2 * PAGE }, crooked = { 1, PAGE };
	struct pfnbuf_window *w = new_bar(rig, 0);
	struct pfnbuf_layout *layout;

	assert_refused(pfnbuf_window_new_bar(rig->card, RIG_SMALL_BAR, NULL, &place, &w),
		       EOPNOTSUPP);
	assert_non_null(strstr(pfnbuf_last_error(), "less than a page"));
	assert_refused(pfnbuf_window_new_bar(rig->card, RIG_IO_BAR, NULL, &place, &w), EINVAL);
	assert_refused(pfnbuf_window_new_bar(rig->card, 3, NULL, &place, &w), EINVAL);
	assert_refused(pfnbuf_window_new_bar(rig->card, 9, NULL, &place, &w), EINVAL);
	assert_refused(pfnbuf_window_new_bar(rig->card, RIG_BAR, &beyond, &place, &w), EINVAL);
	assert_refused(pfnbuf_window_new_bar(rig->card, RIG_BAR, &crooked, &place, &w), EINVAL);
	pfnbuf_device_set_lent(rig->card, PFNBUF_LENT);
	assert_refused(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, &place, &w), EBUSY);
	pfnbuf_device_set_lent(rig->card, PFNBUF_HOME);
	place.granule = PAGE;
	assert_refused(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, &place, &w), EINVAL);
	place = place_of(rig);
	for (unsigned bit = 1; bit < 32; bit++) {
		place.flags = 1u << bit;
		assert_refused(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, &place, &w), EINVAL);
	}
	place.vm = NULL;
	place.flags = PFNBUF_PLACE_WITHDRAW_SLOTS;
	assert_refused(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, &place, &w), EINVAL);
	assert_non_null(strstr(pfnbuf_last_error(), "has no slots"));
	place = place_of(rig);
	place.iova = 7;
	assert_refused(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, &place, &w), EINVAL);
	place.iova = -PAGE;
	assert_refused(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, &place, &w), ERANGE);
	place = place_of(rig);
	place.size = 8;
	assert_refused(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, &place, &w), EINVAL);
	place = place_of(rig);
	place.vm = NULL;
	place.ioas = NULL;
	assert_refused(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, &place, &w), EINVAL);

	assert_refused(pfnbuf_window_set_range(w, 0, PAGE, PFNBUF_PRIVATE), EOPNOTSUPP);
	assert_refused(pfnbuf_window_set_range(w, 1, PAGE, PFNBUF_SHARED), EINVAL);
	assert_refused(pfnbuf_window_set_range(w, 32 * PAGE, PAGE, PFNBUF_SHARED), ERANGE);
	assert_non_null(strstr(pfnbuf_last_error(), "which has 0x20000 bytes"));
	layout = rig_layout("ss");
	assert_refused(pfnbuf_window_set_layout(w, layout), EINVAL);
	pfnbuf_layout_free(layout);
	pfnbuf_window_free(w);
}

/* What is not in a guest, or not for devices, is left alone. */
static void one_side_only(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_sim_counts counts;
	struct pfnbuf_window *w;

	place.vm = NULL;
	assert_int_equal(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, &place, &w), 0);
	set_layout(w, FIVE_RUNS);
	pfnbuf_sim_get_counts(rig->sim, &counts);
	assert_int_equal(counts.slots, 0);
	assert_int_equal(counts.areas, 5);
	assert_int_equal(counts.bar_mappings, 0);
	assert_refused(pfnbuf_window_move(w, GPA, IOVA), EINVAL);
	assert_int_equal(pfnbuf_window_move(w, 0, IOVA + PAGE), 0);
	pfnbuf_window_free(w);

	place = place_of(rig);
	place.ioas = NULL;
	assert_int_equal(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, &place, &w), 0);
	set_layout(w, FIVE_RUNS);
	pfnbuf_sim_get_counts(rig->sim, &counts);
	assert_int_equal(counts.slots, 5);
	assert_int_equal(counts.areas, 0);
	assert_int_equal(counts.dma_bufs, 0);
	assert_int_equal(pfnbuf_device_reset(rig->card), 0);
	assert_int_equal(pfnbuf_device_restore(rig->card), 0);
	pfnbuf_window_free(w);
}

static void too_many_slots(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_layout *target = rig_layout("s.s.s.s.s.......................");
	struct pfnbuf_plan *plan;
	struct pfnbuf_window *w;

	assert_int_equal(pfnbuf_vm_from_fd(rig->ctx, pfnbuf_vm_get_fd(rig->vm), PFNBUF_FD_BORROWED,
					   100, 4, &place.vm),
			 0);
	assert_int_equal(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, &place, &w), 0);
	set_layout(w, "s.s.s...........................");
	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	assert_refused(pfnbuf_plan_check(plan), ENOSPC);
	rig_count(rig, NULL, 0);
	assert_refused(pfnbuf_window_apply(w, plan), ENOSPC);
	assert_int_equal(rig->changes, 0);
	pfnbuf_plan_free(plan);
	/* Deletions come first: their ids are there to be used. */
	set_layout(w, ".s.s.s..s.......................");
	pfnbuf_layout_free(target);
	pfnbuf_window_free(w);
	pfnbuf_vm_free(place.vm);
}

static void limits_are_known_before(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_ram(rig, 16, 0);
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = { .memfd = rig_memfd(rig, 16), .length = 16 * PAGE };

	pfnbuf_sim_set_memlock(rig->sim, 8 * PAGE);
	rig_count(rig, NULL, 0);
	assert_refused(pfnbuf_window_set_range(w, 0, 9 * PAGE, PFNBUF_SHARED), ENOMEM);
	assert_non_null(strstr(pfnbuf_last_error(), "RLIMIT_MEMLOCK is 0x8000"));
	assert_int_equal(rig->changes, 0);
	assert_int_equal(pfnbuf_window_set_range(w, 0, 8 * PAGE, PFNBUF_SHARED), 0);
	/*
	 * Above a limit that was lowered since: what has to be mapped anew could not be had back.
	 */
	pfnbuf_sim_set_memlock(rig->sim, 4 * PAGE);
	assert_refused(pfnbuf_window_set_range(w, 6 * PAGE, 2 * PAGE, PFNBUF_HOLE), ENOMEM);
	assert_int_equal(pfnbuf_window_set_range(w, 0, 8 * PAGE, PFNBUF_HOLE), 0);
	pfnbuf_window_free(w);
	pfnbuf_sim_set_memlock(rig->sim, UINT64_MAX);

	/* Beyond the simulated IOMMU's 48 bits. */
	place.iova = UINT64_C(1) << 50;
	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), 0);
	rig_count(rig, NULL, 0);
	assert_refused(pfnbuf_window_set_range(w, 0, PAGE, PFNBUF_SHARED), ERANGE);
	assert_int_equal(rig->changes, 0);
	assert_int_equal(pfnbuf_window_move(w, GPA, IOVA), 0);
	assert_int_equal(pfnbuf_window_set_range(w, 0, PAGE, PFNBUF_SHARED), 0);
	assert_refused(pfnbuf_window_move(w, GPA, UINT64_C(1) << 50), ERANGE);
	pfnbuf_window_free(w);
	pfnbuf_buf_unref(ram.memfd);
}

/* Somebody maps in a window's hole: it stays, and areas beside it go one by one. */
static void strangers_in_a_hole(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_ram(rig, 16, 0);
	struct pfnbuf_layout *nothing = rig_layout("................");
	struct pfnbuf_plan *plan;
	uint64_t iova = IOVA + 6 * PAGE;
	void *memory = NULL;

	assert_int_equal(posix_memalign(&memory, PAGE, PAGE), 0);
	set_layout(w, "ssss........ssss");
	assert_int_equal(pfnbuf_window_plan(w, nothing, &plan), 0);
	assert_string_equal(steps_of(plan), "U0+16:2 D0+4 D12+4");
	assert_int_equal(pfnbuf_ioas_map_va(rig->ioas, memory, PAGE,
					    PFNBUF_MAP_READ | PFNBUF_MAP_FIXED, &iova),
			 0);
	assert_refused(pfnbuf_plan_check(plan), EEXIST);
	assert_refused(pfnbuf_window_apply(w, plan), EEXIST);
	pfnbuf_plan_free(plan);
	plan_is(w, NULL, "................", "U0+4 U12+4 D0+4 D12+4");
	pfnbuf_window_free(w);
	assert_int_equal(pfnbuf_ioas_unmap(rig->ioas, iova, PAGE, NULL), 0);
	pfnbuf_layout_free(nothing);
	free(memory);
}

/* ---------------------------------------------------------------- trouble ------------------- */

static void a_failed_plan_leaves_nothing(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, 0);
	struct pfnbuf_layout *target = rig_layout(ALL_SHARED);
	struct pfnbuf_plan *plan;
	struct pfnbuf_step step;
	char *before, *after;

	set_layout(w, "ss..ss..........................");
	before = rig_dump(rig);
	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	assert_string_equal(steps_of(plan), "U0+6:2 D0+2 D4+2 S0+32 M0+32");
	pfnbuf_sim_fail_ioctl(rig->sim, IOMMU_IOAS_MAP_FILE, 1, ENOMEM);
	assert_refused(pfnbuf_window_apply(w, plan), ENOMEM);
	assert_non_null(strstr(pfnbuf_last_error(), "IOMMU_IOAS_MAP_FILE"));
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pfnbuf_plan_get_step(plan, i, &step), 0);
		assert_int_equal(step.state, PFNBUF_STEP_UNDONE);
		assert_true(step.ns > 0);
	}
	assert_int_equal(pfnbuf_plan_get_step(plan, 4, &step), 0);
	assert_int_equal(step.state, PFNBUF_STEP_FAILED);
	assert_int_equal(step.result, -ENOMEM);
	assert_refused(pfnbuf_plan_get_step(plan, 5, &step), ERANGE);
	after = rig_dump(rig);
	assert_string_equal(before, after);
	reaches(rig, w, RIG_TAG_CARD, "ss..ss..........................");
	free(before);
	free(after);
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(target);
	pfnbuf_window_free(w);
}

static void quarantine(void **state)
{
	struct pfnbuf_plan *plan;
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, 0);
	struct pfnbuf_window_info info;
	struct pfnbuf_layout *layout;
	struct pfnbuf_sim_counts counts;
	struct pfnbuf_event ev;

	set_layout(w, "ss..ss..........................");
	assert_int_equal(pfnbuf_window_get_layout(w, &layout), 0);
	assert_int_equal(pfnbuf_window_plan(w, layout, &plan), 0);
	/* UNMAP, two deletions, a slot: then the map fails; and of the way back the deletion. */
	rig_count(rig, NULL, 0);
	rig_fail(rig, 0, 5, ENOMEM);
	rig_fail(rig, 1, 6, EIO);
	assert_refused(pfnbuf_window_set_range(w, 0, 32 * PAGE, PFNBUF_SHARED), ENOMEM);
	assert_int_equal(rig->failed, 2);
	rig_count(rig, NULL, 0);
	pop_until(rig, PFNBUF_EVENT_QUARANTINED, &ev);
	assert_ptr_equal(ev.window, w);
	pfnbuf_window_get_info(w, &info);
	assert_int_equal(info.state, PFNBUF_WINDOW_QUARANTINED);
	assert_non_null(strstr(info.reason, "IOMMU_IOAS_MAP_FILE"));
	assert_non_null(strstr(info.reason, "slot-set"));
	assert_non_null(strstr(info.reason, "EIO"));
	assert_refused(pfnbuf_window_set_range(w, 0, PAGE, PFNBUF_SHARED), ENOTRECOVERABLE);
	assert_refused(pfnbuf_plan_check(plan), ENOTRECOVERABLE);
	pfnbuf_plan_free(plan);
	assert_refused(pfnbuf_window_plan(w, layout, &plan), ENOTRECOVERABLE);
	pfnbuf_layout_free(layout);
	assert_refused(pfnbuf_window_move(w, GPA, IOVA), ENOTRECOVERABLE);
	assert_refused(pfnbuf_window_restore(w), ENOTRECOVERABLE);
	assert_refused(pfnbuf_window_suspend(w), ENOTRECOVERABLE);
	assert_refused(pfnbuf_window_verify(w, NULL), ENOTRECOVERABLE);
	assert_int_equal(pfnbuf_window_get_layout(w, &layout), 0);
	pfnbuf_layout_free(layout);
	pfnbuf_sim_get_counts(rig->sim, &counts);
	assert_int_equal(counts.slots, 1);
	assert_int_equal(counts.areas, 0);
	/* Freeing takes the slot away that could not be deleted. */
	pfnbuf_window_free(w);
	pfnbuf_sim_get_counts(rig->sim, &counts);
	assert_int_equal(counts.slots, 0);
	assert_int_equal(counts.dma_bufs, 0);
	assert_int_equal(counts.bar_mappings, 0);
}

static void verify_finds_what_is_gone(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, 0);
	struct pfnbuf_range missing;
	struct pfnbuf_slot slot;
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = pfnbuf_ioas_get_id(rig->ioas),
		.iova = IOVA + 8 * PAGE,
		.length = 8 * PAGE,
	};
	struct kvm_userspace_memory_region region = { 0 };
	const struct pfnbuf_kernel *k = pfnbuf_ctx_get_kernel(rig->ctx);
	uint32_t id;

	set_layout(w, FIVE_RUNS);
	assert_int_equal(pfnbuf_window_verify(w, &missing), 1);
	assert_int_equal(pfnbuf_vm_next_slot(rig->vm, 0, &id, &slot), 1);
	region.slot = id;
	region.guest_phys_addr = slot.gpa;
	region.userspace_addr = (uintptr_t)slot.addr;
	assert_true(k->ioctl(k->data, pfnbuf_vm_get_fd(rig->vm), KVM_SET_USER_MEMORY_REGION,
			     &region) >= 0);
	assert_int_equal(pfnbuf_window_verify(w, &missing), 0);
	assert_int_equal(missing.offset, slot.gpa - GPA);
	assert_int_equal(missing.length, slot.length);
	assert_true(k->ioctl(k->data, pfnbuf_ctx_get_iommufd(rig->ctx), IOMMU_IOAS_UNMAP, &unmap) >=
		    0);
	assert_int_equal(pfnbuf_window_verify(w, &missing), 0);
	assert_int_equal(missing.offset, 8 * PAGE);
	assert_int_equal(missing.length, 8 * PAGE);
	pfnbuf_window_free(w);
}

static void assert_logged(const char *part)
{
	assert_int_equal(logged.n, 1);
	assert_int_equal(logged.level, PFNBUF_LOG_ERROR);
	assert_non_null(strstr(logged.text, part));
	logged.n = 0;
}

/* What no return value can carry: freeing a window, and a device that is revoked. */
static void failures_go_to_the_log(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, PFNBUF_PLACE_WITHDRAW_SLOTS);

	set_layout(w, ALL_SHARED);
	pfnbuf_sim_fail_ioctl(rig->sim, KVM_SET_USER_MEMORY_REGION2, 1, EIO);
	assert_int_equal(pfnbuf_device_set_memory_decode(rig->card, false), 0);
	assert_logged("KVM_SET_USER_MEMORY_REGION2");
	assert_int_equal(pfnbuf_device_set_memory_decode(rig->card, true), 0);
	assert_int_equal(pfnbuf_device_restore(rig->card), 0);
	reaches(rig, w, RIG_TAG_CARD, ALL_SHARED);
	assert_int_equal(logged.n, 0);
	pfnbuf_sim_fail_ioctl(rig->sim, IOMMU_IOAS_UNMAP, 1, EIO);
	pfnbuf_window_free(w);
	assert_logged("IOMMU_IOAS_UNMAP");
}

static void frame_numbers_have_a_lifetime(void **state)
{
	struct rig *rig = *state;
	const struct pfnbuf_range slices[] = { { 4 * PAGE, PAGE }, { 8 * PAGE, 8 * PAGE } };
	struct pfnbuf_buf *buf = NULL, *memfd = rig_memfd(rig, 1);
	struct pfnbuf_pfn first, pfn;

	assert_int_equal(pfnbuf_device_export(rig->card, RIG_BAR, slices, 2, &buf), 0);
	assert_int_equal(pfnbuf_buf_get_pfn(buf, 0, 0, &first), 0);
	assert_int_equal(first.order, 0);
	assert_int_equal(first.generation, 1);
	/* The BAR has 32 pages and is aligned to that. */
	assert_int_equal(first.pfn % 32, 4);
	assert_int_equal(pfnbuf_buf_get_pfn(buf, PAGE + 5 * PAGE + 7, first.generation, &pfn), 0);
	assert_int_equal(pfn.pfn, first.pfn - 4 + 13);
	assert_int_equal(pfn.order, 3);
	assert_int_equal(pfnbuf_buf_get_pfn(buf, 9 * PAGE, 0, &pfn), -ERANGE);
	assert_int_equal(pfnbuf_buf_get_pfn(memfd, 0, 0, &pfn), -EOPNOTSUPP);

	assert_int_equal(pfnbuf_device_reset(rig->card), 0);
	assert_int_equal(pfnbuf_buf_get_pfn(buf, 0, first.generation, &pfn), -ESTALE);
	assert_int_equal(pfnbuf_buf_get_pfn(buf, 0, 0, &pfn), 0);
	assert_int_equal(pfn.pfn, first.pfn);
	assert_int_equal(pfn.generation, 2);
	assert_int_equal(pfnbuf_device_set_memory_decode(rig->card, false), 0);
	assert_int_equal(pfnbuf_buf_get_pfn(buf, 0, 0, &pfn), -ENODEV);
	rig->card = pfnbuf_device_close(rig->card);
	assert_int_equal(pfnbuf_buf_get_pfn(buf, 0, 0, &pfn), -ENODEV);
	pfnbuf_buf_unref(buf);
	pfnbuf_buf_unref(memfd);
}

/* Each in a state, or with arguments, that nothing else here tries. */
static void plans_are_refused(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_window *w = new_bar(rig, 0);
	struct pfnbuf_layout *target = rig_layout(FIVE_RUNS), *short_one = rig_layout("ss");
	struct pfnbuf_layout *private_one = rig_layout("pp..............................");
	struct pfnbuf_plan *plan, *other;

	assert_refused(pfnbuf_window_plan(w, short_one, &other), EINVAL);
	assert_refused(pfnbuf_window_plan(w, private_one, &other), EOPNOTSUPP);
	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	assert_int_equal(pfnbuf_window_apply(w, plan), 0);
	assert_refused(pfnbuf_plan_check(plan), EALREADY);
	pfnbuf_plan_free(plan);

	assert_int_equal(pfnbuf_window_plan_move(w, GPA, UINT64_C(1) << 50, &plan), 0);
	assert_refused(pfnbuf_plan_check(plan), ERANGE);
	rig->card = pfnbuf_device_close(rig->card);
	assert_refused(pfnbuf_plan_check(plan), ENODEV);
	pfnbuf_plan_free(plan);
	assert_refused(pfnbuf_window_plan(w, target, &other), ENODEV);
	pfnbuf_window_free(w);
	pfnbuf_layout_free(target);
	pfnbuf_layout_free(short_one);
	pfnbuf_layout_free(private_one);
}

static void the_kernel_refuses(void **state)
{
	struct rig *rig = *state;
	const struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_window *w = new_ram(rig, 16, 0), *bar;
	uint64_t iova = IOVA + 64 * PAGE;
	void *memory = NULL;

	assert_int_equal(posix_memalign(&memory, PAGE, PAGE), 0);
	assert_int_equal(pfnbuf_ioas_map_va(rig->ioas, memory, PAGE,
					    PFNBUF_MAP_READ | PFNBUF_MAP_FIXED, &iova),
			 0);
	set_layout(w, "ssssssssssssssss");
	assert_refused(pfnbuf_window_move(w, GPA, IOVA + 60 * PAGE), EEXIST);
	reaches(rig, w, RIG_TAG_RAM, "ssssssssssssssss");
	assert_int_equal(pfnbuf_ioas_unmap(rig->ioas, iova, PAGE, NULL), 0);
	free(memory);
	pfnbuf_window_free(w);
	pfnbuf_sim_fail_ioctl(rig->sim, VFIO_DEVICE_FEATURE, 1, ENODEV);
	assert_refused(pfnbuf_window_new_bar(rig->card, RIG_BAR, NULL, &place, &bar), ENODEV);
}

static void sizes_are_refused(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_place place = place_of(rig);
	const uint64_t tib = UINT64_C(1) << 40;
	struct pfnbuf_ram ram = { .length = 16 * tib, .addr = (void *)tib };
	struct pfnbuf_layout *target;
	struct pfnbuf_plan *plan;
	struct pfnbuf_window *w = new_ram(rig, 16, 0);

	/* Devices that need 64 KiB. */
	rig->alignment = 16 * PAGE;
	target = rig_layout("ssssssssssssssss");
	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	assert_int_equal(pfnbuf_plan_check(plan), 0);
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(target);
	target = rig_layout("ssssssss........");
	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	assert_refused(pfnbuf_plan_check(plan), EINVAL);
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(target);
	pfnbuf_window_free(w);

	place.ioas = NULL;
	assert_int_equal(pfnbuf_buf_new_memfd(rig->ctx, ram.length, 0, &ram.memfd), 0);
	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), 0);
	assert_int_equal(pfnbuf_layout_new(ram.length, PAGE, PFNBUF_SHARED, &target), 0);
	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	assert_refused(pfnbuf_plan_check(plan), E2BIG);
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(target);
	pfnbuf_window_free(w);
	pfnbuf_buf_unref(ram.memfd);
}

/* An IOAS, and a VM, of another context. */
static void refuses_strangers(struct rig *rig, const struct pfnbuf_ram *ram)
{
	const struct pfnbuf_ctx_opts opts = {
		.size = sizeof(opts),
		.kernel = pfnbuf_ctx_get_kernel(rig->ctx),
	};
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_window *w;
	struct pfnbuf_ctx *ctx;

	assert_int_equal(pfnbuf_ctx_new(&ctx, &opts), 0);
	place.vm = NULL;
	assert_int_equal(pfnbuf_ioas_new(ctx, &place.ioas), 0);
	assert_refused(pfnbuf_window_new_ram(rig->ctx, ram, &place, &w), EINVAL);
	pfnbuf_ioas_free(place.ioas);
	place.ioas = NULL;
	assert_int_equal(pfnbuf_vm_new(ctx, PFNBUF_VM_DEFAULT, &place.vm), 0);
	assert_refused(pfnbuf_window_new_ram(rig->ctx, ram, &place, &w), EINVAL);
	pfnbuf_vm_free(place.vm);
	pfnbuf_ctx_free(ctx);
}

static void ram_is_refused(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = { .memfd = rig_memfd(rig, 16), .length = 17 * PAGE };
	struct pfnbuf_ram alone = { .length = 16 * PAGE };
	struct pfnbuf_layout *target = rig_layout("ssssssssssssssss");
	struct pfnbuf_plan *plan;
	struct pfnbuf_window *w;

	assert_refused(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), EINVAL);
	ram.length = 16 * PAGE;
	assert_int_equal(pfnbuf_buf_new_guest_memfd(rig->vm, 16 * PAGE, 0, &alone.guest_memfd), 0);
	assert_refused(pfnbuf_window_new_ram(rig->ctx, &alone, &place, &w), ENODEV);
	pfnbuf_buf_unref(alone.guest_memfd);
	place.iova = -PAGE;
	assert_refused(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), ERANGE);
	place = place_of(rig);
	refuses_strangers(rig, &ram);
	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), 0);
	assert_refused(pfnbuf_window_convert(w, 1, PAGE, PFNBUF_SHARED), EINVAL);
	assert_refused(pfnbuf_window_convert(w, 0, 17 * PAGE, PFNBUF_SHARED), ERANGE);
	pfnbuf_sim_set_memlock(rig->sim, 8 * PAGE);
	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	assert_refused(pfnbuf_plan_check(plan), ENOMEM);
	pfnbuf_plan_free(plan);
	pfnbuf_window_free(w);
	pfnbuf_buf_unref(ram.memfd);
	pfnbuf_layout_free(target);
}

static int setup(void **state)
{
	return setup_rig(state, PFNBUF_VM_DEFAULT);
}

/* Two windows that show the same memory at the same I/O addresses, each its own pages of it. */
static void a_window_ends_without_its_twin(void **state)
{
	struct rig *rig = *state;
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = { .memfd = rig_memfd(rig, 8), .length = 8 * PAGE };
	struct pfnbuf_window *a, *b;

	place.vm = NULL;
	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &a), 0);
	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &b), 0);
	pfnbuf_buf_unref(ram.memfd);
	set_layout(a, "ssss....");
	set_layout(b, "......ss");
	/* Refused, and nothing of it stays. */
	assert_int_equal(pfnbuf_window_set_range(b, 0, 2 * PAGE, PFNBUF_SHARED), -EEXIST);
	pfnbuf_window_free(b);
	for (uint64_t page = 0; page < 8; page++)
		assert_int_equal(rig_dma(rig, IOVA + page * PAGE),
				 page < 4 ? (int64_t)rig_tag(RIG_TAG_RAM, page) : -EFAULT);
	set_layout(a, "s.......");
	assert_int_equal(pfnbuf_window_verify(a, NULL), 1);
	pfnbuf_window_free(a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown_rig)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(plans_of_runs),
		TEST(plans_join_unmaps),
		TEST(plans_with_a_granule),
		TEST(plans_to_move),
		TEST(plans_are_printed),
		TEST(stale_plans_are_refused),
		TEST(a_window_ends_without_its_twin),
		TEST(bar_is_placed),
		TEST(bar_moves),
		TEST(bar_survives_a_reset),
		TEST(events_outlive_their_window),
		TEST(a_vf_pulses),
		TEST(a_failed_reset_revokes),
		TEST(a_hot_reset_reaches_the_set),
		TEST(low_power_twice),
		TEST(a_restore_fails_half_way),
		TEST(changes_while_suspended),
		TEST(slots_are_withdrawn),
		TEST(device_closes_first),
		TEST(ram_is_placed),
		TEST(msix_is_a_hole_by_default),
		TEST(sparse_bars_are_honoured),
		TEST(ranges_share_a_buffer_where_they_can),
		TEST(ranges_have_a_buffer_each_where_not),
		TEST(ranges_are_not_judged_in_the_dark),
		TEST(several_windows_on_one_bar),
		TEST(of_a_lent_device),
		TEST(refusals),
		TEST(one_side_only),
		TEST(too_many_slots),
		TEST(limits_are_known_before),
		TEST(strangers_in_a_hole),
		TEST(a_failed_plan_leaves_nothing),
		TEST(quarantine),
		TEST(verify_finds_what_is_gone),
		TEST(failures_go_to_the_log),
		TEST(frame_numbers_have_a_lifetime),
		TEST(plans_are_refused),
		TEST(ram_is_refused),
		TEST(the_kernel_refuses),
		TEST(sizes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
