/* SPDX-License-Identifier: MIT */
/*
 * A small VMM for a confidential guest with an assigned device: all that has to be kept in step,
 * and nothing else. It makes a VM with private memory, places a window of RAM and one of a device's
 * BAR, runs the guest on one vCPU, converts memory when the guest asks, and puts the device back
 * after a reset. Read it from the end: main(), start(), place_ram(), then the exits.
 *
 *	cc -o minivmm minivmm.c $(pkg-config --cflags --libs pfnbuf) -pthread
 *	minivmm minivmm-guest 0000:01:00.0
 *
 * The guest is minivmm-guest.c, which drives an NVMe controller; the device must be bound to
 * vfio-pci. Memory is private by software only here (KVM_X86_SW_PROTECTED_VM, x86), so any machine
 * with an IOMMU will do. For TDX or SEV-SNP what changes is how the guest's first pages get into
 * private memory.
 *
 * Who does what: the library owns memory slots, attributes, I/O page tables and everything of the
 * device. The VMM owns the vCPU, its exits, and the event loop.
 */
#include <cpuid.h>
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/kvm_para.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <pfnbuf.h>

#include "minivmm.h"

/* Of struct kvm_run, which has it since Linux 6.8: headers may be older. */
struct memory_fault {
	uint64_t flags, gpa, size;
};

struct vmm {
	struct pfnbuf_ctx *ctx;
	struct pfnbuf_vm *vm;
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_device *device;
	struct pfnbuf_window *ram, *bar;
	struct pfnbuf_buf *memfd, *guest_memfd; /* RAM: the shared side and the private one */
	unsigned char *memory;			/* the shared one */
	int vcpu;
	struct kvm_run *run;
	size_t run_size;
	int ended;     /* eventfd: the vCPU has ended … */
	bool well;     /* … and the guest says that all was well */
	char line[80]; /* what the guest has printed of one */
	size_t line_length;
	unsigned conversions, resets, restored, trapped;
};

/* ---------------------------------------------------------------- errors -------------------- */

/* The library says itself which call failed, why, and what to do. */
static void must(int r)
{
	if (r < 0)
		errx(1, "%s", pfnbuf_last_error());
}

static int must_call(const char *what, int r)
{
	if (r < 0)
		err(1, "%s", what);
	return r;
}

static void log_message(void *data, enum pfnbuf_log_level level, const char *message)
{
	(void)data;
	if (level <= PFNBUF_LOG_WARNING)
		warnx("%s", message);
}

/* ---------------------------------------------------------------- memory -------------------- */

/*
 * RAM has two sides: a memfd for what is shared, a guest_memfd for what is private. The window
 * places both at the guest's address 0, and what is shared at the device's address 0, too, so that
 * the guest can give its devices the addresses that it uses itself.
 */
static void place_ram(struct vmm *vmm)
{
	const struct pfnbuf_place place = {
		.size = sizeof(place),
		.vm = vmm->vm,
		.gpa = 0,
		.ioas = vmm->ioas,
		.iova = 0,
		/* Converting a page then never touches what devices have of its neighbours. */
		.granule = (uint64_t)getpagesize(),
	};
	struct pfnbuf_ram ram = { .length = RAM_SIZE };
	struct pfnbuf_layout *layout;
	void *addr;

	must(pfnbuf_buf_new_memfd(vmm->ctx, RAM_SIZE, 0, &vmm->memfd));
	must(pfnbuf_buf_new_guest_memfd(vmm->vm, RAM_SIZE, 0, &vmm->guest_memfd));
	must(pfnbuf_buf_map(vmm->memfd, 0, RAM_SIZE, &addr));
	vmm->memory = addr;
	ram.memfd = vmm->memfd;
	ram.addr = addr;
	ram.guest_memfd = vmm->guest_memfd;
	must(pfnbuf_window_new_ram(vmm->ctx, &ram, &place, &vmm->ram));

	must(pfnbuf_layout_new(RAM_SIZE, place.granule, PFNBUF_PRIVATE, &layout));
	must(pfnbuf_layout_set(layout, 0, LOW_SIZE, PFNBUF_SHARED));
	must(pfnbuf_window_set_layout(vmm->ram, layout));
	pfnbuf_layout_free(layout);
}

static void load_bytes(int fd, void *to, size_t length, uint64_t from)
{
	if (pread(fd, to, length, (off_t)from) != (ssize_t)length)
		errx(1, "the guest's file is cut short");
}

