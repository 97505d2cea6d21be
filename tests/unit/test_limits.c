/* SPDX-License-Identifier: MIT */
#include "signalbox/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "signalbox/config.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define STEPS 12
#define FORTY_FIVE "123456789012345678901234567890123456789012345"

static void a_bucket_gives_what_its_rate_and_burst_allow(void **state)
{
    static const struct {
        const char *what;
        long long rate, burst;
        struct {
            int64_t at_ms;
            int wanted, given; /* so many are wanted at that time, so many given */
        } steps[STEPS];
    } rows[] = {
        {"a full bucket gives its burst at once", 1, 5, {{0, 10, 5}, {0, 1, 0}}},
        {"then one for each tick of its rate", 10, 2, {{0, 3, 2}, {99, 1, 0}, {100, 2, 1}, {200, 2, 1}, {300, 2, 1}}},
        {"it fills up to its burst and no more", 100, 3, {{0, 3, 3}, {60000, 10, 3}, {60000, 1, 0}}},
        {"a burst of one spaces everything", 2, 1, {{0, 2, 1}, {499, 1, 0}, {500, 2, 1}, {999, 1, 0}, {1000, 1, 1}}},
        {"asking too early costs nothing", 1, 1, {{0, 1, 1}, {500, 9, 0}, {999, 9, 0}, {1000, 2, 1}}},
        {"parts of a token add up", 3, 1, {{0, 1, 1}, {111, 1, 0}, {222, 1, 0}, {334, 2, 1}}},
        {"the defaults of a connection",
         100,
         200,
         {{0, 300, 200}, {1000, 300, 100}, {1500, 300, 50}, {9000, 300, 200}}},
        {"rate 0 is no limit", 0, 1, {{0, 1000, 1000}, {1, 1000, 1000}}},
        {"a rate above a thousand", 5000, 10, {{0, 20, 10}, {1, 20, 5}, {2, 20, 5}, {100, 20, 10}}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bucket b = bucket_full(rows[i].burst, 1000000);
        for (size_t step = 0; step < STEPS && rows[i].steps[step].wanted; step++) {
            int given = 0;
            for (int n = 0; n < rows[i].steps[step].wanted; n++)
                given += bucket_take(&b, rows[i].rate, rows[i].burst, 1000000 + rows[i].steps[step].at_ms);
            if (given != rows[i].steps[step].given)
                fail_msg("%s: step %zu gave %d", rows[i].what, step, given);
        }
    }
}

static void over_a_minute_a_bucket_keeps_its_rate(void **state)
{
    static const long long rates[] = {1, 7, 100, 333, 1000};

    (void)state;
    for (size_t i = 0; i < COUNT(rates); i++) {
        struct bucket b = bucket_full(10, 0);
        long long given = 0;
        for (int64_t ms = 0; ms <= 60000; ms++)
            for (int n = 0; n < 3; n++)
                given += bucket_take(&b, rates[i], 10, ms);
        assert_in_range(given, 60 * rates[i] + 9, 60 * rates[i] + 10); /* what it held, and a minute's worth */
    }
}

static int start(void **state)
{
    static const char *const names[] = {"TRUSTED_PROXIES",    "IP_CONNECT_RATE", "IP_CONNECT_BURST",
                                        "IP_CONNECTIONS_MAX", "IP_PREFIX_V6",    "HTTP_RATE",
                                        "HTTP_BURST",         "MISS_RATE",       "MISS_BURST"};

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        unsetenv(names[i]);
    loop_init();
    return 0;
}

static void limit(const char *name, const char *value)
{
    char problem[256] = "", *argv[] = {"signalbox-worker", NULL};

    setenv(name, value, 1);
    if (config_load(1, argv, problem) != CONFIG_OK)
        fail_msg("%s", problem);
    limits_fini();
    limits_init();
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

struct forwarded {
    const char *socket, *header, *client;
};

static void check_clients(const char *proxies, const struct forwarded *rows, size_t count)
{
    limit("TRUSTED_PROXIES", proxies);
    for (size_t i = 0; i < count; i++) {
        char ip[IP_TEXT_MAX];

        client_ip(rows[i].socket, rows[i].header, ip);
        if (strcmp(ip, rows[i].client) != 0)
            fail_msg("%s with \"%s\": %s", rows[i].socket, rows[i].header ? rows[i].header : "none", ip);
    }
}

static void without_trusted_proxies_the_socket_says_who_it_is(void **state)
{
    static const struct forwarded rows[] = {
        {"203.0.113.9", NULL, "203.0.113.9"},
        {"203.0.113.9", "1.2.3.4", "203.0.113.9"},
        {"10.0.0.1", "1.2.3.4", "10.0.0.1"},
        {"2001:db8::9", NULL, "2001:db8::9"},
        {"::ffff:203.0.113.9", "1.2.3.4", "203.0.113.9"},
    };

    (void)state;
    check_clients("", rows, COUNT(rows));
}

static void behind_proxies_the_right_most_untrusted_entry_counts(void **state)
{
    static const struct forwarded rows[] = {
        {"203.0.113.9", "1.2.3.4", "203.0.113.9"}, /* not a proxy: its header is not believed */
        {"11.0.0.1", "1.2.3.4", "11.0.0.1"},
        {"10.0.0.1", NULL, "10.0.0.1"},
        {"10.0.0.1", "", "10.0.0.1"},
        {"10.0.0.1", "203.0.113.9", "203.0.113.9"},
        {"10.0.0.1", "  203.0.113.9\t", "203.0.113.9"},
        {"10.0.0.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"}, /* what the client made up stands on the left */
        {"10.0.0.1", "1.2.3.4,5.6.7.8,203.0.113.9", "203.0.113.9"},
        {"10.0.0.1", "10.9.9.9, 203.0.113.9", "203.0.113.9"},
        {"10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"},
        {"10.0.0.1", "1.2.3.4 ,203.0.113.9 , 10.0.0.2,10.0.0.3", "203.0.113.9"},
        {"10.0.0.1", "10.0.0.7, 10.0.0.2", "10.0.0.7"}, /* a client among the proxies */
        {"10.0.0.1", "2001:db8::9", "2001:db8::9"},
        {"10.0.0.1", "2001:db8::9, fd00::2", "2001:db8::9"},
        {"fd00::1", "203.0.113.9", "203.0.113.9"},
        {"fd00::1", "1.2.3.4, 2001:db8::9, fd00::2, 10.0.0.2", "2001:db8::9"},
        {"fe00::1", "203.0.113.9", "fe00::1"},
        {"::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"},
        {"10.0.0.1", "203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9"},
        {"127.0.0.1", "203.0.113.9", "203.0.113.9"},
        {"127.0.0.2", "203.0.113.9", "127.0.0.2"},
        {"10.0.0.1", "unknown", "10.0.0.1"},
        {"10.0.0.1", "1.2.3.4:5678", "1.2.3.4"},
        {"10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"},
        {"10.0.0.1", "2001:db8::1", "2001:db8::1"},
        {"10.0.0.1", "1.2.3.4, unknown", "10.0.0.1"},
    };

    (void)state;
    check_clients("10.0.0.0/8, fd00::/8, 127.0.0.1", rows, COUNT(rows));
}

/* Who stands left of an entry that says nothing cannot be known: the last proxy that can, counts. */
static void nothing_is_believed_beyond_an_empty_or_endless_entry(void **state)
{
    static const struct forwarded rows[] = {
        {"10.0.0.1", ",", "10.0.0.1"},
        {"10.0.0.1", " ", "10.0.0.1"},
        {"10.0.0.1", " , ", "10.0.0.1"},
        {"10.0.0.1", "1.2.3.4,", "10.0.0.1"},
        {"10.0.0.1", "1.2.3.4, ,10.0.0.2", "10.0.0.2"},
        {"10.0.0.1", ",203.0.113.9", "203.0.113.9"},
        {"10.0.0.1", ",10.0.0.2", "10.0.0.2"},
        {"10.0.0.1", "1.2.3.4, " FORTY_FIVE "6", "10.0.0.1"},
        {"10.0.0.1", "1.2.3.4, " FORTY_FIVE, "10.0.0.1"},
    };

    (void)state;
    check_clients("10.0.0.0/8", rows, COUNT(rows));
}

/* One client is one client, whichever way its proxy writes an IPv4 address. */
static void a_mapped_entry_is_the_same_client(void **state)
{
    static const struct forwarded rows[] = {
        {"10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"},
        {"10.0.0.1", "::ffff:203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9"},
    };

    (void)state;
    check_clients("10.0.0.0/8", rows, COUNT(rows));
}

static void an_address_may_connect_so_often(void **state)
{
    (void)state;
    setenv("IP_CONNECT_RATE", "1", 1);
    limit("IP_CONNECT_BURST", "3");
    for (int i = 0; i < 6; i++)
        assert_int_equal(ip_connect("203.0.113.9"), i < 3);
    assert_true(ip_connect("203.0.113.8"));
    limit("IP_CONNECT_RATE", "0");
    for (int i = 0; i < 100; i++)
        assert_true(ip_connect("203.0.113.9"));
}

static void an_address_may_have_so_many_connections(void **state)
{
    (void)state;
    limit("IP_CONNECTIONS_MAX", "2");
    for (int round = 0; round < 3; round++) {
        assert_true(ip_open("2001:db8::9"));
        assert_true(ip_open("2001:db8::9"));
        assert_false(ip_open("2001:db8::9"));
        assert_true(ip_open("2001:db8:0:1::9"));
        ip_close("2001:db8:0:1::9");
        ip_close("2001:db8::9");
        assert_true(ip_open("2001:db8::9"));
        assert_false(ip_open("2001:db8::9"));
        ip_close("2001:db8::9");
        ip_close("2001:db8::9");
    }
    limit("IP_CONNECTIONS_MAX", "0");
    for (int i = 0; i < 100; i++)
        assert_true(ip_open("2001:db8::9"));
}

static void an_address_may_send_so_many_requests(void **state)
{
    (void)state;
    setenv("HTTP_RATE", "1", 1);
    limit("HTTP_BURST", "3");
    for (int i = 0; i < 6; i++)
        assert_int_equal(ip_request("203.0.113.9"), i < 3);
    assert_true(ip_request("203.0.113.8"));
    limit("HTTP_RATE", "0");
    for (int i = 0; i < 1000; i++)
        assert_true(ip_request("203.0.113.9"));
}

static void requests_come_again_at_their_rate(void **state)
{
    int64_t begin, end;
    int given = 0;

    (void)state;
    setenv("HTTP_RATE", "500", 1);
    limit("HTTP_BURST", "2");
    begin = loop_ms();
    for (int i = 0; i < 2; i++)
        assert_true(ip_request("203.0.113.9"));
    while ((end = loop_ms()) < begin + 60)
        given += ip_request("203.0.113.9");
    assert_true(given > 0);
    assert_true(given <= (end - begin + 1) / 2);
}

static void requests_and_connections_are_counted_apart(void **state)
{
    (void)state;
    setenv("IP_CONNECT_RATE", "1", 1);
    setenv("IP_CONNECT_BURST", "1", 1);
    setenv("IP_CONNECTIONS_MAX", "1", 1);
    setenv("HTTP_RATE", "1", 1);
    limit("HTTP_BURST", "2");
    assert_true(ip_connect("203.0.113.9"));
    assert_false(ip_connect("203.0.113.9"));
    assert_true(ip_open("203.0.113.9"));
    assert_false(ip_open("203.0.113.9"));
    for (int i = 0; i < 4; i++)
        assert_int_equal(ip_request("203.0.113.9"), i < 2);
    assert_false(ip_connect("203.0.113.9"));
    ip_close("203.0.113.9");
    assert_true(ip_open("203.0.113.9"));
    assert_false(ip_request("203.0.113.9"));
    ip_close("203.0.113.9");
}

static void one_range_of_ipv6_counts_as_one_client(void **state)
{
    static const struct {
        const char *bits, *a, *b;
        bool same;
    } rows[] = {
        {"64", "2001:db8::1", "2001:db8::ffff:0:0:2", true},
        {"64", "2001:db8::1", "2001:db8:0:1::1", false},
        {"48", "2001:db8::1", "2001:db8:0:ffff::1", true},
        {"48", "2001:db8::1", "2001:db8:1::1", false},
        {"60", "2001:db8::1", "2001:db8:0:f::1", true},
        {"60", "2001:db8::1", "2001:db8:0:10::1", false},
        {"128", "2001:db8::1", "2001:db8::2", false},
        {"128", "2001:db8::1", "2001:DB8:0::1", true},
        {"1", "203.0.113.9", "203.0.113.8", false},
        {"64", "203.0.113.9", "::ffff:203.0.113.9", true},
        {"64", "::ffff:203.0.113.9", "::ffff:203.0.113.8", false},
        {"64", "::", "0.0.0.0", false},
    };

    (void)state;
    setenv("HTTP_RATE", "1", 1);
    setenv("HTTP_BURST", "1", 1);
    for (size_t i = 0; i < COUNT(rows); i++) {
        limit("IP_PREFIX_V6", rows[i].bits);
        assert_true(ip_request(rows[i].a));
        assert_false(ip_request(rows[i].a));
        if (ip_request(rows[i].b) == rows[i].same)
            fail_msg("%s and %s of /%s", rows[i].a, rows[i].b, rows[i].bits);
    }
}

static void a_proxy_is_what_is_trusted(void **state)
{
    static const struct {
        const char *proxies, *ip;
        bool is;
    } rows[] = {
        {"", "127.0.0.1", false},
        {"10.0.0.0/8, fd00::/8, 127.0.0.1", "10.255.0.1", true},
        {"10.0.0.0/8, fd00::/8, 127.0.0.1", "::ffff:10.0.0.1", true},
        {"10.0.0.0/8, fd00::/8, 127.0.0.1", "11.0.0.1", false},
        {"10.0.0.0/8, fd00::/8, 127.0.0.1", "fdff::1", true},
        {"10.0.0.0/8, fd00::/8, 127.0.0.1", "fe00::1", false},
        {"10.0.0.0/8, fd00::/8, 127.0.0.1", "127.0.0.1", true},
        {"10.0.0.0/8, fd00::/8, 127.0.0.1", "127.0.0.2", false},
        {"0.0.0.0/0, ::/0", "203.0.113.9", true},
        {"0.0.0.0/0, ::/0", "", false},
        {"0.0.0.0/0, ::/0", "unknown", false},
        {"0.0.0.0/0, ::/0", "10.0.0.1, 10.0.0.2", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        limit("TRUSTED_PROXIES", rows[i].proxies);
        if (ip_is_proxy(rows[i].ip) != rows[i].is)
            fail_msg("%s of \"%s\"", rows[i].ip, rows[i].proxies);
    }
}

static void misses_among_look_ups_under_way_are_owed(void **state)
{
    (void)state;
    setenv("MISS_RATE", "1", 1);
    limit("MISS_BURST", "3");
    for (int i = 0; i < 5; i++)
        assert_true(ip_look_up(ip_find("203.0.113.9")));
    for (int i = 0; i < 5; i++)
        ip_looked_up(ip_find("203.0.113.9"), i > 0);
    assert_false(ip_look_up(ip_find("203.0.113.9")));
    assert_true(ip_look_up(ip_find("203.0.113.8")));
    limit("MISS_RATE", "0");
    assert_true(ip_look_up(ip_find("203.0.113.9")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_gives_what_its_rate_and_burst_allow),
        cmocka_unit_test(over_a_minute_a_bucket_keeps_its_rate),
        cmocka_unit_test_setup_teardown(without_trusted_proxies_the_socket_says_who_it_is, start, stop),
        cmocka_unit_test_setup_teardown(behind_proxies_the_right_most_untrusted_entry_counts, start, stop),
        cmocka_unit_test_setup_teardown(nothing_is_believed_beyond_an_empty_or_endless_entry, start, stop),
        cmocka_unit_test_setup_teardown(a_mapped_entry_is_the_same_client, start, stop),
        cmocka_unit_test_setup_teardown(an_address_may_connect_so_often, start, stop),
        cmocka_unit_test_setup_teardown(an_address_may_have_so_many_connections, start, stop),
        cmocka_unit_test_setup_teardown(an_address_may_send_so_many_requests, start, stop),
        cmocka_unit_test_setup_teardown(requests_come_again_at_their_rate, start, stop),
        cmocka_unit_test_setup_teardown(requests_and_connections_are_counted_apart, start, stop),
        cmocka_unit_test_setup_teardown(one_range_of_ipv6_counts_as_one_client, start, stop),
        cmocka_unit_test_setup_teardown(misses_among_look_ups_under_way_are_owed, start, stop),
        cmocka_unit_test_setup_teardown(a_proxy_is_what_is_trusted, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
