/* SPDX-License-Identifier: MIT */
#include "signalbox/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "signalbox/bytes.h"
#include "signalbox/cidr.h"
#include "signalbox/config.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"

#define SWEEP_INTERVAL_MS 10000
#define TELL_INTERVAL_MS 1000
#define ANY_RANGE "0.0.0.0/0, ::/0"
#define PRIVATE_RANGES "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 127.0.0.0/8, 100.64.0.0/10, ::1, fc00::/7, fe80::/10"
#define LOOK_UPS_MAX 256 /* under way for one address; as many misses it may owe */

struct ip {
    char range[IP_RANGE_MAX];
    unsigned holds;
    struct bucket connects, requests, cost, misses;
    long long connections, look_ups;
    int64_t told_ms; /* in the log that it is over a limit */
    UT_hash_handle hh;
};

static struct ip *ips;
static struct cidr_list *trusted, *status_readers;
static struct metric *status_refused, *guesses;

struct bucket bucket_full(long long burst, int64_t now_ms)
{
    return (struct bucket){(double)burst, now_ms};
}

double bucket_level(struct bucket *b, long long rate, long long burst, int64_t now_ms)
{
    b->tokens += (double)(now_ms - b->filled_ms) * (double)rate / 1000;
    b->filled_ms = now_ms;
    if (b->tokens > (double)burst)
        b->tokens = (double)burst;
    return b->tokens;
}

bool bucket_take(struct bucket *b, long long rate, long long burst, int64_t now_ms)
{
    if (rate == 0)
        return true;
    if (bucket_level(b, rate, burst, now_ms) < 1)
        return false;
    b->tokens -= 1;
    return true;
}

/* The last entry of the list in text[0..len), without white space. */
static struct span last_entry(const char *text, size_t len)
{
    size_t begin = len;

    while (begin > 0 && text[begin - 1] != ',')
        begin--;
    return span_trim((struct span){text + begin, len - begin});
}

/* Copies an address without port and brackets; one that came mapped into IPv6 is the same client's as IPv4.
   false: it is none, and out stays as it was. */
static bool copy_ip(struct span ip, char out[static IP_TEXT_MAX])
{
    const char *colon = memchr(ip.at, ':', ip.len), *bracket = memchr(ip.at, ']', ip.len);
    char text[IP_TEXT_MAX];

    if (ip.len > 0 && *ip.at == '[' && bracket)
        ip = (struct span){ip.at + 1, (size_t)(bracket - ip.at - 1)};
    else if (colon && !memchr(colon + 1, ':', (size_t)(ip.at + ip.len - colon - 1)))
        ip.len = (size_t)(colon - ip.at);
    if (ip.len >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)ip.len, ip.at);
    return address_text(text, out);
}

void client_ip(const char *socket_ip, const char *forwarded_for, char out[static IP_TEXT_MAX])
{
    size_t left = forwarded_for ? strlen(forwarded_for) : 0;

    if (!copy_ip(span_of(socket_ip), out))
        snprintf(out, IP_TEXT_MAX, "%s", socket_ip);
    while (left > 0 && cidr_contains(trusted, out)) {
        struct span entry = last_entry(forwarded_for, left);
        if (!copy_ip(entry, out))
            return;
        left = (size_t)(entry.at - forwarded_for);
        while (left > 0 && forwarded_for[left - 1] != ',')
            left--;
        left = left > 0 ? left - 1 : 0;
    }
}

struct ip *ip_find(const char *text)
{
    char range[IP_RANGE_MAX];
    struct ip *ip;

    address_range_text(text, (unsigned)config->ip_prefix_v6, range);
    HASH_FIND_STR(ips, range, ip);
    if (!ip) {
        ip = mem_alloc(sizeof(*ip));
        memcpy(ip->range, range, sizeof(range));
        ip->connects = bucket_full(config->ip_connect_burst, loop_ms());
        ip->requests = bucket_full(config->http_burst, loop_ms());
        ip->cost = bucket_full(config->ip_cost_burst, loop_ms());
        ip->misses = bucket_full(config->miss_burst, loop_ms());
        ip->told_ms = loop_ms() - TELL_INTERVAL_MS;
        HASH_ADD_STR(ips, range, ip);
    }
    return ip;
}

void ip_hold(struct ip *ip)
{
    ip->holds++;
}

