/* SPDX-License-Identifier: MIT */
#include "signalbox/json_read.h"
#include "signalbox/json_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The value of the member v of an object. */
static struct span value_of(const char *object, struct json_members *m)
{
    struct span value = {0};

    if (!json_scan(span_of(object), m) || !json_find(m, "v", &value))
        fail_msg("%s", object);
    return value;
}

static void every_value_has_its_kind(void **state)
{
    static const struct {
        const char *value;
        enum json_kind kind;
    } rows[] = {
        {"{}", JSON_KIND_OBJECT}, {"[]", JSON_KIND_ARRAY},  {"\"\"", JSON_KIND_STRING}, {"0", JSON_KIND_NUMBER},
        {"-1", JSON_KIND_NUMBER}, {"true", JSON_KIND_BOOL}, {"false", JSON_KIND_BOOL},  {"null", JSON_KIND_NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(json_kind(span_of(rows[i].value)), rows[i].kind);
}

static void strings_are_decoded(void **state)
{
    static const struct {
        const char *json;
        struct span text;
    } rows[] = {
        {"{\"v\":\"\"}", {"", 0}},
        {"{\"v\":\"plain\"}", {"plain", 5}},
        {"{\"v\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", {"\"\\/\b\f\n\r\t", 8}},
        {"{\"v\":\"a\\u0000b\"}", {"a\0b", 3}},
        {"{\"v\":\"\\u007f\\u0080\\u07ff\"}", {"\x7f\xc2\x80\xdf\xbf", 5}},
        {"{\"v\":\"\\u0800\\uFFFF\\uabCD\"}", {"\xe0\xa0\x80\xef\xbf\xbf\xea\xaf\x8d", 9}},
        {"{\"v\":\"\\ud800\\udc00\\uDBFF\\uDFFF\"}", {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8}},
        {"{\"v\":\"caf\xc3\xa9\\tx\"}", {"caf\xc3\xa9\tx", 7}},
    };
    struct json_members m = {0};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct span value = value_of(rows[i].json, &m);
        char *out = mem_alloc(value.len);
        size_t len;
        assert_true(json_read_string(value, out, value.len, &len));
        assert_int_equal(len, rows[i].text.len);
        assert_memory_equal(out, rows[i].text.at, len);
        assert_int_equal(out[len], '\0');
        free(out);
    }
    json_members_free(&m);
}

static void what_cannot_be_decoded_is_refused(void **state)
{
    static const char *const rows[] = {
        "{\"v\":1}",
        "{\"v\":null}",
        "{\"v\":[\"a\"]}",
        "{\"v\":\"\\ud800\"}",
        "{\"v\":\"\\udc00\"}",
        "{\"v\":\"\\ud800x\"}",
        "{\"v\":\"\\ud800\\n\"}",
        "{\"v\":\"\\ud800\\ud800\"}",
        "{\"v\":\"\\ud800\\u0041\"}",
        "{\"v\":\"\\udc00\\ud800\"}",
    };
    struct json_members m = {0};
    char out[64];
    size_t len;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (json_read_string(value_of(rows[i], &m), out, sizeof(out), &len))
            fail_msg("%s", rows[i]);
    }
    json_members_free(&m);
}

static void a_string_needs_room_for_its_zero(void **state)
{
    static const struct {
        struct span value;
        size_t needed;
    } rows[] = {
        {SPAN("\"\""), 1},
        {SPAN("\"abc\""), 4},
        {SPAN("\"ab\\n\""), 4},
        {SPAN("\"\\u20ac\""), 4},
        {SPAN("\"\\ud83d\\ude00!\""), 6},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t room = 0; room <= rows[i].needed; room++) {
            char *out = malloc(room ? room : 1);
            size_t len;
            assert_int_equal(json_read_string(rows[i].value, out, room, &len), room >= rows[i].needed);
            free(out);
        }
    }
}

