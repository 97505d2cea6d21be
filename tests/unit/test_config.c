/* SPDX-License-Identifier: MIT */
#include "config_loading.h"

#include <ctype.h>

#define SEED "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define PUBLIC_KEY "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static char *print(void (*printer)(FILE *))
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    printer(out);
    fclose(out);
    return text;
}

static void nothing_given_means_the_defaults(void **state)
{
    (void)state;
    assert_int_equal(load(""), CONFIG_OK);
    assert_string_equal(config->host, "0.0.0.0");
    assert_int_equal(config->port, 8080);
    assert_string_equal(config->processes, "1");
    assert_string_equal(config->redis_url, "");
    assert_string_equal(config->log_level, "");
    assert_string_equal(config->cors_origins, "*");
    assert_int_equal(config->environment, ENVIRONMENT_DEVELOPMENT);
    assert_int_equal(config->log_format, LOG_FORMAT_JSON);
    assert_int_equal(config->dead_drops_on_disconnect, DEAD_DROPS_REMOVE);
    assert_int_equal(config->daily_ttl_ms, 172800000);
    assert_string_equal(config->worker_shared_key, "");
    assert_string_equal(config->worker_allow, "");
    assert_int_equal(config->worker_health_timeout, 1000);
    assert_int_equal(config->consistent_hash_replicas, 150);
    assert_string_equal(config->stun_servers, "");
    assert_string_equal(config->turn_servers, "");
    assert_string_equal(config->turn_secret, "");
    assert_int_equal(config->turn_ttl_seconds, 86400);
}

static void the_environment_sets_and_a_flag_wins(void **state)
{
    (void)state;
    setenv("PORT", "9001", 1);
    setenv("HOST", "::1", 1);
    setenv("ENVIRONMENT", "production", 1);
    setenv("SERVER_REGISTRATION", "open", 1);
    assert_int_equal(load("--port 9002 --log-format=text"), CONFIG_OK);
    assert_int_equal(config->port, 9002);
    assert_string_equal(config->host, "::1");
    assert_int_equal(config->environment, ENVIRONMENT_PRODUCTION);
    assert_int_equal(config->log_format, LOG_FORMAT_TEXT);
}

static void an_empty_variable_counts_as_unset_and_an_empty_flag_does_not(void **state)
{
    (void)state;
    setenv("PORT", "", 1);
    setenv("HOST", "", 1);
    assert_int_equal(load("--cors-origins="), CONFIG_OK);
    assert_int_equal(config->port, 8080);
    assert_string_equal(config->host, "0.0.0.0");
    assert_string_equal(config->cors_origins, "");
}

static void flags_take_both_spellings_and_the_last_one_wins(void **state)
{
    (void)state;
    assert_int_equal(load("--host=a=b --port 1 --port=2 --node-id --x"), CONFIG_OK);
    assert_string_equal(config->host, "a=b");
    assert_int_equal(config->port, 2);
    assert_string_equal(config->node_id, "--x");
}

static void loading_again_starts_from_the_defaults(void **state)
{
    (void)state;
    assert_int_equal(load("--port 9002 --host ::1"), CONFIG_OK);
    assert_int_equal(load(""), CONFIG_OK);
    assert_int_equal(config->port, 8080);
    assert_string_equal(config->host, "0.0.0.0");
}

static void values_at_the_edge_of_what_is_allowed_are_taken(void **state)
{
    static const char *const rows[] = {
        "--port=0",
        "--port=65535",
        "--port=0080",
        "--processes=1",
        "--processes=256",
        "--processes=auto",
        "--log-level=debug",
        "--log-level=",
        "--log-level=error",
        "--message-rate=0",
        "--port=0 --processes=1",
        "--daily-ttl-ms=604800000",
        "--port=1 --processes=2",
        "--trusted-proxies=",
        "--trusted-proxies=10.0.0.0/8,::1",
        "--dead-drops-on-disconnect=keep",
        "--worker-allow=",
        "--worker-allow=10.0.0.0/8,2001:db8::/32,::1",
        "--worker-health-timeout=10",
        "--worker-health-timeout=3600000",
        "--consistent-hash-replicas=1",
        "--consistent-hash-replicas=10000",
        "--stun-servers=",
        "--stun-servers=stun:stun.example.org",
        "--stun-servers=stun:a:3478,stuns:b:5349,stun:[2001:db8::1]:3478,stun:203.0.113.9",
        "--turn-servers=",
        "--turn-servers=turn:turn.example.org",
        "--turn-servers=turn:a:3478?transport=udp,turns:b:5349?transport=tcp,turn:[2001:db8::1]",
        "--turn-ttl-seconds=1",
        "--turn-ttl-seconds=31536000",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (load(rows[i]) != CONFIG_OK)
            fail_msg("%s: %s", rows[i], problem);
    }
}

