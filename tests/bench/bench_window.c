/* SPDX-License-Identifier: MIT */
/*
 * What windows cost, a line for each figure: "window.<figure> <value>".
 *
 * Planning and memory are measured over a kernel that says yes to everything and keeps nothing;
 * slots on the running kernel's KVM, where it may be opened, against a bare loop of the same calls.
 */
#include <pfnbuf.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"
#include "bench_events.h"
#include "bench_restore.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "null_kernel.h"

#define GRANULE (2 * MIB)

/* ---------------------------------------------------------------- a window over no kernel --- */

struct scene {
	struct pfnbuf_kernel kernel;
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_vm *vm;
	struct pfnbuf_window *w;
};

static void open_scene(struct scene *s, uint64_t length, uint64_t granule, bool with_vm)
{
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .kernel = &s->kernel };
	struct pfnbuf_place place = { .size = sizeof(place), .iova = TIB, .granule = granule };
	struct pfnbuf_ram ram = { .length = length, .addr = (void *)TIB };

	null_kernel(&s->kernel);
	CHECK(pfnbuf_ctx_new(&s->ctx, &opts));
	CHECK(pfnbuf_ioas_new(s->ctx, &s->ioas));
	s->vm = NULL;
	if (with_vm)
		CHECK(pfnbuf_vm_new(s->ctx, 0, &s->vm));
	CHECK(pfnbuf_buf_new_memfd(s->ctx, length, 0, &ram.memfd));
	place.ioas = s->ioas;
	place.vm = s->vm;
	CHECK(pfnbuf_window_new_ram(s->ctx, &ram, &place, &s->w));
	pfnbuf_buf_unref(ram.memfd);
}

static void close_scene(struct scene *s)
{
	pfnbuf_window_free(s->w);
	pfnbuf_vm_free(s->vm);
	pfnbuf_ioas_free(s->ioas);
	pfnbuf_ctx_free(s->ctx);
}

/* ---------------------------------------------------------------- calls --------------------- */

#define PAGES 256

static uint64_t piece_end(const bool *shared, uint64_t p, uint64_t granule)
{
	uint64_t end = p + 1;

	while (end < PAGES && shared[end] && end % granule)
		end++;
	return end;
}

static bool is_piece(const bool *shared, uint64_t p, uint64_t end, uint64_t granule)
{
	return shared[p] && (!p || !shared[p - 1] || p % granule == 0) &&
	       piece_end(shared, p, granule) == end;
}

/* Pieces of @a that are none of @b; with @join, those that no common piece parts count as one. */
static uint64_t count_only(const bool *a, const bool *b, uint64_t granule, bool join)
{
	uint64_t n = 0, end;
	bool parted = true;

	for (uint64_t p = 0; p < PAGES; p = end) {
		end = p + 1;
		if (!a[p])
			continue;
		end = piece_end(a, p, granule);
		if (is_piece(b, p, end, granule)) {
			parted = true;
		} else {
			n += !join || parted;
			parted = false;
		}
	}
	return n;
}

static uint64_t minimum(const bool *from, const bool *to, uint64_t granule)
{
	return count_only(from, to, granule, true) + count_only(to, from, granule, false) +
	       count_only(from, to, PAGES, false) + count_only(to, from, PAGES, false);
}

static void random_layout(bool *shared)
{
	for (uint64_t p = 0; p < PAGES;) {
		const uint64_t n = 1 + random_u64() % 16;
		const bool value = random_u64() & 1;

		for (uint64_t end = p + n; p < end && p < PAGES; p++)
			shared[p] = value;
	}
}

static struct pfnbuf_layout *layout_of(const bool *shared)
{
	struct pfnbuf_layout *layout;

	CHECK(pfnbuf_layout_new(PAGES * PAGE, PAGE, PFNBUF_HOLE, &layout));
	for (uint64_t p = 0; p < PAGES; p++)
		if (shared[p])
			CHECK(pfnbuf_layout_set(layout, p * PAGE, PAGE, PFNBUF_SHARED));
	return layout;
}

