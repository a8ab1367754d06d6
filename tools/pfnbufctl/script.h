/* SPDX-License-Identifier: MIT */
/*
 * The language: source text -> words -> checked statements. Pure: no I/O, no kernel, no clock.
 *
 * Everything that can be known without asking the kernel is checked here, so that a script with a mistake on its last
 * line does nothing at all.
 */
#ifndef PFNBUFCTL_SCRIPT_H
#define PFNBUFCTL_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "diag.h"

enum {
	SCRIPT_MAX_BYTES = 4 << 20, /* of one source */
	SCRIPT_MAX_LINES = 100000,  /* statements of one source */
	SCRIPT_MAX_WORDS = 256,	    /* on one line */
	SCRIPT_MAX_WORD = 64 << 10, /* bytes of one word after variables are put in */
	SCRIPT_MAX_NAME = 63,	    /* bytes of the name of an object or variable */
	SCRIPT_MAX_PARAMS = 24,	    /* of one verb */
	SCRIPT_MAX_DATA = 16 << 20, /* bytes that one statement reads, writes or compares */
};

/* What a name can stand for. A name whose kind is known only at run time has several bits. */
enum kind {
	KIND_DEVICE = 1 << 0,
	KIND_IOAS = 1 << 1,
	KIND_DMA_BUF = 1 << 2,
	KIND_MEMFD = 1 << 3,
	KIND_GUEST_MEMFD = 1 << 4,
	KIND_MEMORY = 1 << 5, /* memory of this process */
	KIND_AREA = 1 << 6,
	KIND_VM = 1 << 7,
	KIND_SLOT = 1 << 8,
	KIND_WINDOW = 1 << 9,
	KIND_BIND = 1 << 10,
};
#define KIND_BUF (KIND_DMA_BUF | KIND_MEMFD | KIND_GUEST_MEMFD)
#define KIND_ANY 0x7ff

/* "device or IOAS"; static for one kind, else built in a buffer of the caller's. */
const char *kind_words(unsigned mask, char *buf, size_t size);

enum type {
	TYPE_NEW = 1, /* a name that the statement gives */
	TYPE_OBJECT,  /* a name given before; of a device also its address */
	TYPE_BDF,
	TYPE_NUMBER,
	TYPE_RANGE,  /* OFFSET+LENGTH */
	TYPE_WORD,   /* one of param.words */
	TYPE_SET,    /* some of param.words, joined by commas: number is the bit mask */
	TYPE_SWITCH, /* on, off (yes, no) */
	TYPE_STRING,
	TYPE_DURATION, /* 500ms, 1s, 2m: nanoseconds */
	TYPE_ERRNO,
	TYPE_BAR,     /* of a simulated device: SIZE[,64][,prefetchable][,io] */
	TYPE_BYTES,   /* dead_beef */
	TYPE_TEXT,    /* a string as bytes */
	TYPE_FILL,    /* BYTE+LENGTH */
	TYPE_SIGNED,  /* a number that may be negative: its two's complement */
	TYPE_INTEGER, /* little endian, param.max bytes wide */
};

enum {
	PARAM_OPTIONAL = 1 << 0,
	PARAM_REPEAT = 1 << 1, /* the last positional one: at least once unless optional */
	PARAM_KEY = 1 << 2,    /* key=value; the others are positional */
	PARAM_DATA = 1 << 3,   /* one of the keys that give bytes: exactly one of them is wanted */
	PARAM_PAGES = 1 << 4,  /* a length that cannot be 0 */
};

struct param {
	const char *name;
	enum type type;
	unsigned flags;
	unsigned
		kinds; /* TYPE_NEW, TYPE_OBJECT: which; a key: valid for objects of these kinds only */
	uint64_t max; /* TYPE_NUMBER: the largest; 0: no limit */
	/* TYPE_WORD, TYPE_SET: ended by NULL; TYPE_STRING: how the synopsis calls it, or NULL */
	const char *const *words;
};

