/* SPDX-License-Identifier: MIT */
/* What revokes dma-bufs, what an import is afterwards, and what brings it back. */
#include <unistd.h>

#include "conf.h"

#define CORE	"drivers/vfio/pci/vfio_pci_core.c:"
#define CONFIG	"drivers/vfio/pci/vfio_pci_config.c:"
#define DMABUF	"drivers/vfio/pci/vfio_pci_dmabuf.c:"
#define PAGES	"drivers/iommu/iommufd/pages.c:"
#define BASE	0x100000ULL
#define SIZE	(2 * PAGE)
#define DEV	NULL, NEED_IOMMUFD | NEED_PLAIN
#define FLR_DEV NULL, NEED_IOMMUFD | NEED_FLR

/* A device whose BAR is exported, and imported into an IOAS that it is attached to. */
struct bench {
	int iommufd, dev, buf;
	uint32_t ioas;
};

static void set_up(struct conf *c, struct bench *b, enum conf_role role)
{
	b->iommufd = conf_iommufd_open(c);
	b->ioas = conf_ioas_new(c, b->iommufd);
	b->dev = conf_device_open(c, role, b->iommufd, b->ioas);
	b->buf = conf_export(c, b->dev, c->devices[role].bar, 0, SIZE);
	expect_true(c, b->buf >= 0);
	expect(c, conf_map_file(c, b->iommufd, b->ioas, b->buf, 0, SIZE, BASE), 0);
}

/*
 * Whether the area is dead. A dead one can be copied, and the copy is dead, too; neither shows it.
 * But a device that is attached to the IOAS of a copy sees nothing; a page-table entry cannot be
 * looked at from here. What can be seen is that the dma-buf itself can be imported or not.
 */
static void expect_revoked(struct conf *c, const struct bench *b, bool revoked)
{
	expect(c, conf_probe_dmabuf(c, b->iommufd, b->buf), revoked ? -ENODEV : 0);
}

/* The area is where it was, in any state, and only UNMAP ends it. */
static void expect_area_stays(struct conf *c, const struct bench *b)
{
	uint64_t unmapped = 0;

	expect(c, conf_probe_iova(c, b->iommufd, b->ioas, BASE), -EEXIST);
	expect(c, conf_unmap(c, b->iommufd, b->ioas, BASE, SIZE, &unmapped), 0);
	expect(c, unmapped, SIZE);
}

static void decode_off_on(struct conf *c, const void *data)
{
	struct bench b;

	(void)data;
	set_up(c, &b, PLAIN);
	expect_revoked(c, &b, false);
	conf_command(c, b.dev, PCI_COMMAND_MEMORY, 0);
	expect_revoked(c, &b, true);
	conf_command(c, b.dev, PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER);
	expect_revoked(c, &b, true);
	conf_command(c, b.dev, 0, PCI_COMMAND_MEMORY);
	expect_revoked(c, &b, false);
	expect_area_stays(c, &b);
}

static void source_before_address(struct conf *c, const void *data)
{
	struct bench b;

	(void)data;
	set_up(c, &b, PLAIN);
	expect(c, conf_map_file(c, b.iommufd, b.ioas, b.buf, 0, SIZE, BASE), -EEXIST);
	conf_command(c, b.dev, PCI_COMMAND_MEMORY, 0);
	expect(c, conf_map_file(c, b.iommufd, b.ioas, b.buf, 0, SIZE, BASE), -ENODEV);
}

static void two_ranges_revoked(struct conf *c, const void *data)
{
	int iommufd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, iommufd, 0);
	int buf = conf_export_two(c, dev, c->devices[PLAIN].bar);

	(void)data;
	expect(c, conf_probe_dmabuf(c, iommufd, buf), -EOPNOTSUPP);
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	expect(c, conf_probe_dmabuf(c, iommufd, buf), -ENODEV);
}

static void unmap_and_map_again(struct conf *c, const void *data)
{
	struct bench b;

	(void)data;
	set_up(c, &b, PLAIN);
	conf_command(c, b.dev, PCI_COMMAND_MEMORY, 0);
	conf_command(c, b.dev, 0, PCI_COMMAND_MEMORY);
	expect(c, conf_map_file(c, b.iommufd, b.ioas, b.buf, 0, SIZE, BASE), -EEXIST);
	expect(c, conf_unmap(c, b.iommufd, b.ioas, BASE, SIZE, NULL), 0);
	expect(c, conf_map_file(c, b.iommufd, b.ioas, b.buf, 0, SIZE, BASE), 0);
}

