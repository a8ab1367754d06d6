/* SPDX-License-Identifier: MIT */
/*
 * Prints every fact of facts.def as the compiler sees it. Built once against the library's own
 * kernel interface headers and once, with UAPI_FROM_LINUX, against the kernel's; compare.py holds
 * the two outputs against each other.
 */
#include <stddef.h>
#include <stdio.h>

#ifdef UAPI_FROM_LINUX
#include <linux/dma-buf.h>
#if __has_include(<linux/iommufd.h>) /* came with Linux 6.2 */
#include <linux/iommufd.h>
#endif
#include <linux/kvm.h>
#include <linux/kvm_para.h>
#include <linux/magic.h>
#include <linux/pci_regs.h>
#include <linux/version.h>
#include <linux/vfio.h>
#else
#include "libpfnbuf/uapi/dma-buf.h"
#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/pci.h"
#include "libpfnbuf/uapi/vfio.h"
#endif

struct fact {
	const char *kind;
	const char *name;
	unsigned long long value;
};

/* A field has a place and a width; of a flexible array the width is that of an element. */
#define SIZE(tag) { "size", #tag, sizeof(struct tag) },
#define OFFSET(tag, field)                                                                         \
	{ "offset", #tag " " #field, offsetof(struct tag, field) },                                \
		{ "width", #tag " " #field, sizeof(((struct tag *)0)->field) },
#define FLEX(tag, field)                                                                           \
	{ "offset", #tag " " #field, offsetof(struct tag, field) },                                \
		{ "width", #tag " " #field, sizeof(((struct tag *)0)->field[0]) },
#define VALUE(name) { "value", #name, (unsigned long long)(name) },

static const struct fact facts[] = {
#include "facts.def"
};

int main(void)
{
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
		printf("%s %s %llu\n", facts[i].kind, facts[i].name, facts[i].value);
#ifdef UAPI_FROM_LINUX
	printf("version linux %d\n", LINUX_VERSION_CODE);
#endif
	return 0;
}
