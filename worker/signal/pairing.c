/* SPDX-License-Identifier: MIT */
#include "signalbox/pairing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/delivery.h"
#include "signalbox/guess.h"
#include "signalbox/index.h"
#include "signalbox/lease.h"
#include "signalbox/limits.h"
#include "signalbox/schedule.h"
#include "signalbox/script.h"
#include "signalbox/storage.h"

#define LOOK_AGAIN_MS 1000
#define LOOK_AGAIN_LEAST_MS 250
#define OF_ONE_PERCENT 30 /* of the requests open to one, that may come from one client address */
#define KEPT_MS 60000     /* in Redis, beyond its end (signal/ask) */
#define REQUEST_BYTES 240 /* what Redis needs for a request, beside its entry and twice the names in it */

/* --- asking --- */

struct asking {
    struct turn turn;
    struct guess guess;
    char *room, *requester, *target;
    long long most;
    struct bytes *message;
    void (*failed)(const struct turn *t);
};

/* In the index of the requester's socket, and on the schedule: ask TAB room TAB target TAB requester. */
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

static struct storing storing(const struct asking *a)
{
    size_t names = strlen(a->room) + strlen(a->requester) + strlen(a->target);

    return (struct storing){REQUEST_BYTES + 2 * names + index_bytes(sizeof("ask\t\t") + names),
                            config->pair_timeout_ms + KEPT_MS, .small = true};
}

static long long until_warning_ms(void)
{
    return config->pair_timeout_ms - config->pair_warning_ms;
}

/* How soon a request is looked at again: not later than one that is opened anew, so that this is not taken off the
   schedule with the one that has ended. */
static long long look_again_ms(void)
{
    long long ms = until_warning_ms();

    return ms > LOOK_AGAIN_MS ? LOOK_AGAIN_MS : ms < LOOK_AGAIN_LEAST_MS ? LOOK_AGAIN_LEAST_MS : ms;
}

/* It was to come up before its end, for the warning, or at its end. */
static void stop_watching(const char *rest, long long ended_ms, long long until_ms)
{
    schedule_drop(KEY_REQUESTS, rest, ended_ms + until_warning_ms() - 1, until_ms);
}

static void asking_clear(void *arg)
{
    struct asking *a = arg;

    guess_end(&a->guess, false);
    free(a->room);
    free(a->requester);
    free(a->target);
    bytes_unref(a->message);
}

static void deliver(struct asking *a, struct span holder, long long until_ms)
{
    char entry[ENTRY_MAX];
    struct target t = {.entry = entry};

    if (!address_parse(holder, &t.address))
        return;
    code_entry(entry, CALLER, a->room, a->target);
    guess_found(a->turn.session, entry);
    request_entry(entry, a->room, a->target, a->requester);
    if (!*a->room)
        schedule_set(KEY_REQUESTS, entry + sizeof("ask"), until_ms - config->pair_warning_ms);
    delivery_send(a->message, 1, &t, a->turn.session);
}

static void on_asked(const struct reply *r, void *arg)
{
    struct asking *a = arg;
    struct span holder;
    struct storing what = storing(a);
    long long until_ms;
    bool read = r && reply_read(r, "si", &holder, &until_ms);

    guess_end(&a->guess, read && !holder.len);
    if (read && !holder.len)
        storage_give_back(&a->turn, &what);
    if (!read)
        turn_fail(&a->turn, ERR_UNAVAILABLE, NULL);
    else if (holder.len)
        deliver(a, holder, until_ms);
    else if (a->failed)
        a->failed(&a->turn);
    else
        turn_fail(&a->turn, ERR_TARGET_NOT_FOUND, NULL);
    turn_end(&a->turn);
}

static void ask(struct turn *t, enum err e)
{
    struct session *s = turn_session(t);
    struct asking *a = (struct asking *)t;
    char key[KEY_MAX], address[ADDRESS_MAX], entry[ENTRY_MAX];
    struct call call;

    if (!s || e != ERR_NONE) {
        turn_fail(t, e, NULL);
        turn_end(t);
        return;
    }
    request_entry(entry, a->room, a->target, a->requester);
    requests_note(s, &caller_of(s)->requests, entry);
    call = call_new(&script_signal_ask);
    key_code(key, a->room, a->target);
    call_key(&call, key);
    key_requests(key, a->room, a->target);
    call_key(&call, key);
    key_askers(key, a->room, a->target);
    call_key(&call, key);
    self_address_text(a->turn.session, address);
    call_text(&call, a->requester);
    call_text(&call, address);
    call_int(&call, config->pair_timeout_ms);
    call_int(&call, a->most);
    call_int(&call, *a->room != '\0'); /* only apps have requests on the schedule */
    call_text(&call, ip_range(t->ip));
    call_int(&call, a->most * OF_ONE_PERCENT / 100);
    call_send(&call, on_asked, a);
}

