/* SPDX-License-Identifier: MIT */
/*
 * The platform's TEE security manager and the interfaces that it binds: what drivers/pci/tsm.c shows
 * in sysfs and promises to callers in the kernel, and TDISP (PCI Express 7.0, 11) as far as a report
 * and its states go.
 */
#include <fcntl.h>

#include "sim.h"

#define REPORT_PAGE	4096ULL
#define HEADER_SIZE	16U
#define RANGE_SIZE	16U
#define ATTR_MSIX_TABLE 1U
#define ATTR_MSIX_PBA	2U
#define ATTR_NON_TEE	4U

#define BINDS (PFNBUF_SIM_VFIO_TSM | PFNBUF_SIM_VDEVICE_OP | PFNBUF_SIM_VDEVICE_BINDS)

bool sim_binds(const struct pfnbuf_sim *sim)
{
	return sim->proposed & BINDS;
}

/* ---------------------------------------------------------------------- the report */

static uint64_t get_le(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | at[bytes];
	return value;
}

static void put_le(uint8_t *at, unsigned bytes, uint64_t value)
{
	for (unsigned i = 0; i < bytes; i++, value >>= 8)
		at[i] = (uint8_t)value;
}

struct report {
	uint8_t *bytes;
	size_t size;
};

static int add_range(struct report *report, uint64_t page, uint64_t pages, unsigned attributes,
		     unsigned id)
{
	uint8_t *grown = realloc(report->bytes, report->size + RANGE_SIZE);
	uint8_t *range;

	if (!grown)
		return -ENOMEM;
	range = grown + report->size;
	put_le(range, 8, page);
	put_le(range + 8, 4, pages);
	put_le(range + 12, 2, attributes);
	put_le(range + 14, 2, id);
	report->bytes = grown;
	report->size += RANGE_SIZE;
	put_le(report->bytes + 12, 4, get_le(report->bytes + 12, 4) + 1);
	return 0;
}

/* What the MSI-X structures make of a page of a BAR. */
static unsigned msix_attributes(const struct sim_vdev *vdev, unsigned bar, uint64_t offset)
{
	uint64_t table_end = vdev->msix_table + (uint64_t)vdev->msix_vectors * PCI_MSIX_ENTRY_SIZE;
	uint64_t pba_end = vdev->msix_pba + (vdev->msix_vectors + 63ULL) / 64 * 8;
	unsigned attributes = 0;

	if (!vdev->msix)
		return 0;
	if (bar == vdev->msix_bar && offset < table_end && offset + REPORT_PAGE > vdev->msix_table)
		attributes |= ATTR_MSIX_TABLE | ATTR_NON_TEE;
	if (bar == vdev->msix_pba_bar && offset < pba_end && offset + REPORT_PAGE > vdev->msix_pba)
		attributes |= ATTR_MSIX_PBA | ATTR_NON_TEE;
	return attributes;
}

static int add_bar(struct report *report, const struct sim_vdev *vdev, unsigned id)
{
	const struct sim_bar *bar = &vdev->bars[id];
	int ret = 0;

	if (bar->flags & PFNBUF_SIM_BAR_IO || bar->size < REPORT_PAGE)
		return 0;
	for (uint64_t at = 0, end; !ret && at < bar->size; at = end) {
		unsigned attributes = msix_attributes(vdev, id, at);

		for (end = at + REPORT_PAGE;
		     end < bar->size && msix_attributes(vdev, id, end) == attributes;)
			end += REPORT_PAGE;
		ret = add_range(report, (bar->start + at) / REPORT_PAGE, (end - at) / REPORT_PAGE,
				attributes, id);
	}
	return ret;
}

/* All memory is for the guest alone, but for the pages that hold the MSI-X structures. */
static int make_report(const struct sim_vdev *vdev, struct report *report)
{
	int ret = 0;

	report->bytes = calloc(1, HEADER_SIZE);
	report->size = HEADER_SIZE;
	if (!report->bytes)
		return -ENOMEM;
	if (vdev->msix)
		put_le(report->bytes + 4, 2, get_le(vdev->config + vdev->msix + PCI_MSIX_FLAGS, 2));
	for (unsigned id = 0; !ret && id < 6; id++)
		ret = add_bar(report, vdev, id);
	if (!ret) {
		uint8_t *grown = realloc(report->bytes, report->size + 4);

		ret = grown ? 0 : -ENOMEM;
		if (grown) {
			put_le(grown + report->size, 4, 0);
			report->bytes = grown;
			report->size += 4;
		}
	}
	return ret;
}

