/* SPDX-License-Identifier: MIT */
#include "convert.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"

/* ---------------------------------------------------------------- a kernel that says yes ---- */

#define NULL_FD 100000 /* of everything that is opened */
#define MAX_FD	1024

static _Thread_local uint64_t changes;
static bool is_guest_memfd[MAX_FD];

static int null_open(void *data, const char *path, int flags)
{
	(void)data;
	(void)path;
	(void)flags;
	return NULL_FD;
}

static int null_close(void *data, int fd)
{
	(void)data;
	if (fd == NULL_FD)
		return 0;
	if (fd >= 0 && fd < MAX_FD)
		is_guest_memfd[fd] = false;
	return pfnbuf_kernel_running()->close(NULL, fd);
}

static int create_guest_memfd(const struct kvm_create_guest_memfd *create)
{
	const struct pfnbuf_kernel *k = pfnbuf_kernel_running();
	int fd = k->memfd_create(NULL, "guest_memfd", 0);

	if (fd >= MAX_FD || fd < 0 || k->ftruncate(NULL, fd, create->size) < 0)
		return -EMFILE;
	is_guest_memfd[fd] = true;
	return fd;
}

static int give_ranges(struct iommu_ioas_iova_ranges *ranges)
{
	if (ranges->num_iovas)
		*(struct iommu_iova_range *)(uintptr_t)ranges->allowed_iovas =
			(struct iommu_iova_range){ 0, UINT64_MAX };
	ranges->num_iovas = 1;
	ranges->out_iova_alignment = PAGE;
	return 0;
}

static int check_extension(uintptr_t cap)
{
	switch (cap) {
	case KVM_CAP_NR_MEMSLOTS:
		return 32764;
	case KVM_CAP_MEMORY_ATTRIBUTES:
		return PFNBUF_ATTRIBUTE_PRIVATE;
	default:
		return 1;
	}
}

static int null_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	(void)data;
	(void)fd;
	switch (request) {
	case IOMMU_IOAS_ALLOC:
		((struct iommu_ioas_alloc *)arg)->out_ioas_id = 1;
		return 0;
	case IOMMU_IOAS_IOVA_RANGES:
		return give_ranges(arg);
	case KVM_GET_API_VERSION:
		return KVM_API_VERSION;
	case KVM_CREATE_VM:
		return NULL_FD;
	case KVM_CREATE_GUEST_MEMFD:
		return create_guest_memfd(arg);
	case KVM_CHECK_EXTENSION:
		return check_extension((uintptr_t)arg);
	default:
		changes++;
		return 0;
	}
}

/* It says which is a guest_memfd that only a guest sees. */
static int null_mmap(void *data, void *addr, size_t length, int prot, int flags, int fd,
		     uint64_t offset, void **out)
{
	if (fd >= 0 && fd < MAX_FD && is_guest_memfd[fd])
		return -ENODEV;
	return pfnbuf_kernel_running()->mmap(data, addr, length, prot, flags, fd, offset, out);
}

static int null_fallocate(void *data, int fd, int mode, uint64_t offset, uint64_t length)
{
	(void)data;
	(void)fd;
	(void)mode;
	(void)offset;
	(void)length;
	changes++;
	return 0;
}

static int null_memlock(void *data, uint64_t *limit)
{
	(void)data;
	*limit = UINT64_MAX;
	return 0;
}

static void null_kernel(struct pfnbuf_kernel *kernel)
{
	*kernel = *pfnbuf_kernel_running();
	kernel->open = null_open;
	kernel->close = null_close;
	kernel->ioctl = null_ioctl;
	kernel->mmap = null_mmap;
	kernel->fallocate = null_fallocate;
	kernel->memlock = null_memlock;
}

uint64_t null_kernel_changes(void)
{
	return changes;
}

/* ---------------------------------------------------------------- scenes -------------------- */

void null_scene_open(struct null_scene *s, uint64_t length, uint64_t granule,
		     const struct null_scene *with)
{
	struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .kernel = &s->kernel };
	struct pfnbuf_ram ram = { .length = length, .addr = (void *)TIB };
	struct pfnbuf_place place = { .size = sizeof(place), .granule = granule };

	s->with = with;
	if (with) {
		s->ctx = with->ctx;
		s->ioas = with->ioas;
		s->vm = with->vm;
		place.gpa = place.iova = TIB;
	} else {
		null_kernel(&s->kernel);
		CHECK(pfnbuf_ctx_new(&s->ctx, &opts));
		CHECK(pfnbuf_ioas_new(s->ctx, &s->ioas));
		CHECK(pfnbuf_vm_new(s->ctx, PFNBUF_VM_SW_PROTECTED, &s->vm));
	}
	place.vm = s->vm;
	place.ioas = s->ioas;
	CHECK(pfnbuf_buf_new_memfd(s->ctx, length, 0, &ram.memfd));
	CHECK(pfnbuf_buf_new_guest_memfd(s->vm, length, 0, &ram.guest_memfd));
	CHECK(pfnbuf_window_new_ram(s->ctx, &ram, &place, &s->w));
	pfnbuf_buf_unref(ram.memfd);
	pfnbuf_buf_unref(ram.guest_memfd);
	CHECK(pfnbuf_window_set_range(s->w, 0, length, PFNBUF_SHARED));
}

