/* SPDX-License-Identifier: MIT */
/*
 * /dev/iommu: objects, the framing of its calls, devices and what they are attached to
 * (drivers/iommu/iommufd/main.c, ioas.c, device.c, hw_pagetable.c).
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "sim.h"

#define MSI_START 0xfee00000ULL
#define MSI_LAST  0xfeefffffULL

#define MAP_FLAGS (IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE)
#define MAP_PROT  (IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE)

/* ------------------------------------------------------------------------- objects */

struct sim_object *sim_object_get(struct sim_ictx *ictx, uint32_t id, enum sim_object_type type)
{
	struct sim_object *obj = id < ictx->nr_objects ? ictx->objects[id] : NULL;

	return obj && (!type || obj->type == type) ? obj : NULL;
}

int sim_object_add(struct sim_ictx *ictx, struct sim_object *obj, enum sim_object_type type)
{
	uint32_t id = MAX(ictx->lowest_free, 1U);

	while (id < ictx->nr_objects && ictx->objects[id])
		id++;
	if (id >= ictx->nr_objects) {
		uint32_t n = MAX(ictx->nr_objects * 2, 16U);
		struct sim_object **objects = realloc(ictx->objects, n * sizeof(void *));

		if (!objects)
			return -ENOMEM;
		memset(objects + ictx->nr_objects, 0, (n - ictx->nr_objects) * sizeof(void *));
		ictx->objects = objects;
		ictx->nr_objects = n;
	}
	obj->type = type;
	obj->id = id;
	ictx->objects[id] = obj;
	ictx->lowest_free = id + 1;
	ictx->live++;
	return 0;
}

void sim_object_remove(struct sim_ictx *ictx, struct sim_object *obj)
{
	ictx->objects[obj->id] = NULL;
	ictx->lowest_free = MIN(ictx->lowest_free, obj->id);
	ictx->live--;
}

struct sim_ioas *sim_ioas_get(struct sim_ictx *ictx, uint32_t id)
{
	return (struct sim_ioas *)sim_object_get(ictx, id, SIM_OBJ_IOAS);
}

static struct sim_ioas *ioas_new(struct sim_ictx *ictx)
{
	struct sim_ioas *ioas = calloc(1, sizeof(*ioas));

	if (!ioas)
		return NULL;
	ioas->ictx = ictx;
	ioas->alignment = 1;
	if (sim_object_add(ictx, &ioas->obj, SIM_OBJ_IOAS)) {
		free(ioas);
		return NULL;
	}
	return ioas;
}

static void hwpt_destroy(struct pfnbuf_sim *sim, struct sim_hwpt *hwpt)
{
	struct sim_ioas *ioas = hwpt->ioas;

	if (hwpt->parent) {
		hwpt->parent->obj.users--;
	} else {
		sim_ioas_remove_hwpt(sim, ioas, hwpt);
		ioas->obj.users--;
	}
	if (hwpt->fault)
		hwpt->fault->obj.users--;
	sim_object_remove(ioas->ictx, &hwpt->obj);
	free(hwpt);
}

static void ioas_destroy(struct pfnbuf_sim *sim, struct sim_ioas *ioas)
{
	if (ioas->ictx->compat == ioas)
		ioas->ictx->compat = NULL;
	sim_ioas_clear(sim, ioas);
	sim_object_remove(ioas->ictx, &ioas->obj);
	free(ioas);
}

static void drop_faults(struct sim_vec *vec)
{
	for (size_t i = 0; i < vec->n; i++)
		free(vec->v[i]);
	sim_vec_free(vec);
}

static void queue_destroy(struct sim_fault_queue *queue)
{
	drop_faults(&queue->waiting);
	drop_faults(&queue->answered);
	sim_object_remove(queue->ictx, &queue->obj);
	free(queue);
}

static void object_destroy(struct pfnbuf_sim *sim, struct sim_ictx *ictx, struct sim_object *obj)
{
	switch (obj->type) {
	case SIM_OBJ_HWPT:
	case SIM_OBJ_NESTED:
		hwpt_destroy(sim, (struct sim_hwpt *)obj);
		break;
	case SIM_OBJ_IOAS:
		ioas_destroy(sim, (struct sim_ioas *)obj);
		break;
	case SIM_OBJ_FAULT:
		queue_destroy((struct sim_fault_queue *)obj);
		break;
	case SIM_OBJ_SELFTEST:
		sim_selftest_destroy(sim, ictx, obj);
		break;
	case SIM_OBJ_VIOMMU:
		sim_viommu_destroy(sim, (struct sim_viommu *)obj);
		break;
	case SIM_OBJ_VDEVICE:
		sim_vdevice_destroy((struct sim_vdevice *)obj);
		break;
	case SIM_OBJ_TOMBSTONE:
	case SIM_OBJ_ACCESS:
	case SIM_OBJ_IDEV:
		sim_object_remove(ictx, obj);
		free(obj);
		break;
	}
}

/* ------------------------------------------------------------------------- devices */

/* The next device of the group, @at included, that is bound; NULL: none. */
static struct sim_vdev *bound_member(struct sim_vdev *at, unsigned group)
{
	while (at && (at->group != group || !at->idev))
		at = at->next;
	return at;
}

bool sim_iommufd_owns_group(const struct sim_ictx *ictx, const struct sim_vdev *vdev)
{
	const struct sim_vdev *member = bound_member(vdev->sim->vdevs, vdev->group);

	return member && member->ictx == ictx;
}

struct sim_idev *sim_idev_new(struct sim_ictx *ictx)
{
	struct sim_idev *idev = calloc(1, sizeof(*idev));

	if (!idev)
		return NULL;
	if (sim_object_add(ictx, &idev->obj, SIM_OBJ_IDEV)) {
		free(idev);
		return NULL;
	}
	/* The driver needs it for as long as the device is open. */
	idev->obj.users = 1;
	idev->ictx = ictx;
	return idev;
}

static void leave(struct pfnbuf_sim *sim, struct sim_idev *idev);

void sim_idev_free(struct pfnbuf_sim *sim, struct sim_idev *idev)
{
	leave(sim, idev);
	sim_vdevice_bury(idev);
	sim_object_remove(idev->ictx, &idev->obj);
	free(idev);
}

int sim_iommufd_bind(struct pfnbuf_sim *sim, struct sim_ictx *ictx, struct sim_vdev *vdev)
{
	struct sim_idev *idev;

	if (vdev->flags & PFNBUF_SIM_NO_GROUP)
		return -ENODEV;
	/* The DMA of a group has one owner. */
	if (bound_member(sim->vdevs, vdev->group) && !sim_iommufd_owns_group(ictx, vdev))
		return -EPERM;
	idev = sim_idev_new(ictx);
	if (!idev)
		return -ENOMEM;
	idev->vdev = vdev;
	vdev->idev = idev;
	vdev->ictx = ictx;
	return 0;
}

