/* SPDX-License-Identifier: MIT */
#include "signalbox/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "scripts_data.h"
#include "signalbox/log.h"
#include "signalbox/metrics.h"
#include "signalbox/resp.h"

#define HEAD_MAX 128 /* of a call, before its keys, without the script's text */

/* How it is sent: redis_send_raw() or one of its like. */
typedef void (*sender)(redis_raw_callback callback, void *arg, struct span resp);

struct running {
    const struct script *script;
    sender send;
    redis_callback callback;
    void *arg;
    size_t words;
    size_t tail_at; /* where the keys and arguments begin in command */
    struct bytes *command;
    STAILQ_ENTRY(running) next;
};

static STAILQ_HEAD(unknown,
                   running) unknown = STAILQ_HEAD_INITIALIZER(unknown); /* to Redis, in the order of the calls */
static struct metric_family *calls, *failures;
static struct metric **counters; /* of calls, by the script's number */

struct call call_new(const struct script *script)
{
    return (struct call){.script = script};
}

void call_key(struct call *c, const char *key)
{
    if (c->args > 0)
        abort();
    c->keys++;
    resp_word(&c->tail, span_of(key));
}

void call_span(struct call *c, struct span arg)
{
    c->args++;
    resp_word(&c->tail, arg);
}

void call_text(struct call *c, const char *arg)
{
    call_span(c, span_of(arg));
}

void call_int(struct call *c, long long arg)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%lld", arg);
    call_text(c, digits);
}

static struct metric *calls_of(const struct script *script)
{
    if (!counters[script->number])
        counters[script->number] = metric_series(calls, script->name);
    return counters[script->number];
}

static void finish(struct running *run, const struct reply *r, const char *error)
{
    if (error) {
        metric_add(metric_series(failures, run->script->name), 1);
        LOG_ERROR("script_failed", LOG_TEXT("script", run->script->name), LOG_TEXT("error", error));
    }
    if (run->callback)
        run->callback(r, run->arg);
    bytes_unref(run->command);
    free(run);
}

static void on_answer(const struct reply *r, const char *error, void *arg);

static void eval(struct running *run)
{
    struct span all = bytes_span(run->command);
    struct builder w = {0};

    resp_begin(&w, run->words);
    resp_word(&w, SPAN("EVAL"));
    resp_word(&w, (struct span){run->script->source, run->script->source_len});
    builder_add(&w, (struct span){all.at + run->tail_at, all.len - run->tail_at});
    run->send(on_answer, run, bytes_span(w.bytes));
    builder_free(&w);
}

void scripts_load(void)
{
    for (size_t i = 0; i < scripts_count; i++)
        redis_send(NULL, NULL, 3,
                   (struct span[]){SPAN("SCRIPT"), SPAN("LOAD"), {scripts_all[i]->source, scripts_all[i]->source_len}});
}

static void eval_unknown(void)
{
    scripts_load();
    while (!STAILQ_EMPTY(&unknown)) {
        struct running *run = STAILQ_FIRST(&unknown);

        STAILQ_REMOVE_HEAD(&unknown, next);
        eval(run);
    }
}

/* Redis has forgotten its scripts: all are loaded again and those calls made again, once no call is under way that may
   fail likewise, so that none overtakes an earlier one. What is urgent is in no order. */
static void on_answer(const struct reply *r, const char *error, void *arg)
{
    struct running *run = arg;

    if (!error || strncmp(error, "NOSCRIPT", 8) != 0) {
        finish(run, r, error);
    } else if (run->send == redis_send_urgent) {
        eval(run);
    } else {
        STAILQ_INSERT_TAIL(&unknown, run, next);
        redis_hold(eval_unknown);
    }
}

static void send_call(struct call *c, bool with_text, sender send, redis_callback callback, void *arg)
{
    const struct script *s = c->script;
    struct span script = with_text ? (struct span){s->source, s->source_len} : span_of(s->sha1);
    struct running *run = mem_alloc(sizeof(*run));
    struct builder w = {0};
    char keys[12];

    if (c->keys != s->keys || c->args < s->args || (c->args > s->args && !s->more_args))
        abort();
    *run = (struct running){
        .script = s, .send = send, .callback = callback, .arg = arg, .words = (size_t)(3 + c->keys + c->args)};
    builder_expect(&w, script.len + builder_len(&c->tail) + HEAD_MAX);
    resp_begin(&w, run->words);
    resp_word(&w, with_text ? SPAN("EVAL") : SPAN("EVALSHA"));
    resp_word(&w, script);
    run->tail_at = builder_len(&w);
    snprintf(keys, sizeof(keys), "%d", c->keys);
    resp_word(&w, span_of(keys));
    if (c->tail.bytes)
        builder_add(&w, bytes_span(c->tail.bytes));
    builder_free(&c->tail);
    c->keys = c->args = 0;
    run->command = builder_take(&w);
    metric_add(calls_of(s), 1);
    send(on_answer, run, bytes_span(run->command));
}

void call_send(struct call *c, redis_callback callback, void *arg)
{
    send_call(c, c->script->with_text, redis_send_raw, callback, arg);
}

void call_send_urgent(struct call *c, redis_callback callback, void *arg)
{
    send_call(c, c->script->with_text, redis_send_urgent, callback, arg);
}

void call_send_first(struct call *c, redis_callback callback, void *arg)
{
    send_call(c, true, redis_send_first, callback, arg);
}

void scripts_init(void)
{
    calls = metric_family(METRIC_COUNTER, "signalbox_script_calls_total", "Calls of a Redis script", "script");
    failures = metric_family(METRIC_COUNTER, "signalbox_script_failures_total",
                             "Script calls that Redis answered with an error", "script");
    counters = mem_alloc(scripts_count * sizeof(struct metric *));
}
