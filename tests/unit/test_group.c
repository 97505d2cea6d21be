/* SPDX-License-Identifier: MIT */
#include "signalbox/group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "signalbox/inbox.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/redis.h"

#define ROOM "sb:room:x"
#define SESSIONS 4
#define HELD 4096

/* In the place of redis/: one channel at a time. */
static redis_message deliver;
static redis_live tell_live;
static char subscribed[64];
static bool up, live;

bool redis_up(void)
{
    return up;
}

bool redis_subscriber_up(void)
{
    return up;
}

bool redis_channel_live(const char *channel)
{
    (void)channel;
    return live;
}

void redis_subscribe(const char *channel, redis_message on_message, redis_live on_live)
{
    assert_string_equal(subscribed, "");
    snprintf(subscribed, sizeof(subscribed), "%s", channel);
    deliver = on_message;
    tell_live = on_live;
}

void redis_unsubscribe(const char *channel)
{
    assert_string_equal(subscribed, channel);
    subscribed[0] = '\0';
    live = false;
}

void redis_subscribe_anew(const char *why)
{
    (void)why;
    fail();
}

void redis_send(redis_callback callback, void *arg, size_t count, const struct span *words)
{
    (void)callback;
    (void)arg;
    (void)count;
    (void)words;
    fail();
}

/* In the place of net/session.c: sessions 1 to SESSIONS keep what they were sent. */
struct session {
    char heard[HELD * 8];
    size_t count;
    bool gone;
};
static struct session sessions[SESSIONS + 1];

struct session *session_find(session_id id)
{
    return id >= 1 && id <= SESSIONS && !sessions[id].gone ? &sessions[id] : NULL;
}

void session_send(struct session *s, struct bytes *b)
{
    struct span text = bytes_span(b);
    size_t len = strlen(s->heard);

    snprintf(s->heard + len, sizeof(s->heard) - len, "%.*s ", (int)text.len, text.at);
    s->count++;
    bytes_unref(b);
}

/* In the place of core/loop.c. */
static struct {
    void (*callback)(void *arg);
    void *arg;
} later[16];
static size_t later_count;

void loop_defer(void (*callback)(void *arg), void *arg)
{
    later[later_count].callback = callback;
    later[later_count++].arg = arg;
}

int64_t loop_ms(void)
{
    return 0;
}

struct timer *timer_every(int64_t delay_ms, void (*callback)(void *arg), void *arg)
{
    (void)delay_ms;
    (void)callback;
    (void)arg;
    fail();
    return NULL;
}

static void run_later(void)
{
    for (size_t i = 0; i < later_count; i++)
        later[i].callback(later[i].arg);
    later_count = 0;
}

/* number 0: the message has none. */
static void publish(const char *text, uint64_t number, struct address from)
{
    struct builder w = {0};
    struct bytes *frame;

    inbox_frame_begin(&w, INBOX_SEND, from);
    if (number)
        inbox_frame_target(&w, (struct inbox_target){number, {"", 0}});
    builder_text(&w, text);
    frame = builder_take(&w);
    if (number)
        ((char *)bytes_data(frame))[18] = 1; /* targets */
    deliver(subscribed, bytes_span(frame));
    bytes_unref(frame);
}

static void from_elsewhere(const char *text, uint64_t number)
{
    publish(text, number, (struct address){.wid = "0badcafe", .sid = 1});
}

static int told[2]; /* that it is not heard, that it is */

static void on_joined(bool ok, void *arg)
{
    (void)arg;
    told[ok]++;
}

static void join(session_id id)
{
    group_join(ROOM, id, on_joined, NULL);
    run_later();
}

static void come_alive(void)
{
    live = true;
    tell_live(ROOM, true);
    run_later();
}

static int start(void **state)
{
    (void)state;
    memset(sessions, 0, sizeof(sessions));
    memset(told, 0, sizeof(told));
    up = true;
    live = false;
    log_init(LOG_LEVEL_ERROR, false, false);
    group_init();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (session_id id = 1; id <= SESSIONS; id++)
        group_leave(ROOM, id);
    assert_string_equal(subscribed, "");
    group_fini();
    return 0;
}

