/* SPDX-License-Identifier: MIT */
/* POST /bootstrap: which member of the pool is a client's. GET /workers: all of them. */
#include "signalbox/front.h"
#include "signalbox/http.h"
#include "signalbox/leader.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/pool.h"
#include "signalbox/turn.h"

#define CHOICES 3 /* its worker, and two alternates */

static bool admit_attested(struct exchange *x)
{
    if (exchange_is_attested(x))
        return true;
    LOG_WARNING("auth_refused", LOG_TEXT("path", exchange_path(x)));
    exchange_fail(x, 401, err_text(ERR_NOT_ATTESTED));
    return false;
}

static void answer(struct exchange *x, const char *client, const char *region)
{
    const struct pool_member *chosen[CHOICES];
    size_t count = pool_choose(exchange_ip(x), region, CHOICES, chosen);
    json_t *alternates;

    if (count == 0) {
        exchange_fail(x, 503, err_text(ERR_NO_WORKERS));
        return;
    }
    alternates = json_array();
    for (size_t i = 1; i < count; i++)
        json_array_append_new(alternates, wire_pool_member(chosen[i]));
    exchange_reply_json(x, 200,
                        json_pack("{ss so so ss so sI}", "clientId", client, "worker", wire_pool_member(chosen[0]),
                                  "alternates", alternates, "signaling", "/signaling", "iceServers",
                                  wire_ice_servers(client), "ringVersion", (json_int_t)pool_version()));
}

static void handle_bootstrap(struct exchange *x)
{
    const struct value *client = &exchange_values(x)[0], *region = &exchange_values(x)[1];
    char id[CLIENT_ID_MAX];

    if (!redis_up() || !pool_known()) {
        exchange_unavailable(x);
        return;
    }
    front_client_id(id);
    answer(x, client->present ? client->text : id, region->text);
}

static void on_pool(bool ok, void *arg)
{
    struct turn *t = arg;
    const char *leader = leader_wid();

    if (ok)
        turn_reply_json(t, 200,
                        json_pack("{so sI ss? sI}", "workers", wire_pool(), "ringVersion", (json_int_t)pool_version(),
                                  "leader", *leader ? leader : NULL, "timestamp", (json_int_t)clock_ms()));
    else
        turn_fail(t, ERR_UNAVAILABLE, NULL);
    turn_end(t);
}

static void handle_workers(struct exchange *x)
{
    pool_read(on_pool, turn_begin_http(x, sizeof(struct turn), NULL));
}

const struct http_route bootstrap_routes[] = {
    {HTTP_GET, "/workers", "workers", handle_workers, .cost = {.base = 100, .reply_kib = 15}},
    {HTTP_POST, "/bootstrap", "bootstrap", handle_bootstrap, .fields = {{FIELD_ID, "clientId"}, {FIELD_ID, "region"}},
     .admit = admit_attested, .may_be_empty = true, .cost = {.base = 50}},
    {0},
};
