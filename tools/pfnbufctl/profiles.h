/* SPDX-License-Identifier: MIT */
/* Where profiles are found by their names. */
#ifndef PFNBUFCTL_PROFILES_H
#define PFNBUFCTL_PROFILES_H

#include <stddef.h>

#define PROFILE_SUFFIX ".profile"

/*
 * Folders of profiles, the best first: the environment's, the build's where the command runs from there, and the one
 * where profiles are installed.
 */
struct profile_dirs {
	char *list[3];
	size_t n;
};

void profile_dirs_find(struct profile_dirs *dirs);
void profile_dirs_free(struct profile_dirs *dirs);

/*
 * The file that a name stands for, which the caller frees: the name itself where it has a slash in it. NULL: no
 * folder has it.
 */
char *profile_find(const char *name);

/* "DIR, DIR and DIR", for messages; the caller frees it. */
char *profile_dirs_text(void);

#endif /* PFNBUFCTL_PROFILES_H */
