/* SPDX-License-Identifier: MIT */
/*
 * Memory that is shared or private in one guest_memfd, page by page, on a simulated kernel that can
 * do that; and who holds a page that is to become private.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "placed.h"
#include "tests/fds.h"
#include "tests/unit/tried.h"

#define PAGES 16

struct scene {
	struct rig rig;
	struct pfnbuf_buf *memory;
	struct pfnbuf_window *w;
};

static struct pfnbuf_window *new_window(struct scene *s, uint64_t page, uint64_t n, unsigned flags)
{
	struct pfnbuf_place place = place_of(&s->rig);
	const struct pfnbuf_ram ram = {
		.length = n * PAGE,
		.guest_memfd = s->memory,
		.guest_memfd_offset = (SKIPPED_GUEST + page) * PAGE,
	};
	struct pfnbuf_window *w;

	place.gpa += page * PAGE;
	place.iova += page * PAGE;
	place.flags = flags;
	if (pfnbuf_window_new_ram(s->rig.ctx, &ram, &place, &w) != 0)
		fail_msg("%s", pfnbuf_last_error());
	return w;
}

static int setup_engine(void **state, enum pfnbuf_engine_kind kind)
{
	struct scene *s = calloc(1, sizeof(*s));

	s->rig.vm_type = PFNBUF_VM_SW_PROTECTED;
	s->rig.profile = "gmem-inplace8";
	s->rig.engine_kind = kind;
	rig_open(&s->rig);
	assert_int_equal(
		pfnbuf_buf_new_guest_memfd(s->rig.vm, (SKIPPED_GUEST + PAGES) * PAGE,
					   PFNBUF_GUEST_MEMFD_MMAP | PFNBUF_GUEST_MEMFD_INIT_SHARED,
					   &s->memory),
		0);
	*state = s;
	return 0;
}

static int setup(void **state)
{
	return setup_engine(state, PFNBUF_ENGINE_EPOLL);
}

static int setup_uring(void **state)
{
	return setup_engine(state, PFNBUF_ENGINE_URING);
}

static int teardown(void **state)
{
	struct scene *s = *state;

	rig_check_alias(&s->rig);
	pfnbuf_window_free(s->w);
	pfnbuf_buf_unref(s->memory);
	rig_check_clean(&s->rig);
	rig_close(&s->rig);
	free(s);
	return 0;
}

/* A character per page: 's' shared, 'p' private, '.' a hole. */
static void memory_is(struct scene *s, struct pfnbuf_window *w, const char *picture)
{
	struct pfnbuf_window_info info;

	pfnbuf_window_get_info(w, &info);
	for (uint64_t page = 0; picture[page]; page++) {
		const uint64_t iova = info.iova + page * PAGE, gpa = info.gpa + page * PAGE;
		const bool shared = picture[page] == 's', private = picture[page] == 'p';

		assert_int_equal(rig_dma(&s->rig, iova) >= 0, shared);
		assert_int_equal(rig_guest(&s->rig, gpa) >= 0, shared);
		assert_int_equal(rig_guest_private(&s->rig, gpa) >= 0, private);
	}
	assert_int_equal(info.state, PFNBUF_WINDOW_LIVE);
	assert_int_equal(pfnbuf_window_verify(w, NULL), 1);
	rig_check_alias(&s->rig);
}

