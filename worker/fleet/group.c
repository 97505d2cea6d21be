/* SPDX-License-Identifier: MIT */
#include "signalbox/group.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "signalbox/inbox.h"
#include "signalbox/loop.h"
#include "signalbox/redis.h"

struct joining {
    void (*then)(bool ok, void *arg);
    void *arg;
    bool ok;
    struct joining *next;
};

struct group {
    char *channel;
    session_id *members;
    size_t count, room;
    bool said;
    struct joining *joining; /* until the channel is live */
    UT_hash_handle hh;
};

static struct group *groups;

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

static void free_group(struct group *g)
{
    HASH_DEL(groups, g);
    free(g->channel);
    free(g->members);
    free(g);
}

static void drop_if_empty(struct group *g)
{
    if (g->count > 0 || g->joining)
        return;
    redis_unsubscribe(g->channel);
    free_group(g);
}

/* Joiners run from the loop: they may make this group empty. */
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

static void on_message(const char *channel, struct span message)
{
    struct group *g = find(channel);
    struct inbox_frame frame;
    struct bytes *b;

    if (!g || !inbox_frame_read(message, &frame))
        return;
    b = bytes_copy(frame.body);
    for (size_t i = 0; i < g->count; i++) {
        struct session *s = session_find(g->members[i]);
        if (s && !(g->members[i] == frame.from.sid && address_is_self(&frame.from)))
            session_send(s, bytes_ref(b));
    }
    bytes_unref(b);
}

static struct group *find_or_add(const char *channel)
{
    struct group *g = find(channel);

    if (g)
        return g;
    g = mem_alloc(sizeof(*g));
    g->channel = mem_dup(channel);
    HASH_ADD_KEYPTR(hh, groups, g->channel, strlen(g->channel), g);
    redis_subscribe(channel, on_message, on_live);
    return g;
}

static void add_member(struct group *g, session_id id)
{
    for (size_t i = 0; i < g->count; i++)
        if (g->members[i] == id)
            return;
    if (g->count == g->room) {
        g->room = g->room ? g->room * 2 : 4;
        g->members = mem_grow(g->members, g->room * sizeof(*g->members));
    }
    g->members[g->count++] = id;
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
    add_member(g, id);
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
    size_t i = 0;

    while (g && i < g->count && g->members[i] != id)
        i++;
    if (!g || i == g->count)
        return;
    g->members[i] = g->members[--g->count];
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
