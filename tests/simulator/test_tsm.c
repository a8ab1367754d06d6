/* SPDX-License-Identifier: MIT */
/*
 * The simulated kernel's proposed interfaces: devices that a TSM binds for a guest, private memory of
 * devices, and attributes of guest_memfds. Linux 7.3 has none of them, so nothing but these cases says
 * what they do.
 */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <pfnbuf-sim.h>

#include "libpfnbuf/uapi/proposed.h"
#include "tests/conformance/conf.h"

#define GPA	 0x40000000ULL
#define IOVA	 0x100000ULL
#define TDI	 "0000:01:00.0" /* BAR 0: 16 pages, of which the last two hold the MSI-X structures */
#define SECOND	 "0000:01:00.1" /* its other function */
#define ENGINE	 "0000:02:00.0" /* without TDISP */
#define PAGES	 16
#define BAR_SIZE (PAGES * PAGE)
#define TEE_SIZE (14 * PAGE)
#define PRIVATE	 KVM_MEMORY_ATTRIBUTE_PRIVATE
#define SYSFS	 "/sys/bus/pci/devices/" TDI

static struct pfnbuf_sim *sim;
static struct conf conf;
static struct conf *const c = &conf;
static const struct pfnbuf_kernel *kernel;

static const struct conf_device roles[NR_ROLES] = {
	[FLR] = { TDI, "/dev/vfio/devices/vfio0", 0, BAR_SIZE },
	[PEER] = { SECOND, "/dev/vfio/devices/vfio1", 0, BAR_SIZE },
	[PLAIN] = { ENGINE, "/dev/vfio/devices/vfio2", 0, BAR_SIZE },
};

static int set_up(void **state)
{
	static const struct pfnbuf_sim_device devices[] = {
		{
			.bdf = TDI,
			.flags = PFNBUF_SIM_TEE | PFNBUF_SIM_FLR | PFNBUF_SIM_PM,
			.bars = { { BAR_SIZE, PFNBUF_SIM_BAR_64 } },
			.msix_vectors = 4,
			.msix_table = (uint32_t)(14 * PAGE),
			.msix_pba = (uint32_t)(15 * PAGE),
			.hot_reset_set = 1,
		},
		{
			.bdf = SECOND,
			.flags = PFNBUF_SIM_TEE,
			.bars = { { BAR_SIZE, PFNBUF_SIM_BAR_64 } },
		},
		{ .bdf = ENGINE, .flags = PFNBUF_SIM_FLR, .bars = { { BAR_SIZE, 0 } } },
	};

	(void)state;
	assert_int_equal(pfnbuf_sim_new(&sim), 0);
	for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++)
		assert_int_equal(pfnbuf_sim_add_device(sim, &devices[i]), 0);
	kernel = pfnbuf_sim_kernel(sim);
	conf = (struct conf){ .kernel = kernel, .devices = roles };
	return 0;
}

static int tear_down(void **state)
{
	const struct pfnbuf_sim_counts none = { 0 };
	struct pfnbuf_sim_counts left;

	(void)state;
	conf_clean_up(c);
	pfnbuf_sim_get_counts(sim, &left);
	assert_memory_equal(&left, &none, sizeof(none));
	assert_false(conf.failed);
	sim = pfnbuf_sim_free(sim);
	return 0;
}

/* ------------------------------------------------------------------------- helpers */

static bool aliased(void)
{
	return pfnbuf_sim_alias(sim, NULL);
}

static void assert_no_alias(void)
{
	const char *what = "";

	if (pfnbuf_sim_alias(sim, &what))
		fail_msg("%s", what);
}

static int put(const char *path, const char *text)
{
	int fd = kernel->open(kernel->data, path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = kernel->write(kernel->data, fd, text, strlen(text));
	kernel->close(kernel->data, fd);
	return n < 0 ? (int)n : 0;
}

/* What a file of sysfs says, without the newline; "?" where there is none. */
static const char *get(const char *path)
{
	static char text[64];
	int fd = kernel->open(kernel->data, path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return "?";
	n = kernel->read(kernel->data, fd, text, sizeof(text) - 1);
	kernel->close(kernel->data, fd);
	text[n > 0 ? n - 1 : 0] = 0;
	return text;
}

static void use_profile(const char *name)
{
	assert_int_equal(pfnbuf_sim_set_profile(sim, name), 0);
}

static void connect_tsm(void)
{
	assert_int_equal(put(SYSFS "/tsm/connect", "tsm0\n"), 0);
}

/* A guest and a device that is its, up to a vDEVICE. */
struct guest {
	int iommufd, vm, kvm_vfio, dev;
	uint32_t devid, ioas, hwpt, viommu, vdevice;
};

static int create_kvm_vfio(int vm)
{
	struct kvm_create_device create = { .type = KVM_DEV_TYPE_VFIO };

	assert_int_equal(conf_ioctl(c, vm, KVM_CREATE_DEVICE, &create), 0);
	return conf_keep(c, (int)create.fd);
}

static int add_file(int kvm_vfio, int fd)
{
	int32_t value = fd;
	struct kvm_device_attr attr = {
		.group = KVM_DEV_VFIO_FILE,
		.attr = KVM_DEV_VFIO_FILE_ADD,
		.addr = (uintptr_t)&value,
	};

	return conf_ioctl(c, kvm_vfio, KVM_SET_DEVICE_ATTR, &attr);
}

static int nest_parent(const struct guest *g, uint32_t *hwpt)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = IOMMU_HWPT_ALLOC_NEST_PARENT,
		.dev_id = g->devid,
		.pt_id = g->ioas,
	};
	int ret = conf_ioctl(c, g->iommufd, IOMMU_HWPT_ALLOC, &alloc);

	if (!ret)
		*hwpt = alloc.out_hwpt_id;
	return ret;
}

static int viommu_alloc(const struct guest *g, uint32_t type, uint32_t *viommu)
{
	struct iommu_viommu_alloc alloc = {
		.size = sizeof(alloc),
		.type = type,
		.dev_id = g->devid,
		.hwpt_id = g->hwpt,
	};
	int ret = conf_ioctl(c, g->iommufd, IOMMU_VIOMMU_ALLOC, &alloc);

	if (!ret)
		*viommu = alloc.out_viommu_id;
	return ret;
}

static int vdevice_alloc(const struct guest *g, uint64_t virt_id, uint32_t *vdevice)
{
	struct iommu_vdevice_alloc alloc = {
		.size = sizeof(alloc),
		.viommu_id = g->viommu,
		.dev_id = g->devid,
		.virt_id = virt_id,
	};
	int ret = conf_ioctl(c, g->iommufd, IOMMU_VDEVICE_ALLOC, &alloc);

	if (!ret)
		*vdevice = alloc.out_vdevice_id;
	return ret;
}

static struct guest guest_new(uint32_t viommu_type)
{
	struct guest g = { .iommufd = conf_iommufd_open(c),
			   .vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM) };

	g.kvm_vfio = create_kvm_vfio(g.vm);
	g.dev = conf_cdev(c, FLR);
	assert_int_equal(add_file(g.kvm_vfio, g.dev), 0);
	assert_int_equal(conf_bind(c, g.dev, g.iommufd, &g.devid), 0);
	g.ioas = conf_ioas_new(c, g.iommufd);
	assert_int_equal(nest_parent(&g, &g.hwpt), 0);
	assert_int_equal(viommu_alloc(&g, viommu_type, &g.viommu), 0);
	return g;
}

static struct guest guest_with_vdevice(uint32_t viommu_type)
{
	struct guest g = guest_new(viommu_type);

	assert_int_equal(vdevice_alloc(&g, 0x100, &g.vdevice), 0);
	return g;
}

static int vfio_bind(const struct guest *g)
{
	struct vfio_pci_tsm_bind bind = { .argsz = sizeof(bind), .vdevice_id = g->vdevice };

	return conf_ioctl(c, g->dev, VFIO_DEVICE_TSM_BIND, &bind);
}

static int vfio_unbind(const struct guest *g)
{
	struct vfio_pci_tsm_unbind unbind = { .argsz = sizeof(unbind) };

	return conf_ioctl(c, g->dev, VFIO_DEVICE_TSM_UNBIND, &unbind);
}

static int tsm_op(const struct guest *g, uint32_t type)
{
	struct iommu_vdevice_tsm_op op = {
		.size = sizeof(op),
		.type = type,
		.vdevice_id = g->vdevice,
	};

	return conf_ioctl(c, g->iommufd, IOMMU_VDEVICE_TSM_OP, &op);
}

/* A guest with a vDEVICE for each of the ways to bind one. */
static struct guest tdx_guest(void)
{
	use_profile("tdx-rfc2");
	connect_tsm();
	return guest_with_vdevice(IOMMU_VIOMMU_TYPE_DEFAULT);
}

static struct guest tdx_bound_guest(void)
{
	struct guest g = tdx_guest();

	assert_int_equal(vfio_bind(&g), 0);
	return g;
}

static struct guest tsm5_guest(void)
{
	use_profile("iommufd-tsm5");
	connect_tsm();
	return guest_with_vdevice(IOMMU_VIOMMU_TYPE_ARM_SMMUV3);
}

static struct guest cca_guest(void)
{
	use_profile("cca7");
	connect_tsm();
	return guest_with_vdevice(IOMMU_VIOMMU_TYPE_ARM_REALM_SMMUV3);
}

