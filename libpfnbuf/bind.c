/* SPDX-License-Identifier: MIT */
/*
 * Binding a device to a confidential guest, and back.
 *
 * Windows know how to place a layout and how to take it away; a profile, or the caller, knows how to
 * bind. What is here is the order of the two, and what becomes of either when the other fails:
 *
 *     withdraw, close | objects, bind | report, layouts | open, place, private
 *
 * Going back is the same from right to left. A failure on the way there goes back all the way; one on
 * the way back goes there again, up to the call that unbinds: what comes after it is tried a few times
 * and then quarantined, for a device that is neither bound nor shared is nobody's.
 *
 * All of it runs with the device's gate held and no lock.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "private.h"
#include "tdi.h"
#include "uapi/iommufd.h"
#include "uapi/proposed.h"

/* What must be undone and is refused may well succeed in a moment. */
#define TRIES 3

#define FIRST_REPORT_SIZE (UINT64_C(64) << 10)

/* A run of private pages that a guest sees. */
struct private_run {
	unsigned bar;
	uint64_t offset; /* into the BAR */
	uint64_t length;
	uint64_t gpa;
};

/* An object of the iommufd. */
struct object {
	uint32_t id; /* 0: none */
	bool ours;   /* to destroy */
};

struct pfnbuf_bind {
	struct pfnbuf_bind_hook hook;
	struct pfnbuf_device *device; /* a reference */
	struct pfnbuf_ctx *ctx;
	const struct pfnbuf_kernel *kernel;
	struct pfnbuf_vm *vm;
	const struct pfnbuf_profile_data *profile; /* or NULL */
	struct pfnbuf_tsm_ops ops;
	void *ops_data;
	struct pfnbuf_tdi_compile_opts compile;
	uint8_t digest[PFNBUF_TDI_DIGEST_MAX];
	size_t digest_len;
	uint32_t given_vdevice;
	uint32_t given_viommu;
	uint64_t virt_id;
	int vcpu_fd;

	/* With the gate held. */
	struct pfnbuf_window **windows;
	bool *taken; /* of each window: withdrawn by the call that is under way */
	size_t nr_windows;
	enum pfnbuf_tdi_state state;
	bool locked;  /* the windows are not what they were */
	bool bound;   /* or, where it is quarantined, it may be */
	bool started; /* the caller's function did it, or may have */
	bool dead;    /* the device is closed */
	bool quarantined;
	char reason[512];
	struct object hwpt, viommu, vdevice;
	struct pfnbuf_tdi_layouts *layouts;
	uint64_t generation;
	struct private_run *runs;
	size_t nr_runs;
	size_t nr_valid; /* of the runs, in order */
	struct pfnbuf_journal journal;
};

static struct pfnbuf_bind *of_hook(struct pfnbuf_bind_hook *hook)
{
	return pfnbuf_container_of(hook, struct pfnbuf_bind, hook);
}

static const char *name_of(const struct pfnbuf_bind *b)
{
	return pfnbuf_device_name(b->device);
}

static void cleanup_let_go(struct pfnbuf_device **device)
{
	pfnbuf_device_let_go(*device);
}

static struct pfnbuf_device *held(const struct pfnbuf_bind *b)
{
	pfnbuf_device_hold(b->device);
	return b->device;
}

/* `cleanup_gate struct pfnbuf_device *gate = held(b);` holds the gate to the end of the scope. */
#define cleanup_gate __attribute__((cleanup(cleanup_let_go), unused))

static void tell(struct pfnbuf_bind *b, enum pfnbuf_event_type type, enum pfnbuf_cause cause)
{
	const struct pfnbuf_event event = {
		.type = type,
		.cause = cause,
		.device = b->dead ? NULL : b->device,
		.user = pfnbuf_device_get_user(b->device),
		.generation = pfnbuf_device_get_generation(b->device),
	};

	pfnbuf_ctx_push_event(b->ctx, &event, false);
}

/* ---------------------------------------------------------------- quarantine ---------------- */

static int refuse_quarantined(const struct pfnbuf_bind *b, const char *call)
{
	return pfnbuf_refused(-ENOTRECOVERABLE, call, name_of(b), NULL,
			      "look at it with pfnbuf_bind_get_info() and free it", "%s",
			      b->reason);
}

static int quarantine(struct pfnbuf_bind *b, const char *call, const char *what)
{
	char why[200];

	if (b->quarantined)
		return refuse_quarantined(b, call);
	pfnbuf_copy_text(why, sizeof(why), pfnbuf_last_error());
	snprintf(b->reason, sizeof(b->reason), "%s (%s)", what, why);
	b->quarantined = true;
	for (size_t i = 0; i < b->nr_windows; i++)
		pfnbuf_window_quarantine(b->windows[i], b->reason);
	pfnbuf_ctx_log(b->ctx, PFNBUF_LOG_ERROR, "%s: quarantined: %s", name_of(b), b->reason);
	tell(b, PFNBUF_EVENT_QUARANTINED, PFNBUF_CAUSE_NONE);
	return refuse_quarantined(b, call);
}

/* ---------------------------------------------------------------- steps --------------------- */

static size_t begin_step(struct pfnbuf_bind *b, enum pfnbuf_step_kind kind, const char *object,
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
static int judge_op(const struct pfnbuf_bind *b, int r, const char *call)
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

static bool binds_by_profile(const struct pfnbuf_bind *b)
{
	return !b->ops.bind;
}

static bool validates_by_profile(const struct pfnbuf_bind *b)
{
	return !b->ops.validate && b->profile->private_mmio == PFNBUF_MMIO_VALIDATE;
}

static bool has_slots(const struct pfnbuf_bind *b)
{
	return !b->ops.validate && !validates_by_profile(b);
}

static bool binds_by_allocation(const struct pfnbuf_bind *b)
{
	return binds_by_profile(b) && b->profile->bind == PFNBUF_TSM_VDEVICE_ALLOC;
}

static bool mappings_stay(const struct pfnbuf_bind *b)
{
	return binds_by_profile(b) && b->profile->mappings_stay;
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
	step = begin_step(b, PFNBUF_STEP_ALLOC, "nest parent", NULL,
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
	step = begin_step(b, PFNBUF_STEP_ALLOC, "vIOMMU", NULL, "the guest's IOMMU");
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
	step = begin_step(b, PFNBUF_STEP_ALLOC, "vDEVICE", NULL, "the device as the guest sees it");
	r = pfnbuf_journal_end(&b->journal, step, alloc_vdevice(b));
	return r < 0 ? pfnbuf_failed(r, "IOMMU_VDEVICE_ALLOC", name_of(b), NULL) : 0;
}

static int make_objects(struct pfnbuf_bind *b)
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
		step = begin_step(b, PFNBUF_STEP_DESTROY, what, NULL, "the device is not bound");
		for (int i = 0; r < 0 && i < TRIES; i++)
			r = destroy_id(b, object->id);
		if (pfnbuf_journal_end(&b->journal, step, r) < 0)
			pfnbuf_ctx_log(b->ctx, PFNBUF_LOG_WARNING,
				       "%s: destroying its %s %" PRIu32
				       " failed with %s: it stays till the iommufd is closed",
				       name_of(b), what, object->id, pfnbuf_errno_name(r));
	}
	*object = (struct object){ .id = 0 };
}

