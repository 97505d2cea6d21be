/* SPDX-License-Identifier: MIT */
/* forward_inbound: the other end of forward, at the worker to which a message is published since its address is
   remembered. A message is delivered only if that socket holds the identity, and else sent back. Then all that follow
   it from the same worker go back, too, until that worker's fence: the socket may hold the identity again, and none is
   to overtake one that is on its way back. */
#pragma once

void forward_inbound_init(void); /* after delivery_init() */
void forward_inbound_fini(void);
