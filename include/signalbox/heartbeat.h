/* SPDX-License-Identifier: MIT */
/* heartbeat: this worker's lease, and what it knows of the others' (DESIGN.md section 4). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define LEASE_MS 7000 /* so that a dead worker's entries are gone within 10 s, sweep included */
#define BEAT_MS 2000

/* false: that worker has no lease, and what names it counts as gone. A wid heard of for the first time has LEASE_MS
   to be seen in the roster. */
bool worker_alive(const char *wid);

/* The workers of the last beat, dead ones too; for the reaper and the statistics. */
size_t workers_count(void);
const char *workers_wid(size_t i);
bool workers_alive(size_t i);
void workers_drop(const char *wid); /* it has been cleaned up after */

/* Renews the lease and the place in the roster before it is time to, unless the worker is giving them up. */
void heartbeat_now(void);

void heartbeat_init(void);
void heartbeat_on_redis_up(void);
void heartbeat_fini(void);
/* Gives the lease up; done runs once Redis knows, or cannot be told. Unless it owns nothing any more, the worker
   stays in the roster, so that another one cleans up after it. */
void heartbeat_stop(bool owns_nothing, void (*done)(void));
