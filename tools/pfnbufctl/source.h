/* SPDX-License-Identifier: MIT */
/* Script text from files. */
#ifndef PFNBUFCTL_SOURCE_H
#define PFNBUFCTL_SOURCE_H

#include "diag.h"
#include "script.h"

/*
 * Read a script: @path, or standard input for "-". Returns 0 and malloc'd text, or -EINVAL and the reason in @diags.
 * Never reads more than SCRIPT_MAX_BYTES.
 */
int source_read(const char *path, struct diags *diags, char **textp, size_t *lengthp);

#endif /* PFNBUFCTL_SOURCE_H */
