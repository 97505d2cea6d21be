/* SPDX-License-Identifier: MIT */
#include "signalbox/json_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Scans a copy without a byte behind it, so that the sanitizer sees a read too far. */
static bool scans(struct span text)
{
    struct json_members m = {0};
    char *copy = malloc(text.len ? text.len : 1);

    memcpy(copy, text.at, text.len);
    bool valid = json_scan((struct span){copy, text.len}, &m);
    json_members_free(&m);
    free(copy);
    return valid;
}

/* As scans(), a portion of so many bytes after the other. */
static bool scans_in_portions(struct span text, size_t portion, struct json_members *m)
{
    struct json_scanner scanner;
    enum json_progress progress;

    json_scan_begin(&scanner, text, m);
    do {
        const unsigned char *before = scanner.reader.at;
        progress = json_scan_on(&scanner, portion);
        if (progress == JSON_MORE && (size_t)(scanner.reader.at - before) < portion)
            fail_msg("only %zu bytes of %zu", (size_t)(scanner.reader.at - before), portion);
    } while (progress == JSON_MORE);
    return progress == JSON_VALID;
}

static void check_portions(struct span text)
{
    struct json_members whole = {0}, parts = {0};
    char *copy = malloc(text.len ? text.len : 1);
    struct span same = {copy, text.len};

    memcpy(copy, text.at, text.len);
    bool valid = json_scan(same, &whole);
    for (size_t portion = 1; portion <= text.len; portion++) {
        if (scans_in_portions(same, portion, &parts) != valid || parts.count != whole.count)
            fail_msg("%.*s in portions of %zu", (int)text.len, text.at, portion);
        for (size_t i = 0; i < whole.count; i++) {
            assert_true(span_equals(parts.at[i].key, whole.at[i].key));
            assert_ptr_equal(parts.at[i].value.at, whole.at[i].value.at);
            assert_int_equal(parts.at[i].value.len, whole.at[i].value.len);
        }
    }
    json_members_free(&whole);
    json_members_free(&parts);
    free(copy);
}

static void what_rfc_8259_allows_is_scanned(void **state)
{
    static const char *const rows[] = {
        "{}",
        " \t\r\n{ \t\r\n} \t\r\n",
        "{\"a\":1}",
        "{ \"a\" : 1 , \"b\" : [ 1 , { } , [ ] , { \"c\" : null } ] }",
        "{\"\":\"\"}",
        "{\"a\":true,\"b\":false,\"c\":null}",
        "{\"a\":0,\"b\":-0,\"c\":-12,\"d\":1.50,\"e\":1e5,\"f\":1E+5,\"g\":1.5e-05}",
        "{\"a\":[[],[[]],{\"b\":[{}]}]}",
        "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\"}",
        "{\"lone surrogates are grammatical\":\"\\ud800 \\udc00\\ud800\"}",
        "{\"a\":\"\x7f caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"}",
        "{\"a\":1,\"a\":2}",
        "{\"12345678\":\"123456789012345678901234567890\\n1234567\"}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (!scans(span_of(rows[i])))
            fail_msg("refused: %s", rows[i]);
        check_portions(span_of(rows[i]));
    }
}

static void anything_else_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        " ",
        "[]",
        "1",
        "\"a\"",
        "null",
        "{",
        "}",
        "{}}",
        "{}{}",
        "{} x",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1;\"b\":2}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "{\"a\":1",
        "{\"a\":",
        "{\"a",
        "{\"a\":[1,]}",
        "{\"a\":[,1]}",
        "{\"a\":[1 2]}",
        "{\"a\":[1}",
        "{\"a\":{\"b\":1]}",
        "{\"a\":[}",
        "{\"a\":{]}",
        "{\"a\":[1]]}",
        "{\"a\":{\"b\":1,}}",
        "{\"a\":{1}}",
        "{\"a\":+1}",
        "{\"a\":01}",
        "{\"a\":-01}",
        "{\"a\":-}",
        "{\"a\":.5}",
        "{\"a\":5.}",
        "{\"a\":1e}",
        "{\"a\":1e+}",
        "{\"a\":1.e5}",
        "{\"a\":0x10}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":tru}",
        "{\"a\":truee}",
        "{\"a\":True}",
        "{\"a\":nul",
        "{\"a\":undefined}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u1",
        "{\"a\":\"\\",
        "{\"a\":\"\\\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"1234567\x1f\"}",
        "{\"a\":\"\t\"}",
        "{\"a\n\":1}",
        "{\"a\":1}\v",
        "\xc2\xa0{}",
        "\xef\xbb\xbf{}",
        "{/**/}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (scans(span_of(rows[i])))
            fail_msg("accepted: %s", rows[i]);
        check_portions(span_of(rows[i]));
    }
    assert_false(scans(SPAN("{\"a\":\"\0\"}")));
    assert_false(scans(SPAN("{}\0")));
}

