/* SPDX-License-Identifier: MIT */
/*
 * Which of the process's fds a program that it executes would get. For tests that link cmocka.
 */
#ifndef FDS_H
#define FDS_H

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FDS_MAX 8192

struct fds {
	bool is_open[FDS_MAX];
	unsigned nr;
};

/* Calls @look with each fd of the process but that of the search itself. */
static inline void fds_walk(void (*look)(void *data, int fd), void *data)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		const int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		assert_true(fd < FDS_MAX);
		look(data, fd);
	}
	closedir(dir);
}

static inline void fds_enter(void *data, int fd)
{
	struct fds *fds = data;

	fds->is_open[fd] = true;
	fds->nr++;
}

static inline struct fds fds_now(void)
{
	struct fds fds = { .nr = 0 };

	fds_walk(fds_enter, &fds);
	return fds;
}

static inline void fds_judge(void *data, int fd)
{
	struct fds *before = data;
	char path[32], what[128];
	ssize_t n;

	if (before->is_open[fd])
		return;
	before->nr++;
	if (fcntl(fd, F_GETFD) & FD_CLOEXEC)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, what, sizeof(what) - 1);
	what[n < 0 ? 0 : n] = '\0';
	fail_msg("fd %d stays open across exec: %s", fd, what);
}

/* All that were opened since are closed on exec. Returns how many there are. */
static inline unsigned fds_all_cloexec(struct fds before)
{
	before.nr = 0;
	fds_walk(fds_judge, &before);
	return before.nr;
}

#endif /* FDS_H */
