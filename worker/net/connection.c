/* SPDX-License-Identifier: MIT */
#include "signalbox/connection.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/config.h"
#include "signalbox/http.h"
#include "signalbox/http_body.h"
#include "signalbox/limits.h"
#include "signalbox/listener.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/server.h"
#include "signalbox/transport.h"
#include "signalbox/unfinished.h"
#include "signalbox/upgrade.h"

#define REQUEST_MS 10000     /* from its first byte to the end of its body */
#define UPLOAD_MS 30000      /* the same where more is let pass */
#define ANSWER_MS 30000      /* for the client to take its answer */
#define LINGER_MS 2000       /* for the client to read it, and close (RFC 9112 section 9.6) */
#define LINGER_BODY_MS 10000 /* the same while it still sends a body that nobody wants */
#define BODY_READ_MAX 65536  /* of a body that nobody wants: a longer one ends the connection */
#define PAUSE_MS 100         /* behind an answer that says that there are too many requests */
#define READ_BYTES 32768
#define STEPS_A_TURN 16 /* then others have their turn */

enum state {
    STATE_HEAD,   /* its next request is read, or awaited */
    STATE_BODY,   /* of that request */
    STATE_WORK,   /* its handler has not answered yet */
    STATE_ANSWER, /* the answer is written */
    STATE_PAUSE,  /* nothing is read for a while */
    STATE_LINGER, /* nothing more is answered */
};

/* What a step has come to. */
enum progress { GOES_ON, WAITS, GONE };

struct connection {
    struct transport transport;
    struct transport_watch watch;
    enum state state;
    struct unfinished unfinished;
    struct timer *deadline;
    char *in; /* what has come, and was not taken yet */
    size_t in_len, in_room;
    struct http_head_scan scan;
    struct http_body body;
    bool too_long; /* the body is */
    bool unread;   /* there is a body of which not all was read */
    struct exchange *exchange;
    struct bytes *out;
    size_t written;
    char socket_ip[IP_TEXT_MAX], ip[IP_TEXT_MAX]; /* ip: "" until it is known who is behind a proxy */
    bool counted, over_rate, over_count;          /* of the address in ip */
    bool kept;                                    /* a request was answered */
    bool closes, pauses;                          /* behind the answer */
    bool running;
    TAILQ_ENTRY(connection) all;
};

static TAILQ_HEAD(, connection) all = TAILQ_HEAD_INITIALIZER(all);
static struct metric *open_connections, *limited;
static struct metric_family *refused;

static void run(struct connection *c);

static void free_connection(struct connection *c)
{
    unfinished_end(&c->unfinished);
    timer_free(c->deadline);
    if (c->exchange)
        exchange_ended(c->exchange);
    if (c->counted)
        ip_close(c->ip);
    if (c->in)
        sodium_memzero(c->in, c->in_len);
    free(c->in);
    bytes_unref(c->out);
    transport_watch_free(&c->watch); /* before its descriptor is closed */
    transport_close(&c->transport);
    TAILQ_REMOVE(&all, c, all);
    metric_add(open_connections, -1);
    free(c);
}

/* --- its time --- */

static void on_deadline(void *arg);

static void set_deadline(struct connection *c, int64_t ms)
{
    timer_free(c->deadline);
    c->deadline = ms > 0 ? timer_once(ms, on_deadline, c) : NULL;
}

static void begin_request(struct connection *c)
{
    if (c->unfinished.begun_ms)
        return;
    unfinished_begin(&c->unfinished, c->over_count);
    set_deadline(c, REQUEST_MS);
}

/* --- what it is answered --- */

static void begin_answer(struct connection *c, struct bytes *answer)
{
    unfinished_end(&c->unfinished);
    if (c->exchange)
        exchange_ended(c->exchange);
    c->exchange = NULL;
    c->out = answer;
    c->written = 0;
    c->state = STATE_ANSWER;
    set_deadline(c, ANSWER_MS);
}

static void refuse(struct connection *c, struct http_fault fault)
{
    metric_add(metric_series(refused, "malformed"), 1);
    LOG_DEBUG("request_refused", LOG_INT("status", fault.status), LOG_TEXT("reason", fault.sentence),
              LOG_TEXT("ip", *c->ip ? c->ip : c->socket_ip));
    c->closes = true;
    begin_answer(c, http_refusal(fault.status, fault.sentence, "", NULL));
}

