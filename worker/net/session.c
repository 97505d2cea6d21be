/* SPDX-License-Identifier: MIT */
#include "signalbox/session_state.h"

#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "signalbox/config.h"
#include "signalbox/domain.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/slots.h"

#define FLUSHES_ROOM_LEAST 64
#define FRAMES_A_TURN 64
#define KEPT_MAX ((size_t)256 << 20) /* for all clients together */
#define KEPT_AFTER_SHEDDING (KEPT_MAX / 8 * 7)
#define LOUD_GOODBYE_MS 200 /* for a client that was too loud, or speaks nonsense, to read its close frame */
#define KILL_MS 5000        /* for a close frame that cannot be written, or is not answered */
_Static_assert(BYTES_HEADROOM >= LWS_PRE, "lws writes its frame header before the bytes");

static struct slots sessions;
static size_t open_count;
static session_id *flushes; /* who has frames to write at the end of this turn; some may be gone by then */
static size_t flushes_count, flushes_room;

static void flush(void);
static struct turn_end_task flushing = {flush};

static TAILQ_HEAD(, session) by_ping = TAILQ_HEAD_INITIALIZER(by_ping);
static void (*heard_callback)(struct session *);
static struct metric *queue_bytes, *kept_bytes, *shed_clients, *too_slow, *ping_timeouts;

struct session *session_find(session_id id)
{
    return slots_find(&sessions, id);
}

