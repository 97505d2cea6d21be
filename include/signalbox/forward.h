/* SPDX-License-Identifier: MIT */
/* forward: messages to whoever holds an identity, wherever it is, in order per sender and target.
   The first one to an identity of another worker goes by a script, which looks the holder up and publishes in one step.
   Its address is remembered: those that follow are published there without a look at Redis' entry. That worker delivers
   them or sends them back (arrival). Then all to that identity wait for a fence, an empty frame that goes there and
   returns behind whatever else comes back; after it they go by the script again, those that came back first. */
#pragma once

#include "signalbox/bytes.h"
#include "signalbox/session.h"

/* key: the identity's hash in Redis; identity: "kind TAB id". If nobody holds it, or Redis is away, the kind of entry
   is told, which may say more than the identity it begins with (gone and lost, see entry). Borrows b. */
void forward_send(const char *key, const char *identity, const char *entry, struct bytes *b, session_id from);

void forward_init(void); /* after delivery_init() */
void forward_fini(void); /* after redis_fini() */
