/* SPDX-License-Identifier: MIT */
/*
 * A program that knows nothing of a simulated machine: it makes its calls as on a real one, with one
 * device at 0000:01:00.0 whose BAR 0 has 16 KiB. pfnbuf-sim-run answers them.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/vfio.h"

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition,  \
				errno);                                                            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define FAILS(call, error) CHECK((call) == -1 && errno == (error))

#define DEVICE "/sys/bus/pci/devices/0000:01:00.0"

static sigjmp_buf fault;

static void on_sigbus(int number)
{
	(void)number;
	siglongjmp(fault, 1);
}

static void check_paths(void)
{
	char text[4096];
	struct stat st;
	FILE *file;
	int dir, fd;

	CHECK(!stat("/dev/iommu", &st) && S_ISCHR(st.st_mode));
	CHECK(!stat("/dev/vfio/devices/vfio0", &st) && S_ISCHR(st.st_mode));
	CHECK(st.st_rdev == makedev(511, 0));
	FAILS(stat("/dev/vfio/devices/vfio1", &st), ENOENT);
	CHECK(!lstat(DEVICE, &st) && S_ISLNK(st.st_mode));
	CHECK(!stat(DEVICE, &st) && S_ISDIR(st.st_mode));
	CHECK(!access(DEVICE "/vendor", R_OK));
	FAILS(access(DEVICE "/vendor", W_OK), EACCES);
	FAILS(access("/sys/bus/pci/devices/0000:02:00.0", F_OK), ENOENT);

	file = fopen(DEVICE "/vendor", "r");
	CHECK(file && fgets(text, sizeof(text), file) && !strcmp(text, "0x1b36\n"));
	fclose(file);

	CHECK(readlink(DEVICE "/iommu_group", text, sizeof(text)) ==
	      (ssize_t)strlen("../../../kernel/iommu_groups/0"));
	FAILS(readlink(DEVICE "/vendor", text, sizeof(text)), EINVAL);
	CHECK(realpath(DEVICE "/driver", text) && !strcmp(text, "/sys/bus/pci/drivers/vfio-pci"));
	CHECK(!realpath(DEVICE "/nothing", text) && errno == ENOENT);

	dir = open(DEVICE, O_RDONLY | O_DIRECTORY);
	CHECK(dir >= 0);
	fd = openat(dir, "iommu_group/../../../class/vfio-dev/vfio0/dev", O_RDONLY);
	CHECK(fd >= 0 && read(fd, text, sizeof(text)) == 6 && !memcmp(text, "511:0\n", 6));
	close(fd);
	FAILS(openat(dir, "nothing", O_RDONLY), ENOENT);
	FAILS(openat(dir, "vendor", O_WRONLY), EACCES);
	FAILS(openat(dir, "vendor", O_RDONLY | O_DIRECTORY), ENOTDIR);
	FAILS(openat(dir, "driver", O_RDONLY | O_NOFOLLOW), ELOOP);
	FAILS(open("/dev/iommu", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	close(dir);
}

static int not_dot(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void check_directories(void)
{
	struct dirent **entries;
	struct dirent *entry;
	glob_t found = { 0 };
	DIR *dir = opendir("/sys/class/vfio-dev");
	unsigned n = 0;

	CHECK(dir && dirfd(dir) >= 0);
	while ((entry = readdir(dir)))
		n += entry->d_type == DT_LNK && !strcmp(entry->d_name, "vfio0");
	CHECK(n == 1 && telldir(dir) == 3);
	rewinddir(dir);
	CHECK(readdir(dir) && !closedir(dir));
	CHECK(!opendir("/sys/class/vfio-dev/vfio7") && errno == ENOENT);

	CHECK(scandir("/dev/vfio/devices", &entries, not_dot, alphasort) == 1);
	CHECK(!strcmp(entries[0]->d_name, "vfio0"));
	free(entries[0]);
	free(entries);

	CHECK(!glob("/sys/bus/pci/devices/*/vfio-dev/vfio*", 0, NULL, &found));
	CHECK(found.gl_pathc == 1 && !strcmp(found.gl_pathv[0], DEVICE "/vfio-dev/vfio0"));
	globfree(&found);
}

