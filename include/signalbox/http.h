/* SPDX-License-Identifier: MIT */
/* http: requests and their answers. A handler answers at once or later; whoever answers later keeps the
   exchange_id, because the client may have left. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "signalbox/bytes.h"

struct exchange;
struct lws;
typedef uint64_t exchange_id;

enum http_method { HTTP_GET, HTTP_POST, HTTP_DELETE, HTTP_METHODS };

struct http_route {
    enum http_method method;
    const char *path; /* "/servers", or with one trailing star: "/servers/" followed by "*" */
    const char *name; /* in the list of endpoints; NULL keeps it out */
    void (*handle)(struct exchange *x);
    bool always;                       /* answered also to an address that is over its connection rate */
    size_t body_max;                   /* bytes; 0: 64 KiB */
    bool (*admit)(struct exchange *x); /* before the body is read; false: it was answered. NULL: all are admitted */
};
void http_add_routes(const struct http_route *routes, size_t count); /* kept, not copied */

struct exchange *exchange_find(exchange_id id); /* NULL: gone, or answered already */
exchange_id exchange_id_of(const struct exchange *x);

const char *exchange_ip(const struct exchange *x);   /* of the client */
const char *exchange_path(const struct exchange *x); /* percent-decoded */
/* An argument of the query, percent-decoded; false: not given, or it has no room. Only in the handler of a GET. */
bool exchange_query(struct exchange *x, const char *name, char *out, size_t room);

enum http_header {
    HEADER_AUTHORIZATION,
    HEADER_SERVER_SIGNATURE,
    HEADER_SERVER_TIMESTAMP,
    HEADER_ACCEPT,
    HEADER_IF_NONE_MATCH,
    HTTP_HEADERS
};
const char *exchange_header(const struct exchange *x, enum http_header h); /* "" where there is none */
bool exchange_has_bearer(const struct exchange *x, const char *secret);    /* compared in constant time */
struct span exchange_body(const struct exchange *x);                       /* borrowed until it is answered */
struct bytes *exchange_take_body(struct exchange *x);                      /* the caller's; NULL without a body */
/* To the answer; up to HEADERS_ADDED_MAX of them. name: kept, not copied. */
#define HEADERS_ADDED_MAX 8
void exchange_add_header(struct exchange *x, const char *name, const char *value);

/* Answers. Every one but the first is ignored. body: takes the reference, or NULL. */
void exchange_reply(struct exchange *x, unsigned status, const char *content_type, struct bytes *body);
void exchange_reply_json(struct exchange *x, unsigned status, json_t *body); /* takes the reference */
void exchange_fail(struct exchange *x, unsigned status, const char *sentence);
void exchange_unavailable(struct exchange *x); /* 503: Redis is out of reach */
/* The same for whoever answers later, if it is still there. sentence NULL: 503, whatever the status. */
void exchange_give_up(exchange_id id, unsigned status, const char *sentence);
void exchange_not_found(struct exchange *x); /* 404: as if there were no route to the path */

bool origin_listed(const char *list, const char *origin); /* in a list of origins, or in * */

json_t *http_endpoints(void); /* {name: "METHOD /path"} of all routes and WebSocket paths; a new reference */

/* For net/server.c alone. */
struct http_request {
    const char *method, *path, *origin, *ip;
    const char *socket_path_name; /* set where the path is a WebSocket's: answered 426 */
    bool head, over_rate;
    bool chunked; /* a body in chunks, which is not understood: 411 */
    const char *headers[HTTP_HEADERS];
    bool unknown_end; /* where the request ends cannot be told: the connection ends with the answer */
    long long content_length;
};
struct exchange *exchange_new(struct lws *wsi, const struct http_request *request); /* routes and checks it */
bool exchange_wants_body(const struct exchange *x);
void exchange_body_part(struct exchange *x, struct span part);
void exchange_body_end(struct exchange *x);
int exchange_write(struct exchange *x); /* as the library's callback returns: 0, or -1 to close */
void exchange_ended(struct exchange *x);
int http_refuse(struct lws *wsi, unsigned status, const char *sentence, const char *origin,
                const char *path); /* before an upgrade */
struct lws_protocol_vhost_options;
const struct lws_protocol_vhost_options *http_common_headers(void); /* of every answer, also the library's own */
void http_fini(void);
