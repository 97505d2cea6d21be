/* SPDX-License-Identifier: MIT */
#include "signalbox/http_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define GET "GET / HTTP/1.1\r\n"
#define HOST "Host: x\r\n"
#define LONG_ENOUGH (HEAD_BYTES_MAX + 4096)

/* The verdict on text[0..len), of which only its first `first` bytes have come before, in pieces of `step`. */
static size_t look(struct span text, size_t first, size_t step, struct http_head_scan *scan, struct http_fault *fault)
{
    size_t end = 0;

    *scan = (struct http_head_scan){0};
    *fault = (struct http_fault){0};
    for (size_t len = step; len < first && !end && !fault->status; len += step)
        end = http_head_end(scan, (struct span){text.at, len}, fault);
    if (first > 0 && !end && !fault->status)
        end = http_head_end(scan, (struct span){text.at, first}, fault);
    return end || fault->status ? end : http_head_end(scan, text, fault);
}

static void check_end(const char *what, struct span text, size_t end, unsigned status)
{
    size_t step = text.len > 4096 ? 509 : 1; /* of the long ones, not every split */
    struct http_head_scan scan;
    struct http_fault fault;

    for (size_t first = 0; first <= text.len; first += step) {
        for (size_t by = 0; by <= first; by += first ? first : 1) { /* the first ones byte by byte, and at once */
            size_t got = look(text, first, by + 1, &scan, &fault);

            if (got != end || fault.status != status)
                fail_msg("%s, %zu by %zu, then the rest: ends at %zu, status %u", what, first, by + 1, got,
                         fault.status);
        }
    }
}

static void a_head_ends_with_its_empty_line_however_it_comes(void **state)
{
    static const char *const heads[] = {
        GET HOST "\r\n",
        GET HOST "X: \t y\t\r\nY:\r\n\r\n",
        GET HOST "X: \xc3\xa4\x80\xff\r\n\r\n",
        "\r\n" GET HOST "\r\n",
        "nonsense\r\n\r\n",
    };
    static const struct span behind[] = {SPAN(""), SPAN("{}"), SPAN(GET HOST "\r\n"), SPAN("\r\n\r\n"),
                                         SPAN("\0\n\r\x7f")};

    (void)state;
    for (size_t i = 0; i < COUNT(heads); i++) {
        for (size_t j = 0; j < COUNT(behind); j++) {
            struct builder all = {0};

            builder_text(&all, heads[i]);
            builder_add(&all, behind[j]);
            check_end(heads[i], bytes_span(all.bytes), strlen(heads[i]), 0);
            builder_free(&all);
        }
    }
}

static void a_fault_is_found_with_the_byte_that_makes_it(void **state)
{
    static const struct {
        const char *what;
        struct span fine, behind; /* the first byte behind is the fault */
    } rows[] = {
        {"LF behind a field", SPAN(GET "Host: x"), SPAN("\nX: y\r\n\r\n")},
        {"LF at the end", SPAN(GET HOST), SPAN("\n")},
        {"LF first", SPAN(""), SPAN("\n" GET HOST "\r\n")},
        {"CR in a field", SPAN(GET "X: y\r"), SPAN("z\r\n\r\n")},
        {"CR twice", SPAN(GET HOST "\r"), SPAN("\r\n\r\n")},
        {"NUL", SPAN(GET "X: "), SPAN("\0\r\n\r\n")},
        {"NUL behind CR", SPAN(GET "X: \r"), SPAN("\0\r\n\r\n")},
        {"the last control character", SPAN(GET "X: "), SPAN("\x1f\r\n\r\n")},
        {"DEL", SPAN(GET "X: y"), SPAN("\x7f\r\n\r\n")},
        {"TLS", SPAN(""), SPAN("\x16\x03\x01")},
        {"two empty lines before", SPAN("\r\n\r"), SPAN("\n" GET HOST "\r\n")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t fault_at = rows[i].fine.len;
        struct http_head_scan scan;
        struct http_fault fault;
        struct builder all = {0};

        check_end(rows[i].what, rows[i].fine, 0, 0);
        builder_add(&all, rows[i].fine);
        builder_add(&all, rows[i].behind);
        for (size_t len = fault_at + 1; len <= builder_len(&all); len++) {
            check_end(rows[i].what, (struct span){bytes_data(all.bytes), len}, 0, 400);
            look((struct span){bytes_data(all.bytes), len}, len, 1, &scan, &fault);
            if (scan.at != fault_at)
                fail_msg("%s: found at %zu", rows[i].what, scan.at);
        }
        builder_free(&all);
    }
}

static void what_is_too_long_is_known_before_it_ends(void **state)
{
    static const struct {
        const char *begin, *end;
        size_t len, ends;
        unsigned status;
    } rows[] = {
        {"GET /", "", HEAD_TARGET_MAX + 64, 0, 0},
        {"GET /", "", HEAD_TARGET_MAX + 65, 0, 414},
        {"\r\nGET /", "", LONG_ENOUGH, 0, 414},
        {GET "X: ", "", HEAD_BYTES_MAX, 0, 0},
        {GET "X: ", "", HEAD_BYTES_MAX + 1, 0, 431},
        {"\r\n" GET "X: ", "", HEAD_BYTES_MAX + 1, 0, 431},
        {GET "X: ", "\r\n\r\n", HEAD_BYTES_MAX, HEAD_BYTES_MAX, 0},
        {GET "X: ", "\r\n\r\n", HEAD_BYTES_MAX + 1, 0, 431},
        {GET "X: ", "\r\n\r\n", LONG_ENOUGH, 0, 431},
    };
    char *text = mem_alloc(LONG_ENOUGH);

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        memset(text, 'x', rows[i].len);
        memcpy(text, rows[i].begin, strlen(rows[i].begin));
        memcpy(text + rows[i].len - strlen(rows[i].end), rows[i].end, strlen(rows[i].end));
        check_end(rows[i].begin, (struct span){text, rows[i].len}, rows[i].ends, rows[i].status);
    }
    free(text);
}

