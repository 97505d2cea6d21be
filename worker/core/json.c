/* SPDX-License-Identifier: MIT */
#include "signalbox/json.h"

#include <stdlib.h>
#include <string.h>

#define INTEGER_MOST (1LL << 53)
#define EXPONENT_MOST (1LL << 50) /* far beyond the length of any text, far below an overflow */
#define MEMBERS_ROOM_LEAST 16

struct reader {
    const unsigned char *at, *end;
    unsigned depth;   /* containers open inside the top object */
    uint64_t objects; /* one bit for each of them, the innermost lowest: an object, not an array */
};

_Static_assert(JSON_DEPTH_MAX <= 64, "the open containers must fit the bits of reader.objects");

static struct reader reader_of(struct span text)
{
    const unsigned char *at = (const unsigned char *)text.at;

    return text.len ? (struct reader){.at = at, .end = at + text.len} : (struct reader){0};
}

static bool sees(const struct reader *r, unsigned char c)
{
    return r->at < r->end && *r->at == c;
}

static bool take(struct reader *r, unsigned char c)
{
    if (!sees(r, c))
        return false;
    r->at++;
    return true;
}

static bool is_space(unsigned char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end && is_space(*r->at))
        r->at++;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool take_digits(struct reader *r)
{
    const unsigned char *from = r->at;

    while (r->at < r->end && is_digit(*r->at))
        r->at++;
    return r->at > from;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Eight bytes at once: x - 1 sets the top bit of a byte that was zero, as x ^ pattern is where it matches.
   A borrow can only spoil bytes behind one that already counts. */
static bool are_plain(const unsigned char *at)
{
    const uint64_t each = 0x0101010101010101u;
    uint64_t x;

    memcpy(&x, at, sizeof(x));
    uint64_t odd = x | ((x ^ (each * '"')) - each) | ((x ^ (each * '\\')) - each) | (x - each * 0x20);
    return !(odd & (each * 0x80));
}

static void skip_plain(struct reader *r)
{
    while (r->end - r->at >= 8 && are_plain(r->at))
        r->at += 8;
    while (r->at < r->end && is_plain(*r->at))
        r->at++;
}

static int hex_digit(unsigned char c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads four hexadecimal digits. */
static bool read_unit(struct reader *r, unsigned *unit)
{
    *unit = 0;
    if (r->end - r->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(*r->at++);
        if (digit < 0)
            return false;
        *unit = *unit << 4 | (unsigned)digit;
    }
    return true;
}

/* What the letter behind a backslash stands for; 0: not an escape of one letter. */
static char escape_byte(unsigned char letter)
{
    static const char meanings[] = "\"\"\\\\//b\bf\fn\nr\rt\t"; /* pairs: the letter, the byte */

    for (size_t i = 0; i + 1 < sizeof(meanings); i += 2)
        if ((unsigned char)meanings[i] == letter)
            return meanings[i + 1];
    return 0;
}

static bool read_escape(struct reader *r)
{
    unsigned unit;

    r->at++;
    if (take(r, 'u'))
        return read_unit(r, &unit);
    return r->at < r->end && escape_byte(*r->at++);
}

static bool read_beyond_ascii(struct reader *r)
{
    size_t len = *r->at < 0x80 ? 0 : utf8_len((struct span){(const char *)r->at, (size_t)(r->end - r->at)});

    r->at += len;
    return len > 0;
}

static bool read_string(struct reader *r)
{
    if (!take(r, '"'))
        return false;
    for (;;) {
        skip_plain(r);
        if (r->at == r->end)
            return false;
        if (take(r, '"'))
            return true;
        if (!(*r->at == '\\' ? read_escape(r) : read_beyond_ascii(r)))
            return false;
    }
}

static bool read_number(struct reader *r)
{
    take(r, '-');
    if (!take(r, '0') && !take_digits(r))
        return false;
    if (take(r, '.') && !take_digits(r))
        return false;
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '+'))
            take(r, '-');
        return take_digits(r);
    }
    return true;
}

static bool read_word(struct reader *r, struct span word)
{
    if ((size_t)(r->end - r->at) < word.len || memcmp(r->at, word.at, word.len) != 0)
        return false;
    r->at += word.len;
    return true;
}

