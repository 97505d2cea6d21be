/* SPDX-License-Identifier: MIT */
/* http_head: the head of a request (RFC 9112), read strictly: what may be read in two ways is refused, so that no proxy
   before us can see another request than we do. The library http-parser reads it, after a scan for what that lets
   pass: bare CR and LF, control characters, white space before a colon, folded lines, odd transfer codings. */
#pragma once

#include <http_parser.h>
#include <stdbool.h>

#include "signalbox/bytes.h"

#define HEAD_BYTES_MAX 16384 /* of a whole head: 431 */
#define HEAD_TARGET_MAX 8192 /* of its target: 414 */
#define HEAD_FIELDS_MAX 100  /* 431 */

/* Why a request is refused. */
struct http_fault {
    unsigned status;
    const char *sentence;
};

struct http_field {
    struct span name, value; /* a zero follows the value */
};

struct http_head {
    http_parser parser; /* stands behind the head: the body goes on with it */
    enum http_method method;
    char *path;           /* of the target, percent-decoded, ends with a zero; "*" of OPTIONS * */
    size_t encoded_slash; /* where in path the first slash is that was sent as %2F; SIZE_MAX: nowhere */
    struct span raw_path; /* as it was sent */
    struct span query;    /* likewise, without its question mark */
    bool keep_alive, http_1_0, upgrade /* to what its Upgrade field names */, expects_continue;
    bool chunked;                   /* the body comes in chunks */
    unsigned long long body_length; /* else; 0: there is none */
    size_t fields_count;
    struct http_field *fields;
    char *bytes;
    size_t len;
};

/* Where reading a head has come to; all zero at its beginning. */
struct http_head_scan {
    size_t at, line, begin; /* begin: behind the empty line that may come before a request (RFC 9112 section 2.2) */
};

/* Looks for the end of a head in what has come so far. 0: more is needed; else how many bytes it takes. fault->status
   is set where it cannot become a request. */
size_t http_head_end(struct http_head_scan *scan, struct span in, struct http_fault *fault);

/* Reads a whole head; copies what it keeps. fault->status is set where it is refused: then it is NULL, or a head
   that has only the fields that could be read. */
struct http_head *http_head_new(struct span whole, struct http_fault *fault);
void http_head_free(struct http_head *h); /* wipes it: it may hold secrets. NULL is fine */

/* The value of the first field of that name (any case), which a zero follows; "" where there is none. Borrowed. */
struct span http_head_field(const struct http_head *h, const char *name);
size_t http_head_count(const struct http_head *h, const char *name); /* fields of that name */
/* Whether one of these comma-separated lists, in any field of that name, has this word (any case). */
bool http_head_lists(const struct http_head *h, const char *name, const char *word);
/* The values of all fields of that name, with commas between them; "" for none. The caller frees it. */
char *http_head_joined(const struct http_head *h, const char *name);
/* An argument of the query, percent-decoded; a plus is a plus. "" if it holds a control character; NULL: there is none.
   The caller frees it. */
char *http_head_argument(const struct http_head *h, const char *name);

bool http_is_field_line(struct span line); /* "Name: value", without its end */

/* For net/http_head.c alone: fills path, raw_path and query from the target, which is in raw_path. false: malformed. */
bool http_head_read_target(struct http_head *h);
