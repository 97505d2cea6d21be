/* SPDX-License-Identifier: MIT */
#undef NDEBUG /* the asserts are what is tested */
#include "signalbox/json.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_members m; /* reused as the program does */
    struct span text = {(const char *)data, size};

    if (json_scan(text, &m)) {
        for (size_t i = 0; i < m.count; i++) {
            check_member(&m.at[i], text);
            if (i < 16)
                check_find(&m, &m.at[i]);
        }
    }
    return 0;
}
