/* SPDX-License-Identifier: MIT */
/* Conversions of a guest's memory over several windows, and what exits ask for. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "placed.h"

#define PAGES 8

/*
 * Guest memory, a window of eight pages each: a and b side by side, nothing, c, and a BAR. They are
 * made in another order.
 */
struct guest {
	struct rig rig;
	struct pfnbuf_window *a, *b, *c, *bar;
};

#define A   (GPA)
#define B   (GPA + 8 * PAGE)
#define C   (GPA + 24 * PAGE)
#define BAR (GPA + 32 * PAGE)

static struct pfnbuf_window *new_window(struct rig *rig, uint64_t gpa)
{
	struct pfnbuf_place place = place_of(rig);
	struct pfnbuf_ram ram = { .memfd = rig_memfd(rig, PAGES), .length = PAGES * PAGE };
	struct pfnbuf_window *w;

	place.gpa = gpa;
	place.iova += gpa - GPA;
	assert_int_equal(pfnbuf_buf_new_guest_memfd(rig->vm, PAGES * PAGE, 0, &ram.guest_memfd), 0);
	assert_int_equal(pfnbuf_window_new_ram(rig->ctx, &ram, &place, &w), 0);
	pfnbuf_buf_unref(ram.memfd);
	pfnbuf_buf_unref(ram.guest_memfd);
	return w;
}

static struct pfnbuf_window *new_bar(struct rig *rig)
{
	const struct pfnbuf_range part = { 0, PAGES * PAGE };
	const struct pfnbuf_place place = { .size = sizeof(place), .vm = rig->vm, .gpa = BAR };
	struct pfnbuf_window *w;

	assert_int_equal(pfnbuf_window_new_bar(rig->card, RIG_BAR, &part, &place, &w), 0);
	assert_int_equal(pfnbuf_window_set_range(w, 0, PAGES * PAGE, PFNBUF_SHARED), 0);
	return w;
}

static int setup(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));

	g->rig.vm_type = PFNBUF_VM_SW_PROTECTED;
	rig_open(&g->rig);
	g->b = new_window(&g->rig, B);
	g->bar = new_bar(&g->rig);
	g->c = new_window(&g->rig, C);
	g->a = new_window(&g->rig, A);
	set_layout(g->a, "ssssssss");
	set_layout(g->b, "ssssss..");
	set_layout(g->c, "ssssssss");
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct guest *g = *state;

	rig_check_alias(&g->rig);
	pfnbuf_window_free(g->a);
	pfnbuf_window_free(g->b);
	pfnbuf_window_free(g->c);
	pfnbuf_window_free(g->bar);
	rig_check_clean(&g->rig);
	rig_close(&g->rig);
	free(g);
	return 0;
}

static void layout_is(struct pfnbuf_window *w, const char *picture)
{
	struct pfnbuf_layout *expected = rig_layout(picture), *is;
	char text[512];

	assert_int_equal(pfnbuf_window_get_layout(w, &is), 0);
	pfnbuf_layout_print(is, text, sizeof(text));
	if (!pfnbuf_layout_equal(is, expected))
		fail_msg("%s is expected, and it is %s", picture, text);
	assert_int_equal(pfnbuf_window_verify(w, NULL), 1);
	pfnbuf_layout_free(is);
	pfnbuf_layout_free(expected);
}

static void memory_is(struct guest *g, uint64_t gpa, const char *picture)
{
	for (uint64_t page = 0; picture[page]; page++) {
		const uint64_t at = gpa + page * PAGE;
		const bool shared = picture[page] == 's', private = picture[page] == 'p';

		assert_int_equal(rig_dma(&g->rig, IOVA + (at - GPA)) >= 0, shared);
		assert_int_equal(rig_guest(&g->rig, at) >= 0, shared);
		assert_int_equal(rig_guest_private(&g->rig, at) >= 0, private);
	}
}

