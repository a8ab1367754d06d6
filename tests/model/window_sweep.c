/* SPDX-License-Identifier: MIT */
/*
 * Every failing call: each flow is run once to see which calls it makes, then once for each call
 * and each errno that Linux may answer it with. Afterwards the kernel is as it was before the flow,
 * and the flow can be tried again. Then the same with a second call failing, on the way back: the
 * kernel is as it was, or the window is quarantined, its ledgers are right, and freeing it leaves
 * nothing behind.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libpfnbuf/uapi/iommufd.h"
#include "libpfnbuf/uapi/kvm.h"
#include "libpfnbuf/uapi/proposed.h"
#include "libpfnbuf/uapi/vfio.h"
#include "rig.h"

#define GPA   UINT64_C(0x100000000)
#define IOVA  UINT64_C(0x40000000)
#define PAGES RIG_BAR_PAGES

#define FIVE_RUNS "ssss....ssssssss..ssss....ss.sss"
#define OTHERS	  "..ssssssss..ss..ssssssss....ss.."
#define MIXED	  "sspp....ppssssss..pppp....ss.sss"
#define REMIXED	  "ppss....ssss..pp..ssppssss..sspp"
#define STRIPED	  "sssspppp........sssssssspppppppp"

#define MAX_CALLS 512

struct scene {
	struct rig rig;
	struct pfnbuf_window *w;
	struct pfnbuf_window *beside; /* where guest memory goes on, or NULL */
	struct pfnbuf_buf *memfd;
	struct pfnbuf_buf *guest_memfd;
};

/* Stretches of a sparse BAR; that some touch, and two are more than one, is what matters. */
static const struct pfnbuf_range stretches[] = {
	{ 0, 12 * PAGE },
	{ 12 * PAGE, 12 * PAGE },
	{ 26 * PAGE, 6 * PAGE },
};

enum machine {
	PLAIN,
	SPARSE,	  /* the card's BAR is */
	RANGES,	  /* so it is, and the kernel imports dma-bufs of several ranges */
	GUEST,	  /* the VM has private memory */
	IN_PLACE, /* the same, and guest_memfds are converted in place */
};

struct flow {
	const char *name;
	void (*prepare)(struct scene *s);
	int (*run)(struct scene *s);
	/* What failed half-way is gone on with by running it again, not undone. */
	bool resumes;
	enum machine machine;
};

/* ---------------------------------------------------------------- flows --------------------- */

static struct pfnbuf_place place_of(const struct scene *s)
{
	return (struct pfnbuf_place){
		.size = sizeof(struct pfnbuf_place),
		.vm = s->rig.vm,
		.gpa = GPA,
		.ioas = s->rig.ioas,
		.iova = IOVA,
	};
}

static int make_bar(struct scene *s)
{
	const struct pfnbuf_place place = place_of(s);

	return pfnbuf_window_new_bar(s->rig.card, RIG_BAR, NULL, &place, &s->w);
}

static int make_ram(struct scene *s)
{
	const struct pfnbuf_ram ram = { .memfd = s->memfd, .length = PAGES * PAGE };
	struct pfnbuf_place place = place_of(s);

	place.granule = 4 * PAGE;
	return pfnbuf_window_new_ram(s->rig.ctx, &ram, &place, &s->w);
}

static int set_picture(struct scene *s, const char *picture)
{
	struct pfnbuf_layout *layout = rig_layout(picture);
	int r = pfnbuf_window_set_layout(s->w, layout);

	pfnbuf_layout_free(layout);
	return r;
}

static void have_nothing(struct scene *s)
{
	(void)s;
}

static void have_memfd(struct scene *s)
{
	s->memfd = rig_memfd(&s->rig, PAGES);
}

static void have_bar(struct scene *s)
{
	REQUIRE(make_bar(s) == 0);
	REQUIRE(set_picture(s, FIVE_RUNS) == 0);
}

static void have_withdrawing_bar(struct scene *s)
{
	struct pfnbuf_place place = place_of(s);

	place.flags = PFNBUF_PLACE_WITHDRAW_SLOTS;
	REQUIRE(pfnbuf_window_new_bar(s->rig.card, RIG_BAR, NULL, &place, &s->w) == 0);
	REQUIRE(set_picture(s, FIVE_RUNS) == 0);
}

