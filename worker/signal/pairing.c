/* SPDX-License-Identifier: MIT */
#include "signalbox/pairing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/agenda.h"
#include "signalbox/config.h"
#include "signalbox/delivery.h"
#include "signalbox/heartbeat.h"
#include "signalbox/script.h"

#define LOOK_AGAIN_MS 1000

/* --- asking --- */

struct asking {
    session_id session;
    char *room, *requester, *target;
    struct bytes *message;
    void (*failed)(struct session *s);
};

/* In the index of the requester's socket, and on the agenda: ask TAB room TAB target TAB requester. */
static void request_entry(char out[static ENTRY_MAX], const char *room, const char *target, const char *requester)
{
    snprintf(out, ENTRY_MAX, "ask\t%s\t%s\t%s", room, target, requester);
}

/* Takes a request that has ended off the agenda, but not one that was opened since: that one is further away. */
static void stop_watching(const char *rest, long long ended_ms)
{
    long long until_warning = config->pair_timeout_ms - config->pair_warning_ms;

    agenda_drop(KEY_REQUESTS, rest, ended_ms,
                until_warning > config->pair_warning_ms ? until_warning : config->pair_warning_ms);
}

static void asking_free(struct asking *a)
{
    free(a->room);
    free(a->requester);
    free(a->target);
    bytes_unref(a->message);
    free(a);
}

static void deliver(struct asking *a, struct span holder, long long until_ms)
{
    char entry[ENTRY_MAX], asked[ENTRY_MAX + sizeof("asked")];
    struct target t = {.entry = asked};

    if (!address_parse(holder, &t.address))
        return;
    request_entry(entry, a->room, a->target, a->requester);
    snprintf(asked, sizeof(asked), "asked\t%s", entry + sizeof("ask"));
    if (!*a->room)
        agenda_set(KEY_REQUESTS, entry + 4, until_ms - config->pair_warning_ms);
    delivery_send(a->message, 1, &t, a->session);
}

static void on_asked(const struct reply *r, void *arg)
{
    struct asking *a = arg;
    struct session *s = session_find(a->session);
    struct span holder;
    long long until_ms;

    if (!r || !reply_read(r, "si", &holder, &until_ms)) {
        if (s)
            session_fail(s, ERR_UNAVAILABLE, NULL);
    } else if (holder.len) {
        deliver(a, holder, until_ms);
    } else if (s && a->failed) {
        a->failed(s);
    } else if (s) {
        session_fail(s, ERR_TARGET_NOT_FOUND, NULL);
    }
    if (s)
        session_release(s);
    asking_free(a);
}

void pairing_ask(struct session *s, const char *target, long long most, struct builder *message,
                 void (*failed)(struct session *s))
{
    struct caller *c = caller_of(s);
    struct call call = call_new(&script_signal_ask);
    struct asking *a = mem_alloc(sizeof(*a));
    char key[KEY_MAX], address[ADDRESS_MAX], entry[ENTRY_MAX];

    *a = (struct asking){session_id_of(s), mem_dup(c->room),      mem_dup(c->code),
                         mem_dup(target),  builder_take(message), failed};
    request_entry(entry, c->room, target, c->code);
    ownership_note(s, 1, &(struct note){entry, config->pair_timeout_ms});
    key_code(key, c->room, target);
    call_key(&call, key);
    key_requests(key, c->room, target);
    call_key(&call, key);
    self_address_text(a->session, address);
    call_text(&call, c->code);
    call_text(&call, address);
    call_int(&call, config->pair_timeout_ms);
    call_int(&call, most);
    session_hold(s);
    call_send(&call, on_asked, a);
}

/* --- answering --- */

struct answering {
    session_id session;
    char *entry;               /* of the request */
    char *requester, *address; /* of the requester; NULL: no such request */
    long long tag;
    bool failed;
    void (*done)(struct session *s, const struct pairing_answer *a);
};

static void on_answered(const struct reply *r, void *arg)
{
    struct answering *a = arg;
    struct span address;
    long long now;

    a->failed = !r || !reply_read(r, "si", &address, &now);
    if (a->failed || address.len == 0)
        return;
    a->address = span_dup(address);
    stop_watching(a->entry + sizeof("ask"), now);
}

/* {address, public key} of the requester's code: it is answered only if it is still the socket that asked. */
static void on_requester(const struct reply *r, void *arg)
{
    struct answering *a = arg;
    struct session *s = session_find(a->session);
    struct pairing_answer answer = {.requester = a->requester, .public_key = "null", .tag = a->tag};
    struct span address, key;

    if (s && (a->failed || !r || !reply_read(r, "ss", &address, &key))) {
        session_fail(s, ERR_UNAVAILABLE, NULL);
    } else if (s) {
        answer.open = a->address && span_is(address, a->address) && address_parse(address, &answer.address) &&
                      worker_alive(answer.address.wid);
        if (key.len)
            answer.public_key = key.at;
        a->done(s, &answer);
    }
    if (s)
        session_release(s);
    free(a->entry);
    free(a->requester);
    free(a->address);
    free(a);
}