void ip_let_go(struct ip *ip)
{
    ip->holds--;
}

const char *ip_range(const struct ip *ip)
{
    return ip->range;
}

struct bucket *ip_cost(struct ip *ip)
{
    return &ip->cost;
}

/* Once a second for each address: who is over a limit may be so thousands of times. */
static bool over(struct ip *ip, const char *limit, const char *text)
{
    if (loop_ms() - ip->told_ms >= TELL_INTERVAL_MS) {
        ip->told_ms = loop_ms();
        LOG_INFO("limit_hit", LOG_TEXT("limit", limit), LOG_TEXT("ip", text));
    }
    return false;
}

void ip_tell(struct ip *ip, const char *limit)
{
    over(ip, limit, ip->range);
}

bool ip_connect(const char *text)
{
    struct ip *ip = ip_find(text);

    return bucket_take(&ip->connects, config->ip_connect_rate, config->ip_connect_burst, loop_ms()) ||
           over(ip, "IP_CONNECT_RATE", text);
}

bool ip_request(const char *text)
{
    struct ip *ip = ip_find(text);

    return bucket_take(&ip->requests, config->http_rate, config->http_burst, loop_ms()) || over(ip, "HTTP_RATE", text);
}

bool ip_sees_status(const char *text)
{
    if (cidr_contains(status_readers, text))
        return true;
    metric_add(status_refused, 1);
    return over(ip_find(text), "STATUS_ALLOW", text);
}

bool ip_look_up(struct ip *ip)
{
    bool left =
        config->miss_rate == 0 || (bucket_level(&ip->misses, config->miss_rate, config->miss_burst, loop_ms()) >= 1 &&
                                   ip->look_ups < LOOK_UPS_MAX);

    if (!left) {
        metric_add(guesses, 1);
        return over(ip, "MISS_RATE", ip->range);
    }
    ip->look_ups++;
    return true;
}

void ip_looked_up(struct ip *ip, bool missed)
{
    ip->look_ups--;
    ip->misses.tokens -= missed;
}

bool ip_open(const char *text)
{
    struct ip *ip = ip_find(text);

    if (config->ip_connections_max > 0 && ip->connections >= config->ip_connections_max)
        return over(ip, "IP_CONNECTIONS_MAX", text);
    ip->connections++;
    return true;
}

void ip_close(const char *text)
{
    ip_find(text)->connections--;
}

bool ip_is_proxy(const char *text)
{
    return cidr_contains(trusted, text);
}

static bool is_full(struct bucket *b, long long rate, long long burst)
{
    return rate == 0 || bucket_level(b, rate, burst, loop_ms()) >= (double)burst;
}

/* An address that nobody holds and whose buckets are full again is as good as never seen. */
static void forget_idle(void *arg)
{
    struct ip *ip, *next;

    (void)arg;
    HASH_ITER (hh, ips, ip, next) {
        if (ip->connections == 0 && ip->holds == 0 &&
            is_full(&ip->connects, config->ip_connect_rate, config->ip_connect_burst) &&
            is_full(&ip->requests, config->http_rate, config->http_burst) &&
            is_full(&ip->cost, config->ip_cost_rate, config->ip_cost_burst) &&
            is_full(&ip->misses, config->miss_rate, config->miss_burst + LOOK_UPS_MAX)) {
            HASH_DEL(ips, ip);
            free(ip);
        }
    }
}

static const char *status_ranges(void)
{
    if (*config->status_allow)
        return config->status_allow;
    return config->environment == ENVIRONMENT_PRODUCTION ? PRIVATE_RANGES : ANY_RANGE;
}

void limits_init(void)
{
    guesses = metric_counter("signalbox_guesses_refused_total", "What was not looked up because of MISS_RATE");
    trusted = cidr_parse(config->trusted_proxies);
    status_readers = cidr_parse(status_ranges());
    status_refused = metric_counter("signalbox_status_refused_total", "Requests refused by STATUS_ALLOW");
    timer_every(SWEEP_INTERVAL_MS, forget_idle, NULL);
}

void limits_fini(void)
{
    struct ip *ip, *next;

    HASH_ITER (hh, ips, ip, next) {
        HASH_DEL(ips, ip);
        free(ip);
    }
    cidr_free(trusted);
    cidr_free(status_readers);
    trusted = status_readers = NULL;
}
