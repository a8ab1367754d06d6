/* SPDX-License-Identifier: MIT */
/* Configuration space. */
#include "conf.h"

#define CONFIG	"drivers/vfio/pci/vfio_pci_config.c:"
#define DEV	NULL, NEED_IOMMUFD | NEED_PLAIN
#define FLR_DEV NULL, NEED_IOMMUFD | NEED_FLR

static int open_bound(struct conf *c, enum conf_role role)
{
	return conf_device_open(c, role, conf_iommufd_open(c), 0);
}

static void rw_past_end(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);
	struct vfio_region_info info = { .argsz = sizeof(info),
					 .index = VFIO_PCI_CONFIG_REGION_INDEX };
	uint8_t buf[16] = { 0 };
	unsigned size;

	(void)data;
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_GET_REGION_INFO, &info), 0);
	size = (unsigned)info.size;
	expect(c, conf_config_read(c, dev, size - 4, buf, 4), 4);
	expect(c, conf_config_read(c, dev, size - 4, buf, 5), -EFAULT);
	expect(c, conf_config_read(c, dev, size, buf, 1), -EFAULT);
	expect(c, conf_config_write(c, dev, size - 4, buf, 8), -EFAULT);
	expect(c, conf_config_write(c, dev, size, buf, 1), -EFAULT);
}

static void rw_nothing_done_past_end(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);
	static uint8_t buf[PCI_CFG_SPACE_EXP_SIZE + 64];
	uint16_t before = 0, after = 0;

	(void)data;
	expect(c, conf_config_read(c, dev, PCI_COMMAND, &before, 2), 2);
	/* It would clear memory decode on the way. */
	expect(c, conf_config_write(c, dev, PCI_COMMAND, buf, sizeof(buf)), -EFAULT);
	expect(c, conf_config_read(c, dev, PCI_COMMAND, &after, 2), 2);
	expect(c, after, before);
}

static void rw_whole(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);
	uint8_t buf[256], byte = 0;

	(void)data;
	expect(c, conf_config_read(c, dev, 0, buf, sizeof(buf)), sizeof(buf));
	for (unsigned i = 0; i < 64; i++) {
		expect(c, conf_config_read(c, dev, i, &byte, 1), 1);
		expect(c, byte, buf[i]);
	}
}

static void rw_unaligned(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);
	uint8_t buf[8], all[16];

	(void)data;
	expect(c, conf_config_read(c, dev, 0, all, 16), 16);
	expect(c, conf_config_read(c, dev, 1, buf, 7), 7);
	expect(c, memcmp(buf, all + 1, 7), 0);
	expect(c, conf_config_read(c, dev, 3, buf, 2), 2);
	expect(c, memcmp(buf, all + 3, 2), 0);
}

static void bad_address(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);

	(void)data;
	expect(c, conf_config_read(c, dev, 0, NULL, 4), -EFAULT);
	expect(c, conf_config_write(c, dev, PCI_COMMAND, NULL, 2), -EFAULT);
}

static void read_only(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);
	uint32_t before = 0, after = 0, ones = UINT32_MAX;

	(void)data;
	expect(c, conf_config_read(c, dev, PCI_VENDOR_ID, &before, 4), 4);
	expect(c, conf_config_write(c, dev, PCI_VENDOR_ID, &ones, 4), 4);
	expect(c, conf_config_read(c, dev, PCI_VENDOR_ID, &after, 4), 4);
	expect(c, after, before);
	expect(c, conf_config_read(c, dev, PCI_REVISION_ID, &before, 4), 4);
	expect(c, conf_config_write(c, dev, PCI_REVISION_ID, &ones, 4), 4);
	expect(c, conf_config_read(c, dev, PCI_REVISION_ID, &after, 4), 4);
	expect(c, after, before);
}

static void bar_sizing(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);
	unsigned at = PCI_BASE_ADDRESS_0 + 4 * c->devices[PLAIN].bar;
	uint32_t before = 0, after = 0, ones = UINT32_MAX;

	(void)data;
	expect(c, conf_config_read(c, dev, at, &before, 4), 4);
	expect(c, conf_config_write(c, dev, at, &ones, 4), 4);
	expect(c, conf_config_read(c, dev, at, &after, 4), 4);
	expect(c, after & ~0xfU, (uint32_t) ~(c->devices[PLAIN].bar_size - 1));
	expect(c, after & 0xf, before & 0xf);
	expect(c, conf_config_write(c, dev, at, &before, 4), 4);
	expect(c, conf_config_read(c, dev, at, &after, 4), 4);
	expect(c, after, before);
}

static void bar_moves_nothing(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);
	unsigned at = PCI_BASE_ADDRESS_0 + 4 * c->devices[PLAIN].bar;
	uint64_t pos = (uint64_t)c->devices[PLAIN].bar << 40;
	uint32_t zero = 0, before = 0, after = 0;

	(void)data;
	expect(c, c->kernel->pread(c->kernel->data, dev, &before, 4, pos), 4);
	expect(c, conf_config_write(c, dev, at, &zero, 4), 4);
	expect(c, c->kernel->pread(c->kernel->data, dev, &after, 4, pos), 4);
	expect(c, after, before);
}

