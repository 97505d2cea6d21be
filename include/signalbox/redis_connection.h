/* SPDX-License-Identifier: MIT */
/* redis_connection: one connection to Redis, or to a Sentinel, that is built anew whenever it is lost. Used by redis/
   alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "signalbox/redis_target.h"
#include "signalbox/wire.h"

#define REDIS_PROBLEM_MAX 256
#define RUN_ID_MAX 64

struct redis_connection {
    const char *name; /* for logs: "commands", "urgent", "subscriber", "sentinel" */
    const char *client_name;
    struct redis_login login; /* borrowed */
    int db;
    bool tls;
    bool sentinel; /* it is one; else it has to be a master */
    bool follows;  /* a replica's word on where its master is, which may be faster than that of the Sentinels */
    void (*on_up)(struct redis_connection *c);   /* greeted: commands can be sent */
    void (*on_down)(struct redis_connection *c); /* after it was up; what is unanswered is told so later. May be NULL */
    void (*on_message)(const struct redisReply *r, void *connection); /* of a channel; may be NULL */
    /* to read */
    bool up;
    char problem[REDIS_PROBLEM_MAX]; /* why it is not up; "": nothing has gone wrong yet */
    char run_id[RUN_ID_MAX];         /* of the server's process, the last that was up; "": it does not say */
    /* private */
    struct redis_place place, followed; /* followed: what a replica there has named; host NULL: none has */
    struct wire_owner owner;
    struct wire *wire;
    struct greeting *greeting;
    struct lookup *lookup;
    struct addrinfo *addresses, *next_address; /* of the host; those that are yet to be tried */
    struct timer *retry, *patience;
    int64_t backoff_ms, up_ms;
    bool started;
    bool dropped; /* since it last tried */
    unsigned connects;
    char told[2][REDIS_PROBLEM_MAX]; /* the last problems that were logged since it was up */
    LIST_ENTRY(redis_connection) all;
};

bool redis_connection_is_at(const struct redis_connection *c, const struct redis_place *place); /* and up */
/* Connects to that place from now on, at once. If it is connected to another, that is dropped. place is copied. */
void redis_connection_start(struct redis_connection *c, const struct redis_place *place);
/* The same, but it stays connected until it is dropped. */
void redis_connection_redirect(struct redis_connection *c, const struct redis_place *place);
/* Closes it now and connects again, with the address asked for anew; safe in any callback. */
void redis_connection_drop(struct redis_connection *c, const char *why);
/* Tries again at once, where it waits to and was not dropped. The next pause is as long as it would have been. */
void redis_connection_hurry(struct redis_connection *c);
void redis_connection_send(struct redis_connection *c, struct span resp, struct wire_request *q); /* while it is up */
void redis_connection_stop(struct redis_connection *c); /* for good; also if it never started */
void redis_connections_fini(void);                      /* after all were stopped */