/* A 32-bit ELF program; returns its entry point. What it wants zeroed is zero in fresh memory. */
static uint32_t load_guest(struct vmm *vmm, const char *path)
{
	const int fd = must_call(path, open(path, O_RDONLY | O_CLOEXEC));
	Elf32_Ehdr eh;
	Elf32_Phdr ph;

	load_bytes(fd, &eh, sizeof(eh), 0);
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_machine != EM_386)
		errx(1, "%s: not a 32-bit x86 program", path);
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		load_bytes(fd, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph));
		if (ph.p_type != PT_LOAD)
			continue;
		if (ph.p_memsz > LOW_SIZE || ph.p_paddr > LOW_SIZE - ph.p_memsz)
			errx(1, "%s: does not fit into the first %u bytes", path, LOW_SIZE);
		load_bytes(fd, vmm->memory + ph.p_paddr, ph.p_filesz, ph.p_offset);
	}
	close(fd);
	return eh.e_entry;
}

/* ---------------------------------------------------------------- the device ---------------- */

/* The order is the kernel's: KVM has to know of the device before it is bound. */
static void open_device(struct vmm *vmm, const char *bdf)
{
	must(pfnbuf_device_open(vmm->ctx, bdf, &vmm->device));
	must(pfnbuf_vm_add_device(vmm->vm, vmm->device));
	must(pfnbuf_device_bind(vmm->device, NULL));
	must(pfnbuf_device_attach(vmm->device, vmm->ioas));
	/* A VMM that emulates configuration space leaves this to the guest. */
	must(pfnbuf_device_set_bus_master(vmm->device, true));
}

/*
 * BAR 0, for the guest and as a peer of other devices in the IOAS. During a reset its slots are
 * withdrawn: the guest's accesses then exit, instead of failing the vCPU. The default layout leaves
 * out the MSI-X table, which a VMM that has interrupts emulates.
 */
static void place_bar(struct vmm *vmm)
{
	const struct pfnbuf_place place = {
		.size = sizeof(place),
		.vm = vmm->vm,
		.gpa = BAR_ADDRESS,
		.ioas = vmm->ioas,
		.iova = BAR_ADDRESS,
		.flags = PFNBUF_PLACE_WITHDRAW_SLOTS,
	};
	struct pfnbuf_layout *layout;

	must(pfnbuf_window_new_bar(vmm->device, 0, NULL, &place, &vmm->bar));
	must(pfnbuf_window_default_layout(vmm->bar, &layout));
	must(pfnbuf_window_set_layout(vmm->bar, layout));
	pfnbuf_layout_free(layout);
}

/* ---------------------------------------------------------------- the vCPU ------------------ */

static uint64_t hypercall_instruction(void)
{
	unsigned eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	return ebx == signature_AMD_ebx ? HYPERCALL_VMMCALL : HYPERCALL_VMCALL;
}

/* 32-bit protected mode without paging. Bit 1 of rflags is always set; interrupts stay off. */
static void enter_at(int vcpu, uint32_t entry)
{
	struct kvm_regs regs = {
		.rax = hypercall_instruction(),
		.rip = entry,
		.rsp = STACK - 16,
		.rflags = 2,
	};
	struct kvm_segment flat = { .limit = 0xffffffff, .present = 1, .db = 1, .s = 1, .g = 1 };
	struct kvm_sregs sregs;

	must_call("KVM_GET_SREGS", ioctl(vcpu, KVM_GET_SREGS, &sregs));
	flat.type = 0x3; /* data */
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	flat.type = 0xb; /* code */
	flat.selector = 0x08;
	sregs.cs = flat;
	sregs.cr0 |= 1;
	must_call("KVM_SET_SREGS", ioctl(vcpu, KVM_SET_SREGS, &sregs));
	must_call("KVM_SET_REGS", ioctl(vcpu, KVM_SET_REGS, &regs));
}