static void destroy_objects(struct pfnbuf_bind *b)
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
		return judge_op(b, b->ops.bind(b->ops_data, b->device, b->vm), "ops->bind");
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
		return judge_op(b, b->ops.unbind(b->ops_data, b->device, b->vm), "ops->unbind");
	switch (b->profile->bind) {
	case PFNBUF_TSM_VFIO_BIND:
		return unbind_by_vfio(b);
	case PFNBUF_TSM_VDEVICE_OP:
		return vdevice_op(b, b->profile->unbind_op);
	default:
		return unbind_by_destroying(b);
	}
}

static int end_call(struct pfnbuf_bind *b, size_t step, int r)
{
	pfnbuf_journal_end(&b->journal, step,
			   r == PFNBUF_TSM_UNKNOWN ? pfnbuf_last_error_record()->code : r);
	return r;
}

static int bind_tdi(struct pfnbuf_bind *b)
{
	const size_t step = begin_step(b, PFNBUF_STEP_BIND, name_of(b), NULL,
				       "the device is the guest's from now on");
	int r = end_call(b, step, call_bind(b));

	b->bound = r >= 0;
	b->started = false;
	if (r == 0)
		b->state = PFNBUF_TDI_CONFIG_LOCKED;
	return r;
}

static int unbind_tdi(struct pfnbuf_bind *b)
{
	const size_t step = begin_step(b, PFNBUF_STEP_UNBIND, name_of(b), NULL,
				       "the device is the guest's no more");
	int r = end_call(b, step, call_unbind(b));

	if (r == 0) {
		b->bound = false;
		b->state = PFNBUF_TDI_CONFIG_UNLOCKED;
		/* What was validated went with it. */
		b->nr_valid = b->ops.validate ? b->nr_valid : 0;
	}
	return r;
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
	return judge_op(b,
			b->ops.validate(b->ops_data, b->device, run->bar, run->offset, run->length,
					run->gpa, on),
			"ops->validate");
}

static int validate(struct pfnbuf_bind *b, const struct private_run *run, bool on)
{
	const struct pfnbuf_range range = { run->gpa, run->length };
	const size_t step = begin_step(b, PFNBUF_STEP_VALIDATE, name_of(b), &range,
				       on ? "private for the guest" : "private no more");

	return end_call(b, step, call_validate(b, run, on));
}

static int pre_fault(struct pfnbuf_bind *b, const struct private_run *run)
{
	const struct pfnbuf_range range = { run->gpa, run->length };
	const size_t step = begin_step(b, PFNBUF_STEP_PRE_FAULT, name_of(b), &range,
				       "private pages come in when they are asked for");

	return pfnbuf_journal_end(&b->journal, step,
				  pfnbuf_vm_pre_fault_by(b->vm, b->profile->pre_fault_request,
							 b->vcpu_fd, run->gpa, run->length));
}

/* From the first that is not there on. PFNBUF_TSM_UNKNOWN where it cannot be known of one. */
static int bring_private(struct pfnbuf_bind *b)
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
static int take_private(struct pfnbuf_bind *b)
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

static int note_runs(struct pfnbuf_bind *b, const struct pfnbuf_window_part *part,
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

static void forget_runs(struct pfnbuf_bind *b)
{
	free(b->runs);
	b->runs = NULL;
	b->nr_runs = 0;
	b->nr_valid = 0;
}

static void forget_report(struct pfnbuf_bind *b)
{
	forget_runs(b);
	b->layouts = pfnbuf_tdi_layouts_free(b->layouts);
	b->generation = 0;
}

/* ---------------------------------------------------------------- windows ------------------- */

/* What the call that is under way has withdrawn. */
static void place_again(struct pfnbuf_bind *b)
{
	for (size_t i = 0; i < b->nr_windows; i++) {
		int r = b->taken[i] ? -EAGAIN : 0;

		for (int n = 0; r < 0 && n < TRIES; n++)
			r = pfnbuf_window_place(b->windows[i], &b->journal);
		b->taken[i] = false;
		if (r < 0)
			quarantine(b, "pfnbuf_bind",
				   "a window could not be placed again after another call failed");
	}
}

/* All of them, or none. A window that can neither go nor stay is quarantined, and so is the bind. */
static int withdraw_windows(struct pfnbuf_bind *b)
{
	struct pfnbuf_saved_error error;
	int r = 0;

	for (size_t i = 0; i < b->nr_windows; i++)
		b->taken[i] = false;
	for (size_t i = b->nr_windows; r >= 0 && i--;) {
		r = pfnbuf_window_withdraw(b->windows[i], &b->journal);
		b->taken[i] = r > 0;
		if (r < 0 && pfnbuf_window_is_quarantined(b->windows[i]))
			return quarantine(b, "pfnbuf_bind", "a window could not be withdrawn");
	}
	if (r >= 0)
		return 0;
	pfnbuf_error_save(&error);
	place_again(b);
	pfnbuf_error_restore(&error);
	return b->quarantined ? refuse_quarantined(b, "pfnbuf_bind") : r;
}

/* What is closed stays closed where another one fails: opening all of them opens those only. */
static int close_windows(struct pfnbuf_bind *b)
{
	int r = 0;

	for (size_t i = b->nr_windows; r >= 0 && i; i--)
		r = pfnbuf_window_close_buffers(b->windows[i - 1], &b->journal);
	return r;
}

static void log_last(const struct pfnbuf_bind *b)
{
	pfnbuf_ctx_log(b->ctx, PFNBUF_LOG_ERROR, "%s: %s", name_of(b), pfnbuf_last_error());
}

/* One window as it was when it was lent. */
static int restore_window(struct pfnbuf_bind *b, struct pfnbuf_window *window)
{
	int r = pfnbuf_window_open_buffers(window, NULL, false, false, &b->journal);

	return r < 0 ? r : pfnbuf_window_place(window, &b->journal);
}

static int restore_windows(struct pfnbuf_bind *b, const char *call)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < b->nr_windows; i++) {
		r = -EAGAIN;
		for (int n = 0; r < 0 && n < TRIES; n++)
			r = restore_window(b, b->windows[i]);
	}
	if (r < 0)
		return quarantine(b, call,
				  "the device is not bound, and what was shared of it could not be "
				  "placed again");
	for (size_t i = 0; i < b->nr_windows; i++)
		pfnbuf_window_give_back(b->windows[i]);
	pfnbuf_device_set_lent(b->device, PFNBUF_HOME);
	b->locked = false;
	return 0;
}

