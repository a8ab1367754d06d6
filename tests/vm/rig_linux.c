/* SPDX-License-Identifier: MIT */
/*
 * The rig of tests/model/rig.h over real Linux: two ivshmem functions of one slot are the card and the
 * other function, an nvme is the engine, and a real guest looks from its side.
 */
#include "devices.h"
#include "guest.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/pci.h"
#include "nvme.h"
#include "raw.h"
#include "tests/model/rig.h"
#include "vmtest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_BAR  2
#define ENGINE_IOVA UINT64_C(0x10000000)
#define GUEST_SLOT  1000
#define GUEST_CODE  0x1000

struct rig_machine {
	struct nvme nvme;
	struct pfnbuf_buf *engine_memory;
	void *engine_bytes, *engine_bar;
	struct guest guest;
	int kvm;
	int fds; /* open ones before */
};

/* As the simulated machine has them from the start. */
static void write_tags(struct pfnbuf_device *device, uint64_t what)
{
	for (uint64_t page = 0; page < RIG_BAR_PAGES; page++) {
		const uint64_t tag = rig_tag(what, page);

		REQUIRE(pfnbuf_device_bar_write(device, MEMORY_BAR, page * PAGE, &tag,
						sizeof(tag)) == 0);
	}
}

/* One that is open stays as it is: each of these calls would wake it. */
static void open_function(struct rig *rig, unsigned nth, uint64_t what,
			  struct pfnbuf_device **device)
{
	if (*device)
		return;
	REQUIRE(open_bound(rig->ctx, RAW_IVSHMEM, nth, device) == 0);
	REQUIRE(pfnbuf_device_set_memory_decode(*device, true) == 0);
	write_tags(*device, what);
}

void rig_open_devices(struct rig *rig)
{
	open_function(rig, 2, RIG_TAG_CARD, &rig->card);
	open_function(rig, 3, RIG_TAG_OTHER, &rig->other);
}

static void start_engine(struct rig *rig)
{
	struct rig_machine *m = rig->machine;

	REQUIRE(open_engine(rig->ctx, rig->ioas, RAW_NVME, &rig->engine) == 0);
	REQUIRE(map_for_dma(rig->ctx, rig->ioas, NVME_MEMORY_SIZE, ENGINE_IOVA, &m->engine_memory,
			    &m->engine_bytes) == 0);
	REQUIRE(pfnbuf_device_bar_map(rig->engine, 0, 0, 2 * PAGE, &m->engine_bar) == 0);
	REQUIRE(nvme_start(&m->nvme, m->engine_bar, m->engine_bytes, ENGINE_IOVA) == 0);
}

static void stop_engine(struct rig *rig)
{
	struct rig_machine *m = rig->machine;

	nvme_stop(&m->nvme);
	REQUIRE(pfnbuf_device_bar_unmap(rig->engine, m->engine_bar) == 0);
	REQUIRE(pfnbuf_ioas_unmap(rig->ioas, ENGINE_IOVA, NVME_MEMORY_SIZE, NULL) == 0);
	REQUIRE(pfnbuf_buf_unmap(m->engine_memory, m->engine_bytes, NVME_MEMORY_SIZE) == 0);
	pfnbuf_buf_unref(m->engine_memory);
	rig->engine = pfnbuf_device_close(rig->engine);
}

void rig_open(struct rig *rig)
{
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .max_events = 64 };
	struct rig_machine *m = calloc(1, sizeof(*m));

	REQUIRE(m);
	m->fds = vmtest_count_fds();
	rig->machine = m;
	rig->bar = MEMORY_BAR;
	opts.kernel = rig_door(rig, pfnbuf_kernel_running());
	REQUIRE(pfnbuf_ctx_new(&rig->ctx, &opts) == 0);
	REQUIRE(pfnbuf_ioas_new(rig->ctx, &rig->ioas) == 0);
	REQUIRE(pfnbuf_vm_new(rig->ctx, PFNBUF_VM_DEFAULT, &rig->vm) == 0);
	start_engine(rig);
	rig_open_devices(rig);
	m->kvm = vmtest_open("/dev/kvm", O_RDWR);
	REQUIRE(m->kvm >= 0);
	REQUIRE(guest_start(&m->guest, m->kvm, pfnbuf_vm_get_fd(rig->vm), GUEST_SLOT, GUEST_CODE) ==
		0);
}

void rig_close(struct rig *rig)
{
	struct rig_machine *m = rig->machine;

	rig_count(rig, NULL, 0);
	guest_stop(&m->guest);
	close(m->kvm);
	stop_engine(rig);
	rig->card = pfnbuf_device_close(rig->card);
	rig->other = pfnbuf_device_close(rig->other);
	rig->vm = pfnbuf_vm_free(rig->vm);
	rig->ioas = pfnbuf_ioas_free(rig->ioas);
	rig->ctx = pfnbuf_ctx_free(rig->ctx);
	REQUIRE(vmtest_count_fds() == m->fds);
	free(m);
	rig->machine = NULL;
}

/* The lowest 16 bits of a tag are always the same, and the engine cannot tell them. */
int64_t rig_dma(struct rig *rig, uint64_t iova)
{
	uint64_t value;

	REQUIRE(nvme_fetch(&rig->machine->nvme, iova, &value) == 0);
	return value ? (int64_t)(value | (rig_tag(0, 0) & 0xffff)) : -EFAULT;
}

static int read_as_guest(struct rig *rig, uint64_t gpa, uint32_t *value)
{
	int r = guest_read32(&rig->machine->guest, gpa, value);

	REQUIRE(r == 0 || r == -EFAULT || r == KVM_EXIT_MMIO);
	return r == KVM_EXIT_MMIO ? -ENXIO : r;
}

int64_t rig_guest(struct rig *rig, uint64_t gpa)
{
	uint32_t low, high;
	int r = read_as_guest(rig, gpa, &low);

	if (r)
		return r;
	r = read_as_guest(rig, gpa + 4, &high);
	return r ? r : (int64_t)((uint64_t)high << 32 | low);
}

/* What a reset does to the device's dma-bufs: revoke them, and let them be imported again. */
void rig_foreign_reset(struct rig *rig, bool other)
{
	const int fd = pfnbuf_device_get_fd(other ? rig->other : rig->card);
	uint16_t command;

	REQUIRE(raw_config_read16(fd, PCI_COMMAND, &command) == 0);
	if (!(command & PCI_COMMAND_MEMORY))
		return;
	REQUIRE(raw_command(fd, 0, PCI_COMMAND_MEMORY) == 0);
	REQUIRE(raw_command(fd, PCI_COMMAND_MEMORY, 0) == 0);
}

/* Closing the device is what comes of it; that the request is heard t10_library shows. */
void rig_request_removal(struct rig *rig, bool other)
{
	(void)rig;
	(void)other;
}

/* No memory of this machine is private. */
void rig_check_alias(struct rig *rig)
{
	(void)rig;
}

/* But for what the rig itself has placed. */
void rig_check_clean(struct rig *rig)
{
	struct pfnbuf_area area;
	struct pfnbuf_slot slot;
	uint32_t id;

	REQUIRE(pfnbuf_ioas_next_area(rig->ioas, 0, &area) == 1 && area.iova == ENGINE_IOVA);
	REQUIRE(pfnbuf_ioas_next_area(rig->ioas, ENGINE_IOVA + NVME_MEMORY_SIZE, &area) == 0);
	REQUIRE(pfnbuf_vm_next_slot(rig->vm, 0, &id, &slot) == 0);
}
