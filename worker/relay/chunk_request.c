/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/chunk.h"
#include "signalbox/config.h"
#include "signalbox/metrics.h"
#include "signalbox/relay.h"
#include "signalbox/script.h"

static struct metric *hits, *misses;

struct requesting {
    struct turn turn;
    struct storing unused; /* of what was taken of the storage */
    bool taken;
    char *peer, *chunk;
};

static void requesting_clear(void *arg)
{
    struct requesting *q = arg;

    if (q->taken && q->unused.bytes)
        storage_give_back(&q->turn, &q->unused);
    free(q->peer);
    free(q->chunk);
}

static void send_cached(struct requesting *q, struct span data)
{
    struct builder w = {0};

    metric_add(hits, 1);
    chunk_touch(q->chunk);
    wire_chunk_data(&w, q->chunk, data, "cache");
    turn_send(&q->turn, builder_take(&w));
    turn_end(&q->turn);
}

static void on_pull_decided(enum pull_result result, void *arg)
{
    struct requesting *q = arg;
    struct builder w = {0};

    if (result == PULL_NO_SOURCE) {
        wire_chunk_not_found(&w, q->chunk);
        turn_send(&q->turn, builder_take(&w));
    } else if (result == PULL_FAILED) {
        turn_fail(&q->turn, ERR_UNAVAILABLE, NULL);
    }
    turn_end(&q->turn);
}

static void tally_wait(const struct requesting *q, bool waits)
{
    char holder[HOLDER_MAX], *entry;

    holder_of_self(holder, q->turn.session, q->peer);
    entry = tally_entry_new(q->chunk, span_of(holder));
    if (waits)
        tally_add(&chunk_waits, config->chunk_wait_ttl_ms, 1, (const char *const *)&entry);
    else
        tally_remove(&chunk_waits, 1, (const char *const *)&entry);
    free(entry);
}

/* It was cached between the look and the wait. */
static void forget_wait(const struct requesting *q)
{
    struct session *s = turn_session(&q->turn);
    char entry[ENTRY_MAX];

    chunk_entry(entry, "wait", q->chunk, q->peer);
    tally_wait(q, false);
    if (s)
        index_forget(s, 1, &(struct note){.entry = entry});
}

static void on_waiting(const struct reply *r, void *arg)
{
    struct requesting *q = arg;
    struct span data;
    long long is_new;

    if (!r || !reply_read(r, "si", &data, &is_new)) {
        q->unused.bytes = 0;
        turn_fail(&q->turn, ERR_UNAVAILABLE, NULL);
        turn_end(&q->turn);
    } else if (data.len) {
        forget_wait(q);
        send_cached(q, data);
    } else {
        if (is_new)
            q->unused.bytes = 0;
        metric_add(misses, 1);
        chunk_pull(q->chunk, "", on_pull_decided, q);
    }
}

/* The script looks again whether it was cached meanwhile: nobody waits for what is there. The chunk is watched before
   anybody is asked for it, so that a pull outlives the worker that begins it. */
static void wait_for_chunk(struct session *s, struct requesting *q)
{
    struct call c = call_new(&script_chunk_wait);
    char holder[HOLDER_MAX], entry[ENTRY_MAX];

    chunk_entry(entry, "wait", q->chunk, q->peer);
    turn_charge(&q->turn, cost_of_told(q->turn.cost, 1, 0));
    index_note(s, 1, &(struct note){entry, config->chunk_wait_ttl_ms});
    tally_wait(q, true);
    chunk_watch(q->chunk);
    call_chunk_keys(&c, q->chunk, "data wait src rest");
    holder_of_self(holder, q->turn.session, q->peer);
    call_text(&c, holder);
    call_int(&c, config->chunk_wait_ttl_ms);
    call_send(&c, on_waiting, q);
}

static void on_taken(struct turn *t, enum err e)
{
    struct requesting *q = (struct requesting *)t;
    struct session *s = turn_session(t);

    q->taken = e == ERR_NONE;
    if (q->taken && s) {
        wait_for_chunk(s, q);
        return;
    }
    if (!q->taken)
        turn_fail(t, e, NULL);
    turn_end(t);
}

static void on_read(const struct reply *r, void *arg)
{
    struct requesting *q = arg;
    struct span data;

    if (!r || !reply_read(r, "s", &data)) {
        turn_fail(&q->turn, ERR_UNAVAILABLE, NULL);
        turn_end(&q->turn);
    } else if (data.len) {
        send_cached(q, data);
    } else if (turn_session(&q->turn)) {
        q->unused = chunk_wait_storing(q->chunk, q->peer);
        storage_take(&q->turn, &q->unused, on_taken);
    } else {
        turn_end(&q->turn);
    }
}

static void read_chunk(struct session *s, void *arg)
{
    struct requesting *q = arg;
    struct call c = call_new(&script_chunk_read);

    (void)s;
    call_chunk_keys(&c, q->chunk, "data");
    call_send(&c, on_read, q);
}

enum err handle_chunk_request(struct session *s, const struct message *m)
{
    struct requesting *q = turn_begin(s, sizeof(*q), requesting_clear);

    q->peer = mem_dup(m->values[0].text);
    q->chunk = mem_dup(m->values[1].text);
    peer_claim(CLAIM_IF_NEW, &q->turn, q->peer, 0, NULL, read_chunk);
    return ERR_NONE;
}

void chunk_request_init(void)
{
    hits = metric_counter("signalbox_chunk_cache_hits_total", "Requests for a chunk that was cached");
    misses = metric_counter("signalbox_chunk_cache_misses_total", "Requests for a chunk that was not cached");
}
