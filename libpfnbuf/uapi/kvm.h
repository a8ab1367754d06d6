/* SPDX-License-Identifier: MIT */
/*
 * The part of the KVM user interface that the library and its tests speak, as of Linux 7.3
 * (include/uapi/linux/kvm.h, kvm_para.h and arch/x86/include/uapi/asm).
 */
#ifndef PFNBUF_UAPI_KVM_H
#define PFNBUF_UAPI_KVM_H

#include <sys/ioctl.h>

#include "check.h"

#define KVM_API_VERSION 12
#define KVMIO		0xAE

/* /dev/kvm */
#define KVM_GET_API_VERSION    _IO(KVMIO, 0x00)
#define KVM_CREATE_VM	       _IO(KVMIO, 0x01)
#define KVM_CHECK_EXTENSION    _IO(KVMIO, 0x03) /* a VM fd as well */
#define KVM_GET_VCPU_MMAP_SIZE _IO(KVMIO, 0x04)

UAPI_VALUE(KVM_GET_API_VERSION, 0xae00);
UAPI_VALUE(KVM_CREATE_VM, 0xae01);
UAPI_VALUE(KVM_CHECK_EXTENSION, 0xae03);
UAPI_VALUE(KVM_GET_VCPU_MMAP_SIZE, 0xae04);

/* What KVM_CHECK_EXTENSION is asked for. */
#define KVM_CAP_USER_MEMORY		  3
#define KVM_CAP_NR_MEMSLOTS		  10 /* per address space */
#define KVM_CAP_SYNC_MMU		  16
#define KVM_CAP_READONLY_MEM		  81
#define KVM_CAP_DEVICE_CTRL		  89
#define KVM_CAP_ENABLE_CAP_VM		  98
#define KVM_CAP_CHECK_EXTENSION_VM	  105
#define KVM_CAP_MULTI_ADDRESS_SPACE	  118
#define KVM_CAP_IMMEDIATE_EXIT		  136
#define KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 168
#define KVM_CAP_DIRTY_LOG_RING		  192
#define KVM_CAP_EXIT_HYPERCALL		  201
#define KVM_CAP_VM_GPA_BITS		  207
#define KVM_CAP_DISABLE_QUIRKS2		  213
#define KVM_CAP_USER_MEMORY2		  231
#define KVM_CAP_MEMORY_FAULT_INFO	  232
#define KVM_CAP_MEMORY_ATTRIBUTES	  233 /* a mask of KVM_MEMORY_ATTRIBUTE_* */
#define KVM_CAP_GUEST_MEMFD		  234
#define KVM_CAP_VM_TYPES		  235 /* a bit per type */
#define KVM_CAP_PRE_FAULT_MEMORY	  236
#define KVM_CAP_GUEST_MEMFD_FLAGS	  244 /* a mask of GUEST_MEMFD_FLAG_* */

#define KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE (1U << 0)
#define KVM_DIRTY_LOG_INITIALLY_SET	    (1U << 1)

struct kvm_enable_cap {
	uint32_t cap;
	uint32_t flags;
	uint64_t args[4];
	uint8_t pad[64];
};

#define KVM_ENABLE_CAP _IOW(KVMIO, 0xa3, struct kvm_enable_cap)

UAPI_SIZE(kvm_enable_cap, 104);
UAPI_OFFSET(kvm_enable_cap, cap, 0);
UAPI_OFFSET(kvm_enable_cap, flags, 4);
UAPI_OFFSET(kvm_enable_cap, args, 8);
UAPI_OFFSET(kvm_enable_cap, pad, 40);
UAPI_VALUE(KVM_ENABLE_CAP, 0x4068aea3);

/* Memory slots. The upper 16 bits of slot choose the address space. */
#define KVM_MEM_LOG_DIRTY_PAGES (1UL << 0)
#define KVM_MEM_READONLY	(1UL << 1)
#define KVM_MEM_GUEST_MEMFD	(1UL << 2)

struct kvm_userspace_memory_region {
	uint32_t slot;
	uint32_t flags;
	uint64_t guest_phys_addr;
	uint64_t memory_size;
	uint64_t userspace_addr;
};

#define KVM_SET_USER_MEMORY_REGION _IOW(KVMIO, 0x46, struct kvm_userspace_memory_region)