static void no_prefix_of_a_message_is_a_message(void **state)
{
    static const char text[] =
        "{\"type\":\"offer\",\"n\":-1.5e+3,\"l\":[true,false,null,{\"x\":\"\\u20ac\xe2\x82\xac\\n\"},[]]}";

    (void)state;
    for (size_t len = 0; len < sizeof(text) - 1; len++)
        assert_false(scans((struct span){text, len}));
    assert_true(scans(SPAN(text)));
}

static void invalid_utf8_is_refused_in_names_and_values(void **state)
{
    static const char *const rows[] = {
        "\x80",
        "\xc0\x80",
        "\xc3",
        "\xc3(",
        "\xe0\x80\x80",
        "\xed\xa0\x80",
        "\xe2\x82",
        "\xf0\x80\x80\x80",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
    };
    static const char *const shapes[] = {"{\"a\":\"%s\"}", "{\"%s\":1}", "{\"a\":[{\"%s\":1}]}", "{\"a\":\"1234567%s",
                                         "{\"a\":%s}"};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t shape = 0; shape < COUNT(shapes); shape++) {
            char text[64];
            int len = snprintf(text, sizeof(text), "%.*s%s%s", (int)strcspn(shapes[shape], "%"), shapes[shape], rows[i],
                               strchr(shapes[shape], '%') + 2);
            if (scans((struct span){text, (size_t)len}))
                fail_msg("row %zu, shape %zu", i, shape);
        }
    }
}

static void nesting_is_allowed_up_to_level_64(void **state)
{
    static const struct {
        const char *open, *close;
    } shapes[] = {{"[", "]"}, {"{\"a\":", "}"}};

    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        for (int levels = 62; levels <= 66; levels++) {
            struct builder w = {0};
            builder_text(&w, "{\"v\":");
            for (int level = 1; level < levels; level++)
                builder_text(&w, shapes[i].open);
            builder_text(&w, i == 0 ? "" : "1");
            for (int level = 1; level < levels; level++)
                builder_text(&w, shapes[i].close);
            builder_text(&w, "}");
            struct bytes *text = builder_take(&w);
            assert_int_equal(scans(bytes_span(text)), levels <= JSON_DEPTH_MAX);
            bytes_unref(text);
        }
    }
}

static void closing_a_container_gives_its_level_back(void **state)
{
    struct builder w = {0};

    (void)state;
    builder_text(&w, "{\"v\":[0");
    for (int i = 0; i < 500; i++)
        builder_text(&w, ",[],{},[{\"a\":[]}]");
    builder_text(&w, "]}");
    struct bytes *text = builder_take(&w);
    assert_true(scans(bytes_span(text)));
    bytes_unref(text);
}

static void members_are_spans_of_the_text_in_its_order(void **state)
{
    static const char text[] = " { \"type\" : \"offer\" , \"pay\\u006coad\": {\"a\": [1, 2]} ,\"n\":-1.0e2 } ";
    static const struct {
        const char *key, *value;
        enum json_kind kind;
    } rows[] = {
        {"type", "\"offer\"", JSON_KIND_STRING},
        {"pay\\u006coad", "{\"a\": [1, 2]}", JSON_KIND_OBJECT},
        {"n", "-1.0e2", JSON_KIND_NUMBER},
    };
    struct json_members m = {0};

    (void)state;
    assert_true(json_scan(SPAN(text), &m));
    assert_int_equal(m.count, COUNT(rows));
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_true(span_is(m.at[i].key, rows[i].key));
        assert_true(span_is(m.at[i].value, rows[i].value));
        assert_int_equal(json_kind(m.at[i].value), rows[i].kind);
        assert_in_range(m.at[i].value.at, text, text + sizeof(text));
    }
    json_members_free(&m);
}

static void a_scan_forgets_the_one_before_and_keeps_its_room(void **state)
{
    struct json_members m = {0};
    struct span value;

    (void)state;
    assert_true(json_scan(SPAN("{\"a\":1,\"b\":2}"), &m));
    struct json_member *room = m.at;
    assert_true(json_scan(SPAN("{\"c\":3}"), &m));
    assert_ptr_equal(m.at, room);
    assert_false(json_find(&m, "a", &value));
    assert_false(json_scan(SPAN("{\"d\":4,\"e\":}"), &m));
    assert_int_equal(m.count, 0);
    json_members_free(&m);
    assert_null(m.at);
}