static void converts_in_place(void **state)
{
	struct scene *s = *state;
	struct pfnbuf_window *w = s->w = new_window(s, 0, PAGES, 0);

	plan_is(w, NULL, "sspp....ssssssss", "A2+2p S0+4 S8+8 M0+2 M8+8");
	set_layout(w, "ssssssssssssssss");
	memory_is(s, w, "ssssssssssssssss");
	plan_is(w, NULL, "ssppssssssssppss", "U0+16 A2+2p A12+2p M0+2 M4+8 M14+2");
	set_layout(w, "ssppssssssssppss");
	memory_is(s, w, "ssppssssssssppss");
	assert_int_equal(rig_guest_write_private(&s->rig, GPA + 2 * PAGE, 77), 0);
	/* The attributes are the file's: they do not move, and a suspended window keeps them. */
	assert_int_equal(pfnbuf_window_move(w, GPA + 5 * PAGE, IOVA + PAGE), 0);
	memory_is(s, w, "ssppssssssssppss");
	assert_int_equal(pfnbuf_window_suspend(w), 0);
	assert_int_equal(rig_guest_private(&s->rig, GPA + 7 * PAGE), -EFAULT);
	assert_int_equal(pfnbuf_window_move(w, GPA, IOVA), 0);
	assert_int_equal(pfnbuf_window_convert(w, 8 * PAGE, PAGE, PFNBUF_PRIVATE), 0);
	assert_int_equal(pfnbuf_window_resume(w), 0);
	memory_is(s, w, "ssppsssspsssppss");
	assert_int_equal(rig_guest_private(&s->rig, GPA + 2 * PAGE), 77);
	assert_int_equal(pfnbuf_window_convert(w, 0, PAGES * PAGE, PFNBUF_PRIVATE), 0);
	memory_is(s, w, "pppppppppppppppp");
	set_layout(w, "pppp....pppppppp");
	memory_is(s, w, "pppp....pppppppp");
	set_layout(w, "ppppsssspppppppp");
	memory_is(s, w, "ppppsssspppppppp");
	assert_int_equal(pfnbuf_window_convert(w, 0, PAGES * PAGE, PFNBUF_SHARED), 0);
	memory_is(s, w, "ssssssssssssssss");
}

/* Every call that fails, and the way back. */
static void all_or_nothing(void **state)
{
	struct scene *s = *state;
	struct pfnbuf_window *w = s->w = new_window(s, 0, PAGES, 0);
	unsigned failed = 1, undone = 0;

	set_layout(w, "ssppssss..ssssss");
	for (uint64_t at = 1; failed; at++) {
		int r;

		rig_count(&s->rig, NULL, 0);
		rig_fail(&s->rig, 0, at, ENOMEM);
		r = pfnbuf_window_convert(w, PAGE, 5 * PAGE, PFNBUF_PRIVATE);
		failed = s->rig.failed;
		undone += r < 0;
		rig_count(&s->rig, NULL, 0);
		memory_is(s, w, r < 0 ? "ssppssss..ssssss" : "spppppss..ssssss");
		set_layout(w, "ssppssss..ssssss");
	}
	/* Two attributes, two MAPs; an UNMAP of two areas is tried one by one. */
	assert_int_equal(undone, 4);
}

/* ---------------------------------------------------------------- pins ---------------------- */

/* A plan that makes pages private is refused with this errno. */
static void refuse(struct pfnbuf_window *w, uint64_t page, uint64_t n, int error)
{
	struct pfnbuf_layout *layout;
	struct pfnbuf_plan *plan;

	assert_int_equal(pfnbuf_window_get_layout(w, &layout), 0);
	assert_int_equal(pfnbuf_layout_set(layout, page * PAGE, n * PAGE, PFNBUF_PRIVATE), 0);
	assert_int_equal(pfnbuf_window_plan(w, layout, &plan), 0);
	assert_int_equal(pfnbuf_window_apply(w, plan), -error);
	note_tried("pfnbuf_window_apply", error);
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(layout);
}

/* Map part of the memory for devices as a VMM does that knows no windows. */
static uint64_t pin_pages(struct scene *s, uint64_t page, uint64_t n, void **addrp)
{
	uint64_t iova;
	char *addr;

	assert_int_equal(pfnbuf_buf_map(s->memory, PAGE, (SKIPPED_GUEST + PAGES - 1) * PAGE, addrp),
			 0);
	addr = (char *)*addrp + (SKIPPED_GUEST - 1 + page) * PAGE;
	assert_int_equal(pfnbuf_ioas_map_va(s->rig.ioas, addr, n * PAGE,
					    PFNBUF_MAP_READ | PFNBUF_MAP_WRITE, &iova),
			 0);
	return iova;
}

static void unmap_memory(struct scene *s, void *addr)
{
	assert_int_equal(pfnbuf_buf_unmap(s->memory, addr, (SKIPPED_GUEST + PAGES - 1) * PAGE), 0);
}

