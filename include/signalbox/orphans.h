/* SPDX-License-Identifier: MIT */
/* orphans: workers that own something and are not on the list of workers, because Redis has gone back to a state in
   between. The leader lists them, so that they are cleaned up after (docs/design.md, "Ghosts"). */
#pragma once

void orphans_init(void);
void orphans_on_redis_up(void);
