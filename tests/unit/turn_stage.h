/* SPDX-License-Identifier: MIT */
/* What the tests of turn.c stand on: one session, one request and one address in the place of net's, and two dialects
   whose messages are answered by turns. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "signalbox/config.h"
#include "signalbox/domain.h"
#include "signalbox/limits.h"
#include "signalbox/turn.h"

/* In the place of net/session.c: the one session, and what it was sent. */
struct session {
    const struct dialect *dialect;
    const struct message_type *row;
    int holds;
    bool gone, poor;
    size_t kept;
    double charged;
    char heard[512];
};
static struct session client;

struct session *session_find(session_id id)
{
    return id == 1 && !client.gone ? &client : NULL;
}

session_id session_id_of(const struct session *s)
{
    (void)s;
    return 1;
}

const struct dialect *session_dialect(const struct session *s)
{
    return s->dialect;
}

const struct message_type **session_row(struct session *s)
{
    return &s->row;
}

bool session_afford(struct session *s, double units)
{
    s->charged += s->poor ? 0 : units;
    return !s->poor;
}

void session_charge(struct session *s, double units)
{
    s->charged += units;
}

static const struct session_ops *ops; /* what the dispatcher has the session do */

void session_send(struct session *s, struct bytes *b)
{
    struct span text = bytes_span(b);
    size_t len = strlen(s->heard);

    ops->on_sent(s, text);
    snprintf(s->heard + len, sizeof(s->heard) - len, "%.*s\n", (int)text.len, text.at);
    bytes_unref(b);
}

void session_turn_keeps(session_id id, size_t bytes)
{
    (void)id;
    client.kept += bytes;
}

void session_turn_kept(session_id id, size_t bytes)
{
    (void)id;
    client.kept -= bytes;
}

void session_hold(struct session *s)
{
    s->holds++;
}

void session_release(struct session *s)
{
    s->holds--;
}

/* In the place of net/limits.c: how often its client's address is held, and what it has. */
static unsigned ip_holds;
static struct bucket address;

struct bucket *ip_cost(struct ip *ip)
{
    (void)ip;
    return &address;
}

void ip_tell(struct ip *ip, const char *limit)
{
    (void)ip;
    (void)limit;
}

struct bucket bucket_full(long long burst, int64_t now_ms)
{
    return (struct bucket){(double)burst, now_ms};
}

double bucket_level(struct bucket *b, long long rate, long long burst, int64_t now_ms)
{
    (void)rate;
    (void)burst;
    (void)now_ms;
    return b->tokens;
}

struct ip *session_ip(const struct session *s)
{
    (void)s;
    return NULL;
}

struct ip *ip_find(const char *text)
{
    (void)text;
    return NULL;
}

void ip_hold(struct ip *ip)
{
    (void)ip;
    ip_holds++;
}

void ip_let_go(struct ip *ip)
{
    (void)ip;
    ip_holds--;
}

/* In the place of net/http.c: the one exchange, and how it was answered. */
struct exchange {
    bool answered;
    char answer[256];
};
static struct exchange request;

struct exchange *exchange_find(exchange_id id)
{
    return id == 1 && !request.answered ? &request : NULL;
}

exchange_id exchange_id_of(const struct exchange *x)
{
    (void)x;
    return 1;
}

const struct cost *exchange_cost(const struct exchange *x)
{
    static const struct cost cost = {.reply_kib = 10};

    (void)x;
    return &cost;
}

const char *exchange_ip(const struct exchange *x)
{
    (void)x;
    return "192.0.2.1";
}

static void answer(struct exchange *x, unsigned status, const char *text)
{
    x->answered = true;
    snprintf(x->answer, sizeof(x->answer), "%u %s", status, text);
}

void exchange_fail(struct exchange *x, unsigned status, const char *sentence)
{
    answer(x, status, sentence);
}

