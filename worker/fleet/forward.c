/* SPDX-License-Identifier: MIT */
#include "signalbox/forward.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#include "scripts_data.h"
#include "signalbox/delivery.h"
#include "signalbox/entry.h"
#include "signalbox/guess.h"
#include "signalbox/identity.h"
#include "signalbox/inbox.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/script.h"

#define ROUTES_MAX 16384 /* that are remembered; with more of them, forwards go by the script */
#define IDLE_MS 2000     /* after which a route is forgotten; by then only what is overtaken, and dropped, comes back */
#define FENCE_MS 2000    /* for a fence to return: its worker may be unable to answer */
#define LOOK_MS 1000     /* after which Redis is asked whether the holder is still the same */
#define HELD_MAX ((size_t)32 << 20) /* bytes that wait for fences, of all routes; more is refused */
#define TIDY_MS 1000

/* A message of which it is not known yet whether it arrives. */
struct forward {
    session_id from;
    struct guess guess;
    bool missed;     /* nobody holds the identity */
    uint64_t number; /* in the order in which they were sent, to put those that come back in order */
    char *entry;
    struct route *route;
    struct bytes *bytes;
    TAILQ_ENTRY(forward) next;
};
TAILQ_HEAD(forwards, forward);

/* Where messages to one identity go. While there is a route, all of them take it, even if the holder is on this worker
   by now, so that none overtakes another. */
struct route {
    char *identity, *key;
    size_t under_way;      /* forwards on it, and looks at its entry */
    bool known;            /* messages are published to holder without looking it up */
    struct address holder; /* with a fence: where they were published before */
    uint64_t fence;        /* its number; 0: none */
    uint64_t behind;       /* a forward up to this number that comes back now has been overtaken, and is dropped */
    struct timer *patience;
    struct forwards returned, held; /* while there is a fence: what came back, by number, and what came since */
    int64_t used_ms, looked_ms;
    TAILQ_ENTRY(route) by_use;
    UT_hash_handle hh;
};

static struct route *routes;
static TAILQ_HEAD(, route) by_use = TAILQ_HEAD_INITIALIZER(by_use);
static uint64_t last_number, last_fence;
static size_t held_bytes;
static struct metric *known_routes, *came_back;

static struct route *find_route(const char *identity)
{
    struct route *found;

    HASH_FIND_STR(routes, identity, found);
    return found;
}

static struct route *route_new(const char *key, const char *identity)
{
    struct route *r = mem_alloc(sizeof(*r));

    r->identity = mem_dup(identity);
    r->key = mem_dup(key);
    r->behind = last_number;
    TAILQ_INIT(&r->returned);
    TAILQ_INIT(&r->held);
    HASH_ADD_KEYPTR(hh, routes, r->identity, strlen(r->identity), r);
    TAILQ_INSERT_TAIL(&by_use, r, by_use);
    return r;
}

static void route_use(struct route *r)
{
    r->used_ms = loop_ms();
    TAILQ_REMOVE(&by_use, r, by_use);
    TAILQ_INSERT_TAIL(&by_use, r, by_use);
}

static void route_free(struct route *r)
{
    HASH_DEL(routes, r);
    TAILQ_REMOVE(&by_use, r, by_use);
    timer_free(r->patience);
    free(r->identity);
    free(r->key);
    free(r);
}

static void route_leave(struct route *r)
{
    if (--r->under_way == 0 && !r->known && !r->fence)
        route_free(r);
}

static struct forward *forward_new(struct route *r, session_id from, const char *entry, struct bytes *b)
{
    struct session *sender = session_find(from);
    struct forward *f = mem_alloc(sizeof(*f));

    *f = (struct forward){.from = from, .entry = mem_dup(entry), .route = r, .bytes = b};
    r->under_way++;
    if (sender)
        session_forwarding(sender, bytes_len(b));
    return f;
}

static void forward_end(struct forward *f)
{
    struct session *sender = session_find(f->from);

    if (sender)
        session_forwarded(sender, bytes_len(f->bytes));
    guess_end(&f->guess, f->missed);
    route_leave(f->route);
    bytes_unref(f->bytes);
    free(f->entry);
    free(f);
}

static void forward_lost(struct forward *f)
{
    delivery_count_dropped();
    entry_unavailable(f->entry, f->from);
    forward_end(f);
}

static void arrived(struct forward *f)
{
    delivery_count_remote(1);
    guess_found(f->from, f->route->identity);
    forward_end(f);
}

static void doubt(struct route *r);