/* The device reaches what is in its IOAS. */
static void attach(const struct guest *g)
{
	uint32_t pt = g->ioas;

	assert_int_equal(conf_attach(c, g->dev, &pt), 0);
}

static struct kvm_userspace_memory_region2 dmabuf_region(uint64_t gpa, uint64_t size, int dmabuf)
{
	return (struct kvm_userspace_memory_region2){
		.flags = KVM_MEM_VFIO_DMABUF,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.guest_memfd = (uint32_t)dmabuf,
	};
}

static int set_region(int vm, const struct kvm_userspace_memory_region2 *region)
{
	struct kvm_userspace_memory_region2 copy = *region;

	return conf_ioctl(c, vm, KVM_SET_USER_MEMORY_REGION2, &copy);
}

static int delete_region(int vm, uint32_t slot)
{
	const struct kvm_userspace_memory_region2 none = { .slot = slot };

	return set_region(vm, &none);
}

/* The TEE pages of the BAR, private at GPA. Returns the dma-buf. */
static int make_private(const struct guest *g)
{
	int dmabuf = conf_export(c, g->dev, 0, 0, TEE_SIZE);
	struct kvm_userspace_memory_region2 region = dmabuf_region(GPA, TEE_SIZE, dmabuf);

	assert_int_equal(set_region(g->vm, &region), 0);
	assert_int_equal(conf_attributes(c, g->vm, GPA, TEE_SIZE, PRIVATE), 0);
	return dmabuf;
}

static int guest_byte(int vm, uint64_t gpa, bool as_private)
{
	uint8_t byte;
	int ret = pfnbuf_sim_guest_read(sim, vm, gpa, as_private, &byte, 1);

	return ret ? ret : byte;
}

static enum pfnbuf_tdi_state tdi_state(void)
{
	enum pfnbuf_tdi_state now = PFNBUF_TDI_ERROR;

	assert_true(pfnbuf_sim_tdi_state(sim, TDI, &now, NULL) >= 0);
	return now;
}

static bool is_bound(void)
{
	return pfnbuf_sim_tdi_state(sim, TDI, NULL, NULL) == 1;
}

/* --------------------------------------------------------------------------- sysfs */

static void sysfs_connects(void **state)
{
	char names[256] = "";

	(void)state;
	/* Without a TSM there is nothing. */
	assert_string_equal(get(SYSFS "/tsm/connect"), "?");
	assert_int_equal(put(SYSFS "/tsm/connect", "tsm0"), -ENOENT);
	assert_int_equal(kernel->list(kernel->data, "/sys/class/tsm", names, sizeof(names)),
			 -ENOENT);
	pfnbuf_sim_set_tsm(sim, true);
	assert_int_equal(kernel->list(kernel->data, "/sys/class/tsm", names, sizeof(names)), 5);
	assert_string_equal(names, "tsm0");
	assert_string_equal(get(SYSFS "/tsm/connect"), "");
	assert_string_equal(get(SYSFS "/authenticated"), "");
	/* Only function 0 of what has TDISP. */
	assert_string_equal(get("/sys/bus/pci/devices/" SECOND "/tsm/bound"), "?");
	assert_string_equal(get("/sys/bus/pci/devices/" ENGINE "/tsm/connect"), "?");
	assert_int_equal(put(SYSFS "/tsm/disconnect", "tsm0"), -ENXIO);
	assert_int_equal(put(SYSFS "/tsm/connect", "x"), -EINVAL);
	assert_int_equal(put(SYSFS "/tsm/connect", "tsm1"), -ENXIO);
	connect_tsm();
	assert_int_equal(put(SYSFS "/tsm/connect", "tsm0"), -EBUSY);
	assert_string_equal(get(SYSFS "/tsm/connect"), "tsm0");
	assert_string_equal(get(SYSFS "/authenticated"), "tsm0");
	assert_string_equal(get(SYSFS "/tsm/bound"), "");
	assert_string_equal(get(SYSFS "/tsm/dsm"), TDI);
	/* What it manages has files now, but is not connected by hand. */
	assert_string_equal(get("/sys/bus/pci/devices/" SECOND "/tsm/dsm"), TDI);
	assert_int_equal(put("/sys/bus/pci/devices/" SECOND "/tsm/connect", "tsm0"), -ENOENT);
	assert_int_equal(put(SYSFS "/tsm/bound", "x"), -EACCES);
	assert_string_equal(get(SYSFS "/tsm/disconnect"), "?");
	assert_int_equal(put(SYSFS "/tsm/disconnect", "tsm1"), -EINVAL);
	assert_int_equal(put(SYSFS "/tsm/disconnect", "tsm0\n"), 0);
	assert_string_equal(get(SYSFS "/tsm/connect"), "");
	assert_string_equal(get("/sys/bus/pci/devices/" SECOND "/tsm/dsm"), "?");
}

/* ------------------------------------------------------------------------ tdx-rfc2 */

static void mainline_has_none(void **state)
{
	struct vfio_pci_tsm_bind bind = { .argsz = sizeof(bind) };
	int iommufd = conf_iommufd_open(c);
	int dev = conf_device_open(c, FLR, iommufd, 0);
	int vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);
	int dmabuf = conf_export(c, dev, 0, 0, PAGE);
	struct kvm_userspace_memory_region2 region = dmabuf_region(GPA, PAGE, dmabuf);
	struct iommu_vdevice_tsm_op op = { .size = sizeof(op) };
	struct iommu_vdevice_tsm_req req = { .size = sizeof(req) };
	struct kvm_memory_attributes2 attributes = { .size = PAGE };
	int gmem = conf_gmem(c, vm, PAGE, GUEST_MEMFD_FLAG_MMAP);

	(void)state;
	assert_int_equal(conf_ioctl(c, dev, VFIO_DEVICE_TSM_BIND, &bind), -ENOTTY);
	assert_int_equal(conf_ioctl(c, dev, VFIO_DEVICE_TSM_UNBIND, &bind), -ENOTTY);
	assert_int_equal(set_region(vm, &region), -EINVAL);
	/* The number is that of another call there. */
	assert_int_equal(conf_ioctl(c, iommufd, IOMMU_VDEVICE_TSM_OP, &op), -EINVAL);
	assert_int_equal(conf_ioctl(c, iommufd, IOMMU_VDEVICE_TSM_REQ, &req), -ENOTTY);
	assert_int_equal(conf_ioctl(c, gmem, KVM_SET_MEMORY_ATTRIBUTES2, &attributes), -ENOTTY);
	assert_int_equal(
		conf_ioctl_value(c, vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES),
		0);
	assert_int_equal(pfnbuf_sim_set_profile(sim, "tdx-rfc3"), -EINVAL);
}

static void dmabuf_slot_rules(void **state)
{
	struct kvm_userspace_memory_region2 region;
	int iommufd, dev, vm, plain, dmabuf, memfd = conf_memfd(c, 2 * PAGE);

	(void)state;
	use_profile("tdx-rfc2");
	iommufd = conf_iommufd_open(c);
	dev = conf_device_open(c, FLR, iommufd, 0);
	vm = conf_vm(c, KVM_X86_TDX_VM);
	plain = conf_vm(c, KVM_X86_DEFAULT_VM);
	dmabuf = conf_export(c, dev, 0, 0, 2 * PAGE);
	region = dmabuf_region(GPA, 2 * PAGE, dmabuf);
	assert_int_equal(set_region(plain, &region), -EINVAL);
	region.flags |= KVM_MEM_GUEST_MEMFD;
	assert_int_equal(set_region(vm, &region), -EINVAL);
	region.flags = KVM_MEM_VFIO_DMABUF | KVM_MEM_READONLY;
	assert_int_equal(set_region(vm, &region), -EINVAL);
	region.flags = KVM_MEM_VFIO_DMABUF | KVM_MEM_LOG_DIRTY_PAGES;
	assert_int_equal(set_region(vm, &region), -EINVAL);
	region.flags = KVM_MEM_VFIO_DMABUF;
	region.guest_memfd_offset = PAGE;
	assert_int_equal(set_region(vm, &region), -EINVAL);
	region.guest_memfd_offset = 0;
	region.memory_size = PAGE;
	assert_int_equal(set_region(vm, &region), -EINVAL);
	region.memory_size = 2 * PAGE;
	region.guest_memfd = (uint32_t)memfd;
	assert_int_equal(set_region(vm, &region), -EINVAL);
	region.guest_memfd = 9999;
	assert_int_equal(set_region(vm, &region), -EBADF);
	region.guest_memfd = (uint32_t)dmabuf;
	conf_command(c, dev, PCI_COMMAND_MEMORY, 0);
	assert_int_equal(set_region(vm, &region), -ENODEV);
	conf_command(c, dev, 0, PCI_COMMAND_MEMORY);
	assert_int_equal(set_region(vm, &region), 0);
	/* It does not change: neither by itself nor into something else. */
	assert_int_equal(set_region(vm, &region), -EINVAL);
	region.slot = 1;
	assert_int_equal(set_region(vm, &region), -EEXIST);
	/* The slot holds the dma-buf. */
	conf_close(c, dmabuf);
	assert_int_equal(guest_byte(vm, GPA, false), 0);
	assert_int_equal(delete_region(vm, 0), 0);
	assert_int_equal(guest_byte(vm, GPA, false), -ENXIO);
}

