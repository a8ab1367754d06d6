/* SPDX-License-Identifier: MIT */
/*
 * usage: conversions_sim [--plant map|unmap|attributes|discard]
 *
 * What t60_conversions does on real Linux, on the simulated kernel alone. PFNBUF_HISTORY_SEED=N: another history.
 * --plant: one such call is not made; the exit status is 0 if that is noticed.
 */
#include "conversions.h"
#include "vmtest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

static void simulate(enum backing backing, uint32_t seed, uint32_t steps, uint64_t granule)
{
	const char *text = getenv("PFNBUF_HISTORY_SEED");
	struct record record;

	seed = text ? (uint32_t)strtoul(text, NULL, 0) : seed;
	conversions_simulate(backing, seed, steps, 100, granule, &record);
	printf("# seed %u, %u conversions: %016" PRIx64 "\n%s", seed, steps, record.digest,
	       record.texts[record.n - 1]);
	record_free(&record);
}

static void ten_thousand(void)
{
	simulate(BACKING_MEMFD, 1, 10000, HISTORY_PAGE);
}

static void long_areas(void)
{
	simulate(BACKING_MEMFD, 2, 2000, 0);
}

static void anonymous_memory(void)
{
	simulate(BACKING_ANONYMOUS, 3, 2000, 0);
}

/* Whether a run notices that a call of this kind is not made. What the failed run has left goes with the process. */
static int find_planted(const char *name)
{
	static const struct {
		const char *name;
		enum conversions_call kind;
	} planted[] = {
		{ "map", CONVERSIONS_MAP },
		{ "unmap", CONVERSIONS_UNMAP },
		{ "attributes", CONVERSIONS_ATTRIBUTES },
		{ "discard", CONVERSIONS_DISCARD },
	};
	static const struct vmtest tests[] = { { "long_areas", long_areas } };

	for (size_t i = 0; i < sizeof(planted) / sizeof(planted[0]); i++) {
		if (strcmp(planted[i].name, name) != 0)
			continue;
		conversions_plant(planted[i].kind, 500);
		if (vmtest_main(tests, 1) == 1)
			return 0;
		printf("not ok %s: was not noticed\n", name);
	}
	return 1;
}

int main(int argc, char **argv)
{
	static const struct vmtest tests[] = {
		{ "ten_thousand", ten_thousand },
		{ "long_areas", long_areas },
		{ "anonymous_memory", anonymous_memory },
	};

	if (argc == 3 && !strcmp(argv[1], "--plant"))
		_exit(find_planted(argv[2]));
	return vmtest_main(tests, sizeof(tests) / sizeof(tests[0]));
}