static uint64_t count_ranges(const struct sim_tdi *tdi)
{
	uint64_t n = tdi->report_size < HEADER_SIZE ? 0 : get_le(tdi->report + 12, 4);

	return MIN(n, tdi->report_size < HEADER_SIZE
			      ? 0
			      : (tdi->report_size - HEADER_SIZE) / RANGE_SIZE);
}

/*
 * Where in its BAR a range of the caller's report begins: by the bus address where that is in the
 * BAR, otherwise from the lowest address that the report names of this BAR.
 */
static uint64_t range_offset(const struct sim_vdev *vdev, unsigned id, uint64_t page)
{
	const struct sim_tdi *tdi = &vdev->tdi;
	const struct sim_bar *bar = &vdev->bars[id];
	uint64_t lowest = page;

	if (page >= bar->start / REPORT_PAGE && page < (bar->start + bar->size) / REPORT_PAGE)
		return (page - bar->start / REPORT_PAGE) * REPORT_PAGE;
	for (uint64_t i = 0; i < count_ranges(tdi); i++) {
		const uint8_t *range = tdi->report + HEADER_SIZE + i * RANGE_SIZE;

		if (get_le(range + 14, 2) == id)
			lowest = MIN(lowest, get_le(range, 8));
	}
	return (page - lowest) * REPORT_PAGE;
}

static bool is_tee(const struct sim_vdev *vdev, unsigned bar, uint64_t offset)
{
	const struct sim_tdi *tdi = &vdev->tdi;
	bool tee = false;

	if (vdev->bars[bar].flags & PFNBUF_SIM_BAR_IO || vdev->bars[bar].size < REPORT_PAGE)
		return false;
	if (!tdi->report)
		return !(msix_attributes(vdev, bar, offset) & ATTR_NON_TEE);
	for (uint64_t i = 0; i < count_ranges(tdi); i++) {
		const uint8_t *range = tdi->report + HEADER_SIZE + i * RANGE_SIZE;
		uint64_t start, length = get_le(range + 8, 4) * REPORT_PAGE;

		if (get_le(range + 14, 2) != bar)
			continue;
		start = range_offset(vdev, bar, get_le(range, 8));
		if (offset < start || offset - start >= length)
			continue;
		if (get_le(range + 12, 2) & (ATTR_NON_TEE | ATTR_MSIX_TABLE | ATTR_MSIX_PBA))
			return false;
		tee = true;
	}
	return tee;
}

bool sim_tdi_all_tee(const struct sim_vdev *vdev, unsigned bar, uint64_t offset, uint64_t length)
{
	for (uint64_t at = offset & ~(REPORT_PAGE - 1); at < offset + length; at += REPORT_PAGE)
		if (!is_tee(vdev, bar, at))
			return false;
	return true;
}

static bool is_locked(const struct sim_tdi *tdi)
{
	return tdi->vm && (tdi->state == PFNBUF_TDI_CONFIG_LOCKED || tdi->state == PFNBUF_TDI_RUN);
}

bool sim_tdi_protects(const struct sim_vdev *vdev, unsigned bar, uint64_t offset, uint64_t length)
{
	if (!is_locked(&vdev->tdi))
		return false;
	for (uint64_t at = offset & ~(REPORT_PAGE - 1); at < offset + length; at += REPORT_PAGE)
		if (is_tee(vdev, bar, at))
			return true;
	return false;
}

/* ----------------------------------------------------------------------- its states */

bool sim_tdi_serves(const struct sim_vdev *vdev, const struct sim_vm *vm)
{
	return vdev->tdi.vm == vm && is_locked(&vdev->tdi);
}

/* One-time faults are over when they have struck. */
static bool strike(struct sim_tdi *tdi, enum pfnbuf_sim_tdi_fault fault)
{
	unsigned bit = 1U << fault;
	bool armed = tdi->injected & bit;

	tdi->injected &= ~bit;
	return armed;
}

int sim_tdi_lock(struct sim_vdev *vdev)
{
	struct sim_tdi *tdi = &vdev->tdi;

	if (!tdi->vm || tdi->state != PFNBUF_TDI_CONFIG_UNLOCKED)
		return -ENXIO;
	tdi->state = PFNBUF_TDI_CONFIG_LOCKED;
	tdi->generation++;
	tdi->reads = 0;
	return 0;
}

