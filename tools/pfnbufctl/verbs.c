/* SPDX-License-Identifier: MIT */
/* Every verb of the language: its arguments, and what `help` says about it. */
#include <stdio.h>
#include <string.h>

#include "script.h"

static const char *const event_words[] = {
	"lost",		"revoked",   "live",	       "dead",	      "removal-request",
	"device-error", "restored",  "restore-failed", "quarantined", "tdi-error",
	"tdi-unbound",	"converted", "convert-failed", NULL,
};
static const char *const state_words[] = {
	"live",		 "suspended", "dead",  "quarantined", "CONFIG_UNLOCKED",
	"CONFIG_LOCKED", "RUN",	      "ERROR", NULL,
};
static const char *const vis_words[] = { "hole", "shared", "private", NULL };
static const char *const bracket_words[] = { "begin", "end", NULL };
static const char *const power_words[] = { "enter", "exit", NULL };
static const char *const cause_words[] = {
	"reset", "hot-reset", "flr", "decode-off", "power", "close", "foreign", NULL,
};
static const char *const access_words[] = { "r", "w", "rw", NULL };
static const char *const attribute_words[] = { "shared", "private", NULL };
static const char *const view_words[] = { "shared", "private", NULL };
static const char *const vm_words[] = {
	"default", "sw-protected", "sev", "sev-es", "snp", "tdx", NULL,
};
static const char *const gmem_words[] = { "mmap", "init-shared", NULL };
static const char *const slot_words[] = { "log-dirty", "readonly", NULL };
static const char *const trait_words[] = {
	"flr",	    "af-flr",	 "pm",	      "vf",	     "no-driver", "no-cdev",
	"no-group", "no-access", "no-dmabuf", "reset-fails", "tee",	  NULL,
};
const char *const sim_profiles[] = {
	"mainline-7.3", "tdx-rfc2", "iommufd-tsm5", "cca7", "gmem-inplace8", "proposed", NULL,
};
static const char *const tdi_state_words[] = {
	"CONFIG_UNLOCKED", "CONFIG_LOCKED", "RUN", "ERROR", NULL,
};
static const char *const tdi_fault_words[] = {
	"none",		"report-lies",	     "report-changes",
	"report-late",	"bind-fails-before", "bind-fails-after-commit",
	"unbind-fails", "error-state",	     NULL,
};
/* What stands for a string, in the synopsis. */
static const char *const file_words[] = { "FILE", NULL };
static const char *const name_words[] = { "NAME", NULL };
static const char *const program_words[] = { "PROGRAM", NULL };
static const char *const unit_words[] = { "auto", "pages", "bytes", NULL };
static const char *const base_words[] = { "absolute", "first-range", "min-range", NULL };
static const char *const hole_words[] = { "trap", "shared", "refuse", NULL };
static const char *const mixed_words[] = { "refuse", "shared", NULL };
static const char *const msix_words[] = { "trap", "shared", "reported", NULL };
static const char *const helper_words[] = { "bind", "report", "start", "validate", NULL };
static const char *const conversion_words[] = { "shared", "private", NULL };
static const char *const call_words[] = {
	"VFIO_DEVICE_BIND_IOMMUFD",
	"VFIO_DEVICE_ATTACH_IOMMUFD_PT",
	"VFIO_DEVICE_DETACH_IOMMUFD_PT",
	"VFIO_DEVICE_GET_INFO",
	"VFIO_DEVICE_GET_REGION_INFO",
	"VFIO_DEVICE_GET_IRQ_INFO",
	"VFIO_DEVICE_SET_IRQS",
	"VFIO_DEVICE_RESET",
	"VFIO_DEVICE_PCI_HOT_RESET",
	"VFIO_DEVICE_FEATURE",
	"IOMMU_DESTROY",
	"IOMMU_IOAS_ALLOC",
	"IOMMU_IOAS_ALLOW_IOVAS",
	"IOMMU_IOAS_COPY",
	"IOMMU_IOAS_IOVA_RANGES",
	"IOMMU_IOAS_MAP",
	"IOMMU_IOAS_MAP_FILE",
	"IOMMU_IOAS_UNMAP",
	"IOMMU_OPTION",
	"KVM_CREATE_VM",
	"KVM_CHECK_EXTENSION",
	"KVM_SET_USER_MEMORY_REGION",
	"KVM_SET_USER_MEMORY_REGION2",
	"KVM_CREATE_GUEST_MEMFD",
	"KVM_SET_MEMORY_ATTRIBUTES",
	"KVM_GET_DIRTY_LOG",
	"KVM_PRE_FAULT_MEMORY",
	"IOMMU_HWPT_ALLOC",
	"IOMMU_VIOMMU_ALLOC",
	"IOMMU_VDEVICE_ALLOC",
	"VFIO_DEVICE_TSM_BIND",
	"VFIO_DEVICE_TSM_UNBIND",
	"IOMMU_VDEVICE_TSM_OP",
	"IOMMU_VDEVICE_TSM_REQ",
	"KVM_SET_MEMORY_ATTRIBUTES2",
	NULL,
};

/* The keys of which one gives the bytes to write or to compare. */
#define DATA_KEYS                                                                                  \
	{ "bytes", TYPE_BYTES, PARAM_KEY | PARAM_DATA },                                           \
		{ "string", TYPE_TEXT, PARAM_KEY | PARAM_DATA },                                   \
		{ "fill", TYPE_FILL, PARAM_KEY | PARAM_DATA },                                     \
		{ "u8", TYPE_INTEGER, PARAM_KEY | PARAM_DATA, .max = 1 },                          \
		{ "u16", TYPE_INTEGER, PARAM_KEY | PARAM_DATA, .max = 2 },                         \
		{ "u32", TYPE_INTEGER, PARAM_KEY | PARAM_DATA, .max = 4 },                         \
	{                                                                                          \
		"u64", TYPE_INTEGER, PARAM_KEY | PARAM_DATA, .max = 8                              \
	}

/* How long to look again until bytes are as they should be. */
#define PATIENCE                                                                                   \
	{                                                                                          \
		"timeout", TYPE_DURATION, PARAM_KEY | PARAM_OPTIONAL                               \
	}

#define DEVICE                                                                                     \
	{                                                                                          \
		"DEVICE", TYPE_OBJECT, .kinds = KIND_DEVICE                                        \
	}
#define BIND                                                                                       \
	{                                                                                          \
		"BIND", TYPE_OBJECT, .kinds = KIND_BIND                                            \
	}
#define WINDOW                                                                                     \
	{                                                                                          \
		"WINDOW", TYPE_OBJECT, .kinds = KIND_WINDOW                                        \
	}
