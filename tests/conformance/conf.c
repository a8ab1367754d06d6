/* SPDX-License-Identifier: MIT */
#include <linux/capability.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "conf.h"

#define INDEX_SHIFT 40

bool conf_expect(struct conf *c, intmax_t got, intmax_t want, const char *what, const char *file,
		 int line)
{
	if (got == want)
		return true;
	c->failed = true;
	printf("    %s:%d: %s: got %jd", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line,
	       what, got);
	if (got < 0 && got > -4096)
		printf(" (%s)", pfnbuf_errno_name((int)got));
	printf(", want %jd", want);
	if (want < 0 && want > -4096)
		printf(" (%s)", pfnbuf_errno_name((int)want));
	printf("\n");
	return false;
}

/* --------------------------------------------------------------------------- calls */

int conf_keep(struct conf *c, int fd)
{
	if (fd < 0)
		return fd;
	if (c->nr_fds == CONF_MAX_FDS) {
		fprintf(stderr, "a case opened more than %d files\n", CONF_MAX_FDS);
		exit(2);
	}
	c->fds[c->nr_fds++] = fd;
	return fd;
}

int conf_open(struct conf *c, const char *path, int flags)
{
	return conf_keep(c, c->kernel->open(c->kernel->data, path, flags | O_CLOEXEC));
}

static void set_own_memlock(uint64_t bytes)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];
	struct rlimit limit;

	if (syscall(SYS_capget, &header, caps) || getrlimit(RLIMIT_MEMLOCK, &limit)) {
		perror("conformance: RLIMIT_MEMLOCK");
		exit(2);
	}
	caps[0].effective &= ~(1U << CAP_IPC_LOCK);
	if (bytes == UINT64_MAX)
		caps[0].effective |= caps[0].permitted & 1U << CAP_IPC_LOCK;
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || syscall(SYS_capset, &header, caps)) {
		perror("conformance: RLIMIT_MEMLOCK");
		exit(2);
	}
}

void conf_set_memlock(struct conf *c, uint64_t bytes)
{
	if (c->sim)
		pfnbuf_sim_set_memlock(c->sim, bytes);
	else
		set_own_memlock(bytes);
	c->limited = bytes != UINT64_MAX;
}

void conf_clean_up(struct conf *c)
{
	if (c->limited)
		conf_set_memlock(c, UINT64_MAX);
	while (c->nr_maps) {
		c->nr_maps--;
		c->kernel->munmap(c->kernel->data, c->maps[c->nr_maps].addr,
				  c->maps[c->nr_maps].length);
	}
	while (c->nr_fds)
		c->kernel->close(c->kernel->data, c->fds[--c->nr_fds]);
}

int conf_close(struct conf *c, int fd)
{
	for (unsigned i = 0; i < c->nr_fds; i++)
		if (c->fds[i] == fd)
			c->fds[i] = c->fds[--c->nr_fds];
	return c->kernel->close(c->kernel->data, fd);
}

int conf_ioctl(struct conf *c, int fd, unsigned long request, void *arg)
{
	return c->kernel->ioctl(c->kernel->data, fd, request, arg);
}

int conf_ioctl_value(struct conf *c, int fd, unsigned long request, unsigned long value)
{
	return conf_ioctl(c, fd, request, (void *)(uintptr_t)value);
}

int conf_mmap(struct conf *c, size_t length, int prot, int flags, int fd, uint64_t offset,
	      void **out)
{
	int ret = c->kernel->mmap(c->kernel->data, NULL, length, prot, flags, fd, offset, out);

	if (ret)
		return ret;
	if (c->nr_maps == CONF_MAX_MAPS) {
		fprintf(stderr, "a case made more than %d mappings\n", CONF_MAX_MAPS);
		exit(2);
	}
	c->maps[c->nr_maps].addr = *out;
	c->maps[c->nr_maps++].length = length;
	return 0;
}

int conf_munmap(struct conf *c, void *addr, size_t length)
{
	for (unsigned i = 0; i < c->nr_maps; i++)
		if (c->maps[i].addr == addr)
			c->maps[i] = c->maps[--c->nr_maps];
	return c->kernel->munmap(c->kernel->data, addr, length);
}

