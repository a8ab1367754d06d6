/* SPDX-License-Identifier: MIT */
/* VFIO devices: each call byte by byte, each errno, and what raises the generation. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fixture.h"
#include "libpfnbuf/private.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/pci.h"
#include "libpfnbuf/uapi/vfio.h"

#define DEVICE_IOCTL(request_, ...)                                                                \
	{                                                                                          \
		.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = (request_), __VA_ARGS__            \
	}

struct fixture {
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_device *device;
};

static int setup_ctx(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	mock_reset();
	f->ctx = fixture_ctx();
	*state = f;
	return 0;
}

static int setup_open(void **state)
{
	struct fixture *f;

	setup_ctx(state);
	f = *state;
	f->device = fixture_device_opened(f->ctx);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f;

	setup_open(state);
	f = *state;
	fixture_bind(f->device);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->device) {
		bool bound = pfnbuf_device_is_bound(f->device);

		fixture_pop_all(f->ctx);
		fixture_expect_close(bound, false);
		assert_null(pfnbuf_device_close(f->device));
		fixture_pop_all(f->ctx);
	}
	fixture_free_ctx(f->ctx);
	free(f);
	return 0;
}

static void next_event(struct fixture *f, enum pfnbuf_event_type type, enum pfnbuf_cause cause,
		       uint64_t generation)
{
	struct pfnbuf_event event;

	assert_int_equal(pfnbuf_ctx_pop_event(f->ctx, &event), 1);
	assert_int_equal(event.type, type);
	assert_int_equal(event.cause, cause);
	assert_int_equal(event.generation, generation);
	assert_ptr_equal(event.device, f->device);
}

/* ---------------------------------------------------------------- opening ------------------- */

#define CDEV "open VFIO cdev"

static void open_not_an_address(void **state)
{
	struct fixture *f = *state;
	const char *const wrong[] = {
		"",
		"eth0",
		"0000:01:00",
		"0000:01:00.8",
		"0000:01:20.0",
		"0000:01:00.0x",
		"01:00.0 ",
		"0000-01-00.0",
		"g000:01:00.0",
		"0000:01:00.0/../..",
		"../../etc/passwd",
	};
	struct pfnbuf_device *device = (void *)1;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(wrong); i++) {
		char object[64];

		snprintf(object, sizeof(object), "device %s", wrong[i]);
		assert_fails("pfnbuf_device_open", pfnbuf_device_open(f->ctx, wrong[i], &device),
			     EINVAL, "pfnbuf_device_open", object, NULL);
	}
	assert_ptr_equal(device, (void *)1);
	mock_done();
}

static void expect_list(const char *path, const char *names, int result)
{
	mock_expect_one(.kind = MOCK_LIST, .path = path, .out = names, .result = result);
}

static void expect_folder(void)
{
	expect_list(SYSFS_DIR, "vendor", 7);
}

static void expect_cdev(void)
{
	expect_folder();
	expect_list(SYSFS_DIR "/vfio-dev", "vfio3", 6);
	expect_list(SYSFS_DIR "/vfio-dev/vfio3", "dev", 4);
}

static void open_errnos(void **state)
{
	struct fixture *f = *state;
	static const char driver[] = "../../../bus/pci/drivers/nvme";
	const int codes[] = { EACCES, EPERM, ENODEV, ENOENT, EMFILE };
	struct pfnbuf_device *device = (void *)1;

	expect_list(SYSFS_DIR, NULL, -ENOENT);
	assert_fails("pfnbuf_device_open", pfnbuf_device_open(f->ctx, BDF, &device), ENOENT, CDEV,
		     DEVICE_NAME, NULL);
	/* Another driver has it. */
	expect_folder();
	expect_list(SYSFS_DIR "/vfio-dev", NULL, -ENOENT);
	mock_expect_one(.kind = MOCK_READLINK, .path = SYSFS_DIR "/driver", .out = driver,
			.result = sizeof(driver) - 1);
	assert_fails("pfnbuf_device_open", pfnbuf_device_open(f->ctx, "01:00.0", &device), ENODEV,
		     CDEV, DEVICE_NAME, NULL);
	assert_non_null(strstr(pfnbuf_last_error(), "nvme"));
	assert_non_null(strstr(pfnbuf_last_error_record()->hint, "driver_override"));
	/* No driver has it. */
	expect_folder();
	expect_list(SYSFS_DIR "/vfio-dev", "", 0);
	mock_expect_one(.kind = MOCK_READLINK, .path = SYSFS_DIR "/driver", .result = -ENOENT);
	assert_fails("pfnbuf_device_open", pfnbuf_device_open(f->ctx, BDF, &device), ENODEV, CDEV,
		     DEVICE_NAME, NULL);
	assert_non_null(strstr(pfnbuf_last_error(), "none"));
	/* VFIO has it, but without cdevs. */
	expect_folder();
	expect_list(SYSFS_DIR "/vfio-dev", "vfio3", 6);
	expect_list(SYSFS_DIR "/vfio-dev/vfio3", "uevent", 7);
	assert_fails("pfnbuf_device_open", pfnbuf_device_open(f->ctx, BDF, &device), ENODEV, CDEV,
		     DEVICE_NAME, NULL);
	assert_non_null(strstr(pfnbuf_last_error(), "CONFIG_VFIO_DEVICE_CDEV"));
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		expect_cdev();
		mock_expect_one(.kind = MOCK_OPEN, .path = "/dev/vfio/devices/vfio3",
				.request = O_RDWR | O_CLOEXEC, .result = -codes[i]);
		assert_fails("pfnbuf_device_open", pfnbuf_device_open(f->ctx, BDF, &device),
			     codes[i], CDEV, DEVICE_NAME, NULL);
	}
	assert_ptr_equal(device, (void *)1);
	mock_done();
}

/* A folder with more in it than the library looks at is there all the same. */
static void open_of_a_full_folder(void **state)
{
	struct fixture *f = *state;

	expect_list(SYSFS_DIR, NULL, -ERANGE);
	expect_list(SYSFS_DIR "/vfio-dev", "vfio3", 6);
	expect_list(SYSFS_DIR "/vfio-dev/vfio3", "dev", 4);
	mock_expect_one(.kind = MOCK_OPEN, .path = "/dev/vfio/devices/vfio3",
			.request = O_RDWR | O_CLOEXEC, .result = DEVICE_FD);
	assert_int_equal(pfnbuf_device_open(f->ctx, BDF, &f->device), 0);
	assert_int_equal(pfnbuf_device_get_fd(f->device), DEVICE_FD);
}

static const struct vfio_device_bind_iommufd no_bind = { 0 };
static const struct stat some_stat = { .st_ino = 1 };
static const char fdinfo[] = "pos:\t0\nflags:\t02000002\n"
			     "vfio-device-syspath: /sys/devices/pci0000:00/0000:00:01.0/" BDF "\n";

static void expect_fdinfo(const char *text)
{
	mock_expect_one(.kind = MOCK_OPEN, .path = "/proc/self/fdinfo/30",
			.request = O_RDONLY | O_CLOEXEC, .result = text ? 99 : -ENOENT);
	if (!text)
		return;
	mock_expect_one(.kind = MOCK_READ, .fd = 99, .length = 1023, .out = text,
			.result = (int64_t)strlen(text));
	mock_expect_one(.kind = MOCK_CLOSE, .fd = 99);
	if (text == fdinfo)
		expect_list(SYSFS_DIR "/vfio-dev", "vfio3", 6);
}

static void expect_probe(int result)
{
	mock_expect_one(.kind = MOCK_FSTAT, .fd = DEVICE_FD, .out = &some_stat);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_BIND_IOMMUFD,
			MOCK_STRUCT(no_bind), .result = result);
}

static void from_fd(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_device_info info;
	struct pfnbuf_device *device = NULL;

	expect_fdinfo(fdinfo);
	expect_probe(-EINVAL);
	assert_int_equal(pfnbuf_device_from_fd(f->ctx, DEVICE_FD, PFNBUF_FD_BORROWED, 0, &device),
			 0);
	mock_done();
	assert_int_equal(pfnbuf_device_get_info(device, &info), 0);
	assert_string_equal(info.bdf, BDF);
	assert_string_equal(info.cdev, "vfio3");
	assert_false(info.bound);
	assert_false(info.memory_enabled);
	assert_int_equal(info.devid, 0);
	assert_int_equal(info.vendor, 0);
	/* Borrowed, and not bound: nothing to undo. */
	assert_null(pfnbuf_device_close(device));
	mock_done();
	assert_null(pfnbuf_device_close(NULL));
}

static void from_fd_that_does_not_tell(void **state)
{
	struct fixture *f = *state;
	const char *const texts[] = { NULL, "pos: 0\n", "vfio-device-syspath: nonsense\n",
				      "vfio-device-syspath: /sys/devices/platform/x" };
	struct pfnbuf_device_info info;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(texts); i++) {
		struct pfnbuf_device *device = NULL;

		expect_fdinfo(texts[i]);
		expect_probe(-EINVAL);
		assert_int_equal(
			pfnbuf_device_from_fd(f->ctx, DEVICE_FD, PFNBUF_FD_BORROWED, 0, &device),
			0);
		assert_int_equal(pfnbuf_device_get_info(device, &info), 0);
		assert_string_equal(info.bdf, "");
		assert_string_equal(pfnbuf_device_name(device), "device fd 30");
		assert_null(pfnbuf_device_close(device));
		mock_done();
	}
}