static void dead_area_copies(struct conf *c, const void *data)
{
	struct bench b;
	uint32_t other;

	(void)data;
	set_up(c, &b, PLAIN);
	other = conf_ioas_new(c, b.iommufd);
	conf_command(c, b.dev, PCI_COMMAND_MEMORY, 0);
	expect(c, conf_copy(c, b.iommufd, other, BASE, b.ioas, BASE, SIZE), 0);
	expect(c, conf_copy(c, b.iommufd, b.ioas, BASE + SIZE, b.ioas, BASE, PAGE), 0);
	expect(c, conf_probe_iova(c, b.iommufd, other, BASE), -EEXIST);
}

static void dead_area_attaches(struct conf *c, const void *data)
{
	struct bench b;
	uint32_t pt;

	(void)data;
	set_up(c, &b, PLAIN);
	pt = b.ioas;
	conf_command(c, b.dev, PCI_COMMAND_MEMORY, 0);
	expect(c, conf_detach(c, b.dev), 0);
	expect(c, conf_attach(c, b.dev, &pt), 0);
	expect_area_stays(c, &b);
}

static void reset_pulses(struct conf *c, const void *data)
{
	struct bench b;

	set_up(c, &b, *(const enum conf_role *)data);
	expect(c, conf_ioctl(c, b.dev, VFIO_DEVICE_RESET, NULL), 0);
	expect_revoked(c, &b, false);
	expect_area_stays(c, &b);
}

static void reset_while_off(struct conf *c, const void *data)
{
	struct bench b;

	set_up(c, &b, *(const enum conf_role *)data);
	conf_command(c, b.dev, PCI_COMMAND_MEMORY, 0);
	expect(c, conf_ioctl(c, b.dev, VFIO_DEVICE_RESET, NULL), 0);
	expect_revoked(c, &b, true);
	conf_command(c, b.dev, 0, PCI_COMMAND_MEMORY);
	expect_revoked(c, &b, false);
}

static void no_reset(struct conf *c, const void *data)
{
	struct bench b;

	set_up(c, &b, *(const enum conf_role *)data);
	expect(c, conf_ioctl(c, b.dev, VFIO_DEVICE_RESET, NULL), -EINVAL);
	expect_revoked(c, &b, false);
}

static void flr_pulses(struct conf *c, const void *data)
{
	struct bench b;
	uint16_t control = 0;
	unsigned exp;

	(void)data;
	set_up(c, &b, FLR);
	exp = conf_capability(c, b.dev, PCI_CAP_ID_EXP);
	expect(c, conf_config_read(c, b.dev, exp + PCI_EXP_DEVCTL, &control, 2), 2);
	control |= PCI_EXP_DEVCTL_BCR_FLR;
	expect(c, conf_config_write(c, b.dev, exp + PCI_EXP_DEVCTL, &control, 2), 2);
	expect_revoked(c, &b, false);
	expect_area_stays(c, &b);
}

static void write_pmcsr(struct conf *c, int dev, unsigned state)
{
	unsigned pm = conf_capability(c, dev, PCI_CAP_ID_PM);
	uint16_t control = 0;

	expect(c, conf_config_read(c, dev, pm + PCI_PM_CTRL, &control, 2), 2);
	control = (uint16_t)((control & ~(unsigned)PCI_PM_CTRL_STATE_MASK) | state);
	expect(c, conf_config_write(c, dev, pm + PCI_PM_CTRL, &control, 2), 2);
}

static void d3hot(struct conf *c, const void *data)
{
	struct bench b;

	(void)data;
	set_up(c, &b, FLR);
	write_pmcsr(c, b.dev, 3);
	expect_revoked(c, &b, true);
	write_pmcsr(c, b.dev, 0);
	expect_revoked(c, &b, false);
	expect_area_stays(c, &b);
}

static void d3hot_and_decode(struct conf *c, const void *data)
{
	struct bench b;

	(void)data;
	set_up(c, &b, FLR);
	write_pmcsr(c, b.dev, 3);
	conf_command(c, b.dev, 0, PCI_COMMAND_MEMORY);
	expect_revoked(c, &b, true);
	conf_command(c, b.dev, PCI_COMMAND_MEMORY, 0);
	write_pmcsr(c, b.dev, 0);
	expect_revoked(c, &b, true);
	conf_command(c, b.dev, 0, PCI_COMMAND_MEMORY);
	expect_revoked(c, &b, false);
}

