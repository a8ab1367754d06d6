/* SPDX-License-Identifier: MIT */
#include "tried.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pfnbuf.h>

void note_tried(const char *call, int code)
{
	const char *path = getenv("PFNBUF_TRIED");
	FILE *file = path && !strncmp(call, "pfnbuf_", 7) ? fopen(path, "a") : NULL;

	if (!file)
		return;
	fprintf(file, "%.*s %s\n", (int)strcspn(call, "("), call, pfnbuf_errno_name(code));
	fclose(file);
}