static void on_deadline(void *arg)
{
    struct connection *c = arg;

    c->deadline = NULL;
    if (c->state == STATE_PAUSE) {
        c->state = STATE_HEAD;
        set_deadline(c, (int64_t)config->keepalive_seconds * 1000);
        run(c);
    } else if ((c->state == STATE_HEAD && c->in_len > 0) || c->state == STATE_BODY) {
        LOG_INFO("limit_hit", LOG_TEXT("limit", "time for a request"), LOG_TEXT("ip", c->ip));
        refuse(c, (struct http_fault){408, "Request Timeout"});
        run(c);
    } else {
        free_connection(c);
    }
}

static void on_given_up(struct unfinished *u)
{
    struct connection *c = (struct connection *)((char *)u - offsetof(struct connection, unfinished));
    struct bytes *answer =
        u->over ? http_refusal(429, "Too Many Requests", "", NULL) : http_refusal(408, "Request Timeout", "", NULL);

    if (c->in_len > 0 || c->state == STATE_BODY)
        transport_write(&c->transport, bytes_data(answer), bytes_len(answer));
    bytes_unref(answer);
    free_connection(c);
}

static enum progress step_answer(struct connection *c)
{
    while (c->written < bytes_len(c->out)) {
        ssize_t n = transport_write(&c->transport, bytes_data(c->out) + c->written, bytes_len(c->out) - c->written);

        if (n == TRANSPORT_WAIT) {
            transport_await(&c->watch, &c->transport, TRANSPORT_WRITABLE);
            return WAITS;
        }
        if (n < 0)
            return GONE;
        c->written += (size_t)n;
    }
    bytes_unref(c->out);
    c->out = NULL;
    c->scan = (struct http_head_scan){0};
    c->kept = true;
    if (c->closes) {
        transport_goodbye(&c->transport);
        c->state = STATE_LINGER;
        set_deadline(c, c->unread ? LINGER_BODY_MS : LINGER_MS);
    } else if (c->pauses) {
        c->state = STATE_PAUSE;
        set_deadline(c, PAUSE_MS);
    } else {
        c->state = STATE_HEAD;
        set_deadline(c, (int64_t)config->keepalive_seconds * 1000);
    }
    return GOES_ON;
}

static enum progress step_work(struct connection *c)
{
    if (!exchange_answered(c->exchange)) {
        transport_await(&c->watch, &c->transport, TRANSPORT_NOTHING);
        return WAITS;
    }
    c->closes |= server_draining();
    begin_answer(c, exchange_wire(c->exchange, c->closes));
    return GOES_ON;
}

void connection_answered(struct connection *c)
{
    if (c->state == STATE_WORK && !c->running)
        run(c);
}

/* --- what it sends --- */

static void weigh(struct connection *c)
{
    unfinished_weigh(&c->unfinished, c->in_room + (c->exchange ? exchange_body(c->exchange).len : 0));
}

/* Also tells of the end: there is nothing to answer where no request has begun. */
static enum progress read_more(struct connection *c)
{
    static char bytes[READ_BYTES];
    ssize_t n = transport_read(&c->transport, bytes, sizeof(bytes));

    if (n > 0) {
        if (c->in_len + (size_t)n > c->in_room) {
            c->in_room = c->in_len + (size_t)n;
            c->in = mem_grow(c->in, c->in_room);
        }
        memcpy(c->in + c->in_len, bytes, (size_t)n);
        c->in_len += (size_t)n;
        weigh(c);
        return GOES_ON;
    }
    if (n == TRANSPORT_WAIT) {
        transport_await(&c->watch, &c->transport, TRANSPORT_READABLE);
        return WAITS;
    }
    if (n == TRANSPORT_PLAIN_HTTP)
        refuse(c, (struct http_fault){400, "TLS Required"});
    else if (n == TRANSPORT_END && (c->in_len > 0 || c->state == STATE_BODY))
        refuse(c, (struct http_fault){400, "The request has no end"});
    else
        return GONE;
    return GOES_ON;
}

