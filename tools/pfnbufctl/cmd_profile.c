/* SPDX-License-Identifier: MIT */
/* Verbs on profiles: which unmerged interfaces a kernel has. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "run.h"
#include "trace.h"

#define SUFFIX ".profile"

static int is_profile(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return entry->d_name[0] != '.' && length > strlen(SUFFIX) &&
	       !strcmp(entry->d_name + length - strlen(SUFFIX), SUFFIX);
}

/* One line; a file whose text is wrong is listed as such. */
static void list_one(struct run *run, const char *file)
{
	struct text *json = &run->output->fields;
	struct pfnbuf_text_error error;
	struct pfnbuf_profile_info info;
	struct pfnbuf_profile *profile;
	char *path = format_text(PFNBUF_PROFILE_DIR "/%s", file);
	int err = path ? pfnbuf_profile_load(path, &profile, &error) : -ENOMEM;

	json_open(json, NULL, '{');
	if (err) {
		say_more(run->output, "  %s: %s\n", file, pfnbuf_last_error_record()->cause);
		json_string(json, "file", file);
		json_string(json, "error", pfnbuf_last_error_record()->cause);
	} else {
		pfnbuf_profile_get_info(profile, &info);
		say_more(run->output, "  %-16s %s\n", info.name, info.about);
		json_string(json, "name", info.name);
		json_string(json, "about", info.about);
		pfnbuf_profile_unref(profile);
	}
	json_close(json, '}');
	free(path);
}

int verb_profile_list(struct run *run, const struct statement *st)
{
	struct dirent **entries;
	int n = scandir(PFNBUF_PROFILE_DIR, &entries, is_profile, alphasort);

	(void)st;
	if (n < 0)
		return fail(run, -errno, PFNBUF_PROFILE_DIR " cannot be read: %s", strerror(errno));
	say(run->output, "%d in " PFNBUF_PROFILE_DIR, n);
	json_open(&run->output->fields, "profiles", '[');
	for (int i = 0; i < n; i++) {
		list_one(run, entries[i]->d_name);
		free(entries[i]);
	}
	json_close(&run->output->fields, ']');
	free(entries);
	return 0;
}

/* Where the text is wrong, the message begins as those about scripts do. */
static int load(struct run *run, const char *name, struct pfnbuf_profile **profilep)
{
	struct pfnbuf_text_error error;
	int err = pfnbuf_profile_load(name, profilep, &error);

	if (err != -EINVAL)
		return err;
	return fail(run, err, "%s:%u:%u: %s%s%s", name, error.line, error.column, error.cause,
		    error.missing ? ": " : "", error.missing ? error.missing : "");
}

int profile_read(const char *name, struct pfnbuf_profile **profilep, struct diags *diags)
{
	struct place at = { "command line", 0, 0, 0 };
	struct pfnbuf_text_error error;
	int err = pfnbuf_profile_load(name, profilep, &error);

	if (err == -EINVAL) {
		at = (struct place){ name, error.line, error.column, 1 };
		diag_add(diags, NULL, at, NULL, "%s%s%s", error.cause, error.missing ? ": " : "",
			 error.missing ? error.missing : "");
	} else if (err) {
		diag_add(diags, NULL, at, pfnbuf_last_error_record()->hint, "--profile %s: %s",
			 name, pfnbuf_last_error_record()->cause);
	}
	return err;
}

static void say_profile(struct run *run, const struct pfnbuf_profile *profile)
{
	struct text *json = &run->output->fields;
	struct pfnbuf_profile_info info;

	pfnbuf_profile_get_info(profile, &info);
	say(run->output, "%s: %s", info.name, info.about);
	json_string(json, "name", info.name);
	json_string(json, "about", info.about);
	json_string(json, "needs", info.needs);
	json_string(json, "bind", info.bind);
	json_string(json, "private-mmio", info.private_mmio);
	json_bool(json, "can-bind", info.can_bind);
	json_bool(json, "has-private-mmio", info.has_private_mmio);
	json_bool(json, "has-gmem-attributes", info.has_gmem_attributes);
}

int verb_profile_show(struct run *run, const struct statement *st)
{
	struct pfnbuf_profile *profile;
	char *text;
	int err = load(run, statement_get(st, "PROFILE")->text, &profile);

	if (err)
		return err;
	text = PRINTED(pfnbuf_profile_print, profile);
	say_profile(run, profile);
	say_more(run->output, "%s", text ? text : "");
	free(text);
	pfnbuf_profile_unref(profile);
	return 0;
}

int profile_use(struct run *run, struct pfnbuf_profile *profile)
{
	struct pfnbuf_profile_info info;
	int err = pfnbuf_ctx_set_profile(run->ctx, profile);

	if (err)
		return err;
	pfnbuf_profile_get_info(profile, &info);
	run->has_profile = true;
	run->profile_pre_faults = !strcmp(info.private_mmio, "pre-fault");
	if (run->trace)
		trace_set_profile(run->trace, profile);
	return 0;
}

int verb_profile_choose(struct run *run, const struct statement *st)
{
	struct pfnbuf_profile *profile;
	int err = load(run, statement_get(st, "PROFILE")->text, &profile);

	if (err)
		return err;
	err = profile_use(run, profile);
	if (!err)
		say_profile(run, profile);
	pfnbuf_profile_unref(profile);
	return err;
}
