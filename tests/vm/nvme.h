/* SPDX-License-Identifier: MIT */
#ifndef TESTS_VM_NVME_H
#define TESTS_VM_NVME_H

/*
 * A driver of an NVMe controller's admin queue, as a DMA engine that takes microseconds: the Timestamp
 * feature (NVM Express Base Specification, 5.27.1.14) makes it fetch 48 bits from an address and keep them.
 * DMA that the IOMMU refuses reads as zero in QEMU's.
 */

#include <stdint.h>

#define NVME_MEMORY_SIZE (3 * 4096) /* two queues and a page for results */

struct nvme {
	volatile char *bar;    /* BAR0: its first two pages */
	volatile char *memory; /* what the controller finds at iova */
	uint64_t iova;
	unsigned tail;
	unsigned head;
	unsigned phase;
};

/* Bring the controller up, bus mastering being on: 0, or -ETIMEDOUT. */
int nvme_start(struct nvme *nvme, volatile void *bar, void *memory, uint64_t iova);
void nvme_stop(struct nvme *nvme);

/* The 48 bits at an IOVA, the lowest 16 of them as if zero: 0, -ETIMEDOUT, or -EIO if it was refused. */
int nvme_fetch(struct nvme *nvme, uint64_t iova, uint64_t *value);

/*
 * Put what was fetched last at an IOVA, the lowest 16 bits of it undefined, and 16 undefined bits above: 0,
 * or -ETIMEDOUT. One that the IOMMU refuses has no effect, and QEMU's does not notice.
 */
int nvme_store(struct nvme *nvme, uint64_t iova);

#endif
