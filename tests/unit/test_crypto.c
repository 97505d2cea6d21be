/* SPDX-License-Identifier: MIT */
#include "crypto_keys.h"

#define BYTES_MAX 256

static size_t read_hex(const char *hex, unsigned char out[static BYTES_MAX])
{
    size_t len;

    assert_int_equal(sodium_hex2bin(out, BYTES_MAX, hex, strlen(hex), NULL, &len, NULL), 0);
    return len;
}

static struct span hex_span(const char *hex, unsigned char out[static BYTES_MAX])
{
    size_t len = read_hex(hex, out);

    return (struct span){(const char *)out, len};
}

static char *base64_of(const void *bytes, size_t len, char out[static 2 * BYTES_MAX])
{
    return sodium_bin2base64(out, 2 * BYTES_MAX, bytes, len, sodium_base64_VARIANT_ORIGINAL);
}

/* RFC 8032 section 7.1: TEST 1, TEST 2, TEST 3 and TEST SHA(abc). */
static void keys_and_signatures_are_those_of_rfc_8032(void **state)
{
    static const struct {
        const char *seed, *public, *text, *signature;
    } rows[] = {
        {SEED, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
         "d25bf5f0595bbe24655141438e7a100b"},
        {OTHER_SEED, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
         "387b2eaeb4302aeeb00d291612bb0c00"},
        {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
         "4a7c15e9716ed28dc027beceea1ec40a"},
        {"833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
         "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
         "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd"
         "454d4423643ce80e2a9ac94fa54ca49f",
         "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030"
         "3dca179c138ac17ad9bef1177331a704"},
    };
    unsigned char public[BYTES_MAX], text[BYTES_MAX], signature[BYTES_MAX];
    char expected[2 * BYTES_MAX], got[SIGNATURE_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct signing_key *k = signing_key_new(rows[i].seed);
        struct span signed_text = hex_span(rows[i].text, text);

        assert_non_null(k);
        assert_int_equal(read_hex(rows[i].public, public), PUBLIC_KEY_LEN);
        assert_memory_equal(signing_key_public(k), public, PUBLIC_KEY_LEN);
        sign_base64(k, signed_text, got);
        assert_string_equal(got, base64_of(signature, read_hex(rows[i].signature, signature), expected));
        assert_true(signature_verify(public, signed_text, span_of(got)));
        signing_key_free(k);
    }
}

static void a_seed_is_64_hexadecimal_digits_and_nothing_else(void **state)
{
    static const char *const bad[] = {
        "",
        "9d",
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f6",
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f600",
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f6000",
        "gd61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f6g",
        "9d61b19deffd5a60ba844af492ec2cc4 449c5697b326919703bac031cae7f60",
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\n",
        "0x61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "9d:1b:9d:ff:5a:0b:84:af:92:c2:c4:49:56:7b:26:19:03:ac:31:ae:f6:0",
    };
    struct signing_key *k;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (signing_key_new(bad[i]))
            fail_msg("taken: \"%s\"", bad[i]);
    }
    k = signing_key_new("9D61B19DEFFD5A60BA844AF492EC2CC44449C5697B326919703BAC031CAE7F60");
    assert_non_null(k);
    assert_memory_equal(signing_key_public(k), signing_key_public(key), PUBLIC_KEY_LEN);
    signing_key_free(k);
}

static void a_public_key_is_the_base64_of_32_bytes(void **state)
{
    static const char *const bad[] = {
        "",
        "=",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo==",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=x",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n",
        " 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        "11qYAYKxCrfVS/7TyWQHOg 7hcvPapiMlrwIaaPcHURo=",
        "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURp=",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHUQ==",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURoA",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    };
    unsigned char out[PUBLIC_KEY_LEN];

    (void)state;
    assert_true(public_key_read(SPAN("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="), out));
    assert_memory_equal(out, signing_key_public(key), PUBLIC_KEY_LEN);
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (public_key_read(span_of(bad[i]), out))
            fail_msg("taken: \"%s\"", bad[i]);
    }
    assert_false(public_key_read(span_of(NULL), out));
    assert_false(public_key_read(SPAN("11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\0"), out));
}

static void a_signature_counts_for_its_text_and_key_alone(void **state)
{
    unsigned char public[PUBLIC_KEY_LEN], bytes[BYTES_MAX];
    char signature[SIGNATURE_TEXT_MAX], text[] = "what was signed", base64[2 * BYTES_MAX];
    size_t len;

    (void)state;
    sign_base64(key, span_of(text), signature);
    memcpy(public, signing_key_public(key), sizeof(public));
    assert_true(signature_verify(public, span_of(text), span_of(signature)));
    assert_false(signature_verify(signing_key_public(other_key), span_of(text), span_of(signature)));
    assert_false(signature_verify(public, span_of(NULL), span_of(signature)));
    for (size_t bit = 0; bit < 8 * strlen(text); bit += 7) {
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        assert_false(signature_verify(public, span_of(text), span_of(signature)));
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
    }
    sodium_base642bin(bytes, sizeof(bytes), signature, strlen(signature), NULL, &len, NULL,
                      sodium_base64_VARIANT_ORIGINAL);
    assert_int_equal(len, 64);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1 << bit % 8);
        assert_false(signature_verify(public, span_of(text), span_of(base64_of(bytes, len, base64))));
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1 << bit % 8);
    }
    assert_true(signature_verify(public, span_of(text), span_of(base64_of(bytes, len, base64))));
}