static void from_fd_errnos(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_device *device = (void *)1;
	static const char call[] = "pfnbuf_device_from_fd";

	assert_fails(call, pfnbuf_device_from_fd(f->ctx, DEVICE_FD, 1u << 6, 0, &device), EINVAL,
		     call, "device fd 30", NULL);
	assert_fails(call, pfnbuf_device_from_fd(f->ctx, DEVICE_FD, PFNBUF_FD_BOUND, 0, &device),
		     EINVAL, call, "device fd 30", NULL);
	expect_fdinfo(NULL);
	mock_expect_one(.kind = MOCK_FSTAT, .fd = DEVICE_FD, .result = -EBADF);
	assert_fails(call, pfnbuf_device_from_fd(f->ctx, DEVICE_FD, 0, 0, &device), EBADF, "fstat",
		     "device fd 30", NULL);
	expect_fdinfo(NULL);
	expect_probe(-ENOTTY);
	assert_fails(call, pfnbuf_device_from_fd(f->ctx, DEVICE_FD, 0, 0, &device), ENOTTY, call,
		     "device fd 30", NULL);
	assert_ptr_equal(device, (void *)1);
	mock_done();
}

static const struct vfio_device_info info_in = { .argsz = sizeof(info_in) };

static void from_bound_fd_of_another_bus(void **state)
{
	struct fixture *f = *state;
	const struct vfio_device_info platform = { .argsz = sizeof(platform),
						   .flags = VFIO_DEVICE_FLAGS_PLATFORM };
	struct pfnbuf_device *device = (void *)1;

	expect_fdinfo(NULL);
	expect_probe(-EINVAL);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_GET_INFO,
			MOCK_STRUCT(info_in), MOCK_ANSWER(platform));
	assert_fails("pfnbuf_device_from_fd",
		     pfnbuf_device_from_fd(f->ctx, DEVICE_FD, PFNBUF_FD_BOUND, 5, &device), EINVAL,
		     "VFIO_DEVICE_GET_INFO", "device fd 30", NULL);
	expect_fdinfo(NULL);
	expect_probe(-EINVAL);
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_GET_INFO,
			MOCK_STRUCT(info_in), .result = -EIO);
	assert_fails("pfnbuf_device_from_fd",
		     pfnbuf_device_from_fd(f->ctx, DEVICE_FD, PFNBUF_FD_BOUND, 5, &device), EIO,
		     "VFIO_DEVICE_GET_INFO", "device fd 30", NULL);
	assert_ptr_equal(device, (void *)1);
	mock_done();
}

static void expect_untriggered(uint32_t index)
{
	static struct {
		struct vfio_irq_set set;
		int32_t fd;
	} in[2];
	static unsigned next;
	unsigned i = next++ % 2;

	in[i].set = (struct vfio_irq_set){
		.argsz = 24,
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = index,
		.count = 1,
	};
	in[i].fd = -1;
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_SET_IRQS,
			.in = &in[i], .in_size = 24);
}

/* A borrowed fd outlives the object: our eventfds are taken out of it. */
static void from_bound_fd(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_device *device = NULL;
	struct pfnbuf_device_info info;
	struct mock_call learn[32];

	expect_fdinfo(fdinfo);
	expect_probe(-EINVAL);
	mock_expect(learn, fixture_learn_calls(learn));
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_from_fd(f->ctx, DEVICE_FD,
					       PFNBUF_FD_BOUND | PFNBUF_FD_BORROWED, 5, &device),
			 0);
	mock_done();
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_get_info(device, &info), 0);
	assert_true(info.bound);
	assert_int_equal(info.devid, 5);
	expect_untriggered(VFIO_PCI_REQ_IRQ_INDEX);
	mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD, .mode = EPOLL_CTL_DEL,
			.target = REMOVAL_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = REMOVAL_FD);
	expect_untriggered(VFIO_PCI_ERR_IRQ_INDEX);
	mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD, .mode = EPOLL_CTL_DEL,
			.target = ERROR_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = ERROR_FD);
	fixture_expect_event();
	assert_null(pfnbuf_device_close(device));
	fixture_pop_all(f->ctx);
	mock_done();
}

/*
 * Whatever fails on the way, the fd stays the caller's and nothing stays behind: no eventfd, and
 * nothing in the engine that would be called for an object that is gone.
 */
static void from_bound_fd_fails_anywhere(void **state)
{
	struct fixture *f = *state;
	struct mock_call learn[32];
	size_t n = fixture_learn_calls(learn);

	for (size_t i = 0; i < n; i++) {
		struct pfnbuf_device *device = (void *)1;
		struct mock_call failing = learn[i];

		if (failing.kind == MOCK_READLINK)
			continue;
		failing.result = -ENOMEM;
		failing.out = NULL;
		expect_fdinfo(fdinfo);
		expect_probe(-EINVAL);
		mock_expect(learn, i);
		mock_expect(&failing, 1);
		if (i == n - 1 || i == n - 4) /* SET_IRQS */
			mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD,
					.mode = EPOLL_CTL_DEL,
					.target = i == n - 1 ? ERROR_FD : REMOVAL_FD);
		if (i == n - 1 || i == n - 2)
			mock_expect_one(.kind = MOCK_CLOSE, .fd = ERROR_FD);
		if (i == n - 4 || i == n - 5)
			mock_expect_one(.kind = MOCK_CLOSE, .fd = REMOVAL_FD);
		if (i >= n - 3) {
			expect_untriggered(VFIO_PCI_REQ_IRQ_INDEX);
			mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD,
					.mode = EPOLL_CTL_DEL, .target = REMOVAL_FD);
			mock_expect_one(.kind = MOCK_CLOSE, .fd = REMOVAL_FD);
		}
		assert_int_equal(
			pfnbuf_device_from_fd(f->ctx, DEVICE_FD, PFNBUF_FD_BOUND, 5, &device),
			-ENOMEM);
		assert_int_equal(pfnbuf_last_error_record()->code, -ENOMEM);
		assert_ptr_equal(device, (void *)1);
		mock_done();
	}
}

/* ---------------------------------------------------------------- binding ------------------- */

static const uint8_t token[16] = "0123456789abcde";
static const struct vfio_device_bind_iommufd bind_in = { .argsz = sizeof(bind_in),
							 .flags = VFIO_DEVICE_BIND_FLAG_TOKEN,
							 .iommufd = IOMMUFD };

static int run_bind(void *object, uint64_t *out)
{
	(void)out;
	return pfnbuf_device_bind(object, token);
}

static void bind_errnos(void **state)
{
	struct fixture *f = *state;
	const struct mock_wrapper wrapper = {
		.function = "pfnbuf_device_bind",
		.call = "VFIO_DEVICE_BIND_IOMMUFD",
		.object = DEVICE_NAME,
		.run = run_bind,
		.made = DEVICE_IOCTL(
			VFIO_DEVICE_BIND_IOMMUFD, MOCK_STRUCT(bind_in), .points = true,
			.pointer_at = offsetof(struct vfio_device_bind_iommufd, token_uuid_ptr),
			.pointed_in = token, .pointed_in_size = sizeof(token)),
		.codes = { EINVAL, EBUSY, EPERM, ENODEV, EACCES, EAGAIN, EBADFD, EBADF, EIO },
	};

	mock_try_errnos(&wrapper, f->device);
	assert_false(pfnbuf_device_is_bound(f->device));
}

static void bind_twice(void **state)
{
	struct fixture *f = *state;

	assert_fails("pfnbuf_device_bind", pfnbuf_device_bind(f->device, NULL), EALREADY,
		     "VFIO_DEVICE_BIND_IOMMUFD", DEVICE_NAME, NULL);
	mock_done();
}

static void bind_without_iommufd(void **state)
{
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_device *device;
	const int codes[] = { ENOENT, ENODEV, EACCES };

	(void)state;
	mock_reset();
	ctx = fixture_ctx_without_iommufd();
	device = fixture_device_opened(ctx);
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		mock_expect_one(.kind = MOCK_OPEN, .path = "/dev/iommu",
				.request = O_RDWR | O_CLOEXEC, .result = -codes[i]);
		assert_fails("pfnbuf_device_bind", pfnbuf_device_bind(device, NULL), codes[i],
			     "open /dev/iommu", "/dev/iommu", NULL);
	}
	fixture_expect_close(false, false);
	assert_null(pfnbuf_device_close(device));
	fixture_free_ctx(ctx);
}

