/* SPDX-License-Identifier: MIT */
/* Objects over the mock kernel, made with the calls that making them takes. */
#ifndef PFNBUF_TESTS_FIXTURE_H
#define PFNBUF_TESTS_FIXTURE_H

#include "mock.h"

/* fds that the mock hands out. */
enum {
	EPOLL_FD = 10,
	QUEUE_FD = 11,
	IOMMUFD = 20,
	DEVICE_FD = 30,
	REMOVAL_FD = 31,
	ERROR_FD = 32,
	VM_FD = 40,
	KVM_FD = 41,
	KVM_VFIO_FD = 42,
	BUF_FD = 50,
};

#define BDF	    "0000:01:00.0"
#define DEVICE_NAME "device " BDF
#define SYSFS_DIR   "/sys/bus/pci/devices/" BDF

#define CONFIG_AT(offset)   (UINT64_C(7) << 40 | (offset))
#define BAR_AT(bar, offset) ((uint64_t)(bar) << 40 | (offset))

/* Where the device's capabilities are. */
#define PM_CAP	 0x40
#define EXP_CAP	 0x50
#define AF_CAP	 0x80
#define MSIX_CAP 0xa0

/* BAR 0 is 1 MiB, 64 bits, prefetchable, with the MSI-X table at 0x2000 and pending bits at 0x8000; BAR 2 is sparse; BAR 4 is I/O ports. */
#define BAR0_SIZE 0x100000
#define BAR2_SIZE 0x10000
#define BAR4_SIZE 0x100

/* A context with a borrowed iommufd; and with one that it opens itself when asked. */
struct pfnbuf_ctx *fixture_ctx(void);
struct pfnbuf_ctx *fixture_ctx_without_iommufd(void);
void fixture_free_ctx(struct pfnbuf_ctx *ctx);

struct pfnbuf_device *fixture_device_opened(struct pfnbuf_ctx *ctx);
void fixture_bind(struct pfnbuf_device *device);
struct pfnbuf_device *fixture_device(struct pfnbuf_ctx *ctx);
/* What close does; the caller says what more it expects in between with @detach. */
void fixture_expect_close(bool bound, bool detach);
/* The library asks whether the device's memory is on. */
void fixture_expect_memory(bool on);
/* An event enters the empty queue; and the queue is emptied, which makes no call. */
void fixture_expect_event(void);
/* Of the event that is the last to be popped. */
void fixture_expect_silence(void);
void fixture_pop_all(struct pfnbuf_ctx *ctx);
/* Close a bound device whose events are all taken. */
void fixture_close(struct pfnbuf_ctx *ctx, struct pfnbuf_device *device);
/* Every read and ioctl of a bind after VFIO_DEVICE_BIND_IOMMUFD, up to the one with this number. */
size_t fixture_learn_calls(struct mock_call *calls);

struct pfnbuf_ioas *fixture_ioas(struct pfnbuf_ctx *ctx, uint32_t id);
void fixture_free_ioas(struct pfnbuf_ioas *ioas, bool mapped);

/* A VM that has 64 slots. */
struct pfnbuf_vm *fixture_vm(struct pfnbuf_ctx *ctx, bool region2);

/* From an fd; its inode number is the fd's. */
struct pfnbuf_buf *fixture_buf(struct pfnbuf_ctx *ctx, int fd, enum pfnbuf_kind kind,
			       uint64_t length);
/* [0, length) of BAR 0 as a dma-buf. */
struct pfnbuf_buf *fixture_export(struct pfnbuf_device *device, int fd, uint64_t length);
void fixture_unref(struct pfnbuf_buf *buf);

#endif /* PFNBUF_TESTS_FIXTURE_H */
