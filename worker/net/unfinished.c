/* SPDX-License-Identifier: MIT */
#include "signalbox/unfinished.h"

#include <stddef.h>

#include "signalbox/loop.h"
#include "signalbox/metrics.h"

#define PATIENCE_MS 2000 /* far more than a request takes */
#define GIVE_UP_MS 3     /* between two of them: each costs time that is the others' */

TAILQ_HEAD(queue, unfinished);

static struct queue within = TAILQ_HEAD_INITIALIZER(within), over = TAILQ_HEAD_INITIALIZER(over);
static size_t count, bytes;
static struct timer *waiting, *shedding;
static void (*give_up_callback)(struct unfinished *u);
static void (*room_callback)(void);
static struct metric *given_up;

void unfinished_init(void (*on_give_up)(struct unfinished *u), void (*on_room)(void))
{
    give_up_callback = on_give_up;
    room_callback = on_room;
    given_up = metric_counter("signalbox_handshakes_given_up_total",
                              "Connections closed to make room, because a request did not come to its end");
}

void unfinished_fini(void)
{
    timer_free(waiting);
    timer_free(shedding);
    waiting = shedding = NULL;
}

static void give_up(struct unfinished *u)
{
    metric_add(given_up, 1);
    give_up_callback(u);
}

static void make_room(void *arg)
{
    struct unfinished *oldest = TAILQ_FIRST(&within);

    (void)arg;
    waiting = NULL;
    if (count >= UNFINISHED_MAX && oldest && loop_ms() - oldest->begun_ms >= PATIENCE_MS)
        give_up(oldest);
    if (count < UNFINISHED_MAX)
        room_callback();
    else
        waiting = timer_once(GIVE_UP_MS, make_room, NULL);
}

void unfinished_begin(struct unfinished *u, bool is_over)
{
    u->begun_ms = loop_ms();
    u->over = is_over;
    TAILQ_INSERT_TAIL(is_over ? &over : &within, u, next);
    count++;
}

void unfinished_end(struct unfinished *u)
{
    if (u->begun_ms == 0)
        return;
    unfinished_weigh(u, 0);
    u->begun_ms = 0;
    TAILQ_REMOVE(u->over ? &over : &within, u, next);
    count--;
}

static void shed(void *arg)
{
    (void)arg;
    shedding = NULL;
    while (bytes > UNFINISHED_BYTES_MAX)
        give_up(TAILQ_EMPTY(&over) ? TAILQ_FIRST(&within) : TAILQ_FIRST(&over));
}

void unfinished_weigh(struct unfinished *u, size_t weight)
{
    if (u->begun_ms == 0)
        return;
    bytes += weight - u->bytes;
    u->bytes = weight;
    if (bytes > UNFINISHED_BYTES_MAX && !shedding)
        shedding = timer_once(0, shed, NULL);
}

bool unfinished_is_full(void)
{
    if (count >= UNFINISHED_MAX && !TAILQ_EMPTY(&over))
        give_up(TAILQ_FIRST(&over));
    if (count >= UNFINISHED_MAX && !waiting)
        waiting = timer_once(GIVE_UP_MS, make_room, NULL);
    return count >= UNFINISHED_MAX;
}
