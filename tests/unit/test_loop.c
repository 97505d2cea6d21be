/* SPDX-License-Identifier: MIT */
#include "signalbox/loop.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <uv.h>
#include <cmocka.h>

#include "signalbox/metrics.h"

#define DEADLINE_MS 10000
#define MANY 200

static char trace[MANY + 2]; /* who was called, in this order */
static struct timer *timer;
static int calls;

static int start(void **state)
{
    (void)state;
    memset(trace, 0, sizeof(trace));
    timer = NULL;
    calls = 0;
    loop_init();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    loop_fini();
    metrics_fini();
    return 0;
}

static void note(void *arg)
{
    size_t len = strlen(trace);

    assert_true(len <= MANY);
    trace[len] = *(const char *)arg;
}

static void finish(void *arg)
{
    (void)arg;
    loop_stop();
}

static void too_late(void *arg)
{
    (void)arg;
    fail_msg("the loop was not stopped in time; called so far: %s", trace);
}

/* Runs the loop until something calls finish(). */
static void run(void)
{
    timer_once(DEADLINE_MS, too_late, NULL);
    loop_run();
}

static void a_timer_runs_once_and_not_before_its_time(void **state)
{
    int64_t begin = loop_ms();

    (void)state;
    timer_once(20, note, "x");
    assert_string_equal(trace, "");
    timer_once(80, finish, NULL);
    run();
    assert_string_equal(trace, "x");
    assert_true(loop_ms() - begin >= 79);
}

static void timers_run_in_the_order_of_their_times(void **state)
{
    (void)state;
    timer_once(60, note, "c");
    timer_once(0, note, "a");
    timer_once(30, note, "b");
    timer_once(90, finish, NULL);
    run();
    assert_string_equal(trace, "abc");
}

static void even_a_timer_of_no_delay_waits_for_the_loop(void **state)
{
    (void)state;
    timer_once(0, note, "x");
    loop_defer(note, "y");
    assert_string_equal(trace, "");
    timer_once(30, finish, NULL);
    run();
    assert_int_equal(strlen(trace), 2);
}

static void count_to_five(void *arg)
{
    note(arg);
    if (++calls == 5) {
        timer_free(timer);
        timer_once(50, finish, NULL);
    }
}

static void a_repeating_timer_runs_until_it_is_freed_in_its_own_callback(void **state)
{
    int64_t begin = loop_ms();

    (void)state;
    timer = timer_every(10, count_to_five, "x");
    run();
    assert_string_equal(trace, "xxxxx");
    assert_true(loop_ms() - begin >= 99);
}

static void free_the_other(void *arg)
{
    (void)arg;
    timer_free(timer);
}

static void a_freed_timer_never_runs(void **state)
{
    (void)state;
    timer_free(NULL);
    timer_free(timer_once(0, note, "a"));
    timer_free(timer_every(1, note, "b"));
    timer = timer_once(30, note, "c");
    timer_once(10, free_the_other, NULL);
    timer_once(60, finish, NULL);
    run();
    assert_string_equal(trace, "");
}

static const char letters[] = "abcdefghijklmnopqrstuvwxyz";

static void defer_many(void *arg)
{
    for (int i = 0; i < MANY; i++)
        loop_defer(note, (void *)&letters[i % 26]);
    note(arg);
}

static void expect_in_order(void)
{
    assert_int_equal(strlen(trace), 1 + MANY);
    assert_int_equal(trace[0], '0');
    for (int i = 0; i < MANY; i++)
        if (trace[1 + i] != letters[i % 26])
            fail_msg("call %d was %c", i, trace[1 + i]);
}

static void deferred_calls_run_in_order_after_the_present_one(void **state)
{
    (void)state;
    timer_once(5, defer_many, "0");
    timer_once(60, finish, NULL);
    run();
    expect_in_order();
}

static void calls_deferred_before_the_loop_runs_keep_their_order(void **state)
{
    (void)state;
    defer_many("0");
    timer_once(60, finish, NULL);
    run();
    expect_in_order();
}

static void defer_again(void *arg)
{
    note(arg);
    if (++calls < 3)
        loop_defer(defer_again, arg);
}

