/* SPDX-License-Identifier: MIT */
#include "signalbox/orphans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/address.h"
#include "signalbox/keys.h"
#include "signalbox/leader.h"
#include "signalbox/lease.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/redis.h"

#define TICK_MS 20
#define STEP_KEYS "500"
#define RETRY_MS 10000
#define ANY_WID "????????"

/* wanted: since this worker was last a leader that looked, Redis may have gone back. Every worker keeps that in mind:
   the leader may die in the middle. */
static struct {
    bool wanted, running;
    int64_t from_ms; /* loop_ms(): the workers have come back to that Redis */
    char cursor[24];
} look;

static void next_step(void *arg);

static void put_off(int64_t ms)
{
    look.running = false;
    look.wanted = true;
    look.from_ms = loop_ms() + ms;
}

static void on_lease(const struct reply *r, void *arg)
{
    char *wid = arg;

    if (r && reply_int(r) == 0 && leader_is_self()) {
        LOG_INFO("orphan_listed", LOG_TEXT("wid", wid));
        redis_command(NULL, NULL, "ZADD", KEY_WORKERS, "NX", "0", wid, NULL);
    }
    free(wid);
}

static bool is_listed(const char *wid)
{
    for (size_t i = 0; i < workers_count(); i++)
        if (strcmp(workers_wid(i), wid) == 0)
            return true;
    return false;
}

/* One that has just begun to beat may not be listed here yet, but has its lease. */
static void look_at(struct span owners, const char *pattern)
{
    char key[KEY_MAX], *wid;

    if (owners.len != strlen(pattern))
        return;
    wid = span_dup((struct span){owners.at + strcspn(pattern, "?"), WID_LEN});
    if (is_listed(wid)) {
        free(wid);
        return;
    }
    key_worker(key, wid);
    redis_command(on_lease, wid, "EXISTS", key, NULL);
}

static void on_scanned(const struct reply *r, void *arg)
{
    char pattern[KEY_MAX];
    struct span cursor;
    const struct reply *keys;

    (void)arg;
    if (!r || !reply_read(r, "sr", &cursor, &keys)) {
        put_off(RETRY_MS);
        return;
    }
    key_owners(pattern, ANY_WID);
    for (size_t i = 0; i < reply_count(keys); i++)
        look_at(reply_span(reply_at(keys, i)), pattern);
    snprintf(look.cursor, sizeof(look.cursor), "%.*s", (int)cursor.len, cursor.at);
    look.running = strcmp(look.cursor, "0") != 0;
    if (look.running)
        timer_once(TICK_MS, next_step, NULL);
}

static void next_step(void *arg)
{
    char pattern[KEY_MAX];

    (void)arg;
    if (!leader_is_self()) {
        put_off(0);
        return;
    }
    key_owners(pattern, ANY_WID);
    redis_command(on_scanned, NULL, "SCAN", look.cursor, "MATCH", pattern, "COUNT", STEP_KEYS, NULL);
}

static void on_tick(void *arg)
{
    (void)arg;
    if (!look.wanted || look.running || loop_ms() < look.from_ms || !redis_up() || !leader_is_self())
        return;
    look.wanted = false;
    look.running = true;
    snprintf(look.cursor, sizeof(look.cursor), "0");
    next_step(NULL);
}

void orphans_on_redis_up(void)
{
    if (!redis_is_another())
        return;
    look.wanted = true;
    look.from_ms = loop_ms() + SETTLED_MS;
}

void orphans_init(void)
{
    timer_every(500, on_tick, NULL);
}
