/* SPDX-License-Identifier: MIT */
/*
 * Profiles: which unmerged kernel interface to speak, as text.
 *
 * A line is `key = value`; what each mechanism needs beside its name is a row of the table below.
 * Numbers of unmerged interfaces collide, so a profile is complete or refused: nothing has a default.
 */
#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "private.h"

/* No profile comes near; a file that does is not one. */
#define MAX_TEXT (64U << 10)

struct pfnbuf_profile {
	atomic_uint refs;
	struct pfnbuf_profile_data data;
};

/* ---------------------------------------------------------------- keys ---------------------- */

enum key_kind {
	WORD,	/* one of key.words */
	NUMBER, /* up to key.max */
	NAME,	/* letters, digits, dots, dashes and underscores */
	PROSE,	/* the rest of the line */
};

static const char *const bind_words[] = {
	[PFNBUF_TSM_NONE] = "none",
	[PFNBUF_TSM_VFIO_BIND] = "vfio-tsm-bind",
	[PFNBUF_TSM_VDEVICE_OP] = "iommufd-tsm-op",
	[PFNBUF_TSM_VDEVICE_ALLOC] = "iommufd-vdevice-alloc",
	NULL,
};

static const char *const private_words[] = {
	[PFNBUF_MMIO_NONE] = "none",
	[PFNBUF_MMIO_DMABUF_SLOT] = "kvm-dmabuf-slot",
	[PFNBUF_MMIO_PRE_FAULT] = "pre-fault",
	[PFNBUF_MMIO_VALIDATE] = "validate-mmio",
	NULL,
};

/* Struct variants: each one is a layout that bind.c fills in. */
static const char *const bind_structs[] = { "vfio-pci-tsm-bind", "iommu-vdevice-tsm-op", NULL };
static const char *const validate_structs[] = { "iommu-vdevice-tsm-req", NULL };
static const char *const payloads[] = { "arm64-vdev-validate-mmio", NULL };
static const char *const gmem_structs[] = { "kvm-memory-attributes2", NULL };

/* How much of a dma-buf a slot shows: from offset 0 to its end. */
static const char *const buffer_words[] = { "whole", NULL };
/* Whether private mappings are taken away before the device is unbound, or after. */
static const char *const mapping_words[] = { "go", "stay", NULL };
static const char *const yes_no[] = { "no", "yes", NULL };

#define BIT(n) (1U << (n))
#define ANY_BIND                                                                                   \
	(BIT(PFNBUF_TSM_VFIO_BIND) | BIT(PFNBUF_TSM_VDEVICE_OP) | BIT(PFNBUF_TSM_VDEVICE_ALLOC))
#define BY_REQUEST  (BIT(PFNBUF_TSM_VFIO_BIND) | BIT(PFNBUF_TSM_VDEVICE_OP))
#define BY_SLOT	    (BIT(PFNBUF_MMIO_DMABUF_SLOT) | BIT(PFNBUF_MMIO_PRE_FAULT))
#define ANY_PRIVATE (BY_SLOT | BIT(PFNBUF_MMIO_VALIDATE))

struct key {
	const char *name;
	enum key_kind kind;
	size_t offset; /* in struct pfnbuf_profile_data */
	uint64_t max;
	const char *const *words;
	unsigned binds;	   /* bind mechanisms that it belongs to; 0: any */
	unsigned privates; /* private-MMIO mechanisms that it belongs to; 0: any */
	bool optional;
};

#define AT(field) .offset = offsetof(struct pfnbuf_profile_data, field)

