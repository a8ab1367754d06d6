/* SPDX-License-Identifier: MIT */
/* The library's main flows on real Linux: real devices, a real IOMMU, real DMA and a real guest. */
#include "devices.h"
#include "edu.h"
#include "guest.h"
#include "raw.h"
#include "vmtest.h"

#include <errno.h>
#include <fcntl.h>
#include <pfnbuf.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE	   4096
#define SLICE	   0x10000 /* where in the BAR the exported slice starts … */
#define SLICE_SIZE 0x10000 /* … and its length */
#define RAM_IOVA   0x100000
#define SLICE_IOVA 0x200000
#define BURST	   256

/* edu as the engine, the first ivshmem as the memory, both in one IOAS; RAM to feed edu from. */
struct rig {
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_device *engine, *memory;
	struct pfnbuf_buf *buf, *ram;
	unsigned char *ram_bytes;
	struct edu edu;
	int fds; /* open ones before */
};

static struct pfnbuf_ctx *new_ctx(enum pfnbuf_engine_kind engine)
{
	const struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .engine = engine };
	struct pfnbuf_ctx *ctx;

	check_eq(pfnbuf_ctx_new(&ctx, &opts), 0);
	return ctx;
}

static void rig_open(struct rig *rig)
{
	const struct pfnbuf_range slice = { SLICE, SLICE_SIZE };
	void *addr;

	rig->fds = vmtest_count_fds();
	rig->ctx = new_ctx(PFNBUF_ENGINE_EPOLL);
	check_eq(pfnbuf_ioas_new(rig->ctx, &rig->ioas), 0);
	check_eq(open_engine(rig->ctx, rig->ioas, RAW_EDU, &rig->engine), 0);
	check_eq(open_bound(rig->ctx, RAW_IVSHMEM, 0, &rig->memory), 0);
	rig->edu = (struct edu){ pfnbuf_device_get_fd(rig->engine), raw_region_offset(0) };
	check_eq(edu_identify(&rig->edu), 0);
	check_eq(map_for_dma(rig->ctx, rig->ioas, PAGE, RAM_IOVA, &rig->ram, &addr), 0);
	rig->ram_bytes = addr;
	check_eq(pfnbuf_device_export(rig->memory, 2, &slice, 1, &rig->buf), 0);
}

static int import(struct rig *rig)
{
	uint64_t iova = SLICE_IOVA;

	return pfnbuf_ioas_map_buf(rig->ioas, rig->buf, 0, SLICE_SIZE,
				   PFNBUF_MAP_READ | PFNBUF_MAP_WRITE | PFNBUF_MAP_FIXED, &iova);
}

static void rig_close(struct rig *rig)
{
	check_eq(pfnbuf_ioas_unmap_all(rig->ioas, NULL), 0);
	check_eq(pfnbuf_buf_unmap(rig->ram, rig->ram_bytes, PAGE), 0);
	pfnbuf_buf_unref(rig->ram);
	pfnbuf_buf_unref(rig->buf);
	pfnbuf_device_close(rig->memory);
	pfnbuf_device_close(rig->engine);
	pfnbuf_ioas_free(rig->ioas);
	pfnbuf_ctx_free(rig->ctx);
	check_eq(vmtest_count_fds(), rig->fds);
}

static void fill(unsigned char *bytes, unsigned char seed)
{
	for (size_t i = 0; i < BURST; i++)
		bytes[i] = (unsigned char)(seed + i * 7);
}

/* Let edu write a pattern of its own at the start of the slice's IOVA. */
static void dma(struct rig *rig, unsigned char seed)
{
	fill(rig->ram_bytes, seed);
	check_eq(edu_copy(&rig->edu, RAM_IOVA, SLICE_IOVA, BURST), 0);
}

static void check_slice(struct rig *rig, unsigned char seed)
{
	unsigned char want[BURST], got[BURST];

	fill(want, seed);
	check_eq(pfnbuf_device_bar_read(rig->memory, 2, SLICE, got, BURST), 0);
	check_bytes(got, want, BURST);
}

static void check_event(struct pfnbuf_ctx *ctx, enum pfnbuf_event_type type,
			enum pfnbuf_cause cause)
{
	struct pfnbuf_event event;

