/* SPDX-License-Identifier: MIT */
/* claim: an identity belongs to one live socket of the whole fleet (PROTOCOL.md section 5, "Whose id is it").
   Claiming one that another socket holds pings that socket, wherever it is; who does not answer within
   TAKEOVER_PROBE_MS is closed 4000 and loses it. */
#pragma once

#include "signalbox/address.h"
#include "signalbox/session.h"

#define IDENTITY_TTL_MS 600000

enum claim_result { CLAIM_GRANTED, CLAIM_HELD, CLAIM_UNAVAILABLE };

/* Claims the hash `key` for s; its field addr names the holder. done runs once, later; s is NULL if the session has
   left meanwhile. since_ms, by Redis' clock, is when it was granted: a later holder has a later one. The caller has
   noted the entry with ownership_note() before. */
typedef void (*claim_done)(struct session *s, enum claim_result result, long long since_ms, void *arg);
void claim_start(struct session *s, const char *key, claim_done done, void *arg);

void claim_release(const char *key, const struct address *holder); /* deletes it if it still carries that address */
/* Another IDENTITY_TTL_MS. Where Redis has lost it, or has it at the former address of its holder, it is given back.
   A socket of ours whose id another one holds that lives is closed 4000: the word that it was replaced did not reach
   us. REFRESH_UNKNOWN: Redis did not answer, or the other holder could not be asked. */
enum claim_refreshed { REFRESH_UNKNOWN, REFRESH_REPLACED, REFRESH_KEPT, REFRESH_AGAIN };
void claim_refresh(const char *key, const struct address *holder, void (*done)(enum claim_refreshed result, void *arg),
                   void *arg); /* done runs once, later */

void claim_on_session_end(struct session *s);
void claim_init(void);
void claim_fini(void);