static void ranges_over_windows(void **state)
{
	struct guest *g = *state;
	const struct pfnbuf_conversion over_all = { GPA + 6 * PAGE, 30 * PAGE, PFNBUF_PRIVATE };
	const struct pfnbuf_conversion batch[] = {
		{ GPA + 7 * PAGE, 3 * PAGE, PFNBUF_SHARED },
		{ C, PAGE, PFNBUF_SHARED },
		{ C + PAGE, 7 * PAGE, PFNBUF_SHARED },
		{ C + 2 * PAGE, 2 * PAGE, PFNBUF_PRIVATE },
	};

	assert_int_equal(pfnbuf_guest_convert(g->rig.vm, &over_all, 1), 0);
	layout_is(g->a, "sssssspp");
	layout_is(g->b, "pppppp..");
	layout_is(g->c, "pppppppp");
	layout_is(g->bar, "ssssssss");
	memory_is(g, GPA, "sssssspppppppp..........pppppppp");
	assert_int_equal(pfnbuf_guest_convert(g->rig.vm, batch, 4), 0);
	memory_is(g, GPA, "sssssspssspppp..........ssppssss");
	assert_int_equal(pfnbuf_guest_convert(g->rig.vm, NULL, 0), 0);
}

static void holes_and_mmio_are_nothing(void **state)
{
	struct guest *g = *state;
	const struct pfnbuf_conversion list[] = {
		{ B + 6 * PAGE, 10 * PAGE, PFNBUF_PRIVATE },
		{ BAR, 8 * PAGE, PFNBUF_PRIVATE },
		{ BAR + 8 * PAGE, -(BAR + 8 * PAGE), PFNBUF_PRIVATE },
		{ 0, GPA, PFNBUF_PRIVATE },
		{ A, 14 * PAGE, PFNBUF_SHARED },
	};

	rig_count(&g->rig, NULL, 0);
	assert_int_equal(pfnbuf_guest_convert(g->rig.vm, list, 5), 0);
	assert_int_equal(g->rig.calls, 0);
	memory_is(g, GPA, "ssssssssssssss..........ssssssss");
}

static void refuse(struct guest *g, uint64_t gpa, uint64_t length, enum pfnbuf_vis to)
{
	const struct pfnbuf_conversion list[] = {
		{ A, PAGE, PFNBUF_PRIVATE },
		{ gpa, length, to },
	};

	assert_refused(pfnbuf_guest_convert(g->rig.vm, list, 2), EINVAL);
	memory_is(g, GPA, "ssssssssssssss..........ssssssss");
}

static void refusals(void **state)
{
	struct guest *g = *state;

	refuse(g, A, PAGE, PFNBUF_HOLE);
	refuse(g, A, 0, PFNBUF_PRIVATE);
	refuse(g, A + 1, PAGE, PFNBUF_PRIVATE);
	refuse(g, A, PAGE + 1, PFNBUF_PRIVATE);
	refuse(g, -PAGE, 2 * PAGE, PFNBUF_PRIVATE);
}

/* Each call that fails leaves all windows as they were, and no memory lost. */
static void all_or_nothing(void **state)
{
	struct guest *g = *state;
	const struct pfnbuf_conversion list[] = {
		{ A + 2 * PAGE, 10 * PAGE, PFNBUF_PRIVATE },
		{ C + 3 * PAGE, PAGE, PFNBUF_PRIVATE },
	};
	char *before = rig_dump(&g->rig);
	uint64_t calls = 9, at;

	for (at = 1; at <= calls; at++) {
		char *after;
		int r;

		rig_count(&g->rig, NULL, 0);
		rig_fail(&g->rig, 0, at, ENOMEM);
		r = pfnbuf_guest_convert(g->rig.vm, list, 2);
		assert_int_equal(g->rig.failed, 1);
		rig_count(&g->rig, NULL, 0);
		if (r >= 0)
			break;
		refused("pfnbuf_guest_convert", r, ENOMEM);
		after = rig_dump(&g->rig);
		assert_string_equal(before, after);
		free(after);
		layout_is(g->a, "ssssssss");
		layout_is(g->b, "ssssss..");
		layout_is(g->c, "ssssssss");
		for (uint64_t page = 0; page < PAGES; page++)
			assert_int_equal(rig_dma(&g->rig, IOVA + page * PAGE),
					 (int64_t)rig_tag(RIG_TAG_RAM, page));
	}
	/* UNMAP, attributes and MAP of a, two MAPs of c; the tenth is a discard. */
	free(before);
	assert_int_equal(at, 10);
	assert_int_equal(pfnbuf_guest_convert(g->rig.vm, list, 2), 0);
	memory_is(g, GPA, "ssppppppppppss..........ssspssss");
}

