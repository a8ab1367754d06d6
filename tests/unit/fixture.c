/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "fixture.h"
#include "libpfnbuf/uapi/dma-buf.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/pci.h"
#include "libpfnbuf/uapi/vfio.h"

static const uint64_t one = 1;

static struct pfnbuf_ctx *make_ctx(int iommufd)
{
	const struct mock_call made[] = {
		{ .kind = MOCK_EPOLL_CREATE, .result = EPOLL_FD },
		{ .kind = MOCK_EVENTFD, .request = EFD_CLOEXEC | EFD_NONBLOCK, .result = QUEUE_FD },
		{ .kind = MOCK_EPOLL_CTL,
		  .fd = EPOLL_FD,
		  .mode = EPOLL_CTL_ADD,
		  .target = QUEUE_FD },
	};
	const struct pfnbuf_ctx_opts opts = {
		.size = sizeof(opts),
		.kernel = mock_kernel(),
		.iommufd = iommufd,
		.log = mock_log,
	};
	struct pfnbuf_ctx *ctx = NULL;

	mock_expect(made, MOCK_ARRAY_SIZE(made));
	assert_int_equal(pfnbuf_ctx_new(&ctx, &opts), 0);
	mock_done();
	return ctx;
}

struct pfnbuf_ctx *fixture_ctx(void)
{
	return make_ctx(IOMMUFD);
}

struct pfnbuf_ctx *fixture_ctx_without_iommufd(void)
{
	return make_ctx(0);
}

void fixture_free_ctx(struct pfnbuf_ctx *ctx)
{
	mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD, .mode = EPOLL_CTL_DEL,
			.target = QUEUE_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = QUEUE_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = EPOLL_FD);
	assert_null(pfnbuf_ctx_free(ctx));
	mock_done();
}

/* ---------------------------------------------------------------- device -------------------- */

static const uint8_t config[PCI_CFG_SPACE_SIZE] = {
	[PCI_VENDOR_ID] = 0x34,
	[PCI_VENDOR_ID + 1] = 0x12,
	[PCI_DEVICE_ID] = 0xe8,
	[PCI_DEVICE_ID + 1] = 0x11,
	[PCI_COMMAND] = PCI_COMMAND_MEMORY,
	[PCI_STATUS] = PCI_STATUS_CAP_LIST,
	[PCI_BASE_ADDRESS_0] = PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH,
	[PCI_BASE_ADDRESS_4] = PCI_BASE_ADDRESS_SPACE_IO,
	[PCI_CAPABILITY_LIST] = PM_CAP,
	[PM_CAP] = PCI_CAP_ID_PM,
	[PM_CAP + 1] = EXP_CAP,
	[EXP_CAP] = PCI_CAP_ID_EXP,
	[EXP_CAP + 1] = AF_CAP,
	[AF_CAP] = PCI_CAP_ID_AF,
	[AF_CAP + 1] = MSIX_CAP,
	[MSIX_CAP] = PCI_CAP_ID_MSIX,
	[MSIX_CAP + PCI_MSIX_FLAGS] = 0xff,
	[MSIX_CAP + PCI_MSIX_FLAGS + 1] = 0x01, /* 512 vectors of 16 bytes */
	[MSIX_CAP + PCI_MSIX_TABLE + 1] = 0x20,
	[MSIX_CAP + PCI_MSIX_PBA + 1] = 0x80,
};

struct pfnbuf_device *fixture_device_opened(struct pfnbuf_ctx *ctx)
{
	static const char in_dir[] = "vendor\0device\0vfio-dev";
	const struct mock_call made[] = {
		{ .kind = MOCK_LIST, .path = SYSFS_DIR, .out = in_dir, .result = sizeof(in_dir) },
		{ .kind = MOCK_LIST, .path = SYSFS_DIR "/vfio-dev", .out = "vfio3", .result = 6 },
		{ .kind = MOCK_LIST,
		  .path = SYSFS_DIR "/vfio-dev/vfio3",
		  .out = "uevent\0dev",
		  .result = 11 },
		{ .kind = MOCK_OPEN,
		  .path = "/dev/vfio/devices/vfio3",
		  .request = O_RDWR | O_CLOEXEC,
		  .result = DEVICE_FD },
	};
	struct pfnbuf_device *device = NULL;

