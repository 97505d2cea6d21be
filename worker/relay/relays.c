/* SPDX-License-Identifier: MIT */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "scripts_data.h"
#include "signalbox/address.h"
#include "signalbox/identity.h"
#include "signalbox/keys.h"
#include "signalbox/lease.h"
#include "signalbox/relay.h"
#include "signalbox/script.h"
#include "signalbox/storage.h"

#define RELAYS_DEFAULT 10
#define RELAYS_MOST 100
#define MAX_CONNECTIONS_DEFAULT 20
#define TRIES_MAX 3     /* when stale relays left too few */
#define RELAY_BYTES 200 /* what Redis needs for one in the registry, beside three times its id, and its public key */

/* A request that ends with a list of relays. */
struct picking {
    struct turn turn;
    char *registered; /* the peer that has registered; NULL: it only asks */
    char *excluded;
    long long count, max_connections;
    char *public_key;
    bool put_failed;
    int answers; /* that are to come; with the last it ends */
    int tries;
};

static void picking_clear(void *arg)
{
    struct picking *p = arg;

    free(p->registered);
    free(p->excluded);
    free(p->public_key);
}

static void answered(struct picking *p)
{
    if (--p->answers == 0)
        turn_end(&p->turn);
}

/* As the shortest text that reads as the same number. */
static void add_ratio(struct builder *w, double connected, double max)
{
    char text[32];

    snprintf(text, sizeof(text), "%.15g", connected / max);
    if (strtod(text, NULL) != connected / max)
        snprintf(text, sizeof(text), "%.17g", connected / max);
    builder_text(w, text);
}

struct relay {
    struct span peer, public_key;
    struct address holder;
    double connected, max;
};

/* Reads "address connected max public-key"; the text of a reply ends with a zero. */
static bool read_relay(struct span peer, struct span record, struct relay *out)
{
    const char *end = record.at + record.len, *at = memchr(record.at, ' ', record.len);
    char *rest;

    out->peer = peer;
    if (!at || !address_parse((struct span){record.at, (size_t)(at - record.at)}, &out->holder))
        return false;
    out->connected = strtod(at, &rest);
    out->max = strtod(rest, &rest);
    if (rest >= end || *rest != ' ')
        return false;
    out->public_key = (struct span){rest + 1, (size_t)(end - rest - 1)};
    return true;
}

static void wire_relay(struct builder *w, const struct relay *relay)
{
    builder_text(w, "{\"peerId\":");
    builder_json(w, relay->peer);
    builder_text(w, ",\"publicKey\":");
    if (relay->public_key.len)
        builder_json(w, relay->public_key);
    else
        builder_text(w, "null");
    builder_text(w, ",\"capacity\":");
    add_ratio(w, relay->connected, relay->max);
    builder_text(w, "}");
}

/* Its worker has no lease: it is gone, and leaves the registry now that it was met. */
static void drop_stale(const struct relay *relay)
{
    char *entry = mem_alloc(relay->peer.len + sizeof("peer\t"));

    memcpy(entry, "peer\t", 5);
    memcpy(entry + 5, relay->peer.at, relay->peer.len);
    entry_undo(entry, &relay->holder);
    free(entry);
}

static bool is_excluded(struct session *s, const struct picking *p, const char *peer)
{
    return (p->excluded && strcmp(peer, p->excluded) == 0) || identity_held(s, &peer_kind, peer);
}

static void pick(struct picking *p);

static void wire_relays(struct builder *w, const struct picking *p, struct builder *list)
{
    if (p->registered) {
        builder_text(w, "{\"type\":\"registered\",\"peerId\":");
        builder_json(w, span_of(p->registered));
        builder_text(w, ",\"relays\":[");
    } else {
        builder_text(w, "{\"type\":\"relays\",\"relays\":[");
    }
    if (builder_len(list))
        builder_add(w, bytes_span(list->bytes));
    builder_text(w, "]}");
}

