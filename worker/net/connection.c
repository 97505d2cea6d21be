/* SPDX-License-Identifier: MIT */
#include "signalbox/connection_state.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "signalbox/config.h"
#include "signalbox/http.h"
#include "signalbox/listener.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"

#define REQUEST_MS 10000     /* from its first byte to the end of its body */
#define ANSWER_MS 30000      /* for the client to take its answer */
#define LINGER_MS 2000       /* for the client to read it, and close (RFC 9112 section 9.6) */
#define LINGER_BODY_MS 10000 /* the same while it still sends a body that nobody wants */
#define PAUSE_MS 100         /* behind an answer that says that there are too many requests */
#define ANSWERING_MAX 2048
#define ANSWERING_BYTES_MAX ((size_t)64 << 20)
#define STEPS_AT_ONCE 16 /* then others have their turn */

TAILQ_HEAD(connections, connection);

static struct connections all = TAILQ_HEAD_INITIALIZER(all);
/* With an answer that is not taken yet, or that was the last: the oldest first. */
static struct connections answering = TAILQ_HEAD_INITIALIZER(answering);
static size_t answering_count, answering_bytes;
static bool draining;
static struct metric *open_connections;

static void run(struct connection *c);

static void drop_answer(struct connection *c)
{
    answering_bytes -= c->out ? bytes_len(c->out) : 0;
    bytes_unref(c->out);
    c->out = NULL;
}

static void end_answering(struct connection *c)
{
    drop_answer(c);
    if (!c->is_answering)
        return;
    c->is_answering = false;
    TAILQ_REMOVE(&answering, c, answering);
    answering_count--;
}

static void free_connection(struct connection *c)
{
    unfinished_end(&c->unfinished);
    end_answering(c);
    timer_free(c->deadline);
    if (c->exchange)
        exchange_ended(c->exchange);
    if (c->counted)
        ip_close(c->ip);
    free(c->in);
    transport_watch_free(&c->watch); /* before its descriptor is closed */
    transport_close(&c->transport);
    TAILQ_REMOVE(&all, c, all);
    metric_add(open_connections, -1);
    free(c);
}

/* --- its time --- */

static void on_deadline(void *arg);

void connection_set_deadline(struct connection *c, int64_t ms)
{
    timer_free(c->deadline);
    c->deadline = ms > 0 ? timer_once(ms, on_deadline, c) : NULL;
}

void connection_begin_request(struct connection *c)
{
    if (c->unfinished.begun_ms)
        return;
    unfinished_begin(&c->unfinished, c->over_count);
    unfinished_weigh(&c->unfinished, c->in_room);
    connection_set_deadline(c, REQUEST_MS);
}

static void await_request(struct connection *c)
{
    c->state = STATE_HEAD;
    connection_set_deadline(c, (int64_t)config->keepalive_seconds * 1000);
}

/* --- what it is answered --- */

/* Who does not take its answer, or does not go, makes room for those that come after it. */
static void begin_answering(struct connection *c)
{
    struct connection *oldest;

    c->is_answering = true;
    TAILQ_INSERT_TAIL(&answering, c, answering);
    answering_count++;
    answering_bytes += bytes_len(c->out);
    while ((oldest = TAILQ_FIRST(&answering)) != c &&
           (answering_count > ANSWERING_MAX || answering_bytes > ANSWERING_BYTES_MAX))
        free_connection(oldest);
}

void connection_answer(struct connection *c, struct bytes *answer)
{
    unfinished_end(&c->unfinished);
    if (c->exchange)
        exchange_ended(c->exchange);
    c->exchange = NULL;
    c->out = answer;
    c->written = 0;
    c->state = STATE_ANSWER;
    connection_set_deadline(c, ANSWER_MS);
    begin_answering(c);
}

void connection_refuse(struct connection *c, struct http_fault fault, const struct http_head *h)
{
    connection_count_refused(fault.status == 408 ? "time" : "malformed");
    LOG_DEBUG("request_refused", LOG_INT("status", fault.status), LOG_TEXT("reason", fault.sentence),
              LOG_TEXT("ip", *c->ip ? c->ip : c->socket_ip));
    c->closes = true;
    connection_answer(c, http_refusal(fault.status, fault.sentence, c->exchange ? exchange_head(c->exchange) : h));
}

