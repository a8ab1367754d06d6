/* SPDX-License-Identifier: MIT */
/*
 * What the kernel interface headers in this folder share: fixed-alignment integers and compile-time
 * checks that hold each definition against a literal number.
 *
 * These headers replace <linux/vfio.h> and its kin, so that the library builds on a system whose
 * installed kernel headers are older than the interface it speaks. They use the kernel's own names
 * and must never be included together with the kernel's headers.
 */
#ifndef PFNBUF_UAPI_CHECK_H
#define PFNBUF_UAPI_CHECK_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* 64 bits on a multiple of 8 also where the ABI would be content with 4, as on i386. */
typedef uint64_t uapi_aligned_u64 __attribute__((__aligned__(8)));

#define UAPI_SIZE(tag, bytes)                                                                      \
	static_assert(sizeof(struct tag) == (bytes), "size of struct " #tag " is not " #bytes)
#define UAPI_OFFSET(tag, field, bytes)                                                             \
	static_assert(offsetof(struct tag, field) == (bytes),                                      \
		      "offset of struct " #tag " field " #field " is not " #bytes)
#define UAPI_VALUE(name, number) static_assert((name) == (number), #name " is not " #number)

#endif /* PFNBUF_UAPI_CHECK_H */
