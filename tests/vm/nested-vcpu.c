/* SPDX-License-Identifier: MIT */
#include "nested-vcpu.h"

#include "libpfnbuf/uapi/kvm.h"
#include "vmtest.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static int load_segment(int fd, const Elf32_Phdr *ph, unsigned char *ram)
{
	if (ph->p_type != PT_LOAD)
		return 0;
	if (ph->p_memsz > NESTED_RAM_END || ph->p_paddr > NESTED_RAM_END - ph->p_memsz)
		return -ENOEXEC;
	if (pread(fd, ram + ph->p_paddr, ph->p_filesz, ph->p_offset) != (ssize_t)ph->p_filesz)
		return -ENOEXEC;
	return 0;
}

/* What the file has zeroed is zero in fresh memory. */
static int load(int fd, unsigned char *ram, uint32_t *entry)
{
	Elf32_Ehdr eh;
	Elf32_Phdr ph;

	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) || eh.e_machine != EM_386)
		return -ENOEXEC;
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		const off_t at = (off_t)(eh.e_phoff + i * sizeof(ph));
		int ret;

		if (pread(fd, &ph, sizeof(ph), at) != sizeof(ph))
			return -ENOEXEC;
		ret = load_segment(fd, &ph, ram);
		if (ret)
			return ret;
	}
	*entry = eh.e_entry;
	return 0;
}

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
}

static int enter_at(int vcpu, uint32_t entry)
{
	const uint64_t stack = NESTED_STACK - 16;
	struct kvm_regs regs = { .rip = entry, .rsp = stack, .rflags = 2 };
	struct kvm_sregs sregs;
	int ret = vmtest_ioctl(vcpu, KVM_GET_SREGS, &sregs);

	if (ret < 0)
		return ret;
	sregs.cs = flat_segment(0x08, 0xb);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat_segment(0x10, 0x3);
	sregs.cr0 |= 1;
	ret = vmtest_ioctl(vcpu, KVM_SET_SREGS, &sregs);
	return ret < 0 ? ret : vmtest_ioctl(vcpu, KVM_SET_REGS, &regs);
}

static uint32_t is_amd(void)
{
	unsigned eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	return ebx == signature_AMD_ebx;
}

static int set_up(struct nested *nested, int kvm, int vm, const char *path)
{
	uint32_t entry = 0;
	void *run;
	int ret, fd = vmtest_open(path, O_RDONLY);

	if (fd < 0)
		return fd;
	ret = load(fd, nested->ram, &entry);
	close(fd);
	if (ret < 0)
		return ret;
	nested->vcpu = vmtest_ioctl_value(vm, KVM_CREATE_VCPU, 0);
	if (nested->vcpu < 0)
		return nested->vcpu;
	ret = vmtest_ioctl_value(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (ret < 0)
		return ret;
	nested->run_size = (size_t)ret;
	run = mmap(NULL, nested->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, nested->vcpu, 0);
	if (run == MAP_FAILED)
		return -errno;
	nested->run = run;
	nested->page->vmmcall = is_amd();
	nested->page->edu = NESTED_NO_PAGE;
	return enter_at(nested->vcpu, entry);
}

int nested_start(struct nested *nested, int kvm, int vm, void *ram, const char *path)
{
	int ret;

	*nested = (struct nested){ .vcpu = -1, .ram = ram };
	nested->page = (volatile struct nested_page *)(nested->ram + NESTED_PAGE);
	ret = set_up(nested, kvm, vm, path);
	if (ret < 0)
		nested_stop(nested);
	return ret;
}

void nested_stop(struct nested *nested)
{
	if (nested->run)
		munmap(nested->run, nested->run_size);
	if (nested->vcpu >= 0)
		close(nested->vcpu);
	*nested = (struct nested){ .vcpu = -1 };
}

int nested_run(struct nested *nested)
{
	int ret;

	nested->run->exit_reason = KVM_EXIT_UNKNOWN;
	do
		ret = vmtest_ioctl_value(nested->vcpu, KVM_RUN, 0);
	while (ret == -EINTR);
	return ret < 0 ? ret : (int)nested->run->exit_reason;
}