static void vfio_binds(void **state)
{
	struct vfio_pci_tsm_bind bind = { .argsz = 8 };
	struct guest g;
	void *bar;
	int dmabuf;

	(void)state;
	use_profile("tdx-rfc2");
	g = guest_with_vdevice(IOMMU_VIOMMU_TYPE_DEFAULT);
	assert_int_equal(conf_ioctl(c, g.dev, VFIO_DEVICE_TSM_BIND, NULL), -EFAULT);
	assert_int_equal(conf_ioctl(c, g.dev, VFIO_DEVICE_TSM_BIND, &bind), -EINVAL);
	bind = (struct vfio_pci_tsm_bind){ .argsz = sizeof(bind), .flags = 1 };
	assert_int_equal(conf_ioctl(c, g.dev, VFIO_DEVICE_TSM_BIND, &bind), -EINVAL);
	bind = (struct vfio_pci_tsm_bind){ .argsz = sizeof(bind), .vdevice_id = 99 };
	assert_int_equal(conf_ioctl(c, g.dev, VFIO_DEVICE_TSM_BIND, &bind), -ENOENT);
	/* Not connected. */
	assert_int_equal(vfio_bind(&g), -EINVAL);
	connect_tsm();
	/* Others have the BAR. */
	assert_int_equal(conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, g.dev, 0, &bar), 0);
	assert_int_equal(vfio_bind(&g), -EBUSY);
	conf_munmap(c, bar, PAGE);
	dmabuf = conf_export(c, g.dev, 0, 0, PAGE);
	assert_int_equal(conf_map_file(c, g.iommufd, g.ioas, dmabuf, 0, PAGE, IOVA), 0);
	assert_int_equal(vfio_bind(&g), -EBUSY);
	conf_unmap(c, g.iommufd, g.ioas, IOVA, PAGE, NULL);
	assert_int_equal(vfio_unbind(&g), 0);
	assert_false(is_bound());
	assert_int_equal(vfio_bind(&g), 0);
	assert_true(is_bound());
	assert_int_equal(tdi_state(), PFNBUF_TDI_CONFIG_LOCKED);
	assert_string_equal(get(SYSFS "/tsm/bound"), "tsm0");
	assert_int_equal(vfio_bind(&g), -EBUSY);
	/* In use for as long as it is bound. */
	assert_int_equal(conf_destroy(c, g.iommufd, g.vdevice), -EBUSY);
	assert_int_equal(conf_destroy(c, g.iommufd, g.viommu), -EBUSY);
	assert_int_equal(pfnbuf_sim_tdi_start(sim, TDI), 0);
	assert_int_equal(tdi_state(), PFNBUF_TDI_RUN);
	assert_int_equal(pfnbuf_sim_tdi_start(sim, TDI), -ENXIO);
	assert_int_equal(vfio_unbind(&g), 0);
	assert_int_equal(tdi_state(), PFNBUF_TDI_CONFIG_UNLOCKED);
	assert_int_equal(conf_destroy(c, g.iommufd, g.vdevice), 0);
	assert_int_equal(conf_destroy(c, g.iommufd, g.viommu), 0);
	assert_int_equal(conf_destroy(c, g.iommufd, g.hwpt), 0);
	assert_no_alias();
}

/* The device's VM is the one that was known when it was bound to the iommufd. */
static void bind_takes_a_vm(void **state)
{
	struct guest g = { 0 };

	(void)state;
	use_profile("tdx-rfc2");
	connect_tsm();
	g.iommufd = conf_iommufd_open(c);
	g.dev = conf_cdev(c, FLR);
	assert_int_equal(conf_bind(c, g.dev, g.iommufd, &g.devid), 0);
	g.ioas = conf_ioas_new(c, g.iommufd);
	assert_int_equal(viommu_alloc(&g, IOMMU_VIOMMU_TYPE_DEFAULT, &g.viommu), -ENOENT);
	assert_int_equal(conf_hwpt(c, g.iommufd, g.devid, g.ioas, &g.hwpt), 0);
	assert_int_equal(viommu_alloc(&g, IOMMU_VIOMMU_TYPE_DEFAULT, &g.viommu), -EINVAL);
	assert_int_equal(nest_parent(&g, &g.hwpt), 0);
	assert_int_equal(viommu_alloc(&g, IOMMU_VIOMMU_TYPE_ARM_SMMUV3, &g.viommu), -EOPNOTSUPP);
	assert_int_equal(viommu_alloc(&g, IOMMU_VIOMMU_TYPE_DEFAULT, &g.viommu), 0);
	assert_int_equal(vdevice_alloc(&g, 1, &g.vdevice), 0);
	assert_int_equal(vdevice_alloc(&g, 2, &g.vdevice), -EEXIST);
	assert_int_equal(vfio_bind(&g), -EINVAL);
}

static void bind_takes_its_own_vdevice(void **state)
{
	struct guest g = tdx_guest(), other = g;

	(void)state;
	other.dev = conf_cdev(c, PEER);
	assert_int_equal(conf_bind(c, other.dev, g.iommufd, &other.devid), 0);
	assert_int_equal(vfio_bind(&other), -EINVAL);
	assert_int_equal(vdevice_alloc(&other, 0x101, &other.vdevice), 0);
	assert_int_equal(vfio_bind(&other), 0);
	assert_false(is_bound());
}

/* There is nothing to keep from anybody in such a VM. */
static void bind_takes_private_memory(void **state)
{
	struct guest g = { 0 };

	(void)state;
	use_profile("tdx-rfc2");
	connect_tsm();
	g.iommufd = conf_iommufd_open(c);
	g.vm = conf_vm(c, KVM_X86_DEFAULT_VM);
	g.dev = conf_cdev(c, FLR);
	assert_int_equal(add_file(create_kvm_vfio(g.vm), g.dev), 0);
	assert_int_equal(conf_bind(c, g.dev, g.iommufd, &g.devid), 0);
	g.ioas = conf_ioas_new(c, g.iommufd);
	assert_int_equal(nest_parent(&g, &g.hwpt), 0);
	assert_int_equal(viommu_alloc(&g, IOMMU_VIOMMU_TYPE_DEFAULT, &g.viommu), 0);
	assert_int_equal(vdevice_alloc(&g, 1, &g.vdevice), 0);
	assert_int_equal(vfio_bind(&g), -EINVAL);
}

static void private_slots(void **state)
{
	const uint8_t secret = 0x5a;
	uint8_t byte = 0;
	struct guest g = tdx_bound_guest();
	void *bar;

	(void)state;
	make_private(&g);
	assert_no_alias();
	assert_int_equal(pfnbuf_sim_guest_write(sim, g.vm, GPA + PAGE, true, &secret, 1), 0);
	assert_int_equal(guest_byte(g.vm, GPA + PAGE, true), secret);
	assert_int_equal(guest_byte(g.vm, GPA + PAGE, false), -EFAULT);
	assert_int_equal(pfnbuf_sim_bar_peek(sim, TDI, 0, PAGE, &byte, 1), 0);
	assert_int_equal(byte, secret);
	/* The host has nothing there, but for the pages that the report leaves it. */
	assert_int_equal(conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, g.dev, PAGE, &bar), -EBUSY);
	assert_int_equal(kernel->pread(kernel->data, g.dev, &byte, 1, PAGE), -EBUSY);
	assert_int_equal(kernel->pwrite(kernel->data, g.dev, &byte, 1, PAGE), -EBUSY);
	assert_int_equal(conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, g.dev, 14 * PAGE, &bar), 0);
	assert_int_equal(kernel->pread(kernel->data, g.dev, &byte, 1, 14 * PAGE), 1);
	assert_no_alias();
	/* In ERROR the guest has nothing, either. */
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_ERROR_STATE), 0);
	assert_int_equal(tdi_state(), PFNBUF_TDI_ERROR);
	assert_int_equal(guest_byte(g.vm, GPA + PAGE, true), -EIO);
	assert_int_equal(delete_region(g.vm, 0), 0);
	assert_int_equal(vfio_unbind(&g), 0);
	assert_no_alias();
}

static void unbound_memory_is_not_private(void **state)
{
	struct guest g = tdx_guest();

	(void)state;
	make_private(&g);
	assert_int_equal(guest_byte(g.vm, GPA, true), -EIO);
	/* Not what the report leaves to the host. */
	assert_int_equal(delete_region(g.vm, 0), 0);
	assert_int_equal(vfio_bind(&g), 0);
	{
		int dmabuf = conf_export(c, g.dev, 0, 13 * PAGE, 2 * PAGE);
		struct kvm_userspace_memory_region2 region = dmabuf_region(GPA, 2 * PAGE, dmabuf);

		assert_int_equal(set_region(g.vm, &region), 0);
	}
	assert_int_equal(guest_byte(g.vm, GPA, true), 0);
	assert_int_equal(guest_byte(g.vm, GPA + PAGE, true), -EIO);
	/* Shared, it is the other way around. */
	assert_int_equal(conf_attributes(c, g.vm, GPA, 2 * PAGE, 0), 0);
	assert_int_equal(guest_byte(g.vm, GPA, false), -EIO);
	assert_int_equal(guest_byte(g.vm, GPA + PAGE, false), 0);
}

