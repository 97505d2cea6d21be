/* SPDX-License-Identifier: MIT */
#include "signalbox/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define WID "1f0c9a3e"

static void every_key_has_its_name(void **state)
{
    char key[KEY_MAX];

    (void)state;
    key_inbox(key, WID);
    assert_string_equal(key, "sb:inbox:1f0c9a3e");
    key_worker(key, WID);
    assert_string_equal(key, "sb:worker:1f0c9a3e");
    key_owners(key, WID);
    assert_string_equal(key, "sb:{own:1f0c9a3e}");
    key_owned(key, WID, 16777216);
    assert_string_equal(key, "sb:{own:1f0c9a3e}:16777216");
    key_owned(key, WID, UINT64_MAX);
    assert_string_equal(key, "sb:{own:1f0c9a3e}:18446744073709551615");
    key_peer(key, "alice");
    assert_string_equal(key, "sb:{peer:alice}");
    key_point(key, "day", "p1");
    assert_string_equal(key, "sb:{day:p1}");
    key_point_ends(key, "hour", "t1");
    assert_string_equal(key, "sb:{hour:t1}:ends");
    key_chunk(key, "c1", "data");
    assert_string_equal(key, "sb:{chunk:c1}:data");
    key_room_codes(key, "r1");
    assert_string_equal(key, "sb:{signal:r1}");
    key_presence(key, "r1");
    assert_string_equal(key, "sb:signal:r1");
    key_room(key, "r1");
    assert_string_equal(key, "sb:{room:r1}");
    key_room_peers(key, "r1");
    assert_string_equal(key, "sb:{room:r1}:peers");
    key_room_channel(key, "r1");
    assert_string_equal(key, "sb:room:r1");
    key_check(key, "c1");
    assert_string_equal(key, "sb:{check:c1}");
    key_check_other(key, "c1");
    assert_string_equal(key, "sb:{check:c1}:other");
    key_room_peer(key, "1f0c9a3e00000000");
    assert_string_equal(key, "sb:{member:1f0c9a3e00000000}");
    key_pool_member(key, "w1");
    assert_string_equal(key, "sb:{pool:w1}");
    key_client(key, "1f0c9a3e00000000");
    assert_string_equal(key, "sb:{client:1f0c9a3e00000000}");
    key_device(key, "d1");
    assert_string_equal(key, "sb:{device:d1}");
    key_drop(key, "0f");
    assert_string_equal(key, "sb:{drop:0f}");
    key_challenges(key, "d1");
    assert_string_equal(key, "sb:{ip:d1}:challenges");
    key_nonce(key, "00ff");
    assert_string_equal(key, "sb:{nonce:00ff}");
    key_reference(key, "1.2.3", "linux", "");
    assert_string_equal(key, "sb:{ref:1.2.3:linux}");
    key_reference(key, "1.2.3", "linux", ":regions");
    assert_string_equal(key, "sb:{ref:1.2.3:linux}:regions");
}

static void an_id_stands_in_its_key_as_it_is(void **state)
{
    static const char *const rows[] = {"a b", "100%", "%s%n", "a|b", "\"'\\",
                                       "a}b", "{",    "}",    "::",  "\xf0\x9f\x98\x80"};
    char key[KEY_MAX], expected[KEY_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        key_peer(key, rows[i]);
        snprintf(expected, sizeof(expected), "sb:{peer:%s}", rows[i]);
        assert_string_equal(key, expected);
        key_point(key, "day", rows[i]);
        snprintf(expected, sizeof(expected), "sb:{day:%s}", rows[i]);
        assert_string_equal(key, expected);
        key_room(key, rows[i]);
        snprintf(expected, sizeof(expected), "sb:{room:%s}", rows[i]);
        assert_string_equal(key, expected);
        key_room_channel(key, rows[i]);
        snprintf(expected, sizeof(expected), "sb:room:%s", rows[i]);
        assert_string_equal(key, expected);
        key_pool_member(key, rows[i]);
        snprintf(expected, sizeof(expected), "sb:{pool:%s}", rows[i]);
        assert_string_equal(key, expected);
        key_client(key, rows[i]);
        snprintf(expected, sizeof(expected), "sb:{client:%s}", rows[i]);
        assert_string_equal(key, expected);
        key_device(key, rows[i]);
        snprintf(expected, sizeof(expected), "sb:{device:%s}", rows[i]);
        assert_string_equal(key, expected);
        key_challenges(key, rows[i]);
        snprintf(expected, sizeof(expected), "sb:{ip:%s}:challenges", rows[i]);
        assert_string_equal(key, expected);
        key_reference(key, "1.0", rows[i], "");
        snprintf(expected, sizeof(expected), "sb:{ref:1.0:%s}", rows[i]);
        assert_string_equal(key, expected);
    }
}