UAPI_SIZE(kvm_userspace_memory_region, 32);
UAPI_OFFSET(kvm_userspace_memory_region, slot, 0);
UAPI_OFFSET(kvm_userspace_memory_region, flags, 4);
UAPI_OFFSET(kvm_userspace_memory_region, guest_phys_addr, 8);
UAPI_OFFSET(kvm_userspace_memory_region, memory_size, 16);
UAPI_OFFSET(kvm_userspace_memory_region, userspace_addr, 24);
UAPI_VALUE(KVM_SET_USER_MEMORY_REGION, 0x4020ae46);

struct kvm_userspace_memory_region2 {
	uint32_t slot;
	uint32_t flags;
	uint64_t guest_phys_addr;
	uint64_t memory_size;
	uint64_t userspace_addr;
	uint64_t guest_memfd_offset;
	uint32_t guest_memfd;
	uint32_t pad1;
	uint64_t pad2[14];
};

#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, struct kvm_userspace_memory_region2)

UAPI_SIZE(kvm_userspace_memory_region2, 160);
UAPI_OFFSET(kvm_userspace_memory_region2, slot, 0);
UAPI_OFFSET(kvm_userspace_memory_region2, flags, 4);
UAPI_OFFSET(kvm_userspace_memory_region2, guest_phys_addr, 8);
UAPI_OFFSET(kvm_userspace_memory_region2, memory_size, 16);
UAPI_OFFSET(kvm_userspace_memory_region2, userspace_addr, 24);
UAPI_OFFSET(kvm_userspace_memory_region2, guest_memfd_offset, 32);
UAPI_OFFSET(kvm_userspace_memory_region2, guest_memfd, 40);
UAPI_OFFSET(kvm_userspace_memory_region2, pad1, 44);
UAPI_OFFSET(kvm_userspace_memory_region2, pad2, 48);
UAPI_VALUE(KVM_SET_USER_MEMORY_REGION2, 0x40a0ae49);

/* One bit per page of the slot, in whole 64-bit words. */
struct kvm_dirty_log {
	uint32_t slot;
	uint32_t padding1;
	union {
		void *dirty_bitmap;
		uint64_t padding2;
	};
};

#define KVM_GET_DIRTY_LOG _IOW(KVMIO, 0x42, struct kvm_dirty_log)

UAPI_SIZE(kvm_dirty_log, 16);
UAPI_OFFSET(kvm_dirty_log, slot, 0);
UAPI_OFFSET(kvm_dirty_log, padding1, 4);
UAPI_OFFSET(kvm_dirty_log, dirty_bitmap, 8);
UAPI_OFFSET(kvm_dirty_log, padding2, 8);
UAPI_VALUE(KVM_GET_DIRTY_LOG, 0x4010ae42);

struct kvm_clear_dirty_log {
	uint32_t slot;
	uint32_t num_pages;
	uint64_t first_page;
	union {
		void *dirty_bitmap;
		uint64_t padding2;
	};
};

#define KVM_CLEAR_DIRTY_LOG _IOWR(KVMIO, 0xc0, struct kvm_clear_dirty_log)

UAPI_SIZE(kvm_clear_dirty_log, 24);
UAPI_OFFSET(kvm_clear_dirty_log, slot, 0);
UAPI_OFFSET(kvm_clear_dirty_log, num_pages, 4);
UAPI_OFFSET(kvm_clear_dirty_log, first_page, 8);
UAPI_OFFSET(kvm_clear_dirty_log, dirty_bitmap, 16);
UAPI_OFFSET(kvm_clear_dirty_log, padding2, 16);
UAPI_VALUE(KVM_CLEAR_DIRTY_LOG, 0xc018aec0);

#define KVM_MEMORY_ATTRIBUTE_PRIVATE (1ULL << 3)

struct kvm_memory_attributes {
	uint64_t address;
	uint64_t size;
	uint64_t attributes;
	uint64_t flags;
};

#define KVM_SET_MEMORY_ATTRIBUTES _IOW(KVMIO, 0xd2, struct kvm_memory_attributes)

UAPI_SIZE(kvm_memory_attributes, 32);
UAPI_OFFSET(kvm_memory_attributes, address, 0);
UAPI_OFFSET(kvm_memory_attributes, size, 8);
UAPI_OFFSET(kvm_memory_attributes, attributes, 16);
UAPI_OFFSET(kvm_memory_attributes, flags, 24);
UAPI_VALUE(KVM_SET_MEMORY_ATTRIBUTES, 0x4020aed2);

