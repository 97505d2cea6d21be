/* SPDX-License-Identifier: MIT */
#include "signalbox/redis.h"

#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "signalbox/metrics.h"

static redisReply number = {.type = REDIS_REPLY_INTEGER, .integer = 7};
static redisReply text = {.type = REDIS_REPLY_STRING, .str = (char *)"x", .len = 1};

static const struct reply *pair(redisReply *first, redisReply *second)
{
    static redisReply *elements[2];
    static redisReply array = {.type = REDIS_REPLY_ARRAY, .elements = 2, .element = elements};

    elements[0] = first;
    elements[1] = second;
    return (const struct reply *)&array;
}

static double malformed(void)
{
    return metric_value(metric_counter("signalbox_script_replies_malformed_total", ""));
}

static void a_reply_of_the_declared_shape_is_read(void **state)
{
    struct span word;
    long long n;

    (void)state;
    assert_true(reply_read(pair(&text, &number), "si", &word, &n));
    assert_true(span_is(word, "x"));
    assert_int_equal(n, 7);
    assert_true(malformed() == 0);
}

static void a_reply_of_another_shape_is_counted_and_not_read(void **state)
{
    struct span word;
    long long n;

    (void)state;
    assert_false(reply_read(pair(&number, &text), "si", &word, &n));
    assert_false(reply_read(pair(&text, &number), "s", &word));
    assert_false(reply_read((const struct reply *)&text, "s", &word));
    assert_true(malformed() == 3);
    assert_false(reply_read(NULL, "s", &word));
    assert_true(malformed() == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_of_the_declared_shape_is_read),
        cmocka_unit_test(a_reply_of_another_shape_is_counted_and_not_read),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    metrics_fini();
    return failed;
}