/* The way back is refused, too: that window is quarantined, and the others are as they were. */
static void one_is_quarantined(void **state)
{
	struct guest *g = *state;
	const struct pfnbuf_conversion all = { A, 14 * PAGE, PFNBUF_PRIVATE };
	struct pfnbuf_window_info info;

	/* b: UNMAP, attributes; a: UNMAP, attributes; then back. */
	rig_count(&g->rig, NULL, 0);
	rig_fail(&g->rig, 0, 4, EIO);
	rig_fail(&g->rig, 1, 6, EIO);
	assert_int_equal(pfnbuf_guest_convert(g->rig.vm, &all, 1), -EIO);
	rig_count(&g->rig, NULL, 0);
	layout_is(g->a, "ssssssss");
	memory_is(g, A, "ssssssss");
	memory_is(g, C, "ssssssss");
	pfnbuf_window_get_info(g->b, &info);
	assert_int_equal(info.state, PFNBUF_WINDOW_QUARANTINED);
	memory_is(g, B, "pppppp..");
	assert_refused(pfnbuf_guest_convert(g->rig.vm, &all, 1), ENOTRECOVERABLE);
	memory_is(g, A, "ssssssss");
}

/* Shared memory that has no private memory behind it. */
static void not_all_can_be_private(void **state)
{
	struct guest *g = *state;
	struct pfnbuf_place place = { .size = sizeof(place), .vm = g->rig.vm, .gpa = B + 8 * PAGE };
	struct pfnbuf_ram ram = { .memfd = rig_memfd(&g->rig, PAGES), .length = PAGES * PAGE };
	const struct pfnbuf_conversion over = { A, 20 * PAGE, PFNBUF_PRIVATE };
	struct pfnbuf_window *w;

	assert_int_equal(pfnbuf_window_new_ram(g->rig.ctx, &ram, &place, &w), 0);
	pfnbuf_buf_unref(ram.memfd);
	assert_int_equal(pfnbuf_guest_convert(g->rig.vm, &over, 1), 0);
	memory_is(g, A, "pppppppppppppp..");
	set_layout(w, "s.......");
	assert_refused(pfnbuf_guest_convert(g->rig.vm, &over, 1), EOPNOTSUPP);
	pfnbuf_window_free(w);
}

/* ---------------------------------------------------------------- exits --------------------- */

static struct pfnbuf_exit_advice explain(struct guest *g, const struct pfnbuf_exit *exit)
{
	struct pfnbuf_exit_advice advice = { 0 };

	assert_int_equal(pfnbuf_exit_explain(g->rig.vm, exit, &advice), 0);
	assert_non_null(advice.reason);
	assert_string_not_equal(pfnbuf_exit_action_name(advice.action), "?");
	return advice;
}

static struct pfnbuf_exit_advice hypercall(struct guest *g, uint64_t gpa, uint64_t pages,
					   uint64_t attributes)
{
	return explain(g, &(struct pfnbuf_exit){
				  .kind = PFNBUF_EXIT_HYPERCALL,
				  .nr = 12,
				  .args = { gpa, pages, attributes },
			  });
}

