/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/proposed.h"
#include "libpfnbuf/uapi/vfio.h"
#include "output.h"
#include "report.h"
#include "trace.h"

/* One line about a call: its name and arguments, then its result. */
struct report {
	struct trace *trace;
	const char *call;
	struct text arguments;
	struct text json;
};

static void report_begin(struct report *report, struct trace *trace, const char *call)
{
	*report = (struct report){ .trace = trace, .call = call };
}

static void number(struct report *report, const char *name, uint64_t value)
{
	text_add(&report->arguments, "%s%s=%" PRIu64, report->arguments.length ? ", " : "", name,
		 value);
	json_number(&report->json, name, value);
}

static void fd_number(struct report *report, const char *name, int fd)
{
	text_add(&report->arguments, "%s%s=%d", report->arguments.length ? ", " : "", name, fd);
	text_add(&report->json, "%s\"%s\":%d", report->json.comma ? "," : "", name, fd);
	report->json.comma = true;
}

static void address(struct report *report, const char *name, uint64_t value)
{
	text_add(&report->arguments, "%s%s=0x%" PRIx64, report->arguments.length ? ", " : "", name,
		 value);
	json_number(&report->json, name, value);
}

static void words(struct report *report, const char *name, const char *value)
{
	text_add(&report->arguments, "%s%s=%s", report->arguments.length ? ", " : "", name, value);
	json_string(&report->json, name, value);
}

static int64_t report_end(struct report *report, int64_t result)
{
	struct trace *trace = report->trace;

	if (trace->json) {
		fprintf(trace->file, "{\"trace\":\"%s\"%s%s,\"result\":%" PRId64 "%s%s%s}\n",
			report->call, report->json.length ? "," : "", text_get(&report->json),
			result, result < 0 ? ",\"errno\":\"" : "",
			result < 0 ? pfnbuf_errno_name((int)result) : "", result < 0 ? "\"" : "");
	} else {
		fprintf(trace->file, "%s    | %s(%s)%s = ", style_on(trace->colour, STYLE_DIM),
			report->call, text_get(&report->arguments), style_off(trace->colour));
		if (result < 0)
			fprintf(trace->file, "%s%s%s (%s)\n", style_on(trace->colour, STYLE_BAD),
				pfnbuf_errno_name((int)result), style_off(trace->colour),
				strerror((int)-result));
		else
			fprintf(trace->file, "%" PRId64 "\n", result);
	}
	fflush(trace->file);
	text_clear(&report->arguments);
	text_clear(&report->json);
	return result;
}

/* ---------------------------------------------------------------- ioctls --------------------------------------------- */

static void map_flag_words(struct report *report, uint32_t flags)
{
	char buf[32];

	snprintf(buf, sizeof(buf), "%s%s%s", flags & IOMMU_IOAS_MAP_READABLE ? "r" : "",
		 flags & IOMMU_IOAS_MAP_WRITEABLE ? "w" : "",
		 flags & IOMMU_IOAS_MAP_FIXED_IOVA ? ",fixed" : "");
	words(report, "flags", buf);
}

static void decode_map(struct report *report, const struct iommu_ioas_map *map)
{
	number(report, "ioas", map->ioas_id);
	address(report, "iova", map->iova);
	address(report, "length", map->length);
	address(report, "user_va", map->user_va);
	map_flag_words(report, map->flags);
}

static void decode_map_file(struct report *report, const struct iommu_ioas_map_file *map)
{
	number(report, "ioas", map->ioas_id);
	fd_number(report, "file", map->fd);
	address(report, "start", map->start);
	address(report, "length", map->length);
	address(report, "iova", map->iova);
	map_flag_words(report, map->flags);
}

static void decode_copy(struct report *report, const struct iommu_ioas_copy *copy)
{
	number(report, "from", copy->src_ioas_id);
	number(report, "to", copy->dst_ioas_id);
	address(report, "src_iova", copy->src_iova);
	address(report, "length", copy->length);
	address(report, "dst_iova", copy->dst_iova);
	map_flag_words(report, copy->flags);
}

static void decode_unmap(struct report *report, const struct iommu_ioas_unmap *unmap)
{
	number(report, "ioas", unmap->ioas_id);
	address(report, "iova", unmap->iova);
	address(report, "length", unmap->length);
}

static const char *feature_name(uint32_t index)
{
	switch (index) {
	case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY:
		return "LOW_POWER_ENTRY";
	case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP:
		return "LOW_POWER_ENTRY_WITH_WAKEUP";
	case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT:
		return "LOW_POWER_EXIT";
	case VFIO_DEVICE_FEATURE_DMA_BUF:
		return "DMA_BUF";
	default:
		return "?";
	}
}

