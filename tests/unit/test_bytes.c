/* SPDX-License-Identifier: MIT */
#include "signalbox/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void assert_built(struct builder *w, const char *wanted)
{
    struct bytes *b = builder_take(w);

    assert_int_equal(bytes_len(b), strlen(wanted));
    assert_memory_equal(bytes_data(b), wanted, strlen(wanted));
    bytes_unref(b);
}

static void spans_are_equal_when_length_and_bytes_are(void **state)
{
    static const struct {
        struct span a;
        const char *b;
        bool equal;
    } rows[] = {
        {{"peer", 4}, "peer", true},  {{"peers", 4}, "peer", true}, {{"peer", 4}, "peers", false},
        {{"peer", 4}, "pear", false}, {{NULL, 0}, "", true},        {{"peer", 0}, NULL, true},
        {{"a\0b", 3}, "a", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(span_is(rows[i].a, rows[i].b), rows[i].equal);
        assert_int_equal(span_equals(span_of(rows[i].b), rows[i].a), rows[i].equal);
    }
    assert_false(span_equals(SPAN("a\0b"), SPAN("a\0c")));
}

static void a_copied_span_ends_with_a_zero(void **state)
{
    char *copy = span_dup((struct span){"peers", 4}), *empty = span_dup((struct span){NULL, 0});

    (void)state;
    assert_string_equal(copy, "peer");
    assert_string_equal(empty, "");
    free(copy);
    free(empty);
}

static void allocated_memory_is_zero_and_growing_keeps_it(void **state)
{
    char *text = mem_alloc(4);

    (void)state;
    assert_memory_equal(text, "\0\0\0\0", 4);
    memcpy(text, "abc", 4);
    text = mem_grow(text, 4096);
    assert_string_equal(text, "abc");
    free(text);
}

static void only_valid_utf8_has_a_length(void **state)
{
    static const struct {
        const char *text;
        size_t len;
    } rows[] = {
        {"", 0},
        {"a", 1},
        {"\x7f", 1},
        {"\x80", 0},
        {"\xbf", 0},
        {"\xc0\x80", 0},
        {"\xc1\xbf", 0},
        {"\xc2\x80", 2},
        {"\xc2", 0},
        {"\xc2z", 0},
        {"\xdf\xbf", 2},
        {"\xdf\xc0", 0},
        {"\xe0\x9f\xbf", 0},
        {"\xe0\xa0\x80", 3},
        {"\xe1\x80", 0},
        {"\xe2\x82\xac", 3},
        {"\xe2\x82z", 0},
        {"\xed\x9f\xbf", 3},
        {"\xed\xa0\x80", 0},
        {"\xef\xbf\xbf", 3},
        {"\xf0\x8f\xbf\xbf", 0},
        {"\xf0\x90\x80\x80", 4},
        {"\xf0\x90\x80", 0},
        {"\xf0\x90\x80z", 0},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xf4\x90\x80\x80", 0},
        {"\xf5\x80\x80\x80", 0},
        {"\xff", 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (utf8_len(span_of(rows[i].text)) != rows[i].len)
            fail_msg("row %zu", i);
    }
    assert_int_equal(utf8_len(SPAN("\0")), 1);
    assert_int_equal(utf8_len((struct span){"\xc2\x80", 1}), 0);
}

static void bytes_live_until_the_last_reference(void **state)
{
    struct bytes *b = bytes_copy(SPAN("frame")), *same = bytes_ref(b);

    (void)state;
    assert_ptr_equal(b, same);
    bytes_unref(b);
    assert_true(span_is(bytes_span(same), "frame")); /* the sanitizer sees a use after free here */
    bytes_unref(same);
    bytes_unref(NULL);
}

static void the_headroom_of_bytes_may_be_written(void **state)
{
    struct bytes *b = bytes_copy(SPAN("frame"));

    (void)state;
    memset(bytes_data(b) - BYTES_HEADROOM, 0xff, BYTES_HEADROOM);
    assert_int_equal(bytes_len(b), 5);
    assert_memory_equal(bytes_data(b), "frame", 5);
    bytes_unref(b);
}

static void a_builder_that_was_never_written_to_gives_empty_bytes(void **state)
{
    struct builder w = {0};

    (void)state;
    assert_int_equal(builder_len(&w), 0);
    assert_built(&w, "");
    builder_free(&w);
}

static void a_builder_keeps_what_it_has_while_it_grows(void **state)
{
    struct builder w = {0};
    char wanted[10 * 1000 + 1];
    size_t len = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        builder_printf(&w, "%05d", i);
        builder_add(&w, SPAN("ab"));
        builder_text(&w, "cde");
        len += (size_t)snprintf(wanted + len, sizeof(wanted) - len, "%05dabcde", i);
    }
    assert_int_equal(builder_len(&w), len);
    assert_built(&w, wanted);
    builder_text(&w, "again");
    assert_built(&w, "again");
}

static void a_printed_text_of_any_length_arrives_whole(void **state)
{
    static const int lengths[] = {0, 1, 239, 240, 241, 479, 480, 5000};

    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct builder w = {0};
        builder_printf(&w, "<%*s>", lengths[i], "");
        assert_int_equal(builder_len(&w), lengths[i] + 2);
        assert_int_equal(bytes_data(w.bytes)[lengths[i] + 1], '>');
        builder_free(&w);
    }
}

static void json_strings_are_escaped_where_they_must_be(void **state)
{
    static const struct {
        struct span text;
        const char *json;
    } rows[] = {
        {{NULL, 0}, "\"\""},
        {{"plain", 5}, "\"plain\""},
        {{"a\"b\\c/", 6}, "\"a\\\"b\\\\c/\""},
        {{"\b\f\n\r\t", 5}, "\"\\b\\f\\n\\r\\t\""},
        {{"\0\x1f\x7f", 3}, "\"\\u0000\\u001f\x7f\""},
        {{"\xe2\x82\xac\"", 4}, "\"\xe2\x82\xac\\\"\""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct builder w = {0};
        builder_json(&w, rows[i].text);
        assert_built(&w, rows[i].json);
    }
}

static void the_members_of_an_object_stand_between_commas(void **state)
{
    struct builder w = {0};

    (void)state;
    builder_text(&w, "{");
    builder_member(&w, "a", "x");
    builder_member(&w, "b", "{");
    builder_member(&w, "c", "\"\n");
    builder_text(&w, ",\"d\":{");
    builder_member(&w, "e", "");
    builder_text(&w, "}");
    builder_member(&w, "f", NULL);
    assert_built(&w, "{\"a\":\"x\",\"b\":\"{\",\"c\":\"\\\"\\n\",\"d\":{\"e\":\"\"},\"f\":\"\"");
    builder_member(&w, "behind", "others");
    assert_built(&w, ",\"behind\":\"others\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_are_equal_when_length_and_bytes_are),
        cmocka_unit_test(a_copied_span_ends_with_a_zero),
        cmocka_unit_test(allocated_memory_is_zero_and_growing_keeps_it),
        cmocka_unit_test(only_valid_utf8_has_a_length),
        cmocka_unit_test(bytes_live_until_the_last_reference),
        cmocka_unit_test(the_headroom_of_bytes_may_be_written),
        cmocka_unit_test(a_builder_that_was_never_written_to_gives_empty_bytes),
        cmocka_unit_test(a_builder_keeps_what_it_has_while_it_grows),
        cmocka_unit_test(a_printed_text_of_any_length_arrives_whole),
        cmocka_unit_test(json_strings_are_escaped_where_they_must_be),
        cmocka_unit_test(the_members_of_an_object_stand_between_commas),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
