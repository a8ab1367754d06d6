/* SPDX-License-Identifier: MIT */
#include "edu.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#define REG_ID		0x00
#define REG_DMA_SOURCE	0x80
#define REG_DMA_TARGET	0x88
#define REG_DMA_COUNT	0x90
#define REG_DMA_COMMAND 0x98

#define ID_MASK 0xffff
#define ID_EDU	0x00ed

#define DMA_START 0x1 /* reads as 1 until the transfer has ended */
#define DMA_STORE 0x2 /* from the buffer to the bus */

#define BUFFER_ADDRESS 0x40000
#define IOVA_LIMIT     0x10000000 /* 28 bits */

static int short_or_error(ssize_t n)
{
	return n < 0 ? -errno : -EIO;
}

static int read64(const struct edu *edu, unsigned reg, uint64_t *value)
{
	ssize_t n = pread(edu->fd, value, sizeof(*value), (off_t)(edu->offset + reg));

	return n == sizeof(*value) ? 0 : short_or_error(n);
}

static int write64(const struct edu *edu, unsigned reg, uint64_t value)
{
	ssize_t n = pwrite(edu->fd, &value, sizeof(value), (off_t)(edu->offset + reg));

	return n == sizeof(value) ? 0 : short_or_error(n);
}

/* Registers below 0x80 answer accesses of four bytes only. */
int edu_identify(const struct edu *edu)
{
	uint32_t id;
	ssize_t n = pread(edu->fd, &id, sizeof(id), (off_t)(edu->offset + REG_ID));

	if (n != sizeof(id))
		return short_or_error(n);
	return (id & ID_MASK) == ID_EDU ? 0 : -ENODEV;
}

/* The engine starts a transfer a tenth of a second after the command. */
int edu_wait(const struct edu *edu)
{
	const struct timespec pause = { .tv_nsec = 2000000 };

	for (int i = 0; i < 2500; i++) {
		uint64_t command;
		int ret = read64(edu, REG_DMA_COMMAND, &command);

		if (ret)
			return ret;
		if (!(command & DMA_START))
			return 0;
		nanosleep(&pause, NULL);
	}
	return -ETIMEDOUT;
}

static int begin(const struct edu *edu, uint64_t source, uint64_t target, size_t length,
		 uint64_t direction)
{
	const struct {
		unsigned reg;
		uint64_t value;
	} writes[] = {
		{ REG_DMA_SOURCE, source },
		{ REG_DMA_TARGET, target },
		{ REG_DMA_COUNT, length },
		{ REG_DMA_COMMAND, DMA_START | direction },
	};

	for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
		int ret = write64(edu, writes[i].reg, writes[i].value);

		if (ret)
			return ret;
	}
	return 0;
}

/* QEMU ends the whole machine on a transfer beyond the buffer, and cuts an IOVA beyond the mask. */
static int reachable(uint64_t iova, size_t length)
{
	return length && length <= EDU_BUFFER_SIZE && iova <= IOVA_LIMIT - length;
}

int edu_load(const struct edu *edu, uint64_t iova, size_t length)
{
	int ret;

	if (!reachable(iova, length))
		return -EINVAL;
	ret = begin(edu, iova, BUFFER_ADDRESS, length, 0);
	return ret ? ret : edu_wait(edu);
}

int edu_begin_store(const struct edu *edu, uint64_t iova, size_t length)
{
	if (!reachable(iova, length))
		return -EINVAL;
	return begin(edu, BUFFER_ADDRESS, iova, length, DMA_STORE);
}

int edu_store(const struct edu *edu, uint64_t iova, size_t length)
{
	int ret = edu_begin_store(edu, iova, length);

	return ret ? ret : edu_wait(edu);
}

int edu_copy(const struct edu *edu, uint64_t from, uint64_t to, size_t length)
{
	int ret = edu_load(edu, from, length);

	return ret ? ret : edu_store(edu, to, length);
}
