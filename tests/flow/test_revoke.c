/* SPDX-License-Identifier: MIT */
/*
 * The main job: a slice of one device's BAR, reached by another, lost and brought back. And every
 * way in which the kernel revokes: drivers/vfio/pci/vfio_pci_core.c, vfio_pci_config.c.
 */
#include "flow.h"

#include "libpfnbuf/uapi/pci.h"

/* ---------------------------------------------------------------- the main job -------------- */

static int main_job(struct world *w)
{
	struct pfnbuf_area area;
	uint64_t iova = IOVA + SLICE;
	uint8_t byte = 0;
	unsigned total;

	STEP(open_and_map(w, BAR_DEVICE));
	STEP(want_state(w, w->buf, PFNBUF_LIVE));
	WANT(pfnbuf_buf_get_generation(w->buf) == 1);
	WANT(dma(w, 0x11) == 0);
	TRY(pfnbuf_device_bar_read(w->device, BAR, SLICE + 0x100, &byte, 1));
	WANT(byte == 0x11);

	/* Memory decode off: nothing lands, nothing can be imported. */
	TRY(pfnbuf_device_set_memory_decode(w->device, false));
	WANT(pfnbuf_buf_get_state(w->buf) == PFNBUF_SUSPENDED);
	WANT(pfnbuf_buf_get_generation(w->buf) == 2);
	WANT(dead_areas(w->ioas, &total) == 1 && total == 1);
	WANT(dma(w, 0x22) == -EFAULT);
	REFUSED(pfnbuf_ioas_map_buf(w->ioas, w->buf, 0, SLICE, MAP_FIXED_RW, &iova), ENODEV);
	WANT(strstr(pfnbuf_last_error(), "revoked"));
	REFUSED(pfnbuf_device_restore(w->device), ENODEV);
	REFUSED(pfnbuf_device_bar_read(w->device, BAR, SLICE, &byte, 1), EIO);

	/* On again: the buffer is, the area is not. */
	TRY(pfnbuf_device_set_memory_decode(w->device, true));
	STEP(want_state(w, w->buf, PFNBUF_LIVE));
	WANT(pfnbuf_buf_get_generation(w->buf) == 2);
	WANT(dead_areas(w->ioas, &total) == 1 && total == 1);
	WANT(dma(w, 0x33) == -EFAULT);

	TRY(pfnbuf_device_restore(w->device));
	WANT(pfnbuf_ioas_next_area(w->ioas, 0, &area) == 1);
	WANT(area.iova == IOVA && area.length == SLICE && area.buf == w->buf);
	WANT(!area.dead && area.generation == 2);
	WANT(dma(w, 0x44) == 0);

	/* A second restore finds nothing to do, and says so by doing nothing. */
	TRY(pfnbuf_device_restore(w->device));
	WANT(dma(w, 0x55) == 0);
	TRY(pfnbuf_ioas_unmap_all(w->ioas, &iova));
	WANT(iova == SLICE);
	WANT(dma(w, 0x66) == -EFAULT);
	return 0;
}

FLOW_TESTS(main_job)

/* ---------------------------------------------------------------- every way to revoke ------- */

/*
 * Import under generation g, revoke by any means, see it dead, restore, see it work. @revoke returns
 * the number of revocations that it caused, which is what the generation must have grown by.
 */
static int lose_and_restore(struct world *w, const char *bdf, int (*revoke)(struct world *))
{
	uint64_t generation;
	unsigned total;
	int r;

	STEP(open_and_map(w, bdf));
	STEP(want_state(w, w->buf, PFNBUF_LIVE));
	WANT(dma(w, 0x11) == 0);
	generation = pfnbuf_buf_get_generation(w->buf);

	r = revoke(w);
	STEP(r);
	WANT(pfnbuf_buf_get_generation(w->buf) == generation + (uint64_t)r);
	WANT(dead_areas(w->ioas, &total) == 1 && total == 1);
	WANT(dma(w, 0x22) == -EFAULT);
	STEP(want_state(w, w->buf, PFNBUF_LIVE));
	TRY(pfnbuf_device_restore(w->device));
	WANT(dead_areas(w->ioas, &total) == 0 && total == 1);
	WANT(dma(w, 0x33) == 0);
	return 0;
}