/* Where a window is, and as what. */
#define PLACE                                                                                      \
	{ "vm", TYPE_OBJECT, PARAM_KEY | PARAM_OPTIONAL, KIND_VM },                                \
		{ "gpa", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL },                                \
		{ "ioas", TYPE_OBJECT, PARAM_KEY | PARAM_OPTIONAL, KIND_IOAS },                    \
		{ "iova", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL },                               \
		{ "flags", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = access_words },         \
	{                                                                                          \
		"slot-flags", TYPE_SET, PARAM_KEY | PARAM_OPTIONAL, .words = slot_words            \
	}
#define IOAS                                                                                       \
	{                                                                                          \
		"IOAS", TYPE_OBJECT, .kinds = KIND_IOAS                                            \
	}
#define VM                                                                                         \
	{                                                                                          \
		"VM", TYPE_OBJECT, .kinds = KIND_VM                                                \
	}
#define RANGE                                                                                      \
	{                                                                                          \
		"RANGE", TYPE_RANGE                                                                \
	}
#define BAR                                                                                        \
	{                                                                                          \
		"BAR", TYPE_NUMBER, .max = 5                                                       \
	}
#define COUNT(key)                                                                                 \
	{                                                                                          \
		key, TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL                                       \
	}

#define DATA_HELP                                                                                  \
	"Bytes are given by one of bytes=dead_beef (hex), string=\"text\", fill=BYTE+LENGTH, and " \
	"u8= u16= u32= u64= (little endian)."