void pairing_ask(struct session *s, const char *target, long long most, struct builder *message,
                 void (*failed)(const struct turn *t))
{
    char entry[ENTRY_MAX];
    struct caller *c = caller_of(s);
    struct storing what;
    struct guess guess;
    struct asking *a;

    code_entry(entry, CALLER, c->room, target);
    if (!guess_begin(&guess, s, entry)) {
        builder_free(message);
        return;
    }
    a = turn_begin(s, sizeof(*a), asking_clear);
    a->guess = guess;
    a->room = mem_dup(c->room);
    a->requester = mem_dup(c->code);
    a->target = mem_dup(target);
    a->most = most;
    a->message = builder_take(message);
    a->failed = failed;
    what = storing(a);
    storage_take(&a->turn, &what, ask);
}

/* --- answering --- */

struct answering {
    struct turn turn;
    char *entry;                  /* of the request */
    char *requester, *public_key; /* of the one who asked */
    struct address address;
    struct bytes *message; /* to it */
    long long tag;
    void (*done)(const struct turn *t, const struct pairing_answer *a);
};

static void answering_clear(void *arg)
{
    struct answering *a = arg;

    bytes_unref(a->message);
    free(a->entry);
    free(a->requester);
    free(a->public_key);
}

/* Whether or not the one who answered is still there. */
static void answered(struct answering *a, enum pairing_result result)
{
    a->done(&a->turn, &(struct pairing_answer){result, a->requester, a->public_key, a->tag});
    turn_end(&a->turn);
}

static void on_answered(const struct reply *r, void *arg)
{
    struct answering *a = arg;
    struct span word;
    long long now, until;
    struct request q;
    char entry[ENTRY_MAX];

    if (!r || !reply_read(r, "sii", &word, &now, &until) || !request_split(a->entry + sizeof("ask"), &q)) {
        answered(a, PAIRING_UNAVAILABLE);
        return;
    }
    if (span_is(word, "none") || span_is(word, "unheard")) {
        answered(a, span_is(word, "none") ? PAIRING_NONE : PAIRING_UNHEARD);
        return;
    }
    stop_watching(a->entry + sizeof("ask"), now, until);
    code_entry(entry, CALLER, q.room, a->requester);
    guess_found(a->turn.session, entry);
    code_entry(entry, CALLER_ANSWER, q.room, a->requester);
    if (span_is(word, "here"))
        delivery_send(a->message, 1, &(struct target){a->address, entry}, a->turn.session);
    else
        delivery_count_remote(1);
    answered(a, PAIRING_ENDED);
}

/* {address, public key} of the requester's code: the request ends only if it is of the socket that has the code. */
static void on_requester(const struct reply *r, void *arg)
{
    struct answering *a = arg;
    struct call call = call_new(&script_signal_answer);
    char self[ADDRESS_MAX], requester[ADDRESS_MAX], key[KEY_MAX], entry[ENTRY_MAX];
    struct span address, public_key;
    struct request q;

    if (!r || !reply_read(r, "ss", &address, &public_key) || !request_split(a->entry + sizeof("ask"), &q)) {
        answered(a, PAIRING_UNAVAILABLE);
        return;
    }
    if (!address_parse(address, &a->address) || !worker_alive(a->address.wid)) {
        answered(a, PAIRING_NONE);
        return;
    }
    if (public_key.len) {
        free(a->public_key);
        a->public_key = span_dup(public_key);
    }
    key_requests(key, q.room, q.target);
    call_key(&call, key);
    key_askers(key, q.room, q.target);
    call_key(&call, key);
    call_text(&call, a->requester);
    self_address_text(a->turn.session, self);
    call_text(&call, self);
    address_format(&a->address, requester);
    call_text(&call, requester);
    delivery_arguments(&call, a->turn.session);
    code_entry(entry, CALLER_ANSWER, q.room, a->requester);
    call_text(&call, entry);
    call_span(&call, bytes_span(a->message));
    call_send(&call, on_answered, a);
}

