/* SPDX-License-Identifier: MIT */
/*
 * SHA-2 as FIPS 180-4 has it. The two word sizes are one algorithm: constants of SHA-256 are the upper halves of those
 * of SHA-512, and rotations differ.
 */
#include <errno.h>
#include <string.h>

#include "digest.h"

/* The first 64 bits of the fractional parts of the cube roots of the first 80 primes. */
static const uint64_t constants[80] = {
	0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
	0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
	0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
	0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
	0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
	0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
	0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
	0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
	0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
	0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
	0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
	0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
	0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
	0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
	0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
	0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
	0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
	0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
	0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
	0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

/* Of the square roots of the first eight primes, and of the next eight. */
static const uint64_t start_512[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

static const uint64_t start_384[8] = {
	0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17, 0x152fecd8f70e5939,
	0x67332667ffc00b31, 0x8eb44a8768581511, 0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4,
};

/* What differs between words of 32 and of 64 bits. */
struct variant {
	unsigned bits; /* of a word */
	unsigned rounds;
	unsigned big_a[3], big_e[3];	 /* rotations */
	unsigned small_0[3], small_1[3]; /* two rotations and a shift */
};

static const struct variant narrow = {
	.bits = 32,
	.rounds = 64,
	.big_a = { 2, 13, 22 },
	.big_e = { 6, 11, 25 },
	.small_0 = { 7, 18, 3 },
	.small_1 = { 17, 19, 10 },
};

static const struct variant wide = {
	.bits = 64,
	.rounds = 80,
	.big_a = { 28, 34, 39 },
	.big_e = { 14, 18, 41 },
	.small_0 = { 1, 8, 7 },
	.small_1 = { 19, 61, 6 },
};

static uint64_t cut(const struct variant *v, uint64_t word)
{
	return v->bits == 64 ? word : word & UINT32_MAX;
}

static uint64_t rotate(const struct variant *v, uint64_t word, unsigned n)
{
	return cut(v, word >> n | word << (v->bits - n));
}

static uint64_t three_rotations(const struct variant *v, uint64_t word, const unsigned *n)
{
	return rotate(v, word, n[0]) ^ rotate(v, word, n[1]) ^ rotate(v, word, n[2]);
}

static uint64_t two_rotations(const struct variant *v, uint64_t word, const unsigned *n)
{
	return rotate(v, word, n[0]) ^ rotate(v, word, n[1]) ^ word >> n[2];
}

static uint64_t read_word(const struct variant *v, const uint8_t *bytes)
{
	uint64_t word = 0;

	for (unsigned i = 0; i < v->bits / 8; i++)
		word = word << 8 | bytes[i];
	return word;
}

static void schedule(const struct variant *v, const uint8_t *block, uint64_t *w)
{
	for (unsigned i = 0; i < 16; i++)
		w[i] = read_word(v, block + i * v->bits / 8);
	for (unsigned i = 16; i < v->rounds; i++)
		w[i] = cut(v, two_rotations(v, w[i - 2], v->small_1) + w[i - 7] +
				      two_rotations(v, w[i - 15], v->small_0) + w[i - 16]);
}

static void compress(const struct variant *v, uint64_t *state, const uint8_t *block)
{
	uint64_t w[80], s[8], first, second;

	schedule(v, block, w);
	memcpy(s, state, sizeof(s));
	for (unsigned i = 0; i < v->rounds; i++) {
		first = s[7] + three_rotations(v, s[4], v->big_e) +
			((s[4] & s[5]) ^ (~s[4] & s[6])) + (constants[i] >> (64 - v->bits)) + w[i];
		second = three_rotations(v, s[0], v->big_a) +
			 ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 7 * sizeof(*s));
		s[4] = cut(v, s[4] + first);
		s[0] = cut(v, first + second);
	}
	for (unsigned i = 0; i < 8; i++)
		state[i] = cut(v, state[i] + s[i]);
}

/* What is left of the message, the bit behind it, zeros, and its length in bits. */
static void finish(const struct variant *v, uint64_t *state, const uint8_t *rest, size_t n,
		   uint64_t length)
{
	const size_t block = 2 * v->bits;
	uint8_t last[256] = { 0 };
	size_t size = n + 1 + block / 8 <= block ? block : 2 * block;

	memcpy(last, rest, n);
	last[n] = 0x80;
	for (unsigned i = 0; i < 8; i++)
		last[size - 1 - i] = (uint8_t)(length << 3 >> (8 * i));
	last[size - 9] = (uint8_t)(v->bits == 64 ? length >> 61 : last[size - 9]);
	for (size_t at = 0; at < size; at += block)
		compress(v, state, last + at);
}

int sha2(const void *data, size_t length, uint8_t *digest, size_t size)
{
	const struct variant *v = size == 32 ? &narrow : &wide;
	const uint64_t *start = size == 48 ? start_384 : start_512;
	const uint8_t *bytes = data;
	const size_t block = 2 * v->bits;
	uint64_t state[8];
	size_t at = 0;

	if (size != 32 && size != 48 && size != 64)
		return -EINVAL;
	for (unsigned i = 0; i < 8; i++)
		state[i] = start[i] >> (64 - v->bits);
	for (; length - at >= block; at += block)
		compress(v, state, bytes + at);
	finish(v, state, bytes + at, length - at, length);
	for (size_t i = 0; i < size; i++) {
		unsigned word = (unsigned)(i / (v->bits / 8)), byte = (unsigned)(i % (v->bits / 8));

		digest[i] = (uint8_t)(state[word] >> (v->bits - 8 - 8 * byte));
	}
	return 0;
}