void *conf_memory(struct conf *c, size_t length)
{
	void *mem = NULL;
	int ret = conf_mmap(c, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0,
			    &mem);

	return expect(c, ret, 0) ? mem : NULL;
}

int conf_memfd(struct conf *c, uint64_t size)
{
	int fd = conf_keep(c, c->kernel->memfd_create(c->kernel->data, "conformance", MFD_CLOEXEC));

	if (expect_true(c, fd >= 0))
		expect(c, c->kernel->ftruncate(c->kernel->data, fd, size), 0);
	return fd;
}

int conf_eventfd(struct conf *c)
{
	int fd = conf_keep(c, c->kernel->eventfd(c->kernel->data, 0, O_CLOEXEC | O_NONBLOCK));

	expect_true(c, fd >= 0);
	return fd;
}

uint64_t conf_count(struct conf *c, int eventfd)
{
	uint64_t count = 0;

	if (c->kernel->read(c->kernel->data, eventfd, &count, sizeof(count)) != sizeof(count))
		return 0;
	return count;
}

int conf_wait_for(struct conf *c, int epoll, int op, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events };

	return c->kernel->epoll_ctl(c->kernel->data, epoll, op, fd, &event);
}

uint32_t conf_ready(struct conf *c, int epoll)
{
	struct epoll_event event = { 0 };

	return c->kernel->epoll_wait(c->kernel->data, epoll, &event, 1, 0) == 1 ? event.events : 0;
}

/* Far from where kernels, allocators and sanitizers put what they are not told where to put. */
uint64_t conf_hole(struct conf *c, size_t length)
{
	void *at = (void *)(uintptr_t)0x300000000000;
	void *mem = mmap(at, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect_true(c, mem == at);
	munmap(mem, length);
	return (uint64_t)(uintptr_t)at;
}

static sigjmp_buf touched;

static void on_fault(int signal)
{
	siglongjmp(touched, signal);
}

int conf_touch(const void *addr, bool write)
{
	struct sigaction action = { .sa_handler = on_fault }, bus, segv;
	int ret = 0;

	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, &bus);
	sigaction(SIGSEGV, &action, &segv);
	if (sigsetjmp(touched, 1))
		ret = -EFAULT;
	else if (write)
		*(volatile uint8_t *)(uintptr_t)addr = 0x5a;
	else
		(void)*(const volatile uint8_t *)addr;
	sigaction(SIGBUS, &bus, NULL);
	sigaction(SIGSEGV, &segv, NULL);
	return ret;
}

/* ------------------------------------------------------------------------- iommufd */

int conf_iommufd_open(struct conf *c)
{
	int fd = conf_open(c, "/dev/iommu", O_RDWR);

	expect_true(c, fd >= 0);
	return fd;
}

uint32_t conf_ioas_new(struct conf *c, int iommufd)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };

	expect(c, conf_ioctl(c, iommufd, IOMMU_IOAS_ALLOC, &cmd), 0);
	return cmd.out_ioas_id;
}

int conf_map(struct conf *c, int iommufd, uint32_t ioas, const void *va, uint64_t length,
	     uint64_t iova)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = ioas,
		.user_va = (uintptr_t)va,
		.length = length,
		.iova = iova,
	};

	return conf_ioctl(c, iommufd, IOMMU_IOAS_MAP, &cmd);
}

int conf_map_file(struct conf *c, int iommufd, uint32_t ioas, int fd, uint64_t start,
		  uint64_t length, uint64_t iova)
{
	struct iommu_ioas_map_file cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = ioas,
		.fd = fd,
		.start = start,
		.length = length,
		.iova = iova,
	};

	return conf_ioctl(c, iommufd, IOMMU_IOAS_MAP_FILE, &cmd);
}

int conf_unmap(struct conf *c, int iommufd, uint32_t ioas, uint64_t iova, uint64_t length,
	       uint64_t *unmapped)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd),
		.ioas_id = ioas,
		.iova = iova,
		.length = length,
	};
	int ret = conf_ioctl(c, iommufd, IOMMU_IOAS_UNMAP, &cmd);

	if (unmapped)
		*unmapped = cmd.length;
	return ret;
}

