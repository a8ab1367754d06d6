/* SPDX-License-Identifier: MIT */
/*
 * The mappings of this process that were made through the table. Those of BARs must come and go
 * with the device's memory; the others say which file is behind an address.
 */
#include <inttypes.h>
#include <sys/mman.h>

#include "sim.h"

static size_t find(const struct sim_vec *vec, uint64_t addr)
{
	size_t low = 0, high = vec->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct sim_mapping *m = vec->v[mid];

		if (m->addr + m->length <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

int sim_mapping_add(struct pfnbuf_sim *sim, const struct sim_mapping *mapping)
{
	struct sim_mapping *m = malloc(sizeof(*m));

	if (!m)
		return -ENOMEM;
	*m = *mapping;
	if (sim_vec_insert(&sim->mappings, find(&sim->mappings, m->addr), m)) {
		free(m);
		return -ENOMEM;
	}
	if (m->file)
		sim_file_ref(m->file);
	return 0;
}

static void drop(struct pfnbuf_sim *sim, size_t at)
{
	struct sim_mapping *m = sim->mappings.v[at];
	struct sim_file *file = m->file;

	sim_vec_remove(&sim->mappings, at, 1);
	free(m);
	if (file)
		sim_file_unref(sim, file);
}

/* Forget what [addr, addr + length) covers; pieces at either side stay. */
void sim_mapping_cut(struct pfnbuf_sim *sim, uint64_t addr, uint64_t length)
{
	uint64_t end = addr + length;
	size_t at = find(&sim->mappings, addr);

	while (at < sim->mappings.n) {
		struct sim_mapping *m = sim->mappings.v[at];
		uint64_t m_end = m->addr + m->length;

		if (m->addr >= end)
			break;
		if (m->addr < addr && m_end > end) {
			struct sim_mapping tail = *m;

			tail.addr = end;
			tail.length = m_end - end;
			tail.offset += end - m->addr;
			m->length = addr - m->addr;
			/*
			 * Without memory for it the tail is a mapping that nobody knows: it stays
			 * as it is.
			 */
			(void)sim_mapping_add(sim, &tail);
			return;
		}
		if (m->addr < addr) {
			m->length = addr - m->addr;
			at++;
		} else if (m_end > end) {
			m->offset += end - m->addr;
			m->length = m_end - end;
			m->addr = end;
			at++;
		} else {
			drop(sim, at);
			/* Dropping may have released a file, and that may have cut mappings. */
			at = find(&sim->mappings, addr);
		}
	}
}

struct sim_mapping *sim_mapping_next(struct pfnbuf_sim *sim, uint64_t addr)
{
	size_t at = find(&sim->mappings, addr);

	return at < sim->mappings.n ? sim->mappings.v[at] : NULL;
}

bool sim_mapping_has_bar(struct pfnbuf_sim *sim, uint64_t addr, uint64_t length)
{
	for (size_t at = find(&sim->mappings, addr); at < sim->mappings.n; at++) {
		const struct sim_mapping *m = sim->mappings.v[at];

		if (m->addr >= addr + length)
			return false;
		if (m->vdev)
			return true;
	}
	return false;
}

/*
 * Whether the address still shows the file that the mapping was made of: the caller may have
 * unmapped it with a plain munmap and put something else there. Nothing of the caller's may be
 * overwritten.
 */
static bool still_there(FILE *maps, const struct sim_mapping *m, uint64_t ino_present,
			uint64_t ino_empty)
{
	char line[512];
	uint64_t covered = m->addr;

	rewind(maps);
	while (fgets(line, sizeof(line), maps)) {
		uint64_t start, end, ino;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*s %*s %" SCNu64, &start, &end,
			   &ino) != 3)
			continue;
		if (end <= covered)
			continue;
		if (start > covered || (ino != ino_present && ino != ino_empty))
			return false;
		covered = end;
		if (covered >= m->addr + m->length)
			return true;
	}
	return false;
}

static uint64_t inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : (uint64_t)st.st_ino;
}

/* The part of one mapping that shows [offset, end) of the file. */
static void show_gmem(struct pfnbuf_sim *sim, const struct sim_gmem *gmem,
		      const struct sim_mapping *m, uint64_t offset, uint64_t end)
{
	uint64_t at = MAX(offset, m->offset);

	end = MIN(end, m->offset + m->length);
	for (uint64_t next; at < end; at = next) {
		bool absent = sim_runs_has(&gmem->private, at);

		next = MIN(sim_runs_end(&gmem->private, at), end);
		/* Where there is no memory for that the host sees what it saw. */
		(void)mmap((void *)(uintptr_t)(m->addr + (at - m->offset)), next - at, m->prot,
			   MAP_SHARED | MAP_FIXED, absent ? sim->empty_fd : gmem->file->anchor,
			   absent ? 0 : (off_t)at);
	}
}

void sim_mapping_update_gmem(struct pfnbuf_sim *sim, const struct sim_gmem *gmem, uint64_t offset,
			     uint64_t length)
{
	int saved = errno;

	for (size_t i = 0; i < sim->mappings.n; i++) {
		const struct sim_mapping *m = sim->mappings.v[i];

		if (m->ino == gmem->file->ino && m->dev == gmem->file->dev)
			show_gmem(sim, gmem, m, offset, offset + length);
	}
	errno = saved;
}

void sim_mapping_update(struct pfnbuf_sim *sim, struct sim_vdev *vdev)
{
	bool absent = !sim_vdev_enabled(vdev) || vdev->low_power;
	FILE *maps = NULL;
	int saved = errno;

	for (size_t i = 0; i < sim->mappings.n; i++) {
		struct sim_mapping *m = sim->mappings.v[i];
		int fd;

		if (m->vdev != vdev || m->absent == absent)
			continue;
		if (!maps)
			maps = fopen("/proc/self/maps", "re");
		fd = vdev->bars[m->bar].fd;
		if (!maps || !still_there(maps, m, inode(fd), inode(sim->empty_fd)))
			continue;
		if (mmap((void *)(uintptr_t)m->addr, m->length, m->prot, MAP_SHARED | MAP_FIXED,
			 absent ? sim->empty_fd : fd, absent ? 0 : (off_t)m->offset) != MAP_FAILED)
			m->absent = absent;
	}
	if (maps)
		fclose(maps);
	errno = saved;
}
