/* SPDX-License-Identifier: MIT */
/*
 * The table of calls: what is for a simulated file goes to its room, the rest to the running
 * kernel.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>

#include "sim.h"

/* Where -1 and errno become a negative errno; errno itself is as it was. */
static int64_t result(int64_t ret, int saved)
{
	if (ret < 0)
		ret = -errno;
	errno = saved;
	return ret;
}

void sim_unlock(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

static int enter_ioctl(struct pfnbuf_sim *sim, unsigned long request)
{
	SIM_LOCKED(sim);
	return sim_fault_count(sim, request);
}

static int enter(struct pfnbuf_sim *sim)
{
	return enter_ioctl(sim, 0);
}

/* --------------------------------------------------------------- by path or number */

#define DEVICES "/dev/vfio/devices/"

static int do_open(void *data, const char *path, int flags)
{
	struct pfnbuf_sim *sim = data;
	int saved = errno;
	int ret = enter(sim);

	if (ret)
		return ret;
	{
		SIM_LOCKED(sim);
		sim_reap(sim);
		if (!strcmp(path, "/dev/iommu"))
			return sim->iommufd_present ? sim_iommufd_open(sim, flags) : -ENOENT;
		if (!strcmp(path, "/dev/kvm"))
			return sim->kvm_present ? sim_kvm_open(sim, flags) : -ENOENT;
		if (!strncmp(path, DEVICES, sizeof(DEVICES) - 1))
			return sim_vfio_open(sim, path + sizeof(DEVICES) - 1, flags);
		if (sim_sysfs_owns(path))
			return sim_sysfs_open(sim, path, flags);
		ret = sim_proc_open(sim, path);
		if (ret != -ENOTTY)
			return ret;
	}
	return (int)result(open(path, flags, 0600), saved);
}

static int do_close(void *data, int fd)
{
	struct pfnbuf_sim *sim = data;
	struct sim_file *file;
	int saved = errno;
	int ret;

	SIM_LOCKED(sim);
	file = sim_file_get(sim, fd);
	ret = (int)result(close(fd), saved);
	if (file)
		sim_file_reap(sim, file);
	return ret;
}

static int do_dup(void *data, int fd)
{
	int saved = errno;
	int ret = enter(data);

	return ret ? ret : (int)result(fcntl(fd, F_DUPFD_CLOEXEC, 0), saved);
}

static int do_set_cloexec(void *data, int fd)
{
	int saved = errno;
	int ret = enter(data);
	int flags;

	if (ret)
		return ret;
	flags = fcntl(fd, F_GETFD);
	if (flags < 0)
		return (int)result(flags, saved);
	return (int)result(fcntl(fd, F_SETFD, flags | FD_CLOEXEC), saved);
}

static ssize_t do_readlink(void *data, const char *path, char *buf, size_t size)
{
	struct pfnbuf_sim *sim = data;
	int saved = errno;
	ssize_t ret = enter(sim);

	if (ret)
		return ret;
	{
		SIM_LOCKED(sim);
		if (sim_sysfs_owns(path))
			return sim_sysfs_readlink(sim, path, buf, size);
		ret = sim_proc_readlink(sim, path, buf, size);
		if (ret != -ENOTTY)
			return ret;
	}
	return result(readlink(path, buf, size), saved);
}

static ssize_t list_running(const char *path, char *buf, size_t size)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	size_t used = 0;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		size_t length = strlen(entry->d_name) + 1;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (length > size - used) {
			closedir(dir);
			return -ERANGE;
		}
		memcpy(buf + used, entry->d_name, length);
		used += length;
	}
	closedir(dir);
	return (ssize_t)used;
}

static ssize_t do_list(void *data, const char *path, char *buf, size_t size)
{
	struct pfnbuf_sim *sim = data;
	int saved = errno;
	ssize_t ret = enter(sim);

	if (ret)
		return ret;
	{
		SIM_LOCKED(sim);
		if (sim_sysfs_owns(path))
			return sim_sysfs_list(sim, path, buf, size);
	}
	ret = list_running(path, buf, size);
	errno = saved;
	return ret;
}

/* ----------------------------------------------------------------------- on a file */

