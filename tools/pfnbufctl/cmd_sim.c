/* SPDX-License-Identifier: MIT */
/* Verbs that only the simulated kernel has. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/proposed.h"
#include "libpfnbuf/uapi/vfio.h"
#include "run.h"

/* The simulator returns errnos and keeps no record of them. */
static int sim_failed(struct run *run, int err, const char *meaning)
{
	return err ? fail(run, err, "%s", meaning) : 0;
}

/* ---------------------------------------------------------------- DMA ------------------------------------------------ */

static const char *dma_meaning(int err)
{
	switch (err) {
	case -EFAULT:
		return "the access faults: nothing is mapped there for it, or the area is dead";
	case -EPERM:
		return "the device may not: it is not attached to an IOAS, or is no bus master "
		       "(`busmaster`)";
	case -ENODEV:
		return "no such device in the simulated machine";
	default:
		return "the device's DMA failed";
	}
}

static int dma(struct run *run, const struct statement *st, uint64_t iova, uint8_t *bytes,
	       size_t size, bool write)
{
	struct object *device = object_of(run, st, "DEVICE");
	struct pfnbuf_device_info info;
	size_t done = 0;
	int err;

	if (!device)
		return -ENOENT;
	err = pfnbuf_device_get_info(device->device, &info);
	if (err)
		return err;
	err = write ? pfnbuf_sim_dma_write(run->sim, info.bdf, iova, bytes, size, &done)
		    : pfnbuf_sim_dma_read(run->sim, info.bdf, iova, bytes, size, &done);
	if (err && done)
		return fail(run, err, "%zu of %zu bytes, then: %s", done, size, dma_meaning(err));
	return sim_failed(run, err, dma_meaning(err));
}

static const char *guest_meaning(int err)
{
	switch (err) {
	case -ENXIO:
		return "no slot there: the guest's access exits to the VMM (MMIO)";
	case -EFAULT:
		return "the access exits as a memory fault: the attribute says otherwise, nothing is "
		       "behind it, or the BAR's memory is off";
	case -EROFS:
		return "the slot is read-only";
	default:
		return "the guest's access failed";
	}
}

static int guest(struct run *run, const struct statement *st, uint64_t gpa, uint8_t *bytes,
		 size_t size, bool write)
{
	struct object *vm = object_of(run, st, "VM");
	bool private = number_or(st, "as", 0);
	int fd, err;

	if (!vm)
		return -ENOENT;
	fd = pfnbuf_vm_get_fd(vm->vm);
	err = write ? pfnbuf_sim_guest_write(run->sim, fd, gpa, private, bytes, size)
		    : pfnbuf_sim_guest_read(run->sim, fd, gpa, private, bytes, size);
	return sim_failed(run, err, guest_meaning(err));
}

static int peek(struct run *run, const struct statement *st, uint64_t offset, uint8_t *bytes,
		size_t size, bool write)
{
	const char *bdf = statement_get(st, "BDF")->text;
	unsigned bar = (unsigned)number_or(st, "BAR", 0);
	int err = write ? pfnbuf_sim_bar_poke(run->sim, bdf, bar, offset, bytes, size)
			: pfnbuf_sim_bar_peek(run->sim, bdf, bar, offset, bytes, size);

	return sim_failed(run, err, "no such device, or outside its BAR");
}

typedef int access_fn(struct run *run, const struct statement *st, uint64_t at, uint8_t *bytes,
		      size_t size, bool write);

static int do_read(struct run *run, const struct statement *st, access_fn *access)
{
	const struct value *range = statement_get(st, "RANGE");
	uint8_t *bytes = calloc(1, (size_t)range->length + 1);
	int err;

	if (!bytes)
		return fail(run, -ENOMEM, "no memory for %" PRIu64 " bytes", range->length);
	err = access(run, st, range->number, bytes, (size_t)range->length, false);
	if (!err)
		report_bytes(run, range->number, bytes, (size_t)range->length);
	free(bytes);
	return err;
}

