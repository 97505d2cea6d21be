/* SPDX-License-Identifier: MIT */
/* /worker-sync: challenge → auth → worker_register, then heartbeats. Who has registered hears of each change. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "scripts_data.h"
#include "signalbox/cidr.h"
#include "signalbox/claim.h"
#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/front.h"
#include "signalbox/identity.h"
#include "signalbox/keys.h"
#include "signalbox/limits.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/pool.h"
#include "signalbox/storage.h"
#include "signalbox/turn.h"

#define AUTH_MS 5000
#define ENDPOINT_MAX 2048
#define COUNT_MOST 1000000000
#define CAPACITY_DEFAULT 100
#define MEMBER_BYTES 350 /* what Redis needs for one in the pool, beside five times its id, and its record */

/* One socket of /worker-sync. */
struct member {
    session_id session;
    char nonce[NONCE_TEXT_MAX];
    struct timer *patience; /* until it has authenticated itself */
    char *id;               /* NULL: it has not */
    char *record;           /* what it has registered, JSON; NULL: nothing */
    long long since_ms, load;
    bool draining, returning;
    char ip[IP_TEXT_MAX];
    TAILQ_ENTRY(member) next;
};

/* A member on its way into the pool. */
struct joining {
    struct turn turn;
    char *id, *record;
    bool draining;
    long long since_ms, version;                                          /* version: of the ring */
    void (*done)(struct session *s, const struct joining *j, enum err e); /* runs unless the socket has left */
};

static TAILQ_HEAD(members, member) members = TAILQ_HEAD_INITIALIZER(members);
static struct cidr_list *allowed;
static size_t slot; /* of a session: struct member */

static struct member *member_of(struct session *s)
{
    return *session_slot(s, slot);
}

static void not_authorised(struct session *s)
{
    LOG_WARNING("auth_refused", LOG_TEXT("path", "/worker-sync"), LOG_TEXT("ip", member_of(s)->ip));
    session_close(s, CLOSE_NOT_AUTHORISED, "not authorised");
}

static void on_silent(void *arg)
{
    struct member *m = arg;
    struct session *s = session_find(m->session);

    m->patience = NULL;
    if (s)
        not_authorised(s);
}

static void on_open(struct session *s, const struct opening *o)
{
    struct member *m = mem_alloc(sizeof(*m));

    snprintf(m->ip, sizeof(m->ip), "%s", o->ip);
    m->session = session_id_of(s);
    m->patience = timer_once(AUTH_MS, on_silent, m);
    nonce_new(m->nonce);
    *session_slot(s, slot) = m;
    TAILQ_INSERT_TAIL(&members, m, next);
    front_send(s, json_pack("{ss ss}", "type", "challenge", "nonce", m->nonce));
}

void worker_sync_on_session_end(struct session *s)
{
    struct member *m = member_of(s);

    if (!m)
        return;
    if (m->record)
        LOG_INFO("pool_member_closed", LOG_TEXT("id", m->id), LOG_TEXT("ip", m->ip));
    TAILQ_REMOVE(&members, m, next);
    timer_free(m->patience);
    free(m->id);
    free(m->record);
    free(m);
    *session_slot(s, slot) = NULL;
}

/* Another id than the one it has would need another socket. */
static enum err handle_auth(struct session *s, const struct message *message)
{
    struct member *m = member_of(s);
    const char *id = message->values[0].text;
    char expected[HMAC_TEXT_MAX];

    hmac_hex(span_of(config->worker_shared_key), span_of(m->nonce), expected);
    if (!secret_equals(span_of(message->values[1].text), expected) || (m->id && strcmp(m->id, id) != 0)) {
        not_authorised(s);
        return ERR_NONE;
    }
    timer_free(m->patience);
    m->patience = NULL;
    if (!m->id)
        m->id = mem_dup(id);
    session_trust(s);
    return ERR_NONE;
}

/* --- into the pool, and out of it --- */

static void put(const struct member *m, const char *record, bool draining, long long since_ms, redis_callback callback,
                void *arg)
{
    struct call c = pool_call(&script_pool_put);
    char address[ADDRESS_MAX];

    self_address_text(m->session, address);
    call_text(&c, m->id);
    call_text(&c, address);
    call_int(&c, since_ms);
    call_text(&c, record);
    call_text(&c, draining ? "draining" : "healthy");
    call_int(&c, m->load);
    call_text(&c, CHANNEL_POOL);
    call_send(&c, callback, arg);
}

static void joining_clear(void *arg)
{
    struct joining *j = arg;

    free(j->id);
    free(j->record);
}

static void joined(struct joining *j, enum err e)
{
    struct session *s = turn_session(&j->turn);
    struct member *m = s ? member_of(s) : NULL;

    if (m && e == ERR_NONE) {
        free(m->record);
        m->record = j->record;
        m->since_ms = j->since_ms;
        m->draining = j->draining;
        j->record = NULL;
    } else if (m && !m->record) {
        identity_release(s, &worker_sync_kind, m->id);
    }
    if (s)
        j->done(s, j, e);
    turn_end(&j->turn);
}

