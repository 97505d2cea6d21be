/* SPDX-License-Identifier: MIT */
#include "signalbox/fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ID_OF(bytes) "{\"f\":\"" bytes "\"}"
#define X64 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X256 X64 X64 X64 X64

/* The caller frees t, which a text in v is borrowed from. */
static enum fault read_one(const struct field *f, const char *text, struct texts *t, struct value *v)
{
    struct json_members members = {0};
    enum fault fault;

    *v = (struct value){0};
    texts_begin(t, strlen(text));
    assert_true(json_scan(span_of(text), &members));
    fault = field_read(f, &members, t, v);
    json_members_free(&members);
    return fault;
}

static void a_value_is_told_what_is_wrong_with_it(void **state)
{
    static const struct field id = {FIELD_ID, "f"}, text = {FIELD_TEXT, "f", .most = 3},
                              number = {FIELD_INT, "f", .least = -1, .most = 5}, ids = {FIELD_IDS, "f", .most = 2},
                              array = {FIELD_ARRAY, "f"}, object = {FIELD_OBJECT, "f"}, any = {FIELD_ANY, "f"};
    static const struct {
        const struct field *field;
        const char *text;
        enum fault fault;
    } rows[] = {
        {&id, ID_OF("a b"), FAULT_NONE},
        {&id, ID_OF(X256), FAULT_NONE},
        {&id, ID_OF(X256 "x"), FAULT_LIMIT},
        {&id, ID_OF("\\n"), FAULT_LIMIT},
        {&id, ID_OF("\\u007f"), FAULT_LIMIT},
        {&id, ID_OF("\\u0000"), FAULT_UNREADABLE},
        {&id, ID_OF(X256 X256 "\\ud800"), FAULT_UNREADABLE},
        {&id, "{\"f\":1}", FAULT_TYPE},
        {&id, "{\"f\":[\"a\"]}", FAULT_TYPE},
        {&text, ID_OF("\\n\\u0041c"), FAULT_NONE},
        {&text, ID_OF("abcd"), FAULT_LIMIT},
        {&text, ID_OF("\\udc00"), FAULT_UNREADABLE},
        {&text, "{\"f\":true}", FAULT_TYPE},
        {&number, "{\"f\":5.0}", FAULT_NONE},
        {&number, "{\"f\":-1}", FAULT_NONE},
        {&number, "{\"f\":6}", FAULT_LIMIT},
        {&number, "{\"f\":0.5}", FAULT_LIMIT},
        {&number, ID_OF("5"), FAULT_TYPE},
        {&ids, "{\"f\":[]}", FAULT_NONE},
        {&ids, "{\"f\":[\"a\",\"b\"]}", FAULT_NONE},
        {&ids, "{\"f\":[\"a\",\"b\",\"c\"]}", FAULT_LIMIT},
        {&ids, "{\"f\":[\"\"]}", FAULT_LIMIT},
        {&ids, "{\"f\":[1]}", FAULT_LIMIT},
        {&ids, "{\"f\":{}}", FAULT_TYPE},
        {&array, "{\"f\":[1,{}]}", FAULT_NONE},
        {&array, "{\"f\":{}}", FAULT_TYPE},
        {&object, "{\"f\":{}}", FAULT_NONE},
        {&object, "{\"f\":[]}", FAULT_TYPE},
        {&any, "{\"f\":false}", FAULT_NONE},
        {&any, ID_OF(""), FAULT_NONE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct texts t = {0};
        struct value v;

        assert_int_equal(read_one(rows[i].field, rows[i].text, &t, &v), rows[i].fault);
        assert_true(v.present);
        texts_free(&t);
    }
}

static void what_is_absent_null_or_empty_is_missed_only_where_it_is_required(void **state)
{
    static const char *const rows[] = {"{}", "{\"f\":null}", ID_OF(""), "{\"g\":\"x\"}"};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct field f = {FIELD_ID, "f"};
        struct texts t = {0};
        struct value v;

        assert_int_equal(read_one(&f, rows[i], &t, &v), FAULT_NONE);
        assert_false(v.present);
        f.required = true;
        assert_int_equal(read_one(&f, rows[i], &t, &v), FAULT_ABSENT);
        texts_free(&t);
    }
}

static void a_field_has_two_names_and_the_first_wins(void **state)
{
    static const struct field f = {FIELD_ID, "f", "g", true};
    static const struct {
        const char *text, *value;
    } rows[] = {{"{\"f\":\"a\"}", "a"},
                {"{\"g\":\"b\"}", "b"},
                {"{\"g\":\"b\",\"f\":\"a\"}", "a"},
                {"{\"f\":null,\"g\":\"\\u0062\"}", "b"}};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct texts t = {0};
        struct value v;

        assert_int_equal(read_one(&f, rows[i].text, &t, &v), FAULT_NONE);
        assert_string_equal(v.text, rows[i].value);
        texts_free(&t);
    }
}

static void the_texts_of_all_fields_stay_where_they_are(void **state)
{
    static const struct field fields[FIELDS_MAX] = {{FIELD_TEXT, "a", .most = ANY_LENGTH}, {FIELD_ID, "b"}};
    static const char text[] = "{\"a\":\"" X256 X256 "\",\"b\":\"\\u0041\"}";
    struct json_names names = {0};
    struct json_members members = {.only = &names};
    struct value values[FIELDS_MAX] = {0};
    struct texts t = {0};

    (void)state;
    assert_int_equal(fields_count(fields), 2);
    fields_add_names(fields, &names);
    texts_begin(&t, sizeof(text) - 1);
    assert_true(json_scan(SPAN(text), &members));
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(field_read(&fields[i], &members, &t, &values[i]), FAULT_NONE);
    assert_string_equal(values[0].text, X256 X256);
    assert_int_equal(values[0].len, strlen(X256 X256));
    assert_string_equal(values[1].text, "A");
    texts_free(&t);
    json_members_free(&members);
    json_names_free(&names);
}

static void an_id_is_one_wherever_it_comes_from(void **state)
{
    (void)state;
    assert_true(is_id("a b/\xc3\xa9"));
    assert_true(is_id(X256));
    assert_false(is_id(""));
    assert_false(is_id(X256 "x"));
    assert_false(is_id("a\nb"));
    assert_false(is_id("\xc3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_told_what_is_wrong_with_it),
        cmocka_unit_test(what_is_absent_null_or_empty_is_missed_only_where_it_is_required),
        cmocka_unit_test(a_field_has_two_names_and_the_first_wins),
        cmocka_unit_test(the_texts_of_all_fields_stay_where_they_are),
        cmocka_unit_test(an_id_is_one_wherever_it_comes_from),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
