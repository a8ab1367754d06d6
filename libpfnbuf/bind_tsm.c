/* SPDX-License-Identifier: MIT */
/*
 * How a device is bound to a guest: by the kernel's calls that a profile names, or by the caller's
 * functions; and how its private pages come to the guest where that takes more than a slot.
 */
#include <inttypes.h>

#include "bind.h"
#include "uapi/iommufd.h"
#include "uapi/proposed.h"

/* ---------------------------------------------------------------- steps --------------------- */

size_t pfnbuf_bind_begin_step(struct pfnbuf_bind *b, enum pfnbuf_step_kind kind, const char *object,
			      const struct pfnbuf_range *range, const char *reason)
{
	const size_t i = pfnbuf_journal_add(&b->journal, kind, object, range, reason);

	pfnbuf_journal_begin(&b->journal, i);
	return i;
}

/*
 * An ioctl that binds or unbinds: these errnos come from checks that precede the device
 * (drivers/pci/tsm.c, drivers/iommu/iommufd); after any other one the device may have been told.
 */
static bool is_certain(int code)
{
	static const int before[] = { EINVAL, ENOTTY,	  EBUSY, ENXIO,	 ENOENT, EPERM,
				      EACCES, EOPNOTSUPP, EBADF, EEXIST, ENODEV, E2BIG };

	for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++)
		if (code == -before[i])
			return true;
	return false;
}

/* 0; a negative errno: nothing was done; PFNBUF_TSM_UNKNOWN. The last error speaks of it. */
static int judge(const struct pfnbuf_bind *b, int r, const char *call)
{
	if (r >= 0)
		return 0;
	pfnbuf_failed(r, call, name_of(b), NULL);
	return is_certain(r) ? r : PFNBUF_TSM_UNKNOWN;
}

/* The same of what the caller's own function returned. */
int pfnbuf_bind_judge_op(const struct pfnbuf_bind *b, int r, const char *call)
{
	if (r < 0)
		return pfnbuf_refused(r, call, name_of(b), NULL, "",
				      "the caller's function refused");
	if (r == 0)
		return 0;
	pfnbuf_refused(-EIO, call, name_of(b), NULL, "",
		       "the caller's function cannot tell whether it was done");
	return PFNBUF_TSM_UNKNOWN;
}

/* ---------------------------------------------------------------- objects ------------------- */

static int iommufd_ioctl(struct pfnbuf_bind *b, unsigned long request, void *arg)
{
	const int fd = pfnbuf_ctx_get_iommufd(b->ctx);

	return fd < 0 ? fd : k_ioctl(b->kernel, fd, request, arg);
}

/* The IOAS that the guest's view of the IOMMU rests on. */
static uint32_t find_ioas(const struct pfnbuf_bind *b)
{
	for (size_t i = 0; i < b->nr_windows; i++) {
		struct pfnbuf_window_part part;

		pfnbuf_window_get_part(b->windows[i], &part);
		if (part.ioas)
			return pfnbuf_ioas_get_id(part.ioas);
	}
	return pfnbuf_device_ioas_id(b->device);
}

static int make_hwpt(struct pfnbuf_bind *b)
{
	struct iommu_hwpt_alloc arg = {
		.size = sizeof(arg),
		.flags = IOMMU_HWPT_ALLOC_NEST_PARENT,
		.dev_id = pfnbuf_device_devid(b->device),
		.pt_id = find_ioas(b),
	};
	size_t step;
	int r;

	if (!arg.pt_id)
		return pfnbuf_refused(-EINVAL, "IOMMU_HWPT_ALLOC", name_of(b), NULL,
				      "attach the device, or give opts.viommu_id",
				      "the guest's IOMMU needs an IOAS to stand on");
	step = pfnbuf_bind_begin_step(b, PFNBUF_STEP_ALLOC, "nest parent", NULL,
				      "the guest's IOMMU stands on it");
	r = pfnbuf_journal_end(&b->journal, step, iommufd_ioctl(b, IOMMU_HWPT_ALLOC, &arg));
	if (r < 0)
		return pfnbuf_failed(r, "IOMMU_HWPT_ALLOC", name_of(b), NULL);
	b->hwpt = (struct object){ arg.out_hwpt_id, true };
	return 0;
}

