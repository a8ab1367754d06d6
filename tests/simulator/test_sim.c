/* SPDX-License-Identifier: MIT */
/*
 * What the simulated kernel has and Linux has not, and so no conformance case can judge: what
 * devices and guests would reach, calls that fail on demand, counting, and that its fds are real
 * ones.
 */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <pfnbuf-sim.h>

#include "tests/conformance/conf.h"

#define BASE	 0x100000ULL
#define GPA	 0x40000000ULL
#define MEMORY	 "0000:00:05.0" /* plain memory */
#define ENGINE	 "0000:01:00.0" /* with Function Level Reset */
#define MEM_BAR	 2
#define BAR(bar) ((uint64_t)(bar) << 40)
#define PRIVATE	 KVM_MEMORY_ATTRIBUTE_PRIVATE

static struct pfnbuf_sim *sim;
static struct conf conf;
static struct conf *const c = &conf;

static const struct conf_device roles[NR_ROLES] = {
	[PLAIN] = { MEMORY, "/dev/vfio/devices/vfio0", MEM_BAR, 1 << 20 },
	[FLR] = { ENGINE, "/dev/vfio/devices/vfio1", 0, 16 << 10 },
};

static int set_up(void **state)
{
	static const struct pfnbuf_sim_device memory = {
		.bdf = MEMORY,
		.vendor = 0x1af4,
		.device = 0x1110,
		.bars = { [MEM_BAR] = { 1 << 20, PFNBUF_SIM_BAR_64 } },
	};
	static const struct pfnbuf_sim_device engine = {
		.bdf = ENGINE,
		.vendor = 0x1b36,
		.device = 0x0010,
		.flags = PFNBUF_SIM_FLR | PFNBUF_SIM_PM,
		.bars = { { 16 << 10, PFNBUF_SIM_BAR_64 } },
	};

	(void)state;
	assert_int_equal(pfnbuf_sim_new(&sim), 0);
	assert_int_equal(pfnbuf_sim_add_device(sim, &memory), 0);
	assert_int_equal(pfnbuf_sim_add_device(sim, &engine), 0);
	conf = (struct conf){ .kernel = pfnbuf_sim_kernel(sim), .devices = roles };
	return 0;
}

static struct pfnbuf_sim_counts counts(void)
{
	struct pfnbuf_sim_counts now;

	pfnbuf_sim_get_counts(sim, &now);
	return now;
}

static int tear_down(void **state)
{
	const struct pfnbuf_sim_counts none = { 0 };
	struct pfnbuf_sim_counts left;

	(void)state;
	conf_clean_up(c);
	left = counts();
	assert_memory_equal(&left, &none, sizeof(none));
	assert_false(conf.failed);
	sim = pfnbuf_sim_free(sim);
	assert_null(sim);
	return 0;
}

/* ------------------------------------------------------------------------ real fds */

static void closed_behind_the_table(void **state)
{
	int iommufd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, iommufd, 0), again;

	(void)state;
	assert_int_equal(counts().devices, 1);
	close(dev);
	assert_int_equal(counts().devices, 0);
	assert_int_equal(conf_feature_call(c, dev, 0, NULL, 0), -EBADF);
	/* The number now belongs to something else. */
	again = conf_memfd(c, PAGE);
	assert_int_equal(again, dev);
	assert_int_equal(conf_feature_call(c, dev, 0, NULL, 0), -ENOTTY);
	conf_device_open(c, PLAIN, iommufd, 0);
	assert_int_equal(counts().devices, 1);
}

static int send_fd(int socket, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(socket, &msg, 0) == 1 ? 0 : -1;
}

static int receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int fd = -1;

	if (recvmsg(socket, &msg, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

static void passed_through_a_socket(void **state)
{
	int iommufd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, iommufd, 0);
	int buf = conf_export(c, dev, MEM_BAR, 0, PAGE), received;
	uint32_t ioas = conf_ioas_new(c, iommufd);
	int sockets[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	assert_int_equal(send_fd(sockets[0], buf), 0);
	conf_close(c, buf);
	/* It is on its way: nobody has an fd, and still it is open. */
	assert_int_equal(counts().dma_bufs, 1);
	received = receive_fd(sockets[1]);
	assert_int_equal(conf_map_file(c, iommufd, ioas, received, 0, PAGE, BASE), 0);
	assert_int_equal(conf_unmap(c, iommufd, ioas, BASE, PAGE, NULL), 0);
	close(received);
	assert_int_equal(counts().dma_bufs, 0);
	close(sockets[0]);
	close(sockets[1]);
}

static void lost_in_a_socket(void **state)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	int buf = conf_export(c, dev, MEM_BAR, 0, PAGE);
	int sockets[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	assert_int_equal(send_fd(sockets[0], buf), 0);
	conf_close(c, buf);
	assert_int_equal(counts().dma_bufs, 1);
	close(sockets[0]);
	close(sockets[1]);
	assert_int_equal(counts().dma_bufs, 0);
}

static void held_by_a_child(void **state)
{
	int iommufd = conf_iommufd_open(c), hold[2];
	int dev = conf_device_open(c, PLAIN, iommufd, 0);
	pid_t child;
	char byte;

	(void)state;
	assert_int_equal(pipe(hold), 0);
	child = fork();
	if (!child) {
		close(hold[1]);
		_exit(read(hold[0], &byte, 1) != 0);
	}
	conf_close(c, dev);
	assert_int_equal(counts().devices, 1);
	close(hold[1]);
	close(hold[0]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(counts().devices, 0);
}

static void low_numbers_are_the_callers(void **state)
{
	int before = dup(0), after;
	int dev;

	(void)state;
	close(before);
	dev = conf_cdev(c, PLAIN);
	assert_int_equal(dev, before);
	after = dup(0);
	assert_int_equal(after, before + 1);
	close(after);
}

static void freed_with_fds_open(void **state)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	int buf = conf_export(c, dev, MEM_BAR, 0, PAGE);
	int vm = conf_vm(c, 0), gmem = conf_gmem(c, vm, PAGE, 0);
	void *mem;

	assert_true(buf >= 0 && gmem >= 0);
	assert_int_equal(conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, dev, BAR(MEM_BAR), &mem), 0);
	sim = pfnbuf_sim_free(sim);
	for (unsigned i = 0; i < conf.nr_fds; i++)
		assert_int_equal(close(conf.fds[i]), 0);
	munmap(mem, PAGE);
	assert_int_equal(set_up(state), 0);
}

/* -------------------------------------------------------------------- BAR mappings */

static void unmapped_behind_the_table(void **state)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	void *mem = NULL, *own;

	(void)state;
	assert_int_equal(c->kernel->mmap(c->kernel->data, NULL, PAGE, PROT_READ, MAP_SHARED, dev,
					 BAR(MEM_BAR), &mem),
			 0);
	munmap(mem, PAGE);
	own = mmap(mem, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		   0);
	assert_ptr_equal(own, mem);
	memset(own, 0x77, PAGE);
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	assert_int_equal(((uint8_t *)own)[100], 0x77);
	conf_command(c, dev, 0, PCI_COMMAND_MEMORY);
	assert_int_equal(((uint8_t *)own)[100], 0x77);
	assert_int_equal(c->kernel->munmap(c->kernel->data, own, PAGE), 0);
}