static int by_reset(struct world *w)
{
	TRY(pfnbuf_device_reset(w->device));
	return 1;
}

static int write_flr(struct world *w, uint8_t cap, unsigned reg, uint8_t bit)
{
	int at = find_cap(w->device, cap);
	uint8_t byte;

	TRY(at);
	TRY(pfnbuf_device_config_read(w->device, (unsigned)at + reg, &byte, 1));
	byte |= bit;
	TRY(pfnbuf_device_config_write(w->device, (unsigned)at + reg, &byte, 1));
	return 1;
}

static int by_flr(struct world *w)
{
	return write_flr(w, PCI_CAP_ID_EXP, PCI_EXP_DEVCTL + 1, PCI_EXP_DEVCTL_BCR_FLR >> 8);
}

static int by_af_flr(struct world *w)
{
	return write_flr(w, PCI_CAP_ID_AF, PCI_AF_CTRL, PCI_AF_CTRL_FLR);
}

static int write_power_state(struct world *w, uint8_t state)
{
	int at = find_cap(w->device, PCI_CAP_ID_PM);
	const uint8_t pmcsr[2] = { state, 0 };

	TRY(at);
	TRY(pfnbuf_device_config_write(w->device, (unsigned)at + PCI_PM_CTRL, pmcsr,
				       sizeof(pmcsr)));
	return 0;
}

static int by_d3hot(struct world *w)
{
	struct pfnbuf_device_info info;

	STEP(write_power_state(w, 3));
	WANT(pfnbuf_buf_get_state(w->buf) == PFNBUF_SUSPENDED);
	TRY(pfnbuf_device_get_info(w->device, &info));
	WANT(!info.memory_enabled);
	STEP(write_power_state(w, 0));
	return 1;
}

static int by_decode(struct world *w)
{
	TRY(pfnbuf_device_set_memory_decode(w->device, false));
	TRY(pfnbuf_device_set_memory_decode(w->device, true));
	return 1;
}

