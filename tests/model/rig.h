/* SPDX-License-Identifier: MIT */
/*
 * A machine to try windows in: a kernel with devices behind it, a door that can be told which calls
 * to fail, and a judge that asks what a device and a guest would really reach. rig_door.c is the
 * same for all; rig.c is the simulated machine, tests/vm/rig_linux.c the one of the virtual-machine
 * tier.
 */
#ifndef RIG_H
#define RIG_H

#include <pfnbuf-sim.h>

#include <stdio.h>

#define PAGE UINT64_C(4096)

#define RIG_CARD   "0000:01:00.0" /* whose BARs are placed */
#define RIG_OTHER  "0000:01:00.1" /* a function of the same slot: a hot reset reaches both */
#define RIG_ENGINE "0000:02:00.0" /* does DMA */

/* BARs of the card and the other function. */
#define RIG_BAR	       0 /* plain memory */
#define RIG_BAR_PAGES  32
#define RIG_MSIX_BAR   2 /* with an MSI-X table in page 2 and pending bits in page 3 */
#define RIG_MSIX_PAGES 16
#define RIG_SMALL_BAR  4 /* below a page */
#define RIG_IO_BAR     5

#define RIG_MAX_FAULTS 4

/* A call that the library made: an ioctl, or one of the others by its name. */
struct rig_call {
	unsigned long request; /* 0: not an ioctl */
	const char *name;
};

struct rig {
	struct pfnbuf_sim *sim;	     /* the simulated machine … */
	struct rig_machine *machine; /* … or a real one */
	const struct pfnbuf_kernel *inner;
	struct pfnbuf_kernel door; /* through which the context goes to @inner */
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_device *card;
	struct pfnbuf_device *other;
	struct pfnbuf_device *engine;
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_vm *vm;
	/* For rig_open(), on a simulated machine. */
	uint64_t vm_type;    /* enum pfnbuf_vm_type */
	const char *profile; /* of the kernel and the context; NULL: none */
	enum pfnbuf_engine_kind engine_kind;
	pfnbuf_log_fn *hears; /* what the library logs; NULL: nobody */
	unsigned bar; /* the card's and the other function's: RIG_BAR, or what a real one has */

	/* Calls since rig_count(), those that can fail; and which of them shall. */
	uint64_t calls;
	uint64_t changes; /* those that map, unmap, or set a slot */
	struct {
		uint64_t at;
		int error;
	} faults[RIG_MAX_FAULTS];
	unsigned failed; /* how many did */
	struct rig_call *log;
	size_t log_room;

	const struct pfnbuf_range *sparse; /* RIG_BAR shall offer these only */
	uint32_t nr_sparse;
	/*
	 * Of the simulated machine, before rig_open(): 0: plain; 1: RIG_BAR is sparse, in parts that
	 * leave nothing out; 2: so it is, and dma-bufs of several ranges can be imported.
	 */
	unsigned variant;
	uint64_t alignment; /* that IOASes shall ask for; 0: what they do */
};

/* Everything but windows. @locked: RLIMIT_MEMLOCK, 0: none. */
void rig_open(struct rig *rig);
/* The devices again, after some were closed. */
void rig_open_devices(struct rig *rig);
void rig_close(struct rig *rig);

/* Set up the door to a kernel; the table is rig->door. */
struct pfnbuf_kernel *rig_door(struct rig *rig, const struct pfnbuf_kernel *inner);

/* Reset a device behind the library's back. */
void rig_foreign_reset(struct rig *rig, bool other);
/* Somebody wants the device back, and the library hears of it where the machine can do that. */
void rig_request_removal(struct rig *rig, bool other);
/* No page is private and reachable; nothing of any window is left. Each as far as it can be seen. */
void rig_check_alias(struct rig *rig);
void rig_check_clean(struct rig *rig);

/* Start counting calls from 1, with no faults; @log may be NULL. */
void rig_count(struct rig *rig, struct rig_call *log, size_t room);
void rig_fail(struct rig *rig, unsigned i, uint64_t at, int error);

/* Print what failed and where, and abort. */
void rig_die(const char *file, int line, const char *what) __attribute__((noreturn));

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition))                                                                  \
			rig_die(__FILE__, __LINE__, #condition);                                   \
	} while (0)

/* Memory with the page's number in each page. */
struct pfnbuf_buf *rig_memfd(struct rig *rig, uint64_t pages);

/* What is in page @page of a BAR or memfd, and of which @what. */
uint64_t rig_tag(uint64_t what, uint64_t page);
#define RIG_TAG_CARD  UINT64_C(0x0ca4d000)
#define RIG_TAG_OTHER UINT64_C(0x07e40000)
#define RIG_TAG_RAM   UINT64_C(0x4a300000)

/* What a device, or the guest, finds there: the tag, or a negative errno. */
int64_t rig_dma(struct rig *rig, uint64_t iova);
int64_t rig_guest(struct rig *rig, uint64_t gpa);
/* The same for the guest's private memory; and write a tag there. Simulated machines only. */
int64_t rig_guest_private(struct rig *rig, uint64_t gpa);
int rig_guest_write_private(struct rig *rig, uint64_t gpa, uint64_t tag);

/* The kernel's state as text; the caller frees it. */
char *rig_dump(struct rig *rig);

/* A layout from a picture: a character per page, 's' shared, 'p' private, anything else a hole. */
struct pfnbuf_layout *rig_layout(const char *picture);

#endif /* RIG_H */