static int make_viommu(struct pfnbuf_bind *b)
{
	struct iommu_viommu_alloc arg = {
		.size = sizeof(arg),
		.type = (uint32_t)b->profile->viommu_type,
		.dev_id = pfnbuf_device_devid(b->device),
	};
	size_t step;
	int r;

	if (b->given_viommu) {
		b->viommu = (struct object){ b->given_viommu, false };
		return 0;
	}
	r = make_hwpt(b);
	if (r < 0)
		return r;
	arg.hwpt_id = b->hwpt.id;
	step = pfnbuf_bind_begin_step(b, PFNBUF_STEP_ALLOC, "vIOMMU", NULL, "the guest's IOMMU");
	r = pfnbuf_journal_end(&b->journal, step, iommufd_ioctl(b, IOMMU_VIOMMU_ALLOC, &arg));
	if (r < 0)
		return pfnbuf_failed(r, "IOMMU_VIOMMU_ALLOC", name_of(b), NULL);
	b->viommu = (struct object){ arg.out_viommu_id, true };
	return 0;
}

/* Returns what the kernel does. */
static int alloc_vdevice(struct pfnbuf_bind *b)
{
	struct iommu_vdevice_alloc arg = {
		.size = sizeof(arg),
		.viommu_id = b->viommu.id,
		.dev_id = pfnbuf_device_devid(b->device),
		.virt_id = b->virt_id,
	};
	int r = iommufd_ioctl(b, IOMMU_VDEVICE_ALLOC, &arg);

	if (r >= 0)
		b->vdevice = (struct object){ arg.out_vdevice_id, true };
	return r;
}

static int make_vdevice(struct pfnbuf_bind *b)
{
	size_t step;
	int r;

	if (b->given_vdevice) {
		b->vdevice = (struct object){ b->given_vdevice, false };
		return 0;
	}
	r = make_viommu(b);
	if (r < 0 || binds_by_allocation(b))
		return r;
	step = pfnbuf_bind_begin_step(b, PFNBUF_STEP_ALLOC, "vDEVICE", NULL,
				      "the device as the guest sees it");
	r = pfnbuf_journal_end(&b->journal, step, alloc_vdevice(b));
	return r < 0 ? pfnbuf_failed(r, "IOMMU_VDEVICE_ALLOC", name_of(b), NULL) : 0;
}

int pfnbuf_bind_make_objects(struct pfnbuf_bind *b)
{
	const bool needed = binds_by_profile(b) || validates_by_profile(b);

	return needed ? make_vdevice(b) : 0;
}

static int destroy_id(struct pfnbuf_bind *b, uint32_t id)
{
	struct iommu_destroy arg = { .size = sizeof(arg), .id = id };

	return iommufd_ioctl(b, IOMMU_DESTROY, &arg);
}

static void destroy(struct pfnbuf_bind *b, struct object *object, const char *what)
{
	size_t step;
	int r = -EBUSY;

	if (object->ours && object->id) {
		step = pfnbuf_bind_begin_step(b, PFNBUF_STEP_DESTROY, what, NULL,
					      "the device is not bound");
		for (int i = 0; r < 0 && i < PFNBUF_UNDO_TRIES; i++)
			r = destroy_id(b, object->id);
		if (pfnbuf_journal_end(&b->journal, step, r) < 0)
			pfnbuf_ctx_log(b->ctx, PFNBUF_LOG_WARNING,
				       "%s: destroying its %s %" PRIu32
				       " failed with %s: it stays till the iommufd is closed",
				       name_of(b), what, object->id, pfnbuf_errno_name(r));
	}
	*object = (struct object){ .id = 0 };
}

void pfnbuf_bind_destroy_objects(struct pfnbuf_bind *b)
{
	destroy(b, &b->vdevice, "vDEVICE");
	destroy(b, &b->viommu, "vIOMMU");
	destroy(b, &b->hwpt, "nest parent");
}

/* ---------------------------------------------------------------- the TSM ------------------- */

static int bind_by_vfio(struct pfnbuf_bind *b)
{
	struct vfio_pci_tsm_bind arg = { .argsz = sizeof(arg), .vdevice_id = b->vdevice.id };

	return judge(b,
		     k_ioctl(b->kernel, pfnbuf_device_get_fd(b->device),
			     (unsigned long)b->profile->bind_request, &arg),
		     "VFIO_DEVICE_TSM_BIND");
}

static int unbind_by_vfio(struct pfnbuf_bind *b)
{
	struct vfio_pci_tsm_unbind arg = { .argsz = sizeof(arg) };

	return judge(b,
		     k_ioctl(b->kernel, pfnbuf_device_get_fd(b->device),
			     (unsigned long)b->profile->unbind_request, &arg),
		     "VFIO_DEVICE_TSM_UNBIND");
}

