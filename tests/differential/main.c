/* SPDX-License-Identifier: MIT */
/*
 * Differential histories: random kernel calls, each made in two worlds, its outcome compared. The
 * worlds are the simulated kernel and the running one; or, where there is no such machine, two
 * simulated ones, one of them with a planted error, to show that a difference would be found.
 *
 * The first difference is shrunk to a history from which no operation can be left out, and printed.
 */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pfnbuf-sim.h>

#include "libpfnbuf/kernel.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/pci.h"
#include "libpfnbuf/uapi/vfio.h"

#define MAX_LENGTH 400

struct options {
	uint64_t seed;
	uint64_t calls;
	unsigned length;  /* of one history */
	int plant;	  /* error to plant in the first world; 0: none */
	bool linux_world; /* the second world is the running kernel */
};

/* The devices of the test machine (tests/vm/run.sh), and how the simulated kernel has them. */
static const struct {
	unsigned nth; /* of its kind there */
	unsigned bar;
	struct pfnbuf_sim_device spec;
} machine[NR_DEVICES] = {
	{ .nth = 0,
	  .bar = 2,
	  .spec = { .bdf = "0000:00:05.0",
		    .vendor = 0x1af4,
		    .device = 0x1110,
		    .bars = { [0] = { 256, 0 },
			      [2] = { 0x400000,
				      PFNBUF_SIM_BAR_64 | PFNBUF_SIM_BAR_PREFETCHABLE } } } },
	{ .nth = 0,
	  .bar = 0,
	  .spec = { .bdf = "0000:00:04.0",
		    .vendor = 0x1234,
		    .device = 0x11e8,
		    .bars = { [0] = { 0x100000, 0 } } } },
	{ .nth = 0,
	  .bar = 0,
	  .spec = { .bdf = "0000:01:00.0",
		    .vendor = 0x1b36,
		    .device = 0x0010,
		    .flags = PFNBUF_SIM_FLR | PFNBUF_SIM_PM,
		    .hot_reset_set = 2,
		    .bars = { [0] = { 0x4000, PFNBUF_SIM_BAR_64 } },
		    .msix_vectors = 65,
		    .msix_table = 0x2000,
		    .msix_pba = 0x3000 } },
	/* Two functions of one slot. */
	{ .nth = 2,
	  .bar = 2,
	  .spec = { .bdf = "0000:02:00.0",
		    .vendor = 0x1af4,
		    .device = 0x1110,
		    .hot_reset_set = 1,
		    .iommu_group = 1,
		    .bars = { [0] = { 256, 0 },
			      [2] = { 0x100000,
				      PFNBUF_SIM_BAR_64 | PFNBUF_SIM_BAR_PREFETCHABLE } } } },
	{ .nth = 3,
	  .bar = 2,
	  .spec = { .bdf = "0000:02:00.1",
		    .vendor = 0x1af4,
		    .device = 0x1110,
		    .hot_reset_set = 1,
		    .iommu_group = 1,
		    .bars = { [0] = { 256, 0 },
			      [2] = { 0x100000,
				      PFNBUF_SIM_BAR_64 | PFNBUF_SIM_BAR_PREFETCHABLE } } } },
};

static int fail(const char *what, int r)
{
	fprintf(stderr, "%s: %s\n", what, pfnbuf_errno_name(r));
	return r;
}

/* ---------------------------------------------------------------- worlds -------------------- */

static int read_id(const char *bdf, const char *file, unsigned *id)
{
	char path[128], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdf, file);
	fd = k_open(pfnbuf_kernel_running(), path, O_RDONLY);
	if (fd < 0)
		return fd;
	k_read(pfnbuf_kernel_running(), fd, text, sizeof(text) - 1);
	k_close(pfnbuf_kernel_running(), fd);
	*id = (unsigned)strtoul(text, NULL, 16);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The nth device of a kind on the running kernel, in order of address. */