static void areas_of_nobody_go(void **state)
{
	struct scene *s = *state;
	struct pfnbuf_window *w = s->w = new_window(s, 0, PAGES, 0);
	uint64_t low, high;
	void *one, *two;

	set_layout(w, "ssssssssssssssss");
	low = pin_pages(s, 2, 2, &one);
	high = pin_pages(s, 5, 4, &two);
	/* They do not hold what is not converted. */
	assert_int_equal(pfnbuf_window_convert(w, 0, 2 * PAGE, PFNBUF_PRIVATE), 0);
	assert_true(rig_dma(&s->rig, low) >= 0);
	/* A plan that fails puts them back. */
	rig_count(&s->rig, NULL, 0);
	rig_fail(&s->rig, 0, 7, ENOMEM);
	assert_int_equal(pfnbuf_window_convert(w, 2 * PAGE, 4 * PAGE, PFNBUF_PRIVATE), -ENOMEM);
	/* UNMAP, attributes, UNMAP, attributes, UNMAP, attributes; then MAP fails, and back. */
	rig_count(&s->rig, NULL, 0);
	assert_true(rig_dma(&s->rig, low) >= 0 && rig_dma(&s->rig, high + 3 * PAGE) >= 0);
	memory_is(s, w, "ppssssssssssssss");
	assert_int_equal(pfnbuf_window_convert(w, 2 * PAGE, 4 * PAGE, PFNBUF_PRIVATE), 0);
	memory_is(s, w, "ppppppssssssssss");
	assert_int_equal(rig_dma(&s->rig, low), -EFAULT);
	assert_int_equal(rig_dma(&s->rig, high + 3 * PAGE), -EFAULT);
	unmap_memory(s, one);
	unmap_memory(s, two);
}

static void areas_of_another_window_stay(void **state)
{
	struct scene *s = *state;
	struct pfnbuf_window *w = s->w = new_window(s, 0, PAGES, 0);
	struct pfnbuf_place place = place_of(&s->rig);
	struct pfnbuf_ram ram = { .length = 4 * PAGE };
	struct pfnbuf_window *other;
	struct pfnbuf_layout *layout = rig_layout("ssss");
	void *addr;

	/* The same pages as anonymous memory of a window that is for devices only. */
	assert_int_equal(pfnbuf_buf_map(s->memory, SKIPPED_GUEST * PAGE, 4 * PAGE, &addr), 0);
	ram.addr = addr;
	place.gpa += 64 * PAGE;
	place.iova += 64 * PAGE;
	assert_int_equal(pfnbuf_window_new_ram(s->rig.ctx, &ram, &place, &other), 0);
	assert_int_equal(pfnbuf_window_set_layout(other, layout), 0);
	set_layout(w, "ssssssss........");
	refuse(w, 3, 4, EBUSY);
	assert_int_equal(pfnbuf_window_convert(w, 3 * PAGE, 4 * PAGE, PFNBUF_PRIVATE), -EBUSY);
	assert_non_null(strstr(pfnbuf_last_error(), "convert that one first"));
	memory_is(s, w, "ssssssss........");
	assert_true(rig_dma(&s->rig, IOVA + 67 * PAGE) >= 0);
	assert_int_equal(pfnbuf_window_convert(w, 4 * PAGE, 4 * PAGE, PFNBUF_PRIVATE), 0);
	pfnbuf_window_free(other);
	assert_int_equal(pfnbuf_window_convert(w, 3 * PAGE, 4 * PAGE, PFNBUF_PRIVATE), 0);
	memory_is(s, w, "sssppppp........");
	assert_int_equal(pfnbuf_buf_unmap(s->memory, addr, 4 * PAGE), 0);
	pfnbuf_layout_free(layout);
}

static void hold(struct scene *s, uint64_t page, bool on)
{
	assert_int_equal(pfnbuf_sim_gmem_pin(s->rig.sim, pfnbuf_buf_get_fd(s->memory),
					     (SKIPPED_GUEST + page) * PAGE, on),
			 0);
}

static void somebody_unknown_is_told_of(void **state)
{
	struct scene *s = *state;
	struct pfnbuf_window *w = s->w = new_window(s, 0, PAGES, 0);

	set_layout(w, "ssssssssssssssss");
	hold(s, 3, true);
	refuse(w, 0, 8, EAGAIN);
	assert_int_equal(pfnbuf_window_convert(w, 0, 8 * PAGE, PFNBUF_PRIVATE), -EAGAIN);
	assert_non_null(strstr(pfnbuf_last_error(), "0x5000+0x1000"));
	assert_non_null(strstr(pfnbuf_last_error(), "vhost"));
	memory_is(s, w, "ssssssssssssssss");
	hold(s, 3, false);
	assert_int_equal(pfnbuf_window_convert(w, 0, 8 * PAGE, PFNBUF_PRIVATE), 0);
	memory_is(s, w, "ppppppppssssssss");
}

