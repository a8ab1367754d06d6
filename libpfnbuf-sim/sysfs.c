/* SPDX-License-Identifier: MIT */
/* What sysfs, /dev/vfio and /proc say of the simulated machine. */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "sim.h"

#define TEXT_MAX 8192

enum node_kind {
	NOTHING,
	DIRECTORY, /* text: the names in it, each ended by a NUL */
	ATTRIBUTE, /* text: what reading it gives */
	LINK,	   /* text: where it points */
};

struct node {
	enum node_kind kind;
	size_t size;
	bool full;
	struct sim_vdev *vdev; /* a file of the TSM, which may be one to write to */
	enum sim_tsm_attr attr;
	char text[TEXT_MAX];
};

static void put(struct node *node, const char *text, size_t size)
{
	if (size > sizeof(node->text) - node->size) {
		node->full = true;
		return;
	}
	memcpy(node->text + node->size, text, size);
	node->size += size;
}

__attribute__((format(printf, 2, 3))) static void print(struct node *node, const char *format, ...)
{
	char line[256];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	put(node, line, (size_t)n);
}

/* A name in a directory. */
static void name(struct node *node, const char *text)
{
	node->kind = DIRECTORY;
	put(node, text, strlen(text) + 1);
}

static void names(struct node *node, const char *const *list)
{
	for (; *list; list++)
		name(node, *list);
}

/*
 * The rest of @path after @prefix and a slash; "" where nothing follows; NULL where it is another
 * path.
 */
static const char *below(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	if (strncmp(path, prefix, n))
		return NULL;
	path += n;
	if (!*path)
		return path;
	if (*path != '/')
		return NULL;
	while (*path == '/')
		path++;
	return path;
}

static bool has_driver(const struct sim_vdev *vdev)
{
	return !(vdev->flags & PFNBUF_SIM_NO_DRIVER);
}

static bool has_cdev(const struct sim_vdev *vdev)
{
	return has_driver(vdev) && !(vdev->flags & PFNBUF_SIM_NO_CDEV);
}

/* ------------------------------------------------------------------------ a device */

static void vfio_dev(const struct sim_vdev *vdev, const char *rest, struct node *node)
{
	if (!*rest) {
		names(node,
		      (const char *const[]){ "device", "power", "subsystem", "uevent", NULL });
		if (has_cdev(vdev))
			name(node, "dev");
	} else if (!strcmp(rest, "dev") && has_cdev(vdev)) {
		node->kind = ATTRIBUTE;
		print(node, "%u:%u\n", SIM_VFIO_MAJOR, vdev->index);
	} else if (!strcmp(rest, "device")) {
		node->kind = LINK;
		print(node, "../../../%s", vdev->bdf);
	} else if (!strcmp(rest, "subsystem")) {
		node->kind = LINK;
		print(node, "../../../../../class/vfio-dev");
	} else if (!strcmp(rest, "uevent")) {
		node->kind = ATTRIBUTE;
		if (has_cdev(vdev))
			print(node, "MAJOR=%u\nMINOR=%u\nDEVNAME=vfio/devices/vfio%u\n",
			      SIM_VFIO_MAJOR, vdev->index, vdev->index);
	}
}

static void resource(const struct sim_vdev *vdev, struct node *node)
{
	for (unsigned i = 0; i < 6; i++) {
		const struct sim_bar *bar = &vdev->bars[i];
		uint64_t flags = bar->flags & PFNBUF_SIM_BAR_IO ? 0x40101 : 0x40200;

		if (bar->flags & PFNBUF_SIM_BAR_PREFETCHABLE)
			flags |= 0x2008;
		if (bar->flags & PFNBUF_SIM_BAR_64)
			flags |= 0x100004;
		if (!bar->size)
			flags = 0;
		print(node, "0x%016llx 0x%016llx 0x%016llx\n", (unsigned long long)bar->start,
		      (unsigned long long)(bar->size ? bar->start + bar->size - 1 : 0),
		      (unsigned long long)flags);
	}
	print(node, "0x%016x 0x%016x 0x%016x\n", 0, 0, 0);
}