static void unmapped_in_parts(void **state)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	uint8_t *bytes;
	void *mem;

	(void)state;
	assert_int_equal(
		conf_mmap(c, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dev, BAR(MEM_BAR), &mem),
		0);
	bytes = mem;
	bytes[3 * PAGE] = 0x42;
	assert_int_equal(counts().bar_mappings, 1);
	assert_int_equal(c->kernel->munmap(c->kernel->data, bytes + PAGE, PAGE), 0);
	assert_int_equal(counts().bar_mappings, 2);
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	assert_int_equal(conf_touch(bytes, false), -EFAULT);
	assert_int_equal(conf_touch(bytes + 3 * PAGE, false), -EFAULT);
	conf_command(c, dev, 0, PCI_COMMAND_MEMORY);
	assert_int_equal(conf_touch(bytes, false), 0);
	assert_int_equal(bytes[3 * PAGE], 0x42);
	assert_int_equal(conf_touch(bytes + PAGE, false), -EFAULT);
}

static void mapped_over(void **state)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	void *mem, *over;

	(void)state;
	assert_int_equal(conf_mmap(c, 2 * PAGE, PROT_READ, MAP_SHARED, dev, BAR(MEM_BAR), &mem), 0);
	assert_int_equal(c->kernel->mmap(c->kernel->data, mem, PAGE, PROT_READ,
					 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0, &over),
			 0);
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	assert_int_equal(conf_touch(over, false), 0);
	assert_int_equal(conf_touch((uint8_t *)mem + PAGE, false), -EFAULT);
}

/* ----------------------------------------------------------------------------- DMA */

struct bench {
	int iommufd, memory, engine, buf;
	uint32_t ioas;
};

static void bench_up(struct bench *b)
{
	b->iommufd = conf_iommufd_open(c);
	b->ioas = conf_ioas_new(c, b->iommufd);
	b->memory = conf_device_open(c, PLAIN, b->iommufd, 0);
	b->engine = conf_device_open(c, FLR, b->iommufd, b->ioas);
	conf_command(c, b->engine, 0, PCI_COMMAND_MASTER);
	b->buf = conf_export(c, b->memory, MEM_BAR, 4 * PAGE, 4 * PAGE);
	assert_true(b->buf >= 0);
}

static int dma_write(uint64_t iova, const char *text)
{
	return pfnbuf_sim_dma_write(sim, ENGINE, iova, text, strlen(text) + 1, NULL);
}

static int dma_read(uint64_t iova, char *text, size_t size)
{
	return pfnbuf_sim_dma_read(sim, ENGINE, iova, text, size, NULL);
}

static void dma_to_a_bar(void **state)
{
	struct bench b;
	char text[8];

	(void)state;
	bench_up(&b);
	assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, b.buf, PAGE, 2 * PAGE, BASE), 0);
	assert_int_equal(dma_write(BASE + 16, "peer"), 0);
	assert_int_equal(pfnbuf_sim_bar_peek(sim, MEMORY, MEM_BAR, 5 * PAGE + 16, text, 5), 0);
	assert_string_equal(text, "peer");
	assert_int_equal(pfnbuf_sim_bar_poke(sim, MEMORY, MEM_BAR, 6 * PAGE, "poke", 5), 0);
	assert_int_equal(dma_read(BASE + PAGE, text, 5), 0);
	assert_string_equal(text, "poke");
}

static void dma_to_memory(void **state)
{
	struct bench b;
	char *mem = conf_memory(c, 2 * PAGE), text[8] = "";
	int file = conf_memfd(c, 2 * PAGE);

	(void)state;
	bench_up(&b);
	assert_int_equal(conf_map(c, b.iommufd, b.ioas, mem, 2 * PAGE, BASE), 0);
	assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, file, PAGE, PAGE, BASE + 2 * PAGE), 0);
	assert_int_equal(dma_write(BASE + PAGE, "memory"), 0);
	assert_string_equal(mem + PAGE, "memory");
	/* Across two areas. */
	assert_int_equal(dma_write(BASE + 2 * PAGE - 2, "abcd"), 0);
	assert_memory_equal(mem + 2 * PAGE - 2, "ab", 2);
	assert_int_equal(pread(file, text, 3, PAGE), 3);
	assert_string_equal(text, "cd");
}

static void dma_faults(void **state)
{
	struct bench b;
	uint8_t bytes[64] = { 0 };
	size_t done = 99;
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE,
		.user_va = (uintptr_t)conf_memory(c, PAGE),
		.length = PAGE,
		.iova = BASE,
	};

	(void)state;
	bench_up(&b);
	map.ioas_id = b.ioas;
	assert_int_equal(conf_ioctl(c, b.iommufd, IOMMU_IOAS_MAP, &map), 0);
	assert_int_equal(pfnbuf_sim_dma_read(sim, ENGINE, BASE + PAGE - 16, bytes, 64, &done),
			 -EFAULT);
	assert_int_equal(done, 16);
	assert_int_equal(pfnbuf_sim_dma_write(sim, ENGINE, BASE, bytes, 64, &done), -EFAULT);
	assert_int_equal(done, 0);
	assert_int_equal(dma_write(BASE + PAGE, "x"), -EFAULT);
	conf_command(c, b.engine, PCI_COMMAND_MASTER, 0);
	assert_int_equal(pfnbuf_sim_dma_read(sim, ENGINE, BASE, bytes, 1, NULL), -EPERM);
	conf_command(c, b.engine, 0, PCI_COMMAND_MASTER);
	assert_int_equal(pfnbuf_sim_dma_read(sim, ENGINE, BASE, bytes, 1, NULL), 0);
	assert_int_equal(conf_detach(c, b.engine), 0);
	assert_int_equal(pfnbuf_sim_dma_read(sim, ENGINE, BASE, bytes, 1, NULL), -EPERM);
	assert_int_equal(pfnbuf_sim_dma_read(sim, "0000:09:00.0", BASE, bytes, 1, NULL), -ENODEV);
}

