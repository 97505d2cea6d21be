/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "signalbox/json_scan.h"
#include "signalbox/keys.h"
#include "signalbox/relay.h"
#include "signalbox/rendezvous.h"

/* The fields, as the dialect's row has them. */
enum { PEER_ID, DAILY_POINTS, HOURLY_TOKENS, DEAD_DROP, RELAY_ID, DEAD_DROPS };

static void wire_match(struct builder *w, const char *peer, struct span relay_id)
{
    builder_text(w, "{\"peerId\":");
    builder_json(w, span_of(peer));
    builder_text(w, ",\"relayId\":");
    builder_add(w, relay_id);
    builder_text(w, "}");
}

static void wire_drop(struct builder *w, const char *peer, const char *drop, struct span relay_id)
{
    builder_text(w, "{\"peerId\":");
    builder_json(w, span_of(peer));
    builder_text(w, ",\"deadDrop\":");
    builder_json(w, span_of(drop));
    builder_text(w, ",\"relayId\":");
    builder_add(w, relay_id);
    builder_text(w, "}");
}

/* A point or token of the message, each once. */
struct listed {
    struct meeting *meeting;
    bool own_drop; /* deadDrops has one: what others get is made already */
    UT_hash_handle hh;
};

/* The elements are ids: the dialect has looked at them. */
static struct listed *read_points(struct registering *r, const struct meeting_kind *kind, struct span array)
{
    struct span rest = array.len > 0 ? json_elements(array) : array, element;
    struct listed *all = NULL, *l;
    char point[ID_MAX + 1];
    size_t len;

    while (json_next(&rest, &element) && json_read_string(element, point, sizeof(point), &len)) {
        HASH_FIND(hh, all, point, len, l);
        if (l)
            continue;
        l = mem_alloc(sizeof(*l));
        l->meeting = &r->meetings[r->count++];
        *l->meeting = (struct meeting){.kind = kind, .point = mem_dup(point), .owner = r};
        HASH_ADD_KEYPTR(hh, all, l->meeting->point, len, l);
    }
    return all;
}

static void listed_free(struct listed *all)
{
    struct listed *l, *next;

    HASH_ITER (hh, all, l, next) {
        HASH_DEL(all, l);
        free(l);
    }
}

/* NULL: it is empty. */
static struct bytes *text_of_drop(const struct registering *r, const char *drop, struct span relay_id)
{
    struct builder w = {0};

    if (!*drop)
        return NULL;
    wire_drop(&w, r->peer, drop, relay_id);
    return builder_take(&w);
}

static bool read_drop(struct span value, char drop[static DEAD_DROP_MAX + 1])
{
    size_t len;

    *drop = '\0';
    return json_kind(value) == JSON_KIND_NULL ||
           (json_read_string(value, drop, DEAD_DROP_MAX + 1, &len) && strlen(drop) == len);
}

static struct listed *find_listed(struct listed *all, struct span key)
{
    char point[ID_MAX + 1];
    struct listed *l = NULL;
    size_t len;

    if (json_read_key(key, point, sizeof(point), &len))
        HASH_FIND(hh, all, point, len, l);
    return l;
}

/* false: it has more members than a message may have points, or one of them is no drop. */
static bool read_drops(struct listed *days, struct span object, struct span relay_id)
{
    struct json_members drops = {0};
    char *drop = mem_alloc(DEAD_DROP_MAX + 1);
    bool ok = json_members_of(object, POINTS_MAX, &drops);

    for (size_t i = drops.count; ok && i > 0; i--) { /* the last of a name counts */
        struct listed *l = find_listed(days, drops.at[i - 1].key);

        if (l && l->own_drop)
            continue;
        ok = read_drop(drops.at[i - 1].value, drop);
        if (!ok || !l)
            continue;
        l->own_drop = true;
        l->meeting->text = text_of_drop(l->meeting->owner, drop, relay_id);
    }
    free(drop);
    json_members_free(&drops);
    return ok;
}

static bool read_days(struct registering *r, const struct message *m, struct span relay_id)
{
    const struct value *drop = &m->values[DEAD_DROP], *drops = &m->values[DEAD_DROPS];
    struct bytes *text = drop->present ? text_of_drop(r, drop->text, relay_id) : NULL;
    struct listed *days = read_points(r, meeting_kinds[DAYS], m->values[DAILY_POINTS].raw), *l, *next;
    bool ok = !drops->present || read_drops(days, drops->raw, relay_id), shares;
    size_t points = 0;

    HASH_ITER (hh, days, l, next)
        points += !l->own_drop;
    shares = text && registering_share(r, text, points);
    HASH_ITER (hh, days, l, next) {
        if (!text || l->own_drop)
            continue;
        l->meeting->shares = shares;
        l->meeting->text = shares ? NULL : bytes_ref(text);
    }
    bytes_unref(text);
    listed_free(days);
    return ok;
}

static void read_hours(struct registering *r, struct span array, struct span relay_id)
{
    size_t i = r->count;
    struct builder w = {0};
    struct bytes *text;

    listed_free(read_points(r, meeting_kinds[HOURS], array));
    wire_match(&w, r->peer, relay_id);
    text = builder_take(&w);
    for (; i < r->count; i++)
        r->meetings[i].text = bytes_ref(text);
    bytes_unref(text);
}

const char *registering_read(struct registering *r, const struct message *m)
{
    struct span relay_id = m->values[RELAY_ID].present ? m->values[RELAY_ID].raw : SPAN("null");
    struct builder w = {0};

    r->peer = mem_dup(m->values[PEER_ID].text);
    builder_text(&w, "{\"type\":\"rendezvous_match\",\"match\":");
    wire_match(&w, r->peer, relay_id);
    builder_text(&w, "}");
    r->match = builder_take(&w);
    r->meetings = mem_alloc(2 * POINTS_MAX * sizeof(*r->meetings));
    if (!read_days(r, m, relay_id))
        return "deadDrops";
    read_hours(r, m->values[HOURLY_TOKENS].raw, relay_id);
    r->meetings = mem_grow(r->meetings, r->count * sizeof(*r->meetings));
    return NULL;
}