/* The device first: from then on nobody else begins to map it. */
static int lend(struct pfnbuf_bind *b)
{
	int r = 0;
	size_t i = 0;

	pfnbuf_device_set_lent(b->device, PFNBUF_LENT);
	for (; r >= 0 && i < b->nr_windows; i++)
		r = pfnbuf_window_lend(b->windows[i], b);
	b->locked = r >= 0;
	if (b->locked)
		return 0;
	for (i--; i; i--)
		pfnbuf_window_give_back(b->windows[i - 1]);
	pfnbuf_device_set_lent(b->device, PFNBUF_HOME);
	return r;
}

/* ---------------------------------------------------------------- 1 to 3: lock -------------- */

static int refuse_stranger(const struct pfnbuf_bind *b, const char *object,
			   const struct pfnbuf_range *range, const char *hint, const char *what)
{
	return pfnbuf_refused(-EBUSY, "pfnbuf_bind_lock", object, range, hint,
			      "%s a BAR of %s that is in no window of the bind", what, name_of(b));
}

static int find_areas(const struct pfnbuf_bind *b)
{
	const struct pfnbuf_link *ioases = pfnbuf_ctx_list(b->ctx, PFNBUF_LIST_IOASES);
	struct pfnbuf_range range;

	for (const struct pfnbuf_link *l = ioases->next; l != ioases; l = l->next) {
		struct pfnbuf_ioas *ioas = pfnbuf_ioas_of_link(l);

		if (pfnbuf_ioas_find_device(ioas, b->device, &range))
			return refuse_stranger(b, pfnbuf_ioas_name(ioas), &range,
					       "unmap it, or give the window to the bind",
					       "the area maps");
	}
	return 0;
}

static int find_slots(const struct pfnbuf_bind *b)
{
	const struct pfnbuf_link *vms = pfnbuf_ctx_list(b->ctx, PFNBUF_LIST_VMS);
	struct pfnbuf_range range;

	for (const struct pfnbuf_link *l = vms->next; l != vms; l = l->next) {
		struct pfnbuf_vm *vm = pfnbuf_vm_of_link(l);

		if (pfnbuf_vm_find_device(vm, b->device, &range))
			return refuse_stranger(b, pfnbuf_vm_name(vm), &range,
					       "delete the slot, or make a window of it",
					       "the slot stands on a dma-buf of");
	}
	return 0;
}

static int find_mappings(const struct pfnbuf_bind *b)
{
	uint64_t length;
	void *addr;

	if (!pfnbuf_device_find_mapping(b->device, &addr, &length))
		return 0;
	return refuse_stranger(b, name_of(b), &(struct pfnbuf_range){ (uintptr_t)addr, length },
			       "unmap it with pfnbuf_device_bar_unmap(), or give the window to the "
			       "bind",
			       "these addresses of the process show");
}

/*
 * Mappings of the device that are not of the windows', which show nothing now. A window that is not
 * the bind's may have found the device not lent yet: what it does then ends first.
 */
static int find_strangers(const struct pfnbuf_bind *b)
{
	cleanup_rwunlock pthread_rwlock_t *topology = pfnbuf_ctx_hold(b->ctx);
	const struct pfnbuf_link *windows = pfnbuf_ctx_list(b->ctx, PFNBUF_LIST_WINDOWS);
	int r;

	for (const struct pfnbuf_link *l = windows->next; l != windows; l = l->next)
		pfnbuf_window_await(pfnbuf_window_of_link(l), b->device);
	r = find_mappings(b);
	if (r >= 0)
		r = find_areas(b);
	return r < 0 ? r : find_slots(b);
}

static int check_lock(struct pfnbuf_bind *b)
{
	static const char call[] = "pfnbuf_bind_lock";

	if (b->quarantined)
		return refuse_quarantined(b, call);
	if (b->dead)
		return pfnbuf_refused(-ENODEV, call, name_of(b), NULL, "free the bind",
				      "the device is closed");
	if (b->locked)
		return pfnbuf_refused(-EALREADY, call, name_of(b), NULL,
				      "call pfnbuf_bind_unlock() first", "it is locked");
	return pfnbuf_device_check_quiet(b->device, call);
}

/* Undo steps 1 and 2, and what step 3 made. Returns @code, or says that it is quarantined. */
static int undo_lock(struct pfnbuf_bind *b, int code)
{
	struct pfnbuf_saved_error error;

	pfnbuf_error_save(&error);
	destroy_objects(b);
	if (!b->quarantined)
		restore_windows(b, "pfnbuf_bind_lock");
	if (b->quarantined)
		return refuse_quarantined(b, "pfnbuf_bind_lock");
	pfnbuf_error_restore(&error);
	return code;
}

static int lock_bind(struct pfnbuf_bind *b)
{
	static const char call[] = "pfnbuf_bind_lock";
	int r = check_lock(b);

	if (r < 0)
		return r;
	r = lend(b);
	if (r < 0)
		return r;
	pfnbuf_journal_clear(&b->journal);
	r = withdraw_windows(b);
	if (r >= 0)
		r = close_windows(b);
	if (r >= 0)
		r = find_strangers(b);
	if (r >= 0)
		r = make_objects(b);
	if (r < 0)
		return undo_lock(b, r);
	r = bind_tdi(b);
	if (r == PFNBUF_TSM_UNKNOWN)
		return quarantine(b, call,
				  "the device may be bound or not: nothing of it is mapped");
	return r < 0 ? undo_lock(b, r) : 0;
}

int pfnbuf_bind_lock(struct pfnbuf_bind *b)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);

	return lock_bind(b);
}

/* ---------------------------------------------------------------- back ---------------------- */

/*
 * Take away what the guest sees of the bound device: all, or nothing. Windows that show nothing cost
 * no call.
 */
static int take_mappings(struct pfnbuf_bind *b, const char *call)
{
	struct pfnbuf_saved_error error;
	int r = take_private(b);

	if (r == PFNBUF_TSM_UNKNOWN)
		return quarantine(b, call, "private pages may be validated or not");
	if (r >= 0)
		r = withdraw_windows(b);
	if (r >= 0 || b->quarantined)
		return r;
	pfnbuf_error_save(&error);
	if (bring_private(b) != 0)
		return quarantine(b, call, "private pages that were taken away did not come back");
	pfnbuf_error_restore(&error);
	return r;
}

/* A window that does not go at first may go in a moment; the others go in any case. */
static int withdraw_for_good(struct pfnbuf_bind *b)
{
	struct pfnbuf_saved_error error;
	int first = 0;

	for (size_t i = b->nr_windows; i--;) {
		struct pfnbuf_window *window = b->windows[i];
		int r = -EAGAIN;

		for (int n = 0; r < 0 && n < TRIES && !pfnbuf_window_is_quarantined(window); n++)
			r = pfnbuf_window_withdraw(window, &b->journal);
		if (r < 0 && !first) {
			first = r;
			pfnbuf_error_save(&error);
		}
	}
	if (first)
		pfnbuf_error_restore(&error);
	return first;
}

