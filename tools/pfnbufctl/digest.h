/* SPDX-License-Identifier: MIT */
/* Digests of reports. The library computes none: it keeps what somebody attested. */
#ifndef PFNBUFCTL_DIGEST_H
#define PFNBUFCTL_DIGEST_H

#include <stddef.h>
#include <stdint.h>

/* SHA-256, SHA-384 or SHA-512, which @size says: 32, 48 or 64 bytes. -EINVAL: another size. */
int sha2(const void *data, size_t length, uint8_t *digest, size_t size);

#endif /* PFNBUFCTL_DIGEST_H */
