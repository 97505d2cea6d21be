/* SPDX-License-Identifier: MIT */
#include "signalbox/caller.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/forward.h"
#include "signalbox/group.h"
#include "signalbox/identity.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/script.h"
#include "signalbox/storage.h"

#define CODE_BYTES 350  /* what Redis needs for its place in its room, beside the names of both, twice */
#define FORWARD_HEAD 64 /* of a forwarded message: all but who it is from, and the payload */

struct registering {
    struct turn turn;
    char *code, *public_key;
    void (*done)(const struct turn *t, const struct caller *c, enum registered result);
};

/* A bucket fills by the second: with this clock it has PAIR_REQUESTS_PER_MINUTE seconds in a minute. */
static int64_t pair_clock(void)
{
    return loop_ms() * config->pair_requests_per_minute / 60;
}

static size_t slot; /* of a session: struct caller */

struct caller *caller_of(struct session *s)
{
    return *session_slot(s, slot);
}

void caller_open(struct session *s, const char *room)
{
    struct caller *c = mem_alloc(sizeof(*c));

    TAILQ_INIT(&c->requests);
    c->room = mem_dup(room);
    c->pair_requests = bucket_full(config->pair_requests_per_minute, pair_clock());
    *session_slot(s, slot) = c;
}

bool caller_may_ask(struct caller *c)
{
    return config->pair_requests_per_minute == 0 ||
           bucket_take(&c->pair_requests, 1, config->pair_requests_per_minute, pair_clock());
}

void code_entry(char out[static ENTRY_MAX], const char *kind, const char *room, const char *code)
{
    snprintf(out, ENTRY_MAX, "%s\t%s\t%s", kind, room, code);
}

bool code_split(const char *rest, char room[static ID_MAX + 1], const char **code)
{
    const char *tab = strchr(rest, '\t');

    if (!tab || tab - rest > ID_MAX)
        return false;
    snprintf(room, ID_MAX + 1, "%.*s", (int)(tab - rest), rest);
    *code = tab + 1;
    return true;
}

void wire_forward(struct builder *w, const char *type, const char *from, struct span payload)
{
    builder_expect(w, payload.len + strlen(from) + FORWARD_HEAD);
    builder_add(w, SPAN("{"));
    builder_member(w, "type", type);
    builder_member(w, "from", from);
    builder_add(w, SPAN(",\"payload\":"));
    builder_add(w, payload);
    builder_text(w, "}");
}

void caller_forward(struct session *s, const char *target, struct builder *message)
{
    struct caller *c = caller_of(s);
    struct bytes *b = builder_take(message);
    char key[KEY_MAX], entry[ENTRY_MAX];

    key_code(key, c->room, target);
    code_entry(entry, CALLER, c->room, target);
    forward_send(key, entry, entry, b, session_id_of(s));
    bytes_unref(b);
}

/* --- who comes and goes --- */

struct passing {
    char *channel;
    struct registering *registering; /* whose registration ends with it, or NULL */
};

static void finish(struct registering *g, enum registered result);

static void on_passed(const struct reply *r, void *arg)
{
    struct passing *p = arg;
    long long members = 0, changed;

    if (r && reply_read(r, "ii", &members, &changed) && changed && config->signal_presence_max &&
        members == config->signal_presence_max + 1 && group_first(p->channel))
        LOG_WARNING("room_too_big_for_presence", LOG_INT("members", members));
    if (p->registering) {
        if (members > 0 && members <= config->signal_presence_max)
            turn_charge(&p->registering->turn, cost_of_told(p->registering->turn.cost, (size_t)members, 0));
        finish(p->registering, REGISTERED);
    }
    free(p->channel);
    free(p);
}