static void dma_to_vanished_memory(void **state)
{
	struct bench b;
	char *mem = conf_memory(c, PAGE);

	(void)state;
	bench_up(&b);
	assert_int_equal(conf_map(c, b.iommufd, b.ioas, mem, PAGE, BASE), 0);
	conf_munmap(c, mem, PAGE);
	assert_int_equal(dma_write(BASE, "x"), -EFAULT);
}

static void dma_to_a_dead_area(void **state)
{
	struct bench b;

	(void)state;
	bench_up(&b);
	assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, b.buf, 0, PAGE, BASE), 0);
	assert_int_equal(conf_copy(c, b.iommufd, b.ioas, BASE + PAGE, b.ioas, BASE, PAGE), 0);
	assert_int_equal(dma_write(BASE + PAGE, "x"), 0);
	conf_command(c, b.memory, PCI_COMMAND_MEMORY, 0);
	assert_int_equal(dma_write(BASE, "x"), -EFAULT);
	assert_int_equal(dma_write(BASE + PAGE, "x"), -EFAULT);
	conf_command(c, b.memory, 0, PCI_COMMAND_MEMORY);
	assert_int_equal(dma_write(BASE, "x"), -EFAULT);
	/* A copy of what is dead is dead, and so is what is attached anew. */
	assert_int_equal(conf_copy(c, b.iommufd, b.ioas, BASE + 2 * PAGE, b.ioas, BASE, PAGE), 0);
	assert_int_equal(dma_write(BASE + 2 * PAGE, "x"), -EFAULT);
	assert_int_equal(counts().dead_areas, 3);
	assert_int_equal(conf_unmap(c, b.iommufd, b.ioas, BASE, PAGE, NULL), 0);
	assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, b.buf, 0, PAGE, BASE), 0);
	assert_int_equal(dma_write(BASE, "x"), 0);
	assert_int_equal(dma_write(BASE + PAGE, "x"), -EFAULT);
}

static void every_reset_kills_imports(void **state)
{
	struct bench b;
	int buf;
	char byte;

	(void)state;
	bench_up(&b);
	buf = conf_export(c, b.engine, 0, 0, PAGE);
	assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, buf, 0, PAGE, BASE), 0);
	assert_int_equal(dma_read(BASE, &byte, 1), 0);
	assert_int_equal(conf_ioctl(c, b.engine, VFIO_DEVICE_RESET, NULL), 0);
	assert_int_equal(dma_read(BASE, &byte, 1), -EFAULT);
	assert_int_equal(conf_unmap(c, b.iommufd, b.ioas, BASE, PAGE, NULL), 0);
	assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, buf, 0, PAGE, BASE), 0);
	assert_int_equal(pfnbuf_sim_foreign_reset(sim, ENGINE), 0);
	assert_int_equal(dma_read(BASE, &byte, 1), -EFAULT);
}

static void exporter_closed_behind_the_table(void **state)
{
	struct bench b;

	(void)state;
	bench_up(&b);
	assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, b.buf, 0, PAGE, BASE), 0);
	assert_int_equal(dma_write(BASE, "x"), 0);
	close(b.memory);
	assert_int_equal(dma_write(BASE, "x"), -EFAULT);
	close(b.engine);
	assert_int_equal(dma_write(BASE, "x"), -EPERM);
}

/* -------------------------------------------------------------------------- guests */

static int guest_write(int vm, uint64_t gpa, bool as_private, const char *text)
{
	return pfnbuf_sim_guest_write(sim, vm, gpa, as_private, text, strlen(text) + 1);
}

static int guest_read(int vm, uint64_t gpa, bool as_private, char *text, size_t size)
{
	return pfnbuf_sim_guest_read(sim, vm, gpa, as_private, text, size);
}

static void guest_memory(void **state)
{
	int vm = conf_vm(c, KVM_X86_DEFAULT_VM);
	char *mem = conf_memory(c, 4 * PAGE), text[8];
	void *barred;

	(void)state;
	barred = conf_memory(c, PAGE);
	assert_int_equal(mprotect(barred, PAGE, PROT_NONE), 0);
	assert_int_equal(conf_slot(c, vm, 0, KVM_MEM_LOG_DIRTY_PAGES, GPA, 4 * PAGE, mem), 0);
	assert_int_equal(conf_slot(c, vm, 1, KVM_MEM_READONLY, GPA + 4 * PAGE, PAGE, mem), 0);
	assert_int_equal(conf_slot(c, vm, 2, 0, GPA + 5 * PAGE, PAGE, barred), 0);
	assert_int_equal(guest_write(vm, GPA + PAGE, false, "guest"), 0);
	assert_string_equal(mem + PAGE, "guest");
	strcpy(mem, "host");
	assert_int_equal(guest_read(vm, GPA + 4 * PAGE, false, text, 5), 0);
	assert_string_equal(text, "host");
	assert_int_equal(guest_write(vm, GPA + 4 * PAGE, false, "x"), -EROFS);
	assert_int_equal(guest_write(vm, GPA + 5 * PAGE, false, "x"), -EFAULT);
	assert_int_equal(guest_write(vm, GPA + 6 * PAGE, false, "x"), -ENXIO);
	assert_int_equal(guest_write(vm, GPA, true, "x"), -EFAULT);
	assert_int_equal(guest_write(conf_memfd(c, PAGE), GPA, false, "x"), -EBADF);
}

static uint64_t dirty(int vm)
{
	uint64_t bits = 0;
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = &bits };

	assert_int_equal(conf_ioctl(c, vm, KVM_GET_DIRTY_LOG, &log), 0);
	return bits;
}

static void guest_dirties(void **state)
{
	int vm = conf_vm(c, KVM_X86_DEFAULT_VM);
	uint64_t clear = 1 << 3;
	struct kvm_clear_dirty_log log = { .slot = 0, .num_pages = 8, .dirty_bitmap = &clear };
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		.args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE },
	};

	(void)state;
	assert_int_equal(conf_slot(c, vm, 0, KVM_MEM_LOG_DIRTY_PAGES, GPA, 8 * PAGE,
				   conf_memory(c, 8 * PAGE)),
			 0);
	assert_int_equal(guest_write(vm, GPA + 3 * PAGE - 1, false, "x"), 0);
	assert_int_equal(dirty(vm), 1 << 2 | 1 << 3);
	assert_int_equal(dirty(vm), 0);
	assert_int_equal(conf_ioctl(c, vm, KVM_ENABLE_CAP, &cap), 0);
	assert_int_equal(guest_write(vm, GPA + 3 * PAGE - 1, false, "x"), 0);
	assert_int_equal(dirty(vm), 1 << 2 | 1 << 3);
	assert_int_equal(conf_ioctl(c, vm, KVM_CLEAR_DIRTY_LOG, &log), 0);
	assert_int_equal(dirty(vm), 1 << 2);
}

