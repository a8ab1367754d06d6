/* SPDX-License-Identifier: MIT */
/*
 * vIOMMUs and vDEVICEs (drivers/iommu/iommufd/viommu.c), which no IOMMU here has on Linux 7.3, and
 * what the proposals for binding devices do with them.
 */
#include "sim.h"

#define CODE_ERROR_INPUT 1 /* of the monitor */

static uint32_t viommu_type(const struct pfnbuf_sim *sim)
{
	if (sim->proposed & PFNBUF_SIM_VDEVICE_BINDS)
		return IOMMU_VIOMMU_TYPE_ARM_REALM_SMMUV3;
	if (sim->proposed & PFNBUF_SIM_VDEVICE_OP)
		return IOMMU_VIOMMU_TYPE_ARM_SMMUV3;
	return IOMMU_VIOMMU_TYPE_DEFAULT;
}

static struct sim_idev *find_idev(struct sim_ictx *ictx, uint32_t id)
{
	return (struct sim_idev *)sim_object_get(ictx, id, SIM_OBJ_IDEV);
}

static struct sim_vdevice *find_vdevice(struct sim_ictx *ictx, uint32_t id)
{
	return (struct sim_vdevice *)sim_object_get(ictx, id, SIM_OBJ_VDEVICE);
}

int sim_viommu_alloc(struct pfnbuf_sim *sim, struct sim_ictx *ictx, struct iommu_viommu_alloc *cmd)
{
	struct sim_viommu *viommu;
	struct sim_idev *idev;
	struct sim_hwpt *hwpt;

	if (cmd->flags || (!cmd->type && (!sim_binds(sim) || viommu_type(sim))))
		return -EOPNOTSUPP;
	idev = find_idev(ictx, cmd->dev_id);
	if (!idev)
		return -ENOENT;
	if (!sim_binds(sim) || idev->mock || cmd->type != viommu_type(sim))
		return -EOPNOTSUPP;
	hwpt = (struct sim_hwpt *)sim_object_get(ictx, cmd->hwpt_id, SIM_OBJ_HWPT);
	if (!hwpt)
		return -ENOENT;
	if (!hwpt->domain.nest_parent)
		return -EINVAL;
	viommu = calloc(1, sizeof(*viommu));
	if (!viommu || sim_object_add(ictx, &viommu->obj, SIM_OBJ_VIOMMU)) {
		free(viommu);
		return -ENOMEM;
	}
	viommu->ictx = ictx;
	viommu->hwpt = hwpt;
	hwpt->obj.users++;
	viommu->vm = idev->vdev->kvm_held ? idev->vdev->kvm : NULL;
	if (viommu->vm)
		sim_file_ref(viommu->vm->file);
	cmd->out_viommu_id = viommu->obj.id;
	return 0;
}

void sim_viommu_destroy(struct pfnbuf_sim *sim, struct sim_viommu *viommu)
{
	struct sim_vm *vm = viommu->vm;

	viommu->hwpt->obj.users--;
	sim_object_remove(viommu->ictx, &viommu->obj);
	free(viommu);
	if (vm)
		sim_file_unref(sim, vm->file);
}

static bool virt_id_taken(const struct sim_viommu *viommu, uint64_t virt_id)
{
	for (uint32_t id = 1; id < viommu->ictx->nr_objects; id++) {
		const struct sim_vdevice *vdevice = find_vdevice(viommu->ictx, id);

		if (vdevice && vdevice->viommu == viommu && vdevice->virt_id == virt_id)
			return true;
	}
	return false;
}

int sim_vdevice_alloc(struct sim_ictx *ictx, struct iommu_vdevice_alloc *cmd)
{
	struct sim_viommu *viommu =
		(struct sim_viommu *)sim_object_get(ictx, cmd->viommu_id, SIM_OBJ_VIOMMU);
	struct sim_idev *idev = find_idev(ictx, cmd->dev_id);
	struct sim_vdevice *vdevice;
	int ret = 0;

	if (!viommu || !idev)
		return -ENOENT;
	if (idev->mock)
		return -EINVAL;
	if (idev->vdevice || virt_id_taken(viommu, cmd->virt_id))
		return -EEXIST;
	if (idev->vdev->sim->proposed & PFNBUF_SIM_VDEVICE_BINDS)
		ret = sim_tdi_bind(idev->vdev, viommu->vm);
	if (ret)
		return ret;
	vdevice = calloc(1, sizeof(*vdevice));
	if (!vdevice || sim_object_add(ictx, &vdevice->obj, SIM_OBJ_VDEVICE)) {
		free(vdevice);
		return -ENOMEM;
	}
	vdevice->viommu = viommu;
	vdevice->idev = idev;
	vdevice->virt_id = cmd->virt_id;
	viommu->obj.users++;
	idev->vdevice = vdevice;
	cmd->out_vdevice_id = vdevice->obj.id;
	return 0;
}

