/* SPDX-License-Identifier: MIT */
/* Any text as a layout: what is refused says where, what is taken comes back from its own print. */
#include <pfnbuf.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok)
{
	if (!ok)
		abort();
}

/* Printed into a buffer of the exact size, so that a sanitizer sees a byte written beyond. */
static char *print_exactly(const struct pfnbuf_layout *layout,
			   size_t (*print)(const struct pfnbuf_layout *layout, char *buf,
					   size_t size))
{
	size_t length = print(layout, NULL, 0);
	char *text = malloc(length + 1);

	require(text && print(layout, text, length + 1) == length && strlen(text) == length);
	return text;
}

static void check_accepted(struct pfnbuf_layout *layout)
{
	char *text = print_exactly(layout, pfnbuf_layout_print);
	char *json = print_exactly(layout, pfnbuf_layout_print_json);
	struct pfnbuf_layout *again = NULL;

	require(pfnbuf_layout_parse(text, &again, NULL) == 0 && pfnbuf_layout_equal(layout, again));
	require(json[0] == '{' && json[strlen(json) - 1] == '}');
	pfnbuf_layout_free(again);
	free(json);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pfnbuf_layout_error error = { 0 };
	struct pfnbuf_layout *layout = NULL;
	char *text = malloc(size + 1);

	require(text);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	if (pfnbuf_layout_parse(text, &layout, &error) == 0)
		check_accepted(layout);
	else
		require(!layout && error.cause && error.column >= 1 &&
			error.column <= strlen(text) + 1);
	pfnbuf_layout_free(layout);
	free(text);
	return 0;
}
