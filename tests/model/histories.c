/* SPDX-License-Identifier: MIT */
#include "histories.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

uint64_t history_seed, history_step;

static void tell_number(uint64_t number, char behind)
{
	char text[24];
	size_t at = sizeof(text);

	text[--at] = behind;
	do
		text[--at] = (char)('0' + number % 10);
	while (number /= 10);
	if (write(STDERR_FILENO, text + at, sizeof(text) - at) < 0)
		_exit(2);
}

/* In a signal's handler nothing prints numbers. */
static void tell(int signal)
{
	static const char what[] = "the seed of the history that fails, and the step: ";

	(void)signal;
	if (write(STDERR_FILENO, what, sizeof(what) - 1) < 0)
		_exit(2);
	tell_number(history_seed, ' ');
	tell_number(history_step, '\n');
}

uint64_t draw_below(uint64_t *random, uint64_t below)
{
	uint64_t z = *random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31) % below;
}

static uint64_t ask(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value ? strtoull(value, NULL, 0) : otherwise;
}

uint64_t run_histories(void (*run)(void), uint64_t default_steps)
{
	const uint64_t first = ask("PFNBUF_HISTORY_SEED", 1);
	const uint64_t steps = ask("PFNBUF_HISTORY_STEPS", default_steps);

	signal(SIGABRT, tell);
	for (history_seed = first; (history_seed - first) * HISTORY_LEN < steps; history_seed++)
		run();
	return history_seed - first;
}