/* Fills list with relays of the reply; says how many were stale. */
static size_t choose(struct session *s, const struct picking *p, const struct reply *found, struct builder *list,
                     long long *chosen)
{
    size_t stale = 0;

    *chosen = 0;
    for (size_t i = 0; i + 1 < reply_count(found) && *chosen < p->count; i += 2) {
        struct relay relay;

        if (!read_relay(reply_span(reply_at(found, i)), reply_span(reply_at(found, i + 1)), &relay))
            continue;
        if (is_excluded(s, p, relay.peer.at))
            continue;
        if (!worker_alive(relay.holder.wid)) {
            drop_stale(&relay);
            stale++;
            continue;
        }
        if ((*chosen)++ > 0)
            builder_text(list, ",");
        wire_relay(list, &relay);
    }
    return stale;
}

static void on_picked(const struct reply *r, void *arg)
{
    struct picking *p = arg;
    struct session *s = turn_session(&p->turn);
    const struct reply *found;
    struct builder list = {0}, w = {0};
    long long chosen;
    size_t stale;

    if (!s || !r || p->put_failed || !reply_read(r, "r", &found)) {
        turn_fail(&p->turn, ERR_UNAVAILABLE, NULL);
        answered(p);
        return;
    }
    stale = choose(s, p, found, &list, &chosen);
    if (stale > 0 && chosen < p->count && p->tries < TRIES_MAX) {
        pick(p);
    } else {
        wire_relays(&w, p, &list);
        turn_send(&p->turn, builder_take(&w));
        answered(p);
    }
    builder_free(&list);
}

/* Asks for as many more as may have to be left out. */
static void pick(struct picking *p)
{
    struct session *s = turn_session(&p->turn);
    struct call c = call_new(&script_relay_pick);
    long long own = s ? (long long)identity_count(s, &peer_kind) : 0;

    p->tries++;
    call_key(&c, KEY_RELAYS_FREE);
    call_key(&c, KEY_RELAYS);
    call_int(&c, p->count + own + (p->excluded ? 1 : 0));
    call_int(&c, randombytes_random() >> 1);
    call_send(&c, on_picked, p);
}

static void on_put(const struct reply *r, void *arg)
{
    struct picking *p = arg;

    p->put_failed = r == NULL;
    answered(p);
}

/* --- what a socket has registered, in case Redis loses it --- */

struct registration {
    char *peer, *public_key;
    long long max_connections, connected;
    SLIST_ENTRY(registration) next;
};
SLIST_HEAD(registrations, registration);

static size_t slot; /* of a session: struct registrations */

static struct registration *find_registration(struct session *s, const char *peer)
{
    struct registrations *all = *session_slot(s, slot);
    struct registration *g = all ? SLIST_FIRST(all) : NULL;

    while (g && strcmp(g->peer, peer) != 0)
        g = SLIST_NEXT(g, next);
    return g;
}

static void note_registration(struct session *s, const struct picking *p)
{
    struct registrations **all = (struct registrations **)session_slot(s, slot);
    struct registration *g = find_registration(s, p->registered);

    if (!*all)
        *all = mem_alloc(sizeof(**all));
    if (!g) {
        g = mem_alloc(sizeof(*g));
        g->peer = mem_dup(p->registered);
        SLIST_INSERT_HEAD(*all, g, next);
    }
    free(g->public_key);
    g->public_key = mem_dup(p->public_key ? p->public_key : "");
    g->max_connections = p->max_connections;
}

void relays_init(void)
{
    slot = session_slot_new();
}

void relays_on_session_end(struct session *s)
{
    struct registrations *all = *session_slot(s, slot);
    struct registration *g;

    while (all && (g = SLIST_FIRST(all))) {
        SLIST_REMOVE_HEAD(all, next);
        free(g->peer);
        free(g->public_key);
        free(g);
    }
    free(all);
    *session_slot(s, slot) = NULL;
}

static struct call put_call(const char *peer, session_id session, long long max_connections, const char *public_key,
                            long long connected)
{
    struct call c = call_new(&script_relay_put);
    char address[ADDRESS_MAX];

    self_address_text(session, address);
    call_key(&c, KEY_RELAYS);
    call_key(&c, KEY_RELAYS_FREE);
    call_key(&c, KEY_RELAYS_TOTALS);
    call_text(&c, peer);
    call_text(&c, address);
    call_int(&c, max_connections);
    call_text(&c, public_key);
    call_int(&c, connected);
    return c;
}