static void guest_private_memory(void **state)
{
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);
	int gmem = conf_gmem(c, vm, 4 * PAGE, 0);
	char *mem = conf_memory(c, 4 * PAGE), text[8];

	(void)state;
	assert_int_equal(conf_slot2(c, vm, 0, GPA, 2 * PAGE, mem, gmem, 2 * PAGE), 0);
	assert_int_equal(guest_write(vm, GPA, true, "x"), -EFAULT);
	assert_int_equal(guest_write(vm, GPA, false, "shared"), 0);
	assert_string_equal(mem, "shared");
	assert_int_equal(conf_attributes(c, vm, GPA, PAGE, PRIVATE), 0);
	assert_int_equal(guest_read(vm, GPA, false, text, 4), -EFAULT);
	assert_int_equal(guest_write(vm, GPA, true, "secret"), 0);
	assert_string_equal(mem, "shared");
	assert_int_equal(guest_read(vm, GPA, true, text, 7), 0);
	assert_string_equal(text, "secret");
	/* Half private, half shared. */
	assert_int_equal(guest_read(vm, GPA + PAGE - 2, true, text, 4), -EFAULT);
	assert_int_equal(c->kernel->fallocate(c->kernel->data, gmem, 3 /* keep size, punch hole */,
					      2 * PAGE, PAGE),
			 0);
	assert_int_equal(guest_read(vm, GPA, true, text, 7), 0);
	assert_string_equal(text, "");
	conf_close(c, gmem);
	assert_int_equal(guest_read(vm, GPA, true, text, 7), -EFAULT);
	assert_int_equal(guest_read(vm, GPA + PAGE, false, text, 7), 0);
	assert_int_equal(conf_attributes(c, vm, GPA, PAGE, 0), 0);
	assert_int_equal(guest_read(vm, GPA, false, text, 7), 0);
	assert_string_equal(text, "shared");
}

static void guest_memory_of_a_mappable_gmem(void **state)
{
	int vm = conf_vm(c, KVM_X86_DEFAULT_VM);
	int gmem = conf_gmem(c, vm, PAGE, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
	char *mem = conf_memory(c, PAGE);
	void *view;

	(void)state;
	assert_int_equal(conf_slot2(c, vm, 0, GPA, PAGE, mem, gmem, 0), 0);
	assert_int_equal(conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, gmem, 0, &view), 0);
	assert_int_equal(guest_write(vm, GPA, false, "file"), 0);
	assert_string_equal(view, "file");
	assert_string_equal(mem, "");
}

static void guest_reaches_a_bar(void **state)
{
	int vm = conf_vm(c, KVM_X86_DEFAULT_VM);
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	char text[8];
	void *bar;

	(void)state;
	assert_int_equal(conf_mmap(c, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dev,
				   BAR(MEM_BAR) + PAGE, &bar),
			 0);
	assert_int_equal(conf_slot(c, vm, 0, 0, GPA, PAGE, bar), 0);
	assert_int_equal(guest_write(vm, GPA, false, "guest"), 0);
	assert_int_equal(pfnbuf_sim_bar_peek(sim, MEMORY, MEM_BAR, PAGE, text, 6), 0);
	assert_string_equal(text, "guest");
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	assert_int_equal(guest_read(vm, GPA, false, text, 6), -EFAULT);
	conf_command(c, dev, 0, PCI_COMMAND_MEMORY);
	assert_int_equal(guest_read(vm, GPA, false, text, 6), 0);
}

/* --------------------------------------------------------------- failing on demand */

static void nth_call_fails(void **state)
{
	int fd = conf_iommufd_open(c), event = conf_eventfd(c);
	uint64_t before, count = 1;
	void *mem = NULL;

	(void)state;
	pfnbuf_sim_fail_nth(sim, 3, ENOMEM);
	assert_int_equal(conf_ioas_new(c, fd), 1);
	assert_int_equal(conf_ioas_new(c, fd), 2);
	assert_int_equal(conf_destroy(c, fd, 1), -ENOMEM);
	assert_int_equal(conf_probe_iova(c, fd, 1, BASE), 0);
	before = pfnbuf_sim_calls(sim);
	assert_int_equal(c->kernel->write(c->kernel->data, event, &count, 8), 8);
	assert_int_equal(c->kernel->mmap(c->kernel->data, NULL, PAGE, PROT_READ,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &mem),
			 0);
	assert_int_equal(pfnbuf_sim_calls(sim), before + 2);
	assert_int_equal(c->kernel->read(c->kernel->data, event, &count, 8), 8);
	assert_int_equal(c->kernel->munmap(c->kernel->data, mem, PAGE), 0);
	conf_close(c, event);
	assert_int_equal(pfnbuf_sim_calls(sim), before + 2);
	pfnbuf_sim_fail_nth(sim, 1, EIO);
	pfnbuf_sim_fail_nth(sim, 0, 0);
	assert_int_equal(conf_destroy(c, fd, 2), 0);
}

static void failed_call_does_nothing(void **state)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);
	char *before, *after;

	(void)state;
	assert_int_equal(conf_map(c, fd, ioas, conf_memory(c, PAGE), PAGE, BASE), 0);
	assert_int_equal(pfnbuf_sim_dump(sim, &before), 0);
	pfnbuf_sim_fail_nth(sim, 1, EINTR);
	assert_int_equal(conf_unmap(c, fd, ioas, BASE, PAGE, NULL), -EINTR);
	pfnbuf_sim_fail_nth(sim, 1, EMFILE);
	assert_int_equal(conf_open(c, "/dev/iommu", O_RDWR), -EMFILE);
	assert_int_equal(pfnbuf_sim_dump(sim, &after), 0);
	assert_string_equal(before, after);
	free(before);
	free(after);
}

static void one_kind_of_ioctl_fails(void **state)
{
	int fd = conf_iommufd_open(c);
	uint32_t ioas = conf_ioas_new(c, fd);

	(void)state;
	pfnbuf_sim_fail_ioctl(sim, IOMMU_IOAS_UNMAP, 2, EBUSY);
	pfnbuf_sim_fail_ioctl(sim, IOMMU_DESTROY, 1, EIO);
	assert_int_equal(conf_unmap(c, fd, ioas, 0, UINT64_MAX, NULL), 0);
	assert_int_equal(conf_destroy(c, fd, ioas), -EIO);
	assert_int_equal(conf_unmap(c, fd, ioas, 0, UINT64_MAX, NULL), -EBUSY);
	assert_int_equal(conf_unmap(c, fd, ioas, 0, UINT64_MAX, NULL), 0);
	pfnbuf_sim_fail_ioctl(sim, IOMMU_DESTROY, 1, EIO);
	pfnbuf_sim_fail_ioctl(sim, IOMMU_DESTROY, 0, 0);
	assert_int_equal(conf_destroy(c, fd, ioas), 0);
}

