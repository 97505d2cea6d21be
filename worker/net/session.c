/* SPDX-License-Identifier: MIT */
#include "signalbox/session_state.h"

#include <libwebsockets.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "signalbox/config.h"
#include "signalbox/domain.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/slots.h"

#define FRAME_COST 128               /* of a frame beside its bytes: the entry, their head, what malloc adds to both */
#define KEPT_MAX ((size_t)256 << 20) /* for all clients together */
#define KEPT_AFTER_SHEDDING (KEPT_MAX / 8 * 7)

static struct slots sessions;
static size_t open_count, slot_count;
static TAILQ_HEAD(, session) by_ping = TAILQ_HEAD_INITIALIZER(by_ping);
static void (*heard_callback)(struct session *), (*too_slow_callback)(struct session *);
static size_t kept;      /* see session_kept_add() */
static size_t kept_past; /* of that, what turns keep whose session has left: to close others would not help */
static struct metric *kept_bytes, *shed_clients, *ping_timeouts;

struct session *session_find(session_id id)
{
    return slots_find(&sessions, id);
}

session_id session_id_of(const struct session *s)
{
    return s->id;
}

struct ip *session_ip(const struct session *s)
{
    return s->ip;
}

const struct dialect *session_dialect(const struct session *s)
{
    return s->dialect;
}

int64_t *session_attested_until(struct session *s)
{
    return &s->attested_until_ms;
}

const struct message_type **session_row(struct session *s)
{
    return &s->row;
}

size_t session_slot_new(void)
{
    return slot_count++;
}

void **session_slot(struct session *s, size_t slot)
{
    return &s->slots[slot];
}

size_t session_count(void)
{
    return open_count;
}

struct visit {
    void (*visit)(struct session *s, void *arg);
    void *arg;
};

static void visit_one(void *thing, void *arg)
{
    struct visit *v = arg;

    v->visit(thing, v->arg);
}

void session_each_part(unsigned part, unsigned parts, void (*visit)(struct session *s, void *arg), void *arg)
{
    slots_each_part(&sessions, part, parts, visit_one, &(struct visit){visit, arg});
}

struct session *session_new(struct lws *wsi, const char *ip, const struct session_ops *ops,
                            const struct dialect *dialect, size_t most)
{
    struct session *s = mem_alloc(sizeof(*s) + slot_count * sizeof(s->slots[0]));

    s->wsi = wsi;
    s->ip = ip_find(ip);
    ip_hold(s->ip);
    s->ops = ops;
    s->dialect = dialect;
    s->most = most;
    s->heard_ms = loop_ms();
    s->ping_due_ms = s->heard_ms + config->ping_interval_ms;
    s->rate = bucket_full(config->message_burst, s->heard_ms);
    s->cost = bucket_full(config->cost_burst, s->heard_ms);
    STAILQ_INIT(&s->out);
    STAILQ_INIT(&s->waiting);
    TAILQ_INSERT_TAIL(&by_ping, s, by_ping);
    s->id = slots_put(&sessions, s);
    open_count++;
    return s;
}

/* --- what is kept for clients --- */

size_t frames_push(struct frames *f, struct bytes *b, bool binary)
{
    struct frame *frame = mem_alloc(sizeof(*frame));

    frame->bytes = b;
    frame->binary = binary;
    STAILQ_INSERT_TAIL(f, frame, next);
    kept += FRAME_COST + (bytes_queued(b) ? bytes_len(b) : 0);
    return bytes_len(b);
}

struct frame *frames_pop(struct frames *f)
{
    struct frame *first = STAILQ_FIRST(f);

    STAILQ_REMOVE_HEAD(f, next);
    kept -= FRAME_COST + (bytes_unqueued(first->bytes) ? bytes_len(first->bytes) : 0);
    return first;
}

void frame_free(struct frame *f)
{
    bytes_unref(f->bytes);
    free(f);
}

void frames_clear(struct frames *f)
{
    while (!STAILQ_EMPTY(f))
        frame_free(frames_pop(f));
}

void session_kept_add(size_t bytes)
{
    kept += bytes;
}

void session_kept_sub(size_t bytes)
{
    kept -= bytes;
}

void session_turn_keeps(session_id id, size_t bytes)
{
    struct session *s = session_find(id);

    kept += bytes;
    if (s)
        s->turn_bytes += bytes;
    else
        kept_past += bytes;
    session_shed();
}

void session_turn_kept(session_id id, size_t bytes)
{
    struct session *s = session_find(id);

    kept -= bytes;
    if (s)
        s->turn_bytes -= bytes;
    else
        kept_past -= bytes;
}

static void leave_turns(struct session *s)
{
    kept_past += s->turn_bytes;
    s->turn_bytes = 0;
}

/* What it makes this worker keep. */
static size_t weight(const struct session *s)
{
    return s->out_bytes + s->pending_bytes + s->turn_bytes + builder_len(&s->part) + s->unsent;
}

/* Its close frame could not be written behind a frame that is written in part: it is hung up on. */
static void shed(struct session *s)
{
    bool blocked = s->unsent > 0 || s->state == SESSION_CLOSING;

    metric_add(shed_clients, 1);
    LOG_INFO("limit_hit", LOG_TEXT("limit", "bytes kept for all clients"), LOG_INT("sid", s->id),
             LOG_INT("bytes", weight(s)));
    session_drop_output(s);
    session_drop_part(s);
    session_close(s, CLOSE_TOO_SLOW, "too much is waiting");
    if (blocked)
        session_kill_in(s, 0);
    session_set_unsent(s, 0);
}

