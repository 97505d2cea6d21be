/* SPDX-License-Identifier: MIT */
#include "signalbox/redis.h"

#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/redis_connection.h"
#include "signalbox/redis_tls.h"
#include "signalbox/resp.h"
#include "signalbox/sentinels.h"
#include "signalbox/subscriber.h"

#define IN_FLIGHT_MAX 65536
#define IN_FLIGHT_BYTES_MAX (32 << 20) /* sent and not answered, or held back; each is in memory two or three times */
#define WORDS_MAX 64
#define LONG_AWAY_MS 15000 /* a master is lost, whatever few Sentinels know */

struct pending {
    struct wire_request request;
    redis_raw_callback callback;
    void *arg;
    int64_t sent_us;
    size_t len;         /* of the command */
    bool urgent;        /* it is on that connection */
    struct bytes *held; /* the command, while it is held back */
    STAILQ_ENTRY(pending) next;
};

static struct redis_target target;
static struct redis_connection commands, urgent;
static void (*guard)(void);
static bool open;        /* the guard lets all commands through */
static bool urgent_open; /* also on that connection */
static void (*on_up)(void);
static char former_run_id[RUN_ID_MAX]; /* of the server that was open before */
static bool another;
static int64_t lost_ms;                   /* since then, or since the start, the commands are not connected */
static size_t in_flight, in_flight_bytes; /* the bytes with those of what is held back */
static STAILQ_HEAD(held, pending) held = STAILQ_HEAD_INITIALIZER(held);
static size_t held_count;
static void (*on_idle)(void); /* not NULL: commands are held back */
static struct metric *round_trip, *refused, *errors, *up;

/* --- where it is --- */

void redis_leave(const char *why)
{
    redis_connection_drop(&commands, why);
    redis_connection_drop(&urgent, why);
    subscriber_leave(why);
}

static bool is_at_another(const struct redis_connection *c, const struct redis_connection *newest)
{
    return c->up && *c->run_id && *newest->run_id && strcmp(c->run_id, newest->run_id) != 0;
}

/* Behind one address may be another server by now, to which only new connections come. Those that wait to try again
   need not wait any longer. */
static void on_server(struct redis_connection *newest)
{
    struct redis_connection *all[] = {&commands, &urgent, subscriber_connection()};
    static const char why[] = "another server has its place";

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        redis_connection_hurry(all[i]);
        if (!is_at_another(all[i], newest))
            continue;
        if (all[i] == subscriber_connection())
            subscriber_leave(why);
        else
            redis_connection_drop(all[i], why);
    }
}

static void on_commands_up(struct redis_connection *c)
{
    on_server(c);
    guard();
}

void redis_open(void)
{
    urgent_open = urgent.up;
    if (open)
        return;
    open = true;
    metric_set(up, 1);
    another = !*commands.run_id || strcmp(commands.run_id, former_run_id) != 0;
    snprintf(former_run_id, sizeof(former_run_id), "%s", commands.run_id);
    on_up();
}

/* It may have come back to a Redis whose keys have another layout by now. */
static void on_urgent_up(struct redis_connection *c)
{
    on_server(c);
    if (open)
        guard();
}

static void on_urgent_down(struct redis_connection *c)
{
    (void)c;
    urgent_open = false;
}

void redis_shut(void)
{
    open = false;
    metric_set(up, 0);
}

static void on_commands_down(struct redis_connection *c)
{
    (void)c;
    lost_ms = loop_ms();
    redis_shut();
    sentinels_ask();
}

int redis_url_db(const char *url, char problem[static 256])
{
    struct redis_target t;
    int db = redis_target_parse(&t, url, problem) && (!t.tls || redis_tls_load(problem)) ? t.db : -1;

    redis_target_free(&t);
    return db;
}

static struct redis_connection connection(const char *name, const char *client_name)
{
    return (struct redis_connection){.name = name,
                                     .client_name = client_name,
                                     .login = target.login,
                                     .db = target.db,
                                     .tls = target.tls,
                                     .follows = target.master};
}

static void connect_to(const struct redis_place *place)
{
    redis_connection_start(&commands, place);
    redis_connection_start(&urgent, place);
    subscriber_move(place);
}

static bool follow(const struct redis_place *place, bool sure)
{
    bool follows = sure || (!commands.up && loop_ms() - lost_ms > LONG_AWAY_MS);

    if (follows)
        connect_to(place);
    return follows;
}

bool redis_init(const char *url, const char *client_name, void (*on_connect)(void), void (*when_up)(void),
                char problem[static 256])
{
    if (!redis_target_parse(&target, url, problem))
        return false;
    guard = on_connect;
    on_up = when_up;
    round_trip = metric_histogram("signalbox_redis_round_trip_seconds", "Time from a Redis command to its reply");
    refused =
        metric_counter("signalbox_redis_refused_total", "Commands refused because Redis was away or too far behind");
    up = metric_gauge("signalbox_redis_up", "Whether Redis takes commands of this worker");
    errors = metric_counter("signalbox_redis_errors_total", "Commands that Redis answered with an error");
    commands = connection("commands", client_name);
    commands.on_up = on_commands_up;
    commands.on_down = on_commands_down;
    urgent = connection("urgent", client_name);
    urgent.on_up = on_urgent_up;
    urgent.on_down = on_urgent_down;
    *subscriber_connection() = connection("subscriber", client_name);
    subscriber_init(on_server);
    if (target.master)
        sentinels_init(&target, client_name, follow);
    else
        connect_to(target.places);
    return true;
}

void redis_fini(void)
{
    sentinels_fini();
    redis_connection_stop(&commands);
    redis_connection_stop(&urgent);
    subscriber_fini();
    redis_connections_fini();
    redis_target_free(&target);
}

