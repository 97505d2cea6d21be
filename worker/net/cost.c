/* SPDX-License-Identifier: MIT */
#include "signalbox/cost.h"

#include <stdbool.h>

#include "signalbox/config.h"
#include "signalbox/limits.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"

#define UNIT_US 10.0
#define KIB 1024.0
#define TEXT_US 5.0 /* of any message: to read it, to look at it, and to say that it is wrong */
#define TEXT_KIB_US 2.0
#define PAUSE_LEAST_MS 12
#define PAUSE_MOST_MS 250 /* a client is not left unheard for so long that it seems dead */

/* All clients of a worker together have half of a core. Past that a unit costs their addresses more and more, so that
   who has used least goes on. */
#define SHARE 50000
#define SHARE_BURST 100000
#define DEARER_EACH 100.0 /* units that are owed: so many add one to the price */
#define OWED_MOST 100000

static struct bucket all;
static struct metric_family *worth, *refused;
static struct metric *price_now;

double cost_least(const struct cost *c, size_t items, size_t bytes)
{
    return (c->base + c->item * (double)items) / UNIT_US + cost_of_bytes(c, bytes);
}

double cost_of_bytes(const struct cost *c, size_t bytes)
{
    return c->kib * (double)bytes / KIB / UNIT_US;
}

double cost_of_reply(const struct cost *c, size_t bytes)
{
    return c->reply_kib * (double)bytes / KIB / UNIT_US;
}

double cost_of_told(const struct cost *c, size_t others, size_t bytes)
{
    return (double)others * (c->told / UNIT_US + cost_of_reply(c, bytes));
}

double cost_of_text(size_t bytes)
{
    return (TEXT_US + TEXT_KIB_US * (double)bytes / KIB) / UNIT_US;
}

static double price(void)
{
    double owed = -bucket_level(&all, SHARE, SHARE_BURST, loop_ms());

    return owed <= 0 ? 1 : 1 + owed / DEARER_EACH;
}

/* How many ms it takes until there is enough in b; 0: there is, or it knows no limit. */
static double wait_ms(struct bucket *b, double wanted, long long rate, long long burst)
{
    double lacks;

    if (rate == 0)
        return 0;
    lacks = wanted - bucket_level(b, rate, burst, loop_ms());
    return lacks <= 0 ? 0 : lacks * 1000 / (double)rate;
}

static int64_t refuse(struct ip *ip, const char *limit, double ms)
{
    metric_add(metric_series(refused, limit), 1);
    ip_tell(ip, limit);
    return ms < PAUSE_LEAST_MS ? PAUSE_LEAST_MS : ms > PAUSE_MOST_MS ? PAUSE_MOST_MS : (int64_t)ms;
}

/* What a message needs: it would pass at no time if it costs more than a bucket holds. */
static double needed(double units, long long burst)
{
    double nearly_full = (double)burst / 8 * 7;

    return units < nearly_full ? units : nearly_full;
}

int64_t cost_take(struct bucket *own, struct ip *ip, double units)
{
    double now = price(), due = now > 1 ? units * now : needed(units, config->ip_cost_burst), ms;

    ms = own ? wait_ms(own, needed(units, config->cost_burst), config->cost_rate, config->cost_burst) : 0;
    if (ms > 0)
        return refuse(ip, "COST_RATE", ms);
    ms = wait_ms(ip_cost(ip), due, config->ip_cost_rate, config->ip_cost_burst);
    if (ms > 0)
        return refuse(ip, "IP_COST_RATE", ms);
    cost_charge(own, ip, units);
    return 0;
}

void cost_charge(struct bucket *own, struct ip *ip, double units)
{
    if (own)
        own->tokens -= units;
    ip_cost(ip)->tokens -= units * price();
    all.tokens -= units;
    if (all.tokens < -OWED_MOST)
        all.tokens = -OWED_MOST;
}

struct metric *cost_counter(const char *dialect, const char *type)
{
    return metric_series(worth, dialect, type);
}

static void collect(void)
{
    metric_set(price_now, price());
}

void cost_init(void)
{
    all = bucket_full(SHARE_BURST, loop_ms());
    worth = metric_family(METRIC_COUNTER, "signalbox_cost_total",
                          "Units of 10 us that messages and requests were worth", "dialect type");
    refused = metric_family(METRIC_COUNTER, "signalbox_cost_refused_total",
                            "Messages and requests that were refused because of what they cost", "limit");
    metric_series(refused, "COST_RATE");
    metric_series(refused, "IP_COST_RATE");
    price_now =
        metric_gauge("signalbox_cost_price", "What a unit costs an address; over 1: all want too much together");
    metrics_on_collect(collect);
}
