/* SPDX-License-Identifier: MIT */
#include "signalbox/doctor_client.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/bytes.h"
#include "signalbox/keys.h"
#include "signalbox/redis_connection.h"

#define PATIENCE_SECONDS 3
#define WORDS_MAX 16

static bool fail(const struct doctor_client *c, char problem[static 256], const char *what, const char *why)
{
    const struct redis_target *t = c->target;

    why = redis_target_hide(t, why);
    if (t->path)
        snprintf(problem, 256, "Redis at %.100s %s: %.100s", t->path, what, why);
    else
        snprintf(problem, 256, "Redis at %.80s:%d %s: %.100s", t->host, t->port, what, why);
    return false;
}

bool doctor_client_lost(const struct doctor_client *c, char problem[static 256])
{
    const redisContext *redis = c->context;

    if (!redis)
        fail(c, problem, "cannot be reached", "out of memory");
    else if (redis->err)
        fail(c, problem, "cannot be reached",
             strcmp(redis->errstr, strerror(EAGAIN)) == 0 ? "no answer in time" : redis->errstr);
    return !redis || redis->err;
}

/* One step of the greeting. A right that is missing does not end it. */
static bool greet(struct doctor_client *c, redisReply *r, const char *what, char problem[static 256])
{
    bool ok = true;

    if (!r)
        return !doctor_client_lost(c, problem);
    if (r->type == REDIS_REPLY_ERROR && strncmp(r->str, "NOPERM", 6) != 0)
        ok = fail(c, problem, what, r->str);
    freeReplyObject(r);
    return ok;
}

bool doctor_client_open(struct doctor_client *c, const struct redis_target *t, char problem[static 256])
{
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    redisContext *redis;

    *c = (struct doctor_client){.target = t};
    snprintf(c->id, sizeof(c->id), "check-%08x", (unsigned)randombytes_random());
    redis = c->context =
        t->path ? redisConnectUnixWithTimeout(t->path, patience) : redisConnectWithTimeout(t->host, t->port, patience);
    if (doctor_client_lost(c, problem))
        return false;
    redisSetTimeout(redis, patience);
    if (t->password && t->user &&
        !greet(c, redisCommand(redis, "AUTH %s %s", t->user, t->password), "refuses the user", problem))
        return false;
    if (t->password && !t->user &&
        !greet(c, redisCommand(redis, "AUTH %s", t->password), "refuses the password", problem))
        return false;
    if (t->db && !greet(c, redisCommand(redis, "SELECT %d", t->db), "refuses the database", problem))
        return false;
    return greet(c, redisCommand(redis, "PING"), "does not serve us", problem);
}

void doctor_client_close(struct doctor_client *c)
{
    free(c->info);
    if (c->context)
        redisFree(c->context);
    *c = (struct doctor_client){0};
}

static const struct {
    const char *word;
    void (*make)(char out[static KEY_MAX], const char *id);
} names[] = {{"KEY", key_check},   {"OTHER", key_check_other}, {"LEASE", key_worker},
             {"INBOX", key_inbox}, {"PRESENCE", key_presence}, {"ROOM", key_room_channel}};

/* A word as it is sent; the caller frees it. */
static char *spell(const struct doctor_client *c, struct span word)
{
    char name[KEY_MAX];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!span_is(word, names[i].word))
            continue;
        names[i].make(name, c->id);
        return mem_dup(name);
    }
    return span_dup(word);
}

struct redisReply *doctor_client_ask(struct doctor_client *c, const char *words)
{
    char *spelled[WORDS_MAX];
    int count = 0;
    redisReply *r;

    while (*words && count < WORDS_MAX) {
        size_t len = strcspn(words, " ");

        spelled[count++] = spell(c, (struct span){words, len});
        words += len + (words[len] == ' ');
    }
    r = c->context->err ? NULL : redisCommandArgv(c->context, count, (const char **)spelled, NULL);
    while (count > 0)
        free(spelled[--count]);
    return r;
}

bool doctor_client_refused(struct doctor_client *c, const char *words, char error[static DOCTOR_VALUE_MAX])
{
    redisReply *r = doctor_client_ask(c, words);
    bool refused = r && r->type == REDIS_REPLY_ERROR;

    if (refused)
        snprintf(error, DOCTOR_VALUE_MAX, "%s", r->str);
    freeReplyObject(r);
    return refused;
}

static void read_info(struct doctor_client *c)
{
    redisReply *r = doctor_client_ask(c, "INFO");

    c->info = mem_dup(r && r->type == REDIS_REPLY_STRING ? r->str : "");
    freeReplyObject(r);
}

bool doctor_client_info(struct doctor_client *c, const char *field, char value[static DOCTOR_VALUE_MAX])
{
    size_t len = strlen(field);

    if (!c->info)
        read_info(c);
    for (const char *at = c->info; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        if (strncmp(at, field, len) != 0 || at[len] != ':')
            continue;
        at += len + 1;
        snprintf(value, DOCTOR_VALUE_MAX, "%.*s", (int)strcspn(at, "\r\n"), at);
        return true;
    }
    return false;
}

bool doctor_client_config(struct doctor_client *c, const char *name, char value[static DOCTOR_VALUE_MAX])
{
    char words[64];
    redisReply *r;
    bool known;

    snprintf(words, sizeof(words), "CONFIG GET %s", name);
    r = doctor_client_ask(c, words);
    known = r && r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[1]->str;
    if (known)
        snprintf(value, DOCTOR_VALUE_MAX, "%s", r->element[1]->str);
    freeReplyObject(r);
    return known;
}

bool doctor_client_setting(struct doctor_client *c, const char *field, const char *name,
                           char value[static DOCTOR_VALUE_MAX])
{
    return doctor_client_info(c, field, value) || doctor_client_config(c, name, value);
}

char *doctor_client_user(struct doctor_client *c)
{
    redisReply *r = doctor_client_ask(c, "ACL WHOAMI");
    const char *given = c->target->user ? c->target->user : "default";
    char *user = mem_dup(r && r->type == REDIS_REPLY_STRING ? r->str : given);

    freeReplyObject(r);
    return user;
}
