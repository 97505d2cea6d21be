/* SPDX-License-Identifier: MIT */
/* What a client sends over HTTP, up to the handler of its request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/connection_state.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/upgrade.h"

#define UPLOAD_MS 30000     /* the same where more is let pass */
#define BODY_READ_MAX 65536 /* of a body that nobody wants: a longer one ends the connection */
#define READ_BYTES 32768

static struct metric *limited;
static struct metric_family *refused;

void connection_count_refused(const char *reason)
{
    metric_add(metric_series(refused, reason), 1);
}

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
        connection_refuse(c, (struct http_fault){400, "TLS Required"}, NULL);
    else if (n == TRANSPORT_END && (c->in_len > 0 || c->state == STATE_BODY))
        connection_refuse(c, (struct http_fault){400, "The request has no end"}, NULL);
    else
        return GONE;
    return GOES_ON;
}

static void take(struct connection *c, size_t len)
{
    char *rest = NULL;

    if (len == 0)
        return;
    c->in_len -= len;
    if (c->in_len > 0) {
        rest = mem_grow(NULL, c->in_len);
        memcpy(rest, c->in + len, c->in_len);
    }
    free(c->in);
    c->in = rest;
    c->in_room = c->in_len;
}

void connection_meet_client(struct connection *c, const char *ip)
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
    connection_meet_client(c, ip);
}

/* Its answer says that there is too much from its address. */
static void count_limited(struct connection *c)
{
    if (c->over_rate)
        connection_count_refused("rate");
    else if (c->over_count)
        connection_count_refused("connections");
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
static enum progress begin_body(struct connection *c, const struct http_head *h)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    bool answered = exchange_answered(c->exchange);

    c->state = STATE_BODY;
    c->too_long = h->body_length > exchange_body_max(c->exchange);
    c->unread = true;
    http_body_begin(&c->body, h, on_body_part, c);
    if (exchange_is_upload(c->exchange))
        connection_set_deadline(c, c->unfinished.begun_ms + UPLOAD_MS - loop_ms());
    if (c->too_long || (answered && (h->expects_continue || h->body_length > BODY_READ_MAX))) {
        c->closes = true;
        c->state = STATE_WORK;
    } else if (h->expects_continue && c->in_len == 0 &&
               transport_write(&c->transport, go_on, sizeof(go_on) - 1) != sizeof(go_on) - 1) {
        return GONE; /* it reads none of its answers */
    }
    return GOES_ON;
}

static void begin_work(struct connection *c)
{
    unfinished_end(&c->unfinished);
    connection_set_deadline(c, 0);
    c->unread = false;
    c->state = STATE_WORK;
    exchange_body_end(c->exchange);
}

/* The connection becomes a WebSocket's, or is refused. */
static enum progress upgrade(struct connection *c, struct http_head *h)
{
    const char *limit = c->over_rate ? "rate" : c->over_count ? "connections" : NULL;
    struct upgrade u = {.head = h,
                        .ip = c->ip,
                        .limit = limit,
                        .draining = connections_draining(),
                        .transport = &c->transport,
                        .early = {c->in, c->in_len}};
    struct bytes *refusal;

    transport_await(&c->watch, &c->transport, TRANSPORT_NOTHING);
    refusal = upgrade_open(&u);
    http_head_free(h);
    if (!refusal) {
        c->counted = false; /* it counts for the WebSocket now */
        return GONE;
    }
    connection_count_refused(u.refused);
    c->closes = true;
    connection_answer(c, refusal);
    return GOES_ON;
}

static enum progress take_request(struct connection *c, struct http_head *h)
{
    meet_client_behind_proxy(c, h);
    c->closes = !h->keep_alive || connections_draining() || c->over_rate || c->over_count;
    if (upgrade_is_wanted(h))
        return upgrade(c, h);
    c->exchange = exchange_new(h, c->ip, c->over_rate || c->over_count, connection_answered, c);
    c->pauses = exchange_is_limited(c->exchange);
    if (c->pauses)
        count_limited(c);
    if (h->chunked || h->body_length > 0)
        return begin_body(c, h);
    begin_work(c);
    return GOES_ON;
}

enum progress connection_read_head(struct connection *c)
{
    struct http_fault fault = {0};
    struct http_head *h;
    size_t len = 0;

    if (c->in_len > 0) {
        connection_begin_request(c);
        len = http_head_end(&c->scan, (struct span){c->in, c->in_len}, &fault);
    }
    if (len == 0 && fault.status == 0)
        return read_more(c);
    h = len ? http_head_new((struct span){c->in, len}, &fault) : NULL;
    if (fault.status) {
        connection_refuse(c, fault, h);
        http_head_free(h);
        return GOES_ON;
    }
    take(c, len);
    return take_request(c, h);
}

enum progress connection_read_body(struct connection *c)
{
    struct http_fault fault = {0};
    size_t used = http_body_read(&c->body, (struct span){c->in, c->in_len}, &fault);

    take(c, used);
    if (fault.status) {
        connection_refuse(c, fault, NULL);
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

void connection_input_init(void)
{
    limited = metric_counter("signalbox_rate_limited_requests_total", "HTTP requests over HTTP_RATE");
    refused = metric_family(METRIC_COUNTER, "signalbox_handshakes_refused_total", "Refused connections and upgrades",
                            "reason");
}
