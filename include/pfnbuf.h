/* SPDX-License-Identifier: MIT */
#ifndef PFNBUF_H
#define PFNBUF_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PFNBUF_VERSION_STRING "0.1.0"

/* Marks a function of the public interface; everything else in the library is hidden. */
#define PFNBUF_API __attribute__((visibility("default")))

/** The version of the library that runs, which may be newer than the header: "MAJOR.MINOR.PATCH". */
PFNBUF_API const char *pfnbuf_version(void);

#ifdef __cplusplus
}
#endif

#endif /* PFNBUF_H */
