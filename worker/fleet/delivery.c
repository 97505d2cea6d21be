/* SPDX-License-Identifier: MIT */
#include "signalbox/delivery.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "scripts_data.h"
#include "signalbox/heartbeat.h"
#include "signalbox/inbox.h"
#include "signalbox/keys.h"
#include "signalbox/metrics.h"
#include "signalbox/ownership.h"
#include "signalbox/script.h"

static struct metric *local, *remote, *not_found, *dropped;

/* said: by its worker itself. One that does not listen but has its lease may come back to its subscription: its sockets
   keep what they registered until the lease ends. */
static void gone(const char *entry, const struct address *holder, session_id from, bool said)
{
    metric_add(not_found, 1);
    if (!entry || !*entry)
        return;
    if (said || !worker_alive(holder->wid))
        ownership_gone(entry, holder, from);
    else
        ownership_missing(entry, holder, from);
}

/* Nobody listens at that worker, or Redis was not reached: what became of the frame is then unknown, and counted. */
static void on_unreached(struct inbox_frame *frame, const char *wid, bool lost)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t)) {
        struct address holder = {.sid = t.sid};
        char *entry;

        memcpy(holder.wid, wid, WID_LEN);
        entry = span_dup(t.entry);
        if (!lost)
            gone(entry, &holder, frame->from.sid, false);
        else if (*entry)
            ownership_lost(entry, frame->from.sid);
        metric_add(dropped, lost);
        free(entry);
    }
}

static int by_worker(const void *a, const void *b)
{
    const struct target *const *x = a, *const *y = b;

    return memcmp((*x)->address.wid, (*y)->address.wid, WID_LEN);
}

/* The targets of one worker, which lie side by side. */
static void send_remote(struct bytes *b, size_t count, const struct target *const *targets, session_id from)
{
    struct builder w = {0};

    inbox_frame_begin(&w, INBOX_SEND, self_address(from));
    for (size_t i = 0; i < count; i++)
        inbox_frame_target(&w, (struct inbox_target){targets[i]->address.sid, span_of(targets[i]->entry)});
    metric_add(remote, (double)count);
    inbox_publish(targets[0]->address.wid, &w, (unsigned)count, bytes_span(b), on_unreached);
}

static void send_local(struct bytes *b, const struct target *t, session_id from)
{
    struct session *s = session_find(t->address.sid);

    if (!s) {
        gone(t->entry, &t->address, from, true);
        return;
    }
    metric_add(local, 1);
    session_send(s, bytes_ref(b));
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

/* A message whose target is being looked up. */
struct forward {
    session_id from;
    char *entry;
    struct route *route;
    struct bytes *bytes;
};

/* The forwards to one identity that are under way: while there are any, those that follow go the same way, also if
   its holder is here by now, so that none overtakes another. */
struct route {
    char *identity;
    size_t under_way;
    UT_hash_handle hh;
};

static struct route *routes;

static struct route *find_route(const char *identity)
{
    struct route *found;

    HASH_FIND_STR(routes, identity, found);
    return found;
}

static struct route *take_route(const char *identity)
{
    struct route *found = find_route(identity);

    if (!found) {
        found = mem_alloc(sizeof(*found));
        found->identity = mem_dup(identity);
        HASH_ADD_KEYPTR(hh, routes, found->identity, strlen(found->identity), found);
    }
    found->under_way++;
    return found;
}

static void leave_route(struct route *r)
{
    if (--r->under_way > 0)
        return;
    HASH_DEL(routes, r);
    free(r->identity);
    free(r);
}

/* It is here, or nobody got it. */
static void deliver_looked_up(const struct forward *f, struct span address, bool here)
{
    struct address holder;

    if (!address_parse(address, &holder)) {
        metric_add(not_found, 1);
        ownership_missing(f->entry, NULL, f->from);
    } else if (here) {
        send_local(f->bytes, &(struct target){holder, f->entry}, f->from);
    } else {
        gone(f->entry, &holder, f->from, false);
    }
}

static void on_forwarded(const struct reply *r, void *arg)
{
    struct forward *f = arg;
    struct session *sender = session_find(f->from);
    struct span address;
    long long received;

    if (sender)
        session_forwarded(sender, bytes_len(f->bytes));
    if (!r || !reply_read(r, "si", &address, &received)) {
        metric_add(dropped, 1);
        ownership_lost(f->entry, f->from);
    } else if (received > 0) {
        metric_add(remote, 1);
    } else {
        deliver_looked_up(f, address, received < 0);
    }
    leave_route(f->route);
    bytes_unref(f->bytes);
    free(f->entry);
    free(f);
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

void delivery_forward(const char *key, const char *identity, const char *entry, struct bytes *b, session_id from)
{
    struct session *here = find_route(identity) ? NULL : identity_holder(identity), *sender = session_find(from);
    struct call c = call_new(&script_fleet_forward);
    struct forward *f;

    if (here) {
        metric_add(local, 1);
        session_send(here, bytes_ref(b));
        return;
    }
    f = mem_alloc(sizeof(*f));
    *f = (struct forward){from, mem_dup(entry), take_route(identity), bytes_ref(b)};
    call_key(&c, key);
    delivery_arguments(&c, from);
    call_text(&c, entry);
    call_span(&c, bytes_span(b));
    if (sender)
        session_forwarding(sender, bytes_len(b));
    call_send_in_order(&c, on_forwarded, f);
}

static void on_send(struct inbox_frame *frame)
{
    struct bytes *b = bytes_copy(frame->body);
    struct builder answer = {0};
    struct inbox_target t;
    unsigned missing = 0;

    while (inbox_next_target(frame, &t)) {
        struct session *s = session_find(t.sid);
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

/* The frame comes back with the sender's sid in it, so that a sender keeps nothing while a message is under way. */
static void on_gone(struct inbox_frame *frame)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t)) {
        struct address holder = frame->from;
        char *entry = span_dup(t.entry);

        holder.sid = t.sid;
        gone(entry, &holder, frame->from.sid, true);
        free(entry);
    }
}

void delivery_count_remote(size_t count)
{
    metric_add(remote, (double)count);
}

void delivery_init(void)
{
    struct metric_family *results =
        metric_family(METRIC_COUNTER, "signalbox_delivery_total", "Messages by what became of them", "result");

    local = metric_series(results, "local");
    remote = metric_series(results, "remote");
    not_found = metric_series(results, "not_found");
    dropped = metric_series(results, "dropped");
    inbox_on(INBOX_SEND, on_send);
    inbox_on(INBOX_GONE, on_gone);
}