int sim_tdi_run(struct sim_vdev *vdev)
{
	if (!vdev->tdi.vm || vdev->tdi.state != PFNBUF_TDI_CONFIG_LOCKED)
		return -ENXIO;
	vdev->tdi.state = PFNBUF_TDI_RUN;
	return 0;
}

int sim_tdi_bind(struct sim_vdev *vdev, struct sim_vm *vm)
{
	struct sim_tdi *tdi = &vdev->tdi;

	if (!vm || !tdi->connected)
		return -EINVAL;
	if (tdi->vm)
		return tdi->vm == vm ? 0 : -EBUSY;
	if (!sim_vm_has_private(vm))
		return -EINVAL;
	if (strike(tdi, PFNBUF_SIM_TDI_BIND_FAILS_BEFORE))
		return -EBUSY;
	tdi->vm = vm;
	sim_file_ref(vm->file);
	/* A realm's device is locked when its guest asks for it. */
	if (!(vdev->sim->proposed & PFNBUF_SIM_VDEVICE_BINDS))
		sim_tdi_lock(vdev);
	return strike(tdi, PFNBUF_SIM_TDI_BIND_FAILS_AFTER_COMMIT) ? -EIO : 0;
}

struct standing {
	const struct sim_vdev *vdev;
	const char *event;
};

static void report_standing(struct pfnbuf_sim *sim, const struct sim_bar_run *run, void *data)
{
	const struct standing *standing = data;

	if (run->vdev == standing->vdev)
		sim_violated(sim, "%s of %s while 0x%llx+0x%llx of BAR %u is private in its guest",
			     standing->event, run->vdev->bdf, (unsigned long long)run->offset,
			     (unsigned long long)run->length, run->bar);
}

static void check_standing(struct sim_vdev *vdev, const char *event)
{
	struct standing standing = { vdev, event };

	sim_mmio_each_private(vdev->sim, report_standing, &standing);
}

static void unbind(struct sim_vdev *vdev)
{
	struct sim_tdi *tdi = &vdev->tdi;
	struct sim_vm *vm = tdi->vm;

	for (struct sim_dmabuf *dmabuf = vdev->dmabufs; dmabuf; dmabuf = dmabuf->next)
		sim_mmio_zap_dmabuf(dmabuf);
	if (tdi->vdevice)
		tdi->vdevice->obj.users--;
	tdi->vdevice = NULL;
	tdi->vm = NULL;
	tdi->state = PFNBUF_TDI_CONFIG_UNLOCKED;
	sim_file_unref(vdev->sim, vm->file);
}

/*
 * TDX wants its private tables left alone until the device is unbound; elsewhere private slots must
 * have gone before. What was validated for a realm's guest goes with the bind.
 */
int sim_tdi_unbind(struct sim_vdev *vdev)
{
	if (!vdev->tdi.vm)
		return 0;
	if (strike(&vdev->tdi, PFNBUF_SIM_TDI_UNBIND_FAILS))
		return -EIO;
	sim_mmio_invalidate(vdev->tdi.vm, vdev);
	if (!(vdev->sim->proposed & PFNBUF_SIM_VFIO_TSM))
		check_standing(vdev, "unbind");
	unbind(vdev);
	return 0;
}

void sim_tdi_drop(struct sim_vdev *vdev, const char *event)
{
	if (!vdev->tdi.vm)
		return;
	check_standing(vdev, event);
	sim_mmio_invalidate(vdev->tdi.vm, vdev);
	unbind(vdev);
}

void sim_tdi_fail(struct sim_vdev *vdev)
{
	if (vdev->tdi.vm)
		vdev->tdi.state = PFNBUF_TDI_ERROR;
}

/*
 * VFIO unbinds first where it is VFIO that binds (patch 20 of the RFC); elsewhere nobody does, and
 * the device is in error.
 */
void sim_tdi_revoke(struct sim_vdev *vdev, const char *event)
{
	if (!vdev->tdi.vm)
		return;
	if (vdev->sim->proposed & PFNBUF_SIM_VFIO_TSM) {
		sim_tdi_drop(vdev, event);
	} else {
		check_standing(vdev, event);
		sim_tdi_fail(vdev);
	}
}