	mock_expect(made, MOCK_ARRAY_SIZE(made));
	assert_int_equal(pfnbuf_device_open(ctx, BDF, &device), 0);
	mock_done();
	return device;
}

static const struct vfio_device_info info_in = { .argsz = sizeof(info_in) };
static const struct vfio_device_info info_out = {
	.argsz = sizeof(info_out),
	.flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI,
	.num_regions = 9,
	.num_irqs = 5,
};

#define REGION(index_)                                                                             \
	{                                                                                          \
		.argsz = sizeof(struct vfio_region_info), .index = (index_)                        \
	}
static const struct vfio_region_info region_in[6] = {
	REGION(0), REGION(1), REGION(2), REGION(3), REGION(4), REGION(5),
};

#define RWM (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE | VFIO_REGION_INFO_FLAG_MMAP)

/* A region that says how much room its capabilities need, and one with them. */
struct with_caps {
	struct vfio_region_info info;
	union {
		struct vfio_info_cap_header msix;
		struct {
			struct vfio_info_cap_header header;
			uint32_t nr_areas;
			uint32_t reserved;
			struct vfio_region_sparse_mmap_area areas[2];
		} sparse;
	};
};

#define CAPS_SIZE0 (sizeof(struct vfio_region_info) + sizeof(struct vfio_info_cap_header))
#define CAPS_SIZE2 sizeof(struct with_caps)

static const struct vfio_region_info short_out[3] = {
	[0] = { .argsz = CAPS_SIZE0, .flags = RWM | VFIO_REGION_INFO_FLAG_CAPS, .size = BAR0_SIZE },
	[2] = { .argsz = CAPS_SIZE2, .flags = RWM | VFIO_REGION_INFO_FLAG_CAPS, .size = BAR2_SIZE },
};

static const struct with_caps long_in[3] = {
	[0] = { .info = { .argsz = CAPS_SIZE0, .index = 0 } },
	[2] = { .info = { .argsz = CAPS_SIZE2, .index = 2 } },
};

static const struct with_caps long_out[3] = {
	[0] = {
		.info = {
			.argsz = CAPS_SIZE0,
			.flags = RWM | VFIO_REGION_INFO_FLAG_CAPS,
			.cap_offset = sizeof(struct vfio_region_info),
			.size = BAR0_SIZE,
		},
		.msix = { .id = VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, .version = 1 },
	},
	[2] = {
		.info = {
			.argsz = CAPS_SIZE2,
			.flags = RWM | VFIO_REGION_INFO_FLAG_CAPS,
			.index = 2,
			.cap_offset = sizeof(struct vfio_region_info),
			.size = BAR2_SIZE,
		},
		.sparse = {
			.header = { .id = VFIO_REGION_INFO_CAP_SPARSE_MMAP, .version = 1 },
			.nr_areas = 2,
			.areas = { { 0, 0x1000 }, { 0x3000, 0xd000 } },
		},
	},
};

static const struct vfio_region_info plain_out[6] = {
	[1] = { .argsz = sizeof(struct vfio_region_info), .index = 1 },
	[3] = { .argsz = sizeof(struct vfio_region_info), .index = 3 },
	[4] = {
		.argsz = sizeof(struct vfio_region_info),
		.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
		.index = 4,
		.size = BAR4_SIZE,
	},
	[5] = { .argsz = sizeof(struct vfio_region_info), .index = 5 },
};

#define TRIGGER(index_, fd_)                                                                       \
	{                                                                                          \
		.set = { .argsz = 24,                                                              \
			 .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,         \
			 .index = (index_),                                                        \
			 .count = 1 },                                                             \
		.fd = (fd_)                                                                        \
	}