void sim_iommufd_unbind(struct pfnbuf_sim *sim, struct sim_vdev *vdev)
{
	sim_idev_free(sim, vdev->idev);
	vdev->idev = NULL;
	vdev->ictx = NULL;
}

/* One user less; an automatic one goes with its last. */
static void hwpt_put(struct pfnbuf_sim *sim, struct sim_hwpt *hwpt)
{
	hwpt->obj.users--;
	if (hwpt->automatic && !hwpt->obj.users)
		hwpt_destroy(sim, hwpt);
}

static int reserve_msi(struct sim_ioas *ioas, struct sim_idev *idev)
{
	return sim_ioas_reserve(ioas, MSI_START, MSI_LAST, idev);
}

/*
 * The next device of the group, @at included, that is attached: all are to one and the same HWPT.
 */
static struct sim_vdev *attached_member(struct sim_vdev *at, unsigned group)
{
	while (at && (at->group != group || !at->idev || !at->idev->hwpt))
		at = at->next;
	return at;
}

static int move_reserved(struct sim_vdev *vdevs, unsigned group, struct sim_ioas *from,
			 struct sim_ioas *to)
{
	struct sim_vdev *member;
	int ret = 0;

	for (member = attached_member(vdevs, group); member && !ret;
	     member = attached_member(member->next, group))
		ret = reserve_msi(to, member->idev);
	for (member = attached_member(vdevs, group); member;
	     member = attached_member(member->next, group))
		sim_ioas_unreserve(ret ? to : from, member->idev);
	return ret;
}

/* The whole group moves. The old HWPT keeps one user, which the caller drops. */
static int move(struct sim_idev *idev, struct sim_hwpt *hwpt)
{
	struct sim_vdev *vdevs = idev->vdev->sim->vdevs;
	unsigned group = idev->vdev->group;
	struct sim_hwpt *old = idev->hwpt;
	int ret = old->ioas == hwpt->ioas ? 0 : move_reserved(vdevs, group, old->ioas, hwpt->ioas);

	if (ret)
		return ret;
	for (struct sim_vdev *member = attached_member(vdevs, group); member;
	     member = attached_member(member->next, group)) {
		member->idev->hwpt = hwpt;
		hwpt->obj.users++;
		old->obj.users--;
	}
	old->obj.users++;
	return 0;
}

/*
 * Attach to, or move over to, a HWPT that is part of its IOAS already. On success the caller drops
 * the old one, which may be the same.
 */
static int join(struct sim_idev *idev, struct sim_hwpt *hwpt)
{
	struct sim_vdev *member;
	int ret;

	if (idev->hwpt == hwpt)
		return 0;
	/* A domain is for devices behind an IOMMU of the same driver. */
	if (hwpt->domain.mock != (idev->mock != NULL))
		return -EINVAL;
	if (idev->mock) {
		/* Alone in its group, and nothing is reserved for it. */
		hwpt->obj.users++;
		idev->hwpt = hwpt;
		return 0;
	}
	member = attached_member(idev->vdev->sim->vdevs, idev->vdev->group);
	if (idev->hwpt)
		return move(idev, hwpt);
	if (member && member->idev->hwpt != hwpt)
		return -EINVAL;
	ret = reserve_msi(hwpt->ioas, idev);
	if (ret)
		return ret;
	hwpt->obj.users++;
	idev->hwpt = hwpt;
	return 0;
}

/* What the IOMMU of the devices of VFIO is. @cmd: NULL for what is made by attaching. */
static int domain_init(const struct pfnbuf_sim *sim, const struct sim_idev *idev,
		       const struct iommu_hwpt_alloc *cmd, struct sim_domain *domain)
{
	uint32_t flags = IOMMU_HWPT_FAULT_ID_VALID;

	if (idev->mock)
		return sim_mock_domain(idev->mock, cmd, domain);
	/*
	 * One stage, no dirty tracking, no PASIDs: of the flags only the fault queue's. What binds
	 * devices has vIOMMUs, and these stand on a HWPT that a second stage would go on.
	 */
	if (sim_binds(sim))
		flags |= IOMMU_HWPT_ALLOC_NEST_PARENT;
	if (cmd && (cmd->flags & ~flags || cmd->data_len))
		return -EOPNOTSUPP;
	*domain = (struct sim_domain){
		.nest_parent = cmd && cmd->flags & IOMMU_HWPT_ALLOC_NEST_PARENT,
		.alignment = sim_page_size(),
		.last = sim->aperture_bits < 64 ? (1ULL << sim->aperture_bits) - 1 : UINT64_MAX,
	};
	return 0;
}

static int hwpt_new(const struct pfnbuf_sim *sim, const struct sim_idev *idev,
		    struct sim_ioas *ioas, const struct iommu_hwpt_alloc *cmd,
		    struct sim_hwpt **hwptp)
{
	struct sim_hwpt *hwpt = calloc(1, sizeof(*hwpt));
	int ret;

	if (!hwpt)
		return -ENOMEM;
	hwpt->ioas = ioas;
	ret = domain_init(sim, idev, cmd, &hwpt->domain);
	if (ret) {
		free(hwpt);
		return ret;
	}
	if (sim_object_add(ioas->ictx, &hwpt->obj, SIM_OBJ_HWPT)) {
		free(hwpt);
		return -ENOMEM;
	}
	ioas->obj.users++;
	*hwptp = hwpt;
	return 0;
}

/*
 * A device that is not attached yet is attached before the new HWPT sees the areas; a replacing
 * one after.
 */
static int join_new(struct pfnbuf_sim *sim, struct sim_idev *idev, struct sim_ioas *ioas,
		    struct sim_hwpt **hwptp)
{
	struct sim_hwpt *old = idev->hwpt;
	struct sim_hwpt *hwpt;
	int ret = hwpt_new(sim, idev, ioas, NULL, &hwpt);

	if (ret)
		return ret;
	ret = old ? 0 : join(idev, hwpt);
	if (!ret)
		ret = sim_ioas_add_hwpt(sim, ioas, hwpt);
	if (!ret)
		ret = join(idev, hwpt);
	if (ret) {
		if (idev->hwpt == hwpt) {
			sim_ioas_unreserve(ioas, idev);
			idev->hwpt = NULL;
		}
		hwpt_destroy(sim, hwpt);
		return ret;
	}
	hwpt->automatic = true;
	*hwptp = hwpt;
	return 0;
}

static int join_ioas(struct pfnbuf_sim *sim, struct sim_idev *idev, struct sim_ioas *ioas,
		     struct sim_hwpt **hwptp)
{
	for (size_t i = 0; i < ioas->hwpts.n; i++) {
		struct sim_hwpt *hwpt = ioas->hwpts.v[i];
		int ret;

		if (!hwpt->automatic)
			continue;
		ret = join(idev, hwpt);
		if (ret == -EINVAL)
			continue;
		*hwptp = hwpt;
		return ret;
	}
	return join_new(sim, idev, ioas, hwptp);
}