#define GUEST_MEMFD_FLAG_MMAP	     (1ULL << 0)
#define GUEST_MEMFD_FLAG_INIT_SHARED (1ULL << 1)

struct kvm_create_guest_memfd {
	uint64_t size;
	uint64_t flags;
	uint64_t reserved[6];
};

#define KVM_CREATE_GUEST_MEMFD _IOWR(KVMIO, 0xd4, struct kvm_create_guest_memfd)

UAPI_SIZE(kvm_create_guest_memfd, 64);
UAPI_OFFSET(kvm_create_guest_memfd, size, 0);
UAPI_OFFSET(kvm_create_guest_memfd, flags, 8);
UAPI_OFFSET(kvm_create_guest_memfd, reserved, 16);
UAPI_VALUE(KVM_CREATE_GUEST_MEMFD, 0xc040aed4);

/* A vCPU call; gpa and size come back advanced by what was done. */
struct kvm_pre_fault_memory {
	uint64_t gpa;
	uint64_t size;
	uint64_t flags;
	uint64_t padding[5];
};

#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)

UAPI_SIZE(kvm_pre_fault_memory, 64);
UAPI_OFFSET(kvm_pre_fault_memory, gpa, 0);
UAPI_OFFSET(kvm_pre_fault_memory, size, 8);
UAPI_OFFSET(kvm_pre_fault_memory, flags, 16);
UAPI_OFFSET(kvm_pre_fault_memory, padding, 24);
UAPI_VALUE(KVM_PRE_FAULT_MEMORY, 0xc040aed5);

/* Devices in the kernel, of which the library uses the one that ties VFIO files to a VM. */
#define KVM_CREATE_DEVICE_TEST 1
#define KVM_DEV_TYPE_VFIO      4

struct kvm_create_device {
	uint32_t type;
	uint32_t fd; /* out */
	uint32_t flags;
};

#define KVM_CREATE_DEVICE _IOWR(KVMIO, 0xe0, struct kvm_create_device)

UAPI_SIZE(kvm_create_device, 12);
UAPI_OFFSET(kvm_create_device, type, 0);
UAPI_OFFSET(kvm_create_device, fd, 4);
UAPI_OFFSET(kvm_create_device, flags, 8);
UAPI_VALUE(KVM_CREATE_DEVICE, 0xc00caee0);

/* Older programs say GROUP where FILE stands now; the numbers are the same. */
#define KVM_DEV_VFIO_FILE     1
#define KVM_DEV_VFIO_FILE_ADD 1
#define KVM_DEV_VFIO_FILE_DEL 2

struct kvm_device_attr {
	uint32_t flags;
	uint32_t group;
	uint64_t attr;
	uint64_t addr; /* of an int32_t fd for KVM_DEV_VFIO_FILE_* */
};

#define KVM_SET_DEVICE_ATTR _IOW(KVMIO, 0xe1, struct kvm_device_attr)
#define KVM_GET_DEVICE_ATTR _IOW(KVMIO, 0xe2, struct kvm_device_attr)
#define KVM_HAS_DEVICE_ATTR _IOW(KVMIO, 0xe3, struct kvm_device_attr)

UAPI_SIZE(kvm_device_attr, 24);
UAPI_OFFSET(kvm_device_attr, flags, 0);
UAPI_OFFSET(kvm_device_attr, group, 4);
UAPI_OFFSET(kvm_device_attr, attr, 8);
UAPI_OFFSET(kvm_device_attr, addr, 16);
UAPI_VALUE(KVM_SET_DEVICE_ATTR, 0x4018aee1);
UAPI_VALUE(KVM_GET_DEVICE_ATTR, 0x4018aee2);
UAPI_VALUE(KVM_HAS_DEVICE_ATTR, 0x4018aee3);

#define KVM_CREATE_VCPU _IO(KVMIO, 0x41)
#define KVM_RUN		_IO(KVMIO, 0x80)

UAPI_VALUE(KVM_CREATE_VCPU, 0xae41);
UAPI_VALUE(KVM_RUN, 0xae80);