static const struct key keys[] = {
	{ "name", NAME, AT(name) },
	{ "about", PROSE, AT(about), .optional = true },
	{ "needs", PROSE, AT(needs), .optional = true },
	{ "bind", WORD, AT(bind), .words = bind_words },
	{ "bind.struct", WORD, AT(bind_struct), .words = bind_structs, .binds = BY_REQUEST },
	{ "bind.request", NUMBER, AT(bind_request), .max = UINT32_MAX, .binds = BY_REQUEST },
	{ "bind.op", NUMBER, AT(bind_op), .max = UINT32_MAX, .binds = BIT(PFNBUF_TSM_VDEVICE_OP) },
	{ "unbind.request", NUMBER, AT(unbind_request), .max = UINT32_MAX,
	  .binds = BIT(PFNBUF_TSM_VFIO_BIND) },
	{ "unbind.op", NUMBER, AT(unbind_op), .max = UINT32_MAX,
	  .binds = BIT(PFNBUF_TSM_VDEVICE_OP) },
	{ "unbind.mappings", WORD, AT(mappings_stay), .words = mapping_words, .binds = ANY_BIND },
	{ "viommu.type", NUMBER, AT(viommu_type), .max = UINT32_MAX, .binds = ANY_BIND },
	{ "private", WORD, AT(private_mmio), .words = private_words },
	{ "private.flag", NUMBER, AT(slot_flag), .max = UINT32_MAX, .privates = BY_SLOT },
	{ "private.buffer", WORD, AT(slot_buffer), .words = buffer_words, .privates = BY_SLOT },
	{ "private.attribute", WORD, AT(private_attribute), .words = yes_no,
	  .privates = ANY_PRIVATE },
	{ "pre-fault.request", NUMBER, AT(pre_fault_request), .max = UINT32_MAX,
	  .privates = BIT(PFNBUF_MMIO_PRE_FAULT) },
	{ "validate.struct", WORD, AT(validate_struct), .words = validate_structs,
	  .privates = BIT(PFNBUF_MMIO_VALIDATE) },
	{ "validate.payload", WORD, AT(validate_payload), .words = payloads,
	  .privates = BIT(PFNBUF_MMIO_VALIDATE) },
	{ "validate.request", NUMBER, AT(validate_request), .max = UINT32_MAX,
	  .privates = BIT(PFNBUF_MMIO_VALIDATE) },
	{ "validate.op", NUMBER, AT(validate_op), .max = UINT32_MAX,
	  .privates = BIT(PFNBUF_MMIO_VALIDATE) },
	{ "validate.arch", NUMBER, AT(validate_arch), .max = UINT32_MAX,
	  .privates = BIT(PFNBUF_MMIO_VALIDATE) },
	{ "gmem.struct", WORD, AT(gmem_struct), .words = gmem_structs, .optional = true },
	{ "gmem.request", NUMBER, AT(gmem_request), .max = UINT32_MAX, .optional = true },
};

#define NR_KEYS (sizeof(keys) / sizeof(*keys))

static uint64_t *number_of(struct pfnbuf_profile_data *data, const struct key *key)
{
	return (uint64_t *)(void *)((char *)data + key->offset);
}

static char *text_of(struct pfnbuf_profile_data *data, const struct key *key)
{
	return (char *)data + key->offset;
}

static size_t text_max(const struct key *key)
{
	return key->kind == NAME ? sizeof(((struct pfnbuf_profile_data *)NULL)->name)
				 : sizeof(((struct pfnbuf_profile_data *)NULL)->about);
}

static bool belongs(const struct key *key, const struct pfnbuf_profile_data *data)
{
	return (!key->binds || key->binds & BIT(data->bind)) &&
	       (!key->privates || key->privates & BIT(data->private_mmio));
}

/* ---------------------------------------------------------------- parsing ------------------- */

struct scanner {
	const char *at;
	const char *end;
	const char *line_start;
	unsigned line;
	struct pfnbuf_text_error *error;
	struct {
		const char *at; /* where the value begins; NULL: the key has not come */
		const char *line_start;
		unsigned line;
	} seen[NR_KEYS];
};

static int fail_at(const struct scanner *s, const char *line_start, unsigned line, const char *at,
		   const char *cause)
{
	if (s->error)
		*s->error = (struct pfnbuf_text_error){
			.line = line,
			.column = (unsigned)(at - line_start) + 1,
			.cause = cause,
		};
	return -EINVAL;
}