/* A parameter is written down as far as it says something; the rest is zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

const struct verb verbs[VERB_COUNT] = {
	[VERB_LET] = {
		"let", VERB_LET, VERB_MACHINE | VERB_NO_FAIL, "flow",
		"give a variable its default",
		"let NAME=VALUE ...: the value stands wherever $NAME or ${NAME} is written further "
		"down. -D NAME=VALUE on the command line wins over it.",
	},
	[VERB_PRINT] = {
		"print", VERB_PRINT, VERB_NO_FAIL, "flow", "print a line of text", NULL,
		{ { "TEXT", TYPE_STRING, PARAM_OPTIONAL | PARAM_REPEAT } },
	},
	[VERB_TITLE] = {
		"title", VERB_TITLE, VERB_NO_FAIL, "flow", "print a heading", NULL,
		{ { "TEXT", TYPE_STRING } },
	},
	[VERB_SLEEP] = {
		"sleep", VERB_SLEEP, VERB_NO_FAIL, "flow", "wait for a time", NULL,
		{ { "DURATION", TYPE_DURATION } },
	},
	[VERB_WAIT] = {
		"wait", VERB_WAIT, 0, "flow", "wait for an event and take it",
		"Takes the first event that fits, also one that came before; others stay for later. "
		"Fails with ETIMEDOUT after timeout= (5s where none is given).",
		{ { "EVENT", TYPE_WORD, .words = event_words },
		  { "device", TYPE_OBJECT, PARAM_KEY | PARAM_OPTIONAL, KIND_DEVICE },
		  { "window", TYPE_OBJECT, PARAM_KEY | PARAM_OPTIONAL, KIND_WINDOW },
		  { "timeout", TYPE_DURATION, PARAM_KEY | PARAM_OPTIONAL } },
	},
	[VERB_EVENTS] = {
		"events", VERB_EVENTS, VERB_NO_FAIL, "flow", "list and drop the events so far", NULL,
	},
	[VERB_BEGIN] = {
		"begin", VERB_BEGIN, VERB_NO_FAIL, "flow", "begin a transaction",
		"Up to commit, either everything happens or nothing: when a line fails, what was done "
		"since begin is undone in reverse order. Verbs that cannot be undone are refused in "
		"between.",
	},
	[VERB_COMMIT] = {
		"commit", VERB_COMMIT, VERB_NO_FAIL, "flow", "end a transaction: keep what it did", NULL,
	},
	[VERB_EXPECT] = {
		"expect", VERB_EXPECT, 0, "flow", "compare the state of an object; fail where it differs",
		"Fails with EBADMSG, and says what differs.",
		{ { "NAME", TYPE_OBJECT, .kinds = KIND_ANY },
		  { "state", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, KIND_BUF | KIND_WINDOW | KIND_BIND,
		    .words = state_words },
		  { "generation", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL,
		    KIND_DEVICE | KIND_BUF | KIND_AREA | KIND_WINDOW | KIND_BIND },
		  { "length", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL,
		    KIND_BUF | KIND_MEMORY | KIND_AREA | KIND_SLOT | KIND_WINDOW },
		  { "memory", TYPE_SWITCH, PARAM_KEY | PARAM_OPTIONAL, KIND_DEVICE },
		  { "attached", TYPE_SWITCH, PARAM_KEY | PARAM_OPTIONAL, KIND_DEVICE },
		  { "low-power", TYPE_SWITCH, PARAM_KEY | PARAM_OPTIONAL, KIND_DEVICE },
		  { "can-reset", TYPE_SWITCH, PARAM_KEY | PARAM_OPTIONAL, KIND_DEVICE },
		  { "areas", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, KIND_IOAS | KIND_WINDOW },
		  { "dead-areas", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, KIND_IOAS | KIND_WINDOW },
		  { "dead", TYPE_SWITCH, PARAM_KEY | PARAM_OPTIONAL, KIND_AREA },
		  { "iova", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, KIND_AREA | KIND_WINDOW },
		  { "slots", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, KIND_VM | KIND_WINDOW },
		  { "gpa", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, KIND_SLOT | KIND_WINDOW },
		  { "shared", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, KIND_WINDOW | KIND_BIND },
		  { "private", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, KIND_WINDOW | KIND_BIND },
		  { "bound", TYPE_SWITCH, PARAM_KEY | PARAM_OPTIONAL, KIND_BIND },
		  { "hole", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, KIND_WINDOW } },
	},
	[VERB_SHOW] = {
		"show", VERB_SHOW, VERB_NO_FAIL, "flow", "show objects in full; without a name, all", NULL,
		{ { "NAME", TYPE_OBJECT, PARAM_OPTIONAL | PARAM_REPEAT, KIND_ANY } },
	},
	[VERB_PICTURE] = {
		"picture", VERB_PICTURE, VERB_NO_FAIL, "flow",
		"draw I/O address spaces and guest memory; without a name, all", NULL,
		{ { "NAME", TYPE_OBJECT, PARAM_OPTIONAL | PARAM_REPEAT, KIND_IOAS | KIND_VM } },
	},
	[VERB_CLOSE] = {
		"close", VERB_CLOSE, VERB_FINAL, "flow", "end objects of any kind",
		"Closes a device, ends an IOAS or VM with what is in it, unmaps an area, deletes a slot, "
		"drops a buffer. What is still open when a run ends is closed in the right order.",
		{ { "NAME", TYPE_OBJECT, PARAM_REPEAT, KIND_ANY } },
	},

	[VERB_DEVICE] = {
		"device", VERB_DEVICE, 0, "device", "open a VFIO PCI device and bind it to iommufd",
		"The device is found by its PCI address, or by the fd of its VFIO cdev that the process "
		"has inherited. vm= tells KVM of it before it is bound. token= is the VF token, 16 bytes.",
		{ { "NAME", TYPE_NEW, .kinds = KIND_DEVICE },
		  { "BDF", TYPE_BDF, PARAM_OPTIONAL },
		  { "fd", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, .max = INT32_MAX },
		  { "vm", TYPE_OBJECT, PARAM_KEY | PARAM_OPTIONAL, KIND_VM },
		  { "token", TYPE_BYTES, PARAM_KEY | PARAM_OPTIONAL } },
	},
	[VERB_ATTACH] = {
		"attach", VERB_ATTACH, 0, "device", "attach a device to an IOAS, or move it there", NULL,
		{ DEVICE, IOAS },
	},
	[VERB_DETACH] = {
		"detach", VERB_DETACH, 0, "device", "detach a device: its DMA is blocked", NULL,
		{ DEVICE },
	},
	[VERB_DECODE] = {
		"decode", VERB_DECODE, 0, "device", "switch memory decode (PCI_COMMAND bit 1)",
		"Off revokes the device's dma-bufs: imports of them are dead until restore.",
		{ DEVICE, { "STATE", TYPE_SWITCH } },
	},
	[VERB_BUSMASTER] = {
		"busmaster", VERB_BUSMASTER, 0, "device", "switch bus mastering (PCI_COMMAND bit 2)",
		"Without it no DMA leaves the device. Binding clears it.",
		{ DEVICE, { "STATE", TYPE_SWITCH } },
	},
	[VERB_RESET] = {
		"reset", VERB_RESET, VERB_FINAL, "device", "reset the function (VFIO_DEVICE_RESET)", NULL,
		{ DEVICE },
	},
	[VERB_HOTRESET] = {
		"hotreset", VERB_HOTRESET, VERB_FINAL, "device",
		"reset the slot or bus, with every device on it", NULL, { DEVICE },
	},
	[VERB_LOWPOWER] = {
		"lowpower", VERB_LOWPOWER, VERB_FINAL, "device", "enter or leave runtime low power", NULL,
		{ DEVICE, { "STEP", TYPE_WORD, .words = power_words } },
	},
	[VERB_RESTORE] = {
		"restore", VERB_RESTORE, VERB_FINAL, "device",
		"import again what died with a revocation of a device, or of one window",
		"Of a device every area of it, and what its windows withdrew.",
		{ { "NAME", TYPE_OBJECT, .kinds = KIND_DEVICE | KIND_WINDOW } },
	},
	[VERB_BRACKET] = {
		"bracket", VERB_BRACKET, VERB_FINAL, "device",
		"tell that somebody else is about to revoke (begin), or has done so (end)", NULL,
		{ DEVICE, { "STEP", TYPE_WORD, .words = bracket_words },
		  { "cause", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = cause_words } },
	},
	[VERB_CONFIG_READ] = {
		"config read", VERB_CONFIG_READ, 0, "device", "read configuration space", NULL,
		{ DEVICE, RANGE },
	},
	[VERB_CONFIG_WRITE] = {
		"config write", VERB_CONFIG_WRITE, VERB_FINAL, "device", "write configuration space",
		"A write that revokes (memory decode, D3hot, FLR) is recognised. " DATA_HELP,
		{ DEVICE, { "OFFSET", TYPE_NUMBER }, DATA_KEYS },
	},
	[VERB_CONFIG_EXPECT] = {
		"config expect", VERB_CONFIG_EXPECT, 0, "device", "compare bytes of configuration space",
		"With timeout=, looks again until they are the same or the time is over. Fails with "
		"EBADMSG and shows both. " DATA_HELP,
		{ DEVICE, { "OFFSET", TYPE_NUMBER }, DATA_KEYS,
		  PATIENCE },
	},
	[VERB_BAR_READ] = {
		"bar read", VERB_BAR_READ, 0, "device", "read bytes of a BAR", NULL,
		{ DEVICE, BAR, RANGE },
	},
	[VERB_BAR_WRITE] = {
		"bar write", VERB_BAR_WRITE, VERB_FINAL, "device", "write bytes of a BAR", DATA_HELP,
		{ DEVICE, BAR, { "OFFSET", TYPE_NUMBER }, DATA_KEYS },
	},
	[VERB_BAR_EXPECT] = {
		"bar expect", VERB_BAR_EXPECT, 0, "device", "compare bytes of a BAR",
		"With timeout=, looks again until they are the same or the time is over. Fails with "
		"EBADMSG and shows both. " DATA_HELP,
		{ DEVICE, BAR, { "OFFSET", TYPE_NUMBER }, DATA_KEYS,
		  PATIENCE },
	},

	[VERB_EXPORT] = {
		"export", VERB_EXPORT, 0, "buffer", "export slices of a BAR as one dma-buf",
		"Linux 7.3 imports a dma-buf of one slice only.",
		{ { "NAME", TYPE_NEW, .kinds = KIND_DMA_BUF }, DEVICE, BAR,
		  { "RANGE", TYPE_RANGE, PARAM_REPEAT } },
	},
	[VERB_MEMFD] = {
		"memfd", VERB_MEMFD, 0, "buffer", "make shared memory behind an fd",
		"huge= is the size of its huge pages: 2M or 1G.",
		{ { "NAME", TYPE_NEW, .kinds = KIND_MEMFD },
		  { "LENGTH", TYPE_NUMBER, PARAM_PAGES },
		  { "huge", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL } },
	},
	[VERB_GUEST_MEMFD] = {
		"guest-memfd", VERB_GUEST_MEMFD, 0, "buffer", "make private memory for a VM", NULL,
		{ { "NAME", TYPE_NEW, .kinds = KIND_GUEST_MEMFD }, VM,
		  { "LENGTH", TYPE_NUMBER, PARAM_PAGES },
		  { "flags", TYPE_SET, PARAM_KEY | PARAM_OPTIONAL, .words = gmem_words } },
	},
	[VERB_MEMORY] = {
		"memory", VERB_MEMORY, 0, "buffer", "allocate memory of this process (no fd behind it)", NULL,
		{ { "NAME", TYPE_NEW, .kinds = KIND_MEMORY },
		  { "LENGTH", TYPE_NUMBER, PARAM_PAGES } },
	},
	[VERB_IMPORT] = {
		"import", VERB_IMPORT, 0, "buffer",
		"take a dma-buf, memfd or guest_memfd by an inherited fd", NULL,
		{ { "NAME", TYPE_NEW, .kinds = KIND_BUF },
		  { "fd", TYPE_NUMBER, PARAM_KEY, .max = INT32_MAX } },
	},
	[VERB_VERIFY] = {
		"verify", VERB_VERIFY, 0, "buffer", "ask the kernel about a dma-buf or a window",
		"Whether a dma-buf can be imported now: fails with ENODEV where it is revoked. Whether "
		"what a window has placed is there: fails with ESTALE and names the first range that is "
		"not.",
		{ { "NAME", TYPE_OBJECT, .kinds = KIND_BUF | KIND_WINDOW } },
	},
	[VERB_DISCARD] = {
		"discard", VERB_DISCARD, VERB_FINAL, "buffer", "give the pages of a range back", NULL,
		{ { "BUF", TYPE_OBJECT, .kinds = KIND_BUF }, RANGE },
	},
	[VERB_BUF_READ] = {
		"buf read", VERB_BUF_READ, 0, "buffer", "read bytes of a memfd or of process memory", NULL,
		{ { "BUF", TYPE_OBJECT, .kinds = KIND_BUF | KIND_MEMORY }, RANGE },
	},
	[VERB_BUF_WRITE] = {
		"buf write", VERB_BUF_WRITE, VERB_FINAL, "buffer",
		"write bytes of a memfd or of process memory", DATA_HELP,
		{ { "BUF", TYPE_OBJECT, .kinds = KIND_BUF | KIND_MEMORY },
		  { "OFFSET", TYPE_NUMBER }, DATA_KEYS },
	},
	[VERB_BUF_EXPECT] = {
		"buf expect", VERB_BUF_EXPECT, 0, "buffer",
		"compare bytes of a memfd or of process memory",
		"With timeout=, looks again until they are the same or the time is over. Fails with "
		"EBADMSG and shows both. " DATA_HELP,
		{ { "BUF", TYPE_OBJECT, .kinds = KIND_BUF | KIND_MEMORY },
		  { "OFFSET", TYPE_NUMBER }, DATA_KEYS,
		  PATIENCE },
	},

	[VERB_IOAS] = {
		"ioas", VERB_IOAS, 0, "ioas", "make an I/O address space", NULL,
		{ { "NAME", TYPE_NEW, .kinds = KIND_IOAS } },
	},
	[VERB_MAP] = {
		"map", VERB_MAP, 0, "ioas", "map a buffer, or part of it, into an IOAS",
		"Without iova= the kernel chooses. flags= is what devices may do; rw where none is given. "
		"An area of a dma-buf dies when that is revoked.",
		{ { "NAME", TYPE_NEW, .kinds = KIND_AREA }, IOAS,
		  { "BUF", TYPE_OBJECT, .kinds = KIND_BUF | KIND_MEMORY },
		  { "RANGE", TYPE_RANGE, PARAM_OPTIONAL },
		  { "iova", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL },
		  { "flags", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = access_words } },
	},
	[VERB_COPY] = {
		"copy", VERB_COPY, 0, "ioas", "map into an IOAS what another one (or itself) maps",
		"RANGE is in SOURCE. A copy of a dead area is dead.",
		{ { "NAME", TYPE_NEW, .kinds = KIND_AREA }, IOAS,
		  { "SOURCE", TYPE_OBJECT, .kinds = KIND_IOAS }, RANGE,
		  { "iova", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL },
		  { "flags", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = access_words } },
	},
	[VERB_UNMAP] = {
		"unmap", VERB_UNMAP, 0, "ioas", "unmap an area, or every area in a range of an IOAS",
		"unmap AREA, unmap IOAS RANGE, or unmap IOAS for everything in it. A range that cuts an "
		"area is refused.",
		{ { "NAME", TYPE_OBJECT, .kinds = KIND_AREA | KIND_IOAS },
		  { "RANGE", TYPE_RANGE, PARAM_OPTIONAL } },
	},
	[VERB_ALLOW] = {
		"allow", VERB_ALLOW, 0, "ioas", "restrict the addresses that the kernel chooses from",
		"Without a range the restriction is lifted.",
		{ IOAS, { "RANGE", TYPE_RANGE, PARAM_OPTIONAL | PARAM_REPEAT } },
	},
	[VERB_HUGE_PAGES] = {
		"huge-pages", VERB_HUGE_PAGES, 0, "ioas", "switch huge pages in the IOMMU", NULL,
		{ IOAS, { "STATE", TYPE_SWITCH } },
	},
	[VERB_PHYSICAL] = {
		"physical", VERB_PHYSICAL, 0, "ioas",
		"print the physical address behind an IOVA (no-IOMMU devices)", NULL, { IOAS, RANGE },
	},

	[VERB_VM] = {
		"vm", VERB_VM, 0, "vm", "make a VM, or use an inherited one by its fd",
		"With fd=, slots=FIRST+COUNT are the memory slot ids that may be used.",
		{ { "NAME", TYPE_NEW, .kinds = KIND_VM },
		  { "type", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = vm_words },
		  { "fd", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, .max = INT32_MAX },
		  { "slots", TYPE_RANGE, PARAM_KEY | PARAM_OPTIONAL } },
	},
	[VERB_SLOT] = {
		"slot", VERB_SLOT, 0, "vm", "make a memory slot over a buffer, or part of it",
		"A dma-buf stands for the slice of the BAR that it exports: the slot is over a mapping of "
		"that. private= is the guest_memfd for the private pages.",
		{ { "NAME", TYPE_NEW, .kinds = KIND_SLOT }, VM,
		  { "BUF", TYPE_OBJECT, .kinds = KIND_BUF | KIND_MEMORY },
		  { "RANGE", TYPE_RANGE, PARAM_OPTIONAL },
		  { "gpa", TYPE_NUMBER, PARAM_KEY },
		  { "private", TYPE_OBJECT, PARAM_KEY | PARAM_OPTIONAL, KIND_GUEST_MEMFD },
		  { "private-offset", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL },
		  { "flags", TYPE_SET, PARAM_KEY | PARAM_OPTIONAL, .words = slot_words } },
	},
	[VERB_MOVE] = {
		"move", VERB_MOVE, 0, "vm", "move a slot or window to another guest physical address",
		"A window goes to iova= in its IOAS, too; without that it stays where it is there.",
		{ { "NAME", TYPE_OBJECT, .kinds = KIND_SLOT | KIND_WINDOW }, { "GPA", TYPE_NUMBER },
		  { "iova", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL } },
	},
	[VERB_LOG] = {
		"log", VERB_LOG, 0, "vm", "switch dirty logging of a slot", NULL,
		{ { "SLOT", TYPE_OBJECT, .kinds = KIND_SLOT }, { "STATE", TYPE_SWITCH } },
	},
	[VERB_DIRTY] = {
		"dirty", VERB_DIRTY, VERB_FINAL, "vm", "print and clear the dirty pages of a slot", NULL,
		{ { "SLOT", TYPE_OBJECT, .kinds = KIND_SLOT } },
	},
	[VERB_ATTRIBUTES] = {
		"attributes", VERB_ATTRIBUTES, 0, "vm", "make a range of guest memory private or shared",
		NULL, { VM, RANGE, { "ATTRIBUTE", TYPE_WORD, .words = attribute_words } },
	},
	[VERB_EXTENSION] = {
		"extension", VERB_EXTENSION, 0, "vm", "print the value of a KVM extension (KVM_CAP_*)",
		NULL, { VM, { "CAP", TYPE_NUMBER, .max = INT32_MAX } },
	},

	[VERB_BAR_WINDOW] = {
		"bar-window", VERB_BAR_WINDOW, 0, "window", "make a window of a BAR, or of part of it",
		"It is in a VM at gpa=, in an IOAS at iova=, or in both; set-layout and set-range say "
		"what of it is there: a hole all over at first. withdraw=on takes its slots away while "
		"the device's memory is off.",
		{ { "NAME", TYPE_NEW, .kinds = KIND_WINDOW }, DEVICE, BAR,
		  { "RANGE", TYPE_RANGE, PARAM_OPTIONAL }, PLACE,
		  { "withdraw", TYPE_SWITCH, PARAM_KEY | PARAM_OPTIONAL } },
	},
	[VERB_RAM_WINDOW] = {
		"ram-window", VERB_RAM_WINDOW, 0, "window", "make a window of memory, or of part of it",
		"BUF is the shared memory. Private memory is in private=, from private-offset= on; a "
		"guest_memfd as BUF, made with flags=mmap,init-shared, is both in one, where a profile "
		"says that the kernel converts it in place; with retry=on a conversion waits while "
		"somebody holds a page. It is in a VM at gpa=, in an IOAS at iova=, or in both; a hole "
		"all over at first. No area crosses a multiple of granule=.",
		{ { "NAME", TYPE_NEW, .kinds = KIND_WINDOW },
		  { "BUF", TYPE_OBJECT, .kinds = KIND_MEMFD | KIND_GUEST_MEMFD | KIND_MEMORY },
		  { "RANGE", TYPE_RANGE, PARAM_OPTIONAL }, { "retry", TYPE_SWITCH, PARAM_KEY | PARAM_OPTIONAL }, { "private", TYPE_OBJECT, PARAM_KEY | PARAM_OPTIONAL, KIND_GUEST_MEMFD },
		  COUNT("private-offset"), PLACE, COUNT("granule") },
	},
	[VERB_SET_LAYOUT] = {
		"set-layout", VERB_SET_LAYOUT, 0, "window", "place what a layout says, all of it",
		"FILE has layouts as `pfnbufctl layout` writes them; layout= is the name of one where "
		"there are several. Without a file: memory is shared, and of a BAR everything but MSI-X "
		"table and pending bits.",
		{ WINDOW, { "FILE", TYPE_STRING, PARAM_OPTIONAL },
		  { "layout", TYPE_STRING, PARAM_KEY | PARAM_OPTIONAL, .words = name_words } },
	},
	[VERB_SET_RANGE] = {
		"set-range", VERB_SET_RANGE, 0, "window", "make a range of a window what it says",
		"Whatever it was before, holes included.",
		{ WINDOW, RANGE, { "VISIBILITY", TYPE_WORD, .words = vis_words } },
	},
	[VERB_CONVERT] = {
		"convert", VERB_CONVERT, 0, "window", "convert ranges, as a guest asks for it",
		"In one step, all or nothing. Of a VM, ranges are guest physical addresses, over all its "
		"windows of memory; of a window they are in that. Holes stay holes, and what is so "
		"already costs nothing. What the ranges held before is gone for good, also where the "
		"conversion is undone. Where it waits, `wait converted` and `wait convert-failed` tell "
		"what became of it; in a transaction it is waited for.",
		{ { "NAME", TYPE_OBJECT, .kinds = KIND_WINDOW | KIND_VM },
		  { "RANGE", TYPE_RANGE, PARAM_REPEAT },
		  { "to", TYPE_WORD, PARAM_KEY, .words = conversion_words } },
	},
	[VERB_EXPLAIN_HYPERCALL] = {
		"explain hypercall", VERB_EXPLAIN_HYPERCALL, 0, "window",
		"say what a VMM does about a hypercall that left the guest",
		"KVM_EXIT_HYPERCALL with this number and up to four arguments. Nothing changes.",
		{ VM, { "NR", TYPE_NUMBER }, { "ARG", TYPE_NUMBER, PARAM_OPTIONAL | PARAM_REPEAT } },
	},
	[VERB_EXPLAIN_FAULT] = {
		"explain fault", VERB_EXPLAIN_FAULT, 0, "window",
		"say what a VMM does about a memory fault that left the guest",
		"KVM_EXIT_MEMORY_FAULT at this range; as= is how the guest took it. Nothing changes.",
		{ VM, RANGE, { "as", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = view_words } },
	},
	[VERB_PLAN] = {
		"plan", VERB_PLAN, 0, "window", "print the kernel calls of a change, and make none",
		"Of set-layout without a file, or with RANGE and to= of set-range with each of them. "
		"Says, too, whether they would be refused for what is known. Of a bind: the steps that it "
		"took last, and those that it takes next.",
		{ { "NAME", TYPE_OBJECT, .kinds = KIND_WINDOW | KIND_BIND }, { "RANGE", TYPE_RANGE, PARAM_OPTIONAL | PARAM_REPEAT },
		  { "to", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = vis_words } },
	},
	[VERB_SUSPEND] = {
		"suspend", VERB_SUSPEND, 0, "window", "take away all that a window has placed",
		"Its layout and addresses stay, and may be changed meanwhile.", { WINDOW },
	},
	[VERB_RESUME] = {
		"resume", VERB_RESUME, 0, "window", "place a suspended window again", NULL, { WINDOW },
	},

	[VERB_PROFILE_LIST] = {
		"profile list", VERB_PROFILE_LIST, 0, "tee", "list the profiles that are installed", NULL,
	},
	[VERB_PROFILE_SHOW] = {
		"profile show", VERB_PROFILE_SHOW, 0, "tee", "print a profile",
		"PROFILE is a name, or with a slash in it a file.", { { "PROFILE", TYPE_STRING } },
	},
	[VERB_PROFILE_CHOOSE] = {
		"profile choose", VERB_PROFILE_CHOOSE, VERB_FINAL, "tee",
		"say which unmerged interfaces the kernel has",
		"PROFILE is a name, or with a slash in it a file. Once, as --profile does: nothing that "
		"is not merged is called without one, and which one is right is never guessed.",
		{ { "PROFILE", TYPE_STRING } },
	},
	[VERB_TSM_SHOW] = {
		"tsm show", VERB_TSM_SHOW, 0, "tee", "print what sysfs says of a device's security",
		"Which TSM has a session with it (connected), and whether it is bound to a guest.",
		{ DEVICE },
	},
	[VERB_TSM_CONNECT] = {
		"tsm connect", VERB_TSM_CONNECT, 0, "tee",
		"let a TEE security manager make a session with a device", NULL,
		{ DEVICE, { "TSM", TYPE_STRING } },
	},
	[VERB_TSM_DISCONNECT] = {
		"tsm disconnect", VERB_TSM_DISCONNECT, VERB_FINAL, "tee", "end that session",
		"With TSM it is refused where another one has it.",
		{ DEVICE, { "TSM", TYPE_STRING, PARAM_OPTIONAL } },
	},
	[VERB_BIND] = {
		"bind", VERB_BIND, 0, "tee", "prepare to give a device to a confidential guest",
		"The device was opened with vm=, and the windows are all those of its BARs. digest= is what the guest's owner attested of the "
		"report: 32, 48 or 64 bytes of SHA-2. The report comes from report=, a file in any form "
		"that `pfnbufctl tdi` reads, which says that the guest has started the device; or from "
		"helper=, a program that does what helper-does= says (bind,report where it is not given); "
		"or from the simulated TSM. unit= base= holes= mixed= msix= reporting-offset= are those "
		"of `pfnbufctl layout compile`. vdevice= and viommu= are iommufd objects of the VMM's; "
		"the library makes them where they are not given. vcpu-fd= is for inherited VMs with a "
		"profile that pre-faults.",
		{ { "NAME", TYPE_NEW, .kinds = KIND_BIND }, DEVICE, VM,
		  { "WINDOW", TYPE_OBJECT, PARAM_REPEAT, KIND_WINDOW },
		  { "digest", TYPE_BYTES, PARAM_KEY },
		  { "report", TYPE_STRING, PARAM_KEY | PARAM_OPTIONAL, .words = file_words },
		  { "helper", TYPE_STRING, PARAM_KEY | PARAM_OPTIONAL, .words = program_words },
		  { "helper-does", TYPE_SET, PARAM_KEY | PARAM_OPTIONAL, .words = helper_words },
		  { "unit", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = unit_words },
		  { "base", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = base_words },
		  { "holes", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = hole_words },
		  { "mixed", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = mixed_words },
		  { "msix", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = msix_words },
		  { "reporting-offset", TYPE_SIGNED, PARAM_KEY | PARAM_OPTIONAL },
		  { "vdevice", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, .max = UINT32_MAX },
		  { "viommu", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, .max = UINT32_MAX },
		  COUNT("virt-id"),
		  { "vcpu-fd", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, .max = INT32_MAX } },
	},
	[VERB_TDI_LOCK] = {
		"tdi lock", VERB_TDI_LOCK, 0, "tee", "bind the device: its TDI goes to CONFIG_LOCKED",
		"What is shared of its BARs is withdrawn first. The guest attests and starts it then.",
		{ BIND },
	},
	[VERB_TDI_RUN] = {
		"tdi run", VERB_TDI_RUN, 0, "tee", "place what the report of a started device says",
		"Shared pages for the guest and for devices, private pages for the guest alone. Fails "
		"with EAGAIN, and nothing happens, where the report is not there yet; on every other "
		"failure the device is unbound.",
		{ BIND },
	},
	[VERB_TDI_UNLOCK] = {
		"tdi unlock", VERB_TDI_UNLOCK, VERB_FINAL, "tee",
		"unbind the device, and place its windows as they were", NULL, { BIND },
	},

	[VERB_DMA_READ] = {
		"dma read", VERB_DMA_READ, VERB_SIM_ONLY, "sim", "let a device read by DMA",
		"RANGE is in the IOAS that the device is attached to.", { DEVICE, RANGE },
	},
	[VERB_DMA_WRITE] = {
		"dma write", VERB_DMA_WRITE, VERB_SIM_ONLY | VERB_FINAL, "sim",
		"let a device write by DMA", "Fails with EFAULT where it does not land. " DATA_HELP,
		{ DEVICE, { "IOVA", TYPE_NUMBER }, DATA_KEYS },
	},
	[VERB_DMA_EXPECT] = {
		"dma expect", VERB_DMA_EXPECT, VERB_SIM_ONLY, "sim",
		"compare what a device reads by DMA", "Fails with EBADMSG and shows both. " DATA_HELP,
		{ DEVICE, { "IOVA", TYPE_NUMBER }, DATA_KEYS },
	},
	[VERB_GUEST_READ] = {
		"guest read", VERB_GUEST_READ, VERB_SIM_ONLY, "sim", "let the guest read",
		"as= is how the guest takes the page: shared where it is not given.",
		{ VM, RANGE, { "as", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = view_words } },
	},
	[VERB_GUEST_WRITE] = {
		"guest write", VERB_GUEST_WRITE, VERB_SIM_ONLY | VERB_FINAL, "sim", "let the guest write",
		"as= is how the guest takes the page: shared where it is not given. " DATA_HELP,
		{ VM, { "GPA", TYPE_NUMBER },
		  { "as", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = view_words }, DATA_KEYS },
	},
	[VERB_GUEST_EXPECT] = {
		"guest expect", VERB_GUEST_EXPECT, VERB_SIM_ONLY, "sim", "compare what the guest reads",
		"as= is how the guest takes the page: shared where it is not given. Fails with EBADMSG "
		"and shows both. " DATA_HELP,
		{ VM, { "GPA", TYPE_NUMBER },
		  { "as", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = view_words }, DATA_KEYS },
	},
	[VERB_SIM_DEVICE] = {
		"sim device", VERB_SIM_DEVICE, VERB_SIM_ONLY | VERB_FINAL | VERB_MACHINE, "sim",
		"put a PCI device into the simulated machine",
		"A BAR is SIZE[,64][,prefetchable][,io]. msix= is the number of vectors; table and "
		"pending bits are at msix-table= in BAR msix-bar= and at pba= in BAR pba-bar=. Devices "
		"with the same hot-reset-set= share a slot.",
		{ { "BDF", TYPE_BDF },
		  { "vendor", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, .max = UINT16_MAX },
		  { "device", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, .max = UINT16_MAX },
		  { "bar0", TYPE_BAR, PARAM_KEY | PARAM_OPTIONAL },
		  { "bar1", TYPE_BAR, PARAM_KEY | PARAM_OPTIONAL },
		  { "bar2", TYPE_BAR, PARAM_KEY | PARAM_OPTIONAL },
		  { "bar3", TYPE_BAR, PARAM_KEY | PARAM_OPTIONAL },
		  { "bar4", TYPE_BAR, PARAM_KEY | PARAM_OPTIONAL },
		  { "bar5", TYPE_BAR, PARAM_KEY | PARAM_OPTIONAL },
		  { "traits", TYPE_SET, PARAM_KEY | PARAM_OPTIONAL, .words = trait_words },
		  { "msix", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, .max = 2048 },
		  { "msix-bar", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, .max = 5 },
		  { "msix-table", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, .max = UINT32_MAX },
		  { "pba-bar", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, .max = 5 },
		  { "pba", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, .max = UINT32_MAX },
		  { "hot-reset-set", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL, .max = UINT16_MAX } },
	},
	[VERB_SIM_SET] = {
		"sim set", VERB_SIM_SET, VERB_SIM_ONLY | VERB_FINAL | VERB_MACHINE, "sim",
		"set what the simulated machine has",
		"iommufd= and kvm=: whether /dev/iommu and /dev/kvm exist; memlock=: RLIMIT_MEMLOCK; "
		"tsm=: whether there is a TEE security manager, tsm0.",
		{ { "iommufd", TYPE_SWITCH, PARAM_KEY | PARAM_OPTIONAL },
		  { "kvm", TYPE_SWITCH, PARAM_KEY | PARAM_OPTIONAL },
		  { "memlock", TYPE_NUMBER, PARAM_KEY | PARAM_OPTIONAL },
		  { "tsm", TYPE_SWITCH, PARAM_KEY | PARAM_OPTIONAL } },
	},
	[VERB_SIM_FAIL] = {
		"sim fail", VERB_SIM_FAIL, VERB_SIM_ONLY, "sim", "let a kernel call fail",
		"The nth= call from now on (1: the next; 0: none any more) fails with errno= (EIO where "
		"none is given); with call= only ioctls of this name count.",
		{ { "nth", TYPE_NUMBER, PARAM_KEY },
		  { "errno", TYPE_ERRNO, PARAM_KEY | PARAM_OPTIONAL },
		  { "call", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = call_words } },
	},
	[VERB_SIM_COUNTS] = {
		"sim counts", VERB_SIM_COUNTS, VERB_SIM_ONLY, "sim", "count what the simulated kernel holds",
		NULL,
	},
	[VERB_SIM_EXPECT] = {
		"sim expect", VERB_SIM_EXPECT, VERB_SIM_ONLY, "sim",
		"compare what the simulated kernel holds", "Fails with EBADMSG, and says what differs.",
		{ COUNT("fds"), COUNT("ioas"), COUNT("hwpts"), COUNT("areas"), COUNT("dead-areas"),
		  COUNT("devices"), COUNT("dma-bufs"), COUNT("guest-memfds"), COUNT("vms"),
		  COUNT("slots"), COUNT("bar-mappings"), COUNT("pinned"),
		  COUNT("viommus"), COUNT("vdevices"), COUNT("tdis") },
	},
	[VERB_SIM_DUMP] = {
		"sim dump", VERB_SIM_DUMP, VERB_SIM_ONLY, "sim", "print the state of the simulated kernel",
		NULL,
	},
	[VERB_SIM_PEEK] = {
		"sim peek", VERB_SIM_PEEK, VERB_SIM_ONLY, "sim",
		"read the bytes behind a BAR, whatever its state", NULL,
		{ { "BDF", TYPE_BDF }, BAR, RANGE },
	},
	[VERB_SIM_POKE] = {
		"sim poke", VERB_SIM_POKE, VERB_SIM_ONLY | VERB_FINAL | VERB_MACHINE, "sim",
		"write the bytes behind a BAR, whatever its state", DATA_HELP,
		{ { "BDF", TYPE_BDF }, BAR, { "OFFSET", TYPE_NUMBER }, DATA_KEYS },
	},
	[VERB_SIM_RESET] = {
		"sim reset", VERB_SIM_RESET, VERB_SIM_ONLY | VERB_FINAL, "sim",
		"reset a device behind the library's back", NULL, { { "BDF", TYPE_BDF } },
	},
	[VERB_SIM_DECODE] = {
		"sim decode", VERB_SIM_DECODE, VERB_SIM_ONLY | VERB_FINAL, "sim",
		"switch memory decode behind the library's back", NULL,
		{ { "BDF", TYPE_BDF }, { "STATE", TYPE_SWITCH } },
	},
	[VERB_SIM_REMOVE] = {
		"sim request-removal", VERB_SIM_REMOVE, VERB_SIM_ONLY | VERB_FINAL, "sim",
		"let the kernel ask for a device back", NULL, { { "BDF", TYPE_BDF } },
	},
	[VERB_SIM_ERROR] = {
		"sim raise-error", VERB_SIM_ERROR, VERB_SIM_ONLY | VERB_FINAL, "sim",
		"report an AER error on a device", NULL, { { "BDF", TYPE_BDF } },
	},
	[VERB_SIM_PROFILE] = {
		"sim profile", VERB_SIM_PROFILE, VERB_SIM_ONLY | VERB_FINAL | VERB_MACHINE, "sim",
		"give the simulated kernel what a profile describes",
		"And the TSM that it takes. The library speaks it only with --profile or profile choose.",
		{ { "PROFILE", TYPE_WORD, .words = sim_profiles } },
	},
	[VERB_SIM_TDI_REPORT] = {
		"sim tdi-report", VERB_SIM_TDI_REPORT, VERB_SIM_ONLY | VERB_FINAL | VERB_MACHINE, "sim",
		"say what a device reports when it is locked",
		"FILE is a report in any form that `pfnbufctl tdi` reads. Without it: everything is for "
		"the guest alone, but for the pages of MSI-X table and pending bits.",
		{ { "BDF", TYPE_BDF }, { "FILE", TYPE_STRING, PARAM_OPTIONAL } },
	},
	[VERB_SIM_TDI_LOCK] = {
		"sim tdi-lock", VERB_SIM_TDI_LOCK, VERB_SIM_ONLY | VERB_FINAL, "sim",
		"let the guest lock a bound device", NULL, { { "BDF", TYPE_BDF } },
	},
	[VERB_SIM_TDI_START] = {
		"sim tdi-start", VERB_SIM_TDI_START, VERB_SIM_ONLY | VERB_FINAL, "sim",
		"let the guest start a bound device: CONFIG_LOCKED to RUN", NULL,
		{ { "BDF", TYPE_BDF } },
	},
	[VERB_SIM_TDI_INJECT] = {
		"sim tdi-inject", VERB_SIM_TDI_INJECT, VERB_SIM_ONLY | VERB_FINAL, "sim",
		"let something go wrong with a device or its TSM",
		"report-lies: a range beyond the end of its BAR; report-changes: another report every "
		"time; report-late: not ready at first; bind-fails-before: the next bind does nothing; "
		"bind-fails-after-commit: it fails, and the device is bound; unbind-fails: the next "
		"unbind; error-state: at once. none: no more of it.",
		{ { "BDF", TYPE_BDF }, { "FAULT", TYPE_WORD, .words = tdi_fault_words } },
	},
	[VERB_SIM_TDI_EXPECT] = {
		"sim tdi-expect", VERB_SIM_TDI_EXPECT, VERB_SIM_ONLY, "sim",
		"compare the state of a device's TDI",
		"generation= is how often it was locked. Fails with EBADMSG, and says what differs.",
		{ { "BDF", TYPE_BDF },
		  { "state", TYPE_WORD, PARAM_KEY | PARAM_OPTIONAL, .words = tdi_state_words },
		  { "bound", TYPE_SWITCH, PARAM_KEY | PARAM_OPTIONAL }, COUNT("generation") },
	},
	[VERB_SIM_PIN] = {
		"sim pin", VERB_SIM_PIN, VERB_SIM_ONLY | VERB_FINAL, "sim",
		"let somebody else hold a page of a guest_memfd",
		"While it is held it cannot become private in place.",
		{ { "BUF", TYPE_OBJECT, .kinds = KIND_GUEST_MEMFD }, { "OFFSET", TYPE_NUMBER },
		  { "STATE", TYPE_SWITCH } },
	},
};

const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < VERB_COUNT; i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

static const char *value_words(const struct param *param)
{
	switch (param->type) {
	case TYPE_NEW:
	case TYPE_OBJECT:
		return param->kinds == KIND_DEVICE	  ? "DEVICE"
		       : param->kinds == KIND_VM	  ? "VM"
		       : param->kinds == KIND_GUEST_MEMFD ? "GUEST-MEMFD"
							  : "NAME";
	case TYPE_BDF:
		return "BDF";
	case TYPE_NUMBER:
	case TYPE_SIGNED:
	case TYPE_INTEGER:
		return "NUMBER";
	case TYPE_RANGE:
		return "RANGE";
	case TYPE_SWITCH:
		return "on|off";
	case TYPE_STRING:
		return param->words ? param->words[0] : "TEXT";
	case TYPE_TEXT:
		return "TEXT";
	case TYPE_DURATION:
		return "DURATION";
	case TYPE_ERRNO:
		return "ERRNO";
	case TYPE_BAR:
		return "BAR";
	case TYPE_BYTES:
		return "BYTES";
	case TYPE_FILL:
		return "BYTE+LENGTH";
	case TYPE_WORD:
	case TYPE_SET:
		break;
	}
	return NULL;
}

/* At most this many words of a list are written out; the ioctl names are not. */
enum { WORDS_SHOWN = 16 };

