/* SPDX-License-Identifier: MIT */
#include "nvme.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#define REG_CC	     0x14
#define REG_CSTS     0x1c
#define REG_AQA	     0x24
#define REG_ASQ	     0x28
#define REG_ACQ	     0x30
#define REG_SQ0_TAIL 0x1000
#define REG_CQ0_HEAD 0x1004

#define CC_ENABLE      0x1
#define CC_ENTRY_SIZES (6 << 16 | 4 << 20) /* of 64 and 16 bytes */

#define QUEUE_LENGTH 32
#define COMPLETIONS  4096 /* where in the memory they are, and */
#define RESULT	     8192 /* where the controller puts what it is asked for */

#define OPCODE_SET_FEATURES 0x09
#define OPCODE_GET_FEATURES 0x0a
#define FEATURE_TIMESTAMP   0x0e

#define TIMESTAMP_BITS UINT64_C(0x0000ffffffff0000)

struct command {
	uint32_t opcode;
	uint32_t namespace;
	uint64_t reserved, metadata;
	uint64_t prp[2];
	uint32_t cdw[6];
};

struct completion {
	uint32_t result, reserved, queue;
	uint32_t status; /* bit 16: the phase; above: the status */
};

static void write32(const struct nvme *nvme, unsigned reg, uint32_t value)
{
	*(volatile uint32_t *)(nvme->bar + reg) = value;
}

static void write64(const struct nvme *nvme, unsigned reg, uint64_t value)
{
	write32(nvme, reg, (uint32_t)value);
	write32(nvme, reg + 4, (uint32_t)(value >> 32));
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int wait_ready(const struct nvme *nvme, uint32_t ready)
{
	const double until = now() + 5;

	while ((*(volatile uint32_t *)(nvme->bar + REG_CSTS) & 1) != ready) {
		if (now() > until)
			return -ETIMEDOUT;
		sched_yield();
	}
	return 0;
}

int nvme_start(struct nvme *nvme, volatile void *bar, void *memory, uint64_t iova)
{
	int ret;

	*nvme = (struct nvme){ .bar = bar, .memory = memory, .iova = iova, .phase = 1 };
	memset(memory, 0, NVME_MEMORY_SIZE);
	write32(nvme, REG_CC, 0);
	ret = wait_ready(nvme, 0);
	if (ret)
		return ret;
	write32(nvme, REG_AQA, (QUEUE_LENGTH - 1) << 16 | (QUEUE_LENGTH - 1));
	write64(nvme, REG_ASQ, iova);
	write64(nvme, REG_ACQ, iova + COMPLETIONS);
	write32(nvme, REG_CC, CC_ENTRY_SIZES | CC_ENABLE);
	return wait_ready(nvme, 1);
}

void nvme_stop(struct nvme *nvme)
{
	write32(nvme, REG_CC, 0);
	wait_ready(nvme, 0);
}

static int await_completion(struct nvme *nvme)
{
	const volatile struct completion *c =
		(const volatile struct completion *)(nvme->memory + COMPLETIONS) + nvme->head;
	const double until = now() + 5;
	uint32_t status;

	while (((status = c->status) >> 16 & 1) != nvme->phase) {
		if (now() > until)
			return -ETIMEDOUT;
		sched_yield();
	}
	nvme->head = (nvme->head + 1) % QUEUE_LENGTH;
	nvme->phase ^= nvme->head == 0;
	write32(nvme, REG_CQ0_HEAD, nvme->head);
	return status >> 17 ? -EIO : 0;
}

static int submit(struct nvme *nvme, uint32_t opcode, uint64_t iova)
{
	volatile struct command *c = (volatile struct command *)nvme->memory + nvme->tail;

	*c = (struct command){
		.opcode = opcode,
		.prp = { iova },
		.cdw = { FEATURE_TIMESTAMP },
	};
	nvme->tail = (nvme->tail + 1) % QUEUE_LENGTH;
	write32(nvme, REG_SQ0_TAIL, nvme->tail);
	return await_completion(nvme);
}

/* The controller adds the milliseconds since; those are too few to reach bit 16. */
int nvme_fetch(struct nvme *nvme, uint64_t iova, uint64_t *value)
{
	int ret = submit(nvme, OPCODE_SET_FEATURES, iova);

	if (!ret)
		ret = submit(nvme, OPCODE_GET_FEATURES, nvme->iova + RESULT);
	if (!ret)
		*value = *(volatile uint64_t *)(nvme->memory + RESULT) & TIMESTAMP_BITS;
	return ret;
}

int nvme_store(struct nvme *nvme, uint64_t iova)
{
	return submit(nvme, OPCODE_GET_FEATURES, iova);
}