session_id session_id_of(const struct session *s)
{
    return s->id;
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

void **session_slot(struct session *s, enum session_slot slot)
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

struct session *session_new(struct lws *wsi, const struct session_ops *ops, const struct dialect *dialect, size_t most)
{
    struct session *s = mem_alloc(sizeof(*s));

    s->wsi = wsi;
    s->ops = ops;
    s->dialect = dialect;
    s->most = most;
    s->heard_ms = loop_ms();
    s->ping_due_ms = s->heard_ms + config->ping_interval_ms;
    s->rate = bucket_full(config->message_burst, s->heard_ms);
    STAILQ_INIT(&s->out);
    STAILQ_INIT(&s->waiting);
    TAILQ_INSERT_TAIL(&by_ping, s, by_ping);
    s->id = slots_put(&sessions, s);
    open_count++;
    return s;
}

void session_want_write(struct session *s)
{
    if (s->write_wanted)
        return; /* asking again costs a system call */
    s->write_wanted = true;
    lws_callback_on_writable(s->wsi);
    loop_poke();
}

/* At the end of the turn frames are written without asking whether the socket takes them: mostly it does, and asking
   costs three system calls. What is left over waits until it is writable. */
static void want_flush(struct session *s)
{
    if (s->flush_wanted || s->write_wanted)
        return;
    s->flush_wanted = true;
    if (flushes_count == flushes_room) {
        flushes_room = flushes_room ? flushes_room * 2 : FLUSHES_ROOM_LEAST;
        flushes = mem_grow(flushes, flushes_room * sizeof(*flushes));
    }
    flushes[flushes_count++] = s->id;
    loop_at_turn_end(&flushing);
}

/* What it makes this worker keep. */
static size_t weight(const struct session *s)
{
    return s->out_bytes + s->pending_bytes + builder_len(&s->part) + s->unsent;
}

static void set_unsent(struct session *s, size_t len)
{
    frames_sub_other(s->unsent);
    s->unsent = len;
    frames_add_other(len);
}

static void drop_output(struct session *s)
{
    metric_add(queue_bytes, -(double)s->out_bytes);
    s->out_bytes = 0;
    frames_clear(&s->out);
}

/* lws ends the connection at once, without a close frame, when its socket says that it is gone; that frees the session.
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
static void kill_in(struct session *s, int64_t ms)
{
    timer_free(s->timer);
    s->timer = timer_once(ms, on_kill, s);
}

/* Its close frame could not be written behind a frame that is written in part: it is hung up on. */
static void shed(struct session *s)
{
    bool blocked = s->unsent > 0 || s->state == SESSION_CLOSING;

    metric_add(shed_clients, 1);
    LOG_INFO("limit_hit", LOG_TEXT("limit", "bytes kept for all clients"), LOG_INT("sid", s->id),
             LOG_INT("bytes", weight(s)));
    drop_output(s);
    session_drop_part(s);
    session_close(s, CLOSE_TOO_SLOW, "too much is waiting");
    if (blocked)
        kill_in(s, 0);
    set_unsent(s, 0);
}

/* Those go who make this worker keep most, several at a time, so that not each message looks at all sessions. */
void session_shed(void)
{
    struct session *s;
    size_t most;

    while (frames_total() > KEPT_MAX) {
        most = 0;
        TAILQ_FOREACH (s, &by_ping, by_ping)
            most = weight(s) > most ? weight(s) : most;
        if (most == 0)
            return;
        TAILQ_FOREACH (s, &by_ping, by_ping)
            if (weight(s) > most / 2 && frames_total() > KEPT_AFTER_SHEDDING)
                shed(s);
    }
}

void session_send(struct session *s, struct bytes *b)
{
    if (s->state != SESSION_OPEN) {
        bytes_unref(b);
        return;
    }
    s->ops->on_sent(s, bytes_span(b));
    if (s->out_bytes > 0 && s->out_bytes + bytes_len(b) > (size_t)config->send_queue_max) {
        bytes_unref(b);
        metric_add(too_slow, 1);
        LOG_INFO("limit_hit", LOG_TEXT("limit", "SEND_QUEUE_MAX"), LOG_INT("sid", s->id));
        drop_output(s);
        session_close(s, CLOSE_TOO_SLOW, "too slow");
        return;
    }
    s->out_bytes += frames_push(&s->out, b, false);
    metric_add(queue_bytes, (double)bytes_len(b));
    want_flush(s);
    session_shed();
}

void session_close(struct session *s, enum close_code code, const char *reason)
{
    if (s->state != SESSION_OPEN)
        return;
    session_drop_waiting(s);
    s->state = SESSION_CLOSING;
    s->close_code = code;
    s->close_reason = reason;
    slots_drop(&sessions, s->id);
    kill_in(s, KILL_MS);
    session_want_write(s);
}

void session_ping(struct session *s)
{
    s->ping_wanted = true;
    session_want_write(s);
}

void session_trust(struct session *s)
{
    s->trusted = true;
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

static void end(struct session *s)
{
    if (s->state == SESSION_ENDED)
        return;
    s->state = SESSION_ENDED;
    slots_drop(&sessions, s->id);
    open_count--;
    TAILQ_REMOVE(&by_ping, s, by_ping);
    domains_session_end(s);
}

/* false: the connection is broken. */
static bool write_frames(struct session *s)
{
    for (int i = 0; i < FRAMES_A_TURN && !STAILQ_EMPTY(&s->out) && !lws_partial_buffered(s->wsi); i++) {
        struct frame *f = frames_pop(&s->out);
        size_t len = bytes_len(f->bytes);
        int sent = lws_write(s->wsi, (unsigned char *)bytes_data(f->bytes), len, LWS_WRITE_TEXT);

        s->out_bytes -= len;
        metric_add(queue_bytes, -(double)len);
        frame_free(f);
        if (sent < 0)
            return false;
        if (lws_partial_buffered(s->wsi))
            set_unsent(s, len);
    }
    return true;
}

static void flush(void)
{
    for (size_t i = 0; i < flushes_count; i++) {
        struct session *s = session_find(flushes[i]);

        if (!s)
            continue;
        s->flush_wanted = false;
        if (!write_frames(s)) {
            lws_set_timeout(s->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
            loop_poke();
        } else if (!STAILQ_EMPTY(&s->out) || lws_partial_buffered(s->wsi)) {
            session_want_write(s);
        }
    }
    flushes_count = 0;
}

static void write_pong(struct session *s)
{
    lws_write(s->wsi, (unsigned char *)bytes_data(s->pong), bytes_len(s->pong), LWS_WRITE_PONG);
    bytes_unref(s->pong);
    s->pong = NULL;
}

bool session_writable(struct session *s)
{
    unsigned char ping[LWS_PRE + 1] = {0}; /* one byte: lws reports no pong without a payload */

    s->write_wanted = false;
    if (s->state == SESSION_ENDED)
        return true;
    if (!lws_partial_buffered(s->wsi))
        set_unsent(s, 0);
    if (s->ping_wanted && s->state == SESSION_OPEN && !lws_partial_buffered(s->wsi)) {
        s->ping_wanted = false;
        lws_write(s->wsi, ping + LWS_PRE, 1, LWS_WRITE_PING);
    }
    if (s->pong && s->state == SESSION_OPEN && !lws_partial_buffered(s->wsi))
        write_pong(s);
    if (!write_frames(s))
        return false;
    if (!STAILQ_EMPTY(&s->out) || (s->pong && s->state == SESSION_OPEN)) {
        session_want_write(s);
        return true;
    }
    if (s->state == SESSION_OPEN)
        return true;
    if (lws_partial_buffered(s->wsi)) {
        session_want_write(s);
        return true;
    }
    /* Returning false would be the way, but Debian's lws was built with _DEBUG, and on libuv then closes twice in a
       row, which hangs up before the close frame is sent. The synchronous kill closes once, and politely. */
    lws_close_reason(s->wsi, (enum lws_close_status)s->close_code, (unsigned char *)s->close_reason,
                     strlen(s->close_reason));
    end(s);
    /* Until its own close frame comes lws reads all that the client sends. */
    kill_in(s, s->close_code == CLOSE_POLICY || s->close_code == CLOSE_PROTOCOL_ERROR ? LOUD_GOODBYE_MS : KILL_MS);
    lws_set_timeout(s->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
    return true;
}

bool session_is_closing(const struct session *s)
{
    return s->state != SESSION_OPEN;
}

void session_ended(struct session *s)
{
    end(s);
    drop_output(s);
    frames_clear(&s->waiting);
    session_drop_part(s);
    set_unsent(s, 0);
    timer_free(s->timer);
    bytes_unref(s->pong);
    free(s);
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
            drop_output(s);
            session_close(s, CLOSE_GOING_AWAY, "ping timeout");
        }
    }
}

static void collect(void)
{
    metric_set(kept_bytes, (double)frames_total());
}

void sessions_init(void)
{
    int64_t tick = config->ping_interval_ms / 8;

    queue_bytes = metric_gauge("signalbox_send_queue_bytes", "Bytes that wait to be written to clients");
    kept_bytes = metric_gauge("signalbox_session_bytes", "Bytes of messages kept for all clients, to and from them");
    shed_clients = metric_counter("signalbox_shed_clients_total",
                                  "Clients closed because too much was kept for all, and most of it for them");
    metrics_on_collect(collect);
    too_slow = metric_counter("signalbox_slow_clients_total", "Clients closed because they did not read");
    ping_timeouts = metric_counter("signalbox_ping_timeouts_total", "Clients closed because they did not answer pings");
    session_input_init();
    timer_every(tick < 5 ? 5 : tick > 1000 ? 1000 : tick, on_ping_tick, NULL);
}

void sessions_fini(void)
{
    session_input_fini();
    slots_free(&sessions);
    free(flushes);
    flushes = NULL;
    flushes_count = flushes_room = 0;
}