static unsigned config16(const struct sim_vdev *vdev, unsigned at)
{
	return vdev->config[at] | (unsigned)vdev->config[at + 1] << 8;
}

static void pci_attribute(const struct sim_vdev *vdev, const char *rest, struct node *node)
{
	node->kind = ATTRIBUTE;
	if (!strcmp(rest, "vendor"))
		print(node, "0x%04x\n", config16(vdev, PCI_VENDOR_ID));
	else if (!strcmp(rest, "device"))
		print(node, "0x%04x\n", config16(vdev, PCI_DEVICE_ID));
	else if (!strcmp(rest, "subsystem_vendor"))
		print(node, "0x%04x\n", config16(vdev, PCI_SUBSYSTEM_VENDOR_ID));
	else if (!strcmp(rest, "subsystem_device"))
		print(node, "0x%04x\n", config16(vdev, PCI_SUBSYSTEM_ID));
	else if (!strcmp(rest, "class"))
		print(node, "0x%04x%02x\n", config16(vdev, PCI_CLASS_DEVICE),
		      vdev->config[PCI_CLASS_PROG]);
	else if (!strcmp(rest, "revision"))
		print(node, "0x%02x\n", vdev->config[PCI_REVISION_ID]);
	else if (!strcmp(rest, "resource"))
		resource(vdev, node);
	else if (!strcmp(rest, "enable"))
		print(node, "%d\n", vdev->bound_by != NULL);
	else if (!strcmp(rest, "irq"))
		print(node, "0\n");
	else if (!strcmp(rest, "numa_node"))
		print(node, "-1\n");
	else if (!strcmp(rest, "driver_override"))
		print(node, "(null)\n");
	else if (!strcmp(rest, "config"))
		put(node, (const char *)vdev->config, vdev->config_size);
	else
		node->kind = NOTHING;
}

/* The file of the TSM that @rest names below the device's folder; SIM_TSM_NR_FILES: none. */
static enum sim_tsm_attr tsm_attr(const char *rest)
{
	const char *sub = below(rest, "tsm");
	enum sim_tsm_attr attr = SIM_TSM_CONNECT;

	if (!strcmp(rest, sim_tsm_name(SIM_TSM_AUTHENTICATED)))
		return SIM_TSM_AUTHENTICATED;
	while (attr < SIM_TSM_NR_ATTRS && (!sub || strcmp(sub, sim_tsm_name(attr))))
		attr++;
	return attr < SIM_TSM_NR_ATTRS ? attr : SIM_TSM_NR_FILES;
}

static void tsm_dir(const struct sim_vdev *vdev, struct node *node)
{
	for (enum sim_tsm_attr attr = 0; attr < SIM_TSM_NR_ATTRS; attr++)
		if (sim_tsm_has(vdev, attr))
			name(node, sim_tsm_name(attr));
}

static void tsm_file(struct sim_vdev *vdev, enum sim_tsm_attr attr, struct node *node)
{
	if (!sim_tsm_has(vdev, attr))
		return;
	node->kind = ATTRIBUTE;
	node->vdev = vdev;
	node->attr = attr;
	print(node, "%s\n", sim_tsm_show(vdev, attr));
}