/* Nobody will answer for a device that has left the HWPT. */
static void forget_faults(struct sim_fault_queue *queue, const struct sim_idev *idev)
{
	for (size_t i = queue ? queue->waiting.n : 0; i--;) {
		struct sim_fault *fault = queue->waiting.v[i];

		if (fault->idev != idev)
			continue;
		sim_vec_remove(&queue->waiting, i, 1);
		free(fault);
		sim_file_set_ready(queue->file, queue->waiting.n);
	}
	for (size_t i = queue ? queue->answered.n : 0; i--;) {
		struct sim_fault *fault = queue->answered.v[i];

		if (!fault || fault->idev != idev)
			continue;
		queue->answered.v[i] = NULL;
		free(fault);
	}
}

/* Attach, or replace what it is attached to (iommufd_device_change_pt). */
static int change_pt(struct pfnbuf_sim *sim, struct sim_idev *idev, uint32_t *pt_id)
{
	struct sim_object *obj = sim_object_get(idev->ictx, *pt_id, 0);
	struct sim_hwpt *old = idev->hwpt;
	struct sim_hwpt *hwpt = NULL;
	int ret;

	if (!obj)
		return -ENOENT;
	if (obj->type == SIM_OBJ_IOAS) {
		ret = join_ioas(sim, idev, (struct sim_ioas *)obj, &hwpt);
	} else if (obj->type == SIM_OBJ_HWPT || obj->type == SIM_OBJ_NESTED) {
		hwpt = (struct sim_hwpt *)obj;
		ret = join(idev, hwpt);
	} else {
		ret = -EINVAL;
	}
	if (ret)
		return ret;
	*pt_id = hwpt->obj.id;
	if (old && old != hwpt) {
		forget_faults(old->fault, idev);
		hwpt_put(sim, old);
	}
	return 0;
}

/* To attach is refused for the device's own sake: with @error, if @pt_id is what one attaches to. */
static int refuse(const struct sim_idev *idev, uint32_t pt_id, int error)
{
	const struct sim_object *obj = sim_object_get(idev->ictx, pt_id, 0);

	if (!obj)
		return -ENOENT;
	return obj->type == SIM_OBJ_IOAS || obj->type == SIM_OBJ_HWPT || obj->type == SIM_OBJ_NESTED
		       ? error
		       : -EINVAL;
}

static void leave(struct pfnbuf_sim *sim, struct sim_idev *idev)
{
	struct sim_hwpt *hwpt = idev->hwpt;

	if (!hwpt)
		return;
	idev->hwpt = NULL;
	idev->as_pasid = false;
	forget_faults(hwpt->fault, idev);
	sim_ioas_unreserve(hwpt->ioas, idev);
	hwpt_put(sim, hwpt);
}

/*
 * VFIO counts an attachment as PASID 0 (IOMMU_NO_PASID) apart from the plain one, iommufd has one
 * place for both: neither replaces the other, and neither ends it (drivers/vfio/iommufd.c).
 */
int sim_iommufd_attach(struct pfnbuf_sim *sim, struct sim_idev *idev, uint32_t *pt_id)
{
	return idev->as_pasid ? refuse(idev, *pt_id, -EBUSY) : change_pt(sim, idev, pt_id);
}

void sim_iommufd_detach(struct pfnbuf_sim *sim, struct sim_idev *idev)
{
	if (!idev->as_pasid)
		leave(sim, idev);
}

/*
 * What VFIO takes for a PASID that is attached already: asked for it, its table answers -EINVAL, the
 * same number. A HWPT that an IOAS has not yet is made, and filled, before the replacing fails.
 */
#define PASID_EINVAL ((uint32_t)-EINVAL)

static int replace_nothing(struct pfnbuf_sim *sim, struct sim_idev *idev, uint32_t pt_id)
{
	struct sim_ioas *ioas = sim_ioas_get(idev->ictx, pt_id);
	struct sim_hwpt *hwpt;
	int ret;

	if (!ioas)
		return refuse(idev, pt_id, -EINVAL);
	ret = hwpt_new(sim, idev, ioas, NULL, &hwpt);
	if (ret)
		return ret;
	ret = sim_ioas_add_hwpt(sim, ioas, hwpt);
	hwpt_destroy(sim, hwpt);
	return ret ? ret : -EINVAL;
}

int sim_iommufd_attach_pasid(struct pfnbuf_sim *sim, struct sim_idev *idev, uint32_t pasid,
			     uint32_t *pt_id)
{
	int ret;

	if (pasid == PASID_EINVAL)
		return replace_nothing(sim, idev, *pt_id);
	if (pasid > INT32_MAX)
		return -ENOSPC;
	/* No HWPT here has been made for PASIDs (iommufd_hwpt_pasid_compat). */
	if (pasid)
		return refuse(idev, *pt_id, -EINVAL);
	if (idev->hwpt && !idev->as_pasid)
		return refuse(idev, *pt_id, -EBUSY);
	ret = change_pt(sim, idev, pt_id);
	if (!ret)
		idev->as_pasid = true;
	return ret;
}

void sim_iommufd_detach_pasid(struct pfnbuf_sim *sim, struct sim_idev *idev, uint32_t pasid)
{
	if (!pasid && idev->as_pasid)
		leave(sim, idev);
}

/* --------------------------------------------------------------------------- calls */

struct call {
	struct pfnbuf_sim *sim;
	struct sim_ictx *ictx;
	uint64_t user;
	uint32_t user_size;
	union {
		struct iommu_destroy destroy;
		struct iommu_fault_alloc fault;
		struct iommu_hw_info info;
		struct iommu_hw_queue_alloc hw_queue;
		struct iommu_hwpt_alloc hwpt;
		struct iommu_hwpt_get_dirty_bitmap get_dirty;
		struct iommu_hwpt_invalidate invalidate;
		struct iommu_hwpt_set_dirty_tracking set_dirty;
		struct iommu_ioas_alloc alloc;
		struct iommu_ioas_allow_iovas allow;
		struct iommu_ioas_change_process change_process;
		struct iommu_ioas_copy copy;
		struct iommu_ioas_iova_ranges ranges;
		struct iommu_ioas_map map;
		struct iommu_ioas_map_file map_file;
		struct iommu_ioas_noiommu_get_pa get_pa;
		struct iommu_ioas_unmap unmap;
		struct iommu_option option;
		struct iommu_test_cmd test;
		struct iommu_vdevice_alloc vdevice;
		struct iommu_vdevice_tsm_op tsm_op;
		struct iommu_vdevice_tsm_req tsm_req;
		struct iommu_veventq_alloc veventq;
		struct iommu_vfio_ioas vfio_ioas;
		struct iommu_viommu_alloc viommu;
	};
};

static int respond(const struct call *c, size_t size)
{
	return sim_copy_out(c->user, &c->destroy, MIN(size, c->user_size));
}

