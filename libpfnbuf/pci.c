/* SPDX-License-Identifier: MIT */
/* PCI configuration space, as far as revocation goes: pure functions over its bytes. */
#include <stdio.h>

#include "private.h"
#include "uapi/pci.h"

/* A list of capabilities that runs in a circle ends here: they are at least 4 bytes apart. */
#define MAX_CAPS 48

/* A number of exactly @digits hexadecimal digits; -1 if it is none. */
static int parse_hex(const char *text, unsigned digits)
{
	int value = 0;

	for (unsigned i = 0; i < digits; i++) {
		static const char all[] = "0123456789abcdef";
		const char c = (char)(text[i] >= 'A' && text[i] <= 'F' ? text[i] + 32 : text[i]);
		const char *at = c ? strchr(all, c) : NULL;

		if (!at)
			return -1;
		value = value * 16 + (int)(at - all);
	}
	return value;
}

int pfnbuf_pci_parse_bdf(const char *text, char out[16])
{
	const size_t length = strnlen(text, sizeof("0000:00:00.0"));
	int domain = 0, bus, device, function;

	if (length == strlen("0000:00:00.0")) {
		domain = text[4] == ':' ? parse_hex(text, 4) : -1;
		text += 5;
	} else if (length != strlen("00:00.0")) {
		return -EINVAL;
	}
	if (domain < 0 || text[2] != ':' || text[5] != '.')
		return -EINVAL;
	bus = parse_hex(text, 2);
	device = parse_hex(text + 3, 2);
	function = parse_hex(text + 6, 1);
	if (bus < 0 || device < 0 || device > 0x1f || function < 0 || function > 7)
		return -EINVAL;
	snprintf(out, 16, "%04x:%02x:%02x.%x", (unsigned)domain & 0xffff, (unsigned)bus & 0xff,
		 (unsigned)device, (unsigned)function);
	return 0;
}

static uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)le16(p) | (uint32_t)le16(p + 2) << 16;
}

/*
 * Table and pending bits: a register each, with the BAR's number in the bits that alignment frees.
 */
static void scan_msix(const uint8_t config[PCI_CFG_SPACE_SIZE], unsigned at, struct pfnbuf_pci *pci)
{
	uint32_t table, pba, entries;

	if (at + PCI_CAP_MSIX_SIZEOF > PCI_CFG_SPACE_SIZE)
		return;
	entries = (le16(config + at + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE) + 1U;
	table = le32(config + at + PCI_MSIX_TABLE);
	pba = le32(config + at + PCI_MSIX_PBA);
	pci->msix[0] = (struct pfnbuf_pci_part){
		.bar = table & PCI_MSIX_TABLE_BIR,
		.range = { table & PCI_MSIX_TABLE_OFFSET, entries * PCI_MSIX_ENTRY_SIZE },
	};
	pci->msix[1] = (struct pfnbuf_pci_part){
		.bar = pba & PCI_MSIX_PBA_BIR,
		.range = { pba & PCI_MSIX_PBA_OFFSET, (entries + 63) / 64 * 8 },
	};
}

void pfnbuf_pci_scan(const uint8_t config[PCI_CFG_SPACE_SIZE], struct pfnbuf_pci *pci)
{
	uint8_t at = config[PCI_CAPABILITY_LIST] & 0xfc;

	*pci = (struct pfnbuf_pci){
		.vendor = le16(config + PCI_VENDOR_ID),
		.device = le16(config + PCI_DEVICE_ID),
	};
	for (unsigned bar = 0; bar < 6; bar++)
		pci->bar[bar] = le32(config + PCI_BASE_ADDRESS_0 + 4 * bar);
	if (!(le16(config + PCI_STATUS) & PCI_STATUS_CAP_LIST))
		return;
	for (unsigned n = 0; at >= 0x40 && n < MAX_CAPS; n++) {
		switch (config[at + PCI_CAP_LIST_ID]) {
		case PCI_CAP_ID_PM:
			pci->pm = at;
			break;
		case PCI_CAP_ID_EXP:
			pci->exp = at;
			break;
		case PCI_CAP_ID_AF:
			pci->af = at;
			break;
		case PCI_CAP_ID_MSIX:
			scan_msix(config, at, pci);
			break;
		}
		at = config[at + PCI_CAP_LIST_NEXT] & 0xfc;
	}
}

/* The byte that a write puts at @at, if it covers it. */
static bool written(uint64_t offset, const uint8_t *data, size_t length, unsigned at, uint8_t *byte)
{
	if (at < offset || at - offset >= length)
		return false;
	*byte = data[at - offset];
	return true;
}

/*
 * The kernel cuts a write into naturally aligned pieces, so a register that is its own dword or
 * byte is hit by any write that covers its first byte (drivers/vfio/pci/vfio_pci_config.c).
 */
enum pfnbuf_cause pfnbuf_pci_write_revokes(const struct pfnbuf_pci *pci, uint64_t offset,
					   const uint8_t *data, size_t length)
{
	uint8_t byte;

	if (written(offset, data, length, PCI_COMMAND, &byte) && !(byte & PCI_COMMAND_MEMORY))
		return PFNBUF_CAUSE_DECODE_OFF;
	if (pci->pm && written(offset, data, length, pci->pm + PCI_PM_CTRL, &byte) &&
	    (byte & PCI_PM_CTRL_STATE_MASK) == 3)
		return PFNBUF_CAUSE_POWER;
	if (pci->exp && written(offset, data, length, pci->exp + PCI_EXP_DEVCTL + 1, &byte) &&
	    (byte & (PCI_EXP_DEVCTL_BCR_FLR >> 8)))
		return PFNBUF_CAUSE_FLR;
	if (pci->af && written(offset, data, length, pci->af + PCI_AF_CTRL, &byte) &&
	    (byte & PCI_AF_CTRL_FLR))
		return PFNBUF_CAUSE_FLR;
	return PFNBUF_CAUSE_NONE;
}

/* Whether a write can turn the device's memory on or off at all. */
bool pfnbuf_pci_write_matters(const struct pfnbuf_pci *pci, uint64_t offset, size_t length)
{
	const unsigned registers[] = {
		PCI_COMMAND,
		pci->pm ? pci->pm + PCI_PM_CTRL : PCI_COMMAND,
		pci->exp ? pci->exp + PCI_EXP_DEVCTL + 1 : PCI_COMMAND,
		pci->af ? pci->af + PCI_AF_CTRL : PCI_COMMAND,
	};

	for (size_t i = 0; i < sizeof(registers) / sizeof(*registers); i++)
		if (registers[i] >= offset && registers[i] - offset < length)
			return true;
	return false;
}
