/* SPDX-License-Identifier: MIT */
/* PCI configuration space as vfio-pci presents it (drivers/vfio/pci/vfio_pci_config.c). */
#include "sim.h"

#define NOBODY 0xff /* bytes of no capability */
#define BASIC  0

#define COMMAND_WRITABLE                                                                           \
	(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | 0x100 |                        \
	 PCI_COMMAND_INTX_DISABLE)
#define PM_OFFSET   0x40
#define EXP_OFFSET  0x60
#define EXP_SIZE    0x3c
#define MSIX_OFFSET 0xa0
#define AF_OFFSET   0xb0

static void put16(uint8_t *config, unsigned at, unsigned value)
{
	config[at] = (uint8_t)value;
	config[at + 1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *config, unsigned at, uint32_t value)
{
	put16(config, at, value & 0xffff);
	put16(config, at + 2, value >> 16);
}

static unsigned get16(const uint8_t *config, unsigned at)
{
	return config[at] | (unsigned)config[at + 1] << 8;
}

/* Append a capability to the list; *last is where the pointer to it goes. */
static unsigned add_cap(struct sim_vdev *vdev, unsigned *last, unsigned at, uint8_t id,
			unsigned size)
{
	vdev->config[*last] = (uint8_t)at;
	vdev->config[at + PCI_CAP_LIST_ID] = id;
	memset(vdev->owner + at, id, size);
	*last = at + PCI_CAP_LIST_NEXT;
	return at;
}

static void init_header(struct sim_vdev *vdev, const struct pfnbuf_sim_device *spec)
{
	memset(vdev->owner, BASIC, 0x40);
	put16(vdev->config, PCI_VENDOR_ID, spec->vendor);
	put16(vdev->config, PCI_DEVICE_ID, spec->device);
	put16(vdev->config, PCI_CLASS_DEVICE, 0x0880);
	put16(vdev->config, PCI_SUBSYSTEM_VENDOR_ID, spec->vendor);
	put16(vdev->config, PCI_SUBSYSTEM_ID, spec->device);
	put16(vdev->writable, PCI_COMMAND, COMMAND_WRITABLE);
	vdev->writable[0x0c] = vdev->writable[0x0d] = 0xff;
	vdev->writable[PCI_INTERRUPT_LINE] = 0xff;
}

static uint32_t bar_bits(const struct sim_bar *bar)
{
	if (bar->flags & PFNBUF_SIM_BAR_IO)
		return PCI_BASE_ADDRESS_SPACE_IO;
	return (bar->flags & PFNBUF_SIM_BAR_64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0U) |
	       (bar->flags & PFNBUF_SIM_BAR_PREFETCHABLE ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0U);
}

static void init_bars(struct sim_vdev *vdev)
{
	for (unsigned i = 0; i < 6; i++) {
		const struct sim_bar *bar = &vdev->bars[i];
		unsigned at = PCI_BASE_ADDRESS_0 + 4 * i;

		if (!bar->size)
			continue;
		put32(vdev->config, at, (uint32_t)bar->start | bar_bits(bar));
		put32(vdev->writable, at, (uint32_t) ~(bar->size - 1));
		if (!(bar->flags & PFNBUF_SIM_BAR_64))
			continue;
		put32(vdev->config, at + 4, (uint32_t)(bar->start >> 32));
		put32(vdev->writable, at + 4, (uint32_t)(~(bar->size - 1) >> 32));
	}
}

static void init_exp(struct sim_vdev *vdev)
{
	uint32_t devcap = (vdev->flags & PFNBUF_SIM_FLR ? PCI_EXP_DEVCAP_FLR : 0U) |
			  (vdev->flags & PFNBUF_SIM_TEE ? PCI_EXP_DEVCAP_TEE : 0U);

	put16(vdev->config, vdev->exp + PCI_EXP_FLAGS, 2); /* version 2, endpoint */
	put32(vdev->config, vdev->exp + PCI_EXP_DEVCAP, devcap);
	put16(vdev->writable, vdev->exp + PCI_EXP_DEVCTL, 0xfdff);
}

static void init_msix(struct sim_vdev *vdev, const struct pfnbuf_sim_device *spec)
{
	put16(vdev->config, vdev->msix + PCI_MSIX_FLAGS, spec->msix_vectors - 1);
	put32(vdev->config, vdev->msix + PCI_MSIX_TABLE, spec->msix_table | spec->msix_bar);
	put32(vdev->config, vdev->msix + PCI_MSIX_PBA, spec->msix_pba | spec->msix_pba_bar);
}

static void init_af(struct sim_vdev *vdev)
{
	vdev->config[vdev->af + PCI_AF_LENGTH] = PCI_CAP_AF_SIZEOF;
	vdev->config[vdev->af + PCI_AF_CAP] = PCI_AF_CAP_TP | PCI_AF_CAP_FLR;
	vdev->writable[vdev->af + PCI_AF_CTRL] = PCI_AF_CTRL_FLR;
}

void sim_config_init(struct sim_vdev *vdev, const struct pfnbuf_sim_device *spec)
{
	unsigned last = PCI_CAPABILITY_LIST;

	memset(vdev->owner, NOBODY, sizeof(vdev->owner));
	vdev->config_size = PCI_CFG_SPACE_SIZE;
	init_header(vdev, spec);
	init_bars(vdev);
	if (spec->flags & PFNBUF_SIM_PM) {
		vdev->pm = add_cap(vdev, &last, PM_OFFSET, PCI_CAP_ID_PM, PCI_PM_SIZEOF);
		put16(vdev->config, vdev->pm + PCI_PM_PMC, 3);
		/*
		 * It does not lose its state on the way from D3hot, so this is no way to reset it.
		 */
		put16(vdev->config, vdev->pm + PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET);
	}
	if (spec->flags & (PFNBUF_SIM_FLR | PFNBUF_SIM_TEE)) {
		vdev->exp = add_cap(vdev, &last, EXP_OFFSET, PCI_CAP_ID_EXP, EXP_SIZE);
		vdev->config_size = PCI_CFG_SPACE_EXP_SIZE;
		init_exp(vdev);
	}
	if (spec->msix_vectors) {
		vdev->msix =
			add_cap(vdev, &last, MSIX_OFFSET, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
		init_msix(vdev, spec);
	}
	if (spec->flags & PFNBUF_SIM_AF_FLR) {
		vdev->af = add_cap(vdev, &last, AF_OFFSET, PCI_CAP_ID_AF, PCI_CAP_AF_SIZEOF);
		init_af(vdev);
	}
	if (last != PCI_CAPABILITY_LIST)
		put16(vdev->config, PCI_STATUS, PCI_STATUS_CAP_LIST);
}

/* As pci_enable_device leaves it: decode on for what the device has, no bus master. */
void sim_config_open(struct sim_vdev *vdev)
{
	unsigned command = vdev->flags & PFNBUF_SIM_VF ? PCI_COMMAND_MEMORY : 0;

	for (unsigned i = 0; i < 6; i++)
		if (vdev->bars[i].size)
			command |= vdev->bars[i].flags & PFNBUF_SIM_BAR_IO ? PCI_COMMAND_IO
									   : PCI_COMMAND_MEMORY;
	put16(vdev->config, PCI_COMMAND, command);
	init_bars(vdev);
}

void sim_config_set_decode(struct sim_vdev *vdev, bool on)
{
	unsigned command = get16(vdev->config, PCI_COMMAND) & ~(unsigned)PCI_COMMAND_MEMORY;

	put16(vdev->config, PCI_COMMAND, command | (on ? PCI_COMMAND_MEMORY : 0));
}

static void store(struct sim_vdev *vdev, unsigned pos, unsigned count, uint32_t value)
{
	for (unsigned i = 0; i < count; i++) {
		uint8_t byte = (uint8_t)(value >> (8 * i));
		uint8_t mask = vdev->writable[pos + i];

		vdev->config[pos + i] = (uint8_t)((vdev->config[pos + i] & ~mask) | (byte & mask));
	}
}

static void write_command(struct sim_vdev *vdev, unsigned pos, unsigned count, uint32_t value)
{
	if (!(value & PCI_COMMAND_MEMORY)) {
		sim_tdi_revoke(vdev, "memory decode off");
		sim_vdev_move_dmabufs(vdev, true);
	}
	store(vdev, pos, count, value);
	if (sim_vdev_enabled(vdev))
		sim_vdev_move_dmabufs(vdev, false);
	sim_mapping_update(vdev->sim, vdev);
}

static void write_power(struct sim_vdev *vdev, unsigned pos, unsigned count, uint32_t value)
{
	unsigned state = value & PCI_PM_CTRL_STATE_MASK;

	store(vdev, pos, count, value);
	if (state == 3) {
		sim_tdi_revoke(vdev, "D3hot");
		sim_vdev_move_dmabufs(vdev, true);
	}
	/* The device has neither D1 nor D2: asked for one it stays what it is. */
	if (state == 0 || state == 3)
		vdev->power = state;
	vdev->config[vdev->pm + PCI_PM_CTRL] = (uint8_t)((vdev->config[vdev->pm + PCI_PM_CTRL] &
							  ~(unsigned)PCI_PM_CTRL_STATE_MASK) |
							 vdev->power);
	if (sim_vdev_enabled(vdev))
		sim_vdev_move_dmabufs(vdev, false);
	sim_mapping_update(vdev->sim, vdev);
}

static void function_reset(struct sim_vdev *vdev)
{
	sim_tdi_revoke(vdev, "function level reset");
	sim_vdev_move_dmabufs(vdev, true);
	sim_vdev_reset(vdev);
	if (sim_vdev_enabled(vdev))
		sim_vdev_move_dmabufs(vdev, false);
	sim_mapping_update(vdev->sim, vdev);
}

/* The reset bits read as zero at all times; only a write can have set one. */
static void write_exp(struct sim_vdev *vdev, unsigned pos, unsigned count, uint32_t value)
{
	unsigned at = vdev->exp + PCI_EXP_DEVCTL;

	store(vdev, pos, count, value);
	if (!(get16(vdev->config, at) & PCI_EXP_DEVCTL_BCR_FLR))
		return;
	put16(vdev->config, at, get16(vdev->config, at) & ~(unsigned)PCI_EXP_DEVCTL_BCR_FLR);
	if (vdev->flags & PFNBUF_SIM_FLR)
		function_reset(vdev);
}

static void write_af(struct sim_vdev *vdev, unsigned pos, unsigned count, uint32_t value)
{
	store(vdev, pos, count, value);
	if (!(vdev->config[vdev->af + PCI_AF_CTRL] & PCI_AF_CTRL_FLR))
		return;
	vdev->config[vdev->af + PCI_AF_CTRL] &= (uint8_t)~PCI_AF_CTRL_FLR;
	function_reset(vdev);
}

static void write_chunk(struct sim_vdev *vdev, unsigned pos, unsigned count, uint32_t value)
{
	uint8_t owner = vdev->owner[pos];

	if (pos == PCI_COMMAND)
		write_command(vdev, pos, count, value);
	else if (owner == PCI_CAP_ID_PM && pos == vdev->pm + PCI_PM_CTRL)
		write_power(vdev, pos, count, value);
	else if (owner == PCI_CAP_ID_EXP)
		write_exp(vdev, pos, count, value);
	else if (owner == PCI_CAP_ID_AF)
		write_af(vdev, pos, count, value);
	else
		store(vdev, pos, count, value);
}

/* Aligned chunks of at most four bytes within one capability. */
static unsigned chunk_size(const struct sim_vdev *vdev, unsigned pos, size_t count)
{
	unsigned run = 1;

	while ((pos + run) % 4 && vdev->owner[pos + run] == vdev->owner[pos])
		run++;
	count = MIN(count, run);
	if (count >= 4 && pos % 4 == 0)
		return 4;
	return count >= 2 && pos % 2 == 0 ? 2 : 1;
}

ssize_t sim_config_rw(struct pfnbuf_sim *sim, struct sim_vdev *vdev, uint64_t buf, size_t count,
		      uint64_t pos, bool write)
{
	size_t done = 0;

	(void)sim;
	while (done < count) {
		unsigned at = (unsigned)pos + (unsigned)done;
		uint8_t bytes[4] = { 0 };
		unsigned chunk;
		int ret;

		if (pos + done >= vdev->config_size || count > vdev->config_size - pos)
			return -EFAULT;
		chunk = chunk_size(vdev, at, count - done);
		if (write)
			ret = sim_copy_in(bytes, buf + done, chunk);
		else
			ret = sim_copy_out(buf + done, vdev->config + at, chunk);
		if (ret)
			return ret;
		if (write)
			write_chunk(vdev, at, chunk,
				    bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
					    (uint32_t)bytes[3] << 24);
		done += chunk;
	}
	return (ssize_t)done;
}
