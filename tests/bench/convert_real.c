/* SPDX-License-Identifier: MIT */
/*
 * Conversions on the kernel that runs, and a bare loop of the same calls on memory just like it in
 * the same VM and IOAS, in turns: what disturbs the one disturbs the other.
 */
#include "convert.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"

#define PUNCH	  (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define MAP_FLAGS (IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)
#define MAX_NR	  256 /* ranges */
#define SAMPLES	  512
#define ROUNDS	  11

struct machine {
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_device *device;
	struct pfnbuf_ioas *ioas; /* NULL: this kernel has none */
	struct pfnbuf_vm *vm;
	int iommufd;
	double worst;
};

/* RAM in two places. */
struct ram {
	struct machine *m;
	struct pfnbuf_buf *memfd, *guest_memfd;
	void *addr;
	uint64_t at;		 /* guest physical and I/O virtual */
	uint64_t size;		 /* of a range */
	uint64_t nr;		 /* of them */
	struct pfnbuf_window *w; /* NULL: of the bare loop */
	uint32_t slot;
};

/* ---------------------------------------------------------------- a bare loop --------------- */

static void call(int fd, unsigned long request, void *arg, const char *name)
{
	if (ioctl(fd, request, arg) >= 0)
		return;
	printf("not ok convert: %s of the bare loop: %s\n", name, pfnbuf_errno_name(errno));
	exit(1);
}

static void bare_unmap(const struct ram *ram, uint64_t offset)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap),
		.ioas_id = pfnbuf_ioas_get_id(ram->m->ioas),
		.iova = ram->at + offset,
		.length = ram->size,
	};

	call(ram->m->iommufd, IOMMU_IOAS_UNMAP, &unmap, "IOMMU_IOAS_UNMAP");
}

static void bare_map(const struct ram *ram, uint64_t offset)
{
	struct iommu_ioas_map_file map = {
		.size = sizeof(map),
		.flags = MAP_FLAGS,
		.ioas_id = pfnbuf_ioas_get_id(ram->m->ioas),
		.fd = pfnbuf_buf_get_fd(ram->memfd),
		.start = offset,
		.length = ram->size,
		.iova = ram->at + offset,
	};

	call(ram->m->iommufd, IOMMU_IOAS_MAP_FILE, &map, "IOMMU_IOAS_MAP_FILE");
}

static void bare_attributes(const struct ram *ram, uint64_t offset, uint64_t attributes)
{
	struct kvm_memory_attributes set = {
		.address = ram->at + offset,
		.size = ram->size,
		.attributes = attributes,
	};

	call(pfnbuf_vm_get_fd(ram->m->vm), KVM_SET_MEMORY_ATTRIBUTES, &set,
	     "KVM_SET_MEMORY_ATTRIBUTES");
}

static void bare_discard(const struct ram *ram, const struct pfnbuf_buf *buf, uint64_t offset)
{
	if (fallocate(pfnbuf_buf_get_fd(buf), PUNCH, (off_t)offset, (off_t)ram->size) >= 0)
		return;
	printf("not ok convert: fallocate of the bare loop: %s\n", pfnbuf_errno_name(errno));
	exit(1);
}

static void bare_turn(const struct ram *ram, uint64_t offset, enum pfnbuf_vis to)
{
	if (to == PFNBUF_PRIVATE) {
		if (ram->m->ioas)
			bare_unmap(ram, offset);
		bare_attributes(ram, offset, PFNBUF_ATTRIBUTE_PRIVATE);
	} else {
		bare_attributes(ram, offset, 0);
		if (ram->m->ioas)
			bare_map(ram, offset);
	}
}

static void bare_convert(const struct ram *ram, uint64_t offset, enum pfnbuf_vis to)
{
	bare_turn(ram, offset, to);
	bare_discard(ram, to == PFNBUF_PRIVATE ? ram->memfd : ram->guest_memfd, offset);
}

/* The calls of a batch in their order: nothing is given back before all has turned. */
static void bare_batch(const struct ram *ram, const struct pfnbuf_conversion *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		bare_turn(ram, list[i].offset, list[i].to);
	for (size_t i = 0; i < n; i++)
		bare_discard(ram, list[i].to == PFNBUF_PRIVATE ? ram->memfd : ram->guest_memfd,
			     list[i].offset);
}

static void convert(const struct ram *ram, uint64_t offset, enum pfnbuf_vis to)
{
	if (ram->w)
		CHECK(pfnbuf_window_convert(ram->w, offset, ram->size, to));
	else
		bare_convert(ram, offset, to);
}

