/* SPDX-License-Identifier: MIT */
/* The preload: one simulated kernel for the process, and the calls on its files. */
#include <fcntl.h>
#include <linux/mman.h>
#include <linux/memfd.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include "machine.h"
#include "preload.h"

/* The C library's headers name the parameters otherwise. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

__thread unsigned preload_inside __attribute__((tls_model("initial-exec")));

/* ---------------------------------------------------------------- the machine */

static struct pfnbuf_sim *made;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/*
 * A fork while another thread is in the simulated kernel leaves its state whole to the child. An
 * iommufd that is open stays this process's, and the child's calls on it come here.
 */
static void before_fork(void)
{
	INSIDE();
	sim_fork_before(made);
}

/* The thread that serves them is the simulated kernel's own. */
static void enter_server(void)
{
	preload_inside++;
}

static void after_fork_in_parent(void)
{
	INSIDE();
	sim_fork_parent(made, enter_server);
}

static void after_fork_in_child(void)
{
	INSIDE();
	sim_fork_child(made);
}

static void make(void)
{
	const char *description = getenv(MACHINE_VARIABLE);
	struct pfnbuf_sim *sim;
	char why[512];

	if (machine_new(&sim, description ? description : "", why, sizeof(why))) {
		fprintf(stderr, "pfnbuf-sim-run: %s\n", why);
		_exit(125);
	}
	__atomic_store_n(&made, sim, __ATOMIC_RELEASE);
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

struct pfnbuf_sim *preload_sim(void)
{
	int saved = errno;

	INSIDE();
	pthread_once(&once, make);
	errno = saved;
	return made;
}

static struct pfnbuf_sim *sim_if_made(void)
{
	return __atomic_load_n(&made, __ATOMIC_ACQUIRE);
}

const struct pfnbuf_kernel *preload_table_of(int fd)
{
	struct pfnbuf_sim *sim = sim_if_made();
	bool ours;

	if (preload_inside || !sim || fd < 0)
		return NULL;
	INSIDE();
	{
		SIM_LOCKED(sim);
		ours = sim_file_get(sim, fd) != NULL;
	}
	return ours ? &sim->table : NULL;
}

static void notice_closed(void)
{
	struct pfnbuf_sim *sim = sim_if_made();
	int saved = errno;

	if (!sim || preload_inside)
		return;
	INSIDE();
	SIM_LOCKED(sim);
	sim_reap(sim);
	errno = saved;
}

/* ---------------------------------------------------------------- fds */

EXPORT int close(int fd)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(close);
	if (!k)
		return real(fd);
	INSIDE();
	return (int)preload_give(k->close(k->data, fd));
}

EXPORT int dup2(int fd, int to)
{
	bool closes = fd != to && preload_table_of(to);
	int ret;

	REAL(dup2);
	ret = real(fd, to);
	if (closes && ret >= 0)
		notice_closed();
	return ret;
}

EXPORT int dup3(int fd, int to, int flags)
{
	bool closes = fd != to && preload_table_of(to);
	int ret;

	REAL(dup3);
	ret = real(fd, to, flags);
	if (closes && ret >= 0)
		notice_closed();
	return ret;
}

/* Those of the simulated kernel itself lie above a bound, where a sweep must not reach. */
EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	struct pfnbuf_sim *sim = sim_if_made();
	int ret = 0;

	REAL(close_range);
	if (!sim || preload_inside || flags)
		return real(first, last, flags);
	if (first > last)
		return (int)preload_give(-EINVAL);
	if (first < (unsigned)sim->high_fd)
		ret = real(first, MIN(last, (unsigned)sim->high_fd - 1), 0);
	notice_closed();
	return ret;
}

EXPORT void closefrom(int first)
{
	close_range(first < 0 ? 0 : (unsigned)first, UINT_MAX, 0);
}

