/* SPDX-License-Identifier: MIT */
/* claim: the contest for a hash in Redis that belongs to one live socket of the whole fleet. Claiming one that another
   socket holds pings that socket, wherever it is; who does not answer within TAKEOVER_PROBE_MS is closed 4000 and loses
   it (docs/design.md, "Whose id is it"). For fleet/identity.c and fleet/resync.c. */
#pragma once

#include "signalbox/address.h"
#include "signalbox/session.h"

#define IDENTITY_TTL_MS 600000

enum claim_result { CLAIM_GRANTED, CLAIM_HELD, CLAIM_UNAVAILABLE };

/* Claims the hash `key` for s; its field addr names the holder. done runs once, later; s is NULL if the session has
   left meanwhile. since_ms, by Redis' clock, is when it was granted: a later holder has a later one. */
typedef void (*claim_done)(struct session *s, enum claim_result result, long long since_ms, void *arg);
void claim_start(struct session *s, const char *key, claim_done done, void *arg);
/* The same for who held it and finds another in its place: it is taken back from a dead holder, and from nobody who
   merely cannot be asked (CLAIM_UNAVAILABLE). */
void claim_contest(struct session *s, const char *key, claim_done done, void *arg);

void claim_release(const char *key, const struct address *holder); /* deletes it if it still carries that address */
/* A live socket elsewhere holds the id of this one, which is closed 4000. Nothing, if it has left. */
void claim_close_replaced(session_id id);

void claim_on_session_end(struct session *s);
void claim_init(void);
void claim_fini(void);