static const struct {
	struct vfio_irq_set set;
	int32_t fd;
} trigger[2] = {
	TRIGGER(VFIO_PCI_REQ_IRQ_INDEX, REMOVAL_FD),
	TRIGGER(VFIO_PCI_ERR_IRQ_INDEX, ERROR_FD),
};

static const uint8_t command_on[2] = { PCI_COMMAND_MEMORY, 0 };
static const uint8_t command_off[2] = { 0, 0 };
static const uint8_t power_on[2] = { 0, 0 };

#define DEVICE_IOCTL(request_, ...)                                                                \
	{                                                                                          \
		.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = (request_), __VA_ARGS__            \
	}
#define REGION_INFO(in_, in_size_, out_, out_size_)                                                \
	DEVICE_IOCTL(VFIO_DEVICE_GET_REGION_INFO, .in = (in_), .in_size = (in_size_),              \
		     .out = (out_), .out_size = (out_size_))
#define PLAIN(i)                                                                                   \
	REGION_INFO(&region_in[i], sizeof(region_in[i]), &plain_out[i], sizeof(plain_out[i]))
#define SHORT(i)                                                                                   \
	REGION_INFO(&region_in[i], sizeof(region_in[i]), &short_out[i], sizeof(short_out[i]))
#define LONG(i, size_) REGION_INFO(&long_in[i], (size_), &long_out[i], (size_))

size_t fixture_learn_calls(struct mock_call *calls)
{
	static const struct mock_call made[] = {
		DEVICE_IOCTL(VFIO_DEVICE_GET_INFO, MOCK_STRUCT(info_in), MOCK_ANSWER(info_out)),
		{ .kind = MOCK_PREAD,
		  .fd = DEVICE_FD,
		  .value = CONFIG_AT(0),
		  .length = sizeof(config),
		  .out = config,
		  .result = sizeof(config) },
		{ .kind = MOCK_READLINK, .path = SYSFS_DIR "/physfn", .result = -ENOENT },
		SHORT(0),
		LONG(0, CAPS_SIZE0),
		PLAIN(1),
		SHORT(2),
		LONG(2, CAPS_SIZE2),
		PLAIN(3),
		PLAIN(4),
		PLAIN(5),
		{ .kind = MOCK_EVENTFD,
		  .request = EFD_CLOEXEC | EFD_NONBLOCK,
		  .result = REMOVAL_FD },
		{ .kind = MOCK_EPOLL_CTL,
		  .fd = EPOLL_FD,
		  .mode = EPOLL_CTL_ADD,
		  .target = REMOVAL_FD },
		DEVICE_IOCTL(VFIO_DEVICE_SET_IRQS, .in = &trigger[0], .in_size = 24),
		{ .kind = MOCK_EVENTFD, .request = EFD_CLOEXEC | EFD_NONBLOCK, .result = ERROR_FD },
		{ .kind = MOCK_EPOLL_CTL,
		  .fd = EPOLL_FD,
		  .mode = EPOLL_CTL_ADD,
		  .target = ERROR_FD },
		DEVICE_IOCTL(VFIO_DEVICE_SET_IRQS, .in = &trigger[1], .in_size = 24),
	};

	memcpy(calls, made, sizeof(made));
	return MOCK_ARRAY_SIZE(made);
}

void fixture_expect_memory(bool on)
{
	mock_expect_one(.kind = MOCK_PREAD, .fd = DEVICE_FD, .value = CONFIG_AT(PCI_COMMAND),
			.length = 2, .out = on ? command_on : command_off, .result = 2);
	if (on)
		mock_expect_one(.kind = MOCK_PREAD, .fd = DEVICE_FD,
				.value = CONFIG_AT(PM_CAP + PCI_PM_CTRL), .length = 2,
				.out = power_on, .result = 2);
}