static void hypercalls_are_explained(void **state)
{
	struct guest *g = *state;
	const struct pfnbuf_exit other = { .kind = PFNBUF_EXIT_HYPERCALL, .nr = 11 };
	struct pfnbuf_exit_advice advice = hypercall(g, A + PAGE, 12, 0x10);

	assert_int_equal(advice.action, PFNBUF_EXIT_CONVERT);
	assert_int_equal(advice.conversion.offset, A + PAGE);
	assert_int_equal(advice.conversion.length, 12 * PAGE);
	assert_int_equal(advice.conversion.to, PFNBUF_PRIVATE);
	assert_int_equal(advice.ret, 0);
	memory_is(g, A, "ssssssssssssss..");
	assert_int_equal(pfnbuf_guest_convert(g->rig.vm, &advice.conversion, 1), 0);
	memory_is(g, A, "spppppppppppps..");
	/* As a page of 2 MiB, if that is possible; what is so already; and back. */
	advice = hypercall(g, A + PAGE, 12, 0x11);
	assert_int_equal(advice.action, PFNBUF_EXIT_RESUME);
	assert_int_equal(advice.ret, 0);
	advice = hypercall(g, A, 1, 0);
	assert_int_equal(advice.action, PFNBUF_EXIT_RESUME);
	advice = hypercall(g, A, 14, 1);
	assert_int_equal(advice.action, PFNBUF_EXIT_CONVERT);
	assert_int_equal(advice.conversion.to, PFNBUF_SHARED);
	/* Nothing, a hole, MMIO. */
	assert_int_equal(hypercall(g, 0, 1, 0x10).action, PFNBUF_EXIT_RESUME);
	assert_int_equal(hypercall(g, B + 6 * PAGE, 10, 0x10).action, PFNBUF_EXIT_RESUME);
	assert_int_equal(hypercall(g, BAR, 8, 0x10).action, PFNBUF_EXIT_RESUME);
	/* What cannot be. */
	assert_int_equal(hypercall(g, A, 0, 0x10).ret, EINVAL);
	assert_int_equal(hypercall(g, A + 1, 1, 0x10).ret, EINVAL);
	assert_int_equal(hypercall(g, A, 1, 0x20).ret, EINVAL);
	assert_int_equal(hypercall(g, A, UINT64_MAX / 4096, 0x10).ret, EINVAL);
	advice = hypercall(g, A, UINT64_C(1) << 52, 0x10);
	assert_int_equal(advice.ret, EINVAL);
	assert_int_equal(advice.action, PFNBUF_EXIT_RESUME);
	advice = explain(g, &other);
	assert_int_equal(advice.action, PFNBUF_EXIT_NOT_OURS);
	assert_int_equal(advice.ret, (uint64_t)-1000);
}

static struct pfnbuf_exit_advice fault(struct guest *g, uint64_t gpa, uint64_t length,
				       uint64_t flags)
{
	return explain(g, &(struct pfnbuf_exit){
				  .kind = PFNBUF_EXIT_MEMORY_FAULT,
				  .flags = flags,
				  .gpa = gpa,
				  .length = length,
			  });
}

