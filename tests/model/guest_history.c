/* SPDX-License-Identifier: MIT */
/*
 * Random histories of a guest whose memory is shared and private, against a naive model: what every
 * page is, and what it holds. After each step every page is asked for through the device, and
 * through the guest as shared and as private; some steps have a call of theirs fail.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "histories.h"
#include "rig.h"

#define GPA	      UINT64_C(0xc0000000)
#define IOVA	      UINT64_C(0x40000000)
#define WINDOWS	      3
#define MAX_PAGES     24
#define SPACING	      64
#define DEFAULT_STEPS 40000

struct page {
	enum pfnbuf_vis vis;
	uint64_t value[PFNBUF_VIS_COUNT];   /* as shared, and as private */
	bool maybe_empty[PFNBUF_VIS_COUNT]; /* it was to be given back, and perhaps was not */
};

struct model {
	struct pfnbuf_window *w; /* NULL: none */
	struct pfnbuf_buf *memfd;
	struct pfnbuf_buf *guest_memfd;
	char *anonymous;
	bool in_place;
	bool suspended;
	uint64_t n;
	uint64_t gpa;
	uint64_t iova;
	struct page pages[MAX_PAGES];
};

struct world {
	struct rig rig;
	struct model windows[WINDOWS];
	uint64_t random;
};

static uint64_t draw(struct world *world, uint64_t below)
{
	return draw_below(&world->random, below);
}

/* ---------------------------------------------------------------- the judge ----------------- */

static int64_t read_device(struct world *world, const struct model *m, uint64_t p)
{
	return rig_dma(&world->rig, m->iova + p * PAGE);
}

/* What is hidden and may have been given back shows itself now. */
static void settle_value(struct world *world, struct model *m, uint64_t p)
{
	struct page *page = &m->pages[p];
	int64_t is;

	if (!page->maybe_empty[page->vis] || m->suspended || page->vis == PFNBUF_HOLE)
		return;
	is = page->vis == PFNBUF_SHARED ? rig_guest(&world->rig, m->gpa + p * PAGE)
					: rig_guest_private(&world->rig, m->gpa + p * PAGE);
	REQUIRE(is == 0 || is == (int64_t)page->value[page->vis]);
	page->value[page->vis] = (uint64_t)is;
	page->maybe_empty[page->vis] = false;
}

/* A page that was converted in place, and back because something else failed, may hold nothing. */
static void forget_contents(struct world *world)
{
	for (int i = 0; i < WINDOWS; i++) {
		struct model *m = &world->windows[i];

		for (uint64_t p = 0; m->w && m->in_place && p < m->n; p++) {
			m->pages[p].maybe_empty[m->pages[p].vis] = true;
			settle_value(world, m, p);
		}
	}
}

static void judge_page(struct world *world, const struct model *m, uint64_t p)
{
	const struct page *page = &m->pages[p];
	const uint64_t gpa = m->gpa + p * PAGE;
	const bool placed = !m->suspended && page->vis != PFNBUF_HOLE;
	const bool shared = placed && page->vis == PFNBUF_SHARED;
	const int64_t value = (int64_t)page->value[page->vis];

	REQUIRE(read_device(world, m, p) == (shared ? value : -EFAULT));
	REQUIRE(rig_guest(&world->rig, gpa) == (shared ? value : placed ? -EFAULT : -ENXIO));
	if (placed)
		REQUIRE(rig_guest_private(&world->rig, gpa) == (shared ? -EFAULT : value));
	else
		REQUIRE(rig_guest_private(&world->rig, gpa) < 0);
}

static void judge(struct world *world)
{
	struct pfnbuf_window_info info;

	for (int i = 0; i < WINDOWS; i++) {
		struct model *m = &world->windows[i];

		for (uint64_t p = 0; m->w && p < m->n; p++)
			judge_page(world, m, p);
		if (!m->w)
			continue;
		pfnbuf_window_get_info(m->w, &info);
		REQUIRE(info.state ==
			(m->suspended ? PFNBUF_WINDOW_SUSPENDED : PFNBUF_WINDOW_LIVE));
		REQUIRE(info.gpa == m->gpa && info.iova == m->iova);
	}
	rig_check_alias(&world->rig);
}

/* ---------------------------------------------------------------- making -------------------- */

