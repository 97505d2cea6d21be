/* SPDX-License-Identifier: MIT */
#include "signalbox/redis_greeting.h"

#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/redis_connection.h"
#include "signalbox/resp.h"

#define STEPS_MAX 6

struct step {
    struct wire_request request;
    struct greeting *greeting;
    void (*judge)(struct greeting *g, const redisReply *r);
};

struct greeting {
    const struct redis_connection *connection;
    greeting_callback callback; /* NULL: nobody waits any more */
    void *arg;
    size_t count, unanswered;
    struct step steps[STEPS_MAX];
    char run_id[RUN_ID_MAX];
    char error[REDIS_PROBLEM_MAX]; /* the last answer, if it was one */
};

static void tell_all(struct greeting *g, const struct greeted *greeted)
{
    greeting_callback callback = g->callback;

    g->callback = NULL;
    if (callback)
        callback(greeted, g->arg);
}

static void tell(struct greeting *g, const char *problem)
{
    tell_all(g, &(struct greeted){problem, g->run_id, NULL});
}

/* --- what the answers mean --- */

static void refuse_error(struct greeting *g, const redisReply *r)
{
    if (r->type == REDIS_REPLY_ERROR)
        tell(g, redis_login_hide(&g->connection->login, r->str));
}

static void ignore(struct greeting *g, const redisReply *r)
{
    (void)g, (void)r;
}

static void refuse_replica(struct greeting *g, const redisReply *r)
{
    bool told = r->elements >= 3 && r->element[1]->type == REDIS_REPLY_STRING &&
                r->element[2]->type == REDIS_REPLY_INTEGER && r->element[2]->integer > 0 &&
                r->element[2]->integer <= UINT16_MAX;
    struct redis_place master = {0};
    char problem[REDIS_PROBLEM_MAX] = "it is a replica";

    if (told) {
        master = (struct redis_place){.host = r->element[1]->str, .port = (int)r->element[2]->integer};
        snprintf(problem, sizeof(problem), "it is a replica of %.180s:%d", master.host, master.port);
    }
    tell_all(g, &(struct greeted){problem, g->run_id, told ? &master : NULL});
}

/* A user that may not ask is no error: then the first write tells. */
static void judge_role(struct greeting *g, const redisReply *r)
{
    const char *role = r->type == REDIS_REPLY_ARRAY && r->elements > 0 && r->element[0]->type == REDIS_REPLY_STRING
                           ? r->element[0]->str
                           : NULL;

    if (!role)
        return;
    if (g->connection->sentinel && strcmp(role, "sentinel") != 0)
        tell(g, "it is no Sentinel");
    else if (!g->connection->sentinel && strcmp(role, "sentinel") == 0)
        tell(g, "it is a Sentinel: REDIS_URL is to begin with redis+sentinel://");
    else if (strcmp(role, "slave") == 0)
        refuse_replica(g, r);
}

static void judge_process(struct greeting *g, const redisReply *r)
{
    static const char field[] = "\nrun_id:";
    const char *at = r->type == REDIS_REPLY_STRING ? strstr(r->str, field) : NULL;

    if (!at)
        return;
    if (strstr(r->str, "\nredis_mode:cluster") || strstr(r->str, "\nserver_mode:cluster")) /* of Redis, of Valkey */
        tell(g, "it is a node of a cluster, which is not served");
    at += strlen(field);
    snprintf(g->run_id, sizeof(g->run_id), "%.*s", (int)strcspn(at, "\r\n"), at);
}

static void judge_ping(struct greeting *g, const redisReply *r)
{
    refuse_error(g, r);
    tell(g, r->type == REDIS_REPLY_STATUS && strcmp(r->str, "PONG") == 0 ? NULL : "it does not answer as Redis does");
}

/* --- the steps --- */

static void on_answer(struct wire_request *q, const redisReply *r)
{
    struct step *step = (struct step *)q;
    struct greeting *g = step->greeting;

    if (r && g->callback) {
        snprintf(g->error, sizeof(g->error), "%s",
                 r->type == REDIS_REPLY_ERROR ? redis_login_hide(&g->connection->login, r->str) : "");
        step->judge(g, r);
    }
    if (--g->unanswered == 0)
        free(g);
}

static void say(struct greeting *g, void (*judge)(struct greeting *g, const redisReply *r), size_t count,
                const struct span *words)
{
    struct step *step = &g->steps[g->count++];
    struct builder w = resp_command(count, words);

    *step = (struct step){.request = {.answered = on_answer}, .greeting = g, .judge = judge};
    g->unanswered++;
    wire_send(g->connection->wire, bytes_span(w.bytes), &step->request);
    builder_free(&w);
}

static void say_who_we_are(struct greeting *g)
{
    const struct redis_login *l = &g->connection->login;
    char db[12];

    if (l->password && l->user)
        say(g, refuse_error, 3, (struct span[]){SPAN("AUTH"), span_of(l->user), span_of(l->password)});
    else if (l->password)
        say(g, refuse_error, 2, (struct span[]){SPAN("AUTH"), span_of(l->password)});
    snprintf(db, sizeof(db), "%d", g->connection->db);
    if (g->connection->db)
        say(g, refuse_error, 2, (struct span[]){SPAN("SELECT"), span_of(db)});
    say(g, ignore, 3, (struct span[]){SPAN("CLIENT"), SPAN("SETNAME"), span_of(g->connection->client_name)});
}

/* The answer to PING comes last, and counts: Redis may be loading, or want a password. */
struct greeting *greeting_begin(const struct redis_connection *c, greeting_callback callback, void *arg)
{
    struct greeting *g = mem_alloc(sizeof(*g));

    *g = (struct greeting){.connection = c, .callback = callback, .arg = arg};
    say_who_we_are(g);
    say(g, judge_role, 1, (struct span[]){SPAN("ROLE")});
    say(g, judge_process, 2, (struct span[]){SPAN("INFO"), SPAN("server")});
    say(g, judge_ping, 1, (struct span[]){SPAN("PING")});
    return g;
}

const char *greeting_error(const struct greeting *g)
{
    return g->error;
}

void greeting_end(struct greeting **g)
{
    if (*g)
        (*g)->callback = NULL;
    *g = NULL;
}
