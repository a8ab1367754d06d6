/* SPDX-License-Identifier: MIT */
/*
 * What the rooms of a bind share: bind.c is the order of its steps and its state, bind_make.c how it
 * comes to be, bind_tsm.c how the device is bound and its pages become private, bind_report.c what the
 * device says of itself. Nobody else looks into it. All of them run with the device's gate held.
 */
#ifndef PFNBUF_BIND_H
#define PFNBUF_BIND_H

#include "private.h"

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
	struct pfnbuf_vm *vm;			   /* a reference */
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

static inline const char *name_of(const struct pfnbuf_bind *b)
{
	return pfnbuf_device_name(b->device);
}

static inline bool binds_by_profile(const struct pfnbuf_bind *b)
{
	return !b->ops.bind;
}

static inline bool validates_by_profile(const struct pfnbuf_bind *b)
{
	return !b->ops.validate && b->profile->private_mmio == PFNBUF_MMIO_VALIDATE;
}

static inline bool has_slots(const struct pfnbuf_bind *b)
{
	return !b->ops.validate && !validates_by_profile(b);
}

static inline bool binds_by_allocation(const struct pfnbuf_bind *b)
{
	return binds_by_profile(b) && b->profile->bind == PFNBUF_TSM_VDEVICE_ALLOC;
}

static inline bool mappings_stay(const struct pfnbuf_bind *b)
{
	return binds_by_profile(b) && b->profile->mappings_stay;
}

static inline bool has_bars(const struct pfnbuf_tdi_compile_opts *opts)
{
	for (unsigned i = 0; i < 6; i++)
		if (opts->bars[i].size || opts->bars[i].address || opts->bars[i].flags)
			return true;
	return false;
}

/* A report as ops->report gave it. */
struct bind_report {
	uint8_t *data;
	size_t length;
	struct pfnbuf_tdi_evidence evidence;
};

static inline void cleanup_report_free(struct bind_report *report)
{
	free(report->data);
}

#define cleanup_report __attribute__((cleanup(cleanup_report_free)))

/* bind.c */
extern const struct pfnbuf_bind_hook pfnbuf_bind_hooks;

/* bind_make.c: free what it holds. */
void pfnbuf_bind_release(struct pfnbuf_bind *b);

/*
 * bind_tsm.c. Steps go into the journal. Where the outcome of one cannot be known it returns
 * PFNBUF_TSM_UNKNOWN; a negative errno says that nothing was done.
 */
size_t pfnbuf_bind_begin_step(struct pfnbuf_bind *b, enum pfnbuf_step_kind kind, const char *object,
			      const struct pfnbuf_range *range, const char *reason);
int pfnbuf_bind_end_step(struct pfnbuf_bind *b, size_t step, int r);
/* What the caller's function returned, of which the last error speaks then. */
int pfnbuf_bind_judge_op(const struct pfnbuf_bind *b, int r, const char *call);
/* What stands for the guest's view of the device. On failure some may be left to destroy. */
int pfnbuf_bind_make_objects(struct pfnbuf_bind *b);
void pfnbuf_bind_destroy_objects(struct pfnbuf_bind *b);
int pfnbuf_bind_tdi(struct pfnbuf_bind *b);
int pfnbuf_bind_unbind_tdi(struct pfnbuf_bind *b);
/* Where the caller does it. 0 also where nobody knows: the evidence says. */
int pfnbuf_bind_start_tdi(struct pfnbuf_bind *b);
int pfnbuf_bind_bring_private(struct pfnbuf_bind *b);
int pfnbuf_bind_take_private(struct pfnbuf_bind *b);
int pfnbuf_bind_note_runs(struct pfnbuf_bind *b, const struct pfnbuf_window_part *part,
			  const struct pfnbuf_layout *layout);
void pfnbuf_bind_forget_runs(struct pfnbuf_bind *b);

/* bind_report.c. -EAGAIN: it is not there yet. */
int pfnbuf_bind_read_report(struct pfnbuf_bind *b, struct bind_report *report, const char *reason);
/* Judge it, compile it, and read it again. */
int pfnbuf_bind_learn_layouts(struct pfnbuf_bind *b, const struct bind_report *first);
void pfnbuf_bind_forget_report(struct pfnbuf_bind *b);

#endif /* PFNBUF_BIND_H */
