/* SPDX-License-Identifier: MIT */
#include "signalbox/json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "signalbox/json_reader.h"

#define MEMBERS_ROOM_LEAST 16

_Static_assert(JSON_DEPTH_MAX <= 64, "the open containers must fit the bits of reader.objects");

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
bool reader_unit(struct reader *r, unsigned *unit)
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
char reader_escape_byte(unsigned char letter)
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
        return reader_unit(r, &unit);
    return r->at < r->end && reader_escape_byte(*r->at++);
}

static bool read_beyond_ascii(struct reader *r)
{
    size_t len = *r->at < 0x80 ? 0 : utf8_len((struct span){(const char *)r->at, (size_t)(r->end - r->at)});

    r->at += len;
    return len > 0;
}

bool reader_string(struct reader *r)
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
        return reader_string(r);
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

/* A name, its colon, and the space up to the first byte of its value. */
static bool read_key(struct reader *r, struct span *key)
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