/* ---------------------------------------------------------------- memory -------------------- */

static void open_window(struct ram *ram)
{
	const struct pfnbuf_ram what = {
		.memfd = ram->memfd,
		.length = ram->nr * ram->size,
		.addr = ram->addr,
		.guest_memfd = ram->guest_memfd,
	};
	const struct pfnbuf_place place = {
		.size = sizeof(place),
		.vm = ram->m->vm,
		.gpa = ram->at,
		.ioas = ram->m->ioas,
		.iova = ram->m->ioas ? ram->at : 0,
		.granule = ram->size,
	};

	CHECK(pfnbuf_window_new_ram(ram->m->ctx, &what, &place, &ram->w));
	CHECK(pfnbuf_window_set_range(ram->w, 0, what.length, PFNBUF_SHARED));
}

static void open_bare(struct ram *ram)
{
	const struct pfnbuf_slot slot = {
		.gpa = ram->at,
		.length = ram->nr * ram->size,
		.addr = ram->addr,
		.guest_memfd = ram->guest_memfd,
	};

	CHECK(pfnbuf_vm_set_slot(ram->m->vm, &slot, &ram->slot));
	for (uint64_t i = 0; ram->m->ioas && i < ram->nr; i++)
		bare_map(ram, i * ram->size);
}

static void ram_open(struct ram *ram, struct machine *m, uint64_t at, uint64_t size, bool bare)
{
	const uint64_t nr = size == PAGE ? MAX_NR : 32, length = nr * size;

	*ram = (struct ram){ .m = m, .at = at, .size = size, .nr = nr };
	CHECK(pfnbuf_buf_new_memfd(m->ctx, length, 0, &ram->memfd));
	CHECK(pfnbuf_buf_map(ram->memfd, 0, length, &ram->addr));
	CHECK(pfnbuf_buf_new_guest_memfd(m->vm, length, 0, &ram->guest_memfd));
	if (bare)
		open_bare(ram);
	else
		open_window(ram);
}

static void ram_close(struct ram *ram)
{
	pfnbuf_window_free(ram->w);
	for (uint64_t i = 0; !ram->w && ram->m->ioas && i < ram->nr; i++)
		bare_unmap(ram, i * ram->size);
	if (!ram->w)
		CHECK(pfnbuf_vm_delete_slot(ram->m->vm, ram->slot));
	CHECK(pfnbuf_buf_unmap(ram->memfd, ram->addr, ram->nr * ram->size));
	pfnbuf_buf_unref(ram->memfd);
	pfnbuf_buf_unref(ram->guest_memfd);
}

/* As if whoever has the range now had used it: there is something to discard. */
static void use(const struct ram *ram, uint64_t offset, enum pfnbuf_vis as)
{
	const struct pfnbuf_buf *buf = as == PFNBUF_SHARED ? ram->memfd : ram->guest_memfd;

	if (fallocate(pfnbuf_buf_get_fd(buf), FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)ram->size) < 0)
		abort();
}

/* ---------------------------------------------------------------- one thread ---------------- */

/* Every @step-th range, in no order. Returns how many. */
static size_t shuffle(const struct ram *ram, uint64_t *offsets, uint64_t step)
{
	const uint64_t n = ram->nr / step;

	for (uint64_t i = 0; i < n; i++)
		offsets[i] = i * step * ram->size;
	for (uint64_t i = n - 1; i; i--) {
		const uint64_t k = random_u64() % (i + 1), swap = offsets[i];

		offsets[i] = offsets[k];
		offsets[k] = swap;
	}
	return n;
}

/* For one conversion in nanoseconds, to private and to shared; the sum over both places. */
struct times {
	uint64_t ours[2];
	uint64_t bare[2];
};

/* @slack: how much the ratio may be off because of the kernel's part. */
static void report(struct machine *m, const char *name, const char *how, const struct times *times,
		   double slack)
{
	for (int way = 0; way < 2; way++) {
		const uint64_t ours = times->ours[way], bare = times->bare[way];
		const double ratio = (double)bare / (double)ours;

		printf("convert.%s%s.%sto_%s %.3f # %" PRIu64 " ns, bare %" PRIu64 " ns\n",
		       m->ioas ? "" : "no_ioas.", name, how, way ? "shared" : "private", ratio,
		       ours / 2, bare / 2);
		m->worst = ratio + slack < m->worst ? ratio + slack : m->worst;
	}
}