static void what_is_not_the_base64_of_64_bytes_is_no_signature(void **state)
{
    unsigned char bytes[65] = {0};
    char signature[SIGNATURE_TEXT_MAX], longer[SIGNATURE_TEXT_MAX + 1], base64[2 * BYTES_MAX];

    (void)state;
    sign_base64(key, SPAN("text"), signature);
    for (size_t len = 0; len < strlen(signature); len++)
        assert_false(signature_verify(signing_key_public(key), SPAN("text"), (struct span){signature, len}));
    assert_false(signature_verify(signing_key_public(key), SPAN("text"), span_of(NULL)));
    for (const char *end = "= \nA."; *end; end++) {
        snprintf(longer, sizeof(longer), "%s%c", signature, *end);
        assert_false(signature_verify(signing_key_public(key), SPAN("text"), span_of(longer)));
    }
    for (size_t len = 63; len <= sizeof(bytes); len++)
        assert_false(signature_verify(signing_key_public(key), SPAN("text"), span_of(base64_of(bytes, len, base64))));
}

/* With such a key, anybody could sign (RFC 8032 section 5.1.7, and the points of small order). */
static void a_public_key_of_zeros_verifies_nothing(void **state)
{
    static const unsigned char zeros[64];
    char base64[2 * BYTES_MAX];

    (void)state;
    assert_false(signature_verify(zeros, SPAN("text"), span_of(base64_of(zeros, sizeof(zeros), base64))));
}

