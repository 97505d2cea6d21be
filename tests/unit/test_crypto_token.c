/* SPDX-License-Identifier: MIT */
#include "crypto_keys.h"

#define NOW 1795257094759
#define TTL 3600000

static char *token_of(const char *device)
{
    return session_token_new(key, device, "1.2.3", "linux", NOW, TTL);
}

static bool verifies(const char *token, int64_t now)
{
    int64_t expires;

    return session_token_verify(signing_key_public(key), span_of(token), now, &expires);
}

/* A token of any payload, rightly signed. The caller frees it. */
static char *sign_payload(const char *payload)
{
    size_t room = sodium_base64_encoded_len(strlen(payload), sodium_base64_VARIANT_ORIGINAL);
    char *token = mem_alloc(room + SIGNATURE_TEXT_MAX);

    sodium_bin2base64(token, room, (const unsigned char *)payload, strlen(payload), sodium_base64_VARIANT_ORIGINAL);
    token[room - 1] = '.';
    sign_base64(key, span_of(payload), token + room);
    return token;
}

static void a_session_token_says_whose_it_is_and_holds_until_its_end(void **state)
{
    char *token = token_of("d1"), *expected;
    int64_t expires = 0;

    (void)state;
    expected = sign_payload("{\"device_id\":\"d1\",\"build_version\":\"1.2.3\",\"platform\":\"linux\","
                            "\"issued_at\":1795257094759,\"expires_at\":1795260694759}");
    assert_string_equal(token, expected);
    assert_true(session_token_verify(signing_key_public(key), span_of(token), NOW, &expires));
    assert_int_equal(expires, NOW + TTL);
    assert_true(verifies(token, NOW + TTL - 1));
    assert_false(verifies(token, NOW + TTL));
    assert_false(verifies(token, NOW + 10 * TTL));
    free(expected);
    free(token);
}

static void any_device_may_have_a_token(void **state)
{
    static const char *const rows[] = {
        "",
        "\"",
        "d\"quoted\"",
        "back\\slash\\",
        "{}",
        "a.b",
        "%s%n",
        "\",\"expires_at\":9999999999999,\"x\":\"",
        "caf\xc3\xa9 \xf0\x9f\x98\x80",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *token = token_of(rows[i]);
        int64_t expires = 0;

        assert_true(session_token_verify(signing_key_public(key), span_of(token), NOW, &expires));
        assert_int_equal(expires, NOW + TTL);
        free(token);
    }
}

static void a_token_that_was_changed_or_signed_by_another_does_not_count(void **state)
{
    char *token = token_of("d1"), *other = session_token_new(other_key, "d1", "1.2.3", "linux", NOW, TTL), *mixed;

    (void)state;
    assert_false(verifies(other, NOW));
    mixed = token_of("d2");
    memcpy(mixed, token, strcspn(token, "."));
    assert_false(verifies(mixed, NOW));
    for (size_t i = 0; token[i]; i++) {
        char was = token[i];
        token[i] = was == 'A' ? 'B' : 'A';
        assert_false(verifies(token, NOW));
        token[i] = was;
    }
    for (size_t len = 0; len < strlen(token); len++) {
        int64_t expires;
        assert_false(session_token_verify(signing_key_public(key), (struct span){token, len}, NOW, &expires));
    }
    assert_true(verifies(token, NOW));
    free(mixed);
    free(other);
    free(token);
}

static void what_is_no_token_does_not_count(void **state)
{
    static const char *const rows[] = {"", ".", "..", "a", "a.", ".a", "garbage", "{}.{}", "AAAA.AAAA", "\xff.\xff"};
    char *token = token_of("d1"), longer[1024];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_false(verifies(rows[i], NOW));
    assert_false(verifies(NULL, NOW));
    snprintf(longer, sizeof(longer), "%s.", token);
    assert_false(verifies(longer, NOW));
    snprintf(longer, sizeof(longer), " %s", token);
    assert_false(verifies(longer, NOW));
    token[strcspn(token, ".")] = '/';
    assert_false(verifies(token, NOW));
    free(token);
}

#define WHOSE "\"device_id\":\"d\",\"issued_at\":1,"

static void a_signed_payload_needs_a_whole_number_as_its_end(void **state)
{
    static const char *const rows[] = {
        "",
        "no JSON",
        "{}",
        "[1795260694759]",
        "{" WHOSE "\"expires_at\":null}",
        "{" WHOSE "\"expires_at\":\"1795260694759\"}",
        "{" WHOSE "\"expires_at\":1795260694759.5}",
        "{" WHOSE "\"expires_at\":1e999}",
        "{" WHOSE "\"expires_at\":-1}",
        "{" WHOSE "\"expires_at\":1795260694759}}",
        "{\"expires_at\":1795260694759}", /* as a build token may have it */
        "{\"device_id\":\"d\",\"expires_at\":1795260694759}",
        "{\"device_id\":1,\"issued_at\":1,\"expires_at\":1795260694759}",
        "{\"issued_at\":1,\"expires_at\":1795260694759}",
    };
    char *good = sign_payload("{" WHOSE "\"expires_at\":1795260694759}");

    (void)state;
    assert_true(verifies(good, NOW));
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *token = sign_payload(rows[i]);

        if (verifies(token, NOW))
            fail_msg("taken: %s", rows[i]);
        free(token);
    }
    free(good);
}

static void a_token_longer_than_any_is_not_looked_at(void **state)
{
    static char device[20000];

    (void)state;
    for (size_t len = 4000; len < sizeof(device); len += 2000) {
        char *token;

        memset(device, 'x', len);
        token = token_of(device);
        assert_int_equal(verifies(token, NOW), strlen(token) <= 8192);
        free(token);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_token_says_whose_it_is_and_holds_until_its_end),
        cmocka_unit_test(any_device_may_have_a_token),
        cmocka_unit_test(a_token_that_was_changed_or_signed_by_another_does_not_count),
        cmocka_unit_test(what_is_no_token_does_not_count),
        cmocka_unit_test(a_signed_payload_needs_a_whole_number_as_its_end),
        cmocka_unit_test(a_token_longer_than_any_is_not_looked_at),
    };

    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