static void memlock_limits_pinning(void **state)
{
	struct bench b;
	uint32_t other;
	char *mem = conf_memory(c, 16 * PAGE);

	(void)state;
	bench_up(&b);
	other = conf_ioas_new(c, b.iommufd);
	pfnbuf_sim_set_memlock(sim, 8 * PAGE);
	assert_int_equal(conf_map(c, b.iommufd, b.ioas, mem, 6 * PAGE, BASE), 0);
	assert_int_equal(counts().pinned, 6 * PAGE);
	assert_int_equal(conf_map(c, b.iommufd, b.ioas, mem, 4 * PAGE, BASE + 8 * PAGE), -ENOMEM);
	assert_int_equal(counts().pinned, 6 * PAGE);
	/* A copy shares what is pinned. */
	assert_int_equal(conf_copy(c, b.iommufd, b.ioas, BASE + 8 * PAGE, b.ioas, BASE, 6 * PAGE),
			 0);
	assert_int_equal(counts().pinned, 6 * PAGE);
	assert_int_equal(conf_unmap(c, b.iommufd, b.ioas, BASE, 6 * PAGE, NULL), 0);
	assert_int_equal(counts().pinned, 6 * PAGE);
	/* Nobody looks at the other one: nothing is pinned until a device does. */
	assert_int_equal(conf_map(c, b.iommufd, other, mem, 16 * PAGE, BASE), 0);
	assert_int_equal(conf_attach(c, b.engine, &other), -ENOMEM);
	assert_int_equal(conf_unmap(c, b.iommufd, b.ioas, 0, UINT64_MAX, NULL), 0);
	assert_int_equal(counts().pinned, 0);
	/* dma-bufs are not counted. */
	assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, b.buf, 0, 4 * PAGE, BASE), 0);
	assert_int_equal(counts().pinned, 0);
}

/* ------------------------------------------------------------------ the other side */

static void set_trigger(int dev, uint32_t index, int32_t fd)
{
	uint32_t set[6] = { sizeof(set), VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			    index,	 0,
			    1,		 (uint32_t)fd };

	assert_int_equal(conf_ioctl(c, dev, VFIO_DEVICE_SET_IRQS, set), 0);
}

static void signals(void **state)
{
	int dev = conf_device_open(c, PLAIN, conf_iommufd_open(c), 0);
	int req = conf_eventfd(c), err = conf_eventfd(c);
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	(void)state;
	set_trigger(dev, VFIO_PCI_REQ_IRQ_INDEX, req);
	set_trigger(dev, VFIO_PCI_ERR_IRQ_INDEX, err);
	assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, req, &event), 0);
	assert_int_equal(epoll_wait(epoll, &event, 1, 0), 0);
	assert_int_equal(pfnbuf_sim_request_removal(sim, MEMORY), 0);
	assert_int_equal(epoll_wait(epoll, &event, 1, 0), 1);
	assert_int_equal(conf_count(c, req), 1);
	assert_int_equal(conf_count(c, err), 0);
	assert_int_equal(pfnbuf_sim_raise_error(sim, MEMORY), 0);
	assert_int_equal(conf_count(c, err), 1);
	assert_int_equal(pfnbuf_sim_raise_error(sim, "0000:07:00.0"), -ENODEV);
	close(epoll);
}

static void foreign_decode(void **state)
{
	int iommufd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, iommufd, 0);
	int buf = conf_export(c, dev, MEM_BAR, 0, PAGE);

	(void)state;
	assert_int_equal(pfnbuf_sim_foreign_decode(sim, MEMORY, false), 0);
	assert_int_equal(conf_probe_dmabuf(c, iommufd, buf), -ENODEV);
	assert_int_equal(pfnbuf_sim_foreign_decode(sim, MEMORY, true), 0);
	assert_int_equal(conf_probe_dmabuf(c, iommufd, buf), 0);
	assert_int_equal(pfnbuf_sim_foreign_decode(sim, "0000:07:00.0", true), -ENODEV);
}

static void wakes_by_itself(void **state)
{
	int iommufd = conf_iommufd_open(c);
	int dev = conf_device_open(c, PLAIN, iommufd, 0);
	int buf = conf_export(c, dev, MEM_BAR, 0, PAGE), wake = conf_eventfd(c);
	struct vfio_device_low_power_entry_with_wakeup entry = { .wakeup_eventfd = wake };
	const uint32_t set = VFIO_DEVICE_FEATURE_SET;
	uint32_t value;

	(void)state;
	assert_int_equal(conf_feature_call(c, dev,
					   set | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
					   &entry, sizeof(entry)),
			 0);
	assert_int_equal(conf_count(c, wake), 0);
	/*
	 * Any access wakes it; its dma-bufs stay as they are until it is told to leave low power.
	 */
	assert_int_equal(conf_config_read(c, dev, 0, &value, 4), 4);
	assert_int_equal(conf_count(c, wake), 1);
	assert_int_equal(conf_probe_dmabuf(c, iommufd, buf), -ENODEV);
	assert_int_equal(
		conf_feature_call(c, dev, set | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, NULL, 0), 0);
	assert_int_equal(conf_count(c, wake), 0);
	assert_int_equal(conf_probe_dmabuf(c, iommufd, buf), 0);
}

/* ---------------------------------------------------------------- kinds of devices */

static int add(const char *bdf, unsigned flags, uint64_t size, unsigned bar_flags)
{
	const struct pfnbuf_sim_device spec = {
		.bdf = bdf,
		.vendor = 1,
		.device = 2,
		.flags = flags,
		.bars = { { size, bar_flags } },
	};

	return pfnbuf_sim_add_device(sim, &spec);
}