static void take(struct connection *c, size_t len)
{
    if (len == 0)
        return;
    c->in_len -= len;
    memmove(c->in, c->in + len, c->in_len);
    if (c->in_len > 0)
        return;
    free(c->in);
    c->in = NULL;
    c->in_room = 0;
}

/* Whose request it is: of the socket's address, or where that is a proxy, of the one that it names. Another one than
   before counts as a new connection. */
static void meet_client(struct connection *c, const char *ip)
{
    if (strcmp(ip, c->ip) == 0)
        return;
    if (c->counted)
        ip_close(c->ip);
    snprintf(c->ip, sizeof(c->ip), "%s", ip);
    c->over_rate = !ip_connect(c->ip);
    c->counted = ip_open(c->ip);
    c->over_count = !c->counted;
}

static void meet_client_behind_proxy(struct connection *c, const struct http_head *h)
{
    char ip[IP_TEXT_MAX], *forwarded;

    if (!ip_is_proxy(c->socket_ip))
        return;
    forwarded = http_head_joined(h, "x-forwarded-for");
    client_ip(c->socket_ip, forwarded, ip);
    free(forwarded);
    meet_client(c, ip);
}

/* Its answer says that there is too much from its address. */
static void count_limited(struct connection *c)
{
    if (c->over_rate)
        metric_add(metric_series(refused, "rate"), 1);
    else if (c->over_count)
        metric_add(metric_series(refused, "connections"), 1);
    else
        metric_add(limited, 1);
}

static void on_body_part(struct span part, void *arg)
{
    struct connection *c = arg;

    c->too_long |= c->body.data > exchange_body_max(c->exchange);
    if (!c->too_long)
        exchange_body_part(c->exchange, part);
}

/* A short body that nobody wants is read to its end, so that what comes behind it is found. A long one, or one that the
   client has not sent yet, ends the connection behind the answer. */
static void begin_body(struct connection *c, const struct http_head *h)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    bool answered = exchange_answered(c->exchange);

    c->state = STATE_BODY;
    c->too_long = h->body_length > exchange_body_max(c->exchange);
    c->unread = true;
    http_body_begin(&c->body, h, on_body_part, c);
    if (exchange_is_upload(c->exchange))
        set_deadline(c, c->unfinished.begun_ms + UPLOAD_MS - loop_ms());
    if (c->too_long || (answered && (h->expects_continue || h->body_length > BODY_READ_MAX))) {
        c->closes = true;
        c->state = STATE_WORK;
    } else if (h->expects_continue && c->in_len == 0) {
        transport_write(&c->transport, go_on, sizeof(go_on) - 1);
    }
}

static void begin_work(struct connection *c)
{
    unfinished_end(&c->unfinished);
    set_deadline(c, 0);
    c->unread = false;
    c->state = STATE_WORK;
    exchange_body_end(c->exchange);
}

/* The connection becomes a WebSocket's, or is refused. */
static enum progress upgrade(struct connection *c, struct http_head *h)
{
    const char *limit = c->over_rate ? "rate" : c->over_count ? "connections" : NULL;
    struct upgrade u = {
        .head = h, .ip = c->ip, .limit = limit, .transport = &c->transport, .early = {c->in, c->in_len}};
    struct bytes *refusal;

    transport_await(&c->watch, &c->transport, TRANSPORT_NOTHING);
    refusal = upgrade_open(&u);
    http_head_free(h);
    if (!refusal) {
        c->counted = false; /* it counts for the WebSocket now */
        return GONE;
    }
    c->closes = true;
    begin_answer(c, refusal);
    return GOES_ON;
}

static enum progress take_request(struct connection *c, struct http_head *h)
{
    meet_client_behind_proxy(c, h);
    c->closes = !h->keep_alive || server_draining() || c->over_rate || c->over_count;
    if (upgrade_is_wanted(h))
        return upgrade(c, h);
    c->exchange = exchange_new(c, h, c->ip, c->over_rate || c->over_count);
    c->pauses = exchange_is_limited(c->exchange);
    if (c->pauses)
        count_limited(c);
    if (h->chunked || h->body_length > 0)
        begin_body(c, h);
    else
        begin_work(c);
    return GOES_ON;
}

static enum progress step_head(struct connection *c)
{
    struct http_fault fault = {0};
    struct http_head *h;
    size_t len = 0;

