/* SPDX-License-Identifier: MIT */
/* session: one WebSocket client, its bytes and its end. Owned by net; once it is closing session_find() no longer sees
   it. It does not know what its messages mean: its ops do.
   A session_id can be asked for at any later time; it is the sid of the socket's address. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "signalbox/bytes.h"
#include "signalbox/err.h"

struct dialect;
struct ip;
struct json_members;
struct json_names;
struct lws;
struct message_type;
struct session;
typedef uint64_t session_id;

/* RFC 6455 section 7.4, and docs/design.md, "Limits" */
enum close_code {
    CLOSE_GOING_AWAY = 1001,
    CLOSE_PROTOCOL_ERROR = 1002,
    CLOSE_POLICY = 1008,
    CLOSE_TOO_BIG = 1009,
    CLOSE_TOO_SLOW = 1013,
    CLOSE_REPLACED = 4000,
    CLOSE_NOT_AUTHORISED = 4401,
};

struct session *session_find(session_id id); /* borrowed until the callback returns; NULL: gone or closing */
session_id session_id_of(const struct session *s);
struct ip *session_ip(const struct session *s); /* of its client; borrowed as s is */

/* A slot holds what a module keeps with each session, which that module frees when the session ends. A slot is made
   before there is any session. */
size_t session_slot_new(void);
void **session_slot(struct session *s, size_t slot); /* NULL at first */

/* Takes one reference. Closes s 1013 if messages wait already, and with this one they are over SEND_QUEUE_MAX. */
void session_send(struct session *s, struct bytes *b);
/* Whether what other clients send it is to be refused (ERR_TARGET_BUSY), before s is closed for it: more than half of
   SEND_QUEUE_MAX waits, or would wait too much with len bytes more. If those are 16 KiB or less, only that 7/8 of it
   would wait. Writes first what the socket takes. */
bool session_is_busy(struct session *s, size_t len);
/* Holds `from`, and reads nothing of what it sends, while over a quarter of SEND_QUEUE_MAX waits for s, for 250 ms at
   most. */
void session_slow_down(struct session *from, const struct session *s);
/* Tells an error in the form that the message being handled asks for, or without one in that of the dialect. detail:
   for the %s of its text, or NULL. An answer that comes later tells its errors with turn_fail(). */
void session_fail(struct session *s, enum err e, const char *detail);
void session_close(struct session *s, enum close_code code, const char *reason); /* safe in any callback; freed later */

/* Calls the callback, one for all sessions, when a session is closed 1013. */
void session_on_too_slow(void (*callback)(struct session *s));

/* While a session is held, what its client sends waits, because the answer to an earlier message is still to come.
   Handlers hold it by a turn. */
void session_hold(struct session *s);
void session_release(struct session *s);

/* A message that s has sent is on its way through Redis; and it has arrived, or failed. Meanwhile s is still read,
   until too many are on their way. */
void session_forwarding(struct session *s, size_t bytes);
void session_forwarded(struct session *s, size_t bytes);

/* For net/turn.c alone: what a turn of that session keeps, which counts with all that this worker keeps for clients.
   0, or one that has left: for a client that cannot be closed for it. */
void session_turn_keeps(session_id id, size_t bytes); /* may close sessions, that one too */
void session_turn_kept(session_id id, size_t bytes);  /* it keeps them no more */

void session_ping(struct session *s);
/* How many bytes the client's host has taken. It takes what it does not read, too, while there is room, so only this
   shows life: the last ping is still behind other bytes, and of those some were taken since. */
uint64_t session_taken(const struct session *s);
bool session_ping_taken(const struct session *s);   /* the last ping is among them */
int64_t session_silent_ms(const struct session *s); /* since anything at all came from it */
void session_trust(struct session *s); /* frees it of MESSAGE_RATE and of costs, as it speaks for many clients */
bool session_is_trusted(const struct session *s);

size_t session_count(void);
/* Visits the sessions of one of several parts of about equal size; part 0 of 1 is all. */
void session_each_part(unsigned part, unsigned parts, void (*visit)(struct session *s, void *arg), void *arg);

/* Calls the callback, one for all sessions, once when a watched session next sends anything at all. */
void session_watch(struct session *s);
void session_on_heard(void (*callback)(struct session *s));

/* What becomes of a session's messages. Spans are borrowed until the callback returns. */
struct session_ops {
    const struct json_names *names; /* the members that are kept of a message */
    void (*on_text)(struct session *s, struct span text, const struct json_members *m); /* NULL: it is malformed */
    void (*on_over_rate)(struct session *s, struct span text); /* it was dropped; "": it is binary, which is not read */
    void (*on_sent)(struct session *s, struct span text);
};

/* For net/dialect.c alone. ip: of the client. most: bytes of a message; 0: MAX_MESSAGE_BYTES */
struct session *session_new(struct lws *wsi, const char *ip, const struct session_ops *ops,
                            const struct dialect *dialect, size_t most);
const struct dialect *session_dialect(const struct session *s);
int64_t *session_attested_until(struct session *s); /* ms of the clock */
/* Of the message that is being handled, or answered; NULL: none. */
const struct message_type **session_row(struct session *s);
/* Take units (cost.h) of s and of its address. false: it has not got so many, and is read no further for a moment. */
bool session_afford(struct session *s, double units);
void session_charge(struct session *s, double units); /* whether it has them or not */

/* For net/websocket.c alone. */
void session_pinged(struct session *s, struct span payload);
void session_ponged(struct session *s);
void session_received(struct session *s, struct span part, bool last, bool binary, size_t still_to_come);
bool session_writable(struct session *s); /* false: the connection is broken */
bool session_is_closing(const struct session *s);
bool session_is_read(const struct session *s); /* there is no reason not to read what the client sends */
void session_ended(struct session *s);         /* the connection is gone: ends and frees it */
void sessions_init(void);
void sessions_fini(void);
