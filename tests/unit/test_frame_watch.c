/* SPDX-License-Identifier: MIT */
#include "signalbox/frame_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ROOM 200000

enum { CONTINUATION, TEXT_FRAME, BINARY, CLOSE = 8, PING, PONG, FIN = 0x80, RSV1 = 0x40, MASKED = 0x80 };

static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x80};

/* What a client sent, what went on, and the payloads of the pings, each behind a '|'. */
struct seen {
    char *sent;
    size_t sent_len;
    struct builder passed, pings;
    bool violated;
};

static void on_ping(struct span payload, void *arg)
{
    struct seen *seen = arg;

    builder_text(&seen->pings, "|");
    builder_add(&seen->pings, payload);
}

static size_t put_header(char *out, int first, int masked, unsigned long long len, int form)
{
    size_t n = 2, extended = form == 126 ? 2 : form == 127 ? 8 : 0;

    out[0] = (char)first;
    out[1] = (char)(masked | (extended ? form : (int)len));
    for (size_t i = 0; i < extended; i++)
        out[n++] = (char)(len >> 8 * (extended - 1 - i));
    if (masked)
        memcpy(out + n, mask, sizeof(mask));
    return n + (masked ? sizeof(mask) : 0);
}

/* A frame of a client whose payload is len letters, with the shortest form of its length. */
static size_t put_frame(char *out, int first, unsigned long long len)
{
    size_t n = put_header(out, first, MASKED, len, len < 126 ? 0 : len < 65536 ? 126 : 127);

    for (size_t i = 0; i < len; i++)
        out[n + i] = (char)(('a' + i % 26) ^ mask[i % 4]);
    return n + (size_t)len;
}

static void letters(struct builder *w, size_t len)
{
    builder_text(w, "|");
    for (size_t i = 0; i < len; i++)
        builder_add(w, (struct span){&"abcdefghijklmnopqrstuvwxyz"[i % 26], 1});
}

/* The first bytes come at once, the rest in pieces of step. */
static void watch(struct seen *seen, size_t first, size_t step)
{
    struct frame_watch w = {0};

    seen->passed = seen->pings = (struct builder){0};
    for (size_t at = 0, len = first; at < seen->sent_len; at += len, len = step) {
        char *piece;
        size_t kept;

        len = len < seen->sent_len - at ? len : seen->sent_len - at;
        piece = mem_alloc(len + 1);
        memcpy(piece, seen->sent + at, len);
        kept = frame_watch_pass(&w, piece, len, on_ping, seen);
        assert_true(kept <= len);
        builder_add(&seen->passed, (struct span){piece, kept});
        free(piece);
    }
    seen->violated = w.violated;
    frame_watch_free(&w);
}

static struct span span_in(const struct builder *w)
{
    return w->bytes ? bytes_span(w->bytes) : (struct span){"", 0};
}

static void check_way(struct seen *seen, const char *what, size_t first, size_t step, const struct seen *wanted)
{
    watch(seen, first, step);
    if (seen->violated != wanted->violated || !span_equals(span_in(&seen->passed), span_in(&wanted->passed)) ||
        !span_equals(span_in(&seen->pings), span_in(&wanted->pings)))
        fail_msg("%s, cut at %zu, then by %zu: %zu bytes go on, pings of %zu bytes, %sviolated", what, first, step,
                 builder_len(&seen->passed), builder_len(&seen->pings), seen->violated ? "" : "not ");
    builder_free(&seen->passed);
    builder_free(&seen->pings);
}

/* Cut anywhere, and in pieces of any size, the same goes on. Of long ones, not everywhere. */
static void check_ways(struct seen *seen, const char *what, struct seen *wanted)
{
    size_t stride = seen->sent_len < 600 ? 1 : seen->sent_len / 97;

    for (size_t i = 0; i <= seen->sent_len; i += stride)
        check_way(seen, what, i, seen->sent_len, wanted);
    for (size_t step = 1; step <= seen->sent_len; step += stride)
        check_way(seen, what, step, step, wanted);
    for (size_t i = 0; i < 20 && i < seen->sent_len; i++) /* inside of the header of a long one */
        check_way(seen, what, i, seen->sent_len, wanted);
    builder_free(&wanted->passed);
    builder_free(&wanted->pings);
}

