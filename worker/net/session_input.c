/* SPDX-License-Identifier: MIT */
/* What a client sends: its pace, its rate, and long messages in portions, up to what its ops make of each message. */
#include <libwebsockets.h>
#include <stdlib.h>

#include "signalbox/config.h"
#include "signalbox/cost.h"
#include "signalbox/json_scan.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/session_state.h"
#include "signalbox/websocket_io.h"

#define PENDING_MESSAGES_MAX 256
#define PENDING_BYTES_MAX (512 * 1024)
#define SMALL_FRAGMENT 16 /* bytes: of a message in so many pieces each counts */
#define EXCESS_MS 5000    /* so long over the rate closes (docs/design.md, "Limits") */
#define REFUSED_IN_A_ROW 8
#define REFUSED_PAUSE_MS 12
#define EXCESS_PAUSE_MS 1000 /* a pause that ends an excess */
#define SLOWED_MOST_MS 250   /* who sends to one that does not read waits no longer for it */
#ifndef PORTION              /* fuzz builds have a smaller one */
#define PORTION 16384        /* bytes of JSON that are read in one go; some 40 us */
#endif
#define SHARE 4 /* long messages have a quarter of each iteration of the loop */
#define SHARE_MOST_US 1000

/* A session whose first waiting message is long: it is read in portions. */
struct long_read {
    session_id session;
    STAILQ_ENTRY(long_read) next;
};

static STAILQ_HEAD(long_reads, long_read) long_reads = STAILQ_HEAD_INITIALIZER(long_reads); /* one after the other */
static bool long_read_begun;                                                                /* of the first */
static struct json_scanner scanner;
static struct json_members long_members, members; /* of the message that is read in portions, and of any other */
static struct timer *next_portion;
static int64_t iteration_began_us;
static struct metric *rate_hits, *too_big;

/* A client is not read while there is a reason not to. What it sends, its close frame too, waits in the kernel. */
static void set_reading(struct session *s)
{
    bool stop = s->timer || s->over_bound || s->read_in_portions;

    if (stop == s->reading_stopped || s->state != SESSION_OPEN)
        return;
    s->reading_stopped = stop;
    lws_rx_flow_control(s->wsi, !stop);
    if (stop)
        return;
    websocket_io_resume(lws_get_socket_fd(s->wsi));
    loop_poke();
}

static bool is_a_quarter_full(const struct session *s)
{
    return s->out_bytes > (size_t)config->send_queue_max / 4;
}

bool session_is_read(const struct session *s)
{
    return !s->reading_stopped;
}

/* Of one that is slowed down: the other has not taken enough yet. */
static bool waits_for_another(const struct session *s)
{
    const struct session *other = s->slowed ? session_find(s->slowed_by) : NULL;

    return other && loop_ms() < s->slowed_until_ms && is_a_quarter_full(other);
}

static void on_paused(void *arg)
{
    struct session *s = arg;

    s->timer = waits_for_another(s) ? timer_once(REFUSED_PAUSE_MS, on_paused, s) : NULL;
    if (s->timer)
        return;
    if (s->slowed) {
        s->slowed = false;
        session_release(s);
    }
    set_reading(s);
}

/* Answers cost time that is the others': who is far over its rate is read, and answered, a little at a time. */
static void pause_reading(struct session *s, int64_t ms)
{
    if (s->timer)
        return;
    s->refused = 0;
    s->timer = timer_once(ms, on_paused, s);
    set_reading(s);
}

/* Who goes on asking for what it cannot have is not read meanwhile, so that refusals cost little. */
bool session_afford(struct session *s, double units)
{
    int64_t wait_ms = s->trusted ? 0 : cost_take(&s->cost, s->ip, units);

    if (wait_ms > 0 && s->state == SESSION_OPEN)
        pause_reading(s, wait_ms);
    return wait_ms == 0;
}

void session_charge(struct session *s, double units)
{
    if (!s->trusted)
        cost_charge(&s->cost, s->ip, units);
}

/* Not who speaks for many clients: they would all wait for one. */
void session_slow_down(struct session *from, const struct session *s)
{
    if (!is_a_quarter_full(s) || from->trusted || from->timer || from->state != SESSION_OPEN)
        return;
    from->slowed = true;
    from->slowed_by = s->id;
    from->slowed_until_ms = loop_ms() + SLOWED_MOST_MS;
    session_hold(from);
    pause_reading(from, REFUSED_PAUSE_MS);
}

