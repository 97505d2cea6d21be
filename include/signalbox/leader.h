/* SPDX-License-Identifier: MIT */
/* leader: which worker of the fleet leads it, that is, runs its periodic work; at most one does. Each time that
   changes, the new one gets a number that is greater than all before it (docs/design.md, "Who is alive"). */
#pragma once

#include <stdbool.h>

#define LEAD_MS 2000 /* from the last word of a leader until another may take its place */

/* As Redis said in the last LEAD_MS; "" for nobody, or unknown. Borrowed: the next answer changes it. */
const char *leader_wid(void);

/* Turns false before another worker can lead, early enough for what was sent until then to reach Redis first; also
   after this process stood still. Ask it in each callback that goes on with the leader's work. */
bool leader_is_self(void);

/* Asks Redis, then runs work if this worker led at the call and has led ever since, else dropped, which may be NULL.
   Exactly one of the two runs, once, from the loop. */
void leader_confirm(void (*work)(void *arg), void (*dropped)(void *arg), void *arg);

void leader_resign(void); /* for good; another leads as soon as it asks */

void leader_init(void);
void leader_look(void); /* asks who leads, and asks to lead; also when Redis turns up */
