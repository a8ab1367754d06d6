/* SPDX-License-Identifier: MIT */
/*
 * Random histories of windows against a naive model of what they should reach: an array entry per
 * page. After each step the kernel's data plane is asked about every page, for a device
 * and for the guest, and the library about its ledger.
 *
 *	window_history [--seconds N | --steps N] [--seed N|random]
 *
 * or, where there is no command line, PFNBUF_HISTORY_SECONDS, _STEPS and _SEED. Each history has a
 * seed, one more than the one before it; the first is always the same unless another is asked for.
 * Over which kernel it runs is a matter of the rig that it is linked with.
 *
 * A history that fails is shrunk to the steps that are needed, and printed with its seed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libpfnbuf/uapi/pci.h"
#include "rig.h"

#define GPA	     UINT64_C(0xc0000000)
#define IOVA	     UINT64_C(0x40000000)
#define WINDOWS	     5
#define EVERY_WINDOW ((1U << WINDOWS) - 1)
#define MAX_PAGES    32
#define SPACING	     64 /* pages from one window's place to the next one's */
#define HISTORY_LEN  120

/* Each run of it is the same, however fast the machine. */
#define FIRST_SEED 1
#ifndef HISTORY_STEPS
#define HISTORY_STEPS 100000
#endif
/* In seconds: hundreds of histories take one in the simulator, and some take one on a real kernel. */
#define TOO_LONG    60
#define SHRINK_TIME 120
/*
 * How many steps go by until all windows are judged, and not only those that a step was for: on a
 * real kernel to ask takes its time.
 */
#ifndef JUDGE_ALL
#define JUDGE_ALL 1
#endif

enum kind {
	NEW,
	FREE,
	SET_LAYOUT,
	CONVERT,
	MOVE,
	SUSPEND,
	RESET,
	DECODE,
	D3,
	FOREIGN_RESET,
	UNSEEN_RESET,
	BRACKET,
	HOT_RESET,
	LOW_POWER,
	RESTORE_DEVICE,
	RESTORE_WINDOW,
	UNPLUG,
	VERIFY,
	STALE_PLAN,
	NR_KINDS,
};

static const struct {
	const char *name;
	unsigned weight;
} kinds[NR_KINDS] = {
	[NEW] = { "new", 8 },
	[FREE] = { "free", 2 },
	[SET_LAYOUT] = { "set_layout", 12 },
	[CONVERT] = { "convert", 24 },
	[MOVE] = { "move", 8 },
	[SUSPEND] = { "suspend or resume", 4 },
	[RESET] = { "reset", 4 },
	[DECODE] = { "decode off or on", 5 },
	[D3] = { "D3hot or D0", 4 },
	[FOREIGN_RESET] = { "announced foreign reset", 2 },
	[UNSEEN_RESET] = { "foreign reset", 2 },
	[BRACKET] = { "bracket", 2 },
	[HOT_RESET] = { "hot reset", 2 },
	[LOW_POWER] = { "low power in or out", 3 },
	[RESTORE_DEVICE] = { "restore device", 10 },
	[RESTORE_WINDOW] = { "restore window", 5 },
	[UNPLUG] = { "unplug and plug", 1 },
	[VERIFY] = { "verify", 2 },
	[STALE_PLAN] = { "stale plan", 2 },
};

/* A step of a history. What its numbers mean depends on the state; any step fits any state. */
struct step {
	enum kind kind;
	uint32_t r[4];
	uint8_t fail_at; /* fail this call of it, from 1 */
	uint8_t fail_with;
};

/* What a window should be. */
struct model {
	struct pfnbuf_window *w; /* NULL: none */
	int device;		 /* 0: card, 1: other; -1: RAM */
	bool withdraws;
	uint64_t what; /* the tag of its page 0 */
	uint64_t pages;
	uint64_t granule; /* in pages; 0: none */
	uint64_t gpa;
	uint64_t iova;
	bool suspended;
	bool withdrawn;
	bool dead;
	bool shared[MAX_PAGES];
	bool cut[MAX_PAGES];   /* here a stretch of a sparse BAR begins */
	bool works[MAX_PAGES]; /* the page's area does */
	bool known[MAX_PAGES]; /* the library can know that it does, or does not */
};

struct world {
	struct rig rig;
	struct model windows[WINDOWS];
	bool low_power[2];
};

/* ---------------------------------------------------------------- the model ----------------- */