/* NULL: refused, status says how. */
static struct http_head *read_head(const char *text, unsigned *status)
{
    struct http_head_scan scan = {0};
    struct http_fault fault = {0};
    size_t len = http_head_end(&scan, span_of(text), &fault);
    struct http_head *h = len ? http_head_new((struct span){text, len}, &fault) : NULL;

    *status = fault.status;
    if (fault.status == 0)
        return h;
    http_head_free(h);
    return NULL;
}

static struct http_head *taken(const char *text)
{
    unsigned status;
    struct http_head *h = read_head(text, &status);

    if (!h || status)
        fail_msg("%u: %s", status, text);
    return h;
}

static void a_target_is_decoded_once_and_otherwise_left_as_it_is(void **state)
{
    static const struct {
        const char *target, *path, *raw_path, *query;
        size_t encoded_slash;
    } rows[] = {
        {"/", "/", "/", "", SIZE_MAX},
        {"*", "*", "*", "", SIZE_MAX}, /* of OPTIONS */
        {"/a+b", "/a+b", "/a+b", "", SIZE_MAX},
        {"/%41%7a%5A", "/AzZ", "/%41%7a%5A", "", SIZE_MAX},
        {"/%2541", "/%41", "/%2541", "", SIZE_MAX},
        {"/%c3%A4", "/\xc3\xa4", "/%c3%A4", "", SIZE_MAX},
        {"/%20%3f%23", "/ ?#", "/%20%3f%23", "", SIZE_MAX},
        {"/a%2Fb", "/a/b", "/a%2Fb", "", 2},
        {"/%41/b%2fc%2F", "/A/b/c/", "/%41/b%2fc%2F", "", 4},
        {"/%2F", "//", "/%2F", "", 1},
        {"/a/../b/./c//", "/a/../b/./c//", "/a/../b/./c//", "", SIZE_MAX},
        {"/%2e%2E/a", "/../a", "/%2e%2E/a", "", SIZE_MAX},
        {"/|\"<>^`{}\\", "/|\"<>^`{}\\", "/|\"<>^`{}\\", "", SIZE_MAX},
        {"/a?b=c", "/a", "/a", "b=c", SIZE_MAX},
        {"/a?", "/a", "/a", "", SIZE_MAX},
        {"/?%2F%00+?/", "/", "/", "%2F%00+?/", SIZE_MAX},
        {"/a%3Fb?c", "/a?b", "/a%3Fb", "c", SIZE_MAX},
        {"http://x", "/", "/", "", SIZE_MAX},
        {"http://x:80/a%2Fb?c", "/a/b", "/a%2Fb", "c", 2},
        {"HTTPS://user@x.example?a/b", "/", "/", "a/b", SIZE_MAX},
        {"https://[::1]:8080//a", "//a", "//a", "", SIZE_MAX},
        {"http://x/http://y/", "/http://y/", "/http://y/", "", SIZE_MAX},
    };
    char text[128];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool star = strcmp(rows[i].target, "*") == 0;
        struct http_head *h;

        snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\n" HOST "\r\n", star ? "OPTIONS" : "PUT", rows[i].target);
        h = taken(text);
        if (h->method != (star ? HTTP_OPTIONS : HTTP_PUT) || strcmp(h->path, rows[i].path) != 0 ||
            !span_is(h->raw_path, rows[i].raw_path) || !span_is(h->query, rows[i].query) ||
            h->encoded_slash != rows[i].encoded_slash)
            fail_msg("%s: %s, a slash at %zu", rows[i].target, h->path, h->encoded_slash);
        http_head_free(h);
    }
}

