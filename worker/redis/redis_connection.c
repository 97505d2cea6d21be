/* SPDX-License-Identifier: MIT */
#include "signalbox/redis_connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <hiredis/adapters/libevent.h>
#include <hiredis/async.h>
#include <sodium.h>
#include <stdlib.h>

#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"

#define BACKOFF_LEAST_MS 50
#define BACKOFF_MOST_MS 2000
#define STEADY_MS 5000 /* a connection that lasted so long is followed at once by another */
#define CONNECT_PATIENCE_MS 3000
#define NAME_SERVERS_MOST 3 /* as many as the C library asks */

/* Without EVLOOP_ONCE it goes on while anything is readable, and libuv's descriptor may be so for ever. */
#define ONE_ITERATION (EVLOOP_NONBLOCK | EVLOOP_ONCE)

/* libevent would ask the name servers by turns. Here, as in the C library, the first one is asked, and the next only
   while that is silent: often the first alone knows the names of the local network. */
static struct evdns_base *dns;
static LIST_HEAD(redis_connections, redis_connection) all = LIST_HEAD_INITIALIZER(all);

static void flush(void);
static struct iteration_task flushing = {flush};
static struct sockaddr_storage servers[NAME_SERVERS_MOST];
static int server_count, asked_server;

static void connect_now(void *arg);

static void forget_context(struct redis_connection *c)
{
    bool was_up = c->up;

    if (was_up && loop_ms() - c->up_ms > STEADY_MS)
        c->backoff_ms = BACKOFF_LEAST_MS;

    c->context = NULL;
    c->up = c->write_wanted = false;
    timer_free(c->patience);
    c->patience = NULL;
    if (was_up)
        c->on_down(c);
}

/* Full jitter, so that a fleet that lost Redis together does not come back together. */
static void retry_later(struct redis_connection *c)
{
    int64_t wait;

    if (c->stopped || c->retry)
        return;
    wait = BACKOFF_LEAST_MS + (int64_t)randombytes_uniform((uint32_t)c->backoff_ms);
    c->backoff_ms = c->backoff_ms * 2 < BACKOFF_MOST_MS ? c->backoff_ms * 2 : BACKOFF_MOST_MS;
    c->retry = timer_once(wait, connect_now, c);
}

static void lost(struct redis_connection *c, const char *why)
{
    if (!c->stopped)
        LOG_WARNING("redis_lost", LOG_TEXT("connection", c->name), LOG_TEXT("reason", why));
    forget_context(c);
    retry_later(c);
}

void redis_connection_drop(struct redis_connection *c, const char *why)
{
    struct redisAsyncContext *context = c->context;

    if (!context)
        return;
    context->data = NULL; /* its callbacks no longer speak for this connection */
    lost(c, why);
    redisAsyncFree(context);
}

static void on_impatient(void *arg)
{
    struct redis_connection *c = arg;

    c->patience = NULL;
    redis_connection_drop(c, "no answer while connecting");
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
    struct redis_connection *c = context->data;

    if (c)
        lost(c, status == REDIS_OK ? "closed" : context->errstr);
}

static struct metric_family *reconnects(void)
{
    return metric_family(METRIC_COUNTER, "signalbox_redis_reconnects_total",
                         "Times a connection to Redis was built anew", "connection");
}

/* The last answer of the greeting: AUTH, SELECT and CLIENT were sent before it, and fail as it does. */
static void on_greeted(redisAsyncContext *context, void *reply, void *arg)
{
    const redisReply *r = reply;
    struct redis_connection *c = context->data;

    (void)arg;
    if (!c || !r)
        return;
    if (r->type == REDIS_REPLY_ERROR) {
        redis_connection_drop(c, redis_target_hide(c->target, r->str));
        return;
    }
    timer_free(c->patience);
    c->patience = NULL;
    c->up = true;
    c->up_ms = loop_ms();
    if (c->connects++ > 0)
        metric_add(metric_series(reconnects(), c->name), 1);
    LOG_INFO("redis_connected", LOG_TEXT("connection", c->name));
    c->on_up(c);
}

static void on_greeting_step(redisAsyncContext *context, void *reply, void *arg)
{
    const redisReply *r = reply;
    struct redis_connection *c = context->data;

    (void)arg;
    if (c && r && r->type == REDIS_REPLY_ERROR)
        redis_connection_drop(c, redis_target_hide(c->target, r->str));
}

static void on_connect(const redisAsyncContext *connected, int status)
{
    struct redis_connection *c = connected->data;
    redisAsyncContext *context = c ? c->context : NULL;
    const struct redis_target *t;

    if (!c)
        return;
    if (status != REDIS_OK) {
        lost(c, connected->errstr);
        return;
    }
    t = c->target;
    if (t->password && t->user)
        redisAsyncCommand(context, on_greeting_step, NULL, "AUTH %s %s", t->user, t->password);
    else if (t->password)
        redisAsyncCommand(context, on_greeting_step, NULL, "AUTH %s", t->password);
    if (t->db)
        redisAsyncCommand(context, on_greeting_step, NULL, "SELECT %d", t->db);
    redisAsyncCommand(context, NULL, NULL, "CLIENT SETNAME %s", c->client_name);
    redisAsyncCommand(context, on_greeted, NULL, "PING");
}