void param_words(const struct param *param, char *buf, size_t size)
{
	const char *what = value_words(param);
	size_t n = 0, used = 0;

	if (!(param->flags & PARAM_KEY) && what && param->type != TYPE_SWITCH) {
		snprintf(buf, size, "%s", param->name);
		return;
	}
	if (param->flags & PARAM_KEY)
		used = (size_t)snprintf(buf, size, "%s=", param->name);
	if (used >= size)
		return;
	if (what) {
		snprintf(buf + used, size - used, "%s", what);
		return;
	}
	while (param->words[n])
		n++;
	if (n > WORDS_SHOWN) {
		snprintf(buf + used, size - used, "NAME");
		return;
	}
	for (size_t i = 0; i < n && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s",
					 i == 0			   ? ""
					 : param->type == TYPE_SET ? ","
								   : "|",
					 param->words[i]);
}

static bool add_words(char *buf, size_t size, size_t *used, const char *fmt, const char *words)
{
	int n = snprintf(buf + *used, size - *used, fmt, words);

	if (n < 0 || (size_t)n >= size - *used)
		return false;
	*used += (size_t)n;
	return true;
}

void verb_synopsis(const struct verb *verb, char *buf, size_t size)
{
	size_t used = 0;
	bool data = false;
	char words[256];

	if (!add_words(buf, size, &used, "%s", verb->name))
		return;
	if (verb->id == VERB_LET) {
		add_words(buf, size, &used, " %s", "NAME=VALUE ...");
		return;
	}
	for (const struct param *p = verb->params; p->name; p++) {
		bool optional = p->flags & PARAM_OPTIONAL;

		if (p->flags & PARAM_DATA) {
			if (!data && !add_words(buf, size, &used, " %s", "DATA"))
				return;
			data = true;
			continue;
		}
		param_words(p, words, sizeof(words));
		if (!add_words(buf, size, &used, optional ? " [%s" : " %s", words) ||
		    !add_words(buf, size, &used, "%s", p->flags & PARAM_REPEAT ? " ..." : "") ||
		    !add_words(buf, size, &used, "%s", optional ? "]" : ""))
			return;
	}
}

