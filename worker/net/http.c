/* SPDX-License-Identifier: MIT */
#include "signalbox/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "signalbox/attestation.h"
#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/domain.h"
#include "signalbox/http_fields.h"
#include "signalbox/http_head.h"
#include "signalbox/limits.h"
#include "signalbox/log.h"
#include "signalbox/metrics.h"
#include "signalbox/slots.h"
#include "signalbox/socket_path.h"

#define BODY_MAX (64 * 1024)
#define READ_UNITS 3 /* to read any request and to answer it, beside its bytes */

struct exchange {
    exchange_id id; /* 0 once it is answered */
    void (*on_answer)(void *arg);
    void *arg;
    struct http_head *head;
    const struct http_route *route;
    struct {
        const char *name;
        char *value;
    } added[HEADERS_ADDED_MAX];
    size_t added_count;
    struct builder body;
    struct value values[FIELDS_MAX];

    unsigned status;
    const char *content_type;
    char allow[64], ip[IP_TEXT_MAX];
    struct bytes *answer;
};

static struct slots exchanges;

/* --- what it costs --- */

const struct cost *exchange_cost(const struct exchange *x)
{
    return x->route && !x->route->always ? &x->route->cost : NULL;
}

static struct metric *counter_of(const struct exchange *x)
{
    return cost_counter("http", x->route && x->route->name ? x->route->name : "unknown");
}

/* It has been read by now, whether its address can pay or not. */
static bool afford(const struct exchange *x)
{
    const struct cost *c = exchange_cost(x);
    double units = READ_UNITS + (c ? cost_least(c, 0, 0) : 0);

    if (cost_take(NULL, ip_find(x->ip), units) > 0)
        return false;
    metric_add(counter_of(x), units);
    return true;
}

static void charge(const struct exchange *x, double units)
{
    if (units == 0)
        return;
    metric_add(counter_of(x), units);
    cost_charge(NULL, ip_find(x->ip), units);
}

static void each_route(void (*visit)(const struct http_route *r, void *arg), void *arg)
{
    for (const struct domain *const *d = domains; *d; d++)
        if (domain_is_served(*d))
            for (const struct http_route *const *table = (*d)->routes; table && *table; table++)
                for (const struct http_route *r = *table; r->path; r++)
                    visit(r, arg);
}

/* A slash that was sent as %2F separates nothing: it may be in what the star stands for alone. */
static bool path_matches(const char *pattern, const struct http_head *h)
{
    size_t len = strlen(pattern);
    bool star = len > 0 && pattern[len - 1] == '*';

    if (h->encoded_slash < len - star)
        return false;
    return star ? strncmp(pattern, h->path, len - 1) == 0 && h->path[len - 1] : strcmp(pattern, h->path) == 0;
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
    return x->head->path;
}

struct span exchange_raw_path(const struct exchange *x)
{
    return x->head->raw_path;
}

char *exchange_argument(const struct exchange *x, const char *name)
{
    return http_head_argument(x->head, name);
}

const char *exchange_header(const struct exchange *x, const char *name)
{
    return http_head_field(x->head, name).at;
}

bool exchange_has_bearer(const struct exchange *x, const char *secret)
{
    static const char scheme[] = "Bearer ";
    const char *given = exchange_header(x, "authorization");

    return strncasecmp(given, scheme, sizeof(scheme) - 1) == 0 &&
           secret_equals(span_of(given + sizeof(scheme) - 1), secret);
}

bool exchange_is_attested(const struct exchange *x)
{
    return config->require_attestation != ATTESTATION_ALL || attestation_shown(x->head);
}

struct span exchange_body(const struct exchange *x)
{
    return x->body.bytes ? bytes_span(x->body.bytes) : (struct span){"", 0};
}

const struct value *exchange_values(const struct exchange *x)
{
    return x->values;
}

struct bytes *exchange_take_body(struct exchange *x)
{
    return x->body.bytes ? builder_take(&x->body) : NULL;
}

void exchange_add_header(struct exchange *x, const char *name, const char *value)
{
    if (x->added_count == HEADERS_ADDED_MAX)
        abort();
    x->added[x->added_count].name = name;
    x->added[x->added_count++].value = mem_dup(value);
}