static struct pfnbuf_device **device_of(struct world *world, int i)
{
	return i ? &world->rig.other : &world->rig.card;
}

static bool memory_is_on(struct world *world, int i)
{
	struct pfnbuf_device_info info;

	if (i < 0)
		return true;
	REQUIRE(pfnbuf_device_get_info(*device_of(world, i), &info) == 0);
	return info.memory_enabled && !info.low_power;
}

/* The end of the piece that begins at page @p, which is shared. */
static uint64_t piece_end(const struct model *m, const bool *shared, uint64_t granule, uint64_t p)
{
	uint64_t end = p + 1;

	while (end < m->pages && shared[end] && !m->cut[end] && (!granule || end % granule))
		end++;
	return end;
}

static bool is_piece(const struct model *m, const bool *shared, uint64_t granule, uint64_t p,
		     uint64_t end)
{
	const bool begins =
		shared[p] && (!p || !shared[p - 1] || m->cut[p] || (granule && p % granule == 0));

	return begins && piece_end(m, shared, granule, p) == end;
}

static uint64_t next_piece(const struct model *m, const bool *shared, uint64_t p)
{
	while (p < m->pages && !shared[p])
		p++;
	return p;
}

/*
 * What is placed becomes @to: what is a piece of both stays as it is, what is new works if it can.
 */
static void place(struct model *m, const bool *from, const bool *to, bool works)
{
	for (uint64_t p = next_piece(m, to, 0), end; p < m->pages; p = next_piece(m, to, end)) {
		end = piece_end(m, to, m->granule, p);
		if (is_piece(m, from, m->granule, p, end))
			continue;
		for (uint64_t i = p; i < end; i++)
			m->works[i] = m->known[i] = works;
	}
}

static const bool nothing[MAX_PAGES];

static const bool *placed(const struct model *m)
{
	return m->suspended ? nothing : m->shared;
}

static void count_pieces(const struct model *m, struct pfnbuf_window_info *info)
{
	const bool *shared = placed(m);

	for (uint64_t p = next_piece(m, shared, 0), end; p < m->pages;
	     p = next_piece(m, shared, end)) {
		end = piece_end(m, shared, m->granule, p);
		info->areas++;
		info->dead_areas += !m->known[p] || m->dead;
	}
	for (uint64_t p = next_piece(m, shared, 0), end; !m->dead && p < m->pages;
	     p = next_piece(m, shared, end)) {
		end = piece_end(m, shared, 0, p);
		info->slots++;
	}
}

/* ---------------------------------------------------------------- the judge ----------------- */

static void judge_window(struct world *world, const struct model *m)
{
	struct pfnbuf_window_info info, expected = { 0 };
	const bool on = m->dead || memory_is_on(world, m->device);
	enum pfnbuf_window_state state = PFNBUF_WINDOW_LIVE;

	for (uint64_t p = 0; p < m->pages; p++) {
		const int64_t tag = (int64_t)rig_tag(m->what, p);
		const bool shared = placed(m)[p] && !m->dead;
		const int64_t dma = shared && m->works[p] ? tag : -EFAULT;
		const int64_t guest = !shared || m->withdrawn ? -ENXIO : on ? tag : -EFAULT;

		REQUIRE(rig_dma(&world->rig, m->iova + p * PAGE) == dma);
		REQUIRE(rig_guest(&world->rig, m->gpa + p * PAGE) == guest);
	}
	pfnbuf_window_get_info(m->w, &info);
	count_pieces(m, &expected);
	if (m->dead)
		state = PFNBUF_WINDOW_DEAD;
	else if (m->suspended || m->withdrawn || !on || expected.dead_areas)
		state = PFNBUF_WINDOW_SUSPENDED;
	REQUIRE(info.areas == expected.areas);
	REQUIRE(info.dead_areas == expected.dead_areas);
	REQUIRE(m->dead || info.slots == expected.slots);
	REQUIRE(info.state == state);
	REQUIRE(info.gpa == m->gpa && info.iova == m->iova);
}

/* Those windows for which bit i of @which is set. */
static void judge(struct world *world, unsigned which)
{
	for (int i = 0; i < WINDOWS; i++)
		if (world->windows[i].w && which >> i & 1)
			judge_window(world, &world->windows[i]);
	rig_check_alias(&world->rig);
}

/* ---------------------------------------------------------------- steps on windows ---------- */