void pairing_answer(struct session *s, const char *requester, long long tag, struct builder *message,
                    void (*done)(const struct turn *t, const struct pairing_answer *a))
{
    struct caller *c = caller_of(s);
    struct answering *a = turn_begin(s, sizeof(*a), answering_clear);
    char key[KEY_MAX], entry[ENTRY_MAX];

    request_entry(entry, c->room, c->code, requester);
    a->entry = mem_dup(entry);
    a->tag = tag;
    a->done = done;
    a->requester = mem_dup(requester);
    a->public_key = mem_dup("null");
    a->message = builder_take(message);
    key_code(key, c->room, requester);
    redis_command(on_requester, a, "HMGET", key, "addr", "publicKey", NULL);
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
    call_key(&c, key);
    key_askers(key, q.room, q.target);
    call_key(&c, key);
    address_format(holder, address);
    call_text(&c, q.requester);
    call_text(&c, address);
    call_send(&c, on_withdrawn, mem_dup(rest));
}

/* The one asked did not get the request: it is not open. */
static void on_not_found(const char *rest, const struct address *holder, session_id from)
{
    struct session *s = session_find(from);

    if (holder)
        undo(rest, holder);
    if (s && *rest != '\t')
        session_fail(s, ERR_TARGET_NOT_FOUND, NULL);
    else if (s)
        session_send(s,
                     bytes_copy(SPAN("{\"type\":\"pair_error\",\"error\":\"Pair request could not be processed\"}")));
}

static void on_busy(const char *rest, const struct address *holder, session_id from)
{
    struct session *s = session_find(from);

    if (*rest == '\t') {
        on_not_found(rest, holder, from);
        return;
    }
    undo(rest, holder);
    if (s)
        session_fail(s, ERR_TARGET_BUSY, NULL);
}

static void wire_end(struct builder *w, const char *type, const char *peer, long long left_ms)
{
    builder_printf(w, "{\"type\":\"%s\"", type);
    builder_member(w, "peerCode", peer);
    if (left_ms)
        builder_printf(w, ",\"remainingSeconds\":%lld", (left_ms + 999) / 1000);
    builder_text(w, "}");
}

static void tell(struct span to, const char *to_code, const char *type, const char *peer, long long left_ms)
{
    char entry[ENTRY_MAX];
    struct target t = {.entry = entry};
    struct builder w = {0};
    struct bytes *b;

    if (!address_parse(to, &t.address))
        return;
    wire_end(&w, type, peer, left_ms);
    b = builder_take(&w);
    code_entry(entry, "code", APP_ROOM, to_code);
    delivery_send(b, 1, &t, 0);
    bytes_unref(b);
}

static void on_looked(const struct reply *r, void *arg)
{
    char *rest = arg;
    struct span word, from, asked;
    long long left, now;
    struct request q;

    if (r && reply_read(r, "sssii", &word, &from, &asked, &left, &now) && request_split(rest, &q)) {
        if (left > 0 && left <= config->pair_warning_ms) {
            schedule_set(KEY_REQUESTS, rest, now + left);
            tell(from, q.requester, "pair_expiring", q.target, left);
            tell(asked, q.target, "pair_expiring", q.requester, left);
        }
        if (left == 0 && !span_is(word, "unheard"))
            schedule_drop(KEY_REQUESTS, rest, now + look_again_ms(), 0);
        if (span_is(word, "here"))
            tell(from, q.requester, "pair_timeout", q.target, 0);
        else if (span_is(word, "told"))
            delivery_count_remote(1);
    }
    free(rest);
}

static void on_due(const char *rest)
{
    struct call c = call_new(&script_signal_look);
    char key[KEY_MAX], entry[ENTRY_MAX];
    struct builder message = {0};
    struct request q;

    if (!request_split(rest, &q))
        return;
    key_requests(key, q.room, q.target);
    call_key(&c, key);
    key_askers(key, q.room, q.target);
    call_key(&c, key);
    call_text(&c, q.requester);
    delivery_arguments(&c, 0);
    code_entry(entry, "code", q.room, q.requester);
    call_text(&c, entry);
    wire_end(&message, "pair_timeout", q.target, 0);
    call_span(&c, bytes_span(message.bytes));
    builder_free(&message);
    call_send(&c, on_looked, mem_dup(rest));
}

const struct entry_kind pairing_kind = {"ask", undo, .on_not_found = on_not_found, .on_busy = on_busy};
struct schedule pairing_schedule = {KEY_REQUESTS, .due = on_due};

void pairing_init(void)
{
    pairing_schedule.again_ms = look_again_ms();
}
