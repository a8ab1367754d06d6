/* SPDX-License-Identifier: MIT */
/* The calls that name a file, and directories: what is of the machine is answered from it. */
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "preload.h"

/* The C library's headers name the parameters otherwise. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

#define SIM_DEV makedev(0, 0xfb)

/* ---------------------------------------------------------------- directories as fds */

/* An fd of a simulated directory is that of an empty memfd, known by its inode. */
struct dir_fd {
	struct dir_fd *next;
	uint64_t dev, ino;
	char path[];
};

static struct dir_fd *dir_fds;
static pthread_mutex_t dir_lock = PTHREAD_MUTEX_INITIALIZER;

static int open_dir(const char *path, int flags)
{
	struct dir_fd *dir = malloc(sizeof(*dir) + strlen(path) + 1);
	int fd = memfd_create("sysfs directory", flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
	struct stat st;

	if (!dir || fd < 0 || fstat(fd, &st)) {
		int err = dir ? -errno : -ENOMEM;

		free(dir);
		if (fd >= 0)
			close(fd);
		return err;
	}
	dir->dev = (uint64_t)st.st_dev;
	dir->ino = (uint64_t)st.st_ino;
	strcpy(dir->path, path);
	pthread_mutex_lock(&dir_lock);
	dir->next = dir_fds;
	dir_fds = dir;
	pthread_mutex_unlock(&dir_lock);
	return fd;
}

static bool dir_path(int fd, char path[PATH_MAX])
{
	struct dir_fd *dir = __atomic_load_n(&dir_fds, __ATOMIC_ACQUIRE);
	struct stat st;
	int saved = errno;

	if (!dir)
		return false;
	if (fstat(fd, &st)) {
		errno = saved;
		return false;
	}
	pthread_mutex_lock(&dir_lock);
	for (dir = dir_fds; dir; dir = dir->next)
		if (dir->ino == (uint64_t)st.st_ino && dir->dev == (uint64_t)st.st_dev)
			break;
	if (dir)
		strcpy(path, dir->path);
	pthread_mutex_unlock(&dir_lock);
	return dir != NULL;
}

/* ---------------------------------------------------------------- which path it is */

static bool starts(const char *path, const char *prefix)
{
	return !strncmp(path, prefix, strlen(prefix));
}

/* Where anything of the machine can be; what begins otherwise is the running kernel's. */
static bool suspect(const char *path)
{
	return starts(path, "/sys") || starts(path, "/dev") || starts(path, "/proc");
}

static bool is_fd_link(const char *path)
{
	return starts(path, "/proc/self/fd/") || starts(path, "/proc/self/fdinfo/");
}

static bool owned(const char *path)
{
	return !strcmp(path, "/dev/iommu") || !strcmp(path, "/dev/kvm") || sim_sysfs_owns(path);
}

/* The name that is meant, absolute: false where it cannot be one of the machine's. */
static bool make_absolute(int dirfd, const char *path, char out[PATH_MAX])
{
	size_t n;

	if (!path)
		return false;
	if (*path == '/') {
		if (!suspect(path) && !starts(path, "//") && !starts(path, "/."))
			return false;
		return snprintf(out, PATH_MAX, "%s", path) < PATH_MAX;
	}
	if (!*path)
		return false;
	if (dirfd == AT_FDCWD) {
		if (!getcwd(out, PATH_MAX))
			return false;
	} else if (!dir_path(dirfd, out)) {
		char link[64];
		ssize_t length;

		snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
		length = readlink(link, out, PATH_MAX - 1);
		if (length < 0)
			return false;
		out[length] = 0;
	}
	if (strcmp(out, "/") != 0 && !suspect(out))
		return false;
	n = strlen(out);
	return snprintf(out + n, PATH_MAX - n, "/%s", path) < (int)(PATH_MAX - n);
}

/* Take the last name off. */
static void pop(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash)
		*slash = 0;
}

/*
 * Walk @path from the root, following the machine's links; the last one only with @follow or a
 * slash behind it. True
 * where it ends at a path of the machine, which is in @out then, there or not.
 */