static void many_members_are_all_found(void **state)
{
    struct json_members m = {0};
    struct builder w = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        builder_printf(&w, "%s\"k%d\":%d", i ? "," : "{", i, i);
    builder_text(&w, "}");
    struct bytes *text = builder_take(&w);
    assert_true(json_scan(bytes_span(text), &m));
    for (int i = 0; i < 1000; i++) {
        char name[16];
        struct span value;
        long long number;
        snprintf(name, sizeof(name), "k%d", i);
        assert_true(json_find(&m, name, &value));
        assert_true(json_read_integer(value, &number));
        assert_int_equal(number, i);
    }
    json_members_free(&m);
    bytes_unref(text);
}

static void a_name_is_found_however_it_is_spelled(void **state)
{
    static const struct {
        const char *text, *name, *value; /* value: NULL is not found */
    } rows[] = {
        {"{\"type\":1}", "type", "1"},
        {"{\"type\":1,\"type\":2}", "type", "2"},
        {"{\"type\":1,\"t\\u0079pe\":2}", "type", "2"},
        {"{\"\\u0074\\u0079\\u0070\\u0065\":1}", "type", "1"},
        {"{\"a\\/b\":1}", "a/b", "1"},
        {"{\"a\\\\b\":1}", "a\\b", "1"},
        {"{\"a\\nb\":1}", "a\\nb", NULL},
        {"{\"\\u20ac\":1}", "\xe2\x82\xac", "1"},
        {"{\"\xe2\x82\xac\":1}", "\xe2\x82\xac", "1"},
        {"{\"\\ud83d\\ude00\":1}", "\xf0\x9f\x98\x80", "1"},
        {"{\"\\ud83d\":1}", "", NULL},
        {"{\"type\\u0000\":1}", "type", NULL},
        {"{\"\":1}", "", "1"},
        {"{\"types\":1}", "type", NULL},
        {"{\"typ\":1}", "type", NULL},
        {"{\"Type\":1}", "type", NULL},
        {"{\"\\u0074yp\":1}", "type", NULL},
        {"{\"a\":{\"type\":1}}", "type", NULL},
        {"{}", "type", NULL},
    };
    struct json_members m = {0};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct span value;
        assert_true(json_scan(span_of(rows[i].text), &m));
        bool found = json_find(&m, rows[i].name, &value);
        if (found != (rows[i].value != NULL) || (found && !span_is(value, rows[i].value)))
            fail_msg("%s in %s", rows[i].name, rows[i].text);
    }
    json_members_free(&m);
}

static void a_long_text_is_read_a_portion_at_a_time(void **state)
{
    static const char *const units[] = {"0,", "\"\",", "[],", "{},", " ", "\"\":0,", "\\n", "\xc3\xa9", "\\u20ac"};
    static const char *const ends[][2] = {{"{\"a\":[", "0]}"}, {"{", "\"a\":0}"}, {"{\"a\":\"", "\"}"}};
    static const unsigned char shapes[] = {0, 0, 0, 0, 0, 1, 2, 2, 2};
    enum { PORTION = 100, MOST_OVER = 6 };

    (void)state;
    for (size_t i = 0; i < COUNT(units); i++) {
        struct json_members m = {0};
        struct json_scanner scanner;
        struct builder w = {0};
        size_t portions = 1;

        builder_text(&w, ends[shapes[i]][0]);
        for (int n = 0; n < 5000; n++)
            builder_text(&w, units[i]);
        builder_text(&w, ends[shapes[i]][1]);
        json_scan_begin(&scanner, bytes_span(w.bytes), &m);
        while (json_scan_on(&scanner, PORTION) == JSON_MORE)
            portions++;
        assert_int_equal(scanner.reader.at, scanner.reader.end);
        if (portions < builder_len(&w) / (PORTION + MOST_OVER))
            fail_msg("%s: %zu portions of %zu bytes", units[i], portions, builder_len(&w));
        json_members_free(&m);
        builder_free(&w);
    }
}