static uint64_t time_one(const struct ram *ram, uint64_t offset, enum pfnbuf_vis to)
{
	uint64_t before;

	use(ram, offset, to == PFNBUF_SHARED ? PFNBUF_PRIVATE : PFNBUF_SHARED);
	before = now();
	convert(ram, offset, to);
	return now() - before;
}

/* Each by itself, with other calls in front; who comes first takes turns. */
static void bench_alone(const struct ram *window, const struct ram *loop, struct times *times)
{
	static uint64_t ours[2][SAMPLES], bare[2][SAMPLES];
	uint64_t offsets[MAX_NR];
	size_t n = 0;

	while (n < SAMPLES / 2) {
		for (int way = 0; way < 2; way++) {
			const enum pfnbuf_vis to = way ? PFNBUF_SHARED : PFNBUF_PRIVATE;
			const size_t nr = shuffle(window, offsets, 1);

			for (size_t i = 0; i < nr; i++) {
				if (i & 1)
					ours[way][n + i] = time_one(window, offsets[i], to);
				bare[way][n + i] = time_one(loop, offsets[i], to);
				if (!(i & 1))
					ours[way][n + i] = time_one(window, offsets[i], to);
			}
		}
		n += window->nr;
	}
	for (int way = 0; way < 2; way++) {
		times->ours[way] += median_u64(ours[way], n);
		times->bare[way] += median_u64(bare[way], n);
	}
}

/* One after the other, or in one call; for each. */
static uint64_t time_all(const struct ram *ram, const uint64_t *offsets, size_t n,
			 enum pfnbuf_vis to, bool batch)
{
	struct pfnbuf_conversion list[MAX_NR];
	uint64_t before;

	for (size_t i = 0; i < n; i++) {
		use(ram, offsets[i], to == PFNBUF_SHARED ? PFNBUF_PRIVATE : PFNBUF_SHARED);
		list[i] = (struct pfnbuf_conversion){ offsets[i], ram->size, to };
	}
	before = now();
	if (batch && ram->w)
		CHECK(pfnbuf_window_convert_batch(ram->w, list, n));
	else if (batch)
		bare_batch(ram, list, n);
	else
		for (size_t i = 0; i < n; i++)
			convert(ram, offsets[i], to);
	return (now() - before) / n;
}

static void keep_best(uint64_t *best, uint64_t ns)
{
	*best = ns < *best ? ns : *best;
}

/*
 * Every other range, so that the calls are as many in a batch. Who comes first takes turns, and the
 * best of each counts: whatever else the machine does only makes it longer.
 */
static void bench_loop(const struct ram *window, const struct ram *loop, bool batch,
		       struct times *times)
{
	uint64_t ours[2] = { UINT64_MAX, UINT64_MAX }, bare[2] = { UINT64_MAX, UINT64_MAX };
	uint64_t offsets[MAX_NR];

	for (int i = 0; i < ROUNDS; i++)
		for (int way = 0; way < 2; way++) {
			const enum pfnbuf_vis to = way ? PFNBUF_SHARED : PFNBUF_PRIVATE;
			const size_t nr = shuffle(window, offsets, 2);

			if (i & 1)
				keep_best(&ours[way], time_all(window, offsets, nr, to, batch));
			keep_best(&bare[way], time_all(loop, offsets, nr, to, batch));
			if (!(i & 1))
				keep_best(&ours[way], time_all(window, offsets, nr, to, batch));
		}
	for (int way = 0; way < 2; way++) {
		times->ours[way] += ours[way];
		times->bare[way] += bare[way];
	}
}

static void open_both(struct ram *window, struct ram *loop, struct machine *m, uint64_t size,
		      bool swapped)
{
	if (!swapped)
		ram_open(window, m, GIB, size, false);
	ram_open(loop, m, swapped ? GIB : 2 * GIB, size, true);
	if (swapped)
		ram_open(window, m, 2 * GIB, size, false);
}

/* Where memory is, in each address space, makes a difference: so each is once where the other was. */
static void bench_size(struct machine *m, const char *name, uint64_t size)
{
	/* What it takes to free many pages depends on which they are. */
	const double slack = size == PAGE ? 0 : 0.02;
	struct times each = { 0 }, batch = { 0 }, alone = { 0 };
	struct ram window, loop;

	for (int swapped = 0; swapped < 2; swapped++) {
		open_both(&window, &loop, m, size, swapped);
		bench_loop(&window, &loop, false, &each);
		bench_loop(&window, &loop, true, &batch);
		bench_alone(&window, &loop, &alone);
		ram_close(&loop);
		ram_close(&window);
	}
	report(m, name, "", &each, slack);
	report(m, name, "batch_", &batch, slack);
	report(m, name, "alone_", &alone, slack);
}

