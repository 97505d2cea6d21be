/* SPDX-License-Identifier: MIT */
/* domain: one protocol, or one service, as a table of what the lower floors do for it. They walk `domains`. A new one
   is a folder of its own and a row in worker/domains.c. */
#pragma once

#include <stdbool.h>

struct schedule;
struct entry_kind;
struct http_route;
struct session;
struct socket_path;

/* A number of this worker that its hash in Redis shows under that name with each beat, for the statistics. */
struct domain_metric {
    const char *name;
    long long (*read)(void);
};

/* Whatever is NULL there is none of. Lists of pointers end with NULL, other tables with an empty row. */
struct domain {
    const char *name;                       /* in PROTOCOLS; NULL: it is served whatever that says */
    const struct socket_path *paths;        /* of WebSockets */
    const struct http_route *const *routes; /* tables of them */
    const struct entry_kind *const *kinds;  /* of entries that its sockets own */
    const struct schedule *const *schedules;
    void (*const *jobs)(void);                 /* the leader runs them every 10 s */
    const struct domain_metric *metrics;       /* up to 4 of all domains */
    void (*on_redis_up)(void);                 /* each time that Redis turns up */
    void (*on_session_end)(struct session *s); /* once for each session, before it is freed */
    void (*init)(void);                        /* before Redis is connected, and before anybody else is */
    void (*fini)(void);                        /* after all connections have ended */
};
extern const struct domain *const domains[];

/* The domain is not left out of PROTOCOLS: its paths and routes are served. */
bool domain_is_served(const struct domain *d);
/* false: PROTOCOLS has a name that no domain has, or none at all without being empty, which the problem says. */
bool domains_check(char problem[static 256]) __attribute__((warn_unused_result));

/* Each calls that of all domains. */
void domains_init(void);
void domains_fini(void);
void domains_redis_up(void);
void domains_session_end(struct session *s);
