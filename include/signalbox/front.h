/* SPDX-License-Identifier: MIT */
/* front: the front server (docs/design.md, "The front server"): members of the pool on /worker-sync, their clients on
   /signaling, and HTTP for those who look for a member. */
#pragma once

#include <jansson.h>

#include "signalbox/address.h"
#include "signalbox/bytes.h"
#include "signalbox/dialect.h"
#include "signalbox/domain.h"
#include "signalbox/http.h"

#define KIND_MEMBER "pool"   /* of entries: who holds the id of a member of the pool */
#define KIND_CLIENT "client" /* likewise of a client */

/* Sends {"type","from","payload"} to whoever holds that id; if nobody does, the sender gets ERR_TARGET_NOT_FOUND. */
void front_forward(struct session *s, const char *kind, const char *target, const char *type, const char *from,
                   struct span payload);

void front_on_not_found(const char *id, const struct address *holder, session_id from); /* of both kinds of entry */
void front_on_busy(const char *id, const struct address *holder, session_id from);      /* likewise */

/* The value of iceServers for a client; with TURN_SECRET its credentials hold TURN_TTL_SECONDS from now on. A new
   reference. */
json_t *wire_ice_servers(const char *client);

#define CLIENT_ID_MAX 17
void front_client_id(char out[static CLIENT_ID_MAX]);
void front_send(struct session *s, json_t *message); /* takes the reference */

extern const struct domain front_domain;

extern const struct dialect worker_sync_dialect, signaling_dialect;
extern const struct entry_kind worker_sync_kind, signaling_kind;
extern const struct http_route bootstrap_routes[];
void worker_sync_on_pool_change(void);
void worker_sync_on_session_end(struct session *s);
void worker_sync_init(void);
void worker_sync_fini(void);
void signaling_on_pool_change(void);
void signaling_init(void);
void signaling_on_session_end(struct session *s);
