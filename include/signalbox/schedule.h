/* SPDX-License-Identifier: MIT */
/* schedule: things to look at when their time has come, on whichever worker is alive. Each is a zset in Redis; every
   worker looks, or the leader, and an entry is handed to one of them. */
#pragma once

#include <stdbool.h>

struct schedule {
    const char *key;
    bool leader_alone; /* only the leader looks; else every worker does */
    /* Called for each entry whose time has come; it comes up again after again_ms unless it is moved or taken off. */
    void (*due)(const char *entry);
    long long again_ms;
};
void schedule_init(void);
void schedule_set(const char *key, const char *entry, long long at_ms); /* by Redis' clock */
/* Takes an entry off, unless it was put on again since it was looked at: it is to come up not later than by_ms, or
   exactly at at_ms. */
void schedule_drop(const char *key, const char *entry, long long by_ms, long long at_ms);
