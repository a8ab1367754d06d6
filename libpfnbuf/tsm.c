/* SPDX-License-Identifier: MIT */
/*
 * The platform's security manager (TSM) as sysfs shows it of a PCI device: drivers/pci/tsm.c.
 */
#include <fcntl.h>
#include <stdio.h>

#include "private.h"

#define CONNECT	   "write of tsm/connect"
#define DISCONNECT "write of tsm/disconnect"
#define READ	   "read of the TSM's state"

/* "tsm" and a number, which is all that the kernel reads of the name. */
static bool is_tsm_name(const char *name)
{
	const size_t n = strlen(name);

	return n > 3 && n < sizeof(((struct pfnbuf_tsm_info *)NULL)->connected) &&
	       !strncmp(name, "tsm", 3) && strspn(name + 3, "0123456789") == n - 3;
}

static int open_attribute(const struct pfnbuf_device *device, const char *attribute, int flags)
{
	const char *bdf = pfnbuf_device_bdf(device);
	struct pfnbuf_ctx *ctx = pfnbuf_device_ctx(device);
	char path[512];

	if (!*bdf)
		return -ENOENT;
	snprintf(path, sizeof(path), "%.256s/bus/pci/devices/%s/%s", pfnbuf_ctx_sysfs(ctx), bdf,
		 attribute);
	return k_open(pfnbuf_ctx_get_kernel(ctx), path, flags | O_CLOEXEC);
}

static int no_tsm(const struct pfnbuf_device *device, const char *call)
{
	return pfnbuf_refused(-EOPNOTSUPP, call, pfnbuf_device_name(device), NULL,
			      "it takes a TSM driver (see /sys/class/tsm) and function 0 of a "
			      "device with TDISP or IDE",
			      "no TSM manages the device: sysfs has no tsm/connect for it");
}

/* For writing; returns the fd. */
static int open_for(const struct pfnbuf_device *device, const char *call, const char *attribute)
{
	const int fd = open_attribute(device, attribute, O_WRONLY);

	if (fd == -ENOENT)
		return no_tsm(device, call);
	return fd < 0 ? pfnbuf_failed(fd, call, pfnbuf_device_name(device), NULL) : fd;
}

static int write_name(const struct pfnbuf_device *device, const char *call, int fd,
		      const char *name)
{
	const struct pfnbuf_kernel *k = pfnbuf_ctx_get_kernel(pfnbuf_device_ctx(device));
	const ssize_t n = k_write(k, fd, name, strlen(name));

	return n < 0 ? pfnbuf_failed((int)n, call, pfnbuf_device_name(device), NULL) : 0;
}

static void close_attribute(const struct pfnbuf_device *device, int fd)
{
	pfnbuf_ctx_close_fd(pfnbuf_device_ctx(device), fd, pfnbuf_device_name(device));
}

/* One line; "" where there is no such file. */
static int read_attribute(const struct pfnbuf_device *device, const char *attribute, char *out,
			  size_t size, bool *present)
{
	struct pfnbuf_ctx *ctx = pfnbuf_device_ctx(device);
	const int fd = open_attribute(device, attribute, O_RDONLY);
	char text[64];
	ssize_t n;

	*out = '\0';
	*present = fd != -ENOENT;
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return pfnbuf_failed(fd, READ, pfnbuf_device_name(device), NULL);
	n = k_read(pfnbuf_ctx_get_kernel(ctx), fd, text, sizeof(text) - 1);
	close_attribute(device, fd);
	if (n < 0)
		return pfnbuf_failed((int)n, READ, pfnbuf_device_name(device), NULL);
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	pfnbuf_copy_text(out, size, text);
	return 0;
}