/* There is no unbinding: a bind that failed after the kernel's goes on where it stopped. */
static void bind_goes_on(void **state)
{
	struct fixture *f = *state;
	const struct vfio_device_bind_iommufd in = { .argsz = sizeof(in), .iommufd = IOMMUFD };
	const struct vfio_device_bind_iommufd out = { .argsz = sizeof(out),
						      .iommufd = IOMMUFD,
						      .out_devid = 1 };
	struct mock_call learn[32];
	size_t n = fixture_learn_calls(learn);
	struct pfnbuf_bar bar;

	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_BIND_IOMMUFD,
			MOCK_STRUCT(in), MOCK_ANSWER(out));
	mock_expect(learn, n - 3);
	mock_expect_one(.kind = MOCK_EVENTFD, .request = EFD_CLOEXEC | EFD_NONBLOCK,
			.result = -EMFILE);
	assert_fails("pfnbuf_device_bind", pfnbuf_device_bind(f->device, NULL), EMFILE, "eventfd",
		     DEVICE_NAME, NULL);
	mock_done();
	assert_true(pfnbuf_device_is_bound(f->device));
	assert_fails("pfnbuf_device_get_bar", pfnbuf_device_get_bar(f->device, 0, &bar), EINVAL,
		     "pfnbuf_device_get_bar", DEVICE_NAME, NULL);

	mock_expect(learn, n - 6);
	mock_expect(learn + n - 3, 3);
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_bind(f->device, NULL), 0);
	mock_done();
	assert_int_equal(pfnbuf_device_get_bar(f->device, 0, &bar), 0);
}

/* A device without these interrupts is as good as one that never raises them. */
static void bind_without_notices(void **state)
{
	struct fixture *f = *state;
	const struct vfio_device_bind_iommufd in = { .argsz = sizeof(in), .iommufd = IOMMUFD };
	const struct vfio_device_bind_iommufd out = { .argsz = sizeof(out),
						      .iommufd = IOMMUFD,
						      .out_devid = 1 };
	struct mock_call learn[32];
	size_t n = fixture_learn_calls(learn);

	learn[n - 1].result = -EINVAL;
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_BIND_IOMMUFD,
			MOCK_STRUCT(in), MOCK_ANSWER(out));
	mock_expect(learn, n);
	mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD, .mode = EPOLL_CTL_DEL,
			.target = ERROR_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = ERROR_FD);
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_bind(f->device, NULL), 0);
	mock_logged(PFNBUF_LOG_INFO, "no device-error notice (EINVAL)");
	mock_done();

	mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD, .mode = EPOLL_CTL_DEL,
			.target = REMOVAL_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = REMOVAL_FD);
	fixture_expect_event();
	mock_expect_one(.kind = MOCK_CLOSE, .fd = DEVICE_FD);
	f->device = pfnbuf_device_close(f->device);
	fixture_pop_all(f->ctx);
	mock_done();
}

static void what_bind_learns(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_range sparse[3] = { { 0 } };
	struct pfnbuf_device_info info;
	struct pfnbuf_bar bar;

	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_get_info(f->device, &info), 0);
	mock_done();
	assert_string_equal(info.bdf, BDF);
	assert_string_equal(info.cdev, "vfio3");
	assert_int_equal(info.vendor, 0x1234);
	assert_int_equal(info.device, 0x11e8);
	assert_int_equal(info.devid, 1);
	assert_int_equal(info.num_regions, 9);
	assert_int_equal(info.num_irqs, 5);
	assert_int_equal(info.ioas_id, 0);
	assert_int_equal(info.generation, 1);
	assert_true(!info.removal_requests && !info.device_errors);
	assert_true(info.bound && info.can_reset && info.memory_enabled);
	assert_false(info.is_vf || info.low_power);

	assert_int_equal(pfnbuf_device_get_bar(f->device, 0, &bar), 0);
	assert_int_equal(bar.size, BAR0_SIZE);
	assert_int_equal(bar.flags, PFNBUF_BAR_READ | PFNBUF_BAR_WRITE | PFNBUF_BAR_MMAP |
					    PFNBUF_BAR_HAS_MSIX | PFNBUF_BAR_64 |
					    PFNBUF_BAR_PREFETCHABLE);
	assert_int_equal(bar.nr_sparse, 0);
	assert_int_equal(pfnbuf_device_get_bar_sparse(f->device, 0, sparse, 3), 0);
	assert_int_equal(pfnbuf_device_get_bar(f->device, 1, &bar), 0);
	assert_int_equal(bar.size, 0);
	assert_int_equal(bar.flags, 0);
	assert_int_equal(pfnbuf_device_get_bar(f->device, 2, &bar), 0);
	assert_int_equal(bar.nr_sparse, 2);
	assert_int_equal(pfnbuf_device_get_bar_sparse(f->device, 2, sparse, 3), 2);
	assert_int_equal(sparse[1].offset, 0x3000);
	assert_int_equal(sparse[1].length, 0xd000);
	assert_int_equal(sparse[2].length, 0);
	sparse[1].length = 7;
	assert_int_equal(pfnbuf_device_get_bar_sparse(f->device, 2, sparse, 1), 2);
	assert_int_equal(sparse[1].length, 7);
	assert_int_equal(pfnbuf_device_get_bar_sparse(f->device, 2, NULL, 0), 2);
	assert_int_equal(pfnbuf_device_get_bar(f->device, 4, &bar), 0);
	assert_int_equal(bar.size, BAR4_SIZE);
	assert_int_equal(bar.flags, PFNBUF_BAR_READ | PFNBUF_BAR_WRITE | PFNBUF_BAR_IO);

	sparse[0].length = 7;
	assert_int_equal(pfnbuf_device_get_bar_msix(f->device, 0, sparse, 3), 2);
	assert_int_equal(sparse[0].offset, 0x2000);
	assert_int_equal(sparse[0].length, 0x2000);
	assert_int_equal(sparse[1].offset, 0x8000);
	assert_int_equal(sparse[1].length, 0x1000);
	assert_int_equal(pfnbuf_device_get_bar_msix(f->device, 2, sparse, 3), 0);
	assert_fails("pfnbuf_device_get_bar_msix",
		     pfnbuf_device_get_bar_msix(f->device, 6, sparse, 3), EINVAL,
		     "pfnbuf_device_get_bar_msix", DEVICE_NAME, NULL);

	memset(&bar, 0x77, sizeof(bar));
	assert_fails("pfnbuf_device_get_bar", pfnbuf_device_get_bar(f->device, 6, &bar), EINVAL,
		     "pfnbuf_device_get_bar", DEVICE_NAME, NULL);
	assert_int_equal(bar.flags, 0x77777777);
	assert_fails("pfnbuf_device_get_bar_sparse",
		     pfnbuf_device_get_bar_sparse(f->device, 6, sparse, 3), EINVAL,
		     "pfnbuf_device_get_bar_sparse", DEVICE_NAME, NULL);
}

/* ---------------------------------------------------------------- attaching ----------------- */

static const struct vfio_device_attach_iommufd_pt attach_in = { .argsz = sizeof(attach_in),
								.pt_id = 3 };
static const struct vfio_device_attach_iommufd_pt attach_out = { .argsz = sizeof(attach_in),
								 .pt_id = 17 };
static const struct vfio_device_detach_iommufd_pt detach_in = { .argsz = sizeof(detach_in) };

static int run_attach(void *object, uint64_t *out)
{
	void **of = object;

	(void)out;
	return pfnbuf_device_attach(of[0], of[1]);
}

static int run_detach(void *object, uint64_t *out)
{
	(void)out;
	return pfnbuf_device_detach(object);
}

static void attach_and_detach(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_ioas *ioas = fixture_ioas(f->ctx, 3);
	void *of[] = { f->device, ioas };
	const struct mock_wrapper attach = {
		.function = "pfnbuf_device_attach",
		.call = "VFIO_DEVICE_ATTACH_IOMMUFD_PT",
		.object = DEVICE_NAME,
		.run = run_attach,
		.made = DEVICE_IOCTL(VFIO_DEVICE_ATTACH_IOMMUFD_PT, MOCK_STRUCT(attach_in)),
		.codes = { ENOENT, EADDRINUSE, EINVAL, EFAULT, ENOMEM, EBUSY },
	};
	const struct mock_wrapper detach = {
		.function = "pfnbuf_device_detach",
		.call = "VFIO_DEVICE_DETACH_IOMMUFD_PT",
		.object = DEVICE_NAME,
		.run = run_detach,
		.made = DEVICE_IOCTL(VFIO_DEVICE_DETACH_IOMMUFD_PT, MOCK_STRUCT(detach_in)),
		.codes = { ENOMEM, EINTR },
	};
	struct mock_call made = attach.made;
	struct pfnbuf_device_info info;

	mock_try_errnos(&attach, of);
	made.out = &attach_out;
	made.out_size = sizeof(attach_out);
	mock_expect(&made, 1);
	assert_int_equal(pfnbuf_device_attach(f->device, ioas), 0);
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_get_info(f->device, &info), 0);
	assert_int_equal(info.ioas_id, 3);
	mock_try_errnos(&attach, of);
	mock_try_errnos(&detach, f->device);
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_get_info(f->device, &info), 0);
	assert_int_equal(info.ioas_id, 3);
	mock_expect(&detach.made, 1);
	assert_int_equal(pfnbuf_device_detach(f->device), 0);
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_get_info(f->device, &info), 0);
	assert_int_equal(info.ioas_id, 0);
	fixture_free_ioas(ioas, false);
}

