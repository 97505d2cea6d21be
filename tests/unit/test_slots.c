/* SPDX-License-Identifier: MIT */
#include "signalbox/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define MANY 1000

static struct slots slots;
static int things[MANY]; /* how often each was visited */
static uint64_t numbers[MANY];

static int forget_all(void **state)
{
    (void)state;
    slots_free(&slots);
    for (size_t i = 0; i < MANY; i++)
        things[i] = 0;
    return 0;
}

static void put_many(void)
{
    for (size_t i = 0; i < MANY; i++)
        numbers[i] = slots_put(&slots, &things[i]);
}

static void visit(void *thing, void *arg)
{
    int *visits = arg;

    ++*(int *)thing;
    ++*visits;
}

static void a_thing_is_found_by_its_number_until_it_is_dropped(void **state)
{
    uint64_t number = slots_put(&slots, &things[0]);

    (void)state;
    assert_true(number != 0);
    assert_ptr_equal(slots_find(&slots, number), &things[0]);
    assert_int_equal(slots.count, 1);
    slots_drop(&slots, number);
    assert_null(slots_find(&slots, number));
    assert_int_equal(slots.count, 0);
}

static void nothing_is_found_where_nothing_was_put(void **state)
{
    static const uint64_t rows[] = {0, 1, 63, 64, 1u << 24, (1u << 24) + 5, UINT32_MAX, 1ull << 56, UINT64_MAX};

    (void)state;
    for (int put = 0; put < 2; put++) {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            if (slots_find(&slots, rows[i]) && rows[i] != numbers[0])
                fail_msg("found by %#llx", (unsigned long long)rows[i]);
            if (rows[i] != numbers[0])
                slots_drop(&slots, rows[i]);
        }
        assert_int_equal(slots.count, put);
        numbers[0] = slots_put(&slots, &things[0]);
    }
}

static void the_number_of_one_that_left_never_finds_its_successor(void **state)
{
    uint64_t past[MANY];

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        past[i] = slots_put(&slots, &things[i]);
        for (size_t j = 0; j < i; j++) {
            assert_true(past[j] != past[i]);
            assert_null(slots_find(&slots, past[j]));
        }
        slots_drop(&slots, past[i]);
    }
}

static void dropping_twice_leaves_the_successor_alone(void **state)
{
    uint64_t first = slots_put(&slots, &things[0]), second;

    (void)state;
    slots_drop(&slots, first);
    second = slots_put(&slots, &things[1]);
    slots_drop(&slots, first);
    assert_ptr_equal(slots_find(&slots, second), &things[1]);
    assert_int_equal(slots.count, 1);
}

static void numbers_stay_valid_while_the_table_grows(void **state)
{
    (void)state;
    put_many();
    assert_int_equal(slots.count, MANY);
    for (size_t i = 0; i < MANY; i++)
        assert_ptr_equal(slots_find(&slots, numbers[i]), &things[i]);
}

static void places_that_were_left_are_used_again(void **state)
{
    uint32_t room;

    (void)state;
    put_many();
    room = slots.room;
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < MANY; i++)
            slots_drop(&slots, numbers[i]);
        put_many();
    }
    assert_int_equal(slots.room, room);
    assert_int_equal(slots.count, MANY);
}

static void each_visits_what_is_there_once(void **state)
{
    int visits = 0;

    (void)state;
    slots_each(&slots, visit, &visits);
    assert_int_equal(visits, 0);
    put_many();
    for (size_t i = 0; i < MANY; i += 3)
        slots_drop(&slots, numbers[i]);
    slots_each(&slots, visit, &visits);
    assert_int_equal(visits, slots.count);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(things[i], i % 3 != 0);
}

static void the_parts_are_about_equal_and_together_all(void **state)
{
    static const unsigned rows[] = {1, 2, 7, 64};

    (void)state;
    put_many();
    for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        int all = 0;
        for (unsigned part = 0; part < rows[row]; part++) {
            int visits = 0;
            slots_each_part(&slots, part, rows[row], visit, &visits);
            assert_in_range(visits, MANY / rows[row], MANY / rows[row] + 1);
            all += visits;
        }
        assert_int_equal(all, MANY);
    }
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(things[i], sizeof(rows) / sizeof(rows[0]));
}

static void drop_own(void *thing, void *arg)
{
    (void)arg;
    slots_drop(&slots, numbers[(int *)thing - things]);
}

static void a_visit_may_drop_what_it_visits(void **state)
{
    (void)state;
    put_many();
    slots_each(&slots, drop_own, NULL);
    assert_int_equal(slots.count, 0);
}

static void freed_slots_are_empty_and_usable(void **state)
{
    uint64_t number;

    (void)state;
    put_many();
    slots_free(&slots);
    assert_int_equal(slots.count, 0);
    assert_null(slots_find(&slots, numbers[0]));
    number = slots_put(&slots, &things[5]);
    assert_ptr_equal(slots_find(&slots, number), &things[5]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_thing_is_found_by_its_number_until_it_is_dropped, forget_all),
        cmocka_unit_test_teardown(nothing_is_found_where_nothing_was_put, forget_all),
        cmocka_unit_test_teardown(the_number_of_one_that_left_never_finds_its_successor, forget_all),
        cmocka_unit_test_teardown(dropping_twice_leaves_the_successor_alone, forget_all),
        cmocka_unit_test_teardown(numbers_stay_valid_while_the_table_grows, forget_all),
        cmocka_unit_test_teardown(places_that_were_left_are_used_again, forget_all),
        cmocka_unit_test_teardown(each_visits_what_is_there_once, forget_all),
        cmocka_unit_test_teardown(the_parts_are_about_equal_and_together_all, forget_all),
        cmocka_unit_test_teardown(a_visit_may_drop_what_it_visits, forget_all),
        cmocka_unit_test_teardown(freed_slots_are_empty_and_usable, forget_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
