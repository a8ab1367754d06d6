/* SPDX-License-Identifier: MIT */
/* A run: the objects that names stand for, what can be undone, and the verbs. */
#ifndef PFNBUFCTL_RUN_H
#define PFNBUFCTL_RUN_H

#include <signal.h>

#include <pfnbuf-sim.h>

#include "output.h"
#include "script.h"

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,      /* and undone or released */
	EXIT_USAGE = 2,	      /* or a script with mistakes: nothing was done */
	EXIT_UNSUPPORTED = 3, /* by this kernel */
	EXIT_UNCERTAIN = 4,   /* undoing or releasing failed, too */
};

/* Ranges of guest memory that are private: the kernel cannot be asked. Sorted, apart from each other. */
struct spans {
	struct span {
		uint64_t start;
		uint64_t end;
	} * list;
	size_t n;
};

/* What a name stands for. Which members mean something depends on its kind. */
struct object {
	unsigned kind; /* KIND_*; 0: nothing, or not any more */
	char *name;
	struct pfnbuf_device *device;
	struct pfnbuf_ioas *ioas;
	struct pfnbuf_buf *buf;
	struct pfnbuf_vm *vm;
	struct pfnbuf_window *window;
	struct pfnbuf_bind *bind;
	struct tsm *tsm; /* of a bind: who does what the kernel does not */
	size_t *on;	 /* of a bind: its windows */
	size_t non;
	int vcpu; /* VM: one that was made to bring pages in */
	bool has_vcpu;
	bool inherited;	 /* VM: by its fd */
	uint64_t length; /* of memory, area, slot, window */
	void *addr; /* memory: its own; buffer: mapped when first needed; dma-buf: of the BAR's mapping */
	uint64_t iova;		/* area */
	uint64_t gpa;		/* slot */
	uint32_t slot;		/* its id */
	size_t parent;		/* area: its IOAS; slot: its VM */
	size_t in_vm, in_ioas;	/* window, bind: where it is; NO_OBJECT: not there */
	unsigned bar;		/* window of a device */
	size_t backing;		/* area, slot, window, bind: what is behind it */
	size_t private_backing; /* slot, window: its guest_memfd */
	uint64_t private_offset;
	bool no_huge; /* IOAS */
	struct pfnbuf_range *allowed;
	size_t nallowed;
	struct spans spans; /* VM: private memory */
};

/* How to undo one step of a transaction. */
struct undo {
	enum undo_kind {
		UNDO_MADE,   /* end @object */
		UNDO_ATTACH, /* device @object back to IOAS @other, or detached */
		UNDO_DECODE, /* device @object: memory decode back to @flag */
		UNDO_BUSMASTER,
		UNDO_UNMAP,	 /* map @area again, as @object where that is a name */
		UNDO_ATTRIBUTES, /* VM @object: @offset, @length back to private (@flag) or shared */
		UNDO_MOVE,	 /* slot @object back to @offset */
		UNDO_LOG,	 /* slot @object: logging back to @flag */
		UNDO_ALLOW,	 /* IOAS @object: back to @ranges */
		UNDO_HUGE_PAGES, /* IOAS @object: back to @flag */
		UNDO_LAYOUT,	 /* window @object: back to @layout */
		UNDO_PLACE,	 /* window @object: back to @offset (GPA) and @length (IOVA) */
		UNDO_SUSPEND,	 /* window @object: suspended again (@flag) or resumed */
		UNDO_CONNECT,	 /* device @object: the TSM's session ended */
		UNDO_TDI_LOCK,	 /* bind @object: unlocked */
		UNDO_TDI_RUN,	 /* bind @object: locked */
	} kind;
	size_t object;
	size_t other;
	bool flag;
	uint64_t offset;
	uint64_t length;
	struct pfnbuf_area area; /* holds a reference to its buffer */
	struct object copy;	 /* UNDO_UNMAP: the named area as it was */
	struct pfnbuf_range *ranges;
	size_t nranges;
	struct pfnbuf_layout *layout;
};

/* An event that nobody has asked for yet, with names as they were when it came. */
struct seen {
	struct pfnbuf_event event;
	char device[SCRIPT_MAX_NAME + 1];
	char window[SCRIPT_MAX_NAME + 1];
};

enum { EVENTS_MAX = 256 };