static void faults_are_explained(void **state)
{
	struct guest *g = *state;
	struct pfnbuf_exit_advice advice = fault(g, A + 0x10, 8, 8);
	struct pfnbuf_exit wrong = { .kind = PFNBUF_EXIT_MEMORY_FAULT, .gpa = A };

	assert_int_equal(advice.action, PFNBUF_EXIT_CONVERT);
	assert_int_equal(advice.conversion.offset, A);
	assert_int_equal(advice.conversion.length, PAGE);
	assert_int_equal(advice.conversion.to, PFNBUF_PRIVATE);
	assert_int_equal(pfnbuf_guest_convert(g->rig.vm, &advice.conversion, 1), 0);
	memory_is(g, A, "psssssss");
	assert_int_equal(fault(g, A, PAGE, 8).action, PFNBUF_EXIT_RESUME);
	advice = fault(g, A, PAGE, 0);
	assert_int_equal(advice.action, PFNBUF_EXIT_CONVERT);
	assert_int_equal(advice.conversion.to, PFNBUF_SHARED);
	assert_int_equal(fault(g, 0, PAGE, 8).action, PFNBUF_EXIT_NO_MEMORY);
	assert_int_equal(fault(g, B + 6 * PAGE, PAGE, 8).action, PFNBUF_EXIT_NO_MEMORY);
	assert_int_equal(fault(g, BAR, PAGE, 8).action, PFNBUF_EXIT_NO_MEMORY);
	assert_int_equal(pfnbuf_window_suspend(g->a), 0);
	assert_int_equal(fault(g, A, PAGE, 0).action, PFNBUF_EXIT_NO_MEMORY);
	assert_refused(pfnbuf_exit_explain(g->rig.vm, &wrong, &advice), EINVAL);
	wrong.gpa = UINT64_MAX;
	wrong.length = 2;
	assert_refused(pfnbuf_exit_explain(g->rig.vm, &wrong, &advice), EINVAL);
	wrong.kind = (enum pfnbuf_exit_kind)6;
	assert_refused(pfnbuf_exit_explain(g->rig.vm, &wrong, &advice), EINVAL);
	assert_string_equal(pfnbuf_exit_action_name((enum pfnbuf_exit_action)0), "?");
}

/* ---------------------------------------------------------------- threads ------------------- */

#define ROUNDS 2000

struct vcpu {
	struct guest *g;
	uint64_t gpa;
	uint64_t pages;
};

static void *convert_often(void *data)
{
	const struct vcpu *v = data;

	for (unsigned i = 0; i < ROUNDS; i++) {
		const struct pfnbuf_conversion c = {
			v->gpa + i % v->pages * PAGE,
			PAGE,
			i / v->pages % 2 ? PFNBUF_SHARED : PFNBUF_PRIVATE,
		};

		if (pfnbuf_guest_convert(v->g->rig.vm, &c, 1) != 0)
			rig_die(__FILE__, __LINE__, "conversion");
	}
	return NULL;
}

/* Two in a window each, one over both of them, while another window comes and goes. */
static void vcpus_convert_at_once(void **state)
{
	struct guest *g = *state;
	struct vcpu vcpus[] = { { g, A, 4 }, { g, B + 2 * PAGE, 4 }, { g, A + 4 * PAGE, 6 } };
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, convert_often, &vcpus[i]), 0);
	for (int i = 0; i < 50; i++) {
		pfnbuf_window_free(g->c);
		g->c = new_window(&g->rig, C);
		set_layout(g->c, "sspp....");
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	/*
	 * 500 times four pages, the last of which makes them shared; 333 times six, the last of
	 * which makes them private, and two more rounds.
	 */
	layout_is(g->a, "sssssspp");
	layout_is(g->b, "ppssss..");
	memory_is(g, A, "ssssssppppssss..");
}

/* ---------------------------------------------------------------- granules ------------------ */

/* A window of granules of a page, and what each page of it is: a character as in a picture. */
#define GRANULES 160
#define AWAY	 (GPA + 64 * PAGE)

struct granules {
	struct pfnbuf_window *w;
	char pages[GRANULES + 1];
};

static void open_granules(struct guest *g, struct granules *in)
{
	struct pfnbuf_place place = place_of(&g->rig);
	struct pfnbuf_ram ram = {
		.memfd = rig_memfd(&g->rig, GRANULES),
		.length = GRANULES * PAGE,
	};

	place.gpa = AWAY;
	place.iova += AWAY - GPA;
	place.granule = PAGE;
	assert_int_equal(pfnbuf_buf_new_guest_memfd(g->rig.vm, ram.length, 0, &ram.guest_memfd), 0);
	assert_int_equal(pfnbuf_window_new_ram(g->rig.ctx, &ram, &place, &in->w), 0);
	pfnbuf_buf_unref(ram.memfd);
	pfnbuf_buf_unref(ram.guest_memfd);
	memset(in->pages, 's', GRANULES);
	memset(in->pages + 100, '.', 3);
	set_layout(in->w, in->pages);
}

