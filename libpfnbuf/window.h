/* SPDX-License-Identifier: MIT */
/*
 * What the rooms of a window share: window.c is its life and state, window_make.c how it comes to be,
 * window_plan.c the way from one state to another, window_convert.c what a guest asks of it,
 * window_granules.c the shortest way to that, window_bind.c its stay with a bind. Nobody else looks
 * into it.
 */
#ifndef PFNBUF_WINDOW_H
#define PFNBUF_WINDOW_H

#include "pieces.h"
#include "private.h"

/* A part of the window that is one range of one buffer, and one mapping. RAM has one. */
struct stretch {
	uint64_t offset; /* into the window */
	uint64_t length;
	/* NULL: a BAR that is not for devices, or RAM that is mapped for them by its address */
	struct pfnbuf_buf *buf;
	uint64_t buf_offset;
	struct pfnbuf_buf *guest_memfd; /* private memory, or NULL */
	uint64_t guest_memfd_offset;
	void *addr;  /* of shared memory in this process; NULL: not in a guest */
	bool mapped; /* here */
};

struct pfnbuf_window {
	struct pfnbuf_plan_owner owner;
	struct pfnbuf_revoke_hook hook;
	struct pfnbuf_link link;
	struct pfnbuf_link waiters;
	atomic_uint refs; /* plans hold one each */
	struct pfnbuf_ctx *ctx;
	const struct pfnbuf_kernel *kernel;
	struct pfnbuf_device *device; /* NULL: RAM */
	unsigned bar;
	uint64_t bar_offset;
	struct pfnbuf_vm *vm;
	struct pfnbuf_ioas *ioas;
	unsigned map_flags;
	unsigned slot_flags;
	uint64_t length;
	uint64_t granule; /* 0: none */
	bool withdraws;
	bool retries;
	bool in_place;		   /* the guest_memfd is shared memory, too */
	bool has_private;	   /* attributes, of the VM or in place, make it private */
	bool has_granules;	   /* which turn without a plan */
	struct stretch *stretches; /* in order */
	uint64_t *ends;		   /* of each of them: no piece crosses one */
	size_t nr_stretches;
	char name[PFNBUF_NAME_MAX];

	pthread_mutex_t lock; /* what follows */
	struct pfnbuf_layout *layout;
	struct pfnbuf_granules *granules; /* of the IOAS; NULL: none, or not yet */
	_Atomic uint64_t gpa;		  /* also read without the lock */
	uint64_t iova;
	uint64_t other_gpa; /* where a move that could not be undone may have left something */
	uint64_t other_iova;
	uint64_t version;
	uint64_t memlock; /* how much may be pinned, when that was asked last */
	bool suspended;	  /* by the caller */
	bool withdrawn;	  /* slots, because of a revocation */
	bool dead;	  /* the device is closed */
	bool ended;	  /* freed; a plan keeps the memory */
	bool quarantined; /* @reason says why */
	bool stuck;	  /* a plan could be neither run nor undone */
	struct pfnbuf_tree slots;
	uint64_t nr_slots;
	/* Slots of a plan that could not be undone, linked by node.right. */
	struct pfnbuf_window_slot *strays;
	char reason[512];

	/*
	 * What is the bind's that the window is lent to. Its stretches are then those of a report,
	 * or its own without anything behind them.
	 */
	struct pfnbuf_bind *lent_to; /* NULL: to none */
	struct pfnbuf_layout *own_layout;
	bool own_suspended;
	bool private_slots;	       /* private pages are slots on dma-bufs */
	struct stretch *own_stretches; /* set aside while there are others; NULL */
	uint64_t *own_ends;
	size_t nr_own;
};

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t end_of(const struct pfnbuf_range *range)
{
	return range->offset + range->length;
}

static inline const struct stretch *stretch_at(const struct pfnbuf_window *w, uint64_t offset)
{
	const struct stretch *s = w->stretches;

	while (offset - s->offset >= s->length)
		s++;
	return s;
}

static inline uint64_t generation(const struct pfnbuf_window *w)
{
	return w->device ? pfnbuf_device_get_generation(w->device) : 0;
}

static inline struct pfnbuf_range slice_of(const struct pfnbuf_window *w, const struct stretch *s)
{
	return (struct pfnbuf_range){ w->bar_offset + s->offset, s->length };
}

static inline struct pfnbuf_window_slot *slot_of(struct pfnbuf_node *node)
{
	return node ? pfnbuf_container_of(node, struct pfnbuf_window_slot, node) : NULL;
}

