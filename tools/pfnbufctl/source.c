/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source.h"

static int refuse(struct diags *diags, const char *path, const char *hint, const char *why)
{
	struct place at = { path, 0, 0, 0 };

	diag_add(diags, NULL, at, hint, "%s", why);
	return -EINVAL;
}

static int too_long(struct diags *diags, const char *path)
{
	return refuse(diags, path, "split it, or generate fewer lines",
		      "a script has at most 4 MiB; this is longer, and was not read");
}

static int check_kind(int fd, const char *path, struct diags *diags)
{
	struct stat st;

	if (fstat(fd, &st))
		return refuse(diags, path, NULL, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return refuse(diags, path, "name a file in it", "is a directory, not a script");
	if (S_ISREG(st.st_mode) && st.st_size > SCRIPT_MAX_BYTES)
		return too_long(diags, path);
	return 0;
}

static int read_all(int fd, const char *path, struct diags *diags, char **textp, size_t *lengthp)
{
	size_t room = 16 << 10, length = 0;
	char *text = malloc(room), *grown;
	ssize_t n = 1;

	while (text && n > 0) {
		if (length == room) {
			room *= 2;
			grown = realloc(text, room);
			if (!grown)
				break;
			text = grown;
		}
		n = read(fd, text + length, room - length);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			length += (size_t)n;
		if (length > SCRIPT_MAX_BYTES) {
			free(text);
			return too_long(diags, path);
		}
	}
	if (!text || n) {
		int err = !text || n > 0 ? ENOMEM : errno;

		free(text);
		return refuse(diags, path, NULL, strerror(err));
	}
	*textp = text;
	*lengthp = length;
	return 0;
}

int source_read(const char *path, struct diags *diags, char **textp, size_t *lengthp)
{
	bool standard = !strcmp(path, "-");
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int err;

	if (fd < 0)
		return refuse(diags, path, NULL, strerror(errno));
	err = check_kind(fd, standard ? "stdin" : path, diags);
	if (!err)
		err = read_all(fd, standard ? "stdin" : path, diags, textp, lengthp);
	if (!standard)
		close(fd);
	return err;
}