int pfnbuf_tsm_connect(struct pfnbuf_device *device, const char *tsm)
{
	int fd, r;

	if (!is_tsm_name(tsm))
		return pfnbuf_refused(-EINVAL, CONNECT, pfnbuf_device_name(device), NULL,
				      "name it as /sys/class/tsm does: tsm0",
				      "\"%.32s\" is not the name of a TSM", tsm);
	fd = open_for(device, CONNECT, "tsm/connect");
	if (fd < 0)
		return fd;
	r = write_name(device, CONNECT, fd, tsm);
	close_attribute(device, fd);
	return r;
}

/* Whether the session of the device that is @data is this one's, too: 1, 0, or a negative errno. */
static int has_session_of(const struct pfnbuf_device *device, const void *data)
{
	const struct pfnbuf_device *dsm = data;
	char bdf[sizeof(((struct pfnbuf_tsm_info *)NULL)->dsm)];
	bool present;
	int r;

	if (device == dsm)
		return 1;
	r = read_attribute(device, "tsm/dsm", bdf, sizeof(bdf), &present);
	return r < 0 ? r : !strcmp(bdf, pfnbuf_device_bdf(dsm));
}

/*
 * The kernel would unbind the device, and the functions beside it, under the private mappings that
 * their guests still have (drivers/pci/tsm.c:pci_tsm_unbind_all).
 */
static int disconnect(struct pfnbuf_device *device, const char *tsm)
{
	cleanup_reached struct pfnbuf_reached reached = { .nr = 0 };
	const int fd = open_for(device, DISCONNECT, "tsm/disconnect");
	int r;

	if (fd < 0)
		return fd;
	r = pfnbuf_device_find_reached(pfnbuf_device_ctx(device), has_session_of, device, &reached);
	if (r == -ENOSPC)
		pfnbuf_failed(r, DISCONNECT, pfnbuf_device_name(device), NULL);
	if (r >= 0)
		r = pfnbuf_device_unbind_reached(&reached, DISCONNECT, PFNBUF_CAUSE_DISCONNECT);
	if (r >= 0)
		r = write_name(device, DISCONNECT, fd, tsm);
	close_attribute(device, fd);
	return r;
}

/* What the kernel would refuse is refused before anything is unbound. */
int pfnbuf_tsm_disconnect(struct pfnbuf_device *device, const char *tsm)
{
	char connected[sizeof(((struct pfnbuf_tsm_info *)NULL)->connected)];
	const char *name = pfnbuf_device_name(device);
	bool present;
	int r;

	if (tsm && !is_tsm_name(tsm))
		return pfnbuf_refused(-EINVAL, DISCONNECT, name, NULL, "",
				      "\"%.32s\" is not the name of a TSM", tsm);
	r = read_attribute(device, "tsm/connect", connected, sizeof(connected), &present);
	if (r < 0)
		return r;
	if (!present)
		return no_tsm(device, DISCONNECT);
	if (!*connected)
		return pfnbuf_failed(-ENXIO, DISCONNECT, name, NULL);
	if (tsm && strcmp(tsm, connected) != 0)
		return pfnbuf_refused(-EINVAL, DISCONNECT, name, NULL, "name that one, or none",
				      "%s has the session, not %s", connected, tsm);
	return disconnect(device, connected);
}

int pfnbuf_tsm_get_info(struct pfnbuf_device *device, struct pfnbuf_tsm_info *out)
{
	struct pfnbuf_tsm_info info = { .present = false };
	bool present[4];
	int r = read_attribute(device, "tsm/connect", info.connected, sizeof(info.connected),
			       &present[0]);

	if (r >= 0)
		r = read_attribute(device, "tsm/bound", info.bound, sizeof(info.bound),
				   &present[1]);
	if (r >= 0)
		r = read_attribute(device, "tsm/dsm", info.dsm, sizeof(info.dsm), &present[2]);
	if (r >= 0)
		r = read_attribute(device, "authenticated", info.authenticated,
				   sizeof(info.authenticated), &present[3]);
	if (r < 0)
		return r;
	info.present = present[0] || present[1] || present[2] || present[3];
	*out = info;
	return 0;
}