/* One write over a dword that holds PCI_COMMAND among others. */
static int by_wide_write(struct world *w)
{
	uint8_t config[8];

	TRY(pfnbuf_device_config_read(w->device, 0, config, sizeof(config)));
	config[PCI_COMMAND] &= (uint8_t)~PCI_COMMAND_MEMORY;
	TRY(pfnbuf_device_config_write(w->device, 0, config, sizeof(config)));
	WANT(pfnbuf_buf_get_state(w->buf) == PFNBUF_SUSPENDED);
	config[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
	TRY(pfnbuf_device_config_write(w->device, 0, config, sizeof(config)));
	return 1;
}

static int by_low_power(struct world *w)
{
	struct pfnbuf_device_info info;

	TRY(pfnbuf_device_low_power_enter(w->device, -1));
	TRY(pfnbuf_device_get_info(w->device, &info));
	WANT(info.low_power);
	WANT(pfnbuf_buf_get_state(w->buf) == PFNBUF_SUSPENDED);
	TRY(pfnbuf_device_low_power_exit(w->device));
	return 1;
}

/* Entering twice is refused, and has revoked what was exported in between. */
static int by_low_power_refused(struct world *w)
{
	const struct pfnbuf_range slice = { 0, PAGE };
	uint64_t iova = IOVA + 2 * SLICE, unmapped;

	TRY(pfnbuf_device_low_power_enter(w->device, -1));
	/* Exporting wakes the device for the call: the buffer is born alive, the older one is not. */
	TRY(pfnbuf_device_export(w->device, BAR, &slice, 1, &w->buf2));
	WANT(pfnbuf_buf_get_state(w->buf) == PFNBUF_SUSPENDED);
	if (w->failing && pfnbuf_buf_get_state(w->buf2) != PFNBUF_LIVE)
		return -EAGAIN;
	WANT(pfnbuf_buf_get_state(w->buf2) == PFNBUF_LIVE);
	TRY(pfnbuf_ioas_map_buf(w->ioas, w->buf2, 0, PAGE, MAP_FIXED_RW, &iova));
	REFUSED(pfnbuf_device_low_power_enter(w->device, -1), EINVAL);
	WANT(pfnbuf_buf_get_state(w->buf2) == PFNBUF_SUSPENDED);
	WANT(pfnbuf_buf_get_generation(w->buf2) == 2);
	WANT(pfnbuf_sim_dma_write(w->sim, DMA_DEVICE, iova, "x", 1, NULL) == -EFAULT);
	TRY(pfnbuf_device_low_power_exit(w->device));
	TRY(pfnbuf_ioas_unmap(w->ioas, iova, PAGE, &unmapped));
	return 2;
}

static int by_bracket(struct world *w)
{
	TRY(pfnbuf_device_revoke_begin(w->device, PFNBUF_CAUSE_FOREIGN));
	WANT(pfnbuf_buf_get_state(w->buf) == PFNBUF_SUSPENDED);
	REFUSED(pfnbuf_device_revoke_begin(w->device, PFNBUF_CAUSE_FOREIGN), EALREADY);
	WANT(pfnbuf_sim_foreign_reset(w->sim, BAR_DEVICE) == 0);
	/* A call of the library's inside the bracket neither counts again nor closes it. */
	TRY(pfnbuf_device_set_memory_decode(w->device, false));
	TRY(pfnbuf_device_set_memory_decode(w->device, true));
	WANT(pfnbuf_buf_get_state(w->buf) == PFNBUF_SUSPENDED);
	TRY(pfnbuf_device_revoke_end(w->device));
	REFUSED(pfnbuf_device_revoke_end(w->device), EINVAL);
	return 1;
}

/* A VF has no memory decode bit: clearing it revokes and re-arms in one breath. */
static int by_vf_pulse(struct world *w)
{
	struct pfnbuf_device_info info;

	TRY(pfnbuf_device_get_info(w->device, &info));
	if (!w->failing)
		WANT(info.is_vf);
	else if (!info.is_vf)
		return -EAGAIN;
	TRY(pfnbuf_device_set_memory_decode(w->device, false));
	TRY(pfnbuf_device_get_info(w->device, &info));
	if (!w->failing)
		WANT(info.memory_enabled);
	return 1;
}

/* It fails and has revoked all the same. */
static int by_failed_reset(struct world *w)
{
	REFUSED(pfnbuf_device_reset(w->device), ENOTTY);
	return 1;
}

#define WAY(way, bdf)                                                                              \
	static int lose_##way(struct world *w)                                                     \
	{                                                                                          \
		return lose_and_restore(w, bdf, way);                                              \
	}                                                                                          \
	FLOW_TESTS(lose_##way)

WAY(by_reset, BAR_DEVICE)
WAY(by_flr, BAR_DEVICE)
WAY(by_af_flr, BAR_DEVICE)
WAY(by_d3hot, BAR_DEVICE)
WAY(by_decode, BAR_DEVICE)
WAY(by_wide_write, BAR_DEVICE)
WAY(by_low_power, BAR_DEVICE)
WAY(by_low_power_refused, BAR_DEVICE)
WAY(by_bracket, BAR_DEVICE)
WAY(by_vf_pulse, VF_DEVICE)
WAY(by_failed_reset, BAD_RESET)

/* ---------------------------------------------------------------- what does not revoke ------ */

/* Reset of a device that has none: refused, and everything goes on. */
static int no_reset(struct world *w)
{
	const struct pfnbuf_range slice = { 0, PAGE };
	uint64_t iova = IOVA;
	unsigned total;

	STEP(open_pair(w, NO_RESET));
	TRY(pfnbuf_device_export(w->device, BAR, &slice, 1, &w->buf));
	TRY(pfnbuf_ioas_map_buf(w->ioas, w->buf, 0, PAGE, MAP_FIXED_RW, &iova));
	REFUSED(pfnbuf_device_reset(w->device), EINVAL);
	WANT(pfnbuf_buf_get_generation(w->buf) == 1);
	if (!w->failing)
		WANT(dead_areas(w->ioas, &total) == 0);
	WANT(pfnbuf_sim_dma_write(w->sim, DMA_DEVICE, IOVA, "x", 1, NULL) == 0);
	TRY(pfnbuf_device_set_bus_master(w->device, true));
	WANT(pfnbuf_buf_get_generation(w->buf) == 1);
	return 0;
}

FLOW_TESTS(no_reset)

/* An FLR bit that is not set, D0 over D0, decode on over on: no revocation, no event. */
static int harmless_writes(struct world *w)
{
	struct pfnbuf_event event;
	uint8_t zero = 0;
	int at;

	STEP(open_and_map(w, BAR_DEVICE));
	STEP(want_state(w, w->buf, PFNBUF_LIVE));
	STEP(write_power_state(w, 0));
	at = find_cap(w->device, PCI_CAP_ID_EXP);
	TRY(at);
	TRY(pfnbuf_device_config_write(w->device, (unsigned)at + PCI_EXP_DEVCTL + 1, &zero, 1));
	TRY(pfnbuf_device_set_memory_decode(w->device, true));
	WANT(pfnbuf_buf_get_generation(w->buf) == 1);
	WANT(pfnbuf_ctx_pop_event(w->ctx, &event) == 0);
	WANT(dma(w, 0x77) == 0);
	return 0;
}

FLOW_TESTS(harmless_writes)

/* ---------------------------------------------------------------- hot reset ----------------- */

/* It reaches every device of the set, whichever it is asked of. */
static int hot_reset(struct world *w)
{
	struct pfnbuf_hot_reset_device set[4];
	const struct pfnbuf_range slice = { SLICE, SLICE };
	struct pfnbuf_device_info info;
	uint64_t iova = IOVA + SLICE;
	unsigned total;
	int r;

	STEP(open_and_map(w, SLOT_FIRST));

	/* Refused while a device of the set is not ours; the kernel revoked and took it back. */
	REFUSED(pfnbuf_device_hot_reset(w->device), EINVAL);
	WANT(pfnbuf_buf_get_generation(w->buf) == 2);
	STEP(open_bound(w, SLOT_SECOND, &w->other));
	TRY(pfnbuf_device_export(w->other, BAR, &slice, 1, &w->buf2));
	TRY(pfnbuf_ioas_map_buf(w->ioas, w->buf2, 0, SLICE, MAP_FIXED_RW, &iova));
	STEP(want_state(w, w->buf, PFNBUF_LIVE));
	TRY(pfnbuf_device_restore(w->device));
	WANT(dma(w, 0x11) == 0);

	r = pfnbuf_device_hot_reset_set(w->device, set, 4);
	TRY(r);
	WANT(r == 2);
	TRY(pfnbuf_device_get_info(w->other, &info));
	WANT(!strcmp(set[0].bdf, SLOT_FIRST) || !strcmp(set[1].bdf, SLOT_FIRST));
	WANT(set[0].devid == info.devid || set[1].devid == info.devid);

	TRY(pfnbuf_device_hot_reset(w->other));
	WANT(pfnbuf_buf_get_generation(w->buf) == 3);
	WANT(pfnbuf_buf_get_generation(w->buf2) == 2);
	WANT(dead_areas(w->ioas, &total) == 2 && total == 2);
	WANT(dma(w, 0x22) == -EFAULT);
	STEP(want_state(w, w->buf, PFNBUF_LIVE));
	STEP(want_state(w, w->buf2, PFNBUF_LIVE));
	TRY(pfnbuf_device_restore(w->device));
	WANT(dead_areas(w->ioas, &total) == 1);
	WANT(dma(w, 0x33) == 0);
	TRY(pfnbuf_device_restore(w->other));
	WANT(dead_areas(w->ioas, &total) == 0);
	return 0;
}

FLOW_TESTS(hot_reset)

static int no_hot_reset(struct world *w)
{
	struct pfnbuf_hot_reset_device set[1];

	STEP(open_bound(w, BAD_RESET, &w->device));
	REFUSED(pfnbuf_device_hot_reset_set(w->device, set, 1), ENODEV);
	REFUSED(pfnbuf_device_hot_reset(w->device), ENODEV);
	WANT(pfnbuf_device_get_generation(w->device) == 1);
	return 0;
}

FLOW_TESTS(no_hot_reset)

/* ---------------------------------------------------------------- behind its back ----------- */

/* What another process does cannot be seen; the kernel can be asked, and says no more than "now". */
static int foreign(struct world *w)
{
	int answer;

	STEP(open_and_map(w, BAR_DEVICE));
	answer = pfnbuf_buf_verify(w->buf);
	TRY(answer);
	WANT(answer == 1 || w->failing);

	w->unseen = true;
	WANT(pfnbuf_sim_foreign_decode(w->sim, BAR_DEVICE, false) == 0);
	answer = pfnbuf_buf_verify(w->buf);
	TRY(answer);
	WANT(answer == 0 || w->failing);
	WANT(pfnbuf_sim_foreign_decode(w->sim, BAR_DEVICE, true) == 0);
	answer = pfnbuf_buf_verify(w->buf);
	TRY(answer);
	WANT(answer == 1 || w->failing);
	WANT(dma(w, 0x11) == -EFAULT);

	/* Told of it afterwards, the library brings it back. */
	TRY(pfnbuf_device_revoke_begin(w->device, PFNBUF_CAUSE_FOREIGN));
	TRY(pfnbuf_device_revoke_end(w->device));
	STEP(want_state(w, w->buf, PFNBUF_LIVE));
	TRY(pfnbuf_device_restore(w->device));
	WANT(dma(w, 0x22) == 0);
	return 0;
}

FLOW_TESTS(foreign)

/* ---------------------------------------------------------------- many areas ---------------- */

/* In two IOASes, in pieces, by copy: all dead at once, all back at once, each with its rights. */
static int many_areas(struct world *w)
{
	uint64_t iova, copied;
	unsigned total;
	int r;

	STEP(open_pair(w, BAR_DEVICE));
	TRY(pfnbuf_ioas_new(w->ctx, &w->ioas2));
	STEP(export_and_map(w));
	for (uint64_t page = 0; page < 4; page++) {
		iova = IOVA + SLICE + page * 2 * PAGE;
		TRY(pfnbuf_ioas_map_buf(w->ioas, w->buf, page * PAGE, PAGE,
					PFNBUF_MAP_READ | PFNBUF_MAP_FIXED, &iova));
	}
	iova = 0;
	TRY(pfnbuf_ioas_map_va(w->ioas, w->memory, 2 * PAGE, PFNBUF_MAP_READ, &iova));
	copied = 0;
	TRY(pfnbuf_ioas_copy(w->ioas2, w->ioas, IOVA, SLICE, PFNBUF_MAP_READ, &copied));
	TRY(pfnbuf_device_set_memory_decode(w->device, false));
	WANT(dead_areas(w->ioas, &total) == 5 && total == 6);
	WANT(dead_areas(w->ioas2, &total) == 1 && total == 1);

	/* A copy of the dead is dead. */
	copied = 0;
	TRY(pfnbuf_ioas_copy(w->ioas2, w->ioas, IOVA, SLICE, PFNBUF_MAP_READ, &copied));
	WANT(dead_areas(w->ioas2, &total) == 2 && total == 2);
	TRY(pfnbuf_device_set_memory_decode(w->device, true));
	STEP(want_state(w, w->buf, PFNBUF_LIVE));
	TRY(pfnbuf_device_restore(w->device));
	WANT(dead_areas(w->ioas, &total) == 0 && total == 6);
	WANT(dead_areas(w->ioas2, &total) == 0 && total == 2);
	WANT(dma(w, 0x11) == 0);
	WANT(pfnbuf_sim_dma_write(w->sim, DMA_DEVICE, IOVA + SLICE, "x", 1, NULL) == -EFAULT);
	WANT(pfnbuf_sim_dma_read(w->sim, DMA_DEVICE, IOVA + SLICE, &r, 1, NULL) == 0);
	return 0;
}

FLOW_TESTS(many_areas)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FLOW_ENTRIES(main_job),
		FLOW_ENTRIES(lose_by_reset),
		FLOW_ENTRIES(lose_by_flr),
		FLOW_ENTRIES(lose_by_af_flr),
		FLOW_ENTRIES(lose_by_d3hot),
		FLOW_ENTRIES(lose_by_decode),
		FLOW_ENTRIES(lose_by_wide_write),
		FLOW_ENTRIES(lose_by_low_power),
		FLOW_ENTRIES(lose_by_low_power_refused),
		FLOW_ENTRIES(lose_by_bracket),
		FLOW_ENTRIES(lose_by_vf_pulse),
		FLOW_ENTRIES(lose_by_failed_reset),
		FLOW_ENTRIES(no_reset),
		FLOW_ENTRIES(harmless_writes),
		FLOW_ENTRIES(hot_reset),
		FLOW_ENTRIES(no_hot_reset),
		FLOW_ENTRIES(foreign),
		FLOW_ENTRIES(many_areas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