static bool walk(struct pfnbuf_sim *sim, const char *path, bool follow, char out[PATH_MAX])
{
	char target[PATH_MAX], rest[PATH_MAX], self[32];
	size_t used = 0;

	*out = 0;
	while (*path) {
		size_t n;
		ssize_t got;

		path += strspn(path, "/");
		n = strcspn(path, "/");
		if (!n)
			break;
		if (n == 2 && starts(path, "..")) {
			pop(out);
		} else if (!(n == 1 && *path == '.')) {
			used = strlen(out);
			if (used + n + 2 > PATH_MAX)
				return false;
			out[used] = '/';
			memcpy(out + used + 1, path, n);
			out[used + 1 + n] = 0;
		}
		path += n;
		if ((!follow && !*path) || !owned(out))
			continue;
		got = sim->table.readlink(sim, out, target, sizeof(target) - 1);
		if (got < 0)
			continue;
		target[got] = 0;
		pop(out);
		/* A link of the machine's never leads back to itself. */
		return snprintf(rest, sizeof(rest), "%s/%s%s", *target == '/' ? "" : out, target,
				path) < (int)sizeof(rest) &&
		       walk(sim, rest, follow, out);
	}
	snprintf(self, sizeof(self), "/proc/%d/", getpid());
	if (starts(out, self)) {
		snprintf(rest, sizeof(rest), "/proc/self/%s", out + strlen(self));
		strcpy(out, rest);
	}
	return owned(out) || is_fd_link(out);
}

/* The simulated kernel if the path is its business: then @out is what it knows it by. */
static struct pfnbuf_sim *locate(int dirfd, const char *path, bool follow, char out[PATH_MAX])
{
	char absolute[PATH_MAX];
	struct pfnbuf_sim *sim;
	int saved = errno;
	bool ours;

	if (preload_inside)
		return NULL;
	INSIDE();
	ours = make_absolute(dirfd, path, absolute);
	if (ours) {
		sim = preload_sim();
		ours = walk(sim, absolute, follow, out);
	}
	errno = saved;
	return ours ? sim : NULL;
}

/* ---------------------------------------------------------------- what is there */

enum { NAMES_MAX = 65536 };

/* The names in a directory, or a negative errno. The caller frees *namesp. */
static ssize_t list(struct pfnbuf_sim *sim, const char *path, char **namesp)
{
	char *names = malloc(NAMES_MAX);
	ssize_t size = names ? sim->table.list(sim, path, names, NAMES_MAX) : -ENOMEM;

	if (size < 0)
		free(names);
	else
		*namesp = names;
	return size;
}

static bool has_name(struct pfnbuf_sim *sim, const char *dir, const char *name)
{
	char *names;
	ssize_t size = list(sim, dir, &names);
	bool found = false;

	if (size < 0)
		return false;
	for (const char *p = names; p < names + size && !found; p += strlen(p) + 1)
		found = !strcmp(p, name);
	free(names);
	return found;
}

/* S_IFMT and permissions, or a negative errno. */
static int mode_of(struct pfnbuf_sim *sim, const char *path)
{
	static const char devices[] = "/dev/vfio/devices/";
	char target[PATH_MAX];
	char *names;
	ssize_t ret;

	if (!strcmp(path, "/dev/iommu"))
		return sim->iommufd_present ? S_IFCHR | 0600 : -ENOENT;
	if (!strcmp(path, "/dev/kvm"))
		return sim->kvm_present ? S_IFCHR | 0600 : -ENOENT;
	if (starts(path, devices))
		return has_name(sim, "/dev/vfio/devices", path + strlen(devices)) ? S_IFCHR | 0600
										  : -ENOENT;
	ret = sim->table.readlink(sim, path, target, sizeof(target));
	if (ret >= 0)
		return S_IFLNK | 0777;
	if (ret != -EINVAL)
		return (int)ret;
	ret = list(sim, path, &names);
	if (ret >= 0)
		free(names);
	return ret == -ENOTDIR ? S_IFREG | 0444 : ret < 0 ? (int)ret : S_IFDIR | 0755;
}

static uint64_t name_hash(const char *path)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * 0x100000001b3;
	return hash;
}

