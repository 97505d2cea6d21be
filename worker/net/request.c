/* SPDX-License-Identifier: MIT */
#include "signalbox/request.h"

#include <stdio.h>
#include <string.h>

#include "signalbox/dialect.h"
#include "signalbox/json.h"
#include "signalbox/keys.h"

/* The scanner sees to UTF-8, depth and numbers, as it does for messages. */
json_t *request_json(struct exchange *x)
{
    struct span body = exchange_body(x);
    struct json_members members = {0};
    json_t *json = json_scan(body, &members) ? json_loadb(body.at, body.len, 0, NULL) : NULL;

    json_members_free(&members);
    if (!json)
        exchange_fail(x, 400, "Invalid JSON body");
    return json;
}

const char *json_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text && *text ? text : NULL;
}

static bool is_utf8(struct span text)
{
    size_t len = 1;

    for (; text.len > 0 && len > 0; text = (struct span){text.at + len, text.len - len})
        len = utf8_len(text);
    return len > 0;
}

bool is_id(const char *text)
{
    return *text && strlen(text) <= ID_MAX && !has_control(span_of(text)) && is_utf8(span_of(text));
}

void fail_field(struct exchange *x, const char *field)
{
    char sentence[64];

    snprintf(sentence, sizeof(sentence), "Invalid field: %s", field);
    exchange_fail(x, 400, sentence);
}
