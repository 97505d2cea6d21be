/* SPDX-License-Identifier: MIT */
#include "signalbox/redis_target.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/bytes.h"

#define DB_MOST 1000000
#define PORT_REDIS 6379
#define PORT_SENTINEL 26379
#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-" /* of a master */

bool redis_place_equals(const struct redis_place *a, const struct redis_place *b)
{
    return a->host && b->host && a->port == b->port && strcmp(a->host, b->host) == 0;
}

void redis_place_set(struct redis_place *p, const struct redis_place *to)
{
    struct redis_place copy = {0};

    if (to)
        copy = (struct redis_place){to->host ? mem_dup(to->host) : NULL, to->path ? mem_dup(to->path) : NULL, to->port};
    free(p->host);
    free(p->path);
    *p = copy;
}

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
static bool read_userinfo(struct redis_login *l, const char *userinfo, char problem[static 256])
{
    const char *colon = strchr(userinfo, ':');
    char *user;

    if (!colon)
        return fail(problem, "has a user without a password");
    user = span_dup((struct span){userinfo, (size_t)(colon - userinfo)});
    if (*user)
        l->user = decoded(user);
    l->password = decoded(colon + 1);
    if (!l->password || (*user && !l->user)) {
        free(user);
        return fail(problem, "has a zero byte in its user or password");
    }
    free(user);
    return true;
}

static struct redis_place *add_place(struct redis_target *t)
{
    t->places = mem_grow(t->places, (t->places_count + 1) * sizeof(*t->places));
    t->places[t->places_count] = (struct redis_place){0};
    return &t->places[t->places_count++];
}

static bool read_host(struct redis_target *t, const struct evhttp_uri *uri, int port, char problem[static 256])
{
    const char *host = evhttp_uri_get_host(uri);
    struct redis_place *place;
    size_t len;

    if (!host || !*host)
        return fail(problem, "names no host");
    if (evhttp_uri_get_port(uri) == 0)
        return fail(problem, "has a port that is not from 1 to 65535");
    len = strlen(host);
    place = add_place(t);
    place->host = host[0] == '[' && host[len - 1] == ']' ? span_dup((struct span){host + 1, len - 2}) : mem_dup(host);
    place->port = evhttp_uri_get_port(uri) > 0 ? evhttp_uri_get_port(uri) : port;
    return true;
}

static bool read_tcp(struct redis_target *t, const struct evhttp_uri *uri, char problem[static 256])
{
    const char *path = evhttp_uri_get_path(uri);

    if (!read_host(t, uri, PORT_REDIS, problem))
        return false;
    if (path && *path == '/' && !read_db(path + 1, &t->db))
        return fail(problem, "has a database that is not a number");
    if (evhttp_uri_get_query(uri))
        return fail(problem, "has a query; the database follows the port, as /db");
    return true;
}

static bool read_tls(struct redis_target *t, const struct evhttp_uri *uri, char problem[static 256])
{
    t->tls = true;
    return read_tcp(t, uri, problem);
}

static bool read_unix(struct redis_target *t, const struct evhttp_uri *uri, char problem[static 256])
{
    const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri), *host = evhttp_uri_get_host(uri);
    struct redis_place *place;

    if (!path || path[0] != '/' || path[1] == '\0' || (host && *host))
        return fail(problem, "names no absolute path of a socket");
    place = add_place(t);
    place->path = decoded(path);
    if (!place->path)
        return fail(problem, "has a zero byte in its path");
    if (strlen(place->path) > 107)
        return fail(problem, "names a socket path longer than 107 bytes");
    if (query && (strncmp(query, "db=", 3) != 0 || !read_db(query + 3, &t->db)))
        return fail(problem, "has a query that is not db=NUMBER");
    return true;
}

static const struct {
    const char *scheme;
    bool (*read)(struct redis_target *t, const struct evhttp_uri *uri, char problem[static 256]);
} schemes[] = {{"redis", read_tcp}, {"rediss", read_tls}, {"unix", read_unix}};