static void on_deadline(void *arg)
{
    struct connection *c = arg;

    c->deadline = NULL;
    if (c->state == STATE_PAUSE) {
        await_request(c);
        run(c);
    } else if ((c->state == STATE_HEAD && c->in_len > 0) || c->state == STATE_BODY) {
        LOG_INFO("limit_hit", LOG_TEXT("limit", "time for a request"), LOG_TEXT("ip", c->ip));
        connection_refuse(c, (struct http_fault){408, "Request Timeout"}, NULL);
        run(c);
    } else {
        free_connection(c);
    }
}

static void on_given_up(struct unfinished *u)
{
    struct connection *c = (struct connection *)((char *)u - offsetof(struct connection, unfinished));
    const struct http_head *h = c->exchange ? exchange_head(c->exchange) : NULL;
    struct bytes *answer =
        u->over ? http_refusal(429, "Too Many Requests", h) : http_refusal(408, "Request Timeout", h);

    if (c->in_len > 0 || c->state == STATE_BODY)
        transport_write(&c->transport, bytes_data(answer), bytes_len(answer));
    bytes_unref(answer);
    free_connection(c);
}

static void drop_input(struct connection *c)
{
    free(c->in);
    c->in = NULL;
    c->in_len = c->in_room = 0;
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
    c->scan = (struct http_head_scan){0};
    c->kept = true;
    if (c->closes || draining) {
        drop_answer(c);
        drop_input(c);
        transport_goodbye(&c->transport);
        c->state = STATE_LINGER;
        connection_set_deadline(c, c->unread ? LINGER_BODY_MS : LINGER_MS);
        return GOES_ON;
    }
    end_answering(c);
    if (c->pauses) {
        c->state = STATE_PAUSE;
        connection_set_deadline(c, PAUSE_MS);
    } else {
        await_request(c);
    }
    return GOES_ON;
}

static enum progress step_work(struct connection *c)
{
    if (!exchange_answered(c->exchange)) {
        transport_await(&c->watch, &c->transport, TRANSPORT_NOTHING);
        return WAITS;
    }
    c->closes |= draining;
    connection_answer(c, exchange_wire(c->exchange, c->closes));
    return GOES_ON;
}

void connection_answered(void *connection)
{
    struct connection *c = connection;

    if (c->state == STATE_WORK && !c->running)
        transport_again(&c->watch); /* behind what is on its way to Redis: whoever is answered may ask another worker */
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
        return connection_read_head(c);
    case STATE_BODY:
        return connection_read_body(c);
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
    for (int steps = 0; progress == GOES_ON && steps < STEPS_AT_ONCE; steps++)
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
        connection_meet_client(c, c->socket_ip);
    connection_begin_request(c);
    transport_await(&c->watch, &c->transport, TRANSPORT_READABLE);
}

static bool is_idle(const struct connection *c)
{
    return (c->state == STATE_HEAD || c->state == STATE_PAUSE) && c->in_len == 0;
}

void connections_drain(void)
{
    struct connection *c, *next;

    draining = true;
    for (c = TAILQ_FIRST(&all); c; c = next) {
        next = TAILQ_NEXT(c, all);
        if (c->kept && is_idle(c))
            free_connection(c);
    }
}

bool connections_draining(void)
{
    return draining;
}

bool connections_busy(void)
{
    struct connection *c;

    TAILQ_FOREACH (c, &all, all)
        if (!is_idle(c) && c->state != STATE_LINGER)
            return true;
    return false;
}

void connections_init(void)
{
    open_connections = metric_gauge("signalbox_http_connections", "Open connections on which HTTP is spoken");
    connection_input_init();
    unfinished_init(on_given_up, listener_resume);
}

void connections_fini(void)
{
    while (!TAILQ_EMPTY(&all))
        free_connection(TAILQ_FIRST(&all));
    unfinished_fini();
}