static void bench_calls(void)
{
	uint64_t needed = 0, made = 0;

	for (int pair = 0; pair < 1000; pair++) {
		const uint64_t granule = pair & 1 ? PAGES : 8;
		bool from[PAGES], to[PAGES];
		struct pfnbuf_layout *layout;
		uint64_t before;
		struct scene s;

		open_scene(&s, PAGES * PAGE, granule * PAGE, true);
		random_layout(from);
		random_layout(to);
		layout = layout_of(from);
		CHECK(pfnbuf_window_set_layout(s.w, layout));
		pfnbuf_layout_free(layout);
		layout = layout_of(to);
		before = null_kernel_changes();
		CHECK(pfnbuf_window_set_layout(s.w, layout));
		made += null_kernel_changes() - before;
		pfnbuf_layout_free(layout);
		needed += minimum(from, to, granule);
		close_scene(&s);
	}
	printf("window.calls_over_minimum %.4f\n", (double)made / (double)needed);
}

/* ---------------------------------------------------------------- planning ------------------ */

static uint64_t best_plan(struct scene *s, const struct pfnbuf_layout *target)
{
	uint64_t best = UINT64_MAX;

	/* An absolute time: the best one is the one that others disturbed least. */
	for (int i = 0; i < 15; i++) {
		const uint64_t before = now();
		struct pfnbuf_plan *plan;
		uint64_t took;

		CHECK(pfnbuf_window_plan(s->w, target, &plan));
		took = now() - before;
		best = took < best ? took : best;
		pfnbuf_plan_free(plan);
	}
	return best;
}

static void bench_planning(const char *name, bool with_vm, uint64_t size)
{
	struct pfnbuf_layout *target;
	struct scene s;

	open_scene(&s, TIB, GRANULE, with_vm);
	CHECK(pfnbuf_window_set_range(s.w, 0, TIB, PFNBUF_SHARED));
	CHECK(pfnbuf_window_get_layout(s.w, &target));
	for (int i = 0; i < 5000; i++)
		CHECK(pfnbuf_layout_set(target, random_u64() % (TIB / size) * size, size,
					PFNBUF_HOLE));
	printf("window.%s %.3f\n", name, (double)best_plan(&s, target) / 1e6);
	pfnbuf_layout_free(target);
	close_scene(&s);
}

/* ---------------------------------------------------------------- memory -------------------- */

static void bench_memory(void)
{
	const uint64_t areas = TIB / GRANULE;
	struct scene s;
	size_t before;

	open_scene(&s, TIB, GRANULE, false);
	malloc_trim(0);
	before = mallinfo2().uordblks;
	CHECK(pfnbuf_window_set_range(s.w, 0, TIB, PFNBUF_SHARED));
	malloc_trim(0);
	printf("window.bytes_per_area %.1f\n",
	       (double)(mallinfo2().uordblks - before) / (double)areas);
	printf("window.ram_1tib_2mib_mib %.1f\n",
	       (double)(mallinfo2().uordblks - before) / (double)MIB);
	close_scene(&s);
}

/* ---------------------------------------------------------------- the running kernel -------- */

#define SLOTS  1000
#define ROUNDS 41 /* each of some 30 ms: what disturbs lasts longer, or meets few of them */

static uint64_t inside; /* nanoseconds in ioctl */

static int timed_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	const uint64_t before = now();
	int r = pfnbuf_kernel_running()->ioctl(data, fd, request, arg);

	inside += now() - before;
	return r;
}

static uint64_t bare_loop(const struct pfnbuf_kernel *k, int vm, char *memory, bool set)
{
	const uint64_t before = now();

	for (uint32_t i = 0; i < SLOTS; i++) {
		struct kvm_userspace_memory_region2 region = {
			.slot = i,
			.guest_phys_addr = 2 * i * PAGE,
			.memory_size = set ? PAGE : 0,
			.userspace_addr = (uintptr_t)memory + 2 * i * PAGE,
		};

		CHECK(k->ioctl(k->data, vm, KVM_SET_USER_MEMORY_REGION2, &region));
	}
	return now() - before;
}