	check_eq(pfnbuf_ctx_dispatch(ctx), 0);
	check_eq(pfnbuf_ctx_pop_event(ctx, &event), 1);
	check_eq(event.type, type);
	check_eq(event.cause, cause);
}

static void decode_off_and_on(void)
{
	struct pfnbuf_area area;
	struct rig rig;

	rig_open(&rig);
	check_eq(import(&rig), 0);
	dma(&rig, 1);
	check_slice(&rig, 1);
	check_eq(pfnbuf_buf_get_state(rig.buf), PFNBUF_LIVE);
	check_eq(pfnbuf_buf_get_generation(rig.buf), 1);
	check_eq(pfnbuf_buf_verify(rig.buf), 1);

	check_eq(pfnbuf_device_set_memory_decode(rig.memory, false), 0);
	check_eq(pfnbuf_buf_get_state(rig.buf), PFNBUF_SUSPENDED);
	check_eq(pfnbuf_buf_verify(rig.buf), 0);
	dma(&rig, 2);
	check_eq(pfnbuf_device_restore(rig.memory), -ENODEV);
	check_eq(import(&rig), -ENODEV);
	check(strstr(pfnbuf_last_error(), "revoked") != NULL);
	check_event(rig.ctx, PFNBUF_EVENT_REVOKED, PFNBUF_CAUSE_DECODE_OFF);

	check_eq(pfnbuf_device_set_memory_decode(rig.memory, true), 0);
	check_eq(pfnbuf_buf_get_state(rig.buf), PFNBUF_LIVE);
	check_eq(pfnbuf_buf_get_generation(rig.buf), 2);
	check_event(rig.ctx, PFNBUF_EVENT_LIVE, PFNBUF_CAUSE_NONE);
	check_slice(&rig, 1);
	/* Decode is on, the kernel would import again, and yet the area is dead. */
	check_eq(pfnbuf_buf_verify(rig.buf), 1);
	check_eq(pfnbuf_ioas_next_area(rig.ioas, SLICE_IOVA, &area), 1);
	check(area.dead);
	dma(&rig, 3);
	check_slice(&rig, 1);

	check_eq(pfnbuf_device_restore(rig.memory), 0);
	check_eq(pfnbuf_ioas_next_area(rig.ioas, SLICE_IOVA, &area), 1);
	check(!area.dead);
	check_eq(area.iova, SLICE_IOVA);
	dma(&rig, 4);
	check_slice(&rig, 4);
	rig_close(&rig);
}

/* The same through a raw write of PCI_COMMAND, which the library must recognise. */
static void config_write_is_recognised(void)
{
	uint8_t command[2];
	struct rig rig;

	rig_open(&rig);
	check_eq(import(&rig), 0);
	check_eq(pfnbuf_device_config_read(rig.memory, 4, command, 2), 0);
	command[0] &= (uint8_t)~2;
	check_eq(pfnbuf_device_config_write(rig.memory, 4, command, 2), 0);
	check_eq(pfnbuf_buf_get_state(rig.buf), PFNBUF_SUSPENDED);
	command[0] |= 2;
	check_eq(pfnbuf_device_config_write(rig.memory, 4, command, 2), 0);
	check_eq(pfnbuf_device_restore(rig.memory), 0);
	dma(&rig, 5);
	check_slice(&rig, 5);
	rig_close(&rig);
}

/* A VMM that writes PCI_COMMAND itself, in brackets. */
static void brackets(void)
{
	struct rig rig;

	rig_open(&rig);
	check_eq(import(&rig), 0);
	check_eq(pfnbuf_device_revoke_begin(rig.memory, PFNBUF_CAUSE_DECODE_OFF), 0);
	check_eq(raw_command(pfnbuf_device_get_fd(rig.memory), 0, 2), 0);
	check_eq(pfnbuf_device_revoke_end(rig.memory), 0);
	check_eq(pfnbuf_buf_get_state(rig.buf), PFNBUF_SUSPENDED);
	check_eq(pfnbuf_device_revoke_begin(rig.memory, PFNBUF_CAUSE_DECODE_OFF), 0);
	check_eq(raw_command(pfnbuf_device_get_fd(rig.memory), 2, 0), 0);
	check_eq(pfnbuf_device_revoke_end(rig.memory), 0);
	check_eq(pfnbuf_buf_get_state(rig.buf), PFNBUF_LIVE);
	check_eq(pfnbuf_device_restore(rig.memory), 0);
	dma(&rig, 6);
	check_slice(&rig, 6);
	rig_close(&rig);
}

