/* SPDX-License-Identifier: MIT */
#include "signalbox/sentinels.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/config.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/redis_connection.h"
#include "signalbox/resp.h"

#define ASK_MS 5000
#define HEAR_MS 500
#define ANSWER_LASTS_MS (3 * ASK_MS)

/* What one of them answered last. */
struct answer {
    struct redis_place master; /* host NULL: nothing yet */
    long long epoch;           /* of its configuration: the greatest is the newest */
    int64_t at_ms;
};

/* Two connections each: on one that has subscriptions nothing can be asked. */
struct sentinel {
    struct redis_connection asked, followed;
    struct answer answer;
    bool heard;
    long long epoch;                 /* the first half of an answer that is coming */
    char problem[REDIS_PROBLEM_MAX]; /* what it said in place of an answer; "": nothing */
};

struct question {
    struct wire_request request;
    struct sentinel *sentinel;
    void (*answered)(struct sentinel *s, const redisReply *r);
};

static const char *const events[] = {"+promoted-slave", "+switch-master"};

static struct sentinel *sentinels;
static size_t count;
static struct redis_login login;
static const char *master_name;
static struct redis_place master; /* host NULL: not known */
static long long master_epoch;    /* of the configuration that says so */
static bool (*master_callback)(const struct redis_place *place, bool sure);
static struct timer *ask_timer, *first_timer; /* the first master is awaited from all until first_timer has run */

static void note_problem(struct sentinel *s, const char *what, const char *why)
{
    char text[REDIS_PROBLEM_MAX];

    snprintf(text, sizeof(text), "%s: %.180s", what, why);
    if (strcmp(text, s->problem) != 0)
        LOG_WARNING("redis_unreachable", LOG_TEXT("connection", "sentinel"), LOG_TEXT("reason", text));
    memcpy(s->problem, text, sizeof(text));
}

/* --- who is the master --- */

/* Of those that have answered lately, the one that knows the newest configuration. most: they are the greater part. */
static const struct answer *newest(bool *most)
{
    const struct answer *best = NULL;
    size_t answered = 0;

    for (size_t i = 0; i < count; i++) {
        const struct answer *a = &sentinels[i].answer;

        if (!a->master.host || loop_ms() - a->at_ms >= ANSWER_LASTS_MS)
            continue;
        answered++;
        if (!best || a->epoch > best->epoch)
            best = a;
    }
    *most = answered > count / 2;
    return best;
}

/* At first, all that can be reached are heard: who answers first may be the one that was away. */
static bool too_early(void)
{
    bool heard_all = true;

    for (size_t i = 0; i < count; i++)
        heard_all = heard_all && (sentinels[i].heard || *sentinels[i].asked.problem);
    return !master.host && !heard_all && first_timer;
}

/* An older configuration than that which was followed: one Sentinel has missed the last change, or all were set up
   anew. */
static void decide(void)
{
    bool most, sure, same;
    const struct answer *best = newest(&most);

    if (!best || too_early())
        return;
    sure = most || best->epoch >= master_epoch;
    same = redis_place_equals(&best->master, &master);
    if (same ? !sure : !master_callback(&best->master, sure))
        return;
    master_epoch = best->epoch;
    if (same)
        return;
    redis_place_set(&master, &best->master);
    LOG_INFO("redis_master", LOG_TEXT("host", master.host), LOG_INT("port", master.port));
}

/* --- asking --- */

static void on_answer(struct wire_request *q, const redisReply *r)
{
    struct question *question = (struct question *)q;

    if (r && sentinels)
        question->answered(question->sentinel, r);
    free(question);
}

static void say(struct redis_connection *c, struct sentinel *s, const char *words[static 3],
                void (*answered)(struct sentinel *s, const redisReply *r))
{
    struct question *q = mem_alloc(sizeof(*q));
    struct builder w = {0};
    size_t n = words[2] ? 3 : 2;

    *q = (struct question){{.answered = on_answer}, s, answered};
    resp_begin(&w, n);
    for (size_t i = 0; i < n; i++)
        resp_word(&w, span_of(words[i]));
    redis_connection_send(c, bytes_span(w.bytes), &q->request);
    builder_free(&w);
}

static const char *text_at(const redisReply *r, size_t i)
{
    return i < r->elements && r->element[i]->type == REDIS_REPLY_STRING ? r->element[i]->str : NULL;
}