static void make_vcpu(struct vmm *vmm)
{
	struct kvm_enable_cap exits = {
		.cap = KVM_CAP_EXIT_HYPERCALL,
		.args = { 1U << KVM_HC_MAP_GPA_RANGE },
	};
	const int vm = pfnbuf_vm_get_fd(vmm->vm);
	const int kvm = must_call("/dev/kvm", open("/dev/kvm", O_RDWR | O_CLOEXEC));
	void *run;

	must_call("KVM_CAP_EXIT_HYPERCALL", ioctl(vm, KVM_ENABLE_CAP, &exits));
	vmm->vcpu = must_call("KVM_CREATE_VCPU", ioctl(vm, KVM_CREATE_VCPU, 0));
	vmm->run_size =
		(size_t)must_call("KVM_GET_VCPU_MMAP_SIZE", ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	run = mmap(NULL, vmm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vmm->vcpu, 0);
	if (run == MAP_FAILED)
		err(1, "mmap of the vCPU");
	vmm->run = run;
	close(kvm);
}

/* ---------------------------------------------------------------- exits --------------------- */

/*
 * IOAS, attributes and memory change in the order that never lets a page be seen twice. Whether it
 * was done; if not, nothing has changed.
 */
static bool convert(struct vmm *vmm, const struct pfnbuf_conversion *conversion)
{
	if (pfnbuf_guest_convert(vmm->vm, conversion, 1) < 0) {
		warnx("%s", pfnbuf_last_error());
		return false;
	}
	vmm->conversions++;
	return true;
}

/* What an exit comes to is the library's to say, and the VMM's to do. */
static void handle_hypercall(struct vmm *vmm)
{
	struct pfnbuf_exit exit = { .kind = PFNBUF_EXIT_HYPERCALL, .nr = vmm->run->hypercall.nr };
	struct pfnbuf_exit_advice advice;

	for (unsigned i = 0; i < 4; i++)
		exit.args[i] = vmm->run->hypercall.args[i];
	must(pfnbuf_exit_explain(vmm->vm, &exit, &advice));
	if (advice.action == PFNBUF_EXIT_CONVERT && !convert(vmm, &advice.conversion))
		advice.ret = EINVAL; /* positive, unlike what guests get otherwise */
	vmm->run->hypercall.ret = advice.ret;
}

/* Memory used as what it is not: where hardware keeps it private, guests may convert so, too. */
static void handle_memory_fault(struct vmm *vmm)
{
	const struct memory_fault *fault = (const void *)&vmm->run->hw;
	const struct pfnbuf_exit exit = {
		.kind = PFNBUF_EXIT_MEMORY_FAULT,
		.flags = fault->flags,
		.gpa = fault->gpa,
		.length = fault->size,
	};
	struct pfnbuf_exit_advice advice;

	must(pfnbuf_exit_explain(vmm->vm, &exit, &advice));
	if (advice.action == PFNBUF_EXIT_RESUME ||
	    (advice.action == PFNBUF_EXIT_CONVERT && convert(vmm, &advice.conversion)))
		return;
	errx(1, "the guest at %#llx: %s", (unsigned long long)exit.gpa, advice.reason);
}

/* Nothing is emulated: what has no memory behind it reads as ones, as in an empty PCI slot. */
static void handle_mmio(struct vmm *vmm)
{
	if (!vmm->run->mmio.is_write)
		memset(vmm->run->mmio.data, 0xff, sizeof(vmm->run->mmio.data));
	vmm->trapped++;
}

/* By lines, since the event loop prints, too. */
static void print_char(struct vmm *vmm, char c)
{
	if (c != '\n')
		vmm->line[vmm->line_length++] = c;
	if (c != '\n' && vmm->line_length < sizeof(vmm->line))
		return;
	printf("%.*s\n", (int)vmm->line_length, vmm->line);
	vmm->line_length = 0;
}

/* Whether the guest goes on. */
static bool handle_port(struct vmm *vmm)
{
	const struct kvm_run *run = vmm->run;
	uint32_t value = 0;

	memcpy(&value, (const char *)run + run->io.data_offset, run->io.size);
	switch (run->io.direction == KVM_EXIT_IO_OUT ? run->io.port : -1) {
	case PORT_CONSOLE:
		print_char(vmm, (char)value);
		return true;
	case PORT_RESET:
		/*
		 * What the device shows is gone with this call, and comes back in the main loop. A
		 * VMM that emulates configuration space has pfnbuf_device_config_write() for writes
		 * to it: that notices those that reset the device.
		 */
		must(pfnbuf_device_reset(vmm->device));
		vmm->resets++;
		return true;
	case PORT_END:
		vmm->well = value == 0;
		return false;
	default:
		errx(1, "the guest uses port %#x", run->io.port);
	}
}

static bool handle_exit(struct vmm *vmm)
{
	switch (vmm->run->exit_reason) {
	case KVM_EXIT_HYPERCALL:
		handle_hypercall(vmm);
		return true;
	case PFNBUF_EXIT_MEMORY_FAULT:
		handle_memory_fault(vmm);
		return true;
	case KVM_EXIT_MMIO:
		handle_mmio(vmm);
		return true;
	case KVM_EXIT_IO:
		return handle_port(vmm);
	default:
		errx(1, "the vCPU exits for reason %u", vmm->run->exit_reason);
	}
}

/* The vCPU's thread. A memory fault comes with EFAULT, everything else without an error. */
static void *run_vcpu(void *data)
{
	struct vmm *vmm = data;
	bool running = true;

	while (running) {
		const int r = ioctl(vmm->vcpu, KVM_RUN, 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && (errno != EFAULT || vmm->run->exit_reason != PFNBUF_EXIT_MEMORY_FAULT))
			err(1, "KVM_RUN");
		running = handle_exit(vmm);
	}
	must_call("eventfd", eventfd_write(vmm->ended, 1));
	return NULL;
}

/* ---------------------------------------------------------------- events -------------------- */

/* Slots and areas of the device's windows are put back, at the addresses where they were. */
static void handle_event(struct vmm *vmm, const struct pfnbuf_event *event)
{
	printf("event: %s, cause: %s\n", pfnbuf_event_type_name(event->type),
	       pfnbuf_cause_name(event->cause));
	switch (event->type) {
	case PFNBUF_EVENT_LIVE:
		must(pfnbuf_device_restore(vmm->device));
		break;
	case PFNBUF_EVENT_RESTORED:
		vmm->restored++;
		break;
	case PFNBUF_EVENT_REMOVAL_REQUEST:
	case PFNBUF_EVENT_DEVICE_ERROR:
	case PFNBUF_EVENT_RESTORE_FAILED:
	case PFNBUF_EVENT_QUARANTINED:
		/* Here a real VMM unplugs the device from its guest. This one has only the one. */
		errx(1, "the device cannot be used any more");
	default:
		break;
	}
}

static void dispatch(struct vmm *vmm)
{
	struct pfnbuf_event event;

	must(pfnbuf_ctx_dispatch(vmm->ctx));
	while (pfnbuf_ctx_pop_event(vmm->ctx, &event))
		handle_event(vmm, &event);
}

static void watch(int set, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	must_call("epoll_ctl", epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
}

/* The library is one fd in the VMM's own loop. */
static void loop(struct vmm *vmm)
{
	const int set = must_call("epoll_create1", epoll_create1(EPOLL_CLOEXEC));
	struct epoll_event event = { 0 };

	watch(set, pfnbuf_ctx_get_fd(vmm->ctx));
	watch(set, vmm->ended);
	while (event.data.fd != vmm->ended)
		if (epoll_wait(set, &event, 1, -1) == 1 && event.data.fd != vmm->ended)
			dispatch(vmm);
	close(set);
}

/* ---------------------------------------------------------------- start and end ------------- */

static void start(struct vmm *vmm, const char *guest, const char *bdf)
{
	const struct pfnbuf_ctx_opts opts = { .size = sizeof(opts), .log = log_message };

	must(pfnbuf_ctx_new(&vmm->ctx, &opts));
	must(pfnbuf_vm_new(vmm->ctx, PFNBUF_VM_SW_PROTECTED, &vmm->vm));
	must(pfnbuf_ioas_new(vmm->ctx, &vmm->ioas));
	open_device(vmm, bdf);
	place_ram(vmm);
	place_bar(vmm);
	make_vcpu(vmm);
	enter_at(vmm->vcpu, load_guest(vmm, guest));
	vmm->ended = must_call("eventfd", eventfd(0, EFD_CLOEXEC));
}

/* Windows first, then device, IOAS and VM. */
static void stop(struct vmm *vmm)
{
	munmap(vmm->run, vmm->run_size);
	close(vmm->vcpu);
	close(vmm->ended);
	pfnbuf_window_free(vmm->bar);
	pfnbuf_window_free(vmm->ram);
	must(pfnbuf_buf_unmap(vmm->memfd, vmm->memory, RAM_SIZE));
	pfnbuf_buf_unref(vmm->memfd);
	pfnbuf_buf_unref(vmm->guest_memfd);
	pfnbuf_device_close(vmm->device);
	pfnbuf_ioas_free(vmm->ioas);
	pfnbuf_vm_free(vmm->vm);
	pfnbuf_ctx_free(vmm->ctx);
}

/* Whether the kernel has of a window what its ledger says. */
static bool is_right(struct pfnbuf_window *window)
{
	const int r = pfnbuf_window_verify(window, NULL);

	must(r);
	return r == 1;
}

int main(int argc, char **argv)
{
	struct vmm vmm = { 0 };
	pthread_t thread;
	bool right;

	if (argc != 3) {
		fprintf(stderr, "usage: minivmm GUEST BDF\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	start(&vmm, argv[1], argv[2]);
	if (pthread_create(&thread, NULL, run_vcpu, &vmm) != 0)
		errx(1, "no thread for the vCPU");
	loop(&vmm);
	pthread_join(thread, NULL);
	dispatch(&vmm);

	right = is_right(vmm.ram) && is_right(vmm.bar) && vmm.restored == vmm.resets;
	printf("minivmm: %u conversions, %u reset, %u restored, %u accesses trapped: %s\n",
	       vmm.conversions, vmm.resets, vmm.restored, vmm.trapped,
	       vmm.well && right ? "all well" : "not as it should be");
	stop(&vmm);
	return vmm.well && right ? 0 : 1;
}
