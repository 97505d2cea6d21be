/* SPDX-License-Identifier: MIT */
#include "signalbox/cidr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void a_list_contains_the_addresses_of_its_ranges(void **state)
{
    static const struct {
        const char *list, *ip;
        bool contained;
    } rows[] = {
        {"", "127.0.0.1", false},
        {"  ", "127.0.0.1", false},
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "9.255.255.255", false},
        {"10.1.2.3/8", "10.9.9.9", true},
        {"192.168.0.0/15", "192.169.255.255", true},
        {"192.168.0.0/15", "192.170.0.0", false},
        {"192.168.1.128/25", "192.168.1.127", false},
        {"192.168.1.128/25", "192.168.1.128", true},
        {"1.2.3.4/31", "1.2.3.5", true},
        {"1.2.3.4/31", "1.2.3.6", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/32", "2001:db9::1", false},
        {"2001:DB8::1", "2001:0db8:0::1", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"::1/128", "::1", true},
        {"::1/128", "::2", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "203.0.113.9", false},
        {"::/0", "::ffff:203.0.113.9", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"10.0.0.0/8", "::ffff:11.1.2.3", false},
        {"::ffff:10.0.0.0/104", "10.1.2.3", true},
        {"::ffff:10.0.0.0/104", "11.1.2.3", false},
        {"::ffff:10.0.0.1", "10.0.0.1", true},
        {"::ffff:0:0/96", "203.0.113.9", true},
        {"10.0.0.0/8, 2001:db8::/32,127.0.0.1", "10.0.0.1", true},
        {"10.0.0.0/8, 2001:db8::/32,127.0.0.1", "2001:db8::5", true},
        {" 10.0.0.0/8 ,\t2001:db8::/32 , 127.0.0.1 ", "127.0.0.1", true},
        {"10.0.0.0/8, 2001:db8::/32,127.0.0.1", "127.0.0.2", false},
        {"0.0.0.0/0,::/0", "", false},
        {"0.0.0.0/0,::/0", "unknown", false},
        {"0.0.0.0/0,::/0", "10.0.0.1:80", false},
        {"0.0.0.0/0,::/0", "10.0.0", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cidr_list *list = cidr_parse(rows[i].list);
        if (!list || cidr_contains(list, rows[i].ip) != rows[i].contained)
            fail_msg("%s in \"%s\"", rows[i].ip, rows[i].list);
        cidr_free(list);
    }
}

static void a_malformed_list_is_refused_whole(void **state)
{
    static const char *const rows[] = {
        ",",
        "10.0.0.0/8,",
        ",10.0.0.0/8",
        "10.0.0.0/8,,::1",
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "10.0.0.0/ 8",
        "10.0.0.0 /8",
        "10.0.0.0/08",
        "10.0.0.0/8/8",
        "10.0.0.0/8x",
        "10.0.0/8",
        "010.0.0.1",
        "10.0.0.256",
        "/8",
        "localhost",
        "10.0.0.1 ::1",
        "[::1]",
        ":::1",
        "fe80::1%eth0",
        "10.0.0.0/4294967304",
        "1111111111111111111111111111111111111111111111111111111111111111111111111111111111111111",
        "10.0.0.0/8;::1",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cidr_list *list = cidr_parse(rows[i]);
        if (list)
            fail_msg("accepted: %s", rows[i]);
    }
    cidr_free(NULL);
}

static void a_range_is_the_first_24_bits_of_ipv4_and_48_of_ipv6(void **state)
{
    static const struct {
        const char *ip;
        size_t len;
        unsigned char bytes[ADDRESS_RANGE_MAX];
    } rows[] = {
        {"203.0.113.9", 4, {4, 203, 0, 113}},
        {"0.0.0.0", 4, {4, 0, 0, 0}},
        {"255.255.255.255", 4, {4, 255, 255, 255}},
        {"::ffff:203.0.113.9", 4, {4, 203, 0, 113}},
        {"::ffff:cb00:7109", 4, {4, 203, 0, 113}},
        {"0:0:0:0:0:FFFF:203.0.113.255", 4, {4, 203, 0, 113}},
        {"2001:db8:1:2:3:4:5:6", 7, {6, 0x20, 0x01, 0x0d, 0xb8, 0, 1}},
        {"2001:DB8:1::", 7, {6, 0x20, 0x01, 0x0d, 0xb8, 0, 1}},
        {"::1", 7, {6, 0, 0, 0, 0, 0, 0}},
        {"::", 7, {6, 0, 0, 0, 0, 0, 0}},
        {"::203.0.113.9", 7, {6, 0, 0, 0, 0, 0, 0}},
        {"::fffe:203.0.113.9", 7, {6, 0, 0, 0, 0, 0, 0}},
        {"64:ff9b::203.0.113.9", 7, {6, 0, 0x64, 0xff, 0x9b, 0, 0}},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 7, {6, 255, 255, 255, 255, 255, 255}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned char got[ADDRESS_RANGE_MAX] = {0};

        if (address_range(rows[i].ip, got) != rows[i].len || memcmp(got, rows[i].bytes, sizeof(got)) != 0)
            fail_msg("%s", rows[i].ip);
    }
}

static void what_is_no_address_has_no_range(void **state)
{
    static const char *const rows[] = {
        "",          "unknown", "localhost",     "10.0.0",       "10.0.0.1:80",   "10.0.0.0/24",  "10.0.0.256",
        "10.0.0.1 ", " ::1",    "[2001:db8::1]", "fe80::1%eth0", "2001:db8::/48", "2001:db8:::1", "::ffff:10.0.0",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned char got[ADDRESS_RANGE_MAX];

        if (address_range(rows[i], got) != 0)
            fail_msg("\"%s\" has a range", rows[i]);
    }
}

static void addresses_share_a_range_where_only_what_is_behind_it_differs(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"203.0.113.0", "203.0.113.255", true},
        {"203.0.113.7", "::ffff:203.0.113.200", true},
        {"203.0.113.255", "203.0.114.0", false},
        {"203.0.113.1", "203.1.113.1", false},
        {"203.0.113.1", "204.0.113.1", false},
        {"::ffff:203.0.113.1", "::ffff:203.0.114.1", false},
        {"2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff", true},
        {"2001:db8:1::1", "2001:0DB8:0001:8000::2", true},
        {"2001:db8:1::1", "2001:db8:2::1", false},
        {"2001:db8:1::1", "2001:db8:8001::1", false},
        {"2001:db8:1::1", "2002:db8:1::1", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned char a[ADDRESS_RANGE_MAX], b[ADDRESS_RANGE_MAX];
        size_t len = address_range(rows[i].a, a);

        assert_true(len > 0);
        if ((address_range(rows[i].b, b) == len && memcmp(a, b, len) == 0) != rows[i].same)
            fail_msg("%s and %s", rows[i].a, rows[i].b);
    }
}