/* A file of the kernel's takes no seals; the memory behind these would. */
static int check_fcntl(int fd, int cmd)
{
	return (cmd == F_ADD_SEALS || cmd == F_GET_SEALS) && preload_table_of(fd) ? -EINVAL : 0;
}

#define FCNTL(name)                                                                                \
	EXPORT int name(int fd, int cmd, ...)                                                      \
	{                                                                                          \
		int err = check_fcntl(fd, cmd);                                                    \
		va_list args;                                                                      \
		void *arg;                                                                         \
                                                                                                   \
		va_start(args, cmd);                                                               \
		arg = va_arg(args, void *);                                                        \
		va_end(args);                                                                      \
		REAL(name);                                                                        \
		return err ? (int)preload_give(err) : real(fd, cmd, arg);                          \
	}

FCNTL(fcntl)
FCNTL(fcntl64)

EXPORT int ioctl(int fd, unsigned long request, ...)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	REAL(ioctl);
	if (!k)
		return real(fd, request, arg);
	INSIDE();
	return (int)preload_give(k->ioctl(k->data, fd, request, arg));
}

/* ---------------------------------------------------------------- bytes */

EXPORT ssize_t read(int fd, void *buf, size_t count)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(read);
	if (!k)
		return real(fd, buf, count);
	INSIDE();
	return preload_give(k->read(k->data, fd, buf, count));
}

EXPORT ssize_t write(int fd, const void *buf, size_t count)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(write);
	if (!k)
		return real(fd, buf, count);
	INSIDE();
	return preload_give(k->write(k->data, fd, buf, count));
}

EXPORT ssize_t pread(int fd, void *buf, size_t count, off_t offset)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(pread);
	if (!k)
		return real(fd, buf, count, offset);
	INSIDE();
	return preload_give(k->pread(k->data, fd, buf, count, (uint64_t)offset));
}

EXPORT ssize_t pwrite(int fd, const void *buf, size_t count, off_t offset)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(pwrite);
	if (!k)
		return real(fd, buf, count, offset);
	INSIDE();
	return preload_give(k->pwrite(k->data, fd, buf, count, (uint64_t)offset));
}

/* One piece after the other, as Linux does for files that know no vectors. */
static ssize_t move_pieces(const struct pfnbuf_kernel *k, int fd, const struct iovec *iov, int n,
			   off_t offset, bool positioned, bool out)
{
	ssize_t done = 0;

	INSIDE();
	for (int i = 0; i < n; i++) {
		void *buf = iov[i].iov_base;
		size_t count = iov[i].iov_len;
		uint64_t at = (uint64_t)offset + (uint64_t)done;
		ssize_t ret;

		if (positioned)
			ret = out ? k->pwrite(k->data, fd, buf, count, at)
				  : k->pread(k->data, fd, buf, count, at);
		else
			ret = out ? k->write(k->data, fd, buf, count)
				  : k->read(k->data, fd, buf, count);
		if (ret < 0)
			return done ? done : preload_give(ret);
		done += ret;
		if ((size_t)ret < count)
			break;
	}
	return done;
}

EXPORT ssize_t readv(int fd, const struct iovec *iov, int n)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(readv);
	return k ? move_pieces(k, fd, iov, n, 0, false, false) : real(fd, iov, n);
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int n)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(writev);
	return k ? move_pieces(k, fd, iov, n, 0, false, true) : real(fd, iov, n);
}

EXPORT ssize_t preadv(int fd, const struct iovec *iov, int n, off_t offset)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(preadv);
	return k ? move_pieces(k, fd, iov, n, offset, true, false) : real(fd, iov, n, offset);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(pwritev);
	return k ? move_pieces(k, fd, iov, n, offset, true, true) : real(fd, iov, n, offset);
}

/* ---------------------------------------------------------------- the file */

EXPORT off_t lseek(int fd, off_t offset, int whence)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(lseek);
	if (!k)
		return real(fd, offset, whence);
	INSIDE();
	return preload_give(k->lseek(k->data, fd, offset, whence));
}

