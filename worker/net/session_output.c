/* SPDX-License-Identifier: MIT */
/* What a client is sent, up to libwebsockets. */
#include <libwebsockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "signalbox/config.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/session_state.h"
#include "signalbox/tcp_progress.h"

#define FLUSHES_ROOM_LEAST 64
#define FRAMES_AT_ONCE 64
#define SHORT_MOST 16384
#define LOUD_GOODBYE_MS 200 /* for a client that was too loud, or speaks nonsense, to read its close frame */
_Static_assert(BYTES_HEADROOM >= LWS_PRE, "lws writes its frame header before the bytes");

static session_id *flushes; /* who has frames to write at the end of this iteration; some may be gone by then */
static size_t flushes_count, flushes_room;
static struct metric *queue_bytes, *too_slow;

static void flush(void);
static struct iteration_task flushing = {flush};

void session_want_write(struct session *s)
{
    if (s->write_wanted)
        return; /* asking again costs a system call */
    s->write_wanted = true;
    lws_callback_on_writable(s->wsi);
    loop_poke();
}

/* At the end of the iteration frames are written without asking whether the socket takes them: mostly it does, and
   asking costs three system calls. What is left over waits until it is writable. */
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
    loop_at_iteration_end(&flushing);
}

void session_set_unsent(struct session *s, size_t len)
{
    session_kept_sub(s->unsent);
    s->unsent = len;
    session_kept_add(len);
}

void session_drop_output(struct session *s)
{
    metric_add(queue_bytes, -(double)s->out_bytes);
    s->out_bytes = 0;
    frames_clear(&s->out);
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
        session_drop_output(s);
        session_close(s, CLOSE_TOO_SLOW, "too slow");
        return;
    }
    s->out_bytes += frames_push(&s->out, b, false);
    metric_add(queue_bytes, (double)bytes_len(b));
    want_flush(s);
    session_shed();
}

/* false: the connection is broken. */
static bool write_frames(struct session *s)
{
    for (int i = 0; i < FRAMES_AT_ONCE && !STAILQ_EMPTY(&s->out) && !lws_partial_buffered(s->wsi); i++) {
        struct frame *f = frames_pop(&s->out);
        size_t len = bytes_len(f->bytes);
        int sent = lws_write(s->wsi, (unsigned char *)bytes_data(f->bytes), len, LWS_WRITE_TEXT);

        s->out_bytes -= len;
        metric_add(queue_bytes, -(double)len);
        frame_free(f);
        if (sent < 0)
            return false;
        if (lws_partial_buffered(s->wsi))
            session_set_unsent(s, len);
    }
    return true;
}

/* Long messages leave some of it to short ones: else who sends those all the time keeps everybody else out. */
static bool has_no_room(const struct session *s, size_t len)
{
    size_t most = (size_t)config->send_queue_max;

    if (len <= SHORT_MOST)
        return s->out_bytes > 0 && s->out_bytes + len > most / 8 * 7;
    return s->out_bytes > most / 2 || (s->out_bytes > 0 && s->out_bytes + len > most);
}

/* Several long messages may come in one iteration, at whose end they would be written. */
bool session_is_busy(struct session *s, size_t len)
{
    if (has_no_room(s, len) && s->flush_wanted && !write_frames(s))
        session_kill_in(s, 0);
    return has_no_room(s, len);
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

/* To return false from session_writable() would be the way, but Debian's lws was built with _DEBUG, and on libuv then
   closes twice in a row, which hangs up before the close frame is sent. The synchronous kill closes once, and politely.
 */
static void say_goodbye(struct session *s)
{
    bool loud = s->close_code == CLOSE_POLICY || s->close_code == CLOSE_PROTOCOL_ERROR;

    lws_close_reason(s->wsi, (enum lws_close_status)s->close_code, (unsigned char *)s->close_reason,
                     strlen(s->close_reason));
    session_end(s);
    /* Until its own close frame comes lws reads all that the client sends. */
    session_kill_in(s, loud ? LOUD_GOODBYE_MS : SESSION_KILL_MS);
    lws_set_timeout(s->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
}

uint64_t session_taken(const struct session *s)
{
    return tcp_taken(lws_get_socket_fd(s->wsi));
}

bool session_ping_taken(const struct session *s)
{
    return !s->ping_wanted && s->ping_end <= session_taken(s);
}

bool session_writable(struct session *s)
{
    unsigned char ping[LWS_PRE + 1] = {0}; /* one byte: lws reports no pong without a payload */

    s->write_wanted = false;
    if (s->state == SESSION_ENDED)
        return true;
    if (!lws_partial_buffered(s->wsi))
        session_set_unsent(s, 0);
    if (s->ping_wanted && s->state == SESSION_OPEN && !lws_partial_buffered(s->wsi)) {
        s->ping_wanted = false;
        lws_write(s->wsi, ping + LWS_PRE, 1, LWS_WRITE_PING);
        s->ping_end = tcp_written(lws_get_socket_fd(s->wsi));
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
    say_goodbye(s);
    return true;
}

void session_output_init(void)
{
    queue_bytes = metric_gauge("signalbox_send_queue_bytes", "Bytes that wait to be written to clients");
    too_slow = metric_counter("signalbox_slow_clients_total", "Clients closed because they did not read");
}

void session_output_fini(void)
{
    free(flushes);
    flushes = NULL;
    flushes_count = flushes_room = 0;
}