/* The script has found the holder at that address. If another was known, messages may be on their way to that one. */
static void learn(struct route *r, struct span address)
{
    struct address holder;

    if (r->fence || !address_parse(address, &holder))
        return;
    if (!r->known) {
        r->known = HASH_COUNT(routes) <= ROUTES_MAX;
        r->holder = holder;
        r->looked_ms = loop_ms();
    } else if (!address_equals(&r->holder, &holder)) {
        doubt(r);
    }
}

static void on_looked_up(const struct reply *reply, void *arg)
{
    struct forward *f = arg;
    struct address holder;
    struct span address;
    long long received;

    if (!reply || !reply_read(reply, "si", &address, &received)) {
        forward_lost(f);
        return;
    }
    if (received > 0) {
        learn(f->route, address);
        arrived(f);
        return;
    }
    if (f->route->known)
        doubt(f->route);
    f->missed = !address_parse(address, &holder);
    if (f->missed)
        delivery_gone(f->entry, NULL, f->from, false);
    else if (received < 0)
        delivery_send(f->bytes, 1, &(struct target){holder, f->entry}, f->from);
    else
        delivery_gone(f->entry, &holder, f->from, false);
    forward_end(f);
}

static void look_up(struct forward *f)
{
    struct call c = call_new(&script_fleet_forward);

    call_key(&c, f->route->key);
    delivery_arguments(&c, f->from);
    call_text(&c, f->entry);
    call_span(&c, bytes_span(f->bytes));
    call_send(&c, on_looked_up, f);
}

/* --- to an address that is known --- */

static void comes_back(struct forward *f)
{
    struct route *r = f->route;
    struct forward *before = TAILQ_LAST(&r->returned, forwards); /* they come nearly in order */

    metric_add(came_back, 1);
    if (f->number <= r->behind) {
        forward_lost(f);
        return;
    }
    while (before && before->number > f->number)
        before = TAILQ_PREV(before, forwards, next);
    if (before)
        TAILQ_INSERT_AFTER(&r->returned, before, f, next);
    else
        TAILQ_INSERT_HEAD(&r->returned, f, next);
    doubt(r);
}

static void on_published(const struct reply *reply, void *arg)
{
    struct forward *f = arg;

    if (!reply) {
        forward_lost(f);
    } else if (reply_int(reply) == 0) {
        comes_back(f);
    } else {
        arrived(f);
    }
}

/* The first target is the holder, with the entry that tells the sender if this fails; the second is no socket but the
   message's number, with the identity. */
static void publish(struct forward *f)
{
    const struct route *r = f->route;
    struct builder w = {0};

    f->number = ++last_number;
    inbox_frame_begin(&w, INBOX_FORWARD, self_address(f->from));
    inbox_frame_target(&w, (struct inbox_target){r->holder.sid, span_of(f->entry)});
    inbox_frame_target(&w, (struct inbox_target){f->number, span_of(r->identity)});
    inbox_send(r->holder.wid, &w, 2, bytes_span(f->bytes), on_published, f);
}

static void on_return(struct inbox_frame *frame)
{
    struct inbox_target named, identity;
    struct forward *f;
    struct route *r;
    char *text, *entry;

    if (!inbox_next_target(frame, &named) || !inbox_next_target(frame, &identity))
        return;
    delivery_count_returned();
    text = span_dup(identity.entry);
    entry = span_dup(named.entry);
    r = find_route(text);
    if (r) {
        if (!r->fence && identity.sid > r->behind)
            memcpy(r->holder.wid, frame->from.wid, WID_LEN);
        f = forward_new(r, frame->from.sid, entry, bytes_copy(frame->body));
        f->number = identity.sid;
        comes_back(f);
    } else {
        delivery_count_dropped();
        entry_unavailable(entry, frame->from.sid);
    }
    free(text);
    free(entry);
}

/* --- the fence --- */

static size_t cost(const struct forward *f)
{
    return sizeof(*f) + bytes_len(f->bytes);
}

static void hold(struct forward *f)
{
    if (held_bytes + cost(f) > HELD_MAX) {
        forward_lost(f);
        return;
    }
    held_bytes += cost(f);
    TAILQ_INSERT_TAIL(&f->route->held, f, next);
}

static void lower_fence(struct route *r)
{
    struct forwards all = TAILQ_HEAD_INITIALIZER(all);
    struct forward *f;

    r->fence = 0;
    r->behind = last_number;
    timer_free(r->patience);
    r->patience = NULL;
    TAILQ_FOREACH (f, &r->held, next)
        held_bytes -= cost(f);
    TAILQ_CONCAT(&all, &r->returned, next);
    TAILQ_CONCAT(&all, &r->held, next);
    if (TAILQ_EMPTY(&all) && r->under_way == 0)
        route_free(r);
    while ((f = TAILQ_FIRST(&all))) {
        TAILQ_REMOVE(&all, f, next);
        look_up(f);
    }
}