static void pci_device(struct sim_vdev *vdev, const char *rest, struct node *node)
{
	enum sim_tsm_attr attr = tsm_attr(rest);
	char own[32];
	const char *sub;

	snprintf(own, sizeof(own), "vfio-dev/vfio%u", vdev->index);
	sub = below(rest, own);
	if (!*rest) {
		names(node, (const char *const[]){ "class", "config", "device", "driver_override",
						   "enable", "irq", "numa_node", "resource",
						   "revision", "subsystem", "subsystem_device",
						   "subsystem_vendor", "vendor", NULL });
		if (!(vdev->flags & PFNBUF_SIM_NO_GROUP))
			name(node, "iommu_group");
		if (vdev->flags & PFNBUF_SIM_VF)
			name(node, "physfn");
		if (has_driver(vdev))
			names(node, (const char *const[]){ "driver", "vfio-dev", NULL });
		if (sim_tsm_has(vdev, SIM_TSM_DSM))
			names(node, (const char *const[]){ "tsm", "authenticated", NULL });
	} else if (!strcmp(rest, "tsm")) {
		tsm_dir(vdev, node);
	} else if (attr != SIM_TSM_NR_FILES) {
		tsm_file(vdev, attr, node);
	} else if (has_driver(vdev) && !strcmp(rest, "vfio-dev")) {
		name(node, own + strlen("vfio-dev/"));
	} else if (has_driver(vdev) && sub) {
		vfio_dev(vdev, sub, node);
	} else if (has_driver(vdev) && !strcmp(rest, "driver")) {
		node->kind = LINK;
		print(node, "../../../bus/pci/drivers/vfio-pci");
	} else if (!(vdev->flags & PFNBUF_SIM_NO_GROUP) && !strcmp(rest, "iommu_group")) {
		node->kind = LINK;
		print(node, "../../../kernel/iommu_groups/%u", vdev->group);
	} else if (vdev->flags & PFNBUF_SIM_VF && !strcmp(rest, "physfn")) {
		node->kind = LINK;
		print(node, "../%04x:%02x:00.0", vdev->segment, vdev->bus);
	} else if (!strcmp(rest, "subsystem")) {
		node->kind = LINK;
		print(node, "../../../bus/pci");
	} else {
		pci_attribute(vdev, rest, node);
	}
}

static void link_to(const struct sim_vdev *vdev, const char *up, const char *more,
		    struct node *node)
{
	node->kind = LINK;
	print(node, "%sdevices/pci%04x:%02x/%s%s", up, vdev->segment, vdev->bus, vdev->bdf, more);
}

/* --------------------------------------------------------------------- directories */

typedef bool filter_fn(const struct sim_vdev *vdev);

static bool any(const struct sim_vdev *vdev)
{
	(void)vdev;
	return true;
}

static void list_devices(struct pfnbuf_sim *sim, filter_fn *filter, struct node *node)
{
	node->kind = DIRECTORY;
	for (const struct sim_vdev *vdev = sim->vdevs; vdev; vdev = vdev->next)
		if (filter(vdev))
			name(node, vdev->bdf);
}

/* The device whose address @path starts with; *rest is what follows. */
static struct sim_vdev *first_bdf(struct pfnbuf_sim *sim, const char *path, const char **rest)
{
	for (struct sim_vdev *vdev = sim->vdevs; vdev; vdev = vdev->next) {
		*rest = below(path, vdev->bdf);
		if (*rest)
			return vdev;
	}
	return NULL;
}

static void bus_devices(struct pfnbuf_sim *sim, const char *path, filter_fn *filter, const char *up,
			struct node *node)
{
	const char *rest;
	struct sim_vdev *vdev = first_bdf(sim, path, &rest);

	if (!*path)
		list_devices(sim, filter, node);
	else if (vdev && filter(vdev) && !*rest)
		link_to(vdev, up, "", node);
	else if (vdev && filter(vdev))
		pci_device(vdev, rest, node);
}

static void vfio_class(struct pfnbuf_sim *sim, const char *path, struct node *node)
{
	char own[32];

	if (!*path)
		node->kind = DIRECTORY;
	for (struct sim_vdev *vdev = sim->vdevs; vdev; vdev = vdev->next) {
		const char *rest;

		if (!has_driver(vdev))
			continue;
		snprintf(own, sizeof(own), "/vfio-dev/vfio%u", vdev->index);
		rest = below(path, own + strlen("/vfio-dev/"));
		if (!*path)
			name(node, own + strlen("/vfio-dev/"));
		else if (rest && !*rest)
			link_to(vdev, "../../", own, node);
		else if (rest)
			vfio_dev(vdev, rest, node);
	}
}