static int stat_path(struct pfnbuf_sim *sim, const char *path, struct stat *st)
{
	int mode = mode_of(sim, path);
	const char *vfio = strstr(path, "/vfio/devices/vfio");

	if (mode < 0)
		return mode;
	memset(st, 0, sizeof(*st));
	st->st_dev = SIM_DEV;
	st->st_ino = name_hash(path);
	st->st_mode = (mode_t)mode;
	st->st_nlink = 1;
	st->st_blksize = 4096;
	if (S_ISREG(mode))
		st->st_size = 4096;
	else if (vfio)
		st->st_rdev = makedev(SIM_VFIO_MAJOR, (unsigned)atoi(vfio + 18));
	else if (S_ISCHR(mode))
		st->st_rdev = makedev(10, strcmp(path, "/dev/kvm") ? 125 : 232);
	return 0;
}

/* ---------------------------------------------------------------- open */

static int open_located(struct pfnbuf_sim *sim, const char *path, int flags)
{
	int fd;

	if (flags & O_CREAT && flags & O_EXCL && mode_of(sim, path) >= 0)
		return -EEXIST;
	fd = sim->table.open(sim, path, flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_DIRECTORY));
	if (fd >= 0 && flags & O_DIRECTORY) {
		sim->table.close(sim, fd);
		return -ENOTDIR;
	}
	if (fd == -EISDIR && mode_of(sim, path) == (S_IFLNK | 0777))
		return -ELOOP;
	if (fd == -EISDIR && (flags & O_ACCMODE) == O_RDONLY)
		return open_dir(path, flags);
	if (fd >= 0 && !(flags & O_CLOEXEC) && sim_sysfs_owns(path))
		fcntl(fd, F_SETFD, 0);
	return fd;
}

/* False: it is for the running kernel. */
static bool try_open(int dirfd, const char *path, int flags, int *fd)
{
	char name[PATH_MAX];
	struct pfnbuf_sim *sim = locate(dirfd, path, !(flags & O_NOFOLLOW), name);
	int saved = errno;

	/* Opening an fd by its name gives another fd for the file, which is as it should be. */
	if (!sim || starts(name, "/proc/self/fd/"))
		return false;
	INSIDE();
	*fd = open_located(sim, name, flags);
	errno = saved;
	*fd = (int)preload_give(*fd);
	return true;
}

static mode_t creation_mode(int flags, va_list args)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
	EXPORT int name(const char *path, int flags, ...)                                          \
	{                                                                                          \
		va_list args;                                                                      \
		mode_t mode;                                                                       \
		int fd;                                                                            \
                                                                                                   \
		va_start(args, flags);                                                             \
		mode = creation_mode(flags, args);                                                 \
		va_end(args);                                                                      \
		REAL(name);                                                                        \
		return try_open(AT_FDCWD, path, flags, &fd) ? fd : real(path, flags, mode);        \
	}

#define OPENAT(name)                                                                               \
	EXPORT int name(int dirfd, const char *path, int flags, ...)                               \
	{                                                                                          \
		va_list args;                                                                      \
		mode_t mode;                                                                       \
		int fd;                                                                            \
                                                                                                   \
		va_start(args, flags);                                                             \
		mode = creation_mode(flags, args);                                                 \
		va_end(args);                                                                      \
		REAL(name);                                                                        \
		return try_open(dirfd, path, flags, &fd) ? fd : real(dirfd, path, flags, mode);    \
	}

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

