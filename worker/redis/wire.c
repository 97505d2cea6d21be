/* SPDX-License-Identifier: MIT */
#include "signalbox/wire.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "signalbox/loop.h"
#include "signalbox/redis_tls.h"

#define READ_BYTES 65536
#define READS_MAX 4 /* of TLS records, before others have their turn */
#define RECORD_BYTES 16384

STAILQ_HEAD(wire_requests, wire_request);

struct wire {
    int fd;
    SSL *ssl; /* NULL: plain */
    enum { WIRE_CONNECTING, WIRE_SHAKING, WIRE_OPEN, WIRE_CLOSED } state;
    bool reading;      /* it is freed when that is over */
    bool flush_wanted; /* at the end of the iteration */
    bool full;         /* it waits until the socket takes more */
    struct event *readable, *writable;
    struct evbuffer *out;
    redisReader *reader;
    struct wire_requests unanswered;
    int64_t heard_ms; /* the last byte, or when the first of what is unanswered was sent */
    const struct wire_owner *owner;
    void *arg;
    LIST_ENTRY(wire) all;
};

static LIST_HEAD(wires, wire) all = LIST_HEAD_INITIALIZER(all);
static struct wire_requests orphans = STAILQ_HEAD_INITIALIZER(orphans); /* of wires that were closed */
static bool orphans_told;                                               /* they are about to be */

/* --- its end --- */

static void tell_orphans(void)
{
    for (struct wire_request *q; (q = STAILQ_FIRST(&orphans));) {
        STAILQ_REMOVE_HEAD(&orphans, next);
        q->answered(q, NULL);
    }
}

static void on_orphans(void *arg)
{
    (void)arg;
    orphans_told = false;
    tell_orphans();
}

static void free_wire(struct wire *w)
{
    evbuffer_free(w->out);
    redisReaderFree(w->reader);
    free(w);
}

void wire_close(struct wire *w)
{
    w->state = WIRE_CLOSED;
    LIST_REMOVE(w, all);
    event_free(w->readable);
    event_free(w->writable);
    SSL_free(w->ssl);
    close(w->fd);
    STAILQ_CONCAT(&orphans, &w->unanswered);
    if (!STAILQ_EMPTY(&orphans) && !orphans_told) {
        orphans_told = true;
        loop_defer(on_orphans, NULL);
    }
    if (!w->reading)
        free_wire(w);
}

static void lost(struct wire *w, const char *why)
{
    const struct wire_owner *owner = w->owner;
    void *arg = w->arg;

    wire_close(w);
    owner->on_lost(why, arg);
}

/* A call that has moved nothing: the wire waits, or it is lost. */
static void stand_still(struct wire *w, ssize_t n, bool writing)
{
    char problem[REDIS_TLS_PROBLEM_MAX];
    bool wants_write = writing;
    const char *why = NULL;

    if (w->ssl)
        why = redis_tls_problem(w->ssl, (int)n, &wants_write, problem);
    else if (n == 0)
        why = "closed";
    else if (errno != EAGAIN && errno != EINTR)
        why = strerror(errno);
    if (why)
        lost(w, why);
    else if (wants_write)
        event_add(w->writable, NULL);
}

/* --- writing --- */

static ssize_t write_bytes(struct wire *w)
{
    size_t len = evbuffer_get_length(w->out);
    int n;

    errno = 0;
    if (!w->ssl)
        return evbuffer_write(w->out, w->fd);
    len = len < RECORD_BYTES ? len : RECORD_BYTES;
    n = SSL_write(w->ssl, evbuffer_pullup(w->out, (ev_ssize_t)len), (int)len);
    if (n > 0)
        evbuffer_drain(w->out, (size_t)n);
    return n;
}

/* The wire may be lost by it. */
static void flush_wire(struct wire *w)
{
    ssize_t n = 1;

    while (n > 0 && evbuffer_get_length(w->out) > 0)
        n = write_bytes(w);
    w->full = n <= 0;
    if (w->full)
        stand_still(w, n, true);
}

/* --- reading --- */

static bool is_message(const redisReply *r)
{
    return r->type == REDIS_REPLY_ARRAY && r->elements == 3 && r->element[0]->type == REDIS_REPLY_STRING &&
           strcmp(r->element[0]->str, "message") == 0;
}

/* Redis refuses a connection that is one too many before it is asked anything. */
static void dispatch(struct wire *w, const redisReply *r)
{
    struct wire_request *q = STAILQ_FIRST(&w->unanswered);

    if (w->owner->on_message && is_message(r)) {
        w->owner->on_message(r, w->arg);
    } else if (q) {
        STAILQ_REMOVE_HEAD(&w->unanswered, next);
        q->answered(q, r);
    } else {
        lost(w, r->type == REDIS_REPLY_ERROR ? r->str : "an answer to nothing");
    }
}