/* The first slot from @offset on, and the last one up to there. */
static inline struct pfnbuf_window_slot *slot_from(const struct pfnbuf_window *w, uint64_t offset)
{
	return slot_of(pfnbuf_tree_ceil(&w->slots, offset));
}

static inline struct pfnbuf_window_slot *slot_up_to(const struct pfnbuf_window *w, uint64_t offset)
{
	return slot_of(pfnbuf_tree_floor(&w->slots, offset));
}

static inline struct pfnbuf_window_slot *slot_after(const struct pfnbuf_window *w,
						    const struct pfnbuf_window_slot *slot)
{
	return slot_from(w, slot->node.key + 1);
}

static inline struct pfnbuf_window_slot *slot_before(const struct pfnbuf_window *w,
						     const struct pfnbuf_window_slot *slot)
{
	return slot->node.key ? slot_up_to(w, slot->node.key - 1) : NULL;
}

static inline void cleanup_layout_free(struct pfnbuf_layout **layout)
{
	pfnbuf_layout_free(*layout);
}

#define cleanup_layout __attribute__((cleanup(cleanup_layout_free)))

static inline void cleanup_plan_free(struct pfnbuf_plan **plan)
{
	pfnbuf_plan_free(*plan);
}

#define cleanup_plan __attribute__((cleanup(cleanup_plan_free)))

static inline void cleanup_window_free(struct pfnbuf_window **w)
{
	pfnbuf_window_free(*w);
}

#define cleanup_window __attribute__((cleanup(cleanup_window_free)))

/* window.c */
int pfnbuf_window_check_address(const char *object, const char *what, uint64_t address,
				uint64_t length);
int pfnbuf_window_check_changeable(const struct pfnbuf_window *w, const char *call);
int pfnbuf_window_check_layout(const struct pfnbuf_window *w, const struct pfnbuf_layout *layout);
int pfnbuf_window_check_stretches(const struct pfnbuf_window *w,
				  const struct pfnbuf_layout *layout);
int pfnbuf_window_check_usable(const struct pfnbuf_window *w, const char *call);
int pfnbuf_window_check_memlock(struct pfnbuf_window *w, uint64_t shared_pages, bool has_way_back);
void pfnbuf_window_quarantine_at(struct pfnbuf_window *w, const struct pfnbuf_step *stuck,
				 size_t nr_steps, size_t standing);
void pfnbuf_window_warn_kept(const struct pfnbuf_window *w);
int pfnbuf_window_refuse_private(const struct pfnbuf_window *w, const struct pfnbuf_range *range);
void pfnbuf_window_release_stretch(const struct pfnbuf_window *w, struct stretch *s);
int pfnbuf_window_run_plan(struct pfnbuf_window *w, struct pfnbuf_plan *plan);
void pfnbuf_window_tell(struct pfnbuf_window *w, enum pfnbuf_event_type type,
			struct pfnbuf_range range);
int pfnbuf_window_no_memory(const struct pfnbuf_window *w, const char *call);
struct pfnbuf_window *pfnbuf_window_allocate(struct pfnbuf_ctx *ctx,
					     const struct pfnbuf_place *place, uint64_t length,
					     size_t nr_stretches);

/* window_plan.c */
struct pfnbuf_cutting pfnbuf_window_area_cutting(const struct pfnbuf_window *w);
struct pfnbuf_plan_goal pfnbuf_window_goal(struct pfnbuf_window *w);
int pfnbuf_window_make_plan(struct pfnbuf_window *w, struct pfnbuf_plan_goal *goal,
			    const struct pfnbuf_layout *layout, struct pfnbuf_plan **planp);
int pfnbuf_window_plan_towards(struct pfnbuf_window *w, struct pfnbuf_plan_goal *goal,
			       struct pfnbuf_plan **planp);

/*
 * window_granules.c: have the IOAS keep the window's granules as a bit each. The sooner, the fewer
 * areas there are that have to become that. False: no memory.
 */
bool pfnbuf_window_add_granules(struct pfnbuf_window *w);

/* window_convert.c: the part of a conversion of guest memory that is here, by its offset. */
bool pfnbuf_window_clip(const struct pfnbuf_window *w, const struct pfnbuf_conversion *c,
			struct pfnbuf_conversion *part);

/* window_make.c */
int pfnbuf_window_export_together(const struct pfnbuf_window *w, struct stretch *stretches,
				  size_t n);

#endif /* PFNBUF_WINDOW_H */
