/* SPDX-License-Identifier: MIT */
/*
 * The guest of minivmm.c, in 32-bit protected mode without paging: it converts memory to and fro,
 * drives an NVMe controller by DMA through what is shared, finds that DMA does not get at what is
 * private, has the controller reset, and drives it again. It believes nothing that it has not read
 * back.
 *
 *	cc -m32 -O2 -ffreestanding -nostdlib -static -fno-pie -fno-stack-protector -mno-sse \
 *	   -Wl,-z,noseparate-code,-Ttext-segment=0x10000 -o minivmm-guest minivmm-guest.c
 */
#include <stdbool.h>
#include <stdint.h>

#include "minivmm.h"

#define PAGE	 4096u
#define DMA_AT	 0x400000u /* memory that the guest and the controller share: two queues and … */
#define DATA_AT	 (DMA_AT + 2 * PAGE) /* … a page of data */
#define DMA_SIZE (3 * PAGE)
#define SECRET	 0x800000u /* a private page */
#define PLAY	 0xa00000u /* memory that is converted for conversion's sake, … */
#define PARTS	 16u	   /* … in so many parts … */
#define PART	 (4 * PAGE)
#define ROUNDS	 1000u /* … and so often */

/* ---------------------------------------------------------------- the machine --------------- */

static bool vmmcall;

static void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "d"(port) : "memory");
}

static void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "d"(port) : "memory");
}

static void print(const char *text)
{
	while (*text)
		out8(PORT_CONSOLE, (uint8_t)*text++);
}

static void end(uint32_t status) __attribute__((noreturn));

static void end(uint32_t status)
{
	out32(PORT_END, status);
	for (;;)
		__asm__ volatile("hlt");
}

static void require(bool cond, const char *what)
{
	if (cond)
		return;
	print("guest: it is not so that ");
	print(what);
	print("\n");
	end(1);
}

static volatile uint32_t *words(uint32_t address)
{
	return (volatile uint32_t *)address;
}

/* ---------------------------------------------------------------- conversions --------------- */

/* KVM_HC_MAP_GPA_RANGE: Documentation/virt/kvm/x86/hypercalls.rst. */
static uint32_t map_gpa_range(uint32_t address, uint32_t pages, uint32_t attributes)
{
	uint32_t result = 12;

	if (vmmcall)
		__asm__ volatile("vmmcall"
				 : "+a"(result)
				 : "b"(address), "c"(pages), "d"(attributes)
				 : "memory");
	else
		__asm__ volatile("vmcall"
				 : "+a"(result)
				 : "b"(address), "c"(pages), "d"(attributes)
				 : "memory");
	return result;
}

static bool holds(uint32_t address, uint32_t length, uint32_t value)
{
	for (uint32_t i = 0; i < length / 4; i++)
		if (words(address)[i] != value)
			return false;
	return true;
}

static void fill(uint32_t address, uint32_t length, uint32_t value)
{
	for (uint32_t i = 0; i < length / 4; i++)
		words(address)[i] = value;
}

/* What memory held stays behind when it changes sides. */
static void convert(uint32_t address, uint32_t length, bool private)
{
	require(map_gpa_range(address, length / PAGE, private ? 1u << 4 : 0) == 0,
		"memory converts");
	require(holds(address, length, 0), "converted memory is zero");
}

static void play(void)
{
	bool private[PARTS];
	uint32_t random = 1;

	for (uint32_t i = 0; i < PARTS; i++) {
		private[i] = true;
		fill(PLAY + i * PART, PART, i + 1);
	}
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		const uint32_t i = (random = random * 1103515245 + 12345) >> 16 & (PARTS - 1);
		const uint32_t neighbour = (i + 1) % PARTS;
		const uint32_t kept = words(PLAY + neighbour * PART)[0];

		private[i] = !private[i];
		convert(PLAY + i * PART, PART, private[i]);
		fill(PLAY + i * PART, PART, round + PARTS);
		require(holds(PLAY + neighbour * PART, PART, kept),
			"the neighbours keep their bytes");
	}
}

/* ---------------------------------------------------------------- the controller ------------ */

/* NVM Express Base Specification, 3.1: Controller Properties. */
#define REG_VS	    0x08
#define REG_CC	    0x14
#define REG_CSTS    0x1c
#define REG_AQA	    0x24
#define REG_ASQ	    0x28
#define REG_ACQ	    0x30
#define REG_SQ_TAIL 0x1000
#define REG_CQ_HEAD 0x1004

