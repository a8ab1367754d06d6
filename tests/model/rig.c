/* SPDX-License-Identifier: MIT */
/* The simulated machine. */
#include "rig.h"

#include <errno.h>

static void add_card(struct rig *rig, const char *bdf, uint64_t what)
{
	const struct pfnbuf_sim_device spec = {
		.bdf = bdf,
		.vendor = 0x1af4,
		.device = 0x1110,
		.flags = PFNBUF_SIM_FLR | PFNBUF_SIM_PM,
		.bars = {
			[RIG_BAR] = { .size = RIG_BAR_PAGES * PAGE },
			[RIG_MSIX_BAR] = { .size = RIG_MSIX_PAGES * PAGE },
			[RIG_SMALL_BAR] = { .size = 256 },
			[RIG_IO_BAR] = { .size = 64, .flags = PFNBUF_SIM_BAR_IO },
		},
		.msix_vectors = 4,
		.msix_bar = RIG_MSIX_BAR,
		.msix_table = 2 * PAGE,
		.msix_pba_bar = RIG_MSIX_BAR,
		.msix_pba = 3 * PAGE,
		.hot_reset_set = 1,
	};

	REQUIRE(pfnbuf_sim_add_device(rig->sim, &spec) == 0);
	for (uint64_t page = 0; page < RIG_BAR_PAGES; page++) {
		const uint64_t tag = rig_tag(what, page);

		REQUIRE(pfnbuf_sim_bar_poke(rig->sim, bdf, RIG_BAR, page * PAGE, &tag,
					    sizeof(tag)) == 0);
	}
	for (uint64_t page = 0; page < RIG_MSIX_PAGES; page++) {
		const uint64_t tag = rig_tag(what, 0x100 + page);

		REQUIRE(pfnbuf_sim_bar_poke(rig->sim, bdf, RIG_MSIX_BAR, page * PAGE, &tag,
					    sizeof(tag)) == 0);
	}
}

static void add_engine(struct rig *rig)
{
	const struct pfnbuf_sim_device spec = {
		.bdf = RIG_ENGINE,
		.vendor = 0x1234,
		.device = 0x11e8,
		.flags = PFNBUF_SIM_FLR,
		.bars = { [0] = { .size = 1 << 20 } },
	};

	REQUIRE(pfnbuf_sim_add_device(rig->sim, &spec) == 0);
}

static void open_device(struct rig *rig, const char *bdf, struct pfnbuf_device **device)
{
	if (*device)
		return;
	REQUIRE(pfnbuf_device_open(rig->ctx, bdf, device) == 0);
	REQUIRE(pfnbuf_device_bind(*device, NULL) == 0);
}

void rig_open_devices(struct rig *rig)
{
	const bool with_engine = !rig->engine;

	open_device(rig, RIG_CARD, &rig->card);
	open_device(rig, RIG_OTHER, &rig->other);
	open_device(rig, RIG_ENGINE, &rig->engine);
	if (!with_engine)
		return;
	REQUIRE(pfnbuf_device_attach(rig->engine, rig->ioas) == 0);
	REQUIRE(pfnbuf_device_set_bus_master(rig->engine, true) == 0);
}

static void vary(struct rig *rig)
{
	static const struct pfnbuf_range parts[] = {
		{ 0, 10 * PAGE },
		{ 10 * PAGE, 10 * PAGE },
		{ 20 * PAGE, 12 * PAGE },
	};

	if (!rig->variant)
		return;
	rig->sparse = parts;
	rig->nr_sparse = 3;
	if (rig->variant == 2)
		pfnbuf_sim_set_proposed(rig->sim, PFNBUF_SIM_IMPORT_RANGES);
}

static void speak(struct rig *rig)
{
	struct pfnbuf_profile *profile;
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s.profile", RIG_PROFILES, rig->profile);
	REQUIRE(pfnbuf_sim_set_profile(rig->sim, rig->profile) == 0);
	REQUIRE(pfnbuf_profile_load(path, &profile, NULL) == 0);
	REQUIRE(pfnbuf_ctx_set_profile(rig->ctx, profile) == 0);
	pfnbuf_profile_unref(profile);
}

