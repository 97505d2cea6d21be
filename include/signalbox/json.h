/* SPDX-License-Identifier: MIT */
/* json: one validating pass over a message that leaves every member where it came, as a span.
   RFC 8259; nesting up to JSON_DEPTH_MAX (PROTOCOL.md section 1); UTF-8 as in RFC 3629, no surrogates. */
#pragma once

#include "signalbox/bytes.h"

#define JSON_DEPTH_MAX 64

enum json_kind {
    JSON_KIND_OBJECT,
    JSON_KIND_ARRAY,
    JSON_KIND_STRING,
    JSON_KIND_NUMBER,
    JSON_KIND_BOOL,
    JSON_KIND_NULL
};

struct json_member {
    struct span key;   /* between its quotes, escapes as they came */
    struct span value; /* the whole value without white space around it */
};

/* The members of one object, in their order. All zero is empty; reuse it for the next scan. */
struct json_members {
    struct json_member *at;
    size_t count, room;
};
void json_members_free(struct json_members *m);

/* Reads text as one JSON object. false: not JSON, not an object, too deep, or invalid UTF-8.
   The spans in m point into text. */
bool json_scan(struct span text, struct json_members *m) __attribute__((warn_unused_result));

/* The value of the last member with that name (as JSON.parse has it); false if there is none. */
bool json_find(const struct json_members *m, const char *name, struct span *value);

/* Walks an array that json_scan() gave: json_elements() is what stands between its brackets, and json_next() takes one
   element off it; false: none is left. */
struct span json_elements(struct span array);
bool json_next(struct span *rest, struct span *element);

enum json_kind json_kind(struct span value); /* of a value that json_scan() gave */

/* Decodes a JSON string into out and ends it with a zero; at most room bytes with it. *len is without it.
   false: not a string, no room, a lone surrogate escape. Room of value.len is always enough. */
bool json_read_string(struct span value, char *out, size_t room, size_t *len) __attribute__((warn_unused_result));

/* Reads a number that is an integer of any spelling (5, 5.0, 5e0) within ±2^53; false: anything else. */
bool json_read_integer(struct span value, long long *out) __attribute__((warn_unused_result));

/* The bytes of a value without the white space between its tokens. */
size_t json_compact_len(struct span value);