/* --------------------------------------------------------------------------- sysfs */

/* Function 0 of an endpoint that has TDISP (is_pci_tsm_pf0). */
static bool is_dsm(const struct sim_vdev *vdev)
{
	return vdev->flags & PFNBUF_SIM_TEE && !(vdev->flags & PFNBUF_SIM_VF) && !(vdev->devfn & 7);
}

/* What manages the security of the device: itself, or function 0 beside it. */
static struct sim_vdev *find_dsm(const struct sim_vdev *vdev)
{
	for (struct sim_vdev *other = vdev->sim->vdevs; other; other = other->next)
		if (is_dsm(other) && other->segment == vdev->segment && other->bus == vdev->bus &&
		    other->devfn >> 3 == vdev->devfn >> 3)
			return other;
	return NULL;
}

static const char *const attr_names[] = {
	[SIM_TSM_CONNECT] = "connect",
	[SIM_TSM_DISCONNECT] = "disconnect",
	[SIM_TSM_BOUND] = "bound",
	[SIM_TSM_DSM] = "dsm",
	[SIM_TSM_AUTHENTICATED] = "authenticated",
};

const char *sim_tsm_name(enum sim_tsm_attr attr)
{
	return attr_names[attr];
}

bool sim_tsm_has(const struct sim_vdev *vdev, enum sim_tsm_attr attr)
{
	if (!vdev->sim->tsm)
		return false;
	return is_dsm(vdev) ||
	       (vdev->tdi.connected && attr != SIM_TSM_CONNECT && attr != SIM_TSM_DISCONNECT);
}

const char *sim_tsm_show(const struct sim_vdev *vdev, enum sim_tsm_attr attr)
{
	if (attr == SIM_TSM_BOUND)
		return vdev->tdi.vm ? "tsm0" : "";
	if (!vdev->tdi.connected)
		return "";
	return attr == SIM_TSM_DSM ? find_dsm(vdev)->bdf : "tsm0";
}

/* Function 0 and what it manages. */
static void set_connected(struct sim_vdev *dsm, bool connected)
{
	for (struct sim_vdev *vdev = dsm->sim->vdevs; vdev; vdev = vdev->next) {
		if (!(vdev->flags & PFNBUF_SIM_TEE) || find_dsm(vdev) != dsm)
			continue;
		if (!connected)
			sim_tdi_drop(vdev, "disconnect");
		vdev->tdi.connected = connected;
	}
}

static int do_connect(struct sim_vdev *vdev, const char *text)
{
	int id;

	if (sscanf(text, "tsm%d\n", &id) != 1)
		return -EINVAL;
	if (vdev->tdi.connected)
		return -EBUSY;
	if (id || !vdev->sim->tsm)
		return -ENXIO;
	set_connected(vdev, true);
	return 0;
}

static int do_disconnect(struct sim_vdev *vdev, const char *text)
{
	if (!vdev->tdi.connected)
		return -ENXIO;
	if (strcmp(text, "tsm0") && strcmp(text, "tsm0\n"))
		return -EINVAL;
	set_connected(vdev, false);
	return 0;
}

struct attr_file {
	struct sim_vdev *vdev;
	enum sim_tsm_attr attr;
};

int sim_tsm_open(struct sim_vdev *vdev, enum sim_tsm_attr attr, int flags)
{
	struct attr_file *open;
	struct sim_file *file;
	int fd;

	if (attr != SIM_TSM_CONNECT && attr != SIM_TSM_DISCONNECT)
		return -EACCES;
	open = malloc(sizeof(*open));
	if (!open)
		return -ENOMEM;
	*open = (struct attr_file){ vdev, attr };
	fd = sim_file_new(vdev->sim, SIM_TSM_ATTR, attr_names[attr], 0, flags, open, &file);
	if (fd < 0)
		free(open);
	return fd;
}

void sim_tsm_path(const struct sim_file *file, char *buf, size_t size)
{
	const struct attr_file *open = file->object;

	snprintf(buf, size, "/sys/devices/pci%04x:%02x/%s/tsm/%s", open->vdev->segment,
		 open->vdev->bus, open->vdev->bdf, attr_names[open->attr]);
}

static void attr_release(struct pfnbuf_sim *sim, struct sim_file *file)
{
	(void)sim;
	free(file->object);
}