static void close_detaches(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_ioas *ioas = fixture_ioas(f->ctx, 3);

	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD,
			.request = VFIO_DEVICE_ATTACH_IOMMUFD_PT, MOCK_STRUCT(attach_in));
	assert_int_equal(pfnbuf_device_attach(f->device, ioas), 0);
	fixture_expect_close(true, true);
	f->device = pfnbuf_device_close(f->device);
	mock_done();
	fixture_pop_all(f->ctx);
	/* It is not detached a second time. */
	fixture_free_ioas(ioas, false);
}

/* ---------------------------------------------------------------- before bind --------------- */

static int bar_read(struct pfnbuf_device *d)
{
	return pfnbuf_device_bar_read(d, 0, 0, (char[4]){ 0 }, 4);
}

static int bar_write(struct pfnbuf_device *d)
{
	return pfnbuf_device_bar_write(d, 0, 0, "abc", 4);
}

static int bar_map(struct pfnbuf_device *d)
{
	void *addr;

	return pfnbuf_device_bar_map(d, 0, 0, 0x1000, &addr);
}

static int config_read(struct pfnbuf_device *d)
{
	return pfnbuf_device_config_read(d, 0, (char[4]){ 0 }, 4);
}

static int config_write(struct pfnbuf_device *d)
{
	return pfnbuf_device_config_write(d, 0, "abc", 4);
}

static int decode(struct pfnbuf_device *d)
{
	return pfnbuf_device_set_memory_decode(d, true);
}

static int master(struct pfnbuf_device *d)
{
	return pfnbuf_device_set_bus_master(d, true);
}

static int reset_set(struct pfnbuf_device *d)
{
	return pfnbuf_device_hot_reset_set(d, NULL, 0);
}

static int low_power(struct pfnbuf_device *d)
{
	return pfnbuf_device_low_power_enter(d, -1);
}

static int revoke_begin(struct pfnbuf_device *d)
{
	return pfnbuf_device_revoke_begin(d, PFNBUF_CAUSE_FOREIGN);
}

static int export(struct pfnbuf_device *d)
{
	struct pfnbuf_buf *buf;

	return pfnbuf_device_export(d, 0, &(struct pfnbuf_range){ 0, 0x1000 }, 1, &buf);
}

static int detach(struct pfnbuf_device *d)
{
	return pfnbuf_device_detach(d);
}

static int get_bar(struct pfnbuf_device *d)
{
	struct pfnbuf_bar bar;

	return pfnbuf_device_get_bar(d, 0, &bar);
}

/* Nothing of a device that is not bound can be used; none of these asks the kernel. */
static void nothing_before_bind(void **state)
{
	static const struct {
		const char *function;
		int (*run)(struct pfnbuf_device *d);
		const char *call;
	} calls[] = {
		{ "pfnbuf_device_bar_read", bar_read, "pread of a BAR" },
		{ "pfnbuf_device_bar_write", bar_write, "pwrite of a BAR" },
		{ "pfnbuf_device_bar_map", bar_map, "mmap of a BAR" },
		{ "pfnbuf_device_config_read", config_read, "pread of configuration space" },
		{ "pfnbuf_device_config_write", config_write, "pwrite of configuration space" },
		{ "pfnbuf_device_set_memory_decode", decode, "pwrite of configuration space" },
		{ "pfnbuf_device_set_bus_master", master, "pwrite of configuration space" },
		{ "pfnbuf_device_reset", pfnbuf_device_reset, "VFIO_DEVICE_RESET" },
		{ "pfnbuf_device_hot_reset_set", reset_set, "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO" },
		{ "pfnbuf_device_hot_reset", pfnbuf_device_hot_reset,
		  "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO" },
		{ "pfnbuf_device_low_power_enter", low_power,
		  "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY" },
		{ "pfnbuf_device_low_power_exit", pfnbuf_device_low_power_exit,
		  "VFIO_DEVICE_FEATURE_LOW_POWER_EXIT" },
		{ "pfnbuf_device_revoke_begin", revoke_begin, "pfnbuf_device_revoke_begin" },
		{ "pfnbuf_device_export", export, "VFIO_DEVICE_FEATURE_DMA_BUF" },
		{ "pfnbuf_device_detach", detach, "VFIO_DEVICE_DETACH_IOMMUFD_PT" },
		{ "pfnbuf_device_get_bar", get_bar, "pfnbuf_device_get_bar" },
	};
	struct fixture *f = *state;
	struct pfnbuf_ioas *ioas = fixture_ioas(f->ctx, 3);

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(calls); i++) {
		int r = calls[i].run(f->device);
		const char *object = pfnbuf_last_error_record()->object;

		assert_string_equal(object, DEVICE_NAME);
		mock_check_failure(r, &(const struct mock_failure){
					      .function = calls[i].function,
					      .code = EINVAL,
					      .call = calls[i].call,
					      .object = DEVICE_NAME,
					      .range = pfnbuf_last_error_record()->has_range
							       ? &pfnbuf_last_error_record()->range
							       : NULL,
				      });
	}
	assert_fails("pfnbuf_device_attach", pfnbuf_device_attach(f->device, ioas), EINVAL,
		     "VFIO_DEVICE_ATTACH_IOMMUFD_PT", DEVICE_NAME, NULL);
	assert_fails("pfnbuf_device_restore", pfnbuf_device_restore(f->device), ENODEV,
		     "pfnbuf_device_restore", DEVICE_NAME, NULL);
	mock_done();
	fixture_free_ioas(ioas, false);
}

/* ---------------------------------------------------------------- BAR bytes ----------------- */

static const uint8_t four[4] = { 1, 2, 3, 4 };

static int run_bar_read(void *object, uint64_t *out)
{
	return pfnbuf_device_bar_read(object, 2, 0x10, out, 4);
}

static int run_bar_write(void *object, uint64_t *out)
{
	(void)out;
	return pfnbuf_device_bar_write(object, 2, 0x10, four, 4);
}

static int run_bar_map(void *object, uint64_t *out)
{
	return pfnbuf_device_bar_map(object, 0, 0x1000, 0x2000, (void *)out);
}

static int run_config_read(void *object, uint64_t *out)
{
	return pfnbuf_device_config_read(object, 0x10, out, 4);
}

static int run_config_write(void *object, uint64_t *out)
{
	(void)out;
	return pfnbuf_device_config_write(object, 0x10, four, 4);
}

#define READ_CALL(at_)                                                                             \
	{                                                                                          \
		.kind = MOCK_PREAD, .fd = DEVICE_FD, .value = (at_), .length = 4                   \
	}
#define WRITE_CALL(at_)                                                                            \
	{                                                                                          \
		.kind = MOCK_PWRITE, .fd = DEVICE_FD, .value = (at_), .length = 4, .in = four,     \
		.in_size = 4                                                                       \
	}

static const struct mock_wrapper byte_calls[] = {
	{
		.function = "pfnbuf_device_bar_read",
		.call = "pread of a BAR",
		.object = DEVICE_NAME,
		.has_range = true,
		.range = { 0x10, 4 },
		.run = run_bar_read,
		.made = READ_CALL(BAR_AT(2, 0x10)),
		.codes = { EIO, EBUSY },
	},
	{
		.function = "pfnbuf_device_bar_write",
		.call = "pwrite of a BAR",
		.object = DEVICE_NAME,
		.has_range = true,
		.range = { 0x10, 4 },
		.run = run_bar_write,
		.made = WRITE_CALL(BAR_AT(2, 0x10)),
		.codes = { EIO, EBUSY },
	},
	{
		.function = "pfnbuf_device_bar_map",
		.call = "mmap of a BAR",
		.object = DEVICE_NAME,
		.has_range = true,
		.range = { 0x1000, 0x2000 },
		.run = run_bar_map,
		.made = { .kind = MOCK_MMAP,
			  .fd = DEVICE_FD,
			  .request = MAP_SHARED,
			  .mode = PROT_READ | PROT_WRITE,
			  .value = BAR_AT(0, 0x1000),
			  .length = 0x2000 },
		.codes = { EINVAL, ENOMEM, EBUSY, ENODEV },
	},
	{
		.function = "pfnbuf_device_config_read",
		.call = "pread of configuration space",
		.object = DEVICE_NAME,
		.has_range = true,
		.range = { 0x10, 4 },
		.run = run_config_read,
		.made = READ_CALL(CONFIG_AT(0x10)),
		.codes = { EFAULT, EIO },
	},
	{
		.function = "pfnbuf_device_config_write",
		.call = "pwrite of configuration space",
		.object = DEVICE_NAME,
		.has_range = true,
		.range = { 0x10, 4 },
		.run = run_config_write,
		.made = WRITE_CALL(CONFIG_AT(0x10)),
		.codes = { EFAULT, EIO },
	},
};

