/* SPDX-License-Identifier: MIT */
/* Any text as a profile: what is refused says where, what is taken comes back from its own print. */
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
static char *print_exactly(const struct pfnbuf_profile *profile)
{
	size_t length = pfnbuf_profile_print(profile, NULL, 0);
	char *text = malloc(length + 1);

	require(text && pfnbuf_profile_print(profile, text, length + 1) == length &&
		strlen(text) == length);
	return text;
}

static void check_accepted(const struct pfnbuf_profile *profile)
{
	struct pfnbuf_profile *again = NULL;
	char *text = print_exactly(profile), *same;

	require(pfnbuf_profile_parse(text, strlen(text), &again, NULL) == 0);
	same = print_exactly(again);
	require(!strcmp(text, same));
	pfnbuf_profile_unref(again);
	free(same);
	free(text);
}

/* The line and the column are in the text, or just behind it. */
static void check_refused(const char *text, size_t size, const struct pfnbuf_text_error *error)
{
	const char *at = text, *end = text + size;

	require(error->cause && error->line >= 1 && error->column >= 1);
	for (unsigned line = 1; line < error->line; line++) {
		at = memchr(at, '\n', (size_t)(end - at));
		require(at != NULL);
		at++;
	}
	require(error->column <= (size_t)(end - at) + 1);
	if (error->column > 1)
		require(!memchr(at, '\n', error->column - 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pfnbuf_text_error error = { 0 };
	struct pfnbuf_profile *profile = NULL;
	/* Exactly as long as it is: a byte read behind it is seen. */
	char *text = malloc(size ? size : 1);

	require(text);
	if (size)
		memcpy(text, data, size);
	if (pfnbuf_profile_parse(text, size, &profile, &error) == 0)
		check_accepted(profile);
	else
		check_refused(text, size, &error);
	pfnbuf_profile_unref(profile);
	free(text);
	return 0;
}