static int close_for_good(struct pfnbuf_bind *b)
{
	int r = -EAGAIN;

	for (int n = 0; r < 0 && n < TRIES; n++)
		r = close_windows(b);
	return r;
}

/* Without a way back: what is gone is not put back where something else stays. */
static int take_mappings_for_good(struct pfnbuf_bind *b, const char *call)
{
	int r = -EAGAIN;

	for (int n = 0; r < 0 && n < TRIES; n++)
		r = take_private(b);
	if (r == PFNBUF_TSM_UNKNOWN)
		return quarantine(b, call, "private pages may be validated or not");
	if (r >= 0)
		r = withdraw_for_good(b);
	if (r >= 0)
		r = close_for_good(b);
	return r < 0 ? quarantine(b, call, "what the guest sees could not be taken away") : 0;
}

/* Nor does that have one. A refusal that is certain may pass. */
static int unbind_for_good(struct pfnbuf_bind *b, const char *call)
{
	int r = b->bound ? -EAGAIN : 0;

	for (int n = 0; r < 0 && n < TRIES; n++)
		r = unbind_tdi(b);
	if (r == 0)
		return 0;
	return quarantine(b, call,
			  r == PFNBUF_TSM_UNKNOWN ? "the device may be bound or not"
						  : "the device cannot be unbound");
}

/* The device is unbound; what comes after. */
static int finish_unlock(struct pfnbuf_bind *b, const char *call)
{
	int r = take_mappings_for_good(b, call);

	if (r < 0)
		return r;
	/* Also where an error notice had it unbound before. */
	b->state = PFNBUF_TDI_CONFIG_UNLOCKED;
	destroy_objects(b);
	forget_report(b);
	return b->dead ? 0 : restore_windows(b, call);
}

/* Unbinding was refused: the guest gets back what it saw. */
static int place_private_again(struct pfnbuf_bind *b, int code)
{
	struct pfnbuf_saved_error error;

	pfnbuf_error_save(&error);
	place_again(b);
	if (!b->quarantined && bring_private(b) != 0)
		quarantine(b, "pfnbuf_bind_unlock", "private pages did not come back");
	if (b->quarantined)
		return refuse_quarantined(b, "pfnbuf_bind_unlock");
	pfnbuf_error_restore(&error);
	return code;
}

static int unlock_bind(struct pfnbuf_bind *b, const char *call)
{
	const bool stay = mappings_stay(b);
	int r = 0;

	if (b->quarantined)
		return refuse_quarantined(b, call);
	if (!b->locked)
		return pfnbuf_refused(-EALREADY, call, name_of(b), NULL, "",
				      "the device is not bound to the guest");
	pfnbuf_journal_clear(&b->journal);
	if (!stay)
		r = take_mappings(b, call);
	if (r < 0)
		return r;
	/* A device that failed may have been unbound then. */
	r = b->bound ? unbind_tdi(b) : 0;
	if (r == PFNBUF_TSM_UNKNOWN)
		return quarantine(b, call, "the device may be bound or not");
	if (r < 0)
		return stay ? r : place_private_again(b, r);
	return finish_unlock(b, call);
}

int pfnbuf_bind_unlock(struct pfnbuf_bind *b)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);

	return unlock_bind(b, "pfnbuf_bind_unlock");
}

/* Unlock without a way back. */
static int unlock_for_good(struct pfnbuf_bind *b, const char *call)
{
	if (!b->quarantined && !mappings_stay(b))
		take_mappings_for_good(b, call);
	if (!b->quarantined)
		unbind_for_good(b, call);
	if (!b->quarantined)
		finish_unlock(b, call);
	return b->quarantined ? refuse_quarantined(b, call) : 0;
}

/* Step 4, 5 or 6 failed with @code: unlock, and say why. */
static int fall_back(struct pfnbuf_bind *b, int code)
{
	struct pfnbuf_saved_error error;
	int r;

	pfnbuf_error_save(&error);
	r = unlock_for_good(b, "pfnbuf_bind_run");
	if (r < 0)
		return r;
	pfnbuf_error_restore(&error);
	return code;
}

/* ---------------------------------------------------------------- 4: report ----------------- */

struct report {
	uint8_t *data;
	size_t length;
	struct pfnbuf_tdi_evidence evidence;
};

static void cleanup_report_free(struct report *report)
{
	free(report->data);
}

#define cleanup_report __attribute__((cleanup(cleanup_report_free)))

static int call_report(struct pfnbuf_bind *b, struct report *report, size_t size)
{
	int r;

	free(report->data);
	report->data = malloc(size);
	if (!report->data)
		return pfnbuf_failed(-ENOMEM, "ops->report", name_of(b), NULL);
	report->length = 0;
	memset(&report->evidence, 0, sizeof(report->evidence));
	r = b->ops.report(b->ops_data, b->device, report->data, size, &report->length,
			  &report->evidence);
	if (r == -EAGAIN)
		return pfnbuf_refused(r, "ops->report", name_of(b), NULL,
				      "try again when the device has been started",
				      "the report is not there yet");
	return judge_op(b, r, "ops->report");
}

static int read_report_step(struct pfnbuf_bind *b, struct report *report)
{
	size_t size = FIRST_REPORT_SIZE;

	for (;;) {
		int r = call_report(b, report, size);

		if (r > 0)
			return pfnbuf_refused(-EIO, "ops->report", name_of(b), NULL, "",
					      "whether there is a report must be known");
		if (r < 0 || report->length <= size)
			return r;
		if (report->length > PFNBUF_BIND_REPORT_MAX)
			return pfnbuf_refused(-E2BIG, "ops->report", name_of(b), NULL, "",
					      "the report has %zu bytes; %" PRIu64 " are the most",
					      report->length, PFNBUF_BIND_REPORT_MAX);
		size = report->length;
	}
}

static int read_report(struct pfnbuf_bind *b, struct report *report, const char *reason)
{
	const size_t step = begin_step(b, PFNBUF_STEP_REPORT, name_of(b), NULL, reason);

	return pfnbuf_journal_end(&b->journal, step, read_report_step(b, report));
}

/* Is this what the guest's owner attested, of a device that runs? */
static int check_evidence(const struct pfnbuf_bind *b, const struct pfnbuf_tdi_evidence *e)
{
	const char *state = pfnbuf_tdi_state_name(e->state);

	if (e->digest_len != b->digest_len || memcmp(e->digest, b->digest, b->digest_len) != 0)
		return pfnbuf_refused(-EKEYREJECTED, "pfnbuf_bind_run", name_of(b), NULL,
				      "attest the device again",
				      "the report's digest is not the one that was attested");
	if (e->state != PFNBUF_TDI_RUN)
		return pfnbuf_refused(-EPERM, "pfnbuf_bind_run", name_of(b), NULL,
				      "let the guest start the device first, or give ops->start",
				      "its TDI is in %s, not in RUN", state ? state : "no state");
	return 0;
}