static int fail(const struct scanner *s, const char *at, const char *cause)
{
	return fail_at(s, s->line_start, s->line, at, cause);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct scanner *s)
{
	while (s->at < s->end && is_blank(*s->at))
		s->at++;
}

static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.';
}

static const char *word_end(const struct scanner *s)
{
	const char *p = s->at;

	while (p < s->end && is_word_char(*p))
		p++;
	return p;
}

static bool is_word(const char *start, const char *end, const char *word)
{
	return (size_t)(end - start) == strlen(word) && !memcmp(start, word, strlen(word));
}

static int scan_number(struct scanner *s, uint64_t max, uint64_t *out)
{
	const char *start = s->at, *end = word_end(s);
	const bool hex = end - start > 2 && start[0] == '0' && start[1] == 'x';
	const unsigned base = hex ? 16 : 10;
	uint64_t value = 0;

	if (start == end)
		return fail(s, start, "a number is missing");
	for (s->at = hex ? start + 2 : start; s->at < end; s->at++) {
		const char c = *s->at;
		const unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
				       : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
				       : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
							      : 16;

		if (digit >= base)
			return fail(s, s->at, "not a digit");
		if (value > (max - digit) / base)
			return fail(s, start, "the number is above 2^32 - 1");
		value = value * base + digit;
	}
	*out = value;
	return 0;
}

static int scan_one_of(struct scanner *s, const char *const *words, uint64_t *out)
{
	const char *start = s->at, *end = word_end(s);

	for (uint64_t i = 0; words[i]; i++)
		if (is_word(start, end, words[i])) {
			s->at = end;
			*out = i;
			return 0;
		}
	return fail(s, start, "not one of the words that this key takes");
}

static int scan_name(struct scanner *s, char *out, size_t size)
{
	const char *start = s->at, *end = word_end(s);

	if (start == end)
		return fail(s, start, "a name is missing: letters, digits, '-', '_' and '.'");
	if ((size_t)(end - start) >= size)
		return fail(s, start, "the name is too long");
	memcpy(out, start, (size_t)(end - start));
	out[end - start] = '\0';
	s->at = end;
	return 0;
}

static int scan_prose(struct scanner *s, char *out, size_t size)
{
	const char *start = s->at, *end = start, *p;

	for (p = start; p < s->end && *p != '\n'; p++) {
		if ((unsigned char)*p < ' ' && !is_blank(*p))
			return fail(s, p, "not a printable character");
		if (*p == '\r' || *p == '\t')
			continue;
		if (!is_blank(*p))
			end = p + 1;
	}
	if (start == end)
		return fail(s, start, "a text is missing");
	if ((size_t)(end - start) >= size)
		return fail(s, start, "the text is too long");
	for (p = start; p < end; p++)
		*out++ = is_blank(*p) ? ' ' : *p;
	*out = '\0';
	s->at = end;
	return 0;
}

static int scan_value(struct scanner *s, const struct key *key, struct pfnbuf_profile_data *data)
{
	switch (key->kind) {
	case WORD:
		return scan_one_of(s, key->words, number_of(data, key));
	case NUMBER:
		return scan_number(s, key->max, number_of(data, key));
	case NAME:
		return scan_name(s, text_of(data, key), text_max(key));
	default:
		return scan_prose(s, text_of(data, key), text_max(key));
	}
}

static const struct key *find_key(const char *start, const char *end)
{
	for (size_t i = 0; i < NR_KEYS; i++)
		if (is_word(start, end, keys[i].name))
			return &keys[i];
	return NULL;
}