static void a_deferred_call_may_defer_another(void **state)
{
    (void)state;
    loop_defer(defer_again, "x");
    timer_once(40, finish, NULL);
    run();
    assert_string_equal(trace, "xxx");
}

static uv_timer_t uv_timer;
static uv_check_t uv_check;

static void on_uv_timer(uv_timer_t *t)
{
    note("u");
    uv_close((uv_handle_t *)t, NULL);
    loop_stop();
}

static void ask_uv(void *arg)
{
    (void)arg;
    uv_timer_init(loop_uv(), &uv_timer);
    uv_update_time(loop_uv());
    uv_timer_start(&uv_timer, on_uv_timer, 20, 0);
    loop_poke();
    loop_poke();
}

/* Without the poke nobody would look at libuv again: it has nothing else to wait for. */
static void a_poke_makes_libuv_see_what_was_asked_of_it(void **state)
{
    int64_t begin;

    (void)state;
    timer_once(30, ask_uv, NULL);
    begin = loop_ms();
    run();
    assert_string_equal(trace, "u");
    assert_in_range(loop_ms() - begin, 48, DEADLINE_MS / 2);
}

static void on_uv_turn(uv_check_t *handle)
{
    (void)handle;
    calls++;
}

static void a_poke_gives_libuv_one_turn_and_no_more(void **state)
{
    (void)state;
    uv_check_init(loop_uv(), &uv_check);
    uv_check_start(&uv_check, on_uv_turn);
    loop_poke();
    timer_once(50, finish, NULL);
    run();
    uv_close((uv_handle_t *)&uv_check, NULL);
    assert_in_range(calls, 1, 3);
}

static void poke_again(uv_check_t *handle)
{
    on_uv_turn(handle);
    if (calls < 1000000)
        loop_poke();
}

static void libuv_that_has_more_to_do_all_the_time_keeps_nobody_waiting(void **state)
{
    (void)state;
    uv_check_init(loop_uv(), &uv_check);
    uv_check_start(&uv_check, poke_again);
    loop_poke();
    timer_once(20, finish, NULL);
    run();
    uv_close((uv_handle_t *)&uv_check, NULL);
    assert_in_range(calls, 1, 999999);
}

static void on_signal(int number)
{
    assert_int_equal(number, SIGUSR1);
    note("s");
    if (++calls == 2)
        loop_stop();
}

static void send_signal(void *arg)
{
    (void)arg;
    raise(SIGUSR1);
}

static void a_signal_is_handled_in_the_loop_each_time(void **state)
{
    (void)state;
    loop_on_signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    assert_string_equal(trace, "");
    timer_once(30, send_signal, NULL);
    run();
    assert_string_equal(trace, "ss");
}

static void the_clocks_agree_with_the_systems(void **state)
{
    int64_t us = loop_us(), ms = loop_ms();

    (void)state;
    assert_in_range(ms, us / 1000, us / 1000 + 1000);
    assert_in_range(clock_ms() / 1000, time(NULL) - 1, time(NULL) + 1);
    assert_true(loop_us() >= us);
}

#define IN_LOOP(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_LOOP(a_timer_runs_once_and_not_before_its_time),
        IN_LOOP(timers_run_in_the_order_of_their_times),
        IN_LOOP(even_a_timer_of_no_delay_waits_for_the_loop),
        IN_LOOP(a_repeating_timer_runs_until_it_is_freed_in_its_own_callback),
        IN_LOOP(a_freed_timer_never_runs),
        IN_LOOP(deferred_calls_run_in_order_after_the_present_one),
        IN_LOOP(calls_deferred_before_the_loop_runs_keep_their_order),
        IN_LOOP(a_deferred_call_may_defer_another),
        IN_LOOP(a_poke_makes_libuv_see_what_was_asked_of_it),
        IN_LOOP(a_poke_gives_libuv_one_turn_and_no_more),
        IN_LOOP(libuv_that_has_more_to_do_all_the_time_keeps_nobody_waiting),
        IN_LOOP(the_clocks_agree_with_the_systems),
        IN_LOOP(a_signal_is_handled_in_the_loop_each_time), /* the last: a loop keeps its signals to the end */
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
