/* SPDX-License-Identifier: MIT */
#include "signalbox/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void every_error_has_a_name_and_a_text(void **state)
{
    (void)state;
    assert_string_equal(err_text(ERR_NONE), "");
    for (enum err e = ERR_NONE + 1; e < ERR_COUNT; e++) {
        assert_memory_equal(err_name(e), "ERR_", 4);
        assert_true(*err_text(e));
    }
    assert_string_equal(err_name(ERR_PARSE), "ERR_PARSE");
}

/* session_fail() formats the text with one detail. */
static void a_text_takes_one_detail_at_most(void **state)
{
    (void)state;
    for (enum err e = ERR_NONE; e < ERR_COUNT; e++) {
        const char *percent = strchr(err_text(e), '%');
        if (percent && (percent[1] != 's' || strchr(percent + 1, '%')))
            fail_msg("%s: %s", err_name(e), err_text(e));
    }
}

static void the_texts_are_those_of_the_protocol(void **state)
{
    static const struct {
        enum err e;
        const char *text;
    } rows[] = {
        {ERR_PARSE, "Invalid message format: JSON parse error"},
        {ERR_UNKNOWN_TYPE, "Unknown message type: %s"},
        {ERR_MISSING_FIELD, "Missing required field: %s"},
        {ERR_INVALID_FIELD, "Invalid field: %s"},
        {ERR_RATE_LIMIT, "Rate limit exceeded"},
        {ERR_UNAVAILABLE, "Service temporarily unavailable"},
        {ERR_PEER_IN_USE, "Peer id in use by another connection"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(err_text(rows[i].e), rows[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_a_name_and_a_text),
        cmocka_unit_test(a_text_takes_one_detail_at_most),
        cmocka_unit_test(the_texts_are_those_of_the_protocol),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
