/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/chunk.h"
#include "signalbox/config.h"
#include "signalbox/delivery.h"
#include "signalbox/identity.h"
#include "signalbox/inbox.h"
#include "signalbox/json_scan.h"
#include "signalbox/limits.h"
#include "signalbox/metrics.h"
#include "signalbox/relay.h"
#include "signalbox/script.h"

static struct metric *evictions, *multicasts, *receivers, *ignored;

struct pushing {
    struct turn turn;
    struct storing unused; /* of what was taken of the storage, now or for what has had to go since */
    char *chunk, *peer;    /* NULL: it named none */
    struct bytes *data;
    size_t answers_due;
    bool taken;
};

static void pushing_clear(void *arg)
{
    struct pushing *p = arg;

    if (p->taken && p->unused.bytes)
        storage_give_back(&p->turn, &p->unused);
    bytes_unref(p->data);
    free(p->chunk);
    free(p->peer);
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

static void finish(struct pushing *p)
{
    struct builder w = {0};

    builder_text(&w, "{\"type\":\"chunk_push_ack\",\"chunkId\":");
    builder_json(&w, span_of(p->chunk));
    builder_text(&w, "}");
    turn_send(&p->turn, builder_take(&w));
    turn_end(&p->turn);
}

struct evicting {
    struct pushing *owner;
    size_t chunk_len;
};

/* What this socket had pushed counts no more. What others had counts to them until it would have ended. */
static void on_evicted(const struct reply *r, void *arg)
{
    struct evicting *e = arg;
    struct pushing *p = e->owner;
    long long deleted, bytes;

    if (r && reply_read(r, "ii", &deleted, &bytes) && bytes)
        p->unused.bytes += chunk_data_storing(e->chunk_len, (size_t)bytes).bytes;
    free(e);
    if (--p->answers_due == 0)
        finish(p);
}

static void evict(struct pushing *p, struct span chunk, long long now_us)
{
    struct evicting *e = mem_alloc(sizeof(*e));
    struct call c = call_new(&script_chunk_evict);
    char address[ADDRESS_MAX];

    *e = (struct evicting){p, chunk.len};
    self_address_text(p->turn.session, address);
    call_chunk_keys(&c, chunk.at, "data");
    call_int(&c, now_us);
    call_text(&c, address);
    call_send(&c, on_evicted, e);
    metric_add(evictions, 1);
}

static void on_kept(const struct reply *r, void *arg)
{
    struct pushing *p = arg;
    const struct reply *evicted;
    long long now_us;

    if (!r || !reply_read(r, "ri", &evicted, &now_us) || reply_count(evicted) == 0) {
        finish(p);
        return;
    }
    p->answers_due = reply_count(evicted);
    for (size_t i = 0; i < p->answers_due; i++)
        evict(p, reply_span(reply_at(evicted, i)), now_us);
}

static void keep(struct pushing *p)
{
    struct call c = call_new(&script_chunk_keep);

    call_key(&c, KEY_CHUNK_USES);
    call_key(&c, KEY_CHUNK_ENDS);
    call_key(&c, KEY_CHUNK_PULLS);
    call_key(&c, KEY_CHUNK_OWNERS);
    call_key(&c, KEY_CHUNK_ORDER);
    call_key(&c, KEY_CHUNK_COUNTS);
    call_text(&c, p->chunk);
    call_int(&c, config->chunk_cache_ttl_ms);
    call_int(&c, config->chunk_cache_max);
    call_text(&c, ip_range(p->turn.ip));
    call_send(&c, on_kept, p);
}

/* A push that changes nothing is acknowledged, too: the chunk is there, or its sources are asked for it. */
static void on_pushed(const struct reply *r, void *arg)
{
    struct pushing *p = arg;
    const struct reply *waiters;
    long long cached, replaced;

    if (!r || !reply_read(r, "iir", &cached, &replaced, &waiters)) {
        p->unused.bytes = 0;
        turn_fail(&p->turn, ERR_UNAVAILABLE, NULL);
        turn_end(&p->turn);
    } else if (cached) {
        p->unused.bytes = replaced ? chunk_data_storing(strlen(p->chunk), (size_t)replaced).bytes : 0;
        serve_waiters(p, waiters);
        keep(p);
    } else {
        metric_add(ignored, 1);
        chunk_touch(p->chunk);
        finish(p);
    }
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

/* Who names no peer pushes as whichever of its peers is a source. */
static void call_pusher(struct call *c, const struct pushing *p, struct session *s)
{
    char address[ADDRESS_MAX];
    struct identity *const *all;
    size_t count = identities_of(s, &all);

    self_address_text(p->turn.session, address);
    call_text(c, address);
    if (p->peer)
        call_text(c, p->peer);
    for (size_t i = 0; i < count && !p->peer; i++)
        if (all[i]->kind == &peer_kind)
            call_text(c, all[i]->id);
}

static void push(struct session *s, void *arg)
{
    struct pushing *p = arg;
    struct call c = call_new(&script_chunk_push);

    call_chunk_keys(&c, p->chunk, "data src rest wait pull tried");
    call_span(&c, bytes_span(p->data));
    call_int(&c, config->chunk_cache_ttl_ms);
    call_text(&c, self_wid());
    call_message(&c, p);
    call_pusher(&c, p, s);
    call_send(&c, on_pushed, p);
}

static void on_taken(struct turn *t, enum err e)
{
    struct pushing *p = (struct pushing *)t;
    struct session *s = turn_session(t);

    p->taken = e == ERR_NONE;
    if (p->taken && s && p->peer) {
        peer_claim(CLAIM_IF_NEW, t, p->peer, 0, NULL, push);
    } else if (p->taken && s) {
        push(s, p);
    } else {
        if (!p->taken)
            turn_fail(t, e, NULL);
        turn_end(t);
    }
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
    p->peer = peer->present ? mem_dup(peer->text) : NULL;
    p->data = bytes_copy(data->raw);
    p->unused = chunk_data_storing(strlen(p->chunk), bytes_span(p->data).len);
    storage_take(&p->turn, &p->unused, on_taken);
    return ERR_NONE;
}

void chunk_push_init(void)
{
    evictions = metric_counter("signalbox_chunk_cache_evictions_total", "Chunks that left the cache for newer ones");
    multicasts = metric_counter("signalbox_chunk_multicasts_total", "Pushed chunks that somebody waited for");
    ignored = metric_counter("signalbox_chunk_pushes_ignored_total", "Pushes by others than the sources of the chunk");
    receivers = metric_counter("signalbox_chunk_multicast_receivers_total", "Waiters that were sent a pushed chunk");
}
