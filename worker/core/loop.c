/* SPDX-License-Identifier: MIT */
#include "signalbox/loop.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>
#include <uv.h>

#include "signalbox/bytes.h"
#include "signalbox/log.h"
#include "signalbox/metrics.h"

#define LAG_INTERVAL_MS 500
#define FAREWELL_ITERATIONS 100 /* for lws to close its handles, one after the other */
#define ITERATIONS_IN_A_ROW 2   /* of libuv: lws asks for a second one whenever something has come */

struct timer {
    struct event *event;
    void (*callback)(void *arg);
    void *arg;
    bool repeats;
    LIST_ENTRY(timer) all;
};

struct signal_watch {
    struct event *event;
    void (*callback)(int signal);
    LIST_ENTRY(signal_watch) all;
};

static struct event_base *base;
static uv_loop_t uv;
static struct event *uv_readable, *uv_timeout, *uv_poke, *iteration_end;
static LIST_HEAD(, signal_watch) signals = LIST_HEAD_INITIALIZER(signals);
static LIST_HEAD(, timer) timers = LIST_HEAD_INITIALIZER(timers);
static STAILQ_HEAD(iteration_tasks, iteration_task) iteration_tasks = STAILQ_HEAD_INITIALIZER(iteration_tasks);
static bool in_iteration; /* of libuv, whose end is near */
static struct metric *lag;
static int64_t lag_due;

static int64_t now_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t loop_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

