/* SPDX-License-Identifier: MIT */
/* turn: a message, or a request over HTTP, whose answer waits for Redis. What a domain keeps meanwhile begins with a
   struct turn: it is allocated when the turn begins and freed when it ends, whether or not its client is still there.
 */
#pragma once

#include <sys/queue.h>

#include "signalbox/dialect.h"
#include "signalbox/http.h"

struct turn {
    session_id session;             /* of a message */
    exchange_id exchange;           /* of a request */
    struct ip *ip;                  /* of its client; held, so it is there also when the client has left */
    const struct message_type *row; /* of the message; NULL: of a request, or there is none */
    const struct cost *cost;        /* of either; NULL: none */
    bool holds;
    error_form form;  /* how the errors of this message are told, whatever the session is sent meanwhile */
    char *request_id; /* JSON, or "" */
    void (*clear)(void *context);
    size_t kept;
    bool gathers;
    void (*gather)(void *context);
    STAILQ_ENTRY(turn) next;
};

/* Returns a context of `size` bytes, which begins with the turn and is zero behind it. The session is held until the
   turn ends. clear frees what the context points to; NULL: nothing. Call it within the handler of the message. */
void *turn_begin(struct session *s, size_t size, void (*clear)(void *context));
/* The same without a hold: what the client sends meanwhile is handled at once. */
void *turn_begin_beside(struct session *s, size_t size, void (*clear)(void *context));
void *turn_begin_http(struct exchange *x, size_t size, void (*clear)(void *context));

/* Borrowed until the callback returns; NULL: the client has left, or was answered. */
struct session *turn_session(const struct turn *t);
struct exchange *turn_exchange(const struct turn *t);

/* If the client has left, these do nothing, but its address is charged all the same. */
void turn_send(const struct turn *t, struct bytes *b);                /* a message; takes the reference */
void turn_charge(const struct turn *t, double units);                 /* for what was not known at its begin */
void turn_fail(const struct turn *t, enum err e, const char *detail); /* as session_fail(); of a request: 503 or 507 */
void turn_reply(const struct turn *t, unsigned status, struct bytes *json); /* to a request; takes the reference */
void turn_reply_json(const struct turn *t, unsigned status, json_t *body);  /* likewise */

/* What the context has allocated counts with all that this worker keeps for clients, until the turn ends. That may be
   too much: then those with most are closed, maybe this client. */
void turn_keeps(struct turn *t, size_t bytes);
/* For a turn that is about to gather what may be big: calls gather(context), maybe before this returns, once fewer than
   8 such turns are under way; they come in their order, and each is under way until it ends. If its client has left by
   then, the turn ends instead. */
void turn_gather(struct turn *t, void (*gather)(void *context));

/* Ends the turn; call it once. Messages that have waited may be handled before it returns, so a handler that calls it
   does not touch its own message any more, and returns ERR_NONE. */
void turn_end(struct turn *t);
/* Ends the turn of a request with that status and sentence. sentence NULL: 503, because Redis was not reached. */
void turn_give_up(struct turn *t, unsigned status, const char *sentence);