static void have_dark_bar(struct scene *s)
{
	have_bar(s);
	REQUIRE(pfnbuf_device_set_memory_decode(s->rig.card, false) == 0);
}

static void have_dark_withdrawing_bar(struct scene *s)
{
	have_withdrawing_bar(s);
	REQUIRE(pfnbuf_device_set_memory_decode(s->rig.card, false) == 0);
}

static void have_reset_bar(struct scene *s)
{
	have_bar(s);
	REQUIRE(pfnbuf_device_reset(s->rig.card) == 0);
}

static void have_reset_withdrawing_bar(struct scene *s)
{
	have_withdrawing_bar(s);
	REQUIRE(pfnbuf_device_reset(s->rig.card) == 0);
}

static void have_ram(struct scene *s)
{
	have_memfd(s);
	REQUIRE(make_ram(s) == 0);
	REQUIRE(set_picture(s, FIVE_RUNS) == 0);
}

static void have_suspended_bar(struct scene *s)
{
	have_bar(s);
	REQUIRE(pfnbuf_window_suspend(s->w) == 0);
}

static int set_others(struct scene *s)
{
	return set_picture(s, OTHERS);
}

static int convert(struct scene *s)
{
	return pfnbuf_window_set_range(s->w, 3 * PAGE, 10 * PAGE, PFNBUF_SHARED);
}

static int punch(struct scene *s)
{
	return pfnbuf_window_set_range(s->w, 10 * PAGE, PAGE, PFNBUF_HOLE);
}

static int clear(struct scene *s)
{
	return pfnbuf_window_set_range(s->w, 0, PAGES * PAGE, PFNBUF_HOLE);
}

static int move_up(struct scene *s)
{
	return pfnbuf_window_move(s->w, GPA + 3 * PAGE, IOVA + 5 * PAGE);
}

static int move_down(struct scene *s)
{
	return pfnbuf_window_move(s->w, GPA - 3 * PAGE, IOVA - 5 * PAGE);
}

static int suspend(struct scene *s)
{
	return pfnbuf_window_suspend(s->w);
}

static int resume(struct scene *s)
{
	return pfnbuf_window_resume(s->w);
}

static int restore_device(struct scene *s)
{
	return pfnbuf_device_restore(s->rig.card);
}

static int restore_window(struct scene *s)
{
	return pfnbuf_window_restore(s->w);
}

static int reset_and_restore(struct scene *s)
{
	int r = pfnbuf_device_reset(s->rig.card);

	return r < 0 ? r : pfnbuf_device_restore(s->rig.card);
}

static int decode_and_restore(struct scene *s)
{
	int r = pfnbuf_device_set_memory_decode(s->rig.card, false);

	if (r >= 0)
		r = pfnbuf_device_set_memory_decode(s->rig.card, true);
	return r < 0 ? r : pfnbuf_device_restore(s->rig.card);
}

static int verify(struct scene *s)
{
	int r = pfnbuf_window_verify(s->w, NULL);

	/* A call that says ENOENT or EINVAL says that something is not there. */
	return r == 0 ? -ENOENT : r;
}

static int make_guest_window(struct scene *s, uint64_t page, struct pfnbuf_window **wp)
{
	const bool in_place = !s->memfd;
	const struct pfnbuf_ram ram = {
		.memfd = s->memfd,
		.offset = in_place ? 0 : page * PAGE,
		.length = PAGES * PAGE,
		.guest_memfd = s->guest_memfd,
		.guest_memfd_offset = page * PAGE,
	};
	struct pfnbuf_place place = place_of(s);

	place.granule = 4 * PAGE;
	place.gpa += page * PAGE;
	place.iova += page * PAGE;
	return pfnbuf_window_new_ram(s->rig.ctx, &ram, &place, wp);
}

static int make_guest(struct scene *s)
{
	return make_guest_window(s, 0, &s->w);
}

static void have_guest_memory(struct scene *s)
{
	s->memfd = rig_memfd(&s->rig, 2 * PAGES);
	REQUIRE(pfnbuf_buf_new_guest_memfd(s->rig.vm, 2 * PAGES * PAGE, 0, &s->guest_memfd) == 0);
}