void pairing_answer(struct session *s, const char *requester, long long tag,
                    void (*done)(struct session *s, const struct pairing_answer *a))
{
    struct caller *c = caller_of(s);
    struct call call = call_new(&script_signal_answer);
    struct answering *a = mem_alloc(sizeof(*a));
    char key[KEY_MAX], self[ADDRESS_MAX], entry[ENTRY_MAX];

    request_entry(entry, c->room, c->code, requester);
    *a = (struct answering){.session = session_id_of(s), .entry = mem_dup(entry), .tag = tag, .done = done};
    a->requester = mem_dup(requester);
    session_hold(s);
    key_requests(key, c->room, c->code);
    call_key(&call, key);
    call_text(&call, requester);
    self_address_text(a->session, self);
    call_text(&call, self);
    call_send(&call, on_answered, a);
    key_code(key, c->room, requester);
    redis_command(on_requester, a, "HMGET", key, "addr", "publicKey", NULL);
}

void pairing_send(struct session *s, const struct pairing_answer *a, struct builder *message)
{
    char entry[ENTRY_MAX];
    struct target t = {a->address, entry};
    struct bytes *b = builder_take(message);

    code_entry(entry, "code", caller_of(s)->room, a->requester);
    delivery_send(b, 1, &t, session_id_of(s));
    bytes_unref(b);
}

/* --- the end of what was not answered --- */

static void on_withdrawn(const struct reply *r, void *arg)
{
    long long removed, now;

    if (r && reply_read(r, "ii", &removed, &now) && removed)
        stop_watching(arg, now);
    free(arg);
}

static void undo(const char *rest, const struct address *holder)
{
    char room[ID_MAX + 1], target[ID_MAX + 1], key[KEY_MAX], address[ADDRESS_MAX];
    struct call c = call_new(&script_signal_withdraw);
    const char *pair, *requester;

    if (!code_split(rest, room, &pair) || !code_split(pair, target, &requester))
        return;
    key_requests(key, room, target);
    call_key(&c, key);
    call_text(&c, requester);
    address_format(holder, address);
    call_text(&c, address);
    call_send(&c, on_withdrawn, mem_dup(rest));
}

/* The one asked was not there any more: its code goes, and the request with it. */
static void asked_undo(const char *rest, const struct address *holder)
{
    char room[ID_MAX + 1], target[ID_MAX + 1], entry[ENTRY_MAX];
    const char *pair, *requester;

    undo(rest, holder);
    if (!code_split(rest, room, &pair) || !code_split(pair, target, &requester))
        return;
    code_entry(entry, "code", room, target);
    ownership_undo_entry(entry, holder);
}

static void asked_gone(const char *rest, session_id from)
{
    struct session *s = session_find(from);

    if (s && *rest != '\t')
        session_fail(s, ERR_TARGET_NOT_FOUND, NULL);
    else if (s)
        session_send(s,
                     bytes_copy(SPAN("{\"type\":\"pair_error\",\"error\":\"Pair request could not be processed\"}")));
}

static void tell(struct span to, const char *to_code, const char *type, const char *peer, long long left_ms)
{
    char entry[ENTRY_MAX];
    struct target t = {.entry = entry};
    struct builder w = {0};
    struct bytes *b;

    if (!address_parse(to, &t.address))
        return;
    builder_printf(&w, "{\"type\":\"%s\"", type);
    wire_field(&w, "peerCode", peer);
    if (left_ms)
        builder_printf(&w, ",\"remainingSeconds\":%lld", (left_ms + 999) / 1000);
    builder_text(&w, "}");
    b = builder_take(&w);
    code_entry(entry, "code", APP_ROOM, to_code);
    delivery_send(b, 1, &t, 0);
    bytes_unref(b);
}

static void on_looked(const struct reply *r, void *arg)
{
    char *rest = arg, room[ID_MAX + 1], target[ID_MAX + 1];
    const char *pair, *requester;
    struct span from, asked;
    long long left, now;

    if (r && reply_read(r, "ssii", &from, &asked, &left, &now) && code_split(rest, room, &pair) &&
        code_split(pair, target, &requester)) {
        if (left == 0)
            agenda_drop(KEY_REQUESTS, rest, now, LOOK_AGAIN_MS);
        if (from.len && left == 0)
            tell(from, requester, "pair_timeout", target, 0);
        if (from.len && left > 0 && left <= config->pair_warning_ms) {
            agenda_set(KEY_REQUESTS, rest, now + left);
            tell(from, requester, "pair_expiring", target, left);
            tell(asked, target, "pair_expiring", requester, left);
        }
    }
    free(rest);
}

static void on_due(const char *rest)
{
    char room[ID_MAX + 1], target[ID_MAX + 1], key[KEY_MAX];
    struct call c = call_new(&script_signal_look);
    const char *pair, *requester;

    if (!code_split(rest, room, &pair) || !code_split(pair, target, &requester))
        return;
    key_requests(key, room, target);
    call_key(&c, key);
    call_text(&c, requester);
    call_send(&c, on_looked, mem_dup(rest));
}

void pairing_init(void)
{
    static const struct entry_kind ask = {"ask", undo, NULL, NULL};
    static const struct entry_kind asked = {"asked", asked_undo, NULL, asked_gone};

    ownership_add_kind(&ask);
    ownership_add_kind(&asked);
    agenda_watch(KEY_REQUESTS, LOOK_AGAIN_MS, on_due);
}
