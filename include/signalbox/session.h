/* SPDX-License-Identifier: MIT */
/* session: one WebSocket client, its bytes and its end. Owned by net; once it is closing session_find() no longer sees
   it. What its messages mean is for who opened it.
   A session_id stays valid to ask for ever; it is the sid of the socket's address. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "signalbox/bytes.h"
#include "signalbox/err.h"

struct dialect;
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

/* What a module keeps with a session; freed by that module when the session ends. */
enum session_slot {
    SLOT_INDEX,
    SLOT_IDENTITIES,
    SLOT_RELAYS,
    SLOT_CALLER,
    SLOT_ROOM_PEER,
    SLOT_POOL_MEMBER,
    SLOT_CLIENT,
    SESSION_SLOTS
};

struct session *session_find(session_id id); /* borrowed until the callback returns; NULL: gone or closing */
session_id session_id_of(const struct session *s);
void **session_slot(struct session *s, enum session_slot slot);

void session_send(
    struct session *s,
    struct bytes *b); /* takes one reference; closes 1013 when others wait and it is over SEND_QUEUE_MAX */
/* As the message that is being handled has its errors told; without one as the dialect does. detail: for the %s of its
   text, or NULL. An answer that comes late is its turn's (see turn). */
void session_fail(struct session *s, enum err e, const char *detail);
void session_close(struct session *s, enum close_code code, const char *reason); /* safe in any callback; freed later */

/* While held, what the client sends waits: the reply to its last message is still to come. Handlers hold it by a turn.
 */
void session_hold(struct session *s);
void session_release(struct session *s);

/* A message of its own is on its way through Redis, and has arrived or failed. It goes on being read meanwhile, until
   too many are. */
void session_forwarding(struct session *s, size_t bytes);
void session_forwarded(struct session *s, size_t bytes);

void session_ping(struct session *s);
void session_trust(struct session *s); /* from now on MESSAGE_RATE does not hold for it: it speaks for many */

size_t session_count(void);
/* Visits one of several parts of about equal size; 0 of 1 is all. */
void session_each_part(unsigned part, unsigned parts, void (*visit)(struct session *s, void *arg), void *arg);

/* The next bytes of a watched session, of any kind, call the callback once (there is one callback for all). */
void session_watch(struct session *s);
void session_on_heard(void (*callback)(struct session *s));

/* What becomes of a session's messages. Spans are borrowed until the callback returns. */
struct session_ops {
    const struct json_names *names; /* the members that are kept of a message */
    void (*on_text)(struct session *s, struct span text, const struct json_members *m); /* NULL: it is malformed */
    void (*on_over_rate)(struct session *s, struct span text); /* it is dropped; "" if it is not to be looked at */
    void (*on_sent)(const struct session *s, struct span text);
};

/* For net/dialect.c alone. most: bytes of a message; 0: MAX_MESSAGE_BYTES */
struct session *session_new(struct lws *wsi, const struct session_ops *ops, const struct dialect *dialect, size_t most);
const struct dialect *session_dialect(const struct session *s);
int64_t *session_attested_until(struct session *s); /* ms of the clock */
/* Of the message that is being handled; NULL: none. */
const struct message_type **session_row(struct session *s);

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