static void a_bad_value_is_named_with_what_is_allowed(void **state)
{
    static const struct {
        const char *flags, *problem;
    } rows[] = {
        {"--port=abc", "PORT must be a whole number from 0 to 65535, not \"abc\""},
        {"--port=65536", "PORT must be a whole number from 0 to 65535, not \"65536\""},
        {"--port=-1", "PORT must be a whole number from 0 to 65535, not \"-1\""},
        {"--port=", "PORT must be a whole number from 0 to 65535, not \"\""},
        {"--port=-", "PORT must be a whole number from 0 to 65535, not \"-\""},
        {"--port=+80", "PORT must be a whole number from 0 to 65535, not \"+80\""},
        {"--port=80.5", "PORT must be a whole number from 0 to 65535, not \"80.5\""},
        {"--port=0x50", "PORT must be a whole number from 0 to 65535, not \"0x50\""},
        {"--port=18446744073709551696", "PORT must be a whole number from 0 to 65535, not \"18446744073709551696\""},
        {"--daily-ttl-ms=604800001", "DAILY_TTL_MS must be a whole number from 1 to 604800000, not \"604800001\""},
        {"--environment=prod", "ENVIRONMENT must be development or production, not \"prod\""},
        {"--environment=Production", "ENVIRONMENT must be development or production, not \"Production\""},
        {"--environment=development|production",
         "ENVIRONMENT must be development or production, not \"development|production\""},
        {"--environment=", "ENVIRONMENT must be development or production, not \"\""},
        {"--processes=0", "PROCESSES must be auto or a whole number from 1 to 256, not \"0\""},
        {"--processes=257", "PROCESSES must be auto or a whole number from 1 to 256, not \"257\""},
        {"--processes=1x", "PROCESSES must be auto or a whole number from 1 to 256, not \"1x\""},
        {"--processes=", "PROCESSES must be auto or a whole number from 1 to 256, not \"\""},
        {"--port=0 --processes=2", "PORT must be from 1 to 65535 where PROCESSES is not 1, not \"0\""},
        {"--port=0 --processes=auto", "PORT must be from 1 to 65535 where PROCESSES is not 1, not \"0\""},
        {"--log-level=loud", "LOG_LEVEL must be empty, debug, info, warning or error, not \"loud\""},
        {"--trusted-proxies=10.0.0.0/99",
         "TRUSTED_PROXIES must be address ranges such as 10.0.0.0/8, separated by commas, not \"10.0.0.0/99\""},
        {"--tls-cert=chain.pem", "TLS_KEY must be given where TLS_CERT is, and only there"},
        {"--tls-key=key.pem", "TLS_KEY must be given where TLS_CERT is, and only there"},
        {"--worker-allow=10.0.0.0/99",
         "WORKER_ALLOW must be address ranges such as 10.0.0.0/8, separated by commas, not \"10.0.0.0/99\""},
        {"--worker-allow=localhost",
         "WORKER_ALLOW must be address ranges such as 10.0.0.0/8, separated by commas, not \"localhost\""},
        {"--worker-allow=10.0.0.0/8,",
         "WORKER_ALLOW must be address ranges such as 10.0.0.0/8, separated by commas, not \"10.0.0.0/8,\""},
        {"--worker-health-timeout=9", "WORKER_HEALTH_TIMEOUT must be a whole number from 10 to 3600000, not \"9\""},
        {"--consistent-hash-replicas=0", "CONSISTENT_HASH_REPLICAS must be a whole number from 1 to 10000, not \"0\""},
        {"--consistent-hash-replicas=10001",
         "CONSISTENT_HASH_REPLICAS must be a whole number from 1 to 10000, not \"10001\""},
        {"--turn-ttl-seconds=0", "TURN_TTL_SECONDS must be a whole number from 1 to 31536000, not \"0\""},
        {"--worker-shared-key=s3cret", "unknown option --worker-shared-key; see --help"},
        {"--turn-secret=s3cret", "unknown option --turn-secret; see --help"},
        {"--x", "unknown option --x; see --help"},
        {"--x=secret", "unknown option --x; see --help"},
        {"--por=1", "unknown option --por; see --help"},
        {"--port1=1", "unknown option --port1; see --help"},
        {"--PORT=1", "unknown option --PORT; see --help"},
        {"serve", "unknown option serve; see --help"},
        {"--redis-url=redis://u:secret@h", "unknown option --redis-url; see --help"},
        {"--redis-url redis://u:secret@h", "unknown option --redis-url; see --help"},
        {"--check-redis=1", "unknown option --check-redis; see --help"},
        {"--check-redis --port=x", "PORT must be a whole number from 0 to 65535, not \"x\""},
        {"--host a --port", "--port needs a value; see --help"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(load(rows[i].flags), CONFIG_BAD);
        assert_string_equal(problem, rows[i].problem);
    }
}

static void the_secrets_of_the_front_server_come_from_files_too(void **state)
{
    char path[32];

    (void)state;
    setenv("WORKER_SHARED_KEY_FILE", write_file(path, "s3cret of the pool\n", 19), 1);
    setenv("TURN_SECRET", "s3cret of turn", 1);
    assert_int_equal(load(""), CONFIG_OK);
    assert_string_equal(config->worker_shared_key, "s3cret of the pool");
    assert_string_equal(config->turn_secret, "s3cret of turn");
    unlink(path);
}

static void a_very_long_value_does_not_overrun_the_problem(void **state)
{
    char value[2000], *argv[] = {"signalbox-worker", value, NULL};

    (void)state;
    memset(value, 'x', sizeof(value));
    value[sizeof(value) - 1] = '\0';
    assert_int_equal(config_load(2, argv, problem), CONFIG_BAD);
    assert_string_equal(problem + strlen(problem) - strlen("; see --help"), "; see --help");
    memcpy(value, "--trusted-proxies=", strlen("--trusted-proxies="));
    assert_int_equal(config_load(2, argv, problem), CONFIG_BAD);
    assert_int_equal(problem[strlen(problem) - 1], '"');
}

static void help_and_version_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(load("--help"), CONFIG_HELP);
    assert_int_equal(load("--version"), CONFIG_VERSION);
    assert_int_equal(load("--port abc --help"), CONFIG_HELP);
    assert_int_equal(load("--node-id --help"), CONFIG_OK);
}

