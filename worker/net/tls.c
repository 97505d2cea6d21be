/* SPDX-License-Identifier: MIT */
#include "signalbox/tls.h"

#include <openssl/ssl.h>
#include <stdint.h>
#include <stdlib.h>

#include "signalbox/config.h"
#include "signalbox/log.h"
#include "signalbox/pem.h"

#define PROBLEM_BYTES 256
#define TIME_BYTES 32
#define KEY_UPDATES_MAX 256 /* of one connection */

/* Of TLS 1.2; all of TLS 1.3 are good. Forward secrecy and authenticated encryption, nothing else. */
static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

static SSL_CTX *loaded; /* connections that are open keep the one they began with */

bool tls_wanted(void)
{
    return *config->tls_cert != '\0';
}

/* What else clients offer is not taken up: we speak no HTTP/2. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *offered,
                   unsigned int len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl, (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, offered, len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Each costs as much as many records, and nobody needs many of them. */
static void on_message(int written, int version, int content_type, const void *data, size_t len, SSL *ssl, void *arg)
{
    uintptr_t key_updates = (uintptr_t)SSL_get_app_data(ssl);

    (void)version, (void)arg;
    if (!written && content_type == SSL3_RT_HANDSHAKE && len > 0 && *(const unsigned char *)data == SSL3_MT_KEY_UPDATE)
        SSL_set_app_data(ssl, (void *)(key_updates + 1));
}

bool tls_is_abused(const SSL *ssl)
{
    return (uintptr_t)SSL_get_app_data(ssl) > KEY_UPDATES_MAX;
}

/* Sessions are not resumed: each process would have to know the ticket keys of all others, and change them often. An
   idle connection keeps no buffers. */
static void prepare(SSL_CTX *context)
{
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(context, ciphers) != 1)
        abort();
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_TICKET |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY); /* else one read goes on while records without data come */
    SSL_CTX_set_msg_callback(context, on_message);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_read_ahead(context, 1); /* one read for a record instead of two */
    SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
}

bool tls_load(char problem[static PROBLEM_BYTES])
{
    SSL_CTX *fresh;

    if (!tls_wanted())
        return true;
    fresh = SSL_CTX_new(TLS_server_method());
    if (!fresh)
        abort();
    prepare(fresh);
    if (!pem_read_pair(fresh, (struct pem_file){"TLS_CERT", config->tls_cert},
                       (struct pem_file){"TLS_KEY", config->tls_key}, problem)) {
        SSL_CTX_free(fresh);
        return false;
    }
    SSL_CTX_free(loaded);
    loaded = fresh;
    return true;
}

void tls_reload(void)
{
    char problem[PROBLEM_BYTES], expires[TIME_BYTES];

    if (!tls_load(problem)) {
        LOG_ERROR("tls_reload_failed", LOG_TEXT("reason", problem));
        return;
    }
    pem_expiry(loaded, expires);
    LOG_INFO("tls_reloaded", LOG_TEXT("expires", expires));
}

SSL *tls_new(int fd)
{
    SSL *ssl = SSL_new(loaded);

    if (!ssl || SSL_set_fd(ssl, fd) != 1)
        abort();
    SSL_set_accept_state(ssl);
    return ssl;
}

void tls_fini(void)
{
    SSL_CTX_free(loaded);
    loaded = NULL;
}
