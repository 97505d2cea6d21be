/* SPDX-License-Identifier: MIT */
/* json_scan: one validating pass over a message that leaves every member where it came, as a span.
   RFC 8259; nesting up to JSON_DEPTH_MAX (docs/design.md, "Limits"); UTF-8 as in RFC 3629, no surrogates. */
#pragma once

#include "signalbox/json_read.h"

#define JSON_DEPTH_MAX 64

struct json_member {
    struct span key;   /* between its quotes, escapes as they came */
    struct span value; /* the whole value without white space around it */
};

/* The members of one object, in their order. All zero is empty; reuse it for the next scan. */
struct json_members {
    struct json_member *at;
    size_t count, room;
    const struct json_names *only; /* borrowed: just these are kept, the last of each name, with the name for a key */
};
void json_members_free(struct json_members *m);

/* Reads text as one JSON object. false: not JSON, not an object, too deep, or invalid UTF-8.
   The spans in m point into text. */
bool json_scan(struct span text, struct json_members *m) __attribute__((warn_unused_result));

/* The same in portions, for a text that is too long to be read at once: json_scan_on() reads about so many bytes more,
   a number, or text without an escape, to its end. The text stays where it is meanwhile, and m is to be used when it is
   JSON_VALID. */
enum json_progress { JSON_MORE, JSON_VALID, JSON_INVALID };
struct json_scanner {
    struct reader reader;
    const unsigned char *limit; /* of this portion */
    struct json_members *members;
    int state;
    unsigned depth;            /* containers that are open */
    uint64_t objects;          /* one bit for each of them, the innermost lowest: an object, not an array */
    const unsigned char *from; /* where the name or the value of a member began */
    struct span key;
};
void json_scan_begin(struct json_scanner *s, struct span text, struct json_members *m);
enum json_progress json_scan_on(struct json_scanner *s, size_t bytes);

/* The value of the last member with that name (as JSON.parse has it); false if there is none.
   Where only some names are kept, it is to be one of them. */
bool json_find(const struct json_members *m, const char *name, struct span *value);

/* The members of an object that json_scan() gave: as scanning it, and faster. false: there are more than `most`. */
bool json_members_of(struct span object, size_t most, struct json_members *m) __attribute__((warn_unused_result));

/* Walks an array that json_scan() gave: json_elements() is what stands between its brackets, and json_next() takes one
   element off it; false: none is left. */
struct span json_elements(struct span array);
bool json_next(struct span *rest, struct span *element);
/* The same, with the members of an element that is an object; another has none. */
bool json_next_members(struct span *rest, struct json_members *m);

/* The bytes of a value without the white space between its tokens. */
size_t json_compact_len(struct span value);
