/* SPDX-License-Identifier: MIT */
/* /signaling: clients, and the members of the pool that they were assigned. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "signalbox/claim.h"
#include "signalbox/front.h"
#include "signalbox/identity.h"
#include "signalbox/keys.h"
#include "signalbox/limits.h"
#include "signalbox/loop.h"
#include "signalbox/pool.h"
#include "signalbox/turn.h"

#define SWEEP_SOCKETS 500 /* about so many are looked at in one iteration of the loop */

struct client {
    char *id; /* that it asks for, or has; NULL: none yet */
    char ip[IP_TEXT_MAX];
    char *worker; /* id of the member it was assigned; NULL: there was none */
    bool begun, welcomed;
};

static size_t slot; /* of a session: struct client */
static unsigned sweep_part, sweep_parts;
static bool sweep_again;
static struct timer *sweeper;

static struct client *client_of(struct session *s)
{
    return *session_slot(s, slot);
}

void front_client_id(char out[static CLIENT_ID_MAX])
{
    unsigned char id[(CLIENT_ID_MAX - 1) / 2];

    randombytes_buf(id, sizeof(id));
    sodium_bin2hex(out, CLIENT_ID_MAX, id, sizeof(id));
}

/* --- whom it was assigned --- */

/* Its member, as an object for it, or null. */
static json_t *assign(struct client *c)
{
    const struct pool_member *m = NULL;

    free(c->worker);
    c->worker = NULL;
    if (pool_choose(c->ip, NULL, 1, &m) == 0)
        return json_null();
    c->worker = mem_dup(m->id);
    return wire_pool_member(m);
}

static void look_at_worker(struct session *s, void *arg)
{
    struct client *c = client_of(s);
    bool had;
    json_t *worker;

    (void)arg;
    if (!c || !c->welcomed || (c->worker && pool_find(c->worker)))
        return;
    had = c->worker != NULL;
    worker = assign(c);
    if (c->worker)
        front_send(s, json_pack("{ss so}", "type", "reassigned", "worker", worker));
    else if (had)
        front_send(s, json_pack("{ss}", "type", "no_workers"));
}

static void begin_sweep(void)
{
    sweep_again = false;
    sweep_part = 0;
    sweep_parts = (unsigned)(session_count() / SWEEP_SOCKETS) + 1;
}

static void on_sweep(void *arg)
{
    (void)arg;
    session_each_part(sweep_part++, sweep_parts, look_at_worker, NULL);
    if (sweep_part < sweep_parts)
        return;
    if (sweep_again) {
        begin_sweep();
    } else {
        timer_free(sweeper);
        sweeper = NULL;
    }
}

/* A few sockets at a time: there may be ten thousand. The next change waits until all have been looked at. */
void signaling_on_pool_change(void)
{
    sweep_again = true;
    if (sweeper)
        return;
    begin_sweep();
    sweeper = timer_every(1, on_sweep, NULL);
}

/* --- the socket --- */

static void take_id(struct session *s, const char *id)
{
    struct client *c = client_of(s);

    free(c->id);
    c->id = mem_dup(id);
}

static void welcome(struct session *s, enum claim_result result, void *arg)
{
    struct client *c = s ? client_of(s) : NULL;

    if (s && result == CLAIM_REFUSED) {
        turn_fail(arg, ERR_STORAGE_LIMIT, NULL);
        session_close(s, CLOSE_TOO_SLOW, err_text(ERR_STORAGE_LIMIT));
    } else if (c) {
        c->welcomed = true;
        front_send(s, json_pack("{ss ss so so}", "type", "welcome", "clientId", c->id, "worker", assign(c),
                                "iceServers", wire_ice_servers(c->id)));
    }
    turn_end(arg);
}

static void give_new_id(struct session *s, struct turn *t)
{
    char id[CLIENT_ID_MAX];

    front_client_id(id);
    take_id(s, id);
    identity_claim_new(t, &signaling_kind, id, welcome, t);
}

/* It may not get the id that it asked for: that of another live socket, or nobody can tell. It gets a new one. */
static void on_claimed(struct session *s, enum claim_result result, void *arg)
{
    if (!s || result == CLAIM_GRANTED || result == CLAIM_REFUSED) {
        welcome(s, result, arg);
        return;
    }
    if (result == CLAIM_UNAVAILABLE)
        identity_release(s, &signaling_kind, client_of(s)->id);
    turn_fail(arg, claim_error(result), NULL);
    give_new_id(s, arg);
}

/* Nobody gets an id, nor what welcome tells, before it is attested where that is asked for. */
static void begin(struct session *s)
{
    struct client *c = client_of(s);
    struct turn *t;

    if (c->begun || !is_attested(s))
        return;
    c->begun = true;
    t = turn_begin(s, sizeof(*t), NULL);
    if (c->id)
        identity_claim(t, &signaling_kind, c->id, 0, 0, NULL, on_claimed, t);
    else
        give_new_id(s, t);
}

static void on_open(struct session *s, const struct opening *o)
{
    struct client *c = mem_alloc(sizeof(*c));

    snprintf(c->ip, sizeof(c->ip), "%s", o->ip);
    *session_slot(s, slot) = c;
    if (is_id(o->argument))
        take_id(s, o->argument);
    begin(s);
}

void signaling_init(void)
{
    slot = session_slot_new();
}

void signaling_on_session_end(struct session *s)
{
    struct client *c = client_of(s);

    if (!c)
        return;
    free(c->id);
    free(c->worker);
    free(c);
    *session_slot(s, slot) = NULL;
}

static enum err handle_forward(struct session *s, const struct message *m)
{
    const struct client *c = client_of(s);
    const char *target = m->values[0].present ? m->values[0].text : c->worker;

    if (!target)
        return ERR_NO_WORKERS;
    front_forward(s, KIND_MEMBER, target, m->type, c->id, m->values[1].raw);
    return ERR_NONE;
}

static void undo(const char *id, const struct address *holder)
{
    identity_undo(&signaling_kind, id, holder);
}

#define FORWARD_ROW(name)                                                                                              \
    {                                                                                                                  \
        name, handle_forward, {{FIELD_ID, "target"}, {FIELD_ANY, "payload", .required = true}},                        \
            .cost = COST_OF_FORWARD                                                                                    \
    }

static const struct message_type types[] = {
    FORWARD_ROW("offer"),
    FORWARD_ROW("answer"),
    FORWARD_ROW("ice_candidate"),
    {"ping", handle_ping, {{FIELD_NONE}}, .gate = GATE_NEVER},
};

const struct entry_kind signaling_kind = {KIND_CLIENT, undo, .key = key_client, .on_not_found = front_on_not_found,
                                          .on_busy = front_on_busy};
const struct dialect signaling_dialect = {.name = "signaling",
                                          .types = types,
                                          .count = sizeof(types) / sizeof(types[0]),
                                          .wire_error = wire_error,
                                          .on_open = on_open,
                                          .on_attested = begin,
                                          .argument = "clientId"};