static uint64_t home(int i)
{
	return (uint64_t)i * SPACING * PAGE;
}

static void find_cuts(const struct rig *rig, struct model *m, const struct pfnbuf_range *part)
{
	for (uint32_t i = 0; i < rig->nr_sparse; i++) {
		const uint64_t at = rig->sparse[i].offset;

		if (at > part->offset && at < part->offset + part->length)
			m->cut[(at - part->offset) / PAGE] = true;
	}
}

static void make(struct world *world, int i, const struct step *s)
{
	struct model *m = &world->windows[i];
	struct pfnbuf_place at = {
		.size = sizeof(at),
		.vm = world->rig.vm,
		.gpa = GPA + home(i),
		.ioas = world->rig.ioas,
		.iova = IOVA + home(i),
	};
	const struct pfnbuf_range part = { s->r[1] % 8 * PAGE, (8 + s->r[2] % 16) * PAGE };

	*m = (struct model){ .device = i < 2	? 0
				       : i == 2 ? 1
						: -1,
			     .gpa = at.gpa,
			     .iova = at.iova };
	if (m->device >= 0) {
		m->withdraws = s->r[3] & 1;
		m->withdrawn = m->withdraws && !memory_is_on(world, m->device);
		m->what = (m->device ? RIG_TAG_OTHER : RIG_TAG_CARD) + part.offset / PAGE;
		m->pages = part.length / PAGE;
		find_cuts(&world->rig, m, &part);
		at.flags = m->withdraws ? PFNBUF_PLACE_WITHDRAW_SLOTS : 0;
		REQUIRE(pfnbuf_window_new_bar(*device_of(world, m->device), world->rig.bar, &part,
					      &at, &m->w) == 0);
	} else {
		struct pfnbuf_ram ram = { .offset = 4 * PAGE };

		m->what = RIG_TAG_RAM + 4;
		m->pages = part.length / PAGE;
		m->granule = s->r[3] % 5;
		at.granule = m->granule * PAGE;
		ram.memfd = rig_memfd(&world->rig, MAX_PAGES);
		ram.length = part.length;
		REQUIRE(pfnbuf_window_new_ram(world->rig.ctx, &ram, &at, &m->w) == 0);
		pfnbuf_buf_unref(ram.memfd);
	}
}

/*
 * Dead areas that a plan unmapped before it failed are imported anew on the way back, if the memory
 * is on: better than before. The ledger says which; the judge will see whether it is right.
 */
static void find_revived(struct world *world, struct model *m)
{
	for (uint64_t p = 0; p < m->pages; p++) {
		struct pfnbuf_area area;

		if (!placed(m)[p])
			continue;
		/*
		 * Of an area that died unseen not even the ledger can say whether it was imported
		 * anew.
		 */
		if (m->known[p] && !m->works[p])
			m->works[p] = rig_dma(&world->rig, m->iova + p * PAGE) >= 0;
		if (m->known[p])
			continue;
		REQUIRE(pfnbuf_ioas_next_area(world->rig.ioas, m->iova + p * PAGE, &area));
		m->works[p] |= !area.dead;
		m->known[p] = !area.dead;
	}
}

/* The library did it, unless a call was made to fail. */
static bool done(struct world *world, struct model *m, int r)
{
	REQUIRE(r == 0 || (r < 0 && world->rig.failed));
	rig_count(&world->rig, NULL, 0);
	if (r < 0)
		find_revived(world, m);
	return r == 0;
}

static void change(struct world *world, struct model *m, const struct step *s)
{
	bool to[MAX_PAGES];
	int r;

	memcpy(to, m->shared, sizeof(to));
	if (s->kind == CONVERT) {
		const uint64_t from = s->r[1] % m->pages;
		const uint64_t n = 1 + s->r[2] % (m->pages - from);

		for (uint64_t p = from; p < from + n; p++)
			to[p] = s->r[3] & 1;
		r = pfnbuf_window_set_range(m->w, from * PAGE, n * PAGE,
					    s->r[3] & 1 ? PFNBUF_SHARED : PFNBUF_HOLE);
	} else {
		char picture[MAX_PAGES + 1] = "";
		struct pfnbuf_layout *layout;

		for (uint64_t p = 0; p < m->pages; p++) {
			/* Runs of some length: two random bits for each page would be all edges. */
			to[p] = s->r[1 + (p & 1)] >> (p / 2) & 1;
			picture[p] = to[p] ? 's' : '.';
		}
		layout = rig_layout(picture);
		r = pfnbuf_window_set_layout(m->w, layout);
		pfnbuf_layout_free(layout);
	}
	if (!done(world, m, r))
		return;
	if (!m->suspended)
		place(m, m->shared, to, memory_is_on(world, m->device));
	memcpy(m->shared, to, sizeof(to));
}