static void of_the_names_asked_for_the_last_member_is_kept(void **state)
{
    static const struct {
        const char *text, *type, *to; /* NULL: not found */
        size_t count;
    } rows[] = {
        {"{}", NULL, NULL, 0},
        {"{\"a\":1,\"\":2,\"typ\":3,\"types\":4}", NULL, NULL, 0},
        {"{\"type\":1,\"to\":2}", "1", "2", 2},
        {"{\"type\":1,\"x\":0,\"to\":2,\"type\":3}", "3", "2", 2},
        {"{\"t\\u0079pe\":1,\"t\\u006f\":[{\"type\":5}]}", "1", "[{\"type\":5}]", 2},
        {"{\"type\":1,\"\\u0074\\u0079\\u0070\\u0065\":2}", "2", NULL, 1},
        {"{\"type\\u0000\":1,\"\\ud800\":2,\"\\u0074\\u006f\\u006f\":3}", NULL, NULL, 0},
        {"{\"0123456789012345678901234567890123\":1,\"to\":\"x\"}", NULL, "\"x\"", 1},
    };
    struct json_names names = {0};
    struct json_members m = {.only = &names}, of = {.only = &names};

    (void)state;
    json_names_add(&names, "type");
    json_names_add(&names, "to");
    json_names_add(&names, "typo");
    json_names_add(&names, "type");
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct span text = span_of(rows[i].text), value;

        assert_true(json_scan(text, &m));
        assert_true(json_members_of(text, SIZE_MAX, &of));
        assert_int_equal(m.count, rows[i].count);
        assert_int_equal(of.count, rows[i].count);
        bool found = json_find(&m, "type", &value);
        assert_true(found ? rows[i].type && span_is(value, rows[i].type) : !rows[i].type);
        found = json_find(&of, "to", &value);
        assert_true(found ? rows[i].to && span_is(value, rows[i].to) : !rows[i].to);
        assert_false(json_find(&m, "typo", &value));
    }
    json_members_free(&m);
    json_members_free(&of);
    json_names_free(&names);
}

static void the_members_of_an_object_are_those_of_a_scan(void **state)
{
    static const char *const rows[] = {
        "{}",
        "{ \t}",
        "{\"a\":1}",
        "{ \"a\" : 1 , \"b\" : [ 1 , { } , [ ] , { \"c\" : null } ] }",
        "{\"a\":\"}\\\"\",\"[\":{\"}\":\"]\"},\"\\n\":[[[\"]\"]]],\"n\":-1e5}",
        "{\"a\":[\"YYYYYYYY[yyyyyyyy_____]\",0,0,0,0,0,0,0,0,0,0,0,0],\"b\":{\"\xc3\xa9\":\"\xe2\x82\xac\"} ,\"a\":0 }",
    };
    struct json_members whole = {0}, m = {0};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct span text = span_of(rows[i]), rest;
        struct builder array = {0};

        assert_true(json_scan(text, &whole));
        assert_true(json_members_of(text, whole.count, &m));
        assert_int_equal(m.count, whole.count);
        for (size_t n = 0; n < m.count; n++) {
            assert_ptr_equal(m.at[n].key.at, whole.at[n].key.at);
            assert_true(span_equals(m.at[n].key, whole.at[n].key));
            assert_ptr_equal(m.at[n].value.at, whole.at[n].value.at);
            assert_true(span_equals(m.at[n].value, whole.at[n].value));
        }
        assert_true(whole.count == 0 || !json_members_of(text, whole.count - 1, &m));
        builder_printf(&array, "[ %s ,5, [{\"a\":0}] ,%s]", rows[i], rows[i]);
        rest = json_elements(bytes_span(array.bytes));
        for (size_t n = 0; n < 4; n++) {
            assert_true(json_next_members(&rest, &m));
            assert_int_equal(m.count, n % 3 == 0 ? whole.count : 0);
        }
        assert_false(json_next_members(&rest, &m));
        builder_free(&array);
    }
    json_members_free(&whole);
    json_members_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_rfc_8259_allows_is_scanned),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(no_prefix_of_a_message_is_a_message),
        cmocka_unit_test(invalid_utf8_is_refused_in_names_and_values),
        cmocka_unit_test(nesting_is_allowed_up_to_level_64),
        cmocka_unit_test(closing_a_container_gives_its_level_back),
        cmocka_unit_test(members_are_spans_of_the_text_in_its_order),
        cmocka_unit_test(a_scan_forgets_the_one_before_and_keeps_its_room),
        cmocka_unit_test(many_members_are_all_found),
        cmocka_unit_test(a_name_is_found_however_it_is_spelled),
        cmocka_unit_test(a_long_text_is_read_a_portion_at_a_time),
        cmocka_unit_test(of_the_names_asked_for_the_last_member_is_kept),
        cmocka_unit_test(the_members_of_an_object_are_those_of_a_scan),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
