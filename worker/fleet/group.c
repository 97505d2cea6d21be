/* SPDX-License-Identifier: MIT */
#include "signalbox/group.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#include "signalbox/inbox.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/redis.h"

#define HELD_MAX 4096            /* the oldest goes */
#define HELD_BYTES_MAX (1 << 20) /* more would not fit into the queue of the client for which they are held */
#define STALE_US 5000000         /* an older number means that Redis' clock was set back */

struct joining {
    void (*then)(bool ok, void *arg);
    void *arg;
    bool ok;
    struct joining *next;
};

struct listener {
    session_id id;
    bool admitted;
    uint64_t since;  /* number of the event that made it a member */
    uint64_t behind; /* messages that had come before it listened */
};

/* A message that came while somebody waited to be admitted. */
struct held {
    struct bytes *bytes;
    struct address except;
    uint64_t number;
    STAILQ_ENTRY(held) next;
};

struct group {
    char *channel;
    struct listener *listeners;
    size_t count, room, waiting;
    STAILQ_HEAD(held_messages, held) held;
    size_t held_count, held_bytes;
    uint64_t messages; /* so far */
    bool said;
    struct joining *joining; /* until the channel is live */
    UT_hash_handle hh;
};

static struct group *groups;
static struct metric *held_dropped, *malformed;

static struct group *find(const char *channel)
{
    struct group *g;

    HASH_FIND_STR(groups, channel, g);
    return g;
}

static void on_joined(void *arg)
{
    struct joining *j = arg;

    j->then(j->ok, j->arg);
    free(j);
}

static void drop_held(struct group *g)
{
    struct held *h = STAILQ_FIRST(&g->held);

    STAILQ_REMOVE_HEAD(&g->held, next);
    g->held_count--;
    g->held_bytes -= bytes_len(h->bytes);
    bytes_unref(h->bytes);
    free(h);
}

static void free_group(struct group *g)
{
    while (g->held_count)
        drop_held(g);
    HASH_DEL(groups, g);
    free(g->channel);
    free(g->listeners);
    free(g);
}

static void drop_if_empty(struct group *g)
{
    if (g->count > 0 || g->joining)
        return;
    redis_unsubscribe(g->channel);
    free_group(g);
}

/* Joiners are told from the loop, not here: they may make this group empty. */
static void on_live(const char *channel, bool live)
{
    struct group *g = find(channel);

    if (!g)
        return;
    while (g->joining) {
        struct joining *j = g->joining;

        g->joining = j->next;
        j->ok = live;
        loop_defer(on_joined, j);
    }
    drop_if_empty(g);
}

static void give(const struct listener *m, struct bytes *b, const struct address *except, uint64_t number)
{
    struct session *s = session_find(m->id);
    bool known = number && number <= m->since && m->since - number < STALE_US;

    if (s && !known && !(m->id == except->sid && address_is_self(except)))
        session_send(s, bytes_ref(b));
}

static void hold(struct group *g, struct bytes *b, const struct address *except, uint64_t number)
{
    struct held *h = mem_alloc(sizeof(*h));

    *h = (struct held){.bytes = bytes_ref(b), .except = *except, .number = number};
    STAILQ_INSERT_TAIL(&g->held, h, next);
    g->held_count++;
    g->held_bytes += bytes_len(b);
    if (g->held_count <= HELD_MAX && g->held_bytes <= HELD_BYTES_MAX)
        return;
    LOG_WARNING("limit_hit", LOG_TEXT("limit", "messages held for new members of a room"));
    while (g->held_count > HELD_MAX || g->held_bytes > HELD_BYTES_MAX) {
        drop_held(g);
        metric_add(held_dropped, 1);
    }
}

