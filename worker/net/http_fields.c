/* SPDX-License-Identifier: MIT */
#include "signalbox/http_fields.h"

#include <jansson.h>
#include <stdio.h>

#include "signalbox/json_scan.h"

void fail_json(struct exchange *x)
{
    exchange_fail(x, 400, "Invalid JSON body");
}

void fail_field(struct exchange *x, const char *field)
{
    char sentence[64];

    snprintf(sentence, sizeof(sentence), "Invalid field: %s", field);
    exchange_fail(x, 400, sentence);
}

/* Not a number that is too big to be one. */
static bool is_readable(struct span raw)
{
    json_t *number;

    if (json_kind(raw) != JSON_KIND_NUMBER)
        return true;
    number = json_loadb(raw.at, raw.len, JSON_DECODE_ANY, NULL);
    json_decref(number);
    return number != NULL;
}

/* lenient: a value of another type is as absent. */
static enum fault read_field(const struct field *f, bool lenient, const struct json_members *object, struct texts *t,
                             struct value *v)
{
    enum fault fault = field_read(f, object, t, v);

    if (fault != FAULT_TYPE)
        return fault;
    if (!is_readable(v->raw))
        return FAULT_UNREADABLE;
    if (!lenient)
        return FAULT_LIMIT;
    *v = (struct value){0};
    return f->required ? FAULT_ABSENT : FAULT_NONE;
}

static bool read_fields(struct exchange *x, const struct json_members *object, const struct field *fields,
                        const char *missing, struct texts *t, struct value *values)
{
    enum fault worst = FAULT_NONE;
    const char *name = NULL;

    for (size_t i = 0, count = fields_count(fields); i < count; i++) {
        enum fault fault = read_field(&fields[i], missing != NULL, object, t, &values[i]);

        if (fault > worst) {
            worst = fault;
            name = fields[i].name;
        }
    }
    if (worst == FAULT_UNREADABLE)
        fail_json(x);
    else if (worst == FAULT_ABSENT)
        exchange_fail(x, 400, missing);
    else if (worst != FAULT_NONE)
        fail_field(x, name);
    return worst == FAULT_NONE;
}

/* The scanner sees to UTF-8, depth and numbers, as it does for messages. What is not asked for costs nothing more. */
bool request_object(struct exchange *x, struct span text, const struct field *fields, const char *missing,
                    struct texts *t, struct value *values)
{
    struct json_names names = {0};
    struct json_members object = {.only = &names};
    bool ok = false;

    fields_add_names(fields, &names);
    texts_begin(t, text.len);
    if (json_scan(text, &object))
        ok = read_fields(x, &object, fields, missing, t, values);
    else
        fail_json(x);
    json_members_free(&object);
    json_names_free(&names);
    return ok;
}
