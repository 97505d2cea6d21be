/* SPDX-License-Identifier: MIT */
/* probe: a connection to Redis that blocks, for looking at it before there is a loop. An answer has 3 seconds; once one
   is late or the connection is lost, every further command fails at once. Used by redis/ alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct redis_target;
struct redisContext;
struct redisReply;

#define PROBE_VALUE_MAX 256

struct probe {
    const struct redis_target *target;
    /* private */
    struct redisContext *context;
    char id[16]; /* of the keys and channels it tries */
    char *info;  /* the answer to INFO; NULL: not asked yet; empty: refused */
};

/* Connects and says who it is, as a worker does; false: problem says why not, and never shows the password. A user who
   may not PING or SELECT gets in: that is for rights_of() to say. Closed with probe_close() either way. */
bool probe_open(struct probe *p, const struct redis_target *target, char problem[static 256])
    __attribute__((warn_unused_result));
void probe_close(struct probe *p);
bool probe_lost(const struct probe *p, char problem[static 256]); /* the connection is of no more use */

/* Sends the words, separated by one space each, and waits. KEY, OTHER, LEASE, INBOX, PRESENCE and ROOM stand for names
   as a worker uses them, which nobody else has. The caller frees the reply; NULL: the connection is lost. */
struct redisReply *probe_ask(struct probe *p, const char *words) __attribute__((warn_unused_result));
/* What Redis has against these words; false: nothing, or the connection is lost. */
bool probe_refused(struct probe *p, const char *words, char error[static PROBE_VALUE_MAX])
    __attribute__((warn_unused_result));

/* One setting or figure, cut to PROBE_VALUE_MAX; false: it cannot be read. */
bool probe_info(struct probe *p, const char *field, char value[static PROBE_VALUE_MAX])
    __attribute__((warn_unused_result));
bool probe_config(struct probe *p, const char *name, char value[static PROBE_VALUE_MAX])
    __attribute__((warn_unused_result));
/* From INFO, or else from CONFIG, which hosted services often forbid. */
bool probe_setting(struct probe *p, const char *field, const char *name, char value[static PROBE_VALUE_MAX])
    __attribute__((warn_unused_result));

/* The user that the connection has; the caller frees it. It may not ask for it: the one of the URL, or default. */
char *probe_user(struct probe *p);
