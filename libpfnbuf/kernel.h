/* SPDX-License-Identifier: MIT */
/*
 * The door as the library's rooms use it: one inline per entry of the table, so that a call reads
 * like the system call it stands for. Results are those of the table: a value or a negative errno.
 */
#ifndef PFNBUF_KERNEL_H
#define PFNBUF_KERNEL_H

#include <pfnbuf.h>

/* Whether every entry of a table that a caller handed in is filled. */
bool pfnbuf_kernel_is_complete(const struct pfnbuf_kernel *kernel);

static inline int k_open(const struct pfnbuf_kernel *k, const char *path, int flags)
{
	return k->open(k->data, path, flags);
}

static inline int k_close(const struct pfnbuf_kernel *k, int fd)
{
	return k->close(k->data, fd);
}

static inline int k_dup(const struct pfnbuf_kernel *k, int fd)
{
	return k->dup(k->data, fd);
}

static inline int k_set_cloexec(const struct pfnbuf_kernel *k, int fd)
{
	return k->set_cloexec(k->data, fd);
}

static inline int k_ioctl(const struct pfnbuf_kernel *k, int fd, unsigned long request, void *arg)
{
	return k->ioctl(k->data, fd, request, arg);
}

static inline int k_mmap(const struct pfnbuf_kernel *k, size_t length, int prot, int flags, int fd,
			 uint64_t offset, void **out)
{
	return k->mmap(k->data, NULL, length, prot, flags, fd, offset, out);
}

static inline int k_munmap(const struct pfnbuf_kernel *k, void *addr, size_t length)
{
	return k->munmap(k->data, addr, length);
}

static inline int k_madvise(const struct pfnbuf_kernel *k, void *addr, size_t length, int advice)
{
	return k->madvise(k->data, addr, length, advice);
}

static inline ssize_t k_pread(const struct pfnbuf_kernel *k, int fd, void *buf, size_t count,
			      uint64_t offset)
{
	return k->pread(k->data, fd, buf, count, offset);
}

static inline ssize_t k_pwrite(const struct pfnbuf_kernel *k, int fd, const void *buf, size_t count,
			       uint64_t offset)
{
	return k->pwrite(k->data, fd, buf, count, offset);
}

static inline ssize_t k_read(const struct pfnbuf_kernel *k, int fd, void *buf, size_t count)
{
	return k->read(k->data, fd, buf, count);
}

static inline ssize_t k_write(const struct pfnbuf_kernel *k, int fd, const void *buf, size_t count)
{
	return k->write(k->data, fd, buf, count);
}

static inline int64_t k_lseek(const struct pfnbuf_kernel *k, int fd, int64_t offset, int whence)
{
	return k->lseek(k->data, fd, offset, whence);
}

static inline int k_fstat(const struct pfnbuf_kernel *k, int fd, struct stat *st)
{
	return k->fstat(k->data, fd, st);
}

static inline int k_fstatfs_type(const struct pfnbuf_kernel *k, int fd, uint64_t *f_type)
{
	return k->fstatfs_type(k->data, fd, f_type);
}

static inline int k_fallocate(const struct pfnbuf_kernel *k, int fd, int mode, uint64_t offset,
			      uint64_t length)
{
	return k->fallocate(k->data, fd, mode, offset, length);
}

static inline int k_ftruncate(const struct pfnbuf_kernel *k, int fd, uint64_t length)
{
	return k->ftruncate(k->data, fd, length);
}

static inline int k_memfd_create(const struct pfnbuf_kernel *k, const char *name, unsigned flags)
{
	return k->memfd_create(k->data, name, flags);
}

static inline int k_memlock(const struct pfnbuf_kernel *k, uint64_t *limit)
{
	return k->memlock(k->data, limit);
}

static inline int k_eventfd(const struct pfnbuf_kernel *k, unsigned initval, int flags)
{
	return k->eventfd(k->data, initval, flags);
}

static inline int k_timerfd(const struct pfnbuf_kernel *k)
{
	return k->timerfd(k->data);
}

static inline int k_timerfd_set(const struct pfnbuf_kernel *k, int fd, uint64_t ns)
{
	return k->timerfd_set(k->data, fd, ns);
}

static inline ssize_t k_readlink(const struct pfnbuf_kernel *k, const char *path, char *buf,
				 size_t size)
{
	return k->readlink(k->data, path, buf, size);
}

static inline ssize_t k_list(const struct pfnbuf_kernel *k, const char *path, char *buf,
			     size_t size)
{
	return k->list(k->data, path, buf, size);
}

static inline int k_epoll_create(const struct pfnbuf_kernel *k)
{
	return k->epoll_create(k->data);
}

static inline int k_epoll_ctl(const struct pfnbuf_kernel *k, int epfd, int op, int fd,
			      struct epoll_event *event)
{
	return k->epoll_ctl(k->data, epfd, op, fd, event);
}

static inline int k_epoll_wait(const struct pfnbuf_kernel *k, int epfd, struct epoll_event *events,
			       int max, int timeout_ms)
{
	return k->epoll_wait(k->data, epfd, events, max, timeout_ms);
}

#endif /* PFNBUF_KERNEL_H */
