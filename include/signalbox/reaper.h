/* SPDX-License-Identifier: MIT */
/* reaper: what the leader of the fleet does: it cleans up after workers that died, and runs the periodic work. */
#pragma once

void reaper_init(void);
