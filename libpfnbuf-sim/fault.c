/* SPDX-License-Identifier: MIT */
/* Calls that fail because a test wants them to. */
#include "sim.h"

int sim_fault_count(struct pfnbuf_sim *sim, unsigned long request)
{
	sim->calls++;
	for (struct sim_ioctl_fault **p = &sim->ioctl_faults; request && *p; p = &(*p)->next) {
		struct sim_ioctl_fault *fault = *p;
		int error = fault->error;

		if (fault->request != request || --fault->n)
			continue;
		*p = fault->next;
		free(fault);
		return error;
	}
	if (sim->fail_at && sim->calls == sim->fail_at) {
		sim->fail_at = 0;
		return sim->fail_error;
	}
	return 0;
}

void pfnbuf_sim_fail_nth(struct pfnbuf_sim *sim, uint64_t n, int error)
{
	pthread_mutex_lock(&sim->lock);
	sim->fail_at = n ? sim->calls + n : 0;
	sim->fail_error = -abs(error);
	pthread_mutex_unlock(&sim->lock);
}

void pfnbuf_sim_fail_ioctl(struct pfnbuf_sim *sim, unsigned long request, uint64_t n, int error)
{
	struct sim_ioctl_fault **p = &sim->ioctl_faults;
	struct sim_ioctl_fault *fault;

	pthread_mutex_lock(&sim->lock);
	while (*p && (*p)->request != request)
		p = &(*p)->next;
	fault = *p;
	if (!n && fault) {
		*p = fault->next;
		free(fault);
	} else if (n) {
		if (!fault)
			fault = *p = calloc(1, sizeof(*fault));
		if (fault) {
			fault->request = request;
			fault->n = n;
			fault->error = -abs(error);
		}
	}
	pthread_mutex_unlock(&sim->lock);
}

uint64_t pfnbuf_sim_calls(struct pfnbuf_sim *sim)
{
	uint64_t calls;

	pthread_mutex_lock(&sim->lock);
	calls = sim->calls;
	pthread_mutex_unlock(&sim->lock);
	return calls;
}

void pfnbuf_sim_plant_error(struct pfnbuf_sim *sim, enum pfnbuf_sim_error error)
{
	pthread_mutex_lock(&sim->lock);
	sim->planted = error;
	pthread_mutex_unlock(&sim->lock);
}
