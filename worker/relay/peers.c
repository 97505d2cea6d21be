/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/identity.h"
#include "signalbox/keys.h"
#include "signalbox/lease.h"
#include "signalbox/loop.h"
#include "signalbox/relay.h"
#include "signalbox/resync.h"
#include "signalbox/script.h"

#define CLAIM_UNITS 6 /* of cost: to take an id, and to let it go */

struct claiming {
    struct turn *turn;
    char *peer;
    void (*next)(struct session *s, void *context);
};

static void refuse(struct turn *t, enum err e)
{
    turn_fail(t, e, NULL);
    turn_end(t);
}

static void on_claimed(struct session *s, enum claim_result result, void *arg)
{
    struct claiming *c = arg;

    if (s && result == CLAIM_HELD)
        identity_lost(s, &peer_kind, c->peer);
    if (s && result == CLAIM_GRANTED)
        c->next(s, c->turn);
    else
        refuse(c->turn, claim_error(result));
    free(c->peer);
    free(c);
}

static void start(enum claim_when when, struct turn *t, const char *peer, size_t more, size_t note_count,
                  const struct note *notes, void (*next)(struct session *s, void *context))
{
    struct session *s = turn_session(t);
    bool held = identity_held(s, &peer_kind, peer);
    struct claiming *c;

    if (!held && identity_count(s, &peer_kind) >= IDENTITIES_MAX) {
        refuse(t, ERR_TOO_MANY_IDS);
    } else if (when == CLAIM_IF_NEW && held) {
        index_note(s, note_count, notes);
        next(s, t);
    } else {
        turn_charge(t, CLAIM_UNITS);
        c = mem_alloc(sizeof(*c));
        *c = (struct claiming){t, mem_dup(peer), next};
        identity_claim(t, &peer_kind, peer, more, note_count, notes, on_claimed, c);
    }
}

void peer_claim(enum claim_when when, struct turn *t, const char *peer, size_t note_count, const struct note *notes,
                void (*next)(struct session *s, void *context))
{
    start(when, t, peer, 0, note_count, notes, next);
}

void peer_claim_relay(struct turn *t, const char *peer, size_t more, void (*next)(struct session *s, void *context))
{
    start(CLAIM_ALWAYS, t, peer, more, 0, NULL, next);
}

struct holder_query {
    struct turn *turn;
    void (*then)(enum err e, void *context);
};

static void on_holder(const struct reply *r, void *arg)
{
    struct holder_query *q = arg;
    struct address holder;
    enum err e = ERR_NONE;

    if (!r)
        e = ERR_UNAVAILABLE;
    else if (address_parse(reply_span(r), &holder) && worker_alive(holder.wid) &&
             !(address_is_self(&holder) && holder.sid == q->turn->session))
        e = ERR_PEER_IN_USE;
    q->then(e, q->turn);
    free(q);
}

void peer_holder_find(struct turn *t, const char *peer, void (*then)(enum err e, void *context))
{
    struct holder_query *q = mem_alloc(sizeof(*q));
    char key[KEY_MAX];

    *q = (struct holder_query){t, then};
    key_peer(key, peer);
    redis_command(on_holder, q, "HGET", key, "addr", NULL);
}

static void undo(const char *peer, const struct address *holder)
{
    struct call c = call_new(&script_relay_remove);
    char address[ADDRESS_MAX];

    identity_undo(&peer_kind, peer, holder);
    address_format(holder, address);
    call_key(&c, KEY_RELAYS);
    call_key(&c, KEY_RELAYS_FREE);
    call_key(&c, KEY_RELAYS_TOTALS);
    call_text(&c, peer);
    call_text(&c, address);
    call_send(&c, NULL, NULL);
}

static struct bytes *wire_heartbeat_ack(void)
{
    struct builder w = {0};

    builder_printf(&w, "{\"type\":\"heartbeat_ack\",\"timestamp\":%lld}", (long long)clock_ms());
    return builder_take(&w);
}

static void on_checked(enum err e, void *arg)
{
    struct turn *t = arg;

    if (e == ERR_NONE)
        turn_send(t, wire_heartbeat_ack());
    else
        turn_fail(t, e, NULL);
    turn_end(t);
}

static void on_refreshed(const struct reply *r, void *arg)
{
    on_checked(r ? ERR_NONE : ERR_UNAVAILABLE, arg);
}

/* Redis runs commands in their order, so one answer after the last refresh stands for all. */
enum err handle_heartbeat(struct session *s, const struct message *m)
{
    const char *peer = m->values[0].text;
    struct turn *t;

    if (!peer && identity_count(s, &peer_kind) == 0) {
        session_send(s, wire_heartbeat_ack());
        return ERR_NONE;
    }
    t = turn_begin(s, sizeof(*t), NULL);
    if (peer && !identity_held(s, &peer_kind, peer)) {
        peer_holder_find(t, peer, on_checked);
        return ERR_NONE;
    }
    if (peer)
        resync_identity(s, &peer_kind, peer);
    else
        resync_kind(s, &peer_kind);
    redis_command(on_refreshed, t, "PING", NULL);
    return ERR_NONE;
}

const struct entry_kind peer_kind = {"peer", undo, .key = key_peer, .on_restored = relay_on_restored};
