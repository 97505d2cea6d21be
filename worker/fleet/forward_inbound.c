/* SPDX-License-Identifier: MIT */
#include "signalbox/forward_inbound.h"

#include <stdlib.h>
#include <sys/queue.h>
#include <uthash.h>

#include "signalbox/delivery.h"
#include "signalbox/identity.h"
#include "signalbox/inbox.h"
#include "signalbox/loop.h"

#define FORGET_MS 10000 /* a worker that has sent no fence by then will send none */
#define TIDY_MS 1000

/* One worker's messages to one identity: some were sent back, so all are, until that worker's fence comes. */
struct turned_away {
    struct bytes *key; /* wid of that worker, and the identity */
    int64_t since_ms;
    TAILQ_ENTRY(turned_away) by_age;
    UT_hash_handle hh;
};

static struct turned_away *turned_away;
static TAILQ_HEAD(, turned_away) by_age = TAILQ_HEAD_INITIALIZER(by_age);

static struct bytes *key_of(const struct inbox_frame *frame, struct span identity)
{
    struct builder key = {0};

    builder_add(&key, (struct span){frame->from.wid, WID_LEN});
    builder_add(&key, identity);
    return builder_take(&key);
}

static struct turned_away *find(const struct inbox_frame *frame, struct span identity)
{
    struct turned_away *found;
    struct bytes *key;

    if (!turned_away)
        return NULL;
    key = key_of(frame, identity);
    HASH_FIND(hh, turned_away, bytes_span(key).at, bytes_len(key), found);
    bytes_unref(key);
    return found;
}

static void turn_away(const struct inbox_frame *frame, struct span identity)
{
    struct turned_away *t = mem_alloc(sizeof(*t));

    t->key = key_of(frame, identity);
    t->since_ms = loop_ms();
    HASH_ADD_KEYPTR(hh, turned_away, bytes_span(t->key).at, bytes_len(t->key), t);
    TAILQ_INSERT_TAIL(&by_age, t, by_age);
}

static void forget(struct turned_away *t)
{
    HASH_DEL(turned_away, t);
    TAILQ_REMOVE(&by_age, t, by_age);
    bytes_unref(t->key);
    free(t);
}

static void on_unreached(struct inbox_frame *frame, const char *wid, bool lost)
{
    (void)frame, (void)wid, (void)lost;
    delivery_count_dropped();
}

static void send_back(struct inbox_frame *frame, struct inbox_target named, struct inbox_target identity)
{
    struct builder w = {0};

    inbox_frame_begin(&w, INBOX_RETURN, self_address(frame->from.sid));
    inbox_frame_target(&w, named);
    inbox_frame_target(&w, identity);
    inbox_publish(frame->from.wid, &w, 2, frame->body, on_unreached);
}

static bool holds(const struct session *s, struct span identity)
{
    char *text = span_dup(identity);
    bool held = s && identity_holder(text) == s;

    free(text);
    return held;
}

static void on_forward(struct inbox_frame *frame)
{
    struct inbox_target named, identity;
    struct session *s;
    bool turned;

    if (!inbox_next_target(frame, &named) || !inbox_next_target(frame, &identity))
        return;
    s = session_find(named.sid);
    turned = find(frame, identity.entry) != NULL;
    if (!turned && holds(s, identity.entry)) {
        if (delivery_refuses(s, frame->body.len, named.entry, frame->from.sid))
            delivery_answer_busy(frame, named);
        else
            session_send(s, bytes_copy(frame->body));
        return;
    }
    if (!turned)
        turn_away(frame, identity.entry);
    send_back(frame, named, identity);
}

static void on_fence(struct inbox_frame *frame)
{
    struct builder w = {0};
    struct inbox_target t;
    unsigned count = 0;

    inbox_frame_begin(&w, INBOX_FENCED, self_address(0));
    for (; inbox_next_target(frame, &t); count++) {
        struct turned_away *found = find(frame, t.entry);

        if (found)
            forget(found);
        inbox_frame_target(&w, t);
    }
    inbox_publish(frame->from.wid, &w, count, (struct span){"", 0}, NULL);
}

static void on_tidy(void *arg)
{
    int64_t now = loop_ms();
    struct turned_away *t;

    (void)arg;
    while ((t = TAILQ_FIRST(&by_age)) && now - t->since_ms > FORGET_MS)
        forget(t);
}

void forward_inbound_init(void)
{
    inbox_on(INBOX_FORWARD, on_forward);
    inbox_on(INBOX_FENCE, on_fence);
    timer_every(TIDY_MS, on_tidy, NULL);
}

void forward_inbound_fini(void)
{
    while (!TAILQ_EMPTY(&by_age))
        forget(TAILQ_FIRST(&by_age));
}