static void bytes(void **state)
{
	struct fixture *f = *state;
	uint8_t data[4] = { 0 };

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(byte_calls); i++) {
		mock_try_errnos(&byte_calls[i], f->device);
		if (byte_calls[i].made.kind == MOCK_PWRITE) {
			/* Less than all of it is a failure as well. */
			struct mock_call part = byte_calls[i].made;

			part.result = 3;
			mock_expect(&part, 1);
			assert_fails(byte_calls[i].function, byte_calls[i].run(f->device, NULL),
				     EIO, byte_calls[i].call, DEVICE_NAME, &byte_calls[i].range);
			part.result = 4;
			mock_expect(&part, 1);
			assert_int_equal(byte_calls[i].run(f->device, NULL), 0);
		}
	}
	mock_expect_one(.kind = MOCK_PREAD, .fd = DEVICE_FD, .value = BAR_AT(0, 0x20), .length = 4,
			.out = four, .result = 4);
	assert_int_equal(pfnbuf_device_bar_read(f->device, 0, 0x20, data, 4), 0);
	assert_memory_equal(data, four, 4);
	mock_expect_one(.kind = MOCK_PREAD, .fd = DEVICE_FD, .value = CONFIG_AT(0x34), .length = 1,
			.out = four, .result = 1);
	assert_int_equal(pfnbuf_device_config_read(f->device, 0x34, data, 1), 0);
	mock_done();
}

static void bytes_refused(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_range wrong[] = {
		{ BAR2_SIZE - 3, 4 },
		{ BAR2_SIZE + 1, 0 },
		{ UINT64_MAX, 4 },
	};
	const struct pfnbuf_range fits = { 0, 4 }, empty = { 4, 0 };
	uint8_t data[4] = { 9, 9, 9, 9 };

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(wrong); i++) {
		assert_fails("pfnbuf_device_bar_read",
			     pfnbuf_device_bar_read(f->device, 2, wrong[i].offset, data,
						    wrong[i].length),
			     EINVAL, "pread of a BAR", DEVICE_NAME, &wrong[i]);
		assert_fails("pfnbuf_device_bar_write",
			     pfnbuf_device_bar_write(f->device, 2, wrong[i].offset, data,
						     wrong[i].length),
			     EINVAL, "pwrite of a BAR", DEVICE_NAME, &wrong[i]);
	}
	assert_fails("pfnbuf_device_bar_read", pfnbuf_device_bar_read(f->device, 1, 0, data, 4),
		     EINVAL, "pread of a BAR", DEVICE_NAME, &fits);
	assert_fails("pfnbuf_device_bar_read", pfnbuf_device_bar_read(f->device, 6, 0, data, 4),
		     EINVAL, "pread of a BAR", DEVICE_NAME, NULL);
	assert_fails("pfnbuf_device_config_read", pfnbuf_device_config_read(f->device, 4, data, 0),
		     EINVAL, "pread of configuration space", DEVICE_NAME, &empty);
	assert_fails("pfnbuf_device_config_write",
		     pfnbuf_device_config_write(f->device, 4, data, 0), EINVAL,
		     "pwrite of configuration space", DEVICE_NAME, &empty);
	assert_int_equal(data[0], 9);
	mock_done();
}

static void map_bar(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_range wrong[] = {
		{ 0x800, 0x1000 },
		{ 0, 0x800 },
		{ 0, 0 },
		{ 0, BAR0_SIZE + 0x1000 },
	};
	struct mock_call made = byte_calls[2].made;
	void *addr = (void *)1;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(wrong); i++)
		assert_fails("pfnbuf_device_bar_map",
			     pfnbuf_device_bar_map(f->device, 0, wrong[i].offset, wrong[i].length,
						   &addr),
			     EINVAL, "mmap of a BAR", DEVICE_NAME, &wrong[i]);
	assert_ptr_equal(addr, (void *)1);
	assert_fails("pfnbuf_device_bar_unmap", pfnbuf_device_bar_unmap(f->device, addr), ENOENT,
		     "munmap of a BAR", DEVICE_NAME, NULL);
	pfnbuf_device_set_lent(f->device, PFNBUF_LENT);
	assert_fails("pfnbuf_device_bar_map", run_bar_map(f->device, (void *)&addr), EBUSY,
		     "mmap of a BAR", DEVICE_NAME, &byte_calls[2].range);
	assert_string_equal(pfnbuf_last_error_record()->hint, "call pfnbuf_bind_unlock() first");
	mock_done();
	made.out = (void *)0x900000;
	mock_expect(&made, 1);
	assert_int_equal(pfnbuf_device_bar_map_lent(f->device, 0, 0x1000, 0x2000, &addr), 0);
	mock_expect_one(.kind = MOCK_MUNMAP, .value = 0x900000, .length = 0x2000);
	assert_int_equal(pfnbuf_device_bar_unmap(f->device, addr), 0);
	pfnbuf_device_set_lent(f->device, PFNBUF_HOME);
	made.out = (void *)0x700000;
	mock_expect(&made, 1);
	assert_int_equal(run_bar_map(f->device, (void *)&addr), 0);
	assert_ptr_equal(addr, (void *)0x700000);
	mock_expect_one(.kind = MOCK_MUNMAP, .value = 0x700000, .length = 0x2000);
	assert_int_equal(pfnbuf_device_bar_unmap(f->device, addr), 0);
	assert_fails("pfnbuf_device_bar_unmap", pfnbuf_device_bar_unmap(f->device, addr), ENOENT,
		     "munmap of a BAR", DEVICE_NAME, NULL);
	mock_done();
}

/* ---------------------------------------------------------------- what revokes -------------- */

static void expect_write(uint64_t at, const uint8_t *data, size_t length, int64_t result)
{
	mock_expect_one(.kind = MOCK_PWRITE, .fd = DEVICE_FD, .value = CONFIG_AT(at),
			.length = length, .in = data, .in_size = length, .result = result);
}

static void writes_that_revoke(void **state)
{
	struct fixture *f = *state;
	static const uint8_t off[2] = { PCI_COMMAND_MASTER, 0 };
	static const uint8_t on[2] = { PCI_COMMAND_MEMORY, 0 };
	static const uint8_t d3[1] = { 3 };
	static const uint8_t flr[2] = { 0x10, 0x80 };
	static const uint8_t af[1] = { 1 };
	static const uint8_t many[8] = { 0, 0, 0, 0, 0, 0, 0, 0 };
	const struct {
		uint64_t at;
		const uint8_t *data;
		size_t length;
		enum pfnbuf_cause cause;
		bool memory; /* on afterwards */
	} writes[] = {
		{ PCI_COMMAND, off, 2, PFNBUF_CAUSE_DECODE_OFF, false },
		{ PCI_COMMAND, off, 1, PFNBUF_CAUSE_DECODE_OFF, false },
		{ 0, many, 8, PFNBUF_CAUSE_DECODE_OFF, false },
		{ PM_CAP + PCI_PM_CTRL, d3, 1, PFNBUF_CAUSE_POWER, false },
		{ EXP_CAP + PCI_EXP_DEVCTL, flr, 2, PFNBUF_CAUSE_FLR, true },
		{ AF_CAP + PCI_AF_CTRL, af, 1, PFNBUF_CAUSE_FLR, true },
	};
	uint64_t generation = 1;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(writes); i++) {
		fixture_expect_event();
		expect_write(writes[i].at, writes[i].data, writes[i].length,
			     (int64_t)writes[i].length);
		fixture_expect_memory(writes[i].memory);
		assert_int_equal(pfnbuf_device_config_write(f->device, writes[i].at, writes[i].data,
							    writes[i].length),
				 0);
		mock_done();
		generation++;
		assert_int_equal(pfnbuf_device_get_generation(f->device), generation);
		next_event(f, PFNBUF_EVENT_REVOKED, writes[i].cause, generation);
		if (!writes[i].memory) {
			/* Off already: nothing more to revoke. */
			expect_write(PCI_COMMAND, off, 2, 2);
			fixture_expect_memory(false);
			assert_int_equal(pfnbuf_device_config_write(f->device, PCI_COMMAND, off, 2),
					 0);
			assert_int_equal(pfnbuf_device_get_generation(f->device), generation);
			expect_write(PCI_COMMAND, on, 2, 2);
			fixture_expect_memory(true);
			fixture_expect_event();
			assert_int_equal(pfnbuf_device_config_write(f->device, PCI_COMMAND, on, 2),
					 0);
			mock_done();
		}
		next_event(f, PFNBUF_EVENT_LIVE, PFNBUF_CAUSE_NONE, generation);
	}
	/* These do not. */
	expect_write(PCI_COMMAND, on, 2, 2);
	assert_int_equal(pfnbuf_device_config_write(f->device, PCI_COMMAND, on, 2), 0);
	expect_write(PCI_COMMAND + 1, off, 1, 1);
	assert_int_equal(pfnbuf_device_config_write(f->device, PCI_COMMAND + 1, off, 1), 0);
	expect_write(PCI_BASE_ADDRESS_0, many, 8, 8);
	assert_int_equal(pfnbuf_device_config_write(f->device, PCI_BASE_ADDRESS_0, many, 8), 0);
	assert_int_equal(pfnbuf_device_get_generation(f->device), generation);
	mock_done();
}

