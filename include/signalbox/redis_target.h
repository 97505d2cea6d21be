/* SPDX-License-Identifier: MIT */
/* redis_target: where Redis is, as REDIS_URL says. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* One server, by its name or address, or by the path of its Unix socket. */
struct redis_place {
    char *host; /* NULL for a Unix socket */
    char *path; /* NULL for TCP */
    int port;
};

bool redis_place_equals(const struct redis_place *a, const struct redis_place *b); /* never where it has no host */
void redis_place_set(struct redis_place *p, const struct redis_place *to); /* a copy; NULL: nothing, all is freed */

struct redis_login {
    char *user, *password; /* NULL where there is none */
};

struct redis_target {
    struct redis_place *places; /* the server, or the Sentinels */
    size_t places_count;
    char *master; /* what the Sentinels call it; NULL: there are no Sentinels */
    struct redis_login login;
    int db;
    bool tls;
};

struct redis_login redis_login_new(const char *user, const char *password); /* copies; "": there is none */
void redis_login_free(struct redis_login *l);                               /* wipes the password */

/* Reads redis://[user:pass@]host[:port][/db], rediss:// likewise, unix:///path[?db=n], or
   redis+sentinel://[user:pass@]host[:port],…/NAME[/db], rediss+sentinel:// likewise. false: t is empty, and problem
   says what is wrong without showing a password. */
bool redis_target_parse(struct redis_target *t, const char *url, char problem[static 256])
    __attribute__((warn_unused_result));
void redis_target_free(struct redis_target *t); /* wipes the password */

/* An error of Redis, or another text where it repeats the password or its beginning, as it repeats the words of a
   command that it does not know. Borrowed. */
const char *redis_login_hide(const struct redis_login *l, const char *error);