static int do_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	struct pfnbuf_sim *sim = data;
	int saved = errno;
	int ret = enter_ioctl(sim, request);

	if (ret)
		return ret;
	{
		struct sim_file *file;

		SIM_LOCKED(sim);
		file = sim_file_get(sim, fd);
		if (file) {
			const struct sim_file_ops *ops = sim_file_ops(file);

			if (!ops->ioctl)
				return -ENOTTY;
			ret = file->foreign
				      ? sim_fork_forward(sim, file, request,
							 (uint64_t)(uintptr_t)arg)
				      : ops->ioctl(sim, file, request, (uint64_t)(uintptr_t)arg);
			errno = saved;
			return ret;
		}
	}
	return (int)result(ioctl(fd, request, arg), saved);
}

/* What read(2) and its kin check before they ask the file. */
static ssize_t check_rw(int fd, const struct sim_file *file, bool write, bool positioned)
{
	int flags = fcntl(fd, F_GETFL);
	int access = flags & O_ACCMODE;

	if (flags < 0)
		return -EBADF;
	if (positioned && !sim_file_ops(file)->positioned)
		return -ESPIPE;
	if (access == (write ? O_RDONLY : O_WRONLY))
		return -EBADF;
	if (write ? !sim_file_ops(file)->write : !sim_file_ops(file)->read)
		return -EINVAL;
	return 0;
}

static ssize_t sim_rw(struct pfnbuf_sim *sim, int fd, struct sim_file *file, uint64_t buf,
		      size_t count, uint64_t offset, bool write, bool positioned)
{
	const struct sim_file_ops *ops = sim_file_ops(file);
	int saved = errno;
	ssize_t ret = check_rw(fd, file, write, positioned);

	if (!ret)
		ret = (write ? ops->write : ops->read)(sim, file, buf, count, offset);
	errno = saved;
	return ret;
}

static ssize_t do_pread(void *data, int fd, void *buf, size_t count, uint64_t offset)
{
	struct pfnbuf_sim *sim = data;
	int saved = errno;
	int ret = enter(sim);

	if (ret)
		return ret;
	if (offset > INT64_MAX)
		return -EINVAL;
	{
		struct sim_file *file;

		SIM_LOCKED(sim);
		file = sim_file_get(sim, fd);
		if (file)
			return sim_rw(sim, fd, file, (uint64_t)(uintptr_t)buf, count, offset, false,
				      true);
	}
	return result(pread(fd, buf, count, (off_t)offset), saved);
}

static ssize_t do_pwrite(void *data, int fd, const void *buf, size_t count, uint64_t offset)
{
	struct pfnbuf_sim *sim = data;
	int saved = errno;
	int ret = enter(sim);

	if (ret)
		return ret;
	if (offset > INT64_MAX)
		return -EINVAL;
	{
		struct sim_file *file;

		SIM_LOCKED(sim);
		file = sim_file_get(sim, fd);
		if (file)
			return sim_rw(sim, fd, file, (uint64_t)(uintptr_t)buf, count, offset, true,
				      true);
	}
	return result(pwrite(fd, buf, count, (off_t)offset), saved);
}

/* Reading an eventfd cannot fail as other calls can, so it is not counted. */
static bool is_counter(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && !(st.st_mode & S_IFMT);
}

static ssize_t do_read(void *data, int fd, void *buf, size_t count)
{
	struct pfnbuf_sim *sim = data;
	int saved = errno;
	int ret = is_counter(fd) ? 0 : enter(sim);

	if (ret)
		return ret;
	{
		struct sim_file *file;

		SIM_LOCKED(sim);
		file = sim_file_get(sim, fd);
		if (file)
			return sim_rw(sim, fd, file, (uint64_t)(uintptr_t)buf, count, 0, false,
				      false);
	}
	return result(read(fd, buf, count), saved);
}

static ssize_t do_write(void *data, int fd, const void *buf, size_t count)
{
	struct pfnbuf_sim *sim = data;
	int saved = errno;
	int ret = enter(sim);

	if (ret)
		return ret;
	{
		struct sim_file *file;

		SIM_LOCKED(sim);
		file = sim_file_get(sim, fd);
		if (file)
			return sim_rw(sim, fd, file, (uint64_t)(uintptr_t)buf, count, 0, true,
				      false);
	}
	return result(write(fd, buf, count), saved);
}

static int64_t do_lseek(void *data, int fd, int64_t offset, int whence)
{
	struct pfnbuf_sim *sim = data;
	int saved = errno;
	int ret = enter(sim);

	if (ret)
		return ret;
	{
		struct sim_file *file;

		SIM_LOCKED(sim);
		file = sim_file_get(sim, fd);
		if (file)
			return sim_file_ops(file)->lseek
				       ? sim_file_ops(file)->lseek(file, offset, whence)
				       : -ESPIPE;
	}
	return result(lseek(fd, offset, whence), saved);
}

