/* SPDX-License-Identifier: MIT */
/* Where profiles are found by their names. */
#include "profiles.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "diag.h"
#include "text.h"

/* Where the build has the command, and from there its profiles. */
#define BUILT_IN "/tools/pfnbufctl"
#define PROFILES "/profiles"

/* The build's profiles, where this command was not installed; NULL: it was. */
static char *built_profiles(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *end;

	if (n < 0)
		return NULL;
	path[n] = '\0';
	end = strrchr(path, '/');
	if (!end)
		return NULL;
	*end = '\0';
	if (end - path < (ptrdiff_t)strlen(BUILT_IN))
		return NULL;
	end -= strlen(BUILT_IN);
	if (strcmp(end, BUILT_IN) != 0)
		return NULL;
	*end = '\0';
	return format_text("%s" PROFILES, path);
}

static void add(struct profile_dirs *dirs, char *dir)
{
	if (dir && *dir)
		dirs->list[dirs->n++] = dir;
	else
		free(dir);
}

void profile_dirs_find(struct profile_dirs *dirs)
{
	const char *own = getenv("PFNBUF_PROFILE_DIR");

	*dirs = (struct profile_dirs){ .n = 0 };
	add(dirs, own ? strdup(own) : NULL);
	add(dirs, built_profiles());
	add(dirs, strdup(PFNBUF_PROFILE_DIR));
}

void profile_dirs_free(struct profile_dirs *dirs)
{
	while (dirs->n)
		free(dirs->list[--dirs->n]);
}

char *profile_find(const char *name)
{
	struct profile_dirs dirs;
	char *path = NULL;

	if (strchr(name, '/'))
		return strdup(name);
	profile_dirs_find(&dirs);
	for (size_t i = 0; !path && i < dirs.n; i++) {
		path = format_text("%s/%s" PROFILE_SUFFIX, dirs.list[i], name);
		if (path && access(path, F_OK) < 0) {
			free(path);
			path = NULL;
		}
	}
	profile_dirs_free(&dirs);
	return path;
}

char *profile_dirs_text(void)
{
	struct profile_dirs dirs;
	struct text text = { 0 };

	profile_dirs_find(&dirs);
	for (size_t i = 0; i < dirs.n; i++)
		text_add(&text, "%s%s",
			 i == 0		  ? ""
			 : i + 1 < dirs.n ? ", "
					  : " and ",
			 dirs.list[i]);
	profile_dirs_free(&dirs);
	return text.bytes;
}