/* The kernel may have revoked before it failed. */
static void failed_write_revokes(void **state)
{
	struct fixture *f = *state;
	static const uint8_t off[2] = { 0, 0 };
	const struct pfnbuf_range range = { PCI_COMMAND, 2 };

	fixture_expect_event();
	expect_write(PCI_COMMAND, off, 2, -EIO);
	fixture_expect_memory(true);
	assert_fails("pfnbuf_device_config_write",
		     pfnbuf_device_config_write(f->device, PCI_COMMAND, off, 2), EIO,
		     "pwrite of configuration space", DEVICE_NAME, &range);
	assert_int_equal(pfnbuf_device_get_generation(f->device), 2);
	mock_done();
}

static void expect_command(const uint8_t *command, int64_t result)
{
	mock_expect_one(.kind = MOCK_PREAD, .fd = DEVICE_FD, .value = CONFIG_AT(PCI_COMMAND),
			.length = 2, .out = command, .result = result);
}

static void command_bits(void **state)
{
	struct fixture *f = *state;
	static const uint8_t both[2] = { 7, 4 }, no_decode[2] = { 5, 4 }, no_master[2] = { 3, 4 };
	const struct pfnbuf_range range = { PCI_COMMAND, 2 };
	const int codes[] = { EIO, EFAULT };

	expect_command(both, 2);
	expect_write(PCI_COMMAND, no_master, 2, 2);
	assert_int_equal(pfnbuf_device_set_bus_master(f->device, false), 0);
	assert_int_equal(pfnbuf_device_get_generation(f->device), 1);
	expect_command(both, 2);
	fixture_expect_event();
	expect_write(PCI_COMMAND, no_decode, 2, 2);
	fixture_expect_memory(false);
	assert_int_equal(pfnbuf_device_set_memory_decode(f->device, false), 0);
	assert_int_equal(pfnbuf_device_get_generation(f->device), 2);
	expect_command(no_decode, 2);
	expect_write(PCI_COMMAND, both, 2, 2);
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_set_memory_decode(f->device, true), 0);
	mock_done();
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		expect_command(NULL, -codes[i]);
		assert_fails("pfnbuf_device_set_memory_decode",
			     pfnbuf_device_set_memory_decode(f->device, false), codes[i],
			     "pread of configuration space", DEVICE_NAME, &range);
		expect_command(NULL, -codes[i]);
		assert_fails("pfnbuf_device_set_bus_master",
			     pfnbuf_device_set_bus_master(f->device, false), codes[i],
			     "pread of configuration space", DEVICE_NAME, &range);
	}
	mock_done();
}

static void reset(void **state)
{
	struct fixture *f = *state;
	const int codes[] = { EAGAIN, ENOTTY };
	uint64_t generation = 1;

	fixture_expect_event();
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_RESET);
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_reset(f->device), 0);
	mock_done();
	next_event(f, PFNBUF_EVENT_REVOKED, PFNBUF_CAUSE_RESET, ++generation);
	next_event(f, PFNBUF_EVENT_LIVE, PFNBUF_CAUSE_NONE, generation);
	/* What failed may have begun. */
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		fixture_expect_event();
		mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_RESET,
				.result = -codes[i]);
		fixture_expect_memory(true);
		assert_fails("pfnbuf_device_reset", pfnbuf_device_reset(f->device), codes[i],
			     "VFIO_DEVICE_RESET", DEVICE_NAME, NULL);
		next_event(f, PFNBUF_EVENT_REVOKED, PFNBUF_CAUSE_RESET, ++generation);
		next_event(f, PFNBUF_EVENT_LIVE, PFNBUF_CAUSE_NONE, generation);
		mock_done();
	}
}

/* Not the kernel's to say: the device has told that it cannot. */
static void reset_of_what_has_none(void **state)
{
	struct fixture *f = *state;
	static const struct vfio_device_bind_iommufd in = { .argsz = sizeof(in),
							    .iommufd = IOMMUFD };
	static const struct vfio_device_bind_iommufd out = { .argsz = sizeof(out),
							     .iommufd = IOMMUFD,
							     .out_devid = 1 };
	static const struct vfio_device_info no_reset = { .argsz = sizeof(no_reset),
							  .flags = VFIO_DEVICE_FLAGS_PCI };
	struct mock_call learn[32];
	size_t n = fixture_learn_calls(learn);

	learn[0].out = &no_reset;
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_BIND_IOMMUFD,
			MOCK_STRUCT(in), MOCK_ANSWER(out));
	mock_expect(learn, n);
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_bind(f->device, NULL), 0);
	assert_fails("pfnbuf_device_reset", pfnbuf_device_reset(f->device), EINVAL,
		     "VFIO_DEVICE_RESET", DEVICE_NAME, NULL);
	assert_int_equal(pfnbuf_device_get_generation(f->device), 1);
	mock_done();
}

struct reset_info {
	struct vfio_pci_hot_reset_info info;
	struct vfio_pci_dependent_device devices[3];
};

/* The call takes room for as many devices as a slot can have; only its head is looked at here. */
static void expect_reset_set(const struct reset_info *out, int result)
{
	static const struct vfio_pci_hot_reset_info in = { .argsz = 12 + 256 * 8 };

	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD,
			.request = VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, MOCK_STRUCT(in), .out = out,
			.out_size = out ? sizeof(*out) : 0, .result = result);
}

static const struct reset_info set_of_three = {
	.info = { .argsz = sizeof(set_of_three),
		  .flags = VFIO_PCI_HOT_RESET_FLAG_DEV_ID | VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED,
		  .count = 3 },
	.devices = {
		{ .devid = 1, .segment = 0, .bus = 1, .devfn = 0 },
		{ .devid = 0, .segment = 0, .bus = 1, .devfn = 1 },
		{ .devid = UINT32_MAX, .segment = 0x1a, .bus = 0xff, .devfn = 0xff },
	},
};

static void hot_reset_set(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_hot_reset_device devices[4] = { [2] = { .devid = 77 } };
	const int codes[] = { ENODEV, ENOSPC };

	expect_reset_set(&set_of_three, 0);
	assert_int_equal(pfnbuf_device_hot_reset_set(f->device, devices, 2), 3);
	assert_string_equal(devices[0].bdf, BDF);
	assert_int_equal(devices[0].devid, 1);
	assert_string_equal(devices[1].bdf, "0000:01:00.1");
	assert_int_equal(devices[2].devid, 77);
	expect_reset_set(&set_of_three, 0);
	assert_int_equal(pfnbuf_device_hot_reset_set(f->device, devices, 4), 3);
	assert_string_equal(devices[2].bdf, "001a:ff:1f.7");
	assert_int_equal(devices[2].devid, UINT32_MAX);
	devices[0].devid = 88;
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		expect_reset_set(NULL, -codes[i]);
		assert_fails("pfnbuf_device_hot_reset_set",
			     pfnbuf_device_hot_reset_set(f->device, devices, 4), codes[i],
			     "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", DEVICE_NAME, NULL);
	}
	assert_int_equal(devices[0].devid, 88);
	/* Too large a set is found out before anything is revoked. */
	expect_reset_set(NULL, -ENOSPC);
	assert_fails("pfnbuf_device_hot_reset", pfnbuf_device_hot_reset(f->device), ENOSPC,
		     "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", DEVICE_NAME, NULL);
	assert_int_equal(pfnbuf_device_get_generation(f->device), 1);
	mock_done();
}

static void hot_reset(void **state)
{
	struct fixture *f = *state;
	static const struct vfio_pci_hot_reset in = { .argsz = sizeof(in) };
	const int codes[] = { 0, EINVAL, ENODEV, EBUSY };
	uint64_t generation = 1;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		int r;

		expect_reset_set(&set_of_three, 0);
		fixture_expect_event();
		mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD,
				.request = VFIO_DEVICE_PCI_HOT_RESET, MOCK_STRUCT(in),
				.result = -codes[i]);
		fixture_expect_memory(true);
		r = pfnbuf_device_hot_reset(f->device);
		if (codes[i])
			assert_fails("pfnbuf_device_hot_reset", r, codes[i],
				     "VFIO_DEVICE_PCI_HOT_RESET", DEVICE_NAME, NULL);
		else
			assert_int_equal(r, 0);
		mock_done();
		next_event(f, PFNBUF_EVENT_REVOKED, PFNBUF_CAUSE_HOT_RESET, ++generation);
		next_event(f, PFNBUF_EVENT_LIVE, PFNBUF_CAUSE_NONE, generation);
	}
	/* Without knowing whom it reaches it is not done. */
	expect_reset_set(NULL, -ENODEV);
	assert_fails("pfnbuf_device_hot_reset", pfnbuf_device_hot_reset(f->device), ENODEV,
		     "VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", DEVICE_NAME, NULL);
	assert_int_equal(pfnbuf_device_get_generation(f->device), generation);
	mock_done();
}

static const struct vfio_device_feature enter_in = {
	.argsz = sizeof(enter_in),
	.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
};
static const struct vfio_device_feature exit_in = {
	.argsz = sizeof(exit_in),
	.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
};
static const struct {
	struct vfio_device_feature feature;
	int32_t fd;
	uint32_t reserved;
} wakeup_in = {
	.feature = { .argsz = 16,
		     .flags = VFIO_DEVICE_FEATURE_SET |
			      VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP },
	.fd = 66,
};