/* Unbound first, then taken away: the guest has nothing in between. */
static void slots_outlive_the_bind(void **state)
{
	struct guest g = tdx_bound_guest();

	(void)state;
	make_private(&g);
	assert_int_equal(guest_byte(g.vm, GPA, true), 0);
	assert_int_equal(vfio_unbind(&g), 0);
	assert_int_equal(guest_byte(g.vm, GPA, true), -EIO);
	assert_int_equal(vfio_bind(&g), -EBUSY);
	assert_int_equal(delete_region(g.vm, 0), 0);
	assert_no_alias();
}

/* The other way around it is a mistake, once the guest has been there. */
static void slots_go_before_the_bind(void **state)
{
	unsigned how = (unsigned)(uintptr_t)*state;
	struct guest g = tdx_bound_guest();

	make_private(&g);
	assert_int_equal(delete_region(g.vm, 0), 0);
	assert_no_alias();
	make_private(&g);
	assert_int_equal(guest_byte(g.vm, GPA + PAGE, true), 0);
	assert_int_equal(conf_attributes(c, g.vm, GPA, PAGE, 0), 0);
	assert_no_alias();
	if (how)
		assert_int_equal(conf_attributes(c, g.vm, GPA, 2 * PAGE, 0), 0);
	else
		assert_int_equal(delete_region(g.vm, 0), 0);
	assert_true(aliased());
}

static void take_away(const struct guest *g, unsigned how)
{
	const uint8_t d3 = 3;
	unsigned pm = conf_capability(c, g->dev, PCI_CAP_ID_PM);
	unsigned exp = conf_capability(c, g->dev, PCI_CAP_ID_EXP);
	struct vfio_pci_hot_reset hot_reset = { .argsz = sizeof(hot_reset) };
	const uint16_t flr = PCI_EXP_DEVCTL_BCR_FLR;

	switch (how) {
	case 0:
		assert_int_equal(conf_ioctl(c, g->dev, VFIO_DEVICE_RESET, NULL), 0);
		break;
	case 1:
		conf_command(c, g->dev, PCI_COMMAND_MEMORY, 0);
		break;
	case 2:
		conf_config_write(c, g->dev, pm + PCI_PM_CTRL, &d3, 1);
		break;
	case 3:
		conf_config_write(c, g->dev, exp + PCI_EXP_DEVCTL, &flr, 2);
		break;
	case 4:
		conf_feature_call(c, g->dev,
				  VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
				  NULL, 0);
		break;
	case 5:
		assert_int_equal(conf_ioctl(c, g->dev, VFIO_DEVICE_PCI_HOT_RESET, &hot_reset), 0);
		break;
	default:
		fail();
	}
}

#define NR_REVOKES 6

/* VFIO unbinds first, and says nothing against it where no private slot is left. */
static void revoked_while_bound(void **state)
{
	(void)state;
	for (unsigned how = 0; how < NR_REVOKES; how++) {
		struct guest g = tdx_bound_guest();

		take_away(&g, how);
		assert_false(is_bound());
		assert_no_alias();
		conf_clean_up(c);
		assert_int_equal(put(SYSFS "/tsm/disconnect", "tsm0"), 0);
	}
}

static void revoked_while_private(void **state)
{
	unsigned how = (unsigned)(uintptr_t)*state;
	struct guest g = tdx_bound_guest();

	make_private(&g);
	assert_no_alias();
	if (how < NR_REVOKES) {
		take_away(&g, how);
	} else {
		conf_close(c, g.kvm_vfio);
		conf_close(c, g.dev);
		assert_false(is_bound());
	}
	assert_true(aliased());
}

/* Revoked and back: the next access faults in again. */
static void slot_survives_revocation(void **state)
{
	struct guest g = tdx_guest();

	(void)state;
	make_private(&g);
	assert_int_equal(conf_attributes(c, g.vm, GPA, TEE_SIZE, 0), 0);
	assert_int_equal(guest_byte(g.vm, GPA, false), 0);
	conf_command(c, g.dev, PCI_COMMAND_MEMORY, 0);
	assert_int_equal(guest_byte(g.vm, GPA, false), -EIO);
	conf_command(c, g.dev, 0, PCI_COMMAND_MEMORY);
	assert_int_equal(guest_byte(g.vm, GPA, false), 0);
	/* Closed, it is over for good. */
	conf_close(c, g.kvm_vfio);
	conf_close(c, g.dev);
	assert_int_equal(guest_byte(g.vm, GPA, false), -EIO);
}

/* -------------------------------------------------------------------- the invariant */

/* What becomes private is already somewhere else. */
static void alias_is_seen(void **state)
{
	unsigned where = (unsigned)(uintptr_t)*state;
	struct guest g = tdx_guest();
	int dmabuf;
	void *bar;

	attach(&g);
	assert_int_equal(vfio_bind(&g), 0);
	dmabuf = make_private(&g);
	assert_no_alias();
	switch (where) {
	case 0: /* in an IOAS */
		assert_int_equal(conf_map_file(c, g.iommufd, g.ioas, dmabuf, 13 * PAGE, PAGE, IOVA),
				 0);
		break;
	case 1: { /* shared, in another slot */
		struct kvm_userspace_memory_region2 region;

		region = dmabuf_region(GPA + BAR_SIZE, PAGE,
				       conf_export(c, g.dev, 0, 13 * PAGE, PAGE));
		region.slot = 1;
		assert_int_equal(set_region(g.vm, &region), 0);
		break;
	}
	case 2: /* only beside it */
		assert_int_equal(
			conf_mmap(c, 2 * PAGE, PROT_READ, MAP_SHARED, g.dev, 14 * PAGE, &bar), 0);
		dmabuf = conf_export(c, g.dev, 0, 14 * PAGE, 2 * PAGE);
		assert_int_equal(conf_map_file(c, g.iommufd, g.ioas, dmabuf, 0, 2 * PAGE, IOVA), 0);
		assert_no_alias();
		return;
	default:
		fail();
	}
	assert_true(aliased());
}

/* An area of the BAR that nobody withdrew before the attribute was set. */
static void alias_by_attribute(void **state)
{
	struct kvm_userspace_memory_region2 region;
	struct guest g = tsm5_guest();
	int dmabuf;

	(void)state;
	attach(&g);
	dmabuf = conf_export(c, g.dev, 0, 0, PAGE);
	region = dmabuf_region(GPA, PAGE, dmabuf);
	assert_int_equal(conf_map_file(c, g.iommufd, g.ioas, dmabuf, 0, PAGE, IOVA), 0);
	assert_int_equal(set_region(g.vm, &region), 0);
	assert_no_alias();
	assert_int_equal(conf_attributes(c, g.vm, GPA, PAGE, PRIVATE), 0);
	assert_true(aliased());
}

static void dma_does_not_land(void **state)
{
	const uint8_t bytes[PAGE + 16] = { 1 };
	size_t done = 99;
	struct guest g = tsm5_guest();
	int dmabuf;

	(void)state;
	attach(&g);
	conf_command(c, g.dev, 0, PCI_COMMAND_MASTER);
	/* Page 0 for the guest alone, pages 14 and 15 not. */
	dmabuf = conf_export(c, g.dev, 0, 14 * PAGE, 2 * PAGE);
	assert_int_equal(conf_map_file(c, g.iommufd, g.ioas, dmabuf, 0, 2 * PAGE, IOVA), 0);
	dmabuf = conf_export(c, g.dev, 0, 0, PAGE);
	assert_int_equal(conf_map_file(c, g.iommufd, g.ioas, dmabuf, 0, PAGE, IOVA + 2 * PAGE), 0);
	assert_int_equal(pfnbuf_sim_dma_write(sim, TDI, IOVA + 2 * PAGE, bytes, 16, NULL), 0);
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_BIND), 0);
	assert_int_equal(pfnbuf_sim_dma_write(sim, TDI, IOVA, bytes, 16, NULL), 0);
	assert_no_alias();
	assert_int_equal(pfnbuf_sim_dma_write(sim, TDI, IOVA + PAGE, bytes, PAGE + 16, &done),
			 -EFAULT);
	assert_int_equal(done, PAGE);
	assert_true(aliased());
}

/* ------------------------------------------------------------------------- the TSM */

static uint64_t le(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | at[bytes];
	return value;
}

static uint64_t bar_address(void)
{
	return strtoull(get(SYSFS "/resource"), NULL, 16);
}

