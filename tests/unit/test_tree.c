/* SPDX-License-Identifier: MIT */
/* The ordered tree against a plain array, over random operations. */
#include <stdlib.h>
#include <string.h>

#include "libpfnbuf/tree.h"
#include "mock.h"

#define NR 2000

static struct pfnbuf_node nodes[NR];
static bool inside[NR];

static uint32_t random_state = 12345;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % n;
}

/* Keys are spread over all 64 bits, first and last value included. */
static uint64_t key_of(uint32_t i)
{
	return i == NR - 1 ? UINT64_MAX : i * (UINT64_MAX / (NR - 1));
}

static unsigned depth(const struct pfnbuf_node *n)
{
	unsigned l, r;

	if (!n)
		return 0;
	l = depth(n->left);
	r = depth(n->right);
	return 1 + (l > r ? l : r);
}

/* Keys in order, ranks falling; returns how many nodes there are. */
static size_t check(const struct pfnbuf_node *n, uint64_t lowest, uint64_t highest)
{
	if (!n)
		return 0;
	assert_true(n->key >= lowest && n->key <= highest);
	assert_true(!n->left || (n->left->rank <= n->rank && n->left->parent == n));
	assert_true(!n->right || (n->right->rank <= n->rank && n->right->parent == n));
	return 1 + (n->left ? check(n->left, lowest, n->key - 1) : 0) +
	       (n->right ? check(n->right, n->key + 1, highest) : 0);
}

static void check_lookups(const struct pfnbuf_tree *tree, uint32_t i, uint64_t key)
{
	uint32_t below, above;

	/* The last index whose key is not above @key is @i. */
	for (below = i + 1; below > 0 && !inside[below - 1]; below--)
		;
	assert_ptr_equal(pfnbuf_tree_floor(tree, key), below ? &nodes[below - 1] : NULL);
	for (above = key_of(i) == key ? i : i + 1; above < NR && !inside[above]; above++)
		;
	assert_ptr_equal(pfnbuf_tree_ceil(tree, key), above < NR ? &nodes[above] : NULL);
}

/* A walk from the first node to the last meets those that are inside, in order, and no other. */
static void check_walk(const struct pfnbuf_tree *tree)
{
	const struct pfnbuf_node *n = pfnbuf_tree_ceil(tree, 0);

	assert_true(!tree->root || !tree->root->parent);
	for (uint32_t i = 0; i < NR; i++) {
		if (!inside[i])
			continue;
		assert_ptr_equal(n, &nodes[i]);
		assert_int_equal(n->bits, i);
		n = pfnbuf_tree_next(n);
	}
	assert_null(n);
}

static void against_an_array(void **state)
{
	struct pfnbuf_tree tree = { 0 };
	size_t count = 0;

	(void)state;
	memset(inside, 0, sizeof(inside));
	for (uint32_t i = 0; i < NR; i++)
		nodes[i].bits = i;
	for (int round = 0; round < 40000; round++) {
		uint32_t i = random_below(NR);

		if (inside[i]) {
			pfnbuf_tree_remove(&tree, &nodes[i]);
			count--;
		} else {
			nodes[i].key = key_of(i);
			pfnbuf_tree_insert(&tree, &nodes[i]);
			count++;
		}
		inside[i] = !inside[i];
		i = random_below(NR - 1);
		check_lookups(&tree, i, key_of(i));
		check_lookups(&tree, i, key_of(i) + 1);
		check_lookups(&tree, NR - 1, UINT64_MAX);
		if (round % 1000 == 0) {
			assert_int_equal(check(tree.root, 0, UINT64_MAX), count);
			check_walk(&tree);
		}
	}
	assert_int_equal(check(tree.root, 0, UINT64_MAX), count);
}

/* Keys that come in order are what a ledger sees; a plain tree would become a list. */
static void stays_flat(void **state)
{
	static struct pfnbuf_node many[1 << 16];
	struct pfnbuf_tree tree = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 1 << 16; i++) {
		many[i].key = i;
		pfnbuf_tree_insert(&tree, &many[i]);
	}
	assert_true(depth(tree.root) < 64);
	for (uint32_t i = 0; i < 1 << 16; i++) {
		struct pfnbuf_node *first = pfnbuf_tree_ceil(&tree, 0);

		assert_ptr_equal(first, &many[i]);
		pfnbuf_tree_remove(&tree, first);
	}
	assert_null(tree.root);
	assert_null(pfnbuf_tree_floor(&tree, UINT64_MAX));
	assert_null(pfnbuf_tree_ceil(&tree, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_an_array),
		cmocka_unit_test(stays_flat),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