/* ---------------------------------------------------------------- waiting ------------------- */

/* Wait for the next event; 0: none came within the time. */
static int next_event(struct scene *s, int timeout_ms, struct pfnbuf_event *ev)
{
	struct pollfd pfd = { .fd = pfnbuf_ctx_get_fd(s->rig.ctx), .events = POLLIN };

	while (!pfnbuf_ctx_pop_event(s->rig.ctx, ev)) {
		if (poll(&pfd, 1, timeout_ms) <= 0)
			return 0;
		assert_int_equal(pfnbuf_ctx_dispatch(s->rig.ctx), 0);
	}
	return 1;
}

static void waits_for_a_page(void **state)
{
	struct scene *s = *state;
	struct pfnbuf_window *w = s->w = new_window(s, 0, PAGES, PFNBUF_PLACE_RETRY);
	struct pfnbuf_event ev;
	struct fds before;

	set_layout(w, "ssssssssssssssss");
	hold(s, 3, true);
	before = fds_now();
	assert_int_equal(pfnbuf_window_convert(w, 2 * PAGE, 4 * PAGE, PFNBUF_PRIVATE),
			 PFNBUF_PENDING);
	assert_int_equal(fds_all_cloexec(before), 1);
	memory_is(s, w, "ssssssssssssssss");
	assert_int_equal(next_event(s, 5, &ev), 0);
	/* Others go on meanwhile. */
	assert_int_equal(pfnbuf_window_convert(w, 8 * PAGE, PAGE, PFNBUF_PRIVATE), 0);
	hold(s, 3, false);
	assert_int_equal(next_event(s, 2000, &ev), 1);
	assert_int_equal(ev.type, PFNBUF_EVENT_CONVERTED);
	assert_ptr_equal(ev.window, w);
	assert_int_equal(ev.range.offset, 2 * PAGE);
	assert_int_equal(ev.range.length, 4 * PAGE);
	assert_int_equal(ev.result, 0);
	memory_is(s, w, "ssppppsspsssssss");
	assert_int_equal(next_event(s, 10, &ev), 0);
}

/* A layout is asked for once: the caller hears at once what is in its way, and asks again. */
static void layouts_do_not_wait(void **state)
{
	struct scene *s = *state;
	struct pfnbuf_window *w = s->w = new_window(s, 0, PAGES, PFNBUF_PLACE_RETRY);
	struct pfnbuf_layout *target = rig_layout("ssppppsspsssssss");
	struct pfnbuf_plan *plan;
	struct pfnbuf_event ev;
	struct fds before;

	set_layout(w, "ssssssssssssssss");
	hold(s, 3, true);
	before = fds_now();
	assert_refused(pfnbuf_window_set_layout(w, target), EAGAIN);
	assert_refused(pfnbuf_window_set_range(w, 3 * PAGE, PAGE, PFNBUF_PRIVATE), EAGAIN);
	assert_int_equal(pfnbuf_window_plan(w, target, &plan), 0);
	assert_refused(pfnbuf_window_apply(w, plan), EAGAIN);
	assert_int_equal(fds_all_cloexec(before), 0);
	hold(s, 3, false);
	assert_int_equal(next_event(s, 20, &ev), 0);
	memory_is(s, w, "ssssssssssssssss");
	assert_int_equal(pfnbuf_window_apply(w, plan), -EALREADY);
	pfnbuf_plan_free(plan);
	assert_int_equal(pfnbuf_window_set_layout(w, target), 0);
	memory_is(s, w, "ssppppsspsssssss");
	pfnbuf_layout_free(target);
}

