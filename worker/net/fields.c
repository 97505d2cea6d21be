/* SPDX-License-Identifier: MIT */
#include "signalbox/fields.h"

#include <stdlib.h>
#include <string.h>

#include "signalbox/keys.h"

/* Room for every string of the text at once, so that decoded ones never move. */
void texts_begin(struct texts *t, size_t len)
{
    t->used = 0;
    if (t->room >= len)
        return;
    t->at = mem_grow(t->at, len);
    t->room = len;
}

void texts_free(struct texts *t)
{
    free(t->at);
    *t = (struct texts){0};
}

size_t fields_count(const struct field *fields)
{
    size_t count = 0;

    while (count < FIELDS_MAX && fields[count].kind != FIELD_NONE)
        count++;
    return count;
}

void fields_add_names(const struct field *fields, struct json_names *names)
{
    for (size_t i = 0, count = fields_count(fields); i < count; i++) {
        json_names_add(names, fields[i].name);
        if (fields[i].alias)
            json_names_add(names, fields[i].alias);
    }
}

bool has_control(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.at[i] < 0x20 || text.at[i] == 0x7f)
            return true;
    return false;
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

static bool are_ids(struct span array, long long most)
{
    struct span rest = json_elements(array), element;
    char id[ID_MAX + 1];
    size_t len;

    for (; json_next(&rest, &element); most--)
        if (most == 0 || !json_read_string(element, id, sizeof(id), &len) || len == 0 ||
            has_control((struct span){id, len}))
            return false;
    return true;
}

/* A decoded string is shorter than its JSON, quotes against zero: there is room for it. */
static enum fault read_text(const struct field *f, struct texts *t, struct value *v)
{
    char *out = t->at + t->used;
    size_t most = f->kind == FIELD_ID ? ID_MAX : (size_t)f->most;

    if (!json_read_string(v->raw, out, t->room - t->used, &v->len) || memchr(out, '\0', v->len))
        return FAULT_UNREADABLE;
    t->used += v->len + 1;
    v->text = out;
    if (v->len > most || (f->kind == FIELD_ID && has_control((struct span){out, v->len})))
        return FAULT_LIMIT;
    return FAULT_NONE;
}

static bool is_kind(const struct field *f, struct span raw)
{
    static const enum json_kind kinds[] = {
        [FIELD_ID] = JSON_KIND_STRING, [FIELD_TEXT] = JSON_KIND_STRING, [FIELD_INT] = JSON_KIND_NUMBER,
        [FIELD_IDS] = JSON_KIND_ARRAY, [FIELD_ARRAY] = JSON_KIND_ARRAY, [FIELD_OBJECT] = JSON_KIND_OBJECT};

    return f->kind == FIELD_ANY || json_kind(raw) == kinds[f->kind];
}

static enum fault read_value(const struct field *f, struct texts *t, struct value *v)
{
    bool fits = true;

    if (!is_kind(f, v->raw))
        return FAULT_TYPE;
    if (f->kind == FIELD_ID || f->kind == FIELD_TEXT)
        return read_text(f, t, v);
    if (f->kind == FIELD_INT)
        fits = json_read_integer(v->raw, &v->number) && v->number >= f->least && v->number <= f->most;
    else if (f->kind == FIELD_IDS)
        fits = are_ids(v->raw, f->most);
    return fits ? FAULT_NONE : FAULT_LIMIT;
}

static bool find_value(const struct field *f, const char *name, const struct json_members *object, struct span *raw)
{
    return name && json_find(object, name, raw) && json_kind(*raw) != JSON_KIND_NULL &&
           (f->kind == FIELD_ANY || !span_is(*raw, "\"\""));
}

enum fault field_read(const struct field *f, const struct json_members *object, struct texts *t, struct value *v)
{
    if (!find_value(f, f->name, object, &v->raw) && !find_value(f, f->alias, object, &v->raw)) {
        v->raw = (struct span){0};
        return f->required ? FAULT_ABSENT : FAULT_NONE;
    }
    v->present = true;
    return read_value(f, t, v);
}