size_t verb_param(const struct verb *verb, const char *name)
{
	size_t i = 0;

	while (verb->params[i].name && strcmp(verb->params[i].name, name))
		i++;
	return i;
}

/* Stands for all that have bytes, in messages only. */
#define KIND_BUFFER (1u << 31)

static const struct {
	unsigned kind;
	const char *words;
} kinds[] = {
	{ KIND_DEVICE, "device" },
	{ KIND_IOAS, "IOAS" },
	{ KIND_DMA_BUF, "dma-buf" },
	{ KIND_MEMFD, "memfd" },
	{ KIND_GUEST_MEMFD, "guest_memfd" },
	{ KIND_MEMORY, "process memory" },
	{ KIND_BUFFER, "buffer" },
	{ KIND_AREA, "area" },
	{ KIND_VM, "VM" },
	{ KIND_SLOT, "slot" },
	{ KIND_WINDOW, "window" },
	{ KIND_BIND, "bind" },
};

const char *kind_words(unsigned mask, char *buf, size_t size)
{
	const size_t n = sizeof(kinds) / sizeof(*kinds);
	size_t used = 0, left = 0;

	if ((mask & KIND_BUF) == KIND_BUF)
		mask = (mask & ~(unsigned)(KIND_BUF | KIND_MEMORY)) | KIND_BUFFER;
	for (size_t i = 0; i < n; i++)
		left += (mask & kinds[i].kind) != 0;
	buf[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		if (!(mask & kinds[i].kind))
			continue;
		left--;
		if (!add_words(buf, size, &used, "%s", kinds[i].words) ||
		    !add_words(buf, size, &used, "%s",
			       left > 1 ? ", "
			       : left	? " or "
					: ""))
			break;
	}
	return buf;
}
