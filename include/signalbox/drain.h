/* SPDX-License-Identifier: MIT */
/* drain: an orderly end. No new sockets, those open are closed 1001 spread over DRAIN_SECONDS, what they own is undone.
 */
#pragma once

void drain_start(void (*done)(void)); /* done runs once nothing is left, or Redis does not take the rest in time */
void drain_hurry(void);               /* closes the rest at once */
