/* SPDX-License-Identifier: MIT */
/* redis_connection: one connection to Redis that is built anew whenever it is lost. Used by redis/ alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct redisAsyncContext;

/* Where Redis is: read once from REDIS_URL. */
struct redis_target {
    char *host;            /* NULL for a Unix socket */
    char *path;            /* NULL for TCP */
    char *user, *password; /* NULL where there is none; wiped by redis_target_free() */
    int port, db;
};
bool redis_target_parse(struct redis_target *t, const char *url, char problem[static 256])
    __attribute__((warn_unused_result));
void redis_target_free(struct redis_target *t);
/* An error of Redis, or another text where it repeats the password, as it repeats the words of a command that it does
   not know. Borrowed. */
const char *redis_target_hide(const struct redis_target *t, const char *error);

struct redis_connection {
    const char *name; /* for logs: "commands", "subscriber" */
    const char *client_name;
    void (*on_up)(struct redis_connection *c);   /* authenticated, database chosen, Redis not loading */
    void (*on_down)(struct redis_connection *c); /* after it was up */
    /* private */
    const struct redis_target *target;
    struct redisAsyncContext *context;
    struct timer *retry, *patience;
    struct evdns_getaddrinfo_request *lookup;
    int asked_server;
    int64_t backoff_ms, up_ms;
    bool up, stopped, write_wanted, flushing;
    LIST_ENTRY(redis_connection) all;
    unsigned connects;
};
void redis_connection_start(struct redis_connection *c, const struct redis_target *target);
void redis_connection_drop(struct redis_connection *c,
                           const char *why); /* closes it now and connects again; safe in any callback */
void subscriber_init(const struct redis_target *target, const char *client_name); /* for redis/client.c */
void subscriber_fini(void);
void redis_connection_stop(struct redis_connection *c); /* for good */
void redis_connections_fini(void);                      /* after all were stopped */
