/* SPDX-License-Identifier: MIT */
/* A stranger's first program: the version, a context, a layout, a buffer, an error. */
#include <pfnbuf.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int check_buffer(struct pfnbuf_ctx *ctx)
{
	struct pfnbuf_buf *buf;
	uint64_t length;

	if (pfnbuf_buf_new_memfd(ctx, 1, 0, &buf) != -EINVAL)
		return 1;
	if (!strstr(pfnbuf_last_error(), "EINVAL"))
		return 1;
	if (pfnbuf_buf_new_memfd(ctx, 1 << 16, 0, &buf) != 0)
		return 1;
	length = pfnbuf_buf_get_length(buf);
	pfnbuf_buf_unref(buf);
	return length != 1 << 16;
}

static int check_layout(void)
{
	struct pfnbuf_layout *layout;
	int r;

	if (pfnbuf_layout_new(1 << 20, 4096, PFNBUF_PRIVATE, &layout) != 0)
		return 1;
	r = pfnbuf_layout_set(layout, 0, 4096, PFNBUF_SHARED) != 0 ||
	    pfnbuf_layout_get(layout, 0, NULL) != PFNBUF_SHARED;
	pfnbuf_layout_free(layout);
	return r;
}

int main(void)
{
	struct pfnbuf_ctx *ctx;
	int r;

	if (strcmp(pfnbuf_version(), PFNBUF_VERSION_STRING) != 0)
		return 1;
	r = pfnbuf_ctx_new(&ctx, NULL);
	if (r < 0) {
		fprintf(stderr, "%s\n", pfnbuf_last_error());
		return 1;
	}
	r = check_buffer(ctx) || check_layout();
	pfnbuf_ctx_free(ctx);
	return r;
}