enum verb_id {
	VERB_LET,
	VERB_PRINT,
	VERB_TITLE,
	VERB_SLEEP,
	VERB_WAIT,
	VERB_EVENTS,
	VERB_BEGIN,
	VERB_COMMIT,
	VERB_EXPECT,
	VERB_SHOW,
	VERB_PICTURE,
	VERB_CLOSE,
	VERB_DEVICE,
	VERB_ATTACH,
	VERB_DETACH,
	VERB_DECODE,
	VERB_BUSMASTER,
	VERB_RESET,
	VERB_HOTRESET,
	VERB_LOWPOWER,
	VERB_RESTORE,
	VERB_BRACKET,
	VERB_CONFIG_READ,
	VERB_CONFIG_WRITE,
	VERB_CONFIG_EXPECT,
	VERB_BAR_READ,
	VERB_BAR_WRITE,
	VERB_BAR_EXPECT,
	VERB_EXPORT,
	VERB_MEMFD,
	VERB_GUEST_MEMFD,
	VERB_MEMORY,
	VERB_IMPORT,
	VERB_VERIFY,
	VERB_DISCARD,
	VERB_BUF_READ,
	VERB_BUF_WRITE,
	VERB_BUF_EXPECT,
	VERB_IOAS,
	VERB_MAP,
	VERB_COPY,
	VERB_UNMAP,
	VERB_ALLOW,
	VERB_HUGE_PAGES,
	VERB_PHYSICAL,
	VERB_VM,
	VERB_SLOT,
	VERB_MOVE,
	VERB_LOG,
	VERB_DIRTY,
	VERB_ATTRIBUTES,
	VERB_EXTENSION,
	VERB_BAR_WINDOW,
	VERB_RAM_WINDOW,
	VERB_SET_LAYOUT,
	VERB_SET_RANGE,
	VERB_CONVERT,
	VERB_EXPLAIN_HYPERCALL,
	VERB_EXPLAIN_FAULT,
	VERB_PLAN,
	VERB_SUSPEND,
	VERB_RESUME,
	VERB_PROFILE_LIST,
	VERB_PROFILE_SHOW,
	VERB_PROFILE_CHOOSE,
	VERB_TSM_SHOW,
	VERB_TSM_CONNECT,
	VERB_TSM_DISCONNECT,
	VERB_BIND,
	VERB_TDI_LOCK,
	VERB_TDI_RUN,
	VERB_TDI_UNLOCK,
	VERB_DMA_READ,
	VERB_DMA_WRITE,
	VERB_DMA_EXPECT,
	VERB_GUEST_READ,
	VERB_GUEST_WRITE,
	VERB_GUEST_EXPECT,
	VERB_SIM_DEVICE,
	VERB_SIM_SET,
	VERB_SIM_FAIL,
	VERB_SIM_COUNTS,
	VERB_SIM_EXPECT,
	VERB_SIM_DUMP,
	VERB_SIM_PEEK,
	VERB_SIM_POKE,
	VERB_SIM_RESET,
	VERB_SIM_DECODE,
	VERB_SIM_REMOVE,
	VERB_SIM_ERROR,
	VERB_SIM_PROFILE,
	VERB_SIM_TDI_REPORT,
	VERB_SIM_TDI_LOCK,
	VERB_SIM_TDI_START,
	VERB_SIM_TDI_INJECT,
	VERB_SIM_TDI_EXPECT,
	VERB_SIM_PIN,
	VERB_COUNT,
};

enum {
	VERB_SIM_ONLY = 1 << 0, /* the simulated kernel only */
	VERB_FINAL = 1 << 1,	/* cannot be undone: not between begin and commit */
	VERB_MACHINE = 1 << 2,	/* allowed in a machine file */
	VERB_NO_FAIL = 1 << 3,	/* cannot be told to fail with !ERRNO */
};

struct verb {
	const char *name; /* "bar write": one or two words */
	enum verb_id id;
	unsigned flags;
	const char *group;			/* for help */
	const char *summary;			/* one line */
	const char *detail;			/* more for `help VERB`, or NULL */
	struct param params[SCRIPT_MAX_PARAMS]; /* ended by one without a name */
};

/* The profiles that the simulated kernel knows; ended by NULL. */
extern const char *const sim_profiles[];

/* Every verb, in the order of enum verb_id. */
extern const struct verb verbs[VERB_COUNT];

const struct verb *verb_find(const char *name);
/* "map NAME IOAS BUF [RANGE] [iova=NUMBER] ..." into @buf. */
void verb_synopsis(const struct verb *verb, char *buf, size_t size);
/* How a parameter is written: "IOAS", "iova=NUMBER". */
void param_words(const struct param *param, char *buf, size_t size);
/* The position of the parameter with this name in verb->params; it exists. */
size_t verb_param(const struct verb *verb, const char *name);

/* ---------------------------------------------------------------- statements ----------------------------------------- */

#define NO_OBJECT ((size_t)-1)

