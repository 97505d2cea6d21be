/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/heartbeat.h"
#include "signalbox/http.h"
#include "signalbox/keys.h"
#include "signalbox/relay.h"
#include "signalbox/script.h"

#define CENSUS_LIMIT 1000

/* One request: several questions to Redis under way at once. */
struct asking {
    exchange_id exchange;
    size_t left;
    bool failed;
    json_t *relays;
    json_int_t days, day_entries, hours, hour_entries, connections, workers;
};

static void finish_one(struct asking *a, bool ok)
{
    struct exchange *x = exchange_find(a->exchange);

    a->failed |= !ok;
    if (--a->left > 0)
        return;
    if (x && a->failed)
        exchange_unavailable(x);
    else if (x)
        exchange_reply_json(x, 200,
                            json_pack("{sO s{sI sI sI sI sI} sI sI}", "relays", a->relays, "rendezvous", "dailyPoints",
                                      a->days, "hourlyTokens", a->hours, "totalEntries",
                                      a->day_entries + a->hour_entries, "dailyEntries", a->day_entries, "hourlyEntries",
                                      a->hour_entries, "connections", a->connections, "workers", a->workers));
    json_decref(a->relays);
    free(a);
}

static void on_relays(const struct reply *r, void *arg)
{
    struct asking *a = arg;
    long long total, capacity, connected, available;
    bool ok = r && reply_read(r, "iiii", &total, &capacity, &connected, &available);

    if (ok)
        a->relays = json_pack("{sI sI sI sI}", "totalPeers", (json_int_t)total, "totalCapacity", (json_int_t)capacity,
                              "totalConnected", (json_int_t)connected, "availableRelays", (json_int_t)available);
    finish_one(a, ok);
}

static void on_days(const struct reply *r, void *arg)
{
    struct asking *a = arg;

    finish_one(a, r && reply_read(r, "ii", &a->days, &a->day_entries));
}

static void on_hours(const struct reply *r, void *arg)
{
    struct asking *a = arg;

    finish_one(a, r && reply_read(r, "ii", &a->hours, &a->hour_entries));
}

static void on_connections(const struct reply *r, void *arg)
{
    struct asking *a = arg;

    a->connections += reply_int(r);
    finish_one(a, r != NULL);
}

static void ask_rendezvous(struct asking *a, const char *list, const char *counts, redis_callback callback)
{
    struct call c = call_new(&script_rendezvous_census);

    call_key(&c, list);
    call_key(&c, counts);
    call_int(&c, CENSUS_LIMIT);
    call_send(&c, callback, a);
}

static void ask_connections(struct asking *a)
{
    char key[KEY_MAX];

    for (size_t i = 0; i < workers_count(); i++) {
        if (!workers_alive(i))
            continue;
        a->left++;
        a->workers++;
        key_worker(key, workers_wid(i));
        redis_command(on_connections, a, "HGET", key, "connections", NULL);
    }
}

static void handle_stats(struct exchange *x)
{
    struct asking *a = mem_alloc(sizeof(*a));
    struct call c = call_new(&script_relay_census);

    a->exchange = exchange_id_of(x);
    a->left = 3;
    call_key(&c, KEY_RELAYS);
    call_key(&c, KEY_RELAYS_FREE);
    call_key(&c, KEY_RELAYS_TOTALS);
    call_send(&c, on_relays, a);
    ask_rendezvous(a, KEY_DAYS, KEY_DAY_COUNTS, on_days);
    ask_rendezvous(a, KEY_HOURS, KEY_HOUR_COUNTS, on_hours);
    ask_connections(a);
}

void stats_init(void)
{
    static const struct http_route routes[] = {
        {HTTP_GET, "/stats", "stats", handle_stats, false},
        {HTTP_GET, "/relay/stats", "relay_stats", handle_stats, false},
    };

    http_add_routes(routes, sizeof(routes) / sizeof(routes[0]));
}
