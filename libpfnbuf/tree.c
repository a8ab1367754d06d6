/* SPDX-License-Identifier: MIT */
#include "tree.h"

/* xorshift32: even enough to keep the tree flat; nothing here needs to be unpredictable. */
static uint32_t next_rank(struct pfnbuf_tree *tree)
{
	uint32_t x = tree->seed ? tree->seed : 0x9e3779b9;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	tree->seed = x;
	return x;
}

/* Where the next node of a subtree is to go. */
struct place {
	struct pfnbuf_node **link;
	struct pfnbuf_node *parent;
};

/* Put @node there; the next place is under it, on the side that is @next. */
static void fill(struct place *place, struct pfnbuf_node *node, struct pfnbuf_node **next)
{
	*place->link = node;
	node->parent = place->parent;
	place->link = next;
	place->parent = node;
}

/* Cut a subtree into the nodes below the key of @top, which become its left side, and those above. */
static void split(struct pfnbuf_node *root, struct pfnbuf_node *top)
{
	struct place below = { &top->left, top }, above = { &top->right, top };

	while (root) {
		struct pfnbuf_node *node = root;

		if (node->key < top->key) {
			root = node->right;
			fill(&below, node, &node->right);
		} else {
			root = node->left;
			fill(&above, node, &node->left);
		}
	}
	*below.link = NULL;
	*above.link = NULL;
}

void pfnbuf_tree_insert(struct pfnbuf_tree *tree, struct pfnbuf_node *node)
{
	struct place place = { &tree->root, NULL };

	node->rank = next_rank(tree);
	while (*place.link && (*place.link)->rank > node->rank) {
		place.parent = *place.link;
		place.link =
			node->key < place.parent->key ? &place.parent->left : &place.parent->right;
	}
	split(*place.link, node);
	*place.link = node;
	node->parent = place.parent;
}

static struct place place_of(struct pfnbuf_tree *tree, struct pfnbuf_node *node)
{
	struct pfnbuf_node *parent = node->parent;

	if (!parent)
		return (struct place){ &tree->root, NULL };
	return (struct place){ parent->left == node ? &parent->left : &parent->right, parent };
}

void pfnbuf_tree_remove(struct pfnbuf_tree *tree, struct pfnbuf_node *node)
{
	struct pfnbuf_node *below = node->left, *above = node->right, *rest;
	struct place place = place_of(tree, node);

	while (below && above) {
		struct pfnbuf_node *top = below->rank > above->rank ? below : above;

		if (top == below) {
			below = top->right;
			fill(&place, top, &top->right);
		} else {
			above = top->left;
			fill(&place, top, &top->left);
		}
	}
	rest = below ? below : above;
	*place.link = rest;
	if (rest)
		rest->parent = place.parent;
}

struct pfnbuf_node *pfnbuf_tree_floor(const struct pfnbuf_tree *tree, uint64_t key)
{
	struct pfnbuf_node *best = NULL;

	for (struct pfnbuf_node *n = tree->root; n; n = n->key <= key ? n->right : n->left)
		if (n->key <= key)
			best = n;
	return best;
}

struct pfnbuf_node *pfnbuf_tree_ceil(const struct pfnbuf_tree *tree, uint64_t key)
{
	struct pfnbuf_node *best = NULL;

	for (struct pfnbuf_node *n = tree->root; n; n = n->key >= key ? n->left : n->right)
		if (n->key >= key)
			best = n;
	return best;
}

struct pfnbuf_node *pfnbuf_tree_next(const struct pfnbuf_node *node)
{
	struct pfnbuf_node *next = node->right;

	if (!next) {
		for (next = node->parent; next && next->right == node; next = next->parent)
			node = next;
		return next;
	}
	while (next->left)
		next = next->left;
	return next;
}
