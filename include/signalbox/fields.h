/* SPDX-License-Identifier: MIT */
/* fields: what a message or a request may hold, as a table. The reader checks an object's members against it, so that
   a handler finds them valid and in the order of the table. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "signalbox/bytes.h"
#include "signalbox/json_scan.h"

#define FIELDS_MAX 8
#define ANY_LENGTH LLONG_MAX /* of a text: as much as the message or the request may have */

enum field_kind {
    FIELD_NONE,
    FIELD_ID,    /* string of 1 to ID_MAX bytes without control characters */
    FIELD_TEXT,  /* string of at most `most` bytes */
    FIELD_INT,   /* integer from `least` to `most` */
    FIELD_ANY,   /* any value but null, an empty string too: the handler reads it from .raw */
    FIELD_IDS,   /* array of at most `most` strings that are each an id: from .raw */
    FIELD_ARRAY, /* any array, likewise */
    FIELD_OBJECT /* any object, likewise */
};

struct field {
    enum field_kind kind;
    const char *name, *alias; /* alias: another name for it, or NULL */
    bool required;
    long long least, most;
};

/* One field that passed. An optional one that is absent, null or an empty string is not present. */
struct value {
    bool present;
    struct span raw;  /* as it came */
    const char *text; /* of FIELD_ID and FIELD_TEXT: decoded, ends with a zero */
    size_t len;
    long long number;
};

/* What is wrong with a field; of several faults in one request the last in this list is the one that is told. */
enum fault {
    FAULT_NONE,
    FAULT_TYPE,      /* another kind of value */
    FAULT_LIMIT,     /* the right kind, but too much, or with bytes that it may not have */
    FAULT_ABSENT,    /* it is required */
    FAULT_UNREADABLE /* a string with a zero, or half a surrogate pair */
};

/* The decoded strings of one text. All zero is empty. */
struct texts {
    char *at;
    size_t room, used;
};
void texts_begin(struct texts *t, size_t len); /* for a text of that many bytes; those before are gone */
void texts_free(struct texts *t);

size_t fields_count(const struct field *fields);                             /* up to FIELD_NONE, or FIELDS_MAX */
void fields_add_names(const struct field *fields, struct json_names *names); /* which borrow the fields' */
/* Reads one field of an object into v, which is all zero. The value borrows the object's text, and t. */
enum fault field_read(const struct field *f, const struct json_members *object, struct texts *t, struct value *v)
    __attribute__((warn_unused_result));

bool has_control(struct span text); /* a byte that no id may have */
bool is_id(const char *text);       /* as FIELD_ID, for a text that is from no JSON */
