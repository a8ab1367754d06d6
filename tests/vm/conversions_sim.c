/* SPDX-License-Identifier: MIT */
/* A history of conversions on the simulated kernel, whose own data plane stands in for guest and device. */
#include "conversions.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/pci.h"
#include "vmtest.h"

#include <errno.h>
#include <pfnbuf-sim.h>

#define BDF "0000:00:04.0"

struct stage {
	struct pfnbuf_sim *sim;
	struct pfnbuf_device *device;
	struct conversions c;
};

static void stage_open(struct stage *s, enum backing backing, uint32_t seed, uint64_t granule)
{
	const struct pfnbuf_sim_device device = {
		.bdf = BDF,
		.vendor = 0x1234,
		.device = 0x11e8,
		.bars = { { .size = 0x100000 } },
	};

	check_eq(pfnbuf_sim_new(&s->sim), 0);
	check_eq(pfnbuf_sim_add_device(s->sim, &device), 0);
	conversions_open(&s->c, pfnbuf_sim_kernel(s->sim), backing, seed);
	check_eq(pfnbuf_device_open(s->c.ctx, BDF, &s->device), 0);
	check_eq(pfnbuf_device_bind(s->device, NULL), 0);
	check_eq(pfnbuf_device_attach(s->device, s->c.ioas), 0);
	check_eq(pfnbuf_device_set_bus_master(s->device, true), 0);
	conversions_place(&s->c, granule);
}

static void stage_close(struct stage *s)
{
	s->c.window = pfnbuf_window_free(s->c.window);
	s->device = pfnbuf_device_close(s->device);
	conversions_close(&s->c);
	s->sim = pfnbuf_sim_free(s->sim);
}

static bool is_private(const struct stage *s, uint32_t p)
{
	return s->c.history.pages[p].kind == HISTORY_PRIVATE;
}

static void guest_read(const struct stage *s, uint32_t p, uint32_t words[HISTORY_WORDS])
{
	check_eq(pfnbuf_sim_guest_read(s->sim, pfnbuf_vm_get_fd(s->c.vm),
				       CONVERSIONS_GPA + p * UINT64_C(4096), is_private(s, p),
				       words, HISTORY_PAGE),
		 0);
}

/* What nested-guest.c does with a page that is new on its side. */
static void fill(const struct stage *s, uint32_t p)
{
	uint32_t words[HISTORY_WORDS];

	for (uint32_t i = 0; i < HISTORY_WORDS; i++)
		words[i] = history_word(p, s->c.history.pages[p].since, i);
	check_eq(pfnbuf_sim_guest_write(s->sim, pfnbuf_vm_get_fd(s->c.vm),
					CONVERSIONS_GPA + p * UINT64_C(4096), is_private(s, p),
					words, HISTORY_PAGE),
		 0);
}

static void expect_zero(const struct stage *s, uint32_t p)
{
	static const uint32_t zero[HISTORY_WORDS];
	uint32_t words[HISTORY_WORDS];

	guest_read(s, p, words);
	check_bytes(words, zero, HISTORY_PAGE);
}

static void expect_pattern(uint32_t p, uint32_t since, const uint32_t words[HISTORY_WORDS])
{
	for (uint32_t i = 0; i < HISTORY_WORDS; i++)
		check_eq(words[i], history_word(p, since, i));
}

/* Every path to a page: the guest's either way, the VMM's, a device's. */
static void check_page(const struct stage *s, uint32_t p)
{
	const struct history_page *page = &s->c.history.pages[p];
	const uint64_t gpa = CONVERSIONS_GPA + p * UINT64_C(4096);
	const uint64_t iova = CONVERSIONS_IOVA + p * UINT64_C(4096);
	const bool shared = page->kind == HISTORY_SHARED;
	const int vm = pfnbuf_vm_get_fd(s->c.vm);
	uint32_t words[HISTORY_WORDS];

	for (int as_private = 0; as_private < 2; as_private++) {
		const int r =
			pfnbuf_sim_guest_read(s->sim, vm, gpa, as_private, words, HISTORY_PAGE);

		if (page->kind == HISTORY_HOLE)
			check(r == -ENXIO || r == -EFAULT);
		else
			check_eq(r, as_private == !shared ? 0 : -EFAULT);
		if (!r)
			expect_pattern(p, page->since, words);
	}
	check_eq(pfnbuf_sim_dma_read(s->sim, BDF, iova, words, HISTORY_PAGE, NULL),
		 shared ? 0 : -EFAULT);
	if (shared) {
		expect_pattern(p, page->since, words);
		memcpy(words, s->c.shared + p * UINT64_C(4096), HISTORY_PAGE);
		expect_pattern(p, page->since, words);
	}
}

static void make_step(struct stage *s)
{
	struct history ahead = s->c.history;
	const struct history_step step = history_next(&ahead);
	const uint64_t args[4] = {
		CONVERSIONS_GPA + step.first * UINT64_C(4096) - HISTORY_MARGIN * UINT64_C(4096),
		step.pages,
		step.to_private ? KVM_MAP_GPA_RANGE_ENCRYPTED : 0,
	};

	check_eq(conversions_hypercall(&s->c, KVM_HC_MAP_GPA_RANGE, args), 0);
	for (uint32_t p = 0; p < HISTORY_PAGES; p++) {
		if (!history_covers(&step, p))
			continue;
		if (history_convert(&ahead, &step, p)) {
			expect_zero(s, p);
			fill(s, p);
		}
		check_page(s, p);
	}
}

static void check_all(struct stage *s)
{
	const char *what = "";

	for (uint32_t p = 0; p < HISTORY_PAGES; p++)
		check_page(s, p);
	if (pfnbuf_sim_alias(s->sim, &what))
		printf("# %s\n", what);
	check_eq(pfnbuf_sim_alias(s->sim, NULL), 0);
	conversions_check_ledger(&s->c);
}

void conversions_simulate(enum backing backing, uint32_t seed, uint32_t steps, uint32_t every,
			  uint64_t granule, struct record *record)
{
	struct stage s;

	stage_open(&s, backing, seed, granule);
	for (uint32_t p = 0; p < HISTORY_PAGES; p++)
		if (s.c.history.pages[p].kind != HISTORY_HOLE)
			fill(&s, p);
	check_all(&s);
	while (s.c.history.steps < steps) {
		make_step(&s);
		if (s.c.history.steps % every == 0)
			check_all(&s);
	}
	*record = s.c.record;
	stage_close(&s);
}
