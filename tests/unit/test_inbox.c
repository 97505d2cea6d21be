/* SPDX-License-Identifier: MIT */
#include "signalbox/inbox.h"

#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "signalbox/keys.h"
#include "signalbox/log.h"
#include "signalbox/metrics.h"
#include "signalbox/redis.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define OTHER "0badcafe"
#define HEADER_LEN 20
#define COUNT_AT 18

/* In the place of redis/client.c: keeps what was sent. */
static struct {
    char channel[64];
    struct bytes *frame;
    redis_callback callback;
    void *arg;
} sent;
static redis_message deliver;
static char subscribed[64];

void redis_send(redis_callback callback, void *arg, size_t count, const struct span *words)
{
    assert_int_equal(count, 3);
    assert_true(span_is(words[0], "PUBLISH"));
    snprintf(sent.channel, sizeof(sent.channel), "%.*s", (int)words[1].len, words[1].at);
    bytes_unref(sent.frame);
    sent.frame = bytes_copy(words[2]);
    sent.callback = callback;
    sent.arg = arg;
}

bool redis_channel_live(const char *channel)
{
    (void)channel;
    return true;
}

void redis_subscribe(const char *channel, redis_message on_message, redis_live on_live)
{
    (void)on_live;
    snprintf(subscribed, sizeof(subscribed), "%s", channel);
    deliver = on_message;
}

void redis_unsubscribe(const char *channel)
{
    assert_string_equal(channel, subscribed);
    *subscribed = '\0';
}

void redis_subscribe_anew(const char *why)
{
    (void)why;
}

bool redis_up(void)
{
    return true;
}

/* receivers: what Redis answers; -1: it was not reached. */
static void answer(long long receivers)
{
    redisReply r = {.type = REDIS_REPLY_INTEGER, .integer = receivers};

    sent.callback(receivers < 0 ? NULL : (const struct reply *)&r, sent.arg);
}

static const struct inbox_target targets[] = {
    {1, {"peer\talice", 10}},
    {UINT64_MAX, {"", 0}},
    {16777216, {"hour\t\xf0\x9f\x98\x80\tbob", 13}},
};
static const struct span body = {"{\"type\":\"offer\"}\0x", 18};

static struct span publish(inbox_unreached unreached)
{
    struct builder w = {0};

    inbox_frame_begin(&w, INBOX_SEND, self_address(77));
    for (size_t i = 0; i < COUNT(targets); i++)
        inbox_frame_target(&w, targets[i]);
    inbox_publish(OTHER, &w, COUNT(targets), body, unreached);
    assert_null(w.bytes);
    return bytes_span(sent.frame);
}

static void expect_whole(struct inbox_frame *frame)
{
    struct inbox_target t;

    assert_int_equal(frame->operation, INBOX_SEND);
    assert_string_equal(frame->from.wid, self_wid());
    assert_int_equal(frame->from.sid, 77);
    assert_int_equal(frame->targets, COUNT(targets));
    assert_true(span_equals(frame->body, body));
    for (size_t i = 0; i < COUNT(targets); i++) {
        assert_true(inbox_next_target(frame, &t));
        assert_true(t.sid == targets[i].sid);
        assert_true(span_equals(t.entry, targets[i].entry));
    }
    assert_false(inbox_next_target(frame, &t));
    assert_false(inbox_next_target(frame, &t));
}

static void what_is_published_is_read_again(void **state)
{
    struct inbox_frame frame;

    (void)state;
    assert_true(inbox_frame_read(publish(NULL), &frame));
    assert_string_equal(sent.channel, "sb:inbox:" OTHER);
    expect_whole(&frame);
    answer(1);
}

static void a_frame_needs_neither_targets_nor_a_body(void **state)
{
    (void)state;
    for (enum inbox_operation o = INBOX_SEND; o < INBOX_OPERATIONS; o++) {
        struct builder w = {0};
        struct inbox_frame frame;
        struct inbox_target t;

        inbox_frame_begin(&w, o, self_address(0));
        assert_int_equal(builder_len(&w), HEADER_LEN);
        inbox_publish(OTHER, &w, 0, (struct span){"", 0}, NULL);
        assert_true(inbox_frame_read(bytes_span(sent.frame), &frame));
        assert_int_equal(frame.operation, o);
        assert_int_equal(frame.from.sid, 0);
        assert_int_equal(frame.body.len, 0);
        assert_false(inbox_next_target(&frame, &t));
        answer(1);
    }
}

static void numbers_are_little_endian_on_every_machine(void **state)
{
    static const unsigned char sid[] = {0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};
    struct builder w = {0};
    const char *at;

    (void)state;
    inbox_frame_begin(&w, INBOX_PROBE, self_address(0x1122334455667788));
    inbox_frame_target(&w, (struct inbox_target){0x1122334455667788, {"ab", 2}});
    inbox_publish(OTHER, &w, 1, (struct span){"", 0}, NULL);
    at = bytes_data(sent.frame);
    assert_memory_equal(at, "\x01\x03", 2);
    assert_memory_equal(at + 2, self_wid(), WID_LEN);
    assert_memory_equal(at + 10, sid, sizeof(sid));
    assert_memory_equal(at + COUNT_AT, "\x01\x00", 2);
    assert_memory_equal(at + HEADER_LEN, sid, sizeof(sid));
    assert_memory_equal(at + HEADER_LEN + 8,
                        "\x02\x00"
                        "ab",
                        4);
    answer(1);
}