void exchange_reply(struct exchange *x, unsigned status, const char *content_type, struct bytes *body)
{
    if (x->id == 0) {
        bytes_unref(body);
        return;
    }
    if (exchange_cost(x) && body)
        charge(x, cost_of_reply(exchange_cost(x), bytes_len(body)));
    slots_drop(&exchanges, x->id);
    x->id = 0;
    x->status = status;
    x->content_type = content_type;
    x->answer = body;
    x->on_answer(x->arg);
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
        LOG_ERROR("answer_malformed", LOG_TEXT("path", x->head->path));
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
    exchange_reply_json(x, 404, json_pack("{ss so*}", "error", "Not Found", "path", json_string(x->head->path)));
}

static enum http_method method_of(const struct exchange *x)
{
    return x->head->method == HTTP_HEAD ? HTTP_GET : x->head->method; /* whose body is left out */
}

static void match_route(const struct http_route *r, void *arg)
{
    struct exchange *x = arg;
    size_t len = strlen(x->allow);

    if (x->route || !path_matches(r->path, x->head))
        return;
    if (r->method == method_of(x))
        x->route = r;
    else
        snprintf(x->allow + len, sizeof(x->allow) - len, "%s%s", len ? ", " : "", http_method_str(r->method));
}

/* Where there is none, x->allow has the methods that the path has routes for. */
static void find_route(struct exchange *x)
{
    each_route(match_route, x);
    if (x->route)
        x->allow[0] = '\0';
}

static void say_no_route(struct exchange *x)
{
    bool socket = !*x->allow && socket_path_of(x->head);

    if (socket && method_of(x) == HTTP_GET) {
        exchange_fail(x, 426, "Upgrade Required");
        return;
    }
    if (socket)
        snprintf(x->allow, sizeof(x->allow), "GET");
    if (*x->allow)
        exchange_fail(x, 405, "Method Not Allowed");
    else
        exchange_not_found(x);
}

size_t exchange_body_max(const struct exchange *x)
{
    return exchange_is_upload(x) ? x->route->body_max : BODY_MAX;
}

bool exchange_is_upload(const struct exchange *x)
{
    return x->route && x->route->body_max;
}

bool exchange_is_limited(const struct exchange *x)
{
    return x->status == 429;
}

struct exchange *exchange_new(struct http_head *h, const char *ip, bool over, void (*on_answer)(void *arg), void *arg)
{
    struct exchange *x = mem_alloc(sizeof(*x));

    x->on_answer = on_answer;
    x->arg = arg;
    x->head = h;
    snprintf(x->ip, sizeof(x->ip), "%s", ip);
    x->id = slots_put(&exchanges, x);
    find_route(x);
    if (!(x->route && x->route->always) && (over || !ip_request(ip) || !afford(x)))
        exchange_fail(x, 429, "Too Many Requests");
    else if (h->method == HTTP_OPTIONS)
        exchange_reply(x, 200, NULL, NULL);
    else if (!x->route)
        say_no_route(x);
    else if (x->route->status && !ip_sees_status(ip))
        exchange_fail(x, 403, "Forbidden");
    else if (h->body_length > exchange_body_max(x))
        exchange_fail(x, 413, "Payload Too Large");
    else if (x->route->admit)
        x->route->admit(x);
    return x;
}

void exchange_body_part(struct exchange *x, struct span part)
{
    if (x->id)
        builder_add(&x->body, part);
}

static bool read_fields(struct exchange *x, struct texts *t)
{
    const struct http_route *r = x->route;
    struct span body = exchange_body(x);

    if (body.len == 0 && r->may_be_empty)
        body = SPAN("{}");
    return fields_count(r->fields) == 0 || request_object(x, body, r->fields, r->missing, t, x->values);
}

void exchange_body_end(struct exchange *x)
{
    struct texts texts = {0};

    if (x->id && exchange_cost(x))
        charge(x, cost_of_bytes(exchange_cost(x), exchange_body(x).len));
    if (x->id && read_fields(x, &texts))
        x->route->handle(x);
    texts_free(&texts);
}

bool exchange_answered(const struct exchange *x)
{
    return x->id == 0;
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

/* --- what is sent --- */

static void wire_field(struct builder *w, const char *name, const char *value)
{
    builder_text(w, name);
    builder_text(w, ": ");
    builder_text(w, value);
    builder_text(w, "\r\n");
}

/* RFC 9110 section 5.6.7; made once a second. */
static const char *date(void)
{
    static char text[32];
    static time_t made;
    time_t now = time(NULL);
    struct tm t;

    if (now != made) {
        made = now;
        strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &t));
    }
    return text;
}

