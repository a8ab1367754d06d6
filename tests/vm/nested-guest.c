/* SPDX-License-Identifier: MIT */
/*
 * A guest that lives from conversions: it walks through a history (history.h), asks for each step by hypercall,
 * and holds every byte of its memory against what it should be. Memory that changes sides comes up zeroed;
 * it writes a pattern there. Memory that a step did not change keeps its bytes, whichever side it is on.
 */
#include "history.h"
#include "nested.h"

#define HC_MAP_GPA_RANGE 12
#define RANGE_ENCRYPTED	 (1u << 4)

static volatile struct nested_page *const page = (volatile struct nested_page *)NESTED_PAGE;
static struct history history;

static void out(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "d"(port) : "memory");
}

/* Documentation/virt/kvm/x86/hypercalls.rst: KVM_HC_MAP_GPA_RANGE. */
static uint32_t map_gpa_range(uint32_t gpa, uint32_t pages, uint32_t attributes)
{
	uint32_t ret;

	if (page->vmmcall)
		__asm__ volatile("vmmcall"
				 : "=a"(ret)
				 : "a"(HC_MAP_GPA_RANGE), "b"(gpa), "c"(pages), "d"(attributes),
				   "S"(0)
				 : "memory");
	else
		__asm__ volatile("vmcall"
				 : "=a"(ret)
				 : "a"(HC_MAP_GPA_RANGE), "b"(gpa), "c"(pages), "d"(attributes),
				   "S"(0)
				 : "memory");
	return ret;
}

static volatile uint32_t *words(uint32_t p)
{
	return (volatile uint32_t *)(page->window + p * HISTORY_PAGE);
}

static void fault(uint32_t p, uint32_t i, uint32_t got, uint32_t want)
{
	if (!page->faults++)
		page->first = (struct nested_fault){ page->step, p, i, got, want };
}

static bool is_in_flight(uint32_t p, uint32_t i)
{
	return p == page->edu && history.pages[p].kind == HISTORY_SHARED && i >= NESTED_CELL_EDU &&
	       i < NESTED_CELL_EDU + NESTED_EDU_WORDS;
}

static void expect_bits(uint32_t p, uint32_t i, uint32_t want, uint32_t mask)
{
	const uint32_t got = words(p)[i] & mask;

	page->bytes += sizeof(got);
	if (got != (want & mask) && !is_in_flight(p, i))
		fault(p, i, got, want & mask);
}

static void expect(uint32_t p, uint32_t i, uint32_t want)
{
	expect_bits(p, i, want, 0xffffffff);
}

static void fill(uint32_t p)
{
	for (uint32_t i = 0; i < HISTORY_WORDS; i++)
		words(p)[i] = history_word(p, history.pages[p].since, i);
}

static void expect_zero(uint32_t p)
{
	for (uint32_t i = 0; i < HISTORY_WORDS; i++)
		expect(p, i, 0);
}

static void expect_pattern(uint32_t p)
{
	for (uint32_t i = 0; i < HISTORY_WORDS; i++)
		expect(p, i, history_word(p, history.pages[p].since, i));
}

static void make_step(void)
{
	const struct history_step step = history_next(&history);
	const uint32_t gpa = page->window + (step.first - HISTORY_MARGIN) * HISTORY_PAGE;

	page->step = history.steps;
	if (map_gpa_range(gpa, step.pages, step.to_private ? RANGE_ENCRYPTED : 0))
		page->refused++;
	for (uint32_t p = 0; p < HISTORY_PAGES; p++) {
		if (!history_covers(&step, p) || history.pages[p].kind == HISTORY_HOLE)
			continue;
		if (history_convert(&history, &step, p)) {
			expect_zero(p);
			fill(p);
		} else {
			expect_pattern(p);
		}
	}
}

/* What the VMM and the devices have just written is in shared memory, and only there. */
static void expect_after_writes(uint32_t p, uint32_t i)
{
	const bool shared = history.pages[p].kind == HISTORY_SHARED;

	if (shared && i == NESTED_CELL_DMA)
		expect_bits(p, i, page->dma[0], NESTED_DMA_MASK_0);
	else if (shared && i == NESTED_CELL_DMA + 1)
		expect_bits(p, i, page->dma[1], NESTED_DMA_MASK_1);
	else if (shared && i == NESTED_CELL_HOST)
		expect(p, i, page->host);
	else
		expect(p, i, history_word(p, history.pages[p].since, i));
}

/* Nobody is at home in a hole: the access exits, and what the VMM answers comes from no memory. */
static void expect_hole(uint32_t p)
{
	const uint32_t got = words(p)[p];

	page->holes++;
	if (got != ~p)
		fault(p, p, got, ~p);
}

static void check_all(void)
{
	out(NESTED_PORT_CHECK, history.steps);
	for (uint32_t p = 0; p < HISTORY_PAGES; p++) {
		if (history.pages[p].kind == HISTORY_HOLE) {
			expect_hole(p);
			continue;
		}
		for (uint32_t i = 0; i < HISTORY_WORDS; i++)
			expect_after_writes(p, i);
		fill(p);
	}
	out(NESTED_PORT_CHECKED, history.steps);
}

/* The whole memory is new, and reads as zero. */
static void start(void)
{
	history_start(&history, page->seed);
	for (uint32_t p = 0; p < HISTORY_PAGES; p++) {
		if (history.pages[p].kind == HISTORY_HOLE)
			continue;
		if (page->all_shared)
			history.pages[p].kind = HISTORY_SHARED;
		expect_zero(p);
		fill(p);
	}
}

void _start(void);
void _start(void)
{
	start();
	check_all();
	while (history.steps < page->steps) {
		make_step();
		if (history.steps % page->every == 0)
			check_all();
	}
	out(NESTED_PORT_DONE, page->faults + page->refused);
	for (;;)
		__asm__ volatile("hlt");
}
