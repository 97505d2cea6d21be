/* SPDX-License-Identifier: MIT */
#include "signalbox/probe.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/bytes.h"
#include "signalbox/keys.h"
#include "signalbox/link.h"

#define PATIENCE_SECONDS 3
#define WORDS_MAX 16

static bool fail(const struct probe *p, char problem[static 256], const char *what, const char *why)
{
    const struct redis_target *t = p->target;

    why = redis_target_hide(t, why);
    if (t->path)
        snprintf(problem, 256, "Redis at %.100s %s: %.100s", t->path, what, why);
    else
        snprintf(problem, 256, "Redis at %.80s:%d %s: %.100s", t->host, t->port, what, why);
    return false;
}

bool probe_lost(const struct probe *p, char problem[static 256])
{
    const redisContext *c = p->context;

    if (!c)
        fail(p, problem, "cannot be reached", "out of memory");
    else if (c->err)
        fail(p, problem, "cannot be reached",
             strcmp(c->errstr, strerror(EAGAIN)) == 0 ? "no answer in time" : c->errstr);
    return !c || c->err;
}

/* One step of the greeting. A right that is missing does not end it. */
static bool greet(struct probe *p, redisReply *r, const char *what, char problem[static 256])
{
    bool ok = true;

    if (!r)
        return !probe_lost(p, problem);
    if (r->type == REDIS_REPLY_ERROR && strncmp(r->str, "NOPERM", 6) != 0)
        ok = fail(p, problem, what, r->str);
    freeReplyObject(r);
    return ok;
}

bool probe_open(struct probe *p, const struct redis_target *t, char problem[static 256])
{
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    redisContext *c;

    *p = (struct probe){.target = t};
    snprintf(p->id, sizeof(p->id), "check-%08x", (unsigned)randombytes_random());
    c = p->context =
        t->path ? redisConnectUnixWithTimeout(t->path, patience) : redisConnectWithTimeout(t->host, t->port, patience);
    if (probe_lost(p, problem))
        return false;
    redisSetTimeout(c, patience);
    if (t->password && t->user &&
        !greet(p, redisCommand(c, "AUTH %s %s", t->user, t->password), "refuses the user", problem))
        return false;
    if (t->password && !t->user && !greet(p, redisCommand(c, "AUTH %s", t->password), "refuses the password", problem))
        return false;
    if (t->db && !greet(p, redisCommand(c, "SELECT %d", t->db), "refuses the database", problem))
        return false;
    return greet(p, redisCommand(c, "PING"), "does not serve us", problem);
}

void probe_close(struct probe *p)
{
    free(p->info);
    if (p->context)
        redisFree(p->context);
    *p = (struct probe){0};
}

static const struct {
    const char *word;
    void (*make)(char out[static KEY_MAX], const char *id);
} names[] = {{"KEY", key_check},   {"OTHER", key_check_other}, {"LEASE", key_worker},
             {"INBOX", key_inbox}, {"PRESENCE", key_presence}, {"ROOM", key_room_channel}};

/* A word as it is sent; the caller frees it. */
static char *spell(const struct probe *p, struct span word)
{
    char name[KEY_MAX];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!span_is(word, names[i].word))
            continue;
        names[i].make(name, p->id);
        return mem_dup(name);
    }
    return span_dup(word);
}

struct redisReply *probe_ask(struct probe *p, const char *words)
{
    char *spelled[WORDS_MAX];
    int count = 0;
    redisReply *r;

    while (*words && count < WORDS_MAX) {
        size_t len = strcspn(words, " ");

        spelled[count++] = spell(p, (struct span){words, len});
        words += len + (words[len] == ' ');
    }
    r = p->context->err ? NULL : redisCommandArgv(p->context, count, (const char **)spelled, NULL);
    while (count > 0)
        free(spelled[--count]);
    return r;
}

bool probe_refused(struct probe *p, const char *words, char error[static PROBE_VALUE_MAX])
{
    redisReply *r = probe_ask(p, words);
    bool refused = r && r->type == REDIS_REPLY_ERROR;

    if (refused)
        snprintf(error, PROBE_VALUE_MAX, "%s", r->str);
    freeReplyObject(r);
    return refused;
}

static void read_info(struct probe *p)
{
    redisReply *r = probe_ask(p, "INFO");

    p->info = mem_dup(r && r->type == REDIS_REPLY_STRING ? r->str : "");
    freeReplyObject(r);
}

bool probe_info(struct probe *p, const char *field, char value[static PROBE_VALUE_MAX])
{
    size_t len = strlen(field);

    if (!p->info)
        read_info(p);
    for (const char *at = p->info; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        if (strncmp(at, field, len) != 0 || at[len] != ':')
            continue;
        at += len + 1;
        snprintf(value, PROBE_VALUE_MAX, "%.*s", (int)strcspn(at, "\r\n"), at);
        return true;
    }
    return false;
}

bool probe_config(struct probe *p, const char *name, char value[static PROBE_VALUE_MAX])
{
    char words[64];
    redisReply *r;
    bool known;

    snprintf(words, sizeof(words), "CONFIG GET %s", name);
    r = probe_ask(p, words);
    known = r && r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[1]->str;
    if (known)
        snprintf(value, PROBE_VALUE_MAX, "%s", r->element[1]->str);
    freeReplyObject(r);
    return known;
}

bool probe_setting(struct probe *p, const char *field, const char *name, char value[static PROBE_VALUE_MAX])
{
    return probe_info(p, field, value) || probe_config(p, name, value);
}

char *probe_user(struct probe *p)
{
    redisReply *r = probe_ask(p, "ACL WHOAMI");
    const char *given = p->target->user ? p->target->user : "default";
    char *user = mem_dup(r && r->type == REDIS_REPLY_STRING ? r->str : given);

    freeReplyObject(r);
    return user;
}