static void have_guest(struct scene *s)
{
	have_guest_memory(s);
	REQUIRE(make_guest(s) == 0);
	REQUIRE(set_picture(s, MIXED) == 0);
}

static void have_guest_of_two(struct scene *s)
{
	struct pfnbuf_layout *layout = rig_layout(MIXED);

	have_guest(s);
	REQUIRE(make_guest_window(s, PAGES, &s->beside) == 0);
	REQUIRE(pfnbuf_window_set_layout(s->beside, layout) == 0);
	pfnbuf_layout_free(layout);
}

static void have_suspended_guest(struct scene *s)
{
	have_guest(s);
	REQUIRE(pfnbuf_window_suspend(s->w) == 0);
}

static void have_memory_in_place(struct scene *s)
{
	REQUIRE(pfnbuf_buf_new_guest_memfd(s->rig.vm, 2 * PAGES * PAGE,
					   PFNBUF_GUEST_MEMFD_MMAP | PFNBUF_GUEST_MEMFD_INIT_SHARED,
					   &s->guest_memfd) == 0);
}

static void have_in_place(struct scene *s)
{
	have_memory_in_place(s);
	REQUIRE(make_guest(s) == 0);
	REQUIRE(set_picture(s, MIXED) == 0);
}

static int remix(struct scene *s)
{
	return set_picture(s, REMIXED);
}

static int to_private(struct scene *s)
{
	return pfnbuf_window_convert(s->w, PAGE, 14 * PAGE, PFNBUF_PRIVATE);
}

static int to_shared(struct scene *s)
{
	return pfnbuf_window_convert(s->w, PAGE, 20 * PAGE, PFNBUF_SHARED);
}

static int granule_to_private(struct scene *s)
{
	return pfnbuf_window_convert(s->w, 12 * PAGE, 4 * PAGE, PFNBUF_PRIVATE);
}

static void have_private_granule(struct scene *s)
{
	have_guest(s);
	REQUIRE(granule_to_private(s) == 0);
}

static int granule_to_shared(struct scene *s)
{
	return pfnbuf_window_convert(s->w, 12 * PAGE, 4 * PAGE, PFNBUF_SHARED);
}

/* Those of which no two have a call in common, nor three a gap. */
static int granules_to_both(struct scene *s)
{
	static const struct pfnbuf_conversion batch[] = {
		{ 20 * PAGE, 4 * PAGE, PFNBUF_PRIVATE },
		{ 4 * PAGE, 4 * PAGE, PFNBUF_SHARED },
		{ 28 * PAGE, 4 * PAGE, PFNBUF_SHARED },
	};

	return pfnbuf_window_convert_batch(s->w, batch, 3);
}

static void have_stripes(struct scene *s)
{
	have_guest_memory(s);
	REQUIRE(make_guest(s) == 0);
	REQUIRE(set_picture(s, STRIPED) == 0);
}

static int guest_granules_to_both(struct scene *s)
{
	static const struct pfnbuf_conversion batch[] = {
		{ GPA + 24 * PAGE, 4 * PAGE, PFNBUF_SHARED },
		{ GPA, 4 * PAGE, PFNBUF_PRIVATE },
	};

	return pfnbuf_guest_convert(s->rig.vm, batch, 2);
}

static int to_both(struct scene *s)
{
	static const struct pfnbuf_conversion batch[] = {
		{ 0, 12 * PAGE, PFNBUF_SHARED },
		{ 0, PAGE, PFNBUF_PRIVATE },
		{ 14 * PAGE, 6 * PAGE, PFNBUF_PRIVATE },
		{ 28 * PAGE, 2 * PAGE, PFNBUF_PRIVATE },
	};

	return pfnbuf_window_convert_batch(s->w, batch, 4);
}

static int convert_guest(struct scene *s)
{
	static const struct pfnbuf_conversion list[] = {
		{ GPA + 10 * PAGE, (PAGES - 6) * PAGE, PFNBUF_PRIVATE },
		{ GPA + (PAGES + 8) * PAGE, 4 * PAGE, PFNBUF_SHARED },
	};

	return pfnbuf_guest_convert(s->rig.vm, list, 2);
}

