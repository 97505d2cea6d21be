/* SPDX-License-Identifier: MIT */
/* Turns of requests over HTTP, and what turns gather and keep. */
#include "turn_stage.h"

static void the_error_of_a_request_is_a_status(void **state)
{
    struct turn *t = turn_begin_http(&request, sizeof(*t), clear);

    (void)state;
    assert_null(turn_session(t));
    assert_ptr_equal(turn_exchange(t), &request);
    turn_fail(t, ERR_UNAVAILABLE, NULL);
    assert_string_equal(request.answer, "503 Service temporarily unavailable");
    turn_end(t);
    assert_int_equal(cleared, 1);
    assert_int_equal(ip_holds, 0);
}

static void a_request_that_is_given_up_is_answered_with_the_sentence_or_503(void **state)
{
    (void)state;
    turn_give_up(turn_begin_http(&request, sizeof(struct turn), clear), 404, "Not there");
    assert_string_equal(request.answer, "404 Not there");
    request = (struct exchange){0};
    turn_give_up(turn_begin_http(&request, sizeof(struct turn), clear), 404, NULL);
    assert_string_equal(request.answer, "503 Service temporarily unavailable");
    assert_int_equal(cleared, 2);
    assert_int_equal(ip_holds, 0);
}

static void only_the_first_answer_of_a_request_counts(void **state)
{
    struct turn *t = turn_begin_http(&request, sizeof(*t), NULL);

    (void)state;
    turn_reply(t, 200, bytes_copy((struct span){"{}", 3}));
    turn_reply(t, 201, bytes_copy((struct span){"[]", 3}));
    turn_reply_json(t, 202, json_string("x"));
    turn_give_up(t, 404, "Not there");
    assert_string_equal(request.answer, "200 {}");
}

/* Turns of requests that gather: which of them are under way, in the order in which they came to be. */
struct gatherer {
    struct turn turn;
    int number;
};
static int gathered[16];
static size_t gathered_count;

static void gather(void *context)
{
    gathered[gathered_count++] = ((struct gatherer *)context)->number;
}

static void gather_and_end(void *context)
{
    gather(context);
    turn_end(context);
}

static void begin_to_gather(struct gatherer *all[], int n, void (*then)(void *context))
{
    gathered_count = 0;
    for (int i = 0; i < n; i++) {
        all[i] = turn_begin_http(&request, sizeof(*all[i]), clear);
        all[i]->number = i;
        turn_gather(&all[i]->turn, then);
    }
}

static void eight_turns_gather_and_the_others_follow_in_their_order(void **state)
{
    struct gatherer *all[12];

    (void)state;
    begin_to_gather(all, 12, gather);
    assert_int_equal(gathered_count, 8);
    for (int i = 3; i < 12; i++)
        turn_end(&all[i == 11 ? 0 : i]->turn);
    assert_int_equal(gathered_count, 12);
    for (int i = 0; i < 12; i++)
        assert_int_equal(gathered[i], i);
    turn_end(&all[1]->turn);
    turn_end(&all[2]->turn);
    turn_end(&all[11]->turn);
    begin_to_gather(all, 12, gather_and_end);
    assert_int_equal(gathered_count, 12);
    assert_int_equal(cleared, 24);
}

static void one_whose_client_has_left_gathers_nothing(void **state)
{
    struct gatherer *all[9];

    (void)state;
    begin_to_gather(all, 9, gather);
    request.answered = true;
    for (int i = 0; i < 8; i++)
        turn_end(&all[i]->turn);
    assert_int_equal(gathered_count, 8);
    assert_int_equal(cleared, 9);
}

static void what_a_turn_keeps_counts_until_it_ends(void **state)
{
    struct turn *t = turn_begin_http(&request, sizeof(*t), NULL);

    (void)state;
    turn_keeps(t, 100);
    turn_keeps(t, 20);
    assert_int_equal(client.kept, 120);
    turn_end(t);
    assert_int_equal(client.kept, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TURN_TEST(the_error_of_a_request_is_a_status),
        TURN_TEST(a_request_that_is_given_up_is_answered_with_the_sentence_or_503),
        TURN_TEST(only_the_first_answer_of_a_request_counts),
        TURN_TEST(eight_turns_gather_and_the_others_follow_in_their_order),
        TURN_TEST(one_whose_client_has_left_gathers_nothing),
        TURN_TEST(what_a_turn_keeps_counts_until_it_ends),
    };

    return cmocka_run_group_tests(tests, load_config, forget_config);
}
