/* SPDX-License-Identifier: MIT */
#include "signalbox/reaper.h"

#include <stdlib.h>
#include <string.h>

#include "signalbox/address.h"
#include "signalbox/domain.h"
#include "signalbox/index.h"
#include "signalbox/keys.h"
#include "signalbox/leader.h"
#include "signalbox/lease.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/redis.h"

#define TICK_MS 500
#define SWEEP_JOBS_MS 10000
#define SOCKET_BATCH "32"

/* The sweep under way, if wid is set. */
static struct {
    char wid[WID_LEN + 1];
    size_t undoing; /* sockets whose undo has not come back */
    size_t sockets;
    bool failed;
} sweep;

static int64_t jobs_due_ms;
static struct metric *reaped;

static void next_sockets(void);

static void end_sweep(void)
{
    sweep.wid[0] = '\0';
}

static void on_socket_undone(bool ok, void *arg)
{
    (void)arg;
    sweep.failed |= !ok;
    if (--sweep.undoing > 0)
        return;
    if (sweep.failed)
        end_sweep();
    else
        next_sockets();
}

static void on_sockets(const struct reply *r, void *arg)
{
    (void)arg;
    sweep.failed |= !r || !leader_is_self();
    if (sweep.failed || reply_count(r) == 0) {
        if (!sweep.failed) {
            LOG_INFO("worker_reaped", LOG_TEXT("wid", sweep.wid), LOG_INT("sockets", sweep.sockets));
            metric_add(reaped, 1);
            redis_command(NULL, NULL, "ZREM", KEY_WORKERS, sweep.wid, NULL);
            workers_drop(sweep.wid);
        }
        end_sweep();
        return;
    }
    sweep.undoing = reply_count(r);
    sweep.sockets += reply_count(r);
    for (size_t i = 0; i < reply_count(r); i++) {
        struct address a = {.sid = (uint64_t)reply_int(reply_at(r, i))};
        memcpy(a.wid, sweep.wid, WID_LEN);
        index_undo(&a, leader_is_self, on_socket_undone, NULL);
    }
}

/* One that lasts too long is of the time before Redis' clock was set back: that worker has not beaten since. */
static void on_lease_read(const struct reply *r, void *arg)
{
    (void)arg;
    sweep.failed |= !r || (reply_int(r) >= 0 && reply_int(r) <= LEASE_MS);
}

/* The lease is looked at before each batch: a worker that comes back in the middle is left alone from then on. */
static void look_at_sockets(void *arg)
{
    char key[KEY_MAX];

    (void)arg;
    key_worker(key, sweep.wid);
    redis_command(on_lease_read, NULL, "PTTL", key, NULL);
    key_owners(key, sweep.wid);
    redis_command(on_sockets, NULL, "SRANDMEMBER", key, SOCKET_BATCH, NULL);
}

static void on_not_leader(void *arg)
{
    (void)arg;
    end_sweep();
}

static void next_sockets(void)
{
    leader_confirm(look_at_sockets, on_not_leader, NULL);
}

static void run_jobs(void *arg)
{
    (void)arg;
    for (const struct domain *const *d = domains; *d; d++)
        for (void (*const *job)(void) = (*d)->jobs; job && *job; job++)
            (*job)();
}

static void on_jobs_dropped(void *arg)
{
    (void)arg;
    jobs_due_ms = 0;
}

static const char *dead_worker(void)
{
    for (size_t i = 0; i < workers_count(); i++)
        if (!workers_alive(i))
            return workers_wid(i);
    return NULL;
}

static void on_tick(void *arg)
{
    const char *dead = dead_worker();

    (void)arg;
    if (!redis_up() || !leader_is_self() || sweep.wid[0])
        return;
    if (dead) {
        memset(&sweep, 0, sizeof(sweep));
        memcpy(sweep.wid, dead, WID_LEN);
        next_sockets();
    } else if (loop_ms() >= jobs_due_ms) {
        jobs_due_ms = loop_ms() + SWEEP_JOBS_MS;
        leader_confirm(run_jobs, on_jobs_dropped, NULL);
    }
}

void reaper_init(void)
{
    reaped = metric_counter("signalbox_workers_reaped_total", "Dead workers this one has cleaned up after");
    jobs_due_ms = loop_ms() + SWEEP_JOBS_MS;
    timer_every(TICK_MS, on_tick, NULL);
}