/* An import of the nvme's BAR that edu can read: register 0x08 is its version, which never is 0. */
static uint32_t dma_read_version(struct rig *rig, uint64_t iova)
{
	uint32_t version;

	memset(rig->ram_bytes, 0, PAGE);
	check_eq(edu_copy(&rig->edu, iova + 8, RAM_IOVA, sizeof(version)), 0);
	memcpy(&version, rig->ram_bytes, sizeof(version));
	return version;
}

static void check_revocation_by(struct rig *rig, struct pfnbuf_device *nvme, struct pfnbuf_buf *buf,
				int (*revoke)(struct pfnbuf_device *), enum pfnbuf_cause cause)
{
	const uint64_t generation = pfnbuf_buf_get_generation(buf);
	struct pfnbuf_area area;
	int r;

	/* QEMU's slot cannot be reset alone; what the attempt revoked is revoked all the same. */
	r = revoke(nvme);
	check(r == 0 || (r == -ENOTTY && cause == PFNBUF_CAUSE_HOT_RESET));
	check_eq(pfnbuf_buf_get_generation(buf), generation + 1);
	check_eq(pfnbuf_buf_get_state(buf), PFNBUF_LIVE);
	check_event(rig->ctx, PFNBUF_EVENT_REVOKED, cause);
	check_event(rig->ctx, PFNBUF_EVENT_LIVE, PFNBUF_CAUSE_NONE);
	check_eq(pfnbuf_ioas_next_area(rig->ioas, 0x300000, &area), 1);
	check(area.dead);
	check_eq(dma_read_version(rig, 0x300000), 0);
	check_eq(pfnbuf_device_restore(nvme), 0);
	check(dma_read_version(rig, 0x300000) != 0);
}

/* Where two bytes of a capability are in configuration space, and what they are. */
static unsigned find_register(struct pfnbuf_device *device, uint8_t cap, unsigned offset,
			      uint8_t control[2])
{
	uint8_t config[256], at;

	check_eq(pfnbuf_device_config_read(device, 0, config, sizeof(config)), 0);
	for (at = config[0x34]; at && config[at] != cap; at = config[at + 1])
		;
	check(at != 0);
	memcpy(control, config + at + offset, 2);
	return at + offset;
}

static int flr_by_config(struct pfnbuf_device *device)
{
	uint8_t control[2];
	const unsigned devctl = find_register(device, 0x10, 8, control);

	control[1] |= 0x80;
	return pfnbuf_device_config_write(device, devctl, control, 2);
}

static int d3hot_and_back(struct pfnbuf_device *device)
{
	uint8_t control[2];
	const unsigned pmcsr = find_register(device, 0x01, 4, control);

	control[0] |= 3;
	check_eq(pfnbuf_device_config_write(device, pmcsr, control, 2), 0);
	control[0] &= (uint8_t)~3;
	return pfnbuf_device_config_write(device, pmcsr, control, 2);
}

static int low_power_and_back(struct pfnbuf_device *device)
{
	int r = pfnbuf_device_low_power_enter(device, -1);

	/* Entering a second time revokes and fails. */
	check_eq(r, 0);
	check_eq(pfnbuf_device_low_power_enter(device, -1), -EINVAL);
	return pfnbuf_device_low_power_exit(device);
}

static void nvme_survives(int (*revoke)(struct pfnbuf_device *), enum pfnbuf_cause cause)
{
	const struct pfnbuf_range slice = { 0, PAGE };
	struct pfnbuf_device_info info;
	struct pfnbuf_device *nvme;
	uint64_t iova = 0x300000;
	struct pfnbuf_buf *buf;
	struct rig rig;

	rig_open(&rig);
	check_eq(open_bound(rig.ctx, RAW_NVME, 0, &nvme), 0);
	check_eq(pfnbuf_device_get_info(nvme, &info), 0);
	check(info.can_reset && info.memory_enabled);
	check_eq(pfnbuf_device_export(nvme, 0, &slice, 1, &buf), 0);
	check_eq(pfnbuf_ioas_map_buf(rig.ioas, buf, 0, PAGE, PFNBUF_MAP_READ | PFNBUF_MAP_FIXED,
				     &iova),
		 0);
	check(dma_read_version(&rig, iova) != 0);
	check_revocation_by(&rig, nvme, buf, revoke, cause);
	pfnbuf_buf_unref(buf);
	pfnbuf_device_close(nvme);
	rig_close(&rig);
}