static void integers_of_any_spelling_are_read(void **state)
{
    static const struct {
        const char *text;
        long long number;
    } rows[] = {
        {"0", 0},
        {"-0", 0},
        {"0.000", 0},
        {"0e999999999999999999999", 0},
        {"5", 5},
        {"-5", -5},
        {"5.0", 5},
        {"5e0", 5},
        {"5E+0", 5},
        {"50e-1", 5},
        {"0.5e1", 5},
        {"0.00005e5", 5},
        {"5000.00e-3", 5},
        {"100", 100},
        {"1e2", 100},
        {"1050", 1050},
        {"10.5e2", 1050},
        {"9007199254740992", 9007199254740992},
        {"-9007199254740992", -9007199254740992},
        {"9007199254740991.0", 9007199254740991},
        {"90071992547409920000e-4", 9007199254740992},
        {"9007199254740.992e3", 9007199254740992},
        {"9e15", 9000000000000000},
        {"1000000000000000000000000000000000000000000e-42", 1},
        {"0.000000000000000000000000000000000000000001e42", 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        long long number = 77;
        if (!json_read_integer(span_of(rows[i].text), &number) || number != rows[i].number)
            fail_msg("%s gave %lld", rows[i].text, number);
    }
}

static void what_is_no_integer_within_2_53_is_refused(void **state)
{
    static const char *const rows[] = {
        "5.5",
        "0.1",
        "5e-1",
        "1e-400",
        "1e400",
        "-1e400",
        "1e99999999999999999999999999",
        "1e-99999999999999999999999999",
        "9007199254740993",
        "-9007199254740993",
        "9007199254740992.5",
        "90071992547409921e-1",
        "1e16",
        "18446744073709551617",
        "36893488147419103233",
        "99999999999999999999999999999999999999999999999",
        "100000000000000000000000000000000000000000000000",
        "1.00000000000000000000000000000000000000000001",
        "\"5\"",
        "true",
        "null",
        "[5]",
        "{}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        long long number;
        if (json_read_integer(span_of(rows[i]), &number))
            fail_msg("%s gave %lld", rows[i], number);
    }
}

static void the_compact_length_leaves_out_only_space_between_tokens(void **state)
{
    static const struct {
        const char *value, *compact;
    } rows[] = {
        {"1", "1"},
        {"\" a b \"", "\" a b \""},
        {"[ 1 ,\t2\r\n]", "[1,2]"},
        {"{ \"a b\" : \" \\\" \" , \"c\" : [ ] }", "{\"a b\":\" \\\" \",\"c\":[]}"},
        {"[ \"\\\\\", \" \" ]", "[\"\\\\\",\" \"]"},
        {"[ \"\xe2\x82\xac \" ]", "[\"\xe2\x82\xac \"]"},
        {"[1234567,12345678, 123456789 ,\"        \",0,0,0,0\t,\"\"]",
         "[1234567,12345678,123456789,\"        \",0,0,0,0,\"\"]"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(json_compact_len(span_of(rows[i].value)), strlen(rows[i].compact));
}

static void an_array_gives_its_elements(void **state)
{
    static const struct {
        const char *array;
        const char *elements[4];
    } rows[] = {
        {"[]", {NULL}},
        {"[ \t\r\n ]", {NULL}},
        {"[1]", {"1"}},
        {"[ 1 , \"a,]\\\"[\" ,null]", {"1", "\"a,]\\\"[\"", "null"}},
        {"[[1,2] ,{\"a\": [3, {}]} , []]", {"[1,2]", "{\"a\": [3, {}]}", "[]"}},
        {"[-1e999 ,123456789012345678901234567890]", {"-1e999", "123456789012345678901234567890"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct span rest = json_elements(span_of(rows[i].array)), element;
        size_t n = 0;

        while (json_next(&rest, &element)) {
            assert_non_null(rows[i].elements[n]);
            assert_true(span_is(element, rows[i].elements[n++]));
        }
        assert_null(rows[i].elements[n]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_has_its_kind),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(what_cannot_be_decoded_is_refused),
        cmocka_unit_test(a_string_needs_room_for_its_zero),
        cmocka_unit_test(integers_of_any_spelling_are_read),
        cmocka_unit_test(what_is_no_integer_within_2_53_is_refused),
        cmocka_unit_test(the_compact_length_leaves_out_only_space_between_tokens),
        cmocka_unit_test(an_array_gives_its_elements),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
