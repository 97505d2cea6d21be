/* SPDX-License-Identifier: MIT */
/* relay: the protocol of /relay (docs/design.md, "Relays and rendezvous"). */
#pragma once

#include "signalbox/dialect.h"
#include "signalbox/domain.h"
#include "signalbox/http.h"
#include "signalbox/index.h"
#include "signalbox/turn.h"

/* Handlers of the dialect's table, one file each for a group of messages. */
enum err handle_register(struct session *s, const struct message *m);
enum err handle_update_load(struct session *s, const struct message *m);
enum err handle_get_relays(struct session *s, const struct message *m);
enum err handle_register_rendezvous(struct session *s, const struct message *m);
enum err handle_chunk_announce(struct session *s, const struct message *m);
enum err handle_chunk_request(struct session *s, const struct message *m);
enum err handle_chunk_push(struct session *s, const struct message *m);
enum err handle_heartbeat(struct session *s, const struct message *m);

/* Makes the peer id its own of the turn's session: at once if it is already, else by a claim. Then next(s, context)
   runs once. If the id stays another's or the session has left, the client is told and the turn ends instead. The notes
   are made in the index before anything is registered. */
enum claim_when { CLAIM_IF_NEW, CLAIM_ALWAYS }; /* ALWAYS: even if s holds it already, so that Redis has it again */
void peer_claim(enum claim_when when, struct turn *t, const char *peer, size_t note_count, const struct note *notes,
                void (*next)(struct session *s, void *context));
/* The same with CLAIM_ALWAYS for a relay; more: as identity_claim() wants it, for its place in the registry. */
void peer_claim_relay(struct turn *t, const char *peer, size_t more, void (*next)(struct session *s, void *context));

/* Says whether the peer id, which the session of the turn does not hold, is another live socket's: ERR_PEER_IN_USE.
   ERR_NONE: nobody's; ERR_UNAVAILABLE: Redis was not reached. */
void peer_holder_find(struct turn *t, const char *peer, void (*then)(enum err e, void *context));

#define CALLS_AT_ONCE 64    /* script calls of one message that are under way together */
#define DEAD_DROP_MAX 16384 /* bytes */
#define POINTS_MAX 256      /* daily points, and hourly tokens, of one message */
#define CHUNKS_MAX 1024     /* chunks of one announce */

extern const struct dialect relay_dialect;

void relay_on_restored(const char *peer, const struct address *holder); /* a relay is in the registry again */
void relays_init(void);
void relays_on_session_end(struct session *s);
void rendezvous_let_ended_go(void); /* by the leader: points and tokens whose time is over */
void rendezvous_init(void);
extern const struct entry_kind peer_kind, day_kind, drop_kind, hour_kind;
extern const struct http_route stats_routes[];

extern const struct domain relay_domain;
