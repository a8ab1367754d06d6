/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

struct reason {
	char *text;
	size_t size;
};

__attribute__((format(printf, 2, 3))) static int wrong(struct reason *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, why->size, format, args);
	va_end(args);
	return -EINVAL;
}

static const struct {
	const char *name;
	unsigned flag;
} traits[] = {
	{ "flr", PFNBUF_SIM_FLR },
	{ "af-flr", PFNBUF_SIM_AF_FLR },
	{ "pm", PFNBUF_SIM_PM },
	{ "vf", PFNBUF_SIM_VF },
	{ "no-driver", PFNBUF_SIM_NO_DRIVER },
	{ "no-cdev", PFNBUF_SIM_NO_CDEV },
	{ "no-group", PFNBUF_SIM_NO_GROUP },
	{ "no-access", PFNBUF_SIM_NO_ACCESS },
	{ "no-dmabuf", PFNBUF_SIM_NO_DMABUF },
	{ "reset-fails", PFNBUF_SIM_RESET_FAILS },
	{ "tee", PFNBUF_SIM_TEE },
};

static const struct {
	const char *name;
	unsigned flag;
} bar_words[] = {
	{ "io", PFNBUF_SIM_BAR_IO },
	{ "64", PFNBUF_SIM_BAR_64 },
	{ "prefetchable", PFNBUF_SIM_BAR_PREFETCHABLE },
};

/* A number up to @max with an optional K, M, G or T; *end is behind it. */
static bool number(const char *text, uint64_t max, uint64_t *value, const char **end)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t n;
	char *after;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoull(text, &after, 0);
	if (errno)
		return false;
	unit = *after ? strchr(units, *after) : NULL;
	if (unit) {
		unsigned shift = 10 * (unsigned)(unit - units + 1);

		if (n > UINT64_MAX >> shift)
			return false;
		n <<= shift;
		after++;
	}
	*value = n;
	*end = after;
	return n <= max;
}

/* "16K", "1M:64:prefetchable". */
static int parse_bar(const char *key, char *text, struct pfnbuf_sim_bar *bar, struct reason *why)
{
	char *save = NULL;
	char *word = strtok_r(text, ":", &save);
	const char *end;

	if (!word || !number(word, UINT64_MAX, &bar->size, &end) || *end)
		return wrong(why, "%s=%s is no size; example: %s=16K", key, text, key);
	while ((word = strtok_r(NULL, ":", &save))) {
		size_t i = 0;

		while (i < sizeof(bar_words) / sizeof(*bar_words) &&
		       strcmp(bar_words[i].name, word) != 0)
			i++;
		if (i == sizeof(bar_words) / sizeof(*bar_words))
			return wrong(why, "%s: '%s' is none of io, 64, prefetchable", key, word);
		bar->flags |= bar_words[i].flag;
	}
	return 0;
}

/* Where the number of @key goes; false where there is no such key. */
static bool assign(struct pfnbuf_sim_device *spec, const char *key, uint64_t n)
{
	if (!strcmp(key, "vendor"))
		spec->vendor = (uint16_t)n;
	else if (!strcmp(key, "device"))
		spec->device = (uint16_t)n;
	else if (!strcmp(key, "msix"))
		spec->msix_vectors = (unsigned)n;
	else if (!strcmp(key, "msix-bar"))
		spec->msix_bar = (unsigned)n;
	else if (!strcmp(key, "msix-table"))
		spec->msix_table = (uint32_t)n;
	else if (!strcmp(key, "pba-bar"))
		spec->msix_pba_bar = (unsigned)n;
	else if (!strcmp(key, "pba"))
		spec->msix_pba = (uint32_t)n;
	else if (!strcmp(key, "hot-reset-set"))
		spec->hot_reset_set = (unsigned)n;
	else if (!strcmp(key, "iommu-group"))
		spec->iommu_group = (unsigned)n;
	else
		return false;
	return true;
}

static uint64_t key_max(const char *key)
{
	if (!strcmp(key, "vendor") || !strcmp(key, "device"))
		return UINT16_MAX;
	if (!strcmp(key, "msix"))
		return 2048;
	if (!strcmp(key, "msix-bar") || !strcmp(key, "pba-bar"))
		return 5;
	return UINT32_MAX;
}

static int parse_setting(const char *key, char *text, struct pfnbuf_sim_device *spec,
			 struct reason *why)
{
	struct pfnbuf_sim_device none = { 0 };
	const char *end;
	uint64_t n;

