/* SPDX-License-Identifier: MIT */
#ifndef TESTS_CONFORMANCE_CONF_H
#define TESTS_CONFORMANCE_CONF_H

/*
 * Conformance: one small case for each rule of the kernel's interfaces, made through the table of
 * calls, so that the same cases judge the simulated kernel and the running one.
 *
 * A case gets a struct conf with nothing open. What it opens through the conf_* helpers is closed
 * after it. Failed expectations are printed; a case fails if one did.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <pfnbuf-sim.h>

#include "libpfnbuf-sim/iommufd_test.h"
#include "libpfnbuf/uapi/dma-buf.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/pci.h"
#include "libpfnbuf/uapi/vfio.h"

#define PAGE 4096ULL

/* A device of the machine, by the part that it plays. */
enum conf_role {
	PLAIN,	  /* has a BAR of plain memory, at least 64 KiB */
	FLR,	  /* can be reset by Function Level Reset */
	NO_RESET, /* cannot be reset */
	ALONE,	  /* can be reset because nothing else is in its slot */
	PAIR,	  /* shares a slot that can be reset with PEER */
	PEER,
	NR_ROLES,
};

struct conf_device {
	char bdf[16]; /* "" where the machine has none */
	char cdev[64];
	unsigned bar; /* its first memory BAR of two pages; for PLAIN the one of plain memory */
	uint64_t bar_size;
};

#define CONF_MAX_FDS  64
#define CONF_MAX_MAPS 16

struct conf {
	const struct pfnbuf_kernel *kernel;
	const struct conf_device *devices;
	struct pfnbuf_sim *sim; /* NULL: the running kernel */
	bool failed, limited;
	int fds[CONF_MAX_FDS];
	unsigned nr_fds;
	struct {
		void *addr;
		size_t length;
	} maps[CONF_MAX_MAPS];
	unsigned nr_maps;
};

enum {
	NEED_PLAIN = 1 << PLAIN,
	NEED_FLR = 1 << FLR,
	NEED_NO_RESET = 1 << NO_RESET,
	NEED_ALONE = 1 << ALONE,
	NEED_PAIR = 1 << PAIR | 1 << PEER,
	NEED_IOMMUFD = 1 << 8,
	NEED_KVM = 1 << 9,
	NEED_PRIVATE = 1 << 10,	 /* a VM type with private memory */
	NEED_SELFTEST = 1 << 11, /* CONFIG_IOMMUFD_TEST */
};

struct conf_case {
	const char *rule;
	const char *source; /* path in Linux 7.3 and function */
	void (*run)(struct conf *c, const void *data);
	const void *data;
	unsigned needs;
};

struct conf_table {
	const char *name;
	const struct conf_case *cases;
	size_t n;
};

