/* SPDX-License-Identifier: MIT */
/* limits: token buckets, and what one client address may have of this worker (docs/design.md, "Limits"). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    double tokens;
    int64_t filled_ms;
};
struct bucket bucket_full(long long burst, int64_t now_ms);
/* What is in it now. Whoever takes more leaves it with less than nothing. */
double bucket_level(struct bucket *b, long long rate, long long burst, int64_t now_ms);
/* Takes one token of a bucket that fills by rate a second up to burst; rate 0: always true. */
bool bucket_take(struct bucket *b, long long rate, long long burst, int64_t now_ms);

#define IP_TEXT_MAX 46

/* The client's address: the socket's, or behind TRUSTED_PROXIES the right-most entry of forwarded_for
   (the X-Forwarded-For header, or NULL) that is not itself a trusted proxy. */
void client_ip(const char *socket_ip, const char *forwarded_for, char out[static IP_TEXT_MAX]);

bool ip_is_proxy(const char *ip);      /* in TRUSTED_PROXIES */
bool ip_sees_status(const char *text); /* in STATUS_ALLOW; false: it was counted, and logged as the refusals below */

/* A client's address, or the range of IPv6 that it is in (IP_PREFIX_V6): what counts for one counts for all of it. */
struct ip;
struct ip *ip_find(const char *text); /* borrowed until the callback returns, unless it is held */
void ip_hold(struct ip *ip);
void ip_let_go(struct ip *ip);
#define IP_RANGE_MAX (IP_TEXT_MAX + 4)
const char *ip_range(const struct ip *ip); /* "192.0.2.7", "2001:db8:1:2::/64": the same for all that are in it */

struct bucket *ip_cost(struct ip *ip); /* of IP_COST_RATE; borrowed as it is */

/* The first refusal in a second is logged. */
void ip_tell(struct ip *ip, const char *limit); /* logs that it is over that limit */
bool ip_connect(const char *ip);                /* counts a new connection; false: over IP_CONNECT_RATE */
bool ip_request(const char *ip);                /* counts an HTTP request; false: over HTTP_RATE */
bool ip_open(const char *ip);                   /* false: IP_CONNECTIONS_MAX are open. Give it back with ip_close() */
void ip_close(const char *ip);

/* Whether something may be looked up for it that may not be there: a miss is left (MISS_RATE), and not too many are
   under way. If so, ip_looked_up() is due, once. What was missed while others were looked up is owed. */
bool ip_look_up(struct ip *ip);
void ip_looked_up(struct ip *ip, bool missed);

void limits_init(void);
void limits_fini(void);