/* false: it is over its rate. Who is so for long is closed. */
static bool take_rate(struct session *s)
{
    int64_t now = s->heard_ms;

    if (s->trusted || bucket_take(&s->rate, config->message_rate, config->message_burst, now))
        return true;
    metric_add(rate_hits, 1);
    if (s->excess_last_ms == 0 || now - s->excess_last_ms > EXCESS_PAUSE_MS) {
        s->excess_since_ms = now;
        LOG_INFO("limit_hit", LOG_TEXT("limit", "MESSAGE_RATE"), LOG_INT("sid", s->id));
    }
    s->excess_last_ms = now;
    if (++s->refused >= REFUSED_IN_A_ROW)
        pause_reading(s, REFUSED_PAUSE_MS);
    return false;
}

static void close_if_loud(struct session *s)
{
    if (s->excess_last_ms - s->excess_since_ms >= EXCESS_MS)
        session_close(s, CLOSE_POLICY, "rate limit exceeded");
}

/* false: the message is dropped. */
static bool within_limits(struct session *s, struct span text, bool binary)
{
    if (take_rate(s) && session_afford(s, cost_of_text(text.len)))
        return true;
    if (binary)
        text.len = 0;
    s->ops->on_over_rate(s, text);
    close_if_loud(s);
    return false;
}

/* What is no message counts as one all the same. false: it is not answered. */
static bool within_rate_silently(struct session *s)
{
    if (s->state != SESSION_OPEN || take_rate(s))
        return true;
    close_if_loud(s);
    return false;
}

/* Only the last of several is answered (RFC 6455 section 5.5.3). */
void session_pinged(struct session *s, struct span payload)
{
    session_heard(s);
    if (!within_rate_silently(s) || s->state != SESSION_OPEN)
        return;
    bytes_unref(s->pong);
    s->pong = bytes_copy(payload);
    session_want_write(s);
}

void session_ponged(struct session *s)
{
    session_heard(s);
    within_rate_silently(s);
}

static void pending_add(struct session *s, size_t bytes)
{
    s->pending_bytes += bytes;
    s->pending_count++;
    if (s->pending_count >= PENDING_MESSAGES_MAX || s->pending_bytes >= PENDING_BYTES_MAX)
        s->over_bound = true;
    set_reading(s);
}

static void pending_sub(struct session *s, size_t bytes)
{
    s->pending_bytes -= bytes;
    s->pending_count--;
    if (s->pending_count < PENDING_MESSAGES_MAX / 2 && s->pending_bytes < PENDING_BYTES_MAX / 2)
        s->over_bound = false;
}

void session_forwarding(struct session *s, size_t bytes)
{
    pending_add(s, bytes);
}

void session_forwarded(struct session *s, size_t bytes)
{
    pending_sub(s, bytes);
    set_reading(s);
}

static bool is_long(size_t len, bool binary)
{
    return !binary && len > PORTION;
}

static struct frame *pop_waiting(struct session *s)
{
    struct frame *f = frames_pop(&s->waiting);

    pending_sub(s, bytes_len(f->bytes));
    return f;
}

static void end_long_read(void)
{
    struct long_read *first = STAILQ_FIRST(&long_reads);

    STAILQ_REMOVE_HEAD(&long_reads, next);
    free(first);
    long_read_begun = false;
}

/* NULL: nobody's message is to be read in portions. */
static struct session *first_long_reader(void)
{
    while (!STAILQ_EMPTY(&long_reads)) {
        struct session *s = session_find(STAILQ_FIRST(&long_reads)->session);

        if (s)
            return s;
        end_long_read();
    }
    return NULL;
}

static void take_waiting(struct session *s);
static void on_portion(void *arg);

/* Long messages have a share of each iteration of the loop, all sessions' together. */
static void read_on(void)
{
    if (next_portion || STAILQ_EMPTY(&long_reads))
        return;
    next_portion = timer_once(0, on_portion, NULL);
    iteration_began_us = loop_us();
}

/* If it is held for another reason by now, the message is read again when that has gone. */
static void end_scan(struct session *s, const struct json_members *m)
{
    end_long_read();
    s->read_in_portions = false;
    if (--s->holds == 0) {
        struct frame *f = pop_waiting(s);

        s->ops->on_text(s, bytes_span(f->bytes), m);
        frame_free(f);
    }
    take_waiting(s);
}

/* false: there is nothing to read. */
static bool read_portion(void)
{
    struct session *s = first_long_reader();
    enum json_progress progress;

    if (!s)
        return false;
    if (!long_read_begun) {
        long_read_begun = true;
        long_members.only = s->ops->names;
        json_scan_begin(&scanner, bytes_span(STAILQ_FIRST(&s->waiting)->bytes), &long_members);
    }
    progress = json_scan_on(&scanner, PORTION);
    if (progress != JSON_MORE)
        end_scan(s, progress == JSON_VALID ? &long_members : NULL);
    return true;
}