int conf_copy(struct conf *c, int iommufd, uint32_t dst, uint64_t dst_iova, uint32_t src,
	      uint64_t src_iova, uint64_t length)
{
	struct iommu_ioas_copy cmd = {
		.size = sizeof(cmd),
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE,
		.dst_ioas_id = dst,
		.src_ioas_id = src,
		.length = length,
		.dst_iova = dst_iova,
		.src_iova = src_iova,
	};

	return conf_ioctl(c, iommufd, IOMMU_IOAS_COPY, &cmd);
}

int conf_destroy(struct conf *c, int iommufd, uint32_t id)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = id };

	return conf_ioctl(c, iommufd, IOMMU_DESTROY, &cmd);
}

int conf_probe_iova(struct conf *c, int iommufd, uint32_t ioas, uint64_t iova)
{
	void *mem = conf_memory(c, PAGE);
	int ret = conf_map(c, iommufd, ioas, mem, PAGE, iova);

	if (!ret)
		expect(c, conf_unmap(c, iommufd, ioas, iova, PAGE, NULL), 0);
	conf_munmap(c, mem, PAGE);
	return ret;
}

int conf_hwpt(struct conf *c, int iommufd, uint32_t dev_id, uint32_t pt_id, uint32_t *hwpt)
{
	struct iommu_hwpt_alloc cmd = { .size = sizeof(cmd), .dev_id = dev_id, .pt_id = pt_id };
	int ret = conf_ioctl(c, iommufd, IOMMU_HWPT_ALLOC, &cmd);

	if (!ret)
		*hwpt = cmd.out_hwpt_id;
	return ret;
}

/* ---------------------------------------------------------------------------- VFIO */

int conf_cdev(struct conf *c, enum conf_role role)
{
	int fd = conf_open(c, c->devices[role].cdev, O_RDWR);

	expect_true(c, fd >= 0);
	return fd;
}

int conf_bind(struct conf *c, int device, int iommufd, uint32_t *devid)
{
	struct vfio_device_bind_iommufd cmd = { .argsz = sizeof(cmd), .iommufd = iommufd };
	int ret = conf_ioctl(c, device, VFIO_DEVICE_BIND_IOMMUFD, &cmd);

	if (!ret && devid)
		*devid = cmd.out_devid;
	return ret;
}

int conf_attach(struct conf *c, int device, uint32_t *pt_id)
{
	struct vfio_device_attach_iommufd_pt cmd = { .argsz = sizeof(cmd), .pt_id = *pt_id };
	int ret = conf_ioctl(c, device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd);

	*pt_id = cmd.pt_id;
	return ret;
}

int conf_detach(struct conf *c, int device)
{
	struct vfio_device_detach_iommufd_pt cmd = { .argsz = sizeof(cmd) };

	return conf_ioctl(c, device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd);
}

int conf_device_open(struct conf *c, enum conf_role role, int iommufd, uint32_t ioas)
{
	int fd = conf_cdev(c, role);

	expect(c, conf_bind(c, fd, iommufd, NULL), 0);
	if (ioas)
		expect(c, conf_attach(c, fd, &ioas), 0);
	return fd;
}

int conf_feature_call(struct conf *c, int device, uint32_t flags, const void *data, size_t size)
{
	uint8_t buf[sizeof(struct vfio_device_feature) + 256] = { 0 };
	struct vfio_device_feature *feature = (void *)buf;

	feature->argsz = (uint32_t)(sizeof(*feature) + size);
	feature->flags = flags;
	if (size)
		memcpy(feature->data, data, size);
	return conf_ioctl(c, device, VFIO_DEVICE_FEATURE, feature);
}

int conf_export(struct conf *c, int device, unsigned bar, uint64_t offset, uint64_t length)
{
	struct {
		struct vfio_device_feature_dma_buf head;
		struct vfio_region_dma_range range;
	} get = {
		.head = { .region_index = bar, .open_flags = O_RDWR | O_CLOEXEC, .nr_ranges = 1 },
		.range = { offset, length },
	};

	return conf_keep(c, conf_feature_call(c, device,
					      VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF,
					      &get, sizeof(get)));
}

int conf_export_two(struct conf *c, int device, unsigned bar)
{
	struct {
		struct vfio_device_feature_dma_buf head;
		struct vfio_region_dma_range ranges[2];
	} get = {
		.head = { .region_index = bar, .open_flags = O_RDWR | O_CLOEXEC, .nr_ranges = 2 },
		.ranges = { { 0, PAGE }, { PAGE, PAGE } },
	};

	return conf_keep(c, conf_feature_call(c, device,
					      VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF,
					      &get, sizeof(get)));
}