struct run {
	struct script *script;
	struct output *output;
	struct pfnbuf_ctx *ctx;
	const struct pfnbuf_kernel *kernel;
	struct trace *trace;	/* NULL: none */
	struct pfnbuf_sim *sim; /* NULL: the running kernel */
	bool has_profile;
	bool profile_pre_faults; /* private pages come in through a vCPU */
	struct object *objects;	 /* by symbol */
	size_t nobjects;
	struct object scratch; /* made by a line that was expected to fail */
	struct undo *undos;
	size_t nundos;
	size_t undos_room;
	bool in_transaction;
	struct place begun;
	struct seen events[EVENTS_MAX];
	size_t nevents;
	uint64_t events_lost;
	char *message;	/* why a verb failed, where the library does not know */
	bool uncertain; /* something could not be undone or released */
	size_t done;	/* statements */
	size_t skipped;
	enum exit_code exit;	     /* of the last failure */
	volatile sig_atomic_t *stop; /* a signal asked for the end */
};

int run_statements(struct run *run, const struct statements *statements, size_t from);
/* End what is still open, in the order that the kernel needs. */
void run_release(struct run *run);
void run_clear(struct run *run);

/* Take the context's events into run->events. Returns 0 or a negative errno. */
int run_digest(struct run *run);

/* ---------------------------------------------------------------- for the verbs -------------------------------------- */

typedef int verb_fn(struct run *run, const struct statement *st);

/* Every verb's function, by enum verb_id; NULL where a statement does nothing by itself. */
extern verb_fn *const verb_functions[VERB_COUNT];

