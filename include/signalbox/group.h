/* SPDX-License-Identifier: MIT */
/* group: the sockets of a room, wherever they are. A worker listens on the room's channel while it has a listener. */
#pragma once

#include "signalbox/address.h"
#include "signalbox/bytes.h"
#include "signalbox/session.h"

/* Makes the session a listener. then(true) runs once the worker hears the channel, so that nothing sent from then on is
   missed; then(false) if Redis is away. One of them runs once, later, also if the session has left. What comes on the
   channel is held for the session until group_admit(). */
void group_join(const char *channel, session_id id, void (*then)(bool ok, void *arg), void *arg);
/* Sends the session what was held for it, and from now on what comes. since: number of the event that made it a
   listener; messages with a number up to that are left out, because it knows of them. */
void group_admit(const char *channel, session_id id, uint64_t since);
void group_leave(const char *channel, session_id id);

/* Returns true the first time since this worker began to listen on the channel, then false: to say something once. */
bool group_first(const char *channel);

/* Makes the frame for a message to all listeners but the one at `except`. A script publishes it on the channel, in one
   step with what it tells of. A script that numbers its events puts the number where a first target's sid is. */
struct bytes *group_frame(struct span message, const struct address *except);

void group_init(void);
void group_fini(void);
