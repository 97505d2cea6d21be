/* SPDX-License-Identifier: MIT */
#include "signalbox/http_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CHUNKED "Transfer-Encoding: chunked"
#define LINE_BYTES_MAX 1024
#define OVERHEAD_MAX (16 * 1024)
#define OVERHEAD_EACH 8

/* What became of a body. */
struct outcome {
    struct builder data;
    size_t used;
    unsigned status;
    bool whole;
};

static void on_part(struct span part, void *arg)
{
    struct outcome *o = arg;

    assert_true(part.len > 0);
    builder_add(&o->data, part);
}

/* As a connection does: what was not used is shown again, with what has come since. */
static void take(struct http_body *b, struct span in, struct outcome *o)
{
    struct http_fault fault = {0};
    size_t used = 1;

    while (used > 0 && o->used < in.len && !b->whole && !o->status) {
        size_t len = in.len - o->used;
        char *exactly = mem_alloc(len); /* the sanitizer sees what is read behind it */

        memcpy(exactly, in.at + o->used, len);
        used = http_body_read(b, (struct span){exactly, len}, &fault);
        free(exactly);
        assert_true(used <= len);
        o->used += used;
        o->status = fault.status;
    }
    o->whole = b->whole;
}

/* The first bytes come at once, the rest in pieces of step. */
static struct outcome read_body(const char *field, struct span in, size_t first, size_t step)
{
    char text[128];
    struct http_fault fault;
    struct http_head *h;
    struct http_body b;
    struct outcome o = {0};

    snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n%s\r\n\r\n",
             field);
    h = http_head_new(span_of(text), &fault);
    assert_non_null(h);
    http_body_begin(&b, h, on_part, &o);
    http_head_free(h);
    for (size_t len = first; len < in.len; len += step)
        take(&b, (struct span){in.at, len}, &o);
    take(&b, in, &o);
    assert_int_equal(b.data, builder_len(&o.data));
    return o;
}

static void check(const struct outcome *o, const char *what, size_t used, unsigned status, struct span data)
{
    struct span got = o->data.bytes ? bytes_span(o->data.bytes) : (struct span){"", 0};

    if (o->used != used || o->status != status || o->whole != (status == 0))
        fail_msg("%s: used %zu, status %u, %s", what, o->used, o->status, o->whole ? "whole" : "not whole");
    if (!span_equals(got, data))
        fail_msg("%s: \"%.*s\"", what, (int)got.len, got.at);
}

/* Cut anywhere, and in pieces of any size, it comes out as it does whole. */
static void check_ways(const char *field, const char *what, struct span in, size_t used, unsigned status,
                       struct span data)
{
    size_t stride = in.len > 500 ? 97 : 1;

    for (size_t i = 0; i <= in.len; i += stride) {
        struct outcome cut = read_body(field, in, i, in.len + 1), pieces = read_body(field, in, 0, i + 1);

        check(&cut, what, used, status, data);
        check(&pieces, what, used, status, data);
        builder_free(&cut.data);
        builder_free(&pieces.data);
    }
}

static void of_what_comes_only_the_body_is_used(void **state)
{
    static const struct {
        const char *field;
        struct span body, data;
    } rows[] = {
        {"Content-Length: 1", SPAN("x"), SPAN("x")},
        {"Content-Length: 5", SPAN("hello"), SPAN("hello")},
        {"Content-Length: 7", SPAN("\0\r\n0\r\n\n"), SPAN("\0\r\n0\r\n\n")},
        {CHUNKED, SPAN("0\r\n\r\n"), SPAN("")},
        {CHUNKED, SPAN("5\r\nhello\r\n0\r\n\r\n"), SPAN("hello")},
        {CHUNKED, SPAN("5\r\nhello\r\n1\r\n \r\n6\r\nworld!\r\n0\r\n\r\n"), SPAN("hello world!")},
        {CHUNKED, SPAN("1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"), SPAN("abc")},
        {CHUNKED, SPAN("7\r\n\r\n0\r\n\r\n\r\n3\r\n\0\n\r\r\n0\r\n\r\n"), SPAN("\r\n0\r\n\r\n\0\n\r")},
        {CHUNKED, SPAN("a\r\n0123456789\r\nB\r\n0123456789A\r\n0\r\n\r\n"), SPAN("01234567890123456789A")},
        {CHUNKED, SPAN("0000000000000005\r\nhello\r\n000\r\n\r\n"), SPAN("hello")},
        {CHUNKED, SPAN("5;a=\"b;c\";\td\r\nhello\r\n0;e\r\n\r\n"), SPAN("hello")},
        {CHUNKED, SPAN("5;\r\nhello\r\n0;\r\n\r\n"), SPAN("hello")},
        {CHUNKED, SPAN("1\r\nx\r\n0\r\nX-A: b\r\nContent-Length: 5\r\n" CHUNKED "\r\nY:\r\n\r\n"), SPAN("x")},
    };
    static const struct span behind[] = {
        SPAN(""),    SPAN("x"), SPAN("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), SPAN("\r\n"), SPAN("1\r\ny\r\n0\r\n\r\n"),
        SPAN("\0\n")};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t j = 0; j < COUNT(behind); j++) {
            struct builder in = {0};

            builder_add(&in, rows[i].body);
            builder_add(&in, behind[j]);
            check_ways(rows[i].field, rows[i].body.at, bytes_span(in.bytes), rows[i].body.len, 0, rows[i].data);
            builder_free(&in);
        }
    }
}

