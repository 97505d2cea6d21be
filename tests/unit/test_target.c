/* SPDX-License-Identifier: MIT */
#include "signalbox/redis_target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEN "0123456789"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static char problem[256];

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void a_url_says_where_redis_is(void **state)
{
    static const struct {
        const char *url, *host, *path, *user, *password;
        int port, db;
        bool tls;
    } rows[] = {
        {"redis://localhost", .host = "localhost", .port = 6379},
        {"redis://localhost/", .host = "localhost", .port = 6379},
        {"redis://localhost:7000", .host = "localhost", .port = 7000},
        {"redis://localhost:/2", .host = "localhost", .port = 6379, .db = 2},
        {"redis://10.0.0.1:65535/15", .host = "10.0.0.1", .port = 65535, .db = 15},
        {"redis://redis-0.redis.prod.svc:6379/0", .host = "redis-0.redis.prod.svc", .port = 6379},
        {"redis://h/1000000", .host = "h", .port = 6379, .db = 1000000},
        {"redis://[::1]", .host = "::1", .port = 6379},
        {"redis://[2001:db8::5]:7000/3", .host = "2001:db8::5", .port = 7000, .db = 3},
        {"redis://u:p@[::1]:1/1", .host = "::1", .user = "u", .password = "p", .port = 1, .db = 1},
        {"redis://u:p@h", .host = "h", .user = "u", .password = "p", .port = 6379},
        {"redis://:p@h", .host = "h", .password = "p", .port = 6379},
        {"redis://u:@h", .host = "h", .user = "u", .password = "", .port = 6379},
        {"redis://u:p:q@h", .host = "h", .user = "u", .password = "p:q", .port = 6379},
        {"redis://a%40b:p%40s%2Fs%3a%25@h:1", .host = "h", .user = "a@b", .password = "p@s/s:%", .port = 1},
        {"redis://:%C3%A9%20+@h", .host = "h", .password = "\xc3\xa9 +", .port = 6379},
        {"redis://:%3A%3a@h", .host = "h", .password = "::", .port = 6379},
        {"rediss://localhost", .host = "localhost", .port = 6379, .tls = true},
        {"rediss://u:p@redis.example:6380/3", .host = "redis.example", .user = "u", .password = "p", .port = 6380,
         .db = 3, .tls = true},
        {"unix:///run/redis.sock", .path = "/run/redis.sock"},
        {"unix:///run/redis.sock?db=4", .path = "/run/redis.sock", .db = 4},
        {"unix:///run/my%20redis.sock", .path = "/run/my redis.sock"},
        {"unix:///run/a%3Fb%23", .path = "/run/a?b#"},
        {"unix://u:p@/run/redis.sock", .path = "/run/redis.sock", .user = "u", .password = "p"},
        {"unix:/run/redis.sock", .path = "/run/redis.sock"},
        {"unix:///" HUNDRED "12345.", .path = "/" HUNDRED "12345."},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct redis_target t;
        const struct redis_place *at;

        if (!redis_target_parse(&t, rows[i].url, problem))
            fail_msg("%s: %s", rows[i].url, problem);
        at = t.places;
        if (t.places_count != 1 || t.master || t.tls != rows[i].tls)
            fail_msg("%s: %zu places, master %s", rows[i].url, t.places_count, t.master);
        if (!same(at->host, rows[i].host) || !same(at->path, rows[i].path) || at->port != rows[i].port ||
            t.db != rows[i].db)
            fail_msg("%s: %s:%d %s db %d", rows[i].url, at->host, at->port, at->path, t.db);
        if (!same(t.login.user, rows[i].user) || !same(t.login.password, rows[i].password))
            fail_msg("%s: user %s, password %s", rows[i].url, t.login.user, t.login.password);
        redis_target_free(&t);
    }
}

