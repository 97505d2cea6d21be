/* SPDX-License-Identifier: MIT */
/* json_reader: reading from a position in a JSON text, and keeping its members, as core/json.c and core/json_value.c
 * do. For these two alone. */
#pragma once

#include "signalbox/json.h"

static inline struct reader reader_of(struct span text)
{
    const unsigned char *at = (const unsigned char *)text.at;

    return text.len ? (struct reader){at, at + text.len} : (struct reader){0};
}

static inline bool sees(const struct reader *r, unsigned char c)
{
    return r->at < r->end && *r->at == c;
}

static inline bool take(struct reader *r, unsigned char c)
{
    if (!sees(r, c))
        return false;
    r->at++;
    return true;
}

static inline bool is_space(unsigned char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline void skip_space(struct reader *r)
{
    while (r->at < r->end && is_space(*r->at))
        r->at++;
}

static inline bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static inline struct span span_between(const unsigned char *from, const unsigned char *to)
{
    return (struct span){(const char *)from, (size_t)(to - from)};
}

bool reader_unit(struct reader *r, unsigned *unit);
char reader_escape_byte(unsigned char letter);
bool reader_string(struct reader *r);
void members_keep(struct json_members *m, struct span key, struct span value);