static void take_replies(struct wire *w)
{
    void *r = NULL;

    while (w->state == WIRE_OPEN) {
        if (redisReaderGetReply(w->reader, &r) != REDIS_OK) {
            lost(w, w->reader->errstr);
            return;
        }
        if (!r)
            return;
        dispatch(w, r);
        freeReplyObject(r);
    }
}

/* true: there may be more to read. */
static bool read_once(struct wire *w)
{
    static char buf[READ_BYTES];
    ssize_t n;

    errno = 0;
    n = w->ssl ? SSL_read(w->ssl, buf, sizeof(buf)) : recv(w->fd, buf, sizeof(buf), 0);
    if (n <= 0) {
        stand_still(w, n, false);
        return false;
    }
    w->heard_ms = loop_ms();
    redisReaderFeed(w->reader, buf, (size_t)n);
    take_replies(w);
    return w->state == WIRE_OPEN && w->ssl;
}

/* Of what TLS has decrypted already the socket does not tell. */
static void read_some(struct wire *w)
{
    bool more = true;

    w->reading = true;
    for (int i = 0; more && i < READS_MAX; i++)
        more = read_once(w);
    w->reading = false;
    if (w->state == WIRE_CLOSED)
        free_wire(w);
    else if (more && SSL_has_pending(w->ssl))
        event_active(w->readable, EV_READ, 0);
    else if (w->full)
        flush_wire(w);
}

/* --- its beginning --- */

static void open_up(struct wire *w)
{
    w->state = WIRE_OPEN;
    w->owner->on_open(w->arg);
}

static void shake(struct wire *w)
{
    int n = SSL_connect(w->ssl);

    if (n == 1)
        open_up(w);
    else
        stand_still(w, n, false);
}

static void on_connected(struct wire *w)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error) {
        lost(w, strerror(error));
        return;
    }
    event_add(w->readable, NULL);
    w->state = WIRE_SHAKING;
    if (w->ssl)
        shake(w);
    else
        open_up(w);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct wire *w = arg;

    (void)fd;
    if (w->state == WIRE_CONNECTING)
        on_connected(w);
    else if (w->state == WIRE_SHAKING)
        shake(w);
    else if (what & EV_WRITE)
        flush_wire(w);
    else
        read_some(w);
}

/* Connects without waiting; -1: errno says why not. */
static int connect_socket(const struct sockaddr *at, socklen_t len)
{
    int fd = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1, error;

    if (fd < 0)
        return -1;
    if (at->sa_family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    }
    if (connect(fd, at, len) == 0 || errno == EINPROGRESS)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

struct wire *wire_open(const struct sockaddr *at, socklen_t len, const char *tls_name, const struct wire_owner *owner,
                       void *arg)
{
    int fd = connect_socket(at, len);
    struct wire *w;

    if (fd < 0)
        return NULL;
    w = mem_alloc(sizeof(*w));
    *w = (struct wire){.fd = fd, .owner = owner, .arg = arg, .out = evbuffer_new(), .reader = redisReaderCreate()};
    if (!w->out || !w->reader)
        abort();
    w->reader->maxbuf = 2 * READ_BYTES;
    w->ssl = tls_name ? redis_tls_new(fd, tls_name) : NULL;
    STAILQ_INIT(&w->unanswered);
    w->readable = event_new(loop_base(), fd, EV_READ | EV_PERSIST, on_ready, w);
    w->writable = event_new(loop_base(), fd, EV_WRITE, on_ready, w);
    event_add(w->writable, NULL);
    LIST_INSERT_HEAD(&all, w, all);
    return w;
}

/* --- commands --- */

static struct wire *to_flush(void)
{
    struct wire *w = LIST_FIRST(&all);

    while (w && !w->flush_wanted)
        w = LIST_NEXT(w, all);
    return w;
}

/* Commands are written at the end of the iteration, all at once. To flush may end wires. */
static void flush_all(void)
{
    for (struct wire *w; (w = to_flush());) {
        w->flush_wanted = false;
        flush_wire(w);
    }
}

void wire_send(struct wire *w, struct span resp, struct wire_request *q)
{
    static struct iteration_task flushing = {flush_all};

    if (STAILQ_EMPTY(&w->unanswered))
        w->heard_ms = loop_ms();
    STAILQ_INSERT_TAIL(&w->unanswered, q, next);
    evbuffer_add(w->out, resp.at, resp.len);
    if (w->full || w->flush_wanted)
        return;
    w->flush_wanted = true;
    loop_at_iteration_end(&flushing);
}

int64_t wire_silent_ms(const struct wire *w)
{
    return STAILQ_EMPTY(&w->unanswered) ? 0 : loop_ms() - w->heard_ms;
}

void wires_fini(void)
{
    tell_orphans();
}
