/* SPDX-License-Identifier: MIT */
/* group: the sockets of a room, wherever they are. A worker listens on the room's channel while it has a member. */
#pragma once

#include "signalbox/address.h"
#include "signalbox/bytes.h"
#include "signalbox/session.h"

/* Makes the session a member; then(ok) runs once the worker hears the channel, so that nothing sent after it is
   missed; false: Redis is away. It runs later, also if the session has left. What comes is held for it until it is
   admitted. */
void group_join(const char *channel, session_id id, void (*then)(bool ok, void *arg), void *arg);
/* From now on it is sent what comes, and first what was held: all with a number above that of the event that made it a
   member, or without one. */
void group_admit(const char *channel, session_id id, uint64_t since);
void group_leave(const char *channel, session_id id);

/* True once for as long as this worker listens on the channel: to say something once. */
bool group_first(const char *channel);

/* What is to be published on the channel for a message to all members but the one at `except`: by a script, in the same
   breath as what it tells of. A script that numbers its events puts the number where a first target's sid is. */
struct bytes *group_frame(struct span message, const struct address *except);

void group_init(void);
void group_fini(void);