static const struct flow flows[] = {
	{ "new BAR", have_nothing, make_bar, false, PLAIN },
	{ "new RAM", have_memfd, make_ram, false, PLAIN },
	{ "BAR set_layout", have_bar, set_others, false, PLAIN },
	{ "BAR convert", have_bar, convert, false, PLAIN },
	{ "BAR punch", have_bar, punch, false, PLAIN },
	{ "BAR clear", have_bar, clear, false, PLAIN },
	{ "BAR move up", have_bar, move_up, false, PLAIN },
	{ "BAR move down", have_bar, move_down, false, PLAIN },
	{ "BAR suspend", have_bar, suspend, false, PLAIN },
	{ "BAR resume", have_suspended_bar, resume, false, PLAIN },
	{ "BAR verify", have_bar, verify, false, PLAIN },
	{ "dark BAR set_layout", have_dark_bar, set_others, false, PLAIN },
	{ "dark BAR move", have_dark_bar, move_up, false, PLAIN },
	{ "dark withdrawing BAR set_layout", have_dark_withdrawing_bar, set_others, false, PLAIN },
	{ "reset BAR set_layout", have_reset_bar, set_others, false, PLAIN },
	{ "reset BAR move", have_reset_bar, move_down, false, PLAIN },
	{ "reset withdrawing BAR set_layout", have_reset_withdrawing_bar, set_others, false,
	  PLAIN },
	{ "RAM set_layout", have_ram, set_others, false, PLAIN },
	{ "RAM convert", have_ram, convert, false, PLAIN },
	{ "RAM punch", have_ram, punch, false, PLAIN },
	{ "RAM move", have_ram, move_up, false, PLAIN },
	{ "RAM suspend", have_ram, suspend, false, PLAIN },
	{ "new guest RAM", have_guest_memory, make_guest, false, GUEST },
	{ "guest RAM set_layout", have_guest, remix, false, GUEST },
	{ "guest RAM to private", have_guest, to_private, false, GUEST },
	{ "guest RAM to shared", have_guest, to_shared, false, GUEST },
	{ "a granule to private", have_guest, granule_to_private, false, GUEST },
	{ "a granule to shared", have_private_granule, granule_to_shared, false, GUEST },
	{ "granules to both", have_stripes, granules_to_both, false, GUEST },
	{ "granules of a guest to both", have_stripes, guest_granules_to_both, false, GUEST },
	{ "RAM of granules set_layout", have_private_granule, remix, false, GUEST },
	{ "RAM of granules to private", have_private_granule, to_private, false, GUEST },
	{ "RAM of granules to shared", have_private_granule, to_shared, false, GUEST },
	{ "RAM of granules clear", have_private_granule, clear, false, GUEST },
	{ "RAM of granules move up", have_private_granule, move_up, false, GUEST },
	{ "RAM of granules move down", have_private_granule, move_down, false, GUEST },
	{ "RAM of granules suspend", have_private_granule, suspend, false, GUEST },
	{ "RAM of granules verify", have_private_granule, verify, false, GUEST },
	{ "guest RAM to both", have_guest, to_both, false, GUEST },
	{ "guest RAM clear", have_guest, clear, false, GUEST },
	{ "guest RAM move up", have_guest, move_up, false, GUEST },
	{ "guest RAM move down", have_guest, move_down, false, GUEST },
	{ "guest RAM suspend", have_guest, suspend, false, GUEST },
	{ "guest RAM resume", have_suspended_guest, resume, false, GUEST },
	{ "guest RAM verify", have_guest, verify, false, GUEST },
	{ "guest conversion over two", have_guest_of_two, convert_guest, false, GUEST },
	{ "new RAM in place", have_memory_in_place, make_guest, false, IN_PLACE },
	{ "RAM in place set_layout", have_in_place, remix, false, IN_PLACE },
	{ "RAM in place to private", have_in_place, to_private, false, IN_PLACE },
	{ "RAM in place to shared", have_in_place, to_shared, false, IN_PLACE },
	{ "RAM in place move", have_in_place, move_up, false, IN_PLACE },
	{ "RAM in place suspend", have_in_place, suspend, false, IN_PLACE },
	{ "restore device", have_reset_bar, restore_device, true, PLAIN },
	{ "restore withdrawing device", have_reset_withdrawing_bar, restore_device, true, PLAIN },
	{ "restore window", have_reset_withdrawing_bar, restore_window, true, PLAIN },
	{ "reset and restore", have_withdrawing_bar, reset_and_restore, true, PLAIN },
	{ "decode and restore", have_withdrawing_bar, decode_and_restore, true, PLAIN },
	{ "new sparse BAR", have_nothing, make_bar, false, SPARSE },
	{ "sparse BAR set_layout", have_bar, set_others, false, SPARSE },
	{ "sparse BAR move", have_bar, move_up, false, SPARSE },
	{ "new BAR of ranges", have_nothing, make_bar, false, RANGES },
	{ "BAR of ranges set_layout", have_bar, set_others, false, RANGES },
	{ "BAR of ranges convert", have_bar, convert, false, RANGES },
	{ "BAR of ranges move", have_bar, move_down, false, RANGES },
	{ "BAR of ranges suspend", have_bar, suspend, false, RANGES },
	{ "restore device of ranges", have_reset_bar, restore_device, true, RANGES },
};