static void who_joins_is_told_once_the_channel_is_heard(void **state)
{
    (void)state;
    join(1);
    join(2);
    assert_string_equal(subscribed, ROOM);
    assert_int_equal(told[true], 0);
    come_alive();
    assert_int_equal(told[true], 2);
    join(3);
    assert_int_equal(told[true], 3);
    assert_int_equal(told[false], 0);
}

static void who_joins_while_redis_is_away_is_told_so(void **state)
{
    (void)state;
    up = false;
    join(1);
    assert_int_equal(told[false], 1);
    assert_string_equal(subscribed, "");
    up = true;
    join(1);
    tell_live(ROOM, false);
    run_later();
    assert_int_equal(told[false], 2);
    assert_int_equal(told[true], 0);
}

static void what_comes_is_held_until_admission_and_given_if_it_is_news(void **state)
{
    static const struct {
        uint64_t since;
        const char *heard;
    } rows[] = {{0, "a b c d "}, {10, "b c d "}, {15, "b c d "}, {20, "b d "}, {29, "b d "}, {30, "b "}, {31, "b "}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        start(NULL);
        join(1);
        come_alive();
        from_elsewhere("a", 10);
        from_elsewhere("b", 0);
        from_elsewhere("c", 20);
        from_elsewhere("d", 30);
        assert_int_equal(sessions[1].count, 0);
        group_admit(ROOM, 1, rows[i].since);
        assert_string_equal(sessions[1].heard, rows[i].heard);
        group_leave(ROOM, 1);
    }
}

static void what_comes_after_admission_is_given_if_it_is_news(void **state)
{
    (void)state;
    join(1);
    come_alive();
    group_admit(ROOM, 1, 20);
    from_elsewhere("old", 19);
    from_elsewhere("own", 20);
    from_elsewhere("new", 21);
    from_elsewhere("plain", 0);
    assert_string_equal(sessions[1].heard, "new plain ");
    group_admit(ROOM, 1, 30);
    from_elsewhere("known", 25);
    from_elsewhere("last", 31);
    assert_string_equal(sessions[1].heard, "new plain last ");
}

static void a_number_far_in_the_past_is_of_a_clock_that_was_set_back(void **state)
{
    (void)state;
    join(1);
    come_alive();
    group_admit(ROOM, 1, 1000000000);
    from_elsewhere("old", 1000000000 - 4999999);
    from_elsewhere("new", 1000000000 - 5000000);
    assert_string_equal(sessions[1].heard, "new ");
}

static void nobody_is_given_what_came_before_it_listened(void **state)
{
    (void)state;
    join(1);
    come_alive();
    from_elsewhere("a", 10);
    join(2);
    from_elsewhere("b", 20);
    join(3);
    from_elsewhere("c", 30);
    group_admit(ROOM, 3, 0);
    group_admit(ROOM, 2, 0);
    group_admit(ROOM, 1, 0);
    assert_string_equal(sessions[1].heard, "a b c ");
    assert_string_equal(sessions[2].heard, "b c ");
    assert_string_equal(sessions[3].heard, "c ");
}

static void it_is_not_told_of_itself(void **state)
{
    (void)state;
    join(1);
    join(2);
    come_alive();
    publish("held", 0, self_address(1));
    group_admit(ROOM, 1, 0);
    group_admit(ROOM, 2, 0);
    publish("sent", 0, self_address(1));
    assert_string_equal(sessions[1].heard, "");
    assert_string_equal(sessions[2].heard, "held sent ");
}

static void of_too_many_held_messages_the_oldest_go(void **state)
{
    char text[8];

    (void)state;
    join(1);
    join(2);
    come_alive();
    for (unsigned i = 0; i < HELD + 10; i++) {
        snprintf(text, sizeof(text), "%u", i);
        from_elsewhere(text, i + 1);
    }
    group_admit(ROOM, 1, 0);
    assert_int_equal(sessions[1].count, HELD);
    assert_memory_equal(sessions[1].heard, "10 11 ", 6);
    join(3);
    from_elsewhere("more", 0);
    group_admit(ROOM, 3, 0);
    assert_string_equal(sessions[3].heard, "more ");
    group_admit(ROOM, 2, HELD + 9);
    assert_string_equal(sessions[2].heard, "4105 more ");
}

