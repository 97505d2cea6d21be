/* SPDX-License-Identifier: MIT */
#include <event2/buffer.h>
#include <event2/http.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/bytes.h"
#include "signalbox/redis_connection.h"

#define DB_MOST 1000000

static bool fail(char problem[static 256], const char *why)
{
    snprintf(problem, 256, "REDIS_URL %s", why);
    return false;
}

/* NULL: it holds a zero. */
static char *decoded(const char *text)
{
    size_t len;
    char *out = evhttp_uridecode(text, 0, &len);

    if (out && strlen(out) == len)
        return out;
    free(out);
    return NULL;
}

static bool read_db(const char *digits, int *db)
{
    size_t len = strlen(digits);

    if (len > 7 || strspn(digits, "0123456789") != len)
        return false;
    *db = atoi(digits);
    return *db <= DB_MOST;
}

/* user:password@, or only :password@ */
static bool read_userinfo(struct redis_target *t, const char *userinfo, char problem[static 256])
{
    const char *colon = strchr(userinfo, ':');
    char *user;

    if (!colon)
        return fail(problem, "has a user without a password");
    user = span_dup((struct span){userinfo, (size_t)(colon - userinfo)});
    if (*user)
        t->user = decoded(user);
    t->password = decoded(colon + 1);
    if (!t->password || (*user && !t->user)) {
        free(user);
        return fail(problem, "has a zero byte in its user or password");
    }
    free(user);
    return true;
}

static bool read_tcp(struct redis_target *t, const struct evhttp_uri *uri, char problem[static 256])
{
    const char *host = evhttp_uri_get_host(uri), *path = evhttp_uri_get_path(uri);
    size_t len;

    if (!host || !*host)
        return fail(problem, "names no host");
    len = strlen(host);
    t->host = host[0] == '[' && host[len - 1] == ']' ? span_dup((struct span){host + 1, len - 2}) : mem_dup(host);
    t->port = evhttp_uri_get_port(uri) > 0 ? evhttp_uri_get_port(uri) : 6379;
    if (path && *path == '/' && !read_db(path + 1, &t->db))
        return fail(problem, "has a database that is not a number");
    if (evhttp_uri_get_query(uri))
        return fail(problem, "has a query; the database follows the port, as /db");
    return true;
}

static bool read_unix(struct redis_target *t, const struct evhttp_uri *uri, char problem[static 256])
{
    const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri), *host = evhttp_uri_get_host(uri);

    if (!path || path[0] != '/' || path[1] == '\0' || (host && *host))
        return fail(problem, "names no absolute path of a socket");
    t->path = decoded(path);
    if (!t->path)
        return fail(problem, "has a zero byte in its path");
    if (strlen(t->path) > 107)
        return fail(problem, "names a socket path longer than 107 bytes");
    if (query && (strncmp(query, "db=", 3) != 0 || !read_db(query + 3, &t->db)))
        return fail(problem, "has a query that is not db=NUMBER");
    return true;
}

bool redis_target_parse(struct redis_target *t, const char *url, char problem[static 256])
{
    struct evhttp_uri *uri = evhttp_uri_parse(url);
    const char *scheme = uri ? evhttp_uri_get_scheme(uri) : NULL;
    bool ok;

    *t = (struct redis_target){0};
    if (!scheme)
        ok = fail(problem, "is not a URL (redis://[user:pass@]host[:port][/db] or unix:///path)");
    else if (strcmp(scheme, "redis") == 0)
        ok = read_tcp(t, uri, problem);
    else if (strcmp(scheme, "unix") == 0)
        ok = read_unix(t, uri, problem);
    else
        ok = fail(problem, "must begin with redis:// or unix://");
    if (ok && evhttp_uri_get_userinfo(uri))
        ok = read_userinfo(t, evhttp_uri_get_userinfo(uri), problem);
    if (uri)
        evhttp_uri_free(uri);
    if (!ok)
        redis_target_free(t);
    return ok;
}

void redis_target_free(struct redis_target *t)
{
    if (t->password)
        sodium_memzero(t->password, strlen(t->password));
    free(t->host);
    free(t->path);
    free(t->user);
    free(t->password);
    *t = (struct redis_target){0};
}

const char *redis_target_hide(const struct redis_target *t, const char *error)
{
    return t->password && *t->password && strstr(error, t->password) ? "it repeats the password" : error;
}
