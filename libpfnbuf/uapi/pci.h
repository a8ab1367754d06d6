/* SPDX-License-Identifier: MIT */
/*
 * The PCI configuration registers that the library reads or writes, under the names of Linux
 * (include/uapi/linux/pci_regs.h). Offsets within a capability count from its first byte.
 */
#ifndef PFNBUF_UAPI_PCI_H
#define PFNBUF_UAPI_PCI_H

#define PCI_CFG_SPACE_SIZE     256
#define PCI_CFG_SPACE_EXP_SIZE 4096

#define PCI_VENDOR_ID		 0x00
#define PCI_DEVICE_ID		 0x02
#define PCI_COMMAND		 0x04
#define PCI_COMMAND_IO		 0x1
#define PCI_COMMAND_MEMORY	 0x2
#define PCI_COMMAND_MASTER	 0x4
#define PCI_COMMAND_INTX_DISABLE 0x400
#define PCI_STATUS		 0x06
#define PCI_STATUS_CAP_LIST	 0x10
#define PCI_REVISION_ID		 0x08
#define PCI_CLASS_PROG		 0x09
#define PCI_CLASS_DEVICE	 0x0a
#define PCI_HEADER_TYPE		 0x0e
#define PCI_HEADER_TYPE_MASK	 0x7f
#define PCI_HEADER_TYPE_NORMAL	 0
#define PCI_HEADER_TYPE_BRIDGE	 1
#define PCI_HEADER_TYPE_CARDBUS	 2
#define PCI_HEADER_TYPE_MFD	 0x80

#define PCI_BASE_ADDRESS_0	       0x10
#define PCI_BASE_ADDRESS_1	       0x14
#define PCI_BASE_ADDRESS_2	       0x18
#define PCI_BASE_ADDRESS_3	       0x1c
#define PCI_BASE_ADDRESS_4	       0x20
#define PCI_BASE_ADDRESS_5	       0x24
#define PCI_BASE_ADDRESS_SPACE	       0x01
#define PCI_BASE_ADDRESS_SPACE_IO      0x01
#define PCI_BASE_ADDRESS_SPACE_MEMORY  0x00
#define PCI_BASE_ADDRESS_MEM_TYPE_MASK 0x06
#define PCI_BASE_ADDRESS_MEM_TYPE_32   0x00
#define PCI_BASE_ADDRESS_MEM_TYPE_64   0x04
#define PCI_BASE_ADDRESS_MEM_PREFETCH  0x08
#define PCI_BASE_ADDRESS_MEM_MASK      (~0x0fUL)
#define PCI_BASE_ADDRESS_IO_MASK       (~0x03UL)

#define PCI_SUBSYSTEM_VENDOR_ID 0x2c
#define PCI_SUBSYSTEM_ID	0x2e
#define PCI_ROM_ADDRESS		0x30
#define PCI_ROM_ADDRESS_ENABLE	0x01
#define PCI_CAPABILITY_LIST	0x34
#define PCI_INTERRUPT_LINE	0x3c
#define PCI_INTERRUPT_PIN	0x3d

/* The list of capabilities. */
#define PCI_CAP_LIST_ID	  0
#define PCI_CAP_LIST_NEXT 1
#define PCI_CAP_ID_PM	  0x01
#define PCI_CAP_ID_MSI	  0x05
#define PCI_CAP_ID_VNDR	  0x09
#define PCI_CAP_ID_EXP	  0x10
#define PCI_CAP_ID_MSIX	  0x11
#define PCI_CAP_ID_AF	  0x13

/* Power management; PCI_PM_CTRL is the register that the specification calls PMCSR. */
#define PCI_PM_PMC		  2
#define PCI_PM_CAP_VER_MASK	  0x0007
#define PCI_PM_CAP_D1		  0x0200
#define PCI_PM_CAP_D2		  0x0400
#define PCI_PM_CTRL		  4
#define PCI_PM_CTRL_STATE_MASK	  0x0003
#define PCI_PM_CTRL_NO_SOFT_RESET 0x0008
#define PCI_PM_SIZEOF		  8

/* MSI-X. */
#define PCI_MSIX_FLAGS	       2
#define PCI_MSIX_FLAGS_QSIZE   0x07FF /* entries less one */
#define PCI_MSIX_FLAGS_MASKALL 0x4000
#define PCI_MSIX_FLAGS_ENABLE  0x8000
#define PCI_MSIX_TABLE	       4
#define PCI_MSIX_TABLE_BIR     0x00000007
#define PCI_MSIX_TABLE_OFFSET  0xfffffff8
#define PCI_MSIX_PBA	       8
#define PCI_MSIX_PBA_BIR       0x00000007
#define PCI_MSIX_PBA_OFFSET    0xfffffff8
#define PCI_CAP_MSIX_SIZEOF    12
#define PCI_MSIX_ENTRY_SIZE    16

/* Advanced features: function level reset of conventional devices. */
#define PCI_AF_LENGTH	  2
#define PCI_AF_CAP	  3
#define PCI_AF_CAP_TP	  0x01
#define PCI_AF_CAP_FLR	  0x02
#define PCI_AF_CTRL	  4
#define PCI_AF_CTRL_FLR	  0x01
#define PCI_AF_STATUS	  5
#define PCI_AF_STATUS_TP  0x01
#define PCI_CAP_AF_SIZEOF 6

/* PCI Express. */
#define PCI_EXP_FLAGS	       0x02
#define PCI_EXP_FLAGS_VERS     0x000f
#define PCI_EXP_FLAGS_TYPE     0x00f0
#define PCI_EXP_TYPE_ENDPOINT  0x0
#define PCI_EXP_DEVCAP	       0x04
#define PCI_EXP_DEVCAP_FLR     0x10000000
#define PCI_EXP_DEVCAP_TEE     0x40000000
#define PCI_EXP_DEVCTL	       0x08
#define PCI_EXP_DEVCTL_BCR_FLR 0x8000
#define PCI_EXP_DEVSTA	       0x0a
#define PCI_EXP_DEVSTA_TRPND   0x0020

/* Extended capabilities start at PCI_CFG_SPACE_SIZE with a header of 32 bits. */
#define PCI_EXT_CAP_ID(header)	 ((header)&0x0000ffffU)
#define PCI_EXT_CAP_VER(header)	 (((header) >> 16) & 0xfU)
#define PCI_EXT_CAP_NEXT(header) (((header) >> 20) & 0xffcU)
#define PCI_EXT_CAP_ID_ACS	 0x0D
#define PCI_EXT_CAP_ID_ATS	 0x0F
#define PCI_EXT_CAP_ID_SRIOV	 0x10
#define PCI_EXT_CAP_ID_REBAR	 0x15
#define PCI_EXT_CAP_ID_PASID	 0x1B
#define PCI_EXT_CAP_ID_DOE	 0x2E
#define PCI_EXT_CAP_ID_IDE	 0x30

#endif /* PFNBUF_UAPI_PCI_H */
