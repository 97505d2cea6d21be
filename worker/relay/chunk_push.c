/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/chunk.h"
#include "signalbox/config.h"
#include "signalbox/delivery.h"
#include "signalbox/json.h"
#include "signalbox/metrics.h"
#include "signalbox/relay.h"
#include "signalbox/script.h"

static struct metric *evictions, *multicasts, *receivers;

struct pushing {
    session_id session;
    char *chunk;
    struct bytes *data;
};

static void pushing_free(void *arg)
{
    struct pushing *p = arg;

    bytes_unref(p->data);
    free(p->chunk);
    free(p);
}

/* One copy of the data in memory here, and one publish to each other worker that has waiters. */
static void multicast(const struct pushing *p, const struct reply *waiters)
{
    size_t count = reply_count(waiters);
    struct target *targets = mem_alloc((count + 1) * sizeof(*targets));
    const char **entries = mem_alloc((count + 1) * sizeof(*entries)), *peer;
    struct builder w = {0};
    struct bytes *message;
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        char entry[ENTRY_MAX];
        if (!holder_parse(reply_span(reply_at(waiters, i)), &targets[n].address, &peer))
            continue;
        chunk_entry(entry, "wait", p->chunk, peer);
        entries[n++] = mem_dup(tally_entry(entry));
    }
    wire_chunk_data(&w, p->chunk, bytes_span(p->data), "relay");
    message = builder_take(&w);
    if (n) {
        metric_add(multicasts, 1);
        metric_add(receivers, (double)n);
        delivery_send(message, n, targets, 0);
        tally_remove(&chunk_waits, n, entries);
    }
    bytes_unref(message);
    for (size_t i = 0; i < n; i++)
        free((char *)entries[i]);
    free(entries);
    free(targets);
}

static void on_kept(const struct reply *r, void *arg)
{
    const struct reply *evicted;
    char key[KEY_MAX];

    (void)arg;
    if (!r || !reply_read(r, "r", &evicted))
        return;
    for (size_t i = 0; i < reply_count(evicted); i++) {
        key_chunk(key, reply_span(reply_at(evicted, i)).at, "data");
        redis_command(NULL, NULL, "DEL", key, NULL);
        metric_add(evictions, 1);
    }
}

static void on_pushed(const struct reply *r, void *arg)
{
    struct pushing *p = arg;
    struct session *s = session_find(p->session);
    const struct reply *waiters;
    struct builder w = {0};
    bool ok = r && reply_read(r, "r", &waiters);

    if (s && ok) {
        builder_text(&w, "{\"type\":\"chunk_push_ack\",\"chunkId\":");
        builder_json(&w, span_of(p->chunk));
        builder_text(&w, "}");
        session_send(s, builder_take(&w));
    } else if (s) {
        session_fail(s, ERR_UNAVAILABLE, NULL);
    }
    if (ok)
        multicast(p, waiters);
    if (s)
        session_release(s);
    pushing_free(p);
}

/* Both calls go out together; the second keeps the cache within its bound. */
static void push(struct session *s, void *arg)
{
    static const char *const parts[] = {"data", "wait", "pull", "tried"};
    struct pushing *p = arg;
    struct call c = call_new(&script_chunk_push);
    char key[KEY_MAX];

    (void)s;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        key_chunk(key, p->chunk, parts[i]);
        call_key(&c, key);
    }
    call_span(&c, bytes_span(p->data));
    call_int(&c, config->chunk_cache_ttl_ms);
    call_send(&c, on_pushed, p);
    c = call_new(&script_chunk_keep);
    call_key(&c, KEY_CHUNK_USES);
    call_key(&c, KEY_CHUNK_ENDS);
    call_key(&c, KEY_CHUNK_PULLS);
    call_text(&c, p->chunk);
    call_int(&c, config->chunk_cache_ttl_ms);
    call_int(&c, config->chunk_cache_max);
    call_send(&c, on_kept, NULL);
}

enum err handle_chunk_push(struct session *s, const struct message *m)
{
    const struct value *peer = &m->values[0], *chunk = &m->values[1], *data = &m->values[2];
    size_t len = json_compact_len(data->raw);
    struct pushing *p;
    char sizes[64];

    if (len > (size_t)config->chunk_max_bytes) {
        snprintf(sizes, sizeof(sizes), "%zu bytes exceeds %lld", len, config->chunk_max_bytes);
        session_fail(s, ERR_CHUNK_TOO_LARGE, sizes);
        return ERR_NONE;
    }
    p = mem_alloc(sizeof(*p));
    *p = (struct pushing){session_id_of(s), mem_dup(chunk->text), bytes_copy(data->raw)};
    if (peer->present)
        return peer_claim(CLAIM_IF_NEW, s, peer->text, 0, NULL, push, pushing_free, p);
    session_hold(s);
    push(s, p);
    return ERR_NONE;
}

void chunk_push_init(void)
{
    evictions = metric_counter("signalbox_chunk_cache_evictions_total", "Chunks that left the cache for newer ones");
    multicasts = metric_counter("signalbox_chunk_multicasts_total", "Pushed chunks that somebody waited for");
    receivers = metric_counter("signalbox_chunk_multicast_receivers_total", "Waiters that were sent a pushed chunk");
}
