/* SPDX-License-Identifier: MIT */
/*
 * usage: conformance (--sim | --kernel) [--verbose] [--complete]
 *                    [--plain=BDF] [--flr=BDF] [--no-reset=BDF]
 *                    [--only=TEXT]
 *        conformance --list | --markdown
 *
 * Run the conformance cases over the simulated kernel or over the running one. Devices that are
 * not named are looked for among those bound to vfio-pci. --only: cases whose name is the text, or
 * whose rule contains it. --complete: a case that has no device or feature here fails.
 *
 * Exit status: 0 all passed, 1 one failed, 2 wrong usage, 77 the kernel has nothing to test.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <pfnbuf-sim.h>

#include "conf.h"

static const struct conf_table *const tables[] = {
	&conf_iommufd,	   &conf_ioas,	  &conf_file,	    &conf_device,
	&conf_config,	   &conf_feature, &conf_revocation, &conf_kvm,
	&conf_guest_memfd, &conf_machine, &conf_selftest,
};

struct run {
	const struct pfnbuf_kernel *kernel;
	struct pfnbuf_sim *sim;
	struct conf_device devices[NR_ROLES];
	unsigned has;
	bool verbose, complete;
	const char *only;
	unsigned passed, failed, skipped;
};

/* ------------------------------------------------------------------------- machine */

/* Devices as the virtual machine of the VM tier has them. */
static int fill_machine(struct pfnbuf_sim *sim)
{
	static const struct pfnbuf_sim_device specs[] = {
		{ .bdf = "0000:00:04.0",
		  .vendor = 0x1234,
		  .device = 0x11e8,
		  .bars = { { 1 << 20, 0 } } },
		{ .bdf = "0000:00:05.0",
		  .vendor = 0x1af4,
		  .device = 0x1110,
		  .bars = { { 256, 0 },
			    { 0, 0 },
			    { 4 << 20, PFNBUF_SIM_BAR_64 | PFNBUF_SIM_BAR_PREFETCHABLE } } },
		{ .bdf = "0000:01:00.0",
		  .vendor = 0x1b36,
		  .device = 0x0010,
		  .flags = PFNBUF_SIM_FLR | PFNBUF_SIM_PM,
		  .hot_reset_set = 3,
		  .bars = { { 16 << 10, PFNBUF_SIM_BAR_64 } },
		  .msix_vectors = 65,
		  .msix_table = 0x2000,
		  .msix_pba = 0x3000 },
		{ .bdf = "0000:02:00.0",
		  .vendor = 0x1af4,
		  .device = 0x1110,
		  .hot_reset_set = 1,
		  .iommu_group = 1,
		  .bars = { { 256, 0 },
			    { 0, 0 },
			    { 1 << 20, PFNBUF_SIM_BAR_64 | PFNBUF_SIM_BAR_PREFETCHABLE } } },
		{ .bdf = "0000:02:00.1",
		  .vendor = 0x1af4,
		  .device = 0x1110,
		  .hot_reset_set = 1,
		  .iommu_group = 1,
		  .bars = { { 256, 0 },
			    { 0, 0 },
			    { 1 << 20, PFNBUF_SIM_BAR_64 | PFNBUF_SIM_BAR_PREFETCHABLE } } },
		{ .bdf = "0000:03:00.0",
		  .vendor = 0x1b36,
		  .device = 0x0005,
		  .hot_reset_set = 2,
		  .bars = { { 4096, 0 },
			    { 256, PFNBUF_SIM_BAR_IO },
			    { 64 << 10, PFNBUF_SIM_BAR_64 | PFNBUF_SIM_BAR_PREFETCHABLE } } },
	};

	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		int ret = pfnbuf_sim_add_device(sim, &specs[i]);

		if (ret)
			return ret;
	}
	return 0;
}

/* ----------------------------------------------------------------------- discovery */

