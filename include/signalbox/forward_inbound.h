/* SPDX-License-Identifier: MIT */
/* forward_inbound: the other end of forward, at the worker whose address the sender's worker remembers. It delivers a
   message only if that socket holds the identity, and else sends it back. From then on it sends back all that follow
   from the same worker to that identity, until that worker's fence comes: the socket might hold the identity again, and
   a later message must not overtake one that is on its way back. */
#pragma once

void forward_inbound_init(void); /* after delivery_init() */
void forward_inbound_fini(void);