/* What goes with one unmapping, until something that stays is in between; maps; and runs that change. */
static uint64_t fewest_calls(const char *from, const char *to)
{
	bool open = false;
	uint64_t n = 0;

	for (size_t i = 0; i < GRANULES; i++) {
		const bool turns = from[i] != to[i];

		if (from[i] == 's') {
			n += turns && !open;
			open = turns;
		}
		n += turns && to[i] == 's';
		if (turns && !(i && from[i - 1] == from[i] && from[i - 1] != to[i - 1]))
			n += 2;
	}
	return n;
}

static uint64_t conversion_calls(const struct rig *rig)
{
	uint64_t n = 0;

	assert_true(rig->calls <= rig->log_room);
	for (uint64_t i = 0; i < rig->calls; i++)
		n += rig->log[i].request == IOMMU_IOAS_UNMAP ||
		     rig->log[i].request == IOMMU_IOAS_MAP_FILE ||
		     rig->log[i].request == KVM_SET_MEMORY_ATTRIBUTES ||
		     (rig->log[i].name && !strcmp(rig->log[i].name, "fallocate"));
	return n;
}

static uint32_t random_below(uint32_t n)
{
	static uint32_t state = 815;

	state = state * 1664525 + 1013904223;
	return (state >> 8) % n;
}

/* Single granules, some of them twice, some that are so already, some holes; far from each other or not. */
static size_t random_batch(struct pfnbuf_conversion *list, char *pages, bool of_guest)
{
	const size_t n = 1 + random_below(8);
	const uint32_t reach = random_below(2) ? GRANULES : 12, at = random_below(GRANULES - 11);

	for (size_t i = 0; i < n; i++) {
		const uint64_t page =
			reach == GRANULES ? random_below(reach) : at + random_below(reach);
		const bool to_private = random_below(2);

		list[i] = (struct pfnbuf_conversion){
			.offset = (of_guest ? AWAY : 0) + page * PAGE,
			.length = PAGE,
			.to = to_private ? PFNBUF_PRIVATE : PFNBUF_SHARED,
		};
		if (pages[page] != '.')
			pages[page] = to_private ? 'p' : 's';
	}
	return n;
}

/* However they are asked for, they take the fewest calls that will do. */
static void granules_take_the_fewest_calls(void **state)
{
	static struct rig_call log[256];
	struct guest *g = *state;
	struct granules in = { 0 };

	open_granules(g, &in);
	for (int round = 0; round < 3000; round++) {
		struct pfnbuf_conversion list[8];
		char before[GRANULES + 1];
		const bool of_guest = random_below(2);
		size_t n;

		memcpy(before, in.pages, sizeof(before));
		n = random_batch(list, in.pages, of_guest);
		rig_count(&g->rig, log, 256);
		assert_int_equal(of_guest ? pfnbuf_guest_convert(g->rig.vm, list, n)
					  : pfnbuf_window_convert_batch(in.w, list, n),
				 0);
		assert_int_equal(conversion_calls(&g->rig), fewest_calls(before, in.pages));
		if (round % 50 == 0) {
			layout_is(in.w, in.pages);
			memory_is(g, AWAY, in.pages);
		}
		/* Now and then it is elsewhere, and back. */
		if (round % 500 == 499) {
			assert_int_equal(pfnbuf_window_move(in.w, AWAY + PAGE, IOVA + (GPA << 1)),
					 0);
			assert_int_equal(pfnbuf_window_move(in.w, AWAY, IOVA + (AWAY - GPA)), 0);
		}
	}
	pfnbuf_window_free(in.w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ranges_over_windows),
		TEST(holes_and_mmio_are_nothing),
		TEST(refusals),
		TEST(all_or_nothing),
		TEST(one_is_quarantined),
		TEST(not_all_can_be_private),
		TEST(hypercalls_are_explained),
		TEST(faults_are_explained),
		TEST(vcpus_convert_at_once),
		TEST(granules_take_the_fewest_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