EXPORT int creat(const char *path, mode_t mode)
{
	return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

EXPORT int creat64(const char *path, mode_t mode)
{
	return open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

/* What the C library's headers make of them where _FORTIFY_SOURCE is on. */
EXPORT int __open_2(const char *path, int flags);
EXPORT int __open64_2(const char *path, int flags);
EXPORT int __openat_2(int dirfd, const char *path, int flags);
EXPORT int __openat64_2(int dirfd, const char *path, int flags);

EXPORT int __open_2(const char *path, int flags)
{
	return open(path, flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return open64(path, flags);
}

EXPORT int __openat_2(int dirfd, const char *path, int flags)
{
	return openat(dirfd, path, flags);
}

EXPORT int __openat64_2(int dirfd, const char *path, int flags)
{
	return openat64(dirfd, path, flags);
}

static FILE *stream(const char *mode, int fd)
{
	FILE *file = fd < 0 ? NULL : fdopen(fd, mode);

	if (fd >= 0 && !file)
		close(fd);
	return file;
}

static int stream_flags(const char *mode)
{
	int flags = *mode == 'r' ? O_RDONLY : O_WRONLY | O_CREAT;

	if (strchr(mode, '+'))
		flags = (flags & ~O_ACCMODE) | O_RDWR;
	return flags | (strchr(mode, 'e') ? O_CLOEXEC : 0);
}

EXPORT FILE *fopen(const char *path, const char *mode)
{
	int fd;

	REAL(fopen);
	return try_open(AT_FDCWD, path, stream_flags(mode), &fd) ? stream(mode, fd)
								 : real(path, mode);
}

EXPORT FILE *fopen64(const char *path, const char *mode)
{
	return fopen(path, mode);
}

/* ---------------------------------------------------------------- stat and its kin */

static bool try_stat(int dirfd, const char *path, bool follow, struct stat *st, int *ret)
{
	char name[PATH_MAX];
	struct pfnbuf_sim *sim = locate(dirfd, path, follow, name);
	int saved = errno;

	if (!sim || is_fd_link(name))
		return false;
	INSIDE();
	*ret = stat_path(sim, name, st);
	errno = saved;
	*ret = (int)preload_give(*ret);
	return true;
}

EXPORT int fstatat(int dirfd, const char *restrict path, struct stat *restrict st, int flags)
{
	int ret;

	REAL(fstatat);
	if (flags & AT_EMPTY_PATH && !*path && preload_table_of(dirfd))
		return fstat(dirfd, st);
	return try_stat(dirfd, path, !(flags & AT_SYMLINK_NOFOLLOW), st, &ret)
		       ? ret
		       : real(dirfd, path, st, flags);
}

EXPORT int stat(const char *restrict path, struct stat *restrict st)
{
	return fstatat(AT_FDCWD, path, st, 0);
}

EXPORT int lstat(const char *restrict path, struct stat *restrict st)
{
	return fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

EXPORT int fstatat64(int dirfd, const char *restrict path, struct stat64 *restrict st, int flags)
	__attribute__((alias("fstatat")));
EXPORT int stat64(const char *restrict path, struct stat64 *restrict st)
	__attribute__((alias("stat")));
EXPORT int lstat64(const char *restrict path, struct stat64 *restrict st)
	__attribute__((alias("lstat")));

/* What programs call that were linked before glibc 2.33. */
EXPORT int __xstat(int version, const char *path, struct stat *st);
EXPORT int __lxstat(int version, const char *path, struct stat *st);
EXPORT int __fxstat(int version, int fd, struct stat *st);
EXPORT int __fxstatat(int version, int dirfd, const char *path, struct stat *st, int flags);
EXPORT int __xstat64(int version, const char *path, struct stat *st)
	__attribute__((alias("__xstat")));
EXPORT int __lxstat64(int version, const char *path, struct stat *st)
	__attribute__((alias("__lxstat")));
EXPORT int __fxstat64(int version, int fd, struct stat *st) __attribute__((alias("__fxstat")));
EXPORT int __fxstatat64(int version, int dirfd, const char *path, struct stat *st, int flags)
	__attribute__((alias("__fxstatat")));

EXPORT int __xstat(int version, const char *path, struct stat *st)
{
	(void)version;
	return stat(path, st);
}

EXPORT int __lxstat(int version, const char *path, struct stat *st)
{
	(void)version;
	return lstat(path, st);
}

EXPORT int __fxstat(int version, int fd, struct stat *st)
{
	(void)version;
	return fstat(fd, st);
}

EXPORT int __fxstatat(int version, int dirfd, const char *path, struct stat *st, int flags)
{
	(void)version;
	return fstatat(dirfd, path, st, flags);
}

static void fill_statx(const struct stat *st, struct statx *stx)
{
	memset(stx, 0, sizeof(*stx));
	stx->stx_mask = STATX_BASIC_STATS;
	stx->stx_blksize = (uint32_t)st->st_blksize;
	stx->stx_nlink = (uint32_t)st->st_nlink;
	stx->stx_mode = (uint16_t)st->st_mode;
	stx->stx_ino = st->st_ino;
	stx->stx_size = (uint64_t)st->st_size;
	stx->stx_rdev_major = major(st->st_rdev);
	stx->stx_rdev_minor = minor(st->st_rdev);
	stx->stx_dev_major = major(st->st_dev);
	stx->stx_dev_minor = minor(st->st_dev);
}

EXPORT int statx(int dirfd, const char *restrict path, int flags, unsigned mask,
		 struct statx *restrict stx)
{
	struct stat st;
	int ret;

	REAL(statx);
	if (flags & AT_EMPTY_PATH && !*path && preload_table_of(dirfd))
		ret = fstat(dirfd, &st);
	else if (!try_stat(dirfd, path, !(flags & AT_SYMLINK_NOFOLLOW), &st, &ret))
		return real(dirfd, path, flags, mask, stx);
	if (!ret)
		fill_statx(&st, stx);
	return ret;
}

EXPORT int faccessat(int dirfd, const char *path, int mode, int flags)
{
	struct stat st;
	int ret;

	REAL(faccessat);
	if (!try_stat(dirfd, path, !(flags & AT_SYMLINK_NOFOLLOW), &st, &ret))
		return real(dirfd, path, mode, flags);
	if (!ret && ((mode & W_OK && S_ISREG(st.st_mode)) || (mode & X_OK && !S_ISDIR(st.st_mode))))
		ret = (int)preload_give(-EACCES);
	return ret;
}

EXPORT int access(const char *path, int mode)
{
	return faccessat(AT_FDCWD, path, mode, 0);
}

/* ---------------------------------------------------------------- links */

EXPORT ssize_t readlinkat(int dirfd, const char *restrict path, char *restrict buf, size_t size)
{
	char name[PATH_MAX];
	struct pfnbuf_sim *sim = locate(dirfd, path, false, name);
	int saved = errno;
	ssize_t ret;

	REAL(readlinkat);
	if (!sim)
		return real(dirfd, path, buf, size);
	INSIDE();
	ret = sim->table.readlink(sim, name, buf, size);
	errno = saved;
	if (ret == -ENOENT && mode_of(sim, name) >= 0)
		ret = -EINVAL;
	return preload_give(ret);
}

EXPORT ssize_t readlink(const char *restrict path, char *restrict buf, size_t size)
{
	return readlinkat(AT_FDCWD, path, buf, size);
}

extern void __chk_fail(void) __attribute__((noreturn));
EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t size, size_t room);
EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *buf, size_t size, size_t room);
EXPORT char *__realpath_chk(const char *path, char *resolved, size_t room);

EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t size, size_t room)
{
	if (size > room)
		__chk_fail();
	return readlink(path, buf, size);
}

EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *buf, size_t size, size_t room)
{
	if (size > room)
		__chk_fail();
	return readlinkat(dirfd, path, buf, size);
}