static void move(struct world *world, struct model *m, int i, const struct step *s)
{
	const uint64_t gpa = GPA + home(i) + s->r[1] % 32 * PAGE;
	const uint64_t iova = IOVA + home(i) + s->r[2] % 32 * PAGE;

	if (!done(world, m, pfnbuf_window_move(m->w, gpa, iova)))
		return;
	if (iova != m->iova && !m->suspended)
		place(m, nothing, m->shared, memory_is_on(world, m->device));
	m->gpa = gpa;
	m->iova = iova;
}

static void suspend(struct world *world, struct model *m)
{
	const int r = m->suspended ? pfnbuf_window_resume(m->w) : pfnbuf_window_suspend(m->w);

	if (!done(world, m, r))
		return;
	m->suspended = !m->suspended;
	if (!m->suspended)
		place(m, nothing, m->shared, memory_is_on(world, m->device));
}

static void restored(struct model *m)
{
	for (uint64_t p = 0; p < m->pages; p++)
		if (!m->known[p])
			m->works[p] = m->known[p] = true;
	m->withdrawn = false;
}

static void restore_window(struct world *world, struct model *m)
{
	const bool on = memory_is_on(world, m->device);

	REQUIRE(pfnbuf_window_restore(m->w) == (on ? 0 : -ENODEV));
	if (on)
		restored(m);
}

static void stale_plan(struct world *world, struct model *m, const struct step *s)
{
	struct pfnbuf_layout *layout;
	struct pfnbuf_plan *plan;

	(void)world;
	REQUIRE(pfnbuf_window_get_layout(m->w, &layout) == 0);
	REQUIRE(pfnbuf_window_plan(m->w, layout, &plan) == 0);
	REQUIRE(pfnbuf_plan_get_nr_steps(plan) == 0);
	change(world, m, s);
	REQUIRE(pfnbuf_window_apply(m->w, plan) == -ESTALE);
	pfnbuf_plan_free(plan);
	pfnbuf_layout_free(layout);
}

static void step_on_window(struct world *world, const struct step *s)
{
	const int i = (int)(s->r[0] % WINDOWS);
	struct model *m = &world->windows[i];

	if (!m->w) {
		if (i > 2 || !world->low_power[i == 2])
			make(world, i, s);
		return;
	}
	if (s->kind == FREE || (m->dead && s->kind == NEW)) {
		m->w = pfnbuf_window_free(m->w);
		return;
	}
	if (m->dead) {
		REQUIRE(pfnbuf_window_set_range(m->w, 0, PAGE, PFNBUF_SHARED) == -ENODEV);
		return;
	}
	rig_count(&world->rig, NULL, 0);
	if (s->fail_at && s->kind != STALE_PLAN && s->kind != RESTORE_WINDOW && s->kind != VERIFY)
		rig_fail(&world->rig, 0, s->fail_at, s->fail_with & 1 ? ENOMEM : EINVAL);
	switch (s->kind) {
	case MOVE:
		move(world, m, i, s);
		break;
	case SUSPEND:
		suspend(world, m);
		break;
	case RESTORE_WINDOW:
		restore_window(world, m);
		break;
	case VERIFY:
		REQUIRE(pfnbuf_window_verify(m->w, NULL) == 1);
		break;
	case STALE_PLAN:
		stale_plan(world, m, s);
		break;
	default:
		change(world, m, s);
		break;
	}
	rig_count(&world->rig, NULL, 0);
}

/* ---------------------------------------------------------------- steps on devices ---------- */

/* @seen: the library knows. @real: it happened. */
static void revoked(struct world *world, int device, bool seen, bool real)
{
	for (int i = 0; i < WINDOWS; i++) {
		struct model *m = &world->windows[i];

		if (!m->w || m->device != device || m->dead)
			continue;
		for (uint64_t p = 0; p < m->pages; p++) {
			m->known[p] &= !seen;
			m->works[p] &= !real;
		}
		m->withdrawn |= seen && m->withdraws;
	}
}