static void reports(void **state)
{
	enum pfnbuf_tdi_state now;
	uint64_t generation;
	uint8_t report[256], again[256];
	size_t size = 0;
	struct guest g = tdx_guest();

	(void)state;
	assert_int_equal(pfnbuf_sim_tdi_get_report(sim, TDI, report, sizeof(report), &size, &now,
						   &generation),
			 -ENXIO);
	assert_int_equal(vfio_bind(&g), 0);
	assert_int_equal(pfnbuf_sim_tdi_get_report(sim, TDI, report, 8, &size, NULL, NULL),
			 -ENOSPC);
	assert_int_equal(pfnbuf_sim_tdi_get_report(sim, TDI, report, sizeof(report), &size, &now,
						   &generation),
			 0);
	assert_int_equal(now, PFNBUF_TDI_CONFIG_LOCKED);
	assert_int_equal(generation, 1);
	/* 14 pages for the guest, then the table, then the pending bits. */
	assert_int_equal(size, 16 + 3 * 16 + 4);
	assert_int_equal(le(report + 12, 4), 3);
	assert_int_equal(le(report + 16, 8), bar_address() / PAGE);
	assert_int_equal(le(report + 24, 4), 14);
	assert_int_equal(le(report + 28, 4), 0);
	assert_int_equal(le(report + 32, 8), bar_address() / PAGE + 14);
	assert_int_equal(le(report + 44, 2), 5);
	assert_int_equal(le(report + 60, 2), 6);
	/* Locked again it has the next number. */
	assert_int_equal(vfio_unbind(&g), 0);
	assert_int_equal(vfio_bind(&g), 0);
	assert_int_equal(
		pfnbuf_sim_tdi_get_report(sim, TDI, again, sizeof(again), &size, &now, &generation),
		0);
	assert_int_equal(generation, 2);
	assert_memory_equal(report, again, size);
	/* It comes late, it changes, it lies. */
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_REPORT_LATE), 0);
	assert_int_equal(
		pfnbuf_sim_tdi_get_report(sim, TDI, again, sizeof(again), &size, NULL, NULL),
		-EAGAIN);
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_REPORT_CHANGES), 0);
	assert_int_equal(
		pfnbuf_sim_tdi_get_report(sim, TDI, report, sizeof(report), &size, NULL, NULL), 0);
	assert_int_equal(
		pfnbuf_sim_tdi_get_report(sim, TDI, again, sizeof(again), &size, NULL, NULL), 0);
	assert_memory_not_equal(report, again, size);
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_NO_FAULT), 0);
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_REPORT_LIES), 0);
	assert_int_equal(
		pfnbuf_sim_tdi_get_report(sim, TDI, again, sizeof(again), &size, NULL, NULL), 0);
	assert_true(le(again + 24, 4) > PAGES);
}

/* One page of the caller's choice, by its place in the BAR and by bus address. */
static void own_report(void **state)
{
	uint8_t report[16 + 32 + 4] = { [12] = 2, [24] = 1, [40] = 1, [44] = 4 };
	uint8_t got[256];
	size_t size = 0;
	struct guest g = tdx_guest();

	(void)state;
	report[16] = 0x10;
	report[32] = 0x11;
	assert_int_equal(pfnbuf_sim_tdi_set_report(sim, TDI, report, sizeof(report)), 0);
	assert_int_equal(vfio_bind(&g), 0);
	assert_int_equal(pfnbuf_sim_tdi_get_report(sim, TDI, got, sizeof(got), &size, NULL, NULL),
			 0);
	assert_int_equal(size, sizeof(report));
	assert_memory_equal(got, report, size);
	/* Page 0 is the guest's, page 1 is not, and of the others nothing is said. */
	assert_int_equal(kernel->pread(kernel->data, g.dev, got, 1, 0), -EBUSY);
	assert_int_equal(kernel->pread(kernel->data, g.dev, got, 1, PAGE), 1);
	assert_int_equal(kernel->pread(kernel->data, g.dev, got, 1, 5 * PAGE), 1);
	for (unsigned i = 0; i < 8; i++) {
		report[16 + i] = (uint8_t)((bar_address() / PAGE + 5) >> 8 * i);
		report[32 + i] = (uint8_t)((bar_address() / PAGE) >> 8 * i);
	}
	assert_int_equal(pfnbuf_sim_tdi_set_report(sim, TDI, report, sizeof(report)), 0);
	assert_int_equal(kernel->pread(kernel->data, g.dev, got, 1, 0), 1);
	assert_int_equal(kernel->pread(kernel->data, g.dev, got, 1, 5 * PAGE), -EBUSY);
	assert_int_equal(pfnbuf_sim_tdi_set_report(sim, "0000:09:00.0", report, 1), -ENODEV);
}

static void faults_of_the_tsm(void **state)
{
	struct guest g = tdx_guest();

	(void)state;
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_ERROR_STATE), -ENXIO);
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_BIND_FAILS_BEFORE), 0);
	assert_int_equal(vfio_bind(&g), -EBUSY);
	assert_false(is_bound());
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_BIND_FAILS_AFTER_COMMIT),
			 0);
	assert_int_equal(vfio_bind(&g), -EIO);
	assert_true(is_bound());
	assert_string_equal(get(SYSFS "/tsm/bound"), "tsm0");
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_UNBIND_FAILS), 0);
	assert_int_equal(vfio_unbind(&g), -EIO);
	assert_true(is_bound());
	assert_int_equal(vfio_unbind(&g), 0);
	assert_false(is_bound());
	assert_int_equal(vfio_bind(&g), 0);
	/* The other side resets it: in error, and no mistake of the caller's. */
	assert_int_equal(pfnbuf_sim_foreign_reset(sim, TDI), 0);
	assert_int_equal(tdi_state(), PFNBUF_TDI_ERROR);
	assert_int_equal(vfio_unbind(&g), 0);
	assert_int_equal(vfio_bind(&g), 0);
	/* The TSM goes, and everything with it. */
	pfnbuf_sim_set_tsm(sim, false);
	assert_false(is_bound());
	assert_no_alias();
}

/* --------------------------------------------------------------------- iommufd-tsm5 */

static int pre_fault(int vcpu, uint64_t gpa, uint64_t size)
{
	struct kvm_pre_fault_memory range = { .gpa = gpa, .size = size };
	int ret = conf_ioctl(c, vcpu, KVM_PRE_FAULT_MEMORY, &range);

	return ret ? ret : (int)(range.size / PAGE);
}

static int create_vcpu(int vm)
{
	return conf_keep(c, conf_ioctl_value(c, vm, KVM_CREATE_VCPU, 0));
}

static void vdevice_op(void **state)
{
	struct iommu_vdevice_tsm_op op = { .size = sizeof(op), .flags = 1 };
	struct guest g = tsm5_guest();
	uint32_t vdevice;

	(void)state;
	assert_int_equal(conf_ioctl(c, g.iommufd, IOMMU_VDEVICE_TSM_OP, &op), -EOPNOTSUPP);
	op = (struct iommu_vdevice_tsm_op){ .size = 12 };
	assert_int_equal(conf_ioctl(c, g.iommufd, IOMMU_VDEVICE_TSM_OP, &op), -EINVAL);
	op = (struct iommu_vdevice_tsm_op){ .size = sizeof(op), .vdevice_id = g.viommu };
	assert_int_equal(conf_ioctl(c, g.iommufd, IOMMU_VDEVICE_TSM_OP, &op), -ENOENT);
	assert_int_equal(tsm_op(&g, 3), -EINVAL);
	assert_int_equal(conf_ioctl(c, g.iommufd, IOMMU_VDEVICE_TSM_REQ, &op), -ENOTTY);
	assert_int_equal(vfio_bind(&g), -ENOTTY);
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_UNBIND), 0);
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_BIND), 0);
	assert_int_equal(tdi_state(), PFNBUF_TDI_CONFIG_LOCKED);
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_BIND), 0);
	assert_int_equal(pfnbuf_sim_tdi_start(sim, TDI), 0);
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_UNBIND), 0);
	assert_false(is_bound());
	/* Destroying the vDEVICE unbinds, unless the TSM does not let it. */
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_BIND), 0);
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_UNBIND_FAILS), 0);
	assert_int_equal(conf_destroy(c, g.iommufd, g.vdevice), -EIO);
	assert_int_equal(conf_destroy(c, g.iommufd, g.vdevice), 0);
	assert_false(is_bound());
	/* Closing the device does; the id stays taken, and is nobody's. */
	assert_int_equal(vdevice_alloc(&g, 7, &g.vdevice), 0);
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_BIND), 0);
	conf_close(c, g.kvm_vfio);
	conf_close(c, g.dev);
	assert_false(is_bound());
	assert_int_equal(conf_destroy(c, g.iommufd, g.vdevice), -ENOENT);
	vdevice = conf_ioas_new(c, g.iommufd);
	assert_int_not_equal(vdevice, g.vdevice);
	assert_int_equal(conf_destroy(c, g.iommufd, g.viommu), 0);
	assert_no_alias();
}

static void two_devices_one_viommu(void **state)
{
	struct guest g = tsm5_guest(), other = g;

	(void)state;
	other.dev = conf_cdev(c, PEER);
	assert_int_equal(conf_bind(c, other.dev, g.iommufd, &other.devid), 0);
	assert_int_equal(vdevice_alloc(&other, 0x100, &other.vdevice), -EEXIST);
	assert_int_equal(vdevice_alloc(&other, 0x101, &other.vdevice), 0);
	/* It is bound for the guest of its vIOMMU. */
	assert_int_equal(tsm_op(&other, IOMMU_VDEVICE_TSM_BIND), 0);
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_BIND), 0);
	assert_int_equal(conf_destroy(c, g.iommufd, g.viommu), -EBUSY);
	assert_int_equal(tsm_op(&other, IOMMU_VDEVICE_TSM_UNBIND), 0);
	assert_int_equal(conf_destroy(c, g.iommufd, other.vdevice), 0);
}