static void frames_without_pings_go_on_as_they_came(void **state)
{
    static const struct {
        const char *what;
        struct {
            int first;
            unsigned long long len;
        } frames[4];
    } rows[] = {
        {"a text", {{FIN | TEXT_FRAME, 5}}},
        {"a masked empty frame", {{FIN | TEXT_FRAME, 0}}},
        {"empty frames", {{FIN | BINARY, 0}, {FIN | TEXT_FRAME, 0}, {FIN | BINARY, 1}, {FIN | PONG, 0}}},
        {"the longest of 7 bits", {{FIN | BINARY, 125}, {FIN | TEXT_FRAME, 1}}},
        {"the shortest of 16 bits", {{FIN | BINARY, 126}, {FIN | TEXT_FRAME, 1}}},
        {"a length with all its bytes", {{FIN | BINARY, 0x1234}, {FIN | TEXT_FRAME, 3}}},
        {"the longest of 16 bits", {{FIN | BINARY, 65535}, {FIN | TEXT_FRAME, 2}}},
        {"the shortest of 64 bits", {{FIN | BINARY, 65536}, {FIN | TEXT_FRAME, 2}}},
        {"fragments", {{TEXT_FRAME, 0}, {CONTINUATION, 1}, {CONTINUATION, 4}, {FIN | CONTINUATION, 0}}},
        {"a compressed one", {{FIN | RSV1 | TEXT_FRAME, 9}, {FIN | TEXT_FRAME, 9}}},
        {"a pong and a close", {{FIN | PONG, 125}, {FIN | CLOSE, 2}}},
        {"what is left to others", {{PONG, 3}, {FIN | RSV1 | CLOSE, 126}, {FIN | 0x3, 1}, {FIN | 0xb, 7}}},
    };
    struct seen seen = {.sent = mem_alloc(ROOM)};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct seen wanted = {0};

        seen.sent_len = 0;
        for (size_t f = 0; f < COUNT(rows[i].frames) && (rows[i].frames[f].first || rows[i].frames[f].len); f++)
            seen.sent_len += put_frame(seen.sent + seen.sent_len, rows[i].frames[f].first, rows[i].frames[f].len);
        builder_add(&wanted.passed, (struct span){seen.sent, seen.sent_len});
        check_ways(&seen, rows[i].what, &wanted);
    }
    free(seen.sent);
}

static void lengths_count_in_longer_forms_too(void **state)
{
    static const struct {
        unsigned long long len;
        int form;
    } rows[] = {{0, 126}, {0, 127}, {5, 126}, {5, 127}, {125, 127}, {300, 127}};
    struct seen seen = {.sent = mem_alloc(ROOM)};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct seen wanted = {0};
        size_t len = put_header(seen.sent, FIN | BINARY, MASKED, rows[i].len, rows[i].form);

        memset(seen.sent + len, FIN | PING, (size_t)rows[i].len); /* no header, as it is inside of the payload */
        len += (size_t)rows[i].len;
        builder_add(&wanted.passed, (struct span){seen.sent, len});
        builder_text(&wanted.pings, "|abc");
        seen.sent_len = len + put_frame(seen.sent + len, FIN | PING, 3);
        check_ways(&seen, "a longer form", &wanted);
    }
    free(seen.sent);
}

/* The payload of a frame that never ends holds neither pings nor violations. */
static void a_length_has_64_bits(void **state)
{
    static const unsigned long long rows[] = {0x100000000, 0x7fffffffffffffff};
    struct seen seen = {.sent = mem_alloc(ROOM)};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct seen wanted = {0};

        seen.sent_len = put_header(seen.sent, FIN | BINARY, MASKED, rows[i], 127);
        seen.sent_len += put_frame(seen.sent + seen.sent_len, FIN | PING, 3);
        seen.sent_len += put_header(seen.sent + seen.sent_len, FIN | TEXT_FRAME, 0, 3, 0);
        builder_add(&wanted.passed, (struct span){seen.sent, seen.sent_len});
        check_ways(&seen, "without end", &wanted);
    }
    free(seen.sent);
}

static void pings_are_taken_out_and_told_unmasked(void **state)
{
    static const struct {
        const char *what;
        struct {
            int first;
            unsigned long long len;
        } frames[5];
    } rows[] = {
        {"an empty ping", {{FIN | PING, 0}}},
        {"a ping of a byte", {{FIN | PING, 1}}},
        {"the longest ping", {{FIN | PING, 125}}},
        {"every length of a mask", {{FIN | PING, 2}, {FIN | PING, 3}, {FIN | PING, 4}, {FIN | PING, 5}}},
        {"a ping before a text", {{FIN | PING, 7}, {FIN | TEXT_FRAME, 5}}},
        {"a ping behind a text", {{FIN | TEXT_FRAME, 5}, {FIN | PING, 7}}},
        {"an empty ping behind an empty text", {{FIN | TEXT_FRAME, 0}, {FIN | PING, 0}, {FIN | TEXT_FRAME, 0}}},
        {"empty pings", {{FIN | PING, 0}, {FIN | PING, 0}, {FIN | PING, 0}, {FIN | BINARY, 1}}},
        {"pings of all sizes",
         {{FIN | PING, 125}, {FIN | PING, 0}, {FIN | BINARY, 3}, {FIN | PING, 1}, {FIN | PONG, 0}}},
        {"pings among fragments",
         {{TEXT_FRAME, 3}, {FIN | PING, 2}, {CONTINUATION, 4}, {FIN | PING, 0}, {FIN | CONTINUATION, 1}}},
        {"a ping behind a long one", {{FIN | BINARY, 70000}, {FIN | PING, 9}, {FIN | BINARY, 300}, {FIN | PING, 8}}},
    };
    struct seen seen = {.sent = mem_alloc(ROOM)};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct seen wanted = {0};

        seen.sent_len = 0;
        for (size_t f = 0; f < COUNT(rows[i].frames) && (rows[i].frames[f].first || rows[i].frames[f].len); f++) {
            size_t len = put_frame(seen.sent + seen.sent_len, rows[i].frames[f].first, rows[i].frames[f].len);

            if (rows[i].frames[f].first == (FIN | PING))
                letters(&wanted.pings, (size_t)rows[i].frames[f].len);
            else
                builder_add(&wanted.passed, (struct span){seen.sent + seen.sent_len, len});
            seen.sent_len += len;
        }
        check_ways(&seen, rows[i].what, &wanted);
    }
    free(seen.sent);
}