/* Where the power management capability is; 0: there is none. */
static uint8_t find_pm(struct pfnbuf_device *device)
{
	uint8_t config[256], at;

	REQUIRE(pfnbuf_device_config_read(device, 0, config, sizeof(config)) == 0);
	for (at = config[PCI_CAPABILITY_LIST]; at && config[at] != PCI_CAP_ID_PM;
	     at = config[at + 1])
		;
	return at;
}

static void write_power(struct pfnbuf_device *device, uint8_t state)
{
	REQUIRE(pfnbuf_device_config_write(device, find_pm(device) + PCI_PM_CTRL, &state, 1) == 0);
}

static bool is_in_d3(struct pfnbuf_device *device)
{
	const uint8_t at = find_pm(device);
	uint8_t control;

	if (!at)
		return false;
	REQUIRE(pfnbuf_device_config_read(device, at + PCI_PM_CTRL, &control, 1) == 0);
	return (control & PCI_PM_CTRL_STATE_MASK) == 3;
}

static bool can_reset(struct pfnbuf_device *device)
{
	struct pfnbuf_device_info info;

	REQUIRE(pfnbuf_device_get_info(device, &info) == 0);
	return info.can_reset;
}

static bool decodes(struct pfnbuf_device *device)
{
	uint8_t command;

	REQUIRE(pfnbuf_device_config_read(device, PCI_COMMAND, &command, 1) == 0);
	return command & PCI_COMMAND_MEMORY;
}

static void bracket(struct world *world, int i, bool reset)
{
	struct pfnbuf_device *device = *device_of(world, i);

	REQUIRE(pfnbuf_device_revoke_begin(device, PFNBUF_CAUSE_FOREIGN) == 0);
	if (reset)
		rig_foreign_reset(&world->rig, i);
	REQUIRE(pfnbuf_device_revoke_end(device) == 0);
	revoked(world, i, true, reset);
}

static void low_power(struct world *world, int i)
{
	struct pfnbuf_device *device = *device_of(world, i);

	if (world->low_power[i]) {
		REQUIRE(pfnbuf_device_low_power_exit(device) == 0);
	} else {
		REQUIRE(pfnbuf_device_low_power_enter(device, -1) == 0);
		/* Entering again revokes, and fails. */
		REQUIRE(pfnbuf_device_low_power_enter(device, -1) == -EINVAL);
		revoked(world, i, true, true);
	}
	world->low_power[i] = !world->low_power[i];
}

static void restore_device(struct world *world, int i)
{
	const bool on = memory_is_on(world, i);

	REQUIRE(pfnbuf_device_restore(*device_of(world, i)) == (on ? 0 : -ENODEV));
	for (int k = 0; on && k < WINDOWS; k++)
		if (world->windows[k].w && world->windows[k].device == i && !world->windows[k].dead)
			restored(&world->windows[k]);
}

static void unplug(struct world *world, int i)
{
	struct pfnbuf_device **device = device_of(world, i);

	rig_request_removal(&world->rig, i);
	*device = pfnbuf_device_close(*device);
	for (int k = 0; k < WINDOWS; k++)
		if (world->windows[k].w && world->windows[k].device == i)
			world->windows[k].dead = true;
	judge(world, EVERY_WINDOW);
	rig_open_devices(&world->rig);
	world->low_power[i] = false;
}

static void step_on_device(struct world *world, const struct step *s)
{
	const int i = s->r[0] & 1;
	struct pfnbuf_device *device = *device_of(world, i);
	bool on;

	/* Most calls wake a device from low power for a moment, which is a story of its own. */
	if (world->low_power[i] && s->kind != LOW_POWER && s->kind != UNPLUG &&
	    s->kind != RESTORE_DEVICE)
		return;
	switch (s->kind) {
	case RESET:
		if (!can_reset(device))
			return;
		REQUIRE(pfnbuf_device_reset(device) == 0);
		revoked(world, i, true, true);
		break;
	case DECODE:
		on = decodes(device);
		REQUIRE(pfnbuf_device_set_memory_decode(device, !on) == 0);
		if (on)
			revoked(world, i, true, true);
		break;
	case D3:
		if (!find_pm(device))
			return;
		on = !is_in_d3(device);
		write_power(device, on ? 3 : 0);
		if (on)
			revoked(world, i, true, true);
		break;
	case FOREIGN_RESET:
		bracket(world, i, true);
		break;
	case BRACKET:
		bracket(world, i, false);
		break;
	case UNSEEN_RESET:
		/* It would leave D3hot, and the library could not know that its memory is on. */
		if (is_in_d3(device))
			return;
		rig_foreign_reset(&world->rig, i);
		revoked(world, i, false, true);
		break;
	case HOT_RESET:
		if (world->low_power[!i])
			return;
		REQUIRE(pfnbuf_device_hot_reset(device) == 0);
		revoked(world, 0, true, true);
		revoked(world, 1, true, true);
		break;
	case LOW_POWER:
		low_power(world, i);
		break;
	case RESTORE_DEVICE:
		restore_device(world, i);
		break;
	default:
		unplug(world, i);
		break;
	}
}

