/* SPDX-License-Identifier: MIT */
/* pem: certificates and keys in files, for whoever speaks TLS. */
#pragma once

#include <stdbool.h>

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

/* An option that names a file. */
struct pem_file {
    const char *option, *path;
};

/* Reads a certificate with its chain, and its key. false: problem holds one sentence that names the option. */
bool pem_read_pair(struct ssl_ctx_st *into, struct pem_file certificate, struct pem_file key, char problem[static 256])
    __attribute__((warn_unused_result));

/* What OpenSSL noted first: that says what happened, later ones where. */
const char *pem_reason(void);

/* When the certificate of a context ends, as 2026-01-31T12:00:00Z; "" if it has none. */
void pem_expiry(const struct ssl_ctx_st *context, char out[static 32]);
