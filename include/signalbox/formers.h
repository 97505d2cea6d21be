/* SPDX-License-Identifier: MIT */
/* formers: names that this worker had before. What its sockets hold stands under them until Redis has answered a
   resync, so they stay on the list of workers that long, and nobody cleans up after them (docs/design.md, "Who is
   alive"). */
#pragma once

struct call;

void formers_add(const char *wid);
void formers_settled(void);        /* what was sent under those names has reached Redis, or never will */
void formers_list(struct call *c); /* adds each to a call of fleet/roster */
void formers_resynced(void);       /* a resync that began since they settled has been sent */

void formers_fini(void);