static void iommu_groups(struct pfnbuf_sim *sim, const char *path, struct node *node)
{
	char own[32];

	if (!*path)
		node->kind = DIRECTORY;
	for (struct sim_vdev *vdev = sim->vdevs; vdev; vdev = vdev->next) {
		const char *rest;

		if (vdev->flags & PFNBUF_SIM_NO_GROUP)
			continue;
		snprintf(own, sizeof(own), "%u", vdev->group);
		rest = below(path, own);
		if (!*path)
			name(node, own);
		else if (rest && !*rest)
			names(node, (const char *const[]){ "devices", "name", "reserved_regions",
							   "type", NULL });
		else if (rest && !strcmp(rest, "devices"))
			name(node, vdev->bdf);
		else if (rest && !strncmp(rest, "devices/", 8) && !strcmp(rest + 8, vdev->bdf))
			link_to(vdev, "../../../../", "", node);
	}
}

static void char_device(struct pfnbuf_sim *sim, const char *path, struct node *node)
{
	char own[64];

	for (struct sim_vdev *vdev = sim->vdevs; vdev; vdev = vdev->next) {
		const char *rest;

		snprintf(own, sizeof(own), "%u:%u", SIM_VFIO_MAJOR, vdev->index);
		rest = below(path, own);
		if (!rest || !has_cdev(vdev))
			continue;
		snprintf(own, sizeof(own), "/vfio-dev/vfio%u", vdev->index);
		if (*rest)
			vfio_dev(vdev, rest, node);
		else
			link_to(vdev, "../../", own, node);
	}
}

/* /sys/devices/pciSSSS:BB/BDF. */
static void root_bus(struct pfnbuf_sim *sim, const char *path, struct node *node)
{
	const char *slash = strchr(path, '/');
	const char *rest;
	struct sim_vdev *vdev = slash ? first_bdf(sim, slash + 1, &rest) : NULL;

	if (vdev)
		pci_device(vdev, rest, node);
}

static void dev_vfio(struct pfnbuf_sim *sim, const char *path, struct node *node)
{
	char own[32];

	if (!*path) {
		name(node, "devices");
		return;
	}
	if (strcmp(path, "devices"))
		return;
	node->kind = DIRECTORY;
	for (struct sim_vdev *vdev = sim->vdevs; vdev; vdev = vdev->next) {
		snprintf(own, sizeof(own), "vfio%u", vdev->index);
		if (has_cdev(vdev))
			name(node, own);
	}
}

/* The TSM that there is, as a class of devices and as a device. */
static void tsm_class(const struct pfnbuf_sim *sim, const char *path, bool as_class,
		      struct node *node)
{
	const char *rest = below(path, "tsm0");

	if (!sim->tsm)
		return;
	if (!*path) {
		name(node, "tsm0");
	} else if (rest && !*rest && as_class) {
		node->kind = LINK;
		print(node, "../../devices/virtual/tsm/tsm0");
	} else if (rest && !*rest) {
		names(node, (const char *const[]){ "power", "subsystem", "uevent", NULL });
	} else if (rest && !strcmp(rest, "subsystem")) {
		node->kind = LINK;
		print(node, "../../../../class/tsm");
	} else if (rest && !strcmp(rest, "uevent")) {
		node->kind = ATTRIBUTE;
	}
}

