/* SPDX-License-Identifier: MIT */
/* reaper: what the leader of the fleet does: it cleans up after workers that died, and runs the periodic work. */
#pragma once

void reaper_add_job(void (*job)(void)); /* run by the leader every 10 s; up to 8 */

void reaper_init(void);
