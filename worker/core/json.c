/* SPDX-License-Identifier: MIT */
#include "signalbox/json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "signalbox/json_reader.h"

#define MEMBERS_ROOM_LEAST 16

/* What comes next. */
enum {
    EXPECT_OBJECT,
    EXPECT_FIRST_NAME, /* or the end of an object */
    EXPECT_NAME,
    EXPECT_COLON,
    EXPECT_FIRST_VALUE, /* or the end of an array */
    EXPECT_VALUE,
    EXPECT_SEPARATOR,
    EXPECT_END,
    IN_NAME,
    IN_STRING
};

_Static_assert(JSON_DEPTH_MAX <= 64, "the open containers must fit the bits of json_scanner.objects");

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

/* false: not a string. Where it has not ended, more says so: r stands at limit or behind it, or at the end. */
static bool read_text(struct reader *r, const unsigned char *limit, bool *more)
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

    return take(r, '"') && read_text(r, r->end, &more) && !more;
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

static bool in_object(const struct json_scanner *s)
{
    return s->objects & 1;
}

static bool open_container(struct json_scanner *s, bool object)
{
    if (s->depth == JSON_DEPTH_MAX)
        return false;
    s->reader.at++;
    s->objects = s->objects << 1 | object;
    s->depth++;
    s->state = object ? EXPECT_FIRST_NAME : EXPECT_FIRST_VALUE;
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

/* The member of that name; of a name that came before it is the same. */
static struct json_member *member_of(struct json_members *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->at[i].key.at == name)
            return &m->at[i];
    return members_next(m);
}

void members_keep(struct json_members *m, struct span key, struct span value)
{
    const char *name;

    if (!m->only) {
        *members_next(m) = (struct json_member){key, value};
        return;
    }
    name = json_names_find(m->only, key);
    if (name)
        *member_of(m, name) = (struct json_member){span_of(name), value};
}

static bool end_value(struct json_scanner *s)
{
    if (s->depth == 1)
        members_keep(s->members, s->key, span_between(s->from, s->reader.at));
    s->state = s->depth ? EXPECT_SEPARATOR : EXPECT_END;
    return true;
}

static bool close_container(struct json_scanner *s)
{
    if (!take(&s->reader, in_object(s) ? '}' : ']'))
        return false;
    s->objects >>= 1;
    s->depth--;
    return end_value(s);
}

/* Goes on with the string that it is in. */
static bool scan_text(struct json_scanner *s)
{
    bool name = s->state == IN_NAME, more;

    if (!read_text(&s->reader, s->limit, &more))
        return false;
    if (more)
        return true;
    if (!name)
        return end_value(s);
    if (s->depth == 1)
        s->key = span_between(s->from, s->reader.at - 1);
    s->state = EXPECT_COLON;
    return true;
}

static bool scan_name(struct json_scanner *s)
{
    if (!take(&s->reader, '"'))
        return false;
    if (s->depth == 1)
        s->from = s->reader.at;
    s->state = IN_NAME;
    return scan_text(s);
}

static bool scan_value(struct json_scanner *s)
{
    if (s->depth == 1)
        s->from = s->reader.at;
    switch (*s->reader.at) {
    case '{':
        return open_container(s, true);
    case '[':
        return open_container(s, false);
    case '"':
        s->reader.at++;
        s->state = IN_STRING;
        return scan_text(s);
    default:
        return read_scalar(&s->reader) && end_value(s);
    }
}

static bool scan_separator(struct json_scanner *s)
{
    if (!take(&s->reader, ','))
        return close_container(s);
    s->state = in_object(s) ? EXPECT_NAME : EXPECT_VALUE;
    return true;
}

/* One token. There is a byte left, and no white space before it where a string does not go on. */
static bool scan_token(struct json_scanner *s)
{
    switch (s->state) {
    case EXPECT_OBJECT:
        return sees(&s->reader, '{') && open_container(s, true);
    case EXPECT_FIRST_NAME:
        return sees(&s->reader, '}') ? close_container(s) : scan_name(s);
    case EXPECT_NAME:
        return scan_name(s);
    case EXPECT_COLON:
        s->state = EXPECT_VALUE;
        return take(&s->reader, ':');
    case EXPECT_FIRST_VALUE:
        return sees(&s->reader, ']') ? close_container(s) : scan_value(s);
    case EXPECT_VALUE:
        return scan_value(s);
    case EXPECT_SEPARATOR:
        return scan_separator(s);
    case IN_NAME:
    case IN_STRING:
        return scan_text(s);
    default:
        return false;
    }
}

void json_scan_begin(struct json_scanner *s, struct span text, struct json_members *m)
{
    *s = (struct json_scanner){.reader = reader_of(text), .members = m, .state = EXPECT_OBJECT};
    m->count = 0;
}

static enum json_progress refuse(struct json_scanner *s)
{
    s->members->count = 0;
    return JSON_INVALID;
}

enum json_progress json_scan_on(struct json_scanner *s, size_t bytes)
{
    struct reader *r = &s->reader;

    s->limit = (size_t)(r->end - r->at) > bytes ? r->at + bytes : r->end;
    while (r->at < s->limit) {
        if (is_space(*r->at) && s->state < IN_NAME)
            r->at++;
        else if (!scan_token(s))
            return refuse(s);
    }
    if (r->at < r->end)
        return JSON_MORE;
    return s->state == EXPECT_END ? JSON_VALID : refuse(s);
}

bool json_scan(struct span text, struct json_members *m)
{
    struct json_scanner s;

    json_scan_begin(&s, text, m);
    return json_scan_on(&s, text.len) == JSON_VALID;
}

void json_members_free(struct json_members *m)
{
    free(m->at);
    *m = (struct json_members){0};
}