    if (c->in_len > 0) {
        begin_request(c);
        len = http_head_end(&c->scan, (struct span){c->in, c->in_len}, &fault);
    }
    if (len == 0 && fault.status == 0)
        return read_more(c);
    h = len ? http_head_new((struct span){c->in, len}, &fault) : NULL;
    if (!h) {
        refuse(c, fault);
        return GOES_ON;
    }
    take(c, len);
    return take_request(c, h);
}

static enum progress step_body(struct connection *c)
{
    struct http_fault fault = {0};
    size_t used = http_body_read(&c->body, (struct span){c->in, c->in_len}, &fault);

    take(c, used);
    if (fault.status) {
        refuse(c, fault);
    } else if (c->too_long) {
        exchange_fail(c->exchange, 413, "Payload Too Large");
        c->closes = true;
        c->state = STATE_WORK;
    } else if (c->body.whole) {
        begin_work(c);
    } else if (used == 0 || c->in_len == 0) {
        return read_more(c);
    }
    return GOES_ON;
}

/* What still comes is taken off: else closing would be a reset, which may overtake the answer. */
static enum progress step_linger(struct connection *c)
{
    char bytes[4096];
    ssize_t n = transport_read(&c->transport, bytes, sizeof(bytes));

    if (n == TRANSPORT_WAIT) {
        transport_await(&c->watch, &c->transport, TRANSPORT_READABLE);
        return WAITS;
    }
    return n > 0 ? GOES_ON : GONE;
}

static enum progress step(struct connection *c)
{
    switch (c->state) {
    case STATE_HEAD:
        return step_head(c);
    case STATE_BODY:
        return step_body(c);
    case STATE_WORK:
        return step_work(c);
    case STATE_ANSWER:
        return step_answer(c);
    case STATE_LINGER:
        return step_linger(c);
    case STATE_PAUSE:
        transport_await(&c->watch, &c->transport, TRANSPORT_NOTHING);
        break;
    }
    return WAITS;
}

static void run(struct connection *c)
{
    enum progress progress = GOES_ON;

    c->running = true;
    for (int steps = 0; progress == GOES_ON && steps < STEPS_A_TURN; steps++)
        progress = step(c);
    c->running = false;
    if (progress == GONE)
        free_connection(c);
    else if (progress == GOES_ON)
        transport_again(&c->watch);
}

static void on_ready(void *arg)
{
    run(arg);
}

/* --- all of them --- */

static void address_of(const struct sockaddr *from, char out[static IP_TEXT_MAX])
{
    char text[IP_TEXT_MAX] = "";

    if (from->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, text, sizeof(text));
    else if (from->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)from)->sin_addr, text, sizeof(text));
    client_ip(text, NULL, out);
}

void connection_new(int fd, const struct sockaddr *from)
{
    struct connection *c = mem_alloc(sizeof(*c));

    transport_open(&c->transport, fd);
    transport_watch_init(&c->watch, on_ready, c);
    TAILQ_INSERT_TAIL(&all, c, all);
    metric_add(open_connections, 1);
    address_of(from, c->socket_ip);
    if (!ip_is_proxy(c->socket_ip))
        meet_client(c, c->socket_ip);
    begin_request(c);
    transport_await(&c->watch, &c->transport, TRANSPORT_READABLE);
}

void connections_drain(void)
{
    struct connection *c, *next;

    for (c = TAILQ_FIRST(&all); c; c = next) {
        next = TAILQ_NEXT(c, all);
        if (c->kept && c->state == STATE_HEAD && c->in_len == 0)
            free_connection(c);
    }
}

void connections_init(void)
{
    open_connections = metric_gauge("signalbox_http_connections", "Open connections on which HTTP is spoken");
    limited = metric_counter("signalbox_rate_limited_requests_total", "HTTP requests over HTTP_RATE");
    refused = metric_family(METRIC_COUNTER, "signalbox_handshakes_refused_total", "Refused connections and upgrades",
                            "reason");
    unfinished_init(on_given_up, listener_resume);
}

void connections_fini(void)
{
    while (!TAILQ_EMPTY(&all))
        free_connection(TAILQ_FIRST(&all));
    unfinished_fini();
}
