/* SPDX-License-Identifier: MIT */
/* doctor_client: a connection to Redis that blocks, for looking at it before there is a loop. Redis has 3 seconds for
   an answer; once one is late or the connection is lost, every further command fails at once. Used by doctor/ alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct redis_login;
struct redis_place;
struct redisReply;
struct doctor_sentinels;
struct doctor_socket;

#define DOCTOR_VALUE_MAX 256

struct doctor_client {
    const char *what;                /* "Redis" or "Sentinel" */
    const struct redis_place *place; /* borrowed, as the next two */
    const struct redis_login *login;
    const struct doctor_sentinels *sentinels; /* that named it; NULL: none */
    bool tls;
    int db;
    /* private */
    struct doctor_socket *socket;
    char id[16]; /* of the keys and channels it tries */
    char *info;  /* the answer to INFO; NULL: not asked yet; empty: refused */
};

/* Connects and says who it is, as a worker does; false: problem says why not, and never shows the password. Closed with
   doctor_client_close() either way. */
bool doctor_client_open(struct doctor_client *c, const struct redis_place *place, const struct redis_login *login,
                        bool tls, char problem[static 256]) __attribute__((warn_unused_result));
/* Chooses the database, and sees whether it is served. A user who may not PING or SELECT gets in: that is for
   rights_of() to say. */
bool doctor_client_begin(struct doctor_client *c, int db, char problem[static 256]) __attribute__((warn_unused_result));
void doctor_client_close(struct doctor_client *c);
bool doctor_client_lost(const struct doctor_client *c, char problem[static 256]); /* the connection is of no more use */

/* Sends the words, separated by one space each, and waits. KEY, OTHER, LEASE, INBOX, PRESENCE and ROOM stand for names
   as a worker uses them, which nobody else has; SCHEMA, MIGRATION, WORKERS, LEADER, POLICY and POOL for those that all
   have. The caller frees the reply; NULL: the connection is lost. */
struct redisReply *doctor_client_ask(struct doctor_client *c, const char *words) __attribute__((warn_unused_result));
/* What Redis has against these words; false: nothing, or the connection is lost. */
bool doctor_client_refused(struct doctor_client *c, const char *words, char error[static DOCTOR_VALUE_MAX])
    __attribute__((warn_unused_result));

/* One setting or figure, cut to DOCTOR_VALUE_MAX; false: it cannot be read. */
bool doctor_client_info(struct doctor_client *c, const char *field, char value[static DOCTOR_VALUE_MAX])
    __attribute__((warn_unused_result));
bool doctor_client_config(struct doctor_client *c, const char *name, char value[static DOCTOR_VALUE_MAX])
    __attribute__((warn_unused_result));
/* From INFO, or else from CONFIG, which hosted services often forbid. */
bool doctor_client_setting(struct doctor_client *c, const char *field, const char *name,
                           char value[static DOCTOR_VALUE_MAX]) __attribute__((warn_unused_result));

/* The user that the connection has; the caller frees it. It may not ask for it: the one of the URL, or default. */
char *doctor_client_user(struct doctor_client *c);
