/* SPDX-License-Identifier: MIT */
#include "signalbox/http.h"

#include <assert.h>
#include <libwebsockets.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/limits.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/server.h"
#include "signalbox/slots.h"
#include "signalbox/version.h"

#define BODY_MAX (64 * 1024)
#define BODY_MS 10000 /* from the head to the end of the body: one that is under way keeps others out */
#define LARGE_BODY_MS 30000
#define TABLES_MAX 16
#define HEAD_MAX 2048
#define ORIGIN_MAX 256

struct exchange {
    exchange_id id; /* 0 once it is answered */
    struct lws *wsi;
    const struct http_route *route;
    char *path, *headers[HTTP_HEADERS];
    struct {
        const char *name;
        char *value;
    } added[HEADERS_ADDED_MAX];
    size_t added_count;
    struct builder body;
    bool wants_body, head, written, closes;
    struct timer *patience; /* for the body */

    unsigned status;
    const char *content_type;
    char allow[64], origin[ORIGIN_MAX], ip[IP_TEXT_MAX];
    struct bytes *answer;
};

static const char *const method_names[HTTP_METHODS] = {"GET", "POST", "DELETE"};
static struct {
    const struct http_route *routes;
    size_t count;
} tables[TABLES_MAX];
static struct slots exchanges;

void http_add_routes(const struct http_route *routes, size_t count)
{
    size_t i = 0;

    while (i < TABLES_MAX && tables[i].routes)
        i++;
    if (i == TABLES_MAX)
        abort();
    tables[i].routes = routes;
    tables[i].count = count;
}

/* The route at position i over all tables; NULL after the last. */
static const struct http_route *route_at(size_t i)
{
    for (size_t t = 0; t < TABLES_MAX && tables[t].routes; t++) {
        if (i < tables[t].count)
            return &tables[t].routes[i];
        i -= tables[t].count;
    }
    return NULL;
}

static bool path_matches(const char *pattern, const char *path)
{
    size_t len = strlen(pattern);

    if (len > 0 && pattern[len - 1] == '*')
        return strncmp(pattern, path, len - 1) == 0 && path[len - 1] != '\0';
    return strcmp(pattern, path) == 0;
}

struct exchange *exchange_find(exchange_id id)
{
    return slots_find(&exchanges, id);
}

exchange_id exchange_id_of(const struct exchange *x)
{
    return x->id;
}

const char *exchange_ip(const struct exchange *x)
{
    return x->ip;
}

const char *exchange_path(const struct exchange *x)
{
    return x->path;
}

bool exchange_query(struct exchange *x, const char *name, char *out, size_t room)
{
    char with_sign[32];
    const char *found;

    snprintf(with_sign, sizeof(with_sign), "%s=", name);
    found = lws_get_urlarg_by_name(x->wsi, with_sign, out, (int)room);
    if (!found)
        return false;
    memmove(out, found, strlen(found) + 1);
    return true;
}

const char *exchange_header(const struct exchange *x, enum http_header h)
{
    return x->headers[h];
}

bool exchange_has_bearer(const struct exchange *x, const char *secret)
{
    static const char scheme[] = "Bearer ";
    const char *given = x->headers[HEADER_AUTHORIZATION];

    return strncasecmp(given, scheme, sizeof(scheme) - 1) == 0 &&
           secret_equals(span_of(given + sizeof(scheme) - 1), secret);
}

struct span exchange_body(const struct exchange *x)
{
    return x->body.bytes ? bytes_span(x->body.bytes) : (struct span){"", 0};
}

struct bytes *exchange_take_body(struct exchange *x)
{
    return x->body.bytes ? builder_take(&x->body) : NULL;
}

void exchange_add_header(struct exchange *x, const char *name, const char *value)
{
    assert(x->added_count < HEADERS_ADDED_MAX);
    x->added[x->added_count].name = name;
    x->added[x->added_count++].value = mem_dup(value);
}

void exchange_reply(struct exchange *x, unsigned status, const char *content_type, struct bytes *body)
{
    if (x->id == 0) {
        bytes_unref(body);
        return;
    }
    slots_drop(&exchanges, x->id);
    x->id = 0;
    x->status = status;
    x->content_type = content_type;
    x->answer = body;
    lws_callback_on_writable(x->wsi);
    loop_poke();
}

/* NULL only for text that is not UTF-8, which is a fault of ours. */
static struct bytes *json_bytes(json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    struct bytes *b = text ? bytes_copy(span_of(text)) : NULL;

    free(text);
    json_decref(value);
    return b;
}

void exchange_reply_json(struct exchange *x, unsigned status, json_t *body)
{
    struct bytes *b = json_bytes(body);

    if (!b)
        LOG_ERROR("answer_malformed", LOG_TEXT("path", x->path));
    exchange_reply(x, b ? status : 500, "application/json", b);
}

void exchange_fail(struct exchange *x, unsigned status, const char *sentence)
{
    exchange_reply_json(x, status, json_pack("{ss}", "error", sentence));
}

void exchange_unavailable(struct exchange *x)
{
    exchange_fail(x, 503, "Service temporarily unavailable");
}