static void bad_devices(void **state)
{
	struct pfnbuf_sim_device msix = { .bdf = "0000:05:00.0",
					  .bars = { { 4096, 0 } },
					  .msix_vectors = 8 };

	(void)state;
	assert_int_equal(add("", 0, 4096, 0), -EINVAL);
	assert_int_equal(add("05:00.0", 0, 4096, 0), -EINVAL);
	assert_int_equal(add("0000:05:00.8", 0, 4096, 0), -EINVAL);
	assert_int_equal(add("0000:05:20.0", 0, 4096, 0), -EINVAL);
	assert_int_equal(add("0000:05:00.0 ", 0, 4096, 0), -EINVAL);
	assert_int_equal(add(MEMORY, 0, 4096, 0), -EEXIST);
	assert_int_equal(add("0000:05:00.0", 0, 5000, 0), -EINVAL);
	assert_int_equal(add("0000:05:00.0", 0, 8, 0), -EINVAL);
	assert_int_equal(add("0000:05:00.0", 0, 1ULL << 32, 0), -EINVAL);
	assert_int_equal(add("0000:05:00.0", 0, 4096, PFNBUF_SIM_BAR_IO | PFNBUF_SIM_BAR_64),
			 -EINVAL);
	msix.msix_table = 4096 - 64;
	assert_int_equal(pfnbuf_sim_add_device(sim, &msix), -EINVAL);
	msix.msix_table = 0;
	msix.msix_pba = 4096;
	assert_int_equal(pfnbuf_sim_add_device(sim, &msix), -EINVAL);
	msix.msix_pba = 2048;
	assert_int_equal(pfnbuf_sim_add_device(sim, &msix), 0);
	assert_int_equal(add("0000:06:00.0", 0, 1ULL << 34, PFNBUF_SIM_BAR_64), 0);
}

/* The third device that was put in. */
static int open_third(void)
{
	return conf_open(c, "/dev/vfio/devices/vfio2", O_RDWR);
}

static void without_a_cdev(void **state)
{
	char names[256];

	(void)state;
	assert_int_equal(add("0000:05:00.0", PFNBUF_SIM_NO_CDEV, 4096, 0), 0);
	assert_int_equal(open_third(), -ENOENT);
	assert_int_equal(
		conf_open(c, "/sys/bus/pci/devices/0000:05:00.0/vfio-dev/vfio2/dev", O_RDONLY),
		-ENOENT);
	assert_true(c->kernel->list(c->kernel->data, "/sys/bus/pci/devices/0000:05:00.0/vfio-dev",
				    names, 256) > 0);
}

static void without_a_driver(void **state)
{
	char names[256];

	(void)state;
	assert_int_equal(add("0000:05:00.0", PFNBUF_SIM_NO_DRIVER, 4096, 0), 0);
	assert_int_equal(open_third(), -ENOENT);
	assert_int_equal(c->kernel->list(c->kernel->data,
					 "/sys/bus/pci/devices/0000:05:00.0/vfio-dev", names, 256),
			 -ENOENT);
	assert_int_equal(c->kernel->readlink(c->kernel->data,
					     "/sys/bus/pci/devices/0000:05:00.0/driver", names,
					     256),
			 -ENOENT);
}

static void not_accessible(void **state)
{
	(void)state;
	assert_int_equal(add("0000:05:00.0", PFNBUF_SIM_NO_ACCESS, 4096, 0), 0);
	assert_int_equal(open_third(), -EACCES);
}

static void without_a_group(void **state)
{
	(void)state;
	assert_int_equal(add("0000:05:00.0", PFNBUF_SIM_NO_GROUP, 4096, 0), 0);
	assert_int_equal(conf_bind(c, open_third(), conf_iommufd_open(c), NULL), -ENODEV);
}

static void without_dmabufs(void **state)
{
	int dev;

	(void)state;
	assert_int_equal(add("0000:05:00.0", PFNBUF_SIM_NO_DMABUF, 4096, 0), 0);
	dev = open_third();
	assert_int_equal(conf_bind(c, dev, conf_iommufd_open(c), NULL), 0);
	assert_int_equal(conf_export(c, dev, 0, 0, PAGE), -EOPNOTSUPP);
	assert_int_equal(conf_feature_call(c, dev,
					   VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET |
						   VFIO_DEVICE_FEATURE_DMA_BUF,
					   NULL, 0),
			 -EOPNOTSUPP);
}

static void io_bar(void **state)
{
	uint32_t value = 0;
	void *mem;
	int dev;

	(void)state;
	assert_int_equal(add("0000:05:00.0", 0, 4096, PFNBUF_SIM_BAR_IO), 0);
	dev = open_third();
	assert_int_equal(conf_bind(c, dev, conf_iommufd_open(c), NULL), 0);
	assert_int_equal(conf_export(c, dev, 0, 0, PAGE), -EINVAL);
	assert_int_equal(conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, dev, BAR(0), &mem), -EINVAL);
	/* Memory decode is nothing to it. */
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	assert_int_equal(c->kernel->pread(c->kernel->data, dev, &value, 4, BAR(0)), 4);
}

static void small_bar(void **state)
{
	int dev;

	(void)state;
	assert_int_equal(add("0000:05:00.0", 0, 256, 0), 0);
	dev = open_third();
	assert_int_equal(conf_bind(c, dev, conf_iommufd_open(c), NULL), 0);
	assert_int_equal(conf_export(c, dev, 0, 0, PAGE), -EINVAL);
}

static void virtual_function(void **state)
{
	struct bench b;
	uint16_t command = 0;
	int vf, buf;
	char byte;

	(void)state;
	bench_up(&b);
	assert_int_equal(add("0000:05:00.0", PFNBUF_SIM_VF, 4096, 0), 0);
	vf = open_third();
	assert_int_equal(conf_bind(c, vf, b.iommufd, NULL), 0);
	buf = conf_export(c, vf, 0, 0, PAGE);
	assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, buf, 0, PAGE, BASE), 0);
	assert_int_equal(dma_read(BASE, &byte, 1), 0);
	/* Its memory cannot be turned off; trying is a revocation that ends at once. */
	assert_int_equal(conf_config_write(c, vf, PCI_COMMAND, &command, 2), 2);
	assert_int_equal(dma_read(BASE, &byte, 1), -EFAULT);
	assert_int_equal(conf_probe_dmabuf(c, b.iommufd, buf), 0);
	assert_int_equal(c->kernel->pread(c->kernel->data, vf, &byte, 1, BAR(0)), 1);
}

static void reset_that_fails(void **state)
{
	int iommufd = conf_iommufd_open(c), dev, buf;
	struct vfio_device_info info = { .argsz = sizeof(info) };

	(void)state;
	assert_int_equal(add("0000:05:00.0", PFNBUF_SIM_RESET_FAILS, 4096, 0), 0);
	dev = open_third();
	assert_int_equal(conf_bind(c, dev, iommufd, NULL), 0);
	buf = conf_export(c, dev, 0, 0, PAGE);
	assert_int_equal(conf_map_file(c, iommufd, conf_ioas_new(c, iommufd), buf, 0, PAGE, BASE),
			 0);
	assert_int_equal(conf_ioctl(c, dev, VFIO_DEVICE_GET_INFO, &info), 0);
	assert_true(info.flags & VFIO_DEVICE_FLAGS_RESET);
	assert_int_equal(conf_ioctl(c, dev, VFIO_DEVICE_RESET, NULL), -ENOTTY);
	assert_int_equal(counts().dead_areas, 1);
	assert_int_equal(conf_probe_dmabuf(c, iommufd, buf), 0);
}