struct value {
	const struct param *param;
	struct place at;
	uint64_t
		number; /* number, offset of a range, index or mask of words, nanoseconds, errno, fill byte */
	uint64_t length; /* of a range or a fill */
	char *text;	 /* as written, after variables were put in; strings without quotes */
	uint8_t *data;	 /* TYPE_BYTES, TYPE_TEXT, TYPE_INTEGER */
	size_t size;
	size_t object; /* TYPE_NEW, TYPE_OBJECT: index in the symbol table */
};

enum where {
	WHERE_ANY,
	WHERE_SIM,    /* "sim:" */
	WHERE_KERNEL, /* "kernel:" */
};

struct statement {
	const struct verb *verb;
	struct place at;
	char *line;	  /* the statement, with variables put in */
	int expect_errno; /* positive: has to fail so */
	enum where where;
	bool skipped; /* its prefix names the other kernel */
	bool implied; /* opens a device that a later statement names by its address */
	size_t nvalues;
	struct value *values;
};

/* The value given for a parameter, or NULL. */
const struct value *statement_get(const struct statement *st, const char *name);
/* The next value of a repeated parameter after @after; NULL at the end. */
const struct value *statement_next(const struct statement *st, const struct value *after);
/* The value that gives bytes, or NULL. */
const struct value *statement_data(const struct statement *st);
/* How many bytes it gives, and those bytes into @buf. */
uint64_t data_length(const struct value *value);
void data_copy(const struct value *value, uint8_t *buf);

struct statements {
	struct statement *list;
	size_t n;
	size_t room;
};

/* ---------------------------------------------------------------- scripts -------------------------------------------- */

struct symbol {
	char *name;
	unsigned kinds;
	bool alive;
	bool sim_only;	   /* made by a statement that only the simulated kernel runs */
	bool kernel_only;  /* ... the running kernel */
	size_t parent;	   /* what it goes down with: the IOAS of an area, the VM of a slot */
	struct place made; /* where it got its name */
	char bdf[16];	   /* of a device opened by its address; "" */
	size_t next;	   /* in its bucket, + 1 */
	unsigned ended_in; /* the parse that ended it */
};

struct variable {
	char *name;
	char *value;
	bool forced; /* by -D: a let line does not change it */
	bool used;
	struct place made;
};

/* What earlier sources (or earlier lines of a prompt) have defined. */
struct script {
	bool sim;	 /* the simulated kernel will run it */
	bool machine;	 /* a machine file: only `sim` lines */
	bool open_ended; /* a prompt: a transaction may stay open at the end of a source */
	struct symbol *symbols;
	size_t nsymbols;
	size_t symbols_room;
	size_t *buckets; /* index + 1 by hash of the name; newest symbol of a name first */
	size_t nbuckets;
	struct variable *variables;
	size_t nvariables;
	bool in_transaction;
	struct place begun;
	unsigned serial; /* counts the parses */
	struct diags diags;
	struct statements out; /* what is checked and not taken yet */
};

struct source {
	const char *file; /* for messages */
	const char *text;
	size_t length;
	bool semicolons; /* ';' separates statements */
};

void script_init(struct script *script, bool sim);
void script_clear(struct script *script);

/* -D: returns 0, -EINVAL where @assignment is not name=value with a proper name, -ENOMEM. */
int script_define(struct script *script, const char *assignment);

/*
 * Parse and check a source. Returns 0 and appends to script->out, or -EINVAL and the reasons in script->diags, or
 * -ENOMEM. What a refused source would have defined is forgotten.
 */
int script_parse(struct script *script, const struct source *source);

/* The same for words that a shell has split already. */
int script_parse_words(struct script *script, const char *file, size_t n, char *const *words);

/* At the end of everything: transactions left open, variables that nothing uses. 0 or -EINVAL. */
int script_finish(struct script *script);

/* Names that objects and variables may have. */
bool name_is_valid(const char *name);
bool bdf_is_valid(const char *word);
/* "01:00.0" -> "0000:01:00.0", lower case. @out has 16 bytes. */
void bdf_normalize(const char *word, char *out);

/* What a run finds out: an object was not made after all, or is there again. */
void script_forget(struct script *script, size_t object);
void script_revive(struct script *script, size_t object);

void statements_clear(struct statements *statements);

/* ---------------------------------------------------------------- values --------------------------------------------- */

int hex_digit(char c); /* its value; -1: it is none */

/* Each returns NULL, or what is wrong with @word in words (static text). */
const char *parse_number(const char *word, uint64_t *number);
const char *parse_range(const char *word, uint64_t *offset, uint64_t *length);
const char *parse_duration(const char *word, uint64_t *ns);
const char *parse_hex_bytes(const char *word, uint8_t **data, size_t *size);

#endif /* PFNBUFCTL_SCRIPT_H */
