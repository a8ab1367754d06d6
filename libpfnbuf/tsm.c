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

static int write_attribute(struct pfnbuf_device *device, const char *call, const char *attribute,
			   const char *name)
{
	struct pfnbuf_ctx *ctx = pfnbuf_device_ctx(device);
	const int fd = open_attribute(device, attribute, O_WRONLY);
	ssize_t n;

	if (fd == -ENOENT)
		return no_tsm(device, call);
	if (fd < 0)
		return pfnbuf_failed(fd, call, pfnbuf_device_name(device), NULL);
	n = k_write(pfnbuf_ctx_get_kernel(ctx), fd, name, strlen(name));
	pfnbuf_ctx_close_fd(ctx, fd, pfnbuf_device_name(device));
	if (n < 0)
		return pfnbuf_failed((int)n, call, pfnbuf_device_name(device), NULL);
	return 0;
}

/* One line; "" where there is no such file. */
static int read_attribute(struct pfnbuf_device *device, const char *attribute, char *out,
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
	pfnbuf_ctx_close_fd(ctx, fd, pfnbuf_device_name(device));
	if (n < 0)
		return pfnbuf_failed((int)n, READ, pfnbuf_device_name(device), NULL);
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	pfnbuf_copy_text(out, size, text);
	return 0;
}

int pfnbuf_tsm_connect(struct pfnbuf_device *device, const char *tsm)
{
	if (!is_tsm_name(tsm))
		return pfnbuf_refused(-EINVAL, CONNECT, pfnbuf_device_name(device), NULL,
				      "name it as /sys/class/tsm does: tsm0",
				      "\"%.32s\" is not the name of a TSM", tsm);
	return write_attribute(device, CONNECT, "tsm/connect", tsm);
}

/* The kernel would unbind the device under the private mappings that the guest still has. */
static int disconnect(struct pfnbuf_device *device, const char *tsm)
{
	int r;

	pfnbuf_device_hold(device);
	r = pfnbuf_device_unbind_first(device, DISCONNECT, PFNBUF_CAUSE_DISCONNECT);
	if (r >= 0)
		r = write_attribute(device, DISCONNECT, "tsm/disconnect", tsm);
	pfnbuf_device_let_go(device);
	return r;
}

int pfnbuf_tsm_disconnect(struct pfnbuf_device *device, const char *tsm)
{
	struct pfnbuf_tsm_info info;
	int r;

	if (tsm && !is_tsm_name(tsm))
		return pfnbuf_refused(-EINVAL, DISCONNECT, pfnbuf_device_name(device), NULL, "",
				      "\"%.32s\" is not the name of a TSM", tsm);
	if (tsm)
		return disconnect(device, tsm);
	r = pfnbuf_tsm_get_info(device, &info);
	if (r < 0)
		return r;
	if (!info.present)
		return no_tsm(device, DISCONNECT);
	if (!*info.connected)
		return pfnbuf_failed(-ENXIO, DISCONNECT, pfnbuf_device_name(device), NULL);
	return disconnect(device, info.connected);
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
