/* SPDX-License-Identifier: MIT */
#include "signalbox/json_read.h"

#include <stdlib.h>
#include <string.h>

#include "signalbox/json_reader.h"

#define ESCAPE_LEN 6 /* of \u0041 */
#define INTEGER_MOST (1LL << 53)
#define EXPONENT_MOST (1LL << 50) /* far beyond the length of any text, far below an overflow */

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

/* --- one token of a text that may be no JSON --- */

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Eight bytes at once: x - 1 sets the top bit of a byte that was zero, as x ^ pattern is where it matches.
   A borrow can only spoil bytes behind one that already counts. */
static bool are_plain(const unsigned char *at)
{
    uint64_t x;

    memcpy(&x, at, sizeof(x));
    uint64_t odd = x | ((x ^ (EACH * '"')) - EACH) | ((x ^ (EACH * '\\')) - EACH) | (x - EACH * 0x20);
    return !(odd & (EACH * 0x80));
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

bool reader_text(struct reader *r, const unsigned char *limit, bool *more)
{
    *more = false;
    for (;;) {
        skip_plain(r);
        if (take(r, '"'))
            return true;
        *more = r->at >= limit;
        if (*more)
            return true;
        if (!(*r->at == '\\' ? read_escape(r) : read_beyond_ascii(r)))
            return false;
    }
}

bool reader_string(struct reader *r)
{
    bool more;

    return take(r, '"') && reader_text(r, r->end, &more) && !more;
}

static bool take_digits(struct reader *r)
{
    const unsigned char *from = r->at;

    while (r->at < r->end && is_digit(*r->at))
        r->at++;
    return r->at > from;
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

bool reader_scalar(struct reader *r)
{
    switch (*r->at) {
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

/* --- strings --- */

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

bool json_read_key(struct span key, char *out, size_t room, size_t *len)
{
    return json_read_string((struct span){key.at - 1, key.len + 2}, out, room, len);
}

/* --- names --- */

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
bool json_key_is(struct span key, struct span name)
{
    if (key.len <= name.len)
        return span_equals(key, name) && !memchr(key.at, '\\', key.len);
    return memchr(key.at, '\\', key.len) && decodes_to(key, name);
}

static const char *find(const struct json_names *n, struct span name)
{
    const char **list = name.len <= JSON_NAME_MAX ? n->of_len[name.len] : NULL;

    for (; list && *list; list++)
        if (memcmp(*list, name.at, name.len) == 0)
            return *list;
    return NULL;
}

void json_names_add(struct json_names *n, const char *name)
{
    size_t len = strlen(name), count = 0;
    const char **list;

    if (len < 1 || len > JSON_NAME_MAX)
        abort();
    if (find(n, span_of(name)))
        return;
    list = n->of_len[len];
    while (list && list[count])
        count++;
    list = mem_grow(list, (count + 2) * sizeof(*list));
    list[count] = name;
    list[count + 1] = NULL;
    n->of_len[len] = list;
}

void json_names_free(struct json_names *n)
{
    for (size_t len = 0; len <= JSON_NAME_MAX; len++)
        free(n->of_len[len]);
    *n = (struct json_names){0};
}

const char *json_names_find(const struct json_names *n, struct span key)
{
    char decoded[JSON_NAME_MAX + 1];

    if (key.len == 0 || key.len > (size_t)JSON_NAME_MAX * ESCAPE_LEN)
        return NULL;
    if (!memchr(key.at, '\\', key.len))
        return find(n, key);

    struct span name = {decoded, 0};
    bool ok = json_read_key(key, decoded, sizeof(decoded), &name.len);
    return ok ? find(n, name) : NULL;
}

/* --- integers --- */

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
