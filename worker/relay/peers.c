/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/claim.h"
#include "signalbox/heartbeat.h"
#include "signalbox/keys.h"
#include "signalbox/loop.h"
#include "signalbox/ownership.h"
#include "signalbox/relay.h"
#include "signalbox/script.h"

#define KIND "peer"

struct claiming {
    char *peer;
    size_t note_count;
    struct note *notes; /* with entries of their own */
    void (*next)(struct session *s, void *arg);
    void (*discard)(void *arg);
    void *arg;
};

static void claiming_free(struct claiming *c)
{
    for (size_t i = 0; i < c->note_count; i++)
        free((char *)c->notes[i].entry);
    free(c->notes);
    free(c->peer);
    free(c);
}

static void fail(struct session *s, struct claiming *c, enum err e)
{
    if (s && e == ERR_PEER_IN_USE)
        ownership_forget(s, c->note_count, c->notes);
    c->discard(c->arg);
    if (s) {
        session_fail(s, e, NULL);
        session_release(s);
    }
}

static void on_claimed(struct session *s, enum claim_result result, long long since_ms, void *arg)
{
    struct claiming *c = arg;

    if (!s || result == CLAIM_UNAVAILABLE) {
        fail(s, c, ERR_UNAVAILABLE);
    } else if (result == CLAIM_HELD) {
        identity_drop(s, KIND, c->peer);
        fail(s, c, ERR_PEER_IN_USE);
    } else {
        identity_add(s, KIND, c->peer, since_ms);
        c->next(s, c->arg);
    }
    claiming_free(c);
}

static struct claiming *claiming_new(const char *peer, size_t note_count, const struct note *notes)
{
    struct claiming *c = mem_alloc(sizeof(*c));
    char entry[ENTRY_MAX];

    snprintf(entry, sizeof(entry), KIND "\t%s", peer);
    c->peer = mem_dup(peer);
    c->notes = mem_alloc((note_count + 1) * sizeof(*c->notes));
    for (size_t i = 0; i < note_count; i++)
        c->notes[i] = (struct note){mem_dup(notes[i].entry), notes[i].ttl_ms};
    c->notes[note_count] = (struct note){mem_dup(entry), 0};
    c->note_count = note_count + 1;
    return c;
}

enum err peer_claim(enum claim_when when, struct session *s, const char *peer, size_t note_count,
                    const struct note *notes, void (*next)(struct session *s, void *arg), void (*discard)(void *arg),
                    void *arg)
{
    char key[KEY_MAX];
    struct claiming *c;

    if (when == CLAIM_IF_NEW && identity_held(s, KIND, peer)) {
        session_hold(s);
        ownership_note(s, note_count, notes);
        next(s, arg);
        return ERR_NONE;
    }
    if (identity_count(s, KIND) >= IDENTITIES_MAX && !identity_held(s, KIND, peer)) {
        discard(arg);
        return ERR_TOO_MANY_IDS;
    }
    session_hold(s);
    c = claiming_new(peer, note_count, notes);
    c->next = next;
    c->discard = discard;
    c->arg = arg;
    ownership_note(s, c->note_count, c->notes);
    key_peer(key, peer);
    claim_start(s, key, on_claimed, c);
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
    char key[KEY_MAX], address[ADDRESS_MAX];

    key_peer(key, peer);
    claim_release(key, holder);
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

    if (!peer && identity_count(s, KIND) == 0) {
        acknowledge(s);
        return ERR_NONE;
    }
    session_hold(s);
    if (peer && !identity_held(s, KIND, peer)) {
        peer_holder_find(s, peer, on_heartbeat_holder, NULL);
        return ERR_NONE;
    }
    if (peer)
        identity_refresh(s, KIND, peer);
    else
        identity_refresh_all(s, KIND);
    b = mem_alloc(sizeof(*b));
    b->session = session_id_of(s);
    redis_command(on_refreshed, b, "PING", NULL);
    return ERR_NONE;
}

const struct entry_kind peer_kind = {KIND, undo, .key = key_peer, .kept = relay_kept};
