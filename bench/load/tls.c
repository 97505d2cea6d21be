/* SPDX-License-Identifier: MIT */
#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>

static SSL_CTX *context;

/* Nobody is verified: all this ever talks to is the workers that a benchmark has started on loopback, with a
   certificate that it has just made, and what a client makes of one costs the worker nothing. */
void tls_init(void)
{
    context = SSL_CTX_new(TLS_client_method());
    if (!context)
        abort();
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF); /* an end is an end, as of a plain socket */
    SSL_CTX_set_mode(context,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
}

struct ssl_st *tls_new(int fd)
{
    SSL *s = SSL_new(context);

    if (!s || SSL_set_fd(s, fd) != 1)
        abort();
    SSL_set_connect_state(s);
    return s;
}

static int result(const SSL *s, int n)
{
    int error;

    if (n > 0)
        return n;
    error = SSL_get_error(s, n);
    ERR_clear_error();
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (error != SSL_ERROR_SYSCALL)
        errno = error == SSL_ERROR_SSL ? EPROTO : EAGAIN;
    return -1;
}

int tls_shake_hands(struct ssl_st *s)
{
    return result(s, SSL_do_handshake(s));
}

ssize_t tls_recv(struct ssl_st *s, char *buffer, size_t room)
{
    return result(s, SSL_read(s, buffer, (int)room));
}

ssize_t tls_send(struct ssl_st *s, const char *data, size_t len)
{
    return result(s, SSL_write(s, data, (int)len));
}

bool tls_pending(const struct ssl_st *s)
{
    return SSL_has_pending(s);
}

bool tls_wants_write(const struct ssl_st *s)
{
    return SSL_want_write(s);
}

void tls_free(struct ssl_st *s)
{
    SSL_free(s);
}
