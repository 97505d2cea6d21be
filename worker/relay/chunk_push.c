/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/chunk.h"
#include "signalbox/config.h"
#include "signalbox/delivery.h"
#include "signalbox/inbox.h"
#include "signalbox/json_scan.h"
#include "signalbox/metrics.h"
#include "signalbox/relay.h"
#include "signalbox/script.h"

static struct metric *evictions, *multicasts, *receivers;

struct pushing {
    struct turn turn;
    char *chunk;
    struct bytes *data;
    int answers_due;
    bool ok;
};

static void pushing_clear(void *arg)
{
    struct pushing *p = arg;

    bytes_unref(p->data);
    free(p->chunk);
}

/* Those on other workers have been sent it by the script. */
static void serve_waiters(const struct pushing *p, const struct reply *waiters)
{
    size_t count = reply_count(waiters);
    struct target *here = mem_alloc((count + 1) * sizeof(*here));
    const char **entries = mem_alloc((count + 1) * sizeof(*entries)), *peer;
    struct builder w = {0};
    struct bytes *message;
    size_t n = 0, n_here = 0;

    for (size_t i = 0; i < count; i++) {
        struct span holder = reply_span(reply_at(waiters, i));
        struct address a;
        if (!holder_parse(holder, &a, &peer))
            continue;
        entries[n++] = tally_entry_new(p->chunk, holder);
        if (address_is_self(&a))
            here[n_here++].address = a;
    }
    wire_chunk_data(&w, p->chunk, bytes_span(p->data), "relay");
    message = builder_take(&w);
    delivery_send(message, n_here, here, 0);
    delivery_count_remote(n - n_here);
    metric_add(multicasts, n > 0);
    metric_add(receivers, (double)n);
    turn_charge(&p->turn, cost_of_told(p->turn.cost, n, bytes_len(message)));
    tally_remove(&chunk_waits, n, entries);
    bytes_unref(message);
    for (size_t i = 0; i < n; i++)
        free((char *)entries[i]);
    free(entries);
    free(here);
}

/* The client hears of it once what had to leave the cache for it is on its way out. */
static void answered(struct pushing *p)
{
    struct builder w = {0};

    if (--p->answers_due > 0)
        return;
    if (p->ok) {
        builder_text(&w, "{\"type\":\"chunk_push_ack\",\"chunkId\":");
        builder_json(&w, span_of(p->chunk));
        builder_text(&w, "}");
        turn_send(&p->turn, builder_take(&w));
    } else {
        turn_fail(&p->turn, ERR_UNAVAILABLE, NULL);
    }
    turn_end(&p->turn);
}

static void on_kept(const struct reply *r, void *arg)
{
    const struct reply *evicted;
    long long now_us;
    char key[KEY_MAX];

    if (r && reply_read(r, "ri", &evicted, &now_us)) {
        for (size_t i = 0; i < reply_count(evicted); i++) {
            struct call c = call_new(&script_chunk_evict);
            key_chunk(key, reply_span(reply_at(evicted, i)).at, "data");
            call_key(&c, key);
            call_int(&c, now_us);
            call_send(&c, NULL, NULL);
            metric_add(evictions, 1);
        }
    }
    answered(arg);
}

static void on_pushed(const struct reply *r, void *arg)
{
    struct pushing *p = arg;
    const struct reply *waiters;

    p->ok = r && reply_read(r, "r", &waiters);
    if (p->ok)
        serve_waiters(p, waiters);
    answered(p);
}

static void call_message(struct call *c, const struct pushing *p)
{
    struct builder head = {0}, message = {0};
    char channel[KEY_MAX];
    struct span all;
    size_t behind = sizeof(",\"source\":\"relay\"}") - 1;

    key_inbox(channel, "");
    call_text(c, channel);
    inbox_frame_begin(&head, INBOX_SEND, self_address(0));
    call_span(c, inbox_frame_head(&head));
    wire_chunk_data(&message, p->chunk, (struct span){0}, "relay");
    all = bytes_span(message.bytes);
    call_span(c, (struct span){all.at, all.len - behind});
    call_span(c, (struct span){all.at + all.len - behind, behind});
    builder_free(&head);
    builder_free(&message);
}

/* Both calls go out together; the second keeps the cache within its bound. */
static void push(struct session *s, void *arg)
{
    static const char *const parts[] = {"data", "wait", "pull", "tried"};
    struct pushing *p = arg;
    struct call c = call_new(&script_chunk_push);
    char key[KEY_MAX];

    (void)s;
    p->answers_due = 2;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        key_chunk(key, p->chunk, parts[i]);
        call_key(&c, key);
    }
    call_span(&c, bytes_span(p->data));
    call_int(&c, config->chunk_cache_ttl_ms);
    call_text(&c, self_wid());
    call_message(&c, p);
    call_send(&c, on_pushed, p);
    c = call_new(&script_chunk_keep);
    call_key(&c, KEY_CHUNK_USES);
    call_key(&c, KEY_CHUNK_ENDS);
    call_key(&c, KEY_CHUNK_PULLS);
    call_text(&c, p->chunk);
    call_int(&c, config->chunk_cache_ttl_ms);
    call_int(&c, config->chunk_cache_max);
    call_send(&c, on_kept, p);
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
    p = turn_begin(s, sizeof(*p), pushing_clear);
    p->chunk = mem_dup(chunk->text);
    p->data = bytes_copy(data->raw);
    if (peer->present)
        peer_claim(CLAIM_IF_NEW, &p->turn, peer->text, 0, NULL, push);
    else
        push(s, p);
    return ERR_NONE;
}

void chunk_push_init(void)
{
    evictions = metric_counter("signalbox_chunk_cache_evictions_total", "Chunks that left the cache for newer ones");
    multicasts = metric_counter("signalbox_chunk_multicasts_total", "Pushed chunks that somebody waited for");
    receivers = metric_counter("signalbox_chunk_multicast_receivers_total", "Waiters that were sent a pushed chunk");
}
