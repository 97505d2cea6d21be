/* SPDX-License-Identifier: MIT */
#include "signalbox/inbox.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/keys.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/redis.h"

#define FRAME_VERSION 1
#define HEADER_LEN (1 + 1 + WID_LEN + 8 + 2)
#define COUNT_AT (HEADER_LEN - 2)
#define TARGET_LEN (8 + 2)
#define ECHO_MS 2000 /* of silence before a worker asks whether it still hears, and of patience for the echo */
#define LOOK_MS 250

static void (*callbacks[INBOX_OPERATIONS])(struct inbox_frame *frame);
static struct metric *received, *malformed, *resubscriptions, *echoes, *deaf, *echo_age;
static char own_channel[KEY_MAX];
static void (*heard_again)(void);
static int64_t heard_ms, echo_sent_ms, looked_ms; /* echo_sent_ms: 0 while no echo is awaited */

static uint64_t read_u64(const char *at)
{
    uint64_t n;

    memcpy(&n, at, sizeof(n));
    return le64toh(n);
}

static uint16_t read_u16(const char *at)
{
    uint16_t n;

    memcpy(&n, at, sizeof(n));
    return le16toh(n);
}

static void add_u64(struct builder *w, uint64_t n)
{
    n = htole64(n);
    builder_add(w, (struct span){(const char *)&n, sizeof(n)});
}

static void add_u16(struct builder *w, uint16_t n)
{
    n = htole16(n);
    builder_add(w, (struct span){(const char *)&n, sizeof(n)});
}

/* Walks all targets once, so that a frame that was read is known to be whole. */
bool inbox_frame_read(struct span m, struct inbox_frame *frame)
{
    struct span rest;

    if (m.len < HEADER_LEN || m.at[0] != FRAME_VERSION || m.at[1] < INBOX_SEND || m.at[1] >= INBOX_OPERATIONS)
        return false;
    *frame = (struct inbox_frame){.operation = (enum inbox_operation)m.at[1]};
    memcpy(frame->from.wid, m.at + 2, WID_LEN);
    frame->from.sid = read_u64(m.at + 2 + WID_LEN);
    frame->targets = read_u16(m.at + COUNT_AT);
    rest = (struct span){m.at + HEADER_LEN, m.len - HEADER_LEN};
    frame->rest = rest;
    for (unsigned i = 0; i < frame->targets; i++) {
        size_t len = rest.len < TARGET_LEN ? SIZE_MAX : (size_t)TARGET_LEN + read_u16(rest.at + 8);
        if (len > rest.len)
            return false;
        rest = (struct span){rest.at + len, rest.len - len};
    }
    frame->body = rest;
    return true;
}

bool inbox_next_target(struct inbox_frame *frame, struct inbox_target *target)
{
    size_t len;

    if (frame->targets == 0)
        return false;
    len = read_u16(frame->rest.at + 8);
    *target = (struct inbox_target){read_u64(frame->rest.at), {frame->rest.at + TARGET_LEN, len}};
    frame->rest = (struct span){frame->rest.at + TARGET_LEN + len, frame->rest.len - TARGET_LEN - len};
    frame->targets--;
    return true;
}

void inbox_frame_begin(struct builder *w, enum inbox_operation operation, struct address from)
{
    const char head[] = {FRAME_VERSION, (char)operation};

    builder_add(w, (struct span){head, sizeof(head)});
    builder_add(w, (struct span){from.wid, WID_LEN});
    add_u64(w, from.sid);
    add_u16(w, 0);
}

struct span inbox_frame_head(const struct builder *w)
{
    return (struct span){bytes_span(w->bytes).at, COUNT_AT};
}

void inbox_frame_target(struct builder *w, struct inbox_target target)
{
    add_u64(w, target.sid);
    add_u16(w, (uint16_t)target.entry.len);
    builder_add(w, target.entry);
}

struct publication {
    char wid[WID_LEN + 1];
    inbox_reached reached;
    inbox_unreached unreached;
    struct bytes *frame;
};

static void on_published(const struct reply *r, void *arg)
{
    struct publication *p = arg;
    struct inbox_frame frame;
    bool whole = inbox_frame_read(bytes_span(p->frame), &frame);

    if (whole && p->reached && reply_int(r) > 0)
        p->reached(&frame);
    else if (whole && p->unreached && reply_int(r) == 0)
        p->unreached(&frame, p->wid, r == NULL);
    bytes_unref(p->frame);
    free(p);
}

/* Empties w; the caller keeps the frame as long as it wants. */
static struct bytes *send_frame(const char *wid, struct builder *w, unsigned targets, struct span body,
                                redis_callback sent, void *arg)
{
    uint16_t count = htole16((uint16_t)targets);
    struct bytes *frame;
    char channel[KEY_MAX];

    builder_add(w, body);
    frame = builder_take(w);
    memcpy(bytes_data(frame) + COUNT_AT, &count, sizeof(count));
    key_inbox(channel, wid);
    redis_send(sent, arg, 3, (struct span[]){SPAN("PUBLISH"), span_of(channel), bytes_span(frame)});
    return frame;
}

