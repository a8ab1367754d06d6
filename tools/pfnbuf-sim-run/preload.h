/* SPDX-License-Identifier: MIT */
/*
 * What the calls of the preload share. A call comes from the program, or from the simulated kernel
 * on behalf of one: the second kind goes straight to the C library.
 */
#ifndef PFNBUF_SIM_RUN_PRELOAD_H
#define PFNBUF_SIM_RUN_PRELOAD_H

#include <dlfcn.h>
#include <limits.h>
#include <sys/stat.h>

#include "libpfnbuf-sim/sim.h"

#define EXPORT __attribute__((visibility("default")))

/* The next definition of @name, which is the C library's. */
#define REAL(name)                                                                                 \
	static __typeof__(&(name)) real;                                                           \
	if (!__atomic_load_n(&real, __ATOMIC_RELAXED))                                             \
	__atomic_store_n(&real, (__typeof__(&(name)))(uintptr_t)dlsym(RTLD_NEXT, #name),           \
			 __ATOMIC_RELAXED)

extern __thread unsigned preload_inside __attribute__((tls_model("initial-exec")));

static inline void preload_leave(const unsigned *unused)
{
	(void)unused;
	preload_inside--;
}

/* From here to the end of the block calls are the simulated kernel's own. */
#define INSIDE() unsigned inside __attribute__((cleanup(preload_leave), unused)) = preload_inside++

/* The simulated kernel, made when it is first needed; it does not return without one. */
struct pfnbuf_sim *preload_sim(void);

/* Its table where @fd is one of its files and the call is the program's; else NULL. */
const struct pfnbuf_kernel *preload_table_of(int fd);

/* A negative errno becomes -1 and errno. */
static inline int64_t preload_give(int64_t ret)
{
	if (ret >= 0)
		return ret;
	errno = (int)-ret;
	return -1;
}

#endif /* PFNBUF_SIM_RUN_PRELOAD_H */