static void a_url_lists_sentinels(void **state)
{
    static const struct {
        const char *url, *hosts, *master, *user, *password;
        int db;
        bool tls;
    } rows[] = {
        {"redis+sentinel://h/m", "h:26379,", "m"},
        {"redis+sentinel://h1:1,h2:2,h3/my-master_1.a/2", "h1:1,h2:2,h3:26379,", "my-master_1.a", .db = 2},
        {"redis+sentinel://:p@h1,h2/m/0", "h1:26379,h2:26379,", "m", .password = "p"},
        {"rediss+sentinel://u:p%40%2F@[::1]:5,10.0.0.1/m", "::1:5,10.0.0.1:26379,", "m", .user = "u", .password = "p@/",
         .tls = true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char hosts[256] = "";
        struct redis_target t;

        if (!redis_target_parse(&t, rows[i].url, problem))
            fail_msg("%s: %s", rows[i].url, problem);
        for (size_t j = 0; j < t.places_count; j++)
            snprintf(hosts + strlen(hosts), sizeof(hosts) - strlen(hosts), "%s:%d,", t.places[j].host,
                     t.places[j].port);
        assert_string_equal(hosts, rows[i].hosts);
        assert_string_equal(t.master, rows[i].master);
        assert_int_equal(t.db, rows[i].db);
        assert_int_equal(t.tls, rows[i].tls);
        assert_true(same(t.login.user, rows[i].user) && same(t.login.password, rows[i].password));
        redis_target_free(&t);
    }
}

static void what_is_no_place_of_a_redis_is_refused(void **state)
{
    static const struct {
        const char *url, *why;
    } rows[] = {
        {"", "is not a URL"},
        {"localhost", "is not a URL"},
        {"localhost:6379", "must begin with redis://, rediss://"},
        {"/run/redis.sock", "is not a URL"},
        {"http://localhost", "must begin with redis://, rediss://"},
        {"rediss://", "names no host"},
        {"redis+cluster://h", "must begin with redis://, rediss://"},
        {"redis+sentinel://h", "names no master"},
        {"redis+sentinel://h/", "names no master"},
        {"redis+sentinel://h//1", "names no master"},
        {"redis+sentinel://h/m n", "names no master"},
        {"redis+sentinel://h/m?x", "names no master"},
        {"redis+sentinel://h/m/x", "has a database that is not a number"},
        {"redis+sentinel://h/m/1/", "has a database that is not a number"},
        {"redis+sentinel:///m", "names no host"},
        {"redis+sentinel://h,,i/m", "names no host"},
        {"redis+sentinel://h,/m", "names no host"},
        {"redis+sentinel://h:x/m", "names a Sentinel that is not host:port"},
        {"redis+sentinel://h i/m", "names a Sentinel that is not host:port"},
        {"redis+sentinel://u@h/m", "has a user without a password"},
        {"redis:localhost", "names no host"},
        {"redis://", "names no host"},
        {"redis:///1", "names no host"},
        {"redis://:6379", "names no host"},
        {"redis://u:p@", "names no host"},
        {"redis://h:65536", "is not a URL"},
        {"redis://h:-1", "is not a URL"},
        {"redis://h:port", "is not a URL"},
        {"redis://h h", "is not a URL"},
        {"redis://[::1", "is not a URL"},
        {"redis://::1", "is not a URL"},
        {"redis://[nonsense]", "is not a URL"},
        {"redis://h/x", "has a database that is not a number"},
        {"redis://h/1x", "has a database that is not a number"},
        {"redis://h/1/", "has a database that is not a number"},
        {"redis://h/-1", "has a database that is not a number"},
        {"redis://h/1000001", "has a database that is not a number"},
        {"redis://h/99999999999999999999", "has a database that is not a number"},
        {"unix://", "names no absolute path of a socket"},
        {"unix:///", "names no absolute path of a socket"},
        {"unix:run/redis.sock", "names no absolute path of a socket"},
        {"unix:///run/redis.sock?db=x", "has a query that is not db=NUMBER"},
        {"unix:///run/redis.sock?db=-1", "has a query that is not db=NUMBER"},
        {"unix:///run/redis.sock?database=1", "has a query that is not db=NUMBER"},
        {"unix:///run/redis.sock?", "has a query that is not db=NUMBER"},
        {"unix:///" HUNDRED "123456.", "names a socket path longer than 107 bytes"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct redis_target t;

        problem[0] = '\0';
        if (redis_target_parse(&t, rows[i].url, problem))
            fail_msg("accepted: %s", rows[i].url);
        if (strncmp(problem, "REDIS_URL ", 10) != 0 || strncmp(problem + 10, rows[i].why, strlen(rows[i].why)) != 0)
            fail_msg("%s: %s", rows[i].url, problem);
        if (t.places || t.master || t.login.user || t.login.password)
            fail_msg("%s: something is left to be freed", rows[i].url);
    }
}

/* unix://run/redis.sock would have a host, "run", and another path than was meant. */
static void a_socket_has_no_host(void **state)
{
    static const char *const rows[] = {"unix://run/redis.sock", "unix://localhost/run/redis.sock"};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct redis_target t;
        bool accepted = redis_target_parse(&t, rows[i], problem);

        redis_target_free(&t);
        if (accepted)
            fail_msg("accepted: %s", rows[i]);
    }
}

static void a_problem_never_shows_the_password(void **state)
{
    static const char *const rows[] = {
        "redis://u:S3CRET@",
        "redis://u:S3CRET@h:99999",
        "redis://:S3CRET@h/x",
        "http://u:S3CRET@h",
        "redis://u:S3CRET@h@i",
        "redis://u:S3CRET%@h",
        "u:S3CRET@h",
        "unix://u:S3CRET@/",
        "unix://u:S3CRET@/a?db=-1",
        "redis://u:S3CRET h",
        "redis+sentinel://u:S3CRET@h",
        "redis+sentinel://u:S3CRET@h:x/m",
        "redis+sentinel://u:S3CRET@/m",
        "S3CRET",
        "S3CRET://h",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct redis_target t;

        problem[0] = '\0';
        if (redis_target_parse(&t, rows[i], problem))
            fail_msg("accepted: %s", rows[i]);
        if (!*problem || strstr(problem, "S3CRET"))
            fail_msg("%s: %s", rows[i], problem);
    }
}

static void a_freed_target_is_empty(void **state)
{
    static const struct redis_target empty;
    struct redis_target t;

    (void)state;
    assert_true(redis_target_parse(&t, "redis://u:p@h:1/2", problem));
    redis_target_free(&t);
    assert_memory_equal(&t, &empty, sizeof(t));
    redis_target_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_url_says_where_redis_is),
        cmocka_unit_test(a_url_lists_sentinels),
        cmocka_unit_test(what_is_no_place_of_a_redis_is_refused),
        cmocka_unit_test(a_socket_has_no_host),
        cmocka_unit_test(a_problem_never_shows_the_password),
        cmocka_unit_test(a_freed_target_is_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