static void without_a_vm(void **state)
{
	struct guest g = { 0 };

	(void)state;
	use_profile("iommufd-tsm5");
	connect_tsm();
	g.iommufd = conf_iommufd_open(c);
	g.dev = conf_cdev(c, FLR);
	assert_int_equal(conf_bind(c, g.dev, g.iommufd, &g.devid), 0);
	g.ioas = conf_ioas_new(c, g.iommufd);
	assert_int_equal(nest_parent(&g, &g.hwpt), 0);
	assert_int_equal(viommu_alloc(&g, IOMMU_VIOMMU_TYPE_DEFAULT, &g.viommu), -EOPNOTSUPP);
	assert_int_equal(viommu_alloc(&g, IOMMU_VIOMMU_TYPE_ARM_SMMUV3, &g.viommu), 0);
	assert_int_equal(vdevice_alloc(&g, 1, &g.vdevice), 0);
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_BIND), -ENODEV);
}

static void pre_fault_brings_it_in(void **state)
{
	struct guest g = tsm5_guest();
	int vcpu = create_vcpu(g.vm);

	(void)state;
	make_private(&g);
	assert_int_equal(pre_fault(vcpu, GPA, PAGE), -EIO);
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_BIND), 0);
	assert_int_equal(guest_byte(g.vm, GPA, true), -EFAULT);
	assert_int_equal(pre_fault(vcpu, GPA, 2 * PAGE), 0);
	assert_int_equal(guest_byte(g.vm, GPA + PAGE, true), 0);
	assert_int_equal(guest_byte(g.vm, GPA + 2 * PAGE, true), -EFAULT);
	/* Shared and back it is gone again, and so it is when the attribute stays but the slot goes. */
	assert_int_equal(conf_attributes(c, g.vm, GPA, PAGE, 0), 0);
	assert_int_equal(conf_attributes(c, g.vm, GPA, PAGE, PRIVATE), 0);
	assert_int_equal(guest_byte(g.vm, GPA, true), -EFAULT);
	assert_int_equal(guest_byte(g.vm, GPA + PAGE, true), 0);
	assert_int_equal(pre_fault(vcpu, GPA, TEE_SIZE), 0);
	assert_no_alias();
	/* A reset does not unbind here: the device is in error, and had private memory. */
	take_away(&g, 0);
	assert_int_equal(tdi_state(), PFNBUF_TDI_ERROR);
	assert_true(is_bound());
	assert_int_equal(guest_byte(g.vm, GPA, true), -EFAULT);
	assert_int_equal(pre_fault(vcpu, GPA, PAGE), -EIO);
	assert_true(aliased());
}

static void unbind_under_private_slots(void **state)
{
	bool gone = (bool)(uintptr_t)*state;
	struct guest g = tsm5_guest();

	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_BIND), 0);
	make_private(&g);
	if (gone)
		assert_int_equal(delete_region(g.vm, 0), 0);
	assert_no_alias();
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_UNBIND), 0);
	assert_int_equal(aliased(), !gone);
}

static void host_access_is_an_attack(void **state)
{
	struct guest g = tsm5_guest();
	const uint8_t mine = 7;
	uint8_t bytes[2] = { 0 };

	(void)state;
	assert_int_equal(pfnbuf_sim_bar_poke(sim, TDI, 0, 0, &mine, 1), 0);
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_BIND), 0);
	assert_int_equal(kernel->pread(kernel->data, g.dev, bytes, 2, 15 * PAGE), 2);
	assert_int_equal(tdi_state(), PFNBUF_TDI_CONFIG_LOCKED);
	assert_int_equal(kernel->pread(kernel->data, g.dev, bytes, 2, 0), 2);
	assert_int_equal(bytes[0], 0xff);
	assert_int_equal(tdi_state(), PFNBUF_TDI_ERROR);
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_UNBIND), 0);
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_BIND), 0);
	bytes[0] = 0;
	assert_int_equal(kernel->pwrite(kernel->data, g.dev, bytes, 1, 0), 1);
	assert_int_equal(tdi_state(), PFNBUF_TDI_ERROR);
	assert_int_equal(pfnbuf_sim_bar_peek(sim, TDI, 0, 0, bytes, 1), 0);
	assert_int_equal(bytes[0], mine);
	assert_no_alias();
}

/* Mapped before it is private, or after. */
static void alias_with_a_mapping(void **state)
{
	bool before = (bool)(uintptr_t)*state;
	struct guest g = tsm5_guest();
	void *bar;

	if (before)
		assert_int_equal(conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, g.dev, 0, &bar), 0);
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_BIND), 0);
	assert_no_alias();
	make_private(&g);
	if (!before) {
		assert_no_alias();
		assert_int_equal(conf_mmap(c, PAGE, PROT_READ, MAP_SHARED, g.dev, 0, &bar), 0);
	}
	assert_true(aliased());
}

/* ----------------------------------------------------------------------------- cca7 */

static int request(const struct guest *g, uint32_t op, const void *payload, uint32_t size,
		   uint64_t *code)
{
	struct iommu_vdevice_tsm_req req = {
		.size = sizeof(req),
		.vdevice_id = g->vdevice,
		.op = op,
		.tvm_arch = IOMMU_VDEVICE_TSM_TVM_ARCH_CCA,
		.req_len = size,
		.req_uptr = (uintptr_t)payload,
	};
	int ret = conf_ioctl(c, g->iommufd, IOMMU_VDEVICE_TSM_REQ, &req);

	if (code)
		*code = req.tsm_code;
	return ret;
}

static int validate(const struct guest *g, uint64_t gpa, uint64_t length, uint64_t offset)
{
	const struct arm64_vdev_validate_mmio_guest_req req = {
		gpa,
		gpa + length,
		bar_address() + offset,
	};

	return request(g, TSM_REQ_VALIDATE_MMIO, &req, sizeof(req), NULL);
}

static int set_tdi_state(const struct guest *g, uint32_t to)
{
	const struct arm64_vdev_set_tdi_state_guest_req req = { to };

	return request(g, TSM_REQ_SET_TDI_STATE, &req, sizeof(req), NULL);
}

static void allocation_binds(void **state)
{
	struct iommu_ioas_noiommu_get_pa get_pa = { .size = sizeof(get_pa) };
	struct iommu_vdevice_tsm_req req = { .size = sizeof(req) };
	struct guest g;

	(void)state;
	use_profile("cca7");
	g = guest_new(IOMMU_VIOMMU_TYPE_ARM_REALM_SMMUV3);
	assert_int_equal(vdevice_alloc(&g, 1, &g.vdevice), -EINVAL);
	connect_tsm();
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_BIND_FAILS_BEFORE), 0);
	assert_int_equal(vdevice_alloc(&g, 1, &g.vdevice), -EBUSY);
	assert_false(is_bound());
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_BIND_FAILS_AFTER_COMMIT),
			 0);
	assert_int_equal(vdevice_alloc(&g, 1, &g.vdevice), -EIO);
	assert_true(is_bound());
	assert_int_equal(vdevice_alloc(&g, 1, &g.vdevice), 0);
	assert_int_equal(tdi_state(), PFNBUF_TDI_CONFIG_UNLOCKED);
	/* The number is what it is on Linux 7.3, and the VM keeps no attributes. */
	assert_int_equal(conf_ioctl(c, g.iommufd, IOMMU_IOAS_NOIOMMU_GET_PA, &get_pa), -EOPNOTSUPP);
	assert_int_equal(conf_attributes(c, g.vm, GPA, PAGE, PRIVATE), -ENOTTY);
	/* Requests that are none. */
	assert_int_equal(conf_ioctl(c, g.iommufd, IOMMU_VDEVICE_TSM_REQ, &req), -EINVAL);
	req.tvm_arch = IOMMU_VDEVICE_TSM_TVM_ARCH_CCA;
	req.op = TSM_REQ_READ_OBJECT;
	assert_int_equal(conf_ioctl(c, g.iommufd, IOMMU_VDEVICE_TSM_REQ, &req), -EINVAL);
	req.op = TSM_REQ_SET_TDI_STATE;
	assert_int_equal(conf_ioctl(c, g.iommufd, IOMMU_VDEVICE_TSM_REQ, &req), -ENOENT);
	req.vdevice_id = g.vdevice;
	assert_int_equal(conf_ioctl(c, g.iommufd, IOMMU_VDEVICE_TSM_REQ, &req), -EINVAL);
	req.req_len = 4;
	assert_int_equal(conf_ioctl(c, g.iommufd, IOMMU_VDEVICE_TSM_REQ, &req), -EFAULT);
	/* From state to state, in order. */
	assert_int_equal(set_tdi_state(&g, RHI_DA_TDI_CONFIG_RUN), -ENXIO);
	assert_int_equal(set_tdi_state(&g, RHI_DA_TDI_CONFIG_LOCKED), 0);
	assert_int_equal(set_tdi_state(&g, RHI_DA_TDI_CONFIG_LOCKED), -ENXIO);
	assert_int_equal(set_tdi_state(&g, RHI_DA_TDI_CONFIG_RUN), 0);
	assert_int_equal(set_tdi_state(&g, 3), -EINVAL);
	assert_int_equal(tdi_state(), PFNBUF_TDI_RUN);
	assert_int_equal(conf_destroy(c, g.iommufd, g.vdevice), 0);
	assert_false(is_bound());
	/* Asked by its guest's own TSM it goes in one step. */
	assert_int_equal(vdevice_alloc(&g, 1, &g.vdevice), 0);
	assert_int_equal(pfnbuf_sim_tdi_start(sim, TDI), 0);
	assert_int_equal(tdi_state(), PFNBUF_TDI_RUN);
	assert_no_alias();
}

