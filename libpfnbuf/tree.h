/* SPDX-License-Identifier: MIT */
/*
 * An ordered set of nodes with 64-bit keys, all different: a treap. The nodes sit in the caller's
 * structs, so that nothing here allocates; every operation walks one path from the root or to it, and its
 * expected length is logarithmic whatever the order of the keys.
 */
#ifndef PFNBUF_TREE_H
#define PFNBUF_TREE_H

#include <stddef.h>
#include <stdint.h>

struct pfnbuf_node {
	struct pfnbuf_node *left;
	struct pfnbuf_node *right;
	struct pfnbuf_node *parent; /* NULL: the root */
	uint64_t key;
	uint32_t rank; /* random; no child's is higher */
	uint32_t bits; /* the owner's, where padding would be */
};

struct pfnbuf_tree {
	struct pfnbuf_node *root;
	uint32_t seed;
};

/* The key must not be in the tree. */
void pfnbuf_tree_insert(struct pfnbuf_tree *tree, struct pfnbuf_node *node);
/* The node must be in the tree. */
void pfnbuf_tree_remove(struct pfnbuf_tree *tree, struct pfnbuf_node *node);

/*
 * The node with the highest key not above @key, and the one with the lowest not below it; or NULL.
 */
struct pfnbuf_node *pfnbuf_tree_floor(const struct pfnbuf_tree *tree, uint64_t key);
struct pfnbuf_node *pfnbuf_tree_ceil(const struct pfnbuf_tree *tree, uint64_t key);

/*
 * The node with the next key above that of @node, which is in a tree; or NULL. A walk over all of a
 * tree goes down and up each link once.
 */
struct pfnbuf_node *pfnbuf_tree_next(const struct pfnbuf_node *node);

#endif /* PFNBUF_TREE_H */
