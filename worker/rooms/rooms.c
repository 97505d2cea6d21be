/* SPDX-License-Identifier: MIT */
#include "signalbox/room.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/claim.h"
#include "signalbox/config.h"
#include "signalbox/forward.h"
#include "signalbox/identity.h"
#include "signalbox/lease.h"
#include "signalbox/loop.h"
#include "signalbox/relay.h"

#define KIND "member"

static struct message_type *types; /* ours, then the relay's */
static size_t slot;                /* of a session: struct room_peer */

struct room_peer *room_peer_of(struct session *s)
{
    return *session_slot(s, slot);
}

/* --- envelopes --- */

void wire_envelope(struct builder *w, const char *type, const char *id, const char *room)
{
    builder_add(w, SPAN("{"));
    builder_member(w, "type", type);
    if (id)
        builder_member(w, "peer_id", id);
    if (room)
        builder_member(w, "room_id", room);
}

struct bytes *wire_envelope_end(struct builder *w, const char *request_id)
{
    builder_add(w, SPAN(",\"timestamp\":"));
    builder_number(w, (unsigned long long)clock_ms());
    if (*request_id) {
        builder_text(w, ",\"request_id\":");
        builder_text(w, request_id);
    }
    builder_text(w, "}");
    return builder_take(w);
}

bool room_record_read(struct span record, struct address *at, struct span *info)
{
    const char *space = memchr(record.at, ' ', record.len);
    size_t len = space ? (size_t)(space - record.at) : 0;

    if (!address_parse((struct span){record.at, len}, at))
        return false;
    *info = (struct span){space + 1, record.len - len - 1};
    return true;
}

size_t wire_peers(struct builder *w, const struct reply *records)
{
    size_t count = 0;

    builder_text(w, "[");
    for (size_t i = 1; i < reply_count(records); i += 2) {
        struct span info;
        struct address a;

        if (!room_record_read(reply_span(reply_at(records, i)), &a, &info) || !worker_alive(a.wid))
            continue;
        if (count++ > 0)
            builder_text(w, ",");
        builder_add(w, info);
    }
    builder_text(w, "]");
    return count;
}

void wire_room(struct builder *w, const char *room, const struct reply *records)
{
    builder_text(w, ",\"payload\":{\"room_id\":");
    builder_json(w, span_of(room));
    builder_text(w, ",\"peers\":");
    wire_peers(w, records);
    builder_text(w, "}");
}

static const char *code_of(enum err e)
{
    switch (e) {
    case ERR_ROOM_NOT_FOUND:
        return "ROOM_NOT_FOUND";
    case ERR_ROOM_PEER_NOT_FOUND:
        return "PEER_NOT_FOUND";
    case ERR_NOT_IN_ROOM:
        return "NOT_IN_ROOM";
    case ERR_ALREADY_IN_ROOM:
        return "ALREADY_IN_ROOM";
    case ERR_ROOM_FULL:
        return "ROOM_FULL";
    case ERR_NOT_ATTESTED:
        return "UNAUTHORIZED";
    case ERR_UNAVAILABLE:
    case ERR_TARGET_BUSY:
    case ERR_STORAGE_LIMIT:
        return "INTERNAL_ERROR";
    default:
        return "INVALID_MESSAGE";
    }
}

static struct bytes *wire_room_error(enum err e, const char *text, const char *request_id)
{
    char *at_hand = request_id ? NULL : request_id_dup();
    struct builder w = {0};
    struct bytes *b;

    wire_envelope(&w, "ERROR", NULL, NULL);
    builder_printf(&w, ",\"payload\":{\"code\":\"%s\"", code_of(e));
    builder_member(&w, "message", text);
    builder_text(&w, "}");
    b = wire_envelope_end(&w, request_id ? request_id : at_hand);
    free(at_hand);
    return b;
}

void room_fail(struct session *s, enum err e, const char *request_id)
{
    session_fail_as(s, wire_room_error, request_id, e, NULL);
}

/* --- messages between peers --- */

/* What names the target is followed by the request, so that an error finds it: member TAB ID TAB request_id. */
static enum err handle_forward(struct session *s, const struct message *m)
{
    const struct room_peer *p = room_peer_of(s);
    const char *target = m->values[0].text;
    struct builder w = {0}, entry = {0};
    char *request_id = request_id_dup(), key[KEY_MAX], *identity;
    struct bytes *b;

    builder_printf(&entry, KIND "\t%s", target);
    identity = span_dup(bytes_span(entry.bytes));
    builder_printf(&entry, "\t%s", request_id);
    builder_add(&entry, (struct span){"", 1});
    wire_envelope(&w, m->type, p->id, NULL);
    builder_member(&w, "target_id", target);
    builder_text(&w, ",\"payload\":");
    builder_add(&w, m->values[1].raw);
    b = wire_envelope_end(&w, request_id);
    key_room_peer(key, target);
    forward_send(key, identity, bytes_span(entry.bytes).at, b, session_id_of(s));
    bytes_unref(b);
    builder_free(&entry);
    free(identity);
    free(request_id);
    return ERR_NONE;
}

static void not_forwarded(const char *rest, session_id from, enum err e)
{
    const char *request_id = strchr(rest, '\t');
    struct session *s = session_find(from);

    if (s && request_id)
        room_fail(s, e, request_id + 1);
}