#define KVM_EXIT_UNKNOWN	0
#define KVM_EXIT_EXCEPTION	1
#define KVM_EXIT_IO		2
#define KVM_EXIT_HYPERCALL	3
#define KVM_EXIT_DEBUG		4
#define KVM_EXIT_HLT		5
#define KVM_EXIT_MMIO		6
#define KVM_EXIT_SHUTDOWN	8
#define KVM_EXIT_FAIL_ENTRY	9
#define KVM_EXIT_INTR		10
#define KVM_EXIT_INTERNAL_ERROR 17
#define KVM_EXIT_SYSTEM_EVENT	24
#define KVM_EXIT_MEMORY_FAULT	39

#define KVM_EXIT_IO_IN	0
#define KVM_EXIT_IO_OUT 1

#define KVM_INTERNAL_ERROR_EMULATION		  1
#define KVM_INTERNAL_ERROR_SIMUL_EX		  2
#define KVM_INTERNAL_ERROR_DELIVERY_EV		  3
#define KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON 4

#define KVM_MEMORY_EXIT_FLAG_PRIVATE (1ULL << 3)

#define SYNC_REGS_SIZE_BYTES 2048

#ifndef __s390x__ /* has two words more before the union, and none of the guests this is for */
struct kvm_run {
	uint8_t request_interrupt_window;
	uint8_t immediate_exit;
	uint8_t padding1[6];
	uint32_t exit_reason;
	uint8_t ready_for_interrupt_injection;
	uint8_t if_flag;
	uint16_t flags;
	uint64_t cr8;
	uint64_t apic_base;
	union {
		struct {
			uint64_t hardware_exit_reason;
		} hw;
		struct {
			uint64_t hardware_entry_failure_reason;
			uint32_t cpu;
		} fail_entry;
		struct {
			uint32_t exception;
			uint32_t error_code;
		} ex;
		struct {
			uint8_t direction;
			uint8_t size;
			uint16_t port;
			uint32_t count;
			uint64_t data_offset; /* from the start of struct kvm_run */
		} io;
		struct {
			uint64_t phys_addr;
			uint8_t data[8];
			uint32_t len;
			uint8_t is_write;
		} mmio;
		struct {
			uint64_t nr;
			uint64_t args[6];
			uint64_t ret;
			union {
				uint32_t longmode;
				uint64_t flags;
			};
		} hypercall;
		struct {
			uint32_t suberror;
			uint32_t ndata;
			uint64_t data[16];
		} internal;
		struct {
			uint32_t type;
			uint32_t ndata;
			uint64_t data[16];
		} system_event;
		struct {
			uint64_t flags;
			uint64_t gpa;
			uint64_t size;
		} memory_fault;
		char padding[256];
	};
	uint64_t kvm_valid_regs;
	uint64_t kvm_dirty_regs;
	union {
		char padding[SYNC_REGS_SIZE_BYTES];
	} s;
};