static void on_portion(void *arg)
{
    int64_t now = loop_us(), share = (now - iteration_began_us) / SHARE;
    int64_t until = now + (share < SHARE_MOST_US ? share : SHARE_MOST_US);

    (void)arg;
    next_portion = NULL;
    while (read_portion() && loop_us() < until)
        ;
    read_on();
}

static void begin_long_read(struct session *s)
{
    struct long_read *l = mem_alloc(sizeof(*l));

    l->session = session_id_of(s);
    STAILQ_INSERT_TAIL(&long_reads, l, next);
    s->read_in_portions = true;
    set_reading(s);
    session_hold(s);
    read_on();
}

static void dispatch(struct session *s, struct span text, bool binary)
{
    members.only = s->ops->names;
    s->ops->on_text(s, text, !binary && json_scan(text, &members) ? &members : NULL);
}

static void take_waiting(struct session *s)
{
    struct frame *f;

    while (s->holds == 0 && s->state == SESSION_OPEN && (f = STAILQ_FIRST(&s->waiting))) {
        if (is_long(bytes_len(f->bytes), f->binary)) {
            begin_long_read(s);
            return;
        }
        pop_waiting(s);
        dispatch(s, bytes_span(f->bytes), f->binary);
        frame_free(f);
    }
    set_reading(s);
}

void session_drop_waiting(struct session *s)
{
    frames_clear(&s->waiting);
    s->pending_bytes = 0;
    s->over_bound = s->read_in_portions = false;
    set_reading(s);
}

void session_drop_part(struct session *s)
{
    session_kept_sub(builder_len(&s->part));
    builder_free(&s->part);
}

/* whole: the bytes where text is, or NULL if it is in somebody else's memory. */
static void wait_turn(struct session *s, struct span text, struct bytes *whole, bool binary)
{
    pending_add(s, frames_push(&s->waiting, whole ? bytes_ref(whole) : bytes_copy(text), binary));
    session_shed();
    take_waiting(s);
}

static void received(struct session *s, struct span text, struct bytes *whole, bool binary)
{
    if (!within_limits(s, text, binary))
        return;
    if (s->holds > 0 || !STAILQ_EMPTY(&s->waiting) || is_long(text.len, binary))
        wait_turn(s, text, whole, binary);
    else
        dispatch(s, text, binary);
}

void session_received(struct session *s, struct span part, bool last, bool binary, size_t still_to_come)
{
    size_t len = builder_len(&s->part) + part.len;
    size_t most = s->most ? s->most : (size_t)config->max_message_bytes;

    session_heard(s);
    if (s->state != SESSION_OPEN)
        return;
    if (len + still_to_come > most) {
        session_drop_part(s);
        metric_add(too_big, 1);
        LOG_INFO("limit_hit", LOG_TEXT("limit", s->most ? "ROOM_MAX_MESSAGE_BYTES" : "MAX_MESSAGE_BYTES"),
                 LOG_INT("sid", s->id));
        session_close(s, CLOSE_TOO_BIG, "message too big");
        return;
    }
    if (last && builder_len(&s->part) == 0) {
        received(s, part, NULL, binary);
        return;
    }
    if (!last && still_to_come == 0 && part.len < SMALL_FRAGMENT && !within_rate_silently(s) &&
        s->state != SESSION_OPEN)
        return;
    builder_add(&s->part, part);
    session_kept_add(part.len);
    session_shed();
    if (last && s->state == SESSION_OPEN) {
        struct bytes *whole;

        session_kept_sub(builder_len(&s->part));
        whole = builder_take(&s->part);
        received(s, bytes_span(whole), whole, binary);
        bytes_unref(whole);
    }
}

void session_hold(struct session *s)
{
    s->holds++;
}

void session_release(struct session *s)
{
    s->holds--;
    take_waiting(s);
}

void session_input_init(void)
{
    rate_hits = metric_counter("signalbox_rate_limited_messages_total", "Messages dropped by MESSAGE_RATE");
    too_big = metric_counter("signalbox_too_big_messages_total", "Clients closed because of MAX_MESSAGE_BYTES");
}

void session_input_fini(void)
{
    while (!STAILQ_EMPTY(&long_reads))
        end_long_read();
    timer_free(next_portion);
    next_portion = NULL;
    json_members_free(&long_members);
    json_members_free(&members);
}
