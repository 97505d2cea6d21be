/* SPDX-License-Identifier: MIT */
#include "signalbox/request.h"

#include <stdio.h>
#include <string.h>

#include "signalbox/json.h"

#define VALUES_MOST 256
#define TEXT_MOST 16384 /* bytes; longer than any that is let pass */

/* All that a handler without a secret asks for. */
static const char *const field_names[] = {"serverId",      "endpoint", "publicKey", "region",       "clientId",
                                          "device_id",     "nonce",    "responses", "region_index", "hmac",
                                          "build_version", "payload",  "signature", "build_token"};

static struct json_names names;

void request_init(void)
{
    for (size_t i = 0; i < sizeof(field_names) / sizeof(field_names[0]); i++)
        json_names_add(&names, field_names[i]);
}

void request_fini(void)
{
    json_names_free(&names);
}

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

struct loading {
    size_t values;
    char text[TEXT_MOST + 2];
    bool failed;
};

static json_t *load_value(struct loading *l, struct span value);

/* A text that is too long stays so, whatever it says. */
static json_t *load_text(struct loading *l, struct span value)
{
    size_t len = TEXT_MOST + 1;

    if (value.len > TEXT_MOST + 2)
        memset(l->text, 'x', len);
    else if (!json_read_string(value, l->text, sizeof(l->text), &len) || memchr(l->text, '\0', len))
        return NULL;
    return json_stringn_nocheck(l->text, len);
}

static json_t *load_members(struct loading *l, const struct json_members *m)
{
    json_t *object = json_object();

    for (size_t i = 0; i < m->count; i++)
        json_object_set_new_nocheck(object, m->at[i].key.at, load_value(l, m->at[i].value));
    return object;
}

static json_t *load_object(struct loading *l, struct span value)
{
    struct json_members members = {.only = &names};
    json_t *object = json_members_of(value, SIZE_MAX, &members) ? load_members(l, &members) : NULL;

    json_members_free(&members);
    return object;
}

static json_t *load_array(struct loading *l, struct span value)
{
    struct span rest = json_elements(value), element;
    json_t *array = json_array();

    while (l->values < VALUES_MOST && json_next(&rest, &element))
        json_array_append_new(array, load_value(l, element));
    return array;
}

static json_t *load_value(struct loading *l, struct span value)
{
    json_t *loaded;

    l->values++;
    switch (json_kind(value)) {
    case JSON_KIND_STRING:
        loaded = load_text(l, value);
        break;
    case JSON_KIND_OBJECT:
        loaded = load_object(l, value);
        break;
    case JSON_KIND_ARRAY:
        loaded = load_array(l, value);
        break;
    default:
        loaded = json_loadb(value.at, value.len, JSON_DECODE_ANY, NULL);
    }
    l->failed = l->failed || !loaded;
    return loaded;
}

json_t *request_fields(struct exchange *x)
{
    struct span body = exchange_body(x);
    struct loading *l = mem_alloc(sizeof(*l));
    struct json_members members = {.only = &names};
    json_t *json = NULL;

    if (json_scan(body, &members))
        json = load_members(l, &members);
    if (l->failed || !json) {
        json_decref(json);
        json = NULL;
        exchange_fail(x, 400, "Invalid JSON body");
    }
    json_members_free(&members);
    free(l);
    return json;
}

const char *json_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text && *text ? text : NULL;
}

void fail_field(struct exchange *x, const char *field)
{
    char sentence[64];

    snprintf(sentence, sizeof(sentence), "Invalid field: %s", field);
    exchange_fail(x, 400, sentence);
}