/* ---------------------------------------------------------------- errnos -------------------- */

static const struct {
	unsigned long request;
	int errors[8];
} ioctl_errors[] = {
	{ IOMMU_IOAS_MAP_FILE, { ENOMEM, EINTR, ENODEV, EINVAL, EEXIST, EFAULT, EOPNOTSUPP } },
	{ IOMMU_IOAS_UNMAP, { ENOENT, EBUSY, EDEADLK, ENOMEM, EINTR } },
	{ IOMMU_IOAS_IOVA_RANGES, { ENOENT, EFAULT, ENOMEM } },
	{ IOMMU_IOAS_ALLOC, { ENOMEM, ENOSPC, EINTR } },
	{ IOMMU_IOAS_COPY, { ENOMEM, ENOENT, EPERM, EINTR } },
	{ KVM_SET_USER_MEMORY_REGION, { EEXIST, EINVAL, ENOMEM, EIO, EFAULT, EINTR } },
	{ KVM_SET_MEMORY_ATTRIBUTES, { ENOMEM, EINVAL, EIO, EINTR } },
	{ KVM_SET_MEMORY_ATTRIBUTES2, { ENOMEM, EINVAL, EAGAIN, ENOTTY } },
	{ KVM_CHECK_EXTENSION, { EIO } },
	{ IOMMU_IOAS_MAP, { ENOMEM, EINTR, EINVAL, EEXIST, EFAULT } },
	{ KVM_SET_USER_MEMORY_REGION2, { EEXIST, EINVAL, ENOMEM, EIO, EFAULT, EINTR } },
	{ VFIO_DEVICE_FEATURE, { ENOTTY, EOPNOTSUPP, EINVAL, ENODEV, ENOMEM, EMFILE, EFAULT } },
	{ VFIO_DEVICE_RESET, { EINVAL, EAGAIN, ENOTTY, EIO } },
};

static const struct {
	const char *name;
	int errors[4];
} call_errors[] = {
	{ "mmap", { ENOMEM, EINVAL, EAGAIN, ENODEV } },
	{ "pread", { EIO, EFAULT, EINVAL } },
	{ "pwrite", { EIO, EFAULT } },
	{ "fstat", { EBADF, ENOMEM } },
	{ "fallocate", { EINTR, ENOSPC, EIO } },
};

/* Ends with a 0. */
static const int *errors_of(const struct rig_call *call, size_t *n)
{
	static const int any[] = { ENOMEM, EINTR };

	for (size_t i = 0; call->request && i < sizeof(ioctl_errors) / sizeof(*ioctl_errors); i++)
		if (ioctl_errors[i].request == call->request) {
			for (*n = 0; *n < 8 && ioctl_errors[i].errors[*n];)
				++*n;
			return ioctl_errors[i].errors;
		}
	for (size_t i = 0; !call->request && i < sizeof(call_errors) / sizeof(*call_errors); i++)
		if (!strcmp(call_errors[i].name, call->name)) {
			for (*n = 0; *n < 4 && call_errors[i].errors[*n];)
				++*n;
			return call_errors[i].errors;
		}
	*n = 2;
	return any;
}