EXPORT int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(epoll_ctl);
	if (!k)
		return real(epfd, op, fd, event);
	INSIDE();
	return (int)preload_give(k->epoll_ctl(k->data, epfd, op, fd, event));
}

EXPORT int ftruncate(int fd, off_t length)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(ftruncate);
	if (!k)
		return real(fd, length);
	INSIDE();
	return (int)preload_give(k->ftruncate(k->data, fd, (uint64_t)length));
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t length)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(fallocate);
	if (!k)
		return real(fd, mode, offset, length);
	INSIDE();
	return (int)preload_give(
		k->fallocate(k->data, fd, mode, (uint64_t)offset, (uint64_t)length));
}

/* It returns the error. */
EXPORT int posix_fallocate(int fd, off_t offset, off_t length)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(posix_fallocate);
	if (!k)
		return real(fd, offset, length);
	INSIDE();
	return -k->fallocate(k->data, fd, 0, (uint64_t)offset, (uint64_t)length);
}

EXPORT int fstat(int fd, struct stat *st)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);

	REAL(fstat);
	if (!k)
		return real(fd, st);
	INSIDE();
	return (int)preload_give(k->fstat(k->data, fd, st));
}

EXPORT int fstatfs(int fd, struct statfs *fs)
{
	const struct pfnbuf_kernel *k = preload_table_of(fd);
	uint64_t type;
	int err;

	REAL(fstatfs);
	if (!k || real(fd, fs))
		return real(fd, fs);
	INSIDE();
	err = k->fstatfs_type(k->data, fd, &type);
	if (!err)
		fs->f_type = (__fsword_t)type;
	return (int)preload_give(err);
}

/* ---------------------------------------------------------------- mappings */

/* Mappings of BARs are known to the simulated kernel; other memory is none of its business. */
static const struct pfnbuf_kernel *table_of_memory(const void *addr, size_t length)
{
	struct pfnbuf_sim *sim = sim_if_made();
	bool ours;

	if (preload_inside || !sim)
		return NULL;
	INSIDE();
	{
		SIM_LOCKED(sim);
		ours = sim_mapping_has_bar(sim, (uint64_t)(uintptr_t)addr, page_up(length));
	}
	return ours ? &sim->table : NULL;
}

#define HUGE_SHIFT 21
#define HUGE_SIZE  ((size_t)1 << HUGE_SHIFT)

static bool has_hugepages(void)
{
	const char *description = preload_inside ? NULL : getenv(MACHINE_VARIABLE);

	return description && machine_has_hugepages(description);
}

static bool is_huge_size(unsigned shift)
{
	return !shift || shift == HUGE_SHIFT;
}

/* Ordinary memory where a huge page could be. */
static void *map_huge(__typeof__(&mmap) map, void *addr, size_t length, int prot, int flags, int fd,
		      off_t offset)
{
	size_t size = (length + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1);
	uintptr_t start, at;
	void *mem;

	flags &= ~(MAP_HUGETLB | MAP_HUGE_MASK << MAP_HUGE_SHIFT);
	if (flags & MAP_FIXED)
		return map(addr, size, prot, flags, fd, offset);
	mem = map(NULL, size + HUGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return mem;
	start = (uintptr_t)mem;
	at = (start + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1);
	INSIDE();
	if (at > start)
		munmap(mem, at - start);
	munmap((void *)(at + size), start + HUGE_SIZE - at);
	mem = map((void *)at, size, prot, flags | MAP_FIXED, fd, offset);
	if (mem == MAP_FAILED)
		munmap((void *)at, size);
	return mem;
}

EXPORT int memfd_create(const char *name, unsigned flags)
{
	REAL(memfd_create);
	if (flags & MFD_HUGETLB && is_huge_size(flags >> MFD_HUGE_SHIFT & MFD_HUGE_MASK) &&
	    has_hugepages())
		flags &= ~(MFD_HUGETLB | (unsigned)MFD_HUGE_MASK << MFD_HUGE_SHIFT);
	return real(name, flags);
}

EXPORT void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	const struct pfnbuf_kernel *k = flags & MAP_ANONYMOUS ? NULL : preload_table_of(fd);
	void *out = MAP_FAILED;

	REAL(mmap);
	if (!k && flags & MAP_FIXED)
		k = table_of_memory(addr, length);
	if (!k && flags & MAP_HUGETLB &&
	    is_huge_size((unsigned)flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK) && has_hugepages())
		return map_huge(real, addr, length, prot, flags, fd, offset);
	if (!k)
		return real(addr, length, prot, flags, fd, offset);
	INSIDE();
	preload_give(k->mmap(k->data, addr, length, prot, flags, fd, (uint64_t)offset, &out));
	return out;
}