static void fields_say_what_becomes_of_connection_and_body(void **state)
{
    enum { KEEP_ALIVE = 1, UPGRADE = 2, CHUNKED = 4, EXPECTS_CONTINUE = 8 };
    static const struct {
        const char *version;
        int is;
        unsigned long long body_length;
        const char *each; /* each of these ends with a ~ */
    } rows[] = {
        {"1.1", KEEP_ALIVE, 0,
         "~Connection: keep-alive~Connection: closed, not-close, x close~Upgrade: websocket~Connection: upgrade~"
         "Connection: upgrades\r\nUpgrade: websocket~Content-Length: 0~"},
        {"1.9", KEEP_ALIVE, 0, "~"},
        {"1.1", 0, 0, "Connection: close~connection:\tCLOSE\t~Connection: keep-alive, Close~"},
        {"1.1", 0, 0, "Connection: close\r\nConnection: keep-alive~"},
        {"1.0", 0, 0,
         "~Connection: close~Connection: keep-alive-not~Connection: upgrade\r\nUpgrade: websocket~Expect: more~"},
        {"1.0", KEEP_ALIVE, 0, "Connection: Keep-Alive~Connection: x,keep-alive~"},
        {"1.1", KEEP_ALIVE | UPGRADE, 0,
         "Connection: x, UPGRADE\r\nUpgrade: WebSocket~Upgrade: h2c\r\nConnection: x\r\nConnection:upgrade~"},
        {"1.1", KEEP_ALIVE, 36, "Content-Length: 36~CONTENT-LENGTH:\t 0036 \t~"},
        {"1.1", KEEP_ALIVE, 18446744073709551000u, "Content-Length: 18446744073709551000~"},
        {"1.1", KEEP_ALIVE | CHUNKED, 0, "Transfer-Encoding: chunked~transfer-encoding:\t ChUnKeD \t~"},
        {"1.1", KEEP_ALIVE | EXPECTS_CONTINUE, 1, "Expect: 100-Continue\r\nContent-Length: 1~"},
        {"1.0", 0, 1, "Expect: 100-continue\r\nContent-Length: 1~"},
    };
    char text[256];

    (void)state;
    http_head_free(taken("GET / HTTP/1.0\r\n\r\n")); /* needs no Host */
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (const char *each = rows[i].each; *each; each = strchr(each, '~') + 1) {
            int len = (int)strcspn(each, "~"), is;
            struct http_head *h;

            snprintf(text, sizeof(text), "POST / HTTP/%s\r\n" HOST "%.*s%s\r\n", rows[i].version, len, each,
                     len ? "\r\n" : "");
            h = taken(text);
            is = (h->keep_alive ? KEEP_ALIVE : 0) | (h->upgrade ? UPGRADE : 0) | (h->chunked ? CHUNKED : 0) |
                 (h->expects_continue ? EXPECTS_CONTINUE : 0);
            if (is != rows[i].is || h->body_length != rows[i].body_length ||
                h->http_1_0 != (strcmp(rows[i].version, "1.0") == 0))
                fail_msg("%s", text);
            http_head_free(h);
        }
    }
}