static int refuse_tdi(const struct pfnbuf_bind *b, int code, const char *call,
		      const struct pfnbuf_tdi_error *error)
{
	return pfnbuf_refused(code, call, name_of(b), NULL, "", "%s", error->text);
}

static bool has_bars(const struct pfnbuf_tdi_compile_opts *opts)
{
	for (unsigned i = 0; i < 6; i++)
		if (opts->bars[i].size || opts->bars[i].address || opts->bars[i].flags)
			return true;
	return false;
}

static int fill_in_bars(struct pfnbuf_bind *b, struct pfnbuf_tdi_compile_opts *opts)
{
	struct pfnbuf_bar bar;

	if (has_bars(opts))
		return 0;
	for (unsigned i = 0; i < 6; i++) {
		int r = pfnbuf_device_get_bar(b->device, i, &bar);

		if (r < 0)
			return r;
		opts->bars[i].size = bar.size;
		opts->bars[i].flags = bar.flags;
		/* Unknown where sysfs does not tell: some ways to find the BAR's start need none. */
		if (bar.size && !(bar.flags & PFNBUF_BAR_IO))
			pfnbuf_device_bar_address(b->device, i, &opts->bars[i].address);
	}
	return 0;
}

static int compile_report(struct pfnbuf_bind *b, const struct report *report)
{
	struct pfnbuf_tdi_compile_opts opts = b->compile;
	struct pfnbuf_tdi_report *parsed = NULL;
	struct pfnbuf_tdi_error error;
	int r = pfnbuf_tdi_report_parse(report->data, report->length, NULL, &parsed, &error);

	if (r < 0)
		return refuse_tdi(b, r, "pfnbuf_tdi_report_parse", &error);
	opts.size = sizeof(opts);
	opts.page_size = opts.page_size ? opts.page_size : pfnbuf_page_size();
	opts.evidence = &report->evidence;
	r = fill_in_bars(b, &opts);
	if (r >= 0) {
		r = pfnbuf_tdi_layouts_compile(parsed, &opts, &b->layouts, &error);
		if (r < 0)
			refuse_tdi(b, r, "pfnbuf_tdi_layouts_compile", &error);
	}
	pfnbuf_tdi_report_free(parsed);
	return r;
}

/* The second reading: nothing has changed since the first. */
static int confirm_report(struct pfnbuf_bind *b, const struct report *first)
{
	cleanup_report struct report second = { .data = NULL };
	struct pfnbuf_tdi_error error;
	int r = read_report(b, &second, "it must be the same when its pages are placed");

	/* What was there must not be gone. */
	if (r == -EAGAIN)
		return pfnbuf_refused(-ESTALE, "pfnbuf_bind_run", name_of(b), NULL, "",
				      "the report was there and is not any more");
	if (r >= 0)
		r = check_evidence(b, &second.evidence);
	if (r < 0)
		return r;
	if (second.evidence.generation == first->evidence.generation &&
	    (second.length != first->length ||
	     memcmp(second.data, first->data, first->length) != 0))
		return pfnbuf_refused(
			-EKEYREJECTED, "pfnbuf_bind_run", name_of(b), NULL,
			"do not trust the device",
			"the report changed without a new lock, and its digest did not");
	r = pfnbuf_tdi_layouts_check(b->layouts, &second.evidence, PFNBUF_TDI_USE_RUN, &error);
	return r < 0 ? refuse_tdi(b, r, "pfnbuf_tdi_layouts_check", &error) : 0;
}

static int start_tdi(struct pfnbuf_bind *b)
{
	size_t step;
	int r;

	/* What runs and is started goes to ERROR: a report that comes late is no reason to. */
	if (!b->ops.start || b->started)
		return 0;
	step = begin_step(b, PFNBUF_STEP_START, name_of(b), NULL, "from CONFIG_LOCKED to RUN");
	r = end_call(b, step, judge_op(b, b->ops.start(b->ops_data, b->device), "ops->start"));
	/* Where nobody knows, its state is in the evidence. */
	b->started = r >= 0;
	return r < 0 ? r : 0;
}

static int learn_layouts(struct pfnbuf_bind *b, struct report *first)
{
	int r = check_evidence(b, &first->evidence);

	if (r >= 0)
		r = compile_report(b, first);
	if (r >= 0)
		r = confirm_report(b, first);
	if (r >= 0)
		b->generation = first->evidence.generation;
	return r;
}

/* ---------------------------------------------------------------- 5 and 6: place ------------ */

static int open_window(struct pfnbuf_bind *b, struct pfnbuf_window *window)
{
	const bool slots = has_slots(b);
	const bool attribute = slots && b->profile->private_attribute;
	const struct pfnbuf_layout *bar;
	struct pfnbuf_layout *layout = NULL;
	struct pfnbuf_window_part part;
	int r;

	pfnbuf_window_get_part(window, &part);
	bar = pfnbuf_tdi_layouts_get(b->layouts, part.bar);
	if (!bar)
		return pfnbuf_refused(-EINVAL, "pfnbuf_bind_run", part.name, NULL,
				      "opts.compile.bars must have every BAR that has a window",
				      "the report was compiled without its BAR");
	r = pfnbuf_layout_slice(bar, part.range.offset, part.range.length, &layout);
	if (r < 0)
		return pfnbuf_failed(r, "pfnbuf_bind_run", part.name, &part.range);
	r = pfnbuf_window_open_buffers(window, layout, slots, attribute, &b->journal);
	if (r >= 0 && part.vm)
		r = note_runs(b, &part, layout);
	pfnbuf_layout_free(layout);
	return r;
}

static int place_windows(struct pfnbuf_bind *b)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < b->nr_windows; i++)
		r = open_window(b, b->windows[i]);
	for (size_t i = 0; r >= 0 && i < b->nr_windows; i++) {
		r = pfnbuf_window_place(b->windows[i], &b->journal);
		if (r < 0 && pfnbuf_window_is_quarantined(b->windows[i]))
			return quarantine(b, "pfnbuf_bind_run",
					  "a window could be neither placed nor left as it was");
	}
	if (r < 0)
		return r;
	r = bring_private(b);
	return r == PFNBUF_TSM_UNKNOWN
		       ? quarantine(b, "pfnbuf_bind_run", "private pages may be validated or not")
		       : r;
}

static int check_run(struct pfnbuf_bind *b)
{
	static const char call[] = "pfnbuf_bind_run";

	if (b->quarantined)
		return refuse_quarantined(b, call);
	if (b->state == PFNBUF_TDI_RUN)
		return pfnbuf_refused(-EALREADY, call, name_of(b), NULL, "",
				      "what the report names is placed");
	if (b->state == PFNBUF_TDI_ERROR)
		return pfnbuf_refused(-EPERM, call, name_of(b), NULL, "unlock it",
				      "its TDI is in ERROR");
	if (!b->bound)
		return pfnbuf_refused(-EINVAL, call, name_of(b), NULL,
				      "call pfnbuf_bind_lock() first",
				      "the device is not bound to the guest");
	return 0;
}