#define QUEUE_LENGTH 16u
#define CC_ENABLE    (6u << 16 | 4u << 20 | 1u) /* entries of 64 and 16 bytes */

static uint32_t queue_index, queue_phase;

static volatile uint32_t *reg(uint32_t offset)
{
	return words(BAR_ADDRESS + offset);
}

/* Until a word has these bits; a second or so at most. */
static bool await(const volatile uint32_t *word, uint32_t mask, uint32_t bits)
{
	for (uint32_t i = 0; i < 10000000; i++) {
		if ((*word & mask) == bits)
			return true;
		__asm__ volatile("pause");
	}
	return false;
}

static void start_controller(void)
{
	*reg(REG_CC) = 0;
	require(await(reg(REG_CSTS), 1, 0), "the controller stops");
	fill(DMA_AT, DMA_SIZE, 0);
	*reg(REG_AQA) = (QUEUE_LENGTH - 1) << 16 | (QUEUE_LENGTH - 1);
	reg(REG_ASQ)[0] = DMA_AT;
	reg(REG_ASQ)[1] = 0;
	reg(REG_ACQ)[0] = DMA_AT + PAGE;
	reg(REG_ACQ)[1] = 0;
	*reg(REG_CC) = CC_ENABLE;
	require(await(reg(REG_CSTS), 1, 1), "the controller starts");
	queue_index = 0;
	queue_phase = 1;
}

/* Identify Controller, into a page: whether the controller got it there. */
static bool identify(uint32_t page)
{
	volatile uint32_t *command = words(DMA_AT) + queue_index * 16;
	volatile uint32_t *completion = words(DMA_AT + PAGE) + queue_index * 4;
	uint32_t status;

	for (uint32_t i = 0; i < 16; i++)
		command[i] = 0;
	command[0] = 0x06;
	command[6] = page;
	command[10] = 1;
	queue_index = (queue_index + 1) % QUEUE_LENGTH;
	*reg(REG_SQ_TAIL) = queue_index;
	require(await(&completion[3], 1u << 16, queue_phase << 16), "the controller answers");
	status = completion[3] >> 17;
	queue_phase ^= queue_index == 0;
	*reg(REG_CQ_HEAD) = queue_index;
	return status == 0;
}

/* Bytes 24 to 63 are the model, padded with spaces. */
static void print_model(uint32_t page)
{
	const volatile char *model = (const volatile char *)(page + 24);
	char text[41];
	uint32_t length = 0;

	for (uint32_t i = 0; i < 40; i++) {
		text[i] = model[i];
		if (text[i] != ' ')
			length = i + 1;
	}
	text[length] = '\0';
	print("guest: the controller is a ");
	print(text);
	print("\n");
}

static void use_controller(void)
{
	start_controller();
	require(identify(DATA_AT) && !holds(DATA_AT, PAGE, 0), "DMA reaches what is shared");
	print_model(DATA_AT);
	/* Not every controller notices. */
	identify(SECRET);
	require(holds(SECRET, PAGE, 0x5ec4e7), "DMA does not reach what is private");
}

/* While it is away its registers read as ones, as those of PCI devices do. */
static void reset_controller(void)
{
	const uint32_t version = *reg(REG_VS);

	require(version != 0 && version != 0xffffffff, "the controller has a version");
	out32(PORT_RESET, 0);
	require(await(reg(REG_VS), 0xffffffff, version), "the controller comes back");
	require((*reg(REG_CC) & 1) == 0, "it was reset");
}

/* ---------------------------------------------------------------- what it does -------------- */

/* The argument comes in eax. */
__attribute__((regparm(1), noreturn)) void _start(uint32_t instruction);

__attribute__((regparm(1), noreturn)) void _start(uint32_t instruction)
{
	vmmcall = instruction == HYPERCALL_VMMCALL;
	print("guest: hello\n");
	fill(SECRET, PAGE, 0x5ec4e7);
	convert(DMA_AT, DMA_SIZE, false);
	use_controller();
	play();
	print("guest: 1000 conversions, and every byte is where it should be\n");
	reset_controller();
	print("guest: the controller was reset\n");
	use_controller();
	end(0);
}