static void low_power_and_back(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_device_info info;

	for (uint64_t generation = 2; generation < 4; generation++) {
		bool wakeup = generation == 3;

		fixture_expect_event();
		if (wakeup)
			mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD,
					.request = VFIO_DEVICE_FEATURE, MOCK_STRUCT(wakeup_in));
		else
			mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD,
					.request = VFIO_DEVICE_FEATURE, MOCK_STRUCT(enter_in));
		assert_int_equal(pfnbuf_device_low_power_enter(f->device, wakeup ? 66 : -1), 0);
		/* Asking for information does not wake the device. */
		assert_int_equal(pfnbuf_device_get_info(f->device, &info), 0);
		assert_true(info.low_power);
		assert_false(info.memory_enabled);
		mock_done();
		next_event(f, PFNBUF_EVENT_REVOKED, PFNBUF_CAUSE_POWER, generation);
		mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_FEATURE,
				MOCK_STRUCT(exit_in));
		fixture_expect_memory(true);
		fixture_expect_event();
		assert_int_equal(pfnbuf_device_low_power_exit(f->device), 0);
		next_event(f, PFNBUF_EVENT_LIVE, PFNBUF_CAUSE_NONE, generation);
		mock_done();
	}
}

static void low_power_errnos(void **state)
{
	struct fixture *f = *state;
	const int codes[] = { EINVAL, ENOTTY, EBADF };
	uint64_t generation = 1;

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(codes); i++) {
		fixture_expect_event();
		mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_FEATURE,
				MOCK_STRUCT(wakeup_in), .result = -codes[i]);
		fixture_expect_memory(true);
		assert_fails("pfnbuf_device_low_power_enter",
			     pfnbuf_device_low_power_enter(f->device, 66), codes[i],
			     "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY", DEVICE_NAME, NULL);
		next_event(f, PFNBUF_EVENT_REVOKED, PFNBUF_CAUSE_POWER, ++generation);
		next_event(f, PFNBUF_EVENT_LIVE, PFNBUF_CAUSE_NONE, generation);
		mock_done();
	}
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_FEATURE,
			MOCK_STRUCT(exit_in), .result = -ENOTTY);
	assert_fails("pfnbuf_device_low_power_exit", pfnbuf_device_low_power_exit(f->device),
		     ENOTTY, "VFIO_DEVICE_FEATURE_LOW_POWER_EXIT", DEVICE_NAME, NULL);
	mock_done();
}

static void brackets(void **state)
{
	struct fixture *f = *state;
	static const char begin[] = "pfnbuf_device_revoke_begin",
			  end[] = "pfnbuf_device_revoke_end";

	assert_fails(end, pfnbuf_device_revoke_end(f->device), EINVAL, end, DEVICE_NAME, NULL);
	fixture_expect_event();
	assert_int_equal(pfnbuf_device_revoke_begin(f->device, PFNBUF_CAUSE_FLR), 0);
	next_event(f, PFNBUF_EVENT_REVOKED, PFNBUF_CAUSE_FLR, 2);
	assert_fails(begin, pfnbuf_device_revoke_begin(f->device, PFNBUF_CAUSE_FLR), EALREADY,
		     begin, DEVICE_NAME, NULL);
	/* Between the two nothing makes the buffers live. */
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_RESET);
	assert_int_equal(pfnbuf_device_reset(f->device), 0);
	assert_fails("pfnbuf_device_restore", pfnbuf_device_restore(f->device), ENODEV,
		     "pfnbuf_device_restore", DEVICE_NAME, NULL);
	fixture_expect_memory(true);
	fixture_expect_event();
	assert_int_equal(pfnbuf_device_revoke_end(f->device), 0);
	next_event(f, PFNBUF_EVENT_LIVE, PFNBUF_CAUSE_NONE, 2);
	assert_int_equal(pfnbuf_device_restore(f->device), 0);
	mock_done();
}

static int cannot_unbind(struct pfnbuf_bind_hook *hook, enum pfnbuf_cause cause)
{
	(void)hook;
	(void)cause;
	return pfnbuf_refused(-EIO, "unbind", DEVICE_NAME, NULL, "", "it does not let go");
}

static int decode_off(struct pfnbuf_device *d)
{
	return pfnbuf_device_set_memory_decode(d, false);
}

static int clear_command(struct pfnbuf_device *d)
{
	static const uint8_t off[2] = { 0, 0 };

	return pfnbuf_device_config_write(d, PCI_COMMAND, off, 2);
}

static int hot_reset_of_one(struct pfnbuf_device *d)
{
	expect_reset_set(&set_of_three, 0);
	return pfnbuf_device_hot_reset(d);
}

/* A device that is a guest's and stays it is not revoked. */
static void stays_bound(void **state)
{
	static const char config[] = "pwrite of configuration space";
	static const struct {
		const char *function;
		int (*run)(struct pfnbuf_device *device);
		const char *call;
	} calls[] = {
		{ "pfnbuf_device_config_write", clear_command, config },
		{ "pfnbuf_device_set_memory_decode", decode_off, config },
		{ "pfnbuf_device_reset", pfnbuf_device_reset, "VFIO_DEVICE_RESET" },
		{ "pfnbuf_device_hot_reset", hot_reset_of_one, "VFIO_DEVICE_PCI_HOT_RESET" },
		{ "pfnbuf_device_low_power_enter", low_power,
		  "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY" },
		{ "pfnbuf_device_revoke_begin", revoke_begin, "pfnbuf_device_revoke_begin" },
	};
	struct pfnbuf_bind_hook hook = { .unbind = cannot_unbind };
	struct fixture *f = *state;

	assert_int_equal(pfnbuf_device_set_bind(f->device, &hook), 0);
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(calls); i++) {
		assert_fails(calls[i].function, calls[i].run(f->device), EBUSY, calls[i].call,
			     DEVICE_NAME, NULL);
		assert_non_null(strstr(pfnbuf_last_error(), "it does not let go"));
		assert_int_equal(pfnbuf_device_get_generation(f->device), 1);
		mock_done();
	}
	pfnbuf_device_clear_bind(f->device, &hook);
}

/* ---------------------------------------------------------------- notices ------------------- */

static void notices(void **state)
{
	struct fixture *f = *state;
	int user;
	const struct {
		int fd;
		enum pfnbuf_event_type type;
	} sources[] = {
		{ REMOVAL_FD, PFNBUF_EVENT_REMOVAL_REQUEST },
		{ ERROR_FD, PFNBUF_EVENT_DEVICE_ERROR },
	};

	pfnbuf_device_set_user(f->device, &user);
	for (size_t i = 0; i < MOCK_ARRAY_SIZE(sources); i++) {
		struct pfnbuf_event event;

		mock_expect_one(.kind = MOCK_EPOLL_WAIT, .fd = EPOLL_FD, .target = sources[i].fd,
				.result = 1);
		fixture_expect_event();
		assert_int_equal(pfnbuf_ctx_dispatch(f->ctx), 0);
		fixture_expect_silence();
		assert_int_equal(pfnbuf_ctx_pop_event(f->ctx, &event), 1);
		assert_int_equal(event.seq, i + 1);
		assert_int_equal(event.type, sources[i].type);
		assert_ptr_equal(event.device, f->device);
		assert_ptr_equal(event.user, &user);
		assert_int_equal(event.generation, 1);
		mock_done();
	}
}

static void event_of_a_closed_device(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_event event;
	int user;

	pfnbuf_device_set_user(f->device, &user);
	fixture_expect_event();
	assert_int_equal(pfnbuf_device_revoke_begin(f->device, PFNBUF_CAUSE_FLR), 0);
	mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD, .mode = EPOLL_CTL_DEL,
			.target = REMOVAL_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = REMOVAL_FD);
	mock_expect_one(.kind = MOCK_EPOLL_CTL, .fd = EPOLL_FD, .mode = EPOLL_CTL_DEL,
			.target = ERROR_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = ERROR_FD);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = DEVICE_FD);
	f->device = pfnbuf_device_close(f->device);
	mock_done();
	assert_int_equal(pfnbuf_ctx_pop_event(f->ctx, &event), 1);
	assert_int_equal(event.type, PFNBUF_EVENT_REVOKED);
	assert_null(event.device);
	assert_ptr_equal(event.user, &user);
	next_event(f, PFNBUF_EVENT_DEAD, PFNBUF_CAUSE_CLOSE, 3);
}

/* ---------------------------------------------------------------- exporting ----------------- */

struct export_arg {
	struct vfio_device_feature feature;
	uint32_t region_index, open_flags, flags, nr_ranges;
	struct vfio_region_dma_range ranges[2];
};

static const struct export_arg export_in = {
	.feature = { .argsz = sizeof(export_in),
		     .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF },
	.region_index = 2,
	.open_flags = O_RDWR | O_CLOEXEC,
	.nr_ranges = 2,
	.ranges = { { 0x4000, 0x2000 }, { 0x1000, 0x1000 } },
};

static const struct pfnbuf_range slices[] = { { 0x4000, 0x2000 }, { 0x1000, 0x1000 } };

static int run_export(void *object, uint64_t *out)
{
	return pfnbuf_device_export(object, 2, slices, 2, (void *)out);
}

