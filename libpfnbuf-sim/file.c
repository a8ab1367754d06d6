/* SPDX-License-Identifier: MIT */
/* Open files of the simulated kernel, and which fd belongs to which. */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "sim.h"

static const struct sim_file_ops *const all_ops[SIM_NR_KINDS] = {
	[SIM_IOMMUFD] = &sim_iommufd_ops,
	[SIM_KVM] = &sim_kvm_ops,
	[SIM_VFIO] = &sim_vfio_ops,
	[SIM_DMABUF] = &sim_dmabuf_ops,
	[SIM_VM] = &sim_vm_ops,
	[SIM_VCPU] = &sim_vcpu_ops,
	[SIM_GMEM] = &sim_gmem_ops,
	[SIM_KVM_VFIO] = &sim_kvm_vfio_ops,
	[SIM_FAULT_QUEUE] = &sim_fault_queue_ops,
	[SIM_ACCESS] = &sim_access_ops,
	[SIM_TSM_ATTR] = &sim_tsm_attr_ops,
};

const struct sim_file_ops *sim_file_ops(const struct sim_file *file)
{
	return all_ops[file->kind];
}

static struct sim_file **bucket(struct pfnbuf_sim *sim, uint64_t ino)
{
	return &sim->files[(ino * 0x9e3779b97f4a7c15ULL) >> 52];
}

int sim_fd_high(struct pfnbuf_sim *sim, int fd)
{
	int high;

	if (fd < 0)
		return fd;
	if (!sim->high_fd) {
		struct rlimit limit = { 0 };

		getrlimit(RLIMIT_NOFILE, &limit);
		sim->high_fd = (int)MIN(limit.rlim_cur / 2, (rlim_t)4096);
	}
	high = fcntl(fd, F_DUPFD_CLOEXEC, sim->high_fd);
	if (high < 0)
		return fd;
	close(fd);
	return high;
}

static int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags);
}

/*
 * memfd_create leaves a file open that does not count as open for writing, which would spoil the
 * lease: so both the anchor and what is handed out are opened anew.
 */
static int make_anchor(struct pfnbuf_sim *sim, const char *name, uint64_t size)
{
	int fd = sim_fd_high(sim, memfd_create(name, MFD_CLOEXEC));
	int anchor;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size)) {
		int error = errno;

		close(fd);
		return -error;
	}
	fchmod(fd, 0600);
	anchor = sim_fd_high(sim, reopen(fd, O_RDWR | O_CLOEXEC));
	if (anchor < 0)
		anchor = -errno;
	close(fd);
	return anchor;
}

int sim_file_new(struct pfnbuf_sim *sim, enum sim_kind kind, const char *name, uint64_t size,
		 int flags, void *object, struct sim_file **filep)
{
	struct sim_file *file = calloc(1, sizeof(*file));
	struct stat st;
	int fd;

	if (!file)
		return -ENOMEM;
	file->anchor = make_anchor(sim, name, size);
	if (file->anchor < 0) {
		fd = file->anchor;
		free(file);
		return fd;
	}
	fd = reopen(file->anchor, flags & (O_ACCMODE | O_CLOEXEC));
	if (fd < 0 || fstat(fd, &st)) {
		int error = errno;

		close(file->anchor);
		free(file);
		return -error;
	}
	file->dev = (uint64_t)st.st_dev;
	file->ino = (uint64_t)st.st_ino;
	file->kind = kind;
	file->ready_fd = -1;
	file->object = object;
	file->next = *bucket(sim, file->ino);
	*bucket(sim, file->ino) = file;
	sim->nr_files++;
	*filep = file;
	return fd;
}

struct sim_file *sim_file_find(struct pfnbuf_sim *sim, uint64_t dev, uint64_t ino)
{
	struct sim_file *file = *bucket(sim, ino);

	while (file && (file->ino != ino || file->dev != dev))
		file = file->next;
	return file;
}

struct sim_file *sim_file_get(struct pfnbuf_sim *sim, int fd)
{
	struct stat st;
	int saved = errno;

	if (fd < 0 || fstat(fd, &st)) {
		errno = saved;
		return NULL;
	}
	return sim_file_find(sim, (uint64_t)st.st_dev, (uint64_t)st.st_ino);
}

/* Linux grants a write lease only to the sole open file of an inode. */
static bool held_outside(const struct sim_file *file)
{
	int saved = errno;
	bool held = true;

	if (!fcntl(file->anchor, F_SETLEASE, F_WRLCK)) {
		fcntl(file->anchor, F_SETLEASE, F_UNLCK);
		held = false;
	}
	errno = saved;
	return held;
}

void sim_file_drop(struct pfnbuf_sim *sim, struct sim_file *file)
{
	struct sim_file **p = bucket(sim, file->ino);

	while (*p != file)
		p = &(*p)->next;
	*p = file->next;
	sim->nr_files--;
	sim_file_ops(file)->release(sim, file);
	close(file->anchor);
	if (file->ready_fd >= 0)
		close(file->ready_fd);
	free(file);
}

int sim_file_ready_fd(struct pfnbuf_sim *sim, struct sim_file *file)
{
	int saved = errno;
	bool ready;

	/* No fence is ever on a dma-buf here: it is ready for all that it is asked for. */
	if (file->kind == SIM_DMABUF)
		ready = true;
	else if (file->kind == SIM_FAULT_QUEUE)
		ready = ((const struct sim_fault_queue *)file->object)->waiting.n;
	else
		return -EPERM;
	if (file->ready_fd < 0) {
		file->ready_fd = sim_fd_high(sim, eventfd(ready, EFD_CLOEXEC | EFD_NONBLOCK));
		if (file->ready_fd < 0) {
			int error = errno;

			errno = saved;
			return -error;
		}
	}
	return file->ready_fd;
}

void sim_file_set_ready(struct sim_file *file, bool ready)
{
	uint64_t count;
	int saved = errno;

	if (!file || file->ready_fd < 0)
		return;
	if (ready)
		sim_signal(file->ready_fd);
	else if (read(file->ready_fd, &count, sizeof(count)) < 0)
		errno = saved; /* it was not */
}

bool sim_file_reap(struct pfnbuf_sim *sim, struct sim_file *file)
{
	if (file->refs || held_outside(file))
		return false;
	sim_file_drop(sim, file);
	return true;
}

void sim_file_ref(struct sim_file *file)
{
	file->refs++;
}

void sim_file_unref(struct pfnbuf_sim *sim, struct sim_file *file)
{
	file->refs--;
	sim_file_reap(sim, file);
}

void sim_reap(struct pfnbuf_sim *sim)
{
	bool again = true;

	/* One release may take away the last reference of another file. */
	while (again) {
		again = false;
		for (size_t i = 0; i < SIM_BUCKETS; i++)
			for (struct sim_file *file = sim->files[i], *next; file; file = next) {
				next = file->next;
				if (sim_file_reap(sim, file)) {
					again = true;
					break;
				}
			}
	}
}
