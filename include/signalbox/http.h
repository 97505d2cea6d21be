/* SPDX-License-Identifier: MIT */
/* http: requests and their answers. A handler answers at once, or later by a turn. */
#pragma once

#include <http_parser.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "signalbox/bytes.h"
#include "signalbox/cost.h"
#include "signalbox/fields.h"

struct exchange;
struct http_head;
typedef uint64_t exchange_id;

struct http_route {
    enum http_method method; /* http-parser's; HEAD is answered as GET */
    const char *path;        /* "/servers", or with one trailing star: "/servers/" followed by "*" */
    const char *name;        /* in the list of endpoints; NULL keeps it out */
    void (*handle)(struct exchange *x);
    bool always;                       /* answered also to an address that is over its limits: for probes and scrapes */
    bool status;                       /* for those in STATUS_ALLOW alone */
    size_t body_max;                   /* bytes; 0: 64 KiB */
    bool (*admit)(struct exchange *x); /* before the body is read; false: it was answered. NULL: all are admitted */
    struct field fields[FIELDS_MAX];   /* of its body, a JSON object; without any, the handler reads it by itself */
    const char *missing;               /* said where one is absent; then, one of another type is as absent too */
    bool may_be_empty;                 /* no body at all is an object without members */
    struct cost cost;                  /* the address pays it, unless `always` */
};

struct exchange *exchange_find(exchange_id id); /* NULL: gone, or answered already */
exchange_id exchange_id_of(const struct exchange *x);

const struct cost *exchange_cost(const struct exchange *x); /* of its route; NULL: nobody pays it */
const char *exchange_ip(const struct exchange *x);          /* of the client */
const char *exchange_path(const struct exchange *x);        /* percent-decoded once, as it was sent otherwise */
struct span exchange_raw_path(const struct exchange *x);    /* not decoded */
char *exchange_argument(const struct exchange *x, const char *name);     /* of the query: see http_head_argument() */
const char *exchange_header(const struct exchange *x, const char *name); /* "" where there is none */
bool exchange_has_bearer(const struct exchange *x, const char *secret);  /* compared in constant time */
bool exchange_is_attested(const struct exchange *x); /* as is_attested() (dialect.h), of what this request shows */
struct span exchange_body(const struct exchange *x); /* borrowed until it is answered */
const struct value *exchange_values(const struct exchange *x); /* of the route's fields; until its handler returns */
struct bytes *exchange_take_body(struct exchange *x);          /* the caller's; NULL without a body */
/* To the answer; up to HEADERS_ADDED_MAX of them. name: kept, not copied. */
#define HEADERS_ADDED_MAX 8
void exchange_add_header(struct exchange *x, const char *name, const char *value);

/* Answers. Every one but the first is ignored. body: takes the reference, or NULL. */
void exchange_reply(struct exchange *x, unsigned status, const char *content_type, struct bytes *body);
void exchange_reply_json(struct exchange *x, unsigned status, json_t *body); /* takes the reference */
void exchange_fail(struct exchange *x, unsigned status, const char *sentence);
void exchange_unavailable(struct exchange *x); /* 503: Redis is out of reach */
void exchange_not_found(struct exchange *x);   /* 404: as if there were no route to the path */

bool origin_listed(const char *list, const char *origin); /* in a list of origins, or in * */

json_t *http_endpoints(void); /* {name: "METHOD /path"} of all routes and WebSocket paths; a new reference */

/* For net/connection.c alone. */
/* Takes the head; routes and checks it, and may answer at once. over: the client's address is over a limit.
   on_answer(arg): it has an answer; called once, until it has ended. */
struct exchange *exchange_new(struct http_head *h, const char *ip, bool over, void (*on_answer)(void *arg), void *arg);
bool exchange_is_limited(const struct exchange *x); /* it was answered that there is too much from this address */
size_t exchange_body_max(const struct exchange *x); /* bytes */
bool exchange_is_upload(const struct exchange *x);  /* more than the others' is let pass */
void exchange_body_part(struct exchange *x, struct span part); /* nothing, once it is answered */
void exchange_body_end(struct exchange *x);                    /* calls the handler, unless it is answered */
bool exchange_answered(const struct exchange *x);
struct bytes *exchange_wire(const struct exchange *x, bool closes); /* the answer; one reference */
void exchange_ended(struct exchange *x);                            /* frees it */
const struct http_head *exchange_head(const struct exchange *x);    /* borrowed */
/* An answer to what never became an exchange, or comes to no good; the connection closes behind it. h: of the request,
   as far as it could be read; or NULL. */
struct bytes *http_refusal(unsigned status, const char *sentence, const struct http_head *h);
void http_fini(void);