/* A member with its id has come later, and is there already. */
static void on_put(const struct reply *r, void *arg)
{
    struct joining *j = arg;

    if (!r || !reply_read(r, "i", &j->version))
        joined(j, ERR_UNAVAILABLE);
    else
        joined(j, j->version ? ERR_NONE : ERR_PEER_IN_USE);
}

static void on_claimed(struct session *s, enum claim_result result, void *arg)
{
    struct joining *j = arg;

    if (!s || result != CLAIM_GRANTED) {
        joined(j, claim_error(result));
        return;
    }
    j->since_ms = identity_since(s, &worker_sync_kind, j->id);
    put(member_of(s), j->record, j->draining, j->since_ms, on_put, j);
}

/* Takes record. What else the socket sends waits until done has run. */
static void join(struct session *s, char *record, bool draining,
                 void (*done)(struct session *s, const struct joining *j, enum err e))
{
    struct joining *j = turn_begin(s, sizeof(*j), joining_clear);
    size_t more = MEMBER_BYTES + 5 * strlen(member_of(s)->id) + stored_text(record);

    j->id = mem_dup(member_of(s)->id);
    j->record = record;
    j->draining = draining;
    j->done = done;
    identity_claim(&j->turn, &worker_sync_kind, j->id, more, 0, NULL, on_claimed, j);
}

/* --- messages --- */

static enum err authenticated(struct session *s)
{
    return member_of(s)->id ? ERR_NONE : ERR_NOT_AUTHENTICATED;
}

static enum err registered(struct session *s)
{
    return !member_of(s)->id ? ERR_NOT_AUTHENTICATED : member_of(s)->record ? ERR_NONE : ERR_NOT_REGISTERED;
}

static void on_registered(struct session *s, const struct joining *j, enum err e)
{
    const struct member *m = member_of(s);

    if (e != ERR_NONE) {
        turn_fail(&j->turn, e, NULL);
        return;
    }
    LOG_INFO("pool_member_registered", LOG_TEXT("id", m->id), LOG_TEXT("ip", m->ip));
    front_send(
        s, json_pack("{ss ss sI}", "type", "worker_registered", "id", m->id, "ringVersion", (json_int_t)j->version));
}

static enum err handle_worker_register(struct session *s, const struct message *message)
{
    struct member *m = member_of(s);
    const struct value *region = &message->values[1], *capacity = &message->values[2];
    json_t *record = json_pack("{ss ss ss? sI}", "id", m->id, "endpoint", message->values[0].text, "region",
                               region->present ? region->text : NULL, "capacity",
                               (json_int_t)(capacity->present ? capacity->number : CAPACITY_DEFAULT));

    join(s, json_dumps(record, JSON_COMPACT), false, on_registered);
    json_decref(record);
    return ERR_NONE;
}

static struct bytes *wire_heartbeat_ack(void)
{
    return bytes_copy(SPAN("{\"type\":\"heartbeat_ack\"}"));
}

static void on_returned(struct session *s, const struct joining *j, enum err e)
{
    member_of(s)->returning = false;
    if (e == ERR_PEER_IN_USE)
        session_close(s, CLOSE_REPLACED, "replaced");
    else if (e != ERR_NONE)
        turn_fail(&j->turn, e, NULL);
    else
        turn_send(&j->turn, wire_heartbeat_ack());
}

static void come_back(struct session *s, struct member *m)
{
    m->returning = true;
    join(s, mem_dup(m->record), m->draining, on_returned);
}

/* Who was silent for too long, or was lost with Redis, is back in the pool with its next heartbeat. */
static void on_beat(const struct reply *r, void *arg)
{
    struct turn *t = arg;
    struct session *s = turn_session(t);
    struct member *m = s ? member_of(s) : NULL;
    long long there;

    if (!r || !reply_read(r, "i", &there))
        turn_fail(t, ERR_UNAVAILABLE, NULL);
    else if (m && !there && !m->returning && m->record)
        come_back(s, m);
    else
        turn_send(t, wire_heartbeat_ack());
    turn_end(t);
}

static enum err handle_worker_heartbeat(struct session *s, const struct message *message)
{
    const struct value *load = &message->values[0];
    struct call c = pool_call(&script_pool_beat);
    struct member *m = member_of(s);
    char address[ADDRESS_MAX];

    self_address_text(m->session, address);
    call_text(&c, m->id);
    call_text(&c, address);
    if (load->present) {
        m->load = load->number;
        call_int(&c, m->load);
    } else {
        call_text(&c, "");
    }
    call_text(&c, CHANNEL_POOL);
    call_send(&c, on_beat, turn_begin_beside(s, sizeof(struct turn), NULL));
    return ERR_NONE;
}

