/* SPDX-License-Identifier: MIT */
#include "signalbox/turn.h"

#include <stdlib.h>

#include "signalbox/limits.h"

#define GATHERING_MAX 8

static STAILQ_HEAD(turns, turn) waiting = STAILQ_HEAD_INITIALIZER(waiting); /* until they may gather */
static size_t gathering;

void *turn_begin_beside(struct session *s, size_t size, void (*clear)(void *context))
{
    struct turn *t = mem_alloc(size);

    t->session = session_id_of(s);
    t->ip = session_ip(s);
    ip_hold(t->ip);
    t->row = *session_row(s);
    t->cost = t->row ? &t->row->cost : NULL;
    t->form = session_error_form(s);
    t->request_id = request_id_dup();
    t->clear = clear;
    return t;
}

void *turn_begin(struct session *s, size_t size, void (*clear)(void *context))
{
    struct turn *t = turn_begin_beside(s, size, clear);

    session_hold(s);
    t->holds = true;
    return t;
}

void *turn_begin_http(struct exchange *x, size_t size, void (*clear)(void *context))
{
    struct turn *t = mem_alloc(size);

    t->exchange = exchange_id_of(x);
    t->ip = ip_find(exchange_ip(x));
    ip_hold(t->ip);
    t->cost = exchange_cost(x);
    t->clear = clear;
    return t;
}

struct session *turn_session(const struct turn *t)
{
    return session_find(t->session);
}

struct exchange *turn_exchange(const struct turn *t)
{
    return exchange_find(t->exchange);
}

/* Who asks and leaves has had Redis do the same. */
void turn_charge(const struct turn *t, double units)
{
    struct session *s = turn_session(t);

    if (s && t->row)
        session_charge_for(s, t->row, units);
    else if (t->cost)
        cost_charge(NULL, t->ip, units);
}

static void charge_left(const struct turn *t, size_t bytes)
{
    turn_charge(t, t->cost ? cost_of_reply(t->cost, bytes) : 0);
}

void turn_send(const struct turn *t, struct bytes *b)
{
    struct session *s = turn_session(t);

    if (s) {
        session_answer(s, t->row, b);
    } else {
        charge_left(t, bytes_len(b));
        bytes_unref(b);
    }
}

void turn_fail(const struct turn *t, enum err e, const char *detail)
{
    struct session *s = turn_session(t);
    struct exchange *x = turn_exchange(t);

    if (s)
        session_fail_as(s, t->form, t->request_id, e, detail);
    else if (x)
        exchange_fail(x, e == ERR_STORAGE_LIMIT ? 507 : 503, err_text(e));
}

void turn_reply(const struct turn *t, unsigned status, struct bytes *json)
{
    struct exchange *x = turn_exchange(t);

    if (x) {
        exchange_reply(x, status, "application/json", json);
        return;
    }
    if (json)
        charge_left(t, bytes_len(json));
    bytes_unref(json);
}

void turn_reply_json(const struct turn *t, unsigned status, json_t *body)
{
    struct exchange *x = turn_exchange(t);

    if (x) {
        exchange_reply_json(x, status, body);
        return;
    }
    charge_left(t, json_dumpb(body, NULL, 0, JSON_COMPACT));
    json_decref(body);
}

void turn_keeps(struct turn *t, size_t bytes)
{
    t->kept += bytes;
    session_turn_keeps(t->session, bytes);
}

/* A turn that ends at once makes place for the next without going deeper. */
static void let_gather(void)
{
    static bool letting;

    if (letting)
        return;
    letting = true;
    while (gathering < GATHERING_MAX && !STAILQ_EMPTY(&waiting)) {
        struct turn *t = STAILQ_FIRST(&waiting);

        STAILQ_REMOVE_HEAD(&waiting, next);
        t->gathers = true;
        gathering++;
        if (turn_session(t) || turn_exchange(t))
            t->gather(t);
        else
            turn_end(t);
    }
    letting = false;
}

void turn_gather(struct turn *t, void (*gather)(void *context))
{
    t->gather = gather;
    STAILQ_INSERT_TAIL(&waiting, t, next);
    let_gather();
}

void turn_end(struct turn *t)
{
    struct session *s = t->holds ? turn_session(t) : NULL;
    bool gathered = t->gathers;

    if (t->clear)
        t->clear(t);
    session_turn_kept(t->session, t->kept);
    ip_let_go(t->ip);
    free(t->request_id);
    free(t);
    if (gathered) {
        gathering--;
        let_gather();
    }
    if (s)
        session_release(s);
}

void turn_give_up(struct turn *t, unsigned status, const char *sentence)
{
    struct exchange *x = turn_exchange(t);

    if (x && sentence)
        exchange_fail(x, status, sentence);
    else
        turn_fail(t, ERR_UNAVAILABLE, NULL);
    turn_end(t);
}
