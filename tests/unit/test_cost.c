/* SPDX-License-Identifier: MIT */
#include "signalbox/cost.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "signalbox/config.h"
#include "signalbox/limits.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KIB 1024
#define ATTACKERS 1000

static void set(const char *rate, const char *burst, const char *ip_rate, const char *ip_burst)
{
    char problem[256] = "", *argv[] = {"signalbox-worker", NULL};

    setenv("COST_RATE", rate, 1);
    setenv("COST_BURST", burst, 1);
    setenv("IP_COST_RATE", ip_rate, 1);
    setenv("IP_COST_BURST", ip_burst, 1);
    if (config_load(1, argv, problem) != CONFIG_OK)
        fail_msg("%s", problem);
    limits_init();
    cost_init();
}

static int start(void **state)
{
    (void)state;
    loop_init();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    limits_fini();
    config_fini();
    loop_fini();
    metrics_fini();
    return 0;
}

static void what_a_message_costs_adds_up(void **state)
{
    static const struct {
        struct cost cost;
        size_t items, bytes, reply, told;
        double least, all;
    } rows[] = {
        {{0}, 9, KIB, KIB, 9, 0, 0},
        {{.base = 20}, 9, KIB, KIB, 9, 2, 2},
        {{.item = 50}, 512, KIB, KIB, 9, 2560, 2560},
        {{.kib = 5}, 1, 10 * KIB, KIB, 9, 5, 5},
        {{.reply_kib = 10}, 1, KIB, KIB / 2, 0, 0, 0.5},
        {{.told = 10, .reply_kib = 10}, 1, KIB, KIB, 3, 0, 7},
        {{.base = 10, .item = 10, .kib = 10, .reply_kib = 10, .told = 10}, 2, 3 * KIB, 4 * KIB, 1, 6, 15},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct cost *c = &rows[i].cost;
        double least = cost_least(c, rows[i].items, rows[i].bytes);
        double all = least + cost_of_reply(c, rows[i].reply) + cost_of_told(c, rows[i].told, rows[i].reply);

        if (least != rows[i].least || all != rows[i].all)
            fail_msg("row %zu: %f, in all %f", i, least, all);
    }
}

static void who_has_not_got_it_is_refused_and_loses_nothing(void **state)
{
    struct bucket own;
    struct ip *ip;

    (void)state;
    set("1", "10", "0", "1");
    own = bucket_full(10, loop_ms());
    ip = ip_find("203.0.113.9");
    assert_int_equal(cost_take(&own, ip, 6), 0);
    assert_true(cost_take(&own, ip, 6) > 0);
    assert_int_equal(cost_take(&own, ip, 4), 0);
    assert_true(cost_take(&own, ip, 1) > 0);
}

static void connections_of_an_address_share_its_bucket(void **state)
{
    struct bucket own[2];
    struct ip *ip;

    (void)state;
    set("1", "100", "1", "15");
    own[0] = own[1] = bucket_full(100, loop_ms());
    ip = ip_find("203.0.113.9");
    assert_int_equal(cost_take(&own[0], ip, 6), 0);
    assert_true(cost_take(&own[1], ip, 10) > 0);
    assert_true(own[1].tokens == 100);
    assert_true(cost_take(NULL, ip, 10) > 0);
    assert_int_equal(cost_take(NULL, ip, 8), 0);
    assert_int_equal(cost_take(&own[1], ip_find("203.0.113.8"), 6), 0);
}

static void a_full_bucket_gives_any_number_and_fills_up_again(void **state)
{
    struct bucket own;
    struct ip *ip;

    (void)state;
    set("1000", "10", "1000", "10");
    own = bucket_full(10, loop_ms());
    ip = ip_find("203.0.113.9");
    assert_int_equal(cost_take(&own, ip, 50), 0);
    assert_true(cost_take(&own, ip, 1) > 0);
    for (int64_t begin = loop_ms(); loop_ms() < begin + 45;)
        ;
    assert_int_equal(cost_take(&own, ip, 1), 0);
}

static void what_is_charged_late_is_owed(void **state)
{
    struct bucket own;
    struct ip *ip;

    (void)state;
    set("1", "10", "1", "10");
    own = bucket_full(10, loop_ms());
    ip = ip_find("203.0.113.9");
    cost_charge(&own, ip, 30);
    assert_true(own.tokens <= -19 && ip_cost(ip)->tokens <= -19);
    assert_true(cost_take(&own, ip, 1) > 0);
}

static void a_client_is_read_again_when_it_is_worth_it_but_soon(void **state)
{
    static const struct {
        double units;
        int64_t least, most;
    } rows[] = {{1, 12, 12}, {100, 80, 100}, {1000, 250, 250}};

    (void)state;
    set("1000", "1000", "0", "1");
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bucket own = {0, loop_ms()};
        int64_t ms = cost_take(&own, ip_find("203.0.113.9"), rows[i].units);

        if (ms < rows[i].least || ms > rows[i].most)
            fail_msg("%f units: %lld ms", rows[i].units, (long long)ms);
    }
}

static void a_rate_of_0_is_no_limit(void **state)
{
    struct bucket own;
    struct ip *ip;

    (void)state;
    set("0", "1", "0", "1");
    own = bucket_full(1, loop_ms());
    ip = ip_find("203.0.113.9");
    for (int i = 0; i < 1000; i++)
        assert_int_equal(cost_take(&own, ip, 1000), 0);
}

/* All together ask for 40 times what a worker gives, and each for no more than it may have. */
static void when_all_want_too_much_who_has_used_least_goes_on(void **state)
{
    struct ip *ips[ATTACKERS];
    double taken = 0, last;
    int64_t begin;

    (void)state;
    set("0", "1", "2000", "120000");
    for (int i = 0; i < ATTACKERS; i++) {
        char text[IP_TEXT_MAX];
        snprintf(text, sizeof(text), "10.0.%d.%d", i / 250, i % 250);
        ips[i] = ip_find(text);
    }
    begin = loop_ms();
    do {
        last = taken;
        for (int i = 0; i < ATTACKERS; i++)
            if (cost_take(NULL, ips[i], 100) == 0)
                taken += 100;
    } while (taken > last);
    assert_true(taken >= 100000);
    assert_true(taken <= 400000 + (double)(loop_ms() - begin) * 50);
    for (int i = 0; i < 50; i++)
        assert_int_equal(cost_take(NULL, ip_find("203.0.113.9"), 2), 0);
    assert_true(cost_take(NULL, ips[0], 100) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_message_costs_adds_up),
        cmocka_unit_test_setup_teardown(who_has_not_got_it_is_refused_and_loses_nothing, start, stop),
        cmocka_unit_test_setup_teardown(connections_of_an_address_share_its_bucket, start, stop),
        cmocka_unit_test_setup_teardown(a_full_bucket_gives_any_number_and_fills_up_again, start, stop),
        cmocka_unit_test_setup_teardown(what_is_charged_late_is_owed, start, stop),
        cmocka_unit_test_setup_teardown(a_client_is_read_again_when_it_is_worth_it_but_soon, start, stop),
        cmocka_unit_test_setup_teardown(a_rate_of_0_is_no_limit, start, stop),
        cmocka_unit_test_setup_teardown(when_all_want_too_much_who_has_used_least_goes_on, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