static void make_memory(struct world *world, struct model *m, int i, struct pfnbuf_ram *ram)
{
	unsigned flags = 0;

	m->in_place = world->rig.profile;
	if (m->in_place) {
		flags = PFNBUF_GUEST_MEMFD_MMAP | PFNBUF_GUEST_MEMFD_INIT_SHARED;
	} else if (i == 1) {
		m->anonymous = mmap(NULL, m->n * PAGE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		REQUIRE(m->anonymous != MAP_FAILED);
		ram->addr = m->anonymous;
	} else {
		m->memfd = rig_memfd(&world->rig, m->n + 3);
		ram->memfd = m->memfd;
		ram->offset = 3 * PAGE;
		for (uint64_t p = 0; p < m->n; p++)
			m->pages[p].value[PFNBUF_SHARED] = rig_tag(RIG_TAG_RAM, p + 3);
	}
	REQUIRE(pfnbuf_buf_new_guest_memfd(world->rig.vm, (m->n + 2) * PAGE, flags,
					   &m->guest_memfd) == 0);
	ram->guest_memfd = m->guest_memfd;
	ram->guest_memfd_offset = 2 * PAGE;
	ram->length = m->n * PAGE;
}

static uint64_t home(int i)
{
	return (uint64_t)i * SPACING * PAGE;
}

static void make(struct world *world, int i)
{
	struct model *m = &world->windows[i];
	struct pfnbuf_place place = {
		.size = sizeof(place),
		.vm = world->rig.vm,
		.gpa = GPA + home(i),
		.ioas = world->rig.ioas,
		.iova = IOVA + home(i),
		.granule = draw(world, 5) * PAGE,
	};
	struct pfnbuf_ram ram = { 0 };

	*m = (struct model){
		.n = 8 + draw(world, MAX_PAGES - 7),
		.gpa = place.gpa,
		.iova = place.iova,
	};
	make_memory(world, m, i, &ram);
	REQUIRE(pfnbuf_window_new_ram(world->rig.ctx, &ram, &place, &m->w) == 0);
}

static void end(struct model *m)
{
	pfnbuf_window_free(m->w);
	pfnbuf_buf_unref(m->memfd);
	pfnbuf_buf_unref(m->guest_memfd);
	if (m->anonymous)
		REQUIRE(munmap(m->anonymous, m->n * PAGE) == 0);
	*m = (struct model){ 0 };
}

/* ---------------------------------------------------------------- steps --------------------- */

/* @kept: giving back failed for one range or more. */
static void become(struct model *m, uint64_t p, enum pfnbuf_vis to, bool kept)
{
	struct page *page = &m->pages[p];
	const bool converted = page->vis != PFNBUF_HOLE && to != PFNBUF_HOLE && page->vis != to;
	const bool flips = (page->vis == PFNBUF_PRIVATE) != (to == PFNBUF_PRIVATE);

	if (m->in_place && flips)
		*page = (struct page){ 0 };
	if (!m->in_place && converted) {
		page->maybe_empty[page->vis] = kept;
		page->value[page->vis] = kept ? page->value[page->vis] : 0;
	}
	page->vis = to;
}

/* What a range of a window becomes; @as_asked: holes, too. */
static void becomes(struct world *world, struct model *m, uint64_t from, uint64_t n,
		    enum pfnbuf_vis to, bool as_asked, bool kept)
{
	for (uint64_t p = from; p < from + n; p++) {
		if (m->pages[p].vis == PFNBUF_HOLE && !as_asked)
			continue;
		become(m, p, to, kept);
		settle_value(world, m, p);
	}
}

static enum pfnbuf_vis draw_vis(struct world *world)
{
	return draw(world, 2) ? PFNBUF_SHARED : PFNBUF_PRIVATE;
}

/* Whether the library did it; it does unless a call was made to fail. */
static bool done(struct world *world, int r)
{
	REQUIRE(r == 0 || world->rig.failed);
	rig_count(&world->rig, NULL, 0);
	if (r < 0)
		forget_contents(world);
	return r >= 0;
}

static void set_range(struct world *world, struct model *m)
{
	const uint64_t from = draw(world, m->n), n = 1 + draw(world, m->n - from);
	const enum pfnbuf_vis to = (enum pfnbuf_vis)draw(world, PFNBUF_VIS_COUNT);
	const int r = pfnbuf_window_set_range(m->w, from * PAGE, n * PAGE, to);

	if (done(world, r))
		becomes(world, m, from, n, to, true, r > 0);
}

static void convert(struct world *world, struct model *m)
{
	struct pfnbuf_conversion list[6];
	const size_t nr = 1 + draw(world, 6);
	int r;

	for (size_t i = 0; i < nr; i++) {
		const uint64_t from = draw(world, m->n);

		list[i].offset = from * PAGE;
		list[i].length = (1 + draw(world, m->n - from)) * PAGE;
		list[i].to = draw_vis(world);
	}
	r = pfnbuf_window_convert_batch(m->w, list, nr);
	if (!done(world, r))
		return;
	/* Only what a page is in the end counts: what is there and back again loses nothing. */
	for (uint64_t p = 0; p < m->n; p++)
		for (size_t i = nr; i-- > 0;)
			if (p * PAGE - list[i].offset < list[i].length) {
				becomes(world, m, p, 1, list[i].to, false, r > 0);
				break;
			}
}

static void convert_guest(struct world *world)
{
	const uint64_t all = WINDOWS * SPACING * PAGE, from = draw(world, WINDOWS * SPACING);
	const struct pfnbuf_conversion c = {
		GPA + from * PAGE,
		(1 + draw(world, all / PAGE - from)) * PAGE,
		draw_vis(world),
	};
	const int r = pfnbuf_guest_convert(world->rig.vm, &c, 1);

	if (!done(world, r))
		return;
	for (int i = 0; i < WINDOWS; i++) {
		struct model *m = &world->windows[i];

		for (uint64_t p = 0; m->w && p < m->n; p++)
			if (m->gpa + p * PAGE - c.offset < c.length)
				becomes(world, m, p, 1, c.to, false, r > 0);
	}
}

static void move(struct world *world, struct model *m, int i)
{
	const uint64_t gpa = GPA + home(i) + draw(world, SPACING - MAX_PAGES) * PAGE;
	const uint64_t iova = IOVA + home(i) + draw(world, SPACING - MAX_PAGES) * PAGE;

	if (!done(world, pfnbuf_window_move(m->w, gpa, iova)))
		return;
	m->gpa = gpa;
	m->iova = iova;
}

static void suspend(struct world *world, struct model *m)
{
	const int r = m->suspended ? pfnbuf_window_resume(m->w) : pfnbuf_window_suspend(m->w);

	if (!done(world, r))
		return;
	m->suspended = !m->suspended;
	for (uint64_t p = 0; p < m->n; p++)
		settle_value(world, m, p);
}

static void write_page(struct world *world, struct model *m)
{
	const uint64_t p = draw(world, m->n), value = draw(world, UINT64_C(1) << 62);
	struct page *page = &m->pages[p];
	const uint64_t gpa = m->gpa + p * PAGE, iova = m->iova + p * PAGE;
	const int vm = pfnbuf_vm_get_fd(world->rig.vm);
	struct pfnbuf_sim *sim = world->rig.sim;

	if (m->suspended || page->vis == PFNBUF_HOLE)
		return;
	if (page->vis == PFNBUF_PRIVATE)
		REQUIRE(rig_guest_write_private(&world->rig, gpa, value) == 0);
	else if (draw(world, 2))
		REQUIRE(pfnbuf_sim_guest_write(sim, vm, gpa, false, &value, sizeof(value)) == 0);
	else
		REQUIRE(pfnbuf_sim_dma_write(sim, RIG_ENGINE, iova, &value, sizeof(value), NULL) ==
			0);
	page->value[page->vis] = value;
	if (m->in_place)
		page->value[PFNBUF_SHARED] = page->value[PFNBUF_PRIVATE] = value;
}

static void make_step(struct world *world)
{
	const int i = (int)draw(world, WINDOWS);
	struct model *m = &world->windows[i];

	if (!m->w) {
		make(world, i);
		return;
	}
	rig_count(&world->rig, NULL, 0);
	if (!draw(world, 3))
		rig_fail(&world->rig, 0, 1 + draw(world, 12), draw(world, 2) ? ENOMEM : EIO);
	switch (draw(world, 12)) {
	case 0:
		rig_count(&world->rig, NULL, 0);
		if (!draw(world, 3))
			end(m);
		break;
	case 1:
		move(world, m, i);
		break;
	case 2:
		suspend(world, m);
		break;
	case 3:
	case 4:
		set_range(world, m);
		break;
	case 5:
	case 6:
		convert_guest(world);
		break;
	case 7:
	case 8:
		rig_count(&world->rig, NULL, 0);
		write_page(world, m);
		break;
	case 9:
		rig_count(&world->rig, NULL, 0);
		REQUIRE(pfnbuf_window_verify(m->w, NULL) == 1);
		break;
	default:
		convert(world, m);
		break;
	}
	rig_count(&world->rig, NULL, 0);
}

static void run_history(void)
{
	static struct world world;

	world = (struct world){ .random = history_seed };
	world.rig.vm_type = PFNBUF_VM_SW_PROTECTED;
	world.rig.profile = history_seed % 2 ? NULL : "gmem-inplace8";
	rig_open(&world.rig);
	for (history_step = 0; history_step < HISTORY_LEN; history_step++) {
		make_step(&world);
		judge(&world);
	}
	for (int i = 0; i < WINDOWS; i++)
		end(&world.windows[i]);
	rig_check_clean(&world.rig);
	rig_close(&world.rig);
}

int main(void)
{
	const uint64_t n = run_histories(run_history, DEFAULT_STEPS);

	printf("%" PRIu64 " steps in %" PRIu64 " histories\n", n * HISTORY_LEN, n);
	return 0;
}