static bool read_server(struct redis_target *t, const char *url, char problem[static 256])
{
    struct evhttp_uri *uri = evhttp_uri_parse(url);
    const char *scheme = uri ? evhttp_uri_get_scheme(uri) : NULL;
    bool ok = false, known = false;

    for (size_t i = 0; scheme && i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strcmp(scheme, schemes[i].scheme) != 0)
            continue;
        known = true;
        ok = schemes[i].read(t, uri, problem);
    }
    if (!scheme)
        fail(problem, "is not a URL (redis://[user:pass@]host[:port][/db] or unix:///path)");
    else if (!known)
        fail(problem, "must begin with redis://, rediss://, redis+sentinel://, rediss+sentinel:// or unix://");
    if (ok && evhttp_uri_get_userinfo(uri))
        ok = read_userinfo(&t->login, evhttp_uri_get_userinfo(uri), problem);
    if (uri)
        evhttp_uri_free(uri);
    return ok;
}

/* --- Sentinels, of whose list evhttp_uri_parse() can read one host at a time --- */

/* host:port,host:port */
static bool read_hosts(struct redis_target *t, const char *list, char problem[static 256])
{
    bool ok = true;

    for (size_t len; ok; list += len + 1) {
        struct builder w = {0};
        struct evhttp_uri *uri;

        len = strcspn(list, ",");
        builder_printf(&w, "redis://%.*s", (int)len, list);
        builder_add(&w, (struct span){"", 1});
        uri = evhttp_uri_parse(bytes_data(w.bytes));
        builder_free(&w);
        ok = uri ? read_host(t, uri, PORT_SENTINEL, problem) : fail(problem, "names a Sentinel that is not host:port");
        if (uri)
            evhttp_uri_free(uri);
        if (!list[len])
            break;
    }
    return ok;
}

/* NAME or NAME/db */
static bool read_master(struct redis_target *t, const char *path, char problem[static 256])
{
    size_t len = strspn(path, NAME_LETTERS);

    if (len == 0 || (path[len] && path[len] != '/'))
        return fail(problem, "names no master: its path is /NAME or /NAME/db, with the name that Sentinel knows");
    if (path[len] && !read_db(path + len + 1, &t->db))
        return fail(problem, "has a database that is not a number");
    t->master = span_dup((struct span){path, len});
    return true;
}

static bool read_sentinels(struct redis_target *t, const char *rest, char problem[static 256])
{
    size_t len = strcspn(rest, "/?#");
    char *authority = span_dup((struct span){rest, len}), *at = strrchr(authority, '@');
    bool ok;

    if (at)
        *at++ = '\0';
    ok = read_hosts(t, at ? at : authority, problem) && (!at || read_userinfo(&t->login, authority, problem)) &&
         read_master(t, rest + len + (rest[len] == '/'), problem);
    sodium_memzero(authority, len);
    free(authority);
    return ok;
}

bool redis_target_parse(struct redis_target *t, const char *url, char problem[static 256])
{
    static const char sentinel[] = "redis+sentinel://", sentinel_tls[] = "rediss+sentinel://";
    bool ok;

    *t = (struct redis_target){0};
    t->tls = strncmp(url, sentinel_tls, strlen(sentinel_tls)) == 0;
    if (t->tls)
        ok = read_sentinels(t, url + strlen(sentinel_tls), problem);
    else if (strncmp(url, sentinel, strlen(sentinel)) == 0)
        ok = read_sentinels(t, url + strlen(sentinel), problem);
    else
        ok = read_server(t, url, problem);
    if (!ok)
        redis_target_free(t);
    return ok;
}

struct redis_login redis_login_new(const char *user, const char *password)
{
    return (struct redis_login){*user ? mem_dup(user) : NULL, *password ? mem_dup(password) : NULL};
}

void redis_login_free(struct redis_login *l)
{
    if (l->password)
        sodium_memzero(l->password, strlen(l->password));
    free(l->user);
    free(l->password);
    *l = (struct redis_login){0};
}

void redis_target_free(struct redis_target *t)
{
    for (size_t i = 0; i < t->places_count; i++)
        redis_place_set(&t->places[i], NULL);
    free(t->places);
    free(t->master);
    redis_login_free(&t->login);
    *t = (struct redis_target){0};
}

const char *redis_login_hide(const struct redis_login *l, const char *error)
{
    bool cut = strstr(error, "AUTH") && strstr(error, "with args beginning"); /* or with spaces for line ends */

    return l->password && *l->password && (cut || strstr(error, l->password)) ? "it repeats the password" : error;
}