static int low_power(struct conf *c, int dev, uint32_t index, const void *data, size_t size)
{
	return conf_feature_call(c, dev, VFIO_DEVICE_FEATURE_SET | index, data, size);
}

static void low_power_cycle(struct conf *c, const void *data)
{
	enum conf_role role = *(const enum conf_role *)data;
	struct bench b;

	set_up(c, &b, role);
	expect(c, low_power(c, b.dev, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, NULL, 0), 0);
	expect_revoked(c, &b, true);
	expect(c, low_power(c, b.dev, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, NULL, 0), -EINVAL);
	expect(c, low_power(c, b.dev, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, NULL, 0), 0);
	expect_revoked(c, &b, false);
	expect_area_stays(c, &b);
}

static void low_power_export(struct conf *c, const void *data)
{
	struct bench b;
	int buf;

	(void)data;
	set_up(c, &b, PLAIN);
	expect(c, low_power(c, b.dev, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, NULL, 0), 0);
	buf = conf_export(c, b.dev, c->devices[PLAIN].bar, 0, PAGE);
	expect_true(c, buf >= 0);
	expect(c, conf_probe_dmabuf(c, b.iommufd, buf), 0);
	expect(c, conf_probe_dmabuf(c, b.iommufd, b.buf), -ENODEV);
}

static void low_power_wakeup(struct conf *c, const void *data)
{
	struct vfio_device_low_power_entry_with_wakeup entry = { .wakeup_eventfd =
									 conf_eventfd(c) };
	uint32_t value = 0;
	struct bench b;

	(void)data;
	set_up(c, &b, PLAIN);
	expect(c,
	       low_power(c, b.dev, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, &entry,
			 sizeof(entry)),
	       0);
	/* It goes to sleep after the call has returned. */
	usleep(200000);
	expect(c, conf_count(c, entry.wakeup_eventfd), 0);
	expect(c, conf_config_read(c, b.dev, 0, &value, 4), 4);
	expect(c, conf_count(c, entry.wakeup_eventfd), 1);
	expect_revoked(c, &b, true);
	expect(c, low_power(c, b.dev, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, NULL, 0), 0);
	expect(c, conf_count(c, entry.wakeup_eventfd), 0);
	expect_revoked(c, &b, false);
}

static void low_power_bad_eventfd(struct conf *c, const void *data)
{
	struct vfio_device_low_power_entry_with_wakeup entry = { .wakeup_eventfd = -1 };
	const uint32_t index = VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP;
	struct bench b;

	(void)data;
	set_up(c, &b, PLAIN);
	expect(c, low_power(c, b.dev, index, &entry, sizeof(entry)), -EINVAL);
	entry.wakeup_eventfd = 1000;
	expect(c, low_power(c, b.dev, index, &entry, sizeof(entry)), -EBADF);
	entry.wakeup_eventfd = b.buf;
	expect(c, low_power(c, b.dev, index, &entry, sizeof(entry)), -EINVAL);
	expect_revoked(c, &b, false);
}

static void low_power_mapping(struct conf *c, const void *data)
{
	struct bench b;
	void *mem;

	(void)data;
	set_up(c, &b, PLAIN);
	if (!expect(c,
		    conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, b.dev,
			      (uint64_t)c->devices[PLAIN].bar << 40, &mem),
		    0))
		return;
	expect(c, low_power(c, b.dev, VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, NULL, 0), 0);
	expect(c, conf_touch(mem, false), -EFAULT);
	expect(c, low_power(c, b.dev, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, NULL, 0), 0);
	expect(c, conf_touch(mem, false), 0);
}

static void close_kills(struct conf *c, const void *data)
{
	struct bench b;

	(void)data;
	set_up(c, &b, PLAIN);
	expect(c, conf_close(c, b.dev), 0);
	expect_revoked(c, &b, true);
	b.dev = conf_device_open(c, PLAIN, b.iommufd, 0);
	expect_revoked(c, &b, true);
	conf_command(c, b.dev, PCI_COMMAND_MEMORY, 0);
	conf_command(c, b.dev, 0, PCI_COMMAND_MEMORY);
	expect_revoked(c, &b, true);
	expect_area_stays(c, &b);
}