/* Not even where one is the beginning of the other. */
static void a_range_of_ipv4_is_never_one_of_ipv6(void **state)
{
    static const char *const v4[] = {"0.0.0.0", "4.4.4.4", "6.6.6.6", "10.0.0.1", "32.1.13.184", "255.255.255.255"};
    static const char *const v6[] = {
        "::", "::4.4.4.4", "404:404:404::", "606:606:606::", "a00:0:100::", "2001:db8::", "ffff:ffff:ff::", "6:6:6::"};

    (void)state;
    for (size_t i = 0; i < COUNT(v4); i++) {
        for (size_t j = 0; j < COUNT(v6); j++) {
            unsigned char a[ADDRESS_RANGE_MAX], b[ADDRESS_RANGE_MAX];

            assert_int_equal(address_range(v4[i], a), 4);
            assert_int_equal(address_range(v6[j], b), 7);
            assert_memory_not_equal(a, b, 4);
        }
    }
}

static void a_prefix_is_so_many_bits_behind_the_version(void **state)
{
    static const struct {
        const char *ip;
        unsigned bits_v4, bits_v6;
        size_t len;
        unsigned char bytes[ADDRESS_PREFIX_MAX];
    } rows[] = {
        {"203.0.113.255", 32, 64, 5, {4, 203, 0, 113, 255}},
        {"203.0.113.255", 31, 64, 5, {4, 203, 0, 113, 254}},
        {"203.0.113.255", 25, 64, 5, {4, 203, 0, 113, 128}},
        {"203.0.113.255", 24, 64, 4, {4, 203, 0, 113}},
        {"203.0.113.255", 23, 64, 4, {4, 203, 0, 112}},
        {"203.0.113.255", 8, 64, 2, {4, 203}},
        {"203.0.113.255", 1, 64, 2, {4, 128}},
        {"203.0.113.255", 0, 64, 1, {4}},
        {"::ffff:203.0.113.255", 32, 64, 5, {4, 203, 0, 113, 255}},
        {"::ffff:cb00:71ff", 20, 128, 4, {4, 203, 0, 112}},
        {"2001:db8:1:2ff::9", 32, 64, 9, {6, 0x20, 1, 0x0d, 0xb8, 0, 1, 2, 0xff}},
        {"2001:db8:1:2ff::9", 32, 63, 9, {6, 0x20, 1, 0x0d, 0xb8, 0, 1, 2, 0xfe}},
        {"2001:db8:1:2ff::9", 32, 57, 9, {6, 0x20, 1, 0x0d, 0xb8, 0, 1, 2, 0x80}},
        {"2001:db8:1:2ff::9", 32, 56, 8, {6, 0x20, 1, 0x0d, 0xb8, 0, 1, 2}},
        {"2001:db8:1:2ff::9", 0, 1, 2, {6, 0}},
        {"f001:db8:1:2ff::9", 0, 1, 2, {6, 0x80}},
        {"2001:db8:1:2ff::9", 32, 0, 1, {6}},
        {"ff::ff", 32, 128, 17, {6, 0, 0xff, [16] = 0xff}},
        {"ff::ff", 32, 127, 17, {6, 0, 0xff, [16] = 0xfe}},
        {"::203.0.113.9", 8, 128, 17, {6, [13] = 203, [15] = 113, [16] = 9}},
        {"", 32, 128, 0, {0}},
        {"unknown", 32, 128, 0, {0}},
        {"10.0.0.1:80", 32, 128, 0, {0}},
        {"[::1]", 32, 128, 0, {0}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned char got[ADDRESS_PREFIX_MAX] = {0};

        if (address_prefix(rows[i].ip, rows[i].bits_v4, rows[i].bits_v6, got) != rows[i].len ||
            memcmp(got, rows[i].bytes, sizeof(got)) != 0)
            fail_msg("%s, %u and %u bits", rows[i].ip, rows[i].bits_v4, rows[i].bits_v6);
    }
}

/* For every count of bits: addresses that differ in the last bit of it are two, those that differ behind it are one. */
static void a_prefix_tells_apart_what_differs_within_its_bits(void **state)
{
    (void)state;
    for (unsigned bits = 1; bits <= 128; bits++) {
        for (unsigned differs = 0; differs < 128; differs++) {
            unsigned char a[ADDRESS_PREFIX_MAX], b[ADDRESS_PREFIX_MAX];
            char ip[ADDRESS_TEXT_MAX];
            unsigned group = 0xffffu ^ 0x8000u >> differs % 16;
            int n = 0;

            for (unsigned i = 0; i < 8; i++)
                n +=
                    snprintf(ip + n, sizeof(ip) - (size_t)n, "%s%x", i ? ":" : "", i == differs / 16 ? group : 0xffffu);
            assert_int_equal(address_prefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 32, bits, a),
                             1 + (bits + 7) / 8);
            assert_int_equal(address_prefix(ip, 32, bits, b), 1 + (bits + 7) / 8);
            if ((memcmp(a, b, 1 + (bits + 7) / 8) == 0) != (differs >= bits))
                fail_msg("%s of %u bits", ip, bits);
        }
    }
}