static void a_colon_in_a_version_is_escaped(void **state)
{
    static const struct {
        const char *version, *platform, *key;
    } rows[] = {
        {"1:2", "linux", "sb:{ref:1%3A2:linux}"},
        {"1", "2:linux", "sb:{ref:1:2:linux}"},
        {":", ":", "sb:{ref:%3A::}"},
        {"1%3A2", "linux", "sb:{ref:1%253A2:linux}"},
        {"100%", "100%", "sb:{ref:100%25:100%}"},
        {"1}2", "a b", "sb:{ref:1}2:a b}"},
    };
    char key[KEY_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        key_reference(key, rows[i].version, rows[i].platform, "");
        assert_string_equal(key, rows[i].key);
    }
}

#define DIGITS_16 "0123456789abcdef"
#define PREFIX_32 DIGITS_16 DIGITS_16

static void the_longest_id_fits(void **state)
{
    char id[ID_MAX + 1], key[KEY_MAX];

    (void)state;
    keys_init(PREFIX_32, 0);
    memset(id, 'x', ID_MAX);
    id[ID_MAX] = '\0';
    key_peer(key, id);
    assert_int_equal(strlen(key), strlen(PREFIX_32 "{peer:}") + ID_MAX);
    key_point(key, "hour", id);
    assert_int_equal(strlen(key), strlen(PREFIX_32 "{hour:}") + ID_MAX);
    key_point_ends(key, "hour", id);
    assert_int_equal(strlen(key), strlen(PREFIX_32 "{hour:}:ends") + ID_MAX);
    assert_string_equal(key + strlen(key) - 7, "x}:ends");
    key_chunk(key, id, "tried");
    assert_int_equal(strlen(key), strlen(PREFIX_32 "{chunk:}:tried") + ID_MAX);
    key_room_peers(key, id);
    assert_int_equal(strlen(key), strlen(PREFIX_32 "{room:}:peers") + ID_MAX);
    key_room_channel(key, id);
    assert_int_equal(strlen(key), strlen(PREFIX_32 "room:") + ID_MAX);
    key_pool_member(key, id);
    assert_int_equal(strlen(key), strlen(PREFIX_32 "{pool:}") + ID_MAX);
    key_client(key, id);
    assert_int_equal(strlen(key), strlen(PREFIX_32 "{client:}") + ID_MAX);
    key_challenges(key, id);
    assert_int_equal(strlen(key), strlen(PREFIX_32 "{ip:}:challenges") + ID_MAX);
    key_reference(key, id, id, ":regions");
    assert_int_equal(strlen(key), strlen(PREFIX_32 "{ref::}:regions") + 2 * ID_MAX);
    memset(id, ':', ID_MAX);
    key_reference(key, id, id, ":regions");
    assert_int_equal(strlen(key), strlen(PREFIX_32 "{ref::}:regions") + 4 * ID_MAX);
    key_reference(key, id, id, ":" DIGITS_16 DIGITS_16 DIGITS_16 DIGITS_16);
    assert_int_equal(strlen(key), strlen(PREFIX_32 "{ref::}:") + 4 * ID_MAX + 64);
}