static void a_body_is_whole_with_its_last_byte(void **state)
{
    static const struct {
        const char *field;
        struct span body;
    } rows[] = {
        {"Content-Length: 5", SPAN("hello")},
        {CHUNKED, SPAN("5;a\r\nhello\r\n00\r\nA: b\r\n\r\n")},
        {"Content-Length: 18446744073709551000", SPAN("hello")}, /* never */
        {CHUNKED, SPAN("7fffffffffffffff\r\nhello")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t len = 0; len <= rows[i].body.len; len++) {
            struct outcome o = read_body(rows[i].field, (struct span){rows[i].body.at, len}, 0, 1);

            if (o.status || o.whole != (i < 2 && len == rows[i].body.len))
                fail_msg("%zu bytes of %s: %u", len, rows[i].body.at, o.status);
            builder_free(&o.data);
        }
    }
}

static void malformed_chunks_are_refused_where_they_begin(void **state)
{
    static const struct {
        const char *what;
        struct span fine, rest; /* the line that is refused, or the end of a chunk, begins with the rest */
    } rows[] = {
        {"no size", SPAN(""), SPAN("\r\nx\r\n0\r\n\r\n")},
        {"size below zero", SPAN(""), SPAN("-5\r\nhello\r\n0\r\n\r\n")},
        {"size with a plus", SPAN(""), SPAN("+5\r\nhello\r\n0\r\n\r\n")},
        {"size with 0x", SPAN(""), SPAN("0x5\r\nhello\r\n0\r\n\r\n")},
        {"size of other letters", SPAN(""), SPAN("g\r\nhello\r\n0\r\n\r\n")},
        {"size without end", SPAN(""), SPAN("55555555555555555555\r\nhello")},
        {"a size of 17 digits", SPAN(""), SPAN("00000000000000005\r\nhello\r\n0\r\n\r\n")},
        {"a size that is too large", SPAN(""), SPAN("ffffffffffffffff\r\nhello")},
        {"a blank before the size", SPAN(""), SPAN(" 5\r\nhello\r\n0\r\n\r\n")},
        {"a blank behind the size", SPAN(""), SPAN("5 \r\nhello\r\n0\r\n\r\n")},
        {"a blank before an extension", SPAN(""), SPAN("5 ;a\r\nhello\r\n0\r\n\r\n")},
        {"LF behind the size", SPAN(""), SPAN("5\nhello\r\n0\r\n\r\n")},
        {"CR behind the size", SPAN(""), SPAN("5\rhello\r\n0\r\n\r\n")},
        {"CR twice behind the size", SPAN(""), SPAN("5\r\r\nhello\r\n0\r\n\r\n")},
        {"LF in an extension", SPAN(""), SPAN("5;\nhello\r\n0\r\n\r\n")},
        {"CR in an extension", SPAN(""), SPAN("5;\ra\r\nhello\r\n0\r\n\r\n")},
        {"NUL in an extension", SPAN(""), SPAN("5;a\0\r\nhello\r\n0\r\n\r\n")},
        {"DEL in an extension", SPAN(""), SPAN("5;a\x7f\r\nhello\r\n0\r\n\r\n")},
        {"no end of a chunk", SPAN("5\r\nhello"), SPAN("XX0\r\n\r\n")},
        {"a longer chunk than it said", SPAN("5\r\nhello"), SPAN("!\r\n0\r\n\r\n")},
        {"LF behind a chunk", SPAN("5\r\nhello"), SPAN("\n0\r\n\r\n")},
        {"CR behind a chunk", SPAN("5\r\nhello"), SPAN("\r0\r\n\r\n")},
        {"an empty line behind a chunk", SPAN("5\r\nhello\r\n"), SPAN("\r\n0\r\n\r\n")},
        {"LF behind the last", SPAN("5\r\nhello\r\n"), SPAN("0\n\r\n")},
        {"a second chunk with 0x", SPAN("5\r\nhello\r\n"), SPAN("0x1\r\na\r\n0\r\n\r\n")},
        {"a trailer without a colon", SPAN("0\r\n"), SPAN("trailer\r\n\r\n")},
        {"a trailer without a name", SPAN("0\r\n"), SPAN(": a\r\n\r\n")},
        {"a blank before its colon", SPAN("0\r\n"), SPAN("A : b\r\n\r\n")},
        {"a folded trailer", SPAN("0\r\nA: b\r\n"), SPAN(" c\r\n\r\n")},
        {"a trailer with LF", SPAN("0\r\n"), SPAN("A: b\n\r\n")},
        {"a trailer with NUL", SPAN("0\r\n"), SPAN("A: \0\r\n\r\n")},
        {"LF at the end", SPAN("0\r\n"), SPAN("\n")},
        {"CR twice at the end", SPAN("0\r\n"), SPAN("\r\r\n")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct span data = {"hello", rows[i].fine.len >= 8 && rows[i].fine.at[0] == '5' ? 5 : 0};
        struct builder in = {0};

        builder_add(&in, rows[i].fine);
        builder_add(&in, rows[i].rest);
        check_ways(CHUNKED, rows[i].what, bytes_span(in.bytes), rows[i].fine.len, 400, data);
        builder_free(&in);
    }
}

static void a_line_of_the_coding_may_be_so_long(void **state)
{
    static const struct {
        const char *before, *begin, *behind;
        struct span data;
    } rows[] = {
        {"", "5;", "hello\r\n0\r\n\r\n", SPAN("hello")},
        {"", "0;", "\r\n", SPAN("")},
        {"0\r\n", "A: ", "\r\n", SPAN("")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int more = 0; more < 2; more++) {
            size_t fill = LINE_BYTES_MAX - 2 - strlen(rows[i].begin) + (size_t)more, before = strlen(rows[i].before);
            struct builder in = {0};

            builder_printf(&in, "%s%s%0*d\r\n%s", rows[i].before, rows[i].begin, (int)fill, 0, rows[i].behind);
            if (more)
                check_ways(CHUNKED, "too long", bytes_span(in.bytes), before, 400, (struct span){"", 0});
            else
                check_ways(CHUNKED, "long", bytes_span(in.bytes), builder_len(&in), 0, rows[i].data);
            builder_free(&in);
        }
    }
}

static void a_line_without_end_is_refused_before_it_ends(void **state)
{
    char text[LINE_BYTES_MAX + 1];

    (void)state;
    memset(text, '0', sizeof(text));
    for (int more = 0; more < 2; more++) {
        struct outcome o = read_body(CHUNKED, (struct span){text, LINE_BYTES_MAX + (size_t)more}, 0, 1);

        assert_int_equal(o.status, more ? 400 : 0);
        assert_int_equal(o.used, 0);
        builder_free(&o.data);
    }
}

/* Lines that carry no data cost as much as those that do. */
static void trailers_may_be_so_many_bytes(void **state)
{
    (void)state;
    for (int more = 0; more < 2; more++) {
        struct builder in = {0};
        struct outcome o;

        builder_text(&in, "0\r\n");
        while (builder_len(&in) < OVERHEAD_MAX - LINE_BYTES_MAX)
            builder_printf(&in, "A: %0*d\r\n", 500, 0);
        builder_printf(&in, "A: %0*d\r\n\r\n", OVERHEAD_MAX - (int)builder_len(&in) - 7 + more, 0);
        assert_int_equal(builder_len(&in), OVERHEAD_MAX + more);
        o = read_body(CHUNKED, bytes_span(in.bytes), 0, 1000);
        assert_int_equal(o.status, more ? 400 : 0);
        builder_free(&in);
    }
}

static void a_chunk_may_bring_so_many_bytes_more_than_its_data(void **state)
{
    static const struct {
        const char *chunk;
        size_t data;
        bool endless; /* no more than so many bytes come with each of data */
    } rows[] = {
        {"1\r\nx\r\n", 1, true},
        {"1;ab\r\nx\r\n", 1, true},
        {"2;abcdefgh\r\nxx\r\n", 2, true},
        {"1;abc\r\nx\r\n", 1, false},
        {"1;abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh\r\nx\r\n", 1, false},
        {"4;abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh\r\nxxxx\r\n", 4, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t overhead = strlen(rows[i].chunk) - rows[i].data, chunks = 20000, most; /* before one line too many */
        struct builder in = {0};
        struct outcome o;

        for (size_t n = 0; n < chunks; n++)
            builder_text(&in, rows[i].chunk);
        builder_text(&in, "0\r\n\r\n");
        o = read_body(CHUNKED, bytes_span(in.bytes), 0, 10007);
        if (rows[i].endless) {
            check(&o, rows[i].chunk, builder_len(&in), 0, bytes_span(o.data.bytes));
            assert_int_equal(builder_len(&o.data), chunks * rows[i].data);
        } else {
            most = (OVERHEAD_MAX - strcspn(rows[i].chunk, "\r") - 2) / (overhead - OVERHEAD_EACH * rows[i].data);
            assert_int_equal(o.status, 400);
            assert_in_range(builder_len(&o.data) / rows[i].data, most, most + 1);
        }
        builder_free(&o.data);
        builder_free(&in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_what_comes_only_the_body_is_used),
        cmocka_unit_test(a_body_is_whole_with_its_last_byte),
        cmocka_unit_test(malformed_chunks_are_refused_where_they_begin),
        cmocka_unit_test(a_line_of_the_coding_may_be_so_long),
        cmocka_unit_test(a_line_without_end_is_refused_before_it_ends),
        cmocka_unit_test(trailers_may_be_so_many_bytes),
        cmocka_unit_test(a_chunk_may_bring_so_many_bytes_more_than_its_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
