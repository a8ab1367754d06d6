/* SPDX-License-Identifier: MIT */
#ifndef PFNBUFCTL_HELP_H
#define PFNBUFCTL_HELP_H

#include <stdio.h>

void help_all(FILE *file);
/* `help bar write`, `help bar`, `help device`. Returns 0, or -ENOENT where nothing is called so. */
int help_about(FILE *file, const char *what);
void help_usage(FILE *file);
/* Every verb, one a line: for completions and tests. */
void help_list(FILE *file);

#endif /* PFNBUFCTL_HELP_H */