static void import_holds_no_device(struct conf *c, const void *data)
{
	struct bench b;

	(void)data;
	set_up(c, &b, PLAIN);
	expect(c, conf_close(c, b.dev), 0);
	expect(c, conf_bind(c, conf_cdev(c, PLAIN), b.iommufd, NULL), 0);
}

static void reset_maps_back(struct conf *c, const void *data)
{
	struct bench b;
	void *mem;

	(void)data;
	set_up(c, &b, FLR);
	if (!expect(c,
		    conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, b.dev,
			      (uint64_t)c->devices[FLR].bar << 40, &mem),
		    0))
		return;
	expect(c, conf_touch(mem, false), 0);
	expect(c, conf_ioctl(c, b.dev, VFIO_DEVICE_RESET, NULL), 0);
	expect(c, conf_touch(mem, false), 0);
}

static void other_device_untouched(struct conf *c, const void *data)
{
	struct bench b;
	int other;

	(void)data;
	set_up(c, &b, PLAIN);
	other = conf_device_open(c, FLR, b.iommufd, b.ioas);
	expect(c, conf_ioctl(c, other, VFIO_DEVICE_RESET, NULL), 0);
	conf_command(c, other, PCI_COMMAND_MEMORY, 0);
	expect_revoked(c, &b, false);
}

/* ----------------------------------------------------------------------- hot reset */

struct hot_info {
	struct vfio_pci_hot_reset_info head;
	struct vfio_pci_dependent_device devices[4];
};

static int hot_reset(struct conf *c, int dev)
{
	struct vfio_pci_hot_reset reset = { .argsz = sizeof(reset) };

	return conf_ioctl(c, dev, VFIO_DEVICE_PCI_HOT_RESET, &reset);
}

static void hot_info_count(struct conf *c, const void *data)
{
	int iommufd = conf_iommufd_open(c);
	uint32_t one = 0, other = 0;
	int dev = conf_cdev(c, PAIR);
	struct hot_info info = { .head.argsz = sizeof(info.head) };

	(void)data;
	expect(c, conf_bind(c, dev, iommufd, &one), 0);
	expect(c, conf_bind(c, conf_cdev(c, PEER), iommufd, &other), 0);
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), -ENOSPC);
	expect(c, info.head.count, 2);
	info.head.argsz = sizeof(info);
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), 0);
	expect(c, info.head.count, 2);
	expect(c, info.head.flags,
	       VFIO_PCI_HOT_RESET_FLAG_DEV_ID | VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED);
	expect_true(c, info.devices[0].devid == one || info.devices[1].devid == one);
	expect_true(c, info.devices[0].devid == other || info.devices[1].devid == other);
}

/* Both are in one IOMMU group, which has one owner: who is not open belongs to it, too. */
static void hot_reset_with_closed(struct conf *c, const void *data)
{
	int iommufd = conf_iommufd_open(c);
	uint32_t devid = 0;
	int dev = conf_cdev(c, PAIR);
	struct hot_info info = { .head.argsz = sizeof(info) };

	(void)data;
	expect(c, conf_bind(c, dev, iommufd, &devid), 0);
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), 0);
	expect(c, info.head.flags,
	       VFIO_PCI_HOT_RESET_FLAG_DEV_ID | VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED);
	expect(c, info.devices[0].devid + info.devices[1].devid, devid + VFIO_PCI_DEVID_OWNED);
	expect(c, hot_reset(c, dev), 0);
}

static void group_has_one_owner(struct conf *c, const void *data)
{
	int peer = conf_cdev(c, PEER);
	int dev = conf_device_open(c, PAIR, conf_iommufd_open(c), 0);

	(void)data;
	expect(c, conf_bind(c, peer, conf_iommufd_open(c), NULL), -EPERM);
	expect(c, conf_close(c, dev), 0);
	expect(c, conf_bind(c, peer, conf_iommufd_open(c), NULL), 0);
}