static bool is_device_step(const struct step *s)
{
	return (s->kind >= RESET && s->kind <= RESTORE_DEVICE) || s->kind == UNPLUG;
}

/* The windows that a step can have changed. */
static unsigned reached_by(const struct step *s)
{
	if (!is_device_step(s))
		return 1U << s->r[0] % WINDOWS;
	if (s->kind == HOT_RESET)
		return 1U << 0 | 1U << 1 | 1U << 2;
	return s->r[0] & 1 ? 1U << 2 : 1U << 0 | 1U << 1;
}

static void end_world(struct world *world)
{
	for (int i = 0; i < WINDOWS; i++)
		world->windows[i].w = pfnbuf_window_free(world->windows[i].w);
	rig_check_clean(&world->rig);
	rig_close(&world->rig);
	free(world);
}

static unsigned variant; /* of the history's machine */

static void run(const struct step *steps, size_t n)
{
	struct world *world = calloc(1, sizeof(*world));

	world->rig.variant = variant;
	rig_open(&world->rig);
	for (size_t i = 0; i < n; i++) {
		const bool all = i % JUDGE_ALL == 0 || i == n - 1;

		if (is_device_step(&steps[i]))
			step_on_device(world, &steps[i]);
		else
			step_on_window(world, &steps[i]);
		judge(world, all ? EVERY_WINDOW : reached_by(&steps[i]));
	}
	end_world(world);
}

/* ---------------------------------------------------------------- histories ----------------- */

static uint64_t random_state;