static void reset(void)
{
	nvme_survives(pfnbuf_device_reset, PFNBUF_CAUSE_RESET);
}

static void flr(void)
{
	nvme_survives(flr_by_config, PFNBUF_CAUSE_FLR);
}

static void d3hot(void)
{
	nvme_survives(d3hot_and_back, PFNBUF_CAUSE_POWER);
}

static void low_power(void)
{
	nvme_survives(low_power_and_back, PFNBUF_CAUSE_POWER);
}

static void hot_reset(void)
{
	nvme_survives(pfnbuf_device_hot_reset, PFNBUF_CAUSE_HOT_RESET);
}

/* Two functions of one slot: a hot reset of the one revokes the other's buffers, too. */
static void hot_reset_reaches_the_set(void)
{
	struct pfnbuf_ctx *ctx = new_ctx(PFNBUF_ENGINE_EPOLL);
	struct pfnbuf_hot_reset_device set[4];
	struct pfnbuf_device *first, *second;

	check_eq(open_bound(ctx, RAW_IVSHMEM, 2, &first), 0);
	check_eq(open_bound(ctx, RAW_IVSHMEM, 3, &second), 0);
	check_eq(pfnbuf_device_hot_reset_set(first, set, 4), 2);
	check_eq(pfnbuf_device_hot_reset(first), 0);
	check_eq(pfnbuf_device_get_generation(first), 2);
	check_eq(pfnbuf_device_get_generation(second), 2);
	/* A function that nobody has open does not stand in the way. */
	pfnbuf_device_close(second);
	check_eq(pfnbuf_device_hot_reset(first), 0);
	check_eq(pfnbuf_device_get_generation(first), 3);
	pfnbuf_device_close(first);
	pfnbuf_ctx_free(ctx);
}

static void edu_has_no_reset(void)
{
	struct pfnbuf_ctx *ctx = new_ctx(PFNBUF_ENGINE_EPOLL);
	struct pfnbuf_device *edu;

	check_eq(open_bound(ctx, RAW_EDU, 0, &edu), 0);
	check_eq(pfnbuf_device_reset(edu), -EINVAL);
	check_eq(pfnbuf_device_get_generation(edu), 1);
	pfnbuf_device_close(edu);
	pfnbuf_ctx_free(ctx);
}

static void close_kills_the_buffer(void)
{
	struct rig rig;

	rig_open(&rig);
	check_eq(import(&rig), 0);
	rig.memory = pfnbuf_device_close(rig.memory);
	check_eq(pfnbuf_buf_get_state(rig.buf), PFNBUF_DEAD);
	check_eq(pfnbuf_buf_verify(rig.buf), 0);
	check_eq(import(&rig), -ENODEV);
	check(strstr(pfnbuf_last_error(), "closed") != NULL);
	rig_close(&rig);
}

/* What Linux 7.3 cannot import, and what is not memory. */
static void imports_that_linux_refuses(void)
{
	const struct pfnbuf_range slices[2] = { { 0, PAGE }, { 2 * PAGE, PAGE } };
	const struct pfnbuf_range misaligned = { 1, PAGE }, beyond = { 0, 1ULL << 40 };
	struct pfnbuf_buf *two, *none = NULL;
	uint64_t iova = SLICE_IOVA;
	struct rig rig;

	rig_open(&rig);
	check_eq(pfnbuf_device_export(rig.memory, 2, slices, 2, &two), 0);
	check_eq(pfnbuf_buf_get_length(two), 2 * PAGE);
	check_eq(pfnbuf_ioas_map_buf(rig.ioas, two, 0, 2 * PAGE, PFNBUF_MAP_READ | PFNBUF_MAP_FIXED,
				     &iova),
		 -EOPNOTSUPP);
	check(strstr(pfnbuf_last_error(), "2 slices") != NULL);
	pfnbuf_buf_unref(two);
	check_eq(pfnbuf_device_export(rig.memory, 2, &misaligned, 1, &none), -EINVAL);
	check_eq(pfnbuf_device_export(rig.memory, 2, &beyond, 1, &none), -EINVAL);
	check_eq(pfnbuf_device_export(rig.memory, 5, slices, 1, &none), -ENODEV);
	check(!none);
	check_eq(import(&rig), 0);
	check_eq(import(&rig), -EEXIST);
	check_eq(pfnbuf_ioas_unmap(rig.ioas, SLICE_IOVA + PAGE, PAGE, NULL), -ENOENT);
	dma(&rig, 7);
	check_slice(&rig, 7);
	rig_close(&rig);
}

