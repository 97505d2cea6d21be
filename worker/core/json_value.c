/* SPDX-License-Identifier: MIT */
/* What a scanned value holds. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/json_reader.h"

#define INTEGER_MOST (1LL << 53)
#define EACH 0x0101010101010101u  /* of eight bytes */
#define EXPONENT_MOST (1LL << 50) /* far beyond the length of any text, far below an overflow */

static bool is_high(unsigned unit)
{
    return unit >= 0xd800 && unit < 0xdc00;
}

static bool is_low(unsigned unit)
{
    return unit >= 0xdc00 && unit < 0xe000;
}

static size_t utf8_encode(unsigned code, char out[static 4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }

    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(leads[len] | code);
    return len;
}

/* Decodes the escape that r stands at; 0: a lone surrogate, or cut short. */
static size_t decode_escape(struct reader *r, char out[static 4])
{
    unsigned unit, low;

    r->at++;
    if (!take(r, 'u')) {
        out[0] = r->at < r->end ? reader_escape_byte(*r->at++) : 0;
        return out[0] ? 1 : 0;
    }
    if (!reader_unit(r, &unit) || is_low(unit))
        return 0;
    if (!is_high(unit))
        return utf8_encode(unit, out);
    if (!take(r, '\\') || !take(r, 'u') || !reader_unit(r, &low) || !is_low(low))
        return 0;
    return utf8_encode(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), out);
}

/* The next piece of a string: all up to its next backslash as it is, or one escape decoded into room.
   An empty piece: see decode_escape(). */
static struct span decode_piece(struct reader *r, char room[static 4])
{
    if (*r->at == '\\')
        return (struct span){room, decode_escape(r, room)};

    const unsigned char *from = r->at;
    r->at = memchr(from, '\\', (size_t)(r->end - from));
    if (!r->at)
        r->at = r->end;
    return span_between(from, r->at);
}

bool json_read_string(struct span value, char *out, size_t room, size_t *len)
{
    if (value.len < 2 || value.at[0] != '"')
        return false;

    struct reader r = reader_of((struct span){value.at + 1, value.len - 2});
    size_t used = 0;
    while (r.at < r.end) {
        char decoded[4];
        struct span piece = decode_piece(&r, decoded);
        if (!piece.len || piece.len >= room - used)
            return false;
        memcpy(out + used, piece.at, piece.len);
        used += piece.len;
    }
    if (used >= room)
        return false;
    out[used] = '\0';
    *len = used;
    return true;
}

bool json_read_key(struct span key, char *out, size_t room, size_t *len)
{
    return json_read_string((struct span){key.at - 1, key.len + 2}, out, room, len);
}

static bool decodes_to(struct span key, struct span name)
{
    struct reader r = reader_of(key);

    while (r.at < r.end) {
        char decoded[4];
        struct span piece = decode_piece(&r, decoded);
        if (!piece.len || piece.len > name.len || memcmp(piece.at, name.at, piece.len) != 0)
            return false;
        name.at += piece.len;
        name.len -= piece.len;
    }
    return name.len == 0;
}

/* An escape is longer than what it stands for, so that only a longer key can be worth decoding. */
static bool key_is(struct span key, struct span name)
{
    if (key.len <= name.len)
        return span_equals(key, name) && !memchr(key.at, '\\', key.len);
    return memchr(key.at, '\\', key.len) && decodes_to(key, name);
}

bool json_find(const struct json_members *m, const char *name, struct span *value)
{
    struct span wanted = span_of(name);

    assert(!m->only || json_names_find(m->only, wanted));
    for (size_t i = m->count; i > 0; i--) {
        if (key_is(m->at[i - 1].key, wanted)) {
            *value = m->at[i - 1].value;
            return true;
        }
    }
    return false;
}

enum json_kind json_kind(struct span value)
{
    switch (value.at[0]) {
    case '{':
        return JSON_KIND_OBJECT;
    case '[':
        return JSON_KIND_ARRAY;
    case '"':
        return JSON_KIND_STRING;
    case 't':
    case 'f':
        return JSON_KIND_BOOL;
    case 'n':
        return JSON_KIND_NULL;
    default:
        return JSON_KIND_NUMBER;
    }
}

/* A number as digits * 10^exponent, with no zero at the end of its digits. */
struct decimal {
    long long digits, exponent, zeros; /* zeros: met, and not yet known to be inside */
};

/* false: more than an integer may have, whatever the exponent. */
static bool decimal_add(struct decimal *d, int digit)
{
    if (digit == 0) {
        d->zeros++;
        return true;
    }
    for (; d->digits && d->zeros; d->zeros--) {
        d->digits *= 10;
        if (d->digits > INTEGER_MOST)
            return false;
    }
    d->zeros = 0;
    d->digits = d->digits * 10 + digit;
    return d->digits <= INTEGER_MOST;
}

static bool read_decimal(struct reader *r, struct decimal *d)
{
    bool fraction = false;

    for (; r->at < r->end && (is_digit(*r->at) || *r->at == '.'); r->at++) {
        if (*r->at == '.') {
            fraction = true;
            continue;
        }
        if (!decimal_add(d, *r->at - '0'))
            return false;
        d->exponent -= fraction;
    }
    d->exponent += d->zeros;
    return true;
}

