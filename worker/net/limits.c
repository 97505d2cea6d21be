/* SPDX-License-Identifier: MIT */
#include "signalbox/limits.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "signalbox/bytes.h"
#include "signalbox/cidr.h"
#include "signalbox/config.h"
#include "signalbox/loop.h"

#define SWEEP_INTERVAL_MS 10000

struct ip {
    char text[IP_TEXT_MAX];
    struct bucket connects;
    long long sockets;
    UT_hash_handle hh;
};

static struct ip *ips;
static struct cidr_list *trusted;

struct bucket bucket_full(long long burst, int64_t now_ms)
{
    return (struct bucket){(double)burst, now_ms};
}

bool bucket_take(struct bucket *b, long long rate, long long burst, int64_t now_ms)
{
    if (rate == 0)
        return true;
    b->tokens += (double)(now_ms - b->filled_ms) * (double)rate / 1000;
    b->filled_ms = now_ms;
    if (b->tokens > (double)burst)
        b->tokens = (double)burst;
    if (b->tokens < 1)
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
    while (begin < len && (text[begin] == ' ' || text[begin] == '\t'))
        begin++;
    while (len > begin && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    return (struct span){text + begin, len - begin};
}

/* Copies an address without port and brackets; one that came mapped into IPv6 is the same client's as IPv4.
   false: it is none, and out stays as it was. */
static bool copy_ip(struct span ip, char out[static IP_TEXT_MAX])
{
    const char *colon = memchr(ip.at, ':', ip.len), *bracket = memchr(ip.at, ']', ip.len);
    unsigned char parsed[sizeof(struct in6_addr)];
    char text[IP_TEXT_MAX];

    if (ip.len > 0 && *ip.at == '[' && bracket)
        ip = (struct span){ip.at + 1, (size_t)(bracket - ip.at - 1)};
    else if (colon && !memchr(colon + 1, ':', (size_t)(ip.at + ip.len - colon - 1)))
        ip.len = (size_t)(colon - ip.at);
    if (ip.len > 7 && strncasecmp(ip.at, "::ffff:", 7) == 0 && memchr(ip.at, '.', ip.len))
        ip = (struct span){ip.at + 7, ip.len - 7};
    if (ip.len >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)ip.len, ip.at);
    if (inet_pton(AF_INET, text, parsed) == 1)
        return inet_ntop(AF_INET, parsed, out, IP_TEXT_MAX) != NULL;
    return inet_pton(AF_INET6, text, parsed) == 1 && inet_ntop(AF_INET6, parsed, out, IP_TEXT_MAX) != NULL;
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

static struct ip *find_or_add(const char *text)
{
    struct ip *ip;

    HASH_FIND_STR(ips, text, ip);
    if (!ip) {
        ip = mem_alloc(sizeof(*ip));
        snprintf(ip->text, sizeof(ip->text), "%s", text);
        ip->connects = bucket_full(config->ip_connect_burst, loop_ms());
        HASH_ADD_STR(ips, text, ip);
    }
    return ip;
}

bool ip_connect(const char *ip)
{
    return bucket_take(&find_or_add(ip)->connects, config->ip_connect_rate, config->ip_connect_burst, loop_ms());
}

bool ip_open_socket(const char *text)
{
    struct ip *ip = find_or_add(text);

    if (config->ip_connections_max > 0 && ip->sockets >= config->ip_connections_max)
        return false;
    ip->sockets++;
    return true;
}

void ip_close_socket(const char *text)
{
    find_or_add(text)->sockets--;
}

/* An address without sockets whose bucket is full again is as good as never seen. */
static void forget_idle(void *arg)
{
    long long full_after_ms = config->ip_connect_rate ? config->ip_connect_burst * 1000 / config->ip_connect_rate : 0;
    struct ip *ip, *next;

    (void)arg;
    HASH_ITER (hh, ips, ip, next) {
        if (ip->sockets == 0 && loop_ms() - ip->connects.filled_ms >= full_after_ms) {
            HASH_DEL(ips, ip);
            free(ip);
        }
    }
}

void limits_init(void)
{
    trusted = cidr_parse(config->trusted_proxies);
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
    trusted = NULL;
}