#define CONF_TABLE(symbol, array)                                                                  \
	const struct conf_table symbol = { #array, array, sizeof(array) / sizeof((array)[0]) }

extern const struct conf_table conf_iommufd, conf_ioas, conf_file, conf_device, conf_config,
	conf_feature, conf_revocation, conf_kvm, conf_guest_memfd, conf_machine, conf_selftest;

/* Integers are equal; small negative ones are named as errnos. Returns whether they are. */
#define expect(c, got, want)                                                                       \
	conf_expect((c), (intmax_t)(got), (intmax_t)(want), #got, __FILE__, __LINE__)
#define expect_true(c, condition) conf_expect((c), !!(condition), 1, #condition, __FILE__, __LINE__)

bool conf_expect(struct conf *c, intmax_t got, intmax_t want, const char *what, const char *file,
		 int line);

/* Unmap and close all that a case left. */
void conf_clean_up(struct conf *c);

/* Calls; each is closed, or unmapped, after the case. */
int conf_keep(struct conf *c, int fd);
int conf_open(struct conf *c, const char *path, int flags);
int conf_close(struct conf *c, int fd);
int conf_ioctl(struct conf *c, int fd, unsigned long request, void *arg);
int conf_ioctl_value(struct conf *c, int fd, unsigned long request, unsigned long value);
int conf_mmap(struct conf *c, size_t length, int prot, int flags, int fd, uint64_t offset,
	      void **out);
int conf_munmap(struct conf *c, void *addr, size_t length);
/* Memory of the process, private and zeroed, or NULL. */
void *conf_memory(struct conf *c, size_t length);
int conf_memfd(struct conf *c, uint64_t size);
int conf_eventfd(struct conf *c);
/* What an eventfd has counted since it was asked last. */
uint64_t conf_count(struct conf *c, int eventfd);
/* epoll_ctl, and what the only file that is waited for is ready for (EPOLLIN and the like). */
int conf_wait_for(struct conf *c, int epoll, int op, int fd, uint32_t events);
uint32_t conf_ready(struct conf *c, int epoll);
/*
 * RLIMIT_MEMLOCK of a caller without CAP_IPC_LOCK, until the case ends or UINT64_MAX lifts it. How
 * it is set is all that a case does otherwise with one kernel than with the other.
 */
void conf_set_memlock(struct conf *c, uint64_t bytes);
/* An address that nothing is mapped at, of @length bytes. */
uint64_t conf_hole(struct conf *c, size_t length);
/* How touching one byte ends: 0, or -EFAULT where it is SIGSEGV or SIGBUS. */
int conf_touch(const void *addr, bool write);

/* Common openings. They expect success and give a negative value where there was none. */
int conf_iommufd_open(struct conf *c);
uint32_t conf_ioas_new(struct conf *c, int iommufd);
int conf_cdev(struct conf *c, enum conf_role role);
int conf_bind(struct conf *c, int device, int iommufd, uint32_t *devid);
int conf_attach(struct conf *c, int device, uint32_t *pt_id);
int conf_detach(struct conf *c, int device);
/* Opened and bound; with @ioas also attached to it. */
int conf_device_open(struct conf *c, enum conf_role role, int iommufd, uint32_t ioas);
int conf_vm(struct conf *c, unsigned long type);

int conf_map(struct conf *c, int iommufd, uint32_t ioas, const void *va, uint64_t length,
	     uint64_t iova);
int conf_map_file(struct conf *c, int iommufd, uint32_t ioas, int fd, uint64_t start,
		  uint64_t length, uint64_t iova);
int conf_unmap(struct conf *c, int iommufd, uint32_t ioas, uint64_t iova, uint64_t length,
	       uint64_t *unmapped);
int conf_copy(struct conf *c, int iommufd, uint32_t dst, uint64_t dst_iova, uint32_t src,
	      uint64_t src_iova, uint64_t length);
int conf_destroy(struct conf *c, int iommufd, uint32_t id);
/*
 * -EEXIST where something is mapped at the page, 0 where nothing is: tried with a mapping that is
 * undone.
 */
int conf_probe_iova(struct conf *c, int iommufd, uint32_t ioas, uint64_t iova);
int conf_hwpt(struct conf *c, int iommufd, uint32_t dev_id, uint32_t pt_id, uint32_t *hwpt);
/* A slice of the device's BAR as a dma-buf: the fd or a negative errno. */
int conf_export(struct conf *c, int device, unsigned bar, uint64_t offset, uint64_t length);
/* Its first two pages, as a range each. */
int conf_export_two(struct conf *c, int device, unsigned bar);
int conf_feature_call(struct conf *c, int device, uint32_t flags, const void *data, size_t size);
/* -ENODEV where it is revoked, 0 where it can be imported. */
int conf_probe_dmabuf(struct conf *c, int iommufd, int dmabuf);
ssize_t conf_config_read(struct conf *c, int device, unsigned pos, void *data, size_t size);
ssize_t conf_config_write(struct conf *c, int device, unsigned pos, const void *data, size_t size);
/* Clear and set bits of PCI_COMMAND. */
void conf_command(struct conf *c, int device, unsigned clear, unsigned set);
/* The device's first BAR of I/O ports, which it is expected to have. */
uint32_t conf_io_bar(struct conf *c, int device);
/* The offset of a capability, or 0. */
unsigned conf_capability(struct conf *c, int device, unsigned id);
int conf_slot(struct conf *c, int vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
	      const void *va);
int conf_slot2(struct conf *c, int vm, uint32_t slot, uint64_t gpa, uint64_t size, const void *va,
	       int gmem, uint64_t offset);
int conf_gmem(struct conf *c, int vm, uint64_t size, uint64_t flags);
int conf_attributes(struct conf *c, int vm, uint64_t gpa, uint64_t size, uint64_t attributes);

#endif
