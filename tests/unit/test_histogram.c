/* SPDX-License-Identifier: MIT */
#include "histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct histogram h;

static int clear(void **state)
{
    (void)state;
    h = (struct histogram){0};
    return 0;
}

static void an_empty_one_has_no_quantiles(void **state)
{
    (void)state;
    assert_int_equal(histogram_quantile(&h, 0.5), 0);
    assert_int_equal(histogram_quantile(&h, 1), 0);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    for (uint64_t value = 1; value <= 50; value++)
        histogram_add(&h, value);
    assert_int_equal(h.count, 50);
    assert_int_equal(histogram_quantile(&h, 0.5), 25);
    assert_int_equal(histogram_quantile(&h, 0.9), 45);
    assert_int_equal(histogram_quantile(&h, 0.99), 50);
    assert_int_equal(histogram_quantile(&h, 0), 1);
}

/* A value alone, and one that is greater so that the greatest does not bound the answer. */
static void no_value_is_told_too_low_or_a_32nd_too_high(void **state)
{
    static const uint64_t around[] = {0, 1, 63, 64, 65, 127, 128, 1000, 4095, 4096, 1000000, 123456789, 1ULL << 40};

    (void)state;
    for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
        clear(NULL);
        histogram_add(&h, around[i]);
        assert_int_equal(histogram_quantile(&h, 0.5), around[i]);
        histogram_add(&h, UINT64_MAX);
        assert_true(histogram_quantile(&h, 0.5) >= around[i]);
        assert_true(histogram_quantile(&h, 0.5) <= around[i] + around[i] / 32);
        assert_int_equal(histogram_quantile(&h, 1), UINT64_MAX);
    }
}

static void quantiles_are_those_of_the_sorted_values(void **state)
{
    uint64_t exact;

    (void)state;
    for (uint64_t i = 1; i <= 100000; i++)
        histogram_add(&h, i * 7 % 100003);
    for (int share = 1; share < 1000; share++) {
        exact = (uint64_t)share * 100;
        assert_true(histogram_quantile(&h, share / 1000.0) + 5 >= exact);
        assert_true(histogram_quantile(&h, share / 1000.0) <= exact + exact / 32 + 5);
    }
}

static void one_slow_in_a_thousand_shows_in_the_last_quantile_only(void **state)
{
    (void)state;
    for (int i = 0; i < 9990; i++)
        histogram_add(&h, 10);
    for (int i = 0; i < 10; i++)
        histogram_add(&h, 5000000);
    assert_int_equal(histogram_quantile(&h, 0.99), 10);
    assert_int_equal(histogram_quantile(&h, 0.999), 10);
    assert_int_equal(histogram_quantile(&h, 0.9991), 5000000);
    assert_int_equal(h.most, 5000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_one_has_no_quantiles, clear),
        cmocka_unit_test_setup(small_values_are_exact, clear),
        cmocka_unit_test_setup(no_value_is_told_too_low_or_a_32nd_too_high, clear),
        cmocka_unit_test_setup(quantiles_are_those_of_the_sorted_values, clear),
        cmocka_unit_test_setup(one_slow_in_a_thousand_shows_in_the_last_quantile_only, clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