/* ---------------------------------------------------------------- judging ------------------- */

static bool guest_has(struct rig *rig, uint64_t gpa)
{
	struct pfnbuf_slot slot;
	uint32_t id = 0;

	for (; pfnbuf_vm_next_slot(rig->vm, id, &id, &slot); id++)
		if (gpa - slot.gpa < slot.length)
			return true;
	return false;
}

/* What the guest reaches as private is what the ledger of attributes says, where there is a slot. */
static bool guest_has_private(struct rig *rig, uint64_t gpa)
{
	uint64_t attributes;

	pfnbuf_vm_get_attributes(rig->vm, gpa, &attributes, NULL);
	return attributes && guest_has(rig, gpa);
}

static bool device_has(struct rig *rig, uint64_t iova)
{
	struct pfnbuf_area area;

	return pfnbuf_ioas_next_area(rig->ioas, iova, &area) && area.iova <= iova && !area.dead;
}

/*
 * What the ledgers say is what the kernel has. A reset that did not happen leaves live what counts
 * as dead.
 */
static void ledgers_are_true(struct scene *s, bool maybe_alive)
{
	struct rig *rig = &s->rig;
	struct pfnbuf_device_info info;

	rig_check_alias(rig);
	REQUIRE(pfnbuf_device_get_info(rig->card, &info) == 0);
	for (uint64_t page = 0; page < PAGES + 16; page++) {
		const uint64_t iova = IOVA + (page - 8) * PAGE, gpa = GPA + (page - 8) * PAGE;
		const bool dma = rig_dma(rig, iova) >= 0;
		const int64_t guest = rig_guest(rig, gpa);

		REQUIRE(device_has(rig, iova) == dma || (maybe_alive && dma));
		if (rig->vm_type == PFNBUF_VM_DEFAULT) {
			REQUIRE(guest_has(rig, gpa) == (guest != -ENXIO));
			continue;
		}
		REQUIRE(guest < 0 || guest_has(rig, gpa));
		REQUIRE(rig->profile ||
			guest_has_private(rig, gpa) == (rig_guest_private(rig, gpa) >= 0));
	}
}

struct outcome {
	char *before;
	char *after;
	struct pfnbuf_sim_counts base;
};

static struct scene *new_scene(const struct flow *flow, struct pfnbuf_sim_counts *base)
{
	struct scene *s = calloc(1, sizeof(*s));

	if (flow->machine == GUEST || flow->machine == IN_PLACE)
		s->rig.vm_type = PFNBUF_VM_SW_PROTECTED;
	if (flow->machine == IN_PLACE)
		s->rig.profile = "gmem-inplace8";
	if (flow->machine == SPARSE || flow->machine == RANGES) {
		s->rig.sparse = stretches;
		s->rig.nr_sparse = 3;
	}
	rig_open(&s->rig);
	if (flow->machine == RANGES)
		pfnbuf_sim_set_proposed(s->rig.sim, PFNBUF_SIM_IMPORT_RANGES);
	pfnbuf_sim_get_counts(s->rig.sim, base);
	flow->prepare(s);
	return s;
}

static void end_scene(struct scene *s, const struct pfnbuf_sim_counts *base)
{
	struct pfnbuf_sim_counts counts;
	const char *what;

	rig_count(&s->rig, NULL, 0);
	s->w = pfnbuf_window_free(s->w);
	s->beside = pfnbuf_window_free(s->beside);
	s->memfd = pfnbuf_buf_unref(s->memfd);
	s->guest_memfd = pfnbuf_buf_unref(s->guest_memfd);
	pfnbuf_sim_get_counts(s->rig.sim, &counts);
	REQUIRE(memcmp(&counts, base, sizeof(counts)) == 0);
	REQUIRE(!pfnbuf_sim_alias(s->rig.sim, &what));
	rig_close(&s->rig);
	free(s);
}

/* The window that is, or NULL. */
static struct pfnbuf_window *quarantined(struct scene *s, struct pfnbuf_window_info *info)
{
	struct pfnbuf_window *const windows[] = { s->w, s->beside };