/* A device is one guest's: a vIOMMU that another device has made can be that of another guest. */
static void bound_for_another(void **state)
{
	struct guest g, other;
	int vm;

	(void)state;
	use_profile("cca7");
	connect_tsm();
	g = guest_new(IOMMU_VIOMMU_TYPE_ARM_REALM_SMMUV3);
	other = g;
	vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);
	other.dev = conf_cdev(c, PEER);
	assert_int_equal(add_file(create_kvm_vfio(vm), other.dev), 0);
	assert_int_equal(conf_bind(c, other.dev, g.iommufd, &other.devid), 0);
	assert_int_equal(viommu_alloc(&other, IOMMU_VIOMMU_TYPE_ARM_REALM_SMMUV3, &other.viommu),
			 0);
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_BIND_FAILS_AFTER_COMMIT),
			 0);
	assert_int_equal(vdevice_alloc(&g, 1, &g.vdevice), -EIO);
	other.devid = g.devid;
	assert_int_equal(vdevice_alloc(&other, 1, &other.vdevice), -EBUSY);
	assert_int_equal(vdevice_alloc(&g, 1, &g.vdevice), 0);
}

static void validated_memory(void **state)
{
	struct arm64_vdev_validate_mmio_guest_req req = { GPA, GPA + PAGE, 0 };
	const uint8_t secret = 0x5a;
	uint64_t code = 99;
	uint8_t byte = 0;
	struct guest g = cca_guest();

	(void)state;
	assert_int_equal(validate(&g, GPA, PAGE, 0), -ENXIO);
	assert_int_equal(pfnbuf_sim_tdi_lock(sim, TDI), 0);
	assert_int_equal(validate(&g, GPA + 1, PAGE, 0), -EINVAL);
	assert_int_equal(validate(&g, GPA, 0, 0), -EINVAL);
	assert_int_equal(request(&g, TSM_REQ_VALIDATE_MMIO, &req, 16, &code), -EINVAL);
	assert_int_equal(code, 0);
	/* Not its memory; not for the guest alone; beyond the end. */
	assert_int_equal(request(&g, TSM_REQ_VALIDATE_MMIO, &req, sizeof(req), &code), -ENXIO);
	assert_int_equal(code, 1);
	assert_int_equal(validate(&g, GPA, 2 * PAGE, 13 * PAGE), -ENXIO);
	assert_int_equal(validate(&g, GPA, 2 * PAGE, BAR_SIZE - PAGE), -ENXIO);
	assert_int_equal(validate(&g, GPA, 4 * PAGE, PAGE), 0);
	assert_int_equal(validate(&g, GPA + 3 * PAGE, PAGE, 9 * PAGE), -ENXIO);
	assert_int_equal(validate(&g, GPA + 4 * PAGE, PAGE, 9 * PAGE), 0);
	assert_int_equal(pfnbuf_sim_guest_write(sim, g.vm, GPA + 5, true, &secret, 1), 0);
	assert_int_equal(pfnbuf_sim_bar_peek(sim, TDI, 0, PAGE + 5, &byte, 1), 0);
	assert_int_equal(byte, secret);
	assert_int_equal(guest_byte(g.vm, GPA, false), -EFAULT);
	assert_int_equal(guest_byte(g.vm, GPA + 5 * PAGE, true), -EFAULT);
	assert_int_equal(guest_byte(g.vm, GPA + 5 * PAGE, false), -ENXIO);
	assert_int_equal(pfnbuf_sim_tdi_start(sim, TDI), 0);
	assert_int_equal(guest_byte(g.vm, GPA + 5, true), secret);
	assert_no_alias();
	/* Nor does a device in error serve it; locked again nothing is left of it. */
	assert_int_equal(pfnbuf_sim_tdi_inject(sim, TDI, PFNBUF_SIM_TDI_ERROR_STATE), 0);
	assert_int_equal(guest_byte(g.vm, GPA + 5, true), -EIO);
	assert_int_equal(set_tdi_state(&g, RHI_DA_TDI_CONFIG_RUN), -ENXIO);
	assert_int_equal(set_tdi_state(&g, RHI_DA_TDI_CONFIG_UNLOCKED), 0);
	assert_int_equal(guest_byte(g.vm, GPA + 5, true), -EFAULT);
	assert_int_equal(pfnbuf_sim_tdi_start(sim, TDI), 0);
	assert_int_equal(validate(&g, GPA, PAGE, 0), 0);
	assert_int_equal(guest_byte(g.vm, GPA, true), 0);
	/* Destroying the vDEVICE takes it along. */
	assert_int_equal(conf_destroy(c, g.iommufd, g.vdevice), 0);
	assert_int_equal(guest_byte(g.vm, GPA, true), -EFAULT);
	assert_int_equal(guest_byte(g.vm, GPA, false), -ENXIO);
	assert_no_alias();
}

static void validated_and_elsewhere(void **state)
{
	unsigned where = (unsigned)(uintptr_t)*state;
	struct guest g = cca_guest();
	int dmabuf;
	void *bar;

	assert_int_equal(pfnbuf_sim_tdi_start(sim, TDI), 0);
	dmabuf = conf_export(c, g.dev, 0, 0, BAR_SIZE);
	/* The nest parent makes it a matter of the IOMMU. */
	if (where == 0)
		assert_int_equal(conf_map_file(c, g.iommufd, g.ioas, dmabuf, 2 * PAGE, PAGE, IOVA),
				 0);
	if (where == 1)
		assert_int_equal(conf_mmap(c, BAR_SIZE, PROT_READ, MAP_SHARED, g.dev, 0, &bar), 0);
	assert_no_alias();
	assert_int_equal(validate(&g, GPA, PAGE, 2 * PAGE), 0);
	if (where == 2) {
		assert_no_alias();
		take_away(&g, 0);
	}
	if (where == 3) {
		assert_no_alias();
		conf_close(c, g.kvm_vfio);
		conf_close(c, g.dev);
		assert_int_equal(guest_byte(g.vm, GPA, true), -EFAULT);
	}
	assert_true(aliased());
}

/* -------------------------------------------------------------------- gmem-inplace8 */

static int gmem_set(int gmem, uint64_t offset, uint64_t size, uint64_t attributes, uint64_t flags,
		    uint64_t *error_offset)
{
	struct kvm_memory_attributes2 cmd = {
		.offset = offset,
		.size = size,
		.attributes = attributes,
		.flags = flags,
		.error_offset = 1,
	};
	int ret = conf_ioctl(c, gmem, KVM_SET_MEMORY_ATTRIBUTES2, &cmd);

	if (error_offset)
		*error_offset = cmd.error_offset;
	return ret;
}

#define IN_PLACE (GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED)

static void gmem_attributes(void **state)
{
	struct kvm_memory_attributes2 cmd = { .size = PAGE, .reserved = { [10] = 1 } };
	int vm, plain, gmem;
	char *memory;
	void *map;

	(void)state;
	use_profile("gmem-inplace8");
	vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);
	plain = conf_vm(c, KVM_X86_DEFAULT_VM);
	assert_int_equal(conf_ioctl_value(c, vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_FLAGS),
			 IN_PLACE);
	assert_int_equal(conf_ioctl_value(c, vm, KVM_CHECK_EXTENSION, KVM_CAP_MEMORY_ATTRIBUTES),
			 0);
	assert_int_equal(
		conf_ioctl_value(c, vm, KVM_CHECK_EXTENSION, KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES),
		PRIVATE);
	assert_int_equal(conf_attributes(c, vm, GPA, PAGE, PRIVATE), -ENOTTY);
	gmem = conf_gmem(c, plain, PAGE, IN_PLACE);
	assert_int_equal(gmem_set(gmem, 0, PAGE, PRIVATE, 0, NULL), -EINVAL);
	gmem = conf_gmem(c, vm, 8 * PAGE, IN_PLACE);
	assert_int_equal(conf_mmap(c, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, gmem, 0, &map),
			 0);
	memory = map;
	assert_int_equal(conf_slot2(c, vm, 0, GPA, 8 * PAGE, memory, gmem, 0), 0);
	memset(memory, 0x11, 8 * PAGE);
	/* Nonsense. */
	assert_int_equal(conf_ioctl(c, gmem, KVM_SET_MEMORY_ATTRIBUTES2, NULL), -EFAULT);
	assert_int_equal(conf_ioctl(c, gmem, KVM_SET_MEMORY_ATTRIBUTES2, &cmd), -EINVAL);
	assert_int_equal(gmem_set(gmem, 0, 0, PRIVATE, 0, NULL), -EINVAL);
	assert_int_equal(gmem_set(gmem, 1, PAGE, PRIVATE, 0, NULL), -EINVAL);
	assert_int_equal(gmem_set(gmem, 0, 9 * PAGE, PRIVATE, 0, NULL), -EINVAL);
	assert_int_equal(gmem_set(gmem, -PAGE, 2 * PAGE, PRIVATE, 0, NULL), -EINVAL);
	assert_int_equal(gmem_set(gmem, 0, PAGE, 1, 0, NULL), -EINVAL);
	assert_int_equal(gmem_set(gmem, 0, PAGE, PRIVATE, 3, NULL), -EINVAL);
	assert_int_equal(gmem_set(gmem, 0, PAGE, PRIVATE, 4, NULL), -EINVAL);
	/* Two pages change sides: what was in them is lost, and the host has them no more. */
	assert_int_equal(gmem_set(gmem, 2 * PAGE, 2 * PAGE, PRIVATE, 0, NULL), 0);
	assert_int_equal(guest_byte(vm, GPA + PAGE, false), 0x11);
	assert_int_equal(guest_byte(vm, GPA + PAGE, true), -EFAULT);
	assert_int_equal(guest_byte(vm, GPA + 2 * PAGE, false), -EFAULT);
	assert_int_equal(guest_byte(vm, GPA + 3 * PAGE, true), 0);
	assert_int_equal(conf_touch(memory + PAGE + 1, true), 0);
	assert_int_equal(conf_touch(memory + 2 * PAGE, false), -EFAULT);
	assert_int_equal(conf_touch(memory + 3 * PAGE, false), -EFAULT);
	assert_int_equal(conf_touch(memory + 4 * PAGE, true), 0);
	/* And kept, where that is asked for. */
	assert_int_equal(
		gmem_set(gmem, PAGE, 2 * PAGE, PRIVATE, KVM_SET_MEMORY_ATTRIBUTES2_PRESERVE, NULL),
		0);
	assert_int_equal(guest_byte(vm, GPA + PAGE, true), 0x11);
	/* A mapping that is made now shows no more. */
	assert_int_equal(conf_mmap(c, 4 * PAGE, PROT_READ, MAP_SHARED, gmem, 0, &map), 0);
	assert_int_equal(conf_touch(map, false), 0);
	assert_int_equal(conf_touch((char *)map + PAGE, false), -EFAULT);
	assert_int_equal(gmem_set(gmem, 0, 8 * PAGE, 0, KVM_SET_MEMORY_ATTRIBUTES2_PRESERVE, NULL),
			 0);
	assert_int_equal(conf_touch((char *)map + PAGE, false), 0);
	assert_int_equal(memory[PAGE], 0x11);
	assert_int_equal(guest_byte(vm, GPA + PAGE, false), 0x11);
}

