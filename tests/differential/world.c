/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "libpfnbuf/kernel.h"

/* Each world's memory starts on such a boundary, for the kernel's choice of IOVAs looks at it. */
#define MEMORY_ALIGNMENT 0x40000000ULL

static void close_fd(struct world *w, int *fd)
{
	if (*fd >= 0)
		k_close(w->kernel, *fd);
	*fd = -1;
}

static void close_fds(struct world *w, int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close_fd(w, &fds[i]);
}

static void nothing_made(struct world *w)
{
	memset(w->device_fds, -1, sizeof(w->device_fds));
	memset(w->iommufds, -1, sizeof(w->iommufds));
	memset(w->dmabufs, -1, sizeof(w->dmabufs));
	memset(w->memfds, -1, sizeof(w->memfds));
	memset(w->eventfds, -1, sizeof(w->eventfds));
	memset(w->vms, -1, sizeof(w->vms));
	memset(w->kvm_vfios, -1, sizeof(w->kvm_vfios));
	memset(w->gmems, -1, sizeof(w->gmems));
	memset(w->devids, 0, sizeof(w->devids));
	memset(w->attached, 0, sizeof(w->attached));
	memset(w->ioases, 0, sizeof(w->ioases));
	memset(w->hwpts, 0, sizeof(w->hwpts));
	memset(w->mappings, 0, sizeof(w->mappings));
}

void world_reset(struct world *w)
{
	for (size_t i = 0; i < NR_MAPPINGS; i++)
		if (w->mappings[i])
			k_munmap(w->kernel, w->mappings[i], w->mapping_lengths[i]);
	close_fds(w, w->gmems, NR_GMEMS);
	close_fds(w, w->kvm_vfios, NR_VMS);
	close_fds(w, w->vms, NR_VMS);
	close_fds(w, w->dmabufs, NR_DMABUFS);
	close_fds(w, w->device_fds, NR_DEVICES);
	close_fds(w, w->iommufds, NR_IOMMUFDS);
	close_fds(w, w->memfds, NR_MEMFDS);
	close_fds(w, w->eventfds, NR_EVENTFDS);
	nothing_made(w);
}

int world_init(struct world *w)
{
	unsigned char *reserved, *at;

	nothing_made(w);
	reserved = mmap(NULL, MEMORY_ALIGNMENT + MEMORY_SIZE, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (reserved == MAP_FAILED)
		return -ENOMEM;
	at = reserved + (-(uintptr_t)reserved & (MEMORY_ALIGNMENT - 1));
	w->memory = mmap(at, MEMORY_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	/* The last quarter is read-only, and a hole is in the middle. */
	mprotect(w->memory + MEMORY_SIZE / 4 * 3, MEMORY_SIZE / 4, PROT_READ);
	munmap(w->memory + MEMORY_SIZE / 2, 0x1000);
	return w->memory == MAP_FAILED ? -ENOMEM : 0;
}

void world_fini(struct world *w)
{
	world_reset(w);
	munmap(w->memory, MEMORY_SIZE);
}