int64_t loop_ms(void)
{
    return now_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_ms(void)
{
    return now_us(CLOCK_REALTIME) / 1000;
}

static struct timeval timeval_of_ms(int64_t ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

static void on_iteration_end(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
    for (struct iteration_task *t; (t = STAILQ_FIRST(&iteration_tasks));) {
        STAILQ_REMOVE_HEAD(&iteration_tasks, next);
        t->queued = false;
        t->run();
    }
}

/* libuv changes its epoll set only inside uv_run(), so it runs whenever its descriptor is readable, its next
   timer is due, or somebody outside has asked for something. */
static void on_uv(evutil_socket_t fd, short what, void *arg)
{
    int timeout;

    in_iteration = true;
    for (int i = 0; i == 0 || (i < ITERATIONS_IN_A_ROW && uv_backend_timeout(&uv) == 0); i++)
        uv_run(&uv, UV_RUN_NOWAIT);
    in_iteration = false;
    on_iteration_end(fd, what, arg);
    timeout = uv_backend_timeout(&uv);
    if (timeout < 0) {
        event_del(uv_timeout);
    } else {
        struct timeval t = timeval_of_ms(timeout);
        event_add(uv_timeout, &t);
    }
}

/* An iteration of libuv that asks for another one would have it before anybody else: Redis and the timers come first.
 */
static void on_poke(evutil_socket_t fd, short what, void *arg)
{
    on_uv(fd, what, arg);
    if (event_pending(uv_poke, EV_TIMEOUT, NULL))
        event_base_loopcontinue(base);
}

void loop_at_iteration_end(struct iteration_task *t)
{
    if (t->queued)
        return;
    t->queued = true;
    STAILQ_INSERT_TAIL(&iteration_tasks, t, next);
    if (!in_iteration)
        event_active(iteration_end, EV_TIMEOUT, 0);
}

void loop_poke(void)
{
    event_active(uv_poke, EV_TIMEOUT, 0);
}

static void on_lag(void *arg)
{
    int64_t now = loop_us();

    (void)arg;
    metric_observe(lag, now > lag_due ? (double)(now - lag_due) / 1e6 : 0);
    lag_due = now + LAG_INTERVAL_MS * 1000;
}

void loop_init(void)
{
    struct event_config *wanted = event_config_new();

    event_config_set_flag(wanted, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(wanted, EVENT_BASE_FLAG_PRECISE_TIMER);
    event_config_set_flag(wanted, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST); /* events come and go all the time */
    base = event_base_new_with_config(wanted);
    event_config_free(wanted);
    if (!base || uv_loop_init(&uv) != 0)
        abort();
    uv_readable = event_new(base, uv_backend_fd(&uv), EV_READ | EV_PERSIST, on_uv, NULL);
    uv_timeout = evtimer_new(base, on_uv, NULL);
    uv_poke = evtimer_new(base, on_poke, NULL);
    iteration_end = evtimer_new(base, on_iteration_end, NULL);
    event_add(uv_readable, NULL);
    loop_poke();
    lag = metric_histogram("signalbox_event_loop_lag_seconds", "How late a timer of the event loop ran");
    lag_due = loop_us() + LAG_INTERVAL_MS * 1000;
    timer_every(LAG_INTERVAL_MS, on_lag, NULL);
}

void loop_run(void)
{
    event_base_dispatch(base);
}

/* Without EVLOOP_ONCE it would go on while anything is readable, and libuv's descriptor may be so for ever. */
void loop_once(void)
{
    event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
}

void loop_stop(void)
{
    event_base_loopbreak(base);
}

void loop_fini(void)
{
    for (struct signal_watch *w; (w = LIST_FIRST(&signals));) {
        LIST_REMOVE(w, all);
        event_free(w->event);
        free(w);
    }
    event_free(uv_readable);
    event_free(uv_timeout);
    event_free(uv_poke);
    event_free(iteration_end);
    for (int i = 0; i < FAREWELL_ITERATIONS && uv_run(&uv, UV_RUN_NOWAIT) != 0; i++)
        ;
    while (!LIST_EMPTY(&timers)) /* no sooner: what ends with its connection takes its own along */
        timer_free(LIST_FIRST(&timers));
    if (uv_loop_close(&uv) != 0)
        LOG_DEBUG("uv_loop_busy");
    event_base_free(base);
    libevent_global_shutdown();
}

struct event_base *loop_base(void)
{
    return base;
}

struct uv_loop_s *loop_uv(void)
{
    return &uv;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct timer *t = arg;
    void (*callback)(void *) = t->callback;
    void *callback_arg = t->arg;

    (void)fd, (void)what;
    if (!t->repeats)
        timer_free(t);
    callback(callback_arg);
}

static struct timer *timer_new(void (*callback)(void *arg), void *arg, bool repeats)
{
    struct timer *t = mem_alloc(sizeof(*t));

    t->callback = callback;
    t->arg = arg;
    t->repeats = repeats;
    t->event = event_new(base, -1, repeats ? EV_PERSIST : 0, on_timer, t);
    LIST_INSERT_HEAD(&timers, t, all);
    return t;
}

static struct timer *timer_start(struct timer *t, int64_t delay_ms)
{
    struct timeval delay = timeval_of_ms(delay_ms);

    event_add(t->event, &delay);
    return t;
}

struct timer *timer_once(int64_t delay_ms, void (*callback)(void *arg), void *arg)
{
    return timer_start(timer_new(callback, arg, false), delay_ms);
}

struct timer *timer_every(int64_t delay_ms, void (*callback)(void *arg), void *arg)
{
    return timer_start(timer_new(callback, arg, true), delay_ms);
}

void timer_free(struct timer *t)
{
    if (!t)
        return;
    LIST_REMOVE(t, all);
    event_free(t->event);
    free(t);
}

void loop_defer(void (*callback)(void *arg), void *arg)
{
    event_active(timer_new(callback, arg, false)->event, EV_TIMEOUT, 0);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    const struct signal_watch *w = arg;

    (void)what;
    w->callback((int)number);
}

void loop_on_signal(int number, void (*callback)(int signal))
{
    struct signal_watch *w = mem_alloc(sizeof(*w));
    sigset_t one;

    w->callback = callback;
    w->event = evsignal_new(base, number, on_signal, w);
    event_add(w->event, NULL);
    LIST_INSERT_HEAD(&signals, w, all);
    sigemptyset(&one);
    sigaddset(&one, number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
}