static ssize_t read_text(const struct pfnbuf_kernel *k, const char *path, char *buf, size_t size)
{
	int fd = k->open(k->data, path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = k->read(k->data, fd, buf, size - 1);
	k->close(k->data, fd);
	if (n >= 0)
		buf[n] = 0;
	return n;
}

/* The node of the device at @bdf: false where it is not bound to VFIO or has none. */
static bool find_cdev(const struct pfnbuf_kernel *k, const char *bdf, char *cdev, size_t size)
{
	char path[128], names[256];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", bdf);
	if (k->list(k->data, path, names, sizeof(names)) <= 0)
		return false;
	snprintf(cdev, size, "/dev/vfio/devices/%.40s", names);
	return true;
}

struct candidate {
	struct conf_device device;
	unsigned vendor, id;
	bool can_reset, has_flr;
	uint32_t in_slot; /* devices that a hot reset reaches */
	bool taken;
};

static void look_at_bars(struct conf *c, int fd, struct conf_device *device)
{
	for (unsigned bar = 0; bar < 6; bar++) {
		struct vfio_region_info info = { .argsz = sizeof(info), .index = bar };

		if (conf_ioctl(c, fd, VFIO_DEVICE_GET_REGION_INFO, &info) ||
		    !(info.flags & VFIO_REGION_INFO_FLAG_MMAP) || info.size < 2 * PAGE)
			continue;
		device->bar = bar;
		device->bar_size = info.size;
		return;
	}
}

static void look_at(struct run *run, struct candidate *candidate)
{
	struct conf c = { .kernel = run->kernel };
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct {
		struct vfio_pci_hot_reset_info head;
		struct vfio_pci_dependent_device devices[8];
	} hot = { .head = { .argsz = sizeof(hot) } };
	int iommufd = conf_open(&c, "/dev/iommu", O_RDWR);
	int fd = conf_open(&c, candidate->device.cdev, O_RDWR);
	uint32_t devcap = 0;
	unsigned exp;

	if (iommufd >= 0 && fd >= 0 && !conf_bind(&c, fd, iommufd, NULL) &&
	    !conf_ioctl(&c, fd, VFIO_DEVICE_GET_INFO, &info)) {
		candidate->can_reset = info.flags & VFIO_DEVICE_FLAGS_RESET;
		look_at_bars(&c, fd, &candidate->device);
		exp = conf_capability(&c, fd, PCI_CAP_ID_EXP);
		if (exp && conf_config_read(&c, fd, exp + PCI_EXP_DEVCAP, &devcap, 4) == 4)
			candidate->has_flr = devcap & PCI_EXP_DEVCAP_FLR;
		if (!conf_ioctl(&c, fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &hot))
			candidate->in_slot = hot.head.count;
	}
	conf_close(&c, fd);
	conf_close(&c, iommufd);
}

static unsigned find_candidates(struct run *run, struct candidate *candidates, unsigned max)
{
	const struct pfnbuf_kernel *k = run->kernel;
	char names[4096], path[128], text[32];
	ssize_t n = k->list(k->data, "/sys/bus/pci/devices", names, sizeof(names));
	unsigned count = 0;

	for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
		struct candidate *one = &candidates[count];

		if (count == max || strlen(name) >= sizeof(one->device.bdf) ||
		    !find_cdev(k, name, one->device.cdev, sizeof(one->device.cdev)))
			continue;
		snprintf(one->device.bdf, sizeof(one->device.bdf), "%.15s", name);
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vendor", name);
		if (read_text(k, path, text, sizeof(text)) > 0)
			one->vendor = (unsigned)strtoul(text, NULL, 16);
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device", name);
		if (read_text(k, path, text, sizeof(text)) > 0)
			one->id = (unsigned)strtoul(text, NULL, 16);
		look_at(run, one);
		count++;
	}
	return count;
}

static void take(struct run *run, enum conf_role role, struct candidate *candidate)
{
	run->devices[role] = candidate->device;
	run->has |= 1U << role;
	candidate->taken = true;
}

