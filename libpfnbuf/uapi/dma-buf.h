/* SPDX-License-Identifier: MIT */
/*
 * The dma-buf user interface (include/uapi/linux/dma-buf.h) and the file system magics by which
 * fstatfs tells a dma-buf and a guest_memfd from other files (include/uapi/linux/magic.h).
 */
#ifndef PFNBUF_UAPI_DMA_BUF_H
#define PFNBUF_UAPI_DMA_BUF_H

#include <sys/ioctl.h>

#include "check.h"

#define DMA_BUF_MAGIC	  0x444d4142
#define GUEST_MEMFD_MAGIC 0x474d454d

#define DMA_BUF_SYNC_READ	      (1U << 0)
#define DMA_BUF_SYNC_WRITE	      (2U << 0)
#define DMA_BUF_SYNC_RW		      (DMA_BUF_SYNC_READ | DMA_BUF_SYNC_WRITE)
#define DMA_BUF_SYNC_START	      (0U << 2)
#define DMA_BUF_SYNC_END	      (1U << 2)
#define DMA_BUF_SYNC_VALID_FLAGS_MASK (DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END)

/* Bytes, the closing zero included. */
#define DMA_BUF_NAME_LEN 32

#define DMA_BUF_BASE 'b'

struct dma_buf_sync {
	uint64_t flags;
};

#define DMA_BUF_IOCTL_SYNC _IOW(DMA_BUF_BASE, 0, struct dma_buf_sync)

/* Both take a pointer to a string. The number once followed the pointer's width; either works. */
#define DMA_BUF_SET_NAME_A _IOW(DMA_BUF_BASE, 1, uint32_t)
#define DMA_BUF_SET_NAME_B _IOW(DMA_BUF_BASE, 1, uint64_t)

UAPI_SIZE(dma_buf_sync, 8);
UAPI_OFFSET(dma_buf_sync, flags, 0);
UAPI_VALUE(DMA_BUF_IOCTL_SYNC, 0x40086200);
UAPI_VALUE(DMA_BUF_SET_NAME_A, 0x40046201);
UAPI_VALUE(DMA_BUF_SET_NAME_B, 0x40086201);

struct dma_buf_export_sync_file {
	uint32_t flags;
	int32_t fd; /* out */
};

struct dma_buf_import_sync_file {
	uint32_t flags;
	int32_t fd;
};

#define DMA_BUF_IOCTL_EXPORT_SYNC_FILE _IOWR(DMA_BUF_BASE, 2, struct dma_buf_export_sync_file)
#define DMA_BUF_IOCTL_IMPORT_SYNC_FILE _IOW(DMA_BUF_BASE, 3, struct dma_buf_import_sync_file)

UAPI_SIZE(dma_buf_export_sync_file, 8);
UAPI_OFFSET(dma_buf_export_sync_file, flags, 0);
UAPI_OFFSET(dma_buf_export_sync_file, fd, 4);
UAPI_SIZE(dma_buf_import_sync_file, 8);
UAPI_OFFSET(dma_buf_import_sync_file, flags, 0);
UAPI_OFFSET(dma_buf_import_sync_file, fd, 4);
UAPI_VALUE(DMA_BUF_IOCTL_EXPORT_SYNC_FILE, 0xc0086202);
UAPI_VALUE(DMA_BUF_IOCTL_IMPORT_SYNC_FILE, 0x40086203);

#endif /* PFNBUF_UAPI_DMA_BUF_H */