static void on_not_found(const char *rest, const struct address *holder, session_id from)
{
    (void)holder;
    not_forwarded(rest, from, ERR_ROOM_PEER_NOT_FOUND);
}

static void on_unavailable(const char *rest, session_id from)
{
    not_forwarded(rest, from, ERR_UNAVAILABLE);
}

static void on_busy(const char *rest, const struct address *holder, session_id from)
{
    (void)holder;
    not_forwarded(rest, from, ERR_TARGET_BUSY);
}

static void undo(const char *rest, const struct address *holder)
{
    char *peer = span_dup((struct span){rest, strcspn(rest, "\t")});

    identity_undo(&room_peer_kind, peer, holder);
    free(peer);
}

static void on_restored(const char *peer, const struct address *holder)
{
    (void)peer;
    membership_refresh(holder->sid);
}

/* --- the socket --- */

static enum err handle_keep_alive(struct session *s, const struct message *m)
{
    char *request_id = request_id_dup();
    struct builder w = {0};

    (void)m;
    wire_envelope(&w, "ACK", NULL, NULL);
    session_send(s, wire_envelope_end(&w, request_id));
    free(request_id);
    return ERR_NONE;
}

static void welcome(struct session *s, enum claim_result result, void *arg)
{
    struct builder w = {0};

    if (s && result == CLAIM_REFUSED) {
        turn_fail(arg, ERR_STORAGE_LIMIT, NULL);
        session_close(s, CLOSE_TOO_SLOW, err_text(ERR_STORAGE_LIMIT));
    } else if (s) {
        wire_envelope(&w, "ACK", room_peer_of(s)->id, NULL);
        builder_text(&w, ",\"payload\":{\"message\":\"connected\"}");
        session_send(s, wire_envelope_end(&w, ""));
    }
    turn_end(arg);
}

static void on_open(struct session *s, const struct opening *o)
{
    struct room_peer *p = mem_alloc(sizeof(*p));
    struct turn *t = turn_begin(s, sizeof(*t), NULL);
    unsigned char id[PEER_ID_LEN / 2];

    (void)o;
    randombytes_buf(id, sizeof(id));
    sodium_bin2hex(p->id, sizeof(p->id), id, sizeof(id));
    *session_slot(s, slot) = p;
    membership_open();
    identity_claim_new(t, &room_peer_kind, p->id, welcome, t);
}

#define REQUEST_ID                                                                                                     \
    {                                                                                                                  \
        FIELD_TEXT, "request_id", .most = ID_MAX                                                                       \
    }
#define FORWARD_ROW(name)                                                                                              \
    {                                                                                                                  \
        name, handle_forward,                                                                                          \
            {{FIELD_ID, "target_id", .required = true}, {FIELD_ANY, "payload", .required = true}, REQUEST_ID},         \
            .cost = COST_OF_FORWARD                                                                                    \
    }

static const struct message_type own_types[] = {
    {"JOIN",
     handle_join,
     {{FIELD_ID, "room_id", .required = true}, {FIELD_OBJECT, "payload"}, REQUEST_ID},
     .cost = {.base = 120, .reply_kib = 13, .told = 6}},
    {"LEAVE", handle_leave, {REQUEST_ID}, .cost = {.base = 10}},
    {"DISCOVER", handle_discover, {{FIELD_ID, "room_id"}, REQUEST_ID}, .cost = {.base = 15, .reply_kib = 13}},
    FORWARD_ROW("OFFER"),
    FORWARD_ROW("ANSWER"),
    FORWARD_ROW("CANDIDATE"),
    {"KEEP_ALIVE", handle_keep_alive, {REQUEST_ID}, .gate = GATE_NEVER},
};

static const char *const members[] = {"request_id", "display_name", "endpoint", "ip", "port", NULL};
static struct dialect dialect = {
    .name = "rooms", .wire_error = wire_room_error, .on_open = on_open, .members = members};

static void on_session_end(struct session *s)
{
    if (!room_peer_of(s))
        return;
    membership_close(s);
    *session_slot(s, slot) = NULL;
}

static void init(void)
{
    slot = session_slot_new();
    types = dialect_join(&dialect, own_types, sizeof(own_types) / sizeof(own_types[0]), &relay_dialect);
    dialect.most = (size_t)config->room_max_message_bytes;
}

static void fini(void)
{
    full_rooms_fini();
    free(types);
    types = NULL;
}

static const struct socket_path paths[] = {{"/ws", "rooms", &dialect}, {0}};
static const struct http_route *const routes[] = {rooms_api_routes, NULL};
const struct entry_kind room_peer_kind = {KIND,
                                          undo,
                                          .key = key_room_peer,
                                          .on_restored = on_restored,
                                          .on_not_found = on_not_found,
                                          .on_unavailable = on_unavailable,
                                          .on_busy = on_busy};
static const struct entry_kind *const kinds[] = {&room_peer_kind, &membership_kind, NULL};
static const struct schedule *const schedules[] = {&room_index_schedule, NULL};

const struct domain rooms_domain = {
    .name = "rooms",
    .paths = paths,
    .routes = routes,
    .kinds = kinds,
    .schedules = schedules,
    .metrics = membership_metrics,
    .on_session_end = on_session_end,
    .init = init,
    .fini = fini,
};