static void decode_feature(struct report *report, const struct vfio_device_feature *feature)
{
	const struct vfio_device_feature_dma_buf *dma_buf;
	uint32_t index = feature->flags & VFIO_DEVICE_FEATURE_MASK;

	words(report, "feature", feature_name(index));
	if (feature->flags & VFIO_DEVICE_FEATURE_PROBE)
		words(report, "op", "probe");
	if (index != VFIO_DEVICE_FEATURE_DMA_BUF || feature->flags & VFIO_DEVICE_FEATURE_PROBE)
		return;
	dma_buf = (const void *)(feature + 1);
	number(report, "bar", dma_buf->region_index);
	for (uint32_t i = 0; i < dma_buf->nr_ranges && i < 4; i++) {
		char range[64];

		words(report, "range",
		      range_words(dma_buf->dma_ranges[i].offset, dma_buf->dma_ranges[i].length,
				  range));
	}
}

static void decode_region(struct report *report, const struct kvm_userspace_memory_region2 *region)
{
	number(report, "slot", region->slot);
	address(report, "gpa", region->guest_phys_addr);
	address(report, "size", region->memory_size);
	address(report, "flags", region->flags);
}

static void decode_attributes(struct report *report, const struct kvm_memory_attributes *attributes)
{
	address(report, "gpa", attributes->address);
	address(report, "size", attributes->size);
	words(report, "attributes", attributes->attributes ? "private" : "shared");
}

static void decode_pre_fault(struct report *report, const struct kvm_pre_fault_memory *range)
{
	address(report, "gpa", range->gpa);
	address(report, "size", range->size);
}

static void decode_tsm_request(struct report *report, const struct iommu_vdevice_tsm_req *request)
{
	number(report, "vdevice", request->vdevice_id);
	number(report, "op", request->op);
}

static void decode_attributes2(struct report *report,
			       const struct kvm_memory_attributes2 *attributes)
{
	address(report, "offset", attributes->offset);
	address(report, "size", attributes->size);
	words(report, "attributes", attributes->attributes ? "private" : "shared");
}

/* Calls that are known by a profile's name for them only. */
static void decode_proposed(struct report *report, const void *arg)
{
	if (!strcmp(report->call, "VFIO_DEVICE_TSM_BIND"))
		number(report, "vdevice", ((const struct vfio_pci_tsm_bind *)arg)->vdevice_id);
	else if (!strcmp(report->call, "IOMMU_VDEVICE_TSM_OP"))
		words(report, "op",
		      ((const struct iommu_vdevice_tsm_op *)arg)->type == IOMMU_VDEVICE_TSM_BIND
			      ? "bind"
			      : "unbind");
	else if (!strcmp(report->call, "IOMMU_VDEVICE_TSM_REQ"))
		decode_tsm_request(report, arg);
	else if (!strcmp(report->call, "KVM_SET_MEMORY_ATTRIBUTES2"))
		decode_attributes2(report, arg);
}

/* What the arguments were on the way in; what comes out is read again afterwards. */
static void decode_ioctl(struct report *report, unsigned long request, const void *arg)
{
	switch (request) {
	case IOMMU_IOAS_MAP:
		decode_map(report, arg);
		break;
	case IOMMU_IOAS_MAP_FILE:
		decode_map_file(report, arg);
		break;
	case IOMMU_IOAS_COPY:
		decode_copy(report, arg);
		break;
	case IOMMU_IOAS_UNMAP:
		decode_unmap(report, arg);
		break;
	case IOMMU_DESTROY:
		number(report, "id", ((const struct iommu_destroy *)arg)->id);
		break;
	case VFIO_DEVICE_ATTACH_IOMMUFD_PT:
		number(report, "pt_id", ((const struct vfio_device_attach_iommufd_pt *)arg)->pt_id);
		break;
	case VFIO_DEVICE_BIND_IOMMUFD:
		fd_number(report, "iommufd",
			  ((const struct vfio_device_bind_iommufd *)arg)->iommufd);
		break;
	case VFIO_DEVICE_GET_REGION_INFO:
		number(report, "region", ((const struct vfio_region_info *)arg)->index);
		break;
	case VFIO_DEVICE_FEATURE:
		decode_feature(report, arg);
		break;
	case KVM_SET_USER_MEMORY_REGION: /* the beginning of the longer one */
	case KVM_SET_USER_MEMORY_REGION2:
		decode_region(report, arg);
		break;
	case KVM_SET_MEMORY_ATTRIBUTES:
		decode_attributes(report, arg);
		break;
	case KVM_CREATE_GUEST_MEMFD:
		address(report, "size", ((const struct kvm_create_guest_memfd *)arg)->size);
		break;
	case KVM_PRE_FAULT_MEMORY:
		decode_pre_fault(report, arg);
		break;
	case IOMMU_HWPT_ALLOC:
		number(report, "pt_id", ((const struct iommu_hwpt_alloc *)arg)->pt_id);
		break;
	case IOMMU_VIOMMU_ALLOC:
		number(report, "type", ((const struct iommu_viommu_alloc *)arg)->type);
		number(report, "hwpt", ((const struct iommu_viommu_alloc *)arg)->hwpt_id);
		break;
	case IOMMU_VDEVICE_ALLOC:
		number(report, "viommu", ((const struct iommu_vdevice_alloc *)arg)->viommu_id);
		break;
	default:
		decode_proposed(report, arg);
		break;
	}
}

