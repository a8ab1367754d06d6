/* SPDX-License-Identifier: MIT */
#include <pfnbuf.h>

const char *pfnbuf_version(void)
{
	return PFNBUF_VERSION_STRING;
}