static void a_ping_that_has_not_ended_is_told_to_nobody(void **state)
{
    struct seen seen = {.sent = mem_alloc(ROOM)};
    size_t whole = put_frame(seen.sent, FIN | PING, 10);

    (void)state;
    for (seen.sent_len = 0; seen.sent_len < whole; seen.sent_len++) {
        struct seen wanted = {0};

        check_ways(&seen, "a part of a ping", &wanted);
    }
    free(seen.sent);
}

static void nothing_goes_on_behind_what_no_client_may_send(void **state)
{
    static const struct {
        const char *what;
        struct span bad;
        size_t passes; /* so many bytes of it: no more than could be known */
    } rows[] = {
        {"an unmasked text", SPAN("\x81\x02hi"), 1},
        {"an unmasked empty text", SPAN("\x81\x00"), 1},
        {"an unmasked continuation", SPAN("\x00\x01x"), 1},
        {"an unmasked frame of 16 bits", SPAN("\x82\x7e\x00\x80xyz"), 1},
        {"an unmasked frame of 64 bits", SPAN("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"), 1},
        {"an unmasked pong", SPAN("\x8a\x00"), 1},
        {"an unmasked close", SPAN("\x88\x00"), 1},
        {"an unmasked ping", SPAN("\x89\x01x"), 0},
        {"an unmasked empty ping", SPAN("\x89\x00"), 0},
        {"a fragmented ping", SPAN("\x09\x80\x01\x02\x03\x04"), 0},
        {"a ping with the first reserved bit", SPAN("\xc9\x80\x01\x02\x03\x04"), 0},
        {"a ping with the second reserved bit", SPAN("\xa9\x80\x01\x02\x03\x04"), 0},
        {"a ping with the third reserved bit", SPAN("\x99\x80\x01\x02\x03\x04"), 0},
        {"a ping of 16 bits", SPAN("\x89\xfe\x00\x7e\x01\x02\x03\x04"), 0},
        {"a short ping of 16 bits", SPAN("\x89\xfe\x00\x01\x01\x02\x03\x04x"), 0},
        {"a ping of 64 bits", SPAN("\x89\xff\x00\x00\x00\x00\x00\x00\x00\x01\x01\x02\x03\x04x"), 0},
    };
    struct seen seen = {.sent = mem_alloc(ROOM)};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int behind = 0; behind < 2; behind++) {
            struct seen wanted = {.violated = true};
            size_t len = behind ? put_frame(seen.sent, FIN | TEXT_FRAME, 5) : 0;

            builder_add(&wanted.passed, (struct span){seen.sent, len});
            if (behind) {
                len += put_frame(seen.sent + len, FIN | PING, 4);
                letters(&wanted.pings, 4);
            }
            memcpy(seen.sent + len, rows[i].bad.at, rows[i].bad.len);
            builder_add(&wanted.passed, (struct span){seen.sent + len, rows[i].passes});
            len += rows[i].bad.len;
            len += put_frame(seen.sent + len, FIN | TEXT_FRAME, 20);
            seen.sent_len = len + put_frame(seen.sent + len, FIN | PING, 3);
            check_ways(&seen, rows[i].what, &wanted);
        }
    }
    free(seen.sent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_without_pings_go_on_as_they_came),
        cmocka_unit_test(lengths_count_in_longer_forms_too),
        cmocka_unit_test(a_length_has_64_bits),
        cmocka_unit_test(pings_are_taken_out_and_told_unmasked),
        cmocka_unit_test(a_ping_that_has_not_ended_is_told_to_nobody),
        cmocka_unit_test(nothing_goes_on_behind_what_no_client_may_send),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