static bool plays(const struct candidate *one, enum conf_role role)
{
	bool memory =
		one->vendor == 0x1af4 && one->id == 0x1110 && one->device.bar_size >= 64 << 10;

	switch (role) {
	case PLAIN:
		return memory && !one->in_slot;
	case FLR:
		return one->can_reset && one->has_flr && one->device.bar_size;
	case NO_RESET:
		return !one->can_reset && !one->in_slot && one->device.bar_size;
	case ALONE:
		return one->in_slot == 1 && !one->has_flr && one->device.bar_size;
	case PAIR:
	case PEER:
		return memory && one->in_slot == 2;
	default:
		return false;
	}
}

/* @named: addresses from the command line, or NULL. */
static void assign_roles(struct run *run, const char *const *named)
{
	struct candidate candidates[32] = { 0 };
	unsigned n = find_candidates(run, candidates, 32);

	for (unsigned role = 0; role < NR_ROLES; role++)
		for (unsigned i = 0; i < n && !(run->has & 1U << role); i++) {
			struct candidate *one = &candidates[i];

			if (one->taken)
				continue;
			if (named[role] ? !strcmp(named[role], one->device.bdf) : plays(one, role))
				take(run, role, one);
		}
}

static void look_at_kernel(struct run *run)
{
	const struct pfnbuf_kernel *k = run->kernel;
	int fd = k->open(k->data, "/dev/iommu", O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		struct iommu_test_cmd cmd = { .size = sizeof(cmd) };

		run->has |= NEED_IOMMUFD;
		/* Of an operation that there is none of: EOPNOTSUPP, where there are any. */
		if (k->ioctl(k->data, fd, IOMMU_TEST_CMD, &cmd) == -EOPNOTSUPP)
			run->has |= NEED_SELFTEST;
		k->close(k->data, fd);
	}
	fd = k->open(k->data, "/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	run->has |= NEED_KVM;
	if (k->ioctl(k->data, fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_VM_TYPES) &
	    1 << KVM_X86_SW_PROTECTED_VM)
		run->has |= NEED_PRIVATE;
	k->close(k->data, fd);
}

/* ------------------------------------------------------------------------- running */

/* A case is called by its table and its place there: "device-12". */
static void name_case(const struct conf_table *table, size_t i, char *name, size_t size)
{
	snprintf(name, size, "%s-%zu", table->name, i + 1);
}

static bool wanted(const struct run *run, const struct conf_case *one, const char *name)
{
	return !run->only || !strcmp(name, run->only) || strstr(one->rule, run->only);
}

static void run_case(struct run *run, const struct conf_table *table, size_t i)
{
	struct conf c = { .kernel = run->kernel, .devices = run->devices, .sim = run->sim };
	const struct conf_case *one = &table->cases[i];
	char name[32];

	name_case(table, i, name, sizeof(name));
	if (!wanted(run, one, name))
		return;
	if (one->needs & ~run->has) {
		*(run->complete ? &run->failed : &run->skipped) += 1;
		printf("%s %s %s: no device or feature for it here\n",
		       run->complete ? "FAIL" : "skip", name, one->rule);
		return;
	}
	one->run(&c, one->data);
	conf_clean_up(&c);
	if (c.failed)
		run->failed++;
	else
		run->passed++;
	if (c.failed || run->verbose)
		printf("%s %s %s (%s)\n", c.failed ? "FAIL" : "ok  ", name, one->rule, one->source);
	fflush(stdout);
}

static void list_cases(void)
{
	char name[32];

	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (size_t i = 0; i < tables[t]->n; i++) {
			name_case(tables[t], i, name, sizeof(name));
			printf("%s\t%s\t%s\n", name, tables[t]->cases[i].rule,
			       tables[t]->cases[i].source);
		}
}

static void print_needs(unsigned needs)
{
	static const struct {
		unsigned need;
		const char *name;
	} names[] = {
		{ 1 << PLAIN, "a BAR of memory" },
		{ 1 << FLR, "Function Level Reset" },
		{ 1 << NO_RESET, "no reset" },
		{ NEED_PAIR, "two devices in a slot" },
		{ 1 << ALONE, "alone in a slot" },
		{ NEED_PRIVATE, "private memory" },
		{ NEED_SELFTEST, "CONFIG_IOMMUFD_TEST" },
	};
	const char *separator = "";

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (needs & names[i].need) {
			printf("%s%s", separator, names[i].name);
			separator = ", ";
		}
}

/* Rules that were written down otherwise before Linux contradicted, and what is to be minded. */
static const struct {
	const char *rule, *note;
} notes[] = {
	{ "ATTACH as PASID 0 attaches the device, closing detaches it",
	  "Expected was EINVAL, as for any PASID where the IOMMU has none. VFIO hands the number on, "
	  "and to iommufd 0 (IOMMU_NO_PASID) is the device itself." },
	{ "ATTACH of PASID -EINVAL replaces what is not there: EINVAL, or why it cannot be mapped",
	  "Expected was ENOSPC, as for every PASID above INT_MAX. ida_exists() compares the number "
	  "with what it is told of a negative one, -EINVAL, and takes it for there." },
	{ "ATTACH as PASID 0 that cannot write pt_id back: EFAULT, and attached",
	  "Expected was that a failed call changes nothing. What is undone is the plain attachment, "
	  "whichever was made." },
	{ "with a device: MAP_FILE at the end of the 64-bit range: EINVAL",
	  "Expected was that the range is looked at like any other. Rounded up to pages its end is "
	  "0, before its start." },
	{ "low power with an eventfd: an access wakes the device, dma-bufs stay revoked",
	  "The device falls asleep some time after the call. An access that comes sooner finds it "
	  "awake, signals nothing and leaves it in low power; the simulated device sleeps at once." },
};

static const struct conf_case *find_rule(const char *rule, const struct conf_table **table,
					 size_t *i)
{
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (*i = 0; *i < tables[t]->n; (*i)++)
			if (!strcmp(tables[t]->cases[*i].rule, rule)) {
				*table = tables[t];
				return &tables[t]->cases[*i];
			}
	return NULL;
}

/* A note on a rule that is not there any more does not get by unseen. */
static int print_notes(void)
{
	printf("\n## Notes\n\n"
	       "Rules that Linux contradicted when they were first written down, and what is to be\n"
	       "minded with others.\n\n| Case | Rule | Note |\n| --- | --- | --- |\n");
	for (size_t n = 0; n < sizeof(notes) / sizeof(notes[0]); n++) {
		const struct conf_table *table;
		char name[32];
		size_t i;

		if (!find_rule(notes[n].rule, &table, &i)) {
			fprintf(stderr, "a note on no rule: %s\n", notes[n].rule);
			return 1;
		}
		name_case(table, i, name, sizeof(name));
		printf("| %s | %s | %s |\n", name, notes[n].rule, notes[n].note);
	}
	return 0;
}

/* The table of docs/conformance.md. */
static int print_markdown(void)
{
	size_t total = 0;

	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		total += tables[t]->n;
	printf("<!-- SPDX-License-Identifier: MIT -->\n# Conformance\n\n"
	       "The %zu rules of the kernel that the simulated kernel is held to, where Linux 7.3\n"
	       "makes them, and the case of `tests/conformance` that asks for each; its C file is\n"
	       "named after the heading, and `conformance --sim --only=CASE` runs it alone. Every one\n"
	       "runs over the simulated kernel (`./dev test`) and over Linux 7.3.4 in a virtual\n"
	       "machine (`./dev test --vm t50_conformance`), and neither may leave one out. What a\n"
	       "machine needs for it besides /dev/iommu or /dev/kvm is in the last column.\n\n"
	       "`conformance --markdown` makes this file; a test compares the two.\n",
	       total);
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
		printf("\n## %s (%zu)\n\n| Case | Rule | Source | Runs on | Needs |\n"
		       "| --- | --- | --- | --- | --- |\n",
		       tables[t]->name, tables[t]->n);
		for (size_t i = 0; i < tables[t]->n; i++) {
			const struct conf_case *one = &tables[t]->cases[i];
			char name[32];

			name_case(tables[t], i, name, sizeof(name));
			printf("| %s | %s | %s | sim, Linux | ", name, one->rule, one->source);
			print_needs(one->needs);
			printf(" |\n");
		}
	}
	return print_notes();
}

