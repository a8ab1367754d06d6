/* SPDX-License-Identifier: MIT */
/*
 * What the library is built on, shown with the kernel's own calls: that the test machine has the devices
 * it should, and that exporting, importing, revoking and resetting do on it what the library assumes.
 */
#include "edu.h"
#include "guest.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/pci.h"
#include "libpfnbuf/uapi/vfio.h"
#include "raw.h"
#include "vmtest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE	   4096
#define SLICE	   0x10000 /* where in the BAR the exported slice starts … */
#define SLICE_SIZE 0x10000 /* … and its length */
#define RAM_IOVA   0x100000
#define SLICE_IOVA 0x200000
#define BURST	   256

/* edu as the engine, the first ivshmem as the memory, both in one IOAS; RAM to feed edu from. */
struct bench {
	int iommufd;
	uint32_t ioas;
	int engine, memory;
	struct edu edu;
	volatile unsigned char *bar;
	uint64_t bar_size;
	unsigned char *ram;
	int dma_buf;
};

static int open_bound(int iommufd, unsigned vendor, unsigned device, unsigned nth)
{
	char bdf[RAW_BDF_SIZE];
	int fd;

	check_ok(raw_find(vendor, device, nth, bdf));
	fd = check_ok(raw_device_open(bdf));
	check_eq(raw_device_bind(fd, iommufd), 0);
	return fd;
}

static void bench_open(struct bench *b)
{
	b->iommufd = check_ok(vmtest_open("/dev/iommu", O_RDWR));
	check_ok(raw_ioas_alloc(b->iommufd, &b->ioas));
	b->engine = open_bound(b->iommufd, RAW_EDU, 0);
	b->memory = open_bound(b->iommufd, RAW_IVSHMEM, 0);
	check_eq(raw_device_attach(b->engine, b->ioas), 0);
	check_eq(raw_command(b->engine, PCI_COMMAND_MASTER, 0), 0);
	b->edu = (struct edu){ b->engine, raw_region_offset(0) };
	check_eq(edu_identify(&b->edu), 0);

	b->bar_size = raw_region_size(b->memory, 2);
	check(b->bar_size >= SLICE + SLICE_SIZE);
	b->bar = vmtest_mmap(b->bar_size, PROT_READ | PROT_WRITE, MAP_SHARED, b->memory,
			     raw_region_offset(2));
	b->ram = vmtest_mmap(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check_eq(raw_ioas_map(b->iommufd, b->ioas, b->ram, PAGE, RAM_IOVA), 0);
	b->dma_buf = check_ok(raw_export(b->memory, 2, SLICE, SLICE_SIZE));
}

static void bench_close(struct bench *b)
{
	close(b->dma_buf);
	munmap(b->ram, PAGE);
	munmap((void *)b->bar, b->bar_size);
	close(b->memory);
	close(b->engine);
	close(b->iommufd);
}

static void fill(unsigned char *bytes, unsigned char seed)
{
	for (size_t i = 0; i < BURST; i++)
		bytes[i] = (unsigned char)(seed + i * 7);
}

/* Let edu write a pattern of its own at the start of the slice's IOVA. */
static void dma(struct bench *b, unsigned char seed)
{
	fill(b->ram, seed);
	check_eq(edu_copy(&b->edu, RAM_IOVA, SLICE_IOVA, BURST), 0);
}

static void check_slice(struct bench *b, unsigned char seed)
{
	unsigned char want[BURST], got[BURST];

	fill(want, seed);
	for (size_t i = 0; i < BURST; i++)
		got[i] = b->bar[SLICE + i];
	check_bytes(got, want, BURST);
}

static int import(struct bench *b)
{
	return raw_ioas_map_file(b->iommufd, b->ioas, b->dma_buf, 0, SLICE_SIZE, SLICE_IOVA);
}

static void devices_present(void)
{
	static const struct {
		unsigned vendor, device, count;
	} want[] = { { RAW_EDU, 1 }, { RAW_IVSHMEM, 4 }, { RAW_NVME, 1 } };
	char bdf[RAW_BDF_SIZE];

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		for (unsigned nth = 0; nth < want[i].count; nth++) {
			check_eq(raw_find(want[i].vendor, want[i].device, nth, bdf), 0);
			close(check_ok(raw_device_open(bdf)));
		}
		check_eq(raw_find(want[i].vendor, want[i].device, want[i].count, bdf), -ENODEV);
	}
}

static void dma_reaches_bar(void)
{
	struct bench b;

	bench_open(&b);
	check_eq(import(&b), 0);
	dma(&b, 1);
	check_slice(&b, 1);
	/* The bytes before the slice are not in the IOAS. */
	check_eq(b.bar[SLICE - 1], 0);
	bench_close(&b);
}

