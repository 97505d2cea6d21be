/* SPDX-License-Identifier: MIT */
#include "signalbox/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void what_is_formatted_is_parsed_again(void **state)
{
    static const struct {
        struct address address;
        const char *text;
    } rows[] = {
        {{"1f0c9a3e", 16777216}, "1f0c9a3e.16777216"},
        {{"00000000", 0}, "00000000.0"},
        {{"ffffffff", 1}, "ffffffff.1"},
        {{"deadbeef", UINT32_MAX}, "deadbeef.4294967295"},
        {{"0123abcd", UINT64_MAX}, "0123abcd.18446744073709551615"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct address back;
        char text[ADDRESS_MAX];

        address_format(&rows[i].address, text);
        assert_string_equal(text, rows[i].text);
        assert_true(address_parse(span_of(text), &back));
        assert_string_equal(back.wid, rows[i].address.wid);
        assert_true(back.sid == rows[i].address.sid);
    }
}

static void what_is_no_address_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        ".",
        "1f0c9a3e",
        "1f0c9a3e.",
        ".16777216",
        "1f0c9a3.1",
        "1f0c9a3e1.1",
        "1F0C9A3E.1",
        "1f0c9a3g.1",
        "1f0c9a3e,1",
        "1f0c9a3e.-1",
        "1f0c9a3e.+1",
        "1f0c9a3e. 1",
        "1f0c9a3e.1 ",
        "1f0c9a3e.1x",
        "1f0c9a3e.1.2",
        "1f0c9a3e.0x10",
        " 1f0c9a3e.1",
        "1f0c9a3e.18446744073709551616",
        "1f0c9a3e.99999999999999999999",
        "1f0c9a3e.000000000000000000001",
        "1f0c9a3e.184467440737095516150",
        "1f0c9a3e.\xc2\xb2",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct address a;
        if (address_parse(span_of(rows[i]), &a))
            fail_msg("accepted: \"%s\"", rows[i]);
    }
}

static void only_the_bytes_of_the_span_are_read(void **state)
{
    static const char whole[] = "1f0c9a3e.123";
    struct address a;

    (void)state;
    for (size_t len = 0; len < sizeof(whole); len++) {
        char *exact = malloc(len ? len : 1); /* the sanitizer sees a read past its end */
        bool ok;

        memcpy(exact, whole, len);
        ok = address_parse((struct span){exact, len}, &a);
        free(exact);
        assert_int_equal(ok, len >= 10 && len < sizeof(whole)); /* with the zero behind it, it is none either */
    }
    assert_true(address_parse((struct span){whole, 10}, &a));
    assert_int_equal(a.sid, 1);
}

static void a_worker_keeps_its_id_and_knows_its_own_addresses(void **state)
{
    struct address self = self_address(42), other = self;
    char text[ADDRESS_MAX], expected[ADDRESS_MAX];

    (void)state;
    assert_int_equal(strlen(self_wid()), WID_LEN);
    assert_int_equal(strspn(self_wid(), "0123456789abcdef"), WID_LEN);
    assert_string_equal(self.wid, self_wid());
    assert_int_equal(self.sid, 42);
    self_address_text(42, text);
    address_format(&self, expected);
    assert_string_equal(text, expected);
    assert_true(address_is_self(&self));
    for (size_t i = 0; i < WID_LEN; i++) {
        other = self;
        other.wid[i] = self.wid[i] == '0' ? '1' : '0';
        assert_false(address_is_self(&other));
    }
}

static void a_worker_with_another_id_knows_its_sockets_by_the_former_ones(void **state)
{
    struct address first = self_address(42), second;
    char text[ADDRESS_MAX], expected[ADDRESS_MAX];

    (void)state;
    self_former_text(42, text);
    assert_string_equal(text, "");
    self_wid_renew();
    second = self_address(42);
    assert_string_not_equal(first.wid, second.wid);
    assert_int_equal(strspn(second.wid, "0123456789abcdef"), WID_LEN);
    assert_true(address_is_self(&first) && address_is_self(&second));
    self_former_text(42, text);
    address_format(&first, expected);
    assert_string_equal(text, expected);
    for (int renewals = 2; renewals <= 16; renewals++) {
        self_wid_renew();
        assert_true(address_is_self(&first) && address_is_self(&second));
    }
    self_wid_renew();
    assert_false(address_is_self(&first));
    assert_true(address_is_self(&second));
    self_former_text(42, text);
    assert_string_not_equal(text, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_formatted_is_parsed_again),
        cmocka_unit_test(what_is_no_address_is_refused),
        cmocka_unit_test(only_the_bytes_of_the_span_are_read),
        cmocka_unit_test(a_worker_keeps_its_id_and_knows_its_own_addresses),
        cmocka_unit_test(a_worker_with_another_id_knows_its_sockets_by_the_former_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
