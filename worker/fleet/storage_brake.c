/* SPDX-License-Identifier: MIT */
#include "signalbox/storage_brake.h"

#include <stdlib.h>
#include <string.h>

#include "signalbox/config.h"
#include "signalbox/lease.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/redis.h"
#include "signalbox/resp.h"

#define ALL_PERCENT 95 /* of maxmemory: the rest is for what the fleet itself writes */

enum { OPEN, SMALL_ONLY, NOTHING };

static int brake;
static struct metric *brake_gauge, *ratio_gauge;

/* The number behind the line's name and colon; 0: there is no such line. */
static double number_of(const char *info, const char *name)
{
    const char *at = info;
    size_t len = strlen(name);

    while (at && strncmp(at, name, len) != 0)
        at = (at = strchr(at, '\n')) ? at + 1 : NULL;
    return at ? strtod(at + len, NULL) : 0;
}

static int brake_at(double percent)
{
    double all = config->store_redis_percent > ALL_PERCENT ? (double)config->store_redis_percent : ALL_PERCENT;

    if (config->store_redis_percent == 0)
        return OPEN;
    return percent > all ? NOTHING : percent > (double)config->store_redis_percent ? SMALL_ONLY : OPEN;
}

/* What Redis itself compares with maxmemory. */
static void on_info(const struct reply *r, const char *error, void *arg)
{
    const char *info = r ? reply_span(r).at : "";
    double used = number_of(info, "used_memory:") - number_of(info, "mem_not_counted_for_evict:");
    double most = number_of(info, "maxmemory:"), ratio = most > 0 ? used / most : 0;
    int now = brake_at(ratio * 100);

    (void)arg;
    if (!r && !error) /* it is away: what it was holds */
        return;
    if (now != brake)
        LOG_WARNING("storage_brake", LOG_INT("brake", now), LOG_INT("percent", ratio * 100));
    brake = now;
    metric_set(brake_gauge, now);
    metric_set(ratio_gauge, ratio);
}

static void ask(void *arg)
{
    struct builder w = resp_command(2, (const struct span[]){SPAN("INFO"), SPAN("memory")});

    (void)arg;
    if (redis_up())
        redis_send_urgent(on_info, NULL, bytes_span(w.bytes));
    builder_free(&w);
}

bool storage_brake_lets(bool small)
{
    return brake == OPEN || (brake == SMALL_ONLY && small);
}

void storage_brake_init(void)
{
    brake_gauge = metric_gauge("signalbox_storage_brake",
                               "Redis is nearly full: 1 only small registrations are taken, 2 none that are new");
    ratio_gauge =
        metric_gauge("signalbox_redis_memory_ratio", "Memory that Redis uses of its maxmemory; 0: it has none");
    timer_every(BEAT_MS, ask, NULL);
}