static void command_bits(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);
	uint16_t command = 0;

	(void)data;
	conf_command(c, dev, 0, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	expect(c, conf_config_read(c, dev, PCI_COMMAND, &command, 2), 2);
	expect(c, command & (PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MEMORY),
	       PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MEMORY);
	conf_command(c, dev, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY, 0);
	expect(c, conf_config_read(c, dev, PCI_COMMAND, &command, 2), 2);
	expect(c, command & (PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MEMORY),
	       PCI_COMMAND_INTX_DISABLE);
}

/* One byte at PCI_COMMAND counts, one byte behind it does not. */
static void command_by_bytes(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);
	uint64_t pos = (uint64_t)c->devices[PLAIN].bar << 40;
	uint8_t low = 0, high = 0;
	uint32_t value;

	(void)data;
	expect(c, conf_config_write(c, dev, PCI_COMMAND + 1, &high, 1), 1);
	expect(c, c->kernel->pread(c->kernel->data, dev, &value, 4, pos), 4);
	expect(c, conf_config_write(c, dev, PCI_COMMAND, &low, 1), 1);
	expect(c, c->kernel->pread(c->kernel->data, dev, &value, 4, pos), -EIO);
	low = PCI_COMMAND_MEMORY;
	expect(c, conf_config_write(c, dev, PCI_COMMAND, &low, 1), 1);
	expect(c, c->kernel->pread(c->kernel->data, dev, &value, 4, pos), 4);
}

static void command_in_long_write(struct conf *c, const void *data)
{
	int dev = open_bound(c, PLAIN);
	uint64_t pos = (uint64_t)c->devices[PLAIN].bar << 40;
	uint8_t buf[8];
	uint32_t value;

	(void)data;
	expect(c, conf_config_read(c, dev, 0, buf, sizeof(buf)), sizeof(buf));
	buf[PCI_COMMAND] &= (uint8_t)~PCI_COMMAND_MEMORY;
	expect(c, conf_config_write(c, dev, 0, buf, sizeof(buf)), sizeof(buf));
	expect(c, c->kernel->pread(c->kernel->data, dev, &value, 4, pos), -EIO);
}

static void flr_bit_reads_zero(struct conf *c, const void *data)
{
	int dev = open_bound(c, FLR);
	unsigned exp = conf_capability(c, dev, PCI_CAP_ID_EXP);
	uint16_t control = 0;

	(void)data;
	expect(c, conf_config_read(c, dev, exp + PCI_EXP_DEVCTL, &control, 2), 2);
	expect(c, control & PCI_EXP_DEVCTL_BCR_FLR, 0);
	control |= PCI_EXP_DEVCTL_BCR_FLR;
	expect(c, conf_config_write(c, dev, exp + PCI_EXP_DEVCTL, &control, 2), 2);
	expect(c, conf_config_read(c, dev, exp + PCI_EXP_DEVCTL, &control, 2), 2);
	expect(c, control & PCI_EXP_DEVCTL_BCR_FLR, 0);
}