static void of_held_messages_that_are_too_big_together_the_oldest_go(void **state)
{
    static char text[300 * 1024];

    (void)state;
    join(1);
    join(2);
    come_alive();
    for (int letter = 'a'; letter <= 'e'; letter++) {
        memset(text, letter, sizeof(text) - 1);
        from_elsewhere(text, 0);
    }
    group_admit(ROOM, 1, 0);
    assert_int_equal(sessions[1].count, 3);
    assert_int_equal(sessions[1].heard[0], 'c');
    group_leave(ROOM, 2);
    join(2);
    memset(text, 'f', sizeof(text) - 1);
    from_elsewhere(text, 0);
    group_admit(ROOM, 2, 0);
    assert_int_equal(sessions[2].count, 1);
}

static void who_leaves_while_it_waits_hears_nothing_and_holds_nothing_back(void **state)
{
    (void)state;
    join(1);
    join(2);
    come_alive();
    from_elsewhere("a", 10);
    group_leave(ROOM, 1);
    from_elsewhere("b", 20);
    group_admit(ROOM, 1, 0);
    group_admit(ROOM, 2, 0);
    assert_string_equal(sessions[1].heard, "");
    assert_string_equal(sessions[2].heard, "a b ");
    join(1);
    group_admit(ROOM, 1, 0);
    assert_string_equal(sessions[1].heard, "");
}

static void the_last_to_leave_ends_the_subscription(void **state)
{
    (void)state;
    join(1);
    group_leave(ROOM, 1);
    assert_string_equal(subscribed, ROOM);
    come_alive();
    assert_string_equal(subscribed, "");
    assert_int_equal(told[true], 1);
    join(1);
    come_alive();
    join(1);
    group_admit(ROOM, 1, 0);
    group_leave(ROOM, 2);
    from_elsewhere("a", 0);
    assert_string_equal(sessions[1].heard, "a ");
    group_leave(ROOM, 1);
    assert_string_equal(subscribed, "");
}

static void one_that_has_gone_is_sent_nothing(void **state)
{
    (void)state;
    join(1);
    come_alive();
    from_elsewhere("a", 0);
    sessions[1].gone = true;
    group_admit(ROOM, 1, 0);
    from_elsewhere("b", 0);
    assert_int_equal(sessions[1].count, 0);
    group_join(ROOM, 1, on_joined, NULL);
    run_later();
    assert_int_equal(told[false], 1);
}

static void what_is_no_frame_is_dropped(void **state)
{
    (void)state;
    join(1);
    come_alive();
    group_admit(ROOM, 1, 0);
    deliver(subscribed, (struct span){"", 0});
    deliver(subscribed, (struct span){"x", 1});
    deliver("sb:room:other", (struct span){"x", 1});
    assert_int_equal(sessions[1].count, 0);
}

int main(void)
{
#define GROUP_TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        GROUP_TEST(who_joins_is_told_once_the_channel_is_heard),
        GROUP_TEST(who_joins_while_redis_is_away_is_told_so),
        GROUP_TEST(what_comes_is_held_until_admission_and_given_if_it_is_news),
        GROUP_TEST(what_comes_after_admission_is_given_if_it_is_news),
        GROUP_TEST(a_number_far_in_the_past_is_of_a_clock_that_was_set_back),
        GROUP_TEST(nobody_is_given_what_came_before_it_listened),
        GROUP_TEST(it_is_not_told_of_itself),
        GROUP_TEST(of_too_many_held_messages_the_oldest_go),
        GROUP_TEST(of_held_messages_that_are_too_big_together_the_oldest_go),
        GROUP_TEST(who_leaves_while_it_waits_hears_nothing_and_holds_nothing_back),
        GROUP_TEST(the_last_to_leave_ends_the_subscription),
        GROUP_TEST(one_that_has_gone_is_sent_nothing),
        GROUP_TEST(what_is_no_frame_is_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