/* Events that nobody takes do not keep it from being tried. */
static void waits_behind_events(void **state)
{
	struct scene *s = *state;
	struct pfnbuf_window *w = s->w = new_window(s, 0, PAGES, PFNBUF_PLACE_RETRY);
	struct pollfd pfd = { .fd = pfnbuf_ctx_get_fd(s->rig.ctx), .events = POLLIN };
	struct pfnbuf_event ev;

	set_layout(w, "ssssssssssssssss");
	assert_int_equal(pfnbuf_device_reset(s->rig.card), 0);
	hold(s, 0, true);
	assert_int_equal(pfnbuf_window_convert(w, 0, PAGE, PFNBUF_PRIVATE), PFNBUF_PENDING);
	for (int i = 0; i < 20; i++) {
		poll(NULL, 0, 2);
		assert_int_equal(poll(&pfd, 1, 0), 1);
		assert_int_equal(pfnbuf_ctx_dispatch(s->rig.ctx), 0);
	}
	hold(s, 0, false);
	while (pfnbuf_ctx_pop_event(s->rig.ctx, &ev))
		assert_int_not_equal(ev.type, PFNBUF_EVENT_CONVERTED);
	assert_int_equal(next_event(s, 2000, &ev), 1);
	assert_int_equal(ev.type, PFNBUF_EVENT_CONVERTED);
	memory_is(s, w, "psssssssssssssss");
}

static void gives_up(void **state)
{
	struct scene *s = *state;
	struct pfnbuf_window *w = s->w = new_window(s, 0, PAGES, PFNBUF_PLACE_RETRY);
	struct pfnbuf_event ev;

	set_layout(w, "ssssssssssssssss");
	hold(s, 3, true);
	assert_int_equal(pfnbuf_window_convert(w, 0, 4 * PAGE, PFNBUF_PRIVATE), PFNBUF_PENDING);
	assert_int_equal(next_event(s, 2000, &ev), 1);
	assert_int_equal(ev.type, PFNBUF_EVENT_CONVERT_FAILED);
	assert_int_equal(ev.result, -EAGAIN);
	memory_is(s, w, "ssssssssssssssss");
	assert_int_equal(next_event(s, 100, &ev), 0);
	/* One that fails for another reason is not tried again. */
	assert_int_equal(pfnbuf_window_convert(w, 0, 4 * PAGE, PFNBUF_PRIVATE), PFNBUF_PENDING);
	hold(s, 3, false);
	rig_count(&s->rig, NULL, 0);
	rig_fail(&s->rig, 0, 2, EIO);
	assert_int_equal(next_event(s, 2000, &ev), 1);
	rig_count(&s->rig, NULL, 0);
	assert_int_equal(ev.type, PFNBUF_EVENT_CONVERT_FAILED);
	assert_int_equal(ev.result, -EIO);
	memory_is(s, w, "ssssssssssssssss");
}

/* No fd is left for the timer. */
static void cannot_wait(void **state)
{
	static const int codes[] = { EMFILE, ENFILE };
	const struct pfnbuf_conversion c = { GPA, 4 * PAGE, PFNBUF_PRIVATE };
	struct scene *s = *state;
	struct pfnbuf_window *w = s->w = new_window(s, 0, PAGES, PFNBUF_PLACE_RETRY);
	uint64_t before;

	set_layout(w, "ssssssssssssssss");
	hold(s, 3, true);
	before = pfnbuf_sim_calls(s->rig.sim);
	assert_int_equal(pfnbuf_window_convert(w, 0, 4 * PAGE, PFNBUF_PRIVATE), PFNBUF_PENDING);
	/* The last three calls make the timer, set it and watch it. */
	before = pfnbuf_sim_calls(s->rig.sim) - before;
	s->w = pfnbuf_window_free(w);
	w = s->w = new_window(s, 0, PAGES, PFNBUF_PLACE_RETRY);
	set_layout(w, "ssssssssssssssss");
	for (unsigned i = 0; i < 2; i++) {
		pfnbuf_sim_fail_nth(s->rig.sim, before - 2, codes[i]);
		assert_int_equal(pfnbuf_window_convert(w, 0, 4 * PAGE, PFNBUF_PRIVATE), -codes[i]);
		note_tried("pfnbuf_window_convert(", codes[i]);
		assert_non_null(strstr(pfnbuf_last_error(), "timerfd_create"));
		pfnbuf_sim_fail_nth(s->rig.sim, before - 2, codes[i]);
		assert_refused(pfnbuf_guest_convert(s->rig.vm, &c, 1), codes[i]);
		memory_is(s, w, "ssssssssssssssss");
	}
}

