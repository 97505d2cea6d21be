/* SPDX-License-Identifier: MIT */
#include "frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define LONGEST 70000

static char whole[LONGEST + FRAME_HEAD_MAX];

/* A frame as a server sends it: no mask. Returns its length. */
static size_t frame_of(unsigned opcode, size_t len)
{
    static const char nothing[LONGEST];
    size_t head = frame_write(whole, opcode, nothing, len) - len - 4;

    whole[1] = (char)(whole[1] & 0x7f);
    memset(whole + head, 'x', len);
    return head + len;
}

static void a_frame_of_any_length_is_read_when_it_is_whole_and_not_before(void **state)
{
    static const size_t lengths[] = {0, 1, 125, 126, 127, 65535, 65536, LONGEST};

    (void)state;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t size = frame_of(FRAME_TEXT, lengths[i]);
        struct frame f = {0};

        for (size_t part = 0; part < size; part += part < 20 ? 1 : 997)
            assert_int_equal(frame_read(whole, part, &f), 0);
        assert_int_equal(frame_read(whole, size, &f), size);
        assert_int_equal(f.opcode, FRAME_TEXT);
        assert_int_equal(f.len, lengths[i]);
        assert_ptr_equal(f.payload + f.len, whole + size);
    }
}

static void only_the_first_of_several_is_read(void **state)
{
    size_t size = frame_of(FRAME_PING, 5);
    struct frame f;

    (void)state;
    whole[size] = (char)0x81;
    assert_int_equal(frame_read(whole, size + 1, &f), size);
    assert_int_equal(f.opcode, FRAME_PING);
    assert_int_equal(f.len, 5);
}

static void what_no_server_of_ours_sends_is_bad(void **state)
{
    struct frame f;

    (void)state;
    assert_true(frame_read("\x01\x01x", 3, &f) == FRAME_BAD);         /* a fragment */
    assert_true(frame_read("\xc1\x01x", 3, &f) == FRAME_BAD);         /* compressed */
    assert_true(frame_read("\x81\x81\0\0\0\0x", 7, &f) == FRAME_BAD); /* masked */
}

#define MASK "\x5a\x17\x43\x6e"

static void a_message_is_written_as_one_masked_frame(void **state)
{
    static const struct {
        size_t len, size;
        const char *head;
    } rows[] = {
        {0, 6, "\x81\x80" MASK},
        {125, 6, "\x81\xfd" MASK},
        {126, 8, "\x81\xfe\0\x7e" MASK},
        {65535, 8, "\x81\xfe\xff\xff" MASK},
        {65536, 14, "\x81\xff\0\0\0\0\0\1\0\0" MASK},
    };
    static char text[LONGEST];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(text, 'x', sizeof(text));
        assert_int_equal(frame_write(whole, FRAME_TEXT, text, rows[i].len), rows[i].size + rows[i].len);
        assert_memory_equal(whole, rows[i].head, rows[i].size);
        for (size_t n = 0; n < rows[i].len; n++)
            assert_int_equal(whole[rows[i].size + n] ^ MASK[n & 3], 'x');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_of_any_length_is_read_when_it_is_whole_and_not_before),
        cmocka_unit_test(only_the_first_of_several_is_read),
        cmocka_unit_test(what_no_server_of_ours_sends_is_bad),
        cmocka_unit_test(a_message_is_written_as_one_masked_frame),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