	if (!strncmp(key, "bar", 3) && key[3] >= '0' && key[3] <= '5' && !key[4])
		return parse_bar(key, text, &spec->bars[key[3] - '0'], why);
	if (!assign(&none, key, 0))
		return wrong(why, "there is no setting '%s'", key);
	if (!number(text, key_max(key), &n, &end) || *end)
		return wrong(why, "%s=%s: it takes a number up to %#llx", key, text,
			     (unsigned long long)key_max(key));
	assign(spec, key, n);
	return 0;
}

static int parse_word(char *word, struct pfnbuf_sim_device *spec, struct reason *why)
{
	char *equals = strchr(word, '=');

	if (equals) {
		*equals = 0;
		return parse_setting(word, equals + 1, spec, why);
	}
	for (size_t i = 0; i < sizeof(traits) / sizeof(*traits); i++) {
		if (!strcmp(traits[i].name, word)) {
			spec->flags |= traits[i].flag;
			return 0;
		}
	}
	return wrong(why, "'%s' is neither a trait (such as flr) nor KEY=VALUE", word);
}

static int add_device(struct pfnbuf_sim *sim, char *text, struct reason *why)
{
	struct pfnbuf_sim_device spec = { .vendor = 0x1b36, .device = 0x0001 };
	char inner[128] = "";
	struct reason detail = { inner, sizeof(inner) };
	char *save = NULL;
	char *word;
	int err = 0;

	spec.bdf = strtok_r(text, ",", &save);
	if (!spec.bdf)
		return wrong(why, "--device is empty; example: --device 0000:01:00.0,bar0=16K,flr");
	while (!err && (word = strtok_r(NULL, ",", &save)))
		err = parse_word(word, &spec, &detail);
	if (err)
		return wrong(why, "--device %s: %s", spec.bdf, inner);
	err = pfnbuf_sim_add_device(sim, &spec);
	if (err == -EEXIST)
		return wrong(why, "--device %s: there is a device with this address", spec.bdf);
	if (err == -EINVAL)
		return wrong(
			why,
			"--device %s: the address is not like 0000:01:00.0, a BAR's size is no "
			"power of two from 16 up or too wide for it, or the MSI-X table is "
			"outside its BAR",
			spec.bdf);
	if (err)
		wrong(why, "--device %s: %s", spec.bdf, strerror(-err));
	return err;
}

/* The profile and the kernel's own tests belong together: one changes what the other does. */
struct kernel {
	bool defects; /* those of Linux 7.3.4 that mainline has not */
	bool selftest;
};

static int set_profile(struct pfnbuf_sim *sim, struct kernel *kernel, const char *name,
		       struct reason *why)
{
	kernel->defects = !strcmp(name, "linux-7.3.4");
	if (pfnbuf_sim_set_profile(sim, kernel->defects ? "mainline-7.3" : name))
		return wrong(
			why,
			"--profile %s: there are mainline-7.3, linux-7.3.4, proposed, tdx-rfc2, "
			"iommufd-tsm5, cca7 and gmem-inplace8",
			name);
	return 0;
}

static int apply(struct pfnbuf_sim *sim, struct kernel *kernel, char *line, struct reason *why)
{
	char *rest = strchr(line, ' ');

	if (rest)
		*rest++ = 0;
	if (!strcmp(line, "device") && rest)
		return add_device(sim, rest, why);
	if (!strcmp(line, "profile") && rest)
		return set_profile(sim, kernel, rest, why);
	if (!strcmp(line, "selftest") && !rest) {
		kernel->selftest = true;
		return 0;
	}
	if (!strcmp(line, "hugepages") && !rest)
		return 0;
	return wrong(why, MACHINE_VARIABLE ": '%s' is no line of a description", line);
}

int machine_new(struct pfnbuf_sim **simp, const char *description, char *why, size_t size)
{
	struct reason reason = { why, size };
	char *text = strdup(description);
	struct kernel kernel = { false, false };
	struct pfnbuf_sim *sim;
	char *save = NULL;
	char *line;
	int err = text ? pfnbuf_sim_new(&sim) : -ENOMEM;

	if (err) {
		free(text);
		wrong(&reason, "the simulated kernel: %s", strerror(-err));
		return err;
	}
	for (line = strtok_r(text, "\n", &save); line && !err; line = strtok_r(NULL, "\n", &save))
		err = apply(sim, &kernel, line, &reason);
	free(text);
	if (err) {
		pfnbuf_sim_free(sim);
		return err;
	}
	if (kernel.selftest)
		pfnbuf_sim_set_selftest(sim,
					PFNBUF_SIM_SELFTEST |
						(kernel.defects ? PFNBUF_SIM_DMABUF_GET_ZERO : 0));
	*simp = sim;
	return 0;
}

bool machine_has_hugepages(const char *description)
{
	const char *line = strstr(description, "hugepages\n");

	return line && (line == description || line[-1] == '\n');
}
