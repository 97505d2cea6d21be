/* SPDX-License-Identifier: MIT */
#include "signalbox/schedule.h"

#include <stdint.h>
#include <stdio.h>

#include "scripts_data.h"
#include "signalbox/domain.h"
#include "signalbox/leader.h"
#include "signalbox/loop.h"
#include "signalbox/script.h"

#define TICK_MS 250
#define A_TIME 100

static void look(const struct schedule *a);

static void on_due(const struct reply *r, void *arg)
{
    const struct schedule *a = arg;
    const struct reply *entries;

    if (!r || !reply_read(r, "r", &entries))
        return;
    for (size_t i = 0; i < reply_count(entries); i++)
        a->due(reply_span(reply_at(entries, i)).at);
    if (reply_count(entries) == A_TIME)
        look(a);
}

static void look(const struct schedule *a)
{
    struct call c = call_new(&script_schedule_due);

    call_key(&c, a->key);
    call_int(&c, A_TIME);
    call_int(&c, a->again_ms);
    call_send(&c, on_due, (void *)(uintptr_t)a);
}

static void on_tick(void *arg)
{
    (void)arg;
    if (!redis_up())
        return;
    for (const struct domain *const *d = domains; *d; d++)
        for (const struct schedule *const *a = (*d)->schedules; a && *a; a++)
            if (!(*a)->leader_alone || leader_is_self())
                look(*a);
}

void schedule_init(void)
{
    timer_every(TICK_MS, on_tick, NULL);
}

void schedule_set(const char *key, const char *entry, long long at_ms)
{
    char at[24];

    snprintf(at, sizeof(at), "%lld", at_ms);
    redis_command(NULL, NULL, "ZADD", key, at, entry, NULL);
}

void schedule_drop(const char *key, const char *entry, long long by_ms, long long at_ms)
{
    struct call c = call_new(&script_schedule_drop);

    call_key(&c, key);
    call_text(&c, entry);
    call_int(&c, by_ms);
    call_int(&c, at_ms);
    call_send(&c, NULL, NULL);
}