static int find_device(unsigned vendor, unsigned device, unsigned nth, char bdf[16])
{
	char names[4096];
	const char *sorted[256];
	size_t n = 0;
	ssize_t used =
		k_list(pfnbuf_kernel_running(), "/sys/bus/pci/devices", names, sizeof(names));

	for (ssize_t at = 0; at < used && n < 256; at += (ssize_t)strlen(names + at) + 1)
		sorted[n++] = names + at;
	qsort(sorted, n, sizeof(*sorted), compare_names);
	for (size_t i = 0; i < n; i++) {
		unsigned v = 0, d = 0;

		if (read_id(sorted[i], "vendor", &v) < 0 || read_id(sorted[i], "device", &d) < 0)
			continue;
		if (v == vendor && d == device && nth-- == 0) {
			snprintf(bdf, 16, "%.15s", sorted[i]);
			return 0;
		}
	}
	return -ENODEV;
}

/* A device's configuration space can be read once the device is bound. */
static int scan_device(struct world *w, unsigned i)
{
	struct device *d = &w->devices[i];
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct vfio_device_info info = { .argsz = sizeof(info) };
	char path[128], names[256];
	uint8_t config[256];
	int iommufd, fd, r;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", d->bdf);
	if (k_list(w->kernel, path, names, sizeof(names)) <= 0)
		return fail(d->bdf, -ENODEV);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%.64s", names);
	iommufd = k_open(w->kernel, "/dev/iommu", O_RDWR | O_CLOEXEC);
	fd = k_open(w->kernel, path, O_RDWR | O_CLOEXEC);
	bind.iommufd = iommufd;
	r = k_ioctl(w->kernel, fd, VFIO_DEVICE_BIND_IOMMUFD, &bind);
	if (r >= 0)
		r = k_ioctl(w->kernel, fd, VFIO_DEVICE_GET_INFO, &info);
	if (r >= 0)
		r = (int)k_pread(w->kernel, fd, config, sizeof(config),
				 (uint64_t)VFIO_PCI_CONFIG_REGION_INDEX << 40);
	k_close(w->kernel, fd);
	k_close(w->kernel, iommufd);
	if (r < 0)
		return fail(d->bdf, r);
	d->resets = info.flags & VFIO_DEVICE_FLAGS_RESET;
	if (!(config[PCI_STATUS] & PCI_STATUS_CAP_LIST))
		return 0;
	for (unsigned at = config[PCI_CAPABILITY_LIST]; at; at = config[at + 1]) {
		if (config[at] == PCI_CAP_ID_PM)
			d->pm = at;
		else if (config[at] == PCI_CAP_ID_EXP)
			d->exp = at;
	}
	return 0;
}

static int init_linux(struct world *w)
{
	*w = (struct world){ .name = "linux", .kernel = pfnbuf_kernel_running() };
	for (unsigned i = 0; i < NR_DEVICES; i++) {
		const struct pfnbuf_sim_device *spec = &machine[i].spec;
		int r = find_device(spec->vendor, spec->device, machine[i].nth, w->devices[i].bdf);

		if (r < 0)
			return fail("no such device in this machine", r);
		w->devices[i].bar = machine[i].bar;
		r = scan_device(w, i);
		if (r < 0)
			return r;
	}
	return world_init(w);
}

static int init_sim(struct world *w, const char *name, int plant, struct pfnbuf_sim **simp)
{
	int r = pfnbuf_sim_new(simp);

	if (r < 0)
		return r;
	*w = (struct world){ .name = name, .kernel = pfnbuf_sim_kernel(*simp) };
	for (unsigned i = 0; i < NR_DEVICES; i++) {
		r = pfnbuf_sim_add_device(*simp, &machine[i].spec);
		if (r < 0)
			return fail(machine[i].spec.bdf, r);
		snprintf(w->devices[i].bdf, sizeof(w->devices[i].bdf), "%s", machine[i].spec.bdf);
		w->devices[i].bar = machine[i].bar;
		r = scan_device(w, i);
		if (r < 0)
			return r;
	}
	if (plant)
		pfnbuf_sim_plant_error(*simp, (enum pfnbuf_sim_error)plant);
	return world_init(w);
}