static int scan_assignment(struct scanner *s, struct pfnbuf_profile_data *data)
{
	const char *start = s->at, *end = word_end(s);
	const struct key *key;
	size_t i;
	int r;

	if (start == end)
		return fail(s, start, "a key is missing: key = value");
	key = find_key(start, end);
	if (!key)
		return fail(s, start, "no profile has such a key");
	i = (size_t)(key - keys);
	if (s->seen[i].at)
		return fail(s, start, "the key has come before");
	s->at = end;
	skip_blanks(s);
	if (s->at == s->end || *s->at != '=')
		return fail(s, s->at, "'=' is missing behind the key");
	s->at++;
	skip_blanks(s);
	s->seen[i].at = start;
	s->seen[i].line_start = s->line_start;
	s->seen[i].line = s->line;
	r = scan_value(s, key, data);
	if (r < 0)
		return r;
	skip_blanks(s);
	if (s->at < s->end && *s->at != '\n' && *s->at != '#')
		return fail(s, s->at, "something follows the value");
	return 0;
}

static int scan_lines(struct scanner *s, struct pfnbuf_profile_data *data)
{
	for (;;) {
		skip_blanks(s);
		if (s->at < s->end && *s->at != '\n' && *s->at != '#') {
			int r = scan_assignment(s, data);

			if (r < 0)
				return r;
		}
		while (s->at < s->end && *s->at != '\n')
			s->at++;
		if (s->at == s->end)
			return 0;
		s->at++;
		s->line_start = s->at;
		s->line++;
	}
}

/* What is said and does not belong there, and what is not said and does. */
static int check_keys(const struct scanner *s, const struct pfnbuf_profile_data *data)
{
	for (size_t i = 0; i < NR_KEYS; i++) {
		const bool said = s->seen[i].at != NULL;

		if (said && !belongs(&keys[i], data))
			return fail_at(s, s->seen[i].line_start, s->seen[i].line, s->seen[i].at,
				       "the mechanisms that the profile names have no use for it");
		if (!said && belongs(&keys[i], data) && !keys[i].optional) {
			/* The end of the text, where it could be added. */
			if (!s->error)
				return -EINVAL;
			*s->error = (struct pfnbuf_text_error){
				.line = s->line,
				.column = (unsigned)(s->end - s->line_start) + 1,
				.cause = "a key that the profile's mechanisms need is missing",
				.missing = keys[i].name,
			};
			return -EINVAL;
		}
	}
	return 0;
}

static bool has_said(const struct scanner *s, const char *name)
{
	return s->seen[find_key(name, name + strlen(name)) - keys].at != NULL;
}

static int fail_said(const struct scanner *s, const char *name, const char *cause)
{
	const size_t i = (size_t)(find_key(name, name + strlen(name)) - keys);

	return fail_at(s, s->seen[i].line_start, s->seen[i].line, s->seen[i].at, cause);
}

/* Numbers of ioctls; and binding is one thing, unbinding another. */
static int check_requests(const struct scanner *s, struct pfnbuf_profile_data *data)
{
	for (size_t i = 0; i < NR_KEYS; i++) {
		const char *end = strrchr(keys[i].name, '.');

		if (end && !strcmp(end, ".request") && s->seen[i].at && !*number_of(data, &keys[i]))
			return fail_said(s, keys[i].name, "no ioctl has this number");
	}
	if (data->bind == PFNBUF_TSM_VFIO_BIND && data->bind_request == data->unbind_request)
		return fail_said(s, "unbind.request", "it is the call that binds");
	if (data->bind == PFNBUF_TSM_VDEVICE_OP && data->bind_op == data->unbind_op)
		return fail_said(s, "unbind.op", "it is the operation that binds");
	return 0;
}

static int check_meaning(const struct scanner *s, const struct pfnbuf_profile_data *data)
{
	static const uint64_t variants[] = {
		[PFNBUF_TSM_VFIO_BIND] = PFNBUF_STRUCT_VFIO_PCI_TSM_BIND,
		[PFNBUF_TSM_VDEVICE_OP] = PFNBUF_STRUCT_IOMMU_VDEVICE_TSM_OP,
	};

	if (data->private_mmio != PFNBUF_MMIO_NONE && data->bind == PFNBUF_TSM_NONE)
		return fail_said(s, "private", "private MMIO takes a way to bind a device");
	if (BIT(data->bind) & BY_REQUEST && data->bind_struct != variants[data->bind])
		return fail_said(s, "bind.struct", "another way to bind has this struct");
	if (data->private_mmio == PFNBUF_MMIO_VALIDATE && data->private_attribute)
		return fail_said(s, "private.attribute",
				 "what is validated has no attribute of the VM's");
	if (has_said(s, "gmem.request") != has_said(s, "gmem.struct"))
		return fail_said(s, has_said(s, "gmem.request") ? "gmem.request" : "gmem.struct",
				 "gmem.request and gmem.struct go together");
	if (BIT(data->private_mmio) & BY_SLOT && !data->slot_flag)
		return fail_said(s, "private.flag", "a flag has a bit");
	return 0;
}