/* ---------------------------------------------------------------- two threads --------------- */

static void *work(void *arg)
{
	const struct ram *ram = arg;

	for (uint64_t i = 0; i < 2 * ram->nr; i++)
		convert(ram, i % ram->nr * ram->size, i < ram->nr ? PFNBUF_PRIVATE : PFNBUF_SHARED);
	return NULL;
}

static uint64_t time_workers(struct ram *rams, int n)
{
	const uint64_t before = now();
	pthread_t threads[2];

	for (int i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, work, &rams[i]))
			abort();
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return now() - before;
}

static double gain_of_two(struct machine *m, uint64_t size, bool bare)
{
	uint64_t one = UINT64_MAX, two = UINT64_MAX;
	struct ram rams[2];

	ram_open(&rams[0], m, GIB, size, bare);
	ram_open(&rams[1], m, 2 * GIB, size, bare);
	for (int i = 0; i < 5; i++) {
		uint64_t ns = time_workers(rams, 1);

		one = ns < one ? ns : one;
		ns = time_workers(rams, 2);
		two = ns < two ? ns : two;
	}
	ram_close(&rams[1]);
	ram_close(&rams[0]);
	return 2 * (double)one / (double)two;
}

static void bench_threads(struct machine *m, const char *name, uint64_t size)
{
	const double ours = gain_of_two(m, size, false), bare = gain_of_two(m, size, true);

	printf("convert.%s%s.two_threads %.3f # two bare loops over one: %.3f\n",
	       m->ioas ? "" : "no_ioas.", name, ours, bare);
}

/* ---------------------------------------------------------------- the kernel that runs ------ */

static void attach(struct machine *m, const char *bdf)
{
	CHECK(pfnbuf_device_open(m->ctx, bdf, &m->device));
	CHECK(pfnbuf_device_bind(m->device, NULL));
	CHECK(pfnbuf_device_attach(m->device, m->ioas));
}

/* A VM whose memory can be private; why not goes to the output. */
static bool find_vm(struct machine *m)
{
	int attributes = 0;

	if (pfnbuf_vm_new(m->ctx, PFNBUF_VM_SW_PROTECTED, &m->vm) < 0) {
		printf("# the running kernel is left out: %s\n", pfnbuf_last_error());
		return false;
	}
	CHECK(pfnbuf_vm_check_extension(m->vm, KVM_CAP_MEMORY_ATTRIBUTES, &attributes));
	if (attributes & PFNBUF_ATTRIBUTE_PRIVATE)
		return true;
	printf("# the running kernel is left out: it has no memory attributes\n");
	return false;
}

static void find_ioas(struct machine *m, const char *bdf)
{
	if (pfnbuf_ioas_new(m->ctx, &m->ioas) < 0) {
		printf("# conversions without an IOAS: %s\n", pfnbuf_last_error());
		return;
	}
	m->iommufd = pfnbuf_ctx_get_iommufd(m->ctx);
	if (bdf)
		attach(m, bdf);
	else
		printf("# no device is attached: no page is pinned\n");
}

static void bench_private_discard(struct machine *m)
{
	struct pfnbuf_buf *guest_memfd;

	CHECK(pfnbuf_buf_new_guest_memfd(m->vm, 64 * MIB, 0, &guest_memfd));
	bench_discard(pfnbuf_buf_get_fd(guest_memfd), "uring_guest_memfd");
	pfnbuf_buf_unref(guest_memfd);
}

double bench_real(const char *bdf)
{
	struct machine m = { .worst = 1 };

	CHECK(pfnbuf_ctx_new(&m.ctx, NULL));
	if (find_vm(&m)) {
		find_ioas(&m, bdf);
		bench_size(&m, "4k", PAGE);
		bench_size(&m, "2m", 2 * MIB);
		bench_threads(&m, "4k", PAGE);
		bench_private_discard(&m);
	}
	pfnbuf_device_close(m.device);
	pfnbuf_ioas_free(m.ioas);
	pfnbuf_vm_free(m.vm);
	pfnbuf_ctx_free(m.ctx);
	return m.worst;
}