static void advanced_features_reset(void **state)
{
	int iommufd = conf_iommufd_open(c), dev, buf;
	uint8_t control = PCI_AF_CTRL_FLR;
	unsigned af;

	(void)state;
	assert_int_equal(add("0000:05:00.0", PFNBUF_SIM_AF_FLR, 4096, 0), 0);
	dev = open_third();
	assert_int_equal(conf_bind(c, dev, iommufd, NULL), 0);
	buf = conf_export(c, dev, 0, 0, PAGE);
	assert_int_equal(conf_map_file(c, iommufd, conf_ioas_new(c, iommufd), buf, 0, PAGE, BASE),
			 0);
	af = conf_capability(c, dev, PCI_CAP_ID_AF);
	assert_int_equal(conf_config_write(c, dev, af + PCI_AF_CTRL, &control, 1), 1);
	assert_int_equal(counts().dead_areas, 1);
	assert_int_equal(conf_config_read(c, dev, af + PCI_AF_CTRL, &control, 1), 1);
	assert_int_equal(control, 0);
}

static void no_iommufd_no_kvm(void **state)
{
	(void)state;
	pfnbuf_sim_set_iommufd(sim, false);
	pfnbuf_sim_set_kvm(sim, false);
	assert_int_equal(conf_open(c, "/dev/iommu", O_RDWR), -ENOENT);
	assert_int_equal(conf_open(c, "/dev/kvm", O_RDWR), -ENOENT);
	pfnbuf_sim_set_iommufd(sim, true);
	conf_iommufd_open(c);
}

/* ------------------------------------------------------------------- the invariant */

static void alias_by_file(void **state)
{
	struct bench b;
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM), gmem = conf_gmem(c, vm, 4 * PAGE, 0);
	int ram = conf_memfd(c, 8 * PAGE);
	const char *what = NULL;
	void *mem;

	(void)state;
	bench_up(&b);
	assert_int_equal(
		conf_mmap(c, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ram, 4 * PAGE, &mem), 0);
	assert_int_equal(conf_slot2(c, vm, 0, GPA, 4 * PAGE, mem, gmem, 0), 0);
	/* Another part of the file is nobody's business. */
	assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, ram, 0, 4 * PAGE, BASE), 0);
	assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, ram, 5 * PAGE, PAGE, BASE + 8 * PAGE),
			 0);
	assert_int_equal(conf_attributes(c, vm, GPA, PAGE, PRIVATE), 0);
	assert_int_equal(pfnbuf_sim_alias(sim, &what), 0);
	assert_int_equal(conf_attributes(c, vm, GPA + PAGE, PAGE, PRIVATE), 0);
	assert_int_equal(pfnbuf_sim_alias(sim, &what), 1);
	assert_non_null(strstr(what, "private"));
}

static void alias_by_address(void **state)
{
	struct bench b;
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM), gmem = conf_gmem(c, vm, 4 * PAGE, 0);
	uint8_t *mem = conf_memory(c, 4 * PAGE);
	uint32_t other;

	(void)state;
	bench_up(&b);
	other = conf_ioas_new(c, b.iommufd);
	assert_int_equal(conf_slot2(c, vm, 0, GPA, 4 * PAGE, mem, gmem, 0), 0);
	assert_int_equal(conf_map(c, b.iommufd, b.ioas, mem, PAGE, BASE), 0);
	assert_int_equal(conf_unmap(c, b.iommufd, b.ioas, BASE, PAGE, NULL), 0);
	assert_int_equal(conf_attributes(c, vm, GPA, PAGE, PRIVATE), 0);
	assert_int_equal(conf_map(c, b.iommufd, b.ioas, mem + PAGE, PAGE, BASE), 0);
	/* No device looks at the other one, until it is attached there. */
	assert_int_equal(conf_map(c, b.iommufd, other, mem, PAGE, BASE), 0);
	assert_int_equal(pfnbuf_sim_alias(sim, NULL), 0);
	assert_int_equal(conf_attach(c, b.engine, &other), 0);
	assert_int_equal(pfnbuf_sim_alias(sim, NULL), 1);
}

static void show_file(uint8_t *at, uint64_t length, int fd, uint64_t offset)
{
	void *mem;

	assert_int_equal(c->kernel->mmap(c->kernel->data, at, length, PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_FIXED, fd, offset, &mem),
			 0);
	assert_ptr_equal(mem, at);
}

/* A slot over pages 2 and 3 of a file, memory without one, and pages 6 and 7 of the file. */
static void alias_in_pieces(void **state)
{
	static const uint64_t harmless[] = { 0, 2, 4, 6 };
	struct bench b;
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM), gmem = conf_gmem(c, vm, 6 * PAGE, 0);
	uint8_t *mem = conf_memory(c, 6 * PAGE);
	int ram = conf_memfd(c, 8 * PAGE);

	(void)state;
	bench_up(&b);
	show_file(mem, 2 * PAGE, ram, 2 * PAGE);
	show_file(mem + 4 * PAGE, 2 * PAGE, ram, 6 * PAGE);
	assert_int_equal(conf_slot2(c, vm, 0, GPA, 6 * PAGE, mem, gmem, 0), 0);
	assert_int_equal(conf_attributes(c, vm, GPA + PAGE, PAGE, PRIVATE), 0);
	assert_int_equal(conf_attributes(c, vm, GPA + 5 * PAGE, PAGE, PRIVATE), 0);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, ram, harmless[i] * PAGE, PAGE,
					       BASE + 2 * i * PAGE),
				 0);
	assert_int_equal(conf_map(c, b.iommufd, b.ioas, mem + 2 * PAGE, 2 * PAGE, BASE - 2 * PAGE),
			 0);
	assert_int_equal(pfnbuf_sim_alias(sim, NULL), 0);
	/* Pages 4 to 7: the last one is private. */
	assert_int_equal(
		conf_map_file(c, b.iommufd, b.ioas, ram, 4 * PAGE, 4 * PAGE, BASE + 16 * PAGE), 0);
	assert_int_equal(pfnbuf_sim_alias(sim, NULL), 1);
}

