/* SPDX-License-Identifier: MIT */
/* reaper: cleans up after workers that died, and runs the fleet's periodic work; one worker at a time does it. */
#pragma once

void reaper_add_job(void (*job)(void)); /* run every 10 s by one worker of the fleet; up to 8 */

void reaper_init(void);
