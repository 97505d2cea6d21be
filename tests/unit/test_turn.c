/* SPDX-License-Identifier: MIT */
#include "turn_stage.h"

#define OF_OWN "{\"type\":\"own\",\"request_id\":\"1\"}"
#define OF_OTHER "{\"type\":\"other\",\"request_id\":\"2\"}"

static void receive(const char *message)
{
    struct json_members m = {.only = ops->names};

    ops->on_text(&client, span_of(message), json_scan(span_of(message), &m) ? &m : NULL);
    json_members_free(&m);
}

static void the_error_of_each_message_is_told_in_its_own_form_however_late(void **state)
{
    (void)state;
    receive(OF_OWN);
    receive(OF_OTHER);
    assert_int_equal(count, 2);
    turn_fail(under_way[0], ERR_UNAVAILABLE, NULL);
    turn_fail(under_way[1], ERR_PEER_IN_USE, NULL);
    assert_string_equal(client.heard, "own ERR_UNAVAILABLE \"1\"\nother ERR_PEER_IN_USE \"2\"\n");
    turn_end(under_way[0]);
    turn_end(under_way[1]);
}

static void the_error_of_an_earlier_message_is_not_that_of_the_one_at_hand(void **state)
{
    (void)state;
    receive(OF_OTHER);
    receive(OF_OWN);
    receive("{\"type\":\"nonsense\",\"request_id\":\"3\"}");
    turn_fail(under_way[0], ERR_UNAVAILABLE, NULL);
    turn_fail(under_way[1], ERR_UNAVAILABLE, NULL);
    assert_string_equal(client.heard,
                        "own ERR_UNKNOWN_TYPE \"3\"\nother ERR_UNAVAILABLE \"2\"\nown ERR_UNAVAILABLE \"1\"\n");
    turn_end(under_way[0]);
    turn_end(under_way[1]);
}

static void an_error_of_no_message_at_hand_is_told_as_the_dialect_does_whatever_came_last(void **state)
{
    (void)state;
    receive("{\"type\":\"other_silent\"}");
    session_fail(&client, ERR_UNAVAILABLE, NULL);
    receive("{\"type\":\"other_refused\",\"request_id\":\"4\"}");
    assert_string_equal(client.heard, "own ERR_UNAVAILABLE \nother ERR_NOT_IN_ROOM \"4\"\n");
}

static void a_session_is_held_until_its_turn_has_ended(void **state)
{
    (void)state;
    receive("{\"type\":\"own_held\"}");
    assert_int_equal(client.holds, 1);
    turn_send(under_way[0], bytes_copy(SPAN("hello")));
    assert_int_equal(client.holds, 1);
    turn_end(under_way[0]);
    assert_int_equal(client.holds, 0);
    assert_int_equal(cleared, 1);
    assert_int_equal(ip_holds, 0);
    assert_string_equal(client.heard, "hello\n");
}

static void a_turn_beside_holds_nothing(void **state)
{
    (void)state;
    receive("{\"type\":\"own\"}");
    assert_int_equal(client.holds, 0);
    turn_end(under_way[0]);
    assert_int_equal(client.holds, 0);
}

static void one_whose_client_has_left_says_nothing_and_is_freed(void **state)
{
    (void)state;
    receive("{\"type\":\"own_held\"}");
    client.gone = true;
    assert_null(turn_session(under_way[0]));
    turn_send(under_way[0], bytes_copy(SPAN("hello")));
    turn_fail(under_way[0], ERR_UNAVAILABLE, NULL);
    turn_end(under_way[0]);
    assert_string_equal(client.heard, "");
    assert_int_equal(cleared, 1);
    assert_int_equal(ip_holds, 0);
    assert_int_equal(client.holds, 1); /* of a session that is not there any more */
}

static void a_message_is_charged_by_its_row_and_its_answer_when_it_is_known(void **state)
{
    (void)state;
    receive("{\"type\":\"dear\",\"ids\":[\"a\",\"b\"]}");
    turn_send(under_way[0], bytes_copy(SPAN("ten bytes.")));
    assert_true(client.charged == 1 + 2 * 2 + 10);
    turn_end(under_way[0]);
    session_send(&client, bytes_copy(SPAN("no answer")));
    assert_true(client.charged == 1 + 2 * 2 + 10);
}

static void who_cannot_pay_for_a_message_is_told_in_its_form_and_nothing_is_done(void **state)
{
    (void)state;
    client.poor = true;
    receive("{\"type\":\"other\",\"request_id\":\"6\"}");
    assert_string_equal(client.heard, "other ERR_RATE_LIMIT \"6\"\n");
    assert_int_equal(count, 0);
}

static void the_address_of_who_has_left_pays_for_the_answer(void **state)
{
    struct turn *t;

    (void)state;
    receive("{\"type\":\"dear\",\"ids\":[\"a\"]}");
    client.gone = true;
    turn_send(under_way[0], bytes_copy(SPAN("ten bytes.")));
    turn_end(under_way[0]);
    assert_true(address.tokens == -10);
    t = turn_begin_http(&request, sizeof(*t), NULL);
    request.answered = true;
    turn_reply_json(t, 200, json_pack("[s]", "1234567890"));
    turn_end(t);
    assert_true(address.tokens < -10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TURN_TEST(the_error_of_each_message_is_told_in_its_own_form_however_late),
        TURN_TEST(the_error_of_an_earlier_message_is_not_that_of_the_one_at_hand),
        TURN_TEST(an_error_of_no_message_at_hand_is_told_as_the_dialect_does_whatever_came_last),
        TURN_TEST(a_session_is_held_until_its_turn_has_ended),
        TURN_TEST(a_turn_beside_holds_nothing),
        TURN_TEST(one_whose_client_has_left_says_nothing_and_is_freed),
        TURN_TEST(a_message_is_charged_by_its_row_and_its_answer_when_it_is_known),
        TURN_TEST(who_cannot_pay_for_a_message_is_told_in_its_form_and_nothing_is_done),
        TURN_TEST(the_address_of_who_has_left_pays_for_the_answer),
    };

    return cmocka_run_group_tests(tests, load_config, forget_config);
}