static void wire_cors(struct builder *w, const char *origin)
{
    if (strcmp(config->cors_origins, "*") == 0) {
        wire_field(w, "access-control-allow-origin", "*");
    } else {
        if (origin_listed(config->cors_origins, origin))
            wire_field(w, "access-control-allow-origin", origin);
        wire_field(w, "vary", "Origin");
    }
    wire_field(w, "access-control-allow-methods", "GET, POST, DELETE, OPTIONS");
    wire_field(w, "access-control-allow-headers", "Content-Type, Authorization");
    wire_field(w, "access-control-expose-headers", "X-Bootstrap-Signature, X-Attestation-Token");
}

/* All that an answer begins with, but its length and the empty line. */
static void wire_head(struct builder *w, unsigned status, const char *origin, bool closes, const char *content_type)
{
    builder_printf(w, "HTTP/1.1 %u %s\r\n", status, http_status_str((enum http_status)status));
    wire_field(w, "date", date());
    wire_cors(w, origin);
    if (status == 426) {
        wire_field(w, "upgrade", "websocket");
        wire_field(w, "sec-websocket-version", "13");
    }
    if (status == 429 || status == 503)
        wire_field(w, "retry-after", "1");
    if (closes || status == 426)
        wire_field(w, "connection", status != 426 ? "close" : closes ? "upgrade, close" : "upgrade");
    if (content_type)
        wire_field(w, "content-type", content_type);
}

/* A 304 has no length: it would have to be that of the answer which is left out. */
static void wire_body(struct builder *w, unsigned status, struct span body, bool head)
{
    if (status != 304)
        builder_printf(w, "content-length: %zu\r\n", body.len);
    builder_text(w, "\r\n");
    if (!head)
        builder_add(w, body);
}

struct bytes *exchange_wire(const struct exchange *x, bool closes)
{
    struct builder w = {0};

    wire_head(&w, x->status, exchange_header(x, "origin"), closes, x->content_type);
    if (x->head->http_1_0 && !closes)
        wire_field(&w, "connection", "keep-alive");
    if (*x->allow)
        wire_field(&w, "allow", x->allow);
    for (size_t i = 0; i < x->added_count; i++)
        wire_field(&w, x->added[i].name, x->added[i].value);
    wire_body(&w, x->status, x->answer ? bytes_span(x->answer) : (struct span){"", 0}, x->head->method == HTTP_HEAD);
    return builder_take(&w);
}

const struct http_head *exchange_head(const struct exchange *x)
{
    return x->head;
}

struct bytes *http_refusal(unsigned status, const char *sentence, const struct http_head *h)
{
    json_t *path = h && status == 404 ? json_string(h->path) : NULL;
    struct bytes *body = json_bytes(json_pack("{ss so*}", "error", sentence, "path", path));
    struct builder w = {0};

    wire_head(&w, status, h ? http_head_field(h, "origin").at : "", true, "application/json");
    wire_body(&w, status, bytes_span(body), h && h->method == HTTP_HEAD);
    bytes_unref(body);
    return builder_take(&w);
}

void exchange_ended(struct exchange *x)
{
    if (x->id)
        slots_drop(&exchanges, x->id);
    builder_free(&x->body);
    bytes_unref(x->answer);
    http_head_free(x->head);
    for (size_t i = 0; i < x->added_count; i++)
        free(x->added[i].value);
    free(x);
}

static void list_route(const struct http_route *r, void *all)
{
    if (r->name)
        json_object_set_new(all, r->name, json_sprintf("%s %s", http_method_str(r->method), r->path));
}

json_t *http_endpoints(void)
{
    json_t *all = json_object();

    each_route(list_route, all);
    for (const struct domain *const *d = domains; *d; d++)
        if (domain_is_served(*d))
            for (const struct socket_path *p = (*d)->paths; p && p->path; p++)
                json_object_set_new(all, p->name, json_sprintf("WS %s", p->path));
    return all;
}

void http_fini(void)
{
    slots_free(&exchanges);
}