/* Names and values by turns. */
static void on_state(struct sentinel *s, const redisReply *r)
{
    s->epoch = 0;
    if (r->type == REDIS_REPLY_ERROR && strncmp(r->str, "ERR No such master", 18) == 0)
        note_problem(s, "Sentinel knows no master of that name", master_name);
    else if (r->type == REDIS_REPLY_ERROR)
        note_problem(s, "Sentinel refuses to be asked", redis_login_hide(&login, r->str));
    for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i + 1 < r->elements; i += 2)
        if (text_at(r, i) && text_at(r, i + 1) && strcmp(text_at(r, i), "config-epoch") == 0)
            s->epoch = atoll(text_at(r, i + 1));
}

static void on_address(struct sentinel *s, const redisReply *r)
{
    const char *host = r->type == REDIS_REPLY_ARRAY ? text_at(r, 0) : NULL;
    int port = host && text_at(r, 1) ? atoi(text_at(r, 1)) : 0;

    s->heard = true;
    if (!host || port < 1 || port > 65535)
        return;
    redis_place_set(&s->answer.master, &(struct redis_place){.port = port, .host = r->element[0]->str});
    s->answer.epoch = s->epoch;
    s->answer.at_ms = loop_ms();
    s->problem[0] = '\0';
    decide();
}

/* The address alone is that of the new master as soon as it is promoted. */
static void ask(struct sentinel *s)
{
    if (!s->asked.up)
        return;
    say(&s->asked, s, (const char *[]){"SENTINEL", "MASTER", master_name}, on_state);
    say(&s->asked, s, (const char *[]){"SENTINEL", "GET-MASTER-ADDR-BY-NAME", master_name}, on_address);
}

void sentinels_ask(void)
{
    for (size_t i = 0; i < count; i++)
        ask(&sentinels[i]);
}

static void on_time(void *arg)
{
    (void)arg;
    sentinels_ask();
}

static void on_heard(void *arg)
{
    (void)arg;
    first_timer = NULL;
    decide();
}

static void on_asked_up(struct redis_connection *c)
{
    ask((struct sentinel *)c);
}

/* --- their events --- */

static void ignore(struct sentinel *s, const redisReply *r)
{
    (void)s, (void)r;
}

static void on_followed_up(struct redis_connection *c)
{
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        say(c, NULL, (const char *[]){"SUBSCRIBE", events[i], NULL}, ignore);
    sentinels_ask();
}

/* Something has changed; what, they tell when they are asked. */
static void on_event(const redisReply *r, void *arg)
{
    (void)r, (void)arg;
    sentinels_ask();
}

/* --- all of them --- */

const char *sentinels_problem(void)
{
    static char text[REDIS_PROBLEM_MAX];
    const char *silent = "";

    for (size_t i = 0; i < count && !master.host; i++) {
        const struct sentinel *s = &sentinels[i];

        if (s->asked.up && *s->problem)
            return s->problem;
        if (*s->asked.problem)
            silent = s->asked.problem;
    }
    snprintf(text, sizeof(text), *silent ? "no Sentinel answers: %.180s" : "%s", silent);
    return text;
}

static struct redis_connection connection(const struct redis_target *t, const char *client_name)
{
    return (struct redis_connection){
        .name = "sentinel", .client_name = client_name, .login = login, .tls = t->tls, .sentinel = true};
}

void sentinels_init(const struct redis_target *t, const char *client_name,
                    bool (*on_master)(const struct redis_place *place, bool sure))
{
    master_callback = on_master;
    master_name = t->master;
    login = redis_login_new(config->redis_sentinel_user, config->redis_sentinel_password);
    count = t->places_count;
    sentinels = mem_alloc(count * sizeof(*sentinels));
    for (size_t i = 0; i < count; i++) {
        struct sentinel *s = &sentinels[i];

        s->asked = s->followed = connection(t, client_name);
        s->asked.on_up = on_asked_up;
        s->followed.on_up = on_followed_up;
        s->followed.on_message = on_event;
        redis_connection_start(&s->asked, &t->places[i]);
        redis_connection_start(&s->followed, &t->places[i]);
    }
    ask_timer = timer_every(ASK_MS, on_time, NULL);
    first_timer = timer_once(HEAR_MS, on_heard, NULL);
}

/* What is still unanswered is told when the connections have ended. */
void sentinels_fini(void)
{
    timer_free(ask_timer);
    timer_free(first_timer);
    ask_timer = first_timer = NULL;
    for (size_t i = 0; i < count; i++) {
        redis_connection_stop(&sentinels[i].asked);
        redis_connection_stop(&sentinels[i].followed);
        free(sentinels[i].answer.master.host);
    }
    free(sentinels);
    free(master.host);
    redis_login_free(&login);
    sentinels = NULL;
    count = 0;
    master = (struct redis_place){0};
    master_epoch = 0;
}