void relay_on_restored(const char *peer, const struct address *holder)
{
    struct session *s = session_find(holder->sid);
    const struct registration *g = s ? find_registration(s, peer) : NULL;
    struct call c;

    if (!g)
        return;
    c = put_call(peer, holder->sid, g->max_connections, g->public_key, g->connected);
    call_send(&c, NULL, NULL);
}

/* Both calls go out together: one round trip. Only a refusal to pick may come before the answer to put. */
static void put(struct session *s, void *arg)
{
    struct picking *p = arg;
    struct call c = put_call(p->registered, p->turn.session, p->max_connections, p->public_key ? p->public_key : "", 0);

    note_registration(s, p);
    p->answers = 2;
    call_send(&c, on_put, p);
    pick(p);
}

enum err handle_register(struct session *s, const struct message *m)
{
    const struct value *peer = &m->values[0], *max = &m->values[1], *public_key = &m->values[2];
    struct picking *p = turn_begin(s, sizeof(*p), picking_clear);
    size_t more = RELAY_BYTES + 3 * strlen(peer->text) + (public_key->present ? stored_text(public_key->text) : 0);

    p->registered = mem_dup(peer->text);
    p->count = RELAYS_DEFAULT;
    p->max_connections = max->present ? max->number : MAX_CONNECTIONS_DEFAULT;
    p->public_key = public_key->present ? mem_dup(public_key->text) : NULL;
    peer_claim_relay(&p->turn, peer->text, more, put);
    return ERR_NONE;
}

enum err handle_get_relays(struct session *s, const struct message *m)
{
    const struct value *peer = &m->values[0], *count = &m->values[1];
    struct picking *p = turn_begin(s, sizeof(*p), picking_clear);

    p->answers = 1;
    p->excluded = peer->present ? mem_dup(peer->text) : NULL;
    p->count = !count->present ? RELAYS_DEFAULT : count->number < 1 ? 1 : count->number;
    if (p->count > RELAYS_MOST)
        p->count = RELAYS_MOST;
    pick(p);
    return ERR_NONE;
}

struct loading {
    struct turn turn;
    char *peer;
    long long connected;
};

static void loading_clear(void *arg)
{
    struct loading *l = arg;

    free(l->peer);
}

static struct bytes *wire_load_updated(const struct loading *l)
{
    struct builder w = {0};

    builder_text(&w, "{\"type\":\"load_updated\",\"peerId\":");
    builder_json(&w, span_of(l->peer));
    builder_printf(&w, ",\"connectedCount\":%lld}", l->connected);
    return builder_take(&w);
}

static void on_checked(enum err e, void *arg)
{
    struct loading *l = arg;

    if (e == ERR_NONE)
        turn_send(&l->turn, wire_load_updated(l));
    else
        turn_fail(&l->turn, e, NULL);
    turn_end(&l->turn);
}

static void on_loaded(const struct reply *r, void *arg)
{
    on_checked(r ? ERR_NONE : ERR_UNAVAILABLE, arg);
}

enum err handle_update_load(struct session *s, const struct message *m)
{
    struct loading *l = turn_begin(s, sizeof(*l), loading_clear);
    char address[ADDRESS_MAX];
    struct call c;

    l->peer = mem_dup(m->values[0].text);
    l->connected = m->values[1].number;
    if (find_registration(s, l->peer))
        find_registration(s, l->peer)->connected = l->connected;
    if (!identity_held(s, &peer_kind, l->peer)) {
        peer_holder_find(&l->turn, l->peer, on_checked);
        return ERR_NONE;
    }
    self_address_text(l->turn.session, address);
    c = call_new(&script_relay_load);
    call_key(&c, KEY_RELAYS);
    call_key(&c, KEY_RELAYS_FREE);
    call_key(&c, KEY_RELAYS_TOTALS);
    call_text(&c, l->peer);
    call_text(&c, address);
    call_int(&c, l->connected);
    call_send(&c, on_loaded, l);
    return ERR_NONE;
}