/* -EAGAIN means that nothing happened, which is for the first report alone to say. */
static int not_again(const struct pfnbuf_bind *b, int code)
{
	char why[256];

	if (code != -EAGAIN)
		return code;
	pfnbuf_copy_text(why, sizeof(why), pfnbuf_last_error());
	return pfnbuf_refused(-EBUSY, "pfnbuf_bind_run", name_of(b), NULL, "lock it and try again",
			      "something was busy: %s", why);
}

static int run_bind(struct pfnbuf_bind *b)
{
	cleanup_report struct report first = { .data = NULL };
	int r = check_run(b);

	if (r < 0)
		return r;
	pfnbuf_journal_clear(&b->journal);
	r = start_tdi(b);
	if (r >= 0) {
		r = read_report(b, &first, "it names the pages that become private");
		if (r == -EAGAIN)
			return r;
	}
	if (r >= 0)
		r = learn_layouts(b, &first);
	if (r >= 0)
		r = place_windows(b);
	if (r < 0)
		return fall_back(b, not_again(b, r));
	b->state = PFNBUF_TDI_RUN;
	return 0;
}

int pfnbuf_bind_run(struct pfnbuf_bind *b)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);

	return run_bind(b);
}

/* ---------------------------------------------------------------- what the device says ------ */

static int unbind_hook(struct pfnbuf_bind_hook *hook, enum pfnbuf_cause cause)
{
	struct pfnbuf_bind *b = of_hook(hook);
	int r;

	if (!b->locked)
		return 0;
	r = unlock_bind(b, "pfnbuf_bind_unlock");
	if (r >= 0)
		tell(b, PFNBUF_EVENT_TDI_UNBOUND, cause);
	return r;
}

static void unlock_at_end(struct pfnbuf_bind *b, const char *call)
{
	if (!b->locked || b->quarantined)
		return;
	pfnbuf_journal_clear(&b->journal);
	if (unlock_for_good(b, call) < 0)
		log_last(b);
}

/*
 * The kernel unbinds it with the last reference to its file, whatever happens here: nothing private
 * that could be taken away is to be there then.
 */
static void close_hook(struct pfnbuf_bind_hook *hook)
{
	struct pfnbuf_bind *b = of_hook(hook);
	const bool was_locked = b->locked;

	b->dead = true;
	unlock_at_end(b, "pfnbuf_device_close");
	if (was_locked && !b->quarantined)
		tell(b, PFNBUF_EVENT_TDI_UNBOUND, PFNBUF_CAUSE_CLOSE);
	/* What could not be done here goes with the device. */
	for (size_t i = 0; i < b->nr_windows && b->locked; i++)
		pfnbuf_window_give_back(b->windows[i]);
	b->locked = false;
	b->bound = false;
	b->state = PFNBUF_TDI_CONFIG_UNLOCKED;
}

static int drop_private(struct pfnbuf_bind *b)
{
	int r = take_private(b) == 0 ? 0 : -EIO;

	for (size_t i = 0; r >= 0 && i < b->nr_windows; i++) {
		r = -EAGAIN;
		for (int n = 0; r < 0 && n < TRIES; n++)
			r = pfnbuf_window_drop_private(b->windows[i], &b->journal);
	}
	return r;
}

/*
 * AER does not say what the TDI is in now; for the guest it is lost. Where private mappings must not
 * go while the device is bound, or nothing else takes them, it is unbound here already.
 */
static void error_hook(struct pfnbuf_bind_hook *hook)
{
	static const char call[] = "pfnbuf_bind";
	struct pfnbuf_bind *b = of_hook(hook);

	if (!b->bound || b->quarantined || b->state == PFNBUF_TDI_ERROR)
		return;
	pfnbuf_journal_clear(&b->journal);
	if (mappings_stay(b) || validates_by_profile(b))
		unbind_for_good(b, call);
	if (!b->quarantined && drop_private(b) < 0)
		quarantine(b, call, "private pages of a failed device could not be dropped");
	if (!b->quarantined)
		forget_runs(b);
	b->state = PFNBUF_TDI_ERROR;
	tell(b, PFNBUF_EVENT_TDI_ERROR, PFNBUF_CAUSE_NONE);
}

void pfnbuf_bind_forget_window(struct pfnbuf_bind *b, struct pfnbuf_window *window)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);
	size_t kept = 0;

	if (b->locked && !b->quarantined) {
		if (unlock_bind(b, "pfnbuf_window_free") < 0)
			log_last(b);
		else
			tell(b, PFNBUF_EVENT_TDI_UNBOUND, PFNBUF_CAUSE_WINDOW);
	}
	for (size_t i = 0; i < b->nr_windows; i++)
		if (b->windows[i] != window)
			b->windows[kept++] = b->windows[i];
	b->nr_windows = kept;
}

/* ---------------------------------------------------------------- its life ------------------ */

static int refuse_opts(const struct pfnbuf_device *device, const char *hint, const char *cause)
{
	return pfnbuf_refused(-EINVAL, "pfnbuf_bind_new", pfnbuf_device_name(device), NULL, hint,
			      "%s", cause);
}

static bool overlap(const struct pfnbuf_window_part *a, const struct pfnbuf_window_part *b)
{
	return a->bar == b->bar && a->range.offset < b->range.offset + b->range.length &&
	       b->range.offset < a->range.offset + a->range.length;
}

static int refuse_window(const struct pfnbuf_window_part *part, const char *hint, const char *cause)
{
	return pfnbuf_refused(-EINVAL, "pfnbuf_bind_new", part->name, &part->range, hint, "%s",
			      cause);
}

static int check_windows(struct pfnbuf_device *device, const struct pfnbuf_vm *vm,
			 const struct pfnbuf_bind_opts *opts)
{
	struct pfnbuf_window_part part, other;

	if (!opts->windows || !opts->nr_windows)
		return refuse_opts(device, "make windows of its BARs", "there are no windows");
	for (size_t i = 0; i < opts->nr_windows; i++) {
		pfnbuf_window_get_part(opts->windows[i], &part);
		if (part.device != device)
			return refuse_window(&part, "", "the window is not of the device's BARs");
		if (part.vm && part.vm != vm)
			return refuse_window(&part, "", "the window is in another VM");
		for (size_t j = 0; j < i; j++) {
			pfnbuf_window_get_part(opts->windows[j], &other);
			if (overlap(&part, &other))
				return refuse_window(&part, "give one of them",
						     "another of the windows shows pages of it");
		}
	}
	return 0;
}