static long long read_exponent(struct reader *r)
{
    long long exponent = 0;

    if (!take(r, 'e') && !take(r, 'E'))
        return 0;
    bool negative = take(r, '-');
    take(r, '+');
    for (; r->at < r->end && exponent < EXPONENT_MOST; r->at++)
        exponent = exponent * 10 + (*r->at - '0');
    return negative ? -exponent : exponent;
}

bool json_read_integer(struct span value, long long *out)
{
    if (json_kind(value) != JSON_KIND_NUMBER)
        return false;

    struct reader r = reader_of(value);
    struct decimal d = {0};
    bool negative = take(&r, '-');
    if (!read_decimal(&r, &d))
        return false;
    d.exponent += read_exponent(&r);
    if (d.digits && d.exponent < 0)
        return false;
    for (; d.digits && d.exponent > 0; d.exponent--) {
        d.digits *= 10;
        if (d.digits > INTEGER_MOST)
            return false;
    }
    *out = negative ? -d.digits : d.digits;
    return true;
}

/* Eight bytes at once, as in json.c: none of them is one of "[]{} (some letters are taken for a bracket). */
static bool no_bracket(uint64_t x)
{
    uint64_t brackets = (x | EACH * 0x26) ^ EACH * 0x7f;

    return !((x | ((x ^ EACH * '"') - EACH) | (brackets - EACH)) & EACH * 0x80);
}

/* None of them is white space or a quote. */
static bool no_space(uint64_t x)
{
    return !((x | ((x ^ EACH * '"') - EACH) | (x - EACH * 0x21)) & EACH * 0x80);
}

static void skip_while(struct reader *r, bool (*none)(uint64_t eight))
{
    uint64_t x;

    for (; r->end - r->at >= (ptrdiff_t)sizeof(x); r->at += sizeof(x)) {
        memcpy(&x, r->at, sizeof(x));
        if (!none(x))
            return;
    }
}

/* These three never fail inside what json_scan() gave. */
static bool skip_container(struct reader *r)
{
    size_t depth = 0;

    do {
        unsigned char c = *r->at;
        bool opens = c == '[' || c == '{', closes = c == ']' || c == '}';

        if (c == '"' && !reader_string(r))
            return false;
        if (c != '"')
            r->at++;
        depth += opens;
        depth -= closes;
        if (!opens && !closes)
            skip_while(r, no_bracket);
    } while (depth > 0 && r->at < r->end);
    return depth == 0;
}

static bool skip_value(struct reader *r, struct span *value)
{
    const unsigned char *from = r->at;

    if (sees(r, '"')) {
        if (!reader_string(r))
            return false;
    } else if (sees(r, '[') || sees(r, '{')) {
        if (!skip_container(r))
            return false;
    } else {
        while (r->at < r->end && *r->at != ',' && *r->at != '}' && !is_space(*r->at))
            r->at++;
    }
    *value = span_between(from, r->at);
    skip_space(r);
    return true;
}

static bool skip_name(struct reader *r, struct span *key)
{
    const unsigned char *from = r->at;

    if (!reader_string(r))
        return false;
    *key = span_between(from + 1, r->at - 1);
    skip_space(r);
    if (!take(r, ':'))
        return false;
    skip_space(r);
    return true;
}

/* Of an object, up to behind its end. false: there are more than `most`. */
static bool walk_members(struct reader *r, size_t most, struct json_members *m)
{
    struct span key, value;

    m->count = 0;
    take(r, '{');
    skip_space(r);
    while (!take(r, '}')) {
        if (!skip_name(r, &key) || !skip_value(r, &value))
            return false;
        members_keep(m, key, value);
        if (m->count > most)
            return false;
        take(r, ',');
        skip_space(r);
    }
    return true;
}

bool json_members_of(struct span object, size_t most, struct json_members *m)
{
    struct reader r = reader_of(object);

    assert(sees(&r, '{'));
    return walk_members(&r, most, m);
}

struct span json_elements(struct span array)
{
    if (array.len < 2 || array.at[0] != '[')
        abort();
    return (struct span){array.at + 1, array.len - 2};
}

bool json_next(struct span *rest, struct span *element)
{
    struct reader r = reader_of(*rest);

    skip_space(&r);
    if (!skip_value(&r, element))
        return false;
    take(&r, ',');
    *rest = span_between(r.at, r.end);
    return element->len > 0;
}

bool json_next_members(struct span *rest, struct json_members *m)
{
    struct reader r = reader_of(*rest);
    struct span element;

    skip_space(&r);
    if (!sees(&r, '{')) {
        m->count = 0;
        return json_next(rest, &element);
    }
    if (!walk_members(&r, SIZE_MAX, m))
        return false;
    skip_space(&r);
    take(&r, ',');
    *rest = span_between(r.at, r.end);
    return true;
}

size_t json_compact_len(struct span value)
{
    struct reader r = reader_of(value);
    size_t spaces = 0;

    while (r.at < r.end) {
        skip_while(&r, no_space);
        if (sees(&r, '"')) {
            if (!reader_string(&r))
                break;
        } else if (r.at < r.end) {
            spaces += is_space(*r.at++);
        }
    }
    return value.len - spaces;
}