/* Commands are written at the end of the iteration, all at once: waiting until the socket is writable costs three
   system calls, and mostly it is. What it did not take goes the usual way. */
static void on_add_write(void *events)
{
    struct redis_connection *c = ((const redisLibeventEvents *)events)->context->data;

    if (!c || !c->up || c->flushing) {
        redisLibeventAddWrite(events);
        return;
    }
    c->write_wanted = true;
    loop_at_iteration_end(&flushing);
}

static void flush(void)
{
    for (struct redis_connection *c = LIST_FIRST(&all); c; c = LIST_NEXT(c, all)) {
        if (!c->write_wanted || !c->context)
            continue;
        c->write_wanted = false;
        c->flushing = true;
        redisAsyncHandleWrite(c->context);
        c->flushing = false;
    }
}

static void attach(struct redis_connection *c, redisAsyncContext *context)
{
    if (!context || context->err) {
        LOG_WARNING("redis_unreachable", LOG_TEXT("connection", c->name),
                    LOG_TEXT("reason", context ? context->errstr : "out of memory"));
        if (context)
            redisAsyncFree(context);
        retry_later(c);
        return;
    }
    c->context = context;
    context->data = c;
    redisLibeventAttach(context, loop_base());
    context->ev.addWrite = on_add_write;
    redisAsyncSetConnectCallback(context, on_connect);
    redisAsyncSetDisconnectCallback(context, on_disconnect);
    c->patience = timer_once(CONNECT_PATIENCE_MS, on_impatient, c);
}

static void ask_server(int index)
{
    const struct sockaddr *at = (struct sockaddr *)&servers[index];

    asked_server = index;
    evdns_base_clear_nameservers_and_suspend(dns);
    evdns_base_nameserver_sockaddr_add(dns, at, sizeof(servers[index]), 0);
    evdns_base_resume(dns);
}

static void init_dns(void)
{
    dns = evdns_base_new(loop_base(), EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    evdns_base_set_option(dns, "timeout", "2");
    evdns_base_set_option(dns, "attempts", "2");
    for (server_count = 0; server_count < NAME_SERVERS_MOST; server_count++)
        if (evdns_base_get_nameserver_addr(dns, server_count, (struct sockaddr *)&servers[server_count],
                                           sizeof(servers[server_count])) < 0)
            break;
    if (server_count > 1)
        ask_server(0);
}

/* The other connection may have gone on to the next one already. */
static void leave_silent_server(const struct redis_connection *c)
{
    if (server_count > 1 && c->asked_server == asked_server)
        ask_server((asked_server + 1) % server_count);
}

static void on_resolved(int error, struct evutil_addrinfo *found, void *arg)
{
    struct redis_connection *c = arg;
    char ip[INET6_ADDRSTRLEN] = "";

    c->lookup = NULL;
    if (error == EVUTIL_EAI_CANCEL)
        return;
    if (!error && found->ai_family == AF_INET)
        evutil_inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)found->ai_addr)->sin_addr, ip, sizeof(ip));
    else if (!error && found->ai_family == AF_INET6)
        evutil_inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)found->ai_addr)->sin6_addr, ip, sizeof(ip));
    if (found)
        evutil_freeaddrinfo(found);
    if (*ip) {
        attach(c, redisAsyncConnect(ip, c->target->port));
        return;
    }
    if (error && error != EVUTIL_EAI_NONAME)
        leave_silent_server(c);
    LOG_WARNING("redis_unreachable", LOG_TEXT("connection", c->name),
                LOG_TEXT("reason", error ? evutil_gai_strerror(error) : "no address"));
    retry_later(c);
}

/* hiredis resolves names with a blocking call, so it only ever sees addresses. */
static void connect_now(void *arg)
{
    struct redis_connection *c = arg;
    struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

    c->retry = NULL;
    if (c->target->path) {
        attach(c, redisAsyncConnectUnix(c->target->path));
        return;
    }
    if (!dns)
        init_dns();
    c->asked_server = asked_server;
    c->lookup = evdns_getaddrinfo(dns, c->target->host, NULL, &hints, on_resolved, c);
}

void redis_connection_start(struct redis_connection *c, const struct redis_target *target)
{
    reconnects();
    LIST_INSERT_HEAD(&all, c, all);
    c->target = target;
    c->backoff_ms = BACKOFF_LEAST_MS;
    c->stopped = false;
    connect_now(c);
}

void redis_connection_stop(struct redis_connection *c)
{
    c->stopped = true;
    timer_free(c->retry);
    c->retry = NULL;
    if (c->lookup)
        evdns_getaddrinfo_cancel(c->lookup);
    redis_connection_drop(c, "stopped");
}

void redis_connections_fini(void)
{
    event_base_loop(loop_base(), ONE_ITERATION); /* what was deferred and cancelled look-ups end in the loop */
    if (!dns)
        return;
    evdns_base_free(dns, 1);
    event_base_loop(loop_base(), ONE_ITERATION);
    dns = NULL;
}