static int call_destroy(struct call *c)
{
	struct sim_object *obj = sim_object_get(c->ictx, c->destroy.id, 0);

	int ret = 0;

	if (!obj || obj->type == SIM_OBJ_TOMBSTONE)
		return -ENOENT;
	if (obj->users)
		return -EBUSY;
	if (obj->type == SIM_OBJ_VDEVICE)
		ret = sim_vdevice_release((struct sim_vdevice *)obj);
	if (ret)
		return ret;
	object_destroy(c->sim, c->ictx, obj);
	return 0;
}

static int call_ioas_alloc(struct call *c)
{
	struct sim_ioas *ioas;
	int ret;

	if (c->alloc.flags)
		return -EOPNOTSUPP;
	ioas = ioas_new(c->ictx);
	if (!ioas)
		return -ENOMEM;
	c->alloc.out_ioas_id = ioas->obj.id;
	ret = respond(c, sizeof(c->alloc));
	if (ret)
		ioas_destroy(c->sim, ioas);
	return ret;
}

static int report_hole(struct call *c, uint32_t room, uint64_t start, uint64_t last)
{
	struct iommu_iova_range range = { start, last };
	int ret = 0;

	if (c->ranges.num_iovas < room)
		ret = sim_copy_out(c->ranges.allowed_iovas + c->ranges.num_iovas * sizeof(range),
				   &range, sizeof(range));
	c->ranges.num_iovas++;
	return ret;
}

static int call_iova_ranges(struct call *c)
{
	uint32_t room = c->ranges.num_iovas;
	struct sim_ioas *ioas;
	uint64_t pos = 0;
	bool open_ended = true;

	if (c->ranges.__reserved)
		return -EOPNOTSUPP;
	ioas = sim_ioas_get(c->ictx, c->ranges.ioas_id);
	if (!ioas)
		return -ENOENT;
	c->ranges.num_iovas = 0;
	c->ranges.out_iova_alignment = ioas->alignment;
	for (size_t i = 0; i < ioas->nr_reserved && open_ended; i++) {
		const struct sim_range *reserved = &ioas->reserved[i];

		if (reserved->start > pos && report_hole(c, room, pos, reserved->start - 1))
			return -EFAULT;
		if (reserved->last == UINT64_MAX)
			open_ended = false;
		else if (reserved->last >= pos)
			pos = reserved->last + 1;
	}
	if (open_ended && report_hole(c, room, pos, UINT64_MAX))
		return -EFAULT;
	if (respond(c, sizeof(c->ranges)))
		return -EFAULT;
	return c->ranges.num_iovas > room ? -EMSGSIZE : 0;
}

static int load_allowed(struct call *c, struct sim_range *ranges)
{
	size_t n = 0;

	for (uint32_t i = 0; i < c->allow.num_iovas; i++) {
		struct iommu_iova_range range;
		size_t at = 0;

		if (sim_copy_in(&range, c->allow.allowed_iovas + i * sizeof(range), sizeof(range)))
			return -EFAULT;
		if (range.start >= range.last)
			return -EINVAL;
		while (at < n && ranges[at].last < range.start)
			at++;
		if (at < n && ranges[at].start <= range.last)
			return -EINVAL;
		memmove(ranges + at + 1, ranges + at, (n - at) * sizeof(*ranges));
		ranges[at] = (struct sim_range){ range.start, range.last, NULL };
		n++;
	}
	return 0;
}

