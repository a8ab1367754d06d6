/* SPDX-License-Identifier: MIT */
/* pfnbufctl tdi: look at TDISP reports and turn them from one form into another. No kernel. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "report.h"
#include "run.h"

static const char help[] =
	"usage: pfnbufctl tdi show FILE [--json] [--strict]     what a report says, in words or JSON\n"
	"       pfnbufctl tdi encode FILE [-o OUT] [--hex]      JSON or hex digits to bytes\n"
	"       pfnbufctl tdi decode FILE [-o OUT] [--strict]   bytes or hex digits to JSON\n"
	"\n"
	"FILE is a TDISP DEVICE_INTERFACE_REPORT: its bytes, hex digits, or the JSON that spdm-emu's\n"
	"sample device reads; - is standard input. --strict refuses reserved bits, ranges out of order,\n"
	"a missing trailer and trailing bytes.\n";

struct request {
	const char *file;
	const char *out;
	uint32_t flags;
	bool json;
	bool indent;
	bool hex;
};

static int write_bytes(const struct request *request, const uint8_t *bytes, size_t n)
{
	struct text hex = { .bytes = NULL };
	int err;

	if (!request->hex && !request->out && isatty(STDOUT_FILENO)) {
		complain("encode: bytes are not for a terminal; use -o FILE or --hex");
		return -1;
	}
	if (!request->hex)
		return file_write(request->out, (const char *)bytes, n);
	for (size_t i = 0; i < n; i++)
		text_add(&hex, "%02x%s", bytes[i], i % 32 == 31 && i + 1 < n ? "\n" : "");
	text_add(&hex, "\n");
	err = file_write(request->out, text_get(&hex), hex.length);
	text_clear(&hex);
	return err;
}

static int encode(const struct request *request, const struct pfnbuf_tdi_report *report)
{
	size_t size = pfnbuf_tdi_report_get_size(report), len;
	uint8_t *bytes = malloc(size);
	int err = -1;

	if (!bytes)
		complain("out of memory");
	else if (!pfnbuf_tdi_report_encode(report, bytes, size, &len))
		err = write_bytes(request, bytes, len);
	free(bytes);
	return err;
}

/* One line of JSON from an indented one; no string in it holds a newline. */
static void join_lines(char *json)
{
	char *to = json;

	while (*json) {
		if (*json != '\n') {
			*to++ = *json++;
			continue;
		}
		json += 1 + strspn(json + 1, " ");
		if (!*json)
			*to++ = '\n';
	}
	*to = '\0';
}

static int print(const struct request *request, const struct pfnbuf_tdi_report *report)
{
	char *text = request->json ? PRINTED(pfnbuf_tdi_report_print_json, report)
				   : PRINTED(pfnbuf_tdi_report_print, report);
	int err = -1;

	if (text && request->json && !request->indent)
		join_lines(text);
	if (!text)
		complain("out of memory");
	else
		err = file_write(request->out, text, strlen(text));
	free(text);
	return err;
}

static int usage(const char *why)
{
	if (why)
		complain("%s", why);
	fputs(help, why ? stderr : stdout);
	return why ? EXIT_USAGE : EXIT_DONE;
}

/* Returns -1 to go on, or the exit code. */
static int take_options(struct request *request, int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },	    { "strict", no_argument, NULL, 's' },
		{ "output", required_argument, NULL, 'o' }, { "hex", no_argument, NULL, 'x' },
		{ "help", no_argument, NULL, 'h' },	    { NULL, 0, NULL, 0 },
	};
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "jo:xh", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			request->json = true;
			break;
		case 's':
			request->flags |= PFNBUF_TDI_STRICT;
			break;
		case 'o':
			request->out = optarg;
			break;
		case 'x':
			request->hex = true;
			break;
		case 'h':
			return usage(NULL);
		default:
			return usage("see the usage");
		}
	}
	if (optind + 1 != argc)
		return usage("which report? Name one FILE");
	request->file = argv[optind];
	return -1;
}

int cmd_tdi(int argc, char **argv, bool json)
{
	static const struct {
		const char *name;
		int (*act)(const struct request *, const struct pfnbuf_tdi_report *);
		bool decode;
	} actions[] = { { "show", print, false },
			{ "encode", encode, false },
			{ "decode", print, true } };
	struct request request = { .json = json };
	struct pfnbuf_tdi_report *report;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help")))
		return usage(NULL);
	for (size_t i = 0; argc > 1 && i < sizeof(actions) / sizeof(*actions); i++) {
		int code;

		if (strcmp(argv[1], actions[i].name))
			continue;
		code = take_options(&request, argc - 1, argv + 1);
		if (code >= 0)
			return code;
		request.indent = actions[i].decode;
		request.json = request.json || actions[i].decode;
		if (report_read(request.file, request.flags, &report))
			return EXIT_FAILED;
		code = actions[i].act(&request, report) ? EXIT_FAILED : EXIT_DONE;
		pfnbuf_tdi_report_free(report);
		return code;
	}
	return usage("tdi: show, encode or decode?");
}
