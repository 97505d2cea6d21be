/* SPDX-License-Identifier: MIT */
/* resync: keeps in Redis the ids that sockets of this worker hold. Each is refreshed three times in IDENTITY_TTL_MS.
   After Redis or this worker's lease was lost, all are written again, paced (docs/design.md, "Resync"). */
#pragma once

#include "signalbox/identity.h"

/* Give an id that s holds, or all of a kind, another IDENTITY_TTL_MS. If a live socket elsewhere has the id by now,
   that one keeps it, and s is closed 4000. */
void resync_identity(struct session *s, const struct entry_kind *kind, const char *id);
void resync_kind(struct session *s, const struct entry_kind *kind);

/* Writes every id of every socket again, a few sockets at a time: Redis may have lost them. */
void resync_all(void);

void resync_init(void);
void resync_fini(void);
