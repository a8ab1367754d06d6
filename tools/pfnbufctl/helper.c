/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helper.h"

static int spawn(const char *const *argv, int out, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t defaults;
	int err;

	/* A broken pipe is an error for this program, and an end for others. */
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	err = posix_spawn_file_actions_init(&actions);
	if (err)
		return -err;
	err = posix_spawnattr_init(&attributes);
	if (err) {
		posix_spawn_file_actions_destroy(&actions);
		return -err;
	}
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	err = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!err)
		err = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	if (!err)
		err = posix_spawnp(pid, argv[0], &actions, &attributes, (char *const *)argv,
				   environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

/* Returns whether all of it was taken. */
static bool collect(int fd, pid_t pid, struct text *out, size_t max,
		    const volatile sig_atomic_t *stop)
{
	char bytes[4096];
	size_t used = 0;
	ssize_t n;

	for (;;) {
		n = read(fd, bytes, sizeof(bytes));
		if (n < 0 && errno == EINTR) {
			if (*stop)
				kill(pid, SIGTERM);
			continue;
		}
		if (n <= 0)
			return n == 0;
		if (!out)
			continue;
		if ((size_t)n > max - used)
			return false;
		text_put(out, bytes, (size_t)n);
		used += (size_t)n;
	}
}

static int wait_for(pid_t pid, const volatile sig_atomic_t *stop)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return HELPER_UNKNOWN;
		if (*stop)
			kill(pid, SIGTERM);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) > HELPER_NOT_YET)
		return HELPER_UNKNOWN;
	return WEXITSTATUS(status);
}

int helper_run(const char *const *argv, struct text *out, size_t max,
	       const volatile sig_atomic_t *stop)
{
	int fds[2], code, err;
	bool whole;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	err = spawn(argv, fds[1], &pid);
	close(fds[1]);
	if (err) {
		close(fds[0]);
		return err;
	}
	whole = collect(fds[0], pid, out, max, stop);
	close(fds[0]);
	code = wait_for(pid, stop);
	return whole ? code : -E2BIG;
}