static void flr_keeps_command(struct conf *c, const void *data)
{
	int dev = open_bound(c, FLR);
	unsigned exp = conf_capability(c, dev, PCI_CAP_ID_EXP);
	uint16_t control = 0, command = 0;

	(void)data;
	conf_command(c, dev, 0, PCI_COMMAND_MASTER);
	expect(c, conf_config_read(c, dev, exp + PCI_EXP_DEVCTL, &control, 2), 2);
	control |= PCI_EXP_DEVCTL_BCR_FLR;
	expect(c, conf_config_write(c, dev, exp + PCI_EXP_DEVCTL, &control, 2), 2);
	expect(c, conf_config_read(c, dev, PCI_COMMAND, &command, 2), 2);
	expect(c, command & (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER),
	       PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void set_power(struct conf *c, int dev, unsigned state)
{
	unsigned pm = conf_capability(c, dev, PCI_CAP_ID_PM);
	uint16_t control = 0;

	expect_true(c, pm);
	expect(c, conf_config_read(c, dev, pm + PCI_PM_CTRL, &control, 2), 2);
	control = (uint16_t)((control & ~(unsigned)PCI_PM_CTRL_STATE_MASK) | state);
	expect(c, conf_config_write(c, dev, pm + PCI_PM_CTRL, &control, 2), 2);
}

static unsigned get_power(struct conf *c, int dev)
{
	unsigned pm = conf_capability(c, dev, PCI_CAP_ID_PM);
	uint16_t control = 0;

	expect(c, conf_config_read(c, dev, pm + PCI_PM_CTRL, &control, 2), 2);
	return control & PCI_PM_CTRL_STATE_MASK;
}

static void power_states(struct conf *c, const void *data)
{
	int dev = open_bound(c, FLR);

	(void)data;
	expect(c, get_power(c, dev), 0);
	set_power(c, dev, 3);
	expect(c, get_power(c, dev), 3);
	set_power(c, dev, 0);
	expect(c, get_power(c, dev), 0);
}

static void power_off_is_eio(struct conf *c, const void *data)
{
	int dev = open_bound(c, FLR);
	uint64_t pos = (uint64_t)c->devices[FLR].bar << 40;
	uint32_t value;

	(void)data;
	set_power(c, dev, 3);
	expect(c, c->kernel->pread(c->kernel->data, dev, &value, 4, pos), -EIO);
	set_power(c, dev, 0);
	expect(c, c->kernel->pread(c->kernel->data, dev, &value, 4, pos), 4);
}

static void reset_powers_up(struct conf *c, const void *data)
{
	int dev = open_bound(c, FLR);

	(void)data;
	set_power(c, dev, 3);
	expect(c, conf_ioctl(c, dev, VFIO_DEVICE_RESET, NULL), 0);
	expect(c, get_power(c, dev), 0);
}

static void extended(struct conf *c, const void *data)
{
	int dev = open_bound(c, FLR);
	uint32_t header = 0;

	(void)data;
	expect(c, conf_config_read(c, dev, PCI_CFG_SPACE_SIZE, &header, 4), 4);
	expect(c, conf_config_read(c, dev, PCI_CFG_SPACE_EXP_SIZE - 1, &header, 1), 1);
	expect(c, conf_config_read(c, dev, PCI_CFG_SPACE_EXP_SIZE, &header, 1), -EFAULT);
}

static void capability_list(struct conf *c, const void *data)
{
	int dev = open_bound(c, FLR);

	(void)data;
	expect_true(c, conf_capability(c, dev, PCI_CAP_ID_EXP) >= 0x40);
	expect_true(c, conf_capability(c, dev, PCI_CAP_ID_MSIX) >= 0x40);
	expect_true(c, conf_capability(c, dev, PCI_CAP_ID_PM) >= 0x40);
	expect(c, conf_capability(c, dev, 0x7f), 0);
}

static void capability_read_only(struct conf *c, const void *data)
{
	int dev = open_bound(c, FLR);
	unsigned msix = conf_capability(c, dev, PCI_CAP_ID_MSIX);
	uint32_t before = 0, after = 0, ones = UINT32_MAX;

	(void)data;
	for (unsigned at = msix; at < msix + PCI_CAP_MSIX_SIZEOF; at += 4) {
		expect(c, conf_config_read(c, dev, at, &before, 4), 4);
		expect(c, conf_config_write(c, dev, at, &ones, 4), 4);
		expect(c, conf_config_read(c, dev, at, &after, 4), 4);
		expect(c, after, before);
	}
}

static const struct conf_case config[] = {
	{ "configuration space: past its end EFAULT", CONFIG "vfio_pci_config_rw_single",
	  rw_past_end, DEV },
	{ "configuration space: an access past the end does nothing at all",
	  CONFIG "vfio_pci_config_rw_single", rw_nothing_done_past_end, DEV },
	{ "configuration space is read whole and by the byte", CONFIG "vfio_pci_config_rw",
	  rw_whole, DEV },
	{ "configuration space is read across words", CONFIG "vfio_pci_config_rw", rw_unaligned,
	  DEV },
	{ "configuration space to or from a bad address: EFAULT",
	  CONFIG "vfio_pci_config_rw_single", bad_address, DEV },
	{ "a write to read-only bits is dropped", CONFIG "vfio_default_config_write", read_only,
	  DEV },
	{ "all ones in a BAR register read back as its size", CONFIG "vfio_bar_fixup", bar_sizing,
	  DEV },
	{ "a write to a BAR register moves no BAR", CONFIG "init_pci_cap_basic_perm",
	  bar_moves_nothing, DEV },
	{ "PCI_COMMAND: decode, bus mastering and INTx disable", CONFIG "vfio_basic_config_write",
	  command_bits, DEV },
	{ "PCI_COMMAND by single bytes", CONFIG "vfio_basic_config_write", command_by_bytes, DEV },
	{ "PCI_COMMAND within a long write", CONFIG "vfio_pci_config_rw", command_in_long_write,
	  DEV },
	{ "the Function Level Reset bit reads as 0", CONFIG "vfio_exp_config_write",
	  flr_bit_reads_zero, FLR_DEV },
	{ "Function Level Reset keeps PCI_COMMAND", CONFIG "vfio_exp_config_write",
	  flr_keeps_command, FLR_DEV },
	{ "D3hot and back to D0", CONFIG "vfio_pm_config_write", power_states, FLR_DEV },
	{ "in D3hot a BAR reads EIO", CONFIG "__vfio_pci_memory_enabled", power_off_is_eio,
	  FLR_DEV },
	{ "VFIO_DEVICE_RESET leaves D3hot", "drivers/vfio/pci/vfio_pci_core.c:vfio_pci_ioctl_reset",
	  reset_powers_up, FLR_DEV },
	{ "extended configuration space", CONFIG "vfio_pci_config_rw_single", extended, FLR_DEV },
	{ "the capability list", CONFIG "vfio_cap_init", capability_list, FLR_DEV },
	{ "the MSI-X capability takes no write", CONFIG "vfio_pci_init_perm_bits",
	  capability_read_only, FLR_DEV },
};

CONF_TABLE(conf_config, config);