static int do_fstat(void *data, int fd, struct stat *st)
{
	struct pfnbuf_sim *sim = data;
	struct sim_file *file;
	int saved = errno;
	int ret = enter(sim);

	if (ret)
		return ret;
	ret = (int)result(fstat(fd, st), saved);
	if (ret)
		return ret;
	SIM_LOCKED(sim);
	file = sim_file_get(sim, fd);
	if (file && sim_file_ops(file)->stat)
		sim_file_ops(file)->stat(file, st);
	return 0;
}

static int do_memlock(void *data, uint64_t *limit)
{
	struct pfnbuf_sim *sim = data;

	SIM_LOCKED(sim);
	*limit = sim->memlock;
	return 0;
}

static int do_fstatfs_type(void *data, int fd, uint64_t *f_type)
{
	struct pfnbuf_sim *sim = data;
	struct sim_file *file;
	struct statfs fs;
	int saved = errno;
	int ret = enter(sim);

	if (ret)
		return ret;
	ret = (int)result(fstatfs(fd, &fs), saved);
	if (ret)
		return ret;
	SIM_LOCKED(sim);
	file = sim_file_get(sim, fd);
	*f_type = file ? sim_file_ops(file)->magic : (uint64_t)fs.f_type;
	return 0;
}

static int check_fallocate(int fd, int mode, uint64_t offset, uint64_t length)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -EBADF;
	if (offset > INT64_MAX || !length || length > INT64_MAX)
		return -EINVAL;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE))
		return -EOPNOTSUPP;
	/* A hole may not change the size. */
	if (mode == FALLOC_FL_PUNCH_HOLE)
		return -EOPNOTSUPP;
	if ((flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	return 0;
}

static int do_fallocate(void *data, int fd, int mode, uint64_t offset, uint64_t length)
{
	struct pfnbuf_sim *sim = data;
	int saved = errno;
	int ret = enter(sim);

	if (ret)
		return ret;
	{
		struct sim_file *file;

		SIM_LOCKED(sim);
		file = sim_file_get(sim, fd);
		if (file) {
			ret = check_fallocate(fd, mode, offset, length);
			if (!ret && !sim_file_ops(file)->fallocate)
				ret = -ENODEV;
			if (!ret && offset + length > INT64_MAX)
				ret = -EFBIG;
			if (!ret)
				ret = sim_file_ops(file)->fallocate(sim, file, mode, offset,
								    length);
			errno = saved;
			return ret;
		}
	}
	return (int)result(fallocate(fd, mode, (off_t)offset, (off_t)length), saved);
}

static int do_ftruncate(void *data, int fd, uint64_t length)
{
	struct pfnbuf_sim *sim = data;
	int saved = errno;
	int ret = enter(sim);

	if (ret)
		return ret;
	{
		SIM_LOCKED(sim);
		if (sim_file_get(sim, fd))
			return -EINVAL;
	}
	return (int)result(ftruncate(fd, (off_t)length), saved);
}

/* ------------------------------------------------------------------------ mappings */

static int map_running(struct pfnbuf_sim *sim, void *addr, size_t length, int prot, int flags,
		       int fd, uint64_t offset, void **out)
{
	void *mem = mmap(addr, length, prot, flags, fd, (off_t)offset);
	struct sim_mapping mapping = { 0 };
	struct stat st;
	int ret;

	if (mem == MAP_FAILED)
		return -errno;
	mapping.addr = (uint64_t)(uintptr_t)mem;
	mapping.length = page_up(length);
	/* What was known of these addresses is over, whether or not it went through the table. */
	sim_mapping_cut(sim, mapping.addr, mapping.length);
	/* A private mapping is memory of its own. */
	if (fd >= 0 && flags & MAP_SHARED && !(flags & MAP_ANONYMOUS) && !fstat(fd, &st)) {
		mapping.dev = (uint64_t)st.st_dev;
		mapping.ino = (uint64_t)st.st_ino;
		mapping.offset = offset;
		mapping.prot = prot;
		ret = sim_mapping_add(sim, &mapping);
		if (ret) {
			munmap(mem, length);
			return ret;
		}
	}
	*out = mem;
	return 0;
}

/* What mmap(2) checks before it asks the file. */
static int check_mmap(int fd, size_t length, int prot, int flags, uint64_t offset)
{
	int access = fcntl(fd, F_GETFL) & O_ACCMODE;

	if (!length || !page_aligned(offset))
		return -EINVAL;
	if (flags & MAP_SHARED && prot & PROT_WRITE && access == O_RDONLY)
		return -EACCES;
	return access == O_WRONLY ? -EACCES : 0;
}

static int do_mmap(void *data, void *addr, size_t length, int prot, int flags, int fd,
		   uint64_t offset, void **out)
{
	struct pfnbuf_sim *sim = data;
	struct sim_file *file;
	int saved = errno;
	int ret = enter(sim);

	if (ret)
		return ret;
	SIM_LOCKED(sim);
	file = flags & MAP_ANONYMOUS ? NULL : sim_file_get(sim, fd);
	if (!file)
		ret = map_running(sim, addr, length, prot, flags, fd, offset, out);
	else
		ret = check_mmap(fd, length, prot, flags, offset);
	if (file && !ret)
		ret = sim_file_ops(file)->mmap ? sim_file_ops(file)->mmap(sim, file, addr, length,
									  prot, flags, offset, out)
					       : -ENODEV;
	errno = saved;
	return ret;
}

static int do_munmap(void *data, void *addr, size_t length)
{
	struct pfnbuf_sim *sim = data;
	int saved = errno;
	int ret;

	SIM_LOCKED(sim);
	ret = (int)result(munmap(addr, length), saved);
	if (!ret)
		sim_mapping_cut(sim, (uint64_t)(uintptr_t)addr, page_up(length));
	return ret;
}

static int do_madvise(void *data, void *addr, size_t length, int advice)
{
	int saved = errno;
	int ret = enter(data);

	return ret ? ret : (int)result(madvise(addr, length, advice), saved);
}

/* -------------------------------------------------------------- always the running */

static int do_memfd_create(void *data, const char *name, unsigned flags)
{
	int saved = errno;
	int ret = enter(data);

	return ret ? ret : (int)result(memfd_create(name, flags), saved);
}

static int do_eventfd(void *data, unsigned initval, int flags)
{
	int saved = errno;
	int ret = enter(data);

	return ret ? ret : (int)result(eventfd(initval, flags), saved);
}

/* Its reads are an eventfd's, so they are not counted either. */
static int do_timerfd(void *data)
{
	int saved = errno;
	int ret = enter(data);

	return ret ? ret
		   : (int)result(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
				 saved);
}

static int do_timerfd_set(void *data, int fd, uint64_t ns)
{
	const struct itimerspec once = {
		.it_value = { (time_t)(ns / 1000000000U), (long)(ns % 1000000000U) },
	};
	int saved = errno;
	int ret = enter(data);

	return ret ? ret : (int)result(timerfd_settime(fd, 0, &once, NULL), saved);
}

static int do_epoll_create(void *data)
{
	int saved = errno;
	int ret = enter(data);

	return ret ? ret : (int)result(epoll_create1(EPOLL_CLOEXEC), saved);
}

static int do_epoll_ctl(void *data, int epfd, int op, int fd, struct epoll_event *event)
{
	struct pfnbuf_sim *sim = data;
	int saved = errno;
	int ret = enter(sim);

	if (ret)
		return ret;
	{
		SIM_LOCKED(sim);
		struct sim_file *file = sim_file_get(sim, fd);

		if (file && !file->foreign)
			ret = sim_file_ready_fd(sim, file);
		if (ret < 0)
			return ret;
		return (int)result(epoll_ctl(epfd, op, ret ? ret : fd, event), saved);
	}
}

static int do_epoll_wait(void *data, int epfd, struct epoll_event *events, int max, int timeout_ms)
{
	int saved = errno;
	int ret = enter(data);

	return ret ? ret : (int)result(epoll_wait(epfd, events, max, timeout_ms), saved);
}

/* ------------------------------------------------------------------------ its life */

static const struct pfnbuf_kernel table = {
	.size = sizeof(struct pfnbuf_kernel),
	.open = do_open,
	.close = do_close,
	.dup = do_dup,
	.set_cloexec = do_set_cloexec,
	.ioctl = do_ioctl,
	.mmap = do_mmap,
	.munmap = do_munmap,
	.madvise = do_madvise,
	.pread = do_pread,
	.pwrite = do_pwrite,
	.read = do_read,
	.write = do_write,
	.lseek = do_lseek,
	.fstat = do_fstat,
	.fstatfs_type = do_fstatfs_type,
	.memlock = do_memlock,
	.fallocate = do_fallocate,
	.ftruncate = do_ftruncate,
	.memfd_create = do_memfd_create,
	.eventfd = do_eventfd,
	.timerfd = do_timerfd,
	.timerfd_set = do_timerfd_set,
	.readlink = do_readlink,
	.list = do_list,
	.epoll_create = do_epoll_create,
	.epoll_ctl = do_epoll_ctl,
	.epoll_wait = do_epoll_wait,
};

int pfnbuf_sim_new(struct pfnbuf_sim **simp)
{
	struct pfnbuf_sim *sim = calloc(1, sizeof(*sim));
	int saved = errno;

	if (!sim)
		return -ENOMEM;
	sim->empty_fd = sim_fd_high(sim, memfd_create("absent BAR memory", MFD_CLOEXEC));
	if (sim->empty_fd < 0) {
		free(sim);
		return (int)result(-1, saved);
	}
	pthread_mutex_init(&sim->lock, NULL);
	sim->table = table;
	sim->table.data = sim;
	sim->iommufd_present = sim->kvm_present = true;
	sim->memlock = UINT64_MAX;
	sim->aperture_bits = 48;
	sim->next_bar = 0x80000000;
	sim->next_bar64 = 0x380000000000;
	*simp = sim;
	return 0;
}

static void drop_mappings(struct pfnbuf_sim *sim)
{
	while (sim->mappings.n) {
		struct sim_mapping *m = sim->mappings.v[sim->mappings.n - 1];

		sim_mapping_cut(sim, m->addr, m->length);
	}
	sim_vec_free(&sim->mappings);
}

/*
 * Release every file as if nobody held it. Those that others need go last: a file with references
 * is left alone until what refers to it is gone.
 */
static void drop_files(struct pfnbuf_sim *sim)
{
	while (sim->nr_files) {
		struct sim_file *victim = NULL;

		for (size_t i = 0; i < SIM_BUCKETS && !victim; i++)
			for (struct sim_file *f = sim->files[i]; f && !victim; f = f->next)
				if (!f->refs)
					victim = f;
		if (!victim)
			return;
		sim_file_drop(sim, victim);
	}
}

struct pfnbuf_sim *pfnbuf_sim_free(struct pfnbuf_sim *sim)
{
	if (!sim)
		return NULL;
	drop_mappings(sim);
	drop_files(sim);
	while (sim->vdevs) {
		struct sim_vdev *vdev = sim->vdevs;

		sim->vdevs = vdev->next;
		sim_vdev_free(vdev);
	}
	while (sim->ioctl_faults) {
		struct sim_ioctl_fault *fault = sim->ioctl_faults;

		sim->ioctl_faults = fault->next;
		free(fault);
	}
	close(sim->empty_fd);
	pthread_mutex_destroy(&sim->lock);
	free(sim->alias);
	free(sim);
	return NULL;
}

const struct pfnbuf_kernel *pfnbuf_sim_kernel(struct pfnbuf_sim *sim)
{
	return &sim->table;
}

void pfnbuf_sim_set_iommufd(struct pfnbuf_sim *sim, bool present)
{
	SIM_LOCKED(sim);
	sim->iommufd_present = present;
}

void pfnbuf_sim_set_kvm(struct pfnbuf_sim *sim, bool present)
{
	SIM_LOCKED(sim);
	sim->kvm_present = present;
}

void pfnbuf_sim_set_memlock(struct pfnbuf_sim *sim, uint64_t bytes)
{
	SIM_LOCKED(sim);
	sim->memlock = bytes;
}

void pfnbuf_sim_set_proposed(struct pfnbuf_sim *sim, unsigned flags)
{
	SIM_LOCKED(sim);
	sim->proposed = flags;
}

void pfnbuf_sim_set_selftest(struct pfnbuf_sim *sim, unsigned flags)
{
	SIM_LOCKED(sim);
	sim->selftest = flags;
}

int pfnbuf_sim_set_iova_bits(struct pfnbuf_sim *sim, unsigned bits)
{
	if (bits < 32 || bits > 64)
		return -EINVAL;
	SIM_LOCKED(sim);
	sim->aperture_bits = bits;
	return 0;
}
