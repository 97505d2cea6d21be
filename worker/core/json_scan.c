/* SPDX-License-Identifier: MIT */
#include "signalbox/json_scan.h"

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

static bool is_space(unsigned char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void skip_space(struct reader *r)
{
    while (r->at < r->end && is_space(*r->at))
        r->at++;
}

/* --- members --- */

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

static void keep(struct json_members *m, struct span key, struct span value)
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

bool json_find(const struct json_members *m, const char *name, struct span *value)
{
    struct span wanted = span_of(name);

    assert(!m->only || json_names_find(m->only, wanted));
    for (size_t i = m->count; i > 0; i--) {
        if (json_key_is(m->at[i - 1].key, wanted)) {
            *value = m->at[i - 1].value;
            return true;
        }
    }
    return false;
}

void json_members_free(struct json_members *m)
{
    free(m->at);
    *m = (struct json_members){0};
}

/* --- a text that may be no JSON --- */

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

static bool end_value(struct json_scanner *s)
{
    if (s->depth == 1)
        keep(s->members, s->key, span_between(s->from, s->reader.at));
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

    if (!reader_text(&s->reader, s->limit, &more))
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
        return reader_scalar(&s->reader) && end_value(s);
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

/* --- what was scanned before --- */

/* Eight bytes at once, as in json_read.c: none of them is one of "[]{} (some letters are taken for a bracket). */
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
        keep(m, key, value);
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
