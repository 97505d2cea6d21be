/* SPDX-License-Identifier: MIT */
#include "signalbox/transport.h"

#include <errno.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "signalbox/loop.h"
#include "signalbox/tls.h"

void transport_open(struct transport *t, int fd)
{
    *t = (struct transport){.fd = fd, .ssl = tls_wanted() ? tls_new(fd) : NULL};
}

/* What OpenSSL says of a call that returned n. */
static ssize_t tls_result(struct transport *t, int n, bool reading)
{
    int error = SSL_get_error(t->ssl, n);
    bool http = error == SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST;

    ERR_clear_error();
    if (http) {
        SSL_free(t->ssl);
        t->ssl = NULL;
        return TRANSPORT_PLAIN_HTTP;
    }
    switch (error) {
    case SSL_ERROR_WANT_READ:
        return TRANSPORT_WAIT;
    case SSL_ERROR_WANT_WRITE:
        t->read_wants_write = reading;
        return TRANSPORT_WAIT;
    case SSL_ERROR_ZERO_RETURN:
        return TRANSPORT_END;
    default:
        return TRANSPORT_BROKEN;
    }
}

static ssize_t plain_result(ssize_t n)
{
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? TRANSPORT_WAIT : TRANSPORT_BROKEN;
}

ssize_t transport_read(struct transport *t, void *buf, size_t len)
{
    int n;

    if (!t->ssl)
        return plain_result(recvfrom(t->fd, buf, len, 0, NULL, NULL));
    t->read_wants_write = false;
    n = SSL_read(t->ssl, buf, (int)len);
    t->dry = n <= 0;
    if (tls_is_abused(t->ssl))
        return TRANSPORT_BROKEN;
    return n > 0 ? n : tls_result(t, n, true);
}

ssize_t transport_write(struct transport *t, const void *data, size_t len)
{
    int n;

    if (!t->ssl)
        return plain_result(sendto(t->fd, data, len, MSG_NOSIGNAL, NULL, 0));
    n = SSL_write(t->ssl, data, (int)len);
    return n > 0 ? n : tls_result(t, n, false);
}

bool transport_pending(const struct transport *t)
{
    return t->ssl && !t->dry && SSL_has_pending(t->ssl); /* which counts a part of a record as well */
}

struct transport transport_take(struct transport *t)
{
    struct transport taken = *t;

    *t = (struct transport){.fd = -1};
    return taken;
}

void transport_say_end(struct transport *t)
{
    if (!t->ssl)
        return;
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

void transport_goodbye(struct transport *t)
{
    transport_say_end(t);
    shutdown(t->fd, SHUT_WR);
}

void transport_forget(struct transport *t)
{
    SSL_free(t->ssl);
    *t = (struct transport){.fd = -1};
}

void transport_close(struct transport *t)
{
    int fd = t->fd;

    transport_say_end(t);
    transport_forget(t);
    if (fd >= 0)
        close(fd);
}

/* --- waiting --- */

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    const struct transport_watch *w = arg;

    (void)fd, (void)what;
    w->on_ready(w->arg);
}

void transport_watch_init(struct transport_watch *w, void (*on_ready)(void *arg), void *arg)
{
    *w = (struct transport_watch){event_new(loop_base(), -1, 0, on_event, w), 0, on_ready, arg};
}

void transport_await(struct transport_watch *w, const struct transport *t, enum transport_event what)
{
    short wanted = what == TRANSPORT_READABLE ? EV_READ : what == TRANSPORT_WRITABLE ? EV_WRITE : 0;

    if (what == TRANSPORT_READABLE && t->read_wants_write)
        wanted = EV_WRITE;
    if (wanted == w->events)
        return;
    event_del(w->event);
    w->events = wanted;
    if (wanted) {
        event_assign(w->event, loop_base(), t->fd, (short)(wanted | EV_PERSIST), on_event, w);
        event_add(w->event, NULL);
    }
}

void transport_again(struct transport_watch *w)
{
    event_active(w->event, EV_READ, 0);
}

void transport_watch_free(struct transport_watch *w)
{
    event_free(w->event);
}
