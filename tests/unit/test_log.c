/* SPDX-License-Identifier: MIT */
#include "signalbox/json_scan.h"
#include "signalbox/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int real_stderr, captured;
static char lines[16384];

static int capture_stderr(void **state)
{
    (void)state;
    real_stderr = dup(STDERR_FILENO);
    captured = memfd_create("stderr", MFD_CLOEXEC);
    log_init(LOG_LEVEL_DEBUG, false, false);
    log_worker("");
    return real_stderr < 0 || captured < 0 || dup2(captured, STDERR_FILENO) < 0;
}

static int restore_stderr(void **state)
{
    (void)state;
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(captured);
    return 0;
}

static void forget_lines(void)
{
    assert_int_equal(ftruncate(captured, 0), 0);
    assert_int_equal(lseek(captured, 0, SEEK_SET), 0);
}

/* What was written since the test began, or since forget_lines(). */
static const char *written(void)
{
    ssize_t len = pread(captured, lines, sizeof(lines) - 1, 0);

    assert_true(len >= 0);
    lines[len] = '\0';
    return lines;
}

/* Asserts that one line of valid JSON was written; text holds the decoded value of one member. */
static void read_member(const char *name, char *text, size_t room)
{
    struct json_members m = {0};
    struct span value = {0};
    size_t len;

    written();
    assert_ptr_equal(strchr(lines, '\n'), lines + strlen(lines) - 1);
    assert_true(json_scan(span_of(lines), &m));
    if (!json_find(&m, name, &value))
        fail_msg("no %s in %s", name, lines);
    if (json_kind(value) == JSON_KIND_STRING)
        assert_true(json_read_string(value, text, room, &len));
    else
        snprintf(text, room, "%.*s", (int)value.len, value.at);
    json_members_free(&m);
}

static void assert_member(const char *name, const char *wanted)
{
    char text[8192];

    read_member(name, text, sizeof(text));
    assert_string_equal(text, wanted);
}

static void a_line_is_one_json_object_with_time_level_and_event(void **state)
{
    (void)state;
    LOG_WARNING("redis_lost");
    assert_string_equal(written() + strlen("{\"ts\":\"2026-11-21T09:00:00.123Z\""),
                        ",\"level\":\"warning\",\"event\":\"redis_lost\"}\n");

    char time[64];
    read_member("ts", time, sizeof(time));
    for (char *at = time; *at; at++)
        *at = *at >= '0' && *at <= '9' ? '9' : *at;
    assert_string_equal(time, "9999-99-99T99:99:99.999Z");
}

static void fields_follow_in_their_order(void **state)
{
    (void)state;
    log_worker("0a1b2c3d");
    LOG_INFO("connection_open", LOG_TEXT("path", "/relay"), LOG_INT("connections", -3), LOG_TEXT("room", NULL));
    assert_string_equal(strstr(written(), ",\"level\""),
                        ",\"level\":\"info\",\"worker\":\"0a1b2c3d\",\"event\":\"connection_open\",\"path\":\"/relay\","
                        "\"connections\":-3,\"room\":null}\n");
}

static void numbers_keep_all_their_digits(void **state)
{
    (void)state;
    LOG_INFO("x", LOG_INT("least", INT64_MIN), LOG_INT("most", INT64_MAX));
    assert_member("least", "-9223372036854775808");
    assert_member("most", "9223372036854775807");
}

static void levels_below_the_least_are_silent_and_cost_no_formatting(void **state)
{
    int evaluated = 0;

    (void)state;
    log_init(LOG_LEVEL_WARNING, false, false);
    assert_false(log_wants(LOG_LEVEL_INFO));
    assert_true(log_wants(LOG_LEVEL_WARNING));
    LOG_DEBUG("a", LOG_INT("n", ++evaluated));
    LOG_INFO("b", LOG_INT("n", ++evaluated));
    assert_string_equal(written(), "");
    LOG_ERROR("c", LOG_INT("n", ++evaluated));
    assert_member("event", "c");
    assert_int_equal(evaluated, 1);
}

static void any_bytes_give_valid_json(void **state)
{
    static const struct {
        const char *value, *decoded;
    } rows[] = {
        {"", ""},
        {"a\"b\\c", "a\"b\\c"},
        {"line\nbreak\ttab\x01\x7f", "line\nbreak\ttab\x01\x7f"},
        {"caf\xc3\xa9 \xf0\x9f\x98\x80", "caf\xc3\xa9 \xf0\x9f\x98\x80"},
        {"\xff", "\xef\xbf\xbd"},
        {"a\xe2\x82", "a\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80z", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        forget_lines();
        LOG_INFO("x", LOG_TEXT("value", rows[i].value));
        assert_member("value", rows[i].decoded);
    }
}

static void a_long_value_is_cut_between_characters_and_others_stay(void **state)
{
    char text[8192];

    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        char value[4000] = "aaa";
        for (size_t i = shift; i + 3 < sizeof(value); i += 3)
            memcpy(value + i, "\xe2\x82\xac", 4);
        forget_lines();
        LOG_INFO("x", LOG_TEXT("value", value), LOG_TEXT("after", "kept"));
        read_member("value", text, sizeof(text));
        assert_in_range(strlen(text), 1000, 1030);
        assert_string_equal(text + strlen(text) - 3, "\xe2\x80\xa6");
        assert_memory_equal(text, value, strlen(text) - 3);
        assert_int_equal((strlen(text) - 3 - shift) % 3, 0);
        assert_member("after", "kept");
    }
}