void exchange_reply(struct exchange *x, unsigned status, const char *content_type, struct bytes *body)
{
    assert_string_equal(content_type, "application/json");
    answer(x, status, bytes_data(body));
    bytes_unref(body);
}

void exchange_reply_json(struct exchange *x, unsigned status, json_t *body)
{
    answer(x, status, json_string_value(body));
    json_decref(body);
}

struct session *session_new(struct lws *wsi, const char *ip, const struct session_ops *session_ops,
                            const struct dialect *dialect, size_t most)
{
    (void)wsi;
    (void)ip;
    (void)most;
    ops = session_ops;
    client = (struct session){.dialect = dialect};
    return &client;
}

int64_t *session_attested_until(struct session *s)
{
    static int64_t never;

    (void)s;
    return &never;
}

/* A dialect that has joined another. Both answer each message by a turn that is under way until the test ends it. */
static struct turn *under_way[4];
static size_t count, cleared;

static void clear(void *context)
{
    (void)context;
    cleared++;
}

static enum err handle_held(struct session *s, const struct message *m)
{
    (void)m;
    under_way[count++] = turn_begin(s, sizeof(struct turn), clear);
    return ERR_NONE;
}

static enum err handle_beside(struct session *s, const struct message *m)
{
    (void)m;
    under_way[count++] = turn_begin_beside(s, sizeof(struct turn), clear);
    return ERR_NONE;
}

/* Waits for Redis, but not by a turn. */
static enum err handle_silently(struct session *s, const struct message *m)
{
    (void)s;
    (void)m;
    return ERR_NONE;
}

static enum err handle_refused(struct session *s, const struct message *m)
{
    (void)s;
    (void)m;
    return ERR_NOT_IN_ROOM;
}

static struct bytes *tell(const char *who, enum err e, const char *request_id)
{
    struct builder w = {0};
    char *at_hand = request_id ? NULL : request_id_dup();

    builder_printf(&w, "%s %s %s", who, err_name(e), request_id ? request_id : at_hand);
    free(at_hand);
    return builder_take(&w);
}

static struct bytes *tell_own(enum err e, const char *text, const char *request_id)
{
    (void)text;
    return tell("own", e, request_id);
}

static struct bytes *tell_other(enum err e, const char *text, const char *request_id)
{
    (void)text;
    return tell("other", e, request_id);
}

static const struct message_type own_types[] = {
    {"own", handle_beside},
    {"own_held", handle_held},
    {"dear", handle_beside, {{FIELD_IDS, "ids", .most = 9}}, .cost = {.base = 10, .item = 20, .reply_kib = 10240}}};
static const struct message_type other_types[] = {
    {"other", handle_beside}, {"other_silent", handle_silently}, {"other_refused", handle_refused}};
static const char *const members[] = {"request_id", NULL};
static const struct dialect other = {.name = "other", .types = other_types, .count = 3, .wire_error = tell_other};
static struct dialect joined = {.name = "joined", .wire_error = tell_own, .members = members};

/* In the place of worker/domains.c. */
static const struct socket_path paths[] = {{"/joined", "joined", &joined}, {0}};
static const struct domain domain = {.paths = paths};
const struct domain *const domains[] = {&domain, NULL};

static int load_config(void **state)
{
    static char *no_flags[] = {"test_turn"};
    char problem[256];

    (void)state;
    return config_load(1, no_flags, problem) == CONFIG_OK ? 0 : -1;
}

static int forget_config(void **state)
{
    (void)state;
    config_fini();
    return 0;
}

static int start(void **state)
{
    request = (struct exchange){0};
    count = cleared = 0;
    address.tokens = 0;
    *state = dialect_join(&joined, own_types, 3, &other);
    cost_init();
    dialect_init();
    dialect_open(&joined, NULL, "192.0.2.1");
    return 0;
}

static int stop(void **state)
{
    dialect_fini();
    free(*state);
    return 0;
}

#define TURN_TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