/* RFC 4231 section 4, but the fifth, which is cut short. */
static void hmacs_are_those_of_rfc_4231(void **state)
{
    static const struct {
        const char *key;
        size_t times;
        struct span text;
        const char *hmac;
    } rows[] = {
        {"0b", 20, {"Hi There", 8}, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"4a656665",
         1,
         {"what do ya want for nothing?", 28},
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {"aa",
         20,
         {"\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd"
          "\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd",
          50},
         "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {"0102030405060708090a0b0c0d0e0f10111213141516171819",
         1,
         {"\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd"
          "\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd",
          50},
         "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
        {"aa",
         131,
         {"Test Using Larger Than Block-Size Key - Hash Key First", 54},
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {"aa",
         131,
         {"This is a test using a larger than block-size key and a larger than block-size data. The key needs to "
          "be hashed before being used by the HMAC algorithm.",
          152},
         "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
    };
    unsigned char bytes[BYTES_MAX];
    char hex[2 * BYTES_MAX], hmac[HMAC_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = 0;

        hex[0] = '\0';
        for (size_t n = 0; n < rows[i].times; n++)
            len += (size_t)snprintf(hex + len, sizeof(hex) - len, "%s", rows[i].key);
        hmac_hex(hex_span(hex, bytes), rows[i].text, hmac);
        assert_string_equal(hmac, rows[i].hmac);
    }
    hmac_hex(span_of(NULL), span_of(NULL), hmac);
    assert_string_equal(hmac, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* RFC 2202 section 3, with its digests in hex as they stand there. */
static void hmacs_for_turn_are_those_of_rfc_2202(void **state)
{
    static const struct {
        const char *key;
        size_t times;
        struct span text;
        const char *digest;
    } rows[] = {
        {"0b", 20, {"Hi There", 8}, "b617318655057264e28bc0b6fb378c8ef146be00"},
        {"4a656665", 1, {"what do ya want for nothing?", 28}, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
        {"aa",
         20,
         {"\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd"
          "\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd\xdd",
          50},
         "125d7342b9ac11cd91a39af48aa17b4f63f175d3"},
        {"0102030405060708090a0b0c0d0e0f10111213141516171819",
         1,
         {"\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd"
          "\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd\xcd",
          50},
         "4c9007f4026250c6bc8414f9bf50c86c2d7235da"},
        {"0c", 20, {"Test With Truncation", 20}, "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04"},
        {"aa",
         80,
         {"Test Using Larger Than Block-Size Key - Hash Key First", 54},
         "aa4ae5e15272d00e95705637ce8a3b55ed402112"},
        {"aa",
         80,
         {"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data", 73},
         "e8e99d0f45237d786d6bbaa7965c7808bbff1a91"},
    };
    unsigned char bytes[BYTES_MAX];
    char hex[2 * BYTES_MAX], expected[2 * BYTES_MAX], hmac[HMAC_SHA1_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = 0;

        hex[0] = '\0';
        for (size_t n = 0; n < rows[i].times; n++)
            len += (size_t)snprintf(hex + len, sizeof(hex) - len, "%s", rows[i].key);
        hmac_sha1_base64(hex_span(hex, bytes), rows[i].text, hmac);
        assert_string_equal(hmac, base64_of(bytes, read_hex(rows[i].digest, bytes), expected));
    }
}

/* draft-uberti-behave-turn-rest-00 names no secret with its examples: computed with another implementation. */
static void a_turn_credential_is_the_base64_of_its_hmac(void **state)
{
    char hmac[HMAC_SHA1_TEXT_MAX], key_64[65], key_65[66];

    (void)state;
    hmac_sha1_base64(SPAN("s3cret"), SPAN("1795343494:00ff00ff00ff00ff"), hmac);
    assert_string_equal(hmac, "WjVAL8hFQY2CbB0fcDeAAKOSUSw=");
    memset(key_64, 'k', 64);
    key_64[64] = '\0';
    memset(key_65, 'k', 65);
    key_65[65] = '\0';
    hmac_sha1_base64(span_of(key_64), SPAN("x"), hmac);
    assert_string_equal(hmac, "LDHq32jZupca0pM50oznJbA8EfY=");
    hmac_sha1_base64(span_of(key_65), SPAN("x"), hmac);
    assert_string_equal(hmac, "cgmsp17GgIcXJf0wmqaJdGZ329Q=");
    hmac_sha1_base64(span_of(NULL), span_of(NULL), hmac);
    assert_string_equal(hmac, "+9sdGxiqbAgyS31ktx+3Y3BpDh0=");
}

static void a_nonce_is_64_hexadecimal_digits_and_never_the_same(void **state)
{
    char nonces[8][NONCE_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(nonces); i++) {
        nonce_new(nonces[i]);
        assert_int_equal(strlen(nonces[i]), 64);
        assert_int_equal(strspn(nonces[i], "0123456789abcdef"), 64);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(nonces[i], nonces[j]);
    }
}

static void only_the_secret_itself_equals_it(void **state)
{
    static const struct {
        struct span given;
        const char *secret;
        bool equal;
    } rows[] = {
        {{"s3cret", 6}, "s3cret", true},
        {{"s3creT", 6}, "s3cret", false},
        {{"S3cret", 6}, "s3cret", false},
        {{"s3cre", 5}, "s3cret", false},
        {{"s3cret", 5}, "s3cre", true},
        {{"s3cret ", 7}, "s3cret", false},
        {{"s3cret", 6}, "s3crets", false},
        {{"", 0}, "s3cret", false},
        {{NULL, 0}, "s3cret", false},
        {{"s3cret\0", 7}, "s3cret", false},
        {{"s", 1}, "", false},
        {{"", 0}, "", true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(secret_equals(rows[i].given, rows[i].secret), rows[i].equal);
}

static void versions_compare_as_three_numbers(void **state)
{
    static const struct {
        const char *a, *b;
        int sign;
    } rows[] = {
        {"1.0", "1.0.0", 0},
        {"1", "1.0.0", 0},
        {"1.2.3", "1.2.3", 0},
        {"1.2.3.4", "1.2.3", 0},
        {"1.2.3.4", "1.2.3.5", 0},
        {"01.002", "1.2", 0},
        {"", "", 0},
        {"", "0", 0},
        {"", "0.0.0", 0},
        {"abc", "0", 0},
        {"abc", "xyz", 0},
        {"-1", "0", 0},
        {"v2.0", "0.0", 0},
        {".", "0", 0},
        {"...", "0", 0},
        {"1..3", "1.0.3", 0},
        {"1.2.3-beta", "1.2.0", 0},
        {"1.10", "1.9", 1},
        {"1.9.9", "1.10.0", -1},
        {"2", "1.9.9", 1},
        {"1.0.1", "1.0", 1},
        {"0.0.1", "", 1},
        {"1.x.3", "1.0.2", 1},
        {"1.0.0", "1.0.0.9", 0},
        {"4294967296", "1", 1},
        {"9223372036854775808", "9223372036854775807", 1},
        {"99999999999999999999999999999999", "1", 1},
        {"1.99999999999999999999999999999999.0", "1.2.0", 1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int there = version_compare(rows[i].a, rows[i].b), back = version_compare(rows[i].b, rows[i].a);

        if ((there > 0) - (there < 0) != rows[i].sign || (back > 0) - (back < 0) != -rows[i].sign)
            fail_msg("\"%s\" and \"%s\": %d", rows[i].a, rows[i].b, there);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_signatures_are_those_of_rfc_8032),
        cmocka_unit_test(a_seed_is_64_hexadecimal_digits_and_nothing_else),
        cmocka_unit_test(a_public_key_is_the_base64_of_32_bytes),
        cmocka_unit_test(a_signature_counts_for_its_text_and_key_alone),
        cmocka_unit_test(what_is_not_the_base64_of_64_bytes_is_no_signature),
        cmocka_unit_test(a_public_key_of_zeros_verifies_nothing),
        cmocka_unit_test(hmacs_are_those_of_rfc_4231),
        cmocka_unit_test(hmacs_for_turn_are_those_of_rfc_2202),
        cmocka_unit_test(a_turn_credential_is_the_base64_of_its_hmac),
        cmocka_unit_test(a_nonce_is_64_hexadecimal_digits_and_never_the_same),
        cmocka_unit_test(only_the_secret_itself_equals_it),
        cmocka_unit_test(versions_compare_as_three_numbers),
    };

    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