static void a_line_never_takes_more_than_4_kib(void **state)
{
    struct log_field fields[101] = {{0}};
    char value[300];

    (void)state;
    for (size_t len = 0; len < sizeof(value); len++) {
        memset(value, '\n', len); /* six bytes each when escaped */
        value[len] = '\0';
        for (size_t i = 0; i < 100; i++)
            fields[i] = i % 2 ? LOG_INT("number", INT64_MIN) : LOG_TEXT("text", value);
        forget_lines();
        log_write(LOG_LEVEL_INFO, "x", fields);
        assert_member("event", "x");
        assert_in_range(strlen(lines), 100, 4096);
    }
}

static void codes_are_shown_as_their_first_and_last_character(void **state)
{
    static const struct {
        const char *code, *shown;
    } rows[] = {
        {"ABCDEZ", "A****Z"},
        {"ABZ", "A****Z"},
        {"AB", "****"},
        {"A", "****"},
        {"", "****"},
        {NULL, "****"},
        {"\xc3\xa9\xc3\xa9", "****"},
        {"\xf0\x9f\x98\x80x\xf0\x9f\x98\x81", "\xf0\x9f\x98\x80****\xf0\x9f\x98\x81"},
        {"\xff\xff\xff", "\xff****\xff"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char shown[16];
        log_redact(rows[i].code, shown);
        assert_string_equal(shown, rows[i].shown);
    }
}

static void codes_are_redacted_only_when_asked(void **state)
{
    (void)state;
    LOG_INFO("x", LOG_CODE("code", "ABCDEF"));
    assert_member("code", "ABCDEF");
    forget_lines();
    log_init(LOG_LEVEL_DEBUG, false, true);
    LOG_INFO("x", LOG_CODE("code", "ABCDEF"), LOG_TEXT("text", "ABCDEF"), LOG_CODE("none", NULL));
    assert_member("code", "A****F");
    assert_member("text", "ABCDEF");
    assert_member("none", "null");
}

static void text_lines_are_for_people(void **state)
{
    static const struct {
        enum log_level level;
        const char *value, *line;
    } rows[] = {
        {LOG_LEVEL_INFO, "/relay", " info  x v=/relay n=7\n"},
        {LOG_LEVEL_ERROR, "two words", " error x v=\"two words\" n=7\n"},
        {LOG_LEVEL_WARNING, "a=b", " warning x v=\"a=b\" n=7\n"},
        {LOG_LEVEL_DEBUG, "", " debug x v=\"\" n=7\n"},
        {LOG_LEVEL_DEBUG, NULL, " debug x v=null n=7\n"},
        {LOG_LEVEL_DEBUG, "\x1b[2J", " debug x v=\"\\u001b[2J\" n=7\n"},
        {LOG_LEVEL_DEBUG, "\x7f", " debug x v=\\u007f n=7\n"},
        {LOG_LEVEL_DEBUG, "caf\xc3\xa9", " debug x v=caf\xc3\xa9 n=7\n"},
    };

    (void)state;
    log_init(LOG_LEVEL_DEBUG, true, false);
    for (size_t i = 0; i < COUNT(rows); i++) {
        forget_lines();
        LOG_EVENT(rows[i].level, "x", LOG_TEXT("v", rows[i].value), LOG_INT("n", 7));
        assert_string_equal(written() + strlen("09:00:00.123"), rows[i].line);
    }
}

static void a_full_pipe_loses_the_line_and_nothing_else(void **state)
{
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    dup2(ends[1], STDERR_FILENO);
    for (int i = 0; i < 1000; i++) {
        errno = ENOENT;
        LOG_INFO("filler", LOG_TEXT("text", "a line long enough to fill the pipe after some hundred of them ......"));
        assert_int_equal(errno, ENOENT);
    }
    assert_int_equal(write(ends[1], lines, 4096), -1);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
#define CAPTURED(test) cmocka_unit_test_setup_teardown(test, capture_stderr, restore_stderr)
    const struct CMUnitTest tests[] = {
        CAPTURED(a_line_is_one_json_object_with_time_level_and_event),
        CAPTURED(fields_follow_in_their_order),
        CAPTURED(numbers_keep_all_their_digits),
        CAPTURED(levels_below_the_least_are_silent_and_cost_no_formatting),
        CAPTURED(any_bytes_give_valid_json),
        CAPTURED(a_long_value_is_cut_between_characters_and_others_stay),
        CAPTURED(a_line_never_takes_more_than_4_kib),
        CAPTURED(codes_are_redacted_only_when_asked),
        CAPTURED(text_lines_are_for_people),
        CAPTURED(a_full_pipe_loses_the_line_and_nothing_else),
        cmocka_unit_test(codes_are_shown_as_their_first_and_last_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