int conf_probe_dmabuf(struct conf *c, int iommufd, int dmabuf)
{
	uint32_t ioas = conf_ioas_new(c, iommufd);
	int ret = conf_map_file(c, iommufd, ioas, dmabuf, 0, PAGE, 0x100000);

	expect(c, conf_destroy(c, iommufd, ioas), 0);
	return ret;
}

static uint64_t config_offset(unsigned pos)
{
	return ((uint64_t)VFIO_PCI_CONFIG_REGION_INDEX << INDEX_SHIFT) + pos;
}

ssize_t conf_config_read(struct conf *c, int device, unsigned pos, void *data, size_t size)
{
	return c->kernel->pread(c->kernel->data, device, data, size, config_offset(pos));
}

ssize_t conf_config_write(struct conf *c, int device, unsigned pos, const void *data, size_t size)
{
	return c->kernel->pwrite(c->kernel->data, device, data, size, config_offset(pos));
}

void conf_command(struct conf *c, int device, unsigned clear, unsigned set)
{
	uint16_t command = 0;

	expect(c, conf_config_read(c, device, PCI_COMMAND, &command, 2), 2);
	command = (uint16_t)((command & ~clear) | set);
	expect(c, conf_config_write(c, device, PCI_COMMAND, &command, 2), 2);
}

uint32_t conf_io_bar(struct conf *c, int device)
{
	uint32_t bar = 0, value = 0;

	while (bar < 6) {
		expect(c, conf_config_read(c, device, PCI_BASE_ADDRESS_0 + 4 * bar, &value, 4), 4);
		if (value & PCI_BASE_ADDRESS_SPACE_IO)
			return bar;
		bar++;
	}
	expect_true(c, bar < 6);
	return 0;
}

unsigned conf_capability(struct conf *c, int device, unsigned id)
{
	uint8_t pos = 0, entry[2];
	uint16_t status = 0;

	if (conf_config_read(c, device, PCI_STATUS, &status, 2) != 2 ||
	    !(status & PCI_STATUS_CAP_LIST))
		return 0;
	conf_config_read(c, device, PCI_CAPABILITY_LIST, &pos, 1);
	for (unsigned i = 0; i < 48 && pos; i++) {
		if (conf_config_read(c, device, pos, entry, 2) != 2)
			return 0;
		if (entry[0] == id)
			return pos;
		pos = entry[1];
	}
	return 0;
}

/* ----------------------------------------------------------------------------- KVM */

int conf_vm(struct conf *c, unsigned long type)
{
	int kvm = conf_open(c, "/dev/kvm", O_RDWR);
	int vm;

	expect_true(c, kvm >= 0);
	vm = conf_keep(c, conf_ioctl_value(c, kvm, KVM_CREATE_VM, type));
	expect_true(c, vm >= 0);
	return vm;
}

int conf_slot(struct conf *c, int vm, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t size,
	      const void *va)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)va,
	};

	return conf_ioctl(c, vm, KVM_SET_USER_MEMORY_REGION, &region);
}

int conf_slot2(struct conf *c, int vm, uint32_t slot, uint64_t gpa, uint64_t size, const void *va,
	       int gmem, uint64_t offset)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = slot,
		.flags = gmem >= 0 ? KVM_MEM_GUEST_MEMFD : 0,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)va,
		.guest_memfd = (uint32_t)gmem,
		.guest_memfd_offset = offset,
	};

	return conf_ioctl(c, vm, KVM_SET_USER_MEMORY_REGION2, &region);
}

int conf_gmem(struct conf *c, int vm, uint64_t size, uint64_t flags)
{
	struct kvm_create_guest_memfd create = { .size = size, .flags = flags };

	return conf_keep(c, conf_ioctl(c, vm, KVM_CREATE_GUEST_MEMFD, &create));
}

int conf_attributes(struct conf *c, int vm, uint64_t gpa, uint64_t size, uint64_t attributes)
{
	struct kvm_memory_attributes set = { .address = gpa,
					     .size = size,
					     .attributes = attributes };

	return conf_ioctl(c, vm, KVM_SET_MEMORY_ATTRIBUTES, &set);
}