/* So many that looking at all of them for each would take minutes. */
static void alias_among_many(void **state)
{
	const uint64_t n = 20000;
	struct bench b;
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM), gmem = conf_gmem(c, vm, 2 * n * PAGE, 0);
	int ram = conf_memfd(c, 2 * n * PAGE);
	void *mem;

	(void)state;
	bench_up(&b);
	assert_int_equal(
		conf_mmap(c, 2 * n * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ram, 0, &mem), 0);
	assert_int_equal(conf_slot2(c, vm, 0, 0, 2 * n * PAGE, mem, gmem, 0), 0);
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(conf_attributes(c, vm, (2 * i + 1) * PAGE, PAGE, PRIVATE), 0);
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, ram, 2 * i * PAGE, PAGE,
					       BASE + 2 * i * PAGE),
				 0);
	assert_int_equal(pfnbuf_sim_alias(sim, NULL), 0);
	assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, ram, (2 * n - 1) * PAGE, PAGE,
				       BASE + 2 * n * PAGE),
			 0);
	assert_int_equal(pfnbuf_sim_alias(sim, NULL), 1);
}

/* ---------------------------------------------------------------------------- many */

static void many_areas(void **state)
{
	const uint32_t n = 10000;
	struct bench b;
	uint64_t unmapped;

	(void)state;
	bench_up(&b);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(conf_map_file(c, b.iommufd, b.ioas, b.buf, i % 4 * PAGE, PAGE,
					       BASE + (uint64_t)(i * 7919 % n) * 2 * PAGE),
				 0);
	assert_int_equal(counts().areas, n);
	conf_command(c, b.memory, PCI_COMMAND_MEMORY, 0);
	assert_int_equal(counts().dead_areas, n);
	assert_int_equal(conf_unmap(c, b.iommufd, b.ioas, 0, UINT64_MAX, &unmapped), 0);
	assert_int_equal(unmapped, n * PAGE);
}

static void many_slots(void **state)
{
	int vm = conf_vm(c, 0);
	uint8_t *mem = conf_memory(c, PAGE);

	(void)state;
	for (uint32_t i = 0; i < 32764; i++)
		assert_int_equal(
			conf_slot(c, vm, i, 0, (uint64_t)(i * 7919 % 32764) * 2 * PAGE, PAGE, mem),
			0);
	assert_int_equal(counts().slots, 32764);
	for (uint32_t i = 0; i < 32764; i++)
		assert_int_equal(conf_slot(c, vm, i, 0, 0, 0, mem), 0);
	assert_int_equal(counts().slots, 0);
}

static void attributes_like_a_bitmap(void **state)
{
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM), gmem = conf_gmem(c, vm, 256 * PAGE, 0);
	bool wanted[256] = { 0 };
	unsigned seed = 1;

	(void)state;
	assert_int_equal(conf_slot2(c, vm, 0, GPA, 256 * PAGE, conf_memory(c, 256 * PAGE), gmem, 0),
			 0);
	for (unsigned i = 0; i < 2000; i++) {
		unsigned first, n;
		bool to;

		seed = seed * 1103515245 + 12345;
		first = seed >> 16 & 255;
		n = 1 + (seed >> 8 & 31);
		to = seed >> 24 & 1;
		if (first + n > 256)
			n = 256 - first;
		assert_int_equal(
			conf_attributes(c, vm, GPA + first * PAGE, n * PAGE, to ? PRIVATE : 0), 0);
		for (unsigned j = first; j < first + n; j++)
			wanted[j] = to;
		for (unsigned j = i % 8; j < 256; j += 8) {
			char byte;

			assert_int_equal(guest_read(vm, GPA + j * PAGE, wanted[j], &byte, 1), 0);
			assert_int_equal(guest_read(vm, GPA + j * PAGE, !wanted[j], &byte, 1),
					 -EFAULT);
		}
	}
}

struct worker {
	pthread_t thread;
	int iommufd;
	uint32_t ioas;
	int failures;
};

static void *work(void *data)
{
	struct worker *w = data;
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE,
		.ioas_id = w->ioas,
		.user_va = BASE,
		.length = PAGE,
	};
	const struct pfnbuf_kernel *k = conf.kernel;

	for (unsigned i = 0; i < 2000; i++) {
		struct iommu_ioas_unmap unmap = {
			.size = sizeof(unmap),
			.ioas_id = w->ioas,
			.iova = BASE + i % 16 * PAGE,
			.length = PAGE,
		};
		int fd = k->open(k->data, "/dev/vfio/devices/vfio0", O_RDWR | O_CLOEXEC);

		map.iova = unmap.iova;
		w->failures += fd < 0;
		w->failures += k->ioctl(k->data, w->iommufd, IOMMU_IOAS_MAP, &map) != 0;
		w->failures += k->ioctl(k->data, w->iommufd, IOMMU_IOAS_UNMAP, &unmap) != 0;
		w->failures += k->close(k->data, fd) != 0;
	}
	return NULL;
}

static void threads(void **state)
{
	struct worker workers[4] = { 0 };
	int fd = conf_iommufd_open(c);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		workers[i].iommufd = fd;
		workers[i].ioas = conf_ioas_new(c, fd);
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].failures, 0);
	}
	assert_int_equal(counts().areas, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(closed_behind_the_table),
		TEST(passed_through_a_socket),
		TEST(lost_in_a_socket),
		TEST(held_by_a_child),
		TEST(low_numbers_are_the_callers),
		TEST(freed_with_fds_open),
		TEST(unmapped_behind_the_table),
		TEST(unmapped_in_parts),
		TEST(mapped_over),
		TEST(dma_to_a_bar),
		TEST(dma_to_memory),
		TEST(dma_faults),
		TEST(dma_to_vanished_memory),
		TEST(dma_to_a_dead_area),
		TEST(every_reset_kills_imports),
		TEST(exporter_closed_behind_the_table),
		TEST(guest_memory),
		TEST(guest_dirties),
		TEST(guest_private_memory),
		TEST(guest_memory_of_a_mappable_gmem),
		TEST(guest_reaches_a_bar),
		TEST(nth_call_fails),
		TEST(failed_call_does_nothing),
		TEST(one_kind_of_ioctl_fails),
		TEST(memlock_limits_pinning),
		TEST(signals),
		TEST(foreign_decode),
		TEST(wakes_by_itself),
		TEST(bad_devices),
		TEST(without_a_cdev),
		TEST(without_a_driver),
		TEST(not_accessible),
		TEST(without_a_group),
		TEST(without_dmabufs),
		TEST(io_bar),
		TEST(small_bar),
		TEST(virtual_function),
		TEST(reset_that_fails),
		TEST(advanced_features_reset),
		TEST(no_iommufd_no_kvm),
		TEST(alias_by_file),
		TEST(alias_by_address),
		TEST(alias_in_pieces),
		TEST(alias_among_many),
		TEST(many_areas),
		TEST(many_slots),
		TEST(attributes_like_a_bitmap),
		TEST(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