static int do_write(struct run *run, const struct statement *st, const char *at, access_fn *access)
{
	size_t size;
	uint8_t *bytes = statement_bytes(run, st, &size);
	int err;

	if (!bytes)
		return -ENOMEM;
	err = access(run, st, number_or(st, at, 0), bytes, size, true);
	if (!err)
		say(run->output, "%zu byte%s landed", size, size == 1 ? "" : "s");
	free(bytes);
	return err;
}

static int do_expect(struct run *run, const struct statement *st, const char *at, access_fn *access)
{
	size_t size = (size_t)data_length(statement_data(st));
	uint8_t *bytes = calloc(1, size);
	int err;

	if (!bytes)
		return fail(run, -ENOMEM, "no memory for %zu bytes", size);
	err = access(run, st, number_or(st, at, 0), bytes, size, false);
	if (!err)
		err = compare_bytes(run, st, number_or(st, at, 0), bytes);
	free(bytes);
	return err;
}

int verb_dma_read(struct run *run, const struct statement *st)
{
	return do_read(run, st, dma);
}

int verb_dma_write(struct run *run, const struct statement *st)
{
	return do_write(run, st, "IOVA", dma);
}

int verb_dma_expect(struct run *run, const struct statement *st)
{
	return do_expect(run, st, "IOVA", dma);
}

int verb_guest_read(struct run *run, const struct statement *st)
{
	return do_read(run, st, guest);
}

int verb_guest_write(struct run *run, const struct statement *st)
{
	return do_write(run, st, "GPA", guest);
}

int verb_guest_expect(struct run *run, const struct statement *st)
{
	return do_expect(run, st, "GPA", guest);
}

int verb_sim_peek(struct run *run, const struct statement *st)
{
	return do_read(run, st, peek);
}

int verb_sim_poke(struct run *run, const struct statement *st)
{
	return do_write(run, st, "OFFSET", peek);
}

/* ---------------------------------------------------------------- the machine ---------------------------------------- */

int verb_sim_device(struct run *run, const struct statement *st)
{
	static const char *const bars[] = { "bar0", "bar1", "bar2", "bar3", "bar4", "bar5" };
	struct pfnbuf_sim_device spec = {
		.bdf = statement_get(st, "BDF")->text,
		.vendor = (uint16_t)number_or(st, "vendor", 0x1b36),
		.device = (uint16_t)number_or(st, "device", 0x0001),
		.flags = (unsigned)number_or(st, "traits", 0), /* in the order of the bits */
		.msix_vectors = (unsigned)number_or(st, "msix", 0),
		.msix_bar = (unsigned)number_or(st, "msix-bar", 0),
		.msix_table = (uint32_t)number_or(st, "msix-table", 0),
		.msix_pba_bar = (unsigned)number_or(st, "pba-bar", 0),
		.msix_pba = (uint32_t)number_or(st, "pba", 0),
		.hot_reset_set = (unsigned)number_or(st, "hot-reset-set", 0),
	};
	int err;

	for (size_t i = 0; i < 6; i++) {
		const struct value *bar = statement_get(st, bars[i]);

		if (bar)
			spec.bars[i] =
				(struct pfnbuf_sim_bar){ bar->number, (unsigned)bar->length };
	}
	err = pfnbuf_sim_add_device(run->sim, &spec);
	return sim_failed(run, err,
			  err == -EEXIST ? "a device has this address"
					 : "BAR sizes or capabilities do not fit together");
}

int verb_sim_set(struct run *run, const struct statement *st)
{
	const struct value *iommufd = statement_get(st, "iommufd");
	const struct value *kvm = statement_get(st, "kvm");
	const struct value *memlock = statement_get(st, "memlock");
	const struct value *tsm = statement_get(st, "tsm");

	if (iommufd)
		pfnbuf_sim_set_iommufd(run->sim, iommufd->number);
	if (kvm)
		pfnbuf_sim_set_kvm(run->sim, kvm->number);
	if (memlock)
		pfnbuf_sim_set_memlock(run->sim, memlock->number);
	if (tsm)
		pfnbuf_sim_set_tsm(run->sim, tsm->number);
	return 0;
}

/* ---------------------------------------------------------------- trouble -------------------------------------------- */

