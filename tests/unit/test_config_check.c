/* SPDX-License-Identifier: MIT */
#include "config_loading.h"

#define SEED "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define PUBLIC_KEY "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static void ice_servers_are_addresses_of_their_own_scheme(void **state)
{
    static const struct {
        const char *name, *allowed, *bad[18];
    } rows[] = {
        {"STUN_SERVERS",
         "addresses such as stun:host:3478, separated by commas",
         {"stun", "stuns", "x", "stunx:a", "stunss:a", "xstun:a", "http://a", "a:3478", "//a", "stun/:a", ":a",
          "stun:a,b", "a,stun:b", "stun:a,,b", "stun:a, b", "turn:a", "turns:a", "stun:a,turn:b"}},
        {"TURN_SERVERS",
         "addresses such as turn:host:3478, separated by commas",
         {"turn", "turns", "x", "turnx:a", "turnss:a", "xturn:a", "http://a", "a:3478", "//a", "turn/:a", ":a",
          "turn:a,b", "a,turn:b", "turn:a,,b", "turn:a, b", "stun:a", "stuns:a", "turn:a,stun:b"}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t j = 0; j < COUNT(rows[i].bad); j++) {
            char wanted[256];

            setenv(rows[i].name, rows[i].bad[j], 1);
            if (load("") != CONFIG_BAD)
                fail_msg("%s: \"%s\" is taken", rows[i].name, rows[i].bad[j]);
            snprintf(wanted, sizeof(wanted), "%s must be %s, not \"%s\"", rows[i].name, rows[i].allowed,
                     rows[i].bad[j]);
            assert_string_equal(problem, wanted);
        }
        unsetenv(rows[i].name);
    }
    setenv("STUN_SERVERS", "stun:a:3478, stuns:b", 1);
    assert_int_equal(load(""), CONFIG_OK);
    assert_string_equal(config->stun_servers, "stun:a:3478, stuns:b");
}

static void a_prefix_has_nothing_that_a_pattern_or_a_cluster_reads(void **state)
{
    static const char *const good[] = {"x", "sb:", "blue-1:", "_", "ABCDEFGHIJKLMNOPQRSTUVWXYZ:-_789"};
    static const char *const bad[] = {" ",   "a b", "a*", "a?",  "[a]",      "{a}",
                                      "a/b", "a\\", "a&", "a\n", "\xc3\xa9", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456"};
    char wanted[128];

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        setenv("REDIS_PREFIX", good[i], 1);
        assert_int_equal(load(""), CONFIG_OK);
        assert_string_equal(config->redis_prefix, good[i]);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        setenv("REDIS_PREFIX", bad[i], 1);
        assert_int_equal(load(""), CONFIG_BAD);
        snprintf(wanted, sizeof(wanted), "REDIS_PREFIX must be 1 to 32 letters, digits, :, - or _, not \"%s\"", bad[i]);
        assert_string_equal(problem, wanted);
    }
    unsetenv("REDIS_PREFIX");
}

static void a_name_of_redis_is_no_longer_than_names_of_hosts_are(void **state)
{
    char name[255];

    (void)state;
    memset(name, 'x', sizeof(name));
    name[254] = '\0';
    setenv("REDIS_SERVER_NAME", name, 1);
    assert_int_equal(load(""), CONFIG_BAD);
    assert_non_null(strstr(problem, "REDIS_SERVER_NAME must be a host name or an IP address, of up to 253 bytes"));
    setenv("REDIS_SERVER_NAME", name + 1, 1);
    assert_int_equal(load(""), CONFIG_OK);
    unsetenv("REDIS_SERVER_NAME");
}

static void a_malformed_key_is_named_and_no_secret_is_shown(void **state)
{
    static const struct {
        const char *name, *value, *problem;
    } rows[] = {
        {"BOOTSTRAP_SIGNING_KEY", "s3cret", "BOOTSTRAP_SIGNING_KEY must be 64 hexadecimal digits"},
        {"BOOTSTRAP_SIGNING_KEY", SEED "0", "BOOTSTRAP_SIGNING_KEY must be 64 hexadecimal digits"},
        {"BOOTSTRAP_SIGNING_KEY", &SEED[1], "BOOTSTRAP_SIGNING_KEY must be 64 hexadecimal digits"},
        {"BOOTSTRAP_SIGNING_KEY", " " SEED, "BOOTSTRAP_SIGNING_KEY must be 64 hexadecimal digits"},
        {"BOOTSTRAP_SIGNING_KEY", PUBLIC_KEY, "BOOTSTRAP_SIGNING_KEY must be 64 hexadecimal digits"},
        {"ATTESTATION_SIGNING_KEY", "s3cret",
         "ATTESTATION_SIGNING_KEY must be 64 hexadecimal digits, and given where REQUIRE_ATTESTATION is not off"},
        {"ATTESTATION_SIGNING_KEY", &SEED[2],
         "ATTESTATION_SIGNING_KEY must be 64 hexadecimal digits, and given where REQUIRE_ATTESTATION is not off"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        setenv(rows[i].name, rows[i].value, 1);
        assert_int_equal(load(""), CONFIG_BAD);
        assert_string_equal(problem, rows[i].problem);
        assert_null(strstr(problem, rows[i].value));
        unsetenv(rows[i].name);
    }
}

static void a_malformed_public_key_is_named(void **state)
{
    static const char *const rows[] = {"x", SEED, &PUBLIC_KEY[4], "A" PUBLIC_KEY, PUBLIC_KEY "\n"};
    static const char start[] = "BUILD_TOKEN_VERIFY_KEY must be the base64 of 32 bytes";

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        setenv("BUILD_TOKEN_VERIFY_KEY", rows[i], 1);
        assert_int_equal(load(""), CONFIG_BAD);
        assert_string_equal(problem, start);
    }
}