int sim_vdevice_release(struct sim_vdevice *vdevice)
{
	struct sim_vdev *vdev = vdevice->idev->vdev;

	/* What VFIO has bound VFIO unbinds. */
	return vdev->sim->proposed & PFNBUF_SIM_VFIO_TSM ? 0 : sim_tdi_unbind(vdev);
}

void sim_vdevice_destroy(struct sim_vdevice *vdevice)
{
	vdevice->viommu->obj.users--;
	vdevice->idev->vdevice = NULL;
	sim_object_remove(vdevice->viommu->ictx, &vdevice->obj);
	free(vdevice);
}

void sim_vdevice_bury(struct sim_idev *idev)
{
	struct sim_vdevice *vdevice = idev->vdevice;

	if (!vdevice)
		return;
	idev->vdevice = NULL;
	vdevice->viommu->obj.users--;
	vdevice->viommu = NULL;
	vdevice->idev = NULL;
	vdevice->obj.type = SIM_OBJ_TOMBSTONE;
}

int sim_vdevice_op(struct sim_ictx *ictx, const struct iommu_vdevice_tsm_op *cmd)
{
	struct sim_vdevice *vdevice;

	if (cmd->flags)
		return -EOPNOTSUPP;
	vdevice = find_vdevice(ictx, cmd->vdevice_id);
	if (!vdevice)
		return -ENOENT;
	if (!vdevice->viommu->vm)
		return -ENODEV;
	switch (cmd->type) {
	case IOMMU_VDEVICE_TSM_BIND:
		return sim_tdi_bind(vdevice->idev->vdev, vdevice->viommu->vm);
	case IOMMU_VDEVICE_TSM_UNBIND:
		return sim_tdi_unbind(vdevice->idev->vdev);
	default:
		return -EINVAL;
	}
}

static int validate_mmio(struct sim_vdev *vdev, const struct iommu_vdevice_tsm_req *cmd)
{
	struct arm64_vdev_validate_mmio_guest_req req;

	if (cmd->req_len != sizeof(req))
		return -EINVAL;
	if (sim_copy_in(&req, cmd->req_uptr, sizeof(req)))
		return -EFAULT;
	return sim_mmio_validate(vdev, req.gpa_base, req.gpa_top, req.pa_base);
}

static int set_tdi_state(struct sim_vdev *vdev, const struct iommu_vdevice_tsm_req *cmd)
{
	struct arm64_vdev_set_tdi_state_guest_req req;

	if (cmd->req_len != sizeof(req))
		return -EINVAL;
	if (sim_copy_in(&req, cmd->req_uptr, sizeof(req)))
		return -EFAULT;
	switch (req.tdi_state) {
	case RHI_DA_TDI_CONFIG_UNLOCKED:
		sim_mmio_invalidate(vdev->tdi.vm, vdev);
		vdev->tdi.state = PFNBUF_TDI_CONFIG_UNLOCKED;
		return 0;
	case RHI_DA_TDI_CONFIG_LOCKED:
		return sim_tdi_lock(vdev);
	case RHI_DA_TDI_CONFIG_RUN:
		return sim_tdi_run(vdev);
	default:
		return -EINVAL;
	}
}

/* Its realm is the only architecture that this machine has, and objects are not read through here. */
int sim_vdevice_request(struct sim_ictx *ictx, struct iommu_vdevice_tsm_req *cmd)
{
	struct sim_vdevice *vdevice;
	struct sim_vdev *vdev;
	int ret;

	if (cmd->tvm_arch != IOMMU_VDEVICE_TSM_TVM_ARCH_CCA ||
	    (cmd->op != TSM_REQ_VALIDATE_MMIO && cmd->op != TSM_REQ_SET_TDI_STATE))
		return -EINVAL;
	vdevice = find_vdevice(ictx, cmd->vdevice_id);
	if (!vdevice)
		return -ENOENT;
	vdev = vdevice->idev->vdev;
	if (!vdev->tdi.vm)
		return -ENXIO;
	ret = cmd->op == TSM_REQ_VALIDATE_MMIO ? validate_mmio(vdev, cmd)
					       : set_tdi_state(vdev, cmd);
	cmd->tsm_code = ret == -ENXIO ? CODE_ERROR_INPUT : 0;
	return ret;
}
