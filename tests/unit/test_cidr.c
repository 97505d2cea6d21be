/* SPDX-License-Identifier: MIT */
#include "signalbox/cidr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_contains_the_addresses_of_its_ranges),
        cmocka_unit_test(a_malformed_list_is_refused_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