/* What the report is compiled without cannot be shown. */
static int check_bars(struct pfnbuf_device *device, const struct pfnbuf_bind_opts *opts)
{
	struct pfnbuf_window_part part;

	for (size_t i = 0; i < opts->nr_windows; i++) {
		const struct pfnbuf_tdi_bar *bar;

		pfnbuf_window_get_part(opts->windows[i], &part);
		bar = &opts->compile.bars[part.bar];
		if (bar->flags & PFNBUF_BAR_IO || bar->size < part.range.offset + part.range.length)
			return pfnbuf_refused(-EINVAL, "pfnbuf_bind_new",
					      pfnbuf_device_name(device), &part.range,
					      "give all of them, or none: then the device is asked",
					      "opts->compile.bars lacks BAR %u, which has a window "
					      "there",
					      part.bar);
	}
	return 0;
}

/* Now, and not when the report is there: by then the device is bound. */
static int check_compile(struct pfnbuf_device *device, const struct pfnbuf_bind_opts *opts)
{
	struct pfnbuf_tdi_compile_opts compile = opts->compile;
	struct pfnbuf_tdi_error error;

	if (!compile.size)
		return 0;
	compile.evidence = NULL;
	if (compile.size < sizeof(compile))
		return refuse_opts(device,
				   "set size to sizeof(struct pfnbuf_tdi_compile_opts), or to 0",
				   "opts->compile.size is wrong");
	if (pfnbuf_tdi_check_opts(&compile, &error) < 0)
		return pfnbuf_refused(-EINVAL, "pfnbuf_bind_new", pfnbuf_device_name(device), NULL,
				      "", "opts->compile: %s", error.text);
	if (compile.page_size && compile.page_size != pfnbuf_page_size())
		return refuse_opts(device, "set it to 0",
				   "opts->compile.page_size is not the page size of this system");
	return has_bars(&compile) ? check_bars(device, opts) : 0;
}

static int check_ops(const struct pfnbuf_device *device, const struct pfnbuf_tsm_ops *ops)
{
	if (!ops || ops->size < sizeof(*ops))
		return refuse_opts(device, "set size to sizeof(struct pfnbuf_tsm_ops)",
				   "there are no ops, or of another size");
	if (!ops->report)
		return refuse_opts(device, "no kernel interface gives it",
				   "ops->report is missing");
	if (!ops->bind != !ops->unbind)
		return refuse_opts(device, "", "ops->bind and ops->unbind go together");
	return 0;
}

/* What the kernel, as the context's profile describes it, cannot and the caller does not. */
static int check_supported(const struct pfnbuf_device *device,
			   const struct pfnbuf_profile_data *profile,
			   const struct pfnbuf_tsm_ops *ops)
{
	const bool binds = ops->bind || (profile && profile->bind != PFNBUF_TSM_NONE);
	const bool shows = ops->validate || (profile && profile->private_mmio != PFNBUF_MMIO_NONE);

	if (binds && shows)
		return 0;
	return pfnbuf_refused(
		-EOPNOTSUPP, "pfnbuf_bind_new", pfnbuf_device_name(device), NULL,
		profile && *profile->needs
			? profile->needs
			: "a kernel with a TSM bind call and private MMIO, and the profile that "
			  "describes it: pfnbuf_ctx_set_profile()",
		"not supported by this kernel: %s%s has no %s", profile ? "profile " : "",
		profile ? profile->name : "without a profile it",
		binds ? "private MMIO" : "way to bind a device");
}

static int check_ids(const struct pfnbuf_device *device, const struct pfnbuf_profile_data *profile,
		     const struct pfnbuf_bind_opts *opts)
{
	if (!opts->digest || !opts->digest_len || opts->digest_len > PFNBUF_TDI_DIGEST_MAX)
		return refuse_opts(device, "pages become private on evidence only",
				   "the attested digest is missing or too long");
	if (opts->vdevice_id && !opts->ops->bind && profile->bind == PFNBUF_TSM_VDEVICE_ALLOC)
		return refuse_opts(device, "give viommu_id and virt_id, or nothing",
				   "the profile binds by allocating the vDEVICE");
	return 0;
}

static int check_opts(struct pfnbuf_device *device, const struct pfnbuf_vm *vm,
		      const struct pfnbuf_profile_data *profile,
		      const struct pfnbuf_bind_opts *opts)
{
	int r;

	if (opts->size < sizeof(*opts))
		return refuse_opts(device, "set size to sizeof(struct pfnbuf_bind_opts)",
				   "opts->size is wrong");
	if (!vm)
		return refuse_opts(device, "", "there is no VM");
	if (!pfnbuf_device_is_bound(device))
		return refuse_opts(device, "call pfnbuf_device_bind() first",
				   "the device is not bound to an iommufd");
	r = check_ops(device, opts->ops);
	if (r >= 0)
		r = check_supported(device, profile, opts->ops);
	if (r >= 0)
		r = check_ids(device, profile, opts);
	if (r >= 0)
		r = check_windows(device, vm, opts);
	return r < 0 ? r : check_compile(device, opts);
}

static void free_bind(struct pfnbuf_bind *b)
{
	forget_report(b);
	pfnbuf_journal_clear(&b->journal);
	pfnbuf_vm_free(b->vm);
	pfnbuf_device_unref(b->device);
	free(b->windows);
	free(b->taken);
	free(b);
}

static struct pfnbuf_bind *allocate(struct pfnbuf_device *device, struct pfnbuf_vm *vm,
				    const struct pfnbuf_profile_data *profile,
				    const struct pfnbuf_bind_opts *opts)
{
	struct pfnbuf_bind *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->windows = calloc(opts->nr_windows, sizeof(struct pfnbuf_window *));
	b->taken = calloc(opts->nr_windows, sizeof(*b->taken));
	if (!b->windows || !b->taken) {
		free(b->windows);
		free(b->taken);
		free(b);
		return NULL;
	}
	b->hook = (struct pfnbuf_bind_hook){ unbind_hook, close_hook, error_hook };
	b->device = pfnbuf_device_ref(device);
	b->ctx = pfnbuf_device_ctx(device);
	b->kernel = pfnbuf_ctx_get_kernel(b->ctx);
	b->vm = pfnbuf_vm_ref(vm);
	b->profile = profile;
	b->ops = *opts->ops;
	b->ops_data = opts->ops_data;
	memcpy(b->windows, opts->windows, opts->nr_windows * sizeof(struct pfnbuf_window *));
	b->nr_windows = opts->nr_windows;
	if (opts->compile.size)
		b->compile = opts->compile;
	memcpy(b->digest, opts->digest, opts->digest_len);
	b->digest_len = opts->digest_len;
	b->given_vdevice = opts->vdevice_id;
	b->given_viommu = opts->viommu_id;
	b->virt_id = opts->virt_id;
	b->vcpu_fd = opts->vcpu_fd;
	return b;
}

