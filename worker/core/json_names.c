/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "signalbox/json.h"

#define ESCAPE_LEN 6 /* of \u0041 */

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