/* Whole IOAS of 5,000 areas, killed by one reset and restored. */
static void thousands_of_areas(void)
{
	enum { NR = 1000 };
	struct pfnbuf_area area = { 0 };
	struct rig rig;
	unsigned dead = 0;

	rig_open(&rig);
	for (uint64_t i = 0; i < NR; i++) {
		uint64_t iova = 0x1000000 + i * 2 * PAGE;

		check_eq(pfnbuf_ioas_map_buf(rig.ioas, rig.buf, (i % 16) * PAGE, PAGE,
					     PFNBUF_MAP_READ | PFNBUF_MAP_FIXED, &iova),
			 0);
	}
	check_eq(pfnbuf_device_set_memory_decode(rig.memory, false), 0);
	check_eq(pfnbuf_device_set_memory_decode(rig.memory, true), 0);
	for (uint64_t at = 0x1000000; pfnbuf_ioas_next_area(rig.ioas, at, &area);
	     at = area.iova + area.length)
		dead += area.dead;
	check_eq(dead, NR);
	check_eq(pfnbuf_device_restore(rig.memory), 0);
	for (uint64_t at = 0; pfnbuf_ioas_next_area(rig.ioas, at, &area);
	     at = area.iova + area.length)
		check(!area.dead);
	rig_close(&rig);
}

static void removal_request_over(enum pfnbuf_engine_kind engine)
{
	struct pfnbuf_ctx *ctx = new_ctx(engine);
	struct pfnbuf_device *device;
	struct pfnbuf_event event;
	char bdf[RAW_BDF_SIZE];
	int user, status;
	pid_t pid;

	check_ok(raw_find(RAW_IVSHMEM, 1, bdf));
	check_eq(open_bound(ctx, RAW_IVSHMEM, 1, &device), 0);
	pfnbuf_device_set_user(device, &user);
	check(!vmtest_readable(pfnbuf_ctx_get_fd(ctx), 0));
	pid = fork();
	if (pid == 0) {
		close_range(3, ~0U, 0);
		_exit(vmtest_write_file("/sys/bus/pci/drivers/vfio-pci/unbind", bdf) ? 1 : 0);
	}
	check(pid > 0);
	check(vmtest_readable(pfnbuf_ctx_get_fd(ctx), 5000));
	check_eq(pfnbuf_ctx_dispatch(ctx), 0);
	check_eq(pfnbuf_ctx_pop_event(ctx, &event), 1);
	check_eq(event.type, PFNBUF_EVENT_REMOVAL_REQUEST);
	check(event.device == device && event.user == &user);
	pfnbuf_device_close(device);
	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	check_eq(pfnbuf_device_open(ctx, bdf, &device), -ENODEV);
	check(strstr(pfnbuf_last_error(), "vfio-pci") != NULL);
	check_eq(vmtest_write_file("/sys/bus/pci/drivers_probe", bdf), 0);
	pfnbuf_ctx_free(ctx);
}

static void removal_request(void)
{
	removal_request_over(PFNBUF_ENGINE_EPOLL);
}

static void removal_request_uring(void)
{
	removal_request_over(PFNBUF_ENGINE_URING);
}