void fixture_bind(struct pfnbuf_device *device)
{
	static const struct vfio_device_bind_iommufd in = { .argsz = sizeof(in),
							    .iommufd = IOMMUFD };
	static const struct vfio_device_bind_iommufd out = { .argsz = sizeof(out),
							     .iommufd = IOMMUFD,
							     .out_devid = 1 };
	const struct mock_call bind =
		DEVICE_IOCTL(VFIO_DEVICE_BIND_IOMMUFD, MOCK_STRUCT(in), MOCK_ANSWER(out));
	struct mock_call learn[32];

	mock_expect(&bind, 1);
	mock_expect(learn, fixture_learn_calls(learn));
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_bind(device, NULL), 0);
	mock_done();
}

void fixture_expect_silence(void)
{
	mock_expect_one(.kind = MOCK_READ, .fd = QUEUE_FD, .length = 8, .out = &one, .result = 8);
}

void fixture_pop_all(struct pfnbuf_ctx *ctx)
{
	struct pfnbuf_event event;

	while (pfnbuf_ctx_pop_event(ctx, &event))
		;
}

void fixture_close(struct pfnbuf_ctx *ctx, struct pfnbuf_device *device)
{
	fixture_expect_close(true, false);
	assert_null(pfnbuf_device_close(device));
	fixture_pop_all(ctx);
	mock_done();
}

struct pfnbuf_device *fixture_device(struct pfnbuf_ctx *ctx)
{
	struct pfnbuf_device *device = fixture_device_opened(ctx);

	fixture_bind(device);
	return device;
}

void fixture_expect_event(void)
{
	mock_expect_one(.kind = MOCK_WRITE, .fd = QUEUE_FD, .length = 8, .in = &one, .in_size = 8,
			.result = 8);
}

void fixture_expect_close(bool bound, bool detach)
{
	static const struct vfio_device_detach_iommufd_pt arg = { .argsz = sizeof(arg) };
	const struct mock_call detaching =
		DEVICE_IOCTL(VFIO_DEVICE_DETACH_IOMMUFD_PT, MOCK_STRUCT(arg));

	if (bound) {
		mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD, .mode = EPOLL_CTL_DEL,
				.target = REMOVAL_FD);
		mock_expect_one(.kind = MOCK_CLOSE, .fd = REMOVAL_FD);
		mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD, .mode = EPOLL_CTL_DEL,
				.target = ERROR_FD);
		mock_expect_one(.kind = MOCK_CLOSE, .fd = ERROR_FD);
		fixture_expect_event();
	}
	if (detach)
		mock_expect(&detaching, 1);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = DEVICE_FD);
}

/* ---------------------------------------------------------------- others -------------------- */

struct pfnbuf_ioas *fixture_ioas(struct pfnbuf_ctx *ctx, uint32_t id)
{
	const struct iommu_ioas_alloc in = { .size = sizeof(in) };
	const struct iommu_ioas_alloc out = { .size = sizeof(out), .out_ioas_id = id };
	struct pfnbuf_ioas *ioas = NULL;

	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_ALLOC,
			MOCK_STRUCT(in), MOCK_ANSWER(out));
	assert_int_equal(pfnbuf_ioas_new(ctx, &ioas), 0);
	mock_done();
	assert_int_equal(pfnbuf_ioas_get_id(ioas), id);
	return ioas;
}

void fixture_free_ioas(struct pfnbuf_ioas *ioas, bool mapped)
{
	const struct iommu_ioas_unmap all = {
		.size = sizeof(all),
		.ioas_id = pfnbuf_ioas_get_id(ioas),
		.length = UINT64_MAX,
	};
	const struct iommu_destroy destroy = {
		.size = sizeof(destroy),
		.id = pfnbuf_ioas_get_id(ioas),
	};

	if (mapped)
		mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_UNMAP,
				MOCK_STRUCT(all));
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_DESTROY,
			MOCK_STRUCT(destroy));
	assert_null(pfnbuf_ioas_free(ioas));
	mock_done();
}