static void on_message(const char *channel, struct span message)
{
    struct group *g = find(channel);
    struct inbox_target number = {0};
    struct inbox_frame frame;
    struct bytes *b;

    if (!g)
        return;
    if (!inbox_frame_read(message, &frame)) {
        metric_add(malformed, 1);
        LOG_WARNING("room_frame_malformed", LOG_INT("bytes", message.len));
        return;
    }
    b = bytes_copy(frame.body);
    g->messages++;
    inbox_next_target(&frame, &number);
    for (size_t i = 0; i < g->count; i++)
        if (g->listeners[i].admitted)
            give(&g->listeners[i], b, &frame.from, number.sid);
    if (g->waiting)
        hold(g, b, &frame.from, number.sid);
    bytes_unref(b);
}

static struct group *find_or_add(const char *channel)
{
    struct group *g = find(channel);

    if (g)
        return g;
    g = mem_alloc(sizeof(*g));
    g->channel = mem_dup(channel);
    STAILQ_INIT(&g->held);
    HASH_ADD_KEYPTR(hh, groups, g->channel, strlen(g->channel), g);
    redis_subscribe(channel, on_message, on_live);
    return g;
}

static struct listener *find_listener(struct group *g, session_id id)
{
    for (size_t i = 0; g && i < g->count; i++)
        if (g->listeners[i].id == id)
            return &g->listeners[i];
    return NULL;
}

static void add_listener(struct group *g, session_id id)
{
    if (find_listener(g, id))
        return;
    if (g->count == g->room) {
        g->room = g->room ? g->room * 2 : 4;
        g->listeners = mem_grow(g->listeners, g->room * sizeof(*g->listeners));
    }
    g->listeners[g->count++] = (struct listener){.id = id, .behind = g->messages};
    g->waiting++;
}

/* Once nobody waits any more, nothing is held. */
static void waits_no_more(struct group *g)
{
    if (--g->waiting > 0)
        return;
    while (g->held_count)
        drop_held(g);
}

void group_admit(const char *channel, session_id id, uint64_t since)
{
    struct group *g = find(channel);
    struct listener *m = find_listener(g, id);
    struct held *h;
    uint64_t at;

    if (!m)
        return;
    m->since = since;
    if (m->admitted)
        return;
    m->admitted = true;
    at = g->messages - g->held_count;
    STAILQ_FOREACH (h, &g->held, next)
        if (at++ >= m->behind)
            give(m, h->bytes, &h->except, h->number);
    waits_no_more(g);
}

void group_join(const char *channel, session_id id, void (*then)(bool ok, void *arg), void *arg)
{
    struct joining *j = mem_alloc(sizeof(*j));
    struct group *g;

    j->then = then;
    j->arg = arg;
    j->ok = redis_up() && redis_subscriber_up() && session_find(id);
    if (!j->ok) {
        loop_defer(on_joined, j);
        return;
    }
    g = find_or_add(channel);
    add_listener(g, id);
    if (redis_channel_live(channel)) {
        loop_defer(on_joined, j);
        return;
    }
    j->next = g->joining;
    g->joining = j;
}

void group_leave(const char *channel, session_id id)
{
    struct group *g = find(channel);
    struct listener *m = find_listener(g, id);

    if (!m)
        return;
    if (!m->admitted)
        waits_no_more(g);
    *m = g->listeners[--g->count];
    drop_if_empty(g);
}

bool group_first(const char *channel)
{
    struct group *g = find(channel);
    bool first = g && !g->said;

    if (g)
        g->said = true;
    return first;
}

struct bytes *group_frame(struct span message, const struct address *except)
{
    struct builder w = {0};

    inbox_frame_begin(&w, INBOX_SEND, *except);
    builder_add(&w, message);
    return builder_take(&w);
}

void group_init(void)
{
    held_dropped = metric_counter("signalbox_group_held_dropped_total",
                                  "Messages to a room that new members did not get, as too many came before them");
    malformed = metric_counter("signalbox_group_malformed_total", "Messages to a room that could not be read");
}

void group_fini(void)
{
    struct group *g, *next;

    HASH_ITER (hh, groups, g, next) {
        while (g->joining) {
            struct joining *j = g->joining;
            g->joining = j->next;
            j->ok = false;
            on_joined(j);
        }
        free_group(g);
    }
}
