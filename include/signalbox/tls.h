/* SPDX-License-Identifier: MIT */
/* tls: the certificate and key that TLS_CERT and TLS_KEY name, for the port. A process that forks passes them on. */
#pragma once

#include <stdbool.h>

struct ssl_st; /* OpenSSL's SSL */

bool tls_wanted(void); /* the port is to speak TLS */

/* Reads both files, if TLS is wanted. false: problem holds one sentence that names what is wrong, and what was loaded
   before stays in use. */
bool tls_load(char problem[static 256]);

/* The same again, and logs how it went. Connections that are open keep what they began with. */
void tls_reload(void);

/* The server's side of a new connection, with the certificate loaded last; its handshake is made by reading. The
   caller frees it; the descriptor stays the caller's. */
struct ssl_st *tls_new(int fd);
bool tls_is_abused(const struct ssl_st *ssl); /* its client makes work of what it may do: it is to be hung up on */
void tls_fini(void);