/* What the platform's IOMMU lets through is a property of the machine: the simulated one gets it. */
static int adopt_iova_ranges(struct world *from, struct pfnbuf_sim *sim)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct iommu_iova_range ranges[8] = { { 0 } };
	struct iommu_ioas_iova_ranges query = { .size = sizeof(query), .num_iovas = 8 };
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct vfio_device_attach_iommufd_pt attach = { .argsz = 12 };
	const struct pfnbuf_kernel *k = from->kernel;
	char path[128], names[256];
	int iommufd, fd, r;

	iommufd = k_open(k, "/dev/iommu", O_RDWR | O_CLOEXEC);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", from->devices[0].bdf);
	k_list(k, path, names, sizeof(names));
	snprintf(path, sizeof(path), "/dev/vfio/devices/%.64s", names);
	fd = k_open(k, path, O_RDWR | O_CLOEXEC);
	bind.iommufd = iommufd;
	r = k_ioctl(k, fd, VFIO_DEVICE_BIND_IOMMUFD, &bind);
	if (r >= 0)
		r = k_ioctl(k, iommufd, IOMMU_IOAS_ALLOC, &alloc);
	attach.pt_id = query.ioas_id = alloc.out_ioas_id;
	if (r >= 0)
		r = k_ioctl(k, fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
	query.allowed_iovas = (uintptr_t)ranges;
	if (r >= 0)
		r = k_ioctl(k, iommufd, IOMMU_IOAS_IOVA_RANGES, &query);
	k_close(k, fd);
	k_close(k, iommufd);
	if (r < 0)
		return fail("the running kernel's IOVA ranges", r);
	return pfnbuf_sim_set_iova_bits(
		sim, 64U - (unsigned)__builtin_clzll(ranges[query.num_iovas - 1].last));
}

/* ---------------------------------------------------------------- comparing ----------------- */

struct difference {
	size_t at; /* the operation */
	struct outcome outcome[2];
};

/* Calls so far, and those of them that were not refused: a history of refusals would prove little. */
struct tally {
	uint64_t calls, succeeded;
};