static ssize_t attr_read(struct pfnbuf_sim *sim, struct sim_file *file, uint64_t buf, size_t count,
			 uint64_t offset)
{
	const struct attr_file *open = file->object;
	char text[32];
	size_t n;

	(void)sim;
	if (open->attr == SIM_TSM_DISCONNECT)
		return -EIO;
	n = (size_t)snprintf(text, sizeof(text), "%s\n", sim_tsm_show(open->vdev, open->attr));
	if (offset >= n)
		return 0;
	n = MIN(n - (size_t)offset, count);
	return sim_copy_out(buf, text + offset, n) ? -EFAULT : (ssize_t)n;
}

static ssize_t attr_write(struct pfnbuf_sim *sim, struct sim_file *file, uint64_t buf, size_t count,
			  uint64_t offset)
{
	const struct attr_file *open = file->object;
	char text[32] = "";
	int ret;

	(void)sim, (void)offset;
	if (sim_copy_in(text, buf, MIN(count, sizeof(text) - 1)))
		return -EFAULT;
	ret = open->attr == SIM_TSM_CONNECT ? do_connect(open->vdev, text)
					    : do_disconnect(open->vdev, text);
	return ret ? ret : (ssize_t)count;
}

static void attr_stat(struct sim_file *file, struct stat *st)
{
	const struct attr_file *open = file->object;

	st->st_mode = S_IFREG | (open->attr == SIM_TSM_CONNECT ? 0644U : 0200U);
	st->st_size = (off_t)sim_page_size();
}

#define SYSFS_MAGIC 0x62656572

const struct sim_file_ops sim_tsm_attr_ops = {
	.release = attr_release,
	.read = attr_read,
	.write = attr_write,
	.stat = attr_stat,
	.magic = SYSFS_MAGIC,
	.positioned = true,
};

/* ------------------------------------------------------------- from the other side */

static const struct profile {
	const char *name;
	unsigned proposed;
} profiles[] = {
	{ "mainline-7.3", 0 },
	{ "proposed", PFNBUF_SIM_IMPORT_RANGES },
	{ "tdx-rfc2", PFNBUF_SIM_DMABUF_SLOTS | PFNBUF_SIM_VFIO_TSM },
	{ "iommufd-tsm5", PFNBUF_SIM_DMABUF_SLOTS | PFNBUF_SIM_VDEVICE_OP },
	{ "cca7", PFNBUF_SIM_VDEVICE_BINDS | PFNBUF_SIM_GMEM_ATTRIBUTES },
	{ "gmem-inplace8", PFNBUF_SIM_GMEM_ATTRIBUTES },
};

int pfnbuf_sim_set_profile(struct pfnbuf_sim *sim, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(profiles); i++) {
		if (strcmp(name, profiles[i].name))
			continue;
		pfnbuf_sim_set_proposed(sim, profiles[i].proposed);
		pfnbuf_sim_set_tsm(sim, profiles[i].proposed & BINDS);
		return 0;
	}
	return -EINVAL;
}

void pfnbuf_sim_set_tsm(struct pfnbuf_sim *sim, bool present)
{
	SIM_LOCKED(sim);
	for (struct sim_vdev *vdev = sim->vdevs; !present && vdev; vdev = vdev->next)
		if (vdev->tdi.connected && is_dsm(vdev))
			set_connected(vdev, false);
	sim->tsm = present;
}

int pfnbuf_sim_tdi_set_report(struct pfnbuf_sim *sim, const char *bdf, const void *report,
			      size_t size)
{
	struct sim_vdev *vdev;
	uint8_t *copy = report ? malloc(size + 1) : NULL;

	if (report && !copy)
		return -ENOMEM;
	SIM_LOCKED(sim);
	vdev = sim_vdev_find(sim, bdf);
	if (!vdev) {
		free(copy);
		return -ENODEV;
	}
	if (report)
		memcpy(copy, report, size);
	free(vdev->tdi.report);
	vdev->tdi.report = copy;
	vdev->tdi.report_size = report ? size : 0;
	return 0;
}