static void a_check_of_redis_takes_the_options_of_a_worker(void **state)
{
    (void)state;
    assert_int_equal(load("--check-redis --port=81 --check-redis --host h"), CONFIG_CHECK_REDIS);
    assert_int_equal(config->port, 81);
    assert_string_equal(config->host, "h");
    assert_int_equal(load("--check-redis --help"), CONFIG_HELP);
}

static void a_secret_comes_from_the_environment_before_its_file(void **state)
{
    char path[32];

    (void)state;
    setenv("REDIS_URL_FILE", write_file(path, "redis://file", 12), 1);
    setenv("REDIS_URL", "redis://environment", 1);
    assert_int_equal(load(""), CONFIG_OK);
    assert_string_equal(config->redis_url, "redis://environment");
    setenv("REDIS_URL", "", 1);
    assert_int_equal(load(""), CONFIG_OK);
    assert_string_equal(config->redis_url, "redis://file");
    unlink(path);
}

static void the_newline_at_the_end_of_a_secret_file_is_stripped(void **state)
{
    static const struct {
        const char *content, *secret;
    } rows[] = {
        {"key\n", "key"}, {"key\r\n", "key"}, {"key", "key"}, {" a\nb \n", " a\nb "}, {"\n", ""}, {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char path[32];
        setenv("REDIS_URL_FILE", write_file(path, rows[i].content, strlen(rows[i].content)), 1);
        assert_int_equal(load(""), CONFIG_OK);
        assert_string_equal(config->redis_url, rows[i].secret);
        unlink(path);
    }
}

static void a_secret_file_that_cannot_be_used_is_named_without_its_content(void **state)
{
    static char big[70000];
    char path[32];

    (void)state;
    setenv("REDIS_URL_FILE", "/nonexistent/url", 1);
    assert_int_equal(load(""), CONFIG_BAD);
    assert_string_equal(problem, "REDIS_URL_FILE must name a file that can be read, not \"/nonexistent/url\": "
                                 "No such file or directory");
    setenv("REDIS_URL_FILE", "/tmp", 1);
    assert_int_equal(load(""), CONFIG_BAD);
    assert_non_null(strstr(problem, "\"/tmp\": Is a directory"));

    memset(big, 's', sizeof(big));
    setenv("REDIS_URL_FILE", write_file(path, big, sizeof(big)), 1);
    assert_int_equal(load(""), CONFIG_BAD);
    assert_non_null(strstr(problem, path));
    assert_null(strstr(problem, "ssss"));
    unlink(path);

    setenv("REDIS_URL_FILE", write_file(path, "ssss\0ssss", 9), 1);
    assert_int_equal(load(""), CONFIG_BAD);
    assert_null(strstr(problem, "ssss"));
    unlink(path);
}

static void help_names_every_option_within_100_columns(void **state)
{
    char *text = print(config_help), *rest = NULL;

    (void)state;
    for (size_t i = 0; i < COUNT(options); i++) {
        char flag[64], *at = flag;
        snprintf(flag, sizeof(flag), "  --%s ", options[i].name);
        for (; *at; at++)
            *at = *at == '_' ? '-' : (char)tolower((unsigned char)*at);
        assert_non_null(strstr(text, options[i].name));
        assert_int_equal(strstr(text, flag) != NULL, !options[i].secret);
    }
    assert_non_null(strstr(text, " [8080] 0 to 65535\n      port for HTTP"));
    assert_non_null(strstr(text, " [development] development or production\n"));
    assert_non_null(strstr(text, " or file REDIS_URL_FILE\n"));
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        assert_in_range(strlen(line), 0, 100);
    free(text);
}

static void markdown_has_one_row_of_five_cells_for_every_option(void **state)
{
    char *text = print(config_markdown), *rest = NULL;
    size_t rows = 0;

    (void)state;
    assert_non_null(strstr(text, "\n| `PORT` | `--port` | `8080` | 0 to 65535 | port for HTTP"));
    assert_non_null(strstr(text, "\n| `REDIS_URL` |  |  | or file REDIS_URL_FILE | redis://"));
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), rows++) {
        size_t bars = 0;
        for (char *at = line; *at; at++)
            bars += *at == '|' && (at == line || at[-1] != '\\');
        assert_int_equal(bars, 6);
        if (rows >= 2)
            assert_memory_equal(line + strlen("| `"), options[rows - 2].name, strlen(options[rows - 2].name));
    }
    assert_int_equal(rows, COUNT(options) + 2);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEAN(nothing_given_means_the_defaults),
        CLEAN(the_environment_sets_and_a_flag_wins),
        CLEAN(an_empty_variable_counts_as_unset_and_an_empty_flag_does_not),
        CLEAN(flags_take_both_spellings_and_the_last_one_wins),
        CLEAN(loading_again_starts_from_the_defaults),
        CLEAN(values_at_the_edge_of_what_is_allowed_are_taken),
        CLEAN(a_bad_value_is_named_with_what_is_allowed),
        CLEAN(the_secrets_of_the_front_server_come_from_files_too),
        CLEAN(a_very_long_value_does_not_overrun_the_problem),
        CLEAN(help_and_version_are_told_apart),
        CLEAN(a_check_of_redis_takes_the_options_of_a_worker),
        CLEAN(a_secret_comes_from_the_environment_before_its_file),
        CLEAN(the_newline_at_the_end_of_a_secret_file_is_stripped),
        CLEAN(a_secret_file_that_cannot_be_used_is_named_without_its_content),
        CLEAN(help_names_every_option_within_100_columns),
        CLEAN(markdown_has_one_row_of_five_cells_for_every_option),
    };

    return cmocka_run_group_tests(tests, begin_sodium, NULL);
}
