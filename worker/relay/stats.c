/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/chunk.h"
#include "signalbox/http.h"
#include "signalbox/keys.h"
#include "signalbox/lease.h"
#include "signalbox/relay.h"
#include "signalbox/rendezvous.h"
#include "signalbox/script.h"

/* One request: several questions to Redis under way at once. */
struct asking {
    struct turn turn;
    size_t left;
    bool failed;
    json_t *relays;
    struct {
        long long names, entries;
    } days, hours, sources, waits;
    long long cached, connections, workers;
};

static json_t *wire_stats(const struct asking *a)
{
    json_t *rendezvous =
        json_pack("{sI sI sI sI sI}", "dailyPoints", (json_int_t)a->days.names, "hourlyTokens",
                  (json_int_t)a->hours.names, "totalEntries", (json_int_t)(a->days.entries + a->hours.entries),
                  "dailyEntries", (json_int_t)a->days.entries, "hourlyEntries", (json_int_t)a->hours.entries);
    json_t *chunks = json_pack("{sI sI sI sI}", "trackedChunks", (json_int_t)a->sources.names, "totalSources",
                               (json_int_t)a->sources.entries, "cachedChunks", (json_int_t)a->cached, "pendingRequests",
                               (json_int_t)a->waits.entries);

    return json_pack("{sO so so sI sI}", "relays", a->relays, "rendezvous", rendezvous, "chunks", chunks, "connections",
                     (json_int_t)a->connections, "workers", (json_int_t)a->workers);
}

static void asking_clear(void *arg)
{
    struct asking *a = arg;

    json_decref(a->relays);
}

static void count_answer(struct asking *a, bool ok)
{
    a->failed |= !ok;
    if (--a->left > 0)
        return;
    if (a->failed)
        turn_fail(&a->turn, ERR_UNAVAILABLE, NULL);
    else
        turn_reply_json(&a->turn, 200, wire_stats(a));
    turn_end(&a->turn);
}

static void on_relays(const struct reply *r, void *arg)
{
    struct asking *a = arg;
    long long total, capacity, connected, available;
    bool ok = r && reply_read(r, "iiii", &total, &capacity, &connected, &available);

    if (ok)
        a->relays = json_pack("{sI sI sI sI}", "totalPeers", (json_int_t)total, "totalCapacity", (json_int_t)capacity,
                              "totalConnected", (json_int_t)connected, "availableRelays", (json_int_t)available);
    count_answer(a, ok);
}

static void on_days(const struct reply *r, void *arg)
{
    struct asking *a = arg;

    count_answer(a, r && reply_read(r, "ii-", &a->days.names, &a->days.entries));
}

static void on_hours(const struct reply *r, void *arg)
{
    struct asking *a = arg;

    count_answer(a, r && reply_read(r, "ii-", &a->hours.names, &a->hours.entries));
}

static void on_sources(const struct reply *r, void *arg)
{
    struct asking *a = arg;

    count_answer(a, r && reply_read(r, "ii-", &a->sources.names, &a->sources.entries));
}

static void on_waits(const struct reply *r, void *arg)
{
    struct asking *a = arg;

    count_answer(a, r && reply_read(r, "ii-", &a->waits.names, &a->waits.entries));
}

static void on_cached(const struct reply *r, void *arg)
{
    struct asking *a = arg;

    count_answer(a, r && reply_read(r, "i", &a->cached));
}

static void on_connections(const struct reply *r, void *arg)
{
    struct asking *a = arg;

    a->connections += reply_int(r);
    a->workers += reply_span(r).len > 0; /* a former name of a worker has no number any more */
    count_answer(a, r != NULL);
}

static void ask_connections(struct asking *a)
{
    char key[KEY_MAX];

    for (size_t i = 0; i < workers_count(); i++) {
        if (!workers_alive(i))
            continue;
        a->left++;
        key_worker(key, workers_wid(i));
        redis_command(on_connections, a, "HGET", key, "connections", NULL);
    }
}

static void ask_relays(struct asking *a)
{
    struct call c = call_new(&script_relay_census);

    call_key(&c, KEY_RELAYS);
    call_key(&c, KEY_RELAYS_FREE);
    call_key(&c, KEY_RELAYS_TOTALS);
    call_send(&c, on_relays, a);
}

static void ask_cached(struct asking *a)
{
    struct call c = call_new(&script_chunk_census);

    call_key(&c, KEY_CHUNK_ENDS);
    call_send(&c, on_cached, a);
}

static void handle_stats(struct exchange *x)
{
    struct asking *a = turn_begin_http(x, sizeof(*a), asking_clear);

    a->left = 6;
    ask_relays(a);
    tally_count(&meeting_day.tally, on_days, a);
    tally_count(&meeting_hour.tally, on_hours, a);
    tally_count(&chunk_sources, on_sources, a);
    tally_count(&chunk_waits, on_waits, a);
    ask_cached(a);
    ask_connections(a);
}

const struct http_route stats_routes[] = {
    {HTTP_GET, "/stats", "stats", handle_stats, .status = true, .cost = {.base = 200}},
    {HTTP_GET, "/relay/stats", "relay_stats", handle_stats, .status = true, .cost = {.base = 200}},
    {0},
};