/* Those go who make this worker keep most, several at a time, so that not each message looks at all sessions. */
void session_shed(void)
{
    struct session *s;
    size_t most;

    while (kept - kept_past > KEPT_MAX) {
        most = 0;
        TAILQ_FOREACH (s, &by_ping, by_ping)
            most = weight(s) > most ? weight(s) : most;
        if (most == 0)
            return;
        TAILQ_FOREACH (s, &by_ping, by_ping)
            if (weight(s) > most / 2 && kept - kept_past > KEPT_AFTER_SHEDDING)
                shed(s);
    }
}

/* --- its end --- */

/* Where its socket says that it is gone, lws ends the connection at once, without a close frame. That frees the
 * session.
 */
static void on_kill(void *arg)
{
    struct session *s = arg;
    struct lws_pollfd hung_up = {.fd = lws_get_socket_fd(s->wsi), .revents = LWS_POLLHUP};

    s->timer = NULL;
    lws_service_fd(lws_get_context(s->wsi), &hung_up);
    loop_poke();
}

/* lws' own timers run only once lws has something else to do as well. */
void session_kill_in(struct session *s, int64_t ms)
{
    timer_free(s->timer);
    s->timer = timer_once(ms, on_kill, s);
}

void session_close(struct session *s, enum close_code code, const char *reason)
{
    if (s->state != SESSION_OPEN)
        return;
    session_drop_waiting(s);
    leave_turns(s);
    s->state = SESSION_CLOSING;
    s->close_code = code;
    s->close_reason = reason;
    slots_drop(&sessions, s->id);
    session_kill_in(s, SESSION_KILL_MS);
    session_want_write(s);
    if (code == CLOSE_TOO_SLOW && too_slow_callback)
        too_slow_callback(s);
}

void session_on_too_slow(void (*callback)(struct session *s))
{
    too_slow_callback = callback;
}

void session_end(struct session *s)
{
    if (s->state == SESSION_ENDED)
        return;
    s->state = SESSION_ENDED;
    leave_turns(s);
    slots_drop(&sessions, s->id);
    open_count--;
    TAILQ_REMOVE(&by_ping, s, by_ping);
    domains_session_end(s);
}

bool session_is_closing(const struct session *s)
{
    return s->state != SESSION_OPEN;
}

void session_ended(struct session *s)
{
    session_end(s);
    session_drop_output(s);
    frames_clear(&s->waiting);
    session_drop_part(s);
    session_set_unsent(s, 0);
    timer_free(s->timer);
    bytes_unref(s->pong);
    ip_let_go(s->ip);
    free(s);
}

/* --- whether it is still there --- */

void session_ping(struct session *s)
{
    s->ping_wanted = true;
    session_want_write(s);
}

int64_t session_silent_ms(const struct session *s)
{
    return loop_ms() - s->heard_ms;
}

void session_trust(struct session *s)
{
    s->trusted = true;
}

bool session_is_trusted(const struct session *s)
{
    return s->trusted;
}

void session_watch(struct session *s)
{
    s->watched = true;
}

void session_on_heard(void (*callback)(struct session *s))
{
    heard_callback = callback;
}

void session_heard(struct session *s)
{
    s->heard_ms = loop_ms();
    if (s->watched) {
        s->watched = false;
        heard_callback(s);
    }
}

static void on_ping_tick(void *arg)
{
    int64_t now = loop_ms();
    struct session *s;

    (void)arg;
    while ((s = TAILQ_FIRST(&by_ping)) && s->ping_due_ms <= now) {
        TAILQ_REMOVE(&by_ping, s, by_ping);
        TAILQ_INSERT_TAIL(&by_ping, s, by_ping);
        s->ping_due_ms = now + config->ping_interval_ms;
        if (now - s->heard_ms < config->pong_timeout_ms) {
            session_ping(s);
        } else if (s->state == SESSION_OPEN) {
            metric_add(ping_timeouts, 1);
            LOG_INFO("limit_hit", LOG_TEXT("limit", "PONG_TIMEOUT_MS"), LOG_INT("sid", s->id));
            session_drop_output(s);
            session_close(s, CLOSE_GOING_AWAY, "ping timeout");
        }
    }
}

static void collect(void)
{
    metric_set(kept_bytes, (double)kept);
}

void sessions_init(void)
{
    int64_t tick = config->ping_interval_ms / 8;

    kept_bytes = metric_gauge("signalbox_session_bytes", "Bytes of messages kept for all clients, to and from them");
    shed_clients = metric_counter("signalbox_shed_clients_total",
                                  "Clients closed because too much was kept for all, and most of it for them");
    metrics_on_collect(collect);
    ping_timeouts = metric_counter("signalbox_ping_timeouts_total", "Clients closed because they did not answer pings");
    session_input_init();
    session_output_init();
    timer_every(tick < 5 ? 5 : tick > 1000 ? 1000 : tick, on_ping_tick, NULL);
}

void sessions_fini(void)
{
    session_input_fini();
    session_output_fini();
    slots_free(&sessions);
}
