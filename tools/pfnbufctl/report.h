/* SPDX-License-Identifier: MIT */
/* Reports and other files of the commands that need no kernel. */
#ifndef PFNBUFCTL_REPORT_H
#define PFNBUFCTL_REPORT_H

#include <pfnbuf.h>

#include "text.h"

/* pfnbufctl tdi ..., pfnbufctl layout ...: argv[0] is the group. They return exit codes. */
int cmd_tdi(int argc, char **argv, bool json);
int cmd_layout(int argc, char **argv, bool json);

/* "pfnbufctl: ..." on stderr. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A whole file ("-": stdin), or the bytes to one (NULL or "-": stdout). They complain. */
int file_read(const char *path, struct text *bytes);
int file_write(const char *path, const char *bytes, size_t n);

/*
 * A report from a file in any of its forms, found out by what the file holds: binary, hex digits,
 * or JSON as spdm-emu has it. @flags are those of struct pfnbuf_tdi_parse_opts. It complains.
 */
int report_read(const char *path, uint32_t flags, struct pfnbuf_tdi_report **reportp);

/* The layout of this name in a file, or with NULL the only one there. It complains. */
int layout_read(const char *path, const char *name, struct pfnbuf_layout **layoutp);

/* What a printer of the library prints; malloc'd, NULL where out of memory. */
#define PRINTED(printer, object)                                                                   \
	({                                                                                         \
		size_t size_ = printer(object, NULL, 0) + 1;                                       \
		char *text_ = malloc(size_);                                                       \
		if (text_)                                                                         \
			printer(object, text_, size_);                                             \
		text_;                                                                             \
	})

#endif /* PFNBUFCTL_REPORT_H */