static void on_impatient(void *arg)
{
    struct route *r = arg;

    r->patience = NULL;
    lower_fence(r);
}

/* The fence is back, or there is nobody who could send it back. */
static void on_fenced(struct inbox_frame *frame)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t)) {
        char *identity = span_dup(t.entry);
        struct route *r = find_route(identity);

        if (r && r->fence && r->fence == t.sid)
            lower_fence(r);
        free(identity);
    }
}

static void on_fence_unreached(struct inbox_frame *frame, const char *wid, bool lost)
{
    (void)wid, (void)lost;
    on_fenced(frame);
}

/* The holder may have moved: raises the fence. */
static void doubt(struct route *r)
{
    struct builder w = {0};

    if (r->fence)
        return;
    r->known = false;
    r->fence = ++last_fence;
    r->patience = timer_once(FENCE_MS, on_impatient, r);
    inbox_frame_begin(&w, INBOX_FENCE, self_address(0));
    inbox_frame_target(&w, (struct inbox_target){r->fence, span_of(r->identity)});
    inbox_publish(r->holder.wid, &w, 1, (struct span){"", 0}, on_fence_unreached);
}

static void on_looked(const struct reply *reply, void *arg)
{
    struct route *r = arg;
    struct address holder;

    if (reply && r->known && !(address_parse(reply_span(reply), &holder) && address_equals(&holder, &r->holder)))
        doubt(r);
    route_leave(r);
}

/* Asks Redis whether the holder is still the same. A worker that stands still, or was lost without a word, sends
   nothing back, while to Redis it goes on listening. */
static void look(struct route *r)
{
    r->looked_ms = loop_ms();
    r->under_way++;
    redis_command(on_looked, r, "HGET", r->key, "addr", NULL);
}

static void deliver(struct session *here, const char *identity, const char *entry, struct bytes *b, session_id from)
{
    struct address self = self_address(session_id_of(here));
    struct session *sender = session_find(from);

    guess_found(from, identity);
    if (delivery_refuses(here, bytes_len(b), span_of(entry), from)) {
        delivery_busy(entry, &self, from);
        return;
    }
    delivery_count_local();
    session_send(here, bytes_ref(b));
    if (sender)
        session_slow_down(sender, here);
}

void forward_send(const char *key, const char *identity, const char *entry, struct bytes *b, session_id from)
{
    struct session *here = identity_holder(identity);
    struct session *sender = session_find(from);
    struct route *r = find_route(identity);
    struct guess guess = {0};
    struct forward *f;

    if (sender && !guess_begin(&guess, sender, identity))
        return;
    if (here && !r) {
        guess_end(&guess, false);
        deliver(here, identity, entry, b, from);
        return;
    }
    if (!r)
        r = route_new(key, identity);
    route_use(r);
    if (here && r->known)
        doubt(r);
    if (r->known && r->used_ms - r->looked_ms >= LOOK_MS)
        look(r);
    f = forward_new(r, from, entry, bytes_ref(b));
    f->guess = guess;
    if (r->fence)
        hold(f);
    else if (r->known)
        publish(f);
    else
        look_up(f);
}

/* --- */

static void on_tidy(void *arg)
{
    int64_t now = loop_ms();
    struct route *r;

    (void)arg;
    while ((r = TAILQ_FIRST(&by_use)) && now - r->used_ms > IDLE_MS) {
        if (r->under_way > 0 || r->fence)
            route_use(r);
        else
            route_free(r);
    }
}

static void collect(void)
{
    metric_set(known_routes, HASH_COUNT(routes));
}

void forward_init(void)
{
    known_routes = metric_gauge("signalbox_forward_routes", "Identities of other workers whose address is remembered");
    came_back =
        metric_counter("signalbox_forwards_returned_total",
                       "Messages that were sent to a remembered address whose socket holds the identity no more");
    metrics_on_collect(collect);
    inbox_on(INBOX_RETURN, on_return);
    inbox_on(INBOX_FENCED, on_fenced);
    timer_every(TIDY_MS, on_tidy, NULL);
}

static void drop_all(struct forwards *all)
{
    struct forward *f;

    while ((f = TAILQ_FIRST(all))) {
        TAILQ_REMOVE(all, f, next);
        bytes_unref(f->bytes);
        free(f->entry);
        free(f);
    }
}

void forward_fini(void)
{
    struct route *r, *next;

    HASH_ITER (hh, routes, r, next) {
        drop_all(&r->returned);
        drop_all(&r->held);
        route_free(r);
    }
}
