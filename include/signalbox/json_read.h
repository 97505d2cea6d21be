/* SPDX-License-Identifier: MIT */
/* json_read: what one value of a scanned JSON text holds, and which name a key spells. */
#pragma once

#include "signalbox/bytes.h"

/* A position in a JSON text. */
struct reader {
    const unsigned char *at, *end;
};

enum json_kind {
    JSON_KIND_OBJECT,
    JSON_KIND_ARRAY,
    JSON_KIND_STRING,
    JSON_KIND_NUMBER,
    JSON_KIND_BOOL,
    JSON_KIND_NULL
};

enum json_kind json_kind(struct span value); /* of a value that json_scan() gave */

/* Decodes a JSON string into out and ends it with a zero; at most room bytes with it. *len is without it.
   false: not a string, no room, a lone surrogate escape. Room of value.len is always enough. */
bool json_read_string(struct span value, char *out, size_t room, size_t *len) __attribute__((warn_unused_result));

/* The same of a member's key, which stands between its quotes. */
bool json_read_key(struct span key, char *out, size_t room, size_t *len) __attribute__((warn_unused_result));

/* Reads a number that is an integer of any spelling (5, 5.0, 5e0) within ±2^53; false: anything else. */
bool json_read_integer(struct span value, long long *out) __attribute__((warn_unused_result));

/* The key, between its quotes, spells this name. */
bool json_key_is(struct span key, struct span name);

/* A set of member names. All zero is empty. */
#define JSON_NAME_MAX 32
struct json_names {
    const char **of_len[JSON_NAME_MAX + 1]; /* each list ends with NULL */
};
void json_names_add(struct json_names *n, const char *name); /* borrowed; of 1 to JSON_NAME_MAX bytes */
void json_names_free(struct json_names *n);
/* The name of the set that a key spells, escapes as they came between its quotes; NULL: none. */
const char *json_names_find(const struct json_names *n, struct span key);