static void decode_off_kills_import(void)
{
	struct bench b;

	bench_open(&b);
	check_eq(import(&b), 0);
	dma(&b, 11);
	check_slice(&b, 11);

	check_eq(raw_command(b.memory, 0, PCI_COMMAND_MEMORY), 0);
	dma(&b, 12);
	check_eq(raw_ioas_map_file(b.iommufd, b.ioas, b.dma_buf, 0, SLICE_SIZE, 0x400000), -ENODEV);

	check_eq(raw_command(b.memory, PCI_COMMAND_MEMORY, 0), 0);
	check_slice(&b, 11);
	dma(&b, 13);
	check_slice(&b, 11);
	check_eq(import(&b), -EEXIST);

	check_eq(raw_ioas_unmap(b.iommufd, b.ioas, SLICE_IOVA, SLICE_SIZE), 0);
	check_eq(import(&b), 0);
	dma(&b, 14);
	check_slice(&b, 14);
	bench_close(&b);
}

/* A plain shared area says nothing of a dead one: a fixed map over it tells. */
static void reset_kills_import(void)
{
	int iommufd = check_ok(vmtest_open("/dev/iommu", O_RDWR));
	int nvme = open_bound(iommufd, RAW_NVME, 0);
	struct vfio_device_info info = { .argsz = sizeof(info) };
	uint32_t ioas;
	int dma_buf;

	check_ok(raw_ioas_alloc(iommufd, &ioas));
	check_eq(vmtest_ioctl(nvme, VFIO_DEVICE_GET_INFO, &info), 0);
	check(info.flags & VFIO_DEVICE_FLAGS_RESET);
	dma_buf = check_ok(raw_export(nvme, 0, 0, PAGE));
	check_eq(raw_ioas_map_file(iommufd, ioas, dma_buf, 0, PAGE, SLICE_IOVA), 0);
	check_eq(raw_device_reset(nvme), 0);
	check_eq(raw_ioas_map_file(iommufd, ioas, dma_buf, 0, PAGE, SLICE_IOVA), -EEXIST);
	check_eq(raw_ioas_unmap(iommufd, ioas, SLICE_IOVA, PAGE), 0);
	check_eq(raw_ioas_map_file(iommufd, ioas, dma_buf, 0, PAGE, SLICE_IOVA), 0);
	close(dma_buf);
	close(nvme);
	close(iommufd);
}

static void reset_unsupported(void)
{
	int iommufd = check_ok(vmtest_open("/dev/iommu", O_RDWR));
	int edu = open_bound(iommufd, RAW_EDU, 0);

	check_eq(raw_device_reset(edu), -EINVAL);
	close(edu);
	close(iommufd);
}

static int open_kvm(void)
{
	int kvm = check_ok(vmtest_open("/dev/kvm", O_RDWR));

	check_eq(vmtest_ioctl_value(kvm, KVM_GET_API_VERSION, 0), 12);
	return kvm;
}

/* A private page and a shared one behind the same slot: each access reaches its own memory. */
static void private_memory(void)
{
	const uint64_t gpa = 0x200000;
	int kvm = open_kvm();
	int vm = check_ok(vmtest_ioctl_value(kvm, KVM_CREATE_VM, KVM_X86_SW_PROTECTED_VM));
	struct kvm_create_guest_memfd gmem = { .size = 2 * PAGE };
	struct kvm_memory_attributes attributes = {
		.address = gpa,
		.size = PAGE,
		.attributes = KVM_MEMORY_ATTRIBUTE_PRIVATE,
	};
	uint32_t *shared =
		vmtest_mmap(2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region2 region = {
		.slot = 1,
		.flags = KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = gpa,
		.memory_size = 2 * PAGE,
		.userspace_addr = (uintptr_t)shared,
	};
	struct guest guest;
	uint32_t value;

	check_eq(vmtest_ioctl_value(vm, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_ATTRIBUTES),
		 KVM_MEMORY_ATTRIBUTE_PRIVATE);
	region.guest_memfd = (uint32_t)check_ok(vmtest_ioctl(vm, KVM_CREATE_GUEST_MEMFD, &gmem));
	check_eq(vmtest_ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region), 0);
	check_eq(vmtest_ioctl(vm, KVM_SET_MEMORY_ATTRIBUTES, &attributes), 0);

	check_eq(guest_start(&guest, kvm, vm, 0, 0x1000), 0);
	check_eq(guest_write32(&guest, gpa, 0x11111111), 0);
	check_eq(guest_write32(&guest, gpa + PAGE, 0x22222222), 0);
	check_eq(guest_read32(&guest, gpa, &value), 0);
	check_eq(value, 0x11111111);
	check_eq(shared[0], 0);
	check_eq(shared[PAGE / sizeof(*shared)], 0x22222222);

	guest_stop(&guest);
	close((int)region.guest_memfd);
	munmap(shared, 2 * PAGE);
	close(vm);
	close(kvm);
}

