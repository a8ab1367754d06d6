/* SPDX-License-Identifier: MIT */
/* What a process's address space consists of, by the pages that it shows. */
#include <inttypes.h>
#include <sys/sysmacros.h>

#include "sim.h"

void sim_vmas_free(struct sim_vmas *vmas)
{
	free(vmas->v);
	*vmas = (struct sim_vmas){ 0 };
}

static bool parse(const char *line, struct sim_vma *vma)
{
	unsigned major, minor;
	char access[5];

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64, &vma->start,
		   &vma->end, access, &vma->first.offset, &major, &minor, &vma->first.ino) != 7)
		return false;
	vma->first.dev = makedev(major, minor);
	vma->shared = access[3] == 's';
	vma->writable = access[1] == 'w';
	return true;
}

static int append(struct sim_vmas *vmas, size_t *cap, const struct sim_vma *vma)
{
	if (vmas->n == *cap) {
		size_t more = *cap * 2 + 64;
		struct sim_vma *v = realloc(vmas->v, more * sizeof(*v));

		if (!v)
			return -ENOMEM;
		vmas->v = v;
		*cap = more;
	}
	vmas->v[vmas->n++] = *vma;
	return 0;
}

int sim_vmas_load(struct sim_vmas *vmas, pid_t pid)
{
	char path[64] = "/proc/self/maps";
	struct sim_vma vma;
	char *line = NULL;
	size_t room = 0, cap = 0;
	int saved = errno;
	int ret = 0;
	FILE *maps;

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "re");
	if (!maps) {
		errno = saved;
		return pid ? -EFAULT : -ENOMEM;
	}
	while (!ret && getline(&line, &room, maps) > 0)
		if (parse(line, &vma))
			ret = append(vmas, &cap, &vma);
	free(line);
	fclose(maps);
	if (ret)
		sim_vmas_free(vmas);
	errno = saved;
	return ret;
}

const struct sim_vma *sim_vma_at(const struct sim_vmas *vmas, uint64_t va)
{
	size_t low = 0, high = vmas->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (vmas->v[mid].end <= va)
			low = mid + 1;
		else
			high = mid;
	}
	return low < vmas->n && vmas->v[low].start <= va ? &vmas->v[low] : NULL;
}

struct sim_page_id sim_page_at(const struct sim_vmas *vmas, uint64_t va)
{
	const struct sim_vma *vma = sim_vma_at(vmas, va);

	if (!vma || !vma->shared || !vma->first.ino)
		return (struct sim_page_id){ .offset = page_down(va) };
	return (struct sim_page_id){
		.dev = vma->first.dev,
		.ino = vma->first.ino,
		.offset = vma->first.offset + (page_down(va) - vma->start),
	};
}

uint64_t sim_page_find(const struct sim_vmas *vmas, const struct sim_page_id *id)
{
	for (size_t i = 0; id->ino && i < vmas->n; i++) {
		const struct sim_vma *vma = &vmas->v[i];

		if (vma->shared && vma->writable && vma->first.ino == id->ino &&
		    vma->first.dev == id->dev && id->offset >= vma->first.offset &&
		    id->offset - vma->first.offset < vma->end - vma->start)
			return vma->start + (id->offset - vma->first.offset);
	}
	return 0;
}