int pfnbuf_bind_new(struct pfnbuf_device *device, struct pfnbuf_vm *vm,
		    const struct pfnbuf_bind_opts *opts, struct pfnbuf_bind **bindp)
{
	const struct pfnbuf_profile *profile = pfnbuf_ctx_profile(pfnbuf_device_ctx(device));
	const struct pfnbuf_profile_data *data = profile ? pfnbuf_profile_data(profile) : NULL;
	int r = check_opts(device, vm, data, opts);
	struct pfnbuf_bind *b;

	if (r < 0)
		return r;
	b = allocate(device, vm, data, opts);
	if (!b)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_bind_new", pfnbuf_device_name(device), NULL);
	pfnbuf_device_hold(device);
	r = pfnbuf_device_set_bind(device, &b->hook);
	pfnbuf_device_let_go(device);
	if (r < 0) {
		free_bind(b);
		return r;
	}
	*bindp = b;
	return 0;
}

static void end_bind(struct pfnbuf_bind *b)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);

	unlock_at_end(b, "pfnbuf_bind_free");
	pfnbuf_device_clear_bind(b->device, &b->hook);
	/* Nobody unbinds it any more: it stays what it may be. */
	pfnbuf_device_set_lent(b->device, b->bound ? PFNBUF_LEFT : PFNBUF_HOME);
	for (size_t i = 0; i < b->nr_windows && b->locked; i++)
		pfnbuf_window_give_back(b->windows[i]);
	/* A vDEVICE that may be bound is left to the kernel: destroying it could be another unbind. */
	if (!b->bound)
		destroy_objects(b);
}

struct pfnbuf_bind *pfnbuf_bind_free(struct pfnbuf_bind *b)
{
	struct pfnbuf_device *device;

	if (!b)
		return NULL;
	/* The gate is released before the last reference to what it is in is. */
	device = pfnbuf_device_ref(b->device);
	end_bind(b);
	free_bind(b);
	pfnbuf_device_unref(device);
	return NULL;
}

/* ---------------------------------------------------------------- looking ------------------- */

void pfnbuf_bind_get_info(struct pfnbuf_bind *b, struct pfnbuf_bind_info *info)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);
	uint64_t by_slots = 0, validated = 0;

	*info = (struct pfnbuf_bind_info){
		.state = b->state,
		.bound = b->bound,
		.quarantined = b->quarantined,
		.vdevice_id = b->vdevice.id,
		.viommu_id = b->viommu.id,
		.generation = b->generation,
	};
	for (size_t i = 0; b->locked && i < b->nr_windows; i++)
		pfnbuf_window_count_shown(b->windows[i], &info->shared_bytes, &by_slots);
	for (size_t i = 0; i < b->nr_valid; i++)
		validated += b->runs[i].length;
	info->private_bytes = has_slots(b) ? by_slots : validated;
	pfnbuf_copy_text(info->reason, sizeof(info->reason), b->reason);
}

const struct pfnbuf_tdi_layouts *pfnbuf_bind_get_layouts(struct pfnbuf_bind *b)
{
	cleanup_gate struct pfnbuf_device *gate = held(b);

	return b->layouts;
}

/* ---------------------------------------------------------------- printing ------------------ */

static void plan_lock(struct pfnbuf_bind *b, struct pfnbuf_journal *plan)
{
	const bool objects = binds_by_profile(b) || validates_by_profile(b);

	for (size_t i = b->nr_windows; i; i--)
		pfnbuf_window_plan_withdraw(b->windows[i - 1], plan);
	if (objects && !b->given_vdevice && !b->given_viommu) {
		pfnbuf_journal_add(plan, PFNBUF_STEP_ALLOC, "nest parent", NULL,
				   "the guest's IOMMU stands on it");
		pfnbuf_journal_add(plan, PFNBUF_STEP_ALLOC, "vIOMMU", NULL, "the guest's IOMMU");
	}
	if (objects && !b->given_vdevice && !binds_by_allocation(b))
		pfnbuf_journal_add(plan, PFNBUF_STEP_ALLOC, "vDEVICE", NULL,
				   "the device as the guest sees it");
	pfnbuf_journal_add(plan, PFNBUF_STEP_BIND, name_of(b), NULL,
			   "the device is the guest's from now on");
}

static void plan_run(struct pfnbuf_bind *b, struct pfnbuf_journal *plan)
{
	if (b->ops.start)
		pfnbuf_journal_add(plan, PFNBUF_STEP_START, name_of(b), NULL,
				   "from CONFIG_LOCKED to RUN");
	pfnbuf_journal_add(plan, PFNBUF_STEP_REPORT, name_of(b), NULL,
			   "it names the pages that become private");
	pfnbuf_journal_add(plan, PFNBUF_STEP_REPORT, name_of(b), NULL,
			   "it must be the same when its pages are placed");
	pfnbuf_journal_add(plan, PFNBUF_STEP_EXPORT, name_of(b), NULL,
			   "its runs, as the report will have them, are placed");
}

static void plan_unlock(struct pfnbuf_bind *b, struct pfnbuf_journal *plan)
{
	const bool stay = mappings_stay(b);

	if (b->bound && stay)
		pfnbuf_journal_add(plan, PFNBUF_STEP_UNBIND, name_of(b), NULL,
				   "the device is the guest's no more");
	for (size_t i = b->nr_windows; i; i--)
		pfnbuf_window_plan_withdraw(b->windows[i - 1], plan);
	if (b->bound && !stay)
		pfnbuf_journal_add(plan, PFNBUF_STEP_UNBIND, name_of(b), NULL,
				   "the device is the guest's no more");
}

/* What was done, and what comes next. */
static void copy_journal(const struct pfnbuf_bind *b, struct pfnbuf_journal *copy)
{
	for (size_t i = 0; i < b->journal.nr; i++)
		pfnbuf_journal_copy(copy, &b->journal, i);
	copy->lost += b->journal.lost;
}

static size_t print(struct pfnbuf_bind *b, char *buf, size_t size,
		    size_t (*fn)(const struct pfnbuf_journal *, char *, size_t))
{
	cleanup_gate struct pfnbuf_device *gate = held(b);
	struct pfnbuf_journal all = { .nr = 0 };
	size_t length;

	copy_journal(b, &all);
	if (!b->quarantined && !b->dead) {
		if (!b->locked)
			plan_lock(b, &all);
		else if (b->state == PFNBUF_TDI_CONFIG_LOCKED)
			plan_run(b, &all);
		else
			plan_unlock(b, &all);
	}
	length = fn(&all, buf, size);
	pfnbuf_journal_clear(&all);
	return length;
}

size_t pfnbuf_bind_print(struct pfnbuf_bind *b, char *buf, size_t size)
{
	return print(b, buf, size, pfnbuf_journal_print);
}

size_t pfnbuf_bind_print_json(struct pfnbuf_bind *b, char *buf, size_t size)
{
	return print(b, buf, size, pfnbuf_journal_print_json);
}