static int vdevice_op(struct pfnbuf_bind *b, uint64_t op)
{
	struct iommu_vdevice_tsm_op arg = {
		.size = sizeof(arg),
		.type = (uint32_t)op,
		.vdevice_id = b->vdevice.id,
	};

	return judge(b, iommufd_ioctl(b, (unsigned long)b->profile->bind_request, &arg),
		     "IOMMU_VDEVICE_TSM_OP");
}

static int unbind_by_destroying(struct pfnbuf_bind *b)
{
	int r = judge(b, destroy_id(b, b->vdevice.id), "IOMMU_DESTROY of a bound vDEVICE");

	if (r == 0)
		b->vdevice = (struct object){ .id = 0 };
	return r;
}

static int call_bind(struct pfnbuf_bind *b)
{
	if (b->ops.bind)
		return pfnbuf_bind_judge_op(b, b->ops.bind(b->ops_data, b->device, b->vm),
					    "ops->bind");
	switch (b->profile->bind) {
	case PFNBUF_TSM_VFIO_BIND:
		return bind_by_vfio(b);
	case PFNBUF_TSM_VDEVICE_OP:
		return vdevice_op(b, b->profile->bind_op);
	default:
		return judge(b, alloc_vdevice(b), "IOMMU_VDEVICE_ALLOC that binds");
	}
}

static int call_unbind(struct pfnbuf_bind *b)
{
	if (b->ops.unbind)
		return pfnbuf_bind_judge_op(b, b->ops.unbind(b->ops_data, b->device, b->vm),
					    "ops->unbind");
	switch (b->profile->bind) {
	case PFNBUF_TSM_VFIO_BIND:
		return unbind_by_vfio(b);
	case PFNBUF_TSM_VDEVICE_OP:
		return vdevice_op(b, b->profile->unbind_op);
	default:
		return unbind_by_destroying(b);
	}
}

int pfnbuf_bind_end_step(struct pfnbuf_bind *b, size_t step, int r)
{
	pfnbuf_journal_end(&b->journal, step,
			   r == PFNBUF_TSM_UNKNOWN ? pfnbuf_last_error_record()->code : r);
	return r;
}

int pfnbuf_bind_tdi(struct pfnbuf_bind *b)
{
	const size_t step = pfnbuf_bind_begin_step(b, PFNBUF_STEP_BIND, name_of(b), NULL,
						   "the device is the guest's from now on");
	int r = pfnbuf_bind_end_step(b, step, call_bind(b));

	b->bound = r >= 0;
	b->started = false;
	if (r == 0)
		b->state = PFNBUF_TDI_CONFIG_LOCKED;
	return r;
}

int pfnbuf_bind_unbind_tdi(struct pfnbuf_bind *b)
{
	const size_t step = pfnbuf_bind_begin_step(b, PFNBUF_STEP_UNBIND, name_of(b), NULL,
						   "the device is the guest's no more");
	int r = pfnbuf_bind_end_step(b, step, call_unbind(b));

	if (r == 0) {
		b->bound = false;
		b->state = PFNBUF_TDI_CONFIG_UNLOCKED;
		/* What was validated went with it. */
		b->nr_valid = b->ops.validate ? b->nr_valid : 0;
	}
	return r;
}

int pfnbuf_bind_start_tdi(struct pfnbuf_bind *b)
{
	size_t step;
	int r;

	/* What runs and is started goes to ERROR: a report that comes late is no reason to. */
	if (!b->ops.start || b->started)
		return 0;
	step = pfnbuf_bind_begin_step(b, PFNBUF_STEP_START, name_of(b), NULL,
				      "from CONFIG_LOCKED to RUN");
	r = pfnbuf_bind_end_step(
		b, step,
		pfnbuf_bind_judge_op(b, b->ops.start(b->ops_data, b->device), "ops->start"));
	/* Where nobody knows, its state is in the evidence. */
	b->started = r >= 0;
	return r < 0 ? r : 0;
}

/* ---------------------------------------------------------------- private runs -------------- */