static void decode_answer(struct report *report, unsigned long request, const void *arg)
{
	switch (request) {
	case IOMMU_IOAS_ALLOC:
		number(report, "out_ioas", ((const struct iommu_ioas_alloc *)arg)->out_ioas_id);
		break;
	case VFIO_DEVICE_BIND_IOMMUFD:
		number(report, "out_devid",
		       ((const struct vfio_device_bind_iommufd *)arg)->out_devid);
		break;
	case VFIO_DEVICE_GET_REGION_INFO:
		address(report, "out_size", ((const struct vfio_region_info *)arg)->size);
		break;
	case IOMMU_HWPT_ALLOC:
		number(report, "out_hwpt", ((const struct iommu_hwpt_alloc *)arg)->out_hwpt_id);
		break;
	case IOMMU_VIOMMU_ALLOC:
		number(report, "out_viommu",
		       ((const struct iommu_viommu_alloc *)arg)->out_viommu_id);
		break;
	case IOMMU_VDEVICE_ALLOC:
		number(report, "out_vdevice",
		       ((const struct iommu_vdevice_alloc *)arg)->out_vdevice_id);
		break;
	default:
		break;
	}
}

static const char *call_name(const struct trace *trace, unsigned long request)
{
	const size_t n = sizeof(trace->proposed) / sizeof(*trace->proposed);

	for (size_t i = 0; i < n && trace->proposed[i].request; i++)
		if (trace->proposed[i].request == request)
			return trace->proposed[i].name;
	return pfnbuf_kernel_ioctl_name(request);
}

/* The number behind `key = ` in the text of a profile; 0: it has none. */
static unsigned long request_of(const char *text, const char *key)
{
	const size_t length = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, length) && !strncmp(line + length, " = ", 3))
			return strtoul(line + length + 3, NULL, 0);
	}
	return 0;
}

/* What a key of a profile with this way of binding names; NULL: nothing that is known. */
static const char *name_of_key(const char *key, const char *bind)
{
	static const struct {
		const char *key;
		const char *bind; /* NULL: any */
		const char *name;
	} names[] = {
		{ "bind.request", "vfio-tsm-bind", "VFIO_DEVICE_TSM_BIND" },
		{ "bind.request", "iommufd-tsm-op", "IOMMU_VDEVICE_TSM_OP" },
		{ "unbind.request", "vfio-tsm-bind", "VFIO_DEVICE_TSM_UNBIND" },
		{ "validate.request", NULL, "IOMMU_VDEVICE_TSM_REQ" },
		{ "gmem.request", NULL, "KVM_SET_MEMORY_ATTRIBUTES2" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(names[i].key, key) && (!names[i].bind || !strcmp(names[i].bind, bind)))
			return names[i].name;
	return NULL;
}

void trace_set_profile(struct trace *trace, const struct pfnbuf_profile *profile)
{
	static const char *const keys[] = { "bind.request", "unbind.request", "validate.request",
					    "gmem.request" };
	char *text = PRINTED(pfnbuf_profile_print, profile);
	struct pfnbuf_profile_info info;
	size_t n = 0;

	pfnbuf_profile_get_info(profile, &info);
	for (size_t i = 0; text && i < sizeof(keys) / sizeof(*keys); i++) {
		const char *name = name_of_key(keys[i], info.bind);
		unsigned long request = request_of(text, keys[i]);

		if (!name || !request)
			continue;
		trace->proposed[n].request = request;
		trace->proposed[n++].name = name;
	}
	free(text);
}

static int trace_ioctl(void *data, int fd, unsigned long request, void *arg)
{
	struct trace *trace = data;
	const char *name = call_name(trace, request);
	struct report report;
	char unknown[32];
	int result;

	if (!name) {
		snprintf(unknown, sizeof(unknown), "ioctl 0x%lx", request);
		name = unknown;
	}
	report_begin(&report, trace, name);
	fd_number(&report, "fd", fd);
	decode_ioctl(&report, request, arg);
	result = trace->below->ioctl(trace->below->data, fd, request, arg);
	if (result >= 0)
		decode_answer(&report, request, arg);
	return (int)report_end(&report, result);
}

/* ---------------------------------------------------------------- the other calls ------------------------------------ */

static int trace_open(void *data, const char *path, int flags)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "open");
	words(&report, "path", path);
	return (int)report_end(&report, trace->below->open(trace->below->data, path, flags));
}

