/* SPDX-License-Identifier: MIT */
#undef NDEBUG /* the asserts are what is tested */
#include "signalbox/json_scan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_string(struct span value)
{
    char *out = mem_alloc(value.len);
    size_t len;

    if (json_read_string(value, out, value.len, &len)) {
        assert(json_kind(value) == JSON_KIND_STRING);
        assert(len + 2 <= value.len && out[len] == '\0');
        for (size_t at = 0, step; at < len; at += step) {
            step = utf8_len((struct span){out + at, len - at});
            assert(step > 0);
        }
    }
    free(out);
}

static void check_member(const struct json_member *member, struct span text)
{
    long long number;

    assert(member->value.at > text.at && member->value.at + member->value.len < text.at + text.len);
    check_string(member->value);
    if (json_read_integer(member->value, &number)) {
        assert(json_kind(member->value) == JSON_KIND_NUMBER);
        assert(number >= -(1LL << 53) && number <= 1LL << 53);
    }
    size_t len = json_compact_len(member->value);
    assert(len >= 1 && len <= member->value.len);
}

static void check_find(const struct json_members *m, const struct json_member *member)
{
    char *name = span_dup(member->key);
    struct span value;

    bool found = json_find(m, name, &value);
    assert(found || memchr(name, '\\', member->key.len));
    free(name);
}

static void check_same(const struct json_members *a, const struct json_members *b)
{
    assert(a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert(span_equals(a->at[i].key, b->at[i].key));
        assert(a->at[i].value.at == b->at[i].value.at && a->at[i].value.len == b->at[i].value.len);
    }
}

/* A scan in portions, and a walk through what was scanned, find the same members. */
static void check_other_ways(const struct json_members *m, struct span text, bool valid)
{
    static struct json_members other;
    struct json_scanner scanner;
    enum json_progress progress;
    size_t portion = text.len % 7 + 1;

    json_scan_begin(&scanner, text, &other);
    do
        progress = json_scan_on(&scanner, portion);
    while (progress == JSON_MORE);
    assert((progress == JSON_VALID) == valid);
    check_same(m, &other);
    if (!valid)
        return;
    while (text.at[0] != '{')
        text = (struct span){text.at + 1, text.len - 1};
    assert(json_members_of(text, SIZE_MAX, &other));
    check_same(m, &other);
}

/* What stands in a value is found again: its members by a scan of it, or all of its elements. */
static void check_inside(struct span value)
{
    static struct json_members scanned, members;
    struct span rest, element;

    if (json_kind(value) == JSON_KIND_OBJECT) {
        assert(json_scan(value, &scanned) && json_members_of(value, SIZE_MAX, &members));
        check_same(&scanned, &members);
    } else if (json_kind(value) == JSON_KIND_ARRAY) {
        struct span again = rest = json_elements(value);
        while (json_next(&rest, &element)) {
            check_inside(element);
            assert(json_next_members(&again, &members) && again.at == rest.at);
        }
        assert(rest.len == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_members m; /* reused as the program does */
    struct span text = {(const char *)data, size};
    bool valid = json_scan(text, &m);

    check_other_ways(&m, text, valid);
    if (valid) {
        for (size_t i = 0; i < m.count; i++) {
            check_member(&m.at[i], text);
            check_inside(m.at[i].value);
            if (i < 16)
                check_find(&m, &m.at[i]);
        }
    }
    return 0;
}