EXPORT char *realpath(const char *restrict path, char *restrict resolved)
{
	char name[PATH_MAX];
	struct pfnbuf_sim *sim = locate(AT_FDCWD, path, true, name);
	struct stat st;
	int err;

	REAL(realpath);
	if (!sim || is_fd_link(name))
		return real(path, resolved);
	INSIDE();
	err = stat_path(sim, name, &st);
	if (err) {
		errno = -err;
		return NULL;
	}
	return resolved ? strcpy(resolved, name) : strdup(name);
}

EXPORT char *canonicalize_file_name(const char *path)
{
	return realpath(path, NULL);
}

EXPORT char *__realpath_chk(const char *path, char *resolved, size_t room)
{
	if (room < PATH_MAX)
		__chk_fail();
	return realpath(path, resolved);
}

/* Nothing of the machine has attributes, such as an ACL that `ls -l` asks for. */
static bool try_xattr(const char *path, bool follow, ssize_t *ret)
{
	struct stat st;
	int err;

	if (!try_stat(AT_FDCWD, path, follow, &st, &err))
		return false;
	*ret = err ? err : preload_give(-EOPNOTSUPP);
	return true;
}

EXPORT ssize_t getxattr(const char *path, const char *name, void *value, size_t size)
{
	ssize_t ret;

	REAL(getxattr);
	return try_xattr(path, true, &ret) ? ret : real(path, name, value, size);
}