static void group_has_one_hwpt(struct conf *c, const void *data)
{
	int iommufd = conf_iommufd_open(c);
	uint32_t first = conf_ioas_new(c, iommufd), second = conf_ioas_new(c, iommufd), pt = second;
	int dev = conf_device_open(c, PAIR, iommufd, first);
	int peer = conf_device_open(c, PEER, iommufd, 0);

	(void)data;
	expect(c, conf_attach(c, peer, &pt), -EINVAL);
	pt = first;
	expect(c, conf_attach(c, peer, &pt), 0);
	/* One that moves takes the other along. */
	pt = second;
	expect(c, conf_attach(c, dev, &pt), 0);
	expect(c, conf_destroy(c, iommufd, first), 0);
	expect(c, conf_detach(c, dev), 0);
	expect(c, conf_destroy(c, iommufd, second), -EBUSY);
	expect(c, conf_detach(c, peer), 0);
	expect(c, conf_destroy(c, iommufd, second), 0);
}

static void hot_reset_both(struct conf *c, const void *data)
{
	struct bench b;
	int peer, buf;

	(void)data;
	set_up(c, &b, PAIR);
	peer = conf_device_open(c, PEER, b.iommufd, 0);
	buf = conf_export(c, peer, c->devices[PEER].bar, 0, PAGE);
	conf_command(c, peer, PCI_COMMAND_MEMORY, 0);
	expect(c, hot_reset(c, b.dev), 0);
	expect_revoked(c, &b, false);
	expect(c, conf_probe_dmabuf(c, b.iommufd, buf), -ENODEV);
	expect_area_stays(c, &b);
}

static void hot_reset_alone(struct conf *c, const void *data)
{
	struct bench b;
	struct hot_info info = { .head.argsz = sizeof(info) };

	set_up(c, &b, *(const enum conf_role *)data);
	expect(c, conf_ioctl(c, b.dev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), 0);
	expect(c, info.head.count, 1);
	expect(c, info.head.flags,
	       VFIO_PCI_HOT_RESET_FLAG_DEV_ID | VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED);
	expect(c, hot_reset(c, b.dev), 0);
	expect_revoked(c, &b, false);
	expect_area_stays(c, &b);
}

static void hot_reset_arguments(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, PAIR, conf_iommufd_open(c), 0);
	struct {
		struct vfio_pci_hot_reset head;
		int32_t fd;
	} reset = { .head = { .argsz = sizeof(reset), .count = 1 } };

	(void)data;
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_PCI_HOT_RESET, &reset), -EINVAL);
	reset.head.count = 0;
	reset.head.flags = 1;
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_PCI_HOT_RESET, &reset), -EINVAL);
}

static void hot_reset_none(struct conf *c, const void *data)
{
	int dev = conf_device_open(c, NO_RESET, conf_iommufd_open(c), 0);
	struct hot_info info = { .head.argsz = sizeof(info) };

	(void)data;
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &info), -ENODEV);
	expect(c, hot_reset(c, dev), -ENODEV);
}

#define RESET(rule, run, role, need)                                                               \
	{                                                                                          \
		rule, CORE "vfio_pci_ioctl_reset", run, &(const enum conf_role){ role },           \
			NEED_IOMMUFD | (need)                                                      \
	}

