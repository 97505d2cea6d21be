/* SPDX-License-Identifier: MIT */
/* forward: messages to whoever holds an identity, wherever it is, in order per sender and target.
   The first message to an identity of another worker goes by a script, which looks the holder up and publishes in one
   step. This worker remembers the address, and publishes those that follow there without looking it up. The worker
   there delivers them, or sends them back if the holder has moved (forward_inbound). When one comes back, all further
   messages to that identity wait for a fence: an empty frame that goes there, and returns behind whatever else comes
   back. Then all go by the script again, those that came back first (docs/design.md, "The life of a forward"). */
#pragma once

#include "signalbox/bytes.h"
#include "signalbox/session.h"

/* key: the identity's hash in Redis; identity: "kind TAB id". entry begins with the identity and may say more: if
   nobody holds it, Redis is away, or too much waits for the holder, the kind's on_not_found(), on_unavailable() or
   on_busy() is given it. Call it within the handler of the message: it may be refused as a guess. Borrows b. */
void forward_send(const char *key, const char *identity, const char *entry, struct bytes *b, session_id from);

void forward_init(void); /* after delivery_init() */
void forward_fini(void); /* after redis_fini() */
