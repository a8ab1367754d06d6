/* SPDX-License-Identifier: MIT */
/*
 * The caller's memory, entered as a kernel does: a bad address is an error, never a crash. The
 * running kernel is asked to copy, because it alone can tell a bad address from a good one without
 * a race.
 */
#include <sys/mman.h>
#include <sys/uio.h>

#include "sim.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

/*
 * Reading, never writing: either address may be the bad one, and a tool that watches memory knows
 * that what is read into is defined afterwards.
 */
static int copy(uint64_t dst, uint64_t src, size_t n)
{
	int saved = errno;
	size_t done = 0;
	int ret = 0;

	while (done < n) {
		struct iovec into = { (void *)(uintptr_t)(dst + done), n - done };
		struct iovec from = { (void *)(uintptr_t)(src + done), n - done };
		ssize_t got = process_vm_readv(getpid(), &into, 1, &from, 1, 0);

		if (got <= 0) {
			ret = -EFAULT;
			break;
		}
		done += (size_t)got;
	}
	errno = saved;
	return ret;
}

int sim_copy_in(void *dst, uint64_t src, size_t n)
{
	return copy((uintptr_t)dst, src, n);
}

int sim_copy_out(uint64_t dst, const void *src, size_t n)
{
	return copy(dst, (uintptr_t)src, n);
}

int sim_populate(uint64_t va, uint64_t length, bool write)
{
	uint64_t start = page_down(va);
	int saved = errno;
	int ret;

	if (va + length < va || va + length > UINT64_MAX - sim_page_size())
		return -EFAULT;
	ret = madvise((void *)(uintptr_t)start, page_up(va + length) - start,
		      write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
	errno = saved;
	return ret ? -EFAULT : 0;
}

static int check_zero(uint64_t va, size_t n)
{
	char buf[256];

	while (n) {
		size_t chunk = MIN(n, sizeof(buf));

		if (sim_copy_in(buf, va, chunk))
			return -EFAULT;
		for (size_t i = 0; i < chunk; i++)
			if (buf[i])
				return -E2BIG;
		va += chunk;
		n -= chunk;
	}
	return 0;
}

int sim_copy_struct_in(void *dst, size_t known, uint64_t src, size_t given)
{
	size_t common = MIN(known, given);

	memset(dst, 0, known);
	if (given > known) {
		int ret = check_zero(src + known, given - known);

		if (ret)
			return ret;
	}
	return sim_copy_in(dst, src, common);
}