UAPI_SIZE(kvm_run, 2352);
UAPI_OFFSET(kvm_run, request_interrupt_window, 0);
UAPI_OFFSET(kvm_run, immediate_exit, 1);
UAPI_OFFSET(kvm_run, padding1, 2);
UAPI_OFFSET(kvm_run, exit_reason, 8);
UAPI_OFFSET(kvm_run, ready_for_interrupt_injection, 12);
UAPI_OFFSET(kvm_run, if_flag, 13);
UAPI_OFFSET(kvm_run, flags, 14);
UAPI_OFFSET(kvm_run, cr8, 16);
UAPI_OFFSET(kvm_run, apic_base, 24);
UAPI_OFFSET(kvm_run, hw, 32);
UAPI_OFFSET(kvm_run, hw.hardware_exit_reason, 32);
UAPI_OFFSET(kvm_run, fail_entry, 32);
UAPI_OFFSET(kvm_run, fail_entry.hardware_entry_failure_reason, 32);
UAPI_OFFSET(kvm_run, fail_entry.cpu, 40);
UAPI_OFFSET(kvm_run, ex, 32);
UAPI_OFFSET(kvm_run, ex.exception, 32);
UAPI_OFFSET(kvm_run, ex.error_code, 36);
UAPI_OFFSET(kvm_run, io, 32);
UAPI_OFFSET(kvm_run, io.direction, 32);
UAPI_OFFSET(kvm_run, io.size, 33);
UAPI_OFFSET(kvm_run, io.port, 34);
UAPI_OFFSET(kvm_run, io.count, 36);
UAPI_OFFSET(kvm_run, io.data_offset, 40);
UAPI_OFFSET(kvm_run, mmio, 32);
UAPI_OFFSET(kvm_run, mmio.phys_addr, 32);
UAPI_OFFSET(kvm_run, mmio.data, 40);
UAPI_OFFSET(kvm_run, mmio.len, 48);
UAPI_OFFSET(kvm_run, mmio.is_write, 52);
UAPI_OFFSET(kvm_run, hypercall, 32);
UAPI_OFFSET(kvm_run, hypercall.nr, 32);
UAPI_OFFSET(kvm_run, hypercall.args, 40);
UAPI_OFFSET(kvm_run, hypercall.ret, 88);
UAPI_OFFSET(kvm_run, hypercall.longmode, 96);
UAPI_OFFSET(kvm_run, hypercall.flags, 96);
UAPI_OFFSET(kvm_run, internal, 32);
UAPI_OFFSET(kvm_run, internal.suberror, 32);
UAPI_OFFSET(kvm_run, internal.ndata, 36);
UAPI_OFFSET(kvm_run, internal.data, 40);
UAPI_OFFSET(kvm_run, system_event, 32);
UAPI_OFFSET(kvm_run, system_event.type, 32);
UAPI_OFFSET(kvm_run, system_event.ndata, 36);
UAPI_OFFSET(kvm_run, system_event.data, 40);
UAPI_OFFSET(kvm_run, memory_fault, 32);
UAPI_OFFSET(kvm_run, memory_fault.flags, 32);
UAPI_OFFSET(kvm_run, memory_fault.gpa, 40);
UAPI_OFFSET(kvm_run, memory_fault.size, 48);
UAPI_OFFSET(kvm_run, padding, 32);
UAPI_OFFSET(kvm_run, kvm_valid_regs, 288);
UAPI_OFFSET(kvm_run, kvm_dirty_regs, 296);
UAPI_OFFSET(kvm_run, s, 304);
UAPI_OFFSET(kvm_run, s.padding, 304);
#endif

#ifdef __x86_64__
/* What KVM_CREATE_VM takes as its argument. */
#define KVM_X86_DEFAULT_VM	0
#define KVM_X86_SW_PROTECTED_VM 1
#define KVM_X86_SEV_VM		2
#define KVM_X86_SEV_ES_VM	3
#define KVM_X86_SNP_VM		4
#define KVM_X86_TDX_VM		5

#define KVM_X86_QUIRK_SLOT_ZAP_ALL (1U << 7)

#define KVM_ENOSYS 1000 /* what a hypercall returns that nobody knows, negative */

/* The hypercall with which a guest asks for memory to become private or shared. */
#define KVM_HC_MAP_GPA_RANGE	     12
#define KVM_MAP_GPA_RANGE_PAGE_SZ_4K 0
#define KVM_MAP_GPA_RANGE_PAGE_SZ_2M (1U << 0)
#define KVM_MAP_GPA_RANGE_PAGE_SZ_1G (1U << 1)
#define KVM_MAP_GPA_RANGE_DECRYPTED  0
#define KVM_MAP_GPA_RANGE_ENCRYPTED  (1U << 4)

struct kvm_regs {
	uint64_t rax, rbx, rcx, rdx;
	uint64_t rsi, rdi, rsp, rbp;
	uint64_t r8, r9, r10, r11;
	uint64_t r12, r13, r14, r15;
	uint64_t rip, rflags;
};

#define KVM_GET_REGS _IOR(KVMIO, 0x81, struct kvm_regs)
#define KVM_SET_REGS _IOW(KVMIO, 0x82, struct kvm_regs)