/* The failure of a verb that the library knows nothing about: keeps the message and returns @code. */
int fail(struct run *run, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The object that a value names. NULL, with run->message set: it went down with something else. */
struct object *object_at(struct run *run, const struct value *value);
struct object *object_of(struct run *run, const struct statement *st, const char *param);
/* The object that a statement makes: empty, with its name. Becomes one when its kind is set. */
struct object *object_new(struct run *run, const struct statement *st);
size_t object_index(const struct run *run, const struct object *object);
struct object *object_by_index(struct run *run, size_t index);

/* End an object and what stands on it. A failure leaves what could not be ended. */
int object_end(struct run *run, struct object *object);
/* Names of areas in the range that are not in the IOAS any more, or slots that are gone: forget them. */
void forget_areas(struct run *run, struct object *ioas, uint64_t iova, uint64_t length);

/* The address of a buffer's or memory's bytes in this process; of a dma-buf, that of its BAR slice. */
int object_address(struct run *run, struct object *object, void **addr);
uint64_t object_length(const struct object *object);

/* Remember how to undo a step; without a transaction nothing is kept. Owned parts of @undo are taken over. */
int undo_push(struct run *run, const struct undo *undo);
int undo_made(struct run *run, struct object *object);
/* After a failure: run the inverses in reverse order. After commit: drop them. */
void undo_all(struct run *run);
void undo_drop(struct run *run);

/* Values with a default. */
uint64_t number_or(const struct statement *st, const char *param, uint64_t other);
bool has(const struct statement *st, const char *param);

/* Bytes of a statement that compares, against what was @found; says what differs. Returns 0 or -EBADMSG. */
int compare_bytes(struct run *run, const struct statement *st, uint64_t offset,
		  const uint8_t *found);
/* Whether to read again before comparing: bytes differ and timeout= is not over since @began. Sleeps a little then. */
bool worth_another_look(struct run *run, const struct statement *st, const uint8_t *found,
			uint64_t began);
uint64_t now_ns(void);
/* malloc'd bytes that a statement gives. */
uint8_t *statement_bytes(struct run *run, const struct statement *st, size_t *size);
/* Print bytes that were read. */
void report_bytes(struct run *run, uint64_t offset, const uint8_t *bytes, size_t n);

enum style state_style(enum pfnbuf_state state);

/* show.c, picture.c */
void show_object(struct run *run, struct object *object);
void draw_ioas(struct run *run, struct object *object);
void draw_vm(struct run *run, struct object *object);
/* What is behind an area: the name of a buffer, or what else is known. @buf has 64 bytes. */
const char *area_backing(struct run *run, const struct pfnbuf_area *area, char *buf);
size_t count_areas(struct pfnbuf_ioas *ioas, size_t *dead);

/* cmd_window.c */
int move_window(struct run *run, const struct statement *st, struct object *object);
int verify_window(struct run *run, struct object *object);
void window_count(struct object *object, uint64_t *bytes); /* by enum pfnbuf_vis */
/* The window that has @iova in this IOAS, or NULL. */
struct object *window_at(struct run *run, const struct object *ioas, uint64_t iova);
/* "BAR 2 of nic", or the name of what else is behind a window. @buf has 128 bytes. */
const char *window_backing(struct run *run, const struct object *window, char *buf);
enum style window_style(enum pfnbuf_window_state state);

/* cmd_bind.c */
struct tsm *tsm_free(struct tsm *tsm);
int plan_bind(struct run *run, struct object *object);

/* cmd_profile.c: the context speaks it from now on. */
int profile_use(struct run *run, struct pfnbuf_profile *profile);
/* Complaints go to @diags, with file, line and column where a text is wrong. */
int profile_read(const char *name, struct pfnbuf_profile **profilep, struct diags *diags);

/* cmd_sim.c */
bool sim_counts_words(struct pfnbuf_sim *sim, struct text *words, struct text *json);

/* spans.c */
bool spans_set(struct spans *spans, uint64_t start, uint64_t end, bool on);
/* The first run in [start, end) whose state is not @on. Returns false where there is none. */
bool spans_find(const struct spans *spans, uint64_t start, uint64_t end, bool on, struct span *run);

#define DECLARE_VERB(name) verb_fn verb_##name

DECLARE_VERB(print);
DECLARE_VERB(title);
DECLARE_VERB(sleep);
DECLARE_VERB(wait);
DECLARE_VERB(events);
DECLARE_VERB(begin);
DECLARE_VERB(commit);
DECLARE_VERB(expect);
DECLARE_VERB(show);
DECLARE_VERB(picture);
DECLARE_VERB(close);
DECLARE_VERB(device);
DECLARE_VERB(attach);
DECLARE_VERB(detach);
DECLARE_VERB(decode);
DECLARE_VERB(busmaster);
DECLARE_VERB(reset);
DECLARE_VERB(hotreset);
DECLARE_VERB(lowpower);
DECLARE_VERB(restore);
DECLARE_VERB(bracket);
DECLARE_VERB(config_read);
DECLARE_VERB(config_write);
DECLARE_VERB(config_expect);
DECLARE_VERB(bar_read);
DECLARE_VERB(bar_write);
DECLARE_VERB(bar_expect);
DECLARE_VERB(export);
DECLARE_VERB(memfd);
DECLARE_VERB(guest_memfd);
DECLARE_VERB(memory);
DECLARE_VERB(import);
DECLARE_VERB(verify);
DECLARE_VERB(discard);
DECLARE_VERB(buf_read);
DECLARE_VERB(buf_write);
DECLARE_VERB(buf_expect);
DECLARE_VERB(ioas);
DECLARE_VERB(map);
DECLARE_VERB(copy);
DECLARE_VERB(unmap);
DECLARE_VERB(allow);
DECLARE_VERB(huge_pages);
DECLARE_VERB(physical);
DECLARE_VERB(vm);
DECLARE_VERB(slot);
DECLARE_VERB(move);
DECLARE_VERB(log);
DECLARE_VERB(dirty);
DECLARE_VERB(attributes);
DECLARE_VERB(extension);
DECLARE_VERB(bar_window);
DECLARE_VERB(ram_window);
DECLARE_VERB(set_layout);
DECLARE_VERB(set_range);
DECLARE_VERB(convert);
DECLARE_VERB(explain_hypercall);
DECLARE_VERB(explain_fault);
DECLARE_VERB(plan);
DECLARE_VERB(suspend);
DECLARE_VERB(resume);
DECLARE_VERB(profile_list);
DECLARE_VERB(profile_show);
DECLARE_VERB(profile_choose);
DECLARE_VERB(tsm_show);
DECLARE_VERB(tsm_connect);
DECLARE_VERB(tsm_disconnect);
DECLARE_VERB(bind);
DECLARE_VERB(tdi_lock);
DECLARE_VERB(tdi_run);
DECLARE_VERB(tdi_unlock);
DECLARE_VERB(dma_read);
DECLARE_VERB(dma_write);
DECLARE_VERB(dma_expect);
DECLARE_VERB(guest_read);
DECLARE_VERB(guest_write);
DECLARE_VERB(guest_expect);
DECLARE_VERB(sim_device);
DECLARE_VERB(sim_set);
DECLARE_VERB(sim_fail);
DECLARE_VERB(sim_counts);
DECLARE_VERB(sim_expect);
DECLARE_VERB(sim_dump);
DECLARE_VERB(sim_peek);
DECLARE_VERB(sim_poke);
DECLARE_VERB(sim_reset);
DECLARE_VERB(sim_decode);
DECLARE_VERB(sim_request_removal);
DECLARE_VERB(sim_raise_error);
DECLARE_VERB(sim_profile);
DECLARE_VERB(sim_tdi_report);
DECLARE_VERB(sim_tdi_lock);
DECLARE_VERB(sim_tdi_start);
DECLARE_VERB(sim_tdi_inject);
DECLARE_VERB(sim_tdi_expect);
DECLARE_VERB(sim_pin);

#endif /* PFNBUFCTL_RUN_H */
