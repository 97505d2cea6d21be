/* SPDX-License-Identifier: MIT */
#include "signalbox/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "signalbox/config.h"
#include "signalbox/log.h"

#define PROBLEM_BYTES 256
#define TIME_BYTES 32

/* Of TLS 1.2; all of TLS 1.3 are good. Forward secrecy and authenticated encryption, nothing else. */
static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

static SSL_CTX *loaded; /* only holds the certificate, its chain and its key */

bool tls_wanted(void)
{
    return *config->tls_cert != '\0';
}

/* The first error says what happened, later ones where. */
static const char *reason(void)
{
    unsigned long error = ERR_peek_error();
    const char *text = ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error)) : ERR_reason_error_string(error);

    return text ? text : "unknown error";
}

/* OpenSSL would ask the terminal, and wait. */
static int no_password(char *out, int room, int writing, void *arg)
{
    (void)out, (void)room, (void)writing, (void)arg;
    return -1;
}

static EVP_PKEY *read_key(const char *path)
{
    BIO *in = BIO_new_file(path, "r");
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_password, NULL) : NULL;

    BIO_free(in);
    return key;
}

/* File I/O, also while the loop runs: two small files, and only when somebody sends SIGHUP. */
static bool read_pair(SSL_CTX *into, char *problem)
{
    EVP_PKEY *key = NULL;
    bool ok = false;

    SSL_CTX_set_default_passwd_cb(into, no_password);
    if (SSL_CTX_use_certificate_chain_file(into, config->tls_cert) != 1)
        snprintf(problem, PROBLEM_BYTES, "TLS_CERT must name a file with a certificate in PEM, not \"%.100s\": %.80s",
                 config->tls_cert, reason());
    else if (!(key = read_key(config->tls_key)))
        snprintf(problem, PROBLEM_BYTES,
                 "TLS_KEY must name a file with a key in PEM and without a password, not \"%.100s\": %.80s",
                 config->tls_key, reason());
    else if (X509_check_private_key(SSL_CTX_get0_certificate(into), key) != 1)
        snprintf(problem, PROBLEM_BYTES, "TLS_KEY must name the key of the certificate in TLS_CERT, not \"%.100s\"",
                 config->tls_key);
    else if (SSL_CTX_use_PrivateKey(into, key) != 1)
        snprintf(problem, PROBLEM_BYTES, "TLS_KEY must name a key that can be used, not \"%.100s\": %.80s",
                 config->tls_key, reason());
    else
        ok = true;
    EVP_PKEY_free(key);
    ERR_clear_error();
    return ok;
}

bool tls_load(char problem[static PROBLEM_BYTES])
{
    SSL_CTX *fresh;

    if (!tls_wanted())
        return true;
    fresh = SSL_CTX_new(TLS_server_method());
    if (!fresh)
        abort();
    if (!read_pair(fresh, problem)) {
        SSL_CTX_free(fresh);
        return false;
    }
    SSL_CTX_free(loaded);
    loaded = fresh;
    return true;
}

/* When the certificate ends. */
static void expiry(char out[static TIME_BYTES])
{
    struct tm t;

    if (ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(loaded)), &t) != 1 ||
        strftime(out, TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &t) == 0)
        *out = '\0';
}

void tls_reload(void)
{
    char problem[PROBLEM_BYTES], expires[TIME_BYTES];

    if (!tls_load(problem)) {
        LOG_ERROR("tls_reload_failed", LOG_TEXT("reason", problem));
        return;
    }
    expiry(expires);
    LOG_INFO("tls_reloaded", LOG_TEXT("expires", expires));
}

/* Asked for each handshake, so that a reload shows in the next one. To replace the certificate of the context itself
   would leave the old one there where the new key is of another kind, and OpenSSL would choose between them. */
static int on_certificate(SSL *ssl, void *arg)
{
    STACK_OF(X509) * chain;

    (void)arg;
    SSL_CTX_get0_chain_certs(loaded, &chain);
    return SSL_use_cert_and_key(ssl, SSL_CTX_get0_certificate(loaded), SSL_CTX_get0_privatekey(loaded), chain, 1);
}

/* Whoever speaks HTTP where TLS is spoken is told so. What else he has sent is taken off the socket, for else closing
   it would be a reset, which may overtake the answer. */
static void on_step(const SSL *ssl, int where, int result)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 24\r\n"
                                 "connection: close\r\n\r\n{\"error\":\"TLS Required\"}";
    unsigned long error = ERR_peek_error();
    char rest[4096];

    if (where != SSL_CB_ACCEPT_EXIT || result == 1 || ERR_GET_LIB(error) != ERR_LIB_SSL ||
        ERR_GET_REASON(error) != SSL_R_HTTP_REQUEST)
        return;
    if (recv(SSL_get_fd(ssl), rest, sizeof(rest), MSG_DONTWAIT) > 0)
        send(SSL_get_fd(ssl), answer, sizeof(answer) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Sessions are not resumed: each process would have to know the ticket keys of all others, and change them often. */
void tls_prepare(SSL_CTX *context)
{
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(context, ciphers) != 1)
        abort();
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_cert_cb(context, on_certificate, NULL);
    SSL_CTX_set_info_callback(context, on_step);
    /* lws' own looks for other virtual hosts; there are none. */
    SSL_CTX_set_tlsext_servername_callback(context, NULL);
}

void tls_fini(void)
{
    SSL_CTX_free(loaded);
    loaded = NULL;
}