static int trace_close(void *data, int fd)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "close");
	fd_number(&report, "fd", fd);
	return (int)report_end(&report, trace->below->close(trace->below->data, fd));
}

static int trace_dup(void *data, int fd)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "dup");
	fd_number(&report, "fd", fd);
	return (int)report_end(&report, trace->below->dup(trace->below->data, fd));
}

static int trace_set_cloexec(void *data, int fd)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "set_cloexec");
	fd_number(&report, "fd", fd);
	return (int)report_end(&report, trace->below->set_cloexec(trace->below->data, fd));
}

static int trace_mmap(void *data, void *addr, size_t length, int prot, int flags, int fd,
		      uint64_t offset, void **out)
{
	struct trace *trace = data;
	struct report report;
	int result;

	report_begin(&report, trace, "mmap");
	address(&report, "length", length);
	fd_number(&report, "fd", fd);
	address(&report, "offset", offset);
	result = trace->below->mmap(trace->below->data, addr, length, prot, flags, fd, offset, out);
	if (!result)
		address(&report, "out", (uintptr_t)*out);
	return (int)report_end(&report, result);
}

static int trace_munmap(void *data, void *addr, size_t length)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "munmap");
	address(&report, "addr", (uintptr_t)addr);
	address(&report, "length", length);
	return (int)report_end(&report, trace->below->munmap(trace->below->data, addr, length));
}

static int trace_madvise(void *data, void *addr, size_t length, int advice)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "madvise");
	address(&report, "addr", (uintptr_t)addr);
	address(&report, "length", length);
	words(&report, "advice", advice == MADV_REMOVE ? "remove" : "dontneed");
	return (int)report_end(&report,
			       trace->below->madvise(trace->below->data, addr, length, advice));
}

static void transfer_words(struct report *report, int fd, size_t count)
{
	fd_number(report, "fd", fd);
	number(report, "count", count);
}

static ssize_t trace_pread(void *data, int fd, void *buf, size_t count, uint64_t offset)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "pread");
	transfer_words(&report, fd, count);
	address(&report, "offset", offset);
	return report_end(&report, trace->below->pread(trace->below->data, fd, buf, count, offset));
}

static ssize_t trace_pwrite(void *data, int fd, const void *buf, size_t count, uint64_t offset)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "pwrite");
	transfer_words(&report, fd, count);
	address(&report, "offset", offset);
	return report_end(&report,
			  trace->below->pwrite(trace->below->data, fd, buf, count, offset));
}

static ssize_t trace_read(void *data, int fd, void *buf, size_t count)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "read");
	transfer_words(&report, fd, count);
	return report_end(&report, trace->below->read(trace->below->data, fd, buf, count));
}

static ssize_t trace_write(void *data, int fd, const void *buf, size_t count)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "write");
	transfer_words(&report, fd, count);
	return report_end(&report, trace->below->write(trace->below->data, fd, buf, count));
}

static int64_t trace_lseek(void *data, int fd, int64_t offset, int whence)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "lseek");
	fd_number(&report, "fd", fd);
	return report_end(&report, trace->below->lseek(trace->below->data, fd, offset, whence));
}

static int trace_fstat(void *data, int fd, struct stat *st)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "fstat");
	fd_number(&report, "fd", fd);
	return (int)report_end(&report, trace->below->fstat(trace->below->data, fd, st));
}

static int trace_fstatfs_type(void *data, int fd, uint64_t *type)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "fstatfs");
	fd_number(&report, "fd", fd);
	return (int)report_end(&report, trace->below->fstatfs_type(trace->below->data, fd, type));
}