EXPORT int munmap(void *addr, size_t length)
{
	const struct pfnbuf_kernel *k = table_of_memory(addr, length);

	REAL(munmap);
	if (!k)
		return real(addr, length);
	INSIDE();
	return (int)preload_give(k->munmap(k->data, addr, length));
}

/* A BAR's mapping may shrink; it may not grow (VM_DONTEXPAND), and it stays where it is. */
EXPORT void *mremap(void *addr, size_t old, size_t size, int flags, ...)
{
	const struct pfnbuf_kernel *k = table_of_memory(addr, old);
	va_list args;
	void *to;

	va_start(args, flags);
	to = va_arg(args, void *);
	va_end(args);
	REAL(mremap);
	if (!k)
		return real(addr, old, size, flags, to);
	if (!size || !page_aligned((uint64_t)(uintptr_t)addr) || flags & ~MREMAP_MAYMOVE)
		return (void *)preload_give(-EINVAL);
	if (page_up(size) > page_up(old))
		return (void *)preload_give(-EFAULT);
	if (page_up(size) < page_up(old) &&
	    munmap((char *)addr + page_up(size), page_up(old) - page_up(size)))
		return MAP_FAILED;
	return addr;
}

/* ---------------------------------------------------------------- other names of the same */

/* The two are one call where off_t has 64 bits, and a struct is what it is without the 64. */
_Static_assert(sizeof(off_t) == 8, "off_t");

#define ALIAS(name, of) EXPORT __typeof__(of) name __attribute__((alias(#of)))

#undef pread64
ALIAS(pread64, pread);
ALIAS(pwrite64, pwrite);
ALIAS(preadv64, preadv);
ALIAS(pwritev64, pwritev);
ALIAS(lseek64, lseek);
ALIAS(ftruncate64, ftruncate);
ALIAS(fallocate64, fallocate);
ALIAS(posix_fallocate64, posix_fallocate);
ALIAS(mmap64, mmap);
EXPORT int fstat64(int fd, struct stat64 *st) __attribute__((alias("fstat")));
EXPORT int fstatfs64(int fd, struct statfs64 *fs) __attribute__((alias("fstatfs")));

/* What the C library's headers make of the calls above where _FORTIFY_SOURCE is on. */
extern void __chk_fail(void) __attribute__((noreturn));
EXPORT ssize_t __read_chk(int fd, void *buf, size_t count, size_t size);
EXPORT ssize_t __pread_chk(int fd, void *buf, size_t count, off_t offset, size_t size);
EXPORT ssize_t __pread64_chk(int fd, void *buf, size_t count, off_t offset, size_t size);

EXPORT ssize_t __read_chk(int fd, void *buf, size_t count, size_t size)
{
	if (count > size)
		__chk_fail();
	return read(fd, buf, count);
}

EXPORT ssize_t __pread_chk(int fd, void *buf, size_t count, off_t offset, size_t size)
{
	if (count > size)
		__chk_fail();
	return pread(fd, buf, count, offset);
}

ALIAS(__pread64_chk, __pread_chk);

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
