/* SPDX-License-Identifier: MIT */
#include "signalbox/subscriber.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/redis.h"
#include "signalbox/redis_connection.h"
#include "signalbox/resp.h"

#define FAREWELL_MS 300

struct channel {
    char *name;
    redis_message on_message;
    redis_live on_live;
    bool wanted;
    size_t asked; /* SUBSCRIBE and UNSUBSCRIBE that are unanswered; the last one counts */
    bool live;
    UT_hash_handle hh;
};

/* One SUBSCRIBE or UNSUBSCRIBE. */
struct asking {
    struct wire_request request;
    struct channel *channel; /* which stays while something is asked */
    bool subscribes;
};

static struct redis_connection subscriber;
static struct channel *channels;
static size_t unanswered;          /* of what is asked, of all channels */
static struct timer *farewell;     /* not NULL: the connection is being left */
static const char *farewell_words; /* why */
static void (*on_server)(struct redis_connection *c);

static struct channel *find(const char *name)
{
    struct channel *c;

    HASH_FIND_STR(channels, name, c);
    return c;
}

static void drop_unless_needed(struct channel *c)
{
    if (c->wanted || c->asked > 0)
        return;
    HASH_DEL(channels, c);
    free(c->name);
    free(c);
}

static void set_live(struct channel *c)
{
    c->live = true;
    LOG_DEBUG("subscribed", LOG_TEXT("channel", c->name));
    if (c->on_live)
        c->on_live(c->name, true);
}

static void part(void)
{
    redis_connection_drop(&subscriber, farewell_words);
}

static void on_answer(struct wire_request *q, const redisReply *r)
{
    struct asking *a = (struct asking *)q;
    struct channel *c = a->channel;
    bool last = --c->asked == 0, ok = r && r->type == REDIS_REPLY_ARRAY;

    unanswered--;
    if (last && ok && a->subscribes && c->wanted)
        set_live(c);
    free(a);
    if (last)
        drop_unless_needed(c);
    if (r && !ok)
        redis_connection_drop(&subscriber, r->type == REDIS_REPLY_ERROR ? r->str : "a strange answer");
    else if (farewell && unanswered == 0)
        part();
}

static void ask(struct channel *c, bool subscribes)
{
    struct asking *a;
    struct builder w;

    if (!subscriber.up || (farewell && subscribes))
        return;
    a = mem_alloc(sizeof(*a));
    *a = (struct asking){{.answered = on_answer}, c, subscribes};
    c->asked++;
    unanswered++;
    w = resp_command(2, (struct span[]){subscribes ? SPAN("SUBSCRIBE") : SPAN("UNSUBSCRIBE"), span_of(c->name)});
    redis_connection_send(&subscriber, bytes_span(w.bytes), &a->request);
    builder_free(&w);
}

static void on_message(const redisReply *r, void *connection)
{
    const redisReply *name = r->element[1], *text = r->element[2];
    struct channel *c = name->type == REDIS_REPLY_STRING ? find(name->str) : NULL;

    (void)connection;
    if (c && text->type == REDIS_REPLY_STRING)
        c->on_message(c->name, (struct span){text->str, text->len});
}

static void on_up(struct redis_connection *connection)
{
    struct channel *c, *next;

    on_server(connection);
    HASH_ITER (hh, channels, c, next)
        if (c->wanted)
            ask(c, true);
}

static void on_down(struct redis_connection *connection)
{
    struct channel *c, *next;

    (void)connection;
    timer_free(farewell);
    farewell = NULL;
    HASH_ITER (hh, channels, c, next)
        c->live = false;
    HASH_ITER (hh, channels, c, next)
        if (c->on_live && c->wanted)
            c->on_live(c->name, false);
}

void redis_subscribe(const char *name, redis_message message, redis_live live)
{
    struct channel *c = find(name);
    bool wanted = c && c->wanted;

    if (!c) {
        c = mem_alloc(sizeof(*c));
        c->name = mem_dup(name);
        HASH_ADD_KEYPTR(hh, channels, c->name, strlen(c->name), c);
    }
    c->on_message = message;
    c->on_live = live;
    c->wanted = true;
    if (!wanted)
        ask(c, true);
}

bool redis_channel_live(const char *name)
{
    const struct channel *c = find(name);

    return c && c->wanted && c->live;
}

void redis_unsubscribe(const char *name)
{
    struct channel *c = find(name);

    if (!c || !c->wanted)
        return;
    c->wanted = false;
    c->live = false;
    ask(c, false);
    drop_unless_needed(c);
}

void redis_subscribe_anew(const char *why)
{
    if (subscriber.up)
        redis_connection_drop(&subscriber, why);
}

static void on_patience_end(void *arg)
{
    (void)arg;
    farewell = NULL;
    part();
}

void subscriber_leave(const char *why)
{
    struct channel *c, *next;

    if (farewell)
        return;
    farewell_words = why;
    if (!subscriber.up || !channels) {
        part();
        return;
    }
    farewell = timer_once(FAREWELL_MS, on_patience_end, NULL);
    HASH_ITER (hh, channels, c, next) {
        c->live = false;
        ask(c, false);
    }
}

void subscriber_move(const struct redis_place *place)
{
    if (!subscriber.up || redis_connection_is_at(&subscriber, place)) {
        redis_connection_start(&subscriber, place);
        return;
    }
    redis_connection_redirect(&subscriber, place);
    subscriber_leave("another server has its place");
}

bool redis_subscriber_up(void)
{
    return subscriber.up;
}

struct redis_connection *subscriber_connection(void)
{
    return &subscriber;
}

void subscriber_init(void (*when_up)(struct redis_connection *c))
{
    on_server = when_up;
    subscriber.on_up = on_up;
    subscriber.on_down = on_down;
    subscriber.on_message = on_message;
}

/* A channel of which something is asked is freed when that is told to be lost. */
void subscriber_fini(void)
{
    struct channel *c, *next;

    redis_connection_stop(&subscriber);
    HASH_ITER (hh, channels, c, next) {
        c->wanted = false;
        drop_unless_needed(c);
    }
}