static int parse(const char *text, size_t length, struct pfnbuf_profile **profilep,
		 struct pfnbuf_text_error *error)
{
	struct scanner s = {
		.at = text,
		.end = text + length,
		.line_start = text,
		.line = 1,
		.error = error,
	};
	struct pfnbuf_profile *profile;
	int r;

	if (length > MAX_TEXT)
		return fail(&s, text, "no profile is as long as 64 KiB");
	profile = calloc(1, sizeof(*profile));
	if (!profile)
		return pfnbuf_failed(-ENOMEM, "pfnbuf_profile_parse", "profile", NULL);
	profile->refs = 1;
	r = scan_lines(&s, &profile->data);
	if (r >= 0)
		r = check_keys(&s, &profile->data);
	if (r >= 0)
		r = check_meaning(&s, &profile->data);
	if (r >= 0)
		r = check_requests(&s, &profile->data);
	if (r < 0) {
		free(profile);
		return r;
	}
	*profilep = profile;
	return 0;
}

/* Say where the text of @object is wrong, in both ways that there are. */
static int refuse_text(const char *call, const char *object, const struct pfnbuf_text_error *own,
		       struct pfnbuf_text_error *error)
{
	if (error)
		*error = *own;
	return pfnbuf_refused(-EINVAL, call, object, NULL,
			      "the profiles that came with the library show every key",
			      "line %u, column %u: %s%s%s", own->line, own->column, own->cause,
			      own->missing ? ": " : "", own->missing ? own->missing : "");
}

int pfnbuf_profile_parse(const char *text, size_t length, struct pfnbuf_profile **profilep,
			 struct pfnbuf_text_error *error)
{
	struct pfnbuf_text_error own = { 0 };
	int r = parse(text, length, profilep, &own);

	return r == -EINVAL ? refuse_text("pfnbuf_profile_parse", "text", &own, error) : r;
}

/* ---------------------------------------------------------------- loading ------------------- */

/* The whole file into *@text, which the caller frees. */
static int read_file(const char *path, char **text, size_t *length)
{
	const struct pfnbuf_kernel *k = pfnbuf_kernel_running();
	cleanup_free char *buf = malloc(MAX_TEXT + 1);
	int fd = buf ? k_open(k, path, O_RDONLY | O_CLOEXEC) : -ENOMEM;
	size_t used = 0;
	ssize_t n = 1;

	if (fd < 0)
		return fd;
	while (n > 0 && used <= MAX_TEXT) {
		n = k_pread(k, fd, buf + used, MAX_TEXT + 1 - used, used);
		if (n == -EINTR)
			n = 1;
		else if (n > 0)
			used += (size_t)n;
	}
	k_close(k, fd);
	if (n < 0)
		return (int)n;
	if (used > MAX_TEXT)
		return -EFBIG;
	*text = buf;
	*length = used;
	buf = NULL;
	return 0;
}

int pfnbuf_profile_load(const char *name_or_path, struct pfnbuf_profile **profilep,
			struct pfnbuf_text_error *error)
{
	struct pfnbuf_text_error own = { 0 };
	cleanup_free char *path = NULL, *text = NULL;
	size_t length = 0;
	int r;

