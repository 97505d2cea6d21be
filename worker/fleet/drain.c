/* SPDX-License-Identifier: MIT */
#include "signalbox/drain.h"

#include <stddef.h>

#include "signalbox/config.h"
#include "signalbox/index.h"
#include "signalbox/leader.h"
#include "signalbox/lease.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/server.h"
#include "signalbox/session.h"

#define TICK_MS 100
#define LAST_WAIT_MS 5000 /* for close frames to be answered and for Redis to take the last undo */

static void (*done)(void);
static struct timer *ticker;
static unsigned part, parts;
static int64_t all_closed_ms;

static void close_one(struct session *s, void *arg)
{
    (void)arg;
    session_close(s, CLOSE_GOING_AWAY, "server shutdown");
}

static void on_tick(void *arg)
{
    (void)arg;
    if (part < parts) {
        session_each_part(part++, parts, close_one, NULL);
        all_closed_ms = loop_ms();
        return;
    }
    if ((session_count() > 0 || index_pending() > 0 || server_busy()) && loop_ms() - all_closed_ms < LAST_WAIT_MS)
        return;
    timer_free(ticker);
    ticker = NULL;
    LOG_INFO("drained", LOG_INT("connections", session_count()), LOG_INT("not_undone", index_pending()));
    lease_give_up(session_count() == 0 && index_pending() == 0, done);
}

void drain_start(void (*when_done)(void))
{
    done = when_done;
    parts = (unsigned)(config->drain_seconds * 1000 / TICK_MS) + 1;
    if (session_count() == 0)
        parts = 1;
    LOG_INFO("drain", LOG_INT("connections", session_count()), LOG_INT("seconds", config->drain_seconds));
    leader_resign();
    server_drain();
    ticker = timer_every(session_count() || parts > 1 ? TICK_MS : 1, on_tick, NULL);
    on_tick(NULL);
}

void drain_hurry(void)
{
    for (; part < parts; part++)
        session_each_part(part, parts, close_one, NULL);
    all_closed_ms = loop_ms();
}
