/* SPDX-License-Identifier: MIT */
/* Verbs on profiles: which unmerged interfaces a kernel has. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "profiles.h"
#include "report.h"
#include "run.h"
#include "trace.h"

#define PROFILE_NAME "%s" PROFILE_SUFFIX

/* What is wrong with a text, for printf. */
#define WRONG_TEXT "%s%s%s"
#define WRONG(error)                                                                               \
	(error).cause, (error).missing ? ": " : "", (error).missing ? (error).missing : ""

static int is_profile(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return entry->d_name[0] != '.' && length > strlen(PROFILE_SUFFIX) &&
	       !strcmp(entry->d_name + length - strlen(PROFILE_SUFFIX), PROFILE_SUFFIX);
}

/* One line; a file whose text is wrong is listed as such. */
static void list_one(struct run *run, const char *name, const char *path)
{
	struct text *json = &run->output->fields;
	struct pfnbuf_text_error error;
	struct pfnbuf_profile_info info;
	struct pfnbuf_profile *profile;

	json_open(json, NULL, '{');
	json_string(json, "name", name);
	json_string(json, "file", path);
	if (pfnbuf_profile_load(path, &profile, &error) < 0) {
		say_more(run->output, "  %s: %s\n", name, pfnbuf_last_error_record()->cause);
		json_string(json, "error", pfnbuf_last_error_record()->cause);
	} else {
		pfnbuf_profile_get_info(profile, &info);
		say_more(run->output, "  %-16s %s\n", name, info.about);
		json_string(json, "about", info.about);
		pfnbuf_profile_unref(profile);
	}
	json_close(json, '}');
}

/* Whether it is listed: a folder in front may have one of the same name. */
static bool list_file(struct run *run, const char *dir, const char *file)
{
	char *path = format_text("%s/%s", dir, file);
	char *name = strndup(file, strlen(file) - strlen(PROFILE_SUFFIX));
	char *found = name ? profile_find(name) : NULL;
	bool is_it = path && found && !strcmp(found, path);

	if (is_it)
		list_one(run, name, path);
	free(found);
	free(name);
	free(path);
	return is_it;
}

/* How many there are, or -1 where there is no such folder. */
static int list_folder(struct run *run, const char *dir)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, is_profile, alphasort), listed = 0;

	if (n < 0)
		return -1;
	say_more(run->output, "in %s:\n", dir);
	for (int i = 0; i < n; i++) {
		listed += list_file(run, dir, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return listed;
}

static int fail_nowhere(struct run *run, const char *what)
{
	char *where = profile_dirs_text();

	fail(run, -ENOENT, "%s in %s", what, where ? where : "the folders of profiles");
	free(where);
	return -ENOENT;
}

int verb_profile_list(struct run *run, const struct statement *st)
{
	struct profile_dirs dirs;
	int listed = -1;

	(void)st;
	profile_dirs_find(&dirs);
	json_open(&run->output->fields, "profiles", '[');
	for (size_t i = 0; i < dirs.n; i++) {
		int n = list_folder(run, dirs.list[i]);

		if (n >= 0)
			listed = listed < 0 ? n : listed + n;
	}
	json_close(&run->output->fields, ']');
	profile_dirs_free(&dirs);
	if (listed < 0)
		return fail_nowhere(run, "there are no profiles");
	say(run->output, "%d profile%s", listed, listed == 1 ? "" : "s");
	return 0;
}

/* Where the text is wrong, the message begins as those about scripts do. */
static int load(struct run *run, const char *name, struct pfnbuf_profile **profilep)
{
	struct pfnbuf_text_error error;
	char *path = profile_find(name);
	int err = path ? pfnbuf_profile_load(path, profilep, &error) : -ENOENT;

	if (!path) {
		char *what = format_text("there is no " PROFILE_NAME, name);

		err = fail_nowhere(run, what ? what : name);
		free(what);
	} else if (err == -EINVAL) {
		fail(run, err, "%s:%u:%u: " WRONG_TEXT, path, error.line, error.column,
		     WRONG(error));
	}
	free(path);
	return err;
}

int profile_read(const char *name, struct pfnbuf_profile **profilep, struct diags *diags)
{
	struct place at = { "command line", 0, 0, 0 };
	struct pfnbuf_text_error error;
	char *path = profile_find(name);
	const bool path_is_name = path && !strcmp(path, name);
	int err = path ? pfnbuf_profile_load(path, profilep, &error) : -ENOENT;

	if (!path) {
		char *where = profile_dirs_text();

		diag_add(
			diags, NULL, at,
			"name a profile that `profile list` lists, or a file by a path with a slash in it",
			"--profile %s: there is no " PROFILE_NAME " in %s", name, name,
			where ? where : "the folders of profiles");
		free(where);
	} else if (err == -EINVAL && path_is_name) {
		at = (struct place){ name, error.line, error.column, 1 };
		diag_add(diags, NULL, at, NULL, WRONG_TEXT, WRONG(error));
	} else if (err == -EINVAL) {
		diag_add(diags, NULL, at, NULL, "--profile %s: %s:%u:%u: " WRONG_TEXT, name, path,
			 error.line, error.column, WRONG(error));
	} else if (err) {
		diag_add(diags, NULL, at, pfnbuf_last_error_record()->hint, "--profile %s: %s",
			 name, pfnbuf_last_error_record()->cause);
	}
	free(path);
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
