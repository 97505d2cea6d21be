/* SPDX-License-Identifier: MIT */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/chunk.h"
#include "signalbox/config.h"
#include "signalbox/delivery.h"
#include "signalbox/metrics.h"
#include "signalbox/schedule.h"
#include "signalbox/script.h"

struct pulling {
    char *chunk, *left;
    void (*done)(enum pull_result result, void *arg);
    void *arg;
};

static struct metric *pulls, *failovers, *exhausted;

static void wire_chunk_pull(struct builder *w, const char *chunk)
{
    builder_text(w, "{\"type\":\"chunk_pull\",\"chunkId\":");
    builder_json(w, span_of(chunk));
    builder_text(w, "}");
}

/* The list of pulls is watched by every worker, so that a pull outlives the worker that began it. A source that is
   not there any more is undone by its delivery, which pulls from the next. */
void chunk_asked(const char *chunk, const char *source, long long until_ms)
{
    char entry[ENTRY_MAX];
    struct builder w = {0};
    struct target target;
    struct bytes *message;
    const char *peer;

    if (!holder_parse(span_of(source), &target.address, &peer))
        return;
    metric_add(pulls, 1);
    schedule_set(KEY_CHUNK_PULLS, chunk, until_ms);
    snprintf(entry, sizeof(entry), "source\t%s\t%s", chunk, peer);
    target.entry = entry;
    wire_chunk_pull(&w, chunk);
    message = builder_take(&w);
    delivery_send(message, 1, &target, 0);
    bytes_unref(message);
}

static void tell_waiters(const char *chunk, const struct reply *waiters)
{
    size_t count = reply_count(waiters), n = 0;
    struct target *targets = mem_alloc((count + 1) * sizeof(*targets));
    struct builder w = {0};
    struct bytes *message;
    const char *peer;

    for (size_t i = 0; i < count; i++)
        n += holder_parse(reply_span(reply_at(waiters, i)), &targets[n].address, &peer);
    wire_chunk_not_found(&w, chunk);
    message = builder_take(&w);
    delivery_send(message, n, targets, 0);
    bytes_unref(message);
    free(targets);
}

void chunk_watch(const char *chunk)
{
    struct call c = call_new(&script_chunk_watch);

    call_key(&c, KEY_CHUNK_PULLS);
    call_text(&c, chunk);
    call_int(&c, config->chunk_pull_timeout_ms);
    call_send(&c, NULL, NULL);
}

static enum pull_result apply(const char *chunk, struct span word, struct span source, long long until_ms,
                              const struct reply *waiters, long long now_ms)
{
    if (span_is(word, "pull") || span_is(word, "again")) {
        metric_add(failovers, span_is(word, "again"));
        chunk_asked(chunk, source.at, until_ms);
        return PULL_ASKED;
    }
    if (until_ms == 0)
        schedule_drop(KEY_CHUNK_PULLS, chunk, now_ms + config->chunk_pull_timeout_ms, 0);
    if (span_is(word, "idle"))
        return PULL_IDLE;
    if (reply_count(waiters)) {
        metric_add(exhausted, 1);
        tell_waiters(chunk, waiters);
        return PULL_IDLE;
    }
    return PULL_NO_SOURCE;
}

static void decide(struct pulling *p);

static void on_decided(const struct reply *r, void *arg)
{
    struct pulling *p = arg;
    enum pull_result result = PULL_FAILED;
    struct span word, source;
    const struct reply *waiters;
    long long until_ms, now_ms;

    if (r && reply_read(r, "ssiri", &word, &source, &until_ms, &waiters, &now_ms)) {
        if (span_is(word, "more")) {
            decide(p);
            return;
        }
        result = apply(p->chunk, word, source, until_ms, waiters, now_ms);
    }
    if (p->done)
        p->done(result, p->arg);
    free(p->left);
    free(p->chunk);
    free(p);
}

static void decide(struct pulling *p)
{
    struct call c = call_new(&script_chunk_pull);

    call_chunk_keys(&c, p->chunk, "src rest wait pull tried");
    call_text(&c, p->left);
    call_int(&c, config->chunk_pull_timeout_ms);
    call_int(&c, randombytes_random() >> 1);
    call_send(&c, on_decided, p);
}

void chunk_pull(const char *chunk, const char *left, void (*done)(enum pull_result result, void *arg), void *arg)
{
    struct pulling *p = mem_alloc(sizeof(*p));

    *p = (struct pulling){mem_dup(chunk), mem_dup(left), done, arg};
    decide(p);
}

static void on_due(const char *chunk)
{
    chunk_pull(chunk, "", NULL, NULL);
}

struct schedule chunk_pull_schedule = {KEY_CHUNK_PULLS, .due = on_due};

void chunk_pull_init(void)
{
    chunk_pull_schedule.again_ms = config->chunk_pull_timeout_ms;
    pulls = metric_counter("signalbox_chunk_pulls_total", "Sources asked to push a chunk");
    failovers = metric_counter("signalbox_chunk_failovers_total", "Pulls that went on to another source");
    exhausted = metric_counter("signalbox_chunk_exhausted_total", "Pulls that ended without a source left");
}