static const struct mock_wrapper export_call = {
	.function = "pfnbuf_device_export",
	.call = "VFIO_DEVICE_FEATURE_DMA_BUF",
	.object = DEVICE_NAME,
	.has_range = true,
	.range = { 0x4000, 0x2000 },
	.run = run_export,
	.made = DEVICE_IOCTL(VFIO_DEVICE_FEATURE, MOCK_STRUCT(export_in)),
	.codes = { EINVAL, ENODEV, EOPNOTSUPP, ENOTTY, ENOMEM, EMFILE, ENFILE },
};

static void export_two_slices(void **state)
{
	struct fixture *f = *state;
	struct mock_call made = export_call.made;
	const struct stat st = { .st_size = 0x3000, .st_ino = 4321, .st_dev = 9 };
	const struct pfnbuf_range range = { 0, 0x3000 };
	struct pfnbuf_range got[3] = { { 0 } };
	struct pfnbuf_ioas *ioas = fixture_ioas(f->ctx, 3);
	const struct iommu_ioas_map_file map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_READABLE,
		.ioas_id = 3,
		.fd = BUF_FD,
		.length = 0x3000,
	};
	struct pfnbuf_buf *buf = NULL;
	unsigned bar = 9;
	uint64_t iova = 0;

	made.result = BUF_FD;
	mock_expect(&made, 1);
	mock_expect_one(.kind = MOCK_FSTAT, .fd = BUF_FD, .out = &st);
	assert_int_equal(pfnbuf_device_export(f->device, 2, slices, 2, &buf), 0);
	mock_done();
	assert_int_equal(pfnbuf_buf_get_kind(buf), PFNBUF_DMA_BUF);
	assert_int_equal(pfnbuf_buf_get_length(buf), 0x3000);
	assert_int_equal(pfnbuf_buf_get_state(buf), PFNBUF_LIVE);
	assert_int_equal(pfnbuf_buf_get_generation(buf), 1);
	assert_ptr_equal(pfnbuf_buf_get_device(buf), f->device);
	assert_int_equal(pfnbuf_buf_get_slices(buf, &bar, got, 1), 2);
	assert_int_equal(bar, 2);
	assert_int_equal(got[0].offset, 0x4000);
	assert_int_equal(got[1].length, 0);
	assert_int_equal(pfnbuf_buf_get_slices(buf, &bar, got, 3), 2);
	assert_int_equal(got[1].offset, 0x1000);
	assert_int_equal(got[2].length, 0);

	/* The library knows why this kernel does not take it. */
	mock_expect_one(.kind = MOCK_IOCTL, .fd = IOMMUFD, .request = IOMMU_IOAS_MAP_FILE,
			MOCK_STRUCT(map), .result = -EOPNOTSUPP);
	assert_fails("pfnbuf_ioas_map_buf",
		     pfnbuf_ioas_map_buf(ioas, buf, 0, 0x3000, PFNBUF_MAP_READ, &iova), EOPNOTSUPP,
		     "IOMMU_IOAS_MAP_FILE", "dma-buf 4321", &range);
	assert_non_null(strstr(pfnbuf_last_error(), "2 slices"));
	fixture_free_ioas(ioas, false);
	fixture_unref(buf);
}

static void export_errnos(void **state)
{
	struct fixture *f = *state;
	struct mock_call made = export_call.made;
	struct pfnbuf_buf *buf = (void *)1;

	mock_try_errnos(&export_call, f->device);
	/* The fd is not lost where what follows fails. */
	made.result = BUF_FD;
	mock_expect(&made, 1);
	mock_expect_one(.kind = MOCK_FSTAT, .fd = BUF_FD, .result = -ENOMEM);
	mock_expect_one(.kind = MOCK_CLOSE, .fd = BUF_FD);
	assert_fails("pfnbuf_device_export", pfnbuf_device_export(f->device, 2, slices, 2, &buf),
		     ENOMEM, "fstat", "dma-buf", NULL);
	assert_ptr_equal(buf, (void *)1);
	mock_done();
}

static void export_refused(void **state)
{
	struct fixture *f = *state;
	const struct pfnbuf_range wrong[] = {
		{ 0x800, 0x1000 },
		{ 0, 0x800 },
		{ 0, 0 },
		{ BAR2_SIZE, 0x1000 },
		{ 0, BAR2_SIZE + 0x1000 },
		{ -UINT64_C(0x1000), 0x2000 },
	};
	const struct pfnbuf_range fits = { 0, 0x1000 };
	const struct pfnbuf_range second_wrong[] = { fits, wrong[0] };
	struct pfnbuf_buf *buf = (void *)1;
	static const char call[] = "VFIO_DEVICE_FEATURE_DMA_BUF";

	for (size_t i = 0; i < MOCK_ARRAY_SIZE(wrong); i++)
		assert_fails("pfnbuf_device_export",
			     pfnbuf_device_export(f->device, 2, &wrong[i], 1, &buf), EINVAL, call,
			     DEVICE_NAME, &wrong[i]);
	assert_fails("pfnbuf_device_export",
		     pfnbuf_device_export(f->device, 2, second_wrong, 2, &buf), EINVAL, call,
		     DEVICE_NAME, &wrong[0]);
	assert_fails("pfnbuf_device_export", pfnbuf_device_export(f->device, 2, NULL, 0, &buf),
		     EINVAL, call, DEVICE_NAME, NULL);
	assert_fails("pfnbuf_device_export", pfnbuf_device_export(f->device, 6, &fits, 1, &buf),
		     EINVAL, call, DEVICE_NAME, NULL);
	assert_fails("pfnbuf_device_export", pfnbuf_device_export(f->device, 4, &fits, 1, &buf),
		     EINVAL, call, DEVICE_NAME, NULL);
	assert_fails("pfnbuf_device_export", pfnbuf_device_export(f->device, 1, &fits, 1, &buf),
		     ENODEV, call, DEVICE_NAME, NULL);
	assert_ptr_equal(buf, (void *)1);
	mock_done();
}

/* State and generation of a buffer are its device's, counted from its birth. */
static void buffer_follows_its_device(void **state)
{
	struct fixture *f = *state;
	struct pfnbuf_buf *first, *second;

	first = fixture_export(f->device, BUF_FD, 0x1000);
	fixture_expect_event();
	mock_expect_one(.kind = MOCK_IOCTL, .fd = DEVICE_FD, .request = VFIO_DEVICE_RESET);
	fixture_expect_memory(true);
	assert_int_equal(pfnbuf_device_reset(f->device), 0);
	second = fixture_export(f->device, BUF_FD + 1, 0x1000);
	assert_int_equal(pfnbuf_buf_get_generation(first), 2);
	assert_int_equal(pfnbuf_buf_get_generation(second), 1);
	assert_int_equal(pfnbuf_buf_get_state(first), PFNBUF_LIVE);
	assert_int_equal(pfnbuf_device_revoke_begin(f->device, PFNBUF_CAUSE_FOREIGN), 0);
	assert_int_equal(pfnbuf_buf_get_state(second), PFNBUF_SUSPENDED);
	assert_int_equal(pfnbuf_buf_get_generation(second), 2);

	fixture_pop_all(f->ctx);
	fixture_expect_close(true, false);
	f->device = pfnbuf_device_close(f->device);
	fixture_pop_all(f->ctx);
	mock_done();
	assert_int_equal(pfnbuf_buf_get_state(first), PFNBUF_DEAD);
	assert_null(pfnbuf_buf_get_device(first));
	fixture_unref(first);
	fixture_unref(second);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_OPEN(name) cmocka_unit_test_setup_teardown(name, setup_open, teardown)
#define TEST_CTX(name)	cmocka_unit_test_setup_teardown(name, setup_ctx, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_CTX(open_not_an_address),
		TEST_CTX(open_errnos),
		TEST_CTX(open_of_a_full_folder),
		TEST_CTX(from_fd),
		TEST_CTX(from_fd_that_does_not_tell),
		TEST_CTX(from_fd_errnos),
		TEST_CTX(from_bound_fd_of_another_bus),
		TEST_CTX(from_bound_fd),
		TEST_CTX(from_bound_fd_fails_anywhere),
		TEST_OPEN(bind_errnos),
		TEST(bind_twice),
		cmocka_unit_test(bind_without_iommufd),
		TEST_OPEN(bind_goes_on),
		TEST_OPEN(bind_without_notices),
		TEST(what_bind_learns),
		TEST(attach_and_detach),
		TEST(close_detaches),
		TEST_OPEN(nothing_before_bind),
		TEST(bytes),
		TEST(bytes_refused),
		TEST(map_bar),
		TEST(writes_that_revoke),
		TEST(failed_write_revokes),
		TEST(command_bits),
		TEST(reset),
		TEST_OPEN(reset_of_what_has_none),
		TEST(hot_reset_set),
		TEST(hot_reset),
		TEST(low_power_and_back),
		TEST(low_power_errnos),
		TEST(brackets),
		TEST(stays_bound),
		TEST(notices),
		TEST(event_of_a_closed_device),
		TEST(export_two_slices),
		TEST(export_errnos),
		TEST(export_refused),
		TEST(buffer_follows_its_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