static void the_longest_prefix_fits_before_every_fixed_name(void **state)
{
    (void)state;
    keys_init(PREFIX_32, 0);
    assert_string_equal(KEY_HOUR_COUNTS, PREFIX_32 "{rendezvous}:hours:counts"); /* none is longer but this: */
    assert_string_equal(KEY_MIGRATION, PREFIX_32 "{" PREFIX_32 "schema}:migration");
    assert_string_equal(CHANNEL_POOL, PREFIX_32 "pool");
}

static void all_names_begin_with_the_prefix(void **state)
{
    char key[KEY_MAX];

    (void)state;
    for (int db = 0; db < 2; db++) { /* who has a prefix of its own is told apart by that */
        keys_init("blue-1:", db);
        key_peer(key, "alice");
        assert_string_equal(key, "blue-1:{peer:alice}");
        key_worker(key, WID);
        assert_string_equal(key, "blue-1:worker:1f0c9a3e");
        key_code(key, "r1", "c1");
        assert_string_equal(key, "blue-1:{code:r1:c1}");
        key_inbox(key, WID);
        assert_string_equal(key, "blue-1:inbox:1f0c9a3e");
        key_presence(key, "r1");
        assert_string_equal(key, "blue-1:signal:r1");
        key_room_channel(key, "r1");
        assert_string_equal(key, "blue-1:room:r1");
        assert_string_equal(CHANNEL_POOL, "blue-1:pool");
        assert_string_equal(KEY_RELAYS, "blue-1:{relays}:all");
        assert_string_equal(KEY_SCHEMA, "blue-1:schema");
        assert_string_equal(KEY_MIGRATION, "blue-1:{blue-1:schema}:migration");
    }
}

static void a_database_is_in_the_channels_of_the_default_prefix_and_in_no_key(void **state)
{
    char key[KEY_MAX];

    (void)state;
    keys_init("sb:", 1000000);
    key_inbox(key, WID);
    assert_string_equal(key, "sb:db1000000/inbox:1f0c9a3e");
    key_presence(key, "r1");
    assert_string_equal(key, "sb:db1000000/signal:r1");
    key_room_channel(key, "r1");
    assert_string_equal(key, "sb:db1000000/room:r1");
    assert_string_equal(CHANNEL_POOL, "sb:db1000000/pool");
    key_peer(key, "alice");
    assert_string_equal(key, "sb:{peer:alice}");
    key_worker(key, WID);
    assert_string_equal(key, "sb:worker:1f0c9a3e");
    assert_string_equal(KEY_LEADER, "sb:leader");
}

static void a_name_that_does_not_fit_is_nobodys(void **state)
{
    char id[2 * KEY_MAX], key[KEY_MAX];

    (void)state;
    memset(id, 'x', sizeof(id));
    for (size_t len = KEY_MAX - strlen("sb:{peer:}") - 2; len < sizeof(id); len += KEY_MAX / 2) {
        bool fits = strlen("sb:{peer:}") + len < KEY_MAX;

        id[len] = '\0';
        key_peer(key, id);
        assert_int_equal(strlen(key), fits ? strlen("sb:{peer:}") + len : strlen("sb:{none}"));
        id[len] = 'x';
    }
}

/* What Redis Cluster hashes: between the first { and the first } behind it. */
static void tag_of(const char *key, char out[static KEY_MAX])
{
    const char *open = strchr(key, '{'), *close = open ? strchr(open, '}') : NULL;

    assert_non_null(close);
    snprintf(out, KEY_MAX, "%.*s", (int)(close - open - 1), open + 1);
    assert_true(*out);
}