static void on_drained(const struct reply *r, void *arg)
{
    struct turn *t = arg;
    struct session *s = turn_session(t);
    long long version;

    if (!r || !reply_read(r, "i", &version))
        turn_fail(t, ERR_UNAVAILABLE, NULL);
    else if (s && version)
        member_of(s)->draining = true;
    else if (s)
        session_close(s, CLOSE_REPLACED, "replaced");
    turn_end(t);
}

static enum err handle_worker_drain(struct session *s, const struct message *message)
{
    const struct member *m = member_of(s);

    (void)message;
    put(m, m->record, true, m->since_ms, on_drained, turn_begin_beside(s, sizeof(struct turn), NULL));
    return ERR_NONE;
}

static enum err handle_worker_leave(struct session *s, const struct message *message)
{
    struct member *m = member_of(s);

    (void)message;
    LOG_INFO("pool_member_left", LOG_TEXT("id", m->id), LOG_TEXT("ip", m->ip));
    identity_release(s, &worker_sync_kind, m->id);
    free(m->record);
    m->record = NULL;
    return ERR_NONE;
}

static enum err handle_forward(struct session *s, const struct message *m)
{
    front_forward(s, KIND_CLIENT, m->values[0].text, m->type, member_of(s)->id, m->values[1].raw);
    return ERR_NONE;
}

/* --- the others hear of it --- */

static struct bytes *wire_ring_update(void)
{
    json_t *message = json_pack("{ss sI so}", "type", "ring_update", "ringVersion", (json_int_t)pool_version(),
                                "workers", wire_pool());
    char *text = json_dumps(message, JSON_COMPACT);
    struct bytes *b = bytes_copy(span_of(text));

    free(text);
    json_decref(message);
    return b;
}

void worker_sync_on_pool_change(void)
{
    struct bytes *b = NULL;

    for (const struct member *m = TAILQ_FIRST(&members); m; m = TAILQ_NEXT(m, next)) {
        struct session *s = m->record ? session_find(m->session) : NULL;

        if (!s)
            continue;
        if (!b)
            b = wire_ring_update();
        session_send(s, bytes_ref(b));
    }
    bytes_unref(b);
}

static void undo(const char *id, const struct address *holder)
{
    struct call c = pool_call(&script_pool_remove);
    char address[ADDRESS_MAX];

    address_format(holder, address);
    call_text(&c, id);
    call_text(&c, address);
    call_text(&c, CHANNEL_POOL);
    call_send(&c, NULL, NULL);
    identity_undo(&worker_sync_kind, id, holder);
}

static const struct refusal *refuse(const char *ip)
{
    static const struct refusal no_pool = {503, "Worker pool not configured", "no_pool"};
    static const struct refusal not_allowed = {403, "Address not allowed", "address"};

    if (!*config->worker_shared_key)
        return &no_pool;
    return *config->worker_allow && !cidr_contains(allowed, ip) ? &not_allowed : NULL;
}

#define FORWARD_ROW(name)                                                                                              \
    {                                                                                                                  \
        name, handle_forward, {{FIELD_ID, "target", .required = true}, {FIELD_ANY, "payload", .required = true}},      \
            .needs = registered, .gate = GATE_NEVER                                                                    \
    }

static const struct message_type types[] = {
    {"auth",
     handle_auth,
     {{FIELD_ID, "id", .required = true}, {FIELD_TEXT, "hmac", .required = true, .most = HMAC_TEXT_MAX}},
     .gate = GATE_NEVER},
    {"worker_register",
     handle_worker_register,
     {{FIELD_TEXT, "endpoint", .required = true, .most = ENDPOINT_MAX},
      {FIELD_ID, "region"},
      {FIELD_INT, "capacity", .most = COUNT_MOST}},
     .needs = authenticated,
     .gate = GATE_NEVER},
    {"worker_heartbeat",
     handle_worker_heartbeat,
     {{FIELD_INT, "load", .most = COUNT_MOST}},
     .needs = registered,
     .gate = GATE_NEVER},
    {"worker_drain", handle_worker_drain, {{FIELD_NONE}}, .needs = registered, .gate = GATE_NEVER},
    {"worker_leave", handle_worker_leave, {{FIELD_NONE}}, .needs = registered, .gate = GATE_NEVER},
    FORWARD_ROW("offer"),
    FORWARD_ROW("answer"),
    FORWARD_ROW("ice_candidate"),
    {"ping", handle_ping, {{FIELD_NONE}}, .gate = GATE_NEVER},
};

const struct entry_kind worker_sync_kind = {KIND_MEMBER, undo, .key = key_pool_member,
                                            .on_not_found = front_on_not_found, .on_busy = front_on_busy};
const struct dialect worker_sync_dialect = {.name = "worker_sync",
                                            .types = types,
                                            .count = sizeof(types) / sizeof(types[0]),
                                            .wire_error = wire_error,
                                            .on_open = on_open,
                                            .refuse = refuse};

void worker_sync_init(void)
{
    slot = session_slot_new();
    allowed = cidr_parse(config->worker_allow);
}

void worker_sync_fini(void)
{
    cidr_free(allowed);
    allowed = NULL;
}