static int run_all(struct run *run, const char *kind, const char *const *named)
{
	static const char *const parts[NR_ROLES] = { "plain", "flr",  "no-reset",
						     "alone", "pair", "peer" };

	look_at_kernel(run);
	if (!(run->has & (NEED_IOMMUFD | NEED_KVM))) {
		printf("conformance %s: this kernel has neither /dev/iommu nor /dev/kvm\n", kind);
		return 77;
	}
	if (run->has & NEED_IOMMUFD)
		assign_roles(run, named);
	for (unsigned role = 0; role < NR_ROLES; role++)
		printf("%s: %s\n", parts[role],
		       run->has & 1U << role ? run->devices[role].bdf : "none");
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (size_t i = 0; i < tables[t]->n; i++)
			run_case(run, tables[t], i);
	if (run->skipped)
		printf("conformance %s: %u skipped\n", kind, run->skipped);
	printf("conformance %s: %u passed, %u failed\n", kind, run->passed, run->failed);
	return run->failed ? 1 : 0;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: conformance (--sim | --kernel) [--verbose] [--complete] [--only=TEXT]\n"
		"                   [--plain=BDF] [--flr=BDF] [--no-reset=BDF]\n"
		"       conformance --list | --markdown\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "sim", no_argument, NULL, 's' },
		{ "kernel", no_argument, NULL, 'k' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "complete", no_argument, NULL, 'c' },
		{ "list", no_argument, NULL, 'l' },
		{ "markdown", no_argument, NULL, 'm' },
		{ "only", required_argument, NULL, 'o' },
		{ "plain", required_argument, NULL, 'p' },
		{ "flr", required_argument, NULL, 'f' },
		{ "no-reset", required_argument, NULL, 'n' },
		{ NULL, 0, NULL, 0 },
	};
	const char *named[NR_ROLES] = { NULL };
	struct run run = { 0 };
	struct pfnbuf_sim *sim = NULL;
	int kind = 0;
	int option, ret;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 's':
		case 'k':
			kind = option;
			break;
		case 'v':
			run.verbose = true;
			break;
		case 'c':
			run.complete = true;
			break;
		case 'l':
			list_cases();
			return 0;
		case 'm':
			return print_markdown();
		case 'o':
			run.only = optarg;
			break;
		case 'p':
			named[PLAIN] = optarg;
			break;
		case 'f':
			named[FLR] = optarg;
			break;
		case 'n':
			named[NO_RESET] = optarg;
			break;
		default:
			return usage();
		}
	}
	if (!kind || optind < argc)
		return usage();
	run.kernel = pfnbuf_kernel_running();
	if (kind == 's') {
		ret = pfnbuf_sim_new(&sim);
		if (!ret)
			ret = fill_machine(sim);
		if (ret) {
			fprintf(stderr, "cannot make a simulated kernel: %s\n",
				pfnbuf_errno_name(ret));
			return 1;
		}
		pfnbuf_sim_set_selftest(sim, PFNBUF_SIM_SELFTEST);
		run.kernel = pfnbuf_sim_kernel(sim);
		run.sim = sim;
	}
	ret = run_all(&run, sim ? "sim" : "linux", named);
	pfnbuf_sim_free(sim);
	return ret;
}
