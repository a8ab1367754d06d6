/* SPDX-License-Identifier: MIT */
/*
 * How a bind comes to be: what can be said of it before anything is done.
 */
#include <inttypes.h>

#include "bind.h"
#include "tdi.h"

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

void pfnbuf_bind_release(struct pfnbuf_bind *b)
{
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
	b->hook = pfnbuf_bind_hooks;
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
		pfnbuf_bind_release(b);
		return r;
	}
	*bindp = b;
	return 0;
}
