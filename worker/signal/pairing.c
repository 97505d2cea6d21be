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

struct request {
    char room[ID_MAX + 1], target[ID_MAX + 1];
    const char *requester; /* within the entry */
};

static bool request_split(const char *rest, struct request *q)
{
    const char *pair;

    return code_split(rest, q->room, &pair) && code_split(pair, q->target, &q->requester);
}

/* How soon a request is looked at again: never later than one that is opened anew, so that this is not taken off the
   agenda with the one that has ended. */
static long long look_again_ms(void)
{
    long long until_warning = config->pair_timeout_ms - config->pair_warning_ms;

    return until_warning < LOOK_AGAIN_MS ? until_warning : LOOK_AGAIN_MS;
}

/* It was to come up before its end, for the warning, or at its end. */
static void stop_watching(const char *rest, long long ended_ms, long long until_ms)
{
    agenda_drop(KEY_REQUESTS, rest, ended_ms, config->pair_timeout_ms - config->pair_warning_ms, until_ms);
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
    char entry[ENTRY_MAX];
    struct target t = {.entry = entry};

    if (!address_parse(holder, &t.address))
        return;
    request_entry(entry, a->room, a->target, a->requester);
    if (!*a->room)
        agenda_set(KEY_REQUESTS, entry + sizeof("ask"), until_ms - config->pair_warning_ms);
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
    char *entry;                            /* of the request */
    char *requester, *address, *public_key; /* of the one who asked */
    long long tag;
    void (*done)(struct session *s, const struct pairing_answer *a);
};

static void answering_free(struct answering *a)
{
    free(a->entry);
    free(a->requester);
    free(a->address);
    free(a->public_key);
    free(a);
}

/* open: the request was, and has ended. */
static void answered(struct answering *a, bool open)
{
    struct session *s = session_find(a->session);
    struct pairing_answer answer = {.requester = a->requester, .public_key = a->public_key, .tag = a->tag};

    if (s) {
        answer.open = open && address_parse(span_of(a->address), &answer.address);
        a->done(s, &answer);
        session_release(s);
    }
    answering_free(a);
}

static void answer_failed(struct answering *a)
{
    struct session *s = session_find(a->session);

    if (s) {
        session_fail(s, ERR_UNAVAILABLE, NULL);
        session_release(s);
    }
    answering_free(a);
}

static void on_answered(const struct reply *r, void *arg)
{
    struct answering *a = arg;
    long long open, now, until;

    if (!r || !reply_read(r, "iii", &open, &now, &until)) {
        answer_failed(a);
        return;
    }
    if (open)
        stop_watching(a->entry + sizeof("ask"), now, until);
    answered(a, open != 0);
}

/* {address, public key} of the requester's code: the request ends only if it is of the socket that has the code. */
static void on_requester(const struct reply *r, void *arg)
{
    struct answering *a = arg;
    struct session *s = session_find(a->session);
    struct span address, key;
    struct address requester;
    char self[ADDRESS_MAX], requests[KEY_MAX];
    struct call call = call_new(&script_signal_answer);

    if (!s || !r || !reply_read(r, "ss", &address, &key)) {
        answer_failed(a);
        return;
    }
    if (!address_parse(address, &requester) || !worker_alive(requester.wid)) {
        answered(a, false);
        return;
    }
    a->address = span_dup(address);
    a->public_key = key.len ? span_dup(key) : mem_dup("null");
    key_requests(requests, caller_of(s)->room, caller_of(s)->code);
    self_address_text(a->session, self);
    call_key(&call, requests);
    call_text(&call, a->requester);
    call_text(&call, self);
    call_text(&call, a->address);
    call_send(&call, on_answered, a);
}

void pairing_answer(struct session *s, const char *requester, long long tag,
                    void (*done)(struct session *s, const struct pairing_answer *a))
{
    struct caller *c = caller_of(s);
    struct answering *a = mem_alloc(sizeof(*a));
    char key[KEY_MAX], entry[ENTRY_MAX];

    request_entry(entry, c->room, c->code, requester);
    *a = (struct answering){.session = session_id_of(s), .entry = mem_dup(entry), .tag = tag, .done = done};
    a->requester = mem_dup(requester);
    session_hold(s);
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
    long long removed, now, until;

    if (r && reply_read(r, "iii", &removed, &now, &until) && removed)
        stop_watching(arg, now, until);
    free(arg);
}

static void undo(const char *rest, const struct address *holder)
{
    struct call c = call_new(&script_signal_withdraw);
    char key[KEY_MAX], address[ADDRESS_MAX];
    struct request q;

    if (!request_split(rest, &q))
        return;
    key_requests(key, q.room, q.target);
    address_format(holder, address);
    call_key(&c, key);
    call_text(&c, q.requester);
    call_text(&c, address);
    call_send(&c, on_withdrawn, mem_dup(rest));
}

/* The one asked did not get the request: it is not open. */
static void gone(const char *rest, session_id from)
{
    struct session *s = session_find(from);
    struct address self = self_address(from);

    undo(rest, &self);
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
    char *rest = arg;
    struct span from, asked;
    long long left, now;
    struct request q;

    if (r && reply_read(r, "ssii", &from, &asked, &left, &now) && request_split(rest, &q)) {
        if (left == 0)
            agenda_drop(KEY_REQUESTS, rest, now, look_again_ms(), 0);
        if (from.len && left == 0)
            tell(from, q.requester, "pair_timeout", q.target, 0);
        if (from.len && left > 0 && left <= config->pair_warning_ms) {
            agenda_set(KEY_REQUESTS, rest, now + left);
            tell(from, q.requester, "pair_expiring", q.target, left);
            tell(asked, q.target, "pair_expiring", q.requester, left);
        }
    }
    free(rest);
}

static void on_due(const char *rest)
{
    struct call c = call_new(&script_signal_look);
    struct request q;
    char key[KEY_MAX];

    if (!request_split(rest, &q))
        return;
    key_requests(key, q.room, q.target);
    call_key(&c, key);
    call_text(&c, q.requester);
    call_send(&c, on_looked, mem_dup(rest));
}

void pairing_init(void)
{
    static const struct entry_kind ask = {"ask", undo, NULL, gone};

    ownership_add_kind(&ask);
    agenda_watch(KEY_REQUESTS, look_again_ms(), on_due);
}
