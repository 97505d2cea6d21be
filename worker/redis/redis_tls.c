/* SPDX-License-Identifier: MIT */
#include "signalbox/redis_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/config.h"
#include "signalbox/log.h"
#include "signalbox/pem.h"

#define PROBLEM_BYTES 256

static SSL_CTX *loaded; /* connections that are open keep the one they began with */

static bool read_files(SSL_CTX *into, char problem[static PROBLEM_BYTES])
{
    const char *ca = config->redis_ca_file;

    if (!*ca && SSL_CTX_set_default_verify_paths(into) != 1) {
        snprintf(problem, PROBLEM_BYTES, "the system's certificate authorities cannot be read: %.80s", pem_reason());
        return false;
    }
    if (*ca && SSL_CTX_load_verify_file(into, ca) != 1) {
        snprintf(problem, PROBLEM_BYTES,
                 "REDIS_CA_FILE must name a file with certificates in PEM, not \"%.100s\": %.80s", ca, pem_reason());
        return false;
    }
    return !*config->redis_cert_file ||
           pem_read_pair(into, (struct pem_file){"REDIS_CERT_FILE", config->redis_cert_file},
                         (struct pem_file){"REDIS_KEY_FILE", config->redis_key_file}, problem);
}

bool redis_tls_load(char problem[static PROBLEM_BYTES])
{
    SSL_CTX *fresh = SSL_CTX_new(TLS_client_method());

    if (!fresh || SSL_CTX_set_min_proto_version(fresh, TLS1_2_VERSION) != 1)
        abort();
    SSL_CTX_set_options(fresh, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(fresh, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_clear_mode(fresh, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(fresh, 1);
    SSL_CTX_set_verify(fresh, SSL_VERIFY_PEER, NULL);
    if (!read_files(fresh, problem)) {
        ERR_clear_error();
        SSL_CTX_free(fresh);
        return false;
    }
    SSL_CTX_free(loaded);
    loaded = fresh;
    return true;
}

void redis_tls_reload(void)
{
    char problem[PROBLEM_BYTES], expires[32];

    if (!loaded)
        return;
    if (!redis_tls_load(problem)) {
        LOG_ERROR("redis_tls_reload_failed", LOG_TEXT("reason", problem));
        return;
    }
    pem_expiry(loaded, expires);
    LOG_INFO("redis_tls_reloaded", LOG_TEXT("expires", expires));
}

static bool is_ip(const char *name)
{
    unsigned char at[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, name, at) == 1 || inet_pton(AF_INET6, name, at) == 1;
}

/* SNI is for names alone (RFC 6066, section 3). */
SSL *redis_tls_new(int fd, const char *name)
{
    SSL *ssl = SSL_new(loaded);
    bool ok = ssl && SSL_set_fd(ssl, fd) == 1;

    if (ok && is_ip(name))
        ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    else if (ok)
        ok = SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
    if (!ok)
        abort();
    SSL_set_connect_state(ssl);
    return ssl;
}

/* What the server said against us, or what is wrong with what it sent. */
static const char *refusal(int reason)
{
    switch (reason) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
        return *config->redis_cert_file ? "it does not accept our certificate (REDIS_CERT_FILE)"
                                        : "it wants a client certificate (REDIS_CERT_FILE, REDIS_KEY_FILE)";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return "our certificate has expired (REDIS_CERT_FILE)";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return "it does not accept our certificate (REDIS_CERT_FILE)";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return "its version of TLS is older than 1.2";
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        return "it does not speak TLS";
    default:
        return NULL;
    }
}

static void describe(SSL *ssl, int result, char out[static REDIS_TLS_PROBLEM_MAX])
{
    int system_error = errno, error = SSL_get_error(ssl, result), reason;
    long verified = SSL_get_verify_result(ssl);
    char byte;

    if (error == SSL_ERROR_SYSCALL) /* before the server hung up it may have said why */
        error = SSL_get_error(ssl, SSL_read(ssl, &byte, 1)) == SSL_ERROR_SSL ? SSL_ERROR_SSL : error;
    reason = ERR_GET_REASON(ERR_peek_error());
    if (error == SSL_ERROR_ZERO_RETURN || (error == SSL_ERROR_SSL && reason == SSL_R_UNEXPECTED_EOF_WHILE_READING))
        snprintf(out, REDIS_TLS_PROBLEM_MAX, SSL_is_init_finished(ssl) ? "closed" : "closed while TLS was agreed on");
    else if (error == SSL_ERROR_SYSCALL)
        snprintf(out, REDIS_TLS_PROBLEM_MAX, "%s", system_error ? strerror(system_error) : "closed");
    else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK)
        snprintf(out, REDIS_TLS_PROBLEM_MAX, "its certificate is refused: %s", X509_verify_cert_error_string(verified));
    else
        snprintf(out, REDIS_TLS_PROBLEM_MAX, "TLS failed: %s", refusal(reason) ? refusal(reason) : pem_reason());
}

const char *redis_tls_problem(SSL *ssl, int result, bool *wants_write, char out[static REDIS_TLS_PROBLEM_MAX])
{
    int error = SSL_get_error(ssl, result);
    bool waits = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;

    *wants_write = error == SSL_ERROR_WANT_WRITE;
    if (!waits)
        describe(ssl, result, out);
    ERR_clear_error();
    return waits ? NULL : out;
}

void redis_tls_fini(void)
{
    SSL_CTX_free(loaded);
    loaded = NULL;
}