/* What is not the machine's is the running kernel's, as ever. */
static void check_the_rest(void)
{
	char path[] = "/tmp/pfnbuf-simrun-XXXXXX";
	int fd = mkstemp(path);
	struct stat st;
	void *mem;

	CHECK(fd >= 0 && pwrite(fd, "bytes", 5, 0) == 5 && !fstat(fd, &st) && st.st_size == 5);
	CHECK(ioctl(fd, IOMMU_DESTROY, NULL) == -1 && errno == ENOTTY);
	mem = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(mem != MAP_FAILED && !memcmp(mem, "bytes", 5) && !munmap(mem, 4096));
	CHECK(!close(fd) && !unlink(path));
	FAILS(open(path, O_RDONLY), ENOENT);
	FAILS(close(fd), EBADF);
	FAILS(read(-1, path, 1), EBADF);
}

static uint32_t new_ioas(int iommufd)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	CHECK(!ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc));
	return alloc.out_ioas_id;
}

static void check_fds(void)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy) };
	int fd = open("/dev/iommu", O_RDWR);
	int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int keep = dup(fd);
	char text[64] = { 0 }, link[64];

	CHECK(fd >= 0 && other >= 0 && keep >= 0);
	CHECK(!(fcntl(fd, F_GETFD) & FD_CLOEXEC));
	FAILS(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), EINVAL);
	FAILS(read(fd, text, 1), EINVAL);
	destroy.id = new_ioas(fd);
	/* One file behind them all: it lives until the last is gone. */
	CHECK(dup2(other, fd) == fd && dup3(keep, other, O_CLOEXEC) == other && !close(keep));
	CHECK(!ioctl(other, IOMMU_DESTROY, &destroy));
	FAILS(ioctl(other, IOMMU_DESTROY, &destroy), ENOENT);
	snprintf(text, sizeof(text), "/proc/self/fd/%d", other);
	CHECK(readlink(text, link, sizeof(link)) == 10 && !memcmp(link, "/dev/iommu", 10));
	CHECK(!close(other) && !close(fd));
	FAILS(ioctl(other, IOMMU_DESTROY, &destroy), EBADF);
}

static int open_device(int iommufd)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = iommufd };
	int fd = open("/dev/vfio/devices/vfio0", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0 && !ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &bind));
	return fd;
}

static void set_decode(int device, bool on)
{
	struct vfio_region_info config = { .argsz = sizeof(config),
					   .index = VFIO_PCI_CONFIG_REGION_INDEX };
	uint16_t command = on ? 2 : 0;

	CHECK(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config));
	CHECK(pwrite(device, &command, 2, (off_t)config.offset + 4) == 2);
}

