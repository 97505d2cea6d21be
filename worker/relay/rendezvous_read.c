/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/json.h"
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

static void wire_drop(struct builder *w, const char *peer, struct span drop, struct span relay_id)
{
    builder_text(w, "{\"peerId\":");
    builder_json(w, span_of(peer));
    builder_text(w, ",\"deadDrop\":");
    builder_add(w, drop);
    builder_text(w, ",\"relayId\":");
    builder_add(w, relay_id);
    builder_text(w, "}");
}

static bool is_listed(const struct registering *r, const struct meeting_kind *kind, const char *point)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->meetings[i].kind == kind && strcmp(r->meetings[i].point, point) == 0)
            return true;
    return false;
}

/* The drop of one point as JSON: its own of deadDrops, else the message's deadDrop; empty: none. */
static struct bytes *text_of_day(const struct registering *r, const struct message *m, const json_t *own_drops,
                                 const char *point, struct span relay_id)
{
    const json_t *own = json_object_get(own_drops, point);
    struct builder drop = {0}, w = {0};

    if (json_string_length(own))
        builder_json(&drop, (struct span){json_string_value(own), json_string_length(own)});
    else if (!own && m->values[DEAD_DROP].present)
        builder_json(&drop, span_of(m->values[DEAD_DROP].text));
    if (builder_len(&drop))
        wire_drop(&w, r->peer, bytes_span(drop.bytes), relay_id);
    builder_free(&drop);
    return w.bytes ? builder_take(&w) : NULL;
}

static void add_meeting(struct registering *r, const struct meeting_kind *kind, const char *point, struct bytes *text)
{
    char entry[ENTRY_MAX];

    snprintf(entry, sizeof(entry), "%s\t%s\t%s", kind->word, point, r->peer);
    r->meetings[r->count++] = (struct meeting){kind, mem_dup(entry), mem_dup(point), text, r};
}

/* The elements are ids: the dialect has looked at them. */
static void read_points(struct registering *r, const struct message *m, const struct meeting_kind *kind,
                        const json_t *own_drops, struct span relay_id)
{
    struct span array = m->values[kind == &meeting_day ? DAILY_POINTS : HOURLY_TOKENS].raw, rest, element;
    char point[ID_MAX + 1];
    size_t len;

    if (array.len == 0)
        return;
    rest = json_elements(array);
    while (json_next(&rest, &element) && json_read_string(element, point, sizeof(point), &len)) {
        struct builder w = {0};

        if (is_listed(r, kind, point))
            continue;
        if (kind == &meeting_hour)
            wire_match(&w, r->peer, relay_id);
        add_meeting(r, kind, point,
                    kind == &meeting_hour ? builder_take(&w) : text_of_day(r, m, own_drops, point, relay_id));
    }
}

static bool are_drops(json_t *drops)
{
    const char *point;
    json_t *drop;

    json_object_foreach (drops, point, drop)
        if (!json_is_null(drop) && (!json_is_string(drop) || json_string_length(drop) > DEAD_DROP_MAX ||
                                    strlen(json_string_value(drop)) != json_string_length(drop)))
            return false;
    return true;
}

const char *registering_read(struct registering *r, const struct message *m)
{
    const struct value *relay_id = &m->values[RELAY_ID];
    struct span relay = relay_id->present ? relay_id->raw : SPAN("null");
    struct builder w = {0};
    json_t *drops = NULL;

    r->peer = mem_dup(m->values[PEER_ID].text);
    builder_text(&w, "{\"type\":\"rendezvous_match\",\"match\":");
    wire_match(&w, r->peer, relay);
    builder_text(&w, "}");
    r->match = builder_take(&w);
    r->meetings = mem_alloc(2 * POINTS_MAX * sizeof(*r->meetings));
    if (m->values[DEAD_DROPS].present) {
        drops = json_loadb(m->values[DEAD_DROPS].raw.at, m->values[DEAD_DROPS].raw.len, JSON_ALLOW_NUL, NULL);
        if (!drops || !are_drops(drops)) {
            json_decref(drops);
            return "deadDrops";
        }
    }
    read_points(r, m, &meeting_day, drops, relay);
    read_points(r, m, &meeting_hour, NULL, relay);
    json_decref(drops);
    return NULL;
}
