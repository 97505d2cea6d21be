/* SPDX-License-Identifier: MIT */
#include "signalbox/delivery.h"

#include <stdlib.h>
#include <string.h>

#include "signalbox/entry.h"
#include "signalbox/inbox.h"
#include "signalbox/keys.h"
#include "signalbox/lease.h"
#include "signalbox/metrics.h"
#include "signalbox/script.h"

static struct metric *local, *remote, *not_found, *busy, *dropped;
static double arrived; /* at other workers, and did not come back */

void delivery_gone(const char *entry, const struct address *holder, session_id from, bool said)
{
    metric_add(not_found, 1);
    if (!entry || !*entry)
        return;
    if (holder && (said || !worker_alive(holder->wid)))
        entry_remove_stale(entry, holder, from);
    else
        entry_not_found(entry, holder, from);
}

/* Nobody listens at that worker; or Redis was not reached, and nobody knows what became of the frame. */
static void on_unreached(struct inbox_frame *frame, const char *wid, bool lost)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t)) {
        struct address holder = {.sid = t.sid};
        char *entry;

        memcpy(holder.wid, wid, WID_LEN);
        entry = span_dup(t.entry);
        if (!lost)
            delivery_gone(entry, &holder, frame->from.sid, false);
        else if (*entry)
            entry_unavailable(entry, frame->from.sid);
        metric_add(dropped, lost);
        free(entry);
    }
}

static void on_reached(const struct inbox_frame *frame)
{
    delivery_count_remote(frame->targets);
}

static int by_worker(const void *a, const void *b)
{
    const struct target *const *x = a, *const *y = b;

    return memcmp((*x)->address.wid, (*y)->address.wid, WID_LEN);
}

/* Sends one frame to all targets of one worker. */
static void send_remote(struct bytes *b, size_t count, const struct target *const *targets, session_id from)
{
    struct builder w = {0};

    inbox_frame_begin(&w, INBOX_SEND, self_address(from));
    for (size_t i = 0; i < count; i++)
        inbox_frame_target(&w, (struct inbox_target){targets[i]->address.sid, span_of(targets[i]->entry)});
    inbox_deliver(targets[0]->address.wid, &w, (unsigned)count, bytes_span(b), on_reached, on_unreached);
}

bool delivery_refuses(struct session *s, size_t len, struct span entry, session_id from)
{
    char *text;
    bool refuses;

    if (!from || !entry.len || !session_is_busy(s, len))
        return false;
    text = span_dup(entry);
    refuses = entry_may_be_busy(text);
    free(text);
    return refuses;
}

void delivery_busy(const char *entry, const struct address *holder, session_id from)
{
    metric_add(busy, 1);
    entry_busy(entry, holder, from);
}

void delivery_answer_busy(const struct inbox_frame *frame, struct inbox_target target)
{
    struct builder w = {0};

    inbox_frame_begin(&w, INBOX_BUSY, self_address(frame->from.sid));
    inbox_frame_target(&w, target);
    inbox_publish(frame->from.wid, &w, 1, (struct span){"", 0}, NULL);
}

static void send_local(struct bytes *b, const struct target *t, session_id from)
{
    struct session *s = session_find(t->address.sid);

    if (!s) {
        delivery_gone(t->entry, &t->address, from, true);
    } else if (delivery_refuses(s, bytes_len(b), span_of(t->entry), from)) {
        delivery_busy(t->entry, &t->address, from);
    } else {
        metric_add(local, 1);
        session_send(s, bytes_ref(b));
    }
}

void delivery_send(struct bytes *b, size_t count, const struct target *targets, session_id from)
{
    const struct target **elsewhere = mem_alloc(count * sizeof(struct target *));
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        if (address_is_self(&targets[i].address))
            send_local(b, &targets[i], from);
        else
            elsewhere[n++] = &targets[i];
    }
    if (n > 1)
        qsort(elsewhere, n, sizeof(struct target *), by_worker);
    for (size_t begin = 0, end; begin < n; begin = end) {
        end = begin + 1;
        while (end < n && end - begin < UINT16_MAX && by_worker(&elsewhere[begin], &elsewhere[end]) == 0)
            end++;
        send_remote(b, end - begin, elsewhere + begin, from);
    }
    free(elsewhere);
}

void delivery_arguments(struct call *c, session_id from)
{
    struct builder head = {0};
    char channel[KEY_MAX];

    key_inbox(channel, "");
    inbox_frame_begin(&head, INBOX_SEND, self_address(from));
    call_text(c, self_wid());
    call_text(c, channel);
    call_span(c, inbox_frame_head(&head));
    builder_free(&head);
}

static void on_send(struct inbox_frame *frame)
{
    struct bytes *b = bytes_copy(frame->body);
    struct builder answer = {0};
    struct inbox_target t;
    unsigned missing = 0;

    while (inbox_next_target(frame, &t)) {
        struct session *s = session_find(t.sid);
        if (s && delivery_refuses(s, bytes_len(b), t.entry, frame->from.sid)) {
            delivery_answer_busy(frame, t);
            continue;
        }
        if (s) {
            session_send(s, bytes_ref(b));
            continue;
        }
        if (missing++ == 0)
            inbox_frame_begin(&answer, INBOX_GONE, self_address(frame->from.sid));
        inbox_frame_target(&answer, t);
    }
    bytes_unref(b);
    if (missing)
        inbox_publish(frame->from.wid, &answer, missing, (struct span){"", 0}, NULL);
}

/* The answer names the session that sent the message, so that nothing is kept here while it is under way. */
static void on_gone(struct inbox_frame *frame)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t)) {
        struct address holder = frame->from;
        char *entry = span_dup(t.entry);

        holder.sid = t.sid;
        delivery_count_returned();
        delivery_gone(entry, &holder, frame->from.sid, true);
        free(entry);
    }
}

static void on_busy(struct inbox_frame *frame)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t)) {
        struct address holder = frame->from;
        char *entry = span_dup(t.entry);

        holder.sid = t.sid;
        delivery_count_returned();
        delivery_busy(entry, &holder, frame->from.sid);
        free(entry);
    }
}

void delivery_count_local(void)
{
    metric_add(local, 1);
}

void delivery_count_remote(size_t count)
{
    arrived += (double)count;
}

void delivery_count_returned(void)
{
    arrived--;
}

void delivery_count_dropped(void)
{
    metric_add(dropped, 1);
}

/* A counter must not go down: a message that was counted and then comes back is taken off those that arrive next. */
static void collect(void)
{
    if (arrived > metric_value(remote))
        metric_add(remote, arrived - metric_value(remote));
}

void delivery_init(void)
{
    struct metric_family *results =
        metric_family(METRIC_COUNTER, "signalbox_delivery_total", "Messages by what became of them", "result");

    local = metric_series(results, "local");
    remote = metric_series(results, "remote");
    not_found = metric_series(results, "not_found");
    busy = metric_series(results, "busy");
    dropped = metric_series(results, "dropped");
    metrics_on_collect(collect);
    inbox_on(INBOX_SEND, on_send);
    inbox_on(INBOX_GONE, on_gone);
    inbox_on(INBOX_BUSY, on_busy);
}
