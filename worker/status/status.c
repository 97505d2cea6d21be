/* SPDX-License-Identifier: MIT */
#include "signalbox/status.h"

#include <stddef.h>
#include <stdio.h>

#include "signalbox/http.h"
#include "signalbox/inbox.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/redis.h"
#include "signalbox/server.h"
#include "signalbox/version.h"

static struct metric *dropped_lines;

static void handle_health(struct exchange *x)
{
    exchange_reply_json(
        x, 200, json_pack("{ss ss sI}", "status", "ok", "service", "signalbox", "timestamp", (json_int_t)clock_ms()));
}

static const char *with_problem(const char *what)
{
    static char reason[512];

    snprintf(reason, sizeof(reason), *redis_problem() ? "%s: %.400s" : "%s", what, redis_problem());
    return reason;
}

static const char *not_ready(void)
{
    if (server_draining())
        return "draining";
    if (!redis_connected())
        return with_problem("redis is out of reach");
    if (!redis_up())
        return "the key layout in redis is not ready";
    return inbox_live() ? NULL : with_problem("subscription is not live");
}

static void handle_ready(struct exchange *x)
{
    const char *reason = not_ready();
    json_t *body = json_pack("{ss ss sI}", "status", reason ? "not ready" : "ready", "service", "signalbox",
                             "timestamp", (json_int_t)clock_ms());

    if (reason)
        json_object_set_new(body, "error", json_string(reason));
    exchange_reply_json(x, reason ? 503 : 200, body);
}

void status_info(struct exchange *x)
{
    exchange_reply_json(x, 200,
                        json_pack("{ss ss ss so}", "name", "signalbox", "version", SIGNALBOX_VERSION, "description",
                                  "Signaling and rendezvous server for peer-to-peer apps", "endpoints",
                                  http_endpoints()));
}

static void handle_metrics(struct exchange *x)
{
    struct builder w = {0};

    metrics_render(&w);
    exchange_reply(x, 200, "text/plain; version=0.0.4; charset=utf-8", builder_take(&w));
}

static const struct http_route status_routes[] = {
    {HTTP_GET, "/health", "health", handle_health, .always = true},
    {HTTP_GET, "/ready", "ready", handle_ready, .always = true},
    {HTTP_GET, "/api/info", "info", status_info, .status = true, .cost = {.base = 30}},
    {HTTP_GET, "/metrics", "metrics", handle_metrics, .always = true, .status = true},
    {0},
};
static const struct http_route *const routes[] = {status_routes, NULL};

static void collect(void)
{
    metric_add(dropped_lines, (double)log_dropped() - metric_value(dropped_lines));
}

static void init(void)
{
    dropped_lines = metric_counter("signalbox_log_dropped_total", "Lines of the log that nobody took in time");
    metrics_on_collect(collect);
    metric_set(
        metric_series(metric_family(METRIC_GAUGE, "signalbox_build_info", "Always 1", "version"), SIGNALBOX_VERSION),
        1);
}

const struct domain status_domain = {.routes = routes, .init = init};
