/* SPDX-License-Identifier: MIT */
/* json_reader: reading from a position in a JSON text. For core/json_read.c and core/json_scan.c alone. */
#pragma once

#include "signalbox/json_read.h"

#define EACH 0x0101010101010101u /* of eight bytes */

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

static inline struct span span_between(const unsigned char *from, const unsigned char *to)
{
    return (struct span){(const char *)from, (size_t)(to - from)};
}

/* One token. false: it is not one of JSON. */
bool reader_string(struct reader *r);
bool reader_scalar(struct reader *r); /* a number or a word; there is a byte */
/* A string, behind its first quote. Where it has not ended, more says so: r stands at limit or behind it, or at the
   end. */
bool reader_text(struct reader *r, const unsigned char *limit, bool *more);