EXPORT ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size)
{
	ssize_t ret;

	REAL(lgetxattr);
	return try_xattr(path, false, &ret) ? ret : real(path, name, value, size);
}

/* ---------------------------------------------------------------- reading directories */

struct sim_dir {
	struct sim_dir *next;
	int fd;
	long at; /* index of the entry that comes next */
	char *names;
	ssize_t size;
	struct dirent entry;
	char path[];
};

static struct sim_dir *open_dirs;

static struct sim_dir *dir_of(const DIR *dir)
{
	struct sim_dir *d;

	if (preload_inside || !__atomic_load_n(&open_dirs, __ATOMIC_ACQUIRE))
		return NULL;
	pthread_mutex_lock(&dir_lock);
	d = open_dirs;
	while (d && d != (const void *)dir)
		d = d->next;
	pthread_mutex_unlock(&dir_lock);
	return d;
}

static DIR *dir_new(struct pfnbuf_sim *sim, const char *path, int fd)
{
	struct sim_dir *dir = calloc(1, sizeof(*dir) + strlen(path) + 1);

	if (dir)
		dir->size = list(sim, path, &dir->names);
	if (!dir || dir->size < 0) {
		errno = dir ? (int)-dir->size : ENOMEM;
		free(dir);
		return NULL;
	}
	dir->fd = fd;
	strcpy(dir->path, path);
	pthread_mutex_lock(&dir_lock);
	dir->next = open_dirs;
	open_dirs = dir;
	pthread_mutex_unlock(&dir_lock);
	return (DIR *)dir;
}

