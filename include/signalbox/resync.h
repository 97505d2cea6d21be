/* SPDX-License-Identifier: MIT */
/* resync: what keeps in Redis the ids that sockets of this worker hold: each is refreshed three times in its
   IDENTITY_TTL_MS, and all are written again, paced, after Redis or this worker's lease was lost. */
#pragma once

#include "signalbox/identity.h"

/* Another IDENTITY_TTL_MS for an id that s holds, or for all of a kind. Who is registered elsewhere meanwhile keeps
   it, and s is closed 4000. */
void resync_identity(struct session *s, const struct entry_kind *kind, const char *id);
void resync_kind(struct session *s, const struct entry_kind *kind);

/* Writes every id of every socket again, a few sockets at a time: Redis may have lost them. */
void resync_all(void);

void resync_init(void);
void resync_fini(void);
