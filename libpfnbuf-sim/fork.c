/* SPDX-License-Identifier: MIT */
/*
 * Files that a forked process has inherited stay in the process that opened them: it serves the
 * child's calls, with the child's memory. A call that would name or make an fd cannot be served.
 */
#include <signal.h>
#include <sys/socket.h>

#include "sim.h"

struct message {
	uint64_t dev, ino;
	uint64_t request, arg;
	pid_t pid; /* whose memory @arg is in */
};

static bool can_forward(unsigned long request)
{
	static const unsigned long requests[] = {
		IOMMU_DESTROY,		IOMMU_IOAS_ALLOC,
		IOMMU_IOAS_ALLOW_IOVAS, IOMMU_IOAS_IOVA_RANGES,
		IOMMU_IOAS_MAP,		IOMMU_IOAS_COPY,
		IOMMU_IOAS_UNMAP,	IOMMU_OPTION,
		IOMMU_VFIO_IOAS,	IOMMU_HWPT_ALLOC,
		IOMMU_GET_HW_INFO,	IOMMU_HWPT_INVALIDATE,
		VFIO_IOMMU_MAP_DMA,	IOMMU_IOAS_CHANGE_PROCESS,
		VFIO_IOMMU_UNMAP_DMA,
	};

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		if (requests[i] == request)
			return true;
	return false;
}

/* Whole messages; a signal that is handled meanwhile does not end it. */
static bool receive(int fd, void *message, size_t size)
{
	ssize_t got;

	do
		got = recv(fd, message, size, 0);
	while (got < 0 && errno == EINTR);
	return got == (ssize_t)size;
}

static bool deliver(int fd, const void *message, size_t size)
{
	ssize_t sent;

	do
		sent = send(fd, message, size, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)size;
}

int sim_fork_forward(struct pfnbuf_sim *sim, const struct sim_file *file, unsigned long request,
		     uint64_t arg)
{
	pid_t foreign = sim_user_pid();
	struct message message = {
		.dev = file->dev,
		.ino = file->ino,
		.request = request,
		.arg = arg,
		.pid = foreign ? foreign : getpid(),
	};
	int ret;

	if (!can_forward(request))
		return -EOPNOTSUPP;
	if (!deliver(sim->owner, &message, sizeof(message)) ||
	    !receive(sim->owner, &ret, sizeof(ret)))
		return -EBADF;
	return ret;
}

static int serve_one(struct pfnbuf_sim *sim, const struct message *message)
{
	struct sim_file *file;
	pid_t own;
	int ret;

	SIM_LOCKED(sim);
	file = sim_file_find(sim, message->dev, message->ino);
	if (!file)
		return -EBADF;
	own = sim_user_set(message->pid);
	ret = file->foreign ? sim_fork_forward(sim, file, message->request, message->arg)
			    : sim_file_ops(file)->ioctl(sim, file, message->request, message->arg);
	sim_user_set(own);
	return ret;
}

struct server {
	struct pfnbuf_sim *sim;
	int socket;
	void (*enter)(void);
};

static void *serve(void *arg)
{
	struct server server = *(struct server *)arg;
	struct message message;

	free(arg);
	if (server.enter)
		server.enter();
	/* Until the child, and all that it forked, is gone. */
	while (receive(server.socket, &message, sizeof(message))) {
		int ret = serve_one(server.sim, &message);

		if (!deliver(server.socket, &ret, sizeof(ret)))
			break;
	}
	close(server.socket);
	return NULL;
}

/* The program's signals are not for it. */
static int start(struct server *server)
{
	sigset_t all, was;
	pthread_t thread;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	ret = pthread_create(&thread, NULL, serve, server);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (!ret)
		pthread_detach(thread);
	return ret;
}

void sim_fork_before(struct pfnbuf_sim *sim)
{
	bool any = false;

	pthread_mutex_lock(&sim->lock);
	for (size_t i = 0; i < SIM_BUCKETS && !any; i++)
		for (struct sim_file *file = sim->files[i]; file; file = file->next)
			any |= file->kind == SIM_IOMMUFD;
	sim->fork_serves = any;
	sim->fork_pair[0] = sim->fork_pair[1] = -1;
	if (!any || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sim->fork_pair))
		return;
	sim->fork_pair[0] = sim_fd_high(sim, sim->fork_pair[0]);
	sim->fork_pair[1] = sim_fd_high(sim, sim->fork_pair[1]);
}

void sim_fork_parent(struct pfnbuf_sim *sim, void (*enter)(void))
{
	if (sim->fork_pair[0] >= 0) {
		struct server *server = malloc(sizeof(*server));

		close(sim->fork_pair[1]);
		if (server)
			*server = (struct server){ sim, sim->fork_pair[0], enter };
		/* Without a server the child finds its files closed. */
		if (!server || start(server)) {
			close(sim->fork_pair[0]);
			free(server);
		}
	}
	pthread_mutex_unlock(&sim->lock);
}

void sim_fork_child(struct pfnbuf_sim *sim)
{
	if (sim->fork_serves) {
		if (sim->owner > 0)
			close(sim->owner);
		if (sim->fork_pair[0] >= 0)
			close(sim->fork_pair[0]);
		sim->owner = sim->fork_pair[1];
		for (size_t i = 0; i < SIM_BUCKETS; i++)
			for (struct sim_file *file = sim->files[i]; file; file = file->next)
				file->foreign = file->kind == SIM_IOMMUFD;
	}
	pthread_mutex_unlock(&sim->lock);
}