bool redis_up(void)
{
    return open;
}

bool redis_connected(void)
{
    return commands.up;
}

bool redis_is_another(void)
{
    return another;
}

const char *redis_problem(void)
{
    if (commands.up)
        return subscriber_connection()->problem;
    return *commands.problem || !target.master ? commands.problem : sentinels_problem();
}

/* --- commands --- */

/* A replica refuses writes, a script's too; before Redis 7 it says so in the middle of a sentence. It may also have
   lost its master, or be copying that anew. */
static bool is_not_master(const char *error)
{
    return strncmp(error, "READONLY ", 9) == 0 || strncmp(error, "MASTERDOWN ", 11) == 0 ||
           strncmp(error, "LOADING ", 8) == 0 || strstr(error, " -READONLY ");
}

/* Redis repeats the words of a command that it does not know: they are nobody's business. */
static void on_error(const struct pending *p, const char *error)
{
    const char *words = strstr(error, ", with args beginning with: ");
    char text[REDIS_PROBLEM_MAX];

    if (words) {
        snprintf(text, sizeof(text), "%.*s", (int)(words - error), error);
        error = text;
    }
    if (strncmp(error, "NOSCRIPT", 8) != 0)
        metric_add(errors, 1);
    if (is_not_master(error))
        redis_leave("it takes no writes: it has become a replica");
    p->callback(NULL, error, p->arg);
}

static void finish(struct pending *p, const redisReply *r)
{
    if (!r)
        p->callback(NULL, NULL, p->arg);
    else if (r->type == REDIS_REPLY_ERROR)
        on_error(p, r->str);
    else
        p->callback((const struct reply *)r, NULL, p->arg);
    free(p);
}

static void on_refused(void *arg)
{
    finish(arg, NULL);
}

static void refuse(struct pending *p)
{
    metric_add(refused, 1);
    loop_defer(on_refused, p);
}

static void transmit(struct pending *p, struct span resp, bool allowed)
{
    if (!allowed || !commands.up || in_flight >= IN_FLIGHT_MAX || in_flight_bytes + resp.len > IN_FLIGHT_BYTES_MAX) {
        refuse(p);
        return;
    }
    p->len = resp.len;
    in_flight_bytes += p->len;
    in_flight++;
    redis_connection_send(&commands, resp, &p->request);
}

static void go_on(void)
{
    void (*idle)(void) = on_idle;

    on_idle = NULL;
    idle();
    while (!STAILQ_EMPTY(&held) && !on_idle) {
        struct pending *p = STAILQ_FIRST(&held);

        STAILQ_REMOVE_HEAD(&held, next);
        held_count--;
        in_flight_bytes -= bytes_len(p->held);
        transmit(p, bytes_span(p->held), open);
        bytes_unref(p->held);
        p->held = NULL;
    }
}

void redis_hold(void (*idle)(void))
{
    on_idle = idle;
}

static void on_reply(struct wire_request *q, const redisReply *r)
{
    struct pending *p = (struct pending *)q;
    bool in_order = !p->urgent;

    if (in_order) {
        in_flight--;
        in_flight_bytes -= p->len;
    }
    if (r)
        metric_observe(round_trip, (double)(loop_us() - p->sent_us) / 1e6);
    finish(p, r);
    if (in_order && on_idle && in_flight == 0)
        go_on();
}

static struct pending *pending_new(redis_raw_callback callback, void *arg)
{
    struct pending *p = mem_alloc(sizeof(*p));

    *p = (struct pending){.request = {.answered = on_reply}, .callback = callback, .arg = arg, .sent_us = loop_us()};
    return p;
}

void redis_send_first(redis_raw_callback callback, void *arg, struct span resp)
{
    transmit(pending_new(callback, arg), resp, true);
}

void redis_send_raw(redis_raw_callback callback, void *arg, struct span resp)
{
    struct pending *p = pending_new(callback, arg);

    if (!on_idle) {
        transmit(p, resp, open);
    } else if (held_count < IN_FLIGHT_MAX && in_flight_bytes + resp.len <= IN_FLIGHT_BYTES_MAX) {
        p->held = bytes_copy(resp);
        in_flight_bytes += resp.len;
        STAILQ_INSERT_TAIL(&held, p, next);
        held_count++;
    } else {
        refuse(p);
    }
}

void redis_send_urgent(redis_raw_callback callback, void *arg, struct span resp)
{
    struct pending *p;

    if (!open || !urgent_open) {
        redis_send_raw(callback, arg, resp);
        return;
    }
    p = pending_new(callback, arg);
    p->urgent = true;
    redis_connection_send(&urgent, resp, &p->request);
}

struct command {
    redis_callback callback;
    void *arg;
};

static void on_command(const struct reply *r, const char *error, void *arg)
{
    struct command *c = arg;

    if (error)
        LOG_ERROR("redis_error", LOG_TEXT("error", error));
    if (c->callback)
        c->callback(r, c->arg);
    free(c);
}

void redis_send(redis_callback callback, void *arg, size_t count, const struct span *words)
{
    struct command *c = mem_alloc(sizeof(*c));
    struct builder w = resp_command(count, words);

    *c = (struct command){callback, arg};
    redis_send_raw(on_command, c, bytes_span(w.bytes));
    builder_free(&w);
}

void redis_command(redis_callback callback, void *arg, ...)
{
    struct span words[WORDS_MAX];
    size_t count = 0;
    va_list list;

    va_start(list, arg);
    for (const char *word; count < WORDS_MAX && (word = va_arg(list, const char *)); count++)
        words[count] = span_of(word);
    va_end(list);
    redis_send(callback, arg, count, words);
}