static int request_validation(struct pfnbuf_bind *b, const struct private_run *run)
{
	struct arm64_vdev_validate_mmio_guest_req request = {
		.gpa_base = run->gpa,
		.gpa_top = run->gpa + run->length,
	};
	struct iommu_vdevice_tsm_req arg = {
		.size = sizeof(arg),
		.vdevice_id = b->vdevice.id,
		.op = (uint32_t)b->profile->validate_op,
		.tvm_arch = (uint32_t)b->profile->validate_arch,
		.req_len = sizeof(request),
		.req_uptr = (uintptr_t)&request,
	};
	const struct pfnbuf_range range = { run->gpa, run->length };
	uint64_t address;
	int r = pfnbuf_device_bar_address(b->device, run->bar, &address);

	if (r < 0)
		return r;
	request.pa_base = address + run->offset;
	r = iommufd_ioctl(b, (unsigned long)b->profile->validate_request, &arg);
	if (r < 0)
		return pfnbuf_failed(r, "IOMMU_VDEVICE_TSM_REQ", name_of(b), &range);
	if (r > 0 || arg.tsm_code)
		return pfnbuf_refused(-EIO, "IOMMU_VDEVICE_TSM_REQ", name_of(b), &range,
				      "the guest's report must name the range",
				      "the TSM refuses to validate MMIO: code %" PRIu64
				      ", %d bytes of the request not used",
				      arg.tsm_code, r);
	return 0;
}

static int call_validate(struct pfnbuf_bind *b, const struct private_run *run, bool on)
{
	if (!b->ops.validate)
		return on ? request_validation(b, run) : 0;
	return pfnbuf_bind_judge_op(b,
				    b->ops.validate(b->ops_data, b->device, run->bar, run->offset,
						    run->length, run->gpa, on),
				    "ops->validate");
}

static int validate(struct pfnbuf_bind *b, const struct private_run *run, bool on)
{
	const struct pfnbuf_range range = { run->gpa, run->length };
	const size_t step =
		pfnbuf_bind_begin_step(b, PFNBUF_STEP_VALIDATE, name_of(b), &range,
				       on ? "private for the guest" : "private no more");

	return pfnbuf_bind_end_step(b, step, call_validate(b, run, on));
}

static int pre_fault(struct pfnbuf_bind *b, const struct private_run *run)
{
	const struct pfnbuf_range range = { run->gpa, run->length };
	const size_t step = pfnbuf_bind_begin_step(b, PFNBUF_STEP_PRE_FAULT, name_of(b), &range,
						   "private pages come in when they are asked for");

	return pfnbuf_journal_end(&b->journal, step,
				  pfnbuf_vm_pre_fault_by(b->vm, b->profile->pre_fault_request,
							 b->vcpu_fd, run->gpa, run->length));
}

/* From the first that is not there on. PFNBUF_TSM_UNKNOWN where it cannot be known of one. */
int pfnbuf_bind_bring_private(struct pfnbuf_bind *b)
{
	const bool faults = has_slots(b) && b->profile->private_mmio == PFNBUF_MMIO_PRE_FAULT;
	int r = 0;

	if (has_slots(b) && !faults)
		return 0;
	while (r == 0 && b->nr_valid < b->nr_runs) {
		const struct private_run *run = &b->runs[b->nr_valid];

		r = faults ? pre_fault(b, run) : validate(b, run, true);
		b->nr_valid += r == 0;
	}
	return r;
}

/* Only the caller's function can do so: what is in slots goes with them. */
int pfnbuf_bind_take_private(struct pfnbuf_bind *b)
{
	int r = 0;

	if (!b->ops.validate) {
		b->nr_valid = validates_by_profile(b) ? b->nr_valid : 0;
		return 0;
	}
	while (r == 0 && b->nr_valid) {
		r = validate(b, &b->runs[b->nr_valid - 1], false);
		b->nr_valid -= r == 0;
	}
	return r;
}

static int add_run(struct pfnbuf_bind *b, const struct private_run *run)
{
	struct private_run *runs = reallocarray(b->runs, b->nr_runs + 1, sizeof(*runs));

	if (!runs)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_bind_run", name_of(b), NULL);
	b->runs = runs;
	runs[b->nr_runs++] = *run;
	return 0;
}

int pfnbuf_bind_note_runs(struct pfnbuf_bind *b, const struct pfnbuf_window_part *part,
			  const struct pfnbuf_layout *layout)
{
	struct pfnbuf_run run;
	int r = 0;

	for (uint64_t at = 0; r >= 0 && pfnbuf_layout_next(layout, &at, &run, 1) > 0;) {
		if (run.vis != PFNBUF_PRIVATE)
			continue;
		r = add_run(b, &(struct private_run){
				       .bar = part->bar,
				       .offset = part->range.offset + run.offset,
				       .length = run.length,
				       .gpa = part->gpa + run.offset,
			       });
	}
	return r;
}

void pfnbuf_bind_forget_runs(struct pfnbuf_bind *b)
{
	free(b->runs);
	b->runs = NULL;
	b->nr_runs = 0;
	b->nr_valid = 0;
}