static void resolve(struct pfnbuf_sim *sim, const char *path, struct node *node)
{
	const char *rest;

	if ((rest = below(path, "/sys/bus/pci/devices")))
		bus_devices(sim, rest, any, "../../../", node);
	else if ((rest = below(path, "/sys/bus/pci/drivers/vfio-pci")))
		bus_devices(sim, rest, has_driver, "../../../../", node);
	else if ((rest = below(path, "/sys/class/vfio-dev")))
		vfio_class(sim, rest, node);
	else if ((rest = below(path, "/sys/kernel/iommu_groups")))
		iommu_groups(sim, rest, node);
	else if ((rest = below(path, "/sys/dev/char")))
		char_device(sim, rest, node);
	else if ((rest = below(path, "/sys/class/tsm")))
		tsm_class(sim, rest, true, node);
	else if ((rest = below(path, "/sys/devices/virtual/tsm")))
		tsm_class(sim, rest, false, node);
	else if ((rest = below(path, "/sys/devices")))
		root_bus(sim, rest, node);
	else if ((rest = below(path, "/dev/vfio")))
		dev_vfio(sim, rest, node);
	else if (!strcmp(path, "/sys/bus/pci"))
		names(node, (const char *const[]){ "devices", "drivers", NULL });
	else if (!strcmp(path, "/sys/bus/pci/drivers"))
		name(node, "vfio-pci");
}

static struct node *lookup(struct pfnbuf_sim *sim, const char *path)
{
	struct node *node = calloc(1, sizeof(*node));
	char *trimmed = strdup(path);
	size_t n;

	if (!node || !trimmed) {
		free(node);
		free(trimmed);
		return NULL;
	}
	n = strlen(trimmed);
	while (n > 1 && trimmed[n - 1] == '/')
		trimmed[--n] = 0;
	resolve(sim, trimmed, node);
	free(trimmed);
	return node;
}

bool sim_sysfs_owns(const char *path)
{
	static const char *const roots[] = {
		"/sys/bus/pci",	  "/sys/class/vfio-dev",      "/sys/kernel/iommu_groups",
		"/sys/class/tsm", "/sys/devices/virtual/tsm", "/dev/vfio"
	};
	char chars[32];

	for (size_t i = 0; i < ARRAY_SIZE(roots); i++)
		if (below(path, roots[i]))
			return true;
	snprintf(chars, sizeof(chars), "/sys/dev/char/%u:", SIM_VFIO_MAJOR);
	return !strncmp(path, chars, strlen(chars)) || !strncmp(path, "/sys/devices/pci", 16);
}

/* --------------------------------------------------------------------------- calls */

