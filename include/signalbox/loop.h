/* SPDX-License-Identifier: MIT */
/* loop: the one event loop of the process, with libuv's loop (which libwebsockets needs) embedded in it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct event_base;
struct uv_loop_s;
struct timer;

void loop_init(void); /* aborts when the kernel gives no epoll */
void loop_run(void);  /* until loop_stop() */
void loop_once(void); /* one iteration that does not wait, for those who clean up when it has ended */
void loop_stop(void);
void loop_fini(void);

struct event_base *loop_base(void);
struct uv_loop_s *loop_uv(void);

/* To be called after work outside libuv's callbacks that libuv must see (a writable request, a closed handle):
   libuv gets its turn once more before the loop sleeps. Cheap to call often. */
void loop_poke(void);

/* What many events ask for is done once: run() follows when the present iteration of libuv ends, or the present
   callback where there is none. Asking again before that is nothing. The task is the caller's, and outlives the loop.
 */
struct iteration_task {
    void (*run)(void);
    bool queued;
    STAILQ_ENTRY(iteration_task) next;
};
void loop_at_iteration_end(struct iteration_task *t);

int64_t loop_ms(void);  /* monotonic, ms */
int64_t loop_us(void);  /* monotonic, µs */
int64_t clock_ms(void); /* Unix time, ms */

/* Runs callback once after delay_ms, or every delay_ms; from the loop, never before the call returns. */
struct timer *timer_once(int64_t delay_ms, void (*callback)(void *arg), void *arg);
struct timer *timer_every(int64_t delay_ms, void (*callback)(void *arg), void *arg);
void timer_free(struct timer *t); /* also from its own callback; a timer_once frees itself after it ran. NULL is fine */

/* Runs callback from the loop as soon as the present callback has returned. */
void loop_defer(void (*callback)(void *arg), void *arg);

/* The signal may have been blocked up to now, so that one that came too early is not lost. */
void loop_on_signal(int signal, void (*callback)(int signal));