static struct pfnbuf_layout *every_other_page(void)
{
	struct pfnbuf_layout *layout;

	CHECK(pfnbuf_layout_new(2 * SLOTS * PAGE, PAGE, PFNBUF_HOLE, &layout));
	for (uint64_t i = 0; i < SLOTS; i++)
		CHECK(pfnbuf_layout_set(layout, 2 * i * PAGE, PAGE, PFNBUF_SHARED));
	return layout;
}

static uint64_t bare_round(const struct pfnbuf_kernel *k, int vm, char *memory)
{
	return bare_loop(k, vm, memory, true) + bare_loop(k, vm, memory, false);
}

static uint64_t window_round(struct pfnbuf_window *w, const struct pfnbuf_layout *layout)
{
	const uint64_t before = now();

	inside = 0;
	CHECK(pfnbuf_window_set_layout(w, layout));
	CHECK(pfnbuf_window_set_range(w, 0, 2 * SLOTS * PAGE, PFNBUF_HOLE));
	return now() - before;
}

/*
 * In turns, each first as often as the other, so that what disturbs one disturbs the other; and the
 * median of the rounds' ratios, which those that were disturbed do not move.
 */
static void bench_slots(struct pfnbuf_ctx *ctx, struct pfnbuf_vm *vm)
{
	const struct pfnbuf_kernel *k = pfnbuf_ctx_get_kernel(ctx);
	const int fd = pfnbuf_vm_get_fd(vm);
	struct pfnbuf_layout *layout = every_other_page();
	struct pfnbuf_place place = { .size = sizeof(place), .vm = vm };
	struct pfnbuf_ram ram = { .length = 2 * SLOTS * PAGE };
	double ratios[ROUNDS], shares[ROUNDS];
	struct pfnbuf_window *w;

	CHECK(pfnbuf_buf_new_memfd(ctx, ram.length, 0, &ram.memfd));
	CHECK(pfnbuf_buf_map(ram.memfd, 0, ram.length, &ram.addr));
	CHECK(pfnbuf_window_new_ram(ctx, &ram, &place, &w));
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t bare = i & 1 ? bare_round(k, fd, ram.addr) : 0, ours;

		ours = window_round(w, layout);
		shares[i] = 1 - (double)inside / (double)ours;
		if (!bare)
			bare = bare_round(k, fd, ram.addr);
		ratios[i] = (double)ours / (double)bare;
	}
	printf("window.slot_plan_over_loop %.3f\n", median(ratios, ROUNDS));
	printf("window.share_outside_kernel %.3f\n", median(shares, ROUNDS));
	pfnbuf_window_free(w);
	pfnbuf_buf_unmap(ram.memfd, ram.addr, ram.length);
	pfnbuf_buf_unref(ram.memfd);
	pfnbuf_layout_free(layout);
}

static void bench_kvm(void)
{
	struct pfnbuf_kernel kernel = *pfnbuf_kernel_running();
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .kernel = &kernel };
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_vm *vm;

	kernel.ioctl = timed_ioctl;
	CHECK(pfnbuf_ctx_new(&ctx, &opts));
	if (pfnbuf_vm_new(ctx, PFNBUF_VM_DEFAULT, &vm) < 0) {
		fprintf(stderr, "slots on the running kernel: left out: %s\n", pfnbuf_last_error());
	} else {
		bench_slots(ctx, vm);
		pfnbuf_vm_free(vm);
	}
	pfnbuf_ctx_free(ctx);
}

int main(void)
{
	bench_calls();
	bench_planning("plan_5000_ms", true, GRANULE);
	bench_planning("plan_5000_areas_only_ms", false, GRANULE);
	bench_planning("plan_5000_pages_ms", true, PAGE);
	bench_memory();
	bench_restore();
	bench_kvm();
	bench_events();
	return 0;
}