	r = strchr(name_or_path, '/')
		    ? asprintf(&path, "%s", name_or_path)
		    : asprintf(&path, "%s/%s.profile", PFNBUF_PROFILE_DIR, name_or_path);
	if (r < 0) {
		path = NULL;
		return pfnbuf_failed(-ENOMEM, "pfnbuf_profile_load", name_or_path, NULL);
	}
	r = read_file(path, &text, &length);
	if (r == -ENOENT)
		return pfnbuf_refused(r, "pfnbuf_profile_load", name_or_path, NULL,
				      "name a profile that is installed, or a file by a path with "
				      "a slash in it",
				      "there is no %s", path);
	if (r == -EFBIG)
		return pfnbuf_refused(r, "pfnbuf_profile_load", path, NULL, "",
				      "no profile is as long as 64 KiB");
	if (r < 0)
		return pfnbuf_failed(r, "pfnbuf_profile_load", path, NULL);
	r = parse(text, length, profilep, &own);
	return r == -EINVAL ? refuse_text("pfnbuf_profile_load", path, &own, error) : r;
}

/* ---------------------------------------------------------------- its life ------------------ */

struct pfnbuf_profile *pfnbuf_profile_ref(struct pfnbuf_profile *profile)
{
	atomic_fetch_add(&profile->refs, 1);
	return profile;
}

struct pfnbuf_profile *pfnbuf_profile_unref(struct pfnbuf_profile *profile)
{
	if (profile && atomic_fetch_sub(&profile->refs, 1) == 1)
		free(profile);
	return NULL;
}

const char *pfnbuf_profile_get_name(const struct pfnbuf_profile *profile)
{
	return profile->data.name;
}

void pfnbuf_profile_get_info(const struct pfnbuf_profile *profile, struct pfnbuf_profile_info *info)
{
	const struct pfnbuf_profile_data *data = &profile->data;

	*info = (struct pfnbuf_profile_info){
		.name = data->name,
		.about = data->about,
		.needs = data->needs,
		.bind = bind_words[data->bind],
		.private_mmio = private_words[data->private_mmio],
		.can_bind = data->bind != PFNBUF_TSM_NONE,
		.has_private_mmio = data->private_mmio != PFNBUF_MMIO_NONE,
		.has_gmem_attributes = data->gmem_request != 0,
	};
}

const struct pfnbuf_profile_data *pfnbuf_profile_data(const struct pfnbuf_profile *profile)
{
	return &profile->data;
}

bool pfnbuf_profile_gmem_attributes(const struct pfnbuf_profile *profile, unsigned long *request)
{
	if (!profile || !profile->data.gmem_request)
		return false;
	*request = (unsigned long)profile->data.gmem_request;
	return true;
}

/* ---------------------------------------------------------------- printing ------------------ */

static bool is_said(const struct key *key, struct pfnbuf_profile_data *data)
{
	if (!belongs(key, data))
		return false;
	if (key->kind == PROSE)
		return *text_of(data, key) != '\0';
	return !key->optional || data->gmem_request;
}

static int print_key(char *buf, size_t size, const struct key *key,
		     struct pfnbuf_profile_data *data)
{
	switch (key->kind) {
	case WORD:
		return snprintf(buf, size, "%s = %s\n", key->name,
				key->words[*number_of(data, key)]);
	case NUMBER:
		return snprintf(buf, size, "%s = 0x%" PRIx64 "\n", key->name,
				*number_of(data, key));
	default:
		return snprintf(buf, size, "%s = %s\n", key->name, text_of(data, key));
	}
}

size_t pfnbuf_profile_print(const struct pfnbuf_profile *profile, char *buf, size_t size)
{
	struct pfnbuf_profile_data data = profile->data;
	size_t length = 0;

	if (size)
		*buf = '\0';
	for (size_t i = 0; i < NR_KEYS; i++) {
		const size_t room = length < size ? size - length : 0;
		int n = is_said(&keys[i], &data)
				? print_key(room ? buf + length : NULL, room, &keys[i], &data)
				: 0;

		length += n > 0 ? (size_t)n : 0;
	}
	return length;
}