/* splitmix64 */
static uint64_t random_u64(void)
{
	uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static enum kind random_kind(void)
{
	unsigned total = 0, at;
	int k;

	for (k = 0; k < NR_KINDS; k++)
		total += kinds[k].weight;
	at = (unsigned)(random_u64() % total);
	for (k = 0; at >= kinds[k].weight; k++)
		at -= kinds[k].weight;
	return (enum kind)k;
}

static void make_history(uint64_t seed, struct step *steps)
{
	random_state = seed;
	variant = (unsigned)(seed % 3);
	for (size_t i = 0; i < HISTORY_LEN; i++) {
		steps[i] = (struct step){ .kind = random_kind() };
		for (int k = 0; k < 4; k++)
			steps[i].r[k] = (uint32_t)(random_u64() >> 32);
		if (random_u64() % 8 == 0)
			steps[i].fail_at = (uint8_t)(1 + random_u64() % 8);
		steps[i].fail_with = (uint8_t)random_u64();
	}
}

/* Seeds of histories that failed once. */
static const uint64_t failed_once[] = {
	UINT64_C(1882435030614931), /* the request for removal found the queue of events full */
};

/* Seconds for a history, and no more memory than a thousand of them would need. */
static void limit(unsigned seconds)
{
	alarm(seconds);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
	const struct rlimit memory = { UINT64_C(2) << 30, UINT64_C(2) << 30 };

	REQUIRE(setrlimit(RLIMIT_DATA, &memory) == 0);
#endif
}

/* Run in a child of its own: whether it went well. */
static bool survives(const struct step *steps, size_t n)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	REQUIRE(pid >= 0);
	if (!pid) {
		REQUIRE(freopen("/dev/null", "w", stderr));
		limit(TOO_LONG / 4);
		run(steps, n);
		_exit(0);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	return status == 0;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Leave out what is not needed, in ever smaller pieces, as long as there is time. */
static size_t shrink(struct step *steps, size_t n)
{
	const double until = now() + SHRINK_TIME;

	for (size_t chunk = n / 2; chunk; chunk = chunk > 1 ? chunk / 2 : 0) {
		for (size_t at = 0; at + chunk <= n && now() < until;) {
			struct step without[HISTORY_LEN];

			memcpy(without, steps, at * sizeof(*steps));
			memcpy(without + at, steps + at + chunk, (n - at - chunk) * sizeof(*steps));
			if (survives(without, n - chunk)) {
				at += chunk;
				continue;
			}
			n -= chunk;
			memcpy(steps, without, n * sizeof(*steps));
		}
	}
	return n;
}

static void report(uint64_t seed)
{
	struct step steps[HISTORY_LEN];
	size_t n;

	make_history(seed, steps);
	n = shrink(steps, HISTORY_LEN);
	fprintf(stderr, "the history of seed %" PRIu64 " fails; %zu steps are needed:\n", seed, n);
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, "\t%s %u %u %u %u, fail call %u\n", kinds[steps[i].kind].name,
			steps[i].r[0], steps[i].r[1], steps[i].r[2], steps[i].r[3],
			steps[i].fail_at);
	limit(TOO_LONG);
	run(steps, n);
}

/* What is asked for. */
struct wish {
	uint64_t seed;
	uint64_t steps;
	double seconds;
};

/* What the child that runs the histories has come to. */
struct progress {
	uint64_t seed;
	uint64_t histories;
};

static void run_history(struct progress *progress, uint64_t seed)
{
	struct step history[HISTORY_LEN];

	progress->seed = seed;
	make_history(seed, history);
	/* One that hangs fails, too. */
	limit(TOO_LONG);
	run(history, HISTORY_LEN);
	alarm(0);
	progress->histories++;
}

static void run_histories(struct progress *progress, const struct wish *wish)
{
	const double until = now() + wish->seconds;

	for (size_t i = 0; i < sizeof(failed_once) / sizeof(*failed_once); i++)
		run_history(progress, failed_once[i]);
	for (uint64_t i = 0; i * HISTORY_LEN < wish->steps && now() < until; i++)
		run_history(progress, wish->seed + i);
}

static void set_seconds(struct wish *wish, const char *text)
{
	wish->seconds = strtod(text, NULL);
	wish->steps = UINT64_MAX;
}

static void set_steps(struct wish *wish, const char *text)
{
	wish->seconds = 1e9;
	wish->steps = strtoull(text, NULL, 0);
}

static void set_seed(struct wish *wish, const char *text)
{
	if (strcmp(text, "random"))
		wish->seed = strtoull(text, NULL, 0);
	else
		REQUIRE(getrandom(&wish->seed, sizeof(wish->seed), 0) == sizeof(wish->seed));
}

static const struct {
	const char *option, *variable;
	void (*set)(struct wish *wish, const char *text);
} wishes[] = {
	{ "--seconds", "PFNBUF_HISTORY_SECONDS", set_seconds },
	{ "--steps", "PFNBUF_HISTORY_STEPS", set_steps },
	{ "--seed", "PFNBUF_HISTORY_SEED", set_seed },
};

static bool grant(struct wish *wish, const char *option, const char *text)
{
	for (size_t i = 0; i < sizeof(wishes) / sizeof(*wishes); i++)
		if (!strcmp(wishes[i].option, option)) {
			wishes[i].set(wish, text);
			return true;
		}
	return false;
}

static bool read_wishes(struct wish *wish, int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(wishes) / sizeof(*wishes); i++)
		if (getenv(wishes[i].variable))
			wishes[i].set(wish, getenv(wishes[i].variable));
	for (int i = 1; i < argc; i += 2)
		if (i + 1 == argc || !grant(wish, argv[i], argv[i + 1]))
			return false;
	return true;
}

int main(int argc, char **argv)
{
	struct progress *progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct wish wish = { FIRST_SEED, HISTORY_STEPS, 1e9 };
	int status;
	pid_t pid;

	REQUIRE(progress != MAP_FAILED);
	if (!read_wishes(&wish, argc, argv)) {
		fprintf(stderr, "usage: %s [--seconds N | --steps N] [--seed N|random]\n", argv[0]);
		return 2;
	}
	printf("seed %" PRIu64 "\n", wish.seed);
	fflush(NULL);
	pid = fork();
	REQUIRE(pid >= 0);
	if (!pid) {
		run_histories(progress, &wish);
		_exit(0);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	printf("window histories: %" PRIu64 " steps in %" PRIu64 " histories\n",
	       progress->histories * HISTORY_LEN, progress->histories);
	if (status)
		report(progress->seed);
	return status != 0;
}
