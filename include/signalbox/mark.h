/* SPDX-License-Identifier: MIT */
/* mark: how far this worker has come, noted in Redis by the connection of commands, in one order with what sockets
   store. A Redis that has gone back to an older state is known by an older mark (docs/design.md, "Who is alive"). */
#pragma once

void mark_init(void);
void mark_on_redis_up(void); /* once the first beat was sent */