static void what_is_no_request_is_refused_with_its_status(void **state)
{
    static const struct {
        unsigned status;
        const char *before, *behind, *each; /* each of these ends with a ~ */
    } rows[] = {
        {400, "", "\r\n" HOST "\r\n",
         "GET~GET /~GET HTTP/1.1~GET  / HTTP/1.1~GET /  HTTP/1.1~GET\t/ HTTP/1.1~ GET / HTTP/1.1~GET / HTTP/1.1 ~"
         "GET / HTTP/1.10~GET / HTTP/1~GET / HTTP/x.1~GET / HTTP/1,1~GET / http/1.1~GET / ICE/1.0~G(T / HTTP/1.1~"
         "/ HTTP/1.1~OPTIONS ** HTTP/1.1~M-SEARCH * HTTP/1.1~"},
        {400, "GET ", " HTTP/1.1\r\n" HOST "\r\n",
         "a~?a~*~a:/~ftp://x/~http:/x~http://~http://x y/~/a b~/\t~/#a~/?#a~/\xc3\xa4~/%~/%4~/%4?1~/%4g~/%g4~/%%41~"
         "/?%zz~/?a=%4~/?%~/%00~/%0a~/%1f~/%7F~"},
        {400, "PUT / HTTP/1.1\r\n" HOST, "\r\n\r\n",
         "X~: y~X : y~X\t: y~X Y: z~\"X\": y~X\xc3\xa4: y~X: y\r\n z~X: y\r\n\tz~ X: y~Host: x~hosT: y~Content-Length:~"
         "Content-Length: -1~Content-Length: +1~Content-Length: 0x1~Content-Length: 3 6~Content-Length: 3\t6~"
         "Content-Length: 3,3~Content-Length: 3\r\nContent-Length: 3~Content-Length: 18446744073709551616~"
         "Content-Length: 3\r\nTransfer-Encoding: chunked~Transfer-Encoding: chunked\r\nContent-Length: 3~"
         "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked~Transfer-Encoding: chunked, chunked~"
         "Transfer-Encoding: chunked, gzip~Transfer-Encoding: gzip~Transfer-Encoding: xchunked~"
         "Transfer-Encoding: \"chunked\"~Transfer-Encoding:~"},
        {400, "GET / HTTP/1.1\r\n", "\r\n", "~Host: x y\r\n~Host: x/y\r\n~Host: x@y\r\n~"},
        {400, "PUT / HTTP/1.0\r\n" HOST, "\r\n\r\n", "Transfer-Encoding: chunked~Host: y~"},
        {417, "PUT / HTTP/1.1\r\n" HOST, "\r\n\r\n", "Expect: more~Expect: 100-continue\r\nExpect: 100-continue~"},
        {501, "", " HTTP/1.1\r\n" HOST "\r\n", "FETCH /~get /~CONNECT x:1~"},
        {501, "PUT / HTTP/1.1\r\n" HOST, "\r\n\r\n", "Transfer-Encoding: gzip, chunked~"},
        {505, "", "\r\n" HOST "\r\n", "GET / HTTP/0.9~GET / HTTP/2.0~PRI * HTTP/2.0~"},
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (const char *each = rows[i].each; *each; each = strchr(each, '~') + 1) {
            unsigned status;

            snprintf(text, sizeof(text), "%s%.*s%s", rows[i].before, (int)strcspn(each, "~"), each, rows[i].behind);
            if (read_head(text, &status) || status != rows[i].status)
                fail_msg("%u: %s", status, text);
        }
    }
}

static void a_target_and_the_count_of_fields_have_their_bounds(void **state)
{
    (void)state;
    for (int more = 0; more < 2; more++) {
        struct builder target = {0}, fields = {0}, *both[] = {&target, &fields};

        builder_printf(&target, "GET /%0*d HTTP/1.1\r\n" HOST "\r\n", HEAD_TARGET_MAX - 1 + more, 0);
        builder_text(&fields, GET HOST);
        for (int i = 1; i < HEAD_FIELDS_MAX + more; i++)
            builder_text(&fields, "X: y\r\n");
        builder_text(&fields, "\r\n");
        for (size_t i = 0; i < COUNT(both); i++) {
            struct http_fault fault;
            struct http_head *h = http_head_new(bytes_span(both[i]->bytes), &fault);

            assert_int_equal(fault.status, !more ? 0 : i ? 431 : 414);
            assert_int_equal(h != NULL, !more);
            http_head_free(h);
            builder_free(both[i]);
        }
    }
}