struct pfnbuf_vm *fixture_vm(struct pfnbuf_ctx *ctx, bool region2)
{
	const struct mock_call made[] = {
		{ .kind = MOCK_OPEN, .path = "/dev/kvm", .request = O_RDWR, .result = KVM_FD },
		{ .kind = MOCK_IOCTL, .fd = KVM_FD, .request = KVM_GET_API_VERSION, .result = 12 },
		{ .kind = MOCK_IOCTL,
		  .fd = KVM_FD,
		  .request = KVM_CREATE_VM,
		  .value = PFNBUF_VM_SW_PROTECTED,
		  .result = VM_FD },
		{ .kind = MOCK_CLOSE, .fd = KVM_FD },
		{ .kind = MOCK_IOCTL,
		  .fd = VM_FD,
		  .request = KVM_CHECK_EXTENSION,
		  .value = KVM_CAP_NR_MEMSLOTS,
		  .result = 64 },
		{ .kind = MOCK_IOCTL,
		  .fd = VM_FD,
		  .request = KVM_CHECK_EXTENSION,
		  .value = KVM_CAP_USER_MEMORY2,
		  .result = region2 },
	};
	struct pfnbuf_vm *vm = NULL;

	mock_expect(made, MOCK_ARRAY_SIZE(made));
	assert_int_equal(pfnbuf_vm_new(ctx, PFNBUF_VM_SW_PROTECTED, &vm), 0);
	mock_done();
	assert_int_equal(pfnbuf_vm_get_fd(vm), VM_FD);
	return vm;
}

struct pfnbuf_buf *fixture_buf(struct pfnbuf_ctx *ctx, int fd, enum pfnbuf_kind kind,
			       uint64_t length)
{
	static const uint64_t magic[] = {
		[PFNBUF_DMA_BUF] = DMA_BUF_MAGIC,
		[PFNBUF_MEMFD] = 0x01021994,
		[PFNBUF_GUEST_MEMFD] = GUEST_MEMFD_MAGIC,
	};
	struct stat st = { .st_mode = S_IFREG | 0600,
			   .st_size = (off_t)length,
			   .st_ino = (ino_t)fd,
			   .st_dev = 9 };
	struct pfnbuf_buf *buf = NULL;

	mock_expect_one(.kind = MOCK_FSTATFS_TYPE, .fd = fd, .out = &magic[kind]);
	mock_expect_one(.kind = MOCK_FSTAT, .fd = fd, .out = &st);
	assert_int_equal(pfnbuf_buf_from_fd(ctx, fd, 0, &buf), 0);
	mock_done();
	return buf;
}

struct pfnbuf_buf *fixture_export(struct pfnbuf_device *device, int fd, uint64_t length)
{
	struct {
		struct vfio_device_feature feature;
		uint32_t region_index, open_flags, flags, nr_ranges;
		struct vfio_region_dma_range ranges[1];
	} arg = {
		.feature = { .argsz = sizeof(arg),
			     .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF },
		.open_flags = O_RDWR | O_CLOEXEC,
		.nr_ranges = 1,
		.ranges = { { 0, length } },
	};
	const struct pfnbuf_range slice = { 0, length };
	const struct mock_call exported =
		DEVICE_IOCTL(VFIO_DEVICE_FEATURE, MOCK_STRUCT(arg), .result = fd);
	struct stat st = { .st_size = (off_t)length, .st_ino = (ino_t)fd, .st_dev = 9 };
	struct pfnbuf_buf *buf = NULL;

	mock_expect(&exported, 1);
	mock_expect_one(.kind = MOCK_FSTAT, .fd = fd, .out = &st);
	assert_int_equal(pfnbuf_device_export(device, 0, &slice, 1, &buf), 0);
	mock_done();
	return buf;
}

void fixture_unref(struct pfnbuf_buf *buf)
{
	mock_expect_one(.kind = MOCK_CLOSE, .fd = pfnbuf_buf_get_fd(buf));
	assert_null(pfnbuf_buf_unref(buf));
	mock_done();
}