void exchange_not_found(struct exchange *x)
{
    exchange_reply_json(x, 404, json_pack("{ss so*}", "error", "Not Found", "path", json_string(x->path)));
}

void exchange_give_up(exchange_id id, unsigned status, const char *sentence)
{
    struct exchange *x = exchange_find(id);

    if (x && sentence)
        exchange_fail(x, status, sentence);
    else if (x)
        exchange_unavailable(x);
}

/* Finds the route, or answers why there is none. */
static void choose_route(struct exchange *x, const struct http_request *q)
{
    const struct http_route *r;
    bool known = false;

    for (size_t i = 0; (r = route_at(i)) && !x->route; i++) {
        if (!path_matches(r->path, q->path))
            continue;
        if (strcmp(method_names[r->method], q->method) == 0)
            x->route = r;
        else
            snprintf(x->allow + strlen(x->allow), sizeof(x->allow) - strlen(x->allow), "%s%s", known ? ", " : "",
                     method_names[r->method]);
        known = true;
    }
    if (x->route) {
        x->allow[0] = '\0';
    } else if (q->socket_path_name && !known && strcmp(q->method, "GET") == 0) {
        exchange_fail(x, 426, "Upgrade Required");
    } else if (q->socket_path_name && !known) {
        snprintf(x->allow, sizeof(x->allow), "GET");
        exchange_fail(x, 405, "Method Not Allowed");
    } else if (known) {
        exchange_fail(x, 405, "Method Not Allowed");
    } else {
        exchange_not_found(x);
    }
}

static size_t body_max(const struct exchange *x)
{
    return x->route && x->route->body_max ? x->route->body_max : BODY_MAX;
}

static void on_body_late(void *arg)
{
    struct exchange *x = arg;

    x->patience = NULL;
    LOG_INFO("limit_hit", LOG_TEXT("limit", "time for a body"), LOG_TEXT("ip", x->ip));
    lws_set_timeout(x->wsi, PENDING_TIMEOUT_HTTP_CONTENT, LWS_TO_KILL_SYNC); /* which frees x */
    loop_poke();
}

/* lws' own time-out begins anew with each part that comes. */
static void await_body(struct exchange *x)
{
    bool large = x->route && x->route->body_max;

    x->patience = timer_once(large ? LARGE_BODY_MS : BODY_MS, on_body_late, x);
}

struct exchange *exchange_new(struct lws *wsi, const struct http_request *q)
{
    struct exchange *x = mem_alloc(sizeof(*x));

    x->wsi = wsi;
    x->path = mem_dup(q->path);
    for (size_t i = 0; i < HTTP_HEADERS; i++)
        x->headers[i] = mem_dup(q->headers[i]);
    x->head = q->head;
    x->closes = q->unknown_end;
    snprintf(x->origin, sizeof(x->origin), "%s", q->origin);
    snprintf(x->ip, sizeof(x->ip), "%s", q->ip);
    x->id = slots_put(&exchanges, x);
    lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
    if (strcmp(q->method, "OPTIONS") == 0) {
        exchange_reply(x, 200, NULL, NULL);
        return x;
    }
    choose_route(x, q);
    if (q->over_rate && !(x->route && x->route->always))
        exchange_fail(x, 429, "Too Many Requests");
    else if (q->chunked)
        exchange_fail(x, 411, "Length Required");
    else if (q->content_length > (long long)body_max(x))
        exchange_fail(x, 413, "Payload Too Large");
    else if (x->id && x->route->admit)
        x->route->admit(x);
    x->wants_body = q->content_length > 0;
    if (x->wants_body)
        await_body(x);
    else if (x->id)
        x->route->handle(x);
    return x;
}

bool exchange_wants_body(const struct exchange *x)
{
    return x->wants_body;
}

void exchange_body_part(struct exchange *x, struct span part)
{
    if (x->id && builder_len(&x->body) + part.len <= body_max(x))
        builder_add(&x->body, part);
}

void exchange_body_end(struct exchange *x)
{
    x->wants_body = false;
    timer_free(x->patience);
    x->patience = NULL;
    lws_set_timeout(x->wsi, NO_PENDING_TIMEOUT, 0);
    if (x->id)
        x->route->handle(x);
}

struct head {
    unsigned char bytes[LWS_PRE + HEAD_MAX];
    unsigned char *at, *end;
    struct lws *wsi;
    bool failed, has_length;
};

static void head_add(struct head *h, const char *name, const char *value)
{
    char with_colon[64];

    snprintf(with_colon, sizeof(with_colon), "%s:", name);
    if (lws_add_http_header_by_name(h->wsi, (unsigned char *)with_colon, (const unsigned char *)value,
                                    (int)strlen(value), &h->at, h->end))
        h->failed = true;
}

bool origin_listed(const char *list, const char *origin)
{
    size_t len = strlen(origin);

    if (strcmp(list, "*") == 0)
        return true;
    if (len == 0 || origin[strcspn(origin, ", ")])
        return false;
    for (const char *at = list; (at = strstr(at, origin)); at += len)
        if ((at == list || at[-1] == ',' || at[-1] == ' ') && (at[len] == '\0' || at[len] == ',' || at[len] == ' '))
            return true;
    return false;
}