void rig_open(struct rig *rig)
{
	struct pfnbuf_ctx_opts opts = {
		.size = sizeof(opts),
		.max_events = 64,
		.engine = rig->engine_kind,
		.log = rig->hears,
	};

	REQUIRE(pfnbuf_sim_new(&rig->sim) == 0);
	opts.kernel = rig_door(rig, pfnbuf_sim_kernel(rig->sim));
	rig->bar = RIG_BAR;
	vary(rig);
	add_card(rig, RIG_CARD, RIG_TAG_CARD);
	add_card(rig, RIG_OTHER, RIG_TAG_OTHER);
	add_engine(rig);
	REQUIRE(pfnbuf_ctx_new(&rig->ctx, &opts) == 0);
	if (rig->profile)
		speak(rig);
	REQUIRE(pfnbuf_ioas_new(rig->ctx, &rig->ioas) == 0);
	REQUIRE(pfnbuf_vm_new(rig->ctx, rig->vm_type, &rig->vm) == 0);
	rig_open_devices(rig);
}

void rig_close(struct rig *rig)
{
	rig_count(rig, NULL, 0);
	rig->card = pfnbuf_device_close(rig->card);
	rig->other = pfnbuf_device_close(rig->other);
	rig->engine = pfnbuf_device_close(rig->engine);
	rig->vm = pfnbuf_vm_free(rig->vm);
	rig->ioas = pfnbuf_ioas_free(rig->ioas);
	rig->ctx = pfnbuf_ctx_free(rig->ctx);
	rig->sim = pfnbuf_sim_free(rig->sim);
}

int64_t rig_dma(struct rig *rig, uint64_t iova)
{
	uint64_t tag = 0;
	int r = pfnbuf_sim_dma_read(rig->sim, RIG_ENGINE, iova, &tag, sizeof(tag), NULL);

	return r < 0 ? r : (int64_t)tag;
}

int64_t rig_guest(struct rig *rig, uint64_t gpa)
{
	uint64_t tag = 0;
	int r = pfnbuf_sim_guest_read(rig->sim, pfnbuf_vm_get_fd(rig->vm), gpa, false, &tag,
				      sizeof(tag));

	return r < 0 ? r : (int64_t)tag;
}

int64_t rig_guest_private(struct rig *rig, uint64_t gpa)
{
	uint64_t tag = 0;
	int r = pfnbuf_sim_guest_read(rig->sim, pfnbuf_vm_get_fd(rig->vm), gpa, true, &tag,
				      sizeof(tag));

	return r < 0 ? r : (int64_t)tag;
}

int rig_guest_write_private(struct rig *rig, uint64_t gpa, uint64_t tag)
{
	return pfnbuf_sim_guest_write(rig->sim, pfnbuf_vm_get_fd(rig->vm), gpa, true, &tag,
				      sizeof(tag));
}

char *rig_dump(struct rig *rig)
{
	char *text;

	REQUIRE(pfnbuf_sim_dump(rig->sim, &text) == 0);
	return text;
}

static const char *bdf_of(bool other)
{
	return other ? RIG_OTHER : RIG_CARD;
}

void rig_foreign_reset(struct rig *rig, bool other)
{
	REQUIRE(pfnbuf_sim_foreign_reset(rig->sim, bdf_of(other)) == 0);
}

void rig_request_removal(struct rig *rig, bool other)
{
	struct pfnbuf_device *device = other ? rig->other : rig->card;
	bool asked = false, lost = false;
	struct pfnbuf_device_info info;
	struct pfnbuf_event ev;

	REQUIRE(pfnbuf_sim_request_removal(rig->sim, bdf_of(other)) == 0);
	REQUIRE(pfnbuf_ctx_dispatch(rig->ctx) == 0);
	while (pfnbuf_ctx_pop_event(rig->ctx, &ev)) {
		asked |= ev.type == PFNBUF_EVENT_REMOVAL_REQUEST && ev.device == device;
		lost |= ev.type == PFNBUF_EVENT_LOST;
	}
	/* Nobody took events since the last removal: the queue may have been full. */
	REQUIRE(asked || lost);
	REQUIRE(pfnbuf_device_get_info(device, &info) == 0 && info.removal_requests == 1);
}

void rig_check_alias(struct rig *rig)
{
	const char *what;

	REQUIRE(!pfnbuf_sim_alias(rig->sim, &what));
}

void rig_check_clean(struct rig *rig)
{
	struct pfnbuf_sim_counts counts;

	pfnbuf_sim_get_counts(rig->sim, &counts);
	REQUIRE(!counts.areas && !counts.slots && !counts.dma_bufs && !counts.bar_mappings &&
		!counts.pinned);
}
