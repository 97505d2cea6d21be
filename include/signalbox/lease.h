/* SPDX-License-Identifier: MIT */
/* lease: this worker's lease, renewed by a beat each BEAT_MS, and what it knows of the others' (docs/design.md, "Who
   is alive"). It knows nothing of what sockets own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEASE_MS 7000 /* so that a dead worker's entries are gone within 10 s, sweep included */
#define BEAT_MS 2000
#define SETTLED_MS 3000 /* by then what was under way when the lease or Redis was lost has arrived */

/* Whether that worker has its lease; if not, what names it counts as gone. A wid that was not heard of before counts as
   alive for LEASE_MS, so that it has time to be seen in the roster. */
bool worker_alive(const char *wid);

/* The workers of the last beat, dead ones too; for the reaper and the statistics. */
size_t workers_count(void);
const char *workers_wid(size_t i);
bool workers_alive(size_t i);
void workers_drop(const char *wid); /* it has been cleaned up after */

/* Renews the lease and the place in the roster before it is time to, unless the worker is giving them up. */
void lease_beat_now(void);
/* loop_ms() when the last beat was sent that Redis has answered; 0: none has under the present name. */
int64_t lease_beaten_ms(void);

/* on_lost: others may have taken this worker for dead; it is about to take another wid. on_renewed: what its sockets
   own is to be written to Redis again, because others removed it, or Redis has forgotten it. */
void lease_init(void (*on_lost)(void), void (*on_renewed)(void));
void lease_on_redis_up(void);
void lease_fini(void);
/* Gives the lease up; done runs once Redis knows, or cannot be told. Unless it owns nothing any more, the worker
   stays in the roster, so that another one cleans up after it. */
void lease_give_up(bool owns_nothing, void (*done)(void));