static int call_allow_iovas(struct call *c)
{
	struct sim_ioas *ioas;
	struct sim_range *ranges;
	int ret;

	if (c->allow.__reserved)
		return -EOPNOTSUPP;
	ioas = sim_ioas_get(c->ictx, c->allow.ioas_id);
	if (!ioas)
		return -ENOENT;
	ranges = calloc((size_t)c->allow.num_iovas + 1, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	ret = load_allowed(c, ranges);
	if (!ret)
		ret = sim_ioas_set_allowed(ioas, ranges, c->allow.num_iovas);
	if (ret)
		free(ranges);
	return ret;
}

static int call_map(struct call *c)
{
	struct iommu_ioas_map *cmd = &c->map;
	struct sim_ioas *ioas;
	int ret;

	if (cmd->flags & ~(uint32_t)MAP_FLAGS || cmd->__reserved)
		return -EOPNOTSUPP;
	if (cmd->iova == UINT64_MAX || cmd->length == UINT64_MAX)
		return -EOVERFLOW;
	if (!(cmd->flags & MAP_PROT))
		return -EINVAL;
	ioas = sim_ioas_get(c->ictx, cmd->ioas_id);
	if (!ioas)
		return -ENOENT;
	ret = sim_ioas_map_user(c->sim, ioas, cmd->user_va, cmd->length, cmd->flags & MAP_PROT,
				cmd->flags & IOMMU_IOAS_MAP_FIXED_IOVA, &cmd->iova);
	return ret ? ret : respond(c, sizeof(*cmd));
}

static int call_map_file(struct call *c)
{
	struct iommu_ioas_map_file *cmd = &c->map_file;
	struct sim_ioas *ioas;
	int ret;

	if (cmd->flags & ~(uint32_t)MAP_FLAGS)
		return -EOPNOTSUPP;
	if (cmd->iova == UINT64_MAX || cmd->length == UINT64_MAX)
		return -EOVERFLOW;
	if (!(cmd->flags & MAP_PROT))
		return -EINVAL;
	ioas = sim_ioas_get(c->ictx, cmd->ioas_id);
	if (!ioas)
		return -ENOENT;
	ret = sim_ioas_map_file(c->sim, ioas, cmd->fd, cmd->start, cmd->length,
				cmd->flags & MAP_PROT, cmd->flags & IOMMU_IOAS_MAP_FIXED_IOVA,
				&cmd->iova);
	return ret ? ret : respond(c, sizeof(*cmd));
}

static int call_copy(struct call *c)
{
	struct iommu_ioas_copy *cmd = &c->copy;
	struct sim_ioas *src, *dst;
	struct sim_copy copy;
	int ret;

	if (cmd->flags & ~(uint32_t)MAP_FLAGS)
		return -EOPNOTSUPP;
	if (cmd->length == UINT64_MAX || cmd->src_iova == UINT64_MAX || cmd->dst_iova == UINT64_MAX)
		return -EOVERFLOW;
	if (!(cmd->flags & MAP_PROT))
		return -EINVAL;
	src = sim_ioas_get(c->ictx, cmd->src_ioas_id);
	if (!src)
		return -ENOENT;
	ret = sim_ioas_collect(src, cmd->src_iova, cmd->length, &copy);
	if (ret)
		return ret;
	dst = sim_ioas_get(c->ictx, cmd->dst_ioas_id);
	ret = !dst ? -ENOENT
		   : sim_ioas_paste(c->sim, dst, &copy, cmd->length, cmd->flags & MAP_PROT,
				    cmd->flags & IOMMU_IOAS_MAP_FIXED_IOVA, &cmd->dst_iova);
	free(copy.pieces);
	return ret ? ret : respond(c, sizeof(*cmd));
}

static int call_unmap(struct call *c)
{
	struct iommu_ioas_unmap *cmd = &c->unmap;
	struct sim_ioas *ioas = sim_ioas_get(c->ictx, cmd->ioas_id);
	uint64_t last, unmapped;
	int ret;

	if (!ioas)
		return -ENOENT;
	if (!cmd->iova && cmd->length == UINT64_MAX) {
		ret = sim_ioas_unmap(c->sim, ioas, 0, UINT64_MAX, &unmapped);
	} else {
		if (cmd->iova == UINT64_MAX || cmd->length == UINT64_MAX)
			return -EOVERFLOW;
		if (!cmd->length)
			return -EINVAL;
		if (__builtin_add_overflow(cmd->iova, cmd->length - 1, &last))
			return -EOVERFLOW;
		ret = sim_ioas_unmap(c->sim, ioas, cmd->iova, last, &unmapped);
		if (!ret && !unmapped)
			ret = -ENOENT;
	}
	if (ret)
		return ret;
	cmd->length = unmapped;
	return respond(c, sizeof(*cmd));
}

static int option_rlimit(struct call *c)
{
	struct iommu_option *cmd = &c->option;

	if (cmd->object_id)
		return -EOPNOTSUPP;
	if (cmd->op == IOMMU_OPTION_OP_GET) {
		cmd->val64 = c->ictx->rlimit_mm;
		return 0;
	}
	if (cmd->op != IOMMU_OPTION_OP_SET)
		return -EOPNOTSUPP;
	if (geteuid())
		return -EPERM;
	if (c->ictx->live)
		return -EBUSY;
	if (cmd->val64 > 1)
		return -EINVAL;
	c->ictx->rlimit_mm = cmd->val64;
	return 0;
}

static int option_huge_pages(struct call *c)
{
	struct iommu_option *cmd = &c->option;
	struct sim_ioas *ioas = sim_ioas_get(c->ictx, cmd->object_id);

	if (!ioas)
		return -ENOENT;
	if (cmd->op == IOMMU_OPTION_OP_GET) {
		cmd->val64 = !ioas->disable_large_pages;
		return 0;
	}
	if (cmd->op != IOMMU_OPTION_OP_SET)
		return -EOPNOTSUPP;
	if (cmd->val64 > 1)
		return -EINVAL;
	if (!cmd->val64)
		return sim_ioas_disable_large_pages(ioas);
	sim_ioas_enable_large_pages(ioas);
	return 0;
}

static int call_option(struct call *c)
{
	int ret;

	if (c->option.__reserved)
		return -EOPNOTSUPP;
	if (c->option.option_id == IOMMU_OPTION_RLIMIT_MODE)
		ret = option_rlimit(c);
	else if (c->option.option_id == IOMMU_OPTION_HUGE_PAGES)
		ret = option_huge_pages(c);
	else
		return -EOPNOTSUPP;
	return ret ? ret
		   : sim_copy_out(c->user + offsetof(struct iommu_option, val64), &c->option.val64,
				  sizeof(c->option.val64));
}

static int call_vfio_ioas(struct call *c)
{
	struct iommu_vfio_ioas *cmd = &c->vfio_ioas;
	struct sim_ioas *ioas;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	switch (cmd->op) {
	case IOMMU_VFIO_IOAS_GET:
		if (!c->ictx->compat)
			return -ENODEV;
		cmd->ioas_id = c->ictx->compat->obj.id;
		return respond(c, sizeof(*cmd));
	case IOMMU_VFIO_IOAS_SET:
		ioas = sim_ioas_get(c->ictx, cmd->ioas_id);
		if (!ioas)
			return -ENOENT;
		c->ictx->compat = ioas;
		return 0;
	case IOMMU_VFIO_IOAS_CLEAR:
		c->ictx->compat = NULL;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static int take_queue(struct call *c, struct sim_hwpt *hwpt)
{
	if (!(c->hwpt.flags & IOMMU_HWPT_FAULT_ID_VALID))
		return 0;
	hwpt->fault =
		(struct sim_fault_queue *)sim_object_get(c->ictx, c->hwpt.fault_id, SIM_OBJ_FAULT);
	if (!hwpt->fault)
		return -ENOENT;
	hwpt->fault->obj.users++;
	return 0;
}

static int hwpt_from_ioas(struct call *c, const struct sim_idev *idev, struct sim_ioas *ioas,
			  struct sim_hwpt **hwptp)
{
	struct sim_hwpt *hwpt;
	int ret = hwpt_new(c->sim, idev, ioas, &c->hwpt, &hwpt);

	if (ret)
		return ret;
	ret = sim_ioas_add_hwpt(c->sim, ioas, hwpt);
	if (!ret)
		ret = take_queue(c, hwpt);
	if (ret)
		hwpt_destroy(c->sim, hwpt);
	else
		*hwptp = hwpt;
	return ret;
}

/* Only a mock domain can be the parent of another. */
static int hwpt_from_parent(struct call *c, const struct sim_idev *idev, struct sim_hwpt *parent,
			    struct sim_hwpt **hwptp)
{
	struct sim_domain domain = { 0 };
	struct sim_hwpt *hwpt;
	int ret;

	if (c->hwpt.flags & ~(uint32_t)(IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID) ||
	    !c->hwpt.data_len)
		return -EOPNOTSUPP;
	if (parent->automatic || !parent->domain.nest_parent || !idev->mock)
		return -EINVAL;
	ret = sim_mock_nested_domain(&c->hwpt, &domain);
	if (ret)
		return ret;
	hwpt = calloc(1, sizeof(*hwpt));
	if (!hwpt)
		return -ENOMEM;
	hwpt->ioas = parent->ioas;
	hwpt->domain = domain;
	hwpt->parent = parent;
	if (sim_object_add(c->ictx, &hwpt->obj, SIM_OBJ_NESTED)) {
		free(hwpt);
		return -ENOMEM;
	}
	parent->obj.users++;
	ret = take_queue(c, hwpt);
	if (ret)
		hwpt_destroy(c->sim, hwpt);
	else
		*hwptp = hwpt;
	return ret;
}

static int call_hwpt_alloc(struct call *c)
{
	struct iommu_hwpt_alloc *cmd = &c->hwpt;
	const struct sim_idev *idev;
	struct sim_object *pt;
	struct sim_hwpt *hwpt;
	int ret;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	if (!cmd->data_type != !cmd->data_len)
		return -EINVAL;
	idev = (const struct sim_idev *)sim_object_get(c->ictx, cmd->dev_id, SIM_OBJ_IDEV);
	if (!idev)
		return -ENOENT;
	pt = sim_object_get(c->ictx, cmd->pt_id, 0);
	if (!pt || (pt->type != SIM_OBJ_IOAS && pt->type != SIM_OBJ_HWPT))
		return -EINVAL;
	ret = pt->type == SIM_OBJ_IOAS ? hwpt_from_ioas(c, idev, (struct sim_ioas *)pt, &hwpt)
				       : hwpt_from_parent(c, idev, (struct sim_hwpt *)pt, &hwpt);
	if (ret)
		return ret;
	cmd->out_hwpt_id = hwpt->obj.id;
	ret = respond(c, sizeof(*cmd));
	if (ret)
		hwpt_destroy(c->sim, hwpt);
	return ret;
}

/* The hardware's own description of its IOMMU, and its type. */
static int hw_data(const struct sim_idev *idev, const struct iommu_hw_info *cmd, void *data,
		   uint32_t *type)
{
	const struct iommu_hw_info_vtd vtd = { .cap_reg = 0xd2008c222f0606ULL,
					       .ecap_reg = 0xf00f4aULL };
	const struct iommu_test_hw_info mock = { .test_reg = IOMMU_HW_INFO_SELFTEST_REGVAL };
	uint32_t own = idev->mock ? IOMMU_HW_INFO_TYPE_SELFTEST : IOMMU_HW_INFO_TYPE_INTEL_VTD;

	if (cmd->in_data_type != IOMMU_HW_INFO_TYPE_DEFAULT && cmd->in_data_type != own)
		return -EOPNOTSUPP;
	*type = own;
	if (idev->mock)
		memcpy(data, &mock, sizeof(mock));
	else
		memcpy(data, &vtd, sizeof(vtd));
	return idev->mock ? (int)sizeof(mock) : (int)sizeof(vtd);
}

static int call_hw_info(struct call *c)
{
	struct iommu_hw_info *cmd = &c->info;
	uint8_t data[sizeof(struct iommu_hw_info_vtd)];
	const struct sim_idev *idev;
	uint32_t common;
	int size;

	if (cmd->flags & ~(uint32_t)IOMMU_HW_INFO_FLAG_INPUT_TYPE || cmd->__reserved[0] ||
	    cmd->__reserved[1] || cmd->__reserved[2])
		return -EOPNOTSUPP;
	if (!(cmd->flags & IOMMU_HW_INFO_FLAG_INPUT_TYPE))
		cmd->in_data_type = IOMMU_HW_INFO_TYPE_DEFAULT;
	idev = (const struct sim_idev *)sim_object_get(c->ictx, cmd->dev_id, SIM_OBJ_IDEV);
	if (!idev)
		return -ENOENT;
	size = hw_data(idev, cmd, data, &cmd->out_data_type);
	if (size < 0)
		return size;
	common = MIN(cmd->data_len, (uint32_t)size);
	if (sim_copy_out(cmd->data_uptr, data, common))
		return -EFAULT;
	for (uint32_t i = common; i < cmd->data_len; i++)
		if (sim_copy_out(cmd->data_uptr + i, "", 1))
			return -EFAULT;
	cmd->data_len = (uint32_t)size;
	cmd->out_capabilities = IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED;
	if (idev->mock && sim_mock_tracks_dirty(idev->mock))
		cmd->out_capabilities |= IOMMU_HW_CAP_DIRTY_TRACKING;
	cmd->out_max_pasid_log2 = (uint8_t)(idev->mock ? sim_mock_pasid_bits(idev->mock) : 0);
	return respond(c, sizeof(*cmd));
}

static int call_set_dirty(struct call *c)
{
	if (c->set_dirty.flags & ~(uint32_t)IOMMU_HWPT_DIRTY_TRACKING_ENABLE ||
	    c->set_dirty.__reserved)
		return -EOPNOTSUPP;
	return sim_object_get(c->ictx, c->set_dirty.hwpt_id, SIM_OBJ_HWPT) ? -EOPNOTSUPP : -ENOENT;
}

static int call_get_dirty(struct call *c)
{
	const struct iommu_hwpt_get_dirty_bitmap *cmd = &c->get_dirty;
	struct sim_hwpt *hwpt;
	uint64_t last, mask;

	if (cmd->flags & ~(uint32_t)IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR || cmd->__reserved)
		return -EOPNOTSUPP;
	hwpt = (struct sim_hwpt *)sim_object_get(c->ictx, cmd->hwpt_id, SIM_OBJ_HWPT);
	if (!hwpt)
		return -ENOENT;
	if (!cmd->length)
		return -EINVAL;
	if (__builtin_add_overflow(cmd->iova, cmd->length - 1, &last))
		return -EOVERFLOW;
	mask = hwpt->ioas->alignment - 1;
	if ((cmd->iova | (last + 1)) & mask || !cmd->page_size ||
	    (cmd->iova | (last + 1)) & (cmd->page_size - 1))
		return -EINVAL;
	return -EOPNOTSUPP;
}

#define INVALIDATE_ENTRIES (1U << 19)

static int invalidate(struct call *c, uint32_t *done)
{
	const struct iommu_hwpt_invalidate *cmd = &c->invalidate;
	struct sim_object *obj;

	if (cmd->__reserved)
		return -EOPNOTSUPP;
	if (cmd->entry_num &&
	    (!cmd->data_uptr || !cmd->entry_len || cmd->entry_len > sim_page_size() ||
	     cmd->entry_num > INVALIDATE_ENTRIES))
		return -EINVAL;
	obj = sim_object_get(c->ictx, cmd->hwpt_id, 0);
	if (!obj)
		return -ENOENT;
	if (obj->type != SIM_OBJ_NESTED)
		return -EINVAL;
	return sim_mock_invalidate(&((struct sim_hwpt *)obj)->domain, cmd, done);
}

static int call_invalidate(struct call *c)
{
	uint32_t done = 0;
	int ret = invalidate(c, &done);

	c->invalidate.entry_num = done;
	return respond(c, sizeof(c->invalidate)) ? -EFAULT : ret;
}

static int call_fault_alloc(struct call *c)
{
	struct iommu_fault_alloc *cmd = &c->fault;
	struct sim_fault_queue *queue;
	int fd, ret;

	if (cmd->flags)
		return -EOPNOTSUPP;
	queue = calloc(1, sizeof(*queue));
	if (!queue)
		return -ENOMEM;
	queue->ictx = c->ictx;
	ret = sim_object_add(c->ictx, &queue->obj, SIM_OBJ_FAULT);
	if (ret) {
		free(queue);
		return ret;
	}
	fd = sim_file_new(c->sim, SIM_FAULT_QUEUE, "iommufd-pgfault", 0, O_RDWR | O_CLOEXEC, queue,
			  &queue->file);
	if (fd < 0) {
		sim_object_remove(c->ictx, &queue->obj);
		free(queue);
		return fd;
	}
	queue->obj.users = 1;
	sim_file_ref(c->ictx->file);
	cmd->out_fault_id = queue->obj.id;
	cmd->out_fault_fd = (uint32_t)fd;
	ret = respond(c, sizeof(*cmd));
	if (ret) {
		struct sim_ictx *ictx = c->ictx;

		close(fd);
		sim_file_reap(c->sim, queue->file);
		object_destroy(c->sim, ictx, &queue->obj);
	}
	return ret;
}

static int call_viommu(struct call *c)
{
	int ret = sim_viommu_alloc(c->sim, c->ictx, &c->viommu);

	if (!ret && respond(c, sizeof(c->viommu))) {
		object_destroy(c->sim, c->ictx,
			       sim_object_get(c->ictx, c->viommu.out_viommu_id, 0));
		ret = -EFAULT;
	}
	return ret;
}

static int call_vdevice(struct call *c)
{
	int ret = sim_vdevice_alloc(c->ictx, &c->vdevice);

	if (!ret && respond(c, sizeof(c->vdevice))) {
		struct sim_object *obj = sim_object_get(c->ictx, c->vdevice.out_vdevice_id, 0);

		sim_vdevice_release((struct sim_vdevice *)obj);
		object_destroy(c->sim, c->ictx, obj);
		ret = -EFAULT;
	}
	return ret;
}

static int call_tsm_op(struct call *c)
{
	int ret = sim_vdevice_op(c->ictx, &c->tsm_op);

	return ret ? ret : respond(c, sizeof(c->tsm_op));
}

static int call_tsm_req(struct call *c)
{
	int ret = sim_vdevice_request(c->ictx, &c->tsm_req);

	return respond(c, sizeof(c->tsm_req)) ? -EFAULT : ret;
}

static int call_veventq(struct call *c)
{
	const struct iommu_veventq_alloc *cmd = &c->veventq;

	if (cmd->flags || cmd->__reserved || !cmd->type)
		return -EOPNOTSUPP;
	return !cmd->veventq_depth || cmd->veventq_depth > 1U << 19 ? -EINVAL : -ENOENT;
}

static int call_hw_queue(struct call *c)
{
	const struct iommu_hw_queue_alloc *cmd = &c->hw_queue;
	uint64_t last;

	if (cmd->flags || !cmd->type)
		return -EOPNOTSUPP;
	if (!cmd->length)
		return -EINVAL;
	if (__builtin_add_overflow(cmd->nesting_parent_iova, cmd->length - 1, &last))
		return -EOVERFLOW;
	return -ENOENT;
}

static int call_change_process(struct call *c)
{
	if (c->change_process.__reserved)
		return -EOPNOTSUPP;
	for (uint32_t id = 1; id < c->ictx->nr_objects; id++) {
		struct sim_ioas *ioas = sim_ioas_get(c->ictx, id);

		for (size_t i = 0; ioas && i < ioas->areas.n; i++) {
			const struct sim_area *area = ioas->areas.v[i];

			if (area->pages->kind != SIM_PAGES_FILE)
				return -EINVAL;
		}
	}
	return 0;
}

/* The machine has an IOMMU, and its kernel is built without CONFIG_IOMMUFD_NOIOMMU. */
static int call_get_pa(struct call *c)
{
	(void)c;
	return -EOPNOTSUPP;
}

static int call_test(struct call *c)
{
	return sim_selftest_call(c->sim, c->ictx, &c->test, c->user, c->user_size);
}

/* ------------------------------------------------------------------------- framing */

struct entry {
	unsigned long request;
	size_t size, minimum;
	int (*run)(struct call *c);
};

static const struct entry entries[] = {
	{ IOMMU_DESTROY, sizeof(struct iommu_destroy), 8, call_destroy },
	{ IOMMU_IOAS_ALLOC, sizeof(struct iommu_ioas_alloc), 12, call_ioas_alloc },
	{ IOMMU_IOAS_ALLOW_IOVAS, sizeof(struct iommu_ioas_allow_iovas), 24, call_allow_iovas },
	{ IOMMU_IOAS_COPY, sizeof(struct iommu_ioas_copy), 40, call_copy },
	{ IOMMU_IOAS_IOVA_RANGES, sizeof(struct iommu_ioas_iova_ranges), 32, call_iova_ranges },
	{ IOMMU_IOAS_MAP, sizeof(struct iommu_ioas_map), 40, call_map },
	{ IOMMU_IOAS_UNMAP, sizeof(struct iommu_ioas_unmap), 24, call_unmap },
	{ IOMMU_OPTION, sizeof(struct iommu_option), 24, call_option },
	{ IOMMU_VFIO_IOAS, sizeof(struct iommu_vfio_ioas), 12, call_vfio_ioas },
	{ IOMMU_HWPT_ALLOC, sizeof(struct iommu_hwpt_alloc), 24, call_hwpt_alloc },
	{ IOMMU_GET_HW_INFO, sizeof(struct iommu_hw_info), 32, call_hw_info },
	{ IOMMU_HWPT_SET_DIRTY_TRACKING, sizeof(struct iommu_hwpt_set_dirty_tracking), 16,
	  call_set_dirty },
	{ IOMMU_HWPT_GET_DIRTY_BITMAP, sizeof(struct iommu_hwpt_get_dirty_bitmap), 48,
	  call_get_dirty },
	{ IOMMU_HWPT_INVALIDATE, sizeof(struct iommu_hwpt_invalidate), 32, call_invalidate },
	{ IOMMU_FAULT_QUEUE_ALLOC, sizeof(struct iommu_fault_alloc), 16, call_fault_alloc },
	{ IOMMU_IOAS_MAP_FILE, sizeof(struct iommu_ioas_map_file), 40, call_map_file },
	{ IOMMU_VIOMMU_ALLOC, sizeof(struct iommu_viommu_alloc), 24, call_viommu },
	{ IOMMU_VDEVICE_ALLOC, sizeof(struct iommu_vdevice_alloc), 24, call_vdevice },
	{ IOMMU_IOAS_CHANGE_PROCESS, sizeof(struct iommu_ioas_change_process), 8,
	  call_change_process },
	{ IOMMU_VEVENTQ_ALLOC, sizeof(struct iommu_veventq_alloc), 28, call_veventq },
	{ IOMMU_HW_QUEUE_ALLOC, sizeof(struct iommu_hw_queue_alloc), 40, call_hw_queue },
	{ IOMMU_IOAS_NOIOMMU_GET_PA, sizeof(struct iommu_ioas_noiommu_get_pa), 40, call_get_pa },
	{ IOMMU_TEST_CMD, sizeof(struct iommu_test_cmd), FIELD_END(iommu_test_cmd, last),
	  call_test },
};

/* Numbers that proposals have, of which one is taken by what is in Linux 7.3. */
static const struct entry proposed[] = {
	{ IOMMU_VDEVICE_TSM_OP, sizeof(struct iommu_vdevice_tsm_op), 16, call_tsm_op },
	{ IOMMU_VDEVICE_TSM_REQ, sizeof(struct iommu_vdevice_tsm_req), 48, call_tsm_req },
};

static const struct entry *find_entry(const struct pfnbuf_sim *sim, unsigned long request)
{
	if (sim->proposed & PFNBUF_SIM_VDEVICE_OP && request == proposed[0].request)
		return &proposed[0];
	if (sim->proposed & PFNBUF_SIM_VDEVICE_BINDS && request == proposed[1].request)
		return &proposed[1];
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
		if (entries[i].request == request)
			return &entries[i];
	return NULL;
}

static bool is_iommufd(const struct pfnbuf_sim *sim, unsigned long request)
{
	unsigned nr = (unsigned)(request & 0xff);

	if (nr == (IOMMU_TEST_CMD & 0xff))
		return sim->selftest & PFNBUF_SIM_SELFTEST;
	if (nr == IOMMUFD_CMD_VDEVICE_TSM_REQ)
		return sim->proposed & PFNBUF_SIM_VDEVICE_BINDS;
	return nr >= IOMMUFD_CMD_BASE && nr <= IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA;
}

static int iommufd_ioctl(struct pfnbuf_sim *sim, struct sim_file *file, unsigned long request,
			 uint64_t arg)
{
	struct call c = { .sim = sim, .ictx = file->object, .user = arg };
	const struct entry *entry;
	int ret;

	if (!is_iommufd(sim, request))
		return sim_iommufd_compat_ioctl(sim, c.ictx, request, arg);
	if (sim_copy_in(&c.user_size, arg, sizeof(c.user_size)))
		return -EFAULT;
	entry = find_entry(sim, request);
	if (!entry)
		return -ENOTTY;
	if (c.user_size < entry->minimum)
		return -EINVAL;
	ret = sim_copy_struct_in(&c.destroy, entry->size, arg, c.user_size);
	return ret ? ret : entry->run(&c);
}

/* ---------------------------------------------------------------------------- file */

static int iommufd_mmap(struct pfnbuf_sim *sim, struct sim_file *file, void *addr, size_t length,
			int prot, int flags, uint64_t offset, void **out)
{
	(void)sim, (void)file, (void)addr, (void)length, (void)offset, (void)out;
	if (!(flags & MAP_SHARED))
		return -EINVAL;
	return prot & PROT_EXEC ? -EPERM : -ENXIO;
}

static void iommufd_stat(struct sim_file *file, struct stat *st)
{
	(void)file;
	st->st_mode = S_IFCHR | 0660;
	st->st_rdev = makedev(10, 127);
	st->st_size = 0;
}

/* Leaves first. */
static void release(struct pfnbuf_sim *sim, struct sim_file *file)
{
	struct sim_ictx *ictx = file->object;
	struct sim_ictx **p = &sim->ictxs;
	bool again = true;

	while (again) {
		again = false;
		for (uint32_t id = 1; id < ictx->nr_objects; id++) {
			struct sim_object *obj = ictx->objects[id];

			if (!obj || obj->users)
				continue;
			object_destroy(sim, ictx, obj);
			again = true;
		}
	}
	while (*p != ictx)
		p = &(*p)->next;
	*p = ictx->next;
	free(ictx->objects);
	free(ictx);
}

const struct sim_file_ops sim_iommufd_ops = {
	.release = release,
	.ioctl = iommufd_ioctl,
	.mmap = iommufd_mmap,
	.stat = iommufd_stat,
	.magic = SIM_DEVTMPFS_MAGIC,
	.positioned = true,
};

int sim_iommufd_open(struct pfnbuf_sim *sim, int flags)
{
	struct sim_ictx *ictx = calloc(1, sizeof(*ictx));
	int fd;

	if (!ictx)
		return -ENOMEM;
	fd = sim_file_new(sim, SIM_IOMMUFD, "iommu", 0, flags, ictx, &ictx->file);
	if (fd < 0) {
		free(ictx);
		return fd;
	}
	ictx->next = sim->ictxs;
	sim->ictxs = ictx;
	return fd;
}

/* The queue stays as an object that may be destroyed. */
static void queue_release(struct pfnbuf_sim *sim, struct sim_file *file)
{
	struct sim_fault_queue *queue = file->object;

	queue->obj.users--;
	queue->file = NULL;
	sim_file_unref(sim, queue->ictx->file);
}

void sim_fault_report(struct sim_fault *fault)
{
	struct sim_fault_queue *queue = fault->idev->hwpt ? fault->idev->hwpt->fault : NULL;

	if (!queue || sim_vec_insert(&queue->waiting, queue->waiting.n, fault))
		free(fault);
	else
		sim_file_set_ready(queue->file, true);
}

/* The lowest cookie that is free; its place is made. */
static int new_cookie(struct sim_fault_queue *queue, uint32_t *cookie)
{
	size_t at = 0;

	while (at < queue->answered.n && queue->answered.v[at])
		at++;
	if (at == queue->answered.n && sim_vec_insert(&queue->answered, at, NULL))
		return -ENOMEM;
	*cookie = (uint32_t)at;
	return 0;
}

static ssize_t queue_read(struct pfnbuf_sim *sim, struct sim_file *file, uint64_t buf, size_t count,
			  uint64_t offset)
{
	struct sim_fault_queue *queue = file->object;
	const size_t size = sizeof(struct iommu_hwpt_pgfault);
	size_t done = 0;
	int ret = 0;

	(void)sim, (void)offset;
	if (count % size)
		return -ESPIPE;
	while (!ret && queue->waiting.n) {
		struct sim_fault *fault = queue->waiting.v[0];

		if (done == count) {
			ret = -EINVAL;
			break;
		}
		ret = new_cookie(queue, &fault->record.cookie);
		if (!ret)
			ret = sim_copy_out(buf + done, &fault->record, size);
		if (ret)
			break;
		sim_vec_remove(&queue->waiting, 0, 1);
		queue->answered.v[fault->record.cookie] = fault;
		done += size;
	}
	if (!queue->waiting.n)
		sim_file_set_ready(queue->file, false);
	return done ? (ssize_t)done : ret;
}

static int answer(struct sim_fault_queue *queue, uint64_t buf)
{
	struct iommu_hwpt_page_response response;

	if (sim_copy_in(&response, buf, sizeof(response)))
		return -EFAULT;
	if (response.code != IOMMUFD_PAGE_RESP_SUCCESS &&
	    response.code != IOMMUFD_PAGE_RESP_INVALID)
		return -EINVAL;
	if (response.cookie >= queue->answered.n || !queue->answered.v[response.cookie])
		return -EINVAL;
	free(queue->answered.v[response.cookie]);
	queue->answered.v[response.cookie] = NULL;
	return 0;
}

static ssize_t queue_write(struct pfnbuf_sim *sim, struct sim_file *file, uint64_t buf,
			   size_t count, uint64_t offset)
{
	const size_t size = sizeof(struct iommu_hwpt_page_response);
	size_t done = 0;
	int ret = 0;

	(void)sim, (void)offset;
	if (count % size)
		return -ESPIPE;
	while (!ret && done < count) {
		ret = answer(file->object, buf + done);
		if (!ret)
			done += size;
	}
	return done ? (ssize_t)done : ret;
}

const struct sim_file_ops sim_fault_queue_ops = {
	.release = queue_release,
	.read = queue_read,
	.write = queue_write,
	.magic = SIM_ANON_MAGIC,
};