static void what_one_script_touches_has_one_tag(void **state)
{
    static const char *const ids[] = {"p1", "a}b", "}", "{", "{}", "}{x}"};
    static const char *const groups[][6] = {
        {KEY_RELAYS, KEY_RELAYS_FREE, KEY_RELAYS_TOTALS},
        {KEY_DAYS, KEY_DAY_COUNTS, KEY_HOURS, KEY_HOUR_COUNTS},
        {KEY_ROOMS, KEY_ROOM_LOOKS},
        {KEY_SERVERS, KEY_SERVERS_SEEN},
        {KEY_POOL, KEY_POOL_AT, KEY_POOL_LOADS, KEY_POOL_SEEN, KEY_POOL_VERSION},
    };
    char key[KEY_MAX], first[KEY_MAX], second[KEY_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(ids); i++) {
        key_point(key, "day", ids[i]);
        tag_of(key, first);
        key_point_ends(key, "day", ids[i]);
        tag_of(key, second);
        assert_string_equal(first, second);
        key_chunk(key, ids[i], "data");
        tag_of(key, first);
        key_chunk(key, ids[i], "wait");
        tag_of(key, second);
        assert_string_equal(first, second);
        key_room(key, ids[i]);
        tag_of(key, first);
        key_room_peers(key, ids[i]);
        tag_of(key, second);
        assert_string_equal(first, second);
        key_reference(key, ids[i], ids[i], "");
        tag_of(key, first);
        key_reference(key, ids[i], ids[i], ":regions");
        tag_of(key, second);
        assert_string_equal(first, second);
        key_reference(key, ids[i], ids[i], ":00ff");
        tag_of(key, second);
        assert_string_equal(first, second);
    }
    for (size_t i = 0; i < COUNT(groups); i++) {
        tag_of(groups[i][0], first);
        for (size_t j = 1; groups[i][j]; j++) {
            tag_of(groups[i][j], second);
            assert_string_equal(first, second);
        }
    }
    key_owners(key, WID);
    tag_of(key, first);
    key_owned(key, WID, 7);
    tag_of(key, second);
    assert_string_equal(first, second);
    tag_of(KEY_MIGRATION, first);
    assert_string_equal(first, KEY_SCHEMA);
}

/* Ids hold no control characters, but any other: no two things may share a name. */
static void different_things_never_share_a_key(void **state)
{
    static const char *const pool[] = {KEY_POOL,      KEY_POOL_AT,      KEY_POOL_LOADS,
                                       KEY_POOL_SEEN, KEY_POOL_VERSION, CHANNEL_POOL};
    static const char *const ids[] = {"", "}", "}:at", "at", ":at"};
    char keys[23][KEY_MAX], key[KEY_MAX];

    (void)state;
    key_peer(keys[0], "x");
    key_point(keys[1], "day", "x");
    key_point(keys[2], "hour", "x");
    key_point_ends(keys[3], "day", "x");
    key_point_ends(keys[4], "hour", "x");
    key_owners(keys[5], WID);
    key_owned(keys[6], WID, 0);
    key_worker(keys[7], WID);
    key_room(keys[8], "x");
    key_room_peers(keys[9], "x");
    key_room_channel(keys[10], "x");
    key_room_peer(keys[11], "x");
    key_room_codes(keys[12], "x");
    key_presence(keys[13], "x");
    key_device(keys[14], "x");
    key_challenges(keys[15], "x");
    key_nonce(keys[16], "x");
    key_reference(keys[17], "x", "x", "");
    key_reference(keys[18], "x", "x", ":regions");
    key_reference(keys[19], "a:b", "c", "");
    key_reference(keys[20], "a", "b:c", "");
    key_pool_member(keys[21], "x");
    key_client(keys[22], "x");
    for (size_t i = 0; i < COUNT(keys); i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(keys[i], keys[j]);
    for (size_t i = 0; i < COUNT(pool); i++) {
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(pool[i], pool[j]);
        for (size_t j = 0; j < COUNT(ids); j++) {
            key_pool_member(key, ids[j]);
            assert_string_not_equal(key, pool[i]);
        }
    }
}

static int begin_with_the_default(void **state)
{
    (void)state;
    keys_init("sb:", 0);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, begin_with_the_default)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_key_has_its_name),
        TEST(an_id_stands_in_its_key_as_it_is),
        TEST(a_colon_in_a_version_is_escaped),
        TEST(the_longest_id_fits),
        TEST(the_longest_prefix_fits_before_every_fixed_name),
        TEST(all_names_begin_with_the_prefix),
        TEST(a_database_is_in_the_channels_of_the_default_prefix_and_in_no_key),
        TEST(a_name_that_does_not_fit_is_nobodys),
        TEST(what_one_script_touches_has_one_tag),
        TEST(different_things_never_share_a_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
