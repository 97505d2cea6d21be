/* SPDX-License-Identifier: MIT */
/* redis_tls: the certificates for connections to Redis (REDIS_CA_FILE, REDIS_CERT_FILE, REDIS_KEY_FILE). */
#pragma once

#include <stdbool.h>

struct ssl_st; /* OpenSSL's SSL */

#define REDIS_TLS_PROBLEM_MAX 192

/* Reads the files. false: problem holds one sentence that names what is wrong, and what was loaded before stays. */
bool redis_tls_load(char problem[static 256]) __attribute__((warn_unused_result));
void redis_tls_reload(void); /* the same again, if it was loaded before, and logs how it went */

/* The client's side of a new connection to a server whose certificate has to be for that name or IP address. The caller
   frees it; the descriptor stays the caller's. */
struct ssl_st *redis_tls_new(int fd, const char *name);

/* One sentence on a call that failed with result; what OpenSSL has noted of it is cleared. NULL: it has not failed, it
   waits: *wants_write says for what. */
const char *redis_tls_problem(struct ssl_st *ssl, int result, bool *wants_write,
                              char out[static REDIS_TLS_PROBLEM_MAX]);
void redis_tls_fini(void);