static void fields_are_found_by_their_names_in_any_case(void **state)
{
    struct http_head *h = taken(GET "HOST:x\r\nX-A: \t one, Two\t,,three \t\r\nx-a:four\tfive\r\nX-AB: ab\r\n"
                                    "X-a:  six\r\nX-None:\r\n\r\n");
    char *joined = http_head_joined(h, "X-A");
    static const char *const names[] = {"host", "X-A", "x-ab", "x-none", "x", "x-a:", ""};
    static const size_t counts[] = {1, 3, 1, 1, 0, 0, 0};
    static const char *const listed[] = {"one", "TWO", "three", "four five", "six"};
    static const char *const unlisted[] = {"on", "ones", "one, Two", "four", "five", "ab", ","};

    (void)state;
    assert_int_equal(h->fields_count, 6);
    for (size_t i = 0; i < COUNT(names); i++)
        assert_int_equal(http_head_count(h, names[i]), counts[i]);
    for (size_t i = 0; i < h->fields_count; i++)
        assert_int_equal(strlen(h->fields[i].value.at), h->fields[i].value.len);
    assert_string_equal(http_head_field(h, "hOST").at, "x");
    assert_string_equal(http_head_field(h, "x-a").at, "one, Two ,,three");
    assert_string_equal(http_head_field(h, "X-None").at, "");
    assert_string_equal(http_head_field(h, "X").at, "");
    assert_string_equal(joined, "one, Two ,,three,four five,six");
    for (size_t i = 0; i < COUNT(listed); i++)
        assert_true(http_head_lists(h, "X-A", listed[i]));
    for (size_t i = 0; i < COUNT(unlisted); i++)
        assert_false(http_head_lists(h, "X-A", unlisted[i]));
    free(joined);
    http_head_free(h);
}

static void an_empty_field_hides_nothing(void **state)
{
    struct http_head *h =
        taken("PUT / HTTP/1.1\r\nX-A:\r\n" HOST "X-B: \t \r\nTransfer-Encoding: chunked\r\nX-C:\r\n\r\n");

    (void)state;
    assert_true(h->chunked);
    for (size_t i = 0; i < 3; i++) {
        static const char *const names[] = {"x-a", "x-b", "x-c"};

        assert_int_equal(http_head_count(h, names[i]), 1);
        assert_string_equal(http_head_field(h, names[i]).at, "");
    }
    http_head_free(h);
}

static void an_argument_is_the_first_of_its_name_decoded(void **state)
{
    static const struct {
        const char *each, *b; /* each of these queries ends with a ~ */
    } rows[] = {
        {"b=1~&&b=1&~a=2&b=1&b=3~ab=2&b=1~bc=2&b=1~b&b=1~", "1"},
        {"~b~ab=1~bc=1~a=b=1~B=1~%62=1~b%3D1~a?b=1~", NULL},
        {"b=~b=&b=1~b=x%00y~b=%0a&b=1~b=x%7F~b=%1f~", ""},
        {"b=c=d?/~", "c=d?/"},
        {"b=1+2%2B3~", "1+2+3"},
        {"b=%26%3d%25~", "&=%"},
        {"b=%2541~", "%41"},
        {"b=%c3%A4%2f~", "\xc3\xa4/"},
    };
    char text[128];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (const char *each = rows[i].each; *each; each = strchr(each, '~') + 1) {
            struct http_head *h;
            char *b;

            snprintf(text, sizeof(text), "GET /b=9?%.*s HTTP/1.1\r\n" HOST "\r\n", (int)strcspn(each, "~"), each);
            h = taken(text);
            b = http_head_argument(h, "b");
            if ((b != NULL) != (rows[i].b != NULL) || (b && strcmp(b, rows[i].b) != 0))
                fail_msg("%s: %s", text, b ? b : "none");
            free(b);
            http_head_free(h);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_ends_with_its_empty_line_however_it_comes),
        cmocka_unit_test(a_fault_is_found_with_the_byte_that_makes_it),
        cmocka_unit_test(what_is_too_long_is_known_before_it_ends),
        cmocka_unit_test(a_target_is_decoded_once_and_otherwise_left_as_it_is),
        cmocka_unit_test(fields_say_what_becomes_of_connection_and_body),
        cmocka_unit_test(what_is_no_request_is_refused_with_its_status),
        cmocka_unit_test(a_target_and_the_count_of_fields_have_their_bounds),
        cmocka_unit_test(fields_are_found_by_their_names_in_any_case),
        cmocka_unit_test(an_empty_field_hides_nothing),
        cmocka_unit_test(an_argument_is_the_first_of_its_name_decoded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
