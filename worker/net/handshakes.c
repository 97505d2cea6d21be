/* SPDX-License-Identifier: MIT */
#include "signalbox/handshakes.h"

#include <libwebsockets.h>

#include "signalbox/loop.h"
#include "signalbox/metrics.h"

#define PATIENCE_MS 2000 /* far more than a handshake takes */
#define GIVE_UP_MS 3     /* between two of them: each costs time that is the others' */

static TAILQ_HEAD(handshakes, handshake) all = TAILQ_HEAD_INITIALIZER(all);
static size_t count;
static struct timer *waiting;
static void (*room_callback)(void);
static struct metric *given_up;

void handshakes_init(void (*on_room)(void))
{
    room_callback = on_room;
    given_up = metric_counter("signalbox_handshakes_given_up_total",
                              "Connections closed to make room, because their first request did not come to its end");
}

void handshakes_fini(void)
{
    timer_free(waiting);
    waiting = NULL;
}

static void give_up(struct handshake *h)
{
    struct lws *wsi = h->wsi;

    handshake_end(h);
    metric_add(given_up, 1);
    lws_set_timeout(wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
    loop_poke();
}

static void make_room(void *arg)
{
    struct handshake *oldest = TAILQ_FIRST(&all);

    (void)arg;
    waiting = NULL;
    if (count >= HANDSHAKES_MAX && loop_ms() - oldest->begun_ms >= PATIENCE_MS)
        give_up(oldest);
    if (count < HANDSHAKES_MAX)
        room_callback();
    else
        waiting = timer_once(GIVE_UP_MS, make_room, NULL);
}

bool handshake_begin(struct handshake *h, struct lws *wsi)
{
    h->wsi = wsi;
    h->begun_ms = loop_ms();
    TAILQ_INSERT_TAIL(&all, h, next);
    if (++count < HANDSHAKES_MAX)
        return true;
    if (!waiting)
        waiting = timer_once(GIVE_UP_MS, make_room, NULL);
    return false;
}

void handshake_end(struct handshake *h)
{
    if (!h->wsi)
        return;
    h->wsi = NULL;
    TAILQ_REMOVE(&all, h, next);
    count--;
}