static const struct conf_case revocation[] = {
	{ "memory decode off revokes, on brings back; the area stays",
	  CONFIG "vfio_basic_config_write", decode_off_on, DEV },
	{ "a revoked dma-buf: ENODEV also where the address is taken",
	  "drivers/iommu/iommufd/io_pagetable.c:iopt_map_file_pages", source_before_address, DEV },
	{ "a revoked dma-buf of two ranges: ENODEV", DMABUF "vfio_pci_dma_buf_iommufd_map",
	  two_ranges_revoked, DEV },
	{ "after a revocation: UNMAP and MAP_FILE at the same address", PAGES "iopt_revoke_notify",
	  unmap_and_map_again, DEV },
	{ "COPY of a dead area works", PAGES "iopt_area_fill_domains", dead_area_copies, DEV },
	{ "ATTACH with a dead area works", PAGES "iopt_area_fill_domain", dead_area_attaches, DEV },
	RESET("VFIO_DEVICE_RESET: afterwards dma-bufs can be imported, the area stays",
	      reset_pulses, FLR, NEED_FLR),
	RESET("VFIO_DEVICE_RESET of a device alone in its slot does the same", reset_pulses, ALONE,
	      NEED_ALONE),
	RESET("VFIO_DEVICE_RESET while memory is off leaves it off", reset_while_off, FLR,
	      NEED_FLR),
	RESET("VFIO_DEVICE_RESET of a device alone in its slot while memory is off",
	      reset_while_off, ALONE, NEED_ALONE),
	RESET("VFIO_DEVICE_RESET of a device without: EINVAL, nothing revoked", no_reset, NO_RESET,
	      NEED_NO_RESET),
	RESET("VFIO_DEVICE_RESET of one function of two without Function Level Reset: EINVAL",
	      no_reset, PAIR, NEED_PAIR),
	{ "Function Level Reset: afterwards dma-bufs can be imported",
	  CONFIG "vfio_exp_config_write", flr_pulses, FLR_DEV },
	{ "D3hot revokes, D0 brings back", CONFIG "vfio_lock_and_set_power_state", d3hot, FLR_DEV },
	{ "memory is on with decode and power, both", CONFIG "__vfio_pci_memory_enabled",
	  d3hot_and_decode, FLR_DEV },
	{ "low power revokes, leaving it brings back; entered twice: EINVAL",
	  CORE "vfio_pci_runtime_pm_entry", low_power_cycle, &(const enum conf_role){ PLAIN },
	  NEED_IOMMUFD | NEED_PLAIN },
	{ "low power on PCI Express", CORE "vfio_pci_runtime_pm_entry", low_power_cycle,
	  &(const enum conf_role){ FLR }, NEED_IOMMUFD | NEED_FLR },
	{ "a dma-buf made in low power is not revoked, older ones stay so",
	  DMABUF "vfio_pci_core_feature_dma_buf", low_power_export, DEV },
	{ "low power with an eventfd: an access wakes the device, dma-bufs stay revoked",
	  CORE "vfio_pci_core_runtime_resume", low_power_wakeup, DEV },
	{ "low power with a bad eventfd: nothing revoked",
	  CORE "vfio_pci_core_pm_entry_with_wakeup", low_power_bad_eventfd, DEV },
	{ "a mapping: SIGBUS in low power", CORE "vfio_pci_vmf_insert_pfn", low_power_mapping,
	  DEV },
	{ "closing the device kills its dma-bufs for good", DMABUF "vfio_pci_dma_buf_cleanup",
	  close_kills, DEV },
	{ "an import does not hold the device open", DMABUF "vfio_pci_dma_buf_cleanup",
	  import_holds_no_device, DEV },
	{ "a mapping comes back after a reset", CORE "vfio_pci_zap_bars", reset_maps_back,
	  FLR_DEV },
	{ "another device's reset revokes nothing here", DMABUF "vfio_pci_dma_buf_move",
	  other_device_untouched, NULL, NEED_IOMMUFD | NEED_PLAIN | NEED_FLR },
	{ "GET_PCI_HOT_RESET_INFO: ENOSPC and the count, then the devices",
	  CORE "vfio_pci_ioctl_get_pci_hot_reset_info", hot_info_count, NULL,
	  NEED_IOMMUFD | NEED_PAIR },
	{ "hot reset with a device of the group that is not open",
	  CORE "vfio_pci_dev_set_hot_reset", hot_reset_with_closed, NULL,
	  NEED_IOMMUFD | NEED_PAIR },
	{ "an IOMMU group has one owner: BIND to another iommufd EPERM",
	  "drivers/iommu/iommu.c:iommu_device_claim_dma_owner", group_has_one_owner, NULL,
	  NEED_IOMMUFD | NEED_PAIR },
	{ "devices of an IOMMU group have one HWPT",
	  "drivers/iommu/iommufd/device.c:iommufd_hw_pagetable_attach", group_has_one_hwpt, NULL,
	  NEED_IOMMUFD | NEED_PAIR },
	{ "hot reset reaches both devices and leaves memory as it was",
	  CORE "vfio_pci_dev_set_hot_reset", hot_reset_both, NULL, NEED_IOMMUFD | NEED_PAIR },
	{ "hot reset of a device alone in its slot", CORE "vfio_pci_dev_set_hot_reset",
	  hot_reset_alone, &(const enum conf_role){ ALONE }, NEED_IOMMUFD | NEED_ALONE },
	{ "hot reset with groups or flags on a cdev: EINVAL", CORE "vfio_pci_ioctl_pci_hot_reset",
	  hot_reset_arguments, NULL, NEED_IOMMUFD | NEED_PAIR },
	{ "hot reset where nothing can be reset: ENODEV", CORE "vfio_pci_ioctl_pci_hot_reset",
	  hot_reset_none, NULL, NEED_IOMMUFD | NEED_NO_RESET },
};

CONF_TABLE(conf_revocation, revocation);