static unsigned long call_number(const char *name)
{
#define CALL(call)                                                                                 \
	{                                                                                          \
#call, call                                                                        \
	}
	/* The last ones are proposals: what the number means the kernel's profile says. */
	static const struct {
		const char *name;
		unsigned long number;
	} calls[] = {
		CALL(VFIO_DEVICE_BIND_IOMMUFD),
		CALL(VFIO_DEVICE_ATTACH_IOMMUFD_PT),
		CALL(VFIO_DEVICE_DETACH_IOMMUFD_PT),
		CALL(VFIO_DEVICE_GET_INFO),
		CALL(VFIO_DEVICE_GET_REGION_INFO),
		CALL(VFIO_DEVICE_GET_IRQ_INFO),
		CALL(VFIO_DEVICE_SET_IRQS),
		CALL(VFIO_DEVICE_RESET),
		CALL(VFIO_DEVICE_PCI_HOT_RESET),
		CALL(VFIO_DEVICE_FEATURE),
		CALL(IOMMU_DESTROY),
		CALL(IOMMU_IOAS_ALLOC),
		CALL(IOMMU_IOAS_ALLOW_IOVAS),
		CALL(IOMMU_IOAS_COPY),
		CALL(IOMMU_IOAS_IOVA_RANGES),
		CALL(IOMMU_IOAS_MAP),
		CALL(IOMMU_IOAS_MAP_FILE),
		CALL(IOMMU_IOAS_UNMAP),
		CALL(IOMMU_OPTION),
		CALL(KVM_CREATE_VM),
		CALL(KVM_CHECK_EXTENSION),
		CALL(KVM_SET_USER_MEMORY_REGION),
		CALL(KVM_SET_USER_MEMORY_REGION2),
		CALL(KVM_CREATE_GUEST_MEMFD),
		CALL(KVM_SET_MEMORY_ATTRIBUTES),
		CALL(KVM_GET_DIRTY_LOG),
		CALL(KVM_PRE_FAULT_MEMORY),
		CALL(IOMMU_HWPT_ALLOC),
		CALL(IOMMU_VIOMMU_ALLOC),
		CALL(IOMMU_VDEVICE_ALLOC),
		CALL(VFIO_DEVICE_TSM_BIND),
		CALL(VFIO_DEVICE_TSM_UNBIND),
		CALL(IOMMU_VDEVICE_TSM_OP),
		CALL(IOMMU_VDEVICE_TSM_REQ),
		CALL(KVM_SET_MEMORY_ATTRIBUTES2),
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (!strcmp(calls[i].name, name))
			return calls[i].number;
	return 0;
}

int verb_sim_fail(struct run *run, const struct statement *st)
{
	const struct value *call = statement_get(st, "call");
	uint64_t nth = number_or(st, "nth", 0);
	int error = (int)number_or(st, "errno", EIO);
	unsigned long request = call ? call_number(call->text) : 0;

	if (call && !request)
		return fail(run, -EINVAL, "this library makes no %s", call->text);
	if (call)
		pfnbuf_sim_fail_ioctl(run->sim, request, nth, error);
	else
		pfnbuf_sim_fail_nth(run->sim, nth, error);
	return 0;
}

int verb_sim_reset(struct run *run, const struct statement *st)
{
	int err = pfnbuf_sim_foreign_reset(run->sim, statement_get(st, "BDF")->text);

	return sim_failed(run, err, "no such device in the simulated machine");
}

int verb_sim_decode(struct run *run, const struct statement *st)
{
	int err = pfnbuf_sim_foreign_decode(run->sim, statement_get(st, "BDF")->text,
					    statement_get(st, "STATE")->number);

	return sim_failed(run, err, "no such device in the simulated machine");
}

int verb_sim_request_removal(struct run *run, const struct statement *st)
{
	int err = pfnbuf_sim_request_removal(run->sim, statement_get(st, "BDF")->text);

	return sim_failed(run, err, "no such device in the simulated machine");
}

int verb_sim_raise_error(struct run *run, const struct statement *st)
{
	int err = pfnbuf_sim_raise_error(run->sim, statement_get(st, "BDF")->text);

	return sim_failed(run, err, "no such device in the simulated machine");
}

/* ---------------------------------------------------------------- counts --------------------------------------------- */

static const struct {
	const char *name;
	size_t offset;
} counted[] = {
	{ "fds", offsetof(struct pfnbuf_sim_counts, fds) },
	{ "ioas", offsetof(struct pfnbuf_sim_counts, ioas) },
	{ "hwpts", offsetof(struct pfnbuf_sim_counts, hwpts) },
	{ "areas", offsetof(struct pfnbuf_sim_counts, areas) },
	{ "dead-areas", offsetof(struct pfnbuf_sim_counts, dead_areas) },
	{ "devices", offsetof(struct pfnbuf_sim_counts, devices) },
	{ "dma-bufs", offsetof(struct pfnbuf_sim_counts, dma_bufs) },
	{ "guest-memfds", offsetof(struct pfnbuf_sim_counts, guest_memfds) },
	{ "vms", offsetof(struct pfnbuf_sim_counts, vms) },
	{ "slots", offsetof(struct pfnbuf_sim_counts, slots) },
	{ "bar-mappings", offsetof(struct pfnbuf_sim_counts, bar_mappings) },
	{ "pinned", offsetof(struct pfnbuf_sim_counts, pinned) },
	{ "viommus", offsetof(struct pfnbuf_sim_counts, viommus) },
	{ "vdevices", offsetof(struct pfnbuf_sim_counts, vdevices) },
	{ "tdis", offsetof(struct pfnbuf_sim_counts, tdis) },
};

enum { COUNTED = sizeof(counted) / sizeof(*counted) };

_Static_assert(COUNTED == sizeof(struct pfnbuf_sim_counts) / sizeof(uint64_t), "all of them");

static uint64_t count_of(const struct pfnbuf_sim_counts *counts, size_t i)
{
	uint64_t n;

	memcpy(&n, (const char *)counts + counted[i].offset, sizeof(n));
	return n;
}

/* "fds 3, areas 1"; what is zero is left out. Returns whether everything is. */
bool sim_counts_words(struct pfnbuf_sim *sim, struct text *words, struct text *json)
{
	struct pfnbuf_sim_counts counts;
	bool zero = true;

	pfnbuf_sim_get_counts(sim, &counts);
	for (size_t i = 0; i < COUNTED; i++) {
		uint64_t n = count_of(&counts, i);

		if (json)
			json_number(json, counted[i].name, n);
		if (!n)
			continue;
		text_add(words, "%s%s %" PRIu64, zero ? "" : ", ", counted[i].name, n);
		zero = false;
	}
	return zero;
}

int verb_sim_counts(struct run *run, const struct statement *st)
{
	struct text words = { NULL, 0, 0, false };

	(void)st;
	say(run->output, "%s",
	    sim_counts_words(run->sim, &words, &run->output->fields) ? "nothing"
								     : text_get(&words));
	text_clear(&words);
	return 0;
}

int verb_sim_expect(struct run *run, const struct statement *st)
{
	struct text wrong = { NULL, 0, 0, false };
	struct pfnbuf_sim_counts counts;
	int err = 0;

	pfnbuf_sim_get_counts(run->sim, &counts);
	for (size_t i = 0; i < COUNTED; i++) {
		const struct value *value = statement_get(st, counted[i].name);
		uint64_t n = count_of(&counts, i);

		if (value && value->number != n)
			text_add(&wrong, "%s%s is %" PRIu64 ", not %s", wrong.length ? "; " : "",
				 counted[i].name, n, value->text);
	}
	if (wrong.length)
		err = fail(run, -EBADMSG, "%s", text_get(&wrong));
	else
		say(run->output, "%sas expected%s", style_on(run->output->colour, STYLE_GOOD),
		    style_off(run->output->colour));
	text_clear(&wrong);
	return err;
}

int verb_sim_dump(struct run *run, const struct statement *st)
{
	char *dump;
	int err = pfnbuf_sim_dump(run->sim, &dump);

	(void)st;
	if (err)
		return sim_failed(run, err, "out of memory");
	say_more(run->output, "%s", dump);
	json_string(&run->output->fields, "dump", dump);
	free(dump);
	return 0;
}
