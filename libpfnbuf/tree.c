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

/* Cut a subtree into the nodes below @key and those above. */
static void split(struct pfnbuf_node *root, uint64_t key, struct pfnbuf_node **below,
		  struct pfnbuf_node **above)
{
	while (root) {
		struct pfnbuf_node ***side = root->key < key ? &below : &above;

		**side = root;
		*side = root->key < key ? &root->right : &root->left;
		root = **side;
	}
	*below = NULL;
	*above = NULL;
}

void pfnbuf_tree_insert(struct pfnbuf_tree *tree, struct pfnbuf_node *node)
{
	struct pfnbuf_node **link = &tree->root;

	node->rank = next_rank(tree);
	while (*link && (*link)->rank > node->rank)
		link = node->key < (*link)->key ? &(*link)->left : &(*link)->right;
	split(*link, node->key, &node->left, &node->right);
	*link = node;
}

void pfnbuf_tree_remove(struct pfnbuf_tree *tree, struct pfnbuf_node *node)
{
	struct pfnbuf_node **link = &tree->root;
	struct pfnbuf_node *below = node->left, *above = node->right;

	while (*link != node)
		link = node->key < (*link)->key ? &(*link)->left : &(*link)->right;
	while (below && above) {
		if (below->rank > above->rank) {
			*link = below;
			link = &below->right;
			below = *link;
		} else {
			*link = above;
			link = &above->left;
			above = *link;
		}
	}
	*link = below ? below : above;
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
