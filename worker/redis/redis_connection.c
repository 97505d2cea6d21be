/* SPDX-License-Identifier: MIT */
#include "signalbox/redis_connection.h"

#include <errno.h>
#include <event2/util.h>
#include <hiredis/hiredis.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "signalbox/config.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/redis_greeting.h"
#include "signalbox/resolver.h"

#define BACKOFF_LEAST_MS 50
#define BACKOFF_MOST_MS 2000
#define STEADY_MS 5000 /* a connection that lasted so long is followed at once by another */
#define CONNECT_PATIENCE_MS 3000
#define REPLY_PATIENCE_MS 2000 /* without a byte */

static LIST_HEAD(redis_connections, redis_connection) all = LIST_HEAD_INITIALIZER(all);
static struct timer *watchdog;

static void connect_now(void *arg);
static void on_resolved(struct addrinfo *found, const char *problem, void *arg);
static void try_next(struct redis_connection *c);

static void forget_addresses(struct redis_connection *c)
{
    if (c->addresses)
        evutil_freeaddrinfo(c->addresses);
    c->addresses = c->next_address = NULL;
}

/* Full jitter, so that a fleet that lost Redis together does not come back together. */
static void retry_later(struct redis_connection *c)
{
    int64_t wait;

    forget_addresses(c);
    redis_place_set(&c->followed, NULL);
    if (!c->started || c->retry)
        return;
    wait = BACKOFF_LEAST_MS + (int64_t)randombytes_uniform((uint32_t)c->backoff_ms);
    c->backoff_ms = c->backoff_ms * 2 < BACKOFF_MOST_MS ? c->backoff_ms * 2 : BACKOFF_MOST_MS;
    c->retry = timer_once(wait, connect_now, c);
}

/* What goes on failing is said once, also where it is one thing at one address and another at the next. */
static void note_problem(struct redis_connection *c, const char *what, const char *why)
{
    char event[32];

    snprintf(c->problem, sizeof(c->problem), "%s", why);
    if (!c->started || strcmp(c->problem, c->told[0]) == 0 || strcmp(c->problem, c->told[1]) == 0)
        return;
    memcpy(c->told[1], c->told[0], sizeof(c->told[0]));
    memcpy(c->told[0], c->problem, sizeof(c->problem));
    snprintf(event, sizeof(event), "%s_%s", c->sentinel ? "sentinel" : "redis", what);
    LOG_WARNING(event, LOG_TEXT("connection", c->name), LOG_TEXT("reason", c->problem));
}

/* The wire is gone, or there was none. */
static void forget_wire(struct redis_connection *c)
{
    bool was_up = c->up;

    c->wire = NULL;
    c->up = false;
    greeting_end(&c->greeting);
    timer_free(c->patience);
    c->patience = NULL;
    if (!was_up)
        return;
    if (loop_ms() - c->up_ms > STEADY_MS)
        c->backoff_ms = BACKOFF_LEAST_MS;
    forget_addresses(c);
    if (c->on_down)
        c->on_down(c);
}

/* Redis says what it has against a connection before it is asked anything, and hangs up: that there are too many. A
   server that was to speak TLS, or not to, says little of it. */
static const char *guess(const struct redis_connection *c, const char *why)
{
    bool hung_up = strcmp(why, "closed") == 0 || strcmp(why, strerror(ECONNRESET)) == 0;

    if (c->greeting && hung_up && *greeting_error(c->greeting))
        return greeting_error(c->greeting);
    if (c->connects == 0 && c->greeting && !c->tls && (hung_up || strncmp(why, "Protocol error", 14) == 0))
        return "closed before it answered: does it want TLS (rediss://)?";
    return why;
}

static void on_lost(const char *why, void *arg)
{
    struct redis_connection *c = arg;

    note_problem(c, "lost", guess(c, why));
    forget_wire(c);
    try_next(c);
}

static void on_impatient(void *arg)
{
    struct redis_connection *c = arg;

    c->patience = NULL;
    wire_close(c->wire);
    on_lost(c->tls && !c->greeting ? "no answer while TLS was to be agreed on: does it speak TLS?"
                                   : "no answer while connecting",
            c);
}

void redis_connection_drop(struct redis_connection *c, const char *why)
{
    if (!c->wire)
        return;
    wire_close(c->wire);
    note_problem(c, "lost", why);
    forget_wire(c);
    retry_later(c);
    c->dropped = true;
}

/* --- connecting --- */

static struct metric_family *reconnects(void)
{
    return metric_family(METRIC_COUNTER, "signalbox_redis_reconnects_total",
                         "Times a connection to Redis was built anew", "connection");
}

/* A replica that was a master a moment ago knows its successor before the Sentinels do, if it was not they who chose
   it. One step: a master that is none in turn is lost. */
static void follow(struct redis_connection *c, const struct redis_place *master)
{
    forget_wire(c);
    forget_addresses(c);
    redis_place_set(&c->followed, master);
    resolver_ask(&c->lookup, c->followed.host, c->followed.port, on_resolved, c);
}

static void refuse(struct redis_connection *c, const struct greeted *g)
{
    wire_close(c->wire);
    if (c->follows && g->master && !c->followed.host)
        follow(c, g->master);
    else
        on_lost(g->problem, c);
}

