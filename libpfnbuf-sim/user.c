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

static _Thread_local pid_t user_pid;

pid_t sim_user_set(pid_t pid)
{
	pid_t was = user_pid;

	user_pid = pid;
	return was;
}

pid_t sim_user_pid(void)
{
	return user_pid;
}

/*
 * Within this process reading, never writing: either address may be the bad one, and a tool that
 * watches memory knows that what is read into is defined afterwards.
 */
static int copy(uint64_t dst, uint64_t src, size_t n, bool out)
{
	pid_t pid = user_pid ? user_pid : getpid();
	int saved = errno;
	size_t done = 0;
	int ret = 0;

	while (done < n) {
		struct iovec into = { (void *)(uintptr_t)(dst + done), n - done };
		struct iovec from = { (void *)(uintptr_t)(src + done), n - done };
		ssize_t got = out && user_pid ? process_vm_writev(pid, &from, 1, &into, 1, 0)
					      : process_vm_readv(pid, &into, 1, &from, 1, 0);

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
	return copy((uintptr_t)dst, src, n, false);
}

int sim_copy_out(uint64_t dst, const void *src, size_t n)
{
	return copy(dst, (uintptr_t)src, n, true);
}

/* Another process cannot be asked to fault pages in: they are read, and may be written. */
static int populate_other(uint64_t va, uint64_t length, bool write)
{
	struct sim_vmas vmas = { 0 };
	int ret = sim_vmas_load(&vmas, user_pid);
	char byte;

	for (uint64_t at = page_down(va); !ret && at < va + length; at += sim_page_size()) {
		const struct sim_vma *vma = sim_vma_at(&vmas, at);

		ret = !vma || (write && !vma->writable) ? -EFAULT : sim_copy_in(&byte, at, 1);
	}
	sim_vmas_free(&vmas);
	return ret;
}

int sim_populate(uint64_t va, uint64_t length, bool write)
{
	uint64_t start = page_down(va);
	int saved = errno;
	int ret;

	if (va + length < va || va + length > UINT64_MAX - sim_page_size())
		return -EFAULT;
	if (user_pid)
		return populate_other(va, length, write);
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
