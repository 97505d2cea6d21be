/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/queue.h>

#include "signalbox/bytes.h"
#include "signalbox/loop.h"
#include "stage.h"

#define BEGIN_MS 1000000
#define UNIX_MS 1700000000000

struct timer {
    void (*callback)(void *arg);
    void *arg;
    int64_t due_ms, every_ms; /* every_ms 0: once */
    TAILQ_ENTRY(timer) next;
};
TAILQ_HEAD(timers, timer);

static struct timers timers = TAILQ_HEAD_INITIALIZER(timers), deferred = TAILQ_HEAD_INITIALIZER(deferred);
static size_t count;
static int64_t now_ms = BEGIN_MS;
static STAILQ_HEAD(iteration_tasks, iteration_task) iteration_tasks = STAILQ_HEAD_INITIALIZER(iteration_tasks);

void loop_init(void)
{
}

void loop_run(void)
{
}

void loop_stop(void)
{
}

void loop_fini(void)
{
}

struct event_base *loop_base(void)
{
    return NULL;
}

struct uv_loop_s *loop_uv(void)
{
    return NULL;
}

void loop_poke(void)
{
}

void loop_at_iteration_end(struct iteration_task *t)
{
    if (!t->queued)
        STAILQ_INSERT_TAIL(&iteration_tasks, t, next);
    t->queued = true;
}

static bool end_turn(void)
{
    struct iteration_task *t = STAILQ_FIRST(&iteration_tasks);

    if (!t)
        return false;
    STAILQ_REMOVE_HEAD(&iteration_tasks, next);
    t->queued = false;
    t->run();
    return true;
}

int64_t loop_ms(void)
{
    return now_ms;
}

int64_t loop_us(void)
{
    return now_ms * 1000;
}

int64_t clock_ms(void)
{
    return UNIX_MS + now_ms;
}

void loop_on_signal(int signal, void (*callback)(int signal))
{
    (void)signal;
    (void)callback;
}

static struct timer *timer_new(int64_t delay_ms, int64_t every_ms, void (*callback)(void *arg), void *arg)
{
    struct timer *t = mem_alloc(sizeof(*t));

    *t = (struct timer){.callback = callback, .arg = arg, .due_ms = now_ms + delay_ms, .every_ms = every_ms};
    return t;
}

static struct timer *timer_start(struct timer *t)
{
    TAILQ_INSERT_TAIL(&timers, t, next);
    count++;
    return t;
}

struct timer *timer_once(int64_t delay_ms, void (*callback)(void *arg), void *arg)
{
    return timer_start(timer_new(delay_ms, 0, callback, arg));
}

struct timer *timer_every(int64_t delay_ms, void (*callback)(void *arg), void *arg)
{
    return timer_start(timer_new(delay_ms, delay_ms, callback, arg));
}

void timer_free(struct timer *t)
{
    if (!t)
        return;
    TAILQ_REMOVE(&timers, t, next);
    count--;
    free(t);
}

void loop_defer(void (*callback)(void *arg), void *arg)
{
    struct timer *t = timer_new(0, 0, callback, arg);

    TAILQ_INSERT_TAIL(&deferred, t, next);
}

bool fake_loop_turn(void)
{
    struct timer *t = TAILQ_FIRST(&deferred);
    bool turned = end_turn();

    if (!t)
        return turned;
    TAILQ_REMOVE(&deferred, t, next);
    t->callback(t->arg);
    free(t);
    return true;
}

static struct timer *next_due(void)
{
    struct timer *t, *first = NULL;

    TAILQ_FOREACH (t, &timers, next)
        if (t->due_ms <= now_ms && (!first || t->due_ms < first->due_ms))
            first = t;
    return first;
}

void fake_loop_jump(int64_t ms)
{
    struct timer *t;

    now_ms += ms;
    while ((t = next_due())) {
        void (*callback)(void *) = t->callback;
        void *arg = t->arg;

        t->due_ms = now_ms + t->every_ms;
        if (!t->every_ms)
            timer_free(t);
        callback(arg);
        while (fake_loop_turn())
            ;
    }
}

size_t fake_loop_timers(void)
{
    return count;
}
