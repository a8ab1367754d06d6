/* SPDX-License-Identifier: MIT */
/* Verbs on the TEE security manager's sessions with devices. */
#include <errno.h>

#include "run.h"

static void say_tsm(struct run *run, const struct pfnbuf_tsm_info *info)
{
	struct output *output = run->output;
	struct text *json = &output->fields;

	json_bool(json, "present", info->present);
	json_string(json, "connected", info->connected);
	json_string(json, "bound", info->bound);
	json_string(json, "dsm", info->dsm);
	json_string(json, "authenticated", info->authenticated);
	if (!info->present) {
		say(output, "no TSM manages it");
		return;
	}
	if (*info->connected)
		say(output, "%s has a session with it", info->connected);
	else
		say(output, "no session");
	if (*info->authenticated)
		say(output, ", authenticated");
	if (*info->dsm)
		say(output, ", managed by %s", info->dsm);
	say(output, *info->bound ? ", bound to a guest" : ", not bound");
}

int verb_tsm_show(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	struct pfnbuf_tsm_info info;
	int err = device ? pfnbuf_tsm_get_info(device->device, &info) : -ENOENT;

	if (!err)
		say_tsm(run, &info);
	return err;
}

int verb_tsm_connect(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	const char *tsm = statement_get(st, "TSM")->text;
	struct undo undo = { .kind = UNDO_CONNECT };
	int err = device ? pfnbuf_tsm_connect(device->device, tsm) : -ENOENT;

	if (err)
		return err;
	say(run->output, "%s has a session with it", tsm);
	json_string(&run->output->fields, "connected", tsm);
	undo.object = object_index(run, device);
	return undo_push(run, &undo);
}

int verb_tsm_disconnect(struct run *run, const struct statement *st)
{
	struct object *device = object_of(run, st, "DEVICE");
	const struct value *tsm = statement_get(st, "TSM");

	return device ? pfnbuf_tsm_disconnect(device->device, tsm ? tsm->text : NULL) : -ENOENT;
}