/* The first range goes on beyond the BAR; or it is shared every other time. */
static void distort(struct sim_vdev *vdev, struct report *report)
{
	uint8_t *range = report->bytes + HEADER_SIZE;
	unsigned id;

	if (report->size < HEADER_SIZE + RANGE_SIZE)
		return;
	id = (unsigned)get_le(range + 14, 2);
	if (vdev->tdi.injected & 1U << PFNBUF_SIM_TDI_REPORT_LIES && id < 6)
		put_le(range + 8, 4, get_le(range + 8, 4) + vdev->bars[id].size / REPORT_PAGE);
	if (vdev->tdi.injected & 1U << PFNBUF_SIM_TDI_REPORT_CHANGES && vdev->tdi.reads & 1)
		range[12] ^= ATTR_NON_TEE;
}

static int read_report(struct sim_vdev *vdev, struct report *report)
{
	const struct sim_tdi *tdi = &vdev->tdi;

	if (!tdi->report)
		return make_report(vdev, report);
	report->bytes = malloc(tdi->report_size + 1);
	if (!report->bytes)
		return -ENOMEM;
	memcpy(report->bytes, tdi->report, tdi->report_size);
	report->size = tdi->report_size;
	return 0;
}

int pfnbuf_sim_tdi_get_report(struct pfnbuf_sim *sim, const char *bdf, void *buf, size_t size,
			      size_t *len, enum pfnbuf_tdi_state *state, uint64_t *generation)
{
	struct report report = { 0 };
	struct sim_vdev *vdev;
	int ret;

	SIM_LOCKED(sim);
	vdev = sim_vdev_find(sim, bdf);
	if (!vdev)
		return -ENODEV;
	if (!is_locked(&vdev->tdi))
		return -ENXIO;
	if (strike(&vdev->tdi, PFNBUF_SIM_TDI_REPORT_LATE))
		return -EAGAIN;
	ret = read_report(vdev, &report);
	if (!ret && report.size > size)
		ret = -ENOSPC;
	if (!ret) {
		distort(vdev, &report);
		vdev->tdi.reads++;
		memcpy(buf, report.bytes, report.size);
		*len = report.size;
		if (state)
			*state = vdev->tdi.state;
		if (generation)
			*generation = vdev->tdi.generation;
	}
	free(report.bytes);
	return ret;
}

int pfnbuf_sim_tdi_state(struct pfnbuf_sim *sim, const char *bdf, enum pfnbuf_tdi_state *state,
			 uint64_t *generation)
{
	const struct sim_vdev *vdev;

	SIM_LOCKED(sim);
	vdev = sim_vdev_find(sim, bdf);
	if (!vdev)
		return -ENODEV;
	if (vdev->bound_by && sim_file_reap(sim, vdev->bound_by))
		vdev = sim_vdev_find(sim, bdf);
	if (state)
		*state = vdev->tdi.state;
	if (generation)
		*generation = vdev->tdi.generation;
	return vdev->tdi.vm != NULL;
}

int pfnbuf_sim_tdi_lock(struct pfnbuf_sim *sim, const char *bdf)
{
	struct sim_vdev *vdev;

	SIM_LOCKED(sim);
	vdev = sim_vdev_find(sim, bdf);
	return vdev ? sim_tdi_lock(vdev) : -ENODEV;
}

int pfnbuf_sim_tdi_start(struct pfnbuf_sim *sim, const char *bdf)
{
	struct sim_vdev *vdev;

	SIM_LOCKED(sim);
	vdev = sim_vdev_find(sim, bdf);
	if (!vdev)
		return -ENODEV;
	if (sim->proposed & PFNBUF_SIM_VDEVICE_BINDS &&
	    vdev->tdi.state == PFNBUF_TDI_CONFIG_UNLOCKED) {
		int ret = sim_tdi_lock(vdev);

		if (ret)
			return ret;
	}
	return sim_tdi_run(vdev);
}

int pfnbuf_sim_tdi_inject(struct pfnbuf_sim *sim, const char *bdf, enum pfnbuf_sim_tdi_fault fault)
{
	struct sim_vdev *vdev;

	SIM_LOCKED(sim);
	vdev = sim_vdev_find(sim, bdf);
	if (!vdev)
		return -ENODEV;
	if (fault == PFNBUF_SIM_TDI_ERROR_STATE) {
		if (!vdev->tdi.vm)
			return -ENXIO;
		sim_tdi_fail(vdev);
		sim_signal(vdev->err_fd);
	} else if (fault == PFNBUF_SIM_TDI_NO_FAULT) {
		vdev->tdi.injected = 0;
	} else {
		vdev->tdi.injected |= 1U << fault;
	}
	return 0;
}
