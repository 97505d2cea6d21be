/* SPDX-License-Identifier: MIT */
/* tls: the certificate and key that TLS_CERT and TLS_KEY name, for the port. A process that forks passes them on. */
#pragma once

#include <stdbool.h>

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

bool tls_wanted(void); /* the port is to speak TLS */

/* Reads both files, if TLS is wanted. false: problem holds one sentence that names what is wrong, and what was loaded
   before stays in use. */
bool tls_load(char problem[static 256]);

/* The same again, and logs how it went. Connections that are open keep what they began with. */
void tls_reload(void);

/* Makes the context of the port's connections fit: versions, ciphers, and the certificate loaded last. */
void tls_prepare(struct ssl_ctx_st *context);
void tls_fini(void);
