/* SPDX-License-Identifier: MIT */
#include <hiredis/async.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/redis.h"
#include "signalbox/redis_connection.h"

#define REPLY_PATIENCE_MS 2000
#define BUSY_PATIENCE_MS 10000 /* where messages still come: the answer is behind them */

/* hiredis 0.14 forgets a channel when UNSUBSCRIBE is answered, also one that was subscribed again meanwhile: so a
   channel is subscribed again only after that answer. */
enum channel_state { CHANNEL_IDLE, CHANNEL_SUBSCRIBING, CHANNEL_LIVE, CHANNEL_LEAVING };

struct channel {
    char *name;
    redis_message on_message; /* NULL: not wanted any more */
    redis_live on_live;
    enum channel_state state;
    UT_hash_handle hh;
};

static struct redis_connection subscriber;
static struct channel *channels;
static size_t unanswered; /* SUBSCRIBE and UNSUBSCRIBE, which are answered in order */
static int64_t heard_ms, last_answer_ms;
static struct timer *watchdog;

static struct channel *find(const char *name)
{
    struct channel *c;

    HASH_FIND_STR(channels, name, c);
    return c;
}

static void drop(struct channel *c)
{
    HASH_DEL(channels, c);
    free(c->name);
    free(c);
}

static void subscribe_now(struct channel *c);

static void on_subscribed(struct channel *c)
{
    if (c->state != CHANNEL_SUBSCRIBING)
        return;
    c->state = CHANNEL_LIVE;
    LOG_DEBUG("subscribed", LOG_TEXT("channel", c->name));
    if (c->on_live && c->on_message)
        c->on_live(c->name, true);
}

static void on_left(struct channel *c)
{
    c->state = CHANNEL_IDLE;
    if (c->on_message)
        subscribe_now(c);
    else
        drop(c);
}

static void on_push(redisAsyncContext *context, void *reply, void *arg)
{
    const redisReply *r = reply;
    struct channel *c;

    (void)arg;
    if (!r || !context->data || r->type != REDIS_REPLY_ARRAY || r->elements != 3)
        return;
    c = find(r->element[1]->str);
    heard_ms = loop_ms();
    if (strcmp(r->element[0]->str, "message") != 0) {
        unanswered -= unanswered > 0;
        last_answer_ms = loop_ms();
    }
    if (!c)
        return;
    if (strcmp(r->element[0]->str, "message") == 0) {
        if (c->on_message)
            c->on_message(c->name, (struct span){r->element[2]->str, r->element[2]->len});
    } else if (strcmp(r->element[0]->str, "subscribe") == 0) {
        on_subscribed(c);
    } else {
        on_left(c);
    }
}

static void ask(struct channel *c, enum channel_state state)
{
    c->state = state;
    if (unanswered++ == 0)
        last_answer_ms = loop_ms();
    if (state == CHANNEL_SUBSCRIBING)
        redisAsyncCommand(subscriber.context, on_push, NULL, "SUBSCRIBE %s", c->name);
    else
        redisAsyncCommand(subscriber.context, NULL, NULL, "UNSUBSCRIBE %s", c->name);
}

static void subscribe_now(struct channel *c)
{
    if (subscriber.up)
        ask(c, CHANNEL_SUBSCRIBING);
}

static void on_watchdog(void *arg)
{
    int64_t now = loop_ms();

    (void)arg;
    if (!subscriber.up || unanswered == 0)
        return;
    if (now - last_answer_ms > BUSY_PATIENCE_MS ||
        (now - last_answer_ms > REPLY_PATIENCE_MS && now - heard_ms > REPLY_PATIENCE_MS))
        redis_connection_drop(&subscriber, "no reply in time");
}

static void on_up(struct redis_connection *connection)
{
    struct channel *c, *next;

    (void)connection;
    HASH_ITER (hh, channels, c, next)
        subscribe_now(c);
}

static void on_down(struct redis_connection *connection)
{
    struct channel *c, *next;

    (void)connection;
    unanswered = 0;
    HASH_ITER (hh, channels, c, next) {
        c->state = CHANNEL_IDLE;
        if (!c->on_message)
            drop(c);
    }
    HASH_ITER (hh, channels, c, next)
        if (c->on_live)
            c->on_live(c->name, false);
}

void redis_subscribe(const char *name, redis_message on_message, redis_live on_live)
{
    struct channel *c = find(name);

    if (!c) {
        c = mem_alloc(sizeof(*c));
        c->name = mem_dup(name);
        HASH_ADD_KEYPTR(hh, channels, c->name, strlen(c->name), c);
    }
    c->on_message = on_message;
    c->on_live = on_live;
    if (c->state == CHANNEL_IDLE)
        subscribe_now(c);
}

bool redis_channel_live(const char *name)
{
    const struct channel *c = find(name);

    return c && c->on_message && c->state == CHANNEL_LIVE;
}

void redis_unsubscribe(const char *name)
{
    struct channel *c = find(name);

    if (!c || !c->on_message)
        return;
    c->on_message = NULL;
    if (c->state == CHANNEL_IDLE) {
        drop(c);
    } else if (c->state != CHANNEL_LEAVING) {
        ask(c, CHANNEL_LEAVING);
    }
}

void redis_subscribe_anew(const char *why)
{
    if (subscriber.up)
        redis_connection_drop(&subscriber, why);
}

bool redis_subscriber_up(void)
{
    return subscriber.up;
}

void subscriber_init(const struct redis_target *target, const char *client_name)
{
    subscriber =
        (struct redis_connection){.name = "subscriber", .client_name = client_name, .on_up = on_up, .on_down = on_down};
    redis_connection_start(&subscriber, target);
    watchdog = timer_every(REPLY_PATIENCE_MS / 4, on_watchdog, NULL);
}

void subscriber_fini(void)
{
    struct channel *c, *next;

    timer_free(watchdog);
    redis_connection_stop(&subscriber);
    HASH_ITER (hh, channels, c, next)
        drop(c);
}
