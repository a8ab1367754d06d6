/* SPDX-License-Identifier: MIT */
#include "nested-vcpu.h"

#include "libpfnbuf/uapi/kvm.h"
#include "vmtest.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
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

static uint32_t is_amd(void)
{
	unsigned eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	return ebx == signature_AMD_ebx;
}

static int set_up(struct nested *nested, int kvm, int vm, const char *path)
{
	struct kvm_regs regs = { .rsp = NESTED_STACK - 16, .rflags = 2 };
	uint32_t entry = 0;
	int ret, fd = vmtest_open(path, O_RDONLY);

	if (fd < 0)
		return fd;
	ret = load(fd, nested->ram, &entry);
	close(fd);
	if (ret < 0)
		return ret;
	ret = vcpu_new(&nested->vcpu, kvm, vm);
	if (ret < 0)
		return ret;
	nested->page->vmmcall = is_amd();
	nested->page->edu = NESTED_NO_PAGE;
	regs.rip = entry;
	return vmtest_ioctl(nested->vcpu.fd, KVM_SET_REGS, &regs);
}

int nested_start(struct nested *nested, int kvm, int vm, void *ram, const char *path)
{
	int ret;

	*nested = (struct nested){ .vcpu = { .fd = -1 }, .ram = ram };
	nested->page = (volatile struct nested_page *)(nested->ram + NESTED_PAGE);
	ret = set_up(nested, kvm, vm, path);
	if (ret < 0)
		nested_stop(nested);
	return ret;
}

void nested_stop(struct nested *nested)
{
	vcpu_free(&nested->vcpu);
	*nested = (struct nested){ .vcpu = { .fd = -1 } };
}