static void ends_while_it_waits(void **state)
{
	struct scene *s = *state;
	struct pfnbuf_event ev;

	s->w = new_window(s, 0, PAGES, PFNBUF_PLACE_RETRY);
	set_layout(s->w, "ssssssssssssssss");
	hold(s, 3, true);
	hold(s, 8, true);
	assert_int_equal(pfnbuf_window_convert(s->w, 0, 4 * PAGE, PFNBUF_PRIVATE), PFNBUF_PENDING);
	assert_int_equal(pfnbuf_window_convert(s->w, 8 * PAGE, PAGE, PFNBUF_PRIVATE),
			 PFNBUF_PENDING);
	s->w = pfnbuf_window_free(s->w);
	assert_int_equal(next_event(s, 50, &ev), 0);
}

/* Two windows, of which the second waits: the first is put back, and both are converted in the end. */
static void a_guest_waits(void **state)
{
	struct scene *s = *state;
	struct pfnbuf_window *a = new_window(s, 0, 8, 0);
	struct pfnbuf_window *b = new_window(s, 8, 8, PFNBUF_PLACE_RETRY);
	const struct pfnbuf_conversion c = { GPA + 6 * PAGE, 4 * PAGE, PFNBUF_PRIVATE };
	struct pfnbuf_event ev;

	set_layout(a, "ssssssss");
	set_layout(b, "ssssssss");
	hold(s, 7, true);
	assert_int_equal(pfnbuf_guest_convert(s->rig.vm, &c, 1), -EAGAIN);
	hold(s, 7, false);
	hold(s, 9, true);
	assert_int_equal(pfnbuf_guest_convert(s->rig.vm, &c, 1), PFNBUF_PENDING);
	memory_is(s, a, "ssssssss");
	memory_is(s, b, "ssssssss");
	assert_int_equal(next_event(s, 10, &ev), 0);
	hold(s, 9, false);
	assert_int_equal(next_event(s, 2000, &ev), 1);
	assert_int_equal(ev.type, PFNBUF_EVENT_CONVERTED);
	assert_ptr_equal(ev.window, b);
	assert_int_equal(ev.range.offset, 0);
	assert_int_equal(ev.range.length, 2 * PAGE);
	memory_is(s, a, "sssssspp");
	memory_is(s, b, "ppssssss");
	pfnbuf_window_free(a);
	pfnbuf_window_free(b);
}

/* The profile says that the kernel converts in place, and it does not. */
static void another_kernel(void **state)
{
	struct scene *s = *state;
	struct pfnbuf_window *w = s->w = new_window(s, 0, PAGES, 0);

	set_layout(w, "ssssssssssssssss");
	rig_count(&s->rig, NULL, 0);
	rig_fail(&s->rig, 0, 2, ENOTTY);
	refuse(w, 0, 1, ENOTTY);
	assert_non_null(strstr(pfnbuf_last_error(), "load the profile of the kernel that runs"));
	rig_count(&s->rig, NULL, 0);
	memory_is(s, w, "ssssssssssssssss");
}

#define TEST(name)	 cmocka_unit_test_setup_teardown(name, setup, teardown)
#define URING_TEST(name) cmocka_unit_test_setup_teardown(name, setup_uring, teardown)

static bool have_uring(void)
{
	const struct pfnbuf_ctx_opts opts = {
		.size = sizeof(opts),
		.engine = PFNBUF_ENGINE_URING,
	};
	struct pfnbuf_ctx *ctx;
	int r = pfnbuf_ctx_new(&ctx, &opts);

	if (r == -EOPNOTSUPP || r == -EPERM)
		return false;
	REQUIRE(r == 0);
	pfnbuf_ctx_free(ctx);
	return true;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(converts_in_place),
		TEST(all_or_nothing),
		TEST(areas_of_nobody_go),
		TEST(areas_of_another_window_stay),
		TEST(somebody_unknown_is_told_of),
		TEST(waits_for_a_page),
		TEST(layouts_do_not_wait),
		TEST(waits_behind_events),
		TEST(gives_up),
		TEST(cannot_wait),
		TEST(ends_while_it_waits),
		TEST(a_guest_waits),
		TEST(another_kernel),
	};
	const struct CMUnitTest uring_tests[] = {
		URING_TEST(waits_for_a_page),
		URING_TEST(waits_behind_events),
		URING_TEST(gives_up),
		URING_TEST(ends_while_it_waits),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	if (!have_uring()) {
		print_message("skipped, without io_uring: %s\n", pfnbuf_last_error());
		return failed;
	}
	return failed + cmocka_run_group_tests(uring_tests, NULL, NULL);
}