static void private_memory(void)
{
	const uint64_t gpa = 0x200000;
	struct pfnbuf_ctx *ctx = new_ctx(PFNBUF_ENGINE_EPOLL);
	struct pfnbuf_buf *shared, *private;
	struct pfnbuf_slot slot = { .gpa = gpa, .length = 2 * PAGE };
	int kvm = check_ok(vmtest_open("/dev/kvm", O_RDWR));
	struct pfnbuf_vm *vm;
	struct guest guest;
	uint32_t id, value, *bytes;

	check_eq(pfnbuf_vm_new(ctx, PFNBUF_VM_SW_PROTECTED, &vm), 0);
	check_eq(pfnbuf_buf_new_memfd(ctx, 2 * PAGE, 0, &shared), 0);
	check_eq(pfnbuf_buf_map(shared, 0, 2 * PAGE, &slot.addr), 0);
	check_eq(pfnbuf_buf_new_guest_memfd(vm, 2 * PAGE, 0, &private), 0);
	check(fcntl(pfnbuf_buf_get_fd(private), F_GETFD) & FD_CLOEXEC);
	slot.guest_memfd = private;
	check_eq(pfnbuf_vm_set_slot(vm, &slot, &id), 0);
	check_eq(pfnbuf_vm_set_slot(vm, &slot, NULL), -EEXIST);
	/* The slot holds the guest_memfd, which the kernel's slot does not. */
	private = pfnbuf_buf_unref(private);
	check_eq(pfnbuf_vm_set_attributes(vm, gpa, PAGE, PFNBUF_ATTRIBUTE_PRIVATE), 0);

	check_eq(guest_start(&guest, kvm, pfnbuf_vm_get_fd(vm), 1000, 0x1000), 0);
	check_eq(guest_write32(&guest, gpa, 0x11111111), 0);
	check_eq(guest_write32(&guest, gpa + PAGE, 0x22222222), 0);
	bytes = slot.addr;
	check_eq(bytes[0], 0);
	check_eq(bytes[PAGE / 4], 0x22222222);
	check_eq(pfnbuf_vm_set_attributes(vm, gpa, PAGE, 0), 0);
	check_eq(guest_read32(&guest, gpa, &value), 0);
	check_eq(value, 0);
	guest_stop(&guest);
	check_eq(pfnbuf_vm_delete_slot(vm, id), 0);
	check_eq(pfnbuf_buf_unmap(shared, slot.addr, 2 * PAGE), 0);
	pfnbuf_buf_unref(shared);
	pfnbuf_vm_free(vm);
	close(kvm);
	pfnbuf_ctx_free(ctx);
}

static void guest_writes_into_the_bar(void)
{
	const uint64_t gpa = 0x80000000;
	struct pfnbuf_slot slot = { .gpa = gpa, .length = SLICE_SIZE };
	struct pfnbuf_vm *vm;
	struct guest guest;
	uint32_t id, seen;
	struct rig rig;
	int kvm;

	rig_open(&rig);
	kvm = check_ok(vmtest_open("/dev/kvm", O_RDWR));
	check_eq(import(&rig), 0);
	check_eq(pfnbuf_vm_new(rig.ctx, PFNBUF_VM_DEFAULT, &vm), 0);
	check_eq(guest_start(&guest, kvm, pfnbuf_vm_get_fd(vm), 1000, 0x1000), 0);
	check_eq(pfnbuf_device_bar_map(rig.memory, 2, SLICE, SLICE_SIZE, &slot.addr), 0);
	check_eq(pfnbuf_vm_set_slot(vm, &slot, &id), 0);
	check_eq(guest_write32(&guest, gpa + 0x100, 0xcafe0001), 0);
	check_eq(pfnbuf_device_bar_read(rig.memory, 2, SLICE + 0x100, &seen, 4), 0);
	check_eq(seen, 0xcafe0001);
	check_eq(pfnbuf_device_bar_unmap(rig.memory, slot.addr), -EBUSY);

	/* The slot survives what kills the import. */
	check_eq(pfnbuf_device_set_memory_decode(rig.memory, false), 0);
	check_eq(guest_write32(&guest, gpa + 0x100, 0xcafe0002), -EFAULT);
	check_eq(pfnbuf_device_set_memory_decode(rig.memory, true), 0);
	check_eq(guest_write32(&guest, gpa + 0x104, 0xcafe0003), 0);
	check_eq(pfnbuf_device_bar_read(rig.memory, 2, SLICE + 0x104, &seen, 4), 0);
	check_eq(seen, 0xcafe0003);

	/* Moved in the guest, and gone with the device. */
	check_eq(pfnbuf_vm_move_slot(vm, id, gpa + 0x1000000), 0);
	check(guest_write32(&guest, gpa + 0x100, 1) > 0);
	check_eq(guest_write32(&guest, gpa + 0x1000000, 0xcafe0004), 0);
	rig.memory = pfnbuf_device_close(rig.memory);
	check(guest_write32(&guest, gpa + 0x1000000, 1) > 0);
	guest_stop(&guest);
	pfnbuf_vm_free(vm);
	close(kvm);
	rig_close(&rig);
}

