/* SPDX-License-Identifier: MIT */
#ifndef TESTS_VM_EDU_H
#define TESTS_VM_EDU_H

/*
 * A driver of QEMU's edu device (docs/specs/edu.rst in QEMU): a DMA engine with a buffer of 4 KiB that no
 * CPU can see. A transfer goes between that buffer and an IOVA; one that the IOMMU refuses simply has no
 * effect, and the engine reports nothing. It reaches IOVAs below 256 MiB, and needs bus mastering on.
 *
 * BAR0 is reached through pread and pwrite.
 */

#include <stddef.h>
#include <stdint.h>

#define EDU_BUFFER_SIZE 4096

struct edu {
	int fd;
	uint64_t offset; /* where BAR0 is there */
};

/* Whether an edu answers there: 0, -ENODEV, or another negative errno. */
int edu_identify(const struct edu *edu);

/*
 * Fill the device's buffer from an IOVA (load), write it to one (store), or both (copy): 0 when the engine
 * has finished, whether the bytes got through or not. -EINVAL: longer than the buffer, or beyond the mask;
 * -ETIMEDOUT: the engine did not finish within five seconds; -EIO and others of pread: BAR0 is off.
 */
int edu_load(const struct edu *edu, uint64_t iova, size_t length);
int edu_store(const struct edu *edu, uint64_t iova, size_t length);
int edu_copy(const struct edu *edu, uint64_t from, uint64_t to, size_t length);

/* Start a store, which reaches memory about a tenth of a second later; and wait for its end. */
int edu_begin_store(const struct edu *edu, uint64_t iova, size_t length);
int edu_wait(const struct edu *edu);

#endif
