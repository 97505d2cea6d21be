/* SPDX-License-Identifier: MIT */
/* claim: the contest for a hash in Redis that belongs to one live socket of the whole fleet. If another socket holds
   it, that one is pinged, wherever it is. If it does not answer within TAKEOVER_PROBE_MS, it is closed 4000 and the
   claimer has the hash (docs/design.md, "Whose id is it"). For fleet/identity.c and fleet/resync.c. */
#pragma once

#include "signalbox/address.h"
#include "signalbox/session.h"

#define IDENTITY_TTL_MS 600000

/* CLAIM_REFUSED, with ERR_STORAGE_LIMIT, is of fleet/identity.c: Redis was not asked. */
enum claim_result { CLAIM_GRANTED, CLAIM_HELD, CLAIM_UNAVAILABLE, CLAIM_REFUSED };

/* Claims the hash `key` for s; its field addr names the holder. done runs once, later; s is NULL if the session has
   left meanwhile. since_ms, by Redis' clock, is when it was granted: a later holder has a later one. */
typedef void (*claim_done)(struct session *s, enum claim_result result, long long since_ms, void *arg);
void claim_start(struct session *s, const char *key, claim_done done, void *arg);
/* The same for a session that held the hash and has found another holder in it. It takes the hash back from a holder
   that is gone. If the holder cannot be asked, the result is CLAIM_UNAVAILABLE, and nothing is taken. */
void claim_contest(struct session *s, const char *key, claim_done done, void *arg);

void claim_release(const char *key, const struct address *holder); /* deletes it if it still carries that address */
/* The same; but for CLAIM_KEPT_MS only who claims it from the client's address of s, its holder, gets it. */
#define CLAIM_KEPT_MS 5000
void claim_keep(const char *key, const struct session *s);
/* Closes the session 4000, because another live socket has its id. Does nothing if it has left. */
void claim_close_replaced(session_id id);

void claim_init(void);