/* KVM must know of the device before it is bound, and its reference must go before the device can. */
static void kvm_vfio_order(void)
{
	struct pfnbuf_ctx *ctx = new_ctx(PFNBUF_ENGINE_EPOLL);
	struct pfnbuf_device *device;
	char bdf[RAW_BDF_SIZE];
	struct pfnbuf_vm *vm;

	check_ok(raw_find(RAW_IVSHMEM, 0, bdf));
	check_eq(pfnbuf_vm_new(ctx, PFNBUF_VM_DEFAULT, &vm), 0);
	for (int i = 0; i < 3; i++) {
		check_eq(pfnbuf_device_open(ctx, bdf, &device), 0);
		check_eq(pfnbuf_vm_add_device(vm, device), 0);
		check_eq(pfnbuf_vm_add_device(vm, device), -EEXIST);
		check_eq(pfnbuf_device_bind(device, NULL), 0);
		check_eq(pfnbuf_device_bind(device, NULL), -EALREADY);
		/* Were KVM's reference left, the next bind would find the device open. */
		pfnbuf_device_close(device);
	}
	pfnbuf_vm_free(vm);
	pfnbuf_ctx_free(ctx);
}

static void devices_from_fds(void)
{
	struct pfnbuf_ctx *ctx = new_ctx(PFNBUF_ENGINE_EPOLL);
	struct pfnbuf_device_info info;
	struct pfnbuf_device *device;
	char bdf[RAW_BDF_SIZE];
	int fd;

	check_ok(raw_find(RAW_IVSHMEM, 0, bdf));
	fd = check_ok(raw_device_open(bdf));
	check_eq(pfnbuf_device_from_fd(ctx, fd, PFNBUF_FD_BORROWED, 0, &device), 0);
	check_eq(pfnbuf_device_bind(device, NULL), 0);
	check_eq(pfnbuf_device_get_info(device, &info), 0);
	check_eq(strcmp(info.bdf, bdf), 0);
	check(info.devid > 0 && info.vendor == 0x1af4);
	pfnbuf_device_close(device);

	/* Borrowed, it is open and bound still. */
	check_eq(pfnbuf_device_from_fd(ctx, fd, PFNBUF_FD_BOUND, info.devid, &device), 0);
	check_eq(pfnbuf_device_bind(device, NULL), -EALREADY);
	check_eq(pfnbuf_device_reset(device), info.can_reset ? 0 : -EINVAL);
	pfnbuf_device_close(device);
	check_eq(fcntl(fd, F_GETFD), -1);

	check_eq(pfnbuf_device_from_fd(ctx, 0, PFNBUF_FD_BORROWED, 0, &device), -ENOTTY);
	check_eq(pfnbuf_device_from_fd(ctx, 987, PFNBUF_FD_BORROWED, 0, &device), -EBADF);
	pfnbuf_ctx_free(ctx);
}

int main(void)
{
	static const struct vmtest tests[] = {
		{ "decode_off_and_on", decode_off_and_on },
		{ "config_write_is_recognised", config_write_is_recognised },
		{ "brackets", brackets },
		{ "reset", reset },
		{ "flr", flr },
		{ "d3hot", d3hot },
		{ "low_power", low_power },
		{ "hot_reset", hot_reset },
		{ "hot_reset_reaches_the_set", hot_reset_reaches_the_set },
		{ "edu_has_no_reset", edu_has_no_reset },
		{ "close_kills_the_buffer", close_kills_the_buffer },
		{ "imports_that_linux_refuses", imports_that_linux_refuses },
		{ "thousands_of_areas", thousands_of_areas },
		{ "removal_request", removal_request },
		{ "removal_request_uring", removal_request_uring },
		{ "private_memory", private_memory },
		{ "guest_writes_into_the_bar", guest_writes_into_the_bar },
		{ "kvm_vfio_order", kvm_vfio_order },
		{ "devices_from_fds", devices_from_fds },
	};

	return vmtest_main(tests, sizeof(tests) / sizeof(tests[0]));
}