EXPORT DIR *opendir(const char *path)
{
	char name[PATH_MAX];
	struct pfnbuf_sim *sim = locate(AT_FDCWD, path, true, name);
	DIR *dir;
	int fd;

	REAL(opendir);
	if (!sim || is_fd_link(name))
		return real(path);
	INSIDE();
	fd = (int)preload_give(open_located(sim, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (fd < 0)
		return NULL;
	dir = dir_new(sim, name, fd);
	if (!dir)
		close(fd);
	return dir;
}

EXPORT DIR *fdopendir(int fd)
{
	char path[PATH_MAX];

	REAL(fdopendir);
	if (preload_inside || !dir_path(fd, path))
		return real(fd);
	INSIDE();
	return dir_new(preload_sim(), path, fd);
}

static const char *nth_name(const struct sim_dir *dir, long n)
{
	const char *p = dir->names;

	if (n < 2)
		return n ? ".." : ".";
	for (n -= 2; n && p < dir->names + dir->size; n--)
		p += strlen(p) + 1;
	return p < dir->names + dir->size ? p : NULL;
}

static unsigned char entry_type(struct pfnbuf_sim *sim, const struct sim_dir *dir, const char *name)
{
	char path[PATH_MAX];
	int mode;

	if (*name == '.')
		return DT_DIR;
	if (snprintf(path, sizeof(path), "%s/%s", dir->path, name) >= (int)sizeof(path))
		return DT_UNKNOWN;
	mode = mode_of(sim, path);
	return mode < 0 ? DT_UNKNOWN : (unsigned char)IFTODT((unsigned)mode);
}

EXPORT struct dirent *readdir(DIR *dirp)
{
	struct sim_dir *dir = dir_of(dirp);
	const char *name;

	REAL(readdir);
	if (!dir)
		return real(dirp);
	name = nth_name(dir, dir->at);
	if (!name)
		return NULL;
	INSIDE();
	dir->at++;
	dir->entry.d_off = dir->at;
	dir->entry.d_reclen = sizeof(dir->entry);
	dir->entry.d_type = entry_type(preload_sim(), dir, name);
	dir->entry.d_ino = name_hash(name);
	snprintf(dir->entry.d_name, sizeof(dir->entry.d_name), "%s", name);
	return &dir->entry;
}

EXPORT struct dirent64 *readdir64(DIR *dirp) __attribute__((alias("readdir")));

EXPORT int closedir(DIR *dirp)
{
	struct sim_dir *dir = dir_of(dirp);
	struct sim_dir **p = &open_dirs;
	int ret;

	REAL(closedir);
	if (!dir)
		return real(dirp);
	pthread_mutex_lock(&dir_lock);
	while (*p != dir)
		p = &(*p)->next;
	*p = dir->next;
	pthread_mutex_unlock(&dir_lock);
	ret = close(dir->fd);
	free(dir->names);
	free(dir);
	return ret;
}

EXPORT void rewinddir(DIR *dirp)
{
	struct sim_dir *dir = dir_of(dirp);

	REAL(rewinddir);
	if (dir)
		dir->at = 0;
	else
		real(dirp);
}

EXPORT void seekdir(DIR *dirp, long at)
{
	struct sim_dir *dir = dir_of(dirp);

	REAL(seekdir);
	if (dir)
		dir->at = at;
	else
		real(dirp, at);
}

EXPORT long telldir(DIR *dirp)
{
	struct sim_dir *dir = dir_of(dirp);

	REAL(telldir);
	return dir ? dir->at : real(dirp);
}

EXPORT int dirfd(DIR *dirp)
{
	struct sim_dir *dir = dir_of(dirp);

	REAL(dirfd);
	return dir ? dir->fd : real(dirp);
}

/* NOLINTBEGIN(bugprone-sizeof-expression): these are arrays of pointers. */

/* Add a copy of @entry; false without memory. */
static bool append(struct dirent ***entries, int n, const struct dirent *entry)
{
	struct dirent **more = realloc(*entries, ((size_t)n + 1) * sizeof(**entries));

	if (!more)
		return false;
	*entries = more;
	more[n] = malloc(sizeof(*entry));
	if (more[n])
		*more[n] = *entry;
	return more[n] != NULL;
}

static int by_function(const void *a, const void *b, void *function)
{
	int (*const *compare)(const struct dirent **, const struct dirent **) = function;

	return (*compare)((const struct dirent **)(uintptr_t)a,
			  (const struct dirent **)(uintptr_t)b);
}

EXPORT int scandir(const char *path, struct dirent ***entriesp,
		   int (*select)(const struct dirent *),
		   int (*compare)(const struct dirent **, const struct dirent **))
{
	char name[PATH_MAX];
	struct dirent **entries = NULL;
	struct dirent *entry;
	DIR *dir;
	int n = 0;

	REAL(scandir);
	if (!locate(AT_FDCWD, path, true, name))
		return real(path, entriesp, select, compare);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		if (select && !select(entry))
			continue;
		if (!append(&entries, n, entry)) {
			while (n--)
				free(entries[n]);
			free(entries);
			closedir(dir);
			return (int)preload_give(-ENOMEM);
		}
		n++;
	}
	closedir(dir);
	if (compare && entries)
		qsort_r(entries, (size_t)n, sizeof(*entries), by_function, &compare);
	*entriesp = entries;
	return n;
}

/* NOLINTEND(bugprone-sizeof-expression) */

EXPORT int scandir64(const char *path, struct dirent64 ***entriesp,
		     int (*select)(const struct dirent64 *),
		     int (*compare)(const struct dirent64 **, const struct dirent64 **))
	__attribute__((alias("scandir")));

/* It asks the directories that are there by calls of its own, unless told which to use. */
EXPORT int glob(const char *restrict pattern, int flags, int (*on_error)(const char *, int),
		glob_t *restrict found)
{
	REAL(glob);
	if (!preload_inside && suspect(pattern) && !(flags & GLOB_ALTDIRFUNC)) {
		found->gl_opendir = (void *(*)(const char *))opendir;
		found->gl_readdir = (struct dirent * (*)(void *)) readdir;
		found->gl_closedir = (void (*)(void *))(uintptr_t)closedir;
		found->gl_stat = stat;
		found->gl_lstat = lstat;
		flags |= GLOB_ALTDIRFUNC;
	}
	return real(pattern, flags, on_error, found);
}

EXPORT int glob64(const char *restrict pattern, int flags, int (*on_error)(const char *, int),
		  glob64_t *restrict found) __attribute__((alias("glob")));

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