void inbox_deliver(const char *wid, struct builder *w, unsigned targets, struct span body, inbox_reached reached,
                   inbox_unreached unreached)
{
    struct publication *p = mem_alloc(sizeof(*p));

    memcpy(p->wid, wid, WID_LEN);
    p->reached = reached;
    p->unreached = unreached;
    p->frame = send_frame(wid, w, targets, body, on_published, p);
}

void inbox_publish(const char *wid, struct builder *w, unsigned targets, struct span body, inbox_unreached unreached)
{
    inbox_deliver(wid, w, targets, body, NULL, unreached);
}

void inbox_send(const char *wid, struct builder *w, unsigned targets, struct span body, redis_callback sent, void *arg)
{
    bytes_unref(send_frame(wid, w, targets, body, sent, arg));
}

static void on_message(const char *channel, struct span message)
{
    struct inbox_frame frame;

    (void)channel;
    heard_ms = loop_ms();
    echo_sent_ms = 0;
    metric_add(received, 1);
    if (inbox_frame_read(message, &frame) && callbacks[frame.operation]) {
        callbacks[frame.operation](&frame);
        return;
    }
    metric_add(malformed, 1);
    LOG_WARNING("inbox_frame_malformed", LOG_INT("bytes", message.len));
}

void inbox_on(enum inbox_operation operation, void (*callback)(struct inbox_frame *frame))
{
    callbacks[operation] = callback;
}

static void on_live(const char *channel, bool live)
{
    static bool before;

    (void)channel;
    heard_ms = loop_ms();
    echo_sent_ms = 0;
    if (live && before) {
        metric_add(resubscriptions, 1);
        if (heard_again)
            heard_again();
    }
    before |= live;
}

/* Nobody there, though the channel counts as live: Redis has lost the subscription. An echo that did not reach Redis
   says nothing. */
static void on_echo_sent(const struct reply *r, void *arg)
{
    (void)arg;
    if (!r)
        echo_sent_ms = 0;
    else if (reply_int(r) == 0 && inbox_live() && echo_sent_ms)
        redis_subscribe_anew("its probe reached nobody");
}

static void send_echo(void)
{
    struct builder w = {0};

    echo_sent_ms = loop_ms();
    metric_add(echoes, 1);
    inbox_frame_begin(&w, INBOX_ECHO, self_address(0));
    redis_send(on_echo_sent, NULL, 3, (struct span[]){SPAN("PUBLISH"), span_of(own_channel), bytes_span(w.bytes)});
    builder_free(&w);
}

/* A connection may be open and carry nothing. After a pause of this process the echo may just be waiting to be read. */
static void on_look(void *arg)
{
    int64_t now = loop_ms();
    bool paused = now - looked_ms > 4 * LOOK_MS;

    (void)arg;
    looked_ms = now;
    if (!inbox_live() || paused) {
        echo_sent_ms = echo_sent_ms ? now : 0;
        return;
    }
    if (echo_sent_ms && now - echo_sent_ms >= ECHO_MS) {
        echo_sent_ms = 0;
        metric_add(deaf, 1);
        redis_subscribe_anew("no echo of its probe");
    } else if (!echo_sent_ms && now - heard_ms >= ECHO_MS && redis_up()) {
        send_echo();
    }
}

static void on_echo(struct inbox_frame *frame)
{
    (void)frame;
}

static void collect(void)
{
    metric_set(echo_age, (double)(loop_ms() - heard_ms) / 1000);
}

void inbox_move(void)
{
    redis_unsubscribe(own_channel);
    key_inbox(own_channel, self_wid());
    redis_subscribe(own_channel, on_message, on_live);
}

bool inbox_live(void)
{
    return redis_channel_live(own_channel);
}

void inbox_on_heard_again(void (*callback)(void))
{
    heard_again = callback;
}

void inbox_init(void)
{
    resubscriptions = metric_counter("signalbox_resubscriptions_total", "Times this worker heard its inbox again");
    echoes = metric_counter("signalbox_subscriber_probes_total", "Frames sent to this worker's own inbox to hear them");
    deaf = metric_counter("signalbox_subscriber_deaf_total", "Subscriptions given up because they carried no probe");
    echo_age = metric_gauge("signalbox_subscriber_probe_age_seconds", "Since this worker last heard its inbox");
    metrics_on_collect(collect);
    inbox_on(INBOX_ECHO, on_echo);
    heard_ms = looked_ms = loop_ms();
    timer_every(LOOK_MS, on_look, NULL);
    received = metric_counter("signalbox_inbox_frames_total", "Frames received from other workers");
    malformed = metric_counter("signalbox_inbox_malformed_total", "Frames from other workers that could not be read");
    key_inbox(own_channel, self_wid());
    redis_subscribe(own_channel, on_message, on_live);
}