	for (int i = 0; i < 2; i++) {
		if (!windows[i])
			continue;
		pfnbuf_window_get_info(windows[i], info);
		if (info->state == PFNBUF_WINDOW_QUARANTINED)
			return windows[i];
	}
	return NULL;
}

/* Lines of a dump that begin so. */
static void leave_out(char *text, const char *beginning)
{
	char *to = text;

	for (char *line = text, *next; *line; line = next) {
		next = strchr(line, '\n') + 1;
		if (!strncmp(line, beginning, strlen(beginning)))
			continue;
		memmove(to, line, (size_t)(next - line));
		to += next - line;
	}
	*to = '\0';
}

/* What of a dump is not compared. */
enum left_out {
	NOTHING,
	/*
	 * Dead areas that were unmapped cannot be had back: on the way back they are entered in the
	 * ledger, or imported alive. So where some are dead only the ledger speaks of areas.
	 */
	AREAS,
	/* Where the kernel refuses a dma-buf of several ranges, the first try, each has its own. */
	DMA_BUFS,
};

static void dump_is(struct scene *s, const char *wanted, enum left_out what)
{
	static const char *const beginnings[] = { [AREAS] = "  0x", [DMA_BUFS] = "  dma-buf " };
	char *text = rig_dump(&s->rig), *expected = strdup(wanted);

	if (what != NOTHING) {
		leave_out(text, beginnings[what]);
		leave_out(expected, beginnings[what]);
	}
	if (strcmp(text, expected)) {
		fprintf(stderr, "---- expected:\n%s---- is:\n%s", expected, text);
		rig_die(__FILE__, __LINE__, "the kernel's state is as it was");
	}
	free(text);
	free(expected);
}

/* ---------------------------------------------------------------- sweeping ------------------ */

struct fault {
	uint64_t at;
	int error;
};

struct sweep {
	const struct flow *flow;
	char *before; /* the kernel's state */
	char *after;
	struct rig_call log[MAX_CALLS];
	uint64_t nr_calls;
	struct rig_call faulty_log[MAX_CALLS]; /* of the run with one fault */
	unsigned long cases;
	unsigned long undone;
	unsigned long quarantined;
	unsigned long harmless;
	unsigned long waiting;
};

static void check_quarantined(struct scene *s, struct pfnbuf_window *w,
			      const struct pfnbuf_window_info *info)
{
	REQUIRE(*info->reason);
	REQUIRE(pfnbuf_window_set_range(w, 0, PAGE, PFNBUF_SHARED) == -ENOTRECOVERABLE);
	ledgers_are_true(s, false);
}

static uint64_t dead_areas(struct scene *s)
{
	struct pfnbuf_window_info info = { 0 };

	if (s->w)
		pfnbuf_window_get_info(s->w, &info);
	return info.dead_areas;
}

/* On the way back an area could not be imported because it was revoked: it waits for a restore. */
static void check_waiting(struct sweep *sweep, struct scene *s, uint64_t dead)
{
	REQUIRE(pfnbuf_window_restore(s->w) == 0);
	REQUIRE(dead_areas(s) == 0);
	ledgers_are_true(s, false);
	dump_is(s, sweep->before, dead ? AREAS : NOTHING);
}

/* After a failure everything is as before, of which @dead; and done again it is done. */
static void check_undone(struct sweep *sweep, struct scene *s, uint64_t dead)
{
	const bool reset =
		sweep->flow->run == reset_and_restore || sweep->flow->run == decode_and_restore;

	ledgers_are_true(s, reset);
	if (!sweep->flow->resumes && dead_areas(s) > dead) {
		sweep->waiting++;
		check_waiting(sweep, s, dead);
		return;
	}
	if (!sweep->flow->resumes)
		dump_is(s, sweep->before, dead ? AREAS : NOTHING);
	if (sweep->flow->run(s) < 0)
		rig_die(__FILE__, __LINE__, sweep->flow->name);
	dump_is(s, sweep->after, dead && !sweep->flow->resumes ? AREAS : NOTHING);
}