static bool read_scalar(struct reader *r)
{
    if (r->at == r->end)
        return false;
    switch (*r->at) {
    case '"':
        return read_string(r);
    case 't':
        return read_word(r, SPAN("true"));
    case 'f':
        return read_word(r, SPAN("false"));
    case 'n':
        return read_word(r, SPAN("null"));
    default:
        return read_number(r);
    }
}

static struct span span_between(const unsigned char *from, const unsigned char *to)
{
    return (struct span){(const char *)from, (size_t)(to - from)};
}

/* A name, its colon, and the space up to the first byte of its value. */
static bool read_key(struct reader *r, struct span *key)
{
    const unsigned char *from = r->at;

    if (!read_string(r))
        return false;
    *key = span_between(from + 1, r->at - 1);
    skip_space(r);
    if (!take(r, ':'))
        return false;
    skip_space(r);
    return true;
}

static bool in_object(const struct reader *r)
{
    return r->objects & 1;
}

static bool take_close(struct reader *r)
{
    if (!take(r, in_object(r) ? '}' : ']'))
        return false;
    r->objects >>= 1;
    r->depth--;
    return true;
}

static bool take_open(struct reader *r)
{
    bool object = *r->at == '{';

    if (r->depth + 1 == JSON_DEPTH_MAX)
        return false;
    r->at++;
    r->objects = r->objects << 1 | object;
    r->depth++;
    skip_space(r);
    return true;
}

/* Behind a value: closes what ends here, up to the next value of a container that goes on. */
static bool read_separator(struct reader *r)
{
    struct span ignored;

    while (r->depth) {
        skip_space(r);
        if (take(r, ',')) {
            skip_space(r);
            return !in_object(r) || read_key(r, &ignored);
        }
        if (!take_close(r))
            return false;
    }
    return true;
}

static bool read_value(struct reader *r)
{
    struct span ignored;

    do {
        if (sees(r, '{') || sees(r, '[')) {
            if (!take_open(r))
                return false;
            if (!take_close(r)) {
                if (in_object(r) && !read_key(r, &ignored))
                    return false;
                continue;
            }
        } else if (!read_scalar(r)) {
            return false;
        }
        if (!read_separator(r))
            return false;
    } while (r->depth);
    return true;
}

static struct json_member *members_next(struct json_members *m)
{
    if (m->count == m->room) {
        m->room = m->room ? m->room * 2 : MEMBERS_ROOM_LEAST;
        m->at = mem_grow(m->at, m->room * sizeof(*m->at));
    }
    return &m->at[m->count++];
}

static bool read_member(struct reader *r, struct json_members *m)
{
    struct json_member *member = members_next(m);

    skip_space(r);
    if (!read_key(r, &member->key))
        return false;
    const unsigned char *from = r->at;
    if (!read_value(r))
        return false;
    member->value = span_between(from, r->at);
    skip_space(r);
    return true;
}

static bool read_members(struct reader *r, struct json_members *m)
{
    skip_space(r);
    if (!take(r, '{'))
        return false;
    skip_space(r);
    if (!take(r, '}')) {
        do {
            if (!read_member(r, m))
                return false;
        } while (take(r, ','));
        if (!take(r, '}'))
            return false;
    }
    skip_space(r);
    return r->at == r->end;
}

bool json_scan(struct span text, struct json_members *m)
{
    struct reader r = reader_of(text);

    m->count = 0;
    if (read_members(&r, m))
        return true;
    m->count = 0; /* the last one may be half filled */
    return false;
}

void json_members_free(struct json_members *m)
{
    free(m->at);
    *m = (struct json_members){0};
}

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
        out[0] = r->at < r->end ? escape_byte(*r->at++) : 0;
        return out[0] ? 1 : 0;
    }
    if (!read_unit(r, &unit) || is_low(unit))
        return 0;
    if (!is_high(unit))
        return utf8_encode(unit, out);
    if (!take(r, '\\') || !take(r, 'u') || !read_unit(r, &low) || !is_low(low))
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

size_t json_compact_len(struct span value)
{
    struct reader r = reader_of(value);
    size_t spaces = 0;

    while (r.at < r.end) {
        if (*r.at == '"') {
            if (!read_string(&r))
                break; /* never for a value that json_scan() gave */
            continue;
        }
        spaces += is_space(*r.at++);
    }
    return value.len - spaces;
}