static void what_needs_a_key_or_a_secret_does_not_start_without(void **state)
{
    static const struct {
        const char *flags, *name, *value, *problem;
    } rows[] = {
        {"--server-registration=secret", "SERVER_REGISTRATION_SECRET", "s3cret",
         "SERVER_REGISTRATION_SECRET must be given where SERVER_REGISTRATION is secret"},
        {"--require-attestation=chunks", "ATTESTATION_SIGNING_KEY", SEED,
         "ATTESTATION_SIGNING_KEY must be 64 hexadecimal digits, and given where REQUIRE_ATTESTATION is not off"},
        {"--require-attestation=all", "ATTESTATION_SIGNING_KEY", SEED,
         "ATTESTATION_SIGNING_KEY must be 64 hexadecimal digits, and given where REQUIRE_ATTESTATION is not off"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(load(rows[i].flags), CONFIG_BAD);
        assert_string_equal(problem, rows[i].problem);
        setenv(rows[i].name, "", 1);
        assert_int_equal(load(rows[i].flags), CONFIG_BAD);
        setenv(rows[i].name, rows[i].value, 1);
        assert_int_equal(load(rows[i].flags), CONFIG_OK);
        unsetenv(rows[i].name);
    }
}

static void in_production_somebody_has_said_who_registers_servers(void **state)
{
    static const char *const good[] = {"", "--environment=production --protocols=relay,rooms",
                                       "--environment=production --server-registration=open",
                                       "--environment=production --server-registration=signed"};
    static const char *const bad[] = {"--environment=production", "--environment=production --protocols=relay,registry",
                                      "--environment=production --server-registration=unset"};

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        assert_int_equal(load(good[i]), CONFIG_OK);
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(load(bad[i]), CONFIG_BAD);
        assert_string_equal(problem, "SERVER_REGISTRATION must be open, secret or signed where ENVIRONMENT is "
                                     "production and the registry is one of PROTOCOLS");
    }
}

static void keys_that_are_well_formed_are_taken(void **state)
{
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"BOOTSTRAP_SIGNING_KEY", SEED},
        {"ATTESTATION_SIGNING_KEY", SEED},
        {"ATTESTATION_SIGNING_KEY", "9D61B19DEFFD5A60BA844AF492EC2CC44449C5697B326919703BAC031CAE7F60"},
        {"BUILD_TOKEN_VERIFY_KEY", PUBLIC_KEY},
        {"SERVER_REGISTRATION_SECRET", "s3cret"},
        {"CI_UPLOAD_SECRET", "s3cret"},
    };
    char path[32];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        setenv(rows[i].name, rows[i].value, 1);
        if (load("--server-registration=signed") != CONFIG_OK)
            fail_msg("%s: %s", rows[i].name, problem);
    }
    assert_string_equal(config->bootstrap_signing_key, SEED);
    assert_string_equal(config->build_token_verify_key, PUBLIC_KEY);
    assert_int_equal(config->server_registration, REGISTRATION_SIGNED);
    assert_int_equal(config->require_attestation, ATTESTATION_OFF);

    unsetenv("ATTESTATION_SIGNING_KEY");
    setenv("ATTESTATION_SIGNING_KEY_FILE", write_file(path, SEED "\n", 65), 1);
    assert_int_equal(load("--require-attestation=all"), CONFIG_OK);
    assert_string_equal(config->attestation_signing_key, SEED);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEAN(ice_servers_are_addresses_of_their_own_scheme),
        CLEAN(a_prefix_has_nothing_that_a_pattern_or_a_cluster_reads),
        CLEAN(a_name_of_redis_is_no_longer_than_names_of_hosts_are),
        CLEAN(a_malformed_key_is_named_and_no_secret_is_shown),
        CLEAN(a_malformed_public_key_is_named),
        CLEAN(what_needs_a_key_or_a_secret_does_not_start_without),
        CLEAN(in_production_somebody_has_said_who_registers_servers),
        CLEAN(keys_that_are_well_formed_are_taken),
    };

    return cmocka_run_group_tests(tests, begin_sodium, NULL);
}