static void guest_reaches_bar(void)
{
	const uint64_t gpa = 0x80000000;
	int kvm = open_kvm();
	int vm = check_ok(vmtest_ioctl_value(kvm, KVM_CREATE_VM, KVM_X86_DEFAULT_VM));
	struct kvm_userspace_memory_region region = { .slot = 1, .guest_phys_addr = gpa };
	struct guest guest;
	struct bench b;
	uint32_t value;

	bench_open(&b);
	region.memory_size = b.bar_size;
	region.userspace_addr = (uintptr_t)b.bar;
	check_eq(guest_start(&guest, kvm, vm, 0, 0x1000), 0);
	check_eq(guest_write32(&guest, gpa + SLICE, 1), KVM_EXIT_MMIO);
	check_eq(vmtest_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), 0);

	check_eq(guest_write32(&guest, gpa + SLICE, 0xcafe0001), 0);
	check_eq(*(volatile uint32_t *)(b.bar + SLICE), 0xcafe0001);
	*(volatile uint32_t *)(b.bar + SLICE + 8) = 0xcafe0002;
	check_eq(guest_read32(&guest, gpa + SLICE + 8, &value), 0);
	check_eq(value, 0xcafe0002);

	/* With decode off the access fails without a word of where; with it on again it just works. */
	check_eq(raw_command(b.memory, 0, PCI_COMMAND_MEMORY), 0);
	check_eq(guest_write32(&guest, gpa + SLICE, 0xcafe0003), -EFAULT);
	check_eq(guest.vcpu.run->exit_reason, KVM_EXIT_UNKNOWN);
	check_eq(raw_command(b.memory, PCI_COMMAND_MEMORY, 0), 0);
	check_eq(guest_write32(&guest, gpa + SLICE, 0xcafe0004), 0);
	check_eq(*(volatile uint32_t *)(b.bar + SLICE), 0xcafe0004);

	guest_stop(&guest);
	bench_close(&b);
	close(vm);
	close(kvm);
}

/*
 * The write to "unbind" blocks until the device is closed everywhere: it needs a process of its own, and
 * one that does not hold the device itself.
 */
static pid_t start_unbind(const char *bdf)
{
	pid_t pid = fork();

	if (pid == 0) {
		close_range(3, ~0U, 0);
		_exit(vmtest_write_file("/sys/bus/pci/drivers/vfio-pci/unbind", bdf) ? 1 : 0);
	}
	return pid;
}

static void unbind_requests_removal(void)
{
	int iommufd = check_ok(vmtest_open("/dev/iommu", O_RDWR));
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	char bdf[RAW_BDF_SIZE];
	int device, status;
	pid_t pid;

	check(event >= 0);
	check_ok(raw_find(RAW_IVSHMEM, 1, bdf));
	device = check_ok(raw_device_open(bdf));
	check_eq(raw_device_bind(device, iommufd), 0);
	check_eq(raw_set_req_eventfd(device, event), 0);
	check(!vmtest_readable(event, 0));

	pid = start_unbind(bdf);
	check(pid > 0);
	check(vmtest_readable(event, 5000));
	check_eq(waitpid(pid, &status, WNOHANG), 0);
	close(device);
	check_eq(waitpid(pid, &status, 0), pid);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	check_eq(raw_device_open(bdf), -ENOENT);

	check_eq(vmtest_write_file("/sys/bus/pci/drivers_probe", bdf), 0);
	close(check_ok(raw_device_open(bdf)));
	close(event);
	close(iommufd);
}

int main(void)
{
	static const struct vmtest tests[] = {
		{ "devices_present", devices_present },
		{ "dma_reaches_bar", dma_reaches_bar },
		{ "decode_off_kills_import", decode_off_kills_import },
		{ "reset_kills_import", reset_kills_import },
		{ "reset_unsupported", reset_unsupported },
		{ "private_memory", private_memory },
		{ "guest_reaches_bar", guest_reaches_bar },
		{ "unbind_requests_removal", unbind_requests_removal },
	};

	return vmtest_main(tests, sizeof(tests) / sizeof(tests[0]));
}