/* Read from memory that ends where the span does, so that the sanitizer sees a step too far. */
static bool read_exactly(const char *at, size_t len)
{
    char *exact = malloc(len ? len : 1);
    struct inbox_frame frame;
    bool ok;

    memcpy(exact, at, len);
    ok = inbox_frame_read((struct span){exact, len}, &frame);
    for (struct inbox_target t; ok && inbox_next_target(&frame, &t);)
        assert_true(t.entry.at >= exact && t.entry.at + t.entry.len <= exact + len);
    free(exact);
    return ok;
}

static void every_truncation_before_the_body_is_malformed(void **state)
{
    struct span whole = publish(NULL);

    (void)state;
    for (size_t len = 0; len < whole.len; len++)
        if (read_exactly(whole.at, len) != (len >= whole.len - body.len))
            fail_msg("%zu of %zu bytes", len, whole.len);
    answer(1);
}

static void a_byte_that_does_not_fit_makes_a_frame_malformed(void **state)
{
    static const struct {
        size_t at;
        unsigned char byte;
    } rows[] = {
        {0, 0}, /* version */
        {0, 2},
        {0, 255},
        {1, 0}, /* operation */
        {1, INBOX_OPERATIONS},
        {1, 128},
        {1, 255},
        {COUNT_AT, 255}, /* more targets than there are */
        {COUNT_AT + 1, 1},
        {HEADER_LEN + 8, 255}, /* the first entry reaches behind the end */
        {HEADER_LEN + 9, 1},
        {HEADER_LEN + 9, 255},
    };
    struct span whole = publish(NULL);
    char *copy = span_dup(whole);

    (void)state;
    assert_true(read_exactly(copy, whole.len));
    for (size_t i = 0; i < COUNT(rows); i++) {
        char before = copy[rows[i].at];

        copy[rows[i].at] = (char)rows[i].byte;
        if (read_exactly(copy, whole.len))
            fail_msg("byte %zu as %d", rows[i].at, rows[i].byte);
        copy[rows[i].at] = before;
    }
    free(copy);
    answer(1);
}

static int unreached_count;
static bool was_lost;

static void on_unreached(struct inbox_frame *frame, const char *wid, bool lost)
{
    unreached_count++;
    was_lost = lost;
    assert_string_equal(wid, OTHER);
    expect_whole(frame);
}

static void who_was_not_reached_is_told_once_with_the_frame(void **state)
{
    static const struct {
        long long receivers;
        int told;
        bool lost;
    } rows[] = {{1, 0, false}, {2, 0, false}, {0, 1, false}, {-1, 1, true}};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unreached_count = 0;
        was_lost = false;
        publish(on_unreached);
        assert_int_equal(unreached_count, 0);
        answer(rows[i].receivers);
        assert_int_equal(unreached_count, rows[i].told);
        assert_int_equal(was_lost, rows[i].lost);
    }
    publish(NULL);
    answer(0);
}

static int reached_count;

static void on_reached(const struct inbox_frame *frame)
{
    struct inbox_frame copy = *frame;

    reached_count++;
    expect_whole(&copy);
}

static void who_delivers_is_told_once_whether_a_worker_got_it(void **state)
{
    static const long long receivers[] = {1, 2, 0, -1};

    (void)state;
    for (size_t i = 0; i < COUNT(receivers); i++) {
        struct builder w = {0};

        reached_count = unreached_count = 0;
        inbox_frame_begin(&w, INBOX_SEND, self_address(77));
        for (size_t t = 0; t < COUNT(targets); t++)
            inbox_frame_target(&w, targets[t]);
        inbox_deliver(OTHER, &w, COUNT(targets), body, on_reached, on_unreached);
        assert_int_equal(reached_count + unreached_count, 0);
        answer(receivers[i]);
        assert_int_equal(reached_count, receivers[i] > 0);
        assert_int_equal(unreached_count, receivers[i] <= 0);
    }
}

static int received;

static void on_send(struct inbox_frame *frame)
{
    received++;
    expect_whole(frame);
}

static void a_message_goes_to_its_operation_and_a_malformed_one_is_counted(void **state)
{
    struct metric *malformed;
    struct span whole;
    char own[64];

    (void)state;
    log_init(LOG_LEVEL_ERROR, false, false);
    inbox_init();
    snprintf(own, sizeof(own), "sb:inbox:%s", self_wid());
    assert_string_equal(subscribed, own);
    malformed = metric_counter("signalbox_inbox_malformed_total", "");
    whole = publish(NULL);
    deliver(own, whole); /* nobody cares for it yet */
    assert_int_equal(metric_value(malformed), 1);
    inbox_on(INBOX_SEND, on_send);
    deliver(own, whole);
    assert_int_equal(received, 1);
    deliver(own, (struct span){whole.at, HEADER_LEN});
    deliver(own, (struct span){"", 0});
    assert_int_equal(received, 1);
    assert_int_equal(metric_value(malformed), 3);
    answer(1);
    metrics_fini();
}

static int forget_sent(void **state)
{
    (void)state;
    bytes_unref(sent.frame);
    sent.frame = NULL;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_is_published_is_read_again, forget_sent),
        cmocka_unit_test_teardown(a_frame_needs_neither_targets_nor_a_body, forget_sent),
        cmocka_unit_test_teardown(numbers_are_little_endian_on_every_machine, forget_sent),
        cmocka_unit_test_teardown(every_truncation_before_the_body_is_malformed, forget_sent),
        cmocka_unit_test_teardown(a_byte_that_does_not_fit_makes_a_frame_malformed, forget_sent),
        cmocka_unit_test_teardown(who_was_not_reached_is_told_once_with_the_frame, forget_sent),
        cmocka_unit_test_teardown(who_delivers_is_told_once_whether_a_worker_got_it, forget_sent),
        cmocka_unit_test_teardown(a_message_goes_to_its_operation_and_a_malformed_one_is_counted, forget_sent),
    };

    keys_init("sb:", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