/* Who comes or goes is counted, and the others are told, by one script. */
static void pass(const struct script *script, const char *type, const char *room, const char *code,
                 const struct address *at, struct registering *registering)
{
    struct passing *p = mem_alloc(sizeof(*p));
    struct call c = call_new(script);
    struct builder w = {0};
    char key[KEY_MAX], channel[KEY_MAX], address[ADDRESS_MAX];
    struct bytes *frame;

    builder_printf(&w, "{\"type\":\"%s\"", type);
    builder_member(&w, "pairingCode", code);
    builder_text(&w, "}");
    frame = group_frame(bytes_span(w.bytes), at);
    builder_free(&w);
    key_room_codes(key, room);
    key_presence(channel, room);
    address_format(at, address);
    call_key(&c, key);
    call_text(&c, code);
    call_text(&c, address);
    call_int(&c, config->signal_presence_max);
    call_text(&c, channel);
    call_span(&c, bytes_span(frame));
    *p = (struct passing){mem_dup(channel), registering};
    call_send(&c, on_passed, p);
    bytes_unref(frame);
}

/* --- registering --- */

enum err registered_error(enum registered result)
{
    return result == REGISTERED_HELD      ? ERR_CODE_IN_USE
           : result == REGISTERED_REFUSED ? ERR_STORAGE_LIMIT
                                          : ERR_UNAVAILABLE;
}

static void undo(const char *rest, const struct address *holder)
{
    char room[ID_MAX + 1];
    const char *code;

    if (!code_split(rest, room, &code))
        return;
    identity_undo(&caller_kind, rest, holder);
    if (*room)
        pass(&script_signal_leave, "peer_left", room, code, holder, NULL);
}

static void key_of_code(char out[static KEY_MAX], const char *id)
{
    char room[ID_MAX + 1] = "";
    const char *code = "";

    code_split(id, room, &code);
    key_code(out, room, code);
}

static struct call describe(const char *key, session_id session, const char *public_key)
{
    struct call c = call_new(&script_signal_describe);
    char address[ADDRESS_MAX];

    self_address_text(session, address);
    call_key(&c, key);
    call_text(&c, address);
    call_text(&c, public_key);
    return c;
}

static void on_restored(const char *id, const struct address *holder)
{
    struct session *s = session_find(holder->sid);
    struct caller *c = s ? caller_of(s) : NULL;
    char key[KEY_MAX];
    struct call call;

    if (!c || !c->code)
        return;
    key_of_code(key, id);
    call = describe(key, holder->sid, c->public_key);
    call_send(&call, NULL, NULL);
    if (*c->room)
        pass(&script_signal_join, "peer_joined", c->room, c->code, holder, NULL);
}

static void on_not_found(const char *rest, const struct address *holder, session_id from)
{
    struct session *s = session_find(from);
    char room[ID_MAX + 1];
    const char *code;

    (void)holder;
    if (s && code_split(rest, room, &code))
        session_fail(s, *room ? ERR_TARGET_NOT_FOUND : ERR_PEER_NOT_FOUND, code);
}

static void on_busy(const char *rest, const struct address *holder, session_id from)
{
    struct session *s = session_find(from);

    (void)rest, (void)holder;
    if (s)
        session_fail(s, ERR_TARGET_BUSY, NULL);
}

/* The id of a caller: room TAB code. */
static void id_of(char out[static ENTRY_MAX], const struct caller *c, const char *code)
{
    snprintf(out, ENTRY_MAX, "%s\t%s", c->room, code);
}

static void release_code(struct session *s, struct caller *c)
{
    char id[ENTRY_MAX];

    requests_end(s, &c->requests);
    id_of(id, c, c->code);
    identity_release(s, &caller_kind, id);
    free(c->code);
    free(c->public_key);
    c->code = c->public_key = NULL;
}

/* Who has no code hears nothing of the room. */
static void leave_group(struct session *s, const struct caller *c)
{
    char channel[KEY_MAX];

    key_presence(channel, c->room);
    if (*c->room && !c->code)
        group_leave(channel, session_id_of(s));
}

static void registering_clear(void *arg)
{
    struct registering *g = arg;

    free(g->code);
    free(g->public_key);
}

static void finish(struct registering *g, enum registered result)
{
    struct session *s = turn_session(&g->turn);
    const struct caller *c = s ? caller_of(s) : NULL;
    char channel[KEY_MAX];

    if (c) {
        leave_group(s, c);
        key_presence(channel, c->room);
        g->done(&g->turn, c, result);
        if (c->code)
            group_admit(channel, g->turn.session, 0);
    }
    turn_end(&g->turn);
}

