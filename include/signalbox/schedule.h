/* SPDX-License-Identifier: MIT */
/* schedule: things to look at when their time has come, on whichever worker is alive. Each schedule is a zset in Redis.
   Every worker looks at it, or the leader alone, and an entry that is due is handed to one of them. */
#pragma once

#include <stdbool.h>

struct schedule {
    const char *key;
    bool leader_alone; /* only the leader looks; else every worker does */
    /* Looks at an entry whose time has come. It comes up again after again_ms unless it is moved or taken off. */
    void (*due)(const char *entry);
    long long again_ms;
};
void schedule_init(void);
void schedule_set(const char *key, const char *entry, long long at_ms); /* puts it on, or moves it; by Redis' clock */
/* Takes an entry off, unless it was put on again since it was looked at. It was not if it would come up by by_ms, or
   exactly at at_ms (0: there is no such time). */
void schedule_drop(const char *key, const char *entry, long long by_ms, long long at_ms);