UAPI_SIZE(kvm_regs, 144);
UAPI_OFFSET(kvm_regs, rax, 0);
UAPI_OFFSET(kvm_regs, rbx, 8);
UAPI_OFFSET(kvm_regs, rcx, 16);
UAPI_OFFSET(kvm_regs, rdx, 24);
UAPI_OFFSET(kvm_regs, rsi, 32);
UAPI_OFFSET(kvm_regs, rdi, 40);
UAPI_OFFSET(kvm_regs, rsp, 48);
UAPI_OFFSET(kvm_regs, rbp, 56);
UAPI_OFFSET(kvm_regs, r8, 64);
UAPI_OFFSET(kvm_regs, r9, 72);
UAPI_OFFSET(kvm_regs, r10, 80);
UAPI_OFFSET(kvm_regs, r11, 88);
UAPI_OFFSET(kvm_regs, r12, 96);
UAPI_OFFSET(kvm_regs, r13, 104);
UAPI_OFFSET(kvm_regs, r14, 112);
UAPI_OFFSET(kvm_regs, r15, 120);
UAPI_OFFSET(kvm_regs, rip, 128);
UAPI_OFFSET(kvm_regs, rflags, 136);
UAPI_VALUE(KVM_GET_REGS, 0x8090ae81);
UAPI_VALUE(KVM_SET_REGS, 0x4090ae82);

#define KVM_NR_INTERRUPTS 256

struct kvm_segment {
	uint64_t base;
	uint32_t limit;
	uint16_t selector;
	uint8_t type;
	uint8_t present, dpl, db, s, l, g, avl;
	uint8_t unusable;
	uint8_t padding;
};

struct kvm_dtable {
	uint64_t base;
	uint16_t limit;
	uint16_t padding[3];
};

struct kvm_sregs {
	struct kvm_segment cs, ds, es, fs, gs, ss;
	struct kvm_segment tr, ldt;
	struct kvm_dtable gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t efer;
	uint64_t apic_base;
	uint64_t interrupt_bitmap[(KVM_NR_INTERRUPTS + 63) / 64];
};

#define KVM_GET_SREGS _IOR(KVMIO, 0x83, struct kvm_sregs)
#define KVM_SET_SREGS _IOW(KVMIO, 0x84, struct kvm_sregs)

UAPI_SIZE(kvm_segment, 24);
UAPI_OFFSET(kvm_segment, base, 0);
UAPI_OFFSET(kvm_segment, limit, 8);
UAPI_OFFSET(kvm_segment, selector, 12);
UAPI_OFFSET(kvm_segment, type, 14);
UAPI_OFFSET(kvm_segment, present, 15);
UAPI_OFFSET(kvm_segment, dpl, 16);
UAPI_OFFSET(kvm_segment, db, 17);
UAPI_OFFSET(kvm_segment, s, 18);
UAPI_OFFSET(kvm_segment, l, 19);
UAPI_OFFSET(kvm_segment, g, 20);
UAPI_OFFSET(kvm_segment, avl, 21);
UAPI_OFFSET(kvm_segment, unusable, 22);
UAPI_OFFSET(kvm_segment, padding, 23);
UAPI_SIZE(kvm_dtable, 16);
UAPI_OFFSET(kvm_dtable, base, 0);
UAPI_OFFSET(kvm_dtable, limit, 8);
UAPI_OFFSET(kvm_dtable, padding, 10);
UAPI_SIZE(kvm_sregs, 312);
UAPI_OFFSET(kvm_sregs, cs, 0);
UAPI_OFFSET(kvm_sregs, ds, 24);
UAPI_OFFSET(kvm_sregs, es, 48);
UAPI_OFFSET(kvm_sregs, fs, 72);
UAPI_OFFSET(kvm_sregs, gs, 96);
UAPI_OFFSET(kvm_sregs, ss, 120);
UAPI_OFFSET(kvm_sregs, tr, 144);
UAPI_OFFSET(kvm_sregs, ldt, 168);
UAPI_OFFSET(kvm_sregs, gdt, 192);
UAPI_OFFSET(kvm_sregs, idt, 208);
UAPI_OFFSET(kvm_sregs, cr0, 224);
UAPI_OFFSET(kvm_sregs, cr2, 232);
UAPI_OFFSET(kvm_sregs, cr3, 240);
UAPI_OFFSET(kvm_sregs, cr4, 248);
UAPI_OFFSET(kvm_sregs, cr8, 256);
UAPI_OFFSET(kvm_sregs, efer, 264);
UAPI_OFFSET(kvm_sregs, apic_base, 272);
UAPI_OFFSET(kvm_sregs, interrupt_bitmap, 280);
UAPI_VALUE(KVM_GET_SREGS, 0x8138ae83);
UAPI_VALUE(KVM_SET_SREGS, 0x4138ae84);
#endif /* __x86_64__ */

#endif /* PFNBUF_UAPI_KVM_H */
