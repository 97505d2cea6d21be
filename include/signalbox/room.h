/* SPDX-License-Identifier: MIT */
/* room: the protocol of /ws (docs/design.md, "Rooms"), and the rooms in its HTTP API. */
#pragma once

#include "signalbox/dialect.h"
#include "signalbox/domain.h"
#include "signalbox/entry.h"
#include "signalbox/http.h"
#include "signalbox/keys.h"
#include "signalbox/schedule.h"
#include "signalbox/script.h"
#include "signalbox/storage.h"
#include "signalbox/turn.h"

#define PEER_ID_LEN 16     /* hex digits */
#define ROOM_MEMBER "room" /* word of the entries by which a socket is in a room */

/* What a socket of /ws is to the others. */
struct room_peer {
    char id[PEER_ID_LEN + 1];
    char *room;    /* that it is in, or NULL */
    char *joining; /* that it asks to be let into, or NULL */
    bool leaving;  /* it has asked to be let out */
    char **owed;   /* rooms that Redis has not let it out of yet */
    size_t owed_count;
    char *info; /* as others see it there: JSON, up to joined_at */
};
struct room_peer *room_peer_of(struct session *s); /* NULL: of another dialect */

/* Envelopes. id: of the peer that it is about; room: NULL where there is none; request_id: JSON, "" where there is
   none. Between them goes what else the message has, each member with a comma before it. */
void wire_envelope(struct builder *w, const char *type, const char *id, const char *room);
struct bytes *wire_envelope_end(struct builder *w, const char *request_id); /* stamps it and empties w */
/* The peers of {peer, record, peer, record, …} as an array; leaves out those on workers that have died. How many. */
size_t wire_peers(struct builder *w, const struct reply *records);
/* ,"payload":{"room_id":…,"peers":[…]} */
void wire_room(struct builder *w, const char *room, const struct reply *records);

/* What the others are to know of a peer, from the payload of its JOIN: JSON, up to joined_at. false: *field is wrong.
 */
bool wire_peer_info(struct builder *w, const char *id, const struct value *payload, const char **field);

/* An error that is not, or not any more, about a message at hand. */
void room_fail(struct session *s, enum err e, const char *request_id);

/* Handlers of the dialect's table. */
enum err handle_join(struct session *s, const struct message *m);
enum err handle_leave(struct session *s, const struct message *m);
enum err handle_discover(struct session *s, const struct message *m);

/* In the index of the peer's socket: room TAB ROOM TAB PEER. */
void room_entry(char out[static ENTRY_MAX], const char *room, const char *peer);
/* Takes apart "address info", as a room keeps of each of its peers. false: it is malformed. */
bool room_record_read(struct span record, struct address *at, struct span *info) __attribute__((warn_unused_result));

struct storing room_storing(const char *room, const char *info); /* what a place in it counts as stored */

/* What is asked of Redis about a room. */
struct call room_call(const struct script *script, const char *room); /* with both keys of the room */
void room_call_join(const char *room, const struct room_peer *p, const char *info, const char *how, session_id id,
                    redis_callback callback, void *arg);
void room_call_leave(const char *room, const char *peer, const struct address *at, redis_callback callback, void *arg);

/* Asks those in a room that is full whether they are still there, a limited number of them; who was not heard of for
   TAKEOVER_PROBE_MS and does not answer is closed, and in it no more. told runs once, later. false: they were asked a
   moment ago, and told never runs. */
enum room_places {
    PLACES_TAKEN,
    PLACES_FREED,   /* at least one, which another may be faster to take */
    PLACES_UNKNOWN, /* Redis was not reached */
};
typedef void (*full_room_told)(enum room_places places, void *arg);
bool full_room_ask(const char *room, full_room_told told, void *arg) __attribute__((warn_unused_result));
void full_rooms_fini(void); /* runs after nobody is asked any more */

extern const struct domain rooms_domain;

extern const struct entry_kind room_peer_kind, membership_kind;
extern const struct domain_metric membership_metrics[];
void membership_close(struct session *s); /* a socket that was opened has ended: frees its peer */
void membership_open(void);               /* a socket was opened */
void membership_refresh(session_id id);   /* gives its place back to a peer, if Redis has lost it */
extern const struct schedule room_index_schedule;
void room_index_add(const char *room);                   /* it is there, or there again */
void room_index_look(const char *room, long long at_ms); /* it may have ended by then */
extern const struct http_route rooms_api_routes[];