void null_scene_close(struct null_scene *s)
{
	pfnbuf_window_free(s->w);
	if (s->with)
		return;
	pfnbuf_vm_free(s->vm);
	pfnbuf_ioas_free(s->ioas);
	pfnbuf_ctx_free(s->ctx);
}

/* ---------------------------------------------------------------- the library's time -------- */

#define CONVERSIONS 5000
#define ROUNDS	    5

/* The best of some rounds, in nanoseconds for one conversion, to shared and to private. */
struct best {
	uint64_t each[2];
	uint64_t batch[2];
};

/* Scattered ranges of one size, in no order. */
static void scatter(struct pfnbuf_conversion *list, uint64_t length, uint64_t size)
{
	const uint64_t stride = length / CONVERSIONS / size;

	for (uint64_t i = 0; i < CONVERSIONS; i++) {
		list[i].offset = (i * stride + random_u64() % stride) * size;
		list[i].length = size;
	}
	for (uint64_t i = CONVERSIONS - 1; i; i--) {
		const uint64_t k = random_u64() % (i + 1);
		const struct pfnbuf_conversion swap = list[i];

		list[i] = list[k];
		list[k] = swap;
	}
}

static void direct(struct pfnbuf_conversion *list, enum pfnbuf_vis to)
{
	for (int i = 0; i < CONVERSIONS; i++)
		list[i].to = to;
}

static void convert_each(struct pfnbuf_window *w, const struct pfnbuf_conversion *list)
{
	for (int i = 0; i < CONVERSIONS; i++)
		CHECK(pfnbuf_window_convert(w, list[i].offset, list[i].length, list[i].to));
}

static void keep_best(uint64_t *best, uint64_t before)
{
	const uint64_t ns = (now() - before) / CONVERSIONS;

	*best = ns < *best ? ns : *best;
}

static void there_and_back(struct pfnbuf_window *w, struct pfnbuf_conversion *list,
			   struct best *best)
{
	static const enum pfnbuf_vis to[] = { PFNBUF_PRIVATE, PFNBUF_SHARED };

	for (int i = 0; i < 4; i++) {
		uint64_t before;

		direct(list, to[i % 2]);
		before = now();
		if (i < 2) {
			convert_each(w, list);
			keep_best(&best->each[i % 2], before);
		} else {
			CHECK(pfnbuf_window_convert_batch(w, list, CONVERSIONS));
			keep_best(&best->batch[i % 2], before);
		}
	}
}

static void bench_size(const char *name, uint64_t length, uint64_t size)
{
	static struct pfnbuf_conversion list[CONVERSIONS];
	struct best best = { { UINT64_MAX, UINT64_MAX }, { UINT64_MAX, UINT64_MAX } };
	struct null_scene s;

	null_scene_open(&s, length, size, NULL);
	scatter(list, length, size);
	for (int i = 0; i < ROUNDS; i++)
		there_and_back(s.w, list, &best);
	null_scene_close(&s);
	printf("convert.null.%s.to_private_ns %" PRIu64 "\n", name, best.each[0]);
	printf("convert.null.%s.to_shared_ns %" PRIu64 "\n", name, best.each[1]);
	printf("convert.null.%s.batch_to_private_ns %" PRIu64 "\n", name, best.batch[0]);
	printf("convert.null.%s.batch_to_shared_ns %" PRIu64 "\n", name, best.batch[1]);
}

/* ---------------------------------------------------------------- two threads --------------- */

struct worker {
	pthread_t thread;
	struct pfnbuf_window *w;
	struct pfnbuf_conversion list[CONVERSIONS];
};

static void *work(void *arg)
{
	struct worker *worker = arg;

	for (int i = 0; i < 4; i++) {
		direct(worker->list, i & 1 ? PFNBUF_SHARED : PFNBUF_PRIVATE);
		convert_each(worker->w, worker->list);
	}
	return NULL;
}

static uint64_t time_workers(struct worker *workers, int n)
{
	const uint64_t before = now();

	for (int i = 0; i < n; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			abort();
	for (int i = 0; i < n; i++)
		pthread_join(workers[i].thread, NULL);
	return now() - before;
}

/* Conversions a second of two threads on two windows, over those of one on one. */
static void bench_threads(const char *name, bool together)
{
	static struct worker workers[2];
	uint64_t one = UINT64_MAX, two = UINT64_MAX;
	struct null_scene s[2];

	null_scene_open(&s[0], 16 * GIB, 2 * MIB, NULL);
	null_scene_open(&s[1], 16 * GIB, 2 * MIB, together ? &s[0] : NULL);
	for (int i = 0; i < 2; i++) {
		workers[i].w = s[i].w;
		scatter(workers[i].list, 16 * GIB, 2 * MIB);
	}
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t ns = time_workers(workers, 1);

		one = ns < one ? ns : one;
		ns = time_workers(workers, 2);
		two = ns < two ? ns : two;
	}
	null_scene_close(&s[1]);
	null_scene_close(&s[0]);
	printf("convert.null.%s %.3f\n", name, 2 * (double)one / (double)two);
}

void bench_null(void)
{
	bench_size("4k", 2 * GIB, PAGE);
	bench_size("2m", 64 * GIB, 2 * MIB);
	bench_threads("two_threads", true);
	bench_threads("two_threads_two_vms", false);
}