/* What no host maps is private from the start. */
static void gmem_starts_private(void **state)
{
	int vm, gmem;

	(void)state;
	use_profile("gmem-inplace8");
	vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);
	gmem = conf_gmem(c, vm, 2 * PAGE, 0);
	assert_int_equal(conf_slot2(c, vm, 0, GPA, 2 * PAGE, conf_memory(c, 2 * PAGE), gmem, 0), 0);
	assert_int_equal(guest_byte(vm, GPA, true), 0);
	assert_int_equal(guest_byte(vm, GPA, false), -EFAULT);
	assert_int_equal(gmem_set(gmem, PAGE, PAGE, 0, 0, NULL), 0);
	assert_int_equal(guest_byte(vm, GPA + PAGE, false), 0);
	assert_int_equal(guest_byte(vm, GPA, true), 0);
}

static void gmem_pages_are_held(void **state)
{
	int iommufd, vm, gmem;
	uint64_t where = 0;
	uint32_t ioas;
	void *memory;

	(void)state;
	use_profile("gmem-inplace8");
	iommufd = conf_iommufd_open(c);
	ioas = conf_ioas_new(c, iommufd);
	conf_device_open(c, FLR, iommufd, ioas);
	vm = conf_vm(c, KVM_X86_SW_PROTECTED_VM);
	gmem = conf_gmem(c, vm, 8 * PAGE, IN_PLACE);
	assert_int_equal(
		conf_mmap(c, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, gmem, 2 * PAGE, &memory),
		0);
	/* An area over pages 4 and 5. */
	assert_int_equal(conf_map(c, iommufd, ioas, (char *)memory + 2 * PAGE, 2 * PAGE, IOVA), 0);
	assert_int_equal(gmem_set(gmem, 0, 8 * PAGE, PRIVATE, 0, &where), -EAGAIN);
	assert_int_equal(where, 4 * PAGE);
	assert_int_equal(gmem_set(gmem, 5 * PAGE, PAGE, PRIVATE, 0, &where), -EAGAIN);
	assert_int_equal(where, 5 * PAGE);
	assert_int_equal(gmem_set(gmem, 0, 4 * PAGE, PRIVATE, 0, &where), 0);
	assert_int_equal(where, 1);
	assert_int_equal(gmem_set(gmem, 6 * PAGE, 2 * PAGE, PRIVATE, 0, NULL), 0);
	/* The way back is always open. */
	assert_int_equal(gmem_set(gmem, 0, 8 * PAGE, 0, 0, NULL), 0);
	/* The process lets go of it, the IOMMU does not. */
	conf_munmap(c, memory, 6 * PAGE);
	assert_int_equal(gmem_set(gmem, 4 * PAGE, PAGE, PRIVATE, 0, NULL), -EAGAIN);
	conf_unmap(c, iommufd, ioas, IOVA, 2 * PAGE, NULL);
	assert_int_equal(gmem_set(gmem, 4 * PAGE, PAGE, PRIVATE, 0, NULL), 0);
	/* Private pages are pinned by nobody. */
	assert_int_equal(
		conf_mmap(c, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, gmem, 0, &memory), 0);
	assert_int_equal(conf_map(c, iommufd, ioas, memory, 8 * PAGE, IOVA), -EFAULT);
	assert_int_equal(conf_map(c, iommufd, ioas, memory, 4 * PAGE, IOVA), 0);
	/* Somebody else. */
	assert_int_equal(pfnbuf_sim_gmem_pin(sim, gmem, 6 * PAGE + 5, true), 0);
	assert_int_equal(gmem_set(gmem, 5 * PAGE, 3 * PAGE, PRIVATE, 0, &where), -EAGAIN);
	assert_int_equal(where, 6 * PAGE);
	assert_int_equal(pfnbuf_sim_gmem_pin(sim, gmem, 6 * PAGE, false), 0);
	assert_int_equal(gmem_set(gmem, 5 * PAGE, 3 * PAGE, PRIVATE, 0, NULL), 0);
	assert_int_equal(pfnbuf_sim_gmem_pin(sim, gmem, 8 * PAGE, true), -EINVAL);
	assert_int_equal(pfnbuf_sim_gmem_pin(sim, vm, 0, true), -EBADF);
	assert_no_alias();
}

/* The simulated kernel ends, and nobody has closed anything. */
static void ends_with_all_open(void **state)
{
	struct guest g = tsm5_guest();

	(void)state;
	assert_int_equal(tsm_op(&g, IOMMU_VDEVICE_TSM_BIND), 0);
	make_private(&g);
	pfnbuf_sim_free(sim);
	assert_int_equal(pfnbuf_sim_new(&sim), 0);
	conf.kernel = pfnbuf_sim_kernel(sim);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define CASE(name, way) cmocka_unit_test_prestate_setup_teardown(name, set_up, tear_down, WAY(way))
#define WAY(way)	((void *)(uintptr_t)(way))

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sysfs_connects),
		TEST(mainline_has_none),
		TEST(dmabuf_slot_rules),
		TEST(vfio_binds),
		TEST(bind_takes_a_vm),
		TEST(bind_takes_its_own_vdevice),
		TEST(bind_takes_private_memory),
		TEST(private_slots),
		TEST(unbound_memory_is_not_private),
		TEST(slots_outlive_the_bind),
		CASE(slots_go_before_the_bind, 0),
		CASE(slots_go_before_the_bind, 1),
		TEST(revoked_while_bound),
		CASE(revoked_while_private, 0),
		CASE(revoked_while_private, 1),
		CASE(revoked_while_private, 2),
		CASE(revoked_while_private, 3),
		CASE(revoked_while_private, 4),
		CASE(revoked_while_private, 5),
		CASE(revoked_while_private, NR_REVOKES),
		TEST(slot_survives_revocation),
		CASE(alias_is_seen, 0),
		CASE(alias_is_seen, 1),
		CASE(alias_is_seen, 2),
		TEST(alias_by_attribute),
		TEST(dma_does_not_land),
		TEST(reports),
		TEST(own_report),
		TEST(faults_of_the_tsm),
		TEST(vdevice_op),
		TEST(two_devices_one_viommu),
		TEST(without_a_vm),
		TEST(pre_fault_brings_it_in),
		CASE(unbind_under_private_slots, false),
		CASE(unbind_under_private_slots, true),
		TEST(host_access_is_an_attack),
		CASE(alias_with_a_mapping, true),
		CASE(alias_with_a_mapping, false),
		TEST(allocation_binds),
		TEST(bound_for_another),
		TEST(validated_memory),
		CASE(validated_and_elsewhere, 0),
		CASE(validated_and_elsewhere, 1),
		CASE(validated_and_elsewhere, 2),
		CASE(validated_and_elsewhere, 3),
		TEST(gmem_attributes),
		TEST(gmem_starts_private),
		TEST(gmem_pages_are_held),
		TEST(ends_with_all_open),
	};

	return cmocka_run_group_tests_name("proposed interfaces", tests, NULL, NULL);
}