static int trace_memlock(void *data, uint64_t *limit)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "getrlimit");
	return (int)report_end(&report, trace->below->memlock(trace->below->data, limit));
}

static int trace_fallocate(void *data, int fd, int mode, uint64_t offset, uint64_t length)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "fallocate");
	fd_number(&report, "fd", fd);
	address(&report, "offset", offset);
	address(&report, "length", length);
	return (int)report_end(
		&report, trace->below->fallocate(trace->below->data, fd, mode, offset, length));
}

static int trace_ftruncate(void *data, int fd, uint64_t length)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "ftruncate");
	fd_number(&report, "fd", fd);
	address(&report, "length", length);
	return (int)report_end(&report, trace->below->ftruncate(trace->below->data, fd, length));
}

static int trace_memfd_create(void *data, const char *name, unsigned flags)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "memfd_create");
	words(&report, "name", name);
	return (int)report_end(&report,
			       trace->below->memfd_create(trace->below->data, name, flags));
}

static int trace_eventfd(void *data, unsigned initval, int flags)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "eventfd");
	return (int)report_end(&report, trace->below->eventfd(trace->below->data, initval, flags));
}

static int trace_timerfd(void *data)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "timerfd_create");
	return (int)report_end(&report, trace->below->timerfd(trace->below->data));
}

static int trace_timerfd_set(void *data, int fd, uint64_t ns)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "timerfd_settime");
	fd_number(&report, "fd", fd);
	number(&report, "ns", ns);
	return (int)report_end(&report, trace->below->timerfd_set(trace->below->data, fd, ns));
}

static ssize_t trace_readlink(void *data, const char *path, char *buf, size_t size)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "readlink");
	words(&report, "path", path);
	return report_end(&report, trace->below->readlink(trace->below->data, path, buf, size));
}

static ssize_t trace_list(void *data, const char *path, char *buf, size_t size)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "getdents");
	words(&report, "path", path);
	return report_end(&report, trace->below->list(trace->below->data, path, buf, size));
}

static int trace_epoll_create(void *data)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "epoll_create");
	return (int)report_end(&report, trace->below->epoll_create(trace->below->data));
}

static int trace_epoll_ctl(void *data, int epfd, int op, int fd, struct epoll_event *event)
{
	struct trace *trace = data;
	struct report report;

	report_begin(&report, trace, "epoll_ctl");
	fd_number(&report, "epfd", epfd);
	words(&report, "op", op == EPOLL_CTL_ADD ? "add" : op == EPOLL_CTL_DEL ? "del" : "mod");
	fd_number(&report, "fd", fd);
	return (int)report_end(&report,
			       trace->below->epoll_ctl(trace->below->data, epfd, op, fd, event));
}

/* Looking for events that are not there is no news. */
static int trace_epoll_wait(void *data, int epfd, struct epoll_event *events, int max, int timeout)
{
	struct trace *trace = data;
	struct report report;
	int n = trace->below->epoll_wait(trace->below->data, epfd, events, max, timeout);

	if (!n)
		return 0;
	report_begin(&report, trace, "epoll_wait");
	fd_number(&report, "epfd", epfd);
	return (int)report_end(&report, n);
}

void trace_init(struct trace *trace, const struct pfnbuf_kernel *below, FILE *file, bool json,
		bool colour)
{
	*trace = (struct trace){ .below = below, .file = file, .json = json, .colour = colour };
	trace->kernel = (struct pfnbuf_kernel){
		.size = sizeof(trace->kernel),
		.data = trace,
		.open = trace_open,
		.close = trace_close,
		.dup = trace_dup,
		.set_cloexec = trace_set_cloexec,
		.ioctl = trace_ioctl,
		.mmap = trace_mmap,
		.munmap = trace_munmap,
		.madvise = trace_madvise,
		.pread = trace_pread,
		.pwrite = trace_pwrite,
		.read = trace_read,
		.write = trace_write,
		.lseek = trace_lseek,
		.fstat = trace_fstat,
		.fstatfs_type = trace_fstatfs_type,
		.memlock = trace_memlock,
		.fallocate = trace_fallocate,
		.ftruncate = trace_ftruncate,
		.memfd_create = trace_memfd_create,
		.eventfd = trace_eventfd,
		.timerfd = trace_timerfd,
		.timerfd_set = trace_timerfd_set,
		.readlink = trace_readlink,
		.list = trace_list,
		.epoll_create = trace_epoll_create,
		.epoll_ctl = trace_epoll_ctl,
		.epoll_wait = trace_epoll_wait,
	};
}