/* Memory of the BAR: present while the device decodes, SIGBUS else. */
static void check_bar(int device)
{
	volatile uint32_t *bar = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
	uint32_t words[2] = { 0 };
	struct iovec pieces[2] = { { &words[0], 4 }, { &words[1], 4 } };
	volatile bool faulted = false;

	CHECK(bar != MAP_FAILED);
	set_decode(device, true);
	bar[0] = 0x11223344;
	bar[1] = 0x55667788;
	CHECK(preadv(device, pieces, 2, 0) == 8);
	CHECK(words[0] == 0x11223344 && words[1] == 0x55667788);
	set_decode(device, false);
	if (sigsetjmp(fault, 1))
		faulted = true;
	else
		(void)bar[0];
	CHECK(faulted);
	set_decode(device, true);
	CHECK(bar[0] == 0x11223344);
	CHECK(mremap((void *)bar, 16384, 32768, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT);
	CHECK(mremap((void *)bar, 16384, 8192, 0) == (void *)bar);
	/* Over a piece of it goes memory of another kind, and the rest is given back. */
	CHECK(mmap((void *)bar, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	      (void *)bar);
	CHECK(!bar[0] && !munmap((void *)bar, 8192));
}

static void check_dmabuf(int device)
{
	char buf[sizeof(struct vfio_device_feature) + sizeof(struct vfio_device_feature_dma_buf) +
		 sizeof(struct vfio_region_dma_range)] = { 0 };
	struct vfio_device_feature *feature = (void *)buf;
	struct vfio_device_feature_dma_buf *get = (void *)feature->data;
	struct epoll_event event = { .events = EPOLLIN, .data.fd = 4711 };
	int epoll = epoll_create1(EPOLL_CLOEXEC), fd;
	struct statfs fs;

	feature->argsz = sizeof(buf);
	feature->flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
	get->open_flags = O_RDWR | O_CLOEXEC;
	get->nr_ranges = 1;
	get->dma_ranges[0].length = 4096;
	fd = ioctl(device, VFIO_DEVICE_FEATURE, buf);
	CHECK(fd >= 0 && lseek(fd, 0, SEEK_END) == 4096);
	CHECK(!fstatfs(fd, &fs) && fs.f_type == 0x444d4142);
	CHECK(epoll >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	CHECK(epoll_wait(epoll, &event, 1, 0) == 1 && event.data.fd == 4711);
	FAILS(epoll_ctl(epoll, EPOLL_CTL_ADD, device, &event), EPERM);
	CHECK(!close(fd) && epoll_wait(epoll, &event, 1, 0) == 0 && !close(epoll));
}

static void check_kvm(void)
{
	struct kvm_userspace_memory_region slot = { .memory_size = 4096 };
	int kvm = open("/dev/kvm", O_RDWR);
	int vm;

	CHECK(kvm >= 0 && ioctl(kvm, KVM_GET_API_VERSION, 0) == 12);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	CHECK(vm >= 0);
	slot.userspace_addr = (uintptr_t)mmap(NULL, 4096, PROT_READ | PROT_WRITE,
					      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(!ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot));
	slot.slot = 1;
	FAILS(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), EEXIST);
	CHECK(!close(vm) && !close(kvm));
}

/*
 * A child has the machine as it was at the fork, and shares an iommufd that was open: memory that it
 * maps, its parent finds mapped.
 */
static void check_fork(int iommufd)
{
	uint32_t before = new_ioas(iommufd);
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = before };
	struct iommu_ioas_map map = { .size = sizeof(map),
				      .ioas_id = new_ioas(iommufd),
				      .flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_FIXED_IOVA,
				      .length = 4096,
				      .iova = 0x100000 };
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap), .ioas_id = map.ioas_id, .iova = map.iova, .length = 4096
	};
	struct iommu_ioas_map_file map_file = { .size = sizeof(map_file),
						.flags = IOMMU_IOAS_MAP_READABLE,
						.ioas_id = map.ioas_id,
						.length = 4096 };
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (!child) {
		check_paths();
		CHECK(!ioctl(iommufd, IOMMU_DESTROY, &destroy));
		map.user_va =
			(uintptr_t)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(!ioctl(iommufd, IOMMU_IOAS_MAP, &map));
		FAILS(ioctl(iommufd, IOMMU_IOAS_MAP, &map), EEXIST);
		FAILS(ioctl(iommufd, IOMMU_IOAS_MAP_FILE, &map_file), EOPNOTSUPP);
		check_fds();
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && !status);
	FAILS(ioctl(iommufd, IOMMU_DESTROY, &destroy), ENOENT);
	CHECK(!ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap) && unmap.length == 4096);
	FAILS(ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap), ENOENT);
}

int main(void)
{
	int iommufd, device;

	signal(SIGBUS, on_sigbus);
	check_paths();
	check_directories();
	check_the_rest();
	check_fds();
	iommufd = open("/dev/iommu", O_RDWR);
	CHECK(iommufd >= 0);
	device = open_device(iommufd);
	check_bar(device);
	check_dmabuf(device);
	check_kvm();
	check_fork(iommufd);
	/* A sweep as daemons make it takes the program's fds, not the machine. */
	CHECK(!close_range(3, ~0U, 0));
	FAILS(ioctl(device, VFIO_DEVICE_RESET), EBADF);
	iommufd = open("/dev/iommu", O_RDWR);
	device = open_device(iommufd);
	CHECK(new_ioas(iommufd) && !close(device) && !close(iommufd));
	puts("all is as on a machine");
	return 0;
}