/* A file with these bytes that can be read and no more. */
static int open_text(const char *text, size_t size)
{
	int fd = memfd_create("sysfs", MFD_CLOEXEC);
	char path[64];
	int ret;

	if (fd < 0)
		return -errno;
	if (write(fd, text, size) != (ssize_t)size) {
		close(fd);
		return -EIO;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = open(path, O_RDONLY | O_CLOEXEC);
	if (ret < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int sim_sysfs_open(struct pfnbuf_sim *sim, const char *path, int flags)
{
	struct node *node = lookup(sim, path);
	int ret;

	if (!node)
		return -ENOMEM;
	if (node->kind == ATTRIBUTE && (flags & O_ACCMODE) != O_RDONLY)
		ret = node->vdev ? sim_tsm_open(node->vdev, node->attr, flags) : -EACCES;
	else if (node->kind == ATTRIBUTE)
		ret = node->vdev && node->attr == SIM_TSM_DISCONNECT
			      ? -EACCES
			      : open_text(node->text, node->size);
	else
		ret = node->kind == NOTHING ? -ENOENT : -EISDIR;
	free(node);
	return ret;
}

static ssize_t copy_text(const char *text, size_t n, char *buf, size_t size)
{
	n = MIN(n, size);
	memcpy(buf, text, n);
	return (ssize_t)n;
}

ssize_t sim_sysfs_readlink(struct pfnbuf_sim *sim, const char *path, char *buf, size_t size)
{
	struct node *node = lookup(sim, path);
	ssize_t ret;

	if (!node)
		return -ENOMEM;
	if (node->kind == LINK)
		ret = copy_text(node->text, node->size, buf, size);
	else
		ret = node->kind == NOTHING ? -ENOENT : -EINVAL;
	free(node);
	return ret;
}

/*
 * A link in a directory's place is followed: all of them point to a directory that is known by
 * that path, too.
 */
ssize_t sim_sysfs_list(struct pfnbuf_sim *sim, const char *path, char *buf, size_t size)
{
	struct node *node = lookup(sim, path);
	ssize_t ret;

	if (node && node->kind == LINK && strstr(node->text, "devices/pci")) {
		char target[TEXT_MAX + 8];

		snprintf(target, sizeof(target), "/sys/%s", strstr(node->text, "devices/pci"));
		free(node);
		node = lookup(sim, target);
	}
	if (!node)
		return -ENOMEM;
	if (node->kind != DIRECTORY)
		ret = node->kind == NOTHING ? -ENOENT : -ENOTDIR;
	else
		ret = node->full || node->size > size
			      ? -ERANGE
			      : copy_text(node->text, node->size, buf, size);
	free(node);
	return ret;
}

/* --------------------------------------------------------------------------- /proc */

static struct sim_file *proc_file(struct pfnbuf_sim *sim, const char *path, const char *prefix)
{
	const char *rest = below(path, prefix);
	char *end;
	long fd;

	if (!rest || !*rest)
		return NULL;
	fd = strtol(rest, &end, 10);
	return *end ? NULL : sim_file_get(sim, (int)fd);
}

ssize_t sim_proc_readlink(struct pfnbuf_sim *sim, const char *path, char *buf, size_t size)
{
	static const char *const fixed[SIM_NR_KINDS] = {
		[SIM_IOMMUFD] = "/dev/iommu",
		[SIM_KVM] = "/dev/kvm",
		[SIM_VM] = "anon_inode:kvm-vm",
		[SIM_VCPU] = "anon_inode:kvm-vcpu",
		[SIM_GMEM] = "anon_inode:[kvm-gmem]",
		[SIM_KVM_VFIO] = "anon_inode:kvm-vfio",
		[SIM_FAULT_QUEUE] = "anon_inode:[iommufd-pgfault]",
		[SIM_ACCESS] = "anon_inode:[iommufd_test_staccess]",
	};
	const struct sim_file *file = proc_file(sim, path, "/proc/self/fd");
	char text[64];

	if (!file)
		return -ENOTTY;
	if (file->kind == SIM_VFIO)
		snprintf(text, sizeof(text), "/dev/vfio/devices/vfio%u",
			 ((const struct sim_vfile *)file->object)->vdev->index);
	else if (file->kind == SIM_DMABUF)
		snprintf(text, sizeof(text), "/dmabuf:%s",
			 ((const struct sim_dmabuf *)file->object)->name);
	else if (file->kind == SIM_TSM_ATTR)
		sim_tsm_path(file, text, sizeof(text));
	else
		snprintf(text, sizeof(text), "%s", fixed[file->kind]);
	return copy_text(text, strlen(text), buf, size);
}

int sim_proc_open(struct pfnbuf_sim *sim, const char *path)
{
	const struct sim_file *file = proc_file(sim, path, "/proc/self/fdinfo");
	char text[256] = "";

	if (!file)
		return -ENOTTY;
	if (file->kind == SIM_VFIO) {
		const struct sim_vdev *vdev = ((const struct sim_vfile *)file->object)->vdev;

		snprintf(text, sizeof(text), "vfio-device-syspath: /sys/devices/pci%04x:%02x/%s\n",
			 vdev->segment, vdev->bus, vdev->bdf);
	} else if (file->kind == SIM_DMABUF) {
		const struct sim_dmabuf *dmabuf = file->object;

		snprintf(text, sizeof(text),
			 "size:\t%llu\ncount:\t1\nexp_name:\tvfio_pci_core\n%s%s%s",
			 (unsigned long long)dmabuf->size, *dmabuf->name ? "name:\t" : "",
			 dmabuf->name, *dmabuf->name ? "\n" : "");
	}
	return open_text(text, strlen(text));
}
