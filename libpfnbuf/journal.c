/* SPDX-License-Identifier: MIT */
/*
 * A journal: the steps of several plans and what was done between them, in order.
 *
 * It is for people. Where there is no memory for a step the step is taken all the same, and the
 * journal says that some are missing.
 */
#include <stdio.h>

#include "private.h"

struct pfnbuf_journal_entry {
	struct pfnbuf_step step; /* object points at the name below */
	uint64_t began;
	char object[PFNBUF_NAME_MAX];
};

static struct pfnbuf_journal_entry *append(struct pfnbuf_journal *journal)
{
	struct pfnbuf_journal_entry *entries =
		pfnbuf_grow(journal->entries, journal->nr + 1, &journal->max, sizeof(*entries));

	if (!entries) {
		journal->lost++;
		return NULL;
	}
	journal->entries = entries;
	entries[journal->nr] = (struct pfnbuf_journal_entry){ .began = 0 };
	return &entries[journal->nr++];
}

size_t pfnbuf_journal_add(struct pfnbuf_journal *journal, enum pfnbuf_step_kind kind,
			  const char *object, const struct pfnbuf_range *range, const char *reason)
{
	struct pfnbuf_journal_entry *entry = append(journal);

	if (!entry)
		return PFNBUF_JOURNAL_LOST;
	entry->step = (struct pfnbuf_step){ .kind = kind, .reason = reason };
	if (range)
		entry->step.range = *range;
	pfnbuf_copy_text(entry->object, sizeof(entry->object), object);
	return journal->nr - 1;
}

void pfnbuf_journal_begin(struct pfnbuf_journal *journal, size_t i)
{
	if (i != PFNBUF_JOURNAL_LOST)
		journal->entries[i].began = pfnbuf_now();
}

int pfnbuf_journal_end(struct pfnbuf_journal *journal, size_t i, int result)
{
	struct pfnbuf_journal_entry *entry;
	uint64_t now;

	if (i == PFNBUF_JOURNAL_LOST)
		return result;
	entry = &journal->entries[i];
	now = pfnbuf_now();
	entry->step.state = result < 0 ? PFNBUF_STEP_FAILED : PFNBUF_STEP_DONE;
	entry->step.result = result < 0 ? result : 0;
	entry->step.ns = now > entry->began ? now - entry->began : 1;
	return result;
}

void pfnbuf_journal_add_plan(struct pfnbuf_journal *journal, const struct pfnbuf_plan *plan)
{
	const size_t n = pfnbuf_plan_get_nr_steps(plan);

	for (size_t i = 0; i < n; i++) {
		struct pfnbuf_journal_entry *entry = append(journal);

		if (!entry)
			continue;
		pfnbuf_plan_get_step(plan, i, &entry->step);
		pfnbuf_copy_text(entry->object, sizeof(entry->object), entry->step.object);
	}
}

void pfnbuf_journal_copy(struct pfnbuf_journal *journal, const struct pfnbuf_journal *from,
			 size_t i)
{
	struct pfnbuf_journal_entry *entry = append(journal);

	if (entry)
		*entry = from->entries[i];
}

void pfnbuf_journal_clear(struct pfnbuf_journal *journal)
{
	free(journal->entries);
	*journal = (struct pfnbuf_journal){ .nr = 0 };
}

/* Where the next text goes, as snprintf() wants it. */
static char *tail(char *buf, size_t size, size_t length, size_t *room)
{
	*room = length < size ? size - length : 0;
	return *room ? buf + length : NULL;
}

static size_t say(char *buf, size_t size, size_t length, const char *text)
{
	size_t room;
	char *at = tail(buf, size, length, &room);

	snprintf(at, room, "%s", text);
	return length + strlen(text);
}

static struct pfnbuf_step step_of(const struct pfnbuf_journal_entry *entry)
{
	struct pfnbuf_step step = entry->step;

	step.object = entry->object;
	return step;
}

size_t pfnbuf_journal_print(const struct pfnbuf_journal *journal, char *buf, size_t size)
{
	size_t length = say(buf, size, 0, ""), room;

	for (size_t i = 0; i < journal->nr; i++) {
		const struct pfnbuf_step step = step_of(&journal->entries[i]);
		char *at = tail(buf, size, length, &room);

		length += pfnbuf_step_print(&step, i, at, room);
	}
	if (journal->lost)
		length = say(buf, size, length, "and steps that there was no memory to note\n");
	return length;
}

size_t pfnbuf_journal_print_json(const struct pfnbuf_journal *journal, char *buf, size_t size)
{
	size_t length = say(buf, size, 0, "{\"steps\": ["), room;

	for (size_t i = 0; i < journal->nr; i++) {
		const struct pfnbuf_step step = step_of(&journal->entries[i]);
		char *at;

		if (i)
			length = say(buf, size, length, ", ");
		at = tail(buf, size, length, &room);
		length += pfnbuf_step_print_json(&step, at, room);
	}
	return say(buf, size, length, journal->lost ? "], \"complete\": false}" : "]}");
}