/* Returns how many calls were made. */
static uint64_t try_faults(struct sweep *sweep, const struct fault *faults, unsigned n,
			   bool *failed)
{
	struct pfnbuf_sim_counts base;
	struct scene *s = new_scene(sweep->flow, &base);
	struct pfnbuf_window_info info;
	const uint64_t dead = dead_areas(s);
	struct pfnbuf_window *w;
	uint64_t calls;
	int r;

	rig_count(&s->rig, n == 1 ? sweep->faulty_log : NULL, MAX_CALLS);
	for (unsigned i = 0; i < n; i++)
		rig_fail(&s->rig, i, faults[i].at, faults[i].error);
	r = sweep->flow->run(s);
	calls = s->rig.calls;
	REQUIRE(s->rig.failed > 0 && calls <= MAX_CALLS);
	*failed = r < 0;
	rig_count(&s->rig, NULL, 0);
	sweep->cases++;
	if ((w = quarantined(s, &info))) {
		REQUIRE(r < 0 && n > 1);
		sweep->quarantined++;
		check_quarantined(s, w, &info);
	} else if (r < 0) {
		sweep->undone++;
		check_undone(sweep, s, dead);
	} else {
		sweep->harmless++;
		dump_is(s, sweep->after, sweep->flow->machine == RANGES ? DMA_BUFS : NOTHING);
	}
	end_scene(s, &base);
	return calls;
}

/* ENOENT also where it is not so: that is what a kernel says that injects a fault. */
static void try_second_faults(struct sweep *sweep, struct fault first, uint64_t nr_calls)
{
	static const int errors[] = { EIO, ENODEV, EBUSY, ENOENT };

	for (uint64_t at = first.at + 1; at <= nr_calls; at++)
		for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
			const struct fault faults[] = { first, { at, errors[i] } };
			bool failed;

			if (errors[i] != ENOENT ||
			    sweep->faulty_log[at - 1].request == IOMMU_IOAS_UNMAP)
				try_faults(sweep, faults, 2, &failed);
		}
}

static void look(struct sweep *sweep)
{
	struct pfnbuf_sim_counts base;
	struct scene *s = new_scene(sweep->flow, &base);

	sweep->before = rig_dump(&s->rig);
	rig_count(&s->rig, sweep->log, MAX_CALLS);
	if (sweep->flow->run(s) < 0)
		rig_die(__FILE__, __LINE__, sweep->flow->name);
	sweep->nr_calls = s->rig.calls;
	REQUIRE(sweep->nr_calls <= MAX_CALLS);
	sweep->after = rig_dump(&s->rig);
	end_scene(s, &base);
}

static void sweep_flow(struct sweep *sweep)
{
	look(sweep);
	for (uint64_t at = 1; at <= sweep->nr_calls; at++) {
		size_t n;
		const int *errors = errors_of(&sweep->log[at - 1], &n);

		for (size_t i = 0; i < n; i++) {
			const struct fault fault = { at, errors[i] };
			const size_t heap = mallinfo2().uordblks;
			bool failed;
			uint64_t calls = try_faults(sweep, &fault, 1, &failed);

			REQUIRE(mallinfo2().uordblks == heap);
			if (i == 0)
				try_second_faults(sweep, fault, calls);
		}
	}
	free(sweep->before);
	free(sweep->after);
}

/* What malloc keeps for its thread counts as in use: it keeps nothing, so that every byte shows. */
static void count_every_byte(char **argv)
{
	static const char tunables[] = "GLIBC_TUNABLES";

	if (getenv(tunables))
		return;
	setenv(tunables, "glibc.malloc.tcache_count=0", 1);
	execv("/proc/self/exe", argv);
	rig_die(__FILE__, __LINE__, "exec");
}

int main(int argc, char **argv)
{
	unsigned long cases = 0;

	(void)argc;
	count_every_byte(argv);
	for (size_t i = 0; i < sizeof(flows) / sizeof(*flows); i++) {
		static struct sweep sweep;

		sweep = (struct sweep){ .flow = &flows[i] };
		sweep_flow(&sweep);
		printf("%-34s %3lu calls, %5lu cases: %5lu undone, %4lu quarantined, %4lu harmless, "
		       "%3lu waiting\n",
		       flows[i].name, (unsigned long)sweep.nr_calls, sweep.cases, sweep.undone,
		       sweep.quarantined, sweep.harmless, sweep.waiting);
		cases += sweep.cases;
	}
	printf("%lu cases\n", cases);
	return 0;
}