static void on_greeted(const struct greeted *g, void *arg)
{
    struct redis_connection *c = arg;

    c->greeting = NULL;
    if (g->problem) {
        refuse(c, g);
        return;
    }
    timer_free(c->patience);
    c->patience = NULL;
    c->up = true;
    c->up_ms = loop_ms();
    c->problem[0] = c->told[0][0] = c->told[1][0] = '\0';
    snprintf(c->run_id, sizeof(c->run_id), "%s", g->run_id);
    forget_addresses(c);
    if (c->connects++ > 0)
        metric_add(metric_series(reconnects(), c->name), 1);
    LOG_INFO(c->sentinel ? "sentinel_connected" : "redis_connected", LOG_TEXT("connection", c->name));
    if (c->followed.host)
        LOG_INFO("redis_followed", LOG_TEXT("connection", c->name), LOG_TEXT("host", c->followed.host),
                 LOG_INT("port", c->followed.port));
    c->on_up(c);
}

static void on_open(void *arg)
{
    struct redis_connection *c = arg;

    c->greeting = greeting_begin(c, on_greeted, c);
}

static const char *tls_name(const struct redis_connection *c)
{
    if (!c->tls)
        return NULL;
    if (*config->redis_server_name)
        return config->redis_server_name;
    return c->followed.host ? c->followed.host : c->place.host;
}

static bool open_wire(struct redis_connection *c, const struct sockaddr *at, socklen_t len)
{
    c->wire = wire_open(at, len, tls_name(c), &c->owner, c);
    if (c->wire)
        c->patience = timer_once(CONNECT_PATIENCE_MS, on_impatient, c);
    else
        note_problem(c, "unreachable", strerror(errno));
    return c->wire;
}

static void try_next(struct redis_connection *c)
{
    while (c->next_address) {
        const struct addrinfo *at = c->next_address;

        c->next_address = at->ai_next;
        if (open_wire(c, at->ai_addr, (socklen_t)at->ai_addrlen))
            return;
    }
    retry_later(c);
}

static void on_resolved(struct addrinfo *found, const char *problem, void *arg)
{
    struct redis_connection *c = arg;

    if (!found)
        note_problem(c, "unreachable", problem ? problem : "no address");
    c->addresses = c->next_address = found;
    try_next(c);
}

static void connect_now(void *arg)
{
    struct redis_connection *c = arg;
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    c->retry = NULL;
    c->dropped = false;
    if (c->place.host) {
        resolver_ask(&c->lookup, c->place.host, c->place.port, on_resolved, c);
        return;
    }
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", c->place.path);
    if (!open_wire(c, (const struct sockaddr *)&at, sizeof(at)))
        retry_later(c);
}

/* --- what its owner does --- */

static void on_watchdog(void *arg)
{
    (void)arg;
    for (struct redis_connection *c = LIST_FIRST(&all); c; c = LIST_NEXT(c, all))
        if (c->up && wire_silent_ms(c->wire) > REPLY_PATIENCE_MS)
            redis_connection_drop(c, "no reply in time");
}

/* Nothing goes on any more that would connect it. */
static void halt(struct redis_connection *c)
{
    timer_free(c->retry);
    c->retry = NULL;
    resolver_cancel(&c->lookup);
    forget_addresses(c);
    redis_place_set(&c->followed, NULL);
}

void redis_connection_redirect(struct redis_connection *c, const struct redis_place *place)
{
    redis_place_set(&c->place, place);
}

bool redis_connection_is_at(const struct redis_connection *c, const struct redis_place *place)
{
    return c->up && redis_place_equals(c->followed.host ? &c->followed : &c->place, place);
}

void redis_connection_start(struct redis_connection *c, const struct redis_place *place)
{
    if (redis_connection_is_at(c, place)) {
        redis_connection_redirect(c, place);
        return;
    }
    reconnects();
    if (!watchdog)
        watchdog = timer_every(REPLY_PATIENCE_MS / 4, on_watchdog, NULL);
    if (!c->started)
        LIST_INSERT_HEAD(&all, c, all);
    c->started = false;
    redis_connection_drop(c, "another server has its place");
    halt(c);
    redis_connection_redirect(c, place);
    c->owner = (struct wire_owner){on_open, c->on_message, on_lost};
    c->backoff_ms = BACKOFF_LEAST_MS;
    c->started = true;
    connect_now(c);
}

void redis_connection_hurry(struct redis_connection *c)
{
    if (!c->retry || c->dropped)
        return;
    timer_free(c->retry);
    connect_now(c);
}

void redis_connection_send(struct redis_connection *c, struct span resp, struct wire_request *q)
{
    wire_send(c->wire, resp, q);
}

void redis_connection_stop(struct redis_connection *c)
{
    if (!c->started)
        return;
    c->started = false;
    LIST_REMOVE(c, all);
    redis_connection_drop(c, "stopped");
    halt(c);
    redis_place_set(&c->place, NULL);
}

void redis_connections_fini(void)
{
    timer_free(watchdog);
    watchdog = NULL;
    wires_fini();
    loop_once(); /* what their owners have put off */
    resolver_fini();
}
