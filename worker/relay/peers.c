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

struct claiming {
    void (*next)(struct session *s, void *arg);
    void (*discard)(void *arg);
    void *arg;
};

static void on_claimed(struct session *s, enum claim_result result, void *arg)
{
    struct claiming *c = arg;

    if (s && result == CLAIM_GRANTED) {
        c->next(s, c->arg);
    } else {
        c->discard(c->arg);
        if (s) {
            session_fail(s, result == CLAIM_HELD ? ERR_PEER_IN_USE : ERR_UNAVAILABLE, NULL);
            session_release(s);
        }
    }
    free(c);
}

enum err peer_claim(enum claim_when when, struct session *s, const char *peer, size_t note_count,
                    const struct note *notes, void (*next)(struct session *s, void *arg), void (*discard)(void *arg),
                    void *arg)
{
    bool held = identity_held(s, &peer_kind, peer);
    struct claiming *c;

    if (!held && identity_count(s, &peer_kind) >= IDENTITIES_MAX) {
        discard(arg);
        return ERR_TOO_MANY_IDS;
    }
    session_hold(s);
    if (when == CLAIM_IF_NEW && held) {
        index_note(s, note_count, notes);
        next(s, arg);
        return ERR_NONE;
    }
    c = mem_alloc(sizeof(*c));
    *c = (struct claiming){next, discard, arg};
    identity_claim(s, &peer_kind, peer, note_count, notes, on_claimed, c);
    return ERR_NONE;
}

struct finding {
    session_id session;
    void (*callback)(struct session *s, enum peer_holder, void *arg);
    void *arg;
};

static void on_holder(const struct reply *r, void *arg)
{
    struct finding *f = arg;
    struct address holder;
    enum peer_holder found = PEER_FREE;

    if (!r)
        found = PEER_UNKNOWN;
    else if (address_parse(reply_span(r), &holder) && worker_alive(holder.wid) &&
             !(address_is_self(&holder) && holder.sid == f->session))
        found = PEER_HELD;
    f->callback(session_find(f->session), found, f->arg);
    free(f);
}

void peer_holder_find(struct session *s, const char *peer,
                      void (*callback)(struct session *s, enum peer_holder, void *arg), void *arg)
{
    struct finding *f = mem_alloc(sizeof(*f));
    char key[KEY_MAX];

    *f = (struct finding){session_id_of(s), callback, arg};
    key_peer(key, peer);
    redis_command(on_holder, f, "HGET", key, "addr", NULL);
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

struct beating {
    session_id session;
};

static void acknowledge(struct session *s)
{
    struct builder w = {0};

    builder_printf(&w, "{\"type\":\"heartbeat_ack\",\"timestamp\":%lld}", (long long)clock_ms());
    session_send(s, builder_take(&w));
}

static void on_refreshed(const struct reply *r, void *arg)
{
    struct beating *b = arg;
    struct session *s = session_find(b->session);

    free(b);
    if (!s)
        return;
    if (r)
        acknowledge(s);
    else
        session_fail(s, ERR_UNAVAILABLE, NULL);
    session_release(s);
}

static void on_heartbeat_holder(struct session *s, enum peer_holder holder, void *arg)
{
    (void)arg;
    if (!s)
        return;
    if (holder == PEER_FREE)
        acknowledge(s);
    else
        session_fail(s, holder == PEER_HELD ? ERR_PEER_IN_USE : ERR_UNAVAILABLE, NULL);
    session_release(s);
}

/* Redis runs commands in their order, so one answer after the last refresh stands for all. */
enum err handle_heartbeat(struct session *s, const struct message *m)
{
    const char *peer = m->values[0].text;
    struct beating *b;

    if (!peer && identity_count(s, &peer_kind) == 0) {
        acknowledge(s);
        return ERR_NONE;
    }
    session_hold(s);
    if (peer && !identity_held(s, &peer_kind, peer)) {
        peer_holder_find(s, peer, on_heartbeat_holder, NULL);
        return ERR_NONE;
    }
    if (peer)
        resync_identity(s, &peer_kind, peer);
    else
        resync_kind(s, &peer_kind);
    b = mem_alloc(sizeof(*b));
    b->session = session_id_of(s);
    redis_command(on_refreshed, b, "PING", NULL);
    return ERR_NONE;
}

const struct entry_kind peer_kind = {"peer", undo, .key = key_peer, .kept = relay_kept};