static bool same(const struct outcome *a, const struct outcome *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* Runs a history from nothing in both worlds. Returns whether they differ. */
static bool differ(struct world worlds[2], const struct op *ops, size_t n, struct difference *d,
		   struct tally *tally)
{
	bool found = false;

	for (size_t i = 0; i < n && !found; i++) {
		for (int w = 0; w < 2; w++)
			d->outcome[w] = op_run(&worlds[w], &ops[i]);
		d->at = i;
		found = !same(&d->outcome[0], &d->outcome[1]);
		tally->calls++;
		tally->succeeded += d->outcome[1].ret >= 0;
	}
	for (int w = 0; w < 2; w++)
		world_reset(&worlds[w]);
	return found;
}

/* Leaves out ever smaller pieces, as long as the worlds still differ; returns the new length. */
static size_t shrink(struct world worlds[2], struct op *ops, size_t n, struct difference *d)
{
	struct op shorter[MAX_LENGTH];
	struct tally ignored;

	n = d->at + 1;
	for (size_t piece = n / 2 ? n / 2 : 1; piece; piece /= 2) {
		for (size_t at = 0; at < n;) {
			size_t end = at + piece < n ? at + piece : n;
			struct difference found;

			memcpy(shorter, ops, at * sizeof(*ops));
			memcpy(shorter + at, ops + end, (n - end) * sizeof(*ops));
			if (n > end - at &&
			    differ(worlds, shorter, n - (end - at), &found, &ignored)) {
				n = found.at + 1;
				memcpy(ops, shorter, n * sizeof(*ops));
				*d = found;
			} else {
				at = end;
			}
		}
	}
	return n;
}

static void print_outcome(const struct world *w, const struct outcome *o)
{
	printf("  %-6s %s%" PRId64 " 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64 "\n",
	       w->name, o->ret < 0 ? pfnbuf_errno_name((int)o->ret) : "", o->ret, o->out[0],
	       o->out[1], o->out[2], o->out[3]);
}

static void print_difference(struct world worlds[2], const struct op *ops, size_t n,
			     const struct difference *d)
{
	char text[256];

	printf("a difference after %zu calls:\n", n);
	for (size_t i = 0; i < n; i++) {
		op_print(&ops[i], text, sizeof(text));
		printf("  %2zu %s\n", i + 1, text);
	}
	for (int w = 0; w < 2; w++)
		print_outcome(&worlds[w], &d->outcome[w]);
}

/* The history with this seed. */
static void draw_history(uint64_t seed, struct op *ops, size_t n)
{
	/* One in four begins with nothing. */
	size_t i = seed % 4 ? op_prelude(ops, n) : 0;

	for (; i < n; i++)
		ops[i] = op_random(&seed);
}

/* A run of many minutes says that it goes on. */
static void say_progress(const struct tally *tally)
{
	static uint64_t said;

	if (tally->calls - said < 100000)
		return;
	said = tally->calls;
	printf("%" PRIu64 " calls, no difference so far\n", said);
	fflush(stdout);
}

/* Returns the length of the shrunk history that shows the first difference, or 0. */
static size_t compare(struct world worlds[2], const struct options *o, struct tally *tally)
{
	struct op ops[MAX_LENGTH];
	struct difference d;

	for (uint64_t history = 0; tally->calls < o->calls; history++) {
		draw_history(o->seed + history, ops, o->length);
		if (!differ(worlds, ops, o->length, &d, tally)) {
			say_progress(tally);
			continue;
		}
		printf("seed %" PRIu64 ": ", o->seed + history);
		size_t n = shrink(worlds, ops, o->length, &d);
		print_difference(worlds, ops, n, &d);
		return n;
	}
	return 0;
}

/* ---------------------------------------------------------------- the program --------------- */

static int usage(void)
{
	fprintf(stderr, "usage: differential [--linux] [--plant ERROR] [--seed N] [--calls N] "
			"[--length N]\n");
	return 2;
}

static int parse(int argc, char **argv, struct options *o)
{
	for (int i = 1; i < argc; i++) {
		uint64_t value;

		if (!strcmp(argv[i], "--linux")) {
			o->linux_world = true;
			continue;
		}
		if (i + 1 == argc)
			return usage();
		value = strtoull(argv[i + 1], NULL, 0);
		if (!strcmp(argv[i], "--plant"))
			o->plant = (int)value;
		else if (!strcmp(argv[i], "--seed"))
			o->seed = value;
		else if (!strcmp(argv[i], "--calls"))
			o->calls = value;
		else if (!strcmp(argv[i], "--length") && value && value <= MAX_LENGTH)
			o->length = (unsigned)value;
		else
			return usage();
		i++;
	}
	return 0;
}

/* With a planted error the difference is what is wanted, shrunk to under ten calls. */
static int verdict(const struct options *o, size_t shrunk)
{
	if (o->plant)
		return shrunk > 0 && shrunk < 10 ? 0 : 1;
	return shrunk ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct options o = { .seed = 1, .calls = 100000, .length = 200 };
	struct pfnbuf_sim *sims[2] = { NULL, NULL };
	struct world worlds[2];
	struct tally tally = { 0 };
	size_t shrunk;
	int r = parse(argc, argv, &o);

	if (r)
		return r;
	r = init_sim(&worlds[0], "sim", o.plant, &sims[0]);
	if (r >= 0)
		r = o.linux_world ? init_linux(&worlds[1])
				  : init_sim(&worlds[1], "sim", 0, &sims[1]);
	if (r >= 0 && o.linux_world)
		r = adopt_iova_ranges(&worlds[1], sims[0]);
	if (r < 0)
		return 1;
	shrunk = compare(worlds, &o, &tally);
	printf("differential: seed %" PRIu64 ", %" PRIu64 " calls (%" PRIu64
	       " succeeded), %d difference%s\n",
	       o.seed, tally.calls, tally.succeeded, shrunk ? 1 : 0, shrunk ? "" : "s");
	for (int i = 0; i < 2; i++) {
		world_fini(&worlds[i]);
		pfnbuf_sim_free(sims[i]);
	}
	return verdict(&o, shrunk);
}