/* The claim is given up again: what it noted, too. */
static void fail(struct registering *g, enum registered result)
{
    struct session *s = turn_session(&g->turn);
    struct caller *c = s ? caller_of(s) : NULL;
    char id[ENTRY_MAX];

    if (c && !(c->code && strcmp(c->code, g->code) == 0)) {
        id_of(id, c, g->code);
        identity_release(s, &caller_kind, id);
    }
    finish(g, result);
}

static void on_described(const struct reply *r, void *arg)
{
    struct registering *g = arg;
    struct session *s = turn_session(&g->turn);
    struct caller *c = s ? caller_of(s) : NULL;
    struct address self = self_address(g->turn.session);
    long long ours;
    bool same;

    if (!s || !r || !reply_read(r, "i", &ours) || !ours) {
        fail(g, r && s ? REGISTERED_HELD : REGISTERED_UNAVAILABLE);
        return;
    }
    same = c->code && strcmp(c->code, g->code) == 0;
    if (c->code && !same)
        release_code(s, c);
    free(c->code);
    free(c->public_key);
    c->code = mem_dup(g->code);
    c->public_key = mem_dup(g->public_key);
    LOG_DEBUG("code_registered", LOG_CODE("code", c->code), LOG_INT("sid", g->turn.session));
    if (*c->room && !same) /* who is told that it is in hears of all who come or go from then on */
        pass(&script_signal_join, "peer_joined", c->room, c->code, &self, g);
    else
        finish(g, REGISTERED);
}

static void on_claimed(struct session *s, enum claim_result result, void *arg)
{
    struct registering *g = arg;
    struct caller *c = s ? caller_of(s) : NULL;
    char key[KEY_MAX];
    struct call call;

    if (result == CLAIM_REFUSED) {
        finish(g, REGISTERED_REFUSED);
        return;
    }
    if (!s || result != CLAIM_GRANTED) {
        fail(g, result == CLAIM_HELD ? REGISTERED_HELD : REGISTERED_UNAVAILABLE);
        return;
    }
    key_code(key, c->room, g->code);
    call = describe(key, g->turn.session, g->public_key);
    call_send(&call, on_described, g);
}

/* The apps' room lists nobody. */
static size_t bytes_beside(const struct caller *c, const struct registering *g)
{
    size_t place = *c->room ? CODE_BYTES + 2 * (strlen(c->room) + strlen(g->code)) : 0;

    return place + stored_text(g->public_key);
}

static void claim_code(bool ok, void *arg)
{
    struct registering *g = arg;
    struct session *s = turn_session(&g->turn);
    char id[ENTRY_MAX];

    if (!s || !ok) {
        finish(g, REGISTERED_UNAVAILABLE);
        return;
    }
    id_of(id, caller_of(s), g->code);
    identity_claim(&g->turn, &caller_kind, id, bytes_beside(caller_of(s), g), 0, NULL, on_claimed, g);
}

void caller_register(struct session *s, const char *code, const char *public_key,
                     void (*done)(const struct turn *t, const struct caller *c, enum registered result))
{
    struct registering *g = turn_begin(s, sizeof(*g), registering_clear);
    struct caller *c = caller_of(s);
    char channel[KEY_MAX];

    g->code = mem_dup(code);
    g->public_key = mem_dup(public_key);
    g->done = done;
    key_presence(channel, c->room);
    if (*c->room)
        group_join(channel, g->turn.session, claim_code, g);
    else
        claim_code(true, g);
}

void callers_init(void)
{
    slot = session_slot_new();
}

void callers_on_session_end(struct session *s)
{
    struct caller *c = caller_of(s);
    char channel[KEY_MAX];

    if (!c)
        return;
    key_presence(channel, c->room);
    if (*c->room)
        group_leave(channel, session_id_of(s));
    requests_forget(&c->requests);
    free(c->room);
    free(c->code);
    free(c->public_key);
    free(c);
    *session_slot(s, slot) = NULL;
}

const struct entry_kind caller_kind = {
    CALLER, undo, .key = key_of_code, .on_restored = on_restored, .on_not_found = on_not_found, .on_busy = on_busy};
const struct entry_kind caller_answer_kind = {CALLER_ANSWER, undo, .on_not_found = on_not_found};