static void an_address_has_one_text(void **state)
{
    static const struct {
        const char *ip, *text; /* NULL: it is none */
    } rows[] = {
        {"203.0.113.9", "203.0.113.9"},
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
        {"::ffff:203.0.113.9", "203.0.113.9"},
        {"::FFFF:cb00:7109", "203.0.113.9"},
        {"0:0:0:0:0:ffff:0:0", "0.0.0.0"},
        {"::", "::"},
        {"0:0:0:0:0:0:0:1", "::1"},
        {"2001:0DB8:0000:0000:0000:0000:0000:0001", "2001:db8::1"},
        {"2001:db8::0:1", "2001:db8::1"},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:db8:0:0:1:0:0:0", "2001:db8:0:0:1::"},
        {"::fffe:203.0.113.9", "::fffe:cb00:7109"},
        {"FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
        {"", NULL},
        {"unknown", NULL},
        {"10.0.0", NULL},
        {"10.0.0.01", NULL},
        {"10.0.0.1 ", NULL},
        {"10.0.0.1:80", NULL},
        {"10.0.0.0/8", NULL},
        {"[::1]", NULL},
        {"fe80::1%eth0", NULL},
        {"1::2::3", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char got[ADDRESS_TEXT_MAX] = "as it was";
        bool is_address = address_text(rows[i].ip, got);

        if (is_address != (rows[i].text != NULL) || strcmp(got, is_address ? rows[i].text : "as it was") != 0)
            fail_msg("\"%s\": %s", rows[i].ip, got);
    }
}

static void a_range_is_told_as_the_shortest_text(void **state)
{
    static const struct {
        const char *ip;
        unsigned bits;
        const char *text;
    } rows[] = {
        {"192.0.2.7", 64, "192.0.2.7"},
        {"::ffff:192.0.2.7", 64, "192.0.2.7"},
        {"2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::/64"},
        {"2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6"},
        {"2001:db8:1:2:3:4:5:6", 1, "::/1"},
        {"nobody knows", 64, "nobody knows"},
        {"123456789012345678901234567890123456789012345678", 64, "123456789012345678901234567890123456789012345"}};
    char text[ADDRESS_RANGE_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        address_range_text(rows[i].ip, rows[i].bits, text);
        assert_string_equal(text, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_contains_the_addresses_of_its_ranges),
        cmocka_unit_test(a_malformed_list_is_refused_whole),
        cmocka_unit_test(a_range_is_the_first_24_bits_of_ipv4_and_48_of_ipv6),
        cmocka_unit_test(what_is_no_address_has_no_range),
        cmocka_unit_test(addresses_share_a_range_where_only_what_is_behind_it_differs),
        cmocka_unit_test(a_range_of_ipv4_is_never_one_of_ipv6),
        cmocka_unit_test(a_prefix_is_so_many_bits_behind_the_version),
        cmocka_unit_test(a_prefix_tells_apart_what_differs_within_its_bits),
        cmocka_unit_test(an_address_has_one_text),
        cmocka_unit_test(a_range_is_told_as_the_shortest_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