const struct lws_protocol_vhost_options *http_common_headers(void)
{
    static const struct lws_protocol_vhost_options all = {.name = "access-control-allow-origin:", .value = "*"};
    static struct lws_protocol_vhost_options headers[] = {
        {NULL, NULL, "access-control-allow-methods:", "GET, POST, DELETE, OPTIONS"},
        {NULL, NULL, "access-control-allow-headers:", "Content-Type, Authorization"},
        {NULL, NULL, "access-control-expose-headers:", "X-Bootstrap-Signature, X-Attestation-Token"},
    };

    headers[0].next = &headers[1];
    headers[1].next = &headers[2];
    headers[2].next = strcmp(config->cors_origins, "*") == 0 ? &all : NULL;
    return headers;
}

static void head_begin(struct head *h, struct lws *wsi, unsigned status, const char *origin)
{
    h->wsi = wsi;
    h->failed = false;
    h->has_length = status != 304; /* it would have to be that of the answer which is left out */
    h->at = h->bytes + LWS_PRE;
    h->end = h->bytes + sizeof(h->bytes) - 1;
    if (lws_add_http_header_status(wsi, status, &h->at, h->end))
        h->failed = true;
    if (strcmp(config->cors_origins, "*") != 0) {
        if (origin_listed(config->cors_origins, origin))
            head_add(h, "access-control-allow-origin", origin);
        head_add(h, "vary", "Origin");
    }
    if (status == 426)
        head_add(h, "upgrade", "websocket");
    if (status == 503)
        head_add(h, "retry-after", "1");
}

static bool head_send(struct head *h, const char *content_type, size_t content_length)
{
    if (content_type)
        head_add(h, "content-type", content_type);
    if ((h->has_length && lws_add_http_header_content_length(h->wsi, content_length, &h->at, h->end)) ||
        lws_finalize_http_header(h->wsi, &h->at, h->end) || h->failed)
        return false;
    return lws_write(h->wsi, h->bytes + LWS_PRE, (size_t)(h->at - h->bytes - LWS_PRE),
                     content_length ? LWS_WRITE_HTTP_HEADERS : LWS_WRITE_HTTP_HEADERS | LWS_WRITE_H2_STREAM_END) >= 0;
}

int exchange_write(struct exchange *x)
{
    size_t len = x->answer ? bytes_len(x->answer) : 0;
    struct head head;

    if (x->id || x->written)
        return 0;
    x->written = true;
    head_begin(&head, x->wsi, x->status, x->origin);
    if (*x->allow)
        head_add(&head, "allow", x->allow);
    for (size_t i = 0; i < x->added_count; i++)
        head_add(&head, x->added[i].name, x->added[i].value);
    if (x->closes)
        head_add(&head, "connection", "close");
    if (!head_send(&head, x->content_type, len))
        return -1;
    if (len > 0 && !x->head && lws_write(x->wsi, (unsigned char *)bytes_data(x->answer), len, LWS_WRITE_HTTP_FINAL) < 0)
        return -1;
    /* A client that sends on and does not read would otherwise keep lws spinning: its answer is still flushed. */
    if (x->closes || lws_partial_buffered(x->wsi) || lws_send_pipe_choked(x->wsi))
        return -1;
    return lws_http_transaction_completed(x->wsi) ? -1 : 0;
}

void exchange_ended(struct exchange *x)
{
    if (x->id)
        slots_drop(&exchanges, x->id);
    timer_free(x->patience);
    builder_free(&x->body);
    bytes_unref(x->answer);
    for (size_t i = 0; i < HTTP_HEADERS; i++) {
        sodium_memzero(x->headers[i], strlen(x->headers[i]));
        free(x->headers[i]);
    }
    for (size_t i = 0; i < x->added_count; i++)
        free(x->added[i].value);
    free(x->path);
    free(x);
}

int http_refuse(struct lws *wsi, unsigned status, const char *sentence, const char *origin, const char *path)
{
    struct bytes *body =
        json_bytes(json_pack("{ss so*}", "error", sentence, "path", status == 404 ? json_string(path) : NULL));
    struct head head;
    bool ok;

    head_begin(&head, wsi, status, origin);
    ok = head_send(&head, "application/json", bytes_len(body)) &&
         lws_write(wsi, (unsigned char *)bytes_data(body), bytes_len(body), LWS_WRITE_HTTP_FINAL) >= 0;
    bytes_unref(body);
    return ok ? 1 : -1;
}

json_t *http_endpoints(void)
{
    json_t *all = json_object();
    const struct http_route *r;
    const struct socket_path *p;
    char text[128];

    for (size_t i = 0; (r = route_at(i)); i++) {
        snprintf(text, sizeof(text), "%s %s", method_names[r->method], r->path);
        if (r->name)
            json_object_set_new(all, r->name, json_string(text));
    }
    for (size_t i = 0; (p = server_path(i)); i++) {
        snprintf(text, sizeof(text), "WS %s", p->path);
        json_object_set_new(all, p->name, json_string(text));
    }
    return all;
}

void http_fini(void)
{
    slots_free(&exchanges);
}
