/* SPDX-License-Identifier: MIT */
/* pfnbuf-sim-run: run a program with a simulated machine in front of it. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine.h"

#define PRELOAD "libpfnbuf-sim-preload.so"

enum { EXIT_USAGE = 125, EXIT_NOT_RUN = 126, EXIT_NOT_FOUND = 127 };

struct description {
	char *text;
	size_t size;
	bool has_device;
};

static void usage(FILE *to)
{
	fputs("usage: pfnbuf-sim-run [OPTION...] [--] PROGRAM [ARGUMENT...]\n"
	      "\n"
	      "Run a dynamically linked program on a simulated /dev/iommu, /dev/vfio/devices/*,\n"
	      "/dev/kvm and the sysfs of these.\n"
	      "\n"
	      "  -p, --profile PROFILE  the kernel to be like: mainline-7.3 (default),\n"
	      "                         linux-7.3.4, proposed, tdx-rfc2, iommufd-tsm5, cca7\n"
	      "                         or gmem-inplace8\n"
	      "  -d, --device SPEC      put in a PCI device, such as 0000:01:00.0,bar0=16K,flr;\n"
	      "                         may be repeated; by default there is one\n"
	      "  -s, --selftest         a kernel with CONFIG_IOMMUFD_TEST\n"
	      "  -H, --hugepages        huge pages that are ordinary memory of that alignment\n"
	      "  -h, --help             this\n"
	      "  -V, --version          the version\n",
	      to);
}

__attribute__((format(printf, 2, 3), noreturn)) static void fatal(int status, const char *format,
								  ...)
{
	va_list args;

	fputs("pfnbuf-sim-run: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(status);
}

static void describe(struct description *d, const char *what, const char *value)
{
	size_t more = strlen(what) + strlen(value) + 3;
	char *text = realloc(d->text, d->size + more);

	if (strchr(value, '\n'))
		fatal(EXIT_USAGE, "--%s: no line may end in it", what);
	if (!text)
		fatal(EXIT_NOT_RUN, "out of memory");
	d->text = text;
	d->size +=
		(size_t)snprintf(text + d->size, more, *value ? "%s %s\n" : "%s%s\n", what, value);
}

static void read_options(int argc, char **argv, struct description *d)
{
	static const struct option options[] = {
		{ "profile", required_argument, NULL, 'p' },
		{ "device", required_argument, NULL, 'd' },
		{ "selftest", no_argument, NULL, 's' },
		{ "hugepages", no_argument, NULL, 'H' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "+p:d:sHhV", options, NULL)) != -1) {
		switch (c) {
		case 'p':
			describe(d, "profile", optarg);
			break;
		case 'd':
			if (!*optarg)
				fatal(EXIT_USAGE, "--device is empty; example: --device "
						  "0000:01:00.0,bar0=16K,flr");
			describe(d, "device", optarg);
			d->has_device = true;
			break;
		case 's':
			describe(d, "selftest", "");
			break;
		case 'H':
			describe(d, "hugepages", "");
			break;
		case 'h':
			usage(stdout);
			exit(0);
		case 'V':
			puts("pfnbuf-sim-run " VERSION);
			exit(0);
		default:
			fputs("Try 'pfnbuf-sim-run --help'.\n", stderr);
			exit(EXIT_USAGE);
		}
	}
	if (optind == argc)
		fatal(EXIT_USAGE, "which PROGRAM? Try 'pfnbuf-sim-run --help'.");
	if (!d->has_device)
		describe(d, "device", MACHINE_DEFAULT_DEVICE);
}

/* What is wrong with it is said here, once, rather than by every process of the program. */
static void check_description(const struct description *d)
{
	struct pfnbuf_sim *sim;
	char why[512];

	if (machine_new(&sim, d->text, why, sizeof(why)))
		fatal(EXIT_USAGE, "%s", why);
	pfnbuf_sim_free(sim);
}

/* Beside this program in a build folder, else where it is installed. */
static void find_preload(char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - sizeof(PRELOAD) - 1);

	if (n > 0) {
		path[n] = 0;
		strcpy(strrchr(path, '/') + 1, PRELOAD);
		if (!access(path, R_OK))
			return;
	}
	snprintf(path, size, "%s", PRELOAD_DIR "/" PRELOAD);
	if (access(path, R_OK))
		fatal(EXIT_NOT_RUN, "%s: %s", path, strerror(errno));
}

/* As execvp(3) looks for it. False where it is not found, which execvp is left to say. */
static bool find_program(const char *name, char *path, size_t size)
{
	const char *dir = getenv("PATH");

	if (strchr(name, '/'))
		return snprintf(path, size, "%s", name) < (int)size;
	for (const char *end; dir; dir = *end ? end + 1 : NULL) {
		end = strchrnul(dir, ':');
		snprintf(path, size, "%.*s%s%s", (int)(end - dir), dir, end > dir ? "/" : "", name);
		if (!access(path, X_OK))
			return true;
	}
	return false;
}

/* The loader ignores LD_PRELOAD without a word in these cases: say so. */
static void check_program(const char *name)
{
	char path[4096];
	struct stat st;
	Elf64_Ehdr head;
	bool interpreted = false;
	int fd;

	if (!find_program(name, path, sizeof(path)))
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (!fstat(fd, &st) && st.st_mode & (S_ISUID | S_ISGID) && geteuid() != 0)
		fatal(EXIT_NOT_RUN, "%s is setuid or setgid: its loader lets nothing be put in",
		      path);
	if (pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	    !memcmp(head.e_ident, ELFMAG, SELFMAG)) {
		if (head.e_ident[EI_CLASS] != ELFCLASS64)
			fatal(EXIT_NOT_RUN, "%s is not a 64-bit program", path);
		for (unsigned i = 0; i < head.e_phnum && !interpreted; i++) {
			Elf64_Phdr phdr;

			if (pread(fd, &phdr, sizeof(phdr),
				  (off_t)(head.e_phoff + (uint64_t)i * head.e_phentsize)) !=
			    (ssize_t)sizeof(phdr))
				break;
			interpreted = phdr.p_type == PT_INTERP;
		}
		if (!interpreted)
			fatal(EXIT_NOT_RUN,
			      "%s is statically linked: its calls cannot be answered; link it "
			      "dynamically",
			      path);
	}
	close(fd);
}

/* Put @first before what the variable holds. */
static void prefix_variable(const char *name, const char *first)
{
	const char *others = getenv(name);
	char *value;

	if (asprintf(&value, "%s%s%s", first, others && *others ? ":" : "", others ? others : "") <
		    0 ||
	    setenv(name, value, 1))
		fatal(EXIT_NOT_RUN, "out of memory");
	free(value);
}

static void set_environment(const struct description *d)
{
	char path[4096];

	find_preload(path, sizeof(path));
	/* First in line, so that what else is preloaded calls it, not past it. */
	prefix_variable("LD_PRELOAD", path);
	/* A program with AddressSanitizer insists on being first itself, without need here. */
	prefix_variable("ASAN_OPTIONS", "verify_asan_link_order=0");
	if (setenv(MACHINE_VARIABLE, d->text, 1))
		fatal(EXIT_NOT_RUN, "out of memory");
}

int main(int argc, char **argv)
{
	struct description d = { NULL, 0, false };
	int error;

	read_options(argc, argv, &d);
	check_description(&d);
	check_program(argv[optind]);
	set_environment(&d);
	execvp(argv[optind], argv + optind);
	error = errno;
	fatal(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN, "%s: %s", argv[optind],
	      strerror(error));
}
